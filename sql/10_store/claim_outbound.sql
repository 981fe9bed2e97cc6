-- Claims: queued messages that are due go to one worker each, for as long as its lease. The tables decide, not the workers: two
-- that look at the same moment skip each other's rows, and of two that do not see each other one finds the attempt taken.
CREATE TYPE guestcomms_internal.due_message AS (
    message_id uuid, sent_at timestamptz, scheduled_at timestamptz, channel text, guest_id uuid, address text, attempt integer, first_attempt integer,
    refusal text      -- why it is not sent, NULL if it is
);
COMMENT ON TYPE guestcomms_internal.due_message IS 'A queued message whose row is locked, and what becomes of it.';

CREATE FUNCTION guestcomms_internal.kept_recipient(tenant_id uuid, INOUT guest_id uuid, OUT is_restricted boolean, OUT is_erased boolean)
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_into uuid;
BEGIN
    -- One who was merged, and then merged again: a few steps, and never in a circle.
    FOR v_step IN 1..20 LOOP
        SELECT g.restricted_at IS NOT NULL, g.erased_at IS NOT NULL, g.merged_into INTO is_restricted, is_erased, v_into
        FROM guestcomms.guests AS g WHERE g.tenant_id = kept_recipient.tenant_id AND g.guest_id = kept_recipient.guest_id;
        EXIT WHEN v_into IS NULL;
        guest_id := v_into;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.kept_recipient(uuid, uuid) IS
'The guest that one was merged into, or the one given, and whether that guest is restricted or erased; nothing for NULL, without being run.';

