"""A psql that is fed piece by piece, so that variables, transactions and connections last from one to the next."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

from tests.support.database import Database

DONE = "-- done --"


class PsqlError(AssertionError):
    """psql stopped; the message is what it said."""


class Psql:
    """One session, ending at the first error; relative file names are looked up in `directory`."""

    def __init__(self, database: Database, directory: Path, user: str = "postgres") -> None:
        self.user = user
        program = database.cluster.places.bindir / "psql"
        self.process = subprocess.Popen(
            [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-P", "pager=off", "-d", database.dsn(user)],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str) -> str:
        """What psql printed for the script; raises when it stopped."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{script}\n\\echo {DONE}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the reason is in what it printed
        output: list[str] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == DONE:
                return "".join(output)
            output.append(line)
        raise PsqlError("".join(output) or "psql has ended")

    def become(self, user: str) -> None:
        """Go on as another login; variables stay, an open transaction would be gone."""
        if user != self.user:
            self.run(f"\\connect - {user}")
            self.user = user

    def __enter__(self) -> Psql:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.communicate()
