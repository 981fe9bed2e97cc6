-- What is no message: searches, audit details, exports, notes of requests, and last of all the guest.
CREATE FUNCTION guestcomms_internal.export_holds_guest(tenant_id uuid, guest_ids uuid[], erasure_id uuid, export_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms.exports AS e
        WHERE e.tenant_id = export_holds_guest.tenant_id AND e.export_id = export_holds_guest.export_id
            AND (e.guest_id = ANY (export_holds_guest.guest_ids) OR e.guest_id IS NULL AND e.requested_at <= coalesce(
                (SELECT r.requested_at FROM guestcomms.erasures AS r WHERE r.tenant_id = export_holds_guest.tenant_id AND r.erasure_id = export_holds_guest.erasure_id), now())));
END $$;
COMMENT ON FUNCTION guestcomms_internal.export_holds_guest(uuid, uuid[], uuid, uuid) IS 'Whether an export is of a guest, or of all of the tenant and from before the erasure.';

CREATE FUNCTION guestcomms_internal.erase_exports(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_export record;
BEGIN
    -- Whoever could fetch a file may have it, also after it expired here.
    UPDATE guestcomms.erasures AS r
    SET recipients = r.recipients || (SELECT coalesce(jsonb_object_agg('export ' || e.export_id, NULL), '{}') FROM guestcomms.exports AS e
        WHERE e.tenant_id = erase_exports.tenant_id AND (e.guest_id = ANY (erase_exports.guest_ids) OR e.guest_id IS NULL)
            AND e.finished_at IS NOT NULL AND e.status <> 'failed')
    WHERE r.tenant_id = erase_exports.tenant_id AND r.erasure_id = erase_exports.erasure_id;
    FOR v_export IN
        SELECT e.export_id, e.status, e.guest_id FROM guestcomms.exports AS e
        WHERE e.tenant_id = erase_exports.tenant_id AND (e.guest_id = ANY (erase_exports.guest_ids) AND (e.status IN ('waiting', 'ready') OR e.conversations <> '{}' OR e.public_key IS NOT NULL)
            OR e.guest_id IS NULL AND e.status IN ('waiting', 'ready'))
        ORDER BY e.export_id FOR UPDATE
    LOOP
        IF v_export.status IN ('waiting', 'ready') THEN
            PERFORM guestcomms_internal.drop_export(erase_exports.tenant_id, v_export.export_id);
            PERFORM guestcomms_internal.record_audit(erase_exports.tenant_id, 'erase_export', 'export ' || v_export.export_id);
        END IF;
        UPDATE guestcomms.exports AS e SET conversations = '{}', public_key = NULL, damaged_segments = '{}'
        WHERE e.tenant_id = erase_exports.tenant_id AND e.export_id = v_export.export_id AND e.guest_id IS NOT NULL;
        PERFORM guestcomms_internal.note_erased(erase_exports.tenant_id, erase_exports.erasure_id, 'guestcomms.exports', 1);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_exports(uuid, uuid, uuid[]) IS
'Removes the files of exports of guests, and of exports of all of the tenant, which hold them, too; the rows stay as proof.';

CREATE FUNCTION guestcomms_internal.erase_queries(tenant_id uuid, erasure_id uuid, max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_after uuid := coalesce((SELECT e.reached_id FROM guestcomms.erasures AS e WHERE e.tenant_id = erase_queries.tenant_id AND e.erasure_id = erase_queries.erasure_id), guestcomms_internal.no_member());
    v_ids uuid[];
    v_count bigint;
BEGIN
    v_ids := ARRAY(SELECT q.query_id FROM guestcomms.search_queries AS q
        WHERE q.tenant_id = erase_queries.tenant_id AND q.query IS NOT NULL AND q.query_id > v_after ORDER BY q.query_id LIMIT erase_queries.max_rows);
    IF cardinality(v_ids) > 0 THEN
        UPDATE guestcomms.search_queries AS q SET query = NULL
        WHERE q.tenant_id = erase_queries.tenant_id AND q.query_id = ANY (v_ids) AND guestcomms_internal.query_names_erased(q.tenant_id, erase_queries.erasure_id, q.query);
        GET DIAGNOSTICS v_count = ROW_COUNT;
        PERFORM guestcomms_internal.note_erased(erase_queries.tenant_id, erase_queries.erasure_id, 'guestcomms.search_queries', v_count);
        UPDATE guestcomms.erasures AS e SET reached_id = v_ids[cardinality(v_ids)] WHERE e.tenant_id = erase_queries.tenant_id AND e.erasure_id = erase_queries.erasure_id;
    END IF;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_queries(uuid, uuid, integer) IS 'Takes the texts of logged searches that have anything of the guest; returns how many it looked at.';

CREATE FUNCTION guestcomms_internal.erase_searches(tenant_id uuid, erasure_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    v_ids uuid[];
    v_count bigint;
BEGIN
    v_ids := ARRAY(SELECT s.search_id FROM guestcomms.saved_searches AS s
        WHERE s.tenant_id = erase_searches.tenant_id AND guestcomms_internal.names_erased(s.tenant_id, erase_searches.erasure_id, concat_ws(' ', s.name, s.query), s.created_at));
    -- Their words, anchors and alerts go with them.
    DELETE FROM guestcomms.saved_searches AS s WHERE s.tenant_id = erase_searches.tenant_id AND s.search_id = ANY (v_ids);
    PERFORM guestcomms_internal.note_erased(erase_searches.tenant_id, erase_searches.erasure_id, 'guestcomms.saved_searches', cardinality(v_ids));
    DELETE FROM guestcomms.synonyms AS s
    WHERE s.tenant_id = erase_searches.tenant_id
        AND guestcomms_internal.names_erased(s.tenant_id, erase_searches.erasure_id, concat_ws(' ', s.term, array_to_string(s.alternatives, ' ')), NULL);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_searches.tenant_id, erase_searches.erasure_id, 'guestcomms.synonyms', v_count);
    DELETE FROM guestcomms.import_guest_lines AS l
    WHERE l.tenant_id = erase_searches.tenant_id AND guestcomms_internal.names_erased(l.tenant_id, erase_searches.erasure_id, l.line, NULL);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_searches.tenant_id, erase_searches.erasure_id, 'guestcomms.import_guest_lines', v_count);
    DELETE FROM guestcomms.search_clicks AS c USING guestcomms_internal.erasure_messages AS w
    WHERE w.tenant_id = erase_searches.tenant_id AND w.erasure_id = erase_searches.erasure_id AND w.treatment <> 'held' AND c.tenant_id = w.tenant_id AND c.message_id = w.message_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_searches.tenant_id, erase_searches.erasure_id, 'guestcomms.search_clicks', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_searches(uuid, uuid) IS 'Removes saved searches, synonyms and lines of files that name the guest, and what was clicked of their messages.';

CREATE FUNCTION guestcomms_internal.erase_audit_contents(tenant_id uuid, erasure_id uuid, guest_ids uuid[], max_rows integer) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET jit = off
AS $$
DECLARE
    -- Nobody spoke of a guest before there was one.
    v_after uuid := coalesce((SELECT e.reached_id FROM guestcomms.erasures AS e WHERE e.tenant_id = erase_audit_contents.tenant_id AND e.erasure_id = erase_audit_contents.erasure_id),
        guestcomms_internal.first_uuid_v7((SELECT min(g.created_at) FROM guestcomms.guests AS g WHERE g.tenant_id = erase_audit_contents.tenant_id AND g.guest_id = ANY (erase_audit_contents.guest_ids))));
    v_ids uuid[];
    v_count bigint;
BEGIN
    v_ids := ARRAY(SELECT c.entry_id FROM guestcomms.audit_contents AS c
        WHERE c.tenant_id = erase_audit_contents.tenant_id AND c.entry_id > v_after ORDER BY c.entry_id LIMIT erase_audit_contents.max_rows);
    IF cardinality(v_ids) > 0 THEN
        DELETE FROM guestcomms.audit_contents AS c
        WHERE c.tenant_id = erase_audit_contents.tenant_id AND c.entry_id = ANY (v_ids)
            AND c.content::text LIKE ANY (ARRAY(SELECT '%' || i.id || '%' FROM unnest(erase_audit_contents.guest_ids) AS i (id)));
        GET DIAGNOSTICS v_count = ROW_COUNT;
        PERFORM guestcomms_internal.note_erased(erase_audit_contents.tenant_id, erase_audit_contents.erasure_id, 'guestcomms.audit_contents', v_count);
        UPDATE guestcomms.erasures AS e SET reached_id = v_ids[cardinality(v_ids)] WHERE e.tenant_id = erase_audit_contents.tenant_id AND e.erasure_id = erase_audit_contents.erasure_id;
    END IF;
    RETURN cardinality(v_ids);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_audit_contents(uuid, uuid, uuid[], integer) IS
'Removes details of audit entries that name the guest, with their salts: the sealed entries keep a hash that says nothing. Returns how many it looked at.';

CREATE FUNCTION guestcomms_internal.erase_detached(tenant_id uuid, erasure_id uuid, guest_ids uuid[], message_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_detached record;
    v_count bigint;
BEGIN
    FOR v_detached IN SELECT d.relation, d.key_column FROM guestcomms_internal.detached_partitions() AS d LOOP
        PERFORM guestcomms_internal.reach_detached(v_detached.relation);
        EXECUTE format('DELETE FROM %s AS p WHERE p.tenant_id = $1 AND p.%I = ANY (%s)', v_detached.relation, v_detached.key_column,
            CASE v_detached.key_column WHEN 'guest_id' THEN '$2' ELSE '$3' END)
        USING erase_detached.tenant_id, erase_detached.guest_ids, erase_detached.message_ids;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        PERFORM guestcomms_internal.note_erased(erase_detached.tenant_id, erase_detached.erasure_id, v_detached.relation::text, v_count);
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_detached(uuid, uuid, uuid[], uuid[]) IS 'Removes rows of a guest from partitions that were detached and still exist.';

CREATE FUNCTION guestcomms_internal.erase_threads(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_thread uuid;
    v_count bigint := 0;
BEGIN
    FOR v_thread IN SELECT t.thread_id FROM guestcomms.threads AS t WHERE t.tenant_id = erase_threads.tenant_id AND t.guest_id = ANY (erase_threads.guest_ids) ORDER BY t.thread_id LOOP
        UPDATE guestcomms.threads AS t SET subject = NULL, assigned_to = NULL WHERE t.tenant_id = erase_threads.tenant_id AND t.thread_id = v_thread;
        v_count := v_count + 1;
        CONTINUE WHEN EXISTS (SELECT FROM guestcomms.archive_segments AS s
            WHERE s.tenant_id = erase_threads.tenant_id AND s.thread_ids @> ARRAY[v_thread] AND guestcomms_internal.segment_keys_v1(s.message_ids, s.thread_ids)
                && ARRAY[guestcomms_internal.segment_key_v1(v_thread, true)]);
        BEGIN
            DELETE FROM guestcomms.threads AS t WHERE t.tenant_id = erase_threads.tenant_id AND t.thread_id = v_thread;
        EXCEPTION
            -- Messages that stay, or a hold that is proof, refer to it.
            WHEN foreign_key_violation THEN
                NULL;
        END;
    END LOOP;
    PERFORM guestcomms_internal.note_erased(erase_threads.tenant_id, erase_threads.erasure_id, 'guestcomms.threads', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_threads(uuid, uuid, uuid[]) IS 'Removes a guest''s conversations; of those that something refers to, the subject and who has them.';

CREATE FUNCTION guestcomms_internal.erase_contacts(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM guestcomms_internal.note_suppressions(erase_contacts.tenant_id, erase_contacts.guest_ids);
    DELETE FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = erase_contacts.tenant_id AND a.guest_id = ANY (erase_contacts.guest_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_contacts.tenant_id, erase_contacts.erasure_id, 'guestcomms.guest_addresses', v_count);
    DELETE FROM guestcomms.consents AS c WHERE c.tenant_id = erase_contacts.tenant_id AND c.guest_id = ANY (erase_contacts.guest_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_contacts.tenant_id, erase_contacts.erasure_id, 'guestcomms.consents', v_count);
    DELETE FROM guestcomms.guest_merges AS m
    WHERE m.tenant_id = erase_contacts.tenant_id AND (m.guest_id = ANY (erase_contacts.guest_ids) OR m.merged_guest_id = ANY (erase_contacts.guest_ids));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_contacts.tenant_id, erase_contacts.erasure_id, 'guestcomms.guest_merges', v_count);
    DELETE FROM guestcomms.dismissed_duplicates AS d
    WHERE d.tenant_id = erase_contacts.tenant_id AND (d.guest_a = ANY (erase_contacts.guest_ids) OR d.guest_b = ANY (erase_contacts.guest_ids));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_contacts.tenant_id, erase_contacts.erasure_id, 'guestcomms.dismissed_duplicates', v_count);
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_contacts(uuid, uuid, uuid[]) IS 'Removes addresses, consents, and what merges of the guest could be undone by; objections stay as keyed hashes of the addresses.';

CREATE FUNCTION guestcomms_internal.erase_identity(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC'
AS $$
DECLARE
    v_weddings uuid[];
    v_count bigint;
BEGIN
    PERFORM guestcomms_internal.erase_contacts(erase_identity.tenant_id, erase_identity.erasure_id, erase_identity.guest_ids);
    v_weddings := guestcomms_internal.rename_weddings(erase_identity.tenant_id, erase_identity.erasure_id, erase_identity.guest_ids);
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.weddings', cardinality(v_weddings));
    DELETE FROM guestcomms.wedding_guests AS w WHERE w.tenant_id = erase_identity.tenant_id AND w.guest_id = ANY (erase_identity.guest_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.wedding_guests', v_count);
    DELETE FROM guestcomms.import_messages AS i
    WHERE i.tenant_id = erase_identity.tenant_id AND (i.guest_id = ANY (erase_identity.guest_ids)
        OR i.thread_id IN (SELECT t.thread_id FROM guestcomms.threads AS t WHERE t.tenant_id = erase_identity.tenant_id AND t.guest_id = ANY (erase_identity.guest_ids)));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.import_messages', v_count);
    PERFORM guestcomms_internal.erase_threads(erase_identity.tenant_id, erase_identity.erasure_id, erase_identity.guest_ids);
    DELETE FROM guestcomms.name_statistics AS n WHERE n.tenant_id = erase_identity.tenant_id AND n.kind = 'guest' AND n.named_id = ANY (erase_identity.guest_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.name_statistics', v_count);
    UPDATE guestcomms.subject_request_steps AS s SET note = NULL
    WHERE s.tenant_id = erase_identity.tenant_id AND s.note IS NOT NULL AND s.note !~ '^erasure [0-9a-f-]{36}$'
        AND s.request_id IN (SELECT r.request_id FROM guestcomms.subject_requests AS r WHERE r.tenant_id = erase_identity.tenant_id AND r.guest_id = ANY (erase_identity.guest_ids));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.subject_request_steps', v_count);
    UPDATE guestcomms.guests AS g SET display_name = NULL, language = NULL, timezone = NULL, updated_at = now(), erased_at = coalesce(g.erased_at, now()), restricted_at = NULL
    WHERE g.tenant_id = erase_identity.tenant_id AND g.guest_id = ANY (erase_identity.guest_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms.guests', v_count);
    -- What is left of facts, and the rows that say how the guest was and what the wedding is called.
    SELECT count(*) INTO v_count FROM guestcomms_bi.dim_guest AS d WHERE d.tenant_id = erase_identity.tenant_id AND d.guest_id = ANY (erase_identity.guest_ids) AND NOT d.is_erased;
    PERFORM FROM guestcomms.consumers AS c WHERE c.consumer = 'warehouse' FOR UPDATE;
    PERFORM guestcomms_internal.load_messages(NULL, NULL, (
        SELECT array_agg(m.member) FROM (
            SELECT ROW('guest', erase_identity.tenant_id, i.id)::guestcomms_internal.dimension_member AS member FROM unnest(erase_identity.guest_ids) AS i (id)
            UNION ALL
            SELECT ROW('wedding', erase_identity.tenant_id, i.id)::guestcomms_internal.dimension_member FROM unnest(v_weddings) AS i (id)
        ) AS m), false);
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms_bi.dim_guest', v_count);
    PERFORM guestcomms_internal.note_erased(erase_identity.tenant_id, erase_identity.erasure_id, 'guestcomms_bi.dim_wedding', cardinality(v_weddings));
END $$;
COMMENT ON FUNCTION guestcomms_internal.erase_identity(uuid, uuid, uuid[]) IS 'The last of an erasure: who the guest was.';
