-- What can be wrong with a message or an event given to the store. Checked before anything is stored, so that a reason
-- names the element and never quotes what a guest wrote.
CREATE TYPE guestcomms_internal.message_input AS (
    guest_id uuid, direction text, channel text, subject text, body text, sent_at timestamptz, thread_id uuid,
    wedding_id uuid, campaign_id uuid, external_id text, source text, language text, purpose text, status text,
    author text, metadata jsonb, scheduled_at timestamptz
);
CREATE TYPE guestcomms_internal.event_input AS (
    message_id uuid, kind text, occurred_at timestamptz, detail jsonb, is_machine boolean, source text,
    external_id text, event_external_id text
);

CREATE FUNCTION guestcomms_internal.ingest_problems()
RETURNS TABLE (problem text, error_code text, error_message text, error_hint text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    VALUES
        ('guest', '23503', 'there is no such guest', 'add_guest() or resolve_guest() returns a guest_id.'),
        ('guest_erased', '55000', 'the guest was erased', 'Whoever writes from the same address now is another guest: resolve_guest() returns who has it.'),
        ('thread', '23503', 'there is no such thread', 'open_thread() returns a thread_id; without one, the guest''s newest open thread is taken.'),
        ('wedding', '23503', 'there is no such wedding', 'Leave wedding_id out, or take one of the tenant''s weddings.'),
        ('campaign', '23503', 'there is no such campaign', 'Leave campaign_id out, or take one of the tenant''s campaigns.'),
        ('contact', 'GC003', 'the guest must not be written to for marketing', 'Leave the guest out. SELECT * FROM guestcomms.check_contact_allowed(guest_id, channel, ''marketing''); SELECT * FROM guestcomms.list_consents(guest_id);'),
        ('direction', '22023', 'direction is not valid', 'It is inbound (from the guest) or outbound.'),
        ('channel', '22023', 'channel is not valid', 'It is email, sms, whatsapp or chat.'),
        ('status', '22023', 'status is not valid', 'It is received, queued, sent, delivered, read, failed or cancelled.'),
        ('purpose', '22023', 'purpose is not valid', 'It is service or marketing.'),
        ('language', '22023', 'language is not an ISO 639-1 code', 'Two or three lower-case letters, such as en.'),
        ('metadata', '22023', 'metadata is not a JSON object', 'Wrap it: {"value": ...}.'),
        ('body_missing', '22004', 'body is missing', 'An empty text is allowed, NULL is not.'),
        ('body_size', '22001', 'body is longer than 1 MiB', 'Keep the long part as an attachment.'),
        ('subject_size', '22001', 'subject is longer than 2000 characters', 'Shorten it.'),
        ('key_size', '22001', 'source or external_id is longer than 255 characters', 'Shorten it, for example to a hash.'),
        ('sent_at', '22008', 'sent_at is outside the months that have partitions', 'An operator makes them: SELECT guestcomms.ensure_partitions(since, until);'),
        ('occurred_at', '22008', 'occurred_at is outside the months that have partitions', 'An operator makes them: SELECT guestcomms.ensure_partitions(since, until);'),
        ('message', '23503', 'there is no such message', 'Give message_id, or source and external_id of a recorded message; it may be archived. Or repeat the event once the message is recorded.'),
        ('kind', '22023', 'kind is not valid', 'It is queued, sent, delivered, opened, clicked, replied, read, failed, bounced, complained, unsubscribed or cancelled.'),
        ('annotator', '42704', 'there is no such annotator', 'SELECT guestcomms.register_annotator(name, version, kinds);'),
        ('annotation_kind', '22023', 'the annotator makes no such annotations', 'SELECT name, kinds FROM guestcomms.list_annotators(); register_annotator() adds a kind.'),
        ('annotation_value', '22023', 'value is not acceptable', 'Any JSON but null, up to 256 kB; of language a code such as "de", of embedding an array of numbers.'),
        ('confidence', '22023', 'confidence is not between 0 and 1', 'Leave it out where it is not known.'),
        ('detail', '22023', 'detail is not a JSON object', 'Wrap it: {"value": ...}.'),
        ('shape', '22023', 'the JSON has the wrong shape', 'An array of objects whose keys are parameters of the function for one: SELECT * FROM guestcomms.help(''record_message''); times as ISO 8601 with a time zone.')
$$;
COMMENT ON FUNCTION guestcomms_internal.ingest_problems() IS 'SQLSTATE, message and hint of every reason to refuse a message, an event or an annotation.';

CREATE FUNCTION guestcomms_internal.raise_ingest_problem(problem text, detail text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_problem record;
BEGIN
    SELECT * INTO STRICT v_problem FROM guestcomms_internal.ingest_problems() AS p WHERE p.problem = raise_ingest_problem.problem;
    RAISE EXCEPTION USING ERRCODE = v_problem.error_code, MESSAGE = v_problem.error_message,
        DETAIL = coalesce(raise_ingest_problem.detail, ''), HINT = v_problem.error_hint;
END $$;
COMMENT ON FUNCTION guestcomms_internal.raise_ingest_problem(text, text) IS 'Raises one of ingest_problems().';

CREATE FUNCTION guestcomms_internal.require_on_error(on_error text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    IF coalesce(on_error NOT IN ('abort', 'skip'), true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'on_error is not valid',
            HINT = 'It is abort (store nothing of the batch) or skip (store the rest and return the rejects).';
    END IF;
    RETURN on_error = 'skip';
END $$;
COMMENT ON FUNCTION guestcomms_internal.require_on_error(text) IS 'Whether bad elements are to be skipped; an error for an unknown word.';
