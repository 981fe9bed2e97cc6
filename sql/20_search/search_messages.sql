-- Search: the newest messages that hold every word, in windows of months that grow, then scored. Owned by the engine role:
-- text-search operators are not leakproof and would lose their index under a policy; the tenant is in every query instead.
CREATE FUNCTION guestcomms_internal.unspaced_runs(query text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT r.run[1] FROM regexp_matches(query, guestcomms_internal.unspaced_script_v1(), 'g') AS r (run));
END $$;
COMMENT ON FUNCTION guestcomms_internal.unspaced_runs(text) IS 'The parts of a text in scripts written without spaces.';

CREATE FUNCTION guestcomms_internal.search_queries(tenant_id uuid, query text)
RETURNS TABLE (configuration text, words tsquery, marks tsquery, unspaced text[])
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 2 SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
#variable_conflict use_column
DECLARE
    -- Bounded: a longer query is cut, not refused.
    v_query text := left(search_queries.query, 2000);
    v_runs text[] := guestcomms_internal.unspaced_runs(v_query);
    v_name text;
BEGIN
    -- The parser would take a run of Chinese for one word. So a placeholder stands for it, that operators and quotes apply
    -- to, and is replaced by the run's pairs of characters afterwards.
    v_query := regexp_replace(v_query, '([A-Za-z0-9_])(' || guestcomms_internal.unspaced_script_v1() || ')', '\1 \2', 'g');
    FOR v_place IN 1 .. coalesce(cardinality(v_runs), 0) LOOP
        v_query := regexp_replace(v_query, guestcomms_internal.unspaced_script_v1(), format('unspaced%srun ', v_place));
    END LOOP;
    unspaced := ARRAY(SELECT r.run FROM unnest(v_runs) WITH ORDINALITY AS r (run, place) WHERE strpos(v_query, format('-unspaced%srun', r.place)) = 0);
    IF v_query !~ '[[:alnum:]]' THEN
        RETURN;
    END IF;
    -- A message is stemmed by its own language, so the query is by each language that the tenant has.
    FOR configuration IN
        SELECT DISTINCT l.configuration FROM guestcomms.tenant_languages AS l WHERE l.tenant_id = search_queries.tenant_id ORDER BY l.configuration
    LOOP
        words := websearch_to_tsquery(('guestcomms.' || configuration)::regconfig, v_query);
        IF cardinality(v_runs) > 0 THEN
            -- Words and pairs of characters are counted apart, so that none of them is next to one of the others.
            words := regexp_replace(regexp_replace(words::text, '(''unspaced\d+run'') <(-|\d+)>', '\1 &', 'g'),
                '<(-|\d+)> (''unspaced\d+run'')', '& \2', 'g')::tsquery;
        END IF;
        FOR v_place IN 1 .. coalesce(cardinality(v_runs), 0) LOOP
            v_name := format('unspaced%srun', v_place);
            words := ts_rewrite(words, quote_literal(v_name)::tsquery, CASE char_length(v_runs[v_place])
                WHEN 1 THEN (quote_literal(v_runs[v_place]) || ':*')::tsquery
                ELSE (SELECT string_agg(quote_literal(substr(v_runs[v_place], c.place, 2)), ' & ')
                    FROM generate_series(1, char_length(v_runs[v_place]) - 1) AS c (place))::tsquery END);
        END LOOP;
        -- Headlines look for the whole query in every text, which takes long when it is long: then for some of its words.
        marks := CASE WHEN numnode(words) <= 40 THEN words ELSE (
            SELECT string_agg(quote_literal(w.word), ' | ')::tsquery
            FROM (SELECT unnest(tsvector_to_array(to_tsvector(('guestcomms.' || configuration)::regconfig, v_query))) LIMIT 20) AS w (word)) END;
        IF numnode(words) > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_queries(uuid, text) IS
'The query by each language of the tenant, what of it to mark in headlines, and its parts in scripts without spaces that are not excluded; no row where it holds no word.';

