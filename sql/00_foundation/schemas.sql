-- Schemas. guestcomms itself comes from the control file; the other two are members. All stay owned by the installer,
-- since a dump restored by another role fails on a schema with an owner of its own.
CREATE SCHEMA guestcomms_internal;
COMMENT ON SCHEMA guestcomms_internal IS 'Helpers and queues of guestcomms; not an interface.';
CREATE SCHEMA guestcomms_bi;
COMMENT ON SCHEMA guestcomms_bi IS 'What BI tools read from guestcomms.';
COMMENT ON SCHEMA guestcomms IS 'Guest-communications store: public functions and tables. SELECT * FROM guestcomms.help();';

REVOKE ALL ON SCHEMA guestcomms, guestcomms_internal, guestcomms_bi FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA guestcomms, guestcomms_internal, guestcomms_bi TO guestcomms_owner;
GRANT USAGE ON SCHEMA guestcomms, guestcomms_internal, guestcomms_bi TO guestcomms_engine;
GRANT CREATE ON SCHEMA guestcomms_internal TO guestcomms_engine;  -- materialized views
GRANT USAGE ON SCHEMA guestcomms
    TO guestcomms_app, guestcomms_analyst, guestcomms_privacy, guestcomms_operator, guestcomms_issuer;
GRANT USAGE ON SCHEMA guestcomms_bi TO guestcomms_analyst, guestcomms_operator;

-- What is used of other extensions, wherever they are: their schemas may be entered, and their functions have names of ours,
-- bound when this runs.
DO $required$
DECLARE
    v_schema name;
BEGIN
    FOR v_schema IN
        SELECT DISTINCT n.nspname FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname IN ('pg_trgm', 'btree_gin', 'unaccent', 'fuzzystrmatch', 'pgcrypto', 'pg_partman')
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO guestcomms_owner, guestcomms_engine', v_schema);
    END LOOP;
    SELECT n.nspname INTO STRICT v_schema FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'pgcrypto';
    EXECUTE format('CREATE FUNCTION guestcomms_internal.hmac_sha256(data bytea, key bytea) RETURNS bytea'
        ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %I.hmac(data, key, ''sha256'')', v_schema);
    EXECUTE format('CREATE FUNCTION guestcomms_internal.random_bytes(byte_count integer) RETURNS bytea'
        ' LANGUAGE sql VOLATILE PARALLEL SAFE RETURN %I.gen_random_bytes(byte_count)', v_schema);
    SELECT n.nspname INTO STRICT v_schema FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'fuzzystrmatch';
    EXECUTE format('CREATE FUNCTION guestcomms_internal.levenshtein(source text, target text, max_distance integer) RETURNS integer'
        ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %I.levenshtein_less_equal(source, target, max_distance)', v_schema);
    EXECUTE format('CREATE FUNCTION guestcomms_internal.sound_code(word text) RETURNS text'
        ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %I.metaphone(word, 20)', v_schema);
    SELECT n.nspname INTO STRICT v_schema FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_trgm';
    EXECUTE format('CREATE FUNCTION guestcomms_internal.trigram_similarity(source text, target text) RETURNS real'
        ' LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %I.similarity(source, target)', v_schema);
END $required$;
COMMENT ON FUNCTION guestcomms_internal.levenshtein(text, text, integer) IS 'Edits between two words, exact up to max_distance and more than that beyond, by fuzzystrmatch.';
COMMENT ON FUNCTION guestcomms_internal.sound_code(text) IS 'How a word sounds in English (Metaphone), by fuzzystrmatch.';
COMMENT ON FUNCTION guestcomms_internal.trigram_similarity(text, text) IS 'Share of trigrams in common, by pg_trgm.';
COMMENT ON FUNCTION guestcomms_internal.hmac_sha256(bytea, bytea) IS 'HMAC with SHA-256 (RFC 2104), by pgcrypto.';
COMMENT ON FUNCTION guestcomms_internal.random_bytes(integer) IS 'Cryptographically strong random bytes, by pgcrypto.';

CREATE FUNCTION guestcomms_internal.extension_schema(name text) RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT n.nspname FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = extension_schema.name
$$;
COMMENT ON FUNCTION guestcomms_internal.extension_schema(text) IS 'The schema an extension is in, for naming what is in it.';

CREATE FUNCTION guestcomms_internal.trusted_schema(extension text) RETURNS name
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_schema name := guestcomms_internal.extension_schema(trusted_schema.extension);
    v_stranger text;
BEGIN
    -- What is in it runs with our owners' rights.
    SELECT coalesce(r.rolname, 'PUBLIC') INTO v_stranger
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
    WHERE n.nspname = v_schema AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner AND NOT coalesce(r.rolsuper, false)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('others may create objects in the schema of %s', trusted_schema.extension),
            DETAIL = format('Role %s in schema %s.', v_stranger, v_schema),
            HINT = format('REVOKE CREATE ON SCHEMA %I FROM ...; or CREATE EXTENSION %I in a schema of its own.', v_schema, trusted_schema.extension);
    END IF;
    IF NOT has_schema_privilege(v_schema, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('the schema of %s is closed to the owners of the store', trusted_schema.extension),
            DETAIL = format('Schema %s.', v_schema), HINT = format('GRANT USAGE ON SCHEMA %I TO guestcomms_owner, guestcomms_engine;', v_schema);
    END IF;
    RETURN v_schema;
END $$;
COMMENT ON FUNCTION guestcomms_internal.trusted_schema(text) IS 'The schema an extension is in, if only its owner may create there; NULL without the extension.';

-- The owner makes and describes partitions through pg_partman, whose tables belong to the installer.
DO $partman$
DECLARE
    v_table text;
BEGIN
    FOR v_table IN
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_partman'
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'r'
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND d.deptype = 'e'
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO guestcomms_owner', v_table);
    END LOOP;
END $partman$;
