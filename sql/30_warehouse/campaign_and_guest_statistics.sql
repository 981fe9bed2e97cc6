-- What came of campaigns, and how engaged guests are.
CREATE FUNCTION guestcomms.get_campaign_performance(
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, campaigns uuid[] DEFAULT NULL
) RETURNS TABLE (
    campaign_id uuid, campaign text, purpose text, started_at timestamptz, first_day date, last_day date, message_count bigint, sent bigint, delivered bigint,
    opened bigint, machine_opened bigint, clicked bigint, replied bigint, failed bigint, unsubscribed bigint, delivery_rate double precision,
    open_rate double precision, click_rate double precision, click_to_open_rate double precision, reply_rate double precision,
    failure_rate double precision, unsubscribe_rate double precision, is_suppressed boolean, as_of timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT SET jit = off SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request guestcomms_internal.report_request;
    v_changes guestcomms_internal.message_fact_change[];
BEGIN
    v_request := guestcomms_internal.check_report(v_tenant,
        coalesce(get_campaign_performance.since, guestcomms_internal.start_of_day('1995-01-01', guestcomms_internal.tenant_timezone(v_tenant))),
        get_campaign_performance.until, 'day', NULL, get_campaign_performance.campaigns);
    SELECT u.changes, u.as_of INTO v_changes, as_of FROM guestcomms_internal.unread_changes(ARRAY[v_tenant]) AS u;
    RETURN QUERY
    SELECT t.campaign_id, d.name, d.purpose, d.started_at, t.first_day, t.last_day,
        CASE WHEN x.is_shown THEN t.message_count END, CASE WHEN x.is_shown THEN t.sent END, CASE WHEN x.is_shown THEN t.delivered END,
        CASE WHEN x.is_shown THEN t.opened END, CASE WHEN x.is_shown THEN t.machine_opened END, CASE WHEN x.is_shown THEN t.clicked END,
        CASE WHEN x.is_shown THEN t.replied END, CASE WHEN x.is_shown THEN t.failed END, CASE WHEN x.is_shown THEN t.unsubscribed END,
        CASE WHEN x.is_shown THEN t.delivered::double precision / nullif(t.sent, 0) END,
        CASE WHEN x.is_shown THEN t.opened_of_reporting::double precision / nullif(t.delivered_of_reporting, 0) END,
        CASE WHEN x.is_shown THEN t.clicked::double precision / nullif(t.delivered, 0) END,
        CASE WHEN x.is_shown THEN t.clicked::double precision / nullif(t.opened, 0) END,
        CASE WHEN x.is_shown THEN t.replied::double precision / nullif(t.delivered, 0) END,
        CASE WHEN x.is_shown THEN t.failed::double precision / nullif(t.sent, 0) END,
        CASE WHEN x.is_shown THEN t.unsubscribed::double precision / nullif(t.delivered, 0) END,
        NOT x.is_shown, get_campaign_performance.as_of
    FROM (
        SELECT r.campaign_id, (min(r.bucket_start) AT TIME ZONE v_request.timezone)::date AS first_day, (max(r.bucket_start) AT TIME ZONE v_request.timezone)::date AS last_day,
            sum(r.message_count)::bigint AS message_count, sum(r.sent_count)::bigint AS sent, sum(r.delivered_count)::bigint AS delivered,
            sum(r.opened_count)::bigint AS opened, sum(r.machine_opened_count)::bigint AS machine_opened, sum(r.clicked_count)::bigint AS clicked,
            sum(r.replied_count)::bigint AS replied, sum(r.failed_count)::bigint AS failed, sum(r.unsubscribed_count)::bigint AS unsubscribed,
            sum(r.opened_count) FILTER (WHERE c.reports_opens) AS opened_of_reporting, sum(r.delivered_count) FILTER (WHERE c.reports_opens) AS delivered_of_reporting
        FROM (
            -- What a later change took off again leaves no trace.
            SELECT l.campaign_id, l.bucket_start, l.channel_key, sum(l.message_count) AS message_count, sum(l.sent_count) AS sent_count,
                sum(l.delivered_count) AS delivered_count, sum(l.opened_count) AS opened_count, sum(l.machine_opened_count) AS machine_opened_count,
                sum(l.clicked_count) AS clicked_count, sum(l.replied_count) AS replied_count, sum(l.failed_count) AS failed_count,
                sum(l.unsubscribed_count) AS unsubscribed_count
            FROM guestcomms_internal.live_rollups(v_request, v_changes) AS l
            WHERE l.direction = 'outbound' AND l.campaign_id <> guestcomms_internal.no_member()
            GROUP BY l.campaign_id, l.bucket_start, l.channel_key HAVING sum(l.message_count) <> 0
        ) AS r
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = r.channel_key
        GROUP BY r.campaign_id
    ) AS t
    CROSS JOIN LATERAL (
        -- One that was removed is named by its dimension.
        SELECT n.name, n.purpose, n.started_at FROM guestcomms.campaigns AS n WHERE n.tenant_id = v_tenant AND n.campaign_id = t.campaign_id
        UNION ALL
        SELECT n.campaign_name, n.purpose, n.started_at FROM guestcomms_bi.dim_campaign AS n WHERE n.tenant_id = v_tenant AND n.campaign_id = t.campaign_id
        LIMIT 1
    ) AS d
    CROSS JOIN LATERAL (
        SELECT v_request.min_guests <= 1 OR v_request.min_guests <= (
            SELECT count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) FROM guestcomms_bi.fact_message AS f
            WHERE f.tenant_id = v_tenant AND f.sent_at >= v_request.since AND f.sent_at < v_request.until AND f.campaign_id = t.campaign_id
                AND f.direction = 'outbound') AS is_shown
    ) AS x
    ORDER BY t.last_day DESC, t.campaign_id;
