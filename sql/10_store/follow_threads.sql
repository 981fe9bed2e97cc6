-- Triggers that keep threads in step with their messages: of any way in or out, in one statement a batch, without reading messages
-- unless one came or went in the midst of others. Threads are locked in order, so that overlapping batches do not deadlock.
CREATE TYPE guestcomms_internal.thread_change AS (
    tenant_id uuid, thread_id uuid,
    -- the newest message that was added
    message_id uuid, sent_at timestamptz, direction text, channel text,
    -- newest of what was added of either side, and the first of it that the other side's do not follow
    inbound_at timestamptz, inbound_since timestamptz, outbound_at timestamptz, outbound_since timestamptz,
    unread_change integer,
    removed_at timestamptz  -- newest of what was removed
);
COMMENT ON TYPE guestcomms_internal.thread_change IS 'What a statement did to one thread.';
CREATE TYPE guestcomms_internal.thread_key AS (tenant_id uuid, thread_id uuid);
COMMENT ON TYPE guestcomms_internal.thread_key IS 'A thread.';

CREATE FUNCTION guestcomms_internal.next_waiting_since(inbound_at timestamptz, outbound_at timestamptz, waiting_since timestamptz, change guestcomms_internal.thread_change)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Who wrote last waits since the first of their messages that no answer follows: one that was added, or one from before.
RETURN CASE WHEN greatest(outbound_at, change.outbound_at) IS NULL OR greatest(inbound_at, change.inbound_at) > greatest(outbound_at, change.outbound_at) THEN
        CASE WHEN outbound_at >= change.inbound_since AND outbound_at < change.inbound_at THEN NULL
            WHEN inbound_at IS NULL OR inbound_at <= greatest(outbound_at, change.outbound_at)
                THEN CASE WHEN change.inbound_at <= outbound_at THEN NULL ELSE change.inbound_since END
            WHEN waiting_since <= greatest(outbound_at, change.outbound_at) THEN NULL
            ELSE least(waiting_since, CASE WHEN change.inbound_at <= outbound_at THEN NULL ELSE change.inbound_since END) END
    ELSE
        CASE WHEN inbound_at > change.outbound_since AND inbound_at <= change.outbound_at THEN NULL
            WHEN outbound_at IS NULL OR outbound_at < greatest(inbound_at, change.inbound_at)
                THEN CASE WHEN change.outbound_at < inbound_at THEN NULL ELSE change.outbound_since END
            WHEN waiting_since < greatest(inbound_at, change.inbound_at) THEN NULL
            ELSE least(waiting_since, CASE WHEN change.outbound_at < inbound_at THEN NULL ELSE change.outbound_since END) END
    END;
COMMENT ON FUNCTION guestcomms_internal.next_waiting_since(timestamptz, timestamptz, timestamptz, guestcomms_internal.thread_change) IS
'Since when one side waits, once a change is made; NULL where an answer came in between, and only the messages can tell.';

CREATE FUNCTION guestcomms_internal.is_later(change guestcomms_internal.thread_change, last_message_at timestamptz, last_message_id uuid) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN change.sent_at > last_message_at OR change.sent_at IS NOT NULL AND last_message_at IS NULL
    OR change.sent_at = last_message_at AND change.message_id > last_message_id;
COMMENT ON FUNCTION guestcomms_internal.is_later(guestcomms_internal.thread_change, timestamptz, uuid) IS 'Whether what was added comes after the thread''s last message.';

