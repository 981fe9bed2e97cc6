"""Pseudonyms, fakes and shifted times are of a tenant's own key; bands are what arithmetic says."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from guestcomms import pseudonyms
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection, Database
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store, create_tenants

many = settings(deadline=None, max_examples=60)
OF_A_KEY: list[tuple[LiteralString, str]] = [
    ("SELECT guestcomms.pseudonymize('Zoë Kaya')", "pseudonymize"),
    ("SELECT guestcomms.fake_name('Zoë Kaya')", "fake_name"),
    ("SELECT guestcomms.fake_address('email', 'zoe@example.com')", "fake_address"),
    ("SELECT guestcomms.fake_address('sms', '+447700900123')", "fake_address"),
    ("SELECT string_agg(guestcomms.shift_date('2026-05-14', n::text)::text, ' ') FROM generate_series(1, 9) AS n", "shift_date"),
]
SECRET = "SELECT secret FROM guestcomms_internal.store_secrets WHERE purpose = 'pseudonyms'"


@pytest.fixture
def officer(store: Store) -> Connection:
    """An operator who has tenant A open."""
    return store.connect("operator_login", store.tenant_a)


def key_of(store: Store, tenant: UUID) -> bytes:
    return hmac.digest(bytes(one(store.connect(), SECRET)), tenant.bytes, "sha256")


@pytest.mark.parametrize(("query", "name"), OF_A_KEY)
def test_each_tenant_and_each_key_has_its_own(
    new_database: Callable[[], Database], logins: None, query: LiteralString, name: str
) -> None:
    store = create_tenants(new_database())
    a, again, b = (store.connect("operator_login", tenant) for tenant in (store.tenant_a, store.tenant_a, store.tenant_b))
    before = one(a, query)
    assert one(again, query) == before != one(b, query)
    a.execute("SELECT guestcomms.rotate_pseudonym_key()")
    assert one(again, query) not in (before, one(b, query))


def test_a_pseudonym_is_of_value_purpose_and_tenant(store: Store, officer: Connection) -> None:
    query = "SELECT guestcomms.pseudonymize(%s, %s)"
    pairs = [("zoe", "may"), ("zoe", "june"), ("oe", "mayz"), ("zoemay", ""), ("Zoe", "may"), ("", "zoemay"), ("|zoe", "4")]
    found = [one(officer, query, *pair) for pair in pairs]
    assert len(set(found)) == len(pairs)
    data = b"value|3|mayzoe"
    assert found[0] == hmac.new(key_of(store, store.tenant_a), data, hashlib.sha256).hexdigest()[:32]
    assert one(officer, query, None, "may") is None


def test_fakes_are_those_of_the_tenants_key(store: Store, officer: Connection) -> None:
    key = key_of(store, store.tenant_a)
    assert one(officer, "SELECT guestcomms.fake_name('Zoë Kaya')") == pseudonyms.fake_name(key, "Zoë Kaya")
    for channel in pseudonyms.CHANNELS:
        found = one(officer, "SELECT guestcomms.fake_address(%s, 'zoe')", channel)
        assert found == pseudonyms.fake_address(key, channel, "zoe")
        # As the ways in would take it.
        one(store.connect("app_login", store.tenant_a), "SELECT guestcomms.resolve_guest(%s, %s)", channel, found)
    with refused("22023"):
        officer.execute("SELECT guestcomms.fake_address('fax', 'zoe')")


def test_times_of_a_subject_keep_distances_weekdays_and_hours(officer: Connection) -> None:
    officer.execute("SET timezone = 'Europe/Berlin'")

    @many
    @given(st.text("abc", max_size=3), st.lists(st.datetimes(datetime(1996, 1, 1), datetime(2030, 1, 1)), min_size=2, max_size=5))
    def check(subject: str, times: list[datetime]) -> None:
        zone = ZoneInfo("Europe/Berlin")
        before = [at.replace(tzinfo=UTC).astimezone(zone) for at in times]
        query = "SELECT guestcomms.shift_date(at, %s) FROM unnest(%s::timestamptz[]) AS t (at)"
        found = [at.astimezone(zone) for at in column(officer, query, subject, before)]
        moved = {(old.date() - new.date()).days for old, new in zip(before, found, strict=True)}
        assert len(moved) == 1
        assert moved <= set(range(7, 176, 7))
        # An hour that the clocks leave out in spring is the next one.
        hours = {(new.hour - old.hour) % 24 for old, new in zip(before, found, strict=True) if not 1 <= old.hour <= 3}
        assert hours <= {0}

    check()


@pytest.mark.parametrize("login", ["app_login", "analyst_login", "nobody_login"])
def test_who_could_try_out_values_may_not(store: Store, login: str) -> None:
    with store.connect(login) as other:
        for query, _ in OF_A_KEY:
            with refused("42501"):
                other.execute(query)
        with refused("42501"):
            other.execute("SELECT guestcomms.rotate_pseudonym_key()")
        with refused("42501"):
            other.execute(SECRET)


def test_privacy_officers_may_but_not_rotate(store: Store) -> None:
    with store.connect() as superuser:
        superuser.execute("SELECT guestcomms.use_tenant(%s, true)", [store.tenant_a])
        superuser.execute("SELECT guestcomms.add_member('privacy_login')")
    with store.connect("privacy_login", store.tenant_a) as officer:
        for query, _ in OF_A_KEY:
            assert one(officer, query)
        with refused("42501"):
            officer.execute("SELECT guestcomms.rotate_pseudonym_key()")


def test_nothing_without_a_tenant(store: Store) -> None:
    with store.connect("operator_login") as operator:
        for query, _ in OF_A_KEY:
            with refused("GC001"):
                operator.execute(query)


def test_a_dump_holds_no_key(store: Store) -> None:
    secret = bytes(one(store.connect(), SECRET))
    program = store.database.cluster.places.bindir / "pg_dump"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    dump = subprocess.run([program, store.database.dsn()], env=environment, capture_output=True, check=True).stdout
    assert str(store.tenant_a).encode() in dump
    assert secret.hex().encode() not in dump
    assert b"COPY guestcomms_internal.store_secrets" not in dump


def test_a_new_key_is_in_the_audit_trail(store: Store) -> None:
    count = "SELECT count(*) FROM guestcomms.audit_entries WHERE action = 'rotate_pseudonym_key' AND actor = 'operator_login'"
    before = one(store.connect(), count)
    with store.connect("operator_login") as operator:
        operator.execute("SELECT guestcomms.rotate_pseudonym_key()")
    assert one(store.connect(), count) == before + 1


def test_numbers_fall_into_bands(officer: Connection) -> None:
    numbers = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=12)

    @many
    @given(numbers, st.decimals("0.001", 1000, places=3))
    def check(value: Decimal, width: Decimal) -> None:
        found = one(officer, "SELECT guestcomms.generalize(%s::numeric, %s::numeric)", value, width)
        assert found <= value < found + width
        assert found % width == 0

    check()
    assert one(officer, "SELECT guestcomms.generalize(-37, 10)") == -40
    infinite = "SELECT guestcomms.generalize(%s::numeric, 10)::text"
    assert [one(officer, infinite, value) for value in ("Infinity", "-Infinity", "NaN")] == ["Infinity", "-Infinity", "NaN"]


@pytest.mark.parametrize(
    "call",
    [
        *(f"generalize(1, {width})" for width in ("0", "-1", "'NaN'::numeric", "'Infinity'::numeric")),
        "generalize(now(), 'fortnight')",
        "generalize('80331'::text, -1)",
    ],
)
def test_no_band_no_unit(officer: Connection, call: str) -> None:
    with refused("22023") as caught:
        officer.execute(f"SELECT guestcomms.{call}".encode())
    assert caught.value.diag.message_hint


def test_times_fall_into_months_and_years_of_the_session(officer: Connection) -> None:
    officer.execute("SET timezone = 'Asia/Tokyo'")
    units = ["day", "week", "month", "quarter", "year", "decade"]
    query = "SELECT guestcomms.generalize(date '1987-05-14', unit)::date::text FROM unnest(%s::text[]) AS u (unit)"
    assert column(officer, query, units) == ["1987-05-14", "1987-05-11", "1987-05-01", "1987-04-01", "1987-01-01", "1980-01-01"]
    assert one(officer, "SELECT guestcomms.generalize('SW1A 1AA'::text, 2)") == "SW"


def test_addresses_fall_into_networks(officer: Connection) -> None:
    @many
    @given(st.ip_addresses())
    def check(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        length = 24 if address.version == 4 else 48
        found = one(officer, "SELECT guestcomms.generalize_address(%s::inet)::text", str(address))
        assert ipaddress.ip_network(found) == ipaddress.ip_network(f"{address}/{length}", strict=False)

    check()
    wide = rows(officer, "SELECT guestcomms.generalize_address('10.1.2.3/8')::text")
    assert wide == [("10.0.0.0/8",)]
    assert re.fullmatch(r"2001:db8:1::/48", one(officer, "SELECT guestcomms.generalize_address('2001:db8:1:2::3')::text"))
