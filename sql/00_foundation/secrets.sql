-- The keys that sign contexts and tokens, and that pseudonyms and the hashes of the erased are made with. The one table that is the extension's: pg_dump leaves its rows out, so no dump
-- holds a key of the live store, and a store that is restored has keys of its own from CREATE EXTENSION.
CREATE TABLE guestcomms_internal.store_secrets (
    purpose text NOT NULL,
    key_id text NOT NULL,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    CONSTRAINT store_secrets_pkey PRIMARY KEY (purpose, key_id),
    CONSTRAINT store_secrets_purpose_check CHECK (purpose IN ('context', 'token', 'pseudonyms', 'erasures')),
    CONSTRAINT store_secrets_secret_check CHECK (octet_length(secret) >= 32)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.store_secrets', 'Keys that sign the session context and tokens, and that pseudonyms and the hashes of erased guests are made with; in no dump.', $$
    purpose     security  context, token, pseudonyms or erasures
    key_id      security  names the key in a token, and in the ledger of erasures
    secret      security  the key
    created_at  security  when it was made
    retired_at  security  from when nothing it signed is accepted
$$);
INSERT INTO guestcomms_internal.store_secrets (purpose, key_id, secret)
VALUES ('context', '1', guestcomms_internal.random_bytes(32)),
    ('token', encode(guestcomms_internal.random_bytes(6), 'hex'), guestcomms_internal.random_bytes(32)),
    ('pseudonyms', '1', guestcomms_internal.random_bytes(32));
INSERT INTO guestcomms_internal.store_secrets (purpose, key_id, secret)
SELECT 'erasures', left(encode(sha256(n.secret), 'hex'), 16), n.secret FROM (SELECT guestcomms_internal.random_bytes(32) AS secret) AS n;
ALTER TABLE guestcomms_internal.store_secrets OWNER TO guestcomms_owner;
REVOKE ALL ON guestcomms_internal.store_secrets FROM PUBLIC;

CREATE FUNCTION guestcomms.rotate_context_key() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE guestcomms_internal.store_secrets AS s SET secret = guestcomms_internal.random_bytes(32), created_at = clock_timestamp()
    WHERE s.purpose = 'context';
    PERFORM guestcomms_internal.record_audit(guestcomms_internal.store_level(), 'rotate_context_key', 'key 1');
END $$;
COMMENT ON FUNCTION guestcomms.rotate_context_key() IS
$$Makes a new key for the contexts of sessions and transactions: every tenant that is open now, in any connection, is closed and must be opened again.
Example: SELECT guestcomms.rotate_context_key();
See also: rotate_token_key, use_tenant$$;
