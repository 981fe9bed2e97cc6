-- Dictionaries: what many guests' messages have in common, per tenant.
CREATE FUNCTION guestcomms_internal.make_dictionary(texts json, OUT content bytea, OUT string_count integer)
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.archive import make_dictionary
return make_dictionary(texts)
$$;
COMMENT ON FUNCTION guestcomms_internal.make_dictionary(json) IS
'A dictionary from pairs of guest and text: strings that five guests or more have in common; NULL where these are too few.';

CREATE FUNCTION guestcomms_internal.train_dictionary(tenant_id uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_texts json;
    v_count integer;
    v_made record;
    v_dictionary uuid;
BEGIN
    SELECT json_agg(json_build_array(m.guest_id, m.text)), count(*) INTO v_texts, v_count
    FROM (
        SELECT o.guest_id, left(concat_ws(E'\n', o.subject, o.body), 10000) AS text FROM guestcomms.messages AS o
        WHERE o.tenant_id = train_dictionary.tenant_id ORDER BY o.sent_at DESC, o.message_id DESC LIMIT 50000
    ) AS m;
    SELECT d.content, d.string_count INTO v_made FROM guestcomms_internal.make_dictionary(v_texts) AS d;
    IF v_made.content IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO guestcomms.archive_dictionaries (tenant_id, version_number, content, sha256, string_count, message_count)
    SELECT train_dictionary.tenant_id, 1 + coalesce(max(d.version_number), 0), v_made.content, sha256(v_made.content), v_made.string_count, v_count
    FROM guestcomms.archive_dictionaries AS d WHERE d.tenant_id = train_dictionary.tenant_id
    RETURNING dictionary_id INTO v_dictionary;
    RETURN v_dictionary;
END $$;
COMMENT ON FUNCTION guestcomms_internal.train_dictionary(uuid) IS
'Makes a new version of a tenant''s dictionary from its newest messages in the hot tables, and returns it; NULL where they have too little in common.';

CREATE FUNCTION guestcomms.train_archive_dictionary() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    -- One at a time: versions are counted.
    PERFORM FROM guestcomms.tenants AS t WHERE t.tenant_id = v_tenant FOR NO KEY UPDATE;
    RETURN guestcomms_internal.train_dictionary(v_tenant);
END $$;
COMMENT ON FUNCTION guestcomms.train_archive_dictionary() IS
$$Makes a new version of the dictionary that the current tenant's segments are compressed against, from at most its newest 50,000 messages in the hot tables, and returns dictionary_id; NULL where they have too little in common. It holds only strings that at least five guests' messages have in common, so that erasing a guest changes none. Segments keep the version they were written with. The first run of a policy makes the first; a job makes a new one every archive.dictionary_age.
Example: SELECT guestcomms.train_archive_dictionary();
See also: run_archive, check_codec_predictions$$;

CREATE FUNCTION guestcomms_internal.train_next_dictionary(is_first boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_scope uuid := guestcomms_internal.tenant_scope();
    v_tenant uuid;
BEGIN
    SELECT p.tenant_id INTO v_tenant
    FROM guestcomms.archive_policies AS p
    WHERE p.is_enabled AND p.codec IN ('auto', 'zstd_dict') AND (v_scope IS NULL OR p.tenant_id = v_scope)
        AND (p.trained_at IS NULL OR NOT train_next_dictionary.is_first
            AND p.trained_at < now() - guestcomms_internal.setting('archive.dictionary_age', p.tenant_id)::interval)
        -- Of fewer there is too little to learn.
        AND (SELECT count(*) FROM (SELECT FROM guestcomms.messages AS m WHERE m.tenant_id = p.tenant_id LIMIT 500) AS n) = 500
    ORDER BY p.trained_at NULLS FIRST, p.tenant_id LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED;
    -- A tenant has several policies, of which another session may have the other.
    IF NOT FOUND OR NOT pg_try_advisory_xact_lock(hashtextextended(format('dictionary %s', v_tenant), 0)) THEN
        RETURN false;
    END IF;
    UPDATE guestcomms.archive_policies AS p SET trained_at = clock_timestamp() WHERE p.tenant_id = v_tenant;
    IF NOT train_next_dictionary.is_first OR NOT EXISTS (SELECT FROM guestcomms.archive_dictionaries AS d WHERE d.tenant_id = v_tenant) THEN
        PERFORM guestcomms_internal.train_dictionary(v_tenant);
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.train_next_dictionary(boolean) IS
'Makes the dictionary of one tenant, of the one that is open or of all, that has a policy and never had one made, or whose newest is older than archive.dictionary_age; false where there is none.';

CREATE FUNCTION guestcomms_internal.train_archive() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid;
BEGIN
    -- One tenant a call: the next whose predictor or dictionary is older than what it could learn from.
    SELECT p.tenant_id INTO v_tenant
    FROM (SELECT DISTINCT a.tenant_id FROM guestcomms.archive_policies AS a WHERE a.is_enabled) AS p
    LEFT JOIN guestcomms.archive_predictors AS r ON r.tenant_id = p.tenant_id
    WHERE (SELECT count(DISTINCT t.segment_id) FROM guestcomms.archive_codec_trials AS t
        WHERE t.tenant_id = p.tenant_id AND t.tried_at > coalesce(r.fitted_at, '-infinity')) >= 20
    LIMIT 1;
    IF FOUND THEN
        PERFORM guestcomms_internal.train_predictor(v_tenant);
        RETURN 1;
    END IF;
    RETURN guestcomms_internal.train_next_dictionary(false)::integer;
END $$;
COMMENT ON FUNCTION guestcomms_internal.train_archive() IS 'A job''s work: predictors and dictionaries of one tenant at a time.';
