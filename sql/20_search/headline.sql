-- Headlines: a fragment of the message with the found words marked.
CREATE FUNCTION guestcomms_internal.mark_text(language text, subject text, body text, words tsquery, unspaced text[]) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_configuration regconfig := ('guestcomms.' || guestcomms_internal.search_configuration_v1(mark_text.language))::regconfig;
    -- Bounded: the parser would read a long body to its end for every row. What would forge a mark, or turn the direction of
    -- what stands after the headline, is left out: control characters, overrides and isolates of direction.
    v_text text := regexp_replace(left(concat_ws(' — ', nullif(mark_text.subject, ''), mark_text.body), 20000),
        '[\u0001-\u0008\u000B\u000C\u000E-\u001F\u007F\u202A-\u202E\u2066-\u2069]', '', 'g');
    v_place integer;
BEGIN
    -- The parser drops tags, and all that follows one of these.
    v_text := regexp_replace(v_text, '<(?=/?(script|style)\M)', '< ', 'gi');
    SELECT min(strpos(v_text, u.run)) INTO v_place FROM unnest(mark_text.unspaced) AS u (run) WHERE strpos(v_text, u.run) > 0;
    IF v_place IS NULL AND mark_text.words IS NULL THEN
        RETURN left(v_text, 160);
    ELSIF v_place IS NULL THEN
        RETURN ts_headline(v_configuration, v_text, mark_text.words, E'StartSel="\x01", StopSel="\x02", MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=1');
    END IF;
    -- The parser takes a run of a script without spaces for one word: such a fragment is cut and its runs marked by hand.
    v_text := substr(v_text, greatest(1, v_place - 40), 120);
    IF mark_text.words IS NOT NULL THEN
        v_text := ts_headline(v_configuration, v_text, mark_text.words, E'StartSel="\x01", StopSel="\x02", HighlightAll=true');
    END IF;
    RETURN regexp_replace(v_text, (SELECT string_agg(DISTINCT u.run, '|' ORDER BY u.run DESC) FROM unnest(mark_text.unspaced) AS u (run)), E'\x01\\&\x02', 'g');
END $$;
COMMENT ON FUNCTION guestcomms_internal.mark_text(text, text, text, tsquery, text[]) IS
'A fragment of a message with the query''s words between the characters 1 and 2, which no text holds; unspaced are those of scripts without spaces.';

CREATE FUNCTION guestcomms_internal.headline(marked text, format text, start_mark text, stop_mark text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF headline.format = 'html' THEN
        marked := replace(replace(replace(replace(replace(marked, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
    END IF;
    marked := replace(replace(marked, E'\x01', headline.start_mark), E'\x02', headline.stop_mark);
    -- Text from right to left is isolated (U+2068 to U+2069), so that it does not reorder what it is shown beside.
    RETURN CASE WHEN marked ~ '[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC\U00010800-\U00010FFF\U0001E800-\U0001EFFF]' THEN U&'\2068' || marked || U&'\2069' ELSE marked END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.headline(text, text, text, text) IS
'The fragment with its marks; format html escapes everything but these.';
