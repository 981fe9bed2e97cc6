"""The materialized views are a recount of the facts, of a moment they name, and hide small groups; the dictionary of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from statistics import fmean, median, quantiles

import pytest

from tests.support.business import NOON, Business, ask, pick, refresh_reports, refresh_warehouse
from tests.support.database import Connection
from tests.support.queries import Query, column, one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, now

REPORTS = ("daily_channels", "campaign_performance", "guest_engagement", "response_times", "tenant_overview")
# Each straight from the facts, as the columns of the view after what it is grouped by.
COUNTS = """
    count(*), count(*) FILTER (WHERE is_sent), count(delivered_at), count(opened_at),
    count(machine_opened_at) FILTER (WHERE opened_at IS NULL), count(clicked_at), count(replied_at), count(failed_at),
    count(unsubscribed_at), count(DISTINCT guest_id) FILTER (WHERE guest_id <> '00000000-0000-0000-0000-000000000000')
"""
NAMES = (
    "message_count, sent_count, delivered_count, opened_count, machine_opened_count, clicked_count, replied_count,"
    " failed_count, unsubscribed_count, guest_count"
)
RECOUNTS = {
    "daily_channels": (
        f"SELECT tenant_id, date_key, channel_key, direction, {NAMES} FROM guestcomms_bi.mv_daily_channels",
        f"SELECT tenant_id, sent_date_key, channel_key, direction, {COUNTS} FROM guestcomms_bi.fact_message GROUP BY 1, 2, 3, 4",
    ),
    "campaign_performance": (
        f"SELECT tenant_id, campaign_id, first_day, last_day, {NAMES} FROM guestcomms_bi.mv_campaign_performance",
        f"""SELECT tenant_id, campaign_id, min(sent_date_key), max(sent_date_key), {COUNTS} FROM guestcomms_bi.fact_message
            WHERE direction = 'outbound' AND campaign_id <> '00000000-0000-0000-0000-000000000000' GROUP BY 1, 2""",
    ),
    "guest_engagement": (
        """SELECT tenant_id, guest_id, outbound_count, delivered_count, opened_count, clicked_count, replied_count,
            unsubscribed_count, inbound_count, first_message_at, last_outbound_at, last_inbound_at
            FROM guestcomms_bi.mv_guest_engagement""",
        """SELECT tenant_id, guest_id, count(*) FILTER (WHERE direction = 'outbound'), count(delivered_at), count(opened_at),
                count(clicked_at), count(replied_at) FILTER (WHERE direction = 'outbound'), count(unsubscribed_at),
                count(*) FILTER (WHERE direction = 'inbound'), min(sent_at), max(sent_at) FILTER (WHERE direction = 'outbound'),
                max(sent_at) FILTER (WHERE direction = 'inbound')
            FROM guestcomms_bi.fact_message WHERE guest_id <> '00000000-0000-0000-0000-000000000000' GROUP BY 1, 2""",
    ),
    "response_times": (
        """SELECT tenant_id, date_key, channel_key, answered_by, response_count, mean_seconds
            FROM guestcomms_bi.mv_response_times""",
        """SELECT tenant_id, sent_date_key, channel_key, CASE direction WHEN 'inbound' THEN 'business' ELSE 'guest' END,
                count(*), avg(response_seconds)::double precision
            FROM guestcomms_bi.fact_message WHERE response_seconds IS NOT NULL GROUP BY 1, 2, 3, 4""",
    ),
    "tenant_overview": (
        """SELECT tenant_id, message_count, inbound_count, outbound_count, guest_count, last_day
            FROM guestcomms_bi.mv_tenant_overview""",
        """SELECT d.tenant_id, count(f.message_id), count(*) FILTER (WHERE direction = 'inbound'),
                count(*) FILTER (WHERE direction = 'outbound'),
                count(DISTINCT guest_id) FILTER (WHERE guest_id <> '00000000-0000-0000-0000-000000000000'), max(sent_date_key)
            FROM guestcomms_bi.dim_tenant AS d LEFT JOIN guestcomms_bi.fact_message AS f ON f.tenant_id = d.tenant_id
            GROUP BY 1""",
    ),
}


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store, "Pacific/Chatham") as business:
        yield business


@pytest.fixture
def reader(store: Store) -> Iterator[Connection]:
    """A superuser, who sees all tenants."""
    with store.connect() as connection:
        yield connection


def live_a_little(business: Business) -> None:
    """Something of everything."""
    campaigns = [business.add_campaign(name) for name in ("One", "Two")]
    kinds = ("delivered", "opened", "clicked", "failed", "unsubscribed", "replied", "read")
    guests = [business.guest, add_guest(business.root, "Another"), add_guest(business.root, "Third")]
    for number in range(28):
        at = NOON + timedelta(hours=5 * number)
        channel = ("email", "sms", "whatsapp", "chat")[number % 4]
        campaign = {"campaign_id": campaigns[number % 2]} if number % 3 else {}
        message = business.write(at, guests[number % 3], channel=channel, **campaign)
        business.note(message, kinds[number % 7], at + timedelta(minutes=1), is_machine=number % 5 == 0)
        business.talk(("inbound", 0), ("inbound", 1), ("outbound", 3 + number), at=at, channel=channel, **campaign)
    business.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guests[2]])


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_is_a_recount_of_the_facts(store: Store, business: Business, reader: Connection, report: str) -> None:
    with Business(store, "America/Havana") as other:
        for tenant in (business, other):
            live_a_little(tenant)
        business.refresh()
        refresh_reports(business.operator)
        view, truth = (query.encode() for query in RECOUNTS[report])
        found = rows(reader, view)
        assert len(found) == len(set(found)) > 2 * (report != "tenant_overview")
        assert set(found) == set(rows(reader, truth))
        assert {row[0] for row in found} >= {business.tenant, other.tenant}


def test_reports_agree_with_what_applications_are_told(business: Business) -> None:
    live_a_little(business)
    business.refresh()
    rates = ("delivery_rate", "open_rate", "click_rate", "reply_rate", "failure_rate")
    told = business.ask("SELECT * FROM guestcomms.get_message_statistics('2026-01-01')")
    report = business.report(
        "SELECT * FROM guestcomms_bi.mv_daily_channels WHERE tenant_id = %s ORDER BY date_key, channel_key, direction",
        business.tenant,
    )
    assert pick(told, "message_count", *rates) == pick(report, "message_count", *rates)
    more = (*rates, "click_to_open_rate", "unsubscribe_rate")
    told = business.ask("SELECT * FROM guestcomms.get_campaign_performance()")
    found = business.report("SELECT * FROM guestcomms_bi.mv_campaign_performance WHERE tenant_id = %s", business.tenant)
    assert sorted(pick(told, "campaign_id", *more)) == sorted(pick(found, "campaign_id", *more))
    told = business.ask("SELECT * FROM guestcomms.get_guest_engagement(since => '2026-01-01')")
    found = business.report("SELECT * FROM guestcomms_bi.mv_guest_engagement WHERE tenant_id = %s", business.tenant)
    names = ("guest_id", "open_rate", "reply_rate", "last_engaged_at")
    assert sorted(pick(told, *names), key=str) == sorted(pick(found, *names), key=str)


def test_response_times_of_known_answers(business: Business) -> None:
    minutes = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    for number in minutes:
        business.talk(("inbound", 0), ("outbound", number))
    business.refresh()
    (row,) = business.report("SELECT * FROM guestcomms_bi.mv_response_times WHERE tenant_id = %s", business.tenant)
    seconds = [60 * number for number in minutes]
    assert pick([row], "answered_by", "response_count", "median_seconds") == [("business", len(minutes), median(seconds))]
    assert row["mean_seconds"] == pytest.approx(fmean(seconds))
    assert row["p90_seconds"] == pytest.approx(quantiles(seconds, n=10, method="inclusive")[8])


def test_thirty_days_of_a_tenant(business: Business) -> None:
    today = one(business.root, "SELECT date_trunc('day', now(), 'Pacific/Chatham')")
    for days in (0, 29, 31, 60):
        message = business.write(today - timedelta(days=days) + timedelta(hours=3))
        business.note(message, "opened", now())
    business.write(today + timedelta(hours=3), channel="sms", direction="inbound")
    business.note(business.write(today + timedelta(hours=3), channel="sms"), "failed", now())
    business.refresh()
    (row,) = business.report("SELECT * FROM guestcomms_bi.mv_tenant_overview WHERE tenant_id = %s", business.tenant)
    names = ("message_count", "message_count_30_days", "guest_count_30_days", "delivery_rate_30_days", "open_rate_30_days")
    assert pick([row], *names, "failure_rate_30_days") == [(6, 4, 1, 2 / 3, 1, 1 / 3)]


# As of when


def test_as_of_is_of_the_refresh(business: Business) -> None:
    before = now()
    business.write()
    business.refresh()
    names = [f"SELECT DISTINCT as_of FROM guestcomms_bi.mv_{report}".encode() for report in REPORTS if report != "response_times"]
    refresh_reports(business.operator)
    refreshed = now()
    for _ in range(2):
        for query in names[:1] + names[2:]:
            assert before < one(business.root, query) < refreshed
        business.write()
        refresh_warehouse(business.operator)
    oldest = one(business.operator, "SELECT oldest_report FROM guestcomms.get_warehouse_status()")
    assert before < oldest < refreshed


def test_the_oldest_is_refreshed_if_it_is_old_enough(business: Business, reader: Connection) -> None:
    refresh_reports(business.operator)
    assert one(business.operator, "SELECT guestcomms.refresh_reports('1 hour')") == 0
    reader.execute(
        "UPDATE guestcomms_internal.report_refreshes SET as_of = as_of - interval '2 hours' WHERE report = 'response_times'"
    )
    assert one(business.operator, "SELECT guestcomms.refresh_reports('1 hour')") == 1
    assert one(business.operator, "SELECT guestcomms.refresh_reports('1 hour')") == 0
    assert one(reader, "SELECT bool_and(as_of > now() - interval '1 hour') FROM guestcomms_internal.report_refreshes")


def test_a_loop_comes_to_an_end(business: Business) -> None:
    for _ in range(20):
        if one(business.operator, "SELECT guestcomms.refresh_reports('1 hour')") == 0:
            return
    raise AssertionError("refreshing goes round in circles")


def test_readers_go_on_reading(store: Store, business: Business) -> None:
    business.write()
    business.refresh()
    refresh_reports(business.operator)
    reader = store.connect(autocommit=False)
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    count: Query = "SELECT message_count FROM guestcomms_bi.mv_daily_channels WHERE tenant_id = %s"
    assert column(reader, count, business.tenant) == [1]
    business.write()
    business.refresh()
    business.operator.execute("SET lock_timeout = '5s'")
    refresh_reports(business.operator)
    assert column(reader, count, business.tenant) == [1]
    reader.commit()
    assert column(reader, count, business.tenant) == [2]
    reader.close()


def test_two_refreshes_do_not_wait_for_each_other(store: Store, business: Business) -> None:
    other = store.connect("operator_login", autocommit=False)
    assert one(other, "SELECT guestcomms.refresh_reports('0')") == 1
    business.operator.execute("SET lock_timeout = '5s'")
    refresh_reports(business.operator)
    other.rollback()
    other.close()


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_can_be_refreshed_beside_its_readers(reader: Connection, report: str) -> None:
    query = """
        SELECT count(*) FROM pg_index AS i
        WHERE i.indrelid = format('guestcomms_internal.report_%%s', %s::text)::regclass AND i.indisunique AND i.indisvalid
            AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
    """
    assert one(reader, query, report) == 1


def test_there_are_no_others(reader: Connection) -> None:
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'guestcomms_internal'::regnamespace AND relkind = 'm'"
    assert set(column(reader, query)) == {f"report_{report}" for report in REPORTS}


# What is hidden


def test_small_groups_are_hidden(business: Business) -> None:
    business.set("warehouse.min_guests", "3")
    campaign = business.add_campaign()
    for _ in range(4):
        business.write(campaign_id=campaign, channel="sms")
        business.talk(("inbound", 0), ("outbound", 5), channel="chat")
    for day in range(2):
        business.write_to_many(3 - day, NOON + timedelta(days=day))
    business.refresh()
    daily = business.report(
        "SELECT * FROM guestcomms_bi.mv_daily_channels WHERE tenant_id = %s ORDER BY date_key, channel_key, direction",
        business.tenant,
    )
    shown = [(row["date_key"], row["channel_key"], row["message_count"]) for row in daily if not row["is_suppressed"]]
    assert shown == [(date(2026, 3, 15), 1, 3)]
    assert len(daily) == 5
    campaigns = ask(business.root, "SELECT * FROM guestcomms_bi.mv_campaign_performance WHERE tenant_id = %s", business.tenant)
    answers = ask(business.root, "SELECT * FROM guestcomms_bi.mv_response_times WHERE tenant_id = %s", business.tenant)
    for row in [row for row in daily if row["is_suppressed"]] + campaigns + answers:
        assert row["is_suppressed"]
        assert {name for name, value in row.items() if value is not None and name.endswith(("count", "rate", "seconds"))} == set()
    assert (len(campaigns), len(answers)) == (1, 1)


def test_a_new_bound_holds_from_the_next_refresh(business: Business) -> None:
    business.write_to_many(2)
    business.refresh()
    query: Query = "SELECT message_count FROM guestcomms_bi.mv_daily_channels WHERE tenant_id = %s"
    assert pick(business.report(query, business.tenant), "message_count") == [(2,)]
    business.set("warehouse.min_guests", "3")
    assert pick(business.report(query, business.tenant), "message_count") == [(None,)]


# The dictionary of metrics

FUNCTIONS = """
SELECT DISTINCT a.name FROM pg_proc AS p
CROSS JOIN LATERAL unnest(p.proargnames, p.proargmodes) AS a (name, mode)
WHERE p.pronamespace = 'guestcomms'::regnamespace AND a.mode = 't' AND p.proname IN ('get_message_statistics',
    'get_response_times', 'get_campaign_performance', 'get_guest_engagement', 'get_live_statistics')
