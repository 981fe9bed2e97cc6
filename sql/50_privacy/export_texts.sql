-- What an export says about the data beside the data: Art. 15(1) of the GDPR, and what is not in it.
CREATE FUNCTION guestcomms_internal.purposes_of(tenant_id uuid, guest_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := CASE WHEN purposes_of.guest_id IS NOT NULL THEN guestcomms_internal.same_guests(purposes_of.tenant_id, purposes_of.guest_id) END;
BEGIN
    RETURN coalesce(nullif(guestcomms_internal.setting('privacy.purposes', purposes_of.tenant_id), ''), array_to_string(ARRAY(
        SELECT DISTINCT CASE m.purpose WHEN 'marketing' THEN 'advertising' ELSE 'planning and holding the event' END FROM guestcomms.messages AS m
        WHERE m.tenant_id = purposes_of.tenant_id AND (v_guests IS NULL OR m.guest_id = ANY (v_guests))
        UNION
        -- Of archived messages the facts tell.
        SELECT CASE f.purpose WHEN 'marketing' THEN 'advertising' ELSE 'planning and holding the event' END
        FROM guestcomms_bi.dim_guest AS d
        CROSS JOIN LATERAL (SELECT DISTINCT n.purpose FROM guestcomms_bi.fact_message AS n WHERE n.tenant_id = d.tenant_id AND n.guest_key = d.guest_key) AS f
        WHERE d.tenant_id = purposes_of.tenant_id AND (v_guests IS NULL OR d.guest_id = ANY (v_guests))
        UNION
        SELECT format('%s (basis: %s)', CASE c.purpose WHEN 'marketing' THEN 'advertising' ELSE 'planning and holding the event' END, replace(c.basis, '_', ' '))
        FROM guestcomms.consents AS c WHERE c.tenant_id = purposes_of.tenant_id AND (v_guests IS NULL OR c.guest_id = ANY (v_guests)) AND c.is_granted), '; '));
END $$;
COMMENT ON FUNCTION guestcomms_internal.purposes_of(uuid, uuid) IS 'Purposes of processing, as the tenant''s setting says or as messages and consents show; of one guest, or of all.';

CREATE FUNCTION guestcomms_internal.recipients_of(tenant_id uuid, guest_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_guests uuid[] := CASE WHEN recipients_of.guest_id IS NOT NULL THEN guestcomms_internal.same_guests(recipients_of.tenant_id, recipients_of.guest_id) END;
BEGIN
    RETURN coalesce(nullif(guestcomms_internal.setting('privacy.recipients', recipients_of.tenant_id), ''),
        'The business itself, and the services that carried the messages: ' || coalesce(nullif(array_to_string(ARRAY(
            SELECT DISTINCT m.source FROM guestcomms.messages AS m
            WHERE m.tenant_id = recipients_of.tenant_id AND (v_guests IS NULL OR m.guest_id = ANY (v_guests))
            UNION
            -- Archived messages leave their keys.
            SELECT DISTINCT k.source FROM guestcomms.message_keys AS k WHERE v_guests IS NULL AND k.tenant_id = recipients_of.tenant_id
            UNION
            SELECT DISTINCT k.source FROM guestcomms.archive_segments AS s CROSS JOIN unnest(s.message_ids) AS i (id)
            CROSS JOIN LATERAL (SELECT o.source FROM guestcomms.message_keys AS o WHERE o.tenant_id = s.tenant_id AND o.message_id = i.id) AS k
            WHERE s.tenant_id = recipients_of.tenant_id AND s.guest_id = ANY (v_guests)
            ORDER BY 1), ', '), ''), 'none') || '.');
END $$;
COMMENT ON FUNCTION guestcomms_internal.recipients_of(uuid, uuid) IS 'Who receives the data, as the tenant''s setting says or as the sources of messages show; of one guest, or of all.';

CREATE FUNCTION guestcomms_internal.retention_in_force(tenant_id uuid, retention_class text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT string_agg(format('%s %s%s', p.keep_for, CASE p.counts_from WHEN 'wedding' THEN 'after the wedding' ELSE 'from when it came to be' END,
            ' (' || array_to_string(p.channels, ', ') || ')'), ', or ' ORDER BY p.keep_for, p.name)
        FROM guestcomms.retention_policies AS p
        WHERE p.tenant_id = retention_in_force.tenant_id AND p.retention_class = retention_in_force.retention_class AND p.is_enabled);
END $$;
COMMENT ON FUNCTION guestcomms_internal.retention_in_force(uuid, text) IS 'How long policies keep a class, in words; NULL where none does.';

CREATE FUNCTION guestcomms_internal.about_data(tenant_id uuid, guest_id uuid) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant text := (SELECT t.name FROM guestcomms.tenants AS t WHERE t.tenant_id = about_data.tenant_id);
BEGIN
    RETURN json_build_object(
        'controller', v_tenant,
        'purposes', guestcomms_internal.purposes_of(about_data.tenant_id, about_data.guest_id),
        'categories', 'Name, addresses, invitations and answers, consents, messages with their attachments'' names, what happened to messages (delivered, opened, read), and notes made about messages.',
        'recipients', guestcomms_internal.recipients_of(about_data.tenant_id, about_data.guest_id),
        'retention', coalesce(nullif(guestcomms_internal.setting('privacy.retention', about_data.tenant_id), ''),
            'Messages: ' || guestcomms_internal.retention_in_force(about_data.tenant_id, 'content') || '.', 'Until the business deletes it or is asked to.'),
        'source', 'What the guest wrote, gave or did; what was written to the guest; what the people who invited the guest gave.',
        'rights', json_build_array('to have it put right (Art. 16 GDPR)', 'to have it erased (Art. 17)', 'to have its use restricted (Art. 18)',
            'to take it elsewhere (Art. 20)', 'to object to its use, to advertising at any time (Art. 21)', 'to complain to a supervisory authority (Art. 77)'),
        'complaints', coalesce(nullif(guestcomms_internal.setting('privacy.complaint_route', about_data.tenant_id), ''), 'The supervisory authority of the place where the guest lives or works.'),
        'automated_decisions', 'None are made from this data by the message store.');
END $$;
COMMENT ON FUNCTION guestcomms_internal.about_data(uuid, uuid) IS 'Purposes, recipients, retention, source and rights, as the tenant''s settings say or as the data shows.';

CREATE FUNCTION guestcomms_internal.export_left_out(tenant_id uuid, export_id uuid) RETURNS json
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT json_agg(json_build_object('what', l.what, 'why', l.why) ORDER BY l.place)
    FROM guestcomms.exports AS e
    CROSS JOIN LATERAL (
        VALUES
            (1, 'contents of attachments', 'they are kept outside the message store; their names and sizes are here', true),
            (2, 'messages sent after ' || to_char(e.requested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', 'the export was asked for then', true),
            (3, 'search index, counts and statistics', 'they are computed from what is here', true),
            (4, 'audit trail', 'it says what the business did; its proof would break', true),
            (9, 'who withdrew a message and why, attempts at sending, merges with other entries, legal holds', 'records of how the business works; what came of it is in messages and events', true),
            (5, 'requests about data, and what programs and staff concluded about messages', 'portability is of data that was provided or observed (Art. 20 GDPR)', e.scope = 'portability'),
            (6, 'data of other people that was found in texts', 'their rights (Art. 15(4) GDPR); kinds stand in its place, as [phone]', e.redact_others AND NOT e.anonymize),
            (7, 'names, addresses, identifiers and times as they are', 'it is anonymised', e.anonymize),
            (8, format('messages of %s damaged segments of the archive', cardinality(e.damaged_segments)), 'they could not be read; the business has been told and may have a backup',
                cardinality(e.damaged_segments) > 0)
    ) AS l (place, what, why, is_so)
    WHERE e.tenant_id = export_left_out.tenant_id AND e.export_id = export_left_out.export_id AND l.is_so
$$;
COMMENT ON FUNCTION guestcomms_internal.export_left_out(uuid, uuid) IS 'What is not in an export, and why.';
