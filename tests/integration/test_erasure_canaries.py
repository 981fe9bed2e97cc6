"""Gone means gone: words planted in every place a guest's text can get to, by the catalog, are found nowhere afterwards; nor in a
backup from before, once the ledger is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.canaries import COLUMNS, Planted, clean, plant, scan, scan_indexes
from tests.support.database import Database, fresh_database
from tests.support.erasure import erase, progress, receipt
from tests.support.programs import run
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store, create_tenants

# Columns of the catalog's list in which no free text can be, and why.
WITHOUT_TEXT = {
    "guestcomms.guests.language": "a code",
    "guestcomms.guests.timezone": "one of the server's",
    "guestcomms.wedding_guests.rsvp": "a keyword",
    "guestcomms.message_events.kind": "a keyword",
    "guestcomms.attachment_removals.uri": "comes with the erasure",
    "guestcomms.suggestion_prefixes.prefix": "three characters",
    "guestcomms_bi.dim_guest.locale": "a code",
    "guestcomms_bi.dim_guest.timezone": "one of the server's",
    "guestcomms_bi.dim_guest.rsvp": "a keyword",
    "guestcomms_bi.fact_message_event.kind": "a keyword",
    "guestcomms_internal.export_fragments.file_name": "made by the export",
    "guestcomms_internal.erasure_words.word": "comes with the erasure",
}


@dataclass
class Aftermath:
    """A store whose guest was erased, and a dump from before."""

    archive: Archive
    planted: Planted
    dump: Path
    before: dict[str, set[str]]
    indexes_before: dict[str, set[str]]
    erasure: UUID
    key: str
    ledger: object


@pytest.fixture(scope="module")
def erased(db: Database, logins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    store = create_tenants(db)
    with Archive(store) as archive:
        root = archive.root
        root.execute("CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA testing")
        root.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA testing")
        archive.policy(older_than="100 days")
        other = archive.guest("Somebody Else")
        for days in (300, 20):
            archive.write(other, archive.thread(other), days, body="seating of somebody else")
        planted = plant(archive)
        root.execute("ANALYZE")
        before = scan(root, planted.words)
        indexes_before = scan_indexes(root, planted.words)
        dump = tmp_path_factory.mktemp("dump") / "store.dump"
        dump.write_bytes(run(db.cluster, "pg_dump", "-Fc", db.dsn()))
        erasure = erase(root, planted.guest_id)
        clean(root)
        operator = store.connect("operator_login")
        key = one(operator, "SELECT guestcomms.export_erasure_key()")
        ledger = one(operator, "SELECT guestcomms.export_erasure_ledger()")
        yield Aftermath(archive, planted, dump, before, indexes_before, erasure, key, ledger)


def test_words_were_in_every_column_that_can_hold_them(erased: Aftermath) -> None:
    columns = column(erased.archive.root, COLUMNS.encode())
    # A partition's column counts for its table's.
    found = {place for place in columns if place in erased.before} | {
        f"{table}.{name}"
        for place in erased.before
        for table, name in [place.rsplit(".", 1)]
        for table in [table.split("_p20")[0].removesuffix("_default")]
    }
    assert set(columns) - found == set(WITHOUT_TEXT)
    assert {word for words in erased.before.values() for word in words} >= set(erased.planted.words)
    assert any("messages" in name for name in erased.indexes_before)
    assert any("archive_segments" in name for name in erased.indexes_before)


def test_it_was_done_within_the_call(erased: Aftermath) -> None:
    told = progress(erased.archive.root, erased.erasure)
    assert (told["status"], told["stage"], told["held_count"]) == ("done", None, 0)
    found = receipt(erased.archive.root, erased.erasure)
    assert {place: row["left_count"] for place, row in found.items() if row["left_count"]} == {}
    assert all(row["verified_at"] is not None for row in found.values() if row["left_count"] is not None)
    assert any("messages_p" in place for place in found), "the detached partition is in the receipt"


def test_no_word_is_found_anywhere(erased: Aftermath) -> None:
    assert scan(erased.archive.root, erased.planted.words) == {}


def test_no_index_has_a_word_as_a_key(erased: Aftermath) -> None:
    assert scan_indexes(erased.archive.root, erased.planted.words) == {}


def test_the_other_guest_is_there(erased: Aftermath) -> None:
    found = column(erased.archive.root, "SELECT message_id FROM guestcomms.search_messages('somebody seating')")
    assert len(found) == 2
    assert erased.archive.damage() == []


def test_the_audit_trail_holds_and_says_nothing(erased: Aftermath) -> None:
    root = erased.archive.root
    one(root, "SELECT guestcomms.seal_audit_trail()")
    assert all(row[0] for row in rows(root, "SELECT is_ok FROM guestcomms.verify_audit_trail()"))
    actions = column(root, "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s", erased.archive.tenant)
    assert {"erase_guest", "finish_erasure", "erase_export"} <= set(actions)


def test_what_carried_the_messages_is_to_be_told(erased: Aftermath) -> None:
    told: dict[str, int] = dict(rows(erased.archive.root, "SELECT * FROM guestcomms.list_erasure_recipients(%s)", erased.erasure))
    assert told["mailgun email"] == 4


@pytest.fixture(scope="module")
def restored(erased: Aftermath) -> Iterator[Store]:
    cluster = erased.archive.store.database.cluster
    with fresh_database(cluster, None) as database:
        run(cluster, "pg_restore", "--exit-on-error", "-d", database.dsn(), str(erased.dump))
        store = erased.archive.store
        yield Store(database, store.tenant_a, store.tenant_b)


def test_a_restored_backup_is_closed_until_the_ledger_is_applied(erased: Aftermath, restored: Store) -> None:
    tenant = erased.archive.tenant
    app = restored.connect("app_login")
    with refused("55000"):
        app.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    token = one(restored.connect("issuer_login"), "SELECT guestcomms.issue_token(%s)", tenant)
    with refused("55000"):
        app.execute("SELECT guestcomms.use_token(%s)", [token])
    operator = restored.connect("operator_login")
    operator.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    operator.execute("SELECT guestcomms.add_member('analyst_login')")
    operator.execute("RESET guestcomms.context")
    analyst, weddings = restored.connect("analyst_login"), "SELECT count(*) FROM guestcomms_bi.dim_wedding"
    assert one(analyst, weddings) == 0
    operator.execute("SELECT guestcomms.grant_all_tenants('analyst_login')")
    assert one(analyst, weddings) == 0
    replay = "SELECT is_complete FROM guestcomms.replay_erasures(%s)"
    # The restored store has a key of its own, by which nobody can be found.
    with refused("55000"):
        operator.execute(replay, [Jsonb(erased.ledger)])
    operator.execute("SELECT guestcomms.restore_erasure_key(%s)", [erased.key])
    calls = 0
    while not one(operator, replay, Jsonb(erased.ledger)):
        calls += 1
        assert calls < 20
    root = restored.connect(tenant=tenant)
    clean(root)
    root.execute("CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA testing")
    assert scan(root, erased.planted.words) == {}
    assert scan_indexes(root, erased.planted.words) == {}
    assert one(analyst, weddings) > 0
    operator.execute("SELECT guestcomms.revoke_all_tenants('analyst_login')")
    app.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    assert len(column(app, "SELECT message_id FROM guestcomms.search_messages('somebody seating')")) == 2
    assert [row[0] for row in rows(root, "SELECT is_replay FROM guestcomms.get_erasure_progress()")] == [True]
    # Who objected before is obeyed, also here.
    guest = one(app, "SELECT guestcomms.resolve_guest('email', %s)", f"{erased.planted.words[2]}@example.com")
    query = "SELECT purpose, is_granted, source FROM guestcomms.consents WHERE guest_id = %s ORDER BY purpose"
    assert rows(root, query, guest) == [("marketing", False, "suppression"), ("service", False, "suppression")]
