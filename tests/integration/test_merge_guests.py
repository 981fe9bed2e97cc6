"""Two guests made one and two again: everything of either is the kept one's, and undone it is as it was, row by row."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.support import warehouse
from tests.support.archive import Archive, Snapshot
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.waiting import wait_until_waiting

MERGE = "SELECT guestcomms.merge_guests(%s, %s)"
UNDO = "SELECT guestcomms.undo_merge(%s)"
RESOLVE = "SELECT guestcomms.resolve_guest(%s, %s)"
RECORD = "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s)"
# All that a merge may touch.
TABLES = (
    *("guests", "guest_addresses", "wedding_guests", "consents", "threads", "messages", "message_keys", "archive_segments"),
    *("subject_requests", "subject_request_steps", "legal_holds"),
)


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def person(office: Archive, name: str | None, address: str) -> UUID:
    """A guest with some of everything: hot, archived and unsent messages, a hold, a request, consents, invitations."""
    guest: UUID = one(office.root, "SELECT guestcomms.add_guest(%s, email => %s)", name, f"{address}@example.com")
    office.root.execute("SELECT guestcomms.add_guest_address(%s, 'email', %s)", [guest, f"{address}.work@example.com"])
    thread = office.thread(guest)
    office.write(guest, thread, days=300, body=f"archived of {address}")
    office.write(guest, thread, days=0.01, body=f"hot of {address}")
    office.root.execute(
        "SELECT guestcomms.record_message(%s, 'outbound', 'email', %s, scheduled_at => now() + interval '1 day',"
        " external_id => %s)",
        [guest, f"unsent of {address}", address],
    )
    office.add("legal_holds", guest_id=guest, reason="court", thread_id=thread)
    office.root.execute("SELECT guestcomms.open_request(%s, 'access')", [guest])
    return guest


def two(office: Archive) -> tuple[UUID, UUID]:
    keep, merge = person(office, None, "keep"), person(office, "Zoë Kaya", "merge")
    office.policy()
    office.archive()
    weddings = [one(office.root, "SELECT guestcomms.add_wedding(%s)", f"W{number}") for number in range(3)]
    invite = "SELECT guestcomms.add_guest_to_wedding(%s, %s, party => %s, rsvp => %s)"
    for guest, wedding, party, rsvp in (
        (keep, 0, None, "pending"),
        (merge, 0, "Kaya", "yes"),
        (keep, 1, "Own", None),
        (merge, 2, "Kaya", "no"),
    ):
        office.root.execute(invite, [weddings[wedding], guest, party, rsvp])
    office.add(
        "consents",
        guest_id=merge,
        purpose="marketing",
        is_granted=False,
        basis="consent",
        source="form",
        channel="email",
        recorded_at=office.ago(9),
    )
    office.add(
        "consents", guest_id=keep, purpose="marketing", is_granted=True, basis="consent", source="form", recorded_at=office.ago(1)
    )
    return keep, merge


def snapshot(office: Archive) -> Snapshot:
    return office.snapshot(*TABLES)


def allowed(office: Archive, guest: UUID, purpose: str = "marketing") -> set[str]:
    """The channels that a guest's latest word is not against, as whoever sends reads it."""
    query = """SELECT h FROM unnest('{email,sms,whatsapp,chat}'::text[]) AS h
        WHERE (SELECT c.is_granted FROM guestcomms.consents AS c
            WHERE c.guest_id = %s AND c.purpose = %s AND (c.channel IS NULL OR c.channel = h)
            ORDER BY c.recorded_at DESC LIMIT 1) IS NOT FALSE"""
    return set(column(office.root, query, guest, purpose))


def test_undone_every_row_is_as_it_was(office: Archive) -> None:
    keep, merge = two(office)
    before = snapshot(office)
    for pair in ((keep, merge), (merge, keep)):
        done = one(office.root, MERGE, *pair)
        after = snapshot(office)
        assert after["guest_addresses"] != before["guest_addresses"]
        assert after["archive_segments"] == before["archive_segments"]
        assert one(office.root, UNDO, done) == pair[1]
        assert snapshot(office) == before


