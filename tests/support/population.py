"""Rows of both tenants in every table and every partition, so that to see none means something.

Whatever a guest wrote or is reached by holds the tenant's canary, a word that is nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from tests.support.database import Connection
from tests.support.queries import one
from tests.support.store import Store

CANARY = {"a": "kestrelcanary", "b": "zebrafishcanary"}
STORE_LEVEL = UUID(int=0)

FIXED = {
    "action": "export",
    "channel": "email",
    "counts_from": "age",
    "direction": "inbound",
    "keep_for": "1 day",
    "guest_a": "00000000-0000-0000-0000-000000000001",
    "kind": "guest",
    "language": "en",
    "origin": "stem",
    "purpose": "service",
    "status": "sent",
    "timezone": "UTC",
}
VALUES = {
    "uuid": sql.SQL("gen_random_uuid()"),
    "timestamp with time zone": sql.SQL("now()"),
    "bytea": sql.SQL("sha256('')"),
    "boolean": sql.SQL("true"),
    "integer": sql.SQL("1"),
    "double precision": sql.SQL("1"),
    "double precision[]": sql.SQL("'{1}'"),
    "bigint": sql.SQL("1"),
    "uuid[]": sql.SQL("'{}'"),
    "date": sql.SQL("current_date"),
    "smallint": sql.SQL("1"),
    "interval": sql.SQL("interval '1 second'"),
    "pg_snapshot": sql.SQL("pg_current_snapshot()"),
    "xid8": sql.SQL("pg_current_xact_id()"),
}
# Columns that hold the canary, by type.
FROM_TEXT = {
    "jsonb": sql.SQL("jsonb_build_object('note', {}::text)"),
    "text": sql.SQL("{}"),
    "text[]": sql.SQL("ARRAY[{}::text]"),
    "tsvector": sql.SQL("{}::tsvector"),
    "tsquery": sql.SQL("{}::tsquery"),
}

TABLES = """
SELECT n.nspname, c.relname, EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('guestcomms', 'guestcomms_internal', 'guestcomms_bi')
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1, 2
"""
# Columns that a row needs, and those that hold what guests wrote or how they are reached.
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL)
FROM pg_attribute AS a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'tenant_id'
    AND a.attgenerated = '' AND a.attidentity = ''
    AND (a.attnotnull AND NOT a.atthasdef
        OR col_description(a.attrelid, a.attnum) ~ '\\[retention: (content|contact)\\]')
"""


@dataclass(frozen=True)
class Inhabitants:
    """What a tenant has one of; the names are those of parameters that take it."""

    tenant_id: UUID
    guest_id: UUID
    wedding_id: UUID
    campaign_id: UUID
    thread_id: UUID
    message_id: UUID
    archived_id: UUID
    alert_id: UUID
    query_id: UUID
    attachment_id: UUID
    removal_id: UUID
    template_id: UUID
    address: str
    external_id: str
    event_external_id: str


def populate(store: Store) -> dict[str, Inhabitants]:
    """Fill a store's tables, for tenants A and B."""
    tenants = {"a": store.tenant_a, "b": store.tenant_b}
    with store.connect() as superuser:
        found = {name: add_inhabitants(superuser, tenants[name], CANARY[name]) for name in tenants}
        fill_partitions(superuser, found)
    return found


