-- The queue as people see it: what waits, what was given up, and the calls that change what is to come.
CREATE FUNCTION guestcomms_internal.require_queued(tenant_id uuid, message_id uuid, status text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF require_queued.status <> 'queued' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the message is not queued',
            DETAIL = format('message_id %s is %s.', require_queued.message_id, require_queued.status),
            HINT = 'What has left cannot be called back; delete_message() removes its text here.';
    END IF;
    PERFORM guestcomms_internal.refuse_claimed(require_queued.tenant_id, require_queued.message_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_queued(uuid, uuid, text) IS 'An error for a message that waits no more, or that a worker is sending; the caller has locked it.';

CREATE FUNCTION guestcomms_internal.require_schedule(scheduled_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT isfinite(require_schedule.scheduled_at) OR require_schedule.scheduled_at > now() + interval '2 years' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'scheduled_at is out of bounds', DETAIL = format('It is %s.', require_schedule.scheduled_at),
            HINT = 'Within two years; without it, at once.';
    END IF;
    RETURN coalesce(require_schedule.scheduled_at, now());
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_schedule(timestamptz) IS 'When a message is to be sent, now if nothing is said; an error where that is no time.';

CREATE FUNCTION guestcomms.cancel_message(message_id uuid, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_message record;
BEGIN
    IF char_length(cancel_message.reason) NOT BETWEEN 1 AND 2000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the text is too short or too long',
            DETAIL = format('reason has %s characters.', char_length(cancel_message.reason)), HINT = 'Give between 1 and 2000 characters, or leave it out.';
    END IF;
    SELECT * INTO v_message FROM guestcomms_internal.lock_message(v_tenant, cancel_message.message_id);
    IF v_message.status = 'cancelled' THEN
        RETURN false;
    END IF;
    PERFORM guestcomms_internal.require_queued(v_tenant, cancel_message.message_id, v_message.status);
    PERFORM guestcomms_internal.ingest_events(ARRAY[ROW(cancel_message.message_id, 'cancelled', NULL, jsonb_strip_nulls(jsonb_build_object('reason', cancel_message.reason)),
        false, NULL, NULL, NULL)::guestcomms_internal.event_input], false, false);
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms.cancel_message(uuid, text) IS
$$Cancels a queued message of the current tenant, with an event that keeps the reason; false where it was cancelled before. Refused once it was sent, and while a worker has it (within its lease), for it may be leaving right then. A worker whose lease had run out and who says afterwards that it was sent is believed: then the message is sent.
Example: SELECT guestcomms.cancel_message(guestcomms.record_message('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'outbound', 'email', 'See you', scheduled_at => now() + interval '1 day'), 'the date has moved');
See also: reschedule_message, delete_message, list_queued_messages, claim_outbound$$;

CREATE FUNCTION guestcomms.reschedule_message(message_id uuid, scheduled_at timestamptz DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_scheduled_at timestamptz := guestcomms_internal.require_schedule(reschedule_message.scheduled_at);
    v_message record;
BEGIN
    SELECT * INTO v_message FROM guestcomms_internal.lock_message(v_tenant, reschedule_message.message_id);
    PERFORM guestcomms_internal.require_queued(v_tenant, reschedule_message.message_id, v_message.status);
    UPDATE guestcomms.messages AS m SET scheduled_at = v_scheduled_at
    WHERE m.tenant_id = v_tenant AND m.message_id = reschedule_message.message_id AND m.sent_at = v_message.sent_at;
    RETURN v_scheduled_at;
END $$;
COMMENT ON FUNCTION guestcomms.reschedule_message(uuid, timestamptz) IS
$$Moves a queued message of the current tenant to another time, without one to now, and returns it. Refused once it was sent, and while a worker has it.
Example: SELECT guestcomms.reschedule_message(message_id, now() + interval '2 days') FROM guestcomms.list_queued_messages(max_rows => 1);
See also: cancel_message, record_message, list_queued_messages$$;

CREATE FUNCTION guestcomms.retry_message(message_id uuid, scheduled_at timestamptz DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_scheduled_at timestamptz := guestcomms_internal.require_schedule(retry_message.scheduled_at);
    v_message record;
BEGIN
    SELECT * INTO v_message FROM guestcomms_internal.lock_message(v_tenant, retry_message.message_id);
    IF v_message.status <> 'failed' OR v_message.direction <> 'outbound' OR v_message.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the message is no dead letter',
            DETAIL = format('message_id %s is %s.', retry_message.message_id, CASE WHEN v_message.deleted_at IS NULL THEN v_message.status ELSE 'deleted' END),
            HINT = 'SELECT message_id, error_code FROM guestcomms.list_dead_letters();';
    END IF;
    UPDATE guestcomms.send_attempts AS a SET requeued_at = clock_timestamp()
    WHERE a.tenant_id = v_tenant AND a.message_id = retry_message.message_id
        AND a.attempt = (SELECT max(l.attempt) FROM guestcomms.send_attempts AS l WHERE l.tenant_id = v_tenant AND l.message_id = retry_message.message_id);
    -- A step back: a person's decision, which begins another round.
    UPDATE guestcomms.messages AS m SET status = 'queued', scheduled_at = v_scheduled_at
    WHERE m.tenant_id = v_tenant AND m.message_id = retry_message.message_id AND m.sent_at = v_message.sent_at;
    RETURN v_scheduled_at;
END $$;
COMMENT ON FUNCTION guestcomms.retry_message(uuid, timestamptz) IS
$$Queues a dead letter of the current tenant anew, for a time or at once, with as many tries as a new message, and returns that time. For after the cause is gone, such as a wrong address: it may be sent twice where was_sent of list_dead_letters() says that it left before.
Example: SELECT guestcomms.retry_message(message_id) FROM guestcomms.list_dead_letters() WHERE error_code = 'no_address';
See also: list_dead_letters, claim_outbound, fail_sent$$;
