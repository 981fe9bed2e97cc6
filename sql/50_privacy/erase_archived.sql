-- Erasing out of the archive. Segments are of one guest: they are dropped, or written anew where a hold or the mode keeps some of
-- their messages; no other guest's segment is touched.
CREATE FUNCTION guestcomms_internal.blank_contents(tenant_id uuid, contents guestcomms_internal.guest_content[], blanked_ids uuid[], hidden_ids uuid[]) RETURNS guestcomms_internal.guest_content[]
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    SELECT array_agg(ROW(o.guest_id, json_build_object(
        'messages', (SELECT coalesce(json_agg(CASE
                WHEN (e ->> 'message_id')::uuid = ANY (blank_contents.blanked_ids)
                    THEN (e::jsonb || '{"subject": null, "body": "", "external_id": null, "metadata": "{}"}')::json
                WHEN (e ->> 'message_id')::uuid = ANY (blank_contents.hidden_ids)
                    THEN (e::jsonb || jsonb_build_object('external_id', NULL, 'metadata', '{}',
                        'subject', guestcomms_internal.hide_personal_data(blank_contents.tenant_id, e ->> 'subject'),
                        'body', guestcomms_internal.hide_personal_data(blank_contents.tenant_id, e ->> 'body')))::json
                ELSE e END), '[]') FROM json_array_elements(o.content -> 'messages') AS e),
        'events', (SELECT coalesce(json_agg(CASE WHEN (e ->> 'message_id')::uuid = ANY (blank_contents.blanked_ids || blank_contents.hidden_ids)
                THEN (e::jsonb || '{"detail": null, "external_id": null}')::json ELSE e END), '[]') FROM json_array_elements(o.content -> 'events') AS e),
        'versions', (SELECT coalesce(json_agg(e), '[]') FROM json_array_elements(o.content -> 'versions') AS e
            WHERE (e ->> 'message_id')::uuid <> ALL (blank_contents.blanked_ids || blank_contents.hidden_ids)),
        'attachments', (SELECT coalesce(json_agg(e), '[]') FROM json_array_elements(o.content -> 'attachments') AS e
            WHERE (e ->> 'message_id')::uuid <> ALL (blank_contents.blanked_ids || blank_contents.hidden_ids)),
        'annotations', (SELECT coalesce(json_agg(e), '[]') FROM json_array_elements(o.content -> 'annotations') AS e
            WHERE (e ->> 'message_id')::uuid <> ALL (blank_contents.blanked_ids || blank_contents.hidden_ids))))::guestcomms_internal.guest_content)
    FROM unnest(blank_contents.contents) AS o
$$;
COMMENT ON FUNCTION guestcomms_internal.blank_contents(uuid, guestcomms_internal.guest_content[], uuid[], uuid[]) IS
'Contents of segments in which some messages have no texts any more, and some of the business''s texts no personal data.';

