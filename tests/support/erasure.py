"""Guests to be erased, and asking what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.support.archive import Archive
from tests.support.context import no_tenant
from tests.support.database import Connection
from tests.support.queries import one

# Tables that hold nothing of a tenant any more whose only guest was erased.
LEFT = (
    *(
        "guestcomms.guest_addresses",
        "guestcomms.consents",
        "guestcomms.threads",
        "guestcomms.messages",
        "guestcomms.message_events",
    ),
    *("guestcomms.message_versions", "guestcomms.attachments", "guestcomms.message_annotations", "guestcomms.message_keys"),
    *("guestcomms.event_keys", "guestcomms.archive_segments", "guestcomms.term_statistics", "guestcomms.vocabulary"),
    *(
        "guestcomms.spelling_words",
        "guestcomms.suggestion_prefixes",
        "guestcomms.name_statistics",
        "guestcomms_internal.replaced_messages",
    ),
    *("guestcomms_internal.erasure_messages", "guestcomms_internal.erasure_words"),
)


@dataclass(frozen=True)
class WrittenGuest:
    """A guest with messages in the tables and in the archive."""

    guest_id: UUID
    thread_id: UUID
    hot: list[UUID]
    archived: list[UUID]


def written_guest(archive: Archive, name: str, email: str, word: str = "seating", count: int = 3) -> WrittenGuest:
    """Old messages, which are archived, and as many new ones, each with its details."""
    guest = one(archive.root, "SELECT guestcomms.add_guest(%s, email => %s)", name, email)
    thread = archive.thread(guest)
    old, new = (
        [
            archive.write(
                guest, thread, days - number / 24, body=f"{word} {name} {number}", direction=("inbound", "outbound")[number % 2]
            )
            for number in range(count)
        ]
        for days in (300, 20)
    )
    for message in (*old, *new):
        archive.detail(message)
    archive.archive()
    return WrittenGuest(guest, thread, new, old)


def erase(connection: Connection, guest: UUID, mode: str = "erase", request: UUID | None = None) -> UUID:
    """erase_guest()."""
    erasure: UUID = one(connection, "SELECT guestcomms.erase_guest(%s, %s, %s)", guest, mode, request)
    return erasure


def finish(connection: Connection) -> int:
    """The job, until nothing is left, with no tenant open as a scheduler has none; returns how many steps it took."""
    steps = 0
    with no_tenant(connection):
        while one(connection, "SELECT guestcomms_internal.erase_batch()"):
            steps += 1
            assert steps < 1000, "erasing goes round in circles"
    return steps


def progress(connection: Connection, erasure: UUID) -> dict[str, Any]:
    """get_erasure_progress() of one."""
    with connection.cursor(row_factory=dict_row) as cursor:
        (found,) = cursor.execute("SELECT * FROM guestcomms.get_erasure_progress(%s)", [erasure]).fetchall()
    return found


def receipt(connection: Connection, erasure: UUID) -> dict[str, dict[str, Any]]:
    """list_erasure_receipt() by place."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute("SELECT * FROM guestcomms.list_erasure_receipt(%s)", [erasure]).fetchall()
    return {row["place"]: row for row in found}
