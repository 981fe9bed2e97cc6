"""The dashboards in the SQL of each side, and materialized views that hold the same rollups computed from the raw tables.

Where a day or an hour begins says the clock of each tenant; so it does on every side. The raw queries know what the data is
like (a message that was opened was delivered; a tenant's month of messages has its events within another) and are as fast as
a careful author would make them.
"""

from __future__ import annotations

from dataclasses import dataclass

# Q1: one tenant's month by hour and channel. Parameters: tenant, timezone, since, until.
RAW_HOURS = """
    SELECT date_trunc('hour', m.sent_at AT TIME ZONE %(timezone)s), m.channel, count(*), count(*) FILTER (WHERE e.is_delivered),
        count(*) FILTER (WHERE e.is_opened)
    FROM guestcomms.messages AS m
    LEFT JOIN (
        SELECT v.message_id, bool_or(v.kind = 'delivered') AS is_delivered, bool_or(v.kind = 'opened'
            AND NOT v.is_machine) AS is_opened
        FROM guestcomms.message_events AS v
        WHERE v.tenant_id = %(tenant)s AND v.occurred_at >= %(since)s
            AND v.occurred_at < %(until)s::timestamptz + interval '31 days'
        GROUP BY v.message_id
    ) AS e ON e.message_id = m.message_id
    WHERE m.tenant_id = %(tenant)s AND m.sent_at >= %(since)s AND m.sent_at < %(until)s
    GROUP BY 1, 2
"""
FUNCTION_HOURS = """
    SELECT s.bucket_start AT TIME ZONE %(timezone)s, s.channel, sum(s.message_count)::bigint, sum(s.delivered)::bigint,
        sum(s.opened)::bigint
    FROM guestcomms.get_message_statistics(%(since)s, %(until)s, 'hour') AS s
    GROUP BY 1, 2
"""
ROLLUP_HOURS = """
    SELECT date_trunc('hour', a.bucket_start AT TIME ZONE %(timezone)s), c.channel, sum(a.message_count)::bigint,
        sum(a.delivered_count)::bigint, sum(a.opened_count)::bigint
    FROM guestcomms_bi.agg_message_quarter_hour AS a
    JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
    WHERE a.tenant_id = %(tenant)s AND a.bucket_start >= %(since)s AND a.bucket_start < %(until)s
    GROUP BY 1, 2
"""
DUCKDB_HOURS = """
    SELECT date_trunc('hour', m.sent_at AT TIME ZONE $timezone), m.channel, count(*),
        count(*) FILTER (WHERE e.is_delivered), count(*) FILTER (WHERE e.is_opened)
    FROM message AS m
    LEFT JOIN (
        SELECT v.message_id, bool_or(v.kind = 'delivered') AS is_delivered, bool_or(v.kind = 'opened'
            AND NOT v.is_machine) AS is_opened
        FROM event AS v
        WHERE v.tenant_id = $tenant AND v.occurred_at >= $since AND v.occurred_at < $until + INTERVAL 31 DAYS
        GROUP BY v.message_id
    ) AS e ON e.message_id = m.message_id
    WHERE m.tenant_id = $tenant AND m.sent_at >= $since AND m.sent_at < $until
    GROUP BY 1, 2
"""
DUCKDB_FACT_HOURS = """
    SELECT date_trunc('hour', f.sent_at AT TIME ZONE $timezone), c.channel, count(*),
        count(f.delivered_at), count(f.opened_at)
    FROM fact_message AS f JOIN dim_channel AS c USING (channel_key)
    WHERE f.tenant_id = $tenant AND f.sent_at >= $since AND f.sent_at < $until
    GROUP BY 1, 2
"""

# Q2: all tenants' events of twelve months by day, channel and kind. Parameter: first_day.
RAW_KINDS = """
    SELECT (e.occurred_at AT TIME ZONE t.timezone)::date, m.channel, e.kind, count(*)
    FROM guestcomms.message_events AS e
    JOIN guestcomms.messages AS m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id
    JOIN guestcomms.tenants AS t ON t.tenant_id = e.tenant_id
    WHERE e.occurred_at >= %(first_day)s::date - interval '1 day'
        AND (e.occurred_at AT TIME ZONE t.timezone)::date >= %(first_day)s
    GROUP BY 1, 2, 3
"""
ROLLUP_KINDS = """
    SELECT a.date_key, c.channel, a.kind, sum(a.event_count)::bigint
    FROM guestcomms_bi.{table} AS a JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
    WHERE a.date_key >= %(first_day)s
    GROUP BY 1, 2, 3
"""
DUCKDB_KINDS = """
    SELECT (e.occurred_at AT TIME ZONE t.timezone)::date, m.channel, e.kind, count(*)
    FROM event AS e
    JOIN message AS m ON m.message_id = e.message_id AND m.tenant_id = e.tenant_id
    JOIN tenant AS t ON t.tenant_id = e.tenant_id
    WHERE (e.occurred_at AT TIME ZONE t.timezone)::date >= $first_day
    GROUP BY 1, 2, 3
"""
DUCKDB_FACT_KINDS = """
    SELECT f.occurred_date_key, c.channel, f.kind, count(*)
    FROM fact_message_event AS f JOIN dim_channel AS c USING (channel_key)
    WHERE f.occurred_date_key >= $first_day
    GROUP BY 1, 2, 3
"""

