-- Row security: forced on every table and partition, one policy a table by the verified tenant, none on partitions.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY VIEW store AS
SELECT c.oid, n.nspname AS schema_name, c.relname AS table_name, c.relispartition OR c.relname LIKE '%\_template' AS is_part,
    c.relrowsecurity AND c.relforcerowsecurity AS is_forced,
    EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS has_tenant
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('guestcomms', 'guestcomms_internal') AND c.relkind IN ('r', 'p');

SELECT set_eq('SELECT table_name::text FROM store WHERE NOT is_forced', ARRAY['import_messages', 'import_guest_lines'],
    'row security is forced on all but the staging tables');
SELECT policies_are(s.schema_name, s.table_name, CASE WHEN s.is_part OR NOT s.is_forced THEN '{}'
    WHEN s.has_tenant THEN '{tenant_isolation}' ELSE '{owner_only}' END::name[])
FROM store AS s ORDER BY s.schema_name, s.table_name;
SELECT policy_cmd_is(s.schema_name, s.table_name, 'tenant_isolation'::name, 'all')
FROM store AS s WHERE s.has_tenant AND s.is_forced AND NOT s.is_part;
SELECT set_eq(
    $$SELECT DISTINCT pg_get_expr(p.polqual, p.polrelid), p.polwithcheck IS NULL, p.polpermissive, p.polroles::text
        FROM pg_policy AS p WHERE p.polname = 'tenant_isolation'$$,
    $$VALUES ('(tenant_id = ( SELECT guestcomms.current_tenant() AS current_tenant))', true, true, '{0}')$$,
    'all have the same condition, for everybody, for what is read and what is written');

-- The same after months have been added.
SELECT FROM guestcomms.ensure_partitions(now() - interval '30 months');
SELECT cmp_ok(count(*), '>', 60::bigint, 'older partitions are made') FROM store WHERE is_part;
SELECT is_empty('SELECT table_name FROM store WHERE is_part AND NOT is_forced', 'they have row security');
SELECT is_empty($$SELECT s.table_name FROM store AS s JOIN pg_class AS c USING (oid) WHERE c.relowner <> 'guestcomms_owner'::regrole$$,
    'they belong to the owner');

SELECT finish();
ROLLBACK;
