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

CREATE FUNCTION guestcomms_internal.lock_changing_threads(tenant_id uuid, events guestcomms_internal.event_input[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    -- Most reports are of what was sent, and change nothing of its thread.
    v_changing uuid[] := ARRAY(
        SELECT m.message_id
        FROM guestcomms_internal.reported_statuses(lock_changing_threads.events) AS r
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = lock_changing_threads.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
                AND m.direction = 'outbound' AND guestcomms_internal.status_rank(m.status) < guestcomms_internal.status_rank(r.status)
                AND guestcomms_internal.is_exchanged(m.direction, m.status) <> guestcomms_internal.is_exchanged(m.direction, r.status)) AS m);
BEGIN
    IF cardinality(v_changing) > 0 THEN
        PERFORM guestcomms_internal.lock_threads_of(lock_changing_threads.tenant_id, v_changing);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_changing_threads(uuid, guestcomms_internal.event_input[]) IS
'Locks the threads in which messages count, or count no more, once what events report of them is noted.';

CREATE FUNCTION guestcomms_internal.raise_statuses(tenant_id uuid, events guestcomms_internal.event_input[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_risen uuid[];
    v_count integer;
BEGIN
    IF raise_statuses.events IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM guestcomms_internal.lock_changing_threads(raise_statuses.tenant_id, raise_statuses.events);
    -- Locked in order, or overlapping batches deadlock; and only those that rise: a row is wide, and writing it anew costs an
    -- entry in every index.
    v_risen := ARRAY(
        SELECT m.message_id
        FROM (SELECT r.message_id, r.since, r.status, r.read_at FROM guestcomms_internal.reported_statuses(raise_statuses.events) AS r ORDER BY r.message_id OFFSET 0) AS r
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = raise_statuses.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
                AND m.direction = 'outbound'
                AND (guestcomms_internal.status_rank(m.status) < guestcomms_internal.status_rank(r.status) OR r.read_at < coalesce(m.read_at, 'infinity'))
            FOR NO KEY UPDATE) AS m);
    IF cardinality(v_risen) = 0 THEN
        RETURN 0;
    END IF;
    UPDATE guestcomms.messages AS m
    SET status = CASE WHEN guestcomms_internal.status_rank(m.status) < guestcomms_internal.status_rank(r.status) THEN r.status ELSE m.status END,
        read_at = least(m.read_at, r.read_at)
    FROM guestcomms_internal.reported_statuses(raise_statuses.events) AS r
    WHERE m.tenant_id = raise_statuses.tenant_id AND m.message_id = r.message_id AND m.sent_at >= r.since AND m.sent_at < r.since + interval '1 millisecond'
        AND r.message_id = ANY (v_risen);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_statuses(uuid, guestcomms_internal.event_input[]) IS
'Raises the status of messages to guests to what events report, never lowers one; returns how many rose.';
