-- Rendering: which text of a template a guest gets, and what its variables stand for.
CREATE FUNCTION guestcomms_internal.choose_template(tenant_id uuid, name text, channel text, guest_id uuid, languages text[], variant text) RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_texts guestcomms.message_templates[] := ARRAY(SELECT t FROM guestcomms.message_templates AS t
        WHERE t.tenant_id = choose_template.tenant_id AND t.name = choose_template.name AND t.channel = choose_template.channel AND t.retired_at IS NULL
            AND (choose_template.variant IS NULL OR t.variant = choose_template.variant)
        ORDER BY t.language, t.variant);
    v_language text := (SELECT t.language FROM unnest(v_texts) AS t
        ORDER BY coalesce(array_position(choose_template.languages, t.language), 1000), t.language LIMIT 1);
    v_hash bytea := sha256(convert_to(choose_template.name || ' ' || choose_template.guest_id, 'UTF8'));
BEGIN
    v_texts := ARRAY(SELECT t FROM unnest(v_texts) AS t WHERE t.language = v_language ORDER BY t.variant);
    -- The same guest gets the same variant whenever it is rendered, and of another template perhaps another.
    RETURN (v_texts[1 + ((get_byte(v_hash, 0) << 16) + (get_byte(v_hash, 1) << 8) + get_byte(v_hash, 2)) % nullif(cardinality(v_texts), 0)]).template_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.choose_template(uuid, text, text, uuid, text[], text) IS
'The text of a template in the first of the languages that it has, else in any, of the variant that falls to the guest.';

CREATE FUNCTION guestcomms_internal.guest_wedding(tenant_id uuid, guest_id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT g.wedding_id FROM guestcomms.wedding_guests AS g
        JOIN guestcomms.weddings AS w ON w.tenant_id = g.tenant_id AND w.wedding_id = g.wedding_id
        WHERE g.tenant_id = guest_wedding.tenant_id AND g.guest_id = guest_wedding.guest_id
        -- What comes next, else what was last.
        ORDER BY w.held_on < current_date NULLS LAST, abs(w.held_on - current_date), w.wedding_id LIMIT 1);
END $$;
COMMENT ON FUNCTION guestcomms_internal.guest_wedding(uuid, uuid) IS 'The wedding that a guest takes part in next, else the last one.';

