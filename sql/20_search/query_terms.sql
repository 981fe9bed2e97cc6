-- The query language, second half: what a clause means in one text-search configuration.
CREATE TYPE guestcomms_internal.search_clause AS (
    place integer,         -- order within the query
    alternative integer,   -- clauses with the same number stand for each other
    kind text,             -- word, prefix, phrase, phone, run, literal, filter, synonym, correction
    field text,            -- of a filter
    value text,
    is_negated boolean
);
COMMENT ON TYPE guestcomms_internal.search_clause IS 'One part of a query, as parse_query() gives them.';

CREATE FUNCTION guestcomms_internal.fold_words(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT coalesce(string_agg(u.lexeme, ' ' ORDER BY u.positions[1]), '') FROM unnest(to_tsvector('guestcomms.search_simple', left(value, 200))) AS u);
END $$;
COMMENT ON FUNCTION guestcomms_internal.fold_words(text) IS 'Words in lower case with accents folded.';

CREATE FUNCTION guestcomms_internal.is_stop_word(configuration text, word text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- PostgreSQL's own dictionaries know the stop words; ours do not, so that phrases keep theirs.
    RETURN coalesce((SELECT ts_lexize(('pg_catalog.' || l.stemmer || '_stem')::regdictionary, lower(word)) = '{}'
        FROM guestcomms_internal.stemmed_languages() AS l WHERE 'search_' || l.language = configuration), false);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_stop_word(text, text) IS
'Whether a language has the word for a stop word; such are left out of a query that has others.';

CREATE FUNCTION guestcomms_internal.configuration_language(configuration text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(substr(configuration, 8), 'simple');
COMMENT ON FUNCTION guestcomms_internal.configuration_language(text) IS 'Inverse of search_configuration_v1(): NULL for words as they are.';

CREATE FUNCTION guestcomms_internal.character_pairs(run text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE char_length(run) WHEN 1 THEN ARRAY[run] ELSE
        ARRAY(SELECT substr(run, c.place, 2) FROM generate_series(1, least(char_length(run) - 1, 60)) AS c (place)) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.character_pairs(text) IS 'Neighbouring characters of a run in a script without spaces, as they are indexed.';

CREATE FUNCTION guestcomms_internal.clause_lexemes(configuration text, kind text, value text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
BEGIN
    IF kind = 'run' THEN
        RETURN guestcomms_internal.character_pairs(value);
    ELSIF kind = 'literal' THEN
        RETURN ARRAY(SELECT p.pair FROM unnest(guestcomms_internal.unspaced_runs(value)) AS r (run)
                CROSS JOIN LATERAL unnest(guestcomms_internal.character_pairs(r.run)) AS p (pair) LIMIT 60)
            || guestcomms_internal.clause_lexemes(configuration, 'phrase', regexp_replace(value, guestcomms_internal.unspaced_script_v1(), ' ', 'g'));
    END IF;
    RETURN ARRAY(SELECT u.lexeme FROM unnest(guestcomms_internal.stems_v1(guestcomms_internal.configuration_language(configuration), value)) AS u
            ORDER BY u.positions[1], u.lexeme LIMIT 12)
        || CASE WHEN kind = 'phone' THEN ARRAY[regexp_replace(value, '[^0-9+]', '', 'g')]
            WHEN value ~ '^\d+$' AND kind <> 'prefix' THEN ARRAY['-' || value] ELSE '{}' END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_lexemes(text, text, text) IS
'The lexemes a clause is scored by, in order: its stems, or the pairs of characters of a script without spaces.';

CREATE FUNCTION guestcomms_internal.prefix_query(configuration text, value text) RETURNS tsquery
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_word text := guestcomms_internal.fold_words(value);
BEGIN
    -- What is indexed may be shorter than what was typed: the stem of celebration* is celebr. So the word's own stem and its
    -- beginnings find candidates, too, and their texts are looked at.
    RETURN (SELECT string_agg(q.part, ' | ') FROM (
        SELECT guestcomms_internal.quote_lexeme(v_word) || ':*'
        UNION
        SELECT guestcomms_internal.quote_lexeme(u.lexeme) FROM unnest(to_tsvector(('guestcomms.' || configuration)::regconfig, value)) AS u
        UNION
        SELECT guestcomms_internal.quote_lexeme(left(v_word, n)) FROM generate_series(greatest(3, char_length(v_word) - 6), char_length(v_word) - 1) AS n
        WHERE configuration <> 'search_simple') AS q (part))::tsquery;
END $$;
COMMENT ON FUNCTION guestcomms_internal.prefix_query(text, text) IS 'What may be indexed of words that begin with the value.';

CREATE FUNCTION guestcomms_internal.clause_query(configuration text, kind text, value text) RETURNS tsquery
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
DECLARE
    v_lexemes text[];
    v_query tsquery;
BEGIN
    IF kind = 'prefix' THEN
        RETURN guestcomms_internal.prefix_query(configuration, value);
    ELSIF kind = 'run' AND char_length(value) = 1 THEN
        RETURN (guestcomms_internal.quote_lexeme(value) || ':*')::tsquery;
    ELSIF kind IN ('run', 'literal') THEN
        RETURN (SELECT string_agg(guestcomms_internal.quote_lexeme(u.lexeme) || CASE WHEN char_length(u.lexeme) = 1 AND u.lexeme ~ guestcomms_internal.unspaced_script_v1() THEN ':*' ELSE '' END, ' & ')
            FROM unnest(guestcomms_internal.clause_lexemes(configuration, kind, value)) AS u (lexeme))::tsquery;
    END IF;
    v_query := phraseto_tsquery(('guestcomms.' || configuration)::regconfig, value);
    IF octet_length(value) > char_length(value) AND configuration <> 'search_simple' THEN
        v_query := v_query || (SELECT coalesce(string_agg(guestcomms_internal.quote_lexeme(u.lexeme), ' <-> ' ORDER BY u.positions[1]), '')
            FROM unnest(guestcomms_internal.folded_stems_v1(guestcomms_internal.configuration_language(configuration), value)) AS u)::tsquery;
    END IF;
    IF kind = 'phone' THEN
        -- As it is typed, and written in one with and without its plus.
        v_lexemes := ARRAY[regexp_replace(value, '[^0-9+]', '', 'g')];
        RETURN v_query || concat_ws(' | ', guestcomms_internal.quote_lexeme(v_lexemes[1]), guestcomms_internal.quote_lexeme(ltrim(v_lexemes[1], '+')))::tsquery;
    ELSIF value ~ '^\d+$' THEN
        -- The parser takes the hyphen of an order number such as A-1023 for a sign.
        RETURN v_query || guestcomms_internal.quote_lexeme('-' || value)::tsquery;
    END IF;
    RETURN v_query;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_query(text, text, text) IS
'What a message''s vector must hold for a clause, empty where nothing is indexed by it.';

CREATE FUNCTION guestcomms_internal.clause_recheck(kind text, value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- Subject and body apart: a phrase does not go on from one to the other.
    v_words text := '(to_tsvector(''guestcomms.search_simple'', coalesce(n.subject, '''')) @@ %1$s OR to_tsvector(''guestcomms.search_simple'', left(n.body, 100000)) @@ %1$s)';
BEGIN
    -- The index knows stems and pairs of characters; what was asked for exactly is looked up in the text of the few that
    -- it gives.
    RETURN CASE kind
        WHEN 'run' THEN CASE WHEN char_length(value) > 2 THEN format('(strpos(concat_ws(E''\n'', n.subject, n.body), %L) > 0)', value) END
        WHEN 'literal' THEN format('(strpos(lower(concat_ws(E''\n'', n.subject, n.body)), lower(%L)) > 0)', value)
        WHEN 'phrase' THEN format(v_words, format('phraseto_tsquery(''guestcomms.search_simple'', %L)', value))
        WHEN 'prefix' THEN format(v_words, format('%L::tsquery', guestcomms_internal.quote_lexeme(guestcomms_internal.fold_words(value)) || ':*'))
        END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_recheck(text, text) IS
'Condition on the text of a candidate n for clauses that the index finds too much for; NULL for others.';
