-- Search for guests: by names, while they are typed, mistyped or without their accents, by addresses and by parties.
CREATE FUNCTION guestcomms_internal.score_guests(tenant_id uuid, query text, wedding_id uuid) RETURNS TABLE (guest_id uuid, score double precision, matched text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_most CONSTANT integer := 500;
    v_typed text := left(btrim(coalesce(score_guests.query, '')), 200);
    v_folded text := guestcomms_internal.folded_name_v1(v_typed);
    v_words tsquery := guestcomms_internal.name_query(v_typed);
    v_address text := CASE WHEN v_typed ~ '@' THEN lower(v_typed)
        WHEN v_typed ~ '^[+0-9 ()./-]+$' THEN guestcomms_internal.normalize_address('sms', guestcomms_internal.full_address(score_guests.tenant_id, 'sms', v_typed)) ELSE v_typed END;
BEGIN
    IF numnode(v_words) = 0 THEN
        v_words := NULL;
    END IF;
    RETURN QUERY
    WITH found AS (
        -- Every kind of find is bounded; what a letter or two begin is more than anybody reads.
        (SELECT g.guest_id, 0.9 + CASE WHEN guestcomms_internal.folded_name_v1(g.display_name) = v_folded THEN 0.1
                WHEN starts_with(guestcomms_internal.folded_name_v1(g.display_name), v_folded) THEN 0.05 ELSE 0 END AS score, 'name' AS matched
         FROM guestcomms.guests AS g
         WHERE g.tenant_id = score_guests.tenant_id AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(g.display_name, '')) @@ v_words
            AND (score_guests.wedding_id IS NULL OR (SELECT true FROM guestcomms.wedding_guests AS i
                WHERE i.tenant_id = score_guests.tenant_id AND i.wedding_id = score_guests.wedding_id AND i.guest_id = g.guest_id))
         LIMIT v_most)
        UNION ALL
        (SELECT n.guest_id, 0.8 * n.similarity, 'similar name' FROM guestcomms_internal.find_names_like(score_guests.tenant_id, v_folded, v_most) AS n
         WHERE char_length(v_folded) >= 3)
        UNION ALL
        (SELECT a.guest_id, CASE WHEN a.address = v_address THEN 1.0 ELSE 0.85 END, 'address'
         FROM guestcomms.guest_addresses AS a
         WHERE a.tenant_id = score_guests.tenant_id AND char_length(v_address) >= 3
            AND a.address ~>=~ v_address AND a.address ~<~ (v_address || U&'\+10FFFF')
            AND (score_guests.wedding_id IS NULL OR (SELECT true FROM guestcomms.wedding_guests AS i
                WHERE i.tenant_id = score_guests.tenant_id AND i.wedding_id = score_guests.wedding_id AND i.guest_id = a.guest_id))
         LIMIT v_most)
        UNION ALL
        (SELECT i.guest_id, 0.7, 'party'
         FROM guestcomms.wedding_guests AS i
         WHERE i.tenant_id = score_guests.tenant_id AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(i.party, '')) @@ v_words
            AND (score_guests.wedding_id IS NULL OR i.wedding_id = score_guests.wedding_id)
         LIMIT v_most)
    ), kept AS (
        -- What is found of one who was merged is found of the one who was kept.
        SELECT coalesce(g.merged_into, g.guest_id) AS guest_id, f.score, f.matched
        FROM found AS f
        JOIN guestcomms.guests AS g ON g.tenant_id = score_guests.tenant_id AND g.guest_id = f.guest_id
    )
    SELECT k.guest_id, max(k.score)::double precision, (array_agg(k.matched ORDER BY k.score DESC, k.matched))[1]
    FROM kept AS k
    WHERE (SELECT g.erased_at IS NULL FROM guestcomms.guests AS g WHERE g.tenant_id = score_guests.tenant_id AND g.guest_id = k.guest_id)
        AND (score_guests.wedding_id IS NULL OR (SELECT true FROM guestcomms.wedding_guests AS i
            WHERE i.tenant_id = score_guests.tenant_id AND i.wedding_id = score_guests.wedding_id AND i.guest_id = k.guest_id))
    GROUP BY k.guest_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.score_guests(uuid, text, uuid) IS 'Guests of a tenant that a query may mean, each once, from 0 to 1 how well.';

CREATE FUNCTION guestcomms.search_guests(query text, max_rows integer DEFAULT 20, after uuid DEFAULT NULL, wedding_id uuid DEFAULT NULL)
RETURNS TABLE (guest_id uuid, display_name text, score double precision, matched text, email text, phone text, parties text[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    PERFORM guestcomms_internal.require_max_rows(search_guests.max_rows, 200);
    RETURN QUERY
    WITH scored AS MATERIALIZED (
        SELECT s.guest_id, round(s.score::numeric, 4)::double precision AS score, s.matched, g.display_name, lower(coalesce(g.display_name, '')) AS sort_name
        FROM guestcomms_internal.score_guests(v_tenant, search_guests.query, search_guests.wedding_id) AS s
        JOIN guestcomms.guests AS g ON g.tenant_id = v_tenant AND g.guest_id = s.guest_id
    ), page AS (
        SELECT s.* FROM scored AS s
        WHERE search_guests.after IS NULL
            OR (-s.score, s.sort_name, s.guest_id) > (SELECT -l.score, l.sort_name, l.guest_id FROM scored AS l WHERE l.guest_id = search_guests.after)
        ORDER BY s.score DESC, s.sort_name, s.guest_id
        LIMIT search_guests.max_rows
    )
    SELECT p.guest_id, p.display_name, p.score, p.matched,
        (SELECT a.address FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = v_tenant AND a.guest_id = p.guest_id AND a.channel = 'email' AND a.is_primary),
        (SELECT a.address FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = v_tenant AND a.guest_id = p.guest_id AND a.channel IN ('sms', 'whatsapp')
            ORDER BY a.is_primary DESC, a.channel, a.address LIMIT 1),
        ARRAY(SELECT DISTINCT i.party FROM guestcomms.wedding_guests AS i WHERE i.tenant_id = v_tenant AND i.guest_id = p.guest_id AND i.party IS NOT NULL ORDER BY i.party)
    FROM page AS p
    ORDER BY p.score DESC, p.sort_name, p.guest_id;
END $$;
COMMENT ON FUNCTION guestcomms.search_guests(text, integer, uuid, uuid) IS
$$The tenant's guests that a query may mean, the likeliest first: by words of their names or their beginnings, also mistyped and without accents, by the beginning of an e-mail address, telephone number or identifier, and by words of the party they are invited with. wedding_id: only guests of that wedding. score is from 0 to 1, matched says by what: name, similar name, address or party. At most some hundred of each kind are looked at. For the next page, after is the last row's guest_id.
Example: SELECT guest_id, display_name, matched, email FROM guestcomms.search_guests('zoe kaia');
See also: get_guest, list_wedding_guests, find_duplicate_guests, suggest_terms$$;
