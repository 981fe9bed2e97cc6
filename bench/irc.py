"""Real conversation for the benchmarks: public IRC help channels, as messages of a tenant.

Source: jkkummerfeld/irc-disentanglement, CC BY 4.0. Senders become guests and days threads; the file's days, which lie
years apart, become consecutive days that end today, so that the messages fill the last months' partitions.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bench.common import Connection, data_directory


@dataclass(frozen=True)
class Message:
    sent_at: datetime
    sender: str
    day: int
    body: str


def read_messages(limit: int | None = None) -> list[Message]:
    """The channel ``ubuntu``, oldest first; limit keeps the newest."""
    path = data_directory() / "irc" / "messages.tsv.gz"
    found: list[tuple[datetime, str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            channel, sent_at, sender, body = line.rstrip("\n").split("\t", 3)
            if channel == "ubuntu":
                found.append((datetime.fromisoformat(sent_at), sender, body))
    found.sort(key=lambda row: row[0])
    days = {day: number for number, day in enumerate(sorted({row[0].date() for row in found}))}
    first = datetime.now(UTC).date() - timedelta(days=len(days))
    messages = []
    for place, (spoken_at, sender, body) in enumerate(found):
        number = days[spoken_at.date()]
        moved = datetime.combine(first + timedelta(days=number), spoken_at.timetz())
        messages.append(Message(moved + timedelta(milliseconds=place % 60_000), sender, number, body))
    return messages[-limit:] if limit else messages


@dataclass(frozen=True)
class Tenant:
    """A tenant with a guest for every sender and a thread for every day."""

    tenant_id: str
    guests: dict[str, str]
    threads: dict[int, str]


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


def first_day(messages: list[Message]) -> date:
    return min(message.sent_at for message in messages).date()
