-- Search: the newest messages that hold every word, in windows of months that grow, then scored. Owned by the engine role:
-- text-search operators are not leakproof and would lose their index under a policy; the tenant is in every query instead.
CREATE FUNCTION guestcomms_internal.unspaced_runs(query text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT r.run[1] FROM regexp_matches(left(query, 2000), guestcomms_internal.unspaced_script_v1(), 'g') AS r (run));
END $$;
COMMENT ON FUNCTION guestcomms_internal.unspaced_runs(text) IS 'The parts of a query in scripts written without spaces.';

CREATE FUNCTION guestcomms_internal.search_query(tenant_id uuid, query text) RETURNS tsquery
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
DECLARE
    -- Bounded: a longer query is cut, not refused.
    v_query text := left(search_query.query, 2000);
    v_words text := regexp_replace(v_query, guestcomms_internal.unspaced_script_v1(), ' ', 'g');
    v_result tsquery;
    v_part tsquery;
    v_configuration text;
    v_run text;
BEGIN
    IF v_words ~ '[[:alnum:]]' THEN
        -- A message is stemmed by its own language, so the query is by each language that the tenant has.
        FOR v_configuration IN
            SELECT l.configuration FROM guestcomms.tenant_languages AS l WHERE l.tenant_id = search_query.tenant_id ORDER BY l.configuration
        LOOP
            v_part := websearch_to_tsquery(('guestcomms.' || v_configuration)::regconfig, v_words);
            IF numnode(v_part) > 0 THEN
                v_result := coalesce(v_result || v_part, v_part);
            END IF;
        END LOOP;
    END IF;
    FOREACH v_run IN ARRAY guestcomms_internal.unspaced_runs(v_query) LOOP
        v_part := CASE char_length(v_run)
            WHEN 1 THEN (quote_literal(v_run) || ':*')::tsquery
            ELSE (SELECT string_agg(quote_literal(substr(v_run, place, 2)), ' & ') FROM generate_series(1, char_length(v_run) - 1) AS place)::tsquery END;
        v_result := coalesce(v_result && v_part, v_part);
    END LOOP;
    RETURN v_result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_query(uuid, text) IS
'Every word of the query, stemmed by each language of the tenant; pairs of characters for scripts without spaces; NULL where it holds no word.';

CREATE FUNCTION guestcomms_internal.search_cursor(after text, sort text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_cursor jsonb := guestcomms_internal.read_token_part(after);
BEGIN
    IF after IS NOT NULL AND (v_cursor ->> 'sort' IS DISTINCT FROM sort OR NOT v_cursor ?& '{newest_at,newest_id,score,sent_at,message_id}') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'after is no cursor of this search',
            HINT = 'Pass the column cursor of the last row, with the same query, filters and sort.';
    END IF;
    RETURN v_cursor;
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_cursor(text, text) IS 'Where the page before ended; NULL for the first page.';

CREATE FUNCTION guestcomms_internal.find_candidates(
    tenant_id uuid, words tsquery, since timestamptz, until timestamptz, newest_at timestamptz, newest_id uuid, filters jsonb, max_rows integer
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
    v_matching text := format(
        'SELECT m.message_id, m.sent_at, m.search FROM guestcomms.messages AS m'
        ' WHERE m.tenant_id = $1 AND m.sent_at >= $3 AND m.sent_at < $4 AND (m.sent_at, m.message_id) <= ($5, $6)%s%s',
        CASE WHEN find_candidates.words IS NOT NULL THEN ' AND m.search @@ $2' END,
        (SELECT string_agg(format(' AND m.%1$I = ($8 ->> %1$L)::%2$s', f.name, f.type), '')
         FROM (VALUES ('guest_id', 'uuid'), ('thread_id', 'uuid'), ('wedding_id', 'uuid'), ('campaign_id', 'uuid'), ('channel', 'text'), ('direction', 'text'))
            AS f (name, type)
         WHERE find_candidates.filters ? f.name));
BEGIN
    LOOP
        -- Months double while too few are found, and nothing lies before the first partition but the default one. The fence
        -- (OFFSET 0) keeps the planner from walking the newest rows of a window in the hope of meeting a rare word soon.
        v_lower := CASE WHEN v_edge > v_first THEN v_edge ELSE '-infinity' END;
        v_lower := greatest(v_lower, find_candidates.since);
        IF v_lower < v_upper THEN
            RETURN QUERY EXECUTE format(
                'SELECT c.message_id, c.sent_at, coalesce(ts_rank(c.search, $2), 0)::double precision FROM (%s%s) AS c ORDER BY c.sent_at DESC, c.message_id DESC LIMIT $7',
                v_matching, CASE WHEN find_candidates.words IS NOT NULL THEN ' OFFSET 0' END)
            USING find_candidates.tenant_id, find_candidates.words, v_lower, v_upper, coalesce(find_candidates.newest_at, 'infinity'),
                coalesce(find_candidates.newest_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), v_left, find_candidates.filters;
            GET DIAGNOSTICS v_found = ROW_COUNT;
            v_left := v_left - v_found;
        END IF;
        EXIT WHEN v_left <= 0 OR v_lower <= coalesce(find_candidates.since, '-infinity');
        v_upper := v_lower;
        v_edge := v_edge - make_interval(months => v_months);
        v_months := v_months * 2;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_candidates(uuid, tsquery, timestamptz, timestamptz, timestamptz, uuid, jsonb, integer) IS
'The newest messages of a tenant that match, newest first, at most max_rows; reads growing windows of months.';

CREATE FUNCTION guestcomms_internal.run_search(
    query text, since timestamptz, until timestamptz, filters jsonb, sort text, is_expanded boolean, max_rows integer, after text
) RETURNS TABLE (message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, channel text, direction text, score double precision,
    headline text, is_archived boolean, stage text, is_truncated boolean, cursor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_words tsquery;
    v_cursor jsonb := guestcomms_internal.search_cursor(run_search.after, run_search.sort);
    v_limit integer := guestcomms_internal.setting('search.candidate_limit', v_tenant)::integer;
    v_start text := guestcomms_internal.setting('search.headline_start', v_tenant);
    v_stop text := guestcomms_internal.setting('search.headline_stop', v_tenant);
    v_unspaced text[] := guestcomms_internal.unspaced_runs(run_search.query);
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
    v_words := guestcomms_internal.search_query(v_tenant, run_search.query);
    IF v_words IS NULL AND run_search.query ~ '[^\s[:punct:]]' THEN
        RETURN;   -- words, but none that anything could be indexed by
    END IF;
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT c.message_id, c.sent_at, c.text_score, row_number() OVER () AS place
        FROM guestcomms_internal.find_candidates(v_tenant, v_words, run_search.since, run_search.until,
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
        guestcomms_internal.headline(m.language, m.subject, m.body, v_words, v_unspaced, v_start, v_stop),
        false,
        CASE WHEN v_words IS NULL THEN 'filters' ELSE 'all words' END,
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
