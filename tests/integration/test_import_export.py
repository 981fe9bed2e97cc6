"""Exports taken into another tenant, another store, and again: the same records, once each, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.archive import Archive
from tests.support.business import refresh_warehouse
from tests.support.database import Connection, Database
from tests.support.export_zip import RECORD_SETS, Records, make_export, make_files, make_zip, read_columns, read_records
from tests.support.queries import column, one, refused, rows, told
from tests.support.store import Store, create_tenants

IMPORT = "SELECT record_set, new_count, known_count FROM guestcomms.import_export(%s, %s)"
# All rows that an import could touch, but for what a refused or dry one must not leave either.
EVERYTHING = (*RECORD_SETS, "message_keys", "event_keys", "change_log", "audit_entries", "archive_segments")


@pytest.fixture
def source(store: Store) -> Iterator[Archive]:
    with Archive(store, "Source") as archive:
        fill(archive)
        yield archive


@pytest.fixture
def target(store: Store) -> Iterator[Archive]:
    with Archive(store, "Target") as archive:
        yield archive


def fill(tenant: Archive) -> None:
    """Something in every record set, and what is not plain: merges both ways, JSON's null, a key, letters of all kinds."""
    guests = sorted(tenant.guest(name) for name in ("Zoë Kaya", "李雷", "Amir"))
    for guest, other in ((guests[0], guests[2]), (guests[2], guests[1])):
        tenant.root.execute("UPDATE guestcomms.guests SET merged_into = %s WHERE guest_id = %s", [other, guest])
    guest = guests[1]
    wedding, campaign = uuid4(), uuid4()
    tenant.add("guest_addresses", channel="email", address="zoe@example.com", guest_id=guest, is_primary=True)
    tenant.add("weddings", wedding_id=wedding, name="Zoë & Amir", held_on="2025-06-21")
    tenant.add("wedding_guests", wedding_id=wedding, guest_id=guest, party="Kaya", rsvp="yes", rsvp_at=tenant.ago(400))
    tenant.add("consents", guest_id=guest, purpose="marketing", is_granted=True, basis="consent", source="form")
    tenant.add("campaigns", campaign_id=campaign, name="Menus", channel="email")
    thread = one(tenant.root, "SELECT guestcomms.open_thread('Seating', %s, %s)", guest, wedding)
    one(tenant.root, "SELECT guestcomms.open_request(%s, 'access', note => 'by post')", guest)
    message = tenant.write(
        guest, thread, 30, body="The chrysanthemum table 🌸\\u0000\n“quoted”", external_id="m-1", wedding_id=wedding
    )
    tenant.write(guest, thread, 31, campaign_id=campaign, direction="outbound", status="sent", metadata='{"a": [1.50, null]}')
    tenant.detail(message)
    tenant.event(message, occurred_at=tenant.ago(20))
    tenant.add("message_annotations", message_id=message, kind="intent", value="null", annotator="test")
    # Of a message that is not there any more.
    gone = tenant.write(guest, thread, 32)
    tenant.event(gone, occurred_at=tenant.ago(29))
    tenant.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [gone])


def take(connection: Connection, data: bytes, is_dry: bool = False) -> dict[str, tuple[int, int]]:
    """import_export(): of each record set, new and known."""
    found = rows(connection, IMPORT, data, is_dry)
    assert [row[0] for row in found] == list(RECORD_SETS)
    return {name: (new, known) for name, new, known in found}


def counts(records: Records, is_known: bool) -> dict[str, tuple[int, int]]:
    return {name: (0, len(found)) if is_known else (len(found), 0) for name, found in records.items()}


def test_all_of_a_tenant_comes_over_once(source: Archive, target: Archive) -> None:
    records = read_records(source.root, source.tenant)
    assert all(records.values())
    data = make_export(source.root, source.tenant)
    before = source.snapshot(*EVERYTHING[:-3])
    assert take(target.root, data) == counts(records, is_known=False)
    assert read_records(target.root, target.tenant) == records
    keys = "SELECT source, external_id, {} FROM guestcomms.{} WHERE tenant_id = %s ORDER BY 1, 2"
    for table, key in (("message_keys", "message_id"), ("event_keys", "event_id")):
        query = keys.format(key, table).encode()
        assert rows(target.root, query, target.tenant) == rows(target.root, query, source.tenant)
    after = target.snapshot(*EVERYTHING[:-3])
    assert take(target.root, data) == counts(records, is_known=True)
    assert target.snapshot(*EVERYTHING[:-3]) == after
    assert source.snapshot(*EVERYTHING[:-3]) == before


