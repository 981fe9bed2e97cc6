-- Filters of the query language as conditions on a message m. Every value goes in as a literal; names of guests, weddings,
-- campaigns and threads are looked up within the tenant.
CREATE FUNCTION guestcomms_internal.name_query(name text) RETURNS tsquery
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET client_min_messages = 'warning'
AS $$
BEGIN
    -- Every word of it, the last one perhaps not typed to its end.
    RETURN (SELECT string_agg(guestcomms_internal.quote_lexeme(u.lexeme) || ':*', ' & ') FROM unnest(to_tsvector('guestcomms.search_simple', left(name_query.name, 200))) AS u)::tsquery;
END $$;
COMMENT ON FUNCTION guestcomms_internal.name_query(text) IS 'What a name must hold that begins with these words.';

CREATE FUNCTION guestcomms_internal.add_same_guests(tenant_id uuid, guest_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET enable_seqscan = off
AS $$
BEGIN
    -- Most tenants have nobody who was merged, and one look at the index says so.
    IF NOT EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = add_same_guests.tenant_id AND g.merged_into IS NOT NULL) THEN
        RETURN add_same_guests.guest_ids;
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT s.id FROM unnest(add_same_guests.guest_ids) AS u (guest_id)
        CROSS JOIN LATERAL unnest(guestcomms_internal.same_guests(add_same_guests.tenant_id, u.guest_id)) AS s (id));
END $$;
COMMENT ON FUNCTION guestcomms_internal.add_same_guests(uuid, uuid[]) IS 'Guests, with all who were merged into them and those they were merged into.';

CREATE FUNCTION guestcomms_internal.find_named(tenant_id uuid, kind text, name text) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_words tsquery := guestcomms_internal.name_query(find_named.name);
    v_address text := lower(trim(find_named.name));
BEGIN
    IF find_named.name ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
        RETURN CASE kind WHEN 'guest' THEN guestcomms_internal.same_guests(find_named.tenant_id, find_named.name::uuid) ELSE ARRAY[find_named.name::uuid] END;
    END IF;
    RETURN CASE kind
        WHEN 'guest' THEN guestcomms_internal.add_same_guests(find_named.tenant_id, ARRAY(
            (SELECT g.guest_id FROM guestcomms.guests AS g
             WHERE g.tenant_id = find_named.tenant_id
                AND to_tsvector('guestcomms.search_simple'::regconfig, coalesce(g.display_name, '')) @@ v_words ORDER BY g.guest_id LIMIT 200)
            UNION
            (SELECT a.guest_id FROM guestcomms.guest_addresses AS a
             WHERE a.tenant_id = find_named.tenant_id AND a.address IN (v_address, regexp_replace(v_address, '[^0-9+]', '', 'g')) ORDER BY a.guest_id LIMIT 200)))
        WHEN 'wedding' THEN ARRAY(SELECT w.wedding_id FROM guestcomms.weddings AS w
            WHERE w.tenant_id = find_named.tenant_id AND to_tsvector('guestcomms.search_simple', w.name) @@ v_words ORDER BY w.wedding_id LIMIT 200)
        WHEN 'campaign' THEN ARRAY(SELECT c.campaign_id FROM guestcomms.campaigns AS c
            WHERE c.tenant_id = find_named.tenant_id AND to_tsvector('guestcomms.search_simple', c.name) @@ v_words ORDER BY c.campaign_id LIMIT 200)
        ELSE ARRAY(SELECT t.thread_id FROM guestcomms.threads AS t
            WHERE t.tenant_id = find_named.tenant_id AND to_tsvector('guestcomms.search_simple', coalesce(t.subject, '')) @@ v_words
            ORDER BY t.thread_id DESC LIMIT 200)
        END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_named(uuid, text, text) IS
'Identifiers of the tenant''s guests, weddings, campaigns or threads with that name (guests also by address); at most 200.';

CREATE FUNCTION guestcomms_internal.date_range(value text, timezone text) RETURNS tstzrange
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_today date := (now() AT TIME ZONE date_range.timezone)::date;
    v_start date := CASE lower(value) WHEN 'today' THEN v_today WHEN 'yesterday' THEN v_today - 1
        ELSE (value || substr('-01-01', char_length(value) - 3))::date END;
BEGIN
    RETURN tstzrange(v_start::timestamp AT TIME ZONE date_range.timezone,
        (v_start + CASE char_length(value) WHEN 4 THEN interval '1 year' WHEN 7 THEN interval '1 month' ELSE interval '1 day' END)
            AT TIME ZONE date_range.timezone);
END $$;
COMMENT ON FUNCTION guestcomms_internal.date_range(text, text) IS 'The day, month or year that a date of the query language is, in a time zone.';

CREATE FUNCTION guestcomms_internal.has_attachment_condition() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Not EXISTS, which the planner would make a join of, and that over all partitions.
RETURN '(SELECT true FROM guestcomms.attachments AS a WHERE a.tenant_id = m.tenant_id AND a.message_id = m.message_id LIMIT 1)';
COMMENT ON FUNCTION guestcomms_internal.has_attachment_condition() IS 'Condition on a message m: has:attachment.';

