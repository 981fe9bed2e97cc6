-- Erasing a guest: what would go, the erasure, how far it is, what it did and who is to be told.
CREATE FUNCTION guestcomms_internal.require_erasable(tenant_id uuid, guest_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = require_erasable.tenant_id AND g.guest_id = require_erasable.guest_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such guest', DETAIL = format('guest_id %s.', coalesce(require_erasable.guest_id::text, 'null')),
            HINT = 'resolve_guest() finds a guest by address.';
    END IF;
    RETURN guestcomms_internal.same_guests(require_erasable.tenant_id, require_erasable.guest_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_erasable(uuid, uuid) IS 'The guest with those merged into them; an error where there is no such guest.';

CREATE FUNCTION guestcomms_internal.erasure_preview(tenant_id uuid, guest_ids uuid[])
RETURNS TABLE (kind text, subject text, row_count bigint, held_count bigint, detail text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[] := ARRAY(SELECT guestcomms_internal.guest_message_ids(erasure_preview.tenant_id, erasure_preview.guest_ids));
    v_holds uuid[] := guestcomms_internal.holds_about(erasure_preview.tenant_id, erasure_preview.guest_ids);
    v_messages guestcomms_internal.archived_message[];
    v_hot_held bigint;
    v_archived_held bigint;
BEGIN
    SELECT count(*) INTO v_hot_held FROM guestcomms.messages AS m
    WHERE cardinality(v_holds) > 0 AND m.tenant_id = erasure_preview.tenant_id AND m.guest_id = ANY (erasure_preview.guest_ids)
        AND guestcomms_internal.is_held(m.tenant_id, m.guest_id, m.thread_id, m.wedding_id, m.sent_at, false);
    v_messages := ARRAY(
        SELECT m FROM guestcomms.archive_segments AS s
        CROSS JOIN LATERAL guestcomms_internal.content_messages(s.tenant_id, s.guest_id, guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true, true)) AS m
        WHERE s.tenant_id = erasure_preview.tenant_id AND s.guest_id = ANY (erasure_preview.guest_ids));
    SELECT count(*) INTO v_archived_held FROM unnest(v_messages) AS m
    WHERE cardinality(v_holds) > 0 AND guestcomms_internal.is_held(m.tenant_id, m.guest_id, m.thread_id, m.wedding_id, m.sent_at, false);
    RETURN QUERY
    SELECT 'place', p.place, c.row_count,
        CASE p.place WHEN 'guestcomms.messages' THEN v_hot_held WHEN 'guestcomms.archive_segments' THEN v_archived_held ELSE 0 END, concat_ws(': ', p.treatment, p.reason)
    FROM guestcomms_internal.erasure_places() AS p
    CROSS JOIN LATERAL (SELECT CASE p.place WHEN 'guestcomms.archive_segments' THEN cardinality(v_messages)
        ELSE guestcomms_internal.count_in_place(p.place, p.condition, erasure_preview.tenant_id, erasure_preview.guest_ids, v_ids, '{}', NULL) END AS row_count) AS c
    WHERE p.condition IS NOT NULL AND p.treatment <> 'recounted' AND c.row_count > 0
        -- What no row refers to any more is of no guest.
        AND p.condition !~ '^NOT EXISTS';
    RETURN QUERY
    SELECT 'detached partition', d.relation::text, c.row_count, 0::bigint, 'removed'
    FROM guestcomms_internal.detached_partitions() AS d
    CROSS JOIN LATERAL (SELECT guestcomms_internal.count_in_place(d.relation::text, format('p.%I = ANY (%s)', d.key_column, CASE d.key_column WHEN 'guest_id' THEN '$2' ELSE '$3' END),
        erasure_preview.tenant_id, erasure_preview.guest_ids, v_ids, '{}', NULL) AS row_count) AS c
    WHERE has_table_privilege(d.relation, 'SELECT');
    RETURN QUERY
    SELECT 'hold', h.id::text, v_hot_held + v_archived_held, v_hot_held + v_archived_held, 'messages that holds keep; until then the guest is restricted' FROM unnest(v_holds) AS h (id)
    WHERE v_hot_held + v_archived_held > 0;
    RETURN QUERY
    SELECT 'recipient', concat_ws(' ', n.source, n.channel), sum(n.message_count)::bigint, 0::bigint, 'to be told of the erasure (GDPR Art. 19)'
    FROM (
        SELECT m.source, m.channel, count(*) AS message_count FROM guestcomms.messages AS m
        WHERE m.tenant_id = erasure_preview.tenant_id AND m.guest_id = ANY (erasure_preview.guest_ids) GROUP BY 1, 2
        UNION ALL
        SELECT m.source, m.channel, count(*) FROM unnest(v_messages) AS m GROUP BY 1, 2
    ) AS n GROUP BY n.source, n.channel;
    RETURN QUERY
    SELECT 'recipient', 'export ' || e.export_id, e.message_count, 0::bigint, format('%s, asked for by %s on %s', e.status, e.requested_by, e.requested_at)
    FROM guestcomms.exports AS e WHERE e.tenant_id = erasure_preview.tenant_id AND (e.guest_id IS NULL OR e.guest_id = ANY (erasure_preview.guest_ids)) AND e.finished_at IS NOT NULL AND e.status <> 'failed';
    RETURN QUERY
    SELECT 'damaged segment', s.segment_id::text, s.message_count::bigint, 0::bigint, 'cannot be read: it is dropped whole, unless a hold may be about it'
    FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = erasure_preview.tenant_id AND s.guest_id = ANY (erasure_preview.guest_ids)
        AND guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true, true) IS NULL;
    RETURN QUERY
    SELECT 'policy', 'privacy.erase_both_sides', cardinality(v_ids)::bigint, 0::bigint, CASE guestcomms_internal.setting('privacy.erase_both_sides', erasure_preview.tenant_id)
        WHEN 'true' THEN 'what the guest wrote goes, and what the business wrote to them'
        ELSE 'what the guest wrote goes; what the business wrote stays without personal data' END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erasure_preview(uuid, uuid[]) IS 'The work of preview_erasure().';

CREATE FUNCTION guestcomms.preview_erasure(guest_id uuid) RETURNS TABLE (kind text, subject text, row_count bigint, held_count bigint, detail text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 30 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY SELECT p.kind, p.subject, p.row_count, p.held_count, p.detail
    FROM guestcomms_internal.erasure_preview(v_tenant, guestcomms_internal.require_erasable(v_tenant, preview_erasure.guest_id)) AS p;
END $$;
COMMENT ON FUNCTION guestcomms.preview_erasure(uuid) IS
$$What erase_guest() would do, without doing it: every place with rows of the guest and what would become of them; how many messages holds keep; who is to be told (GDPR Art. 19), by provider and channel, and the exports that were made; segments of the archive that cannot be read; the policy for conversations of two. Guests who were merged belong together. Searches that name the guest are looked for when they are erased.
Example: SELECT kind, subject, row_count, held_count FROM guestcomms.preview_erasure('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: erase_guest, list_holds$$;

CREATE FUNCTION guestcomms_internal.start_erasure(tenant_id uuid, guest_id uuid, mode text, is_both_sides boolean, is_replay boolean, request_id uuid) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_erasure uuid;
BEGIN
    INSERT INTO guestcomms.erasures (tenant_id, guest_id, mode, is_both_sides, is_replay, request_id)
    VALUES (start_erasure.tenant_id, start_erasure.guest_id, start_erasure.mode, start_erasure.is_both_sides, start_erasure.is_replay, start_erasure.request_id)
    RETURNING erasure_id INTO v_erasure;
    PERFORM guestcomms_internal.record_audit(start_erasure.tenant_id, 'erase_guest', 'erasure ' || v_erasure,
        jsonb_build_object('mode', start_erasure.mode, 'is_both_sides', start_erasure.is_both_sides, 'is_replay', start_erasure.is_replay));
    RETURN v_erasure;
END $$;
COMMENT ON FUNCTION guestcomms_internal.start_erasure(uuid, uuid, text, boolean, boolean, uuid) IS 'Notes an erasure that is to be done.';

CREATE FUNCTION guestcomms_internal.lock_for_erasure(tenant_id uuid, guest_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_most integer := guestcomms_internal.setting('privacy.erase_at_once', lock_for_erasure.tenant_id)::integer;
BEGIN
    -- What it reads must be what others have committed while it waited for them.
    IF current_setting('transaction_isolation') <> 'read committed'
        OR (SELECT count(*) FROM (SELECT FROM guestcomms_internal.guest_message_ids(lock_for_erasure.tenant_id, lock_for_erasure.guest_ids) LIMIT v_most + 1) AS n) > v_most
    THEN
        RETURN false;
    END IF;
    BEGIN
        -- What somebody else has is not waited for: the caller holds the guest, whom that one may come to want.
        PERFORM guestcomms_internal.lock_tenant_exports(lock_for_erasure.tenant_id, false);
        PERFORM FROM guestcomms.exports AS e WHERE e.tenant_id = lock_for_erasure.tenant_id AND (e.guest_id IS NULL OR e.guest_id = ANY (lock_for_erasure.guest_ids)) FOR UPDATE NOWAIT;
        PERFORM FROM guestcomms.threads AS t WHERE t.tenant_id = lock_for_erasure.tenant_id AND t.guest_id = ANY (lock_for_erasure.guest_ids) FOR NO KEY UPDATE NOWAIT;
        PERFORM FROM guestcomms.messages AS m WHERE m.tenant_id = lock_for_erasure.tenant_id AND m.guest_id = ANY (lock_for_erasure.guest_ids) FOR UPDATE NOWAIT;
        PERFORM FROM guestcomms.archive_segments AS s WHERE s.tenant_id = lock_for_erasure.tenant_id AND s.guest_id = ANY (lock_for_erasure.guest_ids) FOR UPDATE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    IF NOT guestcomms_internal.catch_up_statistics('2 seconds') THEN
        RETURN false;
    END IF;
    BEGIN
        -- A refresh may take a while, and nobody places a hold until this is done.
        PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_for_erasure(uuid, uuid[]) IS
'Whether a guest, whom the caller holds, may be erased within the call, which then holds what is theirs and has let the counts of search catch up: few enough messages, nobody at work on them, and nothing written in the transaction before.';

CREATE FUNCTION guestcomms.erase_guest(guest_id uuid, mode text DEFAULT 'erase', request_id uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guests uuid[];
    v_erasure uuid;
    v_request record;
    v_is_caught_up boolean;
BEGIN
    IF erase_guest.mode IS NULL OR erase_guest.mode NOT IN ('erase', 'anonymize') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there is no such mode', DETAIL = format('mode is %s.', coalesce(quote_literal(erase_guest.mode), 'null')),
            HINT = 'Give erase (messages go) or anonymize (their times, channels and counts stay).';
    END IF;
    v_guests := guestcomms_internal.require_erasable(v_tenant, erase_guest.guest_id);
    -- Before the guest, whom somebody who places a hold may have.
    LOCK TABLE guestcomms.legal_holds IN SHARE MODE;
    -- Of two who ask at once, one finds what the other has begun.
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = ANY (v_guests) ORDER BY g.guest_id FOR UPDATE;
    IF erase_guest.request_id IS NOT NULL THEN
        SELECT r.kind, r.guest_id, r.is_confirmed INTO v_request FROM guestcomms_internal.lock_request(v_tenant, erase_guest.request_id) AS r;
        IF v_request.kind <> 'erasure' OR v_request.guest_id <> ALL (v_guests) THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the request is not about erasing this guest', DETAIL = format('It is of kind %s.', v_request.kind),
                HINT = 'SELECT request_id, guest_id FROM guestcomms.list_requests() WHERE kind = ''erasure'';';
        ELSIF NOT v_request.is_confirmed THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the guest''s identity has not been confirmed',
                DETAIL = 'A request of erasure answered to the wrong person destroys somebody else''s data.', HINT = 'SELECT guestcomms.record_identity_check(request_id, method, is_confirmed => true);';
        END IF;
    END IF;
    SELECT e.erasure_id INTO v_erasure FROM guestcomms.erasures AS e WHERE e.tenant_id = v_tenant AND e.status <> 'done' AND e.guest_id = ANY (v_guests);
    IF FOUND THEN
        RETURN v_erasure;
    ELSIF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = ANY (v_guests) AND g.erased_at IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the guest was erased', DETAIL = format('guest_id %s.', erase_guest.guest_id),
            HINT = 'Whoever writes from the same address now is another guest: resolve_guest() returns who has it.';
    END IF;
    v_is_caught_up := guestcomms_internal.lock_for_erasure(v_tenant, v_guests);
    v_erasure := guestcomms_internal.start_erasure(v_tenant, erase_guest.guest_id, erase_guest.mode, guestcomms_internal.setting('privacy.erase_both_sides', v_tenant)::boolean,
        false, erase_guest.request_id);
    IF v_is_caught_up THEN
        WHILE guestcomms_internal.step_erasure(v_tenant, v_erasure, true) LOOP
            NULL;
        END LOOP;
    ELSE
        -- From now on nothing is written for the guest; the rest is the job's.
        PERFORM guestcomms_internal.step_erasure(v_tenant, v_erasure);
        PERFORM guestcomms.request_job('erase_guests', 'erase_guest');
    END IF;
    RETURN v_erasure;
END $$;
COMMENT ON FUNCTION guestcomms.erase_guest(uuid, text, uuid) IS
$$Erases a guest, with those merged into them, from every place there is, archive, searches, statistics' keys and exports included, and returns erasure_id; preview_erasure() shows what would go. mode: erase removes messages; anonymize keeps their times, channels and counts without texts and identity. What the business wrote goes, too, unless privacy.erase_both_sides is off: then it stays without personal data. Of an objection a keyed hash of each address stays, so that it is obeyed for whoever comes with it. What a legal hold covers stays, with the guest restricted, until the hold ends; then the rest goes by itself. request_id: an open request of erasure, which is answered when all is done. A guest with more messages than privacy.erase_at_once, one whose messages somebody is at work on, or one in a transaction that has written before, is left to the job erase_guests; from the call on nothing is written for the guest. While another transaction is making an export of the whole business, an error (55P03) to try again on. Cannot be undone.
Example: SELECT guestcomms.erase_guest(guestcomms.resolve_guest('email', 'zoe@example.com'));
See also: preview_erasure, get_erasure_progress, list_erasure_receipt, list_erasure_recipients, replay_erasures, place_hold$$;

CREATE FUNCTION guestcomms.get_erasure_progress(id uuid DEFAULT NULL)
RETURNS TABLE (erasure_id uuid, guest_id uuid, mode text, status text, stage text, message_count bigint, message_total bigint, held_count bigint, hold_ids uuid[],
    damaged_count integer, is_replay boolean, request_id uuid, requested_at timestamptz, requested_by text, finished_at timestamptz, error_code text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT e.erasure_id, e.guest_id, e.mode, e.status, CASE e.status WHEN 'running' THEN e.stage END, e.message_count, e.message_total, e.held_count, e.hold_ids, e.damaged_count,
        e.is_replay, e.request_id, e.requested_at, e.requested_by, e.finished_at, e.error_code
    FROM guestcomms.erasures AS e
    WHERE e.tenant_id = v_tenant AND (get_erasure_progress.id IS NULL OR e.erasure_id = get_erasure_progress.id)
    ORDER BY e.requested_at DESC, e.erasure_id;
END $$;
COMMENT ON FUNCTION guestcomms.get_erasure_progress(uuid) IS
$$Erasures of the current tenant, the newest first, or one: running (and at which stage), held (hold_ids are the holds that keep the rest, held_count its messages; it goes on by itself when they end) or done; how many messages are done with of how many there were. guest_id is null once it is done. error_code is the SQLSTATE of a step that failed and is tried again.
Example: SELECT status, message_count, message_total, held_count FROM guestcomms.get_erasure_progress();
See also: erase_guest, list_erasure_receipt, list_holds$$;

CREATE FUNCTION guestcomms.list_erasure_receipt(erasure_id uuid)
RETURNS TABLE (place text, treatment text, row_count bigint, left_count bigint, verified_at timestamptz, reason text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 60 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.erasures AS e WHERE e.tenant_id = v_tenant AND e.erasure_id = list_erasure_receipt.erasure_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such erasure', DETAIL = format('erasure_id %s.', coalesce(list_erasure_receipt.erasure_id::text, 'null')),
            HINT = 'SELECT * FROM guestcomms.get_erasure_progress();';
    END IF;
    RETURN QUERY
    SELECT coalesce(p.place, r.place), coalesce(p.treatment, 'removed'), coalesce(r.row_count, 0), r.left_count, r.verified_at, coalesce(p.reason, CASE WHEN p.place IS NULL THEN 'a detached partition' END)
    FROM guestcomms_internal.erasure_places() WITH ORDINALITY AS p (place, columns, treatment, condition, reason, number)
    FULL JOIN (SELECT o.* FROM guestcomms.erasure_receipts AS o WHERE o.tenant_id = v_tenant AND o.erasure_id = list_erasure_receipt.erasure_id) AS r ON r.place = p.place
    ORDER BY p.number, r.place;
END $$;
COMMENT ON FUNCTION guestcomms.list_erasure_receipt(uuid) IS
$$The receipt of an erasure: every place, what was done there (removed, emptied, recounted, re-keyed, or kept and why), to how many rows, and how many rows of the guest were found when it was looked at again (left_count): 0 everywhere once it is done; null while nobody has looked, and for what is kept.
Example: SELECT place, treatment, row_count, left_count FROM guestcomms.get_erasure_progress() AS e CROSS JOIN guestcomms.list_erasure_receipt(e.erasure_id);
See also: erase_guest, get_erasure_progress$$;

CREATE FUNCTION guestcomms.list_erasure_recipients(erasure_id uuid) RETURNS TABLE (recipient text, message_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 5 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT o.key, o.value::bigint FROM guestcomms.erasures AS e CROSS JOIN LATERAL jsonb_each_text(e.recipients) AS o
    WHERE e.tenant_id = v_tenant AND e.erasure_id = list_erasure_recipients.erasure_id ORDER BY o.key;
END $$;
COMMENT ON FUNCTION guestcomms.list_erasure_recipients(uuid) IS
$$Who is to be told of an erasure (GDPR Art. 19): each provider and channel that carried messages of the guest, with how many, and each export of the guest, or of the whole business, that could be fetched (without a number). They hold copies of their own.
Example: SELECT r.recipient FROM guestcomms.get_erasure_progress() AS e CROSS JOIN guestcomms.list_erasure_recipients(e.erasure_id) AS r;
See also: erase_guest, preview_erasure$$;

CREATE FUNCTION guestcomms_internal.resume_held_erasures() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE guestcomms.erasures AS e SET status = 'running', stage = 'collect', checked_at = clock_timestamp()
    WHERE e.status = 'held' AND EXISTS (
        SELECT FROM unnest(e.hold_ids) AS i (id)
        WHERE NOT EXISTS (SELECT FROM guestcomms.legal_holds AS h
            WHERE h.tenant_id = e.tenant_id AND h.hold_id = i.id AND h.released_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.resume_held_erasures() IS 'Goes on with erasures of which a hold was released or has expired; returns how many.';

CREATE FUNCTION guestcomms_internal.erase_batch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_erasure record;
    v_code text;
BEGIN
    PERFORM guestcomms_internal.resume_held_erasures();
    SELECT e.tenant_id, e.erasure_id INTO v_erasure FROM guestcomms.erasures AS e
    WHERE e.status = 'running' AND (e.retry_at IS NULL OR e.retry_at < clock_timestamp()) ORDER BY e.requested_at, e.erasure_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    BEGIN
        PERFORM guestcomms_internal.step_erasure(v_erasure.tenant_id, v_erasure.erasure_id);
        UPDATE guestcomms.erasures AS e SET error_code = NULL, retry_at = NULL
        WHERE e.tenant_id = v_erasure.tenant_id AND e.erasure_id = v_erasure.erasure_id AND e.error_code IS NOT NULL;
    EXCEPTION
        -- One that cannot go on must not keep the others. Of the error only the code is kept: its text may hold a guest's.
        WHEN data_exception OR integrity_constraint_violation OR feature_not_supported OR undefined_object OR undefined_table OR insufficient_privilege OR external_routine_exception
            OR program_limit_exceeded OR internal_error OR data_corrupted OR lock_not_available OR deadlock_detected THEN
            GET STACKED DIAGNOSTICS v_code = RETURNED_SQLSTATE;
            UPDATE guestcomms.erasures AS e SET error_code = v_code, round_count = 0,
                retry_at = clock_timestamp() + CASE WHEN v_code IN ('55P03', '40P01') THEN interval '10 seconds' ELSE interval '5 minutes' END
            WHERE e.tenant_id = v_erasure.tenant_id AND e.erasure_id = v_erasure.erasure_id;
            RAISE WARNING USING ERRCODE = v_code, MESSAGE = 'an erasure cannot go on', DETAIL = format('erasure_id %s, SQLSTATE %s.', v_erasure.erasure_id, v_code),
                HINT = 'SELECT * FROM guestcomms.get_erasure_progress(); it is tried again in some minutes, or at once where it only had to wait.';
    END;
    RETURN 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_batch() IS 'One step of the oldest erasure that is not done; 0 where there is none.';
