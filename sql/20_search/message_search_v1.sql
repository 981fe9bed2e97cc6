-- The search vector of a message. Frozen: rows hold its results, and a dump restored beside another body would find
-- other messages. A change is message_search_v2 with a column and a store migration of its own.
CREATE FUNCTION guestcomms_internal.message_word_count_v1(subject text, body text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Scripts without spaces take three bytes a character and are searched by pairs of them.
RETURN CASE WHEN octet_length(body) > 2 * char_length(body) THEN char_length(body)
        ELSE char_length(body) - char_length(replace(body, ' ', '')) + 1 END
    + coalesce(char_length(subject) - char_length(replace(subject, ' ', '')) + 1, 0);
COMMENT ON FUNCTION guestcomms_internal.message_word_count_v1(text, text) IS 'Length of a message in words, for ranking. Frozen: rows hold its results.';

CREATE FUNCTION guestcomms_internal.stemmed_languages() RETURNS TABLE (language text, stemmer text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES ('ar', 'arabic'), ('ca', 'catalan'), ('da', 'danish'), ('de', 'german'), ('el', 'greek'), ('en', 'english'),
        ('es', 'spanish'), ('eu', 'basque'), ('fi', 'finnish'), ('fr', 'french'), ('ga', 'irish'), ('hi', 'hindi'),
        ('hu', 'hungarian'), ('hy', 'armenian'), ('id', 'indonesian'), ('it', 'italian'), ('lt', 'lithuanian'),
        ('ne', 'nepali'), ('nl', 'dutch'), ('no', 'norwegian'), ('pt', 'portuguese'), ('ro', 'romanian'), ('ru', 'russian'),
        ('sr', 'serbian'), ('sv', 'swedish'), ('ta', 'tamil'), ('tr', 'turkish'), ('yi', 'yiddish');
END;
COMMENT ON FUNCTION guestcomms_internal.stemmed_languages() IS 'Languages PostgreSQL has a Snowball stemmer for.';

CREATE FUNCTION guestcomms_internal.search_configuration_v1(language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN language = ANY ('{ar,ca,da,de,el,en,es,eu,fi,fr,ga,hi,hu,hy,id,it,lt,ne,nl,no,pt,ro,ru,sr,sv,ta,tr,yi}')
    THEN 'search_' || language ELSE 'search_simple' END;
COMMENT ON FUNCTION guestcomms_internal.search_configuration_v1(text) IS 'Text-search configuration of a language, in schema guestcomms.';

CREATE FUNCTION guestcomms_internal.unspaced_script_v1() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Thai, Lao, Myanmar, Khmer, Japanese syllables, Chinese characters (with extensions and compatibility forms).
RETURN '[\u0E01-\u0EFF\u1000-\u109F\u1780-\u17FF\u3005\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\U00020000-\U0003FFFF]+';
COMMENT ON FUNCTION guestcomms_internal.unspaced_script_v1() IS 'Regular expression for a run of a script written without spaces.';

CREATE FUNCTION guestcomms_internal.character_bigrams_v1(content text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- Every pair of neighbours, and the last character alone, so that a single one is found as a prefix. No word of the
    -- parser can equal one: message_search_v1 takes these scripts out before it parses. Positions end at 16383.
    SELECT coalesce(string_agg(quote_literal(b.pair) || ':' || least(b.place + b.number, 16383), ' ')::tsvector, '')
    FROM (SELECT r.number, c.place, c.letter || lead(c.letter, 1, '') OVER (PARTITION BY r.number ORDER BY c.place) AS pair
        FROM regexp_matches(content, guestcomms_internal.unspaced_script_v1(), 'g') WITH ORDINALITY AS r (run, number)
        CROSS JOIN LATERAL unnest(string_to_array(r.run[1], NULL)) WITH ORDINALITY AS c (letter, place)) AS b
$$;
COMMENT ON FUNCTION guestcomms_internal.character_bigrams_v1(text) IS 'Pairs of neighbouring characters of scripts written without spaces.';

CREATE FUNCTION guestcomms_internal.quote_lexeme(lexeme text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Not quote_literal(), which begins with an E where there is a backslash.
RETURN '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''';
COMMENT ON FUNCTION guestcomms_internal.quote_lexeme(text) IS 'A lexeme as the input of tsvector and tsquery takes it.';

CREATE FUNCTION guestcomms_internal.folded_stems_v1(language text, content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT coalesce(string_agg(guestcomms_internal.quote_lexeme(coalesce((ts_lexize('guestcomms.fold_accents', u.lexeme))[1], u.lexeme))
            || ':' || array_to_string(u.positions, ','), ' '), '')
        FROM unnest(to_tsvector(('guestcomms.accented_' || language)::regconfig, content)) AS u
        -- Folded a word may be longer than a vector takes.
        WHERE octet_length(u.lexeme) <= 500)::tsvector;
END $$;
COMMENT ON FUNCTION guestcomms_internal.folded_stems_v1(text, text) IS
'Stems of words with their accents, folded afterwards: what a stemmer makes of "informação" and "informações" is one only then.';

CREATE FUNCTION guestcomms_internal.stems_v1(language text, content text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_name text := guestcomms_internal.search_configuration_v1(language);
    v_stems tsvector;
    v_folded tsvector;
BEGIN
    -- The parser takes all that follows one of these, when nothing closes it, for a part of the tag.
    IF strpos(content, '<') > 0 THEN
        content := regexp_replace(content, '<(?=/?(script|style)\M)', ' ', 'gi');
    END IF;
    v_stems := to_tsvector(('guestcomms.' || v_name)::regconfig, content);
    -- A word with accents is indexed by two stems at the same place: so it is found by its other forms, and by those who type
    -- without accents.
    IF octet_length(content) > char_length(content) AND v_name <> 'search_simple' THEN
        v_folded := guestcomms_internal.folded_stems_v1(language, content);
        IF v_folded <> v_stems THEN
            RETURN (v_stems::text || ' ' || v_folded::text)::tsvector;
        END IF;
    END IF;
    RETURN v_stems;
END $$;
COMMENT ON FUNCTION guestcomms_internal.stems_v1(text, text) IS 'Stems of a text in its language, found with and without accents.';

CREATE FUNCTION guestcomms_internal.message_search_v1(language text, subject text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
    SET client_min_messages = 'warning'
AS $$
DECLARE
    -- A vector holds 1 MiB at most; a longer text is searched by its beginning.
    v_body text := left(body, 100000);
    v_bigrams tsvector;
BEGIN
    -- Most texts are plain; a call more for each of them would take a fifth of the time to load them.
    IF octet_length(v_body) = char_length(v_body) AND subject IS NULL AND strpos(v_body, '<') = 0 THEN
        RETURN setweight(to_tsvector(('guestcomms.' || guestcomms_internal.search_configuration_v1(language))::regconfig, v_body), 'B');
    END IF;
    IF octet_length(v_body) + coalesce(octet_length(subject), 0) > char_length(v_body) + coalesce(char_length(subject), 0)
        AND concat(subject, v_body) ~ guestcomms_internal.unspaced_script_v1()
    THEN
        v_bigrams := setweight(guestcomms_internal.character_bigrams_v1(coalesce(subject, '')), 'A')
            || setweight(guestcomms_internal.character_bigrams_v1(left(v_body, 30000)), 'B');
        subject := regexp_replace(subject, guestcomms_internal.unspaced_script_v1(), ' ', 'g');
        v_body := left(regexp_replace(v_body, guestcomms_internal.unspaced_script_v1(), ' ', 'g'), 50000);
    END IF;
    RETURN setweight(guestcomms_internal.stems_v1(language, coalesce(subject, '')), 'A')
        || setweight(guestcomms_internal.stems_v1(language, v_body), 'B')
        || coalesce(v_bigrams, '');
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_search_v1(text, text, text) IS
'Search vector of a message: stems of its language without stop words, accents folded, subject A and body B; pairs of characters for scripts without spaces; of a very long text the first 100,000 characters.';
