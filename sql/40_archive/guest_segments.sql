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
    v_segments uuid[];
    v_ids uuid[];
BEGIN
    -- Without reading them: a damaged segment is dropped like any other.
    WITH chosen AS MATERIALIZED (
        SELECT s.segment_id, s.first_sent_at FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = drop_guest_segments.tenant_id AND s.guest_id = drop_guest_segments.guest_id
        ORDER BY s.segment_id LIMIT drop_guest_segments.max_rows FOR UPDATE
    ), gone AS (
        DELETE FROM guestcomms.archive_segments AS s USING chosen AS c
        WHERE s.tenant_id = drop_guest_segments.tenant_id AND s.segment_id = c.segment_id AND s.first_sent_at = c.first_sent_at
        RETURNING s.segment_id, s.message_ids
    )
    SELECT array_agg(DISTINCT g.segment_id), array_agg(i.id) INTO v_segments, v_ids FROM gone AS g CROSS JOIN LATERAL unnest(g.message_ids) AS i (id);
    DELETE FROM guestcomms.archive_checks AS c WHERE c.tenant_id = drop_guest_segments.tenant_id AND c.segment_id = ANY (v_segments);
    DELETE FROM guestcomms.archive_codec_trials AS t WHERE t.tenant_id = drop_guest_segments.tenant_id AND t.segment_id = ANY (v_segments);
    DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = drop_guest_segments.tenant_id AND d.message_id = ANY (v_ids);
    RETURN coalesce(cardinality(v_segments), 0);
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_guest_segments(uuid, uuid, integer) IS
'Drops segments of a guest with all that is in them, at most max_rows, and returns how many; the search statistics are the caller''s to count anew.';
