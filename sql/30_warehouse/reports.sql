-- Materialized views, and what analysts see of them. Row security does not reach materialized views: they lie in
-- guestcomms_internal, and views with the reader's tenants stand before them. They belong to the engine, whom row security
-- leaves all tenants' rows when they are refreshed.
CREATE FUNCTION guestcomms_internal.tenant_min_guests() RETURNS TABLE (tenant_id uuid, min_guests integer)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$ SELECT d.tenant_id, guestcomms_internal.setting('warehouse.min_guests', d.tenant_id)::integer FROM guestcomms_bi.dim_tenant AS d $$;
COMMENT ON FUNCTION guestcomms_internal.tenant_min_guests() IS 'How many guests a group must have to be shown, by tenant.';

CREATE FUNCTION guestcomms_internal.list_reports() RETURNS TABLE (report text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES ('daily_channels'), ('campaign_performance'), ('guest_engagement'), ('response_times'), ('tenant_overview');
END;
COMMENT ON FUNCTION guestcomms_internal.list_reports() IS 'The materialized views: guestcomms_internal.report_*, shown as guestcomms_bi.mv_*.';

CREATE FUNCTION guestcomms_internal.make_reports() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $make_reports$
BEGIN
    -- No statistics of tenants, here as in the tables: see keep_texts_out_of_statistics().
    CREATE MATERIALIZED VIEW guestcomms_internal.report_daily_channels AS
    SELECT s.tenant_id, s.date_key, s.channel_key, s.direction,
        CASE WHEN x.is_shown THEN s.message_count END AS message_count, CASE WHEN x.is_shown THEN s.sent_count END AS sent_count, CASE WHEN x.is_shown
        THEN s.delivered_count END AS delivered_count, CASE WHEN x.is_shown THEN s.opened_count END AS opened_count, CASE WHEN x.is_shown THEN
        s.machine_opened_count END AS machine_opened_count, CASE WHEN x.is_shown THEN s.clicked_count END AS clicked_count, CASE WHEN x.is_shown THEN
        s.replied_count END AS replied_count, CASE WHEN x.is_shown THEN s.failed_count END AS failed_count, CASE WHEN x.is_shown THEN
        s.unsubscribed_count END AS unsubscribed_count,
        CASE WHEN x.is_shown THEN s.guest_count END AS guest_count,
        CASE WHEN x.is_shown THEN s.delivered_count::double precision / nullif(s.sent_count, 0) END AS delivery_rate,
        CASE WHEN x.is_shown AND s.reports_opens THEN s.opened_count::double precision / nullif(s.delivered_count, 0) END AS open_rate,
        CASE WHEN x.is_shown THEN s.clicked_count::double precision / nullif(s.delivered_count, 0) END AS click_rate,
        CASE WHEN x.is_shown THEN s.replied_count::double precision / nullif(CASE s.direction WHEN 'outbound' THEN s.delivered_count ELSE s.message_count END, 0) END AS reply_rate,
        CASE WHEN x.is_shown THEN s.failed_count::double precision / nullif(s.sent_count, 0) END AS failure_rate,
        NOT x.is_shown AS is_suppressed
    FROM (
        SELECT a.tenant_id, a.date_key, a.channel_key, a.direction, c.reports_opens,
            sum(a.message_count)::bigint AS message_count, sum(a.sent_count)::bigint AS sent_count, sum(a.delivered_count)::bigint AS delivered_count,
            sum(a.opened_count)::bigint AS opened_count, sum(a.machine_opened_count)::bigint AS machine_opened_count, sum(a.clicked_count)::bigint AS
            clicked_count, sum(a.replied_count)::bigint AS replied_count, sum(a.failed_count)::bigint AS failed_count, sum(a.unsubscribed_count)::bigint
            AS unsubscribed_count,
            max(g.guest_count) AS guest_count
        FROM guestcomms_bi.agg_message_day AS a
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
        LEFT JOIN (
            SELECT f.tenant_id, f.sent_date_key, f.channel_key, f.direction, count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) AS guest_count
            FROM guestcomms_bi.fact_message AS f GROUP BY f.tenant_id, f.sent_date_key, f.channel_key, f.direction
        ) AS g ON g.tenant_id = a.tenant_id AND g.sent_date_key = a.date_key AND g.channel_key = a.channel_key AND g.direction = a.direction
        GROUP BY a.tenant_id, a.date_key, a.channel_key, a.direction, c.reports_opens
    ) AS s
    JOIN guestcomms_internal.tenant_min_guests() AS k ON k.tenant_id = s.tenant_id
    CROSS JOIN LATERAL (SELECT k.min_guests <= 1 OR s.guest_count >= k.min_guests AS is_shown) AS x;
    CREATE UNIQUE INDEX report_daily_channels_key ON guestcomms_internal.report_daily_channels (tenant_id, date_key, channel_key, direction);
    COMMENT ON INDEX guestcomms_internal.report_daily_channels_key IS 'One row each; lets readers in while it is refreshed, and finds a tenant''s rows.';
    ALTER MATERIALIZED VIEW guestcomms_internal.report_daily_channels ALTER COLUMN tenant_id SET STATISTICS 0;
    COMMENT ON MATERIALIZED VIEW guestcomms_internal.report_daily_channels IS 'Messages by day, channel and direction, and what came of them.';

    CREATE MATERIALIZED VIEW guestcomms_internal.report_campaign_performance AS
    SELECT s.tenant_id, s.campaign_id, s.first_day, s.last_day,
        CASE WHEN x.is_shown THEN s.message_count END AS message_count, CASE WHEN x.is_shown THEN s.sent_count END AS sent_count, CASE WHEN x.is_shown
        THEN s.delivered_count END AS delivered_count, CASE WHEN x.is_shown THEN s.opened_count END AS opened_count, CASE WHEN x.is_shown THEN
        s.machine_opened_count END AS machine_opened_count, CASE WHEN x.is_shown THEN s.clicked_count END AS clicked_count, CASE WHEN x.is_shown THEN
        s.replied_count END AS replied_count, CASE WHEN x.is_shown THEN s.failed_count END AS failed_count, CASE WHEN x.is_shown THEN
        s.unsubscribed_count END AS unsubscribed_count,
        CASE WHEN x.is_shown THEN s.guest_count END AS guest_count,
        CASE WHEN x.is_shown THEN s.delivered_count::double precision / nullif(s.sent_count, 0) END AS delivery_rate,
        CASE WHEN x.is_shown THEN s.opened_of_reporting::double precision / nullif(s.delivered_of_reporting, 0) END AS open_rate,
        CASE WHEN x.is_shown THEN s.clicked_count::double precision / nullif(s.delivered_count, 0) END AS click_rate,
        CASE WHEN x.is_shown THEN s.clicked_count::double precision / nullif(s.opened_count, 0) END AS click_to_open_rate,
        CASE WHEN x.is_shown THEN s.replied_count::double precision / nullif(s.delivered_count, 0) END AS reply_rate,
        CASE WHEN x.is_shown THEN s.failed_count::double precision / nullif(s.sent_count, 0) END AS failure_rate,
        CASE WHEN x.is_shown THEN s.unsubscribed_count::double precision / nullif(s.delivered_count, 0) END AS unsubscribe_rate,
        NOT x.is_shown AS is_suppressed
    FROM (
        SELECT a.tenant_id, a.campaign_id, min(a.date_key) AS first_day, max(a.date_key) AS last_day,
            sum(a.message_count)::bigint AS message_count, sum(a.sent_count)::bigint AS sent_count, sum(a.delivered_count)::bigint AS delivered_count,
            sum(a.opened_count)::bigint AS opened_count, sum(a.machine_opened_count)::bigint AS machine_opened_count, sum(a.clicked_count)::bigint AS
            clicked_count, sum(a.replied_count)::bigint AS replied_count, sum(a.failed_count)::bigint AS failed_count, sum(a.unsubscribed_count)::bigint
            AS unsubscribed_count,
            sum(a.opened_count) FILTER (WHERE c.reports_opens) AS opened_of_reporting, sum(a.delivered_count) FILTER (WHERE c.reports_opens) AS delivered_of_reporting,
            max(g.guest_count) AS guest_count
        FROM guestcomms_bi.agg_message_day AS a
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
        LEFT JOIN (
            SELECT f.tenant_id, f.campaign_id, count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) AS guest_count
            FROM guestcomms_bi.fact_message AS f WHERE f.direction = 'outbound' GROUP BY f.tenant_id, f.campaign_id
        ) AS g ON g.tenant_id = a.tenant_id AND g.campaign_id = a.campaign_id
        WHERE a.direction = 'outbound' AND a.campaign_id <> guestcomms_internal.no_member()
        GROUP BY a.tenant_id, a.campaign_id
    ) AS s
    JOIN guestcomms_internal.tenant_min_guests() AS k ON k.tenant_id = s.tenant_id
    CROSS JOIN LATERAL (SELECT k.min_guests <= 1 OR s.guest_count >= k.min_guests AS is_shown) AS x;
    CREATE UNIQUE INDEX report_campaign_performance_key ON guestcomms_internal.report_campaign_performance (tenant_id, campaign_id);
    COMMENT ON INDEX guestcomms_internal.report_campaign_performance_key IS 'One row each; lets readers in while it is refreshed, and finds a tenant''s rows.';
    ALTER MATERIALIZED VIEW guestcomms_internal.report_campaign_performance ALTER COLUMN campaign_id SET STATISTICS 0, ALTER COLUMN tenant_id SET STATISTICS 0;
    COMMENT ON MATERIALIZED VIEW guestcomms_internal.report_campaign_performance IS 'Campaigns, and what came of them.';

    CREATE MATERIALIZED VIEW guestcomms_internal.report_guest_engagement AS
    SELECT s.tenant_id, s.guest_id, d.segment, d.locale, d.rsvp, s.outbound_count, s.delivered_count, s.opened_count, s.clicked_count, s.replied_count, s.unsubscribed_count,
        s.inbound_count, s.opened_of_reporting::double precision / nullif(s.delivered_of_reporting, 0) AS open_rate,
        s.replied_count::double precision / nullif(s.delivered_count, 0) AS reply_rate, s.mean_response_seconds,
        s.first_message_at, s.last_outbound_at, s.last_inbound_at, s.last_engaged_at
    FROM (
        SELECT f.tenant_id, f.guest_id, count(*) FILTER (WHERE f.direction = 'outbound') AS outbound_count, count(f.delivered_at) AS delivered_count,
            count(f.opened_at) AS opened_count, count(f.clicked_at) AS clicked_count, count(f.replied_at) FILTER (WHERE f.direction = 'outbound') AS replied_count,
            count(f.unsubscribed_at) AS unsubscribed_count, count(*) FILTER (WHERE f.direction = 'inbound') AS inbound_count,
            count(f.opened_at) FILTER (WHERE c.reports_opens) AS opened_of_reporting, count(f.delivered_at) FILTER (WHERE c.reports_opens) AS delivered_of_reporting,
            avg(f.response_seconds) FILTER (WHERE f.direction = 'outbound')::double precision AS mean_response_seconds,
            min(f.sent_at) AS first_message_at, max(f.sent_at) FILTER (WHERE f.direction = 'outbound') AS last_outbound_at,
            max(f.sent_at) FILTER (WHERE f.direction = 'inbound') AS last_inbound_at,
            greatest(max(f.sent_at) FILTER (WHERE f.direction = 'inbound'), max(f.opened_at), max(f.clicked_at)) AS last_engaged_at
        FROM guestcomms_bi.fact_message AS f
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = f.channel_key
        WHERE f.guest_id <> guestcomms_internal.no_member()
        GROUP BY f.tenant_id, f.guest_id
    ) AS s
    JOIN guestcomms_bi.dim_guest AS d ON d.tenant_id = s.tenant_id AND d.guest_id = s.guest_id AND d.is_current;
    CREATE UNIQUE INDEX report_guest_engagement_key ON guestcomms_internal.report_guest_engagement (tenant_id, guest_id);
    COMMENT ON INDEX guestcomms_internal.report_guest_engagement_key IS 'One row each; lets readers in while it is refreshed, and finds a tenant''s rows.';
    ALTER MATERIALIZED VIEW guestcomms_internal.report_guest_engagement ALTER COLUMN guest_id SET STATISTICS 0, ALTER COLUMN locale SET STATISTICS 0, ALTER COLUMN tenant_id SET STATISTICS 0;
    COMMENT ON MATERIALIZED VIEW guestcomms_internal.report_guest_engagement IS 'Guests, and how they respond.';

    CREATE MATERIALIZED VIEW guestcomms_internal.report_response_times AS
    SELECT s.tenant_id, s.date_key, s.channel_key, s.answered_by, CASE WHEN x.is_shown THEN s.response_count END AS response_count,
        CASE WHEN x.is_shown THEN s.mean_seconds END AS mean_seconds, CASE WHEN x.is_shown THEN s.percentiles[1] END AS median_seconds,
        CASE WHEN x.is_shown THEN s.percentiles[2] END AS p90_seconds, NOT x.is_shown AS is_suppressed
    FROM (
        SELECT f.tenant_id, f.sent_date_key AS date_key, f.channel_key, CASE f.direction WHEN 'inbound' THEN 'business' ELSE 'guest' END AS answered_by,
            count(*) AS response_count, avg(f.response_seconds)::double precision AS mean_seconds,
            percentile_cont('{0.5,0.9}'::double precision[]) WITHIN GROUP (ORDER BY f.response_seconds) AS percentiles,
            count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) AS guest_count
        FROM guestcomms_bi.fact_message AS f WHERE f.response_seconds IS NOT NULL
        GROUP BY f.tenant_id, f.sent_date_key, f.channel_key, f.direction
    ) AS s
    JOIN guestcomms_internal.tenant_min_guests() AS k ON k.tenant_id = s.tenant_id
    CROSS JOIN LATERAL (SELECT k.min_guests <= 1 OR s.guest_count >= k.min_guests AS is_shown) AS x;
    CREATE UNIQUE INDEX report_response_times_key ON guestcomms_internal.report_response_times (tenant_id, date_key, channel_key, answered_by);
    COMMENT ON INDEX guestcomms_internal.report_response_times_key IS 'One row each; lets readers in while it is refreshed, and finds a tenant''s rows.';
    ALTER MATERIALIZED VIEW guestcomms_internal.report_response_times ALTER COLUMN tenant_id SET STATISTICS 0;
    COMMENT ON MATERIALIZED VIEW guestcomms_internal.report_response_times IS 'How long messages waited for their answer, by the day they were sent.';

    CREATE MATERIALIZED VIEW guestcomms_internal.report_tenant_overview AS
    SELECT t.tenant_id, coalesce(s.message_count, 0) AS message_count, coalesce(s.inbound_count, 0) AS inbound_count, coalesce(s.outbound_count, 0) AS outbound_count,
        coalesce(s.message_count_30_days, 0) AS message_count_30_days, coalesce(g.guest_count, 0) AS guest_count, coalesce(g.guest_count_30_days, 0) AS guest_count_30_days,
        s.delivered_30_days::double precision / nullif(s.sent_30_days, 0) AS delivery_rate_30_days,
        s.opened_30_days::double precision / nullif(s.delivered_of_reporting_30_days, 0) AS open_rate_30_days,
        s.failed_30_days::double precision / nullif(s.sent_30_days, 0) AS failure_rate_30_days,
        g.median_response_seconds_30_days, s.last_day
    FROM guestcomms_bi.dim_tenant AS t
    LEFT JOIN (
        SELECT a.tenant_id, sum(a.message_count)::bigint AS message_count, coalesce(sum(a.message_count) FILTER (WHERE a.direction = 'inbound'), 0)::bigint AS inbound_count,
            coalesce(sum(a.message_count) FILTER (WHERE a.direction = 'outbound'), 0)::bigint AS outbound_count,
            coalesce(sum(a.message_count) FILTER (WHERE r.is_recent), 0)::bigint AS message_count_30_days,
            sum(a.sent_count) FILTER (WHERE r.is_recent) AS sent_30_days, sum(a.delivered_count) FILTER (WHERE r.is_recent) AS delivered_30_days,
            sum(a.opened_count) FILTER (WHERE r.is_recent AND c.reports_opens) AS opened_30_days,
            sum(a.delivered_count) FILTER (WHERE r.is_recent AND c.reports_opens) AS delivered_of_reporting_30_days,
            sum(a.failed_count) FILTER (WHERE r.is_recent) AS failed_30_days, max(a.date_key) AS last_day
        FROM guestcomms_bi.agg_message_day AS a
        JOIN guestcomms_bi.dim_tenant AS d ON d.tenant_id = a.tenant_id
        JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
        CROSS JOIN LATERAL (SELECT a.date_key > (now() AT TIME ZONE d.timezone)::date - 30 AS is_recent) AS r
        GROUP BY a.tenant_id
    ) AS s ON s.tenant_id = t.tenant_id
    LEFT JOIN (
        SELECT f.tenant_id, count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) AS guest_count,
            count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member() AND r.is_recent) AS guest_count_30_days,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY f.response_seconds) FILTER (WHERE f.direction = 'inbound' AND r.is_recent) AS median_response_seconds_30_days
        FROM guestcomms_bi.fact_message AS f
        JOIN guestcomms_bi.dim_tenant AS d ON d.tenant_id = f.tenant_id
        CROSS JOIN LATERAL (SELECT f.sent_date_key > (now() AT TIME ZONE d.timezone)::date - 30 AS is_recent) AS r
        GROUP BY f.tenant_id
    ) AS g ON g.tenant_id = t.tenant_id;
    CREATE UNIQUE INDEX report_tenant_overview_key ON guestcomms_internal.report_tenant_overview (tenant_id);
    COMMENT ON INDEX guestcomms_internal.report_tenant_overview_key IS 'One row each; lets readers in while it is refreshed, and finds a tenant''s rows.';
    ALTER MATERIALIZED VIEW guestcomms_internal.report_tenant_overview ALTER COLUMN tenant_id SET STATISTICS 0;
    COMMENT ON MATERIALIZED VIEW guestcomms_internal.report_tenant_overview IS 'Each business in one row.';

    GRANT SELECT ON guestcomms_internal.report_daily_channels,
        guestcomms_internal.report_campaign_performance,
        guestcomms_internal.report_guest_engagement,
        guestcomms_internal.report_response_times,
        guestcomms_internal.report_tenant_overview TO guestcomms_owner;
