"""The warehouse: dashboards on its rollups beside the raw tables and DuckDB, refreshing it beside materialized views.

Two million events of half a million messages in twelve months, 500 businesses of sizes as Zipf has them, all made up. Every
dashboard is asked the same of each side, warm, the median of 15 times, and the answers are compared. Timed is until the client
has every row, not what a driver then makes of the values: with one written in Python that takes longer than all the rest.
DuckDB has one thread and its own tables: the raw rows, and beside them the rows of the star schema.

Refreshing is compared with materialized views of the same four rollups, computed from the raw tables and refreshed
concurrently; their rows must equal the rollups', which have sketches and sums over all tenants besides. Then: what the change
log costs those who write, how far sketches are off, sizes, and what unread changes cost those who read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Tenant
from bench.store import APPLICATION, DATABASE, admit_application, application, new_store, open_tenant
from bench.warehouse_data import Span, add_tenants, count, make_rows, store_rows
from bench.warehouse_peers import DuckDB, is_available
from bench.warehouse_queries import DASHBOARDS, Dashboard
from bench.warehouse_refresh import live_latencies, make_views, median_ms, refresh, refresh_after, write_costs
from bench.warehouse_sketches import sketch_errors
from tools.cluster import Cluster

ANALYST, OVERSEER = "bench_analyst", "bench_overseer"
# Of mid to large size: about three of a hundred messages are its.
TENANT_NUMBER = 5
DASHBOARD_GOAL = "at most 35 ms"
SIZES = """
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)
    FROM pg_class AS c
    WHERE c.relnamespace::regnamespace::text = %s AND c.relname ~ %s AND c.relkind = 'r'
