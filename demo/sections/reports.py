"""What came of a tenant's messages, week by week."""

from __future__ import annotations

from demo.page import Page, Row, pad
from demo.sections.dashboard import NONE, say_duration

WEEKS = """
    SELECT (bucket_start AT TIME ZONE '%(zone)s')::date AS week, sum(sent) AS sent,
        sum(opened)::float / nullif(sum(delivered), 0) AS open_rate,
        sum(replied)::float / nullif(sum(delivered), 0) AS reply_rate
    FROM guestcomms.get_message_statistics(now() - interval '10 weeks', bucket => 'week',
        channels => '{email,whatsapp,chat}')  -- those that report opens
    WHERE direction = 'outbound'
    GROUP BY week ORDER BY week
"""
ANSWERS = """
    SELECT channel, response_count, median_time, p90_time
    FROM guestcomms.get_response_times(date_trunc('month', now(), '%(zone)s') - interval '1 month',
        date_trunc('month', now(), '%(zone)s'), bucket => 'month')
    WHERE answered_by = 'business' ORDER BY bucket_start DESC, response_count DESC LIMIT 4
"""


def show(page: Page) -> None:
    """Open and reply rates of the last weeks, and how soon guests were answered last month."""
    tenant = page.tenant("en")
    zone = {"zone": tenant["timezone"]}
    page.heading("Reports", f"{tenant['name']}: what people opened and answered; mail programs that open for them are left out.")
    with page.as_tenant(tenant["tenant_id"]):
        show_weeks(page, page.ask(WEEKS % zone))
        show_answers(page, page.ask(ANSWERS % zone))


def show_weeks(page: Page, weeks: list[Row]) -> None:
    """Two bars for each week."""
    width = (page.width - 44) // 2
    page.line(page.style(f"  {'week of':<12}{'sent':>7}  {'opened':<{width + 8}}{'answered'}", "dim"))
    for row in weeks:
        rates = (row["open_rate"], row["reply_rate"])
        bars = "".join(pad(f"{say_share(rate):>5}  {page.bar(rate or 0, width)}", width + 9) for rate in rates)
        page.line(f"  {row['week']}  {row['sent']:>7,}{bars}")
    page.line()


def show_answers(page: Page, answers: list[Row]) -> None:
    """Median and 90th percentile by channel."""
    page.line(page.style(f"  {'channel':<12}{'answers':>9}{'median':>12}{'nine of ten':>14}", "dim"))
    for row in answers:
        median, most = say_duration(row["median_time"]), say_duration(row["p90_time"])
        page.line(f"  {row['channel']:<12}{row['response_count']:>9,}{median:>12}{most:>14}")


def say_share(share: float | None) -> str:
    """A share in percent."""
    return NONE if share is None else f"{share:.0%}"
