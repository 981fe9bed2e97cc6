-- What a message's fact is: computed from the message, its events and its conversation as they are now. So a fact may be
-- computed at any time and any number of times; refreshing is computing those that changes point to, and live numbers are
-- computed the same way without being stored.
CREATE TYPE guestcomms_internal.message_fact AS (
    tenant_id uuid, message_id uuid, sent_at timestamptz, sent_date_key date, sent_time_key smallint, channel_key smallint, direction text,
    purpose text, guest_key bigint, guest_id uuid, wedding_id uuid, campaign_id uuid, thread_id uuid, word_count integer, is_sent boolean,
    queued_at timestamptz, delivered_at timestamptz, opened_at timestamptz, machine_opened_at timestamptz, clicked_at timestamptz,
    replied_at timestamptz, failed_at timestamptz, unsubscribed_at timestamptz, response_seconds integer, has_source boolean, has_events boolean
);
COMMENT ON TYPE guestcomms_internal.message_fact IS 'A row of fact_message.';
CREATE TYPE guestcomms_internal.message_fact_change AS (old_fact guestcomms_internal.message_fact, new_fact guestcomms_internal.message_fact);
COMMENT ON TYPE guestcomms_internal.message_fact_change IS 'A message''s fact as it is stored and as it should be; either may be missing.';

