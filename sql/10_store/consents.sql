-- Consents and objections: rows are only added, and of those about a purpose the latest counts that is about the channel or
-- about all channels. Of two at the same moment the objection does.
CREATE FUNCTION guestcomms_internal.latest_consent(tenant_id uuid, guest_id uuid, channel text, purpose text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT c.is_granted FROM guestcomms.consents AS c
        WHERE c.tenant_id = latest_consent.tenant_id AND c.guest_id = latest_consent.guest_id AND c.purpose = latest_consent.purpose
            AND (c.channel = latest_consent.channel OR c.channel IS NULL)
        ORDER BY c.recorded_at DESC, c.is_granted LIMIT 1);
END $$;
COMMENT ON FUNCTION guestcomms_internal.latest_consent(uuid, uuid, text, text) IS
'A guest''s latest word about being written to on a channel for a purpose: consent, objection, or NULL where there is none.';

CREATE FUNCTION guestcomms_internal.is_objecting(tenant_id uuid, guest_id uuid, channel text, purpose text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN coalesce(NOT guestcomms_internal.latest_consent(is_objecting.tenant_id, is_objecting.guest_id, is_objecting.channel, is_objecting.purpose), false);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_objecting(uuid, uuid, text, text) IS
'Whether a guest''s latest word about a purpose on a channel is an objection; one look-up by index.';

CREATE FUNCTION guestcomms_internal.contact_refusal(tenant_id uuid, guest_id uuid, channel text, purpose text, needs_consent boolean) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_guest record;
    v_is_granted boolean;
BEGIN
    SELECT g.erased_at, g.restricted_at INTO v_guest FROM guestcomms.guests AS g
    WHERE g.tenant_id = contact_refusal.tenant_id AND g.guest_id = contact_refusal.guest_id;
    IF v_guest.erased_at IS NOT NULL THEN
        RETURN 'erased';
    ELSIF v_guest.restricted_at IS NOT NULL THEN
        RETURN 'restricted';
    END IF;
    v_is_granted := guestcomms_internal.latest_consent(contact_refusal.tenant_id, contact_refusal.guest_id, contact_refusal.channel, contact_refusal.purpose);
    RETURN CASE WHEN NOT v_is_granted THEN 'objection'
        WHEN v_is_granted IS NULL AND contact_refusal.purpose = 'marketing' AND contact_refusal.needs_consent THEN 'no_consent' END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.contact_refusal(uuid, uuid, text, text, boolean) IS
'Why a guest must not be written to on a channel for a purpose: erased, restricted, objection or, where marketing needs consent, no_consent; NULL for no reason.';

CREATE FUNCTION guestcomms_internal.needs_consent(tenant_id uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN guestcomms_internal.setting('consent.marketing_needs_consent', tenant_id)::boolean;
COMMENT ON FUNCTION guestcomms_internal.needs_consent(uuid) IS 'Whether a tenant''s marketing needs consent before.';

CREATE FUNCTION guestcomms_internal.require_contact(channel text, purpose text, is_channel_required boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF channel NOT IN ('email', 'sms', 'whatsapp', 'chat') OR channel IS NULL AND is_channel_required THEN
        PERFORM guestcomms_internal.raise_ingest_problem('channel', format('%s characters were given.', coalesce(char_length(channel), 0)));
    ELSIF coalesce(purpose NOT IN ('service', 'marketing'), true) THEN
        PERFORM guestcomms_internal.raise_ingest_problem('purpose', format('%s characters were given.', coalesce(char_length(purpose), 0)));
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_contact(text, text, boolean) IS 'Raises for a channel or a purpose that there is not.';

CREATE FUNCTION guestcomms_internal.require_guest(tenant_id uuid, guest_id uuid) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = require_guest.tenant_id AND g.guest_id = require_guest.guest_id) THEN
        PERFORM guestcomms_internal.raise_ingest_problem('guest', 'guest_id ' || coalesce(require_guest.guest_id::text, 'is missing') || '.');
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_guest(uuid, uuid) IS 'Raises for a guest that the tenant does not have.';

CREATE FUNCTION guestcomms.record_consent(
    guest_id uuid, purpose text, is_granted boolean, channel text DEFAULT NULL, basis text DEFAULT 'consent', source text DEFAULT 'staff',
    recorded_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid;
    v_consent uuid;
BEGIN
    PERFORM guestcomms_internal.require_contact(record_consent.channel, record_consent.purpose, false);
    IF record_consent.is_granted IS NULL OR coalesce(record_consent.basis NOT IN ('consent', 'contract', 'legitimate_interest'), true)
        OR coalesce(char_length(record_consent.source) NOT BETWEEN 1 AND 100, true)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a consent says whether, on what basis and where it was given',
            DETAIL = format('is_granted is %s; source has %s characters.', coalesce(record_consent.is_granted::text, 'null'), coalesce(char_length(record_consent.source), 0)),
            HINT = 'basis: consent, contract or legitimate_interest; source: 1 to 100 characters, such as form, message or staff.';
    ELSIF record_consent.recorded_at NOT BETWEEN '1995-01-01 00:00+00' AND clock_timestamp() + interval '5 minutes' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the consent cannot have been given then', DETAIL = format('recorded_at is %s.', record_consent.recorded_at),
            HINT = 'Give the moment at which the guest said so; the latest word counts.';
    END IF;
    PERFORM guestcomms_internal.require_guest(v_tenant, record_consent.guest_id);
    v_guest := guestcomms_internal.lock_kept_guest(v_tenant, record_consent.guest_id);
    -- By the clock, not by the transaction: of two words within one the later counts.
    INSERT INTO guestcomms.consents AS c (tenant_id, guest_id, channel, purpose, is_granted, basis, source, recorded_at)
    VALUES (v_tenant, v_guest, record_consent.channel, record_consent.purpose, record_consent.is_granted, record_consent.basis,
        record_consent.source, least(record_consent.recorded_at, clock_timestamp()))
    RETURNING c.consent_id INTO v_consent;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'record_consent', 'guest ' || v_guest);
    RETURN v_consent;
END $$;
COMMENT ON FUNCTION guestcomms.record_consent(uuid, text, boolean, text, text, text, timestamptz) IS
$$Adds what a guest said about being written to, consent or objection, and returns consent_id. purpose: service or marketing; without a channel it is about all of them; basis: consent, contract or legitimate_interest; source: where it was said; recorded_at: when, without it now. The latest word about a channel or about all of them counts, also of several within a transaction. STOP and START in messages are recorded by themselves.
Example: SELECT guestcomms.record_consent('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'marketing', false, source => 'telephone');
See also: check_contact_allowed, list_consents, record_message, set_opt_out_words$$;

CREATE FUNCTION guestcomms.list_consents(guest_id uuid, max_rows integer DEFAULT 100)
RETURNS TABLE (consent_id uuid, purpose text, channel text, is_granted boolean, basis text, source text, recorded_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 10 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.kept_guest(v_tenant, list_consents.guest_id);
BEGIN
    IF list_consents.max_rows IS NULL OR list_consents.max_rows NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds', DETAIL = format('max_rows is %s.', coalesce(list_consents.max_rows::text, 'null')),
            HINT = 'Give a number from 1 to 1000.';
    END IF;
    RETURN QUERY
    SELECT c.consent_id, c.purpose, c.channel, c.is_granted, c.basis, c.source, c.recorded_at
    FROM guestcomms.consents AS c
    WHERE c.tenant_id = v_tenant AND c.guest_id = v_guest
    ORDER BY c.recorded_at DESC, c.is_granted, c.consent_id
    LIMIT list_consents.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms.list_consents(uuid, integer) IS
$$What a guest has said about being written to, the latest first: of those about a purpose the first one that names the channel, or none, counts.
Example: SELECT purpose, channel, is_granted, source, recorded_at FROM guestcomms.list_consents('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10');
See also: record_consent, check_contact_allowed$$;

CREATE FUNCTION guestcomms.check_contact_allowed(guest_id uuid, channel text, purpose text, OUT is_allowed boolean, OUT reason text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.kept_guest(v_tenant, check_contact_allowed.guest_id);
BEGIN
    PERFORM guestcomms_internal.require_contact(check_contact_allowed.channel, check_contact_allowed.purpose, true);
    PERFORM guestcomms_internal.require_guest(v_tenant, check_contact_allowed.guest_id);
    reason := guestcomms_internal.contact_refusal(v_tenant, v_guest, check_contact_allowed.channel, check_contact_allowed.purpose,
        guestcomms_internal.needs_consent(v_tenant));
    IF reason IS NULL AND NOT EXISTS (SELECT FROM guestcomms.guest_addresses AS a
        WHERE a.tenant_id = v_tenant AND a.guest_id = v_guest AND a.channel = check_contact_allowed.channel)
    THEN
        reason := 'no_address';
    END IF;
    is_allowed := reason IS NULL;
END $$;
COMMENT ON FUNCTION guestcomms.check_contact_allowed(uuid, text, text) IS
$$Whether a guest may be written to on a channel for a purpose (service or marketing), and if not why: erased, restricted (Art. 18), objection (the latest word), no_consent (marketing without a word, where the setting consent.marketing_needs_consent asks for one) or no_address (none on that channel). Marketing that is refused for one of the first four cannot be recorded as to be sent.
Example: SELECT is_allowed, reason FROM guestcomms.check_contact_allowed('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'email', 'marketing');
See also: record_consent, list_consents, record_message$$;
