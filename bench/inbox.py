"""How long an inbox takes in a store of two million messages: lists, conversations, marks, new messages, claims.

One tenant has half of the messages, in conversations of eight on average, four in five of them closed; ten others share the rest.
By one client and by sixteen at once, each a process with its own connection and tenant. Beside it in the same run: hand-written
SQL on the same tables as a prepared statement by a superuser, without functions, checks or row security, with whatever index
there is; for record_message() also the same without the triggers that keep threads in step.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
from psycopg.rows import dict_row

from bench.clients import WARM, Opener, Search, Times, many_clients, one_client, percentiles
from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Tenant
from bench.queries import Query
from bench.store import APPLICATION, DATABASE, admit_application, application, new_store
from tools.cluster import Cluster

CLIENTS = 16
MONTHS = 12
BATCH = 10_000  # threads
GOALS = {"p50": "", "p95": "less than 10 ms"}

GUESTS = """
INSERT INTO guestcomms.guests (tenant_id, display_name)
SELECT %(tenant)s, 'Guest ' || n FROM generate_series(1, %(threads)s / 2) AS n
"""
ADDRESSES = """
INSERT INTO guestcomms.guest_addresses (tenant_id, guest_id, channel, address, is_primary, is_verified)
SELECT tenant_id, guest_id, 'email', replace(lower(display_name), ' ', '') || '@example.com', true, true
FROM guestcomms.guests WHERE tenant_id = %(tenant)s
"""
WEDDINGS = """
INSERT INTO guestcomms.weddings (tenant_id, name) SELECT %(tenant)s, 'Wedding ' || n FROM generate_series(1, 200) AS n
"""
# A tenth of the open ones wait for the guest, a tenth are put aside, a third are nobody's.
THREADS = """
INSERT INTO guestcomms.threads (tenant_id, guest_id, wedding_id, subject, status, assigned_to, snoozed_until, created_at)
SELECT %(tenant)s, g.guest_id, w.wedding_id, 'Subject ' || t,
    CASE WHEN t %% 5 > 0 THEN 'closed' WHEN t %% 50 = 0 THEN 'waiting' ELSE 'open' END,
    CASE WHEN t %% 3 > 0 THEN 'staff ' || t %% 11 END, CASE WHEN t %% 50 = 5 THEN now() + interval '1 day' END,
    now() - interval '300 days' * random()
FROM generate_series(1, %(threads)s) AS t
JOIN (SELECT guest_id, row_number() OVER () AS n FROM guestcomms.guests WHERE tenant_id = %(tenant)s) AS g
    ON g.n = 1 + t %% (%(threads)s / 2)
LEFT JOIN (SELECT wedding_id, row_number() OVER () AS n FROM guestcomms.weddings WHERE tenant_id = %(tenant)s) AS w
    ON w.n = t %% 300
"""
# From one to fifteen messages a thread, by turns; what the guest wrote is read but for a third of what stands open.
MESSAGES = """
INSERT INTO guestcomms.messages
    (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body, read_at)
SELECT %(tenant)s, guestcomms.uuid_v7(m.sent_at), m.sent_at, t.thread_id, t.guest_id,
    CASE m.number %% 2 WHEN 0 THEN 'outbound' ELSE 'inbound' END,
    (ARRAY['email', 'sms', 'whatsapp', 'chat'])[1 + t.n %% 4],
    CASE m.number %% 2 WHEN 0 THEN 'delivered' ELSE 'received' END, 'en',
    'Could you tell us whether the ' || left(md5(m.sent_at::text), 8) || ' of table ' || m.number || ' is settled? '
        || repeat('We look forward to it. ', m.number %% 4),
    CASE WHEN m.number %% 2 = 1 AND (t.status = 'closed' OR t.n %% 3 > 0) THEN m.sent_at END
FROM (SELECT *, row_number() OVER () AS n FROM guestcomms.threads
    WHERE tenant_id = %(tenant)s AND thread_id = ANY (%(threads)s)) AS t
