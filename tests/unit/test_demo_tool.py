"""`make up` and `make demo`: loaded once, under another name until all of it is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import demo
from tools.cluster import DATABASE


class FakeCluster:
    """Remembers what it was told; its databases are a set."""

    log_path = Path("log")

    def __init__(self, *databases: str, running: bool = False) -> None:
        self.databases = set(databases)
        self.running = running
        self.told: list[str] = []

    def create(self) -> None:
        self.told.append("create")

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def is_running(self) -> bool:
        return self.running

    def has_database(self, name: str) -> bool:
        return name in self.databases

    def create_database(self, name: str) -> None:
        self.databases.add(name)

    def drop_database(self, name: str) -> None:
        self.told.append(f"drop {name}")
        self.databases.remove(name)

    def dsn(self, database: str = DATABASE) -> str:
        return f"dbname={database}"

    def psql(self, script: str, database: str) -> str:
        self.told.append(script)
        if "RENAME" in script:
            self.databases.remove(demo.LOADING)
            self.databases.add(DATABASE)
        return ""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The modules of demo/ that were run."""
    lines: list[list[str]] = []

    def run(line: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        lines.append(line[2:])
        return subprocess.CompletedProcess(line, 1 if "dbname=broken" in line else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return lines


def main(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, *arguments: str) -> int:
    monkeypatch.setattr(demo, "Cluster", lambda _: cluster)
    monkeypatch.setattr("sys.argv", ["demo", *arguments])
    return demo.main()


@pytest.mark.parametrize("left", [(), (demo.LOADING,)])
def test_it_is_loaded_once(monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], left: tuple[str, ...]) -> None:
    cluster = FakeCluster(*left)
    assert main(monkeypatch, cluster) == 0
    assert cluster.databases == {DATABASE}
    assert ran == [["demo.load", "--dsn", f"dbname={demo.LOADING}"]]
    assert main(monkeypatch, cluster) == 0
    assert len(ran) == 1
    assert cluster.running


@pytest.mark.parametrize("running", [False, True])
def test_a_show_leaves_the_server_as_it_was(monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], running: bool) -> None:
    cluster = FakeCluster(DATABASE, running=running)
    assert main(monkeypatch, cluster, "--show") == 0
    assert [line[0] for line in ran] == ["demo.show"]
    assert cluster.running is running


def test_a_failed_load_is_no_demo(
    monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "dsn", lambda _: "dbname=broken")
    assert main(monkeypatch, cluster) == 1
    assert DATABASE not in cluster.databases
    assert "demo.load failed" in capsys.readouterr().err
