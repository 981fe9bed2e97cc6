-- What a segment is found by, beside its words: few bits of each identifier. A search by one gives some segments too many,
-- whose arrays are then compared; keys that many share take far less of an index than identifiers.
CREATE FUNCTION guestcomms_internal.segment_key_v1(id uuid, is_thread boolean) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15) + CASE WHEN is_thread THEN 65536 ELSE 0 END;
COMMENT ON FUNCTION guestcomms_internal.segment_key_v1(uuid, boolean) IS 'The last 16 bits of the identifier of a message, or, above these, of a conversation.';

CREATE FUNCTION guestcomms_internal.segment_keys_v1(message_ids uuid[], thread_ids uuid[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT guestcomms_internal.segment_key_v1(m.id, false) FROM unnest(segment_keys_v1.message_ids) AS m (id)
        UNION
        SELECT guestcomms_internal.segment_key_v1(t.id, true) FROM unnest(segment_keys_v1.thread_ids) AS t (id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.segment_keys_v1(uuid[], uuid[]) IS
'Keys of a segment in its index. Frozen: an index holds its results.';
