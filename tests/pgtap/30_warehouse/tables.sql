-- The star schema: keys that are declared, facts in partitions, and who may read what.
BEGIN;
SELECT no_plan();

CREATE TEMPORARY TABLE wanted (table_name name, primary_key name[]);
INSERT INTO wanted VALUES
    ('dim_date', '{date_key}'),
    ('dim_time', '{time_key}'),
    ('dim_channel', '{channel_key}'),
    ('dim_tenant', '{tenant_id}'),
    ('dim_wedding', '{tenant_id,wedding_id}'),
    ('dim_campaign', '{tenant_id,campaign_id}'),
    ('dim_guest', '{tenant_id,guest_key}'),
    ('fact_message', '{tenant_id,message_id,sent_at}'),
    ('fact_message_event', '{tenant_id,event_id,occurred_at}'),
    ('agg_message_quarter_hour', '{tenant_id,bucket_start,channel_key,direction,campaign_id}'),
    ('agg_message_day', '{tenant_id,date_key,channel_key,direction,campaign_id}'),
    ('agg_message_day_all', '{date_key,channel_key,direction}'),
    ('agg_event_quarter_hour', '{tenant_id,bucket_start,channel_key,direction,kind,is_machine}'),
    ('agg_event_day', '{tenant_id,date_key,channel_key,direction,kind,is_machine}'),
    ('agg_event_day_all', '{date_key,channel_key,direction,kind,is_machine}'),
    ('agg_guest_quarter_hour', '{tenant_id,bucket_start,channel_key,direction,campaign_id}'),
    ('agg_guest_day', '{tenant_id,date_key,channel_key,direction,campaign_id}'),
    ('agg_response_quarter_hour', '{tenant_id,bucket_start,channel_key,direction,campaign_id}'),
    ('agg_response_day', '{tenant_id,date_key,channel_key,direction,campaign_id}');

SELECT set_eq(
    $$SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition$$,
    'SELECT table_name FROM wanted', 'the tables');
SELECT views_are('guestcomms_bi'::name, ARRAY['mv_daily_channels', 'mv_campaign_performance', 'mv_guest_engagement', 'mv_response_times',
    'mv_tenant_overview', 'agg_message_quarter_hour_live', 'agg_event_quarter_hour_live', 'metrics']::name[], 'the views');
SELECT materialized_views_are('guestcomms_internal'::name, ARRAY['report_daily_channels', 'report_campaign_performance',
    'report_guest_engagement', 'report_response_times', 'report_tenant_overview']::name[], 'the materialized views');
SELECT materialized_views_are('guestcomms_bi'::name, '{}'::name[], 'none where analysts read');
SELECT table_owner_is('guestcomms_bi'::name, w.table_name, 'guestcomms_owner'::name) FROM wanted AS w;
SELECT col_is_pk('guestcomms_bi'::name, w.table_name, w.primary_key, 'primary key of ' || w.table_name) FROM wanted AS w;
SELECT is_partitioned('guestcomms_bi'::name, t.name) FROM (VALUES ('fact_message'::name), ('fact_message_event')) AS t (name);

-- Every fact refers to its dimensions, and none of what it refers by may be missing.
SELECT fk_ok('guestcomms_bi'::name, f.table_name, k.columns, 'guestcomms_bi'::name, k.dimension, k.key)
FROM (VALUES ('fact_message'::name, 'sent'), ('fact_message_event', 'occurred')) AS f (table_name, prefix)
CROSS JOIN LATERAL (VALUES
    ('{tenant_id}'::name[], 'dim_tenant'::name, '{tenant_id}'::name[]),
    (ARRAY[f.prefix || '_date_key']::name[], 'dim_date', '{date_key}'),
    (ARRAY[f.prefix || '_time_key']::name[], 'dim_time', '{time_key}'),
    ('{channel_key}', 'dim_channel', '{channel_key}'),
    ('{tenant_id,guest_key}', 'dim_guest', '{tenant_id,guest_key}'),
    ('{tenant_id,wedding_id}', 'dim_wedding', '{tenant_id,wedding_id}'),
    ('{tenant_id,campaign_id}', 'dim_campaign', '{tenant_id,campaign_id}')) AS k (columns, dimension, key);
SELECT fk_ok('guestcomms_bi'::name, t.name, '{tenant_id}'::name[], 'guestcomms_bi'::name, 'dim_tenant'::name, '{tenant_id}'::name[])
FROM (VALUES ('dim_wedding'::name), ('dim_campaign'), ('dim_guest')) AS t (name);
SELECT is_empty(
    $$SELECT k.conname, a.attname FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE k.contype = 'f' AND k.connamespace = 'guestcomms_bi'::regnamespace AND NOT a.attnotnull$$,
    'no key of a fact or dimension may be NULL');
SELECT is_empty(
    $$SELECT k.conname FROM pg_constraint AS k WHERE k.connamespace = 'guestcomms_bi'::regnamespace AND NOT k.convalidated$$,
    'every constraint is checked');

-- Analysts and operators read, and nobody writes; sums over all tenants are for those who see all.
SELECT table_privs_are('guestcomms_bi'::name, w.table_name, r.name, CASE
    WHEN r.name = 'guestcomms_operator' OR r.name = 'guestcomms_analyst' AND w.table_name NOT LIKE '%\_all' THEN ARRAY['SELECT']
    ELSE '{}' END, format('what %s may do with %s', r.name, w.table_name))
FROM wanted AS w CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_operator'),
    ('guestcomms_issuer')) AS r (name);
SELECT table_privs_are('guestcomms_bi'::name, w.table_name, 'guestcomms_all_tenants'::name, ARRAY['SELECT'],
    'who sees all tenants reads ' || w.table_name) FROM wanted AS w;
SELECT table_privs_are('guestcomms_bi'::name, c.relname, r.name,
    CASE WHEN r.name IN ('guestcomms_analyst', 'guestcomms_operator') THEN ARRAY['SELECT'] ELSE '{}' END,
    format('what %s may do with %s', r.name, c.relname))
FROM pg_class AS c CROSS JOIN (VALUES ('guestcomms_app'::name), ('guestcomms_analyst'), ('guestcomms_privacy'), ('guestcomms_operator'),
    ('guestcomms_issuer')) AS r (name)
WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind = 'v';

-- Nobody's name or words are copied here, but for those of weddings; and what tells of tenants is not sampled.
SELECT set_eq(
    $$SELECT c.relname || '.' || a.attname FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind <> 'i' AND NOT c.relispartition
            AND col_description(c.oid, a.attnum) ~ '\[retention: (content|contact)\]'$$,
    ARRAY['dim_wedding.wedding_name', 'dim_guest.locale', 'dim_guest.timezone', 'mv_guest_engagement.locale'],
    'what says who a guest is');
SELECT is_empty(
    $$SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind IN ('r', 'p') AND a.attstattarget IS DISTINCT FROM 0$$,
    'the planner knows nothing of tenants, in partitions neither');
SELECT bag_has('SELECT consumer FROM guestcomms.consumers', $$VALUES ('warehouse')$$, 'the warehouse reads the change log');

SELECT finish();
ROLLBACK;
