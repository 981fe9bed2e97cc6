"""What was released is as it was; and extension/release.py would notice if it were not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from extension import build, release

SCRIPT = "extension/released/guestcomms--1.0.sql"
FIRST = "sql/10_store/store/010_first.sql"
SECOND = "sql/10_store/store/020_second.sql"


def test_what_was_released_is_unchanged() -> None:
    assert release.find_problems(build.ROOT) == []


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def set_sources(root: Path, version: str, *paths: str) -> None:
    write(root, "extension/guestcomms.control", f"default_version = '{version}'\n")
    write(root, "extension/manifest", "".join(f"{path}\n" for path in paths))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small source tree whose version 1.0 is frozen."""
    root = tmp_path / "source"
    write(root, "extension/released/HASHES", "# a comment\n")
    write(root, "sql/10_store/api.sql", "SELECT 1;\n")
    write(root, FIRST, "-- First\nCREATE TABLE first ();\n")
    set_sources(root, "1.0", FIRST, "sql/10_store/api.sql")
    assert release.freeze(root) == [SCRIPT, FIRST]
    return root


def test_a_frozen_tree_has_no_problems(root: Path) -> None:
    assert release.find_problems(root) == []
    assert release.released_versions(root) == ["1.0"]
    assert release.freeze(root) == []


@pytest.mark.parametrize("path", [SCRIPT, FIRST])
def test_a_change_is_noticed(root: Path, path: str) -> None:
    write(root, path, "-- First, mended\n")
    assert f"{path} was released and has changed" in release.find_problems(root)
    with pytest.raises(build.BuildError, match="has changed"):
        release.freeze(root)


@pytest.mark.parametrize("path", [SCRIPT, FIRST])
def test_a_loss_is_noticed(root: Path, path: str) -> None:
    (root / path).unlink()
    assert release.find_problems(root) == [f"{path} was released and is gone"]


def test_an_unlisted_script_is_noticed(root: Path) -> None:
    shutil.copyfile(root / SCRIPT, root / "extension/released/guestcomms--0.9.sql")
    assert release.find_problems(root) == ["extension/released/guestcomms--0.9.sql is not listed"]


def test_an_unlisted_migration_is_noticed(root: Path) -> None:
    hashes = root / release.HASHES
    hashes.write_text("".join(line for line in hashes.read_text().splitlines(True) if FIRST not in line))
    assert release.find_problems(root) == [f"{SCRIPT} has a store migration that is not listed"]


def test_the_next_version_needs_an_update_script(root: Path) -> None:
    write(root, SECOND, "-- Second\nCREATE TABLE second ();\n")
    set_sources(root, "1.1", FIRST, SECOND, "sql/10_store/api.sql")
    with pytest.raises(build.BuildError, match="no update script"):
        release.freeze(root)
    update = "extension/released/guestcomms--1.0--1.1.sql"
    write(root, update, "SELECT 2;\n")
    assert release.find_problems(root) == []  # it may still change
    assert release.freeze(root) == ["extension/released/guestcomms--1.1.sql", update, SECOND]
    write(root, update, "SELECT 3;\n")
    assert release.find_problems(root) == [f"{update} was released and has changed"]
