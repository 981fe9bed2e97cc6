"""The warehouse's numbers, counted again from the messages and events themselves, by what the dictionary of metrics says.

Nothing here calls what is tested. What was moved away or erased is counted from a copy that keep_copies() made."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows

MEASURES = (
    "message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count, failed_count,"
    " unsubscribed_count, response_count, response_seconds"
)
SUMS = ", ".join(f"sum({measure})::bigint" for measure in MEASURES.split(", "))

# Messages and events that are gone from the tables but still count; was_* is what only the message's row said.
COPIES = """
CREATE TABLE testing.kept_messages (
    tenant_id uuid, message_id uuid, sent_at timestamptz, thread_id uuid, guest_id uuid, campaign_id uuid, channel text,
        direction text,
    status text, read_at timestamptz, is_delivered boolean, PRIMARY KEY (tenant_id, message_id));
CREATE TABLE testing.kept_events (
    tenant_id uuid, event_id uuid, occurred_at timestamptz, message_id uuid, kind text, is_machine boolean,
    PRIMARY KEY (tenant_id, event_id));
"""

INSERT = """INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, campaign_id, direction,
    channel, status, body, external_id)
    SELECT %(tenant)s, n.id, %(sent_at)s, t.thread_id, t.guest_id, %(campaign)s, %(direction)s, %(channel)s,
        CASE %(direction)s WHEN 'inbound' THEN 'received' ELSE %(status)s END, 'two words', n.id::text
    FROM guestcomms.threads AS t, (SELECT guestcomms.uuid_v7(%(sent_at)s) AS id) AS n WHERE t.tenant_id = %(tenant)s
        AND t.thread_id = %(thread)s"""
EVENT = """INSERT INTO guestcomms.message_events (tenant_id, event_id, occurred_at, message_id, kind, is_machine)
    VALUES (%(tenant)s, guestcomms.uuid_v7(%(occurred_at)s), %(occurred_at)s, %(message)s, %(kind)s, %(is_machine)s)"""
RECORD_EVENT = """SELECT guestcomms.record_event(%(message)s, %(kind)s, %(occurred_at)s, is_machine => %(is_machine)s,
    event_external_id => %(key)s)"""
# All that was and all that was made of it.
EMPTY = """
DELETE FROM guestcomms.message_events; DELETE FROM guestcomms.messages; DELETE FROM guestcomms.message_keys; DELETE
    FROM guestcomms.event_keys;
DELETE FROM testing.kept_messages; DELETE FROM testing.kept_events; DELETE FROM guestcomms.change_log;
DELETE FROM guestcomms_bi.fact_message; DELETE FROM guestcomms_bi.fact_message_event;
DELETE FROM guestcomms_bi.agg_message_quarter_hour; DELETE FROM guestcomms_bi.agg_message_day; DELETE
    FROM guestcomms_bi.agg_message_day_all;
DELETE FROM guestcomms_bi.agg_event_quarter_hour; DELETE FROM guestcomms_bi.agg_event_day; DELETE
    FROM guestcomms_bi.agg_event_day_all;
DELETE FROM guestcomms_bi.agg_guest_quarter_hour; DELETE FROM guestcomms_bi.agg_guest_day;
DELETE FROM guestcomms_bi.agg_response_quarter_hour; DELETE FROM guestcomms_bi.agg_response_day;
DELETE FROM guestcomms_bi.dim_guest; DELETE FROM guestcomms_bi.dim_campaign; DELETE FROM guestcomms_bi.dim_wedding; DELETE
    FROM guestcomms_bi.dim_tenant;
DELETE FROM guestcomms_internal.warehouse_loads; DELETE FROM guestcomms.threads; DELETE FROM guestcomms.guests; DELETE
    FROM guestcomms.campaigns;
UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL, reading_seq = NULL;
"""
# As trim_change_log() does to a consumer that has not read for too long.
FALL_BEHIND = """UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL,
    reading_seq = NULL
    WHERE consumer = 'warehouse'"""

# The messages, each with what came of it.
COUNTED = """
WITH message AS MATERIALIZED (
    SELECT tenant_id, message_id, sent_at, thread_id, guest_id, coalesce(campaign_id,
        '00000000-0000-0000-0000-000000000000') AS campaign_id,
        channel, direction, status, read_at, false AS is_delivered
    FROM guestcomms.messages
    UNION ALL
    SELECT tenant_id, message_id, sent_at, thread_id, guest_id, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'),
        channel, direction, status, read_at, is_delivered
    FROM testing.kept_messages
), event AS MATERIALIZED (
    SELECT tenant_id, event_id, occurred_at, message_id, kind, is_machine FROM guestcomms.message_events
    UNION
    SELECT tenant_id, event_id, occurred_at, message_id, kind, is_machine FROM testing.kept_events
), happened AS MATERIALIZED (
    SELECT tenant_id, message_id,
        bool_or(kind IN ('sent', 'delivered')) AS has_left,
        bool_or(kind = 'delivered') AS is_delivered,
        bool_or(kind IN ('opened', 'read') AND NOT is_machine) AS is_opened,
        bool_or(kind IN ('opened', 'read') AND is_machine) AS is_opened_by_machine,
        bool_or(kind = 'clicked' AND NOT is_machine) AS is_clicked,
        min(occurred_at) FILTER (WHERE kind = 'replied') AS replied_at,
        bool_or(kind IN ('failed', 'bounced')) AS has_failed,
        bool_or(kind = 'unsubscribed') AS is_unsubscribed
    FROM event GROUP BY tenant_id, message_id
), answered AS MATERIALIZED (
    SELECT m.*, e.has_left, e.is_delivered AS is_reported, e.is_opened, e.is_opened_by_machine, e.is_clicked, e.has_failed,
        e.is_unsubscribed,
        m.direction = 'outbound' AS is_outbound,
        least(e.replied_at, (
            SELECT min(a.sent_at) FROM message AS a
            WHERE a.tenant_id = m.tenant_id AND a.thread_id = m.thread_id AND a.direction <> m.direction
                AND (a.sent_at, a.message_id) > (m.sent_at, m.message_id) AND a.sent_at < m.sent_at + interval '720 hours'
        )) AS replied_at,
        (SELECT b.direction FROM message AS b
         WHERE b.tenant_id = m.tenant_id AND b.thread_id = m.thread_id AND (b.sent_at, b.message_id) < (m.sent_at, m.message_id)
            AND b.sent_at > m.sent_at - interval '720 hours'
         ORDER BY b.sent_at DESC, b.message_id DESC LIMIT 1) IS DISTINCT FROM m.direction AS opens_turn
    FROM message AS m LEFT JOIN happened AS e USING (tenant_id, message_id)
), counted AS MATERIALIZED (
    SELECT a.tenant_id, a.message_id, a.sent_at, a.guest_id, a.campaign_id, a.channel, a.direction,
        a.is_outbound AND (a.status NOT IN ('queued', 'cancelled') OR a.has_left IS TRUE) AS sent,
        a.is_outbound AND (a.is_delivered OR a.is_reported IS TRUE OR a.is_opened IS TRUE OR a.is_opened_by_machine IS TRUE
            OR a.is_clicked IS TRUE OR a.read_at IS NOT NULL OR a.replied_at IS NOT NULL OR a.status IN ('delivered',
                'read')) AS delivered,
        a.is_outbound AND (a.is_opened IS TRUE OR a.read_at IS NOT NULL) AS opened,
        a.is_outbound AND a.is_opened_by_machine IS TRUE AND a.is_opened IS NOT TRUE AND a.read_at IS NULL AS machine_opened,
        a.is_outbound AND a.is_clicked IS TRUE AS clicked,
        a.replied_at IS NOT NULL AS replied,
        a.has_failed IS TRUE OR a.status = 'failed' AS failed,
        a.is_unsubscribed IS TRUE AS unsubscribed,
        CASE WHEN a.opens_turn AND a.replied_at IS NOT NULL THEN greatest(round(extract(epoch
            FROM a.replied_at - a.sent_at)), 0) END AS seconds
    FROM answered AS a
)
"""
COUNTS_OF_STATISTICS = """count(*), count(*) FILTER (WHERE sent), count(*) FILTER (WHERE delivered),
    count(*) FILTER (WHERE opened),
    count(*) FILTER (WHERE machine_opened), count(*) FILTER (WHERE clicked), count(*) FILTER (WHERE replied),
    count(*) FILTER (WHERE failed), count(*) FILTER (WHERE unsubscribed)"""
COUNTS = f"{COUNTS_OF_STATISTICS}, count(seconds), coalesce(sum(seconds), 0)::bigint"
BUCKET = "timestamptz 'epoch' + floor(extract(epoch FROM {}) / 900) * interval '15 minutes'"
SENT_BUCKET = BUCKET.format("c.sent_at")
EVENT_BUCKET = BUCKET.format("e.occurred_at")
SENT_DAY = "(c.sent_at AT TIME ZONE t.timezone)::date"
EVENT_DAY = "(e.occurred_at AT TIME ZONE t.timezone)::date"
NO_MEMBER = "'00000000-0000-0000-0000-000000000000'::uuid"
FROM_COUNTED = """
    FROM counted AS c JOIN guestcomms_bi.dim_channel AS k USING (channel) JOIN guestcomms.tenants AS t USING (tenant_id)
    JOIN guestcomms.guests AS g USING (tenant_id, guest_id)"""
FROM_EVENT = """
    FROM event AS e JOIN message AS m USING (tenant_id, message_id) JOIN guestcomms_bi.dim_channel AS k USING (channel)
    JOIN guestcomms.tenants AS t USING (tenant_id)"""
GROUP = "k.channel_key, c.direction, c.campaign_id"
EVENT_GROUP = "k.channel_key, m.direction, e.kind, e.is_machine"
GUESTS = "count(DISTINCT c.guest_id) FILTER (WHERE g.erased_at IS NULL)"
KEYS = "channel_key, direction, campaign_id"
EVENT_KEYS = "channel_key, direction, kind, is_machine, event_count"


def messages_by(columns: str, number: int, counts: str = COUNTS) -> str:
    """Counts of messages by so many columns."""
    return f"{COUNTED} SELECT {columns}, {counts} {FROM_COUNTED} GROUP BY {', '.join(str(n + 1) for n in range(number))}"


def events_by(columns: str, number: int) -> str:
    return f"{COUNTED} SELECT {columns}, count(*) {FROM_EVENT} GROUP BY {', '.join(str(n + 1) for n in range(number))}"


# Each stored table, and the same from the messages.
MESSAGE_BUCKETS = messages_by(f"c.tenant_id, {SENT_BUCKET}, {GROUP}", 5)
EVENT_BUCKETS = events_by(f"e.tenant_id, {EVENT_BUCKET}, {EVENT_GROUP}", 6)
RECOUNTS = {
    f"SELECT tenant_id, bucket_start, {KEYS}, {MEASURES} FROM guestcomms_bi.agg_message_quarter_hour": MESSAGE_BUCKETS,
    f"SELECT tenant_id, date_key, {KEYS}, {MEASURES} FROM guestcomms_bi.agg_message_day": messages_by(
        f"c.tenant_id, {SENT_DAY}, {GROUP}", 5
    ),
    f"SELECT date_key, channel_key, direction, {MEASURES} FROM guestcomms_bi.agg_message_day_all": messages_by(
        f"{SENT_DAY}, k.channel_key, c.direction", 3
    ),
    f"SELECT tenant_id, bucket_start, {EVENT_KEYS} FROM guestcomms_bi.agg_event_quarter_hour": EVENT_BUCKETS,
    f"SELECT tenant_id, date_key, {EVENT_KEYS} FROM guestcomms_bi.agg_event_day": events_by(
        f"e.tenant_id, {EVENT_DAY}, {EVENT_GROUP}", 6
    ),
    f"SELECT date_key, {EVENT_KEYS} FROM guestcomms_bi.agg_event_day_all": events_by(f"{EVENT_DAY}, {EVENT_GROUP}", 5),
    # Facts: whose they are, and when.
    f"""SELECT tenant_id, message_id, sent_at, sent_date_key, sent_time_key, {KEYS}, guest_id, is_sent, delivered_at IS NOT NULL,
        opened_at IS NOT NULL, clicked_at IS NOT NULL, replied_at IS NOT NULL, failed_at IS NOT NULL, response_seconds
        FROM guestcomms_bi.fact_message""": f"""{COUNTED}
        SELECT c.tenant_id, c.message_id, c.sent_at, {SENT_DAY},
            floor(extract(epoch FROM (c.sent_at AT TIME ZONE t.timezone)::time) / 60)::smallint, {GROUP},
            CASE WHEN g.erased_at IS NULL THEN c.guest_id ELSE {NO_MEMBER} END, c.sent, c.delivered, c.opened, c.clicked,
                c.replied, c.failed,
            c.seconds::integer {FROM_COUNTED}""",
    """SELECT tenant_id, event_id, occurred_at, occurred_date_key, message_id, channel_key, direction, kind, is_machine,
        campaign_id
        FROM guestcomms_bi.fact_message_event""": f"""{COUNTED}
        SELECT e.tenant_id, e.event_id, e.occurred_at, {EVENT_DAY}, e.message_id, {EVENT_GROUP}, m.campaign_id {FROM_EVENT}""",
    f"""SELECT tenant_id, date_key, {KEYS}, round(testing.hll_cardinality(guests))::bigint
        FROM guestcomms_bi.agg_guest_day""": messages_by(f"c.tenant_id, {SENT_DAY}, {GROUP}", 5, GUESTS),
    f"""SELECT tenant_id, bucket_start, {KEYS}, round(testing.hll_cardinality(guests))::bigint
        FROM guestcomms_bi.agg_guest_quarter_hour""": messages_by(f"c.tenant_id, {SENT_BUCKET}, {GROUP}", 5, GUESTS),
    f"SELECT tenant_id, date_key, {KEYS}, testing.tdigest_count(response_times) FROM guestcomms_bi.agg_response_day": messages_by(
        f"c.tenant_id, {SENT_DAY}, {GROUP}", 5, "count(c.seconds)"
    )
    + " HAVING count(c.seconds) > 0",
}

# Rows that must not be.
FAULTS = {
    "a fact with another version of its guest than the one of its time": """
        SELECT f.message_id FROM guestcomms_bi.fact_message AS f
        JOIN guestcomms_bi.dim_guest AS d USING (tenant_id, guest_key)
        WHERE f.guest_id <> d.guest_id OR f.sent_at < d.valid_from OR f.sent_at >= d.valid_to""",
    "a fact without its guest's row": """
        SELECT f.message_id FROM guestcomms_bi.fact_message AS f
        WHERE NOT EXISTS (SELECT FROM guestcomms_bi.dim_guest AS d WHERE d.tenant_id = f.tenant_id
            AND d.guest_key = f.guest_key)""",
    "a fact without the row of its campaign or wedding": """
        SELECT f.message_id FROM guestcomms_bi.fact_message AS f
        WHERE NOT EXISTS (SELECT FROM guestcomms_bi.dim_campaign AS d WHERE d.tenant_id = f.tenant_id
            AND d.campaign_id = f.campaign_id)
            OR NOT EXISTS (SELECT FROM guestcomms_bi.dim_wedding AS d WHERE d.tenant_id = f.tenant_id
                AND d.wedding_id = f.wedding_id)""",
    "an event's fact that is otherwise than its message's": """
        SELECT e.event_id FROM guestcomms_bi.fact_message_event AS e
        LEFT JOIN guestcomms_bi.fact_message AS f ON f.tenant_id = e.tenant_id AND f.message_id = e.message_id
        WHERE (e.channel_key, e.direction, e.guest_key, e.wedding_id, e.campaign_id)
            IS DISTINCT FROM (f.channel_key, f.direction, f.guest_key, f.wedding_id, f.campaign_id)""",
    "versions of a guest that overlap or leave a gap": """
        SELECT d.guest_id FROM (
            SELECT guest_id, valid_from, lag(valid_to, 1, '-infinity') OVER (PARTITION BY tenant_id, guest_id
                ORDER BY valid_from) AS previous_to,
                is_current, lead(guest_id) OVER (PARTITION BY tenant_id, guest_id
                    ORDER BY valid_from) IS NULL AS is_last, valid_to
            FROM guestcomms_bi.dim_guest) AS d
        WHERE d.valid_from <> d.previous_to OR d.is_current <> d.is_last OR (d.valid_to = 'infinity') <> d.is_last""",
    "a guest who was erased": """
        SELECT d.guest_id FROM guestcomms_bi.dim_guest AS d JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
        WHERE g.erased_at IS NOT NULL""",
    "a campaign that is called otherwise": """
        SELECT d.campaign_id FROM guestcomms_bi.dim_campaign AS d JOIN guestcomms.campaigns AS c USING (tenant_id, campaign_id)
        WHERE d.campaign_name <> c.name""",
    "a tenant whose time zone is another": """
        SELECT d.tenant_id FROM guestcomms_bi.dim_tenant AS d JOIN guestcomms.tenants AS t USING (tenant_id)
            WHERE d.timezone <> t.timezone""",
}


def differences(superuser: Connection, stored: str, truth: str) -> list[tuple[str, Row]]:
    """What only one of the two has."""
    kept, counted = set(rows(superuser, stored.encode())), set(rows(superuser, truth.encode()))
    return sorted([("stored", row) for row in kept - counted] + [("counted", row) for row in counted - kept], key=str)


def check_stored(superuser: Connection) -> None:
    """Once nothing is unread: every table is what the messages say."""
    for stored, truth in RECOUNTS.items():
        found = differences(superuser, stored, truth)
        assert not found, (stored, found)
    for fault, query in FAULTS.items():
        assert not rows(superuser, query.encode()), fault


LIVE_VIEW = f"""SELECT tenant_id, bucket_start, channel_key, direction, campaign_id, {SUMS}
    FROM guestcomms_bi.agg_message_quarter_hour_live
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(message_count) <> 0"""
LIVE_EVENTS = """SELECT tenant_id, bucket_start, channel_key, direction, kind, is_machine, sum(event_count)::bigint
    FROM guestcomms_bi.agg_event_quarter_hour_live GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(event_count) <> 0"""
STATISTICS = """SELECT bucket_start, channel, direction, message_count, sent, delivered, opened, machine_opened, clicked,
    replied, failed, unsubscribed
    FROM guestcomms.get_message_statistics('1995-01-01 00:00+00', '2068-01-01 00:00+00', %s)"""
# Days are counted by the zone that the warehouse knows, until it is refreshed.
STATISTICS_TRUTH = f"""{COUNTED}, z AS (
    SELECT coalesce((SELECT d.timezone FROM guestcomms_bi.dim_tenant AS d
        WHERE d.tenant_id = t.tenant_id), t.timezone) AS timezone
    FROM guestcomms.tenants AS t WHERE t.tenant_id = %s)
