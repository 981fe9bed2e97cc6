-- Audit trail: entries, what they speak of (deletable), heads of the sealed chains
CREATE TABLE guestcomms.audit_entries (
    tenant_id uuid NOT NULL,
    entry_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor text NOT NULL,
    acting_role text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    commitment bytea,
    sequence bigint,
    previous_hash bytea,
    entry_hash bytea,
    CONSTRAINT audit_entries_pkey PRIMARY KEY (tenant_id, entry_id),
    CONSTRAINT audit_entries_sealed_check CHECK ((sequence IS NULL) = (entry_hash IS NULL) AND (sequence IS NULL) = (previous_hash IS NULL))
);
CREATE UNIQUE INDEX audit_entries_sequence ON guestcomms.audit_entries (tenant_id, sequence) WHERE sequence IS NOT NULL;
COMMENT ON INDEX guestcomms.audit_entries_sequence IS 'Walks a tenant''s chain in order; no number twice.';
CREATE INDEX audit_entries_unsealed ON guestcomms.audit_entries (tenant_id, entry_id) WHERE sequence IS NULL;
COMMENT ON INDEX guestcomms.audit_entries_unsealed IS 'What the sealing job has to do; empty when it is done.';
SELECT guestcomms_internal.document_table('guestcomms.audit_entries', 'Who did what, sealed in order into one hash chain per tenant.', $$
    tenant_id      key       tenant, or the zero UUID for the whole store
    entry_id       key       UUID of version 7
    occurred_at    security  when
    actor          security  login role
    acting_role    security  role set at the time
    action         security  name of the function that acted
    object         security  what it acted on: kind and identifier, never content
    commitment     proof     SHA-256 of salt and content; stays when the content is erased
    sequence       security  place in the tenant's chain; null until sealed
    previous_hash  security  entry_hash of the entry before
    entry_hash     security  SHA-256 over this entry's length-prefixed fields and previous_hash
$$);

CREATE TABLE guestcomms.audit_contents (
    tenant_id uuid NOT NULL,
    entry_id uuid NOT NULL,
    salt bytea NOT NULL,
    content jsonb NOT NULL,
    CONSTRAINT audit_contents_pkey PRIMARY KEY (tenant_id, entry_id)
);
SELECT guestcomms_internal.document_table('guestcomms.audit_contents', 'Details of audit entries; deleting a row leaves the chain valid.', $$
    tenant_id  key       tenant
    entry_id   key       audit entry
    salt       security  makes the commitment unguessable
    content    security  details of the act
$$);

CREATE TABLE guestcomms.audit_heads (
    tenant_id uuid NOT NULL,
    sequence bigint NOT NULL,
    entry_hash bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_heads_pkey PRIMARY KEY (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.audit_heads', 'Last sealed entry of every chain; keep a copy elsewhere (export_audit_heads).', $$
    tenant_id   key       tenant, or the zero UUID
    sequence    security  number of the last sealed entry
    entry_hash  security  its hash
    sealed_at   security  when it was sealed
$$);
