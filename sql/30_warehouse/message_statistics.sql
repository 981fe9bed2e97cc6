-- Messages over time, and the time it took to answer them.
CREATE TYPE guestcomms_internal.group_guests AS (bucket_start timestamptz, channel_key smallint, direction text, guest_count double precision);
COMMENT ON TYPE guestcomms_internal.group_guests IS 'About how many guests a group of messages has.';
CREATE TYPE guestcomms_internal.group_percentiles AS (bucket_start timestamptz, channel_key smallint, direction text, percentiles double precision[]);
COMMENT ON TYPE guestcomms_internal.group_percentiles IS 'Median and 90th percentile of the response times of a group of messages.';

CREATE FUNCTION guestcomms_internal.count_guests(request guestcomms_internal.report_request) RETURNS SETOF guestcomms_internal.group_guests
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    IF NOT guestcomms_internal.has_guest_sketches() THEN
        RETURN;
    END IF;
    IF request.is_by_day THEN
        RETURN QUERY EXECUTE format('SELECT guestcomms_internal.local_bucket(a.date_key::timestamp AT TIME ZONE $1.timezone, $1.bucket, $1.timezone), a.channel_key, a.direction,'
            ' %1$I.hll_cardinality(%1$I.hll_union_agg(a.guests)) FROM guestcomms_bi.agg_guest_day AS a'
            ' WHERE a.tenant_id = $1.tenant_id AND a.date_key >= ($1.since AT TIME ZONE $1.timezone)::date AND a.date_key < ($1.until AT TIME ZONE $1.timezone)::date'
            ' AND ($1.channel_keys IS NULL OR a.channel_key = ANY ($1.channel_keys)) AND ($1.campaign_ids IS NULL OR a.campaign_id = ANY ($1.campaign_ids))'
            ' GROUP BY 1, 2, 3', guestcomms_internal.trusted_schema('hll')) USING request;
    ELSE
        RETURN QUERY EXECUTE format('SELECT guestcomms_internal.local_bucket(a.bucket_start, $1.bucket, $1.timezone), a.channel_key, a.direction,'
            ' %1$I.hll_cardinality(%1$I.hll_union_agg(a.guests)) FROM guestcomms_bi.agg_guest_quarter_hour AS a'
            ' WHERE a.tenant_id = $1.tenant_id AND a.bucket_start >= $1.since AND a.bucket_start < $1.until'
            ' AND ($1.channel_keys IS NULL OR a.channel_key = ANY ($1.channel_keys)) AND ($1.campaign_ids IS NULL OR a.campaign_id = ANY ($1.campaign_ids))'
            ' GROUP BY 1, 2, 3', guestcomms_internal.trusted_schema('hll')) USING request;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_guests(guestcomms_internal.report_request) IS 'About how many guests are in each bucket, as of the last refresh; nothing without hll.';

CREATE FUNCTION guestcomms_internal.large_groups(request guestcomms_internal.report_request, is_of_answers boolean)
RETURNS TABLE (bucket_start timestamptz, channel_key smallint, direction text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT guestcomms_internal.local_bucket(f.sent_at, request.bucket, request.timezone), f.channel_key, f.direction
    FROM guestcomms_bi.fact_message AS f
    WHERE request.min_guests > 1 AND f.tenant_id = request.tenant_id AND f.sent_at >= request.since AND f.sent_at < request.until
        AND (request.channel_keys IS NULL OR f.channel_key = ANY (request.channel_keys))
        AND (request.campaign_ids IS NULL OR f.campaign_id = ANY (request.campaign_ids))
        AND (f.response_seconds IS NOT NULL OR NOT is_of_answers)
    GROUP BY 1, 2, 3
    HAVING count(DISTINCT f.guest_id) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()) >= request.min_guests;
END $$;
COMMENT ON FUNCTION guestcomms_internal.large_groups(guestcomms_internal.report_request, boolean) IS
'Where warehouse.min_guests hides small groups: those that have enough guests, counted one by one as of the last refresh.';

