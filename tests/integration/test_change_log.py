"""What is logged, and that every reader gets each change exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.consumer import Consumer
from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, load, loaded_row, now, record

READ = "SELECT tenant_id, kind, operation, ids FROM guestcomms.read_changes(%s, max_rows => %s)"
ADD_WEDDING = "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x') RETURNING wedding_id"


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    connection = store.connect()
    connection.execute("SET lock_timeout = '5s'")  # a test that waits for itself should fail
    return connection


@pytest.fixture
def reader(store: Store) -> Iterator[Consumer]:
    """A consumer that has just been built."""
    consumer = Consumer(store.connect(), f"reader_{uuid4().hex[:8]}")
    consumer.add()
    consumer.rebuild()
    yield consumer
    consumer.remove()
    consumer.connection.close()


@pytest.fixture
def writer(store: Store) -> Iterator[Connection]:
    """A session in whose transactions a test writes."""
    connection = store.connect(autocommit=False)
    yield connection
    connection.close()


def add_wedding(connection: Connection, store: Store) -> UUID:
    wedding: UUID = one(connection, ADD_WEDDING, store.tenant_a)
    return wedding


def add_weddings(connection: Connection, store: Store, count: int) -> list[UUID]:
    """One statement, and so one change, for each."""
    return [add_wedding(connection, store) for _ in range(count)]


# What is logged

KEYS = {
    "weddings": ("wedding", "wedding_id", "name = 'logged'"),
    "campaigns": ("campaign", "campaign_id", "name = 'logged'"),
    "guests": ("guest", "guest_id", "display_name = 'logged'"),
    "threads": ("thread", "thread_id", "subject = 'logged'"),
    "messages": ("message", "message_id", "body = 'logged'"),
    "message_events": ("event", "event_id", "source = 'logged'"),
}
INSERTS = {
    "weddings": "(tenant_id, name) SELECT tenant, 'logged' FROM {rows}",
    "campaigns": "(tenant_id, name) SELECT tenant, 'logged' FROM {rows}",
    "guests": "(tenant_id, display_name) SELECT tenant, 'logged' FROM {rows}",
    "threads": "(tenant_id, guest_id, subject) SELECT tenant, guest, 'logged' FROM {rows}",
    "messages": """(tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status,
        body) SELECT tenant, guestcomms.uuid_v7(at), at, thread, guest, 'inbound', 'sms',
        'received', 'logged' FROM {rows}""",
    "message_events": """(tenant_id, event_id, occurred_at, message_id, kind, source)
        SELECT tenant, guestcomms.uuid_v7(at), at, gen_random_uuid(), 'opened', 'logged'
        FROM {rows}""",
}


@pytest.fixture(scope="module")
def sources(store: Store) -> dict[UUID, tuple[UUID, UUID]]:
    """A guest and a thread of each tenant."""
    found = {}
    for tenant in (store.tenant_a, store.tenant_b):
        connection = store.connect(tenant=tenant)
        guest = add_guest(connection)
        found[tenant] = (
            guest,
            one(connection, "SELECT guestcomms.open_thread(guest_id => %s)", guest),
        )
    return found


def source_rows(sources: dict[UUID, tuple[UUID, UUID]], count: int) -> str:
    """Rows of both tenants in turn."""
    values = ", ".join(f"('{tenant}'::uuid, '{guest}'::uuid, '{thread}'::uuid)" for tenant, (guest, thread) in sources.items())
    return (
        f"generate_series(1, {count}), (VALUES {values}) AS s (tenant, guest, thread),"
        " (SELECT now() - interval '1 hour') AS t (at)"
    )


@pytest.mark.parametrize("table", KEYS)
def test_each_statement_logs_one_row_for_tenant_and_kind(
    store: Store,
    root: Connection,
    reader: Consumer,
    sources: dict[UUID, tuple[UUID, UUID]],
    table: str,
) -> None:
    kind, key, condition = KEYS[table]
    selected = f"SELECT tenant_id, {key} FROM guestcomms.{table} WHERE {condition}"
    insert = INSERTS[table].format(rows=source_rows(sources, 3))
    root.execute(f"INSERT INTO guestcomms.{table} {insert}".encode())
    ids: dict[UUID, set[UUID]] = {}
    for tenant, identifier in rows(root, selected.encode()):
        ids.setdefault(tenant, set()).add(identifier)
    # Of a message something must change: an update that leaves all as it is says that search was computed anew.
    change = "metadata = '{\"n\": 1}'" if table == "messages" else "tenant_id = tenant_id"
    root.execute(f"UPDATE guestcomms.{table} SET {change} WHERE {condition}".encode())
    root.execute(f"DELETE FROM guestcomms.{table} WHERE {condition}".encode())
    root.execute(f"DELETE FROM guestcomms.{table} WHERE {condition}".encode())  # finds nothing
    # Other kinds beside it: test_change_log_places.py.
    found = [row for row in reader.drain() if row[1] == kind]
    assert len(found) == 6
    assert {len(group) for group in ids.values()} == {3}
    for operation in ("insert", "update", "delete"):
        logged = {
            tenant: set(changed)
            for tenant, its_kind, its_operation, changed in found
            if (its_kind, its_operation) == (kind, operation)
        }
        assert logged == ids


def test_computing_search_anew_is_no_change_of_a_message(
    root: Connection, reader: Consumer, sources: dict[UUID, tuple[UUID, UUID]]
) -> None:
    root.execute(f"INSERT INTO guestcomms.messages {INSERTS['messages'].format(rows=source_rows(sources, 1))}".encode())
    root.execute("UPDATE guestcomms.messages SET body = body")
    found = reader.drain()
    assert {(kind, operation) for _, kind, operation, _ in found} == {("message", "insert"), ("message_search", "update")}


def test_copy_of_many_tenants_is_logged_by_tenant(store: Store, reader: Consumer, sources: dict[UUID, tuple[UUID, UUID]]) -> None:
    operator = store.connect("operator_login")
    operator.execute("SET ROLE guestcomms_operator")
    loaded = [
        loaded_row(operator, tenant, guest, thread, now() - timedelta(days=day), "copied")
        for day in (1, 70, 140)
        for tenant, (guest, thread) in sources.items()
    ]
    load(operator, loaded)
    found = {row[0]: row[1:] for row in reader.drain()}
    assert found.keys() == set(sources)
    for tenant, (kind, operation, ids) in found.items():
        assert (kind, operation) == ("message", "insert")
        assert sorted(ids) == sorted(row[1] for row in loaded if row[0] == tenant)
    operator.close()


def test_a_row_says_which_times_it_is_about(
    root: Connection, reader: Consumer, sources: dict[UUID, tuple[UUID, UUID]], store: Store
) -> None:
    tenant = store.tenant_a
    guest, thread = sources[tenant]
    loaded = [loaded_row(root, tenant, guest, thread, now() - timedelta(days=day), "timed") for day in (1, 70, 140)]
    load(root, loaded)
    (found,) = rows(reader.connection, "SELECT since, until FROM guestcomms.read_changes(%s)", reader.name)
    assert found == (loaded[2][2], loaded[0][2])


@pytest.mark.parametrize(("count", "parts"), [(10_000, 1), (10_001, 2), (25_000, 3)])
def test_a_large_statement_is_split(store: Store, root: Connection, reader: Consumer, count: int, parts: int) -> None:
    root.execute(
        "INSERT INTO guestcomms.campaigns (tenant_id, name) SELECT %s, 'x' FROM generate_series(1, %s)",
        [store.tenant_a, count],
    )
    found = reader.drain()
    assert len(found) == parts
    assert all(len(ids) <= 10_000 for _, _, _, ids in found)
    assert len({identifier for _, _, _, ids in found for identifier in ids}) == count


# Exactly once


def test_a_late_commit_is_neither_lost_nor_waited_for(
    store: Store, root: Connection, writer: Connection, reader: Consumer
) -> None:
    late = add_wedding(writer, store)
    early = add_wedding(root, store)
    assert [row[3] for row in reader.drain()] == [[early]]
    assert reader.drain() == []
    writer.commit()
    assert [row[3] for row in reader.drain()] == [[late]]
    assert reader.drain() == []


def test_a_backdated_message_is_delivered(
    store: Store, root: Connection, reader: Consumer, sources: dict[UUID, tuple[UUID, UUID]]
) -> None:
    sent_at = now() - timedelta(days=430)
    root.execute("SELECT guestcomms.ensure_partitions(%s)", [sent_at])
    app = store.connect("app_login", store.tenant_a)
    guest, _ = sources[store.tenant_a]
    message_id = record(app, guest, sent_at=sent_at.isoformat())
    assert reader.drain() == [(store.tenant_a, "message", "insert", [message_id])]


def test_partitions_made_are_no_change(root: Connection, reader: Consumer) -> None:
    root.execute("SELECT guestcomms.ensure_partitions(now() - interval '20 months')")
    assert reader.drain() == []


def test_each_consumer_gets_everything(store: Store, root: Connection, reader: Consumer) -> None:
    other = Consumer(store.connect(), "another")
    other.add()
    other.rebuild()
    weddings = set(add_weddings(root, store, 3))
    for consumer in (reader, other):
        assert {row[3][0] for row in consumer.drain()} == weddings
    other.remove()


def test_a_reader_rolled_back_reads_again(store: Store, root: Connection, reader: Consumer) -> None:
    weddings = add_weddings(root, store, 3)
    for max_rows in (1, 2, 1000):
        assert len(reader.read(max_rows, keep=False)) == min(max_rows, 3)
    assert [row[3][0] for row in reader.drain()] == weddings


@pytest.mark.parametrize("max_rows", [1, 2, 3, 7, 11, 12, 13])
def test_pages_are_exact(store: Store, root: Connection, writer: Connection, reader: Consumer, max_rows: int) -> None:
    """Also when more is written between pages, and by a transaction with a lower number."""
    late = add_weddings(writer, store, 3)
    weddings = add_weddings(root, store, 6)
    found = reader.read(max_rows)
    weddings += late
    writer.commit()
    weddings += add_weddings(root, store, 3)
    while page := reader.read(max_rows):
        found += page
        assert len(found) <= 12, "reading goes round in circles"
    assert Counter(row[3][0] for row in found) == Counter(weddings)


def test_a_full_page_at_the_end_of_a_snapshot_is_not_the_end(store: Store, root: Connection, reader: Consumer) -> None:
    first = add_weddings(root, store, 2)
    assert [row[3][0] for row in reader.read(2)] == first
    second = add_weddings(root, store, 2)
    assert [row[3][0] for row in reader.read(2)] == second
    assert reader.read(2) == []


def test_what_a_reader_writes_itself_comes_later(store: Store, root: Connection, reader: Consumer) -> None:
    """Also when a transaction that began after it has ended before it reads."""
    connection = reader.connection
    own = [add_wedding(connection, store)]
    others = [add_wedding(root, store)]
    assert [row[3] for row in rows(connection, READ, reader.name, 10)] == [others]
    own.append(add_wedding(connection, store))
    others.append(add_wedding(root, store))
    assert [row[3] for row in rows(connection, READ, reader.name, 10)] == [others[1:]]
    own.append(add_wedding(connection, store))
    connection.commit()
    assert [row[3][0] for row in reader.drain()] == own


def test_a_reader_in_repeatable_read_reads_its_snapshot(store: Store, root: Connection, reader: Consumer) -> None:
    first = add_wedding(root, store)
    reader.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    one(reader.connection, "SELECT 1")
    second = add_wedding(root, store)
    assert [row[3] for row in rows(reader.connection, READ, reader.name, 10)] == [[first]]
    reader.connection.commit()
    assert [row[3] for row in reader.drain()] == [[second]]


def test_subtransactions(store: Store, writer: Connection, reader: Consumer) -> None:
    """A row written in one carries the number of the whole transaction."""
    kept = [add_wedding(writer, store)]
    with writer.transaction():
        kept.append(add_wedding(writer, store))
        writer.execute("SAVEPOINT part")
        add_wedding(writer, store)
        writer.execute("ROLLBACK TO part")
        kept.append(add_wedding(writer, store))
    assert reader.drain() == []
    writer.commit()
    assert [row[3][0] for row in reader.drain()] == kept


def test_two_sessions_reading_for_one_consumer_share_the_changes(store: Store, root: Connection, reader: Consumer) -> None:
    weddings = add_weddings(root, store, 10)
    twin = Consumer(store.connect(), reader.name)
    found = []
    while page := [*reader.read(2), *twin.read(3)]:
        found += page
        assert len(found) <= 10, "reading goes round in circles"
    assert Counter(row[3][0] for row in found) == Counter(weddings)


# Trimming


def test_trimming_leaves_what_is_still_to_be_read(store: Store, root: Connection, writer: Connection, reader: Consumer) -> None:
    late = add_wedding(writer, store)
    weddings = add_weddings(root, store, 5)
    root.execute("SELECT guestcomms.trim_change_log()")
    found = reader.read(2)
    root.execute("SELECT guestcomms.trim_change_log()")
    found += reader.drain(2)
    root.execute("SELECT guestcomms.trim_change_log()")
    writer.commit()
    root.execute("SELECT guestcomms.trim_change_log()")
    found += reader.drain()
    assert Counter(row[3][0] for row in found) == Counter([*weddings, late])
    root.execute("SELECT guestcomms.trim_change_log()")
    assert one(root, "SELECT count(*) FROM guestcomms.change_log") == 0


def test_trimming_leaves_what_follows_the_snapshot_of_one_who_builds(store: Store, root: Connection, writer: Connection) -> None:
    builder = Consumer(store.connect(), "builder")
    builder.add()
    late = add_wedding(writer, store)
    state = builder.begin_rebuild()
    writer.commit()
    later = add_wedding(root, store)
    root.execute("SELECT guestcomms.trim_change_log()")
    assert not {late, later} & state.keys()
    builder.connection.commit()
    root.execute("SELECT guestcomms.trim_change_log()")
    assert Counter(row[3][0] for row in builder.drain()) == Counter([late, later])
    builder.remove()


def test_building_from_a_snapshot_older_than_a_trim_is_refused(store: Store, root: Connection, writer: Connection) -> None:
    builder = Consumer(store.connect(), "builder")
    builder.add()
    builder.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    one(builder.connection, "SELECT 1")
    add_wedding(root, store)
    root.execute("SELECT guestcomms.trim_change_log()")
    with refused("40001"):
        rows(builder.connection, READ, builder.name, 10)
    builder.connection.rollback()
    builder.rebuild()
    builder.remove()


def test_a_trim_with_an_old_snapshot_takes_nothing_from_one_who_built_since(
    store: Store, root: Connection, writer: Connection
) -> None:
    """The consumer's snapshot is older than the trimming transaction's, its commit later."""
    builder = Consumer(store.connect(), "builder")
    late = add_wedding(writer, store)
    builder.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    builder.connection.execute("SELECT guestcomms.add_consumer('builder')")
    (change,) = rows(builder.connection, READ, builder.name, 10)
    assert change[2] == "rebuild"
    writer.commit()
    trimmer = store.connect(autocommit=False)
    trimmer.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    one(trimmer, "SELECT 1")
    builder.connection.commit()
    with refused("25001"):
        trimmer.execute("SELECT guestcomms.trim_change_log()")
    trimmer.rollback()
    root.execute("SELECT guestcomms.trim_change_log()")
    assert [row[3][0] for row in builder.drain()] == [late]
    builder.remove()


# Building


def test_a_new_consumer_must_build_first(store: Store, root: Connection) -> None:
    consumer = Consumer(store.connect(), "new")
    consumer.add()
    for level in ("READ COMMITTED", "READ UNCOMMITTED"):
        consumer.connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        with refused("GC002") as caught:
            rows(consumer.connection, READ, consumer.name, 10)
        assert caught.value.diag.message_hint
        consumer.connection.rollback()
    consumer.rebuild()
    wedding = add_wedding(root, store)
    assert wedding not in consumer.seen
    consumer.drain()
    assert consumer.seen[wedding] == 1
    consumer.remove()


def test_building_rolled_back_must_be_done_again(store: Store) -> None:
    consumer = Consumer(store.connect(), "new")
    consumer.add()
    consumer.begin_rebuild()
    consumer.connection.rollback()
    with refused("GC002"):
        rows(consumer.connection, READ, consumer.name, 10)
    consumer.remove()


def test_building_after_writing_is_refused(store: Store) -> None:
    """The scan would see what this transaction wrote, and the log would bring it again."""
    consumer = Consumer(store.connect(), "new")
    consumer.add()
    consumer.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    add_wedding(consumer.connection, store)
    with refused("25001"):
        rows(consumer.connection, READ, consumer.name, 10)
    consumer.remove()


def test_a_change_committed_while_one_builds_comes_once(store: Store, root: Connection, writer: Connection) -> None:
    consumer = Consumer(store.connect(), "new")
    consumer.add()
    before, open_before = add_wedding(root, store), add_wedding(writer, store)
    state = consumer.begin_rebuild()
    during = add_wedding(root, store)
    writer.commit()
    consumer.connection.commit()
    consumer.seen = state
    consumer.drain()
    assert [consumer.seen[wedding] for wedding in (before, open_before, during)] == [1, 1, 1]
    consumer.remove()


def test_one_who_lags_too_far_builds_again(store: Store, root: Connection, reader: Consumer) -> None:
    wedding = add_wedding(root, store)
    behind = "UPDATE guestcomms.consumers SET read_at = now() - %s::interval WHERE consumer = %s"
    root.execute(behind, ["6 days", reader.name])
    root.execute("SELECT guestcomms.trim_change_log()")
    lag = "SELECT must_rebuild, change_count FROM guestcomms.list_lag() WHERE consumer = %s"
    assert rows(root, lag, reader.name) == [(False, 1)]
    root.execute(behind, ["8 days", reader.name])
    root.execute("SELECT guestcomms.trim_change_log()")
    assert rows(root, lag, reader.name)[0][0]
    reader.drain()
    assert reader.rebuilds == 2
    assert reader.seen[wedding] == 1


def test_the_lag_is_what_is_to_be_read(store: Store, root: Connection, reader: Consumer) -> None:
    lag = "SELECT change_count FROM guestcomms.list_lag() WHERE consumer = %s"
    add_weddings(root, store, 5)
    for left in (5, 3, 1):
        assert one(root, lag, reader.name) == left
        reader.read(2)
    assert one(root, lag, reader.name) == 0


@pytest.mark.parametrize("max_rows", [0, -1, None])
def test_max_rows_must_be_positive(reader: Consumer, max_rows: int | None) -> None:
    with refused("22023"):
        rows(reader.connection, READ, reader.name, max_rows)
    reader.connection.rollback()


def test_an_unknown_consumer_is_an_error(root: Connection) -> None:
    with refused("42704"):
        rows(root, READ, "nobody", 1)
    with refused("22023"):
        root.execute("SELECT guestcomms.add_consumer('No name')")
    assert one(root, "SELECT guestcomms.remove_consumer('nobody')") is False
