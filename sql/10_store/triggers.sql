-- Trigger functions, statement level. They see rows of many tenants when an operator loads them.
CREATE TYPE guestcomms_internal.logged_change AS (seq bigint, tenant_id uuid, ids uuid[]);
COMMENT ON TYPE guestcomms_internal.logged_change IS 'A row just written to the change log.';

CREATE FUNCTION guestcomms_internal.log_message_changes() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_logged guestcomms_internal.logged_change[];
    v_kind text := 'message';
    v_has_moved boolean;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT CASE WHEN bool_or((n.sent_at, n.thread_id, n.guest_id, n.wedding_id, n.campaign_id, n.direction, n.channel, n.status, n.purpose, n.language, n.subject,
                n.body, n.author, n.source, n.external_id, n.scheduled_at, n.read_at, n.edited_at, n.deleted_at, n.metadata)
            IS DISTINCT FROM (o.sent_at, o.thread_id, o.guest_id, o.wedding_id, o.campaign_id, o.direction, o.channel, o.status, o.purpose, o.language, o.subject,
                o.body, o.author, o.source, o.external_id, o.scheduled_at, o.read_at, o.edited_at, o.deleted_at, o.metadata))
            -- What computes the vectors anew changes nothing that anybody wrote or did.
            THEN 'message' ELSE 'message_search' END,
            bool_or((n.sent_at, n.thread_id, n.direction) IS DISTINCT FROM (o.sent_at, o.thread_id, o.direction))
        INTO v_kind, v_has_moved
        FROM changed AS n LEFT JOIN previous AS o ON o.tenant_id = n.tenant_id AND o.message_id = n.message_id;
    END IF;
    WITH logged AS (
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT c.tenant_id, v_kind, lower(TG_OP), min(c.sent_at), max(c.sent_at), array_agg(c.message_id)
        FROM (SELECT tenant_id, message_id, sent_at, (row_number() OVER () - 1) / 10000 AS chunk FROM changed) AS c
        GROUP BY c.tenant_id, c.chunk
        RETURNING seq, tenant_id, ids
    )
    SELECT array_agg(ROW(l.seq, l.tenant_id, l.ids)::guestcomms_internal.logged_change) INTO v_logged FROM logged AS l;
    -- Where in conversations they were.
    IF TG_OP = 'DELETE' THEN
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT c.tenant_id, 'message_place', 'delete', min(c.sent_at), max(c.sent_at), array_agg(i.id ORDER BY c.number, i.place)
        FROM (SELECT tenant_id, message_id, thread_id, sent_at, row_number() OVER () AS number FROM changed) AS c
        CROSS JOIN LATERAL (VALUES (1, c.thread_id), (2, c.message_id)) AS i (place, id)
        GROUP BY c.tenant_id, c.number / 5000;
    ELSIF v_has_moved THEN
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT c.tenant_id, 'message_place', 'update', min(c.sent_at), max(c.sent_at), array_agg(i.id ORDER BY c.number, i.place)
        FROM (SELECT o.tenant_id, o.message_id, o.thread_id, o.sent_at, row_number() OVER () AS number
            FROM previous AS o JOIN changed AS n ON n.tenant_id = o.tenant_id AND n.message_id = o.message_id
                AND (n.sent_at, n.thread_id, n.direction) IS DISTINCT FROM (o.sent_at, o.thread_id, o.direction)) AS c
        CROSS JOIN LATERAL (VALUES (1, c.thread_id), (2, c.message_id)) AS i (place, id)
        GROUP BY c.tenant_id, c.number / 5000;
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO guestcomms_internal.replaced_messages (tenant_id, message_id, seq, guest_id, wedding_id, campaign_id, language, subject, body,
            word_count, search)
        SELECT o.tenant_id, o.message_id, l.seq, o.guest_id, o.wedding_id, o.campaign_id, o.language, o.subject, left(o.body, 20000),
            o.word_count, o.search
        FROM unnest(v_logged) AS l CROSS JOIN LATERAL unnest(l.ids) AS i (message_id)
        JOIN changed AS o ON o.tenant_id = l.tenant_id AND o.message_id = i.message_id;
    ELSIF TG_OP = 'UPDATE' THEN
        -- Only where what is counted has changed.
        INSERT INTO guestcomms_internal.replaced_messages (tenant_id, message_id, seq, guest_id, wedding_id, campaign_id, language, subject, body,
            word_count, search)
        SELECT o.tenant_id, o.message_id, l.seq, o.guest_id, o.wedding_id, o.campaign_id, o.language, o.subject, left(o.body, 20000),
            o.word_count, o.search
        FROM previous AS o
        JOIN changed AS n ON n.tenant_id = o.tenant_id AND n.message_id = o.message_id
            AND (n.guest_id, n.wedding_id, n.campaign_id, n.word_count, n.language, n.subject, n.body, n.search)
                IS DISTINCT FROM (o.guest_id, o.wedding_id, o.campaign_id, o.word_count, o.language, o.subject, o.body, o.search)
        JOIN unnest(v_logged) AS l ON l.tenant_id = o.tenant_id AND o.message_id = ANY (l.ids);
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO guestcomms_internal.undetected_messages (tenant_id, message_id, sent_at)
        SELECT c.tenant_id, c.message_id, c.sent_at FROM changed AS c WHERE c.language IS NULL
        -- One that was deleted and comes again may still be noted.
        ON CONFLICT ON CONSTRAINT undetected_messages_pkey DO NOTHING;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        -- First the few distinct languages, then one look-up each; a tenant's new language is rare. Two transactions may
        -- both note it: better than one that waits for the other's end.
        INSERT INTO guestcomms.tenant_languages (tenant_id, configuration)
        SELECT l.tenant_id, guestcomms_internal.search_configuration_v1(l.language)
        FROM (SELECT DISTINCT c.tenant_id, c.language FROM changed AS c) AS l
        WHERE NOT EXISTS (SELECT FROM guestcomms.tenant_languages AS k
            WHERE k.tenant_id = l.tenant_id AND k.configuration = guestcomms_internal.search_configuration_v1(l.language))
        GROUP BY 1, 2;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.log_message_changes() IS
