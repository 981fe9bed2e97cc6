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
        -- What is archived brought its facts up to date itself: keep_facts().
        WHERE c.kind IN ('message', 'event', 'event_message') AND c.operation <> 'archive'
    )
    SELECT array_agg(ROW(r.tenant_id, r.message_id)::guestcomms_internal.message_reference ORDER BY r.tenant_id, r.message_id)
    FROM (
        SELECT c.tenant_id, c.id AS message_id FROM changed AS c WHERE c.kind IN ('message', 'event_message')
        UNION
        SELECT c.tenant_id, e.message_id
        FROM changed AS c
        CROSS JOIN LATERAL (
            SELECT o.message_id FROM guestcomms.message_events AS o
            WHERE o.tenant_id = c.tenant_id AND o.event_id = c.id AND o.occurred_at >= c.since AND o.occurred_at < c.since + interval '1 millisecond'
        ) AS e
        WHERE c.kind = 'event'
    ) AS r);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_changed_messages(guestcomms_internal.message_change[]) IS
'Messages that changed, and those whose events did; where an event went, the log says from which.';

CREATE TYPE guestcomms_internal.conversation_place AS (tenant_id uuid, thread_id uuid, since timestamptz, until timestamptz, direction text);
COMMENT ON TYPE guestcomms_internal.conversation_place IS 'Where in a conversation a message is, or was.';

CREATE FUNCTION guestcomms_internal.left_places(changes guestcomms_internal.message_change[]) RETURNS guestcomms_internal.conversation_place[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- A message that was written and went before either was read has no fact that says where it was. The log says: pairs of
    -- conversation and message; not the direction, so either is taken, and of the time the millisecond.
    SELECT array_agg(DISTINCT ROW(c.tenant_id, c.ids[2 * n - 1], t.at, t.at + interval '1 millisecond', d.direction)::guestcomms_internal.conversation_place)
    FROM unnest(left_places.changes) AS c
    CROSS JOIN LATERAL generate_series(1, cardinality(c.ids) / 2) AS n
    CROSS JOIN LATERAL (SELECT guestcomms.uuid_v7_time(c.ids[2 * n]) AS at) AS t
    CROSS JOIN (VALUES ('inbound'), ('outbound')) AS d (direction)
    WHERE c.kind = 'message_place'
$$;
COMMENT ON FUNCTION guestcomms_internal.left_places(guestcomms_internal.message_change[]) IS 'Places in conversations that messages left.';

CREATE FUNCTION guestcomms_internal.changed_places(changes guestcomms_internal.message_fact_change[]) RETURNS guestcomms_internal.conversation_place[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT array_agg(DISTINCT ROW((f.fact).tenant_id, (f.fact).thread_id, (f.fact).sent_at, (f.fact).sent_at, (f.fact).direction)::guestcomms_internal.conversation_place)
    FROM unnest(changed_places.changes) AS c CROSS JOIN LATERAL (VALUES (c.old_fact), (c.new_fact)) AS f (fact)
    WHERE ((c.old_fact).thread_id, (c.old_fact).sent_at, (c.old_fact).direction)
            IS DISTINCT FROM ((c.new_fact).thread_id, (c.new_fact).sent_at, (c.new_fact).direction)
        AND (f.fact).message_id IS NOT NULL
$$;
COMMENT ON FUNCTION guestcomms_internal.changed_places(guestcomms_internal.message_fact_change[]) IS 'Places in conversations that messages came to or left.';

CREATE FUNCTION guestcomms_internal.find_neighbours(places guestcomms_internal.conversation_place[]) RETURNS guestcomms_internal.message_reference[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    -- Without sorting, only the index on conversations gives their order: see compute_message_facts().
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET enable_sort = off SET jit = off
AS $$
DECLARE
    v_window interval := guestcomms_internal.reply_window();
    -- Known when the statement is planned, so that months before and after are left out.
    v_first timestamptz := (SELECT min(p.since) FROM unnest(find_neighbours.places) AS p);
    v_last timestamptz := (SELECT max(p.until) FROM unnest(find_neighbours.places) AS p);
BEGIN
    RETURN (SELECT array_agg(ROW(r.tenant_id, r.message_id)::guestcomms_internal.message_reference)
    FROM (
        -- Those that it answers, or answered: of the other side, since its own side last wrote. Those of the same moment.
        SELECT p.tenant_id, n.message_id
        FROM unnest(find_neighbours.places) AS p
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT o.sent_at FROM guestcomms.messages AS o
                WHERE o.tenant_id = p.tenant_id AND o.thread_id >= p.thread_id AND (o.thread_id, o.sent_at) < (p.thread_id, p.since)
                    AND o.direction = p.direction
                    AND o.sent_at < p.since AND o.sent_at > p.since - v_window AND o.sent_at < v_last AND o.sent_at > v_first - v_window
                ORDER BY o.thread_id DESC, o.sent_at DESC LIMIT 1), '-infinity') AS sent_at
        ) AS l
        CROSS JOIN LATERAL (
            (SELECT m.message_id FROM guestcomms.messages AS m
             WHERE m.tenant_id = p.tenant_id AND m.thread_id >= p.thread_id AND m.thread_id <= p.thread_id
                AND (m.direction <> p.direction AND m.sent_at >= l.sent_at OR m.sent_at >= p.since)
                AND m.sent_at <= p.until AND m.sent_at > p.since - v_window AND m.sent_at <= v_last AND m.sent_at > v_first - v_window
             ORDER BY m.thread_id, m.sent_at)
            UNION ALL
            (SELECT f.message_id FROM guestcomms_bi.fact_message AS f
             WHERE f.tenant_id = p.tenant_id AND f.thread_id >= p.thread_id AND f.thread_id <= p.thread_id AND NOT f.has_source
                AND (f.direction <> p.direction OR f.sent_at >= p.since)
                AND f.sent_at <= p.until AND f.sent_at > p.since - v_window AND f.sent_at <= v_last AND f.sent_at > v_first - v_window
             ORDER BY f.thread_id, f.sent_at)
        ) AS n
        UNION
        -- The one that follows it, and may open a turn or not.
        SELECT p.tenant_id, n.message_id
        FROM unnest(find_neighbours.places) AS p
        CROSS JOIN LATERAL (
            (SELECT m.message_id FROM guestcomms.messages AS m
             WHERE m.tenant_id = p.tenant_id AND m.thread_id <= p.thread_id AND (m.thread_id, m.sent_at) > (p.thread_id, p.until)
                AND m.sent_at > p.until AND m.sent_at < p.until + v_window AND m.sent_at >= v_first AND m.sent_at < v_last + v_window
             ORDER BY m.thread_id, m.sent_at, m.message_id LIMIT 1)
            UNION ALL
            (SELECT f.message_id FROM guestcomms_bi.fact_message AS f
             WHERE f.tenant_id = p.tenant_id AND f.thread_id <= p.thread_id AND (f.thread_id, f.sent_at) > (p.thread_id, p.until)
                AND f.sent_at > p.until AND f.sent_at < p.until + v_window AND f.sent_at >= v_first AND f.sent_at < v_last + v_window
                AND NOT f.has_source
             ORDER BY f.thread_id, f.sent_at, f.message_id LIMIT 1)
        ) AS n
    ) AS r);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_neighbours(guestcomms_internal.conversation_place[]) IS
