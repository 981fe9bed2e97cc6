-- Jobs: state and history of every maintenance job; the list of jobs itself is code
CREATE TABLE guestcomms.jobs (
    job_name text NOT NULL,
    is_paused boolean NOT NULL DEFAULT false,
    requested_at timestamptz,
    request_reason text,
    last_started_at timestamptz,
    last_finished_at timestamptz,
    last_succeeded_at timestamptz,
    last_error_code text,
    failure_count integer NOT NULL DEFAULT 0,
    not_before timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (job_name)
);
SELECT guestcomms_internal.document_table('guestcomms.jobs', 'State of the maintenance jobs.', $$
    job_name           operational  name
    is_paused          operational  whether an operator has paused it
    requested_at       operational  when an event last asked for it, until it has run
    request_reason     operational  why
    last_started_at    operational  start of the last run
    last_finished_at   operational  end of the last run
    last_succeeded_at  operational  end of the last run without an error
    last_error_code    operational  SQLSTATE of the last failure; its text may name rows and is not kept
    failure_count      operational  failures since the last success
    not_before         operational  until when it waits after failures
$$);

CREATE TABLE guestcomms.job_runs (
    job_name text NOT NULL,
    run_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    error_code text,
    batch_count integer NOT NULL DEFAULT 0,
    row_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT job_runs_pkey PRIMARY KEY (job_name, run_id),
    CONSTRAINT job_runs_outcome_check CHECK (outcome IN ('running', 'done', 'out of time', 'failed'))
);
SELECT guestcomms_internal.document_table('guestcomms.job_runs', 'What the maintenance jobs did; kept for a month.', $$
    job_name     operational  job
    run_id       key          UUID of version 7
    started_at   operational  start
    finished_at  operational  end
    outcome      operational  running, done, out of time (the next run goes on), failed
    error_code   operational  SQLSTATE of the failure
    batch_count  operational  transactions committed
    row_count    operational  rows treated
$$);
