-- How many rows look alike: the measure of whether a copy hides anybody.
CREATE FUNCTION guestcomms.k_anonymity(relation regclass, columns text[], max_groups integer DEFAULT 10)
RETURNS TABLE (k bigint, group_count bigint, row_count bigint, rows_below_2 bigint, rows_below_5 bigint, rows_below_10 bigint, smallest_groups bigint[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1 SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_name text;
    v_unknown text;
    v_list text;
BEGIN
    IF k_anonymity.max_groups IS NULL OR k_anonymity.max_groups NOT BETWEEN 0 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_groups is out of bounds', DETAIL = format('max_groups is %s.', coalesce(k_anonymity.max_groups::text, 'null')),
            HINT = 'Give a number from 0 to 1000.';
    ELSIF coalesce(cardinality(k_anonymity.columns), 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'there are no columns to group by',
            HINT = 'Name those that others may know of a person, such as ''{language,timezone}''.';
    END IF;
    SELECT format('%I.%I', n.nspname, c.relname) INTO v_name
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = k_anonymity.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
    IF v_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type', MESSAGE = 'relation is no table or view', DETAIL = format('relation is %s.', coalesce(k_anonymity.relation::text, 'null')),
            HINT = 'Name a table, a view or a materialized view.';
    END IF;
    SELECT string_agg('r.' || quote_ident(u.name), ', '), string_agg(DISTINCT coalesce(quote_ident(u.name), 'null'), ', ') FILTER (WHERE a.attname IS NULL)
    INTO v_list, v_unknown
    FROM unnest(k_anonymity.columns) AS u (name)
    LEFT JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid = k_anonymity.relation AND a.attname::text = u.name AND a.attnum > 0 AND NOT a.attisdropped;
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_column', MESSAGE = 'the relation has no such column', DETAIL = format('Unknown: %s.', v_unknown),
            HINT = 'Names are as they are in the catalog: without quotes, in their case.';
    END IF;
    EXECUTE format($query$
        WITH alike AS MATERIALIZED (SELECT count(*) AS size FROM %s AS r GROUP BY %s)
        SELECT min(a.size), count(*), coalesce(sum(a.size), 0)::bigint,
            coalesce(sum(a.size) FILTER (WHERE a.size < 2), 0)::bigint,
            coalesce(sum(a.size) FILTER (WHERE a.size < 5), 0)::bigint,
            coalesce(sum(a.size) FILTER (WHERE a.size < 10), 0)::bigint,
            ARRAY(SELECT s.size FROM alike AS s ORDER BY s.size LIMIT $1)
        FROM alike AS a
        $query$, v_name, v_list)
    INTO k, group_count, row_count, rows_below_2, rows_below_5, rows_below_10, smallest_groups USING k_anonymity.max_groups;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION guestcomms.k_anonymity(regclass, text[], integer) IS
$$How well the rows of a table or view hide each other: they are put into groups that are equal in the columns named, those by which somebody who knows a person could find the row (nulls are equal). k is the size of the smallest group, null without rows; rows_below_5 says how many rows stand in groups of fewer than 5; smallest_groups are the sizes of up to max_groups groups, without their values. It reads with the caller's rights: what row security hides is not counted.
Example: SELECT k, row_count, rows_below_5 FROM guestcomms.k_anonymity('guestcomms.guests', '{language,timezone}');
See also: generalize, generalize_address, pseudonymize$$;
