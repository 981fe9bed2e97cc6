"""grant_all_tenants() and revoke_all_tenants(): for operators, of roles that are not ours, noted in the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from psycopg import sql

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

LOGIN = 'bi "tool"'
ACTIONS = """
SELECT action, object, actor, acting_role FROM guestcomms.audit_entries
WHERE action LIKE '%_all_tenants' ORDER BY occurred_at
"""
MEMBERS = "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'guestcomms_all_tenants'::regrole"
OWN_ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'guestcomms%'"


@pytest.fixture(scope="module")
def filled(store: Store) -> Iterator[Store]:
    root = store.connect()
    root.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(LOGIN)))
    while one(root, "SELECT guestcomms.refresh_warehouse()"):
        pass
    yield store
    store.database.close()
    with store.connect() as dropping:
        dropping.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(LOGIN)))


@pytest.fixture
def operator(filled: Store) -> Iterator[Connection]:
    """Leaves the login without what a test gave it."""
    operator = filled.connect("operator_login")
    yield operator
    operator.execute("SELECT guestcomms.revoke_all_tenants(%s)", [LOGIN])


def seen(connection: Connection) -> set[UUID]:
    return set(column(connection, "SELECT tenant_id FROM guestcomms_bi.dim_tenant"))


def test_granted_and_revoked_at_once(filled: Store, operator: Connection) -> None:
    reader, both = filled.connect(LOGIN), {filled.tenant_a, filled.tenant_b}
    with refused("42501"):
        seen(reader)
    operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    assert seen(reader) == both
    assert set(one(reader, "SELECT guestcomms.visible_tenants()")) == both
    assert one(reader, "SELECT count(*) FROM guestcomms_bi.agg_message_day_all") == 0
    # As an analyst it is a member of none, and of what is not for analysts it sees nothing at all.
    for table in ("tenants", "messages", "guests"):
        with refused("42501"):
            reader.execute(f"SELECT FROM guestcomms.{table}".encode())
    operator.execute("SELECT guestcomms.revoke_all_tenants(%s)", [LOGIN])
    with refused("42501"):
        seen(reader)
    with refused("42501"):
        reader.execute("SELECT FROM guestcomms_bi.agg_message_day_all")


def test_what_was_there_before_stays(filled: Store, operator: Connection) -> None:
    """An analyst of one tenant is one again."""
    root = filled.connect(tenant=filled.tenant_a)
    login = sql.Identifier(LOGIN)
    root.execute(sql.SQL("GRANT guestcomms_analyst TO {}").format(login))
    root.execute("SELECT guestcomms.add_member(%s)", [LOGIN])
    reader = filled.connect(LOGIN)
    assert seen(reader) == {filled.tenant_a}
    operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    assert seen(reader) == {filled.tenant_a, filled.tenant_b}
    # With a tenant open it sees that one, and no sums over all.
    reader.execute("SELECT guestcomms.use_tenant(%s, true)", [filled.tenant_a])
    assert seen(reader) == {filled.tenant_a}
    reader.execute("RESET guestcomms.context")
    assert seen(reader) == {filled.tenant_a, filled.tenant_b}
    # To see is not to be a member: another's tenant is not opened.
    with refused("42501"):
        reader.execute("SELECT guestcomms.use_tenant(%s, true)", [filled.tenant_b])
    operator.execute("SELECT guestcomms.revoke_all_tenants(%s)", [LOGIN])
    assert seen(reader) == {filled.tenant_a}
    root.execute("SELECT guestcomms.remove_member(%s)", [LOGIN])
    root.execute(sql.SQL("REVOKE guestcomms_analyst FROM {}").format(login))


def test_sums_are_hidden_while_a_tenant_is_open(filled: Store, operator: Connection) -> None:
    root = filled.connect(tenant=filled.tenant_a)
    guest = one(root, "SELECT guestcomms.add_guest('G')")
    root.execute("SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'X')", [guest])
    root.execute("SELECT guestcomms.add_member(%s)", [LOGIN])
    while one(operator, "SELECT guestcomms.refresh_warehouse()"):
        pass
    operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    reader = filled.connect(LOGIN)
    count = "SELECT sum(message_count) FROM guestcomms_bi.agg_message_day_all"
    assert one(reader, count) == 1
    reader.execute("SELECT guestcomms.use_tenant(%s, true)", [filled.tenant_a])
    assert one(reader, count) is None
    root.execute("SELECT guestcomms.remove_member(%s)", [LOGIN])


@pytest.mark.parametrize("function", ["grant_all_tenants", "revoke_all_tenants"])
@pytest.mark.parametrize("login", ["app_login", "analyst_login", "privacy_login", "issuer_login", "nobody_login", LOGIN])
def test_only_operators_may(filled: Store, login: str, function: str) -> None:
    connection, root = filled.connect(login), filled.connect()
    before = rows(root, MEMBERS)
    for role in (login, LOGIN):
        with refused("42501"):
            connection.execute(f"SELECT guestcomms.{function}(%s)".encode(), [role])
    with refused("42501", "0LP01"):
        connection.execute(sql.SQL("GRANT guestcomms_all_tenants TO {}").format(sql.Identifier(login)))
    assert rows(root, MEMBERS) == before


def test_who_has_it_may_not_pass_it_on(filled: Store, operator: Connection) -> None:
    operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    reader = filled.connect(LOGIN)
    for statement in ("GRANT guestcomms_all_tenants TO nobody_login", "SELECT guestcomms.grant_all_tenants('nobody_login')"):
        with refused("42501"):
            reader.execute(statement.encode())


@pytest.mark.parametrize("function", ["grant_all_tenants", "revoke_all_tenants"])
def test_unknown_roles_and_our_own_are_refused(filled: Store, operator: Connection, function: str) -> None:
    root = filled.connect()
    before, noted = rows(root, MEMBERS), rows(root, ACTIONS)
    ours = column(root, OWN_ROLES)
    assert len(ours) == 8
    for role in (*ours, "nowhere", "", "public", "PUBLIC", f"nobody_login, {LOGIN}", None):
        with refused("42704"):
            operator.execute(f"SELECT guestcomms.{function}(%s)".encode(), [role])
    assert rows(root, MEMBERS) == before
    assert rows(root, ACTIONS) == noted


def test_both_are_noted_and_the_trail_holds(filled: Store) -> None:
    root = filled.connect()
    known = len(rows(root, ACTIONS))
    operator = filled.connect("operator_login")
    operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    operator.execute("SET ROLE guestcomms_operator")
    operator.execute("SELECT guestcomms.revoke_all_tenants(%s)", [LOGIN])
    assert rows(root, ACTIONS)[known:] == [
        ("grant_all_tenants", f"role {LOGIN}", "operator_login", "operator_login"),
        ("revoke_all_tenants", f"role {LOGIN}", "operator_login", "guestcomms_operator"),
    ]
    assert set(column(root, "SELECT tenant_id FROM guestcomms.audit_entries WHERE action LIKE '%_all_tenants'")) == {UUID(int=0)}
    # Taken back with the transaction, so is the note.
    with operator.transaction(force_rollback=True):
        operator.execute("SELECT guestcomms.grant_all_tenants(%s)", [LOGIN])
    assert len(rows(root, ACTIONS)) == known + 2
    assert LOGIN not in {member.replace('""', '"').strip('"') for member in column(root, MEMBERS)}
    root.execute("SELECT guestcomms.seal_audit_trail()")
    trail = rows(root, "SELECT is_ok, entry_count FROM guestcomms.verify_audit_trail()")
    assert len(trail) == 3
    assert all(is_ok and count > 0 for is_ok, count in trail)
