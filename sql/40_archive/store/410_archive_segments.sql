-- Segments: about twenty messages of one guest, with all that belongs to them, as one compressed value
CREATE TABLE guestcomms.archive_dictionaries (
    tenant_id uuid NOT NULL,
    dictionary_id uuid NOT NULL DEFAULT gen_random_uuid(),
    version_number integer NOT NULL,
    content bytea NOT NULL,
    sha256 bytea NOT NULL,
    string_count integer NOT NULL,
    message_count integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT archive_dictionaries_pkey PRIMARY KEY (tenant_id, dictionary_id),
    CONSTRAINT archive_dictionaries_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT archive_dictionaries_version_key UNIQUE (tenant_id, version_number)
);
SELECT guestcomms_internal.document_table('guestcomms.archive_dictionaries', 'What segments are compressed against: strings that five guests or more have in common, so that erasing one rewrites none.', $$
    tenant_id       key          tenant
    dictionary_id   key          dictionary
    version_number  operational  1 for the tenant's first; new segments take the latest
    content         operational  the strings, each behind a byte 0
    sha256          proof        hash of content
    string_count    operational  how many strings
    message_count   operational  from how many messages they were found
    created_at      operational  when
$$);

CREATE TABLE guestcomms.archive_segments (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    first_sent_at timestamptz NOT NULL,
    last_sent_at timestamptz NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    guest_id uuid NOT NULL,
    dictionary_id uuid,
    message_count integer NOT NULL,
    event_count integer NOT NULL,
    detail_count integer NOT NULL,
    plain_bytes integer NOT NULL,
    predicted_bytes integer,
    level smallint NOT NULL,
    codec text NOT NULL,
    plain_sha256 bytea NOT NULL,
    stored_sha256 bytea NOT NULL,
    message_ids uuid[] NOT NULL,
    thread_ids uuid[] NOT NULL,
    search tsvector NOT NULL,
    payload bytea NOT NULL,
    CONSTRAINT archive_segments_pkey PRIMARY KEY (tenant_id, segment_id, first_sent_at),
    CONSTRAINT archive_segments_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT archive_segments_dictionary_fkey FOREIGN KEY (tenant_id, dictionary_id) REFERENCES guestcomms.archive_dictionaries (tenant_id, dictionary_id),
    CONSTRAINT archive_segments_codec_check CHECK (codec IN ('zstd_dict', 'zstd', 'gzip', 'stored')),
    CONSTRAINT archive_segments_dictionary_check CHECK ((codec = 'zstd_dict') = (dictionary_id IS NOT NULL)),
    CONSTRAINT archive_segments_count_check CHECK (message_count = cardinality(message_ids)),
    CONSTRAINT archive_segments_order_check CHECK (first_sent_at <= last_sent_at)
) PARTITION BY RANGE (first_sent_at);
-- In the row up to a page: most rows are of one to three kilobytes, and what is out of line costs a row and an index entry more.
ALTER TABLE guestcomms.archive_segments ALTER COLUMN payload SET STORAGE MAIN, ALTER COLUMN search SET STORAGE MAIN,
    ALTER COLUMN message_ids SET STORAGE MAIN, ALTER COLUMN thread_ids SET STORAGE MAIN;
CREATE INDEX archive_segments_search ON guestcomms.archive_segments
    USING gin (tenant_id, search, guestcomms_internal.segment_keys_v1(message_ids, thread_ids));
