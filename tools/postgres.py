"""Which PostgreSQL to build for and to run: one answer for every tool.

On Debian several majors stand side by side and `pg_config` on PATH is often another one's (or
missing, since it belongs to a development package), so the versioned directories are asked first.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

REFERENCE_MAJOR = 15
DEBIAN_PREFIX = Path("/usr/lib/postgresql")


class PostgresNotFound(Exception):
    """There is no pg_config to ask."""


class Installation:
    """One PostgreSQL installation, described by its pg_config."""

    def __init__(self, pg_config: Path) -> None:
        self.pg_config = pg_config

    def _ask(self, option: str) -> str:
        try:
            answer = subprocess.run([self.pg_config, option], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PostgresNotFound(f"{self.pg_config} cannot be asked: {error}") from error
        return answer.stdout.strip()

    @cached_property
    def bindir(self) -> Path:
        return Path(self._ask("--bindir"))

    @cached_property
    def sharedir(self) -> Path:
        return Path(self._ask("--sharedir"))

    @cached_property
    def pkglibdir(self) -> Path:
        return Path(self._ask("--pkglibdir"))

    @cached_property
    def major(self) -> int:
        version = self._ask("--version")
        found = re.search(r"\d+", version)
        if found is None:
            raise PostgresNotFound(f"{self.pg_config} --version says {version!r}")
        return int(found[0])

    def has_library(self, name: str) -> bool:
        """Whether a loadable module is there; a missing one in a preload list stops the server."""
        return any(self.pkglibdir.glob(f"{name}.*"))


def find_installation(pg_config: str | Path | None = None) -> Installation:
    """The installation asked for (argument, else PG_CONFIG), else the reference major, else the
    newest of Debian's, else that of PATH."""
    wanted = pg_config or os.environ.get("PG_CONFIG")
    if wanted:
        path = shutil.which(wanted)
        if path is None:
            raise PostgresNotFound(f"{wanted} is not an executable file")
        return Installation(Path(path))
    majors = {int(path.parts[-3]): path for path in DEBIAN_PREFIX.glob("*/bin/pg_config") if path.parts[-3].isdigit()}
    if majors:
        return Installation(majors.get(REFERENCE_MAJOR) or majors[max(majors)])
    on_path = shutil.which("pg_config")
    if on_path is None:
        raise PostgresNotFound("no pg_config: install PostgreSQL (`make deps`) or set PG_CONFIG")
    return Installation(Path(on_path))


def main() -> int:
    """Print one directory of the installation, for the Makefile."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.postgres", description=main.__doc__)
    parser.add_argument("what", choices=["bindir", "sharedir", "pkglibdir", "major"])
    try:
        print(getattr(find_installation(), parser.parse_args().what))
    except PostgresNotFound as error:
        print(f"postgres: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
