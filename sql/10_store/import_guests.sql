-- Guests from a file: the lines that were COPYed, their rows, and what becomes of each. In a few statements for all rows.
CREATE TYPE guestcomms_internal.guest_group AS (group_number integer, guest_id uuid, is_new boolean, other_owners uuid[]);
COMMENT ON TYPE guestcomms_internal.guest_group IS 'Rows of a file that are one guest, and which.';

CREATE FUNCTION guestcomms_internal.take_guest_lines(tenant_id uuid) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- This transaction's file, else the newest.
    v_load xid8 := coalesce(
        (SELECT l.load_id FROM guestcomms.import_guest_lines AS l WHERE l.tenant_id = take_guest_lines.tenant_id AND l.load_id = pg_current_xact_id_if_assigned() LIMIT 1),
        (SELECT l.load_id FROM guestcomms.import_guest_lines AS l WHERE l.tenant_id = take_guest_lines.tenant_id ORDER BY l.line_number DESC LIMIT 1));
    v_lines text[];
BEGIN
    WITH taken AS (
        DELETE FROM guestcomms.import_guest_lines AS l WHERE l.tenant_id = take_guest_lines.tenant_id AND l.load_id = v_load RETURNING l.line_number, l.line
    )
    SELECT array_agg(t.line ORDER BY t.line_number) INTO v_lines FROM taken AS t;
    IF v_lines IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'no file of guests has been loaded', DETAIL = 'guestcomms.import_guest_lines has no lines of this tenant.',
            HINT = 'In psql: \copy guestcomms.import_guest_lines (line) FROM guests.csv WITH (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')';
    END IF;
    RETURN v_lines;
END $$;
COMMENT ON FUNCTION guestcomms_internal.take_guest_lines(uuid) IS 'Takes the lines of a file out of the staging table, in order; an error where there is none.';

