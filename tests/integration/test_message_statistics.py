"""get_message_statistics(): what it counts, by which buckets, of which time, and what it hides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.business import NOON, Business, Found, pick
from tests.support.queries import one, refused
from tests.support.store import Store
from tests.support.traffic import add_guest, now

STATISTICS = "SELECT * FROM guestcomms.get_message_statistics(%s, %s, %s)"
DAY = timedelta(days=1)
SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
COUNTS = ("message_count", "sent", "delivered", "opened", "machine_opened", "clicked", "replied", "failed", "unsubscribed")
RATES = ("delivery_rate", "open_rate", "click_rate", "reply_rate", "failure_rate")
IS_REFRESHED = pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def statistics(business: Business, since: datetime = SINCE, until: datetime = UNTIL, bucket: str = "day") -> list[Found]:
    return business.ask(STATISTICS, since, until, bucket)


def the_only(found: list[Found]) -> Found:
    (row,) = found
    return row


@IS_REFRESHED
def test_what_came_of_messages(business: Business, is_refreshed: bool) -> None:
    business.write(status="queued")
    business.note(business.write(), "failed")
    messages = business.write_to_many(4)
    for message in messages:
        business.note(message, "delivered")
    for kind in ("opened", "opened", "read", "clicked", "unsubscribed"):
        business.note(messages[0], kind)
    business.note(messages[1], "opened")
    business.note(messages[2], "opened", is_machine=True)
    business.note(messages[3], "replied")
    if is_refreshed:
        business.refresh()
    row = the_only(statistics(business))
    assert pick([row], *COUNTS) == [(6, 5, 4, 2, 1, 1, 1, 1, 1)]
    assert pick([row], *RATES) == [(4 / 5, 2 / 4, 1 / 4, 1 / 4, 1 / 5)]
    assert (row["is_suppressed"], row["guest_count"]) == (False, 5 if is_refreshed else None)


@IS_REFRESHED
def test_machines_open_and_click_for_nobody(business: Business, is_refreshed: bool) -> None:
    by_machine, by_both = business.write(), business.write()
    for message in (by_machine, by_both):
        business.note(message, "opened", is_machine=True)
        business.note(message, "clicked", is_machine=True)
    business.note(by_both, "opened")
    if is_refreshed:
        business.refresh()
    row = the_only(statistics(business))
    assert pick([row], "delivered", "opened", "machine_opened", "clicked", "open_rate") == [(2, 1, 1, 0, 0.5)]


@IS_REFRESHED
def test_sms_reports_no_opens(business: Business, is_refreshed: bool) -> None:
    business.note(business.write(channel="sms"), "delivered")
    business.note(business.write(channel="whatsapp"), "delivered")
    if is_refreshed:
        business.refresh()
    assert pick(statistics(business), "channel", "delivery_rate", "open_rate") == [("sms", 1, None), ("whatsapp", 1, 0)]


@IS_REFRESHED
@pytest.mark.parametrize("bucket", ["quarter_hour", "hour", "day", "week", "month"])
def test_a_rate_of_nothing_is_null(business: Business, bucket: str, is_refreshed: bool) -> None:
    business.write(status="queued")
    business.write(direction="inbound", channel="chat")
    if is_refreshed:
        business.refresh()
    queued, received = statistics(business, bucket=bucket)
    assert [queued[rate] for rate in RATES] == [None] * 5
    assert [received[rate] for rate in RATES] == [None, None, None, 0, None]


@IS_REFRESHED
@pytest.mark.parametrize(
    ("bucket", "starts"),
    [
        ("quarter_hour", ["2026-03-01 22:30", "2026-03-01 23:45", "2026-03-02 00:00", "2026-03-08 12:00", "2026-03-31 23:45"]),
        ("hour", ["2026-03-01 22:00", "2026-03-01 23:00", "2026-03-02 00:00", "2026-03-08 12:00", "2026-03-31 23:00"]),
        ("day", ["2026-03-01 00:00", "2026-03-01 00:00", "2026-03-02 00:00", "2026-03-08 00:00", "2026-03-31 00:00"]),
        ("week", ["2026-02-23 00:00", "2026-02-23 00:00", "2026-03-02 00:00", "2026-03-02 00:00", "2026-03-30 00:00"]),
        ("month", ["2026-03-01 00:00"] * 5),
    ],
)
def test_buckets(business: Business, bucket: str, starts: list[str], is_refreshed: bool) -> None:
    times = ("2026-03-01 22:44:59", "2026-03-01 23:59:59.999", "2026-03-02 00:00", "2026-03-08 12:14", "2026-03-31 23:45")
    for at in times:
        business.write(datetime.fromisoformat(at).replace(tzinfo=UTC))
    if is_refreshed:
        business.refresh()
    expected = [datetime.fromisoformat(start).replace(tzinfo=UTC) for start in starts]
    found = statistics(business, bucket=bucket)
    assert pick(found, "bucket_start", "message_count") == [(at, expected.count(at)) for at in sorted(set(expected))]


@IS_REFRESHED
def test_channels_and_directions_apart(business: Business, is_refreshed: bool) -> None:
    for channel in ("chat", "sms", "email", "whatsapp"):
        for direction in ("outbound", "inbound"):
            business.write(channel=channel, direction=direction)
    if is_refreshed:
        business.refresh()
    every = [(channel, way, 1) for channel in ("email", "sms", "whatsapp", "chat") for way in ("inbound", "outbound")]
    assert pick(statistics(business), "channel", "direction", "message_count") == every
    for query, channels in (
        ("SELECT * FROM guestcomms.get_message_statistics('2026-03-01', channels => '{sms,chat}')", ("sms", "chat")),
        ("SELECT * FROM guestcomms.get_message_statistics('2026-03-01', channels => '{sms}', bucket => 'hour')", ("sms",)),
        ("SELECT * FROM guestcomms.get_message_statistics('2026-03-01', channels => '{}')", ()),
    ):
        assert pick(business.ask(query.encode()), "channel", "direction", "message_count") == [
            row for row in every if row[0] in channels
        ]


@IS_REFRESHED
@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_campaigns(business: Business, bucket: str, is_refreshed: bool) -> None:
    ours, others = business.add_campaign("Ours"), business.add_campaign("Others")
    for campaign, count in ((ours, 3), (others, 2)):
        for _ in range(count):
            business.write(campaign_id=campaign)
    business.write()
    if is_refreshed:
        business.refresh()
    query = "SELECT coalesce(sum(message_count), 0) FROM guestcomms.get_message_statistics(%s, bucket => %s, campaigns => %s)"
    for campaigns, count in (([ours], 3), ([ours, others], 5), (None, 6), ([business.tenant], 0), ([], 0)):
        assert one(business.application, query, SINCE, bucket, campaigns) == count


@IS_REFRESHED
@pytest.mark.parametrize("bucket", ["quarter_hour", "day", "month"])
def test_bounds_are_taken_to_whole_quarters_of_an_hour(business: Business, bucket: str, is_refreshed: bool) -> None:
    for minute in (0, 14, 15, 29, 30, 44, 45):
        business.write(NOON + timedelta(minutes=minute))
    if is_refreshed:
        business.refresh()

    def count(since: float, until: float) -> int:
        found = statistics(business, NOON + timedelta(minutes=since), NOON + timedelta(minutes=until), bucket)
        return sum(row["message_count"] for row in found)

    assert count(15, 45) == 4
    assert count(20, 31) == 4
    assert count(29, 45.0001) == 5
    assert count(0, 15) == 2
    assert count(44, 44.5) == 2


@IS_REFRESHED
def test_thirty_days_up_to_the_end_of_today_if_nothing_is_said(store: Store, is_refreshed: bool) -> None:
    business = Business(store, "Pacific/Auckland")
    today = one(business.root, "SELECT date_trunc('day', now(), 'Pacific/Auckland')")
    for at in (today - 32 * DAY, today - 29 * DAY, today, today + 3 * DAY):
        business.write(at)
    if is_refreshed:
        business.refresh()
    found = business.ask("SELECT * FROM guestcomms.get_message_statistics()")
    # Daylight saving may have moved midnight in between.
    assert [row["bucket_start"].replace(hour=0) for row in found] == [at.replace(hour=0) for at in (today - 29 * DAY, today)]


@pytest.mark.parametrize(
    "arguments",
    [
        "bucket => 'year'",
        "bucket => 'Day'",
        "bucket => NULL",
        "channels => '{email,fax}'",
        "channels => '{NULL}'",
        "since => '2026-03-02', until => '2026-03-01'",
        "since => '2026-03-02', until => '2026-03-02'",
        "since => '2199-01-01'",
        "since => '-infinity'",
        "until => 'infinity'",
        "since => '-infinity', until => 'infinity', bucket => 'month'",
    ],
)
def test_bad_questions(business: Business, arguments: str) -> None:
    with refused("22023") as caught:
        business.ask(f"SELECT * FROM guestcomms.get_message_statistics({arguments})".encode())
    assert caught.value.diag.message_hint


def test_without_a_tenant_there_are_none(store: Store) -> None:
    for login in ("app_login", "analyst_login"):
        with refused("GC001"):
            store.connect(login).execute("SELECT * FROM guestcomms.get_message_statistics()")


def test_a_new_business_has_nothing(business: Business) -> None:
    assert statistics(business) == []
    business.refresh()
    assert statistics(business) == []


def test_others_messages_are_not_counted(store: Store, business: Business) -> None:
    other = Business(store)
    for is_refreshed in (False, True):
        other.write()
        assert statistics(business) == []
        if is_refreshed:
            business.refresh()
            assert statistics(business) == []


def test_edits_and_deletions_are_followed_at_once(business: Business) -> None:
    messages = business.write_to_many(3)
    business.refresh()
    business.root.execute("UPDATE guestcomms.messages SET channel = 'sms' WHERE message_id = %s", [messages[0]])
    business.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [messages[1]])
    business.note(messages[2], "failed")
    expected = [("email", 1, 1), ("sms", 1, 0)]
    assert pick(statistics(business), "channel", "message_count", "failed") == expected
    business.refresh()
    assert pick(statistics(business), "channel", "message_count", "failed") == expected


# Small groups


@IS_REFRESHED
@pytest.mark.parametrize("bucket", ["quarter_hour", "day", "month"])
def test_small_groups_are_hidden(business: Business, bucket: str, is_refreshed: bool) -> None:
    business.set("warehouse.min_guests", "3")
    for _ in range(4):
        business.note(business.write(channel="sms"), "failed")
    for message in business.write_to_many(3):
        business.note(message, "opened")
    if is_refreshed:
        business.refresh()
    email, sms = statistics(business, bucket=bucket)
    assert sms["is_suppressed"] is True
    assert all(value is None for name, value in sms.items() if name in COUNTS + RATES or name == "guest_count")
    if is_refreshed:  # guests are counted at the refresh; before it, none is known
        assert pick([email], "is_suppressed", "message_count", "opened", "guest_count") == [(False, 3, 3, 3)]
    else:
        assert pick([email], "is_suppressed", "message_count") == [(True, None)]


def test_the_erased_count_for_no_group(business: Business) -> None:
    business.set("warehouse.min_guests", "2")
    guests = [add_guest(business.root, name) for name in ("One", "Two")]
    for guest in guests:
        business.write(guest=guest)
    business.refresh()
    assert pick(statistics(business), "is_suppressed", "message_count") == [(False, 2)]
    business.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guests[0]])
    business.refresh()
    assert pick(statistics(business), "is_suppressed", "message_count") == [(True, None)]


def test_a_part_of_a_group_is_a_group(business: Business) -> None:
    business.set("warehouse.min_guests", "3")
    campaign = business.add_campaign()
    business.write_to_many(3)
    business.write_to_many(2, campaign_id=campaign)
    business.refresh()
    query = "SELECT is_suppressed, message_count FROM guestcomms.get_message_statistics('2026-03-01', campaigns => %s)"
    assert pick(business.ask(query, [campaign]), "is_suppressed", "message_count") == [(True, None)]
    assert pick(business.ask(query, None), "is_suppressed", "message_count") == [(False, 5)]


# As of when


@pytest.fixture
def live_limit(store: Store) -> Iterator[None]:
    """Two unread changes at most."""
    setting = "SELECT guestcomms.set_setting('warehouse.live_limit', %s)"
    with store.connect("operator_login") as operator:
        operator.execute(setting, ["2"])
        yield
        operator.execute(setting, [None])


@pytest.mark.usefixtures("live_limit")
def test_with_too_much_unread_numbers_are_of_the_last_refresh(store: Store, business: Business) -> None:
    business.write()
    business.refresh()
    refreshed = now()
    for number in (2, 3):
        business.write()
        row = the_only(statistics(business))
        assert row["message_count"] == number
        assert row["as_of"] > refreshed
    business.write()
    row = the_only(statistics(business))
    assert row["message_count"] == 1
    assert row["as_of"] < refreshed
    for other in (Business(store), business):  # others' unread changes are no matter
        other.write()
    business.refresh()
    assert the_only(statistics(business))["message_count"] == 5


def test_while_it_is_loaded_numbers_are_of_what_is_loaded(business: Business) -> None:
    business.write_to_many(3)
    business.refresh()
    loaded = now()
    business.root.execute("SELECT guestcomms_internal.request_load(%s)", [business.tenant])
    business.write()
    row = the_only(statistics(business))
    assert row["message_count"] == 3
    assert row["as_of"] < loaded
    business.refresh()
    row = the_only(statistics(business))
    assert row["message_count"] == 4
    assert row["as_of"] > loaded


def test_before_the_first_load_there_is_no_moment(business: Business) -> None:
    business.write()
    business.refresh()
    fallen_behind = (
        "UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL,"
        " reading_seq = NULL WHERE consumer = 'warehouse'"
    )
    business.root.execute(fallen_behind)
    business.write()
    assert pick(statistics(business), "message_count", "as_of") == [(1, None)]
    business.refresh()
    assert pick(statistics(business), "message_count") == [(2,)]
