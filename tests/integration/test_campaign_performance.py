"""get_campaign_performance(): counts of known campaigns, also renamed or removed ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.support.business import NOON, Business, Found, pick
from tests.support.queries import refused
from tests.support.store import Store
from tests.support.traffic import add_guest

PERFORMANCE = "SELECT * FROM guestcomms.get_campaign_performance()"
COUNTS = ("message_count", "sent", "delivered", "opened", "machine_opened", "clicked", "replied", "failed", "unsubscribed")
RATES = ("delivery_rate", "open_rate", "click_rate", "click_to_open_rate", "reply_rate", "failure_rate", "unsubscribe_rate")
IS_REFRESHED = pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def performance(business: Business) -> list[Found]:
    return business.ask(PERFORMANCE)


@IS_REFRESHED
def test_what_came_of_a_campaign(business: Business, is_refreshed: bool) -> None:
    campaign = business.add_campaign()
    emails = [business.write(campaign_id=campaign) for _ in range(4)]
    for message in emails:
        business.note(message, "delivered")
    for message in emails[:2]:
        business.note(message, "opened")
    business.note(emails[0], "clicked")
    business.note(emails[0], "unsubscribed")
    business.note(emails[3], "opened", is_machine=True)
    business.note(business.write(NOON + timedelta(days=2), campaign_id=campaign, channel="sms"), "delivered")
    business.note(business.write(campaign_id=campaign, channel="sms"), "failed")
    business.write(campaign_id=campaign, direction="inbound")
    business.write()
    if is_refreshed:
        business.refresh()
    (row,) = performance(business)
    assert pick([row], *COUNTS) == [(6, 6, 5, 2, 1, 1, 0, 1, 1)]
    assert pick([row], *RATES) == [(5 / 6, 2 / 4, 1 / 5, 1 / 2, 0, 1 / 6, 1 / 5)]
    expected = (campaign, "Invitations", "service", date(2026, 3, 14), date(2026, 3, 16), False)
    assert pick([row], "campaign_id", "campaign", "purpose", "first_day", "last_day", "is_suppressed") == [expected]


@IS_REFRESHED
def test_a_rate_of_nothing_is_null(business: Business, is_refreshed: bool) -> None:
    business.write(campaign_id=business.add_campaign(), status="queued")
    if is_refreshed:
        business.refresh()
    (row,) = performance(business)
    assert (row["message_count"], row["sent"]) == (1, 0)
    assert [row[rate] for rate in RATES] == [None] * len(RATES)


@IS_REFRESHED
def test_days_are_those_of_the_business(store: Store, is_refreshed: bool) -> None:
    with Business(store, "Pacific/Chatham") as business:
        campaign = business.add_campaign()
        for hour in (10, 11):  # midnight is at 10:15 there
            business.write(datetime(2026, 3, 14, hour, tzinfo=UTC), campaign_id=campaign)
        if is_refreshed:
            business.refresh()
        expected = [(date(2026, 3, 14), date(2026, 3, 15))]
        assert pick(performance(business), "first_day", "last_day") == expected


@IS_REFRESHED
def test_the_newest_comes_first(business: Business, is_refreshed: bool) -> None:
    for name, day in (("Second", 20), ("First", 25), ("Third", 2)):
        campaign = business.add_campaign(name)
        business.write(datetime(2026, 3, day, tzinfo=UTC), campaign_id=campaign)
    if is_refreshed:
        business.refresh()
    assert pick(performance(business), "campaign") == [("First",), ("Second",), ("Third",)]


@IS_REFRESHED
def test_of_a_time_and_of_some(business: Business, is_refreshed: bool) -> None:
    campaigns = [business.add_campaign(name) for name in ("One", "Two")]
    for campaign in campaigns:
        for day in (1, 2, 3):
            business.write(datetime(2026, 3, day, 23, 50, tzinfo=UTC), campaign_id=campaign)
    if is_refreshed:
        business.refresh()
    query = "SELECT * FROM guestcomms.get_campaign_performance(%s, %s, %s)"
    for since, until, asked, expected in (
        ("2026-03-02 00:00Z", None, None, [("One", 2), ("Two", 2)]),
        ("2026-03-02 00:00Z", "2026-03-03 00:00Z", None, [("One", 1), ("Two", 1)]),
        ("2026-03-01 23:45Z", "2026-03-03 23:45Z", [campaigns[1]], [("Two", 2)]),
        (None, None, [campaigns[0]], [("One", 3)]),
        (None, None, [business.tenant], []),
        (None, None, [], []),
    ):
        assert sorted(pick(business.ask(query, since, until, asked), "campaign", "message_count")) == expected


def test_a_new_name_holds_at_once(business: Business) -> None:
    campaign = business.add_campaign("Old")
    business.write(campaign_id=campaign)
    business.refresh()
    business.root.execute("UPDATE guestcomms.campaigns SET name = 'New' WHERE campaign_id = %s", [campaign])
    assert pick(performance(business), "campaign", "sent") == [("New", 1)]
    business.refresh()
    assert pick(performance(business), "campaign", "sent") == [("New", 1)]


def test_one_that_was_removed_keeps_what_was_archived(business: Business) -> None:
    campaign = business.add_campaign("Old")
    message = business.write(campaign_id=campaign)
    business.note(message, "opened")
    business.refresh()
    business.root.execute("SELECT guestcomms_internal.keep_facts(%s, %s)", [business.tenant, [message]])
    business.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [message])
    business.root.execute("DELETE FROM guestcomms.campaigns WHERE campaign_id = %s", [campaign])
    assert pick(performance(business), "campaign_id", "campaign", "opened", "open_rate") == [(campaign, "Old", 1, 1)]
    business.refresh()
    assert pick(performance(business), "campaign_id", "campaign", "opened", "open_rate") == [(campaign, "(removed)", 1, 1)]


@IS_REFRESHED
def test_one_without_messages_is_not_there(business: Business, is_refreshed: bool) -> None:
    campaign = business.add_campaign()
    message = business.write(campaign_id=campaign)
    if is_refreshed:
        business.refresh()
    business.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [message])
    for _ in range(2):
        assert performance(business) == []
        business.refresh()


@pytest.mark.parametrize("others", [0, 4], ids=["no answers", "answers"])
def test_small_campaigns_are_hidden(business: Business, others: int) -> None:
    business.set("warehouse.min_guests", "3")
    small, large = business.add_campaign("Small"), business.add_campaign("Large")
    guests = [add_guest(business.root, f"Guest {number}") for number in range(2)]
    for guest in guests * 3:
        business.write(guest=guest, campaign_id=small)
    business.write_to_many(others, campaign_id=small, direction="inbound")  # who wrote is not whom it was sent to
    business.write_to_many(3, campaign_id=large)
    business.refresh()
    found = {row["campaign"]: row for row in performance(business)}
    assert (found["Large"]["is_suppressed"], found["Large"]["sent"]) == (False, 3)
    assert found["Small"]["is_suppressed"] is True
    assert [found["Small"][name] for name in COUNTS + RATES] == [None] * len(COUNTS + RATES)


def test_bad_questions(business: Business) -> None:
    for arguments in ("since => '2026-03-02', until => '2026-03-01'", "since => '-infinity'", "until => 'infinity'"):
        with refused("22023"):
            business.ask(f"SELECT * FROM guestcomms.get_campaign_performance({arguments})".encode())


def test_a_new_business_has_none(business: Business) -> None:
    assert performance(business) == []
