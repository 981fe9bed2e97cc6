-- From clauses to what is executed: text-search queries by language, conditions, and what is scored with which weight.
CREATE TYPE guestcomms_internal.search_plan AS (
    clauses guestcomms_internal.search_clause[],
    configurations text[],      -- the tenant's text-search configurations; a message is matched by its own
    all_words tsquery[],        -- one per configuration, as are the next two
    any_word tsquery[],
    marks tsquery[],            -- what headlines mark
    runs text[],                -- parts in scripts without spaces, which headlines mark by themselves
    condition text,             -- on a message m, of the query's filters
    recheck text,               -- on the text of a candidate n
    recheck_all text,           -- likewise, where all words are wanted
    units jsonb,                -- what is scored: place, alternative, weight, is_prefix, and by configuration lexeme and message_count
    message_count bigint,       -- of the tenant, as counted
    mean_length double precision,
    all_share double precision, -- share of the tenant's messages expected to match
    any_share double precision,
    group_count integer,        -- alternatives that a message should hold
    is_reduced boolean          -- whether any_word leaves out common words
);
COMMENT ON TYPE guestcomms_internal.search_plan IS 'A query as it is understood for one tenant.';

CREATE FUNCTION guestcomms_internal.search_clauses(tenant_id uuid, query text) RETURNS guestcomms_internal.search_clause[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_clauses guestcomms_internal.search_clause[] := ARRAY(
        SELECT ROW(p.place, p.alternative, p.kind, p.field, p.value, p.is_negated)::guestcomms_internal.search_clause FROM guestcomms_internal.parse_query(query) AS p);
BEGIN
    IF EXISTS (SELECT FROM guestcomms.synonyms AS s WHERE s.tenant_id = search_clauses.tenant_id) THEN
        v_clauses := v_clauses || ARRAY(
            SELECT ROW(cardinality(v_clauses) + row_number() OVER (ORDER BY c.place, a.position), c.alternative,
                    CASE WHEN a.value ~ guestcomms_internal.unspaced_script_v1() THEN 'literal' ELSE 'synonym' END, NULL, a.value, false)::guestcomms_internal.search_clause
            FROM unnest(v_clauses) AS c
            JOIN guestcomms.synonyms AS s ON s.tenant_id = search_clauses.tenant_id AND s.term = guestcomms_internal.fold_words(c.value)
            CROSS JOIN LATERAL unnest(s.alternatives) WITH ORDINALITY AS a (value, position)
            WHERE c.kind IN ('word', 'run') AND NOT c.is_negated
            LIMIT 64);
    END IF;
    RETURN v_clauses;
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_clauses(uuid, text) IS 'The clauses of a query with the tenant''s synonyms.';

CREATE FUNCTION guestcomms_internal.clause_groups(clauses guestcomms_internal.search_clause[], configurations text[])
RETURNS TABLE (configuration integer, alternative integer, is_negated boolean, is_required boolean, query_text text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 20 SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH part AS (
        SELECT k.number::integer AS configuration, c.alternative, c.is_negated, c.kind, k.name, c.value,
            c.kind = 'word' AND NOT c.is_negated AND guestcomms_internal.is_stop_word(k.name, c.value) AS is_stop_word
        FROM unnest(configurations) WITH ORDINALITY AS k (name, number)
        CROSS JOIN unnest(clauses) AS c
        -- What must not be in the text exactly so is looked up there alone: its stems may well be.
        WHERE c.kind <> 'filter' AND NOT (c.is_negated AND guestcomms_internal.clause_recheck(c.kind, c.value) IS NOT NULL)
    ), kept AS (
        -- A language's stop words are left out, unless the query holds nothing else.
        SELECT p.*, guestcomms_internal.clause_query(p.name, p.kind, p.value)::text AS query_text
        FROM (SELECT q.*, bool_and(q.is_stop_word OR q.is_negated) OVER (PARTITION BY q.configuration) AS has_nothing_else FROM part AS q) AS p
        WHERE NOT p.is_stop_word OR p.has_nothing_else
    )
    SELECT k.configuration, k.alternative, bool_or(k.is_negated), bool_and(k.kind IN ('phrase', 'literal')), string_agg('(' || k.query_text || ')', ' | ')
    FROM kept AS k
    WHERE k.query_text <> ''
    GROUP BY k.configuration, k.alternative;
END $$;
COMMENT ON FUNCTION guestcomms_internal.clause_groups(guestcomms_internal.search_clause[], text[]) IS
'What stands for each other in a query, in each configuration (by number), as the text of a tsquery; phrases alone are required.';

CREATE FUNCTION guestcomms_internal.group_rechecks(clauses guestcomms_internal.search_clause[], configurations text[])
RETURNS TABLE (is_required boolean, condition text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 5 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT bool_and(c.is_negated OR c.kind IN ('phrase', 'literal')),
        CASE WHEN bool_or(c.is_negated) THEN 'NOT ' ELSE '' END || '(' || string_agg(DISTINCT coalesce(guestcomms_internal.clause_recheck(c.kind, c.value),
            -- Another of the alternatives, which the index alone can tell.
            (SELECT format('n.search @@ %L::tsquery', string_agg('(' || q.query_text || ')', ' | '))
             FROM (SELECT guestcomms_internal.clause_query(k.name, c.kind, c.value)::text AS query_text FROM unnest(configurations) AS k (name)) AS q
             WHERE q.query_text <> ''),
            'false'), ' OR ') || ')'
    FROM unnest(clauses) AS c
    WHERE c.kind <> 'filter'
    GROUP BY c.alternative
    HAVING bool_or(guestcomms_internal.clause_recheck(c.kind, c.value) IS NOT NULL);
END $$;
COMMENT ON FUNCTION guestcomms_internal.group_rechecks(guestcomms_internal.search_clause[], text[]) IS
'Conditions on the text of a candidate n; those required hold where any word will do, too.';

CREATE FUNCTION guestcomms_internal.query_conditions(
    tenant_id uuid, clauses guestcomms_internal.search_clause[], configurations text[], OUT condition text, OUT recheck text, OUT recheck_all text
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_timezone text := (SELECT t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = query_conditions.tenant_id);
BEGIN
    -- Each once: a query may repeat itself.
    SELECT string_agg(DISTINCT g.condition, ' AND ') INTO condition
    FROM (SELECT '(' || string_agg(DISTINCT format(CASE WHEN c.is_negated THEN '((%s) IS NOT TRUE)' ELSE '(%s)' END,
            guestcomms_internal.filter_condition(query_conditions.tenant_id, v_timezone, c.field, c.value)), ' OR ') || ')' AS condition
        FROM unnest(clauses) AS c WHERE c.kind = 'filter' GROUP BY c.alternative) AS g;
    IF EXISTS (SELECT FROM unnest(clauses) AS c WHERE c.kind IN ('phrase', 'literal', 'prefix', 'run')) THEN
        SELECT string_agg(DISTINCT r.condition, ' AND ') FILTER (WHERE r.is_required), string_agg(DISTINCT r.condition, ' AND ')
        INTO recheck, recheck_all
        FROM guestcomms_internal.group_rechecks(clauses, configurations) AS r;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.query_conditions(uuid, guestcomms_internal.search_clause[], text[]) IS
'Conditions of a query on a message m, of its filters, and on the text of a candidate n, of what must be in it exactly: recheck always, recheck_all where all words are wanted.';

CREATE FUNCTION guestcomms_internal.tenant_configurations(tenant_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN coalesce((SELECT array_agg(DISTINCT l.configuration ORDER BY l.configuration) FROM guestcomms.tenant_languages AS l
        WHERE l.tenant_id = tenant_configurations.tenant_id), '{search_simple}');
END $$;
COMMENT ON FUNCTION guestcomms_internal.tenant_configurations(uuid) IS 'The text-search configurations that a tenant''s queries are read by.';

CREATE FUNCTION guestcomms_internal.scored_units(tenant_id uuid, clauses guestcomms_internal.search_clause[], configurations text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
AS $$
BEGIN
    RETURN (
    WITH part AS (
        SELECT k.number AS configuration, c.place, c.alternative, c.kind, l.lexeme, l.position, c.kind = 'prefix' OR char_length(l.lexeme) = 1 AND c.kind IN ('run', 'literal') AND l.lexeme ~ guestcomms_internal.unspaced_script_v1() AS is_prefix,
            c.kind = 'word' AND guestcomms_internal.is_stop_word(k.name, c.value) AS is_stop_word,
            count(*) OVER (PARTITION BY k.number, c.place) AS lexeme_count
        FROM unnest(configurations) WITH ORDINALITY AS k (name, number)
        CROSS JOIN unnest(clauses) AS c
        CROSS JOIN LATERAL unnest(guestcomms_internal.clause_lexemes(k.name, c.kind, c.value)) WITH ORDINALITY AS l (lexeme, position)
        WHERE c.kind <> 'filter' AND NOT c.is_negated
    ), counted AS (
        SELECT p.*, bool_and(p.is_stop_word) OVER (PARTITION BY p.configuration) AS has_nothing_else,
            CASE WHEN p.is_prefix THEN (SELECT sum(t.message_count) FROM (SELECT s.message_count FROM guestcomms.term_statistics AS s
                    WHERE s.tenant_id = scored_units.tenant_id AND s.term >= p.lexeme AND s.term < p.lexeme || U&'\+10FFFF' ORDER BY s.term LIMIT 500) AS t)
                ELSE (SELECT s.message_count FROM guestcomms.term_statistics AS s WHERE s.tenant_id = scored_units.tenant_id AND s.term = p.lexeme) END AS message_count
        FROM part AS p
    ), unit AS (
        SELECT c.place, c.alternative, c.position, bool_or(c.is_prefix) AS is_prefix,
            max(CASE WHEN c.kind IN ('synonym', 'correction') THEN 0.8 ELSE 1 END / c.lexeme_count) AS weight,
            jsonb_object_agg(c.configuration, c.lexeme) AS lexemes,
            jsonb_object_agg(c.configuration, greatest(c.message_count, 0)) AS counts, max(greatest(c.message_count, 0)) AS most
        FROM counted AS c
        WHERE NOT c.is_stop_word OR c.has_nothing_else
        GROUP BY c.place, c.alternative, c.position
        -- Bounded: of a long query the rarest are scored.
        ORDER BY max(greatest(c.message_count, 0)), c.place, c.position
        LIMIT 40
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object('place', u.place, 'alternative', u.alternative, 'weight', u.weight, 'is_prefix', u.is_prefix,
        'lexemes', u.lexemes, 'counts', u.counts, 'most', u.most) ORDER BY u.place, u.position), '[]')
    FROM unit AS u);
END $$;
COMMENT ON FUNCTION guestcomms_internal.scored_units(uuid, guestcomms_internal.search_clause[], text[]) IS
'The lexemes that a query is scored by, at most 40, with the number of the tenant''s messages that hold each.';

CREATE FUNCTION guestcomms_internal.add_corrections(clauses guestcomms_internal.search_clause[], corrections jsonb) RETURNS guestcomms_internal.search_clause[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN clauses || ARRAY(
        SELECT ROW(cardinality(clauses) + c.number, (c.correction ->> 'alternative')::integer, 'correction', NULL, c.correction ->> 'value', false)::guestcomms_internal.search_clause
        FROM jsonb_array_elements(corrections) WITH ORDINALITY AS c (correction, number));
END $$;
COMMENT ON FUNCTION guestcomms_internal.add_corrections(guestcomms_internal.search_clause[], jsonb) IS
'Clauses with what their mistyped words were meant to be, as alternatives to these.';

CREATE FUNCTION guestcomms_internal.plan_search(tenant_id uuid, clauses guestcomms_internal.search_clause[], candidate_limit integer, state jsonb DEFAULT NULL) RETURNS guestcomms_internal.search_plan
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET client_min_messages = 'warning' SET extra_float_digits = 1
AS $$
DECLARE
    v_plan guestcomms_internal.search_plan;
    v_essential jsonb;
    v_found jsonb := jsonb_build_object();   -- by configuration and alternative
    v_group record;
    v_required tsquery[];
    v_excluded tsquery[];
    v_query tsquery;
BEGIN
    v_plan.clauses := plan_search.clauses;
    v_plan.configurations := guestcomms_internal.tenant_configurations(plan_search.tenant_id);
    SELECT q.condition, q.recheck, q.recheck_all INTO v_plan.condition, v_plan.recheck, v_plan.recheck_all
    FROM guestcomms_internal.query_conditions(plan_search.tenant_id, v_plan.clauses, v_plan.configurations) AS q;
    v_plan.runs := ARRAY(SELECT DISTINCT r.run FROM unnest(v_plan.clauses) AS c CROSS JOIN LATERAL unnest(guestcomms_internal.unspaced_runs(c.value)) AS r (run)
        WHERE c.kind IN ('run', 'literal') AND NOT c.is_negated);

    -- A page after the first is ranked by what the first was, whatever has been counted since.
    v_plan.units := coalesce(state -> 'units', guestcomms_internal.scored_units(plan_search.tenant_id, v_plan.clauses, v_plan.configurations));
    SELECT coalesce((state ->> 'message_count')::bigint, s.message_count, 0),
        coalesce((state ->> 'mean_length')::double precision, greatest(s.word_count::double precision / nullif(s.message_count, 0), 1), 12)
    INTO v_plan.message_count, v_plan.mean_length
    FROM (VALUES (1)) AS one LEFT JOIN guestcomms.search_statistics AS s ON s.tenant_id = plan_search.tenant_id;
    SELECT u.group_count, u.all_share, u.any_share, u.essential, u.is_reduced
    INTO v_plan.group_count, v_plan.all_share, v_plan.any_share, v_essential, v_plan.is_reduced
    FROM guestcomms_internal.choose_essential(v_plan.units, v_plan.message_count, plan_search.candidate_limit) AS u;

    FOR v_group IN SELECT * FROM guestcomms_internal.clause_groups(v_plan.clauses, v_plan.configurations) AS g ORDER BY g.alternative LOOP
        v_query := v_group.query_text::tsquery;
        IF v_group.is_negated THEN
            v_excluded[v_group.configuration] := coalesce(v_excluded[v_group.configuration] || v_query, v_query);
            CONTINUE;
        END IF;
        v_plan.all_words[v_group.configuration] := coalesce(v_plan.all_words[v_group.configuration] && v_query, v_query);
        v_plan.marks[v_group.configuration] := coalesce(v_plan.marks[v_group.configuration] || v_query, v_query);
        IF v_group.is_required THEN
            v_required[v_group.configuration] := coalesce(v_required[v_group.configuration] && v_query, v_query);
        ELSE
            v_found := v_found || jsonb_build_object(concat_ws(' ', v_group.configuration, v_group.alternative), v_group.query_text);
        END IF;
    END LOOP;
    -- Runs are marked by themselves.
    IF cardinality(v_plan.runs) > 0 OR v_plan.recheck_all IS NOT NULL THEN
        v_plan.marks := NULL;
        FOR v_group IN SELECT * FROM guestcomms_internal.clause_groups(
            ARRAY(SELECT c FROM unnest(v_plan.clauses) AS c WHERE c.kind NOT IN ('run', 'literal') AND NOT c.is_negated), v_plan.configurations) AS g
        LOOP
            v_query := v_group.query_text::tsquery;
            v_plan.marks[v_group.configuration] := coalesce(v_plan.marks[v_group.configuration] || v_query, v_query);
        END LOOP;
    END IF;
    FOR v_number IN 1 .. cardinality(v_plan.configurations) LOOP
        SELECT string_agg(c.query_text, ' | ')::tsquery INTO v_query
        FROM jsonb_array_elements(v_essential) AS e
        CROSS JOIN LATERAL (
            SELECT string_agg('(' || (v_found ->> concat_ws(' ', v_number, a.alternative)) || ')', ' & ') AS query_text,
                bool_and(v_found ? concat_ws(' ', v_number, a.alternative)) AS is_whole
            FROM jsonb_array_elements_text(e) AS a (alternative)
        ) AS c
        WHERE c.is_whole;
        v_plan.any_word[v_number] := v_query;
        IF v_required[v_number] IS NOT NULL THEN
            v_plan.any_word[v_number] := coalesce(v_plan.any_word[v_number] && v_required[v_number], v_required[v_number]);
        END IF;
        IF v_excluded[v_number] IS NOT NULL THEN
            v_plan.all_words[v_number] := coalesce(v_plan.all_words[v_number] && !!v_excluded[v_number], !!v_excluded[v_number]);
            v_plan.any_word[v_number] := v_plan.any_word[v_number] && !!v_excluded[v_number];
        END IF;
    END LOOP;
    RETURN v_plan;
END $$;
COMMENT ON FUNCTION guestcomms_internal.plan_search(uuid, guestcomms_internal.search_clause[], integer, jsonb) IS
'How the clauses of a query are understood for a tenant; state is that of the page before, if any.';

CREATE FUNCTION guestcomms_internal.choose_essential(
    units jsonb, message_count bigint, candidate_limit integer,
    OUT group_count integer, OUT all_share double precision, OUT any_share double precision, OUT essential jsonb, OUT is_reduced boolean
)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- A word that is not counted yet is taken for a rare one, and so is any word of a tenant that is not counted.
    v_messages double precision := greatest(choose_essential.message_count, 1000) + 1;
BEGIN
    -- Any word: what is rare finds the candidates, words and pairs of words, as many as together give no more than can be
    -- scored. What holds one everyday word and nothing else scores low, and the newest such messages would crowd out older
    -- ones that are about the matter.
    WITH clause AS (
        SELECT (u ->> 'alternative')::integer AS alternative, (u ->> 'place')::integer AS place, min((u ->> 'most')::bigint) AS most
        FROM jsonb_array_elements(units) AS u GROUP BY 1, 2
    ), grouped AS (
        SELECT c.alternative, least(1, (sum(c.most) + 1) / v_messages) AS share, row_number() OVER (ORDER BY sum(c.most), c.alternative) AS number
        FROM clause AS c GROUP BY c.alternative
    ), combination AS (
        SELECT jsonb_build_array(g.alternative) AS alternatives, g.share, 1 AS size, g.number FROM grouped AS g
        UNION ALL
        -- Words of one query come together more often than chance has it: three times is a guess that held on our data.
        SELECT jsonb_build_array(a.alternative, b.alternative), least(3 * a.share * b.share, a.share), 2, b.number
        FROM grouped AS a JOIN grouped AS b ON b.number > a.number AND b.number <= 12
    ), running AS (
        SELECT c.*, sum(c.share) OVER (ORDER BY c.share, c.size, c.alternatives) AS total,
            row_number() OVER (ORDER BY c.share, c.size, c.alternatives) AS place
        FROM combination AS c
    ), chosen AS (
        SELECT r.* FROM running AS r WHERE r.place = 1 OR r.total * v_messages <= candidate_limit OR r.size = 1 AND r.number = 1
    )
    SELECT (SELECT count(*) FROM grouped),
        coalesce((SELECT min(g.share) * exp(sum(CASE WHEN g.number > 1 THEN ln(greatest(g.share, 0.1)) ELSE 0 END ORDER BY g.number)) FROM grouped AS g), 1),
        coalesce(least(1, sum(c.share)), 1), jsonb_agg(c.alternatives ORDER BY c.place),
        (SELECT count(*) FROM grouped) > count(*) FILTER (WHERE c.size = 1)
    INTO group_count, all_share, any_share, essential, is_reduced
    FROM chosen AS c
    -- A pair adds nothing to one of its words.
    WHERE c.size = 1 OR NOT EXISTS (SELECT FROM chosen AS o WHERE o.size = 1 AND c.alternatives @> o.alternatives);
END $$;
COMMENT ON FUNCTION guestcomms_internal.choose_essential(jsonb, bigint, integer) IS
'How many messages a query should match, and which of its words and pairs of words find the candidates when any word will do.';
