"""Many at once in the same conversations: counts are those of a recount, nobody deadlocks, pages stay as they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.inbox import kept, recount
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tests.support.traffic import message, record_all

THREADS = 6
ROUNDS = 40
LIST = "SELECT thread_id, cursor FROM guestcomms.list_threads(max_rows => 2, after => %s)"


class Room:
    """A tenant with a few conversations that everybody works on."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.guest = archive.guest()
        self.threads = [archive.thread(self.guest) for _ in range(THREADS)]
        for thread in self.threads:
            archive.write(self.guest, thread, 20, direction="inbound")
            archive.write(self.guest, thread, 19.9, direction="outbound", status="sent")


@pytest.fixture
def room(store: Store) -> Room:
    return Room(Archive(store))


def write_batches(room: Room, app: Connection, chosen: random.Random) -> None:
    """Of overlapping threads, in whatever order they come."""
    record_all(
        app,
        [
            message(room.guest, thread_id=str(thread), direction=chosen.choice(["inbound", "outbound"]))
            for thread in chosen.choices(room.threads, k=chosen.randint(1, 2 * THREADS))
        ],
    )


def write_one(room: Room, app: Connection, chosen: random.Random) -> None:
    """One webhook; one in five is taken back."""
    with app.transaction(force_rollback=chosen.random() < 0.2):
        record_all(app, [message(room.guest, thread_id=str(chosen.choice(room.threads)))])


def mark(room: Room, app: Connection, chosen: random.Random) -> None:
    thread = chosen.choice(room.threads)
    # As an application closes a conversation: status first or last.
    with app.transaction():
        if chosen.random() < 0.5:
            app.execute("SELECT guestcomms.set_thread_status(%s, 'closed')", [thread])
        app.execute(f"SELECT guestcomms.mark_{chosen.choice(['read', 'unread'])}(%s)".encode(), [thread])
        if chosen.random() < 0.5:
            app.execute("SELECT guestcomms.snooze_thread(%s, NULL)", [thread])


def mark_named(room: Room, app: Connection, chosen: random.Random) -> None:
    """Messages of all threads, in no order."""
    found = column(
        app, "SELECT m.message_id FROM unnest(%s::uuid[]) AS t CROSS JOIN guestcomms.get_thread(t, 2) AS m", room.threads
    )
    chosen.shuffle(found)
    app.execute(f"SELECT guestcomms.mark_{chosen.choice(['read', 'unread'])}(message_ids => %s)".encode(), [found])


def send(room: Room, root: Connection, chosen: random.Random) -> None:
    """Providers' reports of single messages."""
    thread, status = chosen.choice(room.threads), chosen.choice(["sent", "failed", "delivered"])
    query = (
        "UPDATE guestcomms.messages SET status = %s WHERE message_id = (SELECT message_id FROM guestcomms.messages"
        " WHERE thread_id = %s AND direction = 'outbound' ORDER BY sent_at DESC LIMIT 1)"
    )
    root.execute(query, [status, thread])


def read(room: Room, app: Connection, chosen: random.Random) -> None:
    """Every page there is, and no thread twice but those that moved meanwhile."""
    after, found = None, Counter[UUID]()
    while page := rows(app, LIST, after):
        found.update(row[0] for row in page)
        after = page[-1][1]
    assert set(found) <= set(room.threads)
    assert sum(count for _, count, _ in rows(app, "SELECT * FROM guestcomms.get_inbox_counts()")) >= 0


def test_counts_are_those_of_a_recount(room: Room) -> None:
    jobs: list[tuple[str, Callable[[Room, Connection, random.Random], None]]] = [
        *[("app_login", write_batches)] * 2,
        ("app_login", write_one),
        *[("app_login", mark)] * 2,
        ("app_login", mark_named),
        ("postgres", send),
        ("app_login", read),
    ]
    start = Barrier(len(jobs))

    def work(number: int) -> None:
        user, job = jobs[number]
        connection = room.archive.connect(user)
        connection.execute("SET deadlock_timeout = '100ms'" if user == "postgres" else "SELECT")
        chosen = random.Random(number)
        start.wait(60)
        for _ in range(ROUNDS):
            job(room, connection, chosen)

    with ThreadPoolExecutor(len(jobs)) as pool:
        for future in [pool.submit(work, number) for number in range(len(jobs))]:
            future.result(120)
    assert kept(room.archive.root, room.archive.tenant) == recount(room.archive.root, room.archive.tenant)


def test_overlapping_batches_in_opposite_orders_do_not_deadlock(room: Room) -> None:
    """Two sessions, each with all threads, the one from the first and the other from the last."""
    start = Barrier(2)

    def work(step: int) -> None:
        app = room.archive.connect("app_login")
        batch = [message(room.guest, thread_id=str(thread)) for thread in room.threads[::step] * 20]
        start.wait(60)
        for _ in range(15):
            record_all(app, batch)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, step) for step in (1, -1)]:
            future.result(120)
    assert kept(room.archive.root, room.archive.tenant) == recount(room.archive.root, room.archive.tenant)
    assert one(
        room.archive.root, "SELECT sum(unread_count) FROM guestcomms.threads WHERE tenant_id = %s", room.archive.tenant
    ) == THREADS * (15 * 20 * 2 + 1)


def test_writers_of_other_conversations_do_not_wait(room: Room) -> None:
    """Nothing of the tenant is locked but the thread that is written to; nor is a thread by what is only queued."""
    first, second = (room.archive.connect("app_login") for _ in range(2))
    second.execute("SET lock_timeout = '2s'")
    with first.transaction(force_rollback=True):
        record_all(first, [message(room.guest, thread_id=str(room.threads[0]))])
        record_all(second, [message(room.guest, thread_id=str(room.threads[1]))])
        record_all(second, [message(room.guest, thread_id=str(room.threads[0]), direction="outbound", status="queued")])
        assert len(rows(second, LIST, None)) == 2


def test_a_page_that_began_stays_whole_while_messages_arrive(room: Room) -> None:
    app, other = (room.archive.connect("app_login") for _ in range(2))
    before = column(app, "SELECT thread_id FROM guestcomms.list_threads()")
    after, found = None, []
    while page := rows(app, LIST, after):
        found += [row[0] for row in page]
        after = page[-1][1]
        # Into one that was seen already: it goes to the top, and moves none of those to come.
        record_all(other, [message(room.guest, thread_id=str(found[0]))])
    assert found == before


def test_closing_does_not_hide_what_was_not_seen(room: Room) -> None:
    """A message that commits while staff close the thread opens it; one from before is not closed away."""
    staff, webhook = (room.archive.connect("app_login") for _ in range(2))
    thread = room.threads[0]
    seen = one(staff, "SELECT last_message_at FROM guestcomms.list_threads() WHERE thread_id = %s", thread)
    with ThreadPoolExecutor(1) as pool:
        with staff.transaction():
            assert one(staff, "SELECT guestcomms.set_thread_status(%s, 'closed', %s)", thread, seen)
            recorded = pool.submit(record_all, webhook, [message(room.guest, thread_id=str(thread))])
            one(room.archive.root, "SELECT pg_sleep(0.2)")
        recorded.result(60)
    assert one(staff, "SELECT status FROM guestcomms.list_threads() WHERE thread_id = %s", thread) == "open"
    assert not one(staff, "SELECT guestcomms.set_thread_status(%s, 'closed', %s)", thread, seen)
    assert one(staff, "SELECT status FROM guestcomms.list_threads() WHERE thread_id = %s", thread) == "open"
