"""What comes for messages that are archived: it is read with them, restored with them, and a later run adds it to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import DETAILS, Archive
from tests.support.queries import Row, column, one, refused, rows
from tests.support.store import Store
from tests.support.warehouse import refresh_all

# Whether the message is hot is what a fact says beside what happened.
FACTS = "SELECT (to_jsonb(f) - 'has_source')::text FROM guestcomms_bi.fact_message AS f WHERE tenant_id = %s ORDER BY 1"
EVENT_FACTS = "SELECT to_jsonb(f)::text FROM guestcomms_bi.fact_message_event AS f WHERE tenant_id = %s ORDER BY 1"
NOTED = "SELECT DISTINCT message_id FROM guestcomms_internal.late_details WHERE tenant_id = %s ORDER BY 1"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


def keyed(archive: Archive, count: int = 3) -> list[UUID]:
    """Messages whose keys are m-0 and so on, with details, archived."""
    guest = archive.guest()
    thread = archive.thread(guest)
    messages = [archive.write(guest, thread, 300 - number, external_id=f"m-{number}") for number in range(count)]
    for message in messages:
        archive.detail(message)
    archive.archive()
    assert archive.hot() == set()
    return messages


def add_late(archive: Archive, message: UUID) -> None:
    archive.event(message, "bounced", event_external_id=f"late {message}")
    archive.add("message_versions", message_id=message, version_number=2, subject="late", body="late", replaced_by="Bea")
    archive.add("attachments", message_id=message, name="late.pdf", media_type="application/pdf", byte_count=7)
    archive.add("message_annotations", message_id=message, kind="late", value="[1.50]", annotator="test")


def parts(archive: Archive, message: UUID) -> dict[str, list[Any]]:
    """How many of each, and what."""
    found = archive.read(message)
    assert found is not None
    return {name: found[name] for name in ("events", "versions", "attachments", "annotations")}


def test_what_comes_late_is_read_with_the_rest(archive: Archive) -> None:
    messages = keyed(archive)
    before = parts(archive, messages[1])
    add_late(archive, messages[1])
    after = parts(archive, messages[1])
    assert {name: len(each) for name, each in after.items()} == dict.fromkeys(before, 2)
    assert all(each in after[name] for name in before for each in before[name])
    assert [each["kind"] for each in after["events"]].count("bounced") == 1
    assert {name: len(each) for name, each in parts(archive, messages[0]).items()} == dict.fromkeys(before, 1)


def test_what_comes_late_is_restored_with_the_rest(archive: Archive) -> None:
    messages = keyed(archive)
    add_late(archive, messages[1])
    late = archive.snapshot(*DETAILS)
    assert one(archive.root, "SELECT guestcomms.restore_messages(message_ids => %s)", [messages[1]]) == 1
    both = archive.snapshot(*DETAILS)
    for table in DETAILS:
        assert (len(late[table]), len(both[table])) == (1, 2)
        assert set(late[table]) < set(both[table])
    assert rows(archive.root, NOTED, archive.tenant) == []


def test_a_run_adds_what_came_late(archive: Archive) -> None:
    messages = keyed(archive)
    add_late(archive, messages[1])
    read = parts(archive, messages[1])
    late = archive.snapshot(*DETAILS)
    archive.archive()  # too early
    assert archive.snapshot(*DETAILS) == late
    assert column(archive.root, NOTED, archive.tenant) == [messages[1]]
    archive.configure("late_after", "0")
    (run,) = archive.archive()
    assert (run["message_count"], run["event_count"], run["segment_count"]) == (0, 1, 1)
    assert archive.snapshot(*DETAILS) == {table: [] for table in DETAILS}
    assert rows(archive.root, NOTED, archive.tenant) == []
    assert parts(archive, messages[1]) == read
    assert archive.damage() == []
    assert archive.archived() == set(messages)
    archive.restore()
    assert all(set(late[table]) < set(found) for table, found in archive.snapshot(*DETAILS).items())


@pytest.mark.parametrize("table", DETAILS)
def test_each_kind_alone_is_added_by_a_run(archive: Archive, table: str) -> None:
    """Whatever came, and however, it does not stay in the hot tables for good."""
    archive.configure("late_after", "0")
    (message, _, _) = keyed(archive)
    values: dict[str, dict[str, object]] = {
        "message_events": {},
        "message_versions": {"version_number": 2, "body": "late", "replaced_by": "Bea"},
        "attachments": {"name": "a", "media_type": "b", "byte_count": 1},
        "message_annotations": {"kind": "late", "value": "1", "annotator": "test"},
    }
    if table == "message_events":
        archive.event(message)
    else:
        archive.add(table, message_id=message, **values[table])
    assert len(archive.snapshot(table)[table]) == 1
    archive.archive()
    assert archive.snapshot(table)[table] == []
    assert archive.damage() == []


def test_events_by_key_and_twice(archive: Archive) -> None:
    messages = keyed(archive)
    query = "SELECT guestcomms.record_event(kind => 'opened', external_id => 'm-2', event_external_id => %s)"
    app = archive.connect("app_login")
    first = one(app, query, "e-1")
    assert one(app, query, "e-1") == first
    # One that went into the archive with its message is known, too.
    known = f"{messages[2]} 1"
    stored = one(app, query, known)
    assert [each["event_id"] for each in parts(archive, messages[2])["events"]].count(str(stored)) == 1
    assert len(parts(archive, messages[2])["events"]) == 2
    archive.configure("late_after", "0")
    archive.archive()
    assert one(app, query, "e-1") == first
    assert len(parts(archive, messages[2])["events"]) == 2
    assert archive.snapshot("message_events") == {"message_events": []}


def test_a_batch_of_hot_archived_and_unknown(archive: Archive) -> None:
    archived = keyed(archive)
    hot = archive.write_many(1, 0.5)[0]
    app = archive.connect("app_login")
    events = [
        {"message_id": str(archived[0]), "kind": "opened"},
        {"message_id": str(hot), "kind": "opened"},
        {"message_id": str(uuid4()), "kind": "opened"},
        {"external_id": "m-1", "kind": "opened"},
        {"external_id": "m-9", "kind": "opened"},
        {"message_id": str(archived[0]), "kind": "clicked"},
    ]
    call = "SELECT error_code FROM guestcomms.record_events(%s, on_error => 'skip')"
    assert column(app, call, Jsonb(events)) == [None, None, "23503", None, "23503", None]
    assert column(archive.root, NOTED, archive.tenant) == sorted(archived[:2])
    found = [[each["kind"] for each in parts(archive, message)["events"]] for message in archived[:2]]
    assert [sorted(kinds) for kinds in found] == [["clicked", "clicked", "opened"], ["clicked", "opened"]]
    with refused("23503"):
        app.execute("SELECT * FROM guestcomms.record_events(%s)", [Jsonb(events)])


def test_a_message_of_another_tenant_is_unknown(archive: Archive) -> None:
    messages = keyed(archive)
    with Archive(archive.store) as other, refused("23503"):
        other.event(messages[0])


def facts(archive: Archive) -> tuple[list[Row], list[Row]]:
    with archive.store.connect() as everybody:
        refresh_all(everybody)
    return rows(archive.root, FACTS, archive.tenant), rows(archive.root, EVENT_FACTS, archive.tenant)


def test_facts_do_not_change_by_archiving(archive: Archive) -> None:
    messages = archive.write_many(4, direction="outbound", status="sent")
    for message in messages[:2]:
        archive.detail(message)
    before = facts(archive)
    assert (len(before[0]), len(before[1])) == (4, 2)
    archive.archive()
    assert archive.hot() == set()
    assert facts(archive) == before
    archive.restore()
    assert facts(archive) == before


@pytest.mark.parametrize("is_loaded", [True, False])
def test_facts_with_what_came_late_are_those_of_hot_messages(archive: Archive, is_loaded: bool) -> None:
    messages = archive.write_many(4, direction="outbound", status="sent")
    for message in messages[:2]:
        archive.detail(message)
    if is_loaded:
        facts(archive)
    archive.archive()
    archive.event(messages[1], "opened")
    archive.event(messages[3], "bounced")
    archived = facts(archive)
    archive.configure("late_after", "0")
    archive.archive()
    assert facts(archive) == archived
    archive.restore()
    assert facts(archive) == archived
    # From the beginning, with all of it hot.
    archive.root.execute("UPDATE guestcomms.messages SET metadata = '{}' WHERE tenant_id = %s", [archive.tenant])
    assert facts(archive) == archived


def test_what_came_while_its_message_was_restored_holds_up_nothing(archive: Archive) -> None:
    """The event is stored by a transaction that saw the message archived, and ends when it is no more."""
    (message,) = keyed(archive, 1)
    app = archive.connect("app_login", autocommit=False)
    event = one(app, "SELECT guestcomms.record_event(%s, 'opened')", message)
    assert archive.restore() == 1
    app.commit()
    archive.configure("late_after", "0")
    more = archive.write_many(2)
    archive.policy("another", older_than="2 days")
    archive.archive(max_rows=1)
    assert archive.archived() == {message, *more}
    assert str(event) in [each["event_id"] for each in parts(archive, message)["events"]]
    assert rows(archive.root, NOTED, archive.tenant) == []
