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
GRANT USAGE ON SCHEMA guestcomms
    TO guestcomms_app, guestcomms_analyst, guestcomms_privacy, guestcomms_operator, guestcomms_issuer;
GRANT USAGE ON SCHEMA guestcomms_bi TO guestcomms_analyst, guestcomms_operator;

-- Every function takes its search_path from this script's: our schema and those of the required extensions. A schema
-- in it where anybody may create objects would let anybody replace what our functions call.
DO $path$
DECLARE
    v_schema text;
BEGIN
    FOREACH v_schema IN ARRAY current_schemas(false) LOOP
        IF pg_catalog.has_schema_privilege('public', v_schema, 'CREATE') THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('schema %I is writable by PUBLIC', v_schema),
                DETAIL = 'It holds an extension that guestcomms requires, so it is on the search_path of its functions.',
                HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, then try again.', v_schema);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO guestcomms_owner, guestcomms_engine', v_schema);
    END LOOP;
    -- Each schema once: the server lists it once per required extension.
    PERFORM set_config('search_path', (
        SELECT string_agg(quote_ident(s.name), ', ' ORDER BY s.place) || ', pg_temp'
        FROM (SELECT p.name, min(p.place) AS place FROM unnest(current_schemas(false)) WITH ORDINALITY AS p (name, place)
              WHERE p.name <> 'pg_temp' GROUP BY p.name) AS s), true);
END $path$;

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
