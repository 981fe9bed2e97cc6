-- Who withdrew which message and why; of its text nothing is kept
CREATE TABLE guestcomms.message_deletions (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_by text NOT NULL DEFAULT session_user,
    reason text,
    CONSTRAINT message_deletions_pkey PRIMARY KEY (tenant_id, message_id),
    CONSTRAINT message_deletions_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT message_deletions_reason_check CHECK (char_length(reason) BETWEEN 1 AND 2000)
);
SELECT guestcomms_internal.document_table('guestcomms.message_deletions', 'Messages that delete_message() withdrew.', $$
    tenant_id   key    tenant
    message_id  key    message, whose row stays without its text
    deleted_at  proof  when
    deleted_by  proof  login role that did it
    reason      proof  why, as it was given
$$);
