"""What the writers of an export's files know besides the records of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Stage = Literal["open", "add", "close"]
Record = dict[str, Any]
Records = dict[str, list[Record]]
# The tables of what belongs to messages, and what a message's own list of it is called.
DETAILS = {
    "message_events": "events",
    "message_versions": "versions",
    "attachments": "attachments",
    "message_annotations": "annotations",
}


@dataclass(frozen=True)
class Context:
    """Of the export: who, what, when (ISO 8601), and in what time zone (IANA) its readable files tell times.

    tables: columns with their PostgreSQL types; subjects: of the batch's conversations; about: for scope access, what Art. 15
    of the GDPR asks for; left_out: what is not in it and why; batch_number counts batches of messages from 0; period: what
    was asked for, None where it is open; previous: of the conversations of earlier batches their last e-mail, if they have one;
    None where nobody knows, and then every conversation of a later batch is taken for one that goes on; guest_names: of the
    batch's guests.
    """

    schema_version: int
    export_id: str
    made_at: str
    business: str
    guest_name: str | None
    timezone: str
    language: str
    about: dict[str, Any] | None
    left_out: list[dict[str, str]]
    tables: dict[str, list[tuple[str, str]]]
    batch_number: int
    has_messages_before: bool
    subjects: dict[str, str | None]
    addresses: list[str]
    period: tuple[str | None, str | None] = (None, None)
    previous: dict[str, str | None] | None = None
    guest_names: dict[str, str | None] = field(default_factory=dict)
