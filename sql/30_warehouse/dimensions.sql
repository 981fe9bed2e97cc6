-- Dimensions follow what they describe. A wedding or a campaign is as it is (type 1); of a guest every state is kept (type 2).
CREATE TYPE guestcomms_internal.dimension_member AS (kind text, tenant_id uuid, id uuid);
COMMENT ON TYPE guestcomms_internal.dimension_member IS 'A tenant, wedding, campaign or guest.';

CREATE FUNCTION guestcomms_internal.find_missing_members(changed guestcomms_internal.message_reference[]) RETURNS guestcomms_internal.dimension_member[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    RETURN (WITH message AS MATERIALIZED (
        SELECT t.tenant_id, m.wedding_id, m.campaign_id, m.guest_id
        FROM (SELECT r.tenant_id, r.message_id, guestcomms.uuid_v7_time(r.message_id) AS since FROM unnest(find_missing_members.changed) AS r OFFSET 0) AS t
        CROSS JOIN LATERAL (
            SELECT o.wedding_id, o.campaign_id, o.guest_id FROM guestcomms.messages AS o
            WHERE o.tenant_id = t.tenant_id AND o.message_id = t.message_id AND o.sent_at >= t.since AND o.sent_at < t.since + interval '1 millisecond'
        ) AS m
    )
    SELECT array_agg(ROW(n.kind, n.tenant_id, n.id)::guestcomms_internal.dimension_member)
    FROM (
        SELECT 'tenant' AS kind, m.tenant_id, m.tenant_id AS id FROM message AS m GROUP BY m.tenant_id
        HAVING NOT EXISTS (SELECT FROM guestcomms_bi.dim_tenant AS d WHERE d.tenant_id = m.tenant_id)
        UNION ALL
        SELECT 'wedding', m.tenant_id, m.wedding_id FROM message AS m WHERE m.wedding_id IS NOT NULL GROUP BY m.tenant_id, m.wedding_id
        HAVING NOT EXISTS (SELECT FROM guestcomms_bi.dim_wedding AS d WHERE d.tenant_id = m.tenant_id AND d.wedding_id = m.wedding_id)
        UNION ALL
        SELECT 'campaign', m.tenant_id, m.campaign_id FROM message AS m WHERE m.campaign_id IS NOT NULL GROUP BY m.tenant_id, m.campaign_id
        HAVING NOT EXISTS (SELECT FROM guestcomms_bi.dim_campaign AS d WHERE d.tenant_id = m.tenant_id AND d.campaign_id = m.campaign_id)
        UNION ALL
        SELECT 'guest', m.tenant_id, m.guest_id FROM message AS m GROUP BY m.tenant_id, m.guest_id
        HAVING NOT EXISTS (SELECT FROM guestcomms_bi.dim_guest AS d WHERE d.tenant_id = m.tenant_id AND d.guest_id = m.guest_id)
    ) AS n);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_missing_members(guestcomms_internal.message_reference[]) IS
'Members that facts of these messages will refer to, and that the dimensions lack.';

CREATE FUNCTION guestcomms_internal.find_missing_keys(changes guestcomms_internal.message_fact_change[]) RETURNS guestcomms_internal.dimension_member[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    RETURN (WITH key AS MATERIALIZED (
        SELECT DISTINCT (c.new_fact).tenant_id, (c.new_fact).wedding_id, (c.new_fact).campaign_id,
            CASE WHEN (c.new_fact).guest_key IS NULL THEN (c.new_fact).guest_id END AS guest_id
        FROM unnest(find_missing_keys.changes) AS c WHERE (c.new_fact).message_id IS NOT NULL
    )
    SELECT array_agg(DISTINCT ROW(n.kind, k.tenant_id, n.id)::guestcomms_internal.dimension_member)
    FROM key AS k
    CROSS JOIN LATERAL (
        SELECT 'tenant' AS kind, k.tenant_id AS id WHERE NOT EXISTS (SELECT FROM guestcomms_bi.dim_tenant AS d WHERE d.tenant_id = k.tenant_id)
        UNION ALL
        SELECT 'wedding', k.wedding_id
        WHERE k.wedding_id <> guestcomms_internal.no_member()
            AND NOT EXISTS (SELECT FROM guestcomms_bi.dim_wedding AS d WHERE d.tenant_id = k.tenant_id AND d.wedding_id = k.wedding_id)
        UNION ALL
        SELECT 'campaign', k.campaign_id
        WHERE k.campaign_id <> guestcomms_internal.no_member()
            AND NOT EXISTS (SELECT FROM guestcomms_bi.dim_campaign AS d WHERE d.tenant_id = k.tenant_id AND d.campaign_id = k.campaign_id)
        UNION ALL
        SELECT 'guest', k.guest_id WHERE k.guest_id IS NOT NULL
    ) AS n);
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_missing_keys(guestcomms_internal.message_fact_change[]) IS
'Members that these facts refer to, and that the dimensions lack.';

CREATE FUNCTION guestcomms_internal.load_dimensions(members guestcomms_internal.dimension_member[]) RETURNS guestcomms_internal.message_reference[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
DECLARE
    v_none uuid := guestcomms_internal.no_member();
    v_affected guestcomms_internal.message_reference[];
BEGIN
    WITH tenant AS (
        INSERT INTO guestcomms_bi.dim_tenant AS d (tenant_id, tenant_name, timezone, language, region, created_at, closed_at)
        SELECT t.tenant_id, t.name, t.timezone, t.language, t.region, t.created_at, t.closed_at
        FROM (SELECT DISTINCT m.tenant_id FROM unnest(load_dimensions.members) AS m) AS m
        CROSS JOIN LATERAL (SELECT o.* FROM guestcomms.tenants AS o WHERE o.tenant_id = m.tenant_id OFFSET 0) AS t
        ORDER BY t.tenant_id
        -- Another time zone makes other days of the same facts: see move_time_zone().
        ON CONFLICT ON CONSTRAINT dim_tenant_pkey DO UPDATE
        SET tenant_name = excluded.tenant_name, language = excluded.language, region = excluded.region, closed_at = excluded.closed_at
        WHERE (d.tenant_name, d.language, d.region, d.closed_at) IS DISTINCT FROM (excluded.tenant_name, excluded.language, excluded.region, excluded.closed_at)
        RETURNING d.tenant_id
    ), wedding AS (
        INSERT INTO guestcomms_bi.dim_wedding (tenant_id, wedding_id, wedding_name)
        SELECT t.tenant_id, v_none, '(none)' FROM tenant AS t
        ON CONFLICT ON CONSTRAINT dim_wedding_pkey DO NOTHING
    ), campaign AS (
        INSERT INTO guestcomms_bi.dim_campaign (tenant_id, campaign_id, campaign_name)
        SELECT t.tenant_id, v_none, '(none)' FROM tenant AS t
        ON CONFLICT ON CONSTRAINT dim_campaign_pkey DO NOTHING
    )
    INSERT INTO guestcomms_bi.dim_guest (tenant_id, guest_id, valid_from, valid_to, is_current, is_erased)
    SELECT t.tenant_id, v_none, '-infinity', 'infinity', true, true FROM tenant AS t
    ON CONFLICT ON CONSTRAINT dim_guest_version_key DO NOTHING;

    -- One that was removed keeps its row as long as facts may refer to it, without its name.
    INSERT INTO guestcomms_bi.dim_wedding AS d (tenant_id, wedding_id, wedding_name, held_on, place, timezone)
    SELECT m.tenant_id, m.id, coalesce(w.name, '(removed)'), w.held_on, w.place, w.timezone
    FROM (SELECT DISTINCT u.tenant_id, u.id FROM unnest(load_dimensions.members) AS u WHERE u.kind = 'wedding') AS m
    LEFT JOIN LATERAL (SELECT o.* FROM guestcomms.weddings AS o WHERE o.tenant_id = m.tenant_id AND o.wedding_id = m.id OFFSET 0) AS w ON true
    ORDER BY m.tenant_id, m.id
    ON CONFLICT ON CONSTRAINT dim_wedding_pkey DO UPDATE
    SET wedding_name = excluded.wedding_name, held_on = excluded.held_on, place = excluded.place, timezone = excluded.timezone
    WHERE (d.wedding_name, d.held_on, d.place, d.timezone) IS DISTINCT FROM (excluded.wedding_name, excluded.held_on, excluded.place, excluded.timezone);

    INSERT INTO guestcomms_bi.dim_campaign AS d (tenant_id, campaign_id, campaign_name, channel, purpose, started_at, ended_at)
    SELECT m.tenant_id, m.id, coalesce(c.name, '(removed)'), c.channel, c.purpose, c.started_at, c.ended_at
    FROM (SELECT DISTINCT u.tenant_id, u.id FROM unnest(load_dimensions.members) AS u WHERE u.kind = 'campaign') AS m
    LEFT JOIN LATERAL (SELECT o.* FROM guestcomms.campaigns AS o WHERE o.tenant_id = m.tenant_id AND o.campaign_id = m.id OFFSET 0) AS c ON true
    ORDER BY m.tenant_id, m.id
    ON CONFLICT ON CONSTRAINT dim_campaign_pkey DO UPDATE
    SET campaign_name = excluded.campaign_name, channel = excluded.channel, purpose = excluded.purpose,
        started_at = excluded.started_at, ended_at = excluded.ended_at
    WHERE (d.campaign_name, d.channel, d.purpose, d.started_at, d.ended_at)
        IS DISTINCT FROM (excluded.campaign_name, excluded.channel, excluded.purpose, excluded.started_at, excluded.ended_at);

    WITH guest AS MATERIALIZED (
        SELECT m.tenant_id, m.id AS guest_id, s.*, d.guest_key, d.valid_from AS previous_from,
            d.guest_key IS NOT NULL AND (s.segment, s.locale, s.timezone, s.rsvp) IS DISTINCT FROM (d.segment, d.locale, d.timezone, d.rsvp) AS is_other,
            -- Since when it is so: as the rows say, or else since it was noticed.
            CASE WHEN s.changed_at > d.valid_from AND s.changed_at < clock_timestamp() THEN s.changed_at ELSE clock_timestamp() END AS valid_from
        FROM (SELECT DISTINCT u.tenant_id, u.id FROM unnest(load_dimensions.members) AS u WHERE u.kind = 'guest') AS m
        CROSS JOIN LATERAL (
            SELECT i.role AS segment, g.language AS locale, g.timezone, i.rsvp, greatest(g.updated_at, i.rsvp_at) AS changed_at
            FROM guestcomms.guests AS g
            LEFT JOIN LATERAL (
                SELECT w.role, w.rsvp, w.rsvp_at FROM guestcomms.wedding_guests AS w WHERE w.tenant_id = g.tenant_id AND w.guest_id = g.guest_id
                ORDER BY w.rsvp_at DESC NULLS LAST, w.wedding_id LIMIT 1
            ) AS i ON true
            WHERE g.tenant_id = m.tenant_id AND g.guest_id = m.id AND g.erased_at IS NULL
            OFFSET 0
        ) AS s
        LEFT JOIN LATERAL (
            SELECT o.* FROM guestcomms_bi.dim_guest AS o WHERE o.tenant_id = m.tenant_id AND o.guest_id = m.id AND o.is_current OFFSET 0
        ) AS d ON true
    ), closed AS (
        UPDATE guestcomms_bi.dim_guest AS d SET valid_to = g.valid_from, is_current = false
        FROM guest AS g WHERE g.is_other AND d.tenant_id = g.tenant_id AND d.guest_key = g.guest_key
    ), opened AS (
        INSERT INTO guestcomms_bi.dim_guest (tenant_id, guest_id, segment, locale, timezone, rsvp, valid_from, valid_to, is_current)
        SELECT g.tenant_id, g.guest_id, g.segment, g.locale, g.timezone, g.rsvp, CASE WHEN g.is_other THEN g.valid_from ELSE '-infinity' END, 'infinity', true
        FROM guest AS g WHERE g.is_other OR g.guest_key IS NULL
        ORDER BY g.tenant_id, g.guest_id
    )
    SELECT array_agg(ROW(a.tenant_id, a.message_id)::guestcomms_internal.message_reference ORDER BY a.tenant_id, a.message_id) INTO v_affected
    FROM (
        SELECT f.tenant_id, f.message_id
        FROM guest AS g CROSS JOIN LATERAL (
            SELECT o.tenant_id, o.message_id FROM guestcomms_bi.fact_message AS o
            WHERE o.tenant_id = g.tenant_id AND o.guest_key = g.guest_key AND o.sent_at >= g.valid_from
        ) AS f
        WHERE g.is_other
        UNION
        -- Of those who were erased, all.
        SELECT f.tenant_id, f.message_id
        FROM unnest(load_dimensions.members) AS m
        CROSS JOIN LATERAL (
            SELECT o.tenant_id, o.message_id
            FROM guestcomms_bi.dim_guest AS d
            CROSS JOIN LATERAL (
                SELECT n.tenant_id, n.message_id FROM guestcomms_bi.fact_message AS n WHERE n.tenant_id = d.tenant_id AND n.guest_key = d.guest_key OFFSET 0
            ) AS o
            WHERE d.tenant_id = m.tenant_id AND d.guest_id = m.id AND NOT d.is_erased
        ) AS f
        WHERE m.kind = 'guest'
            AND NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = m.tenant_id AND g.guest_id = m.id AND g.erased_at IS NULL)
    ) AS a;
    RETURN v_affected;
END $$;
COMMENT ON FUNCTION guestcomms_internal.load_dimensions(guestcomms_internal.dimension_member[]) IS
'Brings these members to what they are; returns messages whose facts must refer to another version of their guest.';

CREATE FUNCTION guestcomms_internal.remove_erased_guests(members guestcomms_internal.dimension_member[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    DELETE FROM guestcomms_bi.dim_guest AS d
    USING unnest(remove_erased_guests.members) AS m
    WHERE m.kind = 'guest' AND d.tenant_id = m.tenant_id AND d.guest_id = m.id AND NOT d.is_erased
        AND NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = m.tenant_id AND g.guest_id = m.id AND g.erased_at IS NULL)
        -- One that was erased since the facts were computed has a change of its own that is still to be read.
        AND NOT EXISTS (SELECT FROM guestcomms_bi.fact_message AS f WHERE f.tenant_id = d.tenant_id AND f.guest_key = d.guest_key)
        AND NOT EXISTS (SELECT FROM guestcomms_bi.fact_message_event AS f WHERE f.tenant_id = d.tenant_id AND f.guest_key = d.guest_key)
$$;
COMMENT ON FUNCTION guestcomms_internal.remove_erased_guests(guestcomms_internal.dimension_member[]) IS
'Removes what was known of guests who were erased, once no fact refers to it.';