SELECT CASE %s WHEN 'day' THEN (c.sent_at AT TIME ZONE z.timezone)::date::timestamp AT TIME ZONE z.timezone ELSE {SENT_BUCKET}
    END, c.channel, c.direction,
    {COUNTS_OF_STATISTICS}
FROM counted AS c CROSS JOIN z WHERE c.tenant_id = %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
IS_LOADING = """SELECT EXISTS (SELECT FROM guestcomms.consumers WHERE consumer = 'warehouse' AND must_rebuild)
    OR EXISTS (SELECT FROM guestcomms_internal.warehouse_loads)"""


def check_live(superuser: Connection, members: dict[UUID, Connection]) -> None:
    """At any time: what applications and analysts are told is what the messages say; members have their tenant open."""
    if one(superuser, IS_LOADING.encode()):
        return
    for view, truth in ((LIVE_VIEW, MESSAGE_BUCKETS), (LIVE_EVENTS, EVENT_BUCKETS)):
        found = differences(superuser, view, truth)
        assert not found, found
    for tenant, member in members.items():
        for bucket in ("quarter_hour", "day"):
            told = sorted(rows(member, STATISTICS.encode(), bucket))
            truth_rows = sorted(rows(superuser, STATISTICS_TRUTH.encode(), tenant, bucket, tenant))
            assert told == truth_rows, bucket


