-- The one way in for events: record_event() and record_events() end here. They come late, twice and in any order.
CREATE FUNCTION guestcomms_internal.ingest_events(inputs guestcomms_internal.event_input[], is_skipping boolean, is_batch boolean)
RETURNS TABLE (element integer, event_id uuid, is_repeat boolean, problem text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_clock timestamptz := clock_timestamp();
    v_now timestamptz := date_trunc('milliseconds', v_clock);    -- as fine as identifiers are
    v_range guestcomms_internal.partition_ranges;
    v_messages uuid[];
    v_hot uuid[];        -- those of them that are not archived
    v_missing uuid[];
    v_archived uuid[] := ARRAY[]::uuid[];
    v_problems text[];
    v_ids uuid[];
    v_new boolean[];
    v_first integer;
    v_objections bigint[];
    v_rising uuid[];
BEGIN
    SELECT * INTO v_range FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.message_events';

    -- The fences (OFFSET 0) here and below: under row security only bare columns reach the index.
    SELECT array_agg(coalesce(i.message_id, (SELECT k.message_id FROM guestcomms.message_keys AS k
        WHERE k.tenant_id = v_tenant AND k.source = i.key_source AND k.external_id = i.external_id)) ORDER BY i.ordinality)
    INTO v_messages
    FROM (SELECT i.ordinality, i.message_id, i.external_id, coalesce(i.source, 'app') AS key_source FROM unnest(inputs) WITH ORDINALITY AS i OFFSET 0) AS i;

    IF cardinality(inputs) > 1 THEN
        v_rising := guestcomms_internal.lock_rising(v_tenant,
            (SELECT array_agg(ROW(v_messages[i.ordinality], i.kind, coalesce(i.occurred_at, v_now), NULL, i.is_machine, NULL, NULL, NULL)::guestcomms_internal.event_input)
                FROM unnest(inputs) WITH ORDINALITY AS i));
    ELSE
        PERFORM guestcomms_internal.lock_changing_thread(v_tenant, v_messages[1], guestcomms_internal.status_of_event(inputs[1].kind, inputs[1].is_machine));
    END IF;

    -- Archiving takes messages away with their events: hold them until this transaction ends. In order, and one look-up each.
    v_hot := ARRAY(
        SELECT m.message_id
        FROM (SELECT d.message_id, guestcomms.uuid_v7_time(d.message_id) AS sent_at
            FROM (SELECT DISTINCT n.message_id FROM unnest(v_messages) AS n (message_id)) AS d ORDER BY d.message_id OFFSET 0) AS n
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = v_tenant AND m.message_id = n.message_id AND m.sent_at >= n.sent_at AND m.sent_at < n.sent_at + interval '1 millisecond'
            FOR KEY SHARE) AS m);

    v_missing := ARRAY(SELECT DISTINCT n.message_id FROM unnest(v_messages) AS n (message_id) WHERE n.message_id IS NOT NULL AND n.message_id <> ALL (v_hot));
    IF cardinality(v_missing) > 0 THEN
        v_archived := guestcomms_internal.list_archived(v_tenant, v_missing);
        -- One that was restored in between.
        v_hot := v_hot || ARRAY(
            SELECT m.message_id FROM unnest(v_missing) AS n (message_id)
            CROSS JOIN LATERAL (SELECT m.message_id FROM guestcomms.messages AS m
                WHERE m.tenant_id = v_tenant AND m.message_id = n.message_id AND m.sent_at >= guestcomms.uuid_v7_time(n.message_id)
                    AND m.sent_at < guestcomms.uuid_v7_time(n.message_id) + interval '1 millisecond'
                FOR KEY SHARE) AS m
            WHERE n.message_id <> ALL (v_archived));
    END IF;

    SELECT array_agg(CASE
            WHEN coalesce(i.kind NOT IN ('queued', 'sent', 'delivered', 'opened', 'clicked', 'replied', 'read', 'failed', 'bounced',
                'complained', 'unsubscribed', 'cancelled'), true) THEN 'kind'
            WHEN i.occurred_at < v_range.since OR i.occurred_at >= least(v_range.until, now() + interval '2 years') THEN 'occurred_at'
            WHEN char_length(i.source) > 255 OR char_length(i.event_external_id) > 255 THEN 'key_size'
            WHEN jsonb_typeof(i.detail) <> 'object' THEN 'detail'
            -- One whose key is known was there when the event happened, whatever became of it.
            WHEN v_messages[i.ordinality] IS NULL OR i.message_id IS NOT NULL AND i.message_id <> ALL (v_hot || v_archived)
                AND (SELECT true FROM guestcomms.message_keys AS k WHERE k.tenant_id = v_tenant AND k.message_id = i.message_id LIMIT 1) IS NULL THEN 'message'
        END ORDER BY i.ordinality),
        array_agg(CASE WHEN isfinite(i.occurred_at) IS NOT FALSE THEN guestcomms.uuid_v7(coalesce(i.occurred_at, v_now)) END ORDER BY i.ordinality)
    INTO v_problems, v_ids
    FROM unnest(inputs) WITH ORDINALITY AS i;
    v_first := (SELECT min(p.n) FROM unnest(v_problems) WITH ORDINALITY AS p (problem, n) WHERE p.problem IS NOT NULL);
    IF v_first IS NOT NULL AND NOT is_skipping THEN
        PERFORM guestcomms_internal.raise_ingest_problem(v_problems[v_first],
            concat_ws(' ', CASE WHEN is_batch THEN format('Element %s.', v_first) END,
                guestcomms_internal.event_problem_detail(v_problems[v_first], inputs[v_first])));
    END IF;

    INSERT INTO guestcomms.event_keys (tenant_id, source, external_id, event_id)
    SELECT v_tenant, coalesce(i.source, 'app'), i.event_external_id, v_ids[i.ordinality]
    FROM unnest(inputs) WITH ORDINALITY AS i
    WHERE i.event_external_id IS NOT NULL AND v_problems[i.ordinality] IS NULL
    ORDER BY 2, 3, i.ordinality
    ON CONFLICT ON CONSTRAINT event_keys_pkey DO NOTHING;

    SELECT array_agg(k.event_id ORDER BY k.ordinality),
        array_agg(v_problems[k.ordinality] IS NULL AND k.event_id = v_ids[k.ordinality] ORDER BY k.ordinality)
    INTO v_ids, v_new
    FROM (SELECT i.ordinality, coalesce((SELECT k.event_id FROM guestcomms.event_keys AS k
            WHERE k.tenant_id = v_tenant AND k.source = i.key_source AND k.external_id = i.event_external_id), v_ids[i.ordinality]) AS event_id
        FROM (SELECT i.ordinality, i.event_external_id, coalesce(i.source, 'app') AS key_source FROM unnest(inputs) WITH ORDINALITY AS i OFFSET 0) AS i
        OFFSET 0) AS k;

    INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind, is_machine, source, external_id, detail)
    SELECT v_tenant, v_ids[i.ordinality], coalesce(i.occurred_at, v_now), v_messages[i.ordinality], i.kind, coalesce(i.is_machine, false),
        coalesce(i.source, 'app'), i.event_external_id, i.detail
    FROM unnest(inputs) WITH ORDINALITY AS i
    WHERE v_new[i.ordinality];
    v_objections := ARRAY(SELECT i.ordinality FROM unnest(inputs) WITH ORDINALITY AS i WHERE i.kind IN ('unsubscribed', 'complained') AND v_new[i.ordinality]);
    IF cardinality(v_objections) > 0 THEN
        PERFORM guestcomms_internal.record_event_objections(v_tenant, ARRAY(SELECT v_messages[o.place] FROM unnest(v_objections) AS o (place)),
            ARRAY(SELECT coalesce(inputs[o.place].occurred_at, v_clock) FROM unnest(v_objections) AS o (place)));
    END IF;
    -- Of an archived message the status stays what it was: the event is kept with it.
    IF v_rising IS NOT NULL THEN
        PERFORM guestcomms_internal.raise_statuses(v_tenant, (SELECT array_agg(ROW(v_messages[i.ordinality], i.kind, coalesce(i.occurred_at, v_now), NULL, i.is_machine,
                NULL, NULL, NULL)::guestcomms_internal.event_input)
            FROM unnest(inputs) WITH ORDINALITY AS i WHERE v_new[i.ordinality] AND v_messages[i.ordinality] = ANY (v_hot)), v_rising);
    ELSIF v_new[1] AND v_messages[1] = ANY (v_hot) THEN
        PERFORM guestcomms_internal.raise_status(v_tenant, v_messages[1], s.status, CASE WHEN s.status = 'read' THEN coalesce(inputs[1].occurred_at, v_now) END)
        FROM guestcomms_internal.status_of_event(inputs[1].kind, inputs[1].is_machine) AS s (status);
    END IF;
    IF cardinality(v_archived) > 0 THEN
        -- It stays in the hot tables until a run writes it into the message's segment.
        INSERT INTO guestcomms_internal.late_details (tenant_id, message_id)
        SELECT v_tenant, a.message_id FROM unnest(v_archived) AS a (message_id);
    END IF;

    RETURN QUERY
    SELECT i.ordinality::integer, CASE WHEN v_problems[i.ordinality] IS NULL THEN v_ids[i.ordinality] END,
        v_problems[i.ordinality] IS NULL AND NOT v_new[i.ordinality], v_problems[i.ordinality],
        CASE WHEN v_problems[i.ordinality] IS NOT NULL
            THEN guestcomms_internal.event_problem_detail(v_problems[i.ordinality], inputs[i.ordinality]) END
    FROM generate_series(1, cardinality(inputs)) AS i (ordinality);
