-- Writing an export, one bounded batch a transaction: what is no message first, then archived messages, then those of the
-- tables, then what moved between the two meanwhile; in the end all pieces become one file. The ledger export_messages keeps a
-- message that moves from being lost or written twice.
CREATE FUNCTION guestcomms_internal.write_export(tenant_id uuid, export_id uuid, stage text, records json[], context json) RETURNS uuid[]
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.export_writing import write_batch
return write_batch(plpy, GD, tenant_id, export_id, stage, records, context)
$$;
COMMENT ON FUNCTION guestcomms_internal.write_export(uuid, uuid, text, json[], json) IS 'Adds the pieces of a batch to the files of an export; returns which messages were in it.';

CREATE FUNCTION guestcomms_internal.assemble_export(tenant_id uuid, export_id uuid, manifest json, public_key text, passphrase text, file_name text) RETURNS TABLE (byte_count bigint, part_count integer, sha256 bytea)
LANGUAGE plpython3u VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
if "guestcomms" not in GD:
    plpy.execute("SELECT guestcomms_internal.load_python()")
from guestcomms.export_writing import assemble
return [assemble(plpy, GD, tenant_id, export_id, manifest, public_key=public_key, passphrase=passphrase, file_name=file_name)]
$$;
COMMENT ON FUNCTION guestcomms_internal.assemble_export(uuid, uuid, json, text, text, text) IS 'Makes the pieces of an export one zip with its manifest, encrypted where there is a key, and stores it in parts.';

