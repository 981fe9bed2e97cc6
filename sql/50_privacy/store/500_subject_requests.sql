-- Requests of guests about their data, and the steps taken about each.
CREATE TABLE guestcomms.subject_requests (
    tenant_id uuid NOT NULL,
    request_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid NOT NULL,
    kind text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    received_at timestamptz NOT NULL,
    received_on date NOT NULL,
    due_on date NOT NULL,
    identity_confirmed_at timestamptz,
    extended_at timestamptz,
    closed_at timestamptz,
    complaint_route text,
    policy jsonb NOT NULL,
    CONSTRAINT subject_requests_pkey PRIMARY KEY (tenant_id, request_id),
    CONSTRAINT subject_requests_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT subject_requests_kind_check CHECK (kind IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection')),
    CONSTRAINT subject_requests_status_check CHECK (status IN ('open', 'answered', 'refused', 'withdrawn')),
    CONSTRAINT subject_requests_closed_check CHECK ((status = 'open') = (closed_at IS NULL)),
    CONSTRAINT subject_requests_refusal_check CHECK ((status = 'refused') = (complaint_route IS NOT NULL)),
    CONSTRAINT subject_requests_due_check CHECK (due_on > received_on)
);
CREATE INDEX subject_requests_due ON guestcomms.subject_requests (tenant_id, due_on, request_id) WHERE status = 'open';
COMMENT ON INDEX guestcomms.subject_requests_due IS 'What is to be answered, the most urgent first.';
CREATE INDEX subject_requests_guest ON guestcomms.subject_requests (tenant_id, guest_id);
COMMENT ON INDEX guestcomms.subject_requests_guest IS 'Requests of one guest.';
SELECT guestcomms_internal.document_table('guestcomms.subject_requests', 'Requests of guests about their data (GDPR Art. 15 to 21).', $$
    tenant_id              key    tenant
    request_id             key    request
    guest_id               key    guest whose data it is about
    kind                   proof  access, portability, erasure, rectification, restriction or objection
    status                 proof  open, answered, refused or withdrawn
    received_at            proof  when the guest made it
    received_on            proof  the same as a day of the tenant's clock, from which months are counted
    due_on                 proof  last day on which an answer is in time
    identity_confirmed_at  proof  when the guest was last found to be who they say; null while that is open
    extended_at            proof  when the time was extended
    closed_at              proof  when it was answered, refused or withdrawn
    complaint_route        proof  what a refused guest was told about complaints and courts
    policy                 proof  the tenant's settings of privacy when the request was opened
$$);

CREATE TABLE guestcomms.subject_request_steps (
    tenant_id uuid NOT NULL,
    request_id uuid NOT NULL,
    step_number integer NOT NULL,
    step text NOT NULL,
    note text,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_by text NOT NULL DEFAULT session_user,
    CONSTRAINT subject_request_steps_pkey PRIMARY KEY (tenant_id, request_id, step_number),
    CONSTRAINT subject_request_steps_request_fkey FOREIGN KEY (tenant_id, request_id)
        REFERENCES guestcomms.subject_requests (tenant_id, request_id),
    CONSTRAINT subject_request_steps_step_check CHECK (step IN
        ('opened', 'identity_confirmed', 'identity_rejected', 'extended', 'answered', 'refused', 'withdrawn')),
    CONSTRAINT subject_request_steps_note_check CHECK (char_length(note) BETWEEN 1 AND 2000)
);
SELECT guestcomms_internal.document_table('guestcomms.subject_request_steps', 'What was done about each request, by whom and why; rows are only added.', $$
    tenant_id    key    tenant
    request_id   key    request
    step_number  proof  1 for the first
    step         proof  opened, identity_confirmed, identity_rejected, extended, answered, refused or withdrawn
    note         proof  how identity was checked, why it was extended or refused, how it was answered
    taken_at     proof  when
    taken_by     proof  login role
$$);
