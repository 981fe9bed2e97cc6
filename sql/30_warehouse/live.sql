-- Live numbers: the rollups and what the change log holds unread. Of each unread message the fact as stored is taken off and the
-- fact as it should be is added, so what is read beside the rollups is what changed and no more.
CREATE TYPE guestcomms_internal.live_message AS (
    tenant_id uuid, bucket_start timestamptz, channel_key smallint, direction text, campaign_id uuid, guest_id uuid,
    message_count bigint, sent_count bigint, delivered_count bigint, opened_count bigint, machine_opened_count bigint, clicked_count bigint,
    replied_count bigint, failed_count bigint, unsubscribed_count bigint, response_count bigint, response_seconds bigint
);
COMMENT ON TYPE guestcomms_internal.live_message IS 'What an unread message adds to a rollup, or takes off: columns of agg_message_quarter_hour, and its guest.';
CREATE TYPE guestcomms_internal.live_event AS (
    tenant_id uuid, bucket_start timestamptz, channel_key smallint, direction text, kind text, is_machine boolean, event_count bigint
);
COMMENT ON TYPE guestcomms_internal.live_event IS 'What an unread event adds to a rollup, or takes off: columns of agg_event_quarter_hour.';

CREATE FUNCTION guestcomms_internal.list_unread(tenant_ids uuid[]) RETURNS SETOF guestcomms_internal.message_change
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off SET jit = off
AS $$
DECLARE
    v_consumer record;
BEGIN
    SELECT c.done, c.reading, c.reading_xid, c.reading_seq INTO v_consumer
    FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' AND NOT c.must_rebuild;
    RETURN QUERY
    SELECT l.xid, l.seq, l.tenant_id, l.kind, l.operation, l.ids
    FROM (
        SELECT n.* FROM guestcomms.change_log AS n WHERE n.xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_consumer.done)))
        UNION ALL
        SELECT n.* FROM guestcomms.change_log AS n WHERE n.xid >= pg_snapshot_xmax(v_consumer.done)
    ) AS l
    WHERE (list_unread.tenant_ids IS NULL OR l.tenant_id = ANY (list_unread.tenant_ids)) AND l.kind IN ('message', 'event', 'message_place', 'event_message')
        AND l.operation <> 'archive'
        AND NOT (v_consumer.reading IS NOT NULL AND pg_visible_in_snapshot(l.xid, v_consumer.reading)
            AND (l.xid, l.seq) <= (v_consumer.reading_xid, v_consumer.reading_seq));
END $$;
COMMENT ON FUNCTION guestcomms_internal.list_unread(uuid[]) IS 'Changes of messages and events that the warehouse has still to read; of these tenants, or of all.';

CREATE FUNCTION guestcomms_internal.unread_changes(tenant_ids uuid[], OUT changes guestcomms_internal.message_fact_change[], OUT as_of timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    -- Applications ask often: what they call is planned once a session, and not for the months at hand.
    SET plan_cache_mode = 'force_generic_plan' SET jit = off
AS $$
DECLARE
    v_unread guestcomms_internal.message_change[];
BEGIN
    as_of := (SELECT c.read_at FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' AND NOT c.must_rebuild);
    IF as_of IS NULL OR EXISTS (SELECT FROM guestcomms_internal.warehouse_loads AS l WHERE l.tenant_id = ANY (unread_changes.tenant_ids)) THEN
        RETURN;
    END IF;
    v_unread := (SELECT array_agg(u) FROM guestcomms_internal.list_unread(unread_changes.tenant_ids) AS u);
    IF (SELECT sum(cardinality(u.ids)) FROM unnest(v_unread) AS u) > guestcomms_internal.setting('warehouse.live_limit')::bigint THEN
        RETURN;
    END IF;
    as_of := statement_timestamp();
    IF v_unread IS NOT NULL THEN
        changes := guestcomms_internal.compute_changes(guestcomms_internal.find_changed_messages(v_unread), guestcomms_internal.left_places(v_unread));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.unread_changes(uuid[]) IS
'Facts of these tenants'' unread changes, and as of when numbers with them are: of the last refresh where the warehouse is being loaded or too much is unread.';

CREATE FUNCTION guestcomms_internal.live_messages(changes guestcomms_internal.message_fact_change[]) RETURNS SETOF guestcomms_internal.live_message
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT (f.fact).tenant_id, guestcomms_internal.quarter_hour((f.fact).sent_at), (f.fact).channel_key, (f.fact).direction, (f.fact).campaign_id,
        (f.fact).guest_id, f.sign, CASE WHEN (f.fact).is_sent THEN f.sign ELSE 0 END, f.sign * num_nonnulls((f.fact).delivered_at),
        f.sign * num_nonnulls((f.fact).opened_at),
        CASE WHEN (f.fact).machine_opened_at IS NOT NULL AND (f.fact).opened_at IS NULL THEN f.sign ELSE 0 END,
        f.sign * num_nonnulls((f.fact).clicked_at), f.sign * num_nonnulls((f.fact).replied_at), f.sign * num_nonnulls((f.fact).failed_at),
        f.sign * num_nonnulls((f.fact).unsubscribed_at), f.sign * num_nonnulls((f.fact).response_seconds),
        f.sign * coalesce((f.fact).response_seconds, 0)
    FROM unnest(live_messages.changes) AS c CROSS JOIN LATERAL (VALUES (bigint '-1', c.old_fact), (1, c.new_fact)) AS f (sign, fact)
    WHERE (f.fact).message_id IS NOT NULL AND c.old_fact IS DISTINCT FROM c.new_fact;
END $$;
COMMENT ON FUNCTION guestcomms_internal.live_messages(guestcomms_internal.message_fact_change[]) IS 'What these changes add to rollups of messages, and take off.';

CREATE FUNCTION guestcomms_internal.live_events(changes guestcomms_internal.message_fact_change[]) RETURNS SETOF guestcomms_internal.live_event
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT (f.fact).tenant_id, guestcomms_internal.quarter_hour((f.fact).occurred_at), (f.fact).channel_key, (f.fact).direction, (f.fact).kind,
        (f.fact).is_machine, f.sign
    FROM guestcomms_internal.compute_event_facts(live_events.changes) AS e
    CROSS JOIN LATERAL (VALUES (bigint '-1', e.old_fact), (1, e.new_fact)) AS f (sign, fact)
    WHERE (f.fact).event_id IS NOT NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.live_events(guestcomms_internal.message_fact_change[]) IS 'What these changes add to rollups of events, and take off.';

CREATE FUNCTION guestcomms_internal.visible_live_messages() RETURNS SETOF guestcomms_internal.live_message
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT m.* FROM guestcomms_internal.unread_changes(guestcomms.visible_tenants()) AS u CROSS JOIN LATERAL guestcomms_internal.live_messages(u.changes) AS m;
END $$;
COMMENT ON FUNCTION guestcomms_internal.visible_live_messages() IS 'Unread messages of the tenants that the reader sees, for a view.';

CREATE FUNCTION guestcomms_internal.visible_live_events() RETURNS SETOF guestcomms_internal.live_event
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
AS $$
BEGIN
    RETURN QUERY SELECT e.* FROM guestcomms_internal.unread_changes(guestcomms.visible_tenants()) AS u CROSS JOIN LATERAL guestcomms_internal.live_events(u.changes) AS e;
END $$;
COMMENT ON FUNCTION guestcomms_internal.visible_live_events() IS 'Unread events of the tenants that the reader sees, for a view.';
