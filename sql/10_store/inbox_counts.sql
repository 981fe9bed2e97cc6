-- Numbers beside the views of an inbox. Counted where they are asked for, so that no counter of a tenant is written with every
-- message, and no further than a badge shows: shelf by shelf, of each at most so many.
CREATE FUNCTION guestcomms_internal.count_shelves(tenant_id uuid, assigned_to text, wedding_id uuid, condition text, max_count integer)
RETURNS TABLE (shelf smallint, is_asleep boolean, thread_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 60 SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    v_filters text := CASE count_shelves.condition WHEN 'unassigned' THEN ' AND t.assigned_to IS NULL' WHEN 'guest_waits' THEN ' AND t.guest_waits_since IS NOT NULL' ELSE '' END
        || CASE WHEN count_shelves.assigned_to IS NOT NULL THEN ' AND t.assigned_to = $2' ELSE '' END || CASE WHEN count_shelves.wedding_id IS NOT NULL THEN ' AND t.wedding_id = $5' ELSE '' END;
BEGIN
    -- On odd shelves are threads that were put aside: asleep until their time, which is their place in the order of activity.
    RETURN QUERY EXECUTE format('SELECT s.shelf, r.is_asleep, n.thread_count'
        ' FROM unnest($4) AS s (shelf)'
        ' JOIN (VALUES (0, false, ''-infinity''::timestamptz, ''infinity''::timestamptz), (1, false, ''-infinity'', now()), (1, true, now(), ''infinity'')) AS r (parity, is_asleep, since, until)'
        ' ON r.parity = s.shelf %% 2'
        ' CROSS JOIN LATERAL (SELECT count(*) AS thread_count FROM (SELECT FROM guestcomms.threads AS t'
        ' WHERE t.tenant_id = $1 AND t.shelf = s.shelf AND t.active_at > r.since AND t.active_at <= r.until%s LIMIT $3) AS f) AS n', v_filters)
    USING count_shelves.tenant_id, count_shelves.assigned_to, count_shelves.max_count, guestcomms_internal.list_shelves('{open,waiting}'), count_shelves.wedding_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_shelves(uuid, text, uuid, text, integer) IS
'How many threads each shelf of the inbox has, awake and asleep, counted up to max_count.';

CREATE FUNCTION guestcomms.get_inbox_counts(assigned_to text DEFAULT NULL, max_count integer DEFAULT 1000, wedding_id uuid DEFAULT NULL)
RETURNS TABLE (view text, thread_count integer, is_capped boolean)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 7 SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_limit integer := get_inbox_counts.max_count + 1;
    v_open smallint[] := guestcomms_internal.list_shelves('{open}');
BEGIN
    IF coalesce(get_inbox_counts.max_count NOT BETWEEN 1 AND 10000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_count is from 1 to 10000', HINT = 'Leave it out for 1000.';
    END IF;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
        SELECT c.name, s.shelf, s.is_asleep, s.thread_count
        FROM unnest('{all,guest_waits,unassigned}'::text[]) AS c (name)
        CROSS JOIN LATERAL guestcomms_internal.count_shelves(v_tenant, get_inbox_counts.assigned_to, get_inbox_counts.wedding_id, c.name, v_limit) AS s
    ), summed AS (
        SELECT 1 AS place, 'active' AS name, sum(c.thread_count) AS number FROM counted AS c WHERE c.name = 'all' AND NOT c.is_asleep
        UNION ALL SELECT 2, 'open', sum(c.thread_count) FROM counted AS c WHERE c.name = 'all' AND NOT c.is_asleep AND c.shelf = ANY (v_open)
        UNION ALL SELECT 3, 'waiting', sum(c.thread_count) FROM counted AS c WHERE c.name = 'all' AND NOT c.is_asleep AND c.shelf <> ALL (v_open)
        UNION ALL SELECT 4, 'snoozed', sum(c.thread_count) FROM counted AS c WHERE c.name = 'all' AND c.is_asleep
        UNION ALL SELECT 5, 'unread', sum(c.thread_count) FROM counted AS c WHERE c.name = 'all' AND NOT c.is_asleep AND c.shelf % 4 >= 2
        UNION ALL SELECT 6, 'guest_waits', sum(c.thread_count) FROM counted AS c WHERE c.name = 'guest_waits' AND NOT c.is_asleep
        UNION ALL SELECT 7, 'unassigned', sum(c.thread_count) FROM counted AS c WHERE c.name = 'unassigned' AND NOT c.is_asleep
    )
    SELECT s.name, least(s.number, get_inbox_counts.max_count)::integer, s.number > get_inbox_counts.max_count FROM summed AS s ORDER BY s.place;
END $$;
COMMENT ON FUNCTION guestcomms.get_inbox_counts(text, integer, uuid) IS
$$How many threads are active, open, waiting for the guest, put aside (snoozed), active and unread, active with a guest who waits for an answer (guest_waits), and nobody's (unassigned); of one of the staff with assigned_to, of one wedding with wedding_id. Exact up to max_count; beyond it, max_count and is_capped.
Example: SELECT view, thread_count, is_capped FROM guestcomms.get_inbox_counts();
See also: list_threads, assign_thread$$;
