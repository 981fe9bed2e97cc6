"""tools/check_sql.py: what is refused, and that the list of explanations cannot grow stale."""

from __future__ import annotations

from typing import Any

import pytest

from tools.check_sql import Finding, Source, Spotter, find_syntax_errors, judge

FINDING = Finding("sql/a.sql", 3, "DO $x$", "PS016", "format")
ENTRY: dict[str, Any] = {"path": "sql/a.sql", "statement": "DO $x$", "codes": ["PS016"], "reason": "no fault"}
FUNCTION = "CREATE FUNCTION guestcomms.f() RETURNS text LANGUAGE sql {} AS $$ {} $$;"


def test_a_finding_is_refused_unless_explained() -> None:
    assert list(judge([FINDING], [])) == ["sql/a.sql:3: DO $x$: PS016: format"]
    assert list(judge([FINDING], [ENTRY])) == []
    assert list(judge([FINDING], [ENTRY | {"statement": "DO $y$", "reason": ""}])) == [str(FINDING)]


def test_an_explanation_of_nothing_is_refused() -> None:
    (complaint,) = judge([], [ENTRY])
    assert "no longer found" in complaint


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("SELECT 1;\nSELEC 2;", "sql/a.sql:1: file: syntax"),
        ("-- ü\n\nSELECT 1;\n" + FUNCTION.format("STABLE", "SELEC 2"), "sql/a.sql:4: guestcomms.f: body"),
    ],
)
def test_syntax_errors_are_found(text: str, place: str) -> None:
    pytest.importorskip("pglast")
    (finding,) = find_syntax_errors(Source("sql/a.sql", text, is_migration=False))
    assert str(finding).startswith(place)


def test_the_path_of_the_script_is_trusted_and_no_path_is_not() -> None:
    pytest.importorskip("pgspot")
    spotter = Spotter()
    trusted = FUNCTION.format("SECURITY DEFINER SET search_path FROM CURRENT", "SELECT lower('X')")
    assert list(spotter.findings(Source("sql/a.sql", trusted, is_migration=False))) == []
    found = spotter.findings(Source("sql/a.sql", FUNCTION.format("SECURITY DEFINER", "SELECT lower('X')"), is_migration=False))
    assert {finding.code for finding in found} == {"PS003", "PS016"}
