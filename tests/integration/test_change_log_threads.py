"""Many writers and readers at once: every change reaches every consumer exactly once."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from uuid import UUID, uuid4

import psycopg

from tests.support.consumer import Consumer
from tests.support.store import Store

WRITERS = 6
TRANSACTIONS = 60


def write(store: Store, number: int) -> list[UUID]:
    """Transactions of a few statements, some undone in part or whole; what was committed."""
    chosen = random.Random(number)
    connection = store.connect(autocommit=False)
    committed: list[UUID] = []

    def insert() -> list[UUID]:
        ids = [uuid4() for _ in range(chosen.randint(1, 3))]
        connection.execute(
            "INSERT INTO guestcomms.weddings (tenant_id, wedding_id, name) SELECT %s, id, 'x' FROM unnest(%s::uuid[]) AS id",
            [store.tenant_a, ids],
        )
        return ids

    for _ in range(TRANSACTIONS):
        written = insert()
        for _ in range(chosen.randint(0, 3)):
            connection.execute("SAVEPOINT part")
            ids = insert()
            if chosen.random() < 0.4:
                connection.execute("ROLLBACK TO part")
            else:
                written += ids
        if chosen.random() < 0.2:
            connection.rollback()
        else:
            connection.commit()
            committed += written
    connection.close()
    return committed


def follow(store: Store, number: int, is_done: Event) -> Counter[UUID]:
    """Read pages of all sizes, now and then rolling back, until the writers are done."""
    chosen = random.Random(100 + number)
    consumer = Consumer(store.connect(), f"follower_{number}")
    consumer.add()
    while not is_done.is_set():
        level = chosen.choice(["READ COMMITTED", "REPEATABLE READ"])
        try:
            if consumer.rebuilds:
                consumer.connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
            consumer.read(chosen.choice([1, 2, 7, 50]), keep=chosen.random() < 0.8)
        except psycopg.errors.SerializationFailure:  # the log was trimmed since its snapshot
            consumer.connection.rollback()
    consumer.drain()
    return consumer.seen


def trim(store: Store, is_done: Event) -> None:
    connection = store.connect()
    while not is_done.is_set():
        connection.execute("SELECT guestcomms.trim_change_log()")
    connection.close()


def test_many_writers_and_consumers(store: Store) -> None:
    is_done = Event()
    with ThreadPoolExecutor(WRITERS + 4) as pool:
        try:
            followers = [pool.submit(follow, store, number, is_done) for number in range(3)]
            trimmer: Future[None] = pool.submit(trim, store, is_done)
            writers = [pool.submit(write, store, number) for number in range(WRITERS)]
            committed = Counter(identifier for done in writers for identifier in done.result())
        finally:
            is_done.set()
        trimmer.result()
        for follower in followers:
            assert follower.result() == committed
    assert len(committed) > WRITERS * TRANSACTIONS
