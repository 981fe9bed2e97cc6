"""Records and contexts for the writers of exports' files, as a store would give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from guestcomms.export_context import Context, Record, Records
from guestcomms.export_files import write

GUEST, THREAD, OTHER_THREAD = (str(UUID(int=number)) for number in (1, 2, 3))
TIME = "timestamp with time zone"
TABLES = {
    "guests": [("guest_id", "uuid"), ("display_name", "text"), ("erased_at", TIME)],
    "wedding_guests": [("wedding_id", "uuid"), ("guest_id", "uuid"), ("role", "text")],
    "guest_addresses": [("channel", "text"), ("address", "text"), ("guest_id", "uuid"), ("is_primary", "boolean")],
    "messages": [
        ("message_id", "uuid"),
        ("sent_at", TIME),
        ("thread_id", "uuid"),
        ("guest_id", "uuid"),
        ("direction", "text"),
        ("channel", "text"),
        ("status", "text"),
        ("language", "text"),
        ("subject", "text"),
        ("body", "text"),
        ("author", "text"),
        ("scheduled_at", TIME),
        ("read_at", TIME),
        ("edited_at", TIME),
        ("deleted_at", TIME),
        ("metadata", "jsonb"),
    ],
    "message_events": [("event_id", "uuid"), ("message_id", "uuid"), ("kind", "text"), ("detail", "jsonb")],
    "message_versions": [("message_id", "uuid"), ("version_number", "integer"), ("body", "text")],
    "attachments": [
        ("attachment_id", "uuid"),
        ("message_id", "uuid"),
        ("name", "text"),
        ("media_type", "text"),
        ("byte_count", "bigint"),
        ("sha256", "bytea"),
        ("deleted_at", TIME),
    ],
    "message_annotations": [
        ("annotation_id", "uuid"),
        ("message_id", "uuid"),
        ("value", "jsonb"),
        ("confidence", "double precision"),
    ],
}
OPENED: Records = {
    "guests": [{"guest_id": GUEST, "display_name": "Zoë «the bride» Kaya", "erased_at": None}],
    "wedding_guests": [],
    "guest_addresses": [{"channel": "email", "address": "zoe@example.org", "guest_id": GUEST, "is_primary": True}],
}
CONTEXT = Context(
    schema_version=1,
    export_id=str(UUID(int=9)),
    made_at="2026-11-23T17:00:00+00:00",
    business="Rose & <Quill>",
    guest_name="Zoë «the bride» Kaya",
    timezone="Europe/Berlin",
    language="en",
    about={"purposes": "planning", "automated_decisions": "none", "rights": ["to erase (Art. 17)", "to complain (Art. 77)"]},
    left_out=[{"what": "contents of attachments", "why": "they are kept elsewhere"}],
    tables=TABLES,
    batch_number=0,
    has_messages_before=False,
    subjects={THREAD: "Tasting", OTHER_THREAD: None},
    addresses=["+4930123456", "zoe@example.org"],
)


def message(number: int = 1, body: str = "May we come on Friday?", **changes: Any) -> Record:
    """An e-mail of the guest, sent at that minute past 8 in the evening of the last of May, UTC."""
    record = dict.fromkeys(name for name, _ in TABLES["messages"]) | {
        "message_id": str(UUID(int=100 + number)),
        "sent_at": f"2026-05-31T20:{number % 60:02}:00+00:00",
        "thread_id": THREAD,
        "guest_id": GUEST,
        "direction": "inbound",
        "channel": "email",
        "status": "received",
        "body": body,
        "metadata": {},
    }
    return record | changes


def attachment(record: Record, name: str = "plan.pdf", count: int = 1234, deleted_at: str | None = None) -> Record:
    """One of a message."""
    return {
        "attachment_id": str(UUID(int=UUID(record["message_id"]).int + 1000)),
        "message_id": record["message_id"],
        "name": name,
        "media_type": "application/pdf",
        "byte_count": count,
        "sha256": "\\x" + 32 * "ab",
        "deleted_at": deleted_at,
    }


def batch(messages: Sequence[Record], **details: list[Record]) -> Records:
    """Messages with what belongs to them."""
    none: Records = {table: [] for table in ("message_events", "message_versions", "attachments", "message_annotations")}
    return {"messages": list(messages), **none, **details}


def files(name: str, batches: Sequence[Records], context: Context = CONTEXT, opened: Records = OPENED) -> dict[str, bytes]:
    """The files of an export in one format that is written in these batches, with what was said before each."""
    found: dict[str, bytes] = {}

    def add(pieces: dict[str, bytes]) -> None:
        for file, data in pieces.items():
            found[file] = found.get(file, b"") + data

    add(write(name, "open", opened, context))
    previous: dict[str, str] = {}
    count = 0
    for number, records in enumerate(batches):
        now = replace(context, batch_number=number, has_messages_before=count > 0, previous=dict(previous))
        add(write(name, "add", records, now))
        count += len(records["messages"])
        previous |= {record["thread_id"]: record["message_id"] for record in records["messages"]}
    add(write(name, "close", {}, replace(context, batch_number=len(batches), has_messages_before=count > 0)))
    return found
