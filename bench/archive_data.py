"""What the archive's benchmark archives: collections in stores of their own; all but the newest lies before a cut-off."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from bench import irc, sms
from bench.common import Connection, bench_cluster
from bench.corpus import Message, Tenant, load_tenant
from bench.store import admit_application, new_store, open_tenant
from bench.warehouse_refresh import autocommitting
from demo.generate import generate
from demo.load import load
from demo.progress import Progress
from tools.cluster import Cluster

# Vacuumed while it runs, as elsewhere: the archive rewrites each guest's newest segment, and that space is used again.
SETTINGS = {"autovacuum": "on", "autovacuum_naptime": "10s", "timezone": "UTC"}
HOT_SHARE = 0.05
DEMO_DAYS = 560


@dataclass(frozen=True)
class Collection:
    """goal: of texts / payload; messages: none where the demo's generator makes so many."""

    name: str
    goal: str
    messages: list[Message]
    demo_messages: int = 0


@dataclass(frozen=True)
class Loaded:
    """A collection in its store."""

    cluster: Cluster
    connection: Connection
    tenants: list[Tenant]
    cutoff: datetime


def month_before_last() -> datetime:
    """The end of the newest month whose files may be emptied."""
    first = datetime.now(UTC).date().replace(day=1)
    return datetime.combine((first - timedelta(days=1)).replace(day=1), time(), UTC)


def move_before(messages: list[Message], cutoff: datetime) -> list[Message]:
    """The messages at other times: the newest twentieth begins a day after the cut-off, the others end just before."""
    place = int(len(messages) * (1 - HOT_SHARE))
    shift = messages[place].sent_at - cutoff
    later = shift - timedelta(days=1)
    return [replace(m, sent_at=m.sent_at - (shift if number < place else later)) for number, m in enumerate(messages)]


def read_collections(is_quick: bool) -> list[Collection]:
    limit = 5_000 if is_quick else None
    return [
        Collection("IRC", "at least 3.0", irc.read_messages(limit)),
        Collection("SMS", "", sms.read_messages("en", limit)),
        Collection("templated", "at least 4.4", [], 4_000 if is_quick else 20_000),
    ]


def mixed_messages(count: int) -> list[Message]:
    """So many of each of four kinds, each of guests of its own, for which different codecs are best: English, Chinese, random
    characters, and a phrase again and again, which no other message has."""
    chooser = random.Random(1)
    latin, chinese = irc.read_messages(count), sms.read_messages("zh", count)

    def noise(size: int) -> str:
        return base64.b64encode(chooser.randbytes(size)).decode()

    bodies = {
        "random": [noise(chooser.randint(100, 1500)) for _ in range(count)],
        "repetitive": [f"{noise(chooser.randint(10, 60))} " * chooser.randint(5, 50) for _ in range(count)],
    }
    return [
        *latin,
        *(replace(message, sender=f"zh {message.sender}") for message in chinese),
        *(
            replace(message, sender=f"{kind} {number // 20}", body=body)
            for kind, found in bodies.items()
            for number, (message, body) in enumerate(zip(latin, found, strict=True))
        ),
    ]


@contextmanager
def empty_store(first: date) -> Iterator[tuple[Cluster, Connection]]:
    with bench_cluster(SETTINGS) as cluster, new_store(cluster, first) as connection:
        yield cluster, connection


@contextmanager
def loaded(collection: Collection) -> Iterator[Loaded]:
    """A store that holds the collection, with what jobs do done: statistics of words, the warehouse, VACUUM."""
    cutoff = month_before_last()
    messages = move_before(collection.messages, cutoff) if collection.messages else []
    first = min((m.sent_at for m in messages), default=cutoff - timedelta(days=DEMO_DAYS)).date()
    with empty_store(first) as (cluster, connection):
        if messages:
            tenants = [load_tenant(connection, collection.name, messages)]
        else:
            dataset = generate(7, cutoff + timedelta(days=28), collection.demo_messages)
            load(connection, dataset, Progress(dataset.message_count + dataset.event_count))
            connection.execute("RESET guestcomms.context")
            found = connection.execute("SELECT tenant_id::text FROM guestcomms.tenants ORDER BY name").fetchall()
            tenants = [Tenant(tenant_id, {}, {}) for (tenant_id,) in found]
        for tenant in tenants:
            admit_application(connection, tenant)
        settle_all(connection)
        yield Loaded(cluster, connection, tenants, cutoff)


def settle_all(connection: Connection) -> None:
    with autocommitting(connection):
        for function in ("refresh_term_statistics", "refresh_warehouse"):
            while connection.execute(f"SELECT guestcomms.{function}()").fetchone() != (0,):
                pass
        connection.execute("VACUUM ANALYZE")


def add_policies(connection: Connection, tenants: list[Tenant], cutoff: datetime | None) -> None:
    """One for each tenant: what was sent before the cut-off, or all."""
    for tenant in tenants:
        with open_tenant(connection, tenant):
            connection.execute(
                "SELECT guestcomms.add_archive_policy('bench', older_than => coalesce(now() - %s::timestamptz, interval '0'))",
                [cutoff],
            )
    connection.commit()