CREATE FUNCTION guestcomms_internal.has_reply_condition() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Among the next of the thread: all of a long one would be read for each of its messages.
RETURN '(SELECT bool_or(r.direction <> m.direction) FROM (SELECT t.direction FROM guestcomms.messages AS t'
    || ' WHERE t.tenant_id = m.tenant_id AND t.thread_id = m.thread_id AND t.sent_at > m.sent_at'
    || ' AND t.sent_at < m.sent_at + interval ''30 days'' ORDER BY t.sent_at LIMIT 20) AS r)';
COMMENT ON FUNCTION guestcomms_internal.has_reply_condition() IS 'Condition on a message m: has:reply.';

CREATE FUNCTION guestcomms_internal.find_files(tenant_id uuid, name text) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    v_words tsquery := guestcomms_internal.name_query(regexp_replace(find_files.name, '[^[:alnum:]]+', ' ', 'g'));
    v_found uuid[] := ARRAY(SELECT a.message_id FROM guestcomms_internal.attachment_contents AS a
        WHERE a.tenant_id = find_files.tenant_id AND to_tsvector('guestcomms.search_simple'::regconfig, regexp_replace(a.name, '[^[:alnum:]]+', ' ', 'g')) @@ v_words
        LIMIT 1001);
BEGIN
    RETURN CASE WHEN cardinality(v_found) <= 1000 THEN v_found END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.find_files(uuid, text) IS
'The tenant''s messages, hot and archived, with an attachment of that name; NULL where they are more than a thousand.';

CREATE FUNCTION guestcomms_internal.filter_condition(tenant_id uuid, timezone text, field text, value text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
    SET datestyle = 'ISO' SET timezone = 'UTC'   -- times go in as text
AS $$
DECLARE
    v_value text := lower(filter_condition.value);
    v_ids uuid[];
    v_range tstzrange;
BEGIN
    IF field IN ('before', 'after', 'on') THEN
        v_range := guestcomms_internal.date_range(filter_condition.value, filter_condition.timezone);
        RETURN CASE field WHEN 'before' THEN format('m.sent_at < %L', lower(v_range)) WHEN 'after' THEN format('m.sent_at >= %L', lower(v_range))
            ELSE format('m.sent_at >= %L AND m.sent_at < %L', lower(v_range), upper(v_range)) END;
    ELSIF field = 'channel' OR field = 'in' AND guestcomms_internal.is_filter_value('channel', v_value) THEN
        RETURN format('m.channel = %L', replace(v_value, '-', ''));
    ELSIF field = 'status' THEN
        RETURN CASE v_value WHEN 'unread' THEN 'm.direction = ''inbound'' AND m.read_at IS NULL'
            WHEN 'read' THEN '(m.status = ''read'' OR m.read_at IS NOT NULL)' ELSE format('m.status = %L', v_value) END;
    ELSIF field = 'has' THEN
        RETURN CASE v_value
            WHEN 'link' THEN 'm.body ~* ''(https?://|www\.)\S'''
            WHEN 'attachment' THEN guestcomms_internal.has_attachment_condition()
            ELSE guestcomms_internal.has_reply_condition() END;
    ELSIF field = 'file' THEN
        v_ids := guestcomms_internal.find_files(filter_condition.tenant_id, filter_condition.value);
        -- A name that so many have is soon met by whoever walks through the newest messages.
        RETURN CASE WHEN v_ids IS NOT NULL THEN format('m.message_id = ANY (%L::uuid[])', v_ids)
            ELSE format('(SELECT true FROM guestcomms_internal.attachment_contents AS a WHERE a.tenant_id = m.tenant_id AND a.message_id = m.message_id'
                ' AND to_tsvector(''guestcomms.search_simple''::regconfig, regexp_replace(a.name, ''[^[:alnum:]]+'', '' '', ''g'')) @@ %L::tsquery LIMIT 1)',
                guestcomms_internal.name_query(regexp_replace(filter_condition.value, '[^[:alnum:]]+', ' ', 'g'))) END;
    ELSIF field IN ('from', 'to') AND v_value IN ('me', 'us') THEN
        RETURN CASE field WHEN 'from' THEN 'm.direction = ''outbound''' ELSE 'm.direction = ''inbound''' END;
    END IF;
    v_ids := guestcomms_internal.find_named(filter_condition.tenant_id,
        CASE WHEN field IN ('from', 'to') THEN 'guest' WHEN field = 'in' THEN 'thread' ELSE field END, filter_condition.value);
    RETURN format('m.%I = ANY (%L::uuid[])', CASE field WHEN 'in' THEN 'thread_id' WHEN 'from' THEN 'guest_id' WHEN 'to' THEN 'guest_id'
            ELSE field || '_id' END, v_ids)
        || CASE field WHEN 'from' THEN ' AND m.direction = ''inbound''' WHEN 'to' THEN ' AND m.direction = ''outbound''' ELSE '' END;
END $$;
COMMENT ON FUNCTION guestcomms_internal.filter_condition(uuid, text, text, text) IS
'The condition on a message m that a filter such as from:zoe stands for.';
