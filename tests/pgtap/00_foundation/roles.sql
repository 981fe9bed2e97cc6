-- The group roles: none can log in, only two see past row security by themselves, nobody is a member of the owners.
BEGIN;
SELECT plan(1 + 7 * 2 + 2 * 2 + 1);

SELECT set_eq(
    $$SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'guestcomms\_%'$$,
    ARRAY['guestcomms_owner', 'guestcomms_engine', 'guestcomms_app', 'guestcomms_analyst', 'guestcomms_privacy',
        'guestcomms_operator', 'guestcomms_issuer'],
    'the roles');

SELECT isnt_superuser(r.role_name) FROM (VALUES
    ('guestcomms_owner'), ('guestcomms_engine'), ('guestcomms_app'), ('guestcomms_analyst'), ('guestcomms_privacy'),
    ('guestcomms_operator'), ('guestcomms_issuer')) AS r (role_name);

SELECT is(
    (SELECT (rolcanlogin, rolcreatedb, rolcreaterole, rolreplication, rolinherit, rolbypassrls)::text
     FROM pg_roles WHERE rolname = r.role_name),
    format('(f,f,f,f,t,%s)', r.is_bypassing),
    'attributes of ' || r.role_name)
FROM (VALUES
    ('guestcomms_owner', 'f'), ('guestcomms_engine', 't'), ('guestcomms_app', 'f'), ('guestcomms_analyst', 'f'),
    ('guestcomms_privacy', 'f'), ('guestcomms_operator', 't'), ('guestcomms_issuer', 'f')) AS r (role_name, is_bypassing);

SELECT is_empty(
    format('SELECT member::regrole FROM pg_auth_members WHERE roleid = %L::regrole', r.role_name),
    'nobody is a member of ' || r.role_name)
FROM (VALUES ('guestcomms_owner'), ('guestcomms_engine')) AS r (role_name);

-- CREATE in a schema, which is also how a name in it could be taken before ours.
SELECT set_eq(
    format($$SELECT r.rolname::text FROM pg_roles AS r
        WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND has_schema_privilege(r.oid, %L, 'CREATE')$$, s.name),
    ARRAY['guestcomms_owner'],
    'only the owner makes objects in ' || s.name)
FROM (VALUES ('guestcomms'), ('guestcomms_internal')) AS s (name);

SELECT set_eq(
    $$SELECT r.rolname::text FROM pg_roles AS r
        WHERE r.rolname LIKE 'guestcomms\_%' AND has_schema_privilege(r.oid, 'guestcomms_internal', 'USAGE')$$,
    ARRAY['guestcomms_owner', 'guestcomms_engine', 'guestcomms_operator'],
    'the internal schema is closed to users');

SELECT finish();
ROLLBACK;
