-- The query language, second half: what a clause means in one text-search configuration.
CREATE TYPE guestcomms_internal.search_clause AS (
    place integer,         -- order within the query
    alternative integer,   -- clauses with the same number stand for each other
    kind text,             -- word, prefix, phrase, phone, run, literal, filter, synonym
    field text,            -- of a filter
    value text,
    is_negated boolean
);
COMMENT ON TYPE guestcomms_internal.search_clause IS 'One part of a query, as parse_query() gives them.';

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

CREATE FUNCTION guestcomms_internal.clause_lexemes(configuration text, kind text, value text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
BEGIN
    IF kind IN ('run', 'literal') THEN
        RETURN CASE char_length(value) WHEN 1 THEN ARRAY[value] ELSE
            ARRAY(SELECT substr(value, c.place, 2) FROM generate_series(1, least(char_length(value) - 1, 60)) AS c (place)) END;
    ELSIF kind = 'phone' THEN
        RETURN ARRAY[regexp_replace(value, '[^0-9+]', '', 'g')];
    END IF;
    RETURN ARRAY(SELECT u.lexeme FROM unnest(guestcomms_internal.stems_v1(guestcomms_internal.configuration_language(configuration), value)) AS u
        ORDER BY u.positions[1], u.lexeme LIMIT 12);
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_lexemes(text, text, text) IS
'The lexemes a clause is scored by, in order: its stems, or the pairs of characters of a script without spaces.';

CREATE FUNCTION guestcomms_internal.clause_query(configuration text, kind text, value text) RETURNS tsquery
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
DECLARE
    v_lexemes text[];
    v_query tsquery;
BEGIN
    IF kind IN ('run', 'literal', 'prefix') THEN
        v_lexemes := guestcomms_internal.clause_lexemes(CASE kind WHEN 'prefix' THEN 'search_simple' ELSE configuration END, kind, value);
        IF kind = 'prefix' OR char_length(value) = 1 THEN
            RETURN (guestcomms_internal.quote_lexeme(v_lexemes[1]) || ':*')::tsquery;
        END IF;
        RETURN (SELECT string_agg(guestcomms_internal.quote_lexeme(u.lexeme), ' & ') FROM unnest(v_lexemes) AS u (lexeme))::tsquery;
    END IF;
    v_query := phraseto_tsquery(('guestcomms.' || configuration)::regconfig, value);
    IF octet_length(value) > char_length(value) AND configuration <> 'search_simple' THEN
        v_query := v_query || (SELECT coalesce(string_agg(guestcomms_internal.quote_lexeme(u.lexeme), ' <-> ' ORDER BY u.positions[1]), '')
            FROM unnest(guestcomms_internal.folded_stems_v1(guestcomms_internal.configuration_language(configuration), value)) AS u)::tsquery;
    END IF;
    IF kind = 'phone' THEN
        -- As it is typed, and written in one with and without its plus.
        v_lexemes := guestcomms_internal.clause_lexemes(configuration, kind, value);
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
BEGIN
    -- The index knows stems and pairs of characters; what was asked for exactly is looked up in the text of the few that
    -- it gives.
    RETURN CASE
        WHEN kind IN ('run', 'literal') AND char_length(value) > 2 THEN
            format('(strpos(concat_ws(E''\n'', n.subject, n.body), %L) > 0)', value)
        WHEN kind = 'phrase' THEN
            format('(to_tsvector(''guestcomms.search_simple'', concat_ws(E''\n'', n.subject, left(n.body, 100000))) @@ phraseto_tsquery(''guestcomms.search_simple'', %L))', value)
        END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_recheck(text, text) IS
'Condition on the text of a candidate n for clauses that the index finds too much for; NULL for others.';
