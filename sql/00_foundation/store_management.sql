-- The store itself: its tables are the user's, made and changed by numbered migrations that build.py wraps into
-- functions; they are no members of the extension, so that dumps carry them and DROP EXTENSION refuses.
CREATE FUNCTION guestcomms_internal.require_database() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the database''s encoding must be UTF8',
            DETAIL = format('It is %s.', current_setting('server_encoding')),
            HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0;';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = current_database() AND d.datctype IN ('C', 'POSIX')) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the database''s character type must not be C',
            DETAIL = 'Text search would not know letters beyond ASCII.',
            HINT = 'CREATE DATABASE ... LC_CTYPE ''C.UTF-8'' TEMPLATE template0; or another UTF-8 locale.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_database() IS 'Refuses a database whose encoding or character type cannot hold a store.';

CREATE FUNCTION guestcomms_internal.has_store() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$ SELECT to_regclass('guestcomms_internal.store_migrations') IS NOT NULL $$;
COMMENT ON FUNCTION guestcomms_internal.has_store() IS 'Whether create_store() has been run.';

CREATE FUNCTION guestcomms_internal.apply_migrations() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_migration record;
    v_is_applied boolean;
    v_sketches integer;
    v_count integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('guestcomms.store_migrations', 0));
    FOR v_migration IN SELECT * FROM guestcomms_internal.store_migration_list() AS l ORDER BY l.number LOOP
        v_is_applied := false;
        IF guestcomms_internal.has_store() THEN
            SELECT EXISTS (SELECT FROM guestcomms_internal.store_migrations AS m WHERE m.number = v_migration.number) INTO v_is_applied;
        END IF;
        CONTINUE WHEN v_is_applied;
        EXECUTE format('SELECT guestcomms_internal.store_migration_%s()', lpad(v_migration.number::text, 3, '0'));
        INSERT INTO guestcomms_internal.store_migrations (number, name, sha256, extension_version)
        VALUES (v_migration.number, v_migration.name, v_migration.sha256,
            (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'guestcomms'));
        v_count := v_count + 1;
    END LOOP;
    v_sketches := guestcomms_internal.make_sketch_tables();
    PERFORM guestcomms_internal.secure_store();
    IF v_sketches > 0 THEN
        -- Filled as facts are compared with their messages.
        PERFORM guestcomms_internal.request_load(NULL);
    END IF;
    INSERT INTO guestcomms.jobs (job_name) SELECT d.job_name FROM guestcomms_internal.job_definitions() AS d
    ON CONFLICT ON CONSTRAINT jobs_pkey DO NOTHING;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.apply_migrations() IS
'Applies the store migrations that are missing, then sets row security and grants anew and adds the rows of new jobs.';

CREATE FUNCTION guestcomms_internal.make_store(history interval, caller_path text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF guestcomms_internal.has_store() THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = 'this database already holds a store',
            HINT = 'SELECT guestcomms.upgrade_store(); brings it to the extension''s version.';
    END IF;
    PERFORM guestcomms_internal.require_database();
    PERFORM guestcomms_internal.apply_migrations();
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'create_store', 'store');
    -- Last, for it leaves the caller's search_path in force.
    PERFORM guestcomms_internal.make_partitions(now() - make_store.history, now(), make_store.caller_path);
END $$;
COMMENT ON FUNCTION guestcomms_internal.make_store(interval, text) IS
'The work of create_store(); caller_path is the search_path to leave behind.';

CREATE FUNCTION guestcomms.create_store(history interval DEFAULT '1 year') RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
-- Parsed, and without a search_path of its own: only so the caller's can be read here (see ensure_partitions).
RETURN guestcomms_internal.make_store(history, current_setting('search_path'));
COMMENT ON FUNCTION guestcomms.create_store(interval) IS
$$Makes the store's tables in this database, with monthly partitions for as much history as is wanted and some months ahead. Once, after CREATE EXTENSION.
Example: SELECT guestcomms.create_store(history => '3 years');
See also: upgrade_store, ensure_partitions, drop_store$$;