CROSS JOIN LATERAL (
    SELECT o.number, least(t.created_at + o.number * interval '5 hours', now() - o.number * interval '1 second') AS sent_at
    FROM generate_series(1, 1 + (t.n * 7 %% 15)::integer) AS o (number)) AS m
"""
QUEUED = """
INSERT INTO guestcomms.messages
    (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, body, scheduled_at)
SELECT tenant_id, guestcomms.uuid_v7(now()), now(), thread_id, guest_id, 'outbound', 'email', 'queued',
    'The shuttle leaves at nine', now()
FROM guestcomms.threads CROSS JOIN generate_series(1, 10) WHERE tenant_id = %(tenant)s LIMIT %(count)s
"""

COLUMNS = """
    t.thread_id, t.subject, t.status, t.assigned_to, g.display_name, w.name, t.unread_count, t.waiting_since,
    t.last_message_at, t.last_direction, left(m.body, 140)
FROM guestcomms.threads AS t
JOIN guestcomms.guests AS g ON g.tenant_id = t.tenant_id AND g.guest_id = t.guest_id
LEFT JOIN guestcomms.weddings AS w ON w.tenant_id = t.tenant_id AND w.wedding_id = t.wedding_id
LEFT JOIN guestcomms.messages AS m
    ON m.tenant_id = t.tenant_id AND m.message_id = t.last_message_id AND m.sent_at = t.last_message_at
