-- The verified tenant. Everything that opens a tenant ends in one place, write_context(), and everything that asks for
-- it in one, current_tenant(). The context is a session setting that anybody may overwrite but nobody can forge: it
-- carries a MAC over tenant, way in, login, role, backend, expiry and, unless it is a member's session context, the
-- transaction's start, so that a value saved earlier opens nothing later.
--
-- It is asked several times in a call of an application. So what it needs is either parsed and inlined (RETURN) or PL/pgSQL,
-- whose plans a session keeps; a plain SQL function is planned again in every statement that calls it.
CREATE FUNCTION guestcomms_internal.acting_role() RETURNS name
LANGUAGE sql STABLE PARALLEL RESTRICTED
-- current_user is the owner inside a SECURITY DEFINER function; the setting "role" keeps what the client set.
RETURN CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END;
COMMENT ON FUNCTION guestcomms_internal.acting_role() IS 'The role the client acts as: SET ROLE, else its login.';

CREATE FUNCTION guestcomms_internal.is_operator() RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN pg_has_role(guestcomms_internal.acting_role(), 'guestcomms_operator', 'USAGE');
COMMENT ON FUNCTION guestcomms_internal.is_operator() IS 'Whether the client acts as an operator (or superuser).';

CREATE FUNCTION guestcomms_internal.is_open_to_caller() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Asked whenever a tenant is opened: plans are kept, and nothing is called that is planned anew.
    RETURN EXISTS (SELECT FROM guestcomms_internal.erasure_gate AS g, pg_control_system() AS c, pg_catalog.pg_database AS d
            WHERE d.datname = current_database() AND g.system_identifier = c.system_identifier AND g.database_oid = d.oid::bigint)
        OR guestcomms_internal.is_operator() OR pg_has_role(guestcomms_internal.acting_role(), 'guestcomms_privacy', 'USAGE');
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_open_to_caller() IS
'Whether erasures have been applied since the store was restored or copied, or the caller is one of those who see to it.';

CREATE FUNCTION guestcomms_internal.may_use_tenant(tenant_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_role name := guestcomms_internal.acting_role();
BEGIN
    IF guestcomms_internal.is_operator() THEN
        RETURN EXISTS (SELECT FROM guestcomms.tenants AS t WHERE t.tenant_id = may_use_tenant.tenant_id AND t.closed_at IS NULL);
    END IF;
    -- A member that is no role any more is nobody's. Looked up by name: the catalog keeps roles at hand, a join with pg_roles reads them.
    RETURN EXISTS (
        SELECT FROM guestcomms.tenants AS t
        JOIN guestcomms.tenant_members AS m ON m.tenant_id = t.tenant_id
        WHERE t.tenant_id = may_use_tenant.tenant_id AND t.closed_at IS NULL
            AND pg_has_role(v_role, to_regrole(quote_ident(m.role_name)), 'USAGE'));
END $$;
COMMENT ON FUNCTION guestcomms_internal.may_use_tenant(uuid) IS
'Whether the acting role is an operator or a member of an open tenant.';

CREATE FUNCTION guestcomms_internal.read_backend_start() RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    -- Owned by the superuser who installs: to others the server shows it only of their own login's connections.
    v_start timestamptz := (SELECT a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) AS a);
BEGIN
    IF v_start IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the start of the connection cannot be read',
            HINT = 'Set track_activities = on, or open the tenant for the transaction only.';
    END IF;
    RETURN v_start;
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_backend_start() IS 'When this connection began; an error where that cannot be read.';

