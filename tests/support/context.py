"""Sessions without a tenant, as a scheduler's are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.database import Connection
from tests.support.queries import one


@contextmanager
def no_tenant(connection: Connection) -> Iterator[None]:
    """The tenant that a session has open is closed for so long."""
    context = one(connection, "SELECT current_setting('guestcomms.context', true)")
    connection.execute("RESET guestcomms.context")
    yield
    connection.execute("SELECT set_config('guestcomms.context', %s, false)", [context])
