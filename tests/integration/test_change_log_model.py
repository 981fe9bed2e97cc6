"""The change log against a model: sessions write and consumers read in any order.

For every consumer, what it built from the table and the changes read since are at any time
committed rows, each once, and all of them once nothing is open."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, cast
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.consumer import Consumer
from tests.support.database import Connection
from tests.support.store import Store

WRITERS = st.integers(0, 2)
CONSUMERS = st.integers(0, 3)
PAGES = st.sampled_from([1, 1, 2, 3, 1000])

_names = itertools.count(1)


class Writer:
    """A session with a transaction open; what each of its savepoints would lose."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.levels: list[list[UUID]] = []

    @property
    def is_open(self) -> bool:
        return bool(self.levels)

    def execute(self, command: str) -> None:
        self.connection.execute(command.encode())

    def begin(self) -> None:
        self.execute("BEGIN")
        self.levels = [[]]

    def insert(self, tenant: UUID, count: int) -> None:
        ids = [uuid4() for _ in range(count)]
        self.connection.execute(
            "INSERT INTO guestcomms.weddings (tenant_id, wedding_id, name) SELECT %s, id, 'x' FROM unnest(%s::uuid[]) AS id",
            [tenant, ids],
        )
        self.levels[-1] += ids

    def savepoint(self) -> None:
        self.execute(f"SAVEPOINT s{len(self.levels)}")
        self.levels.append([])

    def rollback_to(self) -> None:
        self.execute(f"ROLLBACK TO s{len(self.levels) - 1}")
        self.levels[-1] = []

    def release(self) -> None:
        self.execute(f"RELEASE s{len(self.levels) - 1}")
        released = self.levels.pop()
        self.levels[-1] += released

    def end(self, command: str) -> list[UUID]:
        self.execute(command)
        written = [identifier for level in self.levels for identifier in level]
        self.levels = []
        return written if command == "COMMIT" else []


class ChangeLog(RuleBasedStateMachine):
    def __init__(self, store: Store, root: Connection, sessions: list[Connection]) -> None:
        super().__init__()
        self.store = store
        self.root = root
        self.writers = [Writer(connection) for connection in sessions[:3]]
        self.free = sessions[3:]
        self.consumers: list[Consumer] = []
        self.building: dict[str, Counter[UUID]] = {}
        self.committed: set[UUID] = set()

    @initialize()
    def start(self) -> None:
        self.root.execute("DELETE FROM guestcomms.weddings")
        self.root.execute("DELETE FROM guestcomms.consumers")
        self.root.execute("SELECT guestcomms.trim_change_log()")

    def consumer(self, number: int) -> Consumer | None:
        """One that is not building at the moment."""
        ready = [c for c in self.consumers if c.name not in self.building]
        return ready[number % len(ready)] if ready else None

    # Writers

    @rule(number=WRITERS)
    def begin(self, number: int) -> None:
        if not self.writers[number].is_open:
            self.writers[number].begin()

    @rule(number=WRITERS, count=st.integers(1, 2))
    def insert(self, number: int, count: int) -> None:
        writer = self.writers[number]
        if not writer.is_open:
            writer.begin()
        writer.insert(self.store.tenant_a, count)

    @rule()
    def insert_and_commit(self) -> None:
        writer = Writer(self.root)
        writer.begin()
        writer.insert(self.store.tenant_a, 1)
        self.committed.update(writer.end("COMMIT"))

    @rule(number=WRITERS)
    def savepoint(self, number: int) -> None:
        if self.writers[number].is_open:
            self.writers[number].savepoint()

    @rule(number=WRITERS)
    def rollback_to(self, number: int) -> None:
        if len(self.writers[number].levels) > 1:
            self.writers[number].rollback_to()

    @rule(number=WRITERS)
    def release(self, number: int) -> None:
        if len(self.writers[number].levels) > 1:
            self.writers[number].release()

    @rule(number=WRITERS, command=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, number: int, command: str) -> None:
        if self.writers[number].is_open:
            self.committed.update(self.writers[number].end(command))

    # Consumers

    @precondition(lambda self: self.free)
    @rule()
    def add_consumer(self) -> None:
        consumer = Consumer(self.free.pop(), f"model_{next(_names)}")
        consumer.add()
        self.consumers.append(consumer)

    @rule(number=CONSUMERS, max_rows=PAGES, keep=st.sampled_from([True, True, True, False]))
    def read(self, number: int, max_rows: int, keep: bool) -> None:
        if consumer := self.consumer(number):
            consumer.read(max_rows, keep=keep)

    @rule(number=CONSUMERS, max_rows=PAGES)
    def read_and_write(self, number: int, max_rows: int) -> None:
        """What a consumer writes in the transaction of its read, before it and after."""
        consumer = self.consumer(number)
        if consumer and consumer.rebuilds:
            writer = Writer(consumer.connection)
            writer.levels = [[]]
            writer.insert(self.store.tenant_a, 1)
            self.insert_and_commit()  # begun later, ended earlier
            rebuilds = consumer.rebuilds
            consumer.read(max_rows, then=lambda: writer.insert(self.store.tenant_a, 1))
            if consumer.rebuilds == rebuilds:  # else all was rolled back
                self.committed.update(writer.levels[0])

    @rule(number=CONSUMERS)
    def begin_to_build(self, number: int) -> None:
        consumer = self.consumer(number)
        if consumer and not consumer.rebuilds:
            self.building[consumer.name] = consumer.begin_rebuild()

    @rule(number=CONSUMERS, is_kept=st.booleans())
    def end_to_build(self, number: int, is_kept: bool) -> None:
        builders = [c for c in self.consumers if c.name in self.building]
        if builders:
            consumer = builders[number % len(builders)]
            found = self.building.pop(consumer.name)
            if is_kept:
                consumer.connection.commit()
                consumer.seen = found
                consumer.rebuilds += 1
            else:
                consumer.connection.rollback()

    @rule(number=CONSUMERS)
    def fall_behind(self, number: int) -> None:
        if consumer := self.consumer(number):
            self.root.execute(
                "UPDATE guestcomms.consumers SET read_at = now() - interval '1 year' WHERE consumer = %s",
                [consumer.name],
            )

    @rule()
    def trim(self) -> None:
        self.root.execute("SELECT guestcomms.trim_change_log()")

    @invariant()
    def nothing_is_seen_twice_or_early(self) -> None:
        for consumer in self.consumers:
            assert max(consumer.seen.values(), default=1) == 1
            assert consumer.seen.keys() <= self.committed

    def teardown(self) -> None:
        for number in range(len(self.writers)):
            self.end(number, "COMMIT")
        while self.building:
            self.end_to_build(0, True)
        try:
            for consumer in self.consumers:
                consumer.drain(2)
                assert consumer.seen == Counter(self.committed)
        finally:
            for consumer in self.consumers:
                consumer.connection.rollback()
                self.free.append(consumer.connection)


def test_every_consumer_sees_exactly_what_was_committed(store: Store) -> None:
    root = store.connect()
    root.execute("SET lock_timeout = '5s'")
    writers = [store.connect() for _ in range(3)]
    readers = [store.connect() for _ in range(4)]
    first = Consumer(store.connect(), "first")  # learns that the database is a copy
    first.add()
    first.rebuild()
    first.connection.close()
    sessions = [*writers, *readers]

    def machine() -> ChangeLog:
        return ChangeLog(store, root, sessions)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        cast(Any, machine),  # asks for the class but takes whatever makes a machine
        settings=settings(
            deadline=None,
            max_examples=60,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
