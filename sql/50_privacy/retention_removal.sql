-- What a policy does with what it finds. As for the archive the statements run as guestcomms_engine, for which the tables' triggers
-- log nothing of messages: log_removal() says what has gone, and keep_facts() before it lets the numbers stay.
CREATE FUNCTION guestcomms_internal.remove_event_keys(tenant_id uuid, message_ids uuid[], contents guestcomms_internal.guest_content[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    DELETE FROM guestcomms.event_keys AS k
    USING (
        SELECT e.source, e.external_id FROM guestcomms.message_events AS e
        WHERE e.tenant_id = remove_event_keys.tenant_id AND e.message_id = ANY (remove_event_keys.message_ids) AND e.external_id IS NOT NULL
        UNION
        SELECT e.source, e.external_id FROM unnest(remove_event_keys.contents) AS c CROSS JOIN LATERAL guestcomms_internal.content_events(c.content) AS e
        WHERE e.message_id = ANY (remove_event_keys.message_ids) AND e.external_id IS NOT NULL
    ) AS e
    WHERE k.tenant_id = remove_event_keys.tenant_id AND k.source = e.source AND k.external_id = e.external_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_event_keys(uuid, uuid[], guestcomms_internal.guest_content[]) IS
'Forgets the external identifiers of the events of messages, in the tables and in contents of segments.';

CREATE FUNCTION guestcomms_internal.read_contents(tenant_id uuid, segment_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(s.guest_id, c.content)::guestcomms_internal.guest_content
        FROM unnest(read_contents.segment_ids) AS i (id)
        JOIN guestcomms.archive_segments AS s ON s.tenant_id = read_contents.tenant_id AND s.segment_id = i.id
            AND s.first_sent_at >= guestcomms.uuid_v7_time(i.id) AND s.first_sent_at < guestcomms.uuid_v7_time(i.id) + interval '1 millisecond'
        CROSS JOIN LATERAL (SELECT guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true) AS content) AS c
        WHERE c.content IS NOT NULL);
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_contents(uuid, uuid[]) IS 'What segments hold, without those that are damaged.';

CREATE FUNCTION guestcomms_internal.lock_segment_threads(tenant_id uuid, segment_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_threads uuid[] := ARRAY(SELECT DISTINCT u.id FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.thread_ids) AS u (id)
        WHERE s.tenant_id = lock_segment_threads.tenant_id AND s.segment_id = ANY (lock_segment_threads.segment_ids));
    v_locked uuid[] := ARRAY(SELECT t.thread_id FROM guestcomms.threads AS t
        WHERE t.tenant_id = lock_segment_threads.tenant_id AND t.thread_id = ANY (v_threads) FOR NO KEY UPDATE SKIP LOCKED);
BEGIN
    RETURN ARRAY(SELECT t.thread_id FROM guestcomms.threads AS t
        WHERE t.tenant_id = lock_segment_threads.tenant_id AND t.thread_id = ANY (v_threads) AND t.thread_id <> ALL (v_locked));
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_segment_threads(uuid, uuid[]) IS
'Locks the threads of segments, which change when messages are taken out of them; returns those that somebody else has.';

CREATE FUNCTION guestcomms_internal.take_out_of_segments(tenant_id uuid, segment_ids uuid[], message_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_segment record;
    v_count bigint := 0;
BEGIN
    FOR v_segment IN
        SELECT s.segment_id, s.message_ids FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = take_out_of_segments.tenant_id AND s.segment_id = ANY (take_out_of_segments.segment_ids)
        ORDER BY s.segment_id FOR UPDATE
    LOOP
        IF guestcomms_internal.read_segment(take_out_of_segments.tenant_id, v_segment.segment_id, true, true) IS NOT NULL THEN
            v_count := v_count + guestcomms_internal.rewrite_segments(take_out_of_segments.tenant_id, ARRAY[v_segment.segment_id], take_out_of_segments.message_ids, false);
        ELSE
            -- What cannot be read must not therefore be kept for ever, though nobody can say which words go with it.
            PERFORM guestcomms_internal.drop_segment(take_out_of_segments.tenant_id, v_segment.segment_id);
            PERFORM guestcomms_internal.log_move(take_out_of_segments.tenant_id, 'delete', v_segment.message_ids);
            v_count := v_count + cardinality(v_segment.message_ids);
        END IF;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.take_out_of_segments(uuid, uuid[], uuid[]) IS
'Removes archived messages for good: segments are written anew without them, and are gone with the last; one that cannot be read goes whole, as the caller has decided. Returns how many messages went.';

CREATE FUNCTION guestcomms_internal.warn_of_damage(segment_id uuid) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE WARNING USING ERRCODE = 'data_corrupted', MESSAGE = 'a segment of the archive is damaged and stays', DETAIL = format('segment_id %s.', warn_of_damage.segment_id),
        HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
END $$;
COMMENT ON FUNCTION guestcomms_internal.warn_of_damage(uuid) IS 'Warns of a segment that was to change and cannot be read.';

CREATE FUNCTION guestcomms_internal.remove_messages(tenant_id uuid, message_ids uuid[], segment_ids uuid[], archived_ids uuid[], reason text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(remove_messages.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(remove_messages.message_ids) AS i (id));
    v_ids uuid[] := remove_messages.message_ids || remove_messages.archived_ids;
    v_events bigint;
    v_contents bigint;
    v_messages bigint;
    v_archived bigint;
BEGIN
    PERFORM guestcomms_internal.keep_facts(remove_messages.tenant_id, v_ids);
    PERFORM guestcomms_internal.remove_event_keys(remove_messages.tenant_id, v_ids, guestcomms_internal.read_contents(remove_messages.tenant_id, remove_messages.segment_ids));
    v_contents := guestcomms_internal.note_attachment_removal(remove_messages.tenant_id, v_ids, remove_messages.reason);
    DELETE FROM guestcomms.message_keys AS k WHERE k.tenant_id = remove_messages.tenant_id AND k.message_id = ANY (v_ids);
    DELETE FROM guestcomms.message_events AS e WHERE e.tenant_id = remove_messages.tenant_id AND e.message_id = ANY (v_ids);
    GET DIAGNOSTICS v_events = ROW_COUNT;
    DELETE FROM guestcomms.message_versions AS v WHERE v.tenant_id = remove_messages.tenant_id AND v.message_id = ANY (v_ids);
    DELETE FROM guestcomms.message_annotations AS a WHERE a.tenant_id = remove_messages.tenant_id AND a.message_id = ANY (v_ids);
    DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = remove_messages.tenant_id AND d.message_id = ANY (v_ids);
    DELETE FROM guestcomms_internal.undetected_messages AS u WHERE u.tenant_id = remove_messages.tenant_id AND u.message_id = ANY (v_ids);
    DELETE FROM guestcomms.search_alerts AS a WHERE a.tenant_id = remove_messages.tenant_id AND a.message_id = ANY (v_ids);
    PERFORM guestcomms_internal.log_removal(remove_messages.tenant_id, ARRAY(
        SELECT ROW(m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status, m.purpose, m.language,
            m.subject, m.body, m.author, m.source, m.external_id, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at, m.metadata, m.word_count, m.search, false
            )::guestcomms_internal.archived_message
        FROM guestcomms.messages AS m
        WHERE m.tenant_id = remove_messages.tenant_id AND m.message_id = ANY (remove_messages.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last));
    DELETE FROM guestcomms.messages AS m
    WHERE m.tenant_id = remove_messages.tenant_id AND m.message_id = ANY (remove_messages.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last;
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    v_archived := guestcomms_internal.take_out_of_segments(remove_messages.tenant_id, remove_messages.segment_ids, remove_messages.archived_ids);
    RETURN jsonb_build_object('messages', v_messages, 'archived_messages', v_archived, 'message_events', v_events, 'attachment_removals', v_contents);
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_messages(uuid, uuid[], uuid[], uuid[], text) IS
'Removes messages for good with all that belongs to them: those of the hot tables, which the caller has locked, and archived ones out of these segments. Their facts stay.';

CREATE FUNCTION guestcomms_internal.leave_out_behaviour(contents guestcomms_internal.guest_content[], message_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT array_agg(ROW(o.guest_id, json_build_object(
        'messages', (SELECT json_agg(CASE WHEN m.value ->> 'direction' = 'outbound' AND (m.value ->> 'message_id')::uuid = ANY (leave_out_behaviour.message_ids)
            THEN (m.value::jsonb || '{"read_at": null}')::json ELSE m.value END) FROM json_array_elements(o.content -> 'messages') AS m),
        'events', (SELECT coalesce(json_agg(e.value), '[]') FROM json_array_elements(o.content -> 'events') AS e
            WHERE (e.value ->> 'message_id')::uuid <> ALL (leave_out_behaviour.message_ids)),
        'annotations', (SELECT coalesce(json_agg(a.value), '[]') FROM json_array_elements(o.content -> 'annotations') AS a
            WHERE (a.value ->> 'message_id')::uuid <> ALL (leave_out_behaviour.message_ids)),
        'versions', o.content -> 'versions', 'attachments', o.content -> 'attachments'))::guestcomms_internal.guest_content)
    FROM unnest(leave_out_behaviour.contents) AS o
$$;
COMMENT ON FUNCTION guestcomms_internal.leave_out_behaviour(guestcomms_internal.guest_content[], uuid[]) IS 'Contents without the events and annotations of some messages, and without the time a guest read them.';

CREATE FUNCTION guestcomms_internal.remove_behaviour(tenant_id uuid, message_ids uuid[], segment_ids uuid[], archived_ids uuid[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_ids uuid[] := remove_behaviour.message_ids || remove_behaviour.archived_ids;
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(v_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(v_ids) AS i (id));
    v_segment uuid;
    v_contents guestcomms_internal.guest_content[];
    v_kept guestcomms_internal.archive_move;
    v_events bigint;
    v_archived bigint := 0;
BEGIN
    PERFORM guestcomms_internal.keep_facts(remove_behaviour.tenant_id, v_ids);
    -- From now on the facts alone know; of messages that are still there, the rest of the fact follows them as before.
    UPDATE guestcomms_bi.fact_message AS f SET has_events = false, has_source = f.message_id = ANY (remove_behaviour.message_ids)
    WHERE f.tenant_id = remove_behaviour.tenant_id AND f.message_id = ANY (v_ids) AND f.sent_at >= v_first AND f.sent_at < v_last;
    PERFORM guestcomms_internal.remove_event_keys(remove_behaviour.tenant_id, v_ids, guestcomms_internal.read_contents(remove_behaviour.tenant_id, remove_behaviour.segment_ids));
    DELETE FROM guestcomms.message_events AS e WHERE e.tenant_id = remove_behaviour.tenant_id AND e.message_id = ANY (v_ids);
    GET DIAGNOSTICS v_events = ROW_COUNT;
    DELETE FROM guestcomms.message_annotations AS a WHERE a.tenant_id = remove_behaviour.tenant_id AND a.message_id = ANY (v_ids);
    UPDATE guestcomms.messages AS m SET read_at = NULL
    WHERE m.tenant_id = remove_behaviour.tenant_id AND m.message_id = ANY (remove_behaviour.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last
        AND m.direction = 'outbound' AND m.read_at IS NOT NULL;
    FOREACH v_segment IN ARRAY coalesce(remove_behaviour.segment_ids, '{}') LOOP
        v_contents := guestcomms_internal.open_segments(remove_behaviour.tenant_id, ARRAY[v_segment]);
        v_archived := v_archived + guestcomms_internal.count_content(v_contents, 'events');
        v_kept := guestcomms_internal.store_segments(remove_behaviour.tenant_id, guestcomms_internal.leave_out_behaviour(v_contents, remove_behaviour.archived_ids), 'auto');
        v_archived := v_archived - v_kept.event_count;
        IF v_kept.message_count <> guestcomms_internal.count_content(v_contents, 'messages') THEN
            RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'the archive does not hold what it should after this; nothing was changed',
                DETAIL = format('%s messages were to stay, %s did.', guestcomms_internal.count_content(v_contents, 'messages'), v_kept.message_count),
                HINT = 'SELECT * FROM guestcomms.verify_archive() WHERE NOT is_ok;';
        END IF;
    END LOOP;
    RETURN jsonb_build_object('messages', cardinality(remove_behaviour.message_ids), 'archived_messages', cardinality(remove_behaviour.archived_ids),
        'message_events', v_events, 'archived_events', v_archived);
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_behaviour(uuid, uuid[], uuid[], uuid[]) IS
'Removes the events and annotations of messages, and when the guest read them: of those in the hot tables, which the caller has locked, and of archived ones in these segments. Their facts stay.';

CREATE FUNCTION guestcomms_internal.contact_tables() RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT c.relname::text
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = 'guestcomms'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition AND c.relname <> 'guests'
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'guest_id' AND NOT a.attisdropped)
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND col_description(c.oid, a.attnum) LIKE '%[retention: contact]')
    ORDER BY c.relname
$$;
COMMENT ON FUNCTION guestcomms_internal.contact_tables() IS 'Tables beside guests whose rows say who a guest is or how to reach them, by the data dictionary.';

CREATE FUNCTION guestcomms_internal.remove_contact(tenant_id uuid, guest_ids uuid[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_table text;
    v_counts jsonb := jsonb_build_object('guests', cardinality(remove_contact.guest_ids));
    v_guests uuid[] := remove_contact.guest_ids || ARRAY(SELECT g.guest_id FROM guestcomms.guests AS g
        WHERE g.tenant_id = remove_contact.tenant_id AND g.merged_into = ANY (remove_contact.guest_ids) ORDER BY g.guest_id);
    v_count bigint;
BEGIN
    FOR v_table IN SELECT c FROM guestcomms_internal.contact_tables() AS c LOOP
        EXECUTE format('DELETE FROM guestcomms.%I AS t WHERE t.tenant_id = $1 AND t.guest_id = ANY ($2)', v_table) USING remove_contact.tenant_id, v_guests;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_counts := v_counts || jsonb_build_object(v_table, v_count);
    END LOOP;
    -- The warehouse follows: its numbers of an erased guest are of nobody.
    UPDATE guestcomms.guests AS g SET display_name = NULL, language = NULL, timezone = NULL, erased_at = now(), updated_at = now()
    WHERE g.tenant_id = remove_contact.tenant_id AND g.guest_id = ANY (v_guests);
    RETURN v_counts;
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_contact(uuid, uuid[]) IS 'Removes who guests, and those merged into them, are and how they are reached; they count as erased.';

CREATE FUNCTION guestcomms_internal.remove_records(tenant_id uuid, step text, ids uuid[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    CASE remove_records.step
        WHEN 'threads' THEN
            UPDATE guestcomms.threads AS t SET subject = NULL WHERE t.tenant_id = remove_records.tenant_id AND t.thread_id = ANY (remove_records.ids);
        WHEN 'weddings' THEN
            UPDATE guestcomms.weddings AS w SET name = guestcomms_internal.removed_name() WHERE w.tenant_id = remove_records.tenant_id AND w.wedding_id = ANY (remove_records.ids);
        WHEN 'runs' THEN
            DELETE FROM guestcomms.archive_runs AS r WHERE r.tenant_id = remove_records.tenant_id AND r.run_id = ANY (remove_records.ids);
            DELETE FROM guestcomms.retention_runs AS r WHERE r.tenant_id = remove_records.tenant_id AND r.run_id = ANY (remove_records.ids);
        WHEN 'audit' THEN
            DELETE FROM guestcomms.audit_contents AS c WHERE c.tenant_id = remove_records.tenant_id AND c.entry_id = ANY (remove_records.ids);
        WHEN 'requests' THEN
            -- The proof of an erasure stays longer than the request for it.
            UPDATE guestcomms.erasures AS e SET request_id = NULL WHERE e.tenant_id = remove_records.tenant_id AND e.request_id = ANY (remove_records.ids);
            DELETE FROM guestcomms.subject_request_steps AS s WHERE s.tenant_id = remove_records.tenant_id AND s.request_id = ANY (remove_records.ids);
            DELETE FROM guestcomms.subject_requests AS r WHERE r.tenant_id = remove_records.tenant_id AND r.request_id = ANY (remove_records.ids);
        WHEN 'consents' THEN
            DELETE FROM guestcomms.consents AS c WHERE c.tenant_id = remove_records.tenant_id AND c.consent_id = ANY (remove_records.ids);
        WHEN 'holds' THEN
            DELETE FROM guestcomms.legal_holds AS h WHERE h.tenant_id = remove_records.tenant_id AND h.hold_id = ANY (remove_records.ids);
        WHEN 'exports' THEN
            DELETE FROM guestcomms.exports AS e WHERE e.tenant_id = remove_records.tenant_id AND e.export_id = ANY (remove_records.ids);
    END CASE;
    RETURN jsonb_build_object(remove_records.step, cardinality(remove_records.ids));
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_records(uuid, text, uuid[]) IS 'Removes the rows of a step, or empties them where others refer to them.';
