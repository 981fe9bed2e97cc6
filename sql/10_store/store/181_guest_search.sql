-- Ways to find guests and weddings: by folded names, by what an address comes to, by age, by the day of a wedding
CREATE UNIQUE INDEX guest_addresses_primary_key ON guestcomms.guest_addresses (tenant_id, guest_id, channel) WHERE is_primary;
COMMENT ON INDEX guestcomms.guest_addresses_primary_key IS 'One primary address of a guest on a channel.';
CREATE INDEX guest_addresses_contact ON guestcomms.guest_addresses (tenant_id, guestcomms_internal.contact_key_v1(channel, address));
COMMENT ON INDEX guestcomms.guest_addresses_contact IS 'Addresses that may be one person''s, whatever the channel.';
CREATE INDEX guest_addresses_prefix ON guestcomms.guest_addresses (tenant_id, address text_pattern_ops);
COMMENT ON INDEX guestcomms.guest_addresses_prefix IS 'Addresses by their beginning, while one is typed.';
CREATE INDEX guests_merged ON guestcomms.guests (tenant_id, merged_into, guest_id) WHERE merged_into IS NOT NULL;
COMMENT ON INDEX guestcomms.guests_merged IS 'Who was merged into a guest; holds only those.';
CREATE INDEX guests_created ON guestcomms.guests (tenant_id, created_at DESC, guest_id DESC);
COMMENT ON INDEX guestcomms.guests_created IS 'The newest guests first, for whoever looks for duplicates.';
CREATE INDEX weddings_held_on ON guestcomms.weddings (tenant_id, held_on, wedding_id);
COMMENT ON INDEX guestcomms.weddings_held_on IS 'Weddings in the order of their days.';
CREATE INDEX wedding_guests_party ON guestcomms.wedding_guests USING gin (tenant_id, to_tsvector('guestcomms.search_simple'::regconfig, coalesce(party, '')));
COMMENT ON INDEX guestcomms.wedding_guests_party IS 'Guests by words of the party they were invited with.';
DO $trigrams$
BEGIN
    EXECUTE format('CREATE INDEX guests_folded_name ON guestcomms.guests USING gin (tenant_id, guestcomms_internal.folded_name_v1(display_name) %I.gin_trgm_ops)',
        guestcomms_internal.extension_schema('pg_trgm'));
END $trigrams$;
COMMENT ON INDEX guestcomms.guests_folded_name IS 'Guests by names that are much alike, mistyped or without their accents.';
