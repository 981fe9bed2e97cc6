"""Retention policies: added, replaced, removed, each tenant's own; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import LiteralString

import pytest

from tests.support.queries import one, refused, rows
from tests.support.retention import Business, midnight, months_before
from tests.support.store import Store

KIRITIMATI = "Pacific/Kiritimati"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def test_months_are_the_tenants(business: Business) -> None:
    business.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [KIRITIMATI, business.tenant])
    cutoff = "SELECT guestcomms_internal.retention_cutoff(%s, %s, %s)"
    at = midnight(date(2026, 3, 31), KIRITIMATI)
    assert one(business.root, cutoff, business.tenant, "1 month", at) == months_before(at, 1, KIRITIMATI)
    assert months_before(at, 1, KIRITIMATI) == midnight(date(2026, 2, 28), KIRITIMATI)


def test_a_policy_is_replaced_listed_and_removed(business: Business) -> None:
    first = business.keep("x", "content", "1 year")
    assert business.keep("x", "behaviour", "2 years", is_enabled=False) == first
    told = "SELECT name, retention_class, keep_for = '2 years', is_enabled FROM guestcomms.list_retention_policies()"
    assert rows(business.root, told) == [("x", "behaviour", True, False)]
    assert {step for _, step in business.preview()} == {"messages", "archive"}
    business.write_many(1, 5000)
    assert business.run_all() == {}
    assert one(business.root, "SELECT guestcomms.remove_retention_policy('x')")
    assert not one(business.root, "SELECT guestcomms.remove_retention_policy('x')")


BAD: list[tuple[LiteralString, str]] = [
    ("SELECT guestcomms.add_retention_policy('x', 'key', '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', NULL, '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'texts', '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy(NULL, 'content', '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy('', 'content', '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy(repeat('x', 201), 'content', '1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', NULL)", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '0')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '-1 year')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '101 years')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '1 year', 'birth')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '1 year', NULL)", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'proof', '1 year', 'wedding')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '1 year', channels => '{}')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'content', '1 year', channels => '{fax}')", "22023"),
    ("SELECT guestcomms.add_retention_policy('x', 'contact', '1 year', channels => '{sms}')", "22023"),
    ("SELECT guestcomms.run_retention(0)", "22023"),
    ("SELECT guestcomms.run_retention(NULL)", "22023"),
]


@pytest.mark.parametrize(("query", "sqlstate"), BAD)
def test_bad_input_is_an_error_that_helps(business: Business, query: LiteralString, sqlstate: str) -> None:
    with refused(sqlstate) as caught:
        business.root.execute(query)
    assert caught.value.diag.message_hint
    assert rows(business.root, "SELECT FROM guestcomms.list_retention_policies()") == []


def test_old_snapshots_are_refused(business: Business) -> None:
    business.keep("x", "content", "1 year")
    connection = business.connect(autocommit=False)
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with refused("25001"):
        connection.execute("SELECT guestcomms.run_retention()")


def test_policies_are_each_tenants_own(business: Business, store: Store) -> None:
    business.write_many(1, 500)
    business.keep("a year", "content", "1 year")
    with Business(store) as other:
        kept = other.write_many(1, 500)
        assert rows(other.root, "SELECT FROM guestcomms.list_retention_policies()") == []
        assert other.preview() == {}
        assert not one(other.root, "SELECT guestcomms.remove_retention_policy('a year')")
        assert other.run_all() == {}
        assert business.run_all()["messages"] == 1
        assert other.hot() == set(kept)
        assert rows(other.root, "SELECT FROM guestcomms.list_retention_runs()") == []


def test_who_may(business: Business) -> None:
    calls: dict[LiteralString, str] = {
        "SELECT guestcomms.add_retention_policy('x', 'content', '1 year')": "privacy_login operator_login",
        "SELECT * FROM guestcomms.preview_retention()": "privacy_login operator_login",
        "SELECT * FROM guestcomms.list_retention_runs()": "privacy_login operator_login",
        "SELECT * FROM guestcomms.run_retention()": "operator_login",
        "SELECT guestcomms.remove_retention_policy('x')": "privacy_login operator_login",
    }
    for login in ("analyst_login", "privacy_login"):
        business.root.execute("SELECT guestcomms.add_member(%s)", [login])
    for login in ("app_login", "analyst_login", "privacy_login", "operator_login"):
        connection = business.connect(login)
        for call, allowed in calls.items():
            if login in allowed.split():
                connection.execute(call)
            else:
                with refused("42501"):
                    connection.execute(call)
