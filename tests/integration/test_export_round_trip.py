"""An export taken into another business or another store gives the same data, and the same export again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from tests.integration.test_exports import set_up
from tests.support.archive import Archive
from tests.support.database import Database
from tests.support.exports import TABLES, ask, opened, read, records, stored
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store, create_tenants

IMPORT = "SELECT record_set, new_count, known_count FROM guestcomms.import_export(%s, %s)"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store, "Sending Business") as archive:
        yield archive


@pytest.fixture
def other(store: Store) -> Iterator[Archive]:
    with Archive(store, "To") as archive:
        yield archive


def exported(office: Archive, messages: int = 12, **arguments: object) -> bytes:
    return read(office.root, ask(office.root, set_up(office, messages), formats=["jsonl"], **arguments))


def everything(office: Archive) -> dict[str, list[str]]:
    return {table: stored(office, table) for table in TABLES}


def imported(office: Archive, data: bytes, dry_run: bool = False) -> dict[str, tuple[int, int]]:
    return {table: (new, known) for table, new, known in rows(office.root, IMPORT, data, dry_run)}


def test_what_was_exported_is_the_same_elsewhere_and_again(office: Archive, other: Archive) -> None:
    data = exported(office)
    before = everything(office)
    counts = imported(other, data)
    assert everything(other) == before
    assert counts == {table: (len(found), 0) for table, found in before.items()}
    guest = one(other.root, "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s", other.tenant)
    again = opened(read(other.root, ask(other.root, guest, formats=["jsonl"])))
    first = opened(data)
    for table in TABLES:
        assert sorted(map(str, records(again, table))) == sorted(map(str, records(first, table))), table


def test_another_store_takes_it(office: Archive, new_database: Callable[..., Database]) -> None:
    data = exported(office)
    before = everything(office)
    with Archive(create_tenants(new_database())) as elsewhere:
        elsewhere.root.execute("SELECT guestcomms.ensure_partitions(now() - interval '400 days')")
        imported(elsewhere, data)
        assert everything(elsewhere) == before


def test_a_truncated_file(office: Archive, other: Archive) -> None:
    data = exported(office, 3)
    for length in range(1, len(data), len(data) // 9):
        with refused("22023", "XX001"):
            imported(other, data[:length])


def test_imports_are_limited(office: Archive) -> None:
    data = exported(office, 2)
    office.root.execute("SELECT guestcomms.set_setting('privacy.imports_per_hour', '2')")
    for _ in range(2):
        imported(office, data, dry_run=True)
    with refused("53400") as caught:
        imported(office, data, dry_run=True)
    assert "privacy.imports_per_hour" in str(caught.value.diag.message_hint)


def test_an_anonymised_copy_goes_into_another_business(office: Archive, other: Archive) -> None:
    set_up(office, 12)
    export: UUID = one(office.root, "SELECT guestcomms.anonymized_copy()")
    data = read(office.root, export)
    other.root.execute("SELECT guestcomms.ensure_partitions(now() - interval '600 days')")
    counts = imported(other, data)
    assert counts["messages"] == (12, 0)
    for content in opened(data).values():
        for word in ("Zoë".encode(), b"Kaya", b"zoe@example.com", b"Mia", b"Sending Business", str(office.tenant).encode()):
            assert word not in content
    kinds = "SELECT channel, direction, count(*) FROM guestcomms.messages WHERE tenant_id = %s GROUP BY 1, 2"
    assert rows(office.root, kinds, office.tenant) == rows(other.root, kinds, other.tenant)
    numbered = "SELECT sent_at FROM guestcomms.messages WHERE tenant_id = %s ORDER BY sent_at"
    moved = zip(column(office.root, numbered, office.tenant), column(other.root, numbered, other.tenant), strict=True)
    (shift,) = {before - after for before, after in moved}
    assert shift > timedelta()
    assert shift % timedelta(weeks=1) == timedelta()
