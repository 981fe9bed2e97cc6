"""Through a pgbouncer in transaction mode: a server connection serves one client after another, and none inherits a tenant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID

import pytest

from tests.support import pgbouncer
from tests.support.database import Connection
from tests.support.pgbouncer import PgBouncer
from tests.support.queries import column, copy_rows, one, refused, rows
from tests.support.store import LOGINS, Store

NO_TENANT = "GC001"
DENIED = "42501"
DUPLICATE_STATEMENT = "42P05"
UNKNOWN_STATEMENT = "26000"

CONTEXT = "SELECT current_setting('guestcomms.context', true)"
CURRENT = "SELECT guestcomms.current_tenant()"
PID = "SELECT pg_backend_pid()"
FIRST = "SELECT 'first'"
USE_TOKEN = "SELECT guestcomms.use_token(%s)"
SEARCH = "SELECT guest_id FROM guestcomms.search_messages(%s, max_rows => 100)"

CLIENTS = 10
ROUNDS = 12

MakePooler = Callable[..., PgBouncer]


@pytest.fixture(scope="module")
def program() -> str:
    found = pgbouncer.find_program()
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@pytest.fixture
def start(program: str, store: Store) -> Iterator[MakePooler]:
    """start(pool_size, setting=value) starts a pooler for one test."""
    with ExitStack() as stack:

        def make(pool_size: int = 1, **settings: str) -> PgBouncer:
            return stack.enter_context(pgbouncer.running_pgbouncer(program, store.database, LOGINS, pool_size, settings))

        yield make


@pytest.fixture
def pooler(start: MakePooler) -> PgBouncer:
    """A pooler with one server connection for each login, so that all its clients share it."""
    return start()


@pytest.fixture(scope="module")
def tokens(store: Store) -> dict[UUID, str]:
    with store.connect("issuer_login") as issuer:
        return {tenant: one(issuer, "SELECT guestcomms.issue_token(%s)", tenant) for tenant in (store.tenant_a, store.tenant_b)}


def record(client: Connection, address: str, body: str) -> UUID:
    """A message of the guest who has an address; returns the guest."""
    guest: UUID = one(client, "SELECT guestcomms.resolve_guest('email', %s)", address)
    one(client, "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s)", guest, body)
    return guest


def test_a_token_opens_one_transaction(store: Store, pooler: PgBouncer, tokens: dict[UUID, str]) -> None:
    client = pooler.connect("app_login")
    for tenant in (store.tenant_a, store.tenant_b, store.tenant_a):
        one(client, USE_TOKEN, tokens[tenant])
        assert one(client, CURRENT) == tenant
        client.commit()
        with refused(NO_TENANT):
            one(client, CURRENT)
        client.rollback()


def test_without_a_transaction_a_token_opens_its_own_statement(store: Store, pooler: PgBouncer, tokens: dict[UUID, str]) -> None:
    client = pooler.connect("app_login", autocommit=True)
    assert one(client, USE_TOKEN, tokens[store.tenant_a]) == store.tenant_a
    with refused(NO_TENANT):
        one(client, CURRENT)


@pytest.mark.parametrize("end", [Connection.commit, Connection.rollback, Connection.close])
def test_the_next_client_has_no_context(
    store: Store, pooler: PgBouncer, tokens: dict[UUID, str], end: Callable[[Connection], None]
) -> None:
    """However the first one left: a client that goes in the middle of its transaction costs the pooler that connection,
    for what is left of it cannot be known."""
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, USE_TOKEN, tokens[store.tenant_a])
    served = one(first, PID)
    end(first)
    assert (one(second, PID) == served) is (end is not Connection.close)
    assert not one(second, CONTEXT)
    with refused(NO_TENANT):
        one(second, CURRENT)
    second.rollback()
    with refused(NO_TENANT):
        rows(second, SEARCH, "anything")


@pytest.mark.parametrize("is_local", [True, False])
def test_a_value_that_is_set_again_opens_nothing(
    store: Store, pooler: PgBouncer, tokens: dict[UUID, str], is_local: bool
) -> None:
    """Nor does one that is left behind disturb a client with a token."""
    first, second, third = (pooler.connect("app_login") for _ in range(3))
    one(first, USE_TOKEN, tokens[store.tenant_a])
    served, context = one(first, PID), one(first, CONTEXT)
    first.commit()

    one(second, "SELECT set_config('guestcomms.context', %s, %s)", context, is_local)
    assert one(second, PID) == served
    second.execute("SAVEPOINT before")
    with refused(NO_TENANT):
        one(second, CURRENT)
    second.execute("ROLLBACK TO before")
    second.commit()

    assert one(third, PID) == served
    assert bool(one(third, CONTEXT)) is not is_local
    assert one(third, USE_TOKEN, tokens[store.tenant_b]) == one(third, CURRENT) == store.tenant_b
    third.commit()
    with refused(NO_TENANT):
        one(third, CURRENT)


def test_a_members_transaction_leaves_nothing(store: Store, pooler: PgBouncer) -> None:
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, "SELECT guestcomms.use_tenant(%s)", store.tenant_a)
    served, context = one(first, PID), one(first, CONTEXT)
    first.commit()
    assert one(second, PID) == served
    one(second, "SELECT set_config('guestcomms.context', %s, true)", context)
    with refused(NO_TENANT):
        one(second, CURRENT)


@pytest.mark.parametrize("login", ["other_app_login", "operator_login"])
def test_a_session_context_is_for_one_login(store: Store, pooler: PgBouncer, login: str) -> None:
    """A pooler gives each login connections of its own; and the value, taken along, is worth nothing there, not even to a
    login that could open the tenant for itself."""
    first = pooler.connect("app_login")
    one(first, "SELECT guestcomms.use_tenant(%s, true)", store.tenant_a)
    served, context = one(first, PID), one(first, CONTEXT)
    first.commit()
    other = pooler.connect(login)
    assert one(other, PID) != served
    assert not one(other, CONTEXT)
    one(other, "SELECT set_config('guestcomms.context', %s, true)", context)
    with refused(NO_TENANT):
        one(other, CURRENT)


def test_a_session_context_stays_for_the_same_login(store: Store, pooler: PgBouncer) -> None:
    """What the documentation warns of: the setting is the server connection's, and the pooler does not know of it."""
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, "SELECT guestcomms.use_tenant(%s, true)", store.tenant_a)
    served = one(first, PID)
    first.commit()
    assert one(second, PID) == served
    assert one(second, CURRENT) == store.tenant_a
    second.commit()

    with store.connect("operator_login", store.tenant_a) as operator:
        one(operator, "SELECT guestcomms.remove_member('app_login')")
        try:
            with refused(NO_TENANT):
                one(second, CURRENT)
        finally:
            operator.execute("SELECT guestcomms.add_member('app_login')")


