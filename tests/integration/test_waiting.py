"""Nobody waits for another's open transaction where both only say the same for the first time."""

from __future__ import annotations

import threading

from tests.support.queries import one, rows
from tests.support.store import Store


def test_a_language_that_is_new_to_a_tenant(store: Store) -> None:
    first, second = (store.connect("app_login", store.tenant_a, autocommit=False) for _ in range(2))
    guests = [one(connection, "SELECT guestcomms.add_guest('G')") for connection in (first, second)]
    for connection in (first, second):
        connection.commit()
    record = "SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'las flores', language => 'es')"
    first.execute(record, [guests[0]])
    second.execute("SET lock_timeout = '2s'")
    second.execute(record, [guests[1]])
    second.commit()
    first.commit()
    assert len(rows(first, "SELECT 1 FROM guestcomms.search_messages('flor')")) == 2


def test_a_guest_added_by_one_is_resolved_by_the_other(store: Store) -> None:
    """It waits, for the address must be one guest's, and then finds the other's."""
    first = store.connect("app_login", store.tenant_a, autocommit=False)
    guest = one(first, "SELECT guestcomms.add_guest('G', email => 'race@example.com')")
    second = store.connect("app_login", store.tenant_a)
    found: list[object] = []
    thread = threading.Thread(
        target=lambda: found.append(one(second, "SELECT guestcomms.resolve_guest('email', 'Race@example.com')"))
    )
    thread.start()
    root = store.connect()
    for _ in range(200):
        if one(root, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%resolve_guest%'"):
            break
        root.execute("SELECT pg_sleep(0.02)")
    first.commit()
    thread.join(30)
    assert found == [guest]
    assert one(root, "SELECT count(*) FROM guestcomms.guests WHERE display_name IS NULL AND tenant_id = %s", store.tenant_a) == 0
