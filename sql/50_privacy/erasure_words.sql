-- What names a guest: the words of their name, their addresses, and words that nobody else has written. Searches that were saved
-- or logged are looked through for them.
CREATE FUNCTION guestcomms_internal.simple_words(content text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN tsvector_to_array(guestcomms_internal.message_search_v1(NULL, NULL, coalesce(content, '')));
COMMENT ON FUNCTION guestcomms_internal.simple_words(text) IS 'The words of a text, lower case, accents folded, in no language.';

CREATE FUNCTION guestcomms_internal.ordered_words(content text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT w.word FROM regexp_split_to_table(content, '[^[:alnum:]]+') WITH ORDINALITY AS t (part, number)
    CROSS JOIN LATERAL unnest(guestcomms_internal.simple_words(t.part)) AS w (word) ORDER BY t.number, w.word);
COMMENT ON FUNCTION guestcomms_internal.ordered_words(text) IS 'The words of a name in their order, lower case, accents folded.';

CREATE FUNCTION guestcomms_internal.has_sequence(words text[], sequence text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN position(' ' || array_to_string(sequence, ' ') || ' ' IN ' ' || array_to_string(words, ' ') || ' ') > 0;
COMMENT ON FUNCTION guestcomms_internal.has_sequence(text[], text[]) IS 'Whether words follow one another somewhere in others.';

CREATE FUNCTION guestcomms_internal.has_address(content text, address text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- However it is written: with spaces, or as one dials at home.
    WHEN address ~ '^\+[0-9]{8,}$' THEN position(right(address, 9) IN regexp_replace(content, '[ ().\-/]', '', 'g')) > 0
    -- joann@example.com is not ann@example.com; of a name in a chat with one or two characters nobody can tell.
    ELSE char_length(address) > 2 AND lower(content) ~ ('(^|[^[:alnum:]._%+-])' || regexp_replace(address, '([^[:alnum:]])', '\\\1', 'g') || '($|[^[:alnum:]_.-]|\.($|[^[:alnum:]]))') END;
COMMENT ON FUNCTION guestcomms_internal.has_address(text, text) IS 'Whether a text has an address, which is in lower case.';

CREATE FUNCTION guestcomms_internal.tenant_stems(tenant_id uuid, content text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT u.lexeme
        FROM (SELECT DISTINCT nullif(replace(l.configuration, 'search_', ''), 'simple') AS language FROM guestcomms.tenant_languages AS l
            WHERE l.tenant_id = tenant_stems.tenant_id UNION SELECT NULL) AS k
        CROSS JOIN LATERAL unnest(guestcomms_internal.message_search_v1(k.language, NULL, coalesce(tenant_stems.content, ''))) AS u);
END $$;
COMMENT ON FUNCTION guestcomms_internal.tenant_stems(uuid, text) IS 'The stems of a text in every language of a tenant.';

CREATE FUNCTION guestcomms_internal.note_names(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    INSERT INTO guestcomms_internal.erasure_words (tenant_id, erasure_id, origin, word)
    SELECT note_names.tenant_id, note_names.erasure_id, 'name', array_to_string(guestcomms_internal.ordered_words(g.display_name), ' ')
    FROM guestcomms.guests AS g
    WHERE g.tenant_id = note_names.tenant_id AND g.guest_id = ANY (note_names.guest_ids) AND cardinality(guestcomms_internal.ordered_words(g.display_name)) > 0
    UNION
    SELECT note_names.tenant_id, note_names.erasure_id, 'address', lower(a.address)
    FROM guestcomms.guest_addresses AS a WHERE a.tenant_id = note_names.tenant_id AND a.guest_id = ANY (note_names.guest_ids)
    ON CONFLICT ON CONSTRAINT erasure_words_pkey DO NOTHING
$$;
COMMENT ON FUNCTION guestcomms_internal.note_names(uuid, uuid, uuid[]) IS 'Keeps what these guests are called and reached by until the searches have been looked through.';

CREATE FUNCTION guestcomms_internal.note_stems(tenant_id uuid, erasure_id uuid, messages guestcomms_internal.archived_message[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
    INSERT INTO guestcomms_internal.erasure_words (tenant_id, erasure_id, origin, word)
    SELECT DISTINCT note_stems.tenant_id, note_stems.erasure_id, 'stem', u.lexeme
    FROM unnest(note_stems.messages) AS m CROSS JOIN LATERAL unnest(m.search) AS u
    ON CONFLICT ON CONSTRAINT erasure_words_pkey DO NOTHING
$$;
COMMENT ON FUNCTION guestcomms_internal.note_stems(uuid, uuid, guestcomms_internal.archived_message[]) IS 'Keeps the stems of messages that go, until it is known which of them nobody else has written.';

CREATE FUNCTION guestcomms_internal.names_erased(tenant_id uuid, erasure_id uuid, content text, saved_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_words text[] := guestcomms_internal.simple_words(names_erased.content);
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms_internal.erasure_words AS w
            WHERE w.tenant_id = names_erased.tenant_id AND w.erasure_id = names_erased.erasure_id AND w.origin = 'name' AND string_to_array(w.word, ' ') <@ v_words
                -- A single word is somebody's name where it is asked for as one: a search for roses stays when Rose is erased.
                AND (position(' ' in w.word) > 0 OR names_erased.content ~* '\m(from|to|guest):'))
        OR EXISTS (SELECT FROM guestcomms_internal.erasure_words AS w
            WHERE w.tenant_id = names_erased.tenant_id AND w.erasure_id = names_erased.erasure_id AND w.origin = 'address'
                AND guestcomms_internal.has_address(names_erased.content, w.word))
        -- A word that only this guest wrote, if it came after their first message, is taken to come from there.
        OR names_erased.saved_at >= (SELECT guestcomms.uuid_v7_time(m.message_id) FROM guestcomms_internal.erasure_messages AS m
                WHERE m.tenant_id = names_erased.tenant_id AND m.erasure_id = names_erased.erasure_id ORDER BY m.message_id LIMIT 1)
            AND EXISTS (SELECT FROM unnest(guestcomms_internal.tenant_stems(names_erased.tenant_id, names_erased.content)) AS s (stem)
                JOIN guestcomms_internal.erasure_words AS w ON w.tenant_id = names_erased.tenant_id AND w.erasure_id = names_erased.erasure_id
                    AND w.origin = 'stem' AND w.word = s.stem);
END $$;
COMMENT ON FUNCTION guestcomms_internal.names_erased(uuid, uuid, text, timestamptz) IS
'Whether what the business keeps for searching, and saved at that time, names a guest who is being erased.';

CREATE FUNCTION guestcomms_internal.query_names_erased(tenant_id uuid, erasure_id uuid, query text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_digits text := regexp_replace(query_names_erased.query, '[^0-9]', '', 'g');
    v_stems text[] := guestcomms_internal.tenant_stems(query_names_erased.tenant_id, query_names_erased.query);
BEGIN
    -- More than for what is kept on purpose: these texts go after some weeks anyhow.
    RETURN EXISTS (SELECT FROM guestcomms_internal.erasure_words AS w
        WHERE w.tenant_id = query_names_erased.tenant_id AND w.erasure_id = query_names_erased.erasure_id
            AND (w.origin = 'stem' AND w.word = ANY (v_stems)
                OR w.origin = 'name' AND string_to_array(w.word, ' ') && v_stems
                OR w.origin = 'address' AND (guestcomms_internal.has_address(query_names_erased.query, w.word)
                    OR char_length(v_digits) >= 7 AND position(right(v_digits, 7) in w.word) > 0)));
END $$;
COMMENT ON FUNCTION guestcomms_internal.query_names_erased(uuid, uuid, text) IS 'Whether a logged search has anything of a guest who is being erased.';

CREATE FUNCTION guestcomms_internal.names_in_wedding(tenant_id uuid, guest_ids uuid[], erasure_id uuid, wedding_id uuid, name text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_words text[] := guestcomms_internal.ordered_words(names_in_wedding.name);
    v_is_couple boolean := EXISTS (SELECT FROM guestcomms.wedding_guests AS w
        WHERE w.tenant_id = names_in_wedding.tenant_id AND w.wedding_id = names_in_wedding.wedding_id AND w.guest_id = ANY (names_in_wedding.guest_ids)
            AND w.role ~* '\m(bride|groom|bridegroom|couple|partner|spouse|braut|bräutigam|brautpaar|mariée?|mariés|novi[ao]s?|spos[aio])\M');
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT o.word
        FROM (
            SELECT string_to_array(w.word, ' ') AS words FROM guestcomms_internal.erasure_words AS w
            WHERE w.tenant_id = names_in_wedding.tenant_id AND w.erasure_id = names_in_wedding.erasure_id AND w.origin = 'name'
            UNION ALL
            SELECT guestcomms_internal.ordered_words(g.display_name) FROM guestcomms.guests AS g
            WHERE g.tenant_id = names_in_wedding.tenant_id AND g.guest_id = ANY (names_in_wedding.guest_ids)
        ) AS n
        -- One word after the other, or the family's name first: another Maria and another Anna are not Anna Maria.
        CROSS JOIN LATERAL (SELECT cardinality(n.words) > 1 AND EXISTS (
            SELECT FROM regexp_split_to_table(names_in_wedding.name, '[&+/|;]') AS p (part) CROSS JOIN LATERAL guestcomms_internal.ordered_words(p.part) AS w (words)
            WHERE guestcomms_internal.has_sequence(w.words, n.words)
                OR guestcomms_internal.has_sequence(w.words, n.words[cardinality(n.words):] || n.words[:cardinality(n.words) - 1])) AS is_whole) AS m
        CROSS JOIN LATERAL unnest(n.words) AS o (word)
        WHERE m.is_whole OR v_is_couple AND char_length(o.word) > 2 AND o.word = ANY (v_words));
END $$;
COMMENT ON FUNCTION guestcomms_internal.names_in_wedding(uuid, uuid[], uuid, uuid, text) IS
'The words by which the name of a wedding names one of these guests: those of the whole name, or, of the couple, each of more than two letters.';

CREATE FUNCTION guestcomms_internal.wedding_names_guest(tenant_id uuid, guest_ids uuid[], erasure_id uuid, wedding_id uuid, name text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN cardinality(guestcomms_internal.names_in_wedding(wedding_names_guest.tenant_id, wedding_names_guest.guest_ids, wedding_names_guest.erasure_id,
        wedding_names_guest.wedding_id, wedding_names_guest.name)) > 0;
END $$;
COMMENT ON FUNCTION guestcomms_internal.wedding_names_guest(uuid, uuid[], uuid, uuid, text) IS
'Whether the name of a wedding holds the whole name of one of these guests, or, of the couple, a word of it.';

CREATE FUNCTION guestcomms_internal.rename_weddings(tenant_id uuid, erasure_id uuid, guest_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_renamed uuid[];
BEGIN
    WITH named AS MATERIALIZED (
        SELECT w.wedding_id, w.name, guestcomms_internal.names_in_wedding(w.tenant_id, rename_weddings.guest_ids, rename_weddings.erasure_id, w.wedding_id, w.name) AS words
        FROM guestcomms.weddings AS w WHERE w.tenant_id = rename_weddings.tenant_id
    ), renamed AS (
        UPDATE guestcomms.weddings AS w SET name = (
            SELECT string_agg(CASE WHEN guestcomms_internal.simple_words(t.part[1]) && n.words THEN '…' ELSE t.part[1] END, '' ORDER BY t.number)
            FROM regexp_matches(n.name, '[[:alnum:]]+|[^[:alnum:]]+', 'g') WITH ORDINALITY AS t (part, number))
        FROM named AS n
        WHERE w.tenant_id = rename_weddings.tenant_id AND w.wedding_id = n.wedding_id AND cardinality(n.words) > 0
        RETURNING w.wedding_id
    )
    SELECT array_agg(r.wedding_id) INTO v_renamed FROM renamed AS r;
    RETURN coalesce(v_renamed, '{}');
END $$;
COMMENT ON FUNCTION guestcomms_internal.rename_weddings(uuid, uuid, uuid[]) IS 'Takes the names of guests out of the names of weddings; returns which.';
