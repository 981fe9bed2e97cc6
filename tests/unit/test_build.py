"""extension/build.py: what goes into the install script, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from extension import build

SHAREDIR = Path("/usr/share/postgresql/15")
MIGRATION = "sql/10_store/store/010_guests.sql"
MIGRATION_TEXT = "-- Guests, and the tenant's addresses\nCREATE TABLE guests ();\n"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def list_sources(root: Path, *paths: str) -> None:
    write(root, "extension/manifest", "# the tour\n\n" + "".join(f"{path}\n" for path in paths))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small source tree with an ordinary file before and after a migration."""
    root = tmp_path / "source"
    write(root, "extension/guestcomms.control", "comment = 'x'\ndefault_version = '1.2'\n")
    write(root, "sql/00_a/api.sql", "SELECT '@VERSION@';\n")
    write(root, MIGRATION, MIGRATION_TEXT)
    write(root, "sql/20_b/api.sql", "SELECT 2;\n")
    list_sources(root, "sql/00_a/api.sql", f"{MIGRATION}  # tables", "sql/20_b/api.sql")
    return root


def refusal(root: Path) -> str:
    with pytest.raises(build.BuildError) as caught:
        build.assemble(root, "1.2")
    return str(caught.value)


def test_script_holds_the_files_in_order(root: Path) -> None:
    script = build.assemble(root, "1.2")
    assert script.startswith('\\echo Use "CREATE EXTENSION guestcomms" to load this file. \\quit\n')
    landmarks = [
        "-- sql/00_a/api.sql\nSELECT '1.2';\n",
        f"-- {MIGRATION}\nCREATE FUNCTION guestcomms_internal.store_migration_010() ",
        MIGRATION_TEXT,
        "IS 'Store migration 010: Guests, and the tenant''s addresses';\n",
        "CREATE FUNCTION guestcomms_internal.store_migration_list() ",
        "-- sql/20_b/api.sql\nSELECT 2;\n",
    ]
    positions = [script.find(landmark) for landmark in landmarks]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_migrations_are_listed_by_number_with_their_hash(root: Path) -> None:
    write(root, "sql/20_b/store/005_first.sql", "-- First\nSELECT 5;\n")
    list_sources(*(root, "sql/00_a/api.sql", MIGRATION, "sql/20_b/api.sql", "sql/20_b/store/005_first.sql"))
    first = hashlib.sha256(b"-- First\nSELECT 5;\n").hexdigest()
    second = hashlib.sha256(MIGRATION_TEXT.encode()).hexdigest()
    expected = f"VALUES\n  (5, 'first', '{first}'),\n  (10, 'guests', '{second}')\n"
    script = build.assemble(root, "1.2")
    assert expected in script
    assert script.count("store_migration_list() RETURNS") == 1


def test_other_files_of_a_store_folder_are_ordinary(root: Path) -> None:
    write(root, "sql/10_store/store/views.sql", "SELECT 'views';\n")
    list_sources(*(root, "sql/00_a/api.sql", MIGRATION, "sql/10_store/store/views.sql", "sql/20_b/api.sql"))
    assert "-- sql/10_store/store/views.sql\nSELECT 'views';\n" in build.assemble(root, "1.2")


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("sql/20_b/api.sql", "create  or\nreplace view x", "CREATE OR REPLACE"),
        (MIGRATION, "-- x\nCREATE OR REPLACE VIEW x", "CREATE OR REPLACE"),
        (MIGRATION, "-- x\nSELECT $store_migration$a$store_migration$;", "$store_migration$"),
        (MIGRATION, "-- x\nSELECT $store_function$a$store_function$;", "$store_function$"),
        (MIGRATION, "-- x\nSELECT '@VERSION@';", "@VERSION@"),
        (MIGRATION, "SELECT 1; -- x\n", "no comment line"),
    ],
)
def test_text_is_refused(root: Path, path: str, text: str, complaint: str) -> None:
    write(root, path, text)
    message = refusal(root)
    assert message.startswith(f"{path}: ")
    assert complaint in message


def test_a_comment_may_speak_of_create_or_replace(root: Path) -> None:
    write(root, "sql/20_b/api.sql", "-- no CREATE OR REPLACE here\nSELECT 2;\n")
    build.assemble(root, "1.2")


def test_manifest_and_files_must_agree(root: Path) -> None:
    write(root, "sql/20_b/forgotten.sql", "SELECT 3;\n")
    assert "add to extension/manifest: sql/20_b/forgotten.sql" in refusal(root)
    (root / "sql/20_b/forgotten.sql").unlink()
    (root / "sql/20_b/api.sql").unlink()
    assert "do not exist: sql/20_b/api.sql" in refusal(root)


def test_files_are_listed_once(root: Path) -> None:
    list_sources(root, *["sql/00_a/api.sql"] * 2, MIGRATION, "sql/20_b/api.sql")
    assert "lists twice: sql/00_a/api.sql" in refusal(root)


def test_migration_numbers_are_unique_across_modules(root: Path) -> None:
    other = "sql/20_b/store/010_other.sql"
    write(root, other, "-- Other\n")
    list_sources(root, "sql/00_a/api.sql", MIGRATION, "sql/20_b/api.sql", other)
    assert refusal(root) == f"{other}: there is another store migration 010"


def test_stage_mirrors_the_file_system(root: Path, tmp_path: Path) -> None:
    write(root, "extension/released/guestcomms--1.1--1.2.sql", "SELECT 'update';\n")
    write(root, "plpython/guestcomms/codec/lz.py", "")
    write(root, "plpython/guestcomms/__pycache__/x.pyc", "")
    out = tmp_path / "out"
    extension = out / "usr/share/postgresql/15/extension"
    write(extension, "guestcomms--1.1.sql", "stale")
    write(extension, "guestcomms-1.1/guestcomms/old.py", "stale")
    write(extension, "other.control", "somebody else's")

    script = build.stage(root, out, SHAREDIR)

    assert script == extension / "guestcomms--1.2.sql"
    assert {p.relative_to(extension).as_posix() for p in extension.rglob("*") if p.is_file()} == {
        "guestcomms.control",
        "guestcomms--1.2.sql",
        "guestcomms--1.1--1.2.sql",
        "guestcomms-1.2/guestcomms/codec/lz.py",
        "other.control",
    }
    assert script.stat().st_mode & 0o777 == 0o644
    assert (extension / "guestcomms-1.2/guestcomms").stat().st_mode & 0o777 == 0o755


def test_a_released_version_is_not_built_differently(root: Path, tmp_path: Path) -> None:
    script = build.stage(root, tmp_path / "out", SHAREDIR)
    released = "extension/released/guestcomms--1.2.sql"
    write(root, released, script.read_text())
    build.stage(root, tmp_path / "out", SHAREDIR)
    write(root, "sql/20_b/api.sql", "SELECT 'changed';\n")
    with pytest.raises(build.BuildError, match="raise default_version"):
        build.stage(root, tmp_path / "out", SHAREDIR)


def test_control_file_must_name_a_version(root: Path) -> None:
    write(root, "extension/guestcomms.control", "comment = 'default_version'\n")
    with pytest.raises(build.BuildError, match="no default_version"):
        build.read_version(root)
