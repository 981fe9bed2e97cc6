"""How long erasing a guest with 10,000 messages takes, half of them archived, and whom it keeps waiting.

A second guest with as many messages, none archived, goes by plain DELETE of messages and events: what an application without
a store of this kind would do, and less. Meanwhile, and before, others write: for another guest of the same tenant and for
another tenant."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from bench.clients import percentiles
from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.store import APPLICATION, DATABASE, new_store
from tools.cluster import Cluster

MESSAGES, OTHER_GUESTS = 10_000, 1000
QUICK_MESSAGES, QUICK_OTHER_GUESTS = 1000, 100
EACH_OTHER = 20  # messages of each of the other guests
WORDS = [
    "seating",
    "menu",
    "flowers",
    "music",
    "parking",
    "shuttle",
    "vegan",
    "cake",
    "candles",
    "dress",
    "invitation",
    "rehearsal",
    "photographer",
    "garden",
    "arrival",
]
FILL = """
    WITH guest AS (
        INSERT INTO guestcomms.guests (tenant_id, display_name)
        SELECT %(tenant)s, %(name)s || n FROM generate_series(1, %(guests)s) AS n RETURNING guest_id
    ), address AS (
        INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id)
        SELECT %(tenant)s, 'email', guest_id || '@example.com', guest_id FROM guest
    ), thread AS (
        INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %(tenant)s, guest_id FROM guest RETURNING guest_id, thread_id
    ), message AS (
        INSERT INTO guestcomms.messages
            (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)
        SELECT %(tenant)s, guestcomms.uuid_v7(s.at), s.at, t.thread_id, t.guest_id,
            CASE WHEN s.n %% 2 = 0 THEN 'inbound' ELSE 'outbound' END, 'email', 'sent', 'en',
            (SELECT string_agg((%(words)s::text[])[1 + floor(random() * %(vocabulary)s)::integer], ' ')
             FROM generate_series(1, 12) AS w WHERE s.n >= w - w) || ' ' || md5(s.n::text)
        FROM thread AS t
        CROSS JOIN LATERAL (SELECT n, date_trunc('milliseconds', now() - interval '1 day' - random() * interval '350 days') AS at
            FROM generate_series(1, %(each)s) AS n) AS s
        RETURNING message_id, sent_at, guest_id
    ), event AS (
        INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind)
        SELECT %(tenant)s, guestcomms.uuid_v7(m.sent_at), m.sent_at, m.message_id, 'opened' FROM message AS m
    )
    SELECT DISTINCT guest_id FROM message"""
RECORD = "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s, language => 'en')"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'"


@dataclass
class Writer:
    """An application that records a message every few milliseconds; seconds that each took."""

    cluster: Cluster
    tenant: str
    guest: str
    times: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with psycopg.connect(self.cluster.dsn(DATABASE, APPLICATION), autocommit=True) as connection:
            connection.execute("SELECT guestcomms.use_tenant(%s, true)", [self.tenant])
            for number in range(20):
                connection.execute(RECORD, [self.guest, f"warm {number}"], prepare=True)
            while not self.stop.is_set():
                start = time.perf_counter()
                connection.execute(RECORD, [self.guest, "the shuttle and the seating of the garden"], prepare=True)
                self.times.append(1000 * (time.perf_counter() - start))
                time.sleep(0.005)


@dataclass
class Watch:
    """Whether a writer waits for a lock, looked at every millisecond or so; the longest it did without a break."""

    cluster: Cluster
    longest: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        since = None
        with psycopg.connect(self.cluster.dsn(DATABASE), autocommit=True) as connection:
            while not self.stop.is_set():
                (waiting,) = connection.execute(WAITING, [APPLICATION], prepare=True).fetchone() or (0,)
                now = time.perf_counter()
                since = (since or now) if waiting else None
                self.longest = max(self.longest, 1000 * (now - since) if since else 0.0)
                time.sleep(0.001)


def fill(connection: Connection, tenant: str, name: str, guests: int, each: int) -> list[str]:
    values = {"tenant": tenant, "name": name, "guests": guests, "each": each, "words": WORDS, "vocabulary": len(WORDS)}
    return [row[0] for row in connection.execute(FILL, values).fetchall()]


def follow(connection: Connection) -> None:
    for statement in (
        "SELECT guestcomms.refresh_warehouse(100000, '1 hour')",
        "SELECT guestcomms.refresh_term_statistics(200000)",
    ):
        while connection.execute(statement.encode()).fetchone() != (0,):
            pass


def beside_writers(
    cluster: Cluster, targets: list[tuple[str, str]], work: object, seconds: float = 0.0
) -> tuple[float, list[float], float]:
    """Runs the work while applications write; its seconds, their times, the longest wait for a lock in milliseconds."""
    writers = [Writer(cluster, tenant, guest) for tenant, guest in targets]
    watch = Watch(cluster)
    every: list[Writer | Watch] = [*writers, watch]
    threads = [threading.Thread(target=each.run) for each in every]
    for thread in threads:
        thread.start()
    time.sleep(1)
    for writer in writers:
        writer.times.clear()
    start = time.perf_counter()
    if callable(work):
        work()
    else:
        time.sleep(seconds)
    took = time.perf_counter() - start
    for each in every:
        each.stop.set()
    for thread in threads:
        thread.join()
    return took, [value for writer in writers for value in writer.times], watch.longest


def main() -> None:
    arguments = parse_arguments(__doc__)
    count, others = (QUICK_MESSAGES, QUICK_OTHER_GUESTS) if arguments.quick else (MESSAGES, OTHER_GUESTS)
    with bench_cluster() as cluster, new_store(cluster, (datetime.now(UTC) - timedelta(days=400)).date()) as connection:
        tenants = []
        for name in ("Erasing", "Beside"):
            (tenant,) = connection.execute("SELECT guestcomms.add_tenant(%s)", [name]).fetchone() or ("",)
            connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
            connection.execute("SELECT guestcomms.add_member(%s)", [APPLICATION])
            tenants.append(tenant)
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenants[0]])
        targets = [
            (tenant, fill(connection, tenant, "Other ", others if tenant == tenants[0] else 10, EACH_OTHER)[0])
            for tenant in tenants
        ]
        erased, deleted = (fill(connection, tenants[0], name, 1, count)[0] for name in ("Erased ", "Deleted "))
        connection.commit()
        connection.autocommit = True
        connection.execute("SELECT guestcomms.add_archive_policy('old', older_than => '175 days')")
        # The archive has the erased guest's older half, and that of the others; none of what is deleted.
        connection.execute(
            "SELECT guestcomms.place_hold(jsonb_build_object('guest_id', %s::text), 'baseline', blocks_archiving => true)",
            [deleted],
        )
        while connection.execute("SELECT segment_count FROM guestcomms.run_archive(2000)").fetchone() != (0,):
            pass
        follow(connection)
        connection.execute("VACUUM ANALYZE")
        report = Report("erasure", f"Erasing a guest with {count:,} messages")
        report.conditions = conditions(
            connection,
            messages=f"{2 * count + (others + 10) * EACH_OTHER:,}",
            words=f"{len(WORDS)} words and one unique in each message",
        )
        (archived,) = connection.execute(
            "SELECT coalesce(sum(message_count), 0) FROM guestcomms.archive_segments WHERE guest_id = %s", [erased]
        ).fetchone() or (0,)
        _, quiet, _ = beside_writers(cluster, targets, None, 5.0)

        def delete() -> None:
            connection.execute(
                "DELETE FROM guestcomms.message_events WHERE tenant_id = %s AND message_id IN"
                " (SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s AND guest_id = %s)",
                [tenants[0], tenants[0], deleted],
            )
            connection.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND guest_id = %s", [tenants[0], deleted])

        deleting, _, _ = beside_writers(cluster, targets, delete)
        follow(connection)
        steps: list[float] = []

        def erase() -> None:
            begun = time.perf_counter()
            connection.execute("SELECT guestcomms.erase_guest(%s)", [erased])
            steps.append(time.perf_counter() - begun)
            while True:
                begun = time.perf_counter()
                if connection.execute("SELECT guestcomms_internal.erase_batch()").fetchone() == (0,):
                    break
                steps.append(time.perf_counter() - begun)

        erasing, beside, longest = beside_writers(cluster, targets, erase)
        found = connection.execute("SELECT status, message_count FROM guestcomms.get_erasure_progress()").fetchall()
        assert found == [("done", count)], found
        calm, busy = percentiles(quiet), percentiles(beside)
        report.add(
            "erase, until verified", erasing, "s", f"DELETE of as many messages and events, {deleting:.2f} s", erasing / deleting
        )
        report.add("longest step", max(steps), "s", "the whole erasure", max(steps) / erasing)
        report.add(
            "record_message() meanwhile, p95", busy["p95"], "ms", f"without, {calm['p95']:.2f} ms", busy["p95"] / calm["p95"]
        )
        report.add(
            "record_message() meanwhile, longest", max(beside), "ms", f"without, {max(quiet):.1f} ms", max(beside) / max(quiet)
        )
        report.add("longest wait of a writer for a lock", longest, "ms", "the longest step", longest / (1000 * max(steps)))
        report.notes.append(f"{archived:,} of the messages were archived; {len(steps)} steps, each a transaction.")
        report.finish(arguments)


if __name__ == "__main__":
    main()
