-- JSON in: every element is checked by key and type before any cast, so that a reason names element and key and no cast
-- fails with a guest's text in its message.
CREATE FUNCTION guestcomms_internal.is_timestamp(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- The zone is required: a time without one would mean another moment in every session.
    RETURN value ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)$' AND value::timestamptz IS NOT NULL;
EXCEPTION
    WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
        RETURN false;
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_timestamp(text) IS 'Whether a text is a time in ISO 8601 with a time zone.';

CREATE FUNCTION guestcomms_internal.json_shape_problems(elements jsonb, expected jsonb) RETURNS TABLE (element integer, detail text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT e.ordinality::integer, min(CASE
            WHEN jsonb_typeof(e.value) <> 'object' THEN format('it is a JSON %s.', jsonb_typeof(e.value))
            WHEN t.type IS NULL THEN format('unknown key %s.', coalesce(substring(k.key FROM '^[A-Za-z_]{1,40}$'), 'with other characters than letters'))
            ELSE format('key %s is no %s.', k.key, t.type) END)
    FROM jsonb_array_elements(elements) WITH ORDINALITY AS e
    LEFT JOIN LATERAL jsonb_each(CASE jsonb_typeof(e.value) WHEN 'object' THEN e.value ELSE '{}' END) AS k ON true
    CROSS JOIN LATERAL (SELECT expected ->> k.key AS type) AS t
    WHERE jsonb_typeof(e.value) <> 'object'
        OR k.key IS NOT NULL AND jsonb_typeof(k.value) <> 'null' AND NOT coalesce(CASE t.type
            WHEN 'object' THEN jsonb_typeof(k.value) = 'object'
            WHEN 'boolean' THEN jsonb_typeof(k.value) = 'boolean'
            WHEN 'text' THEN jsonb_typeof(k.value) = 'string'
            WHEN 'number' THEN jsonb_typeof(k.value) = 'number'
            WHEN 'any' THEN true
            WHEN 'uuid' THEN k.value #>> '{}' ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            WHEN 'time' THEN jsonb_typeof(k.value) = 'string' AND guestcomms_internal.is_timestamp(k.value #>> '{}') END, false)
    GROUP BY e.ordinality
$$;
COMMENT ON FUNCTION guestcomms_internal.json_shape_problems(jsonb, jsonb) IS
'Elements of an array that are no objects of the expected keys (key: text, uuid, time, boolean, number, object or any), and why.';

CREATE FUNCTION guestcomms_internal.require_json_array(elements jsonb, expected jsonb, is_skipping boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_problem record;
BEGIN
    IF coalesce(jsonb_typeof(elements) <> 'array', true) THEN
        PERFORM guestcomms_internal.raise_ingest_problem('shape', format('It is a JSON %s, not an array.', coalesce(jsonb_typeof(elements), 'NULL')));
    END IF;
    IF NOT is_skipping THEN
        SELECT * INTO v_problem FROM guestcomms_internal.json_shape_problems(elements, expected) AS p ORDER BY p.element LIMIT 1;
        IF FOUND THEN
            PERFORM guestcomms_internal.raise_ingest_problem('shape', format('Element %s: %s', v_problem.element, v_problem.detail));
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_json_array(jsonb, jsonb, boolean) IS
'Raises for anything but an array and, unless bad elements are skipped, for the first one of the wrong shape.';

CREATE FUNCTION guestcomms.record_messages(messages jsonb, on_error text DEFAULT 'abort')
RETURNS TABLE (message_id uuid, element integer, is_repeat boolean, error_code text, error_message text, error_detail text, error_hint text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_is_skipping boolean := guestcomms_internal.require_on_error(record_messages.on_error);
    v_expected jsonb := jsonb '{"guest_id": "uuid", "direction": "text", "channel": "text", "subject": "text", "body": "text", "sent_at": "time",
        "thread_id": "uuid", "wedding_id": "uuid", "campaign_id": "uuid", "external_id": "text", "source": "text", "language": "text",
        "purpose": "text", "status": "text", "author": "text", "metadata": "object", "scheduled_at": "time"}';
    v_misshapen jsonb;
    v_elements integer[];
    v_inputs guestcomms_internal.message_input[];
BEGIN
    PERFORM guestcomms.current_tenant();
    PERFORM guestcomms_internal.require_json_array(record_messages.messages, v_expected, v_is_skipping);
    IF v_is_skipping THEN
        SELECT jsonb_object_agg(p.element, p.detail) INTO v_misshapen FROM guestcomms_internal.json_shape_problems(record_messages.messages, v_expected) AS p;
    END IF;
    SELECT array_agg(e.ordinality::integer ORDER BY e.ordinality),
        array_agg(jsonb_populate_record(NULL::guestcomms_internal.message_input, e.value) ORDER BY e.ordinality)
    INTO v_elements, v_inputs
    FROM jsonb_array_elements(record_messages.messages) WITH ORDINALITY AS e
    WHERE NOT coalesce(v_misshapen ? e.ordinality::text, false);
    RETURN QUERY
    WITH stored AS (
        SELECT v_elements[s.element] AS element, s.message_id, s.is_repeat, s.problem, s.detail
        FROM guestcomms_internal.ingest_messages(coalesce(v_inputs, '{}'), v_is_skipping, true) AS s
        UNION ALL
        SELECT m.key::integer, NULL, false, 'shape', m.value FROM jsonb_each_text(v_misshapen) AS m
    )
    SELECT s.message_id, s.element, s.is_repeat, p.error_code, p.error_message, s.detail, p.error_hint
    FROM stored AS s
    LEFT JOIN guestcomms_internal.ingest_problems() AS p ON p.problem = s.problem
    ORDER BY s.element;
END $$;
COMMENT ON FUNCTION guestcomms.record_messages(jsonb, text) IS
$$Stores an array of messages, objects with record_message()'s parameters as keys, and returns a row for each in order, message_id first. One bad element and nothing is stored; with on_error => 'skip' the others are, and its row says why.
Example: SELECT message_id, error_message FROM guestcomms.record_messages('[{"guest_id": "7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10", "direction": "outbound", "channel": "email", "body": "See you on Saturday"}]', on_error => 'skip');
See also: record_message, run_import, record_events$$;