CREATE FUNCTION guestcomms_internal.has_live_claim(tenant_id uuid, message_id uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Volatile, so that whoever has just locked the message sees what was claimed while it waited.
    RETURN EXISTS (SELECT FROM guestcomms.send_attempts AS a
        WHERE a.tenant_id = has_live_claim.tenant_id AND a.message_id = has_live_claim.message_id AND a.outcome IS NULL AND a.leased_until > has_live_claim.at);
END $$;
COMMENT ON FUNCTION guestcomms_internal.has_live_claim(uuid, uuid, timestamptz) IS 'Whether a worker has a message whose lease runs.';

CREATE FUNCTION guestcomms_internal.date_undated(tenant_id uuid, channels text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    -- Without statistics every index looks as good as the one that is in this order.
    SET enable_sort = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    -- Queued messages that an operator loaded without a time: the index has them after all others of their channel.
    v_undated uuid[] := ARRAY(
        SELECT u.message_id FROM unnest(date_undated.channels) AS c (channel)
        CROSS JOIN LATERAL (SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = date_undated.tenant_id AND m.channel = c.channel AND m.status = 'queued' AND m.scheduled_at IS NULL
            ORDER BY m.scheduled_at, m.message_id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED) AS u);
BEGIN
    IF cardinality(v_undated) > 0 THEN
        UPDATE guestcomms.messages AS m SET scheduled_at = m.sent_at
        FROM (SELECT u.id, guestcomms.uuid_v7_time(u.id) AS since FROM unnest(v_undated) AS u (id) OFFSET 0) AS u
        WHERE m.tenant_id = date_undated.tenant_id AND m.message_id = u.id AND m.sent_at >= u.since AND m.sent_at < u.since + interval '1 millisecond';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.date_undated(uuid, text[]) IS 'Gives queued messages without a time the one at which they were recorded, a hundred of a channel at once.';

CREATE FUNCTION guestcomms_internal.lock_due(tenant_id uuid, channels text[], at timestamptz, max_rows integer)
RETURNS TABLE (message_id uuid, sent_at timestamptz, scheduled_at timestamptz, channel text, purpose text, guest_id uuid, is_erased boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_sort = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.message_id, d.sent_at, d.scheduled_at, d.channel, d.purpose, d.guest_id, d.is_erased
    FROM unnest(lock_due.channels) AS c (channel)
    -- Each channel by its own part of the index, so that what waits for its time is never walked over.
    CROSS JOIN LATERAL (
        SELECT m.message_id, m.sent_at, m.scheduled_at, m.channel, m.purpose, coalesce(k.guest_id, g.guest_id) AS guest_id, coalesce(k.is_erased, g.erased_at IS NOT NULL) AS is_erased
        FROM guestcomms.messages AS m
        JOIN guestcomms.guests AS g ON g.tenant_id = m.tenant_id AND g.guest_id = m.guest_id
        CROSS JOIN LATERAL guestcomms_internal.kept_recipient(m.tenant_id, g.merged_into) AS k
        WHERE m.tenant_id = lock_due.tenant_id AND m.channel = c.channel AND m.status = 'queued' AND m.scheduled_at <= lock_due.at AND m.direction = 'outbound'
            AND NOT coalesce(k.is_restricted, g.restricted_at IS NOT NULL)
            -- What others have claimed and not yet sent, a few at any time. A scalar sub-select stays a look-up.
            AND (SELECT true FROM guestcomms.send_attempts AS a
                WHERE a.tenant_id = m.tenant_id AND a.message_id = m.message_id AND a.outcome IS NULL AND a.leased_until > lock_due.at LIMIT 1) IS NULL
        ORDER BY m.scheduled_at, m.message_id
        LIMIT lock_due.max_rows
        FOR NO KEY UPDATE OF m SKIP LOCKED
    ) AS d
    ORDER BY d.scheduled_at, d.message_id
    LIMIT lock_due.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_due(uuid, text[], timestamptz, integer) IS
'Locks queued messages that are due and that nobody has, the oldest first, without waiting; those of restricted guests are left.';

CREATE FUNCTION guestcomms_internal.judge_due(tenant_id uuid, channels text[], at timestamptz, max_rows integer) RETURNS guestcomms_internal.due_message[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_max_attempts integer := guestcomms_internal.setting('sending.max_attempts', judge_due.tenant_id)::integer;
BEGIN
    RETURN ARRAY(
        SELECT ROW(d.message_id, d.sent_at, d.scheduled_at, d.channel, d.guest_id, t.address, l.attempt, l.first_attempt, CASE
                WHEN d.is_erased THEN 'erased'
                -- Asked once more: a guest may have objected since the message was queued.
                WHEN d.purpose = 'marketing' AND guestcomms_internal.is_objecting(judge_due.tenant_id, d.guest_id, d.channel, d.purpose) THEN 'objection'
                -- What made so many workers vanish would go on doing so.
                WHEN l.attempt - l.first_attempt >= v_max_attempts THEN 'lease_expired'
                WHEN t.address IS NULL THEN 'no_address' END)::guestcomms_internal.due_message
        FROM guestcomms_internal.lock_due(judge_due.tenant_id, judge_due.channels, judge_due.at, judge_due.max_rows) AS d
        LEFT JOIN LATERAL (SELECT a.address FROM guestcomms.guest_addresses AS a
            WHERE a.tenant_id = judge_due.tenant_id AND a.guest_id = d.guest_id AND a.channel = d.channel
            ORDER BY a.is_primary DESC, a.is_verified DESC, a.created_at, a.address LIMIT 1) AS t ON true
        LEFT JOIN LATERAL (SELECT a.attempt, CASE WHEN a.requeued_at IS NULL THEN a.first_attempt ELSE a.attempt + 1 END AS first_attempt
            FROM guestcomms.send_attempts AS a
            WHERE a.tenant_id = judge_due.tenant_id AND a.message_id = d.message_id ORDER BY a.attempt DESC LIMIT 1) AS p ON true
        CROSS JOIN LATERAL (SELECT coalesce(p.attempt, 0) + 1 AS attempt, coalesce(p.first_attempt, 1) AS first_attempt) AS l
        ORDER BY d.scheduled_at, d.message_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.judge_due(uuid, text[], timestamptz, integer) IS
'Locks messages that are due, with the address each goes to, the number its next attempt would have, or why it is not sent.';

CREATE FUNCTION guestcomms_internal.claim_due(worker text, only_channel text, max_rows integer, lease interval)
RETURNS TABLE (message_id uuid, guest_id uuid, channel text, address text, subject text, body text, language text, purpose text, thread_id uuid, campaign_id uuid,
    metadata jsonb, attachments jsonb, scheduled_at timestamptz, attempt integer, claim_token uuid, leased_until timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_channels text[] := CASE WHEN claim_due.only_channel IS NULL THEN '{email,sms,whatsapp,chat}'::text[] ELSE ARRAY[claim_due.only_channel] END;
    v_due guestcomms_internal.due_message[];
    v_now timestamptz;
    v_left integer := claim_due.max_rows;
    v_found bigint;
BEGIN
    IF coalesce(char_length(claim_due.worker), 0) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'worker must have 1 to 200 characters', DETAIL = format('It has %s.', coalesce(char_length(claim_due.worker), 0)),
            HINT = 'A name by which the worker is found again in logs, such as host and process number.';
    ELSIF claim_due.only_channel NOT IN ('email', 'sms', 'whatsapp', 'chat') THEN
        PERFORM guestcomms_internal.raise_ingest_problem('channel', format('%s characters were given.', char_length(claim_due.only_channel)));
    ELSIF coalesce(claim_due.max_rows NOT BETWEEN 1 AND 1000, true) OR coalesce(claim_due.lease NOT BETWEEN interval '1 second' AND interval '1 day', true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows or lease is out of bounds',
            DETAIL = format('max_rows is %s, lease is %s.', coalesce(claim_due.max_rows::text, 'null'), coalesce(claim_due.lease::text, 'null')),
            HINT = 'max_rows is from 1 to 1000, lease from 1 second to 1 day: longer than sending so many takes.';
    END IF;
    PERFORM guestcomms_internal.date_undated(v_tenant, v_channels);
    -- Again for those that were not to be sent, or that somebody was quicker to claim; a bounded number of times.
    FOR v_round IN 1..10 LOOP
        v_now := clock_timestamp();
        v_due := guestcomms_internal.judge_due(v_tenant, v_channels, v_now, v_left);
        EXIT WHEN cardinality(v_due) = 0;
        PERFORM guestcomms_internal.refuse_due(v_due);
        -- After whatever ended the attempt before.
        v_now := clock_timestamp();
        RETURN QUERY
        WITH claimed AS (
            INSERT INTO guestcomms.send_attempts (tenant_id, message_id, attempt, first_attempt, worker, claimed_at, leased_until)
            SELECT v_tenant, d.message_id, d.attempt, d.first_attempt, claim_due.worker, v_now, v_now + claim_due.lease
            FROM unnest(v_due) AS d WHERE d.refusal IS NULL ORDER BY d.message_id
            -- Locked only after a claim that this statement could not see: that one has it.
            ON CONFLICT ON CONSTRAINT send_attempts_pkey DO NOTHING
            RETURNING message_id, attempt, claim_token, leased_until
        )
        SELECT m.message_id, d.guest_id, m.channel, d.address, m.subject, m.body, m.language, m.purpose, m.thread_id, m.campaign_id, m.metadata,
            (SELECT coalesce(jsonb_agg(jsonb_build_object('attachment_id', f.attachment_id, 'name', f.name, 'media_type', f.media_type, 'byte_count', f.byte_count,
                    'sha256', encode(f.sha256, 'hex'), 'uri', f.uri) ORDER BY f.created_at, f.attachment_id), '[]')
                FROM guestcomms.attachments AS f WHERE f.tenant_id = v_tenant AND f.message_id = m.message_id AND f.deleted_at IS NULL),
            m.scheduled_at, c.attempt, c.claim_token, c.leased_until
        FROM unnest(v_due) AS d
        JOIN claimed AS c ON c.message_id = d.message_id
        CROSS JOIN LATERAL (SELECT o.* FROM guestcomms.messages AS o
            WHERE o.tenant_id = v_tenant AND o.message_id = d.message_id AND o.sent_at = d.sent_at) AS m
        ORDER BY d.scheduled_at, d.message_id;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_left := v_left - v_found;
        EXIT WHEN v_left = 0;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.claim_due(text, text, integer, interval) IS
'Does what claim_outbound() says.';

CREATE FUNCTION guestcomms.claim_outbound(worker text, channel text DEFAULT NULL, max_rows integer DEFAULT 10, lease interval DEFAULT '1 minute')
RETURNS TABLE (message_id uuid, guest_id uuid, channel text, address text, subject text, body text, language text, purpose text, thread_id uuid, campaign_id uuid,
    metadata jsonb, attachments jsonb, scheduled_at timestamptz, attempt integer, claim_token uuid, leased_until timestamptz)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
    -- By number: a parameter shares its name with a column of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.claim_due($1, $2, $3, $4)
$$;
COMMENT ON FUNCTION guestcomms.claim_outbound(text, text, integer, interval) IS
$$Queued messages of the current tenant that are due, the oldest first, for a worker to send: no other worker gets them within the lease. COMMIT before sending, then say what came of each with confirm_sent() or fail_sent(). When a lease runs out with nothing said, the message goes to the next who asks, with the next attempt number: so a message may be sent twice where a worker vanishes after sending, and never not at all; give the provider message_id as its idempotency key. Messages of restricted guests wait. Not sent but cancelled or failed, with an event that says why: marketing to a guest who objected since, messages of erased guests, those without an address for their channel, and those whose lease ran out sending.max_attempts times.
Example: SELECT message_id, address, subject, body, attempt, claim_token FROM guestcomms.claim_outbound('mailer-1', channel => 'email', max_rows => 10, lease => '2 minutes');
See also: confirm_sent, fail_sent, record_message, cancel_message, list_dead_letters, list_queued_messages$$;

CREATE FUNCTION guestcomms_internal.refuse_due(due guestcomms_internal.due_message[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- One by one, for the messages are locked, and a batch would wait for their threads.
    PERFORM guestcomms_internal.ingest_events(ARRAY[ROW(d.message_id, CASE WHEN d.refusal IN ('erased', 'objection') THEN 'cancelled' ELSE 'failed' END, NULL,
        jsonb_strip_nulls(jsonb_build_object('error_code', d.refusal, 'attempt', CASE WHEN d.refusal = 'lease_expired' THEN d.attempt - 1 END)),
        false, NULL, NULL, NULL)::guestcomms_internal.event_input], false, false)
    FROM unnest(refuse_due.due) AS d WHERE d.refusal IS NOT NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_due(guestcomms_internal.due_message[]) IS 'Ends messages that are not to be sent, as cancelled or failed, and says why in an event.';
