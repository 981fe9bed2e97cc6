-- How a query was understood, what each stage looked at, and what every result's score is made of.
CREATE FUNCTION guestcomms_internal.score_parts(tenant_id uuid, plan guestcomms_internal.search_plan, candidate guestcomms_internal.search_candidate) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_parts jsonb;
BEGIN
    EXECUTE format(
        'SELECT jsonb_build_object(''word_count'', m.word_count, ''terms'', jsonb_agg(jsonb_build_object(''term'', u.unit -> ''lexemes'' ->> c.key,'
        ' ''message_count'', (u.unit -> ''counts'' ->> c.key)::bigint, ''weight'', round((u.unit ->> ''weight'')::numeric, 4),'
        ' ''frequency'', CASE WHEN (u.unit ->> ''is_prefix'')::boolean THEN round((1.6449 * r.rank)::numeric)'
        ' ELSE round((1 / (1.644934 * (1.0000001 - r.rank)) - 0.5)::numeric) END, ''in_subject'', s.rank > 0) ORDER BY u.number))'
        ' FROM guestcomms.messages AS m'
        ' CROSS JOIN LATERAL (SELECT array_position(%L::text[], guestcomms_internal.search_configuration_v1(m.language))::text AS key) AS c'
        ' CROSS JOIN jsonb_array_elements($4) WITH ORDINALITY AS u (unit, number)'
        ' CROSS JOIN LATERAL (SELECT (guestcomms_internal.quote_lexeme(u.unit -> ''lexemes'' ->> c.key) || CASE WHEN (u.unit ->> ''is_prefix'')::boolean THEN '':*'' ELSE '''' END)::tsquery AS query) AS q'
        ' CROSS JOIN LATERAL (SELECT ts_rank(''{1,1,1,1}'', m.search, q.query)::double precision AS rank) AS r'
        ' CROSS JOIN LATERAL (SELECT ts_rank(''{0,0,0,1}'', m.search, q.query) AS rank) AS s'
        ' WHERE m.tenant_id = $1 AND m.message_id = $2 AND m.sent_at = $3 AND u.unit -> ''lexemes'' ? c.key GROUP BY m.word_count', plan.configurations)
    INTO v_parts USING score_parts.tenant_id, candidate.message_id, candidate.sent_at, plan.units;
    RETURN coalesce(v_parts, '{}') || jsonb_build_object('message_id', candidate.message_id, 'sent_at', candidate.sent_at,
        'stage', guestcomms_internal.stage_name(candidate.stage), 'score', candidate.score, 'is_archived', candidate.is_archived);
END $$;
COMMENT ON FUNCTION guestcomms_internal.score_parts(uuid, guestcomms_internal.search_plan, guestcomms_internal.search_candidate) IS
'What a candidate''s score is made of.';

CREATE FUNCTION guestcomms_internal.explain(query text, range guestcomms_internal.search_range, filters jsonb, sort text, is_expanded boolean, max_rows integer)
RETURNS TABLE (part text, detail jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_parameters jsonb := guestcomms_internal.settings_of('search', v_tenant) || jsonb_build_object('include_archived', true);
    v_found guestcomms_internal.search_result;
    v_plan guestcomms_internal.search_plan;
    v_clause guestcomms_internal.search_clause;
    v_candidate guestcomms_internal.search_candidate;
BEGIN
    IF coalesce(explain.max_rows NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 200', HINT = 'Leave it out for 5.';
    END IF;
    v_found := guestcomms_internal.collect_candidates(v_tenant, explain.query, explain.range, guestcomms_internal.parameter_filters(v_tenant, explain.filters),
        explain.sort, coalesce(explain.is_expanded, false), v_parameters, NULL);
    v_plan := v_found.plan;
    FOREACH v_clause IN ARRAY v_plan.clauses LOOP
        part := 'clause';
        detail := jsonb_strip_nulls(jsonb_build_object('kind', v_clause.kind, 'field', v_clause.field, 'value', v_clause.value,
            'is_negated', v_clause.is_negated, 'alternative', v_clause.alternative,
            'stop_word_in', CASE WHEN v_clause.kind = 'word' THEN (SELECT jsonb_agg(k.name) FROM unnest(v_plan.configurations) AS k (name)
                WHERE guestcomms_internal.is_stop_word(k.name, v_clause.value)) END));
        RETURN NEXT;
    END LOOP;
    FOR v_number IN 1 .. cardinality(v_plan.configurations) LOOP
        part := 'language';
        detail := jsonb_build_object('configuration', v_plan.configurations[v_number], 'all_words', v_plan.all_words[v_number]::text,
            'any_word', v_plan.any_word[v_number]::text);
        RETURN NEXT;
    END LOOP;
    part := 'statistics';
    detail := jsonb_build_object('message_count', v_plan.message_count, 'mean_word_count', round(v_plan.mean_length::numeric, 1),
        'expected_share', v_plan.all_share, 'leaves_out_common_words', v_plan.is_reduced);
    RETURN NEXT;
    FOR v_number IN 0 .. 4 LOOP
        IF v_found.looked_at[v_number] IS NOT NULL THEN
            part := 'stage';
            detail := jsonb_build_object('stage', guestcomms_internal.stage_name(v_number), 'candidates', v_found.looked_at[v_number],
                'matches', (SELECT count(*) FROM unnest(v_found.candidates) AS c WHERE c.stage = v_number), 'windows', v_found.windows[v_number],
                'candidate_limit', (v_parameters ->> 'candidate_limit')::integer);
            RETURN NEXT;
        END IF;
    END LOOP;
    FOR v_candidate IN
        SELECT c.* FROM unnest(v_found.candidates) AS c
        ORDER BY CASE explain.sort WHEN 'relevant' THEN c.stage END, CASE explain.sort WHEN 'relevant' THEN c.score END DESC, c.sent_at DESC, c.message_id DESC
        LIMIT explain.max_rows
    LOOP
        part := 'result';
        detail := guestcomms_internal.score_parts(v_tenant, v_plan, v_candidate);
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.explain(text, guestcomms_internal.search_range, jsonb, text, boolean, integer) IS 'The work of explain_search().';

CREATE FUNCTION guestcomms.explain_search(
    query text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, channel text DEFAULT NULL, direction text DEFAULT NULL, campaign_id uuid DEFAULT NULL,
    sort text DEFAULT 'relevant', is_expanded boolean DEFAULT false, max_rows integer DEFAULT 5
) RETURNS TABLE (part text, detail jsonb)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
    SELECT * FROM guestcomms_internal.explain($1, ROW($2, $3, NULL, NULL)::guestcomms_internal.search_range,
        jsonb_strip_nulls(jsonb_build_object('guest_id', $4, 'thread_id', $5, 'wedding_id', $6, 'channel', $7, 'direction', $8, 'campaign_id', $9)),
        $10, $11, $12)
$$;
COMMENT ON FUNCTION guestcomms.explain_search(text, timestamptz, timestamptz, uuid, uuid, uuid, text, text, uuid, text, boolean, integer) IS
$$How a query is understood: a row for each clause, for each of the tenant's languages the text-search query it becomes, the statistics it is ranked by, for each stage how many candidates were looked at in how many windows, and for the best results the parts of the score.
Example: SELECT part, detail FROM guestcomms.explain_search('vegetarian menu -fish');
See also: search_messages, refresh_term_statistics$$;
