-- Vocabulary: the words and names that suggestions and corrections are made of. Follows the messages with the statistics.
CREATE TABLE guestcomms.vocabulary (
    tenant_id uuid NOT NULL,
    term text COLLATE "C" NOT NULL,
    written text NOT NULL,
    written_count bigint NOT NULL,
    is_phrase boolean NOT NULL,
    message_count bigint NOT NULL,
    weight double precision NOT NULL,
    guests integer[] NOT NULL DEFAULT '{}',
    is_unused boolean NOT NULL DEFAULT false,
    CONSTRAINT vocabulary_pkey PRIMARY KEY (tenant_id, term)
) WITH (fillfactor = 80);
CREATE INDEX vocabulary_unused ON guestcomms.vocabulary (tenant_id) WHERE is_unused;
COMMENT ON INDEX guestcomms.vocabulary_unused IS 'Terms that no message holds any more; empty but for a moment.';
SELECT guestcomms_internal.document_table('guestcomms.vocabulary', 'Words and pairs of words of a tenant''s messages, as suggestions complete them; the seldomest leave beyond suggest.max_terms.', $$
    tenant_id      key          tenant
    term           content      word, or two words that followed each other, lower case, accents folded
    written        content      with its accents
    written_count  operational  messages known to have it written so; when none is left, the accents go
    is_phrase      operational  whether it is two words
    message_count  operational  messages that hold it, as far as counted since it came
    weight         operational  those messages, each worth half of one sent 180 days later
    guests         key          hashes of up to 20 guests who were written to, or wrote, with it
    is_unused      operational  whether no message holds it any more, and the row is to go
$$);

CREATE TABLE guestcomms.spelling_words (
    tenant_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    CONSTRAINT spelling_words_pkey PRIMARY KEY (tenant_id, word)
);
CREATE INDEX spelling_words_keys ON guestcomms.spelling_words USING gin (guestcomms_internal.spelling_keys(tenant_id, word))
    WITH (fastupdate = off);
COMMENT ON INDEX guestcomms.spelling_words_keys IS 'Words that share a part or a trigram with a mistyped one; keys differ by tenant.';
SELECT guestcomms_internal.document_table('guestcomms.spelling_words', 'The words of the vocabulary that a mistyped one may mean, apart from their counts, so that these change without the index.', $$
    tenant_id  key      tenant
    word       content  word of the vocabulary
$$);

CREATE TABLE guestcomms.name_statistics (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    named_id uuid NOT NULL,
    message_count bigint NOT NULL,
    weight double precision NOT NULL,
    CONSTRAINT name_statistics_pkey PRIMARY KEY (tenant_id, kind, named_id),
    CONSTRAINT name_statistics_kind_check CHECK (kind IN ('guest', 'wedding', 'campaign'))
);
CREATE INDEX name_statistics_weight ON guestcomms.name_statistics (tenant_id, kind, weight DESC);
COMMENT ON INDEX guestcomms.name_statistics_weight IS 'The busiest first, among whom a letter or two finds enough.';
SELECT guestcomms_internal.document_table('guestcomms.name_statistics', 'How many messages each guest, wedding and campaign has, so that the busiest names are suggested first.', $$
    tenant_id      key          tenant
    kind           operational  guest, wedding or campaign
    named_id       key          its identifier
    message_count  behaviour    its messages
    weight         behaviour    those messages, each worth half of one sent 180 days later
$$);

CREATE TABLE guestcomms.suggestion_prefixes (
    tenant_id uuid NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    words text[] NOT NULL,
    word_weights double precision[] NOT NULL,
    phrases text[] NOT NULL,
    phrase_weights double precision[] NOT NULL,
    CONSTRAINT suggestion_prefixes_pkey PRIMARY KEY (tenant_id, prefix)
);
SELECT guestcomms_internal.document_table('guestcomms.suggestion_prefixes', 'The ten best words and pairs of words for what is up to three characters long, prepared; whether they still hold is read when they are shown.', $$
    tenant_id       key          tenant
    prefix          content      what has been typed; words of fewer than three letters also with blanks behind
    words           content      terms of the vocabulary, best first
    word_weights    operational  their weights
    phrases         content      pairs of words, best first
    phrase_weights  operational  their weights
$$);

CREATE INDEX weddings_name ON guestcomms.weddings USING gin (tenant_id, to_tsvector('guestcomms.search_simple'::regconfig, name));
COMMENT ON INDEX guestcomms.weddings_name IS 'Weddings by words of their names, for wedding: and suggestions.';
