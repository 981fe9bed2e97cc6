"""tools/deps.py: which packages are asked for, and what happens when they cannot be installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tools import deps


@pytest.fixture
def nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_CONFIG", "/usr/lib/postgresql/17/bin/pg_config")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(deps, "missing_packages", list)


def test_packages_follow_the_major_of_pg_config(nothing_is_installed: None) -> None:
    assert deps.chosen_major() == 17
    wanted = deps.wanted_packages("test", 17)
    assert "postgresql-17-cron" in wanted
    assert set(deps.wanted_packages("demo", 17)) < set(wanted)


@pytest.mark.usefixtures("nothing_is_installed")
def test_check_only_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert deps.main(["--check"]) == 1
    assert "apt-get install --no-install-recommends postgresql-17 " in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_installed")
@pytest.mark.parametrize("outcomes", [[0, 0], [0, 100], [100]])
def test_the_lists_are_updated_first(monkeypatch: pytest.MonkeyPatch, outcomes: list[int]) -> None:
    lines: list[list[str]] = []

    def run(line: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        lines.append(line)
        return subprocess.CompletedProcess(line, outcomes[len(lines) - 1])

    monkeypatch.setattr(deps, "privilege", list)
    monkeypatch.setattr(subprocess, "run", run)
    assert deps.main([]) == int(any(outcomes))
    assert ["update" in line for line in lines] == [True, False][: len(outcomes)]
