-- The store's own record: which migrations it has, which cluster it lives in, its settings
CREATE TABLE guestcomms_internal.store_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    extension_version text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT store_migrations_pkey PRIMARY KEY (number)
);
SELECT guestcomms_internal.document_table('guestcomms_internal.store_migrations', 'Store migrations applied by create_store() and upgrade_store().', $$
    number             operational  number of the migration
    name               operational  its file's name
    sha256             operational  hash of its text when it was applied
    extension_version  operational  version of the extension that applied it
    applied_at         operational  when
$$);

-- Transaction ids mean something only in the cluster that gave them. After a restore the two numbers differ.
CREATE TABLE guestcomms_internal.store_identity (
    store_id uuid NOT NULL DEFAULT gen_random_uuid(),
    system_identifier bigint NOT NULL,
    database_oid bigint NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    trimmed_at timestamptz,
    CONSTRAINT store_identity_pkey PRIMARY KEY (store_id)
);
CREATE UNIQUE INDEX store_identity_single ON guestcomms_internal.store_identity ((true));
COMMENT ON INDEX guestcomms_internal.store_identity_single IS 'One row at most.';
SELECT guestcomms_internal.document_table('guestcomms_internal.store_identity', 'Who this store is and which cluster and database its transaction ids are of.', $$
    store_id           key          identity of the store; a restored copy keeps it
    system_identifier  operational  cluster that the change log's transaction ids belong to
    database_oid       operational  database likewise
    noted_at           operational  when the store was first seen there
    trimmed_at         operational  when the change log was last trimmed
$$);
INSERT INTO guestcomms_internal.store_identity (system_identifier, database_oid)
SELECT i.system_identifier, i.database_oid FROM guestcomms_internal.current_identity() AS i;

CREATE TABLE guestcomms.settings (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT session_user,
    CONSTRAINT settings_pkey PRIMARY KEY (tenant_id, name)
);
SELECT guestcomms_internal.document_table('guestcomms.settings', 'Settings that differ from their defaults; list_settings() shows all.', $$
    tenant_id   key          tenant, or the zero UUID for the whole store
    name        operational  one of list_settings()
    value       operational  as text
    changed_at  operational  when it was last set
    changed_by  security     login role that set it
$$);
