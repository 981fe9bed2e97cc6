-- Merges of guests, for as long as they can be undone; and pairs that are no duplicates
CREATE TABLE guestcomms.guest_merges (
    tenant_id uuid NOT NULL,
    merge_id uuid NOT NULL,
    guest_id uuid NOT NULL,
    merged_guest_id uuid NOT NULL,
    merged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    merged_by text NOT NULL DEFAULT session_user,
    moved jsonb NOT NULL,
    undone_at timestamptz,
    CONSTRAINT guest_merges_pkey PRIMARY KEY (tenant_id, merge_id),
    CONSTRAINT guest_merges_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT guest_merges_merged_fkey FOREIGN KEY (tenant_id, merged_guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT guest_merges_self_check CHECK (guest_id <> merged_guest_id)
);
CREATE INDEX guest_merges_guest ON guestcomms.guest_merges (tenant_id, guest_id, merged_at);
COMMENT ON INDEX guestcomms.guest_merges_guest IS 'Merges into one guest, the last of which is undone first.';
CREATE INDEX guest_merges_merged ON guestcomms.guest_merges (tenant_id, merged_guest_id);
COMMENT ON INDEX guestcomms.guest_merges_merged IS 'Merges of one guest into others, and the foreign key when a guest is removed.';
SELECT guestcomms_internal.document_table('guestcomms.guest_merges', 'Which guest was merged into which, and what moved with it, as long as it can be undone.', $$
    tenant_id        key          tenant
    merge_id         key          merge
    guest_id         key          guest who was kept
    merged_guest_id  key          guest who was merged into that one
    merged_at        proof        when
    merged_by        proof        login role that merged them
    moved            contact      what was moved and what it was before, for undo_merge()
    undone_at        proof        when it was undone
$$);

CREATE TABLE guestcomms.dismissed_duplicates (
    tenant_id uuid NOT NULL,
    guest_a uuid NOT NULL,
    guest_b uuid NOT NULL,
    dismissed_at timestamptz NOT NULL DEFAULT now(),
    dismissed_by text NOT NULL DEFAULT session_user,
    CONSTRAINT dismissed_duplicates_pkey PRIMARY KEY (tenant_id, guest_a, guest_b),
    CONSTRAINT dismissed_duplicates_first_fkey FOREIGN KEY (tenant_id, guest_a) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT dismissed_duplicates_second_fkey FOREIGN KEY (tenant_id, guest_b) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT dismissed_duplicates_order_check CHECK (guest_a < guest_b)
);
CREATE INDEX dismissed_duplicates_second ON guestcomms.dismissed_duplicates (tenant_id, guest_b);
COMMENT ON INDEX guestcomms.dismissed_duplicates_second IS 'Pairs of the other guest, and the foreign key when a guest is removed.';
SELECT guestcomms_internal.document_table('guestcomms.dismissed_duplicates', 'Pairs of guests that look like one person and are two.', $$
    tenant_id     key          tenant
    guest_a       key          the guest with the lower identifier
    guest_b       key          the other
    dismissed_at  operational  when it was said
    dismissed_by  operational  login role that said it
$$);
