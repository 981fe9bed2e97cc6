"""Annotations: what outside programs find is kept by annotator, version and kind, with archived messages, too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import record
from tests.support.waiting import wait_until_waiting

REGISTER = "SELECT guestcomms.register_annotator(%s, %s, %s)"
ANNOTATE = "SELECT guestcomms.annotate_message(%s, %s, %s, %s, annotator => %s)"
LIST = "SELECT kind, value, confidence, annotator, version FROM guestcomms.list_annotations(%s, is_latest => %s)"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        for name, kinds in (("moods", "{sentiment,intent,embedding}"), ("langs", "{language}")):
            one(archive.root, REGISTER, name, "1.0", kinds)
        yield archive


@pytest.fixture
def app(office: Archive) -> Connection:
    return office.connect("app_login")


def element(message: UUID, **values: object) -> dict[str, Any]:
    return {"message_id": str(message), "kind": "sentiment", "value": "positive", "annotator": "moods"} | values


def test_the_latest_of_each_annotator_and_kind_counts(office: Archive, app: Connection) -> None:
    message = record(app, office.guest())
    one(app, ANNOTATE, message, "sentiment", Jsonb("negative"), 0.6, "moods")
    one(app, ANNOTATE, message, "intent", Jsonb({"name": "rsvp"}), None, "moods")
    one(app, REGISTER, "moods", "2.0", "{sentiment,intent,embedding}")
    one(app, ANNOTATE, message, "sentiment", Jsonb("positive"), 0.9, "moods")
    one(app, ANNOTATE, message, "embedding", Jsonb([0.5, -1]), None, "moods")
    latest = [
        ("embedding", [0.5, -1], None, "moods", "2.0"),
        ("intent", {"name": "rsvp"}, None, "moods", "1.0"),
        ("sentiment", "positive", 0.9, "moods", "2.0"),
    ]
    assert rows(app, LIST, message, True) == latest
    assert rows(app, LIST, message, False) == [*latest, ("sentiment", "negative", 0.6, "moods", "1.0")]
    assert rows(app, "SELECT name, version FROM guestcomms.list_annotators()") == [("langs", "1.0"), ("moods", "2.0")]


def test_many_at_once_in_order_and_each_with_its_reason(office: Archive, app: Connection) -> None:
    message = record(app, office.guest())
    batch = [
        element(message, value="a"),
        element(message, value="b", confidence=1),
        element(message, annotator="nobody"),
        element(message, kind="topic"),
        element(message, confidence=1.5),
        element(message, value=None),
        element(message, kind="embedding", value=[1, "x"]),
        element(message, kind="embedding", value=[]),
        element(message, annotator="langs", kind="language", value="German"),
        element(UUID(int=0)),
        element(message, confidence="high"),
        element(message, note="x"),
        {"message_id": str(message)},
    ]
    record_all = "SELECT error_code FROM guestcomms.record_annotations(%s, on_error => %s)"
    states = [*(None, None, "42704", "22023", "22023", "22023", "22023", None, "22023", "23503", "22023", "22023", "42704")]
    assert column(app, record_all, Jsonb(batch), "skip") == states
    assert rows(app, LIST, message, True) == [("embedding", [], None, "moods", "1.0"), ("sentiment", "b", 1.0, "moods", "1.0")]
    for bad, state in zip(batch, states, strict=True):
        if state:
            with refused(state):
                column(app, record_all, Jsonb([batch[0], bad]), "abort")
    assert len(rows(app, LIST, message, False)) == 3


def test_a_message_without_a_language_takes_the_one_that_was_found(office: Archive, app: Connection) -> None:
    office.root.execute("SELECT guestcomms.set_setting('search.detect_language', 'true')")
    guest = office.guest()
    unknown, unsure, known = (record(app, guest, "die Blumen am Fenster", **values) for values in ({}, {}, {"language": "en"}))
    find = "SELECT message_id FROM guestcomms.search_messages('Blume') WHERE stage = 'all words'"
    assert column(app, find) == []
    language = "SELECT language FROM guestcomms.messages WHERE message_id = %s"
    for message, confidence in ((unknown, 0.9), (unsure, 0.4), (known, 0.9)):
        one(app, ANNOTATE, message, "language", Jsonb("de"), confidence, "langs")
    assert [one(office.root, language, message) for message in (unknown, unsure, known)] == ["de", None, "en"]
    assert column(app, find) == [unknown]
    one(app, ANNOTATE, unknown, "language", Jsonb("fr"), 1, "langs")
    assert one(office.root, language, unknown) == "de"


def test_archived_messages_are_annotated_and_read(office: Archive, app: Connection) -> None:
    guest = office.guest()
    message = office.write(guest, office.thread(guest))
    one(app, ANNOTATE, message, "sentiment", Jsonb("before"), None, "moods")
    office.root.execute("SELECT guestcomms.add_archive_policy('old', older_than => '100 days')")
    assert one(office.root, "SELECT message_count FROM guestcomms.run_archive()") == 1
    assert [value for _, value, *_ in rows(app, LIST, message, True)] == ["before"]
    one(app, ANNOTATE, message, "sentiment", Jsonb("after"), None, "moods")
    assert [value for _, value, *_ in rows(app, LIST, message, True)] == ["after"]
    office.root.execute("SELECT guestcomms.set_setting('archive.late_after', '0')")
    while one(office.root, "SELECT segment_count FROM guestcomms.run_archive()"):
        pass
    assert one(office.root, "SELECT count(*) FROM guestcomms.message_annotations WHERE message_id = %s", message) == 0
    assert [value for _, value, *_ in rows(app, LIST, message, False)] == ["after", "before"]


@pytest.mark.parametrize("is_archived", [False, True])
@pytest.mark.parametrize("gone", ["deleted", "erased"])
def test_what_is_gone_is_not_annotated(office: Archive, app: Connection, gone: str, is_archived: bool) -> None:
    guests = [office.guest() for _ in range(2)]
    message, other = (office.write(guest, office.thread(guest)) for guest in guests)
    if gone == "deleted":
        assert one(app, "SELECT guestcomms.delete_message(%s)", message) is True
    if is_archived:
        office.root.execute("SELECT guestcomms.add_archive_policy('old', older_than => '100 days')")
        assert one(office.root, "SELECT message_count FROM guestcomms.run_archive()") == 2
    if gone == "erased":
        office.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guests[0]])
    with refused("23503"):
        one(app, ANNOTATE, message, "sentiment", Jsonb("positive"), None, "moods")
    batch = Jsonb([element(message), element(other)])
    assert column(app, "SELECT error_code FROM guestcomms.record_annotations(%s, on_error => 'skip')", batch) == ["23503", None]
    annotated = "SELECT message_id FROM guestcomms.message_annotations WHERE tenant_id = %s"
    assert column(office.root, annotated, office.tenant) == [other]


@pytest.mark.parametrize(
    "going",
    [
        "SELECT guestcomms.delete_message(%(message)s)",
        "WITH gone AS (UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %(guest)s)"
        " SELECT FROM guestcomms.messages WHERE message_id = %(message)s FOR UPDATE",
    ],
    ids=["deleted", "erased"],
)
def test_what_is_just_going_is_not_annotated(office: Archive, app: Connection, going: str) -> None:
    guest = office.guest()
    message = record(app, guest)
    with office.connect(autocommit=False) as going_on, ThreadPoolExecutor(1) as pool:
        going_on.execute(going.encode(), {"message": message, "guest": guest})
        annotated = pool.submit(one, app, ANNOTATE, message, "sentiment", Jsonb("positive"), None, "moods")
        wait_until_waiting(office.root, app)
        going_on.commit()
        with refused("23503"):
            annotated.result(30)
    assert rows(app, LIST, message, False) == []


BAD = [
    ("register_annotator('', '1', '{x}')", "22023"),
    ("register_annotator('Moods@home', '1', '{x}')", "22023"),
    ("register_annotator('moods', 'one two', '{x}')", "22023"),
    ("register_annotator('moods', '1', '{}')", "22023"),
    ("register_annotator('moods', '1', '{Mood}')", "22023"),
    ("register_annotator('moods', '1', '{NULL}')", "22023"),
    ("register_annotator('moods', '1', '{x}', repeat('x', 2001))", "22023"),
    ("annotate_message(NULL, 'x', '1', annotator => 'moods')", "23503"),
    ("record_annotations('{}')", "22023"),
    ("record_annotations('[]', on_error => 'ignore')", "22023"),
]


@pytest.mark.parametrize(("call", "sqlstate"), BAD, ids=[call for call, _ in BAD])
def test_bad_input(store: Store, call: str, sqlstate: str) -> None:
    with store.connect("app_login", store.tenant_a) as app, refused(sqlstate) as caught:
        app.execute(f"SELECT * FROM guestcomms.{call}".encode())
    assert caught.value.diag.message_hint


def test_annotators_are_a_tenants_own(store: Store, office: Archive, app: Connection) -> None:
    message = record(app, office.guest())
    one(app, ANNOTATE, message, "sentiment", Jsonb("kestrel"), None, "moods")
    with store.connect("other_app_login", store.tenant_b) as other:
        assert rows(other, LIST, message, False) == []
        with refused("23503"):
            one(other, ANNOTATE, message, "sentiment", Jsonb("x"), None, "moods")
        own = record(other, one(other, "SELECT guestcomms.add_guest()"))
        with refused("42704"):
            one(other, ANNOTATE, own, "sentiment", Jsonb("x"), None, "moods")
