-- Guests: added, found or made by an address, read and changed. Whoever was merged into another is that one from then on: every
-- function that takes a guest goes on with the one who was kept.
CREATE FUNCTION guestcomms_internal.kept_guest(tenant_id uuid, guest_id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT coalesce(g.merged_into, g.guest_id) FROM guestcomms.guests AS g WHERE g.tenant_id = kept_guest.tenant_id AND g.guest_id = kept_guest.guest_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.kept_guest(uuid, uuid) IS 'The guest that this one was merged into, or the guest; NULL where there is none. merged_into never names one who was merged.';

CREATE FUNCTION guestcomms_internal.same_guests(tenant_id uuid, guest_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_kept uuid := coalesce(guestcomms_internal.kept_guest(same_guests.tenant_id, same_guests.guest_id), same_guests.guest_id);
BEGIN
    RETURN v_kept || ARRAY(SELECT g.guest_id FROM guestcomms.guests AS g WHERE g.tenant_id = same_guests.tenant_id AND g.merged_into = v_kept ORDER BY g.guest_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.same_guests(uuid, uuid) IS
'All identifiers of a person: the guest who was kept first, then those merged into that one. Messages keep the identifier they came with, so whoever reads those of a guest asks for all of these.';

CREATE FUNCTION guestcomms_internal.refuse_guest(guest_id uuid) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such guest',
        DETAIL = 'guest_id ' || coalesce(refuse_guest.guest_id::text, 'is missing') || '.',
        HINT = 'add_guest() or resolve_guest() returns a guest_id.';
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_guest(uuid) IS 'The error for a guest who is not there.';

CREATE FUNCTION guestcomms_internal.lock_kept_guest(tenant_id uuid, guest_id uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_guest uuid := lock_kept_guest.guest_id;
    v_into uuid;
BEGIN
    LOOP
        -- As a foreign key does: others may write, too, and a merge waits for all of them, as they wait for it.
        SELECT g.merged_into INTO v_into FROM guestcomms.guests AS g
        WHERE g.tenant_id = lock_kept_guest.tenant_id AND g.guest_id = v_guest FOR KEY SHARE;
        EXIT WHEN v_into IS NULL;
        v_guest := v_into;
    END LOOP;
    RETURN v_guest;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_kept_guest(uuid, uuid) IS
'The guest that this one was merged into, or the guest, who is merged into nobody until the transaction ends.';

CREATE FUNCTION guestcomms_internal.lock_guest(tenant_id uuid, guest_id uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_guest uuid := guestcomms_internal.lock_kept_guest(lock_guest.tenant_id, lock_guest.guest_id);
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = lock_guest.tenant_id AND g.guest_id = v_guest AND g.erased_at IS NULL) THEN
        PERFORM guestcomms_internal.refuse_guest(lock_guest.guest_id);
    END IF;
    RETURN v_guest;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_guest(uuid, uuid) IS 'The guest to write to, who is merged into nobody until the transaction ends; an error where there is none.';

CREATE FUNCTION guestcomms_internal.require_guest_values(display_name text, language text, timezone text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_problem text := CASE
        WHEN char_length(require_guest_values.display_name) NOT BETWEEN 1 AND 200 THEN 'display_name must have 1 to 200 characters'
        WHEN require_guest_values.language !~ '^[a-z]{2,3}$' THEN 'language is not an ISO 639-1 code'
        WHEN require_guest_values.timezone IS NOT NULL AND NOT guestcomms_internal.is_timezone(require_guest_values.timezone) THEN 'timezone is not one of pg_timezone_names' END;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = v_problem,
            HINT = 'All parameters may be left out; resolve_guest() finds a guest by address.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_guest_values(text, text, text) IS 'An error for values that no guest can have.';

CREATE FUNCTION guestcomms.add_guest(
    display_name text DEFAULT NULL, email text DEFAULT NULL, phone text DEFAULT NULL, language text DEFAULT NULL, timezone text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
    v_address record;
BEGIN
    PERFORM guestcomms_internal.require_guest_values(add_guest.display_name, add_guest.language, add_guest.timezone);
    INSERT INTO guestcomms.guests AS g (tenant_id, display_name, language, timezone)
    VALUES (v_tenant, add_guest.display_name, add_guest.language, add_guest.timezone)
    RETURNING g.guest_id INTO v_guest;
    FOR v_address IN
        SELECT a.channel, guestcomms_internal.require_address(v_tenant, a.channel, a.address) AS address
        FROM (VALUES ('email', add_guest.email), ('sms', add_guest.phone), ('whatsapp', add_guest.phone)) AS a (channel, address)
        WHERE a.address IS NOT NULL
    LOOP
        INSERT INTO guestcomms.guest_addresses AS a (tenant_id, channel, address, guest_id, is_primary)
        VALUES (v_tenant, v_address.channel, v_address.address, v_guest, true)
        ON CONFLICT ON CONSTRAINT guest_addresses_pkey DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'another guest already has that address',
                DETAIL = format('Channel %s.', v_address.channel),
                HINT = 'resolve_guest(channel, address) returns the guest who has it.';
        END IF;
    END LOOP;
    RETURN v_guest;
END $$;
COMMENT ON FUNCTION guestcomms.add_guest(text, text, text, text, text) IS
$$Adds a guest with an e-mail address and a telephone number (for SMS and WhatsApp), all optional, and returns guest_id. An address that another guest has is an error.
Example: SELECT guestcomms.add_guest('Zoë Kaya', email => 'zoe@example.com', phone => '+44 7700 900123', language => 'en');
See also: resolve_guest, open_thread, record_message$$;

CREATE FUNCTION guestcomms_internal.find_address_owner(tenant_id uuid, channel text, address text, OUT guest_id uuid, OUT is_own_channel boolean)
-- Two look-ups by primary key, planned once: to plan them anew takes several times as long.
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
BEGIN
    SELECT coalesce(g.merged_into, g.guest_id), true INTO guest_id, is_own_channel
    FROM guestcomms.guest_addresses AS a
    JOIN guestcomms.guests AS g ON g.tenant_id = a.tenant_id AND g.guest_id = a.guest_id AND g.erased_at IS NULL
    WHERE a.tenant_id = find_address_owner.tenant_id AND a.channel = find_address_owner.channel AND a.address = find_address_owner.address;
    -- A telephone has one owner, whichever of the two channels it is first heard from on.
    IF NOT FOUND AND find_address_owner.channel IN ('sms', 'whatsapp') THEN
        SELECT coalesce(g.merged_into, g.guest_id), false INTO guest_id, is_own_channel
        FROM guestcomms.guest_addresses AS a
        JOIN guestcomms.guests AS g ON g.tenant_id = a.tenant_id AND g.guest_id = a.guest_id AND g.erased_at IS NULL
        WHERE a.tenant_id = find_address_owner.tenant_id AND a.channel = guestcomms_internal.sister_channel(find_address_owner.channel) AND a.address = find_address_owner.address;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_address_owner(uuid, text, text) IS 'Who has an address, on this channel or, of a telephone, on the other; nothing where nobody has it.';

CREATE FUNCTION guestcomms_internal.store_address(tenant_id uuid, guest_id uuid, channel text, address text, is_verified boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- The first of a channel is the one to use. Any conflict, for two may be first at once.
    INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id, is_verified, is_primary)
    SELECT store_address.tenant_id, store_address.channel, store_address.address, store_address.guest_id, store_address.is_verified,
        NOT EXISTS (SELECT FROM guestcomms.guest_addresses AS p
            WHERE p.tenant_id = store_address.tenant_id AND p.guest_id = store_address.guest_id AND p.channel = store_address.channel AND p.is_primary)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION guestcomms_internal.store_address(uuid, uuid, text, text, boolean) IS 'Adds an address to a guest; false where somebody was first.';

CREATE FUNCTION guestcomms_internal.lock_new_address(tenant_id uuid, address text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(format('address %s %s', lock_new_address.tenant_id, lock_new_address.address), 0));
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_new_address(uuid, text) IS 'One after the other adds an address, on whatever channel, until the transaction ends.';

CREATE FUNCTION guestcomms.resolve_guest(channel text, address text, display_name text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_address text := guestcomms_internal.require_address(v_tenant, resolve_guest.channel, resolve_guest.address);
    v_owner record;
    v_is_locked boolean := false;
    v_guest uuid;
BEGIN
    LOOP
        SELECT * INTO v_owner FROM guestcomms_internal.find_address_owner(v_tenant, resolve_guest.channel, v_address);
        IF v_owner.is_own_channel THEN
            RETURN v_owner.guest_id;
        ELSIF NOT v_is_locked THEN
            -- The key of an address keeps two from adding it on one channel, not on both of a telephone's at once.
            PERFORM guestcomms_internal.lock_new_address(v_tenant, v_address);
            v_is_locked := true;
            CONTINUE;
        ELSIF v_owner.guest_id IS NOT NULL THEN
            v_guest := guestcomms_internal.lock_guest(v_tenant, v_owner.guest_id);
        ELSE
            -- Who was erased is not brought back by an address that was left.
            DELETE FROM guestcomms.guest_addresses AS a
            WHERE a.tenant_id = v_tenant AND a.channel = resolve_guest.channel AND a.address = v_address
                AND (SELECT g.erased_at FROM guestcomms.guests AS g WHERE g.tenant_id = a.tenant_id AND g.guest_id = a.guest_id) IS NOT NULL;
            INSERT INTO guestcomms.guests AS g (tenant_id, display_name)
            VALUES (v_tenant, left(nullif(btrim(resolve_guest.display_name), ''), 200))
            RETURNING g.guest_id INTO v_guest;
        END IF;
        IF guestcomms_internal.store_address(v_tenant, v_guest, resolve_guest.channel, v_address, true) THEN
            RETURN v_guest;
        END IF;
        -- Somebody else was first, and has committed: the next look finds theirs.
        DELETE FROM guestcomms.guests AS g WHERE v_owner.guest_id IS NULL AND g.tenant_id = v_tenant AND g.guest_id = v_guest;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.resolve_guest(text, text, text) IS
$$The guest who has an address, added if nobody has it yet; also when many callers ask at once. A telephone number is one guest's by SMS and WhatsApp alike; without its country's prefix it is taken for one of the tenant's country, where the server has the Python package phonenumbers. An address of a guest who was merged into another is the other's. For inbound messages, whose sender is only an address.
Example: SELECT guestcomms.resolve_guest('whatsapp', '+44 7700 900123', display_name => 'Zoë');
See also: add_guest, add_guest_address, get_guest, record_message$$;

CREATE FUNCTION guestcomms.update_guest(guest_id uuid, display_name text DEFAULT NULL, language text DEFAULT NULL, timezone text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.lock_guest(v_tenant, update_guest.guest_id);
BEGIN
    IF num_nonnulls(update_guest.display_name, update_guest.language, update_guest.timezone) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'there is nothing to change', HINT = 'Give display_name, language or timezone; an empty text removes what was there.';
    END IF;
    PERFORM guestcomms_internal.require_guest_values(nullif(update_guest.display_name, ''), nullif(update_guest.language, ''), nullif(update_guest.timezone, ''));
    UPDATE guestcomms.guests AS g
    SET display_name = CASE WHEN update_guest.display_name IS NULL THEN g.display_name ELSE nullif(update_guest.display_name, '') END,
        language = CASE WHEN update_guest.language IS NULL THEN g.language ELSE nullif(update_guest.language, '') END,
        timezone = CASE WHEN update_guest.timezone IS NULL THEN g.timezone ELSE nullif(update_guest.timezone, '') END,
        updated_at = clock_timestamp()
    WHERE g.tenant_id = v_tenant AND g.guest_id = v_guest;
END $$;
COMMENT ON FUNCTION guestcomms.update_guest(uuid, text, text, text) IS
$$Changes name, language or time zone of a guest. What is not given stays; an empty text removes it.
Example: SELECT guestcomms.update_guest('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', display_name => 'Zoë Kaya', language => 'en');
See also: get_guest, add_guest, add_guest_address$$;

CREATE FUNCTION guestcomms.get_guest(guest_id uuid)
RETURNS TABLE (kept_guest_id uuid, display_name text, language text, timezone text, created_at timestamptz, updated_at timestamptz, restricted_at timestamptz,
    erased_at timestamptz, merged_guest_ids uuid[], addresses jsonb, weddings jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guests uuid[] := guestcomms_internal.same_guests(v_tenant, get_guest.guest_id);
BEGIN
    RETURN QUERY
    SELECT g.guest_id, g.display_name, g.language, g.timezone, g.created_at, g.updated_at, g.restricted_at, g.erased_at, v_guests[2:],
        (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', a.channel, 'address', a.address, 'is_primary', a.is_primary, 'is_verified', a.is_verified)
                ORDER BY a.channel, a.is_primary DESC, a.address), '[]')
            FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = v_tenant AND a.guest_id = v_guests[1]),
        (SELECT coalesce(jsonb_agg(jsonb_build_object('wedding_id', i.wedding_id, 'name', w.name, 'held_on', w.held_on, 'party', i.party, 'role', i.role, 'rsvp', i.rsvp)
                ORDER BY w.held_on, w.wedding_id), '[]')
            FROM guestcomms.wedding_guests AS i
            JOIN guestcomms.weddings AS w ON w.tenant_id = i.tenant_id AND w.wedding_id = i.wedding_id
            WHERE i.tenant_id = v_tenant AND i.guest_id = v_guests[1])
    FROM guestcomms.guests AS g
    WHERE g.tenant_id = v_tenant AND g.guest_id = v_guests[1];
END $$;
COMMENT ON FUNCTION guestcomms.get_guest(uuid) IS
$$A guest with all addresses and weddings; no row where there is none. Of a guest who was merged it is the one who was kept: kept_guest_id says which, merged_guest_ids who else was merged into that one.
Example: SELECT kept_guest_id, display_name, addresses, weddings FROM guestcomms.get_guest('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: update_guest, list_guest_addresses, search_guests, merge_guests$$;

CREATE FUNCTION guestcomms.open_thread(subject text DEFAULT NULL, guest_id uuid DEFAULT NULL, wedding_id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
    v_thread uuid;
BEGIN
    IF char_length(open_thread.subject) > 2000 THEN
        RAISE EXCEPTION USING ERRCODE = 'string_data_right_truncation', MESSAGE = 'subject is longer than 2000 characters',
            DETAIL = format('%s characters.', char_length(open_thread.subject)), HINT = 'Shorten it.';
    END IF;
    v_guest := guestcomms_internal.lock_guest(v_tenant, open_thread.guest_id);
    IF open_thread.wedding_id IS NOT NULL AND NOT EXISTS (SELECT FROM guestcomms.weddings AS w
        WHERE w.tenant_id = v_tenant AND w.wedding_id = open_thread.wedding_id)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such wedding',
            HINT = 'Leave wedding_id out, or take one of the tenant''s weddings.';
    END IF;
    INSERT INTO guestcomms.threads AS t (tenant_id, guest_id, wedding_id, subject)
    VALUES (v_tenant, v_guest, open_thread.wedding_id, open_thread.subject)
    RETURNING t.thread_id INTO v_thread;
    RETURN v_thread;
END $$;
COMMENT ON FUNCTION guestcomms.open_thread(text, uuid, uuid) IS
$$Opens a conversation with a guest and returns thread_id. Messages recorded without a thread go to the guest's newest open one.
Example: SELECT guestcomms.open_thread('Seating', guest_id => '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: record_message, add_guest$$;