def refresh(connection: Connection, max_rows: int = 10_000, *, is_reload: bool = False) -> int:
    """One call."""
    done: int = one(connection, "SELECT guestcomms.refresh_warehouse(%s::integer, is_reload => %s)", max_rows, is_reload)
    return done


def refresh_all(connection: Connection, max_rows: int = 10_000) -> int:
    """Calls until nothing is left; returns how many."""
    calls = 0
    while refresh(connection, max_rows):
        calls += 1
        assert calls < 2000, "refreshing goes round in circles"
    return calls


KEEP_COPIES = f"""{COUNTED}
INSERT INTO testing.kept_messages (tenant_id, message_id, sent_at, thread_id, guest_id, campaign_id, channel, direction,
    status, read_at, is_delivered)
SELECT m.tenant_id, m.message_id, m.sent_at, m.thread_id, m.guest_id, m.campaign_id, m.channel, m.direction, m.status,
    m.read_at, c.delivered
FROM guestcomms.messages AS m JOIN counted AS c USING (tenant_id, message_id) WHERE m.tenant_id = %s
    AND m.message_id = ANY (%s)"""


def keep_copies(writer: Connection, tenant: UUID, messages: Sequence[UUID]) -> None:
    """Before messages go whose numbers must stay."""
    writer.execute(KEEP_COPIES.encode(), [tenant, list(messages)])
    writer.execute(
        "INSERT INTO testing.kept_events SELECT tenant_id, event_id, occurred_at, message_id, kind, is_machine"
        " FROM guestcomms.message_events WHERE tenant_id = %s AND message_id = ANY (%s)",
        [tenant, list(messages)],
    )


def remove(writer: Connection, tenant: UUID, messages: Sequence[UUID]) -> None:
    """Messages with their events."""
    writer.execute(
        "DELETE FROM guestcomms.message_events WHERE tenant_id = %s AND message_id = ANY (%s)", [tenant, list(messages)]
    )
    writer.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND message_id = ANY (%s)", [tenant, list(messages)])


def archive(writer: Connection, tenant: UUID, messages: Sequence[UUID]) -> None:
    """As whoever moves messages elsewhere does it; their numbers must stay."""
    writer.execute("SELECT guestcomms_internal.keep_facts(%s, %s)", [tenant, list(messages)])
    keep_copies(writer, tenant, messages)
    remove(writer, tenant, messages)


def erase(writer: Connection, tenant: UUID, guest: UUID) -> None:
    """A guest, and all messages with him or her; the numbers must stay."""
    writer.execute(
        "UPDATE guestcomms.guests SET erased_at = clock_timestamp() WHERE tenant_id = %s AND guest_id = %s", [tenant, guest]
    )
    archive(
        writer,
        tenant,
        column(writer, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s AND guest_id = %s", tenant, guest),
    )
