"""Monthly partitions: backfills, rows that came before their month, others' maintenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from tests.support.consumer import Consumer
from tests.support.database import Connection, Database
from tests.support.queries import Row, one, refused, rows
from tests.support.store import Store, create_tenants
from tests.support.traffic import add_guest, load, loaded_row, now, record

ENSURED = "SELECT parent_table, made_count, rescued_rows, default_rows FROM guestcomms.ensure_partitions(%s)"
MESSAGES = "guestcomms.messages"
EVENTS = "guestcomms.message_events"
# In the middle of a month well before the year that a new store has partitions for.
EARLY = (now() - timedelta(days=780)).replace(day=15, hour=12, minute=0, second=0, microsecond=0)
FIRST = EARLY.replace(day=1, hour=0)


@pytest.fixture
def fresh(new_database: Callable[[], Database], logins: None) -> Store:
    """Each test makes partitions of its own."""
    return create_tenants(new_database())


@pytest.fixture
def root(fresh: Store) -> Connection:
    return fresh.connect()


@pytest.fixture
def operator(fresh: Store) -> Connection:
    connection = fresh.connect("operator_login")
    connection.execute("SET ROLE guestcomms_operator")
    return connection


@pytest.fixture
def app(fresh: Store) -> Iterator[Connection]:
    connection = fresh.connect("app_login", fresh.tenant_a)
    yield connection
    connection.close()


def ensured(connection: Connection, since: datetime) -> dict[str, Row]:
    return {row[0]: row[1:] for row in rows(connection, ENSURED, since)}


def months(root: Connection, parent: str = MESSAGES) -> list[tuple[datetime, datetime]]:
    root.execute("SET timezone = 'UTC'")
    found = rows(
        root,
        "SELECT since, until FROM guestcomms_internal.list_partitions(%s) WHERE NOT is_default ORDER BY since",
        parent,
    )
    return [(since, until) for since, until in found]


def assert_unbroken(root: Connection) -> None:
    """Month after month in UTC without a gap, as partition_ranges says."""
    for parent in (MESSAGES, EVENTS):
        found = months(root, parent)
        for since, until in found:
            assert (since.day, since.hour, until.day, until.hour) == (1, 0, 1, 0)
            assert timedelta(days=28) <= until - since <= timedelta(days=31)
        assert all(before[1] == after[0] for before, after in pairwise(found))
        assert rows(
            root,
            "SELECT since, until FROM guestcomms_internal.partition_ranges WHERE parent_table = %s",
            parent,
        ) == [(found[0][0], found[-1][1])]


def unforced(root: Connection) -> list[Row]:
    """Partitions whose row security is not forced, or that have a policy."""
    return rows(
        root,
        """SELECT c.relname FROM pg_class AS c
        WHERE c.relispartition AND c.relkind = 'r'
            AND c.relnamespace = 'guestcomms'::regnamespace
            AND (NOT c.relrowsecurity OR NOT c.relforcerowsecurity
                OR EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
                OR c.relowner <> 'guestcomms_owner'::regrole)""",
    )


def shape(root: Connection, table: str) -> list[Row]:
    """Constraints, indexes and triggers of a table, as text."""
    return rows(
        root,
        """SELECT conname, pg_get_constraintdef(oid), conparentid <> 0
        FROM pg_constraint WHERE conrelid = %(table)s::text::regclass
        UNION ALL
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), true
        FROM pg_index WHERE indrelid = %(table)s::text::regclass
        UNION ALL
        SELECT tgname, '', true FROM pg_trigger
        WHERE tgrelid = %(table)s::text::regclass AND NOT tgisinternal
        ORDER BY 1""".replace("%(table)s", "%s"),
        table,
        table,
        table,
    )


def source(fresh: Store, tenant: UUID) -> tuple[UUID, UUID]:
    """A guest and a thread."""
    connection = fresh.connect(tenant=tenant)
    guest = add_guest(connection)
    thread = one(connection, "SELECT guestcomms.open_thread(guest_id => %s)", guest)
    connection.close()
    return guest, thread


def load_at(fresh: Store, operator: Connection, times: list[datetime], body: str) -> list[Row]:
    """An operator's COPY of one row a time and tenant."""
    loaded = []
    for tenant in (fresh.tenant_a, fresh.tenant_b):
        guest, thread = source(fresh, tenant)
        loaded += [loaded_row(operator, tenant, guest, thread, at, body) for at in times]
    load(operator, loaded)
    return loaded


def test_a_backfill_makes_every_month_between(root: Connection) -> None:
    before = len(months(root))
    made = ensured(root, EARLY)
    assert months(root)[0][0] == FIRST
    assert made[MESSAGES] == (len(months(root)) - before, 0, 0)
    assert ensured(root, EARLY)[MESSAGES] == (0, 0, 0)
    assert_unbroken(root)
    assert unforced(root) == []


def test_partitions_reach_ahead_of_now(root: Connection) -> None:
    assert months(root)[-1][1] > now() + timedelta(days=85)
    root.execute("SELECT guestcomms.set_setting('partitions.ahead', '14 months')")
    ensured(root, now())
    assert months(root)[-1][1] > now() + timedelta(days=400)
    assert_unbroken(root)


def test_an_application_cannot_record_outside_the_months(fresh: Store, root: Connection, app: Connection) -> None:
    guest = add_guest(app)
    with refused("22008"):
        record(app, guest, sent_at=EARLY.isoformat())
    ensured(root, EARLY)
    record(app, guest, sent_at=EARLY.isoformat())
    record(app, guest, sent_at=FIRST.isoformat())
    with refused("22008"):
        record(app, guest, sent_at=(FIRST - timedelta(microseconds=1)).isoformat())


