"""Personal data in texts and messages of a tenant: what is found, of whom, in what pages, and what is never told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, LiteralString
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import Row, column, one, refused, rows, told
from tests.support.store import Store

DETECT = "SELECT kind, start_offset, end_offset FROM guestcomms.detect_personal_data(%s)"
ANONYMIZE = "SELECT guestcomms.anonymize_text(%s)"
FIND = "SELECT message_id, part, start_offset, end_offset, kind FROM guestcomms.find_personal_data()"
PARTS = [
    "Zoë Kaya",
    "zoe",
    "Kaya",
    "zoe@example.com",
    "+49 30 901820",
    "DE89370400440532013000",
    "4111 1111 1111 1111",
    "192.0.2.7",
]
PARTS += [
    "2001:db8::7",
    "https://example.com/?token=abc",
    "www.example.com",
    "10115 Berlin",
    "born on 2 May 1990",
    " ",
    "\n",
    ".",
    "[",
    "]",
]
PARTS += ["call ", "١٢٣٤", "-", "@", "/", "7", "030", "[email]", "É", "🎂"]


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.root.execute("UPDATE guestcomms.tenants SET region = 'DE' WHERE tenant_id = %s", [archive.tenant])
        yield archive


def kinds_in(connection: Connection, text: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for kind, start, end in rows(connection, DETECT, text)]


def pages(connection: Connection, max_rows: int) -> list[list[Row]]:
    """All pages, their last rows' cursors taken off."""
    query = FIND.replace("()", "(max_rows => %s, after => %s)")
    found: list[list[Row]] = []
    after: UUID | None = None
    while True:
        page = rows(connection, query, max_rows, after)
        is_last = not page or page[-1][4] is not None
        found.append(page if is_last else page[:-1])
        if is_last:
            return found
        assert page[-1][0] != after, "paging stands still"
        after = page[-1][0]


def test_offsets_count_characters(office: Archive) -> None:
    office.guest("Zoë Kaya")
    assert rows(office.root, DETECT, "🎂 Zoë Kaya: ë@example.com") == [("name", 2, 10), ("email", 12, 25)]
    assert rows(office.root, DETECT, "") == rows(office.root, DETECT, None) == []
    assert one(office.root, ANONYMIZE, None) is None
    assert one(office.root, ANONYMIZE, "") == ""


def test_the_tenants_country_decides(office: Archive) -> None:
    text = "It is 10115 Berlin, or 030 901820"
    assert kinds_in(office.root, text) == [("postal_code", "10115"), ("phone", "030 901820")]
    office.root.execute("UPDATE guestcomms.tenants SET region = 'NL' WHERE tenant_id = %s", [office.tenant])
    assert kinds_in(office.root, "Dam 1, 1012 JS Amsterdam") == [("postal_code", "1012 JS")]


def test_names_are_those_of_now(office: Archive) -> None:
    text = "Ines Moreau met Amir"
    assert kinds_in(office.root, text) == []
    guest = office.guest("Ines Moreau")
    assert kinds_in(office.root, text) == [("name", "Ines Moreau")]
    office.root.execute("UPDATE guestcomms.guests SET display_name = 'Ines Roux' WHERE guest_id = %s", [guest])
    assert kinds_in(office.root, text) == [("name", "Ines")]
    office.add("weddings", name="Wedding of Ines & Amir")
    assert kinds_in(office.root, text) == [("name", "Ines"), ("name", "Amir")]
    office.root.execute("UPDATE guestcomms.weddings SET name = 'Ines & Otto' WHERE tenant_id = %s", [office.tenant])
    assert kinds_in(office.root, text) == [("name", "Ines")]
    with office.root.transaction(force_rollback=True):
        office.guest("Amir")
        assert kinds_in(office.root, text) == [("name", "Ines"), ("name", "Amir")]
    assert kinds_in(office.root, text) == [("name", "Ines")]


def test_one_session_of_several_tenants_mixes_no_names(office: Archive, store: Store) -> None:
    office.guest("Quentin Quokka")
    with Archive(store) as other:
        other.guest("Wanda Wombat")
        text = "Quentin Quokka and Wanda Wombat"
        # In one statement, before any names are kept.
        query: LiteralString = (
            "SELECT guestcomms.use_tenant(t, true), guestcomms.anonymize_text(%s || left(t::text, 0))"
            " FROM unnest(%s::uuid[]) AS u (t)"
        )
        found = rows(office.root, query, text, [office.tenant, other.tenant, office.tenant])
        own_first, own_second = "[name] and Wanda Wombat", "Quentin Quokka and [name]"
        assert [row[1] for row in found] == [own_first, own_second, own_first]
        for _ in range(2):
            for tenant, own in ((office.tenant, "Quentin Quokka"), (other.tenant, "Wanda Wombat")):
                office.root.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
                assert kinds_in(office.root, text) == [("name", own)]
                assert one(office.root, ANONYMIZE, text) == text.replace(own, "[name]")


def test_what_is_kept_stays_however_it_is_written(office: Archive) -> None:
    text = "office@example.com, zoe@example.com, 030 901820"
    query = "SELECT guestcomms.anonymize_text(%s, %s)"
    assert one(office.root, query, text, ["Office@Example.com", "+49 30 901820"]) == "office@example.com, [email], 030 901820"
    assert one(office.root, query, text, None) == one(office.root, query, text, [None, ""]) == "[email], [email], [phone]"


