-- Help out of the catalog's comments: what psql shows is what the reference is generated from.
CREATE FUNCTION guestcomms.help(topic text DEFAULT NULL)
RETURNS TABLE (function text, signature text, summary text, example text, see_also text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
    SELECT p.proname::text,
        format('%s(%s)%s', p.proname, pg_get_function_arguments(p.oid),
            CASE p.prokind WHEN 'p' THEN '' ELSE ' → ' || pg_get_function_result(p.oid) END),
        split_part(d.description, E'\nExample: ', 1),
        split_part(split_part(d.description, E'\nExample: ', 2), E'\nSee also: ', 1),
        split_part(d.description, E'\nSee also: ', 2)
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'guestcomms'
    JOIN pg_catalog.pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_proc'::regclass
    WHERE help.topic IS NULL
        OR p.proname = lower(help.topic)
        OR NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS same WHERE same.pronamespace = n.oid AND same.proname = lower(help.topic))
            AND strpos(lower(concat_ws(' ', p.proname, pg_get_function_arguments(p.oid), d.description)), lower(help.topic)) > 0
    ORDER BY p.proname, pg_get_function_arguments(p.oid)
$$;
COMMENT ON FUNCTION guestcomms.help(text) IS
$$What the functions do: signature, summary, example and related functions; of the function named, else of all whose name, arguments or description hold the topic; without a topic, of all.
Example: SELECT function, summary FROM guestcomms.help('token');
See also: list_settings, store_capabilities$$;
