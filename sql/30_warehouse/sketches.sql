-- Sketches: distinct guests (hll) and response times (tdigest) of the same quarters of an hour and days, in tables of their own
-- that are there where the extension is.
CREATE FUNCTION guestcomms_internal.make_sketch_tables() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_hll name := guestcomms_internal.trusted_schema('hll');
    v_tdigest name := guestcomms_internal.trusted_schema('tdigest');
    v_table record;
    v_count integer := 0;
BEGIN
    FOR v_table IN
        SELECT t.*, p.* FROM (VALUES
            ('agg_guest', 'guests', v_hll, 'hll', 'Guests who were written to or wrote: sketches of hll, to be united and counted.', 'distinct guests; hll_cardinality(hll_union_agg(guests)) counts them'),
            ('agg_response', 'response_times', v_tdigest, 'tdigest', 'Seconds until answers: sketches of tdigest, to be asked for percentiles.', 'seconds until the answer; tdigest_percentile(response_times, 0.5) is the median')
        ) AS t (name, sketch, type_schema, type_name, purpose, meaning)
        CROSS JOIN (VALUES ('quarter_hour', 'bucket_start', 'timestamptz', 'start of the quarter of an hour (UTC) that messages were sent in'),
            ('day', 'date_key', 'date', 'day in the tenant''s time zone that messages were sent on')) AS p (grain, bucket, bucket_type, bucket_meaning)
        WHERE t.type_schema IS NOT NULL AND to_regclass(format('guestcomms_bi.%I', t.name || '_' || p.grain)) IS NULL
    LOOP
        EXECUTE format('CREATE TABLE guestcomms_bi.%1$I (tenant_id uuid NOT NULL, %2$I %3$I NOT NULL, channel_key smallint NOT NULL, direction text NOT NULL,'
            ' campaign_id uuid NOT NULL, %4$I %5$I.%6$I NOT NULL, CONSTRAINT %7$I PRIMARY KEY (tenant_id, %2$I, channel_key, direction, campaign_id))',
            v_table.name || '_' || v_table.grain, v_table.bucket, v_table.bucket_type, v_table.sketch, v_table.type_schema, v_table.type_name,
            v_table.name || '_' || v_table.grain || '_pkey');
        PERFORM guestcomms_internal.document_table('guestcomms_bi.' || v_table.name || '_' || v_table.grain, v_table.purpose,
            format(E'tenant_id key tenant\n%s operational %s\nchannel_key key channel\ndirection operational inbound or outbound\n'
                'campaign_id key campaign; all zeros for none\n%s behaviour %s', v_table.bucket, v_table.bucket_meaning, v_table.sketch, v_table.meaning));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.make_sketch_tables() IS 'Makes the tables for sketches whose extension has come; returns how many.';

CREATE FUNCTION guestcomms_internal.has_guest_sketches() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$ SELECT to_regclass('guestcomms_bi.agg_guest_day') IS NOT NULL $$;
COMMENT ON FUNCTION guestcomms_internal.has_guest_sketches() IS 'Whether distinct guests are kept as sketches.';

CREATE FUNCTION guestcomms_internal.has_response_sketches() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$ SELECT to_regclass('guestcomms_bi.agg_response_day') IS NOT NULL $$;
COMMENT ON FUNCTION guestcomms_internal.has_response_sketches() IS 'Whether response times are kept as sketches.';

