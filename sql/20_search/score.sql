-- The score of a candidate, as expressions that find_candidates() executes: BM25 (Robertson and others, "Okapi at TREC-3")
-- without unnesting the vectors. For one lexeme at weight 1, ts_rank() is the sum over i = 1 .. tf of 1/i², divided by pi²/6,
-- so that tf is close to 0.6449 r / (1 - r).
CREATE FUNCTION guestcomms_internal.unit_rank(unit jsonb, weights text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_suffix text := CASE WHEN (unit ->> 'is_prefix')::boolean THEN ':*' ELSE '' END;
BEGIN
    IF (SELECT count(DISTINCT l.value) FROM jsonb_each_text(unit -> 'lexemes') AS l) = 1 THEN
        RETURN format('ts_rank(%L, n.search, %L::tsquery)', weights,
            (SELECT guestcomms_internal.quote_lexeme(l.value) || v_suffix FROM jsonb_each_text(unit -> 'lexemes') AS l LIMIT 1));
    END IF;
    RETURN format('CASE n.configuration%s ELSE 0 END', (
        SELECT string_agg(format(' WHEN %s THEN ts_rank(%L, n.search, %L::tsquery)', l.key, weights, guestcomms_internal.quote_lexeme(l.value) || v_suffix), '')
        FROM jsonb_each_text(unit -> 'lexemes') AS l));
END $$;
COMMENT ON FUNCTION guestcomms_internal.unit_rank(jsonb, text) IS 'Expression: ts_rank of a scored lexeme in a candidate n, by its configuration.';

CREATE FUNCTION guestcomms_internal.unit_idf(unit jsonb, message_count bigint) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT SET extra_float_digits = 1
AS $$
BEGIN
    RETURN (
    WITH idf AS (
        SELECT c.key, ((unit ->> 'weight')::double precision
            * ln(1 + (greatest(message_count - c.value::bigint, 0) + 0.5) / (c.value::bigint + 0.5)))::double precision AS value
        FROM jsonb_each_text(unit -> 'counts') AS c)
    SELECT CASE count(DISTINCT i.value) WHEN 1 THEN min(i.value)::text
        ELSE format('(CASE f.configuration%s ELSE 0 END)', string_agg(format(' WHEN %s THEN %s', i.key, i.value), '')) END
    FROM idf AS i);
END $$;
COMMENT ON FUNCTION guestcomms_internal.unit_idf(jsonb, bigint) IS
'Expression: inverse document frequency of a scored lexeme among the tenant''s messages, times its weight.';

CREATE FUNCTION guestcomms_internal.rank_columns(units jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
    SELECT coalesce(string_agg(format(', %s AS r%s, CASE WHEN n.has_subject THEN %s ELSE 0 END AS s%s',
        guestcomms_internal.unit_rank(u.unit, '{1,1,1,1}'), u.number, guestcomms_internal.unit_rank(u.unit, '{0,0,0,1}'), u.number), '' ORDER BY u.number), '')
    FROM jsonb_array_elements(units) WITH ORDINALITY AS u (unit, number));
END $$;
COMMENT ON FUNCTION guestcomms_internal.rank_columns(jsonb) IS
'Columns r1, s1, r2, s2 …: ts_rank of each scored lexeme in the whole candidate n and in its subject.';

CREATE FUNCTION guestcomms_internal.score_expression(units jsonb, message_count bigint, parameters jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT SET extra_float_digits = 1
AS $$
BEGIN
    RETURN (
    SELECT coalesce(string_agg(format('%s * %s * f.tf%s / (f.tf%s + f.length_factor)', guestcomms_internal.unit_idf(u.unit, message_count),
        (parameters ->> 'term_saturation')::double precision + 1, u.number, u.number), ' + ' ORDER BY u.number), '0')
    FROM jsonb_array_elements(units) WITH ORDINALITY AS u (unit, number));
END $$;
COMMENT ON FUNCTION guestcomms_internal.score_expression(jsonb, bigint, jsonb) IS
'Expression: BM25 of a candidate f over its term frequencies tf1, tf2 …';

CREATE FUNCTION guestcomms_internal.frequency_columns(units jsonb, parameters jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT SET extra_float_digits = 1
AS $$
BEGIN
    RETURN (
    -- A word of the subject counts as several of the body. The ranks of a beginning's lexemes add up, each about one.
    SELECT coalesce(string_agg(format(CASE WHEN (u.unit ->> 'is_prefix')::boolean THEN ', 1.6449 * (g.r%1$s + %2$s * g.s%1$s) AS tf%1$s'
            ELSE ', 0.6449 * (g.r%1$s / (1.00001 - g.r%1$s) + %2$s * g.s%1$s / (1.00001 - g.s%1$s)) AS tf%1$s' END, u.number,
        (parameters ->> 'subject_weight')::double precision - 1), '' ORDER BY u.number), '')
    FROM jsonb_array_elements(units) WITH ORDINALITY AS u (unit, number));
END $$;
COMMENT ON FUNCTION guestcomms_internal.frequency_columns(jsonb, jsonb) IS 'Columns tf1, tf2 …: term frequencies from the ranks of a candidate g.';
