-- Where personal data is in texts and messages: offsets, kinds and certainty, never the text itself; and texts without it.
CREATE FUNCTION guestcomms_internal.personal_data_in(tenant_id uuid, texts text[], min_certainty double precision, kinds text[])
RETURNS TABLE (text_number integer, start_offset integer, end_offset integer, kind text, certainty double precision)
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.detection import BadArgument, find_in_texts
try:
    return find_in_texts(plpy, GD, tenant_id, texts, min_certainty, kinds)
except BadArgument as error:
    plpy.error(str(error), sqlstate="22023", detail=error.detail, hint=error.hint)
$$;
COMMENT ON FUNCTION guestcomms_internal.personal_data_in(uuid, text[], double precision, text[]) IS
'Personal data in texts of a tenant, which the caller has verified, by its country and by the names that it knows.';

CREATE FUNCTION guestcomms_internal.anonymize_in(tenant_id uuid, whole text, keep text[]) RETURNS text
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.detection import anonymize
return anonymize(plpy, GD, tenant_id, whole, keep)
$$;
COMMENT ON FUNCTION guestcomms_internal.anonymize_in(uuid, text, text[]) IS 'A text of a tenant, which the caller has verified, without the personal data in it.';

CREATE FUNCTION guestcomms.detect_personal_data(text text, min_certainty double precision DEFAULT 0.5)
RETURNS TABLE (start_offset integer, end_offset integer, kind text, certainty double precision)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 5 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT p.start_offset, p.end_offset, p.kind, p.certainty
    FROM guestcomms_internal.personal_data_in(v_tenant, ARRAY[detect_personal_data.text], detect_personal_data.min_certainty, NULL) AS p;
