-- The best terms for short beginnings, prepared: for three characters from the vocabulary, for two from those for three, and
-- so on, so that a change costs what its group holds and not what the tenant holds.
CREATE TYPE guestcomms_internal.term_group AS (tenant_id uuid, start text);
COMMENT ON TYPE guestcomms_internal.term_group IS 'The terms of a tenant with the same three first characters.';

CREATE FUNCTION guestcomms_internal.write_prefixes(groups guestcomms_internal.term_group[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    WITH tenant AS MATERIALIZED (
        SELECT t.tenant_id, guestcomms_internal.setting('suggest.min_guests', t.tenant_id)::integer AS min_guests
        FROM (SELECT DISTINCT g.tenant_id FROM unnest(groups) AS g) AS t
    ), term AS (
        SELECT c.*, row_number() OVER (PARTITION BY c.tenant_id, c.start, c.is_phrase ORDER BY c.weight DESC, c.term COLLATE "C") AS place
        FROM (
            -- The group "ok " is of the word ok and of pairs that begin with it. Looked up group by group (OFFSET 0): the
            -- planner, which does not know how many there are, might compare each with every term.
            SELECT g.tenant_id, g.start, v.term, v.weight, v.is_phrase
            FROM tenant AS t
            JOIN unnest(groups) AS g ON g.tenant_id = t.tenant_id
            CROSS JOIN LATERAL (
                SELECT o.term, o.weight, o.is_phrase FROM guestcomms.vocabulary AS o
                WHERE o.tenant_id = g.tenant_id AND o.term >= rtrim(g.start) AND o.term < g.start || U&'\+10FFFF'
                    AND left(rpad(o.term, 3), 3) = g.start AND o.message_count > 0 AND cardinality(o.guests) >= t.min_guests
                OFFSET 0
            ) AS v
            WHERE char_length(g.start) = 3
            UNION ALL
            SELECT g.tenant_id, g.start, u.term, u.weight, u.is_phrase
            FROM unnest(groups) AS g
            CROSS JOIN LATERAL (
                SELECT o.* FROM guestcomms.suggestion_prefixes AS o
                WHERE o.tenant_id = g.tenant_id AND o.prefix > g.start AND o.prefix < g.start || U&'\+10FFFF'
                    AND char_length(o.prefix) = char_length(g.start) + 1
                OFFSET 0
            ) AS p
            CROSS JOIN LATERAL (
                SELECT w.term, w.weight, false AS is_phrase FROM unnest(p.words, p.word_weights) AS w (term, weight)
                UNION ALL
                SELECT h.term, h.weight, true FROM unnest(p.phrases, p.phrase_weights) AS h (term, weight)
            ) AS u
            WHERE char_length(g.start) < 3
        ) AS c
    ), best AS (
        SELECT t.tenant_id, t.start,
            coalesce(array_agg(t.term ORDER BY t.place) FILTER (WHERE NOT t.is_phrase), '{}') AS words,
            coalesce(array_agg(t.weight ORDER BY t.place) FILTER (WHERE NOT t.is_phrase), '{}') AS word_weights,
            coalesce(array_agg(t.term ORDER BY t.place) FILTER (WHERE t.is_phrase), '{}') AS phrases,
            coalesce(array_agg(t.weight ORDER BY t.place) FILTER (WHERE t.is_phrase), '{}') AS phrase_weights
        FROM term AS t WHERE t.place <= 10
        GROUP BY t.tenant_id, t.start
    ), gone AS (
        DELETE FROM guestcomms.suggestion_prefixes AS p USING unnest(groups) AS g
        WHERE p.tenant_id = g.tenant_id AND p.prefix = g.start
            AND NOT EXISTS (SELECT FROM best AS b WHERE b.tenant_id = g.tenant_id AND b.start = g.start)
    )
    INSERT INTO guestcomms.suggestion_prefixes AS p (tenant_id, prefix, words, word_weights, phrases, phrase_weights)
    SELECT b.tenant_id, b.start, b.words, b.word_weights, b.phrases, b.phrase_weights FROM best AS b
    ON CONFLICT ON CONSTRAINT suggestion_prefixes_pkey DO UPDATE
    SET words = excluded.words, word_weights = excluded.word_weights, phrases = excluded.phrases, phrase_weights = excluded.phrase_weights
    WHERE (p.words, p.word_weights, p.phrases, p.phrase_weights) IS DISTINCT FROM (excluded.words, excluded.word_weights, excluded.phrases, excluded.phrase_weights);
END $$;
COMMENT ON FUNCTION guestcomms_internal.write_prefixes(guestcomms_internal.term_group[]) IS
'Prepares suggestions anew: those for three characters from the vocabulary, those for fewer from those for one more.';

CREATE FUNCTION guestcomms_internal.refresh_prefixes(groups guestcomms_internal.term_group[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    FOR v_length IN REVERSE 3 .. 0 LOOP
        PERFORM guestcomms_internal.write_prefixes(ARRAY(
            SELECT DISTINCT ROW(g.tenant_id, left(g.start, v_length))::guestcomms_internal.term_group FROM unnest(groups) AS g));
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_prefixes(guestcomms_internal.term_group[]) IS 'Prepares suggestions anew for changed groups of terms.';

CREATE FUNCTION guestcomms_internal.refresh_all_prefixes(tenant_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.refresh_prefixes(ARRAY(
        SELECT DISTINCT ROW(refresh_all_prefixes.tenant_id, g.start)::guestcomms_internal.term_group
        FROM (
            SELECT left(rpad(v.term, 3), 3) FROM guestcomms.vocabulary AS v WHERE v.tenant_id = refresh_all_prefixes.tenant_id
            UNION
            SELECT p.prefix FROM guestcomms.suggestion_prefixes AS p WHERE p.tenant_id = refresh_all_prefixes.tenant_id AND char_length(p.prefix) = 3
        ) AS g (start)));
    UPDATE guestcomms.search_statistics AS s SET min_guests = guestcomms_internal.setting('suggest.min_guests', s.tenant_id)::integer
    WHERE s.tenant_id = refresh_all_prefixes.tenant_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_all_prefixes(uuid) IS 'Prepares all suggestions of a tenant anew, by the least number of guests that is set.';
