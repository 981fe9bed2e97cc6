"""Names that a tenant knows, kept for a session, without a database: `plpy` is a small stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from guestcomms import known_names
from guestcomms.known_names import KEPT_TENANTS, load_names, load_region, people_in


class Plpy:
    """Names by tenant, as a database has them; counts how often signs and names are read."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names, self.statement, self.signs, self.reads = names, 0, 0, 0

    def prepare(self, query: str, types: list[str]) -> str:
        assert types == ["uuid"]
        return query

    def execute(self, query: str, values: tuple[str, ...] | list[str] = ()) -> list[dict[str, Any]]:
        if "statement_timestamp" in query:
            return [{"statement": str(self.statement)}]
        if "AS sign" in query:
            self.signs += 1
            return [{"sign": repr(self.names[values[0]])}]
        return [{"region": "DE"}]

    def cursor(self, query: str, values: list[str]) -> Iterator[dict[str, str]]:
        self.reads += 1
        return iter([{"name": name} for name in self.names[values[0]]])


def finds(plpy: Plpy, session: dict[str, Any], tenant: str, text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in load_names(plpy, session, tenant).find(text)]


def test_names_are_of_the_tenant_and_of_now() -> None:
    plpy, session = Plpy({"a": ["Zoë Kaya"], "b": ["Amir Haddad"]}), dict[str, Any]()
    text = "Zoe Kaya met Amir Haddad and Ines Moreau"
    assert finds(plpy, session, "a", text) == ["Zoe Kaya"]
    assert finds(plpy, session, "b", text) == ["Amir Haddad"]
    assert finds(plpy, session, "a", text) == ["Zoe Kaya"]
    plpy.names["a"] = ["Ines Moreau"]
    plpy.statement += 1
    assert finds(plpy, session, "a", text) == ["Ines Moreau"]


def test_a_statement_reads_the_sign_once_and_names_only_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(known_names, "monotonic", lambda: clock[0])
    plpy, session = Plpy({"a": ["Zoë Kaya"]}), dict[str, Any]()
    finder = load_names(plpy, session, "a")
    assert load_names(plpy, session, "a") is finder
    assert (plpy.signs, plpy.reads) == (1, 1)
    plpy.statement += 1
    assert load_names(plpy, session, "a") is finder
    assert (plpy.signs, plpy.reads) == (2, 1)
    clock[0] += known_names.TRUSTED_FOR + 0.1
    assert load_names(plpy, session, "a") is finder
    assert (plpy.signs, plpy.reads) == (3, 1)


def test_few_tenants_are_kept_the_last_ones() -> None:
    tenants = [f"tenant {number}" for number in range(KEPT_TENANTS + 1)]
    plpy, session = Plpy({tenant: [f"Guest{tenant[-1]}"] for tenant in tenants}), dict[str, Any]()
    for tenant in [*tenants[:-1], tenants[0], tenants[-1]]:
        load_names(plpy, session, tenant)
    assert set(session["guestcomms.known_names"]) == set(tenants) - {tenants[1]}


def test_region() -> None:
    assert load_region(Plpy({}), "a") == "DE"


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("Zoë & Tom Kaya", ["Zoë", "Tom Kaya"]),
        ("The Wedding of Ann Lee and Tom Reed, 14th June 2027", ["Ann Lee", "Tom Reed"]),
        ("Hochzeit von Jörg und Ines", ["Jörg", "Ines"]),
        ("Mrs. O'Neill-Ødegård", ["O'Neill-Ødegård"]),
        ("Le Thi Hoa", ["Le Thi Hoa"]),
        ("Andrea Evans", ["Andrea Evans"]),
        ("zoe@example.com", []),
        ("The Party", []),
    ],
)
def test_people_of_a_name(name: str, people: list[str]) -> None:
    assert people_in(name) == people
