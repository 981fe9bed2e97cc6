-- Text-search configurations: one per language, stems without stop words, accents folded; frozen with message_search_v1
DO $configurations$
DECLARE
    v_language record;
BEGIN
    EXECUTE format('CREATE TEXT SEARCH DICTIONARY guestcomms.fold_accents (TEMPLATE = %I.unaccent, RULES = ''unaccent'')',
        guestcomms_internal.extension_schema('unaccent'));
    COMMENT ON TEXT SEARCH DICTIONARY guestcomms.fold_accents IS 'Letters without their accents.';
    CREATE TEXT SEARCH CONFIGURATION guestcomms.search_simple (COPY = pg_catalog.simple);
    ALTER TEXT SEARCH CONFIGURATION guestcomms.search_simple
        ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH guestcomms.fold_accents, simple;
    COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.search_simple IS 'Words as they are, accents folded: languages without a stemmer.';
    FOR v_language IN SELECT * FROM guestcomms_internal.stemmed_languages() LOOP
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
