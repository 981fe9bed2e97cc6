"""The store takes the anonymised records of a tenant: constraints hold, references lead on, and nothing of a guest is left."""

from __future__ import annotations

import json
from typing import Any

from guestcomms.anonymize import DECISIONS, Anonymizer
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.columns import COMPUTED
from tests.support.database import Connection
from tests.support.population import CANARY, populate
from tests.support.queries import column, one, rows
from tests.support.store import Store

COLUMNS = """
    SELECT a.attname::text FROM pg_attribute AS a
    WHERE a.attrelid = format('guestcomms.%%I', %s::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attgenerated = '' AND a.attname <> ALL (%s)
    ORDER BY a.attnum"""
MEETINGS = """
    SELECT count(*), count(DISTINCT m.thread_id), count(DISTINCT e.event_id), count(DISTINCT g.guest_id),
        count(DISTINCT a.address)
    FROM guestcomms.messages AS m
    JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
    LEFT JOIN guestcomms.guest_addresses AS a USING (tenant_id, guest_id)
    LEFT JOIN guestcomms.message_events AS e USING (tenant_id, message_id)
    WHERE m.tenant_id = %s"""
# More of what must stay together; populate() leaves some rows without what they refer to.
DETAILS = """
    UPDATE guestcomms.consents AS c SET guest_id = g.guest_id FROM guestcomms.guests AS g
    WHERE c.tenant_id = %(tenant)s AND g.tenant_id = c.tenant_id;
    UPDATE guestcomms.wedding_guests AS p SET guest_id = g.guest_id, wedding_id = w.wedding_id
    FROM guestcomms.guests AS g JOIN guestcomms.weddings AS w USING (tenant_id)
    WHERE p.tenant_id = %(tenant)s AND g.tenant_id = p.tenant_id;
    INSERT INTO guestcomms.message_versions (tenant_id, message_id, version_number, body, replaced_by)
    SELECT m.tenant_id, m.message_id, 1, m.body, 'Ann' FROM guestcomms.messages AS m WHERE m.tenant_id = %(tenant)s LIMIT 1;
    INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id)
    SELECT g.tenant_id, c.channel, '+44770090' || n, g.guest_id
    FROM (SELECT tenant_id, guest_id FROM guestcomms.guests WHERE tenant_id = %(tenant)s AND erased_at IS NULL LIMIT 1) AS g
    CROSS JOIN generate_series(1000, 1099) AS n CROSS JOIN (VALUES ('sms'), ('whatsapp')) AS c (channel);
"""


def read(superuser: Connection, table: str, columns: list[str], tenant: object) -> list[dict[str, Any]]:
    """A record set as exports have it."""
    query = sql.SQL("SELECT to_jsonb(r) FROM (SELECT {} FROM guestcomms.{} WHERE tenant_id = %s) AS r").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table)
    )
    return [row[0] for row in superuser.execute(query, [tenant])]


def write(superuser: Connection, table: str, columns: list[str], tenant: object, records: list[dict[str, Any]]) -> None:
    statement = sql.SQL(
        "INSERT INTO guestcomms.{table} (tenant_id, {columns})"
        " SELECT %s, {columns} FROM jsonb_populate_recordset(NULL::guestcomms.{table}, %s)"
    ).format(table=sql.Identifier(table), columns=sql.SQL(", ").join(map(sql.Identifier, columns)))
    superuser.execute(statement, [tenant, Jsonb(records)])


def test_the_store_takes_them(store: Store) -> None:
    tenant = populate(store)["a"].tenant_id
    with store.connect() as superuser:
        superuser.execute("SET timezone = 'UTC'")
        for statement in DETAILS.split(";")[:-1]:
            superuser.execute(statement.encode(), {"tenant": tenant})
        copy = one(superuser, "SELECT guestcomms.add_tenant('A copy')")
        anonymizer = Anonymizer(bytes(32), lambda text: text.replace(CANARY["a"], "[word]"))
        written = {}
        for table, decided in DECISIONS.items():
            columns = column(superuser, COLUMNS, table, ["tenant_id", *COMPUTED])
            assert set(columns) == set(decided)
            found = read(superuser, table, columns, tenant)
            assert found, table
            written[table] = [anonymizer.record(table, record) for record in found]
            # One who was erased takes no messages.
            write(superuser, table, [name for name in columns if name != "erased_at"], copy, written[table])
            assert len(read(superuser, table, columns, copy)) == len(found)
        assert CANARY["a"] not in json.dumps(written)
        assert rows(superuser, MEETINGS, copy) == rows(superuser, MEETINGS, tenant)