WHERE t.tenant_id = %(tenant)s AND t.status <> 'closed' AND (t.snoozed_until IS NULL OR t.snoozed_until <= now())
"""
AWAY = "ORDER BY t.active_at DESC, t.thread_id DESC LIMIT 20"


@dataclass(frozen=True)
class Operation:
    """What is timed, and the same by hand; %(it)s is what it is done with, of the kind subject."""

    name: str
    ours: str
    by_hand: str
    subject: str = "nothing"
    is_writing: bool = False
    needs: str = ""  # a function that not every store has
    ends: tuple[str, str] = ("", "")  # ours and by hand: what follows for every row, and is not timed


OPERATIONS = (
    Operation("list_threads()", "SELECT * FROM guestcomms.list_threads()", f"SELECT {COLUMNS} {AWAY}"),
    Operation(
        "list_threads(sort => 'unread')",
        "SELECT * FROM guestcomms.list_threads(sort => 'unread')",
        f"SELECT {COLUMNS} ORDER BY t.unread_count = 0, t.active_at DESC LIMIT 20",
    ),
    Operation(
        "list_threads(sort => 'waiting')",
        "SELECT * FROM guestcomms.list_threads(sort => 'waiting')",
        f"SELECT {COLUMNS} AND t.guest_waits_since IS NOT NULL ORDER BY t.guest_waits_since LIMIT 20",
    ),
    Operation(
        "list_threads(assigned_to)",
        "SELECT * FROM guestcomms.list_threads(assigned_to => %(it)s)",
        f"SELECT {COLUMNS} AND t.assigned_to = %(it)s {AWAY}",
        "staff",
    ),
    Operation(
        "list_threads(channel, is_unread)",
        "SELECT * FROM guestcomms.list_threads(channel => %(it)s, is_unread => true)",
        f"SELECT {COLUMNS} AND t.last_channel = %(it)s AND t.unread_count > 0 {AWAY}",
        "channel",
    ),
    Operation(
        "list_threads(wedding_id)",
        "SELECT * FROM guestcomms.list_threads(wedding_id => %(it)s)",
        f"SELECT {COLUMNS} AND t.wedding_id = %(it)s {AWAY}",
        "wedding",
    ),
    Operation(
        "get_inbox_counts()",
        "SELECT * FROM guestcomms.get_inbox_counts()",
        "SELECT count(*), count(*) FILTER (WHERE unread_count > 0), count(*) FILTER (WHERE guest_waits_since IS NOT NULL),"
        " count(*) FILTER (WHERE assigned_to IS NULL)"
        " FROM guestcomms.threads WHERE tenant_id = %(tenant)s AND status <> 'closed'",
    ),
    Operation(
        "get_thread()",
        "SELECT * FROM guestcomms.get_thread(%(it)s)",
        "SELECT m.*,"
        " (SELECT count(*) FROM guestcomms.attachments AS a WHERE a.tenant_id = m.tenant_id AND a.message_id = m.message_id)"
        " FROM guestcomms.messages AS m WHERE m.tenant_id = %(tenant)s AND m.thread_id = %(it)s ORDER BY m.sent_at DESC LIMIT 50",
        "thread",
    ),
    Operation(
        "record_message()",
        "SELECT guestcomms.record_message(guest_id, 'inbound', 'sms', 'Is there a cot?', thread_id => thread_id)"
        " FROM (SELECT split_part(%(it)s, ' ', 1)::uuid AS thread_id, split_part(%(it)s, ' ', 2)::uuid AS guest_id) AS t",
        "INSERT INTO guestcomms.messages"
        " (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)"
        " SELECT %(tenant)s, guestcomms.uuid_v7(at), at, split_part(%(it)s, ' ', 1)::uuid, split_part(%(it)s, ' ', 2)::uuid,"
        " 'inbound', 'sms', 'received', 'en', 'Is there a cot?' FROM clock_timestamp() AS at",
        "thread and guest",
        is_writing=True,
    ),
    Operation(
        "mark_read()",
        "SELECT guestcomms.mark_read(%(it)s)",
        "UPDATE guestcomms.messages SET read_at = clock_timestamp()"
        " WHERE tenant_id = %(tenant)s AND thread_id = %(it)s AND direction = 'inbound' AND read_at IS NULL",
        "unread thread",
        is_writing=True,
    ),
    Operation(
        "claim_outbound()",
        "SELECT * FROM guestcomms.claim_outbound(%(it)s, 'email', 10, '1 minute')",
        "UPDATE guestcomms.messages AS m SET scheduled_at = clock_timestamp() + interval '1 minute'"
        " FROM (SELECT message_id, sent_at FROM guestcomms.messages"
        " WHERE tenant_id = %(tenant)s AND status = 'queued' AND channel = 'email' AND scheduled_at <= clock_timestamp()"
        " ORDER BY scheduled_at, message_id LIMIT 10 FOR UPDATE SKIP LOCKED) AS n"
        " WHERE m.tenant_id = %(tenant)s AND m.message_id = n.message_id AND m.sent_at = n.sent_at"
        " RETURNING m.message_id, m.body",
        "worker",
        is_writing=True,
        needs="guestcomms.claim_outbound",
        # As workers do: what is claimed and not sent stands before what is claimed next.
        ends=(
            "SELECT guestcomms.confirm_sent(%(message_id)s, %(claim_token)s)",
            "UPDATE guestcomms.messages SET status = 'sent' WHERE tenant_id = %(tenant)s AND message_id = %(message_id)s",
        ),
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}


@dataclass(frozen=True)
class Scale:
    """Threads of the tenant and of all others, eight messages each; calls of each operation, by one client and by all of many."""

    here: int
    others: int
    calls: int


FULL = Scale(125_000, 125_000, 400)
QUICK = Scale(8_000, 2_000, 32)


@dataclass
class Subjects:
    """What operations are done with; those that are used up are taken from the end."""

    of_kind: dict[str, list[str]] = field(default_factory=dict)

    def take(self, operation: Operation, count: int, chooser: random.Random) -> list[str]:
        known = self.of_kind[operation.subject]
        if operation.subject == "unread thread":
            taken, self.of_kind[operation.subject] = known[-count:], known[:-count]
            return taken
        return chooser.choices(known, k=count)


def load_tenant(connection: Connection, tenant: str, threads: int) -> None:
    values = {"tenant": tenant, "threads": threads}
    for statement in (GUESTS, ADDRESSES, WEDDINGS):
        connection.execute(statement, values)
    connection.execute("ANALYZE guestcomms.guests, guestcomms.guest_addresses, guestcomms.weddings")
    connection.execute(THREADS, values)
    connection.commit()
    query = "SELECT thread_id FROM guestcomms.threads WHERE tenant_id = %s ORDER BY created_at"
    found = [row[0] for row in connection.execute(query, [tenant])]
    connection.execute("ANALYZE guestcomms.threads")
    for start in range(0, len(found), BATCH):
        connection.execute(MESSAGES, {"tenant": tenant, "threads": found[start : start + BATCH]})
        connection.commit()


def load(connection: Connection, scale: Scale) -> str:
    """The tenant whose inbox is timed."""
    tenants = [connection.execute("SELECT guestcomms.add_tenant(%s)::text", [f"tenant {n}"]).fetchone() for n in range(11)]
    here, *others = [str(row[0]) for row in tenants if row]
    for tenant in others:
        load_tenant(connection, tenant, scale.others // len(others))
    load_tenant(connection, here, scale.here)
    connection.execute(QUEUED, {"tenant": here, "count": 20 * 10 * scale.calls})
    admit_application(connection, Tenant(here, {}, {}))
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    connection.autocommit = False
    return here


def find_subjects(connection: Connection, tenant: str) -> Subjects:
    def column(query: str) -> list[str]:
        return [str(row[0]) for row in connection.execute(query, {"tenant": tenant})]

    threads = """SELECT thread_id::text {} FROM guestcomms.threads WHERE tenant_id = %(tenant)s {}
        ORDER BY md5(thread_id::text) LIMIT 50000"""
    return Subjects(
        {
            "nothing": [""],
            "staff": [f"staff {number}" for number in range(11)],
            "channel": ["email", "sms", "whatsapp", "chat"],
            "worker": ["worker"],
            "wedding": column("SELECT wedding_id FROM guestcomms.weddings WHERE tenant_id = %(tenant)s"),
            "thread": column(threads.format("", "")),
            "thread and guest": column(threads.format("|| ' ' || guest_id", "AND status <> 'closed'")),
            "unread thread": column(threads.format("", "AND unread_count > 0")),
        }
    )


def run(connection: Connection, statement: str, end: str, values: dict[str, object]) -> object:
    """The statement's rows are fetched; what follows is returned."""
    cursor = connection.cursor(row_factory=dict_row).execute(statement, values, prepare=True)
    found = cursor.fetchall() if cursor.description else []
    return (lambda: [connection.execute(end, values | row, prepare=True) for row in found]) if end else None


