"""What the data files become: messages, and tenants that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from bench.common import Connection

PAYLOAD = "guest_id, direction, channel, language, body, sent_at, thread_id, external_id, source, subject"


@dataclass(frozen=True)
class Message:
    """One message: sender becomes a guest, day (a number, 0 the first) a thread; subject None where there is none."""

    sent_at: datetime
    sender: str
    day: int
    body: str
    language: str = "en"
    channel: str = "chat"
    direction: str = "inbound"
    subject: str | None = None


@dataclass(frozen=True)
class Tenant:
    """A tenant with a guest for every sender and a thread for every day."""

    tenant_id: str
    guests: dict[str, str]
    threads: dict[int, str]


Row = tuple[str | None, ...]


def end_today(dates: Iterable[date]) -> dict[date, tuple[int, date]]:
    """Dates that lie far apart, as numbered consecutive days of which the last is yesterday."""
    known = sorted(set(dates))
    first = datetime.now(UTC).date() - timedelta(days=len(known))
    return {day: (number, first + timedelta(days=number)) for number, day in enumerate(known)}


def span(messages: list[Message]) -> int:
    """How many days the messages cover."""
    return 1 + max(message.day for message in messages) - min(message.day for message in messages)


def move(messages: list[Message], days: int) -> list[Message]:
    """The same messages so many days earlier, in the same threads."""
    return [replace(message, sent_at=message.sent_at - timedelta(days=days)) for message in messages]


def repeat(messages: list[Message], copies: int) -> list[Message]:
    """The messages, oldest first, after copies of them, each as many days earlier as they cover.

    Words keep their frequencies relative to each other; only time and number grow."""
    found = []
    for copy in reversed(range(copies)):
        days = span(messages)
        earlier = move(messages, copy * days)
        found += [replace(message, day=message.day + (copies - 1 - copy) * days) for message in earlier]
    return found


def first_day(messages: list[Message]) -> date:
    return min(message.sent_at for message in messages).date()


def add_tenant(connection: Connection, name: str, messages: list[Message]) -> Tenant:
    (tenant,) = connection.execute("SELECT guestcomms.add_tenant(%s, language => 'en')::text", [name]).fetchone() or ("",)
    senders = sorted({message.sender for message in messages})
    numbers = sorted({message.day for message in messages})
    guests: dict[str, str] = dict(
        connection.execute(
            "INSERT INTO guestcomms.guests (tenant_id, display_name) SELECT %s, unnest(%s::text[]) "
            "RETURNING display_name, guest_id::text",
            [tenant, senders],
        ).fetchall()
    )
    guest = guests[senders[0]]
    threads = connection.execute(
        "INSERT INTO guestcomms.threads (tenant_id, guest_id, subject) SELECT %s, %s, day::text FROM unnest(%s::int[]) AS day "
        "RETURNING subject::int, thread_id::text",
        [tenant, guest, numbers],
    ).fetchall()
    connection.execute("ANALYZE guestcomms.guests, guestcomms.threads")
    return Tenant(tenant, guests, dict(threads))


def payload(_: Connection, tenant: Tenant, messages: list[Message]) -> list[Row]:
    """Rows of the columns PAYLOAD, as an application has them."""
    return [
        (
            tenant.guests[message.sender],
            message.direction,
            message.channel,
            message.language,
            message.body,
            message.sent_at.isoformat(),
            tenant.threads[message.day],
            f"{message.day}-{place}",
            "bench",
            message.subject,
        )
        for place, message in enumerate(messages)
    ]


def with_ids(connection: Connection, tenant: Tenant, messages: list[Message]) -> list[Row]:
    """Rows for a direct COPY, which must bring identifiers."""
    rows = payload(connection, tenant, messages)
    ids = connection.execute(
        "SELECT guestcomms.uuid_v7(at)::text FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS u (at, n) ORDER BY n",
        [[row[5] for row in rows]],
    ).fetchall()
    return [(tenant.tenant_id, id, "received", *row) for (id,), row in zip(ids, rows, strict=True)]


def copy_rows(connection: Connection, statement: str, rows: list[Row]) -> None:
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def copy_into_messages(connection: Connection, _: Tenant, rows: list[Row]) -> None:
    """Operators' COPY straight into the table, of rows with_ids()."""
    connection.execute("SET LOCAL ROLE guestcomms_operator")
    copy_rows(connection, f"COPY guestcomms.messages (tenant_id, message_id, status, {PAYLOAD}) FROM STDIN", rows)
    connection.execute("RESET ROLE")


def load_tenant(connection: Connection, name: str, messages: list[Message]) -> Tenant:
    """A new tenant with all the messages, in transactions of 50,000."""
    tenant = add_tenant(connection, name, messages)
    for start in range(0, len(messages), 50_000):
        copy_into_messages(connection, tenant, with_ids(connection, tenant, messages[start : start + 50_000]))
        connection.commit()
    return tenant
