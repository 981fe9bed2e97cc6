-- First of all the path. CREATE EXTENSION puts the schemas of the required extensions on it, usually public, where others
-- may be able to create functions that are then found before pg_catalog's (a better match of types wins). So this script,
-- and every function that takes its path FROM CURRENT, sees our own schema and nothing else; what belongs to another
-- extension is named with its schema. Until that is so, every name is written out.
SELECT pg_catalog.set_config('search_path', '@extschema@, pg_temp', true);

-- Our own schema may have been there before us: nobody else may own it, create in it or have put anything callable there.
DO $schema$
DECLARE
    v_stranger text;
BEGIN
    SELECT r.rolname INTO v_stranger
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL (
        SELECT n.nspowner AS role_id
        UNION ALL SELECT a.grantee FROM pg_catalog.aclexplode(n.nspacl) AS a WHERE a.privilege_type = 'CREATE'
        UNION ALL SELECT p.proowner FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = n.oid
        UNION ALL SELECT o.oprowner FROM pg_catalog.pg_operator AS o WHERE o.oprnamespace = n.oid
        UNION ALL SELECT t.typowner FROM pg_catalog.pg_type AS t WHERE t.typnamespace = n.oid
    ) AS found
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = found.role_id
    WHERE n.nspname = '@extschema@' AND NOT coalesce(r.rolsuper OR r.rolname = 'guestcomms_owner', false)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'schema @extschema@ is not the installer''s alone',
            DETAIL = pg_catalog.concat('Role ', coalesce(v_stranger, 'PUBLIC'), ' owns it, may create in it or owns something in it.'),
            HINT = 'Look what is in it; DROP SCHEMA @extschema@, or take its ownership and privileges away.';
    END IF;
END $schema$;
