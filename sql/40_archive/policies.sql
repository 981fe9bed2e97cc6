-- Policies: which messages a run moves.
CREATE FUNCTION guestcomms.add_archive_policy(
    name text, older_than interval DEFAULT NULL, larger_than bigint DEFAULT NULL, inactive_for interval DEFAULT NULL, channels text[] DEFAULT NULL,
    keep_last integer DEFAULT 0, codec text DEFAULT 'auto', is_enabled boolean DEFAULT true
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_policy uuid;
BEGIN
    IF coalesce(char_length(add_archive_policy.name), 0) NOT BETWEEN 1 AND 200
        OR num_nonnulls(add_archive_policy.older_than, add_archive_policy.larger_than, add_archive_policy.inactive_for) = 0
        OR add_archive_policy.older_than < interval '0' OR add_archive_policy.inactive_for < interval '0' OR add_archive_policy.larger_than < 0
        OR coalesce(add_archive_policy.keep_last NOT BETWEEN 0 AND 1000, true)
        OR coalesce(add_archive_policy.codec NOT IN ('auto', 'zstd_dict', 'zstd', 'gzip', 'stored'), true)
        OR NOT coalesce(add_archive_policy.channels, '{}') <@ '{email,sms,whatsapp,chat}' OR cardinality(add_archive_policy.channels) = 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the policy is not valid',
            DETAIL = 'It has a name of at most 200 characters and at least one of older_than, larger_than (bytes) and inactive_for, none of them negative; keep_last is from 0 to 1000;'
                ' channels are of email, sms, whatsapp, chat; codec is auto, zstd_dict, zstd, gzip or stored.',
            HINT = 'SELECT guestcomms.add_archive_policy(''a year'', older_than => ''1 year'');';
    END IF;
    -- A name that is there is given these values, and its sweep begins anew: so that a deployment may run twice.
    INSERT INTO guestcomms.archive_policies AS p (tenant_id, name, older_than, larger_than, inactive_for, channels, keep_last, codec, is_enabled)
    VALUES (v_tenant, add_archive_policy.name, add_archive_policy.older_than, add_archive_policy.larger_than, add_archive_policy.inactive_for,
        add_archive_policy.channels, add_archive_policy.keep_last, add_archive_policy.codec, coalesce(add_archive_policy.is_enabled, true))
    ON CONFLICT ON CONSTRAINT archive_policies_name_key DO UPDATE
    SET older_than = excluded.older_than, larger_than = excluded.larger_than, inactive_for = excluded.inactive_for, channels = excluded.channels,
        keep_last = excluded.keep_last, codec = excluded.codec, is_enabled = excluded.is_enabled, cutoff_at = NULL, reached_at = NULL, reached_id = NULL
    RETURNING p.policy_id INTO v_policy;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'add_archive_policy', 'archive policy ' || v_policy, jsonb_strip_nulls(jsonb_build_object(
        'older_than', add_archive_policy.older_than, 'larger_than', add_archive_policy.larger_than, 'inactive_for', add_archive_policy.inactive_for,
        'channels', add_archive_policy.channels, 'keep_last', add_archive_policy.keep_last, 'codec', add_archive_policy.codec, 'is_enabled', add_archive_policy.is_enabled)));
    RETURN v_policy;
END $$;
COMMENT ON FUNCTION guestcomms.add_archive_policy(text, interval, bigint, interval, text[], integer, text, boolean) IS
$$Has old messages of the current tenant moved into the archive and returns policy_id; a policy of that name is given these values. All criteria named must hold: sent before older_than ago; the tenant's hot messages and events take more than larger_than bytes (then the oldest go, until they do not); nothing was written in the conversation for inactive_for. channels limits it to some, keep_last keeps so many newest messages of every conversation. codec: auto (predicted for every segment), or zstd_dict, zstd, gzip, stored. Messages waiting to be sent and those under a hold that blocks archiving stay.
Example: SELECT guestcomms.add_archive_policy('after a year', older_than => '1 year', keep_last => 1);
See also: preview_archive, run_archive, list_archive_policies, remove_archive_policy, place_hold$$;

CREATE FUNCTION guestcomms.remove_archive_policy(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_policy uuid;
BEGIN
    DELETE FROM guestcomms.archive_policies AS p WHERE p.tenant_id = v_tenant AND p.name = remove_archive_policy.name RETURNING p.policy_id INTO v_policy;
    IF v_policy IS NULL THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'remove_archive_policy', 'archive policy ' || v_policy);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_archive_policy(text) IS
$$Removes a policy of the current tenant; false where there is none of that name. What was archived by it stays archived.
Example: SELECT guestcomms.remove_archive_policy('after a year');
See also: add_archive_policy, list_archive_policies, restore_messages$$;

