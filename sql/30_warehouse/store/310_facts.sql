-- Facts, partitioned by month. Indexes begin with the tenant; all of an unpartitioned past is not scanned for one business.
CREATE TABLE guestcomms_bi.fact_message (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    sent_at timestamptz NOT NULL,
    sent_date_key date NOT NULL,
    sent_time_key smallint NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    purpose text NOT NULL,
    guest_key bigint NOT NULL,
    guest_id uuid NOT NULL,
    wedding_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    thread_id uuid NOT NULL,
    word_count integer NOT NULL,
    is_sent boolean NOT NULL,
    queued_at timestamptz,
    delivered_at timestamptz,
    opened_at timestamptz,
    machine_opened_at timestamptz,
    clicked_at timestamptz,
    replied_at timestamptz,
    failed_at timestamptz,
    unsubscribed_at timestamptz,
    response_seconds integer,
    has_source boolean NOT NULL,
    has_events boolean NOT NULL DEFAULT true,
    CONSTRAINT fact_message_pkey PRIMARY KEY (tenant_id, message_id, sent_at),
    CONSTRAINT fact_message_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms_bi.dim_tenant (tenant_id),
    CONSTRAINT fact_message_date_fkey FOREIGN KEY (sent_date_key) REFERENCES guestcomms_bi.dim_date (date_key),
    CONSTRAINT fact_message_time_fkey FOREIGN KEY (sent_time_key) REFERENCES guestcomms_bi.dim_time (time_key),
    CONSTRAINT fact_message_channel_fkey FOREIGN KEY (channel_key) REFERENCES guestcomms_bi.dim_channel (channel_key),
    CONSTRAINT fact_message_guest_fkey FOREIGN KEY (tenant_id, guest_key) REFERENCES guestcomms_bi.dim_guest (tenant_id, guest_key),
    CONSTRAINT fact_message_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms_bi.dim_wedding (tenant_id, wedding_id),
    CONSTRAINT fact_message_campaign_fkey FOREIGN KEY (tenant_id, campaign_id) REFERENCES guestcomms_bi.dim_campaign (tenant_id, campaign_id)
) PARTITION BY RANGE (sent_at);
CREATE INDEX fact_message_sent_at ON guestcomms_bi.fact_message (tenant_id, sent_at);
COMMENT ON INDEX guestcomms_bi.fact_message_sent_at IS 'One tenant''s messages of a time; rollups are computed by it.';
CREATE INDEX fact_message_guest ON guestcomms_bi.fact_message (tenant_id, guest_key, sent_at);
COMMENT ON INDEX guestcomms_bi.fact_message_guest IS 'A guest''s messages: engagement, new versions, erasure, and the foreign key.';
CREATE INDEX fact_message_thread ON guestcomms_bi.fact_message (tenant_id, thread_id, sent_at) WHERE NOT has_source;
COMMENT ON INDEX guestcomms_bi.fact_message_thread IS 'Conversations whose messages are archived; those of the others are read from the messages.';
CREATE INDEX fact_message_time ON guestcomms_bi.fact_message USING brin (sent_at) WITH (pages_per_range = 32);
COMMENT ON INDEX guestcomms_bi.fact_message_time IS 'Time ranges over all tenants; costs next to nothing.';
SELECT guestcomms_internal.document_table('guestcomms_bi.fact_message', 'One row for each message: what it was and what came of it.', $$
    tenant_id          key          tenant
    message_id         key          message
    sent_at            behaviour    when it was sent or received
    sent_date_key      operational  day of that in the tenant's time zone
    sent_time_key      operational  minute of the day in the tenant's time zone
    channel_key        key          channel
    direction          operational  inbound (from the guest) or outbound
    purpose            operational  service or marketing
    guest_key          key          guest, as he or she was then
    guest_id           key          guest; all zeros where erased
    wedding_id         key          wedding; all zeros for none
    campaign_id        key          campaign; all zeros for none
    thread_id          key          conversation
    word_count         operational  length in words
    is_sent            operational  whether it left: outbound, and neither waiting nor cancelled
    queued_at          behaviour    when it was first queued
    delivered_at       behaviour    when it was delivered: as reported, or else by the first sign that it must have been
    opened_at          behaviour    when a person first opened or read it
    machine_opened_at  behaviour    when a machine first opened it
    clicked_at         behaviour    when a person first clicked a link in it
    replied_at         behaviour    when the other side first answered in its conversation
    failed_at          behaviour    when it first failed or bounced
    unsubscribed_at    behaviour    when the guest unsubscribed by it
    response_seconds   behaviour    seconds until that answer, where the message opened a turn of the conversation
    has_source         operational  false where the message was archived or erased, and this row stands by itself
    has_events         operational  false where retention removed what was known of the guest's doings, and what this row says of them stands by itself
$$);

