"""Freeze a release: keep its install script as it is, and the hashes of everything that may never change again.

A store that was made by a released version knows its migrations by number and hash, and is brought forward by update
scripts that were written against that version's install script. So both are frozen. An update script to the version that
is being made lies beside them and is frozen with it.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

if not __package__:  # run as a script: make `extension` importable, as `python3 -m` does
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from extension import build

RELEASED = Path("extension/released")
HASHES = RELEASED / "HASHES"
INSTALL_SCRIPT = re.compile(rf"{build.NAME}--(?P<version>(?:(?!--).)+)\.sql")
LISTED_MIGRATION = re.compile(r"^  \(\d+, '\w+', '(?P<sha256>[0-9a-f]{64})'\),?$", re.MULTILINE)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_hashes(root: Path) -> dict[str, str]:
    """The frozen files, as path → hash."""
    lines = (root / HASHES).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("  ", 1) for line in lines if line and not line.startswith("#")]
    return {path: digest for digest, path in pairs}


def released_versions(root: Path) -> list[str]:
    """Versions whose install script is kept."""
    names = (INSTALL_SCRIPT.fullmatch(path.name) for path in (root / RELEASED).glob("*.sql"))
    return sorted(name["version"] for name in names if name)


def find_problems(root: Path) -> list[str]:
    """Where the sources are not what was released."""
    hashes = read_hashes(root)
    found = []
    for name, digest in hashes.items():
        if not (root / name).is_file():
            found.append(f"{name} was released and is gone")
        elif sha256(root / name) != digest:
            found.append(f"{name} was released and has changed")
    in_the_making = f"--{build.read_version(root)}.sql"
    for path in sorted((root / RELEASED).glob("*.sql")):
        name = path.relative_to(root).as_posix()
        if name in hashes:
            listed = LISTED_MIGRATION.finditer(path.read_text(encoding="utf-8"))
            if any(migration["sha256"] not in hashes.values() for migration in listed):
                found.append(f"{name} has a store migration that is not listed")
        elif INSTALL_SCRIPT.fullmatch(path.name) or not path.name.endswith(in_the_making):
            found.append(f"{name} is not listed")
    return found


def freeze(root: Path) -> list[str]:
    """Freeze the version in the control file; returns the paths that were added to the list."""
    version = build.read_version(root)
    if problems := find_problems(root):
        raise build.BuildError("; ".join(problems))
    earlier = [released for released in released_versions(root) if released != version]
    updates = sorted((root / RELEASED).glob(f"{build.NAME}--*--{version}.sql"))
    if earlier and not updates:
        raise build.BuildError(f"no update script to {version} from any of {', '.join(earlier)}")
    script = root / RELEASED / f"{build.NAME}--{version}.sql"
    script.write_text(build.assemble(root, version), encoding="utf-8")
    migrations = [root / path for path in build.read_manifest(root) if build.MIGRATION_PATH.fullmatch(path)]
    names = [path.relative_to(root).as_posix() for path in [script, *updates, *migrations]]
    added = [name for name in names if name not in read_hashes(root)]
    with (root / HASHES).open("a", encoding="utf-8") as hashes:
        hashes.writelines(f"{sha256(root / name)}  {name}\n" for name in added)
    return added


def main() -> int:
    """Freeze the version in the control file."""
    try:
        print("\n".join(freeze(build.ROOT)))
    except build.BuildError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
