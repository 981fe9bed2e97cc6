-- An erasure in bounded steps, each a transaction of its own unless all of it is done within one call: mark the guest, erase out of
-- the archive, out of the tables and what is left of details; let the counts of search follow; look through searches and audit;
-- then the guest; then look at every place again. What a crash interrupts goes on where it was.
CREATE FUNCTION guestcomms_internal.guest_message_ids(tenant_id uuid, guest_ids uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT m.message_id FROM guestcomms.messages AS m WHERE m.tenant_id = guest_message_ids.tenant_id AND m.guest_id = ANY (guest_message_ids.guest_ids)
    UNION
    SELECT i.id FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.message_ids) AS i (id)
    WHERE s.tenant_id = guest_message_ids.tenant_id AND s.guest_id = ANY (guest_message_ids.guest_ids)
    UNION
    -- What went before left its fact, and may have left a detail that came late.
    SELECT f.message_id FROM guestcomms_bi.dim_guest AS d
    JOIN guestcomms_bi.fact_message AS f ON f.tenant_id = d.tenant_id AND f.guest_key = d.guest_key
    WHERE d.tenant_id = guest_message_ids.tenant_id AND d.guest_id = ANY (guest_message_ids.guest_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.guest_message_ids(uuid, uuid[]) IS 'All messages there are, or were, of guests.';

CREATE FUNCTION guestcomms_internal.holds_about(tenant_id uuid, guest_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT h.hold_id FROM guestcomms.legal_holds AS h
        WHERE h.tenant_id = holds_about.tenant_id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())
            AND (h.guest_id IS NULL OR h.guest_id = ANY (holds_about.guest_ids)) ORDER BY h.hold_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.holds_about(uuid, uuid[]) IS 'Holds in force that may cover messages of these guests.';

CREATE FUNCTION guestcomms_internal.collect_erasure(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_key record;
BEGIN
    PERFORM guestcomms_internal.lock_tenant_exports(collect_erasure.tenant_id, false);
    -- Waits for whoever is writing for this guest, and for nobody else.
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = collect_erasure.tenant_id AND g.guest_id = ANY (collect_erasure.guest_ids) ORDER BY g.guest_id FOR UPDATE;
    PERFORM guestcomms_internal.note_names(collect_erasure.tenant_id, collect_erasure.erasure_id, collect_erasure.guest_ids);
    SELECT k.key_id, k.secret INTO v_key FROM guestcomms_internal.erasure_key() AS k;
    INSERT INTO guestcomms.erasure_ledger (tenant_id, key_id, guest_hash, mode, is_both_sides, requested_at)
    SELECT e.tenant_id, v_key.key_id, guestcomms_internal.erasure_hash(v_key.secret, 'guest', e.tenant_id::text, i.id::text), e.mode, e.is_both_sides, e.requested_at
    FROM guestcomms.erasures AS e CROSS JOIN unnest(collect_erasure.guest_ids) AS i (id)
    WHERE e.tenant_id = collect_erasure.tenant_id AND e.erasure_id = collect_erasure.erasure_id
    ON CONFLICT ON CONSTRAINT erasure_ledger_pkey DO NOTHING;
    PERFORM guestcomms_internal.erase_exports(collect_erasure.tenant_id, collect_erasure.erasure_id, collect_erasure.guest_ids);
    -- What a hold kept is looked at once more.
    UPDATE guestcomms_internal.erasure_messages AS m SET treatment = NULL
    WHERE m.tenant_id = collect_erasure.tenant_id AND m.erasure_id = collect_erasure.erasure_id AND m.treatment = 'held';
    INSERT INTO guestcomms_internal.erasure_messages (tenant_id, erasure_id, message_id)
    SELECT collect_erasure.tenant_id, collect_erasure.erasure_id, i.id FROM guestcomms_internal.guest_message_ids(collect_erasure.tenant_id, collect_erasure.guest_ids) AS i (id)
    ON CONFLICT ON CONSTRAINT erasure_messages_pkey DO NOTHING;
    UPDATE guestcomms.erasures AS e
    SET held_count = 0, hold_ids = '{}', round_count = e.round_count + 1, message_total = e.message_count
        + (SELECT count(*) FROM guestcomms_internal.erasure_messages AS w
            JOIN guestcomms.messages AS m ON m.tenant_id = w.tenant_id AND m.message_id = w.message_id
                AND m.sent_at >= guestcomms.uuid_v7_time(w.message_id) AND m.sent_at < guestcomms.uuid_v7_time(w.message_id) + interval '1 millisecond'
            WHERE w.tenant_id = e.tenant_id AND w.erasure_id = e.erasure_id AND w.treatment IS NULL)
        + (SELECT count(*) FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.message_ids) AS i (id)
            JOIN guestcomms_internal.erasure_messages AS w ON w.tenant_id = s.tenant_id AND w.erasure_id = e.erasure_id AND w.message_id = i.id AND w.treatment IS NULL
            WHERE s.tenant_id = e.tenant_id AND s.guest_id = ANY (collect_erasure.guest_ids))
    WHERE e.tenant_id = collect_erasure.tenant_id AND e.erasure_id = collect_erasure.erasure_id;
    IF cardinality(guestcomms_internal.holds_about(collect_erasure.tenant_id, collect_erasure.guest_ids)) = 0 THEN
        -- From here on nothing is written for the guest; whoever comes with an address of theirs is somebody else.
        UPDATE guestcomms.guests AS g SET erased_at = coalesce(g.erased_at, now())
        WHERE g.tenant_id = collect_erasure.tenant_id AND g.guest_id = ANY (collect_erasure.guest_ids);
        PERFORM guestcomms_internal.erase_contacts(collect_erasure.tenant_id, collect_erasure.erasure_id, collect_erasure.guest_ids);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.collect_erasure(uuid, uuid, uuid[]) IS 'The first step: the ledger, the list of messages, and the mark that nothing is written for the guest any more.';

CREATE FUNCTION guestcomms_internal.has_untreated(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
    -- One statement, so one moment: what is just being archived is in the one or in the other.
    SELECT EXISTS (SELECT FROM guestcomms.messages AS m
            WHERE m.tenant_id = has_untreated.tenant_id AND m.guest_id = ANY (has_untreated.guest_ids)
                AND NOT EXISTS (SELECT FROM guestcomms_internal.erasure_messages AS w
                    WHERE w.tenant_id = m.tenant_id AND w.erasure_id = has_untreated.erasure_id AND w.message_id = m.message_id AND w.treatment IS NOT NULL))
        OR EXISTS (SELECT FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.message_ids) AS i (id)
            WHERE s.tenant_id = has_untreated.tenant_id AND s.guest_id = ANY (has_untreated.guest_ids)
                AND NOT EXISTS (SELECT FROM guestcomms_internal.erasure_messages AS w
                    WHERE w.tenant_id = s.tenant_id AND w.erasure_id = has_untreated.erasure_id AND w.message_id = i.id AND w.treatment IS NOT NULL))
$$;
COMMENT ON FUNCTION guestcomms_internal.has_untreated(uuid, uuid, uuid[]) IS 'Whether messages moved past an erasure that went through archive and tables, or came since.';

CREATE FUNCTION guestcomms_internal.erase_left_details(tenant_id uuid, erasure_id uuid, max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT m.message_id FROM guestcomms_internal.erasure_messages AS m
        WHERE m.tenant_id = erase_left_details.tenant_id AND m.erasure_id = erase_left_details.erasure_id AND m.treatment IS NULL LIMIT erase_left_details.max_rows);
BEGIN
    IF cardinality(v_ids) > 0 THEN
        PERFORM guestcomms_internal.keep_facts(erase_left_details.tenant_id, v_ids);
        PERFORM guestcomms_internal.erase_details(erase_left_details.tenant_id, erase_left_details.erasure_id, v_ids, false);
        PERFORM guestcomms_internal.rekey_facts(erase_left_details.tenant_id, erase_left_details.erasure_id, v_ids);
        PERFORM guestcomms_internal.erase_lost_event_keys(erase_left_details.tenant_id, erase_left_details.erasure_id, v_ids);
        UPDATE guestcomms_internal.erasure_messages AS m SET treatment = 'removed'
        WHERE m.tenant_id = erase_left_details.tenant_id AND m.erasure_id = erase_left_details.erasure_id AND m.message_id = ANY (v_ids);
    END IF;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_left_details(uuid, uuid, integer) IS 'Details and facts of messages that are gone already.';

CREATE FUNCTION guestcomms_internal.erase_late_details(tenant_id uuid, erasure_id uuid, max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids uuid[];
BEGIN
    -- In the first round nothing can have come yet that its batch has not seen.
    SELECT array_agg(o.message_id ORDER BY o.message_id) INTO v_ids
    FROM (
        SELECT m.message_id FROM guestcomms.erasures AS e
        JOIN guestcomms_internal.erasure_messages AS m ON m.tenant_id = e.tenant_id AND m.erasure_id = e.erasure_id
        WHERE e.tenant_id = erase_late_details.tenant_id AND e.erasure_id = erase_late_details.erasure_id AND e.round_count > 1
            AND m.treatment IN ('blanked', 'hidden') AND m.message_id > coalesce(e.reached_id, guestcomms_internal.no_member())
        ORDER BY m.message_id LIMIT erase_late_details.max_rows
    ) AS o;
    IF v_ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM guestcomms_internal.erase_details(erase_late_details.tenant_id, erase_late_details.erasure_id, v_ids, true);
    UPDATE guestcomms.erasures AS e SET reached_id = v_ids[cardinality(v_ids)]
    WHERE e.tenant_id = erase_late_details.tenant_id AND e.erasure_id = erase_late_details.erasure_id;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_late_details(uuid, uuid, integer) IS 'What came to messages whose texts are gone after they were; once verification has found something.';

CREATE FUNCTION guestcomms_internal.end_of_stage(tenant_id uuid, erasure_id uuid, stage text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms.erasures AS e SET stage = end_of_stage.stage, reached_at = NULL, reached_id = NULL
    WHERE e.tenant_id = end_of_stage.tenant_id AND e.erasure_id = end_of_stage.erasure_id;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.end_of_stage(uuid, uuid, text) IS 'Takes an erasure to another stage, and returns true: there is more to do.';

CREATE FUNCTION guestcomms_internal.step_erasure(tenant_id uuid, erasure_id uuid, is_caught_up boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_erasure record;
    v_guests uuid[];
    v_rows integer := guestcomms_internal.setting('privacy.erase_batch_messages', step_erasure.tenant_id)::integer;
BEGIN
    -- Nobody places a hold while this looks for them.
    LOCK TABLE guestcomms.legal_holds IN SHARE MODE;
    SELECT e.guest_id, e.status, e.stage INTO v_erasure FROM guestcomms.erasures AS e
    WHERE e.tenant_id = step_erasure.tenant_id AND e.erasure_id = step_erasure.erasure_id FOR UPDATE;
    IF v_erasure.status IS DISTINCT FROM 'running' THEN
        RETURN false;
    END IF;
    v_guests := guestcomms_internal.same_guests(step_erasure.tenant_id, v_erasure.guest_id);
    CASE v_erasure.stage
    WHEN 'collect' THEN
        PERFORM guestcomms_internal.collect_erasure(step_erasure.tenant_id, step_erasure.erasure_id, v_guests);
        RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'archive');
    WHEN 'archive' THEN
        RETURN guestcomms_internal.erase_archived_batch(step_erasure.tenant_id, step_erasure.erasure_id, v_guests, v_rows) > 0
            OR guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'tables');
    WHEN 'tables' THEN
        RETURN guestcomms_internal.erase_hot_batch(step_erasure.tenant_id, step_erasure.erasure_id, v_guests, v_rows) > 0
            OR guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'details');
    WHEN 'details' THEN
        IF guestcomms_internal.has_untreated(step_erasure.tenant_id, step_erasure.erasure_id, v_guests) THEN
            RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'archive');
        ELSIF guestcomms_internal.erase_left_details(step_erasure.tenant_id, step_erasure.erasure_id, v_rows) > 0
            OR guestcomms_internal.erase_late_details(step_erasure.tenant_id, step_erasure.erasure_id, v_rows) > 0
        THEN
            RETURN true;
        END IF;
        UPDATE guestcomms.erasures AS e SET changed_in = pg_current_xact_id() WHERE e.tenant_id = step_erasure.tenant_id AND e.erasure_id = step_erasure.erasure_id;
        RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'statistics');
    WHEN 'statistics' THEN
        IF step_erasure.is_caught_up THEN
            PERFORM guestcomms_internal.take_off_statistics(step_erasure.tenant_id);
        ELSIF EXISTS (SELECT FROM guestcomms.change_log AS l WHERE l.xid = pg_current_xact_id_if_assigned()) THEN
            RETURN NULL;
        ELSIF guestcomms.refresh_term_statistics() > 0 AND NOT guestcomms_internal.is_counted(step_erasure.tenant_id, step_erasure.erasure_id) THEN
            RETURN true;
        END IF;
        PERFORM guestcomms_internal.drop_replaced(step_erasure.tenant_id, step_erasure.erasure_id);
        RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'words');
    WHEN 'words' THEN
        IF guestcomms_internal.erase_queries(step_erasure.tenant_id, step_erasure.erasure_id, 2000) > 0 THEN
            RETURN true;
        END IF;
        PERFORM guestcomms_internal.erase_searches(step_erasure.tenant_id, step_erasure.erasure_id);
        RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'audit');
    WHEN 'audit' THEN
        IF guestcomms_internal.erase_audit_contents(step_erasure.tenant_id, step_erasure.erasure_id, v_guests, 10000) > 0 THEN
            RETURN true;
        END IF;
        RETURN guestcomms_internal.end_of_stage(step_erasure.tenant_id, step_erasure.erasure_id, 'identity');
    WHEN 'identity' THEN
        RETURN guestcomms_internal.step_identity(step_erasure.tenant_id, step_erasure.erasure_id, v_guests);
    WHEN 'reports' THEN
        RETURN guestcomms_internal.step_reports(step_erasure.tenant_id, step_erasure.erasure_id, v_guests);
    ELSE
        NULL;
    END CASE;
    RETURN guestcomms_internal.verify_erasure(step_erasure.tenant_id, step_erasure.erasure_id, v_guests);
