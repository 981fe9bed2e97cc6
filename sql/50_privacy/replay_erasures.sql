-- After a restore: a backup knows nothing of who was erased since it was made. The ledger does, kept elsewhere or in a later
-- backup; it is applied before the store opens to applications.
CREATE FUNCTION guestcomms_internal.require_replayed() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT guestcomms_internal.is_open_to_caller() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the store was restored or copied and is not open yet',
            DETAIL = 'Guests who were erased since the backup was made may be in it.',
            HINT = 'An operator applies the ledger of erasures: SELECT * FROM guestcomms.replay_erasures(ledger); until is_complete.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_replayed() IS 'Keeps applications out of a store that was restored or copied until erasures have been applied there.';

CREATE FUNCTION guestcomms_internal.open_gate() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms_internal.erasure_gate AS g
    SET system_identifier = i.system_identifier, database_oid = i.database_oid, opened_at = clock_timestamp(), opened_by = session_user, reached_tenant = NULL, reached_guest = NULL
    FROM guestcomms_internal.current_identity() AS i;
END $$;
COMMENT ON FUNCTION guestcomms_internal.open_gate() IS 'Opens the store to applications where it is now.';

CREATE FUNCTION guestcomms_internal.open_empty_store() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- A copy of a store without a tenant has nobody to erase.
    IF NOT EXISTS (SELECT FROM guestcomms.tenants AS t) THEN
        PERFORM guestcomms_internal.open_gate();
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.open_empty_store() IS 'Before the first tenant of a store comes, it is opened, wherever it was copied from.';

