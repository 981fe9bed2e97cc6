-- Edits: the text that was stays as a version. An archived message comes back first; the next run archives it as it is then.
CREATE FUNCTION guestcomms.edit_message(message_id uuid, body text DEFAULT NULL, subject text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
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
    SELECT * INTO v_message FROM guestcomms_internal.lock_message(v_tenant, edit_message.message_id);
    IF v_message.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the message has been deleted', DETAIL = format('message_id %s.', edit_message.message_id),
            HINT = 'Its text is gone for good; record_message() records another.';
    ELSIF v_message.status = 'queued' THEN
        PERFORM guestcomms_internal.refuse_claimed(v_tenant, edit_message.message_id);
    END IF;
    INSERT INTO guestcomms.message_versions (tenant_id, message_id, version_number, subject, body, replaced_at)
    SELECT v_tenant, edit_message.message_id, 1 + coalesce(max(v.version_number), 0), v_message.subject, v_message.body, clock_timestamp()
    FROM guestcomms.message_versions AS v WHERE v.tenant_id = v_tenant AND v.message_id = edit_message.message_id
    RETURNING version_number INTO v_version;
    UPDATE guestcomms.messages AS m
    SET body = coalesce(edit_message.body, m.body), subject = CASE WHEN edit_message.subject IS NULL THEN m.subject ELSE nullif(edit_message.subject, '') END,
        edited_at = clock_timestamp()
    WHERE m.tenant_id = v_tenant AND m.message_id = edit_message.message_id AND m.sent_at = v_message.sent_at;
    RETURN v_version;
END $$;
COMMENT ON FUNCTION guestcomms.edit_message(uuid, text, text) IS
$$Changes the text of a message of the current tenant and returns the number of the version that keeps the text as it was. What is not given stays; an empty subject removes it. A message that has been sent may be edited too, as chats allow: list_message_versions() tells which text the guest got. One that a worker is sending may not, nor one that was deleted. An archived message is brought back into the hot tables for it, and archived again by a policy that names it.
Example: SELECT guestcomms.edit_message('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d', body => 'The shuttle leaves at five.');
See also: list_message_versions, delete_message, record_message, read_archived, search_messages$$;

CREATE FUNCTION guestcomms.list_message_versions(message_id uuid)
RETURNS TABLE (version_number integer, subject text, body text, replaced_at timestamptz, replaced_by text, is_current boolean, is_as_sent boolean)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 3 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_since timestamptz := guestcomms.uuid_v7_time(list_message_versions.message_id);
    v_message record;
    v_sent_at timestamptz;
BEGIN
    SELECT m.status, m.sent_at, m.subject, m.body,
        (SELECT min(e.occurred_at) FROM guestcomms.message_events AS e
            WHERE e.tenant_id = v_tenant AND e.message_id = list_message_versions.message_id AND e.kind = 'sent') AS left_at,
        (SELECT jsonb_agg(to_jsonb(v)) FROM guestcomms.message_versions AS v
            WHERE v.tenant_id = v_tenant AND v.message_id = list_message_versions.message_id) AS versions
    INTO v_message FROM guestcomms.messages AS m
    WHERE m.tenant_id = v_tenant AND m.message_id = list_message_versions.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond';
    IF NOT FOUND THEN
        SELECT a.status, a.sent_at, a.subject, a.body,
            (SELECT min(e.occurred_at) FROM jsonb_to_recordset(a.events) AS e (kind text, occurred_at timestamptz) WHERE e.kind = 'sent') AS left_at, a.versions
        INTO v_message FROM guestcomms.read_archived(list_message_versions.message_id) AS a;
        IF NOT FOUND THEN
            PERFORM guestcomms_internal.raise_ingest_problem('message', 'message_id ' || coalesce(list_message_versions.message_id::text, 'is missing') || '.');
        END IF;
    END IF;
    -- Without an event it was sent, or received, when it was recorded.
    v_sent_at := CASE WHEN v_message.status NOT IN ('queued', 'cancelled') THEN coalesce(v_message.left_at, v_message.sent_at) END;
    RETURN QUERY
    SELECT t.version_number, t.subject, t.body, t.replaced_at, t.replaced_by, t.replaced_at IS NULL,
        v_sent_at IS NOT NULL AND t.version_number = min(t.version_number) FILTER (WHERE t.replaced_at IS NULL OR t.replaced_at > v_sent_at) OVER ()
    FROM (
        SELECT v.version_number, v.subject, v.body, v.replaced_at, v.replaced_by
        FROM jsonb_to_recordset(v_message.versions) AS v (version_number integer, subject text, body text, replaced_at timestamptz, replaced_by text)
        UNION ALL
        SELECT 1 + coalesce((SELECT max((v ->> 'version_number')::integer) FROM jsonb_array_elements(v_message.versions) AS v), 0), v_message.subject, v_message.body, NULL, NULL
    ) AS t
    ORDER BY t.version_number;
END $$;
COMMENT ON FUNCTION guestcomms.list_message_versions(uuid) IS
$$All texts that a message of the current tenant has had, archived or not, the first one first and the one it has now last: is_current. is_as_sent marks the text that left, or arrived; none where it has not been sent. Of a deleted message there is the empty one alone.
Example: SELECT v.version_number, v.body, v.is_as_sent FROM guestcomms.search_messages('menu', max_rows => 1) AS m CROSS JOIN guestcomms.list_message_versions(m.message_id) AS v;
See also: edit_message, delete_message$$;
