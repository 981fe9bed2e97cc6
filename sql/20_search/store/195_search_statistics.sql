-- Search: what a tenant's ranking is computed from, and what its operators have set
CREATE TABLE guestcomms.term_statistics (
    tenant_id uuid NOT NULL,
    term text COLLATE "C" NOT NULL,
    message_count bigint NOT NULL,
    is_unused boolean NOT NULL DEFAULT false,
    CONSTRAINT term_statistics_pkey PRIMARY KEY (tenant_id, term)
) WITH (fillfactor = 80);
-- By a flag that seldom changes: an index on the count itself would keep every update from staying on its page (HOT).
CREATE INDEX term_statistics_unused ON guestcomms.term_statistics (tenant_id) WHERE is_unused;
COMMENT ON INDEX guestcomms.term_statistics_unused IS 'Terms that no message holds any more; empty but for a moment.';
SELECT guestcomms_internal.document_table('guestcomms.term_statistics', 'In how many of a tenant''s messages each stem occurs; kept by refresh_term_statistics().', $$
    tenant_id      key          tenant
    term           content      stem, as in messages.search
    message_count  operational  messages that hold it
    is_unused      operational  whether none does any more, and the row is to go
$$);

CREATE TABLE guestcomms.search_statistics (
    tenant_id uuid NOT NULL,
    message_count bigint NOT NULL,
    word_count bigint NOT NULL,
    term_count bigint NOT NULL DEFAULT 0,
    min_guests integer NOT NULL DEFAULT 1,
    counted_in pg_snapshot NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT search_statistics_pkey PRIMARY KEY (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.search_statistics', 'How many messages of a tenant are counted, and how long they are together.', $$
    tenant_id      key          tenant
    message_count  operational  messages counted
    word_count     operational  their words
    term_count     operational  rows of its vocabulary
    min_guests     operational  suggest.min_guests when its suggestions were prepared
    counted_in     operational  snapshot of the count from the table: changes visible in it are in it
    counted_at     operational  when that was
$$);

CREATE TABLE guestcomms.search_months (
    tenant_id uuid NOT NULL,
    month date NOT NULL,
    message_count bigint NOT NULL,
    CONSTRAINT search_months_pkey PRIMARY KEY (tenant_id, month)
);
SELECT guestcomms_internal.document_table('guestcomms.search_months', 'How many of a tenant''s messages each month (UTC) holds, so that a search reads as many months as it needs.', $$
    tenant_id      key          tenant
    month          operational  its first day
    message_count  operational  messages counted
$$);

-- Deleting or editing a message must take its words out of the counts, so they are kept until that is done.
CREATE TABLE guestcomms_internal.replaced_messages (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    seq bigint NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    guest_id uuid,
    wedding_id uuid,
    campaign_id uuid,
    language text,
    subject text,
    body text,
    word_count integer NOT NULL,
    search tsvector NOT NULL,
    CONSTRAINT replaced_messages_pkey PRIMARY KEY (tenant_id, message_id, seq)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.replaced_messages', 'What messages held before they were edited or deleted, until term_statistics has followed.', $$
    tenant_id   key          tenant
    message_id  key          message
    seq         operational  its change in the change log
    xid         operational  transaction that made it
    guest_id     key          guest before
    wedding_id   key          wedding before
    campaign_id  key          campaign before
    language     operational  language before
    subject      content      subject before
    body         content      text before
    word_count  operational  length before
    search      content      stems before
$$);

CREATE TABLE guestcomms.synonyms (
    tenant_id uuid NOT NULL,
    term text NOT NULL,
    alternatives text[] NOT NULL,
    CONSTRAINT synonyms_pkey PRIMARY KEY (tenant_id, term),
    CONSTRAINT synonyms_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT synonyms_alternatives_check CHECK (cardinality(alternatives) BETWEEN 1 AND 20)
);
SELECT guestcomms_internal.document_table('guestcomms.synonyms', 'Words that a search for a word finds too.', $$
    tenant_id     key          tenant
    term          content  word, lower case, accents folded
    alternatives  content  words and phrases found with it
$$);

CREATE TABLE guestcomms.search_rebuilds (
    tenant_id uuid NOT NULL,
    month date NOT NULL,
    after_id uuid,
    requested_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT search_rebuilds_pkey PRIMARY KEY (tenant_id, month)
);
SELECT guestcomms_internal.document_table('guestcomms.search_rebuilds', 'Months whose search vectors are still to be computed anew; empty when rebuild_search() is through.', $$
    tenant_id     key          tenant
    month         operational  its first day
    after_id      key          last message treated
    requested_at  operational  when it was asked for
$$);

CREATE TABLE guestcomms_internal.undetected_messages (
    tenant_id uuid NOT NULL,
    message_id uuid NOT NULL,
    sent_at timestamptz NOT NULL,
    CONSTRAINT undetected_messages_pkey PRIMARY KEY (tenant_id, message_id)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.undetected_messages', 'Messages recorded without a language, until detect_languages() has looked at them.', $$
    tenant_id   key        tenant
    message_id  key        message
    sent_at     behaviour  its time
$$);

CREATE INDEX guests_name ON guestcomms.guests USING gin (tenant_id, to_tsvector('guestcomms.search_simple'::regconfig, coalesce(display_name, '')));
COMMENT ON INDEX guestcomms.guests_name IS 'Guests by words of their names, for from:, to: and guest:.';
INSERT INTO guestcomms.consumers (consumer) VALUES ('term_statistics');
