"""A temporary PostgreSQL cluster, reached by a Unix socket only.

For `make up` and `make demo`, the tests and the benchmarks. Root may not run a server, so under
root it runs as the operating system's `postgres` user; anybody else runs it as themselves. Nothing
outside the cluster's directories is touched, and no port is opened.

On Debian the server finds the extension in the staged tree by `extension_destdir`; elsewhere the
extension has to be installed first.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tools.postgres import PostgresNotFound, find_installation
from tools.processes import kill_with_children
from tools.quoting import quote_dsn, quote_literal, quote_name, quote_setting

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = ROOT / "build" / "cluster"
STAGE = ROOT / "build" / "stage"
DATABASE = "guestcomms"
CONF = "cluster.conf"
PORT = 5432
PATIENCE_SECONDS = 120


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why, with the server's own words."""


@dataclass(frozen=True)
class Places:
    """Where a cluster lives, kept in cluster.json for later processes.

    `scratch` is a short directory under /tmp, since a socket's path may have 107 bytes at most. It
    is closed to everybody but its owner (and root), because the server trusts whoever gets in."""

    data: Path
    scratch: Path
    bindir: Path
    port: int = PORT


class Cluster:
    """One cluster; `directory` identifies it across processes."""

    def __init__(
        self,
        directory: Path,
        *,
        pg_config: str | Path | None = None,
        stage: Path = STAGE,
        settings: Mapping[str, str] | None = None,
        preload: Sequence[str] = (),
        fsync: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self.installation = find_installation(pg_config)
        self.stage = stage.resolve()
        self.settings = dict(settings or {})
        self.preload = tuple(preload)
        self.fsync = fsync
        self._owner = pwd.getpwuid(os.geteuid())
        if os.geteuid() == 0:
            try:
                self._owner = pwd.getpwnam("postgres")
            except KeyError:
                raise ClusterError("root needs a user `postgres` to run the server as") from None

    # Where things are

    @property
    def _state(self) -> Path:
        return self.directory / "cluster.json"

    @property
    def places(self) -> Places:
        """Read anew each time: another process may have re-created the cluster."""
        try:
            kept = json.loads(self._state.read_text())
        except FileNotFoundError:
            raise ClusterError(f"there is no cluster in {self.directory}: `make up`") from None
        return Places(Path(kept["data"]), Path(kept["scratch"]), Path(kept["bindir"]), kept["port"])

    @property
    def log_path(self) -> Path:
        return self.places.scratch / "server.log"

    def dsn(self, dbname: str = DATABASE, user: str = "postgres") -> str:
        """A libpq connection string; `postgres` is the superuser, whoever runs the server."""
        where = self.places
        parts = {"host": where.scratch, "port": where.port, "user": user, "dbname": dbname}
        return " ".join(f"{name}={quote_dsn(str(value))}" for name, value in parts.items())

    # Life

    def exists(self) -> bool:
        return self._state.is_file() and (self.places.data / "PG_VERSION").is_file()

    def is_running(self) -> bool:
        return self.exists() and self._pg_ctl("status", check=False).returncode == 0

    def create(self) -> None:
        """Make the cluster if there is none; one of another major is not touched."""
        if self.exists():
            major = (self.places.data / "PG_VERSION").read_text().strip()
            if major != str(self.installation.major):
                raise ClusterError(
                    f"the cluster in {self.directory} is PostgreSQL {major}, "
                    f"not {self.installation.major}: `make clean` removes it"
                )
            return
        self.destroy()
        self.directory.mkdir(parents=True, exist_ok=True)
        scratch = self._new_scratch()
        data = self.directory / "data"
        if not self._hand_over(data):  # a checkout under /root, for example
            data.rmdir()
            data = scratch / "data"
            self._hand_over(data)
        self._save(Places(data, scratch, self.installation.bindir))
        self._run(
            self.installation.bindir / "initdb",
            f"--pgdata={data}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            *([] if self.fsync else ["--no-sync"]),
        )
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(f"include_if_exists = '{CONF}'\n")

    def start(self) -> None:
        """Start the server with settings written anew; does nothing when it runs."""
        if self.is_running():
            return
        if not self.places.scratch.is_dir():  # /tmp is emptied when the machine starts
            self._save(replace(self.places, scratch=self._new_scratch()))
        lines = [f"{name} = {quote_setting(value)}" for name, value in self._settings().items()]
        conf = self.places.data / CONF
        conf.write_text("\n".join([*lines, ""]))
        conf.chmod(0o644)  # the directory is closed; the server's user is not always ours
        try:
            self._pg_ctl("start", f"--log={self.log_path}", "--wait", f"--timeout={PATIENCE_SECONDS}")
        except ClusterError as error:
            log = self.log_path.read_text() if self.log_path.exists() else ""
            raise ClusterError(f"{error}\n{_tail(log)}") from None

    def stop(self, mode: str = "fast") -> None:
        if self.is_running():
            self._pg_ctl("stop", f"--mode={mode}", "--wait", f"--timeout={PATIENCE_SECONDS}")

    def kill(self) -> None:
        """What a power cut does: no process gets to say goodbye. Returns when all are gone.

        Its lock files go too: in a container whose init collects no dead, the postmaster's process
        id would look taken."""
        if not self.is_running():
            return
        where = self.places
        lock = where.data / "postmaster.pid"
        postmaster = int(lock.read_text().split("\n", 1)[0])
        kill_with_children(postmaster)
        for path in (lock, where.scratch / f".s.PGSQL.{where.port}.lock"):
            path.unlink()

    def destroy(self) -> None:
        """Remove the cluster with its data; the directory goes too unless it holds other things."""
        if not self._state.exists():
            return
        self.stop("immediate")
        where = self.places
        for path in (where.data, where.scratch):
            shutil.rmtree(path, ignore_errors=True)
        self._state.unlink()
        if not any(self.directory.iterdir()):
            self.directory.rmdir()

    # Use

    def psql(self, script: str | Path, dbname: str = "postgres", *, options: Sequence[str] = ()) -> str:
        """Run SQL text or a file as superuser, stopping at the first error; returns the output,
        unaligned and without headings."""
        done = self.run_psql(script, dbname, options=options)
        if done.returncode != 0:
            raise ClusterError(done.stderr.strip())
        return done.stdout.strip()

    def run_psql(
        self, script: str | Path, dbname: str = "postgres", *, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """As psql(), for callers that look at errors themselves."""
        source = str(script) if isinstance(script, Path) else "-"
        return subprocess.run(
            [
                *(self.places.bindir / "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"),
                *(*options, "-d", self.dsn(dbname), "-f", source),
            ],
            input=None if isinstance(script, Path) else script,
            stdin=subprocess.DEVNULL if isinstance(script, Path) else None,
            env=_clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def has_database(self, name: str) -> bool:
        query = f"SELECT 1 FROM pg_database WHERE datname = {quote_literal(name)};"
        return self.psql(query) == "1"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database. Without fsync its template's files are copied, as the checkpoints that
        this takes cost less than logging every page, the server's default."""
        source = f" TEMPLATE {quote_name(template)}" if template else ""
        strategy = "" if self.fsync else " STRATEGY file_copy"
        self.psql(f"CREATE DATABASE {quote_name(name)}{source}{strategy};")

    def drop_database(self, name: str) -> None:
        """Drop a database, if it is there, together with the sessions in it."""
        self.psql(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE);")

    # Inside

    def _settings(self) -> dict[str, str]:
        """Fit for tests and demos: nothing survives a crash of the machine unless fsync is asked
        for; the caller's settings come last."""
        scratch = str(self.places.scratch)
        durable = "on" if self.fsync else "off"
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": scratch,
            "port": str(self.places.port),
            "fsync": durable,
            "synchronous_commit": durable,
            "full_page_writes": durable,
            "max_connections": "100",
            "shared_buffers": "256MB",
            "max_locks_per_transaction": "256",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if self._knows_setting("extension_destdir"):
            settings["extension_destdir"] = str(self._readable_stage())
        elif not (self.installation.sharedir / "extension" / "guestcomms.control").is_file():
            raise ClusterError(
                f"PostgreSQL {self.installation.major} here has no extension_destdir (Debian's has): run `make install` first"
            )
        preload = ["pg_cron", "pg_stat_statements", *self.preload]
        libraries = [name for name in preload if self.installation.has_library(name)]
        settings["shared_preload_libraries"] = ",".join(libraries)
        if "pg_cron" in libraries:
            settings |= {"cron.database_name": "postgres", "cron.host": scratch}
        return settings | self.settings

    def _knows_setting(self, name: str) -> bool:
        described = self._run(self.places.bindir / "postgres", "--describe-config").stdout
        return any(line.startswith(f"{name}\t") for line in described.splitlines())

    def _readable_stage(self) -> Path:
        """The staged tree where the server's user can read it: a copy if need be, made at each
        start. Neither tree is the server's to write."""
        controls = [str(path) for path in self.stage.rglob("*.control")]
        if not controls:
            raise ClusterError(f"{self.stage} holds no extension: `make build`")
        if all(self._owner_can("-r", path) for path in controls):
            return self.stage
        copy = self.places.scratch / "stage"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.stage, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        return copy

    def _new_scratch(self) -> Path:
        scratch = Path(tempfile.mkdtemp(prefix="gc-", dir="/tmp"))
        os.chown(scratch, self._owner.pw_uid, self._owner.pw_gid)
        return scratch

    def _hand_over(self, path: Path) -> bool:
        """Make a directory for the server's user; False if that user cannot get there."""
        path.mkdir(mode=0o700)
        os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        return self._owner_can("-w", str(path))

    def _owner_can(self, test: str, path: str) -> bool:
        return self._as_owner(["test", test, path]).returncode == 0

    def _save(self, places: Places) -> None:
        self._state.write_text(json.dumps(asdict(places), default=str, indent=2) + "\n")

    def _pg_ctl(self, action: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        where = self.places
        return self._run(where.bindir / "pg_ctl", action, f"--pgdata={where.data}", *options, check=check)

    def _run(self, program: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = self._as_owner([str(program), *arguments])
        if check and done.returncode != 0:
            raise ClusterError(f"{program.name} failed: {_tail(done.stderr or done.stdout)}")
        return done

    def _as_owner(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run as the user that owns the server, from a directory that this user may be in."""
        identity: dict[str, Any] = {}
        if self._owner.pw_uid != os.geteuid():
            identity = {
                "user": self._owner.pw_uid,
                "group": self._owner.pw_gid,
                "extra_groups": os.getgrouplist(self._owner.pw_name, self._owner.pw_gid),
            }
        return subprocess.run(
            command,
            cwd="/",
            env=_clean_environment() | {"HOME": self._owner.pw_dir, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **identity,
        )


def _clean_environment() -> dict[str, str]:
    """The environment without PGHOST and the like, which would lead to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def _up(cluster: Cluster) -> None:
    cluster.create()
    cluster.start()
    if not cluster.has_database(DATABASE):
        cluster.create_database(DATABASE)


def _require_running(cluster: Cluster) -> None:
    if not cluster.is_running():
        raise ClusterError("no cluster is running: `make up`")


def main(arguments: Sequence[str] | None = None) -> int:
    """A temporary cluster with one empty database, guestcomms."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.cluster", description=main.__doc__)
    parser.add_argument("--directory", type=Path, default=DIRECTORY, metavar="DIR")
    parser.add_argument("--stage", type=Path, default=STAGE, metavar="DIR")
    parser.add_argument("--pg-config", metavar="FILE", help="default: PG_CONFIG, else found")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("up", help="create and start as needed")
    actions.add_parser("down", help="stop; the data stays")
    actions.add_parser("destroy", help="stop and remove the data")
    actions.add_parser("status", help="say whether it runs and where its log is")
    for name, text in [("dsn", "print the superuser's connection string"), ("psql", "run psql")]:
        action = actions.add_parser(name, help=text)
        action.add_argument("--dbname", default=DATABASE)
        if name == "psql":
            action.add_argument("arguments", nargs="*", help="for psql, after --")
    options = parser.parse_args(arguments)
    try:
        cluster = Cluster(options.directory, pg_config=options.pg_config, stage=options.stage)
        match options.action:
            case "up":
                _up(cluster)
            case "down":
                cluster.stop()
            case "destroy":
                cluster.destroy()
            case "status":
                _require_running(cluster)
                print(f"running: {cluster.dsn()}\nlog: {cluster.log_path}")
            case "dsn":
                _require_running(cluster)
                print(cluster.dsn(options.dbname))
            case "psql":
                _require_running(cluster)
                psql = str(cluster.places.bindir / "psql")
                os.execve(
                    psql,
                    [psql, "-d", cluster.dsn(options.dbname), *options.arguments],
                    _clean_environment(),
                )
    except (ClusterError, PostgresNotFound) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
