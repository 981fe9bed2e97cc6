-- The way in for exports: records keep their identifiers, and what is here already stays as it is.
CREATE FUNCTION guestcomms_internal.read_export(data bytea) RETURNS TABLE (record_set text, columns text[], records text)
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED ROWS 100 SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.import_export import read_export
return read_export(plpy, data)
$$;
COMMENT ON FUNCTION guestcomms_internal.read_export(bytea) IS
'Batches of an export''s records, as text of a JSON array, in an order in which each comes after what it names; an error for what is not a whole export.';

CREATE FUNCTION guestcomms_internal.exported_columns(record_set text)
RETURNS TABLE (name text, is_identifier boolean, expression text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT a.attname::text, a.attnum = ANY (k.conkey), CASE
        -- Guests may be merged into one of a later batch, and those who were erased take no messages: guestcomms_internal.settle_guests().
        WHEN exported_columns.record_set = 'guests' AND a.attname IN ('merged_into', 'erased_at') THEN 'NULL'
        -- What waits to be sent where it comes from is not to be sent from here as well.
        WHEN exported_columns.record_set = 'messages' AND a.attname = 'status' THEN 'CASE r.status WHEN ''queued'' THEN ''cancelled'' ELSE r.status END'
        -- A guest who is here may have another address to use first.
        WHEN exported_columns.record_set = 'guest_addresses' AND a.attname = 'is_primary' THEN 'r.is_primary AND NOT EXISTS (SELECT FROM guestcomms.guest_addresses AS p'
            ' WHERE p.tenant_id = $1 AND p.guest_id = r.guest_id AND p.channel = r.channel AND p.is_primary)'
        -- JSON's null is a value where SQL's cannot be.
        WHEN a.atttypid = 'jsonb'::regtype AND a.attnotnull THEN format('coalesce(r.%I, %L)', a.attname, 'null')
        ELSE format('r.%I', a.attname) END
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'guestcomms'
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> 'tenant_id'
    WHERE c.relname = exported_columns.record_set AND (exported_columns.record_set <> 'threads' OR a.attname <> ALL (guestcomms_internal.thread_state_columns()))
    ORDER BY a.attnum
$$;
COMMENT ON FUNCTION guestcomms_internal.exported_columns(text) IS 'Columns of a record set''s table that an export has, and what is stored in each of a record r.';

CREATE FUNCTION guestcomms_internal.leave_out_known(tenant_id uuid, record_set text, records jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_archived uuid[];
    v_time text := CASE leave_out_known.record_set WHEN 'messages' THEN 'sent_at' WHEN 'message_events' THEN 'occurred_at' END;
    v_match text;
    v_bare text;
    v_fresh jsonb;
BEGIN
    -- What belongs to an archived message is in its segment: beside it, it would be there twice.
    IF leave_out_known.record_set IN ('messages', 'message_events', 'message_versions', 'attachments', 'message_annotations') THEN
        v_archived := guestcomms_internal.list_archived(leave_out_known.tenant_id,
            ARRAY(SELECT DISTINCT (e ->> 'message_id')::uuid FROM jsonb_array_elements(leave_out_known.records) AS e));
    END IF;
    SELECT string_agg(format('k.%1$I = r.%1$I', c.name), ' AND ') FILTER (WHERE c.is_identifier AND c.name IS DISTINCT FROM v_time),
        string_agg(format('p.%I', c.name), ', ') FILTER (WHERE c.is_identifier)
    INTO v_match, v_bare
    FROM guestcomms_internal.exported_columns(leave_out_known.record_set) AS c;
    -- Identifiers of messages and events have the millisecond of their time, so only its partition is looked at. The fence
    -- (OFFSET 0): under row security only bare columns reach the index.
    EXECUTE format('SELECT coalesce(jsonb_agg(r.element), ''[]'')'
        ' FROM (SELECT e.element, %1$s, %2$s AS since, %2$s + interval ''1 millisecond'' AS until'
        '     FROM jsonb_array_elements($2) AS e (element) CROSS JOIN LATERAL jsonb_populate_record(NULL::guestcomms.%3$I, e.element) AS p OFFSET 0) AS r'
        ' WHERE (SELECT true FROM guestcomms.%3$I AS k WHERE k.tenant_id = $1 AND %4$s %5$s LIMIT 1) IS NULL'
        '     AND (r.element ->> ''message_id'')::uuid = ANY ($3) IS NOT TRUE',
        v_bare, CASE WHEN v_time IS NULL THEN 'now()' ELSE format('date_trunc(''milliseconds'', p.%I)', v_time) END, leave_out_known.record_set, v_match,
        CASE WHEN v_time IS NULL THEN '' ELSE format('AND k.%1$I >= r.since AND k.%1$I < r.until', v_time) END)
    INTO v_fresh USING leave_out_known.tenant_id, leave_out_known.records, v_archived;
    RETURN v_fresh;
END $$;
COMMENT ON FUNCTION guestcomms_internal.leave_out_known(uuid, text, jsonb) IS 'Those of the records whose identifiers are neither in the table nor in the archive.';

CREATE FUNCTION guestcomms_internal.insert_records(tenant_id uuid, record_set text, columns text[], records jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_names text;
    v_values text;
    v_count bigint;
BEGIN
    -- What the export does not have takes the table's default.
    SELECT string_agg(quote_ident(c.name), ', '), string_agg(c.expression, ', ') INTO v_names, v_values
    FROM guestcomms_internal.exported_columns(insert_records.record_set) AS c WHERE c.name = ANY (insert_records.columns);
    EXECUTE format('INSERT INTO guestcomms.%1$I (tenant_id, %2$s) SELECT $1, %3$s FROM jsonb_populate_recordset(NULL::guestcomms.%1$I, $2) AS r ON CONFLICT DO NOTHING',
        insert_records.record_set, v_names, v_values) USING insert_records.tenant_id, insert_records.records;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    -- A trigger keeps the keys of rows that operators load; functions keep them themselves. In key order, or overlapping imports deadlock.
    IF insert_records.record_set = 'messages' THEN
        INSERT INTO guestcomms.message_keys (tenant_id, source, external_id, message_id)
        SELECT insert_records.tenant_id, r.source, r.external_id, r.message_id
        FROM jsonb_to_recordset(insert_records.records) AS r (source text, external_id text, message_id uuid)
        WHERE r.external_id IS NOT NULL
        ORDER BY 2, 3, 4
        ON CONFLICT ON CONSTRAINT message_keys_pkey DO NOTHING;
    ELSIF insert_records.record_set = 'message_events' THEN
        INSERT INTO guestcomms.event_keys (tenant_id, source, external_id, event_id)
        SELECT insert_records.tenant_id, r.source, r.external_id, r.event_id
        FROM jsonb_to_recordset(insert_records.records) AS r (source text, external_id text, event_id uuid)
        WHERE r.external_id IS NOT NULL
        ORDER BY 2, 3, 4
        ON CONFLICT ON CONSTRAINT event_keys_pkey DO NOTHING;
    END IF;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.insert_records(uuid, text, text[], jsonb) IS
'Stores records that are not known, with the external identifiers of messages and events; returns how many.';

CREATE FUNCTION guestcomms_internal.find_taken(tenant_id uuid, record_set text, records jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    SELECT format('A %s address of guest_id %s belongs to guest_id %s here.', a.channel, r.guest_id, a.guest_id)
    FROM jsonb_to_recordset(CASE record_set WHEN 'guest_addresses' THEN records END) AS r (channel text, address text, guest_id uuid)
    JOIN guestcomms.guest_addresses AS a ON a.tenant_id = find_taken.tenant_id AND a.channel = r.channel AND a.address = r.address AND a.guest_id <> r.guest_id
    UNION ALL
    SELECT format('The external_id of message_id %s belongs to message_id %s here.', r.message_id, k.message_id)
    FROM jsonb_to_recordset(CASE record_set WHEN 'messages' THEN records END) AS r (source text, external_id text, message_id uuid)
    JOIN guestcomms.message_keys AS k ON k.tenant_id = find_taken.tenant_id AND k.source = r.source AND k.external_id = r.external_id AND k.message_id <> r.message_id
    UNION ALL
    SELECT format('The external_id of event_id %s belongs to event_id %s here.', r.event_id, k.event_id)
    FROM jsonb_to_recordset(CASE record_set WHEN 'message_events' THEN records END) AS r (source text, external_id text, event_id uuid)
    JOIN guestcomms.event_keys AS k ON k.tenant_id = find_taken.tenant_id AND k.source = r.source AND k.external_id = r.external_id AND k.event_id <> r.event_id
    LIMIT 1
$$;
COMMENT ON FUNCTION guestcomms_internal.find_taken(uuid, text, jsonb) IS 'Says which record has an address or external identifier that is somebody else''s here; NULL if none.';

CREATE FUNCTION guestcomms_internal.find_missing_month(record_set text, records jsonb) RETURNS date
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
    SELECT date_trunc('month', min(t.at))::date
    FROM guestcomms_internal.partition_ranges AS p
    CROSS JOIN LATERAL (SELECT CASE record_set WHEN 'messages' THEN (e ->> 'sent_at')::timestamptz ELSE (e ->> 'occurred_at')::timestamptz END AS at
        FROM jsonb_array_elements(records) AS e) AS t
    WHERE p.parent_table = 'guestcomms.' || record_set AND (t.at < p.since OR t.at >= p.until)
$$;
COMMENT ON FUNCTION guestcomms_internal.find_missing_month(text, jsonb) IS 'The first month of messages or events that has no partition; NULL if all have, and for other records.';

CREATE FUNCTION guestcomms_internal.import_batch(
    tenant_id uuid, record_set text, columns text[], records text, OUT new_count bigint, OUT known_count bigint, OUT unsettled jsonb
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_fresh jsonb;
    v_month date;
    v_taken text;
    v_state text;
    v_constraint text;
    v_column text;
    v_unknown text := (SELECT string_agg(n.name, ', ') FROM unnest(import_batch.columns) AS n (name)
        WHERE n.name NOT IN (SELECT c.name FROM guestcomms_internal.exported_columns(import_batch.record_set) AS c));
BEGIN
    IF v_unknown IS NOT NULL OR cardinality(import_batch.columns) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the export has other columns than this store',
            DETAIL = format('Record set %s: %s.', import_batch.record_set, coalesce(v_unknown, 'none are named')), HINT = 'A later version of this extension may read it.';
    END IF;
    BEGIN
        v_fresh := guestcomms_internal.leave_out_known(import_batch.tenant_id, import_batch.record_set, import_batch.records::jsonb);
        v_month := guestcomms_internal.find_missing_month(import_batch.record_set, v_fresh);
        IF v_month IS NULL THEN
            new_count := guestcomms_internal.insert_records(import_batch.tenant_id, import_batch.record_set, import_batch.columns, v_fresh);
            known_count := jsonb_array_length(import_batch.records::jsonb) - new_count;
        END IF;
        v_taken := guestcomms_internal.find_taken(import_batch.tenant_id, import_batch.record_set,
            CASE import_batch.record_set WHEN 'guest_addresses' THEN import_batch.records::jsonb ELSE v_fresh END);
        IF import_batch.record_set = 'guests' THEN
            unsettled := jsonb_path_query_array(v_fresh, '$[*] ? (@.merged_into != null || @.erased_at != null)');
        END IF;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        -- The server's own words quote what guests wrote.
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_constraint = CONSTRAINT_NAME, v_column = COLUMN_NAME;
        RAISE EXCEPTION USING ERRCODE = v_state, MESSAGE = 'a record of the export cannot be stored here',
            DETAIL = concat_ws(', ', 'Record set ' || import_batch.record_set, 'constraint ' || nullif(v_constraint, ''), 'column ' || nullif(v_column, '')) || '.',
            HINT = 'What a record names must be in the export or here already; nothing was imported.';
    END;
    IF v_month IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow', MESSAGE = 'the export has records of months that have no partitions',
            DETAIL = format('Record set %s, month %s.', import_batch.record_set, to_char(v_month, 'YYYY-MM')),
            HINT = format('An operator makes them: SELECT guestcomms.ensure_partitions(%L);', v_month);
    ELSIF v_taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'an address or external identifier of the export is taken here', DETAIL = v_taken,
            HINT = 'Nothing was imported. Import it into another tenant, or clear up first who it belongs to.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.import_batch(uuid, text, text[], text) IS
'Stores what is new of a batch; unsettled are the new guests that were merged into others or erased. Errors say which record set and constraint, never what is in a record.';

CREATE FUNCTION guestcomms_internal.settle_guests(tenant_id uuid, unsettled jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- Where the one they were merged into was merged here, into whom.
    UPDATE guestcomms.guests AS g SET merged_into = coalesce(nullif(r.kept_id, g.guest_id), g.merged_into), erased_at = r.erased_at
    FROM (SELECT m.guest_id, guestcomms_internal.kept_guest(settle_guests.tenant_id, m.merged_into) AS kept_id, m.erased_at
        FROM jsonb_to_recordset(settle_guests.unsettled) AS m (guest_id uuid, merged_into uuid, erased_at timestamptz)) AS r
    WHERE g.tenant_id = settle_guests.tenant_id AND g.guest_id = r.guest_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.settle_guests(uuid, jsonb) IS
'Notes which imported guests were erased, and what they were merged into, where it is here: one guest''s export does not have the other.';

CREATE FUNCTION guestcomms.import_export(data bytea, dry_run boolean DEFAULT false)
RETURNS TABLE (record_set text, new_count bigint, known_count bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 14 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_batch record;
    v_done record;
    v_unsettled jsonb := '[]'::jsonb;
    v_new jsonb := '{}'::jsonb;
    v_known jsonb := '{}'::jsonb;
BEGIN
    -- A dry run counts, too: it reads and checks as much.
    PERFORM guestcomms_internal.take_quota(v_tenant, 'import', 1);
    BEGIN
        FOR v_batch IN SELECT e.record_set, e.columns, e.records FROM guestcomms_internal.read_export(import_export.data) AS e LOOP
            SELECT * INTO v_done FROM guestcomms_internal.import_batch(v_tenant, v_batch.record_set, v_batch.columns, v_batch.records);
            v_unsettled := v_unsettled || coalesce(v_done.unsettled, '[]');
            v_new := v_new || jsonb_build_object(v_batch.record_set, coalesce((v_new -> v_batch.record_set)::bigint, 0) + v_done.new_count);
            v_known := v_known || jsonb_build_object(v_batch.record_set, coalesce((v_known -> v_batch.record_set)::bigint, 0) + v_done.known_count);
        END LOOP;
        PERFORM guestcomms_internal.settle_guests(v_tenant, v_unsettled);
        PERFORM guestcomms_internal.record_audit(v_tenant, 'import_export', 'export ' || encode(sha256(import_export.data), 'hex'),
            jsonb_build_object('new', v_new, 'known', v_known));
        IF import_export.dry_run IS DISTINCT FROM false THEN
            -- All was done and checked; this takes it back, and variables stay.
            RAISE EXCEPTION USING ERRCODE = 'GC900', MESSAGE = 'dry run';
        END IF;
    EXCEPTION WHEN SQLSTATE 'GC900' THEN
        NULL;
    END;
    RETURN QUERY
    SELECT s.record_set, coalesce((v_new -> s.record_set)::bigint, 0), coalesce((v_known -> s.record_set)::bigint, 0)
    FROM unnest('{guests,guest_addresses,weddings,wedding_guests,consents,campaigns,threads,subject_requests,subject_request_steps,
        messages,message_events,message_versions,attachments,message_annotations}'::text[]) WITH ORDINALITY AS s (record_set, place)
    ORDER BY s.place;
END $$;
COMMENT ON FUNCTION guestcomms.import_export(bytea, boolean) IS
$$Takes an export, the zip with format jsonl, into the current tenant with all identifiers and times, and returns for each record set how many records were new and how many were known. What is here already, in the tables or the archive, stays as it is, so an import may be repeated. Messages that wait to be sent come in as cancelled: they are sent from where they are queued. All or nothing: a damaged file (XX001), a record that cannot be stored, an address or external identifier that is somebody else's here (23505) or a month without partitions (22008) ends it. With dry_run all is checked and counted, and nothing is changed.
Example: SELECT record_set, new_count, known_count FROM guestcomms.import_export('\x504b0304', dry_run => true);
See also: open_request, restore_messages, ensure_partitions$$;
