-- pg_cron, in this database or, better, in another one (a database that holds pg_cron does not restore cleanly).
CREATE FUNCTION guestcomms_internal.run_in_cron(cron_connection text, statement text) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_dblink_schema name;
BEGIN
    IF cron_connection IS NULL THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_cron') THEN
            RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'pg_cron is not in this database',
                HINT = 'Name the database that has it: schedule_jobs(cron_connection => ''dbname=postgres''). Or let any scheduler CALL guestcomms.run_due_jobs() every minute.';
        END IF;
        RETURN QUERY EXECUTE statement;
        RETURN;
    END IF;
    SELECT n.nspname INTO v_dblink_schema FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'dblink';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'dblink is not in this database',
            HINT = 'CREATE EXTENSION dblink; it is only needed to reach pg_cron in another database.';
    END IF;
    RETURN QUERY EXECUTE format('SELECT r.result FROM %I.dblink(%L, %L) AS r (result text)', v_dblink_schema, cron_connection, statement);
END $$;
COMMENT ON FUNCTION guestcomms_internal.run_in_cron(text, text) IS
'Runs a statement with one text column where pg_cron is: here, or over dblink.';

CREATE FUNCTION guestcomms_internal.cron_entries() RETURNS TABLE (entry_name text, schedule text, command text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT format('guestcomms %s %s', current_database(), d.job_name), d.schedule, format('CALL guestcomms.run_job(%L, true)', d.job_name)
    FROM guestcomms_internal.job_definitions() AS d
    UNION ALL
    SELECT format('guestcomms %s requested jobs', current_database()), '* * * * *', 'CALL guestcomms.run_due_jobs(true)'
$$;
COMMENT ON FUNCTION guestcomms_internal.cron_entries() IS 'pg_cron''s entries for the jobs of this database.';

CREATE FUNCTION guestcomms.schedule_jobs(cron_connection text DEFAULT NULL, job_login text DEFAULT NULL)
RETURNS TABLE (entry_name text, schedule text, command text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_login text := coalesce(schedule_jobs.job_login, session_user);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = v_login AND r.rolcanlogin)
        OR NOT pg_has_role(v_login, 'guestcomms_operator', 'USAGE')
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'job_login cannot run the jobs',
            HINT = 'CREATE ROLE name LOGIN; GRANT guestcomms_operator TO name; its timeouts: ALTER ROLE name SET statement_timeout = ...';
    END IF;
    PERFORM guestcomms.unschedule_jobs(schedule_jobs.cron_connection);
    FOR entry_name, schedule, command IN SELECT * FROM guestcomms_internal.cron_entries() LOOP
        PERFORM guestcomms_internal.run_in_cron(schedule_jobs.cron_connection,
            format('SELECT cron.schedule_in_database(%L, %L, %L, %L, %L)::text', entry_name, schedule, command, current_database(), v_login));
        RETURN NEXT;
    END LOOP;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'schedule_jobs', 'store', jsonb_build_object('job_login', v_login));
END $$;
COMMENT ON FUNCTION guestcomms.schedule_jobs(text, text) IS
$$Registers the maintenance jobs with pg_cron, replacing earlier entries of this database, and returns them. cron_connection: a libpq connection string to the database that holds pg_cron, where it is another one (needs dblink here); job_login: the login role the jobs run as, an operator. For superusers.
Example: SELECT * FROM guestcomms.schedule_jobs(cron_connection => 'dbname=postgres', job_login => 'guestcomms_jobs');
See also: unschedule_jobs, list_jobs, run_due_jobs$$;

CREATE FUNCTION guestcomms.unschedule_jobs(cron_connection text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- By number: pg_cron removes by name only what the caller owns.
    RETURN (SELECT count(*) FROM guestcomms_internal.run_in_cron(unschedule_jobs.cron_connection,
        format('SELECT cron.unschedule(j.jobid)::text FROM cron.job AS j WHERE j.database = %L AND j.jobname LIKE %L',
            current_database(), 'guestcomms ' || replace(replace(replace(current_database(), '\', '\\'), '%', '\%'), '_', '\_') || ' %')));
END $$;
COMMENT ON FUNCTION guestcomms.unschedule_jobs(text) IS
$$Removes the jobs of this database from pg_cron and returns how many entries there were. cron_connection as in schedule_jobs(). For superusers.
Example: SELECT guestcomms.unschedule_jobs(cron_connection => 'dbname=postgres');
See also: schedule_jobs, pause_job$$;