'Logs which messages a statement changed, at most 10,000 a row, keeps what they were counted with before, and notes languages new to a tenant.';

CREATE FUNCTION guestcomms_internal.log_event_changes() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
    SELECT c.tenant_id, 'event', lower(TG_OP), min(c.occurred_at), max(c.occurred_at), array_agg(c.event_id)
    FROM (SELECT tenant_id, event_id, occurred_at, (row_number() OVER () - 1) / 10000 AS chunk FROM changed) AS c
    GROUP BY c.tenant_id, c.chunk;
    -- Which messages they were of: events that are gone do not tell.
    IF TG_OP = 'DELETE' THEN
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT c.tenant_id, 'event_message', 'delete', min(c.occurred_at), max(c.occurred_at), array_agg(DISTINCT c.message_id)
        FROM (SELECT tenant_id, message_id, occurred_at, (row_number() OVER () - 1) / 10000 AS chunk FROM changed) AS c
        GROUP BY c.tenant_id, c.chunk;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO guestcomms.change_log (tenant_id, kind, operation, since, until, ids)
        SELECT c.tenant_id, 'event_message', 'update', min(c.occurred_at), max(c.occurred_at), array_agg(DISTINCT c.message_id)
        FROM (SELECT tenant_id, message_id, occurred_at, (row_number() OVER () - 1) / 10000 AS chunk FROM previous) AS c
        GROUP BY c.tenant_id, c.chunk;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.log_event_changes() IS 'Logs which events a statement changed, at most 10,000 a row, and of which messages those were that it deleted or changed.';

CREATE FUNCTION guestcomms_internal.log_row_changes() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    EXECUTE format('INSERT INTO guestcomms.change_log (tenant_id, kind, operation, ids)'
        ' SELECT c.tenant_id, $1, $2, array_agg(c.id)'
        ' FROM (SELECT tenant_id, %I AS id, (row_number() OVER () - 1) / 10000 AS chunk FROM changed) AS c'
        ' GROUP BY c.tenant_id, c.chunk', TG_ARGV[1]) USING TG_ARGV[0], lower(TG_OP);
    -- What belongs to a message that is archived stays in the hot tables until a run writes it into the message's segment.
    IF TG_OP = 'INSERT' AND TG_ARGV[0] IN ('message_version', 'message_annotation', 'attachment') THEN
        EXECUTE format('INSERT INTO guestcomms_internal.late_details (tenant_id, message_id)'
            ' SELECT c.tenant_id, a.message_id'
            ' FROM (SELECT n.tenant_id, array_agg(DISTINCT n.%I) AS ids FROM changed AS n GROUP BY n.tenant_id) AS c'
            ' CROSS JOIN LATERAL unnest(guestcomms_internal.list_archived(c.tenant_id, c.ids)) AS a (message_id)', TG_ARGV[1]);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.log_row_changes() IS
'Logs which rows of a table a statement changed; arguments: kind, identifier column.';

CREATE FUNCTION guestcomms_internal.register_message_keys() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms.message_keys (tenant_id, source, external_id, message_id)
    SELECT c.tenant_id, c.source, c.external_id, c.message_id FROM changed AS c WHERE c.external_id IS NOT NULL
    ORDER BY 1, 2, 3;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.register_message_keys() IS
'Registers the external identifiers of messages loaded straight into the table; a known one is an error.';

CREATE FUNCTION guestcomms_internal.register_event_keys() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms.event_keys (tenant_id, source, external_id, event_id)
    SELECT c.tenant_id, c.source, c.external_id, c.event_id FROM changed AS c WHERE c.external_id IS NOT NULL
    ORDER BY 1, 2, 3;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.register_event_keys() IS
'Registers the external identifiers of events loaded straight into the table; a known one is an error.';

CREATE FUNCTION guestcomms_internal.check_import_tenant() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    -- The default stamps what the setting says; a statement could change the setting while it runs.
    IF TG_WHEN = 'AFTER' THEN
        IF EXISTS (SELECT FROM changed AS c WHERE c.tenant_id <> v_tenant) THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'rows were stamped with another tenant',
                HINT = 'Do not change the setting guestcomms.context while rows are loaded.';
        END IF;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_import_tenant() IS
'Before: that a tenant is open. After: that every row was stamped with it.';
