-- What a run would do, without doing it.
CREATE FUNCTION guestcomms_internal.trial_pack(tenant_id uuid, message_ids uuid[], codec text, OUT message_count bigint, OUT stored_bytes bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_dictionary record;
BEGIN
    SELECT d.dictionary_id, extract(epoch FROM now() - d.created_at) / 86400 AS age INTO v_dictionary
    FROM guestcomms.archive_dictionaries AS d WHERE d.tenant_id = trial_pack.tenant_id ORDER BY d.version_number DESC LIMIT 1;
    -- The payload; the row's other columns and its stems, which compress to about two thirds; keys and stems in the index.
    SELECT sum(s.message_count), sum(octet_length(s.payload) + 420 + 50 * s.message_count + 0.65 * octet_length(s.lexemes) + 4 * s.lexeme_count)
    INTO message_count, stored_bytes
    FROM (
        SELECT p.payload, json_array_length(p.content -> 'messages') AS message_count, string_agg(DISTINCT l.lexeme, '     ') AS lexemes, count(DISTINCT l.lexeme) AS lexeme_count
        FROM unnest(guestcomms_internal.message_contents(trial_pack.tenant_id, trial_pack.message_ids)) AS g
        CROSS JOIN LATERAL guestcomms_internal.pack_segments(trial_pack.tenant_id, g.guest_id, ARRAY[g.content], v_dictionary.dictionary_id, v_dictionary.age, trial_pack.codec,
            guestcomms_internal.settings_of('archive', trial_pack.tenant_id)) WITH ORDINALITY AS p (content, codec, level, dictionary_id, plain_bytes, predicted_bytes, plain_sha256,
            stored_sha256, payload, trials, number)
        CROSS JOIN LATERAL guestcomms_internal.content_messages(trial_pack.tenant_id, g.guest_id, p.content) AS m
        LEFT JOIN LATERAL unnest(m.search) AS l ON true
        GROUP BY g.guest_id, p.number, p.payload, p.content::text, json_array_length(p.content -> 'messages')
    ) AS s;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trial_pack(uuid, uuid[], text) IS 'About how many bytes some messages would take in the archive; nothing is stored.';

CREATE FUNCTION guestcomms.preview_archive()
RETURNS TABLE (policy_name text, is_enabled boolean, message_count bigint, event_count bigint, guest_count bigint, oldest_at timestamptz, newest_at timestamptz, hot_bytes bigint,
    archived_bytes bigint, saved_bytes bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_policy record;
    v_guests uuid[] := ARRAY(SELECT g.guest_id FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant);
    v_ids uuid[];
    v_earlier uuid[] := ARRAY[]::uuid[];   -- what enabled policies before move
    v_sample uuid[];
    v_packed record;
    v_index_bytes numeric;
    v_event_bytes numeric;
BEGIN
    -- What an index entry, and an event, takes, over all that there are.
    SELECT coalesce(sum(pg_indexes_size(t.relid)) / nullif(sum(greatest(c.reltuples, 0))::numeric, 0), 350) INTO v_index_bytes
    FROM pg_partition_tree('guestcomms.messages') AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid WHERE t.isleaf;
    SELECT coalesce(sum(pg_total_relation_size(t.relid)) / nullif(sum(greatest(c.reltuples, 0))::numeric, 0), 300) INTO v_event_bytes
    FROM pg_partition_tree('guestcomms.message_events') AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relid WHERE t.isleaf;
    FOR v_policy IN SELECT p.policy_id, p.name, p.codec, p.is_enabled FROM guestcomms.archive_policies AS p WHERE p.tenant_id = v_tenant ORDER BY p.is_enabled DESC, p.name LOOP
        WITH eligible AS MATERIALIZED (
            SELECT e.* FROM guestcomms_internal.list_eligible(v_tenant, v_policy.policy_id, guestcomms_internal.policy_cutoff(v_tenant, v_policy.policy_id), v_guests, NULL) AS e
        ), moved AS MATERIALIZED (
            SELECT e.* FROM eligible AS e WHERE NOT EXISTS (SELECT FROM unnest(v_earlier) AS o (message_id) WHERE o.message_id = e.message_id)
        )
        SELECT count(*), count(DISTINCT m.guest_id), min(m.sent_at), max(m.sent_at), coalesce(sum(m.row_bytes + 28), 0)::bigint, coalesce(array_agg(m.message_id), '{}'),
            -- Of some guests, by whom the compression is tried.
            (array_agg(m.message_id) FILTER (WHERE m.guest_id IN (SELECT o.guest_id FROM moved AS o GROUP BY o.guest_id ORDER BY md5(o.guest_id::text) LIMIT 10)))[1:400]
        INTO message_count, guest_count, oldest_at, newest_at, hot_bytes, v_ids, v_sample
        FROM moved AS m;
        SELECT count(*) INTO event_count FROM guestcomms.message_events AS e WHERE e.tenant_id = v_tenant AND e.message_id = ANY (v_ids);
        SELECT t.message_count, t.stored_bytes INTO v_packed FROM guestcomms_internal.trial_pack(v_tenant, coalesce(v_sample, '{}'), v_policy.codec) AS t;
        policy_name := v_policy.name;
        is_enabled := v_policy.is_enabled;
        hot_bytes := hot_bytes + (message_count * v_index_bytes + event_count * v_event_bytes)::bigint;
        archived_bytes := coalesce(v_packed.stored_bytes * message_count / v_packed.message_count, 0);
        saved_bytes := hot_bytes - archived_bytes;
        IF v_policy.is_enabled THEN
            v_earlier := v_earlier || v_ids;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.preview_archive() IS
$$What the current tenant's archive policies would move if a run came to its end at this moment, policy by policy: exactly how many messages, events and guests, and, estimated, the bytes that these take in the hot tables with their indexes, those they would take in the archive (from a trial of some), and the difference. What an enabled policy before it moves is not counted again; one that is not enabled is listed with what it would move if it were. Moves nothing.
Example: SELECT policy_name, message_count, pg_size_pretty(saved_bytes) FROM guestcomms.preview_archive();
See also: add_archive_policy, run_archive$$;
