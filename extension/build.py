"""Build the extension: one install script out of the files under sql/, staged for installation.

The source is many small files in an order that reads as a tour (extension/manifest); PostgreSQL
wants one script per version. Tables are not made by that script: each store migration becomes a
function, which `guestcomms.create_store()` and `guestcomms.upgrade_store()` call, so that the data
belongs to the user and not to the extension.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a script: make `tools` importable, as `python3 -m` does
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.postgres import PostgresNotFound, find_installation
from tools.quoting import quote_literal

NAME = "guestcomms"
ROOT = Path(__file__).resolve().parents[1]
MIGRATION_PATH = re.compile(r"sql/[^/]+/store/(?P<number>\d{3})_(?P<name>\w+)\.sql")
MIGRATION_TAGS = ("$store_function$", "$store_migration$")
VERSION_MARK = "@VERSION@"


class BuildError(Exception):
    """The sources break a rule; the message names the file and the way out."""


@dataclass(frozen=True, order=True)
class Migration:
    """A numbered file under sql/*/store/, applied once to each store."""

    number: str
    name: str
    title: str
    text: str

    @property
    def sha256(self) -> str:
        """Fingerprint of the file, by which a released migration is known to be unchanged."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def as_function(self) -> str:
        """The file as a function: create_store() runs it under the roles and search_path that the
        extension was installed with."""
        function = f"{NAME}_internal.store_migration_{self.number}()"
        comment = quote_literal(f"Store migration {self.number}: {self.title}")
        return (
            f"CREATE FUNCTION {function} RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE "
            "SECURITY DEFINER SET search_path FROM CURRENT AS $store_function$\n"
            "BEGIN EXECUTE $store_migration$\n"
            f"{self.text.rstrip()}\n"
            "$store_migration$; END $store_function$;\n"
            f"COMMENT ON FUNCTION {function} IS {comment};\n"
        )


def read_version(root: Path) -> str:
    """The version to build, from the one place that PostgreSQL reads it from too."""
    control = root / "extension" / f"{NAME}.control"
    if not control.is_file():
        raise BuildError(f"{control}: no such file")
    found = re.search(r"^\s*default_version\s*=\s*'([^']+)'", control.read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{control}: no default_version")
    return found[1]


def read_manifest(root: Path) -> list[str]:
    """Paths of the SQL files in their order; refuses a file that is only on one of disk and list,
    which would otherwise be code that nobody installs."""
    manifest = root / "extension" / "manifest"
    if not manifest.is_file():
        raise BuildError(f"{manifest}: no such file")
    lines = [line.split("#", 1)[0].strip() for line in manifest.read_text().splitlines()]
    listed = [line for line in lines if line]
    present = {path.relative_to(root).as_posix() for path in (root / "sql").rglob("*.sql")}
    if twice := sorted({path for path in listed if listed.count(path) > 1}):
        raise BuildError(f"extension/manifest lists twice: {', '.join(twice)}")
    if missing := [path for path in listed if not (root / path).is_file()]:
        raise BuildError(f"extension/manifest lists files that do not exist: {', '.join(missing)}")
    if unlisted := sorted(present.difference(listed)):
        raise BuildError(f"add to extension/manifest: {', '.join(unlisted)}")
    return listed


def read_source(root: Path, path: str) -> str:
    """Text of one SQL file. CREATE OR REPLACE is refused because in an install script it would
    take over an object that somebody else planted under that name."""
    text = (root / path).read_text(encoding="utf-8")
    code = re.sub(r"--[^\n]*", "", text)
    if re.search(r"\bCREATE\s+OR\s+REPLACE\b", code, re.IGNORECASE):
        raise BuildError(f"{path}: CREATE OR REPLACE in an install script; write CREATE")
    return text


def read_migration(path: str, text: str) -> Migration | None:
    """The migration in a file, or None for an ordinary SQL file."""
    found = MIGRATION_PATH.fullmatch(path)
    if found is None:
        return None
    for tag in MIGRATION_TAGS:
        if tag in text:
            raise BuildError(f"{path}: contains {tag}, which build.py wraps migrations in")
    if VERSION_MARK in text:
        raise BuildError(f"{path}: contains {VERSION_MARK}, but a migration outlives its version")
    title = re.match(r"--\s*(\S.*)", text)
    if title is None:
        raise BuildError(f"{path}: begins with no comment line that says what it makes")
    return Migration(found["number"], found["name"], title[1].strip(), text)


def migration_list(migrations: Iterable[Migration]) -> str:
    """A function that lists the migrations, for create_store() and upgrade_store() to walk."""
    rows = ",\n".join(f"  ({int(m.number)}, {quote_literal(m.name)}, {quote_literal(m.sha256)})" for m in sorted(migrations))
    function = f"{NAME}_internal.store_migration_list()"
    return (
        f"CREATE FUNCTION {function} RETURNS TABLE (number integer, name text, sha256 text)\n"
        "LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $store_function$\n"
        f"VALUES\n{rows}\n"
        "$store_function$;\n"
        f"COMMENT ON FUNCTION {function} IS\n"
        "  'Store migrations of this version, in the order in which they are applied.';\n"
    )


def assemble(root: Path, version: str) -> str:
    """The install script of this version."""
    migrations: dict[str, Migration] = {}
    parts: list[str] = []
    after_last_migration = 0
    for path in read_manifest(root):
        text = read_source(root, path)
        migration = read_migration(path, text)
        if migration is None:
            body = text.replace(VERSION_MARK, version)
        elif migration.number in migrations:
            raise BuildError(f"{path}: there is another store migration {migration.number}")
        else:
            migrations[migration.number] = migration
            body = migration.as_function()
            after_last_migration = len(parts) + 1
        parts.append(f"-- {path}\n{body.rstrip()}\n")
    if migrations:
        parts.insert(after_last_migration, migration_list(migrations.values()))
    guard = f'\\echo Use "CREATE EXTENSION {NAME}" to load this file. \\quit\n'
    return "\n".join([guard, *parts])


def stage(root: Path, out: Path, sharedir: Path) -> Path:
    """Write the tree to install under `out`, as DESTDIR and extension_destdir take it; returns the
    install script. Modes are set, because the server reads these files as another user."""
    version = read_version(root)
    script_text = assemble(root, version)
    extension = out / sharedir.relative_to("/") / "extension"
    script = extension / f"{NAME}--{version}.sql"
    released = sorted((root / "extension" / "released").glob("*.sql"))
    if any(r.name == script.name and r.read_text() != script_text for r in released):
        raise BuildError(f"version {version} is released and differs: raise default_version")

    extension.mkdir(parents=True, exist_ok=True)
    for stale in extension.glob(f"{NAME}*"):
        if stale.is_dir():
            shutil.rmtree(stale)
        else:
            stale.unlink()
    for source in [root / "extension" / f"{NAME}.control", *released]:
        shutil.copyfile(source, extension / source.name)
    script.write_text(script_text, encoding="utf-8")
    package = root / "plpython" / NAME
    if package.is_dir():
        shutil.copytree(
            package,
            extension / f"{NAME}-{version}" / NAME,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for staged in extension.glob(f"{NAME}*"):
        for path in [staged, *staged.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    return script


def main(arguments: list[str] | None = None) -> int:
    """Build the extension into a directory that mirrors the file system from its root."""
    parser = argparse.ArgumentParser(prog="extension/build.py", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "stage", metavar="DIR")
    parser.add_argument("--pg-config", metavar="FILE", help="default: PG_CONFIG, else found")
    options = parser.parse_args(arguments)
    try:
        stage(ROOT, options.out, find_installation(options.pg_config).sharedir)
    except (BuildError, PostgresNotFound) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
