-- What ranking is computed from: in how many of a tenant's messages each stem occurs. Follows the change log in batches. A
-- message may be edited again before its first change is read; so every version that an edit replaced is kept until the
-- changes around it are counted, and each change adds what it led to and takes off what it replaced.
CREATE FUNCTION guestcomms_internal.count_messages(tenant_id uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms.term_statistics AS t WHERE t.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.search_months AS m WHERE m.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.search_statistics AS s WHERE s.tenant_id = count_messages.tenant_id;
    -- One statement, for all of it must be counted in one snapshot, and that is noted: changes that it sees are in the count.
    WITH term AS (
        INSERT INTO guestcomms.term_statistics (tenant_id, term, message_count)
        SELECT count_messages.tenant_id, u.lexeme, count(*)
        FROM guestcomms.messages AS m CROSS JOIN LATERAL unnest(m.search) AS u
        WHERE m.tenant_id = count_messages.tenant_id
        GROUP BY u.lexeme
    ), month AS (
        SELECT date_trunc('month', m.sent_at, 'UTC') AS start, count(*) AS message_count, sum(m.word_count) AS word_count
        FROM guestcomms.messages AS m WHERE m.tenant_id = count_messages.tenant_id
        GROUP BY 1
    ), noted AS (
        INSERT INTO guestcomms.search_months (tenant_id, month, message_count)
        SELECT count_messages.tenant_id, (n.start AT TIME ZONE 'UTC')::date, n.message_count FROM month AS n
    )
    INSERT INTO guestcomms.search_statistics (tenant_id, message_count, word_count, counted_in)
    SELECT count_messages.tenant_id, coalesce(sum(n.message_count), 0), coalesce(sum(n.word_count), 0), guestcomms_internal.list_self_as_running(pg_current_snapshot())
    FROM month AS n
    RETURNING search_statistics.message_count INTO v_count;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_messages(uuid) IS 'Counts one tenant''s messages and their stems from the table.';

CREATE TYPE guestcomms_internal.message_change AS (xid xid8, seq bigint, tenant_id uuid, operation text, ids uuid[]);
COMMENT ON TYPE guestcomms_internal.message_change IS 'A row of the change log about messages.';

CREATE FUNCTION guestcomms_internal.count_changes(changes guestcomms_internal.message_change[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    -- The few messages are looked up one by one, whatever the planner thinks of arrays.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    -- One statement, so that messages and what they replaced are seen at the same moment.
    WITH change AS MATERIALIZED (
        SELECT c.tenant_id, c.seq, c.operation, i.message_id
        FROM unnest(changes) AS c
        JOIN guestcomms.search_statistics AS s ON s.tenant_id = c.tenant_id AND NOT pg_visible_in_snapshot(c.xid, s.counted_in)
        CROSS JOIN LATERAL unnest(c.ids) AS i (message_id)
    ), version AS MATERIALIZED (
        -- What the change replaced; nothing for an update that left the text alone.
        SELECT c.tenant_id, -1 AS sign, c.message_id, r.word_count, r.search
        FROM change AS c
        JOIN guestcomms_internal.replaced_vectors AS r ON r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq = c.seq
        WHERE c.operation <> 'insert'
        UNION ALL
        -- What it led to: the version that the next change replaced, or the one that stands.
        SELECT c.tenant_id, 1, c.message_id, coalesce(n.word_count, m.word_count), coalesce(n.search, m.search)
        FROM change AS c
        LEFT JOIN LATERAL (
            SELECT r.word_count, r.search FROM guestcomms_internal.replaced_vectors AS r
            WHERE r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq > c.seq
            ORDER BY r.seq LIMIT 1
        ) AS n ON true
        LEFT JOIN guestcomms.messages AS m ON m.tenant_id = c.tenant_id AND m.message_id = c.message_id
            AND m.sent_at >= guestcomms.uuid_v7_time(c.message_id) AND m.sent_at < guestcomms.uuid_v7_time(c.message_id) + interval '1 millisecond'
        WHERE (c.operation = 'insert' OR c.operation = 'update' AND EXISTS (
                SELECT FROM guestcomms_internal.replaced_vectors AS r
                WHERE r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq = c.seq))
            AND coalesce(n.search, m.search) IS NOT NULL
    ), term AS (
        INSERT INTO guestcomms.term_statistics AS t (tenant_id, term, message_count)
        SELECT v.tenant_id, u.lexeme, sum(v.sign) FROM version AS v CROSS JOIN LATERAL unnest(v.search) AS u
        GROUP BY v.tenant_id, u.lexeme HAVING sum(v.sign) <> 0
        ON CONFLICT ON CONSTRAINT term_statistics_pkey DO UPDATE SET message_count = t.message_count + excluded.message_count
    ), month AS (
        INSERT INTO guestcomms.search_months AS t (tenant_id, month, message_count)
        SELECT v.tenant_id, date_trunc('month', guestcomms.uuid_v7_time(v.message_id) AT TIME ZONE 'UTC')::date, sum(v.sign) FROM version AS v
        GROUP BY 1, 2 HAVING sum(v.sign) <> 0
        ON CONFLICT ON CONSTRAINT search_months_pkey DO UPDATE SET message_count = t.message_count + excluded.message_count
    ), total AS (
        SELECT v.tenant_id, sum(v.sign) AS message_count, sum(v.sign * v.word_count) AS word_count FROM version AS v GROUP BY v.tenant_id
    ), noted AS (
        UPDATE guestcomms.search_statistics AS s
        SET message_count = s.message_count + t.message_count, word_count = s.word_count + t.word_count
        FROM total AS t WHERE s.tenant_id = t.tenant_id
    )
    SELECT count(*) INTO v_count FROM change;
    -- Not those below nought: a change may be read before the one it followed, of a transaction with a higher number.
    DELETE FROM guestcomms.term_statistics AS t WHERE t.message_count = 0;
    DELETE FROM guestcomms.search_months AS m WHERE m.message_count = 0;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_changes(guestcomms_internal.message_change[]) IS 'Follows changes of messages in the statistics of their tenants; returns how many messages.';

CREATE FUNCTION guestcomms_internal.start_counting() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- A new consumer, one that fell behind, a restored store: the change log is read from here on, and every tenant is
    -- counted anew from the table, each with a snapshot of its own. So nothing need be built in one transaction.
    PERFORM guestcomms_internal.forget_other_cluster();
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'term_statistics' AND c.must_rebuild FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The log must not be trimmed between here and the snapshot that is noted.
    PERFORM FROM guestcomms_internal.store_identity FOR SHARE;
    UPDATE guestcomms.consumers AS c
    SET must_rebuild = false, done = guestcomms_internal.snapshot_without_self(), read_at = clock_timestamp()
    WHERE c.consumer = 'term_statistics';
    DELETE FROM guestcomms.search_statistics AS s;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.start_counting() IS 'Where the change log cannot be followed: begins anew from the tables.';

CREATE FUNCTION guestcomms.refresh_term_statistics(max_rows integer DEFAULT 20000, is_recount boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_changes guestcomms_internal.message_change[];
    v_batch guestcomms_internal.message_change[];
    v_ids bigint := 0;
    v_rows integer := 10;
BEGIN
    IF refresh_term_statistics.max_rows IS NULL OR refresh_term_statistics.max_rows < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1',
            HINT = 'Leave it out for 20000.';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'statistics are refreshed in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    IF EXISTS (SELECT FROM guestcomms.change_log AS l WHERE l.xid = pg_current_xact_id_if_assigned()) THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'statistics cannot be refreshed in a transaction that has written',
            HINT = 'COMMIT first.';
    END IF;
    IF guestcomms_internal.start_counting() THEN
        RETURN 1;
    END IF;
    -- One at a time; a second caller waits here.
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'term_statistics' FOR UPDATE;
    IF refresh_term_statistics.is_recount THEN
        DELETE FROM guestcomms.search_statistics AS s WHERE v_tenant IS NULL OR s.tenant_id = v_tenant;
    END IF;
    v_tenant := (SELECT t.tenant_id FROM guestcomms.tenants AS t
        WHERE NOT EXISTS (SELECT FROM guestcomms.search_statistics AS s WHERE s.tenant_id = t.tenant_id) ORDER BY t.tenant_id LIMIT 1);
    IF v_tenant IS NOT NULL THEN
        RETURN guestcomms_internal.count_messages(v_tenant) + 1;
    END IF;
    WHILE v_ids < refresh_term_statistics.max_rows LOOP
        -- A change holds one message or ten thousand; so how many to read next is guessed from those before.
        SELECT array_agg(ROW(c.xid, c.seq, c.tenant_id, c.operation, c.ids)::guestcomms_internal.message_change) FILTER (WHERE c.kind = 'message'),
            count(*)
        INTO v_batch, v_rows
        FROM guestcomms.read_changes('term_statistics', v_rows) AS c;
        EXIT WHEN v_rows = 0;
        v_changes := v_changes || v_batch;
        v_ids := v_ids + v_rows + (SELECT coalesce(sum(cardinality(b.ids)), 0) FROM unnest(v_batch) AS b);
        v_rows := CASE WHEN v_ids < refresh_term_statistics.max_rows / 10 THEN 500 ELSE 10 END;
    END LOOP;
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.count_changes(v_changes);
    END IF;
    -- Whatever happened to a message before a change that has been counted has been counted, too.
    DELETE FROM guestcomms_internal.replaced_vectors AS r
    USING guestcomms.consumers AS c
    WHERE c.consumer = 'term_statistics' AND r.xid < pg_snapshot_xmin(c.done);
    RETURN v_ids;
END $$;
COMMENT ON FUNCTION guestcomms.refresh_term_statistics(integer, boolean) IS
$$Follows the change log in the statistics that search ranks by, about max_rows messages at a time, and returns how many changes it treated: 0 when nothing is left. A new tenant is counted from its messages; is_recount => true begins anew with all, or with the one that is open. A job's work; until it has run, search finds the same messages and ranks them a little worse.
Example: SELECT guestcomms.refresh_term_statistics();
See also: search_messages, explain_search, list_lag$$;
