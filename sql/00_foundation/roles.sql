-- Cluster-wide roles. They are looked at, not trusted: a role that somebody made before us with other attributes,
-- or an owner role that an ordinary login already belongs to, would hand that login every tenant's rows.
DO $roles$
DECLARE
    v_wanted record;
    v_found pg_catalog.pg_roles;
    v_member text;
BEGIN
    FOR v_wanted IN
        SELECT * FROM (VALUES
            ('guestcomms_owner', false, true),      -- owns tables and most functions; bound by the forced policies
            ('guestcomms_engine', true, true),      -- owns the few functions that must see all tenants
            ('guestcomms_app', false, false),
            ('guestcomms_analyst', false, false),
            ('guestcomms_all_tenants', false, false),   -- analysts of every tenant: grant_all_tenants()
            ('guestcomms_privacy', false, false),
            ('guestcomms_operator', true, false),   -- only after SET ROLE: attributes are not inherited
            ('guestcomms_issuer', false, false)
        ) AS role_list (role_name, is_bypassing, is_owner)
    LOOP
        SELECT * INTO v_found FROM pg_catalog.pg_roles WHERE rolname = v_wanted.role_name;
        IF NOT FOUND THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT %s',
                v_wanted.role_name, CASE WHEN v_wanted.is_bypassing THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END);
            CONTINUE;
        END IF;
        IF v_found.rolcanlogin OR v_found.rolsuper OR v_found.rolcreatedb OR v_found.rolcreaterole
            OR v_found.rolreplication OR NOT v_found.rolinherit OR v_found.rolbypassrls <> v_wanted.is_bypassing
        THEN
            RAISE EXCEPTION USING
                ERRCODE = 'duplicate_object',
                MESSAGE = format('role %I exists with attributes that guestcomms does not expect', v_wanted.role_name),
                DETAIL = format('Expected: NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT %s.',
                    CASE WHEN v_wanted.is_bypassing THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END),
                HINT = 'Find out who made the role; then ALTER ROLE it to these attributes, or rename it.';
        END IF;
        CONTINUE WHEN NOT v_wanted.is_owner;
        SELECT m.rolname INTO v_member
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
        WHERE a.roleid = v_found.oid AND NOT m.rolsuper
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'duplicate_object',
                MESSAGE = format('role %I already has a member', v_wanted.role_name),
                DETAIL = format('Role %I is a member and would own every tenant''s rows.', v_member),
                HINT = format('REVOKE %I FROM %I, then try again.', v_wanted.role_name, v_member);
        END IF;
    END LOOP;
    -- grant_all_tenants() runs as the engine.
    GRANT guestcomms_analyst TO guestcomms_all_tenants;
    GRANT guestcomms_all_tenants TO guestcomms_engine WITH ADMIN OPTION;
END $roles$;
