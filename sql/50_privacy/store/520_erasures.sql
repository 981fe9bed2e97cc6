-- Erasures, what is proof of them, and what they need while they run.
CREATE TABLE guestcomms.erasures (
    tenant_id uuid NOT NULL,
    erasure_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid,
    mode text NOT NULL,
    is_both_sides boolean NOT NULL,
    is_replay boolean NOT NULL DEFAULT false,
    request_id uuid,
    status text NOT NULL DEFAULT 'running',
    stage text NOT NULL DEFAULT 'collect',
    round_count integer NOT NULL DEFAULT 0,
    reached_at timestamptz,
    reached_id uuid,
    changed_in xid8,
    message_total bigint NOT NULL DEFAULT 0,
    message_count bigint NOT NULL DEFAULT 0,
    held_count bigint NOT NULL DEFAULT 0,
    hold_ids uuid[] NOT NULL DEFAULT '{}',
    damaged_count integer NOT NULL DEFAULT 0,
    recipients jsonb NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    requested_by text NOT NULL DEFAULT session_user,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at timestamptz,
    error_code text,
    finished_at timestamptz,
    CONSTRAINT erasures_pkey PRIMARY KEY (tenant_id, erasure_id),
    CONSTRAINT erasures_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT erasures_request_fkey FOREIGN KEY (tenant_id, request_id) REFERENCES guestcomms.subject_requests (tenant_id, request_id),
    CONSTRAINT erasures_mode_check CHECK (mode IN ('erase', 'anonymize')),
    CONSTRAINT erasures_status_check CHECK (status IN ('running', 'held', 'done')),
    CONSTRAINT erasures_stage_check CHECK (stage IN
        ('collect', 'archive', 'tables', 'details', 'statistics', 'words', 'audit', 'identity', 'reports', 'verify')),
    CONSTRAINT erasures_done_check CHECK ((status = 'done') = (finished_at IS NOT NULL) AND (status = 'done') = (guest_id IS NULL))
);
CREATE INDEX erasures_open ON guestcomms.erasures (requested_at, erasure_id) WHERE status <> 'done';
COMMENT ON INDEX guestcomms.erasures_open IS 'What the job has to go on with, the oldest first.';
CREATE UNIQUE INDEX erasures_guest ON guestcomms.erasures (tenant_id, guest_id) WHERE status <> 'done';
COMMENT ON INDEX guestcomms.erasures_guest IS 'A guest is erased once at a time.';
SELECT guestcomms_internal.document_table('guestcomms.erasures', 'Erasures of guests: how far each has come, and that it was done. Whose it was is forgotten with the last step.', $$
    tenant_id      key          tenant
    erasure_id     key          erasure
    guest_id       key          guest, with those merged into it; null when it is done
    mode           proof        erase, or anonymize
    is_both_sides  proof        whether what the business wrote to the guest went, too
    is_replay      proof        whether it was done anew after a restore, from the ledger
    request_id     key          request that it answers
    status         proof        running; held, where a legal hold keeps the rest; done
    stage          operational  what is to be done next
    round_count    operational  how often the stages were gone through
    reached_at     operational  where in the stage: time of the last message or segment
    reached_id     key          the same, its identifier
    changed_in     operational  last transaction that took messages away: the counts of search must have seen it
    message_total  proof        messages there were
    message_count  proof        messages that are done with
    held_count     proof        messages that a hold keeps
    hold_ids       key          the holds that keep them
    damaged_count  proof        segments of the archive that could not be read and were dropped whole
    recipients     proof        messages by provider and channel: who is to be told (GDPR Art. 19)
    requested_at   proof        when it was asked for
    requested_by   proof        login role that asked
    checked_at     operational  when holds were last looked at
    retry_at       operational  until when it waits after a failure
    error_code     operational  SQLSTATE of the last failure
    finished_at    proof        when it was done
$$);

CREATE TABLE guestcomms.erasure_receipts (
    tenant_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    place text NOT NULL,
    row_count bigint NOT NULL DEFAULT 0,
    left_count bigint,
    verified_at timestamptz,
    CONSTRAINT erasure_receipts_pkey PRIMARY KEY (tenant_id, erasure_id, place),
    CONSTRAINT erasure_receipts_erasure_fkey FOREIGN KEY (tenant_id, erasure_id) REFERENCES guestcomms.erasures (tenant_id, erasure_id)
);
SELECT guestcomms_internal.document_table('guestcomms.erasure_receipts', 'What each erasure did in each place, and what was found there when it was looked at again.', $$
    tenant_id    key    tenant
    erasure_id   key    erasure
    place        proof  table
    row_count    proof  rows removed, emptied or given another key
    left_count   proof  rows of the guest found afterwards
    verified_at  proof  when that was
$$);

CREATE TABLE guestcomms.erasure_ledger (
    tenant_id uuid NOT NULL,
    key_id text NOT NULL,
    guest_hash bytea NOT NULL,
    mode text NOT NULL,
    is_both_sides boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT erasure_ledger_pkey PRIMARY KEY (tenant_id, key_id, guest_hash),
    CONSTRAINT erasure_ledger_mode_check CHECK (mode IN ('erase', 'anonymize')),
    CONSTRAINT erasure_ledger_hash_check CHECK (octet_length(guest_hash) = 32)
);
SELECT guestcomms_internal.document_table('guestcomms.erasure_ledger', 'Who must not come back out of a backup, as keyed hashes; export_erasure_ledger() gives a copy to keep elsewhere.', $$
    tenant_id      key    tenant
    key_id         proof  fingerprint of the key of the hash
    guest_hash     proof  HMAC of tenant and guest
    mode           proof  how the guest was erased
    is_both_sides  proof  whether what the business wrote went, too
    requested_at   proof  when that was asked for
$$);

