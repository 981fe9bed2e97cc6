-- What the inbox goes by: columns of threads that follow from messages, indexes that begin with the shelf, triggers of every operation.
BEGIN;
SELECT no_plan();

SELECT has_column('guestcomms', 'threads', c.name, 'threads.' || c.name) FROM unnest(guestcomms_internal.thread_state_columns()) AS c (name);
SELECT ok(a.attgenerated = 's', a.attname || ' is computed from others')
FROM pg_attribute AS a WHERE a.attrelid = 'guestcomms.threads'::regclass AND a.attname IN ('shelf', 'active_at', 'guest_waits_since');
SELECT has_index('guestcomms', 'threads', 'threads_inbox', ARRAY['tenant_id', 'shelf', 'active_at', 'thread_id']);
SELECT has_index('guestcomms', 'threads', 'threads_assigned', ARRAY['tenant_id', 'assigned_to', 'shelf', 'active_at', 'thread_id']);
SELECT has_index('guestcomms', 'threads', 'threads_wedding', ARRAY['tenant_id', 'wedding_id', 'shelf', 'active_at', 'thread_id']);
SELECT has_index('guestcomms', 'threads', 'threads_waiting', ARRAY['tenant_id', 'shelf', 'guest_waits_since', 'thread_id']);
SELECT has_index('guestcomms', 'threads', 'threads_assigned_waiting', ARRAY['tenant_id', 'assigned_to', 'shelf', 'guest_waits_since', 'thread_id']);
SELECT hasnt_index('guestcomms', 'threads', 'threads_status', 'no index that another serves for');
SELECT triggers_are('guestcomms', 'messages', ARRAY['follow_insert', 'follow_update', 'follow_delete', 'follow_archiving', 'refuse_erased', 'log_insert', 'log_update', 'log_delete',
    'register_keys']);
SELECT is_empty($$SELECT tgname FROM pg_trigger WHERE tgrelid = 'guestcomms.messages'::regclass AND NOT tgisinternal AND tgtype & 1 = 1$$, 'none of them is called row by row');

-- Every combination has a shelf of its own, and the list of shelves finds each.
SELECT is((SELECT count(DISTINCT s) FROM unnest(guestcomms_internal.list_shelves('{open,waiting,closed}')) AS s), 60::bigint, 'sixty shelves');
CREATE TEMPORARY TABLE kept (LIKE guestcomms.threads INCLUDING DEFAULTS INCLUDING GENERATED);
INSERT INTO kept (tenant_id, guest_id, status, last_channel, unread_count, snoozed_until)
SELECT gen_random_uuid(), gen_random_uuid(), s.status, c.channel, u.number, z.until
FROM unnest('{open,waiting,closed}'::text[]) AS s (status), unnest('{NULL,email,sms,whatsapp,chat}'::text[]) AS c (channel), unnest('{0,3}'::integer[]) AS u (number),
    unnest('{NULL,2030-01-01}'::timestamptz[]) AS z (until);
SELECT is((SELECT count(DISTINCT k.shelf) FROM kept AS k), 60::bigint, 'each on its own');
SELECT set_eq(format('SELECT k.shelf FROM kept AS k WHERE k.status = %L AND (k.last_channel = %L OR %2$L IS NULL) AND (k.unread_count > 0) = %L', s.status, c.channel, u.is_unread),
    guestcomms_internal.list_shelves(ARRAY[s.status], c.channel, u.is_unread), concat_ws(' ', s.status, c.channel, u.is_unread))
FROM unnest('{open,waiting,closed}'::text[]) AS s (status), unnest('{NULL,email,sms,whatsapp,chat}'::text[]) AS c (channel), unnest('{f,t}'::boolean[]) AS u (is_unread);

-- An answer ends waiting; a message in between is known only to the messages.
CREATE FUNCTION pg_temp.since(inbound timestamptz, outbound timestamptz, since timestamptz, added_inbound timestamptz, added_outbound timestamptz) RETURNS timestamptz
LANGUAGE sql AS $$
    SELECT guestcomms_internal.next_waiting_since(inbound, outbound, since, ROW(NULL, NULL, NULL, NULL, NULL, NULL, added_inbound, added_inbound, added_outbound, added_outbound, 0,
        NULL)::guestcomms_internal.thread_change)
$$;
SELECT is(pg_temp.since('2026-01-02', '2026-01-01', '2026-01-02', NULL, '2026-01-03'), '2026-01-03'::timestamptz, 'answered');
SELECT is(pg_temp.since('2026-01-05', '2026-01-01', '2026-01-02', '2026-01-06', NULL), '2026-01-02'::timestamptz, 'asked again');
SELECT is(pg_temp.since('2026-01-05', '2026-01-01', '2026-01-03', '2026-01-02', NULL), '2026-01-02'::timestamptz, 'asked before, and late');
SELECT is(pg_temp.since('2026-01-05', '2026-01-01', '2026-01-02', NULL, '2026-01-03'), NULL::timestamptz, 'answered in part');
SELECT is(pg_temp.since('2026-01-05', NULL, '2026-01-02', NULL, '2026-01-05'), '2026-01-05'::timestamptz, 'an answer of the same moment');
SELECT is(pg_temp.since(NULL, NULL, NULL, NULL, NULL), NULL::timestamptz, 'nobody waits where nothing was written');
SELECT is(pg_temp.since('2026-01-05', '2026-01-01', '2026-01-02', NULL, NULL), '2026-01-02'::timestamptz, 'nothing was added');
SELECT is(guestcomms_internal.message_snippet(E'  one\n\n two\t' || repeat('x', 500)), 'one two ' || repeat('x', 132), 'one line, and no longer than that');

SELECT finish();
ROLLBACK;
