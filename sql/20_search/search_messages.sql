-- Search: one page. Writes nothing, so that it runs on a replica.
CREATE FUNCTION guestcomms_internal.parameter_filters(tenant_id uuid, filters jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := CASE WHEN filters ? 'guest_id' THEN guestcomms_internal.same_guests(parameter_filters.tenant_id, (filters ->> 'guest_id')::uuid) END;
BEGIN
    RETURN (
    SELECT string_agg(CASE WHEN f.key = 'guest_id' AND cardinality(v_guests) > 1 THEN format('m.guest_id = ANY (%L::uuid[])', v_guests)
            WHEN f.key = 'guest_id' THEN format('m.guest_id = %L', v_guests[1])
            ELSE format('m.%I = %L', f.key, f.value) END, ' AND ' ORDER BY f.key)
    FROM jsonb_each_text(filters) AS f);
END $$;
COMMENT ON FUNCTION guestcomms_internal.parameter_filters(uuid, jsonb) IS 'Condition on a message m: its columns equal these values; of a guest it may also be of those merged into them.';

CREATE FUNCTION guestcomms_internal.run_search(
    query text, since timestamptz, until timestamptz, filters jsonb, sort text, is_expanded boolean, include_archived boolean, max_rows integer, after text, headline_format text
) RETURNS TABLE (message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, channel text, direction text, score double precision,
    headline text, is_archived boolean, stage text, is_truncated boolean, cursor text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
    SET jit = off   -- compiling would take longer than what is compiled
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_parameters jsonb := guestcomms_internal.settings_of('search', v_tenant) || jsonb_build_object('include_archived', coalesce(run_search.include_archived, true));
    v_fingerprint text := md5(concat_ws('|', run_search.sort, run_search.is_expanded, run_search.include_archived, extract(epoch FROM run_search.since), extract(epoch FROM run_search.until),
        run_search.filters::text, run_search.query));
    v_cursor jsonb := guestcomms_internal.read_cursor(v_tenant, run_search.after, v_fingerprint);
    v_range guestcomms_internal.search_range;
    v_found guestcomms_internal.search_result;
    v_state text;
BEGIN
    IF coalesce(run_search.sort NOT IN ('relevant', 'recent'), true) OR coalesce(run_search.max_rows NOT BETWEEN 1 AND 200, true)
        OR coalesce(run_search.headline_format NOT IN ('text', 'html'), true)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'sort, max_rows or headline_format is not valid',
            DETAIL = 'sort is relevant or recent; max_rows is from 1 to 200; headline_format is text or html.',
            HINT = 'For more rows pass the last row''s cursor as after.';
    END IF;
    v_range := ROW(run_search.since, run_search.until,
        (v_cursor ->> CASE run_search.sort WHEN 'recent' THEN 'sent_at' ELSE 'newest_at' END)::timestamptz,
        (v_cursor ->> CASE run_search.sort WHEN 'recent' THEN 'message_id' ELSE 'newest_id' END)::uuid);
    v_found := guestcomms_internal.collect_candidates(v_tenant, run_search.query, v_range, guestcomms_internal.parameter_filters(v_tenant, run_search.filters),
        run_search.sort, coalesce(run_search.is_expanded, false), v_parameters, v_cursor);
    IF cardinality(v_found.candidates) = 0 THEN
        RETURN;
    END IF;
    SELECT guestcomms_internal.base64url_encode(convert_to((jsonb_build_object('fingerprint', v_fingerprint, 'has_any_word', v_found.has_any_word,
        'corrections', v_found.corrections, 'newest', coalesce(v_cursor -> 'newest', v_found.newest),
        'units', (v_found.plan).units, 'message_count', (v_found.plan).message_count, 'mean_length', (v_found.plan).mean_length)
        || CASE WHEN v_cursor IS NULL THEN jsonb_build_object('newest_at', c.sent_at, 'newest_id', c.message_id)
            ELSE jsonb_build_object('newest_at', v_cursor -> 'newest_at', 'newest_id', v_cursor -> 'newest_id') END)::text, 'UTF8')) INTO v_state
    FROM (SELECT u.sent_at, u.message_id FROM unnest(v_found.candidates) AS u ORDER BY u.sent_at DESC, u.message_id DESC LIMIT 1) AS c;
    RETURN QUERY
    WITH page AS (
        SELECT c.*, row_number() OVER ranked AS place
        FROM unnest(v_found.candidates) AS c
        WHERE v_cursor IS NULL OR CASE run_search.sort
            WHEN 'recent' THEN (c.sent_at, c.message_id) < ((v_cursor ->> 'sent_at')::timestamptz, (v_cursor ->> 'message_id')::uuid)
            ELSE (-c.stage, c.score, c.sent_at, c.message_id) < (-(v_cursor ->> 'stage')::integer, (v_cursor ->> 'score')::double precision,
                (v_cursor ->> 'sent_at')::timestamptz, (v_cursor ->> 'message_id')::uuid) END
        WINDOW ranked AS (ORDER BY CASE run_search.sort WHEN 'relevant' THEN c.stage END, CASE run_search.sort WHEN 'relevant' THEN c.score END DESC,
            c.sent_at DESC, c.message_id DESC)
        ORDER BY place
        LIMIT run_search.max_rows
    )
    SELECT m.message_id, m.sent_at, m.thread_id, m.guest_id, m.channel, m.direction, p.score,
        guestcomms_internal.headline(guestcomms_internal.mark_text(m.language, m.subject, m.body,
                (v_found.plan).marks[array_position((v_found.plan).configurations, guestcomms_internal.search_configuration_v1(m.language))], (v_found.plan).runs),
            run_search.headline_format, v_parameters ->> 'headline_start', v_parameters ->> 'headline_stop'),
        p.is_archived, guestcomms_internal.stage_name(p.stage), v_found.is_truncated OR coalesce(v_found.has_more_segments, false),
        guestcomms_internal.write_cursor(v_tenant, v_state, p.score, m.sent_at, m.message_id, p.stage)
    FROM page AS p
    -- One look-up a row, whatever the planner thinks of arrays.
    CROSS JOIN LATERAL (
        (SELECT o.message_id, o.sent_at, o.thread_id, o.guest_id, o.channel, o.direction, o.language, o.subject, o.body FROM guestcomms.messages AS o
         WHERE o.tenant_id = v_tenant AND o.message_id = p.message_id AND o.sent_at = p.sent_at AND NOT p.is_archived)
        UNION ALL
        (SELECT a.message_id, a.sent_at, a.thread_id, a.guest_id, a.channel, a.direction, a.language, a.subject, a.body FROM unnest(v_found.archived) AS a
         WHERE a.message_id = p.message_id AND p.is_archived)
        LIMIT 1
    ) AS m
    ORDER BY p.place;
END $$;
COMMENT ON FUNCTION guestcomms_internal.run_search(text, timestamptz, timestamptz, jsonb, text, boolean, boolean, integer, text, text) IS
'One page of a search in the verified tenant; filters is an object of column names and values.';

CREATE FUNCTION guestcomms.search_messages(
    query text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, thread_id uuid DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, channel text DEFAULT NULL, direction text DEFAULT NULL, campaign_id uuid DEFAULT NULL,
    sort text DEFAULT 'relevant', is_expanded boolean DEFAULT false, include_archived boolean DEFAULT true,
    max_rows integer DEFAULT 20, after text DEFAULT NULL, headline_format text DEFAULT 'text'
) RETURNS TABLE (message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, channel text, direction text, score double precision,
    headline text, is_archived boolean, stage text, is_truncated boolean, cursor text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
    -- By number: some parameters share their names with columns of the result, which PL/pgSQL does not allow.
    SELECT * FROM guestcomms_internal.run_search($1, $2, $3,
        jsonb_strip_nulls(jsonb_build_object('guest_id', $4, 'thread_id', $5, 'wedding_id', $6, 'channel', $7, 'direction', $8, 'campaign_id', $9)),
        $10, $11, $12, $13, $14, $15)
$$;
COMMENT ON FUNCTION guestcomms.search_messages(text, timestamptz, timestamptz, uuid, uuid, uuid, text, text, uuid, text, boolean, boolean, integer, text, text) IS
$$Messages of the current tenant by a query: words (stemmed by the languages in use, accents and case ignored), "an exact phrase", -not, one OR other, begin*, from:zoe, channel:sms, after:2026-05, has:link and more; nothing in it is an error. Best first by BM25 over this tenant's own statistics, words close together, subject and age; sort => 'recent' by time. A word that no message of the tenant holds is taken for a mistyped one (see correct_query). Where few messages hold all words, those with any of them follow: stage says which. is_expanded looks for what is like the best found, too. Of more than search.candidate_limit matches the newest are ranked and is_truncated says so; so it does where more segments of the archive match than archive.search_segments, of which the newest are opened (include_archived => false leaves the archive out; is_archived says where a message lies); pass the last row's cursor as after for the next page. headline marks the words; headline_format => 'html' escapes all else. Without words: the newest messages that pass the filters. Writes nothing and runs on a replica.
Example: SELECT sent_at, channel, headline FROM guestcomms.search_messages('vegetarian menu channel:email', max_rows => 5);
See also: explain_search, count_matches, search_facets, record_message$$;
