-- Segments: from rows to bytes and back. The rows travel as JSON whose times are microseconds and whose numbers are texts, so
-- that nothing is rounded on the way.
CREATE TYPE guestcomms_internal.packed_segment AS (
    content json,            -- what was packed, as it reads from payload
    codec text,
    level smallint,
    dictionary_id uuid,
    plain_bytes integer,
    predicted_bytes integer,
    plain_sha256 bytea,
    stored_sha256 bytea,
    payload bytea,
    trials jsonb             -- what other codecs made of it, where that was tried
);
COMMENT ON TYPE guestcomms_internal.packed_segment IS 'A segment about to be stored.';
CREATE TYPE guestcomms_internal.archived_message AS (
    tenant_id uuid, message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, wedding_id uuid, campaign_id uuid, direction text, channel text,
    status text, purpose text, language text, subject text, body text, author text, source text, external_id text, scheduled_at timestamptz,
    read_at timestamptz, edited_at timestamptz, deleted_at timestamptz, metadata jsonb, word_count integer, search tsvector,
    has_attachment boolean
);
COMMENT ON TYPE guestcomms_internal.archived_message IS 'A message out of a segment, with the columns of messages, and whether something is attached to it there.';

CREATE FUNCTION guestcomms_internal.to_microseconds(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN at = 'infinity'::timestamptz THEN 9223372036854775807 WHEN at = '-infinity'::timestamptz THEN -9223372036854775808
    -- The last years that PostgreSQL knows do not fit, and go around to numbers that are of no time.
    ELSE (extract(epoch FROM at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000 + 946684800000000
        - CASE WHEN at >= '294247-01-10 04:00:54.775808+00'::timestamptz THEN 18446744073709551616 ELSE 0 END)::bigint END;
COMMENT ON FUNCTION guestcomms_internal.to_microseconds(timestamptz) IS 'A time as microseconds since 1970, the infinities as the ends of what fits.';

CREATE FUNCTION guestcomms_internal.from_microseconds(microseconds bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE microseconds WHEN 9223372036854775807 THEN 'infinity'::timestamptz WHEN -9223372036854775808 THEN '-infinity'::timestamptz
    ELSE CASE WHEN microseconds < -1000000000000000000 THEN '294247-01-10 04:00:54.775808+00'::timestamptz ELSE '1970-01-01 00:00:00+00'::timestamptz END
        -- In two parts, each of which a double holds exactly.
        + (CASE WHEN microseconds < -1000000000000000000 THEN microseconds + 9223372036854775807 + 1 ELSE microseconds END / 86400000000) * interval '24 hours'
        + (CASE WHEN microseconds < -1000000000000000000 THEN microseconds + 9223372036854775807 + 1 ELSE microseconds END % 86400000000) * interval '1 microsecond' END;
COMMENT ON FUNCTION guestcomms_internal.from_microseconds(bigint) IS 'Inverse of to_microseconds().';

CREATE FUNCTION guestcomms_internal.pack_segments(tenant_id uuid, guest_id uuid, contents json[], dictionary_id uuid, dictionary_age double precision, codec text, parameters jsonb)
RETURNS SETOF guestcomms_internal.packed_segment
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.archive import load_dictionary, pack_segments
return pack_segments(tenant_id, guest_id, contents, load_dictionary(plpy, GD, tenant_id, dictionary_id), dictionary_id, dictionary_age, codec, parameters)
$$;
COMMENT ON FUNCTION guestcomms_internal.pack_segments(uuid, uuid, json[], uuid, double precision, text, jsonb) IS
'Messages of one guest, out of the tables or of other segments, as new segments in order of time; each was read back and compared.';

CREATE FUNCTION guestcomms_internal.unpack_payload(tenant_id uuid, guest_id uuid, payload bytea, message_ids uuid[], codec text, dictionary_id uuid, plain_sha256 bytea, stored_sha256 bytea,
    only_messages boolean) RETURNS json
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.archive import DamagedSegment, load_dictionary, unpack_payload
try:
    return unpack_payload(tenant_id, guest_id, payload, message_ids, codec, load_dictionary(plpy, GD, tenant_id, dictionary_id), plain_sha256, stored_sha256, only_messages)
except ImportError:
    plpy.error("reading this segment takes the Python package zstandard", sqlstate="0A000", hint="Install it on the server; Debian: python3-zstandard.")
except DamagedSegment as damage:
    plpy.error("the segment is damaged", sqlstate="XX001", detail=str(damage), hint="SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok; and a backup has it.")
$$;
COMMENT ON FUNCTION guestcomms_internal.unpack_payload(uuid, uuid, bytea, uuid[], text, uuid, bytea, bytea, boolean) IS
'The content of a segment as JSON, or of it what a search looks at; anything that is not as it was stored is an error XX001.';

CREATE FUNCTION guestcomms_internal.read_segment(tenant_id uuid, segment_id uuid, is_tolerant boolean DEFAULT false, only_messages boolean DEFAULT false) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(read_segment.segment_id);
    v_segment guestcomms.archive_segments;
BEGIN
    SELECT s.* INTO v_segment FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = read_segment.tenant_id AND s.segment_id = read_segment.segment_id
        AND s.first_sent_at >= v_since AND s.first_sent_at < v_since + interval '1 millisecond';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN guestcomms_internal.unpack_payload(v_segment.tenant_id, v_segment.guest_id, v_segment.payload, v_segment.message_ids, v_segment.codec, v_segment.dictionary_id,
        v_segment.plain_sha256, v_segment.stored_sha256, read_segment.only_messages);
EXCEPTION
    WHEN data_corrupted OR feature_not_supported THEN
        -- One damaged segment must not keep the others from being found, nor one whose codec is not installed; verify_archive() names it.
        IF read_segment.is_tolerant THEN
            RETURN NULL;
        END IF;
        RAISE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_segment(uuid, uuid, boolean, boolean) IS 'The content of a segment; of a damaged one NULL, where that is tolerated.';

CREATE FUNCTION guestcomms_internal.content_messages(tenant_id uuid, guest_id uuid, content json) RETURNS SETOF guestcomms_internal.archived_message
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 20 SET search_path FROM CURRENT
AS $$
DECLARE
    v_attached uuid[] := ARRAY(SELECT a.message_id FROM json_to_recordset(content_messages.content -> 'attachments') AS a (message_id uuid));
BEGIN
    RETURN QUERY
    SELECT content_messages.tenant_id, m.message_id, guestcomms_internal.from_microseconds(m.sent_at), m.thread_id, content_messages.guest_id,
        m.wedding_id, m.campaign_id, m.direction, m.channel, m.status, m.purpose, m.language, m.subject, m.body, m.author, m.source, m.external_id,
        guestcomms_internal.from_microseconds(m.scheduled_at), guestcomms_internal.from_microseconds(m.read_at),
        guestcomms_internal.from_microseconds(m.edited_at), guestcomms_internal.from_microseconds(m.deleted_at), m.metadata::jsonb,
        guestcomms_internal.message_word_count_v1(m.subject, m.body), guestcomms_internal.message_search_v1(m.language, m.subject, m.body),
        m.message_id = ANY (v_attached)
    FROM json_to_recordset(content_messages.content -> 'messages') AS m (message_id uuid, sent_at bigint, thread_id uuid, wedding_id uuid, campaign_id uuid,
        direction text, channel text, status text, purpose text, language text, subject text, body text, author text, source text, external_id text,
        scheduled_at bigint, read_at bigint, edited_at bigint, deleted_at bigint, metadata text);
END $$;
COMMENT ON FUNCTION guestcomms_internal.content_messages(uuid, uuid, json) IS 'The messages of a segment''s content, their vectors computed anew.';

CREATE FUNCTION guestcomms_internal.find_segments(tenant_id uuid, message_ids uuid[]) RETURNS TABLE (segment_id uuid, first_sent_at timestamptz, guest_id uuid, found_ids uuid[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_keys integer[] := ARRAY(SELECT DISTINCT guestcomms_internal.segment_key_v1(i.id, false) FROM unnest(find_segments.message_ids) AS i (id));
    -- A segment has begun when its messages were sent; later ones need not be looked through.
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(find_segments.message_ids) AS i (id));
BEGIN
    IF cardinality(v_keys) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT s.segment_id, s.first_sent_at, s.guest_id, ARRAY(SELECT unnest(s.message_ids) INTERSECT SELECT unnest(find_segments.message_ids))
    FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = find_segments.tenant_id AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && v_keys
        AND s.message_ids && find_segments.message_ids AND s.first_sent_at < v_last;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_segments(uuid, uuid[]) IS 'The segments that hold any of these messages, and which.';

CREATE FUNCTION guestcomms_internal.list_archived(tenant_id uuid, message_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT i.id FROM guestcomms_internal.find_segments(list_archived.tenant_id, list_archived.message_ids) AS s CROSS JOIN LATERAL unnest(s.found_ids) AS i (id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_archived(uuid, uuid[]) IS 'Those of the messages that are archived.';

CREATE FUNCTION guestcomms_internal.find_archived(tenant_id uuid, message_ids uuid[]) RETURNS SETOF guestcomms_internal.archived_message
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT m.*
    FROM guestcomms_internal.find_segments(find_archived.tenant_id, find_archived.message_ids) AS s
    CROSS JOIN LATERAL guestcomms_internal.content_messages(find_archived.tenant_id, s.guest_id,
        guestcomms_internal.read_segment(find_archived.tenant_id, s.segment_id, true, true)) AS m
    WHERE m.message_id = ANY (s.found_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_archived(uuid, uuid[]) IS 'Those of the messages that are archived, without those of damaged segments.';

CREATE FUNCTION guestcomms_internal.archived_messages(tenant_id uuid) RETURNS SETOF guestcomms_internal.archived_message
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT m.*
    FROM guestcomms.archive_segments AS s
    CROSS JOIN LATERAL guestcomms_internal.content_messages(s.tenant_id, s.guest_id, guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true, true)) AS m
    WHERE s.tenant_id = archived_messages.tenant_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.archived_messages(uuid) IS 'All archived messages of a tenant, for jobs that count from the beginning.';

CREATE TYPE guestcomms_internal.archived_event AS (
    event_id uuid, occurred_at timestamptz, message_id uuid, kind text, is_machine boolean, source text, external_id text, detail jsonb, recorded_at timestamptz
);
COMMENT ON TYPE guestcomms_internal.archived_event IS 'An event out of a segment.';

CREATE FUNCTION guestcomms_internal.content_events(content json) RETURNS SETOF guestcomms_internal.archived_event
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 40 SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT e.event_id, guestcomms_internal.from_microseconds(e.occurred_at), e.message_id, e.kind, e.is_machine, e.source, e.external_id, e.detail::jsonb,
        guestcomms_internal.from_microseconds(e.recorded_at)
    FROM json_to_recordset(content_events.content -> 'events') AS e (event_id uuid, occurred_at bigint, message_id uuid, kind text, is_machine boolean, source text,
        external_id text, detail text, recorded_at bigint);
END $$;
COMMENT ON FUNCTION guestcomms_internal.content_events(json) IS 'The events of a segment''s content.';
