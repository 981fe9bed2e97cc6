-- Which codec: predicted for every segment, tried out on some, learned from these.
CREATE FUNCTION guestcomms_internal.measure_codecs(tenant_id uuid, payload bytea, stored_codec text, stored_level integer, dictionary_id uuid,
    dictionary_age double precision, predictor jsonb)
RETURNS TABLE (codec text, level smallint, features double precision[], predicted_bytes integer, stored_bytes integer, was_chosen boolean)
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.archive import load_dictionary, measure_codecs
return measure_codecs(payload, stored_codec, stored_level, load_dictionary(plpy, GD, tenant_id, dictionary_id), dictionary_age, predictor)
$$;
COMMENT ON FUNCTION guestcomms_internal.measure_codecs(uuid, bytea, text, integer, uuid, double precision, jsonb) IS
'What each codec makes of a segment, beside what is predicted for it.';

CREATE FUNCTION guestcomms_internal.fit_codecs(trials jsonb) RETURNS jsonb
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.archive import fit_codecs
return fit_codecs(trials)
$$;
COMMENT ON FUNCTION guestcomms_internal.fit_codecs(jsonb) IS 'The coefficients that trials give.';

CREATE FUNCTION guestcomms.check_codec_predictions(sample integer DEFAULT 100)
RETURNS TABLE (codec text, level smallint, segment_count integer, chosen_count integer, mean_error double precision, mean_regret double precision, calibration double precision)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 7 SET search_path FROM CURRENT SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_predictor jsonb := (SELECT p.coefficients FROM guestcomms.archive_predictors AS p WHERE p.tenant_id = v_tenant);
BEGIN
    IF coalesce(check_codec_predictions.sample NOT BETWEEN 1 AND 10000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'sample must be from 1 to 10000', HINT = 'Leave it out for 100 segments.';
    END IF;
    INSERT INTO guestcomms.archive_codec_trials (tenant_id, segment_id, codec, level, features, predicted_bytes, stored_bytes, was_chosen)
    SELECT v_tenant, s.segment_id, t.codec, t.level, t.features, t.predicted_bytes, t.stored_bytes, t.was_chosen
    FROM (
        SELECT o.* FROM guestcomms.archive_segments AS o
        WHERE o.tenant_id = v_tenant AND o.predicted_bytes IS NOT NULL
            AND (SELECT true FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = v_tenant AND t.segment_id = o.segment_id LIMIT 1) IS NULL
        -- As good as by chance, and the same ones for whoever asks twice.
        ORDER BY md5(o.segment_id::text) LIMIT check_codec_predictions.sample
    ) AS s
    LEFT JOIN guestcomms.archive_dictionaries AS d ON d.tenant_id = v_tenant AND d.dictionary_id = s.dictionary_id
    CROSS JOIN LATERAL guestcomms_internal.measure_codecs(v_tenant, s.payload, s.codec, s.level, s.dictionary_id,
        extract(epoch FROM s.archived_at - d.created_at) / 86400, v_predictor) AS t;
    RETURN QUERY
    WITH segment AS (
        SELECT t.segment_id, min(t.stored_bytes) AS best_bytes FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = v_tenant
        GROUP BY t.segment_id ORDER BY max(t.tried_at) DESC, md5(t.segment_id::text) LIMIT check_codec_predictions.sample
    )
    SELECT t.codec, t.level, count(DISTINCT t.segment_id)::integer, (count(*) FILTER (WHERE t.was_chosen))::integer, avg(abs(t.predicted_bytes / t.stored_bytes::double precision - 1)),
        avg(t.stored_bytes / s.best_bytes::double precision - 1) FILTER (WHERE t.was_chosen), avg(t.stored_bytes / greatest(t.predicted_bytes, 1)::double precision)
    FROM segment AS s
    JOIN guestcomms.archive_codec_trials AS t ON t.tenant_id = v_tenant AND t.segment_id = s.segment_id
    GROUP BY GROUPING SETS ((t.codec, t.level), ())
    ORDER BY t.codec, t.level;
END $$;
COMMENT ON FUNCTION guestcomms.check_codec_predictions(integer) IS
$$How well the codecs of the current tenant's segments were predicted: tries all codecs on a sample of segments not tried yet, and reports by codec, and with codec NULL over all: mean_error (relative, of the bytes predicted), mean_regret (how many more bytes the chosen codec took than the best would have, as a share) and calibration (bytes taken per byte predicted; 1 is right). What was tried is kept: train_codec_predictor() learns from it.
Example: SELECT * FROM guestcomms.check_codec_predictions(sample => 200);
See also: train_codec_predictor, add_archive_policy$$;

CREATE FUNCTION guestcomms.train_codec_predictor() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN guestcomms_internal.train_predictor(v_tenant);
END $$;
COMMENT ON FUNCTION guestcomms.train_codec_predictor() IS
$$Learns from the tried segments of the current tenant how to predict their codecs, and returns from how many; fewer than 20 teach nothing, and 0 is returned. A job does it daily.
Example: SELECT guestcomms.train_codec_predictor();
See also: check_codec_predictions$$;

CREATE FUNCTION guestcomms_internal.train_predictor(tenant_id uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count integer := (SELECT count(DISTINCT t.segment_id) FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = train_predictor.tenant_id);
BEGIN
    IF v_count < 20 THEN
        RETURN 0;
    END IF;
    INSERT INTO guestcomms.archive_predictors AS p (tenant_id, coefficients, segment_count)
    SELECT train_predictor.tenant_id, guestcomms_internal.fit_codecs(jsonb_agg(jsonb_build_object('features', t.features, 'codec', t.codec, 'level', t.level, 'stored_bytes', t.stored_bytes))), v_count
    FROM (SELECT o.* FROM guestcomms.archive_codec_trials AS o WHERE o.tenant_id = train_predictor.tenant_id ORDER BY o.tried_at DESC, o.trial_id LIMIT 20000) AS t
    ON CONFLICT ON CONSTRAINT archive_predictors_pkey DO UPDATE
    SET coefficients = excluded.coefficients, segment_count = excluded.segment_count, fitted_at = now();
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.train_predictor(uuid) IS 'Fits a tenant''s predictor to its trials.';