def test_an_operator_may_load_outside_the_months(fresh: Store, root: Connection, operator: Connection) -> None:
    ensured(root, now())  # the template may be of the month before
    load_at(fresh, operator, [EARLY, now() - timedelta(days=1)], "loaded")
    assert one(root, "SELECT count(*) FROM guestcomms.messages_default") == 2
    assert ensured(root, now())[MESSAGES] == (0, 0, 2)


@pytest.mark.parametrize("at", [datetime(2099, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)])
def test_nobody_may_load_impossible_times(fresh: Store, operator: Connection, at: datetime) -> None:
    with refused("23514"):
        load_at(fresh, operator, [at], "loaded")


def test_rows_are_rescued_from_the_default_partition(
    fresh: Store, root: Connection, operator: Connection, app: Connection
) -> None:
    times = [EARLY, EARLY + timedelta(days=20), EARLY + timedelta(days=60)]
    load_at(fresh, operator, times, "stranded umbrella")
    oldest = EARLY - timedelta(days=100)
    load_at(fresh, operator, [oldest], "older umbrella")
    consumer = Consumer(fresh.connect(), "watcher")
    consumer.add()
    consumer.rebuild()
    content = "SELECT to_jsonb(m) FROM guestcomms.messages AS m ORDER BY message_id"
    before, was = rows(root, content), shape(root, "guestcomms.messages_default")

    assert ensured(root, EARLY)[MESSAGES][1:] == (6, 2)
    assert rows(root, content) == before
    assert one(root, "SELECT count(*) FROM guestcomms.messages_default") == 2
    assert shape(root, "guestcomms.messages_default") == was
    assert unforced(root) == []
    assert_unbroken(root)
    assert consumer.drain() == []
    search = "SELECT sent_at FROM guestcomms.search_messages('umbrella', sort => 'recent')"
    assert rows(app, search) == [(at,) for at in (*reversed(times), oldest)]
    assert rows(app, search.replace("umbrella'", "stranded'")) == [(at,) for at in times[::-1]]

    assert ensured(root, oldest)[MESSAGES][1:] == (2, 0)
    assert rows(root, content) == before
    assert consumer.drain() == []


def test_events_are_rescued_too(fresh: Store, root: Connection, operator: Connection) -> None:
    operator.execute(
        "INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind)"
        " VALUES (%s, guestcomms.uuid_v7(%s), %s, gen_random_uuid(), 'opened')",
        [fresh.tenant_a, EARLY, EARLY],
    )
    made = ensured(root, EARLY)
    assert (made[EVENTS][1:], made[MESSAGES][1:]) == ((1, 0), (0, 0))
    assert one(root, "SELECT count(*) FROM guestcomms.message_events") == 1
    assert unforced(root) == []


def test_what_is_rescued_can_be_changed_and_archived(fresh: Store, root: Connection, operator: Connection) -> None:
    """The moved rows obey the constraints and carry the triggers of all others."""
    load_at(fresh, operator, [EARLY], "loaded")
    ensured(root, EARLY)
    assert root.execute("UPDATE guestcomms.messages SET body = 'changed'").rowcount == 2
    with refused("23503"):
        root.execute("DELETE FROM guestcomms.threads")
    assert root.execute("DELETE FROM guestcomms.messages").rowcount == 2
    root.execute("DELETE FROM guestcomms.threads")


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("1994-12-31 23:00+00", "now"),
        ("-infinity", "now"),
        (None, "now"),
        ("now", "infinity"),
        ("now", "2199-01-01"),
    ],
)
def test_impossible_months_are_refused(root: Connection, since: str | None, until: str | None) -> None:
    with refused("22008") as caught:
        root.execute("SELECT guestcomms.ensure_partitions(%s, %s)", [since, until])
    assert caught.value.diag.message_hint


def test_several_at_once(fresh: Store, root: Connection, app: Connection) -> None:
    """Also while messages are being recorded."""
    guest = add_guest(app)
    before = len(months(root))
    connections = [fresh.connect() for _ in range(4)]

    def make(number: int) -> Any:
        return ensured(connections[number], EARLY + timedelta(days=60 * number))

    with ThreadPoolExecutor(5) as pool:
        recording = pool.submit(lambda: [record(app, guest) for _ in range(60)])
        made = list(pool.map(make, range(4)))
        assert len(set(recording.result())) == 60
    assert months(root)[0][0] == FIRST
    assert sum(found[MESSAGES][0] for found in made) == len(months(root)) - before
    assert_unbroken(root)
    assert unforced(root) == []


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "America/Los_Angeles"])
@pytest.mark.parametrize("datestyle", ["ISO, MDY", "German", "SQL, DMY"])
def test_the_settings_of_the_session_do_not_matter(root: Connection, timezone: str, datestyle: str) -> None:
    root.execute("SELECT set_config('timezone', %s, false)", [timezone])
    root.execute("SELECT set_config('datestyle', %s, false)", [datestyle])
    ensured(root, EARLY)
    root.execute("RESET datestyle")
    assert months(root)[0][0] == FIRST
    assert_unbroken(root)


def test_pg_partman_leaves_the_tables_alone(root: Connection) -> None:
    before = months(root), months(root, EVENTS)
    root.execute("SELECT guestcomms.set_setting('partitions.ahead', '1 month')")
    root.execute("UPDATE part_config SET premake = 20")
    root.execute("SELECT run_maintenance()")
    assert (months(root), months(root, EVENTS)) == before
    assert unforced(root) == []
