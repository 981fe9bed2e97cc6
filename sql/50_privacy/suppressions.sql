-- An objection outlives the guest who made it (GDPR Art. 21): a keyed hash of each address stays, and whoever comes with one of
-- them has objected. A store of consents then answers as if nobody had been erased.
CREATE FUNCTION guestcomms_internal.note_suppressions(tenant_id uuid, guest_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_key record;
    v_count bigint;
BEGIN
    SELECT k.key_id, k.secret INTO v_key FROM guestcomms_internal.erasure_key() AS k;
    WITH place AS (
        -- A telephone is one, whichever of the two the guest was heard from on.
        SELECT DISTINCT c.channel, a.address
        FROM guestcomms.guest_addresses AS a
        CROSS JOIN LATERAL unnest(CASE WHEN a.channel IN ('sms', 'whatsapp') THEN ARRAY['sms', 'whatsapp'] ELSE ARRAY[a.channel] END) AS c (channel)
        WHERE a.tenant_id = note_suppressions.tenant_id AND a.guest_id = ANY (note_suppressions.guest_ids)
    ), word AS MATERIALIZED (
        -- The last word on a purpose, for the channel or for all.
        SELECT p.channel, guestcomms_internal.erasure_hash(v_key.secret, 'address', note_suppressions.tenant_id::text, p.channel, p.address) AS address_hash,
            u.purpose, l.is_granted, l.recorded_at
        FROM place AS p
        CROSS JOIN (SELECT DISTINCT c.purpose FROM guestcomms.consents AS c
            WHERE c.tenant_id = note_suppressions.tenant_id AND c.guest_id = ANY (note_suppressions.guest_ids)) AS u
        CROSS JOIN LATERAL (
            SELECT c.is_granted, c.recorded_at FROM guestcomms.consents AS c
            WHERE c.tenant_id = note_suppressions.tenant_id AND c.guest_id = ANY (note_suppressions.guest_ids) AND c.purpose = u.purpose
                AND (c.channel IS NULL OR c.channel = p.channel)
            ORDER BY c.recorded_at DESC, c.is_granted LIMIT 1
        ) AS l
    ), withdrawn AS (
        -- Who objected once and came back has consented since.
        DELETE FROM guestcomms.suppressions AS s USING word AS w
        WHERE w.is_granted AND s.tenant_id = note_suppressions.tenant_id AND s.channel = w.channel AND s.address_hash = w.address_hash AND s.purpose = w.purpose
    )
    INSERT INTO guestcomms.suppressions AS s (tenant_id, channel, address_hash, purpose, key_id, objected_at)
    SELECT note_suppressions.tenant_id, w.channel, w.address_hash, w.purpose, v_key.key_id, w.recorded_at FROM word AS w WHERE NOT w.is_granted
    ON CONFLICT ON CONSTRAINT suppressions_pkey DO UPDATE SET objected_at = greatest(s.objected_at, excluded.objected_at);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_suppressions(uuid, uuid[]) IS
'For whoever is about to erase these guests: leaves a keyed hash of each address for what they object to; returns how many.';

CREATE FUNCTION guestcomms_internal.suppress_addresses(tenant_id uuid, guest_ids uuid[], channels text[], addresses text[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    -- The few hashes are looked up one by one, whatever the planner thinks of arrays.
    SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO guestcomms.consents (tenant_id, guest_id, channel, purpose, is_granted, basis, source, recorded_at)
    SELECT DISTINCT suppress_addresses.tenant_id, a.guest_id, s.channel, s.purpose, false, 'legitimate_interest', 'suppression',
        -- When the guest objected: a consent that is given now is later.
        s.objected_at
    FROM (SELECT DISTINCT p.key_id FROM guestcomms.suppressions AS p WHERE p.tenant_id = suppress_addresses.tenant_id) AS k
    JOIN guestcomms_internal.store_secrets AS t ON t.purpose = 'erasures' AND t.key_id = k.key_id
    CROSS JOIN LATERAL unnest(suppress_addresses.guest_ids, suppress_addresses.channels, suppress_addresses.addresses) AS a (guest_id, channel, address)
    CROSS JOIN LATERAL (SELECT guestcomms_internal.erasure_hash(t.secret, 'address', suppress_addresses.tenant_id::text, a.channel, a.address) AS hash OFFSET 0) AS h
    CROSS JOIN LATERAL (
        SELECT o.channel, o.purpose, o.objected_at FROM guestcomms.suppressions AS o
        WHERE o.tenant_id = suppress_addresses.tenant_id AND o.channel = a.channel AND o.address_hash = h.hash OFFSET 0
    ) AS s
    WHERE NOT EXISTS (SELECT FROM guestcomms.consents AS c
        WHERE c.tenant_id = suppress_addresses.tenant_id AND c.guest_id = a.guest_id AND c.purpose = s.purpose AND c.channel = s.channel
            AND c.recorded_at = s.objected_at AND NOT c.is_granted);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.suppress_addresses(uuid, uuid[], text[], text[]) IS
'Records the objections of erased guests for those who have their addresses now, given as three arrays; returns how many.';

CREATE FUNCTION guestcomms_internal.obey_suppressions() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_rows record;
BEGIN
    FOR v_rows IN
        SELECT c.tenant_id, array_agg(c.guest_id) AS guest_ids, array_agg(c.channel) AS channels, array_agg(c.address) AS addresses
        FROM changed AS c
        -- Most tenants have none: then an address costs no hash.
        WHERE EXISTS (SELECT FROM guestcomms.suppressions AS s WHERE s.tenant_id = c.tenant_id)
        GROUP BY c.tenant_id
    LOOP
        PERFORM guestcomms_internal.suppress_addresses(v_rows.tenant_id, v_rows.guest_ids, v_rows.channels, v_rows.addresses);
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.obey_suppressions() IS 'Records the objections of erased guests for new addresses, in the transaction that adds them.';

CREATE FUNCTION guestcomms_internal.refuse_erased_guests() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_guest uuid;
BEGIN
    -- The foreign key has locked the guest by now: whoever erases waits for this transaction, or has been before it and is seen.
    SELECT n.guest_id INTO v_guest FROM (SELECT DISTINCT c.tenant_id, c.guest_id FROM changed AS c) AS n
    WHERE (SELECT g.erased_at IS NOT NULL FROM guestcomms.guests AS g WHERE g.tenant_id = n.tenant_id AND g.guest_id = n.guest_id)
    LIMIT 1;
    IF FOUND THEN
        PERFORM guestcomms_internal.raise_ingest_problem('guest_erased', format('guest_id %s.', v_guest));
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refuse_erased_guests() IS 'Nothing comes to a guest who was erased, however it is written.';
