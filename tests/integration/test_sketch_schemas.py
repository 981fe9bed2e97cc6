"""Extensions whose functions run with the owners' rights must lie where nobody else can put functions, and where the owners may
enter."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.database import Database
from tests.support.queries import one, refused

HLL = "CREATE SCHEMA sketches; CREATE EXTENSION hll SCHEMA sketches; CREATE EXTENSION guestcomms CASCADE"
HAS_SKETCHES = "SELECT to_regclass('guestcomms_bi.agg_guest_day') IS NOT NULL"


def test_a_closed_schema_is_named_and_opening_it_is_enough(new_database: Callable[..., Database], logins: None) -> None:
    with new_database(None).connect() as root:
        root.execute(HLL)
        with refused("55000"):
            root.execute("SELECT guestcomms.create_store()")
        root.execute("GRANT USAGE ON SCHEMA sketches TO guestcomms_owner, guestcomms_engine")
        root.execute("SELECT guestcomms.create_store()")
        assert one(root, HAS_SKETCHES)


def test_a_schema_where_others_may_create_is_refused(new_database: Callable[..., Database], logins: None) -> None:
    with new_database(None).connect() as root:
        root.execute(HLL)
        root.execute("GRANT USAGE ON SCHEMA sketches TO guestcomms_owner, guestcomms_engine")
        root.execute("GRANT CREATE ON SCHEMA sketches TO nobody_login")
        with refused("55000"):
            root.execute("SELECT guestcomms.create_store()")
        root.execute("REVOKE CREATE ON SCHEMA sketches FROM nobody_login")
        root.execute("SELECT guestcomms.create_store()")


def test_a_schema_that_was_safe_is_looked_at_again(new_database: Callable[..., Database], logins: None) -> None:
    with new_database().connect() as root:
        root.execute("GRANT CREATE ON SCHEMA testing TO nobody_login")
        with refused("55000"):
            root.execute("SELECT guestcomms.upgrade_store()")
        root.execute("REVOKE CREATE ON SCHEMA testing FROM nobody_login; REVOKE USAGE ON SCHEMA testing FROM PUBLIC")
        with refused("55000"):
            root.execute("SELECT guestcomms.upgrade_store()")
        root.execute("GRANT USAGE ON SCHEMA testing TO PUBLIC")
        root.execute("SELECT guestcomms.upgrade_store()")