def test_another_store_takes_it(source: Archive, new_database: Callable[[], Database]) -> None:
    records = read_records(source.root, source.tenant)
    data = make_export(source.root, source.tenant)
    elsewhere = create_tenants(new_database())
    with elsewhere.connect("postgres", elsewhere.tenant_b) as root:
        assert take(root, data) == counts(records, is_known=False)
        assert read_records(root, elsewhere.tenant_b) == records
        assert not any(read_records(root, elsewhere.tenant_a).values())


def test_a_dry_run_counts_and_changes_nothing(source: Archive, target: Archive) -> None:
    data = make_export(source.root, source.tenant)
    before = target.snapshot(*EVERYTHING)
    dry = take(target.root, data, is_dry=True)
    assert target.snapshot(*EVERYTHING) == before
    assert take(target.root, data) == dry
    # Where it would be refused, the dry run is, too.
    with Archive(target.store, "Taken") as taken:
        one(taken.root, "SELECT guestcomms.add_guest('Ann', email => 'zoe@example.com')")
        with refused("23505"):
            take(taken.root, data, is_dry=True)


def test_what_is_here_stays_as_it_is(source: Archive, target: Archive) -> None:
    data = make_export(source.root, source.tenant)
    take(target.root, data)
    target.root.execute(
        "UPDATE guestcomms.guests SET display_name = 'changed here', merged_into = NULL WHERE tenant_id = %s", [target.tenant]
    )
    target.root.execute("UPDATE guestcomms.messages SET body = 'changed here' WHERE tenant_id = %s", [target.tenant])
    target.root.execute("DELETE FROM guestcomms.attachments WHERE tenant_id = %s", [target.tenant])
    done = take(target.root, data)
    assert done["attachments"] == (1, 0)
    assert [name for name, (new, _) in done.items() if new] == ["attachments"]
    assert set(column(target.root, "SELECT body FROM guestcomms.messages WHERE tenant_id = %s", target.tenant)) == {
        "changed here"
    }
    query = "SELECT DISTINCT display_name, merged_into FROM guestcomms.guests WHERE tenant_id = %s"
    assert rows(target.root, query, target.tenant) == [("changed here", None)]


def test_the_address_to_use_here_stays_that(source: Archive, target: Archive) -> None:
    data = make_export(source.root, source.tenant)
    take(target.root, data)
    target.root.execute("UPDATE guestcomms.guest_addresses SET address = 'new@example.com' WHERE tenant_id = %s", [target.tenant])
    assert take(target.root, data)["guest_addresses"] == (1, 0)
    query = "SELECT address, is_primary FROM guestcomms.guest_addresses WHERE tenant_id = %s ORDER BY 1"
    assert rows(target.root, query, target.tenant) == [("new@example.com", True), ("zoe@example.com", False)]


def test_archived_messages_are_known_with_all_that_is_theirs(source: Archive, target: Archive) -> None:
    records = read_records(source.root, source.tenant)
    data = make_export(source.root, source.tenant)
    take(target.root, data)
    target.policy()
    target.archive()
    assert not target.hot()
    before = target.snapshot(*EVERYTHING[:-3])
    assert take(target.root, data) == counts(records, is_known=True)
    assert target.snapshot(*EVERYTHING[:-3]) == before
    target.restore()
    assert read_records(target.root, target.tenant) == records


def test_external_identifiers_are_known_afterwards(source: Archive, target: Archive) -> None:
    take(target.root, make_export(source.root, source.tenant))
    (message, guest), *_ = rows(
        target.root,
        "SELECT message_id, guest_id FROM guestcomms.messages WHERE tenant_id = %s AND external_id = 'm-1'",
        target.tenant,
    )
    again = "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'again', external_id => 'm-1')"
    assert one(target.root, again, guest) == message
    event, key = rows(
        target.root,
        "SELECT event_id, external_id FROM guestcomms.message_events WHERE tenant_id = %s AND external_id IS NOT NULL",
        target.tenant,
    )[0]
    again = "SELECT guestcomms.record_event(%s, 'clicked', event_external_id => %s)"
    assert one(target.root, again, message, key) == event


