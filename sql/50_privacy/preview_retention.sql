-- What a run would remove, without removing it; and what it would at a later time.
CREATE FUNCTION guestcomms_internal.next_expiry(tenant_id uuid, policy_id uuid, step text, cutoff timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_policy guestcomms.retention_policies;
    v_at timestamptz;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.retention_policies AS p WHERE p.tenant_id = next_expiry.tenant_id AND p.policy_id = next_expiry.policy_id;
    IF v_policy.counts_from = 'wedding' THEN
        SELECT min(d.day) INTO v_at
        FROM guestcomms.weddings AS w CROSS JOIN LATERAL (SELECT guestcomms_internal.wedding_day(w.tenant_id, w.wedding_id) AS day) AS d
        WHERE w.tenant_id = next_expiry.tenant_id AND d.day >= next_expiry.cutoff;
    ELSIF next_expiry.step = 'messages' THEN
        SELECT m.sent_at INTO v_at FROM guestcomms.messages AS m
        WHERE m.tenant_id = next_expiry.tenant_id AND m.sent_at >= next_expiry.cutoff AND m.status <> 'queued' AND (v_policy.channels IS NULL OR m.channel = ANY (v_policy.channels))
        ORDER BY m.sent_at LIMIT 1;
    ELSIF next_expiry.step = 'archive' THEN
        SELECT min(guestcomms.uuid_v7_time(i.id)) INTO v_at
        FROM guestcomms.archive_segments AS s CROSS JOIN LATERAL unnest(s.message_ids) AS i (id)
        WHERE s.tenant_id = next_expiry.tenant_id AND s.last_sent_at >= next_expiry.cutoff AND guestcomms.uuid_v7_time(i.id) >= next_expiry.cutoff;
    ELSE
        SELECT min(r.at) INTO v_at FROM guestcomms_internal.list_retention_rows(next_expiry.tenant_id, next_expiry.policy_id, next_expiry.step, next_expiry.cutoff) AS r
        WHERE r.at >= next_expiry.cutoff AND r.state = 'kept';
    END IF;
    RETURN (SELECT (v_at AT TIME ZONE t.timezone + v_policy.keep_for) AT TIME ZONE t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = next_expiry.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.next_expiry(uuid, uuid, text, timestamptz) IS 'When the next row of a step may be old enough; NULL where none is to come that is there now.';

CREATE FUNCTION guestcomms.preview_retention(as_of timestamptz DEFAULT NULL)
RETURNS TABLE (policy_name text, retention_class text, is_enabled boolean, step text, cutoff_at timestamptz, row_count bigint, held_count bigint, oldest_at timestamptz,
    newest_at timestamptz, next_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_policy record;
BEGIN
    FOR v_policy IN
        SELECT p.policy_id, p.name, p.retention_class, p.is_enabled, p.keep_for, e.steps
        FROM guestcomms.retention_policies AS p JOIN guestcomms_internal.retention_effects() AS e ON e.retention_class = p.retention_class
        WHERE p.tenant_id = v_tenant ORDER BY p.name
    LOOP
        policy_name := v_policy.name;
        retention_class := v_policy.retention_class;
        is_enabled := v_policy.is_enabled;
        cutoff_at := guestcomms_internal.retention_cutoff(v_tenant, v_policy.keep_for, coalesce(preview_retention.as_of, now()));
        FOREACH step IN ARRAY v_policy.steps LOOP
            SELECT coalesce(sum(coalesce(cardinality(r.message_ids), 1)) FILTER (WHERE r.state = 'expired'), 0), coalesce(sum(r.held_count), 0),
                min(r.at) FILTER (WHERE r.state = 'expired'), max(r.at) FILTER (WHERE r.state = 'expired')
            INTO row_count, held_count, oldest_at, newest_at
            FROM guestcomms_internal.list_retention_rows(v_tenant, v_policy.policy_id, step, cutoff_at) AS r;
            next_at := guestcomms_internal.next_expiry(v_tenant, v_policy.policy_id, step, cutoff_at);
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.preview_retention(timestamptz) IS
$$What a run would remove now, or at a later time with what is there now, policy by policy and step by step: exactly how many rows (messages, in the steps messages and archive), how many stay only because of a hold, a restriction, an open request or an objection, of when the oldest and the newest are, and when the next may be old enough. Each policy and step is counted as if it were alone: conversations and guests that become empty by the same run come with the next. A policy that is not enabled is listed with what it would remove if it were. Removes nothing; runs on a replica.
Example: SELECT policy_name, step, row_count, held_count, next_at FROM guestcomms.preview_retention(as_of => now() + interval '1 month');
See also: run_retention, add_retention_policy, list_retention_runs$$;