'Messages whose answer or turn may change because a message came to these places or left them.';

CREATE FUNCTION guestcomms_internal.compute_changes(changed guestcomms_internal.message_reference[], places guestcomms_internal.conversation_place[])
RETURNS guestcomms_internal.message_fact_change[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_changes guestcomms_internal.message_fact_change[];
    v_places guestcomms_internal.conversation_place[];
    v_neighbours guestcomms_internal.message_reference[];
BEGIN
    IF compute_changes.changed IS NOT NULL THEN
        v_changes := (SELECT array_agg(c) FROM guestcomms_internal.compute_message_facts(
            ARRAY(SELECT r.tenant_id FROM unnest(compute_changes.changed) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n),
            ARRAY(SELECT r.message_id FROM unnest(compute_changes.changed) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n)) AS c);
    END IF;
    v_places := compute_changes.places || guestcomms_internal.changed_places(v_changes);
    IF v_places IS NULL THEN
        RETURN v_changes;
    END IF;
    v_neighbours := (SELECT array_agg(n) FROM (
        SELECT f.tenant_id, f.message_id FROM unnest(guestcomms_internal.find_neighbours(v_places)) AS f
        EXCEPT
        SELECT r.tenant_id, r.message_id FROM unnest(compute_changes.changed) AS r) AS n);
    IF v_neighbours IS NULL THEN
        RETURN v_changes;
    END IF;
    -- A neighbour that is not loaded yet, or is otherwise than its fact says, has a change of its own that is still to be read.
    RETURN v_changes || (SELECT array_agg(c) FROM guestcomms_internal.compute_message_facts(
        ARRAY(SELECT r.tenant_id FROM unnest(v_neighbours) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n),
        ARRAY(SELECT r.message_id FROM unnest(v_neighbours) WITH ORDINALITY AS r (tenant_id, message_id, n) ORDER BY r.n)) AS c
        WHERE ((c.old_fact).thread_id, (c.old_fact).sent_at, (c.old_fact).direction, (c.old_fact).guest_id, (c.old_fact).wedding_id, (c.old_fact).campaign_id)
            = ((c.new_fact).thread_id, (c.new_fact).sent_at, (c.new_fact).direction, (c.new_fact).guest_id, (c.new_fact).wedding_id, (c.new_fact).campaign_id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.compute_changes(guestcomms_internal.message_reference[], guestcomms_internal.conversation_place[]) IS
'The facts of these messages, of their neighbours and of those at these places, as they are stored and as they should be.';
