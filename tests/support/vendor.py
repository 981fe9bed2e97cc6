"""A wedding vendor's week: who writes, what providers deliver, and what everybody who works on it saw and did."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.outbox import Found, ask
from tests.support.pgbouncer import PgBouncer

RANKS = ("queued", "cancelled", "sent", "failed", "delivered", "read")
SAYS = {kind: kind for kind in RANKS} | {"unsubscribed": "delivered"}
LATER = "55000"  # what is asked of a message, thread or guest comes too late
OBJECTS = "GC003"


def now() -> datetime:
    """By the clock of the machine, which is the server's."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Person:
    """Someone with a mailbox and a telephone: two guests until staff find out, but for those who are never merged."""

    number: int
    kind: str  # plain; stopper: objects and stays with it; waverer: says STOP and START, and is never merged

    @property
    def is_merged(self) -> bool:
        return self.kind != "waverer"

    def address(self, channel: str) -> str:
        return f"person{self.number}@example.com" if channel == "email" else f"+44770090{self.number:04}"

    @property
    def channels(self) -> tuple[str, ...]:
        return ("email", "sms", "whatsapp")


@dataclass(frozen=True)
class Delivery:
    """What a provider tells a webhook, as often as it likes."""

    external_id: str
    source: str
    person: Person
    channel: str
    body: str
    sent_at: datetime


@dataclass
class Sending:
    """An attempt of a worker; asked is before it asked for the message."""

    asked: datetime
    message: UUID
    attempt: int
    token: UUID
    channel: str
    address: str
    purpose: str
    was_handed: bool = False  # the provider has it
    said: list[str] = field(default_factory=list)  # what confirm_sent() returned

    @property
    def name(self) -> str:
        """The carrier's, for what it was handed."""
        return f"c {self.message} {self.attempt}"


@dataclass
class Ledger:
    """Everybody's notes; lists and dictionaries are only added to."""

    stored: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))  # by external_id, what record_message() said
    stopped: list[tuple[Person, str, datetime]] = field(default_factory=list)  # from when on it is in the store
    sendings: list[Sending] = field(default_factory=list)
    handed: list[Sending] = field(default_factory=list)
    scheduled: dict[UUID, datetime] = field(default_factory=dict)  # for a time that stayed
    cancelled: list[UUID] = field(default_factory=list)
    edits: list[UUID] = field(default_factory=list)
    deleted: list[UUID] = field(default_factory=list)
    marketing: list[tuple[Person, str, datetime, bool]] = field(
        default_factory=list
    )  # when it was asked, and whether it was taken
    merges: list[UUID] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # SQLSTATEs that were expected
    transactions: list[int] = field(default_factory=list)  # of each worker


class Worker:
    """One of the vendor's processes: a client of the pooler that opens the tenant anew in every transaction."""

    def __init__(self, number: int, pooler: PgBouncer, token: str, ledger: Ledger) -> None:
        self.number = number
        self.chance = random.Random(number)
        self.ledger = ledger
        self.transactions = 0
        self._token = token
        self._client = pooler.connect("app_login")
        self._seen: dict[UUID, int] = {}

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self.transactions += 1
        with self._client.transaction():
            self._client.execute("SELECT guestcomms.use_token(%s)", [self._token])
            yield self._client

    def ask(self, query: str, *values: object) -> list[Found]:
        """A transaction of one statement."""
        with self.transaction() as client:
            return ask(client, query, *values)

    def one(self, query: str, *values: object) -> Any:
        (found,) = self.ask(query, *values)
        return next(iter(found.values()))

    def attempt(self, expected: str, query: str, *values: object) -> list[Found] | None:
        """None where it is refused with that SQLSTATE."""
        try:
            return self.ask(query, *values)
        except psycopg.Error as error:
            if error.sqlstate != expected:
                raise
            self.ledger.refusals.append(expected)
            return None

    def see(self, message: UUID, status: str) -> None:
        """Of what this worker saw one after the other no status is below the one before."""
        if status != "received":
            rank = RANKS.index(status)
            assert rank >= self._seen.get(message, 0), f"{message} fell to {status}"
            self._seen[message] = rank

    def wait(self) -> None:
        time.sleep(0.05)


def invent_deliveries(people: list[Person], count: int, chance: random.Random) -> list[Delivery]:
    """What guests wrote in the last week."""
    began = now() - timedelta(days=7)
    found: list[Delivery] = []
    for number in range(count):
        person = chance.choice(people)
        channel = chance.choice(person.channels)
        # By e-mail it is an event, see report().
        word = channel != "email" and chance.random() < 0.3
        body = f"Is the marquee heated? ({number})"
        if word and person.kind == "stopper":
            body = "STOP"
        elif word and person.kind == "waverer":
            body = chance.choice(["STOP", "START"])
        # Each of a moment of its own, in an order that has nothing to do with that of their arrival.
        found.append(Delivery(f"in-{number}", f"{channel}-provider", person, channel, body, began + timedelta(minutes=number)))
    return found


# Every change of a message's status, seen by no worker.
WATCH = """
CREATE TABLE public.status_changes (number bigint GENERATED ALWAYS AS IDENTITY, message_id uuid, before text, after text);
CREATE FUNCTION public.note_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO public.status_changes (message_id, before, after) VALUES (new.message_id, old.status, new.status);
    RETURN NULL;
END $$;
CREATE TRIGGER note_status AFTER UPDATE OF status ON guestcomms.messages
FOR EACH ROW WHEN (old.status IS DISTINCT FROM new.status) EXECUTE FUNCTION public.note_status();
"""


def prepare(office: Archive) -> None:
    """Templates and settings of the vendor, and the watch on statuses."""
    office.root.execute(WATCH)
    office.root.execute("SELECT guestcomms.set_setting('sending.max_attempts', '50')")
    body = "Candles for {{table}}, from {{tenant.name}}"
    for channel, subject in (("email", "Until Saturday"), ("sms", None), ("whatsapp", None)):
        office.root.execute(
            "SELECT guestcomms.set_template('offer', %s, 'en', subject => %s, body => %s)", [channel, subject, body]
        )
