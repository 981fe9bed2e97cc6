-- Tenants, members, guests, threads
CREATE FUNCTION guestcomms.add_tenant(name text, timezone text DEFAULT 'UTC', language text DEFAULT 'en', region text DEFAULT 'GB') RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid;
    v_problem text := CASE
        WHEN coalesce(char_length(add_tenant.name), 0) NOT BETWEEN 1 AND 200 THEN 'name must have 1 to 200 characters'
        WHEN guestcomms_internal.is_timezone(add_tenant.timezone) IS NOT TRUE THEN 'timezone is not one of pg_timezone_names'
        WHEN coalesce(add_tenant.language, '') !~ '^[a-z]{2,3}$' THEN 'language is not an ISO 639-1 code'
        WHEN coalesce(add_tenant.region, '') !~ '^[A-Z]{2}$' THEN 'region is not an ISO 3166-1 code' END;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = v_problem,
            HINT = 'For example: add_tenant(''Rose & Quill'', timezone => ''Europe/London'', language => ''en'', region => ''GB'').';
    END IF;
    INSERT INTO guestcomms.tenants AS t (name, timezone, language, region)
    VALUES (add_tenant.name, add_tenant.timezone, add_tenant.language, add_tenant.region)
    RETURNING t.tenant_id INTO v_tenant;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'add_tenant', 'tenant ' || v_tenant, jsonb_build_object('name', add_tenant.name));
    RETURN v_tenant;
END $$;
COMMENT ON FUNCTION guestcomms.add_tenant(text, text, text, text) IS
$$Adds a business whose messages are kept apart from all others', and returns its tenant_id. For operators.
Example: SELECT guestcomms.add_tenant('Rose & Quill', timezone => 'Europe/London', language => 'en', region => 'GB');
See also: use_tenant, add_member, issue_token$$;

CREATE FUNCTION guestcomms_internal.is_timezone(name text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Tried, since pg_timezone_names reads hundreds of files; the pattern keeps out POSIX rules such as X-3.
    RETURN name ~ '^[A-Za-z_]+(/[A-Za-z0-9_+-]+)*$' AND (now() AT TIME ZONE name) IS NOT NULL;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN false;
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_timezone(text) IS 'Whether the server knows the time zone.';

CREATE FUNCTION guestcomms.add_member(role text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = add_member.role) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such role',
            HINT = 'CREATE ROLE name LOGIN; GRANT guestcomms_app TO name;';
    END IF;
    INSERT INTO guestcomms.tenant_members (tenant_id, role_name) VALUES (v_tenant, add_member.role)
    ON CONFLICT ON CONSTRAINT tenant_members_pkey DO NOTHING;
    IF FOUND THEN
        PERFORM guestcomms_internal.record_audit(v_tenant, 'add_member', 'role ' || add_member.role);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.add_member(text) IS
$$Lets a database role, and every login that has it, open the current tenant with use_tenant(). For operators.
Example: SELECT guestcomms.add_member('rose_and_quill_app');
See also: remove_member, use_tenant$$;

CREATE FUNCTION guestcomms.remove_member(role text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    DELETE FROM guestcomms.tenant_members AS m WHERE m.tenant_id = v_tenant AND m.role_name = remove_member.role;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'remove_member', 'role ' || remove_member.role);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_member(text) IS
$$Takes membership of the current tenant from a role, at once and also for connections that have it open; returns whether it was a member. For operators.
Example: SELECT guestcomms.remove_member('rose_and_quill_app');
See also: add_member$$;
