"""Fixtures: one temporary cluster a session, one template database, a copy of it for each module.

cluster       the running tools.cluster.Cluster
template      name of a database that holds the extension, an empty store, pgTAP, plpgsql_check
logins        the login roles of tests/support/store.py exist
new_database  new_database() makes a Database for one test, new_database(None) an empty one
db            a Database for the module, from the template
store         a Store: the module's db with the tenants A and B
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from extension import build
from tests.support.database import Database, fresh_database
from tests.support.store import Store, create_logins, create_tenants
from tools.cluster import Cluster
from tools.postgres import find_installation

TEMPLATE = "gc_template"
MEMORY_BYTES = 4 << 30


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
def cluster(stage: Path) -> Iterator[Cluster]:
    with TemporaryDirectory(prefix="gc-test-", dir=roomy_memory()) as name:
        Path(name).chmod(0o755)  # the server's user must get through; the data below is closed
        cluster = Cluster(Path(name) / "cluster", stage=stage, settings={"max_wal_size": "256MB", "lock_timeout": "60s"})
        try:
            cluster.create()
            cluster.start()
            yield cluster
        finally:
            cluster.destroy()


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    cluster.create_database(TEMPLATE)
    cluster.psql(
        """
        CREATE EXTENSION guestcomms CASCADE;
        SELECT guestcomms.create_store();
        CREATE SCHEMA testing;
        GRANT USAGE ON SCHEMA testing TO PUBLIC;
        CREATE EXTENSION pgtap SCHEMA testing;
        CREATE EXTENSION plpgsql_check SCHEMA testing;
        """,
        TEMPLATE,
    )
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
