-- Tenants that were closed: receipts, which outlive what they are about and so refer to nothing
CREATE TABLE guestcomms.tenant_closures (
    tenant_id uuid NOT NULL,
    tenant_name text NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL DEFAULT session_user,
    closed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    batch_count integer NOT NULL DEFAULT 0,
    finished_at timestamptz,
    CONSTRAINT tenant_closures_pkey PRIMARY KEY (tenant_id)
);
CREATE INDEX tenant_closures_unfinished ON guestcomms.tenant_closures (tenant_id) WHERE finished_at IS NULL;
COMMENT ON INDEX guestcomms.tenant_closures_unfinished IS 'What the job has to do; empty when it is done.';
SELECT guestcomms_internal.document_table('guestcomms.tenant_closures', 'Tenants that were closed, and how far the removal of their data has come; kept when all else is gone.', $$
    tenant_id    key          tenant, which is gone
    tenant_name  proof        name of the business
    closed_at    proof        since when it cannot be opened
    closed_by    proof        login role that closed it
    closed_xid   operational  transaction that closed it; what began before may still write
    batch_count  operational  transactions of the removal
    finished_at  proof        when every table was found to hold nothing of it
$$);

CREATE TABLE guestcomms.tenant_closure_tables (
    tenant_id uuid NOT NULL,
    table_name text NOT NULL,
    row_count bigint NOT NULL,
    removed_count bigint NOT NULL DEFAULT 0,
    kept_because text,
    CONSTRAINT tenant_closure_tables_pkey PRIMARY KEY (tenant_id, table_name),
    CONSTRAINT tenant_closure_tables_closure_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenant_closures (tenant_id)
);
SELECT guestcomms_internal.document_table('guestcomms.tenant_closure_tables', 'The receipt of a closed tenant: what each table held of it, and what of that was removed.', $$
    tenant_id      key    tenant, which is gone
    table_name     proof  table
    row_count      proof  rows that it held when the tenant was closed
    removed_count  proof  rows removed since
    kept_because   proof  why they stay; null where they go
$$);
