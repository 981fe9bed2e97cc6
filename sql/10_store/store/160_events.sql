-- Events of messages, partitioned by month; without a foreign key to messages, which may be archived before an event comes
CREATE TABLE guestcomms.message_events (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL DEFAULT guestcomms.uuid_v7(now()),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    message_id uuid NOT NULL,
    kind text NOT NULL,
    is_machine boolean NOT NULL DEFAULT false,
    source text NOT NULL DEFAULT 'app',
    external_id text,
    detail jsonb,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_events_pkey PRIMARY KEY (tenant_id, event_id, occurred_at),
    CONSTRAINT message_events_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT message_events_kind_check CHECK (kind IN
        ('queued', 'sent', 'delivered', 'opened', 'clicked', 'replied', 'read', 'failed', 'bounced', 'complained', 'unsubscribed', 'cancelled')),
    CONSTRAINT message_events_occurred_at_check CHECK (occurred_at >= timestamptz '1995-01-01 00:00+00' AND occurred_at < now() + interval '2 years'),
    CONSTRAINT message_events_event_id_check CHECK (substring(uuid_send(event_id) FROM 1 FOR 6)
        = substring(int8send(floor(extract(epoch FROM occurred_at) * 1000)::bigint) FROM 3))
) PARTITION BY RANGE (occurred_at);
CREATE INDEX message_events_message ON guestcomms.message_events (tenant_id, message_id, occurred_at);
COMMENT ON INDEX guestcomms.message_events_message IS 'All events of a message, and of a batch being archived.';
CREATE INDEX message_events_time ON guestcomms.message_events USING brin (occurred_at) WITH (pages_per_range = 32);
COMMENT ON INDEX guestcomms.message_events_time IS 'Time ranges over all tenants, for maintenance; costs next to nothing.';
SELECT guestcomms_internal.document_table('guestcomms.message_events', 'What happened to messages, as providers and apps report it, in any order.', $$
    tenant_id    key          tenant
    event_id     key          UUID of version 7 with the millisecond of occurred_at
    occurred_at  behaviour    when it happened
    message_id   key          message; may have been archived
    kind         behaviour    queued, sent, delivered, opened, clicked, replied, read, failed, bounced, complained, unsubscribed, cancelled
    is_machine   behaviour    done by a machine, for example a mail proxy that opens everything
    source       operational  system that reported it; external_id is unique within it
    external_id  key          that system's identifier of the event
    detail       behaviour    further facts, for example the link clicked
    recorded_at  operational  when it was stored
$$);

CREATE TABLE guestcomms_internal.message_events_template (LIKE guestcomms.message_events);
COMMENT ON TABLE guestcomms_internal.message_events_template IS 'Empty; pg_partman takes from it what partitions do not inherit.';
SELECT guestcomms_internal.make_partitioned('guestcomms.message_events', 'occurred_at', 'guestcomms_internal.message_events_template');
