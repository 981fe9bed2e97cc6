-- The stages of a search: messages with all words, those that no message holds taken for mistyped ones that some do; where there
-- are few, those with any word behind them; on demand those that are like the best found (RM3: Abdul-Jaleel and others, "UMass at TREC 2004").
CREATE TYPE guestcomms_internal.search_candidate AS (
    message_id uuid,
    sent_at timestamptz,
    score double precision,
    stage integer,           -- as stage_name() has it
    is_archived boolean
);
COMMENT ON TYPE guestcomms_internal.search_candidate IS 'A message that a search found, with its score.';

CREATE FUNCTION guestcomms_internal.stage_name(stage integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY['filters', 'all words', 'corrected words', 'any word', 'expanded'])[stage + 1];
COMMENT ON FUNCTION guestcomms_internal.stage_name(integer) IS 'Name of a search''s stage, from 0, in the order of their results.';

CREATE TYPE guestcomms_internal.search_result AS (
    candidates guestcomms_internal.search_candidate[],
    staged guestcomms_internal.search_candidate[],   -- of the stage collected last
    plan guestcomms_internal.search_plan,
    range guestcomms_internal.search_range,
    corrections jsonb,       -- what mistyped words were meant to be, as list_corrections() gives them
    has_any_word boolean,
    is_truncated boolean,
    looked_at integer[],     -- by stage, from 0
    windows integer[],
    newest jsonb,            -- by stage, the time that age is counted from
    opened uuid[],           -- segments of the archive that were read, and their messages
    archived guestcomms_internal.archived_message[],
    has_more_segments boolean
);
COMMENT ON TYPE guestcomms_internal.search_result IS 'All that a search found, before it is cut into pages.';

CREATE TYPE guestcomms_internal.found_candidate AS (
    message_id uuid, sent_at timestamptz, text_score double precision, is_match boolean, has_all boolean, window_number integer, is_archived boolean
);
COMMENT ON TYPE guestcomms_internal.found_candidate IS 'A candidate of one stage, as find_candidates() gives it.';

CREATE FUNCTION guestcomms_internal.collect_stage(
    tenant_id uuid, result guestcomms_internal.search_result, plan guestcomms_internal.search_plan, stage integer, all_words_stage integer,
    filters text, parameters jsonb, newest jsonb
) RETURNS guestcomms_internal.search_result
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_limit integer := (parameters ->> 'candidate_limit')::integer;
    v_half_life double precision := extract(epoch FROM (parameters ->> 'recency_half_life')::interval);
    v_weight double precision := (parameters ->> 'recency_weight')::double precision;
    v_found guestcomms_internal.found_candidate[];
    v_segments record;
    v_stage record;
BEGIN
    v_found := ARRAY(SELECT ROW(c.message_id, c.sent_at, c.text_score, c.is_match, c.has_all, c.window_number, false)::guestcomms_internal.found_candidate
        FROM guestcomms_internal.find_candidates(collect_stage.tenant_id, plan, guestcomms_internal.stage_name(stage), result.range, filters, v_limit + 1, parameters) AS c);
    -- Behind them what is archived: of as many messages as can be scored the newest are, and these are nearly all.
    IF cardinality(v_found) <= v_limit AND (parameters ->> 'include_archived')::boolean THEN
        SELECT s.segment_ids, s.messages, s.has_more INTO v_segments
        FROM guestcomms_internal.open_matching_segments(collect_stage.tenant_id, plan, guestcomms_internal.stage_name(stage), result.range, filters, coalesce(result.opened, '{}')) AS s;
        -- What a stage before has read is looked through again, and not read again.
        result.opened := result.opened || v_segments.segment_ids;
        result.archived := result.archived || v_segments.messages;
        result.has_more_segments := coalesce(result.has_more_segments, false) OR v_segments.has_more;
        v_found := v_found || ARRAY(SELECT ROW(c.message_id, c.sent_at, c.text_score, c.is_match, c.has_all, c.window_number, true)::guestcomms_internal.found_candidate
            FROM guestcomms_internal.find_archived_candidates(collect_stage.tenant_id, plan, guestcomms_internal.stage_name(stage), result.range, filters,
                v_limit + 1 - cardinality(v_found), parameters, result.archived) AS c);
    END IF;
    WITH found AS MATERIALIZED (
        SELECT c.* FROM unnest(v_found) WITH ORDINALITY AS c (message_id, sent_at, text_score, is_match, has_all, window_number, is_archived, place)
    ), reference AS (
        -- Of equally good texts the newer one first, by its age against the newest of the stage on the first page, so that pages agree.
        SELECT coalesce((collect_stage.newest ->> stage::text)::timestamptz, max(f.sent_at)) AS newest_at FROM found AS f
    )
    SELECT coalesce(array_agg(ROW(f.message_id, f.sent_at,
            f.text_score * (1 - v_weight + v_weight * power(0.5, extract(epoch FROM r.newest_at - f.sent_at)::double precision / v_half_life)),
            CASE WHEN stage = 3 AND f.has_all THEN all_words_stage ELSE stage END, f.is_archived)::guestcomms_internal.search_candidate) FILTER (WHERE f.is_match AND f.place <= v_limit), '{}') AS candidates,
        count(*) AS looked_at, coalesce(max(f.window_number), 0) AS windows, max(r.newest_at) AS newest_at
    INTO v_stage
    FROM found AS f, reference AS r;
    result.staged := v_stage.candidates;
    result.looked_at[stage] := v_stage.looked_at;
    result.windows[stage] := v_stage.windows;
    result.newest := coalesce(result.newest, '{}') || jsonb_build_object(stage, v_stage.newest_at);
    RETURN result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.collect_stage(uuid, guestcomms_internal.search_result, guestcomms_internal.search_plan, integer, integer, text, jsonb, jsonb) IS
