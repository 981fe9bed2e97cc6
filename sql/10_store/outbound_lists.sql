-- What is to be sent, what was given up, who tried: pages for people who look after the sending.
CREATE FUNCTION guestcomms_internal.require_page(channel text, max_rows integer) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF require_page.channel NOT IN ('email', 'sms', 'whatsapp', 'chat') THEN
        PERFORM guestcomms_internal.raise_ingest_problem('channel', format('%s characters were given.', char_length(require_page.channel)));
    ELSIF coalesce(require_page.max_rows NOT BETWEEN 1 AND 1000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 1000', DETAIL = format('It is %s.', coalesce(require_page.max_rows::text, 'null')),
            HINT = 'For more pass the last row''s message_id as after.';
    END IF;
    RETURN CASE WHEN require_page.channel IS NULL THEN '{email,sms,whatsapp,chat}'::text[] ELSE ARRAY[require_page.channel] END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_page(text, integer) IS 'The channels that a page is of, all if none is named; an error for an unknown one or too many rows.';

CREATE FUNCTION guestcomms_internal.queued_page(only_channel text, max_rows integer, after uuid, only_wedding uuid)
RETURNS TABLE (message_id uuid, scheduled_at timestamptz, channel text, guest_id uuid, purpose text, campaign_id uuid, state text, attempt integer, worker text, error_code text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 100 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_sort = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_channels text[] := guestcomms_internal.require_page(queued_page.only_channel, queued_page.max_rows);
    v_now timestamptz := clock_timestamp();
    v_since timestamptz := guestcomms.uuid_v7_time(queued_page.after);
    -- The place of the row before, where it is now, so that a page goes on there though it was sent meanwhile.
    v_after timestamptz := (SELECT m.scheduled_at FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant AND m.message_id = queued_page.after AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond');
BEGIN
    RETURN QUERY
    SELECT q.message_id, q.scheduled_at, q.channel, q.guest_id, q.purpose, q.campaign_id, CASE
            WHEN l.outcome IS NULL AND l.leased_until > v_now THEN 'claimed'
            WHEN (guestcomms_internal.kept_recipient(v_tenant, q.guest_id)).is_restricted THEN 'held'
            WHEN q.scheduled_at > v_now THEN 'scheduled' ELSE 'due' END,
        coalesce(l.attempt, 0), l.worker, l.error_code
    FROM (
        SELECT d.* FROM unnest(v_channels) AS c (channel)
        CROSS JOIN LATERAL (
            SELECT m.message_id, m.scheduled_at, m.channel, m.guest_id, m.purpose, m.campaign_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = v_tenant AND m.channel = c.channel AND m.status = 'queued' AND m.direction = 'outbound'
                AND (queued_page.only_wedding IS NULL OR m.wedding_id = queued_page.only_wedding)
                AND m.scheduled_at >= coalesce(v_after, '-infinity') AND (queued_page.after IS NULL OR (m.scheduled_at, m.message_id) > (v_after, queued_page.after))
            ORDER BY m.scheduled_at, m.message_id
            LIMIT queued_page.max_rows) AS d
        ORDER BY d.scheduled_at, d.message_id
        LIMIT queued_page.max_rows
    ) AS q
    LEFT JOIN LATERAL (SELECT a.attempt, a.worker, a.outcome, a.leased_until, a.error_code FROM guestcomms.send_attempts AS a
        WHERE a.tenant_id = v_tenant AND a.message_id = q.message_id ORDER BY a.attempt DESC LIMIT 1) AS l ON true
    ORDER BY q.scheduled_at, q.message_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.queued_page(text, integer, uuid, uuid) IS
'Does what list_queued_messages() says.';

CREATE FUNCTION guestcomms.list_queued_messages(channel text DEFAULT NULL, max_rows integer DEFAULT 100, after uuid DEFAULT NULL, wedding_id uuid DEFAULT NULL)
RETURNS TABLE (message_id uuid, scheduled_at timestamptz, channel text, guest_id uuid, purpose text, campaign_id uuid, state text, attempt integer, worker text, error_code text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
    -- By number: a parameter shares its name with a column of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.queued_page($1, $2, $3, $4)
$$;
COMMENT ON FUNCTION guestcomms.list_queued_messages(text, integer, uuid, uuid) IS
$$The current tenant's messages that wait to be sent, those first whose time comes first; of one channel or one wedding where it is named. state: scheduled, due, claimed (a worker has it), held (processing of the guest's data is restricted; it waits until that ends). attempt, worker and error_code are of the last attempt. Pass the last row's message_id as after for the next page.
Example: SELECT message_id, scheduled_at, state, attempt, error_code FROM guestcomms.list_queued_messages(channel => 'email');
See also: claim_outbound, cancel_message, reschedule_message, list_dead_letters$$;

CREATE FUNCTION guestcomms_internal.dead_letter_page(since timestamptz, only_channel text, max_rows integer, after uuid, only_wedding uuid)
RETURNS TABLE (message_id uuid, sent_at timestamptz, channel text, guest_id uuid, purpose text, campaign_id uuid, failed_at timestamptz, kind text, error_code text,
    attempt integer, was_sent boolean)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 100 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_channels text[] := guestcomms_internal.require_page(dead_letter_page.only_channel, dead_letter_page.max_rows);
    -- The end of the millisecond that the identifier begins with.
    v_before timestamptz := coalesce(guestcomms.uuid_v7_time(dead_letter_page.after) + interval '1 millisecond', 'infinity');
BEGIN
    RETURN QUERY
    SELECT m.message_id, m.sent_at, m.channel, m.guest_id, m.purpose, m.campaign_id, e.occurred_at, e.kind, e.error_code,
        coalesce((SELECT max(a.attempt) FROM guestcomms.send_attempts AS a WHERE a.tenant_id = v_tenant AND a.message_id = m.message_id), 0),
        EXISTS (SELECT FROM guestcomms.message_events AS v WHERE v.tenant_id = v_tenant AND v.message_id = m.message_id AND v.kind IN ('sent', 'bounced'))
    FROM (
        SELECT o.message_id, o.sent_at, o.channel, o.guest_id, o.purpose, o.campaign_id FROM guestcomms.messages AS o
        WHERE o.tenant_id = v_tenant AND o.status = 'failed' AND o.direction = 'outbound' AND o.channel = ANY (v_channels)
            AND (dead_letter_page.only_wedding IS NULL OR o.wedding_id = dead_letter_page.only_wedding)
            AND o.sent_at >= coalesce(dead_letter_page.since, '-infinity') AND o.sent_at < v_before
            AND (dead_letter_page.after IS NULL OR o.message_id < dead_letter_page.after)
        ORDER BY o.sent_at DESC, o.message_id DESC
        LIMIT dead_letter_page.max_rows
    ) AS m
    LEFT JOIN LATERAL (SELECT v.occurred_at, v.kind, v.detail ->> 'error_code' AS error_code FROM guestcomms.message_events AS v
        WHERE v.tenant_id = v_tenant AND v.message_id = m.message_id AND v.kind IN ('failed', 'bounced')
        ORDER BY v.occurred_at DESC, v.event_id DESC LIMIT 1) AS e ON true
    ORDER BY m.sent_at DESC, m.message_id DESC;
END $$;
COMMENT ON FUNCTION guestcomms_internal.dead_letter_page(timestamptz, text, integer, uuid, uuid) IS
'Does what list_dead_letters() says.';

CREATE FUNCTION guestcomms.list_dead_letters(since timestamptz DEFAULT NULL, channel text DEFAULT NULL, max_rows integer DEFAULT 100, after uuid DEFAULT NULL, wedding_id uuid DEFAULT NULL)
RETURNS TABLE (message_id uuid, sent_at timestamptz, channel text, guest_id uuid, purpose text, campaign_id uuid, failed_at timestamptz, kind text, error_code text,
    attempt integer, was_sent boolean)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
    -- By number: a parameter shares its name with a column of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.dead_letter_page($1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION guestcomms.list_dead_letters(timestamptz, text, integer, uuid, uuid) IS
$$The current tenant's messages that failed, the last recorded first, from since on (by sent_at), of one channel or one wedding where it is named: given up after all tries, refused (error_code no_address, lease_expired or the worker's own), or bounced. was_sent says whether it left at least once. Pass the last row's message_id as after for the next page. Archived ones are not listed.
Example: SELECT message_id, channel, error_code, attempt FROM guestcomms.list_dead_letters(since => now() - interval '7 days', channel => 'email');
See also: retry_message, fail_sent, list_send_attempts$$;

CREATE FUNCTION guestcomms.list_send_attempts(message_id uuid)
RETURNS TABLE (attempt integer, worker text, claimed_at timestamptz, leased_until timestamptz, outcome text, error_code text, finished_at timestamptz, is_duplicate boolean)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 3 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT a.attempt, a.worker, a.claimed_at, a.leased_until, coalesce(a.outcome, CASE WHEN a.leased_until > clock_timestamp() THEN 'claimed' ELSE 'expired' END),
        a.error_code, a.finished_at,
        coalesce(a.outcome = 'sent', false) AND count(*) FILTER (WHERE a.outcome = 'sent') OVER (PARTITION BY a.first_attempt ORDER BY a.finished_at, a.attempt) > 1
    FROM guestcomms.send_attempts AS a
    WHERE a.tenant_id = v_tenant AND a.message_id = list_send_attempts.message_id
    ORDER BY a.attempt;
END $$;
COMMENT ON FUNCTION guestcomms.list_send_attempts(uuid) IS
$$Who claimed a message of the current tenant and what came of it. outcome: claimed, expired (the lease ran out and nothing was said), sent or failed. is_duplicate: sent though another worker had confirmed it already. Kept for sending.keep_attempts.
Example: SELECT attempt, worker, outcome, error_code, is_duplicate FROM guestcomms.list_send_attempts('0192f3c4-5d6e-7a8b-9c0d-1e2f3a4b5c6d');
See also: claim_outbound, confirm_sent, fail_sent$$;
