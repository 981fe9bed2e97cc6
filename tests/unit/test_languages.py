"""Detecting the language of a text."""

from __future__ import annotations

import sys

import pytest
from guestcomms.languages import detect_languages, letters

TEXTS = {
    "en": "Could we have the vegetarian menu for two of our guests, please?",
    "de": "Können wir für zwei unserer Gäste bitte das vegetarische Menü bekommen?",
    "fr": "Est-ce que deux de nos invités pourraient avoir le menu végétarien ?",
    "es": "¿Podrían dos de nuestros invitados tener el menú vegetariano, por favor?",
    "zh": "请问婚礼的菜单有素食吗,我们星期六到。",
    "ja": "結婚式のメニューについて質問があります。",
}
UNCLEAR = ["", "ok", "Danke!", "123 456 " * 10, "🎉" * 30, "https://example.com/a/very/long/path/of/letters"]


def test_languages_are_told_apart() -> None:
    pytest.importorskip("langdetect")
    assert detect_languages(TEXTS.values()) == list(TEXTS)


def test_what_says_little_is_left_open() -> None:
    pytest.importorskip("langdetect")
    assert detect_languages(UNCLEAR) == [None] * len(UNCLEAR)


def test_the_same_text_gives_the_same_answer() -> None:
    pytest.importorskip("langdetect")
    text = "Hotel Restaurant Information Transport Service Menu"
    assert len({tuple(detect_languages([text])) for _ in range(20)}) == 1


def test_a_missing_package_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)  # type: ignore[misc]
    with pytest.raises(ImportError):
        detect_languages(["a text that is long enough to be looked at"])


def test_letters_of_scripts_without_spaces_say_more() -> None:
    assert letters("See you at 10!") == 8
    assert letters("菜单") == 6