CREATE FUNCTION guestcomms.export_erasure_ledger(since timestamptz DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
BEGIN
    PERFORM guestcomms_internal.record_audit(coalesce(v_tenant, guestcomms_internal.store_level()), 'export_erasure_ledger', 'ledger', jsonb_build_object('since', export_erasure_ledger.since));
    RETURN (
        SELECT coalesce(jsonb_agg(n.entry ORDER BY n.at, n.entry), '[]')
        FROM (
            SELECT jsonb_build_object('kind', 'erasure', 'tenant_id', l.tenant_id, 'key_id', l.key_id, 'hash', encode(l.guest_hash, 'hex'), 'mode', l.mode,
                'is_both_sides', l.is_both_sides, 'at', l.requested_at) AS entry, l.requested_at AS at
            FROM guestcomms.erasure_ledger AS l WHERE v_tenant IS NULL OR l.tenant_id = v_tenant
            UNION ALL
            SELECT jsonb_build_object('kind', 'suppression', 'tenant_id', s.tenant_id, 'key_id', s.key_id, 'hash', encode(s.address_hash, 'hex'), 'channel', s.channel,
                'purpose', s.purpose, 'at', s.objected_at), s.noted_at
            FROM guestcomms.suppressions AS s WHERE v_tenant IS NULL OR s.tenant_id = v_tenant
        ) AS n
        WHERE export_erasure_ledger.since IS NULL OR n.at >= export_erasure_ledger.since);
END $$;
COMMENT ON FUNCTION guestcomms.export_erasure_ledger(timestamptz) IS
$$The ledger of erasures and of the objections that outlive them, as a JSON array to be kept where the backups are, for replay_erasures(): keyed hashes, and nobody's identity. since: only entries from then on. For the current tenant, or, for an operator without one, for all tenants. It leaves an audit entry, so it is for the primary and not for a standby.
Example: SELECT guestcomms.export_erasure_ledger(since => now() - interval '1 day');
See also: replay_erasures, export_erasure_key$$;

CREATE FUNCTION guestcomms_internal.add_ledger(ledger jsonb, has_known_keys_only boolean, OUT erasure_count bigint, OUT suppression_count bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF jsonb_typeof(add_ledger.ledger) <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the ledger is not an array', DETAIL = format('It is of type %s.', jsonb_typeof(add_ledger.ledger)),
            HINT = 'Give what export_erasure_ledger() gave.';
    ELSIF EXISTS (
        SELECT FROM jsonb_array_elements(add_ledger.ledger) AS e (entry)
        WHERE coalesce(NOT (e.entry ->> 'kind' IN ('erasure', 'suppression') AND e.entry ->> 'hash' ~ '^[0-9a-f]{64}$' AND e.entry ->> 'key_id' ~ '^[0-9a-f]{16}$'
            AND e.entry ->> 'tenant_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AND e.entry ->> 'at' ~ '^\d{4}-\d\d-\d\dT'
            AND CASE e.entry ->> 'kind' WHEN 'erasure' THEN e.entry ->> 'mode' IN ('erase', 'anonymize') AND jsonb_typeof(e.entry -> 'is_both_sides') = 'boolean'
                ELSE num_nulls(e.entry ->> 'channel', e.entry ->> 'purpose') = 0 END), true))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'an entry of the ledger is not what it should be',
            HINT = 'Give what export_erasure_ledger() gave, unchanged; parts of it may be joined to one array.';
    END IF;
    INSERT INTO guestcomms.erasure_ledger (tenant_id, key_id, guest_hash, mode, is_both_sides, requested_at)
    SELECT t.tenant_id, e.key_id, decode(e.hash, 'hex'), e.mode, e.is_both_sides, e.at
    FROM jsonb_to_recordset(add_ledger.ledger) AS e (kind text, tenant_id uuid, key_id text, hash text, mode text, is_both_sides boolean, at timestamptz)
    JOIN guestcomms.tenants AS t ON t.tenant_id = e.tenant_id
    WHERE e.kind = 'erasure' AND (NOT add_ledger.has_known_keys_only OR EXISTS (SELECT FROM guestcomms_internal.store_secrets AS k WHERE k.purpose = 'erasures' AND k.key_id = e.key_id))
    ON CONFLICT ON CONSTRAINT erasure_ledger_pkey DO NOTHING;
    GET DIAGNOSTICS erasure_count = ROW_COUNT;
    INSERT INTO guestcomms.suppressions AS s (tenant_id, key_id, address_hash, channel, purpose, objected_at)
    SELECT DISTINCT ON (t.tenant_id, e.channel, e.hash, e.purpose) t.tenant_id, e.key_id, decode(e.hash, 'hex'), e.channel, e.purpose, e.at
    FROM jsonb_to_recordset(add_ledger.ledger) AS e (kind text, tenant_id uuid, key_id text, hash text, channel text, purpose text, at timestamptz)
    JOIN guestcomms.tenants AS t ON t.tenant_id = e.tenant_id
    WHERE e.kind = 'suppression' AND (NOT add_ledger.has_known_keys_only OR EXISTS (SELECT FROM guestcomms_internal.store_secrets AS k WHERE k.purpose = 'erasures' AND k.key_id = e.key_id))
    ORDER BY t.tenant_id, e.channel, e.hash, e.purpose, e.at DESC
    ON CONFLICT ON CONSTRAINT suppressions_pkey DO NOTHING;
    GET DIAGNOSTICS suppression_count = ROW_COUNT;
END $$;
COMMENT ON FUNCTION guestcomms_internal.add_ledger(jsonb, boolean) IS
'Adds entries of a ledger that this store does not have, of the tenants that it has; on demand without those whose key is not here.';

CREATE FUNCTION guestcomms_internal.find_ledgered(tenant_id uuid, after uuid, max_rows integer, OUT reached uuid, OUT ledgered uuid[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
BEGIN
    SELECT (array_agg(g.guest_id ORDER BY g.guest_id DESC))[1], array_agg(g.guest_id) FILTER (WHERE g.erased_at IS NULL AND EXISTS (
        SELECT FROM guestcomms_internal.store_secrets AS k
        JOIN guestcomms.erasure_ledger AS l ON l.tenant_id = g.tenant_id AND l.key_id = k.key_id
            AND l.guest_hash = guestcomms_internal.erasure_hash(k.secret, 'guest', g.tenant_id::text, g.guest_id::text)
        WHERE k.purpose = 'erasures'))
    INTO reached, ledgered
    FROM (SELECT o.tenant_id, o.guest_id, o.erased_at FROM guestcomms.guests AS o
        WHERE o.tenant_id = find_ledgered.tenant_id AND o.guest_id > find_ledgered.after ORDER BY o.guest_id LIMIT find_ledgered.max_rows) AS g;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_ledgered(uuid, uuid, integer) IS 'Of the next guests of a tenant, those whom the ledger has and who are there nevertheless; reached is the last that was looked at.';

CREATE FUNCTION guestcomms_internal.replay_ledgered(tenant_id uuid, guest_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_guest record;
    v_same uuid[];
    v_count bigint := 0;
BEGIN
    FOR v_guest IN
        SELECT i.id, l.mode, l.is_both_sides FROM unnest(replay_ledgered.guest_ids) AS i (id)
        CROSS JOIN LATERAL (
            SELECT o.mode, o.is_both_sides FROM guestcomms_internal.store_secrets AS k
            JOIN guestcomms.erasure_ledger AS o ON o.tenant_id = replay_ledgered.tenant_id AND o.key_id = k.key_id
                AND o.guest_hash = guestcomms_internal.erasure_hash(k.secret, 'guest', replay_ledgered.tenant_id::text, i.id::text)
            WHERE k.purpose = 'erasures' LIMIT 1
        ) AS l
    LOOP
        v_same := guestcomms_internal.same_guests(replay_ledgered.tenant_id, v_guest.id);
        -- Merged ones go with one another.
        CONTINUE WHEN EXISTS (SELECT FROM guestcomms.erasures AS e WHERE e.tenant_id = replay_ledgered.tenant_id AND e.status <> 'done'
            AND e.guest_id = ANY (v_same));
        PERFORM guestcomms_internal.start_erasure(replay_ledgered.tenant_id, v_guest.id, v_guest.mode, v_guest.is_both_sides, true, NULL);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.replay_ledgered(uuid, uuid[]) IS 'Has guests whom the ledger has erased anew; returns how many erasures that begins.';

CREATE FUNCTION guestcomms_internal.suppress_all(tenant_id uuid, guest_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_rows record;
BEGIN
    SELECT array_agg(a.guest_id) AS guest_ids, array_agg(a.channel) AS channels, array_agg(a.address) AS addresses INTO v_rows
    FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = suppress_all.tenant_id AND a.guest_id = ANY (suppress_all.guest_ids)
        AND EXISTS (SELECT FROM guestcomms.suppressions AS s WHERE s.tenant_id = suppress_all.tenant_id);
    RETURN CASE WHEN v_rows.guest_ids IS NULL THEN 0
        ELSE guestcomms_internal.suppress_addresses(suppress_all.tenant_id, v_rows.guest_ids, v_rows.channels, v_rows.addresses) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.suppress_all(uuid, uuid[]) IS 'Records the objections of erased guests for those of these guests who have their addresses.';

CREATE FUNCTION guestcomms_internal.replay_next(max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_gate record;
    v_tenant uuid;
    v_found record;
BEGIN
    SELECT g.reached_tenant, coalesce(g.reached_guest, guestcomms_internal.no_member()) AS reached_guest INTO v_gate FROM guestcomms_internal.erasure_gate AS g FOR UPDATE;
    v_tenant := coalesce(v_gate.reached_tenant, (SELECT t.tenant_id FROM guestcomms.tenants AS t ORDER BY t.tenant_id LIMIT 1));
    IF v_tenant IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT f.reached, f.ledgered INTO v_found FROM guestcomms_internal.find_ledgered(v_tenant, v_gate.reached_guest, replay_next.max_rows) AS f;
    IF v_found.reached IS NULL THEN
        v_tenant := (SELECT t.tenant_id FROM guestcomms.tenants AS t WHERE t.tenant_id > v_tenant ORDER BY t.tenant_id LIMIT 1);
        UPDATE guestcomms_internal.erasure_gate AS g SET reached_tenant = v_tenant, reached_guest = NULL;
        RETURN CASE WHEN v_tenant IS NOT NULL THEN 0 END;
    END IF;
    PERFORM guestcomms_internal.suppress_all(v_tenant, ARRAY(SELECT o.guest_id FROM guestcomms.guests AS o
        WHERE o.tenant_id = v_tenant AND o.guest_id > v_gate.reached_guest AND o.guest_id <= v_found.reached));
    UPDATE guestcomms_internal.erasure_gate AS g SET reached_tenant = v_tenant, reached_guest = v_found.reached;
    RETURN guestcomms_internal.replay_ledgered(v_tenant, v_found.ledgered);
END $$;
COMMENT ON FUNCTION guestcomms_internal.replay_next(integer) IS 'Compares the next guests with the ledger; returns how many erasures that began, NULL where all have been compared.';

CREATE FUNCTION guestcomms.replay_erasures(ledger jsonb DEFAULT NULL, ignore_lost_key boolean DEFAULT false, time_budget interval DEFAULT '20 seconds')
RETURNS TABLE (added_erasures bigint, added_suppressions bigint, begun_erasures bigint, open_erasures bigint, held_erasures bigint, is_complete boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_until timestamptz := clock_timestamp() + coalesce(replay_erasures.time_budget, interval '20 seconds');
    v_missing text[];
    v_begun bigint;
    v_erasure record;
    v_more boolean;
BEGIN
    SELECT a.erasure_count, a.suppression_count INTO added_erasures, added_suppressions
    FROM guestcomms_internal.add_ledger(coalesce(replay_erasures.ledger, '[]'), coalesce(replay_erasures.ignore_lost_key, false)) AS a;
    v_missing := guestcomms_internal.missing_erasure_keys();
    IF cardinality(v_missing) > 0 AND NOT coalesce(replay_erasures.ignore_lost_key, false) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the ledger was made with a key that this store does not have',
            DETAIL = format('Fingerprint %s.', array_to_string(v_missing, ', ')),
            HINT = 'SELECT guestcomms.restore_erasure_key(key); with what export_erasure_key() gave. If it is lost for good, ignore_lost_key => true opens the store without those entries.';
    END IF;
    -- Those whose counts must follow come first, while this transaction has changed nothing that is counted.
    FOR v_erasure IN SELECT e.tenant_id, e.erasure_id FROM guestcomms.erasures AS e WHERE e.status = 'running' AND e.stage = 'statistics' ORDER BY e.requested_at, e.erasure_id LOOP
        LOOP
            v_more := guestcomms_internal.step_erasure(v_erasure.tenant_id, v_erasure.erasure_id);
            EXIT WHEN v_more IS NOT TRUE OR clock_timestamp() > v_until
                OR NOT EXISTS (SELECT FROM guestcomms.erasures AS e WHERE e.tenant_id = v_erasure.tenant_id AND e.erasure_id = v_erasure.erasure_id AND e.stage = 'statistics');
        END LOOP;
        EXIT WHEN clock_timestamp() > v_until;
    END LOOP;
    begun_erasures := 0;
    v_begun := 0;
    WHILE v_begun IS NOT NULL AND clock_timestamp() < v_until LOOP
        v_begun := guestcomms_internal.replay_next(10000);
        begun_erasures := begun_erasures + coalesce(v_begun, 0);
    END LOOP;
    FOR v_erasure IN SELECT e.tenant_id, e.erasure_id FROM guestcomms.erasures AS e WHERE e.status = 'running' ORDER BY e.requested_at, e.erasure_id LOOP
        LOOP
            v_more := guestcomms_internal.step_erasure(v_erasure.tenant_id, v_erasure.erasure_id);
            EXIT WHEN v_more IS NOT TRUE OR clock_timestamp() > v_until;
        END LOOP;
        EXIT WHEN clock_timestamp() > v_until;
    END LOOP;
    SELECT count(*) FILTER (WHERE e.status = 'running'), count(*) FILTER (WHERE e.status = 'held') INTO open_erasures, held_erasures FROM guestcomms.erasures AS e WHERE e.status <> 'done';
    is_complete := v_begun IS NULL AND open_erasures = 0;
    IF is_complete THEN
        PERFORM guestcomms_internal.open_gate();
    ELSE
        PERFORM guestcomms.request_job('erase_guests', 'replay_erasures');
    END IF;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'replay_erasures', 'store', jsonb_build_object('added_erasures', added_erasures,
        'added_suppressions', added_suppressions, 'begun_erasures', begun_erasures, 'open_erasures', open_erasures, 'is_complete', is_complete, 'missing_keys', v_missing));
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION guestcomms.replay_erasures(jsonb, boolean, interval) IS
$$After a restore from a backup: adds the entries of a ledger of export_erasure_ledger(), erases anew every guest whom the ledger has and the backup brought back, and records the objections of the erased for their addresses. Of the whole store, whichever tenant is open; works for as long as time_budget and is called again, each in a transaction of its own, until is_complete; then the store is open to applications. open_erasures are still being done, held_erasures wait for the end of a hold. For operators alone, since it decides for every business. A ledger whose key is not here is an error: restore_erasure_key(), or, if the key is lost for good, ignore_lost_key. Again it does nothing.
Example: SELECT is_complete FROM guestcomms.replay_erasures();
See also: export_erasure_ledger, restore_erasure_key, erase_guest$$;
