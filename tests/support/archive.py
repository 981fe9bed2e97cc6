"""A business whose old messages a test archives, and all its rows as text, to compare before and after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, new_message_id

DETAILS = ("message_events", "message_versions", "attachments", "message_annotations")
# What an archive moves, and what it must leave alone.
MOVED = ("messages", *DETAILS)
LEFT = ("guests", "threads", "message_keys", "event_keys")
Snapshot = dict[str, list[str]]
RUN = "SELECT * FROM guestcomms.run_archive(%s)"


class Archive:
    """A new tenant of a store; root is a superuser's session that works for it, with rows dated as the test says."""

    def __init__(self, store: Store, name: str = "Archivist") -> None:
        self.store = store
        self.root = store.connect()
        self.tenant: UUID = one(self.root, "SELECT guestcomms.add_tenant(%s, 'UTC', 'en')", name)
        self.root.execute("SELECT guestcomms.use_tenant(%s, true)", [self.tenant])
        self.root.execute("SELECT guestcomms.add_member('app_login')")
        self.now: datetime = one(self.root, "SELECT now()").astimezone(UTC)
        self._opened = [self.root]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._opened:
            connection.close()

    def connect(self, user: str = "postgres", autocommit: bool = True) -> Connection:
        """Another session for this tenant, closed with it."""
        connection = self.store.connect(user, self.tenant, autocommit)
        self._opened.append(connection)
        return connection

    def configure(self, name: str, value: str | None) -> None:
        """A setting of this tenant, as archive.<name>."""
        self.root.execute("SELECT guestcomms.set_setting(%s, %s)", [f"archive.{name}", value])

    # Rows

    def add(self, table: str, **values: object) -> None:
        """A row of a table, with whatever columns."""
        values = {"tenant_id": self.tenant} | values
        statement = sql.SQL("INSERT INTO guestcomms.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        )
        self.root.execute(statement, list(values.values()))

    def guest(self, name: str = "Zoë Kaya") -> UUID:
        return add_guest(self.root, name)

    def thread(self, guest: UUID) -> UUID:
        thread: UUID = one(self.root, "SELECT guestcomms.open_thread(guest_id => %s)", guest)
        return thread

    def ago(self, days: float) -> datetime:
        return self.now - timedelta(days=days)

    def write(self, guest: UUID, thread: UUID, days: float = 300, **values: object) -> UUID:
        """A message so many days old; any column may be said, as text where psycopg has no type for it."""
        sent_at = self.ago(days)
        message = new_message_id(self.root, sent_at)
        plain: dict[str, object] = {"direction": "inbound", "channel": "email", "status": "received", "language": "en"}
        plain |= {"body": f"the seating plan of {message}", "thread_id": thread, "guest_id": guest}
        self.add("messages", **(plain | values | {"message_id": message, "sent_at": sent_at}))
        return message

    def write_many(self, count: int, days: float = 300, **values: object) -> list[UUID]:
        """Messages of one new guest in one conversation, an hour apart, the oldest first."""
        guest = self.guest()
        thread = self.thread(guest)
        return [self.write(guest, thread, days - number / 24, **values) for number in range(count)]

    def event(self, message: UUID, kind: str = "opened", **values: object) -> UUID:
        """An event of a message, hot or archived, as applications report it."""
        query = "SELECT guestcomms.record_event(%s, %s, %s, event_external_id => %s)"
        at = values.get("occurred_at", self.ago(299))
        event: UUID = one(self.root, query, message, kind, at, values.get("event_external_id"))
        return event

    def detail(self, message: UUID, number: int = 1) -> None:
        """One each of an event, an earlier text, an attachment and an annotation."""
        self.event(message, "clicked", event_external_id=f"{message} {number}")
        self.add("message_versions", message_id=message, version_number=number, body=f"text {number}", replaced_by="Ann")
        self.add("attachments", message_id=message, name="a.jpg", media_type="image/jpeg", byte_count=number, sha256=bytes(32))
        self.add("message_annotations", message_id=message, kind="sentiment", value='"good"', confidence=1 / 3, annotator="test")

    # Archiving

    def policy(self, name: str = "old", **values: Any) -> None:
        """add_archive_policy(); if nothing is said, all that is older than a day."""
        values = values or {"older_than": "1 day"}
        arguments = sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(each)) for each in values)
        statement = sql.SQL("SELECT guestcomms.add_archive_policy(%s, {})").format(arguments)
        self.root.execute(statement, [name, *values.values()])

    def run(self, max_rows: int = 1000) -> dict[str, Any]:
        """One batch."""
        with self.root.cursor(row_factory=dict_row) as cursor:
            (run,) = cursor.execute(RUN, [max_rows]).fetchall()
        return run

    def archive(self, max_rows: int = 1000) -> list[dict[str, Any]]:
        """All batches, until the sweeps are at their end."""
        runs: list[dict[str, Any]] = []
        while not runs or runs[-1]["segment_count"]:
            assert len(runs) < 1000, "archiving goes round in circles"
            runs.append(self.run(max_rows))
        return runs[:-1]

    def restore(self) -> int:
        """All of it."""
        total = 0
        while count := one(self.root, "SELECT guestcomms.restore_messages(since => '-infinity')"):
            total += count
        return total

    # Looking

    def hot(self) -> set[UUID]:
        return set(column(self.root, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s", self.tenant))

    def archived(self) -> set[UUID]:
        query = "SELECT unnest(message_ids) FROM guestcomms.archive_segments WHERE tenant_id = %s"
        found = column(self.root, query, self.tenant)
        assert len(found) == len(set(found)), "a message is in the archive twice"
        return set(found)

    def segments(self) -> list[Row]:
        """segment_id, message_ids, event_count and codec, the oldest first."""
        query = "SELECT segment_id, message_ids, event_count, codec FROM guestcomms.archive_segments WHERE tenant_id = %s"
        return rows(self.root, query + " ORDER BY first_sent_at, segment_id", self.tenant)

    def snapshot(self, *tables: str) -> Snapshot:
        """Every row of tables, generated columns included, as text in order."""
        query = "SELECT {} FROM guestcomms.{} AS t WHERE tenant_id = %s ORDER BY 1"
        # What the archive holds is not counted as unread.
        texts = {"threads": "(to_jsonb(t) - '{unread_count,shelf}'::text[])::text"}
        return {
            table: [
                row[0]
                for row in self.root.execute(
                    sql.SQL(query).format(sql.SQL(texts.get(table, "t::text")), sql.Identifier(table)), [self.tenant]
                )
            ]
            for table in tables or MOVED + LEFT
        }

    def damage(self) -> list[Row]:
        """What verify_archive() complains of."""
        return rows(self.root, "SELECT segment_id, is_ok, detail FROM guestcomms.verify_archive() WHERE NOT is_ok")

    def read(self, message: UUID) -> dict[str, Any] | None:
        """read_archived()."""
        with self.root.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute("SELECT * FROM guestcomms.read_archived(%s)", [message]).fetchall()
        return found[0] if found else None
