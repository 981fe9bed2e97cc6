"""Many workers at once: within a lease nobody else has a message, and all of them arrive whatever happens to workers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID

import psycopg
import pytest

from tests.support import pgbouncer
from tests.support.database import Connection
from tests.support.outbox import CLAIM, CONFIRM, FAIL, Found, Outbox, ask, open_outbox
from tests.support.queries import column, one, refused, rows
from tests.support.store import LOGINS, Store
from tests.support.traffic import message, record_all
from tests.support.waiting import wait_until_waiting

WORKERS = 20
MESSAGES = 300
CHANNELS = ("email", "sms", "whatsapp", None)
UNFINISHED = "SELECT count(*) FROM guestcomms.messages WHERE status = 'queued'"
CLAIMED_TWICE = """
    SELECT a, b FROM guestcomms.send_attempts AS a JOIN guestcomms.send_attempts AS b USING (tenant_id, message_id)
    WHERE a.attempt < b.attempt AND b.claimed_at < least(a.leased_until, a.finished_at)
"""


@pytest.fixture
def outbox(store: Store) -> Iterator[Outbox]:
    with open_outbox(store) as outbox:
        yield outbox


def fill(outbox: Outbox, count: int = MESSAGES) -> list[UUID]:
    """Messages that are due, on three channels."""
    guests = {channel: outbox.guest(channel) for channel in ("email", "sms", "whatsapp")}
    plain = {"direction": "outbound", "status": "queued", "body": "The seating plan"}
    names = random.Random(count).choices(list(guests), k=count)
    return record_all(outbox.app, [message(guests[name], channel=name, **plain) for name in names])


def test_no_message_is_two_workers(outbox: Outbox) -> None:
    """Each session of its own; two for every channel, the others for all."""
    fill(outbox)

    def work(number: int) -> list[UUID]:
        app = outbox.office.connect("app_login")
        sent: list[UUID] = []
        while claimed := outbox.claim(f"w{number}", CHANNELS[number % 4], 7, by=app):
            for found in claimed:
                assert one(app, CONFIRM, found["message_id"], found["claim_token"], None, None) == "confirmed"
                sent.append(found["message_id"])
        return sent

    with ThreadPoolExecutor(WORKERS) as pool:
        sent = Counter(each for messages in pool.map(work, range(WORKERS)) for each in messages)
    assert set(sent.values()) == {1}
    assert len(sent) == MESSAGES
    assert one(outbox.root, UNFINISHED) == 0


@pytest.fixture
def pooler(store: Store) -> Iterator[pgbouncer.PgBouncer]:
    program = pgbouncer.find_program()
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with ExitStack() as stack:
        yield stack.enter_context(pgbouncer.running_pgbouncer(program, store.database, LOGINS, 5, {}))


def test_workers_that_fail_and_vanish_over_a_pooler(outbox: Outbox, store: Store, pooler: pgbouncer.PgBouncer) -> None:
    """Every fourth attempt fails, every eighth is never heard of again; what arrives, arrives once each but where its worker
    vanished after sending."""
    outbox.root.execute("SELECT guestcomms.set_setting('sending.max_attempts', '100')")
    queued = fill(outbox)
    token = one(store.connect("issuer_login"), "SELECT guestcomms.issue_token(%s)", outbox.office.tenant)
    arrived: list[tuple[UUID, int]] = []
    vanished: set[tuple[UUID, int]] = set()

    def transaction(client: Connection, work: Callable[[], list[Found]]) -> list[Found]:
        one(client, "SELECT guestcomms.use_token(%s)", token)
        found = work()
        client.commit()
        return found

    def work(number: int) -> None:
        chance = random.Random(number)
        client = pooler.connect("app_login")
        for _ in range(2000):
            claimed = transaction(client, lambda: ask(client, CLAIM, f"w{number}", None, 5, "1 hour"))
            for found in claimed:
                key, given = (found["message_id"], found["attempt"]), [found["message_id"], found["claim_token"]]
                fate = chance.randrange(8)
                if fate < 2:
                    transaction(client, lambda given=given: ask(client, FAIL, *given, "451", outbox_now))  # type: ignore[misc]
                    continue
                arrived.append(key)
                if fate == 2:
                    vanished.add(key)
                    outbox.expire(key[0])
                    continue
                transaction(client, lambda given=given: ask(client, CONFIRM, *given, None, None))  # type: ignore[misc]
            if not claimed:
                transaction(client, lambda: ask(client, "SELECT pg_sleep(0.1)"))
                if transaction(client, lambda: ask(client, "SELECT FROM guestcomms.list_queued_messages(max_rows => 1)")) == []:
                    return
        raise AssertionError("the queue never empties")

    outbox_now = outbox.time(-1)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    assert one(outbox.root, UNFINISHED) == 0
    assert {each for each, _ in arrived} == set(queued)
    assert len(arrived) == len(set(arrived))  # an attempt is one worker's
    assert rows(outbox.root, CLAIMED_TWICE) == []
    # Twice only where the first was not confirmed.
    twice = {each for each, count in Counter(each for each, _ in arrived).items() if count > 1}
    assert twice <= {each for each, _ in vanished}
    # And none was confirmed twice.
    confirmed = "SELECT count(*) FROM guestcomms.send_attempts WHERE outcome = 'sent' GROUP BY message_id"
    assert set(column(outbox.root, confirmed)) == {1}


def test_a_claim_that_is_rolled_back_is_none(outbox: Outbox) -> None:
    """As when the server or the worker crashes in the middle: the next gets the message at once, as a first attempt."""
    queued = fill(outbox, 3)
    app = outbox.office.connect("app_login", autocommit=False)
    assert len(outbox.claim("w1", by=app)) == 3
    # Others do not wait for it, and get nothing.
    assert outbox.claim("w2") == []
    one(outbox.root, "SELECT pg_terminate_backend(%s, 10000)", app.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        app.commit()
    found = outbox.claim("w3")
    assert {(each["message_id"], each["attempt"]) for each in found} == {(each, 1) for each in queued}


def test_a_cancellation_waits_for_a_claim(outbox: Outbox) -> None:
    """And finds it, or the worker would send what was cancelled."""
    (queued,) = fill(outbox, 1)
    worker = outbox.office.connect("app_login", autocommit=False)
    outbox.claim("w1", by=worker)
    other = outbox.office.connect("app_login")
    with ThreadPoolExecutor(1) as pool:
        cancelled = pool.submit(one, other, "SELECT guestcomms.cancel_message(%s)", queued)
        wait_until_waiting(outbox.root, other)
        worker.commit()
        with refused("55000"):
            cancelled.result(30)
    assert outbox.status(queued) == "queued"


def test_a_merge_waits_for_a_confirmation(outbox: Outbox) -> None:
    """And lets it go on to the conversation, which it is to move itself."""
    keep, merge = outbox.guest(), outbox.guest()
    outbox.queue(merge)
    (claimed,) = outbox.claim()
    worker = outbox.office.connect("app_login", autocommit=False)
    # As a confirmation does first.
    lock = "SELECT FROM guestcomms_internal.lock_attempt(%s, %s, %s)"
    root = outbox.office.connect(autocommit=False)
    rows(root, lock, outbox.office.tenant, claimed["message_id"], claimed["claim_token"])
    with ThreadPoolExecutor(1) as pool:
        merged = pool.submit(one, worker, "SELECT guestcomms.merge_guests(%s, %s)", keep, merge)
        wait_until_waiting(outbox.root, worker)
        assert one(root, CONFIRM, claimed["message_id"], claimed["claim_token"], None, None) == "confirmed"
        root.commit()
        merged.result(30)
        worker.commit()
    assert outbox.status(claimed["message_id"]) == "sent"


def test_a_claim_does_not_wait_for_a_cancellation(outbox: Outbox) -> None:
    first, second = fill(outbox, 2)
    other = outbox.office.connect("app_login", autocommit=False)
    one(other, "SELECT guestcomms.cancel_message(%s)", first)
    assert [each["message_id"] for each in outbox.claim("w1")] == [second]
    other.commit()
    assert outbox.claim("w1") == []


def test_an_older_snapshot_claims_nothing_twice(outbox: Outbox) -> None:
    """A transaction that does not see the other's claim meets it at the attempt's key."""
    fill(outbox, 2)
    old = outbox.office.connect("app_login", autocommit=False)
    old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    one(old, "SELECT 1")
    assert len(outbox.claim("w1")) == 2
    try:
        assert outbox.claim("w2", by=old) == []
    except psycopg.errors.SerializationFailure:
        old.rollback()


def test_both_who_confirm_at_once_are_told_the_same_once(outbox: Outbox) -> None:
    fill(outbox, 1)
    (claimed,) = outbox.claim()
    apps = [outbox.office.connect("app_login") for _ in range(4)]
    given = [claimed["message_id"], claimed["claim_token"], "m-1", "mail-provider"]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda app: one(app, CONFIRM, *given), apps))
    assert sorted(said) == ["confirmed", *["repeated"] * 3]
    events = "SELECT count(*) FROM guestcomms.message_events WHERE kind = 'sent' AND message_id = %s"
    assert one(outbox.root, events, given[0]) == 1