"""
VIEWS = """
SELECT DISTINCT regexp_replace(a.attname::text, '_30_days$', '') FROM pg_attribute AS a
WHERE a.attrelid IN (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'guestcomms_bi'::regnamespace
    AND c.relname ~ '^(mv|agg)_') AND a.attnum > 0 AND NOT a.attisdropped AND a.attname ~ '_(count|rate)(_30_days)?$'
"""
NO_METRIC = {"bucket_start", "period", "period_start", "channel", "direction", "answered_by", "is_suppressed", "as_of"}
NO_METRIC |= {"campaign_id", "campaign", "purpose", "started_at", "first_day", "last_day", "guest_id"}
NO_METRIC |= {"last_outbound_at", "last_inbound_at", "last_engaged_at"}
TIMES = {"mean_time", "median_time", "p90_time", "mean_response_time"}  # each of metric response_time


def test_the_dictionary_names_every_number(reader: Connection) -> None:
    metrics = column(reader, "SELECT metric FROM guestcomms_bi.metrics")
    assert len(set(metrics)) == len(metrics)
    assert "response_time" in metrics
    assert set(column(reader, FUNCTIONS)) - NO_METRIC - TIMES - set(metrics) == set()
    columns = set(column(reader, VIEWS)) - set(metrics)
    assert {name for name in columns if name.removesuffix("_count") not in metrics} == set()


def test_the_dictionary_says_it_all(store: Store) -> None:
    for login in ("analyst_login", "operator_login"):
        with store.connect(login) as connection:
            found = rows(connection, "SELECT metric, unit, formula, exclusions FROM guestcomms_bi.metrics")
            assert found
            assert all(part for row in found for part in row)
