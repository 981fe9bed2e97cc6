-- Headlines: a fragment of the message with the found words marked; plain text, to be escaped by whoever shows it in HTML.
CREATE FUNCTION guestcomms_internal.headline(language text, subject text, body text, words tsquery, query text, tenant_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_start text := guestcomms_internal.setting('search.headline_start', headline.tenant_id);
    v_stop text := guestcomms_internal.setting('search.headline_stop', headline.tenant_id);
    -- Bounded: the parser would read a long body to its end for every row.
    v_text text := left(concat_ws(' — ', nullif(headline.subject, ''), headline.body), 20000);
    v_run text;
BEGIN
    FOR v_run IN SELECT DISTINCT r.run[1] FROM regexp_matches(left(headline.query, 2000), guestcomms_internal.unspaced_script_v1(), 'g') AS r (run) LOOP
        -- The parser takes a run of such a script for one word, so it is marked and cut by hand.
        IF strpos(v_text, v_run) > 0 THEN
            RETURN replace(substr(v_text, greatest(1, strpos(v_text, v_run) - 40), 120), v_run, v_start || v_run || v_stop);
        END IF;
    END LOOP;
    IF headline.words IS NULL THEN
        RETURN left(v_text, 160);
    END IF;
    RETURN ts_headline(('guestcomms.' || guestcomms_internal.search_configuration_v1(headline.language))::regconfig, v_text, headline.words,
        format('StartSel="%s", StopSel="%s", MaxWords=30, MinWords=12, MaxFragments=1',
            replace(v_start, '"', '""'), replace(v_stop, '"', '""')));
END $$;
COMMENT ON FUNCTION guestcomms_internal.headline(text, text, text, tsquery, text, uuid) IS
'A fragment of a message with the query''s words between the marks of the settings.';
