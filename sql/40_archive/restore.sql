-- Out of the archive: messages as they were, with all that belongs to them, back in the hot tables.
CREATE FUNCTION guestcomms_internal.put_back(tenant_id uuid, guest_id uuid, content json, message_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel, status, purpose, language, subject, body,
        author, source, external_id, scheduled_at, read_at, edited_at, deleted_at, metadata)
    SELECT m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status, m.purpose, m.language, m.subject, m.body,
        m.author, m.source, m.external_id, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at, m.metadata
    FROM guestcomms_internal.content_messages(put_back.tenant_id, put_back.guest_id, put_back.content) AS m
    WHERE m.message_id = ANY (put_back.message_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind, is_machine, source, external_id, detail, recorded_at)
    SELECT put_back.tenant_id, e.event_id, e.occurred_at, e.message_id, e.kind, e.is_machine, e.source, e.external_id, e.detail, e.recorded_at
    FROM guestcomms_internal.content_events(put_back.content) AS e WHERE e.message_id = ANY (put_back.message_ids);
    INSERT INTO guestcomms.message_versions (tenant_id, message_id, version_number, subject, body, replaced_at, replaced_by)
    SELECT put_back.tenant_id, v.message_id, v.version_number, v.subject, v.body, guestcomms_internal.from_microseconds(v.replaced_at), v.replaced_by
    FROM json_to_recordset(put_back.content -> 'versions') AS v (message_id uuid, version_number integer, subject text, body text, replaced_at bigint, replaced_by text)
    WHERE v.message_id = ANY (put_back.message_ids);
    INSERT INTO guestcomms.attachments (tenant_id, attachment_id, message_id, name, media_type, byte_count, sha256, uri, created_at, deleted_at)
    SELECT put_back.tenant_id, a.attachment_id, a.message_id, a.name, a.media_type, a.byte_count, decode(a.sha256, 'hex'), a.uri,
        guestcomms_internal.from_microseconds(a.created_at), guestcomms_internal.from_microseconds(a.deleted_at)
    FROM json_to_recordset(put_back.content -> 'attachments') AS a (attachment_id uuid, message_id uuid, name text, media_type text, byte_count bigint, sha256 text, uri text,
        created_at bigint, deleted_at bigint)
    WHERE a.message_id = ANY (put_back.message_ids);
    INSERT INTO guestcomms.message_annotations (tenant_id, annotation_id, message_id, kind, value, confidence, annotator, created_at)
    SELECT put_back.tenant_id, n.annotation_id, n.message_id, n.kind, n.value::jsonb, n.confidence::double precision, n.annotator, guestcomms_internal.from_microseconds(n.created_at)
    FROM json_to_recordset(put_back.content -> 'annotations') AS n (annotation_id uuid, message_id uuid, kind text, value text, confidence text, annotator text, created_at bigint)
    WHERE n.message_id = ANY (put_back.message_ids);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.put_back(uuid, uuid, json, uuid[]) IS 'Writes messages of a segment''s content into the hot tables, with all that belongs to them.';

