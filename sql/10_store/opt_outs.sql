-- Objections that come with messages and events, recorded in their transaction: STOP and START from guests, complaints and
-- unsubscriptions from providers of e-mail. Each is of the moment at which it was said, so that history may be loaded in any
-- order and the latest word still counts.
CREATE FUNCTION guestcomms_internal.note_opt_out(tenant_id uuid, guest_id uuid, channel text, is_stop boolean, said_at timestamptz, source text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    -- A message keeps the guest it came with; what is said counts for the one who is kept.
    v_guest uuid := guestcomms_internal.lock_kept_guest(note_opt_out.tenant_id, note_opt_out.guest_id);
BEGIN
    INSERT INTO guestcomms.consents (tenant_id, guest_id, channel, purpose, is_granted, basis, source, recorded_at)
    SELECT note_opt_out.tenant_id, v_guest, note_opt_out.channel, p.purpose, NOT note_opt_out.is_stop, 'consent', note_opt_out.source, note_opt_out.said_at
    FROM unnest('{marketing,service}'::text[]) AS p (purpose)
    -- Carriers take STOP for every SMS, and START gives back what it took.
    WHERE (p.purpose = 'marketing' OR note_opt_out.channel = 'sms' AND note_opt_out.source = 'message'
            AND (guestcomms_internal.setting('consent.stop_ends_all_sms', note_opt_out.tenant_id)::boolean
                OR NOT note_opt_out.is_stop AND guestcomms_internal.is_objecting(note_opt_out.tenant_id, v_guest, note_opt_out.channel, p.purpose)))
        -- Reported twice it is one word. Said twice it is two: what comes late may belong between them.
        AND NOT EXISTS (SELECT FROM guestcomms.consents AS c
            WHERE c.tenant_id = note_opt_out.tenant_id AND c.guest_id = v_guest AND c.purpose = p.purpose AND c.recorded_at = note_opt_out.said_at
                AND c.channel = note_opt_out.channel AND c.is_granted <> note_opt_out.is_stop);
END $$;
COMMENT ON FUNCTION guestcomms_internal.note_opt_out(uuid, uuid, text, boolean, timestamptz, text) IS
'Adds to consents what a guest said at a moment.';

CREATE FUNCTION guestcomms_internal.record_opt_outs(tenant_id uuid, inputs guestcomms_internal.message_input[], places bigint[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_own jsonb := (SELECT jsonb_object_agg(o.word, o.is_stop) FROM guestcomms.opt_out_words AS o WHERE o.tenant_id = record_opt_outs.tenant_id);
BEGIN
    PERFORM guestcomms_internal.note_opt_out(record_opt_outs.tenant_id, i.guest_id, i.channel, i.is_stop, i.said_at, 'message')
    FROM (SELECT (inputs[p.place]).guest_id, (inputs[p.place]).channel, guestcomms_internal.opt_out_meaning((inputs[p.place]).body, v_own) AS is_stop,
            least(coalesce((inputs[p.place]).sent_at, record_opt_outs.at), record_opt_outs.at) AS said_at
        FROM unnest(record_opt_outs.places) AS p (place)
        ORDER BY 4, 1 OFFSET 0) AS i;
END $$;
COMMENT ON FUNCTION guestcomms_internal.record_opt_outs(uuid, guestcomms_internal.message_input[], bigint[], timestamptz) IS
'Records what those of the messages say that are STOP or START.';

CREATE FUNCTION guestcomms_internal.record_event_objections(tenant_id uuid, message_ids uuid[], said_at timestamptz[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path FROM CURRENT
AS $$
DECLARE
    v_said record;
BEGIN
    FOR v_said IN
        SELECT coalesce(m.guest_id, a.guest_id) AS guest_id, coalesce(m.channel, a.channel) AS channel, least(i.said_at, clock_timestamp()) AS said_at
        FROM (SELECT u.message_id, u.said_at, guestcomms.uuid_v7_time(u.message_id) AS sent_at
            FROM unnest(record_event_objections.message_ids, record_event_objections.said_at) AS u (message_id, said_at) OFFSET 0) AS i
        LEFT JOIN LATERAL (SELECT m.guest_id, m.channel FROM guestcomms.messages AS m
            WHERE m.tenant_id = record_event_objections.tenant_id AND m.message_id = i.message_id AND m.sent_at >= i.sent_at
                AND m.sent_at < i.sent_at + interval '1 millisecond') AS m ON true
        LEFT JOIN LATERAL (SELECT f.guest_id, f.channel FROM guestcomms_internal.find_archived(record_event_objections.tenant_id, ARRAY[i.message_id]) AS f
            WHERE m.guest_id IS NULL) AS a ON true
        -- One that is gone says no more whose it was.
        WHERE coalesce(m.guest_id, a.guest_id) IS NOT NULL
        ORDER BY 3
    LOOP
        PERFORM guestcomms_internal.note_opt_out(record_event_objections.tenant_id, v_said.guest_id, v_said.channel, true, v_said.said_at, 'event');
    END LOOP;
END $$;
COMMENT ON FUNCTION guestcomms_internal.record_event_objections(uuid, uuid[], timestamptz[]) IS
'Records that the guests of these messages want no more marketing on their channel.';
