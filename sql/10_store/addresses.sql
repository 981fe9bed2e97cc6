-- Addresses as they are kept and compared. What is a + and digits already needs no more than string functions; only a number as
-- people write it at home goes to Python, whose first call costs a session some 25 ms.
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

CREATE FUNCTION guestcomms_internal.is_national_number(channel text, address text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Without a prefix of a country, or with the 0 in brackets that is dialled only within it.
RETURN coalesce(channel IN ('sms', 'whatsapp') AND char_length(address) <= 100 AND address ~ '[0-9]'
    AND (btrim(address) !~ '^(\+|00)' OR address ~ '\(\s*0\s*\)'), false);
COMMENT ON FUNCTION guestcomms_internal.is_national_number(text, text) IS 'Whether an address is a telephone number as it is written within a country.';

CREATE FUNCTION guestcomms_internal.international_numbers(numbers text[], region text) RETURNS text[]
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.phone_numbers import international
return [international(number, region) for number in numbers]
$$;
COMMENT ON FUNCTION guestcomms_internal.international_numbers(text[], text) IS
'Telephone numbers as they are written in a country, in E.164; NULL for what is none, and for all where the server lacks phonenumbers.';

CREATE FUNCTION guestcomms_internal.full_address(tenant_id uuid, channel text, address text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_number text;
BEGIN
    IF guestcomms_internal.is_national_number(full_address.channel, full_address.address) THEN
        v_number := (guestcomms_internal.international_numbers(ARRAY[full_address.address],
            (SELECT t.region FROM guestcomms.tenants AS t WHERE t.tenant_id = full_address.tenant_id)))[1];
    END IF;
    RETURN coalesce(v_number, full_address.address);
END $$;
COMMENT ON FUNCTION guestcomms_internal.full_address(uuid, text, text) IS 'An address with its country''s prefix, where it is a telephone number of the tenant''s country without one; else as it is.';

CREATE FUNCTION guestcomms_internal.require_address(tenant_id uuid, channel text, address text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_address text := guestcomms_internal.full_address(require_address.tenant_id, require_address.channel, require_address.address);
    v_problem text := guestcomms_internal.address_problem(require_address.channel, v_address);
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = v_problem,
            HINT = 'Channels: email (name@host), sms and whatsapp (+44 7700 900123: +, the country''s prefix, 4 to 15 digits in all; without a prefix it is of the tenant''s country, where store_capabilities() says that the server has phonenumbers), chat (any identifier).';
    END IF;
    RETURN guestcomms_internal.normalize_address(require_address.channel, v_address);
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_address(uuid, text, text) IS 'The address as the tenant keeps it; an error where it is none.';

CREATE FUNCTION guestcomms_internal.sister_channel(channel text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE channel WHEN 'sms' THEN 'whatsapp' WHEN 'whatsapp' THEN 'sms' END;
COMMENT ON FUNCTION guestcomms_internal.sister_channel(text) IS 'The other channel of the same telephone.';

CREATE FUNCTION guestcomms_internal.contact_key_v1(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- What stands behind a + in the name of a mailbox is the owner's own note; Google leaves out dots, too.
RETURN CASE WHEN address ~ '^[^@\s]+@[^@\s]+$' THEN CASE
        WHEN lower(address) ~ '@(gmail|googlemail)\.com$' THEN replace(regexp_replace(split_part(lower(address), '@', 1), '\+.*$', ''), '.', '') || '@gmail.com'
        ELSE regexp_replace(lower(address), '^([^@+]+)\+[^@]*@', '\1@') END
    WHEN address ~ '^\+?[0-9 ()./-]{7,25}$' THEN regexp_replace(address, '[^0-9+]', '', 'g')
    ELSE address END;
COMMENT ON FUNCTION guestcomms_internal.contact_key_v1(text, text) IS
'What addresses have in common that may be one person''s: a telephone number whatever the channel, an e-mail address without what its mailbox leaves out. Frozen: an index holds its results.';
