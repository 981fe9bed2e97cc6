"""A consumer of the change log that keeps what it was told, as an application would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import psycopg

from tests.support.database import Connection
from tests.support.queries import Row, rows

READ = "SELECT tenant_id, kind, operation, ids FROM guestcomms.read_changes(%s, max_rows => %s)"


class Consumer:
    """Counts every weddings row that it saw in the table or was told of; what is counted twice was
    delivered twice. Weddings, since they are the cheapest rows to write."""

    def __init__(self, connection: Connection, name: str) -> None:
        connection.autocommit = True
        connection.execute("SET lock_timeout = '5s'")  # a test that waits for itself should fail
        connection.autocommit = False
        self.connection = connection
        self.name = name
        self.seen: Counter[UUID] = Counter()
        self.rebuilds = 0

    def add(self) -> None:
        self.connection.execute("SELECT guestcomms.add_consumer(%s)", [self.name])
        self.connection.commit()

    def remove(self) -> None:
        self.connection.rollback()
        self.connection.execute("SELECT guestcomms.remove_consumer(%s)", [self.name])
        self.connection.commit()

    def begin_rebuild(self) -> Counter[UUID]:
        """Until the caller commits and takes the result as `seen`."""
        self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (change,) = rows(self.connection, READ, self.name, 1)
        assert change == (None, "store", "rebuild", [])
        found = rows(self.connection, "SELECT wedding_id FROM guestcomms.weddings")
        return Counter(row[0] for row in found)

    def rebuild(self) -> None:
        found = self.begin_rebuild()
        self.connection.commit()
        self.seen = found
        self.rebuilds += 1

    def read(self, max_rows: int = 1000, *, keep: bool = True, then: Callable[[], object] = lambda: None) -> list[Row]:
        """One batch, rebuilding first when told to; without keep, read and roll back. What is to
        be done `then` is done before the commit."""
        try:
            changes = rows(self.connection, READ, self.name, max_rows)
        except psycopg.Error as error:
            if error.sqlstate != "GC002":
                raise
            self.connection.rollback()
            self.rebuild()
            return []
        assert len(changes) <= max_rows
        if not keep:
            self.connection.rollback()
            return changes
        then()
        self.connection.commit()
        for _, kind, operation, ids in changes:
            if (kind, operation) == ("wedding", "insert"):
                self.seen.update(ids)
        return changes

    def drain(self, max_rows: int = 1000) -> list[Row]:
        """Read until there is no more."""
        found: list[Row] = []
        while changes := self.read(max_rows):
            found += changes
            assert len(found) < 20_000, "reading goes round in circles"
        return found
