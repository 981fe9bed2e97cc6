-- What belongs to a message; without foreign keys to it, since it may be archived
CREATE TABLE guestcomms.message_versions (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    version_number integer NOT NULL,
    subject text,
    body text NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    replaced_by text NOT NULL DEFAULT session_user,
    CONSTRAINT message_versions_pkey PRIMARY KEY (tenant_id, message_id, version_number),
    CONSTRAINT message_versions_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.message_versions', 'Earlier texts of edited messages.', $$
    tenant_id       key          tenant
    message_id      key          message
    version_number  operational  1 for the first text
    subject         content      subject as it was
    body            content      text as it was
    replaced_at     operational  when it was replaced
    replaced_by     operational  who replaced it
$$);

CREATE TABLE guestcomms.attachments (
    tenant_id uuid NOT NULL,
    attachment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL,
    name text NOT NULL,
    media_type text NOT NULL,
    byte_count bigint NOT NULL,
    sha256 bytea,
    uri text,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT attachments_pkey PRIMARY KEY (tenant_id, attachment_id),
    CONSTRAINT attachments_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT attachments_byte_count_check CHECK (byte_count >= 0),
    CONSTRAINT attachments_sha256_check CHECK (octet_length(sha256) = 32)
);
CREATE INDEX attachments_message ON guestcomms.attachments (tenant_id, message_id);
COMMENT ON INDEX guestcomms.attachments_message IS 'Attachments of a message.';
SELECT guestcomms_internal.document_table('guestcomms.attachments', 'What is known of attachments; their content stays in the object store.', $$
    tenant_id      key          tenant
    attachment_id  key          attachment
    message_id     key          message
    name           content      file name
    media_type     operational  for example image/jpeg
    byte_count     operational  size
    sha256         proof        hash of the content
    uri            content      where the content is
    created_at     operational  when it was added
    deleted_at     operational  since when its content is to be deleted
$$);

CREATE TABLE guestcomms.message_annotations (
    tenant_id uuid NOT NULL,
    annotation_id uuid NOT NULL DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL,
    kind text NOT NULL,
    value jsonb NOT NULL,
    confidence double precision,
    annotator text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_annotations_pkey PRIMARY KEY (tenant_id, annotation_id),
    CONSTRAINT message_annotations_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT message_annotations_confidence_check CHECK (confidence BETWEEN 0 AND 1)
);
CREATE INDEX message_annotations_message ON guestcomms.message_annotations (tenant_id, message_id, kind);
COMMENT ON INDEX guestcomms.message_annotations_message IS 'Annotations of a message.';
SELECT guestcomms_internal.document_table('guestcomms.message_annotations', 'What programs or staff noted about messages: language, sentiment, intent.', $$
    tenant_id      key          tenant
    annotation_id  key          annotation
    message_id     key          message
    kind           behaviour    language, sentiment, intent or another
    value          behaviour    what was found
    confidence     operational  from 0 to 1
    annotator      operational  who found it
    created_at     operational  when
$$);
