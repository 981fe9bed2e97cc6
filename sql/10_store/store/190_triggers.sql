-- Triggers: the change log on every table that later modules follow; statement level only
DO $triggers$
DECLARE
    v_table record;
    v_operation record;
BEGIN
    FOR v_table IN SELECT * FROM (VALUES
        ('messages', 'log_message_changes', NULL),
        ('message_events', 'log_event_changes', NULL),
        ('guests', 'log_row_changes', '''guest'', ''guest_id'''),
        ('threads', 'log_row_changes', '''thread'', ''thread_id'''),
        ('weddings', 'log_row_changes', '''wedding'', ''wedding_id'''),
        ('campaigns', 'log_row_changes', '''campaign'', ''campaign_id'''),
        ('tenants', 'log_row_changes', '''tenant'', ''tenant_id'''),
        ('wedding_guests', 'log_row_changes', '''wedding_guest'', ''guest_id'''),
        ('guest_addresses', 'log_row_changes', '''guest_address'', ''guest_id'''),
        ('consents', 'log_row_changes', '''consent'', ''guest_id'''),
        ('message_versions', 'log_row_changes', '''message_version'', ''message_id'''),
        ('message_annotations', 'log_row_changes', '''message_annotation'', ''message_id'''),
        ('attachments', 'log_row_changes', '''attachment'', ''message_id'''),
        ('message_templates', 'log_row_changes', '''message_template'', ''template_id''')
    ) AS t (name, function, arguments) LOOP
        FOR v_operation IN SELECT * FROM (VALUES
            ('INSERT', 'NEW TABLE AS changed'), ('UPDATE', 'NEW TABLE AS changed'), ('DELETE', 'OLD TABLE AS changed')
        ) AS o (name, transition) LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON guestcomms.%I REFERENCING %s FOR EACH STATEMENT%s'
                ' EXECUTE FUNCTION guestcomms_internal.%I(%s)',
                'log_' || lower(v_operation.name), v_operation.name, v_table.name,
                -- What an edit of a message replaced is kept until it is taken out of the search statistics; of an event, what it was of.
                CASE WHEN v_table.name IN ('messages', 'message_events') AND v_operation.name = 'UPDATE' THEN 'OLD TABLE AS previous ' ELSE '' END || v_operation.transition,
                -- What the archive moves has not changed; it logs the move itself.
                CASE WHEN v_operation.name <> 'UPDATE' AND v_table.name IN ('messages', 'message_events', 'message_versions', 'message_annotations', 'attachments')
                    -- Nor has a thread whose row follows its messages: these are logged.
                    OR v_operation.name = 'UPDATE' AND v_table.name = 'threads'
                    THEN ' WHEN (current_user <> ''guestcomms_engine'')' ELSE '' END,
                v_table.function, v_table.arguments);
        END LOOP;
    END LOOP;
END $triggers$;

-- Functions of the store register their keys themselves, and those of the archive keep them; rows that an operator loads by COPY get theirs here.
CREATE TRIGGER register_keys AFTER INSERT ON guestcomms.messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (current_user NOT IN ('guestcomms_owner', 'guestcomms_engine')) EXECUTE FUNCTION guestcomms_internal.register_message_keys();
CREATE TRIGGER register_keys AFTER INSERT ON guestcomms.message_events REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (current_user NOT IN ('guestcomms_owner', 'guestcomms_engine')) EXECUTE FUNCTION guestcomms_internal.register_event_keys();

-- Before, so that a long COPY without a context fails at once; after, to see what was stamped.
CREATE TRIGGER require_tenant BEFORE INSERT ON guestcomms.import_messages
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.check_import_tenant();
CREATE TRIGGER check_tenant AFTER INSERT ON guestcomms.import_messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.check_import_tenant();
