-- Synonyms: what else a word finds, as each tenant's operators say.
CREATE FUNCTION guestcomms.set_synonyms(term text, alternatives text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_term text := guestcomms_internal.fold_words(set_synonyms.term);
BEGIN
    IF v_term = '' OR strpos(v_term, ' ') > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'term must be one word',
            HINT = 'Alternatives may be several words: set_synonyms(''kids'', ''{children,little ones}'').';
    END IF;
    IF cardinality(set_synonyms.alternatives) > 20
        OR EXISTS (SELECT FROM unnest(set_synonyms.alternatives) AS a (value)
            WHERE coalesce(guestcomms_internal.fold_words(a.value) = '' OR char_length(a.value) > 100, true))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'alternatives are not valid',
            DETAIL = 'At most 20, each of words and at most 100 characters.', HINT = 'An empty array or NULL removes the synonyms of the term.';
    END IF;
    IF coalesce(cardinality(set_synonyms.alternatives), 0) = 0 THEN
        DELETE FROM guestcomms.synonyms AS s WHERE s.tenant_id = v_tenant AND s.term = v_term;
    ELSE
        INSERT INTO guestcomms.synonyms AS s (tenant_id, term, alternatives) VALUES (v_tenant, v_term, set_synonyms.alternatives)
        ON CONFLICT ON CONSTRAINT synonyms_pkey DO UPDATE SET alternatives = excluded.alternatives;
    END IF;
    PERFORM guestcomms_internal.record_audit(v_tenant, 'set_synonyms', 'synonyms',
        jsonb_build_object('count', coalesce(cardinality(set_synonyms.alternatives), 0)));
END $$;
COMMENT ON FUNCTION guestcomms.set_synonyms(text, text[]) IS
$$Sets the words and phrases that a search of the current tenant for a word finds with it, a little lower; they hold one way, so set both terms for both ways. NULL or an empty array removes them. No message is touched; the next search follows.
Example: SELECT guestcomms.set_synonyms('kids', '{children,"little ones"}');
See also: list_synonyms, search_messages, explain_search$$;

CREATE FUNCTION guestcomms.list_synonyms() RETURNS TABLE (term text, alternatives text[])
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    SELECT s.term, s.alternatives FROM guestcomms.synonyms AS s WHERE s.tenant_id = guestcomms.current_tenant() ORDER BY s.term
$$;
COMMENT ON FUNCTION guestcomms.list_synonyms() IS
$$The synonyms of the current tenant.
Example: SELECT * FROM guestcomms.list_synonyms();
See also: set_synonyms$$;
