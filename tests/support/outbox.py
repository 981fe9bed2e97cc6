"""A business whose queued messages workers claim and send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import Row, one, rows
from tests.support.traffic import message, record_all

Found = dict[str, Any]

CLAIM = "SELECT * FROM guestcomms.claim_outbound(%s, %s, %s, %s)"
CONFIRM = "SELECT guestcomms.confirm_sent(%s, %s, %s, %s)"
FAIL = "SELECT guestcomms.fail_sent(%s, %s, %s, %s)"
STATUS = "SELECT status FROM guestcomms.messages WHERE message_id = %s"
ATTEMPTS = "SELECT attempt, worker, outcome, is_duplicate FROM guestcomms.list_send_attempts(%s)"
# As if so much time had passed since the claim.
EXPIRE = """
    UPDATE guestcomms.send_attempts SET leased_until = now() - interval '1 second'
    WHERE message_id = %s AND outcome IS NULL AND leased_until > now()
"""
DUE = "UPDATE guestcomms.messages SET scheduled_at = now() - interval '1 second' WHERE message_id = %s"
LAST_EVENT = """
    SELECT kind, detail FROM guestcomms.message_events WHERE message_id = %s ORDER BY recorded_at DESC, event_id DESC LIMIT 1
"""


@dataclass
class Outbox:
    """app is an application's session, root a superuser's, both for the same tenant."""

    office: Archive
    root: Connection
    app: Connection

    def guest(self, channel: str = "email") -> UUID:
        """Someone new who is reached by a channel."""
        number = one(self.root, "SELECT count(*) FROM guestcomms.guests")
        address = f"guest{number}@example.com" if channel in ("email", "chat") else f"+44770090{number:05}"
        guest: UUID = one(self.root, "SELECT guestcomms.resolve_guest(%s, %s)", channel, address)
        return guest

    def queue(self, guest: UUID | None = None, minutes: float = -1, channel: str = "email", **values: object) -> UUID:
        """A message that is due so many minutes from now."""
        due = self.time(minutes).isoformat()
        plain: dict[str, object] = {"direction": "outbound", "channel": channel, "body": "The seating plan"}
        (queued,) = record_all(self.app, [message(guest or self.guest(channel), **(plain | {"scheduled_at": due} | values))])
        return queued

    def time(self, minutes: float) -> datetime:
        at: datetime = one(self.root, "SELECT now()") + timedelta(minutes=minutes)
        return at

    def claim(
        self, worker: str = "w1", channel: str | None = None, max_rows: int = 10, lease: str = "1 minute", by: Any = None
    ) -> list[Found]:
        return ask(by or self.app, CLAIM, worker, channel, max_rows, lease)

    def confirm(self, claimed: Found, external_id: str | None = None, source: str | None = None) -> str:
        said: str = one(self.app, CONFIRM, claimed["message_id"], claimed["claim_token"], external_id, source)
        return said

    def fail(self, claimed: Found, code: str = "451", retry_at: datetime | str | None = None) -> datetime | None:
        again: datetime | None = one(self.app, FAIL, claimed["message_id"], claimed["claim_token"], code, retry_at)
        return again

    def status(self, message: UUID) -> str:
        status: str = one(self.root, STATUS, message)
        return status

    def expire(self, message: UUID) -> None:
        """Its lease has run out."""
        self.root.execute(EXPIRE, [message])

    def make_due(self, message: UUID) -> None:
        """The time to try it again has come."""
        self.root.execute(DUE, [message])

    def attempts(self, message: UUID) -> list[Row]:
        return rows(self.app, ATTEMPTS, message)

    def last_event(self, message: UUID) -> Row:
        """Kind and detail."""
        (found,) = rows(self.root, LAST_EVENT, message)
        return found


def ask(connection: Connection, query: str, *values: object) -> list[Found]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values or None).fetchall()


@contextmanager
def open_outbox(store: Any) -> Iterator[Outbox]:
    with Archive(store, "Outbox") as office:
        yield Outbox(office, office.root, office.connect("app_login"))
