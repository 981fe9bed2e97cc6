-- Cursors: where a page ended, and all that the first page was ranked by, so that the next goes on the same way whatever
-- has been counted or has arrived since. Signed, for what they hold goes into a statement.
CREATE FUNCTION guestcomms_internal.cursor_mac(tenant_id uuid, payload text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN guestcomms_internal.base64url_encode(guestcomms_internal.hmac_sha256(
        convert_to(concat_ws('|', 'cursor', cursor_mac.tenant_id, cursor_mac.payload), 'UTF8'),
        (SELECT s.secret FROM guestcomms_internal.store_secrets AS s WHERE s.purpose = 'context' AND s.key_id = '1')));
END $$;
COMMENT ON FUNCTION guestcomms_internal.cursor_mac(uuid, text) IS 'Signature of a cursor within a tenant.';

CREATE FUNCTION guestcomms_internal.write_cursor(tenant_id uuid, state text, score double precision, sent_at timestamptz, message_id uuid, stage integer) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET extra_float_digits = 1 SET datestyle = 'ISO' SET timezone = 'UTC'
AS $$
DECLARE
    v_payload text := state || '.' || guestcomms_internal.base64url_encode(convert_to(
        concat_ws('|', write_cursor.score, write_cursor.sent_at, write_cursor.message_id, write_cursor.stage), 'UTF8'));
BEGIN
    RETURN v_payload || '.' || guestcomms_internal.cursor_mac(write_cursor.tenant_id, v_payload);
END $$;
COMMENT ON FUNCTION guestcomms_internal.write_cursor(uuid, text, double precision, timestamptz, uuid, integer) IS
'The cursor of one result; state is encoded already, being the same for all.';

CREATE FUNCTION guestcomms_internal.read_cursor(tenant_id uuid, after text, fingerprint text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
DECLARE
    v_parts text[] := string_to_array(after, '.');
    v_state jsonb;
    v_position text[];
BEGIN
    IF after IS NULL THEN
        RETURN NULL;
    END IF;
    IF cardinality(v_parts) = 3 AND guestcomms_internal.cursor_mac(read_cursor.tenant_id, v_parts[1] || '.' || v_parts[2]) = v_parts[3] THEN
        v_state := guestcomms_internal.read_token_part(v_parts[1]);
        v_position := string_to_array(convert_from(guestcomms_internal.base64url_decode(v_parts[2]), 'UTF8'), '|');
    END IF;
    IF v_state ->> 'fingerprint' IS DISTINCT FROM read_cursor.fingerprint THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'after is no cursor of this search',
            HINT = 'Pass the column cursor of the last row, with the same query, filters and sort.';
    END IF;
    RETURN v_state || jsonb_build_object('score', v_position[1], 'sent_at', v_position[2], 'message_id', v_position[3], 'stage', v_position[4]);
END $$;
COMMENT ON FUNCTION guestcomms_internal.read_cursor(uuid, text, text) IS
'Where the page before ended, and its state; NULL for the first page. fingerprint is of the query, filters and sort.';
