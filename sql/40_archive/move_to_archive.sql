-- Into the archive: one transaction takes rows out of the hot tables, writes them as segments, reads these back and counts. A
-- crash leaves the one or the other. The statements here run as guestcomms_engine, for which the tables' triggers log nothing:
-- no message changes when it moves. What moved is logged as such.
CREATE TYPE guestcomms_internal.archive_move AS (message_count integer, event_count integer, segment_count integer, plain_bytes bigint, stored_bytes bigint);
COMMENT ON TYPE guestcomms_internal.archive_move IS 'What was moved, and the segments that were written for it.';
CREATE TYPE guestcomms_internal.guest_content AS (guest_id uuid, content json);
COMMENT ON TYPE guestcomms_internal.guest_content IS 'Content of segments, of one guest.';

CREATE FUNCTION guestcomms_internal.log_move(tenant_id uuid, operation text, message_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
    SELECT log_move.tenant_id, 'message', log_move.operation, min(guestcomms.uuid_v7_time(i.id)), max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond',
        array_agg(i.id ORDER BY i.id)
    FROM (SELECT u.id, (u.number - 1) / 10000 AS chunk FROM unnest(log_move.message_ids) WITH ORDINALITY AS u (id, number)) AS i
    GROUP BY i.chunk
$$;
COMMENT ON FUNCTION guestcomms_internal.log_move(uuid, text, uuid[]) IS 'Logs that messages were archived or restored.';

CREATE FUNCTION guestcomms_internal.log_removal(tenant_id uuid, messages guestcomms_internal.archived_message[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    -- As the trigger does for messages of the tables: who counts them takes them off again.
    WITH logged AS (
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT log_removal.tenant_id, 'message', 'delete', min(m.sent_at), max(m.sent_at), array_agg(m.message_id)
        FROM unnest(log_removal.messages) AS m HAVING count(*) > 0
        RETURNING seq
    )
    INSERT INTO guestcomms_internal.replaced_messages (tenant_id, message_id, seq, guest_id, wedding_id, campaign_id, language, subject, body, word_count, search)
    SELECT log_removal.tenant_id, m.message_id, l.seq, m.guest_id, m.wedding_id, m.campaign_id, m.language, m.subject, left(m.body, 20000), m.word_count, m.search
    FROM logged AS l CROSS JOIN unnest(log_removal.messages) AS m
$$;
COMMENT ON FUNCTION guestcomms_internal.log_removal(uuid, guestcomms_internal.archived_message[]) IS 'Logs that archived messages are gone for good.';

CREATE FUNCTION guestcomms_internal.take_details(tenant_id uuid, message_ids uuid[], guest_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off SET extra_float_digits = 1
AS $$
DECLARE
    v_contents guestcomms_internal.guest_content[];
BEGIN
    WITH owner AS MATERIALIZED (
        SELECT u.message_id, u.guest_id FROM unnest(take_details.message_ids, take_details.guest_ids) AS u (message_id, guest_id)
    ), event AS (
        DELETE FROM guestcomms.message_events AS e
        WHERE e.tenant_id = take_details.tenant_id AND e.message_id = ANY (take_details.message_ids)
        RETURNING e.*
    ), version AS (
        DELETE FROM guestcomms.message_versions AS v
        WHERE v.tenant_id = take_details.tenant_id AND v.message_id = ANY (take_details.message_ids)
        RETURNING v.*
    ), attachment AS (
        DELETE FROM guestcomms.attachments AS a
        WHERE a.tenant_id = take_details.tenant_id AND a.message_id = ANY (take_details.message_ids)
        RETURNING a.*
    ), annotation AS (
        DELETE FROM guestcomms.message_annotations AS n
        WHERE n.tenant_id = take_details.tenant_id AND n.message_id = ANY (take_details.message_ids)
        RETURNING n.*
    ), late AS (
        DELETE FROM guestcomms_internal.late_details AS d
        WHERE d.tenant_id = take_details.tenant_id AND d.message_id = ANY (take_details.message_ids)
    ), detail AS (
        SELECT e.message_id, 'events' AS kind, json_build_object('event_id', e.event_id, 'occurred_at', guestcomms_internal.to_microseconds(e.occurred_at),
            'message_id', e.message_id, 'kind', e.kind, 'is_machine', e.is_machine, 'source', e.source, 'external_id', e.external_id,
            'detail', e.detail::text, 'recorded_at', guestcomms_internal.to_microseconds(e.recorded_at)) AS content
        FROM event AS e
        UNION ALL
        SELECT v.message_id, 'versions', json_build_object('message_id', v.message_id, 'version_number', v.version_number, 'subject', v.subject, 'body', v.body,
            'replaced_at', guestcomms_internal.to_microseconds(v.replaced_at), 'replaced_by', v.replaced_by)
        FROM version AS v
        UNION ALL
        SELECT a.message_id, 'attachments', json_build_object('attachment_id', a.attachment_id, 'message_id', a.message_id, 'name', a.name,
            'media_type', a.media_type, 'byte_count', a.byte_count, 'sha256', encode(a.sha256, 'hex'), 'uri', a.uri,
            'created_at', guestcomms_internal.to_microseconds(a.created_at), 'deleted_at', guestcomms_internal.to_microseconds(a.deleted_at))
        FROM attachment AS a
        UNION ALL
        SELECT n.message_id, 'annotations', json_build_object('annotation_id', n.annotation_id, 'message_id', n.message_id, 'kind', n.kind,
            'value', n.value::text, 'confidence', n.confidence::text, 'annotator', n.annotator, 'created_at', guestcomms_internal.to_microseconds(n.created_at))
        FROM annotation AS n
    )
    SELECT array_agg(ROW(g.guest_id, g.content)::guestcomms_internal.guest_content) INTO v_contents
    FROM (
        SELECT k.guest_id, json_object_agg(k.kind, k.contents) AS content
        FROM (SELECT o.guest_id, d.kind, json_agg(d.content) AS contents FROM detail AS d JOIN owner AS o ON o.message_id = d.message_id GROUP BY o.guest_id, d.kind) AS k
        GROUP BY k.guest_id
    ) AS g;
    RETURN v_contents;
END $$;
COMMENT ON FUNCTION guestcomms_internal.take_details(uuid, uuid[], uuid[]) IS
'Removes what belongs to messages from the hot tables and returns it by guest; the messages are locked, so that no event comes to them meanwhile.';

CREATE FUNCTION guestcomms_internal.message_contents(tenant_id uuid, message_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off SET extra_float_digits = 1
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(message_contents.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(message_contents.message_ids) AS i (id));
BEGIN
    RETURN (
    SELECT array_agg(ROW(g.guest_id, g.content)::guestcomms_internal.guest_content)
    FROM (
        SELECT m.guest_id, json_build_object('messages', json_agg(json_build_object('message_id', m.message_id, 'sent_at', guestcomms_internal.to_microseconds(m.sent_at),
            'thread_id', m.thread_id, 'wedding_id', m.wedding_id, 'campaign_id', m.campaign_id, 'direction', m.direction, 'channel', m.channel, 'status', m.status,
            'purpose', m.purpose, 'language', m.language, 'subject', m.subject, 'body', m.body, 'author', m.author, 'source', m.source, 'external_id', m.external_id,
            'scheduled_at', guestcomms_internal.to_microseconds(m.scheduled_at), 'read_at', guestcomms_internal.to_microseconds(m.read_at),
            'edited_at', guestcomms_internal.to_microseconds(m.edited_at), 'deleted_at', guestcomms_internal.to_microseconds(m.deleted_at),
            'metadata', m.metadata::text))) AS content
        FROM guestcomms.messages AS m
        WHERE m.tenant_id = message_contents.tenant_id AND m.message_id = ANY (message_contents.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last
        GROUP BY m.guest_id
    ) AS g);
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_contents(uuid, uuid[]) IS 'Messages of the hot tables as content of segments, by guest.';

CREATE FUNCTION guestcomms_internal.open_segments(tenant_id uuid, segment_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET jit = off
AS $$
DECLARE
    v_contents guestcomms_internal.guest_content[];
    v_since timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(open_segments.segment_ids) AS i (id));
    v_until timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(open_segments.segment_ids) AS i (id));
BEGIN
    v_contents := (SELECT array_agg(ROW(i.guest_id, guestcomms_internal.read_segment(open_segments.tenant_id, i.segment_id))::guestcomms_internal.guest_content)
        FROM (
            SELECT s.guest_id, s.segment_id FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = open_segments.tenant_id AND s.segment_id = ANY (open_segments.segment_ids) AND s.first_sent_at >= v_since AND s.first_sent_at < v_until
            ORDER BY s.segment_id FOR UPDATE
        ) AS i);
    DELETE FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = open_segments.tenant_id AND s.segment_id = ANY (open_segments.segment_ids) AND s.first_sent_at >= v_since AND s.first_sent_at < v_until;
    DELETE FROM guestcomms.archive_checks AS c WHERE c.tenant_id = open_segments.tenant_id AND c.segment_id = ANY (open_segments.segment_ids);
    DELETE FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = open_segments.tenant_id AND t.segment_id = ANY (open_segments.segment_ids);
    RETURN v_contents;
END $$;
COMMENT ON FUNCTION guestcomms_internal.open_segments(uuid, uuid[]) IS
'Takes segments out of the archive and returns what is in them, by guest; a damaged one is an error, and all stay.';

CREATE FUNCTION guestcomms_internal.store_segments(tenant_id uuid, contents guestcomms_internal.guest_content[], codec text, OUT moved guestcomms_internal.archive_move)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET jit = off
AS $$
DECLARE
    v_dictionary record;
    v_parameters jsonb := guestcomms_internal.settings_of('archive', store_segments.tenant_id) || jsonb_build_object('predictor',
        (SELECT p.coefficients FROM guestcomms.archive_predictors AS p WHERE p.tenant_id = store_segments.tenant_id));
    v_guest record;
    v_packed guestcomms_internal.packed_segment;
    v_messages guestcomms_internal.archived_message[];
    v_segment uuid;
    v_events integer;
    v_details integer;
    v_count integer := 0;
    v_all_events integer := 0;
    v_segments integer := 0;
    v_plain bigint := 0;
    v_stored bigint := 0;
BEGIN
    SELECT d.dictionary_id, extract(epoch FROM now() - d.created_at) / 86400 AS age INTO v_dictionary
    FROM guestcomms.archive_dictionaries AS d WHERE d.tenant_id = store_segments.tenant_id ORDER BY d.version_number DESC LIMIT 1;
    FOR v_guest IN SELECT c.guest_id, array_agg(c.content) AS contents FROM unnest(store_segments.contents) AS c GROUP BY c.guest_id ORDER BY c.guest_id LOOP
        FOR v_packed IN SELECT p.* FROM guestcomms_internal.pack_segments(store_segments.tenant_id, v_guest.guest_id, v_guest.contents, v_dictionary.dictionary_id,
            v_dictionary.age, store_segments.codec, v_parameters) AS p
        LOOP
            -- Every column comes from what payload was read back as.
            v_messages := ARRAY(SELECT m FROM guestcomms_internal.content_messages(store_segments.tenant_id, v_guest.guest_id, v_packed.content) AS m);
            v_segment := guestcomms.uuid_v7((v_messages[1]).sent_at);
            v_events := json_array_length(v_packed.content -> 'events');
            v_details := json_array_length(v_packed.content -> 'versions') + json_array_length(v_packed.content -> 'attachments') + json_array_length(v_packed.content -> 'annotations');
            INSERT INTO guestcomms.archive_segments (tenant_id, segment_id, first_sent_at, last_sent_at, guest_id, dictionary_id, message_count, event_count, detail_count,
                plain_bytes, predicted_bytes, level, codec, plain_sha256, stored_sha256, message_ids, thread_ids, search, payload)
            SELECT store_segments.tenant_id, v_segment, min(m.sent_at), max(m.sent_at), v_guest.guest_id, v_packed.dictionary_id, count(*), v_events, v_details,
                v_packed.plain_bytes, v_packed.predicted_bytes, v_packed.level, v_packed.codec, v_packed.plain_sha256, v_packed.stored_sha256,
                array_agg(m.message_id ORDER BY m.number), array_agg(DISTINCT m.thread_id),
                array_to_tsvector(ARRAY(SELECT DISTINCT l.lexeme FROM unnest(v_messages) AS o CROSS JOIN LATERAL unnest(o.search) AS l)), v_packed.payload
            FROM unnest(v_messages) WITH ORDINALITY AS m (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel, status, purpose,
                language, subject, body, author, source, external_id, scheduled_at, read_at, edited_at, deleted_at, metadata, word_count, search, has_attachment, number);
            INSERT INTO guestcomms.archive_codec_trials (tenant_id, segment_id, codec, level, features, predicted_bytes, stored_bytes, was_chosen)
            SELECT store_segments.tenant_id, v_segment, t.codec, t.level, t.features, t.predicted_bytes, t.stored_bytes, t.was_chosen
            FROM jsonb_to_recordset(v_packed.trials) AS t (codec text, level smallint, features double precision[], predicted_bytes integer, stored_bytes integer, was_chosen boolean);
            v_count := v_count + cardinality(v_messages);
            v_all_events := v_all_events + v_events;
            v_segments := v_segments + 1;
            v_plain := v_plain + v_packed.plain_bytes;
            v_stored := v_stored + octet_length(v_packed.payload);
        END LOOP;
    END LOOP;
    moved := ROW(v_count, v_all_events, v_segments, v_plain, v_stored)::guestcomms_internal.archive_move;
END $$;
COMMENT ON FUNCTION guestcomms_internal.store_segments(uuid, guestcomms_internal.guest_content[], text) IS
'Writes contents as segments, each guest''s by themselves; what it returns is counted from what was written.';

CREATE FUNCTION guestcomms_internal.count_content(contents guestcomms_internal.guest_content[], part text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT coalesce(sum(json_array_length(c.content -> count_content.part)), 0)::integer FROM unnest(count_content.contents) AS c
$$;
COMMENT ON FUNCTION guestcomms_internal.count_content(guestcomms_internal.guest_content[], text) IS 'How many messages, events and so on contents hold.';

CREATE FUNCTION guestcomms_internal.move_to_archive(tenant_id uuid, message_ids uuid[], late_ids uuid[], codec text) RETURNS guestcomms_internal.archive_move
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(move_to_archive.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(move_to_archive.message_ids) AS i (id));
    v_full integer := guestcomms_internal.setting('archive.segment_messages', move_to_archive.tenant_id)::integer;
    v_messages guestcomms_internal.guest_content[];
    v_opened guestcomms_internal.guest_content[];
    v_details guestcomms_internal.guest_content[];
    v_reopened uuid[];
    v_owners record;
    v_moved guestcomms_internal.archive_move;
    v_deleted integer;
BEGIN
    v_messages := guestcomms_internal.message_contents(move_to_archive.tenant_id, move_to_archive.message_ids);
    -- The newest segment of a guest is filled up before there is another; one that something came for late is written anew.
    v_reopened := ARRAY(
        SELECT n.segment_id FROM (SELECT DISTINCT c.guest_id FROM unnest(v_messages) AS c) AS g
        CROSS JOIN LATERAL (SELECT s.segment_id, s.message_count FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = move_to_archive.tenant_id AND s.guest_id = g.guest_id ORDER BY s.last_sent_at DESC LIMIT 1) AS n
        WHERE n.message_count < v_full AND guestcomms_internal.read_segment(move_to_archive.tenant_id, n.segment_id, true) IS NOT NULL
        UNION
        SELECT s.segment_id FROM guestcomms_internal.find_segments(move_to_archive.tenant_id, move_to_archive.late_ids) AS s
        WHERE guestcomms_internal.read_segment(move_to_archive.tenant_id, s.segment_id, true) IS NOT NULL);
    v_opened := guestcomms_internal.open_segments(move_to_archive.tenant_id, v_reopened);
    SELECT array_agg((m ->> 'message_id')::uuid) AS message_ids, array_agg(c.guest_id) AS guest_ids INTO v_owners
    FROM unnest(v_messages || v_opened) AS c CROSS JOIN LATERAL json_array_elements(c.content -> 'messages') AS m;
    PERFORM guestcomms_internal.keep_facts(move_to_archive.tenant_id, v_owners.message_ids);
    v_details := guestcomms_internal.take_details(move_to_archive.tenant_id, v_owners.message_ids, v_owners.guest_ids);
    v_moved := guestcomms_internal.store_segments(move_to_archive.tenant_id, v_messages || v_opened || v_details, move_to_archive.codec);
    DELETE FROM guestcomms.messages AS m
    WHERE m.tenant_id = move_to_archive.tenant_id AND m.message_id = ANY (move_to_archive.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last;
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    IF v_moved.message_count <> v_deleted + guestcomms_internal.count_content(v_opened, 'messages')
        OR v_moved.event_count <> guestcomms_internal.count_content(v_opened || v_details, 'events')
        OR v_deleted <> coalesce(cardinality(move_to_archive.message_ids), 0)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'the archive does not hold what was taken out of the tables; nothing was moved',
            DETAIL = format('%s messages taken out, %s in segments.', v_deleted, v_moved.message_count),
            HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
    END IF;
    PERFORM guestcomms_internal.log_move(move_to_archive.tenant_id, 'archive', move_to_archive.message_ids);
    RETURN ROW(v_deleted, guestcomms_internal.count_content(v_details, 'events'), v_moved.segment_count, v_moved.plain_bytes, v_moved.stored_bytes)::guestcomms_internal.archive_move;
END $$;
COMMENT ON FUNCTION guestcomms_internal.move_to_archive(uuid, uuid[], uuid[], text) IS
'Moves messages that the caller has locked into segments, and what came late for archived ones.';