def add_inhabitants(superuser: Connection, tenant_id: UUID, canary: str) -> Inhabitants:
    """Through the functions, as an application does."""
    superuser.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant_id])

    superuser.execute("UPDATE guestcomms.tenants SET name = %s WHERE tenant_id = %s", [canary, tenant_id])
    address = f"{canary}@example.com"
    guest = one(superuser, "SELECT guestcomms.add_guest(%s, email => %s)", canary, address)
    wedding = one(
        superuser,
        "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, %s) RETURNING wedding_id",
        *(tenant_id, canary),
    )
    campaign = one(
        superuser,
        "INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, %s) RETURNING campaign_id",
        *(tenant_id, canary),
    )
    thread = one(superuser, "SELECT guestcomms.open_thread(%s, %s, %s)", *(canary, guest, wedding))
    message = one(
        superuser,
        "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s, subject => %s,"
        " thread_id => %s, wedding_id => %s, campaign_id => %s, external_id => %s)",
        *(guest, f"the word is {canary}", canary, thread, wedding, campaign, canary),
    )
    one(
        superuser,
        "SELECT guestcomms.record_event(%s, 'opened', event_external_id => %s)",
        *(message, f"e-{canary}"),
    )
    one(superuser, "SELECT guestcomms.open_request(%s, 'access', note => %s)", *(guest, canary))
    one(superuser, "SELECT guestcomms.export_guest(%s)", guest)
    one(superuser, "SELECT guestcomms.set_export_key('office', %s)", f"not said to anybody, {canary}")
    # An answer, of a campaign: what is counted by campaigns and by answers has rows then.
    one(
        superuser,
        "SELECT guestcomms.record_message(%s, 'outbound', 'email', %s, thread_id => %s, campaign_id => %s)",
        *(guest, canary, thread, campaign),
    )
    archived = one(
        superuser,
        "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s, thread_id => %s, sent_at => now() - interval '3 hours')",
        *(guest, f"long ago, {canary}", thread),
    )
    one(superuser, "SELECT guestcomms.add_archive_policy(%s, older_than => '2 hours')", canary)
    one(superuser, "SELECT message_count FROM guestcomms.run_archive()")
    search = one(superuser, "SELECT guestcomms.save_search(%s, %s)", *(canary, canary))
    alert = one(
        superuser,
        "INSERT INTO guestcomms.search_alerts (tenant_id, message_id, search_id) VALUES (%s, %s, %s) RETURNING alert_id",
        *(tenant_id, message, search),
    )
    query = one(
        superuser,
        "INSERT INTO guestcomms.search_queries (tenant_id, query, result_count) VALUES (%s, %s, 1) RETURNING query_id",
        *(tenant_id, canary),
    )
    # Somebody who objected, and was erased.
    erased = one(superuser, "SELECT guestcomms.add_guest('Somebody Gone', email => 'gone@example.com')")
    one(superuser, "SELECT guestcomms.open_request(%s, 'objection')", erased)
    one(superuser, "SELECT guestcomms.erase_guest(%s)", erased)
    attach = "SELECT guestcomms.add_attachment(%s, %s, 'text/plain', 1, uri => %s)"
    attachment = one(superuser, attach, message, canary, f"s3://{canary}")
    one(superuser, "SELECT guestcomms.remove_attachment(%s)", one(superuser, attach, message, canary, f"s3://old/{canary}"))
    removal = one(superuser, "SELECT removal_id FROM guestcomms.list_attachment_removals()")
    template = one(superuser, "SELECT guestcomms.set_template(%s, 'email', 'en', body => %s)", canary, canary)
    one(superuser, "SELECT guestcomms.record_consent(%s, 'service', true, source => %s)", guest, canary)
    superuser.execute("SELECT guestcomms.register_annotator('kinds', '1', '{language}', %s)", [canary])
    one(superuser, "SELECT guestcomms.set_opt_out_words(ARRAY[%s])", canary)
    superuser.execute("RESET guestcomms.context")
    keys = (address, canary, f"e-{canary}")
    return Inhabitants(
        *(tenant_id, guest, wedding, campaign, thread, message, archived, alert, query, attachment, removal, template, *keys)
    )