def test_what_was_of_either_is_the_kept_ones(office: Archive) -> None:
    keep, merge = two(office)
    office.root.execute(MERGE, [keep, merge])
    assert one(office.root, RESOLVE, "email", "merge@example.com") == keep
    primary = "SELECT address FROM guestcomms.list_guest_addresses(%s) WHERE is_primary"
    assert column(office.root, primary, merge) == ["keep@example.com"]
    assert column(office.root, "SELECT DISTINCT guest_id FROM guestcomms.threads WHERE tenant_id = %s", office.tenant) == [keep]
    assert column(office.root, "SELECT DISTINCT guest_id FROM guestcomms.list_requests()") == [keep]
    assert (
        column(office.root, "SELECT guest_id FROM guestcomms.messages WHERE tenant_id = %s AND status = 'queued'", office.tenant)
        == [keep] * 2
    )
    assert rows(office.root, "SELECT display_name, merged_guest_ids FROM guestcomms.get_guest(%s)", merge) == [
        ("Zoë Kaya", [merge])
    ]
    invited = """SELECT guest_party, guest_rsvp FROM guestcomms.list_weddings() AS w
        CROSS JOIN guestcomms.list_wedding_guests(w.wedding_id) ORDER BY w.name"""
    assert rows(office.root, invited) == [("Kaya", "yes"), ("Own", "pending"), ("Kaya", "no")]
    for guest in (keep, merge):
        found = column(
            office.root, "SELECT headline FROM guestcomms.search_messages('of', guest_id => %s, max_rows => 20)", guest
        )
        assert len(found) == 6
        assert one(office.root, "SELECT message_count FROM guestcomms.count_matches('of', guest_id => %s)", guest) == 6
    assert len(column(office.root, "SELECT message_id FROM guestcomms.search_messages('archived guest:' || %s)", merge)) == 2
    assert len(column(office.root, "SELECT message_id FROM guestcomms.search_messages('archived from:zoe')")) == 2


def test_engagement_and_saved_searches_are_of_the_person(office: Archive) -> None:
    keep, merge = office.guest("Zoë Kaya"), office.guest("Quokka")
    for guest in (keep, merge):
        office.root.execute(RECORD, [guest, "hello"])
    warehouse.refresh_all(office.root)
    searches = [
        one(office.root, "SELECT guestcomms.save_search(%s, %s)", query, query) for query in ("from:quokka", f"guest:{merge}")
    ]
    office.root.execute(MERGE, [keep, merge])
    engaged = "SELECT guest_id, inbound_count FROM guestcomms.get_guest_engagement(%s)"
    for asked in (None, [keep], [merge]):
        assert rows(office.root, engaged, asked) == [(keep, 2)]
    message = one(office.root, RECORD, keep, "more")
    while one(office.root, "SELECT guestcomms.match_saved_searches()"):
        pass
    alerts = "SELECT search_id FROM guestcomms.search_alerts WHERE tenant_id = %s AND message_id = %s"
    assert set(column(office.root, alerts, office.tenant, message)) == set(searches)


def test_an_export_has_all_that_was_of_either(office: Archive) -> None:
    keep, merge = two(office)
    office.root.execute(MERGE, [keep, merge])
    for guest in (keep, merge):
        export = one(office.root, "SELECT guestcomms.export_guest(%s, '{jsonl}')", guest)
        assert one(office.root, "SELECT guest_id FROM guestcomms.get_export_progress(%s)", export) == keep
        counts = one(office.root, "SELECT counts FROM guestcomms.exports WHERE export_id = %s", export)
        assert (counts["guests"], counts["messages"], counts["subject_requests"], counts["guest_addresses"]) == (2, 6, 2, 4)