CREATE FUNCTION guestcomms_internal.context_mac(kind text, tenant_id text, expires text, secret bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL RESTRICTED
-- Roles' names may hold the separator: so their lengths stand before them.
RETURN guestcomms_internal.hmac_sha256(convert_to(concat_ws('|', kind, tenant_id, expires, char_length(session_user), session_user,
    char_length(current_setting('role')), current_setting('role'), pg_backend_pid(),
    -- Process numbers come again; together with the start of the connection they do not.
    -- Numbers, for how a time is written depends on settings that the client may change in between.
    extract(epoch FROM CASE kind WHEN 'session' THEN guestcomms_internal.read_backend_start() ELSE transaction_timestamp() END)), 'UTF8'), secret);
COMMENT ON FUNCTION guestcomms_internal.context_mac(text, text, text, bytea) IS
'The MAC that a context must carry here and now: only the issuing backend, login, role and transaction (for a session context: connection) give the same.';

CREATE FUNCTION guestcomms_internal.write_context(kind text, tenant_id uuid, valid_for interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_expires text := ceil(extract(epoch FROM clock_timestamp() + write_context.valid_for))::text;
    v_secret bytea;
BEGIN
    SELECT s.secret INTO v_secret FROM guestcomms_internal.store_secrets AS s WHERE s.purpose = 'context' AND s.key_id = '1';
    PERFORM set_config('guestcomms.context', concat_ws('|', kind, tenant_id, v_expires,
        encode(guestcomms_internal.context_mac(kind, tenant_id::text, v_expires, v_secret), 'hex')),
        kind <> 'session');
END $$;
COMMENT ON FUNCTION guestcomms_internal.write_context(text, uuid, interval) IS
'Opens a tenant that the caller has verified; kind is session, member or token.';

CREATE FUNCTION guestcomms.current_tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    -- Kind, tenant, expiry, MAC.
    v_context text[] := string_to_array(nullif(current_setting('guestcomms.context', true), ''), '|');
    v_secret bytea;
    v_expected bytea;
    v_is_entitled boolean;
    v_problem text;
BEGIN
    IF v_context IS NULL THEN
        v_problem := 'None was opened in this transaction. Without BEGIN every statement is a transaction of its own.';
    ELSE
        SELECT s.secret INTO v_secret FROM guestcomms_internal.store_secrets AS s WHERE s.purpose = 'context' AND s.key_id = '1';
        v_expected := guestcomms_internal.context_mac(v_context[1], v_context[2], v_context[3], v_secret);
        -- Hashes keyed by what is not known outside: the time of the comparison says nothing about how much was right.
        IF v_secret IS NULL OR guestcomms_internal.hmac_sha256(convert_to(encode(v_expected, 'hex'), 'UTF8'), v_expected)
            IS DISTINCT FROM guestcomms_internal.hmac_sha256(convert_to(v_context[4], 'UTF8'), v_expected)
        THEN
            v_problem := 'The context was not made for this login, role, connection and transaction.';
        ELSIF clock_timestamp() > to_timestamp(v_context[3]::double precision) THEN
            v_problem := 'The context has expired.';
        ELSE
            IF v_context[1] = 'token' THEN
                v_is_entitled := EXISTS (SELECT FROM guestcomms.tenants AS t WHERE t.tenant_id = v_context[2]::uuid AND t.closed_at IS NULL);
            ELSE
                v_is_entitled := guestcomms_internal.may_use_tenant(v_context[2]::uuid);
            END IF;
            IF NOT v_is_entitled THEN
                v_problem := 'The role is no longer a member, or the tenant is closed.';
            END IF;
        END IF;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'GC001',
            MESSAGE = 'no tenant is open in this transaction',
            DETAIL = v_problem,
            HINT = 'BEGIN; SELECT guestcomms.use_token(...) or guestcomms.use_tenant(...); what you want to do; COMMIT; or for a connection of your own: use_tenant(..., is_session => true).';
    END IF;
    RETURN v_context[2]::uuid;
END $$;
COMMENT ON FUNCTION guestcomms.current_tenant() IS
$$The tenant that this transaction has opened and is still entitled to; raises GC001 where there is none. Row security of every table asks it once a query.
Example: SELECT guestcomms.current_tenant();
See also: use_tenant, use_token$$;

CREATE FUNCTION guestcomms_internal.tenant_or_null() RETURNS uuid
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    -- A context that does not hold is still an error.
    SELECT CASE WHEN coalesce(current_setting('guestcomms.context', true), '') <> '' THEN guestcomms.current_tenant() END
$$;
COMMENT ON FUNCTION guestcomms_internal.tenant_or_null() IS 'The open tenant, or NULL where none was set.';

CREATE FUNCTION guestcomms_internal.tenant_scope() RETURNS uuid
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    SELECT CASE WHEN coalesce(current_setting('guestcomms.context', true), '') <> '' OR NOT guestcomms_internal.is_operator()
        THEN guestcomms.current_tenant() END
$$;
COMMENT ON FUNCTION guestcomms_internal.tenant_scope() IS
'The open tenant; for an operator who has opened none, NULL for all tenants.';

CREATE FUNCTION guestcomms.use_tenant(tenant_id uuid, is_session boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF use_tenant.tenant_id IS NULL OR use_tenant.is_session IS NULL OR NOT guestcomms_internal.may_use_tenant(use_tenant.tenant_id) THEN
        -- The same answer for a tenant that does not exist and for somebody else's.
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'there is no such tenant, or this role is not its member',
            DETAIL = format('Role %I.', guestcomms_internal.acting_role()),
            HINT = 'Operators find it: SELECT tenant_id, name FROM guestcomms.tenants; and open it to a role: SELECT guestcomms.add_member(...);';
    END IF;
    PERFORM guestcomms_internal.require_replayed();
    PERFORM guestcomms_internal.write_context(
        CASE WHEN use_tenant.is_session THEN 'session' ELSE 'member' END,
        use_tenant.tenant_id,
        CASE WHEN use_tenant.is_session THEN guestcomms_internal.setting('context.session_lifetime')::interval ELSE interval '1 day' END);
END $$;
COMMENT ON FUNCTION guestcomms.use_tenant(uuid, boolean) IS
$$Opens a tenant for a login that is its member, or for an operator: until the transaction ends, or, with is_session, for the connection (not behind a transaction pooler, where connections are shared).
Example: BEGIN; SELECT guestcomms.use_tenant('6f9c0c3e-0d1f-4a53-9d2b-2f1d8d1f6a11'); SELECT guestcomms.current_tenant(); COMMIT;
See also: use_token, add_member, current_tenant$$;
