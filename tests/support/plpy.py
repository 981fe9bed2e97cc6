"""PL/Python's `plpy` over a client's connection, so that what runs in the server runs here as well, where it is measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from tests.support.database import Connection

PARAMETER = re.compile(r"\$(\d+)")
# PL/Python has no types of its own for these.
AS_TEXT = ("uuid", "json", "jsonb", "timestamptz")


@dataclass(frozen=True)
class Plan:
    """A statement with named parameters."""

    query: str

    def parameters(self, values: Sequence[Any]) -> dict[str, Any]:
        return {f"p{number}": value for number, value in enumerate(values, 1)}


class Rows:
    """A cursor's rows."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._left = found

    def fetch(self, count: int) -> list[dict[str, Any]]:
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._left)


class Plpy:
    """prepare(), execute() and cursor() of `plpy`."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor(row_factory=dict_row)
        for name in AS_TEXT:
            self._cursor.adapters.register_loader(name, TextLoader)

    def prepare(self, query: str, types: Sequence[str]) -> Plan:
        named = PARAMETER.sub(lambda found: f"%(p{found[1]})s::{types[int(found[1]) - 1]}", query.replace("%", "%%"))
        return Plan(named)

    def execute(self, query: str | Plan, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        if isinstance(query, str):
            query = self.prepare(query, ())
        found = self._cursor.execute(query.query.encode(), query.parameters(values))
        return found.fetchall() if found.description else []

    def cursor(self, query: Plan, values: Sequence[Any] = ()) -> Rows:
        return Rows(self.execute(query, values))
