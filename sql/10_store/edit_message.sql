-- Edits: the text that was stays as a version. An archived message comes back first; the next run archives it as it is then.
CREATE FUNCTION guestcomms.edit_message(message_id uuid, body text DEFAULT NULL, subject text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_since timestamptz := guestcomms.uuid_v7_time(edit_message.message_id);
    v_message record;
    v_version integer;
BEGIN
    IF num_nonnulls(edit_message.body, edit_message.subject) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'there is nothing to change', HINT = 'Give the new body, the new subject or both.';
    ELSIF octet_length(edit_message.body) > 1048576 THEN
        PERFORM guestcomms_internal.raise_ingest_problem('body_size', format('%s bytes.', octet_length(edit_message.body)));
    ELSIF char_length(edit_message.subject) > 2000 THEN
        PERFORM guestcomms_internal.raise_ingest_problem('subject_size', format('%s characters.', char_length(edit_message.subject)));
    END IF;
    FOR v_attempt IN 1..2 LOOP
        SELECT m.subject, m.body INTO v_message FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant AND m.message_id = edit_message.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond'
        FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        IF v_attempt = 2 THEN
            PERFORM guestcomms_internal.raise_ingest_problem('message', format('message_id %s.', edit_message.message_id));
        END IF;
        PERFORM guestcomms_internal.restore_archived(v_tenant, ARRAY[edit_message.message_id]);
    END LOOP;
    INSERT INTO guestcomms.message_versions (tenant_id, message_id, version_number, subject, body)
    SELECT v_tenant, edit_message.message_id, 1 + coalesce(max(v.version_number), 0), v_message.subject, v_message.body
    FROM guestcomms.message_versions AS v WHERE v.tenant_id = v_tenant AND v.message_id = edit_message.message_id
    RETURNING version_number INTO v_version;
    UPDATE guestcomms.messages AS m
    SET body = coalesce(edit_message.body, m.body), subject = CASE WHEN edit_message.subject IS NULL THEN m.subject ELSE nullif(edit_message.subject, '') END,
        edited_at = clock_timestamp()
    WHERE m.tenant_id = v_tenant AND m.message_id = edit_message.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond';
    RETURN v_version;
END $$;
COMMENT ON FUNCTION guestcomms.edit_message(uuid, text, text) IS
$$Changes the text of a message of the current tenant and returns the number of the version that keeps the text as it was. What is not given stays; an empty subject removes it. An archived message is brought back into the hot tables for it, and archived again by a policy that names it.
Example: SELECT guestcomms.edit_message('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d', body => 'The shuttle leaves at five.');
See also: record_message, read_archived, search_messages$$;
