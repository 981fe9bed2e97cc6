"""Retention of who guests are, and of records of what is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from uuid import UUID

import pytest

from tests.support.queries import column, one, rows
from tests.support.retention import Business, days
from tests.support.store import Store

NAMES = "SELECT display_name FROM guestcomms.guests WHERE tenant_id = %s AND erased_at IS NULL ORDER BY display_name"
ADDRESSES = "SELECT count(*) FROM guestcomms.guest_addresses WHERE guest_id = %s"
VERSIONS = "SELECT guest_id FROM guestcomms_bi.dim_guest WHERE tenant_id = %s AND guest_id = %s"
WEDDINGS = "SELECT wedding_id, name FROM guestcomms.weddings WHERE tenant_id = %s"
CREATED = "UPDATE guestcomms.guests SET created_at = %s WHERE tenant_id = %s"
CLOSED = "UPDATE guestcomms.subject_requests SET closed_at = %s WHERE request_id = %s"
RELEASED = "UPDATE guestcomms.legal_holds SET released_at = %s WHERE hold_id = %s"
CONSENTS = "SELECT is_granted FROM guestcomms.consents WHERE guest_id = %s ORDER BY recorded_at"
REQUESTS = "SELECT request_id FROM guestcomms.subject_requests WHERE guest_id = %s"
VERIFY = "SELECT is_ok FROM guestcomms.verify_audit_trail() WHERE tenant_id = %s"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def add(business: Business, name: str) -> UUID:
    """A guest with an address."""
    guest: UUID = one(business.root, "SELECT guestcomms.add_guest(%s, email => %s)", name, f"{name}@example.com")
    return guest


def test_contact_goes_when_nobody_is_heard_from(business: Business) -> None:
    names = ["gone", "wrote", "archived", "invited", "objected", "asked", "held", "forgotten"]
    guests = {name: add(business, name) for name in names}
    business.root.execute(CREATED, [business.ago(800), business.tenant])
    business.add(
        "consents", guest_id=guests["objected"], purpose="marketing", is_granted=False, basis="legitimate_interest", source="form"
    )
    business.root.execute("SELECT guestcomms.open_request(%s, 'access')", [guests["asked"]])
    business.root.execute("SELECT guestcomms.place_hold(%s, 'court')", [f'{{"guest_id": "{guests["held"]}"}}'])
    business.write(guests["gone"], business.thread(guests["gone"]), 500)
    business.write(guests["wrote"], business.thread(guests["wrote"]), 100)
    business.write(guests["archived"], business.thread(guests["archived"]), 200)
    business.write(guests["forgotten"], business.thread(guests["forgotten"]), 190)
    business.policy(older_than="195 days")
    business.archive()
    business.refresh()
    business.keep("messages", "content", "180 days", channels=["email"])
    business.run_all()
    business.wedding((business.now + days(100)).date(), guests["invited"])
    business.keep("a year", "contact", "1 year")
    previewed = business.preview()["a year", "guests"]
    assert (previewed["row_count"], previewed["held_count"]) == (1, 3)
    assert business.run_all() == {"guests": 1, "guest_addresses": 1}
    assert column(business.root, NAMES, business.tenant) == sorted(set(names) - {"gone"})
    assert one(business.root, ADDRESSES, guests["gone"]) == 0
    business.refresh()
    assert column(business.root, VERSIONS, business.tenant, guests["gone"]) == []
    assert business.run_all() == {}


def test_a_person_who_was_merged_is_one_for_all_rules(business: Business) -> None:
    """Whoever of the two wrote, is held or restricted: neither is silent, free or forgotten alone."""
    merge = "SELECT guestcomms.merge_guests(%s, %s)"
    wrote, held, restricted, gone = ([add(business, f"{name}-{place}") for place in ("kept", "merged")] for name in "WHRG")
    business.root.execute(CREATED, [business.ago(800), business.tenant])
    business.write(wrote[1], business.thread(wrote[1]), 100)
    business.root.execute("SELECT guestcomms.place_hold(%s, 'court')", [f'{{"guest_id": "{held[1]}"}}'])
    written = business.write(restricted[1], business.thread(restricted[1]), 500)
    for pair in (wrote, held, restricted, gone):
        business.root.execute(merge, pair)
    request = one(business.root, "SELECT guestcomms.open_request(%s, 'restriction')", restricted[1])
    business.root.execute("SELECT guestcomms.complete_request(%s)", [request])
    business.keep("messages", "content", "1 year")
    business.keep("a year", "contact", "1 year")
    previewed = business.preview()
    assert [previewed["a year", "guests"][name] for name in ("row_count", "held_count")] == [1, 2]
    assert [previewed["messages", "messages"][name] for name in ("row_count", "held_count")] == [0, 1]
    assert business.run_all() == {"guests": 1, "guest_addresses": 2, "guest_merges": 1}
    assert column(business.root, NAMES, business.tenant) == sorted(
        f"{name}-{place}" for name in "WHR" for place in ("kept", "merged")
    )
    assert one(business.root, "SELECT count(*) FROM guestcomms.messages WHERE message_id = %s", written) == 1


def test_a_request_goes_whose_erasure_was_done(business: Business) -> None:
    guest = add(business, "erased")
    request = one(business.root, "SELECT guestcomms.open_request(%s, 'erasure')", guest)
    business.root.execute("SELECT guestcomms.record_identity_check(%s, 'passport', true)", [request])
    erasure = one(business.root, "SELECT guestcomms.erase_guest(%s, request_id => %s)", guest, request)
    business.root.execute(CLOSED, [business.ago(800), request])
    business.keep("proof", "proof", "2 years")
    assert business.run_all() == {"requests": 1}
    assert column(business.root, REQUESTS, guest) == []
    query = "SELECT status, request_id FROM guestcomms.get_erasure_progress(%s)"
    assert rows(business.root, query, erasure) == [("done", None)]


def test_names_of_weddings_go(business: Business) -> None:
    guest = business.guest()
    old, young = business.wedding(date(2020, 5, 1), guest), business.wedding(business.now.date())
    unset = business.wedding(None)
    business.root.execute(CREATED, [business.ago(3000), business.tenant])
    business.keep("a year after", "contact", "1 year", counts_from="wedding")
    assert business.run_all() == {"guests": 1, "wedding_guests": 1, "weddings": 1}
    found: dict[UUID, str] = dict(rows(business.root, WEDDINGS, business.tenant))
    assert found == {old: "(removed)", young: "Ada & Bo", unset: "Ada & Bo"}


def test_records_of_what_is_over_go(business: Business) -> None:
    guest = business.guest()
    for granted, age in ((True, 800), (False, 700), (True, 10)):
        business.add(
            "consents",
            guest_id=guest,
            purpose="marketing",
            is_granted=granted,
            basis="consent",
            source="form",
            recorded_at=business.ago(age),
        )
    requests = [one(business.root, "SELECT guestcomms.open_request(%s, 'rectification')", guest) for _ in range(3)]
    for request in requests[:2]:
        business.root.execute("SELECT guestcomms.complete_request(%s)", [request])
    business.root.execute(CLOSED, [business.ago(800), requests[0]])
    holds = [one(business.root, "SELECT guestcomms.place_hold(%s, 'x')", '{"since": "2001-01-01"}') for _ in range(2)]
    business.root.execute("SELECT guestcomms.release_hold(%s)", [holds[0]])
    business.root.execute(RELEASED, [business.ago(800), holds[0]])
    export = one(business.root, "SELECT guestcomms.export_guest(%s, '{jsonl}')", guest)
    business.root.execute("UPDATE guestcomms.exports SET finished_at = %s WHERE export_id = %s", [business.ago(800), export])
    business.keep("a year", "proof", "1 year")
    assert business.run_all() == {"requests": 1, "consents": 1, "holds": 1}
    business.root.execute("SELECT guestcomms.remove_export(%s)", [export])
    assert business.run_all() == {"exports": 1}
    assert column(business.root, CONSENTS, guest) == [False, True]
    assert set(column(business.root, REQUESTS, guest)) == set(requests[1:])


def test_details_of_the_trail_go_and_the_trail_stays_valid(business: Business) -> None:
    business.root.execute("SELECT guestcomms.set_setting('search.candidate_limit', '300')")
    one(business.root, "SELECT guestcomms.seal_audit_trail()")
    business.keep("a year", "security", "1 year")
    count = "SELECT count(*) FROM guestcomms.audit_contents WHERE tenant_id = %s"
    before = one(business.root, count, business.tenant)
    assert business.run_all() == {}
    assert business.sweep(business.now + days(400))["audit"] == before
    one(business.root, "SELECT guestcomms.seal_audit_trail()")
    assert column(business.root, VERIFY, business.tenant) == [True]


def test_records_of_runs_go(business: Business) -> None:
    business.write_many(2, 500)
    business.write_many(2, 400)
    business.policy(older_than="450 days")
    business.archive()
    business.keep("a year", "content", "1 year")
    business.run_all()
    business.keep("runs", "operational", "1 year")
    later = business.now + days(800)
    # A run that can be undone stays.
    assert business.sweep(later)["runs"] == 1
    business.root.execute("UPDATE guestcomms.archive_runs SET message_ids = NULL WHERE tenant_id = %s", [business.tenant])
    assert business.sweep(later)["runs"] >= 1
    assert one(business.root, "SELECT count(*) FROM guestcomms.archive_runs WHERE tenant_id = %s", business.tenant) == 0
