"""A real pgbouncer in transaction mode before a test's database: an ordinary process, reached by a Unix socket only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.support.database import Connection, Database
from tools.quoting import quote_dsn

PORT = 6432
START_SECONDS = 20
SETTINGS = {
    "pool_mode": "transaction",
    "auth_type": "trust",
    "listen_port": str(PORT),  # names the socket; without listen_addr no port is opened
    "query_wait_timeout": "30",  # a test that waits for itself should fail
}


def find_program() -> str | None:
    """Debian keeps it where only root's PATH looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def version(program: str) -> tuple[int, int]:
    text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    assert found is not None, text
    return int(found[1]), int(found[2])


class PgBouncer:
    """A running pgbouncer, and the ways to connect through it."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self._connections: list[Connection] = []

    def dsn(self, user: str) -> str:
        return f"host={quote_dsn(str(self.directory))} port={PORT} user={user} dbname={self.database.name}"

    def connect(self, user: str, prepare_threshold: int | None = None, autocommit: bool = False) -> Connection:
        """A client, closed with the pooler; without prepared statements unless a threshold is given."""
        client = psycopg.connect(self.dsn(user), prepare_threshold=prepare_threshold, autocommit=autocommit)
        self._connections.append(client)
        return client

    def close(self) -> None:
        for client in self._connections:
            client.close()


@contextmanager
def running_pgbouncer(
    program: str, database: Database, logins: Iterable[str], pool_size: int, settings: Mapping[str, str] | None = None
) -> Iterator[PgBouncer]:
    """A pgbouncer whose clients of one login share `pool_size` server connections.

    It runs as the server's user, who alone may reach the server's socket; pgbouncer refuses to run as root anyway."""
    places = database.cluster.places
    owner = places.scratch.stat()
    directory = Path(tempfile.mkdtemp(prefix="gc-pool-", dir="/tmp"))  # short, as a socket's path must be
    os.chown(directory, owner.st_uid, owner.st_gid)
    (directory / "users.txt").write_text("".join(f'"{login}" ""\n' for login in logins))
    values = SETTINGS | {
        "unix_socket_dir": str(directory),
        "auth_file": str(directory / "users.txt"),
        "default_pool_size": str(pool_size),
        **(settings or {}),
    }
    lines = [
        "[databases]",
        f"{database.name} = host={places.scratch} port={places.port}",
        "[pgbouncer]",
        *(f"{name} = {value}" for name, value in values.items()),
    ]
    (directory / "pgbouncer.ini").write_text("\n".join([*lines, ""]))
    for path in directory.iterdir():
        path.chmod(0o644)  # for the server's user, whatever our umask; the directory is closed
    pooler = PgBouncer(database, directory)
    identity: dict[str, Any] = {}
    if owner.st_uid != os.geteuid():
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    with (directory / "log").open("wb") as log:
        command = [program, str(directory / "pgbouncer.ini")]
        process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity)
    try:
        _wait_for(process, pooler)
        yield pooler
    finally:
        pooler.close()
        process.kill()  # it keeps nothing, and from 1.23 on a SIGTERM waits for the last client
        process.wait()
        shutil.rmtree(directory)


def _wait_for(process: subprocess.Popen[bytes], pooler: PgBouncer) -> None:
    """Until the socket is there, which is made when pgbouncer listens."""
    end = time.monotonic() + START_SECONDS
    while not (pooler.directory / f".s.PGSQL.{PORT}").exists():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"pgbouncer did not start:\n{(pooler.directory / 'log').read_text()}")
        time.sleep(0.02)