CREATE FUNCTION guestcomms_internal.built_in_variables(tenant_id uuid, guest_id uuid, wedding_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT jsonb_strip_nulls(jsonb_build_object('guest.name', g.display_name, 'guest.language', g.language, 'tenant.name', t.name,
            'wedding.name', w.name, 'wedding.held_on', w.held_on, 'wedding.place', w.place))
        FROM guestcomms.tenants AS t
        JOIN guestcomms.guests AS g ON g.tenant_id = t.tenant_id AND g.guest_id = built_in_variables.guest_id
        LEFT JOIN guestcomms.weddings AS w ON w.tenant_id = t.tenant_id AND w.wedding_id = built_in_variables.wedding_id
        WHERE t.tenant_id = built_in_variables.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.built_in_variables(uuid, uuid, uuid) IS 'Variables that every template may use, those without a value left out.';

CREATE FUNCTION guestcomms_internal.render(
    name text, guest_id uuid, channel text, variables jsonb, language text, variant text, wedding_id uuid,
    OUT subject text, OUT body text, OUT used_language text, OUT used_variant text, OUT template_id uuid
)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.kept_guest(v_tenant, render.guest_id);
    v_wedding uuid := render.wedding_id;
    v_template guestcomms.message_templates;
    v_used text[];
    v_values jsonb;
    v_missing text[];
BEGIN
    PERFORM guestcomms_internal.require_contact(render.channel, 'service', true);
    PERFORM guestcomms_internal.require_guest(v_tenant, render.guest_id);
    IF coalesce(jsonb_typeof(render.variables), 'object') <> 'object'
        OR EXISTS (SELECT FROM jsonb_each(render.variables) AS v WHERE jsonb_typeof(v.value) IN ('array', 'object'))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'variables are not an object of texts', DETAIL = 'A value is an array or an object, or all is.',
            HINT = 'For example: {"link": "https://example.com/rsvp", "group.seats": 8}; a name with a dot is one key.';
    END IF;
    SELECT * INTO v_template FROM guestcomms.message_templates AS t
    WHERE t.tenant_id = v_tenant AND t.template_id = guestcomms_internal.choose_template(v_tenant, render.name, render.channel, v_guest, ARRAY[render.language,
        (SELECT g.language FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = v_guest),
        (SELECT t.language FROM guestcomms.tenants AS t WHERE t.tenant_id = v_tenant), 'en'], render.variant);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such template for this channel',
            DETAIL = format('channel is %s, variant %s.', render.channel, CASE WHEN render.variant IS NULL THEN 'any' ELSE 'given' END),
            HINT = 'SELECT name, channel, language, variant FROM guestcomms.list_templates();';
    END IF;
    v_used := guestcomms_internal.template_variables(concat_ws(' ', v_template.subject, v_template.body));
    IF v_wedding IS NULL AND EXISTS (SELECT FROM unnest(v_used) AS u (variable) WHERE starts_with(u.variable, 'wedding.')) THEN
        v_wedding := guestcomms_internal.guest_wedding(v_tenant, v_guest);
    END IF;
    v_values := guestcomms_internal.built_in_variables(v_tenant, v_guest, v_wedding) || jsonb_strip_nulls(coalesce(render.variables, '{}'));
    v_missing := ARRAY(SELECT u.variable FROM unnest(v_used) AS u (variable) WHERE NOT v_values ? u.variable ORDER BY 1);
    IF cardinality(v_missing) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'variables of the template have no value', DETAIL = array_to_string(v_missing, ', ') || '.',
            HINT = 'Give them as variables => ''{"name": "value"}''. Of themselves there are guest.name, guest.language, tenant.name, wedding.name, wedding.held_on and wedding.place, where the store knows them.';
    END IF;
    subject := guestcomms_internal.fill_template(v_template.subject, v_values);
    body := guestcomms_internal.fill_template(v_template.body, v_values);
    IF octet_length(body) > 1048576 THEN
        PERFORM guestcomms_internal.raise_ingest_problem('body_size', format('%s bytes.', octet_length(body)));
    ELSIF char_length(subject) > 2000 THEN
        PERFORM guestcomms_internal.raise_ingest_problem('subject_size', format('%s characters.', char_length(subject)));
    END IF;
    used_language := v_template.language;
    used_variant := v_template.variant;
    template_id := v_template.template_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.render(text, uuid, text, jsonb, text, text, uuid) IS 'What render_template() returns.';

CREATE FUNCTION guestcomms.render_template(
    name text, guest_id uuid, channel text, variables jsonb DEFAULT '{}', language text DEFAULT NULL, variant text DEFAULT NULL, wedding_id uuid DEFAULT NULL
) RETURNS TABLE (subject text, body text, language text, variant text, template_id uuid)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 1 SET search_path FROM CURRENT
AS $$
    -- By number, as in list_attachments().
    SELECT * FROM guestcomms_internal.render($1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION guestcomms.render_template(text, uuid, text, jsonb, text, text, uuid) IS
$$The text of a template for a guest, in the first language that it has of: the one given, the guest's, the tenant's, English, any. Of several variants a guest always gets the same one, unless variant names another. variables gives values of the template's variables; guest.name, guest.language, tenant.name and, of wedding_id or the guest's next wedding, wedding.name, wedding.held_on and wedding.place come from the store. Variables without a value are an error that names all of them. Values are plain text: braces in them mean nothing. Nothing is recorded: give the text to record_message().
Example: SELECT subject, body, language, variant FROM guestcomms.render_template('rsvp', '7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'email', '{"link": "https://example.com/rsvp"}');
See also: set_template, list_templates, record_message, check_contact_allowed$$;
