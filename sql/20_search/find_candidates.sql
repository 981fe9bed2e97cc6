-- Candidates: the newest messages that match, read in windows of months, newest first, until there are enough. Owned by the
-- engine role: text-search operators are not leakproof and would lose their index under a policy; the tenant is in every
-- query instead.
CREATE TYPE guestcomms_internal.search_range AS (
    since timestamptz,
    until timestamptz,
    newest_at timestamptz,   -- not newer than this message, with which the first page began
    newest_id uuid
);
COMMENT ON TYPE guestcomms_internal.search_range IS 'What part of a tenant''s messages a search reads.';

CREATE FUNCTION guestcomms_internal.narrow_range(tenant_id uuid, range guestcomms_internal.search_range) RETURNS guestcomms_internal.search_range
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_counted record;
    v_unread record;
BEGIN
    -- Every partition in the range is planned for, also those without a message of this tenant. Counted are its months; what
    -- is not counted yet stands in the change log with its times.
    SELECT min(m.month)::timestamp AT TIME ZONE 'UTC' AS since, (max(m.month) + interval '1 month') AT TIME ZONE 'UTC' AS until INTO v_counted
    FROM guestcomms.search_months AS m WHERE m.tenant_id = narrow_range.tenant_id;
    SELECT count(*) AS change_count, min(u.since) FILTER (WHERE u.tenant_id = narrow_range.tenant_id) AS since,
        max(u.until) FILTER (WHERE u.tenant_id = narrow_range.tenant_id) + interval '1 microsecond' AS until
    INTO v_unread
    FROM (SELECT l.tenant_id, l.since, l.until FROM guestcomms.change_log AS l
        WHERE l.xid >= (SELECT pg_snapshot_xmin(c.done) FROM guestcomms.consumers AS c WHERE c.consumer = 'term_statistics') LIMIT 2001) AS u;
    IF v_counted.since IS NULL OR v_unread.change_count > 2000
        OR NOT EXISTS (SELECT FROM guestcomms.consumers AS c WHERE c.consumer = 'term_statistics' AND NOT c.must_rebuild)
        OR NOT EXISTS (SELECT FROM guestcomms.search_statistics AS s WHERE s.tenant_id = narrow_range.tenant_id)
    THEN
        RETURN range;
    END IF;
    range.since := greatest(range.since, least(v_counted.since, v_unread.since));
    range.until := least(range.until, greatest(v_counted.until, v_unread.until));
    RETURN range;
END $$;
COMMENT ON FUNCTION guestcomms_internal.narrow_range(uuid, guestcomms_internal.search_range) IS
'The part of a range that may hold messages of the tenant; the range itself where that is not known.';

CREATE FUNCTION guestcomms_internal.match_condition(queries tsquery[], configurations text[], is_indexed boolean, alias text DEFAULT 'm') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_any tsquery;
    v_own text := '';
BEGIN
    FOR v_number IN 1 .. cardinality(configurations) LOOP
        CONTINUE WHEN queries[v_number] IS NULL;
        v_any := coalesce(v_any || queries[v_number], queries[v_number]);
        v_own := v_own || format(' WHEN %L THEN %L::tsquery', configurations[v_number], queries[v_number]);
    END LOOP;
    -- The index is asked for what any language's stems give; a message must then match by those of its own, or a word would
    -- be found, or let in although it was excluded, by another language's stem.
    -- The function behind @@ asks no index: so whoever walks the newest rows gets a walk, whatever the planner thinks.
    RETURN CASE WHEN v_any IS NULL THEN 'false'
        WHEN cardinality(configurations) = 1 THEN format(CASE WHEN is_indexed THEN '%I.search @@ %L::tsquery' ELSE 'ts_match_vq(%I.search, %L::tsquery)' END, alias, v_any)
        ELSE CASE WHEN is_indexed THEN format('%I.search @@ %L::tsquery AND ', alias, v_any) ELSE '' END
            || format('ts_match_vq(%1$I.search, CASE guestcomms_internal.search_configuration_v1(%1$I.language)%2$s END)', alias, v_own) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.match_condition(tsquery[], text[], boolean, text) IS
'Condition on a message: that it matches the query of its own language; is_indexed lets the index be asked.';

CREATE FUNCTION guestcomms_internal.stage_condition(plan guestcomms_internal.search_plan, stage text, is_indexed boolean) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE stage
        WHEN 'filters' THEN ''
        WHEN 'all words' THEN ' AND ' || guestcomms_internal.match_condition(plan.all_words, plan.configurations, is_indexed)
        WHEN 'corrected words' THEN ' AND ' || guestcomms_internal.match_condition(plan.all_words, plan.configurations, is_indexed)
        ELSE ' AND ' || guestcomms_internal.match_condition(plan.any_word, plan.configurations, is_indexed) END || coalesce(' AND ' || plan.condition, '');
