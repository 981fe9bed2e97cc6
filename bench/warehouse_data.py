"""Made-up traffic of many tenants: sizes as Zipf has them, businesses in eight time zones, conversations and their events.

Every draw is a hash of a number and a seed, so a run makes the rows of the run before, but for the moment that all ends with
and the random part of identifiers. A failed message is the last of its conversation, so what was answered was delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bench.common import Connection

ZONES = (
    *("Europe/London", "America/New_York", "America/Los_Angeles", "Europe/Paris"),
    *("Asia/Kolkata", "Australia/Adelaide", "America/St_Johns", "Asia/Tokyo"),
)
MESSAGE = (
    "tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel, status, language, body"
)
EVENT = "tenant_id, event_id, occurred_at, message_id, kind, is_machine"
MESSAGES_A_CONVERSATION = 1.48

FUNCTIONS = """
    CREATE SCHEMA bench;
    CREATE FUNCTION bench.draw(n bigint, seed integer) RETURNS double precision LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(n, seed) & 4294967295) / 4294967296.0::double precision;
    CREATE FUNCTION bench.normal(n bigint, seed integer) RETURNS double precision LANGUAGE sql IMMUTABLE
    RETURN sqrt(-2 * ln(1 - bench.draw(n, seed))) * cos(2 * pi() * bench.draw(n, seed + 1000));
    CREATE FUNCTION bench.id(kind text, tenant integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN md5(format('%s %s %s', kind, tenant, n))::uuid;
"""
# guests: a sixth of the messages that the tenant will have, so that each gets about half a dozen.
TENANTS = """
    CREATE TABLE bench.tenant AS
    WITH sized AS (SELECT n, 1.0 / n / sum(1.0 / n) OVER () AS share FROM generate_series(1, %(tenants)s) AS n)
    SELECT s.n AS number, guestcomms.add_tenant('Tenant ' || s.n, timezone => (%(zones)s::text[])[1 + s.n %% 8]) AS tenant_id,
        (%(zones)s::text[])[1 + s.n %% 8] AS timezone, greatest(5, s.share * %(messages)s / 6)::integer AS guests,
        (sum(s.share) OVER (ORDER BY s.n) - s.share)::double precision AS share_before
    FROM sized AS s;
    INSERT INTO guestcomms.guests (tenant_id, guest_id, display_name)
    SELECT t.tenant_id, bench.id('guest', t.number, n), 'Guest ' || n FROM bench.tenant AS t, generate_series(1, t.guests) AS n;
    INSERT INTO guestcomms.weddings (tenant_id, wedding_id, name)
    SELECT t.tenant_id, bench.id('wedding', t.number, n), 'Wedding ' || n FROM bench.tenant AS t, generate_series(1, 4) AS n;
    INSERT INTO guestcomms.campaigns (tenant_id, campaign_id, name)
    SELECT t.tenant_id, bench.id('campaign', t.number, n), 'Campaign ' || n FROM bench.tenant AS t, generate_series(1, 6) AS n;
"""
# Hours of the day lie around three in the afternoon by the tenant's clock.
CONVERSATIONS = """
    DROP TABLE IF EXISTS bench.conversation, bench.message, bench.event;
    CREATE UNLOGGED TABLE bench.conversation AS
    WITH bounds AS MATERIALIZED (SELECT array_agg(t.share_before ORDER BY t.number) AS bounds FROM bench.tenant AS t)
    SELECT c.n, t.number, t.tenant_id, bench.id('thread', t.number, c.n) AS thread_id,
        bench.id('guest', t.number, 1 + floor(t.guests * bench.draw(c.n, 2) ^ 1.5)::integer) AS guest_id,
        bench.id('wedding', t.number, 1 + floor(4 * bench.draw(c.n, 3))::integer) AS wedding_id,
        CASE WHEN bench.draw(c.n, 4) < 0.5 THEN bench.id('campaign', t.number, 1 + floor(6 * bench.draw(c.n,
            5))::integer) END AS campaign_id,
        least(c.day + ((15 + 4 * bench.normal(c.n,
            6))::numeric %% 24)::double precision * interval '1 hour' - interval '12 hours',
            %(until)s::timestamptz - interval '10 minutes' * (1 + bench.draw(c.n, 14))) AS started_at,
        CASE WHEN bench.draw(c.n, 7) < 0.7 THEN 1 WHEN bench.draw(c.n, 7) < 0.87 THEN 2 WHEN bench.draw(c.n,
            7) < 0.95 THEN 3 ELSE 4 END AS length,
        (ARRAY['email', 'email', 'email', 'sms', 'whatsapp', 'chat'])[1 + floor(6 * bench.draw(c.n, 8))::integer] AS channel,
        bench.draw(c.n, 9) < 0.92 AS is_opened_by_business
    FROM (SELECT n, %(since)s::timestamptz + bench.draw(n, 10) * (%(until)s::timestamptz - %(since)s) AS day
        FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(conversations)s - 1) AS n) AS c
    CROSS JOIN bounds AS b
    JOIN bench.tenant AS t ON t.number = width_bucket(bench.draw(c.n, 1), b.bounds);
    INSERT INTO guestcomms.threads (tenant_id, thread_id, guest_id, created_at)
    SELECT c.tenant_id, c.thread_id, c.guest_id, c.started_at FROM bench.conversation AS c;
