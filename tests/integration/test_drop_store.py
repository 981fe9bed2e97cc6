"""drop_store(): shows first, drops when told the database's name, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.database import Connection, Database
from tests.support.queries import Row, one, refused, rows
from tests.support.store import create_tenants
from tests.support.traffic import add_guest, record

DROP = "SELECT object, row_estimate, byte_count, is_dropped FROM guestcomms.drop_store(%s)"
OURS = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relnamespace IN ('guestcomms'::regnamespace, 'guestcomms_internal'::regnamespace)
        AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL SELECT cfgname FROM pg_ts_config WHERE cfgnamespace = 'guestcomms'::regnamespace
    UNION ALL SELECT dictname FROM pg_ts_dict WHERE dictnamespace = 'guestcomms'::regnamespace
    UNION ALL SELECT parent_table FROM part_config"""


@pytest.fixture
def database(new_database: Callable[[], Database], logins: None) -> Database:
    database = new_database()
    store = create_tenants(database)
    app = store.connect("app_login", store.tenant_a)
    record(app, add_guest(app))
    app.close()
    return database


@pytest.fixture
def root(database: Database) -> Connection:
    return database.connect()


def drop(root: Connection, confirm: str | None) -> list[Row]:
    return rows(root, DROP, confirm)


def test_without_a_name_it_only_shows(root: Connection) -> None:
    root.execute("ANALYZE guestcomms.tenants")
    found = {row[0]: row[1:] for row in drop(root, None)}
    assert found["guestcomms.tenants"][0] == 2
    assert found["guestcomms.messages"][1] > 0
    assert not any(row[2] for row in found.values())
    assert one(root, "SELECT count(*) FROM guestcomms.messages") == 1


@pytest.mark.parametrize("confirm", ["", "yes", "GC_TEST", "postgres"])
def test_another_name_is_refused(root: Connection, confirm: str) -> None:
    with refused("22023") as caught:
        drop(root, confirm)
    assert caught.value.diag.message_hint
    assert one(root, "SELECT count(*) FROM guestcomms.messages") == 1


def test_the_extension_goes_only_after_the_store(root: Connection, database: Database) -> None:
    with refused("2BP01"):
        root.execute("DROP EXTENSION guestcomms")
    assert all(row[3] for row in drop(root, database.name))
    assert rows(root, OURS) == []
    with refused("55000"):
        drop(root, database.name)
    root.execute("DROP EXTENSION guestcomms")
    assert one(root, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'guestcomms_%%'") == 0


def test_a_store_can_be_made_again(root: Connection, database: Database) -> None:
    before = sorted(rows(root, OURS))
    drop(root, database.name)
    root.execute("SELECT guestcomms.create_store()")
    assert sorted(rows(root, OURS)) == before
    store = create_tenants(database)
    app = store.connect("app_login", store.tenant_a)
    message_id = record(app, add_guest(app), body="anew")
    found = rows(app, "SELECT message_id FROM guestcomms.search_messages('anew')")
    assert found == [(message_id,)]


def test_only_operators_may(database: Database) -> None:
    for login in ("app_login", "analyst_login", "privacy_login", "nobody_login"):
        connection = database.connect(login)
        with refused("42501"):
            drop(connection, database.name)


def test_the_extension_can_be_dropped_with_all_that_is_in_it(root: Connection) -> None:
    """CASCADE is how PostgreSQL says yes; it must not fail half way."""
    root.execute("DROP EXTENSION guestcomms CASCADE")
    root.execute("CREATE EXTENSION guestcomms CASCADE")
