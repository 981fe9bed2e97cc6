"""tests/support/tap.py: a reader that overlooks a failure would make every pgTAP test worthless."""

from __future__ import annotations

import pytest

from tests.support.tap import complaints


@pytest.mark.parametrize("output", ["1..2\nok 1\nok 2 - fine\n", "ok 1\n1..1\n", "1..0\n"])
def test_passing_reports(output: str) -> None:
    assert complaints(output) == []


def test_expected_failures_pass() -> None:
    assert complaints("1..1\nnot ok 1 - later # TODO needs 16\n") == []


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("1..2\nok 1\nnot ok 2 - bad\n# Failed test 2\n", "not ok 2 - bad"),
        ("1..2\nok 1\n", "planned 2 tests but ran 1"),
        ("1..1\nok 1\nok 2\n", "planned 1 tests but ran 2"),
        ("ok 1\n", "no plan"),
        ("", "no plan"),
    ],
)
def test_failing_reports(output: str, complaint: str) -> None:
    assert any(complaint in found for found in complaints(output))
