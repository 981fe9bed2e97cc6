"""Phrase books and the small template language they are written in.

A template is plain text with `[this|or that]` (one is picked, may be nested and empty),
`{slot}` (a fact or phrase, see Scene) and `{40..95/5}` (a number in that range and step).
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
_TOKEN = re.compile(r"[\[\]|]|\{[^{}]+\}|[^\[\]|{}]+")
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:/(\d+))?$")
_SENTENCE = re.compile(r"(?:^|[!?] |(?<=\w\w)\. )[¡¿„“«]*\s?(?!https?:)[^\W\d_]")
_WORD = re.compile(r"(?<![\w@./:-])[^\W\d_]{5,}(?![\w@./:-])")

Node = str | tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One turn of a talk: who speaks, whether it may be left out, its template."""

    direction: str
    is_optional: bool
    language: str
    template: str


@dataclass(slots=True)
class Talk:
    """A conversation template."""

    number: int
    topic: str
    who: tuple[str, ...]
    when: tuple[int, int]
    needs: tuple[str, ...]
    subjects: list[str]
    lines: list[Line]
    channels: tuple[str, ...]
    weight: float
    moment: str


@dataclass(slots=True)
class Book:
    """All the phrases of one language."""

    language: str
    calendar: dict[str, Any]
    gender: dict[str, dict[str, str]]
    phrases: dict[str, list[str]]
    facts: dict[str, list[Any]]
    wedding: dict[str, list[Any]]
    campaigns: dict[str, dict[str, list[str]]]
    talks: list[Talk]
    replies: dict[str, list[Talk]]

    def date(self, day: dt.date) -> str:
        """A day with its weekday, as one writes it in this language."""
        return str(self.calendar["date"]).format(
            weekday=self.weekday(day),
            d=day.day,
            month=self.calendar["months"][day.month - 1],
            y=day.year,
            m=day.month,
        )

    def weekday(self, day: dt.date) -> str:
        """The day's name."""
        return str(self.calendar["weekdays"][day.weekday()])

    def greeting(self, hour: int) -> str:
        """What one says at this hour of the day."""
        morning, day, evening = self.calendar["greetings"]
        return str(morning if hour < 12 else day if hour < 18 else evening)

    def conjunction(self, name: str) -> str:
        """What joins two names, given the second one; Spanish avoids "y I..."."""
        is_spanish_i = self.language == "es" and name.startswith(("i", "hi"))
        return "e" if is_spanish_i else str(self.calendar["and"])

    def number(self, amount: int) -> str:
        """An amount with this language's thousands separator."""
        return f"{amount:,}".replace(",", self.calendar.get("thousands", "."))

    def time(self, at: dt.time) -> str:
        """A time of day, as one writes it in this language."""
        pattern = self.calendar["time" if at.minute else "full_hour"]
        return str(pattern).format(
            h=(at.hour - 1) % 12 + 1,
            half="am" if at.hour < 12 else "pm",
            H=at.hour,
            M=f"{at.minute:02}",
        )


@cache
def load_books() -> dict[str, Book]:
    """The phrase books, by language."""
    return {path.stem: _read_book(path) for path in sorted((HERE / "phrases").glob("??.toml"))}