def fill_partitions(superuser: Connection, tenants: dict[str, Inhabitants]) -> None:
    """A message with an event at the start of every partition, the default one's included, and their facts; then what is
    empty yet."""
    for name, tenant in tenants.items():
        superuser.execute(
            """
            WITH month AS (
                SELECT coalesce(l.since, '1996-01-01') AS at
                FROM guestcomms_internal.list_partitions('guestcomms.messages') AS l
            ), message AS (
                INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, guest_id,
                    thread_id, direction, channel, status, body)
                SELECT %(tenant)s, guestcomms.uuid_v7(m.at), m.at, %(guest)s,
                    %(thread)s, 'inbound', 'email', 'received', %(canary)s
                FROM month AS m
                WHERE NOT EXISTS (SELECT FROM guestcomms.messages AS e
                    WHERE e.tenant_id = %(tenant)s AND e.sent_at = m.at)
                RETURNING message_id, sent_at
            )
            INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id,
                kind, detail)
            SELECT %(tenant)s, guestcomms.uuid_v7(sent_at), sent_at, message_id, 'opened',
                jsonb_build_object('note', %(canary)s::text)
            FROM message
            """,
            {
                "tenant": tenant.tenant_id,
                "guest": tenant.guest_id,
                "thread": tenant.thread_id,
                "canary": CANARY[name],
            },
        )
        # Nobody reads what is in them.
        superuser.execute(
            """
            INSERT INTO guestcomms.archive_segments (tenant_id, segment_id, first_sent_at, last_sent_at, guest_id,
                message_count, event_count, detail_count, plain_bytes, level, codec, plain_sha256, stored_sha256,
                message_ids, thread_ids, search, payload)
            SELECT %(tenant)s, guestcomms.uuid_v7(y.at), y.at, y.at, %(guest)s, 0, 0, 0, 1, 0, 'stored', '', '', '{}', '{}',
                %(canary)s::text::tsvector, %(canary)s::text::bytea
            FROM (SELECT coalesce(l.since, '1996-01-01') AS at
                FROM guestcomms_internal.list_partitions('guestcomms.archive_segments') AS l) AS y
            WHERE NOT EXISTS (SELECT FROM guestcomms.archive_segments AS s
                WHERE s.tenant_id = %(tenant)s AND s.first_sent_at = y.at)
            """,
            {"tenant": tenant.tenant_id, "guest": tenant.guest_id, "canary": CANARY[name]},
        )
    load_warehouse(superuser)
    fill_tables(superuser, {name: tenant.tenant_id for name, tenant in tenants.items()})


def load_warehouse(superuser: Connection) -> None:
    """Facts, rollups and materialized views of all that there is."""
    while one(superuser, "SELECT guestcomms.refresh_warehouse(time_budget => '1 hour')"):
        pass
    # In one transaction, whose time is before each refresh: none comes twice.
    with superuser.transaction():
        while one(superuser, "SELECT guestcomms.refresh_reports(max_age => '0 seconds')"):
            pass


def fill_tables(superuser: Connection, tenants: dict[str, UUID]) -> None:
    """A row of each tenant in every table without."""
    # Foreign keys and triggers would ask for more than a row that can be seen.
    superuser.execute("SET session_replication_role = replica")
    for schema, name, has_tenant in superuser.execute(TABLES).fetchall():
        table = sql.Identifier(schema, name)
        for tenant in tenants if has_tenant else ["a"]:
            tenant_id = tenants[tenant] if has_tenant else None
            if not has_rows(superuser, table, tenant_id):
                fill_table(superuser, table, tenant_id, CANARY[tenant])
    superuser.execute("RESET session_replication_role")


def has_rows(superuser: Connection, table: sql.Identifier, tenant_id: UUID | None) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} AS t WHERE to_jsonb(t) @> %s::jsonb)")
    tenant = "{}" if tenant_id is None else f'{{"tenant_id": "{tenant_id}"}}'
    (row,) = superuser.execute(query.format(table), [tenant]).fetchall()
    return bool(row[0])


def fill_table(superuser: Connection, table: sql.Identifier, tenant_id: UUID | None, canary: str) -> None:
    """One row of made-up values; texts hold the canary where no keyword is asked for."""
    columns = superuser.execute(COLUMNS, [table.as_string(superuser)]).fetchall()
    row = {name: made_up(name, kind, canary) for name, kind in columns}
    if tenant_id is not None:
        row["tenant_id"] = sql.Literal(tenant_id)
    superuser.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table, sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(row.values())
        )
    )


def made_up(column: str, kind: str, canary: str) -> sql.Composable:
    if column in FIXED:
        return sql.Literal(FIXED[column])
    if kind in FROM_TEXT:
        return FROM_TEXT[kind].format(sql.Literal(canary))
    return VALUES[kind]
