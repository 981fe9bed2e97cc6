-- Looking again: an erasure is done when every place has been looked at and nothing was found.
CREATE FUNCTION guestcomms_internal.verify_places(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_place record;
    v_ids uuid[] := ARRAY(SELECT m.message_id FROM guestcomms_internal.erasure_messages AS m
        WHERE m.tenant_id = verify_places.tenant_id AND m.erasure_id = verify_places.erasure_id);
    v_kept uuid[] := ARRAY(SELECT m.message_id FROM guestcomms_internal.erasure_messages AS m
        WHERE m.tenant_id = verify_places.tenant_id AND m.erasure_id = verify_places.erasure_id AND m.treatment IN ('blanked', 'hidden'));
    v_left bigint;
    v_total bigint := 0;
BEGIN
    FOR v_place IN
        SELECT p.place, p.condition FROM guestcomms_internal.erasure_places() AS p WHERE p.condition IS NOT NULL
        UNION ALL
        SELECT d.relation::text, format('p.%I = ANY (%s)', d.key_column, CASE d.key_column WHEN 'guest_id' THEN '$2' ELSE '$3' END) FROM guestcomms_internal.detached_partitions() AS d
    LOOP
        v_left := guestcomms_internal.count_in_place(v_place.place, v_place.condition, verify_places.tenant_id, verify_places.guest_ids, v_ids, v_kept, verify_places.erasure_id);
        PERFORM guestcomms_internal.note_erased(verify_places.tenant_id, verify_places.erasure_id, v_place.place, 0);
        UPDATE guestcomms.erasure_receipts AS r SET left_count = v_left, verified_at = clock_timestamp()
        WHERE r.tenant_id = verify_places.tenant_id AND r.erasure_id = verify_places.erasure_id AND r.place = v_place.place;
        v_total := v_total + v_left;
    END LOOP;
    RETURN v_total;
END $$;
COMMENT ON FUNCTION guestcomms_internal.verify_places(uuid, uuid, uuid[]) IS 'Looks at every place again and notes in the receipt what it found; returns how many rows are left.';

CREATE FUNCTION guestcomms_internal.verify_erasure(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_erasure record;
    v_left bigint := guestcomms_internal.verify_places(verify_erasure.tenant_id, verify_erasure.erasure_id, verify_erasure.guest_ids);
BEGIN
    SELECT e.round_count, e.request_id, e.mode, e.is_replay, e.message_count INTO v_erasure FROM guestcomms.erasures AS e
    WHERE e.tenant_id = verify_erasure.tenant_id AND e.erasure_id = verify_erasure.erasure_id;
    IF v_left > 0 AND v_erasure.round_count >= 5 THEN
        RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'something of the guest is left after it was erased five times over',
            DETAIL = format('Erasure %s: %s.', verify_erasure.erasure_id, (SELECT string_agg(r.place || ' ' || r.left_count, ', ' ORDER BY r.place) FROM guestcomms.erasure_receipts AS r
                WHERE r.tenant_id = verify_erasure.tenant_id AND r.erasure_id = verify_erasure.erasure_id AND r.left_count > 0)),
            HINT = 'SELECT * FROM guestcomms.list_erasure_receipt(erasure_id) WHERE left_count > 0; somebody may be writing there.';
    ELSIF v_left > 0 THEN
        RETURN guestcomms_internal.end_of_stage(verify_erasure.tenant_id, verify_erasure.erasure_id, 'collect');
    END IF;
    PERFORM guestcomms_internal.note_erased_indexes(verify_erasure.tenant_id, verify_erasure.erasure_id);
    PERFORM guestcomms_internal.drop_worklist(verify_erasure.tenant_id, verify_erasure.erasure_id);
    UPDATE guestcomms.erasures AS e SET status = 'done', guest_id = NULL, finished_at = clock_timestamp(), hold_ids = '{}', error_code = NULL, retry_at = NULL
    WHERE e.tenant_id = verify_erasure.tenant_id AND e.erasure_id = verify_erasure.erasure_id;
    IF EXISTS (SELECT FROM guestcomms.subject_requests AS r
        WHERE r.tenant_id = verify_erasure.tenant_id AND r.request_id = v_erasure.request_id AND r.status = 'open' FOR UPDATE)
    THEN
        PERFORM guestcomms_internal.close_request(verify_erasure.tenant_id, v_erasure.request_id, 'answered', 'erasure ' || verify_erasure.erasure_id, NULL);
    END IF;
    PERFORM guestcomms_internal.record_audit(verify_erasure.tenant_id, 'finish_erasure', 'erasure ' || verify_erasure.erasure_id,
        jsonb_build_object('mode', v_erasure.mode, 'is_replay', v_erasure.is_replay, 'messages', v_erasure.message_count));
    RETURN false;
END $$;
COMMENT ON FUNCTION guestcomms_internal.verify_erasure(uuid, uuid, uuid[]) IS 'Ends an erasure when nothing is left; else it begins anew.';

CREATE FUNCTION guestcomms_internal.note_erased_indexes(tenant_id uuid, erasure_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT m.message_id FROM guestcomms_internal.erasure_messages AS m
        WHERE m.tenant_id = note_erased_indexes.tenant_id AND m.erasure_id = note_erased_indexes.erasure_id);
BEGIN
    INSERT INTO guestcomms_internal.erased_indexes AS i (index_name, file_number)
    SELECT format('%I.%I', n.nspname, c.relname), pg_relation_filenode(c.oid)
    FROM (
        SELECT r.place::regclass::oid AS relid, r.place::regclass::oid AS parent FROM guestcomms.erasure_receipts AS r
        WHERE r.tenant_id = note_erased_indexes.tenant_id AND r.erasure_id = note_erased_indexes.erasure_id AND r.row_count > 0
            AND (SELECT k.relkind FROM pg_catalog.pg_class AS k WHERE k.oid = r.place::regclass) = 'r'
        UNION ALL
        -- What vocabulary and suggestions are made of is counted as one.
        SELECT p.name::regclass, p.name::regclass FROM unnest('{guestcomms.vocabulary,guestcomms.spelling_words,guestcomms.suggestion_prefixes}'::text[]) AS p (name)
        UNION ALL
        SELECT l.partition, p.name::regclass FROM unnest('{guestcomms.messages,guestcomms.archive_segments}'::text[]) AS p (name)
        CROSS JOIN LATERAL guestcomms_internal.list_partitions(p.name) AS l
        -- A segment lies where its first message was sent, which may be a year before.
        WHERE EXISTS (SELECT FROM unnest(v_ids) AS m (id) WHERE guestcomms.uuid_v7_time(m.id) >= coalesce(l.since, '-infinity') AND guestcomms.uuid_v7_time(m.id) < coalesce(l.until, 'infinity'))
    ) AS t
    JOIN pg_catalog.pg_index AS x ON x.indrelid = t.relid
    JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE x.indexprs IS NOT NULL OR EXISTS (
        SELECT FROM unnest(x.indkey::smallint[]) AS k (number)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.relid AND a.attnum = k.number
        JOIN pg_catalog.pg_attribute AS b ON b.attrelid = t.parent AND b.attname = a.attname
        WHERE a.atttypid IN ('text'::regtype, 'tsvector'::regtype, 'jsonb'::regtype)
            AND (col_description(t.parent, b.attnum) ~ '\[retention: (content|contact)\]' OR a.attname = 'external_id'))
    ON CONFLICT ON CONSTRAINT erased_indexes_pkey DO UPDATE SET file_number = excluded.file_number, noted_at = excluded.noted_at;
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_erased_indexes(uuid, uuid) IS 'Notes the indexes that words of an erased guest may still be keys of.';

CREATE FUNCTION guestcomms_internal.forget_made_indexes() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM guestcomms_internal.erased_indexes AS i WHERE pg_relation_filenode(to_regclass(i.index_name)) IS DISTINCT FROM i.file_number;
END $$;
COMMENT ON FUNCTION guestcomms_internal.forget_made_indexes() IS 'Forgets the indexes that were made anew since they were noted, or are gone.';

CREATE FUNCTION guestcomms.list_erased_indexes() RETURNS TABLE (index_name text, noted_at timestamptz, byte_count bigint, command text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 50 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    PERFORM guestcomms_internal.forget_made_indexes();
    RETURN QUERY
    SELECT i.index_name, i.noted_at, pg_relation_size(to_regclass(i.index_name)), 'REINDEX INDEX CONCURRENTLY ' || i.index_name
    FROM guestcomms_internal.erased_indexes AS i ORDER BY i.noted_at, i.index_name;
END $$;
COMMENT ON FUNCTION guestcomms.list_erased_indexes() IS
$$Indexes that words of erased guests may still stand in, as keys that point to nothing, with the statement that makes each anew while others write; in psql, \gexec runs them. A job does so by night for those up to privacy.reindex_limit_mb. For operators.
Example: SELECT index_name, command FROM guestcomms.list_erased_indexes();
See also: erase_guest, list_erasure_receipt$$;

CREATE FUNCTION guestcomms_internal.remake_erased_index() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_index text;
BEGIN
    PERFORM guestcomms_internal.forget_made_indexes();
    SELECT i.index_name INTO v_index FROM guestcomms_internal.erased_indexes AS i
    WHERE pg_relation_size(to_regclass(i.index_name)) <= guestcomms_internal.setting('privacy.reindex_limit_mb')::bigint * 1048576
    ORDER BY i.noted_at, i.index_name LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Not concurrently, which takes a transaction of its own: so only small ones, and by night.
    EXECUTE 'REINDEX INDEX ' || v_index;
    PERFORM guestcomms_internal.forget_made_indexes();
    RETURN 1;
END $$;
COMMENT ON FUNCTION guestcomms_internal.remake_erased_index() IS 'A job''s work: makes one small index anew that words of erased guests may still stand in; 0 where there is none.';
