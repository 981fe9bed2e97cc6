-- Guests who may be one person. The tenant's guests are walked from the newest, some hundred a call; of each only those are
-- compared that an index gives: of addresses that come to the same, and of names that are much alike. Never all pairs.
CREATE TYPE guestcomms_internal.duplicate_evidence AS (guest_a uuid, guest_b uuid, weight double precision, reason text);
COMMENT ON TYPE guestcomms_internal.duplicate_evidence IS 'One reason to take two guests for one person, and how much it says from 0 to 1.';

CREATE FUNCTION guestcomms_internal.compare_names(folded_a text, folded_b text, similarity real, OUT weight double precision, OUT reason text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_words_a text[] := guestcomms_internal.name_words(folded_a);
    v_words_b text[] := guestcomms_internal.name_words(folded_b);
BEGIN
    IF v_words_a = v_words_b THEN
        -- First names alone are many people's.
        weight := CASE WHEN cardinality(v_words_a) > 1 THEN 0.65 ELSE 0.3 END;
        reason := 'same name';
    ELSIF cardinality(v_words_a) > 1 AND cardinality(v_words_b) > 1 AND guestcomms_internal.name_sounds(v_words_a) = guestcomms_internal.name_sounds(v_words_b) THEN
        weight := 0.55;
        reason := 'name that sounds alike';
    ELSE
        weight := 0.6 * similarity;
        reason := 'similar name';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.compare_names(text, text, real) IS 'What two folded names with so many trigrams in common say of being one person''s.';

CREATE FUNCTION guestcomms_internal.list_duplicate_evidence(tenant_id uuid, guest_ids uuid[]) RETURNS SETOF guestcomms_internal.duplicate_evidence
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT u.guest_id, f.guest_id, CASE WHEN f.is_same THEN 0.95 ELSE 0.6 END::double precision, CASE WHEN f.is_same THEN 'same address' ELSE 'similar e-mail address' END
    FROM unnest(list_duplicate_evidence.guest_ids) AS u (guest_id)
    CROSS JOIN LATERAL (
        SELECT b.guest_id, bool_or(a.address = b.address) AS is_same
        FROM guestcomms.guest_addresses AS a
        CROSS JOIN LATERAL (
            SELECT o.guest_id, o.address FROM guestcomms.guest_addresses AS o
            WHERE o.tenant_id = list_duplicate_evidence.tenant_id AND guestcomms_internal.contact_key_v1(o.channel, o.address) = guestcomms_internal.contact_key_v1(a.channel, a.address)
                AND o.guest_id <> u.guest_id
            LIMIT 20
        ) AS b
        WHERE a.tenant_id = list_duplicate_evidence.tenant_id AND a.guest_id = u.guest_id
        GROUP BY b.guest_id
    ) AS f
    UNION ALL
    SELECT u.guest_id, s.guest_id, c.weight, c.reason
    FROM unnest(list_duplicate_evidence.guest_ids) AS u (guest_id)
    JOIN guestcomms.guests AS g ON g.tenant_id = list_duplicate_evidence.tenant_id AND g.guest_id = u.guest_id AND g.display_name IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT n.guest_id, n.similarity
        FROM guestcomms_internal.find_similar_names(list_duplicate_evidence.tenant_id, guestcomms_internal.folded_name_v1(g.display_name), 0.45, 21) AS n
        WHERE n.guest_id <> u.guest_id
    ) AS s
    JOIN guestcomms.guests AS h ON h.tenant_id = list_duplicate_evidence.tenant_id AND h.guest_id = s.guest_id
    CROSS JOIN LATERAL guestcomms_internal.compare_names(guestcomms_internal.folded_name_v1(g.display_name), guestcomms_internal.folded_name_v1(h.display_name), s.similarity) AS c;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_duplicate_evidence(uuid, uuid[]) IS
'What speaks for each of these guests being one person with another of the tenant, by addresses and names: at most 20 others of each kind.';

