-- Names as they are compared: without case, accents and apostrophes; and those that are much alike, by their trigrams. Under row
-- security the operators of pg_trgm reach no index, so this is the engine's, with the tenant in every condition.
CREATE FUNCTION guestcomms_internal.folded_name_v1(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_name text := lower(btrim(regexp_replace(translate(name, '''’`´', ''), '\s+', ' ', 'g')));
BEGIN
    RETURN CASE WHEN octet_length(v_name) = char_length(v_name) THEN v_name
        ELSE coalesce((ts_lexize('guestcomms.fold_accents', lower(normalize(v_name, NFKC))))[1], lower(normalize(v_name, NFKC))) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.folded_name_v1(text) IS 'A name without case, accents, apostrophes and needless spaces. Frozen: an index holds its results.';

CREATE FUNCTION guestcomms_internal.name_words(folded text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT coalesce(array_agg(w.word ORDER BY w.word), '{}') FROM regexp_split_to_table(folded, '[^[:alnum:]]+') AS w (word) WHERE w.word <> ''
$$;
COMMENT ON FUNCTION guestcomms_internal.name_words(text) IS 'The words of a folded name in alphabetical order: first and last name may have changed places.';

CREATE FUNCTION guestcomms_internal.name_sounds(words text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- Metaphone knows letters of English; other words stand for themselves.
    SELECT coalesce(array_agg(s.sound ORDER BY s.sound), '{}')
    FROM unnest(words) AS w (word)
    CROSS JOIN LATERAL (SELECT CASE WHEN w.word ~ '^[a-z]+$' THEN coalesce(nullif(guestcomms_internal.sound_code(w.word), ''), w.word) ELSE w.word END AS sound) AS s
$$;
COMMENT ON FUNCTION guestcomms_internal.name_sounds(text[]) IS 'How words of a name sound.';

-- What is named here belongs to pg_trgm, in whatever schema it is.
DO $trigrams$
BEGIN
    EXECUTE format($functions$
        CREATE FUNCTION guestcomms_internal.find_similar_names(tenant_id uuid, folded text, min_similarity real, max_rows integer)
        RETURNS TABLE (guest_id uuid, similarity real)
        LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
            SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_indexscan = off SET jit = off SET pg_trgm.similarity_threshold = '0.3'
        AS $body$
        #variable_conflict use_column
        BEGIN
            RETURN QUERY
            SELECT n.guest_id, n.similarity
            FROM (
                SELECT g.guest_id, %1$I.similarity(guestcomms_internal.folded_name_v1(g.display_name), find_similar_names.folded) AS similarity
                FROM guestcomms.guests AS g
                WHERE g.tenant_id = find_similar_names.tenant_id AND g.merged_into IS NULL AND g.erased_at IS NULL
                    AND guestcomms_internal.folded_name_v1(g.display_name) OPERATOR(%1$I.%%) find_similar_names.folded
            ) AS n
            WHERE n.similarity >= find_similar_names.min_similarity
            ORDER BY n.similarity DESC, n.guest_id
            LIMIT find_similar_names.max_rows;
        END $body$;
        CREATE FUNCTION guestcomms_internal.find_names_like(tenant_id uuid, typed text, max_rows integer) RETURNS TABLE (guest_id uuid, similarity real)
        LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
            SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_indexscan = off SET jit = off SET pg_trgm.word_similarity_threshold = '0.45'
        AS $body$
        #variable_conflict use_column
        BEGIN
            RETURN QUERY
            SELECT g.guest_id, %1$I.word_similarity(find_names_like.typed, guestcomms_internal.folded_name_v1(g.display_name)) AS similarity
            FROM guestcomms.guests AS g
            WHERE g.tenant_id = find_names_like.tenant_id AND find_names_like.typed OPERATOR(%1$I.<%%) guestcomms_internal.folded_name_v1(g.display_name)
            ORDER BY 2 DESC, g.guest_id
            LIMIT find_names_like.max_rows;
        END $body$
    $functions$, guestcomms_internal.extension_schema('pg_trgm'));
END $trigrams$;
COMMENT ON FUNCTION guestcomms_internal.find_similar_names(uuid, text, real, integer) IS 'Guests of a tenant whose folded names have so many trigrams in common, the most alike first.';
COMMENT ON FUNCTION guestcomms_internal.find_names_like(uuid, text, integer) IS 'Guests of a tenant with a part of their folded name much like what was typed, the most alike first.';

CREATE FUNCTION guestcomms_internal.find_namesakes(tenant_id uuid, names text[]) RETURNS TABLE (folded text, guest_id uuid)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET enable_indexscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT n.folded, s.guest_id
    FROM unnest(find_namesakes.names) AS n (folded)
    CROSS JOIN LATERAL (
        SELECT g.guest_id FROM guestcomms.guests AS g
        WHERE g.tenant_id = find_namesakes.tenant_id AND guestcomms_internal.folded_name_v1(g.display_name) = n.folded AND g.merged_into IS NULL AND g.erased_at IS NULL
        ORDER BY g.guest_id LIMIT 3
    ) AS s;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_namesakes(uuid, text[]) IS 'Up to three guests of a tenant for each of these folded names.';
