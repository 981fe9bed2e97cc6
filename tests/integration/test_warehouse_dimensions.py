"""Dimensions of the warehouse and what changes of them do to facts: histories of guests, names, erasure, a restored store, a
server without sketches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support import warehouse
from tests.support.database import Connection, Database
from tests.support.queries import column, one, rows
from tests.support.store import Store, create_tenants
from tests.support.traffic import add_guest, message, record, record_all

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWERED = datetime(2026, 3, 10, 9, tzinfo=UTC)
COUNTS = f"SELECT {warehouse.SUMS} FROM guestcomms_bi.agg_message_day"
# Without infinity, which Python's dates lack.
VERSIONS = """SELECT locale, rsvp, nullif(valid_from, '-infinity'), nullif(valid_to, 'infinity'), is_current
    FROM guestcomms_bi.dim_guest WHERE guest_id = %s ORDER BY valid_from"""
GUEST_COUNT = (
    "SELECT guest_count FROM guestcomms.get_message_statistics('2026-01-01', '2027-01-01', 'month') WHERE direction = 'inbound'"
)
BY_VERSION = """SELECT d.locale FROM guestcomms_bi.fact_message JOIN guestcomms_bi.dim_guest AS d USING (tenant_id, guest_key)
    WHERE message_id = %s"""


@pytest.fixture
def store(new_database: Callable[..., Database], logins: None) -> Store:
    """A new one, already followed by the warehouse."""
    store = create_tenants(new_database())
    with store.connect() as connection:
        connection.execute("SELECT guestcomms.ensure_partitions(%s)", [BEGIN])
        connection.execute(warehouse.COPIES.encode())
        warehouse.refresh_all(connection)
    return store


@pytest.fixture
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


def write(app: Connection, guest: UUID, days: float = 0, **values: Any) -> UUID:
    return record(app, guest, sent_at=(BEGIN + timedelta(days=days)).isoformat(), **values)


# Histories


def test_a_guest_has_a_version_for_each_state(root: Connection, app: Connection, store: Store) -> None:
    guest = add_guest(app)
    wedding = one(
        root, "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'Ada and Ben') RETURNING wedding_id", store.tenant_a
    )
    root.execute(
        "INSERT INTO guestcomms.wedding_guests (tenant_id, wedding_id, guest_id) VALUES (%s, %s, %s)",
        [store.tenant_a, wedding, guest],
    )
    # A guest's row is older than its answer.
    root.execute("UPDATE guestcomms.guests SET updated_at = %s WHERE guest_id = %s", [BEGIN, guest])
    by_rsvp = """SELECT d.rsvp FROM guestcomms_bi.fact_message
        JOIN guestcomms_bi.dim_guest AS d USING (tenant_id, guest_key) WHERE message_id = %s"""
    before, after = write(app, guest), write(app, guest, 20)
    warehouse.refresh_all(root)
    assert [row[:2] for row in rows(root, VERSIONS, guest)] == [(None, "pending")]
    root.execute("UPDATE guestcomms.wedding_guests SET rsvp = 'yes', rsvp_at = %s", [ANSWERED])
    warehouse.refresh_all(root)
    root.execute(
        "UPDATE guestcomms.guests SET language = 'de', updated_at = %s WHERE guest_id = %s", [BEGIN + timedelta(days=30), guest]
    )
    warehouse.refresh_all(root)
    found = rows(root, VERSIONS, guest)
    assert [row[:2] for row in found] == [(None, "pending"), (None, "yes"), ("de", "yes")]
    assert [row[2] for row in found[1:]] == [row[3] for row in found[:-1]] == [ANSWERED, BEGIN + timedelta(days=30)]
    assert [row[4] for row in found] == [False, False, True]
    # Before anything else happens in the conversation.
    assert [one(root, by_rsvp, known) for known in (before, after)] == ["pending", "yes"]
    backdated, later = write(app, guest, 1), write(app, guest, 40)
    warehouse.refresh_all(root)
    assert [one(root, by_rsvp, known) for known in (before, backdated, after, later)] == ["pending", "pending", "yes", "yes"]
    assert [one(root, BY_VERSION, known) for known in (backdated, after, later)] == [None, None, "de"]
    warehouse.check_stored(root)


def test_what_changes_nothing_makes_no_version(root: Connection, app: Connection) -> None:
    guest = add_guest(app)
    write(app, guest)
    warehouse.refresh_all(root)
    root.execute("UPDATE guestcomms.guests SET display_name = 'other', updated_at = now() WHERE guest_id = %s", [guest])
    warehouse.refresh_all(root)
    assert len(rows(root, VERSIONS, guest)) == 1


# Names


def test_weddings_and_campaigns_are_as_they_are(root: Connection, app: Connection, store: Store) -> None:
    guest = add_guest(app)
    keys = {}
    for kind in ("wedding", "campaign"):
        insert = f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, 'old') RETURNING {kind}_id"
        keys[kind] = one(root, insert.encode(), store.tenant_a)
    written = write(app, guest, wedding_id=str(keys["wedding"]), campaign_id=str(keys["campaign"]), direction="outbound")
    warehouse.refresh_all(root)
    for kind, key in keys.items():
        name = f"SELECT {kind}_name FROM guestcomms_bi.dim_{kind} WHERE {kind}_id = %s".encode()
        assert column(root, name, key) == ["old"]
        root.execute(f"UPDATE guestcomms.{kind}s SET name = 'new' WHERE {kind}_id = %s".encode(), [key])
        warehouse.refresh_all(root)
        assert column(root, name, key) == ["new"]
    # Removed, once nothing refers to it but an archived message's fact.
    with root.transaction():
        warehouse.archive(root, store.tenant_a, [written])
    for kind, key in keys.items():
        root.execute(f"DELETE FROM guestcomms.{kind}s WHERE {kind}_id = %s".encode(), [key])
        warehouse.refresh_all(root)
        assert column(root, f"SELECT {kind}_name FROM guestcomms_bi.dim_{kind} WHERE {kind}_id = %s".encode(), key) == [
            "(removed)"
        ]
    warehouse.check_stored(root)


@pytest.mark.parametrize("kind", ["campaign", "wedding", "guest"])
def test_a_neighbour_may_refer_to_what_no_change_has_brought_yet(
    root: Connection, app: Connection, store: Store, kind: str
) -> None:
    """Read one by one, the answer comes before the change of what it answers."""
    guest = add_guest(app)
    written = write(app, guest, direction="outbound")
    warehouse.refresh_all(root)
    write(app, guest, 1)
    values = "(tenant_id, name) VALUES (%s, 'x')" if kind != "guest" else "(tenant_id) VALUES (%s)"
    key = one(root, f"INSERT INTO guestcomms.{kind}s {values} RETURNING {kind}_id".encode(), store.tenant_a)
    root.execute(f"UPDATE guestcomms.messages SET {kind}_id = %s WHERE message_id = %s".encode(), [key, written])
    warehouse.refresh_all(root, 1)
    warehouse.check_stored(root)


@pytest.mark.parametrize("change", ["DELETE FROM guestcomms.messages", "UPDATE guestcomms.messages SET thread_id = %(thread)s",
                                    "UPDATE guestcomms.messages SET direction = 'outbound', status = 'sent'"])  # fmt: skip
def test_an_answer_that_goes_before_it_is_read(root: Connection, app: Connection, change: str) -> None:
    """What it answered was computed with it; only the answer's own change, read later, can take that back."""
    guest = add_guest(app)
    written = write(app, guest, direction="outbound")
    warehouse.refresh_all(root)
    app.execute("SELECT guestcomms.record_event(%s, 'delivered')", [written])
    answer = write(app, guest, 1)
    warehouse.refresh(root, 1)
    values = {"message": answer, "thread": one(app, "SELECT guestcomms.open_thread('another', %s)", guest)}
    root.execute(f"{change} WHERE message_id = %(message)s".encode(), values)
    warehouse.refresh_all(root, 1)
    warehouse.check_stored(root)


