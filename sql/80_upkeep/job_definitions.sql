-- The list of jobs. A module that needs one adds a row and a function that treats one bounded batch and returns how many
-- rows it treated, 0 when nothing is left.
CREATE FUNCTION guestcomms_internal.job_definitions()
RETURNS TABLE (job_name text, every interval, schedule text, command text, time_budget interval, lock_timeout interval, catch_up text, purpose text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- every is for run_due_jobs(), schedule the like for pg_cron, which spreads the daily ones. catch_up: a run that was missed is made up for
    -- ("once"), or waits for its next time ("skip"), for what should not run by day.
    VALUES
        ('seal_audit_trail', interval '1 minute', '* * * * *', 'SELECT guestcomms.seal_audit_trail()',
         interval '45 seconds', interval '2 seconds', 'once', 'chains new audit entries'),
        ('clean_search_index', interval '5 minutes', '*/5 * * * *', 'SELECT guestcomms_internal.clean_search_index()',
         interval '4 minutes', interval '1 second', 'once', 'empties the pending lists of the search indexes, which every search reads'),
        ('refresh_term_statistics', interval '1 minute', '* * * * *', 'SELECT guestcomms.refresh_term_statistics()',
         interval '5 minutes', interval '2 seconds', 'once', 'follows changes in the statistics and the vocabulary that search, suggestions and corrections go by'),
        ('match_saved_searches', interval '1 minute', '* * * * *', 'SELECT guestcomms.match_saved_searches()',
         interval '5 minutes', interval '2 seconds', 'once', 'raises alerts for messages that match saved searches'),
        ('refresh_warehouse', interval '1 minute', '* * * * *', 'SELECT guestcomms.refresh_warehouse()',
         interval '5 minutes', interval '2 seconds', 'once', 'follows changes in the star schema and its rollups'),
        ('refresh_reports', interval '1 hour', '7 * * * *', 'SELECT guestcomms.refresh_reports(max_age => ''50 minutes'')',
         interval '30 minutes', interval '2 seconds', 'once', 'refreshes the materialized views that BI tools read'),
        ('run_archive', interval '1 hour', '13 * * * *', 'SELECT guestcomms_internal.archive_batch()',
         interval '20 minutes', interval '2 seconds', 'once', 'moves into the archive what policies name'),
        ('train_archive', interval '1 day', '27 2 * * *', 'SELECT guestcomms_internal.train_archive()',
         interval '30 minutes', interval '2 seconds', 'once', 'makes new dictionaries of the archive, and learns from the codecs tried'),
        ('verify_archive', interval '1 day', '7 4 * * *', 'SELECT guestcomms_internal.verify_next()',
         interval '1 hour', interval '2 seconds', 'once', 'checks segments of the archive that are due'),
        ('release_archived_space', interval '1 day', '52 3 * * *', 'SELECT guestcomms_internal.release_empty_months()',
         interval '10 minutes', interval '1 second', 'skip', 'gives back the space of months that are archived altogether'),
        ('write_exports', interval '1 minute', '* * * * *', 'SELECT guestcomms_internal.export_batch()',
         interval '10 minutes', interval '2 seconds', 'once', 'writes exports that are too long for the call that asked for them'),
        ('erase_guests', interval '1 minute', '* * * * *', 'SELECT guestcomms_internal.erase_batch()',
         interval '10 minutes', interval '2 seconds', 'once', 'goes on with erasures that are too long for the call that asked for them, or that waited for a hold'),
        ('remake_erased_indexes', interval '1 day', '12 3 * * *', 'SELECT guestcomms_internal.remake_erased_index()',
         interval '30 minutes', interval '2 seconds', 'skip', 'makes small indexes anew that words of erased guests may still stand in'),
        ('trim_exports', interval '1 hour', '33 * * * *', 'SELECT guestcomms_internal.trim_exports()',
         interval '10 minutes', interval '2 seconds', 'once', 'removes the files of exports that have expired'),
        ('run_retention', interval '1 day', '43 1 * * *', 'SELECT guestcomms_internal.retention_batch()',
         interval '1 hour', interval '2 seconds', 'once', 'removes what retention policies keep no longer'),
        ('close_tenants', interval '10 minutes', '8-59/10 * * * *', 'SELECT guestcomms_internal.close_batch()',
         interval '30 minutes', interval '2 seconds', 'once', 'removes the rows of tenants that were closed'),
        ('detect_languages', interval '5 minutes', '*/5 * * * *', 'SELECT guestcomms.detect_languages()',
         interval '4 minutes', interval '2 seconds', 'once', 'finds the language of messages that came without one'),
        ('rebuild_search', interval '1 hour', '41 * * * *', 'SELECT guestcomms_internal.rebuild_search_batch()',
         interval '10 minutes', interval '2 seconds', 'once', 'computes search vectors anew after rebuild_search()'),
        ('trim_change_log', interval '10 minutes', '3-59/10 * * * *', 'SELECT guestcomms.trim_change_log()',
         interval '5 minutes', interval '2 seconds', 'once', 'removes changes that every consumer has read'),
        ('analyze_tables', interval '6 hours', '23 */6 * * *', 'SELECT guestcomms_internal.analyze_tables()',
         interval '30 minutes', interval '2 seconds', 'once', 'statistics of the partitioned tables, which autovacuum leaves out, and of threads and guests'),
        ('ensure_partitions', interval '1 day', '17 3 * * *', 'SELECT guestcomms_internal.make_partitions_ahead()',
         interval '10 minutes', interval '5 seconds', 'once', 'makes the months ahead'),
        ('rescue_default_rows', interval '1 day', '37 3 * * *', 'SELECT guestcomms_internal.rescue_default_rows()',
         interval '30 minutes', interval '5 seconds', 'skip', 'moves rows out of the default partitions'),
        ('trim_search_history', interval '1 hour', '57 * * * *',
         'SELECT guestcomms_internal.trim_alerts() + guestcomms_internal.trim_query_log()',
         interval '10 minutes', interval '2 seconds', 'once', 'removes old alerts, and old searches from query logs'),
        ('trim_quota_uses', interval '1 hour', '33 * * * *', 'SELECT guestcomms_internal.trim_quota_uses()',
         interval '1 minute', interval '2 seconds', 'once', 'removes what counts no more against the limits of an hour'),
        ('trim_send_attempts', interval '1 hour', '43 * * * *', 'SELECT guestcomms_internal.trim_send_attempts()',
         interval '10 minutes', interval '2 seconds', 'once', 'removes attempts at sending after sending.keep_attempts'),
        ('trim_guest_history', interval '1 hour', '43 * * * *', 'SELECT guestcomms_internal.trim_guest_history()',
         interval '5 minutes', interval '2 seconds', 'once', 'removes merges that can no longer be undone, and files of guests that were never imported'),
        ('trim_job_runs', interval '1 day', '47 3 * * *', 'SELECT guestcomms_internal.trim_job_runs()',
         interval '1 minute', interval '2 seconds', 'once', 'removes the history of jobs after a month');
END;
COMMENT ON FUNCTION guestcomms_internal.job_definitions() IS 'The declared list of maintenance jobs.';

CREATE FUNCTION guestcomms_internal.require_job(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms_internal.job_definitions() AS d WHERE d.job_name = require_job.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such job',
            HINT = 'SELECT job_name, purpose FROM guestcomms.list_jobs();';
    END IF;
    RETURN require_job.name;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_job(text) IS 'The name, if it is a job''s.';

CREATE FUNCTION guestcomms_internal.clean_search_index() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    -- One call cleans all: the work is what was inserted since the last.
    SELECT sum(gin_clean_pending_list(i.indexrelid)) * 0
    FROM unnest('{guestcomms.messages,guestcomms.archive_segments}'::regclass[]) AS p (parent_table)
    CROSS JOIN LATERAL pg_partition_tree(p.parent_table) AS t
    JOIN pg_catalog.pg_index AS i ON i.indrelid = t.relid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'gin'
    WHERE t.isleaf
$$;
COMMENT ON FUNCTION guestcomms_internal.clean_search_index() IS 'Empties the pending lists of the search indexes.';

CREATE FUNCTION guestcomms_internal.analyze_tables() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Tables that messages refer to after them, as whoever makes a month locks them.
    ANALYZE guestcomms.messages, guestcomms.message_events, guestcomms.archive_segments, guestcomms_bi.fact_message, guestcomms_bi.fact_message_event,
        guestcomms.threads, guestcomms.guests, guestcomms.guest_addresses;
    RETURN 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.analyze_tables() IS 'Statistics of the partitioned tables, and of guests and threads, which a load brings, too.';

CREATE FUNCTION guestcomms_internal.make_partitions_ahead() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$ SELECT sum(p.made_count) * 0 FROM guestcomms.ensure_partitions() AS p $$;
COMMENT ON FUNCTION guestcomms_internal.make_partitions_ahead() IS 'The months ahead, in one go.';

CREATE FUNCTION guestcomms_internal.rescue_default_rows() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_first timestamptz;
    v_count bigint;
BEGIN
    -- The newest month first: a run makes at most a year of older months, the next run goes on.
    SELECT min(guestcomms_internal.newest_default_row(r.parent_table, r.since)) INTO v_first FROM guestcomms_internal.partition_ranges AS r;
    IF v_first IS NULL THEN
        RETURN 0;
    END IF;
    SELECT sum(p.rescued_rows) INTO v_count
    FROM guestcomms.ensure_partitions(greatest(v_first, (SELECT r.since FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.messages') - interval '1 year')) AS p;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.rescue_default_rows() IS 'Makes months for rows of the default partitions that lie before the others, and moves them.';

CREATE FUNCTION guestcomms_internal.newest_default_row(parent_table text, before timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_result timestamptz;
BEGIN
    EXECUTE format('SELECT max(%2$I) FROM %1$s WHERE %2$I < %3$L',
        newest_default_row.parent_table::regclass, guestcomms_internal.partition_control(newest_default_row.parent_table), newest_default_row.before)
    INTO v_result;
    RETURN v_result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.newest_default_row(text, timestamptz) IS 'Newest time of the rows before the first month.';

CREATE FUNCTION guestcomms_internal.trim_job_runs() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms.job_runs AS r WHERE r.started_at < now() - interval '1 month';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_job_runs() IS 'Removes the history of jobs after a month.';