END $$;
COMMENT ON FUNCTION guestcomms.detect_personal_data(text, double precision) IS
$$Where personal data is in a text: from start_offset to before end_offset, in characters from 0, in order and never overlapping. kind: email, phone, iban, card, ip_address, url_token (a link that lets its holder in), url, postal_code, birth_date, or name (of the tenant's guests and weddings). The tenant's country decides which forms of numbers are likely. certainty is above 0 and up to 1; from 0.5 on it is what anonymize_text() hides, below it is for people to look at. Telephone numbers need the Python package phonenumbers.
Example: SELECT kind, start_offset, end_offset FROM guestcomms.detect_personal_data('Write to zoe@example.com');
See also: anonymize_text, find_personal_data, store_capabilities$$;

CREATE FUNCTION guestcomms.anonymize_text(text text, keep text[] DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN CASE WHEN anonymize_text.text IS NOT NULL THEN guestcomms_internal.anonymize_in(v_tenant, anonymize_text.text, anonymize_text.keep) END;
END $$;
COMMENT ON FUNCTION guestcomms.anonymize_text(text, text[]) IS
$$A text with [email], [phone], [name] and so on in place of the personal data that detect_personal_data() finds in it with a certainty of 0.5 or more. keep: values that stay, for example the business's own address, however they are written. What no rule knows stays too: read it before it is published.
Example: SELECT guestcomms.anonymize_text('Write to zoe@example.com or office@example.com', keep => '{office@example.com}');
See also: detect_personal_data, find_personal_data$$;

CREATE FUNCTION guestcomms.find_personal_data(
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, guest_id uuid DEFAULT NULL, kinds text[] DEFAULT NULL,
    min_certainty double precision DEFAULT 0.5, max_rows integer DEFAULT 1000, after uuid DEFAULT NULL
)
RETURNS TABLE (message_id uuid, sent_at timestamptz, part text, start_offset integer, end_offset integer, kind text, certainty double precision)
-- One guest's messages and everybody's are read by other indexes: no plan is for both.
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = 'force_custom_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guests uuid[] := guestcomms_internal.same_guests(v_tenant, find_personal_data.guest_id);
    v_most_messages CONSTANT bigint := 2000;
    -- An identifier begins with the millisecond: months after that of the page before are left out.
    v_until timestamptz := least(find_personal_data.until, guestcomms.uuid_v7_time(find_personal_data.after) + interval '1 millisecond', 'infinity');
    v_left bigint;
    v_message record;
    v_count bigint;
    v_looked bigint := 0;
    v_found bigint := 0;
BEGIN
    IF coalesce(find_personal_data.max_rows NOT BETWEEN 1 AND 10000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds', DETAIL = format('max_rows is %s.', coalesce(find_personal_data.max_rows::text, 'null')),
            HINT = 'Give a number from 1 to 10000.';
    ELSIF find_personal_data.since >= find_personal_data.until THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'since is not before until', DETAIL = format('From %s to %s.', find_personal_data.since, find_personal_data.until),
            HINT = 'since is the first moment, until the first after the last.';
    END IF;
    -- Says what is wrong with the other arguments, also where there is no message to look at.
    PERFORM guestcomms_internal.personal_data_in(v_tenant, '{}', find_personal_data.min_certainty, find_personal_data.kinds);
    v_left := guestcomms_internal.quota_left(v_tenant, 'detection');
    IF v_left < 1 THEN
        PERFORM guestcomms_internal.take_quota(v_tenant, 'detection', 1);
    END IF;
    v_left := least(v_left, v_most_messages);
    FOR v_message IN
        SELECT m.message_id, m.sent_at, m.subject, m.body
        FROM guestcomms.messages AS m
        WHERE m.tenant_id = v_tenant
            AND (find_personal_data.guest_id IS NULL OR m.guest_id = ANY (v_guests))
            AND m.sent_at >= coalesce(find_personal_data.since, '-infinity') AND m.sent_at < v_until
            AND m.message_id < coalesce(find_personal_data.after, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY m.message_id DESC
        LIMIT v_left
    LOOP
        RETURN QUERY
        SELECT v_message.message_id, v_message.sent_at, CASE p.text_number WHEN 1 THEN 'subject' ELSE 'body' END, p.start_offset, p.end_offset, p.kind, p.certainty
        FROM guestcomms_internal.personal_data_in(v_tenant, ARRAY[v_message.subject, v_message.body], find_personal_data.min_certainty, find_personal_data.kinds) AS p;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_found := v_found + v_count;
        v_looked := v_looked + 1;
        EXIT WHEN v_found >= find_personal_data.max_rows;
    END LOOP;
    IF v_looked > 0 THEN
        -- Before anything is returned: whoever was faster may have taken the last of it.
        PERFORM guestcomms_internal.take_quota(v_tenant, 'detection', v_looked);
        PERFORM guestcomms_internal.record_audit(v_tenant, 'find_personal_data', coalesce('guest ' || find_personal_data.guest_id, 'messages'), jsonb_build_object('messages', v_looked));
    END IF;
    IF v_looked = v_left OR v_found >= find_personal_data.max_rows THEN
        RETURN QUERY SELECT v_message.message_id, v_message.sent_at, NULL::text, NULL::integer, NULL::integer, NULL::text, NULL::double precision;
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms.find_personal_data(timestamptz, timestamptz, uuid, text[], double precision, integer, uuid) IS
$$Where personal data is in the tenant's messages, the newest first, as detect_personal_data() finds it: in part (subject or body), from start_offset to before end_offset, never the text itself. since, until, guest_id and kinds narrow it down. A page ends with the message that brings it to max_rows, or after 2000 messages; then its last row has no kind, and its message_id is after of the next page. A page whose last row has a kind, or without rows, is the last. Messages in the archive are not looked at: restore_messages() brings them back. Every message looked at counts against privacy.detected_messages_per_hour, for each role; over it, 53400.
Example: SELECT kind, count(*) FROM guestcomms.find_personal_data(since => now() - interval '7 days') WHERE kind IS NOT NULL GROUP BY kind;
See also: detect_personal_data, anonymize_text, restore_messages, set_setting$$;
