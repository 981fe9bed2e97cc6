-- The inbox, page by page: from every shelf that the filters ask for its first threads in order, by index, then the best of all.
-- A page takes as long among a million threads as among a hundred.
CREATE TYPE guestcomms_internal.shelf_range AS (
    shelf smallint,
    after_at timestamptz, after_id uuid,    -- what is wanted lies between the two, and is neither
    before_at timestamptz, before_id uuid
);
COMMENT ON TYPE guestcomms_internal.shelf_range IS 'A part of a shelf.';
CREATE TYPE guestcomms_internal.thread_place AS (is_read boolean, at timestamptz, thread_id uuid);
COMMENT ON TYPE guestcomms_internal.thread_place IS 'Where a thread stands in a list.';

CREATE FUNCTION guestcomms_internal.read_thread_cursor(after text, fingerprint text) RETURNS guestcomms_internal.thread_place
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_parts text[] := regexp_match(after, '^([0-9a-f]{8})\.([01])\.(-?[0-9]{1,18})\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$');
BEGIN
    IF after IS NULL THEN
        RETURN NULL;
    ELSIF v_parts[1] IS DISTINCT FROM read_thread_cursor.fingerprint THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'that is no cursor of this list',
            HINT = 'Pass the column cursor of the last row, with the same filters and sort.';
    END IF;
    RETURN ROW(v_parts[2] = '1', guestcomms_internal.from_microseconds(v_parts[3]::bigint), v_parts[4]::uuid)::guestcomms_internal.thread_place;
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_thread_cursor(text, text) IS
'Where the page before ended; NULL for the first. It opens nothing, so it is not signed; fingerprint is of what the list is of.';

