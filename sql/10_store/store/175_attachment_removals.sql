-- What is known of attachments while their messages are hot or archived, and what is to be deleted from the object store. That
-- list outlives messages, guests and tenants, and so has no foreign key to any of them.
CREATE TABLE guestcomms_internal.attachment_contents (
    tenant_id uuid NOT NULL,
    attachment_id uuid NOT NULL,
    message_id uuid NOT NULL,
    name text NOT NULL,
    media_type text NOT NULL,
    byte_count bigint NOT NULL,
    sha256 bytea,
    uri text,
    uri_hash bytea,
    created_at timestamptz NOT NULL,
    CONSTRAINT attachment_contents_pkey PRIMARY KEY (tenant_id, attachment_id),
    CONSTRAINT attachment_contents_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
CREATE INDEX attachment_contents_message ON guestcomms_internal.attachment_contents (tenant_id, message_id);
COMMENT ON INDEX guestcomms_internal.attachment_contents_message IS 'Attachments of a message, also of an archived one.';
CREATE INDEX attachment_contents_uri ON guestcomms_internal.attachment_contents (tenant_id, uri_hash);
COMMENT ON INDEX guestcomms_internal.attachment_contents_uri IS 'Whether anything else uses a content, such as a forwarded file.';
CREATE INDEX attachment_contents_name ON guestcomms_internal.attachment_contents
    USING gin (tenant_id, to_tsvector('guestcomms.search_simple'::regconfig, regexp_replace(name, '[^[:alnum:]]+', ' ', 'g')));
COMMENT ON INDEX guestcomms_internal.attachment_contents_name IS 'Attachments by words of their names: file: in queries.';
SELECT guestcomms_internal.document_table('guestcomms_internal.attachment_contents', 'What is known of every attachment, also where its message and the row in attachments are archived.', $$
    tenant_id      key          tenant
    attachment_id  key          attachment
    message_id     key          message; may have been archived
    name           content      file name
    media_type     operational  for example image/jpeg
    byte_count     operational  size
    sha256         proof        hash of the content
    uri            content      where the content is
    uri_hash       key          SHA-256 of uri, by which it is found
    created_at     operational  when it was added
$$);
CREATE TRIGGER register_contents AFTER INSERT ON guestcomms.attachments REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.register_attachment_contents();

CREATE TABLE guestcomms.attachment_removals (
    tenant_id uuid NOT NULL,
    removal_id uuid NOT NULL DEFAULT guestcomms.uuid_v7(clock_timestamp()),
    uri_hash bytea NOT NULL,
    uri text,
    sha256 bytea,
    reason text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    CONSTRAINT attachment_removals_pkey PRIMARY KEY (tenant_id, removal_id),
    CONSTRAINT attachment_removals_uri_check CHECK ((uri IS NULL) = (removed_at IS NOT NULL)),
    CONSTRAINT attachment_removals_reason_check CHECK (char_length(reason) BETWEEN 1 AND 200)
);
CREATE UNIQUE INDEX attachment_removals_uri ON guestcomms.attachment_removals (tenant_id, uri_hash) WHERE removed_at IS NULL;
COMMENT ON INDEX guestcomms.attachment_removals_uri IS 'A content is on the list once; whether it is on it.';
CREATE INDEX attachment_removals_open ON guestcomms.attachment_removals (tenant_id, removal_id) WHERE removed_at IS NULL;
COMMENT ON INDEX guestcomms.attachment_removals_open IS 'What is still to be deleted, page by page; holds only that.';
CREATE INDEX attachment_removals_removal ON guestcomms.attachment_removals (removal_id);
COMMENT ON INDEX guestcomms.attachment_removals_removal IS 'For operators who work for all tenants and give identifiers alone.';
SELECT guestcomms_internal.document_table('guestcomms.attachment_removals', 'Contents that are to be deleted from the object store, or were; kept when messages, guests and tenants are gone.', $$
    tenant_id     key      tenant, which may be gone
    removal_id    key      UUID of version 7 with the time of the request
    uri_hash      proof    SHA-256 of uri
    uri           content  where the content is; null once it is deleted
    sha256        proof    hash of the content
    reason        proof    why: what called for it
    requested_at  proof    when it was put on the list
    removed_at    proof    when the object store's deletion was confirmed
$$);
