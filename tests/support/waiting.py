"""Sessions that wait for others."""

from __future__ import annotations

import time

from tests.support.database import Connection
from tests.support.queries import one

# Blocked by somebody, or asleep until it tries again.
WAITS = """
    SELECT EXISTS (SELECT FROM pg_stat_activity AS a
        WHERE a.pid = %s AND a.state = 'active' AND (cardinality(pg_blocking_pids(a.pid)) > 0 OR a.wait_event = 'PgSleep'))
"""


def wait_until_waiting(watcher: Connection, waiting: Connection) -> None:
    """Until a session waits for what another has."""
    for _ in range(2000):
        if one(watcher, WAITS, waiting.info.backend_pid):
            return
        time.sleep(0.005)
    raise AssertionError("it does not wait")
