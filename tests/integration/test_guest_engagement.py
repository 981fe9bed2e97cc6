"""get_guest_engagement(): what guests were sent, what they did, and that the erased are not among them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.business import NOON, Business, Found, pick
from tests.support.queries import refused
from tests.support.store import Store
from tests.support.traffic import add_guest

COUNTS = ("outbound_count", "delivered", "opened", "clicked", "replied", "unsubscribed", "inbound_count")
IS_REFRESHED = pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])

# What whoever erases messages does first.
KEEP_FACTS = """SELECT guestcomms_internal.keep_facts(m.tenant_id, array_agg(m.message_id)) FROM guestcomms.messages AS m
    WHERE m.guest_id = %s GROUP BY m.tenant_id"""


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def engagement(business: Business, guests: list[UUID] | None = None) -> list[Found]:
    return business.ask("SELECT * FROM guestcomms.get_guest_engagement(%s, since => '2026-01-01')", guests)


@IS_REFRESHED
def test_what_a_guest_did(business: Business, is_refreshed: bool) -> None:
    first, _ = business.talk(("outbound", 0), ("inbound", 30))
    business.talk(("outbound", 0), ("inbound", 50))
    business.note(first, "clicked", NOON + timedelta(hours=2))
    business.note(first, "opened", NOON + timedelta(minutes=1))
    business.note(business.write(), "opened", NOON + timedelta(days=1), is_machine=True)
    business.note(business.write(channel="sms"), "delivered")
    business.note(business.write(NOON + timedelta(days=2)), "failed")
    if is_refreshed:
        business.refresh()
    (row,) = engagement(business)
    assert pick([row], "guest_id", *COUNTS) == [(business.guest, 5, 4, 1, 1, 2, 0, 2)]
    assert pick([row], "open_rate", "reply_rate", "mean_response_time") == [(1 / 3, 2 / 4, timedelta(minutes=40))]
    expected = (NOON + timedelta(days=2), NOON + timedelta(minutes=50), NOON + timedelta(hours=2))
    assert pick([row], "last_outbound_at", "last_inbound_at", "last_engaged_at") == [expected]


@IS_REFRESHED
def test_the_most_recently_engaged_first(business: Business, is_refreshed: bool) -> None:
    guests = [add_guest(business.root, f"Guest {number}") for number in range(4)]
    for guest in guests:
        business.write(guest=guest)
    for guest, minutes in ((guests[2], 30), (guests[0], 20)):
        business.write(NOON + timedelta(minutes=minutes), guest=guest, direction="inbound")
    if is_refreshed:
        business.refresh()
    found = [row["guest_id"] for row in engagement(business)]
    assert found == [guests[2], guests[0], *sorted([guests[1], guests[3]])]
    query = "SELECT * FROM guestcomms.get_guest_engagement(since => '2026-01-01', max_rows => 2)"
    assert [row["guest_id"] for row in business.ask(query)] == found[:2]


@IS_REFRESHED
def test_some_guests_and_some_time(business: Business, is_refreshed: bool) -> None:
    guests = [add_guest(business.root, f"Guest {number}") for number in range(3)]
    for guest in guests:
        for days in range(3):
            business.write(NOON + timedelta(days=days), guest=guest)
    if is_refreshed:
        business.refresh()
    assert {row["guest_id"] for row in engagement(business, guests[:2])} == set(guests[:2])
    assert engagement(business, []) == []
    assert engagement(business, [business.tenant]) == []
    query = "SELECT * FROM guestcomms.get_guest_engagement(%s, %s, %s)"
    found = business.ask(query, guests[2:], NOON + timedelta(days=1), NOON + timedelta(days=2))
    assert pick(found, "guest_id", "outbound_count") == [(guests[2], 1)]


def test_the_guests_of_others_are_not_found(store: Store, business: Business) -> None:
    with Business(store) as other:
        other.write()
        for _ in range(2):
            assert engagement(business, [other.guest]) == []
            other.refresh()


def test_what_changes_is_counted_once(business: Business) -> None:
    message, _ = business.write(), business.write()
    business.refresh()
    business.note(message, "opened")
    assert pick(engagement(business), "outbound_count", "opened") == [(2, 1)]
    other = add_guest(business.root, "Another")
    move = "UPDATE guestcomms.messages SET guest_id = %s, thread_id = %s WHERE message_id = %s"
    business.root.execute(move, [other, business.open_thread(other), message])
    for _ in range(2):
        for guest in (business.guest, other):
            assert pick(engagement(business, [guest]), "guest_id", "outbound_count") == [(guest, 1)]
        business.refresh()


@pytest.mark.parametrize("is_read_between", [False, True], ids=["at once", "in steps"])
def test_the_erased_are_not_among_them(business: Business, is_read_between: bool) -> None:
    stays = add_guest(business.root, "Another")
    for guest in (business.guest, stays):
        business.write(guest=guest)
    business.refresh()
    business.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [business.guest])
    if is_read_between:
        business.refresh()
        assert pick(engagement(business), "guest_id") == [(stays,)]
    with business.root.transaction():
        business.root.execute(KEEP_FACTS, [business.guest])
        business.root.execute("DELETE FROM guestcomms.messages WHERE guest_id = %s", [business.guest])
    assert pick(engagement(business), "guest_id") == [(stays,)]
    business.refresh()
    assert pick(engagement(business), "guest_id") == [(stays,)]
    assert engagement(business, [business.guest]) == []
    assert engagement(business, [UUID(int=0)]) == []
    # The message was sent all the same.
    count = "SELECT message_count FROM guestcomms.get_message_statistics('2026-03-01')"
    assert pick(business.ask(count), "message_count") == [(2,)]


def test_the_erased_are_gone_at_once(business: Business) -> None:
    business.write()
    business.refresh()
    business.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [business.guest])
    assert engagement(business) == []
    assert engagement(business, [business.guest]) == []


def test_bad_questions(business: Business) -> None:
    for arguments in ("max_rows => 0", "max_rows => 10001", "max_rows => NULL", "since => 'infinity'", "until => '1990-01-01'"):
        with refused("22023"):
            business.ask(f"SELECT * FROM guestcomms.get_guest_engagement({arguments})".encode())


def test_a_new_business_has_none(business: Business) -> None:
    assert engagement(business) == []
