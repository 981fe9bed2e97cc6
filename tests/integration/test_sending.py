"""Queued messages: claimed when due, confirmed or tried again, given up, and never sent where they must not be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.support.export_zip import make_export
from tests.support.outbox import FAIL, Outbox, ask, open_outbox
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, load, loaded_row, record


@pytest.fixture
def outbox(store: Store) -> Iterator[Outbox]:
    with open_outbox(store) as outbox:
        yield outbox


def test_a_worker_gets_all_it_needs(outbox: Outbox) -> None:
    guest = outbox.guest()
    message = outbox.queue(guest, subject="Plan", metadata={"tag": "seating"})
    attachment = {"name": "plan.pdf", "media_type": "application/pdf", "byte_count": 3, "uri": "s3://plans/1"}
    outbox.office.add("attachments", message_id=message, **attachment)
    (claimed,) = outbox.claim("mailer-1")
    address = one(outbox.root, "SELECT address FROM guestcomms.guest_addresses WHERE guest_id = %s", guest)
    named = [claimed[name] for name in ("message_id", "guest_id", "channel", "address")]
    assert named == [message, guest, "email", address]
    assert (claimed["subject"], claimed["body"], claimed["metadata"]) == ("Plan", "The seating plan", {"tag": "seating"})
    assert {name: claimed["attachments"][0][name] for name in attachment} == attachment
    assert (claimed["attempt"], claimed["leased_until"] > outbox.time(0)) == (1, True)
    assert outbox.claim("mailer-2") == []
    assert outbox.status(message) == "queued"


def test_only_what_is_due_the_oldest_first(outbox: Outbox) -> None:
    later, third, first, second = (outbox.queue(minutes=minutes) for minutes in (5, -1, -3, -2))
    by_sms = outbox.queue(minutes=-9, channel="sms")
    assert [found["message_id"] for found in outbox.claim(channel="email", max_rows=2)] == [first, second]
    assert [found["message_id"] for found in outbox.claim()] == [by_sms, third]
    assert outbox.status(later) == "queued"


def test_queued_for_at_once(outbox: Outbox) -> None:
    guest = outbox.guest()
    message = one(outbox.app, "SELECT guestcomms.record_message(%s, 'outbound', 'email', 'now', status => 'queued')", guest)
    (claimed,) = outbox.claim()
    assert claimed["message_id"] == message
    assert claimed["scheduled_at"] is not None


def test_loaded_without_a_time_is_due(outbox: Outbox) -> None:
    guest = outbox.guest()
    thread = outbox.office.thread(guest)
    row = list(loaded_row(outbox.root, outbox.office.tenant, guest, thread, outbox.time(-5), "loaded"))
    row[5:8] = ["outbound", "email", "queued"]
    load(outbox.root, [tuple(row)])
    assert [found["body"] for found in outbox.claim()] == ["loaded"]


def test_messages_of_guests_are_not_sent(outbox: Outbox) -> None:
    """Nobody records such; an import might."""
    outbox.queue(direction="inbound", status="queued")
    assert outbox.claim() == []


def test_confirmed_once(outbox: Outbox) -> None:
    message = outbox.queue()
    (claimed,) = outbox.claim()
    assert outbox.confirm(claimed, "m-1", "mail-provider") == "confirmed"
    assert outbox.confirm(claimed, "m-1", "mail-provider") == "repeated"
    assert outbox.status(message) == "sent"
    assert rows(outbox.root, "SELECT kind, detail FROM guestcomms.message_events WHERE message_id = %s", message) == [
        ("sent", {"attempt": 1, "worker": "w1"})
    ]
    query = "SELECT guestcomms.record_event(source => 'mail-provider', external_id => 'm-1', kind => 'delivered')"
    outbox.app.execute(query)
    assert outbox.status(message) == "delivered"
    assert outbox.claim() == []
    with refused("55000"):
        outbox.fail(claimed)


def test_a_providers_identifier_is_one_messages(outbox: Outbox) -> None:
    """What cannot be kept is left out and told: what was sent is not sent again for its name."""
    told: list[tuple[str | None, str | None]] = []
    outbox.app.add_notice_handler(lambda notice: told.append((notice.sqlstate, notice.message_detail)))
    messages = [outbox.queue() for _ in range(6)]
    names = [("m-1", None), ("m-1", "another"), ("m-1", None), ("x" * 256, None), ("m-2", "y" * 256), (None, "y" * 256)]
    for claimed, (name, source) in zip(outbox.claim(), names, strict=True):
        assert outbox.confirm(claimed, name, source) == "confirmed"
        assert outbox.status(claimed["message_id"]) == "sent"
        outbox.expire(claimed["message_id"])
    assert outbox.claim() == []
    assert [sqlstate for sqlstate, _ in told] == ["23505", *["22001"] * 3]
    assert all(str(message) in str(detail) for message, (_, detail) in zip(messages[2:], told, strict=True))
    events = "SELECT count(*) FROM guestcomms.message_events WHERE message_id = ANY (%s) AND kind = 'sent'"
    assert one(outbox.root, events, messages) == 6
    for source in (None, "another"):
        outbox.app.execute("SELECT guestcomms.record_event(source => %s, external_id => 'm-1', kind => 'delivered')", [source])
    assert [outbox.status(message) for message in messages] == ["delivered"] * 2 + ["sent"] * 4


def test_a_lease_that_runs_out_is_anothers(outbox: Outbox) -> None:
    message = outbox.queue()
    (first,) = outbox.claim("w1")
    outbox.expire(message)
    (second,) = outbox.claim("w2")
    assert (second["attempt"], second["claim_token"] == first["claim_token"]) == (2, False)
    outbox.expire(message)
    (third,) = outbox.claim("w3")
    assert outbox.confirm(third) == "confirmed"
    # The first one had sent it after all.
    assert outbox.confirm(first) == "duplicate"
    sent = [(1, "w1", "sent", True), (2, "w2", "expired", False), (3, "w3", "sent", False)]
    assert outbox.attempts(message) == sent


def test_a_late_confirmation_counts(outbox: Outbox) -> None:
    message = outbox.queue()
    (claimed,) = outbox.claim()
    outbox.expire(message)
    assert outbox.confirm(claimed) == "confirmed"
    assert outbox.status(message) == "sent"
    assert outbox.claim() == []


def test_what_fails_waits_twice_as_long_each_time(outbox: Outbox) -> None:
    message = outbox.queue()
    waits = []
    for number in range(1, 6):
        (claimed,) = outbox.claim()
        assert claimed["attempt"] == number
        before = outbox.time(0)
        again = outbox.fail(claimed, f"code-{number}")
        assert outbox.claim() == []
        if again is not None:
            waits.append(round((again - before) / timedelta(minutes=1)))
            outbox.make_due(message)
    assert waits == [1, 2, 4, 8]
    assert outbox.status(message) == "failed"
    assert outbox.last_event(message) == ("failed", {"attempt": 5, "error_code": "code-5"})
    (letter,) = ask(outbox.app, "SELECT * FROM guestcomms.list_dead_letters()")
    assert (letter["message_id"], letter["error_code"], letter["attempt"], letter["was_sent"]) == (message, "code-5", 5, False)


def test_the_longest_wait_and_settings(outbox: Outbox) -> None:
    for name, value in (("retry_after", "1 hour"), ("retry_at_most", "90 minutes"), ("max_attempts", "3")):
        outbox.root.execute("SELECT guestcomms.set_setting(%s, %s)", [f"sending.{name}", value])
    message = outbox.queue()
    waits = []
    for _ in range(3):
        (claimed,) = outbox.claim()
        before = outbox.time(0)
        again = outbox.fail(claimed)
        waits.append(again and round((again - before) / timedelta(minutes=1)))
        if again:
            outbox.make_due(message)
    assert waits == [60, 90, None]


def test_a_worker_says_when_or_never(outbox: Outbox) -> None:
    message, other = outbox.queue(), outbox.queue()
    first, second = outbox.claim()
    at = outbox.time(30)
    assert outbox.fail(first, retry_at=at) == at
    assert outbox.fail(first) == at  # repeated
    assert outbox.fail(second, "550", "infinity") is None
    assert (outbox.status(message), outbox.status(other)) == ("queued", "failed")
    assert outbox.fail(second) is None


def test_who_was_overtaken_decides_nothing(outbox: Outbox) -> None:
    message = outbox.queue()
    (first,) = outbox.claim("w1")
    outbox.expire(message)
    (second,) = outbox.claim("w2")
    outbox.fail(first, "timeout", "infinity")
    assert outbox.status(message) == "queued"
    assert outbox.claim() == []
    assert outbox.confirm(second) == "confirmed"
    # A failure that was reported by mistake, and then what is true.
    assert outbox.confirm(first) == "duplicate"


def test_workers_that_vanish_are_not_fed_for_ever(outbox: Outbox) -> None:
    outbox.root.execute("SELECT guestcomms.set_setting('sending.max_attempts', '2')")
    message = outbox.queue()
    for _ in range(2):
        assert len(outbox.claim()) == 1
        outbox.expire(message)
    assert outbox.claim() == []
    assert outbox.status(message) == "failed"
    assert outbox.last_event(message) == ("failed", {"attempt": 2, "error_code": "lease_expired"})


def test_a_worker_that_was_given_up_is_believed(outbox: Outbox) -> None:
    """Unless anybody reported a failure."""
    outbox.root.execute("SELECT guestcomms.set_setting('sending.max_attempts', '1')")
    message, bounced = outbox.queue(), outbox.queue()
    claims = outbox.claim()
    for each in (message, bounced):
        outbox.expire(each)
    assert outbox.claim() == []
    dead = "SELECT message_id FROM guestcomms.list_dead_letters()"
    assert set(column(outbox.app, dead)) == {message, bounced}
    outbox.app.execute("SELECT guestcomms.record_event(%s, 'bounced')", [bounced])
    assert [outbox.confirm(claimed) for claimed in claims] == ["confirmed"] * 2
    assert (outbox.status(message), outbox.status(bounced)) == ("sent", "failed")
    assert column(outbox.app, dead) == [bounced]
    answered = "SELECT last_message_id FROM guestcomms.list_threads() WHERE waits_for = 'guest'"
    assert column(outbox.app, answered) == [message]
    outbox.app.execute("SELECT guestcomms.record_event(%s, 'bounced')", [message])
    assert outbox.status(message) == "failed"


def test_without_an_address_it_is_a_dead_letter(outbox: Outbox) -> None:
    guest = add_guest(outbox.root)
    lost, found = outbox.queue(guest, -9), outbox.queue()
    assert [claimed["message_id"] for claimed in outbox.claim(max_rows=1)] == [found]
    letters = ask(outbox.app, "SELECT * FROM guestcomms.list_dead_letters(channel => 'email')")
    assert [(letter["message_id"], letter["error_code"], letter["attempt"]) for letter in letters] == [(lost, "no_address", 0)]
    outbox.office.add("guest_addresses", guest_id=guest, channel="email", address="found@example.com")
    assert one(outbox.app, "SELECT guestcomms.retry_message(%s)", lost) <= outbox.time(0)
    assert [claimed["address"] for claimed in outbox.claim()] == ["found@example.com"]


def test_the_primary_address_is_used(outbox: Outbox) -> None:
    guest = add_guest(outbox.root)
    for address, is_verified, is_primary in (("a@x.org", True, False), ("c@x.org", False, True), ("b@x.org", False, False)):
        values = {"address": address, "is_verified": is_verified, "is_primary": is_primary}
        outbox.office.add("guest_addresses", guest_id=guest, channel="email", **values)
    outbox.queue(guest)
    assert [claimed["address"] for claimed in outbox.claim()] == ["c@x.org"]


def test_queue_and_dead_letters_of_a_wedding(outbox: Outbox) -> None:
    weddings = [one(outbox.root, "SELECT guestcomms.add_wedding(%s)", name) for name in ("Ada & Bo", "Cy & Di")]
    queued = [outbox.queue(wedding_id=str(wedding)) for wedding in weddings]
    for function in ("list_queued_messages", "list_dead_letters"):
        listed = f"SELECT message_id FROM guestcomms.{function}(wedding_id => %s)"
        assert [column(outbox.app, listed.encode(), wedding) for wedding in weddings] == [[each] for each in queued]
        for claimed in outbox.claim(max_rows=2):
            ask(outbox.app, FAIL, claimed["message_id"], claimed["claim_token"], "550", "infinity")


def test_messages_of_the_restricted_wait(outbox: Outbox) -> None:
    guest = outbox.guest()
    message = outbox.queue(guest)
    outbox.root.execute("UPDATE guestcomms.guests SET restricted_at = now() WHERE guest_id = %s", [guest])
    assert outbox.claim() == []
    states = "SELECT message_id, state FROM guestcomms.list_queued_messages()"
    assert rows(outbox.app, states) == [(message, "held")]
    outbox.root.execute("UPDATE guestcomms.guests SET restricted_at = NULL WHERE guest_id = %s", [guest])
    assert [claimed["message_id"] for claimed in outbox.claim()] == [message]
    assert rows(outbox.app, states) == [(message, "claimed")]


def test_messages_of_the_merged_go_to_who_was_kept(outbox: Outbox) -> None:
    kept, middle, merged = outbox.guest(), add_guest(outbox.root), add_guest(outbox.root)
    message = outbox.queue(merged)
    into = "UPDATE guestcomms.guests SET merged_into = %s WHERE guest_id = %s"
    outbox.root.execute(into, [middle, merged])
    outbox.root.execute(into, [kept, middle])
    outbox.root.execute("UPDATE guestcomms.guests SET restricted_at = now() WHERE guest_id = %s", [kept])
    assert outbox.claim() == []
    outbox.root.execute("UPDATE guestcomms.guests SET restricted_at = NULL WHERE guest_id = %s", [kept])
    assert [(claimed["message_id"], claimed["guest_id"]) for claimed in outbox.claim()] == [(message, kept)]


def test_messages_of_the_erased_are_cancelled(outbox: Outbox) -> None:
    guest = outbox.guest()
    message = outbox.queue(guest)
    outbox.root.execute("UPDATE guestcomms.guests SET erased_at = now() WHERE guest_id = %s", [guest])
    assert outbox.claim() == []
    assert (outbox.status(message), outbox.last_event(message)) == ("cancelled", ("cancelled", {"error_code": "erased"}))


def test_marketing_stops_with_an_objection(outbox: Outbox) -> None:
    guest = outbox.guest()
    offer, plan = outbox.queue(guest, purpose="marketing"), outbox.queue(guest)
    objection = {"guest_id": guest, "purpose": "marketing", "basis": "legitimate_interest", "source": "message"}
    outbox.office.add("consents", is_granted=False, **objection)
    assert [claimed["message_id"] for claimed in outbox.claim()] == [plan]
    assert (outbox.status(offer), outbox.last_event(offer)) == ("cancelled", ("cancelled", {"error_code": "objection"}))


def test_cancelling(outbox: Outbox) -> None:
    cancel = "SELECT guestcomms.cancel_message(%s, %s)"
    message = outbox.queue()
    (claimed,) = outbox.claim()
    with refused("55000"):
        one(outbox.app, cancel, message, "too late")
    outbox.expire(message)
    assert one(outbox.app, cancel, message, "moved") is True
    assert one(outbox.app, cancel, message, None) is False
    assert outbox.last_event(message) == ("cancelled", {"reason": "moved"})
    assert outbox.claim() == []
    assert outbox.fail(claimed) is None
    # The worker had sent it before its lease ran out: that is what happened.
    assert outbox.confirm(claimed) == "confirmed"
    assert outbox.status(message) == "sent"
    with refused("55000"):
        one(outbox.app, cancel, message, None)


def test_rescheduling(outbox: Outbox) -> None:
    reschedule = "SELECT guestcomms.reschedule_message(%s, %s)"
    message = outbox.queue(minutes=60)
    at = outbox.time(120)
    assert one(outbox.app, reschedule, message, at) == at
    assert outbox.claim() == []
    assert one(outbox.app, reschedule, message, None) <= outbox.time(0)
    (claimed,) = outbox.claim()
    with refused("55000"):
        one(outbox.app, reschedule, message, at)
    outbox.confirm(claimed)
    with refused("55000"):
        one(outbox.app, reschedule, message, at)


def test_a_dead_letter_gets_as_many_tries_anew(outbox: Outbox) -> None:
    outbox.root.execute("SELECT guestcomms.set_setting('sending.max_attempts', '2')")
    message = outbox.queue()
    for attempt in range(1, 5):
        (claimed,) = outbox.claim()
        assert claimed["attempt"] == attempt
        assert (outbox.fail(claimed, retry_at=outbox.time(-1)) is None) is (attempt % 2 == 0)
        if attempt == 2:
            assert outbox.status(message) == "failed"
            one(outbox.app, "SELECT guestcomms.retry_message(%s)", message)
    assert outbox.status(message) == "failed"
    with refused("55000"):
        one(outbox.app, "SELECT guestcomms.retry_message(%s)", outbox.queue())


def test_what_bounced_may_be_sent_again_and_is_no_duplicate(outbox: Outbox) -> None:
    message = outbox.queue()
    (claimed,) = outbox.claim()
    outbox.confirm(claimed)
    outbox.app.execute("SELECT guestcomms.record_event(%s, 'bounced')", [message])
    letters = rows(outbox.app, "SELECT message_id, kind, was_sent FROM guestcomms.list_dead_letters()")
    assert letters == [(message, "bounced", True)]
    one(outbox.app, "SELECT guestcomms.retry_message(%s)", message)
    (claimed,) = outbox.claim()
    assert (claimed["attempt"], outbox.confirm(claimed), outbox.status(message)) == (2, "confirmed", "sent")


def test_pages(outbox: Outbox) -> None:
    guest = outbox.guest()
    queued = {
        outbox.queue(guest, minutes, channel) for minutes, channel in ((3, "email"), (1, "sms"), (2, "email"), (1, "email"))
    }
    order = "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s ORDER BY scheduled_at, message_id"
    expected = column(outbox.root, order, outbox.office.tenant)
    assert set(expected) == queued
    dead = [record(outbox.app, guest, direction="outbound", status="failed") for _ in range(4)]
    for query, wanted in (
        ("SELECT message_id FROM guestcomms.list_queued_messages(max_rows => 3, after => %s)", expected),
        ("SELECT message_id FROM guestcomms.list_dead_letters(max_rows => 3, after => %s)", sorted(dead, reverse=True)),
    ):
        first = column(outbox.app, query, None)
        assert first + column(outbox.app, query, first[-1]) == wanted
        assert column(outbox.app, query, wanted[-1]) == []
    assert column(outbox.app, "SELECT message_id FROM guestcomms.list_dead_letters(channel => 'email')") == []
    assert column(outbox.app, "SELECT message_id FROM guestcomms.list_dead_letters(since => now() + interval '1 day')") == []
    assert len(column(outbox.app, "SELECT message_id FROM guestcomms.list_queued_messages('sms')")) == 1


def test_another_tenants_queue_is_not_there(outbox: Outbox, store: Store) -> None:
    message = outbox.queue()
    (claimed,) = outbox.claim()
    outbox.queue()
    other = store.connect("other_app_login", store.tenant_b)
    assert outbox.claim(by=other) == []
    for query in ("list_queued_messages()", "list_dead_letters()"):
        assert rows(other, f"SELECT * FROM guestcomms.{query}".encode()) == []
    assert rows(other, "SELECT * FROM guestcomms.list_send_attempts(%s)", message) == []
    for call, state in (
        ("confirm_sent(%(message)s, %(token)s)", "42704"),
        ("fail_sent(%(message)s, %(token)s, 'x')", "42704"),
        ("cancel_message(%(message)s)", "23503"),
        ("reschedule_message(%(message)s)", "23503"),
        ("retry_message(%(message)s)", "23503"),
        ("delete_message(%(message)s)", "23503"),
        ("list_message_versions(%(message)s)", "23503"),
    ):
        with refused(state):
            other.execute(f"SELECT guestcomms.{call}".encode(), {"message": message, "token": claimed["claim_token"]})


def test_attempts_are_forgotten(outbox: Outbox, store: Store) -> None:
    (kept, old) = (outbox.queue(), outbox.queue())
    outbox.claim()
    age = "UPDATE guestcomms.send_attempts SET claimed_at = now() - interval '31 days' WHERE message_id = %s"
    outbox.root.execute(age, [old])
    operator = store.connect("operator_login")
    trim = "SELECT guestcomms_internal.trim_send_attempts()"
    assert one(operator, trim) == 0  # its lease still runs
    outbox.expire(old)
    assert one(operator, trim) == 1
    assert (len(outbox.attempts(kept)), outbox.attempts(old)) == (1, [])


BAD = [
    ("claim_outbound(NULL)", "22023"),
    ("claim_outbound('')", "22023"),
    ("claim_outbound(repeat('w', 201))", "22023"),
    ("claim_outbound('w', 'fax')", "22023"),
    ("claim_outbound('w', max_rows => 0)", "22023"),
    ("claim_outbound('w', max_rows => 1001)", "22023"),
    ("claim_outbound('w', max_rows => NULL)", "22023"),
    ("claim_outbound('w', lease => '0')", "22023"),
    ("claim_outbound('w', lease => '2 days')", "22023"),
    ("claim_outbound('w', lease => NULL)", "22023"),
    ("confirm_sent(gen_random_uuid(), gen_random_uuid())", "42704"),
    ("confirm_sent(NULL, NULL)", "42704"),
    ("fail_sent(gen_random_uuid(), gen_random_uuid(), 'x')", "42704"),
    ("fail_sent(gen_random_uuid(), gen_random_uuid(), NULL)", "22023"),
    ("fail_sent(gen_random_uuid(), gen_random_uuid(), 'no such mailbox: zoe@example.com')", "22023"),
    ("fail_sent(gen_random_uuid(), gen_random_uuid(), 'x', '-infinity')", "22023"),
    ("fail_sent(gen_random_uuid(), gen_random_uuid(), 'x', now() + interval '2 years')", "22023"),
    ("cancel_message(NULL)", "23503"),
    ("cancel_message(gen_random_uuid())", "23503"),
    ("cancel_message(gen_random_uuid(), '')", "22023"),
    ("reschedule_message(gen_random_uuid(), 'infinity')", "22023"),
    ("reschedule_message(gen_random_uuid(), now() + interval '3 years')", "22023"),
    ("retry_message(gen_random_uuid())", "23503"),
    ("list_queued_messages('fax')", "22023"),
    ("list_queued_messages(max_rows => 0)", "22023"),
    ("list_dead_letters(max_rows => 1001)", "22023"),
    ("list_dead_letters(channel => 'fax')", "22023"),
    ("delete_message(NULL)", "23503"),
    ("delete_message(gen_random_uuid(), repeat('r', 2001))", "22023"),
    ("list_message_versions(gen_random_uuid())", "23503"),
]


@pytest.mark.parametrize(("call", "sqlstate"), BAD, ids=[call for call, _ in BAD])
def test_bad_input_is_refused_with_a_hint(store: Store, call: str, sqlstate: str) -> None:
    with store.connect("app_login", store.tenant_a) as app, refused(sqlstate) as caught:
        app.execute(f"SELECT guestcomms.{call}".encode())
    assert caught.value.diag.message_hint


def test_what_is_imported_is_not_sent_from_here_too(outbox: Outbox, store: Store) -> None:
    message = outbox.queue()
    export = make_export(outbox.root, outbox.office.tenant)
    with open_outbox(store) as other:
        outbox.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [message])
        outbox.root.execute("DELETE FROM guestcomms.guest_addresses WHERE tenant_id = %s", [outbox.office.tenant])
        other.root.execute("SELECT guestcomms.import_export(%s)", [export])
        assert other.claim() == []
        assert other.status(message) == "cancelled"


def test_without_a_tenant_nothing_is_claimed(store: Store) -> None:
    with store.connect("app_login") as app, refused("GC001"):
        app.execute("SELECT * FROM guestcomms.claim_outbound('w')")