COMMENT ON INDEX guestcomms.archive_segments_search IS 'Segments that hold a word, a message or a conversation, within one tenant.';
CREATE INDEX archive_segments_guest ON guestcomms.archive_segments (tenant_id, guest_id, last_sent_at);
COMMENT ON INDEX guestcomms.archive_segments_guest IS 'All segments of one guest: the newest is filled up; export, erasure.';
CREATE INDEX archive_segments_sent_at ON guestcomms.archive_segments (tenant_id, last_sent_at DESC);
COMMENT ON INDEX guestcomms.archive_segments_sent_at IS 'Newest segments first, where a search matches many.';
SELECT guestcomms_internal.document_table('guestcomms.archive_segments', 'Archived messages: about twenty of one guest, with their events, attachments'' metadata, annotations and versions.', $$
    tenant_id        key          tenant
    segment_id       key          UUID of version 7 with the millisecond of first_sent_at
    first_sent_at    behaviour    sent_at of its first message
    last_sent_at     behaviour    of its last
    archived_at      operational  when it was written
    guest_id         key          guest
    dictionary_id    key          dictionary of codec zstd_dict
    message_count    operational  messages
    event_count      operational  events
    detail_count     operational  attachments, annotations and versions
    plain_bytes      operational  bytes before compression
    predicted_bytes  operational  bytes of payload that were predicted for the codec; null where the policy names the codec
    level            operational  level of the codec
    codec            operational  zstd_dict, zstd, gzip or stored
    plain_sha256     proof        hash of tenant, guest and the bytes before compression, message_ids included
    stored_sha256    proof        hash of payload
    message_ids      key          its messages, in their order
    thread_ids       key          the conversations these are of
    search           content      all stems of its messages, without places
    payload          content      the messages: docs/reference/archive-format.md
$$);
CREATE TABLE guestcomms_internal.archive_segments_template (LIKE guestcomms.archive_segments);
COMMENT ON TABLE guestcomms_internal.archive_segments_template IS 'Empty; pg_partman takes from it what partitions do not inherit.';
SELECT guestcomms_internal.make_partitioned('guestcomms.archive_segments', 'first_sent_at', 'guestcomms_internal.archive_segments_template');

CREATE TABLE guestcomms_internal.late_details (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    note_id uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT late_details_pkey PRIMARY KEY (tenant_id, message_id, note_id)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.late_details', 'Archived messages that something was recorded of since; a run adds it to their segments.', $$
    tenant_id   key          tenant
    message_id  key          message
    noted_at    operational  when that was
    note_id     key          makes room for a note while a run takes an earlier one away, so that nobody waits for it
$$);

CREATE TABLE guestcomms.archive_checks (
    tenant_id uuid NOT NULL,
    segment_id uuid NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    is_ok boolean NOT NULL,
    detail text,
    CONSTRAINT archive_checks_pkey PRIMARY KEY (tenant_id, segment_id)
);
SELECT guestcomms_internal.document_table('guestcomms.archive_checks', 'The latest check of each segment that was checked.', $$
    tenant_id   key          tenant
    segment_id  key          segment
    checked_at  operational  when
    is_ok       operational  whether all was as it should be
    detail      operational  what was not, and what the segment holds
$$);

CREATE TABLE guestcomms.archive_codec_trials (
    tenant_id uuid NOT NULL,
    trial_id uuid NOT NULL DEFAULT gen_random_uuid(),
    segment_id uuid NOT NULL,
    codec text NOT NULL,
    level smallint NOT NULL,
    features double precision[] NOT NULL,
    predicted_bytes integer NOT NULL,
    stored_bytes integer NOT NULL,
    was_chosen boolean NOT NULL,
    tried_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT archive_codec_trials_pkey PRIMARY KEY (tenant_id, trial_id),
    CONSTRAINT archive_codec_trials_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
CREATE INDEX archive_codec_trials_segment ON guestcomms.archive_codec_trials (tenant_id, segment_id);
COMMENT ON INDEX guestcomms.archive_codec_trials_segment IS 'What is known of a segment that is rewritten or dropped.';
SELECT guestcomms_internal.document_table('guestcomms.archive_codec_trials', 'What each codec made of some segments, beside what was predicted; the predictor learns from it.', $$
    tenant_id        key          tenant
    trial_id         key          trial
    segment_id       key          segment
    codec            operational  codec that was tried
    level            operational  its level
    features         operational  what the prediction was made from
    predicted_bytes  operational  bytes that were predicted
    stored_bytes     operational  bytes that it took
    was_chosen       operational  whether the segment is stored so
    tried_at         operational  when
$$);

CREATE TABLE guestcomms.archive_predictors (
    tenant_id uuid NOT NULL,
    coefficients jsonb NOT NULL,
    segment_count integer NOT NULL,
    fitted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT archive_predictors_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT archive_predictors_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.archive_predictors', 'How each tenant''s codecs are predicted, as learned from its trials.', $$
    tenant_id      key          tenant
    coefficients   operational  of a linear model for every codec
    segment_count  operational  from how many segments they were learned
    fitted_at      operational  when
$$);
