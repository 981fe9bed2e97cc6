"""Asking a connection in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.database import Connection

Row = tuple[Any, ...]
# Bytes where a query is put together from parts; psycopg lets only literals be text.
Query = LiteralString | bytes


def rows(connection: Connection, query: Query, *values: object) -> list[Row]:
    """All rows of a query; without values, a % in it is itself."""
    return connection.execute(query, values or None).fetchall()


def column(connection: Connection, query: Query, *values: object) -> list[Any]:
    """The first column of all rows."""
    return [row[0] for row in rows(connection, query, *values)]


def one(connection: Connection, query: Query, *values: object) -> Any:
    """The first column of the only row."""
    (row,) = rows(connection, query, *values)
    return row[0]


@contextmanager
def refused(*sqlstates: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """Expects an error of the server with one of the SQLSTATEs, matched by nothing else."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    assert caught.value.sqlstate in sqlstates, caught.value


def told(error: psycopg.Error) -> str:
    """Everything that an error tells the client."""
    parts = (
        error.diag.message_primary,
        error.diag.message_detail,
        error.diag.message_hint,
        error.diag.context,
        error.diag.internal_query,
    )
    return "\n".join(part for part in parts if part)


def copy_rows(connection: Connection, statement: Query, values: Sequence[Row]) -> None:
    """COPY ... FROM STDIN, a tuple a row."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in values:
            copy.write_row(row)
