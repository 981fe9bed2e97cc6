"""Retention over a simulated year: policies run month by month, and what is left is what an account of its own says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.retention import Business, days, midnight, months_before
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "8"))
ZONE = "Europe/Berlin"
HOLD = "SELECT guestcomms.place_hold(%s, 'dispute')"
ARCHIVE = "SELECT guestcomms_internal.move_to_archive(%s, %s, '{}', 'auto')"


@dataclass(frozen=True)
class Message:
    """What a policy asks of a message."""

    sent_at: datetime
    channel: str
    wedding_day: date | None
    is_held: bool
    is_queued: bool


@dataclass(frozen=True)
class Policy:
    months: int
    counts_from: str
    channels: tuple[str, ...] | None

    def removes(self, message: Message, as_of: datetime) -> bool:
        if message.is_held or message.is_queued or (self.channels and message.channel not in self.channels):
            return False
        start = message.sent_at
        if self.counts_from == "wedding":
            if message.wedding_day is None:
                return False
            start = max(start, midnight(message.wedding_day, ZONE))
        return start < months_before(as_of, self.months, ZONE)


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        business.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [ZONE, business.tenant])
        yield business


def test_a_year_month_by_month(business: Business) -> None:
    """Fourteen months of messages of three weddings and of a guest without, half of them archived as they age."""
    firsts = [months_before(business.now, 13 - number).date() - days(2) for number in range(14)]
    months = [midnight(first) + timedelta(hours=12) for first in firsts]
    model: dict[UUID, Message] = {}
    behaved: dict[UUID, Message] = {}
    for number in range(4):
        guest = business.guest(f"guest {number}")
        held_on = (months[3 + 3 * number]).date() if number < 3 else None
        wedding = business.wedding(held_on, guest) if held_on else None
        thread = business.thread(guest)
        if number == 1:
            business.root.execute(HOLD, [f'{{"guest_id": "{guest}", "until": "{months[5] - timedelta(hours=1)}"}}'])
        for month, at in enumerate(months):
            channel = ("email", "sms")[month % 2]
            outbound = {"direction": "outbound", "status": "sent"} if month % 3 else {}
            message = business.write(
                guest, thread, (business.now - at).total_seconds() / 86400, channel=channel, wedding_id=wedding, **outbound
            )
            business.event(message, "opened" if month % 3 else "read", occurred_at=at + timedelta(hours=3))
            model[message] = Message(at, channel, held_on, number == 1 and at < months[5], is_queued=False)
            behaved[message] = model[message]
    numbers = business.numbers()
    content = [Policy(4, "wedding", None), Policy(9, "age", None), Policy(6, "age", ("sms",))]
    behaviour = Policy(2, "age", None)
    for number, policy in enumerate(content):
        business.keep(
            f"content {number}",
            *("content", f"{policy.months} months"),
            counts_from=policy.counts_from,
            channels=list(policy.channels) if policy.channels else None,
        )
    business.keep("behaviour", "behaviour", "2 months")
    seen = []
    for step in range(15):
        as_of = months[0] + timedelta(days=30.5 * (step + 1))
        if step == 4:
            business.policy(older_than="300 days")
            business.archive()
            assert business.archived()
        expected = {m for m, said in model.items() if not any(policy.removes(said, as_of) for policy in content)}
        due = {name: sum(policy.removes(model[m], as_of) for m in business.left()) for name, policy in enumerate(content)}
        previewed = business.preview(as_of)
        for number in range(len(content)):
            found = sum(previewed[f"content {number}", each]["row_count"] for each in ("messages", "archive"))
            assert found == due[number], (step, number)
        counts = business.sweep(as_of, max_rows=7)
        seen.append(counts["messages"] + counts["archived_messages"] > 0)
        assert business.left() == expected, step
        model = {m: said for m, said in model.items() if m in expected}
        assert business.events() == {m for m in expected if not behaviour.removes(model[m], as_of)}, step
        assert all(row["row_count"] == 0 for (_, each), row in business.preview(as_of).items() if each in ("messages", "archive"))
    assert sum(seen) > 5
    assert 0 < len(model) < len(behaved)
    assert business.damage() == []
    assert business.numbers() == numbers
    assert {m for m, said in behaved.items() if said.is_held} <= business.left()


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.integers(0, 399),
            "channel": st.sampled_from(["email", "sms", "chat"]),
            "wedding": st.integers(0, 3),
            "guest": st.integers(0, 1),
            "is_queued": st.booleans(),
            "is_archived": st.booleans(),
        }
    ),
    max_size=12,
)
POLICIES = st.lists(
    st.builds(
        Policy,
        months=st.integers(1, 14),
        counts_from=st.sampled_from(["age", "wedding"]),
        channels=st.none() | st.lists(st.sampled_from(["email", "sms", "chat"]), min_size=1, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=3,
)


def test_any_policies_leave_what_the_model_leaves(store: Store) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(MESSAGES, POLICIES, st.integers(0, 1), st.integers(1, 9), st.integers(0, 200))
    def check(messages: list[dict[str, Any]], policies: list[Policy], held: int, max_rows: int, ahead: int) -> None:
        with Business(store) as business:
            business.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [ZONE, business.tenant])
            business.configure("segment_messages", "3")
            # By day, for an hour that comes twice is one to Python and another to PostgreSQL.
            now = (business.now - days(1)).replace(hour=12, minute=0, second=0, microsecond=0)
            guests = [business.guest(), business.guest()]
            threads = [business.thread(guest) for guest in guests]
            weddings = [None, None, (now - days(200)).date(), (now + days(30)).date()]
            ids = [None, *(business.wedding(day) for day in weddings[1:])]
            business.root.execute(HOLD, [f'{{"guest_id": "{guests[held]}", "until": "{now - days(100)}"}}'])
            model: dict[UUID, Message] = {}
            archived = []
            for each in messages:
                sent_at = now - days(each["age"]) - timedelta(hours=1)
                is_queued = each["is_queued"] and not each["is_archived"]
                message = business.write(
                    guests[each["guest"]],
                    threads[each["guest"]],
                    (business.now - sent_at).total_seconds() / 86400,
                    channel=each["channel"],
                    wedding_id=ids[each["wedding"]],
                    direction="outbound",
                    status="queued" if is_queued else "sent",
                )
                is_held = each["guest"] == held and sent_at < now - days(100)
                model[message] = Message(sent_at, each["channel"], weddings[each["wedding"]], is_held, is_queued)
                if each["is_archived"]:
                    archived.append(message)
            if archived:
                business.root.execute(ARCHIVE, [business.tenant, archived])
            for number, policy in enumerate(policies):
                business.keep(
                    str(number),
                    *("content", f"{policy.months} months"),
                    counts_from=policy.counts_from,
                    channels=list(policy.channels) if policy.channels else None,
                )
            as_of = (now + days(ahead)).astimezone(UTC)
            removed = {m for m, said in model.items() if any(policy.removes(said, as_of) for policy in policies)}
            previewed = business.preview(as_of)
            for number, policy in enumerate(policies):
                found = sum(previewed[str(number), step]["row_count"] for step in ("messages", "archive"))
                assert found == sum(policy.removes(said, as_of) for said in model.values())
            counts = business.sweep(as_of, max_rows)
            assert business.left() == set(model) - removed
            assert counts["messages"] + counts["archived_messages"] == len(removed)
            assert business.damage() == []

    check()
