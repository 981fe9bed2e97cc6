-- Exports: what was asked for, how far it has come, and the file in parts until it expires.
CREATE TABLE guestcomms.exports (
    tenant_id uuid NOT NULL,
    export_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid,
    formats text[] NOT NULL,
    scope text NOT NULL,
    redact_others boolean NOT NULL,
    anonymize boolean NOT NULL,
    compress boolean NOT NULL,
    public_key text,
    key_name text,
    status text NOT NULL DEFAULT 'waiting',
    stage text NOT NULL DEFAULT 'open',
    reached_at timestamptz,
    reached_id uuid,
    batch_count integer NOT NULL DEFAULT 0,
    message_total bigint NOT NULL,
    message_count bigint NOT NULL DEFAULT 0,
    counts jsonb NOT NULL DEFAULT '{}',
    conversations jsonb NOT NULL DEFAULT '{}',
    damaged_segments uuid[] NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text NOT NULL DEFAULT session_user,
    finished_at timestamptz,
    expires_at timestamptz,
    file_name text,
    byte_count bigint,
    part_count integer,
    sha256 bytea,
    error_code text,
    CONSTRAINT exports_pkey PRIMARY KEY (tenant_id, export_id),
    CONSTRAINT exports_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT exports_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT exports_scope_check CHECK (scope IN ('access', 'portability')),
    CONSTRAINT exports_status_check CHECK (status IN ('waiting', 'ready', 'failed', 'removed')),
    CONSTRAINT exports_stage_check CHECK (stage IN ('open', 'archive', 'tables', 'close')),
    CONSTRAINT exports_key_check CHECK (num_nonnulls(public_key, key_name) < 2)
);
CREATE INDEX exports_waiting ON guestcomms.exports (requested_at, export_id) WHERE status = 'waiting';
COMMENT ON INDEX guestcomms.exports_waiting IS 'What the job has to write, the oldest first.';
CREATE INDEX exports_expiry ON guestcomms.exports (expires_at) WHERE status = 'ready';
COMMENT ON INDEX guestcomms.exports_expiry IS 'Whose files are to be removed.';
CREATE INDEX exports_guest ON guestcomms.exports (tenant_id, guest_id, requested_at);
COMMENT ON INDEX guestcomms.exports_guest IS 'Exports of one guest.';
SELECT guestcomms_internal.document_table('guestcomms.exports', 'Exports of a guest''s data, or of a tenant''s; the row stays as proof when the file is gone.', $$
    tenant_id         key          tenant
    export_id         key          export
    guest_id          key          guest whose data it holds; null for all of the tenant
    formats           proof        formats of its files
    scope             proof        access (GDPR Art. 15) or portability (Art. 20)
    redact_others     proof        whether what looks like another person's data was hidden
    anonymize         proof        whether everybody's was
    compress          operational  whether the files are compressed
    public_key        security     OpenPGP public key it is encrypted to
    key_name          security     name of the key, of set_export_key(), that it is encrypted with
    status            operational  waiting, ready, failed or removed
    stage             operational  what is to be written next: open, archive, tables or close
    reached_at        operational  where in that stage: time of the last message or segment
    reached_id        key          the same, its identifier
    batch_count       operational  batches of messages written
    message_total     operational  messages there were when it was asked for
    message_count     proof        messages in it
    counts            proof        records in it, by table
    conversations     key          conversations it has messages of, each with its last e-mail; of a guest's export
    damaged_segments  key          segments of the archive that could not be read
    requested_at      proof        when it was asked for; later messages are not in it
    requested_by      proof        login role that asked
    finished_at       proof        when it was ready, or failed
    expires_at        operational  when its file is removed
    file_name         operational  what to call the file
    byte_count        operational  its size
    part_count        operational  in how many parts it is kept
    sha256            proof        hash of the file
    error_code        operational  SQLSTATE of the failure
$$);

CREATE TABLE guestcomms_internal.export_messages (
    tenant_id uuid NOT NULL,
    export_id uuid NOT NULL,
    message_id uuid NOT NULL,
    CONSTRAINT export_messages_pkey PRIMARY KEY (tenant_id, export_id, message_id),
    CONSTRAINT export_messages_export_fkey FOREIGN KEY (tenant_id, export_id) REFERENCES guestcomms.exports (tenant_id, export_id)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.export_messages', 'Messages that an unfinished export has written, wherever they move meanwhile.', $$
    tenant_id   key  tenant
    export_id   key  export
    message_id  key  message
$$);

CREATE TABLE guestcomms_internal.export_fragments (
    tenant_id uuid NOT NULL,
    export_id uuid NOT NULL,
    file_name text COLLATE "C" NOT NULL,
    fragment_number integer NOT NULL,
    crc bigint NOT NULL,
    plain_bytes integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT export_fragments_pkey PRIMARY KEY (tenant_id, export_id, file_name, fragment_number),
    CONSTRAINT export_fragments_export_fkey FOREIGN KEY (tenant_id, export_id) REFERENCES guestcomms.exports (tenant_id, export_id)
);
ALTER TABLE guestcomms_internal.export_fragments ALTER COLUMN data SET STORAGE EXTERNAL;
SELECT guestcomms_internal.document_table('guestcomms_internal.export_fragments', 'Files of an unfinished export, piece by piece.', $$
    tenant_id        key          tenant
    export_id        key          export
    file_name        content      file in the zip
    fragment_number  operational  1 for its first piece
    crc              operational  CRC-32 of the file up to the end of the piece
    plain_bytes      operational  bytes of the piece before compression
    data             content      the piece, as it stands in the zip
$$);

CREATE TABLE guestcomms_internal.export_parts (
    tenant_id uuid NOT NULL,
    export_id uuid NOT NULL,
    part_number integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT export_parts_pkey PRIMARY KEY (tenant_id, export_id, part_number),
    CONSTRAINT export_parts_export_fkey FOREIGN KEY (tenant_id, export_id) REFERENCES guestcomms.exports (tenant_id, export_id)
);
ALTER TABLE guestcomms_internal.export_parts ALTER COLUMN data SET STORAGE EXTERNAL;
SELECT guestcomms_internal.document_table('guestcomms_internal.export_parts', 'The file of a finished export, until it expires.', $$
    tenant_id    key          tenant
    export_id    key          export
    part_number  operational  1 for the first
    data         content      bytes of the file, one after the other
$$);
