"""The archive: how small old messages become, how fast they go there and come back, what reading and searching them costs.

Three collections, each in a store of its own: an IRC channel and English text messages (real), and messages of the demo,
which are written from templates, with their events. All but the newest twentieth lies before a cut-off at a month's end and
is archived; compared are the bytes on disk of just these months, with indexes, before and after. The same texts are given to
gzip (each alone), to Zstandard (level 19, a thousand at once) and, with all columns, to Parquet (pyarrow, Zstandard 19).
Whatever was archived is restored in the end, and every row compared with what it was.

A store is settled before: statistics of words and the warehouse are refreshed, then VACUUM ANALYZE; after archiving the
emptied months are released, then VACUUM again. Autovacuum is on. Then writers, readers, searches and the archive run at once,
by pgbench at fixed rates, and codecs are predicted in a mixed collection.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg

from bench.archive_data import Collection, Loaded, add_policies, loaded, move_before, read_collections, settle_all
from bench.archive_latency import (
    add_reads,
    add_runs,
    add_same_results,
    add_searches,
    archived_queries,
    rare_results,
    read_times,
    run_times,
    search_times,
)
from bench.archive_peers import is_available, measure_peers
from bench.archive_predictor import add_predictor
from bench.archive_ratios import add_codecs, add_dictionaries, add_ratios, learned_texts
from bench.archive_sizes import add_sizes, hot_sizes
from bench.archive_traffic import add_traffic
from bench.common import Connection, Report, conditions, parse_arguments
from bench.queries import Query
from bench.store import open_tenant
from bench.warehouse_refresh import autocommitting

TEXTS = """
    SELECT count(*), sum(octet_length(body) + coalesce(octet_length(subject), 0)) FROM guestcomms.messages WHERE sent_at < %s
"""
CHOSEN = """
    SELECT message_id::text FROM guestcomms.messages WHERE tenant_id = %s AND sent_at < %s ORDER BY md5(message_id::text) LIMIT %s
