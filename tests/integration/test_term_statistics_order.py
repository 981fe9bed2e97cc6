"""What search ranks by, where changes are read in another order than they were made in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.database import Connection
from tests.support.queries import one
from tests.support.statistics import Place, add_places, difference, recount, refresh_all
from tests.support.store import Store

ROSES = "roses and ribbons"
NEW = "SELECT guestcomms.uuid_v7(clock_timestamp())"


@pytest.fixture
def place(store: Store) -> Place:
    return add_places(store)[0]


@pytest.fixture
def root(store: Store) -> Iterator[Connection]:
    connection = store.connect()
    yield connection
    connection.close()


@pytest.fixture
def operator(store: Store, root: Connection, place: Place) -> Iterator[Connection]:
    connection = store.connect("operator_login")
    place.write(root, one(root, NEW), "something to count")
    refresh_all(connection)
    yield connection
    connection.close()


def test_an_edit_of_the_length_alone(root: Connection, operator: Connection, place: Place) -> None:
    found = place.write(root, one(root, NEW), ROSES)
    refresh_all(operator)
    root.execute("UPDATE guestcomms.messages SET body = body || ' !' WHERE message_id = %s", [found])
    refresh_all(operator)
    assert not difference(root)


def test_an_older_transaction_deletes_a_newer_message(store: Store, root: Connection, operator: Connection, place: Place) -> None:
    writer = store.connect(autocommit=False)
    one(writer, "SELECT pg_current_xact_id()")
    found = place.write(root, one(root, NEW), "sunflowers")
    for _ in range(9):
        writer.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [place.tenant])
    writer.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [found])
    writer.commit()
    writer.close()
    refresh_all(operator, 1)
    assert not difference(root)


def test_written_after_a_count(store: Store, root: Connection, operator: Connection, place: Place) -> None:
    with store.connect(tenant=place.tenant, autocommit=False) as own:
        one(own, "SELECT pg_current_xact_id()")
        place.write(root, one(root, NEW), "of another")
        recount(own)
        place.write(own, one(root, NEW), "daffodils")
        own.commit()
    refresh_all(operator)
    assert not difference(root)