def test_nothing_certain_is_left(office: Archive) -> None:
    office.guest("Zoë Kaya")

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(PARTS), st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=5)
            )
        )
    )
    def check(parts: list[str]) -> None:
        anonymous = one(office.root, ANONYMIZE, "".join(parts))
        assert kinds_in(office.root, anonymous) == []

    check()


def test_messages_newest_first_in_pages(office: Archive) -> None:
    guest = office.guest("Zoë Kaya")
    thread = office.thread(guest)
    texts: list[dict[str, Any]] = [
        {"subject": "From Zoë Kaya", "body": "at a@example.com and b@example.com"},
        {"subject": None, "body": "nothing"},
        {"subject": "c@example.com", "body": ""},
    ]
    written = [office.write(guest, thread, 30 - number, **text) for number, text in enumerate(texts * 2)]
    wanted = []
    for number in reversed(range(6)):
        wanted += [
            [
                (written[number], "subject", 5, 13, "name"),
                (written[number], "body", 3, 16, "email"),
                (written[number], "body", 21, 34, "email"),
            ],
            [],
            [(written[number], "subject", 0, 13, "email")],
        ][number % 3]
    assert pages(office.root, 1000) == [wanted]
    for size in (1, 2, 3, 4):
        found = pages(office.root, size)
        assert list(chain.from_iterable(found)) == wanted
        assert all(size <= len(page) < size + 3 for page in found[:-1])


def test_narrowed_down(office: Archive) -> None:
    guest, other = office.guest("Zoë Kaya"), office.guest("Amir")
    old = office.write(guest, office.thread(guest), 20, body="a@example.com, 192.0.2.7")
    new = office.write(other, office.thread(other), 10, body="Amir")

    def found(**values: object) -> list[UUID]:
        arguments = ", ".join(f"{name} => %s" for name in values)
        return column(
            office.root, f"SELECT message_id FROM guestcomms.find_personal_data({arguments})".encode(), *values.values()
        )

    assert found() == [new, old, old]
    assert found(since=office.ago(20)) == [new, old, old]
    assert found(since=office.ago(19.9)) == found(guest_id=other) == found(kinds=["name"]) == [new]
    assert found(until=office.ago(10)) == found(guest_id=guest) == [old, old]
    assert found(kinds=["email"], until=office.ago(10)) == found(min_certainty=0.96) == [old]
    assert found(kinds=[]) == found(guest_id=UUID(int=1)) == []


def test_another_tenants_messages_are_not_looked_at(office: Archive, store: Store) -> None:
    with Archive(store) as other:
        other.write_many(2, body="zoe@example.com")
        (after,) = other.write_many(1, days=1, body="zoe@example.com")
        assert rows(office.root, FIND) == []
        assert rows(office.root, FIND.replace("()", "(after => %s)"), after) == []
        assert len(rows(other.root, FIND)) == 3


def test_archived_messages_are_not_looked_at_until_they_are_back(office: Archive) -> None:
    written = office.write_many(2, body="zoe@example.com")
    office.policy()
    office.archive()
    assert rows(office.root, FIND) == []
    office.restore()
    assert {row[0] for row in rows(office.root, FIND)} == set(written)


BAD: list[tuple[LiteralString, str]] = [
    ("SELECT * FROM guestcomms.detect_personal_data('quokka', 0)", "22023"),
    ("SELECT * FROM guestcomms.detect_personal_data('quokka', NULL)", "22023"),
    ("SELECT * FROM guestcomms.detect_personal_data('quokka', 'NaN')", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(max_rows => 0)", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(max_rows => NULL)", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(max_rows => 10001)", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(min_certainty => 1.5)", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(kinds => '{email,quokka}')", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(kinds => '{NULL}')", "22023"),
    ("SELECT * FROM guestcomms.find_personal_data(since => '2026-01-02', until => '2026-01-02')", "22023"),
]


@pytest.mark.parametrize(("query", "sqlstate"), BAD)
def test_bad_input_is_an_error_that_helps(office: Archive, query: LiteralString, sqlstate: str) -> None:
    with refused(sqlstate) as caught:
        office.root.execute(query)
    assert caught.value.diag.message_detail
    assert caught.value.diag.message_hint
    assert "quokka" not in told(caught.value)


def test_without_a_tenant_there_is_nothing(office: Archive, store: Store) -> None:
    connection = store.connect("privacy_login")
    for query in ("SELECT * FROM guestcomms.detect_personal_data('x')", "SELECT guestcomms.anonymize_text('x')", FIND):
        with refused("GC001"):
            connection.execute(query.encode())
    connection.close()


def test_for_privacy_and_operators_only(office: Archive) -> None:
    for login in ("privacy_login", "analyst_login"):
        office.root.execute("SELECT guestcomms.add_member(%s)", [login])
    office.write_many(1, body="zoe@example.com")
    for login in ("privacy_login", "operator_login"):
        assert len(rows(office.connect(login), FIND)) == 1
        assert kinds_in(office.connect(login), "zoe@example.com") == [("email", "zoe@example.com")]
    for login in ("app_login", "analyst_login"):
        connection = office.connect(login)
        for query in ("SELECT * FROM guestcomms.detect_personal_data('x')", "SELECT guestcomms.anonymize_text('x')", FIND):
            with refused("42501"):
                connection.execute(query.encode())
