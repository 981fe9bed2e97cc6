-- Audit trail. Writers append unsealed entries and touch no shared row; a job chains them in order.
CREATE FUNCTION guestcomms_internal.record_audit(tenant_id uuid, action text, object text, content jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_at timestamptz := clock_timestamp();
    v_entry uuid := guestcomms.uuid_v7(v_at);
    v_salt bytea := guestcomms_internal.random_bytes(16);
BEGIN
    INSERT INTO guestcomms.audit_entries (tenant_id, entry_id, occurred_at, actor, acting_role, action, object, commitment)
    VALUES (record_audit.tenant_id, v_entry, v_at, session_user, guestcomms_internal.acting_role(), record_audit.action, record_audit.object,
        sha256(v_salt || convert_to(record_audit.content::text, 'UTF8')));
    IF record_audit.content IS NOT NULL THEN
        INSERT INTO guestcomms.audit_contents (tenant_id, entry_id, salt, content)
        VALUES (record_audit.tenant_id, v_entry, v_salt, record_audit.content);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.record_audit(uuid, text, text, jsonb) IS
'Appends an unsealed audit entry; content goes to a row of its own that can be erased.';

CREATE FUNCTION guestcomms_internal.length_prefixed(VARIADIC fields bytea[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- Without lengths, two different lists of fields could give the same bytes; NULL differs from empty by its length -1.
    SELECT string_agg(int4send(coalesce(octet_length(f.field), -1)) || coalesce(f.field, ''), ''::bytea ORDER BY f.place)
    FROM unnest(fields) WITH ORDINALITY AS f (field, place)
$$;
COMMENT ON FUNCTION guestcomms_internal.length_prefixed(bytea[]) IS 'Fields joined, each behind its length.';

CREATE FUNCTION guestcomms_internal.audit_hash(
    tenant_id uuid, sequence bigint, entry_id uuid, occurred_at timestamptz, actor text, acting_role text,
    action text, object text, commitment bytea, previous_hash bytea
) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT sha256(guestcomms_internal.length_prefixed(
        uuid_send(tenant_id), int8send(sequence), uuid_send(entry_id), timestamptz_send(occurred_at),
        convert_to(actor, 'UTF8'), convert_to(acting_role, 'UTF8'), convert_to(action, 'UTF8'),
        convert_to(object, 'UTF8'), commitment, previous_hash))
$$;
COMMENT ON FUNCTION guestcomms_internal.audit_hash(uuid, bigint, uuid, timestamptz, text, text, text, text, bytea, bytea) IS
'entry_hash of an audit entry at its place in the chain.';

CREATE FUNCTION guestcomms.seal_audit_trail(max_rows integer DEFAULT 10000) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_entry guestcomms.audit_entries;
    v_head guestcomms.audit_heads;
    v_sealed integer := 0;
BEGIN
    -- One sealer at a time: two would give the same place in a chain to different entries.
    PERFORM pg_advisory_xact_lock(hashtextextended('guestcomms.seal_audit_trail', 0));
    FOR v_entry IN
        SELECT * FROM guestcomms.audit_entries AS e WHERE e.sequence IS NULL
        ORDER BY e.tenant_id, e.entry_id LIMIT seal_audit_trail.max_rows
    LOOP
        IF v_head.tenant_id IS DISTINCT FROM v_entry.tenant_id THEN
            SELECT * INTO v_head FROM guestcomms.audit_heads AS h WHERE h.tenant_id = v_entry.tenant_id;
            IF NOT FOUND THEN
                v_head := ROW(v_entry.tenant_id, 0, '\x'::bytea, now());
            END IF;
        END IF;
        v_entry.previous_hash := v_head.entry_hash;
        v_head.sequence := v_head.sequence + 1;
        v_head.entry_hash := guestcomms_internal.audit_hash(v_entry.tenant_id, v_head.sequence, v_entry.entry_id, v_entry.occurred_at,
            v_entry.actor, v_entry.acting_role, v_entry.action, v_entry.object, v_entry.commitment, v_entry.previous_hash);
        UPDATE guestcomms.audit_entries AS e
        SET sequence = v_head.sequence, previous_hash = v_entry.previous_hash, entry_hash = v_head.entry_hash
        WHERE e.tenant_id = v_entry.tenant_id AND e.entry_id = v_entry.entry_id;
        INSERT INTO guestcomms.audit_heads AS h (tenant_id, sequence, entry_hash)
        VALUES (v_head.tenant_id, v_head.sequence, v_head.entry_hash)
        ON CONFLICT ON CONSTRAINT audit_heads_pkey DO UPDATE
        SET sequence = excluded.sequence, entry_hash = excluded.entry_hash, sealed_at = now();
        v_sealed := v_sealed + 1;
    END LOOP;
    RETURN v_sealed;
END $$;
COMMENT ON FUNCTION guestcomms.seal_audit_trail(integer) IS
$$Chains the audit entries that are not sealed yet, oldest first, and returns how many. A job's work; until it has run, an entry can be changed unnoticed.
Example: SELECT guestcomms.seal_audit_trail();
See also: verify_audit_trail, export_audit_heads$$;

CREATE FUNCTION guestcomms.export_audit_heads()
RETURNS TABLE (tenant_id uuid, sequence bigint, entry_hash text, sealed_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT h.tenant_id, h.sequence, encode(h.entry_hash, 'hex'), h.sealed_at
    FROM guestcomms.audit_heads AS h
    WHERE h.tenant_id = (SELECT guestcomms_internal.tenant_scope()) OR (SELECT guestcomms_internal.tenant_scope()) IS NULL
    ORDER BY h.tenant_id
$$;
COMMENT ON FUNCTION guestcomms.export_audit_heads() IS
$$The last sealed entry of each chain. Keep it outside the database: whoever can rewrite the database can also shorten a chain together with its head, and only a copy kept elsewhere shows that.
Example: SELECT * FROM guestcomms.export_audit_heads();
See also: verify_audit_trail, seal_audit_trail$$;

CREATE FUNCTION guestcomms.verify_audit_trail(heads jsonb DEFAULT NULL)
RETURNS TABLE (tenant_id uuid, is_ok boolean, entry_count bigint, problem text, sequence bigint, entry_id uuid)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    WITH chain AS (
        SELECT e.*,
            lag(e.sequence, 1, 0::bigint) OVER walk AS sequence_before,
            lag(e.entry_hash, 1, '\x'::bytea) OVER walk AS hash_before
        FROM guestcomms.audit_entries AS e
        WHERE e.sequence IS NOT NULL
            AND (e.tenant_id = (SELECT guestcomms_internal.tenant_scope()) OR (SELECT guestcomms_internal.tenant_scope()) IS NULL)
        WINDOW walk AS (PARTITION BY e.tenant_id ORDER BY e.sequence)
    ), entry_problem AS (
        SELECT c.tenant_id, c.sequence, c.entry_id,
            CASE
                WHEN c.sequence <> c.sequence_before + 1 THEN 'an entry before this one is missing'
                WHEN c.previous_hash <> c.hash_before THEN 'it does not follow the entry before it'
                WHEN c.entry_hash <> guestcomms_internal.audit_hash(c.tenant_id, c.sequence, c.entry_id, c.occurred_at, c.actor,
                    c.acting_role, c.action, c.object, c.commitment, c.previous_hash) THEN 'it was changed after it was sealed'
                WHEN d.entry_id IS NOT NULL AND c.commitment IS DISTINCT FROM sha256(d.salt || convert_to(d.content::text, 'UTF8'))
                    THEN 'its content was changed'
            END AS problem
        FROM chain AS c
        LEFT JOIN guestcomms.audit_contents AS d ON d.tenant_id = c.tenant_id AND d.entry_id = c.entry_id
    ), kept_head AS (
        SELECT h.tenant_id, h.sequence, encode(h.entry_hash, 'hex') AS entry_hash, 'the head kept in the store' AS source
        FROM guestcomms.audit_heads AS h
        WHERE h.tenant_id = (SELECT guestcomms_internal.tenant_scope()) OR (SELECT guestcomms_internal.tenant_scope()) IS NULL
        UNION ALL
        SELECT k.tenant_id, k.sequence, k.entry_hash, 'the head given'
        FROM jsonb_to_recordset(verify_audit_trail.heads) AS k (tenant_id uuid, sequence bigint, entry_hash text)
        WHERE k.tenant_id = (SELECT guestcomms_internal.tenant_scope()) OR (SELECT guestcomms_internal.tenant_scope()) IS NULL
    ), problem_found AS (
        SELECT p.tenant_id, p.problem, p.sequence, p.entry_id FROM entry_problem AS p WHERE p.problem IS NOT NULL
        UNION ALL
        SELECT k.tenant_id, 'the chain does not reach ' || k.source, k.sequence, NULL
        FROM kept_head AS k
        WHERE NOT EXISTS (SELECT FROM chain AS c
            WHERE c.tenant_id = k.tenant_id AND c.sequence = k.sequence AND encode(c.entry_hash, 'hex') = k.entry_hash)
        UNION ALL
        SELECT c.tenant_id, 'sealed entries follow the head kept in the store', max(c.sequence), NULL
        FROM chain AS c
        LEFT JOIN guestcomms.audit_heads AS h ON h.tenant_id = c.tenant_id
        WHERE h.sequence IS NULL OR c.sequence > h.sequence
        GROUP BY c.tenant_id
    ), counted AS (
        SELECT k.tenant_id, (SELECT count(*) FROM chain AS c WHERE c.tenant_id = k.tenant_id) AS entry_count
        FROM (SELECT k.tenant_id FROM kept_head AS k UNION SELECT c.tenant_id FROM chain AS c) AS k
    )
    SELECT n.tenant_id, p.problem IS NULL, n.entry_count, p.problem, p.sequence, p.entry_id
    FROM counted AS n
    LEFT JOIN problem_found AS p ON p.tenant_id = n.tenant_id
    ORDER BY n.tenant_id, p.sequence
$$;
COMMENT ON FUNCTION guestcomms.verify_audit_trail(jsonb) IS
$$Walks the sealed chains and names every entry that was changed, removed or moved, and every chain that ends before its head; a row with is_ok for a sound chain. heads: what export_audit_heads() gave earlier, as JSON, to find a chain that was cut together with its head.
Example: SELECT * FROM guestcomms.verify_audit_trail(heads => '[]');
See also: seal_audit_trail, export_audit_heads$$;
