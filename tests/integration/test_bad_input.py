"""Administrative calls with values that cannot be right: a SQLSTATE, a hint, and nothing changed."""

from __future__ import annotations

import pytest

from tests.support.queries import one, refused
from tests.support.store import Store

CASES = [
    ("guestcomms.add_tenant('')", "22023"),
    ("guestcomms.add_tenant('T', timezone => 'Mars/Olympus')", "22023"),
    ("guestcomms.add_tenant('T', timezone => 'X-3')", "22023"),
    ("guestcomms.add_tenant('T', timezone => NULL)", "22023"),
    ("guestcomms.add_tenant('T', language => 'English')", "22023"),
    ("guestcomms.add_tenant('T', region => 'gb')", "22023"),
    ("guestcomms.add_member('nobody_of_that_name')", "42704"),
    ("guestcomms.add_guest(repeat('x', 201))", "22023"),
    ("guestcomms.add_guest('G', language => 'English')", "22023"),
    ("guestcomms.add_guest('G', timezone => 'Mars/Olympus')", "22023"),
    ("guestcomms.add_guest('G', email => 'nobody')", "22023"),
    ("guestcomms.add_guest('G', phone => '900')", "22023"),
    ("guestcomms.resolve_guest('fax', '1')", "22023"),
    ("guestcomms.resolve_guest('sms', 'hello')", "22023"),
    ("guestcomms.resolve_guest('chat', '')", "22023"),
    ("guestcomms.open_thread('S')", "23503"),
    ("guestcomms.open_thread(repeat('x', 2001))", "22001"),
    ("guestcomms.run_import(chunk_rows => 0)", "22023"),
    ("guestcomms.run_import(on_error => 'ignore')", "22023"),
    ("guestcomms.set_setting('no.such', '1')", "42704"),
    ("guestcomms.set_setting('search.candidate_limit', '1')", "22023"),
    ("guestcomms.set_setting('search.candidate_limit', 'many')", "22023"),
    ("guestcomms.set_setting('search.headline_start', '')", "22023"),
    ("guestcomms.set_setting('token.max_lifetime', '1 hour')", "42501"),
    ("guestcomms.rotate_token_key(overlap => '-1 hour')", "22023"),
    ("guestcomms.add_consumer('Not a name')", "22023"),
    ("guestcomms.read_changes('nobody')", "42704"),
    ("guestcomms.read_changes('nobody', 0)", "22023"),
    ("guestcomms.ensure_partitions('1990-01-01')", "22008"),
    ("guestcomms.create_store()", "42710"),
    ("guestcomms.schedule_jobs(job_login => 'app_login')", "22023"),
    ("guestcomms.schedule_jobs(cron_connection => 'dbname=postgres')", "0A000"),
]


@pytest.mark.parametrize(("call", "sqlstate"), CASES, ids=[call for call, _ in CASES])
def test_refused_with_a_hint(store: Store, call: str, sqlstate: str) -> None:
    with store.connect(tenant=store.tenant_a) as superuser, refused(sqlstate) as caught:
        superuser.execute(f"SELECT {call}".encode())
    assert caught.value.diag.message_hint


def test_a_setting_is_set_and_set_back(store: Store) -> None:
    value = "SELECT value FROM guestcomms.list_settings() WHERE name = 'search.candidate_limit'"
    with store.connect(tenant=store.tenant_a) as a, store.connect(tenant=store.tenant_b) as b, store.connect() as whole:
        whole.execute("SELECT guestcomms.set_setting('search.candidate_limit', '300')")
        a.execute("SELECT guestcomms.set_setting('search.candidate_limit', '200')")
        assert [one(connection, value) for connection in (a, b, whole)] == ["200", "300", "300"]
        a.execute("SELECT guestcomms.set_setting('search.candidate_limit', NULL)")
        assert one(a, value) == "300"
        whole.execute("SELECT guestcomms.set_setting('search.candidate_limit', NULL)")
        assert one(a, value) == "1000"


def test_an_address_is_one_guests(store: Store) -> None:
    app = store.connect("app_login", store.tenant_a)
    app.execute("SELECT guestcomms.add_guest('G', email => 'g@example.com')")
    with refused("23505") as caught:
        app.execute("SELECT guestcomms.add_guest('H', email => 'G@Example.com')")
    assert "example" not in str(caught.value).lower()


def test_a_telephone_is_one_guests_by_sms_and_whatsapp(store: Store) -> None:
    app = store.connect("app_login", store.tenant_a)
    by_sms = one(app, "SELECT guestcomms.resolve_guest('sms', '+44 7700 900124')")
    assert one(app, "SELECT guestcomms.resolve_guest('whatsapp', '0044 7700 900124')") == by_sms
    assert one(app, "SELECT guestcomms.resolve_guest('chat', '+447700900124')") != by_sms


def test_membership_is_taken_once(store: Store) -> None:
    with store.connect(tenant=store.tenant_a) as superuser:
        superuser.execute("SELECT guestcomms.add_member('nobody_login'), guestcomms.add_member('nobody_login')")
        removed = [one(superuser, "SELECT guestcomms.remove_member('nobody_login')") for _ in range(2)]
    assert removed == [True, False]


def test_without_a_store_there_is_nothing_to_upgrade(store: Store) -> None:
    with store.connect() as superuser:
        superuser.execute("SELECT guestcomms.upgrade_store()")
        superuser.autocommit = False
        superuser.execute("DROP TABLE guestcomms_internal.store_migrations")
        with refused("55000"):
            superuser.execute("SELECT guestcomms.upgrade_store()")
        superuser.rollback()
