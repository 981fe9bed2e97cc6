-- What applications ask for: numbers of the tenant that is open, up to this moment.
CREATE FUNCTION guestcomms_internal.local_bucket(at timestamptz, bucket text, timezone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE bucket WHEN 'quarter_hour' THEN guestcomms_internal.quarter_hour(at) ELSE date_trunc(bucket, at, timezone) END;
COMMENT ON FUNCTION guestcomms_internal.local_bucket(timestamptz, text, text) IS 'Start of the bucket by the clock of a time zone.';

CREATE FUNCTION guestcomms_internal.start_of_day(day date, timezone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
-- Where the clock is put back to before midnight, or to it, that hour comes twice; the day begins with the first.
RETURN (SELECT min(s.at) FROM (SELECT day::timestamp AT TIME ZONE timezone - h.shift AS at
    FROM (VALUES (interval '0'), ('30 minutes'), ('1 hour'), ('2 hours'), ('3 hours')) AS h (shift)) AS s WHERE (s.at AT TIME ZONE timezone)::date = day);
COMMENT ON FUNCTION guestcomms_internal.start_of_day(date, text) IS 'The first moment of a day by the clock of a time zone.';

CREATE FUNCTION guestcomms_internal.tenant_timezone(tenant_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN coalesce((SELECT d.timezone FROM guestcomms_bi.dim_tenant AS d WHERE d.tenant_id = tenant_timezone.tenant_id),
        (SELECT t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = tenant_timezone.tenant_id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.tenant_timezone(uuid) IS 'Time zone that a tenant''s days are counted by.';

CREATE TYPE guestcomms_internal.report_request AS (
    tenant_id uuid, timezone text, bucket text, since timestamptz, until timestamptz, is_by_day boolean, channel_keys smallint[], campaign_ids uuid[], min_guests integer
);
COMMENT ON TYPE guestcomms_internal.report_request IS 'What a report is asked for, checked: times on the bounds of quarters of an hour, of days where is_by_day.';

CREATE FUNCTION guestcomms_internal.check_report(tenant_id uuid, since timestamptz, until timestamptz, bucket text, channels text[], campaigns uuid[])
RETURNS guestcomms_internal.report_request
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_zone text := guestcomms_internal.tenant_timezone(check_report.tenant_id);
    v_today date := (statement_timestamp() AT TIME ZONE v_zone)::date;
    v_since timestamptz := guestcomms_internal.quarter_hour(coalesce(check_report.since, guestcomms_internal.start_of_day(v_today - 30, v_zone)));
    -- To the end of the quarter of an hour that until is in; of today where it is left out.
    v_until timestamptz := guestcomms_internal.quarter_hour(coalesce(check_report.until, guestcomms_internal.start_of_day(v_today + 1, v_zone))
        + interval '15 minutes' - interval '1 microsecond');
    v_is_by_day boolean;
BEGIN
    IF coalesce(check_report.bucket NOT IN ('quarter_hour', 'hour', 'day', 'week', 'month'), true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'bucket is not one of those there are',
            HINT = 'quarter_hour, hour, day, week or month.';
    END IF;
    IF EXISTS (SELECT FROM unnest(check_report.channels) AS c (channel) WHERE guestcomms_internal.channel_key(c.channel) IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there is no such channel',
            HINT = 'email, sms, whatsapp or chat; NULL for all.';
    END IF;
    IF NOT (isfinite(v_since) AND isfinite(v_until) AND v_since < v_until) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'since must be before until, and both finite',
            HINT = 'Left out, they are 30 days ago and the end of today.';
    END IF;
    -- Midnights, as date_trunc() has them: where the clock is put back to midnight, the second one.
    v_is_by_day := check_report.bucket IN ('day', 'week', 'month')
        AND v_since IN (date_trunc('day', v_since, v_zone), guestcomms_internal.start_of_day((v_since AT TIME ZONE v_zone)::date, v_zone))
        AND v_until IN (date_trunc('day', v_until, v_zone), guestcomms_internal.start_of_day((v_until AT TIME ZONE v_zone)::date, v_zone));
    IF v_is_by_day THEN
        v_since := guestcomms_internal.start_of_day((v_since AT TIME ZONE v_zone)::date, v_zone);
        v_until := guestcomms_internal.start_of_day((v_until AT TIME ZONE v_zone)::date, v_zone);
    END IF;
    RETURN ROW(check_report.tenant_id, v_zone, check_report.bucket, v_since, v_until, v_is_by_day,
        CASE WHEN check_report.channels IS NOT NULL THEN ARRAY(SELECT guestcomms_internal.channel_key(c.channel) FROM unnest(check_report.channels) AS c (channel)) END,
        check_report.campaigns, guestcomms_internal.setting('warehouse.min_guests', check_report.tenant_id)::integer)::guestcomms_internal.report_request;
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_report(uuid, timestamptz, timestamptz, text, text[], uuid[]) IS 'Checks what a report is asked for and fills in what was left out.';

CREATE TYPE guestcomms_internal.message_rollup AS (
    bucket_start timestamptz, channel_key smallint, direction text, campaign_id uuid,
    message_count bigint, sent_count bigint, delivered_count bigint, opened_count bigint, machine_opened_count bigint, clicked_count bigint,
    replied_count bigint, failed_count bigint, unsubscribed_count bigint, response_count bigint, response_seconds bigint
);
COMMENT ON TYPE guestcomms_internal.message_rollup IS 'Counts of messages of a bucket.';

CREATE FUNCTION guestcomms_internal.live_rollups(request guestcomms_internal.report_request, changes guestcomms_internal.message_fact_change[])
RETURNS SETOF guestcomms_internal.message_rollup
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    IF request.is_by_day THEN
        RETURN QUERY
        SELECT guestcomms_internal.local_bucket(a.date_key::timestamp AT TIME ZONE request.timezone, request.bucket, request.timezone), a.channel_key, a.direction,
            a.campaign_id, a.message_count, a.sent_count, a.delivered_count, a.opened_count, a.machine_opened_count, a.clicked_count, a.replied_count,
            a.failed_count, a.unsubscribed_count, a.response_count, a.response_seconds
        FROM guestcomms_bi.agg_message_day AS a
        WHERE a.tenant_id = request.tenant_id AND a.date_key >= (request.since AT TIME ZONE request.timezone)::date
            AND a.date_key < (request.until AT TIME ZONE request.timezone)::date
            AND (request.channel_keys IS NULL OR a.channel_key = ANY (request.channel_keys))
            AND (request.campaign_ids IS NULL OR a.campaign_id = ANY (request.campaign_ids));
    ELSE
        RETURN QUERY
        SELECT guestcomms_internal.local_bucket(a.bucket_start, request.bucket, request.timezone), a.channel_key, a.direction,
            a.campaign_id, a.message_count, a.sent_count, a.delivered_count, a.opened_count, a.machine_opened_count, a.clicked_count, a.replied_count,
            a.failed_count, a.unsubscribed_count, a.response_count, a.response_seconds
        FROM guestcomms_bi.agg_message_quarter_hour AS a
        WHERE a.tenant_id = request.tenant_id AND a.bucket_start >= request.since AND a.bucket_start < request.until
            AND (request.channel_keys IS NULL OR a.channel_key = ANY (request.channel_keys))
            AND (request.campaign_ids IS NULL OR a.campaign_id = ANY (request.campaign_ids));
    END IF;
    RETURN QUERY
    SELECT guestcomms_internal.local_bucket(m.bucket_start, request.bucket, request.timezone), m.channel_key, m.direction,
        m.campaign_id, m.message_count, m.sent_count, m.delivered_count, m.opened_count, m.machine_opened_count, m.clicked_count, m.replied_count,
            m.failed_count, m.unsubscribed_count, m.response_count, m.response_seconds
    FROM guestcomms_internal.live_messages(changes) AS m
    WHERE CASE WHEN request.is_by_day
            -- By the clock: where it is put back over midnight, a day is not one stretch of time.
            THEN (m.bucket_start AT TIME ZONE request.timezone)::date >= (request.since AT TIME ZONE request.timezone)::date
                AND (m.bucket_start AT TIME ZONE request.timezone)::date < (request.until AT TIME ZONE request.timezone)::date
            ELSE m.bucket_start >= request.since AND m.bucket_start < request.until END
        AND (request.channel_keys IS NULL OR m.channel_key = ANY (request.channel_keys))
        AND (request.campaign_ids IS NULL OR m.campaign_id = ANY (request.campaign_ids));
END $$;
COMMENT ON FUNCTION guestcomms_internal.live_rollups(guestcomms_internal.report_request, guestcomms_internal.message_fact_change[]) IS
'The rollups of a report, and what is unread, to be added up.';
