-- Query log, of tenants that have it: what was searched for, what was found, what was chosen
CREATE TABLE guestcomms.search_queries (
    tenant_id uuid NOT NULL,
    query_id uuid NOT NULL DEFAULT guestcomms.uuid_v7(now()),
    query text,
    result_count integer NOT NULL,
    stage text,
    searched_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT search_queries_pkey PRIMARY KEY (tenant_id, query_id),
    CONSTRAINT search_queries_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT search_queries_query_check CHECK (char_length(query) <= 1000),
    CONSTRAINT search_queries_result_count_check CHECK (result_count >= 0)
);
CREATE INDEX search_queries_text ON guestcomms.search_queries (tenant_id, query_id) WHERE query IS NOT NULL;
COMMENT ON INDEX guestcomms.search_queries_text IS 'Texts that are to leave.';
SELECT guestcomms_internal.document_table('guestcomms.search_queries', 'Searches, where a tenant keeps a query log; texts leave after query_log.keep_text.', $$
    tenant_id     key          tenant
    query_id      key          UUID of version 7 with the millisecond of searched_at
    query         content      what was typed, until query_log.keep_text is over
    result_count  operational  rows that were found
    stage         operational  stage of the first row
    searched_at   operational  when
$$);

CREATE TABLE guestcomms.search_clicks (
    tenant_id uuid NOT NULL,
    query_id uuid NOT NULL,
    message_id uuid NOT NULL,
    place integer NOT NULL,
    clicked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT search_clicks_pkey PRIMARY KEY (tenant_id, query_id, message_id),
    CONSTRAINT search_clicks_query_fkey FOREIGN KEY (tenant_id, query_id) REFERENCES guestcomms.search_queries (tenant_id, query_id) ON DELETE CASCADE,
    CONSTRAINT search_clicks_place_check CHECK (place >= 1)
);
SELECT guestcomms_internal.document_table('guestcomms.search_clicks', 'Which results of a search were opened.', $$
    tenant_id   key          tenant
    query_id    key          search
    message_id  key          message
    place       operational  its place among the results, from 1
    clicked_at  operational  when it was first opened
$$);
