"""Whom a breach touches: what the audit trail tells, with how sure it is, and what it does not tell is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import pytest
from psycopg.rows import dict_row

from tests.support.exports import ask, read
from tests.support.queries import column, one, refused, rows
from tests.support.retention import Business, days
from tests.support.store import Store

LIST = "SELECT * FROM guestcomms.list_affected_guests(%s, %s, %s)"
PAGE = """SELECT guest_id FROM guestcomms.list_affected_guests(now() - interval '1 day', max_rows => 2, after => %s)
    WHERE guest_id IS NOT NULL"""
EVERYBODY = """SELECT count(*) FROM guestcomms.list_affected_guests(now() - interval '1 day', after => %s)
    WHERE guest_id IS NULL"""
CLOCK = (
    "SELECT due_at - %s::timestamptz = '72 hours', time_left BETWEEN '68:59' AND '69:01' FROM guestcomms.get_breach_deadline(%s)"
)


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        business.root.execute("SELECT guestcomms.add_member('privacy_login')")
        yield business


def affected(business: Business, role: str | None = None, since: float = 1, until: float | None = None) -> list[dict[str, Any]]:
    with business.root.cursor(row_factory=dict_row) as cursor:
        end = None if until is None else business.now + days(until)
        return cursor.execute(LIST, [business.now - days(since), end, role]).fetchall()


def told(business: Business, role: str | None = None) -> dict[tuple[UUID | None, str, str], int]:
    return {(row["guest_id"], row["certainty"], row["actor"]): row["guest_count"] for row in affected(business, role)}


def test_a_copy_that_was_read_names_its_guest(business: Business) -> None:
    taken, asked, left_alone = (business.guest() for _ in range(3))
    officer = business.connect("privacy_login")
    read(officer, ask(officer, taken, formats=["jsonl"]))
    ask(officer, asked, formats=["jsonl"])
    found = told(business, "privacy_login")
    assert found == {
        (None, "possible", "privacy_login"): 3,
        (taken, "taken", "privacy_login"): 1,
        (asked, "named", "privacy_login"): 1,
    }
    assert left_alone not in {guest for guest, _, _ in found}


def test_a_copy_of_all_is_of_all(business: Business) -> None:
    for _ in range(4):
        business.guest()
    operator = business.connect("operator_login")
    read(operator, one(operator, "SELECT guestcomms.export_tenant()"))
    found = told(business, "operator_login")
    assert found[None, "taken", "operator_login"] == 4
    assert found[None, "could see all", "operator_login"] == 4
    assert found[None, "possible", "operator_login"] == 4


def test_acts_about_a_guest_and_acts_with_the_tenant_open(business: Business) -> None:
    guest = business.guest()
    officer = business.connect("privacy_login")
    officer.execute("SELECT guestcomms.open_request(%s, 'access')", [guest])
    other = business.guest()
    officer.execute("SELECT guestcomms.place_hold(%s, 'x')", [f'{{"guest_id": "{other}"}}'])
    assert told(business, "privacy_login") == {
        (None, "possible", "privacy_login"): 2,
        (guest, "named", "privacy_login"): 1,
        (other, "named", "privacy_login"): 1,
    }
    officer.execute("SELECT guestcomms.place_hold('{}', 'x')")
    assert told(business, "privacy_login")[None, "could see all", "privacy_login"] == 2


def test_members_and_operators_are_possible_and_nobody_else(business: Business) -> None:
    business.guest()
    possible = {row["actor"] for row in affected(business) if row["certainty"] == "possible"}
    assert {"app_login", "privacy_login", "operator_login"} <= possible
    assert not {"other_app_login", "analyst_login", "nobody_login", "postgres"} & possible
    business.root.execute("SELECT guestcomms.remove_member('app_login')")
    assert ("app_login", ["remove_member"]) in [(row["actor"], row["actions"]) for row in affected(business)]
    assert affected(business, "other_app_login") == []
    assert {row["certainty"] for row in affected(business, "app_login")} == {"possible"}


def test_the_time_is_kept_to(business: Business) -> None:
    guest = business.guest()
    officer = business.connect("privacy_login")
    read(officer, ask(officer, guest, formats=["jsonl"]))
    assert [row["guest_id"] for row in affected(business, "privacy_login", since=1, until=1)] == [None, guest]
    assert [row["guest_id"] for row in affected(business, "privacy_login", since=9, until=-1)] == []
    assert [row["guest_id"] for row in affected(business, "privacy_login", since=-1)] == [None]


def test_pages(business: Business) -> None:
    guests = sorted(business.guest() for _ in range(5))
    for guest in guests:
        business.root.execute("SELECT guestcomms.open_request(%s, 'access')", [guest])
    seen: list[UUID] = []
    while found := column(business.root, PAGE, seen[-1] if seen else None):
        seen += found
    assert seen == guests
    assert one(business.root, EVERYBODY, None) > 0
    assert one(business.root, EVERYBODY, guests[0]) == 0


def test_what_jobs_do_touches_nobody(business: Business) -> None:
    business.write_many(2, 500)
    business.policy()
    business.keep("a year", "content", "1 year")
    before = affected(business)
    business.archive()
    business.run_all()
    assert affected(business) == before


def test_the_clock(business: Business) -> None:
    at = one(business.root, "SELECT now() - interval '3 hours'")
    assert rows(business.root, CLOCK, at, at) == [(True, True)]
    assert one(business.root, "SELECT time_left < '0' FROM guestcomms.get_breach_deadline(now() - interval '73 hours')")


BAD: list[LiteralString] = [
    "SELECT guestcomms.list_affected_guests(NULL)",
    "SELECT guestcomms.list_affected_guests(now(), now())",
    "SELECT guestcomms.list_affected_guests(now(), max_rows => 0)",
    "SELECT guestcomms.list_affected_guests(now(), max_rows => NULL)",
    "SELECT guestcomms.list_affected_guests(now(), max_rows => 10001)",
]


@pytest.mark.parametrize("query", BAD)
def test_bad_input_is_an_error_that_helps(business: Business, query: LiteralString) -> None:
    with refused("22023") as caught:
        business.root.execute(query)
    assert caught.value.diag.message_detail
    assert caught.value.diag.message_hint


def test_each_tenants_own_and_not_for_all(business: Business, store: Store) -> None:
    business.root.execute("SELECT guestcomms.open_request(%s, 'access')", [business.guest()])
    with Business(store) as other:
        assert [row for row in affected(other) if row["guest_id"]] == []
    business.root.execute("SELECT guestcomms.add_member('analyst_login')")
    for login in ("app_login", "analyst_login"):
        with refused("42501"):
            business.connect(login).execute(LIST, [business.now, None, None])
