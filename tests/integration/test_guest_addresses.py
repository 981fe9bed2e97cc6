"""How guests are reached: one primary address of each channel, one owner of each address, whoever comes first."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import LiteralString
from uuid import UUID

import phonenumbers
import psycopg
import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
RESOLVE = "SELECT guestcomms.resolve_guest(%s, %s)"
ADD = "SELECT guestcomms.add_guest_address(%s, %s, %s)"
LIST = "SELECT channel, address, is_primary, is_verified FROM guestcomms.list_guest_addresses(%s)"
PRIMARY = "SELECT address FROM guestcomms.list_guest_addresses(%s) WHERE channel = %s AND is_primary"
OWNERS = "SELECT count(DISTINCT guest_id) FROM guestcomms.guest_addresses WHERE tenant_id = %s AND address = %s"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.root.execute("UPDATE guestcomms.tenants SET region = 'GB' WHERE tenant_id = %s", [archive.tenant])
        yield archive


def at_once(office: Archive, count: int, work: object) -> list[object]:
    """Each session of the application does its work, all starting together."""
    sessions = [office.connect("app_login") for _ in range(count)]
    barrier = Barrier(count)

    def start(number: int) -> object:
        barrier.wait()
        return work(number, sessions[number])  # type: ignore[operator]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_many_who_hear_from_the_same_people_at_once_find_the_same_guests(office: Archive) -> None:
    numbers = [f"+4477009001{number:02}" for number in range(25)]

    def work(number: int, session: Connection) -> dict[str, UUID]:
        chance = random.Random(number)
        found: dict[str, UUID] = {}
        for address in chance.sample(numbers, len(numbers)):
            # As a provider writes it, as a person does, and on either of a telephone's channels.
            written = chance.choice([address, "00" + address[1:], "0" + address[3:], f"+44 (0){address[3:]}"])
            found[address] = one(session, RESOLVE, chance.choice(["sms", "whatsapp"]), written)
        return found

    first, *others = at_once(office, 8, work)
    assert all(other == first for other in others)
    assert isinstance(first, dict)
    assert len(set(first.values())) == len(numbers)
    assert {one(office.root, OWNERS, office.tenant, address) for address in numbers} == {1}
    assert one(office.root, "SELECT count(*) FROM guestcomms.guests WHERE tenant_id = %s", office.tenant) == len(numbers)
    assert rows(office.root, "SELECT guest_id, channel FROM guestcomms.guest_addresses WHERE tenant_id = %s"
        " GROUP BY 1, 2 HAVING count(*) FILTER (WHERE is_primary) <> 1", office.tenant) == []  # fmt: skip


def test_numbers_of_every_country_are_the_same_however_they_are_written(office: Archive) -> None:
    app = office.connect("app_login")
    for region in random.Random(1).sample(sorted(phonenumbers.SUPPORTED_REGIONS), min(EXAMPLES, 240)):
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if example is None:
            continue
        office.root.execute("UPDATE guestcomms.tenants SET region = %s WHERE tenant_id = %s", [region, office.tenant])
        forms = [
            phonenumbers.format_number(example, form)
            for form in (
                phonenumbers.PhoneNumberFormat.E164,
                phonenumbers.PhoneNumberFormat.NATIONAL,
                phonenumbers.PhoneNumberFormat.INTERNATIONAL,
            )
        ]
        found = {one(app, RESOLVE, "sms", form) for form in forms}
        assert len(found) == 1, (region, forms)
        assert column(app, "SELECT address FROM guestcomms.list_guest_addresses(%s)", found.pop()) == [forms[0]], region


def test_python_is_not_asked_for_a_number_with_its_prefix(office: Archive) -> None:
    app = office.connect("app_login")
    # A backend that has called Python has its library.
    library = "SELECT pg_read_file('/proc/' || %s || '/maps') LIKE '%%plpython3%%'"
    for address in ("+44 7700 900123", "0044 7700 900123", "+44-7700-900123"):
        one(app, RESOLVE, "sms", address)
    assert one(office.root, library, app.info.backend_pid) is False
    one(app, RESOLVE, "sms", "07700 900123")
    assert one(office.root, library, app.info.backend_pid) is True


def test_the_first_of_a_channel_is_the_one_to_use_until_another_is_made_it(office: Archive) -> None:
    guest = office.guest()
    for address in ("a@example.com", "b@example.com", "C@Example.com"):
        office.root.execute(ADD, [guest, "email", address])
    office.root.execute(ADD, [guest, "sms", "07700 900111"])
    assert column(office.root, PRIMARY, guest, "email") == ["a@example.com"]
    office.root.execute("SELECT guestcomms.set_primary_address(%s, 'email', 'c@EXAMPLE.com')", [guest])
    assert column(office.root, PRIMARY, guest, "email") == ["c@example.com"]
    office.root.execute("SELECT guestcomms.verify_guest_address(%s, 'email', 'b@example.com')", [guest])
    # What replaces it is an address that the guest was heard from on, not the oldest.
    for removed in (True, False):
        assert one(office.root, "SELECT guestcomms.remove_guest_address(%s, 'email', 'c@example.com')", guest) is removed
    assert rows(office.root, LIST, guest) == [
        ("email", "b@example.com", True, True),
        ("email", "a@example.com", False, False),
        ("sms", "+447700900111", True, False),
    ]
    office.root.execute(
        "SELECT guestcomms.add_guest_address(%s, 'email', 'A@example.com', is_primary => true, is_verified => true)", [guest]
    )
    assert rows(office.root, LIST, guest)[:2] == [("email", "a@example.com", True, True), ("email", "b@example.com", False, True)]


def test_an_address_is_one_guests_and_a_telephone_on_both_its_channels(office: Archive) -> None:
    one_guest, other = office.guest(), office.guest()
    office.root.execute(ADD, [one_guest, "sms", "+44 7700 900111"])
    for channel in ("sms", "whatsapp"):
        with refused("23505") as caught:
            office.root.execute(ADD, [other, channel, "07700 900111"])
        assert "900111" not in str(caught.value)
    office.root.execute(ADD, [one_guest, "whatsapp", "07700 900111"])
    office.root.execute(ADD, [other, "chat", "+447700900111"])
    with refused("23505"):
        office.add("guest_addresses", channel="sms", address="+1", guest_id=one_guest, is_primary=True)


def test_a_second_telephone_of_a_known_guest_is_not_the_one_to_use(office: Archive) -> None:
    guest = office.guest()
    office.root.execute(ADD, [guest, "whatsapp", "+44 7700 900111"])
    office.root.execute(ADD, [guest, "sms", "+44 7700 900222"])
    assert one(office.root, RESOLVE, "whatsapp", "07700 900222") == guest
    assert column(office.root, PRIMARY, guest, "whatsapp") == ["+447700900111"]


def test_those_who_change_the_primary_address_at_once_leave_one(office: Archive) -> None:
    guest = office.guest()
    addresses = [f"{letter}@example.com" for letter in "abcdef"]
    for address in addresses:
        office.root.execute(ADD, [guest, "email", address])

    def work(number: int, session: Connection) -> None:
        for _ in range(5):
            session.execute("SELECT guestcomms.set_primary_address(%s, 'email', %s)", [guest, addresses[number]])

    at_once(office, 6, work)
    assert len(column(office.root, PRIMARY, guest, "email")) == 1


def test_who_was_erased_is_not_brought_back_by_an_address(office: Archive) -> None:
    guest = one(office.root, RESOLVE, "email", "zoe@example.com")
    office.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guest])
    again = one(office.root, RESOLVE, "email", "zoe@example.com")
    assert again != guest
    assert one(office.root, RESOLVE, "email", "zoe@example.com") == again


def test_a_guest_is_read_and_changed(office: Archive) -> None:
    guest = one(
        office.root, "SELECT guestcomms.add_guest('Zoe', email => 'z@example.com', language => 'en', timezone => 'Europe/Berlin')"
    )
    read = """SELECT display_name, language, timezone, kept_guest_id, addresses -> 0 ->> 'address', merged_guest_ids
        FROM guestcomms.get_guest(%s)"""
    office.root.execute("SELECT guestcomms.update_guest(%s, display_name => 'Zoë', language => '')", [guest])
    assert rows(office.root, read, guest) == [("Zoë", None, "Europe/Berlin", guest, "z@example.com", [])]
    assert rows(office.root, read, UUID(int=7)) == []


BAD: list[tuple[LiteralString, str]] = [
    ("SELECT guestcomms.add_guest_address(%(guest)s, 'sms', '12')", "22023"),
    ("SELECT guestcomms.add_guest_address(%(guest)s, 'fax', '+44 7700 900123')", "22023"),
    ("SELECT guestcomms.add_guest_address(%(guest)s, 'email', NULL)", "22023"),
    ("SELECT guestcomms.add_guest_address(%(nobody)s, 'email', 'q@example.com')", "23503"),
    ("SELECT guestcomms.set_primary_address(%(guest)s, 'email', 'q@example.com')", "42704"),
    ("SELECT guestcomms.verify_guest_address(%(guest)s, 'email', 'q@example.com')", "42704"),
    ("SELECT guestcomms.update_guest(%(guest)s)", "22004"),
    ("SELECT guestcomms.update_guest(%(guest)s, language => 'English')", "22023"),
    ("SELECT guestcomms.update_guest(%(nobody)s, language => 'en')", "23503"),
    ("SELECT guestcomms.resolve_guest('sms', '12345')", "22023"),
]


@pytest.mark.parametrize(("query", "sqlstate"), BAD)
def test_bad_input_is_an_error_that_helps(office: Archive, query: LiteralString, sqlstate: str) -> None:
    with refused(sqlstate) as caught:
        office.root.execute(query, {"guest": office.guest(), "nobody": UUID(int=7)})
    assert caught.value.diag.message_hint
    assert "q@example.com" not in str(caught.value)


def test_another_tenants_guests_are_not_there(office: Archive, store: Store) -> None:
    guest = one(office.root, RESOLVE, "email", "zoe@example.com")
    with Archive(store) as other:
        assert rows(other.root, "SELECT * FROM guestcomms.get_guest(%s)", guest) == []
        assert rows(other.root, LIST, guest) == []
        for query in (
            ADD,
            "SELECT guestcomms.remove_guest_address(%s, %s, %s)",
            "SELECT guestcomms.set_primary_address(%s, %s, %s)",
        ):
            with pytest.raises(psycopg.Error) as caught:
                other.root.execute(query.encode(), [guest, "email", "zoe@example.com"])
            assert caught.value.sqlstate == "23503"
        assert one(other.root, RESOLVE, "email", "zoe@example.com") != guest
    assert len(rows(office.root, LIST, guest)) == 1
