-- Keys that exports are encrypted with. As the store's own keys a table of the extension, so that no dump holds a secret; an
-- export names the key and nobody has to write it into a call.
CREATE TABLE guestcomms_internal.export_keys (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    is_public boolean NOT NULL,
    content text NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT export_keys_pkey PRIMARY KEY (tenant_id, name)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.export_keys', 'Public keys and passphrases that exports are encrypted with; in no dump.', $$
    tenant_id  key       tenant
    name       security  how exports name it
    is_public  security  an OpenPGP public key, or a passphrase
    content    security  the key or the passphrase
    set_at     security  when it was set
$$);
ALTER TABLE guestcomms_internal.export_keys OWNER TO guestcomms_owner;
REVOKE ALL ON guestcomms_internal.export_keys FROM PUBLIC;

CREATE FUNCTION guestcomms_internal.check_export_key(content text) RETURNS text
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.export_keys import check_key
from guestcomms.problems import Problem
try:
    return check_key(content)
except Problem as problem:
    plpy.error(**problem.fields)
$$;
COMMENT ON FUNCTION guestcomms_internal.check_export_key(text) IS
'The fingerprint of an OpenPGP public key, NULL for a passphrase; an error for what nothing can be encrypted with here, which never holds what was given.';

CREATE FUNCTION guestcomms.set_export_key(name text, key text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_fingerprint text;
BEGIN
    IF set_export_key.name IS NULL OR set_export_key.name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'that cannot be the name of a key',
            HINT = 'At most 63 letters, digits, hyphens, underscores and dots, the first a letter or digit.';
    ELSIF set_export_key.key IS NULL THEN
        DELETE FROM guestcomms_internal.export_keys AS k WHERE k.tenant_id = v_tenant AND k.name = set_export_key.name;
    ELSE
        v_fingerprint := guestcomms_internal.check_export_key(set_export_key.key);
        INSERT INTO guestcomms_internal.export_keys AS k (tenant_id, name, is_public, content, set_at)
        VALUES (v_tenant, set_export_key.name, v_fingerprint IS NOT NULL, set_export_key.key, now())
        ON CONFLICT ON CONSTRAINT export_keys_pkey DO UPDATE SET is_public = excluded.is_public, content = excluded.content, set_at = excluded.set_at;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'set_export_key', 'export key ' || set_export_key.name,
        jsonb_build_object('fingerprint', v_fingerprint, 'is_removed', set_export_key.key IS NULL));
    RETURN v_fingerprint;
END $$;
COMMENT ON FUNCTION guestcomms.set_export_key(text, text) IS
$$Keeps a key under a name for exports of the current tenant to be encrypted with: an OpenPGP public key in ASCII armour, whose fingerprint is returned, or a passphrase of 12 characters or more. Without a key the name is forgotten. Pass the key as a parameter of the driver and not within the statement, which servers may log. It is in no dump; exports that wait for a forgotten key fail.
Example: SELECT guestcomms.set_export_key('privacy-office', 'four words nobody guesses');
See also: export_guest, list_export_keys$$;

CREATE FUNCTION guestcomms.list_export_keys() RETURNS TABLE (name text, is_public boolean, set_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY SELECT k.name, k.is_public, k.set_at FROM guestcomms_internal.export_keys AS k WHERE k.tenant_id = v_tenant ORDER BY k.name;
END $$;
COMMENT ON FUNCTION guestcomms.list_export_keys() IS
$$The names of the current tenant's keys for exports, and whether each is a public key or a passphrase.
Example: SELECT name, is_public FROM guestcomms.list_export_keys();
See also: set_export_key$$;
