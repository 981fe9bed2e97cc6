"""Guests found by what is nearly their name, and pairs who may be one person: what is found, in which order, by which index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import md5
from typing import Any
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection, fresh_database
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store, create_tenants
from tools.cluster import Cluster

SEARCH = "SELECT guest_id FROM guestcomms.search_guests(%s)"
PAIRS = "SELECT guest_a, guest_b, score, reasons FROM guestcomms.find_duplicate_guests(min_score => %s) WHERE guest_b IS NOT NULL"
PEOPLE = {
    "zoe": ("Zoë Kaya", "zoe.kaya@example.com", None),
    "yusuf": ("Yusuf Kaya", "yusuf@example.com", "+447700900111"),
    "soren": ("Søren Ødegård", None, "+4712345678"),
    "wang": ("王小明", None, None),
    "ioannis": ("Ιωάννης Παπαδόπουλος", None, None),
    "dmitri": ("Дмитрий Ёлкин", None, None),
    "obrien": ("Sinéad O\u2019Brien", "sob@example.com", None),
    "smyth": ("Katherine Smyth", None, None),
}


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def people(office: Archive) -> dict[str, UUID]:
    add = "SELECT guestcomms.add_guest(%s, email => %s, phone => %s)"
    return {key: one(office.root, add, *values) for key, values in PEOPLE.items()}


def test_names_are_found_typed_mistyped_and_in_any_script(office: Archive) -> None:
    guests = people(office)
    for query, key in {
        "zoe": "zoe",
        "Zoe K": "zoe",
        "kaya zoe": "zoe",
        "ZOË KAYA": "zoe",
        "zoee kaia": "zoe",
        "soren": "soren",
        "odegard": "soren",
        "sören ödegaard": "soren",
        "王小": "wang",
        "王小明": "wang",
        "ιωαννης": "ioannis",
        "παπαδοπουλοσ": "ioannis",
        "елкин": "dmitri",
        "дмитрй": "dmitri",
        "obrien": "obrien",
        "o'brien": "obrien",
        "sinead": "obrien",
        "kathrine smith": "smyth",
        "yusuf@ex": "yusuf",
        "YUSUF@example.com": "yusuf",
        "+44 7700 900": "yusuf",
        "sob@": "obrien",
    }.items():
        assert column(office.root, SEARCH, query)[:1] == [guests[key]], query
    for nothing in ("", "   ", "qqqq", "!?", "x' OR 1=1", "%", "_"):
        assert column(office.root, SEARCH, nothing) == [], nothing


def test_a_number_as_it_is_written_at_home(office: Archive) -> None:
    office.root.execute("UPDATE guestcomms.tenants SET region = 'GB' WHERE tenant_id = %s", [office.tenant])
    assert column(office.root, SEARCH, "07700 900111") == []
    people(office)
    found = rows(office.root, "SELECT display_name, matched, email, phone FROM guestcomms.search_guests('07700 900111')")
    assert found == [("Yusuf Kaya", "address", "yusuf@example.com", "+447700900111")]


def test_the_exact_name_comes_before_its_beginning_before_what_is_like_it(office: Archive) -> None:
    named = {
        name: one(office.root, "SELECT guestcomms.add_guest(%s)", name)
        for name in ("Anna Berg", "Anna", "Annabel Ray", "Hannah Berg", "Rosanna Ann")
    }
    found = column(office.root, SEARCH, "anna")
    assert found[0] == named["Anna"]
    assert set(found[1:3]) == {named["Anna Berg"], named["Annabel Ray"]}
    scores = column(office.root, "SELECT score FROM guestcomms.search_guests('anna')")
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_pages_and_weddings(office: Archive) -> None:
    guests = [office.guest(f"Kaya {number % 3}") for number in range(7)]
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    for guest in guests[:3]:
        office.root.execute("SELECT guestcomms.add_guest_to_wedding(%s, %s, party => 'Tulip table')", [wedding, guest])
    seen: list[UUID] = []
    while found := column(
        office.root, "SELECT guest_id FROM guestcomms.search_guests('kaya', 2, %s)", seen[-1] if seen else None
    ):
        seen += found
    assert sorted(seen) == sorted(guests)
    assert set(column(office.root, "SELECT guest_id FROM guestcomms.search_guests('kaya', wedding_id => %s)", wedding)) == set(
        guests[:3]
    )
    assert set(column(office.root, SEARCH, "tulip")) == set(guests[:3])
    assert set(column(office.root, "SELECT matched FROM guestcomms.search_guests('tuli')")) == {"party"}
    with refused("22023"):
        office.root.execute("SELECT guestcomms.search_guests('a', max_rows => 0)")


def test_who_was_merged_is_found_as_who_was_kept(office: Archive) -> None:
    keep, merge = office.guest("Zoë Kaya"), office.guest("Zo Kayaoglu")
    office.root.execute("SELECT guestcomms.merge_guests(%s, %s)", [keep, merge])
    assert column(office.root, SEARCH, "kayaoglu") == [keep]


def pairs(office: Archive, min_score: float = 0.5) -> dict[frozenset[UUID], tuple[float, list[str]]]:
    found = rows(office.root, PAIRS, min_score)
    named = {frozenset(row[:2]): (row[2], row[3]) for row in found}
    assert len(named) == len(found), "a pair is named twice"
    return named


def test_pairs_have_a_score_and_reasons(office: Archive) -> None:
    add = "SELECT guestcomms.add_guest(%s, email => %s, phone => %s)"
    zoe = one(office.root, add, "Zoë Kaya", "zoe.kaya@gmail.com", "+44 7700 900111")
    dotted = one(office.root, add, "Z. K.", "ZoeKaya+wedding@googlemail.com", None)
    swapped = one(office.root, add, "kaya zoe", None, None)
    phone = one(office.root, "SELECT guestcomms.add_guest('Someone')")
    office.root.execute(
        "INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id) VALUES (%s, 'chat', '+447700900111', %s)",
        [office.tenant, phone],
    )
    smith, smyth = office.guest("Katherine Smith"), office.guest("Catherine Smyth")
    office.guest("Peter Wood")
    found = pairs(office)
    assert set(found) == {frozenset(pair) for pair in ((zoe, dotted), (zoe, swapped), (zoe, phone), (smith, smyth))}
    assert found[frozenset((zoe, dotted))] == (0.6, ["similar e-mail address"])
    assert found[frozenset((zoe, swapped))] == (0.65, ["same name"])
    assert found[frozenset((zoe, phone))] == (0.95, ["same address"])
    assert found[frozenset((smith, smyth))][1] == ["name that sounds alike"]
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    for guest in (zoe, swapped, phone):
        office.root.execute("SELECT guestcomms.add_guest_to_wedding(%s, %s)", [wedding, guest])
    assert pairs(office)[frozenset((zoe, swapped))] == (0.79, ["same name", "same wedding"])
    assert frozenset((swapped, phone)) not in pairs(office, 0)


def test_a_pair_that_was_dismissed_is_not_named_again(office: Archive) -> None:
    one_guest, other, third = (office.guest("Zoë Kaya") for _ in range(3))
    assert len(pairs(office)) == 3
    for _ in range(2):
        office.root.execute("SELECT guestcomms.dismiss_duplicate(%s, %s)", [other, one_guest])
    assert set(pairs(office)) == {frozenset((one_guest, third)), frozenset((other, third))}
    office.root.execute("SELECT guestcomms.merge_guests(%s, %s)", [one_guest, third])
    assert pairs(office) == {}
    for bad, sqlstate in (("(%(a)s, %(a)s)", "22023"), ("(%(a)s, NULL)", "23503"), ("(gen_random_uuid(), %(a)s)", "23503")):
        with refused(sqlstate):
            office.root.execute(f"SELECT guestcomms.dismiss_duplicate{bad}".encode(), {"a": one_guest})


def test_pages_of_pairs_go_through_all_guests(office: Archive) -> None:
    for number in range(130):
        word = md5(str(number).encode()).hexdigest().translate(str.maketrans("0123456789", "ghijklmnop"))
        office.guest(f"{word[:7]} {word[20:]}")
    doubles = [office.guest("Zoë Kaya") for _ in range(2)] + [office.guest("Yusuf Demir") for _ in range(2)]
    office.root.execute(
        "UPDATE guestcomms.guests SET created_at = now() - random() * interval '1 year' WHERE tenant_id = %s", [office.tenant]
    )
    seen: list[Any] = []
    after = None
    pages = 0
    while True:
        page = rows(office.root, "SELECT guest_a, guest_b FROM guestcomms.find_duplicate_guests(1, 0.6, %s)", after)
        pages += 1
        seen += [frozenset(row) for row in page if row[1]]
        if not page or page[-1][1]:
            break
        after = page[-1][0]
    assert sorted(map(sorted, seen)) == sorted(map(sorted, (doubles[:2], doubles[2:])))
    assert pages > 1
    for bad in ("max_rows => 0", "min_score => 2", "min_score => NULL"):
        with refused("22023"):
            office.root.execute(f"SELECT guestcomms.find_duplicate_guests({bad})".encode())
    with refused("23503"):
        office.root.execute("SELECT guestcomms.find_duplicate_guests(after => gen_random_uuid())")


def test_another_tenants_guests_are_not_there(office: Archive, store: Store) -> None:
    guests = people(office)
    office.root.execute("SELECT guestcomms.add_guest('Zoe Kaya')")
    with Archive(store) as other:
        for query in ("zoe kaya", "zoe.kaya@example.com", "王小明", "+447700900111"):
            assert column(other.root, SEARCH, query) == []
        other.guest("Zoë Kaya")
        assert rows(other.root, PAIRS, 0) == []
        with refused("23503"):
            other.root.execute("SELECT guestcomms.dismiss_duplicate(%s, %s)", [guests["zoe"], guests["yusuf"]])
        with refused("23503"):
            other.root.execute("SELECT guestcomms.find_duplicate_guests(after => %s)", [guests["zoe"]])


def test_what_others_have_much_of_takes_no_place(office: Archive, store: Store) -> None:
    """Each kind of find is bounded: in the other tenant there is more than that of what fits better."""
    office.root.execute(
        "INSERT INTO guestcomms.guests (tenant_id, display_name) SELECT %s, 'Zoee Kaia' FROM generate_series(1, 600)",
        [office.tenant],
    )
    with Archive(store) as other:
        older, newer = other.guest("Zoe Kaja"), other.guest("Zoe Kaia")
        assert column(other.root, SEARCH, "zoee kaia") == [newer, older]
        assert set(pairs(other, 0.3)) == {frozenset((older, newer))}
        namesake = "SELECT jsonb_array_length(duplicates) FROM guestcomms.import_guests(dry_run => true)"
        other.root.execute("INSERT INTO guestcomms.import_guest_lines (line) VALUES ('name'), ('zoe kaja')")
        assert one(other.root, namesake) == 1


# What is read


@pytest.fixture(scope="module")
def large(cluster: Cluster, template: str, logins: None) -> Iterator[Store]:
    """20,000 guests of each tenant, of made-up names."""
    with fresh_database(cluster, template) as database:
        large = create_tenants(database)
        root = large.connect()
        root.execute(
            f"""
            ALTER DATABASE {database.name} SET session_preload_libraries = 'auto_explain';
            ALTER DATABASE {database.name} SET auto_explain.log_min_duration = 0;
            ALTER DATABASE {database.name} SET auto_explain.log_nested_statements = on;
            """
        )
        root.execute(
            """
            WITH guest AS (
                INSERT INTO guestcomms.guests (tenant_id, display_name, created_at)
                SELECT t.tenant_id, translate(left(md5(n::text), 6) || ' ' || right(md5(n::text), 8), '0123456789', 'aeioumnrst'),
                    now() - n * interval '1 minute'
                FROM guestcomms.tenants AS t CROSS JOIN generate_series(1, 20000) AS n
                RETURNING tenant_id, guest_id
            )
            INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id, is_primary)
            SELECT g.tenant_id, 'email', g.guest_id || '@example.com', g.guest_id, true FROM guest AS g
            """
        )
        root.execute("VACUUM ANALYZE guestcomms.guests, guestcomms.guest_addresses")
        root.execute("SET client_min_messages = 'warning'")
        yield large


def statements(large: Store, call: str, *values: object) -> list[str]:
    """The plans of the statements within a call of the application."""
    app: Connection = large.connect("app_login", large.tenant_a)
    found: list[str] = []
    app.execute("SET client_min_messages = 'log'")
    app.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    app.execute(call.encode(), values or None)
    app.close()
    return found


@pytest.mark.parametrize("query", ["a", "ae", "aeio", "aeiour bcdest", "nobody@example", "07700 900123"])
def test_a_search_among_many_reads_by_indexes(large: Store, query: str) -> None:
    read = statements(large, "SELECT guestcomms.search_guests(%s)", query)
    assert any("guests_name" in plan for plan in read)
    assert not [plan for plan in read if re.search(r"Seq Scan on (guests|guest_addresses|wedding_guests)\b", plan)]
    if len(query) > 2:
        assert any("guests_folded_name" in plan for plan in read)
        assert any("guest_addresses_prefix" in plan for plan in read)


def test_duplicates_among_many_are_looked_for_by_indexes(large: Store) -> None:
    read = statements(large, "SELECT count(*) FROM guestcomms.find_duplicate_guests(1, 0.6)")
    for index in ("guests_folded_name", "guest_addresses_contact", "guests_created"):
        assert any(index in plan for plan in read), index
    assert not [
        plan for plan in read if re.search(r"Seq Scan on (guests|guest_addresses|wedding_guests|dismissed_duplicates)\b", plan)
    ]


def test_a_page_of_pairs_looks_at_a_bounded_number_of_guests(large: Store) -> None:
    app = large.connect("app_login", large.tenant_a)
    found = rows(app, "SELECT guest_a, guest_b FROM guestcomms.find_duplicate_guests(1000, 1.0)")
    assert found[-1][1] is None
    older = """SELECT count(*) FROM guestcomms.guests AS g
        WHERE g.tenant_id = %s AND g.created_at >= (SELECT created_at FROM guestcomms.guests WHERE guest_id = %s)"""
    assert one(large.connect(), older, large.tenant_a, found[-1][0]) == 500
    app.close()
