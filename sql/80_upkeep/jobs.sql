-- Running jobs. A job never overlaps itself (an advisory lock for the session), waits longer after every failure, and
-- commits after each batch, so that it can be stopped and resumed.
CREATE FUNCTION guestcomms_internal.start_job(name text) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_run uuid := guestcomms.uuid_v7(clock_timestamp());
BEGIN
    INSERT INTO guestcomms.jobs AS j (job_name, last_started_at) VALUES (start_job.name, clock_timestamp())
    ON CONFLICT ON CONSTRAINT jobs_pkey DO UPDATE
    SET last_started_at = excluded.last_started_at;
    -- Whoever holds the job's lock knows that a run still open was cut off.
    UPDATE guestcomms.job_runs AS r SET outcome = 'failed', error_code = '57P01', finished_at = clock_timestamp()
    WHERE r.job_name = start_job.name AND r.outcome = 'running';
    INSERT INTO guestcomms.job_runs (job_name, run_id, started_at) VALUES (start_job.name, v_run, clock_timestamp());
    RETURN v_run;
END $$;
COMMENT ON FUNCTION guestcomms_internal.start_job(text) IS 'Notes the start of a run.';

CREATE FUNCTION guestcomms_internal.finish_job(name text, run_id uuid, outcome text, error_code text, batch_count integer, row_count bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms.job_runs AS r
    SET finished_at = clock_timestamp(), outcome = finish_job.outcome, error_code = finish_job.error_code,
        batch_count = finish_job.batch_count, row_count = finish_job.row_count
    WHERE r.job_name = finish_job.name AND r.run_id = finish_job.run_id;
    UPDATE guestcomms.jobs AS j
    SET last_finished_at = clock_timestamp(),
        last_succeeded_at = CASE WHEN finish_job.error_code IS NULL THEN clock_timestamp() ELSE j.last_succeeded_at END,
        last_error_code = finish_job.error_code,
        -- What was asked for while it ran stays asked for; so does what it failed to do.
        requested_at = CASE WHEN finish_job.error_code IS NOT NULL OR j.requested_at > j.last_started_at THEN j.requested_at END,
        failure_count = CASE WHEN finish_job.error_code IS NULL THEN 0 ELSE j.failure_count + 1 END,
        -- A minute, two, four, ... at most a day.
        not_before = CASE WHEN finish_job.error_code IS NOT NULL
            THEN clock_timestamp() + least(interval '1 day', interval '1 minute' * power(2, least(j.failure_count, 11))) END
    WHERE j.job_name = finish_job.name;
END $$;
COMMENT ON FUNCTION guestcomms_internal.finish_job(text, uuid, text, text, integer, bigint) IS 'Notes the end of a run, and until when the job waits after failures.';

CREATE FUNCTION guestcomms_internal.may_job_run(name text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM guestcomms.jobs AS j WHERE j.job_name = may_job_run.name AND (j.is_paused OR j.not_before > clock_timestamp()));
END $$;
COMMENT ON FUNCTION guestcomms_internal.may_job_run(text) IS 'Whether a job is neither paused nor waiting after a failure.';

CREATE PROCEDURE guestcomms_internal.work_job(name text, INOUT error_code text DEFAULT NULL, INOUT error_message text DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    -- Every name is qualified: a procedure that commits may neither set its search_path nor be SECURITY DEFINER. The
    -- functions it calls do both.
    v_command text;
    v_lock_timeout interval;
    v_until timestamptz;
    v_run uuid;
    v_rows bigint;
    v_batches integer := 0;
    v_total bigint := 0;
    v_lock bigint := pg_catalog.hashtextextended(pg_catalog.concat('guestcomms.job.', name), 0);
    v_path text := pg_catalog.current_setting('search_path');
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    error_code := NULL;
    error_message := NULL;
    IF NOT pg_catalog.pg_try_advisory_lock(v_lock) THEN
        RAISE NOTICE USING MESSAGE = pg_catalog.format('job %s is running in another session', name);
        RETURN;
    END IF;
    SELECT d.command, d.lock_timeout, pg_catalog.clock_timestamp() + d.time_budget INTO v_command, v_lock_timeout, v_until
    FROM guestcomms_internal.job_definitions() AS d WHERE d.job_name = name;
    BEGIN
        v_run := guestcomms_internal.start_job(name);
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        PERFORM pg_catalog.pg_advisory_unlock(v_lock);
        RAISE;
    END;
    COMMIT;
    LOOP
        -- Anew after every commit, for operators: those of a schema before pg_catalog's could be taken for them.
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', pg_catalog.concat((extract(epoch FROM v_lock_timeout) * 1000)::bigint, 'ms'), true);
            EXECUTE v_command INTO v_rows;
            v_batches := v_batches + 1;
            v_total := v_total + coalesce(v_rows, 0);
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            -- Kept, a time-out too, and raised again once the run is noted.
            GET STACKED DIAGNOSTICS error_code = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT;
        END;
        COMMIT;
        EXIT WHEN error_code IS NOT NULL OR coalesce(v_rows, 0) = 0 OR pg_catalog.clock_timestamp() >= v_until;
    END LOOP;
    PERFORM guestcomms_internal.finish_job(name, v_run,
        CASE WHEN error_code IS NOT NULL THEN 'failed' WHEN coalesce(v_rows, 0) = 0 THEN 'done' ELSE 'out of time' END,
        error_code, v_batches, v_total);
    -- pg_partman leaves a path of its own behind.
    PERFORM pg_catalog.set_config('search_path', v_path, false);
    COMMIT;
    PERFORM pg_catalog.pg_advisory_unlock(v_lock);
END $$;
COMMENT ON PROCEDURE guestcomms_internal.work_job(text, text, text) IS
'Runs a job batch by batch until nothing is left, its time is up or it fails; returns the failure, if any.';

CREATE PROCEDURE guestcomms.run_job(name text, is_scheduled boolean DEFAULT false)
LANGUAGE plpgsql
AS $$
DECLARE
    v_code text;
    v_message text;
BEGIN
    PERFORM guestcomms_internal.require_job(name);
    IF is_scheduled AND NOT guestcomms_internal.may_job_run(name) THEN
        RETURN;
    END IF;
    CALL guestcomms_internal.work_job(name, v_code, v_message);
    IF v_code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = v_code, MESSAGE = v_message,
            DETAIL = pg_catalog.format('Job %s failed and waits before it is run by schedule again.', name),
            HINT = 'SELECT * FROM guestcomms.job_history(...); shows earlier runs.';
    END IF;
END $$;
COMMENT ON PROCEDURE guestcomms.run_job(text, boolean) IS
$$Runs a maintenance job at once, in batches that each commit, within its time budget; does nothing while it runs in another session. is_scheduled is for schedulers: a job that is paused or waits after a failure is left alone.
Example: CALL guestcomms.run_job('trim_change_log');
See also: list_jobs, run_due_jobs, job_history$$;

CREATE PROCEDURE guestcomms.run_due_jobs(is_requested_only boolean DEFAULT false)
LANGUAGE plpgsql
AS $$
DECLARE
    v_name text;
    v_code text;
    v_message text;
BEGIN
    FOREACH v_name IN ARRAY guestcomms_internal.list_due_jobs(is_requested_only) LOOP
        CALL guestcomms_internal.work_job(v_name, v_code, v_message);
        IF v_code OPERATOR(pg_catalog.=) '57014' THEN
            RAISE EXCEPTION USING ERRCODE = v_code, MESSAGE = v_message;   -- cancelled, or out of statement_timeout: all of it
        ELSIF v_code IS NOT NULL THEN
            -- One job's failure is no reason to leave out the others; it is in job_history() with its SQLSTATE.
            RAISE WARNING USING ERRCODE = v_code, MESSAGE = pg_catalog.format('job %s failed: %s', v_name, v_message);
        END IF;
    END LOOP;
END $$;
COMMENT ON PROCEDURE guestcomms.run_due_jobs(boolean) IS
$$Runs the jobs whose time has come or that were asked for, one after another. For any scheduler where pg_cron is not at hand: call it every minute, outside a transaction.
Example: CALL guestcomms.run_due_jobs();
See also: run_job, list_jobs, schedule_jobs$$;

CREATE FUNCTION guestcomms_internal.list_due_jobs(is_requested_only boolean) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT d.job_name
        FROM guestcomms_internal.job_definitions() AS d
        LEFT JOIN guestcomms.jobs AS j ON j.job_name = d.job_name
        CROSS JOIN LATERAL (SELECT date_bin(d.every, clock_timestamp(), timestamptz '2000-01-01 03:17+00') AS start) AS slot
        WHERE guestcomms_internal.may_job_run(d.job_name)
            AND (j.requested_at IS NOT NULL
                -- What failed, or ran out of time, goes on without waiting for its next time.
                OR j.failure_count > 0
                OR (SELECT r.outcome FROM guestcomms.job_runs AS r WHERE r.job_name = d.job_name ORDER BY r.run_id DESC LIMIT 1) = 'out of time'
                OR NOT list_due_jobs.is_requested_only
                    AND coalesce(j.last_started_at < slot.start, true)
                    AND (d.catch_up = 'once' OR clock_timestamp() < slot.start + least(d.every / 10, interval '1 hour')))
        ORDER BY d.every, d.job_name);
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_due_jobs(boolean) IS
'Jobs that were asked for, failed, ran out of time, or whose time has come since they last started; the most frequent first.';

CREATE FUNCTION guestcomms.request_job(name text, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.require_job(request_job.name);
    -- Nobody waits: whoever has the row is asking for the same job, or starting it. (There is one for every job.)
    PERFORM FROM guestcomms.jobs AS j WHERE j.job_name = request_job.name AND j.requested_at IS NULL FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE guestcomms.jobs AS j SET requested_at = clock_timestamp(), request_reason = left(request_job.reason, 200)
    WHERE j.job_name = request_job.name;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.request_job(text, text) IS
$$Asks for a job to be run soon, by the next run_due_jobs() or pg_cron's minute; returns whether it was not asked for already. What loads much asks for fresh statistics so.
Example: SELECT guestcomms.request_job('analyze_tables', reason => 'backfill');
See also: run_job, run_due_jobs, list_jobs$$;

CREATE FUNCTION guestcomms.pause_job(name text, is_paused boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.require_job(pause_job.name);
    INSERT INTO guestcomms.jobs AS j (job_name, is_paused) VALUES (pause_job.name, coalesce(pause_job.is_paused, true))
    ON CONFLICT ON CONSTRAINT jobs_pkey DO UPDATE SET is_paused = excluded.is_paused, not_before = NULL;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'pause_job', 'job ' || pause_job.name,
        jsonb_build_object('is_paused', pause_job.is_paused));
END $$;
COMMENT ON FUNCTION guestcomms.pause_job(text, boolean) IS
$$Keeps schedulers from running a job, or lets them again at once (is_paused => false), also when it was waiting after failures. run_job() by hand still runs it.
Example: SELECT guestcomms.pause_job('analyze_tables');
See also: list_jobs, run_job$$;

CREATE FUNCTION guestcomms.list_jobs()
RETURNS TABLE (job_name text, purpose text, schedule text, is_paused boolean, last_started_at timestamptz, last_succeeded_at timestamptz,
    failure_count integer, last_error_code text, not_before timestamptz, requested_at timestamptz, request_reason text,
    time_budget interval, lock_timeout interval, catch_up text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT d.job_name, d.purpose, d.schedule, coalesce(j.is_paused, false), j.last_started_at, j.last_succeeded_at,
        coalesce(j.failure_count, 0), j.last_error_code, j.not_before, j.requested_at, j.request_reason,
        d.time_budget, d.lock_timeout, d.catch_up
    FROM guestcomms_internal.job_definitions() AS d
    LEFT JOIN guestcomms.jobs AS j ON j.job_name = d.job_name
    ORDER BY d.job_name
$$;
COMMENT ON FUNCTION guestcomms.list_jobs() IS
$$The maintenance jobs: what each is for, when it runs (cron notation, UTC), how its last runs went, until when it waits after failures.
Example: SELECT job_name, schedule, last_succeeded_at, failure_count FROM guestcomms.list_jobs();
See also: run_job, pause_job, job_history, schedule_jobs$$;

CREATE FUNCTION guestcomms.job_history(name text DEFAULT NULL, since timestamptz DEFAULT now() - interval '1 day', max_rows integer DEFAULT 100)
RETURNS TABLE (job_name text, started_at timestamptz, duration interval, outcome text, error_code text, batch_count integer, row_count bigint)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT r.job_name, r.started_at, r.finished_at - r.started_at, r.outcome, r.error_code, r.batch_count, r.row_count
    FROM guestcomms.job_runs AS r
    WHERE (job_history.name IS NULL OR r.job_name = job_history.name) AND r.started_at >= job_history.since
    ORDER BY r.started_at DESC, r.job_name
    LIMIT job_history.max_rows
$$;
COMMENT ON FUNCTION guestcomms.job_history(text, timestamptz, integer) IS
$$The latest runs of a job, or of all: outcome (done, out of time, failed, running), SQLSTATE of a failure, transactions and rows. Kept for a month.
Example: SELECT job_name, started_at, outcome, row_count FROM guestcomms.job_history(since => now() - interval '1 hour');
See also: list_jobs, run_job$$;