CREATE FUNCTION guestcomms_internal.rewrite_segments(tenant_id uuid, segment_ids uuid[], removed_ids uuid[], is_restoring boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_contents guestcomms_internal.guest_content[];
    v_content guestcomms_internal.guest_content;
    v_kept guestcomms_internal.archive_move;
    v_removed bigint;
    v_restored bigint := 0;
BEGIN
    v_contents := guestcomms_internal.open_segments(rewrite_segments.tenant_id, rewrite_segments.segment_ids);
    IF v_contents IS NULL THEN
        RETURN 0;
    END IF;
    SELECT count(*) INTO v_removed
    FROM unnest(v_contents) AS c CROSS JOIN LATERAL json_array_elements(c.content -> 'messages') AS m
    WHERE (m ->> 'message_id')::uuid = ANY (rewrite_segments.removed_ids);
    IF rewrite_segments.is_restoring THEN
        FOREACH v_content IN ARRAY v_contents LOOP
            v_restored := v_restored + guestcomms_internal.put_back(rewrite_segments.tenant_id, v_content.guest_id, v_content.content, rewrite_segments.removed_ids);
        END LOOP;
    ELSE
        FOREACH v_content IN ARRAY v_contents LOOP
            PERFORM guestcomms_internal.log_removal(rewrite_segments.tenant_id, ARRAY(
                SELECT m FROM guestcomms_internal.content_messages(rewrite_segments.tenant_id, v_content.guest_id, v_content.content) AS m
                WHERE m.message_id = ANY (rewrite_segments.removed_ids)));
        END LOOP;
    END IF;
    DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = rewrite_segments.tenant_id AND d.message_id = ANY (rewrite_segments.removed_ids);
    v_kept := guestcomms_internal.store_segments(rewrite_segments.tenant_id, guestcomms_internal.leave_out(v_contents, rewrite_segments.removed_ids), 'auto');
    IF v_kept.message_count + v_removed <> guestcomms_internal.count_content(v_contents, 'messages') OR rewrite_segments.is_restoring AND v_restored <> v_removed THEN
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'the archive does not hold what it should after this; nothing was changed',
            DETAIL = format('%s messages were to leave, %s did, %s stayed.', v_removed, v_restored, v_kept.message_count),
            HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
    END IF;
    IF NOT rewrite_segments.is_restoring THEN
        PERFORM guestcomms_internal.refresh_thread_states(rewrite_segments.tenant_id, ARRAY(
            SELECT DISTINCT (m ->> 'thread_id')::uuid FROM unnest(v_contents) AS c CROSS JOIN LATERAL json_array_elements(c.content -> 'messages') AS m
            WHERE (m ->> 'message_id')::uuid = ANY (rewrite_segments.removed_ids)));
    END IF;
    RETURN v_removed;
END $$;
COMMENT ON FUNCTION guestcomms_internal.rewrite_segments(uuid, uuid[], uuid[], boolean) IS
'Writes segments anew without some of their messages, which go back to the hot tables or, for erasure, nowhere; returns how many left.';

CREATE FUNCTION guestcomms_internal.leave_out(contents guestcomms_internal.guest_content[], message_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT array_agg(ROW(c.guest_id, c.kept)::guestcomms_internal.guest_content)
    FROM (
        SELECT o.guest_id, (SELECT json_object_agg(p.part, (SELECT coalesce(json_agg(e), '[]') FROM json_array_elements(o.content -> p.part) AS e
                WHERE (e ->> 'message_id')::uuid <> ALL (leave_out.message_ids)))
            FROM (VALUES ('messages'), ('events'), ('versions'), ('attachments'), ('annotations')) AS p (part)) AS kept
        FROM unnest(leave_out.contents) AS o
    ) AS c
    WHERE json_array_length(c.kept -> 'messages') > 0
$$;
COMMENT ON FUNCTION guestcomms_internal.leave_out(guestcomms_internal.guest_content[], uuid[]) IS 'Contents without some messages and what belongs to them; nothing of a content without any left.';

CREATE FUNCTION guestcomms_internal.lock_threads_in(tenant_id uuid, segment_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM FROM guestcomms.threads AS t
    WHERE t.tenant_id = lock_threads_in.tenant_id AND t.thread_id = ANY (ARRAY(
        SELECT DISTINCT u.id FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.thread_ids) AS u (id)
        WHERE s.tenant_id = lock_threads_in.tenant_id AND s.segment_id = ANY (lock_threads_in.segment_ids)))
    ORDER BY t.thread_id FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_threads_in(uuid, uuid[]) IS 'Locks the threads whose messages segments hold, in order.';

CREATE FUNCTION guestcomms_internal.restore_archived(tenant_id uuid, message_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_found record;
    v_locked integer;
    v_count bigint;
BEGIN
    LOOP
        -- In order, so that two who restore do not wait for each other.
        SELECT array_agg(f.segment_id ORDER BY f.segment_id) AS segment_ids, array_agg(f.message_id) AS message_ids INTO v_found
        FROM (SELECT DISTINCT s.segment_id, i.id AS message_id FROM guestcomms_internal.find_segments(restore_archived.tenant_id, restore_archived.message_ids) AS s
            CROSS JOIN LATERAL unnest(s.found_ids) AS i (id)) AS f;
        IF v_found.segment_ids IS NULL THEN
            RETURN 0;
        END IF;
        -- Threads first, whose counts may change: applications lock these before they ask for what is archived.
        PERFORM guestcomms_internal.lock_threads_in(restore_archived.tenant_id, v_found.segment_ids);
        v_locked := (SELECT count(*) FROM (SELECT FROM guestcomms.archive_segments AS s WHERE s.tenant_id = restore_archived.tenant_id AND s.segment_id = ANY (v_found.segment_ids)
            ORDER BY s.segment_id FOR UPDATE) AS l);
        -- What somebody else restored or wrote anew meanwhile is looked for once more.
        EXIT WHEN v_locked = (SELECT count(DISTINCT u.id) FROM unnest(v_found.segment_ids) AS u (id));
    END LOOP;
    v_count := guestcomms_internal.rewrite_segments(restore_archived.tenant_id, v_found.segment_ids, v_found.message_ids, true);
    PERFORM guestcomms_internal.log_move(restore_archived.tenant_id, 'restore', v_found.message_ids);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.restore_archived(uuid, uuid[]) IS 'Brings archived messages back; those that are not archived, or no more, are left as they are.';

CREATE FUNCTION guestcomms.restore_messages(
    message_ids uuid[] DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
    max_rows integer DEFAULT 1000
) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guests uuid[] := guestcomms_internal.same_guests(v_tenant, restore_messages.guest_id);
    v_segment record;
    v_content json;
    v_ids uuid[];
    v_has_moved boolean;
    v_count bigint;
BEGIN
    IF num_nonnulls(restore_messages.message_ids, restore_messages.guest_id, restore_messages.thread_id, restore_messages.since, restore_messages.until) = 0
        OR coalesce(restore_messages.max_rows NOT BETWEEN 1 AND 100000, true)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'what is to be restored is not said',
            DETAIL = 'There is at least one of message_ids, guest_id, thread_id, since and until; max_rows is from 1 to 100000.',
            HINT = 'Everything: since => ''-infinity'', again and again until it returns 0.';
    END IF;
    LOOP
        v_ids := ARRAY[]::uuid[];
        v_has_moved := false;
        FOR v_segment IN
            SELECT s.segment_id, s.guest_id, s.message_ids FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = v_tenant AND (restore_messages.guest_id IS NULL OR s.guest_id = ANY (v_guests))
                AND (restore_messages.thread_id IS NULL OR s.thread_ids @> ARRAY[restore_messages.thread_id]
                    AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && ARRAY[guestcomms_internal.segment_key_v1(restore_messages.thread_id, true)])
                AND (restore_messages.since IS NULL OR s.last_sent_at >= restore_messages.since) AND (restore_messages.until IS NULL OR s.first_sent_at < restore_messages.until)
                AND (restore_messages.message_ids IS NULL OR s.segment_id IN (SELECT f.segment_id FROM guestcomms_internal.find_segments(v_tenant, restore_messages.message_ids) AS f))
            ORDER BY s.last_sent_at DESC, s.segment_id
        LOOP
            -- One that was named must come, or it is an error; among many, a damaged one does not keep the others.
            v_content := guestcomms_internal.read_segment(v_tenant, v_segment.segment_id, restore_messages.message_ids IS NULL);
            IF v_content IS NULL AND NOT EXISTS (SELECT FROM guestcomms.archive_segments AS s WHERE s.tenant_id = v_tenant AND s.segment_id = v_segment.segment_id) THEN
                v_has_moved := true;
                CONTINUE;
            ELSIF v_content IS NULL THEN
                RAISE WARNING USING ERRCODE = 'data_corrupted', MESSAGE = 'a segment of the archive is damaged and stays', DETAIL = format('segment_id %s.', v_segment.segment_id),
                    HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
                CONTINUE;
            END IF;
            v_ids := v_ids || ARRAY(
                SELECT m.message_id FROM guestcomms_internal.content_messages(v_tenant, v_segment.guest_id, v_content) AS m
                WHERE (restore_messages.message_ids IS NULL OR m.message_id = ANY (restore_messages.message_ids))
                    AND (restore_messages.thread_id IS NULL OR m.thread_id = restore_messages.thread_id)
                    AND (restore_messages.since IS NULL OR m.sent_at >= restore_messages.since) AND (restore_messages.until IS NULL OR m.sent_at < restore_messages.until)
                ORDER BY m.sent_at DESC, m.message_id DESC LIMIT restore_messages.max_rows - cardinality(v_ids));
            EXIT WHEN cardinality(v_ids) >= restore_messages.max_rows;
        END LOOP;
        v_count := guestcomms_internal.restore_archived(v_tenant, v_ids);
        -- What a run wrote anew while this looked is there under another name: 0 is to mean that nothing is left.
        EXIT WHEN v_count > 0 OR NOT v_has_moved;
    END LOOP;
    IF v_count > 0 THEN
        PERFORM guestcomms_internal.record_audit(v_tenant, 'restore_messages', 'archive', jsonb_build_object('message_count', v_count));
    END IF;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.restore_messages(uuid[], uuid, uuid, timestamptz, timestamptz, integer) IS
$$Brings archived messages of the current tenant back into the hot tables, as they were, with their identifiers and times and all that belongs to them; returns how many. What is named must all hold; the newest first, at most max_rows: call it again until it returns 0. Messages that are not archived stay as they are, so it may be repeated. A policy that names them archives them again: give them a hold, or change it.
Example: SELECT guestcomms.restore_messages(guest_id => '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', since => '2025-01-01');
See also: read_archived, undo_archive, place_hold, search_messages$$;

CREATE FUNCTION guestcomms.undo_archive(run_id uuid, max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_window interval := guestcomms_internal.setting('archive.undo_window', v_tenant)::interval;
    v_part record;
    v_ids uuid[];
    v_count bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.archive_runs AS r WHERE r.tenant_id = v_tenant AND r.run_id = undo_archive.run_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such run', DETAIL = format('run_id %s.', undo_archive.run_id),
            HINT = 'SELECT run_id, started_at FROM guestcomms.list_archive_runs();';
    ELSIF EXISTS (SELECT FROM guestcomms.archive_runs AS r WHERE r.tenant_id = v_tenant AND r.run_id = undo_archive.run_id AND r.undone_at IS NULL
        AND (r.message_ids IS NULL OR r.started_at < now() - v_window))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the run can no longer be undone', DETAIL = format('The window is %s.', v_window),
            HINT = 'restore_messages() brings back messages of any age; set_setting(''archive.undo_window'', ...) lengthens the window of runs to come.';
    END IF;
    -- The threads of all parts at once, for each part takes its own in order.
    PERFORM guestcomms_internal.lock_threads_in(v_tenant, ARRAY(
        SELECT f.segment_id
        FROM (SELECT r.message_ids, sum(cardinality(r.message_ids)) OVER (ORDER BY r.part_number DESC) - cardinality(r.message_ids) AS before
            FROM guestcomms.archive_runs AS r WHERE r.tenant_id = v_tenant AND r.run_id = undo_archive.run_id AND r.undone_at IS NULL) AS n
        CROSS JOIN LATERAL guestcomms_internal.find_segments(v_tenant, n.message_ids) AS f
        WHERE n.before < undo_archive.max_rows));
    -- The newest part first, and each once: a part that was undone is done with.
    FOR v_part IN
        SELECT r.part_number, r.message_ids FROM guestcomms.archive_runs AS r
        WHERE r.tenant_id = v_tenant AND r.run_id = undo_archive.run_id AND r.undone_at IS NULL ORDER BY r.part_number DESC FOR UPDATE
    LOOP
        v_ids := v_part.message_ids;
        v_count := v_count + guestcomms_internal.restore_archived(v_tenant, v_ids);
        UPDATE guestcomms.archive_runs AS r SET undone_at = now(), message_ids = NULL
        WHERE r.tenant_id = v_tenant AND r.run_id = undo_archive.run_id AND r.part_number = v_part.part_number;
        EXIT WHEN v_count >= undo_archive.max_rows;
    END LOOP;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'undo_archive', 'archive run ' || undo_archive.run_id, jsonb_build_object('message_count', v_count));
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.undo_archive(uuid, integer) IS
$$Brings back what a run moved into the archive, within archive.undo_window, and returns how many messages: part by part, until max_rows is reached; call it again until it returns 0. The policy archives them again when it next runs; change or remove it first.
Example: SELECT guestcomms.undo_archive(run_id) FROM guestcomms.list_archive_runs() WHERE can_be_undone ORDER BY started_at DESC LIMIT 1;
See also: list_archive_runs, run_archive, restore_messages, remove_archive_policy$$;