# Erasure


def test_an_erased_guest_leaves_numbers_and_nothing_else(root: Connection, app: Connection, store: Store) -> None:
    guest, other = add_guest(app, "One"), add_guest(app, "Other")
    for person in (guest, other):
        write(app, person, direction="outbound")
        answer = write(app, person, 1)
    app.execute("SELECT guestcomms.record_event(%s, 'read')", [answer])
    warehouse.refresh_all(root)
    before = rows(root, COUNTS.encode())
    assert column(app, GUEST_COUNT) == [2]
    with root.transaction():
        warehouse.erase(root, store.tenant_a, guest)
    warehouse.refresh_all(root)
    assert rows(root, COUNTS.encode()) == before
    assert column(app, GUEST_COUNT) == [1]
    assert not rows(root, VERSIONS, guest)
    assert not rows(root, "SELECT FROM guestcomms_bi.fact_message WHERE guest_id = %s", guest)
    erased = """SELECT count(*) FROM guestcomms_bi.fact_message
        JOIN guestcomms_bi.dim_guest AS d USING (tenant_id, guest_key) WHERE d.is_erased"""
    assert one(root, erased) == 2
    warehouse.check_stored(root)


def test_messages_of_the_erased_that_nobody_kept(root: Connection, app: Connection, store: Store) -> None:
    guest = add_guest(app)
    write(app, guest, direction="outbound")
    write(app, guest, 1)
    warehouse.refresh_all(root)
    root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guest])
    root.execute("DELETE FROM guestcomms.messages WHERE guest_id = %s", [guest])
    warehouse.refresh_all(root)
    warehouse.check_stored(root)
    assert not rows(root, VERSIONS, guest)


