"""Personal data in texts of a tenant, without a database."""

from __future__ import annotations

from typing import Any

import pytest
from guestcomms import detection, personal_data
from guestcomms.detection import BadArgument, anonymize, find_in_texts
from guestcomms.personal_data import NameFinder

TEXT = "Zoë Kaya is at zoe@example.com, her desk at 192.0.2.7, in 10115 Berlin"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A German business with two guests."""
    monkeypatch.setattr(detection, "load_region", lambda plpy, tenant: "DE")
    monkeypatch.setattr(detection, "load_names", lambda plpy, session, tenant: NameFinder(["Zoë Kaya", "Phone Email"]))


def found(texts: list[str | None], certainty: float | None = 0.5, kinds: list[str | None] | None = None) -> list[Any]:
    return [(number, kind) for number, _, _, kind, _ in find_in_texts(None, {}, "t", texts, certainty, kinds)]


def test_findings_say_where_what_and_in_which_text() -> None:
    assert find_in_texts(None, {}, "t", [None, "to zoe@example.com"], 0.5) == [(2, 3, 18, "email", 0.98)]
    assert found([TEXT]) == [(1, "name"), (1, "email"), (1, "ip_address"), (1, "postal_code")]
    assert found([TEXT, None, TEXT], kinds=["email"]) == [(1, "email"), (3, "email")]
    assert found([TEXT], 0.96) == [(1, "email")]
    assert found(["zoe or so"]) == []
    assert found(["zoe or so"], 0.4) == [(1, "name")]


def test_without_texts_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(detection, "load_names")
    assert found([]) == found([None, ""]) == []


@pytest.mark.parametrize("certainty", [None, 0.0, -1.0, 1.01, float("nan"), float("inf")])
def test_a_certainty_is_above_0_and_up_to_1(certainty: float | None) -> None:
    with pytest.raises(BadArgument) as caught:
        found([TEXT], certainty)
    assert "min_certainty" in caught.value.detail


@pytest.mark.parametrize("kinds", [["email", "quokka"], ["email", None]])
def test_an_unknown_kind_is_named_by_its_place(kinds: list[str | None]) -> None:
    with pytest.raises(BadArgument) as caught:
        found([TEXT], kinds=kinds)
    assert caught.value.detail == "Element 2 of kinds is none."
    assert "url_token" in caught.value.hint
    assert "quokka" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


def test_anonymized_but_for_what_is_kept() -> None:
    assert anonymize(None, {}, "t", TEXT, None) == "[name] is at [email], her desk at [ip_address], in [postal_code] Berlin"
    kept = anonymize(None, {}, "t", TEXT, ["ZOE@example.COM", "zoe kaya", "192.0.2.7", None, "", "10 115"])
    assert kept == TEXT


def test_what_is_uncovered_is_hidden_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends all the same, after some passes, where a guest is called like what stands in brackets."""
    text = "[phone][email] zoe@example.com"
    assert anonymize(None, {}, "t", text, None) == "[[name]] [email]"
    monkeypatch.setattr(personal_data, "_MOST_PASSES", 1)
    assert anonymize(None, {}, "t", "zoe@example.com", None) == "[email]"
