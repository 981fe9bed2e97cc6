-- One archived message, as it is with what came since, where it lies.
CREATE FUNCTION guestcomms.read_archived(message_id uuid)
RETURNS TABLE (tenant_id uuid, archived_message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, wedding_id uuid, campaign_id uuid, direction text, channel text,
    status text, purpose text, language text, subject text, body text, author text, source text, external_id text, scheduled_at timestamptz, read_at timestamptz,
    edited_at timestamptz, deleted_at timestamptz, metadata jsonb, events jsonb, versions jsonb, attachments jsonb, annotations jsonb, segment_id uuid)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT SET timezone = 'UTC' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_id uuid := read_archived.message_id;
    v_segment record;
    v_content json;
BEGIN
    SELECT s.segment_id, s.guest_id INTO v_segment FROM guestcomms_internal.find_segments(v_tenant, ARRAY[v_id]) AS s;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_content := guestcomms_internal.read_segment(v_tenant, v_segment.segment_id);
    RETURN QUERY
    SELECT m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status, m.purpose, m.language, m.subject, m.body,
        m.author, m.source, m.external_id, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at, m.metadata,
        (SELECT coalesce(jsonb_agg(to_jsonb(e) - 'message_id' ORDER BY e.occurred_at, e.event_id), '[]') FROM (
            SELECT c.* FROM guestcomms_internal.content_events(v_content) AS c WHERE c.message_id = v_id
            UNION ALL
            SELECT h.event_id, h.occurred_at, h.message_id, h.kind, h.is_machine, h.source, h.external_id, h.detail, h.recorded_at
            FROM guestcomms.message_events AS h WHERE h.tenant_id = v_tenant AND h.message_id = v_id) AS e),
        (SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.version_number), '[]') FROM (
            SELECT c.version_number, c.subject, c.body, guestcomms_internal.from_microseconds(c.replaced_at) AS replaced_at, c.replaced_by
            FROM json_to_recordset(v_content -> 'versions') AS c (message_id uuid, version_number integer, subject text, body text, replaced_at bigint, replaced_by text)
            WHERE c.message_id = v_id
            UNION ALL
            SELECT h.version_number, h.subject, h.body, h.replaced_at, h.replaced_by FROM guestcomms.message_versions AS h WHERE h.tenant_id = v_tenant AND h.message_id = v_id) AS v),
        (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.created_at, a.attachment_id), '[]') FROM (
            SELECT c.attachment_id, c.name, c.media_type, c.byte_count, c.sha256, c.uri, guestcomms_internal.from_microseconds(c.created_at) AS created_at,
                guestcomms_internal.from_microseconds(c.deleted_at) AS deleted_at
            FROM json_to_recordset(v_content -> 'attachments') AS c (attachment_id uuid, message_id uuid, name text, media_type text, byte_count bigint, sha256 text, uri text,
                created_at bigint, deleted_at bigint)
            WHERE c.message_id = v_id
            UNION ALL
            SELECT h.attachment_id, h.name, h.media_type, h.byte_count, encode(h.sha256, 'hex'), h.uri, h.created_at, h.deleted_at
            FROM guestcomms.attachments AS h WHERE h.tenant_id = v_tenant AND h.message_id = v_id) AS a),
        (SELECT coalesce(jsonb_agg(to_jsonb(n) ORDER BY n.created_at, n.annotation_id), '[]') FROM (
            SELECT c.annotation_id, c.kind, c.value::jsonb AS value, c.confidence::double precision AS confidence, c.annotator, guestcomms_internal.from_microseconds(c.created_at) AS created_at
            FROM json_to_recordset(v_content -> 'annotations') AS c (annotation_id uuid, message_id uuid, kind text, value text, confidence text, annotator text, created_at bigint)
            WHERE c.message_id = v_id
            UNION ALL
            SELECT h.annotation_id, h.kind, h.value, h.confidence, h.annotator, h.created_at
            FROM guestcomms.message_annotations AS h WHERE h.tenant_id = v_tenant AND h.message_id = v_id) AS n),
        v_segment.segment_id
    FROM guestcomms_internal.content_messages(v_tenant, v_segment.guest_id, v_content) AS m
    WHERE m.message_id = v_id;
END $$;
COMMENT ON FUNCTION guestcomms.read_archived(uuid) IS
$$One archived message of the current tenant with its events, earlier versions, attachments and annotations, those that came after it was archived among them; no row where it is not archived. Nothing is restored. A damaged segment is an error XX001.
Example: SELECT sent_at, body, events FROM guestcomms.read_archived('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d');
See also: search_messages, restore_messages, verify_archive$$;
