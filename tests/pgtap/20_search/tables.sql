-- The tables of search: the tenant comes first, and what holds words of guests' messages is declared as content.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (schema_name name, table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('guestcomms', 'term_statistics', '{tenant_id,term}'),
    ('guestcomms', 'search_statistics', '{tenant_id}'),
    ('guestcomms', 'search_months', '{tenant_id,month}'),
    ('guestcomms', 'synonyms', '{tenant_id,term}'),
    ('guestcomms', 'search_rebuilds', '{tenant_id,month}'),
    ('guestcomms', 'vocabulary', '{tenant_id,term}'),
    ('guestcomms', 'spelling_words', '{tenant_id,word}'),
    ('guestcomms', 'name_statistics', '{tenant_id,kind,named_id}'),
    ('guestcomms', 'suggestion_prefixes', '{tenant_id,prefix}'),
    ('guestcomms', 'saved_searches', '{tenant_id,search_id}'),
    ('guestcomms', 'saved_search_words', '{tenant_id,search_id,configuration}'),
    ('guestcomms', 'saved_search_anchors', '{tenant_id,anchor,search_id}'),
    ('guestcomms', 'search_alerts', '{tenant_id,alert_id}'),
    ('guestcomms', 'search_queries', '{tenant_id,query_id}'),
    ('guestcomms', 'search_clicks', '{tenant_id,query_id,message_id}'),
    ('guestcomms_internal', 'replaced_messages', '{tenant_id,message_id,seq}'),
    ('guestcomms_internal', 'undetected_messages', '{tenant_id,message_id}');

SELECT has_table(w.schema_name, w.table_name, w.table_name || ' is there') FROM wanted AS w;
SELECT table_owner_is(w.schema_name, w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk(w.schema_name, w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT policies_are(w.schema_name, w.table_name, '{tenant_isolation}'::name[]) FROM wanted AS w;
SELECT table_privs_are(w.schema_name, w.table_name, r.name, '{}'::text[], r.name || ' gets nothing of ' || w.table_name)
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are(w.schema_name, w.table_name, 'guestcomms_operator'::name,
    CASE w.schema_name WHEN 'guestcomms' THEN ARRAY['SELECT'] ELSE '{}' END, 'what operators may do with ' || w.table_name)
FROM wanted AS w;
SELECT fk_ok('guestcomms', 'synonyms', 'tenant_id', 'guestcomms', 'tenants', 'tenant_id');

SELECT set_eq(
    $$SELECT a.attrelid::regclass || '.' || a.attname FROM wanted AS w
        JOIN pg_attribute AS a ON a.attrelid = format('%I.%I', w.schema_name, w.table_name)::regclass
        WHERE col_description(a.attrelid, a.attnum) LIKE '%[retention: content]'$$,
    ARRAY['guestcomms.term_statistics.term', 'guestcomms_internal.replaced_messages.search', 'guestcomms_internal.replaced_messages.subject',
        'guestcomms_internal.replaced_messages.body', 'guestcomms.vocabulary.term', 'guestcomms.vocabulary.written', 'guestcomms.spelling_words.word',
        'guestcomms.suggestion_prefixes.prefix', 'guestcomms.suggestion_prefixes.words', 'guestcomms.suggestion_prefixes.phrases',
        'guestcomms.saved_searches.query', 'guestcomms.saved_searches.name', 'guestcomms.synonyms.term', 'guestcomms.synonyms.alternatives',
        'guestcomms.saved_search_words.words', 'guestcomms.saved_search_anchors.anchor', 'guestcomms.search_queries.query'],
    'what guests wrote');
SELECT bag_has('SELECT consumer FROM guestcomms.consumers', $$VALUES ('saved_searches'), ('term_statistics')$$,
    'saved searches and statistics read the change log');
SELECT is(count(*), 1::bigint, 'terms that no message holds are found by an index')
FROM pg_index AS i WHERE i.indrelid = 'guestcomms.term_statistics'::regclass AND i.indpred IS NOT NULL;

SELECT finish();
ROLLBACK;
