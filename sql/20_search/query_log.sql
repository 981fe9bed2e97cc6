-- Query log, for tenants that keep one: searches write nothing (they run on replicas), so the application says what was asked,
-- found and chosen.
CREATE FUNCTION guestcomms.record_search(query text, result_count integer, stage text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_query_id uuid;
BEGIN
    IF NOT guestcomms_internal.setting('query_log.is_enabled', v_tenant)::boolean THEN
        RETURN NULL;
    END IF;
    IF coalesce(record_search.result_count < 0, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'result_count must be 0 or more',
            HINT = 'Pass the number of rows that search_messages() returned for the first page.';
    END IF;
    INSERT INTO guestcomms.search_queries AS q (tenant_id, query, result_count, stage)
    VALUES (v_tenant, left(btrim(record_search.query), 1000), record_search.result_count,
        CASE WHEN record_search.stage IN ('filters', 'all words', 'corrected words', 'any word', 'expanded') THEN record_search.stage END)
    RETURNING q.query_id INTO v_query_id;
    RETURN v_query_id;
END $$;
COMMENT ON FUNCTION guestcomms.record_search(text, integer, text) IS
$$Notes a search of the current tenant in its query log, with the number of rows and the stage of the first, and returns query_id for record_search_click(). Where the tenant keeps no log (setting query_log.is_enabled), writes nothing and returns NULL. The text is kept for query_log.keep_text.
Example: SELECT guestcomms.record_search('vegan menu', 3, 'all words');
See also: record_search_click, get_search_quality, list_zero_result_queries$$;

CREATE FUNCTION guestcomms.record_search_click(query_id uuid, message_id uuid, place integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF record_search_click.message_id IS NULL OR coalesce(record_search_click.place < 1, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'message_id or place is missing or not valid',
            DETAIL = 'place counts the results of all pages from 1.', HINT = 'query_id may be NULL: then nothing is recorded.';
    END IF;
    INSERT INTO guestcomms.search_clicks (tenant_id, query_id, message_id, place)
    SELECT q.tenant_id, q.query_id, record_search_click.message_id, record_search_click.place
    FROM guestcomms.search_queries AS q
    WHERE q.tenant_id = v_tenant AND q.query_id = record_search_click.query_id
    ON CONFLICT ON CONSTRAINT search_clicks_pkey DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION guestcomms.record_search_click(uuid, uuid, integer) IS
$$Notes that a result of a recorded search was opened, by its place from 1; returns whether that was new. NULL, or a search that is not in the log any more, records nothing.
Example: SELECT guestcomms.record_search_click(NULL, '0190a000-0000-7000-8000-000000000000', 1);
See also: record_search, get_search_quality$$;

CREATE FUNCTION guestcomms.get_search_quality(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS TABLE (search_count bigint, zero_result_count bigint, clicked_count bigint, zero_result_share double precision, click_through double precision,
    mean_reciprocal_rank double precision)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT
AS $$
    WITH logged AS (
        SELECT q.result_count, (SELECT min(c.place) FROM guestcomms.search_clicks AS c WHERE c.tenant_id = q.tenant_id AND c.query_id = q.query_id) AS place
        FROM guestcomms.search_queries AS q
        WHERE q.tenant_id = guestcomms.current_tenant() 
            AND q.query_id >= guestcomms_internal.first_uuid_v7(coalesce(since, now() - interval '30 days'))
            AND (until IS NULL OR q.query_id < guestcomms_internal.first_uuid_v7(until))
    )
    SELECT count(*), count(*) FILTER (WHERE l.result_count = 0), count(*) FILTER (WHERE l.result_count > 0 AND l.place IS NOT NULL),
        count(*) FILTER (WHERE l.result_count = 0)::double precision / nullif(count(*), 0),
        count(*) FILTER (WHERE l.result_count > 0 AND l.place IS NOT NULL)::double precision / nullif(count(*) FILTER (WHERE l.result_count > 0), 0),
        avg(coalesce(1.0 / l.place, 0)) FILTER (WHERE l.result_count > 0)::double precision
    FROM logged AS l
$$;
COMMENT ON FUNCTION guestcomms.get_search_quality(timestamptz, timestamptz) IS
$$How well the current tenant's searches went, of those in its query log since then, or in the last 30 days: the share that found nothing; of those that found something the share of which a result was opened (click_through), and the mean of 1 / the best place opened, 0 where none was (mean_reciprocal_rank). NULL where there is nothing to divide by.
Example: SELECT * FROM guestcomms.get_search_quality(since => now() - interval '7 days');
See also: record_search, record_search_click, list_zero_result_queries$$;

CREATE FUNCTION guestcomms.list_zero_result_queries(since timestamptz DEFAULT NULL, max_rows integer DEFAULT 20)
RETURNS TABLE (query text, search_count bigint, last_searched_at timestamptz, correction text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    IF coalesce(list_zero_result_queries.max_rows NOT BETWEEN 1 AND 200, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be from 1 to 200', HINT = 'Leave it out for 20.';
    END IF;
    RETURN QUERY
    SELECT f.query, f.search_count, f.last_searched_at, nullif(guestcomms.correct_query(f.query), f.query)
    FROM (
        SELECT lower(q.query) AS query, count(*) AS search_count, max(q.searched_at) AS last_searched_at
        FROM guestcomms.search_queries AS q
        WHERE q.tenant_id = v_tenant AND q.result_count = 0 AND q.query IS NOT NULL
            AND q.query_id >= guestcomms_internal.first_uuid_v7(coalesce(list_zero_result_queries.since, now() - interval '30 days'))
        GROUP BY lower(q.query)
        ORDER BY count(*) DESC, max(q.searched_at) DESC, lower(q.query)
        LIMIT list_zero_result_queries.max_rows
    ) AS f;
END $$;
COMMENT ON FUNCTION guestcomms.list_zero_result_queries(timestamptz, integer) IS
$$What the current tenant searched for since then, or in the last 30 days, and did not find, the most frequent first, with what correct_query() would make of it: candidates for synonyms.
Example: SELECT query, search_count, correction FROM guestcomms.list_zero_result_queries();
See also: get_search_quality, set_synonyms, record_search$$;

CREATE FUNCTION guestcomms_internal.trim_query_log(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant record;
    v_rows bigint;
    v_count bigint := 0;
BEGIN
    FOR v_tenant IN
        SELECT t.tenant_id, guestcomms_internal.first_uuid_v7(now() - guestcomms_internal.setting('query_log.keep', t.tenant_id)::interval) AS gone_before,
            guestcomms_internal.first_uuid_v7(now() - guestcomms_internal.setting('query_log.keep_text', t.tenant_id)::interval) AS text_before
        FROM guestcomms.tenants AS t
    LOOP
        EXIT WHEN v_count >= trim_query_log.max_rows;
        DELETE FROM guestcomms.search_queries AS q
        WHERE q.tenant_id = v_tenant.tenant_id AND q.query_id = ANY (ARRAY(
            SELECT o.query_id FROM guestcomms.search_queries AS o
            WHERE o.tenant_id = v_tenant.tenant_id AND o.query_id < v_tenant.gone_before ORDER BY o.query_id LIMIT trim_query_log.max_rows));
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_count := v_count + v_rows;
        UPDATE guestcomms.search_queries AS q SET query = NULL
        WHERE q.tenant_id = v_tenant.tenant_id AND q.query_id = ANY (ARRAY(
            SELECT o.query_id FROM guestcomms.search_queries AS o
            WHERE o.tenant_id = v_tenant.tenant_id AND o.query_id < v_tenant.text_before AND o.query IS NOT NULL
            ORDER BY o.query_id LIMIT trim_query_log.max_rows));
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_count := v_count + v_rows;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_query_log(integer) IS 'Removes the texts of logged searches after query_log.keep_text and the searches after query_log.keep.';
