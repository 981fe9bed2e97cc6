"""A tenant's traffic at a glance."""

from __future__ import annotations

from datetime import timedelta

from demo.page import Page, Row, pad

MONTHS = """
    SELECT to_char(date_trunc('month', sent_at AT TIME ZONE %(timezone)s), 'YYYY-MM') AS month,
        count(*) FILTER (WHERE direction = 'inbound') AS inbound,
        count(*) AS messages
    FROM guestcomms.messages WHERE tenant_id = %(tenant_id)s
    GROUP BY 1 ORDER BY 1"""
HOURS = """
    SELECT h.hour, count(m.sent_at) AS messages
    FROM generate_series(0, 23) AS h (hour)
    LEFT JOIN guestcomms.messages AS m ON m.tenant_id = %(tenant_id)s
        AND m.direction = %(direction)s
        AND extract(hour FROM m.sent_at AT TIME ZONE %(timezone)s) = h.hour
    GROUP BY 1 ORDER BY 1"""
# Only what people did: mail proxies open messages too.
CHANNELS = """
    SELECT m.channel, count(*) AS sent, avg(e.is_delivered::int) AS delivered,
        avg(e.is_seen::int) AS seen, avg(e.is_answered::int) AS answered
    FROM guestcomms.messages AS m
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(kind = 'delivered'), false) AS is_delivered,
            coalesce(bool_or(kind IN ('opened', 'read')), false) AS is_seen,
            coalesce(bool_or(kind = 'replied'), false) AS is_answered
        FROM guestcomms.message_events AS e
        WHERE e.tenant_id = m.tenant_id AND e.message_id = m.message_id AND NOT e.is_machine
    ) AS e
    WHERE m.tenant_id = %(tenant_id)s AND m.direction = 'outbound'
    GROUP BY 1 ORDER BY 2 DESC"""
REPLIES = """
    SELECT channel, percentile_cont(0.5) WITHIN GROUP (ORDER BY answered_at - sent_at) AS median
    FROM (
        SELECT channel, direction, sent_at, lead(sent_at) OVER next AS answered_at,
            lead(direction) OVER next AS answered_by
        FROM guestcomms.messages WHERE tenant_id = %(tenant_id)s
        WINDOW next AS (PARTITION BY thread_id ORDER BY sent_at)
    ) AS m
    WHERE direction = 'inbound' AND answered_by = 'outbound'
    GROUP BY 1"""
NONE = "\N{EN DASH}"
SPARKS = "▁▂▃▄▅▆▇█"


def show(page: Page) -> None:
    """Months, channels, hours."""
    tenant = page.tenant("en")
    asked = {"tenant_id": tenant["tenant_id"], "timezone": tenant["timezone"]}
    page.heading("Dashboard", f"{tenant['name']}, in the time of {tenant['timezone']}.")
    with page.as_tenant(tenant["tenant_id"]):
        show_months(page, page.query(MONTHS, asked))
        show_channels(page, page.query(CHANNELS, asked), page.query(REPLIES, asked))
        for direction, label in (("inbound", "guests write"), ("outbound", "we write")):
            hours = page.query(HOURS, asked | {"direction": direction})
            show_hours(page, label, [row["messages"] for row in hours])
    page.line(page.style(f"  {'hour':<14}0  3  6  9  12 15 18 21", "dim"))


def show_months(page: Page, rows: list[Row]) -> None:
    """A bar for each month."""
    most = max(row["messages"] for row in rows)
    for row in rows:
        share = row["messages"] / most
        text = f"{row['messages']:>6,}  {row['inbound'] / row['messages']:.0%} from guests"
        bar = pad(page.bar(share, page.width - 40), page.width - 39)
        page.line(f"  {row['month']}  {bar}{page.style(text, 'dim')}")
    page.line()


def show_channels(page: Page, rows: list[Row], replies: list[Row]) -> None:
    """How messages on each channel fare, and how soon guests get an answer."""
    medians = {row["channel"]: row["median"] for row in replies}
    column = min(17, (page.width - 12) // 5)
    heads = ("sent", "delivered", "seen", "answered", "median reply")
    page.line(page.style(f"  {'channel':<10}" + "".join(f"{head:>{column}}" for head in heads), "dim"))
    for row in rows:
        shares = [row["delivered"], row["seen"], row["answered"]]
        if row["channel"] == "sms":
            shares[1] = None  # nobody can tell
        cells = "".join(f"{NONE if share is None else f'{share:.0%}':>{column}}" for share in shares)
        median = say_duration(medians.get(row["channel"]))
        page.line(f"  {row['channel']:<10}{row['sent']:>{column},}{cells}{median:>{column}}")
    page.line()


def show_hours(page: Page, label: str, counts: list[int]) -> None:
    """A sparkline of the day."""
    most = max(max(counts), 1)
    line = "".join(SPARKS[min(7, count * 8 // (most + 1))] for count in counts)
    page.line(f"  {label:<14}{page.style(line, 'bar')}")


def say_duration(duration: timedelta | None) -> str:
    """A duration in the unit one would use."""
    if duration is None:
        return NONE
    minutes = duration.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
