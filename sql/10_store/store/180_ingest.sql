-- Idempotency keys, unpartitioned and kept when messages are archived; the staging table for COPY
CREATE TABLE guestcomms.message_keys (
    tenant_id uuid NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    message_id uuid NOT NULL,
    CONSTRAINT message_keys_pkey PRIMARY KEY (tenant_id, source, external_id)
);
CREATE INDEX message_keys_message ON guestcomms.message_keys (tenant_id, message_id);
COMMENT ON INDEX guestcomms.message_keys_message IS 'Whether a message that is not in messages is archived: events name messages by identifier.';
SELECT guestcomms_internal.document_table('guestcomms.message_keys', 'Which message an external identifier became, so that a repeat adds nothing.', $$
    tenant_id    key  tenant
    source       key  system
    external_id  key  that system's identifier
    message_id   key  message, stored or archived
$$);

CREATE TABLE guestcomms.event_keys (
    tenant_id uuid NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    event_id uuid NOT NULL,
    CONSTRAINT event_keys_pkey PRIMARY KEY (tenant_id, source, external_id)
);
SELECT guestcomms_internal.document_table('guestcomms.event_keys', 'Which event an external identifier became, so that a repeat adds nothing.', $$
    tenant_id    key  tenant
    source       key  system
    external_id  key  that system's identifier of the event
    event_id     key  event, stored or archived
$$);

-- COPY is refused on a table with row security, so this one has none: applications may insert the payload columns and
-- read nothing, and a trigger checks that the tenant stamped by the default is the verified one.
CREATE TABLE guestcomms.import_messages (
    tenant_id uuid NOT NULL DEFAULT
        coalesce(nullif(split_part(current_setting('guestcomms.context', true), '|', 2), ''), '00000000-0000-0000-0000-000000000000')::uuid,
    row_number bigint GENERATED ALWAYS AS IDENTITY,
    guest_id uuid,
    direction text,
    channel text,
    subject text,
    body text,
    sent_at timestamptz,
    thread_id uuid,
    wedding_id uuid,
    campaign_id uuid,
    external_id text,
    source text,
    language text,
    purpose text,
    status text,
    author text,
    metadata jsonb,
    scheduled_at timestamptz,
    CONSTRAINT import_messages_pkey PRIMARY KEY (tenant_id, row_number)
);
SELECT guestcomms_internal.document_table('guestcomms.import_messages', 'Where applications COPY messages to; run_import() takes them into the store.', $$
    tenant_id     key          tenant, stamped from the context
    row_number    operational  order of arrival
    guest_id      key          as in messages
    direction     operational  as in messages
    channel       operational  as in messages
    subject       content      as in messages
    body          content      as in messages
    sent_at       behaviour    as in messages; the time of the import where null
    thread_id     key          as in messages; the guest's newest open thread where null
    wedding_id    key          as in messages
    campaign_id   key          as in messages
    external_id   key          as in messages
    source        operational  as in messages
    language      operational  as in messages
    purpose       operational  as in messages
    status        operational  as in messages
    author        operational  as in messages
    metadata      content      as in messages
    scheduled_at  operational  as in messages
$$);
