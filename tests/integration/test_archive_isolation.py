"""What one tenant archived is nobody else's: identifiers of another are unknown ones, rows are out of sight, and neither errors,
the planner's statistics nor the audit trail tell a word of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows, told
from tests.support.store import Store

CANARY = "kestrelcanary"


@dataclass(frozen=True)
class Named:
    """Of a tenant, or of nobody."""

    message: UUID
    thread: UUID
    guest: UUID
    run: UUID
    hold: UUID
    key: str

    @classmethod
    def unknown(cls) -> Named:
        return cls(uuid4(), uuid4(), uuid4(), uuid4(), uuid4(), "nobody's key")


@pytest.fixture(scope="module")
def foreign(store: Store) -> Iterator[Archive]:
    """With archived messages that hold the canary, and more of them that are hot."""
    with Archive(store, "Theirs") as archive:
        guest = archive.guest(f"Zoë {CANARY}")
        thread = archive.thread(guest)
        for n in range(30):
            message = archive.write(
                guest, thread, 300 - n, body=f"{CANARY} {n}", author=CANARY, subject=CANARY, external_id=f"key {n}"
            )
            archive.detail(message)
        archive.write(guest, thread, 0.5, body=f"{CANARY} hot")
        archive.policy()
        archive.archive()
        yield archive


@pytest.fixture(scope="module")
def theirs(foreign: Archive) -> Named:
    message, thread, guest = foreign.root.execute(
        "SELECT message_ids[1], thread_ids[1], guest_id FROM guestcomms.archive_segments WHERE tenant_id = %s", [foreign.tenant]
    ).fetchall()[0]
    hold = one(foreign.root, "SELECT guestcomms.place_hold('{}', %s)", f"file {CANARY}")
    key = one(foreign.root, "SELECT external_id FROM guestcomms.message_keys WHERE tenant_id = %s LIMIT 1", foreign.tenant)
    return Named(
        message, thread, guest, one(foreign.root, "SELECT run_id FROM guestcomms.list_archive_runs() LIMIT 1"), hold, key
    )


@pytest.fixture(scope="module")
def ours(store: Store) -> Iterator[Archive]:
    with Archive(store, "Ours") as archive:
        archive.write_many(3)
        archive.policy()
        archive.archive()
        yield archive


CALLS = [
    "SELECT * FROM guestcomms.read_archived(%(message)s)",
    "SELECT guestcomms.restore_messages(ARRAY[%(message)s]::uuid[])",
    "SELECT guestcomms.restore_messages(thread_id => %(thread)s)",
    "SELECT guestcomms.restore_messages(guest_id => %(guest)s)",
    "SELECT * FROM guestcomms.search_messages('', thread_id => %(thread)s)",
    "SELECT * FROM guestcomms.search_messages('', guest_id => %(guest)s)",
    "SELECT * FROM guestcomms.count_matches('', guest_id => %(guest)s)",
    "SELECT guestcomms.record_event(%(message)s, 'opened')",
    "SELECT guestcomms.record_event(external_id => %(key)s, kind => 'opened')",
    "SELECT guestcomms.undo_archive(%(run)s)",
    "SELECT guestcomms.release_hold(%(hold)s)",
    "SELECT guestcomms.place_hold(jsonb_build_object('guest_id', %(guest)s::uuid), 'x')",
    "SELECT guestcomms.place_hold(jsonb_build_object('thread_id', %(thread)s::uuid), 'x')",
]


def answer(connection: Connection, call: LiteralString, named: Named) -> object:
    """The rows, or the SQLSTATE; what it changed is taken back."""
    values = vars(named)
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(call, values).fetchall()
    except psycopg.Error as error:
        return error.sqlstate, CANARY in told(error)


@pytest.mark.parametrize("call", CALLS)
def test_identifiers_of_another_tenant_are_unknown(ours: Archive, foreign: Archive, theirs: Named, call: LiteralString) -> None:
    before = foreign.snapshot(), foreign.segments()
    assert answer(ours.root, call, theirs) == answer(ours.root, call, Named.unknown())
    assert (foreign.snapshot(), foreign.segments()) == before
    assert answer(foreign.root, call, theirs) != answer(foreign.root, call, Named.unknown())


def test_one_tenant_s_runs_and_lists_are_its_own(ours: Archive, foreign: Archive, theirs: Named) -> None:
    before = foreign.snapshot(), foreign.segments()
    ours.policy("everything", older_than="0")
    ours.archive()
    lists: list[LiteralString] = [
        "SELECT run_id FROM guestcomms.list_archive_runs()",
        "SELECT policy_id FROM guestcomms.list_archive_policies()",
        "SELECT segment_id FROM guestcomms.verify_archive()",
        "SELECT guest_count FROM guestcomms.preview_archive()",
    ]
    for query in lists:
        assert column(ours.root, query)
        assert not set(column(ours.root, query)) & set(column(foreign.root, query)) - {0}, query
    assert rows(ours.root, "SELECT * FROM guestcomms.list_holds(true)") == []
    assert one(ours.root, "SELECT guestcomms.restore_messages(since => '-infinity')") == 3
    assert (foreign.snapshot(), foreign.segments()) == before
    assert rows(ours.root, "SELECT * FROM guestcomms.search_messages(%s)", CANARY) == []
    assert len(rows(foreign.root, "SELECT * FROM guestcomms.search_messages(%s, max_rows => 50)", CANARY)) == 31


# Who may

OPERATOR_CALLS = [
    "SELECT guestcomms.run_archive()",
    "CALL guestcomms.run_archive_batches()",
    "SELECT guestcomms.add_archive_policy('x', '1 day')",
    "SELECT guestcomms.remove_archive_policy('x')",
    "SELECT guestcomms.list_archive_policies()",
    "SELECT guestcomms.preview_archive()",
    "SELECT guestcomms.list_archive_runs()",
    "SELECT guestcomms.undo_archive(gen_random_uuid())",
    "SELECT guestcomms.verify_archive()",
    "SELECT guestcomms.place_hold('{}', 'x')",
    "SELECT guestcomms.release_hold(gen_random_uuid())",
    "SELECT guestcomms.list_holds()",
    "SELECT guestcomms.train_archive_dictionary()",
    "SELECT guestcomms.check_codec_predictions()",
    "SELECT guestcomms.train_codec_predictor()",
    "SELECT guestcomms_internal.move_to_archive(gen_random_uuid(), '{}', '{}', 'auto')",
    "SELECT guestcomms_internal.read_segment(gen_random_uuid(), gen_random_uuid())",
    "SELECT guestcomms_internal.release_empty_months()",
]


@pytest.mark.parametrize("call", OPERATOR_CALLS)
def test_applications_do_not_archive(foreign: Archive, call: LiteralString) -> None:
    with foreign.store.connect("app_login", foreign.tenant) as app, refused("42501"):
        app.execute(call)


@pytest.mark.parametrize(
    "call", [*OPERATOR_CALLS[:-3], "SELECT guestcomms.read_archived(gen_random_uuid())", *OPERATOR_CALLS[-3:]]
)
def test_analysts_and_others_do_nothing(foreign: Archive, call: LiteralString) -> None:
    for login in ("analyst_login", "nobody_login", "issuer_login"):
        with foreign.store.connect(login) as connection, refused("42501"):
            connection.execute(call)


def tables(connection: Connection) -> list[str]:
    """All of the archive's, with every partition."""
    return column(
        connection,
        "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relkind IN ('r', 'p')"
        " AND c.relnamespace IN ('guestcomms'::regnamespace, 'guestcomms_internal'::regnamespace)"
        " AND (c.relname ~ '^archive_' OR c.relname IN ('legal_holds', 'late_details')) AND c.relname !~ 'template'",
    )


