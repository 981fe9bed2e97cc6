-- The query language, first half: text into clauses, knowing nothing of the tenant. The grammar is in
-- docs/reference/query-language.md. Whatever is not of the grammar is a word; nothing is an error.
CREATE FUNCTION guestcomms_internal.unspaced_runs(query text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT r.run[1] FROM regexp_matches(query, guestcomms_internal.unspaced_script_v1(), 'g') AS r (run));
END $$;
COMMENT ON FUNCTION guestcomms_internal.unspaced_runs(text) IS 'The parts of a text in scripts written without spaces.';

CREATE FUNCTION guestcomms_internal.is_filter_value(field text, value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
    SELECT CASE
        WHEN field IN ('from', 'to', 'guest', 'wedding', 'in', 'campaign', 'file') THEN value ~ '[[:alnum:]]'
        WHEN field = 'channel' THEN lower(value) IN ('email', 'e-mail', 'sms', 'whatsapp', 'chat')
        WHEN field = 'status' THEN lower(value) IN ('received', 'queued', 'sent', 'delivered', 'read', 'unread', 'failed', 'cancelled')
        WHEN field = 'has' THEN lower(value) IN ('link', 'attachment', 'reply')
        WHEN field IN ('before', 'after', 'on') THEN lower(value) IN ('today', 'yesterday') OR value ~ '^(19|20)\d\d$'
            OR value ~ '^(19|20)\d\d-(0[1-9]|1[0-2])$'
            OR CASE WHEN value ~ '^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$' THEN
                -- The day exists if counting on from the month's first stays within the month.
                extract(month FROM (left(value, 7) || '-01')::date + substr(value, 9)::integer - 1) = substr(value, 6, 2)::integer
                ELSE false END
        ELSE false END);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_filter_value(text, text) IS
'Whether field:value is a filter of the query language; if not, it is read as words.';

CREATE FUNCTION guestcomms_internal.parse_query(query text)
RETURNS TABLE (place integer, alternative integer, kind text, field text, value text, is_negated boolean)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    -- Bounded: a longer query is cut, not refused. Typographic quotation marks are those of the keyboard.
    v_query text := translate(left(parse_query.query, 2000), '“”„‟«»＂', '"""""""');
    v_run text := guestcomms_internal.unspaced_script_v1();
    v_has_runs boolean := octet_length(v_query) > char_length(v_query) AND v_query ~ guestcomms_internal.unspaced_script_v1();
    v_token text[];
    v_part text[];
    v_text text;
    v_is_joined boolean := false;   -- by an OR to the clause before
    v_may_join boolean := false;    -- whether the clause before can be
    v_was_filter boolean;
BEGIN
    place := 0;
    alternative := 0;
    FOR v_token IN
        SELECT t.found FROM regexp_matches(v_query,
            -- 1 a minus; then 2 a telephone number, or 3 a field's name with its colon, 4 a phrase, 5 a bare token
            '(-?)(?:((?:\+|\(?0)\d(?:[\d ().-]|/(?=\d)){5,24}\d)(?![[:alnum:]])|([a-z]+:)?(?:"([^"]*)"?|([^\s"]+)))', 'g') AS t (found)
    LOOP
        EXIT WHEN place >= 64;
        IF v_token[5] = 'OR' AND v_token[1] = '' AND v_token[3] IS NULL AND v_may_join THEN
            v_is_joined := true;
            v_may_join := false;
            CONTINUE;
        END IF;
        is_negated := v_token[1] = '-';
        field := rtrim(v_token[3], ':');
        value := coalesce(v_token[2], v_token[4], v_token[5]);
        kind := CASE
            WHEN v_token[2] IS NOT NULL THEN CASE WHEN char_length(regexp_replace(v_token[2], '\D', '', 'g')) BETWEEN 7 AND 15 THEN 'phone' ELSE 'word' END
            WHEN field IS NOT NULL AND guestcomms_internal.is_filter_value(field, value) THEN 'filter'
            WHEN v_token[4] IS NOT NULL THEN 'phrase'
            ELSE 'word' END;
        IF kind <> 'filter' AND field IS NOT NULL THEN
            value := v_token[3] || value;   -- https://example.com, Re:menu
            kind := 'word';
        END IF;
        field := CASE WHEN kind = 'filter' THEN field END;
        -- A word may run into a script without spaces; each part is then a clause of its own.
        FOR v_part IN
            SELECT p.part FROM regexp_matches(value, format('(%s)|([^%s)', v_run, substr(v_run, 2)), 'g') AS p (part)
            WHERE kind = 'word' AND v_has_runs AND value ~ v_run
            UNION ALL
            SELECT ARRAY[NULL, value] WHERE NOT (kind = 'word' AND v_has_runs AND value ~ v_run)
        LOOP
            EXIT WHEN place >= 64;
            v_text := coalesce(v_part[1], v_part[2]);
            CONTINUE WHEN v_text !~ '[^\s[:punct:]]' AND v_part[1] IS NULL;
            -- Words stand for words, filters for filters.
            IF NOT (v_is_joined AND NOT is_negated AND v_was_filter = (kind = 'filter')) THEN
                alternative := alternative + 1;
            END IF;
            v_is_joined := false;
            v_may_join := NOT is_negated;
            v_was_filter := kind = 'filter';
            place := place + 1;
            RETURN QUERY SELECT place, alternative,
                CASE WHEN v_part[1] IS NOT NULL THEN 'run'
                    WHEN kind = 'phrase' AND v_has_runs AND v_text ~ v_run THEN 'literal'
                    WHEN kind = 'word' AND v_text ~ '^[[:alnum:]]+\*$' THEN 'prefix'
                    ELSE kind END,
                field,
                CASE WHEN kind = 'word' THEN rtrim(v_text, '*') ELSE v_text END, is_negated;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.parse_query(text) IS
'Clauses of a query: kind is word, prefix, phrase, literal (a phrase with parts in a script without spaces), phone, run (of such a script) or filter; clauses of the same alternative stand for each other (OR).';
