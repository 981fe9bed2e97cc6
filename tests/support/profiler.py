"""Which PL/pgSQL statements and branches the tests run, as plpgsql_check's profiler counts them.

Profiles are kept in the server's shared memory, by database. Every test module has a database of its own, a copy of the
template, so they are gathered from each before it is dropped, and added up by the function's signature.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tools.cluster import Cluster
from tools.quoting import quote_name

ROOT = Path(__file__).parents[2]
PRELOAD = ("plpgsql", "plpgsql_check")
# The profiler parses dynamic statements once more, without the transition tables that these mention, and fails.
NOT_PROFILED = ("guestcomms_internal.log_row_changes()",)

FUNCTIONS = """
    SELECT p.oid, n.nspname || '.' || p.proname, p.oid::regprocedure::text
    FROM pg_extension AS e
    JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
    WHERE e.extname = 'guestcomms' AND p.oid <> ALL (%s::regprocedure[])
"""
PROFILER_PATH = """
    SELECT set_config('search_path', e.extnamespace::regnamespace::text, false)
    FROM pg_extension AS e WHERE e.extname = 'plpgsql_check'
"""
STATEMENTS = """
    SELECT s.stmtid, s.parent_stmtid, coalesce(s.parent_note, ''), s.block_num, s.stmtname, s.exec_stmts
    FROM plpgsql_profiler_function_statements_tb(%s) AS s
"""


@dataclass(frozen=True)
class Statement:
    number: int
    parent: int | None
    note: str
    place: int
    kind: str

    @property
    def begins_branch(self) -> bool:
        """First of a list that its parent may or may not run: THEN, ELSIF, ELSE, WHEN, LOOP, EXCEPTION."""
        return self.place == 1 and self.parent is not None and self.note != "body"


@dataclass
class Figures:
    """How much of something there is, and how much of it was run."""

    statements: int = 0
    statements_run: int = 0
    branches: int = 0
    branches_run: int = 0

    def add(self, other: Figures) -> None:
        self.statements += other.statements
        self.statements_run += other.statements_run
        self.branches += other.branches
        self.branches_run += other.branches_run


@dataclass
class Profiler:
    """What was gathered so far. `names` has the qualified name for each signature."""

    names: dict[str, str] = field(default_factory=dict)
    statements: dict[str, list[Statement]] = field(default_factory=dict)
    counts: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def prepare(self, cluster: Cluster, template: str) -> None:
        """Keep the profiler away, in every copy of the template, from the functions that it breaks."""
        for function in NOT_PROFILED:
            cluster.psql(f"ALTER FUNCTION {function} SET plpgsql_check.profiler = off;", template)

    def begin(self, cluster: Cluster, dbname: str) -> None:
        """Profile the sessions of a copy of the template."""
        cluster.psql(f"ALTER DATABASE {quote_name(dbname)} SET plpgsql_check.profiler = on;")

    def gather(self, cluster: Cluster, dbname: str) -> None:
        """Take over what ran in a database that is about to go, and free its part of shared memory."""
        try:
            connection = psycopg.connect(cluster.dsn(dbname), autocommit=True)
        except psycopg.OperationalError:  # a test stopped the server or dropped the database
            return
        with connection:
            if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'guestcomms'").fetchone():
                return
            functions = connection.execute(FUNCTIONS, [list(NOT_PROFILED)]).fetchall()
            connection.execute("CREATE EXTENSION IF NOT EXISTS plpgsql_check")
            connection.execute(PROFILER_PATH)
            for function, name, signature in functions:
                self.names[signature] = name
                try:
                    found = connection.execute(STATEMENTS, [function]).fetchall()
                except psycopg.errors.UndefinedObject:  # a variable of a table's type, and the test dropped the store
                    continue
                self.statements[signature] = [Statement(*row[:-1]) for row in found]
                self.counts[signature].update({statement[0]: statement[-1] for statement in found})
                connection.execute("SELECT plpgsql_profiler_reset(%s)", [function])

    def figures(self, signature: str) -> Figures:
        """Of one function. An IF without ELSE has a branch more: that none of its conditions held."""
        counts = self.counts[signature]
        result = Figures()
        chosen: Counter[int] = Counter()  # how often an IF ran one of its lists
        with_else = set[int]()
        for statement in self.statements[signature]:
            if statement.kind != "statement block":
                result.statements += 1
                result.statements_run += counts[statement.number] > 0
            if statement.begins_branch and statement.parent is not None:
                result.branches += 1
                result.branches_run += counts[statement.number] > 0
                chosen[statement.parent] += counts[statement.number]
                if statement.note == "else body":
                    with_else.add(statement.parent)
        for statement in self.statements[signature]:
            if statement.kind == "IF" and statement.number not in with_else:
                result.branches += 1
                result.branches_run += counts[statement.number] > chosen[statement.number]
        return result

    def modules(self) -> dict[str, Figures]:
        """Figures by folder of sql/; without what a test made a member of the extension."""
        sources = function_sources()
        result: dict[str, Figures] = defaultdict(Figures)
        for signature in self.statements:
            if folder := sources.get(self.names[signature]):
                result[folder].add(self.figures(signature))
        return dict(sorted(result.items()))


def function_sources() -> dict[str, str]:
    """The folder of sql/ that each function is created in; a store migration is one, too, once it is built."""
    found: dict[str, str] = {}
    for path in (ROOT / "sql").rglob("*.sql"):
        folder = path.relative_to(ROOT / "sql").parts[0]
        names = re.findall(r"CREATE (?:FUNCTION|PROCEDURE) (\w+\.\w+)", path.read_text(encoding="utf-8"))
        if number := re.match(r"\d{3}(?=_)", path.name):
            names.append(f"guestcomms_internal.store_migration_{number[0]}")
        found.update(dict.fromkeys(names, folder))
    return found
