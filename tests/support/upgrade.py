"""Upgrading a store from one version to another, and telling whether it became what a new one is."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
from collections import Counter

from psycopg import sql

from tests.support.database import Connection, Database
from tests.support.population import TABLES

# Lines of a dump that differ between two databases that are alike.
FLEETING = re.compile(
    r"""^(
        SELECT\ pg_catalog\.binary_upgrade_set_(next|missing).*   # OIDs, file numbers
        | SELECT\ pg_catalog\.setval.*                            # how far a sequence has come
        | --.*                                                    # comments, some with OIDs
        | \\(un)?restrict\ .*                                     # a random word a dump
        |                                                         # empty lines
    )$""",
    re.VERBOSE,
)
FLEETING_PARTS = [
    (re.compile(r"SET relfrozenxid = '\d+', relminmxid = '\d+'"), "SET relfrozenxid = ..."),
    (re.compile(r"WHERE oid = '\d+'"), "WHERE oid = ..."),  # TOAST tables
    (re.compile(r"'\{\d+(,\d+)*\}'"), "'{...}'"),  # OIDs of an extension's configuration tables
]
REQUIRED = re.compile(r"(?<=ARRAY\[)'[^\]]*'(?=\]::pg_catalog\.text\[\]\);)")  # extensions, in the order they were found


def dump_schema(database: Database) -> list[str]:
    """The catalog as pg_upgrade would carry it over, members of extensions one by one, without its OIDs."""
    program = database.cluster.places.bindir / "pg_dump"
    text = subprocess.run(
        [program, "--binary-upgrade", "--schema-only", "-d", database.dsn()],
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for pattern, replacement in FLEETING_PARTS:
        text = pattern.sub(replacement, text)
    text = REQUIRED.sub(lambda found: ",".join(sorted(found[0].split(","))), text)
    return [line for line in text.splitlines() if not FLEETING.match(line)]


def schema_difference(one: Database, other: Database) -> str:
    return "\n".join(difflib.unified_diff(dump_schema(one), dump_schema(other), one.name, other.name, lineterm=""))


Rows = dict[str, list[dict[str, object]]]


def read_rows(superuser: Connection) -> Rows:
    """Every row of every table of the store."""
    found: Rows = {}
    for schema, name, _ in superuser.execute(TABLES).fetchall():
        query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(schema, name))
        found[f"{schema}.{name}"] = [row for (row,) in superuser.execute(query)]
    return found


def lost_rows(before: Rows, after: Rows) -> dict[str, int]:
    """How many rows of each table are gone or have changed; columns and rows may have been added."""
    lost = {}
    for table, rows in before.items():
        columns = list(rows[0]) if rows else []
        wanted = Counter(json.dumps([row[name] for name in columns]) for row in rows)
        kept = Counter(json.dumps([row.get(name) for name in columns]) for row in after.get(table, []))
        if missing := (wanted - kept).total():
            lost[table] = missing
    return lost
