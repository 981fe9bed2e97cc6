-- What ranking, suggestions and corrections are computed from follows the change log in batches.
CREATE FUNCTION guestcomms_internal.start_counting() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- A new consumer, one that fell behind, a restored store: the change log is read from here on, and every tenant is
    -- counted anew from the table, each with a snapshot of its own. So nothing need be built in one transaction.
    IF NOT guestcomms_internal.start_consumer('term_statistics') THEN
        RETURN false;
    END IF;
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
    v_ids bigint;
    v_is_caught_up boolean;
    v_groups guestcomms_internal.term_group[];
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
    SELECT r.changes, r.change_count, r.is_caught_up INTO v_changes, v_ids, v_is_caught_up
    FROM guestcomms_internal.read_message_changes('term_statistics', refresh_term_statistics.max_rows) AS r;
    IF v_changes IS NOT NULL THEN
        v_groups := guestcomms_internal.count_changes(v_changes);
        PERFORM guestcomms_internal.evict_terms(ARRAY(SELECT DISTINCT g.tenant_id FROM unnest(v_groups) AS g));
        PERFORM guestcomms_internal.refresh_prefixes(v_groups);
    END IF;
    IF v_is_caught_up THEN
        PERFORM guestcomms_internal.remove_unused_terms(true);
        -- Where suggest.min_guests was set anew.
        FOR v_tenant IN
            SELECT s.tenant_id FROM guestcomms.search_statistics AS s
            WHERE s.min_guests <> guestcomms_internal.setting('suggest.min_guests', s.tenant_id)::integer LIMIT 10
        LOOP
            PERFORM guestcomms_internal.refresh_all_prefixes(v_tenant);
            v_ids := v_ids + 1;
        END LOOP;
    END IF;
    -- Whatever happened to a message before a change that has been counted has been counted, too.
    DELETE FROM guestcomms_internal.replaced_messages AS r
    USING guestcomms.consumers AS c
    WHERE c.consumer = 'term_statistics' AND r.xid < pg_snapshot_xmin(c.done);
    RETURN v_ids;
END $$;
COMMENT ON FUNCTION guestcomms.refresh_term_statistics(integer, boolean) IS
$$Follows the change log in the statistics that search ranks by and in the vocabulary of suggestions and corrections, about max_rows messages at a time, and returns how many changes it treated: 0 when nothing is left. A new tenant is counted from its messages; is_recount => true begins anew with all, or with the one that is open. A job's work; until it has run, search finds the same messages and ranks them a little worse.
Example: SELECT guestcomms.refresh_term_statistics();
See also: search_messages, explain_search, list_lag$$;
