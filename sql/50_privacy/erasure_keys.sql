-- The key of the ledger and of suppressions. With it, and only with it, one can tell whether somebody is among the erased; so it
-- lies with the store's own keys, in no dump, and is carried to a restored store by hand.
CREATE FUNCTION guestcomms_internal.erasure_key(OUT key_id text, OUT secret bytea)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    SELECT s.key_id, s.secret INTO key_id, secret FROM guestcomms_internal.store_secrets AS s
    WHERE s.purpose = 'erasures' ORDER BY s.created_at DESC, s.key_id LIMIT 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erasure_key() IS 'The key that new hashes are made with, and its fingerprint.';

CREATE FUNCTION guestcomms_internal.erasure_hash(secret bytea, VARIADIC parts text[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN guestcomms_internal.hmac_sha256(convert_to(array_to_string(parts, '|'), 'UTF8'), secret);
COMMENT ON FUNCTION guestcomms_internal.erasure_hash(bytea, text[]) IS 'What stands for a guest, or for an address, where neither may be known.';

CREATE FUNCTION guestcomms_internal.missing_erasure_keys() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT u.key_id FROM (SELECT l.key_id FROM guestcomms.erasure_ledger AS l UNION SELECT s.key_id FROM guestcomms.suppressions AS s) AS u
        WHERE NOT EXISTS (SELECT FROM guestcomms_internal.store_secrets AS k WHERE k.purpose = 'erasures' AND k.key_id = u.key_id)
        ORDER BY u.key_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.missing_erasure_keys() IS 'Fingerprints of keys that hashes of the ledger or of suppressions were made with, and that this store does not have.';

CREATE FUNCTION guestcomms.export_erasure_key() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_key record;
BEGIN
    SELECT k.key_id, k.secret INTO v_key FROM guestcomms_internal.erasure_key() AS k;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'export_erasure_key', 'erasure key ' || v_key.key_id);
    RETURN concat_ws(':', 'guestcomms-erasure-key', v_key.key_id, encode(v_key.secret, 'hex'));
END $$;
COMMENT ON FUNCTION guestcomms.export_erasure_key() IS
$$The key of the ledger of erasures and of suppressions, to be kept where the store's backups are not: no dump holds it, and without it a restored store can neither erase again who was erased since nor obey those who objected. It is a secret: whoever has it and a backup can tell who was erased. For operators.
Example: SELECT guestcomms.export_erasure_key();
See also: restore_erasure_key, export_erasure_ledger, replay_erasures$$;

CREATE FUNCTION guestcomms.restore_erasure_key(key text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_parts text[] := regexp_match(btrim(restore_erasure_key.key), '^guestcomms-erasure-key:([0-9a-f]{16}):([0-9a-f]{64,128})$');
    v_secret bytea := CASE WHEN char_length(v_parts[2]) % 2 = 0 THEN decode(v_parts[2], 'hex') END;
BEGIN
    -- What was given is not repeated.
    IF v_secret IS NULL OR left(encode(sha256(v_secret), 'hex'), 16) <> v_parts[1] THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'that is no key of erasures', DETAIL = 'Its form or its fingerprint is not right.',
            HINT = 'It is what export_erasure_key() gave: guestcomms-erasure-key:, a fingerprint, a colon and the key.';
    END IF;
    INSERT INTO guestcomms_internal.store_secrets AS s (purpose, key_id, secret, created_at) VALUES ('erasures', v_parts[1], v_secret, clock_timestamp())
    ON CONFLICT ON CONSTRAINT store_secrets_pkey DO UPDATE SET created_at = excluded.created_at;
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'restore_erasure_key', 'erasure key ' || v_parts[1]);
    RETURN v_parts[1];
END $$;
COMMENT ON FUNCTION guestcomms.restore_erasure_key(text) IS
$$Brings the key of erasures that export_erasure_key() gave to a restored store, and returns its fingerprint. From then on it makes new hashes, too; those made with another key in between stay readable. Pass it as a parameter of the driver and not within the statement, which servers may log. For operators.
Example: SELECT guestcomms.restore_erasure_key(guestcomms.export_erasure_key());
See also: export_erasure_key, replay_erasures$$;
