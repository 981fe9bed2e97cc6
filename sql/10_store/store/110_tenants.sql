-- Tenants, the roles that may open them, and the languages their messages are written in
CREATE TABLE guestcomms.tenants (
    tenant_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    timezone text NOT NULL,
    language text NOT NULL,
    region text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenants_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenants_language_check CHECK (language ~ '^[a-z]{2,3}$'),
    CONSTRAINT tenants_region_check CHECK (region ~ '^[A-Z]{2}$')
);
SELECT guestcomms_internal.document_table('guestcomms.tenants', 'Businesses whose messages the store keeps apart.', $$
    tenant_id   key          tenant
    name        operational  name of the business
    timezone    operational  IANA time zone of its days and hours
    language    operational  ISO 639-1 language assumed where a message states none
    region      operational  ISO 3166-1 country of the business
    created_at  operational  when it was added
    closed_at   operational  when it was closed; it can no longer be opened
$$);

CREATE TABLE guestcomms.tenant_members (
    tenant_id uuid NOT NULL,
    role_name text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    added_by text NOT NULL DEFAULT session_user,
    CONSTRAINT tenant_members_pkey PRIMARY KEY (tenant_id, role_name),
    CONSTRAINT tenant_members_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.tenant_members', 'Database roles that may open a tenant without a token.', $$
    tenant_id  key       tenant
    role_name  security  role, by name (an oid would not survive a restore)
    added_at   security  when it was added
    added_by   security  login role that added it
$$);

CREATE TABLE guestcomms.tenant_languages (
    tenant_id uuid NOT NULL,
    configuration text NOT NULL,
    note_id uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT tenant_languages_pkey PRIMARY KEY (tenant_id, configuration, note_id),
    CONSTRAINT tenant_languages_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.tenant_languages', 'Text-search configurations that a tenant''s messages were indexed with; a search stems its words by each.', $$
    tenant_id      key          tenant
    configuration  operational  name of a text-search configuration in schema guestcomms
    note_id        key          makes room for the same note by two transactions at once, so that neither waits
$$);
