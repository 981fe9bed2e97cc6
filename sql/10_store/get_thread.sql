-- A conversation, page by page, in either direction; with what the archive holds of it if asked.
CREATE TYPE guestcomms_internal.thread_message AS (
    message_id uuid, sent_at timestamptz, direction text, channel text, status text, author text, subject text, body text, language text,
    scheduled_at timestamptz, read_at timestamptz, edited_at timestamptz, deleted_at timestamptz, attachment_count integer, is_archived boolean
);
COMMENT ON TYPE guestcomms_internal.thread_message IS 'A message as a conversation shows it.';

CREATE FUNCTION guestcomms_internal.archived_page(tenant_id uuid, thread_id uuid, is_newest_first boolean, place_at timestamptz, place_id uuid, max_rows integer)
RETURNS guestcomms_internal.thread_message[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_segment record;
    v_content json;
    v_found guestcomms_internal.thread_message[] := ARRAY[]::guestcomms_internal.thread_message[];
    v_edge timestamptz;
BEGIN
    FOR v_segment IN
        SELECT s.segment_id, s.guest_id, s.first_sent_at, s.last_sent_at FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = archived_page.tenant_id AND s.thread_ids @> ARRAY[archived_page.thread_id]
            AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && ARRAY[guestcomms_internal.segment_key_v1(archived_page.thread_id, true)]
            AND CASE WHEN archived_page.is_newest_first THEN s.first_sent_at <= archived_page.place_at ELSE s.last_sent_at >= archived_page.place_at END
        ORDER BY CASE WHEN archived_page.is_newest_first THEN s.last_sent_at END DESC, CASE WHEN NOT archived_page.is_newest_first THEN s.first_sent_at END
    LOOP
        -- The page is full, and what is left lies behind it.
        EXIT WHEN archived_page.is_newest_first AND v_segment.last_sent_at < v_edge OR NOT archived_page.is_newest_first AND v_segment.first_sent_at > v_edge;
        v_content := guestcomms_internal.read_segment(archived_page.tenant_id, v_segment.segment_id, true);
        v_found := v_found || ARRAY(
            SELECT ROW(m.message_id, m.sent_at, m.direction, m.channel, m.status, m.author, m.subject, m.body, m.language, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at,
                (SELECT count(*) FROM json_to_recordset(v_content -> 'attachments') AS a (message_id uuid, deleted_at bigint)
                 WHERE a.message_id = m.message_id AND a.deleted_at IS NULL), true)::guestcomms_internal.thread_message
            FROM guestcomms_internal.content_messages(archived_page.tenant_id, v_segment.guest_id, v_content) AS m
            WHERE m.thread_id = archived_page.thread_id AND CASE WHEN archived_page.is_newest_first THEN (m.sent_at, m.message_id) < (archived_page.place_at, archived_page.place_id)
                ELSE (m.sent_at, m.message_id) > (archived_page.place_at, archived_page.place_id) END);
        v_found := guestcomms_internal.first_messages(v_found, archived_page.is_newest_first, archived_page.max_rows);
        v_edge := (v_found[archived_page.max_rows]).sent_at;
    END LOOP;
    RETURN v_found;
END $$;
COMMENT ON FUNCTION guestcomms_internal.archived_page(uuid, uuid, boolean, timestamptz, uuid, integer) IS
'The archived messages of a thread that come next behind a place; only segments that can hold some of them are opened.';

CREATE FUNCTION guestcomms_internal.first_messages(messages guestcomms_internal.thread_message[], is_newest_first boolean, max_rows integer)
RETURNS guestcomms_internal.thread_message[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF is_newest_first THEN
        RETURN ARRAY(SELECT m FROM unnest(messages) AS m ORDER BY m.sent_at DESC, m.message_id DESC LIMIT max_rows);
    END IF;
    RETURN ARRAY(SELECT m FROM unnest(messages) AS m ORDER BY m.sent_at, m.message_id LIMIT max_rows);
END $$;
COMMENT ON FUNCTION guestcomms_internal.first_messages(guestcomms_internal.thread_message[], boolean, integer) IS 'The first of some messages, in order.';

CREATE FUNCTION guestcomms_internal.hot_page(tenant_id uuid, thread_id uuid, is_newest_first boolean, place_at timestamptz, place_id uuid, max_rows integer)
RETURNS guestcomms_internal.thread_message[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    -- The time by itself, too, for by that partitions are left out.
    IF hot_page.is_newest_first THEN
        RETURN ARRAY(
            SELECT ROW(m.message_id, m.sent_at, m.direction, m.channel, m.status, m.author, m.subject, m.body, m.language, m.scheduled_at, m.read_at, m.edited_at,
                m.deleted_at, 0, false)::guestcomms_internal.thread_message
            FROM guestcomms.messages AS m
            WHERE m.tenant_id = hot_page.tenant_id AND m.thread_id = hot_page.thread_id AND m.sent_at <= hot_page.place_at
                AND (m.sent_at, m.message_id) < (hot_page.place_at, hot_page.place_id)
            ORDER BY m.sent_at DESC, m.message_id DESC LIMIT hot_page.max_rows);
    END IF;
    RETURN ARRAY(
        SELECT ROW(m.message_id, m.sent_at, m.direction, m.channel, m.status, m.author, m.subject, m.body, m.language, m.scheduled_at, m.read_at, m.edited_at,
            m.deleted_at, 0, false)::guestcomms_internal.thread_message
        FROM guestcomms.messages AS m
        WHERE m.tenant_id = hot_page.tenant_id AND m.thread_id = hot_page.thread_id AND m.sent_at >= hot_page.place_at
            AND (m.sent_at, m.message_id) > (hot_page.place_at, hot_page.place_id)
        ORDER BY m.sent_at, m.message_id LIMIT hot_page.max_rows);
END $$;
COMMENT ON FUNCTION guestcomms_internal.hot_page(uuid, uuid, boolean, timestamptz, uuid, integer) IS
'The messages of a thread, but for archived ones, that come next behind a place.';

CREATE FUNCTION guestcomms.get_thread(thread_id uuid, max_rows integer DEFAULT 50, before text DEFAULT NULL, sort text DEFAULT 'newest', include_archived boolean DEFAULT false)
RETURNS TABLE (message_id uuid, sent_at timestamptz, direction text, channel text, status text, author text, subject text, body text, language text,
    scheduled_at timestamptz, read_at timestamptz, edited_at timestamptz, deleted_at timestamptz, attachment_count integer, is_archived boolean, cursor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_is_newest_first boolean := get_thread.sort = 'newest';
    v_fingerprint text := left(md5(concat_ws('|', get_thread.thread_id, get_thread.sort, get_thread.include_archived)), 8);
    v_place guestcomms_internal.thread_place;
    v_messages guestcomms_internal.thread_message[];
BEGIN
    IF coalesce(get_thread.sort NOT IN ('newest', 'oldest'), true) OR coalesce(get_thread.max_rows NOT BETWEEN 1 AND 500, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'sort or max_rows is not valid',
            DETAIL = 'sort is newest or oldest; max_rows is from 1 to 500.', HINT = 'For more rows pass the last row''s cursor as before.';
    ELSIF NOT EXISTS (SELECT FROM guestcomms.threads AS t WHERE t.tenant_id = v_tenant AND t.thread_id = get_thread.thread_id) THEN
        PERFORM guestcomms_internal.raise_no_thread(get_thread.thread_id);
    END IF;
    v_place := guestcomms_internal.read_thread_cursor(get_thread.before, v_fingerprint);
    IF v_place IS NULL THEN
        v_place := ROW(false, CASE WHEN v_is_newest_first THEN 'infinity'::timestamptz ELSE '-infinity' END, guestcomms_internal.store_level())::guestcomms_internal.thread_place;
    END IF;
    v_messages := guestcomms_internal.hot_page(v_tenant, get_thread.thread_id, v_is_newest_first, v_place.at, v_place.thread_id, get_thread.max_rows);
    IF get_thread.include_archived THEN
        v_messages := guestcomms_internal.first_messages(v_messages || guestcomms_internal.archived_page(v_tenant, get_thread.thread_id, v_is_newest_first, v_place.at,
            v_place.thread_id, get_thread.max_rows), v_is_newest_first, get_thread.max_rows);
    END IF;
    RETURN QUERY
    SELECT m.message_id, m.sent_at, m.direction, m.channel, m.status, m.author, m.subject, m.body, m.language, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at,
        m.attachment_count + (SELECT count(*)::integer FROM guestcomms.attachments AS a
            WHERE a.tenant_id = v_tenant AND a.message_id = m.message_id AND a.deleted_at IS NULL),
        m.is_archived,
        guestcomms_internal.write_thread_cursor(ROW(false, m.sent_at, m.message_id)::guestcomms_internal.thread_place, v_fingerprint)
    FROM unnest(v_messages) WITH ORDINALITY AS m (message_id, sent_at, direction, channel, status, author, subject, body, language, scheduled_at, read_at, edited_at,
        deleted_at, attachment_count, is_archived, number)
    ORDER BY m.number;
END $$;
COMMENT ON FUNCTION guestcomms.get_thread(uuid, integer, text, text, boolean) IS
$$A conversation of the current tenant, newest messages first, or oldest first with sort => 'oldest'; the last row's cursor as before gives the next page, and messages that arrive meanwhile move none. Where a text was changed edited_at says when; where a message was withdrawn, deleted_at. attachment_count leaves out what is to be deleted. With include_archived the messages that the archive holds come in their places, unpacked, and is_archived is true for these; a damaged segment's are left out (verify_archive()).
Example: SELECT m.sent_at, m.direction, m.body FROM guestcomms.list_threads(max_rows => 1) AS t, guestcomms.get_thread(t.thread_id, max_rows => 30) AS m;
See also: list_threads, mark_read, search_messages, read_archived$$;
