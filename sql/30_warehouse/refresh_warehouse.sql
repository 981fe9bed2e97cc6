-- The warehouse follows the change log in batches. A batch computes facts of the messages that changes point to, stores those
-- that are other than before, and computes anew the quarters of an hour and days they are in. Whatever is read twice, or read
-- before what it followed, comes out the same.
CREATE FUNCTION guestcomms_internal.store_facts(changes guestcomms_internal.message_fact_change[], has_all_buckets boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
DECLARE
    v_event_changes guestcomms_internal.event_fact_change[];
    v_buckets guestcomms_internal.rollup_bucket[];
    v_days guestcomms_internal.rollup_day[];
BEGIN
    v_event_changes := (SELECT array_agg(e) FROM guestcomms_internal.compute_event_facts(store_facts.changes) AS e);

    DELETE FROM guestcomms_bi.fact_message AS f
    USING (SELECT (c.old_fact).tenant_id, (c.old_fact).message_id, (c.old_fact).sent_at
        FROM unnest(store_facts.changes) AS c
        WHERE (c.old_fact).message_id IS NOT NULL AND (c.old_fact).sent_at IS DISTINCT FROM (c.new_fact).sent_at) AS c
    WHERE f.tenant_id = c.tenant_id AND f.message_id = c.message_id AND f.sent_at = c.sent_at;
    INSERT INTO guestcomms_bi.fact_message AS f
    SELECT (c.new_fact).* FROM unnest(store_facts.changes) AS c
    WHERE (c.new_fact).message_id IS NOT NULL AND (c.old_fact IS DISTINCT FROM c.new_fact)
    ON CONFLICT ON CONSTRAINT fact_message_pkey DO UPDATE
    SET sent_date_key = excluded.sent_date_key, sent_time_key = excluded.sent_time_key, channel_key = excluded.channel_key,
        direction = excluded.direction, purpose = excluded.purpose, guest_key = excluded.guest_key, guest_id = excluded.guest_id,
        wedding_id = excluded.wedding_id, campaign_id = excluded.campaign_id, thread_id = excluded.thread_id, word_count = excluded.word_count,
        is_sent = excluded.is_sent, queued_at = excluded.queued_at, delivered_at = excluded.delivered_at, opened_at = excluded.opened_at,
        machine_opened_at = excluded.machine_opened_at, clicked_at = excluded.clicked_at, replied_at = excluded.replied_at,
        failed_at = excluded.failed_at, unsubscribed_at = excluded.unsubscribed_at, response_seconds = excluded.response_seconds,
        has_source = excluded.has_source, has_events = excluded.has_events;

    DELETE FROM guestcomms_bi.fact_message_event AS f
    USING (SELECT (e.old_fact).tenant_id, (e.old_fact).event_id, (e.old_fact).occurred_at
        FROM unnest(v_event_changes) AS e WHERE (e.new_fact).event_id IS NULL) AS e
    WHERE f.tenant_id = e.tenant_id AND f.event_id = e.event_id AND f.occurred_at = e.occurred_at;
    INSERT INTO guestcomms_bi.fact_message_event AS f
    SELECT (e.new_fact).* FROM unnest(v_event_changes) AS e WHERE (e.new_fact).event_id IS NOT NULL
    ON CONFLICT ON CONSTRAINT fact_message_event_pkey DO UPDATE
    SET occurred_date_key = excluded.occurred_date_key, occurred_time_key = excluded.occurred_time_key, message_id = excluded.message_id,
        channel_key = excluded.channel_key, direction = excluded.direction, kind = excluded.kind, is_machine = excluded.is_machine,
        guest_key = excluded.guest_key, wedding_id = excluded.wedding_id, campaign_id = excluded.campaign_id;

    v_buckets := (SELECT array_agg(ROW(n.tenant_id, n.bucket_start)::guestcomms_internal.rollup_bucket ORDER BY n.tenant_id, n.bucket_start)
        FROM (
            SELECT DISTINCT (f.fact).tenant_id, guestcomms_internal.quarter_hour((f.fact).sent_at) AS bucket_start
            FROM unnest(store_facts.changes) AS c CROSS JOIN LATERAL (VALUES (c.old_fact), (c.new_fact)) AS f (fact)
            WHERE (f.fact).message_id IS NOT NULL AND (store_facts.has_all_buckets OR c.old_fact IS DISTINCT FROM c.new_fact)
        ) AS n);
    IF v_buckets IS NOT NULL THEN
        PERFORM guestcomms_internal.refresh_message_quarter_hours(v_buckets);
        PERFORM guestcomms_internal.refresh_sketch_quarter_hours(v_buckets);
        v_days := guestcomms_internal.days_of(v_buckets);
        PERFORM guestcomms_internal.refresh_message_days(v_days);
        PERFORM guestcomms_internal.refresh_sketch_days(v_days);
    END IF;
    v_buckets := (SELECT array_agg(ROW(n.tenant_id, n.bucket_start)::guestcomms_internal.rollup_bucket ORDER BY n.tenant_id, n.bucket_start)
        FROM (
            SELECT DISTINCT (f.fact).tenant_id, guestcomms_internal.quarter_hour((f.fact).occurred_at) AS bucket_start
            FROM unnest(v_event_changes) AS e CROSS JOIN LATERAL (VALUES (e.old_fact), (e.new_fact)) AS f (fact)
            WHERE (f.fact).event_id IS NOT NULL
        ) AS n);
    IF v_buckets IS NOT NULL THEN
        PERFORM guestcomms_internal.refresh_event_quarter_hours(v_buckets);
        PERFORM guestcomms_internal.refresh_event_days(guestcomms_internal.days_of(v_buckets));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.store_facts(guestcomms_internal.message_fact_change[], boolean) IS
'Stores facts as they should be, with their events, and computes the rollups they are in; of all of them, or of those that are other than before.';

CREATE FUNCTION guestcomms_internal.load_messages(changed guestcomms_internal.message_reference[], places guestcomms_internal.conversation_place[],
    members guestcomms_internal.dimension_member[], has_all_buckets boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_members guestcomms_internal.dimension_member[] := load_messages.members || guestcomms_internal.find_missing_members(load_messages.changed);
    v_changed guestcomms_internal.message_reference[] := load_messages.changed;
    v_changes guestcomms_internal.message_fact_change[];
    v_missing guestcomms_internal.dimension_member[];
    v_zone record;
BEGIN
    IF v_members IS NOT NULL THEN
        v_changed := v_changed || guestcomms_internal.load_dimensions(v_members);
        v_changed := (SELECT array_agg(DISTINCT c) FROM unnest(v_changed) AS c);
    END IF;
    FOR v_attempt IN 1..10 LOOP
        v_changes := guestcomms_internal.compute_changes(v_changed, load_messages.places);
        -- A message that was put elsewhere in between.
        v_missing := guestcomms_internal.find_missing_keys(v_changes);
        EXIT WHEN v_missing IS NULL;
        PERFORM guestcomms_internal.load_dimensions(v_missing);
    END LOOP;
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.store_facts(v_changes, load_messages.has_all_buckets);
    END IF;
    PERFORM guestcomms_internal.remove_erased_guests(v_members);
    FOR v_zone IN
        SELECT t.tenant_id, t.timezone FROM (SELECT DISTINCT m.tenant_id FROM unnest(v_members) AS m WHERE m.kind = 'tenant') AS m
        JOIN guestcomms.tenants AS t ON t.tenant_id = m.tenant_id
        JOIN guestcomms_bi.dim_tenant AS d ON d.tenant_id = t.tenant_id AND d.timezone <> t.timezone
    LOOP
        PERFORM guestcomms_internal.move_time_zone(v_zone.tenant_id, v_zone.timezone);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.load_messages(guestcomms_internal.message_reference[], guestcomms_internal.conversation_place[], guestcomms_internal.dimension_member[], boolean) IS
'Brings the facts of these messages and of the neighbours of these places, and these members of dimensions, to what they are.';

CREATE FUNCTION guestcomms_internal.request_load(tenant_id uuid) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    INSERT INTO guestcomms_internal.warehouse_loads (tenant_id)
    SELECT t.tenant_id FROM guestcomms.tenants AS t WHERE request_load.tenant_id IS NULL OR t.tenant_id = request_load.tenant_id
    ON CONFLICT ON CONSTRAINT warehouse_loads_pkey DO UPDATE SET after_id = excluded.after_id
$$;
COMMENT ON FUNCTION guestcomms_internal.request_load(uuid) IS 'Has all messages of a tenant, or of all, compared with their facts, and every rollup they are in computed.';

CREATE FUNCTION guestcomms_internal.load_next_messages(max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_load guestcomms_internal.warehouse_loads;
    v_ids uuid[];
    v_members guestcomms_internal.dimension_member[];
BEGIN
    SELECT l.* INTO v_load FROM guestcomms_internal.warehouse_loads AS l ORDER BY l.asked_at, l.tenant_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Messages without a fact, and facts whose message is gone.
    v_ids := ARRAY(
        SELECT n.message_id FROM (
            (SELECT m.message_id FROM guestcomms.messages AS m
             WHERE m.tenant_id = v_load.tenant_id AND m.message_id > v_load.after_id AND m.sent_at >= guestcomms.uuid_v7_time(v_load.after_id)
             ORDER BY m.message_id LIMIT load_next_messages.max_rows)
            UNION
            (SELECT f.message_id FROM guestcomms_bi.fact_message AS f
             WHERE f.tenant_id = v_load.tenant_id AND f.message_id > v_load.after_id AND f.sent_at >= guestcomms.uuid_v7_time(v_load.after_id)
             ORDER BY f.message_id LIMIT load_next_messages.max_rows)
        ) AS n ORDER BY n.message_id LIMIT load_next_messages.max_rows);
    IF v_load.after_id = guestcomms_internal.no_member() THEN
        v_members := (SELECT array_agg(ROW(n.kind, v_load.tenant_id, n.id)::guestcomms_internal.dimension_member) FROM (
            SELECT 'tenant' AS kind, v_load.tenant_id AS id
            UNION ALL SELECT 'wedding', w.wedding_id FROM guestcomms.weddings AS w WHERE w.tenant_id = v_load.tenant_id
            UNION ALL SELECT 'campaign', c.campaign_id FROM guestcomms.campaigns AS c WHERE c.tenant_id = v_load.tenant_id
            UNION ALL SELECT 'guest', g.guest_id FROM guestcomms.guests AS g WHERE g.tenant_id = v_load.tenant_id
            UNION SELECT 'guest', d.guest_id FROM guestcomms_bi.dim_guest AS d WHERE d.tenant_id = v_load.tenant_id AND NOT d.is_erased) AS n);
    END IF;
    PERFORM guestcomms_internal.load_messages((SELECT array_agg(ROW(v_load.tenant_id, i.id)::guestcomms_internal.message_reference) FROM unnest(v_ids) AS i (id)),
        NULL, v_members, true);
    IF cardinality(v_ids) < load_next_messages.max_rows THEN
        DELETE FROM guestcomms_internal.warehouse_loads AS l WHERE l.tenant_id = v_load.tenant_id;
    ELSE
        UPDATE guestcomms_internal.warehouse_loads AS l SET after_id = v_ids[cardinality(v_ids)] WHERE l.tenant_id = v_load.tenant_id;
    END IF;
    RETURN cardinality(v_ids) + 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.load_next_messages(integer) IS
'Compares the next messages of a tenant that is to be loaded with their facts; returns how many, and one for the tenant.';

CREATE FUNCTION guestcomms_internal.follow_changes(max_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_changes guestcomms_internal.message_change[];
    v_count bigint;
    v_members guestcomms_internal.dimension_member[];
BEGIN
    SELECT r.changes, r.change_count INTO v_changes, v_count
    FROM guestcomms_internal.read_message_changes('warehouse', follow_changes.max_rows,
        '{message,message_place,event,event_message,tenant,wedding,campaign,guest,wedding_guest}') AS r;
    IF v_changes IS NOT NULL THEN
        v_members := (SELECT array_agg(DISTINCT ROW(CASE c.kind WHEN 'wedding_guest' THEN 'guest' ELSE c.kind END, c.tenant_id, i.id)::guestcomms_internal.dimension_member)
            FROM unnest(v_changes) AS c CROSS JOIN LATERAL unnest(c.ids) AS i (id)
            WHERE c.kind IN ('tenant', 'wedding', 'campaign', 'guest', 'wedding_guest'));
        PERFORM guestcomms_internal.load_messages(guestcomms_internal.find_changed_messages(v_changes), guestcomms_internal.left_places(v_changes),
            v_members, false);
    END IF;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.follow_changes(integer) IS 'Reads the next changes into the warehouse; returns how many.';

CREATE FUNCTION guestcomms.refresh_warehouse(max_rows integer DEFAULT 10000, time_budget interval DEFAULT '20 seconds', is_reload boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_started timestamptz := clock_timestamp();
    v_batch bigint;
    v_count bigint := 0;
BEGIN
    IF refresh_warehouse.max_rows IS NULL OR refresh_warehouse.max_rows < 1 OR refresh_warehouse.time_budget IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1, and there must be a time_budget',
            HINT = 'Leave them out for 10000 and 20 seconds.';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'the warehouse is refreshed in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    IF guestcomms_internal.start_consumer('warehouse') THEN
        -- New, fallen behind, or restored elsewhere: the log is read from here on, and all that is there is compared.
        PERFORM guestcomms_internal.request_load(NULL);
        v_count := 1;
    END IF;
    -- One at a time; a second caller waits here.
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    IF refresh_warehouse.is_reload THEN
        PERFORM guestcomms_internal.request_load(v_tenant);
    END IF;
    LOOP
        v_batch := guestcomms_internal.follow_changes(refresh_warehouse.max_rows);
        IF v_batch = 0 THEN
            v_batch := guestcomms_internal.load_next_messages(refresh_warehouse.max_rows);
        END IF;
        v_count := v_count + v_batch;
        EXIT WHEN v_batch = 0 OR v_count >= refresh_warehouse.max_rows OR clock_timestamp() >= v_started + refresh_warehouse.time_budget;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.refresh_warehouse(integer, interval, boolean) IS
$$Follows the change log in the star schema and its rollups, max_rows messages at most or until the time is used up, and returns how much it treated: 0 when nothing is left. A new warehouse, or a restored one, is loaded from the messages, tenant by tenant, in as many calls as it takes. is_reload => true compares all messages with their facts, or those of the tenant that is open. A job's work; what it has not read yet is added to what applications ask for.
Example: SELECT guestcomms.refresh_warehouse();
See also: get_warehouse_status, get_message_statistics, list_lag$$;

CREATE FUNCTION guestcomms_internal.stale_facts(tenant_id uuid, message_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET jit = off
AS $$
DECLARE
    v_unread guestcomms_internal.message_change[];
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' AND NOT c.must_rebuild)
        OR EXISTS (SELECT FROM guestcomms_internal.warehouse_loads AS l WHERE l.tenant_id = stale_facts.tenant_id)
    THEN
        RETURN stale_facts.message_ids;
    END IF;
    v_unread := (SELECT array_agg(u) FROM guestcomms_internal.list_unread(ARRAY[stale_facts.tenant_id]) AS u);
    -- Where much is unread, looking through it costs more than computing anew.
    IF (SELECT sum(cardinality(u.ids)) FROM unnest(v_unread) AS u) > 10 * cardinality(stale_facts.message_ids) + 1000 THEN
        RETURN stale_facts.message_ids;
    END IF;
    RETURN ARRAY(
        SELECT c.message_id FROM unnest(CASE WHEN v_unread IS NOT NULL THEN guestcomms_internal.find_changed_messages(v_unread) END) AS c
        WHERE c.message_id = ANY (stale_facts.message_ids));
END $$;
COMMENT ON FUNCTION guestcomms_internal.stale_facts(uuid, uuid[]) IS 'Those of these messages whose facts may not be what they should be: with changes that the warehouse has still to read.';

CREATE FUNCTION guestcomms_internal.part_with_source(tenant_id uuid, message_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
    SET plan_cache_mode = 'force_generic_plan' SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_first timestamptz := (SELECT min(guestcomms.uuid_v7_time(i.id)) FROM unnest(part_with_source.message_ids) AS i (id));
    v_last timestamptz := (SELECT max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' FROM unnest(part_with_source.message_ids) AS i (id));
    v_ids uuid[];
BEGIN
    WITH parted AS (
        UPDATE guestcomms_bi.fact_message AS f SET has_source = false
        WHERE f.tenant_id = part_with_source.tenant_id AND f.message_id = ANY (part_with_source.message_ids) AND f.sent_at >= v_first AND f.sent_at < v_last
        RETURNING f.message_id
    )
    SELECT array_agg(p.message_id) INTO v_ids FROM parted AS p;
    RETURN coalesce(v_ids, '{}');
END $$;
COMMENT ON FUNCTION guestcomms_internal.part_with_source(uuid, uuid[]) IS 'Marks the facts of messages as staying without these; returns whose there are.';

CREATE FUNCTION guestcomms_internal.keep_facts(tenant_id uuid, message_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_stale uuid[];
    v_kept uuid[];
BEGIN
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    v_stale := guestcomms_internal.stale_facts(keep_facts.tenant_id, keep_facts.message_ids);
    IF cardinality(v_stale) > 0 THEN
        PERFORM guestcomms_internal.load_messages(
            (SELECT array_agg(ROW(keep_facts.tenant_id, i.id)::guestcomms_internal.message_reference) FROM unnest(v_stale) AS i (id)), NULL, NULL, false);
    END IF;
    v_kept := guestcomms_internal.part_with_source(keep_facts.tenant_id, keep_facts.message_ids);
    v_stale := ARRAY(SELECT unnest(keep_facts.message_ids) EXCEPT SELECT unnest(v_kept) EXCEPT SELECT unnest(v_stale));
    IF cardinality(v_stale) > 0 THEN
        -- Without a fact, though nothing says that one is to come.
        PERFORM guestcomms_internal.load_messages(
            (SELECT array_agg(ROW(keep_facts.tenant_id, i.id)::guestcomms_internal.message_reference) FROM unnest(v_stale) AS i (id)), NULL, NULL, false);
        v_kept := v_kept || guestcomms_internal.part_with_source(keep_facts.tenant_id, v_stale);
    END IF;
    RETURN cardinality(v_kept);
END $$;
COMMENT ON FUNCTION guestcomms_internal.keep_facts(uuid, uuid[]) IS
'For whoever is about to archive or erase these messages, in the same transaction: their facts are brought up to date and stay when the messages go.';
