"""Databases of the test cluster, and the connections to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tools.cluster import Cluster

Connection = psycopg.Connection[tuple[Any, ...]]

_numbers = itertools.count(1)
# What else is done with each copy of a template, given its cluster and name: once it is made, and once the test is done.
after_copy: list[Callable[[Cluster, str], None]] = []
before_drop: list[Callable[[Cluster, str], None]] = []


class Database:
    """A database and the connections that a test opened to it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self._connections: list[Connection] = []

    def dsn(self, user: str = "postgres") -> str:
        return self.cluster.dsn(self.name, user)

    def connect(self, user: str = "postgres", autocommit: bool = True) -> Connection:
        """A connection that is closed with the database; a test may close it earlier."""
        connection = psycopg.connect(self.dsn(user), autocommit=autocommit)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()


@contextmanager
def fresh_database(cluster: Cluster, template: str | None) -> Iterator[Database]:
    """A database of its own for whoever asks; dropped at the end, since each is some megabytes."""
    database = Database(cluster, f"gc_test_{next(_numbers)}")
    cluster.create_database(database.name, template)
    if template:
        for prepare in after_copy:
            prepare(cluster, database.name)
    try:
        yield database
    finally:
        database.close()
        if template:
            for look in before_drop:
                look(cluster, database.name)
        cluster.drop_database(database.name)
