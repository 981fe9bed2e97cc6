"""Consent at the door: what guests said decides what may be recorded as to be sent, at every way in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, copy_rows, one, refused, rows, told
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

CONSENT = "SELECT guestcomms.record_consent(%s, %s, %s, channel => %s)"
CHECK = "SELECT is_allowed, reason FROM guestcomms.check_contact_allowed(%s, %s, %s)"
STAGE = "COPY guestcomms.import_messages (guest_id, direction, channel, body, purpose, status, sent_at) FROM STDIN"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture
def app(office: Archive) -> Connection:
    return office.connect("app_login")


@pytest.fixture
def objecting(office: Archive) -> UUID:
    guest = office.guest()
    one(office.root, CONSENT, guest, "marketing", False, None)
    return guest


def marketing(guest: UUID, **values: object) -> dict[str, Any]:
    return message(guest, direction="outbound", purpose="marketing", body="Half price!") | values


def send(connection: Connection, guest: UUID, **values: object) -> UUID:
    (message_id,) = record_all(connection, [marketing(guest, **values)])
    return message_id


def count(office: Archive) -> int:
    found: int = one(office.root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s", office.tenant)
    return found


def test_marketing_to_who_objects_is_refused_at_every_way_in(office: Archive, app: Connection, objecting: UUID) -> None:
    willing = office.guest()
    with refused("GC003") as caught:
        one(app, "SELECT guestcomms.record_message(%s, 'outbound', 'sms', 'Half price!', purpose => 'marketing')", objecting)
    assert "objection" in told(caught.value)
    assert "Half" not in told(caught.value)
    with refused("GC003"):
        one(
            app,
            "SELECT guestcomms.record_message(%s, 'outbound', 'sms', 'Half price!', purpose => 'marketing',"
            " scheduled_at => now() + interval '1 day')",
            objecting,
        )
    batch = Jsonb([marketing(willing), marketing(objecting), message(objecting, direction="outbound")])
    with refused("GC003"):
        rows(app, "SELECT * FROM guestcomms.record_messages(%s)", batch)
    assert column(app, "SELECT error_code FROM guestcomms.record_messages(%s, on_error => 'skip')", batch) == [
        None,
        "GC003",
        None,
    ]
    copy_rows(
        app,
        STAGE,
        [
            (guest, "outbound", "email", "X", purpose, None, None)
            for guest in (willing, objecting)
            for purpose in ("marketing", "service")
        ],
    )
    found = rows(app, "SELECT imported_count, rejected_count, rejects -> 0 ->> 'error_code' FROM guestcomms.run_import()")
    assert found == [(3, 1, "GC003")]
    assert count(office) == 5


def test_what_is_told_of_the_past_is_kept(office: Archive, app: Connection, objecting: UUID) -> None:
    before = str(now() - timedelta(days=3))
    for values in (
        {"sent_at": before},
        {"sent_at": before, "status": "sent"},
        {"sent_at": before, "status": "delivered"},
        {"status": "failed"},
        {"status": "cancelled"},
        {"sent_at": before, "status": "sent", "scheduled_at": before},
    ):
        send(app, objecting, **values)
    for values in (
        {"status": "queued", "sent_at": before},
        {"sent_at": str(now())},
        {"status": "sent"},
        {"scheduled_at": before},
    ):
        with refused("GC003"):
            send(app, objecting, **values)
    assert count(office) == 6


def test_the_purpose_of_a_campaign_is_that_of_its_messages(office: Archive, app: Connection, objecting: UUID) -> None:
    campaign = uuid4()
    office.add("campaigns", campaign_id=campaign, name="Spring", purpose="marketing")
    with refused("GC003"):
        record(app, objecting, direction="outbound", campaign_id=str(campaign))
    kept = record(app, objecting, direction="outbound", campaign_id=str(campaign), purpose="service")
    other = record(app, office.guest(), direction="outbound", campaign_id=str(campaign))
    assert [
        one(office.root, "SELECT purpose FROM guestcomms.messages WHERE message_id = %s", found) for found in (kept, other)
    ] == ["service", "marketing"]


def test_a_repeat_of_what_was_taken_before_the_objection_is_still_a_repeat(office: Archive, app: Connection) -> None:
    guest = office.guest()
    first = send(app, guest, external_id="m-1")
    one(app, CONSENT, guest, "marketing", False, "sms")
    assert send(app, guest, external_id="m-1") == first
    with refused("GC003"):
        send(app, guest, external_id="m-2")
    # Another channel than the one that the objection is about.
    send(app, guest, external_id="m-2", channel="whatsapp")


def test_reasons(office: Archive, app: Connection) -> None:
    guest = one(app, "SELECT guestcomms.add_guest('Zoë', email => 'zoe@example.com')")
    assert rows(app, CHECK, guest, "email", "marketing") == [(True, None)]
    assert rows(app, CHECK, guest, "sms", "service") == [(False, "no_address")]
    office.root.execute("SELECT guestcomms.set_setting('consent.marketing_needs_consent', 'true')")
    assert rows(app, CHECK, guest, "email", "marketing") == [(False, "no_consent")]
    assert rows(app, CHECK, guest, "email", "service") == [(True, None)]
    with refused("GC003"):
        send(app, guest, channel="email")
    one(app, CONSENT, guest, "marketing", True, None)
    send(app, guest, channel="email")
    assert rows(app, CHECK, guest, "email", "marketing") == [(True, None)]
    one(app, CONSENT, guest, "service", False, "email")
    assert rows(app, CHECK, guest, "email", "service") == [(False, "objection")]
    for sets, reason, code in (("restricted_at = now()", "restricted", "GC003"), ("erased_at = now()", "erased", "55000")):
        office.root.execute(f"UPDATE guestcomms.guests SET {sets} WHERE guest_id = %s".encode(), [guest])
        assert rows(app, CHECK, guest, "email", "marketing") == [(False, reason)]
        with refused(code):
            send(app, guest, channel="email")


def test_the_latest_word_counts_and_all_are_listed(office: Archive, app: Connection) -> None:
    guest = office.guest()
    say = "SELECT guestcomms.record_consent(%s, 'marketing', %s, basis => %s, source => 'form', recorded_at => %s)"
    one(app, say, guest, True, "consent", now() - timedelta(days=1))
    one(app, say, guest, False, "legitimate_interest", now() - timedelta(days=2))
    assert rows(app, "SELECT is_granted, basis FROM guestcomms.list_consents(%s)", guest) == [
        (True, "consent"),
        (False, "legitimate_interest"),
    ]
    send(app, guest)
    assert len(rows(app, "SELECT * FROM guestcomms.list_consents(%s, max_rows => 1)", guest)) == 1


def test_of_words_in_one_transaction_the_last_counts(office: Archive, app: Connection) -> None:
    guest = office.guest()
    with app.transaction():
        record(app, guest, body="START", channel="whatsapp")
        one(app, CONSENT, guest, "marketing", False, None)
    with refused("GC003"):
        send(app, guest, channel="whatsapp")
    with app.transaction():
        one(app, CONSENT, guest, "marketing", False, None)
        one(app, CONSENT, guest, "marketing", True, "email")
    send(app, guest, channel="email")
    with refused("GC003"):
        send(app, guest, channel="whatsapp")


def test_words_of_one_statement_are_of_different_moments(office: Archive, app: Connection) -> None:
    guest = office.guest()
    rows(app, "SELECT guestcomms.record_consent(%s, 'marketing', n = 50) FROM generate_series(1, 50) AS n", guest)
    said = rows(app, "SELECT is_granted, recorded_at FROM guestcomms.list_consents(%s)", guest)
    assert len({recorded_at for _, recorded_at in said}) == 50
    assert [is_granted for is_granted, _ in said] == [True] + [False] * 49


@pytest.mark.parametrize(
    "objection",
    [
        "record_message(%(guest)s, 'inbound', 'whatsapp', 'STOP')",
        "record_event(%(sent)s, 'unsubscribed')",
        "open_request(%(guest)s, 'objection')",
    ],
)
def test_an_objection_is_later_than_a_consent_of_its_transaction(office: Archive, objection: str) -> None:
    """Also within one millisecond, which is all that identifiers tell apart."""
    for _ in range(20):
        guest = office.guest()
        sent = record(office.root, guest, direction="outbound", channel="whatsapp")
        with office.root.transaction():
            one(office.root, CONSENT, guest, "marketing", True, "whatsapp")
            office.root.execute(f"SELECT guestcomms.{objection}".encode(), {"guest": guest, "sent": sent})
        assert rows(office.root, CHECK, guest, "whatsapp", "marketing") == [(False, "objection")]


def test_a_formal_objection_is_obeyed_at_once(office: Archive, app: Connection) -> None:
    guest = office.guest()
    one(office.root, "SELECT guestcomms.open_request(%s, 'objection')", guest)
    with refused("GC003"):
        send(app, guest)


BAD = [
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true)", "23503"),
    ("guestcomms.record_consent(NULL, 'marketing', true)", "23503"),
    ("guestcomms.record_consent(gen_random_uuid(), 'profiling', true)", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), NULL, true)", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', NULL)", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true, channel => 'fax')", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true, basis => 'whim')", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true, source => '')", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true, recorded_at => now() + interval '1 day')", "22023"),
    ("guestcomms.record_consent(gen_random_uuid(), 'marketing', true, recorded_at => '-infinity')", "22023"),
    ("guestcomms.list_consents(gen_random_uuid(), max_rows => 0)", "22023"),
    ("guestcomms.check_contact_allowed(gen_random_uuid(), 'sms', 'marketing')", "23503"),
    ("guestcomms.check_contact_allowed(gen_random_uuid(), NULL, 'marketing')", "22023"),
    ("guestcomms.check_contact_allowed(gen_random_uuid(), 'sms', 'profiling')", "22023"),
]


@pytest.mark.parametrize(("call", "sqlstate"), BAD, ids=[call for call, _ in BAD])
def test_bad_input(store: Store, call: str, sqlstate: str) -> None:
    with store.connect("app_login", store.tenant_a) as app, refused(sqlstate) as caught:
        app.execute(f"SELECT {call}".encode())
    assert caught.value.diag.message_hint


def test_another_tenants_objection_is_nobodys(store: Store, office: Archive, app: Connection, objecting: UUID) -> None:
    with store.connect("other_app_login", store.tenant_b) as other:
        guest = add_guest(other)
        send(other, guest)
        for call in (CHECK, "SELECT * FROM guestcomms.record_consent(%s, %s, true, channel => %s)"):
            with refused("23503", "22023"):
                rows(other, call, objecting, "sms", "marketing")
        assert rows(other, "SELECT * FROM guestcomms.list_consents(%s)", objecting) == []
