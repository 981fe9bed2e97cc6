-- A file of guests, from its lines to rows that can be stored: what each says, what is wrong with it, which are one guest.
CREATE TYPE guestcomms_internal.guest_row AS (
    row_number integer,
    group_number integer,    -- the first row that is of the same guest
    display_name text, email text, phone text, language text, timezone text, party text, role text, rsvp text,
    wedding_id uuid,
    problem text,
    record jsonb             -- the row by its headings
);
COMMENT ON TYPE guestcomms_internal.guest_row IS 'A row of a file of guests.';

CREATE FUNCTION guestcomms_internal.guest_row_problems() RETURNS TABLE (problem text, error_code text, error_message text, error_hint text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    VALUES
        ('fields', '22023', 'the row has more fields than there are headings', 'A field that holds the delimiter stands in quotation marks.'),
        ('nobody', '22004', 'the row has neither a name nor an address', 'Give at least one of them.'),
        ('name', '22001', 'the name is longer than 200 characters', 'Shorten it.'),
        ('email', '22023', 'email is no e-mail address', 'It is name@host.'),
        ('phone', '22023', 'phone is no telephone number', 'With its country''s prefix, as +44 7700 900123; without one it is of the tenant''s country, where store_capabilities() says that the server has phonenumbers.'),
        ('language', '22023', 'language is not an ISO 639-1 code', 'Two or three letters, such as en.'),
        ('timezone', '22023', 'timezone is not one of pg_timezone_names', 'Such as Europe/London.'),
        ('party', '22001', 'party or role is longer than 200 characters', 'Shorten it.'),
        ('rsvp', '22023', 'rsvp is not valid', 'It is yes, no, maybe or pending.'),
        ('wedding', '23503', 'there is no such wedding, or there are several', 'The name of one of the tenant''s weddings: add_wedding(); or leave the column out and give import_guests() a wedding_id.')
$$;
COMMENT ON FUNCTION guestcomms_internal.guest_row_problems() IS 'SQLSTATE, message and hint of every reason to refuse a row of a file of guests.';

CREATE FUNCTION guestcomms_internal.read_guest_file(lines text[], mapping jsonb) RETURNS jsonb
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.guest_file import read_guests
from guestcomms.problems import Problem
try:
    return read_guests(lines, mapping)
except Problem as problem:
    plpy.error(**problem.fields)
$$;
COMMENT ON FUNCTION guestcomms_internal.read_guest_file(text[], jsonb) IS 'The rows of a CSV file by what its headings mean, and the headings that mean nothing.';

CREATE FUNCTION guestcomms_internal.group_guest_rows(emails text[], phones text[]) RETURNS integer[]
LANGUAGE plpython3u IMMUTABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.guest_file import group_rows
return group_rows(emails, phones)
$$;
COMMENT ON FUNCTION guestcomms_internal.group_guest_rows(text[], text[]) IS 'The place of the first row that each has an address in common with.';

CREATE FUNCTION guestcomms_internal.wedding_names(tenant_id uuid, file jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
        SELECT jsonb_object_agg(n.folded, n.wedding_id) FROM (
            SELECT guestcomms_internal.folded_name_v1(w.name) AS folded, (array_agg(w.wedding_id))[1] AS wedding_id
            FROM guestcomms.weddings AS w WHERE w.tenant_id = wedding_names.tenant_id AND wedding_names.file @? '$.rows[*].wedding'
            GROUP BY 1 HAVING count(*) = 1
        ) AS n);
END $$;
COMMENT ON FUNCTION guestcomms_internal.wedding_names(uuid, jsonb) IS 'Weddings by folded name, where only one has it and the file names any.';

CREATE FUNCTION guestcomms_internal.check_guest_rows(tenant_id uuid, file jsonb, wedding_id uuid) RETURNS guestcomms_internal.guest_row[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_weddings jsonb := guestcomms_internal.wedding_names(check_guest_rows.tenant_id, check_guest_rows.file);
    v_written text[] := ARRAY(SELECT DISTINCT r.phone FROM jsonb_to_recordset(check_guest_rows.file -> 'rows') AS r (phone text)
        WHERE guestcomms_internal.is_national_number('sms', r.phone));
    v_numbers jsonb;
    v_rows guestcomms_internal.guest_row[];
    v_groups integer[];
BEGIN
    IF cardinality(v_written) > 0 THEN
        -- All at once.
        SELECT jsonb_object_agg(p.written, p.number) INTO v_numbers
        FROM unnest(v_written, guestcomms_internal.international_numbers(v_written,
            (SELECT t.region FROM guestcomms.tenants AS t WHERE t.tenant_id = check_guest_rows.tenant_id))) AS p (written, number)
        WHERE p.number IS NOT NULL;
    END IF;
    SELECT array_agg(ROW(c.row, NULL, c.display_name, guestcomms_internal.normalize_address('email', c.email), guestcomms_internal.normalize_address('sms', c.number), c.language,
            c.timezone, c.party, c.role, c.rsvp, coalesce(c.named_wedding, check_guest_rows.wedding_id),
            CASE WHEN c.problem IS NOT NULL THEN c.problem
                WHEN num_nonnulls(c.display_name, c.email, c.phone) = 0 THEN 'nobody'
                WHEN char_length(c.display_name) > 200 THEN 'name'
                WHEN c.email IS NOT NULL AND guestcomms_internal.address_problem('email', c.email) IS NOT NULL THEN 'email'
                WHEN c.phone IS NOT NULL AND guestcomms_internal.address_problem('sms', c.number) IS NOT NULL THEN 'phone'
                WHEN c.language !~ '^[a-z]{2,3}$' THEN 'language'
                WHEN c.timezone IS NOT NULL AND NOT guestcomms_internal.is_timezone(c.timezone) THEN 'timezone'
                WHEN greatest(char_length(c.party), char_length(c.role)) > 200 THEN 'party'
                WHEN c.rsvp NOT IN ('pending', 'yes', 'no', 'maybe') THEN 'rsvp'
                WHEN c.wedding IS NOT NULL AND c.named_wedding IS NULL THEN 'wedding' END,
            c.record)::guestcomms_internal.guest_row ORDER BY c.row)
    INTO v_rows
    FROM (
        SELECT r.*, coalesce(v_numbers ->> r.phone, r.phone) AS number, (v_weddings ->> guestcomms_internal.folded_name_v1(r.wedding))::uuid AS named_wedding
        FROM jsonb_to_recordset(check_guest_rows.file -> 'rows') AS r (row integer, problem text, record jsonb, display_name text, email text, phone text, language text,
            timezone text, party text, role text, rsvp text, wedding text)
    ) AS c;
    -- A row that is refused brings no addresses together.
    v_groups := guestcomms_internal.group_guest_rows(ARRAY(SELECT CASE WHEN r.problem IS NULL THEN r.email END FROM unnest(v_rows) AS r ORDER BY r.row_number),
        ARRAY(SELECT CASE WHEN r.problem IS NULL THEN r.phone END FROM unnest(v_rows) AS r ORDER BY r.row_number));
    RETURN ARRAY(
        SELECT ROW(r.row_number, (v_rows[v_groups[r.place]]).row_number, r.display_name, r.email, r.phone, r.language, r.timezone, r.party, r.role, r.rsvp, r.wedding_id,
            r.problem, r.record)::guestcomms_internal.guest_row
        FROM unnest(v_rows) WITH ORDINALITY AS r (row_number, group_number, display_name, email, phone, language, timezone, party, role, rsvp, wedding_id, problem, record, place)
        ORDER BY r.place);
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_guest_rows(uuid, jsonb, uuid) IS
'The rows of a file with addresses as they are kept, the wedding that each is for, what is wrong with it, and which are of one guest.';