# Q3: open rate of all tenants by day and channel. Parameter: first_day.
RAW_OPENS = """
    SELECT (m.sent_at AT TIME ZONE t.timezone)::date, m.channel,
        count(*) FILTER (WHERE e.is_opened)::double precision / count(*)
    FROM guestcomms.messages AS m
    JOIN guestcomms.tenants AS t ON t.tenant_id = m.tenant_id
    JOIN (
        SELECT v.message_id, bool_or(v.kind = 'opened' AND NOT v.is_machine) AS is_opened
        FROM guestcomms.message_events AS v
        WHERE v.occurred_at >= %(first_day)s::date - interval '1 day' AND v.kind IN ('delivered', 'opened')
        GROUP BY v.message_id HAVING bool_or(v.kind = 'delivered')
    ) AS e ON e.message_id = m.message_id
    WHERE m.direction = 'outbound' AND m.sent_at >= %(first_day)s::date - interval '1 day'
        AND (m.sent_at AT TIME ZONE t.timezone)::date >= %(first_day)s
    GROUP BY 1, 2
"""
ROLLUP_OPENS = """
    SELECT a.date_key, c.channel, sum(a.opened_count)::double precision / nullif(sum(a.delivered_count), 0)
    FROM guestcomms_bi.{table} AS a JOIN guestcomms_bi.dim_channel AS c ON c.channel_key = a.channel_key
    WHERE a.date_key >= %(first_day)s AND a.direction = 'outbound'
    GROUP BY 1, 2 HAVING sum(a.delivered_count) > 0
"""
DUCKDB_OPENS = """
    SELECT (m.sent_at AT TIME ZONE t.timezone)::date, m.channel, count(*) FILTER (WHERE e.is_opened) / count(*)
    FROM message AS m
    JOIN tenant AS t ON t.tenant_id = m.tenant_id
    JOIN (
        SELECT v.message_id, bool_or(v.kind = 'opened' AND NOT v.is_machine) AS is_opened
        FROM event AS v
        WHERE v.occurred_at >= $first_day::date - INTERVAL 1 DAY AND v.kind IN ('delivered', 'opened')
        GROUP BY v.message_id HAVING bool_or(v.kind = 'delivered')
    ) AS e ON e.message_id = m.message_id
    WHERE m.direction = 'outbound' AND m.sent_at >= $first_day::date - INTERVAL 1 DAY
        AND (m.sent_at AT TIME ZONE t.timezone)::date >= $first_day
    GROUP BY 1, 2
"""
DUCKDB_FACT_OPENS = """
    SELECT f.sent_date_key, c.channel, count(f.opened_at) / count(f.delivered_at)
    FROM fact_message AS f JOIN dim_channel AS c USING (channel_key)
    WHERE f.sent_date_key >= $first_day AND f.direction = 'outbound'
    GROUP BY 1, 2 HAVING count(f.delivered_at) > 0
"""


@dataclass(frozen=True)
class Dashboard:
    """A question: on the raw tables, by rollups (name, login, SQL), on DuckDB over the raw rows and over the facts."""

    name: str
    raw: str
    rollups: tuple[tuple[str, str, str], ...]
    duckdb: str
    duckdb_facts: str


