-- What the inbox shows, filters and sorts by, beside each thread: in its own row, which only writers of that thread wait for
ALTER TABLE guestcomms.threads
    ADD COLUMN status_changed_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN last_message_id uuid,
    ADD COLUMN last_message_at timestamptz,
    ADD COLUMN last_direction text,
    ADD COLUMN last_channel text,
    ADD COLUMN last_inbound_at timestamptz,
    ADD COLUMN last_outbound_at timestamptz,
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN unread_count integer NOT NULL DEFAULT 0,
    ADD COLUMN active_at timestamptz GENERATED ALWAYS AS (coalesce(snoozed_until, last_message_at, created_at)) STORED,
    ADD COLUMN guest_waits_since timestamptz GENERATED ALWAYS AS (CASE WHEN last_outbound_at IS NULL OR last_inbound_at > last_outbound_at THEN
        CASE WHEN last_inbound_at IS NOT NULL THEN waiting_since END END) STORED,
    -- No function: it would be planned anew with every message.
    ADD COLUMN shelf smallint GENERATED ALWAYS AS ((20 * (array_position(ARRAY['open', 'waiting', 'closed'], status) - 1)
        + 4 * coalesce(array_position(ARRAY['email', 'sms', 'whatsapp', 'chat'], last_channel), 0)
        + 2 * (unread_count > 0)::integer + (snoozed_until IS NOT NULL)::integer)::smallint) STORED,
    ADD CONSTRAINT threads_assigned_to_check CHECK (char_length(assigned_to) BETWEEN 1 AND 200);

CREATE INDEX threads_inbox ON guestcomms.threads (tenant_id, shelf, active_at, thread_id);
COMMENT ON INDEX guestcomms.threads_inbox IS 'Any page of the inbox by activity, and its counts.';
CREATE INDEX threads_assigned ON guestcomms.threads (tenant_id, assigned_to, shelf, active_at, thread_id);
COMMENT ON INDEX guestcomms.threads_assigned IS 'The inbox of one of the staff, and of nobody.';
CREATE INDEX threads_wedding ON guestcomms.threads (tenant_id, wedding_id, shelf, active_at, thread_id) WHERE wedding_id IS NOT NULL;
COMMENT ON INDEX guestcomms.threads_wedding IS 'The inbox of one wedding.';
CREATE INDEX threads_waiting ON guestcomms.threads (tenant_id, shelf, guest_waits_since, thread_id) WHERE guest_waits_since IS NOT NULL;
COMMENT ON INDEX guestcomms.threads_waiting IS 'Guests who wait for an answer, the longest first; holds only those.';
CREATE INDEX threads_assigned_waiting ON guestcomms.threads (tenant_id, assigned_to, shelf, guest_waits_since, thread_id) WHERE guest_waits_since IS NOT NULL;
COMMENT ON INDEX guestcomms.threads_assigned_waiting IS 'Guests who wait for one of the staff, or for nobody, the longest first; holds only those.';
-- The youngest of the indexes: of those that seem to cost the same, as all do until a table is analyzed, the planner takes that.
ALTER TABLE guestcomms.threads ADD CONSTRAINT threads_pkey PRIMARY KEY (tenant_id, thread_id);

SELECT guestcomms_internal.document_table('guestcomms.threads', 'Conversations with a guest.', $$
    status_changed_at  operational  when its status, or how long it is put aside, was last set
    last_message_id    key          its last message that came from the guest or was sent; archived or not
    last_message_at    behaviour    sent_at of that
    last_direction     operational  direction of that
    last_channel       operational  channel of that
    last_inbound_at    behaviour    when the guest last wrote
    last_outbound_at   behaviour    when the guest was last written to
    waiting_since      behaviour    first of the messages that the other side has not answered
    unread_count       operational  messages from the guest, not archived, that nobody has read
    active_at          behaviour    what the inbox is sorted by: its last message, or when it comes back
    guest_waits_since  behaviour    waiting_since where it is the guest who waits
    shelf              operational  what the inbox is filtered by, as one number
$$);
