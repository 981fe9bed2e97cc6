-- What a thread's messages amount to, computed from them, hot and archived. Triggers keep the same in the thread's row without
-- reading messages, wherever that can be told from what changed; where it cannot, and in rebuild_thread_states(), this is asked.
CREATE TYPE guestcomms_internal.thread_state AS (
    last_message_id uuid, last_message_at timestamptz, last_direction text, last_channel text, last_inbound_at timestamptz, last_outbound_at timestamptz,
    waiting_since timestamptz, unread_count integer
);
COMMENT ON TYPE guestcomms_internal.thread_state IS 'Columns of threads that follow from messages.';
CREATE TYPE guestcomms_internal.placed_message AS (message_id uuid, sent_at timestamptz, direction text, channel text);
COMMENT ON TYPE guestcomms_internal.placed_message IS 'Where a message stands in its conversation.';

CREATE FUNCTION guestcomms_internal.thread_state_columns() RETURNS name[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['last_message_id', 'last_message_at', 'last_direction', 'last_channel', 'last_inbound_at', 'last_outbound_at', 'waiting_since', 'unread_count']::name[];
COMMENT ON FUNCTION guestcomms_internal.thread_state_columns() IS 'Columns that follow from messages, and so are neither exported nor imported.';

CREATE FUNCTION guestcomms_internal.is_exchanged(direction text, status text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN direction = 'inbound' OR status IN ('sent', 'delivered', 'read');
COMMENT ON FUNCTION guestcomms_internal.is_exchanged(text, text) IS
'Whether a message counts in a conversation: it came from the guest, or left for the guest. What is queued, cancelled or failed answers nobody.';

CREATE FUNCTION guestcomms_internal.is_unread(direction text, read_at timestamptz, deleted_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN direction = 'inbound' AND read_at IS NULL AND deleted_at IS NULL;
COMMENT ON FUNCTION guestcomms_internal.is_unread(text, timestamptz, timestamptz) IS 'Whether a message of a guest still is to be read.';

CREATE FUNCTION guestcomms_internal.archived_places(tenant_id uuid, thread_id uuid, inbound_at timestamptz, outbound_at timestamptz)
RETURNS guestcomms_internal.placed_message[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_inbound_at timestamptz := archived_places.inbound_at;
    v_outbound_at timestamptz := archived_places.outbound_at;
    v_segment record;
    v_found guestcomms_internal.placed_message[] := ARRAY[]::guestcomms_internal.placed_message[];
    v_places guestcomms_internal.placed_message[];
BEGIN
    FOR v_segment IN
        SELECT s.segment_id, s.guest_id, s.last_sent_at FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = archived_places.tenant_id AND s.thread_ids @> ARRAY[archived_places.thread_id]
            AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && ARRAY[guestcomms_internal.segment_key_v1(archived_places.thread_id, true)]
        ORDER BY s.last_sent_at DESC
    LOOP
        -- Before the last message of either side nothing matters any more.
        EXIT WHEN v_segment.last_sent_at < v_inbound_at AND v_segment.last_sent_at < v_outbound_at;
        v_places := ARRAY(
            SELECT ROW(m.message_id, m.sent_at, m.direction, m.channel)::guestcomms_internal.placed_message
            FROM guestcomms_internal.content_messages(archived_places.tenant_id, v_segment.guest_id,
                guestcomms_internal.read_segment(archived_places.tenant_id, v_segment.segment_id, true, true)) AS m
            WHERE m.thread_id = archived_places.thread_id AND guestcomms_internal.is_exchanged(m.direction, m.status));
        v_found := v_found || v_places;
        SELECT greatest(v_inbound_at, max(p.sent_at) FILTER (WHERE p.direction = 'inbound')),
            greatest(v_outbound_at, max(p.sent_at) FILTER (WHERE p.direction = 'outbound'))
        INTO v_inbound_at, v_outbound_at FROM unnest(v_places) AS p;
    END LOOP;
    RETURN v_found;
END $$;
COMMENT ON FUNCTION guestcomms_internal.archived_places(uuid, uuid, timestamptz, timestamptz) IS
'Archived messages of a thread, the newest segments first, until none could come after both times, of messages that are not archived.';

CREATE FUNCTION guestcomms_internal.compute_thread_state(tenant_id uuid, thread_id uuid) RETURNS guestcomms_internal.thread_state
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    v_inbound guestcomms_internal.placed_message;
    v_outbound guestcomms_internal.placed_message;
    v_archived guestcomms_internal.placed_message[];
    v_last guestcomms_internal.placed_message;
    v_inbound_at timestamptz;
    v_outbound_at timestamptz;
    v_direction text;
    v_after timestamptz;
    v_since timestamptz;
    v_unread integer;
BEGIN
    SELECT m.message_id, m.sent_at, m.direction, m.channel INTO v_inbound FROM guestcomms.messages AS m
    WHERE m.tenant_id = compute_thread_state.tenant_id AND m.thread_id = compute_thread_state.thread_id AND m.direction = 'inbound'
    ORDER BY m.sent_at DESC, m.message_id DESC LIMIT 1;
    SELECT m.message_id, m.sent_at, m.direction, m.channel INTO v_outbound FROM guestcomms.messages AS m
    WHERE m.tenant_id = compute_thread_state.tenant_id AND m.thread_id = compute_thread_state.thread_id AND m.direction = 'outbound'
        AND guestcomms_internal.is_exchanged(m.direction, m.status)
    ORDER BY m.sent_at DESC, m.message_id DESC LIMIT 1;
    v_archived := guestcomms_internal.archived_places(compute_thread_state.tenant_id, compute_thread_state.thread_id, v_inbound.sent_at, v_outbound.sent_at);
    SELECT p.message_id, p.sent_at, p.direction, p.channel INTO v_last
    FROM unnest(v_archived || v_inbound || v_outbound) AS p WHERE p.message_id IS NOT NULL ORDER BY p.sent_at DESC, p.message_id DESC LIMIT 1;
    SELECT greatest(v_inbound.sent_at, max(p.sent_at) FILTER (WHERE p.direction = 'inbound')),
        greatest(v_outbound.sent_at, max(p.sent_at) FILTER (WHERE p.direction = 'outbound'))
    INTO v_inbound_at, v_outbound_at FROM unnest(v_archived) AS p;
    -- An answer of the same moment is one.
    IF v_outbound_at >= v_inbound_at OR v_inbound_at IS NULL THEN
        v_direction := 'outbound';
        v_after := coalesce(v_inbound_at, '-infinity');
    ELSE
        v_direction := 'inbound';
        v_after := coalesce(v_outbound_at + interval '1 microsecond', '-infinity');
    END IF;
    v_since := least(
        (SELECT m.sent_at FROM guestcomms.messages AS m
         WHERE m.tenant_id = compute_thread_state.tenant_id AND m.thread_id = compute_thread_state.thread_id AND m.sent_at >= v_after
            AND m.direction = v_direction AND guestcomms_internal.is_exchanged(m.direction, m.status)
         ORDER BY m.sent_at LIMIT 1),
        (SELECT min(p.sent_at) FROM unnest(v_archived) AS p WHERE p.direction = v_direction AND p.sent_at >= v_after));
    v_unread := (SELECT count(*) FROM guestcomms.messages AS m
        WHERE m.tenant_id = compute_thread_state.tenant_id AND m.thread_id = compute_thread_state.thread_id
            AND m.direction = 'inbound' AND m.read_at IS NULL AND m.deleted_at IS NULL);
    RETURN ROW(v_last.message_id, v_last.sent_at, v_last.direction, v_last.channel, v_inbound_at, v_outbound_at, v_since, v_unread)::guestcomms_internal.thread_state;
END $$;
COMMENT ON FUNCTION guestcomms_internal.compute_thread_state(uuid, uuid) IS 'What a thread''s messages amount to.';

CREATE FUNCTION guestcomms_internal.refresh_thread_states(tenant_id uuid, thread_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_count integer;
BEGIN
    -- Locked first, and read by a later statement: that one sees all that others have added to these threads before.
    PERFORM FROM guestcomms.threads AS t
    WHERE t.tenant_id = refresh_thread_states.tenant_id AND t.thread_id = ANY (refresh_thread_states.thread_ids)
    ORDER BY t.thread_id FOR NO KEY UPDATE;
    -- Computed once a thread, in whatever order the rows are joined.
    WITH n AS MATERIALIZED (
        SELECT i.id, guestcomms_internal.compute_thread_state(refresh_thread_states.tenant_id, i.id) AS state
        FROM (SELECT DISTINCT u.id FROM unnest(refresh_thread_states.thread_ids) AS u (id)) AS i
    )
    UPDATE guestcomms.threads AS t
    SET last_message_id = (n.state).last_message_id, last_message_at = (n.state).last_message_at, last_direction = (n.state).last_direction,
        last_channel = (n.state).last_channel, last_inbound_at = (n.state).last_inbound_at, last_outbound_at = (n.state).last_outbound_at,
        waiting_since = (n.state).waiting_since, unread_count = (n.state).unread_count
    FROM n
    WHERE t.tenant_id = refresh_thread_states.tenant_id AND t.thread_id = n.id
        AND (t.last_message_id, t.last_message_at, t.last_direction, t.last_channel, t.last_inbound_at, t.last_outbound_at, t.waiting_since, t.unread_count)
            IS DISTINCT FROM ((n.state).last_message_id, (n.state).last_message_at, (n.state).last_direction, (n.state).last_channel, (n.state).last_inbound_at,
                (n.state).last_outbound_at, (n.state).waiting_since, (n.state).unread_count);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_thread_states(uuid, uuid[]) IS 'Computes threads anew from their messages; returns how many were different.';

CREATE FUNCTION guestcomms.rebuild_thread_states(after text DEFAULT NULL, max_rows integer DEFAULT 1000, OUT checked_count bigint, OUT corrected_count bigint, OUT cursor text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_after uuid[];
    v_part record;
BEGIN
    IF rebuild_thread_states.after !~ '^[0-9a-f-]{36}/[0-9a-f-]{36}$' OR coalesce(rebuild_thread_states.max_rows NOT BETWEEN 1 AND 100000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'after or max_rows is not valid',
            DETAIL = 'max_rows is from 1 to 100000.', HINT = 'Leave after out to begin, and pass the cursor of one call to the next until it is NULL.';
    END IF;
    v_after := string_to_array(rebuild_thread_states.after, '/')::uuid[];
    checked_count := 0;
    corrected_count := 0;
    FOR v_part IN
        SELECT n.tenant_id, array_agg(n.thread_id ORDER BY n.thread_id) AS thread_ids
        FROM (SELECT t.tenant_id, t.thread_id FROM guestcomms.threads AS t
            WHERE (v_tenant IS NULL OR t.tenant_id = v_tenant) AND (t.tenant_id, t.thread_id) > (coalesce(v_after[1], guestcomms_internal.store_level()), coalesce(v_after[2], guestcomms_internal.store_level()))
            ORDER BY t.tenant_id, t.thread_id LIMIT rebuild_thread_states.max_rows) AS n
        GROUP BY n.tenant_id ORDER BY n.tenant_id
    LOOP
        checked_count := checked_count + cardinality(v_part.thread_ids);
        corrected_count := corrected_count + guestcomms_internal.refresh_thread_states(v_part.tenant_id, v_part.thread_ids);
        cursor := v_part.tenant_id || '/' || v_part.thread_ids[cardinality(v_part.thread_ids)];
    END LOOP;
    IF checked_count < rebuild_thread_states.max_rows THEN
        cursor := NULL;
    END IF;
    IF corrected_count > 0 THEN
        PERFORM guestcomms_internal.record_audit(coalesce(v_tenant, guestcomms_internal.store_level()), 'rebuild_thread_states', 'threads',
            jsonb_build_object('corrected', corrected_count));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.rebuild_thread_states(text, integer) IS
$$Computes what the inbox shows of threads (last message, who waits since when, unread messages) anew from their messages, archived ones included: of the tenant that is open, or of all by an operator who has opened none. Needed only after work on partitions themselves, which no trigger sees; corrected_count is 0 otherwise. max_rows threads a call: pass cursor as after until it is NULL.
Example: SELECT checked_count, corrected_count, cursor FROM guestcomms.rebuild_thread_states();
See also: list_threads, get_inbox_counts, ensure_partitions$$;
