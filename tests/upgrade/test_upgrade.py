"""A store of an earlier version, updated, is what a new one would be, and has lost nothing.

Tried from every released version; and, so that the harness itself is tried while there is none, from the sources as they
are to a version made of them with one more function and one more store migration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from extension import build, release
from tests.conftest import roomy_memory
from tests.support.database import Database, fresh_database
from tests.support.population import populate
from tests.support.queries import one, rows
from tests.support.store import LOGINS, create_logins, create_tenants
from tests.support.upgrade import Rows, dump_schema, lost_rows, read_rows, schema_difference
from tools.cluster import Cluster
from tools.postgres import find_installation

TOY_VERSION = "99.0"
TOY_FUNCTION = """\
CREATE FUNCTION guestcomms.count_toys() RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path FROM CURRENT
AS $$ BEGIN RETURN (SELECT count(*) FROM guestcomms.toys); END $$;
COMMENT ON FUNCTION guestcomms.count_toys() IS 'How many toys the current tenant has.';
"""
TOY_MIGRATION = """\
-- Toys, and a word about each guest
CREATE TABLE guestcomms.toys (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    CONSTRAINT toys_pkey PRIMARY KEY (tenant_id, name)
);
ALTER TABLE guestcomms.guests ADD COLUMN toy text;
ALTER TABLE guestcomms.messages ADD COLUMN toy text;
CREATE INDEX messages_toy ON guestcomms.messages (tenant_id, toy);
"""
TOY_PATHS = {"sql/20_search/toys.sql": TOY_FUNCTION, "sql/10_store/store/999_toys.sql": TOY_MIGRATION}
GRANTS = "sql/99_grants/grants.sql"


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path}: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def write_toy_update(root: Path, old: str) -> None:
    """What the maker of a release writes by hand: what is new, what has changed, and whose all of it is.

    The path comes first, for every function takes its own from it; the grants last, for they give each function its
    owner."""
    path = re.search(
        r"^SELECT pg_catalog\.set_config\('search_path'.*;$", (root / "sql/00_foundation/path.sql").read_text(), re.MULTILINE
    )
    assert path is not None
    migrations = [
        migration
        for name in build.read_manifest(root)
        if (migration := build.read_migration(name, build.read_source(root, name)))
    ]
    versioned = [text for name in build.read_manifest(root) if build.VERSION_MARK in (text := build.read_source(root, name))]
    changed = "\n".join([*versioned, build.migration_list(migrations)])
    (root / release.RELEASED / f"guestcomms--{old}--{TOY_VERSION}.sql").write_text(
        "\n".join(
            [
                path[0],
                re.sub(r"^CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", changed, flags=re.MULTILINE).replace(
                    build.VERSION_MARK, TOY_VERSION
                ),
                TOY_FUNCTION,
                max(migrations).as_function(),
                build.read_source(root, GRANTS),
            ]
        ),
        encoding="utf-8",
    )


def make_toy_sources(root: Path) -> str:
    """Sources of a version after this one, with this one released; returns this one's version."""
    for part in ("extension", "sql", "plpython"):
        shutil.copytree(build.ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    release.freeze(root)
    old = build.read_version(root)
    shutil.copytree(root / "plpython", root / "released_python")
    for name in ("extension/guestcomms.control", "plpython/guestcomms/__init__.py"):
        replace_once(root / name, f"{old}", TOY_VERSION)
    for name, text in TOY_PATHS.items():
        (root / name).write_text(text, encoding="utf-8")
    last = "sql/10_store/store/190_triggers.sql\n"
    replace_once(root / "extension/manifest", last, last + "".join(f"{name}\n" for name in reversed(TOY_PATHS)))
    replace_once(root / GRANTS, ",run_import,", ",run_import,count_toys,")
    write_toy_update(root, old)
    assert release.find_problems(root) == []
    return old


@pytest.fixture(scope="module")
def toy() -> Iterator[tuple[Cluster, str]]:
    """A cluster that has the toy version's files, and the version before it."""
    with TemporaryDirectory(prefix="gc-upgrade-", dir=roomy_memory()) as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server's user must get through
        old = make_toy_sources(directory / "source")
        sharedir = find_installation().sharedir
        build.stage(directory / "source", directory / "stage", sharedir)
        # Each version has its Python package beside the extension's files; an installation leaves the earlier one's there.
        extensions = (directory / "stage").joinpath(*sharedir.parts[1:], "extension")
        shutil.copytree(directory / "source/released_python", extensions / f"guestcomms-{old}")
        cluster = Cluster(directory / "cluster", stage=directory / "stage")
        try:
            cluster.create()
            cluster.start()
            yield cluster, old
        finally:
            cluster.destroy()


def make_store(database: Database, version: str | None = None) -> None:
    chosen = f"VERSION '{version}'" if version else ""
    database.cluster.psql(f"CREATE EXTENSION guestcomms {chosen} CASCADE; SELECT guestcomms.create_store();", database.name)


def create_missing_logins(cluster: Cluster) -> None:
    names = ", ".join(f"'{login}'" for login in LOGINS)
    if cluster.psql(f"SELECT count(*) FROM pg_roles WHERE rolname IN ({names});") == "0":
        create_logins(cluster)


def upgrade(cluster: Cluster, old: str, stack: ExitStack) -> tuple[Database, Database]:
    """A store of the old version with rows in every table, updated, with nothing lost; and a new one beside it."""
    updated, fresh = (stack.enter_context(fresh_database(cluster, None)) for _ in range(2))
    make_store(updated, old)
    create_missing_logins(cluster)
    populate(create_tenants(updated))
    with updated.connect() as superuser:
        before = read_rows(superuser)
        assert all(before.values()), "a table has no rows to lose"
        superuser.execute("ALTER EXTENSION guestcomms UPDATE")
        one(superuser, "SELECT guestcomms.upgrade_store()")
        assert lost_rows(before, read_rows(superuser)) == {}
    make_store(fresh)
    return updated, fresh


MIGRATIONS = "SELECT number, name, sha256 FROM guestcomms_internal.store_migrations ORDER BY number"


def assert_alike(updated: Database, fresh: Database) -> None:
    assert schema_difference(updated, fresh) == ""
    with updated.connect() as one_store, fresh.connect() as other_store:
        assert rows(one_store, MIGRATIONS) == rows(other_store, MIGRATIONS)


# Nothing to try while the only released version, if any, is this one.
EARLIER = [version for version in release.released_versions(build.ROOT) if version != build.read_version(build.ROOT)]


@pytest.mark.parametrize("old", EARLIER)
def test_upgrade_from_a_released_version(cluster: Cluster, template: str, old: str) -> None:
    with ExitStack() as stack:
        assert_alike(*upgrade(cluster, old, stack))


# Each is a thing that an update script may forget, or do otherwise.
DIFFERENCES = [
    "REVOKE EXECUTE ON FUNCTION guestcomms.count_toys() FROM guestcomms_app",
    "ALTER FUNCTION guestcomms.count_toys() OWNER TO guestcomms_engine",
    "ALTER FUNCTION guestcomms.count_toys() VOLATILE",
    "ALTER FUNCTION guestcomms.count_toys() SET search_path = guestcomms, public",
    "COMMENT ON FUNCTION guestcomms.count_toys() IS NULL",
    "DROP POLICY tenant_isolation ON guestcomms.toys",
    "ALTER TABLE guestcomms.toys NO FORCE ROW LEVEL SECURITY",
    "DROP INDEX guestcomms.messages_toy",
    "ALTER TABLE guestcomms.guests DROP COLUMN toy",
    "ALTER EXTENSION guestcomms DROP FUNCTION guestcomms.count_toys()",
]


def test_upgrade_to_a_toy_version(toy: tuple[Cluster, str]) -> None:
    cluster, old = toy
    with ExitStack() as stack:
        updated, fresh = upgrade(cluster, old, stack)
        with updated.connect() as superuser:
            assert one(superuser, "SELECT extversion FROM pg_extension WHERE extname = 'guestcomms'") == TOY_VERSION
            assert (
                one(
                    superuser,
                    "SELECT count(*) FROM guestcomms_internal.store_migrations WHERE extension_version = %s",
                    TOY_VERSION,
                )
                == 1
            )
            assert one(superuser, "SELECT count(*) > 0 FROM guestcomms.store_capabilities()")
        assert_alike(updated, fresh)

        # The comparison would see what is missing: each of these makes a difference of its own.
        with updated.connect() as superuser:
            dumps = [dump_schema(fresh)]
            for statement in DIFFERENCES:
                superuser.execute(statement)
                dumps.append(dump_schema(updated))
        assert [DIFFERENCES[place] for place in range(len(DIFFERENCES)) if dumps[place] == dumps[place + 1]] == []


def test_a_changed_row_counts_as_lost() -> None:
    before: Rows = {"t": [{"a": 1, "b": "x"}, {"a": 1, "b": "x"}], "u": [{"a": 1}], "empty": []}
    assert lost_rows(before, {"t": [*before["t"], {"a": 2}], "u": [{"a": 1, "new": 2}]}) == {}
    assert lost_rows(before, {"t": [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]}) == {"t": 1, "u": 1}
