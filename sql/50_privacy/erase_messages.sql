-- Erasing messages, a bounded batch at a time, out of the tables and out of the archive. A batch is one transaction: what it takes
-- away is noted in the worklist and taken off the facts' guest with it. The statements run as guestcomms_engine, for which the
-- tables' triggers log no removal; so it is logged here.
CREATE FUNCTION guestcomms_internal.erasure_treatment(tenant_id uuid, guest_id uuid, thread_id uuid, wedding_id uuid, sent_at timestamptz, direction text,
    mode text, is_both_sides boolean) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE
        WHEN guestcomms_internal.is_held(erasure_treatment.tenant_id, erasure_treatment.guest_id, erasure_treatment.thread_id, erasure_treatment.wedding_id,
            erasure_treatment.sent_at, false) THEN 'held'
        WHEN erasure_treatment.mode = 'anonymize' THEN 'blanked'
        WHEN erasure_treatment.direction = 'outbound' AND NOT erasure_treatment.is_both_sides THEN 'hidden'
        ELSE 'removed' END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erasure_treatment(uuid, uuid, uuid, uuid, timestamptz, text, text, boolean) IS
'What becomes of a message: held, blanked (its times and counts stay), hidden (the business''s text stays without personal data) or removed.';

CREATE FUNCTION guestcomms_internal.note_erased(tenant_id uuid, erasure_id uuid, place text, row_count bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms.erasure_receipts AS r (tenant_id, erasure_id, place, row_count)
    VALUES (note_erased.tenant_id, note_erased.erasure_id, note_erased.place, coalesce(note_erased.row_count, 0))
    ON CONFLICT ON CONSTRAINT erasure_receipts_pkey DO UPDATE SET row_count = r.row_count + excluded.row_count WHERE excluded.row_count <> 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_erased(uuid, uuid, text, bigint) IS 'Adds to the receipt what was done in a place.';

CREATE FUNCTION guestcomms_internal.note_treated(tenant_id uuid, erasure_id uuid, message_ids uuid[], treatments text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms_internal.erasure_messages AS m (tenant_id, erasure_id, message_id, treatment)
    SELECT note_treated.tenant_id, note_treated.erasure_id, t.id, t.treatment FROM unnest(note_treated.message_ids, note_treated.treatments) AS t (id, treatment)
    ON CONFLICT ON CONSTRAINT erasure_messages_pkey DO UPDATE SET treatment = excluded.treatment;
    UPDATE guestcomms.erasures AS e
    SET message_count = e.message_count + (SELECT count(*) FROM unnest(note_treated.treatments) AS t (treatment) WHERE t.treatment <> 'held'),
        held_count = e.held_count + (SELECT count(*) FROM unnest(note_treated.treatments) AS t (treatment) WHERE t.treatment = 'held')
    WHERE e.tenant_id = note_treated.tenant_id AND e.erasure_id = note_treated.erasure_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_treated(uuid, uuid, uuid[], text[]) IS 'Notes what was done with messages.';

CREATE FUNCTION guestcomms_internal.note_recipients(tenant_id uuid, erasure_id uuid, messages guestcomms_internal.archived_message[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms.erasures AS e
    SET recipients = e.recipients || (SELECT coalesce(jsonb_object_agg(n.recipient, n.message_count + coalesce((e.recipients ->> n.recipient)::bigint, 0)), '{}')
        FROM (SELECT concat_ws(' ', m.source, m.channel) AS recipient, count(*) AS message_count FROM unnest(note_recipients.messages) AS m GROUP BY 1) AS n)
    WHERE e.tenant_id = note_recipients.tenant_id AND e.erasure_id = note_recipients.erasure_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_recipients(uuid, uuid, guestcomms_internal.archived_message[]) IS 'Counts messages by provider and channel, before they go.';

CREATE FUNCTION guestcomms_internal.log_blanking(tenant_id uuid, messages guestcomms_internal.archived_message[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    -- As the trigger does for edits in the tables.
    WITH logged AS (
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT log_blanking.tenant_id, 'message', 'update', min(m.sent_at), max(m.sent_at), array_agg(m.message_id)
        FROM unnest(log_blanking.messages) AS m HAVING count(*) > 0
        RETURNING seq
    )
    INSERT INTO guestcomms_internal.replaced_messages (tenant_id, message_id, seq, guest_id, wedding_id, campaign_id, language, subject, body, word_count, search)
    SELECT log_blanking.tenant_id, m.message_id, l.seq, m.guest_id, m.wedding_id, m.campaign_id, m.language, m.subject, left(m.body, 20000), m.word_count, m.search
    FROM logged AS l CROSS JOIN unnest(log_blanking.messages) AS m
$$;
COMMENT ON FUNCTION guestcomms_internal.log_blanking(uuid, guestcomms_internal.archived_message[]) IS 'Logs that archived messages lost their texts.';

CREATE FUNCTION guestcomms_internal.erase_details(tenant_id uuid, erasure_id uuid, message_ids uuid[], is_kept boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_table text;
    v_sources text[];
    v_keys text[];
    v_count bigint;
    v_attachments bigint := (SELECT count(*) FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = erase_details.tenant_id AND c.message_id = ANY (erase_details.message_ids));
BEGIN
    IF coalesce(cardinality(erase_details.message_ids), 0) = 0 THEN
        RETURN;
    END IF;
    SELECT count(*) INTO v_count FROM guestcomms.attachments AS a WHERE a.tenant_id = erase_details.tenant_id AND a.message_id = ANY (erase_details.message_ids);
    PERFORM guestcomms_internal.note_erased(erase_details.tenant_id, erase_details.erasure_id, 'guestcomms.attachments', v_count);
    PERFORM guestcomms_internal.note_attachment_removal(erase_details.tenant_id, erase_details.message_ids, 'erasure');
    PERFORM guestcomms_internal.note_erased(erase_details.tenant_id, erase_details.erasure_id, 'guestcomms_internal.attachment_contents', v_attachments);
    FOR v_table IN SELECT t.name FROM unnest('{message_versions,message_annotations,message_deletions,send_attempts,search_alerts,message_keys}'::text[]) AS t (name) LOOP
        EXECUTE format('DELETE FROM guestcomms.%I AS t WHERE t.tenant_id = $1 AND t.message_id = ANY ($2)', v_table) USING erase_details.tenant_id, erase_details.message_ids;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        PERFORM guestcomms_internal.note_erased(erase_details.tenant_id, erase_details.erasure_id, 'guestcomms.' || v_table, v_count);
    END LOOP;
    DELETE FROM guestcomms_internal.undetected_messages AS u WHERE u.tenant_id = erase_details.tenant_id AND u.message_id = ANY (erase_details.message_ids);
    DELETE FROM guestcomms_internal.late_details AS d WHERE d.tenant_id = erase_details.tenant_id AND d.message_id = ANY (erase_details.message_ids);
    SELECT array_agg(e.source), array_agg(e.external_id) INTO v_sources, v_keys FROM guestcomms.message_events AS e
    WHERE e.tenant_id = erase_details.tenant_id AND e.message_id = ANY (erase_details.message_ids) AND e.external_id IS NOT NULL;
    PERFORM guestcomms_internal.erase_event_keys(erase_details.tenant_id, erase_details.erasure_id, v_sources, v_keys);
    IF erase_details.is_kept THEN
        UPDATE guestcomms.message_events AS e SET detail = NULL, external_id = NULL
        WHERE e.tenant_id = erase_details.tenant_id AND e.message_id = ANY (erase_details.message_ids) AND num_nonnulls(e.detail, e.external_id) > 0;
    ELSE
        DELETE FROM guestcomms.message_events AS e WHERE e.tenant_id = erase_details.tenant_id AND e.message_id = ANY (erase_details.message_ids);
    END IF;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_details.tenant_id, erase_details.erasure_id, 'guestcomms.message_events', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_details(uuid, uuid, uuid[], boolean) IS
'Removes what belongs to messages, and their external identifiers; events of messages that stay keep their times.';

CREATE FUNCTION guestcomms_internal.erase_event_keys(tenant_id uuid, erasure_id uuid, sources text[], external_ids text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms.event_keys AS k USING unnest(erase_event_keys.sources, erase_event_keys.external_ids) AS e (source, external_id)
    WHERE k.tenant_id = erase_event_keys.tenant_id AND k.source = e.source AND k.external_id = e.external_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_event_keys.tenant_id, erase_event_keys.erasure_id, 'guestcomms.event_keys', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_event_keys(uuid, uuid, text[], text[]) IS 'Removes external identifiers of events.';

CREATE FUNCTION guestcomms_internal.erase_lost_event_keys(tenant_id uuid, erasure_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    -- Only the facts know which events there were.
    DELETE FROM guestcomms.event_keys AS k
    WHERE k.tenant_id = erase_lost_event_keys.tenant_id AND k.event_id IN (SELECT f.event_id FROM guestcomms_bi.fact_message_event AS f
        WHERE f.tenant_id = erase_lost_event_keys.tenant_id AND f.message_id = ANY (erase_lost_event_keys.message_ids));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_lost_event_keys.tenant_id, erase_lost_event_keys.erasure_id, 'guestcomms.event_keys', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_lost_event_keys(uuid, uuid, uuid[]) IS 'Removes external identifiers of events whose messages cannot be read, or are gone already.';

CREATE FUNCTION guestcomms_internal.hide_personal_data(tenant_id uuid, content text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE WHEN hide_personal_data.content IS NOT NULL THEN guestcomms_internal.anonymize_in(hide_personal_data.tenant_id, hide_personal_data.content, NULL) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.hide_personal_data(uuid, text) IS 'What the business wrote, without the names it knows and without what looks like personal data.';

CREATE FUNCTION guestcomms_internal.rekey_facts(tenant_id uuid, erasure_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
BEGIN
    IF coalesce(cardinality(rekey_facts.message_ids), 0) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    PERFORM guestcomms_internal.load_messages(
        (SELECT array_agg(ROW(rekey_facts.tenant_id, i.id)::guestcomms_internal.message_reference) FROM unnest(rekey_facts.message_ids) AS i (id)), NULL, NULL, false);
    PERFORM guestcomms_internal.note_erased(rekey_facts.tenant_id, rekey_facts.erasure_id, 'guestcomms_bi.fact_message', cardinality(rekey_facts.message_ids));
END $$;
COMMENT ON FUNCTION guestcomms_internal.rekey_facts(uuid, uuid, uuid[]) IS 'Facts of messages, computed anew: of a guest who is marked as erased they become nobody''s.';

CREATE FUNCTION guestcomms_internal.lock_erased_batch(tenant_id uuid, message_ids uuid[], first_sent_at timestamptz, last_sent_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + interval '10 seconds';
    v_threads uuid[];
BEGIN
    LOOP
        v_threads := guestcomms_internal.threads_of_messages(lock_erased_batch.tenant_id, lock_erased_batch.message_ids);
        BEGIN
            -- All at once or none: others take messages and threads in orders of their own.
            PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_erased_batch.tenant_id AND t.thread_id = ANY (v_threads) FOR NO KEY UPDATE NOWAIT;
            PERFORM FROM guestcomms.messages AS m WHERE m.tenant_id = lock_erased_batch.tenant_id AND m.message_id = ANY (lock_erased_batch.message_ids)
                AND m.sent_at >= lock_erased_batch.first_sent_at AND m.sent_at <= lock_erased_batch.last_sent_at FOR UPDATE NOWAIT;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > v_until THEN
                RAISE;
            END IF;
        END;
        PERFORM pg_sleep(0.005 + random() * 0.01);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_erased_batch(uuid, uuid[], timestamptz, timestamptz) IS
'Locks messages and their threads as soon as nobody else has any of them; an error where somebody does for ten seconds.';

CREATE FUNCTION guestcomms_internal.erase_hot_batch(tenant_id uuid, erasure_id uuid, guest_ids uuid[], max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_erasure record;
    v_messages guestcomms_internal.archived_message[];
    v_treatments text[];
    v_ids uuid[];
    v_removed uuid[];
    v_kept uuid[];
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    SELECT e.mode, e.is_both_sides, coalesce(e.reached_at, '-infinity') AS reached_at, coalesce(e.reached_id, guestcomms_internal.no_member()) AS reached_id INTO v_erasure
    FROM guestcomms.erasures AS e WHERE e.tenant_id = erase_hot_batch.tenant_id AND e.erasure_id = erase_hot_batch.erasure_id;
    v_first := v_erasure.reached_at;
    SELECT array_agg(m.message_id), max(m.sent_at) INTO v_ids, v_last
    FROM (
        SELECT n.message_id, n.sent_at FROM guestcomms.messages AS n
        WHERE n.tenant_id = erase_hot_batch.tenant_id AND n.guest_id = ANY (erase_hot_batch.guest_ids)
            AND n.sent_at >= v_first AND (n.sent_at, n.message_id) > (v_erasure.reached_at, v_erasure.reached_id)
            -- What stays without texts was treated in an earlier round.
            AND NOT EXISTS (SELECT FROM guestcomms_internal.erasure_messages AS w
                WHERE w.tenant_id = n.tenant_id AND w.erasure_id = erase_hot_batch.erasure_id AND w.message_id = n.message_id AND w.treatment IS NOT NULL)
        ORDER BY n.sent_at, n.message_id LIMIT erase_hot_batch.max_rows
    ) AS m;
    IF v_ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM guestcomms_internal.lock_erased_batch(erase_hot_batch.tenant_id, v_ids, v_first, v_last);
    SELECT array_agg(ROW(m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.wedding_id, m.campaign_id, m.direction, m.channel, m.status, m.purpose, m.language, m.subject,
                m.body, m.author, m.source, m.external_id, m.scheduled_at, m.read_at, m.edited_at, m.deleted_at, m.metadata, m.word_count, m.search,
                false)::guestcomms_internal.archived_message ORDER BY m.sent_at, m.message_id),
        array_agg(guestcomms_internal.erasure_treatment(m.tenant_id, m.guest_id, m.thread_id, m.wedding_id, m.sent_at, m.direction, v_erasure.mode, v_erasure.is_both_sides)
            ORDER BY m.sent_at, m.message_id),
        array_agg(m.message_id ORDER BY m.sent_at, m.message_id), min(m.sent_at), max(m.sent_at)
    INTO v_messages, v_treatments, v_ids, v_first, v_last
    FROM guestcomms.messages AS m
    WHERE m.tenant_id = erase_hot_batch.tenant_id AND m.message_id = ANY (v_ids) AND m.sent_at >= v_first AND m.sent_at <= v_last;
    -- Gone while this waited, as when a run has archived them: the next round finds them there.
    IF v_ids IS NULL THEN
        RETURN guestcomms_internal.erase_hot_batch(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, erase_hot_batch.guest_ids, erase_hot_batch.max_rows);
    END IF;
    v_removed := ARRAY(SELECT i.id FROM unnest(v_ids, v_treatments) AS i (id, treatment) WHERE i.treatment = 'removed');
    v_kept := ARRAY(SELECT i.id FROM unnest(v_ids, v_treatments) AS i (id, treatment) WHERE i.treatment IN ('blanked', 'hidden'));
    PERFORM guestcomms_internal.note_recipients(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, ARRAY(SELECT m FROM unnest(v_messages) AS m WHERE m.message_id = ANY (v_removed || v_kept)));
    PERFORM guestcomms_internal.note_stems(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, ARRAY(SELECT m FROM unnest(v_messages) AS m WHERE m.message_id = ANY (v_removed || v_kept)));
    PERFORM guestcomms_internal.keep_facts(erase_hot_batch.tenant_id, v_removed);
    PERFORM guestcomms_internal.erase_details(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, v_removed, false);
    PERFORM guestcomms_internal.erase_details(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, v_kept, true);
    PERFORM guestcomms_internal.log_removal(erase_hot_batch.tenant_id, ARRAY(SELECT m FROM unnest(v_messages) AS m WHERE m.message_id = ANY (v_removed)));
    DELETE FROM guestcomms.messages AS m
    WHERE m.tenant_id = erase_hot_batch.tenant_id AND m.message_id = ANY (v_removed) AND m.sent_at BETWEEN v_first AND v_last;
    IF cardinality(v_kept) > 0 THEN
        UPDATE guestcomms.messages AS m
        SET subject = CASE k.treatment WHEN 'hidden' THEN guestcomms_internal.hide_personal_data(m.tenant_id, m.subject) END,
            body = CASE k.treatment WHEN 'hidden' THEN guestcomms_internal.hide_personal_data(m.tenant_id, m.body) ELSE '' END,
            external_id = NULL, metadata = '{}'
        FROM unnest(v_ids, v_treatments) AS k (id, treatment)
        WHERE m.tenant_id = erase_hot_batch.tenant_id AND m.message_id = k.id AND k.treatment IN ('blanked', 'hidden') AND m.sent_at BETWEEN v_first AND v_last;
    END IF;
    PERFORM guestcomms_internal.rekey_facts(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, v_removed || v_kept);
    PERFORM guestcomms_internal.note_erased(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, 'guestcomms.messages', cardinality(v_removed || v_kept));
    PERFORM guestcomms_internal.note_treated(erase_hot_batch.tenant_id, erase_hot_batch.erasure_id, v_ids, v_treatments);
    UPDATE guestcomms.erasures AS e SET reached_at = v_last, reached_id = v_ids[cardinality(v_ids)]
    WHERE e.tenant_id = erase_hot_batch.tenant_id AND e.erasure_id = erase_hot_batch.erasure_id;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_hot_batch(uuid, uuid, uuid[], integer) IS 'The next messages of the tables that an erasure has not come to; returns how many.';
