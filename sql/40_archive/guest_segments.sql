-- The archive of one guest, for subject requests and erasure: what there is, what is in it, what is to go.
CREATE FUNCTION guestcomms_internal.list_guest_segments(tenant_id uuid, guest_id uuid)
RETURNS TABLE (segment_id uuid, first_sent_at timestamptz, last_sent_at timestamptz, message_ids uuid[], event_count integer, detail_count integer)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.segment_id, s.first_sent_at, s.last_sent_at, s.message_ids, s.event_count, s.detail_count FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = list_guest_segments.tenant_id AND s.guest_id = list_guest_segments.guest_id
    ORDER BY s.first_sent_at, s.segment_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_guest_segments(uuid, uuid) IS 'The segments of a guest; read_segment() and content_messages() read them, rewrite_segments() removes some messages, drop_guest_segments() all.';

CREATE FUNCTION guestcomms_internal.drop_guest_segments(tenant_id uuid, guest_id uuid, max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_segment record;
    v_threads uuid[] := ARRAY[]::uuid[];
    v_count bigint := 0;
BEGIN
    FOR v_segment IN
        SELECT s.segment_id, s.first_sent_at, s.message_ids, s.thread_ids FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = drop_guest_segments.tenant_id AND s.guest_id = drop_guest_segments.guest_id
        ORDER BY s.segment_id LIMIT drop_guest_segments.max_rows FOR UPDATE
    LOOP
        -- A damaged segment is dropped like any other, though nobody can say which words go with it.
        PERFORM guestcomms_internal.log_removal(drop_guest_segments.tenant_id, ARRAY(
            SELECT m FROM guestcomms_internal.content_messages(drop_guest_segments.tenant_id, drop_guest_segments.guest_id,
                guestcomms_internal.read_segment(drop_guest_segments.tenant_id, v_segment.segment_id, true)) AS m));
        DELETE FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = drop_guest_segments.tenant_id AND s.segment_id = v_segment.segment_id AND s.first_sent_at = v_segment.first_sent_at;
        DELETE FROM guestcomms.archive_checks AS c WHERE c.tenant_id = drop_guest_segments.tenant_id AND c.segment_id = v_segment.segment_id;
        DELETE FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = drop_guest_segments.tenant_id AND t.segment_id = v_segment.segment_id;
        DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = drop_guest_segments.tenant_id AND d.message_id = ANY (v_segment.message_ids);
        v_threads := v_threads || v_segment.thread_ids;
        v_count := v_count + 1;
    END LOOP;
    PERFORM guestcomms_internal.refresh_thread_states(drop_guest_segments.tenant_id, v_threads);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_guest_segments(uuid, uuid, integer) IS
'Drops segments of a guest with all that is in them, at most max_rows, and returns how many; what is counted of their messages is taken off.';
