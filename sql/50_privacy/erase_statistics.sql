-- What is counted of messages is taken off again before an erasure is done. The job lets the consumer of the change log do it, in a
-- transaction of its own; an erasure within one call reads the log first, and takes off what it removed itself.
CREATE FUNCTION guestcomms_internal.catch_up_statistics(time_budget interval) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_until timestamptz := clock_timestamp() + catch_up_statistics.time_budget;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed'
        OR EXISTS (SELECT FROM guestcomms.change_log AS l WHERE l.xid = pg_current_xact_id_if_assigned())
    THEN
        RETURN false;
    END IF;
    WHILE guestcomms.refresh_term_statistics() > 0 LOOP
        IF clock_timestamp() > v_until THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.catch_up_statistics(interval) IS
'Counts what the change log holds until nothing is left, and keeps others from counting until the transaction ends; false where it cannot, or not in that time.';

CREATE FUNCTION guestcomms_internal.take_off_statistics(tenant_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_changes guestcomms_internal.message_change[];
BEGIN
    -- The consumer will come to these changes, too, and find nothing that they replaced.
    SELECT array_agg(ROW(l.xid, l.seq, l.tenant_id, l.kind, l.operation, l.ids)::guestcomms_internal.message_change ORDER BY l.seq) INTO v_changes
    FROM guestcomms.change_log AS l
    WHERE l.xid = pg_current_xact_id() AND l.tenant_id = take_off_statistics.tenant_id AND l.kind = 'message' AND l.operation IN ('update', 'delete');
    IF v_changes IS NOT NULL THEN
        PERFORM guestcomms_internal.refresh_prefixes(guestcomms_internal.count_changes(v_changes));
        PERFORM guestcomms_internal.remove_unused_terms(true);
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.take_off_statistics(uuid) IS
'Takes what this transaction removed out of the counts of search, for whoever has called catch_up_statistics() before.';

CREATE FUNCTION guestcomms_internal.is_counted(tenant_id uuid, erasure_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Others go on writing: it need not be caught up with them.
    RETURN EXISTS (SELECT FROM guestcomms.erasures AS e, guestcomms.consumers AS c
            WHERE e.tenant_id = is_counted.tenant_id AND e.erasure_id = is_counted.erasure_id AND c.consumer = 'term_statistics' AND NOT c.must_rebuild
                AND pg_visible_in_snapshot(e.changed_in, c.done))
        AND EXISTS (SELECT FROM guestcomms.search_statistics AS s WHERE s.tenant_id = is_counted.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_counted(uuid, uuid) IS 'Whether the counts of search have followed all that an erasure took away.';

CREATE FUNCTION guestcomms_internal.drop_replaced(tenant_id uuid, erasure_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms_internal.replaced_messages AS r USING guestcomms_internal.erasure_messages AS w
    WHERE w.tenant_id = drop_replaced.tenant_id AND w.erasure_id = drop_replaced.erasure_id AND w.treatment <> 'held'
        AND r.tenant_id = w.tenant_id AND r.message_id = w.message_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(drop_replaced.tenant_id, drop_replaced.erasure_id, 'guestcomms_internal.replaced_messages', v_count);
    -- What others have written, too, names nobody.
    DELETE FROM guestcomms_internal.erasure_words AS w USING guestcomms.term_statistics AS t
    WHERE w.tenant_id = drop_replaced.tenant_id AND w.erasure_id = drop_replaced.erasure_id AND w.origin = 'stem'
        AND t.tenant_id = w.tenant_id AND t.term = w.word AND t.message_count > 0;
    SELECT count(*) INTO v_count FROM guestcomms_internal.erasure_words AS w
    WHERE w.tenant_id = drop_replaced.tenant_id AND w.erasure_id = drop_replaced.erasure_id AND w.origin = 'stem';
    PERFORM guestcomms_internal.note_erased(drop_replaced.tenant_id, drop_replaced.erasure_id, 'guestcomms.term_statistics', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_replaced(uuid, uuid) IS 'Once it has been counted: removes what messages held before, and of the stems of the erased messages those that others have.';
