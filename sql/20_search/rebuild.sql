-- Computing the search vectors anew after a dictionary changed: month by month, a few hundred messages a batch, while
-- searches go on. (An update of body computes the generated column, even where the body stays.)
CREATE FUNCTION guestcomms.rebuild_search() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_count bigint;
BEGIN
    INSERT INTO guestcomms.search_rebuilds AS r (tenant_id, month)
    SELECT t.tenant_id, m.month
    FROM guestcomms.tenants AS t
    CROSS JOIN LATERAL (
        SELECT DISTINCT date_trunc('month', s.sent_at AT TIME ZONE 'UTC')::date AS month FROM guestcomms.messages AS s WHERE s.tenant_id = t.tenant_id
    ) AS m
    WHERE v_tenant IS NULL OR t.tenant_id = v_tenant
    ON CONFLICT ON CONSTRAINT search_rebuilds_pkey DO UPDATE SET after_id = NULL, requested_at = now();
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms.request_job('rebuild_search', 'rebuild_search() was called');
    PERFORM guestcomms_internal.record_audit(coalesce(v_tenant, guestcomms_internal.store_level()), 'rebuild_search', 'search');
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.rebuild_search() IS
$$Asks for the search vectors of all messages to be computed anew (those of the current tenant, where one is open): after a change of a text-search dictionary or of unaccent's rules. The job rebuild_search does it in batches and can be stopped; search works meanwhile. Returns how many months of tenants are to do; search_rebuilds shows those left.
Example: SELECT guestcomms.rebuild_search();
See also: list_jobs, job_history, refresh_term_statistics$$;

CREATE FUNCTION guestcomms_internal.rebuild_search_batch(max_rows integer DEFAULT 500) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_part guestcomms.search_rebuilds;
    v_ids uuid[];
BEGIN
    IF rebuild_search_batch.max_rows IS NULL OR rebuild_search_batch.max_rows < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1', HINT = 'Leave it out for 500.';
    END IF;
    SELECT * INTO v_part FROM guestcomms.search_rebuilds AS r ORDER BY r.month DESC, r.tenant_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Identifiers of a month follow each other in time.
    v_ids := ARRAY(
        SELECT m.message_id FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_part.tenant_id AND m.sent_at >= v_part.month::timestamp AT TIME ZONE 'UTC'
            AND m.sent_at < (v_part.month + interval '1 month') AT TIME ZONE 'UTC'
            AND m.message_id > coalesce(v_part.after_id, '00000000-0000-0000-0000-000000000000')
        ORDER BY m.message_id LIMIT rebuild_search_batch.max_rows);
    IF cardinality(v_ids) = 0 THEN
        DELETE FROM guestcomms.search_rebuilds AS r WHERE r.tenant_id = v_part.tenant_id AND r.month = v_part.month;
        RETURN 1;
    END IF;
    -- In order, as those who report on many.
    PERFORM FROM guestcomms.messages AS m
    WHERE m.tenant_id = v_part.tenant_id AND m.message_id = ANY (v_ids) AND m.sent_at >= v_part.month::timestamp AT TIME ZONE 'UTC'
        AND m.sent_at < (v_part.month + interval '1 month') AT TIME ZONE 'UTC'
    ORDER BY m.message_id FOR NO KEY UPDATE;
    UPDATE guestcomms.messages AS m SET body = m.body
    WHERE m.tenant_id = v_part.tenant_id AND m.message_id = ANY (v_ids) AND m.sent_at >= v_part.month::timestamp AT TIME ZONE 'UTC'
        AND m.sent_at < (v_part.month + interval '1 month') AT TIME ZONE 'UTC';
    UPDATE guestcomms.search_rebuilds AS r SET after_id = v_ids[cardinality(v_ids)]
    WHERE r.tenant_id = v_part.tenant_id AND r.month = v_part.month;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.rebuild_search_batch(integer) IS 'Computes the next search vectors anew; 0 when none are left.';
