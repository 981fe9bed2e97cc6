-- Programs and people that annotate messages
CREATE TABLE guestcomms.annotators (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    kinds text[] NOT NULL,
    description text,
    registered_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT annotators_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT annotators_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT annotators_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    CONSTRAINT annotators_version_check CHECK (version ~ '^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$'),
    CONSTRAINT annotators_kinds_check CHECK (cardinality(kinds) BETWEEN 1 AND 100),
    CONSTRAINT annotators_description_check CHECK (char_length(description) <= 2000)
);
SELECT guestcomms_internal.document_table('guestcomms.annotators', 'Who may annotate a tenant''s messages, and with what.', $$
    tenant_id      key          tenant
    name           operational  name; annotations say name@version
    version        operational  version that annotates now
    kinds          operational  kinds of annotations that it makes
    description    operational  what it is, for data-protection officers
    registered_at  operational  when this version was registered
$$);
