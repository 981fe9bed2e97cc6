-- What staff have read.
CREATE FUNCTION guestcomms_internal.threads_of_messages(tenant_id uuid, message_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT m.thread_id
        FROM (SELECT i.id, guestcomms.uuid_v7_time(i.id) AS sent_at FROM unnest(threads_of_messages.message_ids) AS i (id) OFFSET 0) AS n
        CROSS JOIN LATERAL (SELECT m.thread_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = threads_of_messages.tenant_id AND m.message_id = n.id AND m.sent_at >= n.sent_at AND m.sent_at < n.sent_at + interval '1 millisecond') AS m);
END $$;
COMMENT ON FUNCTION guestcomms_internal.threads_of_messages(uuid, uuid[]) IS 'The threads of messages that are not archived.';

CREATE FUNCTION guestcomms_internal.set_read(tenant_id uuid, message_ids uuid[], read_at timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(set_read.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(set_read.message_ids) AS i (id));
    v_count integer;
BEGIN
    IF v_first IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE guestcomms.messages AS m SET read_at = set_read.read_at
    WHERE m.tenant_id = set_read.tenant_id AND m.message_id = ANY (set_read.message_ids) AND m.sent_at >= v_first AND m.sent_at < v_last
        AND m.direction = 'inbound' AND (m.read_at IS NULL) = (set_read.read_at IS NOT NULL);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.set_read(uuid, uuid[], timestamptz) IS
'Marks messages of guests read, or with NULL unread; returns how many were not. The caller has locked their threads.';

CREATE FUNCTION guestcomms_internal.lock_read_threads(tenant_id uuid, thread_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
BEGIN
    IF num_nonnulls(lock_read_threads.thread_id, lock_read_threads.message_ids) <> 1 OR cardinality(lock_read_threads.message_ids) > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'either thread_id or message_ids is to be given',
            DETAIL = format('%s were given, %s messages.', num_nonnulls(lock_read_threads.thread_id, lock_read_threads.message_ids),
                coalesce(cardinality(lock_read_threads.message_ids), 0)),
            HINT = 'thread_id for a whole conversation; message_ids for at most 10000 messages.';
    END IF;
    IF lock_read_threads.thread_id IS NULL THEN
        PERFORM guestcomms_internal.lock_threads_of(lock_read_threads.tenant_id, lock_read_threads.message_ids);
        RETURN;
    END IF;
    PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_read_threads.tenant_id AND t.thread_id = lock_read_threads.thread_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM guestcomms_internal.raise_no_thread(lock_read_threads.thread_id);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_read_threads(uuid, uuid, uuid[]) IS 'Locks the thread, or those of the messages, in order.';

CREATE FUNCTION guestcomms.mark_read(thread_id uuid DEFAULT NULL, message_ids uuid[] DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_until timestamptz := coalesce(mark_read.until, 'infinity');
    v_messages uuid[];
BEGIN
    PERFORM guestcomms_internal.lock_read_threads(v_tenant, mark_read.thread_id, mark_read.message_ids);
    -- By the index of what is unread, however long the conversation is.
    v_messages := CASE WHEN mark_read.thread_id IS NULL THEN mark_read.message_ids ELSE ARRAY(
        SELECT m.message_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant AND m.thread_id = mark_read.thread_id AND m.sent_at <= v_until AND m.direction = 'inbound' AND m.read_at IS NULL
        LIMIT 10000) END;
    RETURN guestcomms_internal.set_read(v_tenant, v_messages, clock_timestamp());
END $$;
COMMENT ON FUNCTION guestcomms.mark_read(uuid, uuid[], timestamptz) IS
$$Marks messages from the guest as read by staff, and returns how many were not: those named, or of a thread all whose sent_at is not after until, at most 10,000 a call. message_ids of what was shown mark just that. until is for the rest of a conversation: what arrives meanwhile stays unread, unless it was sent before until, as with a webhook that is late or history that is loaded; that counts as seen. What the archive holds is left as it is.
Example: SELECT guestcomms.mark_read(thread_id, until => last_message_at) FROM guestcomms.list_threads(is_unread => true);
See also: mark_unread, list_threads, get_thread, set_thread_status$$;

CREATE FUNCTION guestcomms.mark_unread(thread_id uuid DEFAULT NULL, message_ids uuid[] DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_messages uuid[];
BEGIN
    PERFORM guestcomms_internal.lock_read_threads(v_tenant, mark_unread.thread_id, mark_unread.message_ids);
    v_messages := CASE WHEN mark_unread.thread_id IS NULL THEN mark_unread.message_ids ELSE ARRAY(
        SELECT m.message_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant AND m.thread_id = mark_unread.thread_id AND m.direction = 'inbound' AND m.deleted_at IS NULL
        ORDER BY m.sent_at DESC, m.message_id DESC LIMIT 1) END;
    RETURN guestcomms_internal.set_read(v_tenant, v_messages, NULL);
END $$;
COMMENT ON FUNCTION guestcomms.mark_unread(uuid, uuid[]) IS
$$Marks messages from the guest as unread, and returns how many were not: the newest of a thread, or those named.
Example: SELECT guestcomms.mark_unread(thread_id) FROM guestcomms.list_threads();
See also: mark_read, list_threads$$;
