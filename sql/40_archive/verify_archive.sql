-- Proof of integrity: every byte is read, checked and counted.
CREATE FUNCTION guestcomms_internal.check_segment(tenant_id uuid, segment_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(check_segment.segment_id);
    v_segment record;
    v_content json;
    v_found record;
BEGIN
    SELECT s.first_sent_at, s.last_sent_at, s.guest_id, s.message_ids, s.thread_ids, s.event_count, s.detail_count, s.search INTO v_segment
    FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = check_segment.tenant_id AND s.segment_id = check_segment.segment_id AND s.first_sent_at >= v_since AND s.first_sent_at < v_since + interval '1 millisecond';
    v_content := guestcomms_internal.read_segment(check_segment.tenant_id, check_segment.segment_id);
    IF v_content IS NULL THEN
        RETURN 'Its identifier does not say when its first message was sent; by that it is looked for.';
    END IF;
    SELECT array_agg(m.message_id ORDER BY m.number) AS message_ids, array_agg(DISTINCT m.thread_id) AS thread_ids, min(m.sent_at) AS first_sent_at, max(m.sent_at) AS last_sent_at,
        array_to_tsvector(ARRAY(SELECT DISTINCT l.lexeme FROM guestcomms_internal.content_messages(check_segment.tenant_id, v_segment.guest_id, v_content) AS o
            CROSS JOIN LATERAL unnest(o.search) AS l)) AS search
    INTO v_found
    FROM guestcomms_internal.content_messages(check_segment.tenant_id, v_segment.guest_id, v_content) WITH ORDINALITY AS m (tenant_id, message_id, sent_at, thread_id, guest_id,
        wedding_id, campaign_id, direction, channel, status, purpose, language, subject, body, author, source, external_id, scheduled_at, read_at, edited_at, deleted_at,
        metadata, word_count, search, has_attachment, number);
    RETURN nullif(concat_ws(' ',
        CASE WHEN v_found.message_ids IS DISTINCT FROM v_segment.message_ids THEN 'Its messages are not those listed.' END,
        CASE WHEN v_found.thread_ids IS DISTINCT FROM v_segment.thread_ids THEN 'Its conversations are not those listed.' END,
        CASE WHEN (v_found.first_sent_at, v_found.last_sent_at) IS DISTINCT FROM (v_segment.first_sent_at, v_segment.last_sent_at) THEN 'Its times are not those listed.' END,
        CASE WHEN json_array_length(v_content -> 'events') <> v_segment.event_count THEN 'It holds another number of events.' END,
        CASE WHEN json_array_length(v_content -> 'versions') + json_array_length(v_content -> 'attachments') + json_array_length(v_content -> 'annotations') <> v_segment.detail_count
            THEN 'It holds another number of versions, attachments and annotations.' END,
        CASE WHEN v_found.search IS DISTINCT FROM v_segment.search THEN 'It is found by other words than it holds.' END,
        CASE WHEN EXISTS (SELECT FROM guestcomms.messages AS m WHERE m.tenant_id = check_segment.tenant_id AND m.message_id = ANY (v_segment.message_ids)
            AND m.sent_at >= v_segment.first_sent_at AND m.sent_at <= v_segment.last_sent_at) THEN 'Messages of it are in the hot tables, too.' END), '');
EXCEPTION
    WHEN data_corrupted THEN
        DECLARE
            v_detail text;
        BEGIN
            GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
            RETURN v_detail;
        END;
    WHEN feature_not_supported THEN
        RETURN 'It cannot be read without the Python package zstandard.';
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_segment(uuid, uuid) IS 'What is wrong with a segment; NULL where nothing is.';

CREATE FUNCTION guestcomms_internal.note_check(tenant_id uuid, segment_id uuid) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_detail text := guestcomms_internal.check_segment(note_check.tenant_id, note_check.segment_id);
BEGIN
    IF v_detail IS NOT NULL THEN
        SELECT format('%s It was written with %s messages and %s events of guest %s, sent from %s to %s: %s.', v_detail, s.message_count, s.event_count, s.guest_id,
            s.first_sent_at, s.last_sent_at, array_to_string(s.message_ids, ', ')) INTO v_detail
        FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = note_check.tenant_id AND s.segment_id = note_check.segment_id;
    END IF;
    INSERT INTO guestcomms.archive_checks AS c (tenant_id, segment_id, is_ok, detail)
    VALUES (note_check.tenant_id, note_check.segment_id, v_detail IS NULL, v_detail)
    ON CONFLICT ON CONSTRAINT archive_checks_pkey DO UPDATE SET checked_at = now(), is_ok = excluded.is_ok, detail = excluded.detail;
    RETURN v_detail;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_check(uuid, uuid) IS 'Checks a segment, keeps the result, and returns what is wrong and what the segment held; NULL where nothing is wrong.';

CREATE FUNCTION guestcomms.verify_archive(since timestamptz DEFAULT NULL, sample double precision DEFAULT 1)
RETURNS TABLE (segment_id uuid, is_ok boolean, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_segment record;
BEGIN
    IF coalesce(verify_archive.sample NOT BETWEEN 0 AND 1, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'sample is a share from 0 to 1', HINT = 'Leave it out for all segments.';
    END IF;
    FOR v_segment IN
        SELECT s.tenant_id, s.segment_id FROM guestcomms.archive_segments AS s
        WHERE (v_tenant IS NULL OR s.tenant_id = v_tenant) AND (verify_archive.since IS NULL OR s.archived_at >= verify_archive.since)
            AND (verify_archive.sample = 1 OR random() < verify_archive.sample)
        ORDER BY s.tenant_id, s.segment_id
    LOOP
        segment_id := v_segment.segment_id;
        detail := guestcomms_internal.note_check(v_segment.tenant_id, v_segment.segment_id);
        is_ok := detail IS NULL;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.verify_archive(timestamptz, double precision) IS
$$Reads segments of the archive, of the current tenant or of all where none is open, recomputes their checksums, decodes them and compares what they hold with what is listed; those written since a time, or a share of them by chance. A row for each; detail says what is wrong and which messages the segment held. One that is damaged does not stop the others. The latest check of each is kept in archive_checks; a job checks every segment once in archive.verify_every.
Example: SELECT segment_id, detail FROM guestcomms.verify_archive(sample => 0.1) WHERE NOT is_ok;
See also: read_archived, restore_messages, run_archive$$;

CREATE FUNCTION guestcomms_internal.verify_next() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_segment record;
    v_count bigint := 0;
BEGIN
    -- Those never checked, then those checked longest ago; in the order in which verify_archive() goes through them.
    FOR v_segment IN
        SELECT d.tenant_id, d.segment_id
        FROM (SELECT s.tenant_id, s.segment_id FROM guestcomms.archive_segments AS s
            LEFT JOIN guestcomms.archive_checks AS c ON c.tenant_id = s.tenant_id AND c.segment_id = s.segment_id
            WHERE c.checked_at IS NULL OR c.checked_at < now() - guestcomms_internal.setting('archive.verify_every')::interval
            ORDER BY c.checked_at NULLS FIRST LIMIT 1000) AS d
        ORDER BY d.tenant_id, d.segment_id
    LOOP
        v_count := v_count + 1;
        IF guestcomms_internal.note_check(v_segment.tenant_id, v_segment.segment_id) IS NOT NULL THEN
            RAISE WARNING USING ERRCODE = 'data_corrupted', MESSAGE = 'a segment of the archive is damaged', DETAIL = format('segment_id %s.', v_segment.segment_id),
                HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
        END IF;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.verify_next() IS 'A job''s work: the next thousand segments that are due for a check.';
