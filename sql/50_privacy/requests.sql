-- Requests of guests about their data: states, calendar deadlines, and a step written down for whatever is done.
CREATE FUNCTION guestcomms_internal.request_due_on(received_on date, months integer) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    -- A month from 31 January ends with February: adding months to a date stops at the last day of the month.
    SELECT (received_on + make_interval(months => months))::date
$$;
COMMENT ON FUNCTION guestcomms_internal.request_due_on(date, integer) IS 'Last day of a time of so many calendar months that began on received_on.';

CREATE FUNCTION guestcomms_internal.local_day(tenant_id uuid, at timestamptz) RETURNS date
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT (local_day.at AT TIME ZONE t.timezone)::date FROM guestcomms.tenants AS t WHERE t.tenant_id = local_day.tenant_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.local_day(uuid, timestamptz) IS 'The day of a time by the tenant''s clock.';

CREATE FUNCTION guestcomms_internal.note_request_step(tenant_id uuid, request_id uuid, step text, note text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    IF char_length(note_request_step.note) NOT BETWEEN 1 AND 2000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the text is too short or too long',
            DETAIL = format('It has %s characters.', char_length(note_request_step.note)), HINT = 'Give between 1 and 2000 characters.';
    END IF;
    INSERT INTO guestcomms.subject_request_steps (tenant_id, request_id, step_number, step, note)
    SELECT note_request_step.tenant_id, note_request_step.request_id, coalesce(max(s.step_number), 0) + 1, note_request_step.step, note_request_step.note
    FROM guestcomms.subject_request_steps AS s
    WHERE s.tenant_id = note_request_step.tenant_id AND s.request_id = note_request_step.request_id;
    PERFORM guestcomms_internal.record_audit(note_request_step.tenant_id, 'request_' || note_request_step.step, 'request ' || note_request_step.request_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_request_step(uuid, uuid, text, text) IS
'Adds a step to a request, which the caller has locked, and to the audit trail; the note is in the step alone.';

CREATE FUNCTION guestcomms_internal.lock_request(
    tenant_id uuid, request_id uuid, OUT kind text, OUT guest_id uuid, OUT received_on date, OUT due_on date, OUT is_confirmed boolean, OUT is_extended boolean
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_status text;
BEGIN
    SELECT r.status, r.kind, r.guest_id, r.received_on, r.due_on, r.identity_confirmed_at IS NOT NULL, r.extended_at IS NOT NULL
    INTO v_status, kind, guest_id, received_on, due_on, is_confirmed, is_extended
    FROM guestcomms.subject_requests AS r
    WHERE r.tenant_id = lock_request.tenant_id AND r.request_id = lock_request.request_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such request', DETAIL = format('request_id %s.', lock_request.request_id),
            HINT = 'SELECT request_id, kind, due_on FROM guestcomms.list_requests(include_closed => true);';
    ELSIF v_status <> 'open' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the request is closed', DETAIL = format('It is %s.', v_status),
            HINT = 'A guest who asks again makes a request of their own: open_request().';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_request(uuid, uuid) IS 'Locks an open request and returns what the next step depends on; an error where there is none.';

CREATE FUNCTION guestcomms.open_request(guest_id uuid, kind text, received_at timestamptz DEFAULT NULL, note text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_received_at timestamptz := coalesce(open_request.received_at, now());
    v_received_on date;
    v_guest uuid;
    v_request uuid;
BEGIN
    IF open_request.kind IS NULL OR open_request.kind NOT IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there is no such kind of request', DETAIL = format('kind is %s.', coalesce(quote_literal(open_request.kind), 'null')),
            HINT = 'Give access (Art. 15), rectification (16), erasure (17), restriction (18), portability (20) or objection (21).';
    ELSIF v_received_at NOT BETWEEN '2018-05-25 00:00+00' AND now() + interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the request cannot have been received then', DETAIL = format('received_at is %s.', v_received_at),
            HINT = 'Give the moment at which the guest''s request reached the business; it decides when the answer is due.';
    END IF;
    v_guest := guestcomms_internal.lock_guest(v_tenant, open_request.guest_id);
    v_received_on := guestcomms_internal.local_day(v_tenant, v_received_at);
    INSERT INTO guestcomms.subject_requests (tenant_id, guest_id, kind, received_at, received_on, due_on, policy)
    VALUES (v_tenant, v_guest, open_request.kind, v_received_at, v_received_on, guestcomms_internal.request_due_on(v_received_on, 1),
        (SELECT jsonb_object_agg(s.name, guestcomms_internal.setting(s.name, v_tenant)) FROM guestcomms_internal.setting_definitions() AS s WHERE s.name LIKE 'privacy.%'))
    RETURNING request_id INTO v_request;
    PERFORM guestcomms_internal.note_request_step(v_tenant, v_request, 'opened', open_request.note);
    IF open_request.kind = 'objection' THEN
        -- Art. 21(3): from the objection on, not from its answer, marketing stops. By the clock: a consent of this transaction was before.
        INSERT INTO guestcomms.consents (tenant_id, guest_id, purpose, is_granted, basis, source, recorded_at)
        VALUES (v_tenant, v_guest, 'marketing', false, 'legitimate_interest', 'request', clock_timestamp());
    END IF;
    RETURN v_request;
END $$;
COMMENT ON FUNCTION guestcomms.open_request(uuid, text, timestamptz, text) IS
$$Notes a guest's request about their data and returns request_id. kind: access, portability, erasure, rectification, restriction or objection. received_at: when it reached the business, without it now. The answer is due on the same day of the next month by the tenant's clock, or on its last day where it has no such day. The tenant's settings of privacy are kept with the request: a policy that changes meanwhile does not change what was promised. An objection is recorded against marketing at once.
Example: SELECT guestcomms.open_request(guest_id => guestcomms.resolve_guest('email', 'zoe@example.com'), kind => 'access', received_at => now() - interval '2 days');
See also: record_identity_check, extend_request, refuse_request, complete_request, list_requests$$;

CREATE FUNCTION guestcomms.record_identity_check(request_id uuid, method text, is_confirmed boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    PERFORM guestcomms_internal.lock_request(v_tenant, record_identity_check.request_id);
    IF record_identity_check.method IS NULL OR record_identity_check.is_confirmed IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'an identity check has a method and an outcome', DETAIL = 'method or is_confirmed is null.',
            HINT = 'Say how it was checked, for example ''answered from the address we know'', and never copy a document into it.';
    END IF;
    PERFORM guestcomms_internal.note_request_step(v_tenant, record_identity_check.request_id,
        CASE WHEN record_identity_check.is_confirmed THEN 'identity_confirmed' ELSE 'identity_rejected' END, record_identity_check.method);
    UPDATE guestcomms.subject_requests AS r SET identity_confirmed_at = CASE WHEN record_identity_check.is_confirmed THEN now() END
    WHERE r.tenant_id = v_tenant AND r.request_id = record_identity_check.request_id;
END $$;
COMMENT ON FUNCTION guestcomms.record_identity_check(uuid, text, boolean) IS
$$Notes how it was checked that a request comes from the guest, and the outcome; the last check counts. Requests of access, portability and erasure cannot be answered without one that confirms.
Example: SELECT guestcomms.record_identity_check(request_id, 'answered from the address we know', true) FROM guestcomms.list_requests();
See also: open_request, complete_request, list_request_steps$$;

CREATE FUNCTION guestcomms.extend_request(request_id uuid, reason text, months integer DEFAULT 2) RETURNS date
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request record;
    v_due_on date;
BEGIN
    SELECT * INTO v_request FROM guestcomms_internal.lock_request(v_tenant, extend_request.request_id);
    IF extend_request.reason IS NULL OR extend_request.months IS NULL OR extend_request.months NOT IN (1, 2) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'an extension has a reason and is of one or two months', DETAIL = format('months is %s.', coalesce(extend_request.months::text, 'null')),
            HINT = 'GDPR Art. 12(3): by complexity and number of requests; tell the guest the reason within the first month.';
    ELSIF v_request.is_extended OR guestcomms_internal.local_day(v_tenant, now()) > v_request.due_on THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the request can no longer be extended',
            DETAIL = CASE WHEN v_request.is_extended THEN 'It has been extended before.' ELSE format('Its first month ended on %s.', v_request.due_on) END,
            HINT = 'There is one extension, within the first month. Answer it with complete_request() or refuse_request().';
    END IF;
    v_due_on := guestcomms_internal.request_due_on(v_request.received_on, 1 + extend_request.months);
    PERFORM guestcomms_internal.note_request_step(v_tenant, extend_request.request_id, 'extended', extend_request.reason);
    UPDATE guestcomms.subject_requests AS r SET extended_at = now(), due_on = v_due_on
    WHERE r.tenant_id = v_tenant AND r.request_id = extend_request.request_id;
    RETURN v_due_on;
END $$;
COMMENT ON FUNCTION guestcomms.extend_request(uuid, text, integer) IS
$$Extends the time for an answer by one or two months, once and within the first month, with the reason that the guest is told, and returns the day on which it is due then. Months are counted from the day on which the request was received.
Example: SELECT guestcomms.extend_request(request_id, 'eleven years of letters in four languages') FROM guestcomms.list_requests();
See also: open_request, list_requests$$;

CREATE FUNCTION guestcomms_internal.close_request(tenant_id uuid, request_id uuid, status text, note text, complaint_route text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.note_request_step(close_request.tenant_id, close_request.request_id, close_request.status, close_request.note);
    UPDATE guestcomms.subject_requests AS r SET status = close_request.status, closed_at = now(), complaint_route = close_request.complaint_route
    WHERE r.tenant_id = close_request.tenant_id AND r.request_id = close_request.request_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.close_request(uuid, uuid, text, text, text) IS 'The last step of a request that the caller has locked.';

CREATE FUNCTION guestcomms.refuse_request(request_id uuid, reason text, complaint_route text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_route text := coalesce(refuse_request.complaint_route, guestcomms_internal.setting('privacy.complaint_route', v_tenant));
BEGIN
    PERFORM guestcomms_internal.lock_request(v_tenant, refuse_request.request_id);
    IF refuse_request.reason IS NULL OR coalesce(v_route, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a refusal has a reason and says where to complain',
            DETAIL = CASE WHEN refuse_request.reason IS NULL THEN 'reason is null.' ELSE 'complaint_route is empty, and so is the setting privacy.complaint_route.' END,
            HINT = 'GDPR Art. 12(4): name the supervisory authority and the way to court. SELECT guestcomms.set_setting(''privacy.complaint_route'', ...);';
    END IF;
    PERFORM guestcomms_internal.close_request(v_tenant, refuse_request.request_id, 'refused', refuse_request.reason, v_route);
END $$;
COMMENT ON FUNCTION guestcomms.refuse_request(uuid, text, text) IS
$$Refuses a request, with the reason and with what the guest is told of complaints to an authority and of the way to court: complaint_route, or the setting privacy.complaint_route.
Example: SELECT guestcomms.refuse_request(request_id, 'the same request was answered last week', 'Data protection authority of your country; any court at your home') FROM guestcomms.list_requests();
See also: complete_request, withdraw_request, list_request_steps$$;

CREATE FUNCTION guestcomms.complete_request(request_id uuid, note text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_request record;
BEGIN
    SELECT * INTO v_request FROM guestcomms_internal.lock_request(v_tenant, complete_request.request_id);
    IF v_request.kind IN ('access', 'portability', 'erasure') AND NOT v_request.is_confirmed THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the guest''s identity has not been confirmed',
            DETAIL = format('A request of %s answered to the wrong person gives away or destroys somebody else''s data.', v_request.kind),
            HINT = 'SELECT guestcomms.record_identity_check(request_id, method, is_confirmed => true);';
    END IF;
    IF v_request.kind = 'restriction' THEN
        UPDATE guestcomms.guests AS g SET restricted_at = coalesce(g.restricted_at, now())
        WHERE g.tenant_id = v_tenant AND g.guest_id = v_request.guest_id;
    END IF;
    PERFORM guestcomms_internal.close_request(v_tenant, complete_request.request_id, 'answered', complete_request.note, NULL);
END $$;
COMMENT ON FUNCTION guestcomms.complete_request(uuid, text) IS
$$Notes that a request has been answered, and how. Access, portability and erasure need a confirmed identity. A restriction marks the guest as restricted (guests.restricted_at); what the other kinds ask for is done before, with the functions for it.
Example: SELECT guestcomms.complete_request(request_id, 'sent by registered mail') FROM guestcomms.list_requests() WHERE kind = 'rectification';
See also: record_identity_check, refuse_request, list_request_steps$$;

CREATE FUNCTION guestcomms.withdraw_request(request_id uuid, note text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    PERFORM guestcomms_internal.lock_request(v_tenant, withdraw_request.request_id);
    PERFORM guestcomms_internal.close_request(v_tenant, withdraw_request.request_id, 'withdrawn', withdraw_request.note, NULL);
END $$;
COMMENT ON FUNCTION guestcomms.withdraw_request(uuid, text) IS
$$Notes that a guest has taken a request back. An objection that was recorded with it stays: a guest who wants marketing again says so.
Example: SELECT guestcomms.withdraw_request(request_id, 'by telephone') FROM guestcomms.list_requests();
See also: complete_request, refuse_request$$;

CREATE FUNCTION guestcomms.list_requests(due_before date DEFAULT NULL, include_closed boolean DEFAULT false, max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (request_id uuid, guest_id uuid, kind text, status text, received_at timestamptz, due_on date, days_left integer, is_overdue boolean,
    is_identity_confirmed boolean, is_extended boolean, closed_at timestamptz, policy jsonb)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_today date := guestcomms_internal.local_day(v_tenant, now());
    v_after_due date := (SELECT r.due_on FROM guestcomms.subject_requests AS r WHERE r.tenant_id = v_tenant AND r.request_id = list_requests.after);
BEGIN
    IF list_requests.max_rows IS NULL OR list_requests.max_rows NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds', DETAIL = format('max_rows is %s.', coalesce(list_requests.max_rows::text, 'null')),
            HINT = 'Give a number from 1 to 1000.';
    ELSIF list_requests.after IS NOT NULL AND v_after_due IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such request', DETAIL = format('after is %s.', list_requests.after),
            HINT = 'after is the request_id of the last row of the page before.';
    END IF;
    RETURN QUERY
    SELECT r.request_id, r.guest_id, r.kind, r.status, r.received_at, r.due_on, CASE r.status WHEN 'open' THEN r.due_on - v_today END,
        r.status = 'open' AND r.due_on < v_today, r.identity_confirmed_at IS NOT NULL, r.extended_at IS NOT NULL, r.closed_at, r.policy
    FROM guestcomms.subject_requests AS r
    WHERE r.tenant_id = v_tenant AND (list_requests.include_closed OR r.status = 'open')
        AND (list_requests.due_before IS NULL OR r.due_on < list_requests.due_before)
        AND (list_requests.after IS NULL OR (r.due_on, r.request_id) > (v_after_due, list_requests.after))
    ORDER BY r.due_on, r.request_id
    LIMIT list_requests.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms.list_requests(date, boolean, integer, uuid) IS
$$The tenant's open requests, the most urgent first; with include_closed those that were answered, refused or withdrawn, too. days_left counts whole days by the tenant's clock: 0 on the last day, below 0 when it is too late. For the next page, after is the last row's request_id.
Example: SELECT kind, due_on, days_left FROM guestcomms.list_requests(due_before => current_date + 7);
See also: open_request, list_request_steps$$;

CREATE FUNCTION guestcomms.list_request_steps(request_id uuid)
RETURNS TABLE (step_number integer, step text, note text, taken_at timestamptz, taken_by text, complaint_route text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 5 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT s.step_number, s.step, s.note, s.taken_at, s.taken_by, CASE s.step WHEN 'refused' THEN r.complaint_route END
    FROM guestcomms.subject_request_steps AS s
    JOIN guestcomms.subject_requests AS r ON r.tenant_id = s.tenant_id AND r.request_id = s.request_id
    WHERE s.tenant_id = v_tenant AND s.request_id = list_request_steps.request_id
    ORDER BY s.step_number;
END $$;
COMMENT ON FUNCTION guestcomms.list_request_steps(uuid) IS
$$What was done about a request, in order: who did what when, how identity was checked, why it was extended or refused.
Example: SELECT s.step, s.note, s.taken_at FROM guestcomms.list_requests() AS r CROSS JOIN guestcomms.list_request_steps(r.request_id) AS s;
See also: list_requests, verify_audit_trail$$;