def by_all_tenants(query: str, *tables: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((f"{table}, all tenants", "overseer", query.format(table=table)) for table in tables)


DASHBOARDS = (
    Dashboard(
        "Q1, a tenant's month by hour and channel",
        RAW_HOURS,
        (
            ("get_message_statistics(), application", "application", FUNCTION_HOURS),
            ("agg_message_quarter_hour, analyst", "analyst", ROLLUP_HOURS),
        ),
        DUCKDB_HOURS,
        DUCKDB_FACT_HOURS,
    ),
    Dashboard(
        "Q2, all tenants' events of a year by day, channel and kind",
        RAW_KINDS,
        by_all_tenants(ROLLUP_KINDS, "agg_event_day_all", "agg_event_day"),
        DUCKDB_KINDS,
        DUCKDB_FACT_KINDS,
    ),
    Dashboard(
        "Q3, all tenants' open rate of 90 days by day and channel",
        RAW_OPENS,
        by_all_tenants(ROLLUP_OPENS, "agg_message_day_all", "agg_message_day"),
        DUCKDB_OPENS,
        DUCKDB_FACT_OPENS,
    ),
)

# What each message became, from the raw tables in one pass; the same definitions as those of the facts, less what this data
# does not have (reads, messages delivered without an event, archived ones).
MESSAGES_NOW = """
    SELECT m.tenant_id, m.sent_at, (m.sent_at AT TIME ZONE t.timezone)::date AS date_key, m.channel, m.direction, m.campaign_id,
        m.direction = 'outbound' AND m.status NOT IN ('queued', 'cancelled') AS is_sent,
        e.delivered_at, e.opened_at, CASE WHEN e.opened_at IS NULL THEN e.machine_opened_at END AS machine_opened_at,
            e.clicked_at,
        least(e.replied_at, m.next_at) AS replied_at, e.failed_at, e.unsubscribed_at,
        CASE WHEN m.previous IS DISTINCT FROM m.direction THEN extract(epoch
            FROM least(e.replied_at, m.next_at) - m.sent_at)::integer END AS response_seconds
    FROM (
        SELECT o.tenant_id, o.message_id, o.sent_at, o.channel, o.direction, o.campaign_id, o.status,
            lag(o.direction) OVER thread AS previous,
            CASE o.direction WHEN 'inbound' THEN min(o.sent_at) FILTER (WHERE o.direction = 'outbound') OVER following
                ELSE min(o.sent_at) FILTER (WHERE o.direction = 'inbound') OVER following END AS next_at
        FROM guestcomms.messages AS o
        WINDOW thread AS (PARTITION BY o.tenant_id, o.thread_id ORDER BY o.sent_at, o.message_id),
            following AS (thread ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
    ) AS m
    JOIN guestcomms.tenants AS t ON t.tenant_id = m.tenant_id
    LEFT JOIN (
        SELECT v.tenant_id, v.message_id, min(v.occurred_at) FILTER (WHERE v.kind = 'delivered') AS delivered_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'opened' AND NOT v.is_machine) AS opened_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'opened' AND v.is_machine) AS machine_opened_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'clicked' AND NOT v.is_machine) AS clicked_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'replied') AS replied_at,
            min(v.occurred_at) FILTER (WHERE v.kind IN ('failed', 'bounced')) AS failed_at,
            min(v.occurred_at) FILTER (WHERE v.kind = 'unsubscribed') AS unsubscribed_at
        FROM guestcomms.message_events AS v GROUP BY v.tenant_id, v.message_id
    ) AS e ON e.tenant_id = m.tenant_id AND e.message_id = m.message_id
"""
COUNTS = (
    *("message_count", "sent_count", "delivered_count", "opened_count", "machine_opened_count", "clicked_count"),
    *("replied_count", "failed_count", "unsubscribed_count", "response_count", "response_seconds"),
)
MESSAGE_VIEW = f"""
    CREATE MATERIALIZED VIEW compared.{{name}} AS
    SELECT n.tenant_id, {{bucket}} AS {{column}}, guestcomms_internal.channel_key(n.channel) AS channel_key, n.direction,
        coalesce(n.campaign_id, guestcomms_internal.no_member()) AS campaign_id, count(*) AS message_count,
        count(*) FILTER (WHERE n.is_sent) AS sent_count, count(n.delivered_at) AS delivered_count,
            count(n.opened_at) AS opened_count,
        count(n.machine_opened_at) AS machine_opened_count, count(n.clicked_at) AS clicked_count,
            count(n.replied_at) AS replied_count,
        count(n.failed_at) AS failed_count, count(n.unsubscribed_at) AS unsubscribed_count,
            count(n.response_seconds) AS response_count,
        coalesce(sum(n.response_seconds), 0) AS response_seconds
    FROM ({MESSAGES_NOW}) AS n GROUP BY 1, 2, 3, 4, 5
"""
EVENT_VIEW = """
    CREATE MATERIALIZED VIEW compared.{name} AS
    SELECT e.tenant_id, {bucket} AS {column}, guestcomms_internal.channel_key(m.channel) AS channel_key, m.direction,
        e.kind, e.is_machine,
        count(*) AS event_count
    FROM guestcomms.message_events AS e
    JOIN guestcomms.messages AS m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id
    JOIN guestcomms.tenants AS t ON t.tenant_id = e.tenant_id
    GROUP BY 1, 2, 3, 4, 5, 6
"""
QUARTER = "date_bin('15 minutes', {at}, '2000-01-01 00:00+00')"


@dataclass(frozen=True)
class View:
    """A rollup as a materialized view: how it is made, its key, and what it counts."""

    name: str
    create: str
    key: str
    counts: tuple[str, ...]


def rollup_views() -> list[View]:
    views = []
    for grain, column, message_bucket, event_bucket in (
        ("quarter_hour", "bucket_start", QUARTER.format(at="n.sent_at"), QUARTER.format(at="e.occurred_at")),
        ("day", "date_key", "n.date_key", "(e.occurred_at AT TIME ZONE t.timezone)::date"),
    ):
        for kind, statement, bucket, key, counts in (
            ("message", MESSAGE_VIEW, message_bucket, "campaign_id", COUNTS),
            ("event", EVENT_VIEW, event_bucket, "kind, is_machine", ("event_count",)),
        ):
            name = f"agg_{kind}_{grain}"
            create = statement.format(name=name, bucket=bucket, column=column)
            views.append(View(name, create, f"tenant_id, {column}, channel_key, direction, {key}", counts))
    return views
