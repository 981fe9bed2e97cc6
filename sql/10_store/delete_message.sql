-- Deleting a message: its row stays, so that conversation and statistics keep their place; its text does not, nowhere.
CREATE FUNCTION guestcomms.delete_message(message_id uuid, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_since timestamptz := guestcomms.uuid_v7_time(delete_message.message_id);
    v_message record;
BEGIN
    IF char_length(delete_message.reason) NOT BETWEEN 1 AND 2000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the text is too short or too long',
            DETAIL = format('reason has %s characters.', char_length(delete_message.reason)), HINT = 'Give between 1 and 2000 characters, or leave it out.';
    END IF;
    -- The thread before what the guest wrote, as whoever marks it read: it counts one unread message less.
    PERFORM FROM guestcomms.threads AS t
    WHERE t.tenant_id = v_tenant AND t.thread_id = (SELECT m.thread_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant AND m.message_id = delete_message.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond' AND m.direction = 'inbound')
    FOR NO KEY UPDATE;
    -- And the message from whoever adds to it, such as an annotator, who would add to what is gone.
    PERFORM FROM guestcomms.messages AS m
    WHERE m.tenant_id = v_tenant AND m.message_id = delete_message.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond' FOR UPDATE;
    SELECT * INTO v_message FROM guestcomms_internal.lock_message(v_tenant, delete_message.message_id);
    IF v_message.deleted_at IS NOT NULL THEN
        RETURN false;
    ELSIF guestcomms_internal.is_held(v_tenant, v_message.guest_id, v_message.thread_id, v_message.wedding_id, v_message.sent_at, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a hold keeps the message', DETAIL = format('message_id %s.', delete_message.message_id),
            HINT = 'SELECT hold_id, scope, reason FROM guestcomms.list_holds(); release_hold() ends one.';
    ELSIF v_message.status = 'queued' AND v_message.direction = 'outbound' THEN
        PERFORM guestcomms.cancel_message(delete_message.message_id);
    END IF;
    DELETE FROM guestcomms.message_versions AS v WHERE v.tenant_id = v_tenant AND v.message_id = delete_message.message_id;
    -- What programs found in the text tells of it, an embedding nearly all.
    DELETE FROM guestcomms.message_annotations AS n WHERE n.tenant_id = v_tenant AND n.message_id = delete_message.message_id;
    PERFORM guestcomms_internal.note_attachment_removal(v_tenant, ARRAY[delete_message.message_id], 'message deleted');
    UPDATE guestcomms.messages AS m SET body = '', subject = NULL, metadata = '{}', deleted_at = clock_timestamp()
    WHERE m.tenant_id = v_tenant AND m.message_id = delete_message.message_id AND m.sent_at = v_message.sent_at;
    INSERT INTO guestcomms.message_deletions (tenant_id, message_id, reason) VALUES (v_tenant, delete_message.message_id, delete_message.reason)
    -- An import may have brought the message anew.
    ON CONFLICT ON CONSTRAINT message_deletions_pkey DO UPDATE SET deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by, reason = excluded.reason;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'delete_message', 'message ' || delete_message.message_id);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.delete_message(uuid, text) IS
$$Withdraws a message of the current tenant; false where it was withdrawn before. Its row stays, with deleted_at, its place in the conversation and its events; body, subject, metadata, earlier versions, annotations and attachments are gone for good, and the attachments' contents come on the to-delete list. Search finds it by its text no more, statistics go on counting it. A queued message is cancelled with it. An archived one is brought back for it, and archived again without its text. Refused where a hold covers it or a worker is sending it. What mailboxes and telephones of guests have received stays there.
Example: SELECT guestcomms.delete_message(guestcomms.record_message('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'outbound', 'chat', 'Wrong window, sorry'), reason => 'sent to the wrong guest');
See also: edit_message, cancel_message, list_message_versions, list_holds$$;