CREATE FUNCTION guestcomms_internal.lock_threads(changes guestcomms_internal.thread_change[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
BEGIN
    -- One look-up each, in the order of the array, whatever the planner would make of a join.
    PERFORM FROM unnest(changes) AS c
    CROSS JOIN LATERAL (SELECT FROM guestcomms.threads AS t WHERE t.tenant_id = c.tenant_id AND t.thread_id = c.thread_id FOR NO KEY UPDATE) AS l;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_threads(guestcomms_internal.thread_change[]) IS 'Locks the threads of changes, in their order.';

CREATE FUNCTION guestcomms_internal.clear_up_threads(unclear guestcomms_internal.thread_key[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.refresh_thread_states(u.tenant_id, u.thread_ids)
    FROM (SELECT k.tenant_id, array_agg(k.thread_id) AS thread_ids FROM unnest(unclear) AS k GROUP BY k.tenant_id) AS u;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clear_up_threads(guestcomms_internal.thread_key[]) IS 'Computes threads from their messages.';

CREATE FUNCTION guestcomms_internal.change_threads(changes guestcomms_internal.thread_change[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_unclear guestcomms_internal.thread_key[];
BEGIN
    -- A setting costs as much as an index entry, so one message does without; its way in has set what matters.
    IF cardinality(changes) > 1 THEN
        PERFORM guestcomms_internal.lock_threads(changes);
    END IF;
    WITH changed AS (
        UPDATE guestcomms.threads AS t
        SET last_message_id = CASE WHEN guestcomms_internal.is_later(c, t.last_message_at, t.last_message_id) THEN c.message_id ELSE t.last_message_id END,
            last_message_at = greatest(t.last_message_at, c.sent_at),
            last_direction = CASE WHEN guestcomms_internal.is_later(c, t.last_message_at, t.last_message_id) THEN c.direction ELSE t.last_direction END,
            last_channel = CASE WHEN guestcomms_internal.is_later(c, t.last_message_at, t.last_message_id) THEN c.channel ELSE t.last_channel END,
            last_inbound_at = greatest(t.last_inbound_at, c.inbound_at),
            last_outbound_at = greatest(t.last_outbound_at, c.outbound_at),
            waiting_since = guestcomms_internal.next_waiting_since(t.last_inbound_at, t.last_outbound_at, t.waiting_since, c),
            unread_count = t.unread_count + c.unread_change
        FROM unnest(changes) AS c
        WHERE t.tenant_id = c.tenant_id AND t.thread_id = c.thread_id
            -- What is older than the last words of both sides changes nothing.
            AND (c.unread_change <> 0 OR c.removed_at IS NOT NULL OR (c.sent_at < t.last_inbound_at AND c.sent_at < t.last_outbound_at) IS NOT TRUE)
        RETURNING t.tenant_id, t.thread_id,
            t.waiting_since IS NULL AND t.last_message_at IS NOT NULL
                OR c.removed_at IS NOT NULL AND (c.removed_at < t.last_inbound_at AND c.removed_at < t.last_outbound_at) IS NOT TRUE AS is_unclear
    )
    SELECT array_agg(ROW(c.tenant_id, c.thread_id)::guestcomms_internal.thread_key) INTO v_unclear FROM changed AS c WHERE c.is_unclear;
    IF v_unclear IS NOT NULL THEN
        PERFORM guestcomms_internal.clear_up_threads(v_unclear);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.change_threads(guestcomms_internal.thread_change[]) IS
'Notes changes, ordered by thread and one for each; of what only the messages can tell they are asked.';

CREATE FUNCTION guestcomms_internal.follow_new_messages() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_changes guestcomms_internal.thread_change[];
BEGIN
    SELECT array_agg(ROW(n.tenant_id, n.thread_id, (n.last).message_id, (n.last).sent_at, (n.last).direction, (n.last).channel,
        n.inbound_at, n.inbound_since, n.outbound_at, n.outbound_since, n.unread_change, NULL)::guestcomms_internal.thread_change ORDER BY n.tenant_id, n.thread_id)
    INTO v_changes
    FROM (
        SELECT c.tenant_id, c.thread_id, (array_agg(c.place ORDER BY c.sent_at DESC, (c.place).message_id DESC))[1] AS last,
            c.inbound_at, min(c.sent_at) FILTER (WHERE c.direction = 'inbound' AND (c.outbound_at IS NULL OR c.sent_at > c.outbound_at)) AS inbound_since,
            c.outbound_at, min(c.sent_at) FILTER (WHERE c.direction = 'outbound' AND (c.inbound_at IS NULL OR c.sent_at >= c.inbound_at)) AS outbound_since,
            count(*) FILTER (WHERE c.is_unread) AS unread_change
        FROM (SELECT i.tenant_id, i.thread_id, i.sent_at, i.direction, ROW(i.message_id, i.sent_at, i.direction, i.channel)::guestcomms_internal.placed_message AS place,
                max(i.sent_at) FILTER (WHERE i.direction = 'inbound') OVER conversation AS inbound_at,
                max(i.sent_at) FILTER (WHERE i.direction = 'outbound') OVER conversation AS outbound_at,
                guestcomms_internal.is_unread(i.direction, i.read_at, i.deleted_at) AS is_unread
            FROM changed AS i
            WHERE guestcomms_internal.is_exchanged(i.direction, i.status)
            WINDOW conversation AS (PARTITION BY i.tenant_id, i.thread_id)) AS c
        GROUP BY c.tenant_id, c.thread_id, c.inbound_at, c.outbound_at
    ) AS n;
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.change_threads(v_changes);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.follow_new_messages() IS
'Notes new messages with their threads. Those that come back from the archive were counted there, and only what of them is unread changes anything.';

CREATE FUNCTION guestcomms_internal.follow_removed_messages() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_archived uuid[] := ARRAY[]::uuid[];
    v_changes guestcomms_internal.thread_change[];
BEGIN
    IF TG_ARGV[0] = 'engine' THEN
        -- What the archive took is still part of its conversation, and only what of it was unread is taken off.
        v_archived := ARRAY(
            SELECT a.id FROM (SELECT c.tenant_id, array_agg(c.message_id) AS ids FROM changed AS c GROUP BY c.tenant_id) AS g
            CROSS JOIN LATERAL unnest(guestcomms_internal.list_archived(g.tenant_id, g.ids)) AS a (id));
    END IF;
    SELECT array_agg(n.change ORDER BY n.tenant_id, n.thread_id) INTO v_changes
    FROM (
        SELECT c.tenant_id, c.thread_id, ROW(c.tenant_id, c.thread_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, -count(*) FILTER (WHERE c.is_unread),
            max(c.sent_at) FILTER (WHERE c.is_exchanged AND c.message_id <> ALL (v_archived)))::guestcomms_internal.thread_change AS change
        FROM (SELECT tenant_id, thread_id, message_id, sent_at, guestcomms_internal.is_exchanged(direction, status) AS is_exchanged,
                guestcomms_internal.is_unread(direction, read_at, deleted_at) AS is_unread
            FROM changed) AS c
        GROUP BY c.tenant_id, c.thread_id
        HAVING bool_or(c.is_unread) OR bool_or(c.is_exchanged AND c.message_id <> ALL (v_archived))
    ) AS n;
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.change_threads(v_changes);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.follow_removed_messages() IS
'Notes with their threads that messages are gone, or, of those that guestcomms_engine took into the archive, that they are no longer unread.';

CREATE FUNCTION guestcomms_internal.follow_changed_messages() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_changes guestcomms_internal.thread_change[];
BEGIN
    WITH pair AS MATERIALIZED (
        SELECT o.was_exchanged, o.was_unread, n.is_exchanged, n.is_unread, o.thread_id AS old_thread_id, o.sent_at AS old_sent_at,
            n.tenant_id, n.thread_id, n.message_id, n.sent_at, n.direction, n.channel,
            (n.thread_id, n.sent_at, n.direction, n.channel, n.is_exchanged) IS DISTINCT FROM (o.thread_id, o.sent_at, o.direction, o.channel, o.was_exchanged) AS has_moved
        FROM (SELECT tenant_id, thread_id, message_id, sent_at, direction, channel, guestcomms_internal.is_exchanged(direction, status) AS is_exchanged,
                guestcomms_internal.is_unread(direction, read_at, deleted_at) AS is_unread
            FROM changed) AS n
        JOIN (SELECT tenant_id, thread_id, message_id, sent_at, direction, channel, guestcomms_internal.is_exchanged(direction, status) AS was_exchanged,
                guestcomms_internal.is_unread(direction, read_at, deleted_at) AS was_unread
            FROM previous) AS o ON o.tenant_id = n.tenant_id AND o.message_id = n.message_id
        WHERE (n.thread_id, n.sent_at, n.direction, n.channel, n.is_exchanged, n.is_unread)
            IS DISTINCT FROM (o.thread_id, o.sent_at, o.direction, o.channel, o.was_exchanged, o.was_unread)
    ), part AS (
        SELECT p.tenant_id, p.thread_id, CASE WHEN p.has_moved AND p.is_exchanged THEN ROW(p.message_id, p.sent_at, p.direction, p.channel)::guestcomms_internal.placed_message END AS added,
            p.is_unread::integer AS unread_change, NULL::timestamptz AS removed_at
        FROM pair AS p
        UNION ALL
        SELECT p.tenant_id, p.old_thread_id, NULL, -p.was_unread::integer, CASE WHEN p.has_moved AND p.was_exchanged THEN p.old_sent_at END
        FROM pair AS p
    )
    SELECT array_agg(ROW(n.tenant_id, n.thread_id, (n.last).message_id, (n.last).sent_at, (n.last).direction, (n.last).channel,
        n.inbound_at, n.inbound_since, n.outbound_at, n.outbound_since, n.unread_change, n.removed_at)::guestcomms_internal.thread_change ORDER BY n.tenant_id, n.thread_id)
    INTO v_changes
    FROM (
        SELECT c.tenant_id, c.thread_id,
            (array_agg(c.added ORDER BY (c.added).sent_at DESC, (c.added).message_id DESC) FILTER (WHERE (c.added).message_id IS NOT NULL))[1] AS last,
            c.inbound_at, min((c.added).sent_at) FILTER (WHERE (c.added).direction = 'inbound' AND (c.outbound_at IS NULL OR (c.added).sent_at > c.outbound_at)) AS inbound_since,
            c.outbound_at, min((c.added).sent_at) FILTER (WHERE (c.added).direction = 'outbound' AND (c.inbound_at IS NULL OR (c.added).sent_at >= c.inbound_at)) AS outbound_since,
            sum(c.unread_change) AS unread_change, max(c.removed_at) AS removed_at
        FROM (SELECT p.*, max((p.added).sent_at) FILTER (WHERE (p.added).direction = 'inbound') OVER conversation AS inbound_at,
                max((p.added).sent_at) FILTER (WHERE (p.added).direction = 'outbound') OVER conversation AS outbound_at
            FROM part AS p WINDOW conversation AS (PARTITION BY p.tenant_id, p.thread_id)) AS c
        GROUP BY c.tenant_id, c.thread_id, c.inbound_at, c.outbound_at
        HAVING sum(c.unread_change) <> 0 OR count(c.removed_at) > 0 OR count((c.added).message_id) > 0
    ) AS n;
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.change_threads(v_changes);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.follow_changed_messages() IS
'Notes with their threads that messages were read, deleted, sent at last, or moved between conversations.';
