"""Who sees what in guestcomms_bi: analysts read tables and views of several tenants at once, with tools that open none."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from psycopg import sql

from tests.support.analysts import CANARIES, World, open_world
from tests.support.database import Connection
from tests.support.probe import Relation, find_relations
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

SUMS = {"agg_message_day_all", "agg_event_day_all"}


@pytest.fixture(scope="module")
def world(store: Store) -> Iterator[World]:
    with open_world(store) as world:
        yield world


# A reader's login, the role it has SET, the tenant it has open, the tenants whose rows it sees.
READERS = {
    "member of A": ("bi_of_a", None, "", "a"),
    "member of A, B and the closed C": ("bi_of_both", None, "", "ab"),
    "the same with B open": ("bi_of_both", None, "b", "b"),
    "member of none": ("bi_of_none", None, "", ""),
    "granted all": ("bi_of_all", None, "", "abc"),
    "granted all, as the group": ("bi_of_all", "guestcomms_all_tenants", "", "abc"),
    "granted all, as an analyst": ("bi_of_all", "guestcomms_analyst", "", ""),
    "member by a role": ("bi_in_team", None, "", "b"),
    "as that role": ("bi_in_team", "bi_team", "", "b"),
    "member by a role, as an analyst": ("bi_in_team", "guestcomms_analyst", "", ""),
    "member by a role that does not inherit": ("bi_behind", None, "", ""),
    "operator": ("operator_login", None, "", "abc"),
    "operator after SET ROLE": ("operator_login", "guestcomms_operator", "", "abc"),
}


def contents(connection: Connection, relation: Relation, tenants: list[UUID] | None = None) -> list[str]:
    """All rows, or those of these tenants, as text."""
    condition = sql.SQL("true") if tenants is None else sql.SQL("t.tenant_id = ANY ({})").format(sql.Literal(tenants))
    return [
        row[0]
        for row in connection.execute(
            sql.SQL('SELECT t::text FROM {} AS t WHERE {} ORDER BY t::text COLLATE "C"').format(relation.identifier, condition)
        )
    ]


@pytest.mark.parametrize("reader", READERS)
def test_rows_are_those_of_the_readers_tenants(world: World, reader: str) -> None:
    login, role, opened, letters = READERS[reader]
    connection, root = world.connect(login, role, opened), world.connect("postgres")
    assert len(world.with_tenants) == 21
    for relation in world.with_tenants:
        expected = contents(root, relation, world.ids(letters))
        assert contents(connection, relation) == expected, relation
        assert bool(expected) == bool(letters), relation
        others = [tenant for tenant in world.tenants.values() if tenant not in world.ids(letters)]
        assert contents(connection, relation, others) == [], relation
    visible = one(connection, "SELECT guestcomms.visible_tenants()")
    assert sorted(visible) == sorted(world.ids(letters))


@pytest.mark.parametrize("reader", READERS)
def test_copy_gives_no_more(world: World, reader: str) -> None:
    login, role, opened, letters = READERS[reader]
    connection = world.connect(login, role, opened)
    hidden = [str(tenant) for letter, tenant in world.tenants.items() if letter not in letters]
    for relation in world.with_tenants:
        # COPY by name takes plain tables only.
        by_name = [sql.SQL("COPY {} TO STDOUT")] if relation.kind == "r" else []
        for statement in (*by_name, sql.SQL("COPY (TABLE {}) TO STDOUT")):
            with connection.cursor() as cursor, cursor.copy(statement.format(relation.identifier)) as copy:
                given = b"".join(copy).decode()
            assert bool(given) == bool(letters), (relation, statement)
            assert not [tenant for tenant in hidden if tenant in given], (relation, statement)


# Archived messages count as before.
STORED = """
    SELECT (SELECT count(*) FROM guestcomms.messages WHERE tenant_id = ANY (%s))
        + coalesce((SELECT sum(message_count) FROM guestcomms.archive_segments WHERE tenant_id = ANY (%s)), 0)
