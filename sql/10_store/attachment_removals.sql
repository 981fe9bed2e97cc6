-- The to-delete list for the object store. A content comes on it when the last attachment that uses it goes, and is named
-- only while nothing uses it: a file that was forwarded stays for the message that still has it, archived or not.
CREATE FUNCTION guestcomms_internal.uri_hash(uri text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(convert_to(uri, 'UTF8'));
COMMENT ON FUNCTION guestcomms_internal.uri_hash(text) IS 'What contents are found by: a uri may be longer than an index takes.';

CREATE FUNCTION guestcomms_internal.lock_contents(tenant_id uuid, uri_hashes bytea[], is_shared boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_bucket bigint;
BEGIN
    -- Whoever uses a content anew and whoever takes its last use wait for each other, or neither would see the other's row. By
    -- buckets, so that a batch of any size takes few locks, and in order, so that two batches do not wait for each other.
    FOR v_bucket IN
        SELECT DISTINCT hashtextextended('guestcomms.attachment ' || lock_contents.tenant_id, get_byte(h.hash, 0)) FROM unnest(lock_contents.uri_hashes) AS h (hash) ORDER BY 1
    LOOP
        IF lock_contents.is_shared THEN
            PERFORM pg_advisory_xact_lock_shared(v_bucket);
        ELSE
            PERFORM pg_advisory_xact_lock(v_bucket);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.lock_contents(uuid, bytea[], boolean) IS
'Holds contents until the transaction ends: shared for new uses, alone for whoever may take the last one.';

CREATE FUNCTION guestcomms_internal.register_attachment_contents() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT DISTINCT c.tenant_id FROM changed AS c WHERE c.uri IS NOT NULL LOOP
        PERFORM guestcomms_internal.lock_contents(v_tenant, ARRAY(SELECT guestcomms_internal.uri_hash(c.uri) FROM changed AS c WHERE c.tenant_id = v_tenant AND c.uri IS NOT NULL), true);
    END LOOP;
    INSERT INTO guestcomms_internal.attachment_contents (tenant_id, attachment_id, message_id, name, media_type, byte_count, sha256, uri, uri_hash, created_at)
    SELECT c.tenant_id, c.attachment_id, c.message_id, c.name, c.media_type, c.byte_count, c.sha256, c.uri, guestcomms_internal.uri_hash(c.uri), c.created_at
    FROM changed AS c
    -- What comes back from the archive was never gone.
    ON CONFLICT ON CONSTRAINT attachment_contents_pkey DO NOTHING;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION guestcomms_internal.register_attachment_contents() IS 'Notes what is known of new attachments; the archive takes attachments, and not this.';

CREATE FUNCTION guestcomms_internal.drop_contents(tenant_id uuid, attachment_ids uuid[], reason text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_dropped guestcomms_internal.attachment_contents[];
    v_count bigint;
BEGIN
    PERFORM guestcomms_internal.lock_contents(drop_contents.tenant_id, ARRAY(SELECT c.uri_hash FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = drop_contents.tenant_id AND c.attachment_id = ANY (drop_contents.attachment_ids) AND c.uri IS NOT NULL), false);
    WITH dropped AS (
        DELETE FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = drop_contents.tenant_id AND c.attachment_id = ANY (drop_contents.attachment_ids)
        RETURNING c AS content
    )
    SELECT array_agg(d.content) INTO v_dropped FROM dropped AS d;
    INSERT INTO guestcomms.attachment_removals (tenant_id, uri_hash, uri, sha256, reason)
    SELECT DISTINCT ON (d.uri_hash) drop_contents.tenant_id, d.uri_hash, d.uri, d.sha256, drop_contents.reason
    FROM unnest(v_dropped) AS d
    WHERE d.uri IS NOT NULL AND NOT EXISTS (SELECT FROM guestcomms_internal.attachment_contents AS c WHERE c.tenant_id = drop_contents.tenant_id AND c.uri_hash = d.uri_hash)
    ORDER BY d.uri_hash
    -- One that is on it already, and was used again in between.
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms_internal.drop_contents(uuid, uuid[], text) IS
'Attachments are known and use their contents no more; those that nothing else uses come on the to-delete list. Returns how many came on it.';

CREATE FUNCTION guestcomms_internal.note_attachment_removal(tenant_id uuid, message_ids uuid[], reason text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM guestcomms.attachments AS a
    WHERE a.tenant_id = note_attachment_removal.tenant_id AND a.message_id = ANY (note_attachment_removal.message_ids);
    -- Of archived messages, too, whose attachments are in segments.
    RETURN guestcomms_internal.drop_contents(note_attachment_removal.tenant_id, ARRAY(SELECT c.attachment_id FROM guestcomms_internal.attachment_contents AS c
        WHERE c.tenant_id = note_attachment_removal.tenant_id AND c.message_id = ANY (note_attachment_removal.message_ids)), note_attachment_removal.reason);
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_attachment_removal(uuid, uuid[], text) IS
'Removes the attachments of messages from the hot tables and puts their contents, those of archived messages included, on the to-delete list where nothing else uses them; returns how many came on it. Again it does nothing. The caller bounds the messages, and rewrites the segments of archived ones.';

CREATE FUNCTION guestcomms.list_attachment_removals(max_rows integer DEFAULT 100, after uuid DEFAULT NULL)
RETURNS TABLE (removal_id uuid, uri text, sha256 bytea, reason text, requested_at timestamptz, tenant_id uuid)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER ROWS 100 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    -- Bounds that hold for one tenant and for all, and that an index is walked by in either case.
    v_first uuid := coalesce(v_tenant, uuid '00000000-0000-0000-0000-000000000000');
    v_last uuid := coalesce(v_tenant, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_after uuid := uuid '00000000-0000-0000-0000-000000000000';
    v_after_tenant uuid := v_first;
BEGIN
    IF list_attachment_removals.max_rows IS NULL OR list_attachment_removals.max_rows NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows is out of bounds',
            DETAIL = format('max_rows is %s.', coalesce(list_attachment_removals.max_rows::text, 'null')), HINT = 'Give a number from 1 to 1000.';
    END IF;
    IF list_attachment_removals.after IS NOT NULL THEN
        SELECT r.removal_id, r.tenant_id INTO v_after, v_after_tenant FROM guestcomms.attachment_removals AS r
        WHERE r.removal_id = list_attachment_removals.after AND r.tenant_id BETWEEN v_first AND v_last;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'there is no such removal', DETAIL = format('after is %s.', list_attachment_removals.after),
                HINT = 'after is the removal_id of the last row of the page before.';
        END IF;
    END IF;
    RETURN QUERY
    SELECT r.removal_id, r.uri, r.sha256, r.reason, r.requested_at, r.tenant_id
    FROM guestcomms.attachment_removals AS r
    WHERE r.removed_at IS NULL AND r.tenant_id BETWEEN v_first AND v_last AND (r.tenant_id, r.removal_id) > (v_after_tenant, v_after)
        -- One that was put on the list and is used again.
        AND NOT EXISTS (SELECT FROM guestcomms_internal.attachment_contents AS c WHERE c.tenant_id = r.tenant_id AND c.uri_hash = r.uri_hash)
    ORDER BY r.tenant_id, r.removal_id
    LIMIT list_attachment_removals.max_rows;
END $$;
COMMENT ON FUNCTION guestcomms.list_attachment_removals(integer, uuid) IS
$$Contents of attachments that are to be deleted from the object store, because the attachment, its message or its guest is gone: delete each there, then confirm_attachment_removal(). A content that anything still uses is not among them. For the current tenant, or, for an operator without one, for all tenants, closed ones included. For the next page, after is the last row's removal_id.
Example: SELECT removal_id, uri, reason FROM guestcomms.list_attachment_removals(max_rows => 1000);
See also: confirm_attachment_removal$$;

CREATE FUNCTION guestcomms.confirm_attachment_removal(removal_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms_internal.tenant_scope();
    v_count bigint;
BEGIN
    IF coalesce(cardinality(confirm_attachment_removal.removal_ids) > 1000, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'removal_ids is missing or too long',
            DETAIL = format('It has %s elements.', coalesce(cardinality(confirm_attachment_removal.removal_ids), 0)),
            HINT = 'Confirm up to 1000 at a time: what list_attachment_removals() named and is deleted now.';
    END IF;
    -- In order, so that two workers that confirm the same do not wait for each other.
    WITH confirmed AS MATERIALIZED (
        SELECT r.tenant_id, r.removal_id FROM guestcomms.attachment_removals AS r
        WHERE r.removal_id = ANY (confirm_attachment_removal.removal_ids) AND (v_tenant IS NULL OR r.tenant_id = v_tenant) AND r.removed_at IS NULL
        ORDER BY r.tenant_id, r.removal_id FOR UPDATE
    )
    UPDATE guestcomms.attachment_removals AS r SET removed_at = now(), uri = NULL
    FROM confirmed AS c WHERE r.tenant_id = c.tenant_id AND r.removal_id = c.removal_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION guestcomms.confirm_attachment_removal(uuid[]) IS
$$Notes that contents have been deleted from the object store, forgets where they were, and returns how many that were: those confirmed before are not counted again, and what is not the tenant's is left alone.
Example: SELECT guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.list_attachment_removals()));
See also: list_attachment_removals$$;
