"""Install the Debian packages that the demo or the tests need and that are missing.

Silent when nothing is missing. Needs nothing but the standard library, since it runs first.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tools.postgres import REFERENCE_MAJOR, PostgresNotFound, find_installation

# The PostgreSQL that each Debian has.
DEBIAN_MAJORS = {"12": 15, "13": 17}

PACKAGES = {
    "demo": (
        "postgresql-{major}",
        "postgresql-plpython3-{major}",
        "postgresql-{major}-cron",
        "postgresql-{major}-partman",
        "python3-psycopg",
    ),
    "test": (
        "python3-pytest",
        "python3-hypothesis",
        "python3-coverage",
        "python3-pglast",
        "python3-pyflakes",
        "python3-langdetect",
        "python3-zstandard",
        "python3-pgpy",
        "python3-phonenumbers",
        "python3-reportlab",
        "python3-bidi",
        "python3-arabic-reshaper",
        "fonts-dejavu-core",
        "fonts-droid-fallback",
        "fonts-wqy-microhei",
        "gnupg",
        "poppler-utils",
        "chromium",
        "postgresql-{major}-pgtap",
        "postgresql-{major}-plpgsql-check",
        "postgresql-{major}-hll",
        "postgresql-{major}-tdigest",
        "python3-sqlalchemy",
        "python3-psycopg2",
        "python3-psycopg-pool",
        "pgbouncer",
    ),
}


def chosen_major() -> int:
    """The major to install for. PG_CONFIG may name one that is not there yet, so that
    `make deps PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config` gets it."""
    named = re.search(r"/postgresql/(\d+)/", os.environ.get("PG_CONFIG", ""))
    if named:
        return int(named[1])
    try:
        return find_installation().major
    except PostgresNotFound:
        return DEBIAN_MAJORS.get(platform.freedesktop_os_release().get("VERSION_ID", ""), REFERENCE_MAJOR)


def wanted_packages(purpose: str, major: int) -> list[str]:
    """What a purpose needs; the tests need the demo's packages too."""
    names = PACKAGES["demo"] + (PACKAGES["test"] if purpose == "test" else ())
    return [name.format(major=major) for name in names]


def missing_packages(wanted: Sequence[str]) -> list[str]:
    """Those that dpkg does not know as installed."""
    answer = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,  # exits 1 when it does not know a name
    )
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def privilege() -> list[str] | None:
    """What to put before a command to run it as root; None when there is no way to ask."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    silent = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo"] if silent.returncode == 0 or sys.stdin.isatty() else None


def install(prefix: Sequence[str], missing: Sequence[str]) -> bool:
    """Update the package lists and install: a stale list would bring a PostgreSQL without its latest fixes.

    Debian's server package also makes and starts a cluster of its own, `main`. Ours uses no port
    and no file of that one, so it is left alone."""
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    command = [*apt, "install", "-y", "--no-install-recommends", *missing]

    def run(line: Sequence[str]) -> bool:
        return subprocess.run(line, stdout=sys.stderr, check=False).returncode == 0

    return run([*apt, "update"]) and run(command)


def check_elsewhere(wanted: Sequence[str]) -> int:
    """Not a Debian: packages have other names, so look for what they would bring."""
    print(f"deps: no dpkg here; needed are what Debian calls {' '.join(wanted)}", file=sys.stderr)
    try:
        find_installation()
    except PostgresNotFound as error:
        print(f"deps: {error}", file=sys.stderr)
        return 1
    if importlib.util.find_spec("psycopg") is None:
        print(f"deps: {sys.executable} has no psycopg (version 3)", file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the Debian packages that are missing."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.deps", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("--for", dest="purpose", choices=sorted(PACKAGES), default="demo")
    options = parser.parse_args(arguments)

    wanted = wanted_packages(options.purpose, chosen_major())
    if shutil.which("dpkg-query") is None:
        return check_elsewhere(wanted)
    missing = missing_packages(wanted)
    if not missing:
        return 0
    print(f"Missing packages: {' '.join(missing)}", file=sys.stderr)
    prefix = None if options.check else privilege()
    if prefix is not None and install(prefix, missing):
        return 0
    print(
        f"To install them: apt-get update && apt-get install --no-install-recommends {shlex.join(missing)}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
