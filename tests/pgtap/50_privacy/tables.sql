-- The tables of requests: the tenant comes first, operators read, and a request is closed or open and nothing between.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('subject_requests', '{tenant_id,request_id}'),
    ('subject_request_steps', '{tenant_id,request_id,step_number}'),
    ('exports', '{tenant_id,export_id}');

SELECT table_owner_is('guestcomms', w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk('guestcomms', w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT policies_are('guestcomms', w.table_name, '{tenant_isolation}'::name[]) FROM wanted AS w;
SELECT table_privs_are('guestcomms', w.table_name, r.name, '{}'::text[], r.name || ' gets nothing of ' || w.table_name)
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms', w.table_name, 'guestcomms_operator'::name, ARRAY['SELECT'], 'what operators may do with ' || w.table_name) FROM wanted AS w;
SELECT fk_ok('guestcomms', 'subject_requests', ARRAY['tenant_id', 'guest_id'], 'guestcomms', 'guests', ARRAY['tenant_id', 'guest_id']);
SELECT fk_ok('guestcomms', 'exports', ARRAY['tenant_id', 'guest_id'], 'guestcomms', 'guests', ARRAY['tenant_id', 'guest_id']);
SELECT has_index('guestcomms', 'exports', 'exports_waiting', ARRAY['requested_at', 'export_id']);
SELECT has_index('guestcomms', 'exports', 'exports_expiry', ARRAY['expires_at']);
SELECT has_index('guestcomms', 'exports', 'exports_guest', ARRAY['tenant_id', 'guest_id', 'requested_at']);
SELECT col_is_pk('guestcomms_internal', 'export_messages', ARRAY['tenant_id', 'export_id', 'message_id'], 'a message is in an export once');
SELECT col_is_pk('guestcomms_internal', 'export_fragments', ARRAY['tenant_id', 'export_id', 'file_name', 'fragment_number'], 'pieces in order');
SELECT col_is_pk('guestcomms_internal', 'export_parts', ARRAY['tenant_id', 'export_id', 'part_number'], 'parts in order');
SELECT col_is_pk('guestcomms_internal', 'export_keys', ARRAY['tenant_id', 'name'], 'a name, one key');
SELECT has_index('guestcomms', 'subject_requests', 'subject_requests_due', ARRAY['tenant_id', 'due_on', 'request_id']);
SELECT has_index('guestcomms', 'subject_requests', 'subject_requests_guest', ARRAY['tenant_id', 'guest_id']);
SELECT col_has_check('guestcomms', 'subject_requests', ARRAY['status', 'closed_at'], 'closed at a time');
SELECT col_has_check('guestcomms', 'subject_requests', ARRAY['status', 'complaint_route'], 'refused with a way to complain');

SELECT finish();
ROLLBACK;