CREATE FUNCTION guestcomms_internal.drop_segment(tenant_id uuid, segment_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(drop_segment.segment_id);
BEGIN
    DELETE FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = drop_segment.tenant_id AND s.segment_id = drop_segment.segment_id AND s.first_sent_at >= v_since AND s.first_sent_at < v_since + interval '1 millisecond';
    DELETE FROM guestcomms.archive_checks AS c WHERE c.tenant_id = drop_segment.tenant_id AND c.segment_id = drop_segment.segment_id;
    DELETE FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = drop_segment.tenant_id AND t.segment_id = drop_segment.segment_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_segment(uuid, uuid) IS 'Drops a segment, whatever is in it, with what is known of it.';

CREATE FUNCTION guestcomms_internal.erase_damaged_segment(tenant_id uuid, erasure_id uuid, guest_id uuid, segment_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    -- Nobody can say of which conversations its messages are: any hold that may be about them keeps it.
    v_is_held boolean := EXISTS (SELECT FROM guestcomms.legal_holds AS h
        WHERE h.tenant_id = erase_damaged_segment.tenant_id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())
            AND (h.guest_id IS NULL OR h.guest_id = erase_damaged_segment.guest_id));
BEGIN
    IF NOT v_is_held THEN
        PERFORM guestcomms_internal.drop_segment(erase_damaged_segment.tenant_id, erase_damaged_segment.segment_id);
        -- Which of their words go with them nobody can say either; that they are gone is logged.
        PERFORM guestcomms_internal.log_move(erase_damaged_segment.tenant_id, 'delete', erase_damaged_segment.message_ids);
        UPDATE guestcomms.erasures AS e SET damaged_count = e.damaged_count + 1
        WHERE e.tenant_id = erase_damaged_segment.tenant_id AND e.erasure_id = erase_damaged_segment.erasure_id;
        PERFORM guestcomms_internal.erase_details(erase_damaged_segment.tenant_id, erase_damaged_segment.erasure_id, erase_damaged_segment.message_ids, false);
        PERFORM guestcomms_internal.erase_lost_event_keys(erase_damaged_segment.tenant_id, erase_damaged_segment.erasure_id, erase_damaged_segment.message_ids);
    END IF;
    PERFORM guestcomms_internal.note_treated(erase_damaged_segment.tenant_id, erase_damaged_segment.erasure_id, erase_damaged_segment.message_ids,
        array_fill(CASE WHEN v_is_held THEN 'held' ELSE 'removed' END, ARRAY[cardinality(erase_damaged_segment.message_ids)]));
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_damaged_segment(uuid, uuid, uuid, uuid, uuid[]) IS 'A segment that cannot be read is dropped whole, unless a hold may be about it.';

CREATE FUNCTION guestcomms_internal.erase_segment(tenant_id uuid, erasure_id uuid, guest_id uuid, segment_id uuid, mode text, is_both_sides boolean) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_content json := guestcomms_internal.read_segment(erase_segment.tenant_id, erase_segment.segment_id, true);
    v_messages guestcomms_internal.archived_message[];
    v_ids uuid[];
    v_treatments text[];
    v_removed uuid[];
    v_blanked uuid[];
    v_hidden uuid[];
    v_gone guestcomms_internal.archived_message[];
    v_sources text[];
    v_keys text[];
BEGIN
    IF v_content IS NULL THEN
        RETURN NULL;
    END IF;
    -- What was treated before is not treated again: a hold, or the mode, kept it here.
    SELECT array_agg(m), array_agg(m.message_id), array_agg(guestcomms_internal.erasure_treatment(m.tenant_id, m.guest_id, m.thread_id, m.wedding_id, m.sent_at, m.direction,
            erase_segment.mode, erase_segment.is_both_sides))
    INTO v_messages, v_ids, v_treatments
    FROM guestcomms_internal.content_messages(erase_segment.tenant_id, erase_segment.guest_id, v_content) AS m
    WHERE NOT EXISTS (SELECT FROM guestcomms_internal.erasure_messages AS w
        WHERE w.tenant_id = erase_segment.tenant_id AND w.erasure_id = erase_segment.erasure_id AND w.message_id = m.message_id AND w.treatment IS NOT NULL);
    v_removed := ARRAY(SELECT i.id FROM unnest(v_ids, v_treatments) AS i (id, treatment) WHERE i.treatment = 'removed');
    v_blanked := ARRAY(SELECT i.id FROM unnest(v_ids, v_treatments) AS i (id, treatment) WHERE i.treatment = 'blanked');
    v_hidden := ARRAY(SELECT i.id FROM unnest(v_ids, v_treatments) AS i (id, treatment) WHERE i.treatment = 'hidden');
    IF v_ids IS NOT NULL THEN
        PERFORM guestcomms_internal.note_treated(erase_segment.tenant_id, erase_segment.erasure_id, v_ids, v_treatments);
    END IF;
    IF cardinality(v_removed || v_blanked || v_hidden) = 0 THEN
        RETURN ARRAY[]::uuid[];
    END IF;
    v_gone := ARRAY(SELECT m FROM unnest(v_messages) AS m WHERE m.message_id = ANY (v_removed || v_blanked || v_hidden));
    PERFORM guestcomms_internal.note_recipients(erase_segment.tenant_id, erase_segment.erasure_id, v_gone);
    PERFORM guestcomms_internal.note_stems(erase_segment.tenant_id, erase_segment.erasure_id, v_gone);
    PERFORM guestcomms_internal.keep_facts(erase_segment.tenant_id, v_removed || v_blanked || v_hidden);
    SELECT array_agg(e.source), array_agg(e.external_id) INTO v_sources, v_keys FROM guestcomms_internal.content_events(v_content) AS e
    WHERE e.external_id IS NOT NULL AND e.message_id = ANY (v_removed || v_blanked || v_hidden);
    PERFORM guestcomms_internal.erase_event_keys(erase_segment.tenant_id, erase_segment.erasure_id, v_sources, v_keys);
    PERFORM guestcomms_internal.erase_details(erase_segment.tenant_id, erase_segment.erasure_id, v_removed, false);
    PERFORM guestcomms_internal.erase_details(erase_segment.tenant_id, erase_segment.erasure_id, v_blanked || v_hidden, true);
    PERFORM guestcomms_internal.log_removal(erase_segment.tenant_id, ARRAY(SELECT m FROM unnest(v_gone) AS m WHERE m.message_id = ANY (v_removed)));
    PERFORM guestcomms_internal.log_blanking(erase_segment.tenant_id, ARRAY(SELECT m FROM unnest(v_gone) AS m WHERE m.message_id = ANY (v_blanked || v_hidden)));
    IF cardinality(v_removed) = json_array_length(v_content -> 'messages') THEN
        PERFORM guestcomms_internal.drop_segment(erase_segment.tenant_id, erase_segment.segment_id);
    ELSE
        PERFORM guestcomms_internal.store_segments(erase_segment.tenant_id, guestcomms_internal.blank_contents(erase_segment.tenant_id,
            guestcomms_internal.leave_out(guestcomms_internal.open_segments(erase_segment.tenant_id, ARRAY[erase_segment.segment_id]), v_removed), v_blanked, v_hidden), 'auto');
    END IF;
    PERFORM guestcomms_internal.note_erased(erase_segment.tenant_id, erase_segment.erasure_id, 'guestcomms.archive_segments', 1);
    RETURN v_removed || v_blanked || v_hidden;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_segment(uuid, uuid, uuid, uuid, text, boolean) IS
'Erases what no hold keeps in a segment that the caller has locked; returns those messages, NULL where it is damaged.';

CREATE FUNCTION guestcomms_internal.erase_archived_batch(tenant_id uuid, erasure_id uuid, guest_ids uuid[], max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_erasure record;
    v_segment record;
    v_done uuid[];
    v_treated uuid[] := ARRAY[]::uuid[];
    v_count integer := 0;
BEGIN
    SELECT e.mode, e.is_both_sides, coalesce(e.reached_at, '-infinity') AS reached_at, coalesce(e.reached_id, guestcomms_internal.no_member()) AS reached_id INTO v_erasure
    FROM guestcomms.erasures AS e WHERE e.tenant_id = erase_archived_batch.tenant_id AND e.erasure_id = erase_archived_batch.erasure_id;
    FOR v_segment IN
        SELECT s.segment_id, s.first_sent_at, s.guest_id, s.message_ids, s.message_count FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = erase_archived_batch.tenant_id AND s.guest_id = ANY (erase_archived_batch.guest_ids)
            AND s.first_sent_at >= v_erasure.reached_at AND (s.first_sent_at, s.segment_id) > (v_erasure.reached_at, v_erasure.reached_id)
        ORDER BY s.first_sent_at, s.segment_id LIMIT greatest(1, erase_archived_batch.max_rows / 10) FOR UPDATE
    LOOP
        v_done := guestcomms_internal.erase_segment(erase_archived_batch.tenant_id, erase_archived_batch.erasure_id, v_segment.guest_id, v_segment.segment_id, v_erasure.mode, v_erasure.is_both_sides);
        IF v_done IS NULL THEN
            PERFORM guestcomms_internal.erase_damaged_segment(erase_archived_batch.tenant_id, erase_archived_batch.erasure_id, v_segment.guest_id, v_segment.segment_id, v_segment.message_ids);
        END IF;
        v_treated := v_treated || v_done;
        v_count := v_count + v_segment.message_count;
        UPDATE guestcomms.erasures AS e SET reached_at = v_segment.first_sent_at, reached_id = v_segment.segment_id
        WHERE e.tenant_id = erase_archived_batch.tenant_id AND e.erasure_id = erase_archived_batch.erasure_id;
        EXIT WHEN v_count >= erase_archived_batch.max_rows;
    END LOOP;
    PERFORM guestcomms_internal.rekey_facts(erase_archived_batch.tenant_id, erase_archived_batch.erasure_id, v_treated);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_archived_batch(uuid, uuid, uuid[], integer) IS 'The next segments that an erasure has not come to; returns how many messages are in them.';