END $make_reports$;
COMMENT ON FUNCTION guestcomms_internal.make_reports() IS 'Makes the materialized views; the engine''s, so that they see all tenants.';

CREATE FUNCTION guestcomms.refresh_reports(max_age interval DEFAULT '10 minutes') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_report text;
    v_started timestamptz := clock_timestamp();
BEGIN
    -- The oldest one; a job comes again until none is left.
    SELECT r.report INTO v_report FROM guestcomms_internal.report_refreshes AS r
    WHERE r.as_of IS NULL OR r.as_of < now() - refresh_reports.max_age
    ORDER BY r.as_of NULLS FIRST, r.report LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY guestcomms_internal.%I', 'report_' || v_report);
    UPDATE guestcomms_internal.report_refreshes AS r SET as_of = v_started, duration = clock_timestamp() - v_started WHERE r.report = v_report;
    RETURN 1;
END $$;
COMMENT ON FUNCTION guestcomms.refresh_reports(interval) IS
$$Refreshes the oldest of the materialized views behind guestcomms_bi.mv_*, if it is older than max_age; readers go on reading. Returns 1, or 0 when none is: call it until then. A job's work, every hour. They show what refresh_warehouse() has loaded; as_of in each says of when they are.
Example: SELECT guestcomms.refresh_reports(max_age => '50 minutes');
See also: refresh_warehouse, get_warehouse_status$$;
