"""A pytest plugin for `make test-containers`: the images, a server in a container, and on it what tests/conftest.py gives.

It stands in for tests/conftest.py, so that the integration tests run against the container too, but for those that
need the server's files or a server of their own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage

from tests.conftest import db, new_database, store
from tests.support.store import LOGINS, create_logins
from tools.cluster import DATABASE, Cluster
from tools.quoting import quote_dsn, quote_literal

# It is one more image to pull, and the fixtures remove what they start.
testcontainers_config.ryuk_disabled = True

__all__ = ["cluster", "db", "image", "logins", "new_database", "pooler_image", "server", "store", "template"]

ROOT = Path(__file__).resolve().parents[2]
TAG = "test"
PASSWORD = 'it\'s a "test" \\ only'
TEMPLATE = "gc_template"
START_SECONDS = 120
OWN_SERVER = "makes a server of its own"
LOG_FILE = "reads the server's log file"
POOLER = "starts pgbouncer beside the server's socket; test_compose.py has the container's"
# Integration tests that ask for one of these are not for a server in a container.
ELSEWHERE = {
    "own_cluster": OWN_SERVER,
    "stage": OWN_SERVER,
    "logged": LOG_FILE,
    "secrecy": LOG_FILE,
    "pooler": POOLER,
    "program": POOLER,
    "week": POOLER,
}


def pytest_sessionstart() -> None:
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        pytest.exit(f"skipped, as no Docker daemon answers: {error}", returncode=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name != "integration":
            continue
        for fixture in ELSEWHERE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip(reason=f"{item.path.stem}: {ELSEWHERE[fixture]}"))


class ContainerCluster(Cluster):
    """What tests ask of a cluster, asked of the server in a container; it has no files here."""

    def __init__(self, container: DockerContainer) -> None:
        self.container = container
        self.fsync = False

    def dsn(self, dbname: str = DATABASE, user: str = "postgres") -> str:
        """Every login has the same password."""
        parts = {
            "host": self.container.get_container_host_ip(),
            "port": self.container.get_exposed_port(5432),
            "user": user,
            "password": PASSWORD,
            "dbname": dbname,
        }
        return " ".join(f"{name}={quote_dsn(str(value))}" for name, value in parts.items())

    def run_psql(self, script: str | Path, dbname: str = "postgres", *, options: object = ()) -> subprocess.CompletedProcess[str]:
        """The container's own psql, by its socket."""
        command = ["sh", "-c", 'printf %s "$1" | psql -X -q -At -v ON_ERROR_STOP=1 -d "$2"', "sh", str(script), dbname]
        status, (output, errors) = self.container.get_wrapped_container().exec_run(command, demux=True)
        return subprocess.CompletedProcess(command, status, (output or b"").decode(), (errors or b"").decode())


def build(dockerfile: str, directory: Path, tag: str) -> DockerImage:
    """Build an image as the environment says: BASE, and APT_OPTIONS for a machine behind a proxy or a mirror."""
    arguments = {name: os.environ[name] for name in ("BASE", "PG_MAJOR", "APT_OPTIONS") if os.environ.get(name)}
    image = DockerImage(directory, tag=f"{tag}:{TAG}", dockerfile_path=dockerfile, clean_up=False, buildargs=arguments, rm=True)
    try:
        return image.build()
    except docker.errors.BuildError as error:
        log = "".join(str(line.get("stream", "")) for line in error.build_log)
        pytest.fail(f"{error}\n{log[-3000:]}", pytrace=False)


@pytest.fixture(scope="session")
def image() -> str:
    """Its name; it stays, so that the next build has its layers."""
    return str(build("container/Dockerfile", ROOT, "guestcomms"))


@pytest.fixture(scope="session")
def pooler_image() -> str:
    return str(build("Dockerfile", ROOT / "container" / "pooler", "guestcomms-pooler"))


def wait_until(what: str, is_done: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.2)


def is_healthy(container: DockerContainer) -> bool:
    """By the image's own health check."""
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    assert wrapped.status in ("created", "running"), logs(container)
    return bool(wrapped.health == "healthy")


def logs(container: DockerContainer) -> str:
    return b"".join(container.get_logs()).decode()


@contextmanager
def running(image: str, *arguments: str, **environment: str) -> Iterator[ContainerCluster]:
    """A server of its own, with the test's password unless the environment says otherwise."""
    container = DockerContainer(image, ports=[5432], env={"POSTGRES_PASSWORD": PASSWORD} | environment)
    container.with_command(list(arguments))
    with container:
        wait_until("healthy server", lambda: is_healthy(container))
        yield ContainerCluster(container)


@pytest.fixture(scope="session")
def server(image: str) -> Iterator[ContainerCluster]:
    """One for all tests that leave it running."""
    with running(image, "-c", "fsync=off", "-c", "shared_buffers=256MB") as server:
        yield server


@pytest.fixture(scope="session")
def cluster(server: ContainerCluster) -> Cluster:
    return server


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    cluster.create_database(TEMPLATE)
    cluster.psql("CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store();", TEMPLATE)
    return TEMPLATE


@pytest.fixture(scope="session")
def logins(cluster: Cluster, template: str) -> None:
    create_logins(cluster)
    for login in LOGINS:
        set_password(cluster, login)


def set_password(cluster: Cluster, login: str) -> None:
    cluster.psql(f"ALTER ROLE {login} PASSWORD {quote_literal(PASSWORD)};")
