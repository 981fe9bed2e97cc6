-- Search in the archive: segments are found by their stems, opened, and their messages matched and scored as those of the hot
-- tables are, by the same statement.
CREATE FUNCTION guestcomms_internal.segment_query(query tsquery) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- A segment holds words of twenty messages: what one must not hold another may, and where words stand it does not know.
    v_tree text := querytree(segment_query.query);
BEGIN
    RETURN CASE WHEN v_tree <> 'T' THEN nullif(regexp_replace(v_tree, ' <(-|\d+)> ', ' & ', 'g'), '') END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.segment_query(tsquery) IS 'What a segment must hold that has a message which matches; NULL where that is anything.';

CREATE FUNCTION guestcomms_internal.segment_condition(tenant_id uuid, plan guestcomms_internal.search_plan, range guestcomms_internal.search_range, filters text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET datestyle = 'ISO' SET timezone = 'UTC'
AS $$
DECLARE
    v_zone text := (SELECT t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = segment_condition.tenant_id);
    v_since timestamptz := range.since;
    v_until timestamptz := least(range.until, range.newest_at + interval '1 microsecond');
    v_clause record;
    v_dates tstzrange;
    v_guest text := substring(filters FROM 'm\.guest_id = ''([0-9a-f-]{36})''');
    v_same text := substring(filters FROM 'm\.guest_id = ANY \(''(\{[0-9a-f,-]+\})''');
    v_thread text := substring(filters FROM 'm\.thread_id = ''([0-9a-f-]{36})''');
    v_guests text := '';
    v_files text := '';
    v_ids uuid[];
BEGIN
    -- What a query asks of every message it asks of the segment: times, guests and files. Other filters are for the messages in it.
    FOR v_clause IN
        SELECT c.field, c.value FROM unnest(plan.clauses) AS c
        WHERE c.kind = 'filter' AND NOT c.is_negated AND (SELECT count(*) FROM unnest(plan.clauses) AS o WHERE o.alternative = c.alternative) = 1
    LOOP
        IF v_clause.field IN ('before', 'after', 'on') THEN
            v_dates := guestcomms_internal.date_range(v_clause.value, v_zone);
            v_since := CASE WHEN v_clause.field <> 'before' THEN greatest(v_since, lower(v_dates)) ELSE v_since END;
            v_until := CASE v_clause.field WHEN 'before' THEN least(v_until, lower(v_dates)) WHEN 'on' THEN least(v_until, upper(v_dates)) ELSE v_until END;
        ELSIF v_clause.field = 'guest' OR v_clause.field IN ('from', 'to') AND lower(v_clause.value) NOT IN ('me', 'us') THEN
            v_guests := v_guests || format(' AND s.guest_id = ANY (%L::uuid[])', guestcomms_internal.find_named(segment_condition.tenant_id, 'guest', v_clause.value));
        ELSIF v_clause.field = 'file' THEN
            v_ids := guestcomms_internal.find_files(segment_condition.tenant_id, v_clause.value);
            v_files := v_files || coalesce(format(' AND s.message_ids && %1$L::uuid[] AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && %2$L::integer[]', v_ids,
                ARRAY(SELECT guestcomms_internal.segment_key_v1(i.id, false) FROM unnest(v_ids) AS i (id))), '');
        END IF;
    END LOOP;
    RETURN concat(format('s.tenant_id = %L', segment_condition.tenant_id), CASE WHEN v_since IS NOT NULL THEN format(' AND s.last_sent_at >= %L', v_since) END,
        CASE WHEN v_until IS NOT NULL THEN format(' AND s.first_sent_at < %L', v_until) END, v_guests, v_files,
        CASE WHEN v_guest IS NOT NULL THEN format(' AND s.guest_id = %L', v_guest) WHEN v_same IS NOT NULL THEN format(' AND s.guest_id = ANY (%L::uuid[])', v_same) END,
        CASE WHEN v_thread IS NOT NULL THEN format(' AND s.thread_ids @> ARRAY[%1$L::uuid] AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids) && ARRAY[%2$s]',
            v_thread, guestcomms_internal.segment_key_v1(v_thread::uuid, true)) END);
END $$;
COMMENT ON FUNCTION guestcomms_internal.segment_condition(uuid, guestcomms_internal.search_plan, guestcomms_internal.search_range, text) IS
'Condition on a segment s: that it may hold messages of the range that pass the filters.';

CREATE FUNCTION guestcomms_internal.open_matching_segments(
    tenant_id uuid, plan guestcomms_internal.search_plan, stage text, range guestcomms_internal.search_range, filters text, opened uuid[],
    OUT segment_ids uuid[], OUT messages guestcomms_internal.archived_message[], OUT has_more boolean
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_most integer := guestcomms_internal.setting('archive.search_segments', open_matching_segments.tenant_id)::integer;
    v_words tsquery;
    v_query text;
    v_share double precision := CASE WHEN stage IN ('all words', 'corrected words') THEN plan.all_share ELSE plan.any_share END;
    v_segment uuid;
    v_guest uuid;
    v_left integer;
    v_content json;
BEGIN
    segment_ids := '{}';
    messages := '{}';
    has_more := false;
    -- Most stores have none: not even a statement is built then.
    IF v_most = 0 OR NOT EXISTS (SELECT FROM guestcomms.archive_segments AS s WHERE s.tenant_id = open_matching_segments.tenant_id) THEN
        RETURN;
    END IF;
    IF stage <> 'filters' THEN
        FOR v_number IN 1 .. cardinality(plan.configurations) LOOP
            v_words := coalesce(v_words || CASE WHEN stage IN ('all words', 'corrected words') THEN plan.all_words[v_number] ELSE plan.any_word[v_number] END,
                v_words, CASE WHEN stage IN ('all words', 'corrected words') THEN plan.all_words[v_number] ELSE plan.any_word[v_number] END);
        END LOOP;
        IF v_words IS NULL THEN
            RETURN;
        END IF;
        v_query := guestcomms_internal.segment_query(v_words);
    END IF;
    v_left := v_most - cardinality(opened);
    FOR v_segment, v_guest IN EXECUTE format('SELECT n.segment_id, n.guest_id FROM (SELECT s.segment_id, s.guest_id, s.last_sent_at FROM guestcomms.archive_segments AS s WHERE %s%s) AS n'
        ' WHERE n.segment_id <> ALL ($1) ORDER BY n.last_sent_at DESC, n.segment_id DESC LIMIT %s',
        guestcomms_internal.segment_condition(open_matching_segments.tenant_id, plan, range, filters),
        -- What every third segment holds is met soon by whoever walks through the newest; the function behind @@ asks no index.
        CASE WHEN v_query IS NULL THEN '' WHEN 1 - power(1 - v_share, 20) > 0.3 THEN format(' AND ts_match_vq(s.search, %L::tsquery)', v_query)
            ELSE format(' AND s.search @@ %L::tsquery OFFSET 0', v_query) END, v_left + 1) USING opened
    LOOP
        IF v_left = 0 THEN
            has_more := true;
            EXIT;
        END IF;
        v_left := v_left - 1;
        segment_ids := segment_ids || v_segment;
        v_content := guestcomms_internal.read_segment(open_matching_segments.tenant_id, v_segment, true, true);
        messages := messages || ARRAY(SELECT m FROM guestcomms_internal.content_messages(open_matching_segments.tenant_id, v_guest, v_content) AS m);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.open_matching_segments(uuid, guestcomms_internal.search_plan, text, guestcomms_internal.search_range, text, uuid[]) IS
'The messages of the newest segments that may hold what a stage looks for and are not opened yet; has_more says that there are others.';

CREATE FUNCTION guestcomms_internal.find_archived_candidates(
    tenant_id uuid, plan guestcomms_internal.search_plan, stage text, range guestcomms_internal.search_range, filters text, max_rows integer, parameters jsonb,
    messages guestcomms_internal.archived_message[]
) RETURNS TABLE (message_id uuid, sent_at timestamptz, text_score double precision, is_match boolean, has_all boolean, window_number integer)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(messages) = 0 THEN
        RETURN;
    END IF;
    -- What is attached to a message went with it, and so did answers; whether there was one its fact knows.
    plan.condition := replace(replace(plan.condition, guestcomms_internal.has_attachment_condition(), '(m.has_attachment OR ' || guestcomms_internal.has_attachment_condition() || ')'),
        guestcomms_internal.has_reply_condition(), '(SELECT f.replied_at IS NOT NULL FROM guestcomms_bi.fact_message AS f WHERE f.tenant_id = m.tenant_id'
        ' AND f.message_id = m.message_id AND f.sent_at = m.sent_at)');
    RETURN QUERY EXECUTE guestcomms_internal.candidate_statement(plan, stage, 'unnest($8)',
        guestcomms_internal.stage_condition(plan, stage, false) || coalesce(' AND ' || filters, ''), true, parameters)
    USING find_archived_candidates.tenant_id, coalesce(range.since, '-infinity'), least(range.until, 'infinity'), coalesce(range.newest_at, 'infinity'),
        coalesce(range.newest_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), max_rows, 0, messages;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_archived_candidates(uuid, guestcomms_internal.search_plan, text, guestcomms_internal.search_range, text, integer, jsonb, guestcomms_internal.archived_message[]) IS
'As find_candidates(), of these messages out of the archive.';