"""
Rows = list[tuple[Any, ...]]
Parameters = dict[str, object]


@dataclass(frozen=True)
class Side:
    """Somebody who can be asked: for the rows, and until they are there, which is timed."""

    fetch: Callable[[str, Parameters], Rows]
    ask: Callable[[str, Parameters], object]


@dataclass(frozen=True)
class Scale:
    messages: int
    new_events: tuple[int, ...]
    rounds: int


def load(connection: Connection, writer: Connection, scale: Scale, until: datetime, report: Report) -> None:
    add_tenants(connection, 500, scale.messages)
    make_rows(connection, Span(until - timedelta(days=365), until, 1, scale.messages))
    store_rows(connection, writer, 50_000)
    connection.execute("ANALYZE")
    connection.commit()
    messages, events = count(connection, "guestcomms.messages"), count(connection, "guestcomms.message_events")
    seconds = refresh(connection)
    rows = messages + events
    report.add(f"first load: {messages:,} messages, {events:,} events", seconds, "s", "itself", 1)
    report.add("first load, messages and events", rows / seconds, "rows/s", "itself", 1)
    with_vacuum(connection)


def add_sketches(connection: Connection) -> None:
    """Where they are on this server; statistics do without them, and know less."""
    for extension in ("hll", "tdigest"):
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [extension]).fetchone() is not None:
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    connection.execute("SELECT guestcomms.upgrade_store()")
    connection.commit()


def with_vacuum(connection: Connection) -> None:
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    connection.autocommit = False


def add_logins(connection: Connection, tenant: Tenant) -> None:
    for login in (ANALYST, OVERSEER):
        connection.execute(f"CREATE ROLE {login} LOGIN; GRANT guestcomms_analyst TO {login}")
    connection.execute("SELECT guestcomms.grant_all_tenants(%s)", [OVERSEER])
    with open_tenant(connection, tenant):
        connection.execute("SELECT guestcomms.add_member(%s)", [ANALYST])
    admit_application(connection, tenant)
    connection.commit()


@contextmanager
def logins(cluster: Cluster, connection: Connection, tenant: Tenant) -> Iterator[dict[str, Side]]:
    """Who asks → how."""

    def on(asked: Connection) -> Side:
        return Side(lambda query, parameters: asked.execute(query, parameters).fetchall(), asked.execute)

    with (
        application(cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id) as app,
        psycopg.connect(cluster.dsn(DATABASE, ANALYST), autocommit=True) as analyst,
        psycopg.connect(cluster.dsn(DATABASE, OVERSEER), autocommit=True) as overseer,
    ):
        yield {"superuser": on(connection), "application": on(app), "analyst": on(analyst), "overseer": on(overseer)}
        connection.commit()


def normal(rows: Rows) -> Rows:
    """In one order, rates to nine places: they are quotients of the same whole numbers."""
    return sorted(tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in rows)


def parameters(dashboard: Dashboard, tenant: Tenant, timezone: str, until: datetime) -> Parameters:
    """The last whole month of the tenant, twelve months, or 90 days before today."""
    today = until.date()
    if dashboard.name.startswith("Q1"):
        end = today.replace(day=1)
        start = (end - timedelta(days=1)).replace(day=1)
        since, last = (datetime(day.year, day.month, 1, tzinfo=ZoneInfo(timezone)) for day in (start, end))
        return {"tenant": tenant.tenant_id, "timezone": timezone, "since": since, "until": last}
    return {"first_day": today - timedelta(days=90 if dashboard.name.startswith("Q3") else 366)}


def compare(
    report: Report, asked: dict[str, Side], duckdb: DuckDB | None, tenant: Tenant, timezone: str, until: datetime
) -> None:
    for dashboard in DASHBOARDS:
        values = parameters(dashboard, tenant, timezone, until)
        expected = normal(asked["superuser"].fetch(dashboard.raw, values))
        assert expected, dashboard.name

        def measure(side: Side, query: str, values: Parameters = values, expected: Rows = expected) -> float:
            found = normal(side.fetch(query, values))
            assert found == expected, (query, len(found), len(expected), sorted(set(found) ^ set(expected))[:6])
            return median_ms(lambda: side.ask(query, values))

        raw = measure(asked["superuser"], dashboard.raw)
        report.add(f"{dashboard.name}: raw tables", raw, "ms", "itself", 1)
        rollups = [(name, measure(asked[login], query)) for name, login, query in dashboard.rollups]
        for place, (name, ms) in enumerate(rollups):
            goal = DASHBOARD_GOAL if place == 0 or dashboard.name.startswith("Q1") else ""
            report.add(f"{dashboard.name}: {name}", ms, "ms", f"raw tables ({raw:.1f} ms)", ms / raw, goal)
        if duckdb:
            for rows, query in (("raw rows", dashboard.duckdb), ("rows of the facts", dashboard.duckdb_facts)):
                peer = measure(Side(duckdb.fetch, duckdb.ask), query)
                for place, (name, ms) in enumerate(rollups):
                    goal = "at most 1 x" if place == 0 or dashboard.name.startswith("Q1") else ""
                    report.add(f"{dashboard.name}: {name}", ms, "ms", f"DuckDB, {rows} ({peer:.1f} ms)", ms / peer, goal)


def add_sizes(report: Report, connection: Connection) -> None:
    def size(schema: str, pattern: str) -> float:
        (found,) = connection.execute(SIZES, [schema, pattern]).fetchone() or (0,)
        return float(found) / 2**20

    base = size("guestcomms", "^(messages|message_events)_(p20|default)")
    for name, pattern in (
        ("facts", "^fact_"),
        ("rollups without sketches", "^agg_(message|event)_"),
        ("sketches", "^agg_(guest|response)_"),
        ("dimensions", "^dim_"),
    ):
        part = size("guestcomms_bi", pattern)
        report.add(f"size of {name}, with indexes", part, "MiB", f"messages and events ({base:,.0f} MiB)", part / base)
    connection.commit()


def add_refreshes(report: Report, connection: Connection, writer: Connection, scale: Scale) -> None:
    views = make_views(connection)
    for place, events in enumerate(scale.new_events):
        done = refresh_after(connection, writer, views, events, (place + 1) * 10_000_000)
        name = f"refresh_warehouse() after {done.events:,} new events ({done.messages:,} new messages)"
        for view, seconds in done.views.items():
            report.add(name, done.warehouse, "s", f"{view} as a materialized view ({seconds:.2f} s)", done.warehouse / seconds)
        goal = "at most 0.05" if events == min(scale.new_events) else ""
        report.add(name, done.warehouse, "s", f"all four ({done.all_views:.2f} s)", done.warehouse / done.all_views, goal)


def main() -> None:
    arguments = parse_arguments(__doc__)
    full, quick = Scale(500_000, (10_000, 10_000, 10_000, 100_000), 21), Scale(25_000, (500, 5_000), 5)
    scale = quick if arguments.quick else full
    until = datetime.now(UTC)
    report = Report("warehouse", "The warehouse")
    with (
        bench_cluster({"work_mem": "128MB"}) as cluster,
        new_store(cluster, (until - timedelta(days=367)).date()) as connection,
        psycopg.connect(cluster.dsn(DATABASE)) as writer,
    ):
        report.conditions = conditions(connection, fsync="off", work_mem="128MB")
        connection.execute("SET timezone = 'UTC'")
        connection.commit()
        add_sketches(connection)
        load(connection, writer, scale, until, report)
        (tenant_id, timezone) = connection.execute(
            "SELECT tenant_id::text, timezone FROM bench.tenant WHERE number = %s", [TENANT_NUMBER]
        ).fetchone() or ("", "")
        tenant = Tenant(tenant_id, {}, {})
        add_logins(connection, tenant)
        duckdb = DuckDB(connection) if is_available() else None
        with logins(cluster, connection, tenant) as asked:
            compare(report, asked, duckdb, tenant, timezone, until)
        if duckdb:
            report.conditions["DuckDB"] = f"{duckdb.version}, 1 thread"
            duckdb.close()
        else:
            report.notes.append("Without duckdb, which `make bench-tools` fetches.")
        for errors in sketch_errors(connection):
            name = f"{errors.name}, {errors.groups:,} tenant-months of 100 and more"
            report.add(f"{name}: mean error", 100 * errors.mean, "%", "itself", 1)
            report.add(f"{name}: greatest error", 100 * errors.greatest, "%", "itself", 1)
        add_sizes(report, connection)
        add_refreshes(report, connection, writer, scale)
        with application(cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id) as app:
            latencies = live_latencies(connection, app, tenant.tenant_id, (0, 100, 1000))
            for unread, ms in latencies.items():
                name = f"get_message_statistics(), 30 days, {unread:,} unread events"
                report.add(name, ms, "ms", f"nothing unread ({latencies[0]:.1f} ms)", ms / latencies[0])
            for cost in write_costs(connection, app, tenant.tenant_id, scale.rounds):
                report.add(f"{cost.name}, with the change log", cost.rate, "rows/s", "without it", cost.ratio, "at least 0.85")
    report.finish(arguments)


if __name__ == "__main__":
    main()