'The result with what one stage staged: its scored candidates, at most candidate_limit (any word brings those with all words as all_words_stage); looked_at is one more where there are further ones. newest is that of the page before, if any.';

CREATE FUNCTION guestcomms_internal.feedback_units(
    tenant_id uuid, plan guestcomms_internal.search_plan, candidates guestcomms_internal.search_candidate[], archived guestcomms_internal.archived_message[]
) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
    -- The 20 stems that mark out the ten best, of those that more than one of them holds: 0.3 of the score, the query 0.7.
    WITH best AS MATERIALIZED (
        SELECT c.message_id, c.sent_at, c.score / nullif(sum(c.score) OVER (), 0) AS share
        FROM (SELECT * FROM unnest(candidates) ORDER BY score DESC, sent_at DESC, message_id DESC LIMIT 10) AS c
    ), held AS (
        SELECT u.lexeme, sum(b.share * cardinality(u.positions) / greatest(m.word_count, 1) ORDER BY b.sent_at, b.message_id) AS weight
        FROM best AS b
        CROSS JOIN LATERAL (
            (SELECT o.word_count, o.search FROM guestcomms.messages AS o
             WHERE o.tenant_id = feedback_units.tenant_id AND o.message_id = b.message_id AND o.sent_at = b.sent_at)
            UNION ALL
            (SELECT a.word_count, a.search FROM unnest(archived) AS a WHERE a.message_id = b.message_id)
            LIMIT 1
        ) AS m
        CROSS JOIN LATERAL unnest(m.search) AS u
        -- In order, or the last digit would depend on the plan. Without words no result is better than another.
        WHERE b.share IS NOT NULL AND char_length(u.lexeme) > 1 AND u.lexeme !~ '^[-+]?\d'
        GROUP BY u.lexeme HAVING count(*) > 1
    ), chosen AS (
        SELECT h.lexeme, t.message_count, h.weight * ln(1 + (plan.message_count - t.message_count + 0.5) / (t.message_count + 0.5)) AS weight
        FROM held AS h
        JOIN guestcomms.term_statistics AS t ON t.tenant_id = feedback_units.tenant_id AND t.term = h.lexeme AND t.message_count <= plan.message_count
        WHERE NOT EXISTS (SELECT FROM unnest(plan.configurations) AS k (name) WHERE guestcomms_internal.is_stop_word(k.name, h.lexeme))
        ORDER BY 3 DESC, 1 LIMIT 20
    ), queried AS (
        SELECT coalesce(sum((u ->> 'weight')::double precision), 0) AS weight FROM jsonb_array_elements(plan.units) AS u
    )
    SELECT coalesce((SELECT jsonb_agg(u || jsonb_build_object('weight', 0.7 * (u ->> 'weight')::double precision)) FROM jsonb_array_elements(plan.units) AS u), '[]')
        || coalesce((SELECT jsonb_agg(jsonb_build_object('place', 0, 'alternative', -number, 'is_prefix', false, 'most', c.message_count,
                'weight', 0.3 * q.weight * c.weight / nullif(c.total, 0),
                'lexemes', (SELECT jsonb_object_agg(k, c.lexeme) FROM generate_series(1, cardinality(plan.configurations)) AS k),
                'counts', (SELECT jsonb_object_agg(k, c.message_count) FROM generate_series(1, cardinality(plan.configurations)) AS k)))
            FROM (SELECT n.*, row_number() OVER (ORDER BY n.weight DESC, n.lexeme) AS number, sum(n.weight) OVER () AS total FROM chosen AS n) AS c, queried AS q), '[]'));