CREATE FUNCTION guestcomms_internal.next_archived(tenant_id uuid, export_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_export record;
    v_limit integer := guestcomms_internal.setting('privacy.export_batch_messages', next_archived.tenant_id)::integer;
BEGIN
    SELECT e.guest_id, guestcomms_internal.same_guests(e.tenant_id, e.guest_id) AS guests, e.reached_at, e.reached_id, e.damaged_segments INTO v_export FROM guestcomms.exports AS e
    WHERE e.tenant_id = next_archived.tenant_id AND e.export_id = next_archived.export_id;
    RETURN ARRAY(
        SELECT o.segment_id FROM (
            SELECT s.segment_id, s.first_sent_at, sum(s.message_count) OVER earlier AS messages, sum(s.plain_bytes) OVER earlier AS bytes, row_number() OVER earlier AS number
            FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = next_archived.tenant_id AND (v_export.guest_id IS NULL OR s.guest_id = ANY (v_export.guests))
                AND s.first_sent_at >= coalesce(v_export.reached_at, '-infinity')
                AND (v_export.reached_at IS NULL OR (s.first_sent_at, s.segment_id) > (v_export.reached_at, v_export.reached_id))
                AND s.segment_id <> ALL (v_export.damaged_segments)
                -- A look-up for each (OFFSET 0), whatever the planner thinks of a table that was empty a moment ago.
                AND EXISTS (SELECT FROM unnest(s.message_ids) AS i (id) WHERE (SELECT true FROM guestcomms_internal.export_messages AS w
                    WHERE w.tenant_id = next_archived.tenant_id AND w.export_id = next_archived.export_id AND w.message_id = i.id OFFSET 0) IS NULL)
            WINDOW earlier AS (ORDER BY s.first_sent_at, s.segment_id)
            ORDER BY s.first_sent_at, s.segment_id LIMIT v_limit
        ) AS o
        WHERE o.number = 1 OR (o.messages <= v_limit AND o.bytes <= 16777216)
        ORDER BY o.first_sent_at, o.segment_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.next_archived(uuid, uuid) IS 'The next segments with messages that an export has not written, as many as make a batch.';

CREATE FUNCTION guestcomms_internal.next_hot(tenant_id uuid, export_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_export record;
    v_limit integer := guestcomms_internal.setting('privacy.export_batch_messages', next_hot.tenant_id)::integer;
    v_since timestamptz;
BEGIN
    SELECT e.guest_id, guestcomms_internal.same_guests(e.tenant_id, e.guest_id) AS guests, coalesce(e.reached_at, '-infinity') AS reached_at, coalesce(e.reached_id, guestcomms_internal.no_member()) AS reached_id, e.requested_at INTO v_export
    FROM guestcomms.exports AS e WHERE e.tenant_id = next_hot.tenant_id AND e.export_id = next_hot.export_id;
    v_since := v_export.reached_at;
    RETURN ARRAY(
        SELECT o.message_id FROM (
            SELECT m.message_id, m.sent_at, sum(octet_length(m.body)) OVER (ORDER BY m.sent_at, m.message_id) AS bytes, row_number() OVER (ORDER BY m.sent_at, m.message_id) AS number
            FROM (
                SELECT n.message_id, n.sent_at, n.body FROM guestcomms.messages AS n
                WHERE n.tenant_id = next_hot.tenant_id AND (v_export.guest_id IS NULL OR n.guest_id = ANY (v_export.guests))
                    AND n.sent_at >= v_since AND (n.sent_at, n.message_id) > (v_export.reached_at, v_export.reached_id)
                    -- What is planned for later was there when it was asked for, or may well be in it.
                    AND (n.sent_at <= v_export.requested_at OR n.status = 'queued')
                    AND (SELECT true FROM guestcomms_internal.export_messages AS w
                        WHERE w.tenant_id = next_hot.tenant_id AND w.export_id = next_hot.export_id AND w.message_id = n.message_id OFFSET 0) IS NULL
                ORDER BY n.sent_at, n.message_id LIMIT v_limit
            ) AS m
        ) AS o
        WHERE o.number = 1 OR o.bytes <= 16777216
        ORDER BY o.number);
END $$;
COMMENT ON FUNCTION guestcomms_internal.next_hot(uuid, uuid) IS 'The next messages of the tables that an export has not written, as many as make a batch.';

CREATE FUNCTION guestcomms_internal.export_context(tenant_id uuid, export_id uuid) RETURNS json
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
    SELECT json_build_object(
        'schema_version', 1, 'export_id', e.export_id, 'made_at', e.requested_at, 'business', t.name, 'tenant_id', t.tenant_id, 'guest_id', e.guest_id,
        'guest_name', g.display_name, 'timezone', coalesce(g.timezone, t.timezone), 'language', 'en', 'formats', e.formats, 'scope', e.scope,
        'redact_others', e.redact_others, 'anonymize', e.anonymize, 'compress', e.compress, 'batch_number', e.batch_count, 'message_count', e.message_count,
        'addresses', ARRAY(SELECT a.address FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = e.tenant_id AND a.guest_id = e.guest_id ORDER BY a.is_primary DESC, a.channel, a.address),
        'counts', e.counts, 'conversations', CASE WHEN e.guest_id IS NOT NULL THEN e.conversations END, 'first_sent_at', guestcomms_internal.written_at(e.tenant_id, e.export_id, true), 'last_sent_at', guestcomms_internal.written_at(e.tenant_id, e.export_id, false),
        'tables', (SELECT json_object_agg(x.table_name, (SELECT json_agg(json_build_object('name', c.column_name, 'type', c.type) ORDER BY c.place)
            FROM guestcomms_internal.export_columns(x.table_name) AS c) ORDER BY x.place) FROM guestcomms_internal.export_tables() AS x WHERE x.in_portability OR e.scope = 'access'),
        'left_out', guestcomms_internal.export_left_out(e.tenant_id, e.export_id),
        'about', CASE WHEN e.scope = 'access' AND e.guest_id IS NOT NULL AND e.stage IN ('open', 'close') THEN guestcomms_internal.about_data(e.tenant_id, e.guest_id) END)
    FROM guestcomms.exports AS e
    JOIN guestcomms.tenants AS t ON t.tenant_id = e.tenant_id
    LEFT JOIN guestcomms.guests AS g ON g.tenant_id = e.tenant_id AND g.guest_id = e.guest_id
    WHERE e.tenant_id = export_context.tenant_id AND e.export_id = export_context.export_id
$$;
COMMENT ON FUNCTION guestcomms_internal.export_context(uuid, uuid) IS 'What the files of an export say besides the records.';

CREATE FUNCTION guestcomms_internal.written_at(tenant_id uuid, export_id uuid, is_first boolean) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    -- Identifiers of version 7 are in the order of time.
    IF written_at.is_first THEN
        RETURN (SELECT guestcomms.uuid_v7_time(w.message_id) FROM guestcomms_internal.export_messages AS w
            WHERE w.tenant_id = written_at.tenant_id AND w.export_id = written_at.export_id ORDER BY w.message_id LIMIT 1);
    END IF;
    RETURN (SELECT guestcomms.uuid_v7_time(w.message_id) FROM guestcomms_internal.export_messages AS w
        WHERE w.tenant_id = written_at.tenant_id AND w.export_id = written_at.export_id ORDER BY w.message_id DESC LIMIT 1);
END $$;
COMMENT ON FUNCTION guestcomms_internal.written_at(uuid, uuid, boolean) IS 'When the first or the last message that an export has written was sent.';

CREATE FUNCTION guestcomms_internal.note_written(tenant_id uuid, export_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO guestcomms_internal.export_messages (tenant_id, export_id, message_id) SELECT note_written.tenant_id, note_written.export_id, i.id FROM unnest(note_written.message_ids) AS i (id);
    UPDATE guestcomms.exports AS e SET message_count = e.message_count + cardinality(note_written.message_ids), batch_count = e.batch_count + 1
    WHERE e.tenant_id = note_written.tenant_id AND e.export_id = note_written.export_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_written(uuid, uuid, uuid[]) IS 'Notes which messages a batch of an export has written.';

CREATE FUNCTION guestcomms_internal.export_archived(tenant_id uuid, export_id uuid, segment_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_segment record;
    v_content json;
    v_contents guestcomms_internal.guest_content[] := ARRAY[]::guestcomms_internal.guest_content[];
    v_ids uuid[] := ARRAY[]::uuid[];
    v_is_portability boolean;
BEGIN
    FOR v_segment IN
        SELECT s.segment_id, s.first_sent_at, s.guest_id, s.message_ids FROM guestcomms.archive_segments AS s
        WHERE s.tenant_id = export_archived.tenant_id AND s.segment_id = ANY (export_archived.segment_ids) ORDER BY s.first_sent_at, s.segment_id
        -- Nobody rewrites them before their messages are noted.
        FOR SHARE
    LOOP
        BEGIN
            v_content := guestcomms_internal.read_segment(export_archived.tenant_id, v_segment.segment_id);
            v_contents := v_contents || ROW(v_segment.guest_id, v_content)::guestcomms_internal.guest_content;
            v_ids := v_ids || v_segment.message_ids;
        EXCEPTION
            -- The export says what it could not read; the rest of the guest's data is not kept from them.
            WHEN data_corrupted THEN
                UPDATE guestcomms.exports AS e SET damaged_segments = e.damaged_segments || v_segment.segment_id
                WHERE e.tenant_id = export_archived.tenant_id AND e.export_id = export_archived.export_id;
        END;
    END LOOP;
    v_ids := ARRAY(SELECT DISTINCT i.id FROM unnest(v_ids) AS i (id) WHERE NOT EXISTS (SELECT FROM guestcomms_internal.export_messages AS w
        WHERE w.tenant_id = export_archived.tenant_id AND w.export_id = export_archived.export_id AND w.message_id = i.id));
    SELECT e.scope = 'portability' INTO v_is_portability FROM guestcomms.exports AS e WHERE e.tenant_id = export_archived.tenant_id AND e.export_id = export_archived.export_id;
    PERFORM guestcomms_internal.write_export(export_archived.tenant_id, export_archived.export_id, 'add',
        guestcomms_internal.message_records(export_archived.tenant_id, v_ids, v_contents, v_is_portability),
        guestcomms_internal.export_context(export_archived.tenant_id, export_archived.export_id));
    PERFORM guestcomms_internal.note_written(export_archived.tenant_id, export_archived.export_id, v_ids);
    UPDATE guestcomms.exports AS e SET reached_at = v_segment.first_sent_at, reached_id = v_segment.segment_id
    WHERE e.tenant_id = export_archived.tenant_id AND e.export_id = export_archived.export_id AND v_segment.segment_id IS NOT NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.export_archived(uuid, uuid, uuid[]) IS 'Writes a batch of an export: the messages of these segments.';

CREATE FUNCTION guestcomms_internal.export_hot(tenant_id uuid, export_id uuid, message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_is_portability boolean;
    v_last uuid := export_hot.message_ids[cardinality(export_hot.message_ids)];
    v_written uuid[];
BEGIN
    SELECT e.scope = 'portability' INTO v_is_portability FROM guestcomms.exports AS e WHERE e.tenant_id = export_hot.tenant_id AND e.export_id = export_hot.export_id;
    -- STABLE: all of it as of one moment, though an archive run may take some of them away before it.
    v_written := guestcomms_internal.write_export(export_hot.tenant_id, export_hot.export_id, 'add',
        guestcomms_internal.message_records(export_hot.tenant_id, export_hot.message_ids, NULL, v_is_portability),
        guestcomms_internal.export_context(export_hot.tenant_id, export_hot.export_id));
    PERFORM guestcomms_internal.note_written(export_hot.tenant_id, export_hot.export_id, v_written);
    UPDATE guestcomms.exports AS e SET reached_at = guestcomms.uuid_v7_time(v_last), reached_id = v_last
    WHERE e.tenant_id = export_hot.tenant_id AND e.export_id = export_hot.export_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.export_hot(uuid, uuid, uuid[]) IS 'Writes a batch of an export: these messages of the tables.';

CREATE FUNCTION guestcomms_internal.has_unwritten(tenant_id uuid, export_id uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    -- One statement, so one moment: what is just being archived is in the one or in the other.
    SELECT cardinality(guestcomms_internal.next_hot(has_unwritten.tenant_id, has_unwritten.export_id)) > 0
        OR cardinality(guestcomms_internal.next_archived(has_unwritten.tenant_id, has_unwritten.export_id)) > 0
$$;
COMMENT ON FUNCTION guestcomms_internal.has_unwritten(uuid, uuid) IS 'Whether messages moved past an export that went through archive and tables; asked when it begins again from the start.';

CREATE FUNCTION guestcomms_internal.finish_export(tenant_id uuid, export_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_export record;
    v_passphrase text;
    v_public_key text;
    v_key record;
    v_name text;
    v_context json := guestcomms_internal.export_context(finish_export.tenant_id, finish_export.export_id);
    v_file record;
BEGIN
    SELECT e.guest_id, e.requested_at, e.public_key, e.key_name, e.anonymize INTO v_export FROM guestcomms.exports AS e WHERE e.tenant_id = finish_export.tenant_id AND e.export_id = finish_export.export_id;
    v_public_key := v_export.public_key;
    IF v_export.key_name IS NOT NULL THEN
        SELECT k.is_public, k.content INTO v_key FROM guestcomms_internal.export_keys AS k WHERE k.tenant_id = finish_export.tenant_id AND k.name = v_export.key_name;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'the key of the export was forgotten', HINT = 'set_export_key() keeps one; then ask for the export anew.';
        ELSIF v_key.is_public THEN
            v_public_key := v_key.content;
        ELSE
            v_passphrase := v_key.content;
        END IF;
    END IF;
    v_name := format('%s-%s.zip', CASE WHEN v_export.anonymize THEN 'anonymized' WHEN v_export.guest_id IS NULL THEN 'tenant' ELSE 'guest' END, to_char(v_export.requested_at, 'YYYY-MM-DD'));
    PERFORM guestcomms_internal.write_export(finish_export.tenant_id, finish_export.export_id, 'close', ARRAY[]::json[], v_context);
    SELECT a.byte_count, a.part_count, a.sha256 INTO v_file
    FROM guestcomms_internal.assemble_export(finish_export.tenant_id, finish_export.export_id, v_context, v_public_key, v_passphrase, v_name) AS a;
    PERFORM guestcomms_internal.drop_export_pieces(finish_export.tenant_id, finish_export.export_id);
    UPDATE guestcomms.exports AS e
    SET status = 'ready', finished_at = clock_timestamp(), file_name = v_name || CASE WHEN num_nonnulls(v_public_key, v_passphrase) > 0 THEN '.gpg' ELSE '' END,
        byte_count = v_file.byte_count, part_count = v_file.part_count, sha256 = v_file.sha256,
        expires_at = clock_timestamp() + guestcomms_internal.setting('privacy.export_lifetime', finish_export.tenant_id)::interval
    WHERE e.tenant_id = finish_export.tenant_id AND e.export_id = finish_export.export_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.finish_export(uuid, uuid) IS 'Makes the file of an export of which all is written.';

CREATE FUNCTION guestcomms_internal.drop_export_pieces(tenant_id uuid, export_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM guestcomms_internal.export_fragments AS f WHERE f.tenant_id = drop_export_pieces.tenant_id AND f.export_id = drop_export_pieces.export_id;
    DELETE FROM guestcomms_internal.export_messages AS m WHERE m.tenant_id = drop_export_pieces.tenant_id AND m.export_id = drop_export_pieces.export_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_export_pieces(uuid, uuid) IS 'Removes what an export needs only while it is written.';

CREATE FUNCTION guestcomms_internal.step_export(tenant_id uuid, export_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_export record;
    v_stage text;
    v_ids uuid[];
BEGIN
    SELECT e.guest_id, e.stage, e.scope, e.status INTO v_export FROM guestcomms.exports AS e
    WHERE e.tenant_id = step_export.tenant_id AND e.export_id = step_export.export_id FOR UPDATE;
    IF v_export.status IS DISTINCT FROM 'waiting' THEN
        RETURN false;
    END IF;
    IF v_export.stage = 'open' THEN
        PERFORM guestcomms_internal.write_export(step_export.tenant_id, step_export.export_id, 'open',
            guestcomms_internal.other_records(step_export.tenant_id, v_export.guest_id, v_export.scope = 'portability'),
            guestcomms_internal.export_context(step_export.tenant_id, step_export.export_id));
        v_stage := 'archive';
    ELSIF v_export.stage = 'archive' THEN
        v_ids := guestcomms_internal.next_archived(step_export.tenant_id, step_export.export_id);
        IF cardinality(v_ids) > 0 THEN
            PERFORM guestcomms_internal.export_archived(step_export.tenant_id, step_export.export_id, v_ids);
            RETURN true;
        END IF;
        v_stage := 'tables';
    ELSIF v_export.stage = 'tables' THEN
        v_ids := guestcomms_internal.next_hot(step_export.tenant_id, step_export.export_id);
        IF cardinality(v_ids) > 0 THEN
            PERFORM guestcomms_internal.export_hot(step_export.tenant_id, step_export.export_id, v_ids);
            RETURN true;
        END IF;
        v_stage := 'close';
    ELSIF guestcomms_internal.has_unwritten(step_export.tenant_id, step_export.export_id) THEN
        v_stage := 'archive';
    ELSE
        PERFORM guestcomms_internal.finish_export(step_export.tenant_id, step_export.export_id);
        RETURN true;
    END IF;
    UPDATE guestcomms.exports AS e SET stage = v_stage, reached_at = NULL, reached_id = NULL
    WHERE e.tenant_id = step_export.tenant_id AND e.export_id = step_export.export_id;
    RETURN true;
END $$;
COMMENT ON FUNCTION guestcomms_internal.step_export(uuid, uuid) IS 'One bounded step of an export; false where nothing is left to do.';

CREATE FUNCTION guestcomms_internal.export_batch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_export record;
    v_code text;
BEGIN
    SELECT e.tenant_id, e.export_id INTO v_export FROM guestcomms.exports AS e WHERE e.status = 'waiting' ORDER BY e.requested_at, e.export_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    BEGIN
        PERFORM guestcomms_internal.step_export(v_export.tenant_id, v_export.export_id);
    EXCEPTION
        -- One that cannot be written must not keep the others. Of the error only the code is kept: its text may hold a guest's.
        WHEN data_exception OR integrity_constraint_violation OR feature_not_supported OR undefined_object OR external_routine_exception OR program_limit_exceeded
            OR internal_error OR data_corrupted THEN
            GET STACKED DIAGNOSTICS v_code = RETURNED_SQLSTATE;
            PERFORM guestcomms_internal.drop_export_pieces(v_export.tenant_id, v_export.export_id);
            UPDATE guestcomms.exports AS e SET status = 'failed', error_code = v_code, public_key = NULL, finished_at = clock_timestamp(), expires_at = clock_timestamp()
            WHERE e.tenant_id = v_export.tenant_id AND e.export_id = v_export.export_id;
            RAISE WARNING USING ERRCODE = v_code, MESSAGE = 'an export failed', DETAIL = format('export_id %s, SQLSTATE %s.', v_export.export_id, v_code),
                HINT = 'SELECT * FROM guestcomms.get_export_progress();';
    END;
    RETURN 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.export_batch() IS 'One step of the oldest export that waits; 0 where none does.';

CREATE FUNCTION guestcomms_internal.trim_exports() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_export record;
BEGIN
    SELECT e.tenant_id, e.export_id INTO v_export FROM guestcomms.exports AS e
    WHERE e.status = 'ready' AND e.expires_at < clock_timestamp() ORDER BY e.expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    PERFORM guestcomms_internal.drop_export(v_export.tenant_id, v_export.export_id);
    PERFORM guestcomms_internal.record_audit(v_export.tenant_id, 'expire_export', 'export ' || v_export.export_id);
    RETURN 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trim_exports() IS 'Removes the file of one export that has expired; 0 where there is none.';

CREATE FUNCTION guestcomms_internal.drop_export(tenant_id uuid, export_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM guestcomms_internal.drop_export_pieces(drop_export.tenant_id, drop_export.export_id);
    DELETE FROM guestcomms_internal.export_parts AS p WHERE p.tenant_id = drop_export.tenant_id AND p.export_id = drop_export.export_id;
    UPDATE guestcomms.exports AS e SET status = 'removed', public_key = NULL WHERE e.tenant_id = drop_export.tenant_id AND e.export_id = drop_export.export_id;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_export(uuid, uuid) IS 'Removes the file of an export, or what is written of it; its row stays.';
