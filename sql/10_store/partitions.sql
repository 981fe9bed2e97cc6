-- Partitions of a month, or of a year, through pg_partman, 4.7 and 5 alike. Only ensure_partitions() makes them: pg_partman's own background
-- maintenance would leave row security off, so it is switched off for our tables.
CREATE FUNCTION guestcomms_internal.partitioned_tables() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['guestcomms.messages', 'guestcomms.message_events', 'guestcomms_bi.fact_message', 'guestcomms_bi.fact_message_event', 'guestcomms.archive_segments'];
COMMENT ON FUNCTION guestcomms_internal.partitioned_tables() IS 'The tables that are partitioned by time.';

CREATE FUNCTION guestcomms_internal.partition_unit(parent_table text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE parent_table WHEN 'guestcomms.archive_segments' THEN 'year' ELSE 'month' END;
COMMENT ON FUNCTION guestcomms_internal.partition_unit(text) IS 'What time a partition of a table is for.';

CREATE FUNCTION guestcomms_internal.make_partitioned(parent_table text, control text, template_table text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_major integer := split_part((SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_partman'), '.', 1)::integer;
BEGIN
    EXECUTE format('SELECT %I.create_parent(p_parent_table => $1, p_control => $2, p_type => $3, p_interval => $5, p_premake => 1,'
        ' p_automatic_maintenance => ''off'', p_template_table => $4, p_jobmon => false)', guestcomms_internal.trusted_schema('pg_partman'))
    USING make_partitioned.parent_table, make_partitioned.control, CASE WHEN v_major >= 5 THEN 'range' ELSE 'native' END, make_partitioned.template_table,
        '1 ' || guestcomms_internal.partition_unit(make_partitioned.parent_table);
    -- Retention is by policy of this store, never by pg_partman.
    EXECUTE format('UPDATE %I.part_config AS p SET infinite_time_partitions = true, retention = NULL WHERE p.parent_table = $1',
        guestcomms_internal.trusted_schema('pg_partman')) USING make_partitioned.parent_table;
    PERFORM guestcomms_internal.note_partition_range(make_partitioned.parent_table);
END $$;
COMMENT ON FUNCTION guestcomms_internal.make_partitioned(text, text, text) IS 'Hands a table partitioned by time to pg_partman, by its unit.';

CREATE FUNCTION guestcomms_internal.partition_control(parent_table text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE parent_table WHEN 'guestcomms.messages' THEN 'sent_at' WHEN 'guestcomms.message_events' THEN 'occurred_at'
    WHEN 'guestcomms_bi.fact_message' THEN 'sent_at' WHEN 'guestcomms_bi.fact_message_event' THEN 'occurred_at'
    WHEN 'guestcomms.archive_segments' THEN 'first_sent_at' END;
COMMENT ON FUNCTION guestcomms_internal.partition_control(text) IS 'The column that a table of the store is partitioned by.';

CREATE FUNCTION guestcomms_internal.list_partitions(parent_table text)
RETURNS TABLE (partition oid, since timestamptz, until timestamptz, is_default boolean)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT i.inhrelid, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz, b.bounds IS NULL
    FROM pg_catalog.pg_inherits AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds) AS b
    WHERE i.inhparent = list_partitions.parent_table::regclass
$$;
COMMENT ON FUNCTION guestcomms_internal.list_partitions(text) IS 'Partitions of a table with their bounds.';

CREATE FUNCTION guestcomms_internal.note_partition_range(parent_table text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
    INSERT INTO guestcomms_internal.partition_ranges AS r (parent_table, since, until)
    SELECT note_partition_range.parent_table, min(l.since), max(l.until)
    FROM guestcomms_internal.list_partitions(note_partition_range.parent_table) AS l
    ON CONFLICT ON CONSTRAINT partition_ranges_pkey DO UPDATE SET since = excluded.since, until = excluded.until
$$;
COMMENT ON FUNCTION guestcomms_internal.note_partition_range(text) IS 'Keeps partition_ranges in step with the catalog.';

CREATE FUNCTION guestcomms_internal.count_default_rows(parent_table text, control text, since timestamptz, until timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_range guestcomms_internal.partition_ranges;
    v_count bigint;
BEGIN
    -- Outside the unbroken range of partitions lies only the default: the planner leaves out all others.
    SELECT * INTO v_range FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = count_default_rows.parent_table;
    EXECUTE format('SELECT count(*) FROM %1$s WHERE (%2$I < %3$L OR %2$I >= %4$L) AND %2$I >= %5$L AND %2$I < %6$L',
        v_range.parent_table::regclass, control, v_range.since, v_range.until, since, until) INTO v_count;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.count_default_rows(text, text, timestamptz, timestamptz) IS
'Rows of a time range that lie in the default partition.';

CREATE FUNCTION guestcomms_internal.move_out_of_default(parent_table text, control text, default_partition regclass) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_columns text;
    v_partition record;
    v_moved bigint;
    v_total bigint := 0;
BEGIN
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) INTO v_columns
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = default_partition AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    -- Straight from partition to partition: the parent's triggers would log a change where there is none. The owner is
    -- bound by the forced row security of partitions, which have no policy, so it is lifted for these statements.
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', default_partition);
    FOR v_partition IN SELECT l.partition::regclass AS name, l.since, l.until FROM guestcomms_internal.list_partitions(parent_table) AS l LOOP
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', v_partition.name);
        EXECUTE format('WITH moved AS (DELETE FROM %1$s WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING %5$s)'
            ' INSERT INTO %6$s (%5$s) SELECT %5$s FROM moved',
            default_partition, control, v_partition.since, v_partition.until, v_columns, v_partition.name);
        GET DIAGNOSTICS v_moved = ROW_COUNT;
        v_total := v_total + v_moved;
    END LOOP;
    RETURN v_total;
END $$;
COMMENT ON FUNCTION guestcomms_internal.move_out_of_default(text, text, regclass) IS
'Moves rows of a detached default partition into the partitions that exist for them; the caller forces row security again.';

CREATE FUNCTION guestcomms_internal.make_partitions(since timestamptz, until timestamptz, caller_path text)
RETURNS TABLE (parent_table text, partition_count integer, made_count integer, rescued_rows bigint, default_rows bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_since timestamptz := date_trunc('month', make_partitions.since);
    v_until timestamptz := greatest(make_partitions.until, now() + guestcomms_internal.setting('partitions.ahead')::interval);
    v_unit text;
    v_starts timestamptz[];
    v_default regclass;
    v_rescued bigint;
BEGIN
    IF v_since IS NULL OR v_since < '1995-01-01' OR make_partitions.until > now() + interval '2 years' OR v_since > v_until THEN
        RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow', MESSAGE = 'partitions cannot be made for that time',
            DETAIL = 'since must not be before 1995 nor after until, and until at most two years ahead.',
            HINT = 'SELECT * FROM guestcomms.ensure_partitions(now() - interval ''3 years'');';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('guestcomms.ensure_partitions', 0));
    FOREACH parent_table IN ARRAY guestcomms_internal.partitioned_tables() LOOP
        v_default := (parent_table || '_default')::regclass;
        v_unit := guestcomms_internal.partition_unit(parent_table);
        -- The range stays unbroken: whatever lies between the months, or years, asked for and those there are is made too.
        SELECT array_agg(start ORDER BY start) INTO v_starts
        FROM generate_series(
            least(date_trunc(v_unit, v_since), (SELECT min(l.since) FROM guestcomms_internal.list_partitions(parent_table) AS l)),
            greatest(v_until, (SELECT max(l.since) FROM guestcomms_internal.list_partitions(parent_table) AS l)),
            ('1 ' || v_unit)::interval) AS start
        WHERE NOT EXISTS (SELECT FROM guestcomms_internal.list_partitions(parent_table) AS l WHERE l.since = start);
        v_rescued := 0;
        IF v_starts IS NOT NULL THEN
            -- A partition cannot be made while the default holds rows of its month; so the default steps aside.
            v_rescued := guestcomms_internal.count_default_rows(parent_table, guestcomms_internal.partition_control(parent_table),
                v_starts[1], v_starts[cardinality(v_starts)] + ('1 ' || v_unit)::interval);
            IF v_rescued > 0 THEN
                EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent_table::regclass, v_default);
            END IF;
            EXECUTE format('SELECT %I.create_partition_time($1, $2)', guestcomms_internal.trusted_schema('pg_partman')) USING parent_table, v_starts;
            IF v_rescued > 0 THEN
                v_rescued := guestcomms_internal.move_out_of_default(parent_table, guestcomms_internal.partition_control(parent_table), v_default);
                EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s DEFAULT', parent_table::regclass, v_default);
            END IF;
        END IF;
        PERFORM guestcomms_internal.note_partition_range(parent_table);
        RETURN QUERY SELECT parent_table,
            (SELECT count(*)::integer FROM guestcomms_internal.list_partitions(parent_table) AS l WHERE NOT l.is_default),
            coalesce(cardinality(v_starts), 0), v_rescued,
            guestcomms_internal.count_default_rows(parent_table, guestcomms_internal.partition_control(parent_table), '-infinity', 'infinity');
    END LOOP;
    PERFORM guestcomms_internal.force_row_security();
    PERFORM guestcomms_internal.keep_texts_out_of_statistics();
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'ensure_partitions', 'store',
        jsonb_build_object('since', v_since, 'until', v_until));
    -- pg_partman sets search_path for the session, which outlives this function's own.
    PERFORM set_config('search_path', make_partitions.caller_path, false);
END $$;
COMMENT ON FUNCTION guestcomms_internal.make_partitions(timestamptz, timestamptz, text) IS
'The work of ensure_partitions(); caller_path is the search_path to leave behind.';

CREATE FUNCTION guestcomms.ensure_partitions(since timestamptz DEFAULT now(), until timestamptz DEFAULT now())
RETURNS TABLE (parent_table text, partition_count integer, made_count integer, rescued_rows bigint, default_rows bigint)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
BEGIN ATOMIC
    -- Parsed, and without a search_path of its own: only so the caller's can be read here.
    SELECT p.parent_table, p.partition_count, p.made_count, p.rescued_rows, p.default_rows
    FROM guestcomms_internal.make_partitions(ensure_partitions.since, ensure_partitions.until, current_setting('search_path')) AS p;
END;
COMMENT ON FUNCTION guestcomms.ensure_partitions(timestamptz, timestamptz) IS
$$Makes the monthly partitions from since until the later of until and partitions.ahead from now, moves rows of those months out of the default partition, and forces row security on all. For backfills; a job calls it without arguments. default_rows counts what still lies outside all months: call it again with an earlier since.
Example: SELECT * FROM guestcomms.ensure_partitions('2023-01-01');
See also: create_store, list_settings$$;