def test_a_pooler_that_always_resets_ends_a_session_context(store: Store, start: MakePooler) -> None:
    pooler = start(server_reset_query_always="1")
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, "SELECT guestcomms.use_tenant(%s, true)", store.tenant_a)
    served = one(first, PID)
    first.commit()
    assert one(second, PID) == served
    assert not one(second, CONTEXT)
    with refused(NO_TENANT):
        one(second, CURRENT)


def test_record_and_search_in_one_transaction(store: Store, pooler: PgBouncer, tokens: dict[UUID, str]) -> None:
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, USE_TOKEN, tokens[store.tenant_a])
    served = one(first, PID)
    guest = record(first, "marquee@example.com", "Is the marquee heated?")
    assert column(first, SEARCH, "marquees") == [guest]
    first.commit()

    one(second, USE_TOKEN, tokens[store.tenant_b])
    assert one(second, PID) == served
    assert column(second, SEARCH, "marquees") == []


def test_a_load_in_one_transaction(store: Store, pooler: PgBouncer, tokens: dict[UUID, str]) -> None:
    first, second = (pooler.connect("app_login") for _ in range(2))
    one(first, USE_TOKEN, tokens[store.tenant_a])
    served = one(first, PID)
    guest = one(first, "SELECT guestcomms.resolve_guest('email', 'lantern@example.com')")
    copy_rows(
        first,
        "COPY guestcomms.import_messages (guest_id, direction, channel, body) FROM STDIN",
        [(guest, "inbound", "email", "Paper lanterns, please")],
    )
    assert one(first, "SELECT imported_count FROM guestcomms.run_import()") == 1
    first.commit()

    assert one(second, PID) == served
    with refused(DENIED, NO_TENANT), second.cursor().copy("COPY guestcomms.import_messages (body) FROM STDIN") as copy:
        copy.write_row(["no tenant to stamp it with"])
    second.rollback()
    one(second, USE_TOKEN, tokens[store.tenant_b])
    assert column(second, SEARCH, "lantern") == []


