"""Rows per second and WAL per message of every way into the store.

Baselines in the same run: the same rows into a plain table without indexes, and into the store's table without search
column, its index and the change log (partitions, other indexes, keys and checks as they are).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import PAYLOAD, Message, Row, Tenant, add_tenant, copy_into_messages, copy_rows, first_day, payload, with_ids
from bench.irc import read_messages
from tools.cluster import Cluster

PLAIN = f"CREATE TABLE plain AS SELECT tenant_id, message_id, status, {PAYLOAD} FROM guestcomms.messages WITH NO DATA"
# The store's table, less what is measured.
BARE = """
    DROP TRIGGER log_insert ON guestcomms.messages;
    ALTER TABLE guestcomms.messages DROP COLUMN search;
"""


@dataclass(frozen=True)
class Measured:
    """seconds and bytes of WAL for one load of so many rows."""

    rows: int
    seconds: float
    wal_bytes: int

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def wal(self) -> float:
        return self.wal_bytes / self.rows


NAMES = [name.strip() for name in PAYLOAD.split(",")]


@dataclass(frozen=True)
class Load:
    """How rows are made ready, which is not timed, and how they are loaded, which is."""

    ready: Callable[[Connection, Tenant, list[Message]], list[Row]]
    run: Callable[[Connection, Tenant, list[Row]], None]


def as_json(connection: Connection, tenant: Tenant, messages: list[Message]) -> list[Row]:
    """Arrays of 1,000 messages."""
    rows = payload(connection, tenant, messages)
    return [
        (json.dumps([dict(zip(NAMES, row, strict=True)) for row in rows[start : start + 1000]]),)
        for start in range(0, len(rows), 1000)
    ]


def copy_into_plain(connection: Connection, _: Tenant, rows: list[Row]) -> None:
    copy_rows(connection, f"COPY plain (tenant_id, message_id, status, {PAYLOAD}) FROM STDIN", rows)


def copy_and_import(connection: Connection, tenant: Tenant, rows: list[Row]) -> None:
    connection.execute("SELECT guestcomms.use_tenant(%s)", [tenant.tenant_id])
    copy_rows(connection, f"COPY guestcomms.import_messages ({PAYLOAD}) FROM STDIN", rows)
    result = connection.execute("SELECT imported_count, rejected_count FROM guestcomms.run_import()").fetchone()
    assert result == (len(rows), 0), result


def record_batches(connection: Connection, tenant: Tenant, rows: list[Row]) -> None:
    for row in rows:
        connection.execute("SELECT guestcomms.use_tenant(%s)", [tenant.tenant_id])
        connection.execute("SELECT count(*) FROM guestcomms.record_messages(%s::jsonb)", row)
        connection.commit()


def record_singly(connection: Connection, tenant: Tenant, rows: list[Row]) -> None:
    statement = f"SELECT guestcomms.record_message({', '.join(f'{name} => %s' for name in NAMES)})"
    connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant.tenant_id])
    connection.commit()
    for row in rows:
        connection.execute(statement, row, prepare=True)
        connection.commit()


def insert_singly(connection: Connection, _: Tenant, rows: list[Row]) -> None:
    statement = f"INSERT INTO plain (tenant_id, message_id, status, {PAYLOAD}) VALUES (%s{', %s' * (len(NAMES) + 2)})"
    for row in rows:
        connection.execute(statement, row, prepare=True)
        connection.commit()


def measure(cluster: Cluster, load: Load, tenant: Tenant, messages: list[Message], setup: str = "") -> Measured:
    """One load into a fresh copy of the prepared database; the search index's pending list is cleaned within the time."""
    if cluster.has_database("run"):
        cluster.drop_database("run")
    cluster.create_database("run", template="prepared")
    if setup:
        cluster.psql(setup, "run")
    with psycopg.connect(cluster.dsn("run")) as connection:
        rows = load.ready(connection, tenant, messages)
        connection.execute("CHECKPOINT")
        connection.commit()
        before = wal_position(connection)
        start = time.perf_counter()
        load.run(connection, tenant, rows)
        connection.commit()
        connection.execute(
            "SELECT gin_clean_pending_list(c.oid) FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam AND a.amname = 'gin' "
            "WHERE c.relkind = 'i' AND c.relname LIKE 'messages_p%'"
        )
        connection.commit()
        seconds = time.perf_counter() - start
        return Measured(len(messages), seconds, wal_position(connection) - before)


def wal_position(connection: Connection) -> int:
    (position,) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone() or (0,)
    connection.commit()
    return int(position)


def prepare(cluster: Cluster, messages: list[Message]) -> Tenant:
    cluster.create_database("prepared")
    with psycopg.connect(cluster.dsn("prepared"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION guestcomms CASCADE")
        connection.execute("SELECT guestcomms.create_store()")
        connection.execute("SELECT guestcomms.ensure_partitions(%s)", [first_day(messages)])
        return add_tenant(connection, "irc", messages)


def main() -> None:
    arguments = parse_arguments(__doc__)
    messages = read_messages(20_000 if arguments.quick else None)
    few = messages[-1_000 if arguments.quick else -5_000 :]
    with bench_cluster() as cluster:
        tenant = prepare(cluster, messages)
        with psycopg.connect(cluster.dsn("prepared")) as connection:
            report = Report("ingest", "Ways into the store")
            report.conditions = conditions(connection, rows=f"{len(messages):,} (singly {len(few):,})", fsync="off")
        direct_copy = Load(with_ids, copy_into_messages)
        plain = measure(cluster, Load(with_ids, copy_into_plain), tenant, messages, PLAIN)
        bare = measure(cluster, direct_copy, tenant, messages, BARE)
        direct = measure(cluster, direct_copy, tenant, messages)
        imported = measure(cluster, Load(payload, copy_and_import), tenant, messages)
        batched = measure(cluster, Load(as_json, record_batches), tenant, messages)
        single = measure(cluster, Load(payload, record_singly), tenant, few)
        single_plain = measure(cluster, Load(with_ids, insert_singly), tenant, few, PLAIN)
    for name, run, base, base_name, goal in (
        ("COPY into a plain table", plain, plain, "itself", ""),
        ("COPY into messages without search and change log", bare, plain, "plain table", ""),
        ("COPY into messages (operator)", direct, bare, "without search and log", "at least 0.37"),
        ("COPY into import_messages and run_import()", imported, direct, "operator's COPY", "at least 0.90"),
        ("record_messages(), 1,000 each", batched, direct, "operator's COPY", ""),
        ("record_message(), one each", single, single_plain, "INSERT into a plain table", ""),
    ):
        report.add(name, run.rate, "rows/s", base_name, run.rate / base.rate, goal)
    for name, run, base, base_name in (
        ("WAL, COPY into messages without search and change log", bare, plain, "plain table"),
        ("WAL, COPY into messages", direct, bare, "without search and log"),
        ("WAL, import", imported, direct, "operator's COPY"),
        ("WAL, record_messages()", batched, direct, "operator's COPY"),
        ("WAL, record_message()", single, single_plain, "INSERT into a plain table"),
    ):
        report.add(name, run.wal, "bytes/row", base_name, run.wal / base.wal)
    report.finish(arguments)


if __name__ == "__main__":
    main()
