"""Many at once: applications write and read, two archive, one restores, jobs count; nothing is lost, doubled or stuck."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event, Lock
from uuid import UUID

import pytest

from tests.support import statistics, warehouse
from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tests.support.traffic import message, record_all

SECONDS = 10
PATIENCE_SECONDS = 120  # where the machine is busy
GUESTS = 6
OLD = 60
KINDS = ("delivered", "opened", "clicked", "failed")
KEPT = (
    "SELECT e.event_id, e.message_id FROM guestcomms.archive_segments AS s"
    " CROSS JOIN LATERAL guestcomms_internal.content_events(guestcomms_internal.read_segment(s.tenant_id, s.segment_id)) AS e"
    " WHERE s.tenant_id = %s"
)
RECORD = "SELECT guestcomms.record_event(%s, %s)"
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, guest_id => %s, max_rows => 200)"
# Hot or archived at the moment of one statement.
PLACES = (
    "SELECT m.body FROM guestcomms.messages AS m WHERE m.message_id = %s"
    " UNION ALL SELECT a.body FROM guestcomms.read_archived(%s) AS a"
)


class Ledger:
    """What writers were told is there."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.threads: dict[UUID, UUID] = {}  # of each guest, one
        self.sent_to: defaultdict[UUID, list[UUID]] = defaultdict(list)
        self.bodies: dict[UUID, str] = {}
        self.events: dict[UUID, UUID] = {}
        self.keys: dict[str, UUID] = {}
        self.is_done = Event()
        self.lock = Lock()
        self.counts: Counter[str] = Counter()

    def count(self, what: str, number: int) -> None:
        with self.lock:
            self.counts[what] += number

    def has_seen_much(self) -> bool:
        with self.lock:
            often = min(self.counts[f"worker {seed}"] for seed in range(len(WORKERS)))
            return often > 3 and min(self.counts["archived"], self.counts["restored"]) > 100

    def any_message(self, chosen: random.Random) -> UUID:
        with self.lock:
            return chosen.choice(list(self.bodies))

    def any_guest(self, chosen: random.Random) -> UUID:
        return chosen.choice(list(self.threads))


@pytest.fixture
def ledger(store: Store) -> Iterator[Ledger]:
    with Archive(store) as archive:
        archive.configure("late_after", "0")
        archive.policy(older_than="0")
        ledger = Ledger(archive)
        for _ in range(GUESTS):
            guest = archive.guest()
            thread = ledger.threads[guest] = archive.thread(guest)
            for n in range(OLD):
                body = f"the wedding menu {n}"
                message_id = archive.write(guest, thread, 100 - n, body=body)
                ledger.bodies[message_id] = body
                ledger.sent_to[guest].append(message_id)
        archive.archive(90)
        yield ledger


def write(ledger: Ledger, app: Connection, chosen: random.Random) -> None:
    """One transaction of messages, of an event of one of them and of others of their threads; one in five is taken back."""
    bodies = [f"a wedding cake {chosen.random()}" for _ in range(chosen.randint(1, 4))]
    guests = [ledger.any_guest(chosen) for _ in bodies]
    keys = [str(chosen.random()) for _ in bodies]
    is_kept = chosen.random() < 0.8
    with app.transaction(force_rollback=not is_kept):
        written = record_all(
            app,
            [
                message(
                    guest, thread_id=str(ledger.threads[guest]), body=body, language="en", direction="outbound", external_id=key
                )
                for guest, body, key in zip(guests, bodies, keys, strict=True)
            ],
        )
        with ledger.lock:
            older = [chosen.choice(ledger.sent_to[guest]) for guest in guests[:2]]
        # In threads that are held already, and in order: two whose transactions go to threads or messages the other way round
        # wait for each other.
        victims = sorted({chosen.choice(written), *older})
        told = {one(app, RECORD, victim, chosen.choice(KINDS)): victim for victim in victims}
    if is_kept:
        with ledger.lock:
            ledger.bodies.update(zip(written, bodies, strict=True))
            for guest, message_id in zip(guests, written, strict=True):
                ledger.sent_to[guest].append(message_id)
            ledger.keys.update(zip(keys, written, strict=True))
            ledger.events.update(told)


def report(ledger: Ledger, app: Connection, chosen: random.Random) -> None:
    """An event of a message by the key that the application knows it by."""
    with ledger.lock:
        if not ledger.keys:
            return
        key = chosen.choice(list(ledger.keys))
    event = one(app, "SELECT guestcomms.record_event(external_id => %s, kind => 'opened')", key)
    with ledger.lock:
        ledger.events[event] = ledger.keys[key]