CREATE FUNCTION guestcomms_internal.row_addresses(rows guestcomms_internal.guest_row[]) RETURNS TABLE (row_number integer, group_number integer, place integer, channel text, address text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT r.row_number, r.group_number, a.place, a.channel, a.address
    FROM unnest(row_addresses.rows) AS r
    CROSS JOIN LATERAL (VALUES (1, 'email', r.email), (2, 'sms', r.phone), (3, 'whatsapp', r.phone)) AS a (place, channel, address)
    WHERE r.problem IS NULL AND a.address IS NOT NULL
$$;
COMMENT ON FUNCTION guestcomms_internal.row_addresses(guestcomms_internal.guest_row[]) IS 'The addresses in a file, by channel: a telephone is reached by SMS and by WhatsApp.';

CREATE FUNCTION guestcomms_internal.assign_guests(tenant_id uuid, rows guestcomms_internal.guest_row[]) RETURNS guestcomms_internal.guest_group[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    RETURN (
        WITH owner AS MATERIALIZED (
            -- The fence (OFFSET 0): under row security only bare columns reach the index.
            SELECT a.group_number, a.row_number, a.place, o.guest_id
            FROM (SELECT * FROM guestcomms_internal.row_addresses(assign_guests.rows) OFFSET 0) AS a
            CROSS JOIN LATERAL (
                SELECT coalesce(g.merged_into, g.guest_id) AS guest_id
                FROM guestcomms.guest_addresses AS k
                JOIN guestcomms.guests AS g ON g.tenant_id = k.tenant_id AND g.guest_id = k.guest_id
                WHERE k.tenant_id = assign_guests.tenant_id AND k.channel = a.channel AND k.address = a.address
                OFFSET 0
            ) AS o
        ), known AS (
            SELECT o.group_number, (array_agg(o.guest_id ORDER BY o.row_number, o.place))[1] AS guest_id, array_agg(DISTINCT o.guest_id) AS owners
            FROM owner AS o GROUP BY o.group_number
        )
        SELECT array_agg(ROW(n.group_number, coalesce(k.guest_id, gen_random_uuid()), k.guest_id IS NULL, array_remove(k.owners, k.guest_id))::guestcomms_internal.guest_group ORDER BY n.group_number)
        FROM (SELECT DISTINCT r.group_number FROM unnest(assign_guests.rows) AS r WHERE r.problem IS NULL) AS n
        LEFT JOIN known AS k ON k.group_number = n.group_number);
END $$;
COMMENT ON FUNCTION guestcomms_internal.assign_guests(uuid, guestcomms_internal.guest_row[]) IS 'The guest that each group of rows is: who has one of its addresses, or a new one.';

CREATE FUNCTION guestcomms_internal.store_guest_rows(tenant_id uuid, rows guestcomms_internal.guest_row[], groups guestcomms_internal.guest_group[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests jsonb := (SELECT jsonb_object_agg(g.group_number, g.guest_id) FROM unnest(store_guest_rows.groups) AS g);
    v_count bigint;
BEGIN
    -- Guests before their addresses and invitations, in order, as everybody who writes to several.
    PERFORM FROM guestcomms.guests AS g
    WHERE g.tenant_id = store_guest_rows.tenant_id AND g.guest_id = ANY (ARRAY(SELECT n.guest_id FROM unnest(store_guest_rows.groups) AS n WHERE NOT n.is_new))
    ORDER BY g.guest_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = store_guest_rows.tenant_id
        AND g.guest_id = ANY (ARRAY(SELECT n.guest_id FROM unnest(store_guest_rows.groups) AS n WHERE NOT n.is_new)) AND g.merged_into IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'another session has just merged a guest of the file', DETAIL = 'Nothing was imported.', HINT = 'Run the transaction again.';
    END IF;
    WITH said AS (
        -- Of several rows the first that says it.
        SELECT r.group_number, (array_agg(r.display_name ORDER BY r.row_number) FILTER (WHERE r.display_name IS NOT NULL))[1] AS display_name,
            (array_agg(r.language ORDER BY r.row_number) FILTER (WHERE r.language IS NOT NULL))[1] AS language,
            (array_agg(r.timezone ORDER BY r.row_number) FILTER (WHERE r.timezone IS NOT NULL))[1] AS timezone
        FROM unnest(store_guest_rows.rows) AS r WHERE r.problem IS NULL GROUP BY r.group_number
    ), added AS (
        INSERT INTO guestcomms.guests (tenant_id, guest_id, display_name, language, timezone)
        SELECT store_guest_rows.tenant_id, g.guest_id, s.display_name, s.language, s.timezone
        FROM unnest(store_guest_rows.groups) AS g JOIN said AS s ON s.group_number = g.group_number
        WHERE g.is_new
    )
    -- Who is known keeps what is known.
    UPDATE guestcomms.guests AS o
    SET display_name = coalesce(o.display_name, s.display_name), language = coalesce(o.language, s.language), timezone = coalesce(o.timezone, s.timezone), updated_at = clock_timestamp()
    FROM unnest(store_guest_rows.groups) AS g JOIN said AS s ON s.group_number = g.group_number
    WHERE NOT g.is_new AND o.tenant_id = store_guest_rows.tenant_id AND o.guest_id = g.guest_id
        AND (o.display_name IS NULL AND s.display_name IS NOT NULL OR o.language IS NULL AND s.language IS NOT NULL OR o.timezone IS NULL AND s.timezone IS NOT NULL);

    -- In the order of the key, or overlapping imports deadlock.
    INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id, is_primary)
    SELECT store_guest_rows.tenant_id, a.channel, a.address, a.guest_id, a.number = 1 AND NOT EXISTS (SELECT FROM guestcomms.guest_addresses AS p
        WHERE p.tenant_id = store_guest_rows.tenant_id AND p.guest_id = a.guest_id AND p.channel = a.channel AND p.is_primary)
    FROM (
        SELECT u.channel, u.address, u.guest_id, row_number() OVER (PARTITION BY u.guest_id, u.channel ORDER BY u.row_number) AS number
        FROM (SELECT n.channel, n.address, (v_guests ->> n.group_number::text)::uuid AS guest_id, min(n.row_number) AS row_number
            FROM guestcomms_internal.row_addresses(store_guest_rows.rows) AS n GROUP BY 1, 2, 3) AS u
    ) AS a
    ORDER BY a.channel, a.address
    ON CONFLICT ON CONSTRAINT guest_addresses_pkey DO NOTHING;
    -- Addresses that somebody else took meanwhile would make two guests of one.
    IF EXISTS (SELECT FROM guestcomms_internal.row_addresses(store_guest_rows.rows) AS n
        JOIN unnest(store_guest_rows.groups) AS g ON g.group_number = n.group_number AND g.is_new
        WHERE (SELECT true FROM guestcomms.guest_addresses AS k
            WHERE k.tenant_id = store_guest_rows.tenant_id AND k.channel = n.channel AND k.address = n.address AND k.guest_id = g.guest_id) IS NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'another session has just added a guest of the file', DETAIL = 'Nothing was imported.', HINT = 'Run the transaction again.';
    END IF;

    INSERT INTO guestcomms.wedding_guests AS i (tenant_id, wedding_id, guest_id, party, role, rsvp, rsvp_at)
    SELECT DISTINCT ON (r.wedding_id, (v_guests ->> r.group_number::text)) store_guest_rows.tenant_id, r.wedding_id, (v_guests ->> r.group_number::text)::uuid, r.party, r.role,
        coalesce(r.rsvp, 'pending'), CASE WHEN r.rsvp <> 'pending' THEN now() END
    FROM unnest(store_guest_rows.rows) AS r
    WHERE r.problem IS NULL AND r.wedding_id IS NOT NULL
    ORDER BY r.wedding_id, (v_guests ->> r.group_number::text), r.row_number
    -- A file that says nothing of the answer does not take it back.
    ON CONFLICT ON CONSTRAINT wedding_guests_pkey DO UPDATE
    SET party = coalesce(excluded.party, i.party), role = coalesce(excluded.role, i.role), rsvp = CASE WHEN excluded.rsvp = 'pending' THEN i.rsvp ELSE excluded.rsvp END,
        rsvp_at = CASE WHEN excluded.rsvp IN ('pending', i.rsvp) THEN i.rsvp_at ELSE now() END;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.store_guest_rows(uuid, guestcomms_internal.guest_row[], guestcomms_internal.guest_group[]) IS
'Stores guests, addresses and invitations of the rows that are right; returns how many invitations there were.';

CREATE FUNCTION guestcomms_internal.report_duplicates(tenant_id uuid, rows guestcomms_internal.guest_row[], groups guestcomms_internal.guest_group[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_most CONSTANT integer := 1000;
    v_names text[] := ARRAY(SELECT DISTINCT guestcomms_internal.folded_name_v1(r.display_name)
        FROM unnest(report_duplicates.rows) AS r JOIN unnest(report_duplicates.groups) AS g ON g.group_number = r.group_number AND g.is_new
        WHERE r.problem IS NULL AND r.display_name IS NOT NULL LIMIT 5000);
BEGIN
    RETURN (
        WITH good_row AS (
            SELECT r.row_number, r.group_number, guestcomms_internal.folded_name_v1(r.display_name) AS folded, g.guest_id, g.is_new, g.other_owners
            FROM unnest(report_duplicates.rows) AS r JOIN unnest(report_duplicates.groups) AS g ON g.group_number = r.group_number
            WHERE r.problem IS NULL
        ), found AS (
            SELECT r.row_number, 'address of a known guest' AS reason, r.guest_id, NULL::integer AS other_row FROM good_row AS r WHERE NOT r.is_new
            UNION ALL
            SELECT r.row_number, 'addresses of several guests', o.guest_id, NULL FROM good_row AS r CROSS JOIN LATERAL unnest(r.other_owners) AS o (guest_id)
            UNION ALL
            SELECT r.row_number, 'address of an earlier row', NULL, r.group_number FROM good_row AS r WHERE r.row_number <> r.group_number
            UNION ALL
            SELECT r.row_number, 'name of a known guest', n.guest_id, NULL
            FROM guestcomms_internal.find_namesakes(report_duplicates.tenant_id, v_names) AS n JOIN good_row AS r ON r.folded = n.folded AND r.is_new
            UNION ALL
            SELECT r.row_number, 'name of an earlier row', NULL, r.first_row
            FROM (SELECT o.*, min(o.row_number) OVER (PARTITION BY o.folded) AS first_row, min(o.group_number) OVER (PARTITION BY o.folded) AS first_group
                FROM good_row AS o WHERE o.folded IS NOT NULL) AS r
            WHERE r.row_number <> r.first_row AND r.group_number <> r.first_group
        )
        SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('row', f.row_number, 'reason', f.reason, 'guest_id', f.guest_id, 'other_row', f.other_row)) ORDER BY f.row_number, f.reason), '[]')
        FROM (SELECT * FROM found ORDER BY row_number, reason, guest_id LIMIT v_most) AS f);
END $$;
COMMENT ON FUNCTION guestcomms_internal.report_duplicates(uuid, guestcomms_internal.guest_row[], guestcomms_internal.guest_group[]) IS
'Which rows of a file are of guests who are known, or of each other, and which only have their names.';

CREATE FUNCTION guestcomms.import_guests(mapping jsonb DEFAULT NULL, wedding_id uuid DEFAULT NULL, dry_run boolean DEFAULT false, on_error text DEFAULT 'skip')
RETURNS TABLE (row_count bigint, added_count bigint, known_count bigint, invited_count bigint, rejected_count bigint, rejects jsonb, duplicates jsonb, ignored_headings text[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_is_skipping boolean := guestcomms_internal.require_on_error(import_guests.on_error);
    v_file jsonb;
    v_rows guestcomms_internal.guest_row[];
    v_groups guestcomms_internal.guest_group[];
    v_first record;
BEGIN
    IF import_guests.wedding_id IS NOT NULL AND NOT EXISTS (SELECT FROM guestcomms.weddings AS w WHERE w.tenant_id = v_tenant AND w.wedding_id = import_guests.wedding_id) THEN
        PERFORM guestcomms_internal.refuse_wedding(import_guests.wedding_id);
    END IF;
    -- A dry run counts, too: it reads and checks as much.
    PERFORM guestcomms_internal.take_quota(v_tenant, 'import', 1);
    BEGIN
        v_file := guestcomms_internal.read_guest_file(guestcomms_internal.take_guest_lines(v_tenant), import_guests.mapping);
        v_rows := coalesce(guestcomms_internal.check_guest_rows(v_tenant, v_file, import_guests.wedding_id), '{}');
        SELECT r.row_number, p.* INTO v_first FROM unnest(v_rows) AS r JOIN guestcomms_internal.guest_row_problems() AS p ON p.problem = r.problem ORDER BY r.row_number LIMIT 1;
        IF FOUND AND NOT v_is_skipping THEN
            RAISE EXCEPTION USING ERRCODE = v_first.error_code, MESSAGE = v_first.error_message, DETAIL = format('Row %s.', v_first.row_number), HINT = v_first.error_hint;
        END IF;
        v_groups := coalesce(guestcomms_internal.assign_guests(v_tenant, v_rows), '{}');
        -- Before they are known themselves.
        duplicates := guestcomms_internal.report_duplicates(v_tenant, v_rows, v_groups);
        invited_count := guestcomms_internal.store_guest_rows(v_tenant, v_rows, v_groups);
        SELECT count(*), count(*) FILTER (WHERE r.problem IS NOT NULL),
            coalesce(jsonb_agg(jsonb_build_object('row', r.row_number, 'error_code', p.error_code, 'error_message', p.error_message, 'error_hint', p.error_hint, 'record', r.record)
                ORDER BY r.row_number) FILTER (WHERE r.problem IS NOT NULL AND r.problem_number <= 1000), '[]')
        INTO row_count, rejected_count, rejects
        FROM (SELECT u.*, count(u.problem) OVER (ORDER BY u.row_number) AS problem_number FROM unnest(v_rows) AS u) AS r
        LEFT JOIN guestcomms_internal.guest_row_problems() AS p ON p.problem = r.problem;
        SELECT count(*) FILTER (WHERE g.is_new), count(*) FILTER (WHERE NOT g.is_new) INTO added_count, known_count FROM unnest(v_groups) AS g;
        ignored_headings := ARRAY(SELECT h.heading FROM jsonb_array_elements_text(v_file -> 'ignored') AS h (heading));
        PERFORM guestcomms_internal.record_audit(v_tenant, 'import_guests', 'guests',
            jsonb_build_object('rows', row_count, 'added', added_count, 'known', known_count, 'invited', invited_count, 'rejected', rejected_count));
        IF import_guests.dry_run IS DISTINCT FROM false THEN
            -- All was done and checked; this takes it back, and variables stay.
            RAISE EXCEPTION USING ERRCODE = 'GC900', MESSAGE = 'dry run';
        END IF;
    EXCEPTION WHEN SQLSTATE 'GC900' THEN
        NULL;
    END;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION guestcomms.import_guests(jsonb, uuid, boolean, text) IS
$$Takes the CSV file whose lines were COPYed into guestcomms.import_guest_lines (this transaction's, else the newest) into the current tenant, and returns how many rows it had, how many guests were added and known, how many invitations there were, and which rows were refused and why. Columns go by their headings (name, first name, email, phone, language, party, role, rsvp, wedding and the like); mapping says what others mean: heading to column (display_name, first_name, last_name, email, phone, language, timezone, party, role, rsvp, wedding), null leaves one out. wedding_id: all are invited to that wedding, but for rows that name another. Rows with a common address are one guest, and who has it already keeps what is known; duplicates lists them, and those who only have the name of another. With dry_run all is checked and reported, nothing is stored, and the file stays; with on_error => 'abort' one bad row stops it. Counts against privacy.imports_per_hour.
Example: INSERT INTO guestcomms.import_guest_lines (line) VALUES ('Name,E-mail,Tisch'), ('Zoë Kaya,zoe@example.com,4'); SELECT added_count, rejects, duplicates FROM guestcomms.import_guests(mapping => '{"Tisch": "party"}', dry_run => true);
See also: find_duplicate_guests, add_guest_to_wedding, add_wedding, run_import, store_capabilities$$;
