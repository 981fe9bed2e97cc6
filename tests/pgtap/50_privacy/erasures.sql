-- The tables of erasures: the tenant comes first, operators read what is proof, and nothing there says who was erased.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (schema_name name, table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('guestcomms', 'erasures', '{tenant_id,erasure_id}'),
    ('guestcomms', 'erasure_receipts', '{tenant_id,erasure_id,place}'),
    ('guestcomms', 'erasure_ledger', '{tenant_id,key_id,guest_hash}'),
    ('guestcomms', 'suppressions', '{tenant_id,channel,address_hash,purpose}'),
    ('guestcomms_internal', 'erasure_messages', '{tenant_id,erasure_id,message_id}'),
    ('guestcomms_internal', 'erasure_words', '{tenant_id,erasure_id,origin,word}');

SELECT table_owner_is(w.schema_name, w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk(w.schema_name, w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT table_privs_are(w.schema_name, w.table_name, 'guestcomms_app', '{}'::name[]) FROM wanted AS w;
SELECT table_privs_are(w.schema_name, w.table_name, 'guestcomms_operator', CASE w.schema_name WHEN 'guestcomms' THEN '{SELECT}' ELSE '{}' END::name[]) FROM wanted AS w;
SELECT is_empty(
    $$SELECT FROM guestcomms_internal.store_secrets AS s WHERE s.purpose = 'erasures' AND s.key_id <> left(encode(sha256(s.secret), 'hex'), 16)$$,
    'a key is named by its fingerprint');
SELECT throws_ok(
    $$INSERT INTO guestcomms.erasures (tenant_id, mode, is_both_sides, status) VALUES (gen_random_uuid(), 'erase', true, 'running')$$,
    '23514', NULL, 'one that is not done knows whose it is');

SELECT finish();
ROLLBACK;
