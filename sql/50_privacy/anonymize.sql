-- Values in place of others, for views and copies of one's own: pseudonyms by a key for each tenant, fakes, bands, shifted times.
CREATE FUNCTION guestcomms_internal.pseudonym_key(tenant_id uuid) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN guestcomms_internal.hmac_sha256(uuid_send(pseudonym_key.tenant_id),
        (SELECT s.secret FROM guestcomms_internal.store_secrets AS s WHERE s.purpose = 'pseudonyms' AND s.key_id = '1'));
END $$;
COMMENT ON FUNCTION guestcomms_internal.pseudonym_key(uuid) IS
'The key of a tenant''s pseudonyms, out of a secret that is in no dump: whoever has a copy of the rows alone cannot try out values.';

CREATE FUNCTION guestcomms_internal.keyed_fake_name(key bytea, value text) RETURNS text
LANGUAGE plpython3u IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.pseudonyms import fake_name
return fake_name(key, value)
$$;
COMMENT ON FUNCTION guestcomms_internal.keyed_fake_name(bytea, text) IS 'A name of nobody, the same for the same key and value.';

CREATE FUNCTION guestcomms_internal.keyed_fake_address(key bytea, channel text, value text) RETURNS text
LANGUAGE plpython3u IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.pseudonyms import UnknownChannel, fake_address
try:
    return fake_address(key, channel, value)
except UnknownChannel as error:
    plpy.error("there is no such channel", sqlstate="22023", hint=str(error))
$$;
COMMENT ON FUNCTION guestcomms_internal.keyed_fake_address(bytea, text, text) IS 'An address that reaches nobody, the same for the same key, channel and value.';

CREATE FUNCTION guestcomms_internal.keyed_shift_days(key bytea, subject text) RETURNS integer
LANGUAGE plpython3u IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.pseudonyms import shift_days
return shift_days(key, subject)
$$;
COMMENT ON FUNCTION guestcomms_internal.keyed_shift_days(bytea, text) IS 'By how many days the times of a subject are shifted: whole weeks into the past.';

CREATE FUNCTION guestcomms.pseudonymize(value text, purpose text DEFAULT '') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED STRICT SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    -- The length keeps purpose and value apart, and 'value' keeps both apart from what the fakes are made of.
    RETURN encode(substring(guestcomms_internal.hmac_sha256(
        convert_to(format('value|%s|%s%s', octet_length(pseudonymize.purpose), pseudonymize.purpose, pseudonymize.value), 'UTF8'),
        guestcomms_internal.pseudonym_key(v_tenant)) FROM 1 FOR 16), 'hex');
END $$;
COMMENT ON FUNCTION guestcomms.pseudonymize(text, text) IS
$$32 hexadecimal digits in place of a value: the same for the same value and purpose within a tenant, others for another purpose or tenant, and nothing that could be turned back (HMAC-SHA256 by a key that is in no dump). Upper and lower case and spaces matter. Whoever may call this can find a value by trying out: give others the results, not the function.
Example: SELECT guestcomms.pseudonymize('zoe@example.com', purpose => 'survey of May');
See also: fake_name, fake_address, rotate_pseudonym_key$$;

