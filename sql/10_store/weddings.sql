-- Weddings and other events, and who is invited to them.
CREATE FUNCTION guestcomms_internal.require_wedding_values(name text, timezone text, place text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_problem text := CASE
        WHEN char_length(require_wedding_values.name) NOT BETWEEN 1 AND 200 THEN 'name must have 1 to 200 characters'
        WHEN require_wedding_values.timezone IS NOT NULL AND NOT guestcomms_internal.is_timezone(require_wedding_values.timezone) THEN 'timezone is not one of pg_timezone_names'
        WHEN char_length(require_wedding_values.place) > 500 THEN 'place is longer than 500 characters' END;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = v_problem,
            HINT = 'For example: add_wedding(''Zoë & Yusuf'', held_on => ''2027-06-12'', timezone => ''Europe/London'', place => ''Thistle Barn'').';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_wedding_values(text, text, text) IS 'An error for values that no wedding can have.';

CREATE FUNCTION guestcomms_internal.refuse_wedding(wedding_id uuid) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such wedding',
        DETAIL = 'wedding_id ' || coalesce(refuse_wedding.wedding_id::text, 'is missing') || '.',
        HINT = 'SELECT wedding_id, name FROM guestcomms.list_weddings();';
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_wedding(uuid) IS 'The error for a wedding that is not there.';

CREATE FUNCTION guestcomms_internal.require_rsvp(rsvp text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF coalesce(require_rsvp.rsvp NOT IN ('pending', 'yes', 'no', 'maybe'), true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'rsvp is not valid',
            DETAIL = format('%s characters were given.', coalesce(char_length(require_rsvp.rsvp), 0)), HINT = 'It is pending, yes, no or maybe.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_rsvp(text) IS 'An error for what is no answer to an invitation.';

CREATE FUNCTION guestcomms_internal.require_max_rows(max_rows integer, most integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF coalesce(require_max_rows.max_rows NOT BETWEEN 1 AND require_max_rows.most, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds',
            DETAIL = format('max_rows is %s.', coalesce(require_max_rows.max_rows::text, 'null')), HINT = format('Give a number from 1 to %s.', require_max_rows.most);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_max_rows(integer, integer) IS 'An error for a page of no rows, or of too many.';

CREATE FUNCTION guestcomms.add_wedding(name text, held_on date DEFAULT NULL, timezone text DEFAULT NULL, place text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_wedding uuid;
BEGIN
    PERFORM guestcomms_internal.require_wedding_values(coalesce(add_wedding.name, ''), add_wedding.timezone, add_wedding.place);
    INSERT INTO guestcomms.weddings AS w (tenant_id, name, held_on, timezone, place)
    VALUES (v_tenant, add_wedding.name, add_wedding.held_on, add_wedding.timezone, add_wedding.place)
    RETURNING w.wedding_id INTO v_wedding;
    RETURN v_wedding;
END $$;
COMMENT ON FUNCTION guestcomms.add_wedding(text, date, text, text) IS
$$Adds a wedding or another event that the tenant works on, and returns wedding_id. held_on: its day; timezone: of the place, where it differs from the tenant's.
Example: SELECT guestcomms.add_wedding('Zoë & Yusuf', held_on => '2027-06-12', timezone => 'Europe/London', place => 'Thistle Barn');
See also: update_wedding, list_weddings, add_guest_to_wedding$$;

CREATE FUNCTION guestcomms.update_wedding(wedding_id uuid, name text DEFAULT NULL, held_on date DEFAULT NULL, timezone text DEFAULT NULL, place text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF num_nonnulls(update_wedding.name, update_wedding.held_on, update_wedding.timezone, update_wedding.place) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'there is nothing to change',
            HINT = 'Give name, held_on (''infinity'' where the day is not known any more), timezone or place; an empty timezone or place removes it.';
    END IF;
    PERFORM guestcomms_internal.require_wedding_values(update_wedding.name, nullif(update_wedding.timezone, ''), update_wedding.place);
    UPDATE guestcomms.weddings AS w
    SET name = coalesce(update_wedding.name, w.name),
        held_on = CASE WHEN isfinite(update_wedding.held_on) THEN update_wedding.held_on WHEN update_wedding.held_on IS NULL THEN w.held_on END,
        timezone = CASE WHEN update_wedding.timezone IS NULL THEN w.timezone ELSE nullif(update_wedding.timezone, '') END,
        place = CASE WHEN update_wedding.place IS NULL THEN w.place ELSE nullif(update_wedding.place, '') END
    WHERE w.tenant_id = v_tenant AND w.wedding_id = update_wedding.wedding_id;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.refuse_wedding(update_wedding.wedding_id);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.update_wedding(uuid, text, date, text, text) IS
$$Changes a wedding. What is not given stays; an empty timezone or place removes it, and held_on => 'infinity' the day, which is then not known.
Example: SELECT guestcomms.update_wedding(wedding_id, held_on => '2027-06-19') FROM guestcomms.list_weddings() WHERE name = 'Zoë & Yusuf';
See also: add_wedding, list_weddings$$;

CREATE FUNCTION guestcomms.list_weddings(since date DEFAULT NULL, until date DEFAULT NULL, max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (wedding_id uuid, name text, held_on date, timezone text, place text, guest_count bigint, yes_count bigint, no_count bigint, open_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_after_day date;
    -- An index has no place for "unknown": such days come last.
    v_since date := coalesce(list_weddings.since, '-infinity');
BEGIN
    PERFORM guestcomms_internal.require_max_rows(list_weddings.max_rows, 1000);
    IF list_weddings.after IS NOT NULL THEN
        SELECT w.held_on INTO v_after_day FROM guestcomms.weddings AS w WHERE w.tenant_id = v_tenant AND w.wedding_id = list_weddings.after;
        IF NOT FOUND THEN
            PERFORM guestcomms_internal.refuse_wedding(list_weddings.after);
        END IF;
    END IF;
    RETURN QUERY
    SELECT p.wedding_id, p.name, p.held_on, p.timezone, p.place, count(i.guest_id), count(*) FILTER (WHERE i.rsvp = 'yes'),
        count(*) FILTER (WHERE i.rsvp = 'no'), count(*) FILTER (WHERE i.rsvp IN ('pending', 'maybe'))
    FROM (
        (SELECT w.* FROM guestcomms.weddings AS w
         WHERE w.tenant_id = v_tenant AND w.held_on >= v_since AND (list_weddings.until IS NULL OR w.held_on < list_weddings.until)
            AND (list_weddings.after IS NULL OR v_after_day IS NOT NULL AND (w.held_on, w.wedding_id) > (v_after_day, list_weddings.after))
         ORDER BY w.held_on, w.wedding_id LIMIT list_weddings.max_rows)
        UNION ALL
        (SELECT w.* FROM guestcomms.weddings AS w
         WHERE w.tenant_id = v_tenant AND w.held_on IS NULL AND num_nonnulls(list_weddings.since, list_weddings.until) = 0
            AND (list_weddings.after IS NULL OR v_after_day IS NOT NULL OR w.wedding_id > list_weddings.after)
         ORDER BY w.wedding_id LIMIT list_weddings.max_rows)
        ORDER BY held_on, wedding_id LIMIT list_weddings.max_rows
    ) AS p
    LEFT JOIN guestcomms.wedding_guests AS i ON i.tenant_id = v_tenant AND i.wedding_id = p.wedding_id
    GROUP BY p.wedding_id, p.name, p.held_on, p.timezone, p.place
    ORDER BY p.held_on, p.wedding_id;
END $$;
COMMENT ON FUNCTION guestcomms.list_weddings(date, date, integer, uuid) IS
$$The tenant's weddings that are held from since to before until, in the order of their days, with how many guests are invited, come, do not, and have not decided; those without a day come last, and only where no time is asked for. For the next page, after is the last row's wedding_id.
Example: SELECT name, held_on, guest_count, yes_count FROM guestcomms.list_weddings(since => current_date);
See also: add_wedding, list_wedding_guests$$;
