-- Saved searches, what each is found by, and the alerts they raise
CREATE TABLE guestcomms.saved_searches (
    tenant_id uuid NOT NULL,
    search_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    query text NOT NULL,
    notify boolean NOT NULL DEFAULT false,
    has_words boolean NOT NULL DEFAULT true,
    has_conditions boolean NOT NULL DEFAULT true,
    planned_for text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT saved_searches_pkey PRIMARY KEY (tenant_id, search_id),
    CONSTRAINT saved_searches_name_key UNIQUE (tenant_id, name),
    CONSTRAINT saved_searches_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT saved_searches_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT saved_searches_query_check CHECK (char_length(query) <= 1000)
);
SELECT guestcomms_internal.document_table('guestcomms.saved_searches', 'Queries that new and edited messages are compared with.', $$
    tenant_id       key          tenant
    search_id       key          saved search
    name            content      what it is called, once a tenant
    query           content      query, in the query language
    notify          operational  whether its alerts are announced on the channel guestcomms_alerts
    has_words       operational  whether it asks for words, not for filters alone
    has_conditions  operational  whether more than words must be looked at
    planned_for     operational  languages and synonyms of the tenant when it was last read
    created_at      operational  when it was saved
$$);

CREATE TABLE guestcomms.saved_search_words (
    tenant_id uuid NOT NULL,
    search_id uuid NOT NULL,
    configuration text NOT NULL,
    words tsquery NOT NULL,
    CONSTRAINT saved_search_words_pkey PRIMARY KEY (tenant_id, search_id, configuration),
    CONSTRAINT saved_search_words_search_fkey FOREIGN KEY (tenant_id, search_id) REFERENCES guestcomms.saved_searches (tenant_id, search_id) ON DELETE CASCADE
);
SELECT guestcomms_internal.document_table('guestcomms.saved_search_words', 'What the words of a saved search are in each language of the tenant.', $$
    tenant_id      key          tenant
    search_id      key          saved search
    configuration  operational  text-search configuration, in schema guestcomms
    words          content      what a message of that language must hold
$$);

CREATE TABLE guestcomms.saved_search_anchors (
    tenant_id uuid NOT NULL,
    anchor text COLLATE "C" NOT NULL,
    search_id uuid NOT NULL,
    CONSTRAINT saved_search_anchors_pkey PRIMARY KEY (tenant_id, anchor, search_id),
    CONSTRAINT saved_search_anchors_search_fkey FOREIGN KEY (tenant_id, search_id) REFERENCES guestcomms.saved_searches (tenant_id, search_id) ON DELETE CASCADE
);
CREATE INDEX saved_search_anchors_search ON guestcomms.saved_search_anchors (tenant_id, search_id);
COMMENT ON INDEX guestcomms.saved_search_anchors_search IS 'Those of one saved search, when it is removed or read anew.';
SELECT guestcomms_internal.document_table('guestcomms.saved_search_anchors', 'Something that every message a saved search matches has: so a message meets the few that it may match.', $$
    tenant_id  key      tenant
    anchor     content  w and a stem, p and its beginning, or the kind of a filter and its value; * is every message's
    search_id  key      saved search
$$);

CREATE TABLE guestcomms.search_alerts (
    tenant_id uuid NOT NULL,
    alert_id uuid NOT NULL DEFAULT guestcomms.uuid_v7(now()),
    message_id uuid NOT NULL,
    search_id uuid NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    CONSTRAINT search_alerts_pkey PRIMARY KEY (tenant_id, alert_id),
    CONSTRAINT search_alerts_message_key UNIQUE (tenant_id, message_id, search_id),
    CONSTRAINT search_alerts_search_fkey FOREIGN KEY (tenant_id, search_id) REFERENCES guestcomms.saved_searches (tenant_id, search_id) ON DELETE CASCADE
);
CREATE INDEX search_alerts_search ON guestcomms.search_alerts (tenant_id, search_id);
COMMENT ON INDEX guestcomms.search_alerts_search IS 'Those of one saved search, when they are counted or it is removed.';
CREATE INDEX search_alerts_open ON guestcomms.search_alerts (tenant_id, alert_id) WHERE acknowledged_at IS NULL;
COMMENT ON INDEX guestcomms.search_alerts_open IS 'The newest that nobody has acknowledged.';
SELECT guestcomms_internal.document_table('guestcomms.search_alerts', 'Messages that a saved search matched, each once.', $$
    tenant_id        key          tenant
    alert_id         key          UUID of version 7 with the millisecond of raised_at
    message_id       key          message
    search_id        key          saved search
    raised_at        operational  when it was found to match
    acknowledged_at  operational  when somebody had seen it
$$);
INSERT INTO guestcomms.consumers (consumer) VALUES ('saved_searches');