def without_statement_tracking(program: str) -> dict[str, str]:
    """Settings under which a newer pgbouncer does as one before 1.21: it knows nothing of prepared statements."""
    return {"max_prepared_statements": "0"} if pgbouncer.version(program) >= (1, 21) else {}


def test_unprepared_statements_may_be_repeated(store: Store, start: MakePooler, program: str, tokens: dict[UUID, str]) -> None:
    """prepare_threshold=None, more often than the default threshold."""
    pooler = start(**without_statement_tracking(program))
    clients = [pooler.connect("app_login") for _ in range(2)]
    for _ in range(8):
        for client in clients:
            one(client, USE_TOKEN, tokens[store.tenant_a])
            assert one(client, CURRENT) == store.tenant_a
            client.commit()


def test_prepared_statements_collide(start: MakePooler, program: str) -> None:
    """Clients number their statements alike, so the second finds its first one's name taken."""
    pooler = start(**without_statement_tracking(program))
    first, second = (pooler.connect("app_login", prepare_threshold=0) for _ in range(2))
    assert one(first, FIRST) == "first"
    first.commit()
    with refused(DUPLICATE_STATEMENT):
        one(second, "SELECT 'second'")


def prepare_and_move(pooler: PgBouncer) -> Connection:
    """A client that prepared its first statement on a connection which somebody else holds now: what it does next is
    done on another."""
    client, holder = pooler.connect("app_login", prepare_threshold=0), pooler.connect("app_login")
    assert one(client, FIRST) == "first"
    client.commit()
    one(holder, PID)
    return client


def test_a_prepared_statement_may_be_missing(start: MakePooler, program: str) -> None:
    client = prepare_and_move(start(pool_size=2, **without_statement_tracking(program)))
    with refused(UNKNOWN_STATEMENT):
        rows(client, FIRST)


def test_a_prepared_statement_may_be_anothers(store: Store, start: MakePooler, program: str, tokens: dict[UUID, str]) -> None:
    """Worst of all: no error, but another client's statement is run. It reads what the transaction's own token opens."""
    pooler = start(pool_size=2, **without_statement_tracking(program))
    first = prepare_and_move(pooler)
    second = pooler.connect("app_login", prepare_threshold=0)
    second.execute(USE_TOKEN, [tokens[store.tenant_b]], prepare=False)
    assert one(second, CURRENT) == store.tenant_b
    second.commit()
    first.execute(USE_TOKEN, [tokens[store.tenant_a]], prepare=False)
    assert one(first, FIRST) == store.tenant_a


def test_many_clients_over_few_connections(store: Store, start: MakePooler, tokens: dict[UUID, str]) -> None:
    """Each client takes the tenants in turn; the next transaction of its server connection is mostly another client's."""
    pooler = start(pool_size=2)
    tenants = [store.tenant_a, store.tenant_b]

    def work(number: int) -> list[tuple[int, UUID, UUID, list[UUID]]]:
        client = pooler.connect("app_login")
        seen = []
        for turn in range(ROUNDS):
            tenant = tenants[(number + turn) % 2]
            one(client, USE_TOKEN, tokens[tenant])
            guest = record(client, f"crowd{number}@example.com", f"Seating for the crowd, request {turn}")
            found = column(client, SEARCH, "crowd seating")
            assert one(client, CURRENT) == tenant
            seen.append((one(client, PID), tenant, guest, found))
            client.commit()
            with refused(NO_TENANT):
                one(client, CURRENT)
            client.rollback()
        return seen

    with ThreadPoolExecutor(CLIENTS) as threads:
        seen = [entry for entries in threads.map(work, range(CLIENTS)) for entry in entries]

    guests: dict[UUID, set[UUID]] = defaultdict(set)
    served: dict[int, set[UUID]] = defaultdict(set)
    for pid, tenant, guest, _ in seen:
        guests[tenant].add(guest)
        served[pid].add(tenant)
    assert len(served) <= 2
    assert all(both == set(tenants) for both in served.values())
    assert not guests[store.tenant_a] & guests[store.tenant_b]
    for _, tenant, guest, found in seen:
        assert guest in found
        assert set(found) <= guests[tenant]
