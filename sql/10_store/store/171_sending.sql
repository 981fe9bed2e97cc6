-- Attempts at sending queued messages: a row for each claim, beside the wide rows of messages, of which a claim changes nothing
CREATE TABLE guestcomms.send_attempts (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    attempt integer NOT NULL,
    first_attempt integer NOT NULL,
    claim_token uuid NOT NULL DEFAULT gen_random_uuid(),
    worker text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz NOT NULL,
    outcome text,
    error_code text,
    finished_at timestamptz,
    requeued_at timestamptz,
    CONSTRAINT send_attempts_pkey PRIMARY KEY (tenant_id, message_id, attempt),
    CONSTRAINT send_attempts_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT send_attempts_first_check CHECK (first_attempt BETWEEN 1 AND attempt),
    CONSTRAINT send_attempts_worker_check CHECK (char_length(worker) BETWEEN 1 AND 200),
    CONSTRAINT send_attempts_outcome_check CHECK (outcome IN ('sent', 'failed')),
    CONSTRAINT send_attempts_finished_check CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CONSTRAINT send_attempts_error_check CHECK (error_code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$')
);
CREATE INDEX send_attempts_claimed_at ON guestcomms.send_attempts (claimed_at);
COMMENT ON INDEX guestcomms.send_attempts_claimed_at IS 'The oldest attempts of all tenants, which a job removes.';
SELECT guestcomms_internal.document_table('guestcomms.send_attempts', 'Who claimed which queued message, and what came of it; a lease that has run out leaves the message to the next.', $$
    tenant_id      key          tenant
    message_id     key          message; may have been archived since
    attempt        operational  1 for the first claim of the message
    first_attempt  operational  the attempt with which this round of tries began: 1, or the first after retry_message()
    claim_token    operational  what the worker shows to confirm or fail this attempt
    worker         operational  who claimed it, as the worker calls itself
    claimed_at     operational  when
    leased_until   operational  until when nobody else gets it
    outcome        operational  sent or failed; null while it is not said
    error_code     operational  why it failed, as the worker said it
    finished_at    operational  when the outcome was said
    requeued_at    operational  when retry_message() let the message be tried anew after this attempt
$$);
