"""get_live_statistics(): the last minutes and today, read or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.support.business import NOON, Business, Found, pick
from tests.support.queries import one, refused
from tests.support.store import Store
from tests.support.traffic import now

CHANNELS = ("email", "sms", "whatsapp", "chat")
NUMBERS = ("inbound_count", "outbound_count", "delivered", "opened", "clicked", "failed", "unsubscribed")
IS_REFRESHED = pytest.mark.parametrize("is_refreshed", [False, True], ids=["unread", "refreshed"])


def zone_where_it_is_noon() -> str:
    """So that no test is run around midnight."""
    return f"Etc/GMT{now().hour - 12:+}"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store, zone_where_it_is_noon()) as business:
        yield business


def live(business: Business, minutes: int = 15) -> dict[tuple[str, str], Found]:
    found = business.ask("SELECT * FROM guestcomms.get_live_statistics(%s)", minutes)
    return {(row["period"], row["channel"]): row for row in found}


def happened(business: Business, minutes: int = 15) -> dict[tuple[str, str], tuple[int, ...]]:
    """Where something did, what."""
    found = {key: pick([row], *NUMBERS)[0] for key, row in live(business, minutes).items()}
    return {key: numbers for key, numbers in found.items() if any(numbers)}


def midnight(business: Business) -> datetime:
    at: datetime = one(
        business.root,
        "SELECT date_trunc('day', now(), timezone) FROM guestcomms.tenants WHERE tenant_id = %s",
        business.tenant,
    )
    return at


def test_a_new_business_has_rows_of_zeros(business: Business) -> None:
    found = live(business)
    assert list(found) == [(period, channel) for period in ("last_minutes", "today") for channel in CHANNELS]
    assert {row[name] for row in found.values() for name in NUMBERS} == {0}
    assert found["today", "email"]["period_start"] == midnight(business)


@IS_REFRESHED
def test_the_last_minutes_and_today(business: Business, is_refreshed: bool) -> None:
    start = midnight(business)
    for _ in range(3):
        business.write(now(), direction="inbound", channel="sms")
    for at in (now(), now() - timedelta(minutes=30), start, start - timedelta(seconds=1), start - timedelta(days=1)):
        business.write(at, channel="chat")
    if is_refreshed:
        business.refresh()
    assert happened(business) == {
        ("last_minutes", "sms"): (3, 0, 0, 0, 0, 0, 0),
        ("last_minutes", "chat"): (0, 1, 0, 0, 0, 0, 0),
        ("today", "sms"): (3, 0, 0, 0, 0, 0, 0),
        ("today", "chat"): (0, 3, 0, 0, 0, 0, 0),
    }
    assert happened(business, 60)["last_minutes", "chat"] == (0, 2, 0, 0, 0, 0, 0)


@IS_REFRESHED
def test_events_by_when_they_happened(business: Business, is_refreshed: bool) -> None:
    long_ago = business.write(NOON)
    if is_refreshed:
        business.refresh()
    for kind in ("delivered", "opened", "read", "clicked", "failed", "bounced", "unsubscribed", "queued", "complained"):
        business.note(long_ago, kind, now())
    for kind in ("opened", "read", "clicked"):
        business.note(long_ago, kind, now(), is_machine=True)
    business.note(long_ago, "clicked", now() - timedelta(minutes=40))
    business.note(long_ago, "clicked", midnight(business) - timedelta(seconds=1))
    for _ in range(2):
        assert happened(business) == {
            ("last_minutes", "email"): (0, 0, 1, 2, 1, 2, 1),
            ("today", "email"): (0, 0, 1, 2, 2, 2, 1),
        }
        business.refresh()


def test_what_changed_is_counted_once(business: Business) -> None:
    kept, deleted = business.write(now()), business.write(now())
    event = business.note(kept, "opened", now())
    business.refresh()
    business.root.execute("UPDATE guestcomms.messages SET channel = 'sms' WHERE message_id = %s", [kept])
    business.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [deleted])
    for _ in range(2):
        assert happened(business) == {(period, "sms"): (0, 1, 0, 1, 0, 0, 0) for period in ("last_minutes", "today")}
        business.refresh()
    business.root.execute("DELETE FROM guestcomms.message_events WHERE event_id = %s", [event])
    for _ in range(2):
        assert happened(business) == {(period, "sms"): (0, 1, 0, 0, 0, 0, 0) for period in ("last_minutes", "today")}
        business.refresh()


def test_others_traffic_is_not_counted(store: Store, business: Business) -> None:
    with Business(store) as other:
        other.note(other.write(now()), "opened", now())
        for _ in range(2):
            assert happened(business) == {}
            other.refresh()


def test_bad_questions(business: Business) -> None:
    for minutes in (0, 1441, None):
        with refused("22023"):
            business.ask("SELECT * FROM guestcomms.get_live_statistics(%s)", minutes)