def test_what_names_the_merged_guest_means_the_kept_one(office: Archive) -> None:
    keep, merge = office.guest("Zoë Kaya"), office.guest("Zoe Kaya")
    thread = office.thread(merge)
    office.root.execute(MERGE, [keep, merge])
    message = one(office.root, RECORD, merge, "hello")
    assert rows(office.root, "SELECT guest_id, thread_id FROM guestcomms.messages WHERE message_id = %s", message) == [
        (keep, thread)
    ]
    again = one(office.root, "SELECT guestcomms.open_thread('S', %s)", merge)
    assert one(office.root, "SELECT guest_id FROM guestcomms.threads WHERE thread_id = %s", again) == keep
    office.root.execute("SELECT guestcomms.update_guest(%s, display_name => 'Z')", [merge])
    office.root.execute("SELECT guestcomms.add_guest_address(%s, 'email', 'z@example.com')", [merge])
    assert rows(office.root, "SELECT display_name, addresses -> 0 ->> 'address' FROM guestcomms.get_guest(%s)", keep) == [
        ("Z", "z@example.com")
    ]
    request = one(office.root, "SELECT guestcomms.open_request(%s, 'objection')", merge)
    assert column(office.root, "SELECT guest_id FROM guestcomms.list_requests() WHERE request_id = %s", request) == [keep]
    assert allowed(office, keep) == set()


@pytest.mark.parametrize("kept_objects", [False, True])
@pytest.mark.parametrize("objection", [None, "sms"])
def test_the_strictest_consent_wins_whichever_is_later(office: Archive, kept_objects: bool, objection: str | None) -> None:
    keep, merge = office.guest(), office.guest()
    strict, lenient = (keep, merge) if kept_objects else (merge, keep)
    office.add(
        "consents",
        guest_id=strict,
        purpose="marketing",
        is_granted=True,
        basis="consent",
        source="form",
        recorded_at=office.ago(9),
    )
    office.add(
        "consents",
        guest_id=strict,
        purpose="marketing",
        is_granted=False,
        basis="consent",
        source="form",
        channel=objection,
        recorded_at=office.ago(8),
    )
    office.add(
        "consents",
        guest_id=lenient,
        purpose="marketing",
        is_granted=True,
        basis="consent",
        source="form",
        recorded_at=office.ago(1),
    )
    wanted = allowed(office, strict)
    assert wanted == ({"email", "whatsapp", "chat"} if objection else set())
    before = snapshot(office)
    done = one(office.root, MERGE, keep, merge)
    assert allowed(office, keep) == wanted
    office.root.execute(UNDO, [done])
    assert snapshot(office) == before
    # Until the guest says otherwise.
    office.root.execute(MERGE, [keep, merge])
    office.add("consents", guest_id=keep, purpose="marketing", is_granted=True, basis="consent", source="message")
    assert "sms" in allowed(office, keep)


def test_a_restriction_of_either_is_one_of_both(office: Archive) -> None:
    keep, merge = office.guest(), office.guest()
    office.root.execute("UPDATE guestcomms.guests SET restricted_at = now() WHERE guest_id = %s", [merge])
    done = one(office.root, MERGE, keep, merge)
    restricted = "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s AND restricted_at IS NOT NULL ORDER BY 1"
    assert keep in column(office.root, restricted, office.tenant)
    office.root.execute(UNDO, [done])
    assert column(office.root, restricted, office.tenant) == [merge]


def test_what_came_since_stays_with_the_kept_guest_and_objections_with_both(office: Archive) -> None:
    keep, merge = two(office)
    before = snapshot(office)
    done = one(office.root, MERGE, keep, merge)
    thread = one(
        office.root, "SELECT thread_id FROM guestcomms.messages WHERE body = 'hot of merge' AND tenant_id = %s", office.tenant
    )
    record = "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'since', thread_id => %s, sent_at => %s)"
    new = [one(office.root, record, merge, thread, office.ago(days)) for days in (20, 0)]
    office.archive()
    office.root.execute("SELECT guestcomms.add_guest_address(%s, 'chat', 'new')", [keep])
    office.root.execute("SELECT guestcomms.set_primary_address(%s, 'email', 'merge@example.com')", [keep])
    office.add("consents", guest_id=keep, purpose="marketing", is_granted=False, basis="consent", source="message", channel="sms")
    office.root.execute(UNDO, [done])
    found = rows(
        office.root,
        "SELECT message_id, guest_id, thread_id FROM guestcomms.messages WHERE body = 'since' AND tenant_id = %s",
        office.tenant,
    )
    assert {row[0] for row in found} == set(new)
    assert {row[1] for row in found} == {keep}
    assert thread not in {row[2] for row in found}
    assert column(
        office.root, "SELECT guest_id FROM guestcomms.threads WHERE thread_id = ANY (%s)", [row[2] for row in found]
    ) == [keep]
    primary = "SELECT channel, address FROM guestcomms.list_guest_addresses(%s) WHERE is_primary"
    assert rows(office.root, primary, keep) == [("chat", "new"), ("email", "keep@example.com")]
    assert rows(office.root, primary, merge) == [("email", "merge@example.com")]
    assert "sms" not in allowed(office, keep) | allowed(office, merge)
    after = snapshot(office)
    for table in ("wedding_guests", "subject_requests", "legal_holds"):
        assert after[table] == before[table]


