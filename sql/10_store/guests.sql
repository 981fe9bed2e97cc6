-- Guests, their addresses, threads
CREATE FUNCTION guestcomms_internal.normalize_address(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN channel = 'email' THEN lower(btrim(address))
    WHEN channel IN ('sms', 'whatsapp') THEN regexp_replace(regexp_replace(btrim(address), '^(\+|00)', '+'), '[^0-9+]', '', 'g')
    ELSE btrim(address) END;
COMMENT ON FUNCTION guestcomms_internal.normalize_address(text, text) IS
'An address as it is kept and compared: e-mail folded, telephone numbers as digits behind a +.';

CREATE FUNCTION guestcomms_internal.address_problem(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT CASE
        WHEN coalesce(channel NOT IN ('email', 'sms', 'whatsapp', 'chat'), true) THEN 'channel is not valid'
        WHEN coalesce(btrim(address), '') = '' OR char_length(a.normal) > 320 THEN 'address must have 1 to 320 characters'
        WHEN channel = 'email' AND a.normal !~ '^[^@\s]+@[^@\s]+$' THEN 'address is no e-mail address'
        WHEN channel IN ('sms', 'whatsapp') AND a.normal !~ '^\+[0-9]{4,15}$' THEN 'address is no telephone number with its country''s prefix' END
    FROM (SELECT guestcomms_internal.normalize_address(channel, address) AS normal) AS a
$$;
COMMENT ON FUNCTION guestcomms_internal.address_problem(text, text) IS 'What is wrong with an address, NULL for nothing; never quotes it.';

CREATE FUNCTION guestcomms_internal.require_address(channel text, address text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF guestcomms_internal.address_problem(channel, address) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = guestcomms_internal.address_problem(channel, address),
            HINT = 'Channels: email (name@host), sms and whatsapp (+44 7700 900123: +, the country''s prefix, 4 to 15 digits in all), chat (any identifier).';
    END IF;
    RETURN guestcomms_internal.normalize_address(channel, address);
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_address(text, text) IS 'The normalised address; an error where it is none.';

CREATE FUNCTION guestcomms.add_guest(
    display_name text DEFAULT NULL, email text DEFAULT NULL, phone text DEFAULT NULL, language text DEFAULT NULL, timezone text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
    v_problem text := CASE
        WHEN char_length(add_guest.display_name) NOT BETWEEN 1 AND 200 THEN 'display_name must have 1 to 200 characters'
        WHEN add_guest.language !~ '^[a-z]{2,3}$' THEN 'language is not an ISO 639-1 code'
        WHEN add_guest.timezone IS NOT NULL AND NOT guestcomms_internal.is_timezone(add_guest.timezone) THEN 'timezone is not one of pg_timezone_names' END;
    v_address record;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = v_problem,
            HINT = 'All parameters may be left out; resolve_guest() finds a guest by address.';
    END IF;
    INSERT INTO guestcomms.guests AS g (tenant_id, display_name, language, timezone)
    VALUES (v_tenant, add_guest.display_name, add_guest.language, add_guest.timezone)
    RETURNING g.guest_id INTO v_guest;
    FOR v_address IN
        SELECT a.channel, guestcomms_internal.require_address(a.channel, a.address) AS address
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

CREATE FUNCTION guestcomms.resolve_guest(channel text, address text, display_name text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_address text := guestcomms_internal.require_address(resolve_guest.channel, resolve_guest.address);
    v_guest uuid;
    v_is_new boolean;
BEGIN
    LOOP
        SELECT a.guest_id INTO v_guest FROM guestcomms.guest_addresses AS a
        WHERE a.tenant_id = v_tenant AND a.channel = resolve_guest.channel AND a.address = v_address;
        IF FOUND THEN
            RETURN v_guest;
        END IF;
        -- A telephone has one owner, whichever of the two it is first heard from on.
        SELECT a.guest_id INTO v_guest FROM guestcomms.guest_addresses AS a
        WHERE a.tenant_id = v_tenant AND a.address = v_address
            AND a.channel = CASE resolve_guest.channel WHEN 'sms' THEN 'whatsapp' WHEN 'whatsapp' THEN 'sms' END;
        v_is_new := NOT FOUND;
        IF v_is_new THEN
            INSERT INTO guestcomms.guests AS g (tenant_id, display_name)
            VALUES (v_tenant, left(nullif(btrim(resolve_guest.display_name), ''), 200))
            RETURNING g.guest_id INTO v_guest;
        END IF;
        INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id, is_verified, is_primary)
        VALUES (v_tenant, resolve_guest.channel, v_address, v_guest, true, true)
        ON CONFLICT ON CONSTRAINT guest_addresses_pkey DO NOTHING;
        IF FOUND THEN
            RETURN v_guest;
        END IF;
        -- Somebody else was first, and has committed: the next look finds theirs.
        DELETE FROM guestcomms.guests AS g WHERE v_is_new AND g.tenant_id = v_tenant AND g.guest_id = v_guest;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.resolve_guest(text, text, text) IS
$$The guest who has an address, added if nobody has it yet; also when many callers ask at once. A telephone number is one guest's by SMS and WhatsApp alike, and is given with its country's prefix. For inbound messages, whose sender is only an address.
Example: SELECT guestcomms.resolve_guest('whatsapp', '+44 7700 900123', display_name => 'Zoë');
See also: add_guest, record_message$$;

CREATE FUNCTION guestcomms.open_thread(subject text DEFAULT NULL, guest_id uuid DEFAULT NULL, wedding_id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_thread uuid;
BEGIN
    IF char_length(open_thread.subject) > 2000 THEN
        RAISE EXCEPTION USING ERRCODE = 'string_data_right_truncation', MESSAGE = 'subject is longer than 2000 characters',
            DETAIL = format('%s characters.', char_length(open_thread.subject)), HINT = 'Shorten it.';
    END IF;
    IF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = open_thread.guest_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such guest',
            DETAIL = 'guest_id ' || coalesce(open_thread.guest_id::text, 'is missing') || '.',
            HINT = 'add_guest() or resolve_guest() returns a guest_id.';
    END IF;
    IF open_thread.wedding_id IS NOT NULL AND NOT EXISTS (SELECT FROM guestcomms.weddings AS w
        WHERE w.tenant_id = v_tenant AND w.wedding_id = open_thread.wedding_id)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such wedding',
            HINT = 'Leave wedding_id out, or take one of the tenant''s weddings.';
    END IF;
    INSERT INTO guestcomms.threads AS t (tenant_id, guest_id, wedding_id, subject)
    VALUES (v_tenant, open_thread.guest_id, open_thread.wedding_id, open_thread.subject)
    RETURNING t.thread_id INTO v_thread;
    RETURN v_thread;
END $$;
COMMENT ON FUNCTION guestcomms.open_thread(text, uuid, uuid) IS
$$Opens a conversation with a guest and returns thread_id. Messages recorded without a thread go to the guest's newest open one.
Example: SELECT guestcomms.open_thread('Seating', guest_id => '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: record_message, add_guest$$;