CREATE FUNCTION guestcomms_internal.refresh_sketch_quarter_hours(buckets guestcomms_internal.rollup_bucket[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    -- What the counts have is computed anew, what they have not is removed.
    IF guestcomms_internal.has_guest_sketches() THEN
        EXECUTE format('INSERT INTO guestcomms_bi.agg_guest_quarter_hour AS a (tenant_id, bucket_start, channel_key, direction, campaign_id, guests)'
            ' SELECT b.tenant_id, b.bucket_start, s.* FROM unnest($1) AS b CROSS JOIN LATERAL ('
            '  SELECT f.channel_key, f.direction, f.campaign_id,'
            '   coalesce(%1$I.hll_add_agg(%1$I.hll_hash_bytea(uuid_send(f.guest_id), 0)) FILTER (WHERE f.guest_id <> guestcomms_internal.no_member()), %1$I.hll_empty())'
            '  FROM guestcomms_bi.fact_message AS f WHERE f.tenant_id = b.tenant_id AND f.sent_at >= b.bucket_start AND f.sent_at < b.bucket_start + interval ''15 minutes'''
            '  GROUP BY f.channel_key, f.direction, f.campaign_id) AS s'
            ' ON CONFLICT ON CONSTRAINT agg_guest_quarter_hour_pkey DO UPDATE SET guests = excluded.guests', guestcomms_internal.trusted_schema('hll'))
        USING refresh_sketch_quarter_hours.buckets;
        EXECUTE 'DELETE FROM guestcomms_bi.agg_guest_quarter_hour AS a USING unnest($1) AS b WHERE a.tenant_id = b.tenant_id AND a.bucket_start = b.bucket_start'
            ' AND NOT EXISTS (SELECT FROM guestcomms_bi.agg_message_quarter_hour AS q WHERE q.tenant_id = a.tenant_id AND q.bucket_start = a.bucket_start'
            ' AND q.channel_key = a.channel_key AND q.direction = a.direction AND q.campaign_id = a.campaign_id)'
        USING refresh_sketch_quarter_hours.buckets;
    END IF;
    IF guestcomms_internal.has_response_sketches() THEN
        EXECUTE format('INSERT INTO guestcomms_bi.agg_response_quarter_hour AS a (tenant_id, bucket_start, channel_key, direction, campaign_id, response_times)'
            ' SELECT b.tenant_id, b.bucket_start, s.* FROM unnest($1) AS b CROSS JOIN LATERAL ('
            '  SELECT f.channel_key, f.direction, f.campaign_id, %1$I.tdigest(f.response_seconds, 100)'
            '  FROM guestcomms_bi.fact_message AS f WHERE f.tenant_id = b.tenant_id AND f.sent_at >= b.bucket_start AND f.sent_at < b.bucket_start + interval ''15 minutes'''
            '   AND f.response_seconds IS NOT NULL'
            '  GROUP BY f.channel_key, f.direction, f.campaign_id) AS s'
            ' ON CONFLICT ON CONSTRAINT agg_response_quarter_hour_pkey DO UPDATE SET response_times = excluded.response_times',
            guestcomms_internal.trusted_schema('tdigest'))
        USING refresh_sketch_quarter_hours.buckets;
        EXECUTE 'DELETE FROM guestcomms_bi.agg_response_quarter_hour AS a USING unnest($1) AS b WHERE a.tenant_id = b.tenant_id AND a.bucket_start = b.bucket_start'
            ' AND NOT EXISTS (SELECT FROM guestcomms_bi.agg_message_quarter_hour AS q WHERE q.tenant_id = a.tenant_id AND q.bucket_start = a.bucket_start'
            ' AND q.channel_key = a.channel_key AND q.direction = a.direction AND q.campaign_id = a.campaign_id AND q.response_count > 0)'
        USING refresh_sketch_quarter_hours.buckets;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_sketch_quarter_hours(guestcomms_internal.rollup_bucket[]) IS 'Computes sketches of quarters of an hour anew from the facts; after the counts.';

CREATE FUNCTION guestcomms_internal.refresh_sketch_days(days guestcomms_internal.rollup_day[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
BEGIN
    IF guestcomms_internal.has_guest_sketches() THEN
        EXECUTE format('INSERT INTO guestcomms_bi.agg_guest_day AS a (tenant_id, date_key, channel_key, direction, campaign_id, guests)'
            ' SELECT d.tenant_id, d.date_key, s.* FROM unnest($1) AS d'
            ' CROSS JOIN LATERAL (SELECT t.timezone FROM guestcomms_bi.dim_tenant AS t WHERE t.tenant_id = d.tenant_id OFFSET 0) AS z'
            ' CROSS JOIN LATERAL ('
            '  SELECT q.channel_key, q.direction, q.campaign_id, %I.hll_union_agg(q.guests) FROM guestcomms_bi.agg_guest_quarter_hour AS q'
            '  WHERE q.tenant_id = d.tenant_id AND q.bucket_start >= d.date_key::timestamp AT TIME ZONE z.timezone - interval ''3 hours'''
            '   AND q.bucket_start < (d.date_key + 1)::timestamp AT TIME ZONE z.timezone + interval ''3 hours'''
            '   AND (q.bucket_start AT TIME ZONE z.timezone)::date = d.date_key'
            '  GROUP BY q.channel_key, q.direction, q.campaign_id) AS s'
            ' ON CONFLICT ON CONSTRAINT agg_guest_day_pkey DO UPDATE SET guests = excluded.guests', guestcomms_internal.trusted_schema('hll'))
        USING refresh_sketch_days.days;
        EXECUTE 'DELETE FROM guestcomms_bi.agg_guest_day AS a USING unnest($1) AS d WHERE a.tenant_id = d.tenant_id AND a.date_key = d.date_key'
            ' AND NOT EXISTS (SELECT FROM guestcomms_bi.agg_message_day AS m WHERE m.tenant_id = a.tenant_id AND m.date_key = a.date_key'
            ' AND m.channel_key = a.channel_key AND m.direction = a.direction AND m.campaign_id = a.campaign_id)'
        USING refresh_sketch_days.days;
    END IF;
    IF guestcomms_internal.has_response_sketches() THEN
        EXECUTE format('INSERT INTO guestcomms_bi.agg_response_day AS a (tenant_id, date_key, channel_key, direction, campaign_id, response_times)'
            ' SELECT d.tenant_id, d.date_key, s.* FROM unnest($1) AS d'
            ' CROSS JOIN LATERAL (SELECT t.timezone FROM guestcomms_bi.dim_tenant AS t WHERE t.tenant_id = d.tenant_id OFFSET 0) AS z'
            ' CROSS JOIN LATERAL ('
            '  SELECT q.channel_key, q.direction, q.campaign_id, %I.tdigest(q.response_times) FROM guestcomms_bi.agg_response_quarter_hour AS q'
            '  WHERE q.tenant_id = d.tenant_id AND q.bucket_start >= d.date_key::timestamp AT TIME ZONE z.timezone - interval ''3 hours'''
            '   AND q.bucket_start < (d.date_key + 1)::timestamp AT TIME ZONE z.timezone + interval ''3 hours'''
            '   AND (q.bucket_start AT TIME ZONE z.timezone)::date = d.date_key'
            '  GROUP BY q.channel_key, q.direction, q.campaign_id) AS s'
            ' ON CONFLICT ON CONSTRAINT agg_response_day_pkey DO UPDATE SET response_times = excluded.response_times',
            guestcomms_internal.trusted_schema('tdigest'))
        USING refresh_sketch_days.days;
        EXECUTE 'DELETE FROM guestcomms_bi.agg_response_day AS a USING unnest($1) AS d WHERE a.tenant_id = d.tenant_id AND a.date_key = d.date_key'
            ' AND NOT EXISTS (SELECT FROM guestcomms_bi.agg_message_day AS m WHERE m.tenant_id = a.tenant_id AND m.date_key = a.date_key'
            ' AND m.channel_key = a.channel_key AND m.direction = a.direction AND m.campaign_id = a.campaign_id AND m.response_count > 0)'
        USING refresh_sketch_days.days;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.refresh_sketch_days(guestcomms_internal.rollup_day[]) IS 'Computes sketches of days anew from their quarters of an hour; after the counts.';