def test_imported_messages_are_searched_counted_and_watched_for(source: Archive, target: Archive) -> None:
    one(target.root, "SELECT guestcomms.save_search('flowers', 'chrysanthemum')")
    operator = target.connect()
    refresh_warehouse(operator)
    while one(operator, "SELECT guestcomms.match_saved_searches()"):
        pass
    take(target.root, make_export(source.root, source.tenant))
    (message,) = column(
        target.root, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s AND external_id = 'm-1'", target.tenant
    )
    while one(operator, "SELECT guestcomms.refresh_term_statistics()"):
        pass
    refresh_warehouse(operator)
    while one(operator, "SELECT guestcomms.match_saved_searches()"):
        pass
    assert column(target.root, "SELECT message_id FROM guestcomms.search_messages('chrysanthemum')") == [message]
    facts = "SELECT message_id FROM guestcomms_bi.fact_message WHERE tenant_id = %s"
    assert set(column(operator, facts, target.tenant)) == target.hot()
    assert column(target.root, "SELECT message_id FROM guestcomms.list_alerts()") == [message]


def test_who_has_an_address_or_identifier_keeps_it(source: Archive, target: Archive) -> None:
    data = make_export(source.root, source.tenant)
    ann = one(target.root, "SELECT guestcomms.add_guest('Ann', email => 'zoe@example.com')")
    before = target.snapshot(*EVERYTHING)
    with refused("23505") as caught:
        take(target.root, data)
    zoe = one(source.root, "SELECT guest_id FROM guestcomms.guest_addresses WHERE tenant_id = %s", source.tenant)
    assert caught.value.diag.message_detail == f"A email address of guest_id {zoe} belongs to guest_id {ann} here."
    assert "example.com" not in told(caught.value)
    assert target.snapshot(*EVERYTHING) == before
    target.root.execute("DELETE FROM guestcomms.guest_addresses WHERE tenant_id = %s", [target.tenant])
    one(target.root, "SELECT guestcomms.record_message(%s, 'inbound', 'sms', 'mine', external_id => 'm-1', source => 'app')", ann)
    with refused("23505") as caught:
        take(target.root, data)
    assert (caught.value.diag.message_detail or "").startswith("The external_id of message_id ")


SECRET = "unheardsecret"


@pytest.mark.parametrize(
    ("table", "values", "sqlstate", "named"),
    [
        ("messages", {"direction": SECRET}, "23514", "constraint messages_direction_check"),
        ("messages", {"body": None, "subject": SECRET}, "23502", "column body"),
        ("messages", {"guest_id": SECRET}, "22P02", "Record set messages."),
        ("messages", {"sent_at": SECRET}, "22007", "Record set messages."),
        ("messages", {"guest_id": str(UUID(int=7)), "body": SECRET}, "23503", "constraint messages_guest_fkey"),
        ("threads", {"wedding_id": str(UUID(int=7)), "subject": SECRET}, "23503", "constraint threads_wedding_fkey"),
        ("attachments", {"sha256": f"\\x{SECRET}"}, "22023", "Record set attachments."),
        (
            "message_annotations",
            {"annotator": SECRET, "confidence": 2},
            "23514",
            "constraint message_annotations_confidence_check",
        ),
    ],
)
def test_a_record_that_cannot_be_stored_is_named_and_not_quoted(
    source: Archive, target: Archive, table: str, values: dict[str, Any], sqlstate: str, named: str
) -> None:
    records = read_records(source.root, source.tenant)
    records[table][0] |= values
    before = target.snapshot(*EVERYTHING)
    with refused(sqlstate) as caught:
        take(target.root, make_zip(make_files(records, read_columns(source.root))))
    assert named in (caught.value.diag.message_detail or "")
    assert SECRET not in told(caught.value)
    assert target.snapshot(*EVERYTHING) == before


@pytest.mark.parametrize(("table", "key"), [("messages", "message_id"), ("message_events", "event_id")])
def test_months_without_partitions_are_named(source: Archive, target: Archive, table: str, key: str) -> None:
    records = read_records(source.root, source.tenant)
    time = "sent_at" if table == "messages" else "occurred_at"
    old = str(one(source.root, "SELECT guestcomms.uuid_v7('1997-03-15 00:00+00')"))
    records[table] = [records[table][0] | {key: old, time: "1997-03-15T00:00:00+00:00"}]
    with refused("22008") as caught:
        take(target.root, make_zip(make_files(records, read_columns(source.root))))
    assert caught.value.diag.message_detail == f"Record set {table}, month 1997-03."
    assert caught.value.diag.message_hint == "An operator makes them: SELECT guestcomms.ensure_partitions('1997-03-01');"


