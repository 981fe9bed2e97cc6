-- Suggestions while a query is typed. Up to three characters are prepared; longer beginnings hold few enough terms to look
-- at. What is shown is read from the vocabulary and the tables of names at that moment.
CREATE FUNCTION guestcomms_internal.complete_term(tenant_id uuid, prefix text, min_guests integer, max_rows integer)
RETURNS TABLE (term text, written text, is_phrase boolean, message_count bigint, weight double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    IF char_length(complete_term.prefix) <= 3 THEN
        RETURN QUERY
        SELECT v.term, v.written, v.is_phrase, v.message_count, v.weight
        FROM guestcomms.suggestion_prefixes AS p
        CROSS JOIN LATERAL unnest(p.words || p.phrases) AS t (term)
        CROSS JOIN LATERAL (
            SELECT * FROM guestcomms.vocabulary AS o WHERE o.tenant_id = complete_term.tenant_id AND o.term = t.term COLLATE "C" OFFSET 0
        ) AS v
        WHERE p.tenant_id = complete_term.tenant_id AND p.prefix = complete_term.prefix
            AND starts_with(v.term, complete_term.prefix) AND v.message_count > 0 AND cardinality(v.guests) >= complete_term.min_guests;
    ELSE
        RETURN QUERY
        SELECT v.term, v.written, v.is_phrase, v.message_count, v.weight
        FROM (SELECT * FROM guestcomms.vocabulary AS o
            WHERE o.tenant_id = complete_term.tenant_id AND o.term >= complete_term.prefix AND o.term < complete_term.prefix || U&'\+10FFFF'
            ORDER BY o.term LIMIT 10000) AS v
        WHERE v.message_count > 0 AND cardinality(v.guests) >= complete_term.min_guests
        ORDER BY row_number() OVER (PARTITION BY v.is_phrase ORDER BY v.weight DESC, v.term)
        LIMIT 2 * complete_term.max_rows;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.complete_term(uuid, text, integer, integer) IS
'The best terms of a tenant''s vocabulary that begin so, in no order: ten words and ten pairs of words of a prepared beginning, else as many of each as max_rows, or all of one.';

CREATE FUNCTION guestcomms_internal.complete_name(tenant_id uuid, kinds text[], prefix text, max_rows integer)
RETURNS TABLE (name text, kind text, message_count bigint, weight double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_words tsquery := CASE WHEN complete_name.prefix ~ '[[:alnum:]]' THEN guestcomms_internal.name_query(complete_name.prefix) END;
    -- A letter or two begin so many names that the best are among the busiest; of longer ones there are few.
    v_is_short boolean := char_length(complete_name.prefix) <= 2;
BEGIN
    IF coalesce(numnode(v_words), 0) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT f.name, f.kind, sum(f.message_count)::bigint, sum(f.weight)
    FROM (
        SELECT g.display_name AS name, 'guest' AS kind, n.message_count, n.weight
        FROM (SELECT * FROM guestcomms.name_statistics AS s WHERE s.tenant_id = complete_name.tenant_id AND s.kind = 'guest'
            ORDER BY s.weight DESC LIMIT 500) AS n
        JOIN guestcomms.guests AS g ON g.tenant_id = complete_name.tenant_id AND g.guest_id = n.named_id
        WHERE v_is_short AND 'guest' = ANY (kinds) AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(g.display_name, '')) @@ v_words
        UNION ALL
        SELECT g.display_name, 'guest', coalesce(n.message_count, 0), coalesce(n.weight, 0)
        FROM (SELECT o.guest_id, o.display_name FROM guestcomms.guests AS o WHERE o.tenant_id = complete_name.tenant_id AND 'guest' = ANY (kinds)
            AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(o.display_name, '')) @@ v_words AND NOT v_is_short LIMIT 500) AS g
        LEFT JOIN guestcomms.name_statistics AS n ON n.tenant_id = complete_name.tenant_id AND n.kind = 'guest' AND n.named_id = g.guest_id
        UNION ALL
        SELECT w.name, 'wedding', coalesce(n.message_count, 0), coalesce(n.weight, 0)
        FROM (SELECT o.wedding_id, o.name FROM guestcomms.weddings AS o WHERE o.tenant_id = complete_name.tenant_id AND v_is_short AND 'wedding' = ANY (kinds)
            LIMIT 300) AS w
        LEFT JOIN guestcomms.name_statistics AS n ON n.tenant_id = complete_name.tenant_id AND n.kind = 'wedding' AND n.named_id = w.wedding_id
        WHERE to_tsvector('guestcomms.search_simple'::regconfig, w.name) @@ v_words
        UNION ALL
        SELECT w.name, 'wedding', coalesce(n.message_count, 0), coalesce(n.weight, 0)
        FROM (SELECT o.wedding_id, o.name FROM guestcomms.weddings AS o WHERE o.tenant_id = complete_name.tenant_id AND 'wedding' = ANY (kinds)
            AND to_tsvector('guestcomms.search_simple'::regconfig, o.name) @@ v_words AND NOT v_is_short LIMIT 500) AS w
        LEFT JOIN guestcomms.name_statistics AS n ON n.tenant_id = complete_name.tenant_id AND n.kind = 'wedding' AND n.named_id = w.wedding_id
        UNION ALL
        SELECT c.name, 'campaign', coalesce(n.message_count, 0), coalesce(n.weight, 0)
        FROM (SELECT o.campaign_id, o.name FROM guestcomms.campaigns AS o WHERE o.tenant_id = complete_name.tenant_id AND 'campaign' = ANY (kinds)
            AND to_tsvector('guestcomms.search_simple', o.name) @@ v_words LIMIT 200) AS c
        LEFT JOIN guestcomms.name_statistics AS n ON n.tenant_id = complete_name.tenant_id AND n.kind = 'campaign' AND n.named_id = c.campaign_id
    ) AS f
    GROUP BY f.name, f.kind
    ORDER BY sum(f.weight) DESC, f.name, f.kind
    LIMIT complete_name.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms_internal.complete_name(uuid, text[], text, integer) IS
