"""What search ranks by, as it is kept and as the messages have it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from tests.support.database import Connection
from tests.support.queries import Row, one, rows
from tests.support.store import Store

KEPT = """
SELECT tenant_id, 'term', term, message_count, NULL::bigint FROM guestcomms.term_statistics
UNION ALL SELECT tenant_id, 'month', month::text, message_count, NULL::bigint FROM guestcomms.search_months
UNION ALL SELECT tenant_id, 'all', NULL, message_count, word_count FROM guestcomms.search_statistics
"""
TRUTH = """
SELECT m.tenant_id, 'term', u.lexeme, count(*), NULL::bigint FROM guestcomms.messages AS m, unnest(m.search) AS u GROUP BY 1, 3
UNION ALL
SELECT tenant_id, 'month', date_trunc('month', sent_at AT TIME ZONE 'UTC')::date::text, count(*), NULL::bigint
FROM guestcomms.messages GROUP BY 1, 3
UNION ALL
SELECT t.tenant_id, 'all', NULL, count(m.message_id), coalesce(sum(m.word_count), 0)
FROM guestcomms.tenants AS t LEFT JOIN guestcomms.messages AS m USING (tenant_id) GROUP BY 1
"""
INSERT = """
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status,
    language, subject, body)
VALUES (%(tenant)s, %(id)s, guestcomms.uuid_v7_time(%(id)s), %(thread)s, %(guest)s, 'inbound', 'sms', 'received',
    %(language)s, %(subject)s, %(body)s)
"""
# As trim_change_log() does to a consumer that has not read for too long.
FALL_BEHIND = """
UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL, reading_seq = NULL
WHERE consumer = 'term_statistics'
"""
LATELY = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def difference(superuser: Connection) -> Set[Row]:
    """What is kept but not so, or so but not kept; nothing where statistics are right."""
    kept, truth = rows(superuser, KEPT.encode()), rows(superuser, TRUTH.encode())
    assert len(set(kept)) == len(kept)
    assert len(truth) > 1, "there is nothing to be wrong about"
    return set(kept) ^ set(truth)


def refresh(connection: Connection, max_rows: int = 20_000) -> int:
    """One batch."""
    done: int = one(connection, "SELECT guestcomms.refresh_term_statistics(%s::integer)", max_rows)
    return done


def refresh_all(connection: Connection, max_rows: int = 20_000) -> int:
    """Batches until nothing is left; returns how many."""
    batches = 0
    while refresh(connection, max_rows):
        batches += 1
        assert batches < 10_000, "refreshing goes round in circles"
    return batches


def recount(connection: Connection) -> int:
    """Begins anew, with the tenant that is open or with all."""
    done: int = one(connection, "SELECT guestcomms.refresh_term_statistics(is_recount => true)")
    return done


@dataclass(frozen=True)
class Place:
    """Where messages of a tenant go."""

    tenant: UUID
    guest: UUID
    thread: UUID

    def write(
        self, connection: Connection, message: UUID, body: str, *, language: str | None = "en", subject: str | None = None
    ) -> UUID:
        """A message straight into the table, with an identifier of uuid_v7()."""
        values = {"tenant": self.tenant, "guest": self.guest, "thread": self.thread}
        connection.execute(INSERT, {**values, "id": message, "body": body, "language": language, "subject": subject})
        return message


def add_place(superuser: Connection, tenant: UUID) -> Place:
    guest = one(superuser, "INSERT INTO guestcomms.guests (tenant_id) VALUES (%s) RETURNING guest_id", tenant)
    thread = one(
        superuser,
        "INSERT INTO guestcomms.threads (tenant_id, guest_id) VALUES (%s, %s) RETURNING thread_id",
        *(tenant, guest),
    )
    return Place(tenant, guest, thread)


def add_places(store: Store) -> tuple[Place, Place]:
    """Of tenants A and B."""
    with store.connect() as superuser:
        return add_place(superuser, store.tenant_a), add_place(superuser, store.tenant_b)
