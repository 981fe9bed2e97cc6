"""Runs every pgTAP script below this directory, each in a fresh copy of the template database.

A script is run as superuser with `public, testing` as search_path; pgTAP is in `testing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.database import Database
from tests.support.tap import complaints

HERE = Path(__file__).parent
SCRIPTS = [path.relative_to(HERE).as_posix() for path in sorted(HERE.rglob("*.sql"))]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script: str, new_database: Callable[[], Database], logins: None) -> None:
    database = new_database()
    done = database.cluster.run_psql(HERE / script, database.name, options=["-c", "SET search_path = public, testing"])
    found = complaints(done.stdout)
    if done.returncode != 0:
        found.append(f"psql ended with {done.returncode}")
    if found:
        pytest.fail("\n".join([*found, "", done.stdout, done.stderr]), pytrace=False)
