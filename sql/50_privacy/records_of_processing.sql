-- Records of processing (GDPR Art. 30), from the catalog: what is not documented is not in the store.
CREATE FUNCTION guestcomms_internal.table_lifetimes() RETURNS TABLE (table_name text, setting text, lifetime text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- What jobs remove without a policy: by a setting, or as soon as it has served.
    VALUES
        ('guestcomms.search_alerts', 'alerts.keep', NULL), ('guestcomms.search_queries', 'query_log.keep_text', NULL), ('guestcomms.search_clicks', 'query_log.keep', NULL),
        ('guestcomms_internal.export_parts', 'privacy.export_lifetime', NULL), ('guestcomms_internal.export_fragments', NULL, 'until the export is written'),
        ('guestcomms_internal.export_messages', NULL, 'until the export is written'), ('guestcomms.quota_uses', NULL, 'an hour'),
        ('guestcomms_internal.replaced_messages', NULL, 'until the vocabulary has followed the change'), ('guestcomms_internal.undetected_messages', NULL, 'until its language is found'),
        ('guestcomms_internal.late_details', NULL, 'until it is in its segment'), ('guestcomms.import_messages', NULL, 'until run_import() takes it'),
        ('guestcomms_internal.export_keys', NULL, 'until set_export_key() forgets it'), ('guestcomms.attachment_removals', NULL, 'where it is: until the object store has deleted it'),
        ('guestcomms.audit_entries', NULL, 'as proof, without end'), ('guestcomms.audit_heads', NULL, 'as proof, without end'),
        ('guestcomms.tenant_closures', NULL, 'as proof, without end'), ('guestcomms.tenant_closure_tables', NULL, 'as proof, without end');
END;
COMMENT ON FUNCTION guestcomms_internal.table_lifetimes() IS 'Tables whose rows leave by themselves, and when; or stay as proof.';

CREATE FUNCTION guestcomms_internal.describe_security(relation oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT format('%s; may be read directly by %s; passwords and TLS are the server''s',
        CASE WHEN c.relrowsecurity AND c.relforcerowsecurity THEN 'row security is forced: each business by itself'
            WHEN c.relkind = 'v' THEN 'a view of the tenants that its reader may see' ELSE 'rows can be added and not read' END,
        coalesce((SELECT string_agg(DISTINCT r.rolname, ', ' ORDER BY r.rolname) FROM aclexplode(c.relacl) AS a JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
            WHERE a.privilege_type = 'SELECT' AND r.rolname NOT IN ('guestcomms_owner', 'guestcomms_engine') AND NOT r.rolsuper), 'nobody'))
    FROM pg_catalog.pg_class AS c WHERE c.oid = describe_security.relation
$$;
COMMENT ON FUNCTION guestcomms_internal.describe_security(oid) IS 'How rows of a table or view are protected, as the catalog has it.';

CREATE FUNCTION guestcomms.records_of_processing()
RETURNS TABLE (table_name text, retention_class text, description text, columns text[], data_subjects text, data_categories text, purposes text, recipients text, transfers text,
    retention text, security text, controller text, data_protection_officer text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_name text := (SELECT t.name FROM guestcomms.tenants AS t WHERE t.tenant_id = v_tenant);
    v_purposes text := guestcomms_internal.purposes_of(v_tenant, NULL);
    v_recipients text := guestcomms_internal.recipients_of(v_tenant, NULL);
    v_transfers text := coalesce(nullif(guestcomms_internal.setting('privacy.transfers', v_tenant), ''), 'none recorded');
    v_controller text := coalesce(nullif(guestcomms_internal.setting('privacy.controller', v_tenant), ''), v_name);
    v_officer text := coalesce(nullif(guestcomms_internal.setting('privacy.data_protection_officer', v_tenant), ''), 'none recorded');
BEGIN
    RETURN QUERY
    WITH relation AS (
        SELECT s.table_id AS oid FROM guestcomms_internal.store_tables() AS s WHERE s.has_tenant AND NOT s.is_partition
        UNION ALL
        SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind = 'v'
    ), documented AS (
        SELECT r.oid, a.attname::text AS column_name, a.attnum, (regexp_match(col_description(r.oid, a.attnum), '\[retention: (\w+)\]'))[1] AS retention_class,
            a.attname IN ('guest_id', 'message_id', 'message_ids') AS is_reference
        FROM relation AS r JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    ), grouped AS (
        SELECT d.oid, d.retention_class, array_agg(d.column_name ORDER BY d.attnum) AS columns, bool_or(d.is_reference) AS has_reference,
            bool_or(d.retention_class NOT IN ('key', 'operational')) OVER (PARTITION BY d.oid) AS is_personal
        FROM documented AS d WHERE d.retention_class IS NOT NULL GROUP BY d.oid, d.retention_class
    )
    SELECT format('%I.%I', n.nspname, c.relname), g.retention_class, obj_description(g.oid, 'pg_class'), g.columns,
        CASE WHEN g.retention_class IN ('contact', 'content', 'behaviour') OR g.has_reference THEN 'guests' WHEN g.retention_class = 'security' THEN 'staff'
            ELSE 'guests and staff' END,
        k.meaning, v_purposes, v_recipients, v_transfers,
        coalesce(l.lifetime, guestcomms_internal.setting(l.setting, v_tenant), guestcomms_internal.retention_in_force(v_tenant, g.retention_class),
            CASE WHEN g.retention_class = 'key' THEN 'as long as the row'
                WHEN c.relkind = 'v' OR n.nspname = 'guestcomms_bi' THEN 'as numbers of a guest until the guest is erased, then of nobody'
                ELSE 'until the guest is erased or the business leaves' END),
        guestcomms_internal.describe_security(g.oid), v_controller, v_officer
    FROM grouped AS g
    JOIN pg_catalog.pg_class AS c ON c.oid = g.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN guestcomms_internal.retention_classes() AS k ON k.retention_class = g.retention_class
    LEFT JOIN guestcomms_internal.table_lifetimes() AS l ON l.table_name = format('%I.%I', n.nspname, c.relname)
    -- Of what names nobody itself, only what refers to a guest or to a message.
    WHERE g.retention_class NOT IN ('key', 'operational') OR g.retention_class = 'key' AND g.has_reference AND NOT g.is_personal
    ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION guestcomms.records_of_processing() IS
$$The current tenant's records of processing (GDPR Art. 30), a row for each table and class of data: what it is, whose, for which purposes, who receives it, how long it is kept by the policies in force or by itself, how it is protected, and who is responsible. Tables, columns, classes and protection come from the catalog; purposes, recipients, transfers, controller and data-protection officer from settings (privacy.*), or, where these say nothing, from messages and consents.
Example: SELECT table_name, retention_class, data_subjects, retention FROM guestcomms.records_of_processing();
See also: add_retention_policy, set_setting, list_affected_guests$$;
