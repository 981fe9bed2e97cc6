"""Templates: which text a guest gets, that values are put in as they are, and what is missing is named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows, told
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
SET = "SELECT guestcomms.set_template(%s, 'email', %s, subject => %s, body => %s, variant => %s)"
RENDER = "SELECT subject, body FROM guestcomms.render_template(%s, %s, 'email', %s)"
CHOSEN = "SELECT language, variant FROM guestcomms.render_template(%s, %s, 'email', language => %s, variant => %s)"
# Whatever the server takes as text.
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30) | st.sampled_from(
    ["{{b}}", "\\{{a}}", "{{", "}}", "\\", "\\\\{", "{{{a}}}", "%s", "\\1&\\0", "{{guest.name}}"]
)


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture
def app(office: Archive) -> Connection:
    return office.connect("app_login")


def put(
    app: Connection, body: str, subject: str | None = None, language: str = "en", variant: str = "a", name: str = "t"
) -> UUID:
    made: UUID = one(app, SET, name, language, subject, body, variant)
    return made


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("{", "\\{")


def test_any_text_and_any_values_come_out_as_they_are(office: Archive, app: Connection) -> None:
    guest = office.guest()

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.lists(TEXTS, min_size=1, max_size=5), st.dictionaries(st.sampled_from(["a", "b", "c.d"]), TEXTS, min_size=3))
    def check(between: list[str], values: dict[str, str]) -> None:
        names = [list(values)[place % 3] for place in range(len(between))]
        template = "".join(escaped(text) + "{{ " + name + "}}" for text, name in zip(between, names, strict=True))
        expected = "".join(text + values[name] for text, name in zip(between, names, strict=True))
        put(app, template, subject=template)
        assert rows(app, RENDER, "t", guest, Jsonb(values)) == [(expected, expected)]

    check()


def test_a_template_is_taken_or_refused_as_a_model_says(office: Archive, app: Connection) -> None:
    """Of braces, backslashes and names in any order."""
    token = re.compile(r"\\\\|\\\{|\{\{\s*[a-z][a-z0-9_]*\s*\}\}|\{\{|.", re.DOTALL)

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(
        st.lists(st.sampled_from(["{", "}", "{{", "}}", "\\", "a", " ", "A", "{{a}}", "\n"]), min_size=1, max_size=8).map("".join)
    )
    def check(template: str) -> None:
        found = token.findall(template)
        if "{{" in found:
            with refused("22023"):
                put(app, template)
        else:
            put(app, template)
            value = {"\\\\": "\\", "\\{": "{"}
            expected = "".join("x" if part.startswith("{{") else value.get(part, part) for part in found)
            guest = one(app, "SELECT guestcomms.add_guest()")
            assert rows(app, RENDER, "t", guest, Jsonb({"a": "x"})) == [(None, expected)]

    check()


def test_the_language_is_the_given_one_the_guests_the_tenants_english_or_any(office: Archive, app: Connection) -> None:
    guest = one(app, "SELECT guestcomms.add_guest(language => 'fr')")
    silent = office.guest()
    office.root.execute("UPDATE guestcomms.tenants SET language = 'de' WHERE tenant_id = %s", [office.tenant])
    put(app, "x", language="it")
    assert rows(app, CHOSEN, "t", guest, None, None) == [("it", "a")]
    for language in ("en", "de", "fr"):
        put(app, "x", language=language)
        assert rows(app, CHOSEN, "t", guest, None, None) == [(language, "a")]
    assert rows(app, CHOSEN, "t", silent, None, None) == [("de", "a")]
    assert rows(app, CHOSEN, "t", guest, "it", None) == [("it", "a")]
    assert rows(app, CHOSEN, "t", guest, "nl", None) == [("fr", "a")]


def test_a_guest_gets_one_variant_and_guests_get_all(office: Archive, app: Connection) -> None:
    for variant in ("a", "b", "c"):
        put(app, "x", variant=variant)
    guests = [office.guest() for _ in range(60)]
    chosen = {guest: one(app, "SELECT variant FROM guestcomms.render_template('t', %s, 'email')", guest) for guest in guests}
    assert {variant: list(chosen.values()).count(variant) > 5 for variant in "abc"} == dict.fromkeys("abc", True)
    for guest in guests[:5]:
        assert one(app, "SELECT variant FROM guestcomms.render_template('t', %s, 'email')", guest) == chosen[guest]
    assert rows(app, CHOSEN, "t", guests[0], None, "c") == [("en", "c")]
    put(app, "x", language="de", variant="d")
    assert rows(app, CHOSEN, "t", guests[0], None, "d") == [("de", "d")]
    with refused("42704"):
        rows(app, CHOSEN, "t", guests[0], None, "e")


def test_what_is_missing_is_named_altogether(office: Archive, app: Connection) -> None:
    guest = one(app, "SELECT guestcomms.add_guest()")
    put(app, "{{guest.name}} {{link}} {{ x_1 }} {{wedding.held_on}}", subject="{{wedding.name}} {{link}}")
    with refused("22023") as caught:
        rows(app, RENDER, "t", guest, Jsonb({"x_1": None, "secret": "unheard"}))
    assert caught.value.diag.message_detail == "guest.name, link, wedding.held_on, wedding.name, x_1."
    assert "unheard" not in told(caught.value)


def test_who_was_merged_gets_what_the_kept_guest_gets(office: Archive, app: Connection) -> None:
    for language, variant in (("en", "a"), ("fr", "a"), ("fr", "b"), ("fr", "c")):
        put(app, f"{language} {variant} {{{{guest.name}}}} {{{{wedding.name}}}}", language=language, variant=variant)
    for name in ("A", "B", "C", "D"):
        keep = one(app, "SELECT guestcomms.add_guest(%s, language => 'fr')", name)
        merge = one(app, "SELECT guestcomms.add_guest('Old', language => 'en')")
        wedding = one(app, "SELECT guestcomms.add_wedding(%s)", f"Wedding of {name}")
        one(app, "SELECT guestcomms.add_guest_to_wedding(%s, %s)", wedding, keep)
        one(app, "SELECT guestcomms.merge_guests(%s, %s)", keep, merge)
        ((_, body),) = rows(app, RENDER, "t", keep, Jsonb({}))
        assert body.startswith("fr ")
        assert body.endswith(f"{name} Wedding of {name}")
        assert rows(app, RENDER, "t", merge, Jsonb({})) == [(None, body)]


def test_the_store_knows_guest_tenant_and_wedding(office: Archive, app: Connection) -> None:
    guest = office.guest("Zoë {{link}}")
    weddings = {
        name: one(
            office.root,
            "INSERT INTO guestcomms.weddings (tenant_id, name, held_on, place) VALUES (%s, %s, %s, 'Rome') RETURNING wedding_id",
            *(office.tenant, name, day),
        )
        for name, day in (("Past", "2020-05-01"), ("Next", "2999-05-01"), ("Later", "2999-06-01"), ("Some day", None))
    }
    for wedding in weddings.values():
        office.add("wedding_guests", wedding_id=wedding, guest_id=guest)
    put(app, "{{guest.name}}, {{tenant.name}}: {{wedding.name}} {{wedding.held_on}} {{wedding.place}}")
    assert rows(app, RENDER, "t", guest, Jsonb({"link": "x"})) == [(None, "Zoë {{link}}, Archivist: Next 2999-05-01 Rome")]
    chosen = "SELECT body FROM guestcomms.render_template('t', %s, 'email', wedding_id => %s)"
    assert one(app, chosen, guest, weddings["Past"]) == "Zoë {{link}}, Archivist: Past 2020-05-01 Rome"
    assert rows(app, RENDER, "t", guest, Jsonb({"wedding.name": "Ours", "wedding.held_on": 7, "tenant.name": True}))[0][1] == (
        "Zoë {{link}}, true: Ours 7 Rome"
    )


def test_texts_are_replaced_retired_and_listed(office: Archive, app: Connection) -> None:
    guest = office.guest()
    made = [put(app, "first {{b}} {{a}}", name=name, language=language) for name in ("s", "t") for language in ("en", "fr")]
    assert put(app, "second", name="s") == made[0]
    listing = "SELECT template_id FROM guestcomms.list_templates(%s, include_retired => %s, max_rows => %s, after => %s)"
    pages: list[UUID] = []
    while page := column(app, listing, None, False, 1, pages[-1] if pages else None):
        pages += page
    assert pages == made
    assert rows(app, "SELECT body, variables FROM guestcomms.list_templates('s', 'email')") == [
        ("second", []),
        ("first {{b}} {{a}}", ["a", "b"]),
    ]
    assert one(app, "SELECT guestcomms.retire_template('s', language => 'en')") == 1
    assert one(app, "SELECT guestcomms.retire_template('s', language => 'en')") == 0
    assert column(app, listing, "s", False, 10, None) == [made[1]]
    assert column(app, listing, "s", True, 10, None) == made[:2]
    one(app, "SELECT guestcomms.retire_template('s')")
    with refused("42704"):
        rows(app, RENDER, "s", guest, Jsonb({}))
    put(app, "third", name="s")
    assert rows(app, RENDER, "s", guest, Jsonb({})) == [(None, "third")]


def test_what_comes_out_too_long_is_an_error(office: Archive, app: Connection) -> None:
    guest = office.guest()
    put(app, "{{a}}", subject="{{a}}")
    for size in (2001, 1 << 20 | 1):
        with refused("22001"):
            rows(app, RENDER, "t", guest, Jsonb({"a": "x" * size}))


BAD: list[tuple[str, str]] = [
    ("set_template('', 'email', 'en', body => 'x')", "22023"),
    ("set_template(NULL, 'email', 'en', body => 'x')", "22023"),
    ("set_template('t', 'fax', 'en', body => 'x')", "22023"),
    ("set_template('t', NULL, 'en', body => 'x')", "22023"),
    ("set_template('t', 'email', 'English', body => 'x')", "22023"),
    ("set_template('t', 'email', 'en')", "22023"),
    ("set_template('t', 'email', 'en', body => '')", "22023"),
    ("set_template('t', 'email', 'en', body => 'x', variant => NULL)", "22023"),
    ("set_template('t', 'email', 'en', body => 'x', subject => repeat('x', 2001))", "22023"),
    ("set_template('t', 'email', 'en', body => 'Dear {{guest name}}')", "22023"),
    ("set_template('t', 'email', 'en', body => 'x', subject => '{{#if x}}')", "22023"),
    ("render_template('t', gen_random_uuid(), 'email')", "23503"),
    ("render_template('t', guest(), 'email')", "42704"),
    ("render_template('t', guest(), 'fax')", "22023"),
    ("render_template('t', guest(), 'email', '[]')", "22023"),
    ("""render_template('t', guest(), 'email', '{"a": {}}')""", "22023"),
    ("list_templates(max_rows => 0)", "22023"),
    ("list_templates(after => gen_random_uuid())", "42704"),
]


@pytest.mark.parametrize(("call", "sqlstate"), BAD, ids=[call for call, _ in BAD])
def test_bad_input(store: Store, call: str, sqlstate: str) -> None:
    with store.connect("app_login", store.tenant_a) as app:
        guest = one(app, "SELECT guestcomms.add_guest()")
        with refused(sqlstate) as caught:
            app.execute(f"SELECT guestcomms.{call}".replace("guest()", f"'{guest}'").encode())
    assert caught.value.diag.message_hint


def test_another_tenants_templates_are_nobodys(store: Store, office: Archive, app: Connection) -> None:
    made: Any = put(app, "x")
    guest = office.guest()
    with store.connect("other_app_login", store.tenant_b) as other:
        own = one(other, "SELECT guestcomms.add_guest()")
        with refused("42704"):
            rows(other, RENDER, "t", own, Jsonb({}))
        with refused("23503"):
            rows(other, RENDER, "t", guest, Jsonb({}))
        assert rows(other, "SELECT * FROM guestcomms.list_templates()") == []
        with refused("42704"):
            rows(other, "SELECT * FROM guestcomms.list_templates(after => %s)", made)
        assert one(other, "SELECT guestcomms.retire_template('t')") == 0
