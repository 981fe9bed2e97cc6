-- Two guests become one. What is small and changes moves to the one who is kept: addresses, conversations, invitations, consents,
-- requests, messages that are still to be sent. Messages and segments of the archive keep the guest they came with and are read
-- by same_guests(): so a merge costs the same whatever was written in ten years, a segment's checksum stays true, and undoing it
-- cannot get a message wrong.
CREATE FUNCTION guestcomms_internal.list_objections(tenant_id uuid, guest_id uuid) RETURNS TABLE (purpose text, channel text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    -- By channel: the latest word on it, or on all, counts.
    SELECT p.purpose, h.channel
    FROM (VALUES ('service'), ('marketing')) AS p (purpose)
    CROSS JOIN (VALUES ('email'), ('sms'), ('whatsapp'), ('chat')) AS h (channel)
    CROSS JOIN LATERAL (
        SELECT c.is_granted FROM guestcomms.consents AS c
        WHERE c.tenant_id = list_objections.tenant_id AND c.guest_id = list_objections.guest_id AND c.purpose = p.purpose AND (c.channel IS NULL OR c.channel = h.channel)
        ORDER BY c.recorded_at DESC, c.is_granted LIMIT 1
    ) AS l
    WHERE NOT l.is_granted
$$;
COMMENT ON FUNCTION guestcomms_internal.list_objections(uuid, uuid) IS 'The purposes and channels that a guest''s latest word is against.';

CREATE FUNCTION guestcomms_internal.add_objections(tenant_id uuid, guest_id uuid, objections jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids jsonb;
BEGIN
    WITH missing AS (
        SELECT w.purpose, w.channel FROM jsonb_to_recordset(add_objections.objections) AS w (purpose text, channel text)
        EXCEPT
        SELECT l.purpose, l.channel FROM guestcomms_internal.list_objections(add_objections.tenant_id, add_objections.guest_id) AS l
    ), added AS (
        -- The clock, for the latest counts, and all of this may be one transaction. An objection to every channel is one to those to come.
        INSERT INTO guestcomms.consents (tenant_id, guest_id, channel, purpose, is_granted, basis, source, recorded_at)
        SELECT DISTINCT add_objections.tenant_id, add_objections.guest_id, CASE WHEN a.is_of_all THEN NULL ELSE m.channel END, m.purpose, false, 'legitimate_interest', add_objections.source, t.at
        FROM missing AS m
        JOIN (SELECT w.purpose, count(DISTINCT w.channel) = 4 AS is_of_all FROM jsonb_to_recordset(add_objections.objections) AS w (purpose text, channel text) GROUP BY w.purpose) AS a
            ON a.purpose = m.purpose
        CROSS JOIN (SELECT clock_timestamp() AS at) AS t
        RETURNING consent_id
    )
    SELECT coalesce(jsonb_agg(a.consent_id), '[]') INTO v_ids FROM added AS a;
    RETURN v_ids;
END $$;
COMMENT ON FUNCTION guestcomms_internal.add_objections(uuid, uuid, jsonb, text) IS 'Records those of the objections that a guest''s latest word is not; returns their consent_ids.';

CREATE FUNCTION guestcomms_internal.lock_merged_rows(tenant_id uuid, guest_a uuid, guest_b uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- With all who were merged into them: whoever writes to one goes on to another of them.
    v_guests uuid[] := guestcomms_internal.same_guests(lock_merged_rows.tenant_id, lock_merged_rows.guest_a)
        || guestcomms_internal.same_guests(lock_merged_rows.tenant_id, lock_merged_rows.guest_b);
    v_threads uuid[] := ARRAY(SELECT t.id::uuid FROM jsonb_array_elements_text(lock_merged_rows.moved -> 'threads') AS t (id));
    v_queued uuid[] := ARRAY(SELECT q.id::uuid FROM jsonb_array_elements_text(lock_merged_rows.moved -> 'queued') AS q (id));
BEGIN
    -- FOR UPDATE, so that writers wait and then find the one who is kept.
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = lock_merged_rows.tenant_id AND g.guest_id = ANY (v_guests) FOR UPDATE NOWAIT;
    PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_merged_rows.tenant_id AND t.guest_id = ANY (v_guests) FOR NO KEY UPDATE NOWAIT;
    PERFORM FROM guestcomms.wedding_guests AS i WHERE i.tenant_id = lock_merged_rows.tenant_id AND i.guest_id = ANY (v_guests) FOR UPDATE NOWAIT;
    PERFORM FROM guestcomms.subject_requests AS r WHERE r.tenant_id = lock_merged_rows.tenant_id AND r.guest_id = ANY (v_guests) FOR NO KEY UPDATE NOWAIT;
    PERFORM FROM guestcomms.messages AS m WHERE m.tenant_id = lock_merged_rows.tenant_id AND m.guest_id = ANY (v_guests) AND m.status = 'queued' FOR NO KEY UPDATE NOWAIT;
    IF lock_merged_rows.moved IS NOT NULL THEN
        PERFORM FROM guestcomms.messages AS m
        WHERE m.tenant_id = lock_merged_rows.tenant_id AND (m.thread_id = ANY (v_threads) OR m.message_id = ANY (v_queued)) FOR NO KEY UPDATE NOWAIT;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_merged_rows(uuid, uuid, uuid, jsonb) IS
'Locks what a merge of two guests moves, or, with what a merge moved, its undoing; an error where anybody else has any of it.';

CREATE FUNCTION guestcomms_internal.begin_merge(tenant_id uuid) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(format('merge %s', begin_merge.tenant_id), 0))
$$;
COMMENT ON FUNCTION guestcomms_internal.begin_merge(uuid) IS 'One merge of a tenant, or its undoing, after the other, until the transaction ends.';

CREATE FUNCTION guestcomms_internal.wait_for_merged_rows(tenant_id uuid, guest_a uuid, guest_b uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + interval '10 seconds';
BEGIN
    LOOP
        BEGIN
            -- All at once or none: others take these rows in orders of their own, so nobody may wait for one while holding another.
            IF wait_for_merged_rows.moved IS NOT NULL THEN
                PERFORM guestcomms_internal.restore_moved(wait_for_merged_rows.tenant_id, wait_for_merged_rows.guest_a, wait_for_merged_rows.moved);
            END IF;
            PERFORM guestcomms_internal.lock_merged_rows(wait_for_merged_rows.tenant_id, wait_for_merged_rows.guest_a, wait_for_merged_rows.guest_b, wait_for_merged_rows.moved);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > v_until THEN
                RAISE EXCEPTION USING ERRCODE = 'lock_not_available', MESSAGE = 'others are writing to these guests',
                    DETAIL = format('guest_id %s or %s.', wait_for_merged_rows.guest_a, wait_for_merged_rows.guest_b), HINT = 'Try again when long transactions have ended.';
            END IF;
        END;
        PERFORM pg_sleep(0.005 + random() * 0.01);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.wait_for_merged_rows(uuid, uuid, uuid, jsonb) IS
'Locks what lock_merged_rows() does until the transaction ends, as soon as nobody else has any of it; what was archived since a merge comes back with it.';

CREATE FUNCTION guestcomms_internal.move_rows(tenant_id uuid, keep uuid, merge uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_kept uuid[] := guestcomms_internal.same_guests(move_rows.tenant_id, move_rows.keep);
    v_moved jsonb := '{}'::jsonb;
    v_rows jsonb;
BEGIN
    -- The one to use on a channel stays that, where the kept guest has one.
    WITH moved AS (
        UPDATE guestcomms.guest_addresses AS a SET guest_id = move_rows.keep, is_primary = a.is_primary AND NOT o.has_primary
        FROM (
            SELECT m.channel, m.address, m.is_primary, EXISTS (SELECT FROM guestcomms.guest_addresses AS k
                WHERE k.tenant_id = move_rows.tenant_id AND k.guest_id = move_rows.keep AND k.channel = m.channel AND k.is_primary) AS has_primary
            FROM guestcomms.guest_addresses AS m WHERE m.tenant_id = move_rows.tenant_id AND m.guest_id = move_rows.merge
        ) AS o
        WHERE a.tenant_id = move_rows.tenant_id AND a.channel = o.channel AND a.address = o.address
        RETURNING a.channel, a.address, o.is_primary
    )
    SELECT coalesce(jsonb_agg(m), '[]') INTO v_rows FROM moved AS m;
    v_moved := v_moved || jsonb_build_object('addresses', v_rows);

    -- A message of the kept guest may stand in the other's conversation already; it is to stay there when this is undone.
    SELECT coalesce(jsonb_agg(m.message_id), '[]') INTO v_rows
    FROM guestcomms.threads AS t
    CROSS JOIN LATERAL (
        SELECT n.message_id FROM guestcomms.messages AS n
        WHERE n.tenant_id = move_rows.tenant_id AND n.thread_id = t.thread_id AND n.guest_id = ANY (v_kept)
    ) AS m
    WHERE t.tenant_id = move_rows.tenant_id AND t.guest_id = move_rows.merge;
    v_moved := v_moved || jsonb_build_object('strays', v_rows);

    WITH moved AS (
        UPDATE guestcomms.threads AS t SET guest_id = move_rows.keep WHERE t.tenant_id = move_rows.tenant_id AND t.guest_id = move_rows.merge RETURNING t.thread_id
    )
    SELECT coalesce(jsonb_agg(m.thread_id), '[]') INTO v_rows FROM moved AS m;
    v_moved := v_moved || jsonb_build_object('threads', v_rows);

    -- A word counts from when it was said, which may be long before it comes: what came since this merge is what is not among these.
    SELECT coalesce(jsonb_agg(c.consent_id), '[]') INTO v_rows FROM guestcomms.consents AS c WHERE c.tenant_id = move_rows.tenant_id AND c.guest_id = move_rows.keep;
    v_moved := v_moved || jsonb_build_object('kept_consents', v_rows);

    WITH moved AS (
        UPDATE guestcomms.consents AS c SET guest_id = move_rows.keep WHERE c.tenant_id = move_rows.tenant_id AND c.guest_id = move_rows.merge RETURNING c.consent_id
    )
    SELECT coalesce(jsonb_agg(m.consent_id), '[]') INTO v_rows FROM moved AS m;
    v_moved := v_moved || jsonb_build_object('consents', v_rows);

    WITH moved AS (
        UPDATE guestcomms.subject_requests AS r SET guest_id = move_rows.keep WHERE r.tenant_id = move_rows.tenant_id AND r.guest_id = move_rows.merge RETURNING r.request_id
    )
    SELECT coalesce(jsonb_agg(m.request_id), '[]') INTO v_rows FROM moved AS m;
    v_moved := v_moved || jsonb_build_object('requests', v_rows);

    -- What is still to be sent goes to the kept guest's address, if the kept guest allows it. One that was queued anew a moment ago
    -- does so, too, though it keeps its name: no merge waits for it.
    WITH waiting AS MATERIALIZED (
        SELECT w.message_id FROM guestcomms.messages AS w
        WHERE w.tenant_id = move_rows.tenant_id AND w.guest_id = move_rows.merge AND w.status = 'queued' FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE guestcomms.messages AS m SET guest_id = move_rows.keep FROM waiting AS w
        WHERE m.tenant_id = move_rows.tenant_id AND m.message_id = w.message_id RETURNING m.message_id
    )
    SELECT coalesce(jsonb_agg(m.message_id), '[]') INTO v_rows FROM moved AS m;
    RETURN v_moved || jsonb_build_object('queued', v_rows);
END $$;
COMMENT ON FUNCTION guestcomms_internal.move_rows(uuid, uuid, uuid) IS 'Gives what belongs to a guest to the one who is kept, and returns what it was, for undo_merge().';

CREATE FUNCTION guestcomms_internal.combine_invitations(tenant_id uuid, keep uuid, merge uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_moved jsonb;
    v_combined jsonb;
BEGIN
    WITH moved AS (
        UPDATE guestcomms.wedding_guests AS i SET guest_id = combine_invitations.keep
        WHERE i.tenant_id = combine_invitations.tenant_id AND i.guest_id = combine_invitations.merge AND (SELECT true FROM guestcomms.wedding_guests AS k
            WHERE k.tenant_id = combine_invitations.tenant_id AND k.wedding_id = i.wedding_id AND k.guest_id = combine_invitations.keep) IS NULL
        RETURNING i.wedding_id
    )
    SELECT coalesce(jsonb_agg(m.wedding_id), '[]') INTO v_moved FROM moved AS m;
    -- Both were invited: what the kept guest has not said the other has, and the later answer counts.
    WITH both_invited AS (
        SELECT k AS kept, m AS merged, coalesce(m.rsvp <> 'pending' AND (k.rsvp = 'pending' OR m.rsvp_at > k.rsvp_at), false) AS is_later
        FROM guestcomms.wedding_guests AS m
        JOIN guestcomms.wedding_guests AS k ON k.tenant_id = m.tenant_id AND k.wedding_id = m.wedding_id AND k.guest_id = combine_invitations.keep
        WHERE m.tenant_id = combine_invitations.tenant_id AND m.guest_id = combine_invitations.merge
    ), changed AS (
        UPDATE guestcomms.wedding_guests AS i
        SET party = coalesce(i.party, (b.merged).party), role = coalesce(i.role, (b.merged).role),
            rsvp = CASE WHEN b.is_later THEN (b.merged).rsvp ELSE i.rsvp END, rsvp_at = CASE WHEN b.is_later THEN (b.merged).rsvp_at ELSE i.rsvp_at END
        FROM both_invited AS b
        WHERE i.tenant_id = combine_invitations.tenant_id AND i.wedding_id = (b.merged).wedding_id AND i.guest_id = combine_invitations.keep
        RETURNING jsonb_build_object('merged', to_jsonb(b.merged), 'before', to_jsonb(b.kept), 'after', to_jsonb(i)) AS change
    )
    SELECT coalesce(jsonb_agg(c.change), '[]') INTO v_combined FROM changed AS c;
    DELETE FROM guestcomms.wedding_guests AS i WHERE i.tenant_id = combine_invitations.tenant_id AND i.guest_id = combine_invitations.merge;
    RETURN jsonb_build_object('invitations', v_moved, 'combined', v_combined);
END $$;
COMMENT ON FUNCTION guestcomms_internal.combine_invitations(uuid, uuid, uuid) IS 'One invitation of the two guests to each wedding; returns what they were, for undo_merge().';

CREATE FUNCTION guestcomms_internal.link_guests(tenant_id uuid, keep uuid, merge uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_kept guestcomms.guests;
    v_merged guestcomms.guests;
    v_after guestcomms.guests;
    v_linked jsonb;
BEGIN
    SELECT * INTO v_kept FROM guestcomms.guests AS g WHERE g.tenant_id = link_guests.tenant_id AND g.guest_id = link_guests.keep;
    SELECT * INTO v_merged FROM guestcomms.guests AS g WHERE g.tenant_id = link_guests.tenant_id AND g.guest_id = link_guests.merge;
    -- What the kept guest lacks comes from the other, and a restriction of either is one of both.
    UPDATE guestcomms.guests AS g
    SET display_name = coalesce(g.display_name, v_merged.display_name), language = coalesce(g.language, v_merged.language), timezone = coalesce(g.timezone, v_merged.timezone),
        restricted_at = least(g.restricted_at, v_merged.restricted_at), updated_at = clock_timestamp()
    WHERE g.tenant_id = link_guests.tenant_id AND g.guest_id = link_guests.keep
    RETURNING * INTO v_after;
    -- Nobody is merged into one who was merged: whoever was, moves on.
    WITH linked AS (
        UPDATE guestcomms.guests AS g SET merged_into = link_guests.keep WHERE g.tenant_id = link_guests.tenant_id AND g.merged_into = link_guests.merge RETURNING g.guest_id
    )
    SELECT coalesce(jsonb_agg(l.guest_id), '[]') INTO v_linked FROM linked AS l;
    UPDATE guestcomms.guests AS g SET merged_into = link_guests.keep, updated_at = clock_timestamp() WHERE g.tenant_id = link_guests.tenant_id AND g.guest_id = link_guests.merge;
    RETURN jsonb_build_object('linked', v_linked, 'merged', to_jsonb(v_merged), 'kept_before', to_jsonb(v_kept), 'kept_after', to_jsonb(v_after));
END $$;
COMMENT ON FUNCTION guestcomms_internal.link_guests(uuid, uuid, uuid) IS 'Merges the rows of two guests; returns what they were, for undo_merge().';

CREATE FUNCTION guestcomms.merge_guests(keep uuid, merge uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_at timestamptz;
    v_merge uuid;
    v_kept uuid;
    v_merged uuid;
    v_objections jsonb;
    v_moved jsonb;
BEGIN
    PERFORM guestcomms_internal.begin_merge(v_tenant);
    PERFORM guestcomms_internal.wait_for_merged_rows(v_tenant, merge_guests.keep, merge_guests.merge, NULL);
    -- Only now: merges are undone in the order of their times, which is to be the one in which they were done.
    v_at := clock_timestamp();
    v_merge := guestcomms.uuid_v7(v_at);
    v_kept := guestcomms_internal.kept_guest(v_tenant, merge_guests.keep);
    v_merged := guestcomms_internal.kept_guest(v_tenant, merge_guests.merge);
    IF v_kept IS NULL OR v_merged IS NULL THEN
        PERFORM guestcomms_internal.refuse_guest(CASE WHEN v_kept IS NULL THEN merge_guests.keep ELSE merge_guests.merge END);
    END IF;
    IF v_kept = v_merged THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the two are one guest already', DETAIL = format('guest_id %s.', v_kept),
            HINT = 'SELECT merge_id, guest_id, merged_guest_id FROM guestcomms.list_merges();';
    ELSIF EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id IN (v_kept, v_merged) AND g.erased_at IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a guest who was erased is merged with nobody',
            DETAIL = format('guest_id %s and %s.', v_kept, v_merged), HINT = 'What was erased stays so; go on with the other guest.';
    END IF;
    -- What either of the two objects to, before their consents are one list, of which the latest would count.
    SELECT coalesce(jsonb_agg(DISTINCT to_jsonb(o)), '[]') INTO v_objections
    FROM unnest(ARRAY[v_kept, v_merged]) AS g (id) CROSS JOIN LATERAL guestcomms_internal.list_objections(v_tenant, g.id) AS o;
    v_moved := guestcomms_internal.move_rows(v_tenant, v_kept, v_merged)
        || guestcomms_internal.combine_invitations(v_tenant, v_kept, v_merged)
        || jsonb_build_object('objections', guestcomms_internal.add_objections(v_tenant, v_kept, v_objections, 'merge'))
        || guestcomms_internal.link_guests(v_tenant, v_kept, v_merged);
    INSERT INTO guestcomms.guest_merges (tenant_id, merge_id, guest_id, merged_guest_id, merged_at, moved)
    VALUES (v_tenant, v_merge, v_kept, v_merged, v_at, v_moved);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'merge_guests', 'guest ' || v_kept, jsonb_build_object('merge_id', v_merge, 'merged_guest_id', v_merged));
    RETURN v_merge;
END $$;
COMMENT ON FUNCTION guestcomms.merge_guests(uuid, uuid) IS
$$Makes one guest of two, and returns merge_id. keep goes on with the addresses, conversations, invitations, consents, requests and unsent messages of merge, and with all that was written to either; whatever still names merge means keep. The strictest consent counts: what either objected to stays refused, until the guest says otherwise. Name, language and time zone of keep stay where there are any; of two invitations to a wedding the later answer counts. Within guests.undo_merge_window undo_merge() takes it back.
Example: SELECT guestcomms.merge_guests(keep => guestcomms.add_guest('Zoë Kaya'), merge => guestcomms.add_guest('Zoe Kaya'));
See also: undo_merge, list_merges, find_duplicate_guests, dismiss_duplicate$$;
