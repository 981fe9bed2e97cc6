-- Retention: what of each class a policy removes, and the policies. Nothing goes by age before somebody adds a policy.
CREATE FUNCTION guestcomms_internal.retention_effects() RETURNS TABLE (retention_class text, has_policy boolean, may_follow_wedding boolean, steps text[], effect text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES
        ('content', true, true, ARRAY['messages', 'archive', 'threads'],
         'messages are removed with earlier texts, attachments, annotations, events and external identifiers, in the tables and in the archive; conversations without messages lose their subjects; statistics keep their numbers'),
        ('behaviour', true, true, ARRAY['messages', 'archive'],
         'messages lose their events, annotations and the time a guest read them, in the tables and in the archive; statistics keep their numbers'),
        ('contact', true, true, ARRAY['guests', 'weddings'],
         'guests who wrote nothing, were written nothing and have no wedding since then lose names and addresses and count as erased; weddings of before lose their names'),
        ('operational', true, false, ARRAY['runs'],
         'records of what was archived and removed by policy go; states and settings stay with what they are of'),
        ('security', true, false, ARRAY['audit'],
         'details of the audit trail go; its sealed entries stay, and stay verifiable'),
        ('proof', true, false, ARRAY['requests', 'consents', 'holds', 'exports'],
         'requests that were closed, consents that a later word of the guest replaced, holds that ended and records of exports without a file go'),
        ('key', false, false, ARRAY[]::text[],
         'identifiers go with what they identify');
END;
COMMENT ON FUNCTION guestcomms_internal.retention_effects() IS
'What a policy does with data of each class, in which steps; every class of retention_classes() is here.';

CREATE FUNCTION guestcomms.add_retention_policy(
    name text, retention_class text, keep_for interval, counts_from text DEFAULT 'age', channels text[] DEFAULT NULL, is_enabled boolean DEFAULT true
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_effect record;
    v_policy uuid;
BEGIN
    SELECT e.* INTO v_effect FROM guestcomms_internal.retention_effects() AS e WHERE e.retention_class = add_retention_policy.retention_class AND e.has_policy;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there are no policies of that class',
            DETAIL = format('retention_class is %s.', coalesce(quote_literal(add_retention_policy.retention_class), 'null')),
            HINT = 'Give content, behaviour, contact, operational, security or proof.';
    ELSIF coalesce(char_length(add_retention_policy.name), 0) NOT BETWEEN 1 AND 200
        OR coalesce(add_retention_policy.keep_for NOT BETWEEN interval '1 day' AND interval '100 years', true)
        OR coalesce(add_retention_policy.counts_from NOT IN ('age', 'wedding'), true)
        OR add_retention_policy.counts_from = 'wedding' AND NOT v_effect.may_follow_wedding
        OR add_retention_policy.channels IS NOT NULL AND add_retention_policy.retention_class NOT IN ('content', 'behaviour')
        OR NOT coalesce(add_retention_policy.channels, '{}') <@ '{email,sms,whatsapp,chat}' OR cardinality(add_retention_policy.channels) = 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the policy is not valid',
            DETAIL = 'It has a name of at most 200 characters; keep_for is from a day to 100 years; counts_from is age or, for content, behaviour and contact, wedding;'
                ' channels are of email, sms, whatsapp, chat, and for content and behaviour only.',
            HINT = 'SELECT guestcomms.add_retention_policy(''two years'', ''content'', keep_for => ''2 years'');';
    END IF;
    -- A name that is there is given these values, and its sweep begins anew: so that a deployment may run twice.
    INSERT INTO guestcomms.retention_policies AS p (tenant_id, name, retention_class, keep_for, counts_from, channels, is_enabled)
    VALUES (v_tenant, add_retention_policy.name, add_retention_policy.retention_class, add_retention_policy.keep_for, add_retention_policy.counts_from,
        add_retention_policy.channels, coalesce(add_retention_policy.is_enabled, true))
    ON CONFLICT ON CONSTRAINT retention_policies_name_key DO UPDATE
    SET retention_class = excluded.retention_class, keep_for = excluded.keep_for, counts_from = excluded.counts_from, channels = excluded.channels,
        is_enabled = excluded.is_enabled, is_pending = true, step = NULL, reached_at = NULL, reached_id = NULL, error_code = NULL
    RETURNING p.policy_id INTO v_policy;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'add_retention_policy', 'retention policy ' || v_policy, jsonb_strip_nulls(jsonb_build_object(
        'retention_class', add_retention_policy.retention_class, 'keep_for', add_retention_policy.keep_for, 'counts_from', add_retention_policy.counts_from,
        'channels', add_retention_policy.channels, 'is_enabled', add_retention_policy.is_enabled)));
    RETURN v_policy;
END $$;
COMMENT ON FUNCTION guestcomms.add_retention_policy(text, text, interval, text, text[], boolean) IS
$$Has data of a class of the current tenant removed once keep_for is over, and returns policy_id; a policy of that name is given these values. retention_class: content (messages with all that belongs to them, archived ones too), behaviour (events, annotations, when guests read), contact (names and addresses of guests nobody hears from), operational (records of runs), security (details of the audit trail) or proof (closed requests, replaced consents, ended holds). counts_from: age, or wedding: from the day of its wedding, where that is later; what has no wedding with a day then stays. channels limits content and behaviour to some. What is under a hold, waits to be sent, or is of a guest whose data is restricted stays. Of several policies of a class the first that applies removes. Look at preview_retention() before the job runs.
Example: SELECT guestcomms.add_retention_policy('a year after the wedding', 'content', keep_for => '1 year', counts_from => 'wedding');
See also: preview_retention, run_retention, list_retention_policies, remove_retention_policy, place_hold$$;

CREATE FUNCTION guestcomms.remove_retention_policy(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_policy uuid;
BEGIN
    DELETE FROM guestcomms.retention_policies AS p WHERE p.tenant_id = v_tenant AND p.name = remove_retention_policy.name RETURNING p.policy_id INTO v_policy;
    IF v_policy IS NULL THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'remove_retention_policy', 'retention policy ' || v_policy);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.remove_retention_policy(text) IS
$$Removes a policy of the current tenant; false where there is none of that name. What was removed by it does not come back.
Example: SELECT guestcomms.remove_retention_policy('two years');
See also: add_retention_policy, list_retention_policies$$;

CREATE FUNCTION guestcomms.list_retention_policies()
RETURNS TABLE (policy_id uuid, name text, retention_class text, keep_for interval, counts_from text, channels text[], is_enabled boolean, effect text, created_at timestamptz,
    swept_at timestamptz, error_code text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT p.policy_id, p.name, p.retention_class, p.keep_for, p.counts_from, p.channels, p.is_enabled, e.effect, p.created_at, p.swept_at, p.error_code
    FROM guestcomms.retention_policies AS p JOIN guestcomms_internal.retention_effects() AS e ON e.retention_class = p.retention_class
    WHERE p.tenant_id = v_tenant ORDER BY p.name;
END $$;
COMMENT ON FUNCTION guestcomms.list_retention_policies() IS
$$The current tenant's retention policies, what each removes, when a run last came to its end and whether it failed (error_code, a SQLSTATE).
Example: SELECT name, retention_class, keep_for, swept_at FROM guestcomms.list_retention_policies();
See also: add_retention_policy, preview_retention, list_retention_runs$$;

CREATE FUNCTION guestcomms_internal.retention_cutoff(tenant_id uuid, keep_for interval, as_of timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Months by the tenant's calendar, not by that of whoever asks.
    RETURN (SELECT (retention_cutoff.as_of AT TIME ZONE t.timezone - retention_cutoff.keep_for) AT TIME ZONE t.timezone FROM guestcomms.tenants AS t WHERE t.tenant_id = retention_cutoff.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.retention_cutoff(uuid, interval, timestamptz) IS 'What counts from before this is kept no longer.';

CREATE FUNCTION guestcomms_internal.wedding_day(tenant_id uuid, wedding_id uuid) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT w.held_on::timestamp AT TIME ZONE coalesce(w.timezone, t.timezone)
        FROM guestcomms.weddings AS w JOIN guestcomms.tenants AS t ON t.tenant_id = w.tenant_id
        WHERE w.tenant_id = wedding_day.tenant_id AND w.wedding_id = wedding_day.wedding_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.wedding_day(uuid, uuid) IS 'When the day of a wedding begins, by the clock of its place; NULL where it has none.';

CREATE FUNCTION guestcomms_internal.retention_counts_from(
    tenant_id uuid, counts_from text, at timestamptz, guest_id uuid, thread_id uuid, wedding_id uuid
) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_wedding uuid := retention_counts_from.wedding_id;
    v_day timestamptz;
    v_guests uuid[];
BEGIN
    IF retention_counts_from.counts_from = 'age' THEN
        RETURN retention_counts_from.at;
    END IF;
    -- The message's wedding, or else that of its conversation, or else the last of the guest's.
    IF v_wedding IS NULL THEN
        v_wedding := (SELECT t.wedding_id FROM guestcomms.threads AS t WHERE t.tenant_id = retention_counts_from.tenant_id AND t.thread_id = retention_counts_from.thread_id);
    END IF;
    IF v_wedding IS NOT NULL THEN
        v_day := guestcomms_internal.wedding_day(retention_counts_from.tenant_id, v_wedding);
    ELSE
        v_guests := guestcomms_internal.same_guests(retention_counts_from.tenant_id, retention_counts_from.guest_id);
        SELECT CASE WHEN bool_and(d.day IS NOT NULL) THEN max(d.day) END INTO v_day
        FROM guestcomms.wedding_guests AS g CROSS JOIN LATERAL (SELECT guestcomms_internal.wedding_day(g.tenant_id, g.wedding_id) AS day) AS d
        WHERE g.tenant_id = retention_counts_from.tenant_id AND g.guest_id = ANY (v_guests);
    END IF;
    -- What is written after the day counts from when it is written.
    RETURN CASE WHEN v_day IS NOT NULL THEN greatest(v_day, retention_counts_from.at) END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.retention_counts_from(uuid, text, timestamptz, uuid, uuid, uuid) IS
'The time from which a policy counts for something of that time, guest, conversation and wedding; NULL where its wedding, or one of the guest''s, has no day.';
