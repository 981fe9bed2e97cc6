"""Fixtures: one temporary cluster a session, one template database, a copy of it for each module.

cluster       the running tools.cluster.Cluster
template      name of a database that holds the extension, an empty store, pgTAP, plpgsql_check
logins        the login roles of tests/support/store.py exist
new_database  new_database() makes a Database for one test, new_database(None) an empty one
db            a Database for the module, from the template
store         a Store: the module's db with the tenants A and B

When the whole suite runs on the reference major, the server counts which PL/pgSQL statements run; see
tests/support/coverage_report.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest

from extension import build
from tests.support import profiler
from tests.support.coverage_report import CoverageReport
from tests.support.crash import durable_cluster
from tests.support.database import Database, after_copy, before_drop, fresh_database
from tests.support.profiler import Profiler
from tests.support.secrecy import Secrecy
from tests.support.store import Store, create_logins, create_tenants
from tools.cluster import Cluster
from tools.postgres import REFERENCE_MAJOR, find_installation

TEMPLATE = "gc_template"
MEMORY_BYTES = 4 << 30
# Those within functions, too, for tests/support/secrecy.py.
KEPT_STATEMENTS = {"pg_stat_statements.track": "all", "pg_stat_statements.max": "50000"}
COVERAGE = pytest.StashKey[CoverageReport]()

# The same examples in every run, unless asked otherwise: make test ARGS='--hypothesis-profile default'.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")


def is_whole_suite(config: pytest.Config) -> bool:
    """Whether nothing was selected: only then do figures say what is untested."""
    selecting = ("keyword", "markexpr", "lf", "last_failed", "deselect", "ignore", "ignore_glob", "maxfail", "collectonly")
    return config.args == config.getini("testpaths") and not any(config.getoption(name, None) for name in selecting)


def pytest_configure(config: pytest.Config) -> None:
    installation = find_installation()
    # Floors are of one major; and the profiler of plpgsql_check 2.8, Debian's for 17, fails the functions it measures
    # ("broken consistency of plpgsql_check profiler chunks").
    if is_whole_suite(config) and installation.major == REFERENCE_MAJOR and installation.has_library("plpgsql_check"):
        report = config.stash[COVERAGE] = CoverageReport(Profiler())
        after_copy.append(report.profiler.begin)
        before_drop.append(report.profiler.gather)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at all tests comes last."""
    items.sort(key=lambda item: item.path.name == "test_secrecy.py")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    report = session.config.stash.get(COVERAGE, None)
    if report is not None:
        report.finish(has_passed=exitstatus == pytest.ExitCode.OK)
        if report.complaints:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    report = config.stash.get(COVERAGE, None)
    if report is not None:
        terminalreporter.section("coverage")
        for line in report.lines:
            terminalreporter.write_line(line)
        for complaint in report.complaints:
            terminalreporter.write_line(f"coverage: {complaint}", red=True)


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Profiler | None:
    report = request.config.stash.get(COVERAGE, None)
    return report.profiler if report else None


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension as the sources have it now, whatever build/ holds."""
    out = tmp_path_factory.mktemp("stage")
    build.stage(build.ROOT, out, find_installation().sharedir)
    return out


def roomy_memory() -> Path | None:
    """A directory in memory, where there is one with room: a database is a thousand small files,
    and some file systems take a second to copy them."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_BYTES:
        return memory
    return None


@pytest.fixture(scope="session")
def cluster(stage: Path, profile: Profiler | None) -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="gc-test-", dir=roomy_memory()) as name:
        Path(name).chmod(0o755)  # the server's user must get through; the data below is closed
        # Sizes, plans and trimmed logs are not those of a vacuum that happens to come by.
        settings = {"autovacuum": "off", "max_wal_size": "256MB", "lock_timeout": "60s", **KEPT_STATEMENTS}
        if find_installation().major >= 16:
            # Tests that read plans in the log would put guests' texts there, for which tests/support/secrecy.py looks.
            settings["auto_explain.log_parameter_max_length"] = "0"
        cluster = Cluster(Path(name) / "cluster", stage=stage, settings=settings, preload=profiler.PRELOAD if profile else ())
        try:
            cluster.create()
            cluster.start()
            yield cluster
        finally:
            cluster.destroy()


@pytest.fixture(scope="module")
def own_cluster(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A module's own, to be killed."""
    with durable_cluster(stage, tmp_path_factory.mktemp("crash")) as cluster:
        yield cluster


@pytest.fixture(scope="session", autouse=True)
def secrecy() -> Secrecy:
    """What the databases of all tests held that is nobody's business."""
    found = Secrecy()
    before_drop.append(found.gather)
    return found


@pytest.fixture(scope="session")
def template(cluster: Cluster, profile: Profiler | None) -> str:
    cluster.create_database(TEMPLATE)
    cluster.psql(
        """
        CREATE SCHEMA testing;
        GRANT USAGE ON SCHEMA testing TO PUBLIC;
        CREATE EXTENSION hll SCHEMA testing;
        CREATE EXTENSION tdigest SCHEMA testing;
        CREATE EXTENSION guestcomms CASCADE;
        SELECT guestcomms.create_store();
        CREATE EXTENSION pgtap SCHEMA testing;
        CREATE EXTENSION plpgsql_check SCHEMA testing;
        """,
        TEMPLATE,
    )
    if profile:
        profile.prepare(cluster, TEMPLATE)
    return TEMPLATE


@pytest.fixture(scope="session")
def logins(cluster: Cluster, template: str) -> None:
    """Needs the template, for the group roles come with the extension."""
    create_logins(cluster)


@pytest.fixture
def new_database(cluster: Cluster, template: str) -> Iterator[Callable[..., Database]]:
    with ExitStack() as stack:

        def make(template: str | None = template) -> Database:
            return stack.enter_context(fresh_database(cluster, template))

        yield make


@pytest.fixture(scope="module")
def db(cluster: Cluster, template: str) -> Iterator[Database]:
    with fresh_database(cluster, template) as database:
        yield database


@pytest.fixture(scope="module")
def store(db: Database, logins: None) -> Store:
    return create_tenants(db)
