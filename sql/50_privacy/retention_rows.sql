-- What a policy finds: the one answer that preview_retention() counts and a run follows. A step is gone through in the order
-- of its rows, a bounded number at a time, whatever share of them has to stay.
CREATE TYPE guestcomms_internal.retention_row AS (row_id uuid, at timestamptz, state text, message_ids uuid[], held_count integer);
COMMENT ON TYPE guestcomms_internal.retention_row IS
'A row that a step of a policy looked at: expired, held (by a hold, a restriction, an objection or an open request), kept (not yet, or nothing to remove) or damaged; of what messages, and how many of them are held.';

CREATE FUNCTION guestcomms_internal.is_guest_kept(tenant_id uuid, guest_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := guestcomms_internal.same_guests(is_guest_kept.tenant_id, is_guest_kept.guest_id);
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = is_guest_kept.tenant_id AND g.guest_id = ANY (v_guests) AND g.restricted_at IS NOT NULL)
        OR EXISTS (SELECT FROM guestcomms.subject_requests AS r WHERE r.tenant_id = is_guest_kept.tenant_id AND r.guest_id = ANY (v_guests) AND r.status = 'open')
        OR EXISTS (SELECT FROM guestcomms.legal_holds AS h
            WHERE h.tenant_id = is_guest_kept.tenant_id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())
                AND (h.guest_id IS NULL OR h.guest_id = ANY (v_guests))
                AND (h.thread_id IS NULL OR EXISTS (SELECT FROM guestcomms.threads AS t
                    WHERE t.tenant_id = h.tenant_id AND t.thread_id = h.thread_id AND t.guest_id = ANY (v_guests)))
                AND (h.wedding_id IS NULL OR EXISTS (SELECT FROM guestcomms.wedding_guests AS w
                    WHERE w.tenant_id = h.tenant_id AND w.wedding_id = h.wedding_id AND w.guest_id = ANY (v_guests))))
        -- Who objected must be known again, or would be written to as somebody new.
        OR EXISTS (SELECT FROM (SELECT DISTINCT ON (c.channel) c.is_granted FROM guestcomms.consents AS c
            WHERE c.tenant_id = is_guest_kept.tenant_id AND c.guest_id = ANY (v_guests) AND c.purpose = 'marketing'
            ORDER BY c.channel, c.recorded_at DESC, c.consent_id) AS l WHERE NOT l.is_granted);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_guest_kept(uuid, uuid) IS
'Whether who a guest is must be kept: a hold touches the guest, processing is restricted, a request is open or an objection stands.';

CREATE FUNCTION guestcomms_internal.is_restricted(tenant_id uuid, guest_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms.guests AS g
        LEFT JOIN guestcomms.guests AS k ON k.tenant_id = g.tenant_id AND k.guest_id = g.merged_into
        WHERE g.tenant_id = is_restricted.tenant_id AND g.guest_id = is_restricted.guest_id AND num_nonnulls(g.restricted_at, k.restricted_at) > 0);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_restricted(uuid, uuid) IS 'Whether processing of a guest, or of the one who was kept when they were merged, is restricted.';

CREATE FUNCTION guestcomms_internal.message_retention_state(
    tenant_id uuid, counts_from text, channels text[], cutoff timestamptz, sent_at timestamptz, guest_id uuid, thread_id uuid, wedding_id uuid, channel text, status text
) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF message_retention_state.status = 'queued' OR message_retention_state.channel <> ALL (message_retention_state.channels)
        OR coalesce(guestcomms_internal.retention_counts_from(message_retention_state.tenant_id, message_retention_state.counts_from, message_retention_state.sent_at,
            message_retention_state.guest_id, message_retention_state.thread_id, message_retention_state.wedding_id) >= message_retention_state.cutoff, true)
    THEN
        RETURN 'kept';
    ELSIF guestcomms_internal.is_held(message_retention_state.tenant_id, message_retention_state.guest_id, message_retention_state.thread_id, message_retention_state.wedding_id,
            message_retention_state.sent_at, false)
        OR guestcomms_internal.is_restricted(message_retention_state.tenant_id, message_retention_state.guest_id)
    THEN
        RETURN 'held';
    END IF;
    RETURN 'expired';
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_retention_state(uuid, text, text[], timestamptz, timestamptz, uuid, uuid, uuid, text, text) IS
'Whether a message is expired by a policy, held, or kept.';