def test_every_partition_is_closed(foreign: Archive) -> None:
    names = tables(foreign.root)
    assert sum("archive_segments_" in name for name in names) > 2
    closed = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = %s::regclass"
    assert all(one(foreign.root, closed, name) for name in names)
    for login in ("app_login", "other_app_login", "analyst_login", "privacy_login", "nobody_login"):
        with foreign.store.connect(login) as connection:
            for name in names:
                with refused("42501"):
                    connection.execute(f"SELECT * FROM {name}".encode())


def test_policies_hold_back_even_the_owner(foreign: Archive, ours: Archive) -> None:
    """Functions run as the owner; here it comes as a member, so that only the policies hold it back."""
    ours.root.execute("SELECT guestcomms.add_member('guestcomms_owner')")
    with ours.store.connect() as owner:
        owner.execute("SET ROLE guestcomms_owner")
        owner.execute("SELECT guestcomms.use_tenant(%s, true)", [ours.tenant])
        for name in tables(foreign.root):
            assert set(column(owner, f"SELECT tenant_id FROM {name}".encode())) <= {ours.tenant}, name
        assert column(owner, "SELECT tenant_id FROM guestcomms.archive_runs")


# Where a word could be


def texts(connection: Connection, query: LiteralString) -> str:
    return " ".join(str(row) for row in rows(connection, query))