def test_an_objection_that_comes_since_holds_for_both_whenever_it_was_said(office: Archive) -> None:
    keep, merge = office.guest("K"), office.guest("M")
    objection: dict[str, object] = {"purpose": "marketing", "is_granted": False, "basis": "consent", "source": "form"}
    office.add("consents", guest_id=keep, channel="email", recorded_at=office.ago(9), **objection)
    done = one(office.root, MERGE, keep, merge)
    stop = "SELECT guestcomms.record_message(%s, 'inbound', 'whatsapp', 'STOP', sent_at => %s)"
    office.root.execute(stop, [merge, office.ago(2)])
    office.root.execute(UNDO, [done])
    assert allowed(office, keep) == {"sms", "chat"}
    assert allowed(office, merge) == {"email", "sms", "chat"}


def test_undoing_takes_objections_from_the_kept_guest_alone(office: Archive) -> None:
    keep, merge, third = (office.guest(name) for name in ("K", "M", "T"))
    word: dict[str, object] = {"purpose": "marketing", "basis": "consent", "source": "form"}
    office.add("consents", guest_id=merge, is_granted=False, recorded_at=office.ago(9), **word)
    office.add("consents", guest_id=keep, is_granted=True, recorded_at=office.ago(1), **word)
    done = one(office.root, MERGE, keep, merge)
    moving = "UPDATE guestcomms.consents SET guest_id = %s WHERE tenant_id = %s AND source = 'merge'"
    assert office.root.execute(moving, [third, office.tenant]).rowcount == 1
    office.root.execute(UNDO, [done])
    assert allowed(office, third) == set()


def test_a_chain_is_one_person_and_comes_apart_from_its_end(office: Archive) -> None:
    a, b, c = (office.guest(name) for name in ("A", "B", "C"))
    for guest, address in ((a, "a"), (b, "b"), (c, "c")):
        office.root.execute("SELECT guestcomms.add_guest_address(%s, 'chat', %s)", [guest, address])
        office.root.execute(RECORD, [guest, f"from {address}"])
    states = [snapshot(office)]
    first = one(office.root, MERGE, b, a)
    states.append(snapshot(office))
    # A names B: whom B is merged into is whom A is merged into.
    second = one(office.root, MERGE, c, a)
    assert column(office.root, "SELECT DISTINCT merged_into FROM guestcomms.guests WHERE guest_id = ANY (%s)", [a, b]) == [c]
    assert len(column(office.root, "SELECT message_id FROM guestcomms.search_messages('from', guest_id => %s)", a)) == 3
    for pair in ((a, b), (b, a), (c, b), (a, a)):
        with refused("55000"):
            office.root.execute(MERGE, pair)
    with refused("55000") as caught:
        office.root.execute(UNDO, [first])
    assert str(second) in str(caught.value.diag.message_detail)
    assert rows(office.root, "SELECT merge_id, can_be_undone FROM guestcomms.list_merges()") == [(second, True), (first, False)]
    office.root.execute(UNDO, [second])
    assert snapshot(office) == states[1]
    office.root.execute(UNDO, [first])
    assert snapshot(office) == states[0]


