"""Fixtures of the contract tests: the built script, and snapshots that a change of the API or of grants must touch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(scope="session")
def stage_sql(stage: Path) -> str:
    """The install script as it was built."""
    (script,) = stage.rglob("guestcomms--*.sql")
    return script.read_text(encoding="utf-8")


@pytest.fixture
def snapshot() -> Callable[[str, list[str]], None]:
    """Compare lines with a committed file; UPDATE_SNAPSHOTS=1 writes it, and the diff is then reviewed."""

    def compare(name: str, lines: list[str]) -> None:
        path = SNAPSHOTS / name
        text = "".join(f"{line}\n" for line in lines)
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, "intended? then: make test ARGS=tests/contract UPDATE_SNAPSHOTS=1"

    return compare
