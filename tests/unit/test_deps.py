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
def test_installation_is_tried_again_after_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[str]] = []

    def run(line: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        lines.append(line)
        return subprocess.CompletedProcess(line, 100 if len(lines) == 1 else 0)

    monkeypatch.setattr(deps, "privilege", list)
    monkeypatch.setattr(subprocess, "run", run)
    assert deps.main([]) == 0
    assert ["update" in line for line in lines] == [False, True, False]
    assert lines[0] == lines[2]
