"""What an analyst is told beside rows: plans, statistics, errors and what functions of their own are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.analysts import CANARIES, World, open_world
from tests.support.database import Connection
from tests.support.population import load_warehouse
from tests.support.probe import Relation
from tests.support.queries import one, refused, rows, told
from tests.support.store import Store

# So many of B's that the planner would know B's values for frequent ones.
BULK = """
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, guest_id, thread_id, wedding_id, campaign_id,
    direction, channel, status, body)
SELECT %(tenant_id)s, guestcomms.uuid_v7(x.at), x.at, %(guest_id)s, %(thread_id)s, %(wedding_id)s, %(campaign_id)s,
    'outbound', 'email', 'sent', 'X'
FROM generate_series(1, 600) AS n CROSS JOIN LATERAL (SELECT now() - n * interval '1 hour' AS at) AS x
"""
# A function that shows what it is given, cheaper than any condition of ours and so tried before it if it may be; and
# an operator of it that planners may try on what they know.
PEEK = """
CREATE FUNCTION pg_temp.peek(given anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
    AS $$ BEGIN RAISE NOTICE '%', given; RETURN true; END $$;
CREATE FUNCTION pg_temp.peek(given text, other text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
    AS $$ BEGIN RAISE NOTICE '%', given; RETURN given < other; END $$;
CREATE OPERATOR pg_temp.<<< (FUNCTION = pg_temp.peek, LEFTARG = text, RIGHTARG = text, RESTRICT = scalarltsel);
"""
ANALYZED = """
SELECT c.oid::regclass::text FROM pg_class AS c
WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND c.relkind IN ('r', 'p', 'm')
"""
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute AS a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


@pytest.fixture(scope="module")
def world(store: Store) -> Iterator[World]:
    with open_world(store) as world:
        root = world.connect("postgres")
        root.execute(BULK, vars(world.inhabitants["b"]))
        for number in range(20):
            one(root, "SELECT guestcomms.add_tenant(%s)", f"{number * 7919 % 97} & Sons")
        load_warehouse(root)
        for (table,) in rows(root, ANALYZED):
            root.execute(f"ANALYZE {table}".encode())
        yield world


@pytest.fixture
def reader(world: World) -> Iterator[Connection]:
    connection = world.connect("bi_of_a")
    yield connection
    connection.execute("DISCARD TEMP")  # or else its functions would outlive the connection by a moment


def plan(connection: Connection, relation: Relation, column: str, operator: str, value: str) -> str:
    """The plan of a query for that value, less the value."""
    query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT * FROM {} AS t WHERE t.{} {} {}").format(
        *(relation.identifier, sql.Identifier(column), sql.SQL("<" if operator == "<" else "="), sql.Literal(value))
    )
    ((found,),) = connection.execute(query).fetchall()
    return re.sub(r"'[^']*'::", "given::", json.dumps(found, indent=1))


def test_plans_tell_nothing_of_other_tenants_values(world: World, reader: Connection) -> None:
    """Estimates for what B has are those for what nobody has."""
    root, told_apart, tried = world.connect("postgres"), set(), 0
    for relation in world.with_tenants:
        for column, kind in root.execute(COLUMNS, [str(relation)]).fetchall():
            if kind not in ("uuid", "text") and column != "guest_key":
                continue
            of_b = root.execute(
                sql.SQL(
                    "SELECT b::text FROM (SELECT {0} FROM {1} WHERE tenant_id = {2} GROUP BY 1 ORDER BY count(*) DESC LIMIT 5)"
                    " AS n (b) WHERE b IS NOT NULL AND b NOT IN (SELECT {0} FROM {1} WHERE tenant_id = {3} AND {0} IS NOT NULL)"
                ).format(sql.Identifier(column), relation.identifier, *map(sql.Literal, world.ids("ba")))
            ).fetchall()
            unknown = {"uuid": str(uuid4()), "text": "unheard of"}.get(kind, "1000000")
            for (value,) in of_b:
                tried += 1
                if plan(reader, relation, column, "=", value) != plan(reader, relation, column, "=", unknown):
                    told_apart.add(f"{relation}.{column}")
    assert tried > 50
    assert told_apart == set()


def test_plans_do_not_tell_where_names_of_other_tenants_lie(world: World, reader: Connection) -> None:
    """By comparing with one bound after the other, a list of them could be made."""
    root, told_apart = world.connect("postgres"), set()
    for relation in world.with_tenants:
        if relation.name.startswith("dim_"):
            for column, kind in root.execute(COLUMNS, [str(relation)]).fetchall():
                values = root.execute(
                    sql.SQL("SELECT DISTINCT {0}::text FROM {1} WHERE {0} IS NOT NULL").format(
                        sql.Identifier(column), relation.identifier
                    )
                ).fetchall()
                if kind != "boolean" and len({plan(reader, relation, column, "<", value) for (value,) in values}) > 1:
                    told_apart.add(f"{relation}.{column}")
    assert told_apart == set()


def test_statistics_show_nothing(world: World) -> None:
    for login in ("bi_of_a", "bi_of_all"):
        connection = world.connect(login)
        for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
            tables = rows(connection, f"SELECT DISTINCT tablename FROM {view} WHERE schemaname LIKE 'guestcomms%'".encode())
            # The calendar, and the like, are for everybody; but row security is on there, too.
            assert tables == [], (login, view)
        with refused("42501"):
            connection.execute("SELECT FROM pg_statistic")


@contextmanager
def overhear(connection: Connection) -> Iterator[list[str]]:
    """What notices say meanwhile."""
    heard: list[str] = []

    def listen(diagnostic: psycopg.errors.Diagnostic) -> None:
        heard.append(diagnostic.message_primary or "")

    connection.add_notice_handler(listen)
    yield heard
    connection.remove_notice_handler(listen)


def foreign(world: World, said: list[str]) -> list[str]:
    """Of that, what holds a word or an identifier of another tenant than A."""
    secrets = [CANARIES["b"], CANARIES["c"]]
    for letter in "bc":
        secrets += [str(value) for value in vars(world.inhabitants[letter]).values()]
    return [line for line in said if any(secret in line for secret in secrets)]


# Where a function is called on a row; the planner may call those of constants, and of what it has sampled.
CALLS = (
    "SELECT count(*) FROM {0} AS t WHERE pg_temp.peek(t)",
    "SELECT count(*) FROM {0} AS t WHERE pg_temp.peek(t.tenant_id) AND t.tenant_id IS NOT NULL",
    "SELECT count(*) FROM {0} AS t JOIN {0} AS o ON pg_temp.peek(o) AND o.tenant_id = t.tenant_id",
    "SELECT count(*) FROM (SELECT DISTINCT t.tenant_id FROM {0} AS t) AS t WHERE pg_temp.peek(t.tenant_id)",
    "SELECT count(*) FROM {0} AS t WHERE t.tenant_id = ANY (%s) AND pg_temp.peek(t)",
)


@pytest.mark.parametrize("call", CALLS)
def test_functions_of_an_analyst_are_shown_its_rows_only(world: World, reader: Connection, call: str) -> None:
    reader.execute(PEEK)
    reader.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    for relation in world.with_tenants:
        query = sql.SQL(call).format(relation.identifier)
        with overhear(reader) as heard:
            reader.execute(query, [world.ids("abc")] if "%s" in call else None)
        assert heard, relation
        assert foreign(world, heard) == [], relation


def test_errors_are_of_own_rows(world: World, reader: Connection) -> None:
    """A cast says which text it cannot read; a division fails on the rows that it is tried on."""
    for relation in world.with_tenants:
        query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {}::integer = 1 AND t.tenant_id = ANY ({})")
        for tenants in (world.ids("a"), world.ids("b"), world.ids("abc")):
            read = query.format(relation.identifier, sql.SQL("t::text"), sql.Literal(tenants))
            if world.tenants["a"] not in tenants:
                assert reader.execute(read).fetchall() == [(0,)]
                continue
            with refused("22P02") as caught:
                reader.execute(read)
            assert foreign(world, [told(caught.value)]) == [], relation
            assert str(world.tenants["a"]) in told(caught.value)
        # Row by row, but for the id of B in the condition.
        divided = sql.SQL("SELECT count(*) FROM {} AS t WHERE 1 / (CASE WHEN t.tenant_id = {} THEN 0 ELSE 1 END) = 1")
        reader.execute(divided.format(relation.identifier, sql.Literal(world.tenants["b"])))


def test_an_operator_is_not_tried_on_what_was_sampled(world: World, reader: Connection) -> None:
    reader.execute(PEEK)
    root = world.connect("postgres")
    tried = 0
    for relation in world.with_tenants:
        for column, _ in root.execute(COLUMNS, [str(relation)]).fetchall():
            query = sql.SQL("EXPLAIN SELECT FROM {} AS t WHERE t.{}::text OPERATOR(pg_temp.<<<) 'm'")
            if column not in ("guests", "response_times"):
                tried += 1
                with overhear(reader) as heard:
                    reader.execute(query.format(relation.identifier, sql.Identifier(column)))
                assert heard == [], (relation, column)
    assert tried > 200


def test_peeking_works(world: World) -> None:
    """Where row security does not hold it back, as for an operator, each of these means shows rows of all."""
    root = world.connect("postgres")
    root.execute(PEEK)
    with overhear(root) as heard:
        root.execute("SELECT count(*) FROM guestcomms_bi.dim_campaign AS t WHERE pg_temp.peek(t)")
    assert foreign(world, heard) != []
    with overhear(root) as heard:
        root.execute("EXPLAIN SELECT FROM guestcomms_bi.agg_event_day AS t WHERE t.kind OPERATOR(pg_temp.<<<) 'm'")
    assert "opened" in heard
