"""How long a search takes in a store of two million real messages, in a tenant that grows from 50,000 to 500,000 of them.

Five kinds of queries (bench/queries.py), 100 of each, by one client and by eight at once. Beside it in the same run: text
search by hand on the same table as a prepared statement (websearch_to_tsquery, ts_rank over all matches, the best 20,
ts_headline of those), and tantivy, a library, in the benchmark's process with an index of this tenant alone, which knows no
other tenants, transactions or network. The messages are those of an IRC channel, repeated over earlier dates and in other
tenants; every third sender's are outbound.
"""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from bench.clients import Opener, Times, many_clients, one_client, percentiles
from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Message, Tenant, add_tenant, copy_into_messages, first_day, load_tenant, with_ids
from bench.engines import is_available
from bench.irc import read_repeated
from bench.queries import COMMON, KINDS, Query, make_queries
from bench.searchers import OURS, TantivyMessages, ours, plain, plain_statement
from bench.store import APPLICATION, DATABASE, admit_application, new_store, open_tenant, settle
from tools.cluster import Cluster

CLIENTS = 8
BATCH = 50_000
ELSEWHERE = "hippopotamus"
GOALS = {"p50": "at most 25 ms", "p95": "at most 50 ms"}


@dataclass(frozen=True)
class Scale:
    """Messages of the tenant before and after it grew, of all others together, and queries of a kind."""

    small: int
    large: int
    others: int
    queries: int


FULL = Scale(50_000, 500_000, 1_500_000, 100)
QUICK = Scale(5_000, 30_000, 30_000, 20)


@dataclass(frozen=True)
class Measured:
    """Times at one size of the tenant; tantivy's are empty where it is not installed."""

    ours: Times
    plain: Times
    tantivy: Times
    ours_many: Times
    plain_many: Times


