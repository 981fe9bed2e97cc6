"""Whether guests' texts or the store's secrets got to where operators look: the server's log and pg_stat_statements.

What is looked for comes from the databases that tests leave behind: every column whose retention class is contact or content,
and the keys and passphrases. What a client wrote into a statement of its own is not looked at: the server logs a failed
statement as it was sent. Neither is what the extension's own script says, as a test's guest called "another tenant".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tools.cluster import Cluster

# Shorter ones, as "thanks", are found by chance; so are words as in names of functions, as actions of the audit trail, and
# what has few different letters, as blanks or "0000-0000-0000".
LEAST_CHARACTERS = 12
LEAST_LETTERS = 5
MOST_CHARACTERS = 120
MOST_VALUES = 2000
COLUMNS = """
    SELECT c.oid::regclass::text, a.attname, a.atttypid = 'bytea'::regtype
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND (
        a.atttypid = 'text'::regtype AND col_description(c.oid, a.attnum) ~ '\\[retention: (contact|content)\\]$'
        OR c.oid = to_regclass('guestcomms_internal.export_keys') AND a.attname = 'content'
        OR a.atttypid = 'bytea'::regtype AND col_description(c.oid, a.attnum) ~ '\\[retention: security\\]$')
"""
TEXTS = (
    "SELECT DISTINCT left({column}, {most}) FROM {table} WHERE length({column}) >= {least} AND {column} ~ '[^a-z_]' LIMIT {limit}"
)
SECRETS = """
    SELECT DISTINCT encode(substr({column}, 1, 32), f.format) FROM {table} CROSS JOIN (VALUES ('hex'), ('base64')) AS f (format)
    WHERE length({column}) >= {least} LIMIT {limit}
"""
STATEMENTS = (
    "SELECT query FROM pg_stat_statements WHERE NOT toplevel OR query ~* '^\\s*(select|insert|update|delete|with|values)'"
)
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[\d+\] (\w+):  ", re.MULTILINE)
WORD = re.compile(r"\w+")


@dataclass
class Secrecy:
    """Collects what must not be found; own_words: what the extension itself says."""

    values: set[str] = field(default_factory=set)
    own_words: str = ""

    def gather(self, cluster: Cluster, name: str) -> None:
        """All guests' texts and all secrets of a database."""
        with psycopg.connect(cluster.dsn(name)) as connection:
            for table, column, is_bytes in connection.execute(COLUMNS).fetchall():
                query = sql.SQL(SECRETS if is_bytes else TEXTS).format(
                    column=sql.Identifier(column),
                    table=sql.SQL(table),
                    least=LEAST_CHARACTERS,
                    most=MOST_CHARACTERS,
                    limit=MOST_VALUES,
                )
                self.values.update(value for (value,) in connection.execute(query) if is_telling(value))

    def found_in(self, texts: Iterable[str]) -> set[str]:
        """The values that are in one of the texts; compared by their words first, since there are many."""
        whole = "\n".join(texts)
        words = set(WORD.findall(whole))
        found = {value for value in self.values if words.issuperset(WORD.findall(value)) and value in whole}
        return {value for value in found if value not in self.own_words}


def is_telling(value: str) -> bool:
    """Whether a text that holds this value has it from a guest, not by chance."""
    return len(set("".join(WORD.findall(value)))) >= LEAST_LETTERS


def logged(log: str) -> Iterator[str]:
    """Of each entry what the store's functions had a part in: all but the client's statement, and but errors without CONTEXT."""
    entry: list[tuple[str, str]] = []
    for kind, text in _parts(log):
        if kind not in ("DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION"):
            yield from _told(entry)
            entry = []
        entry.append((kind, text))
    yield from _told(entry)


def _parts(log: str) -> Iterator[tuple[str, str]]:
    found = list(LINE.finditer(log))
    for match, after in zip(found, [*found[1:], None], strict=True):
        yield match.group(1), log[match.end() : after.start() if after else len(log)]


def _told(entry: list[tuple[str, str]]) -> Iterator[str]:
    kinds = {kind for kind, _ in entry}
    if "ERROR" not in kinds or "CONTEXT" in kinds:
        yield from (text for kind, text in entry if kind != "STATEMENT")


def statements(cluster: Cluster) -> list[str]:
    """What pg_stat_statements keeps of all databases, but for utility statements that a client sent."""
    with psycopg.connect(cluster.dsn("postgres")) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        found = [query for (query,) in connection.execute(STATEMENTS)]
        connection.rollback()
    return found
