"""Whoever holds a conversation goes on to its messages: nobody who wants it has them, or each would wait for the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.erasure import erase, finish, progress
from tests.support.queries import one, rows
from tests.support.store import Store
from tests.support.waiting import wait_until_waiting

MERGE = "SELECT guestcomms.merge_guests(%(keep)s, %(guest)s)"
STEP = "SELECT guestcomms_internal.erase_batch()"
CLAIM = "SELECT message_id, claim_token FROM guestcomms.claim_outbound('sender', 'email')"
CONFIRM = "SELECT guestcomms.confirm_sent(message_id, claim_token) FROM guestcomms.claim_outbound('sender', 'email')"
REPORT = "SELECT guestcomms.record_event(%(queued)s, '{}')"
READ = "SELECT guestcomms.mark_read(message_ids => ARRAY[%(unread)s::uuid])"


@dataclass
class Conversation:
    """Of a guest: with a message that staff have not read, and one that is to be sent."""

    office: Archive
    keep: UUID
    guest: UUID
    thread: UUID
    unread: UUID
    queued: UUID


@pytest.fixture
def conversation(store: Store) -> Iterator[Conversation]:
    with Archive(store) as office:
        add = "SELECT guestcomms.add_guest(%s, email => %s)"
        keep, guest = (one(office.root, add, name, f"{name}@example.com") for name in "KM")
        thread = office.thread(guest)
        unread = office.write(guest, thread, 1, direction="inbound")
        queue = "SELECT guestcomms.record_message(%s, 'outbound', 'email', 'See you', thread_id => %s, status => 'queued')"
        queued = one(office.root, queue, guest, thread)
        yield Conversation(office, keep, guest, thread, unread, queued)


def goes_on(conversation: Conversation, action: str, then: str, values: dict[str, object]) -> None:
    """Somebody holds the conversation, another wants to act on it and waits, and the first does more in it."""
    office = conversation.office
    holder, other = office.connect("app_login"), office.connect("postgres")
    for session in (holder, other):
        session.execute("SET statement_timeout = '60s'")
    with ThreadPoolExecutor(1) as pool:
        with holder.transaction():
            one(holder, "SELECT guestcomms.set_thread_status(%s, 'waiting')", conversation.thread)
            acting = pool.submit(other.execute, action.encode(), values)
            wait_until_waiting(office.root, other)
            assert holder.execute(then.encode(), values).rowcount == 1
        acting.result(60)


def test_merging_waits_for_the_conversation(conversation: Conversation) -> None:
    guests: dict[str, object] = {"keep": conversation.keep, "guest": conversation.guest}
    goes_on(conversation, MERGE, CONFIRM, guests)


def test_undoing_a_merge_waits_for_the_conversation(conversation: Conversation) -> None:
    merge = one(conversation.office.root, "SELECT guestcomms.merge_guests(%s, %s)", conversation.keep, conversation.guest)
    goes_on(conversation, "SELECT guestcomms.undo_merge(%(merge)s)", CONFIRM, {"merge": merge})


def test_deleting_a_message_waits_for_the_conversation(conversation: Conversation) -> None:
    goes_on(conversation, "SELECT guestcomms.delete_message(%(unread)s)", READ, {"unread": conversation.unread})


@pytest.mark.parametrize("events", [1, 2])
def test_reporting_that_messages_were_sent_waits_for_the_conversation(conversation: Conversation, events: int) -> None:
    """One as record_event() does, or several."""
    sent = [{"message_id": str(conversation.queued), "kind": kind} for kind in ("sent", "queued")[:events]]
    report = "SELECT guestcomms.record_events(%(events)s)"
    goes_on(conversation, report, CONFIRM, {"events": Jsonb(sent)})


def test_reporting_that_a_sent_message_failed_waits_for_the_conversation(conversation: Conversation) -> None:
    queued: dict[str, object] = {"queued": conversation.queued}
    conversation.office.root.execute(CONFIRM)
    goes_on(conversation, REPORT.format("failed"), REPORT.format("read"), queued)


def test_confirming_waits_for_the_conversation(conversation: Conversation) -> None:
    message, token = rows(conversation.office.root, CLAIM)[0]
    values: dict[str, object] = {"queued": message, "token": token}
    goes_on(conversation, "SELECT guestcomms.confirm_sent(%(queued)s, %(token)s)", REPORT.format("failed"), values)


def test_what_a_report_changes_is_decided_when_others_are_done(conversation: Conversation) -> None:
    """delivered says nothing new of the thread, unless the message has failed when its turn comes."""
    office = conversation.office
    message, token = rows(office.root, CLAIM)[0]
    confirm = "SELECT guestcomms.confirm_sent(%s, %s)"
    one(office.root, confirm, message, token)
    failing, confirming, delivering = (office.connect("app_login") for _ in range(3))
    with ThreadPoolExecutor(2) as pool:
        with failing.transaction():
            one(failing, "SELECT guestcomms.record_event(%s, 'failed')", message)
            confirmed = pool.submit(one, confirming, confirm, message, token)
            wait_until_waiting(office.root, confirming)
            delivered = pool.submit(one, delivering, "SELECT guestcomms.record_event(%s, 'delivered')", message)
            wait_until_waiting(office.root, delivering)
        assert confirmed.result(60) == "repeated"
        delivered.result(60)
    assert one(office.root, "SELECT status FROM guestcomms.messages WHERE message_id = %s", message) == "delivered"


def test_a_load_in_chunks_takes_its_conversations_in_order(conversation: Conversation) -> None:
    """However its rows are: else it held the second conversation of this test, and waited for the first."""
    root = conversation.office.root
    first, second = sorted(conversation.office.thread(conversation.guest) for _ in range(2))
    columns = "(guest_id, thread_id, direction, channel, body)"
    stage = f"INSERT INTO guestcomms.import_messages {columns} VALUES (%s, %s, 'inbound', 'sms', 'Good morning')".encode()
    for thread in (second, first):
        root.execute(stage, [conversation.guest, thread])
    values: dict[str, object] = {"second": second}
    close = "SELECT guestcomms.set_thread_status(%(second)s, 'closed')"
    goes_on(replace(conversation, thread=first), "SELECT guestcomms.run_import(chunk_rows => 1)", close, values)


def test_erasing_is_left_to_the_job_which_waits_for_the_conversation(conversation: Conversation) -> None:
    office = conversation.office
    with office.connect("app_login") as holder, holder.transaction():
        one(holder, "SELECT guestcomms.set_thread_status(%s, 'waiting')", conversation.thread)
        erasure = erase(office.root, conversation.guest)
    assert progress(office.root, erasure)["stage"] == "archive"
    office.root.execute(STEP)
    assert progress(office.root, erasure)["stage"] == "tables"
    goes_on(conversation, STEP, READ, {"unread": conversation.unread})
    finish(office.root)
    assert progress(office.root, erasure)["status"] == "done"
