-- Indexes: each says what it is for, and begins with the tenant unless it serves maintenance.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY VIEW own_index AS
SELECT i.indexrelid AS oid, i.indexrelid::regclass::text AS name, i.indkey[0] AS first_column, c.oid AS table_id,
    obj_description(i.indexrelid, 'pg_class') AS description
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace::regnamespace::text IN ('guestcomms', 'guestcomms_internal', 'guestcomms_bi') AND NOT c.relispartition
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'));

SELECT ok(count(*) > 10, 'there are indexes to look at') FROM own_index;
SELECT is_empty($$SELECT name FROM own_index WHERE description IS NULL$$, 'every index has a comment');
SELECT set_eq(
    $$SELECT o.name FROM own_index AS o JOIN pg_attribute AS a ON a.attrelid = o.table_id AND a.attname = 'tenant_id'
        WHERE o.first_column <> a.attnum$$,
    ARRAY['guestcomms.messages_time', 'guestcomms.message_events_time', 'guestcomms.spelling_words_keys',
        'guestcomms.import_guest_lines_loaded', 'guestcomms.exports_waiting', 'guestcomms.exports_expiry', 'guestcomms.erasures_open', 'guestcomms.send_attempts_claimed_at', 'guestcomms.attachment_removals_removal', 'guestcomms_bi.fact_message_time', 'guestcomms_bi.fact_message_event_time'],
    'only indexes of time ranges, and one whose keys are the tenant''s own, do not begin with the tenant');

SELECT has_index('guestcomms', 'messages', 'messages_search', ARRAY['tenant_id', 'search']);
SELECT index_is_type('guestcomms', 'messages', 'messages_search', 'gin');
SELECT has_index('guestcomms', 'messages', 'messages_thread', ARRAY['tenant_id', 'thread_id', 'sent_at']);
SELECT has_index('guestcomms', 'messages', 'messages_guest', ARRAY['tenant_id', 'guest_id', 'sent_at']);
SELECT has_index('guestcomms', 'message_events', 'message_events_message', ARRAY['tenant_id', 'message_id', 'occurred_at']);
SELECT is_empty(
    $$SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid$$, 'no index is invalid');

SELECT finish();
ROLLBACK;
