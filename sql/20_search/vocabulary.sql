-- Vocabulary: which terms a message adds, and how much each counts.
CREATE FUNCTION guestcomms_internal.use_weight(sent_at timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Forward decay (Cormode and others, "Forward Decay: A Practical Time Decay Model"): the order of two sums of it stays
-- the same as time goes by, so that nothing is ever recomputed. Half of it in 180 days, counted from 2020.
RETURN power(2, (extract(epoch FROM sent_at)::double precision - 1577836800) / 15552000);
COMMENT ON FUNCTION guestcomms_internal.use_weight(timestamptz) IS 'What a use at that time is worth beside others: frequency and recency in one number.';

CREATE FUNCTION guestcomms_internal.guest_hash(guest_id uuid) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtext(guest_id::text);
COMMENT ON FUNCTION guestcomms_internal.guest_hash(uuid) IS 'A guest as the vocabulary counts them.';

CREATE FUNCTION guestcomms_internal.combine_guests(current integer[], added integer[], removed integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF removed IS NULL AND (cardinality(current) >= 20 OR current @> added) THEN
        RETURN current;
    END IF;
    -- Whose message goes may have others with the same word; then it counts a guest too few until it is next used. The other
    -- way round a word of one guest could be shown as one of many.
    RETURN ARRAY(SELECT u.guest FROM (
        SELECT c.guest, 1 AS place FROM unnest(current) AS c (guest) WHERE c.guest <> ALL (coalesce(removed, '{}'))
        UNION
        SELECT a.guest, 2 FROM unnest(added) AS a (guest) WHERE NOT (a.guest = ANY (current) AND a.guest <> ALL (coalesce(removed, '{}')))
    ) AS u ORDER BY u.place, u.guest LIMIT 20);
END $$;
COMMENT ON FUNCTION guestcomms_internal.combine_guests(integer[], integer[], integer[]) IS 'The guests who use a term, at most 20, after some came and some went.';

CREATE FUNCTION guestcomms_internal.fold_word(word text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE WHEN octet_length(word) = char_length(word) THEN lower(word)
        ELSE coalesce((ts_lexize('guestcomms.fold_accents', lower(word)))[1], lower(word)) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.fold_word(text) IS 'A word, or the beginning of one, as the vocabulary keeps it: lower case, accents folded.';

CREATE FUNCTION guestcomms_internal.message_terms(language text, subject text, body text) RETURNS TABLE (term text, written text, is_phrase boolean)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 15 SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
#variable_conflict use_column
DECLARE
    v_text text := concat_ws(E'\n\n', subject, left(body, 20000));
BEGIN
    -- The parser would take apart those addresses that it does not know as such.
    IF v_text ~* '@|://|www\.' THEN
        v_text := regexp_replace(v_text, '\S*(@|://|www\.)\S*', ' ', 'gi');
    END IF;
    -- Depends on the message alone: what it added is what it takes away again.
    RETURN QUERY
    WITH word AS (
        SELECT CASE WHEN octet_length(u.lexeme) = char_length(u.lexeme) THEN u.lexeme
                ELSE coalesce((ts_lexize('guestcomms.fold_accents', u.lexeme))[1], u.lexeme) END AS term, u.lexeme AS written, p.place
        FROM unnest(to_tsvector(('guestcomms.' || replace(guestcomms_internal.search_configuration_v1(message_terms.language), 'search', 'words'))::regconfig,
            v_text)) AS u
        CROSS JOIN LATERAL unnest(u.positions) AS p (place)
        WHERE char_length(u.lexeme) BETWEEN 2 AND 30
            -- A whole sentence of a script without spaces is no word.
            AND (octet_length(u.lexeme) = char_length(u.lexeme) OR char_length(u.lexeme) <= 8 OR u.lexeme !~ guestcomms_internal.unspaced_script_v1())
    ), pair AS (
        SELECT w.*, lead(w.term) OVER following AS next_term, lead(w.written) OVER following AS next_written, lead(w.place) OVER following AS next_place
        FROM word AS w WINDOW following AS (ORDER BY w.place)
    )
    SELECT p.term, max(p.written), false FROM pair AS p GROUP BY p.term
    UNION ALL
    SELECT p.term || ' ' || p.next_term, max(p.written || ' ' || p.next_written), true FROM pair AS p
    WHERE p.next_place = p.place + 1
    GROUP BY p.term, p.next_term;
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_terms(text, text, text) IS
'The words of a message and the pairs of words that follow each other in it, each once, without its language''s stop words, numbers and addresses.';

CREATE FUNCTION guestcomms_internal.key_seed(tenant_id uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(tenant_id::text, 0);
COMMENT ON FUNCTION guestcomms_internal.key_seed(uuid) IS 'What makes the spelling keys of tenants differ.';

CREATE FUNCTION guestcomms_internal.deletion_keys(seed bigint, word text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- Words within two edits of each other have a part in common that is left when at most two of the first seven letters
    -- are taken away (Garbe, SymSpell).
    v_start text := left(word, 7);
BEGIN
    RETURN ARRAY(SELECT DISTINCT hashtextextended(
            CASE WHEN a.place = 0 THEN v_start
                WHEN a.place = b.place THEN left(v_start, a.place - 1) || substr(v_start, a.place + 1)
                ELSE left(v_start, a.place - 1) || substr(v_start, a.place + 1, b.place - a.place - 1) || substr(v_start, b.place + 1) END, seed)
        FROM generate_series(0, char_length(v_start)) AS a (place)
        CROSS JOIN LATERAL generate_series(a.place, CASE a.place WHEN 0 THEN 0 ELSE char_length(v_start) END) AS b (place));
END $$;
COMMENT ON FUNCTION guestcomms_internal.deletion_keys(bigint, text) IS 'Hashes of what is left of a word without up to two of its first letters.';

CREATE FUNCTION guestcomms_internal.trigram_keys(seed bigint, word text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Another seed, so that no trigram stands for a part of three letters.
    RETURN ARRAY(SELECT DISTINCT hashtextextended(substr('  ' || word || ' ', c.place, 3), seed + 1) FROM generate_series(1, char_length(word) + 1) AS c (place));
END $$;
COMMENT ON FUNCTION guestcomms_internal.trigram_keys(bigint, text) IS 'Hashes of the trigrams of a word.';

CREATE FUNCTION guestcomms_internal.spelling_keys(tenant_id uuid, word text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 10000 SET search_path FROM CURRENT
AS $$
DECLARE
    v_seed bigint := guestcomms_internal.key_seed(tenant_id);
BEGIN
    RETURN guestcomms_internal.deletion_keys(v_seed, word) || guestcomms_internal.trigram_keys(v_seed, word);
END $$;
COMMENT ON FUNCTION guestcomms_internal.spelling_keys(uuid, text) IS 'What a tenant''s word is found by when it is mistyped.';

CREATE FUNCTION guestcomms_internal.is_spellable(word text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(word) BETWEEN 3 AND 30 AND (word COLLATE "default") ~ '^[[:alpha:]]+$' AND word !~ guestcomms_internal.unspaced_script_v1();
COMMENT ON FUNCTION guestcomms_internal.is_spellable(text) IS 'Whether a term is one word of letters, which can be mistyped and be meant.';

CREATE FUNCTION guestcomms_internal.remove_unused_terms(is_caught_up boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Below nought is a term whose message was deleted before its arrival is read, or, once all is read, one that had left
    -- the vocabulary for being rare.
    WITH gone AS (
        DELETE FROM guestcomms.vocabulary AS v WHERE v.is_unused AND (v.message_count = 0 OR is_caught_up)
        RETURNING v.tenant_id, v.term
    ), word AS (
        DELETE FROM guestcomms.spelling_words AS w USING gone AS g WHERE w.tenant_id = g.tenant_id AND w.word = g.term
    ), counted AS (
        SELECT g.tenant_id, count(*) AS term_count FROM gone AS g GROUP BY g.tenant_id
    )
    UPDATE guestcomms.search_statistics AS s SET term_count = s.term_count - c.term_count FROM counted AS c WHERE s.tenant_id = c.tenant_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.remove_unused_terms(boolean) IS 'Removes the terms that no message holds any more.';

CREATE FUNCTION guestcomms_internal.term_value(weight double precision, is_phrase boolean) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Most pairs of words occur once: such a pair leaves as if it were a year older than a word.
RETURN CASE WHEN is_phrase THEN weight / 4 ELSE weight END;
COMMENT ON FUNCTION guestcomms_internal.term_value(double precision, boolean) IS 'By what terms stay in the vocabulary or leave it.';

CREATE FUNCTION guestcomms_internal.max_terms(tenant_id uuid, message_count bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN least(guestcomms_internal.setting('suggest.max_terms', max_terms.tenant_id)::bigint, 2000 + greatest(max_terms.message_count, 0));
END $$;
COMMENT ON FUNCTION guestcomms_internal.max_terms(uuid, bigint) IS
'How many terms a tenant''s vocabulary may hold: about one a message, so that it does not outgrow them.';

CREATE FUNCTION guestcomms_internal.evict_terms(tenants uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant record;
    v_rows bigint;
BEGIN
    FOR v_tenant IN
        SELECT s.tenant_id, s.term_count, m.max_terms
        FROM guestcomms.search_statistics AS s
        CROSS JOIN LATERAL guestcomms_internal.max_terms(s.tenant_id, s.message_count) AS m (max_terms)
        WHERE s.tenant_id = ANY (tenants) AND s.term_count > m.max_terms * 1.1
    LOOP
        -- The seldomest and oldest, whole groups of which are hardly ever among the best; those that are, leave when their group
        -- is next refreshed, and are not shown until then.
        WITH gone AS (
            DELETE FROM guestcomms.vocabulary AS v
            -- Not those below nought, which wait for the arrival of a message that is gone already.
            USING (SELECT o.term FROM guestcomms.vocabulary AS o WHERE o.tenant_id = v_tenant.tenant_id AND NOT o.is_unused
                ORDER BY guestcomms_internal.term_value(o.weight, o.is_phrase), o.term LIMIT v_tenant.term_count - v_tenant.max_terms) AS seldom
            WHERE v.tenant_id = v_tenant.tenant_id AND v.term = seldom.term
            RETURNING v.tenant_id, v.term
        ), word AS (
            DELETE FROM guestcomms.spelling_words AS w USING gone AS g WHERE w.tenant_id = g.tenant_id AND w.word = g.term
        )
        SELECT count(*) INTO v_rows FROM gone;
        UPDATE guestcomms.search_statistics AS s SET term_count = s.term_count - v_rows WHERE s.tenant_id = v_tenant.tenant_id;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.evict_terms(uuid[]) IS 'Keeps these tenants'' vocabularies within their bounds.';
