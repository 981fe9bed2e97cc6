"""container/compose.yaml: it asks for a password, and brings up the server with pgbouncer before it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from tests.container.fixtures import PASSWORD, ROOT, TAG
from tests.support.database import Connection
from tests.support.queries import column, one, refused
from tools.quoting import quote_literal

NO_TENANT = "GC001"


@pytest.fixture(scope="module")
def compose_command() -> list[str]:
    command = ["docker", "compose"]
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("docker compose is not installed")
    return [*command, "--file", str(ROOT / "container" / "compose.yaml"), "--env-file", os.devnull]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Project:
    """The services of the file under a name and at ports of their own."""

    command: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments], env=os.environ | self.environment, capture_output=True, text=True, check=False
        )

    def connect(self, user: str, service: str = "GUESTCOMMS_POOLER_PORT", password: str = PASSWORD) -> Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=int(self.environment[service]),
            user=user,
            password=password,
            dbname="guestcomms",
            prepare_threshold=None,
        )


@pytest.fixture(scope="module")
def project(compose_command: list[str], image: str, pooler_image: str) -> Iterator[Project]:
    environment = {
        "COMPOSE_PROJECT_NAME": f"guestcomms-test-{os.getpid()}",
        "COMPOSE_PROFILES": "pooler",
        "GUESTCOMMS_TAG": TAG,
        "GUESTCOMMS_PORT": str(free_port()),
        "GUESTCOMMS_POOLER_PORT": str(free_port()),
        "POSTGRES_PASSWORD": PASSWORD,
        "POOLER_PASSWORD": f"{PASSWORD}, the pooler's",
    }
    project = Project(compose_command, environment)
    try:
        up = project.run("up", "--detach", "--no-build", "--wait")
        assert up.returncode == 0, f"{up.stderr}\n{project.run('logs').stdout}"
        yield project
    finally:
        project.run("down", "--volumes", "--timeout", "20")


def test_without_a_password_it_says_what_to_do(compose_command: list[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    done = subprocess.run([*compose_command, "config"], env=kept, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "set a password for the superuser in container/.env" in done.stderr


def test_ports_are_open_to_this_machine_only(project: Project) -> None:
    published = project.run("ps", "--format", "{{.Ports}}").stdout
    assert "127.0.0.1:" in published
    assert "0.0.0.0:" not in published


def test_clients_come_in_through_the_pooler(project: Project) -> None:
    """Their passwords looked up in the server; a tenant ends with its transaction."""
    with project.connect("postgres", "GUESTCOMMS_PORT") as superuser:
        for login in ("app", "issuer"):
            create = f"CREATE ROLE {login} LOGIN PASSWORD {quote_literal(PASSWORD)} IN ROLE guestcomms_{login}"
            superuser.execute(create.encode())
        tenant = one(superuser, "SELECT guestcomms.add_tenant('Rose & Quill')")
    with project.connect("issuer") as issuer:
        token = one(issuer, "SELECT guestcomms.issue_token(%s)", tenant)
    with project.connect("app") as first, project.connect("app") as second:
        one(first, "SELECT guestcomms.use_token(%s)", token)
        guest = one(first, "SELECT guestcomms.resolve_guest('email', 'zoe@example.com')")
        one(first, "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'Is there a cot?')", guest)
        assert column(first, "SELECT guest_id FROM guestcomms.search_messages('cots')") == [guest]
        served = one(first, "SELECT pg_backend_pid()")
        first.commit()
        assert one(second, "SELECT pg_backend_pid()") == served
        with refused(NO_TENANT):
            one(second, "SELECT guestcomms.current_tenant()")


@pytest.mark.parametrize(("user", "password"), [("app", "wrong"), ("nobody", PASSWORD), ("postgres", PASSWORD)])
def test_the_pooler_refuses(project: Project, user: str, password: str) -> None:
    """A wrong password, a login that is not there, and the superuser, who has the right one."""
    with pytest.raises(psycopg.OperationalError):
        project.connect(user, password=password)