CREATE FUNCTION guestcomms.upgrade_store() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count integer;
BEGIN
    IF NOT guestcomms_internal.has_store() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'this database holds no store',
            HINT = 'SELECT guestcomms.create_store();';
    END IF;
    v_count := guestcomms_internal.apply_migrations();
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'upgrade_store', 'store',
        jsonb_build_object('migrations', v_count));
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.upgrade_store() IS
$$Applies the store migrations of the installed extension that this store does not have yet and sets row security and grants anew; returns how many. After every ALTER EXTENSION guestcomms UPDATE.
Example: SELECT guestcomms.upgrade_store();
See also: create_store$$;

CREATE FUNCTION guestcomms.drop_store(confirm text DEFAULT NULL)
RETURNS TABLE (object text, row_estimate bigint, byte_count bigint, is_dropped boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_is_confirmed boolean := drop_store.confirm IS NOT DISTINCT FROM current_database();
    v_table record;
BEGIN
    IF NOT guestcomms_internal.has_store() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'this database holds no store',
            HINT = 'SELECT guestcomms.create_store(); makes one.';
    END IF;
    IF drop_store.confirm IS NOT NULL AND NOT v_is_confirmed THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the store was not dropped',
            DETAIL = 'confirm must be the name of this database.',
            HINT = 'Without confirm, drop_store() shows what would go.';
    END IF;
    FOR v_table IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name, sum(greatest(leaf.reltuples, 0))::bigint AS row_estimate,
            sum(pg_total_relation_size(leaf.oid))::bigint AS byte_count
        FROM guestcomms_internal.store_tables() AS s
        JOIN pg_catalog.pg_class AS c ON c.oid = s.table_id
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (SELECT c.oid UNION SELECT t.relid FROM pg_partition_tree(c.oid) AS t) AS part (relid)
        JOIN pg_catalog.pg_class AS leaf ON leaf.oid = part.relid
        WHERE NOT c.relispartition
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        GROUP BY n.nspname, c.relname
        ORDER BY n.nspname, c.relname
    LOOP
        IF v_is_confirmed THEN
            EXECUTE format('DROP TABLE %s CASCADE', v_table.name);
        END IF;
        RETURN QUERY SELECT v_table.name, v_table.row_estimate, v_table.byte_count, v_is_confirmed;
    END LOOP;
    IF v_is_confirmed THEN
        -- Views of tables went with them.
        FOR v_table IN SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind = 'v' LOOP
            EXECUTE format('DROP VIEW guestcomms_bi.%I', v_table.relname);
        END LOOP;
        EXECUTE format('DELETE FROM %I.part_config AS p WHERE p.parent_table = ANY ($1)',
            guestcomms_internal.extension_schema('pg_partman')) USING guestcomms_internal.partitioned_tables();
        FOR v_table IN SELECT c.cfgname FROM pg_catalog.pg_ts_config AS c
            WHERE c.cfgnamespace = 'guestcomms'::regnamespace AND c.cfgowner = 'guestcomms_owner'::regrole
        LOOP
            EXECUTE format('DROP TEXT SEARCH CONFIGURATION guestcomms.%I', v_table.cfgname);
        END LOOP;
        FOR v_table IN SELECT d.dictname FROM pg_catalog.pg_ts_dict AS d
            WHERE d.dictnamespace = 'guestcomms'::regnamespace AND d.dictowner = 'guestcomms_owner'::regrole
        LOOP
            EXECUTE format('DROP TEXT SEARCH DICTIONARY guestcomms.%I', v_table.dictname);
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.drop_store(text) IS
$$Shows the store's tables with their sizes, and drops them with all they hold when confirm is the name of the database. The audit trail goes with them: export_audit_heads() first.
Example: SELECT * FROM guestcomms.drop_store();
See also: create_store, export_audit_heads$$;
