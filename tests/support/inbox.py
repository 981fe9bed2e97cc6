"""How conversations stand, counted anew in Python from all messages there are, hot and archived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.support.database import Connection
from tests.support.queries import rows

HOT = """
SELECT m.thread_id, m.message_id, m.sent_at, m.direction, m.channel, m.status, m.read_at IS NULL AND m.deleted_at IS NULL
FROM guestcomms.messages AS m WHERE m.tenant_id = %s
"""
ARCHIVED = """
SELECT m.thread_id, m.message_id, m.sent_at, m.direction, m.channel, m.status, false
FROM guestcomms_internal.archived_messages(%s) AS m
"""
STATES = """
SELECT thread_id, last_message_id, last_message_at, last_direction, last_channel, last_inbound_at, last_outbound_at,
    waiting_since, unread_count FROM guestcomms.threads WHERE tenant_id = %s
"""
SENT = ("sent", "delivered", "read")


@dataclass(frozen=True)
class State:
    """The columns of threads that follow from messages."""

    last_message_id: UUID | None = None
    last_message_at: datetime | None = None
    last_direction: str | None = None
    last_channel: str | None = None
    last_inbound_at: datetime | None = None
    last_outbound_at: datetime | None = None
    waiting_since: datetime | None = None
    unread_count: int = 0


@dataclass(frozen=True)
class Message:
    thread: UUID
    message_id: UUID
    sent_at: datetime
    direction: str
    channel: str
    status: str
    is_unread: bool

    @property
    def counts(self) -> bool:
        return self.direction == "inbound" or self.status in SENT


def latest(times: Iterable[datetime]) -> datetime | None:
    return max(times, default=None)


def state_of(messages: list[Message]) -> State:
    """By the definition: who wrote last waits since the first of their messages that nothing of the other side follows."""
    exchanged = sorted((m for m in messages if m.counts), key=lambda m: (m.sent_at, m.message_id))
    if not exchanged:
        return State()
    last = exchanged[-1]
    inbound = [m.sent_at for m in exchanged if m.direction == "inbound"]
    outbound = [m.sent_at for m in exchanged if m.direction == "outbound"]
    if inbound and (not outbound or max(inbound) > max(outbound)):
        since = min(at for at in inbound if not outbound or at > max(outbound))
    else:
        since = min(at for at in outbound if not inbound or at >= max(inbound))
    return State(
        last.message_id,
        last.sent_at,
        last.direction,
        last.channel,
        latest(inbound),
        latest(outbound),
        since,
        sum(m.is_unread for m in messages if m.direction == "inbound"),
    )


def recount(root: Connection, tenant: UUID) -> dict[UUID, State]:
    """By thread; those without messages are left out."""
    found: dict[UUID, list[Message]] = defaultdict(list)
    for values in rows(root, HOT, tenant) + rows(root, ARCHIVED, tenant):
        message = Message(*values)
        found[message.thread].append(message)
    return {thread: state for thread, messages in found.items() if (state := state_of(messages)) != State()}


def kept(root: Connection, tenant: UUID) -> dict[UUID, State]:
    """What the threads' rows say, but for those that say nothing."""
    states: dict[UUID, State] = {}
    for thread, *values in rows(root, STATES, tenant):
        state: Any = State(*values)
        if state != State():
            states[thread] = state
    return states
