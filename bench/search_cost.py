"""What the search column and its index cost to write and to keep, and what Chinese needs to be found at all.

Writing: the same rows into the store's table as it is, without the search index, and without search column and index; in bulk
(an operator's COPY of IRC messages) and one transaction each (record_message()). Keeping: bytes of the vector and of the
index beside PostgreSQL's simple vector of the body, for English and Chinese text messages. Finding: substrings of two to four
characters out of random Chinese messages; every message that holds one (strpos) should be found.
"""

from __future__ import annotations

import random
import re
import statistics

import psycopg

from bench import irc, sms
from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Message, Tenant, copy_into_messages, first_day, load_tenant, payload, with_ids
from bench.ingest import Load, Measured, measure, prepare, record_singly
from bench.store import new_store, open_tenant, settle
from tools.cluster import Cluster

INDEX = "messages_search"
WITHOUT_INDEX = f"DROP INDEX guestcomms.{INDEX};"
WITHOUT_SEARCH = "ALTER TABLE guestcomms.messages DROP COLUMN search CASCADE;"
PAGE = 200
SEARCH = f"SELECT message_id::text, cursor FROM guestcomms.search_messages(%s, sort => 'recent', max_rows => {PAGE}, after => %s)"
HOLDING = "SELECT message_id::text FROM guestcomms.messages WHERE tenant_id = %s AND strpos(body, %s) > 0"
PLAIN = """
    SELECT message_id::text FROM guestcomms.messages
    WHERE tenant_id = %s AND to_tsvector('simple', body) @@ websearch_to_tsquery('simple', %s)
"""
VECTORS = """
    SELECT avg(pg_column_size(search)), avg(pg_column_size(to_tsvector('simple', body)))
    FROM guestcomms.messages WHERE tenant_id = %s
"""
INDEXES = "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(%s) WHERE isleaf"


def add_writes(report: Report, cluster: Cluster, tenant: Tenant, bulk: list[Message], single: list[Message]) -> None:
    loads = (
        ("COPY", Load(with_ids, copy_into_messages), bulk),
        ("record_message()", Load(payload, record_singly), single),
    )
    for way, load, messages in loads:
        bare = measure(cluster, load, tenant, messages, WITHOUT_SEARCH)
        for name, setup in (("search column, no index", WITHOUT_INDEX), ("search column and index", "")):
            add_write(report, f"{way}, {name}", measure(cluster, load, tenant, messages, setup), bare)


def add_write(report: Report, title: str, run: Measured, bare: Measured) -> None:
    mine, base = (1e6 * measured.seconds / measured.rows for measured in (run, bare))
    report.add(f"{title}: time", mine, "µs/message", f"without both ({base:.1f} µs)", mine / base)
    report.add(f"{title}: WAL", run.wal, "B/message", f"without both ({bare.wal:.1f} B)", run.wal / bare.wal)


def add_bytes(report: Report, connection: Connection, tenant: Tenant, name: str) -> None:
    """Of the only tenant in its store, so that the index is all its own."""
    mine, base = (float(size) for size in connection.execute(VECTORS, [tenant.tenant_id]).fetchone() or (0, 0))
    report.add(f"{name}: search vector", mine, "bytes", f"simple vector ({base:.1f} bytes)", mine / base)
    # Both built at once: an index that grew has room to spare, which is not what is compared.
    connection.execute(f"REINDEX INDEX guestcomms.{INDEX}")
    connection.execute("CREATE INDEX plain_search ON guestcomms.messages USING gin (to_tsvector('simple', body))")
    sizes = []
    for index in (INDEX, "plain_search"):
        (size,) = connection.execute(INDEXES, [f"guestcomms.{index}"]).fetchone() or (0,)
        sizes.append(int(size) / 2**20)
    report.add(f"{name}: search index", sizes[0], "MiB", f"GIN of simple vector ({sizes[1]:.1f} MiB)", sizes[0] / sizes[1])


def choose_substrings(messages: list[Message], count: int) -> list[str]:
    """Two to four neighbouring Chinese characters out of random messages."""
    chooser = random.Random(1)
    found: list[str] = []
    while len(found) < count:
        length = chooser.randint(2, 4)
        runs = [run for run in re.findall(r"[\u4e00-\u9fff]+", chooser.choice(messages).body) if len(run) >= length]
        if runs:
            run = chooser.choice(runs)
            start = chooser.randint(0, len(run) - length)
            found.append(run[start : start + length])
    return found


def search_pages(connection: Connection, query: str) -> set[str]:
    """Everything that search finds, page after page."""
    found: set[str] = set()
    after = None
    while rows := connection.execute(SEARCH, [query, after]).fetchall():
        found |= {id for id, _ in rows}
        if len(rows) < PAGE:
            break
        after = rows[-1][1]
    return found


def ids(connection: Connection, statement: str, tenant: Tenant, query: str) -> set[str]:
    return {id for (id,) in connection.execute(statement, [tenant.tenant_id, query]).fetchall()}


def add_recall(report: Report, connection: Connection, tenant: Tenant, substrings: list[str]) -> None:
    """Means over the substrings, in per cent."""
    mine, base, exact = [], [], []
    for text in substrings:
        wanted = ids(connection, HOLDING, tenant, text)
        with open_tenant(connection, tenant):
            found = search_pages(connection, text)
        mine.append(100 * len(wanted & found) / len(wanted))
        exact.append(100 * len(wanted & found) / max(len(found), 1))
        base.append(100 * len(wanted & ids(connection, PLAIN, tenant, text)) / len(wanted))
    share, plain, precision = (statistics.mean(values) for values in (mine, base, exact))
    report.add("Chinese: recall of substrings", share, "%", f"simple ({plain:.1f} %)", share / plain, "100 %")
    report.add("Chinese: of what is found, holds the substring", precision, "%", "strpos (100 %)", precision / 100)


def main() -> None:
    arguments = parse_arguments(__doc__)
    bulk = irc.read_messages(10_000 if arguments.quick else 200_000)
    single = bulk[-1_000 if arguments.quick else -5_000 :]
    limit = 3_000 if arguments.quick else None
    texts = {name: sms.read_messages(language, limit) for name, language in (("English", "en"), ("Chinese", "zh"))}
    substrings = choose_substrings(texts["Chinese"], 30 if arguments.quick else 300)
    report = Report("search_cost", "What search costs to write and keep, and Chinese")
    with bench_cluster() as cluster:
        tenant = prepare(cluster, bulk)
        rows = f"{len(bulk):,} by COPY, {len(single):,} singly; "
        rows += " and ".join(f"{len(messages):,} {name}" for name, messages in texts.items())
        with psycopg.connect(cluster.dsn("prepared")) as connection:
            report.conditions = conditions(connection, rows=rows, substrings=str(len(substrings)), fsync="off")
        add_writes(report, cluster, tenant, bulk, single)
    for name, messages in texts.items():
        with bench_cluster() as cluster, new_store(cluster, first_day(messages)) as connection:
            tenant = load_tenant(connection, name, messages)
            settle(connection)
            connection.autocommit = True
            add_bytes(report, connection, tenant, name)
            if name == "Chinese":
                add_recall(report, connection, tenant, substrings)
    report.finish(arguments)


if __name__ == "__main__":
    main()
