"""A BI tool connects as an analyst and reads keys, foreign keys and comments from the catalog; SQLAlchemy stands for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy as sa
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import Row, one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record_all

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type")  # sketches

SCHEMA = "guestcomms_bi"
# As pg_partman 4 and 5 name them.
PARTITION = re.compile(r"_(p\d{4}_\d{2}|p\d{8}|default)$")
# What each fact refers to, by the columns that do.
DIMENSIONS = {
    ("tenant_id",): "dim_tenant",
    ("date_key",): "dim_date",
    ("time_key",): "dim_time",
    ("channel_key",): "dim_channel",
    ("tenant_id", "guest_key"): "dim_guest",
    ("tenant_id", "wedding_id"): "dim_wedding",
    ("tenant_id", "campaign_id"): "dim_campaign",
}
FACTS = {"fact_message": "sent_", "fact_message_event": "occurred_"}
VIEWS = {
    *("mv_daily_channels", "mv_campaign_performance", "mv_guest_engagement", "mv_response_times", "mv_tenant_overview"),
    *("agg_message_quarter_hour_live", "agg_event_quarter_hour_live", "metrics"),
}
FOREIGN_KEYS = """
SELECT k.conrelid::regclass::text, k.confrelid::regclass::text,
    (SELECT array_agg(a.attname::text ORDER BY n.place) FROM unnest(k.conkey) WITH ORDINALITY AS n (number, place)
     JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.number),
    (SELECT array_agg(a.attname::text ORDER BY n.place) FROM unnest(k.confkey) WITH ORDINALITY AS n (number, place)
     JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = n.number)