def read(ledger: Ledger, root: Connection, chosen: random.Random) -> None:
    wanted = ledger.any_message(chosen)
    bodies = column(root, PLACES, wanted, wanted)
    assert bodies == [ledger.bodies[wanted]]


def find(ledger: Ledger, app: Connection, chosen: random.Random) -> None:
    found = rows(app, FIND, chosen.choice(["wedding", "menu -cake", "", "cake"]), ledger.any_guest(chosen))
    assert len({row[0] for row in found}) == len(found)


def archive(ledger: Ledger, root: Connection, chosen: random.Random) -> None:
    ledger.count("archived", one(root, "SELECT message_count FROM guestcomms.run_archive(%s)", chosen.choice([3, 20, 70])))


def restore(ledger: Ledger, app: Connection, chosen: random.Random) -> None:
    if chosen.random() < 0.5:
        named = [ledger.any_message(chosen) for _ in range(3)]
        restored = one(app, "SELECT guestcomms.restore_messages(%s)", named)
    else:
        query = "SELECT guestcomms.restore_messages(guest_id => %s, max_rows => 50)"
        restored = one(app, query, ledger.any_guest(chosen))
    ledger.count("restored", restored)


def count_anew(ledger: Ledger, root: Connection, chosen: random.Random) -> None:
    if chosen.random() < 0.5:
        warehouse.refresh(root, 300)
    else:
        statistics.refresh(root, 300)


Work = Callable[[Ledger, Connection, random.Random], None]


def keep(ledger: Ledger, work: Work, user: str, seed: int) -> None:
    """Does it again and again until all are told to stop, and counts."""
    chosen = random.Random(seed)
    connection = ledger.archive.store.connect(user, ledger.archive.tenant)
    with connection:
        while not ledger.is_done.is_set():
            work(ledger, connection, chosen)
            ledger.count(f"worker {seed}", 1)


WORKERS: list[tuple[Work, str]] = [
    *[(write, "app_login")] * 3,
    (report, "app_login"),
    *[(read, "postgres")] * 2,
    (find, "app_login"),
    *[(archive, "postgres")] * 2,
    *[(restore, "app_login")] * 2,
    (count_anew, "postgres"),
]


def test_all_at_once(ledger: Ledger) -> None:
    archive = ledger.archive
    with ThreadPoolExecutor(len(WORKERS)) as pool:
        working = [pool.submit(keep, ledger, work, user, seed) for seed, (work, user) in enumerate(WORKERS)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        wait(working, SECONDS, FIRST_EXCEPTION)
        while not ledger.has_seen_much() and time.monotonic() < deadline and not any(worker.done() for worker in working):
            wait(working, 1, FIRST_EXCEPTION)
        ledger.is_done.set()
        for worker in working:
            worker.result()
    assert ledger.has_seen_much(), ledger.counts
    check_ledger(ledger)
    archive.archive()
    assert archive.hot() == set()
    assert archive.snapshot("message_events") == {"message_events": []}
    check_ledger(ledger)

    for _ in range(2):
        statistics.refresh_all(archive.root)
        warehouse.refresh_all(archive.root)
        facts = "SELECT message_id FROM guestcomms_bi.fact_message WHERE tenant_id = %s"
        assert sorted(column(archive.root, facts, archive.tenant)) == sorted(ledger.bodies)
        events = "SELECT event_id FROM guestcomms_bi.fact_message_event WHERE tenant_id = %s"
        assert sorted(column(archive.root, events, archive.tenant)) == sorted(ledger.events)
        counted = "SELECT message_count FROM guestcomms.search_statistics WHERE tenant_id = %s"
        assert one(archive.root, counted, archive.tenant) == len(ledger.bodies)
        archive.restore()
    assert archive.archived() == set()
    check_ledger(ledger)
    bodies = rows(archive.root, "SELECT message_id, body FROM guestcomms.messages WHERE tenant_id = %s", archive.tenant)
    assert dict(bodies) == ledger.bodies


def check_ledger(ledger: Ledger) -> None:
    """What writers were told is there, once, and nothing else."""
    archive = ledger.archive
    hot, archived = archive.hot(), archive.archived()
    assert not hot & archived
    assert hot | archived == set(ledger.bodies)
    events = rows(archive.root, "SELECT event_id, message_id FROM guestcomms.message_events WHERE tenant_id = %s", archive.tenant)
    events += rows(archive.root, KEPT, archive.tenant)
    assert len(events) == len(dict(events))
    assert dict(events) == ledger.events
    assert archive.damage() == []
