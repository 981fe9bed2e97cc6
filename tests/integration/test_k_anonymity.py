"""Groups of rows that look alike, counted for whoever may read the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store

QUERY = "SELECT * FROM guestcomms.k_anonymity(%s::regclass, %s::text[], %s)"
# A name that ends a statement where it is not quoted.
ODD = 'age"; DROP TABLE public.people; --'
TABLE = f"""
CREATE TABLE public.people (city text, "Born In" integer, "{ODD.replace('"', '""')}" text, account text, document json);
CREATE VIEW public.adults AS SELECT city, "Born In" AS born FROM public.people WHERE "Born In" < 2000;
CREATE INDEX people_city ON public.people (city);
GRANT SELECT (city, account) ON public.people TO analyst_login;
ALTER TABLE public.people ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.people USING (account = current_user);
"""


@pytest.fixture(scope="module")
def superuser(store: Store) -> Iterator[Connection]:
    with store.connect() as connection:
        connection.execute(TABLE.encode())
        yield connection


def fill(superuser: Connection, people: list[tuple[Any, ...]]) -> None:
    superuser.execute("TRUNCATE public.people")
    with superuser.cursor() as cursor:
        cursor.executemany('INSERT INTO public.people (city, "Born In", account) VALUES (%s, %s, %s)', people)


def test_groups_are_counted(superuser: Connection) -> None:
    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.tuples(st.sampled_from([None, "", "Leeds", "York"]), st.sampled_from([None, 1970, 2001])), max_size=60),
        st.sampled_from([["city"], ["Born In"], ["city", "Born In"], ["city", "city"], [ODD]]),
        st.integers(0, 5),
    )
    def check(people: list[tuple[str | None, int | None]], columns: list[str], most: int) -> None:
        fill(superuser, [(*person, None) for person in people])
        places = {"city": 0, "Born In": 1}
        groups = Counter(tuple(person[places[name]] if name in places else None for name in columns) for person in people)
        sizes = sorted(groups.values())
        below = [sum(size for size in sizes if size < limit) for limit in (2, 5, 10)]
        expected = (min(sizes, default=None), len(sizes), len(people), *below, sizes[:most])
        assert rows(superuser, QUERY, "public.people", columns, most) == [expected]

    check()


def test_views_are_counted(superuser: Connection) -> None:
    fill(superuser, [("Leeds", 1970, None), ("Leeds", 2001, None)])
    assert one(superuser, "SELECT k FROM guestcomms.k_anonymity('public.adults', '{city,born}')") == 1
    assert one(superuser, "SELECT row_count FROM guestcomms.k_anonymity('public.adults', '{city}')") == 1


def test_it_reads_with_the_callers_rights(store: Store, superuser: Connection) -> None:
    fill(superuser, [("Leeds", 1970, "analyst_login"), ("York", 1970, "app_login"), ("York", 1970, "app_login")])
    with store.connect("analyst_login") as analyst:
        ((k, groups, count, *_),) = rows(analyst, QUERY, "public.people", ["city"], 10)
        assert (k, groups, count) == (1, 1, 1)
        for relation, columns in [
            ("public.people", ["Born In"]),
            ("public.adults", ["city"]),
            ("guestcomms.guests", ["language"]),
            ("guestcomms_internal.store_secrets", ["secret"]),
        ]:
            with refused("42501"):
                analyst.execute(QUERY, [relation, columns, 10])
    with store.connect("app_login") as app, refused("42501"):
        app.execute(QUERY, ["public.people", ["city"], 10])


@pytest.mark.parametrize(
    ("relation", "columns", "most", "sqlstate"),
    [
        ("public.people", ["town"], 10, "42703"),
        ("public.people", ["city", "born in"], 10, "42703"),
        ("public.people", ["ctid"], 10, "42703"),
        ("public.people", ["city; DROP TABLE public.people"], 10, "42703"),
        ("public.people", ["city", None], 10, "42703"),
        ("public.people", [], 10, "22023"),
        ("public.people", None, 10, "22023"),
        ("public.people", ["city"], -1, "22023"),
        ("public.people", ["city"], 1001, "22023"),
        ("public.people", ["city"], None, "22023"),
        ("public.people_city", ["city"], 10, "42809"),
        (None, ["city"], 10, "42809"),
        ("public.nothing", ["city"], 10, "42P01"),
        ("public.people", ["document"], 10, "42883"),
    ],
)
def test_what_cannot_be_counted(
    superuser: Connection, relation: str | None, columns: list[str | None] | None, most: int | None, sqlstate: str
) -> None:
    with refused(sqlstate) as caught:
        superuser.execute(QUERY, [relation, columns, most])
    assert caught.value.diag.message_hint or sqlstate in ("42P01", "42883")
    assert one(superuser, "SELECT to_regclass('public.people') IS NOT NULL")


def test_a_dropped_column_is_none(superuser: Connection) -> None:
    superuser.execute(sql.SQL("CREATE TABLE public.one (a text, b text); ALTER TABLE public.one DROP COLUMN b"))
    with refused("42703"):
        superuser.execute(QUERY, ["public.one", ["........pg.dropped.2........"], 10])
