"""Retention policies: what of each class goes when, what stays, in bounded batches, by preview as by run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from uuid import UUID

import pytest

from tests.support.queries import column, one, rows
from tests.support.retention import Business, days, midnight
from tests.support.store import Store

SUBJECTS = "SELECT subject FROM guestcomms.threads WHERE tenant_id = %s ORDER BY subject"
MESSAGES_OF = "SELECT DISTINCT message_id FROM guestcomms.{} WHERE tenant_id = %s"
EVENT_KEYS = "SELECT count(*) FROM guestcomms.event_keys WHERE tenant_id = %s"
QUOKKAS = "SELECT count(*) FROM guestcomms.term_statistics WHERE tenant_id = %s AND term = 'quokkaword'"
ANNOTATED = "SELECT message_id FROM guestcomms.message_annotations WHERE tenant_id = %s"
UNREAD = "SELECT read_at IS NULL FROM guestcomms.messages WHERE tenant_id = %s ORDER BY sent_at"
SET_READ = "UPDATE guestcomms.messages SET read_at = %s WHERE message_id = %s"
RUN = "SELECT row_count, counts, is_done FROM guestcomms.run_retention(10)"
RUNS = "SELECT policy_name, retention_class, counts ->> 'messages' FROM guestcomms.list_retention_runs() ORDER BY started_at"
ACTIONS = "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


def conversation(business: Business, *ages: float, **values: object) -> list[UUID]:
    """Messages of a new guest, so many days old."""
    guest = business.guest()
    thread = business.thread(guest)
    return [business.write(guest, thread, age, **values) for age in ages]


def test_nothing_goes_without_a_policy(business: Business) -> None:
    kept = conversation(business, 3000, 300, 1)
    assert business.run_all() == {}
    assert business.hot() == set(kept)


def test_content_goes_with_all_that_belongs_to_it(business: Business) -> None:
    old, young = conversation(business, 400, 300)
    for message in (old, young):
        business.detail(message)
    business.add("attachments", message_id=old, name="b.jpg", media_type="image/jpeg", byte_count=1, uri="s3://store/b.jpg")
    numbers = business.numbers()
    business.keep("a year", "content", "1 year")
    assert business.run_all() == {"messages": 1, "message_events": 1, "attachment_removals": 1}
    assert business.hot() == {young}
    for table in ("message_events", "message_versions", "attachments", "message_annotations"):
        assert column(business.root, MESSAGES_OF.format(table).encode(), business.tenant) == [young]
    assert column(business.root, "SELECT uri FROM guestcomms.list_attachment_removals()") == ["s3://store/b.jpg"]
    assert one(business.root, EVENT_KEYS, business.tenant) == 1
    assert business.numbers() == numbers


def test_archived_content_goes_segment_by_segment(business: Business) -> None:
    business.configure("segment_messages", "4")
    business.policy(older_than="200 days")
    ages = [500, 480, 460, 440, 420, 400, 380, 360, 340, 320]
    messages = conversation(business, *ages)
    words = conversation(business, 450, body="quokkaword")
    for message in messages:
        business.detail(message)
    business.archive()
    assert business.archived() == {*messages, *words}
    numbers = business.numbers()
    assert one(business.root, QUOKKAS, business.tenant) == 1
    # Something that came late for one that goes.
    late = business.event(messages[0], "clicked", event_external_id="late")
    assert late
    business.keep("a year", "content", "390 days")
    before = business.preview()["a year", "archive"]
    counts = business.run_all()
    assert (before["row_count"], counts["archived_messages"]) == (7, 7)
    assert business.archived() == {message for message, age in zip(messages, ages, strict=True) if age < 390}
    assert business.damage() == []
    business.refresh()
    assert one(business.root, QUOKKAS, business.tenant) == 0
    assert business.numbers()[0] == numbers[0]
    assert one(business.root, "SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %s", business.tenant) == 0
    assert one(business.root, EVENT_KEYS, business.tenant) == 4
    assert business.restore() == 4


def test_a_damaged_segment_goes_whole_or_stays(business: Business) -> None:
    business.policy(older_than="200 days")
    gone, half = conversation(business, 500, 480), conversation(business, 470, 300)
    business.archive()
    business.root.execute("UPDATE guestcomms.archive_segments SET payload = 'x' WHERE tenant_id = %s", [business.tenant])
    business.keep("a year", "content", "1 year")
    assert business.run_all() == {"archived_messages": 2}
    assert business.archived() == set(half)
    assert not business.archived() & set(gone)


def test_subjects_go_with_the_last_message(business: Business) -> None:
    guest = business.guest()
    threads = [
        one(business.root, "SELECT guestcomms.open_thread(%s, %s)", subject, guest) for subject in ("empty", "full", "new")
    ]
    business.write(guest, threads[0], 400)
    business.write(guest, threads[1], 300)
    move = "UPDATE guestcomms.threads SET created_at = %s WHERE thread_id = ANY (%s)"
    business.root.execute(move, [business.ago(500), threads[:2]])
    business.keep("a year", "content", "1 year")
    assert business.run_all() == {"messages": 1, "threads": 1}
    assert column(business.root, SUBJECTS, business.tenant) == ["full", "new", None]


def test_behaviour_goes_and_numbers_stay(business: Business) -> None:
    business.configure("segment_messages", "2")
    business.policy(older_than="200 days")
    outbound = {"direction": "outbound", "status": "sent"}
    messages = conversation(business, 500, 480, 300, 50, 40, **outbound)
    for message, age in zip(messages, (500, 480, 300, 50, 40), strict=True):
        business.event(message, "delivered", occurred_at=business.ago(age - 1), event_external_id=f"d{message}")
        business.event(message, "opened", occurred_at=business.ago(age - 2))
        business.add("message_annotations", message_id=message, kind="intent", value='"thanks"', annotator="test")
        business.root.execute(SET_READ, [business.ago(age - 3), message])
    business.archive()
    numbers = business.numbers()
    business.keep("short", "behaviour", "45 days")
    previewed = business.preview()
    counts = business.run_all()
    assert previewed["short", "messages"]["row_count"] == counts["messages"] == 1
    assert previewed["short", "archive"]["row_count"] == counts["archived_messages"] == 3
    assert counts["archived_events"] == 6
    assert business.left() == set(messages)
    assert business.events() == {messages[4]}
    assert column(business.root, ANNOTATED, business.tenant) == [messages[4]]
    assert all(read["read_at"] is None for message in messages[:3] if (read := business.read(message)))
    assert column(business.root, UNREAD, business.tenant) == [True, False]
    assert business.numbers() == numbers
    # Nothing is done twice, and numbers stay whatever has them computed anew.
    assert business.run_all() == {}
    business.root.execute("SELECT guestcomms.edit_message(%s, body => 'other words')", [messages[3]])
    business.root.execute("SELECT guestcomms.edit_message(%s, body => 'other words')", [messages[0]])
    assert business.numbers() == numbers
    business.root.execute("SELECT guestcomms.refresh_warehouse(is_reload => true)")
    assert business.numbers() == numbers
    business.restore()
    assert business.numbers() == numbers


def test_an_event_that_comes_late_counts_and_goes(business: Business) -> None:
    (message,) = conversation(business, 300, direction="outbound", status="sent")
    business.event(message, "opened", occurred_at=business.ago(299))
    business.refresh()
    business.keep("short", "behaviour", "45 days")
    business.run_all()
    business.event(message, "clicked", occurred_at=business.ago(100))
    clicked = "SELECT sum(opened_count), sum(clicked_count) FROM guestcomms_bi.agg_message_day WHERE tenant_id = %s"
    assert business.run_all() == {"messages": 1, "message_events": 1}
    business.refresh()
    assert rows(business.root, clicked, business.tenant) == [(1, 1)]


def test_the_wedding_decides(business: Business) -> None:
    business.root.execute("UPDATE guestcomms.tenants SET timezone = 'Pacific/Auckland' WHERE tenant_id = %s", [business.tenant])
    day = date(2025, 6, 14)
    zone = "Pacific/Auckland"
    guest, other, stranger = business.guest("Ada"), business.guest("Bo"), business.guest("Cy")
    wedding, unset = business.wedding(day, guest), business.wedding(None, other)
    thread, wedding_thread = (
        business.thread(guest),
        one(business.root, "SELECT guestcomms.open_thread('x', %s, %s)", other, wedding),
    )
    start = midnight(day, zone)

    def age(at: datetime) -> float:
        return (business.now - at).total_seconds() / 86400

    before = business.write(guest, thread, age(start - days(200)))
    at_wedding = business.write(other, wedding_thread, age(start - days(1)), wedding_id=wedding)
    by_thread = business.write(other, wedding_thread, age(start - days(3)))
    late = business.write(guest, thread, age(start + days(40)))
    without_day = business.write(other, business.thread(other), age(start - days(400)), wedding_id=unset)
    without_wedding = business.write(stranger, business.thread(stranger), age(start - days(400)))
    business.keep("half a year", "content", "6 months", counts_from="wedding")
    end = midnight(date(2025, 12, 14), zone)
    assert business.preview(end)["half a year", "messages"]["row_count"] == 0
    assert business.preview(end)["half a year", "messages"]["next_at"] == end
    assert business.sweep(end)["messages"] == 0
    assert business.preview(end + days(1))["half a year", "messages"]["row_count"] == 3
    assert business.sweep(end + days(1))["messages"] == 3
    assert business.hot() == {late, without_day, without_wedding}
    assert not business.hot() & {before, at_wedding, by_thread}
    assert business.sweep(end + days(42))["messages"] == 1
    business.keep("ten years", "content", "5 years")
    assert business.sweep(end + days(4000))["messages"] == 2


def test_channels(business: Business) -> None:
    business.policy(older_than="400 days")
    sms, mail = conversation(business, 500, channel="sms")[0], conversation(business, 450)[0]
    business.archive()
    more = conversation(business, 390, 380, channel="sms")
    business.keep("short messages", "content", "1 year", channels=["sms"])
    assert business.run_all() == {"messages": 2, "archived_messages": 1}
    assert business.left() == {mail}
    assert not business.left() & {sms, *more}


@pytest.mark.parametrize("is_archived", [False, True])
@pytest.mark.parametrize("scope", ["guest", "thread", "all", "later"])
def test_holds_stop_it_until_they_end(business: Business, scope: str, *, is_archived: bool) -> None:
    guest, other = business.guest(), business.guest()
    thread, another = business.thread(guest), business.thread(other)
    held, free = business.write(guest, thread, 500), business.write(other, another, 500)
    young = business.write(guest, thread, 300)
    if is_archived:
        business.policy(older_than="200 days")
        business.archive()
    business.keep("a year", "content", "1 year")
    said = {"guest": f'{{"guest_id": "{guest}"}}', "thread": f'{{"thread_id": "{thread}"}}', "all": "{}"}
    said["later"] = f'{{"since": "{business.ago(400)}"}}'
    hold = one(business.root, "SELECT guestcomms.place_hold(%s, 'court')", said[scope])
    kept = {"guest": {held, young}, "thread": {held, young}, "all": {held, free, young}, "later": {young}}[scope]
    step = "archive" if is_archived else "messages"
    previewed = business.preview()["a year", step]
    assert (previewed["row_count"], previewed["held_count"]) == (3 - len(kept), len(kept - {young}))
    business.run_all()
    assert business.left() == kept
    business.root.execute("SELECT guestcomms.release_hold(%s)", [hold])
    business.run_all()
    assert business.left() == {young}


def test_restricted_guests_queued_messages_and_young_ones_stay(business: Business) -> None:
    guest = business.guest()
    thread = business.thread(guest)
    queued = business.write(guest, thread, 500, direction="outbound", status="queued")
    restricted = business.guest()
    stored = business.write(restricted, business.thread(restricted), 500)
    business.root.execute("UPDATE guestcomms.guests SET restricted_at = now() WHERE guest_id = %s", [restricted])
    gone = business.write(guest, thread, 500)
    business.keep("a year", "content", "1 year")
    previewed = business.preview()["a year", "messages"]
    assert (previewed["row_count"], previewed["held_count"]) == (1, 1)
    assert business.run_all()["messages"] == 1
    assert business.hot() == {queued, stored}
    assert gone not in business.hot()


def test_batches_are_bounded_and_go_on_where_they_were(business: Business) -> None:
    for _ in range(3):
        business.write_many(15, 500)
    kept = business.write_many(10, 600, status="queued", direction="outbound")
    business.keep("a year", "content", "1 year")
    sizes = []
    while True:
        ((count, _, is_done),) = rows(business.root, RUN)
        sizes.append(count)
        if is_done:
            break
    assert sizes[:4] == [10, 10, 10, 10]
    assert (sum(sizes), max(sizes)) == (45, 10)
    assert business.hot() == set(kept)
    assert rows(business.root, RUNS) == [("a year", "content", str(size)) for size in sizes if size]
    actions = column(business.root, ACTIONS, business.tenant)
    assert actions.count("run_retention") == len([size for size in sizes if size])
    assert actions.count("add_retention_policy") == 1


def test_what_somebody_has_locked_is_left(business: Business) -> None:
    busy, free = conversation(business, 500, 499)
    business.keep("a year", "content", "1 year")
    other = business.connect(autocommit=False)
    other.execute("SELECT FROM guestcomms.messages WHERE message_id = %s FOR UPDATE", [busy])
    assert business.run_all()["messages"] == 1
    assert business.hot() == {busy}
    other.rollback()
    assert business.run_all()["messages"] == 1
    assert free not in business.left()


@pytest.mark.parametrize("is_archived", [False, True])
def test_conversations_that_somebody_has_are_left(business: Business, is_archived: bool) -> None:
    """Their threads change with it, and whoever has one may be about to go on to its messages."""
    (busy,), (free,) = (conversation(business, 500, direction="outbound", status="sent") for _ in range(2))
    if is_archived:
        business.policy(older_than="400 days")
        business.archive()
        assert business.archived() == {busy, free}
    business.keep("a year", "content", "1 year")
    removed = "archived_messages" if is_archived else "messages"
    find = (
        "SELECT thread_id FROM guestcomms.messages WHERE message_id = %s"
        " UNION ALL SELECT thread_id FROM guestcomms.read_archived(%s)"
    )
    thread = one(business.root, find, busy, busy)
    other = business.connect(autocommit=False)
    other.execute("SELECT guestcomms.set_thread_status(%s, 'waiting')", [thread])
    assert business.run_all()[removed] == 1
    assert business.left() == {busy}
    other.commit()
    assert business.run_all()[removed] == 1
    assert business.left() == set()


def test_the_job_does_it_once_a_day(business: Business) -> None:
    conversation(business, 500)
    business.keep("a year", "content", "1 year")
    root = business.store.connect()
    root.execute("CALL guestcomms.run_job('run_retention')")
    assert business.hot() == set()
    conversation(business, 500)
    root.execute("CALL guestcomms.run_job('run_retention')")
    assert len(business.hot()) == 1
    root.execute("UPDATE guestcomms.retention_policies SET swept_at = swept_at - interval '1 day'")
    root.execute("CALL guestcomms.run_job('run_retention')")
    assert business.hot() == set()
    root.close()


def test_one_policy_that_fails_stops_no_other(business: Business, store: Store) -> None:
    conversation(business, 500)
    business.keep("a year", "content", "1 year")
    with Business(store) as other:
        conversation(other, 500)
        other.keep("a year", "content", "1 year")
        business.root.execute(
            "CREATE FUNCTION testing.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION USING ERRCODE = '23514', MESSAGE = 'no'; END $$;"
            "CREATE TRIGGER refuse BEFORE DELETE ON guestcomms.messages FOR EACH ROW"
            f" WHEN (OLD.tenant_id = '{business.tenant}') EXECUTE FUNCTION testing.refuse()".encode()
        )
        try:
            root = store.connect()
            root.execute("CALL guestcomms.run_job('run_retention')")
            root.close()
        finally:
            business.root.execute("DROP TRIGGER refuse ON guestcomms.messages; DROP FUNCTION testing.refuse()")
        assert other.hot() == set()
        assert len(business.hot()) == 1
    assert column(business.root, "SELECT error_code FROM guestcomms.list_retention_policies()") == ["23514"]
    assert business.run_all()["messages"] == 1
    assert column(business.root, "SELECT error_code FROM guestcomms.list_retention_policies()") == [None]
