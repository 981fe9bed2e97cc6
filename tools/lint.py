"""`make lint`: ruff, mypy --strict and pgspot where `make lint-tools` has fetched them, else what Debian packages can check.

Debian 12 has no ruff and no pgspot and an old mypy, so the full set comes from PyPI, pinned in pyproject.toml, into a
virtual environment that sees Debian's psycopg and pytest too: mypy judges by the versions that the tests run with.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / "build" / "venv"
FULL = (
    ("ruff", "check", "--quiet", "--output-format=concise", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy", "--no-error-summary", "."),
)
WITHOUT = "lint: without ruff, mypy and pgspot, which are not Debian packages; `make lint-tools` fetches them"


def run(python: Path, command: Sequence[str]) -> bool:
    return subprocess.run([python, "-m", *command], cwd=ROOT, check=False).returncode == 0


def python_directories() -> list[str]:
    return sorted({path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")} - {"build"})


def fetch_tools() -> int:
    """Make the virtual environment, or bring it to the pinned versions."""
    if importlib.util.find_spec("ensurepip") is None:
        print("lint: no venv module here (Debian: apt-get install python3-venv)", file=sys.stderr)
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned: list[str] = project["optional-dependencies"]["lint"]
    made = run(Path(sys.executable), ["venv", "--system-site-packages", str(VENV)])
    return 0 if made and run(VENV / "bin" / "python", ["pip", "install", "--quiet", *pinned]) else 1


def check() -> int:
    """Run every check, also after one that failed."""
    python = VENV / "bin" / "python"
    commands: list[Sequence[str]] = [("tools.check_sql",)]
    if all((VENV / "bin" / tool).is_file() for tool in ("ruff", "mypy", "pgspot")):
        commands += FULL
    else:
        print(WITHOUT, file=sys.stderr)
        python = Path(sys.executable)
        commands.append(("compileall", "-q", *python_directories()))
        if importlib.util.find_spec("pyflakes"):
            commands.append(("pyflakes", *python_directories()))
        else:
            print("lint: without pyflakes too (Debian: python3-pyflakes)", file=sys.stderr)
    results = [run(python, command) for command in commands]
    return 0 if all(results) else 1


def main() -> int:
    """Check the sources with the tools that are there."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.lint", description=main.__doc__)
    parser.add_argument("--fetch", action="store_true", help="get the tools that Debian does not have, from PyPI")
    return fetch_tools() if parser.parse_args().fetch else check()


if __name__ == "__main__":
    sys.exit(main())
