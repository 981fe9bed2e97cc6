-- Campaigns, templates, threads
CREATE TABLE guestcomms.campaigns (
    tenant_id uuid NOT NULL,
    campaign_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    channel text,
    purpose text NOT NULL DEFAULT 'service',
    started_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT campaigns_pkey PRIMARY KEY (tenant_id, campaign_id),
    CONSTRAINT campaigns_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT campaigns_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT campaigns_channel_check CHECK (channel IN ('email', 'sms', 'whatsapp', 'chat')),
    CONSTRAINT campaigns_purpose_check CHECK (purpose IN ('service', 'marketing'))
);
SELECT guestcomms_internal.document_table('guestcomms.campaigns', 'Messages sent to many guests for one end.', $$
    tenant_id    key          tenant
    campaign_id  key          campaign
    name         operational  name
    channel      operational  channel, where there is only one
    purpose      operational  service or marketing
    started_at   operational  first sending
    ended_at     operational  last sending
    created_at   operational  when it was added
$$);

CREATE TABLE guestcomms.message_templates (
    tenant_id uuid NOT NULL,
    template_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    channel text NOT NULL,
    language text NOT NULL,
    variant text NOT NULL DEFAULT 'a',
    subject text,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    CONSTRAINT message_templates_pkey PRIMARY KEY (tenant_id, template_id),
    CONSTRAINT message_templates_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT message_templates_name_key UNIQUE (tenant_id, name, channel, language, variant),
    CONSTRAINT message_templates_channel_check CHECK (channel IN ('email', 'sms', 'whatsapp', 'chat')),
    CONSTRAINT message_templates_language_check CHECK (language ~ '^[a-z]{2,3}$')
);
SELECT guestcomms_internal.document_table('guestcomms.message_templates', 'Texts with variables, per channel, language and variant.', $$
    tenant_id    key          tenant
    template_id  key          template
    name         operational  name shared by its languages and variants
    channel      operational  channel
    language     operational  ISO 639-1 language
    variant      operational  variant, for comparisons
    subject      operational  subject with variables
    body         operational  text with variables
    created_at   operational  when it was added
    retired_at   operational  when it was last used no more
$$);

CREATE TABLE guestcomms.threads (
    tenant_id uuid NOT NULL,
    thread_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid NOT NULL,
    wedding_id uuid,
    subject text,
    status text NOT NULL DEFAULT 'open',
    assigned_to text,
    snoozed_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT threads_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT threads_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms.weddings (tenant_id, wedding_id),
    CONSTRAINT threads_status_check CHECK (status IN ('open', 'waiting', 'closed')),
    CONSTRAINT threads_subject_check CHECK (char_length(subject) <= 2000)
);
CREATE INDEX threads_guest ON guestcomms.threads (tenant_id, guest_id, created_at DESC);
COMMENT ON INDEX guestcomms.threads_guest IS 'The newest open thread of a guest, which takes messages that name none.';
SELECT guestcomms_internal.document_table('guestcomms.threads', 'Conversations with a guest.', $$
    tenant_id      key          tenant
    thread_id      key          thread
    guest_id       key          guest the thread is with
    wedding_id     key          wedding it is about
    subject        content      subject
    status         operational  open, waiting or closed
    assigned_to    operational  who of the tenant's staff has it
    snoozed_until  operational  when it comes back to the inbox
    created_at     operational  when it was opened
$$);