END $$;
COMMENT ON FUNCTION guestcomms_internal.feedback_units(uuid, guestcomms_internal.search_plan, guestcomms_internal.search_candidate[], guestcomms_internal.archived_message[]) IS
'What an expanded search scores by: the query''s lexemes, and with place 0 those of the best messages found.';

CREATE FUNCTION guestcomms_internal.widen_plan(plan guestcomms_internal.search_plan, units jsonb, candidate_limit integer) RETURNS guestcomms_internal.search_plan
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_added jsonb := coalesce((SELECT jsonb_agg(u) FROM jsonb_array_elements(units) AS u WHERE (u ->> 'place')::integer = 0), '[]');
    v_chosen record;
    v_query tsquery;
BEGIN
    -- The rarest of what was added find candidates of their own, about half of what can be scored.
    SELECT c.* INTO v_chosen FROM guestcomms_internal.choose_essential(v_added, plan.message_count, candidate_limit / 2) AS c;
    SELECT string_agg(guestcomms_internal.quote_lexeme(u -> 'lexemes' ->> '1'), ' | ')::tsquery INTO v_query
    FROM jsonb_array_elements(v_added) AS u WHERE v_chosen.essential @> jsonb_build_array(jsonb_build_array((u ->> 'alternative')::integer));
    IF v_query IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(plan.clauses) AS c WHERE c.kind = 'phrase' OR c.is_negated AND c.kind <> 'filter') THEN
        FOR v_number IN 1 .. cardinality(plan.configurations) LOOP
            plan.any_word[v_number] := coalesce(plan.any_word[v_number] || v_query, v_query);
        END LOOP;
        plan.any_share := least(1, plan.any_share + v_chosen.any_share);
    END IF;
    plan.units := units;
    RETURN plan;
END $$;
COMMENT ON FUNCTION guestcomms_internal.widen_plan(guestcomms_internal.search_plan, jsonb, integer) IS
'The plan of an expanded search; what must or must not be in a message still must.';

CREATE FUNCTION guestcomms_internal.has_content(query text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
    SELECT coalesce(query ~ '[^\s[:punct:]]|[\u2600-\u27BF\U0001F000-\U0001FAFF]', false));
END $$;
COMMENT ON FUNCTION guestcomms_internal.has_content(text) IS 'Whether a query holds words or pictures, though perhaps none that anything is indexed by.';

CREATE FUNCTION guestcomms_internal.unknown_words(plan guestcomms_internal.search_plan) RETURNS guestcomms_internal.search_clause[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT c FROM unnest(plan.clauses) AS c
        JOIN (SELECT (u ->> 'place')::integer AS place, max((u ->> 'most')::bigint) AS most FROM jsonb_array_elements(plan.units) AS u GROUP BY 1) AS k
            ON k.place = c.place AND k.most = 0
        WHERE c.kind = 'word'
        ORDER BY c.place);
END $$;
COMMENT ON FUNCTION guestcomms_internal.unknown_words(guestcomms_internal.search_plan) IS 'The words of a query that none of the counted messages holds.';

CREATE FUNCTION guestcomms_internal.collect_candidates(
    tenant_id uuid, query text, range guestcomms_internal.search_range, filters text, sort text, is_expanded boolean, parameters jsonb, state jsonb
) RETURNS guestcomms_internal.search_result
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_result guestcomms_internal.search_result;
    v_limit integer := (parameters ->> 'candidate_limit')::integer;
    v_any guestcomms_internal.search_candidate[];
    v_is_mixed boolean;
    v_is_any_truncated boolean;
    v_clauses guestcomms_internal.search_clause[] := guestcomms_internal.search_clauses(collect_candidates.tenant_id, query);
    v_plan guestcomms_internal.search_plan;
    v_has_words boolean;
    v_all integer;
