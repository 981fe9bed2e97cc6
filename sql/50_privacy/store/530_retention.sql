-- How long what is known of guests is kept, by class, and what runs have removed
CREATE TABLE guestcomms.retention_policies (
    tenant_id uuid NOT NULL,
    policy_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    retention_class text NOT NULL,
    keep_for interval NOT NULL,
    counts_from text NOT NULL,
    channels text[],
    is_enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    is_pending boolean NOT NULL DEFAULT true,
    step text,
    reached_at timestamptz,
    reached_id uuid,
    swept_at timestamptz,
    error_code text,
    CONSTRAINT retention_policies_pkey PRIMARY KEY (tenant_id, policy_id),
    CONSTRAINT retention_policies_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT retention_policies_name_key UNIQUE (tenant_id, name),
    CONSTRAINT retention_policies_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT retention_policies_keep_for_check CHECK (keep_for >= interval '1 day'),
    CONSTRAINT retention_policies_counts_from_check CHECK (counts_from IN ('age', 'wedding'))
);
SELECT guestcomms_internal.document_table('guestcomms.retention_policies', 'How long data of a class is kept; without a policy it is kept until its guest is erased or its tenant closed.', $$
    tenant_id        key          tenant
    policy_id        key          policy
    name             operational  name
    retention_class  operational  class of what it removes: contact, content, behaviour, operational, security or proof
    keep_for         operational  how long that is kept
    counts_from      operational  age, from when it came to be; or wedding, from the day of its wedding where that is later
    channels         operational  channels it is about; null for all
    is_enabled       operational  whether runs follow it
    created_at       operational  when it was added
    is_pending       operational  whether the sweep of it that is due has not come to its end
    step             operational  what that sweep looks at now; null before it begins
    reached_at       operational  time of the row that it has come to
    reached_id       key          that row
    swept_at         operational  when a sweep last came to its end
    error_code       operational  SQLSTATE of the last sweep's failure; null where it did not fail
$$);

CREATE TABLE guestcomms.retention_runs (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    policy_id uuid NOT NULL,
    policy_name text NOT NULL,
    retention_class text NOT NULL,
    cutoff_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    batch_count integer NOT NULL DEFAULT 1,
    counts jsonb NOT NULL,
    CONSTRAINT retention_runs_pkey PRIMARY KEY (tenant_id, run_id, policy_id),
    CONSTRAINT retention_runs_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id)
);
CREATE INDEX retention_runs_started_at ON guestcomms.retention_runs (tenant_id, started_at);
COMMENT ON INDEX guestcomms.retention_runs_started_at IS 'The latest runs, and those that are old enough to go.';
SELECT guestcomms_internal.document_table('guestcomms.retention_runs', 'What each run removed by each policy: receipts that name nobody.', $$
    tenant_id        key          tenant
    run_id           key          run
    policy_id        key          policy, which may be gone
    policy_name      operational  its name then
    retention_class  operational  its class
    cutoff_at        operational  what was from before this went
    started_at       operational  when the run began with the policy
    ended_at         operational  end of its last batch
    batch_count      operational  transactions
    counts           operational  rows removed, or emptied, by kind
$$);
