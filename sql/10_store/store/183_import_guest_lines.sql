-- Where applications COPY a file of guests to. Like import_messages it has no row security, for COPY is refused with it: lines
-- may be added and not read, and a trigger checks that the tenant stamped by the default is the verified one.
CREATE TABLE guestcomms.import_guest_lines (
    tenant_id uuid NOT NULL DEFAULT
        coalesce(nullif(split_part(current_setting('guestcomms.context', true), '|', 2), ''), '00000000-0000-0000-0000-000000000000')::uuid,
    line_number bigint GENERATED ALWAYS AS IDENTITY,
    line text,
    load_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    loaded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT import_guest_lines_pkey PRIMARY KEY (tenant_id, line_number)
);
CREATE INDEX import_guest_lines_loaded ON guestcomms.import_guest_lines (loaded_at);
COMMENT ON INDEX guestcomms.import_guest_lines_loaded IS 'Files that were loaded and never imported, which a job removes.';
SELECT guestcomms_internal.document_table('guestcomms.import_guest_lines', 'Lines of a CSV file of guests; import_guests() takes them into the store, and what it did not take is removed after a day.', $$
    tenant_id    key          tenant, stamped from the context
    line_number  operational  order of arrival
    line         contact      one line of the file as it is
    load_id      operational  transaction that loaded it: a file is what one transaction loads
    loaded_at    operational  when
$$);
CREATE TRIGGER require_tenant BEFORE INSERT ON guestcomms.import_guest_lines
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.check_import_tenant();
CREATE TRIGGER check_tenant AFTER INSERT ON guestcomms.import_guest_lines REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION guestcomms_internal.check_import_tenant();
