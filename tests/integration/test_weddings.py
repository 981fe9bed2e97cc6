"""Weddings and who is invited to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import LiteralString
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest

ADD = "SELECT guestcomms.add_wedding(%s, held_on => %s)"
INVITE = "SELECT guestcomms.add_guest_to_wedding(%s, %s, party => %s, role => %s, rsvp => %s)"
INVITED = "SELECT guest_id, guest_party, guest_role, guest_rsvp, rsvp_at IS NOT NULL FROM guestcomms.list_wedding_guests(%s)"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def test_weddings_come_in_the_order_of_their_days_in_pages(office: Archive) -> None:
    days = [date(2027, 6, 12), None, date(2026, 1, 1), date(2027, 6, 12), None, date(2028, 2, 29)]
    added = [one(office.root, ADD, f"W{number}", day) for number, day in enumerate(days)]
    wanted = [pair[1] for pair in sorted(zip(days, added, strict=True), key=lambda pair: (pair[0] or date.max, pair[1]))]
    seen: list[UUID] = []
    page = "SELECT wedding_id FROM guestcomms.list_weddings(max_rows => 2, after => %s)"
    while found := column(office.root, page, seen[-1] if seen else None):
        seen += found
    assert seen == wanted
    bounded = "SELECT held_on FROM guestcomms.list_weddings('2026-01-02', '2028-02-29')"
    assert column(office.root, bounded) == [date(2027, 6, 12)] * 2
    assert len(column(office.root, "SELECT name FROM guestcomms.list_weddings(until => '2026-01-02')")) == 1


def test_what_is_not_given_stays(office: Archive) -> None:
    wedding = one(office.root, "SELECT guestcomms.add_wedding('A', '2027-01-01', 'Europe/Paris', 'Barn')")
    show = "SELECT name, held_on, timezone, place FROM guestcomms.list_weddings()"
    office.root.execute("SELECT guestcomms.update_wedding(%s, name => 'B')", [wedding])
    assert rows(office.root, show) == [("B", date(2027, 1, 1), "Europe/Paris", "Barn")]
    office.root.execute("SELECT guestcomms.update_wedding(%s, held_on => 'infinity', timezone => '', place => '')", [wedding])
    assert rows(office.root, show) == [("B", None, None, None)]


def test_a_guest_is_invited_once_and_a_repeat_updates(office: Archive) -> None:
    wedding, guest = one(office.root, ADD, "A", None), office.guest()
    office.root.execute(INVITE, [wedding, guest, "Kaya", "uncle", None])
    assert rows(office.root, INVITED, wedding) == [(guest, "Kaya", "uncle", "pending", False)]
    office.root.execute(INVITE, [wedding, guest, None, "", "yes"])
    assert rows(office.root, INVITED, wedding) == [(guest, "Kaya", None, "yes", True)]
    first = one(office.root, "SELECT rsvp_at FROM guestcomms.list_wedding_guests(%s)", wedding)
    office.root.execute("SELECT guestcomms.set_rsvp(%s, %s, 'yes')", [wedding, guest])
    assert one(office.root, "SELECT rsvp_at FROM guestcomms.list_wedding_guests(%s)", wedding) == first
    office.root.execute("SELECT guestcomms.set_rsvp(%s, %s, 'no')", [wedding, guest])
    assert one(office.root, "SELECT rsvp_at FROM guestcomms.list_wedding_guests(%s)", wedding) > first
    assert rows(office.root, "SELECT guest_count, yes_count, no_count, open_count FROM guestcomms.list_weddings()") == [
        (1, 0, 1, 0)
    ]
    for removed in (True, False):
        assert one(office.root, "SELECT guestcomms.remove_guest_from_wedding(%s, %s)", wedding, guest) is removed
    assert rows(office.root, INVITED, wedding) == []


def test_guests_of_a_wedding_by_name_answer_and_party_in_pages(office: Archive) -> None:
    wedding = one(office.root, ADD, "A", None)
    names = ["bo", "Ada", "Çem", "Bo", "Dee", "Ada"]
    guests = {add_guest(office.root, name): name for name in names}
    nameless = one(office.root, "SELECT guestcomms.resolve_guest('sms', '+44 7700 900199')")
    for number, guest in enumerate([*guests, nameless]):
        office.root.execute(INVITE, [wedding, guest, f"party {number % 2}", None, "yes" if number < 3 else "maybe"])
    seen: list[UUID] = []
    page = "SELECT guest_id FROM guestcomms.list_wedding_guests(%s, max_rows => 2, after => %s)"
    while found := column(office.root, page, wedding, seen[-1] if seen else None):
        seen += found
    assert seen[0] == nameless
    assert len(seen) == len(set(seen)) == 7
    assert [guests[guest].lower() for guest in seen[1:]][:5] == ["ada", "ada", "bo", "bo", "dee"]
    assert len(column(office.root, "SELECT phone FROM guestcomms.list_wedding_guests(%s, rsvp => 'yes')", wedding)) == 3
    assert set(
        column(office.root, "SELECT guest_party FROM guestcomms.list_wedding_guests(%s, party => 'party 1')", wedding)
    ) == {"party 1"}
    assert (
        one(office.root, "SELECT phone FROM guestcomms.list_wedding_guests(%s) WHERE guest_id = %s", wedding, nameless)
        == "+447700900199"
    )


def test_a_wedding_narrows_a_search_down(office: Archive) -> None:
    wedding, guest = one(office.root, ADD, "A", None), office.guest()
    record = "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'vegan cake', wedding_id => %s)"
    inside, _ = (one(office.root, record, guest, each) for each in (wedding, None))
    assert column(office.root, "SELECT message_id FROM guestcomms.search_messages('cake', wedding_id => %s)", wedding) == [inside]
    assert one(office.root, "SELECT message_count FROM guestcomms.count_matches('cake', wedding_id => %s)", wedding) == 1


BAD: list[tuple[LiteralString, str]] = [
    ("SELECT guestcomms.add_wedding('')", "22023"),
    ("SELECT guestcomms.add_wedding(NULL)", "22023"),
    ("SELECT guestcomms.add_wedding(repeat('x', 201))", "22023"),
    ("SELECT guestcomms.add_wedding('A', timezone => 'Mars')", "22023"),
    ("SELECT guestcomms.add_wedding('A', place => repeat('x', 501))", "22023"),
    ("SELECT guestcomms.update_wedding(%(wedding)s)", "22004"),
    ("SELECT guestcomms.update_wedding(%(wedding)s, name => '')", "22023"),
    ("SELECT guestcomms.update_wedding(%(nobody)s, name => 'B')", "23503"),
    ("SELECT guestcomms.list_weddings(max_rows => 0)", "22023"),
    ("SELECT guestcomms.list_weddings(after => %(nobody)s)", "23503"),
    ("SELECT guestcomms.add_guest_to_wedding(%(nobody)s, %(guest)s)", "23503"),
    ("SELECT guestcomms.add_guest_to_wedding(%(wedding)s, %(nobody)s)", "23503"),
    ("SELECT guestcomms.add_guest_to_wedding(%(wedding)s, NULL)", "23503"),
    ("SELECT guestcomms.add_guest_to_wedding(%(wedding)s, %(guest)s, rsvp => 'perhaps')", "22023"),
    ("SELECT guestcomms.add_guest_to_wedding(%(wedding)s, %(guest)s, party => repeat('x', 201))", "22001"),
    ("SELECT guestcomms.set_rsvp(%(wedding)s, %(guest)s, 'yes')", "23503"),
    ("SELECT guestcomms.set_rsvp(%(wedding)s, %(guest)s, NULL)", "22023"),
    ("SELECT guestcomms.list_wedding_guests(%(wedding)s, rsvp => 'perhaps')", "22023"),
    ("SELECT guestcomms.list_wedding_guests(%(wedding)s, after => %(nobody)s)", "23503"),
]


@pytest.mark.parametrize(("query", "sqlstate"), BAD)
def test_bad_input_is_an_error_that_helps(office: Archive, query: LiteralString, sqlstate: str) -> None:
    values = {"guest": office.guest(), "wedding": one(office.root, ADD, "A", None), "nobody": UUID(int=7)}
    with refused(sqlstate) as caught:
        office.root.execute(query, values)
    assert caught.value.diag.message_hint


def test_another_tenants_weddings_are_not_there(office: Archive, store: Store) -> None:
    wedding, guest = one(office.root, ADD, "A", None), office.guest()
    office.root.execute(INVITE, [wedding, guest, None, None, None])
    with Archive(store) as other:
        assert rows(other.root, "SELECT * FROM guestcomms.list_weddings()") == []
        assert rows(other.root, INVITED, wedding) == []
        own = other.guest()
        for query, values in (
            ("SELECT guestcomms.update_wedding(%s, name => 'X')", [wedding]),
            ("SELECT guestcomms.add_guest_to_wedding(%s, %s)", [wedding, own]),
            ("SELECT guestcomms.add_guest_to_wedding(%s, %s)", [one(other.root, ADD, "B", None), guest]),
            ("SELECT guestcomms.set_rsvp(%s, %s, 'no')", [wedding, own]),
        ):
            with refused("23503"):
                other.root.execute(query.encode(), values)
    assert rows(office.root, INVITED, wedding) == [(guest, None, None, "pending", False)]
