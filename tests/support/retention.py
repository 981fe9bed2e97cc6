"""A business with retention policies, runs of them by a clock, and what must be left by an account of its own."""

from __future__ import annotations

import calendar
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from psycopg import sql
from psycopg.rows import dict_row

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store

EXPIRE = """SELECT (b).tenant_id, (b).row_count, (b).counts
    FROM (SELECT guestcomms_internal.expire_next(%s, %s, %s) AS b) AS n"""
RUN = "SELECT row_count, counts, is_done FROM guestcomms.run_retention(%s)"
PREVIEW = "SELECT * FROM guestcomms.preview_retention(%s)"
NUMBERS = """SELECT date_key, channel_key, direction, message_count, sent_count, delivered_count, opened_count, clicked_count,
        replied_count
    FROM guestcomms_bi.agg_message_day WHERE tenant_id = %s ORDER BY 1, 2, 3"""
HAS_YEARS = """SELECT since < now() - interval '25 months' FROM guestcomms_internal.partition_ranges
    WHERE parent_table = 'guestcomms.messages'"""
WEDDING = """INSERT INTO guestcomms.weddings (tenant_id, name, held_on, created_at) VALUES (%s, 'Ada & Bo', %s, %s)
    RETURNING wedding_id"""
WITH_TENANT = """SELECT c.oid::regclass::text FROM pg_class AS c
    WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%%' AND c.relkind IN ('r', 'p', 'm')
        AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)"""
EVENT_NUMBERS = """SELECT date_key, channel_key, direction, kind, event_count FROM guestcomms_bi.agg_event_day
    WHERE tenant_id = %s ORDER BY 1, 2, 3, 4"""


def months_before(at: datetime, months: int, zone: str = "UTC") -> datetime:
    """The same clock time of an earlier month, or of its last day."""
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def midnight(day: date, zone: str = "UTC") -> datetime:
    """When a day begins there."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


class Business(Archive):
    """What Archive has, and policies; with partitions for two years."""

    def __init__(self, store: Store, name: str = "Retainer") -> None:
        super().__init__(store, name)
        if not one(self.root, HAS_YEARS):
            self.root.execute("SELECT count(*) FROM guestcomms.ensure_partitions(now() - interval '26 months')")

    def keep(self, name: str, retention_class: str, keep_for: str, **values: object) -> UUID:
        """add_retention_policy()."""
        named = sql.SQL("").join(sql.SQL(", {} => %s").format(sql.Identifier(each)) for each in values)
        statement = sql.SQL("SELECT guestcomms.add_retention_policy(%s, %s, %s::interval{})").format(named)
        (found,) = self.root.execute(statement, [name, retention_class, keep_for, *values.values()]).fetchall()
        policy: UUID = found[0]
        return policy

    def wedding(self, held_on: date | None, *guests: UUID) -> UUID:
        wedding: UUID = one(self.root, WEDDING, self.tenant, held_on, self.ago(900))
        for guest in guests:
            self.add("wedding_guests", wedding_id=wedding, guest_id=guest)
        return wedding

    def sweep(self, as_of: datetime, max_rows: int = 1000) -> Counter[str]:
        """Every policy to its end, as a job does it, by this clock; what was removed."""
        total: Counter[str] = Counter()
        self.root.execute("SELECT guestcomms_internal.begin_sweeps(%s, '0')", [self.tenant])
        run = uuid4()
        for _ in range(10_000):
            ((tenant, _, counts),) = rows(self.root, EXPIRE, run, max_rows, as_of)
            if tenant is None:
                return total
            total.update(counts)
        raise AssertionError("retention goes round in circles")

    def run_all(self, max_rows: int = 1000) -> Counter[str]:
        """run_retention() until it is done."""
        total: Counter[str] = Counter()
        for _ in range(10_000):
            ((_, counts, is_done),) = rows(self.root, RUN, max_rows)
            total.update(counts)
            if is_done:
                return total
        raise AssertionError("retention goes round in circles")

    def preview(self, as_of: datetime | None = None) -> dict[tuple[str, str], dict[str, Any]]:
        """preview_retention(), by policy and step."""
        with self.root.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(PREVIEW, [as_of]).fetchall()
        return {(row["policy_name"], row["step"]): row for row in found}

    def refresh(self) -> None:
        """Whatever follows the change log."""
        root = self.store.connect()
        self._opened.append(root)
        while one(root, "SELECT guestcomms.refresh_warehouse()"):
            pass
        while one(root, "SELECT guestcomms.refresh_term_statistics()"):
            pass

    def numbers(self) -> tuple[list[Row], list[Row]]:
        """What statistics say of messages and of events."""
        self.refresh()
        return rows(self.root, NUMBERS, self.tenant), rows(self.root, EVENT_NUMBERS, self.tenant)

    def left(self) -> set[UUID]:
        """Messages, hot or archived."""
        return self.hot() | self.archived()

    def events(self) -> set[UUID]:
        """Messages of which there are events, hot or archived."""
        hot = column(self.root, "SELECT message_id FROM guestcomms.message_events WHERE tenant_id = %s", self.tenant)
        return set(hot) | {message for message in self.archived() if (self.read(message) or {})["events"]}


def count_all(superuser: Connection, tenant: UUID) -> dict[str, int]:
    """Rows of a tenant in every table, materialized view and partition that has a column for it."""
    tables = column(superuser, WITH_TENANT)
    found = {}
    for table in tables:
        found[table] = one(superuser, f"SELECT count(*) FROM {table} WHERE tenant_id = %s".encode(), tenant)
    return {table: count for table, count in found.items() if count}


def days(number: float) -> timedelta:
    return timedelta(days=number)
