-- How many match, and of which kinds: counted one by one up to a bound, estimated beyond it.
CREATE FUNCTION guestcomms_internal.count_stage(
    tenant_id uuid, query text, since timestamptz, until timestamptz, filters jsonb,
    OUT message_ids uuid[], OUT times timestamptz[], OUT archived guestcomms_internal.archived_message[], OUT estimate bigint, OUT is_exact boolean, OUT stage text
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_parameters jsonb := guestcomms_internal.settings_of('search', count_stage.tenant_id);
    v_limit integer := (v_parameters ->> 'count_limit')::integer;
    v_found guestcomms_internal.search_result;
    v_total bigint;
    v_newer bigint;
    v_oldest timestamptz;
BEGIN
    -- By time: then any word counts only where no message holds all.
    v_found := guestcomms_internal.collect_candidates(count_stage.tenant_id, query, ROW(since, until, NULL, NULL)::guestcomms_internal.search_range,
        guestcomms_internal.parameter_filters(count_stage.tenant_id, filters), 'recent', false, v_parameters || jsonb_build_object('candidate_limit', v_limit, 'include_archived', true), NULL);
    SELECT array_agg(c.message_id ORDER BY c.sent_at DESC, c.message_id DESC), array_agg(c.sent_at ORDER BY c.sent_at DESC, c.message_id DESC),
        min(c.sent_at)
    INTO message_ids, times, v_oldest
    FROM unnest(v_found.candidates) AS c;
    archived := ARRAY(SELECT a FROM unnest(v_found.archived) AS a WHERE a.message_id = ANY (message_ids));
    message_ids := coalesce(message_ids, '{}');
    stage := guestcomms_internal.stage_name((SELECT max(c.stage) FROM unnest(v_found.candidates) AS c));
    is_exact := NOT v_found.is_truncated AND v_found.has_more_segments IS NOT TRUE;
    estimate := cardinality(message_ids);
    IF NOT is_exact THEN
        -- As often among the older messages of the range as among the newer that were read.
        SELECT sum(m.message_count),
            sum(m.message_count) FILTER (WHERE m.month::timestamp AT TIME ZONE 'UTC' >= date_trunc('month', v_oldest, 'UTC'))
        INTO v_total, v_newer
        FROM guestcomms.search_months AS m
        WHERE m.tenant_id = count_stage.tenant_id AND (count_stage.until IS NULL OR m.month::timestamp AT TIME ZONE 'UTC' < count_stage.until)
            AND (count_stage.since IS NULL OR m.month::timestamp AT TIME ZONE 'UTC' >= date_trunc('month', count_stage.since, 'UTC'));
        estimate := greatest(estimate, round(estimate * coalesce(v_total::numeric / nullif(v_newer, 0), 1)));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_stage(uuid, text, timestamptz, timestamptz, jsonb) IS
'The newest matches up to search.count_limit, and how many there are in all.';

CREATE FUNCTION guestcomms.count_matches(
    query text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, channel text DEFAULT NULL, direction text DEFAULT NULL, campaign_id uuid DEFAULT NULL,
    OUT message_count bigint, OUT is_exact boolean, OUT stage text
)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT c.estimate, c.is_exact, c.stage
    FROM guestcomms_internal.count_stage(guestcomms.current_tenant(), $1, $2, $3,
        jsonb_strip_nulls(jsonb_build_object('guest_id', $4, 'thread_id', $5, 'wedding_id', $6, 'channel', $7, 'direction', $8, 'campaign_id', $9))) AS c
$$;
COMMENT ON FUNCTION guestcomms.count_matches(text, timestamptz, timestamptz, uuid, uuid, uuid, text, text, uuid) IS
$$How many messages of the current tenant match a query: counted up to search.count_limit (is_exact), beyond that estimated from the newest. stage is "any word" where no message holds all words.
Example: SELECT * FROM guestcomms.count_matches('parking', channel => 'sms');
See also: search_messages, search_facets$$;

CREATE FUNCTION guestcomms.search_facets(
    query text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, channel text DEFAULT NULL, direction text DEFAULT NULL, campaign_id uuid DEFAULT NULL
) RETURNS TABLE (facet text, value text, label text, message_count bigint, is_exact boolean)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 40 SET search_path FROM CURRENT
AS $$
    WITH tenant AS MATERIALIZED (
        SELECT t.tenant_id, t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = guestcomms.current_tenant()
    ), found AS MATERIALIZED (
        SELECT c.* FROM tenant AS t CROSS JOIN LATERAL guestcomms_internal.count_stage(t.tenant_id, $1, $2, $3,
            jsonb_strip_nulls(jsonb_build_object('guest_id', $4, 'thread_id', $5, 'wedding_id', $6, 'channel', $7, 'direction', $8, 'campaign_id', $9))) AS c
    ), matching AS (
        SELECT m.channel, m.direction, m.wedding_id, m.campaign_id, to_char(m.sent_at AT TIME ZONE t.timezone, 'YYYY-MM') AS month
        FROM tenant AS t CROSS JOIN found AS f CROSS JOIN LATERAL unnest(f.message_ids, f.times) AS u (message_id, sent_at)
        JOIN guestcomms.messages AS m ON m.tenant_id = t.tenant_id AND m.message_id = u.message_id AND m.sent_at = u.sent_at
        UNION ALL
        SELECT a.channel, a.direction, a.wedding_id, a.campaign_id, to_char(a.sent_at AT TIME ZONE t.timezone, 'YYYY-MM')
        FROM tenant AS t CROSS JOIN found AS f CROSS JOIN LATERAL unnest(f.archived) AS a
    ), counted AS (
        SELECT k.facet, k.value, count(*) AS message_count,
            row_number() OVER (PARTITION BY k.facet ORDER BY CASE k.facet WHEN 'month' THEN k.value END DESC, count(*) DESC, k.value) AS place
        FROM matching AS m
        CROSS JOIN LATERAL (VALUES ('channel', m.channel), ('direction', m.direction), ('month', m.month),
            ('campaign', m.campaign_id::text), ('wedding', m.wedding_id::text)) AS k (facet, value)
        WHERE k.value IS NOT NULL
        GROUP BY k.facet, k.value
    )
    SELECT c.facet, c.value, CASE c.facet
            WHEN 'campaign' THEN (SELECT n.name FROM guestcomms.campaigns AS n WHERE n.tenant_id = t.tenant_id AND n.campaign_id = c.value::uuid)
            WHEN 'wedding' THEN (SELECT n.name FROM guestcomms.weddings AS n WHERE n.tenant_id = t.tenant_id AND n.wedding_id = c.value::uuid)
            ELSE c.value END,
        c.message_count, f.is_exact
    FROM counted AS c CROSS JOIN found AS f CROSS JOIN tenant AS t
    WHERE c.place <= 24
    ORDER BY c.facet, c.place
$$;
COMMENT ON FUNCTION guestcomms.search_facets(text, timestamptz, timestamptz, uuid, uuid, uuid, text, text, uuid) IS
$$The matches of a query by channel, direction, month (in the tenant's time zone), campaign and wedding, at most 24 values each. Of more than search.count_limit matches the newest are counted and is_exact is false.
Example: SELECT facet, label, message_count FROM guestcomms.search_facets('parking');
See also: search_messages, count_matches$$;