CREATE FUNCTION guestcomms_internal.search_cursor(after text, sort text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_cursor jsonb := guestcomms_internal.read_token_part(after);
    v_uuid text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
BEGIN
    IF after IS NOT NULL AND NOT coalesce(v_cursor ->> 'sort' = search_cursor.sort
        AND guestcomms_internal.is_timestamp(v_cursor ->> 'newest_at') AND v_cursor ->> 'newest_id' ~ v_uuid
        AND guestcomms_internal.is_timestamp(v_cursor ->> 'sent_at') AND v_cursor ->> 'message_id' ~ v_uuid
        AND v_cursor ->> 'score' ~ '^\d{1,4}(\.\d{1,20})?(e-?\d{1,2})?$', false)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'after is no cursor of this search',
            HINT = 'Pass the column cursor of the last row, with the same query, filters and sort.';
    END IF;
    RETURN v_cursor;
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_cursor(text, text) IS 'Where the page before ended; NULL for the first page.';

CREATE FUNCTION guestcomms_internal.find_candidates(
    tenant_id uuid, configurations text[], queries tsquery[], since timestamptz, until timestamptz, newest_at timestamptz, newest_id uuid, filters jsonb,
    max_rows integer
) RETURNS TABLE (message_id uuid, sent_at timestamptz, text_score double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1000 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_upper timestamptz := least(find_candidates.until, find_candidates.newest_at + interval '1 microsecond', 'infinity');
    v_lower timestamptz;
    v_first timestamptz := (SELECT r.since FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.messages');
    v_edge timestamptz := date_trunc('month', least(v_upper, now()), 'UTC');
    v_months integer := 1;
    v_left integer := find_candidates.max_rows;
    v_found integer;
    v_any tsquery;
    -- A message may match by any language's stems. Where a word is excluded it must match by those of its own, or the word
    -- would come back under another language's stem.
    v_own text := CASE WHEN cardinality(find_candidates.queries) > 1 AND strpos(find_candidates.queries::text, '!') > 0
        THEN '($9::tsquery[])[array_position($10::text[], guestcomms_internal.search_configuration_v1(m.language))]' ELSE '$2' END;
    v_matching text := format(
        'SELECT m.message_id, m.sent_at, m.search, %s AS query FROM guestcomms.messages AS m'
        ' WHERE m.tenant_id = $1 AND m.sent_at >= $3 AND m.sent_at < $4 AND (m.sent_at, m.message_id) <= ($5, $6)%s%s',
        v_own,
        CASE WHEN cardinality(find_candidates.queries) > 0 THEN format(' AND m.search @@ $2 AND m.search @@ %s', v_own) END,
        (SELECT string_agg(format(' AND m.%1$I = ($8 ->> %1$L)::%2$s', f.name, f.type), '')
         FROM (VALUES ('guest_id', 'uuid'), ('thread_id', 'uuid'), ('wedding_id', 'uuid'), ('campaign_id', 'uuid'), ('channel', 'text'), ('direction', 'text'))
            AS f (name, type)
         WHERE find_candidates.filters ? f.name));
BEGIN
    FOR v_place IN 1 .. coalesce(cardinality(find_candidates.queries), 0) LOOP
        v_any := coalesce(v_any || find_candidates.queries[v_place], find_candidates.queries[v_place]);
    END LOOP;
    LOOP
        -- Months double while too few are found, and nothing lies before the first partition but the default one. The fence
        -- (OFFSET 0) keeps the planner from walking the newest rows of a window in the hope of meeting a rare word soon.
        v_lower := CASE WHEN v_edge > v_first THEN v_edge ELSE '-infinity' END;
        v_lower := greatest(v_lower, find_candidates.since);
        IF v_lower < v_upper THEN
            RETURN QUERY EXECUTE format(
                'SELECT c.message_id, c.sent_at, coalesce(ts_rank(c.search, c.query), 0)::double precision FROM (%s%s) AS c ORDER BY c.sent_at DESC, c.message_id DESC LIMIT $7',
                v_matching, CASE WHEN v_any IS NOT NULL THEN ' OFFSET 0' END)
            USING find_candidates.tenant_id, v_any, v_lower, v_upper, coalesce(find_candidates.newest_at, 'infinity'),
                coalesce(find_candidates.newest_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), v_left, find_candidates.filters,
                find_candidates.queries, find_candidates.configurations;
            GET DIAGNOSTICS v_found = ROW_COUNT;
            v_left := v_left - v_found;
        END IF;
        EXIT WHEN v_left <= 0 OR v_lower <= coalesce(find_candidates.since, '-infinity');
        v_upper := v_lower;
        v_edge := v_edge - make_interval(months => v_months);
        v_months := v_months * 2;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_candidates(uuid, text[], tsquery[], timestamptz, timestamptz, timestamptz, uuid, jsonb, integer) IS
'The newest messages of a tenant that match, newest first, at most max_rows; reads growing windows of months.';

CREATE FUNCTION guestcomms_internal.run_search(
    query text, since timestamptz, until timestamptz, filters jsonb, sort text, is_expanded boolean, max_rows integer, after text
) RETURNS TABLE (message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, channel text, direction text, score double precision,
    headline text, is_archived boolean, stage text, is_truncated boolean, cursor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT SET extra_float_digits = 1
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_configurations text[];
    v_queries tsquery[];
    v_marks tsquery[];
    v_unspaced text[];
    v_cursor jsonb := guestcomms_internal.search_cursor(run_search.after, run_search.sort);
    v_limit integer := guestcomms_internal.setting('search.candidate_limit', v_tenant)::integer;
    v_start text := guestcomms_internal.setting('search.headline_start', v_tenant);
    v_stop text := guestcomms_internal.setting('search.headline_stop', v_tenant);
    v_half_life double precision := extract(epoch FROM guestcomms_internal.setting('search.recency_half_life', v_tenant)::interval);
BEGIN
    IF run_search.is_expanded THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'feedback expansion is not available in this version',
            HINT = 'Leave is_expanded out.';
    END IF;
    IF coalesce(run_search.sort NOT IN ('relevant', 'recent'), true) OR coalesce(run_search.max_rows NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'sort or max_rows is not valid',
            DETAIL = 'sort is relevant or recent; max_rows is from 1 to 200.', HINT = 'For more rows pass the last row''s cursor as after.';
    END IF;
    SELECT array_agg(q.configuration), array_agg(q.words), array_agg(q.marks), min(q.unspaced) INTO v_configurations, v_queries, v_marks, v_unspaced
    FROM guestcomms_internal.search_queries(v_tenant, run_search.query) AS q;
    IF v_queries IS NULL AND run_search.query ~ '[^\s[:punct:]]|[\u2600-\u27BF\U0001F000-\U0001FAFF]' THEN
        RETURN;   -- words or pictures, but none that anything is indexed by
    END IF;
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT c.message_id, c.sent_at, c.text_score, row_number() OVER () AS place
        FROM guestcomms_internal.find_candidates(v_tenant, v_configurations, v_queries, run_search.since, run_search.until,
            (v_cursor ->> 'newest_at')::timestamptz, (v_cursor ->> 'newest_id')::uuid,
            run_search.filters, v_limit + 1) AS c
    ), newest AS (
        SELECT c.sent_at, c.message_id FROM candidate AS c WHERE c.place = 1
    ), scored AS (
        SELECT c.message_id, c.sent_at,
            -- Of equally good texts the newer one first: up to 30% by age, measured from the newest so that pages agree.
            (c.text_score * (0.7 + 0.3 * power(0.5, extract(epoch FROM n.sent_at - c.sent_at)::double precision / v_half_life))) AS score
        FROM candidate AS c, newest AS n
        WHERE c.place <= v_limit
    ), page AS (
        SELECT s.*, row_number() OVER ranked AS place
        FROM scored AS s
        WHERE v_cursor IS NULL OR CASE run_search.sort
            WHEN 'recent' THEN (s.sent_at, s.message_id) < ((v_cursor ->> 'sent_at')::timestamptz, (v_cursor ->> 'message_id')::uuid)
            ELSE (s.score, s.sent_at, s.message_id) < ((v_cursor ->> 'score')::double precision, (v_cursor ->> 'sent_at')::timestamptz, (v_cursor ->> 'message_id')::uuid) END
        WINDOW ranked AS (ORDER BY CASE run_search.sort WHEN 'relevant' THEN s.score END DESC, s.sent_at DESC, s.message_id DESC)
        ORDER BY place
        LIMIT run_search.max_rows
    )
    SELECT m.message_id, m.sent_at, m.thread_id, m.guest_id, m.channel, m.direction, p.score,
        guestcomms_internal.headline(m.language, m.subject, m.body,
            v_marks[array_position(v_configurations, guestcomms_internal.search_configuration_v1(m.language))], v_unspaced, v_start, v_stop),
        false,
        CASE WHEN v_queries IS NULL THEN 'filters' ELSE 'all words' END,
        (SELECT count(*) > v_limit FROM candidate),
        guestcomms_internal.base64url_encode(convert_to(jsonb_build_object('sort', run_search.sort,
            'newest_at', CASE run_search.sort WHEN 'recent' THEN m.sent_at ELSE n.sent_at END,
            'newest_id', CASE run_search.sort WHEN 'recent' THEN m.message_id ELSE n.message_id END,
            'score', p.score::text, 'sent_at', m.sent_at, 'message_id', m.message_id)::text, 'UTF8'))
    FROM page AS p
    CROSS JOIN newest AS n
    JOIN guestcomms.messages AS m ON m.tenant_id = v_tenant AND m.message_id = p.message_id AND m.sent_at = p.sent_at
    ORDER BY p.place;
END $$;
COMMENT ON FUNCTION guestcomms_internal.run_search(text, timestamptz, timestamptz, jsonb, text, boolean, integer, text) IS
'One page of a search in the verified tenant; filters is an object of column names and values.';

CREATE FUNCTION guestcomms.search_messages(
    query text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, channel text DEFAULT NULL, direction text DEFAULT NULL, campaign_id uuid DEFAULT NULL,
    sort text DEFAULT 'relevant', is_expanded boolean DEFAULT false, include_archived boolean DEFAULT true,
    max_rows integer DEFAULT 20, after text DEFAULT NULL
) RETURNS TABLE (message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, channel text, direction text, score double precision,
    headline text, is_archived boolean, stage text, is_truncated boolean, cursor text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
    -- By number: some parameters share their names with columns of the result, which PL/pgSQL does not allow. Nothing is
    -- archived in this version, so include_archived ($12) excludes nothing.
    SELECT * FROM guestcomms_internal.run_search($1, $2, $3,
        jsonb_strip_nulls(jsonb_build_object('guest_id', $4, 'thread_id', $5, 'wedding_id', $6, 'channel', $7, 'direction', $8, 'campaign_id', $9)),
        $10, $11, $13, $14)
$$;
COMMENT ON FUNCTION guestcomms.search_messages(text, timestamptz, timestamptz, uuid, uuid, uuid, text, text, uuid, text, boolean, boolean, integer, text) IS
$$Messages of the current tenant that hold every word of the query (stemmed by the languages in use, accents and case ignored; "quoted words" in that order, -word for none of it, or between two for either), with the words marked in headline. Of more than search.candidate_limit matches the newest are ranked and is_truncated says so; pass the last row's cursor as after for the next page. Without words: the newest messages that pass the filters. Writes nothing and runs on a replica.
Example: SELECT sent_at, channel, headline FROM guestcomms.search_messages('vegetarian menu', channel => 'email', max_rows => 5);
See also: record_message, list_settings, help$$;
