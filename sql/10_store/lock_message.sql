-- A thread is locked before its messages, by everybody who may change both: else whoever has acted on a conversation and goes on
-- to one of its messages waits for somebody who has that message and waits for the conversation.
CREATE FUNCTION guestcomms_internal.lock_threads_of(tenant_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    -- Here, for a function within the condition may be called for every thread there is.
    v_threads uuid[] := guestcomms_internal.threads_of_messages(lock_threads_of.tenant_id, lock_threads_of.message_ids);
BEGIN
    PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_threads_of.tenant_id AND t.thread_id = ANY (v_threads)
    ORDER BY t.thread_id FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_threads_of(uuid, uuid[]) IS 'Locks the threads of messages that are not archived, in order.';

CREATE FUNCTION guestcomms_internal.lock_thread_of(tenant_id uuid, message_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(lock_thread_of.message_id);
BEGIN
    PERFORM FROM guestcomms.threads AS t
    WHERE t.tenant_id = lock_thread_of.tenant_id AND t.thread_id = (SELECT m.thread_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = lock_thread_of.tenant_id AND m.message_id = lock_thread_of.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond')
    FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_thread_of(uuid, uuid) IS 'Locks the thread of a message that is not archived.';

-- One message, held until the transaction ends by whoever changes it; an archived one comes back first.
CREATE FUNCTION guestcomms_internal.lock_message(
    tenant_id uuid, message_id uuid, OUT guest_id uuid, OUT thread_id uuid, OUT wedding_id uuid, OUT sent_at timestamptz, OUT direction text, OUT status text,
    OUT subject text, OUT body text, OUT scheduled_at timestamptz, OUT deleted_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(lock_message.message_id);
BEGIN
    FOR v_attempt IN 1..2 LOOP
        SELECT m.guest_id, m.thread_id, m.wedding_id, m.sent_at, m.direction, m.status, m.subject, m.body, m.scheduled_at, m.deleted_at
        INTO guest_id, thread_id, wedding_id, sent_at, direction, status, subject, body, scheduled_at, deleted_at
        FROM guestcomms.messages AS m
        WHERE m.tenant_id = lock_message.tenant_id AND m.message_id = lock_message.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond'
        FOR NO KEY UPDATE;
        IF FOUND THEN
            RETURN;
        END IF;
        EXIT WHEN v_attempt = 2;
        PERFORM guestcomms_internal.restore_archived(lock_message.tenant_id, ARRAY[lock_message.message_id]);
    END LOOP;
    PERFORM guestcomms_internal.raise_ingest_problem('message', 'message_id ' || coalesce(lock_message.message_id::text, 'is missing') || '.');
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_message(uuid, uuid) IS
'Locks a message and returns what is decided by; brought back if it was archived, an error where there is none.';

CREATE FUNCTION guestcomms_internal.refuse_claimed(tenant_id uuid, message_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF guestcomms_internal.has_live_claim(refuse_claimed.tenant_id, refuse_claimed.message_id, clock_timestamp()) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a worker is sending the message',
            DETAIL = format('message_id %s.', refuse_claimed.message_id),
            HINT = 'It may have left already. SELECT outcome, leased_until FROM guestcomms.list_send_attempts(message_id) says when to try again.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_claimed(uuid, uuid) IS 'An error where a worker has the message, which the caller has locked: what it sends cannot be changed any more.';
