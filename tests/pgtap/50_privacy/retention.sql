-- Policies, runs and closures: the tenant comes first, operators read, what is left of a closed tenant refers to nothing that goes.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('retention_policies', '{tenant_id,policy_id}'),
    ('retention_runs', '{tenant_id,run_id,policy_id}'),
    ('tenant_closures', '{tenant_id}'),
    ('tenant_closure_tables', '{tenant_id,table_name}');

SELECT table_owner_is('guestcomms', w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk('guestcomms', w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT policies_are('guestcomms', w.table_name, '{tenant_isolation}'::name[]) FROM wanted AS w;
SELECT table_privs_are('guestcomms', w.table_name, r.name, '{}'::text[], r.name || ' gets nothing of ' || w.table_name)
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms', w.table_name, 'guestcomms_operator'::name, ARRAY['SELECT'], 'what operators may do with ' || w.table_name) FROM wanted AS w;
SELECT col_is_unique('guestcomms', 'retention_policies', ARRAY['tenant_id', 'name'], 'a name, one policy');
SELECT fk_ok('guestcomms', 'retention_policies', ARRAY['tenant_id'], 'guestcomms', 'tenants', ARRAY['tenant_id']);
SELECT col_has_check('guestcomms', 'retention_policies', ARRAY['keep_for'], 'a day at least');
SELECT col_has_check('guestcomms', 'retention_policies', ARRAY['counts_from'], 'from a known time');
SELECT has_index('guestcomms', 'retention_runs', 'retention_runs_started_at', ARRAY['tenant_id', 'started_at']);
SELECT has_index('guestcomms', 'tenant_closures', 'tenant_closures_unfinished', ARRAY['tenant_id']);
SELECT hasnt_fk('guestcomms', 'tenant_closures', 'it outlives its tenant');
SELECT is(guestcomms_internal.add_counts('{"a": 1, "b": 2}', '{"b": 3, "c": 0}'), '{"a": 1, "b": 5}'::jsonb, 'numbers are added up');
SELECT is((SELECT array_agg(t.table_name ORDER BY t.place) FROM guestcomms_internal.tenant_tables() AS t
    WHERE t.table_name IN ('guestcomms.messages', 'guestcomms.threads', 'guestcomms.guests', 'guestcomms.tenants')),
    '{guestcomms.messages,guestcomms.threads,guestcomms.guests,guestcomms.tenants}'::text[], 'what refers to others before these');
SELECT ok((SELECT array_position(a.names, 'guestcomms_bi.agg_message_quarter_hour') < array_position(a.names, 'guestcomms_bi.agg_message_day')
    FROM (SELECT array_agg(t.table_name ORDER BY t.place) AS names FROM guestcomms_internal.tenant_tables() AS t) AS a), 'quarters of an hour before their days');

SELECT finish();
ROLLBACK;