END $$;
COMMENT ON FUNCTION guestcomms_internal.ingest_events(guestcomms_internal.event_input[], boolean, boolean) IS
'Stores events once each and raises the status of their messages; returns for every element its event_id or its problem.';

CREATE FUNCTION guestcomms_internal.event_problem_detail(problem text, input guestcomms_internal.event_input) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT CASE problem
        WHEN 'occurred_at' THEN format('%s; the months are from %s to %s.', input.occurred_at,
            (SELECT r.since FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.message_events'),
            (SELECT r.until FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.message_events'))
        WHEN 'kind' THEN format('%s characters were given.', coalesce(char_length(input.kind), 0))
        WHEN 'message' THEN CASE WHEN input.message_id IS NULL THEN 'Looked for by source and external_id.' ELSE format('message_id %s.', input.message_id) END
    END
$$;
COMMENT ON FUNCTION guestcomms_internal.event_problem_detail(text, guestcomms_internal.event_input) IS 'Values that explain a problem; never text of a guest.';

CREATE FUNCTION guestcomms.record_event(
    message_id uuid DEFAULT NULL, kind text DEFAULT NULL, occurred_at timestamptz DEFAULT NULL, detail jsonb DEFAULT NULL,
    is_machine boolean DEFAULT false, source text DEFAULT NULL, external_id text DEFAULT NULL, event_external_id text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT i.event_id
    FROM guestcomms_internal.ingest_events(ARRAY[ROW(message_id, kind, occurred_at, detail, is_machine, source, external_id,
        event_external_id)::guestcomms_internal.event_input], false, false) AS i);
END $$;
COMMENT ON FUNCTION guestcomms.record_event(uuid, text, timestamptz, jsonb, boolean, text, text, text) IS
$$Stores what happened to a message and returns event_id. kind: queued, sent, delivered, opened, clicked, replied, read, failed, bounced, complained, unsubscribed or cancelled. The message is named by message_id, or by source and external_id, and may be archived. unsubscribed and complained are recorded as the guest's objection to marketing on the message's channel. With an event_external_id the event is stored once. The status of a message to a guest rises with it and never falls, in whatever order events come: queued, cancelled, sent, failed, delivered, read.
Example: SELECT guestcomms.record_event(source => 'mail-provider', external_id => 'm-77', kind => 'opened', is_machine => true, event_external_id => 'e-1');
See also: record_events, record_message$$;

CREATE FUNCTION guestcomms.record_events(events jsonb, on_error text DEFAULT 'abort')
RETURNS TABLE (event_id uuid, element integer, is_repeat boolean, error_code text, error_message text, error_detail text, error_hint text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_is_skipping boolean := guestcomms_internal.require_on_error(record_events.on_error);
    v_expected jsonb := jsonb '{"message_id": "uuid", "kind": "text", "occurred_at": "time", "detail": "object", "is_machine": "boolean",
        "source": "text", "external_id": "text", "event_external_id": "text"}';
    v_misshapen jsonb;
    v_elements integer[];
    v_inputs guestcomms_internal.event_input[];
BEGIN
    PERFORM guestcomms.current_tenant();
    PERFORM guestcomms_internal.require_json_array(record_events.events, v_expected, v_is_skipping);
    IF v_is_skipping THEN
        SELECT jsonb_object_agg(p.element, p.detail) INTO v_misshapen FROM guestcomms_internal.json_shape_problems(record_events.events, v_expected) AS p;
    END IF;
    SELECT array_agg(e.ordinality::integer ORDER BY e.ordinality),
        array_agg(jsonb_populate_record(NULL::guestcomms_internal.event_input, e.value) ORDER BY e.ordinality)
    INTO v_elements, v_inputs
    FROM jsonb_array_elements(record_events.events) WITH ORDINALITY AS e
    WHERE NOT coalesce(v_misshapen ? e.ordinality::text, false);
    RETURN QUERY
    WITH stored AS (
        SELECT v_elements[s.element] AS element, s.event_id, s.is_repeat, s.problem, s.detail
        FROM guestcomms_internal.ingest_events(coalesce(v_inputs, '{}'), v_is_skipping, true) AS s
        UNION ALL
        SELECT m.key::integer, NULL, false, 'shape', m.value FROM jsonb_each_text(v_misshapen) AS m
    )
    SELECT s.event_id, s.element, s.is_repeat, p.error_code, p.error_message, s.detail, p.error_hint
    FROM stored AS s
    LEFT JOIN guestcomms_internal.ingest_problems() AS p ON p.problem = s.problem
    ORDER BY s.element;
END $$;
COMMENT ON FUNCTION guestcomms.record_events(jsonb, text) IS
$$Stores an array of events, objects with record_event()'s parameters as keys, and returns a row for each in order, event_id first. One bad element and nothing is stored; with on_error => 'skip' the others are, and its row says why.
Example: SELECT event_id, error_message FROM guestcomms.record_events('[{"source": "mail-provider", "external_id": "m-77", "kind": "delivered", "occurred_at": "2026-05-01T12:00:00Z"}]', on_error => 'skip');
See also: record_event, record_messages$$;
