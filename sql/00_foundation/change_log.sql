-- Change log: readers. A position is a snapshot, not a number: a reader has seen exactly what was visible in it, so a
-- transaction that commits late is neither skipped nor waited for. (A position by transaction id alone must wait for
-- the oldest running transaction of the cluster.)
CREATE FUNCTION guestcomms_internal.list_self_as_running(snapshot pg_snapshot) RETURNS pg_snapshot
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_xid xid8 := pg_current_xact_id();
BEGIN
    -- A snapshot never lists its own transaction as running. What this transaction logs after reading would then count
    -- as seen; so list it.
    RETURN CASE WHEN v_xid >= pg_snapshot_xmax(snapshot) THEN snapshot
        ELSE format('%s:%s:%s',
            least(pg_snapshot_xmin(snapshot), v_xid), pg_snapshot_xmax(snapshot),
            (SELECT string_agg(r.xid::text, ',' ORDER BY r.xid)
             FROM (SELECT pg_snapshot_xip(snapshot) AS xid UNION SELECT v_xid) AS r))::pg_snapshot
        END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_self_as_running(pg_snapshot) IS
'A snapshot taken in this transaction after it had a number, with this transaction among the running ones.';

CREATE FUNCTION guestcomms_internal.snapshot_without_self() RETURNS pg_snapshot
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
    WITH me AS MATERIALIZED (SELECT pg_current_xact_id() AS xid), taken AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot)
    SELECT guestcomms_internal.list_self_as_running(taken.snapshot) FROM me, taken
$$;
COMMENT ON FUNCTION guestcomms_internal.snapshot_without_self() IS
'The current snapshot, with this transaction among the running ones.';

CREATE FUNCTION guestcomms_internal.forget_other_cluster() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- After a restore every logged transaction id is of the cluster the dump came from and may come again here. All rows
    -- visible at this moment are dropped, and every consumer starts again from the tables, where their effect is.
    UPDATE guestcomms_internal.store_identity AS s
    SET system_identifier = i.system_identifier, database_oid = i.database_oid, noted_at = now()
    FROM guestcomms_internal.current_identity() AS i
    WHERE (s.system_identifier, s.database_oid) IS DISTINCT FROM (i.system_identifier, i.database_oid);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM guestcomms.change_log;
    DELETE FROM guestcomms_internal.replaced_messages;
    UPDATE guestcomms.consumers AS c
    SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL, reading_seq = NULL;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.forget_other_cluster() IS
'Where the store has been restored elsewhere: drops the change log and makes every consumer start again.';

CREATE FUNCTION guestcomms.add_consumer(consumer text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF coalesce(add_consumer.consumer, '') !~ '^[a-z][a-z0-9_.]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'not a consumer''s name',
            HINT = 'Lower-case letters, digits, underscores and dots, a letter first, 63 at most.';
    END IF;
    INSERT INTO guestcomms.consumers AS c (consumer) VALUES (add_consumer.consumer)
    ON CONFLICT ON CONSTRAINT consumers_pkey DO NOTHING;
    IF FOUND THEN
        PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'add_consumer', 'consumer ' || add_consumer.consumer);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.add_consumer(text) IS
$$Adds a named reader of the change log; its first read tells it to build from the tables. Adding it again changes nothing.
Example: SELECT guestcomms.add_consumer('my_export');
See also: read_changes, remove_consumer, list_lag$$;