BEGIN
    v_result.range := guestcomms_internal.narrow_range(collect_candidates.tenant_id, range);
    v_result.corrections := coalesce(state -> 'corrections', '[]');
    -- A later page of an expanded search is read by what the first was widened with.
    v_plan := guestcomms_internal.plan_search(collect_candidates.tenant_id, guestcomms_internal.add_corrections(v_clauses, v_result.corrections), v_limit,
        CASE WHEN is_expanded AND state IS NOT NULL
            THEN state || jsonb_build_object('units', jsonb_path_query_array(state -> 'units', '$[*] ? (@.place > 0)')) ELSE state END);
    IF state IS NULL AND v_plan.message_count > 0 AND (parameters ->> 'correct_words')::boolean THEN
        v_result.corrections := guestcomms_internal.list_corrections(collect_candidates.tenant_id, guestcomms_internal.unknown_words(v_plan));
        IF v_result.corrections <> '[]' THEN
            v_plan := guestcomms_internal.plan_search(collect_candidates.tenant_id, guestcomms_internal.add_corrections(v_clauses, v_result.corrections), v_limit);
        END IF;
    END IF;
    v_has_words := array_length(v_plan.all_words, 1) IS NOT NULL;
    v_all := CASE WHEN NOT v_has_words THEN 0 WHEN v_result.corrections = '[]' THEN 1 ELSE 2 END;
    v_result.is_truncated := false;
    v_result.has_any_word := coalesce((state ->> 'has_any_word')::boolean, false);
    -- Words, but none that anything is indexed by.
    IF NOT v_has_words AND EXISTS (SELECT FROM unnest(v_plan.clauses) AS c WHERE c.kind <> 'filter' AND NOT c.is_negated) OR NOT v_has_words
        AND cardinality(v_plan.clauses) = 0 AND guestcomms_internal.has_content(query)
    THEN
        v_result.candidates := '{}';
        v_result.plan := v_plan;
        RETURN v_result;
    END IF;
    -- Where nothing is looked for but only left out, no result is better than another.
    is_expanded := is_expanded AND v_plan.group_count > 0;
    IF is_expanded AND state IS NOT NULL THEN
        v_plan := guestcomms_internal.widen_plan(v_plan, state -> 'units', v_limit);
        v_result := guestcomms_internal.collect_stage(collect_candidates.tenant_id, v_result, v_plan, 4, v_all, filters, parameters, state -> 'newest');
        v_result.candidates := v_result.staged;
        v_result.is_truncated := v_result.looked_at[4] > v_limit OR v_plan.is_reduced;
        v_result.plan := v_plan;
        RETURN v_result;
    END IF;

    -- Few or none will hold all of many words, and those that do hold the rarest: one statement finds both.
    v_is_mixed := sort = 'relevant' AND v_plan.group_count > 1 AND array_length(v_plan.any_word, 1) IS NOT NULL
        AND (parameters ->> 'any_word_below')::integer > 0 AND v_plan.all_share * v_plan.message_count < 1;
    IF v_is_mixed THEN
        v_result := guestcomms_internal.collect_stage(collect_candidates.tenant_id, v_result, v_plan, 3, v_all, filters, parameters, state -> 'newest');
        v_any := v_result.staged;
        v_is_any_truncated := v_result.looked_at[3] > v_limit;
    END IF;
    -- Unless there were more than could be looked at: then one with all words may be among the older ones.
    IF v_is_mixed AND NOT v_is_any_truncated THEN
        v_result.candidates := ARRAY(SELECT c FROM unnest(v_any) AS c WHERE c.stage = v_all);
    ELSE
        v_result := guestcomms_internal.collect_stage(collect_candidates.tenant_id, v_result, v_plan, v_all, v_all, filters, parameters, state -> 'newest');
        v_result.candidates := v_result.staged;
        v_result.is_truncated := v_result.looked_at[v_all] > v_limit;
    END IF;
    -- By time, messages with some of the words would stand among those with all of them: so only where there are none.
    IF state IS NULL THEN
        v_result.has_any_word := v_has_words AND v_plan.group_count > 1 AND array_length(v_plan.any_word, 1) IS NOT NULL
            AND cardinality(v_result.candidates) < CASE sort WHEN 'recent' THEN least(1, (parameters ->> 'any_word_below')::integer)
                ELSE (parameters ->> 'any_word_below')::integer END;
    END IF;
    IF v_result.has_any_word AND v_any IS NULL THEN
        v_result := guestcomms_internal.collect_stage(collect_candidates.tenant_id, v_result, v_plan, 3, v_all, filters, parameters, state -> 'newest');
        v_any := v_result.staged;
        v_is_any_truncated := v_result.looked_at[3] > v_limit;
    END IF;
    IF v_result.has_any_word THEN
        v_result.candidates := v_result.candidates || ARRAY(SELECT c FROM unnest(v_any) AS c WHERE c.stage = 3);
        v_result.is_truncated := v_result.is_truncated OR v_is_any_truncated OR v_plan.is_reduced;
    END IF;
    IF is_expanded AND cardinality(v_result.candidates) > 0 THEN
        v_plan := guestcomms_internal.widen_plan(v_plan,
            guestcomms_internal.feedback_units(collect_candidates.tenant_id, v_plan, v_result.candidates, v_result.archived), v_limit);
        v_result := guestcomms_internal.collect_stage(collect_candidates.tenant_id, v_result, v_plan, 4, v_all, filters, parameters, state -> 'newest');
        v_result.candidates := v_result.staged;
        v_result.is_truncated := v_result.looked_at[4] > v_limit OR v_plan.is_reduced;
    END IF;
    v_result.plan := v_plan;
    RETURN v_result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.collect_candidates(uuid, text, guestcomms_internal.search_range, text, text, boolean, jsonb, jsonb) IS
'Runs the stages of a search in a tenant; state is that of the page before, if any.';
