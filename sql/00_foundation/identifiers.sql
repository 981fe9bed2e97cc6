-- Identifiers. The bodies are parsed when they are created (RETURN), so they need no search_path and are inlined.
CREATE FUNCTION guestcomms.uuid_v7(at timestamptz DEFAULT clock_timestamp()) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid;
COMMENT ON FUNCTION guestcomms.uuid_v7(timestamptz) IS
$$A new UUID of version 7 (RFC 9562) whose first 48 bits are the millisecond of the given time. message_id and event_id are such, with the millisecond of sent_at and occurred_at; rows loaded by COPY must bring one.
Example: SELECT guestcomms.uuid_v7('2026-05-01 12:00+00');
See also: uuid_v7_time$$;

CREATE FUNCTION guestcomms.uuid_v7_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
-- By immutable functions only, or it would not be inlined (timestamptz + interval is stable); milliseconds are exact in a double.
RETURN to_timestamp(('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint / 1000::double precision);
COMMENT ON FUNCTION guestcomms.uuid_v7_time(uuid) IS
$$The millisecond written into a UUID of version 7: sent_at of a message_id, so that one partition is read instead of all.
Example: SELECT guestcomms.uuid_v7_time(guestcomms.uuid_v7(now()));
See also: uuid_v7$$;

CREATE FUNCTION guestcomms_internal.first_uuid_v7(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(substring(int8send(floor(extract(epoch FROM least(greatest(at, 'epoch'), '3000-01-01 00:00+00')) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea, 'hex')::uuid;
COMMENT ON FUNCTION guestcomms_internal.first_uuid_v7(timestamptz) IS 'A UUID below all of version 7 of that millisecond or later, and above those before.';

CREATE FUNCTION guestcomms_internal.store_level() RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid;
COMMENT ON FUNCTION guestcomms_internal.store_level() IS
'Stands for the store itself where a row belongs to no tenant (settings, audit entries of operators).';