'The busiest of a tenant''s guests, weddings and campaigns whose names hold words that begin so.';

CREATE FUNCTION guestcomms.suggest_terms(prefix text, max_rows integer DEFAULT 10)
RETURNS TABLE (suggestion text, kind text, message_count bigint, query text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_typed text := left(coalesce(ltrim(suggest_terms.prefix), ''), 200);
    v_min_guests integer := guestcomms_internal.setting('suggest.min_guests', v_tenant)::integer;
    -- What stands before a filter and its value; what stands before the last two words, and these.
    v_filter text[] := regexp_match(v_typed, '^((?:.*?\s)?-?)(from|to|guest|wedding|campaign):(?:"([^"]*)"?|([^\s"]*))$', 'i');
    v_last text[] := regexp_match(v_typed, '^(.*?)(?:([^\s":(-][^\s":]*)\s+)?([^\s":(-][^\s":]*|)$');
    v_last_word text := guestcomms_internal.fold_word(v_last[3]);
    v_pair text := guestcomms_internal.fold_word(v_last[2]) || ' ' || v_last_word;
    v_before text;
    v_corrected text;
BEGIN
    IF coalesce(suggest_terms.max_rows NOT BETWEEN 1 AND 20, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 20', HINT = 'Leave it out for 10.';
    END IF;
    IF v_filter IS NOT NULL THEN
        RETURN QUERY
        SELECT n.name, n.kind, n.message_count, concat(v_filter[1], lower(v_filter[2]), ':"', translate(n.name, '"“”„‟«»＂', '        '), '"')
        FROM guestcomms_internal.complete_name(v_tenant, ARRAY[CASE WHEN lower(v_filter[2]) IN ('wedding', 'campaign') THEN lower(v_filter[2]) ELSE 'guest' END],
            coalesce(v_filter[3], v_filter[4]), suggest_terms.max_rows) AS n;
        RETURN;
    END IF;
    IF char_length(ltrim(suggest_terms.prefix)) > 200 OR v_typed ~* '(^|\s)-?(channel|status|has|before|after|on|in):\S*$' THEN
        RETURN;
    END IF;
    v_before := left(v_typed, char_length(v_typed) - char_length(v_last[3]));
    RETURN QUERY
    WITH found AS (
        -- Pairs that begin with the last two words, then words that begin with the last; of a first word both at once.
        SELECT v_last[1] || t.written AS suggestion,
            CASE WHEN t.is_phrase THEN 'phrase' ELSE 'word' END AS kind, t.message_count, t.weight, 1 AS part
        FROM guestcomms_internal.complete_term(v_tenant, CASE WHEN v_last[2] IS NULL THEN v_last_word ELSE v_pair END, v_min_guests, suggest_terms.max_rows) AS t
        UNION ALL
        SELECT v_before || t.written, 'word', t.message_count, t.weight, 2
        FROM guestcomms_internal.complete_term(v_tenant, v_last_word, v_min_guests, suggest_terms.max_rows) AS t
        WHERE v_last[2] IS NOT NULL AND v_last_word <> '' AND NOT t.is_phrase
    ), named AS (
        SELECT n.name, n.kind, n.message_count, concat(n.kind, ':"', translate(n.name, '"“”„‟«»＂', '        '), '"') AS query,
            2 * row_number() OVER (ORDER BY n.weight DESC, n.name) + 1 AS place
        FROM guestcomms_internal.complete_name(v_tenant, '{guest,wedding,campaign}', v_typed, suggest_terms.max_rows) AS n
        WHERE v_typed !~ '(^|\s)-\S*$'
    )
    SELECT s.suggestion, s.kind, s.message_count, s.query
    FROM (
        SELECT f.suggestion, f.kind, f.message_count, f.suggestion AS query,
            row_number() OVER (ORDER BY f.part, f.weight DESC, f.suggestion) AS place
        FROM (SELECT DISTINCT ON (lower(o.suggestion)) o.* FROM found AS o ORDER BY lower(o.suggestion), o.part) AS f
        UNION ALL
        -- Names among the terms: after the second, the fourth and so on.
        SELECT n.name, n.kind, n.message_count, n.query, n.place FROM named AS n
    ) AS s
    ORDER BY s.place, s.kind, s.suggestion
    LIMIT suggest_terms.max_rows;
    IF NOT FOUND THEN
        v_corrected := guestcomms.correct_query(v_typed);
        IF v_corrected <> v_typed THEN
            RETURN QUERY SELECT v_corrected, 'correction', NULL::bigint, v_corrected;
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.suggest_terms(text, integer) IS
$$What a query may go on to be, at every keystroke: words and pairs of words of the current tenant's messages that begin with what is typed (with the last words of it), the more frequent and the more recent first, and among them guests, weddings and campaigns whose names hold it. After from:, to:, guest:, wedding: and campaign: names alone. query is what to search for when a suggestion is taken; kind is word, phrase, guest, wedding, campaign, or correction where nothing begins so and correct_query() knows better. A word is suggested where at least suggest.min_guests guests wrote, or were written to, with it. Follows the messages with refresh_term_statistics(), a job.
Example: SELECT suggestion, kind FROM guestcomms.suggest_terms('veg');
See also: correct_query, suggest_corrections, search_messages$$;