END $$;
COMMENT ON FUNCTION guestcomms_internal.step_erasure(uuid, uuid, boolean) IS
'One bounded step of an erasure: true where there is more to do, NULL where it takes another transaction, false at the end. is_caught_up: catch_up_statistics() was called in this transaction.';

CREATE FUNCTION guestcomms_internal.step_identity(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_is_held boolean;
    v_is_marked boolean;
BEGIN
    PERFORM guestcomms_internal.lock_tenant_exports(step_identity.tenant_id, false);
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = step_identity.tenant_id AND g.guest_id = ANY (step_identity.guest_ids) ORDER BY g.guest_id FOR UPDATE;
    -- Whoever has one may come to want the guest: not waited for, but tried again.
    PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = step_identity.tenant_id AND t.guest_id = ANY (step_identity.guest_ids) FOR NO KEY UPDATE NOWAIT;
    v_is_held := EXISTS (SELECT FROM guestcomms_internal.erasure_messages AS m
        WHERE m.tenant_id = step_identity.tenant_id AND m.erasure_id = step_identity.erasure_id AND m.treatment = 'held');
    v_is_marked := NOT EXISTS (SELECT FROM guestcomms.guests AS g
        WHERE g.tenant_id = step_identity.tenant_id AND g.guest_id = ANY (step_identity.guest_ids) AND g.erased_at IS NULL);
    IF v_is_held AND cardinality(guestcomms_internal.holds_about(step_identity.tenant_id, step_identity.guest_ids)) = 0 THEN
        -- What held them has ended meanwhile, and would tell nobody any more.
        RETURN guestcomms_internal.end_of_stage(step_identity.tenant_id, step_identity.erasure_id, 'collect');
    ELSIF v_is_held THEN
        -- Art. 17(3)(e) and 18: who it was stays with what is kept, and nothing else is done with it.
        UPDATE guestcomms.guests AS g SET erased_at = NULL, restricted_at = coalesce(g.restricted_at, now())
        WHERE g.tenant_id = step_identity.tenant_id AND g.guest_id = ANY (step_identity.guest_ids);
        UPDATE guestcomms.erasures AS e
        SET status = 'held', stage = 'collect', reached_at = NULL, reached_id = NULL, checked_at = clock_timestamp(), round_count = 0,
            hold_ids = guestcomms_internal.holds_about(e.tenant_id, step_identity.guest_ids)
        WHERE e.tenant_id = step_identity.tenant_id AND e.erasure_id = step_identity.erasure_id;
        -- The list of messages stays: what was done is not done again.
        DELETE FROM guestcomms_internal.erasure_words AS w WHERE w.tenant_id = step_identity.tenant_id AND w.erasure_id = step_identity.erasure_id;
        PERFORM guestcomms_internal.record_audit(step_identity.tenant_id, 'hold_erasure', 'erasure ' || step_identity.erasure_id);
        RETURN false;
    ELSIF NOT v_is_marked THEN
        -- While a hold might have covered them, messages could still come.
        UPDATE guestcomms.guests AS g SET erased_at = coalesce(g.erased_at, now())
        WHERE g.tenant_id = step_identity.tenant_id AND g.guest_id = ANY (step_identity.guest_ids);
        RETURN guestcomms_internal.end_of_stage(step_identity.tenant_id, step_identity.erasure_id, 'collect');
    ELSIF guestcomms_internal.has_untreated(step_identity.tenant_id, step_identity.erasure_id, step_identity.guest_ids) THEN
        RETURN guestcomms_internal.end_of_stage(step_identity.tenant_id, step_identity.erasure_id, 'collect');
    END IF;
    PERFORM guestcomms_internal.erase_detached(step_identity.tenant_id, step_identity.erasure_id, step_identity.guest_ids, ARRAY(
        SELECT m.message_id FROM guestcomms_internal.erasure_messages AS m WHERE m.tenant_id = step_identity.tenant_id AND m.erasure_id = step_identity.erasure_id));
    PERFORM guestcomms_internal.erase_identity(step_identity.tenant_id, step_identity.erasure_id, step_identity.guest_ids);
    -- Of all of the tenant, begun since and with the name in them.
    PERFORM guestcomms_internal.erase_exports(step_identity.tenant_id, step_identity.erasure_id, step_identity.guest_ids);
    RETURN guestcomms_internal.end_of_stage(step_identity.tenant_id, step_identity.erasure_id, 'reports');
END $$;
COMMENT ON FUNCTION guestcomms_internal.step_identity(uuid, uuid, uuid[]) IS 'Erases who the guest was, unless a hold keeps messages: then the erasure waits, and the guest is restricted.';

CREATE FUNCTION guestcomms_internal.drop_worklist(tenant_id uuid, erasure_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM guestcomms_internal.erasure_words AS w WHERE w.tenant_id = drop_worklist.tenant_id AND w.erasure_id = drop_worklist.erasure_id;
    DELETE FROM guestcomms_internal.erasure_messages AS m WHERE m.tenant_id = drop_worklist.tenant_id AND m.erasure_id = drop_worklist.erasure_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_worklist(uuid, uuid) IS 'Removes what an erasure needs only while it runs.';

CREATE FUNCTION guestcomms_internal.step_reports(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Of all tenants, and refreshed as a whole: only where it is needed.
    IF EXISTS (SELECT FROM guestcomms_internal.report_guest_engagement AS r WHERE r.tenant_id = step_reports.tenant_id AND r.guest_id = ANY (step_reports.guest_ids)) THEN
        -- The row before the view, as whoever refreshes reports.
        PERFORM FROM guestcomms_internal.report_refreshes AS r WHERE r.report = 'guest_engagement' FOR UPDATE;
        REFRESH MATERIALIZED VIEW CONCURRENTLY guestcomms_internal.report_guest_engagement;
        UPDATE guestcomms_internal.report_refreshes AS r SET as_of = clock_timestamp() WHERE r.report = 'guest_engagement';
        PERFORM guestcomms_internal.note_erased(step_reports.tenant_id, step_reports.erasure_id, 'guestcomms_internal.report_guest_engagement', 1);
    END IF;
    RETURN guestcomms_internal.end_of_stage(step_reports.tenant_id, step_reports.erasure_id, 'verify');
END $$;
COMMENT ON FUNCTION guestcomms_internal.step_reports(uuid, uuid, uuid[]) IS 'Refreshes the report that has a row for each guest.';
