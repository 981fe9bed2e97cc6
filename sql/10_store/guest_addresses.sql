-- Addresses of a guest: one of each channel is the primary one, and an address is one guest's.
CREATE FUNCTION guestcomms_internal.ensure_primary_addresses(tenant_id uuid, guest_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms.guest_addresses AS a SET is_primary = true
    FROM (
        SELECT DISTINCT ON (o.channel) o.channel, o.address, bool_or(o.is_primary) OVER (PARTITION BY o.channel) AS has_primary
        FROM guestcomms.guest_addresses AS o
        WHERE o.tenant_id = ensure_primary_addresses.tenant_id AND o.guest_id = ensure_primary_addresses.guest_id
        ORDER BY o.channel, o.is_verified DESC, o.created_at, o.address
    ) AS first
    WHERE a.tenant_id = ensure_primary_addresses.tenant_id AND a.channel = first.channel AND a.address = first.address AND NOT first.has_primary;
END $$;
COMMENT ON FUNCTION guestcomms_internal.ensure_primary_addresses(uuid, uuid) IS
'Makes an address the primary one of each channel that has none: a verified one, else the oldest.';

CREATE FUNCTION guestcomms_internal.lock_address(tenant_id uuid, guest_id uuid, channel text, address text, OUT kept_guest_id uuid, OUT full_address text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    full_address := guestcomms_internal.require_address(lock_address.tenant_id, lock_address.channel, lock_address.address);
    kept_guest_id := guestcomms_internal.lock_guest(lock_address.tenant_id, lock_address.guest_id);
    -- One after the other: two that change the primary address would leave none, or two.
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = lock_address.tenant_id AND g.guest_id = kept_guest_id FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_address(uuid, uuid, text, text) IS 'The guest and the address as they are kept, before the guest''s addresses are changed.';

CREATE FUNCTION guestcomms_internal.refuse_address(channel text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'the guest has no such address', DETAIL = format('Channel %s.', refuse_address.channel),
        HINT = 'SELECT channel, address FROM guestcomms.list_guest_addresses(guest_id);';
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_address(text) IS 'The error for an address that is not the guest''s; never quotes it.';

CREATE FUNCTION guestcomms.add_guest_address(guest_id uuid, channel text, address text, is_primary boolean DEFAULT false, is_verified boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_locked record;
    v_owner record;
BEGIN
    SELECT * INTO v_locked FROM guestcomms_internal.lock_address(v_tenant, add_guest_address.guest_id, add_guest_address.channel, add_guest_address.address);
    PERFORM guestcomms_internal.lock_new_address(v_tenant, v_locked.full_address);
    SELECT * INTO v_owner FROM guestcomms_internal.find_address_owner(v_tenant, add_guest_address.channel, v_locked.full_address);
    IF v_owner.guest_id <> v_locked.kept_guest_id
        OR v_owner.is_own_channel IS NOT TRUE AND NOT guestcomms_internal.store_address(v_tenant, v_locked.kept_guest_id, add_guest_address.channel, v_locked.full_address, coalesce(add_guest_address.is_verified, false))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'another guest already has that address',
            DETAIL = format('Channel %s.', add_guest_address.channel),
            HINT = 'resolve_guest(channel, address) returns the guest who has it; merge_guests() makes two guests one.';
    END IF;
    IF add_guest_address.is_verified THEN
        UPDATE guestcomms.guest_addresses AS a SET is_verified = true
        WHERE a.tenant_id = v_tenant AND a.channel = add_guest_address.channel AND a.address = v_locked.full_address AND NOT a.is_verified;
    END IF;
    IF add_guest_address.is_primary THEN
        PERFORM guestcomms.set_primary_address(v_locked.kept_guest_id, add_guest_address.channel, v_locked.full_address);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.add_guest_address(uuid, text, text, boolean, boolean) IS
$$Gives a guest an address: email, sms, whatsapp or chat. The first of a channel becomes the one to use, later ones with is_primary. An address that the guest has already takes is_verified and is_primary where they are true; one that another guest has is an error, and so is a telephone that another guest is reached on by SMS or WhatsApp.
Example: SELECT guestcomms.add_guest_address('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'email', 'yusuf@example.com', is_verified => true);
See also: list_guest_addresses, set_primary_address, verify_guest_address, remove_guest_address, resolve_guest$$;

CREATE FUNCTION guestcomms.set_primary_address(guest_id uuid, channel text, address text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_locked record;
BEGIN
    SELECT * INTO v_locked FROM guestcomms_internal.lock_address(v_tenant, set_primary_address.guest_id, set_primary_address.channel, set_primary_address.address);
    -- In this order, for there is never a second one.
    UPDATE guestcomms.guest_addresses AS a SET is_primary = false
    WHERE a.tenant_id = v_tenant AND a.guest_id = v_locked.kept_guest_id AND a.channel = set_primary_address.channel AND a.is_primary AND a.address <> v_locked.full_address;
    UPDATE guestcomms.guest_addresses AS a SET is_primary = true
    WHERE a.tenant_id = v_tenant AND a.guest_id = v_locked.kept_guest_id AND a.channel = set_primary_address.channel AND a.address = v_locked.full_address;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.refuse_address(set_primary_address.channel);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.set_primary_address(uuid, text, text) IS
$$Makes one of a guest's addresses the one to use on its channel.
Example: SELECT guestcomms.set_primary_address(guest_id => guestcomms.resolve_guest('email', 'zoe@example.com'), channel => 'email', address => 'zoe@example.com');
See also: add_guest_address, list_guest_addresses$$;

CREATE FUNCTION guestcomms.verify_guest_address(guest_id uuid, channel text, address text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_locked record;
BEGIN
    SELECT * INTO v_locked FROM guestcomms_internal.lock_address(v_tenant, verify_guest_address.guest_id, verify_guest_address.channel, verify_guest_address.address);
    UPDATE guestcomms.guest_addresses AS a SET is_verified = true
    WHERE a.tenant_id = v_tenant AND a.guest_id = v_locked.kept_guest_id AND a.channel = verify_guest_address.channel AND a.address = v_locked.full_address;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.refuse_address(verify_guest_address.channel);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.verify_guest_address(uuid, text, text) IS
$$Notes that an address is the guest's: they were heard from on it, or followed a link sent to it. An address that resolve_guest() adds counts as verified from the beginning; one that add_guest() or import_guests() gave is verified by this alone, and not by resolve_guest() finding it.
Example: SELECT guestcomms.verify_guest_address(guest_id => guestcomms.resolve_guest('sms', '+44 7700 900123'), channel => 'sms', address => '+44 7700 900123');
See also: add_guest_address, list_guest_addresses$$;

CREATE FUNCTION guestcomms.remove_guest_address(guest_id uuid, channel text, address text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_locked record;
BEGIN
    SELECT * INTO v_locked FROM guestcomms_internal.lock_address(v_tenant, remove_guest_address.guest_id, remove_guest_address.channel, remove_guest_address.address);
    DELETE FROM guestcomms.guest_addresses AS a
    WHERE a.tenant_id = v_tenant AND a.guest_id = v_locked.kept_guest_id AND a.channel = remove_guest_address.channel AND a.address = v_locked.full_address;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.ensure_primary_addresses(v_tenant, v_locked.kept_guest_id);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_guest_address(uuid, text, text) IS
$$Takes an address from a guest, and returns whether the guest had it. If it was the one to use on its channel, another becomes that: a verified one, else the oldest. A message from it makes a new guest.
Example: SELECT guestcomms.remove_guest_address('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'email', 'old@example.com');
See also: add_guest_address, list_guest_addresses$$;

CREATE FUNCTION guestcomms.list_guest_addresses(guest_id uuid)
RETURNS TABLE (channel text, address text, is_primary boolean, is_verified boolean, created_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 3 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.kept_guest(v_tenant, list_guest_addresses.guest_id);
BEGIN
    RETURN QUERY
    SELECT a.channel, a.address, a.is_primary, a.is_verified, a.created_at
    FROM guestcomms.guest_addresses AS a
    WHERE a.tenant_id = v_tenant AND a.guest_id = v_guest
    ORDER BY a.channel, a.is_primary DESC, a.created_at, a.address;
END $$;
COMMENT ON FUNCTION guestcomms.list_guest_addresses(uuid) IS
$$How a guest is reached, by channel, the one to use first.
Example: SELECT channel, address, is_primary, is_verified FROM guestcomms.list_guest_addresses('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: add_guest_address, set_primary_address, verify_guest_address, remove_guest_address, get_guest$$;