FROM pg_constraint AS k
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.connamespace = 'guestcomms_bi'::regnamespace
ORDER BY 1, 2
"""


def fill(store: Store, login: str, tenant: UUID, count: int) -> None:
    """Messages of some guests, weddings and campaigns, and of none; guests that change, and one that is erased."""
    app, root = store.connect(login, tenant), store.connect(tenant=tenant)
    guests = [add_guest(app, f"Guest {number}") for number in range(4)]
    named = "INSERT INTO guestcomms.{} (tenant_id, name) VALUES (%s, %s) RETURNING {}"
    weddings = [one(root, named.format("weddings", "wedding_id").encode(), tenant, name) for name in "xy"]
    campaigns = [one(root, named.format("campaigns", "campaign_id").encode(), tenant, name) for name in ("Spring", "Autumn")]
    batch = [
        message(
            guests[number % 4],
            direction=("outbound", "inbound")[number % 3 == 0],
            channel=("email", "sms", "whatsapp", "chat")[number % 4],
            sent_at=f"2026-0{1 + number % 5}-{1 + number % 27:02}T{number % 24:02}:{number % 60:02}:00+00:00",
            **{"campaign_id": str(campaigns[number % 2])} if number % 3 else {},
            **{"wedding_id": str(weddings[number % 2])} if number % 5 else {},
        )
        for number in range(count)
    ]
    messages = record_all(app, batch)
    events = [{"message_id": str(messages[number]), "kind": "opened"} for number in range(0, count, 2)]
    app.execute("SELECT guestcomms.record_events(%s)", [Jsonb(events)])
    refresh(root)
    root.execute("UPDATE guestcomms.guests SET language = 'fr' WHERE guest_id = %s", [guests[0]])
    root.execute("UPDATE guestcomms.guests SET erased_at = now(), display_name = NULL WHERE guest_id = %s", [guests[3]])
    app.close()
    root.close()


def refresh(root: Connection) -> None:
    while one(root, "SELECT guestcomms.refresh_warehouse()"):
        pass


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    fill(store, "app_login", store.tenant_a, 90)
    fill(store, "other_app_login", store.tenant_b, 40)
    with store.connect() as root:
        refresh(root)
        with root.transaction():
            while one(root, "SELECT guestcomms.refresh_reports(max_age => '0 seconds')"):
                pass
        root.execute("SELECT guestcomms.use_tenant(%s, true)", [store.tenant_a])
        root.execute("SELECT guestcomms.add_member('analyst_login')")
    return store


@pytest.fixture(scope="module")
def engine(filled: Store) -> Iterator[Any]:
    def connect() -> Any:
        connection = psycopg2.connect(filled.database.dsn("analyst_login"))
        psycopg2.extras.register_uuid(conn_or_curs=connection)
        return connection

    engine = sa.create_engine("postgresql+psycopg2://", creator=connect)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def model(engine: Any) -> dict[str, Any]:
    """Tables and views as they were reflected, by name."""
    metadata = sa.MetaData()
    metadata.reflect(engine, schema=SCHEMA, views=True, only=lambda name, _: not PARTITION.search(name))
    return {table.name: table for table in metadata.tables.values()}


def references(table: Any) -> dict[tuple[str, ...], tuple[str, tuple[str, ...]]]:
    """Columns of each foreign key, with the table and the columns that they refer to."""
    return {
        tuple(column.name for column in key.columns): (
            key.referred_table.name,
            tuple(element.column.name for element in key.elements),
        )
        for key in table.foreign_key_constraints
    }


def test_the_star_is_found(model: dict[str, Any]) -> None:
    assert set(model) > VIEWS | set(FACTS) | set(DIMENSIONS.values())
    assert {name for name in model if name.startswith("mv_")} == {name for name in VIEWS if name.startswith("mv_")}


def test_every_table_has_a_primary_key(model: dict[str, Any]) -> None:
    for name, table in model.items():
        key = [column.name for column in table.primary_key.columns]
        assert bool(key) == (name not in VIEWS), name
        if "tenant_id" in table.columns and key:
            assert key[0] == "tenant_id", name


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_refers_to_its_dimensions(model: dict[str, Any], fact: str) -> None:
    expected = {
        tuple(FACTS[fact] + name if name in ("date_key", "time_key") else name for name in columns): (dimension, columns)
        for columns, dimension in DIMENSIONS.items()
    }
    assert references(model[fact]) == expected
    for columns in expected:
        assert not any(model[fact].columns[name].nullable for name in columns)
    for dimension in ("dim_wedding", "dim_campaign", "dim_guest"):
        assert references(model[dimension]) == {("tenant_id",): ("dim_tenant", ("tenant_id",))}


def test_every_table_and_column_says_what_it_is(model: dict[str, Any]) -> None:
    for name, table in model.items():
        assert table.comment, name
        for column in table.columns:
            assert re.fullmatch(r".+ \[retention: \w+\]", column.comment or ""), (name, column.name)


def test_views_have_types(model: dict[str, Any]) -> None:
    for name in VIEWS:
        assert len(model[name].columns) >= 4, name
        for column in model[name].columns:
            assert not isinstance(column.type, sa.types.NullType), (name, column.name)


def joined(model: dict[str, Any], fact: str, dimensions: list[str]) -> Any:
    """A fact with dimensions, by the foreign keys that were reflected."""
    found = model[fact]
    for key in sorted(model[fact].foreign_key_constraints, key=lambda key: str(key.name)):
        if key.referred_table.name in dimensions:
            condition = sa.and_(*(element.parent == element.column for element in key.elements))
            found = found.join(key.referred_table, condition)
    return found


def star(engine: Any, query: Any) -> list[Row]:
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(query))


def test_a_star_query_is_a_recount_of_the_messages(filled: Store, engine: Any, model: dict[str, Any]) -> None:
    fact = model["fact_message"]
    date, channel, campaign, wedding, guest = (
        model[name] for name in ("dim_date", "dim_channel", "dim_campaign", "dim_wedding", "dim_guest")
    )
    groups = (date.c.month, channel.c.channel, campaign.c.campaign_name, wedding.c.wedding_name, guest.c.is_erased)
    query = (
        sa.select(*groups, sa.func.count(), sa.func.count(fact.c.opened_at))
        .select_from(joined(model, "fact_message", list(DIMENSIONS.values())))
        .group_by(*groups)
    )
    recounted = rows(
        filled.connect(),
        """
        SELECT extract(month FROM m.sent_at AT TIME ZONE 'Europe/Berlin')::integer, m.channel, coalesce(c.name, '(none)'),
            coalesce(w.name, '(none)'), g.erased_at IS NOT NULL, count(*),
            count(*) FILTER (WHERE m.direction = 'outbound'
                AND EXISTS (SELECT FROM guestcomms.message_events AS e WHERE e.message_id = m.message_id AND e.kind = 'opened'))
        FROM guestcomms.messages AS m
        JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
        LEFT JOIN guestcomms.campaigns AS c USING (tenant_id, campaign_id)
        LEFT JOIN guestcomms.weddings AS w USING (tenant_id, wedding_id)
        WHERE m.tenant_id = %s GROUP BY 1, 2, 3, 4, 5
        """,
        filled.tenant_a,
    )
    assert len(recounted) > 20
    assert {True, False} == {row[4] for row in recounted}
    assert star(engine, query) == sorted(recounted)


def test_a_star_query_of_events_is_a_recount(filled: Store, engine: Any, model: dict[str, Any]) -> None:
    channel, date, fact = model["dim_channel"], model["dim_date"], model["fact_message_event"]
    query = (
        sa.select(channel.c.channel_name, fact.c.kind, sa.func.count())
        .select_from(joined(model, "fact_message_event", ["dim_channel", "dim_date", "dim_time", "dim_guest"]))
        .where(date.c.year >= 2000)
        .group_by(channel.c.channel_name, fact.c.kind)
    )
    recounted = rows(
        filled.connect(),
        "SELECT c.channel_name, e.kind, count(*) FROM guestcomms.message_events AS e JOIN guestcomms.messages AS m"
        " USING (tenant_id, message_id) JOIN guestcomms_bi.dim_channel AS c USING (channel)"
        " WHERE e.tenant_id = %s GROUP BY 1, 2",
        filled.tenant_a,
    )
    assert recounted
    assert star(engine, query) == sorted(recounted)


def test_no_row_of_a_fact_or_dimension_lacks_what_it_refers_to(filled: Store) -> None:
    """Inner joins lose nothing."""
    root = filled.connect()
    keys = rows(root, FOREIGN_KEYS)
    assert len(keys) == 2 * len(DIMENSIONS) + 3
    for table, dimension, columns, referred in keys:
        condition = sql.SQL(" AND ").join(
            sql.SQL("d.{} = f.{}").format(sql.Identifier(there), sql.Identifier(here))
            for here, there in zip(columns, referred, strict=True)
        )
        query = sql.SQL("SELECT count(*), count(d.{}) FROM {} AS f LEFT JOIN {} AS d ON {}").format(
            *(sql.Identifier(referred[-1]), sql.SQL(table), sql.SQL(dimension), condition)
        )
        ((count, found),) = root.execute(query).fetchall()
        assert found == count > 0, (table, dimension)