def test_the_planner_s_statistics_hold_no_text(foreign: Archive) -> None:
    foreign.root.execute("ANALYZE guestcomms.archive_segments")
    assert texts(foreign.root, "SELECT tablename FROM pg_stats WHERE tablename LIKE 'archive\\_segments%'")
    kept = texts(foreign.root, "SELECT * FROM pg_stats WHERE tablename LIKE 'archive\\_segments%'")
    assert CANARY[:6] not in kept
    content = "SELECT attname FROM pg_stats WHERE tablename LIKE 'archive\\_segments%' AND attname IN ('payload', 'search')"
    assert rows(foreign.root, content) == []


def test_the_audit_trail_holds_no_text(foreign: Archive) -> None:
    assert "run_archive" in texts(foreign.root, "SELECT * FROM guestcomms.audit_entries")
    assert CANARY not in texts(foreign.root, "SELECT * FROM guestcomms.audit_entries")
    assert CANARY not in texts(foreign.root, "SELECT * FROM guestcomms.archive_runs")


@pytest.mark.parametrize(
    "damage",
    [
        "payload = set_byte(payload, 30, 255 - get_byte(payload, 30))",
        "payload = substr(payload, 1, 60)",
        "plain_sha256 = sha256('x')",
        "payload = '\\x00', stored_sha256 = sha256('\\x00')",
        "codec = CASE codec WHEN 'gzip' THEN 'stored' ELSE 'gzip' END, dictionary_id = NULL",
    ],
)
def test_errors_of_a_damaged_segment_hold_no_text(foreign: Archive, damage: str) -> None:
    """Stored as it is, so that a piece of it would be readable."""
    with foreign.store.connect(tenant=foreign.tenant) as root, root.transaction(force_rollback=True):
        break_and_read(foreign, root, damage)


def break_and_read(foreign: Archive, root: Connection, damage: str) -> None:
    root.execute("SELECT guestcomms.add_archive_policy('old', older_than => '1 day', codec => 'stored')")
    root.execute("SELECT guestcomms.restore_messages(since => '-infinity')")
    root.execute("SELECT guestcomms.run_archive()")
    root.execute(f"UPDATE guestcomms.archive_segments SET {damage} WHERE tenant_id = %s".encode(), [foreign.tenant])
    message = one(root, "SELECT message_ids[1] FROM guestcomms.archive_segments WHERE tenant_id = %s LIMIT 1", foreign.tenant)
    calls: list[LiteralString] = ["SELECT guestcomms.read_archived(%s)", "SELECT guestcomms.restore_messages(ARRAY[%s::uuid])"]
    for call in calls:
        with refused("XX001") as caught, root.transaction():
            root.execute(call, [message])
        assert CANARY not in told(caught.value)
    checks = rows(root, "SELECT is_ok, detail FROM guestcomms.verify_archive()")
    assert checks
    assert not any(row[0] or CANARY in row[1] for row in checks)
    assert CANARY not in texts(root, "SELECT * FROM guestcomms.archive_checks")
