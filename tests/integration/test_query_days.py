"""What before:, after: and on: find: days, months and years of the tenant's time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record, record_all

Find = Callable[[str], set[str]]
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage <> 'any word'"


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    with store.connect() as root:
        root.execute("SELECT guestcomms.ensure_partitions('2023-12-01', '2024-09-01')")
    return store.connect("app_login", store.tenant_a)


def finder(app: Connection, names: dict[UUID, str]) -> Find:
    def find(query: str) -> set[str]:
        return {names[found] for found in column(app, FIND, query)}

    return find


TIMES = {
    "new year": "2023-12-31T23:30:00Z",  # 00:30 on the 1st in Berlin
    "spring": "2024-03-31T21:59:59Z",  # summer time began this day, an hour short
    "april": "2024-03-31T22:00:00Z",
    "july": "2024-07-31T12:00:00Z",
    "night": "2024-07-31T23:30:00Z",  # 01:30 on the 1st of August
    "leap": "2024-02-29T12:00:00Z",
}


@pytest.fixture(scope="module")
def find_day(app: Connection) -> Find:
    guest = add_guest(app, "Calendar")
    batch = [message(guest, body="dated", sent_at=sent_at) for sent_at in TIMES.values()]
    return finder(app, dict(zip(record_all(app, batch), TIMES, strict=True)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("on:2024-07-31", {"july"}),
        ("on:2024-08-01", {"night"}),
        ('on:"2024-08-01"', {"night"}),
        ("on:2024-07", {"july"}),
        ("on:2024-08", {"night"}),
        ("on:2024", set(TIMES)),
        ("on:2023", set()),
        ("on:2023-12-31", set()),
        ("on:2024-01-01", {"new year"}),
        ("on:2024-03-31", {"spring"}),
        ("on:2024-04-01", {"april"}),
        ("on:2024-04", {"april"}),
        ("on:2024-02-29", {"leap"}),
        # before it began, and from its beginning on
        ("before:2024-02-29", {"new year"}),
        ("before:2024-08", set(TIMES) - {"night"}),
        ("before:2024-08-01", set(TIMES) - {"night"}),
        ("before:2024", set()),
        ("after:2024", set(TIMES)),
        ("after:2024-08-01", {"night"}),
        ("after:2024-07", {"july", "night"}),
        ("after:2024-08-02", set()),
        ("after:2024-03 before:2024-04", {"spring"}),
        ("after:2024-04 before:2024-08-01", {"april", "july"}),
        ("-on:2024-07 -before:2024-04", {"april", "night"}),
        ("on:2024-07 OR on:2024-08", {"july", "night"}),
        # no days
        ("on:2024-02-30", set()),
        ("on:2023-02-29", set()),
        ("on:2024-13", set()),
        ("on:2024-00", set()),
        ("on:20240731", set()),
        ("on:1899", set()),
        ("before:tomorrow", set()),
    ],
)
def test_days(find_day: Find, query: str, expected: set[str]) -> None:
    assert find_day("dated " + query) == expected


def test_today_and_yesterday_are_the_tenants(store: Store) -> None:
    app = store.connect("app_login", store.tenant_a, autocommit=False)
    today: datetime = one(app, "SELECT date_trunc('day', now(), 'Europe/Berlin')")
    yesterday: datetime = one(
        app, "SELECT (date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') - interval '1 day') AT TIME ZONE 'Europe/Berlin'"
    )
    instant = timedelta(microseconds=1)
    guest = add_guest(app, "Lately")
    times = {"before": yesterday - instant, "first": yesterday, "last": today - instant, "today": today}
    find = finder(app, {record(app, guest, "lately", sent_at=at.isoformat()): name for name, at in times.items()})
    assert find("lately on:yesterday") == {"first", "last"}
    assert find("lately on:today") == {"today"}
    assert find("lately on:TODAY") == {"today"}
    assert find("lately before:yesterday") == {"before"}
    assert find("lately before:today") == {"before", "first", "last"}
    assert find("lately after:yesterday") == {"first", "last", "today"}
    assert find("lately after:today") == {"today"}
    app.close()
