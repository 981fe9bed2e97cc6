-- Row security and grants of the store's tables, set anew by create_store(), upgrade_store() and ensure_partitions().
CREATE FUNCTION guestcomms_internal.store_tables() RETURNS TABLE (table_id oid, is_partition boolean, has_tenant boolean)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT c.oid, c.relispartition, EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace IN (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('guestcomms', 'guestcomms_internal', 'guestcomms_bi'))
        AND c.relkind IN ('r', 'p')
        AND c.relowner = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'guestcomms_owner')
$$;
COMMENT ON FUNCTION guestcomms_internal.store_tables() IS 'The store''s tables and partitions: what guestcomms_owner owns in our schemas.';

CREATE FUNCTION guestcomms_internal.force_row_security() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_table oid;
    v_count integer := 0;
BEGIN
    -- Staging tables have none: COPY is refused on a table with row security. Their privileges keep readers out.
    FOR v_table IN
        SELECT s.table_id FROM guestcomms_internal.store_tables() AS s
        JOIN pg_catalog.pg_class AS c ON c.oid = s.table_id
        WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity) AND c.oid <> ALL ('{guestcomms.import_messages,guestcomms.import_guest_lines}'::regclass[])
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_table::regclass);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.force_row_security() IS
'Forces row security on every store table and partition that lacks it; partitions get no policy, so that nobody reads them but through their parent.';

CREATE FUNCTION guestcomms_internal.keep_texts_out_of_statistics() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_column record;
    v_count integer := 0;
