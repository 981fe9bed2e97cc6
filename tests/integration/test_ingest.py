"""The ways in: each stores what it was given and returns its identifier."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import column, copy_rows, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, load, loaded_row, message, now, record

MIB = 1 << 20


@pytest.fixture
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture
def guest(app: Connection) -> UUID:
    return add_guest(app)


@pytest.fixture
def operator(store: Store) -> Connection:
    connection = store.connect("operator_login")
    connection.execute("SET ROLE guestcomms_operator")
    return connection


def stored(root: Connection, message_id: UUID) -> dict[str, Any]:
    row: dict[str, Any] = one(
        root,
        "SELECT to_jsonb(m) - 'search' FROM guestcomms.messages AS m WHERE m.message_id = %s",
        message_id,
    )
    return row


def test_a_message_is_stored_as_given(app: Connection, root: Connection, guest: UUID) -> None:
    thread = one(app, "SELECT guestcomms.open_thread('Seating', %s)", guest)
    message_id = one(
        app,
        """SELECT guestcomms.record_message(%s, 'outbound', 'email', 'Dear guest', subject => 'Hi',
            sent_at => now() - interval '1 day', thread_id => %s, external_id => 'x-1',
            source => 'mail', language => 'fr', purpose => 'marketing', metadata => '{"a": 1}',
            author => 'Ann', status => 'delivered')""",
        guest,
        thread,
    )
    row = stored(root, message_id)
    assert row["thread_id"] == str(thread)
    assert {key: row[key] for key in ("direction", "channel", "status", "purpose", "language")} == {
        "direction": "outbound",
        "channel": "email",
        "status": "delivered",
        "purpose": "marketing",
        "language": "fr",
    }
    assert (row["subject"], row["body"], row["author"]) == ("Hi", "Dear guest", "Ann")
    assert (row["source"], row["external_id"], row["metadata"]) == ("mail", "x-1", {"a": 1})


def test_what_is_left_out_has_a_default(app: Connection, root: Connection, guest: UUID) -> None:
    row = stored(root, record(app, guest))
    assert (row["status"], row["purpose"], row["language"]) == ("received", "service", "en")
    assert (row["source"], row["metadata"]) == ("app", {})
    queued = record(app, guest, direction="outbound", scheduled_at="2030-01-01T00:00:00Z")
    assert stored(root, queued)["status"] == "queued"
    assert stored(root, record(app, guest, direction="outbound"))["status"] == "sent"


def test_an_identifier_carries_the_time(app: Connection, guest: UUID) -> None:
    sent_at = now() - timedelta(days=40, microseconds=123)
    message_id = record(app, guest, sent_at=sent_at.isoformat())
    found = one(app, "SELECT guestcomms.uuid_v7_time(%s)", message_id)
    assert found == sent_at.replace(microsecond=sent_at.microsecond // 1000 * 1000)


def test_messages_without_a_thread_share_the_open_one(app: Connection, root: Connection, guest: UUID) -> None:
    first, second = record(app, guest), record(app, guest)
    thread = stored(root, first)["thread_id"]
    assert stored(root, second)["thread_id"] == thread
    root.execute("UPDATE guestcomms.threads SET status = 'closed' WHERE thread_id = %s", [thread])
    assert stored(root, record(app, guest))["thread_id"] != thread


@pytest.mark.parametrize("unit", ["a", "é", "🎉"])
def test_a_body_may_have_exactly_one_mib(app: Connection, root: Connection, guest: UUID, unit: str) -> None:
    body = unit * (MIB // len(unit.encode()))
    message_id = one(app, "SELECT guestcomms.record_message(%s, 'inbound', 'sms', %s)", guest, body)
    assert stored(root, message_id)["body"] == body
    with refused("22001"):
        app.execute("SELECT guestcomms.record_message(%s, 'inbound', 'sms', %s)", [guest, body + "a"])


def test_a_batch_returns_a_row_for_each_element_in_order(app: Connection, root: Connection, guest: UUID) -> None:
    batch = [message(guest, body=f"number {n}") for n in range(50)]
    found = rows(
        app,
        "SELECT element, message_id, is_repeat, error_code FROM guestcomms.record_messages(%s)",
        Jsonb(batch),
    )
    assert [row[0] for row in found] == list(range(1, 51))
    assert all(not is_repeat and code is None for _, _, is_repeat, code in found)
    assert [stored(root, row[1])["body"] for row in found] == [row["body"] for row in batch]


@pytest.mark.parametrize("on_error", ["abort", "skip"])
def test_an_empty_batch_is_no_error(app: Connection, on_error: str) -> None:
    assert rows(app, "SELECT * FROM guestcomms.record_messages('[]', %s)", on_error) == []
    assert rows(app, "SELECT * FROM guestcomms.record_events('[]', %s)", on_error) == []


def test_events_are_stored_as_given(app: Connection, root: Connection, guest: UUID) -> None:
    message_id = record(app, guest, source="mail", external_id="with-events")
    by_id = one(
        app,
        "SELECT guestcomms.record_event(%s, 'opened', detail => '{\"a\": 1}', is_machine => true)",
        message_id,
    )
    by_key = one(
        app,
        "SELECT guestcomms.record_event(kind => 'delivered', source => 'mail',"
        " external_id => 'with-events', occurred_at => now() - interval '1 hour')",
    )
    found = rows(
        root,
        "SELECT event_id, message_id, kind, is_machine, detail FROM guestcomms.message_events"
        " WHERE message_id = %s ORDER BY occurred_at",
        message_id,
    )
    assert found == [
        (by_key, message_id, "delivered", False, None),
        (by_id, message_id, "opened", True, {"a": 1}),
    ]


def test_rows_copied_by_an_application_are_imported(app: Connection, root: Connection, guest: UUID) -> None:
    copy_rows(
        app,
        "COPY guestcomms.import_messages (guest_id, direction, channel, body, external_id) FROM STDIN",
        [(guest, "inbound", "chat", f"imported {n}", f"import-{n}") for n in range(25)],
    )
    found = rows(
        app,
        "SELECT imported_count, repeated_count, rejected_count, rejects FROM guestcomms.run_import(chunk_rows => 10)",
    )
    assert found == [(25, 0, 0, [])]
    bodies = column(root, "SELECT body FROM guestcomms.messages WHERE channel = 'chat'")
    assert sorted(bodies) == sorted(f"imported {n}" for n in range(25))
    assert one(root, "SELECT count(*) FROM guestcomms.import_messages") == 0
    assert one(app, "SELECT imported_count FROM guestcomms.run_import()") == 0


def test_an_import_tells_its_rejects_by_place(app: Connection, guest: UUID) -> None:
    copy_rows(
        app,
        "COPY guestcomms.import_messages (guest_id, direction, channel, body, external_id) FROM STDIN",
        [
            (guest, "inbound", "sms", "good", None),
            (guest, "inbound", "fax", "bad", "place-2"),
            (guest, "inbound", "sms", "good", None),
            (guest, "inbound", "sms", None, "place-4"),
        ],
    )
    with refused("22023"):
        app.execute("SELECT guestcomms.run_import(on_error => 'abort')")
    ((imported, rejected, rejects),) = rows(
        app,
        "SELECT imported_count, rejected_count, rejects FROM guestcomms.run_import(chunk_rows => 1)",
    )
    assert (imported, rejected) == (2, 2)
    assert [(reject["row"], reject["external_id"], reject["error_code"]) for reject in rejects] == [
        (2, "place-2", "22023"),
        (4, "place-4", "22004"),
    ]


@pytest.mark.parametrize("sent_at", ["infinity", "-infinity", "294276-01-01", "4700-01-01 BC"])
def test_an_import_survives_any_time(app: Connection, guest: UUID, sent_at: str) -> None:
    with app.transaction():  # where it fails, the next test finds nothing staged
        copy_rows(
            app,
            "COPY guestcomms.import_messages (guest_id, direction, channel, body, sent_at) FROM STDIN",
            [(guest, "inbound", "sms", "timeless", sent_at), (guest, "inbound", "sms", "x", None)],
        )
        found = rows(
            app,
            "SELECT imported_count, rejects -> 0 ->> 'error_code' FROM guestcomms.run_import(on_error => 'skip')",
        )
    assert found == [(1, "22008")]


def test_an_operator_loads_rows_of_many_tenants_with_keys(store: Store, operator: Connection, root: Connection) -> None:
    loaded = []
    for tenant in (store.tenant_a, store.tenant_b):
        connection = store.connect(tenant=tenant)
        guest = add_guest(connection)
        thread = one(connection, "SELECT guestcomms.open_thread(guest_id => %s)", guest)
        sent_at = now() - timedelta(days=3)
        row = loaded_row(connection, tenant, guest, thread, sent_at, "loaded whole")
        loaded.append((*row, "loader", "one"))
    statement = (
        "COPY guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction,"
        " channel, status, body, source, external_id) FROM STDIN"
    )
    copy_rows(operator, statement, loaded)
    keys = rows(root, "SELECT tenant_id, message_id FROM guestcomms.message_keys WHERE source = 'loader'")
    assert sorted(keys) == sorted((row[0], row[1]) for row in loaded)
    assert column(root, "SELECT word_count FROM guestcomms.messages WHERE body = 'loaded whole'") == [2, 2]
    with refused("23505"):
        copy_rows(operator, statement, loaded[:1])


def test_an_operator_must_bring_the_identifier_of_the_time(store: Store, operator: Connection) -> None:
    connection = store.connect(tenant=store.tenant_a)
    guest = add_guest(connection)
    thread = one(connection, "SELECT guestcomms.open_thread(guest_id => %s)", guest)
    row = loaded_row(connection, store.tenant_a, guest, thread, now(), "loaded")
    with refused("23514"):
        load(operator, [(row[0], row[1], row[2] - timedelta(seconds=1), *row[3:])])
