"""What is sent twice is stored once, whenever and however often it comes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TypeVar
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import column, copy_rows, one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

SESSIONS = 8
Result = TypeVar("Result")

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture
def guest(app: Connection) -> UUID:
    return add_guest(app)


@pytest.fixture
def key() -> str:
    return f"key-{next(_numbers)}"


@pytest.fixture(scope="module")
def sessions(store: Store) -> Iterator[list[Connection]]:
    connections = [store.connect("app_login", store.tenant_a) for _ in range(SESSIONS)]
    yield connections
    for connection in connections:
        connection.close()


def at_once(sessions: Sequence[Connection], work: Callable[[int, Connection], Result]) -> list[Result]:
    """Each session does its work, all starting together."""
    barrier = Barrier(len(sessions))

    def start(number: int) -> Result:
        barrier.wait()
        return work(number, sessions[number])

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(start, range(len(sessions))))


def archive(root: Connection, *messages: UUID) -> None:
    """What archiving does: the messages are gone, their keys stay."""
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [list(messages)])


def test_a_repeat_returns_the_first_whatever_it_brings(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    first = record(app, guest, body="first", external_id=key, sent_at=str(now() - timedelta(days=60)))
    other = add_guest(app)
    again = record(app, other, body="second", external_id=key, sent_at=str(now() - timedelta(days=30)))
    assert again == first
    found = rows(root, "SELECT body, guest_id FROM guestcomms.messages WHERE external_id = %s", key)
    assert found == [("first", guest)]
    assert not column(root, "SELECT 1 FROM guestcomms.threads WHERE guest_id = %s", other)


def test_sources_and_tenants_have_keys_of_their_own(store: Store, app: Connection, guest: UUID, key: str) -> None:
    first = record(app, guest, external_id=key)
    assert record(app, guest, external_id=key, source="app") == first
    assert record(app, guest, external_id=key, source="mail") != first
    other = store.connect("other_app_login", store.tenant_b)
    assert record(other, add_guest(other), external_id=key) != first


def test_repeats_in_one_batch(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    batch = [message(guest, body=str(n), external_id=f"{key}-{n % 3}") for n in range(12)]
    found = rows(app, "SELECT message_id, is_repeat FROM guestcomms.record_messages(%s)", Jsonb(batch))
    assert [row[1] for row in found] == [False] * 3 + [True] * 9
    assert [row[0] for row in found] == [row[0] for row in found[:3]] * 4
    bodies = column(root, "SELECT body FROM guestcomms.messages WHERE external_id LIKE %s", f"{key}-%")
    assert sorted(bodies) == ["0", "1", "2"]


def test_an_import_counts_repeats(app: Connection, guest: UUID, key: str) -> None:
    record(app, guest, external_id=f"{key}-0")
    copy_rows(
        app,
        "COPY guestcomms.import_messages (guest_id, direction, channel, body, external_id) FROM STDIN",
        [(guest, "inbound", "sms", "x", f"{key}-{n % 3}") for n in range(6)],
    )
    found = rows(app, "SELECT imported_count, repeated_count FROM guestcomms.run_import(chunk_rows => 2)")
    assert found == [(2, 4)]


def test_a_repeat_of_an_archived_message(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    first = record(app, guest, external_id=key)
    archive(root, first)
    found = rows(
        app,
        "SELECT message_id, is_repeat FROM guestcomms.record_messages(%s)",
        Jsonb([message(guest, external_id=key)]),
    )
    assert found == [(first, True)]
    assert one(
        root, "SELECT count(*) FROM guestcomms.messages WHERE external_id = %s", key
    ) == 0  # fmt: skip


def test_overlapping_batches_in_many_sessions(sessions: list[Connection], root: Connection, guest: UUID, key: str) -> None:
    """Shuffled differently in each session: unordered inserts of keys would deadlock."""
    keys = [f"{key}-{n}" for n in range(120)]

    def work(number: int, session: Connection) -> dict[str, UUID]:
        chosen = random.Random(number)
        seen: dict[str, UUID] = {}
        for _ in range(4):
            batch = chosen.sample(keys, 90)
            messages = [message(guest, body=f"{number}", external_id=one_key) for one_key in batch]
            for one_key, message_id in zip(batch, record_all(session, messages), strict=True):
                assert seen.setdefault(one_key, message_id) == message_id
        return seen

    found = at_once(sessions, work)
    stored: dict[str, UUID] = dict(
        rows(
            root,
            "SELECT external_id, message_id FROM guestcomms.messages WHERE external_id LIKE %s",
            f"{key}-%",
        )
    )
    count = one(root, "SELECT count(*) FROM guestcomms.messages WHERE external_id LIKE %s", f"{key}-%")
    assert count == len(stored) == len({one_key for seen in found for one_key in seen})
    for seen in found:
        assert seen.items() <= stored.items()
    assert one(root, "SELECT count(*) FROM guestcomms.threads WHERE guest_id = %s", guest) == 1


def test_overlapping_imports_in_many_sessions(sessions: list[Connection], root: Connection, guest: UUID, key: str) -> None:
    def work(number: int, session: Connection) -> int:
        keys = [f"{key}-{n}" for n in range(60)]
        random.Random(number).shuffle(keys)
        with session.transaction():
            copy_rows(
                session,
                "COPY guestcomms.import_messages (guest_id, direction, channel, body, external_id) FROM STDIN",
                [(guest, "inbound", "sms", "x", one_key) for one_key in keys],
            )
            imported: int = one(session, "SELECT imported_count FROM guestcomms.run_import()")
        return imported

    assert sum(at_once(sessions, work)) == 60
    assert one(
        root, "SELECT count(*) FROM guestcomms.messages WHERE external_id LIKE %s", f"{key}-%"
    ) == 60  # fmt: skip


def test_one_guest_for_an_address(sessions: list[Connection], root: Connection) -> None:
    addresses = [f"+4477009{n:05}" for n in range(20)]

    def work(number: int, session: Connection) -> list[UUID]:
        order = list(addresses)
        random.Random(number).shuffle(order)
        found = {address: one(session, "SELECT guestcomms.resolve_guest('sms', %s, 'Zoë')", address) for address in order}
        return [found[address] for address in addresses]

    found = at_once(sessions, work)
    assert all(guests == found[0] for guests in found)
    assert len(set(found[0])) == len(addresses)
    assert one(
        root, "SELECT count(*) FROM guestcomms.guests WHERE display_name = 'Zoë'"
    ) == len(addresses)  # fmt: skip


def test_one_thread_for_first_messages(sessions: list[Connection], app: Connection, root: Connection) -> None:
    guests = [add_guest(app) for _ in range(20)]

    def work(number: int, session: Connection) -> list[UUID]:
        order = list(guests)
        random.Random(number).shuffle(order)
        return record_all(session, [message(guest) for guest in order])

    at_once(sessions, work)
    found = rows(
        root,
        "SELECT guest_id, count(DISTINCT thread_id), count(*) FROM guestcomms.messages"
        " WHERE guest_id = ANY (%s) GROUP BY guest_id",
        guests,
    )
    assert sorted(found) == sorted((guest, 1, SESSIONS) for guest in guests)
    assert one(
        root, "SELECT count(*) FROM guestcomms.threads WHERE guest_id = ANY (%s)", guests
    ) == len(guests)  # fmt: skip


# Events

EVENT = "SELECT guestcomms.record_event(%s, %s, event_external_id => %s, source => %s, occurred_at => %s)"


def events(root: Connection, message_id: UUID) -> list[str]:
    return column(
        root,
        "SELECT kind FROM guestcomms.message_events WHERE message_id = %s ORDER BY occurred_at",
        message_id,
    )


def test_an_event_with_an_identifier_is_stored_once(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    message_id = record(app, guest)
    first = one(app, EVENT, message_id, "opened", key, None, now())
    assert one(app, EVENT, message_id, "clicked", key, None, now() - timedelta(days=30)) == first
    assert one(app, EVENT, message_id, "opened", key, "mail", now()) != first
    assert one(app, EVENT, message_id, "opened", None, None, now()) != first
    assert events(root, message_id) == ["opened"] * 3


def test_events_repeated_in_one_batch(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    message_id = record(app, guest)
    batch = [{"message_id": str(message_id), "kind": "opened", "event_external_id": f"{key}-{n % 2}"} for n in range(6)]
    found = rows(app, "SELECT event_id, is_repeat FROM guestcomms.record_events(%s)", Jsonb(batch))
    assert [row[1] for row in found] == [False] * 2 + [True] * 4
    assert [row[0] for row in found] == [row[0] for row in found[:2]] * 3
    assert events(root, message_id) == ["opened"] * 2


def test_events_come_in_any_order(app: Connection, root: Connection, guest: UUID) -> None:
    kinds = ["sent", "delivered", "opened", "clicked", "replied"]
    sent_at = now() - timedelta(days=30)
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        message_id = record(app, guest, direction="outbound", sent_at=str(sent_at))
        for place in order:
            one(app, EVENT, message_id, kinds[place], None, None, sent_at + timedelta(days=place + 1))
        assert events(root, message_id) == kinds


def test_an_event_of_an_archived_message_by_its_key(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    message_id = record(app, guest, source="mail", external_id=key)
    archive(root, message_id)
    app.execute(
        "SELECT guestcomms.record_event(kind => 'opened', source => 'mail', external_id => %s)",
        [key],
    )
    assert events(root, message_id) == ["opened"]


def test_a_repeated_event_of_an_archived_message(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    message_id = record(app, guest, external_id=key)
    first = one(app, EVENT, message_id, "opened", f"{key}-e", None, now())
    root.execute("DELETE FROM guestcomms.message_events WHERE event_id = %s", [first])
    archive(root, message_id)
    again = one(
        app,
        "SELECT guestcomms.record_event(kind => 'opened', external_id => %s, event_external_id => %s)",
        key,
        f"{key}-e",
    )
    assert again == first
    assert events(root, message_id) == []


def test_an_event_of_an_archived_message_by_its_identifier(app: Connection, root: Connection, guest: UUID, key: str) -> None:
    message_id = record(app, guest, external_id=key)
    archive(root, message_id)
    one(app, EVENT, message_id, "opened", None, None, now())
    assert events(root, message_id) == ["opened"]


def test_overlapping_events_in_many_sessions(
    sessions: list[Connection], app: Connection, root: Connection, guest: UUID, key: str
) -> None:
    messages = [record(app, guest) for _ in range(5)]
    keys = [f"{key}-{n}" for n in range(100)]

    def work(number: int, session: Connection) -> dict[str, UUID]:
        batch = random.Random(number).sample(keys, 80)
        elements = [
            {
                "message_id": str(messages[int(one_key.rsplit("-")[-1]) % 5]),
                "kind": "opened",
                "event_external_id": one_key,
            }
            for one_key in batch
        ]
        found = rows(session, "SELECT * FROM guestcomms.record_events(%s)", Jsonb(elements))
        return dict(zip(batch, (row[0] for row in found), strict=True))

    found = at_once(sessions, work)
    stored: dict[str, UUID] = dict(
        rows(
            root,
            "SELECT external_id, event_id FROM guestcomms.message_events WHERE external_id LIKE %s",
            f"{key}-%",
        )
    )
    assert sum(len(events(root, message_id)) for message_id in messages) == len(stored)
    for seen in found:
        assert seen.items() <= stored.items()