# Another cluster


def test_a_restored_store_is_loaded_anew(root: Connection, app: Connection, store: Store) -> None:
    """Facts that stand by themselves stay; what was unread is found without the log."""
    guest = add_guest(app)
    archived, deleted = write(app, guest, direction="outbound", status="delivered"), write(app, guest, 1)
    warehouse.refresh_all(root)
    with root.transaction():
        warehouse.archive(root, store.tenant_a, [archived])
    warehouse.remove(root, store.tenant_a, [deleted])
    write(app, guest, 2)
    root.execute("UPDATE guestcomms.tenants SET timezone = 'Asia/Tokyo' WHERE tenant_id = %s", [store.tenant_a])
    root.execute("UPDATE guestcomms_internal.store_identity SET system_identifier = system_identifier + 1")
    warehouse.refresh_all(root, 1)
    warehouse.check_stored(root)
    warehouse.check_live(root, {store.tenant_a: app})
    assert column(root, "SELECT message_id FROM guestcomms_bi.fact_message WHERE NOT has_source") == [archived]


# Without sketches


def test_sketches_come_with_their_extensions(new_database: Callable[..., Database], logins: None) -> None:
    database = new_database(None)
    root = database.connect()
    root.execute(
        """CREATE SCHEMA testing; GRANT USAGE ON SCHEMA testing TO PUBLIC; CREATE EXTENSION guestcomms CASCADE;
            SELECT guestcomms.create_store()"""
    )
    store = create_tenants(database)
    app = store.connect("app_login", store.tenant_a)
    guests = [add_guest(app, f"Guest {number}") for number in range(4)]
    # A guest answers after 10, 20, 30 and 40 seconds.
    for number, guest in enumerate(guests):
        sent = BEGIN + timedelta(days=number % 2)
        answered = sent + timedelta(seconds=10 * (number + 1))
        record_all(
            app, [message(guest, direction="outbound", sent_at=sent.isoformat()), message(guest, sent_at=answered.isoformat())]
        )
    warehouse.refresh_all(root)
    statistics = (
        "SELECT message_count, replied, guest_count FROM guestcomms.get_message_statistics('2026-01-01', '2027-01-01', 'month')"
    )
    times = """SELECT extract(epoch FROM median_time)::float, extract(epoch FROM p90_time)::float
        FROM guestcomms.get_response_times('2026-01-01', '2027-01-01', 'month')"""
    assert rows(app, statistics) == [(4, 0, None), (4, 4, None)]
    assert rows(app, times) == [(25, pytest.approx(37))]
    root.execute(
        "CREATE EXTENSION hll SCHEMA testing; CREATE EXTENSION tdigest SCHEMA testing; SELECT guestcomms.upgrade_store()"
    )
    warehouse.refresh_all(root)
    assert rows(app, statistics) == [(4, 0, 4), (4, 4, 4)]
    ((median, last),) = rows(app, times)
    assert 20 <= median <= 30 <= last <= 40
