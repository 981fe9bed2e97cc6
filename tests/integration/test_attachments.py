"""Attachments: what is known of them, where they are found, and that what is to be deleted is used by nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, record

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "20"))
ADD = "SELECT guestcomms.add_attachment(%s, %s, 'application/pdf', 1, uri => %s)"
REMOVE = "SELECT guestcomms.remove_attachment(%s)"
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200)"
CONFIRM = "SELECT guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.list_attachment_removals()))"
LISTED = "SELECT uri FROM guestcomms.list_attachment_removals(max_rows => 1000)"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture
def app(office: Archive) -> Connection:
    return office.connect("app_login")


def archived_message(office: Archive, **attachment: object) -> UUID:
    guest = office.guest()
    message = office.write(guest, office.thread(guest))
    if attachment:
        office.add(
            "attachments", **{"message_id": message, "name": "plan", "media_type": "image/png", "byte_count": 1} | attachment
        )
    office.root.execute("SELECT guestcomms.add_archive_policy(%s, older_than => '100 days')", [str(uuid4())])
    assert one(office.root, "SELECT message_count FROM guestcomms.run_archive()") == 1
    return message


def test_what_was_noted_is_listed(office: Archive, app: Connection) -> None:
    guest = office.guest()
    thread = office.thread(guest)
    first, second = (record(app, guest, thread_id=str(thread)) for _ in range(2))
    made = [
        one(app, "SELECT guestcomms.add_attachment(%s, 'Plan.PDF', 'Application/PDF', 48123, sha256(''), 's3://plan')", first),
        one(app, "SELECT guestcomms.add_attachment(%s, 'tent.jpg', 'image/jpeg', 0)", first),
        one(app, "SELECT guestcomms.add_attachment(%s, 'menu.txt', 'text/plain', 5)", second),
    ]
    listing = "SELECT attachment_id, name, media_type, bytes, uri FROM guestcomms.list_attachments(%s)"
    assert sorted(rows(app, listing, first)) == sorted(
        [(made[0], "Plan.PDF", "application/pdf", 48123, "s3://plan"), (made[1], "tent.jpg", "image/jpeg", 0, None)]
    )
    of_thread = "SELECT attachment_id FROM guestcomms.list_attachments(thread_id => %s, max_rows => %s, after => %s)"
    pages: list[UUID] = []
    while page := column(app, of_thread, thread, 1, pages[-1] if pages else None):
        pages += page
    assert pages == column(app, of_thread, thread, 100, None)
    assert sorted(pages) == sorted(made)
    assert pages[0] == made[2]


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("file:seating", True),
        ("file:SEAT", True),
        ('file:"seating plan"', True),
        ("file:plan-2027", True),
        ("file:pdf", True),
        ("file:menu", False),
        ("file:eating", False),
        ("-file:seating", False),
        ("file:seating OR file:menu", True),
        ("file:seating hello", True),
        ("has:attachment", True),
        ("file:...", False),
    ],
)
def test_files_are_found_by_words_of_their_names(office: Archive, app: Connection, query: str, is_found: bool) -> None:
    found = record(app, office.guest(), body="hello there")
    one(app, ADD, found, "Séating_plan-2027.v2.pdf", None)
    assert (found in column(app, FIND, query)) == is_found
    assert one(app, "SELECT guestcomms.save_search(%s, %s)", query, query) is not None


def test_a_file_of_an_archived_message_is_found_listed_and_removed(office: Archive, app: Connection) -> None:
    message = archived_message(office, name="florist.pdf", uri="s3://flowers")
    assert column(app, "SELECT message_id FROM guestcomms.search_messages('file:florist') WHERE is_archived") == [message]
    late = one(app, ADD, message, "bouquet.pdf", "s3://bouquet")
    assert column(app, FIND, "file:bouquet") == [message]
    listing = "SELECT name FROM guestcomms.list_attachments(%s) ORDER BY 1"
    assert column(app, listing, message) == ["bouquet.pdf", "florist.pdf"]
    # A later run writes it into the message's segment.
    office.root.execute("SELECT guestcomms.set_setting('archive.late_after', '0')")
    while one(office.root, "SELECT segment_count FROM guestcomms.run_archive()"):
        pass
    assert one(office.root, "SELECT count(*) FROM guestcomms.attachments WHERE message_id = %s", message) == 0
    assert column(app, listing, message) == ["bouquet.pdf", "florist.pdf"]
    assert one(app, REMOVE, late)
    assert one(app, REMOVE, late) is False
    assert column(app, LISTED) == ["s3://bouquet"]
    assert column(office.root, "SELECT name FROM guestcomms.attachments WHERE message_id = %s", message) == ["florist.pdf"]
    assert column(app, FIND, "file:bouquet") == []


@pytest.mark.parametrize("is_archived", [False, True])
def test_a_hold_keeps_what_is_attached(office: Archive, app: Connection, is_archived: bool) -> None:
    message = archived_message(office, uri="s3://plan") if is_archived else record(app, office.guest())
    if not is_archived:
        one(app, ADD, message, "plan", "s3://plan")
    other = one(app, ADD, record(app, office.guest()), "menu", "s3://menu")
    ((attachment, guest),) = rows(
        office.root,
        "SELECT a.attachment_id, coalesce(m.guest_id, s.guest_id) FROM guestcomms_internal.attachment_contents AS a"
        " LEFT JOIN guestcomms.messages AS m USING (tenant_id, message_id)"
        " LEFT JOIN guestcomms.archive_segments AS s ON s.tenant_id = a.tenant_id AND a.message_id = ANY (s.message_ids)"
        " WHERE a.tenant_id = %s AND a.message_id = %s",
        office.tenant,
        message,
    )
    hold = one(office.root, "SELECT guestcomms.place_hold(jsonb_build_object('guest_id', %s::uuid), 'court file')", guest)
    with refused("55000"):
        one(app, REMOVE, attachment)
    assert (message in office.archived()) is is_archived
    assert column(app, "SELECT uri FROM guestcomms.list_attachments(%s)", message) == ["s3://plan"]
    assert column(app, LISTED) == []
    assert one(app, REMOVE, other) is True
    one(office.root, "SELECT guestcomms.release_hold(%s)", hold)
    assert one(app, REMOVE, attachment) is True


def test_contents_of_archived_messages_come_on_the_list_and_are_kept_off_it(office: Archive, app: Connection) -> None:
    """A file that was forwarded and whose message is in the archive."""
    message = archived_message(office, uri="s3://shared")
    forwarded = one(app, ADD, record(app, office.guest()), "plan", "s3://shared")
    one(app, REMOVE, forwarded)
    assert column(app, LISTED) == []
    note = "SELECT guestcomms_internal.note_attachment_removal(%s, %s, 'erasure')"
    assert one(office.root, note, office.tenant, [message]) == 1
    assert column(app, LISTED) == ["s3://shared"]
    assert rows(app, "SELECT * FROM guestcomms.list_attachments(%s)", message) == []


def test_a_content_on_the_list_is_not_used_anew(office: Archive, app: Connection) -> None:
    message = record(app, office.guest())
    one(app, REMOVE, one(app, ADD, message, "plan", "s3://plan"))
    with refused("55000"):
        one(app, ADD, message, "plan", "s3://plan")
    assert one(app, CONFIRM) == 1
    # Something else is there now.
    one(app, ADD, message, "plan", "s3://plan")
    assert column(app, LISTED) == []


def test_the_list_never_names_what_is_used(office: Archive, app: Connection) -> None:
    """Any order of adding, removing and confirming, beside a model."""
    messages = [record(app, office.guest()) for _ in range(3)]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["add", "remove", "erase", "confirm"]), st.integers(0, 2), st.integers(0, 2)), max_size=15
        )
    )
    def check(steps: list[tuple[str, int, int]]) -> None:
        prefix = uuid4()
        used: dict[UUID, tuple[int, str]] = {}
        pending: set[str] = set()
        for step, message, content in steps:
            uri = f"s3://{prefix}/{content}"
            before = {uri for _, uri in used.values()}
            if step == "add":
                if uri in pending:
                    with refused("55000"):
                        one(app, ADD, messages[message], "x", uri)
                else:
                    used[one(app, ADD, messages[message], "x", uri)] = (message, uri)
            elif step == "remove" and used:
                found = sorted(used)[content % len(used)]
                assert one(app, REMOVE, found)
                del used[found]
            elif step == "erase":
                note = "SELECT guestcomms_internal.note_attachment_removal(%s, %s, 'erasure')"
                one(office.root, note, office.tenant, [messages[message]])
                used = {found: use for found, use in used.items() if use[0] != message}
            elif step == "confirm":
                if pending:
                    one(app, CONFIRM)
                pending = set()
            if step in ("remove", "erase"):
                pending |= before - {uri for _, uri in used.values()}
            assert {uri for uri in column(app, LISTED) if str(prefix) in uri} == pending

    check()


def test_a_use_and_the_last_removal_at_once(office: Archive) -> None:
    """Whoever comes second sees the other: the content is used and not listed, or listed and not used."""
    sessions = [office.connect("app_login", autocommit=False) for _ in range(2)]
    message = record(office.root, office.guest())
    for number in range(12):
        uri = f"s3://race/{number}"
        old = one(office.root, ADD, message, "old", uri)

        def use(uri: str = uri) -> bool:
            try:
                with sessions[0].transaction():
                    sessions[0].execute("SELECT guestcomms.use_tenant(%s)", [office.tenant])
                    one(sessions[0], ADD, message, "new", uri)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                return False
            return True

        def remove(old: UUID = old) -> bool:
            with sessions[1].transaction():
                sessions[1].execute("SELECT guestcomms.use_tenant(%s)", [office.tenant])
                return bool(one(sessions[1], REMOVE, old))

        with ThreadPoolExecutor(2) as pool:
            first: list[Callable[[], bool]] = [use, remove] if number % 2 else [remove, use]
            results = list(pool.map(lambda job: job(), first))
            is_used = results[first.index(use)]
        in_list = one(office.root, "SELECT count(*) FROM guestcomms.attachment_removals WHERE uri = %s", uri)
        assert is_used != bool(in_list)


def test_a_use_that_is_not_committed_holds_the_last_removal_off(office: Archive) -> None:
    message = record(office.root, office.guest())
    old = one(office.root, ADD, message, "old", "s3://held")
    with office.connect("app_login", autocommit=False) as first, office.connect("app_login", autocommit=False) as second:
        one(first, ADD, message, "new", "s3://held")
        second.execute("SET LOCAL lock_timeout = '200ms'")
        with refused("55P03"):
            one(second, REMOVE, old)
        second.rollback()
        first.commit()
    one(office.root, REMOVE, old)
    assert column(office.root, LISTED) == []


def test_operators_work_for_all_tenants_and_a_tenant_for_itself(store: Store, office: Archive, app: Connection) -> None:
    with store.connect("other_app_login", store.tenant_b) as other, store.connect("operator_login") as operator:
        for connection, uri in ((app, "s3://mine"), (other, "s3://others")):
            message = record(connection, add_guest(connection))
            one(connection, REMOVE, one(connection, ADD, message, "x", uri))
        assert column(app, LISTED) == ["s3://mine"]
        assert {"s3://mine", "s3://others"} <= set(column(operator, LISTED))
        found: dict[str, UUID] = dict(
            rows(operator, "SELECT uri, removal_id FROM guestcomms.list_attachment_removals(max_rows => 1000)")
        )
        confirm = "SELECT guestcomms.confirm_attachment_removal(%s)"
        assert one(app, confirm, list(found.values())) == 1
        with refused("42704"):
            rows(app, "SELECT * FROM guestcomms.list_attachment_removals(after => %s)", found["s3://others"])
        assert one(operator, confirm, list(found.values())) == len(found) - 1
    with store.connect("app_login") as nobody, refused("GC001"):
        rows(nobody, LISTED)


def test_another_tenants_files_are_not_found(store: Store, app: Connection, office: Archive) -> None:
    mine = record(app, office.guest())
    attachment = one(app, ADD, mine, "kestrel.pdf", "s3://kestrel")
    with store.connect("other_app_login", store.tenant_b) as other:
        message = record(other, add_guest(other))
        # The same name of a content is another content.
        theirs = one(other, ADD, message, "kestrel.pdf", "s3://kestrel")
        assert column(other, FIND, "file:kestrel") == [message]
        assert rows(other, "SELECT * FROM guestcomms.list_attachments(%s)", mine) == []
        assert one(other, REMOVE, attachment) is False
        with refused("23503"):
            one(other, ADD, mine, "x", None)
        one(other, REMOVE, theirs)
        assert column(other, LISTED) == ["s3://kestrel"]
        one(other, CONFIRM)
    assert column(app, FIND, "file:kestrel") == [mine]


BAD = [
    ("guestcomms.add_attachment(guestcomms.uuid_v7(now()), 'x', 'text/plain', 1)", "23503"),
    ("guestcomms.add_attachment(NULL, 'x', 'text/plain', 1)", "23503"),
    ("guestcomms.add_attachment(gen_random_uuid(), '', 'text/plain', 1)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), repeat('x', 1001), 'text/plain', 1)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', 'plain', 1)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', NULL, 1)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', 'text/plain', -1)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', 'text/plain', NULL)", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', 'text/plain', 1, sha256 => '\\x00')", "22023"),
    ("guestcomms.add_attachment(gen_random_uuid(), 'x', 'text/plain', 1, uri => '')", "22023"),
    ("guestcomms.list_attachments()", "22023"),
    ("guestcomms.list_attachments(gen_random_uuid(), gen_random_uuid())", "22023"),
    ("guestcomms.list_attachments(gen_random_uuid(), max_rows => 0)", "22023"),
    ("guestcomms.list_attachments(gen_random_uuid(), after => gen_random_uuid())", "42704"),
    ("guestcomms.remove_attachment(gen_random_uuid(), reason => '')", "22023"),
]


@pytest.mark.parametrize(("call", "sqlstate"), BAD, ids=[call for call, _ in BAD])
def test_bad_input(store: Store, call: str, sqlstate: str) -> None:
    with store.connect("app_login", store.tenant_a) as app, refused(sqlstate) as caught:
        app.execute(f"SELECT {call}".encode())
    assert caught.value.diag.message_hint


def test_a_name_is_looked_up_by_its_index(store: Store, office: Archive) -> None:
    """Among many, also of another tenant."""
    office.root.execute(
        "INSERT INTO guestcomms_internal.attachment_contents"
        " (tenant_id, attachment_id, message_id, name, media_type, byte_count, created_at)"
        " SELECT t, gen_random_uuid(), guestcomms.uuid_v7(now()), 'scan ' || n || '.pdf', 'x/y', 1, now()"
        " FROM unnest(%s::uuid[]) AS t CROSS JOIN generate_series(1, 20000) AS n",
        [[office.tenant, store.tenant_b]],
    )
    office.root.execute("ANALYZE guestcomms_internal.attachment_contents")
    plan: list[dict[str, Any]] = one(
        office.root,
        "EXPLAIN (FORMAT JSON) SELECT a.message_id FROM guestcomms_internal.attachment_contents AS a WHERE a.tenant_id = %s"
        " AND to_tsvector('guestcomms.search_simple'::regconfig, regexp_replace(a.name, '[^[:alnum:]]+', ' ', 'g'))"
        " @@ '777:*'::tsquery LIMIT 1001",
        office.tenant,
    )
    assert "Seq Scan" not in str(plan)
    assert "attachment_contents_name" in str(plan)
    found = one(office.root, "SELECT cardinality(guestcomms_internal.find_files(%s, '777'))", office.tenant)
    assert found == 11
    assert one(office.root, "SELECT guestcomms_internal.find_files(%s, 'scan')", office.tenant) is None
    newest = record(office.root, office.guest(), body="hello")
    one(office.root, ADD, newest, "scan of hands.pdf", None)
    assert column(office.root, FIND, "file:scan hello") == [newest]
