-- What has been taken of the limits of privacy's functions, kept as long as it counts.
CREATE TABLE guestcomms.quota_uses (
    tenant_id uuid NOT NULL,
    role_name text NOT NULL,
    action text NOT NULL,
    use_number bigint NOT NULL,
    amount bigint NOT NULL,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT quota_uses_pkey PRIMARY KEY (tenant_id, role_name, action, use_number),
    CONSTRAINT quota_uses_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES guestcomms.tenants (tenant_id),
    CONSTRAINT quota_uses_action_check CHECK (action IN ('export', 'detection', 'import')),
    CONSTRAINT quota_uses_amount_check CHECK (amount > 0)
);
SELECT guestcomms_internal.document_table('guestcomms.quota_uses', 'What each role has taken of its limits within the last hour; rows are added, and removed when they count no more.', $$
    tenant_id   key       tenant
    role_name   security  role that acted
    action      security  export, detection or import
    use_number  security  counts the uses of a role, so that of two sessions with old snapshots only one adds the next
    amount      security  exports, messages looked at, or imports
    used_at     security  when
$$);
