-- The to-delete list for the object store: what comes on it, what does not because something else uses it, and when it leaves it.
BEGIN;
SELECT no_plan();

SELECT table_owner_is('guestcomms', 'attachment_removals', 'guestcomms_owner'::name);
SELECT col_is_pk('guestcomms', 'attachment_removals', '{tenant_id,removal_id}'::name[], 'the tenant comes first');
SELECT policies_are('guestcomms', 'attachment_removals', '{tenant_isolation}'::name[]);
SELECT table_privs_are('guestcomms', 'attachment_removals', r.name, '{}'::text[], r.name || ' gets nothing')
FROM (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms', 'attachment_removals', 'guestcomms_operator'::name, ARRAY['SELECT'], 'operators read');
SELECT col_isnt_fk('guestcomms', 'attachment_removals', 'tenant_id', 'it outlives the tenant');
SELECT col_is_pk('guestcomms_internal', 'attachment_contents', '{tenant_id,attachment_id}'::name[], 'the tenant comes first');
SELECT fk_ok('guestcomms_internal', 'attachment_contents', ARRAY['tenant_id'], 'guestcomms', 'tenants', ARRAY['tenant_id']);

SELECT guestcomms.add_tenant('Rose & Quill') AS tenant \gset
SELECT guestcomms.add_tenant('Other') AS other \gset
SELECT guestcomms.use_tenant(:'tenant');
INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count, uri)
SELECT t.id, md5(v.message)::uuid, v.message, 'image/jpeg', 1, v.uri
FROM (VALUES (:'tenant'::uuid), (:'other')) AS t (id)
CROSS JOIN (VALUES ('a', 's3://plan'), ('b', 's3://plan'), ('b', 's3://seats'), ('b', NULL)) AS v (message, uri)
WHERE t.id = :'tenant' OR v.message = 'a';

SELECT is(guestcomms_internal.note_attachment_removal(:'tenant', ARRAY[md5('b')::uuid], 'erasure'), 1::bigint, 'what another message uses stays');
SELECT is(guestcomms_internal.note_attachment_removal(:'tenant', ARRAY[md5('b')::uuid], 'erasure'), 0::bigint, 'again it does nothing');
SELECT results_eq('SELECT uri, reason FROM guestcomms.list_attachment_removals()', $$ VALUES ('s3://seats', 'erasure') $$);
SELECT is((SELECT count(*) FROM guestcomms.attachments AS a WHERE a.message_id = md5('b')::uuid), 0::bigint, 'its attachments are gone');
SELECT is(guestcomms_internal.note_attachment_removal(:'tenant', ARRAY[md5('a')::uuid], 'erasure'), 1::bigint, 'the last use; another tenant''s does not count');
INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count, uri)
VALUES (:'tenant', md5('c')::uuid, 'c', 'image/jpeg', 1, 's3://plan');
SELECT results_eq('SELECT uri FROM guestcomms.list_attachment_removals()', $$ VALUES ('s3://seats') $$, 'one that is used again is not named');
SELECT is(guestcomms_internal.note_attachment_removal(:'tenant', ARRAY[md5('c')::uuid], 'retention'), 0::bigint, 'it is on the list once');
SELECT results_eq('SELECT uri, reason FROM guestcomms.list_attachment_removals()', $$ VALUES ('s3://seats', 'erasure'), ('s3://plan', 'erasure') $$);

SELECT is(guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.list_attachment_removals(max_rows => 1))), 1::bigint);
SELECT is((SELECT count(*) FROM guestcomms.attachment_removals AS r WHERE r.uri IS NULL AND r.removed_at IS NOT NULL), 1::bigint, 'where it was is forgotten');
SELECT results_eq('SELECT uri FROM guestcomms.list_attachment_removals()', $$ VALUES ('s3://plan') $$);
SELECT is(guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.attachment_removals)), 1::bigint, 'one confirmed before is not counted');

SELECT throws_ok('SELECT guestcomms.list_attachment_removals(max_rows => 0)', '22023');
SELECT throws_ok('SELECT guestcomms.list_attachment_removals(after => gen_random_uuid())', '42704');
SELECT is(guestcomms.confirm_attachment_removal('{}'), 0::bigint, 'none');
SELECT throws_ok('SELECT guestcomms.confirm_attachment_removal(NULL)', '22023');

SELECT finish();
ROLLBACK;
