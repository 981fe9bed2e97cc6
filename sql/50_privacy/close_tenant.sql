-- Offboarding: a tenant is closed at once, and a job removes all that is its own, table by table in bounded batches.
CREATE FUNCTION guestcomms.export_tenant(formats text[] DEFAULT '{jsonl}', recipient_key text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_export uuid;
BEGIN
    v_export := guestcomms_internal.start_export(v_tenant, NULL, export_tenant.formats, 'access', false, false, export_tenant.recipient_key, true);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'export_tenant', 'export ' || v_export,
        jsonb_build_object('formats', export_tenant.formats, 'is_encrypted', export_tenant.recipient_key IS NOT NULL));
    RETURN v_export;
END $$;
COMMENT ON FUNCTION guestcomms.export_tenant(text[], text) IS
$$Writes all data of the current tenant's guests, archived messages too, to one file as export_guest() does for one guest, and returns export_id: what a business takes with it when it leaves. recipient_key: an OpenPGP public key in ASCII armour, or the name of a key of set_export_key(). For operators. import_export() takes it into another store.
Example: SELECT guestcomms.export_tenant(formats => '{jsonl,csv}');
See also: close_tenant, read_export, get_export_progress, import_export$$;

CREATE FUNCTION guestcomms.close_tenant(dry_run boolean DEFAULT true)
RETURNS TABLE (table_name text, row_count bigint, kept_because text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_holds bigint;
BEGIN
    IF close_tenant.dry_run IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'dry_run is true or false', DETAIL = 'dry_run is null.',
            HINT = 'SELECT * FROM guestcomms.close_tenant(); shows what would go.';
    ELSIF close_tenant.dry_run THEN
        RETURN QUERY SELECT t.table_name, guestcomms_internal.count_tenant_rows(v_tenant, t.table_name), t.kept_because FROM guestcomms_internal.tenant_tables() AS t ORDER BY t.place;
        RETURN;
    END IF;
    -- Nobody places a hold between here and the end of the transaction; afterwards nobody can open the tenant.
    LOCK TABLE guestcomms.legal_holds IN SHARE MODE;
    v_holds := (SELECT count(*) FROM guestcomms.legal_holds AS h WHERE h.tenant_id = v_tenant AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now()));
    IF v_holds > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a hold keeps the tenant''s data', DETAIL = format('%s are in force.', v_holds),
            HINT = 'SELECT hold_id, reason FROM guestcomms.list_holds(); release_hold() ends one.';
    ELSIF EXISTS (SELECT FROM guestcomms.exports AS e WHERE e.tenant_id = v_tenant AND e.status = 'waiting') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'an export is still being written', DETAIL = 'Nobody could read it any more.',
            HINT = 'SELECT * FROM guestcomms.get_export_progress(); read_export() once it is ready, or remove_export().';
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'close_tenant', 'tenant ' || v_tenant);
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'close_tenant', 'tenant ' || v_tenant);
    INSERT INTO guestcomms.tenant_closures (tenant_id, tenant_name) SELECT t.tenant_id, t.name FROM guestcomms.tenants AS t WHERE t.tenant_id = v_tenant;
    INSERT INTO guestcomms.tenant_closure_tables (tenant_id, table_name, row_count, kept_because)
    SELECT v_tenant, t.table_name, guestcomms_internal.count_tenant_rows(v_tenant, t.table_name), t.kept_because FROM guestcomms_internal.tenant_tables() AS t;
    UPDATE guestcomms.tenants AS t SET closed_at = now() WHERE t.tenant_id = v_tenant;
    PERFORM guestcomms.request_job('close_tenants', 'close_tenant');
    RETURN QUERY SELECT c.table_name, c.row_count, c.kept_because
    FROM guestcomms.tenant_closure_tables AS c JOIN guestcomms_internal.tenant_tables() AS t ON t.table_name = c.table_name
    WHERE c.tenant_id = v_tenant ORDER BY t.place;
END $$;
COMMENT ON FUNCTION guestcomms.close_tenant(boolean) IS
$$What each table holds of the current tenant, and what of it stays when the tenant is closed. With dry_run => false the tenant is closed: once this commits nobody can open it any more, and the job close_tenants removes all its rows in every table, the archive, the statistics and its files of exports, in batches; where its attachments are comes on the to-delete list. There is no way back: read_export() what export_tenant() wrote before. A hold in force, or an export that is being written, is an error 55000. list_closed_tenants() shows how far it is, list_closure_tables() is the receipt. For operators.
Example: SELECT table_name, row_count, kept_because FROM guestcomms.close_tenant(dry_run => true) WHERE row_count > 0;
See also: export_tenant, list_closed_tenants, list_closure_tables, list_attachment_removals, place_hold$$;