END $$;
COMMENT ON FUNCTION guestcomms_internal.stage_condition(guestcomms_internal.search_plan, text, boolean) IS
'Condition on a message m: what a stage looks for, and the filters of the query.';

CREATE FUNCTION guestcomms_internal.candidate_statement(plan guestcomms_internal.search_plan, stage text, source text, condition text, is_walk boolean, parameters jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET extra_float_digits = 1
AS $$
DECLARE
    v_units jsonb := CASE stage WHEN 'filters' THEN '[]' ELSE plan.units END;
    v_proximity text := '0::real';
    v_has_all text := 'true';
    v_k1 double precision := (parameters ->> 'term_saturation')::double precision;
    v_b double precision := (parameters ->> 'length_weight')::double precision;
    v_weight double precision := (parameters ->> 'proximity_weight')::double precision;
BEGIN
    IF stage = 'any word' THEN
        v_has_all := guestcomms_internal.match_condition(plan.all_words, plan.configurations, false, 'n') || coalesce(' AND ' || plan.recheck_all, '');
    END IF;
    IF stage IN ('all words', 'corrected words', 'any word') AND plan.group_count > 1 AND v_weight > 0 THEN
        v_proximity := format('CASE WHEN %s THEN ts_rank_cd(''{1,1,1,1}'', n.search, CASE n.configuration%s END) ELSE 0 END', v_has_all, (
            SELECT string_agg(format(' WHEN %s THEN %L::tsquery', c.number, plan.all_words[c.number]), '')
            FROM generate_series(1, cardinality(plan.configurations)) AS c (number) WHERE plan.all_words[c.number] IS NOT NULL));
    END IF;
    -- From within: the matches (fenced by OFFSET 0, or the planner might walk the newest rows in the hope of meeting a rare
    -- word soon; walking is chosen here, by the tenant's own statistics); the newest of them; their text rechecked and ranks
    -- taken, once each; term frequencies; the score.
    RETURN format(
        'SELECT f.message_id, f.sent_at, coalesce((%s) * (1 + %s * least(f.proximity, 1)), 0)::double precision, f.is_match, f.is_match AND f.has_all, $7 FROM ('
        'SELECT g.*%s FROM ('
        'SELECT n.message_id, n.sent_at, n.configuration, n.length_factor, %s AS proximity, %s AS is_match, %s AS has_all%s FROM ('
        'SELECT c.* FROM (SELECT m.message_id, m.sent_at, m.search, %s m.subject IS NOT NULL AS has_subject, %s AS configuration,'
        ' %s + %s * m.word_count AS length_factor FROM %s AS m'
        ' WHERE m.tenant_id = $1 AND m.sent_at >= $2 AND m.sent_at < $3 AND (m.sent_at, m.message_id) <= ($4, $5)%s%s) AS c'
        ' ORDER BY c.sent_at DESC, c.message_id DESC LIMIT $6) AS n OFFSET 0) AS g OFFSET 0) AS f',
        guestcomms_internal.score_expression(v_units, plan.message_count, parameters),
        v_weight, guestcomms_internal.frequency_columns(v_units, parameters), v_proximity,
        coalesce(CASE WHEN stage IN ('all words', 'corrected words') THEN plan.recheck_all ELSE plan.recheck END, 'true'), v_has_all, guestcomms_internal.rank_columns(v_units),
        CASE WHEN plan.recheck_all IS NOT NULL THEN 'm.subject, m.body,' ELSE '' END || CASE WHEN cardinality(plan.configurations) > 1 THEN 'm.language,' ELSE '' END,
        CASE WHEN cardinality(plan.configurations) = 1 THEN '1'
            ELSE format('array_position(%L::text[], guestcomms_internal.search_configuration_v1(m.language))', plan.configurations) END,
        v_k1 * (1 - v_b), v_k1 * v_b / plan.mean_length, source,
        condition, CASE WHEN is_walk THEN '' ELSE ' OFFSET 0' END);
END $$;
COMMENT ON FUNCTION guestcomms_internal.candidate_statement(guestcomms_internal.search_plan, text, text, text, boolean, jsonb) IS
'The statement that reads and scores the candidates of one window, out of the source.';

CREATE FUNCTION guestcomms_internal.next_window(tenant_id uuid, until timestamptz, message_count bigint, number integer, OUT since timestamptz, OUT scanned_count bigint)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_month record;
    v_has_months boolean := false;
BEGIN
    scanned_count := 0;
    FOR v_month IN
        SELECT m.month::timestamp AT TIME ZONE 'UTC' AS start, m.message_count FROM guestcomms.search_months AS m
        WHERE m.tenant_id = next_window.tenant_id AND m.message_count > 0 AND m.month::timestamp AT TIME ZONE 'UTC' < next_window.until
        ORDER BY m.month DESC
    LOOP
        v_has_months := true;
        scanned_count := scanned_count + v_month.message_count;
        IF scanned_count >= next_window.message_count THEN
            since := v_month.start;
            RETURN;
        END IF;
    END LOOP;
    -- All that is counted, and whatever is not counted yet, of any age. Of a tenant that is not counted at all, twice as many
    -- months as before, until those that have partitions are through.
    SELECT CASE WHEN NOT v_has_months AND r.since < x.since THEN x.since ELSE '-infinity' END INTO since
    FROM guestcomms_internal.partition_ranges AS r
    CROSS JOIN LATERAL (SELECT date_trunc('month', least(next_window.until, now()), 'UTC') - make_interval(months => (2 ^ least(next_window.number, 10))::integer - 1) AS since) AS x
    WHERE r.parent_table = 'guestcomms.messages';
END $$;
COMMENT ON FUNCTION guestcomms_internal.next_window(uuid, timestamptz, bigint, integer) IS
'Start of a window that ends at until and holds about so many of the tenant''s messages.';

CREATE FUNCTION guestcomms_internal.find_candidates(
    tenant_id uuid, plan guestcomms_internal.search_plan, stage text, range guestcomms_internal.search_range, filters text, max_rows integer, parameters jsonb
) RETURNS TABLE (message_id uuid, sent_at timestamptz, text_score double precision, is_match boolean, has_all boolean, window_number integer)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_upper timestamptz := least(range.until, range.newest_at + interval '1 microsecond', 'infinity');
    v_end timestamptz := coalesce(range.since, '-infinity');
    v_lower timestamptz;
    v_left integer := max_rows;
    v_number integer := 0;
    v_scanned bigint;
    v_found integer;
    v_is_walk boolean;
    v_has_words boolean := stage <> 'filters' AND jsonb_array_length(plan.units) > 0;
    v_share double precision := CASE WHEN NOT v_has_words THEN 1 WHEN stage IN ('all words', 'corrected words') THEN plan.all_share ELSE plan.any_share END
        -- Of one guest or thread there is little; how little only the index knows.
        * CASE WHEN concat(plan.condition, filters) ~ 'm\.(guest|thread|wedding|campaign)_id = ' THEN 0.001 ELSE 1 END;
BEGIN
    LOOP
        SELECT w.since, w.scanned_count INTO v_lower, v_scanned
        FROM guestcomms_internal.next_window(find_candidates.tenant_id, v_upper, least(ceil(v_left / v_share), 1e15)::bigint, v_number) AS w;
        v_lower := greatest(v_lower, v_end);
        IF v_lower < v_upper THEN
            v_number := v_number + 1;
            -- Walking the newest rows reads v_left / v_share of them, the index gives v_share * v_scanned matches; a row costs
            -- about two thirds of a match.
            v_is_walk := NOT v_has_words OR 0.6 * v_left < v_share * v_share * v_scanned;
            RETURN QUERY EXECUTE guestcomms_internal.candidate_statement(plan, stage, 'guestcomms.messages',
                guestcomms_internal.stage_condition(plan, stage, NOT v_is_walk) || coalesce(' AND ' || filters, ''), v_is_walk, parameters)
            USING find_candidates.tenant_id, v_lower, v_upper, coalesce(range.newest_at, 'infinity'),
                coalesce(range.newest_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), v_left, v_number;
            GET DIAGNOSTICS v_found = ROW_COUNT;
            v_left := v_left - v_found;
            v_share := least(v_share, (v_found + 1.0) / (v_scanned + 1.0));
        END IF;
        EXIT WHEN v_left <= 0 OR v_lower <= v_end;
        v_upper := v_lower;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_candidates(uuid, guestcomms_internal.search_plan, text, guestcomms_internal.search_range, text, integer, jsonb) IS
'The newest messages of a tenant that match in a stage, newest window first, at most max_rows, with their scores; is_match is false for those whose text does not hold what was asked for exactly, has_all true for those with all words.';
