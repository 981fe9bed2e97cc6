"""Guests and messages for tests that need some, in the shapes that the ways in take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import Row, copy_rows, one, rows

# Columns of a row that an operator loads; its message_id is made by the database.
LOADED = "tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, body"


def add_guest(connection: Connection, display_name: str = "Zoë Kaya") -> UUID:
    guest: UUID = one(connection, "SELECT guestcomms.add_guest(%s)", display_name)
    return guest


def message(guest: UUID, **values: object) -> dict[str, Any]:
    """An element for record_messages()."""
    plain = {"guest_id": str(guest), "direction": "inbound", "channel": "sms", "body": "hello"}
    return plain | values


def record(connection: Connection, guest: UUID, body: str = "hello", **values: object) -> UUID:
    """record_message() through JSON, so that any parameter can be named."""
    (message_id,) = record_all(connection, [message(guest, body=body, **values)])
    return message_id


def record_all(connection: Connection, messages: list[dict[str, Any]]) -> list[UUID]:
    found = rows(connection, "SELECT * FROM guestcomms.record_messages(%s)", Jsonb(messages))
    return [row[0] for row in found]


def now() -> datetime:
    return datetime.now(UTC)


def new_message_id(connection: Connection, sent_at: datetime) -> UUID:
    message_id: UUID = one(connection, "SELECT guestcomms.uuid_v7(%s)", sent_at)
    return message_id


def load(connection: Connection, values: list[Row]) -> None:
    """COPY into messages; rows of LOADED, the connection has the right to."""
    copy_rows(
        connection,
        "COPY guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id,"
        " direction, channel, status, body) FROM STDIN",
        values,
    )


def loaded_row(connection: Connection, tenant: UUID, guest: UUID, thread: UUID, sent_at: datetime, body: str) -> Row:
    """A row of LOADED."""
    message_id = new_message_id(connection, sent_at)
    return (tenant, message_id, sent_at, thread, guest, "inbound", "sms", "received", body)