CREATE FUNCTION guestcomms.fake_name(value text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED STRICT SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN guestcomms_internal.keyed_fake_name(guestcomms_internal.pseudonym_key(v_tenant), fake_name.value);
END $$;
COMMENT ON FUNCTION guestcomms.fake_name(text) IS
$$A given name and a family name in place of a name, the same for the same name within a tenant, in whatever case; none of its words is one of the name's. Two names may get the same one: there are some 17,000.
Example: SELECT guestcomms.fake_name('Zoë Kaya');
See also: fake_address, pseudonymize, rotate_pseudonym_key$$;

CREATE FUNCTION guestcomms.fake_address(channel text, value text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED STRICT SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN guestcomms_internal.keyed_fake_address(guestcomms_internal.pseudonym_key(v_tenant), fake_address.channel, fake_address.value);
END $$;
COMMENT ON FUNCTION guestcomms.fake_address(text, text) IS
$$An address that reaches nobody in place of one, the same for the same address within a tenant: e-mail at example.com or example.org, for sms and whatsapp a telephone number out of those reserved for fiction (+1, an area code, 555 01, six digits), for chat 32 hexadecimal digits. Two e-mail or chat addresses do not get the same one; telephone numbers are chosen out of 720 million, so of 10,000 two get the same one in 7 of 100 cases.
Example: SELECT guestcomms.fake_address('email', 'zoe@example.com');
See also: fake_name, pseudonymize, rotate_pseudonym_key$$;

CREATE FUNCTION guestcomms.shift_date(at timestamptz, subject text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED STRICT SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN shift_date.at + make_interval(days => guestcomms_internal.keyed_shift_days(guestcomms_internal.pseudonym_key(v_tenant), shift_date.subject));
END $$;
COMMENT ON FUNCTION guestcomms.shift_date(timestamptz, text) IS
$$A time some weeks before, from 1 to 25, the same number for all times of a subject within a tenant: the distances between them, the day of the week and the hour by the session's time zone stay.
Example: SELECT guestcomms.shift_date(g.created_at, subject => g.guest_id::text) FROM guestcomms.guests AS g;
See also: generalize, pseudonymize, rotate_pseudonym_key$$;

CREATE FUNCTION guestcomms.rotate_pseudonym_key() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms_internal.store_secrets AS s SET secret = guestcomms_internal.random_bytes(32), created_at = clock_timestamp()
    WHERE s.purpose = 'pseudonyms';
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'rotate_pseudonym_key', 'key 1');
END $$;
COMMENT ON FUNCTION guestcomms.rotate_pseudonym_key() IS
$$Makes a new key for the pseudonyms, fakes and shifts of all tenants. What was made before stays as it is, but nobody can make it anew: no value can be tried out against it, and later copies do not match it.
Example: SELECT guestcomms.rotate_pseudonym_key();
See also: pseudonymize, fake_name, fake_address, shift_date$$;

CREATE FUNCTION guestcomms.generalize(value numeric, width numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
DECLARE
    v_above numeric;
BEGIN
    IF generalize.width <= 0 OR generalize.width IN ('NaN', 'Infinity') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a band must be wider than nothing', DETAIL = format('width is %s.', generalize.width),
            HINT = 'Give a number above 0, such as 10.';
    ELSIF generalize.value IN ('Infinity', '-Infinity') THEN
        RETURN generalize.value;
    END IF;
    -- By the remainder, which is exact; a quotient would be rounded.
    v_above := mod(generalize.value, generalize.width);
    RETURN generalize.value - v_above - CASE WHEN v_above < 0 THEN generalize.width ELSE 0 END;
END $$;
COMMENT ON FUNCTION guestcomms.generalize(numeric, numeric) IS
$$The beginning of the band of numbers that a number is in: of 37 in bands 10 wide, 30.
Example: SELECT guestcomms.generalize(37, 10);
See also: generalize_address, shift_date, k_anonymity$$;

CREATE FUNCTION guestcomms.generalize(at timestamptz, unit text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
BEGIN
    IF generalize.unit NOT IN ('day', 'week', 'month', 'quarter', 'year', 'decade') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there is no such unit',
            HINT = 'Units: day, week, month, quarter, year, decade.';
    END IF;
    RETURN date_trunc(generalize.unit, generalize.at);
END $$;
COMMENT ON FUNCTION guestcomms.generalize(timestamptz, text) IS
$$The beginning of the day, week, month, quarter, year or decade of a time or date, by the session's time zone.
Example: SELECT guestcomms.generalize(date '1987-05-14', 'year')::date;
See also: generalize_address, shift_date, k_anonymity$$;

CREATE FUNCTION guestcomms.generalize(value text, kept integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
AS $$
BEGIN
    IF generalize.kept < 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'kept must not be negative', DETAIL = format('kept is %s.', generalize.kept),
            HINT = 'Give how many characters stay, such as 2.';
    END IF;
    RETURN left(generalize.value, generalize.kept);
END $$;
COMMENT ON FUNCTION guestcomms.generalize(text, integer) IS
$$The first characters of a code, such as a postal code, whose beginning says the region.
Example: SELECT guestcomms.generalize('80331', 2);
See also: generalize_address, k_anonymity$$;

CREATE FUNCTION guestcomms.generalize_address(value inet) RETURNS cidr
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN network(set_masklen(value, least(masklen(value), CASE family(value) WHEN 4 THEN 24 ELSE 48 END)));
COMMENT ON FUNCTION guestcomms.generalize_address(inet) IS
$$The network that an address of the Internet is in: /24 of version 4, /48 of version 6, or larger where the value is one.
Example: SELECT guestcomms.generalize_address('192.0.2.77');
See also: generalize, k_anonymity$$;
