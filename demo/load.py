"""Load the demonstration: `python3 -m demo.load --dsn DSN`, as a superuser."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from demo.generate import DEFAULT_MESSAGES, generate
from demo.model import SOURCE, Campaign, Dataset, Event, Guest, Message, Tenant, Thread, Wedding
from demo.progress import Progress

MESSAGE_CHUNK = 5_000
EVENT_CHUNK = 2_000
COPY_MESSAGES = """
    COPY guestcomms.import_messages (guest_id, direction, channel, subject, body, sent_at,
        thread_id, wedding_id, campaign_id, external_id, source, language, purpose, status, author,
        metadata)
    FROM STDIN"""
ADD_TENANT = """
    SELECT guestcomms.add_tenant(name => %s, timezone => %s, language => %s, region => %s)"""
ADD_GUEST = """
    SELECT guestcomms.add_guest(display_name => %s, email => %s, phone => %s, language => %s,
        timezone => %s)"""
OPEN_THREAD = "SELECT guestcomms.open_thread(subject => %s, guest_id => %s, wedding_id => %s)"
ADD_WEDDING = """
    INSERT INTO guestcomms.weddings (tenant_id, name, held_on, timezone, place)
    VALUES (%s, %s, %s, %s, %s) RETURNING wedding_id"""
ADD_CAMPAIGN = """
    INSERT INTO guestcomms.campaigns (tenant_id, name, channel, purpose, started_at)
    VALUES (%s, %s, %s, %s, %s) RETURNING campaign_id"""
COPY_INVITATIONS = """
    COPY guestcomms.wedding_guests (tenant_id, wedding_id, guest_id, party, role, rsvp, rsvp_at)
    FROM STDIN"""
# Threads were opened when their first message came; who spoke last says how they stand.
SETTLE_THREADS = """
    UPDATE guestcomms.threads AS t
    SET created_at = m.first_at, status = CASE
        WHEN m.last_at < %(until)s - interval '4 days' THEN 'closed'
        WHEN m.last_direction = 'inbound' THEN 'open'
        ELSE 'waiting' END
    FROM (
        SELECT thread_id, min(sent_at) AS first_at, max(sent_at) AS last_at,
            (array_agg(direction ORDER BY sent_at DESC))[1] AS last_direction
        FROM guestcomms.messages WHERE tenant_id = %(tenant_id)s GROUP BY thread_id
    ) AS m
    WHERE t.tenant_id = %(tenant_id)s AND t.thread_id = m.thread_id"""

Item = TypeVar("Item")
Connection = psycopg.Connection[tuple[Any, ...]]


class LoadError(Exception):
    """The demonstration cannot be loaded; the message says why."""


def load(connection: Connection, dataset: Dataset, progress: Progress) -> None:
    """Make the store if need be and fill it with the dataset, one commit for each chunk."""
    prepare_store(connection, dataset)
    for tenant in dataset.tenants:
        Loader(connection, tenant, progress).load(dataset)
    progress.say("gathering statistics")
    # What jobs do every minute: how many messages hold a word; facts and rollups.
    for function in ("refresh_term_statistics", "refresh_warehouse"):
        while connection.execute(f"SELECT guestcomms.{function}()".encode()).fetchone() != (0,):
            connection.commit()
    connection.execute("ANALYZE")
    connection.commit()


def prepare_store(connection: Connection, dataset: Dataset) -> None:
    """Make extension, store and partitions, if they are not there."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS guestcomms CASCADE")
    if _value(connection, "SELECT to_regclass('guestcomms.tenants')") is None:
        connection.execute("SELECT guestcomms.create_store()")
    names = [tenant.name for tenant in dataset.tenants]
    found = "SELECT count(*) FROM guestcomms.tenants WHERE name = ANY(%s)"
    if _value(connection, found, (names,)):
        raise LoadError("this database holds the demonstration already")
    span = (dataset.since, dataset.until)
    connection.execute("SELECT guestcomms.ensure_partitions(%s, %s)", span)
    connection.commit()


