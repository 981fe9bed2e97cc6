"""Writers, readers and searches beside the archive, each a pgbench; what is there afterwards is counted by identifier."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.archive_data import Loaded
from bench.clients import percentiles
from bench.common import Connection, Report
from bench.queries import Query
from bench.store import APPLICATION, DATABASE
from bench.warehouse_refresh import autocommitting

SOURCE = "bench-traffic"
OPEN = "\\if :opened = 0\nSELECT guestcomms.use_tenant('{tenant}', true);\n\\set opened 1\n\\endif\n"
KEY = "concat(:round, '-', :client_id, '-', :number)"
NEXT = "\\set number :number + 1\n\\set n random(1, :targets)\n"
# Messages come late into old months, events to old messages, archived or not.
RECORD_MESSAGE = (
    "SELECT guestcomms.record_message(t.guest_id, 'inbound', 'chat', 'written meanwhile, ' || t.n, sent_at => t.sent_at, "
    f"thread_id => t.thread_id, external_id => {KEY}, source => '{SOURCE}', language => 'en') "
    "FROM bench.target AS t WHERE t.n = :n;\n"
)
RECORD_EVENT = (
    "SELECT guestcomms.record_event(t.message_id, 'opened', occurred_at => t.sent_at + interval '1 hour', "
    f"source => '{SOURCE}', event_external_id => {KEY}) FROM bench.target AS t WHERE t.n = :n;\n"
)
READ = "SELECT body FROM guestcomms.read_archived((SELECT t.message_id FROM bench.target AS t WHERE t.n = :n));\n"
SEARCH = (
    "\\set q random(1, :queries)\n"
    "SELECT count(*) FROM guestcomms.search_messages((SELECT q.text FROM bench.query AS q WHERE q.n = :q));\n"
)
# By default 200 messages a transaction; larger ones hold their locks longer.
ARCHIVE = "archive"
BATCHES = "CALL guestcomms.run_archive_batches('1 second', {size});\n"
DEFAULT, LARGE = 200, 1000
MESSAGE_IDS = """
    SELECT message_id::text FROM guestcomms.messages
    UNION ALL SELECT unnest(message_ids)::text FROM guestcomms.archive_segments
"""
EVENT_IDS = """
    SELECT event_id::text FROM guestcomms.message_events
    UNION ALL
    SELECT e.event_id::text FROM guestcomms.archive_segments AS s
    CROSS JOIN LATERAL guestcomms_internal.content_events(guestcomms_internal.read_segment(s.tenant_id, s.segment_id)) AS e
"""

# Of archived messages, in the hot tables, and noted nowhere: no run would write them into a segment.
STRAY_EVENTS = """
    SELECT count(*) FROM guestcomms.message_events AS e
    JOIN (SELECT s.tenant_id, i.id FROM guestcomms.archive_segments AS s CROSS JOIN unnest(s.message_ids) AS i (id)) AS a
        ON a.tenant_id = e.tenant_id AND a.id = e.message_id
    WHERE NOT EXISTS (SELECT FROM guestcomms_internal.late_details AS d
        WHERE d.tenant_id = e.tenant_id AND d.message_id = e.message_id)
