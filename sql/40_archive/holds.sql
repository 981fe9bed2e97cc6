-- Legal holds: what must not be erased, and where the hold says so, not be archived.
CREATE FUNCTION guestcomms_internal.is_held(tenant_id uuid, guest_id uuid, thread_id uuid, wedding_id uuid, sent_at timestamptz, is_archiving boolean) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms.legal_holds AS h
        WHERE h.tenant_id = is_held.tenant_id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())
            AND (h.blocks_archiving OR NOT is_held.is_archiving)
            AND (h.guest_id IS NULL OR h.guest_id = is_held.guest_id
                OR guestcomms_internal.kept_guest(h.tenant_id, h.guest_id) = guestcomms_internal.kept_guest(h.tenant_id, is_held.guest_id)) AND (h.thread_id IS NULL OR h.thread_id = is_held.thread_id)
            AND (h.wedding_id IS NULL OR h.wedding_id = is_held.wedding_id)
            AND (h.since IS NULL OR is_held.sent_at >= h.since) AND (h.until IS NULL OR is_held.sent_at < h.until));
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_held(uuid, uuid, uuid, uuid, timestamptz, boolean) IS
'Whether a hold that is in force covers a message; of archiving only those count that block it.';

CREATE FUNCTION guestcomms.place_hold(
    scope jsonb, reason text, until timestamptz DEFAULT NULL, blocks_archiving boolean DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_hold uuid;
    v_unknown text := (SELECT string_agg(k.key, ', ' ORDER BY k.key) FROM jsonb_object_keys(CASE jsonb_typeof(place_hold.scope) WHEN 'object' THEN place_hold.scope ELSE '{"":1}' END) AS k (key)
        WHERE k.key NOT IN ('guest_id', 'thread_id', 'wedding_id', 'since', 'until'));
BEGIN
    IF place_hold.scope IS NULL OR v_unknown IS NOT NULL OR coalesce(char_length(place_hold.reason), 0) NOT BETWEEN 1 AND 2000 OR place_hold.until <= now() THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the hold is not valid',
            DETAIL = 'scope is a JSON object with any of guest_id, thread_id, wedding_id, since and until; there is a reason of at most 2000 characters; until is in the future.',
            HINT = 'An empty scope covers all messages of the tenant: SELECT guestcomms.place_hold(''{}'', ''court file 12/26'');';
    END IF;
    INSERT INTO guestcomms.legal_holds (tenant_id, guest_id, thread_id, wedding_id, since, until, reason, blocks_archiving, expires_at)
    VALUES (v_tenant, (place_hold.scope ->> 'guest_id')::uuid, (place_hold.scope ->> 'thread_id')::uuid, (place_hold.scope ->> 'wedding_id')::uuid,
        (place_hold.scope ->> 'since')::timestamptz, (place_hold.scope ->> 'until')::timestamptz, place_hold.reason, place_hold.blocks_archiving, place_hold.until)
    RETURNING hold_id INTO v_hold;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'place_hold', 'hold ' || v_hold, place_hold.scope);
    RETURN v_hold;
END $$;
COMMENT ON FUNCTION guestcomms.place_hold(jsonb, text, timestamptz, boolean) IS
$$Keeps messages from being erased until the hold is released or until has come, and returns hold_id. scope says which: any of guest_id, thread_id, wedding_id and since, until (of sent_at) as a JSON object; all of them must hold. With blocks_archiving they stay in the hot tables, too; otherwise they may be archived, where they are kept as well.
Example: SELECT guestcomms.place_hold('{"since": "2026-01-01T00:00:00Z"}', 'dispute over the invoice of May', now() + interval '1 year', blocks_archiving => true);
See also: release_hold, list_holds, add_archive_policy$$;

CREATE FUNCTION guestcomms.release_hold(hold_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    UPDATE guestcomms.legal_holds AS h SET released_at = now(), released_by = session_user
    WHERE h.tenant_id = v_tenant AND h.hold_id = release_hold.hold_id AND h.released_at IS NULL;
    IF FOUND THEN
        PERFORM guestcomms_internal.record_audit(v_tenant, 'release_hold', 'hold ' || release_hold.hold_id);
        -- An erasure may have waited for it.
        PERFORM guestcomms.request_job('erase_guests', 'release_hold');
        RETURN true;
    ELSIF EXISTS (SELECT FROM guestcomms.legal_holds AS h WHERE h.tenant_id = v_tenant AND h.hold_id = release_hold.hold_id) THEN
        RETURN false;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such hold', DETAIL = format('hold_id %s.', release_hold.hold_id),
        HINT = 'SELECT hold_id, reason FROM guestcomms.list_holds();';
END $$;
COMMENT ON FUNCTION guestcomms.release_hold(uuid) IS
$$Ends a hold; false where it had ended by release before. The hold stays listed, with who released it and when.
Example: SELECT guestcomms.release_hold(hold_id) FROM guestcomms.list_holds() WHERE reason = 'court file 12/26';
See also: place_hold, list_holds$$;

CREATE FUNCTION guestcomms.list_holds(include_released boolean DEFAULT false)
RETURNS TABLE (hold_id uuid, scope jsonb, reason text, blocks_archiving boolean, is_in_force boolean, expires_at timestamptz, placed_at timestamptz, placed_by text,
    released_at timestamptz, released_by text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT h.hold_id, jsonb_strip_nulls(jsonb_build_object('guest_id', h.guest_id, 'thread_id', h.thread_id, 'wedding_id', h.wedding_id, 'since', h.since, 'until', h.until)),
        h.reason, h.blocks_archiving, h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now()), h.expires_at, h.placed_at, h.placed_by,
        h.released_at, h.released_by
    FROM guestcomms.legal_holds AS h
    WHERE h.tenant_id = v_tenant AND (list_holds.include_released OR h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now()))
    ORDER BY h.placed_at, h.hold_id;
END $$;
COMMENT ON FUNCTION guestcomms.list_holds(boolean) IS
$$The current tenant's holds that are in force, or all there ever were.
Example: SELECT scope, reason, expires_at FROM guestcomms.list_holds(include_released => true);
See also: place_hold, release_hold$$;