CREATE TABLE guestcomms.suppressions (
    tenant_id uuid NOT NULL,
    channel text NOT NULL,
    address_hash bytea NOT NULL,
    purpose text NOT NULL,
    key_id text NOT NULL,
    objected_at timestamptz NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT suppressions_pkey PRIMARY KEY (tenant_id, channel, address_hash, purpose),
    CONSTRAINT suppressions_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT suppressions_hash_check CHECK (octet_length(address_hash) = 32)
);
SELECT guestcomms_internal.document_table('guestcomms.suppressions', 'Addresses whose owners objected before they were erased, as keyed hashes: a guest who comes with one of them has objected.', $$
    tenant_id     key    tenant
    channel       proof  channel of the address
    address_hash  proof  HMAC of tenant, channel and address
    purpose       proof  what the objection is about
    key_id        proof  fingerprint of the key of the hash
    objected_at   proof  when the guest objected
    noted_at      proof  when the guest was erased
$$);

CREATE TABLE guestcomms_internal.erasure_messages (
    tenant_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    message_id uuid NOT NULL,
    treatment text,
    CONSTRAINT erasure_messages_pkey PRIMARY KEY (tenant_id, erasure_id, message_id),
    CONSTRAINT erasure_messages_erasure_fkey FOREIGN KEY (tenant_id, erasure_id) REFERENCES guestcomms.erasures (tenant_id, erasure_id),
    CONSTRAINT erasure_messages_treatment_check CHECK (treatment IN ('removed', 'blanked', 'hidden', 'held'))
);
SELECT guestcomms_internal.document_table('guestcomms_internal.erasure_messages', 'Messages of a guest who is being erased, until that is done.', $$
    tenant_id   key          tenant
    erasure_id  key          erasure
    message_id  key          message, stored, archived or gone
    treatment   operational  what was done with it; null while nothing was
$$);

CREATE TABLE guestcomms_internal.erasure_words (
    tenant_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    origin text NOT NULL,
    word text COLLATE "C" NOT NULL,
    CONSTRAINT erasure_words_pkey PRIMARY KEY (tenant_id, erasure_id, origin, word),
    CONSTRAINT erasure_words_erasure_fkey FOREIGN KEY (tenant_id, erasure_id) REFERENCES guestcomms.erasures (tenant_id, erasure_id),
    CONSTRAINT erasure_words_origin_check CHECK (origin IN ('stem', 'name', 'address'))
);
SELECT guestcomms_internal.document_table('guestcomms_internal.erasure_words', 'What names a guest who is being erased, until that is done: searches that hold it are looked for.', $$
    tenant_id   key          tenant
    erasure_id  key          erasure
    origin      operational  stem of a message, or of the name; address
    word        content      the stem or the address
$$);

-- Deleting an entry of a GIN index leaves its key, and a B-tree keeps keys as separators: an index is clean when it is made anew.
CREATE TABLE guestcomms_internal.erased_indexes (
    index_name text NOT NULL,
    file_number oid NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT erased_indexes_pkey PRIMARY KEY (index_name)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.erased_indexes', 'Indexes that may still hold words of guests who were erased, until they are made anew.', $$
    index_name   operational  index, with its schema
    file_number  operational  number of its file then; an index that was made anew has another
    noted_at     operational  since when
$$);

CREATE TABLE guestcomms_internal.erasure_gate (
    system_identifier bigint NOT NULL,
    database_oid bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by text NOT NULL DEFAULT session_user,
    reached_tenant uuid,
    reached_guest uuid,
    CONSTRAINT erasure_gate_pkey PRIMARY KEY (system_identifier, database_oid)
);
CREATE UNIQUE INDEX erasure_gate_single ON guestcomms_internal.erasure_gate ((true));
COMMENT ON INDEX guestcomms_internal.erasure_gate_single IS 'One row at most.';
SELECT guestcomms_internal.document_table('guestcomms_internal.erasure_gate', 'The cluster and database in which all erasures were last known to be applied; elsewhere, after a restore, applications wait for replay_erasures().', $$
    system_identifier  operational  cluster
    database_oid       operational  database
    opened_at          security     when it was opened
    opened_by          security     login role that opened it
    reached_tenant     key          how far replay_erasures() has looked
    reached_guest      key          the same, within the tenant
$$);
INSERT INTO guestcomms_internal.erasure_gate (system_identifier, database_oid)
SELECT i.system_identifier, i.database_oid FROM guestcomms_internal.current_identity() AS i;

CREATE TRIGGER obey_suppressions AFTER INSERT ON guestcomms.guest_addresses REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.obey_suppressions();
CREATE TRIGGER open_empty_store BEFORE INSERT ON guestcomms.tenants FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.open_empty_store();
DO $refuse$
DECLARE
    v_table text;
BEGIN
    -- What the archive puts back was there before.
    FOREACH v_table IN ARRAY ARRAY['messages', 'threads', 'guest_addresses', 'wedding_guests', 'consents'] LOOP
        EXECUTE format('CREATE TRIGGER refuse_erased AFTER INSERT ON guestcomms.%I REFERENCING NEW TABLE AS changed'
            ' FOR EACH STATEMENT WHEN (current_user <> ''guestcomms_engine'') EXECUTE FUNCTION guestcomms_internal.refuse_erased_guests()', v_table);
    END LOOP;
END $refuse$;