"""


def test_live_numbers_are_a_recount_of_the_readers_messages(world: World) -> None:
    root = world.connect("postgres")
    for login, letters in (("bi_of_a", "a"), ("bi_of_both", "ab"), ("bi_of_none", ""), ("bi_of_all", "abc")):
        counted = one(root, STORED, world.ids(letters), world.ids(letters))
        live = "SELECT coalesce(sum(message_count), 0) FROM guestcomms_bi.agg_message_quarter_hour"
        reader = world.connect(login)
        assert one(reader, (live + "_live").encode()) == counted
        assert one(reader, live.encode()) == counted - len(letters)


def test_a_login_without_inheritance_sees_what_it_has_set(world: World) -> None:
    connection = world.connect("bi_not_inheriting")
    with refused("42501"):
        connection.execute("SELECT FROM guestcomms_bi.dim_tenant")
    connection.execute("SET ROLE bi_team")
    assert column(connection, "SELECT tenant_id FROM guestcomms_bi.dim_tenant") == world.ids("b")


def test_what_is_the_same_for_all(world: World) -> None:
    root = world.connect("postgres")
    for login in ("bi_of_a", "bi_of_none", "bi_of_all"):
        connection = world.connect(login)
        for name in ("dim_date", "dim_time", "dim_channel", "metrics"):
            count = f"SELECT count(*) FROM guestcomms_bi.{name}".encode()
            assert one(connection, count) == one(root, count) > 0


def test_sums_over_all_tenants_are_for_who_sees_all(world: World) -> None:
    for name in SUMS:
        read = f"SELECT count(*) FROM guestcomms_bi.{name}".encode()
        for login in ("bi_of_a", "bi_of_both", "bi_of_none", "bi_in_team"):
            with refused("42501"):
                world.connect(login).execute(read)
        assert one(world.connect("bi_of_all"), read) > 0
        assert one(world.connect("bi_of_all", "guestcomms_all_tenants"), read) > 0


def test_partitions_materialized_views_and_what_is_internal_are_refused(world: World) -> None:
    relations = [r for r in find_relations(world.connect("postgres")) if r.is_partition or r.schema == "guestcomms_internal"]
    assert {r.kind for r in relations} == {"r", "m"}
    for login, role in (("bi_of_a", None), ("bi_of_all", None), ("bi_of_all", "guestcomms_all_tenants")):
        connection = world.connect(login, role)
        for relation in relations:
            for statement in ("SELECT FROM {}", "COPY {} TO STDOUT", "EXPLAIN SELECT FROM {}", "REFRESH MATERIALIZED VIEW {}"):
                if statement.startswith("REFRESH") and relation.kind != "m":
                    continue
                with refused("42501"):
                    connection.execute(sql.SQL(statement).format(relation.identifier))
        for function in ("visible_live_messages", "visible_live_events"):
            with refused("42501"):
                connection.execute(f"SELECT * FROM guestcomms_internal.{function}()".encode())


@pytest.mark.parametrize("login", ["app_login", "privacy_login", "issuer_login", "nobody_login"])
def test_others_read_nothing(world: World, login: str) -> None:
    connection = world.connect(login)
    for relation in world.relations:
        with refused("42501"):
            connection.execute(sql.SQL("SELECT FROM {}").format(relation.identifier))


def test_a_reader_writes_nothing(world: World) -> None:
    connection = world.connect("bi_of_all")
    for relation in world.relations:
        if relation.kind in "rp":
            for statement in ("DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES", "TRUNCATE {}", "LOCK TABLE {}"):
                with refused("42501"), connection.transaction():
                    connection.execute(sql.SQL(statement).format(relation.identifier))


def test_membership_counts_from_the_next_statement_on(world: World) -> None:
    """For a statement that was prepared before, too."""
    root, reader = world.connect("postgres", opened="b"), world.connect("bi_of_none")

    def seen() -> list[set[UUID]]:
        return [
            {row[0] for row in reader.execute(f"SELECT tenant_id FROM guestcomms_bi.{name}".encode(), prepare=True)}
            for name in ("fact_message", "agg_message_day", "mv_daily_channels", "agg_message_quarter_hour_live")
        ]

    nothing: list[set[UUID]] = [set()] * 4
    assert seen() == nothing
    root.execute("SELECT guestcomms.add_member('bi_of_none')")
    assert seen() == [set(world.ids("b"))] * 4
    root.execute("UPDATE guestcomms.tenants SET closed_at = now() WHERE tenant_id = %s", world.ids("b"))
    assert seen() == nothing
    world.connect("postgres").execute("UPDATE guestcomms.tenants SET closed_at = NULL WHERE tenant_id = %s", world.ids("b"))
    assert seen() == [set(world.ids("b"))] * 4
    root.execute("SELECT guestcomms.remove_member('bi_of_none')")
    assert seen() == nothing


def test_a_context_that_does_not_hold_shows_nothing(world: World) -> None:
    for login in ("bi_of_a", "bi_of_all"):
        connection = world.connect(login)
        for forged in ("x", f"session|{world.tenants['b']}|99999999999|00"):
            connection.execute("SELECT set_config('guestcomms.context', %s, false)", [forged])
            for relation in world.with_tenants:
                with refused("GC001"):
                    connection.execute(sql.SQL("SELECT FROM {}").format(relation.identifier))


def test_the_canaries_are_there_to_be_seen(world: World) -> None:
    """What the other tests look for in vain is there for whoever may see it."""
    root = world.connect("postgres")
    for letter, name in CANARIES.items():
        for table, named in (("dim_tenant", "tenant_name"), ("dim_wedding", "wedding_name"), ("dim_campaign", "campaign_name")):
            found = rows(root, f"SELECT tenant_id FROM guestcomms_bi.{table} WHERE {named} = %s".encode(), name)
            assert found == [(world.tenants[letter],)]
