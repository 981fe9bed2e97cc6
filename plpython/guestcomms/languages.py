"""The language a text is written in, by langdetect (a port of Google's language-detection: naive Bayes over n-grams)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Below these a guess does more harm than the tenant's own language: a short greeting is written alike in many.
LEAST_LETTERS = 20
LEAST_PROBABILITY = 0.9
READ_CHARACTERS = 2000


def letters(text: str) -> int:
    """How many letters a text holds; those of scripts without spaces say as much as three.

    >>> letters("See you at 10!"), letters("菜单")
    (8, 6)
    """
    return sum(3 if character > "\u0e00" else 1 for character in text if character.isalpha())


def detect_languages(texts: Iterable[str]) -> list[str | None]:
    """ISO 639-1 codes in the order of the texts, None where a text does not say enough.

    The same text gives the same answer in every session: langdetect draws random numbers, which are seeded here.
    Raises ImportError where langdetect is missing.
    """
    import langdetect
    from langdetect.lang_detect_exception import LangDetectException

    langdetect.DetectorFactory.seed = 0

    def detect(text: str) -> str | None:
        if letters(text) < LEAST_LETTERS:
            return None
        try:
            guesses: list[Any] = langdetect.detect_langs(text[:READ_CHARACTERS])
        except LangDetectException:  # nothing but links, numbers or signs
            return None
        best = guesses[0]
        return best.lang.split("-")[0] if best.prob >= LEAST_PROBABILITY else None

    return [detect(text) for text in texts]
