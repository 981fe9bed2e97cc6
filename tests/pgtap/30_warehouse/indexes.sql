-- Indexes of the warehouse: facts by time and by guest of a tenant, by time over all; partitions have them too.
BEGIN;
SELECT no_plan();

SELECT has_index('guestcomms_bi', 'fact_message', 'fact_message_sent_at', ARRAY['tenant_id', 'sent_at']);
SELECT has_index('guestcomms_bi', 'fact_message', 'fact_message_guest', ARRAY['tenant_id', 'guest_key', 'sent_at']);
SELECT has_index('guestcomms_bi', 'fact_message', 'fact_message_thread', ARRAY['tenant_id', 'thread_id', 'sent_at']);
SELECT has_index('guestcomms_bi', 'fact_message_event', 'fact_message_event_message', ARRAY['tenant_id', 'message_id']);
SELECT has_index('guestcomms_bi', 'fact_message_event', 'fact_message_event_occurred_at', ARRAY['tenant_id', 'occurred_at']);
SELECT has_index('guestcomms_bi', 'fact_message_event', 'fact_message_event_guest', ARRAY['tenant_id', 'guest_key']);
SELECT index_is_type('guestcomms_bi', 'fact_message', 'fact_message_time', 'brin');
SELECT index_is_type('guestcomms_bi', 'fact_message_event', 'fact_message_event_time', 'brin');

-- REFRESH ... CONCURRENTLY, which lets readers in, needs a unique index over all rows.
SELECT is_empty(
    $$SELECT c.relname FROM pg_class AS c WHERE c.relkind = 'm' AND c.relnamespace = 'guestcomms_internal'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indkey[0] = a.attnum)$$,
    'each materialized view has a unique index that begins with the tenant');

-- The months that are made later have all indexes of their parent.
SELECT FROM guestcomms.ensure_partitions(now() - interval '30 months');
SELECT set_eq(
    $$SELECT DISTINCT p.inhparent::regclass::text, count(i.indexrelid) FROM pg_inherits AS p
        JOIN pg_index AS i ON i.indrelid = p.inhrelid
        WHERE p.inhparent IN ('guestcomms_bi.fact_message'::regclass, 'guestcomms_bi.fact_message_event'::regclass)
        GROUP BY p.inhparent, p.inhrelid$$,
    $$VALUES ('guestcomms_bi.fact_message', 5::bigint), ('guestcomms_bi.fact_message_event', 5)$$,
    'every partition has them');
SELECT cmp_ok(count(*), '>', 60::bigint, 'there are partitions of the past to look at') FROM pg_inherits AS p
WHERE p.inhparent IN ('guestcomms_bi.fact_message'::regclass, 'guestcomms_bi.fact_message_event'::regclass);

SELECT finish();
ROLLBACK;
