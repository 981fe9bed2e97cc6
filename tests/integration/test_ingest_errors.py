"""Errors of the ways in: what was wrong and what to do, never what a guest wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.pq import DiagnosticField, Format
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import copy_rows, one, refused, told
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record

CANARY = "Zwetschgenknödel"
SINGLE = """SELECT guestcomms.record_message(%(guest_id)s, %(direction)s, %(channel)s, %(body)s,
    subject => %(subject)s, sent_at => %(sent_at)s, thread_id => %(thread_id)s,
    wedding_id => %(wedding_id)s, campaign_id => %(campaign_id)s, external_id => %(external_id)s,
    language => %(language)s, purpose => %(purpose)s, status => %(status)s, author => %(author)s,
    metadata => %(metadata)s)"""

# What is changed in a good message, and the SQLSTATE.
BAD_MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "guest": ({"guest_id": str(uuid4())}, "23503"),
    "guest missing": ({"guest_id": None}, "23503"),
    "thread": ({"thread_id": str(uuid4())}, "23503"),
    "wedding": ({"wedding_id": str(uuid4())}, "23503"),
    "campaign": ({"campaign_id": str(uuid4())}, "23503"),
    "channel": ({"channel": "fax"}, "22023"),
    "channel that is a text": ({"channel": f"{CANARY} at noon"}, "22023"),
    "direction": ({"direction": "sideways"}, "22023"),
    "status": ({"status": "lost"}, "22023"),
    "purpose": ({"purpose": "fun"}, "22023"),
    "language": ({"language": "English"}, "22023"),
    "body missing": ({"body": None}, "22004"),
    "body size": ({"body": CANARY * 70_000}, "22001"),
    "subject size": ({"subject": CANARY * 130}, "22001"),
    "key size": ({"external_id": "x" * 256}, "22001"),
    "too early": ({"sent_at": "1999-12-31T23:59:59Z"}, "22008"),
    "too late": ({"sent_at": "2099-01-01T00:00:00Z"}, "22008"),
}
WITHOUT_VALUES = {"body missing", "status", "purpose", "language", "key size"}


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    return add_guest(app, CANARY)


@pytest.fixture
def logged(store: Store) -> Callable[[], str]:
    """What the server has logged since the test began."""
    log = store.database.cluster.log_path
    start = log.stat().st_size
    return lambda: log.read_bytes()[start:].decode(errors="replace")


def bad_message(guest: UUID, change: dict[str, Any]) -> dict[str, Any]:
    plain = message(guest, body=f"Dear {CANARY}", subject=CANARY, author=CANARY)
    return plain | {"metadata": {"note": CANARY}} | change


def explains(error: psycopg.Error, case: str) -> None:
    assert CANARY not in told(error)
    assert error.diag.message_hint
    assert error.diag.message_detail or case in WITHOUT_VALUES


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_a_message_refused(app: Connection, guest: UUID, logged: Callable[[], str], case: str) -> None:
    change, sqlstate = BAD_MESSAGES[case]
    values = dict.fromkeys(("sent_at", "thread_id", "wedding_id", "campaign_id", "external_id", "language", "purpose")) | {
        "status": None
    }
    values |= bad_message(guest, change)
    with refused(sqlstate) as caught:
        app.execute(SINGLE, values | {"metadata": Jsonb(values["metadata"])})
    explains(caught.value, case)
    assert CANARY not in logged()


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_an_element_refused(app: Connection, guest: UUID, logged: Callable[[], str], case: str) -> None:
    change, sqlstate = BAD_MESSAGES[case]
    batch = Jsonb([message(guest), bad_message(guest, change)])
    with refused(sqlstate) as caught:
        app.execute("SELECT guestcomms.record_messages(%s)", [batch])
    explains(caught.value, case)
    assert "2" in (caught.value.diag.message_detail or "")
    assert CANARY not in logged()


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_an_import_refused(app: Connection, guest: UUID, logged: Callable[[], str], case: str) -> None:
    change, sqlstate = BAD_MESSAGES[case]
    values = bad_message(guest, change)
    with refused(sqlstate) as caught, app.transaction():
        copy_rows(
            app,
            "COPY guestcomms.import_messages (guest_id, direction, channel, body, subject, author,"
            " sent_at, thread_id, wedding_id, campaign_id, external_id, language, purpose, status)"
            " FROM STDIN",
            [
                tuple(values.get(name) for name in (
                    *("guest_id", "direction", "channel", "body", "subject", "author", "sent_at"),
                    *("thread_id", "wedding_id", "campaign_id", "external_id", "language"),
                    *("purpose", "status"),
                ))
            ],
        )  # fmt: skip
        app.execute("SELECT guestcomms.run_import(on_error => 'abort')")
    explains(caught.value, case)
    assert CANARY not in logged()


BAD_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "lost"}, "22023"),
    "kind that is a text": ({"kind": f"{CANARY} at noon"}, "22023"),
    "kind missing": ({"kind": None}, "22023"),
    "message": ({"message_id": str(uuid4())}, "23503"),
    "message missing": ({"message_id": None}, "23503"),
    "key unknown": ({"message_id": None, "external_id": "unknown"}, "23503"),
    "too early": ({"occurred_at": "1999-12-31T23:59:59Z"}, "22008"),
    "too late": ({"occurred_at": "2099-01-01T00:00:00Z"}, "22008"),
    "without an end": ({"occurred_at": "infinity"}, "22008"),
    "key size": ({"event_external_id": "x" * 256}, "22001"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_an_event_refused(app: Connection, guest: UUID, logged: Callable[[], str], case: str) -> None:
    change, sqlstate = BAD_EVENTS[case]
    values = {"message_id": record(app, guest), "kind": "opened", "occurred_at": None}
    values |= {"external_id": None, "event_external_id": None, **change}
    with refused(sqlstate) as caught:
        app.execute(
            "SELECT guestcomms.record_event(%(message_id)s, %(kind)s, %(occurred_at)s,"
            " detail => %(detail)s, external_id => %(external_id)s,"
            " event_external_id => %(event_external_id)s)",
            values | {"detail": Jsonb({"note": CANARY})},
        )
    explains(caught.value, case)
    assert CANARY not in logged()


# An array, the element at fault, and the key at fault if it is one.
SHAPES: dict[str, tuple[Any, int | None, str | None]] = {
    "no array": ({"body": CANARY}, None, None),
    "a text": (CANARY, None, None),
    "element is a text": ([{}, CANARY], 2, None),
    "element is null": ([None], 1, None),
    "unknown key": ([{"colour": CANARY}], 1, "colour"),
    "guest_id is a number": ([{"guest_id": 5}], 1, "guest_id"),
    "guest_id is no uuid": ([{"guest_id": CANARY}], 1, "guest_id"),
    "body is an object": ([{"body": {"text": CANARY}}], 1, "body"),
    "sent_at has no zone": ([{"sent_at": "2026-05-01T12:00:00"}], 1, "sent_at"),
    "sent_at is no time": ([{"sent_at": "2026-02-30T12:00:00Z"}], 1, "sent_at"),
    "sent_at is a text": ([{"sent_at": CANARY}], 1, "sent_at"),
    "metadata is a list": ([{"metadata": [CANARY]}], 1, "metadata"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_json_of_the_wrong_shape_is_located(app: Connection, logged: Callable[[], str], case: str) -> None:
    shape, element, key = SHAPES[case]
    with refused("22023") as caught:
        app.execute("SELECT guestcomms.record_messages(%s)", [Jsonb(shape)])
    explains(caught.value, case)
    detail = caught.value.diag.message_detail or ""
    assert element is None or str(element) in detail
    assert key is None or key in detail
    assert CANARY not in logged()


CALLS = (
    "SELECT guestcomms.record_message(gen_random_uuid(), 'inbound', 'sms', 'x')",
    "SELECT guestcomms.record_messages('[]')",
    "SELECT guestcomms.record_event(gen_random_uuid(), 'opened')",
    "SELECT guestcomms.record_events('[]')",
    "SELECT guestcomms.run_import()",
    "INSERT INTO guestcomms.import_messages (body) VALUES ('x')",
    "SELECT guestcomms.add_guest('x')",
    "SELECT guestcomms.resolve_guest('email', 'x@example.com')",
    "SELECT guestcomms.open_thread('x')",
)


@pytest.mark.parametrize("call", CALLS)
def test_without_a_context_nothing_goes_in(store: Store, call: str) -> None:
    connection = store.connect("app_login")
    with refused("GC001") as caught:
        connection.execute(call.encode())
    explains(caught.value, call)
    connection.close()


@pytest.mark.parametrize("call", ["record_messages('[]', %s)", "run_import(%s)"])
def test_an_unknown_way_to_take_errors_is_refused(app: Connection, call: str) -> None:
    for word in ("ignore", None):
        with refused("22023") as caught:
            app.execute(f"SELECT guestcomms.{call}".encode(), [word])
        assert caught.value.diag.message_hint


def test_a_null_byte_does_not_get_in(app: Connection, guest: UUID) -> None:
    with pytest.raises(psycopg.DataError):
        record(app, guest, body="a\0b")
    done = app.pgconn.exec_params(
        b"SELECT guestcomms.record_message($1::uuid, 'inbound', 'sms', $2::text)",
        [guest.bytes, b"a\0b"],
        param_formats=[Format.BINARY, Format.BINARY],
    )
    assert done.error_field(DiagnosticField.SQLSTATE) == b"22021"
    with refused("22P05"):
        app.execute('SELECT guestcomms.record_messages(\'[{"body": "a\\u0000b"}]\')')


def test_half_a_surrogate_pair_does_not_get_in(app: Connection) -> None:
    with refused("22P02"):
        app.execute('SELECT guestcomms.record_messages(\'[{"body": "\\ud83c"}]\')')


@pytest.mark.parametrize("body", [b"\xff", b"caf\xe9", b"\xed\xa0\xbc", b"\xc0\x80"])
def test_invalid_utf_8_does_not_get_in(app: Connection, guest: UUID, body: bytes) -> None:
    done = app.pgconn.exec_params(b"SELECT guestcomms.record_message($1, 'inbound', 'sms', $2)", [str(guest).encode(), body])
    assert done.error_field(DiagnosticField.SQLSTATE) == b"22021"
    with refused("22021"), app.cursor() as cursor:  # noqa: SIM117
        with cursor.copy("COPY guestcomms.import_messages (body) FROM STDIN") as copy:
            copy.write(body + b"\n")
    assert one(app, "SELECT imported_count FROM guestcomms.run_import()") == 0


def test_a_time_of_the_last_month_beyond_two_years(store: Store) -> None:
    """Its month has a partition, and yet it is refused by its name and not by a constraint's."""
    root = store.connect()
    root.execute("SELECT guestcomms.ensure_partitions(now(), now() + interval '2 years')")
    app = store.connect("app_login", store.tenant_a)
    guest = add_guest(app)
    with refused("22008"):
        app.execute(
            "SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'x', sent_at => now() + interval '2 years 1 minute')", [guest]
        )