def test_a_record_that_is_twice_in_the_file_is_stored_once(source: Archive, target: Archive) -> None:
    records = read_records(source.root, source.tenant)
    twice = {name: found + found[:1] for name, found in records.items()}
    done = take(target.root, make_zip(make_files(twice, read_columns(source.root))))
    assert done == {name: (len(found), 1) for name, found in records.items()}
    assert read_records(target.root, target.tenant) == records


def test_columns_that_an_export_lacks_take_their_default_and_unknown_ones_are_refused(source: Archive, target: Archive) -> None:
    records = read_records(source.root, source.tenant)
    columns = read_columns(source.root)
    fewer = columns | {"messages": [each for each in columns["messages"] if each[0] not in ("purpose", "metadata")]}
    more = columns | {"guests": [*columns["guests"], ("shoe_size", "integer")]}
    with refused("22023") as caught:
        take(target.root, make_zip(make_files(records, more)))
    assert caught.value.diag.message_detail == "Record set guests: shoe_size."
    take(target.root, make_zip(make_files(records, fewer)))
    query = "SELECT DISTINCT purpose, metadata FROM guestcomms.messages WHERE tenant_id = %s"
    assert rows(target.root, query, target.tenant) == [("service", {})]


def test_tenant_id_in_a_record_says_nothing(source: Archive, target: Archive, store: Store) -> None:
    records = read_records(source.root, source.tenant)
    forged = {name: [each | {"tenant_id": str(store.tenant_b)} for each in found] for name, found in records.items()}
    take(target.root, make_zip(make_files(forged, read_columns(source.root))))
    assert read_records(target.root, target.tenant) == records
    assert not read_records(target.root, store.tenant_b)["messages"]


def test_what_a_merged_guest_became_may_be_missing(source: Archive, target: Archive) -> None:
    records = read_records(source.root, source.tenant)
    merged = next(each for each in records["guests"] if each["merged_into"])
    alone = {name: [merged] if name == "guests" else [] for name in records}
    assert take(target.root, make_zip(make_files(alone, read_columns(source.root))))["guests"] == (1, 0)
    assert read_records(target.root, target.tenant)["guests"] == [merged | {"merged_into": None}]


@pytest.mark.parametrize(
    ("spoil", "sqlstate", "hint"),
    [
        (lambda data: data[: len(data) // 2], "XX001", "another copy"),
        (lambda data: b"", "22023", "format jsonl"),
        (lambda data: None, "22023", "format jsonl"),
        (lambda data: b"\xc1" + data, "22023", "gpg --decrypt"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    source: Archive, target: Archive, spoil: Callable[[bytes], bytes | None], sqlstate: str, hint: str
) -> None:
    with refused(sqlstate) as caught:
        rows(target.root, IMPORT, spoil(make_export(source.root, source.tenant)), False)
    assert hint in (caught.value.diag.message_hint or "")
    assert (caught.value.diag.message_primary or "").endswith("the export cannot be imported")


def test_members_with_privacy_may_and_applications_may_not(source: Archive, target: Archive) -> None:
    data = make_export(source.root, source.tenant)
    target.root.execute("SELECT guestcomms.add_member('privacy_login')")
    target.root.execute("SELECT guestcomms.add_member('operator_login')")
    with refused("42501"):
        take(target.connect("app_login"), data)
    assert take(target.connect("privacy_login"), data)["messages"] == (2, 0)
    assert take(target.connect("operator_login"), data)["messages"] == (0, 2)
    with refused("GC001"):
        take(target.store.connect("privacy_login"), data)
    query = """
        SELECT c.content FROM guestcomms.audit_entries AS e JOIN guestcomms.audit_contents AS c USING (tenant_id, entry_id)
        WHERE e.tenant_id = %s AND e.action = 'import_export' AND e.actor = 'privacy_login'
    """
    content = one(target.root, query, target.tenant)
    assert (content["new"]["messages"], content["known"]["messages"]) == (2, 0)


def test_any_text_comes_over(store: Store) -> None:
    texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=300)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(texts, min_size=1, max_size=4))
    def check(bodies: list[str]) -> None:
        with Archive(store, "Texts") as ours, Archive(store, "Theirs") as theirs:
            guest = ours.guest()
            thread = ours.thread(guest)
            for number, body in enumerate(bodies):
                ours.write(
                    guest, thread, number + 1, body=body, subject=body[:100], metadata=psycopg.types.json.Jsonb({"text": body})
                )
            take(theirs.root, make_export(ours.root, ours.tenant))
            assert read_records(theirs.root, theirs.tenant) == read_records(ours.root, ours.tenant)

    check()
