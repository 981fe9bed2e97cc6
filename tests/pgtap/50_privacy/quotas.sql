-- What was taken of limits: the tenant comes first, operators read, nothing is taken but of known actions and more than none.
BEGIN;
SELECT no_plan();

SELECT table_owner_is('guestcomms', 'quota_uses', 'guestcomms_owner'::name);
SELECT col_is_pk('guestcomms', 'quota_uses', '{tenant_id,role_name,action,use_number}'::name[], 'primary key');
SELECT policies_are('guestcomms', 'quota_uses', '{tenant_isolation}'::name[]);
SELECT table_privs_are('guestcomms', 'quota_uses', r.name, '{}'::text[], r.name || ' gets nothing')
FROM (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms', 'quota_uses', 'guestcomms_operator'::name, ARRAY['SELECT'], 'operators read');
SELECT fk_ok('guestcomms', 'quota_uses', ARRAY['tenant_id'], 'guestcomms', 'tenants', ARRAY['tenant_id']);
SELECT col_has_check('guestcomms', 'quota_uses', ARRAY['action'], 'known actions');
SELECT col_has_check('guestcomms', 'quota_uses', ARRAY['amount'], 'more than none');
SELECT is((SELECT count(*) FROM guestcomms_internal.setting_definitions() AS d
    WHERE d.name = ANY (ARRAY(SELECT guestcomms_internal.quota_setting(a.action) FROM unnest('{export,detection,import}'::text[]) AS a (action))) AND d.is_per_tenant),
    3::bigint, 'each action has a setting for each tenant');

SELECT finish();
ROLLBACK;
