"""`make dist` makes an archive from which the extension builds, installs, runs and goes again, away from this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from extension import build
from tools.cluster import Cluster
from tools.postgres import find_installation


def make(directory: Path, *arguments: str) -> str:
    """Run make there; returns what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments, f"PYTHON={sys.executable}"],
        cwd=directory,
        env=kept,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the last commit, unpacked."""
    if not (build.ROOT / ".git").exists():
        pytest.skip("make dist archives a git checkout, which this is not")
    archive = build.ROOT / make(build.ROOT, "dist").strip()
    directory = tmp_path_factory.mktemp("elsewhere")
    shutil.unpack_archive(archive, directory)
    (top,) = directory.iterdir()
    assert top.name == archive.stem
    return top


@pytest.fixture
def installed(unpacked: Path, tmp_path: Path) -> Path:
    """A tree that it was installed into."""
    root = tmp_path / "root"
    make(unpacked, "install", f"DESTDIR={root}")
    root.chmod(0o755)
    return root


def extension_files() -> Path:
    return find_installation().sharedir.relative_to("/") / "extension"


def test_it_installs_what_the_server_loads(unpacked: Path, installed: Path) -> None:
    version = build.read_version(unpacked)
    directory = installed / extension_files()
    assert (directory / "guestcomms.control").is_file()
    assert (directory / f"guestcomms--{version}.sql").read_text(encoding="utf-8") == build.assemble(unpacked, version)
    assert (directory / f"guestcomms-{version}" / "guestcomms" / "__init__.py").is_file()
    assert all((installed / name).stat().st_mode & 0o777 == 0o644 for name in files(installed))


def test_what_was_installed_runs(installed: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster", stage=installed)
    try:
        cluster.create()
        cluster.start()
        cluster.psql("CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store();")
        assert int(cluster.psql("SELECT count(*) FROM guestcomms.store_capabilities();")) > 0
    finally:
        cluster.destroy()


def test_uninstall_leaves_nothing(unpacked: Path, installed: Path) -> None:
    """Of any version, and of no other extension whose name begins alike."""
    directory = installed / extension_files()
    others = ["guestcomms_reports.control", "guestcomms_reports--1.0.sql"]
    for name in [*others, "guestcomms--0.0.1.sql", "guestcomms--0.0.1--0.1.0.sql"]:
        (directory / name).touch()
    make(unpacked, "uninstall", f"DESTDIR={installed}")
    assert files(directory) == set(others)
    for name in others:
        (directory / name).unlink()
    make(unpacked, "install", f"DESTDIR={installed}")
    make(unpacked, "uninstall", f"DESTDIR={installed}")
    assert files(installed) == set()
    make(unpacked, "uninstall", f"DESTDIR={installed}")


def test_the_version_is_the_same_everywhere() -> None:
    version = build.read_version(build.ROOT)
    project = tomllib.loads((build.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = (build.ROOT / "plpython" / "guestcomms" / "__init__.py").read_text(encoding="utf-8")
    assert project["version"] == version
    assert f'__version__ = "{version}"' in package
    assert f"## {version} " in (build.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_metadata_is_that_of_the_control_file() -> None:
    meta = json.loads((build.ROOT / "META.json").read_text(encoding="utf-8"))
    control = (build.ROOT / "extension" / "guestcomms.control").read_text(encoding="utf-8")
    (requires,) = (line.partition("=")[2].strip(" '") for line in control.splitlines() if line.startswith("requires"))
    assert meta["version"] == meta["provides"]["guestcomms"]["version"] == build.read_version(build.ROOT)
    assert set(requires.split(", ")) == set(meta["prereqs"]["runtime"]["requires"]) - {"PostgreSQL"}
    assert {"name", "abstract", "version", "maintainer", "license", "provides", "meta-spec"} <= set(meta)
    for named in ("file", "docfile"):
        assert (build.ROOT / meta["provides"]["guestcomms"][named]).is_file()