"""


@dataclass(frozen=True)
class Client:
    """One pgbench: name and statement of each script, how many connections, and transactions a second (0: as many as go)."""

    scripts: dict[str, str]
    connections: int
    rate: int


CLIENTS = (
    Client({"record_message()": RECORD_MESSAGE, "record_event()": RECORD_EVENT}, 2, 60),
    Client({"read_archived()": READ}, 1, 20),
    Client({"search_messages()": SEARCH}, 1, 4),
)
Latencies = dict[str, list[float]]


@dataclass(frozen=True)
class Round:
    """Milliseconds of every transaction by script, deadlocks and other failures."""

    latencies: Latencies
    failures: int


def prepare(connection: Connection, tenant_id: str, queries: list[Query]) -> dict[str, int]:
    """What clients choose from: a thousand messages of the archive and of those about to go there, and queries."""
    connection.execute("CREATE SCHEMA bench")
    connection.execute(
        """CREATE TABLE bench.target AS
        SELECT row_number() OVER (ORDER BY md5(m.message_id::text)) AS n, m.* FROM (
            (SELECT message_id, guest_id, thread_id, sent_at FROM guestcomms.messages WHERE tenant_id = %(tenant)s
                AND sent_at < (SELECT cutoff_at FROM guestcomms.archive_policies WHERE tenant_id = %(tenant)s)
                ORDER BY md5(message_id::text) LIMIT 500)
            UNION ALL
            (SELECT i.id, s.guest_id, s.thread_ids[1], guestcomms.uuid_v7_time(i.id) FROM guestcomms.archive_segments AS s,
                unnest(s.message_ids) AS i (id) WHERE s.tenant_id = %(tenant)s ORDER BY md5(i.id::text) LIMIT 500)
        ) AS m""",
        {"tenant": tenant_id},
    )
    connection.execute(
        "CREATE TABLE bench.query AS SELECT n, text FROM unnest(%s::text[]) WITH ORDINALITY AS q (text, n)",
        [[q.text for q in queries]],
    )
    connection.execute(f"CREATE UNIQUE INDEX ON bench.target (n); GRANT USAGE ON SCHEMA bench TO {APPLICATION}")
    connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA bench TO {APPLICATION}")
    (targets,) = connection.execute("SELECT count(*) FROM bench.target").fetchone() or (0,)
    connection.commit()
    return {"targets": int(targets), "queries": len(queries)}


def run_round(loaded: Loaded, clients: tuple[Client, ...], number: int, seconds: int, variables: dict[str, int]) -> Round:
    """All clients at once; the archive's connects as superuser and works for all tenants, the others as the application."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    opened = OPEN.format(tenant=loaded.tenants[0].tenant_id)
    latencies: Latencies = defaultdict(list)
    failures = 0
    with TemporaryDirectory(prefix="gc-bench-") as name:
        running: list[tuple[Client, Path, subprocess.Popen[str]]] = []
        for place, client in enumerate(clients):
            prefix, files = Path(name) / f"log{place}", []
            for script, text in client.scripts.items():
                file = Path(name) / f"{place} {script}.sql"
                file.write_text(text if script == ARCHIVE else opened + NEXT + text)
                files.append(f"--file={file}")
            user = "postgres" if ARCHIVE in client.scripts else APPLICATION
            defined = variables | {"round": number, "opened": 0, "number": 0}
            command = [
                *(str(loaded.cluster.installation.bindir / "pgbench"), "--no-vacuum", "--log", f"--log-prefix={prefix}"),
                *(f"--client={client.connections}", f"--time={seconds}", *files),
                *(f"--define={key}={value}" for key, value in defined.items()),
                *([f"--rate={client.rate}"] if client.rate else []),
                loaded.cluster.dsn(DATABASE, user),
            ]
            started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            running.append((client, prefix, started))
        for client, prefix, process in running:
            _, errors = process.communicate()
            failures += process.returncode != 0 or "error" in errors.lower()
            scripts = list(client.scripts)
            for log in prefix.parent.glob(f"{prefix.name}.*"):
                for line in log.read_text().splitlines():
                    # client, number, microseconds, script, seconds, microseconds; with a rate also how late it began
                    fields = line.split()
                    if fields[2].isdigit():
                        late = int(fields[6]) if client.rate else 0
                        latencies[scripts[int(fields[3])]].append((int(fields[2]) - late) / 1000)
                    else:
                        failures += 1
    return Round(dict(latencies), failures)


def identifiers(connection: Connection, query: str) -> list[str]:
    found = [row[0] for row in connection.execute(query.encode()).fetchall()]
    connection.commit()
    return found


