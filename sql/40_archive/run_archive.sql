-- Runs: one bounded batch a transaction. A sweep goes through a policy's old messages once, guest by guest, and remembers how
-- far it has come; then the next policy's turn comes, and a call that finds nothing left returns 0.
CREATE FUNCTION guestcomms_internal.lock_messages(tenant_id uuid, message_ids uuid[], is_removal boolean) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(lock_messages.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(lock_messages.message_ids) AS i (id));
    v_threads uuid[];
BEGIN
    -- What is unread is taken off its thread's count, and what is removed off its thread. Applications lock a thread before its
    -- messages, so this does, too, and leaves threads that somebody is writing to for the next sweep.
    v_threads := ARRAY(
        SELECT t.thread_id FROM guestcomms.threads AS t
        WHERE t.tenant_id = lock_messages.tenant_id AND t.thread_id = ANY (ARRAY(
            SELECT DISTINCT m.thread_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = lock_messages.tenant_id AND m.message_id = ANY (lock_messages.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last
                AND (lock_messages.is_removal OR guestcomms_internal.is_unread(m.direction, m.read_at, m.deleted_at))))
        FOR NO KEY UPDATE SKIP LOCKED);
    -- Whoever records an event of a message holds it; that one waits for the next sweep, and nobody for it.
    RETURN ARRAY(
        SELECT m.message_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = lock_messages.tenant_id AND m.message_id = ANY (lock_messages.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last
            AND m.status <> 'queued'
            AND (NOT (lock_messages.is_removal OR guestcomms_internal.is_unread(m.direction, m.read_at, m.deleted_at)) OR m.thread_id = ANY (v_threads))
        FOR UPDATE SKIP LOCKED);
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_messages(uuid, uuid[], boolean) IS 'Those of the messages that are still there and that nobody is at work on, locked, with the threads that change when they are archived or removed.';

CREATE FUNCTION guestcomms_internal.sweep_policy(tenant_id uuid, policy_id uuid, max_rows integer) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_cutoff timestamptz;
    v_reached_at timestamptz;
    v_reached_id uuid;
    v_rows record;
    v_group uuid[];
    v_found uuid[];
    v_size integer := 1;
    v_listed integer := 0;
    v_done uuid[] := ARRAY[]::uuid[];     -- guests whose messages were looked through in this call
    v_ids uuid[] := ARRAY[]::uuid[];
    v_passed integer;
BEGIN
    SELECT p.cutoff_at, p.reached_at, p.reached_id INTO v_cutoff, v_reached_at, v_reached_id FROM guestcomms.archive_policies AS p WHERE p.tenant_id = sweep_policy.tenant_id AND p.policy_id = sweep_policy.policy_id;
    IF v_reached_at IS NULL THEN
        v_cutoff := guestcomms_internal.policy_cutoff(sweep_policy.tenant_id, sweep_policy.policy_id);
        v_reached_at := '-infinity';
        v_reached_id := guestcomms_internal.no_member();
    END IF;
    LOOP
        SELECT array_agg(o.sent_at) AS times, array_agg(o.message_id) AS ids, array_agg(o.guest_id) AS guests INTO v_rows FROM (
            SELECT m.sent_at, m.message_id, m.guest_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = sweep_policy.tenant_id AND m.sent_at < v_cutoff
                AND m.sent_at >= v_reached_at AND (m.sent_at, m.message_id) > (v_reached_at, v_reached_id)
            ORDER BY m.sent_at, m.message_id LIMIT 1000
        ) AS o;
        LOOP
            -- All of a guest's, so that segments are full; first of one guest, then of twice as many, for few may have any to move.
            v_group := ARRAY(SELECT g.guest_id FROM unnest(v_rows.guests) WITH ORDINALITY AS g (guest_id, number) WHERE g.guest_id <> ALL (v_done)
                GROUP BY g.guest_id ORDER BY min(g.number) LIMIT v_size);
            EXIT WHEN cardinality(v_group) = 0 OR v_listed >= sweep_policy.max_rows;
            v_found := ARRAY(SELECT e.message_id FROM guestcomms_internal.list_eligible(sweep_policy.tenant_id, sweep_policy.policy_id, v_cutoff, v_group,
                sweep_policy.max_rows - v_listed) AS e);
            v_listed := v_listed + cardinality(v_found);
            v_ids := v_ids || guestcomms_internal.lock_messages(sweep_policy.tenant_id, v_found, false);
            EXIT WHEN v_listed >= sweep_policy.max_rows;
            v_done := v_done || v_group;
            v_size := least(2 * v_size, 256);
        END LOOP;
        -- On to the first message of a guest who was not looked at, or not to the end.
        SELECT coalesce(min(g.number) - 1, cardinality(v_rows.guests)) INTO v_passed
        FROM unnest(v_rows.guests) WITH ORDINALITY AS g (guest_id, number) WHERE g.guest_id <> ALL (v_done);
        IF v_passed = 1000 OR v_passed < cardinality(v_rows.guests) THEN
            v_reached_at := coalesce(v_rows.times[v_passed], v_reached_at);
            v_reached_id := coalesce(v_rows.ids[v_passed], v_reached_id);
        ELSE
            v_reached_at := NULL;
            v_reached_id := NULL;
        END IF;
        EXIT WHEN v_reached_at IS NULL OR v_listed >= sweep_policy.max_rows;
    END LOOP;
    UPDATE guestcomms.archive_policies AS p
    SET ran_at = clock_timestamp(), cutoff_at = v_cutoff, reached_at = v_reached_at, reached_id = v_reached_id
    WHERE p.tenant_id = sweep_policy.tenant_id AND p.policy_id = sweep_policy.policy_id;
    RETURN v_ids;
END $$;
COMMENT ON FUNCTION guestcomms_internal.sweep_policy(uuid, uuid, integer) IS
'The next messages that a policy moves, locked, at most max_rows; the policy''s row, which the caller has locked, keeps how far its sweep has come.';

CREATE FUNCTION guestcomms_internal.archive_next(run_id uuid, max_rows integer) RETURNS guestcomms_internal.archive_move
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_policy record;
    v_ids uuid[];
    v_late uuid[];
    v_moved guestcomms_internal.archive_move;
BEGIN
    IF coalesce(archive_next.max_rows NOT BETWEEN 1 AND 100000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 100000', HINT = 'Leave it out for 200.';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'messages are archived in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    -- First of all, while nothing else is held: a refresh of the warehouse may take a while, and nobody must wait for both.
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    FOR v_policy IN
        SELECT p.tenant_id, p.policy_id, p.codec FROM guestcomms.archive_policies AS p
        WHERE p.is_enabled AND (v_tenant IS NULL OR p.tenant_id = v_tenant)
        ORDER BY p.reached_at IS NULL, p.ran_at NULLS FIRST, p.tenant_id, p.policy_id
        FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        BEGIN
            v_ids := guestcomms_internal.sweep_policy(v_policy.tenant_id, v_policy.policy_id, archive_next.max_rows);
            -- Each may have a segment of its own to be written anew, of many messages.
            v_late := ARRAY(SELECT DISTINCT d.message_id FROM (SELECT o.message_id FROM guestcomms_internal.late_details AS o
                WHERE o.tenant_id = v_policy.tenant_id AND o.noted_at < now() - guestcomms_internal.setting('archive.late_after', v_policy.tenant_id)::interval
                ORDER BY o.noted_at, o.message_id LIMIT 1 + archive_next.max_rows / 10) AS d);
            IF cardinality(v_late) > 0 THEN
                -- What was restored meanwhile has its details beside it. No note is locked before its segment: whoever restores comes from there.
                DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = v_policy.tenant_id AND d.message_id = ANY (v_late)
                    AND d.message_id <> ALL (guestcomms_internal.list_archived(v_policy.tenant_id, v_late));
                v_late := guestcomms_internal.list_archived(v_policy.tenant_id, v_late);
            END IF;
            CONTINUE WHEN cardinality(v_ids || v_late) = 0;
            v_moved := guestcomms_internal.move_to_archive(v_policy.tenant_id, v_ids, v_late, v_policy.codec);
            -- Those of damaged segments are left, for later.
            UPDATE guestcomms_internal.late_details AS d SET noted_at = now() WHERE d.tenant_id = v_policy.tenant_id AND d.message_id = ANY (v_late);
            CONTINUE WHEN v_moved.segment_count = 0;
        EXCEPTION
            -- What one business cannot have archived, a message too large for instance, must not keep all others from it.
            WHEN data_exception OR external_routine_exception OR program_limit_exceeded OR data_corrupted THEN
                UPDATE guestcomms.archive_policies AS p SET ran_at = clock_timestamp()
                WHERE p.tenant_id = v_policy.tenant_id AND p.policy_id = v_policy.policy_id;
                RAISE WARNING USING ERRCODE = SQLSTATE, MESSAGE = 'a policy of the archive failed', DETAIL = format('Policy %s of tenant %s: SQLSTATE %s.',
                    v_policy.policy_id, v_policy.tenant_id, SQLSTATE), HINT = 'Nothing was moved. place_hold(..., blocks_archiving => true) leaves out a conversation.';
                CONTINUE;
        END;
        INSERT INTO guestcomms.archive_runs (tenant_id, run_id, part_number, policy_id, started_at, message_count, event_count, segment_count, plain_bytes, stored_bytes, message_ids)
        SELECT v_policy.tenant_id, archive_next.run_id, 1 + count(*), v_policy.policy_id, transaction_timestamp(), v_moved.message_count, v_moved.event_count,
            v_moved.segment_count, v_moved.plain_bytes, v_moved.stored_bytes, v_ids
        FROM guestcomms.archive_runs AS r WHERE r.tenant_id = v_policy.tenant_id AND r.run_id = archive_next.run_id;
        PERFORM guestcomms_internal.record_audit(v_policy.tenant_id, 'run_archive', 'archive run ' || archive_next.run_id,
            jsonb_build_object('message_count', v_moved.message_count, 'event_count', v_moved.event_count, 'segment_count', v_moved.segment_count));
        RETURN v_moved;
    END LOOP;
    RETURN ROW(0, 0, 0, 0, 0)::guestcomms_internal.archive_move;
END $$;
COMMENT ON FUNCTION guestcomms_internal.archive_next(uuid, integer) IS
'The next batch of one policy, of the current tenant or of all in turn; nothing moved means that every sweep has come to its end.';

CREATE FUNCTION guestcomms.run_archive(
    max_rows integer DEFAULT 200, OUT run_id uuid, OUT message_count integer, OUT event_count integer, OUT segment_count integer, OUT plain_bytes bigint, OUT stored_bytes bigint
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_moved guestcomms_internal.archive_move;
BEGIN
    IF guestcomms_internal.tenant_or_null() IS NOT NULL THEN
        PERFORM guestcomms_internal.train_next_dictionary(true);
    END IF;
    run_id := gen_random_uuid();
    v_moved := guestcomms_internal.archive_next(run_id, run_archive.max_rows);
    message_count := v_moved.message_count;
    event_count := v_moved.event_count;
    segment_count := v_moved.segment_count;
    plain_bytes := v_moved.plain_bytes;
    stored_bytes := v_moved.stored_bytes;
END $$;
COMMENT ON FUNCTION guestcomms.run_archive(integer) IS
$$Moves the next messages that a policy names into the archive, at most max_rows, with their events, attachments' metadata, annotations and versions: of the current tenant, or of all in turn where none is open. One transaction; nobody waits for it but who records an event of just these messages: the fewer rows, the shorter. Nothing written (segment_count 0) means that every policy's sweep has come to its end. Messages that somebody is at work on are left for the next one. undo_archive() takes run_id.
Example: SELECT * FROM guestcomms.run_archive(max_rows => 500);
See also: preview_archive, run_archive_batches, undo_archive, list_archive_runs, search_messages$$;

CREATE PROCEDURE guestcomms.run_archive_batches(time_budget interval DEFAULT '5 minutes', max_rows integer DEFAULT 200)
LANGUAGE plpgsql
AS $$
DECLARE
    v_started timestamptz := pg_catalog.clock_timestamp();
    v_run uuid := pg_catalog.gen_random_uuid();
    v_moved guestcomms_internal.archive_move;
BEGIN
    -- Dictionaries take seconds each: before the first segment, and in transactions of their own.
    WHILE guestcomms_internal.train_next_dictionary(true) LOOP
        COMMIT;
    END LOOP;
    LOOP
        v_moved := guestcomms_internal.archive_next(v_run, max_rows);
        COMMIT;
        EXIT WHEN v_moved.segment_count OPERATOR(pg_catalog.=) 0
            OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) (v_started OPERATOR(pg_catalog.+) time_budget);
    END LOOP;
END $$;
COMMENT ON PROCEDURE guestcomms.run_archive_batches(interval, integer) IS
$$run_archive() again and again, each batch in a transaction of its own, until nothing is left or the time is used up. What was moved is one run: list_archive_runs() shows it while it grows, undo_archive() takes it back.
Example: CALL guestcomms.run_archive_batches(time_budget => '1 minute');
See also: run_archive, list_archive_runs, schedule_jobs$$;

CREATE FUNCTION guestcomms_internal.archive_batch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    -- A run a day: what one job moved is undone as one.
    v_run uuid := md5('job ' || current_date)::uuid;
    v_moved guestcomms_internal.archive_move;
BEGIN
    IF guestcomms_internal.train_next_dictionary(true) THEN
        RETURN 1;
    END IF;
    v_moved := guestcomms_internal.archive_next(v_run, 200);
    IF v_moved.segment_count > 0 THEN
        RETURN v_moved.message_count + 1;
    END IF;
    -- Which messages a run moved is needed no longer than it can be undone.
    UPDATE guestcomms.archive_runs AS r SET message_ids = NULL
    WHERE r.message_ids IS NOT NULL AND r.started_at < now() - guestcomms_internal.setting('archive.undo_window', r.tenant_id)::interval;
    RETURN 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.archive_batch() IS 'A job''s work: the next batch of all policies.';

CREATE FUNCTION guestcomms.list_archive_runs(since timestamptz DEFAULT NULL)
RETURNS TABLE (run_id uuid, started_at timestamptz, ended_at timestamptz, message_count bigint, event_count bigint, segment_count bigint, plain_bytes bigint, stored_bytes bigint,
    can_be_undone boolean, undone_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_window interval := guestcomms_internal.setting('archive.undo_window', v_tenant)::interval;
BEGIN
    RETURN QUERY
    SELECT r.run_id, min(r.started_at), max(r.started_at), sum(r.message_count)::bigint, sum(r.event_count)::bigint, sum(r.segment_count)::bigint, sum(r.plain_bytes)::bigint, sum(r.stored_bytes)::bigint,
        bool_and(r.message_ids IS NOT NULL AND r.undone_at IS NULL AND r.started_at >= now() - v_window), max(r.undone_at)
    FROM guestcomms.archive_runs AS r
    WHERE r.tenant_id = v_tenant AND r.started_at >= coalesce(list_archive_runs.since, now() - interval '90 days')
    GROUP BY r.run_id
    ORDER BY 2 DESC, 1;
END $$;
COMMENT ON FUNCTION guestcomms.list_archive_runs(timestamptz) IS
$$What was archived for the current tenant since a time, of the last 90 days if none is given, run by run, and whether undo_archive() still takes it back.
Example: SELECT run_id, message_count, can_be_undone FROM guestcomms.list_archive_runs();
See also: run_archive, undo_archive$$;