BEGIN
    -- What guests wrote, and who they are, would stand in pg_statistic until the next ANALYZE after it was erased, or longer,
    -- and searches would spend most of their planning on unpacking it: they choose their way by the tenant's own counts.
    FOR v_column IN
        WITH store_table AS (
            SELECT c.oid, c.relkind, c.relnamespace FROM pg_catalog.pg_class AS c
            WHERE c.relnamespace IN ('guestcomms'::regnamespace, 'guestcomms_internal'::regnamespace, 'guestcomms_bi'::regnamespace) AND c.relkind IN ('r', 'p')
        ), documented AS (
            -- Comments stand on the parents.
            SELECT DISTINCT t.relid, a.attname
            FROM store_table AS s
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = s.oid AND a.attnum > 0 AND NOT a.attisdropped
                -- Analysts may EXPLAIN: what the planner knows of tenants, and of what is theirs alone, would tell of others.
                AND (col_description(s.oid, a.attnum) ~ '\[retention: (content|contact)\]'
                    -- What a guest wrote may be in documents and notes of any class, and an identifier of a message may be an address. Analysing anew
                    -- would not do: a table that is empty then keeps what was known of it.
                    OR a.atttypid = 'jsonb'::regtype OR a.attname IN ('note', 'external_id')
                    OR s.oid = 'guestcomms.consents'::regclass AND a.attname = 'source' OR s.oid = 'guestcomms.message_annotations'::regclass AND a.attname = 'kind'
                    OR s.relnamespace = 'guestcomms_bi'::regnamespace AND (a.atttypid = 'uuid'::regtype OR a.attname = 'guest_key'
                        OR s.oid::regclass::text ~ '\mdim_(tenant|wedding|campaign|guest)$'))
            CROSS JOIN LATERAL (SELECT p.relid FROM pg_partition_tree(s.oid) AS p WHERE s.relkind = 'p' UNION SELECT s.oid) AS t
        )
        SELECT d.relid::regclass AS relation, d.attname, NULL::integer AS place
        FROM documented AS d
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.relid AND a.attname = d.attname
        WHERE a.attstattarget IS DISTINCT FROM 0
        UNION ALL
        -- Expressions in indexes are of names and of texts.
        SELECT i.indexrelid::regclass, NULL, k.place::integer
        FROM store_table AS s
        JOIN pg_catalog.pg_index AS i ON i.indrelid = s.oid AND i.indexprs IS NOT NULL
        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (column_number, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indexrelid AND a.attnum = k.place
        WHERE k.column_number = 0 AND a.attstattarget IS DISTINCT FROM 0
    LOOP
        IF v_column.place IS NULL THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', v_column.relation, v_column.attname);
        ELSE
            EXECUTE format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', v_column.relation, v_column.place);
        END IF;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.keep_texts_out_of_statistics() IS
'Turns off the planner''s statistics on columns of the classes content and contact, on documents, notes and external identifiers, in every partition, and on expressions in indexes.';

CREATE FUNCTION guestcomms_internal.open_to_analysts(table_id oid, has_tenant boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('GRANT SELECT ON %s TO guestcomms_operator', open_to_analysts.table_id::regclass);
    EXECUTE format('CREATE POLICY owner_only ON %s TO guestcomms_owner USING (true)', open_to_analysts.table_id::regclass);
    IF open_to_analysts.has_tenant THEN
        EXECUTE format('GRANT SELECT ON %s TO guestcomms_analyst', open_to_analysts.table_id::regclass);
        -- Named to come first: whoever sees all is not compared with each tenant.
        EXECUTE format('CREATE POLICY all_tenants ON %s FOR SELECT TO guestcomms_all_tenants, guestcomms_operator USING ((SELECT guestcomms_internal.sees_all_tenants()))',
            open_to_analysts.table_id::regclass);
        EXECUTE format('CREATE POLICY visible_tenants ON %s FOR SELECT TO guestcomms_analyst, guestcomms_operator'
            ' USING (tenant_id = ANY ((SELECT guestcomms.visible_tenants())::uuid[]))', open_to_analysts.table_id::regclass);
    ELSIF open_to_analysts.table_id::regclass::text ~ '_all$' THEN
        -- Sums over all tenants.
        EXECUTE format('GRANT SELECT ON %s TO guestcomms_all_tenants', open_to_analysts.table_id::regclass);
        EXECUTE format('CREATE POLICY all_tenants ON %s FOR SELECT TO guestcomms_all_tenants, guestcomms_operator USING ((SELECT guestcomms_internal.sees_all_tenants()))',
            open_to_analysts.table_id::regclass);
    ELSE
        -- The calendar, the clock, the channels.
        EXECUTE format('GRANT SELECT ON %s TO guestcomms_analyst', open_to_analysts.table_id::regclass);
        EXECUTE format('CREATE POLICY same_for_all ON %s FOR SELECT TO guestcomms_analyst, guestcomms_operator USING (true)', open_to_analysts.table_id::regclass);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.open_to_analysts(oid, boolean) IS
'Lets analysts read a table of guestcomms_bi: rows of the tenants they see.';

CREATE FUNCTION guestcomms_internal.secure_store() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_table record;
    v_policy name;
    v_columns text;
BEGIN
    PERFORM guestcomms_internal.force_row_security();
    PERFORM guestcomms_internal.keep_texts_out_of_statistics();
    FOR v_table IN
        SELECT s.table_id, s.has_tenant, c.relname::text AS name, n.nspname::text AS schema_name
        FROM guestcomms_internal.store_tables() AS s
        JOIN pg_catalog.pg_class AS c ON c.oid = s.table_id
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT s.is_partition AND c.relname NOT LIKE '%\_template'
    LOOP
        -- First of all: an autovacuum at work on the table waits for whoever grants, who would then wait for it.
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', v_table.table_id::regclass);
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', v_table.table_id::regclass);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO guestcomms_engine', v_table.table_id::regclass);
        FOR v_policy IN SELECT p.polname FROM pg_catalog.pg_policy AS p WHERE p.polrelid = v_table.table_id LOOP
            EXECUTE format('DROP POLICY %I ON %s', v_policy, v_table.table_id::regclass);
        END LOOP;
        IF v_table.table_id = ANY ('{guestcomms.import_messages,guestcomms.import_guest_lines}'::regclass[]) THEN
            CONTINUE;
        ELSIF v_table.schema_name = 'guestcomms_bi' THEN
            PERFORM guestcomms_internal.open_to_analysts(v_table.table_id, v_table.has_tenant);
        ELSIF v_table.has_tenant THEN
            -- The sub-select makes it one InitPlan a query instead of a call a row.
            EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (tenant_id = (SELECT guestcomms.current_tenant()))',
                v_table.table_id::regclass);
        ELSE
            EXECUTE format('CREATE POLICY owner_only ON %s TO guestcomms_owner USING (true)', v_table.table_id::regclass);
        END IF;
        -- Operators read the store's tables, and load rows into those that hold guests' data.
        IF v_table.schema_name = 'guestcomms' THEN
            EXECUTE format('GRANT SELECT ON %s TO guestcomms_operator', v_table.table_id::regclass);
            IF v_table.name IN ('weddings', 'guests', 'wedding_guests', 'guest_addresses', 'consents', 'campaigns', 'message_templates',
                'threads', 'messages', 'message_events', 'message_versions', 'attachments', 'message_annotations')
            THEN
                EXECUTE format('GRANT INSERT ON %s TO guestcomms_operator', v_table.table_id::regclass);
            END IF;
        END IF;
    END LOOP;
    FOR v_table IN SELECT c.oid AS table_id FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind = 'v' LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', v_table.table_id::regclass);
        EXECUTE format('GRANT SELECT ON %s TO guestcomms_analyst, guestcomms_operator', v_table.table_id::regclass);
    END LOOP;
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) INTO v_columns
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = 'guestcomms.import_messages'::regclass AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attname NOT IN ('tenant_id', 'row_number');
    EXECUTE format('GRANT INSERT (%s) ON guestcomms.import_messages TO guestcomms_app, guestcomms_operator', v_columns);
    GRANT INSERT (line) ON guestcomms.import_guest_lines TO guestcomms_app, guestcomms_operator;
END $$;
COMMENT ON FUNCTION guestcomms_internal.secure_store() IS 'Sets row security, policies and grants of all store tables anew.';
