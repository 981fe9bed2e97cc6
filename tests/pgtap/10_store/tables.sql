-- The store's tables with their primary keys: the tenant comes first wherever a row has one.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('settings', '{tenant_id,name}'),
    ('audit_entries', '{tenant_id,entry_id}'),
    ('audit_contents', '{tenant_id,entry_id}'),
    ('audit_heads', '{tenant_id}'),
    ('change_log', '{xid,seq}'),
    ('consumers', '{consumer}'),
    ('jobs', '{job_name}'),
    ('job_runs', '{job_name,run_id}'),
    ('tenants', '{tenant_id}'),
    ('tenant_members', '{tenant_id,role_name}'),
    ('tenant_languages', '{tenant_id,configuration,note_id}'),
    ('weddings', '{tenant_id,wedding_id}'),
    ('guests', '{tenant_id,guest_id}'),
    ('wedding_guests', '{tenant_id,wedding_id,guest_id}'),
    ('guest_addresses', '{tenant_id,channel,address}'),
    ('consents', '{tenant_id,consent_id}'),
    ('campaigns', '{tenant_id,campaign_id}'),
    ('message_templates', '{tenant_id,template_id}'),
    ('threads', '{tenant_id,thread_id}'),
    ('messages', '{tenant_id,message_id,sent_at}'),
    ('message_events', '{tenant_id,event_id,occurred_at}'),
    ('message_versions', '{tenant_id,message_id,version_number}'),
    ('attachments', '{tenant_id,attachment_id}'),
    ('message_annotations', '{tenant_id,annotation_id}'),
    ('message_keys', '{tenant_id,source,external_id}'),
    ('event_keys', '{tenant_id,source,external_id}'),
    ('import_messages', '{tenant_id,row_number}'),
    ('import_guest_lines', '{tenant_id,line_number}'),
    ('guest_merges', '{tenant_id,merge_id}'),
    ('dismissed_duplicates', '{tenant_id,guest_a,guest_b}');

SELECT bag_has(
    $$SELECT c.relname::text FROM pg_class AS c
        WHERE c.relnamespace = 'guestcomms'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition$$,
    'SELECT table_name::text FROM wanted', 'the tables');
SELECT table_owner_is('guestcomms'::name, w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk('guestcomms'::name, w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT col_is_fk('guestcomms'::name, 'messages'::name, k.columns, 'foreign key on ' || k.columns::text) FROM (VALUES
    ('{tenant_id,guest_id}'::name[]), ('{tenant_id,thread_id}'), ('{tenant_id,wedding_id}'), ('{tenant_id,campaign_id}')) AS k (columns);
SELECT is_empty(
    $$SELECT f.conname FROM pg_constraint AS f
        WHERE f.contype = 'f' AND f.confrelid = 'guestcomms.messages'::regclass$$,
    'nothing refers to messages, which may be archived');
SELECT is_partitioned('guestcomms'::name, t.name) FROM (VALUES ('messages'::name), ('message_events')) AS t (name);

-- An identifier without its tenant would find another's row.
SELECT is_empty(
    $$SELECT i.indexrelid::regclass FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'guestcomms'::regnamespace AND i.indisunique AND i.indkey[0] <> a.attnum
            AND c.relname <> 'change_log'$$,
    'every unique index begins with the tenant');

SELECT finish();
ROLLBACK;
