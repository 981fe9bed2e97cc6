-- Jobs: state of every maintenance job; the list of jobs itself is code
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
    next_due_at timestamptz,
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
    failure_count      operational  failures since the last success, for backing off
    next_due_at        operational  not before
$$);
