-- What is to be archived and what must not be, and what was done
CREATE TABLE guestcomms.archive_policies (
    tenant_id uuid NOT NULL,
    policy_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    older_than interval,
    larger_than bigint,
    inactive_for interval,
    channels text[],
    keep_last integer NOT NULL DEFAULT 0,
    codec text NOT NULL DEFAULT 'auto',
    is_enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    ran_at timestamptz,
    trained_at timestamptz,
    cutoff_at timestamptz,
    reached_at timestamptz,
    reached_id uuid,
    CONSTRAINT archive_policies_pkey PRIMARY KEY (tenant_id, policy_id),
    CONSTRAINT archive_policies_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT archive_policies_name_key UNIQUE (tenant_id, name),
    CONSTRAINT archive_policies_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT archive_policies_criterion_check CHECK (num_nonnulls(older_than, larger_than, inactive_for) > 0),
    CONSTRAINT archive_policies_keep_last_check CHECK (keep_last BETWEEN 0 AND 1000),
    CONSTRAINT archive_policies_codec_check CHECK (codec IN ('auto', 'zstd_dict', 'zstd', 'gzip', 'stored'))
);
SELECT guestcomms_internal.document_table('guestcomms.archive_policies', 'Which messages leave the hot tables for the archive; all of a policy''s criteria must hold.', $$
    tenant_id     key          tenant
    policy_id     key          policy
    name          operational  name
    older_than    operational  age of the message
    larger_than   operational  bytes of the tenant's hot messages and events beyond which the oldest go
    inactive_for  operational  age of the newest message of its conversation
    channels      operational  channels it is about; null for all
    keep_last     operational  so many newest messages of every conversation stay
    codec         operational  auto, or the one codec to use
    is_enabled    operational  whether runs follow it
    created_at    operational  when it was added
    ran_at        operational  when a run last followed it
    trained_at    operational  when a dictionary of the tenant was last made, or tried to be
    cutoff_at     operational  messages before this are looked at in the sweep that is going on
    reached_at    operational  sent_at of the message the sweep has come to; null before it begins
    reached_id    key          that message
$$);

CREATE TABLE guestcomms.archive_runs (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    part_number integer NOT NULL,
    policy_id uuid,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_count integer NOT NULL,
    event_count integer NOT NULL,
    segment_count integer NOT NULL,
    plain_bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    message_ids uuid[],
    undone_at timestamptz,
    CONSTRAINT archive_runs_pkey PRIMARY KEY (tenant_id, run_id, part_number),
    CONSTRAINT archive_runs_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.archive_runs', 'What each run of a policy moved into the archive, in parts of one transaction each.', $$
    tenant_id      key          tenant
    run_id         key          run
    part_number    operational  part of the run, from 1
    policy_id      key          policy it followed; null for late details alone
    started_at     operational  when the part began
    message_count  operational  messages moved
    event_count    operational  events moved with them
    segment_count  operational  segments written
    plain_bytes    operational  bytes of those segments before compression
    stored_bytes   operational  bytes of their payload
    message_ids    key          the messages, until the undo window closes
    undone_at      operational  when undo_archive() brought them back
$$);

CREATE TABLE guestcomms.legal_holds (
    tenant_id uuid NOT NULL,
    hold_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid,
    thread_id uuid,
    wedding_id uuid,
    since timestamptz,
    until timestamptz,
    reason text NOT NULL,
    blocks_archiving boolean NOT NULL DEFAULT false,
    expires_at timestamptz,
    placed_at timestamptz NOT NULL DEFAULT now(),
    placed_by text NOT NULL DEFAULT session_user,
    released_at timestamptz,
    released_by text,
    CONSTRAINT legal_holds_pkey PRIMARY KEY (tenant_id, hold_id),
    CONSTRAINT legal_holds_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT legal_holds_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT legal_holds_thread_fkey FOREIGN KEY (tenant_id, thread_id) REFERENCES guestcomms.threads (tenant_id, thread_id),
    CONSTRAINT legal_holds_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms.weddings (tenant_id, wedding_id),
    CONSTRAINT legal_holds_reason_check CHECK (char_length(reason) BETWEEN 1 AND 2000),
    CONSTRAINT legal_holds_range_check CHECK (since < until)
);
SELECT guestcomms_internal.document_table('guestcomms.legal_holds', 'Messages that must not be erased, and, where the hold says so, not be archived.', $$
    tenant_id         key          tenant
    hold_id           key          hold
    guest_id          key          only messages of this guest; null for any
    thread_id         key          only of this conversation
    wedding_id        key          only of this wedding
    since             operational  only those sent from then on
    until             operational  only those sent before
    reason            proof        why, for example a court's file number
    blocks_archiving  operational  whether they stay in the hot tables
    expires_at        proof        when it ends by itself
    placed_at         proof        when it was placed
    placed_by         proof        login role that placed it
    released_at       proof        when it was released
    released_by       proof        login role that released it
$$);