def test_the_last_merge_into_a_guest_is_undone_first(office: Archive) -> None:
    keep, a, b = (office.guest(name) for name in ("K", "A", "B"))
    first, second = one(office.root, MERGE, keep, a), one(office.root, MERGE, keep, b)
    with refused("55000"):
        office.root.execute(UNDO, [first])
    for done in (second, first):
        office.root.execute(UNDO, [done])
        with refused("55000"):
            office.root.execute(UNDO, [done])


def test_merges_are_of_the_order_in_which_they_were_done(office: Archive) -> None:
    """Though the second was called before the first."""
    keep, a, b = (office.guest(name) for name in ("K", "A", "B"))
    app, holder = office.connect("app_login"), office.connect(autocommit=False)
    holder.execute("SELECT guestcomms_internal.begin_merge(%s)", [office.tenant])
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(one, app, MERGE, keep, b)
        wait_until_waiting(office.root, app)
        first = one(holder, MERGE, keep, a)
        holder.commit()
        second = called.result(30)
    assert rows(office.root, "SELECT merge_id, can_be_undone FROM guestcomms.list_merges()") == [(second, True), (first, False)]
    with refused("55000"):
        office.root.execute(UNDO, [first])


def test_a_merge_can_be_undone_for_a_time_and_is_forgotten_then(office: Archive) -> None:
    keep, merge = office.guest(), office.guest()
    done = one(office.root, MERGE, keep, merge)
    trim = "SELECT guestcomms_internal.trim_guest_history()"
    office.root.execute(
        "UPDATE guestcomms.guest_merges SET merged_at = merged_at - interval '29 days' WHERE merge_id = %s", [done]
    )
    assert one(office.root, trim) == 0
    assert one(office.root, "SELECT can_be_undone FROM guestcomms.list_merges()") is True
    office.root.execute(
        "UPDATE guestcomms.guest_merges SET merged_at = merged_at - interval '2 days' WHERE merge_id = %s", [done]
    )
    assert one(office.root, "SELECT can_be_undone FROM guestcomms.list_merges()") is False
    with refused("55000"):
        office.root.execute(UNDO, [done])
    assert one(office.root, trim) == 1
    with refused("42704"):
        office.root.execute(UNDO, [done])
    assert one(office.root, RECORD, merge, "still one")
    assert one(office.root, "SELECT kept_guest_id FROM guestcomms.get_guest(%s)", merge) == keep


def test_a_hold_on_either_holds_both(office: Archive) -> None:
    keep, merge = (office.guest(name) for name in ("K", "M"))
    for guest in (keep, merge):
        office.write(guest, office.thread(guest))
    office.root.execute(
        "SELECT guestcomms.place_hold(jsonb_build_object('guest_id', %s::uuid), 'court', blocks_archiving => true)", [keep]
    )
    done = one(office.root, MERGE, keep, merge)
    office.policy()
    office.archive()
    assert len(office.hot()) == 2
    office.root.execute(UNDO, [done])
    office.archive()
    assert len(office.hot()) == 1


def test_who_was_erased_is_merged_with_nobody(office: Archive) -> None:
    keep, merge, third = (office.guest() for _ in range(3))
    done = one(office.root, MERGE, keep, third)
    office.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = ANY (%s)", [[merge, third]])
    for pair in ((keep, merge), (merge, keep)):
        with refused("55000"):
            office.root.execute(MERGE, pair)
    with refused("55000"):
        office.root.execute(UNDO, [done])


def attempt(connection: Connection, query: LiteralString, *values: object) -> str | None:
    try:
        connection.execute(query, values)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_those_who_merge_the_same_guests_at_once_merge_them_once(office: Archive) -> None:
    guests = [office.guest(str(number)) for number in range(6)]
    sessions = [office.connect("app_login") for _ in range(6)]
    barrier = Barrier(6)

    def work(number: int) -> list[str | None]:
        chance = random.Random(number)
        barrier.wait()
        return [attempt(sessions[number], MERGE, *chance.sample(guests, 2)) for _ in range(12)]

    with ThreadPoolExecutor(6) as pool:
        found = [outcome for outcomes in pool.map(work, range(6)) for outcome in outcomes]
    assert set(found) == {None, "55000"}
    # Six become one by five merges, whatever their order.
    assert found.count(None) == 5
    merged = rows(office.root, "SELECT guest_id, merged_into FROM guestcomms.guests WHERE tenant_id = %s", office.tenant)
    kept = {guest for guest, into in merged if into is None}
    assert len(kept) == 1
    assert {into for _, into in merged if into} == kept
    for done in column(office.root, "SELECT merge_id FROM guestcomms.list_merges()"):
        office.root.execute(UNDO, [done])
    assert column(
        office.root, "SELECT count(*) FROM guestcomms.guests WHERE tenant_id = %s AND merged_into IS NULL", office.tenant
    ) == [6]