@contextmanager
def ours(dsn: str, tenant: str) -> Iterator[Search]:
    with application(dsn, tenant) as connection:
        yield lambda query: run(connection, BY_NAME[query.kind].ours, BY_NAME[query.kind].ends[0], {"it": query.text})


@contextmanager
def by_hand(dsn: str, tenant: str) -> Iterator[Search]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield lambda query: run(
            connection, BY_NAME[query.kind].by_hand, BY_NAME[query.kind].ends[1], {"it": query.text, "tenant": tenant}
        )


def measure(opener: Opener, operation: Operation, subjects: Subjects, calls: int, clients: int) -> Times:
    """What each client warms up with, and does first, is left out: a thread is marked read once."""
    queries = [Query(operation.name, it) for it in subjects.take(operation, calls + WARM * clients, random.Random(clients))]
    times = iter(one_client(opener, queries) if clients == 1 else many_clients(opener, queries, clients))
    shares = [list(itertools.islice(times, len(queries[number::clients]))) for number in range(clients)]
    return [timed for share in shares for timed in share[WARM:]]


def add_rows(report: Report, title: str, times: Times, baseline: Times, name: str, goals: dict[str, str]) -> None:
    mine, base = (percentiles(ms for _, ms in each) for each in (times, baseline))
    for at in ("p50", "p95"):
        report.add(f"{title}, {at}", mine[at], "ms", f"{name} ({base[at]:.2f} ms)", mine[at] / base[at], goals[at])


