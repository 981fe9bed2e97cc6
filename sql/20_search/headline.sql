-- Headlines: a fragment of the message with the found words marked; plain text, to be escaped by whoever shows it in HTML.
CREATE FUNCTION guestcomms_internal.headline(language text, subject text, body text, words tsquery, unspaced text[], start_mark text, stop_mark text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_configuration regconfig := ('guestcomms.' || guestcomms_internal.search_configuration_v1(headline.language))::regconfig;
    -- Bounded: the parser would read a long body to its end for every row.
    v_text text := left(concat_ws(' — ', nullif(headline.subject, ''), headline.body), 20000);
    v_marks text := format('StartSel="%s", StopSel="%s"', replace(headline.start_mark, '"', '""'), replace(headline.stop_mark, '"', '""'));
    v_place integer;
BEGIN
    IF headline.words IS NULL THEN
        RETURN left(v_text, 160);
    END IF;
    SELECT min(strpos(v_text, u.run)) INTO v_place FROM unnest(headline.unspaced) AS u (run) WHERE strpos(v_text, u.run) > 0;
    IF v_place IS NULL THEN
        RETURN ts_headline(v_configuration, v_text, headline.words, v_marks || ', MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=1');
    END IF;
    -- The parser takes a run of a script without spaces for one word: such a fragment is cut and its runs marked by hand.
    v_text := ts_headline(v_configuration, substr(v_text, greatest(1, v_place - 40), 120), headline.words, v_marks || ', HighlightAll=true');
    RETURN regexp_replace(v_text, (SELECT string_agg(DISTINCT u.run, '|' ORDER BY u.run DESC) FROM unnest(headline.unspaced) AS u (run)),
        replace(headline.start_mark, '\', '\\') || '\&' || replace(headline.stop_mark, '\', '\\'), 'g');
END $$;
COMMENT ON FUNCTION guestcomms_internal.headline(text, text, text, tsquery, text[], text, text) IS
'A fragment of a message with the query''s words between two marks; unspaced holds those of scripts without spaces.';
