-- Text-search configurations: one per language, stems without stop words, accents folded; frozen with message_search_v1
DO $configurations$
DECLARE
    v_language record;
    v_unaccent name := guestcomms_internal.extension_schema('unaccent');
BEGIN
    CREATE TEXT SEARCH CONFIGURATION guestcomms.search_simple (COPY = pg_catalog.simple);
    EXECUTE format('ALTER TEXT SEARCH CONFIGURATION guestcomms.search_simple'
        ' ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH %I.unaccent, simple', v_unaccent);
    COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.search_simple IS 'Words as they are, accents folded: languages without a stemmer.';
    FOR v_language IN SELECT * FROM guestcomms_internal.stemmed_languages() LOOP
        EXECUTE format('CREATE TEXT SEARCH DICTIONARY guestcomms.stem_%s (TEMPLATE = pg_catalog.snowball, LANGUAGE = %L)',
            v_language.language, v_language.stemmer);
        EXECUTE format('CREATE TEXT SEARCH CONFIGURATION guestcomms.search_%s (COPY = pg_catalog.simple)', v_language.language);
        EXECUTE format('ALTER TEXT SEARCH CONFIGURATION guestcomms.search_%1$s'
            ' ALTER MAPPING FOR word, hword, hword_part, asciiword, asciihword, hword_asciipart WITH %2$I.unaccent, guestcomms.stem_%1$s',
            v_language.language, v_unaccent);
        EXECUTE format('COMMENT ON TEXT SEARCH DICTIONARY guestcomms.stem_%s IS %L', v_language.language,
            format('Stems of %s; knows no stop words, so that exact phrases can be found.', v_language.stemmer));
        EXECUTE format('COMMENT ON TEXT SEARCH CONFIGURATION guestcomms.search_%s IS %L', v_language.language,
            format('Stems of %s, accents folded.', v_language.stemmer));
    END LOOP;
END $configurations$;
