-- Rollups. A quarter of an hour, or a day, of a tenant is computed anew from what lies below it: facts, or quarters of an hour. So
-- nothing drifts, and a refresh may be repeated.
CREATE TYPE guestcomms_internal.rollup_bucket AS (tenant_id uuid, bucket_start timestamptz);
COMMENT ON TYPE guestcomms_internal.rollup_bucket IS 'A quarter of an hour of a tenant.';
CREATE TYPE guestcomms_internal.rollup_day AS (tenant_id uuid, date_key date);
COMMENT ON TYPE guestcomms_internal.rollup_day IS 'A day of a tenant.';

CREATE FUNCTION guestcomms_internal.refresh_message_quarter_hours(buckets guestcomms_internal.rollup_bucket[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    WITH computed AS MATERIALIZED (
        SELECT b.tenant_id, b.bucket_start, a.*
        FROM unnest(refresh_message_quarter_hours.buckets) AS b
        CROSS JOIN LATERAL (
            SELECT f.channel_key, f.direction, f.campaign_id,
            count(*), count(*) FILTER (WHERE f.is_sent), count(f.delivered_at), count(f.opened_at),
            count(*) FILTER (WHERE f.machine_opened_at IS NOT NULL AND f.opened_at IS NULL), count(f.clicked_at), count(f.replied_at), count(f.failed_at),
            count(f.unsubscribed_at), count(f.response_seconds), coalesce(sum(f.response_seconds), 0)
            FROM guestcomms_bi.fact_message AS f
            WHERE f.tenant_id = b.tenant_id AND f.sent_at >= b.bucket_start AND f.sent_at < b.bucket_start + interval '15 minutes'
            GROUP BY f.channel_key, f.direction, f.campaign_id
        ) AS a (channel_key, direction, campaign_id, message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,
        unsubscribed_count, response_count, response_seconds)
    ), stored AS (
        INSERT INTO guestcomms_bi.agg_message_quarter_hour AS a (tenant_id, bucket_start, channel_key, direction, campaign_id,
            message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,
        unsubscribed_count, response_count, response_seconds)
        SELECT c.* FROM computed AS c
        ON CONFLICT ON CONSTRAINT agg_message_quarter_hour_pkey DO UPDATE
        SET message_count = excluded.message_count, sent_count = excluded.sent_count, delivered_count = excluded.delivered_count, opened_count =
        excluded.opened_count, machine_opened_count = excluded.machine_opened_count, clicked_count = excluded.clicked_count, replied_count =
        excluded.replied_count, failed_count = excluded.failed_count, unsubscribed_count = excluded.unsubscribed_count, response_count =
        excluded.response_count, response_seconds = excluded.response_seconds
        WHERE (a.message_count, a.sent_count, a.delivered_count, a.opened_count, a.machine_opened_count, a.clicked_count, a.replied_count, a.failed_count,
        a.unsubscribed_count, a.response_count, a.response_seconds)
        IS DISTINCT FROM (excluded.message_count, excluded.sent_count, excluded.delivered_count, excluded.opened_count, excluded.machine_opened_count,
        excluded.clicked_count, excluded.replied_count, excluded.failed_count, excluded.unsubscribed_count, excluded.response_count,
        excluded.response_seconds)
    )
    DELETE FROM guestcomms_bi.agg_message_quarter_hour AS a
    USING unnest(refresh_message_quarter_hours.buckets) AS b
    WHERE a.tenant_id = b.tenant_id AND a.bucket_start = b.bucket_start
        AND NOT EXISTS (SELECT FROM guestcomms_bi.fact_message AS f
            WHERE f.tenant_id = a.tenant_id AND f.sent_at >= a.bucket_start AND f.sent_at < a.bucket_start + interval '15 minutes'
                AND f.channel_key = a.channel_key AND f.direction = a.direction AND f.campaign_id = a.campaign_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_message_quarter_hours(guestcomms_internal.rollup_bucket[]) IS 'Computes quarters of an hour anew from the facts.';

CREATE FUNCTION guestcomms_internal.refresh_event_quarter_hours(buckets guestcomms_internal.rollup_bucket[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    WITH computed AS MATERIALIZED (
        SELECT b.tenant_id, b.bucket_start, a.*
        FROM unnest(refresh_event_quarter_hours.buckets) AS b
        CROSS JOIN LATERAL (
            SELECT f.channel_key, f.direction, f.kind, f.is_machine, count(*) AS event_count
            FROM guestcomms_bi.fact_message_event AS f
            WHERE f.tenant_id = b.tenant_id AND f.occurred_at >= b.bucket_start AND f.occurred_at < b.bucket_start + interval '15 minutes'
            GROUP BY f.channel_key, f.direction, f.kind, f.is_machine
        ) AS a
    ), stored AS (
        INSERT INTO guestcomms_bi.agg_event_quarter_hour AS a (tenant_id, bucket_start, channel_key, direction, kind, is_machine, event_count)
        SELECT c.* FROM computed AS c
        ON CONFLICT ON CONSTRAINT agg_event_quarter_hour_pkey DO UPDATE SET event_count = excluded.event_count
        WHERE a.event_count <> excluded.event_count
    )
    DELETE FROM guestcomms_bi.agg_event_quarter_hour AS a
    USING unnest(refresh_event_quarter_hours.buckets) AS b
    WHERE a.tenant_id = b.tenant_id AND a.bucket_start = b.bucket_start
        AND NOT EXISTS (SELECT FROM guestcomms_bi.fact_message_event AS f
            WHERE f.tenant_id = a.tenant_id AND f.occurred_at >= a.bucket_start AND f.occurred_at < a.bucket_start + interval '15 minutes'
                AND f.channel_key = a.channel_key AND f.direction = a.direction AND f.kind = a.kind AND f.is_machine = a.is_machine);
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_event_quarter_hours(guestcomms_internal.rollup_bucket[]) IS 'Computes quarters of an hour anew from the events'' facts.';

CREATE FUNCTION guestcomms_internal.days_of(buckets guestcomms_internal.rollup_bucket[]) RETURNS guestcomms_internal.rollup_day[]
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT coalesce(array_agg(ROW(n.tenant_id, n.date_key)::guestcomms_internal.rollup_day ORDER BY n.tenant_id, n.date_key), '{}')
    FROM (
        SELECT DISTINCT b.tenant_id, (b.bucket_start AT TIME ZONE d.timezone)::date AS date_key
        FROM unnest(days_of.buckets) AS b JOIN guestcomms_bi.dim_tenant AS d ON d.tenant_id = b.tenant_id
    ) AS n
$$;
COMMENT ON FUNCTION guestcomms_internal.days_of(guestcomms_internal.rollup_bucket[]) IS 'The days, in their tenants'' time zones, that these quarters of an hour are part of.';

CREATE FUNCTION guestcomms_internal.refresh_message_days(days guestcomms_internal.rollup_day[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    WITH computed AS MATERIALIZED (
        SELECT d.tenant_id, d.date_key, a.*
        FROM unnest(refresh_message_days.days) AS d
        CROSS JOIN LATERAL (SELECT t.timezone FROM guestcomms_bi.dim_tenant AS t WHERE t.tenant_id = d.tenant_id OFFSET 0) AS z
        CROSS JOIN LATERAL (
            SELECT q.channel_key, q.direction, q.campaign_id,
                sum(q.message_count), sum(q.sent_count), sum(q.delivered_count), sum(q.opened_count), sum(q.machine_opened_count),
                sum(q.clicked_count), sum(q.replied_count), sum(q.failed_count), sum(q.unsubscribed_count), sum(q.response_count),
                sum(q.response_seconds)
            FROM guestcomms_bi.agg_message_quarter_hour AS q
            WHERE q.tenant_id = d.tenant_id AND q.bucket_start >= d.date_key::timestamp AT TIME ZONE z.timezone - interval '3 hours'
                AND q.bucket_start < (d.date_key + 1)::timestamp AT TIME ZONE z.timezone + interval '3 hours'
                -- By the clock: where it is put back around midnight, a day has two beginnings.
                AND (q.bucket_start AT TIME ZONE z.timezone)::date = d.date_key
            GROUP BY q.channel_key, q.direction, q.campaign_id
        ) AS a (channel_key, direction, campaign_id, message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,
        unsubscribed_count, response_count, response_seconds)
    ), previous AS MATERIALIZED (
        SELECT a.* FROM unnest(refresh_message_days.days) AS d
        JOIN guestcomms_bi.agg_message_day AS a ON a.tenant_id = d.tenant_id AND a.date_key = d.date_key
    ), stored AS (
        INSERT INTO guestcomms_bi.agg_message_day AS a (tenant_id, date_key, channel_key, direction, campaign_id,
            message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,
        unsubscribed_count, response_count, response_seconds)
        SELECT c.* FROM computed AS c
        ON CONFLICT ON CONSTRAINT agg_message_day_pkey DO UPDATE
        SET message_count = excluded.message_count, sent_count = excluded.sent_count, delivered_count = excluded.delivered_count, opened_count =
        excluded.opened_count, machine_opened_count = excluded.machine_opened_count, clicked_count = excluded.clicked_count, replied_count =
        excluded.replied_count, failed_count = excluded.failed_count, unsubscribed_count = excluded.unsubscribed_count, response_count =
        excluded.response_count, response_seconds = excluded.response_seconds
        WHERE (a.message_count, a.sent_count, a.delivered_count, a.opened_count, a.machine_opened_count, a.clicked_count, a.replied_count, a.failed_count,
        a.unsubscribed_count, a.response_count, a.response_seconds)
        IS DISTINCT FROM (excluded.message_count, excluded.sent_count, excluded.delivered_count, excluded.opened_count, excluded.machine_opened_count,
        excluded.clicked_count, excluded.replied_count, excluded.failed_count, excluded.unsubscribed_count, excluded.response_count,
        excluded.response_seconds)
    ), removed AS (
        DELETE FROM guestcomms_bi.agg_message_day AS a USING previous AS p
        WHERE a.tenant_id = p.tenant_id AND a.date_key = p.date_key AND a.channel_key = p.channel_key AND a.direction = p.direction
            AND a.campaign_id = p.campaign_id
            AND (p.tenant_id, p.date_key, p.channel_key, p.direction, p.campaign_id) NOT IN
                (SELECT c.tenant_id, c.date_key, c.channel_key, c.direction, c.campaign_id FROM computed AS c)
    )
    -- All tenants together: by the difference.
    INSERT INTO guestcomms_bi.agg_message_day_all AS t (date_key, channel_key, direction,
        message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,
        unsubscribed_count, response_count, response_seconds)
    SELECT n.date_key, n.channel_key, n.direction, sum(n.sign * n.message_count), sum(n.sign * n.sent_count), sum(n.sign * n.delivered_count), sum(n.sign * n.opened_count), sum(n.sign *
        n.machine_opened_count), sum(n.sign * n.clicked_count), sum(n.sign * n.replied_count), sum(n.sign * n.failed_count), sum(n.sign *
        n.unsubscribed_count), sum(n.sign * n.response_count), sum(n.sign * n.response_seconds)
    FROM (SELECT 1 AS sign, c.* FROM computed AS c UNION ALL SELECT -1, p.* FROM previous AS p) AS n
    GROUP BY n.date_key, n.channel_key, n.direction
    ON CONFLICT ON CONSTRAINT agg_message_day_all_pkey DO UPDATE
    SET message_count = t.message_count + excluded.message_count, sent_count = t.sent_count + excluded.sent_count, delivered_count =
        t.delivered_count + excluded.delivered_count, opened_count = t.opened_count + excluded.opened_count, machine_opened_count =
        t.machine_opened_count + excluded.machine_opened_count, clicked_count = t.clicked_count + excluded.clicked_count, replied_count =
        t.replied_count + excluded.replied_count, failed_count = t.failed_count + excluded.failed_count, unsubscribed_count = t.unsubscribed_count +
        excluded.unsubscribed_count, response_count = t.response_count + excluded.response_count, response_seconds = t.response_seconds +
        excluded.response_seconds;
    DELETE FROM guestcomms_bi.agg_message_day_all AS t WHERE t.message_count = 0
        AND t.date_key = ANY (ARRAY(SELECT DISTINCT d.date_key FROM unnest(refresh_message_days.days) AS d));
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_message_days(guestcomms_internal.rollup_day[]) IS 'Computes days anew from their quarters of an hour.';

CREATE FUNCTION guestcomms_internal.refresh_event_days(days guestcomms_internal.rollup_day[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    WITH computed AS MATERIALIZED (
        SELECT d.tenant_id, d.date_key, a.*
        FROM unnest(refresh_event_days.days) AS d
        CROSS JOIN LATERAL (SELECT t.timezone FROM guestcomms_bi.dim_tenant AS t WHERE t.tenant_id = d.tenant_id OFFSET 0) AS z
        CROSS JOIN LATERAL (
            SELECT q.channel_key, q.direction, q.kind, q.is_machine, sum(q.event_count) AS event_count
            FROM guestcomms_bi.agg_event_quarter_hour AS q
            WHERE q.tenant_id = d.tenant_id AND q.bucket_start >= d.date_key::timestamp AT TIME ZONE z.timezone - interval '3 hours'
                AND q.bucket_start < (d.date_key + 1)::timestamp AT TIME ZONE z.timezone + interval '3 hours'
                -- By the clock: where it is put back around midnight, a day has two beginnings.
                AND (q.bucket_start AT TIME ZONE z.timezone)::date = d.date_key
            GROUP BY q.channel_key, q.direction, q.kind, q.is_machine
        ) AS a
    ), previous AS MATERIALIZED (
        SELECT a.* FROM unnest(refresh_event_days.days) AS d
        JOIN guestcomms_bi.agg_event_day AS a ON a.tenant_id = d.tenant_id AND a.date_key = d.date_key
    ), stored AS (
        INSERT INTO guestcomms_bi.agg_event_day AS a (tenant_id, date_key, channel_key, direction, kind, is_machine, event_count)
        SELECT c.* FROM computed AS c
        ON CONFLICT ON CONSTRAINT agg_event_day_pkey DO UPDATE SET event_count = excluded.event_count
        WHERE a.event_count <> excluded.event_count
    ), removed AS (
        DELETE FROM guestcomms_bi.agg_event_day AS a USING previous AS p
        WHERE a.tenant_id = p.tenant_id AND a.date_key = p.date_key AND a.channel_key = p.channel_key AND a.direction = p.direction
            AND a.kind = p.kind AND a.is_machine = p.is_machine
            AND (p.tenant_id, p.date_key, p.channel_key, p.direction, p.kind, p.is_machine) NOT IN
                (SELECT c.tenant_id, c.date_key, c.channel_key, c.direction, c.kind, c.is_machine FROM computed AS c)
    )
    INSERT INTO guestcomms_bi.agg_event_day_all AS t (date_key, channel_key, direction, kind, is_machine, event_count)
    SELECT n.date_key, n.channel_key, n.direction, n.kind, n.is_machine, sum(n.sign * n.event_count)
    FROM (SELECT 1 AS sign, c.* FROM computed AS c UNION ALL SELECT -1, p.* FROM previous AS p) AS n
    GROUP BY n.date_key, n.channel_key, n.direction, n.kind, n.is_machine
    ON CONFLICT ON CONSTRAINT agg_event_day_all_pkey DO UPDATE SET event_count = t.event_count + excluded.event_count;
    DELETE FROM guestcomms_bi.agg_event_day_all AS t WHERE t.event_count = 0
        AND t.date_key = ANY (ARRAY(SELECT DISTINCT d.date_key FROM unnest(refresh_event_days.days) AS d));
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_event_days(guestcomms_internal.rollup_day[]) IS 'Computes days of events anew from their quarters of an hour.';

CREATE FUNCTION guestcomms_internal.move_time_zone(tenant_id uuid, timezone text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_days guestcomms_internal.rollup_day[];
    v_count bigint;
BEGIN
    UPDATE guestcomms_bi.dim_tenant AS d SET timezone = move_time_zone.timezone WHERE d.tenant_id = move_time_zone.tenant_id;
    UPDATE guestcomms_bi.fact_message AS f
    SET sent_date_key = (f.sent_at AT TIME ZONE move_time_zone.timezone)::date,
        sent_time_key = guestcomms_internal.minute_of_day(f.sent_at AT TIME ZONE move_time_zone.timezone)
    WHERE f.tenant_id = move_time_zone.tenant_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE guestcomms_bi.fact_message_event AS f
    SET occurred_date_key = (f.occurred_at AT TIME ZONE move_time_zone.timezone)::date,
        occurred_time_key = guestcomms_internal.minute_of_day(f.occurred_at AT TIME ZONE move_time_zone.timezone)
    WHERE f.tenant_id = move_time_zone.tenant_id;
    -- Days of before, which may be empty in the new zone, and days of the quarters of an hour.
    SELECT array_agg(DISTINCT n.day) INTO v_days
    FROM (
        SELECT ROW(a.tenant_id, a.date_key)::guestcomms_internal.rollup_day AS day FROM guestcomms_bi.agg_message_day AS a WHERE a.tenant_id = move_time_zone.tenant_id
        UNION ALL
        SELECT ROW(a.tenant_id, (a.bucket_start AT TIME ZONE move_time_zone.timezone)::date)::guestcomms_internal.rollup_day
        FROM guestcomms_bi.agg_message_quarter_hour AS a WHERE a.tenant_id = move_time_zone.tenant_id
    ) AS n;
    PERFORM guestcomms_internal.refresh_message_days(v_days);
    PERFORM guestcomms_internal.refresh_sketch_days(v_days);
    SELECT array_agg(DISTINCT n.day) INTO v_days
    FROM (
        SELECT ROW(a.tenant_id, a.date_key)::guestcomms_internal.rollup_day AS day FROM guestcomms_bi.agg_event_day AS a WHERE a.tenant_id = move_time_zone.tenant_id
        UNION ALL
        SELECT ROW(a.tenant_id, (a.bucket_start AT TIME ZONE move_time_zone.timezone)::date)::guestcomms_internal.rollup_day
        FROM guestcomms_bi.agg_event_quarter_hour AS a WHERE a.tenant_id = move_time_zone.tenant_id
    ) AS n;
    PERFORM guestcomms_internal.refresh_event_days(v_days);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.move_time_zone(uuid, text) IS 'Counts a tenant''s days by another time zone.';
