"""rebuild_search(): vectors follow a change of a dictionary, batch by batch, while searches go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.statistics import LATELY, Place, add_places, difference, refresh_all
from tests.support.store import Store
from tests.support.traffic import new_message_id

MAPPING = "ALTER TEXT SEARCH CONFIGURATION guestcomms.search_en ALTER MAPPING FOR asciiword WITH guestcomms.fold_accents, {}"
STALE = """
SELECT tenant_id, count(*) FROM guestcomms.messages
WHERE search IS DISTINCT FROM guestcomms_internal.message_search_v1(language, subject, body) GROUP BY 1
"""
LEFT = "SELECT count(*) FROM guestcomms.search_rebuilds"
BATCH = "SELECT guestcomms_internal.rebuild_search_batch(%s)"
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage = 'all words'"
COUNT = 5  # messages in each of two months, for each of two tenants


@pytest.fixture(scope="module")
def places(store: Store) -> tuple[Place, Place]:
    return add_places(store)


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture
def messages(root: Connection, places: tuple[Place, Place]) -> Iterator[set[UUID]]:
    """Messages with the stems of a dictionary that is another now; those of tenant A."""
    root.execute(MAPPING.format("guestcomms.stem_en").encode())
    root.execute("DELETE FROM guestcomms.messages; DELETE FROM guestcomms.search_rebuilds")
    root.execute("TRUNCATE guestcomms.jobs, guestcomms.job_runs; SELECT guestcomms.upgrade_store()")
    found = set()
    for place in places:
        for number in range(2 * COUNT):
            at = LATELY - timedelta(days=31 * (number % 2), hours=number)
            identifier = place.write(root, new_message_id(root, at), f"the dishes and a menu, number {number}", subject="Dishes")
            if place is places[0]:
                found.add(identifier)
    refresh_all(root)
    assert rows(root, STALE) == []
    root.execute(MAPPING.format("simple").encode())
    assert {count for _, count in rows(root, STALE)} == {2 * COUNT}
    yield found
    root.execute(MAPPING.format("guestcomms.stem_en").encode())


@pytest.fixture
def operator(store: Store, messages: set[UUID]) -> Iterator[Connection]:
    connection = store.connect("operator_login")
    yield connection
    connection.close()


@pytest.fixture
def app(store: Store, messages: set[UUID]) -> Iterator[Connection]:
    connection = store.connect("app_login", store.tenant_a)
    yield connection
    connection.close()


def work(operator: Connection, max_rows: int = 2) -> None:
    """Batches until nothing is left."""
    for _ in range(100):
        if not one(operator, BATCH, max_rows):
            return
    raise AssertionError("rebuilding goes round in circles")


def is_rebuilt(root: Connection) -> bool:
    return rows(root, STALE) == [] and one(root, LEFT) == 0


def test_searches_go_on_meanwhile(root: Connection, operator: Connection, app: Connection, messages: set[UUID]) -> None:
    """A word that both dictionaries treat alike is found all the time; of the other, what has been rebuilt."""
    assert column(app, FIND, "dishes") == []
    assert one(operator, "SELECT guestcomms.rebuild_search()") == one(root, LEFT) == 4
    found: list[set[UUID]] = [set()]
    stale = [4 * COUNT]
    while one(operator, BATCH, 2):
        assert len(found) < 40, "rebuilding goes round in circles"
        assert set(column(app, FIND, "menu")) == messages
        found.append(set(column(app, FIND, "dishes")))
        stale.append(sum(count for _, count in rows(root, STALE)))
        assert found[-1] >= found[-2]
        assert 0 <= stale[-2] - stale[-1] <= 2
    assert found[-1] == messages
    assert len({len(ids) for ids in found}) > COUNT
    assert is_rebuilt(root)


def test_nothing_but_the_vectors_changes(root: Connection, operator: Connection) -> None:
    columns = one(
        root,
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'guestcomms.messages'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'search'",
    )
    texts = f"SELECT {columns} FROM guestcomms.messages ORDER BY message_id".encode()
    before = rows(root, texts)
    operator.execute("SELECT guestcomms.rebuild_search()")
    work(operator)
    assert rows(root, texts) == before
    assert is_rebuilt(root)


@pytest.mark.parametrize("is_edited", [False, True])
def test_statistics_follow(root: Connection, operator: Connection, places: tuple[Place, Place], is_edited: bool) -> None:
    terms = "SELECT term FROM guestcomms.term_statistics WHERE tenant_id = %s AND term IN ('dish', 'dishes')"
    assert column(root, terms, places[0].tenant) == ["dish"]
    operator.execute("SELECT guestcomms.rebuild_search()")
    one(operator, BATCH, 3)
    if is_edited:
        root.execute("UPDATE guestcomms.messages SET body = 'dishes again' WHERE tenant_id = %s", [places[0].tenant])
        root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND body ~ '[37]'", [places[1].tenant])
    refresh_all(operator, 1)
    assert not difference(root)
    work(operator)
    assert is_rebuilt(root)
    refresh_all(operator, 1)
    assert not difference(root)
    assert column(root, terms, places[0].tenant) == ["dishes"]


@pytest.mark.parametrize("batches", range(7))
def test_it_resumes_where_it_was_cut_off(store: Store, root: Connection, operator: Connection, batches: int) -> None:
    operator.execute("SELECT guestcomms.rebuild_search()")
    for _ in range(batches):
        one(operator, BATCH, 2)
    before = rows(root, STALE)
    with store.connect("operator_login", autocommit=False) as other:
        one(other, BATCH, 2)
        one(other, BATCH, 2)
        other.rollback()
    assert rows(root, STALE) == before
    work(operator)
    assert is_rebuilt(root)


def test_what_was_rebuilt_is_not_done_again(root: Connection, operator: Connection) -> None:
    operator.execute("SELECT guestcomms.rebuild_search()")
    done = 0
    while treated := one(operator, BATCH, COUNT):
        done += treated
        assert done < 100, "rebuilding goes round in circles"
    # And one for each month found to be through.
    assert done == 4 * COUNT + 4


def test_asked_for_again_it_begins_anew(root: Connection, operator: Connection) -> None:
    operator.execute("SELECT guestcomms.rebuild_search()")
    for _ in range(2):
        one(operator, BATCH, 2)
    root.execute(MAPPING.format("pg_catalog.german_stem").encode())
    operator.execute("SELECT guestcomms.rebuild_search()")
    assert one(root, LEFT) == 4
    work(operator)
    assert is_rebuilt(root)


def test_messages_that_come_and_go_meanwhile(root: Connection, operator: Connection, places: tuple[Place, Place]) -> None:
    operator.execute("SELECT guestcomms.rebuild_search()")
    for number in range(8):
        one(operator, BATCH, 2)
        places[number % 2].write(root, new_message_id(root, LATELY - timedelta(days=number)), f"dishes too {number}")
        root.execute("DELETE FROM guestcomms.messages WHERE body ~ %s", [f"number {number}"])
    work(operator)
    assert is_rebuilt(root)
    refresh_all(operator)
    assert not difference(root)


def test_with_a_tenant_open_only_its_own(store: Store, root: Connection, operator: Connection) -> None:
    with store.connect("operator_login", store.tenant_a) as own:
        assert one(own, "SELECT guestcomms.rebuild_search()") == 2
    assert set(column(root, "SELECT tenant_id FROM guestcomms.search_rebuilds")) == {store.tenant_a}
    work(operator)
    assert rows(root, STALE) == [(store.tenant_b, 2 * COUNT)]


def test_two_sessions_at_once(store: Store, root: Connection, operator: Connection) -> None:
    """The second takes another month, and waits for none."""
    operator.execute("SELECT guestcomms.rebuild_search()")
    with store.connect("operator_login", autocommit=False) as other:
        one(other, BATCH, 2)
        operator.execute("SET lock_timeout = '5s'")
        assert one(operator, BATCH, 2) == 2
        other.commit()
    work(operator)
    assert is_rebuilt(root)


def test_the_job(root: Connection, operator: Connection) -> None:
    operator.execute("SELECT guestcomms.rebuild_search()")
    assert one(operator, "SELECT requested_at IS NOT NULL FROM guestcomms.list_jobs() WHERE job_name = 'rebuild_search'")
    operator.execute("CALL guestcomms.run_due_jobs(true)")
    assert is_rebuilt(root)
    assert column(operator, "SELECT outcome FROM guestcomms.job_history('rebuild_search')") == ["done"]
    operator.execute("CALL guestcomms.run_job('rebuild_search')")
    assert one(root, LEFT) == 0


def test_it_is_audited(root: Connection, operator: Connection) -> None:
    written = "SELECT count(*) FROM guestcomms.audit_entries WHERE action = 'rebuild_search'"
    before = one(root, written)
    operator.execute("SELECT guestcomms.rebuild_search()")
    assert one(root, written) == before + 1


@pytest.mark.parametrize("login", ["app_login", "analyst_login", "privacy_login", "issuer_login", "nobody_login"])
def test_it_is_for_operators(store: Store, root: Connection, messages: set[UUID], login: str) -> None:
    for statement in ("SELECT guestcomms.rebuild_search()", "SELECT guestcomms_internal.rebuild_search_batch()"):
        with store.connect(login) as connection, refused("42501"):
            connection.execute(statement)
    assert one(root, LEFT) == 0


@pytest.mark.parametrize("max_rows", [0, None])
def test_a_batch_of_nothing_is_refused(operator: Connection, max_rows: int | None) -> None:
    with refused("22023"):
        one(operator, BATCH, max_rows)
