-- The language of messages that came without one, found in batches by langdetect where the server has it.
CREATE FUNCTION guestcomms_internal.detect_text_languages(texts text[]) RETURNS text[]
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.languages import detect_languages
try:
    return detect_languages(texts)
except ImportError:
    plpy.error("languages are not detected on this server", sqlstate="0A000", detail="The Python package langdetect is missing.",
        hint="Install it (Debian: python3-langdetect), or set search.detect_language to false.")
$$;
COMMENT ON FUNCTION guestcomms_internal.detect_text_languages(text[]) IS 'ISO 639-1 languages of texts, NULL where a text does not say enough.';

CREATE FUNCTION guestcomms.detect_languages(max_rows integer DEFAULT 500) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_ids uuid[];
    v_texts text[];
    v_languages text[];
    v_locked uuid[];
    v_count bigint;
BEGIN
    IF detect_languages.max_rows IS NULL OR detect_languages.max_rows < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be at least 1', HINT = 'Leave it out for 500.';
    END IF;
    -- One tenant at a time. Rows that another session has in hand are left to it.
    SELECT u.tenant_id INTO v_tenant FROM guestcomms_internal.undetected_messages AS u WHERE v_tenant IS NULL OR u.tenant_id = v_tenant LIMIT 1;
    WITH taken AS (
        SELECT u.message_id, u.sent_at FROM guestcomms_internal.undetected_messages AS u
        WHERE u.tenant_id = v_tenant ORDER BY u.message_id LIMIT detect_languages.max_rows FOR UPDATE SKIP LOCKED
    )
    SELECT array_agg(t.message_id), array_agg(concat_ws(E'\n', m.subject, m.body)) INTO v_ids, v_texts
    FROM taken AS t
    LEFT JOIN guestcomms.messages AS m ON m.tenant_id = v_tenant AND m.message_id = t.message_id AND m.sent_at = t.sent_at AND m.language IS NULL;
    IF v_ids IS NULL THEN
        RETURN 0;
    END IF;
    v_languages := guestcomms_internal.detect_text_languages(v_texts);
    -- Nobody is waited for: what somebody is at work on is left for the next call.
    v_locked := ARRAY(
        SELECT m.message_id FROM unnest(v_ids) AS i (id)
        CROSS JOIN LATERAL (SELECT m.message_id FROM guestcomms.messages AS m
            WHERE m.tenant_id = v_tenant AND m.message_id = i.id AND m.language IS NULL
                AND m.sent_at >= guestcomms.uuid_v7_time(i.id) AND m.sent_at < guestcomms.uuid_v7_time(i.id) + interval '1 millisecond'
            FOR NO KEY UPDATE SKIP LOCKED) AS m);
    UPDATE guestcomms.messages AS m
    SET language = coalesce(d.language, t.language)
    FROM unnest(v_ids, v_languages) AS d (message_id, language), guestcomms.tenants AS t
    WHERE t.tenant_id = v_tenant AND m.tenant_id = v_tenant AND m.message_id = d.message_id AND m.message_id = ANY (v_locked)
        AND m.sent_at >= guestcomms.uuid_v7_time(d.message_id) AND m.sent_at < guestcomms.uuid_v7_time(d.message_id) + interval '1 millisecond';
    DELETE FROM guestcomms_internal.undetected_messages AS u
    WHERE u.tenant_id = v_tenant AND u.message_id = ANY (v_ids) AND NOT EXISTS (SELECT FROM guestcomms.messages AS m
        WHERE m.tenant_id = u.tenant_id AND m.message_id = u.message_id AND m.sent_at = u.sent_at AND m.language IS NULL);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.detect_languages(integer) IS
$$Sets the language of the next messages that were recorded without one, at most max_rows, and returns how many that were, 0 when none is left but those that somebody is at work on; the message is then found by that language's stems. What a text does not show clearly is the tenant's language. Messages are recorded without a language where search.detect_language is on and the sender gives none. Needs the Python package langdetect. A job's work.
Example: SELECT guestcomms.detect_languages(max_rows => 100);
See also: store_capabilities, set_setting, record_message$$;
