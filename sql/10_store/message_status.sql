-- Where a message to a guest stands. Reports of providers come late, twice and in any order, so a status is not what was
-- reported last but the highest of what was ever reported: any order and any repetition ends at the same. Two steps lead back:
-- retry_message(), and confirm_sent() of what was given up only because nothing was heard of it.
CREATE FUNCTION guestcomms_internal.status_rank(status text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- sent above cancelled: what left, left. failed above sent: what bounces was sent first. delivered above failed: a provider that
-- gave up may still get through, and what arrived did not fail.
RETURN array_position(ARRAY['queued', 'cancelled', 'sent', 'failed', 'delivered', 'read'], status);
COMMENT ON FUNCTION guestcomms_internal.status_rank(text) IS 'Place of a status in the order in which it may rise; NULL for received, which stays.';

CREATE FUNCTION guestcomms_internal.status_of_event(kind text, is_machine boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN kind IN ('queued', 'cancelled', 'sent') THEN kind
    WHEN kind IN ('failed', 'bounced') THEN 'failed'
    -- An open is a picture that was loaded, perhaps by a preview: it says that the message arrived, not that it was read.
    WHEN kind = 'read' AND is_machine IS NOT TRUE THEN 'read'
    ELSE 'delivered' END;
COMMENT ON FUNCTION guestcomms_internal.status_of_event(text, boolean) IS 'The status that an event is evidence of.';

CREATE FUNCTION guestcomms_internal.higher_status(status text, other text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN guestcomms_internal.status_rank(status) < guestcomms_internal.status_rank(other) THEN other ELSE status END;
COMMENT ON FUNCTION guestcomms_internal.higher_status(text, text) IS 'Of two the one that counts.';

CREATE FUNCTION guestcomms_internal.does_rise(status text, read_at timestamptz, to_status text, to_read_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN guestcomms_internal.status_rank(status) < guestcomms_internal.status_rank(to_status) OR coalesce(to_read_at < coalesce(read_at, 'infinity'), false);
COMMENT ON FUNCTION guestcomms_internal.does_rise(text, timestamptz, text, timestamptz) IS 'Whether a report says more of a message than is known.';

CREATE FUNCTION guestcomms_internal.reported_statuses(events guestcomms_internal.event_input[])
RETURNS TABLE (message_id uuid, since timestamptz, status text, read_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT e.message_id, guestcomms.uuid_v7_time(e.message_id),
        (array_agg(s.status ORDER BY guestcomms_internal.status_rank(s.status) DESC))[1], min(e.occurred_at) FILTER (WHERE s.status = 'read')
    FROM unnest(events) AS e
    CROSS JOIN LATERAL (SELECT guestcomms_internal.status_of_event(e.kind, e.is_machine) AS status) AS s
    GROUP BY e.message_id
    ORDER BY e.message_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.reported_statuses(guestcomms_internal.event_input[]) IS
'The highest status that events report of each message, and when a person first read it; in the order of identifiers.';

CREATE FUNCTION guestcomms_internal.lock_changing_thread(tenant_id uuid, message_id uuid, to_status text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(lock_changing_thread.message_id);
    v_thread uuid := (SELECT m.thread_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = lock_changing_thread.tenant_id AND m.message_id = lock_changing_thread.message_id
            AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond' AND m.direction = 'outbound'
            AND guestcomms_internal.status_rank(m.status) < guestcomms_internal.status_rank(lock_changing_thread.to_status)
            AND guestcomms_internal.is_exchanged('outbound', m.status) <> guestcomms_internal.is_exchanged('outbound', lock_changing_thread.to_status));
BEGIN
    IF v_thread IS NOT NULL THEN
        PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_changing_thread.tenant_id AND t.thread_id = v_thread FOR NO KEY UPDATE;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_changing_thread(uuid, uuid, text) IS
'Locks the thread of a message that counts in it from a status on, or counts no more, as far as can be seen without locking the message.';

CREATE FUNCTION guestcomms_internal.raise_status(tenant_id uuid, message_id uuid, to_status text, to_read_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(raise_status.message_id);
    v_message record;
BEGIN
    SELECT m.sent_at, m.thread_id, m.status, m.read_at INTO v_message FROM guestcomms.messages AS m
    WHERE m.tenant_id = raise_status.tenant_id AND m.message_id = raise_status.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond'
        AND m.direction = 'outbound';
    -- A row is wide, and writing it anew costs an entry in every index.
    IF NOT FOUND OR NOT guestcomms_internal.does_rise(v_message.status, v_message.read_at, raise_status.to_status, raise_status.to_read_at) THEN
        RETURN;
    END IF;
    -- Most reports change nothing of the thread, and leave it alone. But whoever has the message now may be changing that: nobody
    -- is waited for without the thread.
    PERFORM FROM guestcomms.messages AS m
    WHERE m.tenant_id = raise_status.tenant_id AND m.message_id = raise_status.message_id AND m.sent_at = v_message.sent_at
        AND guestcomms_internal.is_exchanged('outbound', m.status) = guestcomms_internal.is_exchanged('outbound', raise_status.to_status)
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = raise_status.tenant_id AND t.thread_id = v_message.thread_id FOR NO KEY UPDATE;
    END IF;
    UPDATE guestcomms.messages AS m
    SET status = guestcomms_internal.higher_status(m.status, raise_status.to_status), read_at = least(m.read_at, raise_status.to_read_at)
    WHERE m.tenant_id = raise_status.tenant_id AND m.message_id = raise_status.message_id AND m.sent_at = v_message.sent_at
        AND guestcomms_internal.does_rise(m.status, m.read_at, raise_status.to_status, raise_status.to_read_at);
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_status(uuid, uuid, text, timestamptz) IS
'Raises the status of one message to a guest to what an event reports, never lowers it; locks its thread first where that changes with it.';

CREATE FUNCTION guestcomms_internal.lock_rising(tenant_id uuid, events guestcomms_internal.event_input[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_rising uuid[] := ARRAY(
        SELECT m.message_id
        FROM guestcomms_internal.reported_statuses(lock_rising.events) AS r
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = lock_rising.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
                AND m.direction = 'outbound' AND guestcomms_internal.does_rise(m.status, m.read_at, r.status, r.read_at)) AS m);
BEGIN
    IF cardinality(v_rising) > 0 THEN
        PERFORM guestcomms_internal.lock_threads_of(lock_rising.tenant_id, v_rising);
    END IF;
    RETURN v_rising;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_rising(uuid, guestcomms_internal.event_input[]) IS
'The messages whose statuses rise by events; their threads are locked, which may change with them.';

CREATE FUNCTION guestcomms_internal.raise_statuses(tenant_id uuid, events guestcomms_internal.event_input[], rising uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_risen uuid[];
    v_count integer;
BEGIN
    IF raise_statuses.events IS NULL OR cardinality(raise_statuses.rising) = 0 THEN
        RETURN 0;
    END IF;
    -- Locked in order, or overlapping batches deadlock; and only those that rise.
    v_risen := ARRAY(
        SELECT m.message_id
        FROM (SELECT r.message_id, r.since, r.status, r.read_at FROM guestcomms_internal.reported_statuses(raise_statuses.events) AS r
            WHERE r.message_id = ANY (raise_statuses.rising) ORDER BY r.message_id OFFSET 0) AS r
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = raise_statuses.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
                AND guestcomms_internal.does_rise(m.status, m.read_at, r.status, r.read_at)
            FOR NO KEY UPDATE) AS m);
    IF cardinality(v_risen) = 0 THEN
        RETURN 0;
    END IF;
    UPDATE guestcomms.messages AS m
    SET status = guestcomms_internal.higher_status(m.status, r.status), read_at = least(m.read_at, r.read_at)
    FROM guestcomms_internal.reported_statuses(raise_statuses.events) AS r
    WHERE m.tenant_id = raise_statuses.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
        AND r.message_id = ANY (v_risen);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_statuses(uuid, guestcomms_internal.event_input[], uuid[]) IS
'Raises the statuses of messages whose threads lock_rising() has locked to what events report, never lowers one; returns how many rose.';
