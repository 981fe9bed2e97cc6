-- From changes to the messages whose facts they change: those that changed, those whose events did, and their neighbours in
-- conversations, whose answers may be others now.
CREATE TYPE guestcomms_internal.message_reference AS (tenant_id uuid, message_id uuid);
COMMENT ON TYPE guestcomms_internal.message_reference IS 'A message of a tenant.';

CREATE FUNCTION guestcomms_internal.find_changed_messages(changes guestcomms_internal.message_change[]) RETURNS guestcomms_internal.message_reference[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    RETURN (WITH changed AS MATERIALIZED (
        SELECT DISTINCT c.tenant_id, c.kind, i.id, guestcomms.uuid_v7_time(i.id) AS since
        FROM unnest(find_changed_messages.changes) AS c CROSS JOIN LATERAL unnest(c.ids) AS i (id)
        WHERE c.kind IN ('message', 'event')
    )
    SELECT array_agg(ROW(r.tenant_id, r.message_id)::guestcomms_internal.message_reference ORDER BY r.tenant_id, r.message_id)
    FROM (
        SELECT c.tenant_id, c.id AS message_id FROM changed AS c WHERE c.kind = 'message'
        UNION
        SELECT c.tenant_id, e.message_id
        FROM changed AS c
        CROSS JOIN LATERAL (
            SELECT o.message_id FROM guestcomms.message_events AS o
            WHERE o.tenant_id = c.tenant_id AND o.event_id = c.id AND o.occurred_at >= c.since AND o.occurred_at < c.since + interval '1 millisecond'
            UNION ALL
            -- Of an event that was deleted, or put on another message.
            SELECT o.message_id FROM guestcomms_bi.fact_message_event AS o
            WHERE o.tenant_id = c.tenant_id AND o.event_id = c.id AND o.occurred_at >= c.since AND o.occurred_at < c.since + interval '1 millisecond'
        ) AS e
        WHERE c.kind = 'event'
    ) AS r);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_changed_messages(guestcomms_internal.message_change[]) IS
'Messages that changed, and those whose events did.';

CREATE FUNCTION guestcomms_internal.find_neighbours(changes guestcomms_internal.message_fact_change[]) RETURNS guestcomms_internal.message_reference[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
DECLARE
    v_window interval := guestcomms_internal.reply_window();
    -- Known when the statement is planned, so that months before and after are left out.
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    SELECT min(f.sent_at), max(f.sent_at) INTO v_first, v_last
    FROM unnest(find_neighbours.changes) AS c CROSS JOIN LATERAL (VALUES ((c.old_fact).sent_at), ((c.new_fact).sent_at)) AS f (sent_at)
    WHERE ((c.old_fact).thread_id, (c.old_fact).sent_at, (c.old_fact).direction)
        IS DISTINCT FROM ((c.new_fact).thread_id, (c.new_fact).sent_at, (c.new_fact).direction);
    IF v_first IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (WITH place AS MATERIALIZED (
        SELECT DISTINCT (f.fact).tenant_id, (f.fact).message_id, (f.fact).thread_id, (f.fact).sent_at, (f.fact).direction
        FROM unnest(find_neighbours.changes) AS c CROSS JOIN LATERAL (VALUES (c.old_fact), (c.new_fact)) AS f (fact)
        WHERE ((c.old_fact).thread_id, (c.old_fact).sent_at, (c.old_fact).direction)
                IS DISTINCT FROM ((c.new_fact).thread_id, (c.new_fact).sent_at, (c.new_fact).direction)
            AND (f.fact).message_id IS NOT NULL
    )
    SELECT array_agg(ROW(r.tenant_id, r.message_id)::guestcomms_internal.message_reference ORDER BY r.tenant_id, r.message_id)
    FROM (
        -- Those that it answers, or answered: of the other side, since its own side last wrote.
        SELECT p.tenant_id, n.message_id
        FROM place AS p
        CROSS JOIN LATERAL (
            SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = p.tenant_id AND m.thread_id = p.thread_id AND m.direction <> p.direction
                AND m.sent_at <= p.sent_at AND m.sent_at > p.sent_at - v_window AND m.sent_at <= v_last AND m.sent_at > v_first - v_window
                AND m.sent_at >= coalesce((
                    -- In the order of conversations: see compute_message_facts().
                    SELECT o.sent_at FROM guestcomms.messages AS o
                    WHERE o.tenant_id = p.tenant_id AND o.thread_id >= p.thread_id AND (o.thread_id, o.sent_at) < (p.thread_id, p.sent_at) AND o.direction = p.direction
                        AND o.sent_at < p.sent_at AND o.sent_at > p.sent_at - v_window AND o.sent_at < v_last AND o.sent_at > v_first - v_window
                    ORDER BY o.thread_id DESC, o.sent_at DESC LIMIT 1), '-infinity')
            UNION ALL
            SELECT f.message_id FROM guestcomms_bi.fact_message AS f
            WHERE f.tenant_id = p.tenant_id AND f.thread_id = p.thread_id AND NOT f.has_source AND f.direction <> p.direction
                AND f.sent_at <= p.sent_at AND f.sent_at > p.sent_at - v_window AND f.sent_at <= v_last AND f.sent_at > v_first - v_window
        ) AS n
        UNION
        -- The one that follows it, and may open a turn or not.
        SELECT p.tenant_id, n.message_id
        FROM place AS p
        CROSS JOIN LATERAL (
            (SELECT m.message_id FROM guestcomms.messages AS m
             WHERE m.tenant_id = p.tenant_id AND m.thread_id <= p.thread_id AND (m.thread_id, m.sent_at, m.message_id) > (p.thread_id, p.sent_at, p.message_id)
                AND m.sent_at >= p.sent_at AND m.sent_at < p.sent_at + v_window AND m.sent_at >= v_first AND m.sent_at < v_last + v_window
             ORDER BY m.thread_id, m.sent_at, m.message_id LIMIT 1)
            UNION ALL
            (SELECT f.message_id FROM guestcomms_bi.fact_message AS f
             WHERE f.tenant_id = p.tenant_id AND f.thread_id <= p.thread_id AND (f.thread_id, f.sent_at, f.message_id) > (p.thread_id, p.sent_at, p.message_id)
                AND f.sent_at >= p.sent_at AND f.sent_at < p.sent_at + v_window AND f.sent_at >= v_first AND f.sent_at < v_last + v_window
                AND NOT f.has_source
             ORDER BY f.thread_id, f.sent_at, f.message_id LIMIT 1)
        ) AS n
        EXCEPT
        SELECT coalesce((c.old_fact).tenant_id, (c.new_fact).tenant_id), coalesce((c.old_fact).message_id, (c.new_fact).message_id)
        FROM unnest(find_neighbours.changes) AS c
    ) AS r);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_neighbours(guestcomms_internal.message_fact_change[]) IS
'Messages whose answer or turn may change because these came into a conversation, left it or changed sides.';

CREATE FUNCTION guestcomms_internal.compute_changes(changed guestcomms_internal.message_reference[]) RETURNS guestcomms_internal.message_fact_change[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_changes guestcomms_internal.message_fact_change[];
    v_neighbours guestcomms_internal.message_reference[];
BEGIN
    v_changes := (SELECT array_agg(c) FROM guestcomms_internal.compute_message_facts(
        ARRAY(SELECT r.tenant_id FROM unnest(compute_changes.changed) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n),
        ARRAY(SELECT r.message_id FROM unnest(compute_changes.changed) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n)) AS c);
    v_neighbours := guestcomms_internal.find_neighbours(v_changes);
    IF v_neighbours IS NULL THEN
        RETURN v_changes;
    END IF;
    -- A neighbour that is not loaded yet, or has moved itself, has a change of its own that is still to be read, and with it
    -- neighbours of its own.
    RETURN v_changes || (SELECT array_agg(c) FROM guestcomms_internal.compute_message_facts(
        ARRAY(SELECT r.tenant_id FROM unnest(v_neighbours) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n),
        ARRAY(SELECT r.message_id FROM unnest(v_neighbours) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n)) AS c
        WHERE ((c.old_fact).thread_id, (c.old_fact).sent_at, (c.old_fact).direction) = ((c.new_fact).thread_id, (c.new_fact).sent_at, (c.new_fact).direction));
END $$;
COMMENT ON FUNCTION guestcomms_internal.compute_changes(guestcomms_internal.message_reference[]) IS
'The facts of these messages and of their neighbours, as they are stored and as they should be.';
