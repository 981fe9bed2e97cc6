-- Alerts: which saved searches new and edited messages match. In batches: what the messages have leads to the saved searches
-- that may match, these are compared by their words, and what is left by its filters and exact texts.
CREATE TYPE guestcomms_internal.changed_message AS (
    tenant_id uuid,
    message_id uuid,
    sent_at timestamptz,
    thread_id uuid,
    guest_id uuid,
    wedding_id uuid,
    campaign_id uuid,
    direction text,
    channel text,
    status text,
    subject text,
    body text,
    read_at timestamptz,
    search tsvector,
    configuration text
);
COMMENT ON TYPE guestcomms_internal.changed_message IS 'A message as filters and rechecks look at it, and the configuration it is matched by.';

CREATE FUNCTION guestcomms_internal.read_messages(tenant_id uuid, ids uuid[]) RETURNS guestcomms_internal.changed_message[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    -- Older ones would raise alerts that are not kept.
    v_first uuid := guestcomms_internal.first_uuid_v7(now() - guestcomms_internal.setting('alerts.keep', read_messages.tenant_id)::interval);
BEGIN
    RETURN ARRAY(
        SELECT ROW(m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status,
            m.subject, m.body, m.read_at, m.search, guestcomms_internal.search_configuration_v1(m.language))::guestcomms_internal.changed_message
        FROM (SELECT DISTINCT u.message_id FROM unnest(ids) AS u (message_id) WHERE u.message_id >= v_first) AS i
        JOIN guestcomms.messages AS m ON m.tenant_id = read_messages.tenant_id AND m.message_id = i.message_id
            AND m.sent_at >= guestcomms.uuid_v7_time(i.message_id) AND m.sent_at < guestcomms.uuid_v7_time(i.message_id) + interval '1 millisecond')
        -- Archived before anybody looked.
        || ARRAY(
        SELECT ROW(m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status,
            m.subject, m.body, m.read_at, m.search, guestcomms_internal.search_configuration_v1(m.language))::guestcomms_internal.changed_message
        FROM guestcomms_internal.find_archived(read_messages.tenant_id, ARRAY(SELECT DISTINCT u.message_id FROM unnest(ids) AS u (message_id) WHERE u.message_id >= v_first)) AS m);
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_messages(uuid, uuid[]) IS 'A tenant''s messages of these identifiers, those that are there and not older than alerts are kept.';

CREATE FUNCTION guestcomms_internal.message_anchors(tenant_id uuid, messages guestcomms_internal.changed_message[])
RETURNS TABLE (place integer, anchor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Beginnings of so many characters are asked for.
    v_lengths integer[] := ARRAY(SELECT DISTINCT char_length(a.anchor) - 1 FROM guestcomms.saved_search_anchors AS a
        WHERE a.tenant_id = message_anchors.tenant_id AND a.anchor >= 'p' AND a.anchor < 'q');
    -- Names begin with their kind and a colon; an address goes with a guest's name, or stands alone.
    v_has_names boolean := EXISTS (SELECT FROM unnest('{guest:,wedding:,campaign:,thread:,address=}'::text[]) AS k (kind)
        CROSS JOIN LATERAL (SELECT FROM guestcomms.saved_search_anchors AS a
            WHERE a.tenant_id = message_anchors.tenant_id AND a.anchor >= k.kind AND a.anchor < k.kind || U&'\+10FFFF' LIMIT 1) AS found);
BEGIN
    RETURN QUERY
    WITH message AS MATERIALIZED (
        SELECT m.number::integer AS place, m.* FROM unnest(messages) WITH ORDINALITY AS m (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id,
            direction, channel, status, subject, body, read_at, search, configuration, number)
    ), lexeme AS MATERIALIZED (
        SELECT m.place, u.lexeme FROM message AS m CROSS JOIN LATERAL unnest(m.search) AS u
    ), person AS MATERIALIZED (
        -- By each name and identifier of the guest, and of those merged into the guest.
        SELECT m.place, s.id FROM message AS m CROSS JOIN LATERAL unnest(guestcomms_internal.add_same_guests(message_anchors.tenant_id, ARRAY[m.guest_id])) AS s (id)
    ), named AS MATERIALIZED (
        -- Each name once, with the places of its messages.
        SELECT n.kind, n.id, array_agg(n.place) AS places
        FROM (
            SELECT 'guest' AS kind, p.id, p.place FROM person AS p
            UNION ALL SELECT 'wedding', m.wedding_id, m.place FROM message AS m
            UNION ALL SELECT 'campaign', m.campaign_id, m.place FROM message AS m
            UNION ALL SELECT 'thread', m.thread_id, m.place FROM message AS m
        ) AS n
        WHERE v_has_names AND n.id IS NOT NULL
        GROUP BY n.kind, n.id
    ), name AS (
        SELECT n.kind, n.places, CASE n.kind
            WHEN 'guest' THEN (SELECT g.display_name FROM guestcomms.guests AS g WHERE g.tenant_id = message_anchors.tenant_id AND g.guest_id = n.id)
            WHEN 'wedding' THEN (SELECT w.name FROM guestcomms.weddings AS w WHERE w.tenant_id = message_anchors.tenant_id AND w.wedding_id = n.id)
            WHEN 'campaign' THEN (SELECT c.name FROM guestcomms.campaigns AS c WHERE c.tenant_id = message_anchors.tenant_id AND c.campaign_id = n.id)
            ELSE (SELECT t.subject FROM guestcomms.threads AS t WHERE t.tenant_id = message_anchors.tenant_id AND t.thread_id = n.id) END AS name
        FROM named AS n
    )
    SELECT m.place, '*' FROM message AS m
    UNION ALL SELECT m.place, 'channel=' || m.channel FROM message AS m
    UNION ALL SELECT p.place, 'guest=' || p.id FROM person AS p
    UNION ALL SELECT m.place, 'thread=' || m.thread_id FROM message AS m
    UNION ALL SELECT m.place, 'wedding=' || m.wedding_id FROM message AS m WHERE m.wedding_id IS NOT NULL
    UNION ALL SELECT m.place, 'campaign=' || m.campaign_id FROM message AS m WHERE m.campaign_id IS NOT NULL
    UNION ALL SELECT l.place, 'w' || l.lexeme FROM lexeme AS l
    UNION ALL SELECT l.place, 'p' || left(l.lexeme, n.length) FROM lexeme AS l JOIN unnest(v_lengths) AS n (length) ON char_length(l.lexeme) >= n.length
    UNION ALL
    SELECT p.place, concat(n.kind, ':', left(u.lexeme, c.length))
    FROM name AS n
    CROSS JOIN LATERAL unnest(to_tsvector('guestcomms.search_simple', n.name)) AS u
    CROSS JOIN LATERAL generate_series(1, char_length(u.lexeme)) AS c (length)
    CROSS JOIN LATERAL unnest(n.places) AS p (place)
    UNION ALL
    SELECT p.place, 'address=' || a.address
    FROM named AS n
    JOIN guestcomms.guest_addresses AS a ON a.tenant_id = message_anchors.tenant_id AND a.guest_id = n.id
    CROSS JOIN LATERAL unnest(n.places) AS p (place)
    WHERE n.kind = 'guest';
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_anchors(uuid, guestcomms_internal.changed_message[]) IS
'What messages, by their places in the array, have that a saved search may be kept by.';

CREATE FUNCTION guestcomms_internal.filter_matches(tenant_id uuid, query text, messages guestcomms_internal.changed_message[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_conditions record;
    v_matches uuid[];
BEGIN
    SELECT q.condition, q.recheck_all INTO v_conditions
    FROM guestcomms_internal.query_conditions(filter_matches.tenant_id,
        guestcomms_internal.search_clauses(filter_matches.tenant_id, filter_matches.query),
        guestcomms_internal.tenant_configurations(filter_matches.tenant_id)) AS q;
    EXECUTE format('SELECT array_agg(m.message_id) FROM unnest($1) AS m CROSS JOIN LATERAL (SELECT m.subject, m.body, m.search) AS n WHERE (%s) AND (%s)',
        coalesce(v_conditions.condition, 'true'), coalesce(v_conditions.recheck_all, 'true'))
    INTO v_matches USING filter_matches.messages;
    RETURN coalesce(v_matches, '{}');
END $$;
COMMENT ON FUNCTION guestcomms_internal.filter_matches(uuid, text, guestcomms_internal.changed_message[]) IS
'Those of the messages that pass the filters of a query and hold its phrases and beginnings exactly.';

CREATE FUNCTION guestcomms_internal.raise_alerts(tenant_id uuid, ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_messages guestcomms_internal.changed_message[] := guestcomms_internal.read_messages(raise_alerts.tenant_id, ids);
    v_vectors tsvector[] := ARRAY(SELECT m.search FROM unnest(v_messages) AS m);
    v_configurations text[] := ARRAY(SELECT m.configuration FROM unnest(v_messages) AS m);
    v_search record;
    v_matches uuid[];
    v_count bigint := 0;
    v_rows bigint;
BEGIN
    FOR v_search IN
        WITH candidate AS MATERIALIZED (
            SELECT a.search_id, array_agg(DISTINCT h.place) AS places
            FROM (SELECT f.anchor, array_agg(DISTINCT f.place) AS places
                FROM guestcomms_internal.message_anchors(raise_alerts.tenant_id, v_messages) AS f GROUP BY f.anchor) AS g
            -- Each anchor by its key, whatever the planner knows of the table (OFFSET 0).
            CROSS JOIN LATERAL (
                SELECT o.search_id FROM guestcomms.saved_search_anchors AS o
                WHERE o.tenant_id = raise_alerts.tenant_id AND o.anchor = g.anchor COLLATE "C" OFFSET 0
            ) AS a
            CROSS JOIN LATERAL unnest(g.places) AS h (place)
            GROUP BY a.search_id
        )
        SELECT s.search_id, s.query, s.notify, s.has_conditions, CASE WHEN s.has_words THEN m.places ELSE c.places END AS places
        FROM candidate AS c
        JOIN guestcomms.saved_searches AS s ON s.tenant_id = raise_alerts.tenant_id AND s.search_id = c.search_id
        CROSS JOIN LATERAL (
            SELECT array_agg(h.place) AS places
            FROM guestcomms.saved_search_words AS w JOIN unnest(c.places) AS h (place) ON v_configurations[h.place] = w.configuration
            WHERE s.has_words AND w.tenant_id = s.tenant_id AND w.search_id = s.search_id AND ts_match_vq(v_vectors[h.place], w.words)
        ) AS m
        WHERE NOT s.has_words OR m.places IS NOT NULL
        ORDER BY s.search_id
    LOOP
        v_matches := ARRAY(SELECT v_messages[p.place].message_id FROM unnest(v_search.places) AS p (place));
        IF v_search.has_conditions THEN
            v_matches := guestcomms_internal.filter_matches(raise_alerts.tenant_id, v_search.query,
                ARRAY(SELECT v_messages[p.place] FROM unnest(v_search.places) AS p (place)));
        END IF;
        -- It may have been removed meanwhile.
        PERFORM FROM guestcomms.saved_searches AS s WHERE s.tenant_id = raise_alerts.tenant_id AND s.search_id = v_search.search_id FOR KEY SHARE;
        CONTINUE WHEN NOT FOUND;
        INSERT INTO guestcomms.search_alerts (tenant_id, message_id, search_id)
        SELECT raise_alerts.tenant_id, m.message_id, v_search.search_id FROM unnest(v_matches) AS m (message_id)
        ON CONFLICT ON CONSTRAINT search_alerts_message_key DO NOTHING;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_count := v_count + v_rows;
        -- Whoever listens learns that a search which only its tenant knows by this identifier has found something.
        IF v_rows > 0 AND v_search.notify THEN
            PERFORM pg_notify('guestcomms_alerts', v_search.search_id::text);
        END IF;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_alerts(uuid, uuid[]) IS 'Compares messages of a tenant with its saved searches; returns how many alerts are new.';

CREATE FUNCTION guestcomms_internal.plan_stale_searches(tenants uuid[], max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_search record;
    v_count bigint := 0;
BEGIN
    FOR v_search IN
        SELECT s.tenant_id, s.search_id, f.fingerprint
        FROM (SELECT t.tenant_id, guestcomms_internal.search_fingerprint(t.tenant_id) AS fingerprint FROM unnest(tenants) AS t (tenant_id)) AS f
        JOIN guestcomms.saved_searches AS s ON s.tenant_id = f.tenant_id AND s.planned_for IS DISTINCT FROM f.fingerprint
        ORDER BY s.tenant_id, s.search_id LIMIT plan_stale_searches.max_rows
    LOOP
        -- Unless another run has just done it.
        PERFORM FROM guestcomms.saved_searches AS s
        WHERE s.tenant_id = v_search.tenant_id AND s.search_id = v_search.search_id AND s.planned_for IS DISTINCT FROM v_search.fingerprint FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        PERFORM guestcomms_internal.plan_saved_search(v_search.tenant_id, v_search.search_id);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.plan_stale_searches(uuid[], integer) IS
'Reads saved searches anew whose tenant has other languages or synonyms than when they were last read; returns how many.';

CREATE FUNCTION guestcomms.match_saved_searches(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_read_at timestamptz := (SELECT coalesce(c.read_at, c.added_at) FROM guestcomms.consumers AS c WHERE c.consumer = 'saved_searches');
    v_searching uuid[] := ARRAY(SELECT DISTINCT s.tenant_id FROM guestcomms.saved_searches AS s);
    v_count bigint;
    v_changes guestcomms_internal.message_change[];
    v_tenant record;
BEGIN
    PERFORM guestcomms_internal.tenant_scope();
    IF match_saved_searches.max_rows IS NULL OR match_saved_searches.max_rows < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1', HINT = 'Leave it out for 10000.';
    END IF;
    -- Some at a time, and before anything is read: the batch after goes on.
    v_count := guestcomms_internal.plan_stale_searches(v_searching, 500);
    IF v_count > 0 THEN
        RETURN v_count;
    END IF;
    IF guestcomms_internal.start_consumer('saved_searches') THEN
        -- The change log is lost, after a restore for instance: each tenant's newest messages since it was last read are
        -- looked at once more, none raises an alert twice, and alerts whose messages are gone go.
        SELECT array_agg(ROW(NULL, NULL, t.tenant_id, 'message', 'insert', ARRAY(
                SELECT m.message_id FROM guestcomms.messages AS m WHERE m.tenant_id = t.tenant_id AND m.sent_at >= v_read_at - interval '1 hour'
                ORDER BY m.sent_at DESC LIMIT 10000))::guestcomms_internal.message_change) INTO v_changes
        FROM unnest(v_searching) AS t (tenant_id);
        DELETE FROM guestcomms.search_alerts AS a
        WHERE NOT EXISTS (SELECT FROM guestcomms.messages AS m WHERE m.tenant_id = a.tenant_id AND m.message_id = a.message_id
            AND m.sent_at >= guestcomms.uuid_v7_time(a.message_id) AND m.sent_at < guestcomms.uuid_v7_time(a.message_id) + interval '1 millisecond')
            AND cardinality(guestcomms_internal.list_archived(a.tenant_id, ARRAY[a.message_id])) = 0;
        v_count := 1;
    ELSE
        SELECT r.changes, r.change_count INTO v_changes, v_count
        FROM guestcomms_internal.read_message_changes('saved_searches', match_saved_searches.max_rows) AS r;
    END IF;
    DELETE FROM guestcomms.search_alerts AS a
    USING (SELECT c.tenant_id, i.message_id FROM unnest(v_changes) AS c CROSS JOIN LATERAL unnest(c.ids) AS i (message_id) WHERE c.operation = 'delete') AS gone
    WHERE a.tenant_id = gone.tenant_id AND a.message_id = gone.message_id;
    FOR v_tenant IN
        SELECT c.tenant_id, array_agg(DISTINCT i.message_id) AS ids
        FROM unnest(v_changes) AS c CROSS JOIN LATERAL unnest(c.ids) AS i (message_id)
        WHERE c.kind = 'message' AND c.operation IN ('insert', 'update') AND EXISTS (SELECT FROM guestcomms.saved_searches AS s WHERE s.tenant_id = c.tenant_id)
        GROUP BY c.tenant_id
    LOOP
        -- These changes may have brought a language.
        PERFORM guestcomms_internal.plan_stale_searches(ARRAY[v_tenant.tenant_id], NULL);
        -- Not all at once: texts may be long.
        FOR v_start IN 1 .. cardinality(v_tenant.ids) BY 1000 LOOP
            PERFORM guestcomms_internal.raise_alerts(v_tenant.tenant_id, v_tenant.ids[v_start : v_start + 999]);
        END LOOP;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.match_saved_searches(integer) IS
$$Compares messages that were recorded, edited or changed since it last ran with the saved searches of their tenants, and returns how many changes it treated: 0 when nothing is left. A job's work.
Example: SELECT guestcomms.match_saved_searches();
See also: save_search, list_alerts, list_lag$$;
