"""What search ranks by is exactly what the messages hold, however they changed and whenever it was refreshed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, copy_rows, one, refused, rows
from tests.support.statistics import (
    FALL_BEHIND,
    INSERT,
    LATELY,
    Place,
    add_place,
    add_places,
    difference,
    recount,
    refresh,
    refresh_all,
)
from tests.support.store import Store
from tests.support.traffic import load, loaded_row, message, new_message_id, record_all

EDIT = "UPDATE guestcomms.messages SET body = %s WHERE tenant_id = %s AND message_id = %s"
DELETE = "DELETE FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s"
ROSES = "roses, a rose and the menu"
TULIPS = "the tulips stand in water"


@pytest.fixture(scope="module")
def places(store: Store) -> tuple[Place, Place]:
    return add_places(store)


@pytest.fixture(scope="module")
def place(places: tuple[Place, Place]) -> Place:
    return places[0]


@pytest.fixture(scope="module")
def root(store: Store, places: tuple[Place, Place]) -> Connection:
    connection = store.connect()
    connection.execute("SET lock_timeout = '5s'")  # a test that waits for itself should fail
    for number, place in enumerate(places):
        for month in (1, 2, 7):
            at = LATELY - timedelta(days=30 * month)
            place.write(connection, new_message_id(connection, at), f"{ROSES} number {number} {month}", subject="Seats")
    return connection


@pytest.fixture
def operator(store: Store, root: Connection) -> Iterator[Connection]:
    """A login of the operators, all being counted, whatever a test before has left."""
    connection = store.connect("operator_login")
    root.execute(FALL_BEHIND)
    refresh_all(connection)
    assert not difference(root)
    yield connection
    connection.close()


@pytest.fixture
def writer(store: Store) -> Iterator[Connection]:
    """A session in whose transactions a test writes."""
    connection = store.connect(autocommit=False)
    connection.execute("SET lock_timeout = '5s'")
    connection.commit()
    yield connection
    connection.close()


def new_id(root: Connection) -> UUID:
    return new_message_id(root, LATELY)


def is_settled(root: Connection, operator: Connection) -> bool:
    refresh_all(operator)
    return not difference(root)


# Changes, in any rhythm

SET = "UPDATE guestcomms.messages SET {} WHERE tenant_id = %(tenant)s AND message_id = %(id)s"
REMOVE = "DELETE FROM guestcomms.messages WHERE tenant_id = %(tenant)s AND message_id = %(id)s"
AGAIN = INSERT.replace("%(body)s", "'tulips again'")
CHANGES = {
    "insert": [INSERT],
    "an empty message": [INSERT.replace("%(body)s", "'?!'")],
    "insert and delete": [INSERT, REMOVE],
    "body": [INSERT, SET.format("body = 'a menu of tulips, seats'")],
    "subject": [INSERT, SET.format("subject = 'Seating roses'")],
    "language": [INSERT, SET.format("language = 'de'"), SET.format("language = NULL")],
    "status": [INSERT, SET.format("status = 'read', read_at = sent_at")],
    "status between edits": [INSERT, SET.format("body = 'one'"), SET.format("status = 'read'"), SET.format("body = 'two'")],
    "several edits": [INSERT, *(SET.format(f"body = 'tulips {n} and {n}'") for n in range(4))],
    "edited back": [INSERT, SET.format("body = 'gone'"), SET.format("body = %(body)s")],
    "delete and insert again": [INSERT, REMOVE, AGAIN],
    "all of it, twice": [INSERT, SET.format("body = 'x'"), REMOVE, AGAIN, SET.format("body = 'y'"), REMOVE],
    "all of a tenant": [INSERT, "UPDATE guestcomms.messages SET body = body || ' more' WHERE tenant_id = %(tenant)s"],
    "both tenants": [INSERT, "UPDATE guestcomms.messages SET body = 'all ' || body"],
    "another moment": [INSERT, SET.format("sent_at = sent_at + interval '1 microsecond'"), SET.format("body = 'x'")],
}


@pytest.mark.parametrize("rhythm", ["at the end", "after each", "tiny batches", "trimmed", "one transaction"])
@pytest.mark.parametrize("changes", CHANGES)
def test_changes_are_followed(
    store: Store, root: Connection, operator: Connection, writer: Connection, place: Place, changes: str, rhythm: str
) -> None:
    values: dict[str, object] = {"tenant": place.tenant, "guest": place.guest, "thread": place.thread, "id": new_id(root)}
    values |= {"language": "en", "subject": "Seats", "body": ROSES}
    for change in CHANGES[changes]:
        writer.execute(change.encode(), values)
        if rhythm == "one transaction":
            continue
        writer.commit()
        if rhythm == "after each":
            assert is_settled(root, operator)
        elif rhythm == "tiny batches":
            refresh(operator, 1)
        elif rhythm == "trimmed":
            refresh(operator, 1)
            operator.execute("SELECT guestcomms.trim_change_log()")
    writer.commit()
    assert is_settled(root, operator)


@pytest.mark.parametrize("max_rows", [1, 7, 20_000])
def test_every_way_in(store: Store, root: Connection, operator: Connection, place: Place, max_rows: int) -> None:
    app = store.connect("app_login", store.tenant_a)
    record_all(app, [message(place.guest, body=f"{TULIPS} {n} {n % 3}") for n in range(30)])
    with app.transaction():
        copy_rows(
            app,
            "COPY guestcomms.import_messages (guest_id, direction, channel, body) FROM STDIN",
            [(place.guest, "inbound", "sms", f"{ROSES} {n}") for n in range(25)],
        )
        assert one(app, "SELECT imported_count FROM guestcomms.run_import()") == 25
    loader = store.connect("operator_login")
    loader.execute("SET ROLE guestcomms_operator")
    at = [LATELY - timedelta(days=day) for day in range(0, 300, 20)]
    load(loader, [loaded_row(loader, place.tenant, place.guest, place.thread, moment, TULIPS) for moment in at])
    refresh_all(operator, max_rows)
    assert not difference(root)
    counted = "SELECT message_count FROM guestcomms.term_statistics WHERE (tenant_id, term) = (%s, 'tulip')"
    assert one(root, counted, place.tenant) >= 45


def test_a_status_changes_nothing(root: Connection, operator: Connection, place: Place) -> None:
    place.write(root, new_id(root), ROSES)
    assert is_settled(root, operator)
    root.execute("UPDATE guestcomms.messages SET status = 'read', read_at = sent_at")
    assert one(root, "SELECT count(*) FROM guestcomms_internal.replaced_messages") == 0
    written = "SELECT tenant_id, term, xmin::text FROM guestcomms.term_statistics ORDER BY 1, 2"
    before = rows(root, written)
    assert is_settled(root, operator)
    assert rows(root, written) == before


def test_what_was_replaced_is_kept_no_longer_than_needed(
    store: Store, root: Connection, operator: Connection, place: Place
) -> None:
    found = place.write(root, new_id(root), ROSES)
    root.execute(EDIT, [TULIPS, place.tenant, found])
    root.execute(DELETE, [place.tenant, found])
    left = "SELECT count(*) FROM guestcomms_internal.replaced_messages"
    assert one(root, left) == 2
    root.execute("SELECT guestcomms.trim_change_log()")
    assert one(root, left) == 2
    assert is_settled(root, operator)
    root.execute("SELECT guestcomms.trim_change_log()")
    assert one(root, left) == 0


# Transactions


def test_a_late_commit_is_neither_lost_nor_counted_early(
    root: Connection, operator: Connection, writer: Connection, place: Place
) -> None:
    kept, removed = (place.write(root, new_id(root), ROSES) for _ in range(2))
    late = place.write(writer, new_id(root), TULIPS)
    writer.execute(EDIT, [TULIPS, place.tenant, kept])
    writer.execute(EDIT, ["twice edited", place.tenant, kept])
    writer.execute(DELETE, [place.tenant, removed])
    # In another conversation: who writes to the same one waits.
    elsewhere = add_place(root, place.tenant)
    for number in range(3):
        elsewhere.write(root, new_id(root), f"{ROSES} {number}")
        assert is_settled(root, operator)
        root.execute("SELECT guestcomms.trim_change_log()")
    writer.commit()
    assert difference(root)
    assert is_settled(root, operator)
    root.execute(EDIT, [ROSES, place.tenant, late])
    assert is_settled(root, operator)


def test_what_is_rolled_back_never_was(root: Connection, operator: Connection, writer: Connection, place: Place) -> None:
    kept = place.write(root, new_id(root), ROSES)
    writer.execute(EDIT, [TULIPS, place.tenant, kept])
    assert is_settled(root, operator)
    writer.rollback()
    assert is_settled(root, operator)
    writer.execute("SAVEPOINT part")
    writer.execute(EDIT, ["gone", place.tenant, kept])
    writer.execute("ROLLBACK TO part")
    writer.execute(EDIT, [TULIPS, place.tenant, kept])
    writer.commit()
    assert is_settled(root, operator)


def test_a_refresh_that_is_rolled_back_is_done_again(store: Store, root: Connection, operator: Connection, place: Place) -> None:
    found = place.write(root, new_id(root), ROSES)
    root.execute(EDIT, [TULIPS, place.tenant, found])
    with store.connect(autocommit=False) as other:
        assert refresh(other) > 0
        other.rollback()
    assert difference(root)
    assert is_settled(root, operator)


def test_a_message_edited_between_batches(root: Connection, operator: Connection, place: Place) -> None:
    """At least ten changes are read at a time."""
    found = [place.write(root, new_id(root), f"{ROSES} {n}") for n in range(12)]
    for number in range(36):
        root.execute(EDIT, [f"{TULIPS} {number}", place.tenant, found[number % 12]])
    for number in range(6):
        assert refresh(operator, 1) > 0
        root.execute(EDIT, [f"{ROSES} again {number}", place.tenant, found[number]])
        root.execute(DELETE, [place.tenant, found[11 - number]])
    assert is_settled(root, operator)


def test_many_changes_in_one_batch(root: Connection, operator: Connection, place: Place) -> None:
    for number in range(30):
        place.write(root, new_id(root), f"{ROSES} {number}")
    assert refresh(operator) >= 30
    assert not difference(root)


def test_a_second_session_waits_for_a_count(store: Store, root: Connection, operator: Connection) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
    root.execute(FALL_BEHIND)
    assert refresh(operator) == 1
    with ThreadPoolExecutor(1) as pool, store.connect(autocommit=False) as first:
        assert refresh(first) > 0
        second = pool.submit(refresh, operator)
        while not second.done() and not one(root, waiting, operator.info.backend_pid):
            pass
        first.commit()
        assert second.result() > 0
    assert is_settled(root, operator)


def test_two_sessions_at_once(store: Store, root: Connection, operator: Connection, place: Place) -> None:
    found = [place.write(root, new_id(root), f"{ROSES} {n}") for n in range(40)]
    for identifier in found:
        root.execute(EDIT, [TULIPS, place.tenant, identifier])

    def work(_: int) -> int:
        with store.connect("operator_login") as connection:
            return refresh_all(connection, 1)

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, range(2))) > 2
    assert not difference(root)


# Counting anew


def test_a_tenant_is_counted_anew(store: Store, root: Connection, operator: Connection, writer: Connection, place: Place) -> None:
    """Between batches, with changes before it that are still to be read and one that is not yet committed."""
    found = [place.write(root, new_id(root), f"{ROSES} {n}") for n in range(15)]
    writer.execute(EDIT, [TULIPS, place.tenant, found[0]])
    late = place.write(writer, new_id(root), TULIPS)
    assert refresh(operator, 1) > 0
    root.execute("DELETE FROM guestcomms.term_statistics WHERE tenant_id = %s", [place.tenant])
    messages = one(root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s", place.tenant)
    with store.connect("operator_login", place.tenant) as own:
        assert recount(own) == messages + 1
    root.execute(EDIT, [TULIPS, place.tenant, found[1]])
    writer.commit()
    root.execute(DELETE, [place.tenant, late])
    assert refresh(operator, 1) > 0
    assert is_settled(root, operator)


def test_all_are_counted_anew(root: Connection, operator: Connection, writer: Connection, place: Place) -> None:
    found = place.write(root, new_id(root), ROSES)
    writer.execute(EDIT, [TULIPS, place.tenant, found])
    root.execute("DELETE FROM guestcomms.term_statistics")
    assert recount(operator) > 0
    writer.commit()
    assert is_settled(root, operator)


def test_a_new_tenant(store: Store, root: Connection, operator: Connection) -> None:
    tenant = one(operator, "SELECT guestcomms.add_tenant('Tenant C')")
    added = add_place(root, tenant)
    first = added.write(root, new_id(root), ROSES)
    refresh(operator, 1)
    root.execute(EDIT, [TULIPS, tenant, first])
    assert is_settled(root, operator)
    one(operator, "SELECT guestcomms.add_tenant('Tenant D')")  # without messages
    assert is_settled(root, operator)


def test_a_consumer_that_fell_behind(root: Connection, operator: Connection, writer: Connection, place: Place) -> None:
    found = place.write(root, new_id(root), ROSES)
    writer.execute(EDIT, [TULIPS, place.tenant, found])
    root.execute(FALL_BEHIND)
    root.execute("SELECT guestcomms.trim_change_log()")
    refresh(operator)
    place.write(root, new_id(root), f"{ROSES} between")
    refresh(operator)
    writer.commit()
    root.execute("SELECT guestcomms.trim_change_log()")
    assert is_settled(root, operator)


def test_trimming_makes_it_fall_behind(root: Connection, operator: Connection, place: Place) -> None:
    place.write(root, new_id(root), ROSES)
    root.execute("UPDATE guestcomms.consumers SET read_at = now() - interval '1 year' WHERE consumer = 'term_statistics'")
    root.execute("SELECT guestcomms.trim_change_log()")
    assert one(operator, "SELECT must_rebuild FROM guestcomms.list_lag() WHERE consumer = 'term_statistics'")
    assert is_settled(root, operator)


# Who and how


def test_it_needs_a_transaction_of_its_own(store: Store, root: Connection, operator: Connection, place: Place) -> None:
    with store.connect(autocommit=False) as connection:
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            with refused("25001"):
                refresh(connection)
            connection.rollback()
        place.write(connection, new_id(root), ROSES)
        with refused("25001"):
            refresh(connection)
        connection.rollback()
    assert is_settled(root, operator)


@pytest.mark.parametrize("max_rows", [0, -1, None])
def test_a_bad_batch_is_refused(operator: Connection, max_rows: Any) -> None:
    with refused("22023") as caught:
        refresh(operator, max_rows)
    assert caught.value.diag.message_hint


@pytest.mark.parametrize("login", ["app_login", "analyst_login", "privacy_login", "issuer_login", "nobody_login"])
def test_it_is_for_operators(store: Store, login: str) -> None:
    with store.connect(login) as connection, refused("42501"):
        refresh(connection)


def test_the_job(root: Connection, operator: Connection, place: Place) -> None:
    root.execute(FALL_BEHIND)
    found = place.write(root, new_id(root), ROSES)
    operator.execute("CALL guestcomms.run_job('refresh_term_statistics')")
    assert not difference(root)
    root.execute(EDIT, [TULIPS, place.tenant, found])
    operator.execute("CALL guestcomms.run_job('refresh_term_statistics')")
    assert not difference(root)
    assert column(operator, "SELECT outcome FROM guestcomms.job_history('refresh_term_statistics')") == ["done", "done"]
    assert refresh(operator) == 0
