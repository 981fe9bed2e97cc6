"""Guests: names by culture, addresses that reach nobody, families that come together."""

from __future__ import annotations

import re
import unicodedata
from random import Random
from typing import Any

from demo.model import Guest, Tenant
from demo.text import load_data

ZONES = {
    "en": "Europe/London",
    "de": "Europe/Berlin",
    "fr": "Europe/Paris",
    "es": "Europe/Madrid",
    "it": "Europe/Rome",
    "nl": "Europe/Amsterdam",
    "pl": "Europe/Warsaw",
    "ar": "Asia/Dubai",
    "zh": "Asia/Shanghai",
}
# Numbers kept free for drama (Ofcom, Bundesnetzagentur, Arcep), or of a range without subscribers
# (Spain's 700).
PHONES = {
    "GB": ["+44 7700 900{:03}", "+44 20 7946 0{:03}", "+44 117 496 0{:03}", "+44 161 496 0{:03}"],
    "DE": [
        "+49 171 39200{:02}",
        "+49 176 040690{:02}",
        "+49 89 99998{:03}",
        "+49 30 23125{:03}",
        "+49 40 66969{:03}",
    ],
    "FR": [f"+33 6 39 98 {{:02}} {tail:02}" for tail in range(100)],
    "ES": [f"+34 700 0{block:02} {{:03}}" for block in range(100)],
}
MAIL_HOSTS = ["example.com", "example.org", "example.net", "mail.example.com", "post.example.org"]
TRANSLITERATED = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "ł": "l",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ø": "o",
        "đ": "d",
    }
)


class People:
    """Makes the guests of one tenant."""

    def __init__(self, rng: Random, tenant: Tenant) -> None:
        self._rng = rng
        self._tenant = tenant
        self._names = {culture: [_split(pool) for pool in pools] for culture, pools in load_data("names").items()}
        self._used: set[str] = set()
        self._phones = self._free_phones()

    def add_guest(self, culture: str, gender: str | None = None, family: str | None = None) -> Guest:
        """A new guest of the tenant."""
        rng = self._rng
        gender = gender or rng.choice("fm")
        family = family or self.pick_family(culture)
        first = self.pick_first(culture, gender, family)
        name = f"{family}{first}" if culture == "zh" else f"{first} {self._inflect(culture, gender, family)}"
        language = culture
        home = self._tenant.timezone if culture == self._tenant.language or rng.random() < 0.35 else ZONES[culture]
        guest = Guest(
            key=len(self._tenant.guests),
            name=name,
            first=first,
            family=family,
            gender=gender,
            culture=culture,
            language=language,
            timezone=home,
            email=self._make_email(first, family),
            phone=self._phones.pop() if self._phones and rng.random() < 0.93 else None,
            is_casual=rng.random() < 0.3,
            is_proxied=rng.random() < 0.34,
            typo_rate=rng.choice([0, 0, 0, 0.004, 0.01, 0.03]),
        )
        self._tenant.guests.append(guest)
        return guest

    def pick_family(self, culture: str) -> str:
        """A family name."""
        return self._rng.choice([name for pool in self._names[culture] for name in pool["family"]])

    def pick_first(self, culture: str, gender: str, family: str) -> str:
        """A given name that goes with a family name."""
        return self._rng.choice(next(pool for pool in self._names[culture] if family in pool["family"])[gender])

    @staticmethod
    def _inflect(culture: str, gender: str, family: str) -> str:
        if culture == "pl" and gender == "f" and family.endswith("ski"):
            return family[:-1] + "a"
        return family

    def _make_email(self, first: str, family: str) -> str:
        stem = f"{fold(first)}.{fold(family)}".strip(".") or f"guest{len(self._used) + 100}"
        if self._rng.random() < 0.25:
            stem = f"{fold(first)[:1]}{fold(family)}" or stem
        host = self._rng.choice(MAIL_HOSTS)
        address, number = f"{stem}@{host}", 2
        while address in self._used:
            address, number = f"{stem}{number}@{host}", number + 1
        self._used.add(address)
        return address

    def _free_phones(self) -> list[str]:
        phones: list[str] = []
        for pattern in PHONES[self._tenant.region]:
            width = int(pattern[pattern.index("{") + 3 : pattern.index("}")])
            block = [pattern.format(number) for number in range(10**width)]
            self._rng.shuffle(block)
            phones[:0] = block
        return phones


def _split(table: dict[str, Any]) -> dict[str, list[str]]:
    return {key: text.split("|") if "|" in text else text.split() for key, text in table.items()}


def fold(name: str) -> str:
    """A name in plain Latin letters; empty for other scripts."""
    lowered = name.lower().translate(TRANSLITERATED)
    folded = unicodedata.normalize("NFKD", lowered).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]+", "", folded)
