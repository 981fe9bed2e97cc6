-- Whose rows a reader of guestcomms_bi sees. BI tools log in and ask; they open no tenant.
CREATE FUNCTION guestcomms_internal.sees_all_tenants() RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
-- Parsed: readers, with whose rights policies ask, may call it but look nothing up in this schema.
RETURN guestcomms_internal.tenant_or_null() IS NULL
    AND (guestcomms_internal.is_operator()
        OR pg_has_role(guestcomms_internal.acting_role(), 'guestcomms_all_tenants', 'USAGE') AND guestcomms_internal.is_open_to_caller());
COMMENT ON FUNCTION guestcomms_internal.sees_all_tenants() IS 'Whether the reader sees every tenant: by grant_all_tenants() or as an operator, with no tenant open.';

CREATE FUNCTION guestcomms.visible_tenants() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_or_null();
    v_role name := guestcomms_internal.acting_role();
BEGIN
    IF v_tenant IS NOT NULL THEN
        RETURN ARRAY[v_tenant];
    END IF;
    IF NOT guestcomms_internal.is_open_to_caller() THEN
        RETURN '{}'::uuid[];
    END IF;
    IF guestcomms_internal.sees_all_tenants() THEN
        RETURN ARRAY(SELECT t.tenant_id FROM guestcomms.tenants AS t ORDER BY t.tenant_id);
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT t.tenant_id
        FROM guestcomms.tenant_members AS m
        JOIN guestcomms.tenants AS t ON t.tenant_id = m.tenant_id AND t.closed_at IS NULL
        JOIN pg_catalog.pg_roles AS r ON r.rolname = m.role_name AND pg_has_role(v_role, r.oid, 'USAGE')
        ORDER BY t.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms.visible_tenants() IS
$$Tenants whose rows the caller sees in schema guestcomms_bi: the one that is open, or else those it is a member of, or all after grant_all_tenants(). None in a store that was restored or copied until replay_erasures() has opened it.
Example: SELECT guestcomms.visible_tenants();
See also: add_member, grant_all_tenants, use_tenant$$;

CREATE FUNCTION guestcomms_internal.require_reader(role_name text) RETURNS name
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = require_reader.role_name AND r.rolname NOT LIKE 'guestcomms\_%') THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such role, or it is one of guestcomms'' own',
            HINT = 'CREATE ROLE ... LOGIN; first.';
    END IF;
    RETURN require_reader.role_name;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_reader(text) IS 'The name, if it is that of a role other than our own.';

CREATE FUNCTION guestcomms.grant_all_tenants(role_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('GRANT guestcomms_all_tenants TO %I', guestcomms_internal.require_reader(grant_all_tenants.role_name));
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'grant_all_tenants', 'role ' || grant_all_tenants.role_name);
END $$;
COMMENT ON FUNCTION guestcomms.grant_all_tenants(text) IS
$$Lets a role read all tenants' rows in schema guestcomms_bi, as the group role guestcomms_all_tenants does; noted in the audit trail.
Example: SELECT guestcomms.grant_all_tenants('metabase');
See also: revoke_all_tenants, visible_tenants, add_member$$;

CREATE FUNCTION guestcomms.revoke_all_tenants(role_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('REVOKE guestcomms_all_tenants FROM %I', guestcomms_internal.require_reader(revoke_all_tenants.role_name));
    IF EXISTS (SELECT FROM pg_catalog.pg_auth_members AS a
        WHERE a.roleid = 'guestcomms_all_tenants'::regrole AND a.member = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = revoke_all_tenants.role_name))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_privilege_descriptors_still_exist', MESSAGE = 'somebody else granted the role guestcomms_all_tenants, too',
            DETAIL = format('To role %I.', revoke_all_tenants.role_name), HINT = 'A superuser can REVOKE it.';
    END IF;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'revoke_all_tenants', 'role ' || revoke_all_tenants.role_name);
END $$;
COMMENT ON FUNCTION guestcomms.revoke_all_tenants(text) IS
$$Takes back what grant_all_tenants() gave; noted in the audit trail.
Example: SELECT guestcomms.revoke_all_tenants('metabase');
See also: grant_all_tenants$$;
