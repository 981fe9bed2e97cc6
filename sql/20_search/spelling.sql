-- Spelling: the words of a tenant that a mistyped one may mean, by a noisy channel: how likely the word is here, and how
-- likely that it was mistyped so. Why so: docs/explanation/search.md.
CREATE FUNCTION guestcomms_internal.edit_distance(word text, candidate text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_best integer := guestcomms_internal.levenshtein(word, candidate, 4);
    v_swapped text;
    v_again text;
BEGIN
    IF v_best <= 1 OR v_best > 4 THEN
        RETURN v_best;
    END IF;
    FOR v_place IN 1 .. char_length(word) - 1 LOOP
        v_swapped := overlay(word PLACING substr(word, v_place + 1, 1) || substr(word, v_place, 1) FROM v_place FOR 2);
        -- What was exchanged is edited no further (that is what makes it an alignment).
        FOR v_at IN greatest(1, v_place - 1) .. least(v_place + 1, char_length(candidate) - 1) LOOP
            IF substr(v_swapped, v_place, 2) = substr(candidate, v_at, 2) THEN
                v_best := least(v_best, 1 + guestcomms_internal.levenshtein(left(word, v_place - 1), left(candidate, v_at - 1), 4)
                    + guestcomms_internal.levenshtein(substr(word, v_place + 2), substr(candidate, v_at + 2), 4));
            END IF;
        END LOOP;
        IF v_best = 1 THEN
            RETURN v_best;
        END IF;
        IF v_best > 2 AND char_length(word) = char_length(candidate) THEN
            FOR v_other IN v_place + 2 .. char_length(word) - 1 LOOP
                v_again := overlay(v_swapped PLACING substr(v_swapped, v_other + 1, 1) || substr(v_swapped, v_other, 1) FROM v_other FOR 2);
                IF v_again = candidate THEN
                    RETURN 2;
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    RETURN v_best;
END $$;
COMMENT ON FUNCTION guestcomms_internal.edit_distance(text, text) IS
'Letters more, less, other or exchanged with their neighbour (optimal string alignment), exact up to 2; 5 or more of words far apart.';

CREATE FUNCTION guestcomms_internal.correction_score(word text, candidate text, edit_count integer, message_count bigint) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Fitted on half of codespell's list, by conditional logit, and rounded; bench/spelling.py shows what it gives.
    RETURN ln(greatest(message_count, 1))
        - 5 * edit_count
        -- Two letters exchanged are one slip, and a likelier one.
        + CASE WHEN guestcomms_internal.levenshtein(word, candidate, edit_count) > edit_count THEN 5 ELSE 0 END
        + 15 * guestcomms_internal.trigram_similarity(word, candidate)
        + CASE WHEN left(word, 1) = left(candidate, 1) THEN 3 ELSE 0 END
        + CASE WHEN right(word, 1) = right(candidate, 1) THEN 3 ELSE 0 END
        - 2.5 * guestcomms_internal.levenshtein(guestcomms_internal.sound_code(word), guestcomms_internal.sound_code(candidate), 20)
        -- Letters are left out more often than added.
        + 2 * (char_length(candidate) - char_length(word));
END $$;
COMMENT ON FUNCTION guestcomms_internal.correction_score(text, text, integer, bigint) IS
'How likely a word that so many messages hold was meant by another, beside other such words.';

CREATE FUNCTION guestcomms_internal.find_corrections(tenant_id uuid, word text, max_edits integer)
RETURNS TABLE (candidate text, edit_count integer, message_count bigint, score double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_seed bigint := guestcomms_internal.key_seed(find_corrections.tenant_id);
    v_word text := guestcomms_internal.fold_word(find_corrections.word);
    v_keys bigint[];
BEGIN
    IF NOT guestcomms_internal.is_spellable(v_word) THEN
        RETURN;
    END IF;
    v_keys := guestcomms_internal.deletion_keys(v_seed, v_word);
    RETURN QUERY
    -- The keys are the tenant's own, so they alone ask the index (OFFSET 0).
    SELECT v.written, n.edit_count, v.message_count, guestcomms_internal.correction_score(v_word, n.word, n.edit_count, v.message_count)
    FROM (
        SELECT k.word, guestcomms_internal.edit_distance(v_word, k.word) AS edit_count
        FROM (SELECT s.tenant_id, s.word FROM guestcomms.spelling_words AS s
            WHERE guestcomms_internal.spelling_keys(s.tenant_id, s.word) && v_keys OFFSET 0) AS k
        WHERE k.tenant_id = find_corrections.tenant_id AND k.word <> v_word AND abs(char_length(k.word) - char_length(v_word)) <= find_corrections.max_edits
        OFFSET 0
    ) AS n
    JOIN guestcomms.vocabulary AS v ON v.tenant_id = find_corrections.tenant_id AND v.term = n.word
    WHERE n.edit_count <= find_corrections.max_edits AND v.message_count > 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_corrections(uuid, text, integer) IS 'The words of a tenant within one or two edits of a word.';

CREATE FUNCTION guestcomms_internal.find_similar_words(tenant_id uuid, word text)
RETURNS TABLE (candidate text, edit_count integer, message_count bigint, score double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_seed bigint := guestcomms_internal.key_seed(find_similar_words.tenant_id);
    v_word text := guestcomms_internal.fold_word(find_similar_words.word);
    v_keys bigint[];
BEGIN
    IF NOT guestcomms_internal.is_spellable(v_word) THEN
        RETURN;
    END IF;
    v_keys := guestcomms_internal.trigram_keys(v_seed, v_word);
    RETURN QUERY
    SELECT v.written, d.edit_count, v.message_count, guestcomms_internal.correction_score(v_word, n.word, d.edit_count, v.message_count)
    FROM (
        SELECT k.word
        FROM (SELECT s.tenant_id, s.word FROM guestcomms.spelling_words AS s
            WHERE guestcomms_internal.spelling_keys(s.tenant_id, s.word) && v_keys OFFSET 0) AS k
        CROSS JOIN LATERAL (SELECT guestcomms_internal.trigram_similarity(v_word, k.word) AS similarity) AS t
        WHERE k.tenant_id = find_similar_words.tenant_id AND k.word <> v_word AND t.similarity >= 0.3
        ORDER BY t.similarity DESC, k.word LIMIT 50
    ) AS n
    CROSS JOIN LATERAL (SELECT guestcomms_internal.edit_distance(v_word, n.word) AS edit_count) AS d
    JOIN guestcomms.vocabulary AS v ON v.tenant_id = find_similar_words.tenant_id AND v.term = n.word
    WHERE v.message_count > 0 AND d.edit_count <= 4;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_similar_words(uuid, text) IS 'The words of a tenant that have most trigrams in common with a word.';

CREATE FUNCTION guestcomms.suggest_corrections(word text, max_rows integer DEFAULT 5)
RETURNS TABLE (correction text, edit_count integer, message_count bigint, score double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 5 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF coalesce(suggest_corrections.max_rows NOT BETWEEN 1 AND 50, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 50', HINT = 'Leave it out for 5.';
    END IF;
    RETURN QUERY
    SELECT c.candidate, c.edit_count, c.message_count, c.score FROM guestcomms_internal.find_corrections(v_tenant, suggest_corrections.word, 2) AS c
    ORDER BY c.score DESC, c.message_count DESC, c.candidate COLLATE "C" LIMIT suggest_corrections.max_rows;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT c.candidate, c.edit_count, c.message_count, c.score FROM guestcomms_internal.find_similar_words(v_tenant, suggest_corrections.word) AS c
        ORDER BY c.score DESC, c.message_count DESC, c.candidate COLLATE "C" LIMIT suggest_corrections.max_rows;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.suggest_corrections(text, integer) IS
$$Words of the current tenant's messages that a word may mean, likeliest first: those within two edits (a letter more, less, another, or two neighbours exchanged), or, where there are none, those with most trigrams in common; each with the number of messages that hold it. The word itself is not among them. correct_query() and searches take the first of these only where the word is long enough for so many edits.
Example: SELECT correction, message_count FROM guestcomms.suggest_corrections('vegitarian');
See also: correct_query, suggest_terms, search_messages$$;

CREATE FUNCTION guestcomms_internal.correct_word(tenant_id uuid, word text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_word text := guestcomms_internal.fold_word(correct_word.word);
    v_parameters jsonb;
    v_max_edits integer;
BEGIN
    -- First what costs nothing.
    IF char_length(v_word) > 30 OR NOT guestcomms_internal.is_spellable(v_word) THEN
        RETURN NULL;
    END IF;
    v_parameters := guestcomms_internal.settings_of('spelling', correct_word.tenant_id);
    v_max_edits := CASE WHEN char_length(v_word) >= (v_parameters ->> 'two_edits_from')::integer THEN 2
        WHEN char_length(v_word) >= (v_parameters ->> 'one_edit_from')::integer THEN 1 ELSE 0 END;
    IF v_max_edits = 0 OR guestcomms_internal.is_known_word(correct_word.tenant_id, correct_word.word) THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT c.candidate FROM guestcomms_internal.find_corrections(correct_word.tenant_id, v_word, v_max_edits) AS c
        ORDER BY c.score DESC, c.message_count DESC, c.candidate COLLATE "C" LIMIT 1);
END $$;
COMMENT ON FUNCTION guestcomms_internal.correct_word(uuid, text) IS
'The word of a tenant that was meant by one that it does not have; NULL where there is none, or nothing to correct.';

CREATE FUNCTION guestcomms_internal.is_known_word(tenant_id uuid, word text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_configurations text[] := guestcomms_internal.tenant_configurations(is_known_word.tenant_id);
    v_folded text := guestcomms_internal.fold_word(is_known_word.word);
BEGIN
    -- In a message, by any of its forms; a stop word; a word that has synonyms; a part of a guest's name.
    RETURN EXISTS (SELECT FROM unnest(v_configurations) AS k (name)
            CROSS JOIN LATERAL unnest(guestcomms_internal.clause_lexemes(k.name, 'word', is_known_word.word)) AS l (lexeme)
            JOIN guestcomms.term_statistics AS t ON t.tenant_id = is_known_word.tenant_id AND t.term = l.lexeme AND t.message_count > 0)
        OR EXISTS (SELECT FROM unnest(v_configurations) AS k (name) WHERE guestcomms_internal.is_stop_word(k.name, is_known_word.word))
        OR EXISTS (SELECT FROM guestcomms.synonyms AS s WHERE s.tenant_id = is_known_word.tenant_id AND s.term = v_folded)
        OR EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = is_known_word.tenant_id
            AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(g.display_name, '')) @@ guestcomms_internal.quote_lexeme(v_folded)::tsquery);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_known_word(uuid, text) IS 'Whether a word needs no correction in a tenant.';

CREATE FUNCTION guestcomms_internal.list_corrections(tenant_id uuid, clauses guestcomms_internal.search_clause[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_clause guestcomms_internal.search_clause;
    v_correction text;
    v_corrections jsonb := jsonb_build_array();
    v_looked_up integer := 0;
BEGIN
    FOREACH v_clause IN ARRAY clauses LOOP
        EXIT WHEN v_looked_up >= 8;
        IF v_clause.kind = 'word' AND NOT v_clause.is_negated THEN
            v_looked_up := v_looked_up + 1;
            v_correction := guestcomms_internal.correct_word(list_corrections.tenant_id, btrim(v_clause.value, '([''¿¡).,;!?]'));
            IF v_correction IS NOT NULL THEN
                v_corrections := v_corrections || jsonb_build_object('alternative', v_clause.alternative, 'value', v_correction);
            END IF;
        END IF;
    END LOOP;
    RETURN v_corrections;
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_corrections(uuid, guestcomms_internal.search_clause[]) IS
'What these clauses'' words, of which the tenant has none, were meant to be, by the clause they stand for; eight at most are looked up.';

CREATE FUNCTION guestcomms.correct_query(query text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_part text;
    v_word text[];
    v_correction text;
    v_result text := '';
    v_looked_up integer := 0;
    -- Bounded, as searches are, and cut between words: what follows stays as it is.
    v_read text := CASE WHEN char_length(query) <= 1000 THEN query ELSE regexp_replace(left(query, 1000), '\S+$', '') END;
BEGIN
    FOR v_part IN SELECT p.part[1] FROM regexp_matches(v_read, '[^\s"“”„‟«»＂]*["“”„‟«»＂][^"“”„‟«»＂]*["“”„‟«»＂]?|[^\s"“”„‟«»＂]+|\s+', 'g') AS p (part) LOOP
        -- A word of letters, perhaps in brackets or before a full stop; nothing that is quoted, left out, a filter or a beginning.
        v_word := regexp_match(v_part, '^([(\[''¿¡]*)([[:alpha:]]+)([)\].,;!?'']*)$');
        IF v_word IS NOT NULL AND v_looked_up < 20 THEN
            v_looked_up := v_looked_up + 1;
            v_correction := guestcomms_internal.correct_word(v_tenant, v_word[2]);
            IF v_correction IS NOT NULL THEN
                v_part := v_word[1] || CASE WHEN left(v_word[2], 1) <> lower(left(v_word[2], 1)) THEN upper(left(v_correction, 1)) || substr(v_correction, 2)
                    ELSE v_correction END || v_word[3];
            END IF;
        END IF;
        v_result := v_result || v_part;
    END LOOP;
    RETURN v_result || substr(correct_query.query, char_length(v_read) + 1);
END $$;
COMMENT ON FUNCTION guestcomms.correct_query(text) IS
$$The query with its mistyped words corrected, for "did you mean", or as it is. A word is corrected where the current tenant has it in no message, no guest's name and no synonyms, to one that its messages hold: by one edit from five letters, two from nine (settings spelling.one_edit_from, spelling.two_edits_from). Phrases, filters, excluded words and beginnings stay. The first twenty words are looked at. Searches do the same by themselves (setting search.correct_words).
Example: SELECT guestcomms.correct_query('vegitarian menu channel:email');
See also: suggest_corrections, search_messages, suggest_terms$$;
