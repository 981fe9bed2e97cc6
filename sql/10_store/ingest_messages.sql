-- The one way in for messages: record_message(), record_messages() and run_import() all end here. Plans are kept for any
-- parameters, since planning anew cost one message as much as storing it, and are held to look-ups by primary key, the one
-- right way here: without statistics, as in a new store, the planner would read whole tables once for every batch.
CREATE FUNCTION guestcomms_internal.message_purpose(tenant_id uuid, purpose text, campaign_id uuid) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN coalesce(purpose, CASE WHEN campaign_id IS NOT NULL THEN
        (SELECT c.purpose FROM guestcomms.campaigns AS c WHERE c.tenant_id = message_purpose.tenant_id AND c.campaign_id = message_purpose.campaign_id) END, 'service');
END $$;
COMMENT ON FUNCTION guestcomms_internal.message_purpose(uuid, text, uuid) IS 'What a message is for: what it says, else what its campaign is for, else service.';

CREATE FUNCTION guestcomms_internal.is_known_key(tenant_id uuid, source text, external_id text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM guestcomms.message_keys AS k
        WHERE k.tenant_id = is_known_key.tenant_id AND k.source = coalesce(is_known_key.source, 'app') AND k.external_id = is_known_key.external_id);
END $$;
COMMENT ON FUNCTION guestcomms_internal.is_known_key(uuid, text, text) IS 'Whether a message with that external identifier is stored or archived.';

