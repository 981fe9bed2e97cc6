-- Every place where something of a guest can be, how it is found there, and what becomes of it. A test compares the list with the
-- catalog: a table, or a column of the classes contact, content and behaviour, that is not in it fails. conditions look at a
-- row p: $1 is the tenant, $2 the guest with those merged into them, $3 their messages, $4 those of these that stay without what
-- tells whose they are, $5 the erasure.
CREATE FUNCTION guestcomms_internal.erasure_places()
RETURNS TABLE (place text, columns text[], treatment text, condition text, reason text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $places$
    VALUES
    -- The guest
    ('guestcomms.guests', '{display_name,language,timezone}'::text[], 'emptied',
        'p.guest_id = ANY ($2) AND num_nonnulls(p.display_name, p.language, p.timezone) > 0',
        'its key stays for what is proof, and so that nothing is written for it any more'),
    ('guestcomms.guest_addresses', '{address}', 'removed', 'p.guest_id = ANY ($2)', NULL),
    ('guestcomms.consents', '{}', 'removed', 'p.guest_id = ANY ($2)', 'an objection leaves a keyed hash in suppressions'),
    ('guestcomms.wedding_guests', '{party,role,rsvp,rsvp_at}', 'removed', 'p.guest_id = ANY ($2)', NULL),
    ('guestcomms.weddings', '{name}', 'emptied', 'guestcomms_internal.wedding_names_guest($1, $2, $5, p.wedding_id, p.name)',
        'the whole name, and of the couple each word of it, leaves the name of the wedding'),
    ('guestcomms.subject_requests', '{}', 'kept', NULL, 'that there was a request, and when it was answered, must be shown (GDPR Art. 5(2))'),
    ('guestcomms.subject_request_steps', '{}', 'emptied',
        $$p.note IS NOT NULL AND p.note !~ '^erasure [0-9a-f-]{36}$'
            AND p.request_id IN (SELECT r.request_id FROM guestcomms.subject_requests AS r WHERE r.tenant_id = $1 AND r.guest_id = ANY ($2))$$,
        'steps stay as proof, without what was written about them'),
    ('guestcomms.guest_merges', '{moved}', 'removed', 'p.guest_id = ANY ($2) OR p.merged_guest_id = ANY ($2)', 'what was merged cannot be undone any more'),
    ('guestcomms.dismissed_duplicates', '{}', 'removed', 'p.guest_a = ANY ($2) OR p.guest_b = ANY ($2)', NULL),
    ('guestcomms.legal_holds', '{}', 'kept', NULL, 'that there was a hold must be shown; it names a key'),
    -- What was written
    ('guestcomms.threads', '{subject,last_message_at,last_inbound_at,last_outbound_at,waiting_since,active_at,guest_waits_since}', 'removed', 'p.guest_id = ANY ($2) AND num_nonnulls(p.subject, p.assigned_to) > 0',
        'one that messages or holds refer to stays without its subject'),
    ('guestcomms.messages', '{sent_at,subject,body,read_at,metadata,search}', 'removed',
        $$p.guest_id = ANY ($2) AND (p.message_id <> ALL ($4) OR p.external_id IS NOT NULL OR p.metadata <> '{}')$$,
        'anonymised, and what the business wrote where that stays: without what tells whose it is'),
    ('guestcomms.message_events', '{occurred_at,kind,is_machine,detail}', 'removed',
        'p.message_id = ANY ($3) AND (p.message_id <> ALL ($4) OR num_nonnulls(p.detail, p.external_id) > 0)', 'of messages that stay: without details'),
    ('guestcomms.message_versions', '{subject,body}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.message_deletions', '{}', 'removed', 'p.message_id = ANY ($3)', 'with why it was withdrawn'),
    ('guestcomms.send_attempts', '{}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.message_annotations', '{kind,value}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.attachments', '{name,uri}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms_internal.attachment_contents', '{name,uri}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.attachment_removals', '{uri}', 'kept', NULL, 'where the content is stays until the object store confirms that it is deleted'),
    ('guestcomms.message_keys', '{}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.event_keys', '{}', 'removed',
        'p.event_id IN (SELECT f.event_id FROM guestcomms_bi.fact_message_event AS f WHERE f.tenant_id = $1 AND f.message_id = ANY ($3))', NULL),
    ('guestcomms.import_messages', '{subject,body,sent_at,metadata}', 'removed',
        'p.guest_id = ANY ($2) OR p.thread_id IN (SELECT t.thread_id FROM guestcomms.threads AS t WHERE t.tenant_id = $1 AND t.guest_id = ANY ($2))', NULL),
    ('guestcomms.import_guest_lines', '{line}', 'removed', 'guestcomms_internal.names_erased($1, $5, p.line, NULL)', 'lines of a file that was not taken in and that name the guest'),
    -- The archive
    ('guestcomms.archive_segments', '{first_sent_at,last_sent_at,search,payload}', 'removed', 'p.guest_id = ANY ($2) AND NOT p.message_ids <@ $4', NULL),
    ('guestcomms.archive_checks', '{}', 'removed', 'NOT EXISTS (SELECT FROM guestcomms.archive_segments AS s WHERE s.tenant_id = $1 AND s.segment_id = p.segment_id)', NULL),
    ('guestcomms.archive_codec_trials', '{}', 'removed', 'NOT EXISTS (SELECT FROM guestcomms.archive_segments AS s WHERE s.tenant_id = $1 AND s.segment_id = p.segment_id)', NULL),
    ('guestcomms.archive_runs', '{}', 'kept', NULL, 'identifiers alone, until the time to undo a run is over'),
    ('guestcomms.archive_dictionaries', '{}', 'kept', NULL, 'holds only what five guests or more had written when it was made'),
    ('guestcomms_internal.late_details', '{}', 'removed', 'p.message_id = ANY ($3)', NULL),
    -- What searches and suggestions are made of
    ('guestcomms_internal.replaced_messages', '{subject,body,search}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms_internal.undetected_messages', '{sent_at}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.term_statistics', '{term}', 'recounted',
        $$p.message_count <= 0 AND p.term IN (SELECT w.word FROM guestcomms_internal.erasure_words AS w WHERE w.tenant_id = $1 AND w.erasure_id = $5 AND w.origin = 'stem')$$, NULL),
    ('guestcomms.vocabulary', '{term,written}', 'recounted', 'p.is_unused', NULL),
    ('guestcomms.spelling_words', '{word}', 'recounted', 'NOT EXISTS (SELECT FROM guestcomms.vocabulary AS v WHERE v.tenant_id = $1 AND v.term = p.word)', NULL),
    ('guestcomms.suggestion_prefixes', '{prefix,words,phrases}', 'recounted',
        $$EXISTS (SELECT FROM unnest(p.words || p.phrases) AS u (term) CROSS JOIN LATERAL unnest(string_to_array(u.term, ' ')) AS o (word)
            JOIN guestcomms_internal.erasure_words AS w ON w.tenant_id = $1 AND w.erasure_id = $5 AND w.origin = 'stem' AND w.word = o.word
            WHERE NOT EXISTS (SELECT FROM guestcomms.vocabulary AS v WHERE v.tenant_id = $1 AND v.term = u.term))$$, NULL),
    ('guestcomms.name_statistics', '{message_count,weight}', 'removed', $$p.kind = 'guest' AND p.named_id = ANY ($2)$$, NULL),
    ('guestcomms.synonyms', '{term,alternatives}', 'removed',
        $$guestcomms_internal.names_erased($1, $5, concat_ws(' ', p.term, array_to_string(p.alternatives, ' ')), NULL)$$, 'those that name the guest'),
    ('guestcomms.saved_searches', '{name,query}', 'removed', $$guestcomms_internal.names_erased($1, $5, concat_ws(' ', p.name, p.query), p.created_at)$$,
        'those that name the guest, or that hold a word which only this guest wrote and were saved since'),
    ('guestcomms.saved_search_words', '{words}', 'removed',
        'NOT EXISTS (SELECT FROM guestcomms.saved_searches AS s WHERE s.tenant_id = $1 AND s.search_id = p.search_id)', 'with their saved search'),
    ('guestcomms.saved_search_anchors', '{anchor}', 'removed',
        'NOT EXISTS (SELECT FROM guestcomms.saved_searches AS s WHERE s.tenant_id = $1 AND s.search_id = p.search_id)', 'with their saved search'),
    ('guestcomms.search_alerts', '{}', 'removed', 'p.message_id = ANY ($3)', NULL),
    ('guestcomms.search_queries', '{query}', 'emptied', 'p.query IS NOT NULL AND guestcomms_internal.query_names_erased($1, $5, p.query)',
        'those with a word of the name, an address, or a word that only this guest wrote'),
    ('guestcomms.search_clicks', '{}', 'removed', 'p.message_id = ANY ($3)', NULL),
    -- The warehouse: its numbers stay, and are nobody's
    ('guestcomms_bi.dim_guest', '{segment,locale,timezone,rsvp}', 'removed', 'p.guest_id = ANY ($2) AND NOT p.is_erased', NULL),
    ('guestcomms_bi.dim_wedding', '{wedding_name}', 'emptied', 'guestcomms_internal.wedding_names_guest($1, $2, $5, p.wedding_id, p.wedding_name)', 'with its wedding'),
    ('guestcomms_bi.fact_message', '{sent_at,queued_at,delivered_at,opened_at,machine_opened_at,clicked_at,replied_at,failed_at,unsubscribed_at,response_seconds}',
        're-keyed', 'p.guest_id = ANY ($2)', 'counts stay; the guest becomes the one who stands for all erased'),
    ('guestcomms_bi.fact_message_event', '{occurred_at,kind,is_machine}', 're-keyed',
        'p.guest_key IN (SELECT d.guest_key FROM guestcomms_bi.dim_guest AS d WHERE d.tenant_id = $1 AND d.guest_id = ANY ($2) AND NOT d.is_erased)', 'counts stay'),
    ('guestcomms_internal.report_guest_engagement', '{}', 'recounted', 'p.guest_id = ANY ($2)', 'refreshed'),
    -- Exports
    ('guestcomms.exports', '{}', 'emptied', $$p.guest_id = ANY ($2) AND (p.status IN ('waiting', 'ready') OR p.conversations <> '{}' OR p.public_key IS NOT NULL)$$, 'that there was one stays as proof, without its file'),
    ('guestcomms_internal.export_messages', '{}', 'removed', 'guestcomms_internal.export_holds_guest($1, $2, $5, p.export_id)', 'of exports of all of the tenant, too'),
    ('guestcomms_internal.export_fragments', '{file_name,data}', 'removed', 'guestcomms_internal.export_holds_guest($1, $2, $5, p.export_id)', 'of exports of all of the tenant, too'),
    ('guestcomms_internal.export_parts', '{data}', 'removed', 'guestcomms_internal.export_holds_guest($1, $2, $5, p.export_id)', 'of exports of all of the tenant, too'),
    -- What is proof, or passes
    ('guestcomms.audit_contents', '{}', 'removed',
        $$p.entry_id >= guestcomms_internal.first_uuid_v7((SELECT min(g.created_at) FROM guestcomms.guests AS g WHERE g.tenant_id = $1 AND g.guest_id = ANY ($2)))
            AND p.content::text LIKE ANY (ARRAY(SELECT '%' || i.id || '%' FROM unnest($2) AS i (id)))$$, 'with its salt: the sealed entry holds only its hash'),
    ('guestcomms.audit_entries', '{}', 'kept', NULL, 'who did what, sealed; it names keys'),
    ('guestcomms.change_log', '{}', 'kept', NULL, 'identifiers alone, until every consumer has read them'),
    ('guestcomms.erasures', '{}', 'kept', NULL, 'that a guest was erased; not which, once it is done'),
    ('guestcomms_internal.erasure_messages', '{}', 'removed', NULL, 'with the last step'),
    ('guestcomms_internal.erasure_words', '{word}', 'removed', NULL, 'with the last step')
$places$;
COMMENT ON FUNCTION guestcomms_internal.erasure_places() IS 'The declared list of places where something of a guest can be, and what an erasure does there; NULL for a condition where nothing is looked for.';

CREATE FUNCTION guestcomms_internal.count_in_place(place text, condition text, tenant_id uuid, guest_ids uuid[], message_ids uuid[], kept_ids uuid[], erasure_id uuid) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s AS p WHERE p.tenant_id = $1 AND (%s)', count_in_place.place::regclass, count_in_place.condition)
    INTO v_count
    USING count_in_place.tenant_id, count_in_place.guest_ids, count_in_place.message_ids, count_in_place.kept_ids, count_in_place.erasure_id;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_in_place(text, text, uuid, uuid[], uuid[], uuid[], uuid) IS 'How many rows of a place are of a guest.';

CREATE FUNCTION guestcomms_internal.detached_partitions() RETURNS TABLE (relation regclass, parent_table text, key_column text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- Whoever detached it, and wherever it was moved to: an ordinary table with all columns of the partitioned one.
    SELECT c.oid::regclass, p.name, CASE p.name WHEN 'guestcomms.messages' THEN 'guest_id' WHEN 'guestcomms.archive_segments' THEN 'guest_id'
        WHEN 'guestcomms_bi.fact_message' THEN 'guest_id' ELSE 'message_id' END
    FROM unnest(guestcomms_internal.partitioned_tables()) AS p (name)
    JOIN pg_catalog.pg_class AS c ON c.relkind = 'r' AND NOT c.relispartition AND c.relname NOT LIKE '%\_template' AND c.relpersistence <> 't'
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = p.name::regclass AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS b
                WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped AND b.attname = a.attname AND b.atttypid = a.atttypid))
$$;
COMMENT ON FUNCTION guestcomms_internal.detached_partitions() IS 'Tables that were partitions of the store''s, or are copies of them, and hold guests'' rows aside.';

CREATE FUNCTION guestcomms_internal.reach_detached(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT has_table_privilege('guestcomms_engine', reach_detached.relation, 'DELETE') THEN
        EXECUTE format('GRANT SELECT, DELETE ON %s TO guestcomms_engine', reach_detached.relation);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.reach_detached(regclass) IS 'Lets whoever erases reach a detached partition; partitions are reached through their parent alone.';
