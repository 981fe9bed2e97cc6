-- What staff do with a conversation, and what a message does with one that they were done with. All lock the thread's row and
-- nothing else.
CREATE FUNCTION guestcomms_internal.raise_no_thread(thread_id uuid) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such thread',
        DETAIL = 'thread_id ' || coalesce(raise_no_thread.thread_id::text, 'is missing') || '.',
        HINT = 'SELECT thread_id, subject FROM guestcomms.list_threads(status => ''all'');';
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_no_thread(uuid) IS 'Says that the tenant has no such thread.';

CREATE FUNCTION guestcomms_internal.find_sleeping_threads(tenant_id uuid, thread_ids uuid[], times timestamptz[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- What the guest wrote a day or more before staff were done with the thread they will have seen: it is history that is loaded
    -- late. Asked with every message, so not under row security, which would verify the tenant once more.
    RETURN ARRAY(
        SELECT t.thread_id FROM guestcomms.threads AS t
        WHERE t.tenant_id = find_sleeping_threads.tenant_id AND t.thread_id = ANY (find_sleeping_threads.thread_ids) AND (t.status <> 'open' OR t.snoozed_until IS NOT NULL)
            AND (t.snoozed_until <= now()
                OR EXISTS (SELECT FROM unnest(find_sleeping_threads.thread_ids, find_sleeping_threads.times) AS m (thread_id, sent_at)
                    WHERE m.thread_id = t.thread_id AND m.sent_at > t.status_changed_at - interval '1 day')));
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_sleeping_threads(uuid, uuid[], timestamptz[]) IS
'Those of the threads that messages open again: times are of a guest''s, NULL for others, which only end a snooze that is over.';

CREATE FUNCTION guestcomms_internal.wake_threads(tenant_id uuid, sleeping_ids uuid[], thread_ids uuid[], times timestamptz[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms.threads AS t
    SET snoozed_until = NULL, status_changed_at = clock_timestamp(),
        status = CASE WHEN EXISTS (SELECT FROM unnest(wake_threads.thread_ids, wake_threads.times) AS m (thread_id, sent_at)
                WHERE m.thread_id = t.thread_id AND m.sent_at > t.status_changed_at - interval '1 day') THEN 'open' ELSE t.status END
    WHERE t.tenant_id = wake_threads.tenant_id AND t.thread_id = ANY (ARRAY(
        SELECT l.thread_id FROM guestcomms.threads AS l
        WHERE l.tenant_id = wake_threads.tenant_id AND l.thread_id = ANY (wake_threads.sleeping_ids) FOR NO KEY UPDATE SKIP LOCKED));
END $$;
COMMENT ON FUNCTION guestcomms_internal.wake_threads(uuid, uuid[], uuid[], timestamptz[]) IS
'Opens threads that find_sleeping_threads() found. The messages'' trigger has locked them, in order, but for those that got nothing but queued messages: of these one that somebody has stays as it is.';

CREATE FUNCTION guestcomms.set_thread_status(thread_id uuid, status text, seen_until timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_last_inbound_at timestamptz;
BEGIN
    IF coalesce(set_thread_status.status NOT IN ('open', 'waiting', 'closed'), true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'status is not valid',
            HINT = 'It is open, waiting (for the guest) or closed; snooze_thread() puts a thread aside.';
    END IF;
    SELECT t.last_inbound_at INTO v_last_inbound_at FROM guestcomms.threads AS t
    WHERE t.tenant_id = v_tenant AND t.thread_id = set_thread_status.thread_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.raise_no_thread(set_thread_status.thread_id);
    ELSIF v_last_inbound_at > set_thread_status.seen_until THEN
        RETURN false;
    END IF;
    UPDATE guestcomms.threads AS t SET status = set_thread_status.status, snoozed_until = NULL, status_changed_at = clock_timestamp()
    WHERE t.tenant_id = v_tenant AND t.thread_id = set_thread_status.thread_id;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.set_thread_status(uuid, text, timestamptz) IS
$$Sets a thread's status: open, waiting (for the guest) or closed; a snooze ends with it. With seen_until, the time of the last message that was seen, it changes nothing and returns false where a message from the guest has a later sent_at; one that arrived since and was sent before counts as seen, as with a webhook that is late. A message from the guest opens a thread again.
Example: SELECT guestcomms.set_thread_status(thread_id, 'closed', seen_until => last_message_at) FROM guestcomms.list_threads();
See also: list_threads, assign_thread, snooze_thread, mark_read$$;

CREATE FUNCTION guestcomms.assign_thread(thread_id uuid, assigned_to text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF char_length(assign_thread.assigned_to) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'assigned_to must have 1 to 200 characters',
            DETAIL = format('It has %s.', char_length(assign_thread.assigned_to)), HINT = 'Whatever the application calls its staff by; NULL for nobody.';
    END IF;
    UPDATE guestcomms.threads AS t SET assigned_to = assign_thread.assigned_to
    WHERE t.tenant_id = v_tenant AND t.thread_id = assign_thread.thread_id;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.raise_no_thread(assign_thread.thread_id);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.assign_thread(uuid, text) IS
$$Gives a thread to one of the tenant's staff, by whatever name the application has for them, or with NULL to nobody.
Example: SELECT guestcomms.assign_thread(thread_id, 'mira') FROM guestcomms.list_threads(is_unassigned => true);
See also: list_threads, set_thread_status$$;

CREATE FUNCTION guestcomms.snooze_thread(thread_id uuid, until timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_status text;
BEGIN
    IF snooze_thread.until <= now() OR snooze_thread.until > now() + interval '10 years' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a thread is put aside until a time to come',
            DETAIL = format('until is %s.', snooze_thread.until), HINT = 'At most ten years ahead; NULL brings it back now.';
    END IF;
    SELECT t.status INTO v_status FROM guestcomms.threads AS t
    WHERE t.tenant_id = v_tenant AND t.thread_id = snooze_thread.thread_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.raise_no_thread(snooze_thread.thread_id);
    ELSIF v_status = 'closed' AND snooze_thread.until IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the thread is closed',
            DETAIL = format('thread_id %s.', snooze_thread.thread_id), HINT = 'SELECT guestcomms.set_thread_status(thread_id, ''open''); first.';
    END IF;
    UPDATE guestcomms.threads AS t SET snoozed_until = snooze_thread.until, status_changed_at = clock_timestamp()
    WHERE t.tenant_id = v_tenant AND t.thread_id = snooze_thread.thread_id;
END $$;
COMMENT ON FUNCTION guestcomms.snooze_thread(uuid, timestamptz) IS
$$Puts a thread aside until a time to come, or with NULL brings it back. It comes back by itself then, at that place in the order of activity, or at once when the guest writes.
Example: SELECT guestcomms.snooze_thread(thread_id, now() + interval '3 days') FROM guestcomms.list_threads();
See also: list_threads, set_thread_status$$;
