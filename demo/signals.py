"""Delivery and engagement: what becomes of outbound messages."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from random import Random

from demo.model import Event, Message, Tenant

# channel: share failed, median minutes to be read, share read by people
_CHANNELS = {
    "email": (0.008, 95.0, 0.66),
    "sms": (0.016, 0.0, 0.0),
    "whatsapp": (0.006, 14.0, 0.93),
    "chat": (0.001, 6.0, 0.96),
}


def add_events(rng: Random, tenant: Tenant, until: datetime) -> None:
    """Give every outbound message its events and its status; nothing lies after `until`."""
    answers = _find_answers(tenant)
    events: list[Event] = []
    for message in tenant.messages:
        if message.direction == "inbound":
            continue
        found = [event for event in _events_of(rng, message, answers.get(message.external_id)) if event[1] <= until]
        for number, (kind, at, is_machine) in enumerate(found, start=1):
            events.append(Event(f"{message.external_id}.{number}", message, kind, at, is_machine))
        message.status = _status({kind for kind, _, is_machine in found if not is_machine})
    events.sort(key=lambda event: (event.occurred_at, event.external_id))
    tenant.events = events


def _find_answers(tenant: Tenant) -> dict[str, datetime]:
    """For each outbound message followed by one of the guest's in its thread: when that came."""
    last: dict[int, Message] = {}
    answers = {}
    for message in tenant.messages:
        before = last.get(message.thread.key)
        if before and before.direction == "outbound" and message.direction == "inbound":
            answers[before.external_id] = message.sent_at
        last[message.thread.key] = message
    return answers


def _status(kinds: set[str]) -> str:
    for kind, status in (
        ("failed", "failed"),
        ("bounced", "failed"),
        ("read", "read"),
        ("delivered", "delivered"),
    ):
        if kind in kinds:
            return status
    return "sent"


def _events_of(rng: Random, message: Message, answered: datetime | None) -> list[tuple[str, datetime, bool]]:
    failing, median, share = _CHANNELS[message.channel]
    sent = message.sent_at + timedelta(seconds=rng.randint(0, 4))
    events = [("sent", sent, False)]
    if answered is None and not message.is_goodbye and rng.random() < failing:
        kind = "bounced" if message.channel == "email" else "failed"
        return [*events, (kind, sent + timedelta(seconds=rng.randint(2, 300)), False)]
    delivered = sent + timedelta(seconds=1 + round(rng.expovariate(1 / 12)))
    if answered is not None:
        delivered = min(delivered, answered)
    events.append(("delivered", delivered, False))
    if message.channel == "email" and message.guest.is_proxied:
        events.append(("opened", delivered + timedelta(seconds=rng.randint(3, 900)), True))
    if not share:
        return _with_answer(events, answered)
    likely = share * (0.62 if message.purpose == "marketing" else 0.85 if message.campaign else 1)
    if answered is None and not message.is_goodbye and rng.random() >= likely:
        return events
    seen = delivered + timedelta(seconds=round(60 * median * math.exp(rng.gauss(0, 1.3))) + 2)
    if answered is not None and seen >= answered:
        seen = delivered + (answered - delivered) * rng.uniform(0.5, 0.98)
    seen = seen.replace(microsecond=0)
    events.append(("opened" if message.channel == "email" else "read", max(seen, delivered), False))
    if "https://" in message.body and rng.random() < 0.34:
        events.append(("clicked", seen + timedelta(seconds=rng.randint(4, 140)), False))
    if message.is_goodbye:
        events.append(("unsubscribed", seen + timedelta(seconds=rng.randint(8, 90)), False))
    return _with_answer(events, answered)


def _with_answer(events: list[tuple[str, datetime, bool]], answered: datetime | None) -> list[tuple[str, datetime, bool]]:
    return events if answered is None else [*events, ("replied", answered, False)]