def test_nothing_that_is_written_during_merges_is_lost(office: Archive) -> None:
    keep, merge = office.guest("K"), office.guest("M")
    sessions = [office.connect("app_login") for _ in range(5)]
    barrier = Barrier(6)
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")

    def write(number: int) -> list[str | None]:
        session = sessions[number]
        barrier.wait()
        found = []
        for turn in range(12):
            found += [
                attempt(session, RECORD, merge, f"{number} {turn}"),
                attempt(session, "SELECT guestcomms.add_guest_address(%s, 'chat', %s)", merge, f"{number} {turn}"),
                attempt(session, "SELECT guestcomms.open_thread(%s, %s)", f"{number} {turn}", merge),
                attempt(session, "SELECT guestcomms.add_guest_to_wedding(%s, %s)", wedding, merge),
            ]
        return found

    def merges() -> None:
        barrier.wait()
        for _ in range(6):
            done = one(office.root, MERGE, keep, merge)
            office.root.execute(UNDO, [done])
        office.root.execute(MERGE, [keep, merge])

    with ThreadPoolExecutor(6) as pool:
        merger = pool.submit(merges)
        outcomes = {outcome for found in pool.map(write, range(5)) for outcome in found}
        merger.result()
    assert outcomes == {None}
    assert one(office.root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s", office.tenant) == 60
    for table, count in (("guest_addresses", 60), ("threads", None), ("wedding_guests", 1)):
        owners = rows(
            office.root,
            f"SELECT guest_id, count(*) FROM guestcomms.{table} WHERE tenant_id = %s GROUP BY 1".encode(),
            office.tenant,
        )
        assert [owner for owner, _ in owners] == [keep], table
        assert count is None or owners[0][1] == count
    primaries = "SELECT count(*) FROM guestcomms.guest_addresses WHERE tenant_id = %s AND is_primary"
    assert one(office.root, primaries, office.tenant) == 1
    assert (
        len(column(office.root, "SELECT message_id FROM guestcomms.search_messages('', guest_id => %s, max_rows => 200)", keep))
        == 60
    )


def test_merges_are_in_the_audit_trail(office: Archive) -> None:
    keep, merge = office.guest("quokka"), office.guest("numbat")
    office.root.execute(UNDO, [one(office.root, MERGE, keep, merge)])
    trail = "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s AND object = %s ORDER BY occurred_at"
    assert column(office.root, trail, office.tenant, f"guest {keep}") == ["merge_guests", "undo_merge"]
    assert not column(office.root, "SELECT 1 FROM guestcomms.audit_contents WHERE content::text ~ 'quokka|numbat'")
    # What could be put back is not kept.
    assert column(office.root, "SELECT moved FROM guestcomms.guest_merges WHERE tenant_id = %s", office.tenant) == [{}]


def test_another_tenants_guests_are_not_there(office: Archive, store: Store) -> None:
    keep, merge = office.guest(), office.guest()
    done = one(office.root, MERGE, keep, merge)
    with Archive(store) as other:
        own = other.guest()
        for pair in ((own, merge), (keep, own), (keep, merge), (own, UUID(int=7)), (own, None)):
            with refused("23503"):
                other.root.execute(MERGE, pair)
        with refused("42704"):
            other.root.execute(UNDO, [done])
        assert rows(other.root, "SELECT * FROM guestcomms.list_merges()") == []
    assert one(office.root, UNDO, done) == merge
