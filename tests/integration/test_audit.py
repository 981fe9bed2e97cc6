"""The audit trail: acts are written down, sealed into a chain per tenant, and whatever is done to
the chain afterwards is found, but for the erasure of contents."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection, Database
from tests.support.population import STORE_LEVEL
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store, create_tenants

ENTRIES = 6


@pytest.fixture(scope="module")
def sealed(store: Store) -> Store:
    """Tenant A's chain has some entries with contents and some without, all sealed."""
    with store.connect("operator_login", store.tenant_a) as operator:
        for number in range(ENTRIES // 2):
            operator.execute("SELECT guestcomms.set_setting('search.candidate_limit', %s)", [str(500 + number)])
            operator.execute("SELECT guestcomms.remove_member('app_login')")
            operator.execute("SELECT guestcomms.add_member('app_login')")
    with store.connect() as superuser:
        superuser.execute("SELECT guestcomms.seal_audit_trail()")
    return store


@pytest.fixture
def superuser(sealed: Store) -> Iterator[Connection]:
    """A transaction that is rolled back: what a test does to the trail is gone after it."""
    with sealed.connect(autocommit=False) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection
        connection.rollback()


def problems(connection: Connection, heads: object = None) -> set[UUID]:
    """The tenants whose chain is not sound."""
    found = rows(
        connection,
        "SELECT tenant_id, is_ok, problem IS NULL FROM guestcomms.verify_audit_trail(%s::jsonb)",
        None if heads is None else json.dumps(heads),
    )
    assert all(is_ok == is_without for _, is_ok, is_without in found)
    return {tenant for tenant, is_ok, _ in found if not is_ok}


def export_heads(connection: Connection) -> Any:
    return one(connection, "SELECT json_agg(h) FROM guestcomms.export_audit_heads() AS h")


def change(connection: Connection, query: LiteralString, *values: object) -> None:
    """A change that must hit rows, or it would prove nothing."""
    assert connection.execute(query, values).rowcount > 0


# What is written


def test_acts_are_written_down(new_database: Callable[[], Database], logins: None) -> None:
    store = create_tenants(new_database())
    acts: list[tuple[LiteralString, str, bool]] = [
        ("SELECT guestcomms.add_tenant('Another')", "add_tenant", False),
        ("SELECT guestcomms.add_member('nobody_login')", "add_member", True),
        ("SELECT guestcomms.remove_member('nobody_login')", "remove_member", True),
        ("SELECT guestcomms.set_setting('search.candidate_limit', '500')", "set_setting", True),
        ("SELECT guestcomms.set_setting('partitions.ahead', '4 months')", "set_setting", False),
        ("SELECT guestcomms.issue_token(guestcomms.current_tenant())", "issue_token", True),
        ("SELECT guestcomms.rotate_token_key()", "rotate_token_key", False),
        ("SELECT guestcomms.upgrade_store()", "upgrade_store", False),
    ]
    entries = (
        "SELECT entry_id, tenant_id, actor, acting_role, action, occurred_at <= clock_timestamp()"
        " FROM guestcomms.audit_entries WHERE sequence IS NULL"
    )
    with store.connect() as superuser, store.connect("operator_login") as operator:
        assert one(superuser, "SELECT count(*) FROM guestcomms.audit_entries") > 0
        for role in ("operator_login", "guestcomms_operator"):
            operator.execute("RESET guestcomms.context")
            if role != "operator_login":
                operator.execute(f"SET ROLE {role}")
            for query, action, is_tenants in acts:
                if is_tenants:
                    operator.execute("SELECT guestcomms.use_tenant(%s, true)", [store.tenant_a])
                before = {row[0] for row in rows(superuser, entries)}
                operator.execute(query)
                ((_, tenant, *found),) = [row for row in rows(superuser, entries) if row[0] not in before]
                assert found == ["operator_login", role, action, True]
                if action != "add_tenant":  # whose tenant is new
                    assert tenant == (store.tenant_a if is_tenants else STORE_LEVEL)
                operator.execute("RESET guestcomms.context")
        assert "create_store" in column(superuser, "SELECT action FROM guestcomms.audit_entries")


def test_an_act_that_is_rolled_back_is_not(superuser: Connection, sealed: Store) -> None:
    count = "SELECT count(*) FROM guestcomms.audit_entries"
    before = one(superuser, count)
    with sealed.connect("operator_login", sealed.tenant_a, autocommit=False) as operator:
        operator.execute("SELECT guestcomms.add_member('nobody_login')")
        operator.rollback()
    assert one(superuser, count) == before


# What is found


def test_a_sound_trail_is_sound(superuser: Connection, sealed: Store) -> None:
    assert problems(superuser) == set()
    assert problems(superuser, export_heads(superuser)) == set()
    found = rows(superuser, "SELECT tenant_id, entry_count FROM guestcomms.verify_audit_trail()")
    assert {tenant for tenant, _ in found} == {sealed.tenant_a, sealed.tenant_b, STORE_LEVEL}
    counts = rows(superuser, "SELECT tenant_id, count(*) FROM guestcomms.audit_entries GROUP BY tenant_id")
    assert dict(found) == dict(counts)


# By column: another value of its type.
EDITS: dict[str, LiteralString] = {
    "tenant_id": "gen_random_uuid()",
    "entry_id": "gen_random_uuid()",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "actor": "actor || 'x'",
    "acting_role": "''",
    "action": "upper(action)",
    "object": "object || ' '",
    "commitment": "sha256(coalesce(commitment, ''))",
    "sequence": "sequence + 1000",
    "previous_hash": "sha256(previous_hash)",
    "entry_hash": "sha256(entry_hash)",
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("sequence", [1, ENTRIES // 2, None])
def test_an_edit_is_found(superuser: Connection, sealed: Store, name: str, sequence: int | None) -> None:
    """Of the first entry, one in the middle, the last."""
    done = superuser.execute(
        f"UPDATE guestcomms.audit_entries SET {name} = {EDITS[name]}"
        " WHERE tenant_id = %(tenant)s AND sequence = coalesce(%(sequence)s, (SELECT h.sequence"
        " FROM guestcomms.audit_heads AS h WHERE h.tenant_id = %(tenant)s))",
        {"tenant": sealed.tenant_a, "sequence": sequence},
    )
    assert done.rowcount == 1
    assert sealed.tenant_a in problems(superuser)


def test_every_column_is_edited(superuser: Connection) -> None:
    columns = column(
        superuser,
        "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
        " AND attrelid = 'guestcomms.audit_entries'::regclass",
    )
    assert set(columns) == set(EDITS)


@pytest.mark.parametrize("edit", ["NULL", "''"])
def test_no_commitment_is_not_an_empty_one(superuser: Connection, sealed: Store, edit: LiteralString) -> None:
    condition: LiteralString = "IS NOT NULL" if edit == "NULL" else "IS NULL"
    change(
        superuser,
        f"UPDATE guestcomms.audit_entries SET commitment = {edit} WHERE tenant_id = %s AND commitment {condition}",
        sealed.tenant_a,
    )
    superuser.execute("DELETE FROM guestcomms.audit_contents")
    assert problems(superuser) == {sealed.tenant_a}


def test_an_edit_with_a_hash_of_its_own_is_found(superuser: Connection, sealed: Store) -> None:
    """The entry is sound by itself; the next one does not follow it."""
    change(
        superuser,
        "UPDATE guestcomms.audit_entries SET actor = 'somebody_else',"
        " entry_hash = guestcomms_internal.audit_hash(tenant_id, sequence, entry_id, occurred_at,"
        " 'somebody_else', acting_role, action, object, commitment, previous_hash)"
        " WHERE tenant_id = %s AND sequence = 3",
        sealed.tenant_a,
    )
    assert problems(superuser) == {sealed.tenant_a}


@pytest.mark.parametrize("sequences", [[1], [3], [2, 3], [1, 2, 3]])
def test_a_deletion_is_found(superuser: Connection, sealed: Store, sequences: list[int]) -> None:
    change(
        superuser,
        "DELETE FROM guestcomms.audit_entries WHERE tenant_id = %s AND sequence = ANY (%s)",
        *(sealed.tenant_a, sequences),
    )
    assert problems(superuser) == {sealed.tenant_a}


def test_a_closed_gap_is_found(superuser: Connection, sealed: Store) -> None:
    """What follows a deleted entry moves up, and the head with it."""
    tenant = sealed.tenant_a
    change(
        superuser,
        "DELETE FROM guestcomms.audit_entries WHERE tenant_id = %s AND sequence = 3",
        tenant,
    )
    for table in ("audit_entries", "audit_heads"):
        # Twice, for the numbers are unique at every moment.
        for step in ("sequence + 1000", "sequence - 1001"):
            superuser.execute(
                f"UPDATE guestcomms.{table} SET sequence = {step} WHERE tenant_id = %s AND sequence > 3",
                [tenant],
            )
    assert problems(superuser) == {tenant}


def test_a_swap_is_found(superuser: Connection, sealed: Store) -> None:
    for old, new in ((2, 1000), (3, 2), (1000, 3)):
        change(
            superuser,
            "UPDATE guestcomms.audit_entries SET sequence = %s WHERE tenant_id = %s AND sequence = %s",
            *(new, sealed.tenant_a, old),
        )
    assert problems(superuser) == {sealed.tenant_a}


CUT = "DELETE FROM guestcomms.audit_entries WHERE tenant_id = %s AND sequence > %s"
CUT_HEAD = """
UPDATE guestcomms.audit_heads AS h SET sequence = e.sequence, entry_hash = e.entry_hash
FROM guestcomms.audit_entries AS e
WHERE h.tenant_id = e.tenant_id AND e.tenant_id = %s AND e.sequence = %s
"""


def test_a_cut_is_found(superuser: Connection, sealed: Store) -> None:
    change(superuser, CUT, sealed.tenant_a, 3)
    assert problems(superuser) == {sealed.tenant_a}


def test_a_cut_of_all_is_found(superuser: Connection, sealed: Store) -> None:
    change(superuser, CUT, sealed.tenant_a, 0)
    assert problems(superuser) == {sealed.tenant_a}


def test_a_lost_head_is_found(superuser: Connection, sealed: Store) -> None:
    change(superuser, "DELETE FROM guestcomms.audit_heads WHERE tenant_id = %s", sealed.tenant_a)
    assert problems(superuser) == {sealed.tenant_a}


@pytest.mark.parametrize("left", [0, 3])
def test_a_cut_with_its_head_is_found_by_the_exported_one(superuser: Connection, sealed: Store, left: int) -> None:
    heads = export_heads(superuser)
    change(superuser, CUT, sealed.tenant_a, left)
    if left:
        change(superuser, CUT_HEAD, sealed.tenant_a, left)
    else:
        change(superuser, "DELETE FROM guestcomms.audit_heads WHERE tenant_id = %s", sealed.tenant_a)
    assert problems(superuser) == set()
    assert problems(superuser, heads) == {sealed.tenant_a}


def test_a_rewritten_chain_is_found_by_the_exported_head(superuser: Connection, sealed: Store) -> None:
    """Whoever may write the tables may seal again what was changed."""
    heads = export_heads(superuser)
    tenant = sealed.tenant_a
    change(
        superuser,
        "UPDATE guestcomms.audit_entries SET actor = 'somebody_else' WHERE tenant_id = %s AND sequence = 2",
        tenant,
    )
    change(
        superuser,
        "UPDATE guestcomms.audit_entries SET sequence = NULL, previous_hash = NULL, entry_hash = NULL WHERE tenant_id = %s",
        tenant,
    )
    change(superuser, "DELETE FROM guestcomms.audit_heads WHERE tenant_id = %s", tenant)
    assert one(superuser, "SELECT guestcomms.seal_audit_trail()") == len(
        column(superuser, "SELECT 1 FROM guestcomms.audit_entries WHERE tenant_id = %s", tenant)
    )
    assert problems(superuser) == set()
    assert problems(superuser, heads) == {tenant}


def test_heads_exported_earlier_stay_good(superuser: Connection, sealed: Store) -> None:
    heads = export_heads(superuser)
    superuser.execute("SELECT guestcomms_internal.record_audit(%s, 'act', 'object')", [sealed.tenant_a])
    assert one(superuser, "SELECT guestcomms.seal_audit_trail()") == 1
    assert problems(superuser, heads) == set()
    assert problems(superuser, heads + export_heads(superuser)) == set()


# Contents


@pytest.mark.parametrize("edit", ['content = \'{"value": "501"}\'', "content = 'null'", "salt = sha256(salt)"])
def test_a_changed_content_is_found(superuser: Connection, sealed: Store, edit: LiteralString) -> None:
    change(
        superuser,
        f"UPDATE guestcomms.audit_contents SET {edit} WHERE (tenant_id, entry_id) ="
        " (SELECT e.tenant_id, e.entry_id FROM guestcomms.audit_entries AS e WHERE tenant_id = %s"
        " AND action = 'set_setting' ORDER BY sequence LIMIT 1)",
        sealed.tenant_a,
    )
    assert problems(superuser) == {sealed.tenant_a}


def test_an_added_content_is_found(superuser: Connection, sealed: Store) -> None:
    change(
        superuser,
        "INSERT INTO guestcomms.audit_contents (tenant_id, entry_id, salt, content)"
        " SELECT e.tenant_id, e.entry_id, '', '{}' FROM guestcomms.audit_entries AS e"
        " WHERE e.tenant_id = %s AND e.commitment IS NULL",
        sealed.tenant_a,
    )
    assert problems(superuser) == {sealed.tenant_a}


def test_contents_can_be_erased(superuser: Connection, sealed: Store) -> None:
    change(superuser, "DELETE FROM guestcomms.audit_contents")
    assert problems(superuser, export_heads(superuser)) == set()


def test_equal_contents_have_different_commitments(superuser: Connection, sealed: Store) -> None:
    """Else whoever guesses a content could prove it after its erasure."""
    for _ in range(2):
        superuser.execute("SELECT guestcomms_internal.record_audit(%s, 'act', 'object', '{}')", [sealed.tenant_a])
    commitments = column(superuser, "SELECT commitment FROM guestcomms.audit_entries WHERE action = 'act'")
    assert len(commitments) == len(set(commitments)) == 2


# Who sees it


def test_a_tenant_sees_its_own_chain_only(sealed: Store) -> None:
    with sealed.connect("operator_login", sealed.tenant_a) as operator:
        operator.execute("SELECT guestcomms.add_member('privacy_login')")
    queries: list[LiteralString] = [
        "SELECT tenant_id FROM guestcomms.export_audit_heads()",
        "SELECT tenant_id FROM guestcomms.verify_audit_trail()",
    ]
    heads = json.dumps(export_heads(sealed.connect()))
    for login in ("privacy_login", "operator_login"):
        with sealed.connect(login, sealed.tenant_a) as connection:
            for query in queries:
                assert column(connection, query) == [sealed.tenant_a]
            given_heads = column(connection, "SELECT tenant_id FROM guestcomms.verify_audit_trail(%s)", heads)
            assert set(given_heads) == {sealed.tenant_a}
    with sealed.connect("privacy_login") as privacy, sealed.connect("operator_login") as operator:
        for query in queries:
            with refused("GC001"):
                column(privacy, query)
            assert len(set(column(operator, query))) == 3
    for login in ("app_login", "analyst_login", "issuer_login", "nobody_login"):
        with sealed.connect(login) as connection:
            for query in [*queries, "SELECT guestcomms.seal_audit_trail()"]:
                with refused("42501"):
                    column(connection, query)


# Sealing


def test_concurrent_sealing(new_database: Callable[[], Database], logins: None) -> None:
    """Two that seal in small batches while others write and roll back."""
    store = create_tenants(new_database())
    writers, acts = 3, 25

    def write(number: int) -> None:
        with store.connect(autocommit=False) as connection:
            for act in range(acts):
                for tenant in (store.tenant_a, store.tenant_b):
                    connection.execute(
                        "SELECT guestcomms_internal.record_audit(%s, 'act', %s, %s)",
                        [tenant, f"{number}-{act}", "{}" if act % 2 else None],
                    )
                if act % 5 == 4:
                    connection.rollback()
                connection.commit()

    def seal(written: list[Any]) -> int:
        total = 0
        with store.connect() as connection:
            while True:
                is_over = all(future.done() for future in written)
                count: int = one(connection, "SELECT guestcomms.seal_audit_trail(7)")
                total += count
                if is_over and count == 0:
                    return total

    with ThreadPoolExecutor() as pool:
        written = [pool.submit(write, number) for number in range(writers)]
        sealing = [pool.submit(seal, written) for _ in range(2)]
        for future in written:
            future.result()
        total = sum(future.result() for future in sealing)

    with store.connect() as superuser:
        entries = rows(superuser, "SELECT tenant_id, sequence FROM guestcomms.audit_entries")
        for tenant in (store.tenant_a, store.tenant_b):
            own = sorted(sequence for owner, sequence in entries if owner == tenant)
            assert own == list(range(1, len(own) + 1))
            assert len(own) >= writers * acts * 4 // 5
        assert total == len(entries)
        assert problems(superuser, export_heads(superuser)) == set()


def test_an_old_snapshot_seals_nothing_twice(new_database: Callable[[], Database], logins: None) -> None:
    store = create_tenants(new_database())
    with store.connect(autocommit=False) as old, store.connect() as superuser:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        one(old, "SELECT count(*) FROM guestcomms.audit_entries")
        assert one(superuser, "SELECT guestcomms.seal_audit_trail()") > 0
        with refused("40001"):
            one(old, "SELECT guestcomms.seal_audit_trail()")
        old.rollback()
        assert problems(superuser) == set()
        assert one(superuser, "SELECT guestcomms.seal_audit_trail()") == 0


# The bytes that are hashed


def test_fields_can_be_told_apart(superuser: Connection) -> None:
    """From what length_prefixed() gives, the fields can be read again: no two lists give the
    same."""

    @settings(deadline=None)
    @given(st.lists(st.none() | st.binary(max_size=300), min_size=1, max_size=12))
    def reads_again(fields: list[bytes | None]) -> None:
        joined = one(
            superuser,
            "SELECT guestcomms_internal.length_prefixed(VARIADIC %s::bytea[])",
            fields,
        )
        found: list[bytes | None] = []
        while joined:
            (length,) = struct.unpack(">i", joined[:4])
            found.append(None if length < 0 else joined[4 : 4 + length])
            joined = joined[4 + max(length, 0) :]
        assert found == fields

    reads_again()
