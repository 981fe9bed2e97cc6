"""The warehouse against a recount: sessions write, refresh, archive and erase in any order.

At any moment what applications and analysts are told is what the committed messages say, and once all changes are read, so is
every table. GUESTCOMMS_EXAMPLES says how many orders are tried."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support import warehouse
from tests.support.database import Connection
from tests.support.queries import column, one
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "25"))
STEPS = 30

WRITERS = st.integers(0, 2)
PICKS = st.integers(0, 1_000_000)
BATCHES = st.sampled_from([1, 1, 3, 3, 10, 10_000])
# Before and after midnight in both time zones; some in the same millisecond, some beyond the window for replies.
BEGIN = datetime(2026, 3, 28, 22, 50, tzinfo=UTC)
MOMENTS = st.sampled_from([0, 0, 1, 5, 60, 600, 1500, 4000, 9000, 90_000, 700_000, 3_000_000]).map(
    lambda seconds: BEGIN + timedelta(seconds=seconds)
)
CHANNELS = st.sampled_from(["email", "email", "sms"])
DIRECTIONS = st.sampled_from(["inbound", "outbound"])
STATUSES = st.sampled_from(["queued", "sent", "delivered", "read", "failed", "cancelled"])
KINDS = st.sampled_from(
    ["queued", "sent", "delivered", "opened", "opened", "read", "clicked", "replied", "failed", "bounced", "unsubscribed"]
)
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham"])

BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


class Warehouse(RuleBasedStateMachine):
    def __init__(
        self,
        store: Store,
        root: Connection,
        members: dict[UUID, Connection],
        writers: list[Connection],
        readers: list[Connection],
    ) -> None:
        super().__init__()
        self.store = store
        self.root = root
        self.members = members
        self.writers = writers
        self.readers = readers
        self.tenants = [store.tenant_a, store.tenant_a, store.tenant_a, store.tenant_b]

    @initialize()
    def start(self) -> None:
        for connection in (*self.writers, *self.readers):
            connection.rollback()
        self.root.execute(warehouse.EMPTY.encode())
        for tenant, guests, zone in ((self.store.tenant_a, 2, "Europe/Berlin"), (self.store.tenant_b, 1, "America/New_York")):
            self.root.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", [zone, tenant])
            for _ in range(guests):
                guest = one(self.root, "INSERT INTO guestcomms.guests (tenant_id) VALUES (%s) RETURNING guest_id", tenant)
                self.root.execute(
                    "INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %s, %s ",
                    [tenant, guest],
                )
            self.begin_conversations(tenant)
        warehouse.refresh_all(self.root)

    def begin_conversations(self, tenant: UUID) -> None:
        """Something to change from the first step on."""
        values: dict[str, Any] = {"tenant": tenant, "campaign": None, "channel": "email", "status": "delivered"}
        for thread in column(self.root, "SELECT thread_id FROM guestcomms.threads WHERE tenant_id = %s", tenant):
            for number, direction in enumerate(["outbound", "inbound", "inbound", "outbound"]):
                sent_at = BEGIN + timedelta(seconds=900 * number)
                self.root.execute(
                    warehouse.INSERT.encode(), {**values, "thread": thread, "sent_at": sent_at, "direction": direction}
                )
        for number, message in enumerate(
            column(self.root, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s", tenant)
        ):
            event = {"occurred_at": BEGIN + timedelta(hours=number), "kind": "opened", "is_machine": number % 3 == 0}
            self.root.execute(warehouse.EVENT.encode(), {"tenant": tenant, "message": message, **event})

    # Writers

    def write(self, number: int, pick: int, change: Callable[[Connection], object]) -> None:
        """In the open transaction of a session, which half of the time ends by it; what would wait for another, or writes for a
        guest who was erased, is given up, with all before it."""
        try:
            change(self.writers[number])
            if pick % 2 == 0:
                self.writers[number].commit()
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            self.writers[number].rollback()

    def pick(self, writer: Connection, pick: int, query: str, *values: object) -> Any:
        found = column(writer, query.encode(), *values)
        return found[pick % len(found)] if found else None

    def pick_message(self, writer: Connection, tenant: UUID, pick: int) -> UUID | None:
        found: UUID | None = self.pick(
            writer,
            pick,
            "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s ORDER BY sent_at, body, xmin::text::bigint, ctid",
            tenant,
        )
        return found

    def pick_thread(self, writer: Connection, tenant: UUID, pick: int) -> UUID:
        found: UUID = self.pick(
            writer, pick, "SELECT thread_id FROM guestcomms.threads WHERE tenant_id = %s ORDER BY ctid", tenant
        )
        return found

    @rule(
        number=WRITERS,
        pick=PICKS,
        moments=st.lists(MOMENTS, min_size=1, max_size=3),
        direction=DIRECTIONS,
        channel=CHANNELS,
        status=STATUSES,
    )
    def insert(self, number: int, pick: int, moments: list[datetime], direction: str, channel: str, status: str) -> None:
        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            values = {
                "tenant": tenant, "direction": direction, "channel": channel, "status": status,
                "thread": self.pick_thread(writer, tenant, pick // 8),
                "campaign": self.pick(writer, pick // 8, """SELECT campaign_id FROM guestcomms.campaigns
                    WHERE tenant_id = %s ORDER BY ctid""", tenant) if pick // 8 % 3 == 0 else None,
            }  # fmt: skip
            for sent_at in moments:
                writer.execute(warehouse.INSERT.encode(), {**values, "sent_at": sent_at})

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS, moment=MOMENTS, direction=DIRECTIONS)
    def insert_one(self, number: int, pick: int, moment: datetime, direction: str) -> None:
        self.insert(number, pick, [moment], direction, "email", "sent")

    @rule(number=WRITERS, pick=PICKS, occurred_at=MOMENTS, kind=KINDS, is_machine=st.booleans(), count=st.sampled_from([1, 1, 2]))
    def add_event(self, number: int, pick: int, occurred_at: datetime, kind: str, is_machine: bool, count: int) -> None:
        """Of a message that may be gone."""

        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            message = self.pick(
                writer, pick // 8,
                """SELECT message_id FROM guestcomms.message_keys WHERE tenant_id = %s
                    ORDER BY guestcomms.uuid_v7_time(message_id), ctid""", tenant,
            )  # fmt: skip
            if message is None:
                return
            values = {
                "tenant": tenant,
                "occurred_at": occurred_at,
                "message": message,
                "kind": kind,
                "is_machine": is_machine,
                "key": None,
            }
            if count == 2:
                values["key"] = f"{message}-{kind}"
                writer.execute("SELECT guestcomms.use_tenant(%s)", [tenant])
                writer.execute(warehouse.RECORD_EVENT.encode(), values)
                writer.execute(warehouse.RECORD_EVENT.encode(), values)
            else:
                writer.execute(warehouse.EVENT.encode(), values)

        self.write(number, pick, change)

    @rule(
        number=WRITERS,
        pick=PICKS,
        column_name=st.sampled_from(["status", "read_at", "channel", "direction", "campaign_id", "thread", "guest", "body"]),
        status=STATUSES,
    )
    def edit(self, number: int, pick: int, column_name: str, status: str) -> None:
        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            message = self.pick_message(writer, tenant, pick // 8)
            edits = {
                "status": "status = CASE direction WHEN 'inbound' THEN 'received' ELSE %(status)s END",
                "read_at": "read_at = CASE WHEN read_at IS NULL THEN sent_at + interval '1 minute' END",
                "channel": "channel = 'whatsapp'",
                "direction": "direction = CASE direction WHEN 'inbound' THEN 'outbound' ELSE 'inbound' END, status = 'sent'",
                "campaign_id": "campaign_id = %(campaign)s",
                "thread": "thread_id = %(thread)s",
                "guest": """(thread_id, guest_id) = (SELECT t.thread_id, t.guest_id FROM guestcomms.threads AS t
                    WHERE t.tenant_id = %(tenant)s AND t.thread_id = %(thread)s)""",
                "body": "body = 'three more words'",
            }
            values = {
                "tenant": tenant,
                "message": message,
                "status": status,
                "thread": self.pick_thread(writer, tenant, pick // 17),
            }
            if column_name == "campaign_id":
                values["campaign"] = one(
                    writer, "INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, 'new') RETURNING campaign_id", tenant
                )
            writer.execute(
                f"""UPDATE guestcomms.messages SET {edits[column_name]} WHERE tenant_id = %(tenant)s
                    AND message_id = %(message)s""".encode(),
                values,
            )

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS)
    def delete(self, number: int, pick: int) -> None:
        """A message, with its events or without."""

        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            message = self.pick_message(writer, tenant, pick // 8)
            if message is not None and not one(
                writer,
                """SELECT g.erased_at IS NOT NULL FROM guestcomms.messages AS m
                    JOIN guestcomms.guests AS g USING (tenant_id, guest_id)"""
                " WHERE m.tenant_id = %s AND m.message_id = %s", tenant, message,
            ):  # fmt: skip
                if pick // 8 % 2:
                    warehouse.remove(writer, tenant, [message])
                else:
                    writer.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s", [tenant, message])

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS, action=st.sampled_from(["delete", "move", "machine"]))
    def change_event(self, number: int, pick: int, action: str) -> None:
        """Of a message that is there, as what was archived is done with."""

        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            event = self.pick(
                writer, pick // 8,
                "SELECT event_id FROM guestcomms.message_events AS e WHERE tenant_id = %s"
                """ AND EXISTS (SELECT FROM guestcomms.messages AS m WHERE m.tenant_id = e.tenant_id
                    AND m.message_id = e.message_id) ORDER BY e.ctid""", tenant,
            )  # fmt: skip
            values = {"tenant": tenant, "event": event, "message": self.pick_message(writer, tenant, pick // 31)}
            changes = {
                "delete": "DELETE FROM guestcomms.message_events",
                "move": "UPDATE guestcomms.message_events SET message_id = coalesce(%(message)s, message_id)",
                "machine": "UPDATE guestcomms.message_events SET is_machine = NOT is_machine",
            }
            writer.execute(f"{changes[action]} WHERE tenant_id = %(tenant)s AND event_id = %(event)s".encode(), values)

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS, name=st.sampled_from(["spring", "autumn"]))
    def add_or_rename_campaign(self, number: int, pick: int, name: str) -> None:
        tenant = self.tenants[pick // 2 % 4]
        if pick // 8 % 2:
            self.write(
                number,
                pick,
                lambda writer: writer.execute(
                    "INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, %s)", [tenant, name]
                ),
            )
        else:
            self.write(
                number,
                pick,
                lambda writer: writer.execute("UPDATE guestcomms.campaigns SET name = %s WHERE tenant_id = %s", [name, tenant]),
            )

    @rule(number=WRITERS, pick=PICKS, language=st.sampled_from(["de", "fr", "zh"]), since=MOMENTS)
    def change_guest(self, number: int, pick: int, language: str, since: datetime) -> None:
        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            guest = self.pick(
                writer, pick // 8, "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s ORDER BY created_at, ctid", tenant
            )
            writer.execute(
                "UPDATE guestcomms.guests SET language = %s, updated_at = %s WHERE tenant_id = %s AND guest_id = %s",
                [language, since, tenant, guest],
            )

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS, zone=ZONES)
    def move_tenant(self, number: int, pick: int, zone: str) -> None:
        values = [zone, self.tenants[pick // 2 % 4]]
        self.write(
            number,
            pick,
            lambda writer: writer.execute("UPDATE guestcomms.tenants SET timezone = %s WHERE tenant_id = %s", values),
        )

    @rule(number=WRITERS, pick=PICKS)
    def archive(self, number: int, pick: int) -> None:
        """What is delivered or was received; of the others, what will be known later hangs on when it is read."""

        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            message = self.pick(
                writer, pick // 8,
                """SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s
                    AND (direction = 'inbound' OR status IN ('delivered', 'read')) ORDER BY sent_at, ctid""", tenant,
            )  # fmt: skip
            if message is not None:
                warehouse.archive(writer, tenant, [message])

        self.write(number, pick, change)

    @rule(number=WRITERS, pick=PICKS)
    def erase(self, number: int, pick: int) -> None:
        def change(writer: Connection) -> None:
            tenant = self.tenants[pick // 2 % 4]
            guest = self.pick(
                writer,
                pick // 8,
                "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s AND erased_at IS NULL ORDER BY ctid",
                tenant,
            )
            if guest is not None and pick // 8 % 3 == 0:
                warehouse.erase(writer, tenant, guest)

        self.write(number, pick, change)

    @rule(number=WRITERS, command=st.sampled_from(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, number: int, command: str) -> None:
        self.writers[number].execute(command.encode())

    # Refreshing

    @rule(max_rows=BATCHES)
    def refresh(self, max_rows: int) -> None:
        """Not while another holds the warehouse."""
        with suppress(psycopg.errors.LockNotAvailable):
            warehouse.refresh(self.root, max_rows)

    @rule(max_rows=BATCHES)
    def begin_to_refresh(self, max_rows: int) -> None:
        try:
            warehouse.refresh(self.readers[0], max_rows)
        except psycopg.errors.LockNotAvailable:
            self.readers[0].rollback()

    @rule(command=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end_to_refresh(self, command: str) -> None:
        self.readers[0].execute(command.encode())

    @rule(max_rows=BATCHES, other_rows=BATCHES, command=st.sampled_from(["COMMIT", "ROLLBACK"]))
    def refresh_twice(self, max_rows: int, other_rows: int, command: str) -> None:
        """A second session waits for the first."""
        self.begin_to_refresh(max_rows)
        if self.readers[0].info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
            return
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(warehouse.refresh, self.readers[1], other_rows)
            while not waiting.done() and not one(self.root, BLOCKED, self.readers[1].info.backend_pid):
                time.sleep(0.001)
            self.end_to_refresh(command)
            waiting.result()
        self.readers[1].commit()

    @rule(is_of_one=st.booleans(), max_rows=BATCHES)
    def reload(self, is_of_one: bool, max_rows: int) -> None:
        with suppress(psycopg.errors.LockNotAvailable):
            warehouse.refresh(self.members[self.store.tenant_a] if is_of_one else self.root, max_rows, is_reload=True)

    @rule()
    def fall_behind(self) -> None:
        with suppress(psycopg.errors.LockNotAvailable):
            self.root.execute(warehouse.FALL_BEHIND.encode())

    @rule()
    def refresh_all(self) -> None:
        for number in range(len(self.writers)):
            self.end(number, "COMMIT")
        self.end_to_refresh("COMMIT")
        warehouse.refresh_all(self.root, 1)
        warehouse.check_stored(self.root)

    @invariant()
    def numbers_are_of_this_moment(self) -> None:
        warehouse.check_live(self.root, self.members)

    def teardown(self) -> None:
        self.refresh_all()


def test_numbers_are_what_the_messages_say(store: Store) -> None:
    root = store.connect()
    root.execute("SET lock_timeout = '100ms'")
    root.execute(warehouse.COPIES.encode())
    members = {tenant: store.connect(tenant=tenant) for tenant in (store.tenant_a, store.tenant_b)}
    for member in members.values():
        member.execute("SET lock_timeout = '100ms'")
    writers = [store.connect() for _ in range(3)]
    readers = [store.connect() for _ in range(2)]
    for connection in (*writers, readers[0]):
        connection.execute("SET lock_timeout = '100ms'")
    for connection in (*writers, *readers):
        connection.autocommit = False

    def machine() -> Warehouse:
        return Warehouse(store, root, members, writers, readers)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        cast(Any, machine),  # asks for the class but takes whatever makes a machine
        settings=settings(
            deadline=None,
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
