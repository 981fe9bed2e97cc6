-- Attempts at sending and deletions: the tenant comes first, operators read, a lease has a worker and an end, statuses have one order.
BEGIN;
SELECT no_plan();

SELECT table_owner_is('guestcomms', t.name, 'guestcomms_owner'::name) FROM (VALUES ('send_attempts'::name), ('message_deletions')) AS t (name);
SELECT policies_are('guestcomms', t.name, '{tenant_isolation}'::name[]) FROM (VALUES ('send_attempts'::name), ('message_deletions')) AS t (name);
SELECT col_is_pk('guestcomms', 'send_attempts', '{tenant_id,message_id,attempt}'::name[], 'an attempt is one worker''s');
SELECT col_is_pk('guestcomms', 'message_deletions', '{tenant_id,message_id}'::name[], 'a message is withdrawn once');
SELECT fk_ok('guestcomms', t.name, ARRAY['tenant_id'], 'guestcomms', 'tenants', ARRAY['tenant_id']) FROM (VALUES ('send_attempts'::name), ('message_deletions')) AS t (name);
SELECT table_privs_are('guestcomms', t.name, r.name, '{}'::text[], r.name || ' gets nothing of ' || t.name)
FROM (VALUES ('send_attempts'::name), ('message_deletions')) AS t (name),
    (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms', t.name, 'guestcomms_operator'::name, ARRAY['SELECT'], 'operators read ' || t.name)
FROM (VALUES ('send_attempts'::name), ('message_deletions')) AS t (name);

PREPARE attempt AS INSERT INTO guestcomms.send_attempts (tenant_id, message_id, attempt, first_attempt, worker, leased_until, outcome, error_code, finished_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), $1, $2, $3, now(), $4, $5, $6);
SELECT throws_ok('EXECUTE attempt (1, 2, ''w'', NULL, NULL, NULL)', '23514', NULL, 'a round begins before its attempts');
SELECT throws_ok('EXECUTE attempt (1, 1, '''', NULL, NULL, NULL)', '23514', NULL, 'a worker has a name');
SELECT throws_ok('EXECUTE attempt (1, 1, ''w'', ''lost'', NULL, now())', '23514', NULL, 'known outcomes');
SELECT throws_ok('EXECUTE attempt (1, 1, ''w'', ''sent'', NULL, NULL)', '23514', NULL, 'an outcome has its time');
SELECT throws_ok('EXECUTE attempt (1, 1, ''w'', ''failed'', ''no such mailbox'', now())', '23514', NULL, 'an error is a code');

SELECT is(ARRAY(SELECT s.status FROM unnest('{read,received,failed,sent,cancelled,delivered,queued}'::text[]) AS s (status)
    ORDER BY guestcomms_internal.status_rank(s.status) NULLS FIRST),
    '{received,queued,cancelled,sent,failed,delivered,read}'::text[], 'the order in which a status rises');
SELECT is(guestcomms_internal.status_of_event(e.kind, e.is_machine), e.status, format('%s by a machine (%s) says %s', e.kind, e.is_machine, e.status))
FROM (VALUES ('queued', false, 'queued'), ('cancelled', false, 'cancelled'), ('sent', false, 'sent'), ('failed', false, 'failed'), ('bounced', false, 'failed'),
    ('delivered', false, 'delivered'), ('opened', false, 'delivered'), ('clicked', false, 'delivered'), ('replied', false, 'delivered'),
    ('complained', false, 'delivered'), ('unsubscribed', false, 'delivered'), ('read', false, 'read'), ('read', NULL, 'read'), ('read', true, 'delivered')) AS e (kind, is_machine, status);

SELECT finish();
ROLLBACK;