def load_data(name: str) -> dict[str, Any]:
    """One of the data files beside this module."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _read_book(path: Path) -> Book:
    language = path.stem
    raw: dict[str, Any] = {}
    for part in [path, *sorted(path.parent.glob(f"{language}_*.toml"))]:
        for key, value in tomllib.loads(part.read_text(encoding="utf-8")).items():
            if isinstance(value, list):
                raw.setdefault(key, []).extend(value)
            else:
                raw.setdefault(key, {}).update(value)
    talks = [_read_talk(number, entry, language) for number, entry in enumerate(raw.get("talk", []))]
    replies: dict[str, list[Talk]] = {}
    for number, entry in enumerate(raw.get("reply", []), start=1000):
        replies.setdefault(entry["to"], []).append(_read_talk(number, entry, language))
    names = ("calendar", "gender", "phrases", "facts", "wedding", "campaigns")
    tables = {name: raw.get(name, {}) for name in names}
    return Book(language=language, talks=talks, replies=replies, **tables)


def _read_talk(number: int, entry: dict[str, Any], language: str) -> Talk:
    lines = []
    for raw in entry["lines"].strip().splitlines():
        mark, _, template = raw.partition(" ")
        lines.append(
            Line(
                "inbound" if mark[0] == ">" else "outbound",
                "?" in mark,
                mark[1:].strip("?") or language,
                template,
            )
        )
    who = entry.get("who", "guest")
    return Talk(
        number=number,
        topic=entry.get("topic", entry.get("to", "")),
        who=(who,) if isinstance(who, str) else tuple(who),
        when=tuple(entry.get("when", (0, 0))),
        needs=tuple(entry.get("needs", ())),
        subjects=entry.get("subject", []),
        lines=lines,
        channels=tuple(entry.get("channels", ("email", "sms", "whatsapp", "chat"))),
        weight=entry.get("weight", 1.0),
        moment=entry.get("moment", ""),
    )


@cache
def parse(template: str) -> tuple[Node, ...]:
    """A template as a tree of text, choices and slots."""
    stack: list[list[list[Node]]] = [[[]]]
    for token in _TOKEN.findall(template):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]":
            options = stack.pop()
            stack[-1][-1].append(("choice", tuple(tuple(option) for option in options)))
        elif token[0] == "{":
            found = _RANGE.match(token[1:-1])
            stack[-1][-1].append(("range", range_of(found)) if found else ("slot", token[1:-1]))
        else:
            stack[-1][-1].append(token)
    if len(stack) != 1:
        raise ValueError(f"unbalanced brackets in {template!r}")
    return tuple(stack[0][0])


def range_of(found: re.Match[str]) -> range:
    """The numbers that `40..95/5` stands for."""
    return range(int(found[1]), int(found[2]) + 1, int(found[3] or 1))


@dataclass(slots=True)
class Scene:
    """What is true while a text is written: given values, then facts kept once chosen."""

    rng: Random
    book: Book
    values: dict[str, str]
    wedding_values: dict[str, Any] = field(default_factory=dict)

    def say(self, template: str) -> str:
        """The template with every choice made and every slot filled."""
        return self._render(parse(template))

    def _render(self, nodes: tuple[Node, ...]) -> str:
        parts = []
        for node in nodes:
            if isinstance(node, str):
                parts.append(node)
            elif node[0] == "choice":
                parts.append(self._render(self.rng.choice(node[1])))
            elif node[0] == "range":
                parts.append(str(self.rng.choice(node[1])))
            else:
                parts.append(self._fill(node[1]))
        return "".join(parts)

    def _fill(self, slot: str) -> str:
        if slot in self.values:
            return self.values[slot]
        name = slot.partition(".")[0]
        if name in self.book.phrases:
            return self.say(self.rng.choice(self.book.phrases[name]))
        if name in self.book.facts:
            chosen = self.rng.choice(self.book.facts[name])
        elif name in self.book.wedding:
            kept = self.wedding_values.setdefault(name, self.rng.random())
            options = self.book.wedding[name]
            chosen = options[int(kept * len(options))]
        else:
            raise KeyError(f"unknown slot {slot!r} in language {self.book.language!r}")
        for number, part in enumerate(chosen if isinstance(chosen, list) else [chosen]):
            self.values[f"{name}.{number}" if number else name] = self.say(part)
        return self.values[slot]


def misspell(rng: Random, text: str, rate: float) -> str:
    """The text with a share of its longer lower-case words typed in a hurry."""

    def spoil(found: re.Match[str]) -> str:
        word = found[0]
        if not word.islower() or rng.random() >= rate:
            return word
        at = rng.randrange(1, len(word) - 1)
        kind = rng.random()
        if kind < 0.5:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if kind < 0.8:
            return word[:at] + word[at + 1 :]
        return word[:at] + word[at] + word[at:]

    return _WORD.sub(spoil, text)


def polish(text: str) -> str:
    """The text with capitals where sentences begin."""
    return _SENTENCE.sub(lambda found: found[0].upper(), text)
