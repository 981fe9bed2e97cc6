"""What parsers find in the SQL sources: every statement parses, and pgspot's findings are fixed or explained.

Each file of the manifest is read as PostgreSQL's own parser sees it (pglast), also the migrations, which the install
script carries as text, and the bodies of SQL functions. pgspot then looks for names that somebody else's objects could
take over; tools/pgspot_allowed.toml says which of its findings are no faults, and why.

sqlfluff is not used: it lints statements but no function bodies, which nearly all of this SQL is. What is inside
PL/pgSQL bodies is checked against the catalog by plpgsql_check, in tests/contract.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extension import build

ALLOWED = Path(__file__).with_name("pgspot_allowed.toml")
# CREATE EXTENSION sets the path to the extension's schema, those of required extensions, and pg_temp; schemas.sql
# refuses one that anybody may write to. pgspot knows no FROM CURRENT, and trusts only schemas that it saw created.
PATH_OF_SCRIPT = "SET search_path FROM CURRENT"
PATH_FOR_PGSPOT = "SET search_path = guestcomms, pg_temp"
SPACE = re.compile(r"(?:\s|--[^\n]*\n)*")
DO_TAG = re.compile(r"DO (\$\w*\$)")


@dataclass(frozen=True)
class Finding:
    """A complaint about one statement; `code` and `statement` are what the allow-list knows it by."""

    path: str
    line: int
    statement: str
    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.statement}: {self.code}: {self.text}"


@dataclass(frozen=True)
class Source:
    path: str
    text: str
    is_migration: bool


def read_sources(root: Path) -> Iterator[Source]:
    for path in build.read_manifest(root):
        text = build.read_source(root, path)
        yield Source(path, text, build.read_migration(path, text) is not None)


def statements(source: Source) -> Iterator[tuple[Any, int, str]]:
    """Each statement as a tree, with its line and its name: the function's, the tag of a DO, or the kind of statement."""
    from pglast import ast, parse_sql

    for raw in parse_sql(source.text):
        start = raw.stmt_location
        if space := SPACE.match(source.text, start):
            start = space.end()
        line = 1 + source.text.count("\n", 0, start)
        name = type(raw.stmt).__name__.removesuffix("Stmt")
        if tag := DO_TAG.match(source.text, start):
            name = f"DO {tag[1]}"
        if isinstance(raw.stmt, ast.CreateFunctionStmt):
            name = ".".join(part.sval for part in raw.stmt.funcname)
        yield raw, line, name


def find_syntax_errors(source: Source) -> Iterator[Finding]:
    from pglast import ast, parse_sql
    from pglast.parser import ParseError

    try:
        for raw, line, name in statements(source):
            if not isinstance(raw.stmt, ast.CreateFunctionStmt):
                continue
            options = {option.defname: option.arg for option in raw.stmt.options}
            if options["language"].sval == "sql" and "as" in options:
                try:
                    parse_sql(options["as"][0].sval)
                except ParseError as error:
                    yield Finding(source.path, line, name, "body", str(error))
    except ParseError as error:
        yield Finding(source.path, 1, "file", "syntax", str(error))


class Spotter:
    """pgspot, asked about one statement at a time so that a finding has a place. It is pinned: this uses its insides."""

    def __init__(self) -> None:
        from pgspot.state import Counter, State

        found = self.found = list[tuple[str, str]]()

        class Collector(Counter):  # type: ignore[misc]
            def print_issue(self, code: str, context: str) -> None:
                found.append((code, " ".join(context.split())))

            def unknown(self, message: str) -> None:
                found.append(("unknown", message))

        options = argparse.Namespace(
            plpgsql=True, ignore=[], ignore_lang=["plpython3u"], proc_without_search_path=[], sql_fn=[], summary_only=False
        )
        self._new_state: Callable[[], Any] = lambda: State(Collector(options))
        self._script = self._new_state()
        self._script.created_schemas.append("guestcomms")  # made by CREATE EXTENSION, as the control file says

    def findings(self, source: Source) -> Iterator[Finding]:
        from pglast import ast
        from pglast.parser import ParseError
        from pgspot.visitors import SQLVisitor

        visit: Any = SQLVisitor  # untyped
        state = self._script
        if source.is_migration:
            state = self._new_state()
            state.created_schemas = self._script.created_schemas
            state.searchpath_secure = True  # runs inside a function with the path of the script
        told = Source(source.path, source.text.replace(PATH_OF_SCRIPT, PATH_FOR_PGSPOT), source.is_migration)
        for raw, line, name in statements(told):
            # Names in a parsed body were resolved when it was created; pgspot does not know such bodies.
            if isinstance(raw.stmt, ast.CreateFunctionStmt) and raw.stmt.sql_body:
                continue
            self.found.clear()
            try:
                visit(state)(raw)
            except ParseError as error:
                self.found.append(("unparsed", str(error)))
            yield from (Finding(source.path, line, name, code, text) for code, text in dict.fromkeys(self.found))


def judge(findings: list[Finding], allowed: list[dict[str, Any]]) -> Iterator[str]:
    """Findings that no entry explains, and entries that explain nothing any more."""
    explained = {(code, entry["path"], entry["statement"]) for entry in allowed for code in entry["codes"] if entry["reason"]}
    found = {(finding.code, finding.path, finding.statement) for finding in findings}
    for finding in findings:
        if (finding.code, finding.path, finding.statement) not in explained:
            yield str(finding)
    for code, path, statement in sorted(explained - found):
        yield f"{path}: {statement}: {code}: no longer found; take it out of {ALLOWED.name}"


def main() -> int:
    """Check the SQL sources with what is installed; 1 if there are findings."""
    if importlib.util.find_spec("pglast") is None:
        print("check_sql: pglast is not installed (Debian: python3-pglast), so nothing was checked", file=sys.stderr)
        return 0
    sources = list(read_sources(build.ROOT))
    complaints = [str(finding) for source in sources for finding in find_syntax_errors(source)]
    if not complaints and importlib.util.find_spec("pgspot"):
        spotter = Spotter()
        findings = [finding for source in sources for finding in spotter.findings(source)]
        complaints += judge(findings, tomllib.loads(ALLOWED.read_text(encoding="utf-8")).get("allowed", []))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
