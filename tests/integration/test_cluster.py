"""tools/cluster.py: the life of a temporary cluster, as `make up` and the benchmarks use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tools.cluster import Cluster, ClusterError

SETTINGS = {"shared_buffers": "16MB"}


@pytest.fixture(scope="module")
def module_cluster(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Unlike the session's cluster, in a directory that under root the server cannot get to."""
    directory = tmp_path_factory.mktemp("it's \\ here")
    cluster = Cluster(directory, stage=stage, settings=SETTINGS, fsync=True)
    yield cluster
    cluster.destroy()


@pytest.fixture
def own(module_cluster: Cluster) -> Cluster:
    """A running cluster that a test may kill or remove; the next test brings it up again."""
    module_cluster.settings = dict(SETTINGS)
    module_cluster.create()
    module_cluster.start()
    return module_cluster


def lives(pid: str) -> bool:
    """A dead process that nobody collected yet is still listed, but without a command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_committed_rows_survive_a_crash(own: Cluster) -> None:
    own.psql("CREATE TABLE kept (n integer); INSERT INTO kept VALUES (7);")
    pids = own.psql("SELECT pid FROM pg_stat_activity WHERE backend_type NOT IN ('client backend', 'autovacuum worker');").split()
    assert all(lives(pid) for pid in pids)
    own.kill()
    assert not own.is_running()
    assert not any(lives(pid) for pid in pids)
    own.start()
    assert own.psql("SELECT n FROM kept;") == "7"
    assert "not properly shut down" in own.log_path.read_text()


def test_another_process_finds_the_cluster(own: Cluster, stage: Path) -> None:
    other = Cluster(own.directory, stage=stage)
    assert other.is_running()
    assert other.dsn("x y") == own.dsn("x y")
    assert other.dsn("x y").endswith("dbname='x y'")
    other.create()  # neither does anything
    other.start()
    other.stop()
    assert not own.is_running()


def test_settings_of_the_caller_come_last(own: Cluster) -> None:
    assert own.psql("SHOW shared_buffers;") == "16MB"
    assert own.psql("SHOW fsync;") == "on"
    assert own.psql("SHOW listen_addresses;") == ""


def test_nobody_else_can_get_at_the_socket(own: Cluster) -> None:
    assert own.places.scratch.stat().st_mode & 0o077 == 0


def test_nothing_is_left_behind(own: Cluster) -> None:
    scratch, data = own.places.scratch, own.places.data
    own.destroy()
    assert not any(path.exists() for path in (scratch, data, own.directory))
    with pytest.raises(ClusterError, match="make up"):
        own.dsn()


def test_an_error_says_what_the_server_said(own: Cluster) -> None:
    with pytest.raises(ClusterError, match="division by zero"):
        own.psql("SELECT 1/0;")
    own.stop()
    own.settings["shared_buffers"] = "a lot"
    with pytest.raises(ClusterError, match='invalid value for parameter "shared_buffers"'):
        own.start()


def test_a_cluster_survives_the_loss_of_tmp(stage: Path) -> None:
    """As after a restart of the machine; the data are in the directory, where that can be had."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        cluster = Cluster(Path(name) / "cluster", stage=stage, settings=SETTINGS)
        try:
            cluster.create()
            assert cluster.places.data == Path(name) / "cluster" / "data"
            shutil.rmtree(cluster.places.scratch)
            cluster.start()
            assert cluster.psql("SELECT 1;") == "1"
        finally:
            cluster.destroy()
