-- Headlines: a fragment of the message with the found words marked; plain text, to be escaped by whoever shows it in HTML.
CREATE FUNCTION guestcomms_internal.headline(language text, subject text, body text, words tsquery, unspaced text[], start_mark text, stop_mark text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- Bounded: the parser would read a long body to its end for every row.
    v_text text := left(concat_ws(' — ', nullif(headline.subject, ''), headline.body), 20000);
    v_run text;
BEGIN
    FOREACH v_run IN ARRAY headline.unspaced LOOP
        -- The parser takes a run of such a script for one word, so it is marked and cut by hand.
        IF strpos(v_text, v_run) > 0 THEN
            RETURN replace(substr(v_text, greatest(1, strpos(v_text, v_run) - 40), 120), v_run, headline.start_mark || v_run || headline.stop_mark);
        END IF;
    END LOOP;
    IF headline.words IS NULL THEN
        RETURN left(v_text, 160);
    END IF;
    RETURN ts_headline(('guestcomms.' || guestcomms_internal.search_configuration_v1(headline.language))::regconfig, v_text, headline.words,
        format('StartSel="%s", StopSel="%s", MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=1',
            replace(headline.start_mark, '"', '""'), replace(headline.stop_mark, '"', '""')));
END $$;
COMMENT ON FUNCTION guestcomms_internal.headline(text, text, text, tsquery, text[], text, text) IS
'A fragment of a message with the query''s words between two marks; unspaced holds those of scripts without spaces.';
