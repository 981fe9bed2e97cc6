-- Where a tenant's rows are: asked of the catalog, so that a table which somebody adds is not forgotten when a tenant is closed.
CREATE FUNCTION guestcomms_internal.kept_tables() RETURNS TABLE (table_name text, kept_because text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES
        ('guestcomms.audit_entries', 'the sealed audit trail, which names acts and identifiers and no content, shows that the tenant was closed'),
        ('guestcomms.audit_heads', 'the end of that trail'),
        ('guestcomms.attachment_removals', 'what is still to be deleted from the object store, and what was'),
        ('guestcomms.tenant_closures', 'this receipt'),
        ('guestcomms.tenant_closure_tables', 'this receipt');
END;
COMMENT ON FUNCTION guestcomms_internal.kept_tables() IS 'Tables whose rows stay when their tenant is closed, and why.';

CREATE FUNCTION guestcomms_internal.tenant_tables() RETURNS TABLE (place integer, table_name text, kept_because text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    WITH RECURSIVE tenant_table AS (
        SELECT s.table_id, format('%I.%I', n.nspname, c.relname) AS table_name
        FROM guestcomms_internal.store_tables() AS s
        JOIN pg_catalog.pg_class AS c ON c.oid = s.table_id
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE s.has_tenant AND NOT s.is_partition AND c.relname NOT LIKE '%\_template'
    ), reference AS (
        SELECT DISTINCT k.conrelid AS child, k.confrelid AS parent FROM pg_catalog.pg_constraint AS k
        WHERE k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conparentid = 0
            AND k.conrelid IN (SELECT t.table_id FROM tenant_table AS t) AND k.confrelid IN (SELECT t.table_id FROM tenant_table AS t)
    ), depth AS (
        SELECT t.table_id, 0 AS depth FROM tenant_table AS t
        UNION
        -- A circle would never end: a hundred tables in a row there are not.
        SELECT r.parent, d.depth + 1 FROM depth AS d JOIN reference AS r ON r.child = d.table_id WHERE d.depth < 100
    )
    -- Days after the quarters of an hour that they are sums of; the log of changes after what is logged.
    SELECT row_number() OVER (ORDER BY max(d.depth), t.table_name = 'guestcomms.change_log', t.table_name ~ '_day$', t.table_name COLLATE "C")::integer, t.table_name, k.kept_because
    FROM tenant_table AS t
    JOIN depth AS d ON d.table_id = t.table_id
    LEFT JOIN guestcomms_internal.kept_tables() AS k ON k.table_name = t.table_name
    GROUP BY t.table_name, k.kept_because
$$;
COMMENT ON FUNCTION guestcomms_internal.tenant_tables() IS
'Every table with rows of tenants in the order in which they can be removed: what refers to others before these.';

CREATE FUNCTION guestcomms_internal.count_tenant_rows(tenant_id uuid, table_name text) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s AS t WHERE t.tenant_id = $1', count_tenant_rows.table_name::regclass) INTO v_count USING count_tenant_rows.tenant_id;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_tenant_rows(uuid, text) IS 'How many rows of a tenant a table holds.';

CREATE FUNCTION guestcomms_internal.has_tenant_rows(tenant_id uuid, table_name text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_result boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE t.tenant_id = $1)', has_tenant_rows.table_name::regclass) INTO v_result USING has_tenant_rows.tenant_id;
    RETURN v_result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.has_tenant_rows(uuid, text) IS 'Whether a table, or a materialized view, holds rows of a tenant.';

CREATE FUNCTION guestcomms_internal.delete_tenant_rows(tenant_id uuid, table_name text, max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_table regclass := delete_tenant_rows.table_name::regclass;
    v_key text;
    v_match text;
    v_reference record;
    v_count bigint;
BEGIN
    SELECT string_agg(format('o.%I', a.attname), ', ' ORDER BY k.place), string_agg(format('t.%1$I = b.%1$I', a.attname), ' AND ' ORDER BY k.place) INTO v_key, v_match
    FROM pg_catalog.pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (column_number, place)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.column_number
    WHERE i.indrelid = v_table AND i.indisprimary;
    -- Rows of a table that refer to each other let go first.
    FOR v_reference IN
        SELECT string_agg(format('%I = NULL', a.attname), ', ') AS assignments, string_agg(format('t.%I IS NOT NULL', a.attname), ' OR ') AS condition
        FROM pg_catalog.pg_constraint AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND NOT a.attnotnull
        WHERE c.contype = 'f' AND c.conrelid = v_table AND c.confrelid = v_table
        GROUP BY c.oid
    LOOP
        EXECUTE format('WITH b AS (SELECT %1$s FROM %2$s AS o WHERE o.tenant_id = $1 AND (%3$s) LIMIT $2) UPDATE %2$s AS t SET %4$s FROM b WHERE t.tenant_id = $1 AND %5$s',
            v_key, v_table, replace(v_reference.condition, 't.', 'o.'), v_reference.assignments, v_match) USING delete_tenant_rows.tenant_id, delete_tenant_rows.max_rows;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count > 0 THEN
            RETURN 0;
        END IF;
    END LOOP;
    EXECUTE format('WITH b AS (SELECT %1$s FROM %2$s AS o WHERE o.tenant_id = $1 LIMIT $2) DELETE FROM %2$s AS t USING b WHERE t.tenant_id = $1 AND %3$s', v_key, v_table, v_match)
    USING delete_tenant_rows.tenant_id, delete_tenant_rows.max_rows;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.delete_tenant_rows(uuid, text, integer) IS
'Deletes rows of a tenant from a table, at most max_rows, found by its primary key; 0 where it only untied rows that refer to each other, or where there is none.';
