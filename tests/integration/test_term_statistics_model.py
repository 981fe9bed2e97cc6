"""The search statistics against the messages: sessions write, refresh, trim and count anew in any order.

Once nothing is open and all changes are read, what is kept is what the messages hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.database import Connection
from tests.support.queries import rows
from tests.support.statistics import FALL_BEHIND, LATELY, Place, add_place, difference, recount, refresh, refresh_all
from tests.support.store import Store
from tests.support.traffic import new_message_id

WRITERS = st.integers(0, 2)
SLOTS = st.integers(0, 7)
BODIES = st.lists(st.sampled_from(["rose", "menu", "seat", "bus", "roses", "!"]), min_size=1, max_size=3).map(" ".join)
BATCHES = st.sampled_from([1, 1, 3, 20_000])
EDIT = "UPDATE guestcomms.messages SET body = %s WHERE tenant_id = %s AND message_id = %s"
STATUS = "UPDATE guestcomms.messages SET status = 'read' WHERE tenant_id = %s AND message_id = %s"
DELETE = "DELETE FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s"
PRESENT = "SELECT 1 FROM guestcomms.messages WHERE tenant_id = %s AND message_id = %s"


class Statistics(RuleBasedStateMachine):
    def __init__(
        self, slots: list[tuple[Place, UUID]], root: Connection, writers: list[Connection], readers: dict[str, Connection]
    ) -> None:
        super().__init__()
        self.slots = slots
        self.root = root
        self.writers = writers
        self.counter = readers["counter"]
        self.recounter = readers["recounter"]
        # Which open transaction has changed a message: another would wait for it.
        self.holders: dict[int, int] = {}
        self.is_counting = False

    @initialize()
    def start(self) -> None:
        for connection in (*self.writers, self.counter, self.recounter):
            connection.rollback()
        self.root.execute("DELETE FROM guestcomms.messages")
        self.root.execute(FALL_BEHIND)
        refresh_all(self.root)

    # Writers

    def hold(self, number: int, slot: int) -> tuple[Connection, Place, UUID] | None:
        """What a writer may change: nobody else is at it."""
        if self.holders.setdefault(slot, number) != number:
            return None
        return self.writers[number], *self.slots[slot]

    @rule(number=WRITERS)
    def begin(self, number: int) -> None:
        """With a transaction number of its own, lower than of those that begin later."""
        self.writers[number].execute("SELECT pg_current_xact_id()")

    @rule(number=WRITERS, slot=SLOTS, body=BODIES, is_kept=st.sampled_from([True, True, False]))
    def write(self, number: int, slot: int, body: str, is_kept: bool) -> None:
        """Inserts what is not there, edits what is; perhaps in a part that is taken back."""
        if held := self.hold(number, slot):
            connection, place, message = held
            connection.execute("SAVEPOINT part")
            if rows(connection, PRESENT, place.tenant, message):
                connection.execute(EDIT, [body, place.tenant, message])
            else:
                place.write(connection, message, body)
            connection.execute("RELEASE part" if is_kept else "ROLLBACK TO part")

    @rule(number=WRITERS)
    def write_elsewhere(self, number: int) -> None:
        """More changes than are read at a time."""
        for _ in range(10):
            self.writers[number].execute(
                "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [self.slots[0][0].tenant]
            )

    @rule(number=WRITERS, slot=SLOTS)
    def set_status(self, number: int, slot: int) -> None:
        if held := self.hold(number, slot):
            connection, place, message = held
            connection.execute(STATUS, [place.tenant, message])

    @rule(number=WRITERS, slot=SLOTS)
    def delete(self, number: int, slot: int) -> None:
        if held := self.hold(number, slot):
            connection, place, message = held
            connection.execute(DELETE, [place.tenant, message])

    @rule(number=WRITERS, command=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def end(self, number: int, command: str) -> None:
        self.writers[number].execute(command.encode())
        self.holders = {slot: holder for slot, holder in self.holders.items() if holder != number}

    @rule(slot=SLOTS, bodies=st.lists(BODIES, min_size=1, max_size=3))
    def edit_and_commit(self, slot: int, bodies: list[str]) -> None:
        """Each in a transaction of its own."""
        if slot not in self.holders:
            for body in bodies:
                self.write(0, slot, body, True)
                self.writers[0].commit()
            self.end(0, "COMMIT")

    # Readers

    @rule(max_rows=BATCHES)
    def refresh(self, max_rows: int) -> None:
        if not self.is_counting:
            refresh(self.root, max_rows)

    @rule(max_rows=BATCHES)
    def begin_to_refresh(self, max_rows: int) -> None:
        """While others go on."""
        if not self.is_counting:
            refresh(self.counter, max_rows)
            self.is_counting = True

    @rule(is_kept=st.booleans())
    def end_to_refresh(self, is_kept: bool) -> None:
        if is_kept:
            self.counter.commit()
        else:
            self.counter.rollback()
        self.is_counting = False

    @rule()
    def count_anew(self) -> None:
        """One tenant of the two."""
        if not self.is_counting:
            recount(self.recounter)
            self.recounter.commit()

    @rule()
    def trim(self) -> None:
        self.root.execute("SELECT guestcomms.trim_change_log()")

    @rule()
    def fall_behind(self) -> None:
        if not self.is_counting:
            self.root.execute(FALL_BEHIND)

    def teardown(self) -> None:
        for number in range(len(self.writers)):
            self.end(number, "COMMIT")
        self.end_to_refresh(True)
        refresh_all(self.root, 1)
        assert not difference(self.root)
        self.root.execute("SELECT guestcomms.trim_change_log()")
        assert not rows(self.root, "SELECT FROM guestcomms_internal.replaced_messages")


def test_statistics_are_what_the_messages_hold(store: Store) -> None:
    root = store.connect()
    root.execute("SET lock_timeout = '5s'")
    # A conversation for each: who writes to one waits for whoever has written to it.
    slots = [
        (
            add_place(root, store.tenant_a if number < 5 else store.tenant_b),
            new_message_id(root, LATELY - timedelta(days=20 * number)),
        )
        for number in range(8)
    ]
    writers = [store.connect(autocommit=False) for _ in range(3)]
    readers = {"counter": store.connect(autocommit=False), "recounter": store.connect(tenant=store.tenant_a, autocommit=False)}

    def machine() -> Statistics:
        return Statistics(slots, root, writers, readers)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        cast(Any, machine),  # asks for the class but takes whatever makes a machine
        settings=settings(
            deadline=None,
            max_examples=120,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
