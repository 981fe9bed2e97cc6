-- Facts of events: each event with what its message's fact says of it.
CREATE TYPE guestcomms_internal.event_fact AS (
    tenant_id uuid, event_id uuid, occurred_at timestamptz, occurred_date_key date, occurred_time_key smallint, message_id uuid, channel_key smallint,
    direction text, kind text, is_machine boolean, guest_key bigint, wedding_id uuid, campaign_id uuid
);
COMMENT ON TYPE guestcomms_internal.event_fact IS 'A row of fact_message_event.';
CREATE TYPE guestcomms_internal.event_fact_change AS (old_fact guestcomms_internal.event_fact, new_fact guestcomms_internal.event_fact);
COMMENT ON TYPE guestcomms_internal.event_fact_change IS 'An event''s fact as it is stored and as it should be; either may be missing.';

CREATE FUNCTION guestcomms_internal.compute_event_facts(changes guestcomms_internal.message_fact_change[]) RETURNS SETOF guestcomms_internal.event_fact_change
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT x.old_fact, x.new_fact
    FROM (SELECT coalesce((c.old_fact).tenant_id, (c.new_fact).tenant_id) AS tenant_id, coalesce((c.old_fact).message_id, (c.new_fact).message_id) AS message_id,
            (c.new_fact).message_id IS NOT NULL AS is_kept, (c.new_fact).has_source AND (c.new_fact).has_events AS has_source, (c.new_fact).channel_key, (c.new_fact).direction,
            (c.new_fact).guest_key, (c.new_fact).wedding_id, (c.new_fact).campaign_id
        FROM unnest(compute_event_facts.changes) AS c OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT d.timezone FROM guestcomms_bi.dim_tenant AS d WHERE d.tenant_id = t.tenant_id),
            (SELECT n.timezone FROM guestcomms.tenants AS n WHERE n.tenant_id = t.tenant_id)) AS timezone OFFSET 0
    ) AS z
    CROSS JOIN LATERAL (
        SELECT (array_agg(u.stored) FILTER (WHERE (u.stored).event_id IS NOT NULL))[1] AS old_fact,
            -- Of an archived message, or one whose events retention has removed, the event may be in the facts alone.
            (array_agg(ROW(t.tenant_id, u.event_id, u.occurred_at, (u.occurred_at AT TIME ZONE z.timezone)::date,
                guestcomms_internal.minute_of_day(u.occurred_at AT TIME ZONE z.timezone), t.message_id, t.channel_key, t.direction,
                u.kind, u.is_machine, t.guest_key, t.wedding_id, t.campaign_id)::guestcomms_internal.event_fact ORDER BY (u.stored).event_id IS NOT NULL)
                FILTER (WHERE t.is_kept AND ((u.stored).event_id IS NULL OR NOT t.has_source)))[1] AS new_fact
        FROM (
            SELECT o.event_id, o.occurred_at, o.kind, o.is_machine, NULL::guestcomms_internal.event_fact AS stored
            FROM guestcomms.message_events AS o WHERE o.tenant_id = t.tenant_id AND o.message_id = t.message_id
            UNION ALL
            SELECT o.event_id, o.occurred_at, o.kind, o.is_machine, ROW(o.*)::guestcomms_internal.event_fact
            FROM guestcomms_bi.fact_message_event AS o WHERE o.tenant_id = t.tenant_id AND o.message_id = t.message_id
        ) AS u
        GROUP BY u.event_id, u.occurred_at
    ) AS x
    WHERE x.old_fact IS DISTINCT FROM x.new_fact;
END $$;
COMMENT ON FUNCTION guestcomms_internal.compute_event_facts(guestcomms_internal.message_fact_change[]) IS
'Of these messages, the events whose fact is stored otherwise than it should be.';