CREATE FUNCTION guestcomms.find_duplicate_guests(max_rows integer DEFAULT 50, min_score double precision DEFAULT 0.5, after uuid DEFAULT NULL)
RETURNS TABLE (guest_a uuid, guest_b uuid, score double precision, reasons text[], name_a text, name_b text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_most_guests CONSTANT integer := 500;
    v_batch CONSTANT integer := 50;
    v_after record;
    v_guests uuid[];
    v_looked integer := 0;
    v_found integer := 0;
    v_count integer;
BEGIN
    PERFORM guestcomms_internal.require_max_rows(find_duplicate_guests.max_rows, 1000);
    IF coalesce(find_duplicate_guests.min_score NOT BETWEEN 0 AND 1, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'min_score is out of bounds', DETAIL = format('min_score is %s.', coalesce(find_duplicate_guests.min_score::text, 'null')),
            HINT = 'Give a number from 0 to 1; 0.5 is worth a look, 0.9 nearly certain.';
    END IF;
    SELECT g.created_at, g.guest_id INTO v_after FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = find_duplicate_guests.after;
    IF find_duplicate_guests.after IS NOT NULL AND v_after.guest_id IS NULL THEN
        PERFORM guestcomms_internal.refuse_guest(find_duplicate_guests.after);
    END IF;
    LOOP
        v_guests := ARRAY(
            SELECT g.guest_id FROM guestcomms.guests AS g
            WHERE g.tenant_id = v_tenant AND g.merged_into IS NULL AND g.erased_at IS NULL
                AND (v_after.guest_id IS NULL OR (g.created_at, g.guest_id) < (v_after.created_at, v_after.guest_id))
            ORDER BY g.created_at DESC, g.guest_id DESC LIMIT v_batch);
        EXIT WHEN cardinality(v_guests) = 0;
        RETURN QUERY
        SELECT p.guest_a, p.guest_b, round((1 - p.doubt)::numeric, 3)::double precision, p.reasons, p.name_a, p.name_b
        FROM (
            SELECT a.guest_id AS guest_a, b.guest_id AS guest_b, a.display_name AS name_a, b.display_name AS name_b,
                -- Independent reasons: what each leaves in doubt is multiplied. To have a wedding in common says something only beside others.
                exp(sum(ln(1 - e.weight))) * CASE WHEN bool_or(w.has_common) THEN 0.6 ELSE 1 END AS doubt,
                array_agg(DISTINCT e.reason ORDER BY e.reason) || CASE WHEN bool_or(w.has_common) THEN '{same wedding}'::text[] ELSE '{}' END AS reasons
            FROM guestcomms_internal.list_duplicate_evidence(v_tenant, v_guests) AS e
            JOIN guestcomms.guests AS a ON a.tenant_id = v_tenant AND a.guest_id = e.guest_a
            -- Each pair once: with the newer of the two.
            JOIN guestcomms.guests AS b ON b.tenant_id = v_tenant AND b.guest_id = e.guest_b AND b.merged_into IS NULL AND b.erased_at IS NULL
                AND (b.created_at, b.guest_id) < (a.created_at, a.guest_id)
            CROSS JOIN LATERAL (
                SELECT EXISTS (SELECT FROM guestcomms.wedding_guests AS i
                    JOIN guestcomms.wedding_guests AS j ON j.tenant_id = i.tenant_id AND j.wedding_id = i.wedding_id AND j.guest_id = b.guest_id
                    WHERE i.tenant_id = v_tenant AND i.guest_id = a.guest_id) AS has_common
            ) AS w
            WHERE NOT EXISTS (SELECT FROM guestcomms.dismissed_duplicates AS d
                WHERE d.tenant_id = v_tenant AND d.guest_a = least(a.guest_id, b.guest_id) AND d.guest_b = greatest(a.guest_id, b.guest_id))
            GROUP BY a.guest_id, b.guest_id, a.display_name, b.display_name
        ) AS p
        WHERE round((1 - p.doubt)::numeric, 3) >= find_duplicate_guests.min_score
        ORDER BY 3 DESC, p.guest_a, p.guest_b;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_found := v_found + v_count;
        v_looked := v_looked + cardinality(v_guests);
        SELECT g.created_at, g.guest_id INTO v_after FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = v_guests[cardinality(v_guests)];
        IF v_found >= find_duplicate_guests.max_rows OR v_looked >= v_most_guests THEN
            RETURN QUERY SELECT v_after.guest_id, NULL::uuid, NULL::double precision, NULL::text[], NULL::text, NULL::text;
            EXIT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms.find_duplicate_guests(integer, double precision, uuid) IS
$$Pairs of the tenant's guests who may be one person, with a score from 0 to 1 and the reasons: same address (on another channel), similar e-mail address (but for dots or what follows a +), same name, name that sounds alike, similar name, same wedding (only beside another reason). The newest guests are looked at first, each pair once. A page ends with the guests that bring it to max_rows, or after 500 guests; then its last row has no guest_b, and its guest_a is after of the next page. A page whose last row has a guest_b, or without rows, is the last.
Example: SELECT guest_a, guest_b, score, reasons FROM guestcomms.find_duplicate_guests(min_score => 0.7) WHERE guest_b IS NOT NULL;
See also: merge_guests, dismiss_duplicate, import_guests$$;

CREATE FUNCTION guestcomms.dismiss_duplicate(guest_a uuid, guest_b uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guests uuid[] := ARRAY[guestcomms_internal.lock_guest(v_tenant, dismiss_duplicate.guest_a), guestcomms_internal.lock_guest(v_tenant, dismiss_duplicate.guest_b)];
BEGIN
    IF v_guests[1] = v_guests[2] THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the two are one guest', DETAIL = format('guest_id %s.', v_guests[1]),
            HINT = 'Give the two guests of a pair; undo_merge() makes two of one again.';
    END IF;
    INSERT INTO guestcomms.dismissed_duplicates (tenant_id, guest_a, guest_b)
    VALUES (v_tenant, least(v_guests[1], v_guests[2]), greatest(v_guests[1], v_guests[2]))
    ON CONFLICT ON CONSTRAINT dismissed_duplicates_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION guestcomms.dismiss_duplicate(uuid, uuid) IS
$$Notes that two guests are two people: find_duplicate_guests() does not name the pair again.
Example: SELECT guestcomms.dismiss_duplicate(guestcomms.add_guest('Zoë Kaya'), guestcomms.add_guest('Zoe Kaya'));
See also: find_duplicate_guests, merge_guests$$;