CREATE FUNCTION guestcomms.get_message_statistics(
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, bucket text DEFAULT 'day', channels text[] DEFAULT NULL, campaigns uuid[] DEFAULT NULL
) RETURNS TABLE (
    bucket_start timestamptz, channel text, direction text, message_count bigint, sent bigint, delivered bigint, opened bigint, machine_opened bigint, clicked bigint,
    replied bigint, failed bigint, unsubscribed bigint, guest_count bigint, delivery_rate double precision, open_rate double precision,
    click_rate double precision, reply_rate double precision, failure_rate double precision, is_suppressed boolean, as_of timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT SET jit = off SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request guestcomms_internal.report_request;
    v_changes guestcomms_internal.message_fact_change[];
BEGIN
    v_request := guestcomms_internal.check_report(v_tenant, get_message_statistics.since, get_message_statistics.until, get_message_statistics.bucket,
        get_message_statistics.channels, get_message_statistics.campaigns);
    SELECT u.changes, u.as_of INTO v_changes, as_of FROM guestcomms_internal.unread_changes(ARRAY[v_tenant]) AS u;
    RETURN QUERY
    SELECT t.bucket_start, c.channel, t.direction,
        CASE WHEN x.is_shown THEN t.message_count END, CASE WHEN x.is_shown THEN t.sent END, CASE WHEN x.is_shown THEN t.delivered END,
        CASE WHEN x.is_shown THEN t.opened END, CASE WHEN x.is_shown THEN t.machine_opened END, CASE WHEN x.is_shown THEN t.clicked END,
        CASE WHEN x.is_shown THEN t.replied END, CASE WHEN x.is_shown THEN t.failed END, CASE WHEN x.is_shown THEN t.unsubscribed END,
        CASE WHEN x.is_shown THEN round(g.guest_count)::bigint END,
        CASE WHEN x.is_shown THEN t.delivered::double precision / nullif(t.sent, 0) END,
        CASE WHEN x.is_shown AND c.reports_opens THEN t.opened::double precision / nullif(t.delivered, 0) END,
        CASE WHEN x.is_shown THEN t.clicked::double precision / nullif(t.delivered, 0) END,
        CASE WHEN x.is_shown THEN t.replied::double precision / nullif(CASE t.direction WHEN 'outbound' THEN t.delivered ELSE t.message_count END, 0) END,
        CASE WHEN x.is_shown THEN t.failed::double precision / nullif(t.sent, 0) END,
        NOT x.is_shown, get_message_statistics.as_of
    FROM (
        SELECT r.bucket_start, r.channel_key, r.direction, sum(r.message_count)::bigint AS message_count, sum(r.sent_count)::bigint AS sent,
            sum(r.delivered_count)::bigint AS delivered, sum(r.opened_count)::bigint AS opened, sum(r.machine_opened_count)::bigint AS machine_opened,
            sum(r.clicked_count)::bigint AS clicked, sum(r.replied_count)::bigint AS replied, sum(r.failed_count)::bigint AS failed,
            sum(r.unsubscribed_count)::bigint AS unsubscribed
        FROM guestcomms_internal.live_rollups(v_request, v_changes) AS r
        GROUP BY r.bucket_start, r.channel_key, r.direction HAVING sum(r.message_count) <> 0
    ) AS t
    JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = t.channel_key
    LEFT JOIN guestcomms_internal.count_guests(v_request) AS g
        ON g.bucket_start = t.bucket_start AND g.channel_key = t.channel_key AND g.direction = t.direction
    CROSS JOIN LATERAL (
        SELECT v_request.min_guests <= 1 OR (t.bucket_start, t.channel_key, t.direction) IN
            (SELECT l.bucket_start, l.channel_key, l.direction FROM guestcomms_internal.large_groups(v_request, false) AS l) AS is_shown
    ) AS x
    ORDER BY t.bucket_start, t.channel_key, t.direction;
END $$;
COMMENT ON FUNCTION guestcomms.get_message_statistics(timestamptz, timestamptz, text, text[], uuid[]) IS
$$Messages of the tenant by the time they were sent, channel and direction, with what came of them and rates from 0 to 1; bucket is quarter_hour, hour, day, week or month by the tenant's clock. Up to this moment: what the rollups do not hold yet is added. What machines opened is left out of opened and open_rate. guest_count, about how many guests, needs hll and is of the last refresh. A rate of nothing is NULL; numbers of groups below warehouse.min_guests are NULL and is_suppressed. What each number means: guestcomms_bi.metrics.
Example: SELECT bucket_start, channel, direction, message_count, open_rate FROM guestcomms.get_message_statistics(bucket => 'week', channels => '{email}');
See also: get_campaign_performance, get_response_times, get_guest_engagement, get_live_statistics$$;

CREATE FUNCTION guestcomms_internal.response_percentiles(request guestcomms_internal.report_request) RETURNS SETOF guestcomms_internal.group_percentiles
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    IF NOT guestcomms_internal.has_response_sketches() THEN
        RETURN QUERY
        SELECT guestcomms_internal.local_bucket(f.sent_at, request.bucket, request.timezone), f.channel_key, f.direction,
            percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY f.response_seconds)
        FROM guestcomms_bi.fact_message AS f
        WHERE f.tenant_id = request.tenant_id AND f.sent_at >= request.since AND f.sent_at < request.until AND f.response_seconds IS NOT NULL
            AND (request.channel_keys IS NULL OR f.channel_key = ANY (request.channel_keys))
        GROUP BY 1, 2, 3;
    ELSIF request.is_by_day THEN
        RETURN QUERY EXECUTE format('SELECT guestcomms_internal.local_bucket(a.date_key::timestamp AT TIME ZONE $1.timezone, $1.bucket, $1.timezone), a.channel_key, a.direction,'
            ' %I.tdigest_percentile(a.response_times, ARRAY[0.5, 0.9]) FROM guestcomms_bi.agg_response_day AS a'
            ' WHERE a.tenant_id = $1.tenant_id AND a.date_key >= ($1.since AT TIME ZONE $1.timezone)::date AND a.date_key < ($1.until AT TIME ZONE $1.timezone)::date'
            ' AND ($1.channel_keys IS NULL OR a.channel_key = ANY ($1.channel_keys)) GROUP BY 1, 2, 3', guestcomms_internal.trusted_schema('tdigest')) USING request;
    ELSE
        RETURN QUERY EXECUTE format('SELECT guestcomms_internal.local_bucket(a.bucket_start, $1.bucket, $1.timezone), a.channel_key, a.direction,'
            ' %I.tdigest_percentile(a.response_times, ARRAY[0.5, 0.9]) FROM guestcomms_bi.agg_response_quarter_hour AS a'
            ' WHERE a.tenant_id = $1.tenant_id AND a.bucket_start >= $1.since AND a.bucket_start < $1.until'
            ' AND ($1.channel_keys IS NULL OR a.channel_key = ANY ($1.channel_keys)) GROUP BY 1, 2, 3', guestcomms_internal.trusted_schema('tdigest')) USING request;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.response_percentiles(guestcomms_internal.report_request) IS