def load_others(connection: Connection, messages: list[Message], count: int) -> None:
    """Tenants as large as this one may become; every second message of the first holds a word that this one lacks."""
    for number in range(-(-count // len(messages))):
        held = messages[-min(len(messages), count - number * len(messages)) :]
        if number == 0:
            held = [replace(m, body=f"{m.body} {ELSEWHERE}") if place % 2 else m for place, m in enumerate(held)]
        load_tenant(connection, f"other {number + 1}", held)


def load_here(connection: Connection, tenant: Tenant, messages: list[Message]) -> None:
    for start in range(0, len(messages), BATCH):
        copy_into_messages(connection, tenant, with_ids(connection, tenant, messages[start : start + BATCH]))
        connection.commit()
    settle(connection)


def openers(cluster: Cluster, tenant: Tenant) -> tuple[Opener, Opener]:
    application = cluster.dsn(DATABASE, APPLICATION)
    return partial(ours, application, tenant.tenant_id), partial(plain, cluster.dsn(DATABASE), tenant.tenant_id)


def measure(cluster: Cluster, tenant: Tenant, messages: list[Message], queries: list[Query]) -> Measured:
    open_ours, open_plain = openers(cluster, tenant)
    shuffled = random.Random(1).sample(queries, len(queries))
    tantivy = one_client(lambda: nullcontext(TantivyMessages(messages).search), shuffled) if is_available("tantivy") else []
    return Measured(
        one_client(open_ours, shuffled),
        one_client(open_plain, shuffled),
        tantivy,
        many_clients(open_ours, shuffled, CLIENTS),
        many_clients(open_plain, shuffled, CLIENTS),
    )


def of_kind(times: Times, kind: str | None) -> dict[str, float]:
    return percentiles(ms for name, ms in times if kind in (None, name))


def add_comparison(report: Report, title: str, times: Times, baseline: Times, name: str, goals: dict[str, str]) -> None:
    """p50, p95 and p99 over all kinds; goals by percentile."""
    mine, base = of_kind(times, None), of_kind(baseline, None)
    for at, value in mine.items():
        report.add(f"{title}, {at}", value, "ms", f"{name} ({base[at]:.1f} ms)", value / base[at], goals.get(at, ""))


def add_kinds(report: Report, size: str, measured: Measured) -> None:
    """p50 and p95 of every kind, by one client."""
    for kind in KINDS:
        mine = of_kind(measured.ours, kind)
        for name, times in (("ts_rank over all", measured.plain), ("tantivy", measured.tantivy)):
            for at in ("p50", "p95") if times else ():
                base = of_kind(times, kind)[at]
                goal = "at most 0.20" if (kind, name, at) == (COMMON, "ts_rank over all", "p95") else ""
                report.add(f"{size}: {kind}, {at}", mine[at], "ms", f"{name} ({base:.1f} ms)", mine[at] / base, goal)


def add_size(report: Report, messages: int, measured: Measured) -> None:
    size = f"{messages:,}"
    add_kinds(report, size, measured)
    add_comparison(report, f"{size}: all kinds", measured.ours, measured.plain, "ts_rank over all", GOALS)
    if measured.tantivy:
        goals = dict.fromkeys(GOALS, "ratio at most 2")
        add_comparison(report, f"{size}: all kinds", measured.ours, measured.tantivy, "tantivy", goals)
    name = f"ts_rank over all, {CLIENTS} clients"
    add_comparison(report, f"{size}: all kinds, {CLIENTS} clients", measured.ours_many, measured.plain_many, name, {})


def add_growth(report: Report, scale: Scale, small: Measured, large: Measured) -> None:
    for kind in (None, *KINDS):
        before, after = of_kind(small.ours, kind)["p95"], of_kind(large.ours, kind)["p95"]
        goal = "" if kind else "ratio at most 1.3"
        title = f"{scale.large:,}: {kind or 'all kinds'}, p95"
        report.add(title, after, "ms", f"at {scale.small:,} ({before:.1f} ms)", after / before, goal)


def buffers(connection: Connection, statement: str, values: list[object]) -> int:
    """Pages touched by the second run, when catalogs and plans are warm."""
    for _ in range(2):
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values).fetchone() or ("",)
    found = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def add_buffers(report: Report, connection: Connection, tenant: Tenant, common: str) -> None:
    for name, word in (("a common word", common), ("common elsewhere, absent here", ELSEWHERE)):
        with open_tenant(connection, tenant):
            mine = buffers(connection, OURS, [word, None, None])
        base = buffers(connection, *plain_statement(Query(COMMON, word), tenant.tenant_id))
        report.add(f"buffers, {name}", mine, "pages", f"ts_rank over all ({base:,})", mine / max(base, 1))
    (total,) = connection.execute("SELECT sum(relpages) FROM pg_class WHERE relname LIKE 'messages_p%'").fetchone() or (0,)
    connection.commit()
    report.notes.append(f"The messages' partitions and their indexes have {int(total):,} pages.")


def main() -> None:
    arguments = parse_arguments(__doc__)
    scale = QUICK if arguments.quick else FULL
    messages = read_repeated(scale.large)
    newest = messages[-scale.small :]
    queries = make_queries(newest, scale.queries)
    with bench_cluster() as cluster, new_store(cluster, first_day(messages)) as connection:
        report = Report("search_latency", "First search in one tenant among others")
        report.conditions = conditions(
            connection,
            rows=f"{scale.large:,} of the tenant, {scale.others:,} of others",
            queries=f"{scale.queries} of each kind",
            fsync="off",
        )
        load_others(connection, messages, scale.others)
        tenant = add_tenant(connection, "here", messages)
        admit_application(connection, tenant)
        load_here(connection, tenant, newest)
        small = measure(cluster, tenant, newest, queries)
        load_here(connection, tenant, messages[: -scale.small])
        large = measure(cluster, tenant, messages, queries)
        add_size(report, scale.small, small)
        add_size(report, scale.large, large)
        add_growth(report, scale, small, large)
        add_buffers(report, connection, tenant, next(query.text for query in queries if query.kind == COMMON))
    if not large.tantivy:
        report.notes.append("Without tantivy, which `make bench-tools` fetches.")
    report.finish(arguments)


if __name__ == "__main__":
    main()
