-- Exports: ask for one, see how far it is, read it, remove it.
CREATE FUNCTION guestcomms_internal.lock_tenant_exports(tenant_id uuid, is_export boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_key bigint := hashtextextended(format('exports of %s', lock_tenant_exports.tenant_id), 0);
BEGIN
    -- Nobody waits: each may hold what the other wants next.
    IF NOT (SELECT CASE WHEN lock_tenant_exports.is_export THEN pg_try_advisory_xact_lock(v_key) ELSE pg_try_advisory_xact_lock_shared(v_key) END) THEN
        RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
            MESSAGE = CASE WHEN lock_tenant_exports.is_export THEN 'a guest of the business is being erased, or the business exported' ELSE 'the business is being exported' END,
            DETAIL = format('tenant_id %s.', lock_tenant_exports.tenant_id), HINT = 'Try again in a moment.';
    END IF;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_tenant_exports(uuid, boolean) IS
'Until the transaction ends no export of all of a tenant begins that an erasure would not see, nor an erasure that would not see the export; an error where the other is going on.';

CREATE FUNCTION guestcomms_internal.start_export(
    tenant_id uuid, guest_id uuid, formats text[], scope text, redact_others boolean, anonymize boolean, recipient_key text, compress boolean
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_is_armoured boolean := start_export.recipient_key LIKE '%-----BEGIN PGP%';
    v_guests uuid[] := guestcomms_internal.same_guests(start_export.tenant_id, start_export.guest_id);
    v_total bigint;
    v_guest_total bigint;
    v_export uuid;
BEGIN
    PERFORM guestcomms_internal.check_formats(start_export.formats);
    IF start_export.scope IS NULL OR start_export.scope NOT IN ('access', 'portability') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there is no such scope', DETAIL = format('scope is %s.', coalesce(quote_literal(start_export.scope), 'null')),
            HINT = 'Give access (all there is, GDPR Art. 15) or portability (what was provided or observed, Art. 20).';
    ELSIF num_nulls(start_export.redact_others, start_export.anonymize, start_export.compress) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'redact_others, anonymize and compress are true or false', HINT = 'Leave them out for their defaults.';
    ELSIF v_is_armoured THEN
        PERFORM guestcomms_internal.check_export_key(start_export.recipient_key);
    ELSIF start_export.recipient_key IS NOT NULL
        AND NOT EXISTS (SELECT FROM guestcomms_internal.export_keys AS k WHERE k.tenant_id = start_export.tenant_id AND k.name = start_export.recipient_key)
    THEN
        -- What was given is not repeated: it may be a secret that does not belong there.
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such key', DETAIL = 'recipient_key is neither an OpenPGP public key in ASCII armour nor the name of a key.',
            HINT = 'set_export_key() keeps a public key or a passphrase under a name; list_export_keys() shows the names.';
    END IF;
    PERFORM guestcomms_internal.take_quota(start_export.tenant_id, 'export', 1);
    IF start_export.guest_id IS NULL THEN
        PERFORM guestcomms_internal.lock_tenant_exports(start_export.tenant_id, true);
    END IF;
    v_total := (SELECT count(*) FROM guestcomms.messages AS m WHERE m.tenant_id = start_export.tenant_id AND (start_export.guest_id IS NULL OR m.guest_id = ANY (v_guests)))
        + (SELECT coalesce(sum(s.message_count), 0) FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = start_export.tenant_id AND (start_export.guest_id IS NULL OR s.guest_id = ANY (v_guests)));
    v_guest_total := CASE WHEN start_export.guest_id IS NULL THEN (SELECT count(*) FROM guestcomms.guests AS g WHERE g.tenant_id = start_export.tenant_id) ELSE 0 END;
    INSERT INTO guestcomms.exports (tenant_id, guest_id, formats, scope, redact_others, anonymize, compress, public_key, key_name, message_total)
    VALUES (start_export.tenant_id, start_export.guest_id, ARRAY(SELECT DISTINCT f.name FROM unnest(start_export.formats) AS f (name) ORDER BY f.name), start_export.scope,
        start_export.redact_others, start_export.anonymize, start_export.compress, CASE WHEN v_is_armoured THEN start_export.recipient_key END,
        CASE WHEN NOT v_is_armoured THEN start_export.recipient_key END, v_total)
    RETURNING export_id INTO v_export;
    IF v_total + v_guest_total <= guestcomms_internal.setting('privacy.export_at_once', start_export.tenant_id)::integer THEN
        WHILE guestcomms_internal.step_export(start_export.tenant_id, v_export) LOOP
            NULL;
        END LOOP;
    ELSE
        PERFORM guestcomms.request_job('write_exports', 'export_guest');
    END IF;
    RETURN v_export;
END $$;
COMMENT ON FUNCTION guestcomms_internal.start_export(uuid, uuid, text[], text, boolean, boolean, text, boolean) IS 'Notes an export of a guest, or of all of a tenant, and writes it at once where it is small.';

CREATE FUNCTION guestcomms_internal.check_formats(formats text[]) RETURNS void
LANGUAGE plpython3u STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.problems import Problem
from guestcomms.export_writing import check_formats
try:
    check_formats(formats)
except Problem as problem:
    plpy.error(**problem.fields)
$$;
COMMENT ON FUNCTION guestcomms_internal.check_formats(text[]) IS 'An error where a format is unknown or cannot be written on this server.';

CREATE FUNCTION guestcomms.export_guest(
    guest_id uuid, formats text[] DEFAULT '{html,jsonl}', scope text DEFAULT 'access', redact_others boolean DEFAULT false, anonymize boolean DEFAULT false,
    recipient_key text DEFAULT NULL, compress boolean DEFAULT true
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_guest uuid := guestcomms_internal.lock_guest(v_tenant, export_guest.guest_id);
    v_export uuid;
BEGIN
    v_export := guestcomms_internal.start_export(v_tenant, v_guest, export_guest.formats, export_guest.scope, export_guest.redact_others, export_guest.anonymize,
        export_guest.recipient_key, export_guest.compress);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'export_guest', 'export ' || v_export, jsonb_build_object('guest_id', v_guest, 'formats', export_guest.formats,
        'scope', export_guest.scope, 'is_encrypted', export_guest.recipient_key IS NOT NULL));
    RETURN v_export;
END $$;
COMMENT ON FUNCTION guestcomms.export_guest(uuid, text[], text, boolean, boolean, text, boolean) IS
$$Writes all data of a guest, archived messages too, to one zip with a manifest, and returns export_id; read_export() gives the file. formats: json, jsonl, csv, sql, html, pdf, and mbox and eml for e-mail. scope: access is all, also notes and conclusions, with purposes, recipients, retention, source and rights (GDPR Art. 15); portability is what was provided or observed (Art. 20). redact_others hides what looks like other people's data in texts, anonymize everybody's. recipient_key: an OpenPGP public key in ASCII armour, or the name of a key of set_export_key(). A guest with more messages than privacy.export_at_once is left to the job write_exports; get_export_progress() shows how far it is.
Example: SELECT guestcomms.export_guest('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', formats => '{html,jsonl,csv}');
See also: read_export, get_export_progress, remove_export, set_export_key, import_export, open_request$$;

CREATE FUNCTION guestcomms.anonymized_copy(formats text[] DEFAULT '{jsonl}', recipient_key text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_export uuid;
BEGIN
    v_export := guestcomms_internal.start_export(v_tenant, NULL, anonymized_copy.formats, 'access', false, true, anonymized_copy.recipient_key, true);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'anonymized_copy', 'export ' || v_export, jsonb_build_object('formats', anonymized_copy.formats));
    RETURN v_export;
END $$;
COMMENT ON FUNCTION guestcomms.anonymized_copy(text[], text) IS
$$Writes all data of the current tenant for a test system, with names and addresses replaced by made-up ones, other identifiers by others, times moved by the same number of weeks, and what looks like personal data hidden in texts; returns export_id, as export_guest() does. import_export() takes it into another store. Texts may still tell who somebody is: treat it as personal data.
Example: SELECT guestcomms.anonymized_copy();
See also: import_export, read_export, get_export_progress, k_anonymity, anonymize_text$$;

CREATE FUNCTION guestcomms.get_export_progress(id uuid DEFAULT NULL)
RETURNS TABLE (export_id uuid, guest_id uuid, status text, message_count bigint, message_total bigint, byte_count bigint, part_count integer, sha256 text, file_name text,
    requested_at timestamptz, finished_at timestamptz, expires_at timestamptz, error_code text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    RETURN QUERY
    SELECT e.export_id, e.guest_id,
        CASE WHEN e.status = 'waiting' AND (e.stage <> 'open' OR e.batch_count > 0) THEN 'running' WHEN e.status = 'ready' AND e.expires_at <= clock_timestamp() THEN 'expired' ELSE e.status END,
        e.message_count, e.message_total, e.byte_count, e.part_count, encode(e.sha256, 'hex'), e.file_name, e.requested_at, e.finished_at, e.expires_at, e.error_code
    FROM guestcomms.exports AS e
    WHERE e.tenant_id = v_tenant AND (get_export_progress.id IS NULL OR e.export_id = get_export_progress.id)
    ORDER BY e.requested_at DESC, e.export_id;
END $$;
COMMENT ON FUNCTION guestcomms.get_export_progress(uuid) IS
$$Exports of the current tenant, the newest first, or one: waiting, running, ready, failed (error_code is the SQLSTATE), expired or removed; how many messages are written of how many there were; size, parts and SHA-256 of the file, and when it expires.
Example: SELECT status, message_count, message_total, expires_at FROM guestcomms.get_export_progress();
See also: export_guest, read_export, remove_export$$;

CREATE FUNCTION guestcomms.read_export(export_id uuid) RETURNS TABLE (part_no integer, data bytea)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_export record;
BEGIN
    SELECT e.status, e.expires_at, e.error_code, e.part_count INTO v_export FROM guestcomms.exports AS e WHERE e.tenant_id = v_tenant AND e.export_id = read_export.export_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such export', DETAIL = format('export_id %s.', coalesce(read_export.export_id::text, 'null')),
            HINT = 'SELECT * FROM guestcomms.get_export_progress();';
    ELSIF v_export.status = 'waiting' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the export is not ready', DETAIL = 'The job write_exports writes it.',
            HINT = 'get_export_progress() shows how far it is; without a scheduler, an operator runs CALL guestcomms.run_job(''write_exports'').';
    ELSIF v_export.status <> 'ready' OR v_export.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is no file of the export',
            DETAIL = CASE v_export.status WHEN 'failed' THEN format('It failed with SQLSTATE %s.', v_export.error_code) WHEN 'removed' THEN 'It was removed.' ELSE 'It has expired.' END,
            HINT = 'Ask for it anew: export_guest(); privacy.export_lifetime says how long files are kept.';
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'read_export', 'export ' || read_export.export_id);
    RETURN QUERY SELECT p.part_number, p.data FROM guestcomms_internal.export_parts AS p WHERE p.tenant_id = v_tenant AND p.export_id = read_export.export_id ORDER BY p.part_number;
END $$;
COMMENT ON FUNCTION guestcomms.read_export(uuid) IS
$$The file of an export that is ready, in parts that one after the other are the file: a zip, or a zip encrypted for OpenPGP, as file_name of get_export_progress() says. Every call is noted in the audit trail. The number of a part counts from 1; each but the last has 1,048,575 bytes, a multiple of three, so that base64 of the parts joins, too.
Example: SELECT part_no, length(data) FROM guestcomms.read_export(guestcomms.export_guest('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10'));
See also: export_guest, get_export_progress, remove_export$$;

CREATE FUNCTION guestcomms.remove_export(export_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
BEGIN
    PERFORM FROM guestcomms.exports AS e WHERE e.tenant_id = v_tenant AND e.export_id = remove_export.export_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such export', DETAIL = format('export_id %s.', coalesce(remove_export.export_id::text, 'null')),
            HINT = 'SELECT * FROM guestcomms.get_export_progress();';
    END IF;
    PERFORM guestcomms_internal.drop_export(v_tenant, remove_export.export_id);
    PERFORM guestcomms_internal.record_audit(v_tenant, 'remove_export', 'export ' || remove_export.export_id);
END $$;
COMMENT ON FUNCTION guestcomms.remove_export(uuid) IS
$$Removes the file of an export before it expires, or stops one that is being written. That there was one stays on record.
Example: SELECT guestcomms.remove_export(export_id) FROM guestcomms.get_export_progress() WHERE status = 'ready';
See also: export_guest, get_export_progress$$;
