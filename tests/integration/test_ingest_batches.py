"""Batches with bad elements: all or nothing, or all but the bad ones, each named in order."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record

TABLES = ("messages", "message_keys", "message_events", "event_keys", "threads", "change_log")


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture
def guest(app: Connection) -> UUID:
    return add_guest(app)


def counts(root: Connection) -> dict[str, int]:
    return {table: one(root, f"SELECT count(*) FROM guestcomms.{table}".encode()) for table in TABLES}


BAD: list[Any] = [
    {"channel": "fax"},
    {"body": None},
    {"sent_at": "2099-01-01T00:00:00Z"},
    {"sent_at": "yesterday"},
    {"guest_id": str(uuid4())},
    {"colour": "red"},
]
CODES = ["22023", "22004", "22008", "22023", "23503", "22023"]


def batch_with(guest: UUID, bad: list[Any]) -> list[Any]:
    """A good message before, between and after the bad ones."""
    found = [message(guest, external_id=f"good-{guest}-0")]
    for number, change in enumerate(bad, start=1):
        found.append(message(guest, external_id=f"bad-{guest}-{number}") | change)
        found.append(message(guest, external_id=f"good-{guest}-{number}"))
    return found


@pytest.mark.parametrize("change", BAD, ids=str)
def test_one_bad_element_stores_nothing(app: Connection, root: Connection, guest: UUID, change: dict[str, Any]) -> None:
    before = counts(root)
    with refused("22023", "22004", "22008", "23503"):
        app.execute("SELECT guestcomms.record_messages(%s)", [Jsonb(batch_with(guest, [change]))])
    assert counts(root) == before


def test_skipping_stores_the_rest_and_names_the_rejects(app: Connection, root: Connection, guest: UUID) -> None:
    batch = [*batch_with(guest, BAD), "no object", None]
    before = counts(root)
    found = rows(
        app,
        "SELECT element, message_id, error_code, error_message, error_hint"
        " FROM guestcomms.record_messages(%s, on_error => 'skip')",
        Jsonb(batch),
    )
    assert [row[0] for row in found] == list(range(1, len(batch) + 1))
    good, bad = found[:-2:2], [*found[1:-2:2], *found[-2:]]
    assert all(message_id and code is None for _, message_id, code, _, _ in good)
    assert [row[2] for row in bad] == [*CODES, "22023", "22023"]
    assert all(row[1] is None and row[3] and row[4] for row in bad)
    after = counts(root)
    assert after["messages"] - before["messages"] == len(good)
    assert after["message_keys"] - before["message_keys"] == len(good)


def test_a_bad_element_does_not_take_its_key(app: Connection, guest: UUID) -> None:
    key = f"key-{guest}"
    batch = [message(guest, external_id=key, channel="fax"), message(guest, external_id=key)]
    found = rows(
        app,
        "SELECT message_id, is_repeat, error_code FROM guestcomms.record_messages(%s, on_error => 'skip')",
        Jsonb(batch),
    )
    assert found[0] == (None, False, "22023")
    assert found[1][0] is not None
    assert found[1][1:] == (False, None)


def test_events_are_skipped_likewise(app: Connection, root: Connection, guest: UUID) -> None:
    message_id = str(record(app, guest))
    good = {"message_id": message_id, "kind": "opened"}
    batch = [
        good,
        {"message_id": message_id, "kind": "lost"},
        {"message_id": str(uuid4()), "kind": "opened"},
        good | {"occurred_at": "2099-01-01T00:00:00Z"},
        good | {"is_machine": "yes"},
        7,
        good | {"kind": "read"},
    ]
    before = counts(root)
    with refused("22023", "23503", "22008"):
        app.execute("SELECT guestcomms.record_events(%s)", [Jsonb(batch)])
    assert counts(root) == before
    found = rows(
        app,
        "SELECT element, event_id IS NOT NULL, error_code FROM guestcomms.record_events(%s, on_error => 'skip')",
        Jsonb(batch),
    )
    assert found == [
        (1, True, None),
        (2, False, "22023"),
        (3, False, "23503"),
        (4, False, "22008"),
        (5, False, "22023"),
        (6, False, "22023"),
        (7, True, None),
    ]
    assert counts(root)["message_events"] - before["message_events"] == 2


def test_a_batch_of_nothing_but_rejects(app: Connection) -> None:
    found = rows(
        app,
        "SELECT element, error_code FROM guestcomms.record_messages(%s, on_error => 'skip')",
        Jsonb([1, None, "x", []]),
    )
    assert found == [(n, "22023") for n in range(1, 5)]


def test_rejects_of_an_import_are_numbered_by_the_loads_own_rows(store: Store, app: Connection, guest: UUID) -> None:
    """Rows of another tenant that came in between show in no number."""
    copy = "COPY guestcomms.import_messages (guest_id, direction, channel, body) FROM STDIN"
    other = store.connect("other_app_login", store.tenant_b)
    for connection, channels in ((app, ["sms", "fax"]), (other, ["sms"] * 40), (app, ["fax"])):
        with connection.cursor().copy(copy) as lines:
            for channel in channels:
                lines.write_row((str(guest), "inbound", channel, "hello"))
    (rejects,) = rows(app, "SELECT rejects FROM guestcomms.run_import(chunk_rows => 2)")[0]
    assert [(reject["row"], reject["error_code"]) for reject in rejects] == [
        (2, "22023"),
        (3, "22023"),
    ]
    one(other, "SELECT rejected_count FROM guestcomms.run_import()")
