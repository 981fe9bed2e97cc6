-- What keeps guests apart and together: one primary address a channel, merges that name two guests, pairs in order, indexes that
-- searches read.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (table_name name);
INSERT INTO wanted VALUES ('guest_merges'), ('dismissed_duplicates');
SELECT table_owner_is('guestcomms', w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT policies_are('guestcomms', w.table_name, '{tenant_isolation}'::name[]) FROM wanted AS w;
SELECT table_privs_are('guestcomms', w.table_name, r.name, '{}'::text[], r.name || ' gets nothing of ' || w.table_name)
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_issuer')) AS r (name);
SELECT fk_ok('guestcomms', 'guest_merges', ARRAY['tenant_id', 'guest_id'], 'guestcomms', 'guests', ARRAY['tenant_id', 'guest_id']);
SELECT fk_ok('guestcomms', 'guest_merges', ARRAY['tenant_id', 'merged_guest_id'], 'guestcomms', 'guests', ARRAY['tenant_id', 'guest_id']);
SELECT col_has_check('guestcomms', 'guest_merges', ARRAY['guest_id', 'merged_guest_id'], 'a guest is not merged into themselves');
SELECT col_has_check('guestcomms', 'dismissed_duplicates', ARRAY['guest_a', 'guest_b'], 'a pair stands once');

SELECT index_is_unique('guestcomms', 'guest_addresses', 'guest_addresses_primary_key');
SELECT is((SELECT pg_get_expr(i.indpred, i.indrelid) FROM pg_index AS i WHERE i.indexrelid = 'guestcomms.guest_addresses_primary_key'::regclass), 'is_primary', 'of primary addresses alone');
SELECT has_index('guestcomms', 'guests', 'guests_merged', ARRAY['tenant_id', 'merged_into', 'guest_id']);
SELECT has_index('guestcomms', 'guests', 'guests_created', ARRAY['tenant_id', 'created_at', 'guest_id']);
SELECT index_is_type('guestcomms', 'guests', 'guests_folded_name', 'gin');
SELECT matches(pg_get_indexdef('guestcomms.guests_folded_name'::regclass), 'gin_trgm_ops', 'trigrams of folded names');

-- Staging: lines may be added, nothing else, and not by everybody.
SELECT table_privs_are('guestcomms', 'import_guest_lines', r.name, '{}'::text[], r.name || ' gets no more than the column')
FROM (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_operator'), ('guestcomms_issuer')) AS r (name);
SELECT column_privs_are('guestcomms', 'import_guest_lines', 'line', r.name, ARRAY['INSERT'], r.name || ' adds lines')
FROM (VALUES ('guestcomms_app'::name), ('guestcomms_operator')) AS r (name);
SELECT column_privs_are('guestcomms', 'import_guest_lines', c.name, 'guestcomms_app'::name, '{}'::text[], 'applications do not say ' || c.name)
FROM (VALUES ('tenant_id'::name), ('line_number'), ('load_id'), ('loaded_at')) AS c (name);

-- Folding, and what addresses have in common.
SELECT is(guestcomms_internal.folded_name_v1(f.name), f.folded, 'folds ' || f.name) FROM (VALUES
    ('  Zoë   KAYA ', 'zoe kaya'), ('Sinéad O’Brien', 'sinead obrien'), ('Ødegård', 'odegard'), ('王小明', '王小明'), ('ﬁona', 'fiona')) AS f (name, folded);
SELECT is(guestcomms_internal.contact_key_v1(k.channel, k.address), k.wanted, 'key of ' || k.address) FROM (VALUES
    ('email', 'z.o.e+x@gmail.com', 'zoe@gmail.com'), ('email', 'zoe@googlemail.com', 'zoe@gmail.com'), ('email', 'z.oe+x@example.com', 'z.oe@example.com'),
    ('email', '+x@example.com', '+x@example.com'), ('sms', '+447700900111', '+447700900111'), ('chat', '+44 7700-900111', '+447700900111'), ('chat', 'zoe', 'zoe'))
    AS k (channel, address, wanted);
SELECT is(guestcomms_internal.is_national_number(n.channel, n.address), n.wanted, 'national: ' || n.address) FROM (VALUES
    ('sms', '07700 900123', true), ('sms', '+44 7700 900123', false), ('sms', '0044 7700', false), ('whatsapp', '+44 (0)7700 900123', true), ('sms', 'hello', false), ('email', '07700', false))
    AS n (channel, address, wanted);

SELECT finish();
ROLLBACK;
