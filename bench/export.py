"""Exports: seconds and memory of each format for a guest with 10,000 messages, a tenth of them in Chinese.

Each message is several text messages (SMS, real) joined to about 300 characters, with two events; fifty make a conversation.
Every export is made in a session of its own, three times, and the median is told; memory is the peak of the backend's
resident set above what it had when the session was ready, shared buffers it touched left out. Then the same guest from the
archive, one with five times as many messages, an import, and the search for personal data: how fast, and on generated
sentences with known spans (presidio; odd records, for the rules were chosen on even ones) how much it finds and how much of
that is right.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import psycopg

from bench.common import Connection, Report, bench_cluster, conditions, data_directory, parse_arguments
from bench.corpus import Tenant
from bench.sms import read_messages
from bench.store import new_store, open_tenant, settle
from tools.cluster import Cluster

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ("json", "jsonl", "csv", "sql", "html", "mbox", "eml", "pdf")
GOALS = {"json": "< 0.5 s", "csv": "< 0.5 s", "pdf": "< 2 s"}
KEY = "bench"
LENGTH, FOREIGN = 300, 10  # characters of a message; one of so many is Chinese
CONVERSATION = 50  # messages
RUNS = 3
PAGE = 2000  # messages that find_personal_data() looks at in a call
LIMITS = ("export_at_once", "exports_per_hour", "detected_messages_per_hour", "imports_per_hour")
ADD = """
    INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language,
        subject, body, external_id)
    SELECT %(tenant)s, guestcomms.uuid_v7(u.at), u.at, (%(threads)s::uuid[])[1 + (u.n - 1) / %(conversation)s], %(guest)s,
        CASE u.n %% 2 WHEN 0 THEN 'inbound' ELSE 'outbound' END, 'email', 'sent', 'en', 'Letter ' || u.n, u.body,
        'x' || %(guest)s || u.n
    FROM (SELECT t.n, t.body, date_trunc('milliseconds', now() - interval '500 days' + t.n * interval '10 minutes') AS at
        FROM unnest(%(bodies)s::text[]) WITH ORDINALITY AS t (body, n)) AS u
"""
ADD_EVENTS = """
    INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind)
    SELECT m.tenant_id, guestcomms.uuid_v7(m.sent_at + k.after), m.sent_at + k.after, m.message_id, k.kind
    FROM guestcomms.messages AS m
    CROSS JOIN (VALUES ('delivered', interval '1 second'), ('opened', interval '1 hour')) AS k (kind, after)
    WHERE m.guest_id = %s
