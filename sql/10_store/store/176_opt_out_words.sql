-- Words by which guests of a tenant opt out and in, beside those that work for everybody
CREATE TABLE guestcomms.opt_out_words (
    tenant_id uuid NOT NULL,
    word text NOT NULL,
    is_stop boolean NOT NULL,
    CONSTRAINT opt_out_words_pkey PRIMARY KEY (tenant_id, word),
    CONSTRAINT opt_out_words_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT opt_out_words_word_check CHECK (char_length(word) BETWEEN 1 AND 40)
);
SELECT guestcomms_internal.document_table('guestcomms.opt_out_words', 'A tenant''s own words for STOP and START.', $$
    tenant_id  key          tenant
    word       operational  the whole message, folded: no case, accents and punctuation
    is_stop    operational  whether it is an objection, or lifts one
$$);
