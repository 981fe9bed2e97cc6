"""A store that nobody has analyzed, and a connection that was there while it was empty: its plans stay until statistics come."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.integration.test_inbox_plans import LOAD
from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store

SMALL, LARGE = 100, 2000  # threads
BATCH = 20
EVENTS = """SELECT count(*) FROM guestcomms.record_events((SELECT jsonb_agg(jsonb_build_object('message_id', i.id, 'kind', '{}'))
    FROM unnest(%(messages)s) AS i (id)))"""
# The planner, who knows of nothing, may go through a tenant's threads, but not for each message or thread of a call.
WALKING = [
    "SELECT guestcomms.record_event(%(message)s, 'failed')",
    EVENTS.format("read"),
    EVENTS.format("bounced"),
    "SELECT guestcomms.record_message(%(guest)s, 'inbound', 'sms', 'hello', thread_id => %(thread)s)",
    "SELECT count(*) FROM guestcomms.record_messages((SELECT jsonb_agg(jsonb_build_object('guest_id', %(guest)s::text,"
    " 'direction', 'inbound', 'channel', 'sms', 'body', 'hello', 'thread_id', %(thread)s::text)) FROM generate_series(1, 20)))",
    "SELECT guestcomms.mark_unread(message_ids => %(messages)s)",
    "SELECT guestcomms.mark_read(message_ids => %(messages)s)",
]
CALLS = [
    *WALKING,
    "SELECT guestcomms.record_event(%(message)s, 'opened')",
    "SELECT guestcomms.mark_read(%(thread)s)",
    "SELECT count(*) FROM guestcomms.get_thread(%(thread)s)",
    "SELECT guestcomms.assign_thread(%(thread)s, 'staff 1')",
    "SELECT guestcomms.edit_message(%(message)s, 'goodbye')",
    "SELECT guestcomms.delete_message(%(message)s)",
    "SELECT guestcomms.resolve_guest('email', 'new@example.com', 'New')",
    "SELECT guestcomms.add_guest_address(%(guest)s, 'email', 'newer@example.com')",
    "SELECT guestcomms.record_consent(%(guest)s, 'marketing', true)",
    "SELECT guestcomms.check_contact_allowed(%(guest)s, 'sms', 'marketing')",
    "SELECT count(*) FROM guestcomms.claim_outbound('w', 'sms', 5)",
    "SELECT guestcomms.add_attachment(%(message)s, 'menu.pdf', 'application/pdf', 10)",
    "SELECT count(*) FROM guestcomms.search_messages('hello', guest_id => %(guest)s)",
]


def names(root: Connection, tenant: UUID) -> dict[str, Any]:
    query = """SELECT thread_id, guest_id, last_message_id FROM guestcomms.threads
        WHERE tenant_id = %s AND last_direction = 'outbound' ORDER BY last_message_id LIMIT 1"""
    ((thread, guest, message),) = rows(root, query, tenant)
    messages = one(
        root,
        "SELECT array_agg(message_id) FROM (SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s"
        " ORDER BY message_id LIMIT %s) AS m",
        tenant,
        BATCH,
    )
    return {"thread": thread, "guest": guest, "message": message, "messages": messages}


class Session:
    """A connection that has made its plans while the store was small, and what its calls read then."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.root = store.connect(tenant=store.tenant_b)
        self.root.execute("SELECT guestcomms.add_member('app_login')")
        self.app = store.connect("app_login")
        self.root.execute(LOAD, {"tenant": store.tenant_a, "count": SMALL})
        self.small = {call: self.pages(call, store.tenant_a) for call in CALLS}
        self.root.execute(LOAD, {"tenant": store.tenant_b, "count": LARGE})

    def pages(self, call: str, tenant: UUID) -> int:
        """Buffers of a call that is undone, once plans and catalogs are warm."""
        parameters = names(self.root, tenant)
        self.app.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
        for _ in range(3):
            with self.app.transaction(force_rollback=True):
                explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + call.encode()
                (plan,) = self.app.execute(explain, parameters).fetchone() or ([],)
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.fixture(scope="module")
def session(store: Store) -> Session:
    return Session(store)


@pytest.mark.parametrize("call", CALLS)
def test_what_a_call_reads(session: Session, call: str) -> None:
    large = session.pages(call, session.store.tenant_b)
    assert large < (session.small[call] + 8 * LARGE if call in WALKING else 5 * session.small[call] + 200)