CREATE FUNCTION guestcomms_internal.channel_key(channel text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE channel WHEN 'email' THEN 1::smallint WHEN 'sms' THEN 2::smallint WHEN 'whatsapp' THEN 3::smallint WHEN 'chat' THEN 4::smallint END;
COMMENT ON FUNCTION guestcomms_internal.channel_key(text) IS 'Key of a channel in dim_channel.';

CREATE FUNCTION guestcomms_internal.no_member() RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid;
COMMENT ON FUNCTION guestcomms_internal.no_member() IS 'The member of a dimension that stands for none, and in dim_guest for the erased.';

CREATE FUNCTION guestcomms_internal.quarter_hour(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(interval '15 minutes', at, timestamptz '2000-01-01 00:00:00+00');
COMMENT ON FUNCTION guestcomms_internal.quarter_hour(timestamptz) IS 'Start of the quarter of an hour (UTC); days of every time zone begin with one, but where the clock was put back at 00:01 (St John''s until 2011).';

CREATE FUNCTION guestcomms_internal.minute_of_day(at timestamp) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(hour FROM at) * 60 + extract(minute FROM at))::smallint;
COMMENT ON FUNCTION guestcomms_internal.minute_of_day(timestamp) IS 'Key of a moment in dim_time.';

CREATE FUNCTION guestcomms_internal.reply_window() RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    -- In seconds: days and months would be longer or shorter by the time zone of whoever asks.
    RETURN make_interval(secs => extract(epoch FROM guestcomms_internal.setting('warehouse.reply_window')::interval)::double precision);
END $$;
COMMENT ON FUNCTION guestcomms_internal.reply_window() IS 'How long after a message an answer to it may come.';

CREATE FUNCTION guestcomms_internal.compute_message_facts(tenant_ids uuid[], message_ids uuid[]) RETURNS SETOF guestcomms_internal.message_fact_change
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    -- The few messages are looked up one by one, whatever the planner thinks of arrays.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET enable_sort = off SET jit = off
AS $$
DECLARE
    v_window interval := guestcomms_internal.reply_window();
    -- Known when the statement is planned, so that months before and after are left out.
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(compute_message_facts.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) FROM unnest(compute_message_facts.message_ids) AS i (id)) + interval '1 millisecond';
BEGIN
    RETURN QUERY
    SELECT CASE WHEN f.message_id IS NOT NULL THEN f.fact END,
        CASE WHEN c.is_kept THEN ROW(t.tenant_id, t.message_id, s.sent_at, (s.sent_at AT TIME ZONE z.timezone)::date,
            guestcomms_internal.minute_of_day(s.sent_at AT TIME ZONE z.timezone), s.channel_key, s.direction, s.purpose, g.guest_key, s.guest_id,
            s.wedding_id, s.campaign_id, s.thread_id, s.word_count, s.is_sent OR e.left_at IS NOT NULL AND s.direction = 'outbound',
            e.queued_at,
            -- What was opened, clicked in or answered must have been delivered.
            CASE WHEN s.direction = 'outbound' THEN coalesce(e.delivered_at, least(e.opened_at, e.machine_opened_at, e.clicked_at, s.read_at, r.replied_at),
                s.delivered_at, CASE WHEN s.status IN ('delivered', 'read') THEN s.sent_at END) END,
            CASE WHEN s.direction = 'outbound' THEN least(e.opened_at, s.read_at, s.opened_at) END,
            CASE WHEN s.direction = 'outbound' THEN e.machine_opened_at END, CASE WHEN s.direction = 'outbound' THEN e.clicked_at END,
            r.replied_at, coalesce(e.failed_at, s.failed_at, CASE WHEN s.status = 'failed' THEN s.sent_at END), e.unsubscribed_at,
            -- Only the first message of a turn: three in a row wait for one answer.
            CASE WHEN p.direction IS DISTINCT FROM s.direction AND r.replied_at IS NOT NULL
                THEN greatest(extract(epoch FROM r.replied_at - s.sent_at), 0)::integer END,
            m.message_id IS NOT NULL, coalesce(f.has_events, true))::guestcomms_internal.message_fact END
    FROM (SELECT u.tenant_id, u.message_id, guestcomms.uuid_v7_time(u.message_id) AS since
        FROM unnest(compute_message_facts.tenant_ids, compute_message_facts.message_ids) AS u (tenant_id, message_id) OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT d.timezone FROM guestcomms_bi.dim_tenant AS d WHERE d.tenant_id = t.tenant_id),
            (SELECT n.timezone FROM guestcomms.tenants AS n WHERE n.tenant_id = t.tenant_id)) AS timezone OFFSET 0
    ) AS z
    LEFT JOIN LATERAL (
        SELECT o.* FROM guestcomms.messages AS o
        WHERE o.tenant_id = t.tenant_id AND o.message_id = t.message_id AND o.sent_at >= t.since AND o.sent_at < t.since + interval '1 millisecond'
            AND o.sent_at >= v_first AND o.sent_at < v_last
        OFFSET 0
    ) AS m ON true
    LEFT JOIN LATERAL (
        SELECT o.*, ROW(o.*)::guestcomms_internal.message_fact AS fact FROM guestcomms_bi.fact_message AS o
        WHERE o.tenant_id = t.tenant_id AND o.message_id = t.message_id AND o.sent_at >= t.since AND o.sent_at < t.since + interval '1 millisecond'
            AND o.sent_at >= v_first AND o.sent_at < v_last
        OFFSET 0
    ) AS f ON true
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM guestcomms.guests AS q
            WHERE q.tenant_id = t.tenant_id AND q.guest_id = coalesce(m.guest_id, f.guest_id) AND q.erased_at IS NULL) AS has_guest OFFSET 0
    ) AS h
    CROSS JOIN LATERAL (
        -- A message that is gone leaves its fact where whoever moved or erased it said so: keep_facts().
        SELECT m.message_id IS NOT NULL OR f.message_id IS NOT NULL AND NOT f.has_source AS is_kept
    ) AS c
    CROSS JOIN LATERAL (
        SELECT CASE WHEN h.has_guest THEN m.guest_id ELSE guestcomms_internal.no_member() END AS guest_id,
            m.sent_at, guestcomms_internal.channel_key(m.channel) AS channel_key, m.direction, m.purpose,
            coalesce(m.wedding_id, guestcomms_internal.no_member()) AS wedding_id, coalesce(m.campaign_id, guestcomms_internal.no_member()) AS campaign_id,
            m.thread_id, m.word_count, m.direction = 'outbound' AND m.status NOT IN ('queued', 'cancelled') OR coalesce(f.is_sent AND NOT f.has_events, false) AS is_sent, m.status, m.read_at,
            -- What retention took from the message and its events is taken over, too.
            CASE WHEN NOT f.has_events THEN f.delivered_at END AS delivered_at, CASE WHEN NOT f.has_events THEN f.opened_at END AS opened_at,
            CASE WHEN NOT f.has_events THEN f.failed_at END AS failed_at
        WHERE m.message_id IS NOT NULL
        UNION ALL
        -- What only the message's row said is taken over.
        SELECT CASE WHEN h.has_guest THEN f.guest_id ELSE guestcomms_internal.no_member() END,
            f.sent_at, f.channel_key, f.direction, f.purpose, f.wedding_id, f.campaign_id, f.thread_id, f.word_count, f.is_sent, NULL, NULL,
            f.delivered_at, f.opened_at, f.failed_at
        WHERE m.message_id IS NULL
    ) AS s
    LEFT JOIN LATERAL (
        SELECT min(v.occurred_at) FILTER (WHERE v.kind = 'queued') AS queued_at,
            min(v.occurred_at) FILTER (WHERE v.kind IN ('sent', 'delivered')) AS left_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'delivered') AS delivered_at,
            min(v.occurred_at) FILTER (WHERE v.kind IN ('opened', 'read') AND NOT v.is_machine) AS opened_at,
            min(v.occurred_at) FILTER (WHERE v.kind IN ('opened', 'read') AND v.is_machine) AS machine_opened_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'clicked' AND NOT v.is_machine) AS clicked_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'replied') AS replied_at,
            min(v.occurred_at) FILTER (WHERE v.kind IN ('failed', 'bounced')) AS failed_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'unsubscribed') AS unsubscribed_at
        FROM (
            SELECT w.kind, w.occurred_at, w.is_machine FROM guestcomms.message_events AS w WHERE w.tenant_id = t.tenant_id AND w.message_id = t.message_id
            UNION ALL
            SELECT w.kind, w.occurred_at, w.is_machine FROM guestcomms_bi.fact_message_event AS w
            WHERE (m.message_id IS NULL OR NOT f.has_events) AND w.tenant_id = t.tenant_id AND w.message_id = t.message_id
        ) AS v
    ) AS e ON c.is_kept
    -- The next and the previous message: in the order of conversations, from both sides bounded to this one, for only the index on
    -- conversations has that order. (Asked for thread_id = and the order of time, the planner may walk through all the tenant's.)
    LEFT JOIN LATERAL (
        SELECT least(e.replied_at, (
            SELECT min(a.sent_at) FROM (
                (SELECT o.sent_at FROM guestcomms.messages AS o
                 WHERE o.tenant_id = t.tenant_id AND o.thread_id <= s.thread_id AND (o.thread_id, o.sent_at, o.message_id) > (s.thread_id, s.sent_at, t.message_id)
                    AND o.sent_at >= s.sent_at AND o.sent_at < s.sent_at + v_window AND o.sent_at >= v_first AND o.sent_at < v_last + v_window
                    AND o.direction <> s.direction
                 ORDER BY o.thread_id, o.sent_at LIMIT 1)
                UNION ALL
                (SELECT o.sent_at FROM guestcomms_bi.fact_message AS o
                 WHERE o.tenant_id = t.tenant_id AND o.thread_id <= s.thread_id AND (o.thread_id, o.sent_at, o.message_id) > (s.thread_id, s.sent_at, t.message_id)
                    AND o.sent_at >= s.sent_at AND o.sent_at < s.sent_at + v_window AND o.sent_at >= v_first AND o.sent_at < v_last + v_window
                    AND NOT o.has_source AND o.direction <> s.direction
                 ORDER BY o.thread_id, o.sent_at LIMIT 1)
            ) AS a)) AS replied_at
    ) AS r ON c.is_kept
    LEFT JOIN LATERAL (
        SELECT b.direction FROM (
            (SELECT o.direction, o.sent_at, o.message_id FROM guestcomms.messages AS o
             WHERE o.tenant_id = t.tenant_id AND o.thread_id >= s.thread_id AND (o.thread_id, o.sent_at, o.message_id) < (s.thread_id, s.sent_at, t.message_id)
                AND o.sent_at <= s.sent_at AND o.sent_at > s.sent_at - v_window AND o.sent_at < v_last AND o.sent_at > v_first - v_window
             ORDER BY o.thread_id DESC, o.sent_at DESC, o.message_id DESC LIMIT 1)
            UNION ALL
            (SELECT o.direction, o.sent_at, o.message_id FROM guestcomms_bi.fact_message AS o
             WHERE o.tenant_id = t.tenant_id AND o.thread_id >= s.thread_id AND (o.thread_id, o.sent_at, o.message_id) < (s.thread_id, s.sent_at, t.message_id)
                AND o.sent_at <= s.sent_at AND o.sent_at > s.sent_at - v_window AND o.sent_at < v_last AND o.sent_at > v_first - v_window
                AND NOT o.has_source
             ORDER BY o.thread_id DESC, o.sent_at DESC, o.message_id DESC LIMIT 1)
        ) AS b ORDER BY b.sent_at DESC, b.message_id DESC LIMIT 1
    ) AS p ON c.is_kept
    LEFT JOIN LATERAL (
        SELECT d.guest_key FROM guestcomms_bi.dim_guest AS d
        WHERE d.tenant_id = t.tenant_id AND d.guest_id = s.guest_id AND d.valid_from <= s.sent_at
        ORDER BY d.valid_from DESC LIMIT 1
    ) AS g ON c.is_kept
    WHERE f.message_id IS NOT NULL OR c.is_kept;
END $$;
COMMENT ON FUNCTION guestcomms_internal.compute_message_facts(uuid[], uuid[]) IS
'Of each of these messages, tenants and identifiers in pairs, the fact as it is stored and as it should be.';
