"""The terminal page that sections write on: colours, widths, and queries with their time."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

MIN_WIDTH, MAX_WIDTH = 78, 100
STYLES = {
    "bold": "1",
    "dim": "2",
    "accent": "38;5;173",
    "code": "38;5;109",
    "hit": "1;38;5;214",
    "in": "38;5;250",
    "out": "38;5;115",
    "bar": "38;5;173",
}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_HIT = re.compile(r"«([^»]*)»")

Row = dict[str, Any]


class Page:
    """Where a section shows what it found."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self.width = max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size().columns))
        self.has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.tenants = self.query("SELECT tenant_id, name, timezone, language FROM guestcomms.tenants ORDER BY created_at")

    # Asking

    def query(self, sql: str, parameters: Row | None = None) -> list[Row]:
        """The rows of a query."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def ask(self, sql: str) -> list[Row]:
        """Show a query, run it as it stands, show how long it took here; its rows."""
        self.sql(sql)
        started = time.perf_counter()
        rows = self.query(sql)
        milliseconds = (time.perf_counter() - started) * 1000
        count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
        self.line(self.style(f"  {count} in {milliseconds:.1f} ms", "dim"))
        self.line()
        return rows

    @contextmanager
    def as_tenant(self, tenant_id: UUID) -> Iterator[None]:
        """A transaction in the tenant's context, undone at its end."""
        self._connection.rollback()
        self.query("SELECT guestcomms.use_tenant(%(tenant_id)s)", {"tenant_id": tenant_id})
        try:
            yield
        finally:
            self._connection.rollback()

    def tenant(self, language: str) -> Row:
        """The tenant of a language, or else the first one."""
        fitting = [tenant for tenant in self.tenants if tenant["language"] == language]
        return (fitting or self.tenants)[0]

    # Showing

    def style(self, text: str, *names: str) -> str:
        """The text in colour, where the page has colours."""
        if not self.has_colours or not names:
            return text
        return f"\x1b[{';'.join(STYLES[name] for name in names)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """One line."""
        print(text.rstrip())

    def heading(self, text: str, note: str = "") -> None:
        """The start of a section."""
        self.line()
        rule = "─" * max(3, self.width - display_width(text) - 4)
        self.line(f"{self.style('──', 'dim')} {self.style(text, 'bold', 'accent')} "
                  f"{self.style(rule, 'dim')}")  # fmt: skip
        for part in textwrap.wrap(note, self.width - 2):
            self.line(f"  {self.style(part, 'dim')}")
        self.line()

    def sql(self, text: str) -> None:
        """A query, as one would type it."""
        for line in textwrap.dedent(text).strip().splitlines():
            self.line(f"  {self.style(line, 'code')}")

    def mark_hits(self, headline: str) -> str:
        """A search's headline on one line, its hits highlighted."""
        text = " ".join(headline.split())
        if not self.has_colours:
            return text
        return _HIT.sub(lambda found: self.style(found[1], "hit"), text)

    def wrap(self, text: str, indent: str) -> None:
        """Text in lines of the page's width."""
        for line in wrap_wide(text, self.width - len(indent)):
            self.line(f"{indent}{line}")

    def bar(self, share: float, width: int) -> str:
        """A horizontal bar in eighths of a character."""
        eighths = round(max(0.0, min(1.0, share)) * width * 8)
        rest = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else ""
        return self.style("█" * (eighths // 8) + rest, "bar")


def display_width(text: str) -> int:
    """The columns a text takes on a terminal."""
    plain = _ESCAPE.sub("", text)
    return sum(_columns(letter) for letter in plain)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Cf", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def pad(text: str, width: int) -> str:
    """The text with spaces up to a number of columns."""
    return text + " " * max(0, width - display_width(text))


def wrap_wide(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns; scripts without spaces break anywhere."""
    lines, line = [], ""
    for word in text.split(" "):
        while display_width(word) > width:
            room = width - display_width(line) - (1 if line else 0)
            head = _head(word, max(1, room))
            lines.append(f"{line} {head}".lstrip())
            word, line = word[len(head) :], ""
        if line and display_width(line) + 1 + display_width(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _head(word: str, width: int) -> str:
    taken = 0
    for index, letter in enumerate(word):
        taken += _columns(letter)
        if taken > width:
            return word[: max(1, index)]
    return word