CREATE FUNCTION guestcomms.list_archive_policies()
RETURNS TABLE (policy_id uuid, name text, older_than interval, larger_than bigint, inactive_for interval, channels text[], keep_last integer, codec text,
    is_enabled boolean, created_at timestamptz, ran_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT p.policy_id, p.name, p.older_than, p.larger_than, p.inactive_for, p.channels, p.keep_last, p.codec, p.is_enabled, p.created_at, p.ran_at
    FROM guestcomms.archive_policies AS p WHERE p.tenant_id = v_tenant ORDER BY p.name;
END $$;
COMMENT ON FUNCTION guestcomms.list_archive_policies() IS
$$The current tenant's archive policies, and when a run last followed each.
Example: SELECT name, older_than, is_enabled, ran_at FROM guestcomms.list_archive_policies();
See also: add_archive_policy, preview_archive$$;

CREATE FUNCTION guestcomms_internal.list_eligible(tenant_id uuid, policy_id uuid, cutoff timestamptz, guest_ids uuid[], max_rows bigint)
RETURNS TABLE (message_id uuid, sent_at timestamptz, guest_id uuid, row_bytes integer)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    -- Planned once a session: over many months that takes longer than what is asked.
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_policy guestcomms.archive_policies;
    v_active_since timestamptz;
    v_has_holds boolean := EXISTS (SELECT FROM guestcomms.legal_holds AS h WHERE h.tenant_id = list_eligible.tenant_id AND h.blocks_archiving AND h.released_at IS NULL);
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.archive_policies AS p WHERE p.tenant_id = list_eligible.tenant_id AND p.policy_id = list_eligible.policy_id;
    v_active_since := now() - v_policy.inactive_for;
    RETURN QUERY
    SELECT e.message_id, e.sent_at, g.guest_id, e.row_bytes
    FROM unnest(list_eligible.guest_ids) WITH ORDINALITY AS g (guest_id, number)
    CROSS JOIN LATERAL (
        SELECT m.message_id, m.sent_at, pg_column_size(m.*) AS row_bytes FROM guestcomms.messages AS m
        WHERE m.tenant_id = list_eligible.tenant_id AND m.guest_id = g.guest_id AND m.sent_at < list_eligible.cutoff AND m.status <> 'queued'
            AND (v_policy.channels IS NULL OR m.channel = ANY (v_policy.channels))
            -- In order, and from both sides bounded to the one conversation, or the planner may walk through all of the tenant's.
            AND (v_active_since IS NULL OR (SELECT true FROM guestcomms.messages AS n
                WHERE n.tenant_id = list_eligible.tenant_id AND n.thread_id >= m.thread_id AND n.thread_id <= m.thread_id AND n.sent_at >= v_active_since
                ORDER BY n.thread_id, n.sent_at LIMIT 1) IS NULL
                -- Nor one that another policy has moved since.
                AND (SELECT true FROM guestcomms.archive_segments AS s
                    WHERE s.tenant_id = list_eligible.tenant_id AND s.guest_id = g.guest_id AND s.last_sent_at >= v_active_since
                        AND s.thread_ids @> ARRAY[m.thread_id] LIMIT 1) IS NULL)
            AND (v_policy.keep_last = 0 OR v_policy.keep_last <= (SELECT count(*) FROM (SELECT FROM guestcomms.messages AS n
                WHERE n.tenant_id = list_eligible.tenant_id AND n.thread_id >= m.thread_id AND n.thread_id <= m.thread_id AND n.sent_at >= m.sent_at
                    AND (n.sent_at, n.message_id) > (m.sent_at, m.message_id)
                ORDER BY n.thread_id, n.sent_at LIMIT v_policy.keep_last) AS n))
            AND NOT (v_has_holds AND guestcomms_internal.is_held(list_eligible.tenant_id, m.guest_id, m.thread_id, m.wedding_id, m.sent_at, true))
        ORDER BY m.sent_at, m.message_id LIMIT list_eligible.max_rows
    ) AS e
    ORDER BY g.number, e.sent_at, e.message_id LIMIT list_eligible.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_eligible(uuid, uuid, timestamptz, uuid[], bigint) IS
'The messages of these guests that a policy moves, guest by guest, the oldest first, with the bytes of their rows.';

CREATE FUNCTION guestcomms_internal.hot_size(tenant_id uuid, OUT message_count bigint, OUT byte_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    -- By their rows, for files do not shrink when rows leave. Beside a row come 28 bytes of header and pointer and its entries in
    -- the indexes: of a message about 400 bytes, of an event about 160.
    SELECT count(*), coalesce(sum(pg_column_size(m.*) + 428), 0) INTO message_count, byte_count
    FROM guestcomms.messages AS m WHERE m.tenant_id = hot_size.tenant_id;
    byte_count := byte_count + (SELECT coalesce(sum(pg_column_size(e.*) + 188), 0) FROM guestcomms.message_events AS e WHERE e.tenant_id = hot_size.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.hot_size(uuid) IS 'Messages of a tenant in the hot tables, and about how many bytes these and their events take with their indexes.';

CREATE FUNCTION guestcomms_internal.policy_cutoff(tenant_id uuid, policy_id uuid) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_policy guestcomms.archive_policies;
    v_size record;
    v_cutoff timestamptz;
BEGIN
    SELECT p.* INTO v_policy FROM guestcomms.archive_policies AS p WHERE p.tenant_id = policy_cutoff.tenant_id AND p.policy_id = policy_cutoff.policy_id;
    IF v_policy.larger_than IS NOT NULL THEN
        SELECT s.message_count, s.byte_count INTO v_size FROM guestcomms_internal.hot_size(policy_cutoff.tenant_id) AS s;
        IF v_size.byte_count <= v_policy.larger_than THEN
            RETURN '-infinity'::timestamptz;
        END IF;
        SELECT m.sent_at INTO v_cutoff FROM guestcomms.messages AS m WHERE m.tenant_id = policy_cutoff.tenant_id
        ORDER BY m.sent_at, m.message_id
        OFFSET ceil(v_size.message_count * (1 - v_policy.larger_than / v_size.byte_count::numeric))::bigint LIMIT 1;
        v_cutoff := coalesce(v_cutoff, 'infinity');
    END IF;
    RETURN least(v_cutoff, now() - v_policy.older_than, now() - v_policy.inactive_for);
END $$;
COMMENT ON FUNCTION guestcomms_internal.policy_cutoff(uuid, uuid) IS 'No message sent from then on is moved by the policy.';