CREATE FUNCTION guestcomms_internal.start_consumer(consumer text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.forget_other_cluster();
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = start_consumer.consumer AND c.must_rebuild FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The log must not be trimmed between here and any snapshot that is noted later in this transaction.
    PERFORM FROM guestcomms_internal.store_identity FOR SHARE;
    UPDATE guestcomms.consumers AS c
    SET must_rebuild = false, done = guestcomms_internal.snapshot_without_self(), read_at = clock_timestamp()
    WHERE c.consumer = start_consumer.consumer;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.start_consumer(text) IS
'Lets a consumer that must rebuild read from here on; false where it need not. What was before is the caller''s to look at.';

CREATE FUNCTION guestcomms.remove_consumer(consumer text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM guestcomms.consumers AS c WHERE c.consumer = remove_consumer.consumer;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'remove_consumer', 'consumer ' || remove_consumer.consumer);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_consumer(text) IS
$$Removes a reader of the change log; returns whether there was one. The log is no longer kept for it.
Example: SELECT guestcomms.remove_consumer('my_export');
See also: add_consumer, list_lag$$;

CREATE FUNCTION guestcomms.read_changes(consumer text, max_rows integer DEFAULT 1000)
RETURNS TABLE (xid xid8, seq bigint, tenant_id uuid, kind text, operation text, since timestamptz, until timestamptz, ids uuid[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_consumer guestcomms.consumers;
    v_target pg_snapshot;
    v_count integer := 0;
BEGIN
    IF read_changes.max_rows IS NULL OR read_changes.max_rows < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1',
            HINT = 'Leave it out for 1000.';
    END IF;
    PERFORM guestcomms_internal.forget_other_cluster();
    SELECT * INTO v_consumer FROM guestcomms.consumers AS c WHERE c.consumer = read_changes.consumer FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such consumer',
            HINT = 'SELECT guestcomms.add_consumer(name); list_lag() shows those there are.';
    END IF;

    IF v_consumer.must_rebuild THEN
        -- The consumer's scan must see exactly what this snapshot does, or changes in between would count twice.
        IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION USING ERRCODE = 'GC002', MESSAGE = 'the consumer must be built from the tables',
                DETAIL = 'It is new, has fallen too far behind, or the store was restored.',
                HINT = 'BEGIN ISOLATION LEVEL REPEATABLE READ; read_changes() gives one row "rebuild"; build from the tables; COMMIT.';
        END IF;
        -- What this transaction has written its scan would see, and the log would bring it again.
        IF EXISTS (SELECT FROM guestcomms.change_log AS l WHERE l.xid = pg_current_xact_id()) THEN
            RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'the consumer cannot be built in a transaction that has written',
                HINT = 'COMMIT; then build in a transaction of its own.';
        END IF;
        -- Fails with a serialization error if the log was trimmed after this snapshot: it may then lack what follows it.
        PERFORM FROM guestcomms_internal.store_identity FOR SHARE;
        UPDATE guestcomms.consumers AS c
        SET must_rebuild = false, done = guestcomms_internal.snapshot_without_self(), read_at = clock_timestamp()
        WHERE c.consumer = read_changes.consumer;
        RETURN QUERY SELECT NULL::xid8, NULL::bigint, NULL::uuid, 'store'::text, 'rebuild'::text, NULL::timestamptz, NULL::timestamptz, '{}'::uuid[];
        RETURN;
    END IF;

    -- At most twice: once more when a snapshot begun earlier turns out to hold nothing further.
    LOOP
        v_target := coalesce(v_consumer.reading, guestcomms_internal.snapshot_without_self());
        FOR xid, seq, tenant_id, kind, operation, since, until, ids IN
            -- Not visible in a snapshot is what was running then, a few transactions, and what began after it: two
            -- index scans, however long the oldest of them has been open.
            SELECT * FROM (
                SELECT r.xid, r.seq, r.tenant_id, r.kind, r.operation, r.since, r.until, r.ids FROM guestcomms.change_log AS r
                WHERE r.xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_consumer.done)))
                UNION ALL
                SELECT l.xid, l.seq, l.tenant_id, l.kind, l.operation, l.since, l.until, l.ids FROM guestcomms.change_log AS l
                WHERE l.xid >= pg_snapshot_xmax(v_consumer.done)
            ) AS unread
            WHERE pg_visible_in_snapshot(unread.xid, v_target)
                AND (unread.xid, unread.seq) > (coalesce(v_consumer.reading_xid, '0'), coalesce(v_consumer.reading_seq, 0))
            ORDER BY unread.xid, unread.seq
            LIMIT read_changes.max_rows
        LOOP
            v_count := v_count + 1;
            v_consumer.reading_xid := xid;
            v_consumer.reading_seq := seq;
            RETURN NEXT;
        END LOOP;
        IF v_count = read_changes.max_rows THEN
            v_consumer.reading := v_target;
            EXIT;
        END IF;
        v_consumer.done := v_target;
        v_consumer.reading_xid := NULL;
        v_consumer.reading_seq := NULL;
        EXIT WHEN v_count > 0 OR v_consumer.reading IS NULL;
        v_consumer.reading := NULL;
    END LOOP;

    UPDATE guestcomms.consumers AS c
    SET done = v_consumer.done,
        reading = CASE WHEN v_consumer.reading_xid IS NOT NULL THEN v_consumer.reading END,
        reading_xid = v_consumer.reading_xid,
        reading_seq = v_consumer.reading_seq,
        read_at = clock_timestamp()
    WHERE c.consumer = read_changes.consumer;
END $$;
COMMENT ON FUNCTION guestcomms.read_changes(text, integer) IS
$$The next changes for a named consumer, each exactly once: the position moves when the calling transaction commits, and stays when it rolls back. A row with operation "rebuild" says: build from the tables, in this same REPEATABLE READ transaction (a new consumer, one that fell behind, a restored store). Changes within one transaction come in order; of two transactions either may come first.
Example: SELECT tenant_id, kind, operation, ids FROM guestcomms.read_changes('my_export', max_rows => 500);
See also: add_consumer, list_lag$$;

