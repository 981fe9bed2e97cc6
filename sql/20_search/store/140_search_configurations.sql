-- Text-search configurations: one per language, stems without stop words, accents folded; frozen with message_search_v1.
-- And for the vocabulary words as they are written, without a language's stop words.
DO $configurations$
DECLARE
    v_language record;
    v_stop_words text;
BEGIN
    EXECUTE format('CREATE TEXT SEARCH DICTIONARY guestcomms.fold_accents (TEMPLATE = %I.unaccent, RULES = ''unaccent'')',
        guestcomms_internal.extension_schema('unaccent'));
    COMMENT ON TEXT SEARCH DICTIONARY guestcomms.fold_accents IS 'Letters without their accents.';
    CREATE TEXT SEARCH CONFIGURATION guestcomms.search_simple (COPY = pg_catalog.simple);
    ALTER TEXT SEARCH CONFIGURATION guestcomms.search_simple
        ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH guestcomms.fold_accents, simple;
    COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.search_simple IS 'Words as they are, accents folded: languages without a stemmer.';
    CREATE TEXT SEARCH CONFIGURATION guestcomms.words_simple (PARSER = pg_catalog."default");
    ALTER TEXT SEARCH CONFIGURATION guestcomms.words_simple ADD MAPPING FOR asciiword, word, hword_asciipart, hword_part WITH pg_catalog.simple;
    COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.words_simple IS 'Words as they are written, without numbers and addresses.';
    FOR v_language IN SELECT * FROM guestcomms_internal.stemmed_languages() LOOP
        -- PostgreSQL brings lists of stop words for these.
        v_stop_words := CASE WHEN v_language.language = ANY ('{da,de,en,es,fi,fr,hu,it,ne,nl,no,pt,ru,sv,tr}')
            THEN format(', STOPWORDS = %I', v_language.stemmer) ELSE '' END;
        EXECUTE format('CREATE TEXT SEARCH DICTIONARY guestcomms.words_%s (TEMPLATE = pg_catalog.simple%s)', v_language.language, v_stop_words);
        EXECUTE format('COMMENT ON TEXT SEARCH DICTIONARY guestcomms.words_%s IS %L', v_language.language,
            format('Words of %s in lower case, without stop words.', v_language.stemmer));
        EXECUTE format('CREATE TEXT SEARCH CONFIGURATION guestcomms.words_%s (PARSER = pg_catalog."default")', v_language.language);
        EXECUTE format('ALTER TEXT SEARCH CONFIGURATION guestcomms.words_%1$s ADD MAPPING FOR asciiword, word, hword_asciipart, hword_part WITH guestcomms.words_%1$s',
            v_language.language);
        EXECUTE format('COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.words_%s IS %L', v_language.language,
            format('Words of %s as they are written, without stop words, numbers and addresses.', v_language.stemmer));
        EXECUTE format('CREATE TEXT SEARCH DICTIONARY guestcomms.stem_%s (TEMPLATE = pg_catalog.snowball, LANGUAGE = %L)',
            v_language.language, v_language.stemmer);
        EXECUTE format('CREATE TEXT SEARCH CONFIGURATION guestcomms.search_%s (COPY = pg_catalog.simple)', v_language.language);
        EXECUTE format('ALTER TEXT SEARCH CONFIGURATION guestcomms.search_%1$s'
            ' ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH guestcomms.fold_accents, guestcomms.stem_%1$s',
            v_language.language);
        EXECUTE format('CREATE TEXT SEARCH CONFIGURATION guestcomms.accented_%s (COPY = pg_catalog.simple)', v_language.language);
        EXECUTE format('ALTER TEXT SEARCH CONFIGURATION guestcomms.accented_%1$s'
            ' ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH guestcomms.stem_%1$s', v_language.language);
        EXECUTE format('COMMENT ON TEXT SEARCH DICTIONARY guestcomms.stem_%s IS %L', v_language.language,
            format('Stems of %s; knows no stop words, so that exact phrases can be found.', v_language.stemmer));
        EXECUTE format('COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.search_%s IS %L', v_language.language,
            format('Stems of %s, of words whose accents are folded before.', v_language.stemmer));
        EXECUTE format('COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.accented_%s IS %L', v_language.language,
            format('Stems of %s, of words with their accents, which its stemmer goes by.', v_language.stemmer));
    END LOOP;
END $configurations$;