"""
MESSAGES = """
    CREATE UNLOGGED TABLE bench.message AS
    SELECT row_number() OVER (ORDER BY m.sent_at) AS place, m.n, m.tenant_id, guestcomms.uuid_v7(m.sent_at) AS message_id,
        m.sent_at,
        m.thread_id, m.guest_id, m.wedding_id, CASE WHEN m.is_outbound THEN m.campaign_id END AS campaign_id,
        CASE WHEN m.is_outbound THEN 'outbound' ELSE 'inbound' END AS direction, m.channel,
        CASE WHEN NOT m.is_outbound THEN 'received' WHEN m.is_failed THEN 'failed' ELSE 'sent' END AS status, 'en' AS language,
        (ARRAY['Thank you, we will be there at', 'The menu is attached, please choose by', 'Your room is booked until',
            'Could we bring a guest on'])
            [1 + m.n %% 4] || ' ' || m.n %% 97 AS body
    FROM (
        SELECT c.*, 4 * c.n + i AS n, c.is_opened_by_business = (i %% 2 = 1) AS is_outbound,
            i = c.length AND bench.draw(c.n, 11) < 0.05 AS is_failed,
            date_trunc('milliseconds', c.started_at + sum(
                CASE WHEN i = 1 THEN 0 ELSE least(exp(9 + 1.5 * bench.normal(4 * c.n + i, 12)), 432000) END)
                OVER (PARTITION BY c.n ORDER BY i) * interval '1 second') AS sent_at
        FROM bench.conversation AS c CROSS JOIN LATERAL generate_series(1, c.length) AS i
    ) AS m (c_n, number, tenant_id, thread_id, guest_id, wedding_id, campaign_id, started_at, length, channel,
        is_opened_by_business,
        n, is_outbound, is_failed, sent_at)
    WHERE m.sent_at < %(until)s::timestamptz - interval '5 minutes';
"""
EVENTS = """
    CREATE UNLOGGED TABLE bench.event AS
    SELECT row_number() OVER (ORDER BY e.occurred_at) AS place, e.tenant_id,
        guestcomms.uuid_v7(e.occurred_at) AS event_id, e.occurred_at,
        e.message_id, e.kind, e.is_machine
    FROM (
        SELECT m.tenant_id, m.message_id, k.kind, k.is_machine,
            date_trunc('milliseconds', m.sent_at + k.seconds * interval '1 second') AS occurred_at
        FROM bench.message AS m
        CROSS JOIN LATERAL (
            SELECT 'sent' AS kind, false AS is_machine, 0.2 + 2 * bench.draw(m.n, 20) AS seconds
            UNION ALL SELECT CASE m.status WHEN 'failed' THEN 'failed' ELSE 'delivered' END, false, 3 + 50 * bench.draw(m.n, 21)
            UNION ALL
            SELECT 'opened', bench.draw(10 * m.n + i, 22) < 0.2, 60 + least(exp(8 + 1.8 * bench.normal(10 * m.n + i, 23)),
                864000)
            FROM generate_series(1, least(10, floor(-5.0 * ln(1 - bench.draw(m.n, 24))))::integer) AS i
            WHERE m.channel <> 'sms' AND m.status <> 'failed'
            UNION ALL
            SELECT 'clicked', false, 120 + least(exp(8.5 + 1.8 * bench.normal(10 * m.n + i, 25)), 864000)
            FROM generate_series(1, floor(2.4 * bench.draw(m.n, 26))::integer) AS i
                WHERE m.channel <> 'sms' AND m.status <> 'failed'
            UNION ALL
            SELECT 'replied', false, 300 + least(exp(9 + 1.5 * bench.normal(m.n, 27)), 864000)
            WHERE bench.draw(m.n, 28) < 0.04 AND m.status <> 'failed'
        ) AS k
        WHERE m.direction = 'outbound'
    ) AS e
    WHERE e.occurred_at < %(until)s;