CREATE TABLE guestcomms_bi.fact_message_event (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    occurred_date_key date NOT NULL,
    occurred_time_key smallint NOT NULL,
    message_id uuid NOT NULL,
    channel_key smallint NOT NULL,
    direction text NOT NULL,
    kind text NOT NULL,
    is_machine boolean NOT NULL,
    guest_key bigint NOT NULL,
    wedding_id uuid NOT NULL,
    campaign_id uuid NOT NULL,
    CONSTRAINT fact_message_event_pkey PRIMARY KEY (tenant_id, event_id, occurred_at),
    CONSTRAINT fact_message_event_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms_bi.dim_tenant (tenant_id),
    CONSTRAINT fact_message_event_date_fkey FOREIGN KEY (occurred_date_key) REFERENCES guestcomms_bi.dim_date (date_key),
    CONSTRAINT fact_message_event_time_fkey FOREIGN KEY (occurred_time_key) REFERENCES guestcomms_bi.dim_time (time_key),
    CONSTRAINT fact_message_event_channel_fkey FOREIGN KEY (channel_key) REFERENCES guestcomms_bi.dim_channel (channel_key),
    CONSTRAINT fact_message_event_guest_fkey FOREIGN KEY (tenant_id, guest_key) REFERENCES guestcomms_bi.dim_guest (tenant_id, guest_key),
    CONSTRAINT fact_message_event_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms_bi.dim_wedding (tenant_id, wedding_id),
    CONSTRAINT fact_message_event_campaign_fkey FOREIGN KEY (tenant_id, campaign_id) REFERENCES guestcomms_bi.dim_campaign (tenant_id, campaign_id)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX fact_message_event_message ON guestcomms_bi.fact_message_event (tenant_id, message_id);
COMMENT ON INDEX guestcomms_bi.fact_message_event_message IS 'All events of a message.';
CREATE INDEX fact_message_event_occurred_at ON guestcomms_bi.fact_message_event (tenant_id, occurred_at);
COMMENT ON INDEX guestcomms_bi.fact_message_event_occurred_at IS 'One tenant''s events of a time; rollups are computed by it.';
CREATE INDEX fact_message_event_guest ON guestcomms_bi.fact_message_event (tenant_id, guest_key);
COMMENT ON INDEX guestcomms_bi.fact_message_event_guest IS 'A guest''s events, and the foreign key when an erased guest''s versions go.';
CREATE INDEX fact_message_event_time ON guestcomms_bi.fact_message_event USING brin (occurred_at) WITH (pages_per_range = 32);
COMMENT ON INDEX guestcomms_bi.fact_message_event_time IS 'Time ranges over all tenants; costs next to nothing.';
SELECT guestcomms_internal.document_table('guestcomms_bi.fact_message_event', 'One row for each event of a message.', $$
    tenant_id          key          tenant
    event_id           key          event
    occurred_at        behaviour    when it happened
    occurred_date_key  operational  day of that in the tenant's time zone
    occurred_time_key  operational  minute of the day in the tenant's time zone
    message_id         key          message
    channel_key        key          the message's channel
    direction          operational  the message's direction
    kind               behaviour    queued, sent, delivered, opened, clicked, replied, read, failed, bounced, complained, unsubscribed, cancelled
    is_machine         behaviour    whether a machine did it
    guest_key          key          the message's guest
    wedding_id         key          the message's wedding; all zeros for none
    campaign_id        key          the message's campaign; all zeros for none
$$);

CREATE TABLE guestcomms_internal.fact_message_template (LIKE guestcomms_bi.fact_message);
COMMENT ON TABLE guestcomms_internal.fact_message_template IS 'Empty; pg_partman takes from it what partitions do not inherit.';
SELECT guestcomms_internal.make_partitioned('guestcomms_bi.fact_message', 'sent_at', 'guestcomms_internal.fact_message_template');
CREATE TABLE guestcomms_internal.fact_message_event_template (LIKE guestcomms_bi.fact_message_event);
COMMENT ON TABLE guestcomms_internal.fact_message_event_template IS 'Empty; pg_partman takes from it what partitions do not inherit.';
SELECT guestcomms_internal.make_partitioned('guestcomms_bi.fact_message_event', 'occurred_at', 'guestcomms_internal.fact_message_event_template');