class Loader:
    """Loads one tenant; remembers the ids that the store gave."""

    def __init__(self, connection: Connection, tenant: Tenant, progress: Progress) -> None:
        self._connection = connection
        self._tenant = tenant
        self._progress = progress
        self._guests: list[UUID] = []
        self._weddings: list[UUID] = []
        self._campaigns: list[UUID] = []
        self._threads: list[UUID] = []

    def load(self, dataset: Dataset) -> None:
        """Add the tenant and all it has."""
        connection, tenant = self._connection, self._tenant
        details = (tenant.name, tenant.timezone, tenant.language, tenant.region)
        tenant_id = _value(connection, ADD_TENANT, details)
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", (tenant_id,))
        self._add_people(tenant_id)
        self._threads = self._many(OPEN_THREAD, map(self._thread_row, tenant.threads))
        connection.commit()
        for messages in chunks(tenant.messages, MESSAGE_CHUNK):
            self._import(messages)
        for events in chunks(tenant.events, EVENT_CHUNK):
            self._record(events)
        connection.execute(SETTLE_THREADS, {"tenant_id": tenant_id, "until": dataset.until})
        connection.commit()

    def _add_people(self, tenant_id: UUID) -> None:
        tenant = self._tenant
        self._guests = self._many(ADD_GUEST, map(_guest_row, tenant.guests))
        weddings = (_wedding_row(tenant_id, wedding) for wedding in tenant.weddings)
        self._weddings = self._many(ADD_WEDDING, weddings)
        campaigns = (_campaign_row(tenant_id, campaign) for campaign in tenant.campaigns)
        self._campaigns = self._many(ADD_CAMPAIGN, campaigns)
        with self._connection.cursor() as cursor, cursor.copy(COPY_INVITATIONS) as copy:
            for wedding in tenant.weddings:
                for one in wedding.invitations:
                    ids = (tenant_id, self._weddings[wedding.key], self._guests[one.guest.key])
                    copy.write_row((*ids, one.party, one.role, one.rsvp, one.rsvp_at))
        self._connection.commit()

    def _many(self, query: str, rows: Iterator[Sequence[Any]]) -> list[UUID]:
        """Run a query for each row, in pipeline mode; the ids it returns."""
        found: list[UUID] = []
        with self._connection.cursor() as cursor:
            cursor.executemany(query, rows, returning=True)
            more: bool | None = cursor.pgresult is not None
            while more:
                found += [row[0] for row in cursor]
                more = cursor.nextset()
        return found

    def _import(self, messages: Sequence[Message]) -> None:
        connection = self._connection
        with connection.cursor() as cursor:
            with cursor.copy(COPY_MESSAGES) as copy:
                for message in messages:
                    copy.write_row(self._message_row(message))
            cursor.execute("SELECT * FROM guestcomms.run_import()")
            imported, _, rejected, rejects = cursor.fetchone() or (0, 0, 0, [])
        if rejected or imported != len(messages):
            raise LoadError(f"{imported} of {len(messages)} messages imported: {rejects[:3]}")
        connection.commit()
        self._progress.advance(len(messages), self._tenant.name)

    def _record(self, events: Sequence[Event]) -> None:
        records = json.dumps([_event_record(event) for event in events])
        self._connection.execute("SELECT FROM guestcomms.record_events(%s::jsonb)", (records,))
        self._connection.commit()
        self._progress.advance(len(events), self._tenant.name)

    def _thread_row(self, thread: Thread) -> tuple[Any, ...]:
        wedding_id = self._weddings[thread.wedding.key] if thread.wedding else None
        return thread.subject, self._guests[thread.guest.key], wedding_id

    def _message_row(self, message: Message) -> tuple[Any, ...]:
        return (
            self._guests[message.guest.key],
            message.direction,
            message.channel,
            message.subject,
            message.body,
            message.sent_at,
            self._threads[message.thread.key],
            self._weddings[message.wedding.key] if message.wedding else None,
            self._campaigns[message.campaign.key] if message.campaign else None,
            message.external_id,
            SOURCE,
            message.language,
            message.purpose,
            message.status,
            message.thread.staff if message.direction == "outbound" else None,
            json.dumps({"topic": message.topic}),
        )


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in slices of a size."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _guest_row(guest: Guest) -> tuple[Any, ...]:
    return guest.name, guest.email, guest.phone, guest.language, guest.timezone


def _wedding_row(tenant_id: UUID, wedding: Wedding) -> tuple[Any, ...]:
    return tenant_id, wedding.name, wedding.held_on, wedding.timezone, wedding.place


def _campaign_row(tenant_id: UUID, campaign: Campaign) -> tuple[Any, ...]:
    return tenant_id, campaign.name, campaign.channel, campaign.purpose, campaign.started_at


def _event_record(event: Event) -> dict[str, Any]:
    return {
        "source": SOURCE,
        "external_id": event.message.external_id,
        "kind": event.kind,
        "occurred_at": event.occurred_at.isoformat(),
        "is_machine": event.is_machine,
        "event_external_id": event.external_id,
    }


def _value(connection: Connection, query: str, parameters: Sequence[Any] = ()) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def main() -> int:
    """Generate and load, and say how much and how fast."""
    parser = argparse.ArgumentParser(prog="python3 -m demo.load", description=main.__doc__)
    parser.add_argument("--dsn", required=True, help="connection string of a superuser")
    parser.add_argument("--messages", type=int, default=DEFAULT_MESSAGES, help="at least; 4,000 or more")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    started = time.monotonic()
    dataset = generate(options.seed, None, options.messages)
    progress = Progress(dataset.message_count + dataset.event_count)
    try:
        with psycopg.connect(options.dsn) as connection:
            load(connection, dataset, progress)
    except (LoadError, psycopg.Error) as error:
        progress.close()
        print(f"demo.load: {error}", file=sys.stderr)
        return 1
    progress.close()
    tenants = dataset.tenants
    print(
        f"{len(tenants)} tenants, {sum(len(tenant.weddings) for tenant in tenants)} weddings, "
        f"{sum(len(tenant.guests) for tenant in tenants):,} guests, "
        f"{sum(len(tenant.threads) for tenant in tenants):,} threads, "
        f"{dataset.message_count:,} messages and {dataset.event_count:,} events loaded in "
        f"{time.monotonic() - started:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