'Median and 90th percentile of the seconds until an answer, as of the last refresh: by sketches, or of each fact where there are none.';

CREATE FUNCTION guestcomms.get_response_times(
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, bucket text DEFAULT 'day', channels text[] DEFAULT NULL
) RETURNS TABLE (
    bucket_start timestamptz, channel text, answered_by text, response_count bigint, mean_time interval, median_time interval, p90_time interval,
    is_suppressed boolean, as_of timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT SET jit = off SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request guestcomms_internal.report_request;
    v_changes guestcomms_internal.message_fact_change[];
BEGIN
    v_request := guestcomms_internal.check_report(v_tenant, get_response_times.since, get_response_times.until, get_response_times.bucket,
        get_response_times.channels, NULL);
    SELECT u.changes, u.as_of INTO v_changes, as_of FROM guestcomms_internal.unread_changes(ARRAY[v_tenant]) AS u;
    RETURN QUERY
    SELECT t.bucket_start, c.channel, CASE t.direction WHEN 'inbound' THEN 'business' ELSE 'guest' END,
        CASE WHEN x.is_shown THEN t.response_count END, CASE WHEN x.is_shown THEN make_interval(secs => t.response_seconds::double precision / t.response_count) END,
        CASE WHEN x.is_shown THEN make_interval(secs => p.percentiles[1]) END, CASE WHEN x.is_shown THEN make_interval(secs => p.percentiles[2]) END,
        NOT x.is_shown, get_response_times.as_of
    FROM (
        SELECT r.bucket_start, r.channel_key, r.direction, sum(r.response_count)::bigint AS response_count, sum(r.response_seconds) AS response_seconds
        FROM guestcomms_internal.live_rollups(v_request, v_changes) AS r
        GROUP BY r.bucket_start, r.channel_key, r.direction HAVING sum(r.response_count) <> 0
    ) AS t
    JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = t.channel_key
    LEFT JOIN guestcomms_internal.response_percentiles(v_request) AS p
        ON p.bucket_start = t.bucket_start AND p.channel_key = t.channel_key AND p.direction = t.direction
    CROSS JOIN LATERAL (
        SELECT v_request.min_guests <= 1 OR (t.bucket_start, t.channel_key, t.direction) IN
            (SELECT l.bucket_start, l.channel_key, l.direction FROM guestcomms_internal.large_groups(v_request, true) AS l) AS is_shown
    ) AS x
    ORDER BY t.bucket_start, t.channel_key, t.direction;
END $$;
COMMENT ON FUNCTION guestcomms.get_response_times(timestamptz, timestamptz, text, text[]) IS
$$How long messages waited for their answer, by the time they were sent, channel and who answered: the business or the guest. Of several messages in a row the first counts; an answer later than warehouse.reply_window is none. Count and mean are of this moment, median_time and p90_time of the last refresh, and approximate where tdigest is installed.
Example: SELECT bucket_start, channel, median_time, p90_time FROM guestcomms.get_response_times(bucket => 'month') WHERE answered_by = 'business';
See also: get_message_statistics, get_guest_engagement$$;
