-- Records: rows of the tables as JSON, as exports hold them. Columns are read from the catalog, so that none is forgotten.
CREATE FUNCTION guestcomms_internal.export_tables() RETURNS TABLE (place integer, table_name text, part text, in_portability boolean)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- In an order in which they can be imported. part is what the archive calls what belongs to messages.
    VALUES
        (1, 'guests', NULL, true), (2, 'guest_addresses', NULL, true), (3, 'weddings', NULL, true), (4, 'wedding_guests', NULL, true), (5, 'consents', NULL, true),
        (6, 'campaigns', NULL, true), (7, 'threads', NULL, true), (8, 'subject_requests', NULL, false), (9, 'subject_request_steps', NULL, false),
        (10, 'messages', 'messages', true), (11, 'message_events', 'events', true), (12, 'message_versions', 'versions', true), (13, 'attachments', 'attachments', true),
        -- what programs and staff concluded about messages
        (14, 'message_annotations', 'annotations', false);
END;
COMMENT ON FUNCTION guestcomms_internal.export_tables() IS 'The tables of which an export has records, and which of them portability leaves out, as neither provided nor observed.';

CREATE FUNCTION guestcomms_internal.export_columns(table_name text) RETURNS TABLE (place integer, column_name text, type text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT a.attnum::integer, a.attname::text, format_type(a.atttypid, NULL)
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = to_regclass('guestcomms.' || quote_ident(export_columns.table_name)) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        AND a.attname <> 'tenant_id' AND (export_columns.table_name <> 'threads' OR a.attname <> ALL (guestcomms_internal.thread_state_columns()))
    ORDER BY a.attnum
$$;
COMMENT ON FUNCTION guestcomms_internal.export_columns(text) IS 'The columns of a record: all but the tenant and what is computed from others.';

CREATE FUNCTION guestcomms_internal.table_records(tenant_id uuid, table_name text, column_name text, ids uuid[]) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET timezone = 'UTC' SET datestyle = 'ISO' SET bytea_output = 'hex' SET extra_float_digits = 1 SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_columns text[] := (SELECT array_agg(format('t.%I', c.column_name) ORDER BY c.place) FROM guestcomms_internal.export_columns(table_records.table_name) AS c);
    v_is_message boolean := table_records.table_name = 'messages';
    v_since timestamptz;
    v_until timestamptz;
    v_records json;
BEGIN
    IF v_is_message THEN
        -- Their partitions are found by the time in their identifiers.
        SELECT min(guestcomms.uuid_v7_time(i.id)), max(guestcomms.uuid_v7_time(i.id)) + interval '1 millisecond' INTO v_since, v_until FROM unnest(table_records.ids) AS i (id);
    END IF;
    -- In the order of their first column, the identifier: that of time for what belongs to messages.
    EXECUTE format('SELECT coalesce(json_agg(r), ''[]'') FROM (SELECT %s FROM guestcomms.%I AS t WHERE t.tenant_id = $1 %s %s ORDER BY %s) AS r',
        array_to_string(v_columns, ', '), table_records.table_name,
        CASE WHEN table_records.ids IS NOT NULL THEN format('AND t.%I = ANY ($2)', table_records.column_name) ELSE '' END,
        CASE WHEN v_is_message THEN 'AND t.sent_at >= $3 AND t.sent_at < $4' ELSE '' END, v_columns[1])
    INTO v_records USING table_records.tenant_id, table_records.ids, v_since, v_until;
    RETURN v_records;
END $$;
COMMENT ON FUNCTION guestcomms_internal.table_records(uuid, text, text, uuid[]) IS 'Records of a table whose column is one of ids, or all of the tenant''s where ids is NULL.';

CREATE FUNCTION guestcomms_internal.content_records(contents guestcomms_internal.guest_content[], table_name text, part text, message_ids uuid[]) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
    SET timezone = 'UTC' SET datestyle = 'ISO' SET bytea_output = 'hex' SET extra_float_digits = 1 SET jit = off
AS $$
DECLARE
    v_columns text;
    v_definitions text;
    v_records json;
BEGIN
    -- The archive has times as microseconds, hashes as hexadecimal digits, and other numbers and JSON as texts.
    SELECT string_agg(CASE c.type WHEN 'timestamp with time zone' THEN format('guestcomms_internal.from_microseconds(m.%1$I) AS %1$I', c.column_name)
                WHEN 'bytea' THEN format('decode(m.%1$I, ''hex'') AS %1$I', c.column_name)
                WHEN 'jsonb' THEN format('m.%1$I::jsonb AS %1$I', c.column_name)
                WHEN 'double precision' THEN format('m.%1$I::double precision AS %1$I', c.column_name)
                ELSE CASE WHEN c.column_name = 'guest_id' THEN 'g.guest_id' ELSE format('m.%I', c.column_name) END END, ', ' ORDER BY c.place),
        string_agg(format('%I %s', c.column_name, CASE c.type WHEN 'timestamp with time zone' THEN 'bigint' WHEN 'bytea' THEN 'text' WHEN 'jsonb' THEN 'text'
            WHEN 'double precision' THEN 'text' ELSE c.type END), ', ' ORDER BY c.place)
    INTO v_columns, v_definitions FROM guestcomms_internal.export_columns(content_records.table_name) AS c;
    EXECUTE format('SELECT coalesce(json_agg(r), ''[]'') FROM (SELECT %s FROM unnest($1) AS g CROSS JOIN LATERAL json_to_recordset(g.content -> %L) AS m (%s)
            WHERE m.message_id = ANY ($2)) AS r', v_columns, content_records.part, v_definitions)
    INTO v_records USING content_records.contents, content_records.message_ids;
    RETURN v_records;
END $$;
COMMENT ON FUNCTION guestcomms_internal.content_records(guestcomms_internal.guest_content[], text, text, uuid[]) IS 'Records of archived messages, or of what belongs to them, as table_records() would give them.';

CREATE FUNCTION guestcomms_internal.message_records(tenant_id uuid, message_ids uuid[], contents guestcomms_internal.guest_content[], is_portability boolean) RETURNS json[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- What came late for archived messages is in the tables.
    RETURN ARRAY(
        SELECT json_build_object(t.table_name, guestcomms_internal.table_records(message_records.tenant_id, t.table_name, 'message_id', message_records.message_ids))
        FROM guestcomms_internal.export_tables() AS t
        WHERE t.part IS NOT NULL AND (t.in_portability OR NOT message_records.is_portability)
        UNION ALL
        SELECT json_build_object(t.table_name, guestcomms_internal.content_records(message_records.contents, t.table_name, t.part, message_records.message_ids))
        FROM guestcomms_internal.export_tables() AS t
        WHERE t.part IS NOT NULL AND (t.in_portability OR NOT message_records.is_portability) AND message_records.contents IS NOT NULL);
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_records(uuid, uuid[], guestcomms_internal.guest_content[], boolean) IS 'Records of messages with all that belongs to them, from the tables and from opened segments.';

CREATE FUNCTION guestcomms_internal.other_records(tenant_id uuid, guest_id uuid, is_portability boolean) RETURNS json[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_guests uuid[];
    v_threads uuid[];
    v_weddings uuid[];
    v_campaigns uuid[];
    v_requests uuid[];
    v_archived record;
BEGIN
    IF other_records.guest_id IS NOT NULL THEN
        -- With who was merged into the guest.
        v_guests := guestcomms_internal.same_guests(other_records.tenant_id, other_records.guest_id);
        v_requests := ARRAY(SELECT r.request_id FROM guestcomms.subject_requests AS r WHERE r.tenant_id = other_records.tenant_id AND r.guest_id = ANY (v_guests));
        SELECT array_agg(DISTINCT (m.value ->> 'thread_id')::uuid) AS threads, array_agg(DISTINCT (m.value ->> 'wedding_id')::uuid) AS weddings,
            array_agg(DISTINCT (m.value ->> 'campaign_id')::uuid) AS campaigns
        INTO v_archived
        FROM guestcomms.archive_segments AS s
        CROSS JOIN LATERAL json_array_elements(guestcomms_internal.read_segment(s.tenant_id, s.segment_id, true) -> 'messages') AS m
        WHERE s.tenant_id = other_records.tenant_id AND s.guest_id = ANY (v_guests);
        SELECT array_agg(DISTINCT m.thread_id) || v_archived.threads, array_agg(DISTINCT m.wedding_id) || v_archived.weddings, array_agg(DISTINCT m.campaign_id) || v_archived.campaigns
        INTO v_threads, v_weddings, v_campaigns
        FROM guestcomms.messages AS m WHERE m.tenant_id = other_records.tenant_id AND m.guest_id = ANY (v_guests);
        v_threads := coalesce(v_threads, ARRAY[]::uuid[]) || ARRAY(SELECT t.thread_id FROM guestcomms.threads AS t WHERE t.tenant_id = other_records.tenant_id AND t.guest_id = ANY (v_guests));
        v_weddings := coalesce(v_weddings, ARRAY[]::uuid[])
            || ARRAY(SELECT w.wedding_id FROM guestcomms.wedding_guests AS w WHERE w.tenant_id = other_records.tenant_id AND w.guest_id = ANY (v_guests))
            || ARRAY(SELECT t.wedding_id FROM guestcomms.threads AS t WHERE t.tenant_id = other_records.tenant_id AND t.thread_id = ANY (v_threads));
        v_campaigns := coalesce(v_campaigns, ARRAY[]::uuid[]);
    END IF;
    RETURN ARRAY(
        SELECT json_build_object(t.table_name, guestcomms_internal.table_records(other_records.tenant_id, t.table_name,
            CASE t.table_name WHEN 'threads' THEN 'thread_id' WHEN 'weddings' THEN 'wedding_id' WHEN 'campaigns' THEN 'campaign_id' WHEN 'subject_requests' THEN 'request_id'
                WHEN 'subject_request_steps' THEN 'request_id' ELSE 'guest_id' END,
            CASE t.table_name WHEN 'threads' THEN v_threads WHEN 'weddings' THEN v_weddings WHEN 'campaigns' THEN v_campaigns WHEN 'subject_requests' THEN v_requests
                WHEN 'subject_request_steps' THEN v_requests ELSE v_guests END))
        FROM guestcomms_internal.export_tables() AS t
        WHERE t.part IS NULL AND (t.in_portability OR NOT other_records.is_portability));
END $$;
COMMENT ON FUNCTION guestcomms_internal.other_records(uuid, uuid, boolean) IS 'Records of a guest, and of the conversations, weddings and campaigns that the guest''s messages are of; without a guest all of the tenant''s.';
