-- What came of an attempt at sending, as the worker that claimed it says. The thread is locked first, the message after it and
-- then the attempt, as everybody does who changes them.
CREATE FUNCTION guestcomms_internal.lock_attempt(
    tenant_id uuid, message_id uuid, claim_token uuid, OUT attempt integer, OUT first_attempt integer, OUT worker text, OUT outcome text, OUT is_latest boolean,
    OUT status text, OUT scheduled_at timestamptz, OUT sent_at timestamptz
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_since timestamptz := guestcomms.uuid_v7_time(lock_attempt.message_id);
BEGIN
    -- One that was archived meanwhile is queued no more, and stays where it is.
    SELECT m.status, m.scheduled_at, m.sent_at INTO status, scheduled_at, sent_at FROM guestcomms.messages AS m
    WHERE m.tenant_id = lock_attempt.tenant_id AND m.message_id = lock_attempt.message_id AND m.sent_at >= v_since AND m.sent_at < v_since + interval '1 millisecond'
    FOR NO KEY UPDATE;
    SELECT a.attempt, a.first_attempt, a.worker, a.outcome INTO attempt, first_attempt, worker, outcome
    FROM guestcomms.send_attempts AS a
    WHERE a.tenant_id = lock_attempt.tenant_id AND a.message_id = lock_attempt.message_id AND a.claim_token = lock_attempt.claim_token
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such claim', DETAIL = 'message_id ' || coalesce(lock_attempt.message_id::text, 'is missing') || '.',
            HINT = 'claim_outbound() returns message_id and claim_token; attempts are forgotten after the setting sending.keep_attempts.';
    END IF;
    is_latest := NOT EXISTS (SELECT FROM guestcomms.send_attempts AS a
        WHERE a.tenant_id = lock_attempt.tenant_id AND a.message_id = lock_attempt.message_id AND a.attempt > lock_attempt.attempt);
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_attempt(uuid, uuid, uuid) IS
'Locks a message and a worker''s attempt at sending it; an error where nobody claimed it so.';

CREATE FUNCTION guestcomms_internal.finish_attempt(tenant_id uuid, message_id uuid, attempt integer, outcome text, error_code text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
    UPDATE guestcomms.send_attempts AS a
    SET outcome = finish_attempt.outcome, error_code = finish_attempt.error_code, finished_at = clock_timestamp()
    WHERE a.tenant_id = finish_attempt.tenant_id AND a.message_id = finish_attempt.message_id AND a.attempt = finish_attempt.attempt
$$;
COMMENT ON FUNCTION guestcomms_internal.finish_attempt(uuid, uuid, integer, text, text) IS 'Notes what came of an attempt.';

CREATE FUNCTION guestcomms_internal.note_sending(message_id uuid, kind text, attempt integer, detail jsonb, source text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.ingest_events(ARRAY[ROW(note_sending.message_id, note_sending.kind, NULL,
        jsonb_build_object('attempt', note_sending.attempt) || note_sending.detail, false, note_sending.source, NULL, NULL)::guestcomms_internal.event_input], false, false);
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_sending(uuid, text, integer, jsonb, text) IS 'An event of an attempt, by which the message''s status rises.';

CREATE FUNCTION guestcomms_internal.register_sent_key(tenant_id uuid, message_id uuid, source text, external_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
BEGIN
    -- No error: it would take back that the message was sent, and so send it once more.
    IF char_length(register_sent_key.source) > 255 OR char_length(register_sent_key.external_id) > 255 THEN
        RAISE WARNING USING ERRCODE = 'string_data_right_truncation', MESSAGE = 'source or external_id is longer than 255 characters and left out',
            DETAIL = format('message_id %s; they have %s and %s.', register_sent_key.message_id, char_length(register_sent_key.source), coalesce(char_length(register_sent_key.external_id), 0)),
            HINT = 'Shorten it, for example to a hash. The message counts as sent; its events have to name it by message_id.';
        RETURN;
    ELSIF register_sent_key.external_id IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO guestcomms.message_keys (tenant_id, source, external_id, message_id)
    VALUES (register_sent_key.tenant_id, register_sent_key.source, register_sent_key.external_id, register_sent_key.message_id)
    ON CONFLICT ON CONSTRAINT message_keys_pkey DO NOTHING;
    IF NOT EXISTS (SELECT FROM guestcomms.message_keys AS k
        WHERE k.tenant_id = register_sent_key.tenant_id AND k.source = register_sent_key.source AND k.external_id = register_sent_key.external_id
            AND k.message_id = register_sent_key.message_id)
    THEN
        RAISE WARNING USING ERRCODE = 'unique_violation', MESSAGE = 'another message has that external_id; it is left out', DETAIL = format('message_id %s.', register_sent_key.message_id),
            HINT = 'external_id is unique within its source: name the provider by source. The message counts as sent; its events have to name it by message_id.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.register_sent_key(uuid, uuid, text, text) IS
'The provider''s identifier of a message, by which its events name it, beside the one that the message was recorded with; a warning where it cannot be that.';

CREATE FUNCTION guestcomms_internal.revive_expired(tenant_id uuid, message_id uuid, sent_at timestamptz) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
    -- Nobody reported that failure: it was taken from a silence that has ended now. One that anybody reported stays.
    UPDATE guestcomms.messages AS m SET status = 'sent'
    WHERE m.tenant_id = revive_expired.tenant_id AND m.message_id = revive_expired.message_id AND m.sent_at = revive_expired.sent_at AND m.status = 'failed'
        AND (SELECT bool_and(v.detail ->> 'error_code' IS NOT DISTINCT FROM 'lease_expired') FROM guestcomms.message_events AS v
            WHERE v.tenant_id = revive_expired.tenant_id AND v.message_id = revive_expired.message_id AND v.kind IN ('failed', 'bounced'))
$$;
COMMENT ON FUNCTION guestcomms_internal.revive_expired(uuid, uuid, timestamptz) IS
'Makes a message sent that is failed for nothing but leases that ran out; the caller has locked it, and knows that it was sent.';

CREATE FUNCTION guestcomms.confirm_sent(message_id uuid, claim_token uuid, external_id text DEFAULT NULL, source text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_attempt record;
    v_is_duplicate boolean;
BEGIN
    -- The key first, as whoever records a message does who has that one already.
    IF EXISTS (SELECT FROM guestcomms.send_attempts AS a
        WHERE a.tenant_id = v_tenant AND a.message_id = confirm_sent.message_id AND a.claim_token = confirm_sent.claim_token AND a.outcome IS DISTINCT FROM 'sent')
    THEN
        PERFORM guestcomms_internal.register_sent_key(v_tenant, confirm_sent.message_id, coalesce(confirm_sent.source, 'app'), confirm_sent.external_id);
    END IF;
    PERFORM guestcomms_internal.lock_thread_of(v_tenant, confirm_sent.message_id);
    SELECT * INTO v_attempt FROM guestcomms_internal.lock_attempt(v_tenant, confirm_sent.message_id, confirm_sent.claim_token);
    IF v_attempt.outcome = 'sent' THEN
        RETURN 'repeated';
    END IF;
    v_is_duplicate := EXISTS (SELECT FROM guestcomms.send_attempts AS a
        WHERE a.tenant_id = v_tenant AND a.message_id = confirm_sent.message_id AND a.first_attempt = v_attempt.first_attempt AND a.outcome = 'sent');
    PERFORM guestcomms_internal.finish_attempt(v_tenant, confirm_sent.message_id, v_attempt.attempt, 'sent', NULL);
    PERFORM guestcomms_internal.note_sending(confirm_sent.message_id, 'sent', v_attempt.attempt, jsonb_build_object('worker', v_attempt.worker),
        CASE WHEN char_length(confirm_sent.source) <= 255 THEN confirm_sent.source END);
    IF v_attempt.status = 'failed' THEN
        PERFORM guestcomms_internal.revive_expired(v_tenant, confirm_sent.message_id, v_attempt.sent_at);
    END IF;
    RETURN CASE WHEN v_is_duplicate THEN 'duplicate' ELSE 'confirmed' END;
END $$;
COMMENT ON FUNCTION guestcomms.confirm_sent(uuid, uuid, text, text) IS
$$Says that a claimed message was sent; external_id and source are the provider's name for it, by which its later events find the message. Returns confirmed; repeated where this claim was confirmed before; duplicate where another worker had claimed and sent the message after this one's lease ran out, or before: the guest has it twice. A claim counts also when its lease has run out, and a message that failed for nothing but that (lease_expired) is sent then, and no dead letter any more. An external_id that is another message's within its source, or one or a source that is longer than 255 characters, is left out with a warning: what was sent is sent, and is not sent again for its name. The moment is kept as an event of kind sent; sent_at stays.
Example: SELECT guestcomms.confirm_sent(message_id, claim_token, 'SM123', source => 'sms-provider') FROM guestcomms.claim_outbound('texter-1', 'sms', max_rows => 1);
See also: claim_outbound, fail_sent, record_event, list_send_attempts$$;

CREATE FUNCTION guestcomms_internal.retry_delay(tenant_id uuid, try_number integer) RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    -- Of an exponent beyond 20 nothing is left but the longest.
    RETURN least(guestcomms_internal.setting('sending.retry_after', retry_delay.tenant_id)::interval * 2 ^ least(retry_delay.try_number - 1, 20),
        guestcomms_internal.setting('sending.retry_at_most', retry_delay.tenant_id)::interval);
END $$;
COMMENT ON FUNCTION guestcomms_internal.retry_delay(uuid, integer) IS 'How long a message waits after so many tries: twice as long after each, up to the longest.';

CREATE FUNCTION guestcomms.fail_sent(message_id uuid, claim_token uuid, error_code text, retry_at timestamptz DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_attempt record;
    v_try integer;
    v_retry_at timestamptz;
BEGIN
    IF coalesce(fail_sent.error_code !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$', true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'error_code is not valid', DETAIL = format('It has %s characters.', coalesce(char_length(fail_sent.error_code), 0)),
            HINT = 'A code such as 550 or rate_limited: 1 to 64 letters, digits and _.:-; a provider''s sentence may quote the guest.';
    ELSIF fail_sent.retry_at < 'infinity' AND fail_sent.retry_at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 year' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'retry_at is out of bounds', DETAIL = format('It is %s.', fail_sent.retry_at),
            HINT = 'Within a year; infinity for never.';
    END IF;
    SELECT * INTO v_attempt FROM guestcomms_internal.lock_attempt(v_tenant, fail_sent.message_id, fail_sent.claim_token);
    IF v_attempt.outcome = 'sent' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the claim has been confirmed as sent', DETAIL = format('message_id %s.', fail_sent.message_id),
            HINT = 'What failed after it was sent is an event: record_event(kind => ''bounced'').';
    ELSIF v_attempt.outcome IS NULL THEN
        PERFORM guestcomms_internal.finish_attempt(v_tenant, fail_sent.message_id, v_attempt.attempt, 'failed', fail_sent.error_code);
        -- Of a message that somebody else has claimed since, or that was cancelled, it decides nothing any more.
        IF v_attempt.is_latest AND v_attempt.status = 'queued' THEN
            v_try := v_attempt.attempt - v_attempt.first_attempt + 1;
            IF fail_sent.retry_at = 'infinity' OR v_try >= guestcomms_internal.setting('sending.max_attempts', v_tenant)::integer THEN
                PERFORM guestcomms_internal.note_sending(fail_sent.message_id, 'failed', v_attempt.attempt, jsonb_build_object('error_code', fail_sent.error_code), NULL);
                RETURN NULL;
            END IF;
            v_retry_at := coalesce(fail_sent.retry_at, clock_timestamp() + guestcomms_internal.retry_delay(v_tenant, v_try));
            -- The index is by this: what waits to be tried again is not walked over by every claim until then.
            UPDATE guestcomms.messages AS m SET scheduled_at = v_retry_at
            WHERE m.tenant_id = v_tenant AND m.message_id = fail_sent.message_id AND m.sent_at = v_attempt.sent_at;
            RETURN v_retry_at;
        END IF;
    END IF;
    RETURN CASE WHEN v_attempt.status = 'queued' THEN v_attempt.scheduled_at END;
END $$;
COMMENT ON FUNCTION guestcomms.fail_sent(uuid, uuid, text, timestamptz) IS
$$Says that a claimed message could not be sent, and returns when it is tried again: at retry_at, or without it after sending.retry_after, doubled with every try up to sending.retry_at_most. NULL where it is not: with retry_at => 'infinity', after sending.max_attempts tries, or because it was cancelled; then it is failed, a dead letter. error_code is the provider's code, not its text. A repeat returns what is to come as it is then.
Example: SELECT guestcomms.fail_sent(message_id, claim_token, 'mailbox_full', retry_at => now() + interval '1 hour') FROM guestcomms.claim_outbound('mailer-1', 'email', max_rows => 1);
See also: claim_outbound, confirm_sent, list_dead_letters, retry_message$$;

CREATE FUNCTION guestcomms_internal.trim_send_attempts(max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM guestcomms.send_attempts AS a
    USING (SELECT o.tenant_id, o.message_id, o.attempt FROM guestcomms.send_attempts AS o
        WHERE o.claimed_at < now() - guestcomms_internal.setting('sending.keep_attempts')::interval AND o.leased_until < now()
        ORDER BY o.claimed_at LIMIT trim_send_attempts.max_rows FOR UPDATE SKIP LOCKED) AS t
    WHERE a.tenant_id = t.tenant_id AND a.message_id = t.message_id AND a.attempt = t.attempt;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_send_attempts(integer) IS 'Removes attempts after sending.keep_attempts, of all tenants.';
