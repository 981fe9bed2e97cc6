-- Annotations: what programs outside, or people, find in messages. Each is of a registered annotator; of an annotator's several
-- of one kind the latest counts, and the earlier ones stay, with the version that made them.
CREATE TYPE guestcomms_internal.annotation_input AS (message_id uuid, kind text, value jsonb, confidence double precision, annotator text);

CREATE FUNCTION guestcomms.register_annotator(name text, version text, kinds text[], description text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_problem text := CASE
        WHEN coalesce(register_annotator.name !~ '^[a-z0-9][a-z0-9_.-]{0,62}$', true) THEN 'name is of lower-case letters, digits, _, . and -.'
        WHEN coalesce(register_annotator.version !~ '^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$', true) THEN 'version is of letters, digits, _, ., + and -.'
        WHEN coalesce(cardinality(register_annotator.kinds) NOT BETWEEN 1 AND 100, true) THEN 'kinds has 1 to 100 elements.'
        WHEN EXISTS (SELECT FROM unnest(register_annotator.kinds) AS k (kind) WHERE k.kind ~ '^[a-z][a-z0-9_]{0,62}$' IS NOT TRUE) THEN 'Each of kinds is of lower-case letters, digits and _.'
        WHEN char_length(register_annotator.description) > 2000 THEN format('description has %s characters.', char_length(register_annotator.description)) END;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'an annotator has a name, a version and kinds', DETAIL = v_problem,
            HINT = 'For example: register_annotator(''sentiment-de'', ''1.2'', ''{sentiment}'').';
    END IF;
    INSERT INTO guestcomms.annotators AS a (tenant_id, name, version, kinds, description)
    VALUES (v_tenant, register_annotator.name, register_annotator.version, register_annotator.kinds, register_annotator.description)
    ON CONFLICT ON CONSTRAINT annotators_pkey DO UPDATE
    SET version = excluded.version, kinds = excluded.kinds, description = coalesce(excluded.description, a.description), registered_at = now()
    WHERE (a.version, a.kinds) <> (excluded.version, excluded.kinds) OR a.description IS DISTINCT FROM coalesce(excluded.description, a.description);
    IF FOUND THEN
        PERFORM guestcomms_internal.record_audit(v_tenant, 'register_annotator', 'annotator ' || register_annotator.name, jsonb_build_object('version', register_annotator.version));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.register_annotator(text, text, text[], text) IS
$$Registers who annotates the current tenant's messages, or a new version of it, and the kinds of annotations that it makes, such as language, sentiment, intent or embedding. Again with the same values it does nothing.
Example: SELECT guestcomms.register_annotator('sentiment-de', '1.2', '{sentiment}', description => 'a classifier on our own server');
See also: list_annotators, annotate_message, record_annotations$$;

CREATE FUNCTION guestcomms.list_annotators() RETURNS TABLE (name text, version text, kinds text[], description text, registered_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT a.name, a.version, a.kinds, a.description, a.registered_at FROM guestcomms.annotators AS a WHERE a.tenant_id = v_tenant ORDER BY a.name;
END $$;
COMMENT ON FUNCTION guestcomms.list_annotators() IS
$$Who annotates the current tenant's messages, in the version that does so now.
Example: SELECT name, version, kinds FROM guestcomms.list_annotators();
See also: register_annotator$$;

CREATE FUNCTION guestcomms_internal.check_annotations(tenant_id uuid, inputs guestcomms_internal.annotation_input[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    v_messages uuid[];
    v_guests uuid[];
    v_missing uuid[];
    v_found uuid[];
BEGIN
    -- Held, so that neither the archive nor a deletion takes one meanwhile. In order, and one look-up each.
    SELECT array_agg(m.message_id), array_agg(m.guest_id) INTO v_messages, v_guests
    FROM (SELECT d.message_id, guestcomms.uuid_v7_time(d.message_id) AS sent_at
        FROM (SELECT DISTINCT i.message_id FROM unnest(inputs) AS i) AS d ORDER BY d.message_id OFFSET 0) AS n
    CROSS JOIN LATERAL (
        SELECT m.message_id, m.guest_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = check_annotations.tenant_id AND m.message_id = n.message_id AND m.sent_at >= n.sent_at AND m.sent_at < n.sent_at + interval '1 millisecond'
            AND m.deleted_at IS NULL
        FOR KEY SHARE) AS m;
    v_missing := ARRAY(SELECT DISTINCT i.message_id FROM unnest(inputs) AS i WHERE i.message_id IS NOT NULL AND i.message_id <> ALL (coalesce(v_messages, '{}')));
    IF cardinality(v_missing) > 0 THEN
        SELECT v_messages || array_agg(a.id), v_guests || array_agg(a.guest_id) INTO v_messages, v_guests
        FROM (SELECT f.id, s.guest_id FROM guestcomms_internal.find_segments(check_annotations.tenant_id, v_missing) AS s CROSS JOIN LATERAL unnest(s.found_ids) AS f (id)) AS a
        WHERE (SELECT true FROM guestcomms.message_deletions AS d WHERE d.tenant_id = check_annotations.tenant_id AND d.message_id = a.id) IS NULL;
    END IF;
    -- Asked when they are held: what is written before an erasure has begun it finds, and afterwards nothing is.
    v_found := ARRAY(SELECT m.id FROM unnest(v_messages, v_guests) AS m (id, guest_id)
        WHERE (SELECT g.erased_at FROM guestcomms.guests AS g WHERE g.tenant_id = check_annotations.tenant_id AND g.guest_id = m.guest_id) IS NULL);
    RETURN (SELECT array_agg(CASE
            WHEN i.message_id IS NULL OR i.message_id <> ALL (v_found) THEN 'message'
            WHEN a.kinds IS NULL THEN 'annotator'
            WHEN i.kind IS NULL OR i.kind <> ALL (a.kinds) THEN 'annotation_kind'
            WHEN i.value IS NULL OR jsonb_typeof(i.value) = 'null' OR pg_column_size(i.value) > 262144 THEN 'annotation_value'
            WHEN i.kind = 'language' AND (jsonb_typeof(i.value) <> 'string' OR i.value #>> '{}' !~ '^[a-z]{2,3}$') THEN 'annotation_value'
            WHEN i.kind = 'embedding' AND (jsonb_typeof(i.value) <> 'array' OR jsonb_path_exists(i.value, 'strict $[*] ? (@.type() <> "number")')) THEN 'annotation_value'
            WHEN NOT i.confidence BETWEEN 0 AND 1 THEN 'confidence'
        END ORDER BY i.ordinality)
        FROM unnest(inputs) WITH ORDINALITY AS i
        LEFT JOIN LATERAL (SELECT a.kinds FROM guestcomms.annotators AS a WHERE a.tenant_id = check_annotations.tenant_id AND a.name = i.annotator) AS a ON true);
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_annotations(uuid, guestcomms_internal.annotation_input[]) IS
'The problem of each annotation, NULL where there is none; their messages are held until the transaction ends.';

CREATE FUNCTION guestcomms_internal.ingest_annotations(inputs guestcomms_internal.annotation_input[], is_skipping boolean, is_batch boolean)
RETURNS TABLE (element integer, annotation_id uuid, problem text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_problems text[] := guestcomms_internal.check_annotations(v_tenant, inputs);
    v_ids uuid[] := ARRAY(SELECT gen_random_uuid() FROM generate_series(1, cardinality(inputs)));
    v_first integer := (SELECT min(p.n) FROM unnest(v_problems) WITH ORDINALITY AS p (problem, n) WHERE p.problem IS NOT NULL);
BEGIN
    IF v_first IS NOT NULL AND NOT is_skipping THEN
        PERFORM guestcomms_internal.raise_ingest_problem(v_problems[v_first],
            concat_ws(' ', CASE WHEN is_batch THEN format('Element %s.', v_first) END, format('message_id %s.', inputs[v_first].message_id)));
    END IF;
    INSERT INTO guestcomms.message_annotations (tenant_id, annotation_id, message_id, kind, value, confidence, annotator, created_at)
    SELECT v_tenant, v_ids[i.ordinality], i.message_id, i.kind, i.value, i.confidence,
        i.annotator || '@' || (SELECT a.version FROM guestcomms.annotators AS a WHERE a.tenant_id = v_tenant AND a.name = i.annotator),
        -- Of two of one statement the later element counts.
        clock_timestamp() + i.ordinality * interval '1 microsecond'
    FROM unnest(inputs) WITH ORDINALITY AS i
    WHERE v_problems[i.ordinality] IS NULL;
    -- A message without a language takes the one that was found with more certainty than not, and is searched by its stems.
    IF EXISTS (SELECT FROM unnest(inputs) AS i WHERE i.kind = 'language') THEN
        UPDATE guestcomms.messages AS m SET language = n.language
        FROM (SELECT DISTINCT ON (i.message_id) i.message_id, i.value #>> '{}' AS language, guestcomms.uuid_v7_time(i.message_id) AS sent_at
            FROM unnest(inputs) WITH ORDINALITY AS i
            WHERE i.kind = 'language' AND v_problems[i.ordinality] IS NULL AND coalesce(i.confidence >= 0.5, true)
            ORDER BY i.message_id, i.ordinality DESC) AS n
        WHERE m.tenant_id = v_tenant AND m.message_id = n.message_id AND m.sent_at >= n.sent_at AND m.sent_at < n.sent_at + interval '1 millisecond'
            AND m.language IS NULL;
    END IF;
    RETURN QUERY
    SELECT p.n::integer, CASE WHEN p.problem IS NULL THEN v_ids[p.n] END, p.problem,
        CASE WHEN p.problem IS NOT NULL THEN format('message_id %s.', inputs[p.n].message_id) END
    FROM unnest(v_problems) WITH ORDINALITY AS p (problem, n);
END $$;
COMMENT ON FUNCTION guestcomms_internal.ingest_annotations(guestcomms_internal.annotation_input[], boolean, boolean) IS
'Stores annotations; returns for every element its annotation_id or its problem.';

CREATE FUNCTION guestcomms.annotate_message(message_id uuid, kind text, value jsonb, confidence double precision DEFAULT NULL, annotator text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT i.annotation_id FROM guestcomms_internal.ingest_annotations(
        ARRAY[ROW(message_id, kind, value, confidence, annotator)::guestcomms_internal.annotation_input], false, false) AS i);
END $$;
COMMENT ON FUNCTION guestcomms.annotate_message(uuid, text, jsonb, double precision, text) IS
$$Adds what a registered annotator found in a message, which may be archived, and returns annotation_id. kind is one of those it registered; value any JSON up to 256 kB, of language a code ("de"), of embedding an array of numbers; confidence from 0 to 1. Of one annotator and kind the latest counts. A message without a language takes that of an annotation whose confidence is 0.5 or more, or not said. A message that was deleted, or whose guest was erased, is as if it were not there.
Example: SELECT guestcomms.annotate_message('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d', 'sentiment', '"positive"', 0.93, annotator => 'sentiment-de');
See also: record_annotations, list_annotations, register_annotator$$;

CREATE FUNCTION guestcomms.record_annotations(annotations jsonb, on_error text DEFAULT 'abort')
RETURNS TABLE (annotation_id uuid, element integer, error_code text, error_message text, error_detail text, error_hint text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_is_skipping boolean := guestcomms_internal.require_on_error(record_annotations.on_error);
    v_expected jsonb := jsonb '{"message_id": "uuid", "kind": "text", "value": "any", "confidence": "number", "annotator": "text"}';
    v_misshapen jsonb;
    v_elements integer[];
    v_inputs guestcomms_internal.annotation_input[];
BEGIN
    PERFORM guestcomms.current_tenant();
    PERFORM guestcomms_internal.require_json_array(record_annotations.annotations, v_expected, v_is_skipping);
    IF v_is_skipping THEN
        SELECT jsonb_object_agg(p.element, p.detail) INTO v_misshapen FROM guestcomms_internal.json_shape_problems(record_annotations.annotations, v_expected) AS p;
    END IF;
    SELECT array_agg(e.ordinality::integer ORDER BY e.ordinality),
        array_agg(jsonb_populate_record(NULL::guestcomms_internal.annotation_input, e.value) ORDER BY e.ordinality)
    INTO v_elements, v_inputs
    FROM jsonb_array_elements(record_annotations.annotations) WITH ORDINALITY AS e
    WHERE NOT coalesce(v_misshapen ? e.ordinality::text, false);
    RETURN QUERY
    WITH stored AS (
        SELECT v_elements[s.element] AS element, s.annotation_id, s.problem, s.detail
        FROM guestcomms_internal.ingest_annotations(coalesce(v_inputs, '{}'), v_is_skipping, true) AS s
        UNION ALL
        SELECT m.key::integer, NULL, 'shape', m.value FROM jsonb_each_text(v_misshapen) AS m
    )
    SELECT s.annotation_id, s.element, p.error_code, p.error_message, s.detail, p.error_hint
    FROM stored AS s
    LEFT JOIN guestcomms_internal.ingest_problems() AS p ON p.problem = s.problem
    ORDER BY s.element;
END $$;
COMMENT ON FUNCTION guestcomms.record_annotations(jsonb, text) IS
$$Adds an array of annotations, objects with annotate_message()'s parameters as keys, and returns a row for each in order, annotation_id first. One bad element and nothing is stored; with on_error => 'skip' the others are, and its row says why.
Example: SELECT annotation_id, error_message FROM guestcomms.record_annotations('[{"message_id": "0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d", "kind": "intent", "value": "rsvp", "confidence": 0.8, "annotator": "intents"}]', on_error => 'skip');
See also: annotate_message, list_annotations$$;

CREATE FUNCTION guestcomms.list_annotations(message_id uuid, is_latest boolean DEFAULT true)
RETURNS TABLE (annotation_id uuid, kind text, value jsonb, confidence double precision, annotator text, version text, created_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_archived jsonb := (SELECT r.annotations FROM guestcomms.read_archived(list_annotations.message_id) AS r);
BEGIN
    RETURN QUERY
    WITH found AS (
        -- Of an archived message those that came late are among the others.
        SELECT n.annotation_id, n.kind, n.value, n.confidence, n.annotator, n.created_at FROM guestcomms.message_annotations AS n
        WHERE v_archived IS NULL AND n.tenant_id = v_tenant AND n.message_id = list_annotations.message_id
        UNION ALL
        SELECT n.annotation_id, n.kind, n.value, n.confidence, n.annotator, n.created_at
        FROM jsonb_to_recordset(v_archived) AS n (annotation_id uuid, kind text, value jsonb, confidence double precision, annotator text, created_at timestamptz)
    ), named AS (
        SELECT f.*, split_part(f.annotator, '@', 1) AS name, row_number() OVER (PARTITION BY f.kind, split_part(f.annotator, '@', 1)
            ORDER BY f.created_at DESC, f.annotation_id) AS place
        FROM found AS f
    )
    SELECT n.annotation_id, n.kind, n.value, n.confidence, n.name, nullif(split_part(n.annotator, '@', 2), ''), n.created_at
    FROM named AS n
    WHERE n.place = 1 OR NOT list_annotations.is_latest
    ORDER BY n.kind, n.name, n.place;
END $$;
COMMENT ON FUNCTION guestcomms.list_annotations(uuid, boolean) IS
$$What was found in a message, archived or not: the latest of each annotator and kind, or with is_latest => false the earlier ones, too.
Example: SELECT kind, value, confidence, annotator, version FROM guestcomms.list_annotations('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d');
See also: annotate_message, register_annotator, read_archived$$;
