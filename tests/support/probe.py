"""Trying statements on a relation and saying in a word what came of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from tests.support.database import Connection
from tests.support.population import STORE_LEVEL
from tests.support.queries import told

DENIED = "42501"
NO_TENANT = "GC001"
REFUSED = "0A000"  # COPY into a table with row security
NOT_UPDATABLE = "55000"  # a view, whoever asks
NO_TABLE = "42809"  # a view, to COPY or TRUNCATE
NOTHING = "no rows"
OWN = "own rows"
ALL = "all rows"
DONE = "done"

# What a staging table says itself of the rows that come in.
STAMPED = {"tenant_id", "load_id", "loaded_at"}
# What is reached only behind all checks of privileges and row security: a row that is there
# already, and a table that others refer to.
GOT_THROUGH = {("insert", "23505"), ("copy", "23505"), ("truncate", "0A000")}

Row = dict[str, Any]

RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, c.relispartition,
    EXISTS (SELECT FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped),
    array(SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attgenerated = '' AND a.attidentity = ''
        ORDER BY a.attnum)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('guestcomms', 'guestcomms_internal', 'guestcomms_bi')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY 1, 2
"""
# Columns of a type (tdigest) that says itself what it is in JSON, and reads only text.
SPOKEN_IN_JSON = """
SELECT a.attname FROM pg_attribute AS a
JOIN pg_cast AS c ON c.castsource = a.atttypid AND c.casttarget = 'json'::regtype AND c.castfunc <> 0
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True)
class Relation:
    schema: str
    name: str
    kind: str
    is_partition: bool
    has_tenant: bool
    columns: tuple[str, ...]

    @property
    def stamps_tenant(self) -> bool:
        """Whether a row is told its tenant, for it may not name one."""
        return self.name in ("import_messages", "import_guest_lines")

    @property
    def has_zeros(self) -> bool:
        """Whether zeros stand for nothing in particular there, and not for the store as a whole."""
        return self.schema == "guestcomms_bi" or self.name == "warehouse_loads"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def find_relations(superuser: Connection) -> list[Relation]:
    """Every table, partition and view of our schemas."""
    return [
        Relation(schema, name, kind, is_partition, has_tenant, tuple(columns))
        for schema, name, kind, is_partition, has_tenant, columns in superuser.execute(RELATIONS)
    ]


def row_of(superuser: Connection, relation: Relation, tenant_id: UUID, canary: str) -> Row:
    """A row of the tenant, or any row of a relation without tenants, with another word for the
    canary."""
    condition = "t.tenant_id = %(tenant)s" if relation.has_tenant else "%(tenant)s IS NOT NULL"
    row = superuser.execute(
        sql.SQL("SELECT to_jsonb(t)::text FROM {} AS t WHERE {} LIMIT 1").format(relation.identifier, sql.SQL(condition)),
        {"tenant": tenant_id},
    ).fetchone()
    assert row is not None, f"{relation} has no row"
    found: Row = json.loads(row[0].replace(canary, "probe"))
    for (column,) in superuser.execute(SPOKEN_IN_JSON, [str(relation)]).fetchall():
        text = sql.SQL("SELECT t.{}::text FROM {} AS t LIMIT 1").format(sql.Identifier(column), relation.identifier)
        ((found[column],),) = superuser.execute(text).fetchall()
    return found


class Probe:
    """Tries statements in one open transaction, one savepoint each, and takes each back.

    `names` gives a letter to each tenant; `own` is the one the connection may see. `leaks` collects
    every output and error that holds one of the words of `secrets`, unless all rows were given."""

    def __init__(self, connection: Connection, names: Mapping[str, UUID], own: str, secrets: Iterable[str]) -> None:
        self.connection = connection
        self.connection.prepare_threshold = None  # several statements go in one message
        self.names = {name: str(identifier) for name, identifier in names.items()}
        self.names["store"] = str(STORE_LEVEL)
        self.own = own
        self.secrets = tuple(secrets)
        self.leaks: list[str] = []
        self.connection.execute("SAVEPOINT probe")

    def try_all(self, relation: Relation, rows: Mapping[str, Row]) -> dict[str, str]:
        """Each operation with its outcome. `rows` are rows to insert by the letter of the tenant;
        the payload is a row without its tenant, for a relation that stamps it."""
        table = relation.identifier
        first = sql.Identifier(relation.columns[0])
        found = {
            "select": self.read(relation, "SELECT to_jsonb(t)::text FROM {0} AS t"),
            "update": self.read(relation, "UPDATE {0} AS t SET {1} = t.{1} RETURNING to_jsonb(t)::text", first),
            "delete": self.read(relation, "DELETE FROM {0} AS t RETURNING to_jsonb(t)::text"),
            "truncate": self._attempt("truncate", sql.SQL("TRUNCATE {}").format(table)),
            "copy out": self.copy_out(relation),
        }
        for tenant, row in rows.items():
            found[f"insert {tenant}"] = self.insert(relation, relation.columns, row)
            found[f"copy in {tenant}"] = self.copy_in(relation, relation.columns, row)
        if relation.stamps_tenant:
            payload = [name for name in relation.columns if name not in STAMPED]
            found["insert payload"] = self.insert(relation, payload, rows[self.own])
            found["copy in payload"] = self.copy_in(relation, payload, rows[self.own])
        return found

    def read(self, relation: Relation, query: LiteralString, *names: sql.Composable) -> str:
        """A statement that gives the rows it touched, as text."""
        return self._attempt("read", sql.SQL(query).format(relation.identifier, *names), returning=relation)

    def insert(self, relation: Relation, columns: Iterable[str], row: Row) -> str:
        query = "INSERT INTO {0} ({1}) SELECT {1} FROM jsonb_populate_record(NULL::{0}, {2})"
        return self._attempt(
            "insert",
            sql.SQL(query).format(relation.identifier, _list(columns), sql.Literal(json.dumps(row))),
        )

    def copy_in(self, relation: Relation, columns: Iterable[str], row: Row) -> str:
        names = list(columns)
        query = sql.SQL("COPY {} ({}) FROM STDIN").format(relation.identifier, _list(names))
        try:
            self.connection.execute("ROLLBACK TO probe")
            with self.connection.cursor() as cursor, cursor.copy(query) as copy:
                copy.write_row([_text(row[name]) for name in names])
        except psycopg.Error as error:
            return self._failure("copy", error)
        return DONE

    def copy_out(self, relation: Relation) -> str:
        named = sql.SQL("COPY {} TO STDOUT")  # only a plain table can be
        selected = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT")
        query = (named if relation.kind == "r" else selected).format(relation.identifier)
        try:
            self.connection.execute("ROLLBACK TO probe")
            with self.connection.cursor() as cursor, cursor.copy(query) as copy:
                output = b"".join(copy).decode()
        except psycopg.Error as error:
            return self._failure("copy", error)
        return self._whose(relation, output)

    def _attempt(self, operation: str, query: sql.Composed, returning: Relation | None = None) -> str:
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql.SQL("ROLLBACK TO probe; ") + query)
            cursor.nextset()
        except psycopg.Error as error:
            return self._failure(operation, error)
        if returning is None:
            return DONE
        return self._whose(returning, "\n".join(row[0] for row in cursor))

    def _whose(self, relation: Relation, output: str) -> str:
        if not output:
            return NOTHING
        seen = {name for name, identifier in self.names.items() if identifier in output}
        if relation.has_zeros:
            seen.discard("store")
        if not relation.has_tenant or seen >= {"a", "b"}:
            return ALL
        self._watch(output)
        return OWN if seen == {self.own} else f"rows of {sorted(seen)}"

    def _failure(self, operation: str, error: psycopg.Error) -> str:
        self._watch(told(error))
        code = str(error.sqlstate)
        return DONE if (operation, code) in GOT_THROUGH else code

    def _watch(self, text: str) -> None:
        self.leaks += [text for word in self.secrets if word in text]


def _list(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _text(value: Any) -> Any:
    """A value of a JSON row as COPY's text wants it."""
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return json.dumps(value) if isinstance(value, dict) else value