CREATE FUNCTION guestcomms_internal.list_message_rows(tenant_id uuid, policy_id uuid, cutoff timestamptz, after_at timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_policy guestcomms.retention_policies;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p WHERE p.tenant_id = list_message_rows.tenant_id AND p.policy_id = list_message_rows.policy_id;
    RETURN QUERY
    SELECT o.message_id, o.sent_at, s.state, ARRAY[o.message_id], (s.state = 'held')::integer
    FROM (
        SELECT m.message_id, m.sent_at, m.guest_id, m.thread_id, m.wedding_id, m.channel, m.status, m.direction, m.read_at FROM guestcomms.messages AS m
        WHERE m.tenant_id = list_message_rows.tenant_id AND m.sent_at < list_message_rows.cutoff
            AND m.sent_at >= list_message_rows.after_at AND (m.sent_at, m.message_id) > (list_message_rows.after_at, list_message_rows.after_id)
        ORDER BY m.sent_at, m.message_id LIMIT list_message_rows.max_rows
    ) AS o
    CROSS JOIN LATERAL (
        SELECT CASE WHEN v_policy.retention_class = 'behaviour' AND NOT (o.direction = 'outbound' AND o.read_at IS NOT NULL
                OR EXISTS (SELECT FROM guestcomms.message_events AS e WHERE e.tenant_id = list_message_rows.tenant_id AND e.message_id = o.message_id)
                OR EXISTS (SELECT FROM guestcomms.message_annotations AS a WHERE a.tenant_id = list_message_rows.tenant_id AND a.message_id = o.message_id))
            THEN 'kept'
            ELSE guestcomms_internal.message_retention_state(list_message_rows.tenant_id, v_policy.counts_from, v_policy.channels, list_message_rows.cutoff,
                o.sent_at, o.guest_id, o.thread_id, o.wedding_id, o.channel, o.status) END AS state
    ) AS s
    ORDER BY o.sent_at, o.message_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_message_rows(uuid, uuid, timestamptz, timestamptz, uuid, bigint) IS 'Messages of the hot tables from before the cutoff, in the order of time.';

CREATE FUNCTION guestcomms_internal.list_segment_rows(tenant_id uuid, policy_id uuid, cutoff timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_policy guestcomms.retention_policies;
    v_segment record;
    v_content json;
    v_row guestcomms_internal.retention_row;
    v_is_open boolean;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p WHERE p.tenant_id = list_segment_rows.tenant_id AND p.policy_id = list_segment_rows.policy_id;
    -- By age alone the identifiers say enough.
    v_is_open := v_policy.counts_from = 'wedding' OR v_policy.channels IS NOT NULL
        OR EXISTS (SELECT FROM guestcomms.legal_holds AS h WHERE h.tenant_id = list_segment_rows.tenant_id AND h.released_at IS NULL);
    FOR v_segment IN
        SELECT s.segment_id, s.first_sent_at, s.guest_id, s.message_ids FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = list_segment_rows.tenant_id AND s.segment_id > list_segment_rows.after_id
            AND s.first_sent_at >= guestcomms.uuid_v7_time(list_segment_rows.after_id) AND s.first_sent_at < list_segment_rows.cutoff
        ORDER BY s.segment_id LIMIT list_segment_rows.max_rows
    LOOP
        v_row := ROW(v_segment.segment_id, v_segment.first_sent_at, 'kept', NULL, 0)::guestcomms_internal.retention_row;
        IF v_is_open THEN
            v_content := guestcomms_internal.read_segment(list_segment_rows.tenant_id, v_segment.segment_id, true, true);
            IF v_content IS NULL THEN
                v_row.state := 'damaged';
                RETURN NEXT v_row;
                CONTINUE;
            END IF;
            SELECT array_agg(m.message_id) FILTER (WHERE s.state = 'expired'), count(*) FILTER (WHERE s.state = 'held') INTO v_row.message_ids, v_row.held_count
            FROM json_to_recordset(v_content -> 'messages') AS m (message_id uuid, sent_at bigint, thread_id uuid, wedding_id uuid, channel text, status text)
            CROSS JOIN LATERAL (SELECT guestcomms_internal.message_retention_state(list_segment_rows.tenant_id, v_policy.counts_from, v_policy.channels, list_segment_rows.cutoff,
                guestcomms_internal.from_microseconds(m.sent_at), v_segment.guest_id, m.thread_id, m.wedding_id, m.channel, m.status) AS state) AS s;
        ELSE
            v_row.message_ids := ARRAY(SELECT i.id FROM unnest(v_segment.message_ids) AS i (id) WHERE guestcomms.uuid_v7_time(i.id) < list_segment_rows.cutoff);
            IF guestcomms_internal.is_restricted(list_segment_rows.tenant_id, v_segment.guest_id) THEN
                v_row.held_count := cardinality(v_row.message_ids);
                v_row.message_ids := NULL;
            END IF;
        END IF;
        IF v_policy.retention_class = 'behaviour' THEN
            -- Facts say whether it has been done: nobody need unpack a segment for that. What came late is in the tables.
            v_row.message_ids := ARRAY(SELECT i.id FROM unnest(v_row.message_ids) AS i (id)
                WHERE NOT EXISTS (SELECT FROM guestcomms_bi.fact_message AS f WHERE f.tenant_id = list_segment_rows.tenant_id AND f.message_id = i.id AND NOT f.has_events
                        AND f.sent_at >= guestcomms.uuid_v7_time(i.id) AND f.sent_at < guestcomms.uuid_v7_time(i.id) + interval '1 millisecond')
                    OR EXISTS (SELECT FROM guestcomms.message_events AS e WHERE e.tenant_id = list_segment_rows.tenant_id AND e.message_id = i.id)
                    OR EXISTS (SELECT FROM guestcomms.message_annotations AS a WHERE a.tenant_id = list_segment_rows.tenant_id AND a.message_id = i.id));
        END IF;
        v_row.state := CASE WHEN cardinality(v_row.message_ids) > 0 THEN 'expired' WHEN v_row.held_count > 0 THEN 'held' ELSE 'kept' END;
        v_row.held_count := coalesce(v_row.held_count, 0);
        RETURN NEXT v_row;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_segment_rows(uuid, uuid, timestamptz, uuid, bigint) IS
'Segments of the archive with messages from before the cutoff, and which of these messages the policy removes.';

CREATE FUNCTION guestcomms_internal.last_heard_of(tenant_id uuid, guest_id uuid) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN greatest(
        (SELECT m.sent_at FROM guestcomms.messages AS m WHERE m.tenant_id = last_heard_of.tenant_id AND m.guest_id = last_heard_of.guest_id ORDER BY m.sent_at DESC LIMIT 1),
        (SELECT a.last_sent_at FROM guestcomms.archive_segments AS a WHERE a.tenant_id = last_heard_of.tenant_id AND a.guest_id = last_heard_of.guest_id ORDER BY a.last_sent_at DESC LIMIT 1),
        (SELECT max(f.sent_at) FROM guestcomms_bi.dim_guest AS d
            CROSS JOIN LATERAL (SELECT n.sent_at FROM guestcomms_bi.fact_message AS n WHERE n.tenant_id = d.tenant_id AND n.guest_key = d.guest_key
                ORDER BY n.sent_at DESC LIMIT 1) AS f
            WHERE d.tenant_id = last_heard_of.tenant_id AND d.guest_id = last_heard_of.guest_id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.last_heard_of(uuid, uuid) IS
'When a guest, as named by one identifier, was last heard from or written to, also where the message is gone and only its numbers stayed.';

CREATE FUNCTION guestcomms_internal.list_guest_rows(tenant_id uuid, counts_from text, cutoff timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT o.guest_id, l.at, s.state, NULL::uuid[], (s.state = 'held')::integer
    FROM (
        SELECT g.guest_id, g.created_at, g.erased_at, g.merged_into IS NOT NULL AS is_merged, guestcomms_internal.same_guests(g.tenant_id, g.guest_id) AS same FROM guestcomms.guests AS g
        WHERE g.tenant_id = list_guest_rows.tenant_id AND g.guest_id > list_guest_rows.after_id
        ORDER BY g.guest_id LIMIT list_guest_rows.max_rows
    ) AS o
    CROSS JOIN LATERAL (
        SELECT max(d.day) AS day, coalesce(bool_and(d.day IS NOT NULL), false) AS has_days
        FROM guestcomms.wedding_guests AS i CROSS JOIN LATERAL (SELECT guestcomms_internal.wedding_day(i.tenant_id, i.wedding_id) AS day) AS d
        WHERE i.tenant_id = list_guest_rows.tenant_id AND i.guest_id = ANY (o.same)
    ) AS w
    CROSS JOIN LATERAL (
        SELECT greatest(o.created_at, w.day, max(a.at)) AS at
        FROM unnest(o.same) AS s (id) CROSS JOIN LATERAL guestcomms_internal.last_heard_of(list_guest_rows.tenant_id, s.id) AS a (at)
    ) AS l
    CROSS JOIN LATERAL (
        -- Who was merged goes with the one who was kept.
        SELECT CASE WHEN o.erased_at IS NOT NULL OR o.is_merged OR l.at >= list_guest_rows.cutoff OR list_guest_rows.counts_from = 'wedding' AND NOT w.has_days THEN 'kept'
            WHEN guestcomms_internal.is_guest_kept(list_guest_rows.tenant_id, o.guest_id) THEN 'held' ELSE 'expired' END AS state
    ) AS s
    ORDER BY o.guest_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_guest_rows(uuid, text, timestamptz, uuid, bigint) IS 'Guests, and whether a policy of class contact removes who they are.';

CREATE FUNCTION guestcomms_internal.list_wedding_rows(tenant_id uuid, counts_from text, cutoff timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT o.wedding_id, greatest(o.created_at, o.day), s.state, NULL::uuid[], (s.state = 'held')::integer
    FROM (
        SELECT w.wedding_id, w.name, w.created_at, guestcomms_internal.wedding_day(w.tenant_id, w.wedding_id) AS day FROM guestcomms.weddings AS w
        WHERE w.tenant_id = list_wedding_rows.tenant_id AND w.wedding_id > list_wedding_rows.after_id
        ORDER BY w.wedding_id LIMIT list_wedding_rows.max_rows
    ) AS o
    CROSS JOIN LATERAL (
        SELECT CASE WHEN o.name = guestcomms_internal.removed_name() OR greatest(o.created_at, o.day) >= list_wedding_rows.cutoff
                OR list_wedding_rows.counts_from = 'wedding' AND o.day IS NULL THEN 'kept'
            WHEN EXISTS (SELECT FROM guestcomms.legal_holds AS h
                WHERE h.tenant_id = list_wedding_rows.tenant_id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())
                    AND (h.wedding_id = o.wedding_id OR num_nonnulls(h.wedding_id, h.thread_id, h.guest_id) = 0)) THEN 'held'
            ELSE 'expired' END AS state
    ) AS s
    ORDER BY o.wedding_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_wedding_rows(uuid, text, timestamptz, uuid, bigint) IS 'Weddings, and whether a policy of class contact removes their names.';

CREATE FUNCTION guestcomms_internal.removed_name() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '(removed)';
COMMENT ON FUNCTION guestcomms_internal.removed_name() IS 'What stands in place of a name that a column cannot be without.';

CREATE FUNCTION guestcomms_internal.list_thread_rows(tenant_id uuid, policy_id uuid, cutoff timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_policy guestcomms.retention_policies;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p WHERE p.tenant_id = list_thread_rows.tenant_id AND p.policy_id = list_thread_rows.policy_id;
    RETURN QUERY
    SELECT o.thread_id, o.created_at, s.state, NULL::uuid[], (s.state = 'held')::integer
    FROM (
        SELECT t.thread_id, t.guest_id, t.wedding_id, t.subject, t.created_at FROM guestcomms.threads AS t
        WHERE t.tenant_id = list_thread_rows.tenant_id AND t.thread_id > list_thread_rows.after_id
        ORDER BY t.thread_id LIMIT list_thread_rows.max_rows
    ) AS o
    CROSS JOIN LATERAL (
        -- Of which channel a conversation without messages was, nobody knows.
        SELECT CASE WHEN o.subject IS NULL OR v_policy.channels IS NOT NULL
                OR EXISTS (SELECT FROM guestcomms.messages AS m WHERE m.tenant_id = list_thread_rows.tenant_id AND m.thread_id = o.thread_id)
                OR EXISTS (SELECT FROM guestcomms.archive_segments AS a WHERE a.tenant_id = list_thread_rows.tenant_id AND a.thread_ids @> ARRAY[o.thread_id]
                    AND guestcomms_internal.segment_keys_v1(a.message_ids, a.thread_ids) && ARRAY[guestcomms_internal.segment_key_v1(o.thread_id, true)]) THEN 'kept'
            ELSE guestcomms_internal.message_retention_state(list_thread_rows.tenant_id, v_policy.counts_from, NULL, list_thread_rows.cutoff, o.created_at, o.guest_id, o.thread_id,
                o.wedding_id, NULL, NULL) END AS state
    ) AS s
    ORDER BY o.thread_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_thread_rows(uuid, uuid, timestamptz, uuid, bigint) IS 'Conversations, and whether a policy of class content removes their subjects.';

CREATE FUNCTION guestcomms_internal.list_record_rows(tenant_id uuid, step text, cutoff timestamptz, after_id uuid, max_rows bigint)
RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT o.row_id, o.at, CASE WHEN o.at < list_record_rows.cutoff THEN 'expired' ELSE 'kept' END, NULL::uuid[], 0
    FROM (
        -- A run that can still be undone, and what is not over, have no time from which to count.
        SELECT r.run_id AS row_id, CASE WHEN bool_and(r.message_ids IS NULL) THEN max(r.started_at) END AS at FROM guestcomms.archive_runs AS r
        WHERE list_record_rows.step = 'runs' AND r.tenant_id = list_record_rows.tenant_id GROUP BY r.run_id
        UNION ALL
        SELECT r.run_id, max(r.ended_at) FROM guestcomms.retention_runs AS r
        WHERE list_record_rows.step = 'runs' AND r.tenant_id = list_record_rows.tenant_id GROUP BY r.run_id
        UNION ALL
        (SELECT c.entry_id, guestcomms.uuid_v7_time(c.entry_id) FROM guestcomms.audit_contents AS c
         WHERE list_record_rows.step = 'audit' AND c.tenant_id = list_record_rows.tenant_id AND c.entry_id > list_record_rows.after_id
         ORDER BY c.entry_id LIMIT list_record_rows.max_rows)
        UNION ALL
        SELECT r.request_id, r.closed_at FROM guestcomms.subject_requests AS r
        WHERE list_record_rows.step = 'requests' AND r.tenant_id = list_record_rows.tenant_id
        UNION ALL
        -- Of each purpose and channel the latest word is what counts, however old it is.
        SELECT c.consent_id, c.replaced_at FROM (
            SELECT s.consent_id, lead(s.recorded_at) OVER (PARTITION BY s.guest_id, s.purpose, s.channel ORDER BY s.recorded_at, s.consent_id) AS replaced_at
            FROM guestcomms.consents AS s WHERE list_record_rows.step = 'consents' AND s.tenant_id = list_record_rows.tenant_id) AS c
        UNION ALL
        SELECT h.hold_id, coalesce(h.released_at, h.expires_at) FROM guestcomms.legal_holds AS h
        WHERE list_record_rows.step = 'holds' AND h.tenant_id = list_record_rows.tenant_id
        UNION ALL
        SELECT e.export_id, CASE WHEN e.status IN ('failed', 'removed') THEN coalesce(e.finished_at, e.requested_at) END FROM guestcomms.exports AS e
        WHERE list_record_rows.step = 'exports' AND e.tenant_id = list_record_rows.tenant_id
    ) AS o
    WHERE o.row_id > list_record_rows.after_id
    ORDER BY o.row_id LIMIT list_record_rows.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_record_rows(uuid, text, timestamptz, uuid, bigint) IS 'Records of runs, acts, requests, consents, holds and exports, and whether they have been over for long enough.';

CREATE FUNCTION guestcomms_internal.list_retention_rows(
    tenant_id uuid, policy_id uuid, step text, cutoff timestamptz, after_at timestamptz DEFAULT NULL, after_id uuid DEFAULT NULL, max_rows bigint DEFAULT NULL
) RETURNS SETOF guestcomms_internal.retention_row
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_counts_from text := (SELECT p.counts_from FROM guestcomms.retention_policies AS p WHERE p.tenant_id = list_retention_rows.tenant_id AND p.policy_id = list_retention_rows.policy_id);
    v_after uuid := coalesce(list_retention_rows.after_id, guestcomms_internal.no_member());
BEGIN
    CASE list_retention_rows.step
        WHEN 'messages' THEN
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_message_rows(list_retention_rows.tenant_id, list_retention_rows.policy_id, list_retention_rows.cutoff,
                coalesce(list_retention_rows.after_at, '-infinity'), v_after, list_retention_rows.max_rows) AS r;
        WHEN 'archive' THEN
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_segment_rows(list_retention_rows.tenant_id, list_retention_rows.policy_id, list_retention_rows.cutoff,
                v_after, list_retention_rows.max_rows) AS r;
        WHEN 'threads' THEN
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_thread_rows(list_retention_rows.tenant_id, list_retention_rows.policy_id, list_retention_rows.cutoff,
                v_after, list_retention_rows.max_rows) AS r;
        WHEN 'guests' THEN
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_guest_rows(list_retention_rows.tenant_id, v_counts_from, list_retention_rows.cutoff, v_after,
                list_retention_rows.max_rows) AS r;
        WHEN 'weddings' THEN
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_wedding_rows(list_retention_rows.tenant_id, v_counts_from, list_retention_rows.cutoff, v_after,
                list_retention_rows.max_rows) AS r;
        ELSE
            RETURN QUERY SELECT r.* FROM guestcomms_internal.list_record_rows(list_retention_rows.tenant_id, list_retention_rows.step, list_retention_rows.cutoff, v_after,
                list_retention_rows.max_rows) AS r;
    END CASE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_retention_rows(uuid, uuid, text, timestamptz, timestamptz, uuid, bigint) IS
'The rows of a step of a policy, from one on or all of them, each with what the policy makes of it.';
