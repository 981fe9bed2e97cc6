"""get_response_times(): which message waits for an answer, which answer counts, and what follows from known times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.support.business import NOON, Business, Found, pick
from tests.support.database import Database
from tests.support.queries import one, refused
from tests.support.store import Store, create_tenants

TIMES = "SELECT * FROM guestcomms.get_response_times(%s, %s, %s)"
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
IN, OUT = "inbound", "outbound"
DAY = 24 * 60
IS_REFRESHED = pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def times(business: Business, bucket: str = "day") -> list[Found]:
    return business.ask(TIMES, SINCE, UNTIL, bucket)


def answers(business: Business) -> list[tuple[str, int, float]]:
    """Who answered, how often, and after how many minutes on average."""
    found = times(business, "month")
    return [(row["answered_by"], row["response_count"], row["mean_time"] / timedelta(minutes=1)) for row in found]


@IS_REFRESHED
@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param([(IN, 0), (OUT, 30)], [("business", 1, 30)], id="a question"),
        pytest.param([(OUT, 0), (IN, 45)], [("guest", 1, 45)], id="an invitation"),
        pytest.param([(IN, 0), (IN, 1), (IN, 2), (OUT, 12)], [("business", 1, 12)], id="three in a row"),
        pytest.param([(IN, 0), (OUT, 10), (OUT, 11), (IN, 31)], [("business", 1, 10), ("guest", 1, 21)], id="both ways"),
        pytest.param([(IN, 0), (OUT, 10), (IN, 20), (OUT, 50)], [("business", 2, 20), ("guest", 1, 10)], id="twice"),
        pytest.param([(IN, 0), (IN, 5), (OUT, -3)], [("guest", 1, 3)], id="told out of order"),
        pytest.param([(IN, 0)], [], id="no answer"),
        pytest.param([(IN, 0), (OUT, 30 * DAY - 1)], [("business", 1, 30 * DAY - 1)], id="just in time"),
        pytest.param([(IN, 0), (OUT, 30 * DAY)], [], id="too late"),
        pytest.param([(IN, 0), (IN, 31 * DAY), (OUT, 31 * DAY + 5)], [("business", 1, 5)], id="asked anew after a month"),
    ],
)
def test_turns(business: Business, turns: list[tuple[str, float]], expected: list[object], is_refreshed: bool) -> None:
    business.talk(*turns)
    if is_refreshed:
        business.refresh()
    assert answers(business) == expected


@IS_REFRESHED
def test_an_answer_in_another_conversation_is_none(business: Business, is_refreshed: bool) -> None:
    business.talk((IN, 0))
    business.talk((OUT, 5))
    if is_refreshed:
        business.refresh()
    assert answers(business) == []


@IS_REFRESHED
def test_an_answer_that_an_event_reports(business: Business, is_refreshed: bool) -> None:
    (invitation,) = business.talk((OUT, 0))
    answered, _ = business.talk((OUT, 0), (IN, 40))
    for message in (invitation, answered):
        business.note(message, "replied", NOON + timedelta(minutes=20))
    if is_refreshed:
        business.refresh()
    assert answers(business) == [("guest", 2, 20)]


def test_a_shorter_window_holds_after_a_reload(store: Store, business: Business) -> None:
    business.talk((IN, 0), (OUT, 59))
    business.talk((IN, 0), (OUT, 61))
    business.refresh()
    assert answers(business) == [("business", 2, 60)]
    setting = "SELECT guestcomms.set_setting('warehouse.reply_window', %s)"
    operator = store.connect("operator_login")
    try:
        operator.execute(setting, ["1 hour"])
        business.root.execute("SELECT guestcomms.refresh_warehouse(is_reload => true)")
        business.refresh()
        assert answers(business) == [("business", 1, 59)]
    finally:
        operator.execute(setting, [None])


def test_a_late_message_changes_whose_turn_it_was(business: Business) -> None:
    business.talk((IN, 0), (OUT, 60))
    business.refresh()
    thread: UUID = one(business.root, "SELECT DISTINCT thread_id FROM guestcomms.messages WHERE tenant_id = %s", business.tenant)
    late = business.write(NOON + timedelta(minutes=10), thread=thread)
    assert answers(business) == [("business", 1, 10)]
    business.refresh()
    assert answers(business) == [("business", 1, 10)]
    earlier = business.write(NOON - timedelta(minutes=10), thread=thread)
    expected = [("business", 1, 10), ("guest", 1, 10)]
    assert answers(business) == expected
    business.refresh()
    assert answers(business) == expected
    for message in (late, earlier):
        business.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [message])
    assert answers(business) == [("business", 1, 60)]
    business.refresh()
    assert answers(business) == [("business", 1, 60)]


@IS_REFRESHED
def test_buckets_are_of_the_question(business: Business, is_refreshed: bool) -> None:
    business.talk((IN, 0), (OUT, 12 * 60 + 20))
    if is_refreshed:
        business.refresh()
    for bucket, start in (("quarter_hour", NOON), ("day", NOON.replace(hour=0)), ("month", NOON.replace(day=1, hour=0))):
        assert pick(times(business, bucket), "bucket_start", "answered_by", "response_count") == [(start, "business", 1)]


# Percentiles

KNOWN = range(1, 12)  # minutes: the median is 6, nine tenths are at most 10


@contextmanager
def without_sketches(new_database: Callable[..., Database]) -> Iterator[Business]:
    database = new_database(None)
    with database.connect() as root:
        root.execute("CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store()")
    with Business(create_tenants(database)) as business:
        yield business


@pytest.mark.parametrize("has_sketches", [True, False], ids=["tdigest", "none"])
@pytest.mark.parametrize("bucket", ["quarter_hour", "hour", "day", "week", "month"])
def test_percentiles_of_known_times(new_database: Callable[..., Database], store: Store, bucket: str, has_sketches: bool) -> None:
    with Business(store) if has_sketches else without_sketches(new_database) as business:
        for minutes in KNOWN:
            business.talk((IN, 0), (OUT, minutes), channel="chat")
            business.talk((OUT, 0), (IN, 100 * minutes), channel="chat")
        business.talk((IN, 0), (OUT, 1000), channel="sms")
        business.refresh()
        status = business.ask("SELECT has_percentile_sketches, has_guest_counts FROM guestcomms.get_warehouse_status()")
        assert pick(status, "has_percentile_sketches", "has_guest_counts") == [(has_sketches, has_sketches)]
        found = {(row["channel"], row["answered_by"]): row for row in times(business, bucket)}
        assert len(found) == 3
        for key, factor in ((("chat", "business"), 1), (("chat", "guest"), 100)):
            row, minute = found[key], timedelta(minutes=factor)
            assert row["response_count"] == len(KNOWN)
            assert row["mean_time"] == 6 * minute
            assert row["median_time"] / minute == pytest.approx(6, abs=0.5)
            assert row["p90_time"] / minute == pytest.approx(10, abs=1)
        assert found["sms", "business"]["median_time"] == timedelta(minutes=1000)


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_channels(business: Business, bucket: str) -> None:
    for number, channel in enumerate(("email", "sms", "whatsapp", "chat"), start=1):
        business.talk((IN, 0), (OUT, number), channel=channel)
    business.refresh()
    query = "SELECT * FROM guestcomms.get_response_times(%s, bucket => %s, channels => '{sms,chat}')"
    expected = [(channel, 1, timedelta(minutes=n), timedelta(minutes=n)) for channel, n in (("sms", 2), ("chat", 4))]
    assert pick(business.ask(query, SINCE, bucket), "channel", "response_count", "mean_time", "median_time") == expected


def test_percentiles_are_of_the_last_refresh_and_counts_of_now(business: Business) -> None:
    business.talk((IN, 0), (OUT, 10))
    business.refresh()
    business.talk((IN, 0), (OUT, 30))
    (row,) = times(business)
    assert pick([row], "response_count", "mean_time", "median_time") == [(2, timedelta(minutes=20), timedelta(minutes=10))]


# What is hidden, what is refused


def test_small_groups_are_hidden(business: Business) -> None:
    business.set("warehouse.min_guests", "2")
    business.talk((IN, 0), (OUT, 10))
    business.talk((IN, 0), (OUT, 20))
    numbers = ("response_count", "mean_time", "median_time", "p90_time")
    for _ in range(2):
        (row,) = times(business)
        assert pick([row], "is_suppressed", *numbers) == [(True, None, None, None, None)]
        business.refresh()


def test_those_who_got_no_answer_do_not_hide_the_one_who_did(business: Business) -> None:
    business.set("warehouse.min_guests", "3")
    business.talk((IN, 0), (OUT, 10))
    business.write_to_many(5, direction=IN)
    business.refresh()
    (row,) = times(business)
    assert pick([row], "is_suppressed", "response_count", "mean_time") == [(True, None, None)]


@pytest.mark.parametrize(
    "arguments",
    ["bucket => 'minute'", "channels => '{post}'", "since => '2026-03-02', until => '2026-03-01'", "until => 'infinity'"],
)
def test_bad_questions(business: Business, arguments: str) -> None:
    with refused("22023"):
        business.ask(f"SELECT * FROM guestcomms.get_response_times({arguments})".encode())
