"""What docs/explanation/gdpr.md says of each point is shown by tests that there are."""

from __future__ import annotations

import re

from tests.support.markdown import ROOT

PAGE = ROOT / "docs/explanation/gdpr.md"
NAMED = re.compile(r"`((?:integration|contract|docs|unit|pgtap)/[\w/]+\.py)(?:::(\w+))?`")


def points() -> list[str]:
    return re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def test_fifteen_points_each_with_its_tests() -> None:
    numbered = [point for point in points() if re.match(r"\d+\. ", point)]
    assert [int(point.split(".")[0]) for point in numbered] == list(range(1, 16))
    assert [point.splitlines()[0] for point in numbered if not NAMED.search(point)] == []


def test_the_tests_named_are_there() -> None:
    missing = []
    for file, name in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        path = ROOT / "tests" / file
        if not path.exists() or (name and not re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)):
            missing.append(f"{file}::{name}")
    assert missing == []


def test_what_is_not_covered_is_said() -> None:
    (left_out,) = (point for point in points() if point.startswith("What is not covered"))
    for word in ("write-ahead log", "Dead rows", "Backups", "server's log", "providers", "object stores"):
        assert word in left_out
    assert "no legal advice" in PAGE.read_text(encoding="utf-8")