CREATE FUNCTION guestcomms_internal.delete_tenant_batch(tenant_id uuid, table_name text, max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids uuid[];
    v_days guestcomms_internal.rollup_day[];
BEGIN
    IF delete_tenant_batch.table_name = 'guestcomms_internal.attachment_contents' THEN
        v_ids := ARRAY(SELECT c.attachment_id FROM guestcomms_internal.attachment_contents AS c WHERE c.tenant_id = delete_tenant_batch.tenant_id LIMIT delete_tenant_batch.max_rows);
        PERFORM guestcomms_internal.drop_contents(delete_tenant_batch.tenant_id, v_ids, 'tenant closed');
        RETURN cardinality(v_ids);
    ELSIF delete_tenant_batch.table_name IN ('guestcomms_bi.agg_message_day', 'guestcomms_bi.agg_event_day') THEN
        -- Their quarters of an hour are gone: the days come out empty, and are taken off the sums over all tenants.
        v_days := ARRAY(SELECT ROW(delete_tenant_batch.tenant_id, d.date_key)::guestcomms_internal.rollup_day FROM (
            SELECT a.date_key FROM guestcomms_bi.agg_message_day AS a WHERE a.tenant_id = delete_tenant_batch.tenant_id AND delete_tenant_batch.table_name = 'guestcomms_bi.agg_message_day'
            UNION
            SELECT a.date_key FROM guestcomms_bi.agg_event_day AS a WHERE a.tenant_id = delete_tenant_batch.tenant_id AND delete_tenant_batch.table_name = 'guestcomms_bi.agg_event_day'
            ORDER BY 1 LIMIT 1 + delete_tenant_batch.max_rows / 10) AS d);
        DECLARE
            v_before bigint := guestcomms_internal.count_tenant_rows(delete_tenant_batch.tenant_id, delete_tenant_batch.table_name);
        BEGIN
            IF delete_tenant_batch.table_name = 'guestcomms_bi.agg_message_day' THEN
                PERFORM guestcomms_internal.refresh_message_days(v_days);
            ELSE
                PERFORM guestcomms_internal.refresh_event_days(v_days);
            END IF;
            RETURN v_before - guestcomms_internal.count_tenant_rows(delete_tenant_batch.tenant_id, delete_tenant_batch.table_name);
        END;
    END IF;
    RETURN guestcomms_internal.delete_tenant_rows(delete_tenant_batch.tenant_id, delete_tenant_batch.table_name, delete_tenant_batch.max_rows);
END $$;
COMMENT ON FUNCTION guestcomms_internal.delete_tenant_batch(uuid, text, integer) IS 'Removes the next rows of a closed tenant from a table, with what hangs on them elsewhere; returns how many.';

CREATE FUNCTION guestcomms_internal.stale_reports(tenant_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'guestcomms_internal'::regnamespace AND c.relkind = 'm' AND c.relispopulated
            AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
            AND guestcomms_internal.has_tenant_rows(stale_reports.tenant_id, format('guestcomms_internal.%I', c.relname)));
END $$;
COMMENT ON FUNCTION guestcomms_internal.stale_reports(uuid) IS 'Whether a materialized view still shows a tenant.';

CREATE FUNCTION guestcomms_internal.close_next(max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid;
    v_table text;
    v_count bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'tenants are closed in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    -- Who follows the change log would make rows anew of what goes: none reads while a batch is at work.
    PERFORM FROM guestcomms.consumers AS c ORDER BY c.consumer FOR UPDATE;
    -- What began before the tenant was closed may still write: that is waited for. An identifier of the future is of another cluster.
    SELECT c.tenant_id INTO v_tenant FROM guestcomms.tenant_closures AS c
    WHERE c.finished_at IS NULL AND (c.closed_xid < pg_snapshot_xmin(pg_current_snapshot()) OR c.closed_xid >= pg_snapshot_xmax(pg_current_snapshot()))
    ORDER BY c.closed_at, c.tenant_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT t.table_name INTO v_table FROM guestcomms_internal.tenant_tables() AS t
    WHERE t.kept_because IS NULL AND guestcomms_internal.has_tenant_rows(v_tenant, t.table_name) ORDER BY t.place LIMIT 1;
    IF FOUND THEN
        v_count := guestcomms_internal.delete_tenant_batch(v_tenant, v_table, close_next.max_rows);
        INSERT INTO guestcomms.tenant_closure_tables AS c (tenant_id, table_name, row_count, removed_count) VALUES (v_tenant, v_table, 0, v_count)
        ON CONFLICT ON CONSTRAINT tenant_closure_tables_pkey DO UPDATE SET removed_count = c.removed_count + excluded.removed_count;
        -- What the removal itself logs, nobody is to follow.
        DELETE FROM guestcomms.change_log AS l WHERE l.tenant_id = v_tenant AND l.xid = pg_current_xact_id();
    ELSIF guestcomms_internal.stale_reports(v_tenant) THEN
        v_count := guestcomms.refresh_reports(max_age => interval '0');
    ELSE
        v_count := 0;
        UPDATE guestcomms.tenant_closures AS c SET finished_at = clock_timestamp() WHERE c.tenant_id = v_tenant;
        PERFORM guestcomms_internal.record_audit(v_tenant, 'finish_closure', 'tenant ' || v_tenant);
        PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'finish_closure', 'tenant ' || v_tenant);
    END IF;
    UPDATE guestcomms.tenant_closures AS c SET batch_count = c.batch_count + 1 WHERE c.tenant_id = v_tenant;
    RETURN v_count + 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.close_next(integer) IS
'The next batch of a closed tenant: rows of one table, then materialized views that still show it; finished when every table of the catalog is found empty of it.';

CREATE FUNCTION guestcomms_internal.close_batch() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$ SELECT guestcomms_internal.close_next(2000) $$;
COMMENT ON FUNCTION guestcomms_internal.close_batch() IS 'A job''s work: the next rows of tenants that were closed.';

CREATE FUNCTION guestcomms.list_closed_tenants()
RETURNS TABLE (tenant_id uuid, tenant_name text, closed_at timestamptz, closed_by text, finished_at timestamptz, row_count bigint, removed_count bigint, batch_count integer)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
BEGIN
    RETURN QUERY
    SELECT c.tenant_id, c.tenant_name, c.closed_at, c.closed_by, c.finished_at, s.row_count, s.removed_count, c.batch_count
    FROM guestcomms.tenant_closures AS c
    CROSS JOIN LATERAL (SELECT coalesce(sum(t.row_count) FILTER (WHERE t.kept_because IS NULL), 0)::bigint AS row_count, coalesce(sum(t.removed_count), 0)::bigint AS removed_count
        FROM guestcomms.tenant_closure_tables AS t WHERE t.tenant_id = c.tenant_id) AS s
    WHERE v_tenant IS NULL OR c.tenant_id = v_tenant
    ORDER BY c.closed_at DESC, c.tenant_id;
END $$;
COMMENT ON FUNCTION guestcomms.list_closed_tenants() IS
$$Tenants that were closed, and how far the removal of their data has come: rows that there were, rows removed, and, once every table was found to hold nothing, finished_at. For operators, who have no tenant open.
Example: SELECT tenant_name, removed_count, row_count, finished_at FROM guestcomms.list_closed_tenants();
See also: close_tenant, list_closure_tables$$;

CREATE FUNCTION guestcomms.list_closure_tables()
RETURNS TABLE (tenant_id uuid, table_name text, row_count bigint, removed_count bigint, left_count bigint, kept_because text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
BEGIN
    RETURN QUERY
    SELECT c.tenant_id, t.table_name, t.row_count, t.removed_count, guestcomms_internal.count_tenant_rows(c.tenant_id, t.table_name), t.kept_because
    FROM guestcomms.tenant_closures AS c JOIN guestcomms.tenant_closure_tables AS t ON t.tenant_id = c.tenant_id
    WHERE v_tenant IS NULL OR c.tenant_id = v_tenant
    ORDER BY c.closed_at DESC, c.tenant_id, t.table_name;
END $$;
COMMENT ON FUNCTION guestcomms.list_closure_tables() IS
$$The receipt of every closed tenant: what each table held of it, how much was removed, how much is there now, counted anew, and why what stays does. More may have been removed than there was: what jobs wrote meanwhile. For operators, who have no tenant open.
Example: SELECT table_name, row_count, removed_count, left_count, kept_because FROM guestcomms.list_closure_tables();
See also: close_tenant, list_closed_tenants$$;
