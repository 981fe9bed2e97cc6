-- Bulk load for applications: COPY into import_messages, then this.
CREATE FUNCTION guestcomms_internal.lock_staged(tenant_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_named uuid[] := ARRAY(SELECT DISTINCT n.thread_id FROM guestcomms.import_messages AS n WHERE n.tenant_id = lock_staged.tenant_id AND n.thread_id IS NOT NULL);
    v_guests uuid[] := ARRAY(
        SELECT DISTINCT coalesce(g.merged_into, g.guest_id)
        FROM (SELECT DISTINCT n.guest_id FROM guestcomms.import_messages AS n WHERE n.tenant_id = lock_staged.tenant_id AND n.thread_id IS NULL) AS d
        JOIN guestcomms.guests AS g ON g.tenant_id = lock_staged.tenant_id AND g.guest_id = d.guest_id);
BEGIN
    PERFORM FROM guestcomms.guests AS g WHERE g.tenant_id = lock_staged.tenant_id AND g.guest_id = ANY (v_guests) ORDER BY g.guest_id FOR NO KEY UPDATE;
    PERFORM FROM guestcomms.threads AS t
    WHERE t.tenant_id = lock_staged.tenant_id AND (t.thread_id = ANY (v_named) OR t.guest_id = ANY (v_guests) AND t.status <> 'closed')
    ORDER BY t.thread_id FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_staged(uuid) IS 'Locks the guests and threads that staged messages go to, in order.';

CREATE FUNCTION guestcomms.run_import(on_error text DEFAULT 'skip', chunk_rows integer DEFAULT 10000)
RETURNS TABLE (imported_count bigint, repeated_count bigint, rejected_count bigint, rejects jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_is_skipping boolean := guestcomms_internal.require_on_error(run_import.on_error);
    v_inputs guestcomms_internal.message_input[];
    v_done bigint := 0;
    v_chunk record;
BEGIN
    IF run_import.chunk_rows IS NULL OR run_import.chunk_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'chunk_rows must be from 1 to 100000', HINT = 'Leave it out for 10000.';
    END IF;
    imported_count := 0;
    repeated_count := 0;
    rejected_count := 0;
    rejects := '[]';
    -- Each chunk takes its guests and threads in order, but the next one begins anew.
    IF EXISTS (SELECT FROM guestcomms.import_messages AS n WHERE n.tenant_id = v_tenant OFFSET run_import.chunk_rows) THEN
        PERFORM guestcomms_internal.lock_staged(v_tenant);
    END IF;
    LOOP
        -- Rows that another import of this tenant has taken are left to it.
        WITH taken AS (
            DELETE FROM guestcomms.import_messages AS d
            WHERE d.ctid = ANY (ARRAY(SELECT n.ctid FROM guestcomms.import_messages AS n
                WHERE n.tenant_id = v_tenant ORDER BY n.row_number LIMIT run_import.chunk_rows FOR UPDATE SKIP LOCKED))
            RETURNING d.row_number, ROW(d.guest_id, d.direction, d.channel, d.subject, d.body, d.sent_at, d.thread_id, d.wedding_id, d.campaign_id,
                d.external_id, d.source, d.language, d.purpose, d.status, d.author, d.metadata, d.scheduled_at)::guestcomms_internal.message_input AS input
        )
        SELECT array_agg(t.input ORDER BY t.row_number) INTO v_inputs FROM taken AS t;
        EXIT WHEN v_inputs IS NULL;
        SELECT count(*) FILTER (WHERE i.problem IS NULL AND NOT i.is_repeat) AS imported,
            count(*) FILTER (WHERE i.is_repeat) AS repeated,
            count(*) FILTER (WHERE i.problem IS NOT NULL) AS rejected,
            -- Counted here: row_number counts all tenants' loads.
            jsonb_agg(jsonb_build_object('row', v_done + i.element, 'external_id', v_inputs[i.element].external_id,
                'error_code', p.error_code, 'error_message', p.error_message, 'error_detail', i.detail, 'error_hint', p.error_hint)
                ORDER BY i.element) FILTER (WHERE i.problem IS NOT NULL) AS rejects
        INTO v_chunk
        FROM guestcomms_internal.ingest_messages(v_inputs, v_is_skipping, true) AS i
        LEFT JOIN guestcomms_internal.ingest_problems() AS p ON p.problem = i.problem;
        v_done := v_done + cardinality(v_inputs);
        imported_count := imported_count + v_chunk.imported;
        repeated_count := repeated_count + v_chunk.repeated;
        rejected_count := rejected_count + v_chunk.rejected;
        IF jsonb_array_length(rejects) < 1000 THEN
            rejects := rejects || coalesce(v_chunk.rejects, '[]');
        END IF;
    END LOOP;
    IF imported_count >= 10000 THEN
        PERFORM guestcomms.request_job('analyze_tables', 'bulk load');
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION guestcomms.run_import(text, integer) IS
$$Takes the rows that were COPYed into guestcomms.import_messages for the current tenant into the store, and returns how many were stored, were repeats of a known external_id, or were refused and why (row is their place in the load; about 1,000 are listed). With on_error => 'abort' one bad row stops it and all rows stay staged. In the transaction of the COPY, either both happen or neither.
Example: SELECT imported_count, repeated_count, rejected_count, rejects FROM guestcomms.run_import();
See also: record_messages, record_message, ensure_partitions$$;