"""
Digests = dict[str, str]


@dataclass(frozen=True)
class Scale:
    reads: int
    runs: int
    queries: int
    sample: int
    seconds: int
    mixed: int


FULL = Scale(500, 400, 50, 4_000, 60, 4_000)
QUICK = Scale(50, 60, 5, 300, 10, 1_000)


def digests(connection: Connection) -> Digests:
    """Of every message and event with all columns."""
    found: Digests = {}
    for table, key in (("messages", "message_id"), ("message_events", "event_id")):
        found |= dict(connection.execute(f"SELECT t.{key}::text, md5(t::text) FROM guestcomms.{table} AS t").fetchall())
    connection.commit()
    return found


def train_dictionaries(store: Loaded) -> float:
    """Seconds, in which the first run would have to wait for it."""
    start = time.perf_counter()
    for tenant in store.tenants:
        with open_tenant(store.connection, tenant):
            store.connection.execute("SELECT guestcomms.train_archive_dictionary()")
        store.connection.commit()
    return time.perf_counter() - start


def archive_all(store: Loaded) -> float:
    """Seconds until nothing older than the cut-off is left, then the space is given back."""
    with autocommitting(store.connection):
        start = time.perf_counter()
        store.connection.execute("CALL guestcomms.run_archive_batches('1 day')")
        seconds = time.perf_counter() - start
        while store.connection.execute("SELECT guestcomms_internal.release_empty_months()").fetchone() != (0,):
            pass
        store.connection.execute("VACUUM ANALYZE")
    return seconds


def restore_all(store: Loaded) -> tuple[int, float]:
    """How many messages, and seconds."""
    restored, start = 0, time.perf_counter()
    with autocommitting(store.connection):
        for tenant in store.tenants:
            with open_tenant(store.connection, tenant):
                while True:
                    statement = "SELECT guestcomms.restore_messages(since => '-infinity', max_rows => 1000)"
                    (count,) = store.connection.execute(statement).fetchone() or (0,)
                    if count == 0:
                        break
                    restored += int(count)
    return restored, time.perf_counter() - start


def add_equality(report: Report, name: str, after: Digests, before: Digests) -> None:
    differing = sum(after.get(key) != before.get(key) for key in after.keys() | before.keys())
    title = f"{name}: rows that differ after restoring all"
    report.add(title, differing, "rows", f"messages and events ({len(before):,})", differing / len(before), "0")


def archived_count(connection: Connection) -> int:
    (count,) = connection.execute("SELECT coalesce(sum(message_count), 0) FROM guestcomms.archive_segments").fetchone() or (0,)
    connection.commit()
    return int(count)


def measure(report: Report, collection: Collection, store: Loaded, scale: Scale) -> list[Query]:
    """All but the traffic; returns the queries, which only the collections of one tenant have."""
    name, connection, cutoff, tenant = collection.name, store.connection, store.cutoff, store.tenants[0]
    before, rows = hot_sizes(connection, cutoff), digests(connection)
    (messages, texts) = map(int, connection.execute(TEXTS, [cutoff]).fetchone() or (0, 0))
    ids = [row[0] for row in connection.execute(CHOSEN, [tenant.tenant_id, cutoff, scale.reads]).fetchall()]
    connection.commit()
    peers = measure_peers(connection, cutoff) if is_available() else None
    learned = learned_texts(connection, store.tenants)
    moved = [m for m in move_before(collection.messages, cutoff) if m.sent_at < cutoff] if collection.messages else []
    queries = archived_queries(moved, scale.queries) if moved else []
    hot_reads = read_times(store.cluster, tenant, ids, False)
    hot_searches = search_times(store.cluster, tenant, queries) if queries else []
    hot_found = rare_results(store.cluster, tenant, queries)

    add_policies(connection, store.tenants, cutoff)
    training = train_dictionaries(store)
    runs = run_times(store.cluster, tenant, scale.runs)
    first = archived_count(connection)
    seconds = archive_all(store)
    archived = archived_count(connection)
    if archived != messages:
        report.notes.append(f"{name}: {archived:,} messages were archived, {messages:,} were sent before the cut-off.")
    add_sizes(report, connection, name, before, cutoff, archived)
    add_ratios(report, connection, name, collection.goal, texts, peers, scale.sample)
    add_codecs(report, connection, name)
    add_dictionaries(report, connection, name, learned)
    report.add(f"{name}: training a dictionary", training / len(store.tenants), "s", "itself", 1)
    add_reads(report, name, read_times(store.cluster, tenant, ids, True), hot_reads)
    add_runs(report, name, runs)
    if queries:
        add_searches(report, name, search_times(store.cluster, tenant, queries), hot_searches)
        add_same_results(report, name, rare_results(store.cluster, tenant, queries), hot_found)
    into = (archived - first) / seconds
    report.add(f"{name}: into the archive", into, "rows/s", "itself", 1)
    restored, seconds = restore_all(store)
    title = f"{name}: restored, {restored:,} messages"
    report.add(title, restored / seconds, "rows/s", f"into the archive ({into:,.0f})", restored / seconds / into)
    add_equality(report, name, digests(connection), rows)
    return queries


def main() -> None:
    arguments = parse_arguments(__doc__)
    scale = QUICK if arguments.quick else FULL
    report = Report("archive", "The archive")
    for collection in read_collections(arguments.quick):
        with loaded(collection) as store:
            if not report.conditions:
                report.conditions = conditions(store.connection, fsync="off", autovacuum="on", psycopg=psycopg.__version__)
            queries = measure(report, collection, store, scale)
            if collection.name == "IRC":
                settle_all(store.connection)
                add_traffic(report, store, queries, scale.seconds)
    add_predictor(report, scale.mixed)
    if not is_available():
        report.notes.append("Without pyarrow and zstandard, which `make bench-tools` fetches.")
    report.finish(arguments)


if __name__ == "__main__":
    main()