CREATE FUNCTION guestcomms_internal.write_thread_cursor(place guestcomms_internal.thread_place, fingerprint text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN fingerprint || '.' || place.is_read::integer::text || '.' || guestcomms_internal.to_microseconds(place.at)::text || '.' || place.thread_id::text;
COMMENT ON FUNCTION guestcomms_internal.write_thread_cursor(guestcomms_internal.thread_place, text) IS 'A place, as text.';

CREATE FUNCTION guestcomms_internal.shelf_ranges(view text, channel text, is_unread boolean, sort text, place guestcomms_internal.thread_place)
RETURNS guestcomms_internal.shelf_range[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_last constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_statuses text[] := CASE WHEN shelf_ranges.view IN ('active', 'snoozed') THEN ARRAY['open', 'waiting'] WHEN shelf_ranges.view = 'all' THEN ARRAY['open', 'waiting', 'closed']
        ELSE ARRAY[shelf_ranges.view] END;
    v_shelf smallint;
    v_is_timed boolean;
    v_at timestamptz := (shelf_ranges.place).at;
    v_id uuid := (shelf_ranges.place).thread_id;
    v_after_at timestamptz;
    v_before_at timestamptz;
    v_is_behind boolean;
    v_ranges guestcomms_internal.shelf_range[] := ARRAY[]::guestcomms_internal.shelf_range[];
BEGIN
    FOREACH v_shelf IN ARRAY guestcomms_internal.list_shelves(v_statuses, shelf_ranges.channel, shelf_ranges.is_unread) LOOP
        CONTINUE WHEN shelf_ranges.view = 'snoozed' AND v_shelf % 2 = 0;
        -- On shelves of threads that were put aside the order of activity is that of the times at which they come back.
        v_is_timed := v_shelf % 2 = 1 AND shelf_ranges.sort <> 'waiting';
        v_after_at := CASE WHEN v_is_timed AND shelf_ranges.view = 'snoozed' THEN now() ELSE '-infinity' END;
        v_before_at := CASE WHEN v_is_timed AND shelf_ranges.view NOT IN ('snoozed', 'all') THEN now() ELSE 'infinity' END;
        -- Sorted by unread first: past the last unread thread only the others are left, and before it all of them.
        v_is_behind := v_id IS NOT NULL AND (shelf_ranges.sort <> 'unread' OR (shelf_ranges.place).is_read = (v_shelf % 4 < 2));
        CONTINUE WHEN shelf_ranges.sort = 'unread' AND NOT v_is_behind AND (shelf_ranges.place).is_read;
        v_ranges := v_ranges || CASE
            WHEN v_is_behind AND shelf_ranges.sort IN ('oldest', 'waiting') AND (v_at, v_id) > (v_after_at, v_last)
                THEN ROW(v_shelf, v_at, v_id, v_before_at, v_last)::guestcomms_internal.shelf_range
            WHEN v_is_behind AND shelf_ranges.sort IN ('newest', 'unread') AND (v_at, v_id) < (v_before_at, v_last)
                THEN ROW(v_shelf, v_after_at, v_last, v_at, v_id)::guestcomms_internal.shelf_range
            ELSE ROW(v_shelf, v_after_at, v_last, v_before_at, v_last)::guestcomms_internal.shelf_range END;
    END LOOP;
    RETURN v_ranges;
END $$;
COMMENT ON FUNCTION guestcomms_internal.shelf_ranges(text, text, boolean, text, guestcomms_internal.thread_place) IS
'The parts of shelves that a view (active, open, waiting, closed, snoozed, all) shows behind a place.';

CREATE FUNCTION guestcomms_internal.find_threads(
    tenant_id uuid, ranges guestcomms_internal.shelf_range[], sort text, view text, assigned_to text, is_unassigned boolean, wedding_id uuid, guest_id uuid, max_rows integer
) RETURNS guestcomms_internal.thread_place[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    v_column text := CASE find_threads.sort WHEN 'waiting' THEN 'guest_waits_since' ELSE 'active_at' END;
    v_direction text := CASE WHEN find_threads.sort IN ('oldest', 'waiting') THEN 'ASC' ELSE 'DESC' END;
    v_is_assigned text := CASE WHEN find_threads.assigned_to IS NOT NULL THEN ' AND t.assigned_to = $4'
        WHEN find_threads.is_unassigned THEN ' AND t.assigned_to IS NULL' ELSE '' END;
    -- What an index finds alone is not much: threads of a guest, or of a wedding.
    v_is_small boolean := find_threads.guest_id IS NOT NULL OR find_threads.wedding_id IS NOT NULL AND (find_threads.sort = 'waiting' OR v_is_assigned <> '');
    v_filters text := v_is_assigned
        || CASE WHEN find_threads.wedding_id IS NOT NULL THEN ' AND t.wedding_id = $5' ELSE '' END
        || CASE WHEN find_threads.sort <> 'waiting' THEN '' WHEN find_threads.view = 'all' THEN ' AND t.guest_waits_since IS NOT NULL'
            WHEN find_threads.view = 'snoozed' THEN ' AND t.guest_waits_since IS NOT NULL AND t.snoozed_until > now()'
            ELSE ' AND t.guest_waits_since IS NOT NULL AND (t.snoozed_until IS NULL OR t.snoozed_until <= now())' END;
    v_range text := format('t.shelf = r.shelf AND (t.%1$I, t.thread_id) > (r.after_at, r.after_id) AND (t.%1$I, t.thread_id) < (r.before_at, r.before_id)%2$s',
        v_column, v_filters);
    v_places guestcomms_internal.thread_place[];
BEGIN
    EXECUTE format('SELECT array_agg(ROW(p.is_read, p.at, p.thread_id)::guestcomms_internal.thread_place)'
        ' FROM (SELECT r.shelf %% 4 < 2 AS is_read, t.at, t.thread_id FROM unnest($2) AS r %1$s ORDER BY %2$s t.at %3$s, t.thread_id %3$s LIMIT $3) AS p',
        -- The fence (OFFSET 0): read once and by that index, whatever the planner thinks of others.
        CASE WHEN v_is_small THEN format('JOIN (SELECT t.%1$I AS at, t.* FROM guestcomms.threads AS t WHERE t.tenant_id = $1 AND %2$s OFFSET 0) AS t ON %3$s',
                v_column, CASE WHEN find_threads.guest_id IS NOT NULL THEN 't.guest_id = $6' ELSE 't.wedding_id = $5' END, v_range)
            ELSE format('CROSS JOIN LATERAL'
                ' (SELECT t.%1$I AS at, t.thread_id FROM guestcomms.threads AS t WHERE t.tenant_id = $1 AND %2$s ORDER BY t.%1$I %3$s, t.thread_id %3$s LIMIT $3) AS t',
                v_column, v_range, v_direction) END,
        CASE find_threads.sort WHEN 'unread' THEN 'is_read,' ELSE '' END, v_direction)
    INTO v_places
    USING find_threads.tenant_id, find_threads.ranges, find_threads.max_rows, find_threads.assigned_to, find_threads.wedding_id, find_threads.guest_id;
    RETURN v_places;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_threads(uuid, guestcomms_internal.shelf_range[], text, text, text, boolean, uuid, uuid, integer) IS
'The first threads of some ranges, in order; the other filters choose the index.';

CREATE FUNCTION guestcomms_internal.message_snippet(body text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(btrim(regexp_replace(left(body, 400), '\s+', ' ', 'g')), 140);
COMMENT ON FUNCTION guestcomms_internal.message_snippet(text) IS 'How a text begins, in one line.';

CREATE FUNCTION guestcomms_internal.list_inbox(
    view text, assignee text, on_channel text, of_wedding uuid, has_unread boolean, sort text, max_rows integer, after text, of_guest uuid, has_no_assignee boolean
) RETURNS TABLE (thread_id uuid, subject text, status text, assigned_to text, guest_id uuid, guest_name text, wedding_id uuid, wedding_name text, unread_count integer,
    waits_for text, waiting_since timestamptz, snoozed_until timestamptz, last_message_id uuid, last_message_at timestamptz, last_direction text, last_channel text,
    snippet text, is_archived boolean, created_at timestamptz, cursor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_fingerprint text := left(md5(concat_ws('|', list_inbox.view, list_inbox.on_channel, list_inbox.of_wedding, list_inbox.has_unread, list_inbox.sort, list_inbox.of_guest,
        list_inbox.has_no_assignee, list_inbox.assignee IS NULL, list_inbox.assignee)), 8);
    -- Conversations move with a merge. One who is not there has none, rather than all.
    v_guest uuid := CASE WHEN list_inbox.of_guest IS NOT NULL THEN coalesce(guestcomms_internal.kept_guest(v_tenant, list_inbox.of_guest), list_inbox.of_guest) END;
    v_after guestcomms_internal.thread_place;
    v_places guestcomms_internal.thread_place[];
BEGIN
    IF coalesce(list_inbox.view NOT IN ('active', 'open', 'waiting', 'closed', 'snoozed', 'all'), true) OR list_inbox.on_channel NOT IN ('email', 'sms', 'whatsapp', 'chat')
        OR coalesce(list_inbox.sort NOT IN ('newest', 'oldest', 'waiting', 'unread'), true) OR coalesce(list_inbox.max_rows NOT BETWEEN 1 AND 200, true)
        OR list_inbox.assignee IS NOT NULL AND list_inbox.has_no_assignee
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'status, channel, sort, max_rows or is_unassigned is not valid',
            DETAIL = 'status is active, open, waiting, closed, snoozed or all; channel is email, sms, whatsapp or chat; sort is newest, oldest, waiting or unread; max_rows is from 1 to 200; what somebody has is not unassigned.',
            HINT = 'For more rows pass the last row''s cursor as after.';
    END IF;
    v_after := guestcomms_internal.read_thread_cursor(list_inbox.after, v_fingerprint);
    v_places := guestcomms_internal.find_threads(v_tenant,
        guestcomms_internal.shelf_ranges(list_inbox.view, list_inbox.on_channel, list_inbox.has_unread, list_inbox.sort, v_after),
        list_inbox.sort, list_inbox.view, list_inbox.assignee, list_inbox.has_no_assignee, list_inbox.of_wedding, v_guest, list_inbox.max_rows);
    RETURN QUERY
    SELECT t.thread_id, t.subject, t.status, t.assigned_to, t.guest_id, g.display_name, t.wedding_id, w.name, t.unread_count,
        CASE WHEN t.guest_waits_since IS NOT NULL THEN 'us' WHEN t.waiting_since IS NOT NULL THEN 'guest' END, t.waiting_since,
        CASE WHEN t.snoozed_until > now() THEN t.snoozed_until END, t.last_message_id, t.last_message_at, t.last_direction, t.last_channel,
        CASE WHEN m.deleted_at IS NULL THEN guestcomms_internal.message_snippet(m.body) END, t.last_message_id IS NOT NULL AND m.message_id IS NULL, t.created_at,
        guestcomms_internal.write_thread_cursor(ROW(p.is_read, p.at, p.thread_id)::guestcomms_internal.thread_place, v_fingerprint)
    FROM unnest(v_places) WITH ORDINALITY AS p (is_read, at, thread_id, number)
    JOIN guestcomms.threads AS t ON t.tenant_id = v_tenant AND t.thread_id = p.thread_id
    JOIN guestcomms.guests AS g ON g.tenant_id = v_tenant AND g.guest_id = t.guest_id
    LEFT JOIN guestcomms.weddings AS w ON w.tenant_id = v_tenant AND w.wedding_id = t.wedding_id
    LEFT JOIN LATERAL (SELECT o.message_id, o.body, o.deleted_at FROM guestcomms.messages AS o
        WHERE o.tenant_id = v_tenant AND o.message_id = t.last_message_id AND o.sent_at = t.last_message_at) AS m ON true
    ORDER BY p.number;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_inbox(text, text, text, uuid, boolean, text, integer, text, uuid, boolean) IS 'The work of list_threads(), whose parameters share their names with its columns.';

CREATE FUNCTION guestcomms.list_threads(
    status text DEFAULT 'active', assigned_to text DEFAULT NULL, channel text DEFAULT NULL, wedding_id uuid DEFAULT NULL, is_unread boolean DEFAULT NULL,
    sort text DEFAULT 'newest', max_rows integer DEFAULT 20, after text DEFAULT NULL, guest_id uuid DEFAULT NULL, is_unassigned boolean DEFAULT false
) RETURNS TABLE (thread_id uuid, subject text, status text, assigned_to text, guest_id uuid, guest_name text, wedding_id uuid, wedding_name text, unread_count integer,
    waits_for text, waiting_since timestamptz, snoozed_until timestamptz, last_message_id uuid, last_message_at timestamptz, last_direction text, last_channel text,
    snippet text, is_archived boolean, created_at timestamptz, cursor text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
    -- By number: parameters share their names with columns of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.list_inbox($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
$$;
COMMENT ON FUNCTION guestcomms.list_threads(text, text, text, uuid, boolean, text, integer, text, uuid, boolean) IS
$$Conversations of the current tenant. status: active (open or waiting for the guest, and not put aside), open, waiting, closed, snoozed (put aside) or all. sort: newest activity first, oldest first, unread (those first, each newest first), or waiting: only guests who wait for an answer, the longest first. channel is that of the last message; is_unassigned lists what is nobody's. Each row has the last message that came or was sent, how many messages are unread, and who waits: waits_for is us where the guest wrote last, guest where we did, since waiting_since. snippet is how the last message begins; it is NULL where that was deleted or is archived (is_archived: get_thread() with include_archived has it). The last row's cursor as after gives the next page: threads that stay as they are come once, one in which something happens meanwhile moves to its new place. Bounded whatever the filters, and writes nothing.
Example: SELECT guest_name, unread_count, waits_for, last_message_at, snippet FROM guestcomms.list_threads(sort => 'unread', max_rows => 50);
See also: get_thread, get_inbox_counts, mark_read, set_thread_status, assign_thread, snooze_thread$$;
