-- The group roles: none can log in, only two see past row security by themselves, nobody is a member of the owners.
BEGIN;
SELECT plan(1 + 8 * 2 + 2 + 2 + 3 + 1);

SELECT set_eq(
    $$SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'guestcomms\_%'$$,
    ARRAY['guestcomms_owner', 'guestcomms_engine', 'guestcomms_app', 'guestcomms_analyst', 'guestcomms_all_tenants',
        'guestcomms_privacy', 'guestcomms_operator', 'guestcomms_issuer'],
    'the roles');

SELECT isnt_superuser(r.role_name) FROM (VALUES
    ('guestcomms_owner'), ('guestcomms_engine'), ('guestcomms_app'), ('guestcomms_analyst'), ('guestcomms_all_tenants'),
    ('guestcomms_privacy'), ('guestcomms_operator'), ('guestcomms_issuer')) AS r (role_name);

SELECT is(
    (SELECT (rolcanlogin, rolcreatedb, rolcreaterole, rolreplication, rolinherit, rolbypassrls)::text
     FROM pg_roles WHERE rolname = r.role_name),
    format('(f,f,f,f,t,%s)', r.is_bypassing),
    'attributes of ' || r.role_name)
FROM (VALUES
    ('guestcomms_owner', 'f'), ('guestcomms_engine', 't'), ('guestcomms_app', 'f'), ('guestcomms_analyst', 'f'),
    ('guestcomms_all_tenants', 'f'), ('guestcomms_privacy', 'f'), ('guestcomms_operator', 't'), ('guestcomms_issuer', 'f')) AS r (role_name, is_bypassing);

SELECT is_empty(
    format('SELECT member::regrole FROM pg_auth_members WHERE roleid = %L::regrole', r.role_name),
    'nobody is a member of ' || r.role_name)
FROM (VALUES ('guestcomms_owner'), ('guestcomms_engine')) AS r (role_name);
SELECT results_eq(
    $$SELECT member::regrole::text, admin_option FROM pg_auth_members WHERE roleid = 'guestcomms_all_tenants'::regrole$$,
    $$VALUES ('guestcomms_engine', true)$$,
    'nobody sees all tenants until the engine grants it');
SELECT results_eq(
    $$SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'guestcomms_analyst'::regrole AND member::regrole::text LIKE 'guestcomms%'$$,
    ARRAY['guestcomms_all_tenants'],
    'whoever sees all tenants is an analyst');

-- CREATE in a schema, which is also how a name in it could be taken before ours.
SELECT set_eq(
    format($$SELECT r.rolname::text FROM pg_roles AS r
        WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND has_schema_privilege(r.oid, %L, 'CREATE')$$, s.name),
    s.makers,
    'only the owner makes objects in ' || s.name || ', and in the internal schema the engine its materialized views')
FROM (VALUES ('guestcomms', ARRAY['guestcomms_owner']), ('guestcomms_internal', ARRAY['guestcomms_owner', 'guestcomms_engine']),
    ('guestcomms_bi', ARRAY['guestcomms_owner'])) AS s (name, makers);

SELECT set_eq(
    $$SELECT r.rolname::text FROM pg_roles AS r
        WHERE r.rolname LIKE 'guestcomms\_%' AND has_schema_privilege(r.oid, 'guestcomms_internal', 'USAGE')$$,
    ARRAY['guestcomms_owner', 'guestcomms_engine', 'guestcomms_operator'],
    'the internal schema is closed to users');

SELECT finish();
ROLLBACK;
