"""tests/support/profiler.py and coverage_report.py: what counts as a branch, and that floors only rise."""

from __future__ import annotations

import tomllib
from collections import Counter

from tests.support.coverage_report import below_floor, raise_floors, whole_percentages
from tests.support.profiler import Figures, Profiler, Statement, function_sources

# BEGIN  IF a THEN b; ELSIF c THEN d; END IF;  IF e THEN f; ELSE g; END IF;  END
STATEMENTS = [
    Statement(0, None, "", 1, "statement block"),
    Statement(1, 0, "body", 1, "IF"),
    Statement(2, 1, "then body", 1, "RAISE"),
    Statement(3, 1, "elsif 1", 1, "assignment"),
    Statement(4, 0, "body", 2, "IF"),
    Statement(5, 4, "then body", 1, "assignment"),
    Statement(6, 4, "else body", 1, "assignment"),
]


def figures(counts: dict[int, int]) -> Figures:
    profiler = Profiler(statements={"f()": STATEMENTS})
    profiler.counts["f()"] = Counter(counts)
    return profiler.figures("f()")


def test_an_if_without_else_has_a_branch_that_skips_it() -> None:
    assert figures({}) == Figures(statements=6, statements_run=0, branches=5, branches_run=0)
    assert figures({1: 2, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1}) == Figures(6, 6, 5, 4)
    assert figures({1: 3, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1}) == Figures(6, 6, 5, 5)


def test_every_function_has_a_folder() -> None:
    sources = function_sources()
    assert sources["guestcomms.create_store"] == "00_foundation"
    assert sources["guestcomms_internal.store_migration_110"] == "10_store"


def test_floors_only_rise() -> None:
    reached = whole_percentages({"a": Figures(1000, 899, 2, 1), "new": Figures(3, 3, 0, 0)})
    assert reached == {"a": {"statements": 89, "branches": 50}, "new": {"statements": 100, "branches": 100}}
    floors = {"a": {"statements": 90, "branches": 40}, "gone": {"statements": 1, "branches": 1}}
    assert below_floor(reached, floors) == ["a: statements 89 %, the floor is 90 %", "new has no floor yet"]
    raised = tomllib.loads(raise_floors(reached, floors))
    assert raised == {"a": {"statements": 90, "branches": 50}, "new": {"statements": 100, "branches": 100}}
