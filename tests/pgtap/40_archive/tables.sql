-- The tables of the archive: the tenant comes first, operators read, nobody else sees a segment.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (schema_name name, table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('guestcomms', 'archive_policies', '{tenant_id,policy_id}'),
    ('guestcomms', 'archive_runs', '{tenant_id,run_id,part_number}'),
    ('guestcomms', 'legal_holds', '{tenant_id,hold_id}'),
    ('guestcomms', 'archive_dictionaries', '{tenant_id,dictionary_id}'),
    ('guestcomms', 'archive_segments', '{tenant_id,segment_id,first_sent_at}'),
    ('guestcomms', 'archive_checks', '{tenant_id,segment_id}'),
    ('guestcomms', 'archive_codec_trials', '{tenant_id,trial_id}'),
    ('guestcomms', 'archive_predictors', '{tenant_id}'),
    ('guestcomms_internal', 'late_details', '{tenant_id,message_id,note_id}');

SELECT has_table(w.schema_name, w.table_name, w.table_name || ' is there') FROM wanted AS w;
SELECT table_owner_is(w.schema_name, w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk(w.schema_name, w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT policies_are(w.schema_name, w.table_name, '{tenant_isolation}'::name[]) FROM wanted AS w;
SELECT table_privs_are(w.schema_name, w.table_name, r.name, '{}'::text[], r.name || ' gets nothing of ' || w.table_name)
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are(w.schema_name, w.table_name, 'guestcomms_operator'::name,
    CASE w.schema_name WHEN 'guestcomms' THEN ARRAY['SELECT'] ELSE '{}' END, 'what operators may do with ' || w.table_name)
FROM wanted AS w;
SELECT is_partitioned('guestcomms'::name, 'archive_segments'::name);
SELECT fk_ok('guestcomms', 'archive_segments', ARRAY['tenant_id', 'guest_id'], 'guestcomms', 'guests', ARRAY['tenant_id', 'guest_id']);
SELECT fk_ok('guestcomms', 'archive_segments', ARRAY['tenant_id', 'dictionary_id'], 'guestcomms', 'archive_dictionaries', ARRAY['tenant_id', 'dictionary_id']);
SELECT col_has_check('guestcomms', 'archive_segments', ARRAY['message_count', 'message_ids'], 'as many messages as are listed');
SELECT is_empty(
    $$SELECT l.partition::regclass FROM guestcomms_internal.list_partitions('guestcomms.archive_segments') AS l WHERE NOT l.is_default
        AND l.since + interval '1 year' <> l.until$$,
    'a partition of segments is for a year');
SELECT set_eq(
    $$SELECT a.attrelid::regclass || '.' || a.attname FROM wanted AS w
        JOIN pg_attribute AS a ON a.attrelid = format('%I.%I', w.schema_name, w.table_name)::regclass
        WHERE col_description(a.attrelid, a.attnum) LIKE '%[retention: content]'$$,
    ARRAY['guestcomms.archive_segments.search', 'guestcomms.archive_segments.payload'],
    'what guests wrote');

SELECT finish();
ROLLBACK;