def add_trigger_cost(report: Report, connection: Connection, opener: Opener, subjects: Subjects, calls: int) -> None:
    """record_message() with and without what keeps threads in step, by turns."""
    operation = BY_NAME["record_message()"]
    times: dict[str, Times] = {"ENABLE": [], "DISABLE": []}
    for state in ("DISABLE", "ENABLE") * 4:
        connection.execute(f"ALTER TABLE guestcomms.messages {state} TRIGGER follow_insert".encode())
        connection.commit()
        times[state] += measure(opener, operation, subjects, calls, 1)
    goals = {"p50": "ratio at most 1.15", "p95": ""}
    add_rows(report, "record_message(), inbox kept", times["ENABLE"], times["DISABLE"], "not kept", goals)


def add_batch_cost(report: Report, connection: Connection, tenant: str, subjects: Subjects, messages: int, threads: int) -> None:
    """record_messages() of so many messages in so many threads, rolled back."""
    pairs = [each.split() for each in subjects.take(BY_NAME["record_message()"], threads, random.Random(3))]
    elements = [
        {
            "guest_id": guest,
            "thread_id": thread,
            "direction": "inbound",
            "channel": "sms",
            "body": f"Is there a cot for {number}?",
        }
        for number, (thread, guest) in zip(range(messages), itertools.cycle(pairs), strict=False)
    ]
    batch = json.dumps(elements)
    seconds: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    for state in ("DISABLE", "ENABLE") * 4:
        connection.execute(f"ALTER TABLE guestcomms.messages {state} TRIGGER follow_insert".encode())
        connection.execute("SELECT guestcomms.use_tenant(%s)", [tenant])
        start = time.perf_counter()
        connection.execute("SELECT count(*) FROM guestcomms.record_messages(%s::jsonb)", [batch])
        seconds[state].append(time.perf_counter() - start)
        connection.rollback()
    kept, without = (min(seconds[state]) * 1000 for state in ("ENABLE", "DISABLE"))
    goal = "ratio at most 1.15" if threads < messages else "each in a thread of its own"
    title = f"record_messages() of {messages:,} in {threads:,} threads, inbox kept"
    report.add(title, kept, "ms", f"not kept ({without:.0f} ms)", kept / without, goal)


def main() -> None:
    arguments = parse_arguments(__doc__)
    scale = QUICK if arguments.quick else FULL
    report = Report("inbox", "The inbox of one tenant among others")
    with bench_cluster() as cluster, new_store(cluster, (datetime.now(UTC) - timedelta(days=31 * MONTHS)).date()) as connection:
        report.conditions = conditions(connection, fsync="off")
        tenant = load(connection, scale)
        subjects = find_subjects(connection, tenant)
        counted = connection.execute(
            "SELECT tenant_id::text = %s AS is_here, count(*) FROM guestcomms.messages GROUP BY 1", [tenant]
        )
        rows = dict(counted.fetchall())
        report.conditions["rows"] = (
            f"{rows[True]:,} messages in {scale.here:,} threads of the tenant, {rows[False]:,} messages of others"
        )
        report.conditions["calls"] = f"{scale.calls} of each by one client and by {CLIENTS} together"
        connection.commit()
        openers = open_both(cluster, tenant)
        for operation in OPERATIONS:
            if operation.needs and connection.execute("SELECT to_regproc(%s)", [operation.needs]).fetchone() == (None,):
                report.notes.append(f"Without {operation.name}, which this store does not have.")
                continue
            connection.commit()
            for clients in (1, CLIENTS):
                mine, hand = (measure(opener, operation, subjects, scale.calls, clients) for opener in openers)
                title = f"{operation.name}, {clients} client{'s' if clients > 1 else ''}"
                add_rows(report, title, mine, hand, "by hand", GOALS)
        report.notes.append(f"{CLIENTS} clients share the cores: with {CLIENTS} at once each waits for the others' turns.")
        add_trigger_cost(report, connection, openers[0], subjects, scale.calls)
        for threads in (125, 1000):
            add_batch_cost(report, connection, tenant, subjects, 1000, threads)
    report.finish(arguments)


def open_both(cluster: Cluster, tenant: str) -> tuple[Opener, Opener]:
    return partial(ours, cluster.dsn(DATABASE, APPLICATION), tenant), partial(by_hand, cluster.dsn(DATABASE), tenant)


if __name__ == "__main__":
    main()