"""


def bodies(count: int) -> list[str]:
    """Texts of about LENGTH characters; every FOREIGN-th is Chinese."""
    found: dict[str, Iterator[str]] = {}
    for language in ("en", "zh"):
        found[language] = endless([message.body for message in read_messages(language)])
    return ["\n".join(joined(found["zh" if number % FOREIGN == 0 else "en"])) for number in range(count)]


def endless(texts: list[str]) -> Iterator[str]:
    while True:
        yield from texts


def joined(texts: Iterator[str]) -> list[str]:
    parts: list[str] = []
    while sum(map(len, parts)) < LENGTH:
        parts.append(next(texts))
    return parts


def add_guest(connection: Connection, tenant: Tenant, name: str, texts: list[str]) -> str:
    with open_tenant(connection, tenant):
        (guest,) = connection.execute(
            "SELECT guestcomms.add_guest(%s, email => %s)", [name, f"{name}@example.com"]
        ).fetchone() or ("",)
        open_threads = "SELECT guestcomms.open_thread('Wedding', %s) FROM generate_series(1, %s)"
        threads = [thread for (thread,) in connection.execute(open_threads, [guest, len(texts) // CONVERSATION])]
    values = {"tenant": tenant.tenant_id, "guest": guest, "threads": threads, "bodies": texts, "conversation": CONVERSATION}
    connection.execute(ADD, values)
    connection.execute(ADD_EVENTS, [guest])
    return str(guest)


@contextmanager
def session(cluster: Cluster, tenant: Tenant) -> Iterator[Connection]:
    with psycopg.connect(cluster.dsn("guestcomms"), autocommit=True) as connection:
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant.tenant_id])
        yield connection


def anonymous(pid: int) -> int:
    """Bytes of the backend's resident set that are its own."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Peak:
    """The highest anonymous() of a backend, looked at every few milliseconds."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before = pid, anonymous(pid)
        self._highest = self._before
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._is_over.wait(0.003):
            self._highest = max(self._highest, anonymous(self._pid))

    def end(self) -> float:
        """MiB above what it had."""
        self._is_over.set()
        self._thread.join()
        return (self._highest - self._before) / 1024 / 1024


def timed(cluster: Cluster, tenant: Tenant, act: Callable[[Connection], object]) -> tuple[float, float]:
    """Median seconds and MiB of RUNS, each in a new session."""
    seconds, memory = [], []
    for _ in range(RUNS):
        with session(cluster, tenant) as connection:
            connection.execute("SELECT guestcomms.anonymize_text('warm')")  # starts Python and reads the names
            peak = Peak(connection.info.backend_pid)
            try:
                start = time.perf_counter()
                act(connection)
                seconds.append(time.perf_counter() - start)
            finally:
                memory.append(peak.end())
    return median(seconds), median(memory)


def export(guest: str, formats: tuple[str, ...], key: str | None = None) -> Callable[[Connection], str]:
    def act(connection: Connection) -> str:
        statement = "SELECT guestcomms.export_guest(%s, formats => %s, recipient_key => %s)"
        (found,) = connection.execute(statement, [guest, list(formats), key]).fetchone() or ("",)
        return str(found)

    return act


def fetched(guest: str) -> Callable[[Connection], object]:
    """What an application would do by itself: ask for the rows as JSON, events with them."""
    query = """
        SELECT to_jsonb(m) - 'search', (SELECT jsonb_agg(to_jsonb(e)) FROM guestcomms.message_events AS e
            WHERE e.tenant_id = m.tenant_id AND e.message_id = m.message_id)
        FROM guestcomms.messages AS m WHERE m.guest_id = %s
    """
    return lambda connection: connection.execute(query, [guest]).fetchall()


def add_formats(report: Report, cluster: Cluster, tenant: Tenant, guest: str, count: int) -> None:
    base, _ = timed(cluster, tenant, fetched(guest))
    baseline = f"rows and events fetched as JSON ({base:.2f} s)"
    for name, formats, key, goal in [
        *((name, (name,), None, GOALS.get(name, "")) for name in FORMATS),
        ("all formats in one", FORMATS, None, ""),
        ("all formats, encrypted", FORMATS, KEY, "< 4 s"),
    ]:
        seconds, memory = timed(cluster, tenant, export(guest, formats, key))
        report.add(f"{name}, {count:,} messages", seconds, "s", baseline, seconds / base, goal)
        report.add(f"{name}: memory of the backend", memory, "MiB", "itself", 1)


def add_long(report: Report, cluster: Cluster, tenant: Tenant, guests: dict[str, str], count: int) -> None:
    """Of a guest with more messages: the same memory, time in proportion."""
    base, base_memory = timed(cluster, tenant, export(guests["usual"], ("jsonl",)))
    seconds, memory = timed(cluster, tenant, export(guests["long"], ("jsonl",)))
    report.add(f"jsonl, {5 * count:,} messages in batches", seconds, "s", f"{count:,} ({base:.2f} s)", seconds / base, "5")
    report.add("the same: memory of the backend", memory, "MiB", f"{count:,} ({base_memory:.0f} MiB)", memory / base_memory, "1")


def add_import(report: Report, cluster: Cluster, tenant: Tenant, guest: str, count: int) -> None:
    """Into an empty tenant, taken back each time; then the search for personal data."""
    with session(cluster, tenant) as connection:
        export_id = export(guest, ("jsonl",))(connection)
        parts = connection.execute("SELECT data FROM guestcomms.read_export(%s)", [export_id], binary=True).fetchall()
        data = b"".join(part for (part,) in parts)
    base, _ = timed(cluster, tenant, export(guest, ("jsonl",)))
    empty = add_tenant(cluster, "Other")
    statement = "SELECT guestcomms.import_export(%s, true)"
    seconds, memory = timed(cluster, empty, lambda connection: connection.execute(statement, [data]))
    report.add(f"import, dry run, {count:,} messages", seconds, "s", f"their export ({base:.2f} s)", seconds / base)
    report.add("import: memory of the backend", memory, "MiB", "itself", 1)
    statement = "SELECT count(*) FROM guestcomms.find_personal_data(max_rows => 10000)"
    seconds, _ = timed(cluster, tenant, lambda connection: connection.execute(statement))
    report.add("personal data looked for", PAGE / seconds, "messages/s", "itself", 1)


def add_archived(report: Report, cluster: Cluster, tenant: Tenant, guest: str, count: int) -> None:
    base, base_memory = timed(cluster, tenant, export(guest, ("jsonl",)))
    with session(cluster, tenant) as connection:
        connection.execute("SELECT guestcomms.add_archive_policy('all', older_than => '1 day')")
        connection.execute("CALL guestcomms.run_archive_batches('1 day')")
        connection.execute("VACUUM ANALYZE")
    seconds, memory = timed(cluster, tenant, export(guest, ("jsonl",)))
    report.add(f"jsonl, {count:,} messages from the archive", seconds, "s", f"from the tables ({base:.2f} s)", seconds / base)
    baseline = f"from the tables ({base_memory:.0f} MiB)"
    report.add("the same: memory of the backend", memory, "MiB", baseline, memory / base_memory)


def add_detection(report: Report, records: Path) -> None:
    sys.path[:0] = [str(ROOT / "plpython")]
    from guestcomms.personal_data import detect

    from tests.support.pii import score

    if not records.exists():
        report.notes.append("Without generated sentences to find personal data in.")
        return
    goals = {"phone": ".85"}
    odd = json.loads(records.read_text())[1::2]
    for kind, (recall, precision) in score(odd, lambda text: detect(text, "US")).items():
        goal = f">= {goals.get(kind, '.98')}" if kind != "url" else ""
        report.add(f"{kind}: recall", recall, "", "all spans", recall, goal)
        report.add(f"{kind}: precision", precision, "", "all findings", precision, goal)


def add_tenant(cluster: Cluster, name: str) -> Tenant:
    """A business with limits that a benchmark does not reach, and the key KEY."""
    with psycopg.connect(cluster.dsn("guestcomms"), autocommit=True) as connection:
        (tenant_id,) = connection.execute("SELECT guestcomms.add_tenant(%s, 'Europe/London', 'en')", [name]).fetchone() or ("",)
        tenant = Tenant(str(tenant_id), {}, {})
        with open_tenant(connection, tenant):
            connection.execute("SELECT guestcomms.set_export_key(%s, 'four words nobody guesses')", [KEY])
            for setting in LIMITS:
                connection.execute("SELECT guestcomms.set_setting(%s, '100000')", [f"privacy.{setting}"])
    return tenant


def main() -> None:
    arguments = parse_arguments(__doc__)
    count = 1_000 if arguments.quick else 10_000
    data = data_directory()
    report = Report("export", "Exports of a guest's data")
    with bench_cluster() as cluster, new_store(cluster, date.today() - timedelta(days=600)) as connection:
        connection.commit()
        report.conditions = conditions(connection, fsync="off", autovacuum="off", psycopg=psycopg.__version__)
        tenant, other = add_tenant(cluster, "Rose & Quill"), add_tenant(cluster, "Thistle & Vale")
        guests = {
            name: add_guest(connection, tenant, name, bodies(size)) for name, size in (("usual", count), ("long", 5 * count))
        }
        archived = add_guest(connection, other, "usual", bodies(count))
        settle(connection)
        add_formats(report, cluster, tenant, guests["usual"], count)
        add_long(report, cluster, tenant, guests, count)
        add_import(report, cluster, tenant, guests["usual"], count)
        add_archived(report, cluster, other, archived, count)
    add_detection(report, data / "pii" / "presidio-generated-large.json")
    report.finish(arguments)


if __name__ == "__main__":
    main()
