-- Who is invited to a wedding, with whom, as what, and whether they come.
CREATE FUNCTION guestcomms.add_guest_to_wedding(wedding_id uuid, guest_id uuid, party text DEFAULT NULL, role text DEFAULT NULL, rsvp text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
BEGIN
    IF greatest(char_length(add_guest_to_wedding.party), char_length(add_guest_to_wedding.role)) > 200 THEN
        RAISE EXCEPTION USING ERRCODE = 'string_data_right_truncation', MESSAGE = 'party or role is longer than 200 characters',
            DETAIL = format('%s and %s characters.', coalesce(char_length(add_guest_to_wedding.party), 0), coalesce(char_length(add_guest_to_wedding.role), 0)), HINT = 'Shorten it.';
    END IF;
    IF add_guest_to_wedding.rsvp IS NOT NULL THEN
        PERFORM guestcomms_internal.require_rsvp(add_guest_to_wedding.rsvp);
    END IF;
    IF NOT EXISTS (SELECT FROM guestcomms.weddings AS w WHERE w.tenant_id = v_tenant AND w.wedding_id = add_guest_to_wedding.wedding_id) THEN
        PERFORM guestcomms_internal.refuse_wedding(add_guest_to_wedding.wedding_id);
    END IF;
    v_guest := guestcomms_internal.lock_guest(v_tenant, add_guest_to_wedding.guest_id);
    INSERT INTO guestcomms.wedding_guests AS i (tenant_id, wedding_id, guest_id, party, role, rsvp, rsvp_at)
    VALUES (v_tenant, add_guest_to_wedding.wedding_id, v_guest, nullif(add_guest_to_wedding.party, ''), nullif(add_guest_to_wedding.role, ''),
        coalesce(add_guest_to_wedding.rsvp, 'pending'), CASE WHEN add_guest_to_wedding.rsvp <> 'pending' THEN now() END)
    ON CONFLICT ON CONSTRAINT wedding_guests_pkey DO UPDATE
    SET party = CASE WHEN add_guest_to_wedding.party IS NULL THEN i.party ELSE excluded.party END,
        role = CASE WHEN add_guest_to_wedding.role IS NULL THEN i.role ELSE excluded.role END,
        rsvp = coalesce(add_guest_to_wedding.rsvp, i.rsvp),
        rsvp_at = CASE WHEN add_guest_to_wedding.rsvp IS NULL OR add_guest_to_wedding.rsvp = i.rsvp THEN i.rsvp_at ELSE now() END;
END $$;
COMMENT ON FUNCTION guestcomms.add_guest_to_wedding(uuid, uuid, text, text, text) IS
$$Invites a guest to a wedding: party is the group they are invited with, for example a family; role what they are there, for example best man; rsvp pending, yes, no or maybe. A guest who is invited already takes what is given; what is not given stays, an empty party or role removes it.
Example: SELECT guestcomms.add_guest_to_wedding(guestcomms.add_wedding('Zoë & Yusuf'), '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', party => 'Kaya family', role => 'uncle', rsvp => 'yes');
See also: set_rsvp, remove_guest_from_wedding, list_wedding_guests, import_guests$$;

CREATE FUNCTION guestcomms.set_rsvp(wedding_id uuid, guest_id uuid, rsvp text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
BEGIN
    PERFORM guestcomms_internal.require_rsvp(set_rsvp.rsvp);
    v_guest := guestcomms_internal.lock_guest(v_tenant, set_rsvp.guest_id);
    UPDATE guestcomms.wedding_guests AS i
    SET rsvp = set_rsvp.rsvp, rsvp_at = CASE WHEN i.rsvp = set_rsvp.rsvp THEN i.rsvp_at ELSE now() END
    WHERE i.tenant_id = v_tenant AND i.wedding_id = set_rsvp.wedding_id AND i.guest_id = v_guest;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'the guest is not invited to that wedding', DETAIL = format('wedding_id %s, guest_id %s.', set_rsvp.wedding_id, v_guest),
            HINT = 'add_guest_to_wedding() invites a guest, with an answer if there is one.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.set_rsvp(uuid, uuid, text) IS
$$Notes an invited guest's answer: pending, yes, no or maybe. The time is when the answer last changed.
Example: SELECT guestcomms.set_rsvp(w.wedding_id, i.guest_id, 'yes') FROM guestcomms.list_weddings() AS w CROSS JOIN LATERAL guestcomms.list_wedding_guests(w.wedding_id) AS i WHERE i.guest_party = 'Kaya family';
See also: add_guest_to_wedding, list_wedding_guests$$;

CREATE FUNCTION guestcomms.remove_guest_from_wedding(wedding_id uuid, guest_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.lock_guest(v_tenant, remove_guest_from_wedding.guest_id);
BEGIN
    DELETE FROM guestcomms.wedding_guests AS i
    WHERE i.tenant_id = v_tenant AND i.wedding_id = remove_guest_from_wedding.wedding_id AND i.guest_id = v_guest;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION guestcomms.remove_guest_from_wedding(uuid, uuid) IS
$$Takes a guest off a wedding's list, and returns whether they were on it. Messages stay.
Example: SELECT guestcomms.remove_guest_from_wedding(wedding_id, '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10') FROM guestcomms.list_weddings();
See also: add_guest_to_wedding, list_wedding_guests$$;

CREATE FUNCTION guestcomms.list_wedding_guests(wedding_id uuid, rsvp text DEFAULT NULL, party text DEFAULT NULL, max_rows integer DEFAULT 200, after uuid DEFAULT NULL)
RETURNS TABLE (guest_id uuid, display_name text, guest_party text, guest_role text, guest_rsvp text, rsvp_at timestamptz, email text, phone text, language text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_after_name text := (SELECT lower(coalesce(g.display_name, '')) FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = list_wedding_guests.after);
BEGIN
    PERFORM guestcomms_internal.require_max_rows(list_wedding_guests.max_rows, 1000);
    IF list_wedding_guests.rsvp IS NOT NULL THEN
        PERFORM guestcomms_internal.require_rsvp(list_wedding_guests.rsvp);
    END IF;
    IF list_wedding_guests.after IS NOT NULL AND v_after_name IS NULL THEN
        PERFORM guestcomms_internal.refuse_guest(list_wedding_guests.after);
    END IF;
    RETURN QUERY
    SELECT p.guest_id, p.display_name, p.party, p.role, p.rsvp, p.rsvp_at,
        (SELECT a.address FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = v_tenant AND a.guest_id = p.guest_id AND a.channel = 'email' AND a.is_primary),
        (SELECT a.address FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = v_tenant AND a.guest_id = p.guest_id AND a.channel IN ('sms', 'whatsapp')
            ORDER BY a.is_primary DESC, a.channel, a.address LIMIT 1),
        p.language
    FROM (
        SELECT i.guest_id, g.display_name, i.party, i.role, i.rsvp, i.rsvp_at, g.language
        FROM guestcomms.wedding_guests AS i
        JOIN guestcomms.guests AS g ON g.tenant_id = i.tenant_id AND g.guest_id = i.guest_id
        WHERE i.tenant_id = v_tenant AND i.wedding_id = list_wedding_guests.wedding_id
            AND (list_wedding_guests.rsvp IS NULL OR i.rsvp = list_wedding_guests.rsvp) AND (list_wedding_guests.party IS NULL OR i.party = list_wedding_guests.party)
            AND (list_wedding_guests.after IS NULL OR (lower(coalesce(g.display_name, '')), g.guest_id) > (v_after_name, list_wedding_guests.after))
        -- All of one wedding are sorted, which are hundreds.
        ORDER BY lower(coalesce(g.display_name, '')), g.guest_id
        LIMIT list_wedding_guests.max_rows
    ) AS p
    ORDER BY lower(coalesce(p.display_name, '')), p.guest_id;
END $$;
COMMENT ON FUNCTION guestcomms.list_wedding_guests(uuid, text, text, integer, uuid) IS
$$The guests invited to a wedding, by name, with the addresses to use; only those with an answer (pending, yes, no or maybe) or of a party where that is given. For the next page, after is the last row's guest_id.
Example: SELECT i.display_name, i.guest_party, i.email FROM guestcomms.list_weddings() AS w CROSS JOIN LATERAL guestcomms.list_wedding_guests(w.wedding_id, rsvp => 'pending') AS i;
See also: add_guest_to_wedding, set_rsvp, list_weddings, search_guests$$;
