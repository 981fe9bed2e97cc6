"""Requests of guests about their data: when answers are due, what each step needs, and that every step is written down."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

ZONES = ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "Australia/Lord_Howe"]
KINDS = ["access", "portability", "erasure", "rectification", "restriction", "objection"]
OPEN = "SELECT guestcomms.open_request(%s, %s, %s)"
CHECK = "SELECT guestcomms.record_identity_check(%s, 'by telephone', %s)"
EXTEND = "SELECT guestcomms.extend_request(%s, 'many letters', %s)"
REFUSE = "SELECT guestcomms.refuse_request(%s, 'asked last week', %s)"
COMPLETE = "SELECT guestcomms.complete_request(%s)"
WITHDRAW = "SELECT guestcomms.withdraw_request(%s, 'by telephone')"
STEPS = "SELECT step FROM guestcomms.list_request_steps(%s)"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def opened(office: Archive, kind: str = "access", days_ago: float = 0) -> UUID:
    found: UUID = one(office.root, OPEN, office.guest(), kind, datetime.now(UTC) - timedelta(days=days_ago))
    return found


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or its last one."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def status_of(office: Archive, request: UUID) -> str:
    found: str = one(
        office.root, "SELECT status FROM guestcomms.list_requests(include_closed => true) WHERE request_id = %s", request
    )
    return found


def test_the_end_of_january_is_due_by_the_end_of_february(office: Archive) -> None:
    office.root.execute("UPDATE guestcomms.tenants SET timezone = 'UTC' WHERE tenant_id = %s", [office.tenant])
    for received, due in [
        ("2026-01-31", date(2026, 2, 28)),
        ("2024-01-31", date(2024, 2, 29)),
        ("2025-12-31", date(2026, 1, 31)),
    ]:
        request = one(office.root, OPEN, office.guest(), "access", f"{received} 23:59:59.9+00")
        assert one(office.root, "SELECT due_on FROM guestcomms.subject_requests WHERE request_id = %s", request) == due


def test_months_are_counted_by_the_calendar_and_the_tenants_clock(office: Archive) -> None:
    guest = office.guest()

    @settings(max_examples=60, deadline=None)
    @given(
        st.datetimes(datetime(2018, 5, 26), datetime(2026, 11, 1)),
        st.sampled_from(ZONES),
        st.integers(1, 2),
    )
    def check(at: datetime, zone: str, months: int) -> None:
        received = at.replace(tzinfo=UTC)
        day = received.astimezone(ZoneInfo(zone)).date()
        with office.root.transaction(force_rollback=True):
            office.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [zone, office.tenant])
            request = one(office.root, OPEN, guest, "access", received)
            assert rows(
                office.root, "SELECT received_on, due_on FROM guestcomms.subject_requests WHERE request_id = %s", request
            ) == [(day, months_later(day, 1))]
            # As if it were still its first month.
            office.root.execute("UPDATE guestcomms.subject_requests SET due_on = '2999-01-01' WHERE request_id = %s", [request])
            assert one(office.root, EXTEND, request, months) == months_later(day, 1 + months)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_answered_once_after_the_identity_is_known(office: Archive, kind: str) -> None:
    request = opened(office, kind)
    needs_identity = kind in ("access", "portability", "erasure")
    if needs_identity:
        with refused("55000"):
            office.root.execute(COMPLETE, [request])
        office.root.execute(CHECK, [request, True])
        office.root.execute(CHECK, [request, False])
        with refused("55000"):
            office.root.execute(COMPLETE, [request])
        office.root.execute(CHECK, [request, True])
    office.root.execute(COMPLETE, [request])
    checks = ["identity_confirmed", "identity_rejected", "identity_confirmed"] if needs_identity else []
    assert column(office.root, STEPS, request) == ["opened", *checks, "answered"]
    assert status_of(office, request) == "answered"
    again: list[tuple[LiteralString, list[object]]] = [
        (CHECK, [request, True]),
        (EXTEND, [request, 2]),
        (REFUSE, [request, "authority"]),
        (COMPLETE, [request]),
        (WITHDRAW, [request]),
    ]
    for query, values in again:
        with refused("55000"):
            office.root.execute(query, values)


def test_one_extension_within_the_first_month(office: Archive) -> None:
    request = opened(office, days_ago=5)
    before = one(office.root, "SELECT due_on FROM guestcomms.list_requests() WHERE request_id = %s", request)
    after = one(office.root, EXTEND, request, 1)
    assert before < after
    assert rows(office.root, "SELECT due_on, is_extended FROM guestcomms.list_requests() WHERE request_id = %s", request) == [
        (after, True)
    ]
    with refused("55000"):
        office.root.execute(EXTEND, [request, 1])
    with refused("55000"):
        office.root.execute(EXTEND, [opened(office, days_ago=40), 2])


def test_the_last_day_is_still_in_time(office: Archive) -> None:
    request = opened(office)
    move = "UPDATE guestcomms.subject_requests SET received_on = %s - 31, due_on = %s WHERE request_id = %s"
    today = one(office.root, "SELECT guestcomms_internal.local_day(%s, now())", office.tenant)
    for day, overdue in [(today, False), (today - timedelta(days=1), True)]:
        office.root.execute(move, [day, day, request])
        found = rows(office.root, "SELECT days_left, is_overdue FROM guestcomms.list_requests() WHERE request_id = %s", request)
        assert found == [((day - today).days, overdue)]
    with refused("55000"):
        office.root.execute(EXTEND, [request, 2])
    office.root.execute(move, [today, today, request])
    office.root.execute(EXTEND, [request, 2])


def test_a_refusal_says_where_to_complain(office: Archive) -> None:
    request = opened(office)
    with refused("22023"):
        office.root.execute(REFUSE, [request, None])
    office.root.execute("SELECT guestcomms.set_setting('privacy.complaint_route', 'the authority of Kent')")
    office.root.execute(REFUSE, [request, None])
    query = "SELECT step, note, complaint_route FROM guestcomms.list_request_steps(%s) ORDER BY step_number DESC LIMIT 1"
    assert rows(office.root, query, request) == [("refused", "asked last week", "the authority of Kent")]
    other = opened(office)
    office.root.execute(REFUSE, [other, "the authority of Bern"])
    assert rows(office.root, query, other) == [("refused", "asked last week", "the authority of Bern")]
    with refused("22023"):
        office.root.execute("SELECT guestcomms.refuse_request(%s, NULL, 'authority')", [opened(office)])


def test_the_policy_in_force_stays_with_the_request(office: Archive) -> None:
    request = opened(office)
    office.root.execute("SELECT guestcomms.set_setting('privacy.complaint_route', 'elsewhere')")
    later = opened(office)
    found: dict[UUID, str] = dict(
        rows(office.root, "SELECT request_id, policy ->> 'privacy.complaint_route' FROM guestcomms.list_requests()")
    )
    assert found == {request: "", later: "elsewhere"}


def test_an_objection_counts_from_its_day_and_a_restriction_marks_the_guest(office: Archive) -> None:
    objection, restriction = opened(office, "objection"), opened(office, "restriction")
    guest_of = "SELECT guest_id FROM guestcomms.subject_requests WHERE request_id = %s"
    assert rows(
        office.root,
        "SELECT purpose, is_granted, channel FROM guestcomms.consents WHERE guest_id = %s",
        one(office.root, guest_of, objection),
    ) == [("marketing", False, None)]
    office.root.execute(COMPLETE, [restriction])
    restricted = "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s AND restricted_at IS NOT NULL"
    assert column(office.root, restricted, office.tenant) == [one(office.root, guest_of, restriction)]
    office.root.execute(WITHDRAW, [objection])
    assert status_of(office, objection) == "withdrawn"


def test_the_most_urgent_come_first_in_pages(office: Archive) -> None:
    requests = [opened(office, days_ago=days) for days in (5, 17, 11, 23, 29)]  # no two due on the last of a month
    wanted = [requests[place] for place in (4, 3, 1, 2, 0)]
    seen: list[UUID] = []
    page = "SELECT request_id FROM guestcomms.list_requests(max_rows => 2, after => %s)"
    while found := column(office.root, page, seen[-1] if seen else None):
        seen += found
    assert seen == wanted
    due = one(office.root, "SELECT due_on FROM guestcomms.list_requests() WHERE request_id = %s", wanted[2])
    assert column(office.root, "SELECT request_id FROM guestcomms.list_requests(due_before => %s)", due) == wanted[:2]
    office.root.execute(WITHDRAW, [wanted[0]])
    assert column(office.root, "SELECT request_id FROM guestcomms.list_requests(due_before => %s)", due) == wanted[1:2]
    assert len(column(office.root, "SELECT request_id FROM guestcomms.list_requests(include_closed => true)")) == 5


def test_two_who_answer_at_once_answer_once(office: Archive) -> None:
    request = opened(office, "rectification")
    office.root.execute("SELECT guestcomms.add_member('privacy_login')")
    logins = [office.connect("privacy_login") for _ in range(4)]

    def answer(connection: Connection) -> str | None:
        try:
            connection.execute(COMPLETE, [request])
        except psycopg.Error as error:
            return error.sqlstate
        return None

    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(answer, logins), key=str) == ["55000", "55000", "55000", None]
    assert column(office.root, STEPS, request) == ["opened", "answered"]


def test_steps_go_to_the_audit_trail_without_their_notes(office: Archive) -> None:
    request = opened(office)
    office.root.execute("SELECT guestcomms.record_identity_check(%s, 'quokka', true)", [request])
    trail = "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s AND object = %s ORDER BY occurred_at"
    assert column(office.root, trail, office.tenant, f"request {request}") == ["request_opened", "request_identity_confirmed"]
    assert column(office.root, "SELECT content FROM guestcomms.audit_contents WHERE content::text LIKE '%quokka%'") == []


BAD: list[tuple[LiteralString, str]] = [
    ("SELECT guestcomms.open_request(%(guest)s, 'curiosity')", "22023"),
    ("SELECT guestcomms.open_request(%(guest)s, NULL)", "22023"),
    ("SELECT guestcomms.open_request(%(guest)s, 'access', 'infinity')", "22023"),
    ("SELECT guestcomms.open_request(%(guest)s, 'access', '2018-05-24')", "22023"),
    ("SELECT guestcomms.open_request(%(guest)s, 'access', note => '')", "22023"),
    ("SELECT guestcomms.open_request(%(guest)s, 'access', note => repeat('x', 2001))", "22023"),
    ("SELECT guestcomms.open_request(gen_random_uuid(), 'access')", "23503"),
    ("SELECT guestcomms.open_request(NULL, 'access')", "23503"),
    ("SELECT guestcomms.record_identity_check(%(request)s, NULL, true)", "22023"),
    ("SELECT guestcomms.record_identity_check(%(request)s, 'x', NULL)", "22023"),
    ("SELECT guestcomms.extend_request(%(request)s, NULL)", "22023"),
    ("SELECT guestcomms.extend_request(%(request)s, 'x', 3)", "22023"),
    ("SELECT guestcomms.extend_request(%(request)s, 'x', NULL)", "22023"),
    ("SELECT guestcomms.complete_request(gen_random_uuid())", "42704"),
    ("SELECT guestcomms.withdraw_request(NULL)", "42704"),
    ("SELECT guestcomms.list_requests(max_rows => 0)", "22023"),
    ("SELECT guestcomms.list_requests(max_rows => NULL)", "22023"),
    ("SELECT guestcomms.list_requests(after => gen_random_uuid())", "42704"),
]


@pytest.mark.parametrize(("query", "sqlstate"), BAD)
def test_bad_input_is_an_error_that_helps(office: Archive, query: LiteralString, sqlstate: str) -> None:
    values = {"guest": office.guest(), "request": opened(office)}
    with refused(sqlstate) as caught:
        office.root.execute(query, values)
    assert caught.value.diag.message_detail
    assert caught.value.diag.message_hint


def test_another_tenants_requests_are_not_there(office: Archive, store: Store) -> None:
    request = opened(office)
    with Archive(store) as other:
        assert column(other.root, "SELECT request_id FROM guestcomms.list_requests(include_closed => true)") == []
        assert column(other.root, STEPS, request) == []
        for query in (COMPLETE, WITHDRAW):
            with refused("42704"):
                other.root.execute(query, [request])
        guest = one(office.root, "SELECT guest_id FROM guestcomms.subject_requests WHERE request_id = %s", request)
        with refused("23503"):
            other.root.execute(OPEN, [guest, "access", datetime.now(UTC)])
    assert column(office.root, STEPS, request) == ["opened"]


def test_applications_and_analysts_have_no_part_in_it(office: Archive) -> None:
    request = opened(office)
    office.root.execute("SELECT guestcomms.add_member('analyst_login')")
    for login in ("app_login", "analyst_login"):
        connection = office.connect(login)
        for query, values in ((OPEN, [office.guest(), "access", datetime.now(UTC)]), (COMPLETE, [request]), (STEPS, [request])):
            with refused("42501"):
                connection.execute(query, values)
