"""What the warehouse costs: refreshing it beside materialized views, the change log that it follows, changes still unread."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from bench.common import Connection
from bench.warehouse_data import EVENT, MESSAGE, Span, make_rows, store_rows
from bench.warehouse_queries import View, rollup_views

LOGGED = ("messages", "message_events")
FRESH_IDS = {
    "messages": ("message", "message_id", "sent_at", MESSAGE),
    "message_events": ("event", "event_id", "occurred_at", EVENT),
}
RECENT = """
    SELECT m.message_id FROM guestcomms.messages AS m
    WHERE m.tenant_id = %s AND m.direction = 'outbound'
        AND m.sent_at >= now() - interval '30 days' ORDER BY md5(m.message_id::text) LIMIT %s
"""


def median_ms(run: Callable[[], object], times: int = 15) -> float:
    """Warm: after two runs that do not count."""
    for _ in range(2):
        run()
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        measured.append(time.perf_counter() - start)
    return 1000 * statistics.median(measured)


@contextmanager
def autocommitting(connection: Connection) -> Iterator[Connection]:
    connection.commit()
    connection.autocommit = True
    yield connection
    connection.autocommit = False


def refresh(connection: Connection) -> float:
    """Seconds of refresh_warehouse() until nothing is left."""
    with autocommitting(connection):
        start = time.perf_counter()
        while connection.execute("SELECT guestcomms.refresh_warehouse()").fetchone() != (0,):
            pass
        return time.perf_counter() - start


# Refreshing


def make_views(connection: Connection) -> list[View]:
    views = rollup_views()
    connection.execute("CREATE SCHEMA compared")
    for view in views:
        connection.execute(view.create)
        connection.execute(f"CREATE UNIQUE INDEX ON compared.{view.name} ({view.key})")
    connection.execute("ANALYZE")
    connection.commit()
    return views


def refresh_view(connection: Connection, view: View) -> float:
    with autocommitting(connection):
        start = time.perf_counter()
        connection.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY compared.{view.name}")
        return time.perf_counter() - start


def check_views(connection: Connection, views: list[View]) -> None:
    """That views and rollups hold the same: what is compared is two ways to one result."""
    for view in views:
        columns = f"{view.key}, {', '.join(view.counts)}"
        (rollup, compared) = (f"SELECT {columns} FROM {schema}.{view.name}" for schema in ("guestcomms_bi", "compared"))
        (differing,) = connection.execute(
            f"SELECT count(*) FROM (({rollup} EXCEPT ALL {compared}) UNION ALL ({compared} EXCEPT ALL {rollup})) AS d"
        ).fetchone() or (None,)
        assert differing == 0, (view.name, differing)
    connection.commit()


@dataclass(frozen=True)
class Refreshed:
    """Seconds after so many new events: the warehouse, and each view."""

    events: int
    messages: int
    warehouse: float
    views: dict[str, float]

    @property
    def all_views(self) -> float:
        return sum(self.views.values())


def refresh_after(connection: Connection, writer: Connection, views: list[View], events: int, first: int) -> Refreshed:
    """Events and the messages that come with them, an eighth as many, stored 100 rows a statement and transaction."""
    until = datetime.now(UTC)
    make_rows(connection, Span(until - timedelta(days=2), until, first, events // 8), events)
    (messages,) = connection.execute("SELECT count(*) FROM bench.message").fetchone() or (0,)
    # A refresh for the threads and such, which are not what is measured.
    refresh(connection)
    store_rows(connection, writer, 100)
    warehouse = refresh(connection)
    measured = {view.name: refresh_view(connection, view) for view in views}
    check_views(connection, views)
    return Refreshed(events, int(messages), warehouse, measured)


# The change log


@dataclass(frozen=True)
class WriteCost:
    """Rows a second with the change log, and median of the ratios to those without it."""

    name: str
    rate: float
    ratio: float


def set_log(connection: Connection, is_on: bool) -> None:
    for table in LOGGED:
        connection.execute(f"ALTER TABLE guestcomms.{table} {'ENABLE' if is_on else 'DISABLE'} TRIGGER log_insert")
    connection.commit()


def copy_batch(connection: Connection, table: str, which: Callable[[int], str], batch: int) -> float:
    """Seconds to COPY these rows under new identifiers; what is sent is made ready before."""
    source, key, time_column, columns = FRESH_IDS[table]
    fresh = columns.replace(key, f"guestcomms.uuid_v7({time_column})", 1)
    query = f"SELECT {fresh} FROM bench.{source} WHERE {which(batch)} ORDER BY place LIMIT 1000"
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        data = b"".join(bytes(block) for block in copy)
    connection.execute("SET LOCAL ROLE guestcomms_operator")
    start = time.perf_counter()
    with connection.cursor().copy(f"COPY guestcomms.{table} ({columns}) FROM STDIN") as copy:
        copy.write(data)
    connection.commit()
    return time.perf_counter() - start


def record_singly(application: Connection, messages: list[str], times: int) -> float:
    statement = "SELECT guestcomms.record_event(%s::uuid, 'opened', is_machine => true)"
    start = time.perf_counter()
    for number in range(times):
        application.execute(statement, [messages[number % len(messages)]], prepare=True)
    return time.perf_counter() - start


def of_one_tenant(_: int) -> str:
    return "tenant_id = (SELECT tenant_id FROM bench.tenant WHERE number = 1)"


def of_all_tenants(batch: int) -> str:
    return f"place > {batch % 8 * 1000}"


def write_costs(connection: Connection, application: Connection, tenant: str, rounds: int) -> list[WriteCost]:
    """Each round writes the same with and without the log, in turns: the best of three, after one that does not count."""
    until = datetime.now(UTC)
    make_rows(connection, Span(until - timedelta(days=2), until, 90_000_000, 12_000))
    messages = [str(row[0]) for row in connection.execute(RECENT, [tenant, 500])]
    connection.commit()
    kinds: dict[str, tuple[int, Callable[[int], float]]] = {
        "record_event(), one each": (200, lambda _: record_singly(application, messages, 200))
    }
    for table in LOGGED:
        kinds[f"COPY into {table}, 1,000 rows of one tenant"] = (1000, partial(copy_batch, connection, table, of_one_tenant))
        kinds[f"COPY into {table}, 1,000 rows of all tenants"] = (1000, partial(copy_batch, connection, table, of_all_tenants))
    seconds: dict[str, dict[bool, list[float]]] = {name: {True: [], False: []} for name in kinds}
    for number in range(rounds):
        for is_on in (True, False) if number % 2 else (False, True):
            set_log(connection, is_on)
            for name, (_, write) in kinds.items():
                write(2 * number)
                seconds[name][is_on].append(min(write(2 * number + batch) for batch in range(3)))
    set_log(connection, True)
    return [
        WriteCost(
            name,
            rows / statistics.median(seconds[name][True]),
            statistics.median(off / on for on, off in zip(seconds[name][True], seconds[name][False], strict=True)),
        )
        for name, (rows, _) in kinds.items()
    ]


# Unread changes


def live_latencies(connection: Connection, application: Connection, tenant: str, steps: tuple[int, ...]) -> dict[int, float]:
    """Unread events → median milliseconds of get_message_statistics() for the last 30 days by day."""
    refresh(connection)
    messages = [str(row[0]) for row in connection.execute(RECENT, [tenant, max(steps)])]
    connection.commit()
    found, unread = {}, 0
    for step in steps:
        for start in range(unread, step, 100):
            numbers = range(start, min(start + 100, step))
            events = [{"message_id": messages[number % len(messages)], "kind": "opened"} for number in numbers]
            application.execute("SELECT count(*) FROM guestcomms.record_events(%s::jsonb)", [json.dumps(events)])
        unread = step
        found[step] = median_ms(lambda: application.execute("SELECT * FROM guestcomms.get_message_statistics()").fetchall())
    return found
