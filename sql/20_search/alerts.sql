-- Alerts, as applications see them.
CREATE FUNCTION guestcomms.list_alerts(since timestamptz DEFAULT NULL, is_acknowledged boolean DEFAULT false, max_rows integer DEFAULT 50, after uuid DEFAULT NULL)
RETURNS TABLE (alert_id uuid, raised_at timestamptz, search_id uuid, name text, message_id uuid, sent_at timestamptz, guest_id uuid, channel text,
    direction text, headline text, acknowledged_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT SET jit = off
    SET plan_cache_mode = 'force_custom_plan'   -- open alerts have an index of their own
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_parameters jsonb := guestcomms_internal.settings_of('search', v_tenant);
    v_first uuid := guestcomms_internal.first_uuid_v7(coalesce(list_alerts.since, timestamptz 'epoch'));
BEGIN
    IF coalesce(list_alerts.max_rows NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 200',
            HINT = 'For more pass the last row''s alert_id as after.';
    END IF;
    RETURN QUERY
    SELECT a.alert_id, a.raised_at, a.search_id, s.name, a.message_id, m.sent_at, m.guest_id, m.channel, m.direction,
        guestcomms_internal.headline(guestcomms_internal.mark_text(m.language, m.subject, m.body,
                (SELECT w.words FROM guestcomms.saved_search_words AS w WHERE w.tenant_id = v_tenant AND w.search_id = a.search_id
                    AND w.configuration = guestcomms_internal.search_configuration_v1(m.language)),
                guestcomms_internal.unspaced_runs(s.query)),
            'text', v_parameters ->> 'headline_start', v_parameters ->> 'headline_stop'),
        a.acknowledged_at
    FROM (
        SELECT o.*, p.sent_at, p.guest_id, p.channel, p.direction, p.language, p.subject, p.body
        FROM guestcomms.search_alerts AS o
        -- One look-up a row, in the partition that the identifier tells.
        CROSS JOIN LATERAL (
            (SELECT t.sent_at, t.guest_id, t.channel, t.direction, t.language, t.subject, t.body FROM guestcomms.messages AS t
             WHERE t.tenant_id = v_tenant AND t.message_id = o.message_id
                AND t.sent_at >= guestcomms.uuid_v7_time(o.message_id) AND t.sent_at < guestcomms.uuid_v7_time(o.message_id) + interval '1 millisecond')
            UNION ALL
            (SELECT t.sent_at, t.guest_id, t.channel, t.direction, t.language, t.subject, t.body
             FROM guestcomms_internal.find_archived(v_tenant, ARRAY[o.message_id]) AS t)
            LIMIT 1
        ) AS p
        WHERE o.tenant_id = v_tenant
            AND o.alert_id >= v_first
            AND (list_alerts.after IS NULL OR o.alert_id < list_alerts.after)
            AND (list_alerts.is_acknowledged IS NOT FALSE OR o.acknowledged_at IS NULL)
            AND (list_alerts.is_acknowledged IS NOT TRUE OR o.acknowledged_at IS NOT NULL)
        ORDER BY o.alert_id DESC
        LIMIT list_alerts.max_rows
    ) AS a
    CROSS JOIN LATERAL (SELECT a.sent_at, a.guest_id, a.channel, a.direction, a.language, a.subject, a.body) AS m
    JOIN guestcomms.saved_searches AS s ON s.tenant_id = v_tenant AND s.search_id = a.search_id
    ORDER BY a.alert_id DESC;
END $$;
COMMENT ON FUNCTION guestcomms.list_alerts(timestamptz, boolean, integer, uuid) IS
$$The alerts of the current tenant's saved searches, newest first: those that nobody has acknowledged, with is_acknowledged => true the others, with NULL all. since is a time of raising, that is of the job's run, whose alerts are seen when it is through: so poll for open alerts and acknowledge them rather than by time. Pass the last row's alert_id as after for the next page. An alert leaves with its message, with its saved search, and after alerts.keep.
Example: SELECT name, headline FROM guestcomms.list_alerts(since => now() - interval '1 day');
See also: save_search, acknowledge_alert, list_saved_searches$$;

CREATE FUNCTION guestcomms.acknowledge_alert(alert_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    UPDATE guestcomms.search_alerts AS a SET acknowledged_at = now()
    WHERE a.tenant_id = v_tenant AND a.alert_id = acknowledge_alert.alert_id AND a.acknowledged_at IS NULL;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION guestcomms.acknowledge_alert(uuid) IS
$$Notes that somebody has seen an alert of the current tenant; returns whether it was open.
Example: SELECT guestcomms.acknowledge_alert(alert_id) FROM guestcomms.list_alerts();
See also: list_alerts, save_search$$;

CREATE FUNCTION guestcomms_internal.trim_alerts(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant record;
    v_rows bigint;
    v_count bigint := 0;
BEGIN
    FOR v_tenant IN
        SELECT t.tenant_id, guestcomms_internal.first_uuid_v7(now() - guestcomms_internal.setting('alerts.keep', t.tenant_id)::interval) AS gone_before
        FROM guestcomms.tenants AS t
    LOOP
        EXIT WHEN v_count >= trim_alerts.max_rows;
        DELETE FROM guestcomms.search_alerts AS a
        WHERE a.tenant_id = v_tenant.tenant_id AND a.alert_id = ANY (ARRAY(
            SELECT o.alert_id FROM guestcomms.search_alerts AS o
            WHERE o.tenant_id = v_tenant.tenant_id AND o.alert_id < v_tenant.gone_before ORDER BY o.alert_id LIMIT trim_alerts.max_rows));
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_count := v_count + v_rows;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_alerts(integer) IS 'Removes alerts after alerts.keep.';
