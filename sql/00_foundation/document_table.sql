-- One place that turns a table's data dictionary into comments, so that no column is left without purpose and
-- retention class.
CREATE FUNCTION guestcomms_internal.retention_classes() RETURNS TABLE (retention_class text, meaning text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    VALUES
        ('key', 'identifiers; as long as the row'),
        ('contact', 'who a guest is and how to reach them'),
        ('content', 'what was written'),
        ('behaviour', 'what a guest did with a message'),
        ('operational', 'states, times and settings that name nobody'),
        ('security', 'secrets, membership, audit trail'),
        ('proof', 'what must be shown later: consent, keyed hashes')
$$;
COMMENT ON FUNCTION guestcomms_internal.retention_classes() IS 'The retention classes a column may have.';

CREATE FUNCTION guestcomms_internal.document_table(table_name text, purpose text, dictionary text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_line text;
    v_words text[];
BEGIN
    IF (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = document_table.table_name::regclass) = 'v' THEN
        EXECUTE format('COMMENT ON VIEW %s IS %L', document_table.table_name::regclass, document_table.purpose);
    ELSE
        EXECUTE format('COMMENT ON TABLE %s IS %L', document_table.table_name::regclass, document_table.purpose);
    END IF;
    FOREACH v_line IN ARRAY string_to_array(btrim(document_table.dictionary, E' \n'), E'\n') LOOP
        v_words := regexp_match(v_line, '^\s*(\w+)\s+(\w+)\s+(.+)$');
        IF v_words IS NULL OR v_words[2] NOT IN (SELECT c.retention_class FROM guestcomms_internal.retention_classes() AS c) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('data dictionary of %s: a line is not "column class meaning"', document_table.table_name),
                DETAIL = v_line,
                HINT = 'Classes: SELECT * FROM guestcomms_internal.retention_classes();';
        END IF;
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', document_table.table_name::regclass, v_words[1],
            format('%s [retention: %s]', v_words[3], v_words[2]));
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.document_table(text, text, text) IS
'Comments a table or view and its columns from lines of "column class meaning".';