CREATE TYPE guestcomms_internal.message_change AS (xid xid8, seq bigint, tenant_id uuid, kind text, operation text, ids uuid[]);
COMMENT ON TYPE guestcomms_internal.message_change IS 'A row of the change log.';

CREATE FUNCTION guestcomms_internal.read_message_changes(
    consumer text, max_rows integer, kinds text[] DEFAULT '{message,message_search}',
    OUT changes guestcomms_internal.message_change[], OUT change_count bigint, OUT is_caught_up boolean
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_batch guestcomms_internal.message_change[];
    v_rows integer := least(2, max_rows);
    v_read bigint := 0;
BEGIN
    change_count := 0;
    is_caught_up := false;
    WHILE change_count < read_message_changes.max_rows LOOP
        -- A change holds one message or ten thousand; so how many to read next is guessed from those before.
        SELECT array_agg(ROW(c.xid, c.seq, c.tenant_id, c.kind, c.operation, c.ids)::guestcomms_internal.message_change)
                FILTER (WHERE c.kind = ANY (read_message_changes.kinds)),
            count(*)
        INTO v_batch, v_rows
        FROM guestcomms.read_changes(read_message_changes.consumer, v_rows) AS c;
        is_caught_up := v_rows = 0;
        EXIT WHEN is_caught_up;
        changes := changes || v_batch;
        change_count := change_count + v_rows + (SELECT coalesce(sum(cardinality(b.ids)), 0) FROM unnest(v_batch) AS b);
        v_read := v_read + v_rows;
        v_rows := least(200, greatest(2, (read_message_changes.max_rows - change_count) * v_read / change_count));
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_message_changes(text, integer, text[]) IS
'The next changes of some kinds for a consumer, about max_rows rows, with those of other kinds counted alone.';

CREATE FUNCTION guestcomms.list_lag()
RETURNS TABLE (consumer text, must_rebuild boolean, change_count bigint, read_at timestamptz, added_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT c.consumer, c.must_rebuild,
        (SELECT count(*) FROM guestcomms.change_log AS l
         WHERE (l.xid = ANY (ARRAY(SELECT pg_snapshot_xip(c.done))) OR l.xid >= pg_snapshot_xmax(c.done))
            AND NOT (c.reading IS NOT NULL AND pg_visible_in_snapshot(l.xid, c.reading) AND (l.xid, l.seq) <= (c.reading_xid, c.reading_seq))),
        c.read_at, c.added_at
    FROM guestcomms.consumers AS c
    ORDER BY c.consumer
$$;
COMMENT ON FUNCTION guestcomms.list_lag() IS
$$Consumers of the change log: how many changes each has still to read, when it last read, whether it must start again from the tables.
Example: SELECT * FROM guestcomms.list_lag();
See also: read_changes, add_consumer, trim_change_log$$;

CREATE FUNCTION guestcomms.trim_change_log() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_before xid8;
    v_count bigint;
BEGIN
    -- An older snapshot would not see a consumer that has built itself since, and would take what that has yet to read.
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'the change log is trimmed in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    IF guestcomms_internal.forget_other_cluster() THEN
        RETURN 0;
    END IF;
    -- A consumer that is building itself holds this row: what follows its snapshot must stay. The next run trims.
    PERFORM FROM guestcomms_internal.store_identity FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE guestcomms_internal.store_identity SET trimmed_at = now();
    UPDATE guestcomms.consumers AS c
    SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL, reading_seq = NULL
    WHERE NOT c.must_rebuild AND coalesce(c.read_at, c.added_at) < now() - guestcomms_internal.setting('change_log.max_age')::interval;
    -- Below every consumer's oldest transaction still to come; a consumer that must rebuild needs none of the log.
    SELECT coalesce(min(pg_snapshot_xmin(c.done)), pg_snapshot_xmin(pg_current_snapshot())) INTO v_before
    FROM guestcomms.consumers AS c WHERE NOT c.must_rebuild;
    DELETE FROM guestcomms_internal.replaced_messages AS r WHERE r.xid < v_before;
    DELETE FROM guestcomms.change_log AS l WHERE l.xid < v_before;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.trim_change_log() IS
$$Removes the changes that every consumer has read, and returns how many. A consumer that has not read for change_log.max_age is told to start again and holds nothing back. A job's work.
Example: SELECT guestcomms.trim_change_log();
See also: list_lag, read_changes$$;
