-- Counting a tenant's messages: their stems for ranking, their words for suggestions and corrections. Either all of them from
-- the table, or by changes. A message may be edited again before its first change is read; so every version that an edit
-- replaced is kept until the changes around it are counted, and each change adds what it led to and takes off what it
-- replaced.
CREATE FUNCTION guestcomms_internal.count_messages(tenant_id uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_count bigint;
    v_min_guests integer := guestcomms_internal.setting('suggest.min_guests', count_messages.tenant_id)::integer;
BEGIN
    SELECT (SELECT count(*) FROM guestcomms.messages AS m WHERE m.tenant_id = count_messages.tenant_id) + coalesce(sum(s.message_count), 0) INTO v_count
    FROM guestcomms.archive_segments AS s WHERE s.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.term_statistics AS t WHERE t.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.vocabulary AS v WHERE v.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.spelling_words AS w WHERE w.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.name_statistics AS n WHERE n.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.suggestion_prefixes AS p WHERE p.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.search_months AS m WHERE m.tenant_id = count_messages.tenant_id;
    DELETE FROM guestcomms.search_statistics AS s WHERE s.tenant_id = count_messages.tenant_id;
    -- One statement, for all of it must be counted in one snapshot, and that is noted: changes that it sees are in the count.
    WITH archived AS MATERIALIZED (
        SELECT a.message_id, a.sent_at, a.guest_id, a.wedding_id, a.campaign_id, a.language, a.subject, a.body, a.word_count, a.search
        FROM guestcomms_internal.archived_messages(count_messages.tenant_id) AS a
    ), stored AS NOT MATERIALIZED (
        SELECT m.message_id, m.sent_at, m.guest_id, m.wedding_id, m.campaign_id, m.language, m.subject, m.body, m.word_count, m.search
        FROM guestcomms.messages AS m WHERE m.tenant_id = count_messages.tenant_id
        UNION ALL
        SELECT a.* FROM archived AS a
    ), stem AS (
        INSERT INTO guestcomms.term_statistics (tenant_id, term, message_count)
        SELECT count_messages.tenant_id, u.lexeme, count(*)
        FROM stored AS m CROSS JOIN LATERAL unnest(m.search) AS u
        GROUP BY u.lexeme
    ), guest_use AS (
        SELECT t.term COLLATE "C" AS term, t.is_phrase, t.written COLLATE "C" AS written, count(*) AS message_count, sum(m.weight) AS weight,
            guestcomms_internal.guest_hash(m.guest_id) AS guest
        -- Once a message, not once a term (OFFSET 0).
        FROM (SELECT o.language, o.subject, o.body, o.guest_id, guestcomms_internal.use_weight(guestcomms.uuid_v7_time(o.message_id)) AS weight
            FROM stored AS o OFFSET 0) AS m
        CROSS JOIN LATERAL guestcomms_internal.message_terms(m.language, m.subject, m.body) AS t
        GROUP BY t.term COLLATE "C", t.is_phrase, t.written COLLATE "C", m.guest_id
    ), spelling AS (
        SELECT u.term, u.is_phrase, u.written, sum(u.message_count) AS message_count, sum(u.weight) AS weight,
            array_to_string((array_agg(DISTINCT u.guest))[1:20], ',') AS guests
        FROM guest_use AS u GROUP BY u.term, u.is_phrase, u.written
    ), term AS (
        INSERT INTO guestcomms.vocabulary (tenant_id, term, written, written_count, is_phrase, message_count, weight, guests)
        SELECT count_messages.tenant_id, u.term, (array_agg(u.written ORDER BY u.message_count DESC, u.written))[1], max(u.message_count), u.is_phrase,
            sum(u.message_count), sum(u.weight), guestcomms_internal.combine_guests('{}', string_to_array(string_agg(u.guests, ','), ',')::integer[], NULL)
        FROM spelling AS u GROUP BY u.term, u.is_phrase
        ORDER BY guestcomms_internal.term_value(sum(u.weight), u.is_phrase) DESC, u.term
        LIMIT guestcomms_internal.max_terms(count_messages.tenant_id, v_count)
        RETURNING 1
    ), name AS (
        INSERT INTO guestcomms.name_statistics (tenant_id, kind, named_id, message_count, weight)
        SELECT count_messages.tenant_id, k.kind, k.named_id, count(*), sum(guestcomms_internal.use_weight(guestcomms.uuid_v7_time(m.message_id)))
        FROM stored AS m
        CROSS JOIN LATERAL (VALUES ('guest', m.guest_id), ('wedding', m.wedding_id), ('campaign', m.campaign_id)) AS k (kind, named_id)
        WHERE k.named_id IS NOT NULL
        GROUP BY k.kind, k.named_id
    ), month AS (
        SELECT date_trunc('month', m.sent_at, 'UTC') AS start, count(*) AS message_count, sum(m.word_count) AS word_count
        FROM stored AS m
        GROUP BY 1
    ), noted AS (
        INSERT INTO guestcomms.search_months (tenant_id, month, message_count)
        SELECT count_messages.tenant_id, (n.start AT TIME ZONE 'UTC')::date, n.message_count FROM month AS n
    )
    INSERT INTO guestcomms.search_statistics (tenant_id, message_count, word_count, term_count, min_guests, counted_in)
    SELECT count_messages.tenant_id, coalesce(sum(n.message_count), 0), coalesce(sum(n.word_count), 0), (SELECT count(*) FROM term), v_min_guests,
        guestcomms_internal.list_self_as_running(pg_current_snapshot())
    FROM month AS n
    RETURNING search_statistics.message_count INTO v_count;
    INSERT INTO guestcomms.spelling_words (tenant_id, word)
    SELECT v.tenant_id, v.term
    FROM guestcomms.vocabulary AS v
    WHERE v.tenant_id = count_messages.tenant_id AND NOT v.is_phrase AND guestcomms_internal.is_spellable(v.term);
    PERFORM guestcomms_internal.refresh_all_prefixes(count_messages.tenant_id);
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_messages(uuid) IS 'Counts one tenant''s messages, their stems, words and names from the table.';

CREATE FUNCTION guestcomms_internal.count_changes(changes guestcomms_internal.message_change[]) RETURNS guestcomms_internal.term_group[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    -- The few messages are looked up one by one, whatever the planner thinks of arrays.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_groups guestcomms_internal.term_group[];
    v_tenants uuid[];
    v_unused uuid[];
BEGIN
    -- One statement, so that messages and what they replaced are seen at the same moment.
    WITH change AS MATERIALIZED (
        SELECT c.tenant_id, c.seq, c.operation, i.message_id
        FROM unnest(changes) AS c
        JOIN guestcomms.search_statistics AS s ON s.tenant_id = c.tenant_id AND NOT pg_visible_in_snapshot(c.xid, s.counted_in)
        CROSS JOIN LATERAL unnest(c.ids) AS i (message_id)
    ), version AS MATERIALIZED (
        -- What the change replaced; nothing for an update that left alone what is counted.
        SELECT c.tenant_id, -1 AS sign, c.message_id, guestcomms_internal.use_weight(guestcomms.uuid_v7_time(c.message_id)) AS weight, false AS is_standing,
            r.guest_id, r.wedding_id, r.campaign_id, r.language, r.subject, r.body, r.word_count, r.search
        FROM change AS c
        JOIN guestcomms_internal.replaced_messages AS r ON r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq = c.seq
        WHERE c.operation IN ('update', 'delete')
        UNION ALL
        -- What it led to: the version that the next change replaced, or the one that stands.
        SELECT c.tenant_id, 1, c.message_id, guestcomms_internal.use_weight(guestcomms.uuid_v7_time(c.message_id)), o.is_standing, o.guest_id, o.wedding_id, o.campaign_id, o.language, o.subject, o.body, o.word_count, o.search
        FROM change AS c
        CROSS JOIN LATERAL (
            (SELECT false AS is_standing, r.guest_id, r.wedding_id, r.campaign_id, r.language, r.subject, r.body, r.word_count, r.search
             FROM guestcomms_internal.replaced_messages AS r
             WHERE r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq > c.seq ORDER BY r.seq LIMIT 1)
            UNION ALL
            (SELECT true, m.guest_id, m.wedding_id, m.campaign_id, m.language, m.subject, m.body, m.word_count, m.search
             FROM guestcomms.messages AS m
             WHERE m.tenant_id = c.tenant_id AND m.message_id = c.message_id
                AND m.sent_at >= guestcomms.uuid_v7_time(c.message_id) AND m.sent_at < guestcomms.uuid_v7_time(c.message_id) + interval '1 millisecond')
            UNION ALL
            -- Archived meanwhile: it stays counted, and one that was not yet must still be.
            (SELECT true, a.guest_id, a.wedding_id, a.campaign_id, a.language, a.subject, a.body, a.word_count, a.search
             FROM guestcomms_internal.find_archived(c.tenant_id, ARRAY[c.message_id]) AS a)
            LIMIT 1
        ) AS o
        WHERE c.operation = 'insert' OR c.operation = 'update' AND EXISTS (
            SELECT FROM guestcomms_internal.replaced_messages AS r
            WHERE r.tenant_id = c.tenant_id AND r.message_id = c.message_id AND r.seq = c.seq)
    ), stem AS (
        INSERT INTO guestcomms.term_statistics AS t (tenant_id, term, message_count)
        SELECT v.tenant_id, u.lexeme, sum(v.sign) FROM version AS v CROSS JOIN LATERAL unnest(v.search) AS u
        GROUP BY v.tenant_id, u.lexeme HAVING sum(v.sign) <> 0
        ON CONFLICT ON CONSTRAINT term_statistics_pkey DO UPDATE
        SET message_count = t.message_count + excluded.message_count, is_unused = t.message_count + excluded.message_count = 0
    ), spelling AS (
        -- Guests and spellings come from messages that still stand, so that none stays of one that is gone again.
        SELECT v.tenant_id, t.term COLLATE "C" AS term, t.is_phrase, t.written COLLATE "C" AS written, sum(v.sign) AS message_count, sum(v.sign * v.weight) AS weight,
            count(*) FILTER (WHERE v.is_standing) AS standing_count,
            string_agg(DISTINCT guestcomms_internal.guest_hash(v.guest_id)::text, ',') FILTER (WHERE v.is_standing) AS added,
            string_agg(DISTINCT guestcomms_internal.guest_hash(v.guest_id)::text, ',') FILTER (WHERE v.sign < 0) AS removed
        FROM version AS v CROSS JOIN LATERAL guestcomms_internal.message_terms(v.language, v.subject, v.body) AS t
        GROUP BY v.tenant_id, t.term COLLATE "C", t.is_phrase, t.written COLLATE "C"
    ), used AS MATERIALIZED (
        SELECT s.tenant_id, s.term, s.is_phrase, sum(s.message_count) AS message_count, sum(s.weight) AS weight,
            (array_agg(s.written ORDER BY s.standing_count DESC, s.written))[1] AS written, max(s.standing_count) AS written_count,
            jsonb_object_agg(s.written, s.message_count) AS changes,
            string_to_array(string_agg(s.added, ','), ',')::integer[] AS added, string_to_array(string_agg(s.removed, ','), ',')::integer[] AS removed
        FROM spelling AS s GROUP BY s.tenant_id, s.term, s.is_phrase
    ), merged AS MATERIALIZED (
        -- Nobody else writes here: whoever counts holds the consumer's row.
        SELECT u.tenant_id, u.term, u.is_phrase, coalesce(o.message_count, 0) AS old_count, o.term IS NULL AS is_new,
            -- With accents or without: as most have it, as far as is known.
            CASE WHEN k.written_count >= u.written_count AND k.written_count > 0 THEN o.written WHEN u.written_count > 0 THEN u.written ELSE u.term END AS written,
            greatest(k.written_count, u.written_count, 0) AS written_count,
            coalesce(o.message_count, 0) + u.message_count AS message_count, coalesce(o.weight, 0) + u.weight AS weight,
            guestcomms_internal.combine_guests(coalesce(o.guests, '{}'), coalesce(u.added, '{}'), u.removed) AS guests
        FROM used AS u
        LEFT JOIN guestcomms.vocabulary AS o ON o.tenant_id = u.tenant_id AND o.term = u.term
        CROSS JOIN LATERAL (SELECT o.written_count + coalesce((u.changes ->> o.written)::bigint, 0) AS written_count) AS k
        WHERE u.message_count <> 0 OR u.added IS NOT NULL OR u.removed IS NOT NULL
    ), term AS (
        INSERT INTO guestcomms.vocabulary AS v (tenant_id, term, written, written_count, is_phrase, message_count, weight, guests, is_unused)
        SELECT m.tenant_id, m.term, m.written, m.written_count, m.is_phrase, m.message_count, m.weight, m.guests, m.message_count <= 0 FROM merged AS m
        ON CONFLICT ON CONSTRAINT vocabulary_pkey DO UPDATE
        SET written = excluded.written, written_count = excluded.written_count, message_count = excluded.message_count, weight = excluded.weight,
            guests = excluded.guests, is_unused = excluded.is_unused
    ), word AS (
        INSERT INTO guestcomms.spelling_words (tenant_id, word)
        SELECT m.tenant_id, m.term FROM merged AS m
        WHERE m.old_count <= 0 AND m.message_count > 0 AND NOT m.is_phrase AND guestcomms_internal.is_spellable(m.term)
        ON CONFLICT ON CONSTRAINT spelling_words_pkey DO NOTHING
    ), name AS (
        INSERT INTO guestcomms.name_statistics AS n (tenant_id, kind, named_id, message_count, weight)
        SELECT v.tenant_id, k.kind, k.named_id, sum(v.sign), sum(v.sign * v.weight)
        FROM version AS v
        CROSS JOIN LATERAL (VALUES ('guest', v.guest_id), ('wedding', v.wedding_id), ('campaign', v.campaign_id)) AS k (kind, named_id)
        WHERE k.named_id IS NOT NULL
        GROUP BY v.tenant_id, k.kind, k.named_id HAVING sum(v.sign) <> 0
        ON CONFLICT ON CONSTRAINT name_statistics_pkey DO UPDATE
        SET message_count = n.message_count + excluded.message_count, weight = n.weight + excluded.weight
        RETURNING n.tenant_id, n.kind, n.named_id, n.message_count
    ), month AS (
        INSERT INTO guestcomms.search_months AS t (tenant_id, month, message_count)
        SELECT v.tenant_id, date_trunc('month', guestcomms.uuid_v7_time(v.message_id) AT TIME ZONE 'UTC')::date, sum(v.sign) FROM version AS v
        GROUP BY 1, 2 HAVING sum(v.sign) <> 0
        ON CONFLICT ON CONSTRAINT search_months_pkey DO UPDATE SET message_count = t.message_count + excluded.message_count
    ), total AS (
        SELECT c.tenant_id, sum(c.message_count) AS message_count, sum(c.word_count) AS word_count, sum(c.term_count) AS term_count
        FROM (
            SELECT v.tenant_id, v.sign AS message_count, v.sign * v.word_count AS word_count, 0 AS term_count FROM version AS v
            UNION ALL
            SELECT m.tenant_id, 0, 0, 1 FROM merged AS m WHERE m.is_new
        ) AS c
        GROUP BY c.tenant_id
    ), noted AS (
        UPDATE guestcomms.search_statistics AS s
        SET message_count = s.message_count + t.message_count, word_count = s.word_count + t.word_count, term_count = s.term_count + t.term_count
        FROM total AS t WHERE s.tenant_id = t.tenant_id
    )
    SELECT (SELECT array_agg(DISTINCT ROW(m.tenant_id, left(rpad(m.term, 3), 3))::guestcomms_internal.term_group) FROM merged AS m), u.tenants, u.ids
    INTO v_groups, v_tenants, v_unused
    FROM (SELECT array_agg(n.tenant_id) AS tenants, array_agg(n.named_id) AS ids FROM name AS n WHERE n.message_count = 0) AS u;
    -- Not those below nought: a change may be read before the one it followed, of a transaction with a higher number.
    DELETE FROM guestcomms.term_statistics AS t WHERE t.is_unused AND t.message_count = 0;
    DELETE FROM guestcomms.search_months AS m WHERE m.message_count = 0;
    DELETE FROM guestcomms.name_statistics AS n USING unnest(v_tenants, v_unused) AS u (tenant_id, named_id)
    WHERE n.tenant_id = u.tenant_id AND n.kind IN ('guest', 'wedding', 'campaign') AND n.named_id = u.named_id;
    PERFORM guestcomms_internal.remove_unused_terms(false);
    RETURN v_groups;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_changes(guestcomms_internal.message_change[]) IS
'Follows changes of messages in the statistics and the vocabulary of their tenants; returns the groups of terms that have changed.';
