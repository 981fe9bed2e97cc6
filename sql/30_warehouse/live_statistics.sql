-- The last minutes and today, and how far the warehouse is.
CREATE FUNCTION guestcomms.get_live_statistics(minutes integer DEFAULT 15)
RETURNS TABLE (
    period text, period_start timestamptz, channel text, inbound_count bigint, outbound_count bigint, delivered bigint, opened bigint, clicked bigint,
    failed bigint, unsubscribed bigint, as_of timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 8 SET search_path FROM CURRENT SET jit = off SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_changes guestcomms_internal.message_fact_change[];
    v_since timestamptz;
    v_zone text := guestcomms_internal.tenant_timezone(v_tenant);
    v_today timestamptz := guestcomms_internal.start_of_day((statement_timestamp() AT TIME ZONE v_zone)::date, v_zone);
BEGIN
    IF get_live_statistics.minutes IS NULL OR get_live_statistics.minutes NOT BETWEEN 1 AND 1440 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'minutes must be from 1 to 1440', HINT = 'Leave it out for 15.';
    END IF;
    v_since := statement_timestamp() - make_interval(mins => get_live_statistics.minutes);
    SELECT u.changes, u.as_of INTO v_changes, as_of FROM guestcomms_internal.unread_changes(ARRAY[v_tenant]) AS u;
    RETURN QUERY
    WITH event_change AS MATERIALIZED (SELECT e.old_fact, e.new_fact FROM guestcomms_internal.compute_event_facts(v_changes) AS e),
    happening AS (
        -- Today by the quarters of an hour, the last minutes one by one; each with what is unread.
        SELECT 'today' AS period, a.channel_key, a.direction AS what, a.message_count AS n FROM guestcomms_bi.agg_message_quarter_hour AS a
        WHERE a.tenant_id = v_tenant AND a.bucket_start >= v_today AND a.bucket_start < statement_timestamp()
        UNION ALL
        SELECT 'today', a.channel_key, a.kind, a.event_count FROM guestcomms_bi.agg_event_quarter_hour AS a
        WHERE a.tenant_id = v_tenant AND a.bucket_start >= v_today AND a.bucket_start < statement_timestamp() AND NOT a.is_machine
        UNION ALL
        SELECT 'last_minutes', f.channel_key, f.direction, 1 FROM guestcomms_bi.fact_message AS f
        WHERE f.tenant_id = v_tenant AND f.sent_at >= v_since AND f.sent_at <= statement_timestamp()
        UNION ALL
        SELECT 'last_minutes', f.channel_key, f.kind, 1 FROM guestcomms_bi.fact_message_event AS f
        WHERE f.tenant_id = v_tenant AND f.occurred_at >= v_since AND f.occurred_at <= statement_timestamp() AND NOT f.is_machine
        UNION ALL
        SELECT p.period, u.channel_key, u.what, u.sign
        FROM (
            SELECT s.sign, (s.fact).channel_key, (s.fact).direction AS what, (s.fact).sent_at AS at
            FROM unnest(v_changes) AS c CROSS JOIN LATERAL (VALUES (-1, c.old_fact), (1, c.new_fact)) AS s (sign, fact)
            UNION ALL
            SELECT s.sign, (s.fact).channel_key, (s.fact).kind, (s.fact).occurred_at
            FROM event_change AS c CROSS JOIN LATERAL (VALUES (-1, c.old_fact), (1, c.new_fact)) AS s (sign, fact)
            WHERE NOT (s.fact).is_machine
        ) AS u
        -- The quarter of an hour that is not over may hold what is dated ahead; it counts as a whole.
        JOIN (VALUES ('today', v_today, guestcomms_internal.quarter_hour(statement_timestamp()) + interval '15 minutes' - interval '1 microsecond'),
            ('last_minutes', v_since, statement_timestamp())) AS p (period, since, until)
            ON u.at >= p.since AND u.at <= p.until
    )
    SELECT p.period, p.since, d.channel,
        coalesce(sum(h.n) FILTER (WHERE h.what = 'inbound'), 0)::bigint, coalesce(sum(h.n) FILTER (WHERE h.what = 'outbound'), 0)::bigint,
        coalesce(sum(h.n) FILTER (WHERE h.what = 'delivered'), 0)::bigint, coalesce(sum(h.n) FILTER (WHERE h.what IN ('opened', 'read')), 0)::bigint,
        coalesce(sum(h.n) FILTER (WHERE h.what = 'clicked'), 0)::bigint, coalesce(sum(h.n) FILTER (WHERE h.what IN ('failed', 'bounced')), 0)::bigint,
        coalesce(sum(h.n) FILTER (WHERE h.what = 'unsubscribed'), 0)::bigint, get_live_statistics.as_of
    FROM (VALUES ('last_minutes', v_since), ('today', v_today)) AS p (period, since)
    CROSS JOIN guestcomms_bi.dim_channel AS d
    LEFT JOIN happening AS h ON h.period = p.period AND h.channel_key = d.channel_key
    GROUP BY p.period, p.since, d.channel, d.channel_key
    ORDER BY p.period, d.channel_key;
END $$;
COMMENT ON FUNCTION guestcomms.get_live_statistics(integer) IS
$$What happened in the last minutes, and since midnight by the tenant's clock: messages in and out by channel, and events by when they happened, without those of machines. Two rows a channel, all zeros where nothing happened.
Example: SELECT period, channel, inbound_count, outbound_count, opened FROM guestcomms.get_live_statistics(minutes => 5);
See also: get_message_statistics, get_warehouse_status$$;

CREATE FUNCTION guestcomms.get_warehouse_status()
RETURNS TABLE (
    as_of timestamptz, unread_changes bigint, is_live boolean, tenants_to_load bigint, messages_to_load bigint, has_guest_counts boolean, has_percentile_sketches boolean,
    oldest_report timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenants uuid[] := CASE WHEN NOT guestcomms_internal.sees_all_tenants() THEN guestcomms.visible_tenants() END;
BEGIN
    RETURN QUERY
    SELECT c.read_at, (SELECT count(*) FROM guestcomms_internal.list_unread(v_tenants)),
        NOT c.must_rebuild AND l.tenant_count = 0, l.tenant_count, l.message_count,
        guestcomms_internal.has_guest_sketches(), guestcomms_internal.has_response_sketches(), (SELECT min(r.as_of) FROM guestcomms_internal.report_refreshes AS r)
    FROM (
        SELECT count(*) AS tenant_count, coalesce(sum((SELECT count(*) FROM guestcomms.messages AS m
            WHERE m.tenant_id = w.tenant_id AND m.message_id > w.after_id AND m.sent_at >= guestcomms.uuid_v7_time(w.after_id))), 0)::bigint AS message_count
        FROM guestcomms_internal.warehouse_loads AS w WHERE v_tenants IS NULL OR w.tenant_id = ANY (v_tenants)
    ) AS l
    CROSS JOIN guestcomms.consumers AS c WHERE c.consumer = 'warehouse';
END $$;
COMMENT ON FUNCTION guestcomms.get_warehouse_status() IS
$$How far the warehouse is: when it was last refreshed, how many changes are unread (is_live says that numbers for applications include them), how many tenants and messages are still to be loaded, whether guest counts (hll) and sketches of percentiles (tdigest) are kept, and how old the oldest materialized view is. Of the tenants that visible_tenants() lists.
Example: SELECT as_of, unread_changes, messages_to_load FROM guestcomms.get_warehouse_status();
See also: refresh_warehouse, list_lag, store_capabilities$$;
