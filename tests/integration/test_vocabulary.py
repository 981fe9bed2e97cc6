"""The vocabulary against the messages: after any changes and refreshes, what is kept is what counting anew gives.

And what must never be in it: words that no message holds any more, stop words, numbers, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import isclose
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.database import Connection, Database
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import FALL_BEHIND, LATELY, Place, add_place, recount, refresh, refresh_all
from tests.support.store import Store, create_tenants
from tests.support.traffic import message, new_message_id, record_all

DELETE = "DELETE FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s"
PRESENT = "SELECT 1 FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s"
# Every table that the vocabulary consists of, each row with the transaction that wrote it.
TABLES = ("vocabulary", "spelling_words", "name_statistics", "suggestion_prefixes", "search_statistics")


def edit(what: str) -> bytes:
    return f"UPDATE guestcomms.messages SET {what} = %s WHERE tenant_id = %s AND message_id = %s".encode()


@dataclass(frozen=True)
class Kept:
    """The vocabulary of all tenants."""

    terms: dict[Row, tuple[int, float]]
    guests: dict[Row, frozenset[int]]
    names: dict[Row, tuple[int, float]]
    words: frozenset[Row]
    term_counts: dict[Row, int]
    # Terms of each prepared beginning where there are fewer than ten, so that none was left out.
    prefixes: dict[Row, frozenset[str] | None]


def read_kept(root: Connection) -> Kept:
    terms = rows(root, "SELECT tenant_id, term, is_phrase, message_count, weight, guests FROM guestcomms.vocabulary")
    names = rows(root, "SELECT tenant_id, kind, named_id, message_count, weight FROM guestcomms.name_statistics")
    prefixes = "SELECT tenant_id, prefix, words, phrases FROM guestcomms.suggestion_prefixes"
    return Kept(
        {row[:3]: row[3:5] for row in terms},
        {row[:3]: frozenset(row[5]) for row in terms},
        {row[:3]: row[3:] for row in names},
        frozenset(rows(root, "SELECT tenant_id, word FROM guestcomms.spelling_words")),
        {row[:1]: row[1] for row in rows(root, "SELECT tenant_id, term_count FROM guestcomms.search_statistics")},
        {row[:2]: frozenset(row[2] + row[3]) if max(len(row[2]), len(row[3])) < 10 else None for row in rows(root, prefixes)},
    )


def differing(one: dict[Row, tuple[int, float]], other: dict[Row, tuple[int, float]]) -> set[Row]:
    """Keys that only one has, or with other counts or weights."""
    return {
        key
        for key in one.keys() & other.keys()
        if one[key][0] != other[key][0] or not isclose(one[key][1], other[key][1], rel_tol=1e-6)
    } | (one.keys() ^ other.keys())


def is_surplus(followed: frozenset[str] | None, counted: frozenset[str] | None) -> bool:
    return counted is not None and (followed is None or not followed <= counted)


def differences(followed: Kept, counted: Kept) -> dict[str, object]:
    """What is not as it is when counted anew, apart from the guests."""
    found = {
        "terms": differing(followed.terms, counted.terms),
        "names": differing(followed.names, counted.names),
        "words": followed.words ^ counted.words,
        "term_counts": followed.term_counts.items() ^ counted.term_counts.items(),
        # A term may count guests too few, and so be left out of what is prepared; none is there that should not be.
        "prefixes": {
            key for key, terms in followed.prefixes.items() if is_surplus(terms, counted.prefixes.get(key, frozenset()))
        },
    }
    return {name: what for name, what in found.items() if what}


def surplus_guests(followed: Kept, counted: Kept) -> dict[Row, frozenset[int]]:
    """Guests whom a term counts though they do not use it."""
    return {
        key: guests - counted.guests.get(key, frozenset())
        for key, guests in followed.guests.items()
        if not guests <= counted.guests.get(key, frozenset())
    }


def count_anew(root: Connection) -> Kept:
    recount(root)
    refresh_all(root)
    return read_kept(root)


def where_found(root: Connection, word: str) -> list[str]:
    """The tables that hold a word, whole or within something."""
    return [
        name
        for name in TABLES
        if one(root, f"SELECT EXISTS (SELECT FROM guestcomms.{name} AS t WHERE strpos(t::text, %s) > 0)".encode(), word)
    ]


# After any sequence

WORDS = ["rose", "Rose", "rosé", "ok", "menu", "Menü", "seat", "the", "die", "été", "42", "a@example.com", "рад", "你好", "!"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
EDITS = st.one_of(
    st.tuples(st.just("body"), TEXTS),
    st.tuples(st.just("subject"), st.none() | TEXTS),
    st.tuples(st.just("language"), st.sampled_from(["en", "de", "fr", "zh", None])),
    st.tuples(st.sampled_from(["guest_id", "wedding_id", "campaign_id"]), st.integers(0, 2)),
)
WRITERS = st.integers(0, 1)
SLOTS = st.integers(0, 6)
BATCHES = st.sampled_from([1, 1, 2, 5, 20_000])


@dataclass(frozen=True)
class Field:
    """A place, and whom and what its messages may be of."""

    place: Place
    others: dict[str, list[UUID]]
    # Whom each writer records messages of: recording waits for another who records for the same guest.
    recorded: list[UUID]


def add_field(root: Connection, tenant: UUID) -> Field:
    place = add_place(root, tenant)
    others = {"guest_id": [place.guest, *(add_place(root, tenant).guest for _ in range(2))]}
    for kind in ("wedding", "campaign"):
        insert = f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, %s) RETURNING {kind}_id".encode()
        others[f"{kind}_id"] = [one(root, insert, tenant, f"{kind} {number}") for number in range(3)]
    return Field(place, others, [add_place(root, tenant).guest for _ in range(2)])


@contextmanager
def unless_written_to(writer: Connection) -> Iterator[None]:
    """Gives up where an open transaction has written to the same conversation."""
    writer.execute("SAVEPOINT free")
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        writer.execute("ROLLBACK TO free")
    else:
        writer.execute("RELEASE free")


class Vocabulary(RuleBasedStateMachine):
    """Sessions write and refresh; `is_ordered` where each change is committed before the next begins."""

    def __init__(self, fields: list[Field], root: Connection, writers: list[Connection], is_ordered: bool) -> None:
        super().__init__()
        self.fields = fields
        self.root = root
        self.writers = writers
        self.is_ordered = is_ordered
        self.slots: list[tuple[Field, UUID]] = []
        # Which open transaction has changed a message: another would wait for it.
        self.holders: dict[int, int] = {}
        self.bystander: list[Row] = []

    @initialize()
    def start(self) -> None:
        for connection in self.writers:
            connection.rollback()
        self.root.execute("DELETE FROM guestcomms.messages")
        bystander = self.fields[2]
        for number in range(2):
            bystander.place.write(self.root, self.new_id(number), "rose menu seat ok")
        self.slots = [(self.fields[number % 2], self.new_id(number)) for number in range(7)]
        self.root.execute(FALL_BEHIND)
        refresh_all(self.root)
        self.bystander = self.rows_of(bystander)

    def new_id(self, number: int) -> UUID:
        return new_message_id(self.root, LATELY - timedelta(days=25 * number))

    def rows_of(self, field: Field) -> list[Row]:
        found: list[Row] = []
        for name in TABLES:
            query = f"SELECT '{name}', xmin::text, t::text FROM guestcomms.{name} AS t WHERE tenant_id = %s ORDER BY 3"
            found += rows(self.root, query.encode(), field.place.tenant)
        return found

    def hold(self, number: int, slot: int) -> Connection | None:
        """The writer, if nobody else is at the message."""
        return self.writers[number] if self.holders.setdefault(slot, number) == number else None

    def written(self, number: int) -> None:
        if self.is_ordered:
            self.end(number, "COMMIT")

    @rule(number=WRITERS)
    def begin(self, number: int) -> None:
        """With a transaction number of its own, lower than of those that begin later."""
        if not self.is_ordered:
            self.writers[number].execute("SELECT pg_current_xact_id()")

    @rule(number=WRITERS, slot=SLOTS, body=TEXTS, subject=st.none() | TEXTS, guest=st.integers(0, 2), is_recorded=st.booleans())
    def add(self, number: int, slot: int, body: str, subject: str | None, guest: int, is_recorded: bool) -> None:
        """Straight into the table, or through record_messages()."""
        field, identifier = self.slots[slot]
        writer = self.hold(number, slot)
        if writer is None or rows(writer, PRESENT, field.place.tenant, identifier):
            return
        guests = field.others["guest_id"]
        with unless_written_to(writer):
            if is_recorded:
                writer.execute("SELECT guestcomms.use_tenant(%s)", [field.place.tenant])
                values = message(field.recorded[number], body=body, subject=subject, channel="email", language="en")
                self.slots[slot] = field, record_all(writer, [values])[0]
            else:
                place = Place(field.place.tenant, guests[guest], field.place.thread)
                place.write(writer, identifier, body, subject=subject)
        self.written(number)

    @rule(
        number=WRITERS, slot=SLOTS, changes=st.lists(EDITS, min_size=1, max_size=3), is_kept=st.sampled_from([True, True, False])
    )
    def edit(self, number: int, slot: int, changes: list[tuple[str, Any]], is_kept: bool) -> None:
        field, identifier = self.slots[slot]
        if writer := self.hold(number, slot):
            with unless_written_to(writer):
                writer.execute("SAVEPOINT part")
                for what, value in changes:
                    found = field.others[what][value] if what in field.others else value
                    writer.execute(edit(what), [found, field.place.tenant, identifier])
                writer.execute("RELEASE part" if is_kept else "ROLLBACK TO part")
            self.written(number)

    @rule(number=WRITERS, slot=SLOTS)
    def delete(self, number: int, slot: int) -> None:
        field, identifier = self.slots[slot]
        if writer := self.hold(number, slot):
            with unless_written_to(writer):
                writer.execute(DELETE, [field.place.tenant, identifier])
            self.written(number)

    @rule(number=WRITERS)
    def write_elsewhere(self, number: int) -> None:
        """As many changes as are read at a time."""
        self.writers[number].execute(
            "INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %s, %s FROM generate_series(1, 3)",
            [self.fields[0].place.tenant, self.fields[0].place.guest],
        )
        for _ in range(9):
            with unless_written_to(self.writers[number]):
                self.writers[number].execute(
                    "UPDATE guestcomms.threads SET subject = 'x' WHERE thread_id = %s", [self.fields[number].place.thread]
                )
        self.written(number)

    @rule(number=WRITERS, command=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, number: int, command: str) -> None:
        self.writers[number].execute(command.encode())
        self.holders = {slot: holder for slot, holder in self.holders.items() if holder != number}

    @rule(max_rows=BATCHES)
    def refresh(self, max_rows: int) -> None:
        refresh(self.root, max_rows)

    def teardown(self) -> None:
        if not self.slots:
            return
        for number in range(len(self.writers)):
            self.end(number, "COMMIT")
        refresh_all(self.root, 1)
        assert self.rows_of(self.fields[2]) == self.bystander
        followed = read_kept(self.root)
        counted = count_anew(self.root)
        if self.is_ordered:
            assert not surplus_guests(followed, counted)
        else:
            assert not differences(followed, counted)


@pytest.mark.usefixtures("logins")
@pytest.mark.parametrize("is_ordered", [True, False], ids=["guests", "counts"])
def test_it_is_what_counting_anew_gives(new_database: Callable[..., Database], is_ordered: bool) -> None:
    store = create_tenants(new_database())
    root = store.connect()
    root.execute("SET lock_timeout = '5s'")
    root.execute("SELECT guestcomms.set_setting('suggest.min_guests', '1')")
    tenants = [store.tenant_a, store.tenant_b, one(root, "SELECT guestcomms.add_tenant('Tenant C')")]
    fields = [add_field(root, tenant) for tenant in tenants]
    writers = [store.connect(autocommit=False) for _ in range(2)]
    for connection in writers:
        connection.execute("SET lock_timeout = '20ms'")
        connection.commit()

    def machine() -> Vocabulary:
        return Vocabulary(fields, root, writers, is_ordered)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        cast(Any, machine),  # asks for the class but takes whatever makes a machine
        settings=settings(
            deadline=None,
            max_examples=40,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )


# What was erased


@pytest.fixture
def root(store: Store) -> Iterator[Connection]:
    """All being counted, whatever a test before has left; words of one guest are suggested."""
    connection = store.connect()
    connection.execute("SET lock_timeout = '5s'")
    connection.execute("SELECT guestcomms.set_setting('suggest.min_guests', '1')")
    connection.execute("DELETE FROM guestcomms.messages")
    connection.execute(FALL_BEHIND)
    refresh_all(connection)
    yield connection
    connection.close()


@pytest.fixture
def places(store: Store, root: Connection) -> list[Place]:
    """Three guests of tenant A, one of B who has written."""
    found = [*(add_place(root, store.tenant_a) for _ in range(3)), add_place(root, store.tenant_b)]
    found[3].write(root, new_message_id(root, LATELY), "the orchids of another")
    refresh_all(root)
    return found


def new_id(root: Connection) -> UUID:
    return new_message_id(root, LATELY)


def counts(root: Connection, place: Place) -> dict[str, int]:
    return dict(rows(root, "SELECT term, message_count FROM guestcomms.vocabulary WHERE tenant_id = %s", place.tenant))


def is_settled(root: Connection) -> bool:
    refresh_all(root)
    followed = read_kept(root)
    counted = count_anew(root)
    return not differences(followed, counted) and not surplus_guests(followed, counted)


ERASING = {
    "deleted": "DELETE FROM guestcomms.messages WHERE message_id = %s",
    "body": "UPDATE guestcomms.messages SET body = 'tulips then' WHERE message_id = %s",
    "a letter of it": "UPDATE guestcomms.messages SET body = replace(lower(body), 'zebra', 'zobra') WHERE message_id = %s",
    "another tenant's stay": "DELETE FROM guestcomms.messages WHERE message_id = %s AND tenant_id IS NOT NULL",
}


@pytest.mark.parametrize("max_rows", [1, 20_000])
@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize("erasing", ERASING)
def test_an_erased_word_is_nowhere(
    store: Store, root: Connection, places: list[Place], erasing: str, is_counted: bool, max_rows: int
) -> None:
    app = store.connect("app_login", store.tenant_a)
    suggested = "SELECT suggestion FROM guestcomms.suggest_terms(%s, max_rows => 20)"
    corrected = "SELECT correction FROM guestcomms.suggest_corrections('zebrs')"
    places[1].write(root, new_id(root), "tulips and roses")
    erased = places[0].write(root, new_id(root), "Zebra stripes with a zebra", subject="Stripes")
    if is_counted:
        refresh_all(root)
        assert where_found(root, "zebra") == ["vocabulary", "spelling_words", "suggestion_prefixes"]
        assert "zebra" in column(app, suggested, "ze")
        assert column(app, corrected) == ["zebra"]
    root.execute(ERASING[erasing].encode(), [erased])
    refresh_all(root, max_rows)
    assert where_found(root, "zebra") == []
    for prefix in ("", "z", "ze", "zeb", "zebr", "zebra", "zebra st", "a zebra", "stripes z"):
        assert not [found for found in column(app, suggested, prefix) if "zebra" in found and "zebra" not in prefix]
    assert column(app, corrected) in ([], ["zobra"])
    assert is_settled(root)


def test_a_spelling_that_is_erased(root: Connection, places: list[Place]) -> None:
    """The term stays, of messages that write it without accents."""
    erased = places[0].write(root, new_id(root), "zëbra")
    refresh_all(root)
    places[1].write(root, new_id(root), "zebra")
    refresh_all(root)
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [erased])
    refresh_all(root)
    assert counts(root, places[0])["zebra"] == 1
    assert where_found(root, "zëbra") == []


def test_a_language_makes_a_word_a_stop_word(root: Connection, places: list[Place]) -> None:
    found = places[0].write(root, new_id(root), "werden roses", language="en")
    refresh_all(root)
    assert counts(root, places[0]).keys() == {"werden", "roses", "werden roses"}
    root.execute("UPDATE guestcomms.messages SET language = 'de' WHERE message_id = %s", [found])
    assert is_settled(root)
    assert counts(root, places[0]).keys() == {"roses"}


def test_an_older_transaction_deletes_a_newer_message(store: Store, root: Connection, places: list[Place]) -> None:
    writer = store.connect(autocommit=False)
    one(writer, "SELECT pg_current_xact_id()")
    found = places[0].write(root, new_id(root), "sunflowers")
    for _ in range(9):
        writer.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [store.tenant_a])
    writer.execute(DELETE, [store.tenant_a, found])
    writer.commit()
    for _ in range(10):
        refresh(root, 1)
    assert counts(root, places[0]) == {"sunflowers": -1}
    assert where_found(root, "sunflowers") == ["vocabulary"]
    refresh_all(root, 1)
    assert where_found(root, "sunflowers") == []
    assert is_settled(root)


# Guests of a term


def guests_of(root: Connection, place: Place, term: str) -> set[int]:
    return set(one(root, "SELECT guests FROM guestcomms.vocabulary WHERE tenant_id = %s AND term = %s", place.tenant, term))


def guest_hash(root: Connection, place: Place) -> int:
    found: int = one(root, "SELECT guestcomms_internal.guest_hash(%s)", place.guest)
    return found


def test_a_guest_counts_once(root: Connection, places: list[Place]) -> None:
    for place in (places[0], places[0], places[1]):
        place.write(root, new_id(root), "marzipan")
        refresh_all(root)
    assert guests_of(root, places[0], "marzipan") == {guest_hash(root, place) for place in places[:2]}


def test_guests_of_a_term_are_at_most_twenty(root: Connection, store: Store, places: list[Place]) -> None:
    for number in range(25):
        add_place(root, store.tenant_a).write(root, new_id(root), "marzipan")
        if number % 10 == 0:
            refresh_all(root)
    refresh_all(root)
    assert len(guests_of(root, places[0], "marzipan")) == 20
    assert counts(root, places[0])["marzipan"] == 25


@pytest.mark.parametrize("is_counted", [True, False])
def test_a_message_given_to_another_guest(root: Connection, places: list[Place], is_counted: bool) -> None:
    found = places[0].write(root, new_id(root), "marzipan")
    places[1].write(root, new_id(root), "marzipan")
    if is_counted:
        refresh_all(root)
    root.execute(edit("guest_id"), [places[2].guest, places[0].tenant, found])
    refresh_all(root)
    assert guests_of(root, places[0], "marzipan") == {guest_hash(root, place) for place in places[1:3]}


def test_a_guest_whose_message_came_and_went(root: Connection, places: list[Place]) -> None:
    """Within a batch in which another uses the word."""
    found = places[0].write(root, new_id(root), "marzipan")
    root.execute(DELETE, [places[0].tenant, found])
    places[1].write(root, new_id(root), "marzipan")
    refresh_all(root)
    assert guests_of(root, places[0], "marzipan") == {guest_hash(root, places[1])}


def test_a_guest_whose_message_went_before_it_came(store: Store, root: Connection, places: list[Place]) -> None:
    """As the change log is read, by transaction numbers."""
    for place in places[1:3]:
        place.write(root, new_id(root), "marzipan")
    refresh_all(root)
    writer = store.connect(autocommit=False)
    one(writer, "SELECT pg_current_xact_id()")
    found = places[0].write(root, new_id(root), "marzipan")
    for _ in range(9):
        writer.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [store.tenant_a])
    writer.execute(DELETE, [store.tenant_a, found])
    writer.commit()
    refresh_all(root, 1)
    assert counts(root, places[0])["marzipan"] == 2
    assert guests_of(root, places[0], "marzipan") <= {guest_hash(root, place) for place in places[1:3]}


# What never enters

NEVER = {
    "stop words": ("en", "the and of", "the and of"),
    "stop words of another language": ("de", "und die nicht", "und die nicht"),
    "stop words in capitals": ("en", "THE AND", "the and"),
    "numbers": ("en", "42 3.14 -7 1e10 2026-05-01 18:30 1,500", "42 3.14 -7 7 1e10 2026 05 01 18 30 1 500"),
    "telephone numbers": ("en", "+44 7700 900123 (0170) 123-4567", "44 7700 900123 0170 123 4567"),
    "mixed": ("en", "A-1023 B12 x2y", "1023 b12 x2y"),
    "e-mail": ("en", "anna.berger@gardenmail.org ANNA@gardenmail.org", "anna berger gardenmail org"),
    "e-mail with a hyphen": ("en", "anna-lena_berger@garden-mail.org", "anna lena berger garden mail org"),
    "e-mail with a tag": ("en", "anna+berger@gardenmail.org", "anna berger gardenmail org"),
    "e-mail in brackets": ("en", "<anna@gardenmail.org>", "anna gardenmail org"),
    "e-mail with accents": ("de", "jörg.müller@gardenmail.org", "jörg jorg müller muller gardenmail org"),
    "mailto": ("en", "mailto:anna@gardenmail.org", "anna gardenmail org"),
    "web": (
        "en",
        "https://gardenplan.org/tulips/anna?guest=berger&seat=x#lilac",
        "gardenplan org tulips anna guest berger lilac https",
    ),
    "web without a scheme": ("en", "www.gardenplan.org gardenplan.org/anna", "www gardenplan org anna"),
    "web in capitals": ("en", "HTTPS://GARDENPLAN.ORG/ANNA", "https gardenplan org anna"),
    "web with accents": ("de", "https://gärtnerplan.org/rösli", "gärtnerplan gartnerplan rösli rosli org"),
    "web with a user": ("en", "https://anna:berger@gardenplan.org/", "anna berger gardenplan org"),
    "paths": ("en", "/srv/anna/berger.pdf", "srv anna berger pdf"),
    "entities and tags": ("en", "&nbsp; <b class='anna'>", "nbsp class anna"),
    "one letter": ("en", "x y z", "x y z"),
    "long": ("en", "a" * 31, "a" * 31),
    "no word": ("zh", "你好你好你好你好你", "你好你好你好你好你"),
}


@pytest.mark.parametrize("what", NEVER)
def test_what_never_enters(root: Connection, places: list[Place], what: str) -> None:
    language, text, never = NEVER[what]
    places[0].write(root, new_id(root), f"roses. {text}", language=language, subject=text)
    refresh_all(root)
    terms = counts(root, places[0])
    assert "roses" in terms
    assert not {part for term in terms for part in term.split()} & set(never.split())


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("en", "Seating plans", {"seating", "plans", "seating plans"}),
        ("en", "plan of the day", {"plan", "day"}),
        ("en", "vegetarian-friendly", {"vegetarian", "friendly", "vegetarian friendly"}),
        ("de", "schöne Straße", {"schone", "strasse", "schone strasse"}),
        ("fr", "ÉTÉ Noël", {"noel"}),
        ("ru", "Ёлка нарядная", {"елка", "нарядная", "елка нарядная"}),
        (None, "the roses", {"the", "roses", "the roses"}),
        ("zh", "你好。素食菜单", {"你好", "素食菜单", "你好 素食菜单"}),
        ("en", "rose rose", {"rose", "rose rose"}),
        ("en", "a" * 30, {"a" * 30}),
    ],
)
def test_terms_of_a_message(root: Connection, places: list[Place], language: str | None, text: str, terms: set[str]) -> None:
    places[0].write(root, new_id(root), text, language=language)
    refresh_all(root)
    assert counts(root, places[0]) == dict.fromkeys(terms, 1)


def test_subject_and_body_count_once(root: Connection, places: list[Place]) -> None:
    places[0].write(root, new_id(root), "menu, the menu: Menü", subject="Menu")
    refresh_all(root)
    assert counts(root, places[0])["menu"] == 1


# The bound


def syllables(number: int) -> str:
    """A word of letters for a number."""
    return "".join("bdfgklmnpr"[int(digit)] + "aeiou"[int(digit) % 5] for digit in f"{number:04}")


@pytest.fixture
def bounded(root: Connection, places: list[Place]) -> Iterator[Connection]:
    root.execute("SELECT guestcomms.set_setting('suggest.max_terms', '1000')")
    yield root
    root.execute("SELECT guestcomms.set_setting('suggest.max_terms', NULL)")


def check_bound(root: Connection, place: Place) -> int:
    """The count, once everything agrees with it."""
    terms = counts(root, place)
    assert one(root, "SELECT term_count FROM guestcomms.search_statistics WHERE tenant_id = %s", place.tenant) == len(terms)
    assert len(terms) <= 1100
    spellable = column(
        root,
        "SELECT term FROM guestcomms.vocabulary WHERE tenant_id = %s AND guestcomms_internal.is_spellable(term)",
        place.tenant,
    )
    assert set(spellable) == set(column(root, "SELECT word FROM guestcomms.spelling_words WHERE tenant_id = %s", place.tenant))
    return len(terms)


def test_the_seldomest_leave(bounded: Connection, places: list[Place]) -> None:
    for _ in range(5):
        places[0].write(bounded, new_id(bounded), "peonies")
    sizes = []
    for start in range(0, 1600, 50):
        words = (syllables(number) for number in range(start, start + 50))
        places[0].write(bounded, new_id(bounded), " 1 the ".join(words))
        refresh_all(bounded)
        sizes.append(check_bound(bounded, places[0]))
    assert any(later < earlier for earlier, later in pairwise(sizes))
    assert min(sizes[20:]) >= 1000
    assert counts(bounded, places[0])["peonies"] == 5
    recount(bounded)
    refresh_all(bounded)
    assert check_bound(bounded, places[0]) == 1000
    assert counts(bounded, places[0])["peonies"] == 5
    assert counts(bounded, places[3]).keys() == {"orchids", "another"}


def test_pairs_leave_before_words(bounded: Connection, places: list[Place]) -> None:
    for start in range(0, 800, 100):
        places[0].write(bounded, new_id(bounded), " ".join(syllables(number) for number in range(start, start + 100)))
        refresh_all(bounded)
    assert check_bound(bounded, places[0]) >= 1000
    assert {syllables(number) for number in range(800)} <= counts(bounded, places[0]).keys()


def test_what_left_is_erased_later(bounded: Connection, places: list[Place]) -> None:
    """A word that has left for being rare is not less than nothing once its message goes."""
    old = places[0].write(bounded, new_message_id(bounded, LATELY - timedelta(days=150)), "zebra")
    refresh_all(bounded)
    for start in range(0, 1200, 100):
        places[0].write(bounded, new_id(bounded), " the ".join(syllables(number) for number in range(start, start + 100)))
        refresh_all(bounded)
    assert "zebra" not in counts(bounded, places[0])
    check_bound(bounded, places[0])
    bounded.execute(DELETE, [places[0].tenant, old])
    refresh_all(bounded)
    assert where_found(bounded, "zebra") == []
    check_bound(bounded, places[0])


def test_leaving_between_a_deletion_and_what_it_deleted(store: Store, bounded: Connection, places: list[Place]) -> None:
    """A term below nought waits for the change that makes it nothing."""
    for start in range(0, 1090, 109):
        places[0].write(bounded, new_id(bounded), " the ".join(syllables(number) for number in range(start, start + 109)))
    refresh_all(bounded)
    assert check_bound(bounded, places[0]) > 1050
    writer = store.connect(autocommit=False)
    one(writer, "SELECT pg_current_xact_id()")
    found = places[0].write(bounded, new_id(bounded), "sunflowers")
    writer.execute(DELETE, [store.tenant_a, found])
    places[0].write(writer, new_id(writer), " the ".join(syllables(number) for number in range(2000, 2100)))
    for _ in range(8):
        writer.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [store.tenant_a])
    writer.commit()
    refresh_all(bounded, 1)
    check_bound(bounded, places[0])
    assert where_found(bounded, "sunflowers") == []


# Sessions and tenants


def test_two_sessions_at_once(store: Store, root: Connection, places: list[Place]) -> None:
    found = [places[n % 3].write(root, new_id(root), f"roses {syllables(n)}") for n in range(40)]
    for number, identifier in enumerate(found):
        root.execute(edit("body"), [f"tulips {syllables(number % 7)}", store.tenant_a, identifier])

    def work(_: int) -> int:
        with store.connect("operator_login") as connection:
            return refresh_all(connection, 1)

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, range(2))) > 2
    assert "roses" not in counts(root, places[0])
    assert counts(root, places[0])["tulips"] == 40
    assert is_settled(root)


def test_a_refresh_that_is_rolled_back(store: Store, root: Connection, places: list[Place]) -> None:
    places[0].write(root, new_id(root), "roses")
    before = read_kept(root)
    with store.connect(autocommit=False) as other:
        assert refresh(other) > 0
        other.rollback()
    assert read_kept(root) == before
    assert is_settled(root)


def test_another_tenants_words_stay_as_they_are(root: Connection, places: list[Place]) -> None:
    def written() -> list[list[Row]]:
        query = "SELECT xmin::text, t::text FROM guestcomms.{} AS t WHERE tenant_id = %s ORDER BY 2"
        return [rows(root, query.format(name).encode(), places[3].tenant) for name in TABLES]

    before = written()
    found = [places[0].write(root, new_id(root), "the orchids of another") for _ in range(3)]
    refresh_all(root)
    root.execute(edit("body"), ["nothing", places[0].tenant, found[0]])
    root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s", [places[0].tenant])
    refresh_all(root, 1)
    assert written() == before
    assert counts(root, places[0]) == {}


def test_names_of_all_messages_of_a_guest(root: Connection, places: list[Place]) -> None:
    kept = "SELECT kind, message_count FROM guestcomms.name_statistics WHERE named_id = %s"
    found = [places[0].write(root, new_id(root), "roses") for _ in range(3)]
    refresh_all(root)
    assert rows(root, kept, places[0].guest) == [("guest", 3)]
    root.execute(edit("guest_id"), [places[1].guest, places[0].tenant, found[0]])
    refresh_all(root)
    assert rows(root, kept, places[0].guest) == [("guest", 2)]
    assert rows(root, kept, places[1].guest) == [("guest", 1)]
    root.execute("DELETE FROM guestcomms.messages WHERE guest_id = %s", [places[0].guest])
    refresh_all(root)
    assert rows(root, kept, places[0].guest) == []
    assert is_settled(root)