CREATE FUNCTION guestcomms_internal.check_messages(tenant_id uuid, inputs guestcomms_internal.message_input[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    v_range guestcomms_internal.partition_ranges;
    -- Of each kind the few distinct ones are looked up, and what is unknown is nearly always nothing. A scalar sub-select
    -- stays a look-up, where NOT EXISTS may become a join that reads all of the tenant.
    v_guests uuid[] := ARRAY(SELECT n.id FROM (SELECT DISTINCT i.guest_id AS id FROM unnest(inputs) AS i) AS n
        WHERE (SELECT g.erased_at IS NULL FROM guestcomms.guests AS g WHERE g.tenant_id = check_messages.tenant_id AND g.guest_id = n.id) IS NOT TRUE);
    v_threads uuid[] := ARRAY(SELECT n.id FROM (SELECT DISTINCT i.thread_id AS id FROM unnest(inputs) AS i WHERE i.thread_id IS NOT NULL) AS n
        WHERE (SELECT true FROM guestcomms.threads AS t WHERE t.tenant_id = check_messages.tenant_id AND t.thread_id = n.id) IS NULL);
    v_weddings uuid[] := ARRAY(SELECT n.id FROM (SELECT DISTINCT i.wedding_id AS id FROM unnest(inputs) AS i WHERE i.wedding_id IS NOT NULL) AS n
        WHERE (SELECT true FROM guestcomms.weddings AS w WHERE w.tenant_id = check_messages.tenant_id AND w.wedding_id = n.id) IS NULL);
    v_campaigns uuid[] := ARRAY(SELECT n.id FROM (SELECT DISTINCT i.campaign_id AS id FROM unnest(inputs) AS i WHERE i.campaign_id IS NOT NULL) AS n
        WHERE (SELECT true FROM guestcomms.campaigns AS c WHERE c.tenant_id = check_messages.tenant_id AND c.campaign_id = n.id) IS NULL);
BEGIN
    SELECT * INTO v_range FROM guestcomms_internal.partition_ranges AS p WHERE p.parent_table = 'guestcomms.messages';
    RETURN (SELECT array_agg(CASE
            WHEN i.body IS NULL THEN 'body_missing'
            WHEN octet_length(i.body) > 1048576 THEN 'body_size'
            WHEN char_length(i.subject) > 2000 THEN 'subject_size'
            WHEN coalesce(i.direction NOT IN ('inbound', 'outbound'), true) THEN 'direction'
            WHEN coalesce(i.channel NOT IN ('email', 'sms', 'whatsapp', 'chat'), true) THEN 'channel'
            WHEN i.status NOT IN ('received', 'queued', 'sent', 'delivered', 'read', 'failed', 'cancelled') THEN 'status'
            WHEN i.purpose NOT IN ('service', 'marketing') THEN 'purpose'
            WHEN i.language !~ '^[a-z]{2,3}$' THEN 'language'
            WHEN jsonb_typeof(i.metadata) <> 'object' THEN 'metadata'
            WHEN char_length(i.source) > 255 OR char_length(i.external_id) > 255 THEN 'key_size'
            WHEN i.sent_at < v_range.since OR i.sent_at >= least(v_range.until, now() + interval '2 years') THEN 'sent_at'
            WHEN i.guest_id IS NULL OR i.guest_id = ANY (v_guests) THEN
                CASE WHEN EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = check_messages.tenant_id AND g.guest_id = i.guest_id) THEN 'guest_erased' ELSE 'guest' END
            WHEN i.thread_id = ANY (v_threads) THEN 'thread'
            WHEN i.wedding_id = ANY (v_weddings) THEN 'wedding'
            WHEN i.campaign_id = ANY (v_campaigns) THEN 'campaign'
            -- Marketing that is to be sent or is sent now; not what is told of the past, and not a repeat of what was taken before.
            WHEN i.direction = 'outbound'
                -- Never NULL, after which AND would go on to the look-ups.
                AND coalesce(i.purpose = 'marketing', i.campaign_id IS NOT NULL
                    AND guestcomms_internal.message_purpose(check_messages.tenant_id, NULL, i.campaign_id) = 'marketing')
                AND coalesce(i.status IN ('queued', 'sent'), true)
                AND (coalesce(i.status = 'queued', i.scheduled_at IS NOT NULL) OR coalesce(i.sent_at > now() - interval '5 minutes', true))
                AND guestcomms_internal.contact_refusal(check_messages.tenant_id, i.guest_id, i.channel, 'marketing',
                    (SELECT guestcomms_internal.needs_consent(check_messages.tenant_id))) IS NOT NULL
                AND NOT guestcomms_internal.is_known_key(check_messages.tenant_id, i.source, i.external_id) THEN 'contact'
        END ORDER BY i.ordinality)
        FROM unnest(inputs) WITH ORDINALITY AS i);
END $$;
COMMENT ON FUNCTION guestcomms_internal.check_messages(uuid, guestcomms_internal.message_input[]) IS
'The problem of each message, NULL where there is none.';

CREATE FUNCTION guestcomms_internal.follow_merges(tenant_id uuid, inputs guestcomms_internal.message_input[]) RETURNS guestcomms_internal.message_input[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    v_kept jsonb := (SELECT jsonb_object_agg(g.guest_id, g.merged_into) FROM guestcomms.guests AS g
        WHERE g.tenant_id = follow_merges.tenant_id AND g.guest_id = ANY (ARRAY(SELECT i.guest_id FROM unnest(inputs) AS i)) AND g.merged_into IS NOT NULL);
BEGIN
    RETURN ARRAY(
        SELECT ROW(coalesce((v_kept ->> i.guest_id::text)::uuid, i.guest_id), i.direction, i.channel, i.subject, i.body, i.sent_at, i.thread_id, i.wedding_id, i.campaign_id,
            i.external_id, i.source, i.language, i.purpose, i.status, i.author, i.metadata, i.scheduled_at)::guestcomms_internal.message_input
        FROM unnest(inputs) WITH ORDINALITY AS i ORDER BY i.ordinality);
END $$;
COMMENT ON FUNCTION guestcomms_internal.follow_merges(uuid, guestcomms_internal.message_input[]) IS
'Messages to the guests who were kept, where they name one who was merged. One that a merge overtakes keeps the other''s name: whoever reads a guest''s messages asks for both.';

CREATE FUNCTION guestcomms_internal.default_threads(tenant_id uuid, guest_ids uuid[]) RETURNS TABLE (guest_id uuid, thread_id uuid)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    -- The guest's row is locked, in order, so that two first messages open one thread; foreign keys do not wait for it.
    PERFORM FROM guestcomms.guests AS g
    WHERE g.tenant_id = default_threads.tenant_id AND g.guest_id = ANY (default_threads.guest_ids)
    ORDER BY g.guest_id FOR NO KEY UPDATE;
    -- Whoever was merged while this waited has their conversations with the one who was kept.
    INSERT INTO guestcomms.threads (tenant_id, guest_id)
    SELECT default_threads.tenant_id, n.guest_id
    FROM (SELECT DISTINCT guestcomms_internal.kept_guest(default_threads.tenant_id, u.guest_id) FROM unnest(default_threads.guest_ids) AS u (guest_id)) AS n (guest_id)
    WHERE (SELECT true FROM guestcomms.threads AS t
        WHERE t.tenant_id = default_threads.tenant_id AND t.guest_id = n.guest_id AND t.status <> 'closed' LIMIT 1) IS NULL;
    RETURN QUERY
    SELECT n.guest_id, (SELECT t.thread_id FROM guestcomms.threads AS t
        WHERE t.tenant_id = default_threads.tenant_id AND t.guest_id = n.kept_id AND t.status <> 'closed'
        ORDER BY t.created_at DESC, t.thread_id LIMIT 1)
    FROM (SELECT d.guest_id, guestcomms_internal.kept_guest(default_threads.tenant_id, d.guest_id) AS kept_id
        FROM (SELECT DISTINCT unnest(default_threads.guest_ids)) AS d (guest_id) OFFSET 0) AS n;
END $$;
COMMENT ON FUNCTION guestcomms_internal.default_threads(uuid, uuid[]) IS
'The newest open thread of each guest, opened where there is none.';

CREATE FUNCTION guestcomms_internal.ingest_messages(inputs guestcomms_internal.message_input[], is_skipping boolean, is_batch boolean)
RETURNS TABLE (element integer, message_id uuid, is_repeat boolean, problem text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT SET plan_cache_mode = 'force_generic_plan'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_tenant uuid := guestcomms.current_tenant();
    v_clock timestamptz := clock_timestamp();
    v_now timestamptz := date_trunc('milliseconds', v_clock);    -- as fine as identifiers are
    v_problems text[];
    v_language text;
    v_ids uuid[];        -- this message's identifier, or the one its key already had
    v_new boolean[];
    v_guests uuid[];
    v_threads jsonb;
    v_thread_ids uuid[];  -- of the new ones, with the times of those from guests
    v_times timestamptz[];
    v_sleeping uuid[];
    v_first integer;
    v_inserted bigint;
    v_opt_outs bigint[];
BEGIN
    IF EXISTS (SELECT FROM guestcomms.guests AS g WHERE g.tenant_id = v_tenant AND g.guest_id = ANY (ARRAY(SELECT i.guest_id FROM unnest(inputs) AS i)) AND g.merged_into IS NOT NULL) THEN
        inputs := guestcomms_internal.follow_merges(v_tenant, inputs);
    END IF;
    v_problems := guestcomms_internal.check_messages(v_tenant, inputs);
    v_first := (SELECT min(p.n) FROM unnest(v_problems) WITH ORDINALITY AS p (problem, n) WHERE p.problem IS NOT NULL);
    IF v_first IS NOT NULL AND NOT is_skipping THEN
        PERFORM guestcomms_internal.raise_ingest_problem(v_problems[v_first],
            concat_ws(' ', CASE WHEN is_batch THEN format('Element %s.', v_first) END,
                guestcomms_internal.message_problem_detail(v_problems[v_first], inputs[v_first])));
    END IF;

    SELECT array_agg(CASE WHEN v_problems[i.ordinality] IS NULL THEN guestcomms.uuid_v7(coalesce(i.sent_at, v_now)) END ORDER BY i.ordinality), array_agg(v_problems[i.ordinality] IS NULL ORDER BY i.ordinality)
    INTO v_ids, v_new
    FROM unnest(inputs) WITH ORDINALITY AS i;

    IF EXISTS (SELECT FROM unnest(inputs) AS i WHERE i.external_id IS NOT NULL) THEN
        -- In key order, or overlapping batches deadlock. The keys are read in a statement of their own: only that one
        -- sees a key that another transaction committed while the insert waited for it.
        INSERT INTO guestcomms.message_keys (tenant_id, source, external_id, message_id)
        SELECT v_tenant, coalesce(i.source, 'app'), i.external_id, v_ids[i.ordinality]
        FROM unnest(inputs) WITH ORDINALITY AS i
        WHERE i.external_id IS NOT NULL AND v_problems[i.ordinality] IS NULL
        ORDER BY 2, 3, i.ordinality
        ON CONFLICT ON CONSTRAINT message_keys_pkey DO NOTHING;
        GET DIAGNOSTICS v_inserted = ROW_COUNT;

        IF v_inserted < (SELECT count(*) FROM unnest(inputs) WITH ORDINALITY AS i WHERE i.external_id IS NOT NULL AND v_problems[i.ordinality] IS NULL) THEN
            -- The fences (OFFSET 0): under row security only bare columns reach the index, and the key is looked up once.
            SELECT array_agg(k.message_id ORDER BY k.ordinality), array_agg(v_new[k.ordinality] AND k.message_id = v_ids[k.ordinality] ORDER BY k.ordinality)
            INTO v_ids, v_new
            FROM (SELECT i.ordinality, coalesce((SELECT k.message_id FROM guestcomms.message_keys AS k
                    WHERE k.tenant_id = v_tenant AND k.source = i.key_source AND k.external_id = i.external_id), v_ids[i.ordinality]) AS message_id
                FROM (SELECT i.ordinality, i.external_id, coalesce(i.source, 'app') AS key_source FROM unnest(inputs) WITH ORDINALITY AS i OFFSET 0) AS i
                OFFSET 0) AS k;
        END IF;
    END IF;

    v_guests := ARRAY(SELECT DISTINCT i.guest_id FROM unnest(inputs) WITH ORDINALITY AS i WHERE i.thread_id IS NULL AND v_new[i.ordinality]);
    IF cardinality(v_guests) > 0 THEN
        SELECT jsonb_object_agg(t.guest_id, t.thread_id) INTO v_threads FROM guestcomms_internal.default_threads(v_tenant, v_guests) AS t;
    END IF;
    -- Without a language a message takes the tenant's, unless detect_languages() is to find it.
    SELECT t.language INTO v_language FROM guestcomms.tenants AS t
    WHERE t.tenant_id = v_tenant AND guestcomms_internal.setting('search.detect_language', v_tenant) = 'false';

    INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel,
        status, purpose, language, subject, body, author, source, external_id, scheduled_at, metadata)
    SELECT v_tenant, v_ids[i.ordinality], coalesce(i.sent_at, v_now), coalesce(i.thread_id, (v_threads ->> i.guest_id::text)::uuid),
        i.guest_id, i.wedding_id, i.campaign_id, i.direction, i.channel,
        coalesce(i.status, CASE WHEN i.direction = 'inbound' THEN 'received' WHEN i.scheduled_at IS NOT NULL THEN 'queued' ELSE 'sent' END),
        CASE WHEN i.campaign_id IS NULL THEN coalesce(i.purpose, 'service') ELSE guestcomms_internal.message_purpose(v_tenant, i.purpose, i.campaign_id) END,
        coalesce(i.language, v_language), i.subject, i.body, i.author, coalesce(i.source, 'app'),
        -- Queued without a time is queued for now.
        i.external_id, coalesce(i.scheduled_at, CASE WHEN i.status = 'queued' THEN v_now END), coalesce(i.metadata, '{}')
    FROM unnest(inputs) WITH ORDINALITY AS i
    WHERE v_new[i.ordinality];
    SELECT array_agg(coalesce(i.thread_id, (v_threads ->> i.guest_id::text)::uuid)), array_agg(CASE i.direction WHEN 'inbound' THEN coalesce(i.sent_at, v_now) END)
    INTO v_thread_ids, v_times FROM unnest(inputs) WITH ORDINALITY AS i WHERE v_new[i.ordinality];
    v_sleeping := guestcomms_internal.find_sleeping_threads(v_tenant, v_thread_ids, v_times);
    IF cardinality(v_sleeping) > 0 THEN
        PERFORM guestcomms_internal.wake_threads(v_tenant, v_sleeping, v_thread_ids, v_times);
    END IF;

    -- STOP and START, in any language or in the tenant's own words.
    v_opt_outs := ARRAY(SELECT i.ordinality
        FROM unnest(inputs) WITH ORDINALITY AS i
        CROSS JOIN (SELECT jsonb_object_agg(w.word, w.is_stop) AS own FROM guestcomms.opt_out_words AS w WHERE w.tenant_id = v_tenant) AS o
        WHERE i.direction = 'inbound' AND i.channel <> 'email' AND char_length(i.body) <= 60
            AND guestcomms_internal.opt_out_meaning(i.body, o.own) IS NOT NULL AND v_new[i.ordinality]);
    IF cardinality(v_opt_outs) > 0 THEN
        PERFORM guestcomms_internal.record_opt_outs(v_tenant, inputs, v_opt_outs, v_clock);
    END IF;

    RETURN QUERY
    SELECT i.ordinality::integer, CASE WHEN v_problems[i.ordinality] IS NULL THEN v_ids[i.ordinality] END,
        v_problems[i.ordinality] IS NULL AND NOT v_new[i.ordinality], v_problems[i.ordinality],
        CASE WHEN v_problems[i.ordinality] IS NOT NULL
            THEN guestcomms_internal.message_problem_detail(v_problems[i.ordinality], inputs[i.ordinality]) END
    FROM generate_series(1, cardinality(inputs)) AS i (ordinality);
END $$;
COMMENT ON FUNCTION guestcomms_internal.ingest_messages(guestcomms_internal.message_input[], boolean, boolean) IS
'Stores messages once each, in one statement per table; returns for every element its message_id or its problem.';

CREATE FUNCTION guestcomms_internal.message_problem_detail(problem text, input guestcomms_internal.message_input) RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path FROM CURRENT
AS $$
    SELECT CASE problem
        WHEN 'body_size' THEN format('%s bytes.', octet_length(input.body))
        WHEN 'subject_size' THEN format('%s characters.', char_length(input.subject))
        WHEN 'sent_at' THEN format('%s; the months are from %s to %s.', input.sent_at,
            (SELECT r.since FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.messages'),
            (SELECT r.until FROM guestcomms_internal.partition_ranges AS r WHERE r.parent_table = 'guestcomms.messages'))
        -- Not the value: arguments in the wrong order must not bring a guest's text into a log.
        WHEN 'channel' THEN format('%s characters were given.', coalesce(char_length(input.channel), 0))
        WHEN 'direction' THEN format('%s characters were given.', coalesce(char_length(input.direction), 0))
        WHEN 'guest' THEN 'guest_id ' || coalesce(input.guest_id::text, 'is missing') || '.'
        WHEN 'guest_erased' THEN format('guest_id %s.', input.guest_id)
        WHEN 'thread' THEN format('thread_id %s.', input.thread_id)
        WHEN 'wedding' THEN format('wedding_id %s.', input.wedding_id)
        WHEN 'campaign' THEN format('campaign_id %s.', input.campaign_id)
        WHEN 'contact' THEN format('guest_id %s, %s: %s.', input.guest_id, input.channel,
            guestcomms_internal.contact_refusal(guestcomms.current_tenant(), input.guest_id, input.channel, 'marketing', guestcomms_internal.needs_consent(guestcomms.current_tenant())))
    END
$$;
COMMENT ON FUNCTION guestcomms_internal.message_problem_detail(text, guestcomms_internal.message_input) IS
'Values that explain a problem; never text of a guest.';

CREATE FUNCTION guestcomms.record_message(
    guest_id uuid, direction text, channel text, body text, subject text DEFAULT NULL, sent_at timestamptz DEFAULT NULL,
    thread_id uuid DEFAULT NULL, campaign_id uuid DEFAULT NULL, external_id text DEFAULT NULL, source text DEFAULT NULL,
    language text DEFAULT NULL, purpose text DEFAULT NULL, metadata jsonb DEFAULT NULL, scheduled_at timestamptz DEFAULT NULL,
    wedding_id uuid DEFAULT NULL, author text DEFAULT NULL, status text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT i.message_id
    FROM guestcomms_internal.ingest_messages(ARRAY[ROW(guest_id, direction, channel, subject, body, sent_at, thread_id, wedding_id,
        campaign_id, external_id, source, language, purpose, status, author, metadata, scheduled_at)::guestcomms_internal.message_input], false, false) AS i);
END $$;
COMMENT ON FUNCTION guestcomms.record_message(uuid, text, text, text, text, timestamptz, uuid, uuid, text, text, text, text, jsonb, timestamptz, uuid, text, text) IS
$$Stores a message to or from a guest and returns message_id. direction: inbound (from the guest) or outbound; channel: email, sms, whatsapp or chat; purpose: service or marketing; status: received, queued, sent, delivered, read, failed or cancelled. With an external_id it is stored once: a repeat, whatever its other values, returns the first one's message_id. Without a thread it joins the guest's newest open one; without sent_at it is now; with scheduled_at it is queued until then, with status => 'queued' for at once; without purpose it has its campaign's. Marketing that is to be sent to a guest who objects is refused (GC003), see check_contact_allowed(); a guest's STOP or START, in many languages, is recorded with the message.
Example: SELECT guestcomms.record_message('7d3b2c1a-5f0e-4b8e-9a51-0c2f4d6e8a10', 'inbound', 'sms', 'Is there a vegan menu?', external_id => 'SM123', source => 'sms-provider');
See also: record_messages, run_import, record_event, claim_outbound, search_messages$$;
