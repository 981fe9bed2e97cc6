-- The space of months that are archived altogether: what DELETE leaves, VACUUM would keep for rows that never come.
CREATE FUNCTION guestcomms_internal.has_rows(parent_table text, since timestamptz, until timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_result boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %1$s WHERE %2$I >= %3$L AND %2$I < %4$L)', has_rows.parent_table::regclass,
        guestcomms_internal.partition_control(has_rows.parent_table), has_rows.since, has_rows.until) INTO v_result;
    RETURN v_result;
END $$;
COMMENT ON FUNCTION guestcomms_internal.has_rows(text, timestamptz, timestamptz) IS 'Whether a partitioned table holds rows of a time, of any tenant.';

CREATE FUNCTION guestcomms_internal.release_empty_months() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_month record;
BEGIN
    -- With an older snapshot a row that has come since would not be seen, and would be lost.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = 'space is given back in READ COMMITTED only',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED; or call it outside a transaction.';
    END IF;
    FOR v_month IN
        SELECT p.parent_table, l.partition, l.since, l.until
        FROM unnest('{guestcomms.messages,guestcomms.message_events}'::text[]) AS p (parent_table)
        CROSS JOIN LATERAL guestcomms_internal.list_partitions(p.parent_table) AS l
        -- An empty one keeps the first pages of its indexes.
        WHERE NOT l.is_default AND l.until < now() - interval '1 month' AND pg_total_relation_size(l.partition) > 262144
        ORDER BY l.since, p.parent_table
    LOOP
        CONTINUE WHEN guestcomms_internal.has_rows(v_month.parent_table, v_month.since, v_month.until);
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', v_month.partition::regclass);
        -- Once more, when nobody can write there.
        IF NOT guestcomms_internal.has_rows(v_month.parent_table, v_month.since, v_month.until) THEN
            EXECUTE format('TRUNCATE ONLY %s', v_month.partition::regclass);
            RETURN 1;
        END IF;
    END LOOP;
    RETURN 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.release_empty_months() IS
'A job''s work: empties the files of one month of messages or events that holds no row any more; returns 1, or 0 where there is none.';