"""
# Opens and clicks of messages of the last week, as they come in while new messages go out: until there are so many events.
LATER_EVENTS = """
    WITH candidate AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY m.message_id) AS n, m.tenant_id, m.message_id, m.sent_at
            FROM guestcomms.messages AS m
        WHERE m.sent_at >= %(until)s::timestamptz - interval '7 days' AND m.direction = 'outbound' AND m.status = 'sent'
            AND m.channel <> 'sms'
    ), chosen AS (
        SELECT c.*, i, greatest(c.sent_at + interval '1 minute', %(since)s::timestamptz) AS first_at
        FROM (SELECT i, 1 + floor(bench.draw(i, 30) * (SELECT count(*) FROM candidate))::bigint AS n
            FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(events)s - 1 - (SELECT count(*)
                FROM bench.event)) AS i) AS i
        JOIN candidate AS c USING (n)
    )
    INSERT INTO bench.event (place, tenant_id, event_id, occurred_at, message_id, kind, is_machine)
    SELECT (SELECT count(*) FROM bench.event) + row_number() OVER (ORDER BY c.first_at, c.i), c.tenant_id,
        guestcomms.uuid_v7(t.at), t.at, c.message_id,
        CASE WHEN bench.draw(c.i, 31) < 0.8 THEN 'opened' ELSE 'clicked' END, bench.draw(c.i, 31) < 0.15
    FROM chosen AS c
    CROSS JOIN LATERAL (SELECT date_trunc('milliseconds',
        c.first_at + (%(until)s::timestamptz - c.first_at) * bench.draw(c.i, 32)) AS at) AS t
"""


@dataclass(frozen=True)
class Span:
    """Conversations that begin in a time, numbered from the first on; all of them end with it."""

    since: datetime
    until: datetime
    first: int
    messages: int

    def values(self) -> dict[str, object]:
        conversations = round(self.messages / MESSAGES_A_CONVERSATION)
        return {"since": self.since, "until": self.until, "first": self.first, "conversations": conversations}


def add_tenants(connection: Connection, tenants: int, messages: int) -> None:
    connection.execute(FUNCTIONS)
    for statement in TENANTS.split(";\n"):
        connection.execute(statement, {"tenants": tenants, "messages": messages, "zones": list(ZONES)})
    connection.execute("ANALYZE")
    connection.commit()


def make_rows(connection: Connection, span: Span, events: int = 0) -> None:
    """Fill bench.message and bench.event, in the order of their time; threads are stored at once.

    Where fewer events than asked for come of the span's own messages, the rest are of messages of the week before."""
    values = span.values() | {"events": events}
    for script in (CONVERSATIONS, MESSAGES, EVENTS, *([LATER_EVENTS] if events else [])):
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement, values)
    for table in ("message", "event"):
        connection.execute(f"CREATE INDEX ON bench.{table} (place); ANALYZE bench.{table}")
    connection.execute("ANALYZE guestcomms.threads")
    connection.commit()


def count(connection: Connection, table: str) -> int:
    (number,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    return int(number)


def copy_across(source: Connection, target: Connection, table: str, first: int, last: int) -> None:
    """Rows of bench.message or bench.event into the store, by one COPY of the operator's."""
    columns, into = {"message": (MESSAGE, "messages"), "event": (EVENT, "message_events")}[table]
    target.execute("SET LOCAL ROLE guestcomms_operator")
    with (
        source.cursor().copy(
            f"COPY (SELECT {columns} FROM bench.{table} WHERE place BETWEEN {first} AND {last} ORDER BY place) TO STDOUT"
        ) as rows,
        target.cursor().copy(f"COPY guestcomms.{into} ({columns}) FROM STDIN") as sink,
    ):
        for block in rows:
            sink.write(block)
    target.commit()


def store_rows(source: Connection, target: Connection, size: int) -> None:
    """All rows that were made, messages first, so many with each statement and transaction."""
    for table in ("message", "event"):
        rows = count(source, f"bench.{table}")
        for first in range(1, rows + 1, size):
            copy_across(source, target, table, first, first + size - 1)
    source.commit()
