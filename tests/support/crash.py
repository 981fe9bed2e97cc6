"""A server to be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.store import create_logins
from tools.cluster import Cluster

NAME = "crashing"


@contextmanager
def durable_cluster(stage: Path, directory: Path) -> Iterator[Cluster]:
    """With fsync, unlike the session's; with a store in the database NAME."""
    cluster = Cluster(directory / "cluster", stage=stage, fsync=True)
    try:
        cluster.create()
        cluster.start()
        cluster.create_database(NAME)
        cluster.psql("CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store();", NAME)
        create_logins(cluster)
        yield cluster
    finally:
        cluster.destroy()
