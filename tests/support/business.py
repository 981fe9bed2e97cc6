"""A business whose messages and events a test dates itself, to know what statistics must say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.support.database import Connection
from tests.support.queries import Query, one
from tests.support.store import Store
from tests.support.traffic import add_guest, record

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
Found = dict[str, Any]


class Business:
    """A new tenant of a store, asked as an application asks; warehouse and reports are refreshed when a test says so."""

    def __init__(self, store: Store, timezone: str = "UTC") -> None:
        self.operator = store.connect("operator_login")
        refresh_warehouse(self.operator)  # a store that was never loaded has no numbers
        self.root = store.connect()
        self.root.execute("SELECT guestcomms.ensure_partitions(%s, %s)", [NOON - timedelta(days=60), NOON + timedelta(days=60)])
        self.tenant: UUID = one(self.root, "SELECT guestcomms.add_tenant('Business', %s)", timezone)
        self.root.execute("SELECT guestcomms.use_tenant(%s, true)", [self.tenant])
        self.root.execute("SELECT guestcomms.add_member('app_login')")
        self.application = store.connect("app_login", self.tenant)
        self.guest = add_guest(self.root)

    def __enter__(self) -> Business:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self.root, self.application, self.operator):
            connection.close()

    def open_thread(self, guest: UUID | None = None) -> UUID:
        thread: UUID = one(self.root, "SELECT guestcomms.open_thread(guest_id => %s)", guest or self.guest)
        return thread

    def add_campaign(self, name: str = "Invitations") -> UUID:
        query = "INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, %s) RETURNING campaign_id"
        campaign: UUID = one(self.root, query, self.tenant, name)
        return campaign

    def write(self, at: datetime = NOON, guest: UUID | None = None, thread: UUID | None = None, **values: Any) -> UUID:
        """A message, outbound and by e-mail if nothing is said, in a conversation of its own."""
        guest = guest or self.guest
        plain = {"direction": "outbound", "channel": "email", "sent_at": at.isoformat()}
        texts = {name: str(value) for name, value in values.items()}
        return record(self.root, guest, thread_id=str(thread or self.open_thread(guest)), **(plain | texts))

    def write_to_many(self, count: int, at: datetime = NOON, **values: Any) -> list[UUID]:
        """A message to each of so many new guests."""
        return [self.write(at, add_guest(self.root, f"Guest {number}"), **values) for number in range(count)]

    def talk(self, *turns: tuple[str, float], at: datetime = NOON, **values: Any) -> list[UUID]:
        """A conversation: directions, and minutes after its beginning."""
        thread = self.open_thread()
        return [self.write(at + timedelta(minutes=after), thread=thread, direction=who, **values) for who, after in turns]

    def note(self, message: UUID, kind: str, at: datetime = NOON + timedelta(minutes=5), is_machine: bool = False) -> UUID:
        """An event of a message."""
        query = "SELECT guestcomms.record_event(%s, %s, %s, is_machine => %s)"
        event: UUID = one(self.root, query, message, kind, at, is_machine)
        return event

    def set(self, name: str, value: str | None) -> None:
        """A setting of this business."""
        self.root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])

    def ask(self, query: Query, *values: object) -> list[Found]:
        """Rows as an application gets them."""
        return ask(self.application, query, *values)

    def refresh(self) -> None:
        refresh_warehouse(self.operator)

    def report(self, query: Query, *values: object) -> list[Found]:
        """Rows of a view of guestcomms_bi, after all reports are refreshed."""
        refresh_reports(self.operator)
        return ask(self.root, query, *values)


def ask(connection: Connection, query: Query, *values: object) -> list[Found]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values or None).fetchall()


def refresh_warehouse(operator: Connection) -> None:
    for _ in range(10_000):
        if one(operator, "SELECT guestcomms.refresh_warehouse()") == 0:
            return
    raise AssertionError("refreshing goes round in circles")


def refresh_reports(operator: Connection) -> None:
    """All of them: within a transaction none is refreshed twice."""
    with operator.transaction():
        for _ in range(100):
            if one(operator, "SELECT guestcomms.refresh_reports('0')") == 0:
                return
    raise AssertionError("refreshing goes round in circles")


def pick(found: Sequence[Found], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of rows."""
    return [tuple(row[name] for name in names) for row in found]
