"""Languages of messages that came without one, found by the server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, record

GERMAN = "Wir freuen uns auf die Hochzeit und kommen mit zwei Kindern"
ENGLISH = "We are looking forward to the wedding and will bring two children"
DETECT = "SELECT guestcomms.detect_languages(max_rows => %s)"


@pytest.fixture(scope="module", autouse=True)
def package(store: Store) -> None:
    capability = "SELECT is_available FROM guestcomms.store_capabilities() WHERE capability = 'langdetect'"
    if not one(store.connect(), capability):
        pytest.skip("the server's Python has no langdetect")


@pytest.fixture(scope="module")
def operator(store: Store) -> Connection:
    return store.connect("operator_login")


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    return add_guest(app)


@pytest.fixture(autouse=True)
def detecting(store: Store) -> Iterator[None]:
    setter = store.connect("operator_login", store.tenant_a)
    setter.execute("SELECT guestcomms.set_setting('search.detect_language', 'true')")
    yield
    setter.execute("SELECT guestcomms.set_setting('search.detect_language', NULL)")
    setter.close()


def language(store: Store, message_id: UUID) -> str | None:
    found: str | None = one(store.connect(), "SELECT language FROM guestcomms.messages WHERE message_id = %s", message_id)
    return found


def detect_all(operator: Connection, max_rows: int = 500) -> int:
    """How many batches it took."""
    batches = 0
    while one(operator, DETECT, max_rows) > 0:
        batches += 1
    return batches


def test_a_message_waits_and_is_then_found_by_its_languages_stems(
    store: Store, app: Connection, operator: Connection, guest: UUID
) -> None:
    german = record(app, guest, body=GERMAN, language=None)
    query = "SELECT message_id FROM guestcomms.search_messages('Kind Hochzeiten') WHERE stage = 'all words'"
    assert language(store, german) is None
    assert column(app, query) == []
    detect_all(operator)
    assert language(store, german) == "de"
    assert column(app, query) == [german]


def test_what_is_not_clear_is_the_tenants(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    short = record(app, guest, body="Ok!", language=None)
    detect_all(operator)
    assert language(store, short) == "en"


def test_a_language_that_was_given_stays(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    given = record(app, guest, body=GERMAN, language="nl")
    detect_all(operator)
    assert language(store, given) == "nl"


def test_where_it_is_off_a_message_takes_the_tenants(store: Store) -> None:
    other = store.connect("other_app_login", store.tenant_b)
    message = record(other, add_guest(other), body=GERMAN, language=None)
    assert language(store, message) == "en"


def test_batches_end(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    made = [record(app, guest, body=f"{ENGLISH} {number}", language=None) for number in range(5)]
    assert detect_all(operator, max_rows=2) == 3
    assert {language(store, message) for message in made} == {"en"}
    assert rows(store.connect(), "SELECT 1 FROM guestcomms_internal.undetected_messages") == []


def test_one_that_was_deleted_meanwhile_is_passed_over(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    gone = record(app, guest, body=GERMAN, language=None)
    root = store.connect()
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [gone])
    detect_all(operator)
    assert rows(root, "SELECT 1 FROM guestcomms_internal.undetected_messages") == []


def test_the_job_does_it(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    german = record(app, guest, body=GERMAN + " gerne", language=None)
    operator.execute("CALL guestcomms.run_job('detect_languages')")
    assert language(store, german) == "de"


@pytest.mark.parametrize("max_rows", [0, None])
def test_bad_input_is_refused(operator: Connection, max_rows: int | None) -> None:
    with refused("22023"):
        one(operator, DETECT, max_rows)


def test_an_application_may_not(app: Connection) -> None:
    with refused("42501"):
        one(app, DETECT, 1)


def test_what_somebody_is_at_work_on_is_left_for_the_next_call(
    store: Store, operator: Connection, app: Connection, guest: UUID
) -> None:
    text = "Leider können meine Schwester und ihr Mann an diesem Abend nicht dabei sein"
    busy, free = (record(app, guest, text) for _ in range(2))
    with store.connect("postgres") as holder, holder.transaction():
        holder.execute("SELECT FROM guestcomms.messages WHERE message_id = %s FOR NO KEY UPDATE", [busy])
        assert one(operator, DETECT, 500) == 1
        assert one(operator, DETECT, 500) == 0
        assert (language(store, busy), language(store, free)) == (None, "de")
    assert one(operator, DETECT, 500) == 1
    assert language(store, busy) == "de"
