-- Templates: plain text with {{variables}} per channel, language and variant. \{ is a brace and \\ a backslash; there is no
-- code in them, and what is put in place of a variable is not looked through for others.
CREATE FUNCTION guestcomms_internal.template_token() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '(\\\\|\\\{|\{\{(?:\s*([a-z][a-z0-9_]{0,62}(?:\.[a-z][a-z0-9_]{0,62})?)\s*\}\})?)';
COMMENT ON FUNCTION guestcomms_internal.template_token() IS 'What in a template is not itself, as a regular expression: 1 the whole of it, 2 the variable''s name.';

CREATE FUNCTION guestcomms_internal.template_variables(template text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(SELECT DISTINCT t.found[2] FROM regexp_matches(template, guestcomms_internal.template_token(), 'g') AS t (found) WHERE t.found[2] IS NOT NULL ORDER BY 1);
END $$;
COMMENT ON FUNCTION guestcomms_internal.template_variables(text) IS 'The variables of a template.';

CREATE FUNCTION guestcomms_internal.fill_template(template text, variables jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- What stands between the tokens, and what each token stands for.
    RETURN (SELECT string_agg(b.between || coalesce(CASE WHEN t.found[2] IS NOT NULL THEN variables ->> t.found[2] ELSE right(t.found[1], 1) END, ''), '' ORDER BY b.place)
        FROM regexp_split_to_table(template, guestcomms_internal.template_token()) WITH ORDINALITY AS b (between, place)
        LEFT JOIN regexp_matches(template, guestcomms_internal.template_token(), 'g') WITH ORDINALITY AS t (found, place) ON t.place = b.place);
END $$;
COMMENT ON FUNCTION guestcomms_internal.fill_template(text, jsonb) IS 'A template whose variables all have values, with these in their places.';

CREATE FUNCTION guestcomms_internal.template_problem(part text, template text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_before text;
BEGIN
    SELECT string_agg(b.between || t.token, '' ORDER BY b.place) INTO v_before
    FROM regexp_split_to_table(template, guestcomms_internal.template_token()) WITH ORDINALITY AS b (between, place)
    JOIN (SELECT m.found[1] AS token, m.place, min(m.place) FILTER (WHERE m.found[1] = '{{' AND m.found[2] IS NULL) OVER () AS first_bad
        FROM regexp_matches(template, guestcomms_internal.template_token(), 'g') WITH ORDINALITY AS m (found, place)) AS t ON t.place = b.place AND t.place <= t.first_bad;
    RETURN CASE WHEN v_before IS NOT NULL THEN format('%s, character %s.', part, char_length(v_before) - 1) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.template_problem(text, text) IS 'Where a template has {{ that begins no variable, NULL for nowhere.';

CREATE FUNCTION guestcomms.set_template(name text, channel text, language text, subject text DEFAULT NULL, body text DEFAULT NULL, variant text DEFAULT 'a') RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_template uuid;
    v_problem text := CASE
        WHEN coalesce(char_length(set_template.name) NOT BETWEEN 1 AND 200, true) THEN format('name has %s characters.', coalesce(char_length(set_template.name), 0))
        WHEN coalesce(set_template.language !~ '^[a-z]{2,3}$', true) THEN 'language is no ISO 639-1 code.'
        WHEN coalesce(char_length(set_template.variant) NOT BETWEEN 1 AND 40, true) THEN format('variant has %s characters.', coalesce(char_length(set_template.variant), 0))
        WHEN coalesce(set_template.body, '') = '' OR octet_length(set_template.body) > 1048576 THEN format('body has %s bytes.', coalesce(octet_length(set_template.body), 0))
        WHEN char_length(set_template.subject) > 2000 THEN format('subject has %s characters.', char_length(set_template.subject)) END;
    v_place text;
BEGIN
    PERFORM guestcomms_internal.require_contact(set_template.channel, 'service', true);
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the template is not complete, or too long', DETAIL = v_problem,
            HINT = 'For example: set_template(''rsvp'', ''email'', ''en'', subject => ''{{wedding.name}}'', body => ''Dear {{guest.name}}, ...'').';
    END IF;
    v_place := coalesce(guestcomms_internal.template_problem('subject', set_template.subject), guestcomms_internal.template_problem('body', set_template.body));
    IF v_place IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the template has {{ that begins no variable', DETAIL = v_place,
            HINT = 'A variable is {{name}} or {{group.name}}, of lower-case letters, digits and _; two braces themselves are \{\{.';
    END IF;
    INSERT INTO guestcomms.message_templates AS t (tenant_id, name, channel, language, variant, subject, body)
    VALUES (v_tenant, set_template.name, set_template.channel, set_template.language, set_template.variant, set_template.subject, set_template.body)
    ON CONFLICT ON CONSTRAINT message_templates_name_key DO UPDATE SET subject = excluded.subject, body = excluded.body, retired_at = NULL
    RETURNING t.template_id INTO v_template;
    RETURN v_template;
END $$;
COMMENT ON FUNCTION guestcomms.set_template(text, text, text, text, text, text) IS
$$Sets the text that a template has for a channel, a language and a variant, in place of the one before, and returns template_id. {{name}} and {{group.name}} are variables; \{ is a brace and \\ a backslash. There is no code in templates; texts are plain, so what makes HTML of them escapes it.
Example: SELECT guestcomms.set_template('rsvp', 'email', 'en', subject => '{{wedding.name}}', body => 'Dear {{guest.name}}, will you come? {{link}}');
See also: render_template, list_templates, retire_template$$;

CREATE FUNCTION guestcomms.retire_template(name text, channel text DEFAULT NULL, language text DEFAULT NULL, variant text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_count bigint;
BEGIN
    UPDATE guestcomms.message_templates AS t SET retired_at = now()
    WHERE t.tenant_id = v_tenant AND t.name = retire_template.name AND t.retired_at IS NULL
        AND (retire_template.channel IS NULL OR t.channel = retire_template.channel) AND (retire_template.language IS NULL OR t.language = retire_template.language)
        AND (retire_template.variant IS NULL OR t.variant = retire_template.variant);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.retire_template(text, text, text, text) IS
$$Takes a template out of use, or only its texts of a channel, a language or a variant, and returns how many texts that were. They stay listed; set_template() brings one back.
Example: SELECT guestcomms.retire_template('rsvp', variant => 'b');
See also: set_template, list_templates$$;

CREATE FUNCTION guestcomms_internal.find_templates(of_name text, of_channel text, include_retired boolean, max_rows integer, after uuid)
RETURNS TABLE (template_id uuid, name text, channel text, language text, variant text, subject text, body text, variables text[], created_at timestamptz, retired_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_after guestcomms.message_templates;
BEGIN
    IF find_templates.max_rows IS NULL OR find_templates.max_rows NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds', DETAIL = format('max_rows is %s.', coalesce(find_templates.max_rows::text, 'null')),
            HINT = 'Give a number from 1 to 1000.';
    END IF;
    IF find_templates.after IS NOT NULL THEN
        SELECT * INTO v_after FROM guestcomms.message_templates AS t WHERE t.tenant_id = v_tenant AND t.template_id = find_templates.after;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such template', DETAIL = format('after is %s.', find_templates.after),
                HINT = 'after is the template_id of the last row of the page before.';
        END IF;
    END IF;
    RETURN QUERY
    SELECT t.template_id, t.name, t.channel, t.language, t.variant, t.subject, t.body,
        guestcomms_internal.template_variables(concat_ws(' ', t.subject, t.body)), t.created_at, t.retired_at
    FROM guestcomms.message_templates AS t
    WHERE t.tenant_id = v_tenant AND (of_name IS NULL OR t.name = of_name) AND (of_channel IS NULL OR t.channel = of_channel)
        AND (find_templates.include_retired OR t.retired_at IS NULL)
        AND (find_templates.after IS NULL OR (t.name, t.channel, t.language, t.variant) > (v_after.name, v_after.channel, v_after.language, v_after.variant))
    ORDER BY t.name, t.channel, t.language, t.variant
    LIMIT find_templates.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_templates(text, text, boolean, integer, uuid) IS 'What list_templates() lists.';

CREATE FUNCTION guestcomms.list_templates(name text DEFAULT NULL, channel text DEFAULT NULL, include_retired boolean DEFAULT false, max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (template_id uuid, name text, channel text, language text, variant text, subject text, body text, variables text[], created_at timestamptz, retired_at timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
    -- By number, as in list_attachments().
    SELECT * FROM guestcomms_internal.find_templates($1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION guestcomms.list_templates(text, text, boolean, integer, uuid) IS
$$The tenant's templates with their texts and variables, by name, channel, language and variant. For the next page, after is the last row's template_id.
Example: SELECT channel, language, variant, variables FROM guestcomms.list_templates('rsvp');
See also: set_template, render_template$$;