def new_identifiers(connection: Connection, table: str, column: str) -> list[str]:
    return identifiers(connection, f"SELECT {column}::text FROM guestcomms.{table} WHERE source = '{SOURCE}'")


def moved_messages(connection: Connection) -> int:
    (count,) = connection.execute("SELECT sum(message_count) FROM guestcomms.archive_runs").fetchone() or (0,)
    connection.commit()
    return int(count)


def deadlocks(connection: Connection) -> int:
    (count,) = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone() or (0,)
    connection.commit()
    return int(count)


def add_traffic(report: Report, loaded: Loaded, queries: list[Query], seconds: int) -> None:
    """First without the archive at work, then with it: on late messages, on late events, and on all that is old."""
    connection = loaded.connection
    with autocommitting(connection):
        # What comes late is written into its segment at once, or the archive would not touch it in this time.
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [loaded.tenants[0].tenant_id])
        connection.execute("SELECT guestcomms.set_setting('archive.late_after', '0')")
        connection.execute("SELECT guestcomms.run_archive(max_rows => 2000)")
        connection.execute("RESET guestcomms.context")
    variables = prepare(connection, loaded.tenants[0].tenant_id, queries)
    messages, events = identifiers(connection, MESSAGE_IDS), identifiers(connection, EVENT_IDS)
    before = moved_messages(connection)
    alone = run_round(loaded, CLIENTS, 1, seconds, variables)
    large = run_round(loaded, (*CLIENTS, Client({ARCHIVE: BATCHES.format(size=LARGE)}, 1, 0)), 2, seconds, variables)
    moved_by_large = moved_messages(connection) - before
    together = run_round(loaded, (*CLIENTS, Client({ARCHIVE: BATCHES.format(size=DEFAULT)}, 1, 0)), 3, seconds, variables)
    moved = moved_messages(connection) - before - moved_by_large
    for script in [script for client in CLIENTS for script in client.scripts]:
        mine, base = together.latencies[script], alone.latencies[script]
        for at in ("p50", "p95"):
            value, against = percentiles(mine)[at], percentiles(base)[at]
            title = f"IRC, all at once: {script}, {at}"
            report.add(title, value, "ms", f"without the archive at work ({against:.1f} ms)", value / against)
        title = f"IRC, all at once: {script}, longest of {len(mine):,}"
        report.add(title, max(mine), "ms", f"without the archive at work ({max(base):.1f} ms)", max(mine) / max(base))
        least = max(large.latencies[script])
        report.add(title, max(mine), "ms", f"with batches of {LARGE:,} ({least:.1f} ms)", max(mine) / least)
    rate = moved_by_large / seconds
    base_name = f"with batches of {LARGE:,} ({rate:,.0f})"
    report.add("IRC, all at once: archived meanwhile", moved / seconds, "rows/s", base_name, moved / max(moved_by_large, 1))
    report.add("IRC, all at once: deadlocks", deadlocks(connection), "", "itself", 1, "0")
    report.add("IRC, all at once: other failures", alone.failures + large.failures + together.failures, "", "itself", 1, "0")
    for name, script, known, query, keys in (
        ("messages", "record_message()", messages, MESSAGE_IDS, ("message_keys", "message_id")),
        ("events", "record_event()", events, EVENT_IDS, ("event_keys", "event_id")),
    ):
        recorded = sum(len(done.latencies[script]) for done in (alone, large, together))
        new, there = new_identifiers(connection, *keys), identifiers(connection, query)
        lost = len(set(known + new) ^ set(there)) + abs(recorded - len(set(new)))
        doubled = len(there) - len(set(there))
        report.add(f"IRC, all at once: {name} lost or doubled", lost + doubled, "", f"{len(known) + recorded:,}", 0, "0")
    (stray,) = connection.execute(STRAY_EVENTS).fetchone() or (0,)
    connection.commit()
    report.add("IRC, all at once: late events that no run would find", int(stray), "", "itself", 1, "0")
