-- Attachments: what is known of them. Their content is in the object store, and what is no longer used there comes on the
-- to-delete list. An archived message keeps its attachments; one that is added to it waits as a late detail.
CREATE FUNCTION guestcomms_internal.attachment_problem(name text, media_type text, bytes bigint, sha256 bytea, uri text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE
        WHEN coalesce(char_length(name) NOT BETWEEN 1 AND 1000, true) THEN format('name has %s characters.', coalesce(char_length(name), 0))
        WHEN coalesce(char_length(media_type) > 255 OR media_type !~* '^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$', true)
            THEN format('media_type has %s characters.', coalesce(char_length(media_type), 0))
        WHEN coalesce(bytes < 0, true) THEN format('bytes is %s.', coalesce(bytes::text, 'null'))
        WHEN octet_length(sha256) <> 32 THEN format('sha256 has %s bytes.', octet_length(sha256))
        WHEN char_length(uri) NOT BETWEEN 1 AND 4000 THEN format('uri has %s characters.', char_length(uri)) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.attachment_problem(text, text, bigint, bytea, text) IS 'What cannot be true of an attachment, NULL for nothing; never quotes it.';

CREATE FUNCTION guestcomms.add_attachment(message_id uuid, name text, media_type text, bytes bigint, sha256 bytea DEFAULT NULL, uri text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_since timestamptz := guestcomms.uuid_v7_time(add_attachment.message_id);
    v_problem text := guestcomms_internal.attachment_problem(add_attachment.name, add_attachment.media_type, add_attachment.bytes, add_attachment.sha256, add_attachment.uri);
    v_deleted_at timestamptz;
    v_attachment uuid;
BEGIN
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'an attachment has a name, a media type and a size', DETAIL = v_problem,
            HINT = 'name: up to 1000 characters; media_type: such as image/jpeg; bytes: from 0; sha256: 32 bytes or none; uri: up to 4000 characters or none.';
    END IF;
    -- Held, so that the archive does not take the message meanwhile.
    SELECT m.deleted_at INTO v_deleted_at FROM guestcomms.messages AS m
    WHERE m.tenant_id = v_tenant AND m.message_id = add_attachment.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond'
    FOR KEY SHARE;
    IF NOT FOUND AND cardinality(guestcomms_internal.list_archived(v_tenant, ARRAY[add_attachment.message_id])) = 0 THEN
        PERFORM guestcomms_internal.raise_ingest_problem('message', format('message_id %s.', coalesce(add_attachment.message_id::text, 'is missing')));
    ELSIF v_deleted_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the message was deleted', DETAIL = format('message_id %s.', add_attachment.message_id),
            HINT = 'Record another message.';
    END IF;
    INSERT INTO guestcomms.attachments AS a (tenant_id, message_id, name, media_type, byte_count, sha256, uri)
    VALUES (v_tenant, add_attachment.message_id, add_attachment.name, lower(add_attachment.media_type), add_attachment.bytes, add_attachment.sha256, add_attachment.uri)
    RETURNING a.attachment_id INTO v_attachment;
    -- Only now, when the insert holds the content: whoever puts it on the list waits, or has been seen.
    IF EXISTS (SELECT FROM guestcomms.attachment_removals AS r
        WHERE r.tenant_id = v_tenant AND r.uri_hash = guestcomms_internal.uri_hash(add_attachment.uri) AND r.removed_at IS NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the content is about to be deleted from the object store',
            DETAIL = 'Its uri is on the list of list_attachment_removals().', HINT = 'Store the content again under another uri.';
    END IF;
    RETURN v_attachment;
END $$;
COMMENT ON FUNCTION guestcomms.add_attachment(uuid, text, text, bigint, bytea, text) IS
$$Notes an attachment of a message, which may be archived, and returns attachment_id. bytes is its size; sha256 the hash of its content, and uri where that is: in your object store, never here. Found by has:attachment and, by words of its name, file:seating in searches. A uri may be given for several messages.
Example: SELECT guestcomms.add_attachment('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d', 'seating-plan.pdf', 'application/pdf', 48123, uri => 's3://rose-and-quill/2026/seating-plan.pdf');
See also: list_attachments, remove_attachment, list_attachment_removals, search_messages$$;

CREATE FUNCTION guestcomms_internal.find_attachments(of_message uuid, of_thread uuid, max_rows integer, after uuid)
RETURNS TABLE (attachment_id uuid, message_id uuid, name text, media_type text, bytes bigint, sha256 bytea, uri text, created_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_after_message uuid;
    v_after uuid := find_attachments.after;
BEGIN
    IF num_nonnulls(of_message, of_thread) <> 1 OR coalesce(find_attachments.max_rows NOT BETWEEN 1 AND 1000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'attachments are listed of one message or one thread', DETAIL = format('max_rows is %s.', coalesce(find_attachments.max_rows::text, 'null')),
            HINT = 'Give message_id or thread_id, and max_rows from 1 to 1000.';
    END IF;
    IF find_attachments.after IS NOT NULL THEN
        SELECT c.message_id INTO v_after_message FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = v_tenant AND c.attachment_id = find_attachments.after;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such attachment', DETAIL = format('after is %s.', find_attachments.after),
                HINT = 'after is the attachment_id of the last row of the page before.';
        END IF;
    END IF;
    IF of_message IS NOT NULL THEN
        RETURN QUERY
        SELECT c.attachment_id, c.message_id, c.name, c.media_type, c.byte_count, c.sha256, c.uri, c.created_at
        FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = v_tenant AND c.message_id = of_message AND (find_attachments.after IS NULL OR c.attachment_id > v_after)
        ORDER BY c.attachment_id
        LIMIT find_attachments.max_rows;
    ELSE
        RETURN QUERY
        SELECT c.attachment_id, c.message_id, c.name, c.media_type, c.byte_count, c.sha256, c.uri, c.created_at
        FROM (SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = v_tenant AND m.thread_id = of_thread
                AND (find_attachments.after IS NULL OR m.sent_at < guestcomms.uuid_v7_time(v_after_message) + interval '1 millisecond')
            ORDER BY m.sent_at DESC OFFSET 0) AS m
        CROSS JOIN LATERAL (SELECT a.* FROM guestcomms_internal.attachment_contents AS a
            WHERE a.tenant_id = v_tenant AND a.message_id = m.message_id OFFSET 0) AS c
        WHERE find_attachments.after IS NULL OR (c.message_id, c.attachment_id) < (v_after_message, v_after)
        ORDER BY c.message_id DESC, c.attachment_id DESC
        LIMIT find_attachments.max_rows;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_attachments(uuid, uuid, integer, uuid) IS 'What list_attachments() lists.';

CREATE FUNCTION guestcomms.list_attachments(message_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL, max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (attachment_id uuid, message_id uuid, name text, media_type text, bytes bigint, sha256 bytea, uri text, created_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
    -- By number: some parameters share their names with columns of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.find_attachments($1, $2, $3, $4)
$$;
COMMENT ON FUNCTION guestcomms.list_attachments(uuid, uuid, integer, uuid) IS
$$Attachments of a message, archived or not, or of a thread's messages that are not archived, the newest message first. For the next page, after is the last row's attachment_id.
Example: SELECT name, media_type, bytes, uri FROM guestcomms.list_attachments('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d');
See also: add_attachment, remove_attachment, read_archived$$;

CREATE FUNCTION guestcomms.remove_attachment(attachment_id uuid, reason text DEFAULT 'removed') RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_message uuid := (SELECT c.message_id FROM guestcomms_internal.attachment_contents AS c WHERE c.tenant_id = v_tenant AND c.attachment_id = remove_attachment.attachment_id);
    v_held record;
BEGIN
    IF coalesce(char_length(remove_attachment.reason) NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the reason is too short or too long',
            DETAIL = format('It has %s characters.', coalesce(char_length(remove_attachment.reason), 0)), HINT = 'Give between 1 and 200 characters.';
    ELSIF v_message IS NULL THEN
        RETURN false;
    END IF;
    -- Out of its segment, which would keep its name; and held in the hot tables.
    PERFORM guestcomms_internal.restore_archived(v_tenant, ARRAY[v_message]);
    SELECT m.guest_id, m.thread_id, m.wedding_id, m.sent_at INTO v_held FROM guestcomms.messages AS m
    WHERE m.tenant_id = v_tenant AND m.message_id = v_message AND m.sent_at >= guestcomms.uuid_v7_time(v_message)
        AND m.sent_at < guestcomms.uuid_v7_time(v_message) + interval '1 millisecond'
    FOR KEY SHARE;
    IF FOUND AND guestcomms_internal.is_held(v_tenant, v_held.guest_id, v_held.thread_id, v_held.wedding_id, v_held.sent_at, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a hold keeps the message and its attachments',
            DETAIL = format('message_id %s.', v_message), HINT = 'SELECT hold_id, scope, reason FROM guestcomms.list_holds(); release_hold() ends one.';
    END IF;
    DELETE FROM guestcomms.attachments AS a WHERE a.tenant_id = v_tenant AND a.attachment_id = remove_attachment.attachment_id;
    PERFORM guestcomms_internal.drop_contents(v_tenant, ARRAY[remove_attachment.attachment_id], remove_attachment.reason);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'remove_attachment', 'attachment ' || remove_attachment.attachment_id);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_attachment(uuid, text) IS
$$Removes what is known of an attachment and returns whether there was one. Its content comes on the list of what is to be deleted from the object store, unless another attachment uses it. An archived message comes back into the hot tables for it, and is archived again by a policy that names it. Refused where a hold covers the message.
Example: SELECT guestcomms.remove_attachment(attachment_id, 'sent by mistake') FROM guestcomms.list_attachments('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d');
See also: add_attachment, list_attachment_removals, list_holds$$;
