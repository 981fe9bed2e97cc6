-- Runs: one bounded batch a transaction. A sweep goes through the steps of a policy once and remembers how far it has come.
-- Whole months that it empties are given back by the job release_archived_space, as after archiving.
CREATE FUNCTION guestcomms_internal.add_counts(counts jsonb, more jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT coalesce(jsonb_object_agg(n.kind, n.total), '{}') FROM (
        SELECT c.key AS kind, sum(c.value::bigint) AS total
        FROM (SELECT a.key, a.value FROM jsonb_each_text(add_counts.counts) AS a UNION ALL SELECT b.key, b.value FROM jsonb_each_text(add_counts.more) AS b) AS c
        GROUP BY c.key HAVING sum(c.value::bigint) > 0) AS n
$$;
COMMENT ON FUNCTION guestcomms_internal.add_counts(jsonb, jsonb) IS 'Two objects of numbers, added up; what is 0 is left out.';

CREATE FUNCTION guestcomms_internal.expire_rows(tenant_id uuid, retention_class text, step text, rows guestcomms_internal.retention_row[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r.row_id FROM unnest(expire_rows.rows) AS r WHERE r.state = 'expired');
    v_message_ids uuid[];
    v_segment record;
    v_segment_ids uuid[] := ARRAY[]::uuid[];
    v_busy uuid[];
BEGIN
    IF cardinality(v_ids) = 0 THEN
        RETURN '{}'::jsonb;
    END IF;
    CASE expire_rows.step
        WHEN 'messages' THEN
            -- One that somebody is at work on is left for the next sweep.
            v_ids := guestcomms_internal.lock_messages(expire_rows.tenant_id, v_ids, expire_rows.retention_class = 'content');
            RETURN CASE expire_rows.retention_class WHEN 'content' THEN guestcomms_internal.remove_messages(expire_rows.tenant_id, v_ids, '{}', '{}', 'retention')
                ELSE guestcomms_internal.remove_behaviour(expire_rows.tenant_id, v_ids, '{}', '{}') END;
        WHEN 'archive' THEN
            v_busy := guestcomms_internal.lock_segment_threads(expire_rows.tenant_id, v_ids);
            FOR v_segment IN
                SELECT s.segment_id, expire_rows.retention_class = 'content' AND s.message_ids <@ r.message_ids AS is_whole
                FROM guestcomms.archive_segments AS s JOIN unnest(expire_rows.rows) AS r ON r.row_id = s.segment_id
                WHERE s.tenant_id = expire_rows.tenant_id AND s.segment_id = ANY (v_ids) AND NOT s.thread_ids && v_busy
                ORDER BY s.segment_id FOR UPDATE OF s SKIP LOCKED
            LOOP
                -- What cannot be read goes whole, or not at all.
                IF v_segment.is_whole OR guestcomms_internal.read_segment(expire_rows.tenant_id, v_segment.segment_id, true, true) IS NOT NULL THEN
                    v_segment_ids := v_segment_ids || v_segment.segment_id;
                ELSE
                    PERFORM guestcomms_internal.warn_of_damage(v_segment.segment_id);
                END IF;
            END LOOP;
            v_message_ids := ARRAY(SELECT i.id FROM unnest(expire_rows.rows) AS r CROSS JOIN LATERAL unnest(r.message_ids) AS i (id) WHERE r.row_id = ANY (v_segment_ids));
            RETURN CASE expire_rows.retention_class WHEN 'content' THEN guestcomms_internal.remove_messages(expire_rows.tenant_id, '{}', v_segment_ids, v_message_ids, 'retention')
                ELSE guestcomms_internal.remove_behaviour(expire_rows.tenant_id, '{}', v_segment_ids, v_message_ids) END;
        WHEN 'guests' THEN
            v_ids := ARRAY(SELECT g.guest_id FROM guestcomms.guests AS g
                WHERE g.tenant_id = expire_rows.tenant_id AND g.guest_id = ANY (v_ids) ORDER BY g.guest_id FOR UPDATE SKIP LOCKED);
            RETURN guestcomms_internal.remove_contact(expire_rows.tenant_id, v_ids);
        ELSE
            RETURN guestcomms_internal.remove_records(expire_rows.tenant_id, expire_rows.step, v_ids);
    END CASE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.expire_rows(uuid, text, text, guestcomms_internal.retention_row[]) IS 'Removes what of these rows is expired and nobody has locked; returns how much of what.';

CREATE TYPE guestcomms_internal.retention_batch AS (tenant_id uuid, policy_id uuid, looked_at bigint, row_count bigint, counts jsonb);
COMMENT ON TYPE guestcomms_internal.retention_batch IS 'What a batch of a policy looked at and removed.';

CREATE FUNCTION guestcomms_internal.sweep_retention(INOUT batch guestcomms_internal.retention_batch, max_rows integer, cutoff timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_policy guestcomms.retention_policies;
    v_steps text[];
    v_limit bigint;
    v_rows guestcomms_internal.retention_row[];
    v_found integer;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p WHERE p.tenant_id = (batch).tenant_id AND p.policy_id = (batch).policy_id;
    v_steps := (SELECT e.steps FROM guestcomms_internal.retention_effects() AS e WHERE e.retention_class = v_policy.retention_class);
    v_policy.step := coalesce(v_policy.step, v_steps[1]);
    -- What has to stay is only looked at, which takes less; but segments may have to be unpacked.
    v_limit := CASE v_policy.step WHEN 'archive' THEN least(sweep_retention.max_rows, 100) ELSE greatest(5 * sweep_retention.max_rows, 1000) END;
    v_rows := ARRAY(SELECT r FROM guestcomms_internal.list_retention_rows(v_policy.tenant_id, v_policy.policy_id, v_policy.step, sweep_retention.cutoff,
        v_policy.reached_at, v_policy.reached_id, v_limit) AS r);
    -- Up to the row with which there is enough.
    SELECT coalesce(max(n.number), 0) INTO v_found FROM (
        SELECT o.number, sum(CASE o.state WHEN 'expired' THEN coalesce(cardinality(o.message_ids), 1) ELSE 0 END) OVER (ORDER BY o.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM unnest(v_rows) WITH ORDINALITY AS o (row_id, at, state, message_ids, held_count, number)) AS n
    WHERE coalesce(n.before, 0) < sweep_retention.max_rows;
    batch.looked_at := v_found;
    batch.counts := guestcomms_internal.expire_rows(v_policy.tenant_id, v_policy.retention_class, v_policy.step, v_rows[:v_found]);
    batch.row_count := (SELECT coalesce(sum(c.value::bigint), 0) FROM jsonb_each_text((batch).counts) AS c WHERE c.key IN ('messages', 'archived_messages') OR c.key = v_policy.step);
    PERFORM guestcomms_internal.warn_of_damage(r.row_id) FROM unnest(v_rows[:v_found]) AS r WHERE r.state = 'damaged';
    IF v_found < cardinality(v_rows) OR cardinality(v_rows) = v_limit THEN
        UPDATE guestcomms.retention_policies AS p SET step = v_policy.step, reached_at = (v_rows[v_found]).at, reached_id = (v_rows[v_found]).row_id
        WHERE p.tenant_id = v_policy.tenant_id AND p.policy_id = v_policy.policy_id;
    ELSIF v_policy.step = v_steps[cardinality(v_steps)] THEN
        UPDATE guestcomms.retention_policies AS p SET step = NULL, reached_at = NULL, reached_id = NULL, is_pending = false, swept_at = clock_timestamp(), error_code = NULL
        WHERE p.tenant_id = v_policy.tenant_id AND p.policy_id = v_policy.policy_id;
    ELSE
        UPDATE guestcomms.retention_policies AS p SET step = v_steps[array_position(v_steps, v_policy.step) + 1], reached_at = NULL, reached_id = NULL
        WHERE p.tenant_id = v_policy.tenant_id AND p.policy_id = v_policy.policy_id;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.sweep_retention(guestcomms_internal.retention_batch, integer, timestamptz) IS
'The next batch of a policy, whose row the caller has locked: that row keeps how far its sweep has come.';

CREATE FUNCTION guestcomms_internal.expire_next(run_id uuid, max_rows integer, as_of timestamptz) RETURNS guestcomms_internal.retention_batch
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_policy guestcomms.retention_policies;
    v_cutoff timestamptz;
    v_batch guestcomms_internal.retention_batch;
    v_code text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'what is kept too long is removed in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    -- A hold that is placed meanwhile would come too late for what is looked at; it waits for the batch. In the mode that removing
    -- holds needs, and before the warehouse, as erasures do.
    LOCK TABLE guestcomms.legal_holds IN SHARE ROW EXCLUSIVE MODE;
    -- While nothing else is held: a refresh of the warehouse may take a while, and nobody must wait for both.
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p
    WHERE p.is_enabled AND p.is_pending AND (v_tenant IS NULL OR p.tenant_id = v_tenant)
    ORDER BY p.step IS NULL, p.swept_at NULLS FIRST, p.tenant_id, p.policy_id LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_cutoff := guestcomms_internal.retention_cutoff(v_policy.tenant_id, v_policy.keep_for, expire_next.as_of);
    v_batch := ROW(v_policy.tenant_id, v_policy.policy_id, 0, 0, '{}')::guestcomms_internal.retention_batch;
    BEGIN
        v_batch := guestcomms_internal.sweep_retention(v_batch, expire_next.max_rows, v_cutoff);
    EXCEPTION
        -- What cannot be removed for one business must not keep all others from it.
        WHEN data_exception OR integrity_constraint_violation OR external_routine_exception OR program_limit_exceeded OR data_corrupted OR feature_not_supported THEN
            v_code := SQLSTATE;
            UPDATE guestcomms.retention_policies AS p SET step = NULL, reached_at = NULL, reached_id = NULL, is_pending = false, swept_at = clock_timestamp(), error_code = v_code
            WHERE p.tenant_id = v_policy.tenant_id AND p.policy_id = v_policy.policy_id;
            RAISE WARNING USING ERRCODE = v_code, MESSAGE = 'a retention policy failed', DETAIL = format('Policy %s of tenant %s: SQLSTATE %s.', v_policy.policy_id, v_policy.tenant_id, v_code),
                HINT = 'This batch removed nothing. list_retention_policies() shows error_code until a sweep succeeds.';
    END;
    IF (v_batch).row_count > 0 THEN
        INSERT INTO guestcomms.retention_runs AS r (tenant_id, run_id, policy_id, policy_name, retention_class, cutoff_at, started_at, counts)
        VALUES (v_policy.tenant_id, expire_next.run_id, v_policy.policy_id, v_policy.name, v_policy.retention_class, v_cutoff, transaction_timestamp(),
            guestcomms_internal.add_counts('{}', (v_batch).counts))
        ON CONFLICT ON CONSTRAINT retention_runs_pkey DO UPDATE
        SET ended_at = excluded.ended_at, cutoff_at = excluded.cutoff_at, batch_count = r.batch_count + 1, counts = guestcomms_internal.add_counts(r.counts, excluded.counts);
        PERFORM guestcomms_internal.record_audit(v_policy.tenant_id, 'run_retention', 'retention policy ' || v_policy.policy_id, jsonb_build_object('run_id', expire_next.run_id,
            'counts', guestcomms_internal.add_counts('{}', (v_batch).counts)));
    END IF;
    RETURN v_batch;
END $$;
COMMENT ON FUNCTION guestcomms_internal.expire_next(uuid, integer, timestamptz) IS
'The next batch of one policy whose sweep is due, of the current tenant or of all, as of a time; NULL where no sweep is due.';

CREATE FUNCTION guestcomms.run_retention(max_rows integer DEFAULT 1000, OUT run_id uuid, OUT row_count bigint, OUT counts jsonb, OUT is_done boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_batch guestcomms_internal.retention_batch;
BEGIN
    IF coalesce(run_retention.max_rows NOT BETWEEN 1 AND 100000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 100000', HINT = 'Leave it out for 1000.';
    END IF;
    PERFORM guestcomms_internal.begin_sweeps(v_tenant, interval '0');
    run_id := gen_random_uuid();
    row_count := 0;
    counts := '{}';
    FOR v_step IN 1..100 LOOP
        v_batch := guestcomms_internal.expire_next(run_id, (run_retention.max_rows - row_count)::integer, now());
        EXIT WHEN (v_batch).tenant_id IS NULL;
        row_count := row_count + (v_batch).row_count;
        counts := guestcomms_internal.add_counts(counts, (v_batch).counts);
        EXIT WHEN row_count >= run_retention.max_rows;
    END LOOP;
    is_done := NOT EXISTS (SELECT FROM guestcomms.retention_policies AS p WHERE p.is_enabled AND p.is_pending AND (v_tenant IS NULL OR p.tenant_id = v_tenant));
END $$;
COMMENT ON FUNCTION guestcomms.run_retention(integer) IS
$$Removes what retention policies keep no longer, about max_rows rows: of the current tenant, or of all in turn where none is open. One transaction. counts says how much of what; is_done that every policy has been gone through to its end: call it until then. A job does the same daily, batch by batch.
Example: SELECT row_count, counts, is_done FROM guestcomms.run_retention(max_rows => 500);
See also: preview_retention, add_retention_policy, list_retention_runs, run_job$$;

CREATE FUNCTION guestcomms_internal.begin_sweeps(tenant_id uuid, min_age interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.retention_policies AS p
        WHERE p.is_enabled AND p.is_pending AND (begin_sweeps.tenant_id IS NULL OR p.tenant_id = begin_sweeps.tenant_id))
    THEN
        UPDATE guestcomms.retention_policies AS p SET is_pending = true
        WHERE p.is_enabled AND NOT p.is_pending AND (begin_sweeps.tenant_id IS NULL OR p.tenant_id = begin_sweeps.tenant_id)
            AND p.swept_at <= clock_timestamp() - begin_sweeps.min_age;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.begin_sweeps(uuid, interval) IS
'Where no sweep is due: has those policies gone through again whose last sweep ended so long ago.';

CREATE FUNCTION guestcomms_internal.retention_batch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_batch guestcomms_internal.retention_batch;
BEGIN
    PERFORM guestcomms_internal.begin_sweeps(NULL, interval '12 hours');
    -- A run a day.
    v_batch := guestcomms_internal.expire_next(md5('retention ' || current_date)::uuid, 500, now());
    RETURN CASE WHEN (v_batch).tenant_id IS NULL THEN 0 ELSE (v_batch).looked_at + 1 END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.retention_batch() IS 'A job''s work: the next batch of all policies.';

CREATE FUNCTION guestcomms.list_retention_runs(since timestamptz DEFAULT NULL)
RETURNS TABLE (run_id uuid, policy_name text, retention_class text, cutoff_at timestamptz, started_at timestamptz, ended_at timestamptz, batch_count integer, counts jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT r.run_id, r.policy_name, r.retention_class, r.cutoff_at, r.started_at, r.ended_at, r.batch_count, r.counts
    FROM guestcomms.retention_runs AS r
    WHERE r.tenant_id = v_tenant AND r.started_at >= coalesce(list_retention_runs.since, now() - interval '90 days')
    ORDER BY r.started_at DESC, r.run_id, r.policy_name;
END $$;
COMMENT ON FUNCTION guestcomms.list_retention_runs(timestamptz) IS
$$What was removed by policy for the current tenant since a time, of the last 90 days if none is given: each run and policy with how much of what went, and what it was from before (cutoff_at). Runs that removed nothing are not listed.
Example: SELECT policy_name, cutoff_at, counts FROM guestcomms.list_retention_runs(since => now() - interval '1 year');
See also: run_retention, preview_retention, list_retention_policies$$;
