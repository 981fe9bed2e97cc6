-- Weddings, guests, their addresses and consents
CREATE TABLE guestcomms.weddings (
    tenant_id uuid NOT NULL,
    wedding_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    held_on date,
    timezone text,
    place text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT weddings_pkey PRIMARY KEY (tenant_id, wedding_id),
    CONSTRAINT weddings_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT weddings_name_check CHECK (char_length(name) BETWEEN 1 AND 200)
);
SELECT guestcomms_internal.document_table('guestcomms.weddings', 'Weddings and other events a tenant works on.', $$
    tenant_id   key          tenant
    wedding_id  key          wedding
    name        contact      usually the couple's names
    held_on     operational  day it is held; retention may count from it
    timezone    operational  IANA time zone of the place, where it differs from the tenant's
    place       operational  where it is held
    created_at  operational  when it was added
$$);

CREATE TABLE guestcomms.guests (
    tenant_id uuid NOT NULL,
    guest_id uuid NOT NULL DEFAULT gen_random_uuid(),
    display_name text,
    language text,
    timezone text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    merged_into uuid,
    restricted_at timestamptz,
    erased_at timestamptz,
    CONSTRAINT guests_pkey PRIMARY KEY (tenant_id, guest_id),
    CONSTRAINT guests_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT guests_merged_into_fkey FOREIGN KEY (tenant_id, merged_into) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT guests_display_name_check CHECK (char_length(display_name) BETWEEN 1 AND 200),
    CONSTRAINT guests_language_check CHECK (language ~ '^[a-z]{2,3}$')
);
SELECT guestcomms_internal.document_table('guestcomms.guests', 'People a tenant writes to.', $$
    tenant_id      key          tenant
    guest_id       key          guest
    display_name   contact      name as the guest writes it
    language       contact      ISO 639-1 language the guest prefers
    timezone       contact      IANA time zone of the guest
    created_at     operational  when the guest was added
    updated_at     operational  when the row last changed
    merged_into    key          guest that this one was merged into
    restricted_at  proof        since when processing is restricted (GDPR Art. 18)
    erased_at      proof        when the guest was erased
$$);

CREATE TABLE guestcomms.wedding_guests (
    tenant_id uuid NOT NULL,
    wedding_id uuid NOT NULL,
    guest_id uuid NOT NULL,
    party text,
    role text,
    rsvp text NOT NULL DEFAULT 'pending',
    rsvp_at timestamptz,
    CONSTRAINT wedding_guests_pkey PRIMARY KEY (tenant_id, wedding_id, guest_id),
    CONSTRAINT wedding_guests_wedding_fkey FOREIGN KEY (tenant_id, wedding_id) REFERENCES guestcomms.weddings (tenant_id, wedding_id),
    CONSTRAINT wedding_guests_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT wedding_guests_rsvp_check CHECK (rsvp IN ('pending', 'yes', 'no', 'maybe'))
);
CREATE INDEX wedding_guests_guest ON guestcomms.wedding_guests (tenant_id, guest_id);
COMMENT ON INDEX guestcomms.wedding_guests_guest IS 'Weddings of one guest, and the foreign key when a guest is removed.';
SELECT guestcomms_internal.document_table('guestcomms.wedding_guests', 'Who takes part in which wedding, and as what.', $$
    tenant_id   key          tenant
    wedding_id  key          wedding
    guest_id    key          guest
    party       contact      group invited together, for example a family
    role        contact      bride, best man, photographer, guest
    rsvp        behaviour    pending, yes, no or maybe
    rsvp_at     behaviour    when the guest answered
$$);

CREATE TABLE guestcomms.guest_addresses (
    tenant_id uuid NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    guest_id uuid NOT NULL,
    is_verified boolean NOT NULL DEFAULT false,
    is_primary boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT guest_addresses_pkey PRIMARY KEY (tenant_id, channel, address),
    CONSTRAINT guest_addresses_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT guest_addresses_channel_check CHECK (channel IN ('email', 'sms', 'whatsapp', 'chat')),
    CONSTRAINT guest_addresses_address_check CHECK (char_length(address) BETWEEN 1 AND 320)
);
CREATE INDEX guest_addresses_guest ON guestcomms.guest_addresses (tenant_id, guest_id);
COMMENT ON INDEX guestcomms.guest_addresses_guest IS 'Addresses of one guest.';
SELECT guestcomms_internal.document_table('guestcomms.guest_addresses', 'How guests are reached; an address belongs to one guest of a tenant.', $$
    tenant_id    key          tenant
    channel      operational  email, sms, whatsapp or chat
    address      contact      normalised: e-mail folded, telephone numbers as + and digits
    guest_id     key          guest
    is_verified  operational  whether it is known to be the guest's
    is_primary   operational  which to use first on this channel
    created_at   operational  when it was added
$$);

CREATE TABLE guestcomms.consents (
    tenant_id uuid NOT NULL,
    consent_id uuid NOT NULL DEFAULT gen_random_uuid(),
    guest_id uuid NOT NULL,
    channel text,
    purpose text NOT NULL,
    is_granted boolean NOT NULL,
    basis text NOT NULL,
    source text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT consents_pkey PRIMARY KEY (tenant_id, consent_id),
    CONSTRAINT consents_guest_fkey FOREIGN KEY (tenant_id, guest_id) REFERENCES guestcomms.guests (tenant_id, guest_id),
    CONSTRAINT consents_channel_check CHECK (channel IN ('email', 'sms', 'whatsapp', 'chat')),
    CONSTRAINT consents_purpose_check CHECK (purpose IN ('service', 'marketing'))
);
CREATE INDEX consents_guest ON guestcomms.consents (tenant_id, guest_id, purpose, recorded_at DESC);
COMMENT ON INDEX guestcomms.consents_guest IS 'The latest word of a guest on a purpose.';
SELECT guestcomms_internal.document_table('guestcomms.consents', 'Every consent and objection a guest has given; the latest one counts.', $$
    tenant_id    key          tenant
    consent_id   key          consent
    guest_id     key          guest
    channel      proof        channel it is about; null for all
    purpose      proof        service or marketing
    is_granted   proof        consent, or objection
    basis        proof        legal basis: consent, contract, legitimate_interest
    source       proof        where it was given: form, message, staff
    recorded_at  proof        when
$$);
