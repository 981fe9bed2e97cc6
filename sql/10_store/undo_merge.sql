-- A merge taken back: what moved goes home, what came since stays with the guest who was kept.
CREATE FUNCTION guestcomms_internal.remaining_guests(tenant_id uuid, keep uuid, moved jsonb) RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    SELECT coalesce(array_agg(u.id), '{}') FROM unnest(guestcomms_internal.same_guests(remaining_guests.tenant_id, remaining_guests.keep)) AS u (id)
    WHERE u.id <> (remaining_guests.moved -> 'merged' ->> 'guest_id')::uuid AND NOT remaining_guests.moved -> 'linked' ? u.id::text
$$;
COMMENT ON FUNCTION guestcomms_internal.remaining_guests(uuid, uuid, jsonb) IS
'The kept guest of a merge and whoever is merged into that one, without the one who goes when it is undone and those who go along.';

CREATE FUNCTION guestcomms_internal.split_threads(tenant_id uuid, keep uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := guestcomms_internal.remaining_guests(split_threads.tenant_id, split_threads.keep, split_threads.moved);
    v_strays uuid[] := ARRAY(SELECT s.id::uuid FROM jsonb_array_elements_text(split_threads.moved -> 'strays') AS s (id));
    v_thread record;
    v_ids uuid[];
    v_new uuid;
BEGIN
    FOR v_thread IN
        SELECT t.thread_id, t.subject, t.wedding_id, t.status, t.assigned_to FROM jsonb_array_elements_text(split_threads.moved -> 'threads') AS m (id)
        JOIN guestcomms.threads AS t ON t.tenant_id = split_threads.tenant_id AND t.thread_id = m.id::uuid
        ORDER BY t.thread_id
    LOOP
        v_ids := ARRAY(SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = split_threads.tenant_id AND m.thread_id = v_thread.thread_id AND m.guest_id = ANY (v_guests) AND m.message_id <> ALL (v_strays));
        CONTINUE WHEN cardinality(v_ids) = 0;
        INSERT INTO guestcomms.threads (tenant_id, guest_id, wedding_id, subject, status, assigned_to)
        VALUES (split_threads.tenant_id, split_threads.keep, v_thread.wedding_id, v_thread.subject, v_thread.status, v_thread.assigned_to)
        RETURNING thread_id INTO v_new;
        UPDATE guestcomms.messages AS m SET thread_id = v_new
        WHERE m.tenant_id = split_threads.tenant_id AND m.thread_id = v_thread.thread_id AND m.message_id = ANY (v_ids);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.split_threads(uuid, uuid, jsonb) IS
'Moves what the kept guest wrote or got since a merge out of conversations that go back to the other, into new ones.';

CREATE FUNCTION guestcomms_internal.archived_of_thread(tenant_id uuid, guest_ids uuid[], thread_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT m.message_id FROM guestcomms.archive_segments AS s
        CROSS JOIN LATERAL guestcomms_internal.content_messages(archived_of_thread.tenant_id, s.guest_id,
            guestcomms_internal.read_segment(archived_of_thread.tenant_id, s.segment_id, true)) AS m
        WHERE s.tenant_id = archived_of_thread.tenant_id AND s.guest_id = ANY (archived_of_thread.guest_ids) AND s.thread_ids @> ARRAY[archived_of_thread.thread_id]
            AND m.thread_id = archived_of_thread.thread_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.archived_of_thread(uuid, uuid[], uuid) IS 'Archived messages of a conversation that are of these guests.';

CREATE FUNCTION guestcomms_internal.restore_moved(tenant_id uuid, keep uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := guestcomms_internal.remaining_guests(restore_moved.tenant_id, restore_moved.keep, restore_moved.moved);
BEGIN
    PERFORM guestcomms_internal.restore_archived(restore_moved.tenant_id, n.ids)
    FROM (
        SELECT ARRAY(SELECT q.id::uuid FROM jsonb_array_elements_text(restore_moved.moved -> 'queued') AS q (id)) AS ids
        UNION ALL
        SELECT guestcomms_internal.archived_of_thread(restore_moved.tenant_id, v_guests, t.id::uuid) FROM jsonb_array_elements_text(restore_moved.moved -> 'threads') AS t (id)
    ) AS n;
END $$;
COMMENT ON FUNCTION guestcomms_internal.restore_moved(uuid, uuid, jsonb) IS 'Brings back from the archive the messages that change guest or conversation when a merge is undone.';

CREATE FUNCTION guestcomms_internal.return_rows(tenant_id uuid, keep uuid, merge uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_queued uuid[] := ARRAY(SELECT q.id::uuid FROM jsonb_array_elements_text(return_rows.moved -> 'queued') AS q (id));
BEGIN
    -- Only what the kept guest still has. First without a primary address, for there is never a second one.
    UPDATE guestcomms.guest_addresses AS a SET guest_id = return_rows.merge, is_primary = false
    FROM jsonb_to_recordset(return_rows.moved -> 'addresses') AS m (channel text, address text)
    WHERE a.tenant_id = return_rows.tenant_id AND a.channel = m.channel AND a.address = m.address AND a.guest_id = return_rows.keep;
    UPDATE guestcomms.guest_addresses AS a SET is_primary = true
    FROM jsonb_to_recordset(return_rows.moved -> 'addresses') AS m (channel text, address text, is_primary boolean)
    WHERE a.tenant_id = return_rows.tenant_id AND a.channel = m.channel AND a.address = m.address AND a.guest_id = return_rows.merge AND m.is_primary;
    PERFORM guestcomms_internal.ensure_primary_addresses(return_rows.tenant_id, return_rows.merge);
    PERFORM guestcomms_internal.ensure_primary_addresses(return_rows.tenant_id, return_rows.keep);

    UPDATE guestcomms.messages AS m SET guest_id = return_rows.merge
    WHERE m.tenant_id = return_rows.tenant_id AND m.message_id = ANY (v_queued) AND m.guest_id = return_rows.keep;
    PERFORM guestcomms_internal.split_threads(return_rows.tenant_id, return_rows.keep, return_rows.moved);
    UPDATE guestcomms.threads AS t SET guest_id = return_rows.merge
    WHERE t.tenant_id = return_rows.tenant_id AND t.guest_id = return_rows.keep
        AND t.thread_id IN (SELECT m.id::uuid FROM jsonb_array_elements_text(return_rows.moved -> 'threads') AS m (id));
    UPDATE guestcomms.subject_requests AS r SET guest_id = return_rows.merge
    WHERE r.tenant_id = return_rows.tenant_id AND r.guest_id = return_rows.keep
        AND r.request_id IN (SELECT m.id::uuid FROM jsonb_array_elements_text(return_rows.moved -> 'requests') AS m (id));

    UPDATE guestcomms.wedding_guests AS i SET guest_id = return_rows.merge
    WHERE i.tenant_id = return_rows.tenant_id AND i.guest_id = return_rows.keep
        AND i.wedding_id IN (SELECT m.id::uuid FROM jsonb_array_elements_text(return_rows.moved -> 'invitations') AS m (id));
    UPDATE guestcomms.wedding_guests AS i SET party = b.party, role = b.role, rsvp = b.rsvp, rsvp_at = b.rsvp_at
    FROM jsonb_array_elements(return_rows.moved -> 'combined') AS c
    CROSS JOIN LATERAL jsonb_populate_record(NULL::guestcomms.wedding_guests, c -> 'before') AS b
    -- What was changed since stays.
    WHERE i.tenant_id = return_rows.tenant_id AND i.wedding_id = b.wedding_id AND i.guest_id = return_rows.keep AND to_jsonb(i) = c -> 'after';
    INSERT INTO guestcomms.wedding_guests
    SELECT m.* FROM jsonb_array_elements(return_rows.moved -> 'combined') AS c
    CROSS JOIN LATERAL jsonb_populate_record(NULL::guestcomms.wedding_guests, c -> 'merged') AS m
    ON CONFLICT ON CONSTRAINT wedding_guests_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION guestcomms_internal.return_rows(uuid, uuid, uuid, jsonb) IS 'Gives back what move_rows() and combine_invitations() gave to the kept guest.';

CREATE FUNCTION guestcomms_internal.return_consents(tenant_id uuid, keep uuid, merge uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_said_since jsonb;
BEGIN
    DELETE FROM guestcomms.consents AS c
    WHERE c.tenant_id = return_consents.tenant_id AND c.guest_id = return_consents.keep
        AND c.consent_id IN (SELECT o.id::uuid FROM jsonb_array_elements_text(return_consents.moved -> 'objections') AS o (id));
    UPDATE guestcomms.consents AS c SET guest_id = return_consents.merge
    WHERE c.tenant_id = return_consents.tenant_id AND c.guest_id = return_consents.keep
        AND c.consent_id IN (SELECT m.id::uuid FROM jsonb_array_elements_text(return_consents.moved -> 'consents') AS m (id));
    -- Whose an objection is that came while they were one nobody can say: it holds for both. The merge's own words are gone
    -- from here, so what the kept guest did not have before came since, whenever it was said.
    SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('purpose', c.purpose, 'channel', h.channel)), '[]') INTO v_said_since
    FROM guestcomms.consents AS c
    JOIN (VALUES ('email'), ('sms'), ('whatsapp'), ('chat')) AS h (channel) ON c.channel IS NULL OR c.channel = h.channel
    WHERE c.tenant_id = return_consents.tenant_id AND c.guest_id = return_consents.keep AND NOT c.is_granted
        AND NOT return_consents.moved -> 'kept_consents' ? c.consent_id::text;
    PERFORM guestcomms_internal.add_objections(return_consents.tenant_id, return_consents.merge, v_said_since, 'undo_merge');
END $$;
COMMENT ON FUNCTION guestcomms_internal.return_consents(uuid, uuid, uuid, jsonb) IS 'Gives consents back; an objection that came since the merge is one of both guests.';

CREATE FUNCTION guestcomms_internal.unlink_guests(tenant_id uuid, keep uuid, merge uuid, moved jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_merged guestcomms.guests := jsonb_populate_record(NULL::guestcomms.guests, unlink_guests.moved -> 'merged');
    v_before guestcomms.guests := jsonb_populate_record(NULL::guestcomms.guests, unlink_guests.moved -> 'kept_before');
    v_after guestcomms.guests := jsonb_populate_record(NULL::guestcomms.guests, unlink_guests.moved -> 'kept_after');
    v_now guestcomms.guests;
BEGIN
    SELECT * INTO v_now FROM guestcomms.guests AS g WHERE g.tenant_id = unlink_guests.tenant_id AND g.guest_id = unlink_guests.keep;
    UPDATE guestcomms.guests AS g SET merged_into = unlink_guests.merge
    WHERE g.tenant_id = unlink_guests.tenant_id AND g.merged_into = unlink_guests.keep
        AND g.guest_id IN (SELECT l.id::uuid FROM jsonb_array_elements_text(unlink_guests.moved -> 'linked') AS l (id));
    -- Restricted while they were one: both are.
    UPDATE guestcomms.guests AS g
    SET merged_into = NULL, updated_at = v_merged.updated_at,
        restricted_at = coalesce(v_merged.restricted_at, CASE WHEN v_now.restricted_at IS DISTINCT FROM v_after.restricted_at THEN v_now.restricted_at END)
    WHERE g.tenant_id = unlink_guests.tenant_id AND g.guest_id = unlink_guests.merge;
    -- What the kept guest took from the other goes, unless it was changed since.
    UPDATE guestcomms.guests AS g
    SET display_name = CASE WHEN g.display_name IS NOT DISTINCT FROM v_after.display_name THEN v_before.display_name ELSE g.display_name END,
        language = CASE WHEN g.language IS NOT DISTINCT FROM v_after.language THEN v_before.language ELSE g.language END,
        timezone = CASE WHEN g.timezone IS NOT DISTINCT FROM v_after.timezone THEN v_before.timezone ELSE g.timezone END,
        restricted_at = CASE WHEN g.restricted_at IS NOT DISTINCT FROM v_after.restricted_at THEN v_before.restricted_at ELSE g.restricted_at END,
        updated_at = CASE WHEN g.updated_at = v_after.updated_at THEN v_before.updated_at ELSE clock_timestamp() END
    WHERE g.tenant_id = unlink_guests.tenant_id AND g.guest_id = unlink_guests.keep;
END $$;
COMMENT ON FUNCTION guestcomms_internal.unlink_guests(uuid, uuid, uuid, jsonb) IS 'Makes the rows of two guests what they were before link_guests().';

CREATE FUNCTION guestcomms_internal.merge_obstacle(tenant_id uuid, merge_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_merge guestcomms.guest_merges;
    v_later uuid;
BEGIN
    SELECT * INTO v_merge FROM guestcomms.guest_merges AS m WHERE m.tenant_id = merge_obstacle.tenant_id AND m.merge_id = merge_obstacle.merge_id;
    IF v_merge.undone_at IS NOT NULL THEN
        RETURN 'It was undone before.';
    ELSIF v_merge.merged_at < now() - guestcomms_internal.setting('guests.undo_merge_window', merge_obstacle.tenant_id)::interval THEN
        RETURN 'The setting guests.undo_merge_window allows it no more.';
    ELSIF EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = merge_obstacle.tenant_id AND g.erased_at IS NOT NULL
        AND g.guest_id IN (v_merge.guest_id, v_merge.merged_guest_id))
    THEN
        RETURN 'The guest has been erased.';
    END IF;
    -- A later merge stands on this one.
    SELECT l.merge_id INTO v_later FROM guestcomms.guest_merges AS l
    WHERE l.tenant_id = merge_obstacle.tenant_id AND l.undone_at IS NULL AND (l.merged_at, l.merge_id) > (v_merge.merged_at, v_merge.merge_id)
        AND v_merge.guest_id IN (l.guest_id, l.merged_guest_id)
    ORDER BY l.merged_at DESC, l.merge_id DESC LIMIT 1;
    RETURN CASE WHEN v_later IS NOT NULL THEN format('merge_id %s came later and is undone first.', v_later) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.merge_obstacle(uuid, uuid) IS 'Why a merge cannot be undone now; NULL where it can.';

CREATE FUNCTION guestcomms.undo_merge(merge_id uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_merge guestcomms.guest_merges;
    v_obstacle text;
BEGIN
    SELECT * INTO v_merge FROM guestcomms.guest_merges AS m WHERE m.tenant_id = v_tenant AND m.merge_id = undo_merge.merge_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such merge', DETAIL = format('merge_id %s.', coalesce(undo_merge.merge_id::text, 'is missing')),
            HINT = 'SELECT merge_id, guest_id, merged_guest_id FROM guestcomms.list_merges(); what can no longer be undone is removed.';
    END IF;
    -- Then what another did meanwhile is seen.
    PERFORM guestcomms_internal.begin_merge(v_tenant);
    SELECT * INTO v_merge FROM guestcomms.guest_merges AS m WHERE m.tenant_id = v_tenant AND m.merge_id = undo_merge.merge_id FOR UPDATE;
    v_obstacle := guestcomms_internal.merge_obstacle(v_tenant, v_merge.merge_id);
    IF v_obstacle IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the merge cannot be undone', DETAIL = v_obstacle,
            HINT = 'SELECT merge_id, can_be_undone FROM guestcomms.list_merges();';
    END IF;
    PERFORM guestcomms_internal.wait_for_merged_rows(v_tenant, v_merge.guest_id, v_merge.merged_guest_id, v_merge.moved);
    -- Those that a run has archived while they were not yet locked.
    PERFORM guestcomms_internal.restore_moved(v_tenant, v_merge.guest_id, v_merge.moved);
    PERFORM guestcomms_internal.return_rows(v_tenant, v_merge.guest_id, v_merge.merged_guest_id, v_merge.moved);
    PERFORM guestcomms_internal.return_consents(v_tenant, v_merge.guest_id, v_merge.merged_guest_id, v_merge.moved);
    PERFORM guestcomms_internal.unlink_guests(v_tenant, v_merge.guest_id, v_merge.merged_guest_id, v_merge.moved);
    UPDATE guestcomms.guest_merges AS m SET undone_at = now(), moved = '{}' WHERE m.tenant_id = v_tenant AND m.merge_id = undo_merge.merge_id;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'undo_merge', 'guest ' || v_merge.guest_id, jsonb_build_object('merge_id', v_merge.merge_id, 'merged_guest_id', v_merge.merged_guest_id));
    RETURN v_merge.merged_guest_id;
END $$;
COMMENT ON FUNCTION guestcomms.undo_merge(uuid) IS
$$Makes two guests of one again, as they were before merge_guests(), and returns the guest_id of the one who was merged. Possible within guests.undo_merge_window (30 days), the last merge of a guest first. What came since stays with the guest who was kept, messages in a conversation of their own where they stood in one that goes back; an objection or a restriction that came since holds for both.
Example: SELECT guestcomms.undo_merge(guestcomms.merge_guests(guestcomms.add_guest('Zoë Kaya'), guestcomms.add_guest('Zoe Kaya')));
See also: merge_guests, list_merges$$;

CREATE FUNCTION guestcomms.list_merges(max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (merge_id uuid, guest_id uuid, merged_guest_id uuid, merged_at timestamptz, merged_by text, undone_at timestamptz, can_be_undone boolean, obstacle text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    PERFORM guestcomms_internal.require_max_rows(list_merges.max_rows, 1000);
    RETURN QUERY
    SELECT m.merge_id, m.guest_id, m.merged_guest_id, m.merged_at, m.merged_by, m.undone_at, o.obstacle IS NULL, o.obstacle
    FROM (SELECT * FROM guestcomms.guest_merges AS g
        -- Identifiers of version 7 are in the order of time.
        WHERE g.tenant_id = v_tenant AND g.merge_id < coalesce(list_merges.after, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY g.merge_id DESC LIMIT list_merges.max_rows) AS m
    CROSS JOIN LATERAL (SELECT guestcomms_internal.merge_obstacle(v_tenant, m.merge_id) AS obstacle) AS o
    ORDER BY m.merge_id DESC;
END $$;
COMMENT ON FUNCTION guestcomms.list_merges(integer, uuid) IS
$$The tenant's merges of guests of the last 30 days (guests.undo_merge_window), the newest first, and whether they can be undone or why not. Later only the audit trail knows of them. For the next page, after is the last row's merge_id.
Example: SELECT merge_id, guest_id, merged_guest_id FROM guestcomms.list_merges() WHERE can_be_undone;
See also: merge_guests, undo_merge, verify_audit_trail$$;

CREATE FUNCTION guestcomms_internal.trim_guest_history(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_merges bigint;
    v_lines bigint;
BEGIN
    DELETE FROM guestcomms.guest_merges AS m
    WHERE (m.tenant_id, m.merge_id) IN (
        SELECT o.tenant_id, o.merge_id FROM guestcomms.guest_merges AS o
        WHERE o.merged_at < now() - guestcomms_internal.setting('guests.undo_merge_window', o.tenant_id)::interval LIMIT trim_guest_history.max_rows);
    GET DIAGNOSTICS v_merges = ROW_COUNT;
    DELETE FROM guestcomms.import_guest_lines AS l
    WHERE l.ctid = ANY (ARRAY(SELECT o.ctid FROM guestcomms.import_guest_lines AS o WHERE o.loaded_at < now() - interval '1 day' LIMIT trim_guest_history.max_rows FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_lines = ROW_COUNT;
    RETURN v_merges + v_lines;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_guest_history(integer) IS 'Removes merges that can no longer be undone, and files of guests that nobody imported within a day, of all tenants.';
