-- Messages, partitioned by month
CREATE TABLE guestcomms.messages (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL DEFAULT guestcomms.uuid_v7(now()),
    sent_at timestamptz NOT NULL DEFAULT now(),
    thread_id uuid NOT NULL,
    guest_id uuid NOT NULL,
    wedding_id uuid,
    campaign_id uuid,
    direction text NOT NULL,
    channel text NOT NULL,
    status text NOT NULL,
    purpose text NOT NULL DEFAULT 'service',
    language text,
    subject text,
    body text NOT NULL,
    author text,
    source text NOT NULL DEFAULT 'app',
    external_id text,
    scheduled_at timestamptz,
    read_at timestamptz,
    edited_at timestamptz,
    deleted_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    word_count integer GENERATED ALWAYS AS (guestcomms_internal.message_word_count_v1(subject, body)) STORED,
    search tsvector GENERATED ALWAYS AS (guestcomms_internal.message_search_v1(language, subject, body)) STORED,
    CONSTRAINT messages_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT messages_thread_fkey FOREIGN KEY (tenant_id, thread_id) REFERENCES guestcomms.threads (tenant_id, thread_id),
    CONSTRAINT messages_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms.weddings (tenant_id, wedding_id),
    CONSTRAINT messages_campaign_fkey FOREIGN KEY (tenant_id, campaign_id) REFERENCES guestcomms.campaigns (tenant_id, campaign_id),
    CONSTRAINT messages_direction_check CHECK (direction IN ('inbound', 'outbound')),
    CONSTRAINT messages_channel_check CHECK (channel IN ('email', 'sms', 'whatsapp', 'chat')),
    CONSTRAINT messages_status_check CHECK (status IN ('received', 'queued', 'sent', 'delivered', 'read', 'failed', 'cancelled')),
    CONSTRAINT messages_purpose_check CHECK (purpose IN ('service', 'marketing')),
    CONSTRAINT messages_language_check CHECK (language ~ '^[a-z]{2,3}$'),
    CONSTRAINT messages_subject_check CHECK (char_length(subject) <= 2000),
    CONSTRAINT messages_body_check CHECK (octet_length(body) <= 1048576),
    CONSTRAINT messages_sent_at_check CHECK (sent_at >= timestamptz '1995-01-01 00:00+00' AND sent_at < now() + interval '2 years'),
    CONSTRAINT messages_message_id_check CHECK (substring(uuid_send(message_id) FROM 1 FOR 6)
        = substring(int8send(floor(extract(epoch FROM sent_at) * 1000)::bigint) FROM 3))
) PARTITION BY RANGE (sent_at);

CREATE INDEX messages_search ON guestcomms.messages USING gin (tenant_id, search);
COMMENT ON INDEX guestcomms.messages_search IS 'Full-text search within one tenant.';
CREATE INDEX messages_sent_at ON guestcomms.messages (tenant_id, sent_at DESC, message_id DESC);
COMMENT ON INDEX guestcomms.messages_sent_at IS 'Newest messages of a tenant, and stable paging through them.';
CREATE INDEX messages_thread ON guestcomms.messages (tenant_id, thread_id, sent_at);
COMMENT ON INDEX guestcomms.messages_thread IS 'A conversation in order.';
CREATE INDEX messages_guest ON guestcomms.messages (tenant_id, guest_id, sent_at);
COMMENT ON INDEX guestcomms.messages_guest IS 'All of one guest: history, export, erasure.';
CREATE INDEX messages_time ON guestcomms.messages USING brin (sent_at) WITH (pages_per_range = 32);
COMMENT ON INDEX guestcomms.messages_time IS 'Time ranges over all tenants, for maintenance; costs next to nothing.';
CREATE INDEX messages_queued ON guestcomms.messages (tenant_id, channel, scheduled_at, message_id) WHERE status = 'queued';
COMMENT ON INDEX guestcomms.messages_queued IS 'What is to be sent next; holds only what waits.';
CREATE INDEX messages_unread ON guestcomms.messages (tenant_id, thread_id, sent_at) WHERE direction = 'inbound' AND read_at IS NULL;
COMMENT ON INDEX guestcomms.messages_unread IS 'Unread counts; holds only what is unread.';
CREATE INDEX messages_failed ON guestcomms.messages (tenant_id, sent_at) WHERE status = 'failed';
COMMENT ON INDEX guestcomms.messages_failed IS 'Dead letters; holds only what failed.';
-- The youngest, as that of threads.
ALTER TABLE guestcomms.messages ADD CONSTRAINT messages_pkey PRIMARY KEY (tenant_id, message_id, sent_at);

SELECT guestcomms_internal.document_table('guestcomms.messages', 'Every message to or from a guest.', $$
    tenant_id     key          tenant
    message_id    key          UUID of version 7 with the millisecond of sent_at
    sent_at       behaviour    when it was sent or received; of a queued one when it was recorded, which stays
    thread_id     key          conversation
    guest_id      key          guest it was sent to or came from
    wedding_id    key          wedding it is about
    campaign_id   key          campaign it was part of
    direction     operational  inbound (from the guest) or outbound
    channel       operational  email, sms, whatsapp or chat
    status        operational  received; or queued, sent, delivered, read, failed, cancelled
    purpose       operational  service or marketing
    language      operational  ISO 639-1 language it is written in
    subject       content      subject line
    body          content      text, at most 1 MiB
    author        operational  who of the tenant's staff wrote it
    source        operational  system it came through; external_id is unique within it
    external_id   key          that system's identifier
    scheduled_at  operational  when a queued message is to be sent, or tried again
    read_at       behaviour    when staff (inbound) or the guest (outbound) read it
    edited_at     operational  when its text last changed
    deleted_at    operational  when it was withdrawn; its text is gone
    metadata      content      whatever else the application keeps with it
    word_count    operational  length in words, for ranking
    search        content      stems of subject (weight A) and body (weight B)
$$);

CREATE TABLE guestcomms_internal.messages_template (LIKE guestcomms.messages);
COMMENT ON TABLE guestcomms_internal.messages_template IS 'Empty; pg_partman takes from it what partitions do not inherit.';
SELECT guestcomms_internal.make_partitioned('guestcomms.messages', 'sent_at', 'guestcomms_internal.messages_template');
