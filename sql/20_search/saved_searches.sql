-- Saved searches: each is kept with what every message that it matches has (anchors), so that a message meets only those it
-- may match, however many there are.
CREATE FUNCTION guestcomms_internal.search_fingerprint(tenant_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN md5(concat_ws('|',
        guestcomms_internal.tenant_configurations(search_fingerprint.tenant_id)::text,
        (SELECT string_agg(s.term || s.alternatives::text, ',' ORDER BY s.term) FROM guestcomms.synonyms AS s WHERE s.tenant_id = search_fingerprint.tenant_id)));
END $$;
COMMENT ON FUNCTION guestcomms_internal.search_fingerprint(uuid) IS 'Changes when a tenant''s queries are to be read anew: with its languages and synonyms.';

CREATE FUNCTION guestcomms_internal.query_lexemes(query_text text) RETURNS TABLE (lexeme text, is_prefix boolean)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 5 SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT replace(replace(r.part[1], '''''', ''''), '\\', '\'), r.part[2] IS NOT NULL
    FROM regexp_matches(query_text, '''((?:[^'']|'''')*)''(:\*)?', 'g') AS r (part);
END $$;
COMMENT ON FUNCTION guestcomms_internal.query_lexemes(text) IS 'The lexemes of a tsquery, given as its text.';

CREATE FUNCTION guestcomms_internal.word_anchors(tenant_id uuid, clauses guestcomms_internal.search_clause[], configurations text[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- In each language the words of that one of the query's alternatives which the fewest messages hold.
    RETURN ARRAY(
        WITH part AS (
            SELECT g.configuration, g.alternative, l.lexeme, l.is_prefix, strpos(g.query_text, '|') = 0 AS needs_all,
                (SELECT t.message_count FROM guestcomms.term_statistics AS t WHERE t.tenant_id = word_anchors.tenant_id AND t.term = l.lexeme) AS message_count
            FROM guestcomms_internal.clause_groups(clauses, configurations) AS g
            CROSS JOIN LATERAL guestcomms_internal.query_lexemes(g.query_text::tsquery::text) AS l
            WHERE NOT g.is_negated
        ), kept AS (
            -- Of a phrase its rarest word.
            SELECT p.* FROM (SELECT o.*, row_number() OVER (PARTITION BY o.configuration, o.alternative ORDER BY o.is_prefix, o.message_count NULLS FIRST, o.lexeme) AS place
                FROM part AS o) AS p
            WHERE NOT p.needs_all OR p.place = 1
        ), counted AS (
            SELECT p.configuration, p.alternative, sum(coalesce(p.message_count, 0) + CASE WHEN p.is_prefix THEN 1000 ELSE 0 END) AS message_count
            FROM kept AS p
            GROUP BY p.configuration, p.alternative
        ), best AS (
            SELECT DISTINCT ON (c.configuration) c.configuration, c.alternative FROM counted AS c ORDER BY c.configuration, c.message_count, c.alternative
        )
        SELECT DISTINCT CASE WHEN p.is_prefix THEN 'p' ELSE 'w' END || p.lexeme
        FROM best AS b JOIN kept AS p ON p.configuration = b.configuration AND p.alternative = b.alternative
        UNION
        -- A language in which the query only excludes.
        SELECT '*' FROM generate_series(1, cardinality(configurations)) AS k (number)
        WHERE k.number NOT IN (SELECT b.configuration FROM best AS b)
            AND EXISTS (SELECT FROM guestcomms_internal.clause_groups(clauses, configurations) AS g WHERE g.configuration = k.number AND g.is_negated));
END $$;
COMMENT ON FUNCTION guestcomms_internal.word_anchors(uuid, guestcomms_internal.search_clause[], text[]) IS
'Stems of which every message has one that holds a query''s words.';

CREATE FUNCTION guestcomms_internal.name_anchors(field text, name text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
DECLARE
    -- As find_named() takes a name: an identifier; words, each perhaps not typed to its end; of a guest an address, too.
    v_kind text := CASE WHEN field IN ('from', 'to', 'guest') THEN 'guest' WHEN field = 'in' THEN 'thread' ELSE field END;
    v_word text := (SELECT u.lexeme FROM unnest(to_tsvector('guestcomms.search_simple', left(name_anchors.name, 200))) AS u
        ORDER BY char_length(u.lexeme) DESC, u.lexeme LIMIT 1);
    v_address text := lower(trim(name_anchors.name));
BEGIN
    IF name_anchors.name ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
        RETURN ARRAY[concat(v_kind, '=', lower(name_anchors.name))];
    END IF;
    RETURN array_remove(ARRAY[v_kind || ':' || v_word], NULL)
        || ARRAY(SELECT 'address=' || a.address FROM unnest(ARRAY[v_address, regexp_replace(v_address, '[^0-9+]', '', 'g')]) AS a (address)
            WHERE v_kind = 'guest' AND char_length(a.address) BETWEEN 1 AND 320);
END $$;
COMMENT ON FUNCTION guestcomms_internal.name_anchors(text, text) IS
'What a message has whose guest, wedding, campaign or thread a filter names: kind=identifier, kind:beginning of a word of its name, address=.';

CREATE FUNCTION guestcomms_internal.filter_anchors(clauses guestcomms_internal.search_clause[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_anchors text[];
BEGIN
    -- Of the filters the one that the fewest messages pass; what most messages pass is looked at for every message.
    WITH part AS (
        SELECT c.alternative, a.anchors,
            CASE WHEN c.field = 'channel' OR guestcomms_internal.is_filter_value('channel', lower(c.value)) AND c.field = 'in' THEN 2 ELSE 1 END AS rank
        FROM unnest(clauses) AS c
        CROSS JOIN LATERAL (SELECT CASE
            WHEN c.is_negated OR lower(c.value) IN ('me', 'us') AND c.field IN ('from', 'to') THEN NULL
            WHEN c.field = 'channel' OR c.field = 'in' AND guestcomms_internal.is_filter_value('channel', lower(c.value))
                THEN ARRAY['channel=' || replace(lower(c.value), '-', '')]
            WHEN c.field IN ('from', 'to', 'guest', 'wedding', 'campaign', 'in') THEN guestcomms_internal.name_anchors(c.field, c.value)
            END AS anchors) AS a
        WHERE c.kind = 'filter'
    ), best AS (
        SELECT p.alternative FROM part AS p GROUP BY p.alternative HAVING bool_and(p.anchors IS NOT NULL) ORDER BY max(p.rank), p.alternative LIMIT 1
    )
    SELECT array_agg(DISTINCT a.anchor) INTO v_anchors
    FROM best AS b JOIN part AS p ON p.alternative = b.alternative CROSS JOIN LATERAL unnest(p.anchors) AS a (anchor);
    RETURN coalesce(v_anchors, '{*}');
END $$;
COMMENT ON FUNCTION guestcomms_internal.filter_anchors(guestcomms_internal.search_clause[]) IS
'What every message has that passes a query''s filters; * where that is every message.';

CREATE FUNCTION guestcomms_internal.plan_saved_search(tenant_id uuid, search_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_query text;
    v_fingerprint text;
    v_clauses guestcomms_internal.search_clause[];
    v_plan guestcomms_internal.search_plan;
    v_has_words boolean;
    v_anchors text[];
BEGIN
    -- First of all the row, as save_search() and remove_saved_search() do: one of them at a time.
    SELECT s.query INTO v_query FROM guestcomms.saved_searches AS s
    WHERE s.tenant_id = plan_saved_search.tenant_id AND s.search_id = plan_saved_search.search_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Before anything that it stands for is read: too old it only has the search read once more.
    v_fingerprint := guestcomms_internal.search_fingerprint(plan_saved_search.tenant_id);
    v_clauses := guestcomms_internal.search_clauses(plan_saved_search.tenant_id, v_query);
    v_plan := guestcomms_internal.plan_search(plan_saved_search.tenant_id, v_clauses, 1000);
    v_has_words := array_length(v_plan.all_words, 1) IS NOT NULL;
    IF v_has_words THEN
        v_anchors := guestcomms_internal.word_anchors(plan_saved_search.tenant_id, v_clauses, v_plan.configurations);
    ELSIF NOT EXISTS (SELECT FROM unnest(v_clauses) AS c WHERE c.kind <> 'filter' AND NOT c.is_negated) AND cardinality(v_clauses) > 0 THEN
        v_anchors := '{*}';
    END IF;
    -- Where words say nothing about what a message has, filters may.
    IF '*' = ANY (v_anchors) THEN
        v_anchors := array_remove(v_anchors, '*') || guestcomms_internal.filter_anchors(v_clauses);
    END IF;
    DELETE FROM guestcomms.saved_search_words AS w WHERE w.tenant_id = plan_saved_search.tenant_id AND w.search_id = plan_saved_search.search_id;
    DELETE FROM guestcomms.saved_search_anchors AS a WHERE a.tenant_id = plan_saved_search.tenant_id AND a.search_id = plan_saved_search.search_id;
    INSERT INTO guestcomms.saved_search_words (tenant_id, search_id, configuration, words)
    SELECT plan_saved_search.tenant_id, plan_saved_search.search_id, v_plan.configurations[k.number], v_plan.all_words[k.number]
    FROM generate_series(1, cardinality(v_plan.configurations)) AS k (number)
    WHERE v_plan.all_words[k.number] IS NOT NULL;
    INSERT INTO guestcomms.saved_search_anchors (tenant_id, anchor, search_id)
    SELECT DISTINCT plan_saved_search.tenant_id, a.anchor, plan_saved_search.search_id FROM unnest(v_anchors) AS a (anchor);
    UPDATE guestcomms.saved_searches AS s
    SET has_words = v_has_words, has_conditions = v_plan.condition IS NOT NULL OR v_plan.recheck_all IS NOT NULL,
        planned_for = v_fingerprint
    WHERE s.tenant_id = plan_saved_search.tenant_id AND s.search_id = plan_saved_search.search_id;
    RETURN coalesce(cardinality(v_anchors) > 0, false);
END $$;
COMMENT ON FUNCTION guestcomms_internal.plan_saved_search(uuid, uuid) IS
'Reads a saved search in the tenant''s languages and with its synonyms; false where no message could match.';

CREATE FUNCTION guestcomms.save_search(name text, query text, notify boolean DEFAULT false) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_limit integer := guestcomms_internal.setting('alerts.max_saved_searches', v_tenant)::integer;
    v_name text := btrim(save_search.name);
    v_search uuid;
    v_is_new boolean;
BEGIN
    IF coalesce(char_length(v_name) NOT BETWEEN 1 AND 200, true) OR coalesce(char_length(save_search.query) > 1000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'name or query is missing or too long',
            DETAIL = 'name has 1 to 200 characters, query at most 1000.', HINT = 'save_search(''Allergies'', ''allergy OR allergic'');';
    END IF;
    -- What another query found is not what this one did.
    SELECT s.search_id INTO v_search FROM guestcomms.saved_searches AS s
    WHERE s.tenant_id = v_tenant AND s.name = v_name AND s.query <> save_search.query FOR NO KEY UPDATE;
    IF FOUND THEN
        DELETE FROM guestcomms.search_alerts AS a WHERE a.tenant_id = v_tenant AND a.search_id = v_search;
    END IF;
    INSERT INTO guestcomms.saved_searches AS s (tenant_id, name, query, notify)
    VALUES (v_tenant, v_name, save_search.query, coalesce(save_search.notify, false))
    ON CONFLICT ON CONSTRAINT saved_searches_name_key DO UPDATE SET query = excluded.query, notify = excluded.notify
    RETURNING s.search_id, s.xmax = 0 INTO v_search, v_is_new;
    IF v_is_new AND (SELECT count(*) FROM guestcomms.saved_searches AS s WHERE s.tenant_id = v_tenant) > v_limit THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'there are too many saved searches',
            DETAIL = format('At most %s a tenant.', v_limit), HINT = 'remove_saved_search() removes one; an operator may set alerts.max_saved_searches.';
    END IF;
    IF NOT guestcomms_internal.plan_saved_search(v_tenant, v_search) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'no message could match this query',
            DETAIL = 'It holds neither a filter nor a word that anything is indexed by.', HINT = 'explain_search() shows how a query is understood.';
    END IF;
    RETURN v_search;
END $$;
COMMENT ON FUNCTION guestcomms.save_search(text, text, boolean) IS
$$Saves a query of the current tenant under a name, or changes the one of that name, whose alerts leave when its query is another, and returns search_id. Messages that are recorded or changed from then on (and the newest before, which the job has not compared yet) and match raise an alert, once each, when match_saved_searches() runs, a job. The query language is that of searches, but all words must be there: no message is taken for a match by some of them, or by a corrected one; has:reply and has:attachment are true of what is there at that moment. notify => true: the identifier is announced on the channel guestcomms_alerts (LISTEN) when there are new alerts.
Example: SELECT guestcomms.save_search('Allergies', 'allergy OR allergic OR "gluten free"', notify => true);
See also: list_alerts, acknowledge_alert, list_saved_searches, remove_saved_search$$;

CREATE FUNCTION guestcomms.list_saved_searches()
RETURNS TABLE (search_id uuid, name text, query text, notify boolean, created_at timestamptz, open_alerts bigint)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT s.search_id, s.name, s.query, s.notify, s.created_at,
        (SELECT count(*) FROM guestcomms.search_alerts AS a WHERE a.tenant_id = s.tenant_id AND a.search_id = s.search_id AND a.acknowledged_at IS NULL)
    FROM guestcomms.saved_searches AS s
    WHERE s.tenant_id = guestcomms.current_tenant()
    ORDER BY s.name
$$;
COMMENT ON FUNCTION guestcomms.list_saved_searches() IS
$$The saved searches of the current tenant, with how many of their alerts nobody has acknowledged.
Example: SELECT name, query, open_alerts FROM guestcomms.list_saved_searches();
See also: save_search, list_alerts, remove_saved_search$$;

CREATE FUNCTION guestcomms.remove_saved_search(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    DELETE FROM guestcomms.saved_searches AS s WHERE s.tenant_id = v_tenant AND s.name = btrim(remove_saved_search.name);
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION guestcomms.remove_saved_search(text) IS
$$Removes a saved search of the current tenant with its alerts; returns whether there was one.
Example: SELECT guestcomms.remove_saved_search('Allergies');
See also: save_search, list_saved_searches$$;