END $$;
COMMENT ON FUNCTION guestcomms.get_campaign_performance(timestamptz, timestamptz, uuid[]) IS
$$What came of the tenant's campaigns, newest first, up to this moment: counts of their outbound messages and rates from 0 to 1, of messages sent between since and until. Opens by machines are left out, and open_rate is of channels that report opens. Numbers of campaigns with fewer guests than warehouse.min_guests are NULL and is_suppressed.
Example: SELECT campaign, sent, open_rate, click_rate, unsubscribed FROM guestcomms.get_campaign_performance(since => '2026-01-01');
See also: get_message_statistics, get_guest_engagement$$;

CREATE FUNCTION guestcomms.get_guest_engagement(
    guest_ids uuid[] DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, max_rows integer DEFAULT 100
) RETURNS TABLE (
    guest_id uuid, outbound_count bigint, delivered bigint, opened bigint, clicked bigint, replied bigint, unsubscribed bigint, inbound_count bigint,
    open_rate double precision, reply_rate double precision, mean_response_time interval, last_outbound_at timestamptz, last_inbound_at timestamptz,
    last_engaged_at timestamptz, as_of timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT SET jit = off SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request guestcomms_internal.report_request;
    v_changes guestcomms_internal.message_fact_change[];
    v_guests uuid[] := guestcomms_internal.add_same_guests(v_tenant, get_guest_engagement.guest_ids);
    v_guest_keys bigint[];
BEGIN
    IF get_guest_engagement.max_rows IS NULL OR get_guest_engagement.max_rows NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 10000', HINT = 'Leave it out for 100.';
    END IF;
    v_request := guestcomms_internal.check_report(v_tenant, get_guest_engagement.since, get_guest_engagement.until, 'day', NULL, NULL);
    SELECT u.changes, u.as_of INTO v_changes, as_of FROM guestcomms_internal.unread_changes(ARRAY[v_tenant]) AS u;
    v_guest_keys := ARRAY(SELECT d.guest_key FROM guestcomms_bi.dim_guest AS d
        WHERE d.tenant_id = v_tenant AND d.guest_id = ANY (v_guests) AND NOT d.is_erased);
    RETURN QUERY
    SELECT e.guest_id, e.outbound_count, e.delivered, e.opened, e.clicked, e.replied, e.unsubscribed, e.inbound_count,
        e.opened_of_reporting::double precision / nullif(e.delivered_of_reporting, 0), e.replied::double precision / nullif(e.delivered, 0),
        make_interval(secs => e.response_seconds::double precision), e.last_outbound_at, e.last_inbound_at, e.last_engaged_at, get_guest_engagement.as_of
    FROM (
        SELECT p.guest_id, count(*) FILTER (WHERE f.direction = 'outbound') AS outbound_count, count(f.delivered_at) AS delivered,
            count(f.opened_at) AS opened, count(f.clicked_at) AS clicked, count(f.replied_at) FILTER (WHERE f.direction = 'outbound') AS replied,
            count(f.unsubscribed_at) AS unsubscribed, count(*) FILTER (WHERE f.direction = 'inbound') AS inbound_count,
            count(f.opened_at) FILTER (WHERE c.reports_opens) AS opened_of_reporting,
            count(f.delivered_at) FILTER (WHERE c.reports_opens) AS delivered_of_reporting,
            avg(f.response_seconds) FILTER (WHERE f.direction = 'outbound') AS response_seconds,
            max(f.sent_at) FILTER (WHERE f.direction = 'outbound') AS last_outbound_at, max(f.sent_at) FILTER (WHERE f.direction = 'inbound') AS last_inbound_at,
            greatest(max(f.sent_at) FILTER (WHERE f.direction = 'inbound'), max(f.opened_at), max(f.clicked_at)) AS last_engaged_at
        FROM (
            SELECT s.guest_id, s.channel_key, s.direction, s.sent_at, s.delivered_at, s.opened_at, s.clicked_at, s.replied_at, s.unsubscribed_at, s.response_seconds
            FROM guestcomms_bi.fact_message AS s
            WHERE s.tenant_id = v_tenant AND s.sent_at >= v_request.since AND s.sent_at < v_request.until
                AND (get_guest_engagement.guest_ids IS NULL OR s.guest_key = ANY (v_guest_keys))
                AND s.message_id NOT IN (SELECT (n.old_fact).message_id FROM unnest(v_changes) AS n WHERE (n.old_fact).message_id IS NOT NULL)
            UNION ALL
            SELECT (n.new_fact).guest_id, (n.new_fact).channel_key, (n.new_fact).direction, (n.new_fact).sent_at, (n.new_fact).delivered_at, (n.new_fact).opened_at,
                (n.new_fact).clicked_at, (n.new_fact).replied_at, (n.new_fact).unsubscribed_at, (n.new_fact).response_seconds
            FROM unnest(v_changes) AS n
            WHERE (n.new_fact).sent_at >= v_request.since AND (n.new_fact).sent_at < v_request.until
                AND (get_guest_engagement.guest_ids IS NULL OR (n.new_fact).guest_id = ANY (v_guests))
        ) AS f
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = f.channel_key
        -- Of one who was merged it is the one who was kept.
        JOIN LATERAL (
            SELECT coalesce(q.merged_into, q.guest_id) AS guest_id FROM guestcomms.guests AS q
            WHERE q.tenant_id = v_tenant AND q.guest_id = f.guest_id AND q.erased_at IS NULL
        ) AS p ON true
        GROUP BY p.guest_id
    ) AS e
    ORDER BY e.last_engaged_at DESC NULLS LAST, e.guest_id
    LIMIT get_guest_engagement.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms.get_guest_engagement(uuid[], timestamptz, timestamptz, integer) IS
$$How guests respond to the tenant, most recently engaged first, up to this moment: what they were sent between since and until, what they opened, clicked and answered, what they wrote. For these guests, or for all; who was erased is not among them. All time, for BI: guestcomms_bi.mv_guest_engagement.
Example: SELECT guest_id, open_rate, reply_rate, last_engaged_at FROM guestcomms.get_guest_engagement(since => '2026-01-01', max_rows => 20);
See also: get_campaign_performance, get_response_times$$;
