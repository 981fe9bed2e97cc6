-- Limits by the hour on what reads or writes much of guests' data at once: of each role within a tenant.
CREATE FUNCTION guestcomms_internal.quota_setting(action text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE action WHEN 'export' THEN 'privacy.exports_per_hour' WHEN 'detection' THEN 'privacy.detected_messages_per_hour' WHEN 'import' THEN 'privacy.imports_per_hour' END;
COMMENT ON FUNCTION guestcomms_internal.quota_setting(text) IS 'The setting that limits an action.';

CREATE FUNCTION guestcomms_internal.quota_left(tenant_id uuid, action text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Volatile, so that it sees what others have taken while the caller waited for them.
    RETURN guestcomms_internal.setting(guestcomms_internal.quota_setting(quota_left.action), quota_left.tenant_id)::bigint - coalesce((
        SELECT sum(u.amount) FROM guestcomms.quota_uses AS u
        WHERE u.tenant_id = quota_left.tenant_id AND u.role_name = guestcomms_internal.acting_role()::text AND u.action = quota_left.action
            AND u.used_at > clock_timestamp() - interval '1 hour'), 0);
END $$;
COMMENT ON FUNCTION guestcomms_internal.quota_left(uuid, text) IS 'How much the acting role may still take within this hour; below 0 where the limit was lowered.';

CREATE FUNCTION guestcomms_internal.refuse_quota(tenant_id uuid, action text, amount bigint, quota_limit bigint, quota_used bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_setting text := guestcomms_internal.quota_setting(refuse_quota.action);
    v_free_at timestamptz;
BEGIN
    -- The use with whose end enough of the hour's limit is free again.
    SELECT min(f.used_at) + interval '1 hour' INTO v_free_at
    FROM (
        SELECT u.used_at, sum(u.amount) OVER (ORDER BY u.used_at, u.use_number) AS freed
        FROM guestcomms.quota_uses AS u
        WHERE u.tenant_id = refuse_quota.tenant_id AND u.role_name = guestcomms_internal.acting_role()::text AND u.action = refuse_quota.action
            AND u.used_at > clock_timestamp() - interval '1 hour'
    ) AS f
    WHERE refuse_quota.quota_used - f.freed + refuse_quota.amount <= refuse_quota.quota_limit;
    RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded', MESSAGE = 'the limit of an hour is reached',
        DETAIL = format('%s allows %s, %s were used, %s were asked for.', v_setting, refuse_quota.quota_limit, refuse_quota.quota_used, refuse_quota.amount),
        HINT = CASE WHEN v_free_at IS NULL THEN format('It is more than the limit allows at any time; an operator raises the setting %s.', v_setting)
            ELSE format('Possible again at %s, or after an operator raises the setting %s.', v_free_at, v_setting) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_quota(uuid, text, bigint, bigint, bigint) IS 'The error of take_quota(): what the limit is, and when it is possible again.';

CREATE FUNCTION guestcomms_internal.take_quota(tenant_id uuid, action text, amount bigint DEFAULT 1) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_role text := guestcomms_internal.acting_role();
    v_left bigint;
    v_limit bigint;
BEGIN
    -- One after the other, until the transaction ends: what it takes is not seen before.
    PERFORM pg_advisory_xact_lock(hashtextextended(format('quota %s %s %s', take_quota.tenant_id, take_quota.action, v_role), 0));
    v_left := guestcomms_internal.quota_left(take_quota.tenant_id, take_quota.action);
    IF take_quota.amount > v_left THEN
        v_limit := guestcomms_internal.setting(guestcomms_internal.quota_setting(take_quota.action), take_quota.tenant_id)::bigint;
        PERFORM guestcomms_internal.refuse_quota(take_quota.tenant_id, take_quota.action, take_quota.amount, v_limit, v_limit - v_left);
    END IF;
    INSERT INTO guestcomms.quota_uses (tenant_id, role_name, action, use_number, amount)
    SELECT take_quota.tenant_id, v_role, take_quota.action, coalesce(max(u.use_number), 0) + 1, take_quota.amount
    FROM guestcomms.quota_uses AS u
    WHERE u.tenant_id = take_quota.tenant_id AND u.role_name = v_role AND u.action = take_quota.action;
EXCEPTION
    WHEN unique_violation THEN
        -- A transaction whose snapshot is older than the wait does not see what was taken meanwhile, but may not pass it either.
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'another session took of the same limit',
            DETAIL = 'This transaction began before and cannot see how much is left.', HINT = 'Run the transaction again.';
END $$;
COMMENT ON FUNCTION guestcomms_internal.take_quota(uuid, text, bigint) IS
'Takes of the limit of an action (export, detection, import) for the acting role in a tenant, or raises 53400. What a transaction takes and then rolls back is not taken.';

CREATE FUNCTION guestcomms_internal.trim_quota_uses(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms.quota_uses AS u
    WHERE (u.tenant_id, u.role_name, u.action, u.use_number) IN (
        SELECT o.tenant_id, o.role_name, o.action, o.use_number FROM guestcomms.quota_uses AS o
        WHERE o.used_at < now() - interval '1 hour' LIMIT trim_quota_uses.max_rows);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_quota_uses(integer) IS 'Removes uses that count no more, of all tenants.';
