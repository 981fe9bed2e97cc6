"""Days are those of the tenant's clock, whatever is done to it: each message is in one bucket, and they add up."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.business import Business, pick
from tests.support.database import Connection
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tests.support.traffic import now

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "15"))
QUARTER = timedelta(minutes=15)
FIRST = datetime(1995, 1, 2, tzinfo=UTC)
LAST = min(datetime(2027, 12, 28, tzinfo=UTC), now() + timedelta(days=700))
# Until 2011 the clock was put back at one minute past midnight there, within a quarter of an hour.
UNEVEN = {"America/Goose_Bay", "America/Moncton", "America/St_Johns", "Canada/Newfoundland"}
CHANGES = {
    "Asia/Kathmandu": "2026-01-10",
    "Pacific/Kiritimati": "2026-01-10",
    "Australia/Lord_Howe forward": "2025-10-05",
    "Australia/Lord_Howe back": "2026-04-05",
    "America/New_York forward": "2026-03-08",
    "America/New_York back": "2026-11-01",
    "America/Havana back": "2025-11-02",
    "America/Havana forward": "2026-03-08",
    "America/Sao_Paulo back": "2018-02-18",
    "America/Sao_Paulo forward": "2017-10-15",
    "Africa/Cairo back": "2025-10-31",
    "Africa/Cairo forward": "2026-04-24",
    "Pacific/Chatham back": "2026-04-05",
    "Pacific/Apia without a day": "2011-12-30",
    "Antarctica/Casey by three hours": "2010-03-05",
    "America/Caracas by half an hour": "2016-05-01",
    "Asia/Pyongyang by half an hour": "2018-05-05",
}
INSERT = """
WITH conversation AS (
    INSERT INTO guestcomms.threads (tenant_id, guest_id) VALUES (%(tenant)s, %(guest)s) RETURNING thread_id
)
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, body)
SELECT %(tenant)s, guestcomms.uuid_v7(at), at, thread_id, %(guest)s, 'inbound', 'sms', 'received', 'hello'
FROM conversation, unnest(%(moments)s::timestamptz[]) AS at
"""
STATISTICS = "SELECT * FROM guestcomms.get_message_statistics(%s, %s, %s)"
# Where a day begins twice, this is the second beginning.
START = "SELECT %s::date::timestamp AT TIME ZONE %s"


@cache
def local_dates(connection: Connection, zone: str, moments: tuple[datetime, ...]) -> Counter[date]:
    """How many moments a day has, as the server's clocks say."""
    return Counter(column(connection, "SELECT (at AT TIME ZONE %s)::date FROM unnest(%s) AS at", zone, list(moments)))


def write_all(business: Business, moments: tuple[datetime, ...]) -> None:
    values = {"tenant": business.tenant, "guest": business.guest, "moments": list(moments)}
    business.root.execute(INSERT, values)


def around(day: str) -> tuple[datetime, ...]:
    """Every quarter of an hour, at changing minutes, from the day before until two days after."""
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    return tuple(begin + n * QUARTER + timedelta(minutes=n % 15) for n in range(3 * 96))


def kept_days(business: Business) -> dict[date, int]:
    query = "SELECT date_key, sum(message_count)::integer FROM guestcomms_bi.agg_message_day WHERE tenant_id = %s GROUP BY 1"
    return dict(rows(business.root, query, business.tenant))


def asked_days(business: Business, zone: str, since: datetime, until: datetime, bucket: str = "day") -> dict[date, int]:
    """Days as get_message_statistics() tells them; each once."""
    found = business.ask(STATISTICS, since, until, bucket)
    starts = [row["bucket_start"] for row in found]
    assert len(set(starts)) == len(starts)
    dates = column(business.root, "SELECT (at AT TIME ZONE %s)::date FROM unnest(%s) AS at", zone, starts)
    counts: Counter[date] = Counter()
    for day, row in zip(dates, found, strict=True):
        counts[day] += row["message_count"]
    return counts


def check_days(business: Business, zone: str, moments: tuple[datetime, ...], is_refreshed: bool) -> None:
    """All of them, by any bucket; and each day asked for by itself."""
    truth = local_dates(business.root, zone, moments)
    wide = (moments[0] - timedelta(days=3), moments[-1] + timedelta(days=3))
    days = [one(business.root, START, at.date(), zone) for at in wide]
    for since, until in (wide, (days[0], days[1])):
        for bucket in ("day", "hour", "quarter_hour"):
            assert asked_days(business, zone, since, until, bucket) == truth, bucket
    for day, count in truth.items():
        since, until = (one(business.root, START, at, zone) for at in (day, day + timedelta(days=1)))
        assert asked_days(business, zone, since, until) == {day: count}
    if is_refreshed:
        assert kept_days(business) == truth
        query = "SELECT sent_date_key, count(*)::integer FROM guestcomms_bi.fact_message WHERE tenant_id = %s GROUP BY 1"
        assert dict(rows(business.root, query, business.tenant)) == truth


@pytest.mark.parametrize("change", CHANGES)
def test_days_add_up(store: Store, change: str) -> None:
    zone, moments = change.split()[0], around(CHANGES[change])
    with Business(store, zone) as business:
        write_all(business, moments)
        check_days(business, zone, moments, is_refreshed=False)
        business.refresh()
        check_days(business, zone, moments, is_refreshed=True)


@pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])
@pytest.mark.parametrize(
    ("zone", "day", "sizes"),
    [
        ("America/New_York", "2026-03-08", [23]),
        ("America/New_York", "2026-11-01", [25]),
        ("Australia/Lord_Howe", "2025-10-05", [23.5]),
        ("Australia/Lord_Howe", "2026-04-05", [24.5]),
        ("America/Havana", "2025-11-02", [25]),
        ("Asia/Kathmandu", "2026-01-10", [24]),
    ],
)
def test_lengths_of_days(store: Store, zone: str, day: str, sizes: list[float], is_refreshed: bool) -> None:
    with Business(store, zone) as business:
        write_all(business, around(day))
        if is_refreshed:
            business.refresh()
        since, until = (one(business.root, START, at, zone) for at in (day, date.fromisoformat(day) + timedelta(days=1)))
        found = business.ask(STATISTICS, since, until, "day")
        assert [row["message_count"] / 4 for row in found] == sizes


@pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])
@pytest.mark.parametrize(
    ("zone", "repeated"),
    [("America/New_York", "2026-11-01 05:00Z"), ("America/Havana", "2025-11-02 04:00Z"), ("Europe/Berlin", "2026-10-25 00:00Z")],
)
def test_a_repeated_hour_is_two_hours(store: Store, zone: str, repeated: str, is_refreshed: bool) -> None:
    first = datetime.fromisoformat(repeated.replace("Z", "+00:00"))
    hours = [first + timedelta(hours=number) for number in range(-3, 4)]
    with Business(store, zone) as business:
        write_all(business, tuple(hour + n * QUARTER for hour in hours for n in range(4)))
        if is_refreshed:
            business.refresh()
        found = business.ask(STATISTICS, hours[0], hours[-1] + timedelta(hours=1), "hour")
        assert pick(found, "bucket_start", "message_count") == [(hour, 4) for hour in hours]
        clocks = column(business.root, "SELECT at AT TIME ZONE %s FROM unnest(%s) AS at", zone, hours)
        assert len(set(clocks)) == len(hours) - 1


def test_a_day_that_was_skipped(store: Store) -> None:
    with Business(store, "Pacific/Apia") as business:
        write_all(business, around("2011-12-30"))
        business.refresh()
        days = kept_days(business)
        assert date(2011, 12, 30) not in days
        assert (days[date(2011, 12, 29)], days[date(2011, 12, 31)]) == (96, 96)


@pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])
def test_another_zone_moves_days(store: Store, is_refreshed: bool) -> None:
    moments = around("2026-03-08")
    with Business(store, "America/New_York") as business:
        write_all(business, moments)
        event_of = column(business.root, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s", business.tenant)
        for message in event_of[:50]:
            business.note(message, "replied", moments[0] + timedelta(hours=len(event_of) % 7))
        if is_refreshed:
            business.refresh()
        for zone in ("Pacific/Auckland", "Pacific/Honolulu", "Asia/Kathmandu"):
            business.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [zone, business.tenant])
            business.refresh()
            check_days(business, zone, moments, is_refreshed=True)
            events = "SELECT date_key, sum(event_count)::integer FROM guestcomms_bi.agg_event_day WHERE tenant_id = %s GROUP BY 1"
            truth = (
                "SELECT (occurred_at AT TIME ZONE %s)::date, count(*)::integer FROM guestcomms.message_events"
                " WHERE tenant_id = %s GROUP BY 1"
            )
            assert rows(business.root, events, business.tenant) == rows(business.root, truth, zone, business.tenant)


# Any zone, any day


@cache
def changes_of(zone: str) -> list[datetime]:
    """Days on which the clock was put forward or back; the first day, where it never was."""
    clock = ZoneInfo(zone)
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days)]
    offsets = [day.astimezone(clock).utcoffset() for day in days]
    return [day for day, one_way, other in zip(days, offsets, offsets[1:], strict=False) if one_way != other] or [FIRST]


@pytest.fixture(scope="module")
def zones(store: Store) -> list[str]:
    with store.connect() as root:
        query = "SELECT name FROM pg_timezone_names WHERE guestcomms_internal.is_timezone(name) ORDER BY 1"
        return [name for name in column(root, query) if "/" in name and not name.startswith(("posix/", "right/"))]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_days_of_any_zone_add_up(store: Store, zones: list[str], data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(zones))
    ordinary = st.integers(0, (LAST - FIRST).days - 1).map(lambda number: FIRST + timedelta(days=number))
    day = data.draw(st.one_of(ordinary, st.sampled_from(changes_of(zone)), st.sampled_from(changes_of(zone))))
    step = 0 if zone in UNEVEN and day.year < 2012 else data.draw(st.integers(0, 14))
    moments = tuple(max(day, FIRST) + n * QUARTER + timedelta(minutes=step * n % 15) for n in range(3 * 96))
    with Business(store, zone) as business:
        write_all(business, moments)
        truth = local_dates(business.root, zone, moments)
        wide = (moments[0] - timedelta(days=3), moments[-1] + timedelta(days=3))
        assert asked_days(business, zone, *wide) == truth
        business.refresh()
        assert kept_days(business) == truth
        assert asked_days(business, zone, *wide) == truth
