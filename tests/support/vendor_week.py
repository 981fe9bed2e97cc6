"""What the workers of a vendor's week do, each as often as it is told to, and all of them at once."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.outbox import CLAIM, CONFIRM, FAIL, ask
from tests.support.pgbouncer import PgBouncer
from tests.support.vendor import LATER, OBJECTS, Delivery, Ledger, Person, Sending, Worker, invent_deliveries, now

ACTIONS = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
WEBHOOKS, SENDERS, REPORTERS, STAFF, WRITERS, MERGERS = 6, 6, 3, 2, 2, 1
CHANNELS = ("email", "sms", "whatsapp")
KINDS = ("plain", "stopper", "waverer")
MOST_ROUNDS = 3000

RESOLVE = "SELECT guestcomms.resolve_guest(%s, %s) AS guest_id"
INBOUND = "SELECT guestcomms.record_message(%s, 'inbound', %s, %s, sent_at => %s, external_id => %s, source => %s) AS message_id"
OUTBOUND = """
SELECT guestcomms.record_message(%s, 'outbound', %s, %s, purpose => %s, status => 'queued', scheduled_at => %s, external_id => %s,
    source => 'office') AS message_id
"""
RENDER = "SELECT body FROM guestcomms.render_template('offer', %s, %s, %s)"
REPORT = "SELECT guestcomms.record_event({named}, kind => %s, occurred_at => %s, event_external_id => %s)"
BY_MESSAGE = REPORT.format(named="%s")
BY_NAME = REPORT.format(named="external_id => %s, source => 'carrier'")


@dataclass
class Week:
    office: Archive
    people: list[Person]
    deliveries: list[list[Delivery]]  # of each webhook
    ledger: Ledger = field(default_factory=Ledger)
    is_over: threading.Event = field(default_factory=threading.Event)  # nobody queues anything more
    is_broken: threading.Event = field(default_factory=threading.Event)  # a worker failed, so the queue may never empty


def plan(office: Archive) -> Week:
    chance = random.Random("week")
    people = [Person(number, KINDS[number % 3]) for number in range(24)]
    told = invent_deliveries(people, ACTIONS * WEBHOOKS // 2, chance)
    # Everything at least once, on average twice, and shuffled.
    all_of_it = told + chance.choices(told, k=ACTIONS * WEBHOOKS - len(told))
    chance.shuffle(all_of_it)
    return Week(office, people, [all_of_it[number::WEBHOOKS] for number in range(WEBHOOKS)])


def take_webhooks(week: Week, worker: Worker, number: int) -> None:
    for told in week.deliveries[number]:
        given = [told.channel, told.body, told.sent_at, told.external_id, told.source]
        # One in eight is taken back, as when the webhook's process ends before it answers, and is told again.
        if worker.chance.random() < 0.125:
            with worker.transaction() as client:
                (guest,) = ask(client, RESOLVE, told.channel, told.person.address(told.channel))
                ask(client, INBOUND, guest["guest_id"], *given)
                raise psycopg.Rollback
        with worker.transaction() as client:
            (guest,) = ask(client, RESOLVE, told.channel, told.person.address(told.channel))
            (stored,) = ask(client, INBOUND, guest["guest_id"], *given)
        week.ledger.stored[told.external_id].add(stored["message_id"])
        if told.body == "STOP":
            week.ledger.stopped.append((told.person, told.channel, now()))


def send(week: Week, worker: Worker, number: int) -> None:
    """One in four rounds is with the shortest lease, and its messages are held up, or never heard of again."""
    ledger, chance, channel = week.ledger, worker.chance, CHANNELS[number // 2]
    late: list[Sending] = []

    def confirm(sending: Sending) -> None:
        sending.said.append(worker.one(CONFIRM, sending.message, sending.token, sending.name, "carrier"))

    for _ in range(MOST_ROUNDS):
        if week.is_broken.is_set():
            return
        is_over, is_fragile = week.is_over.is_set(), chance.random() < 0.25
        asked = now()
        claimed = worker.ask(CLAIM, f"sender {number}", channel, 3, "1 second" if is_fragile else "10 minutes")
        for found in claimed:
            names = ("message_id", "attempt", "claim_token", "channel", "address", "purpose")
            sending = Sending(asked, *(found[name] for name in names))
            ledger.sendings.append(sending)
            fate = chance.random()
            if fate < 0.15:
                when = now() if fate < 0.1 else "infinity"
                worker.ask(FAIL, sending.message, sending.token, "451", when)
                continue
            if is_fragile and fate < 0.3:
                continue  # it vanished before it sent
            sending.was_handed = True
            ledger.handed.append(sending)
            if is_fragile and fate < 0.8:
                if fate < 0.6:
                    late.append(sending)
                continue
            confirm(sending)
            if fate > 0.9:
                confirm(sending)
        if not claimed:
            if is_over and not worker.ask("SELECT FROM guestcomms.list_queued_messages(channel => %s, max_rows => 1)", channel):
                break
            worker.wait()
    else:
        raise AssertionError("the queue never empties")
    for sending in late:
        confirm(sending)


def report(week: Week, worker: Worker, number: int) -> None:
    """What carriers say of what they were given, maybe before it is confirmed, and again and again."""
    chance, ledger = worker.chance, week.ledger
    for _ in range(ACTIONS):
        for _ in range(MOST_ROUNDS):
            if ledger.handed or week.is_over.is_set():
                break
            worker.wait()
        if not ledger.handed:
            return
        kind = chance.choice(["sent", "delivered", "delivered", "read", "failed"])
        sending = chance.choice(ledger.handed[-20:])
        is_offer = sending.purpose == "marketing" and sending.channel == "email"
        stopper = next((p for p in week.people if p.kind == "stopper" and p.address("email") == sending.address), None)
        if is_offer and stopper:
            kind = "unsubscribed"
        # By the carrier's name for it, where that has been told.
        named = sending.name if sending.said and chance.random() < 0.5 else None
        about = named or sending.message
        values = [about, kind, now() - timedelta(minutes=chance.randrange(60)), f"{about} {kind}"]
        for _ in range(chance.choice([1, 1, 2])):
            worker.ask(BY_NAME if named else BY_MESSAGE, *values)
        if is_offer and stopper:
            ledger.stopped.append((stopper, "email", now()))


def tidy_up(week: Week, worker: Worker, number: int) -> None:
    """Staff read, hand over, close, correct and withdraw."""
    chance, ledger = worker.chance, week.ledger
    for _ in range(ACTIONS * 2):
        listed = worker.ask("SELECT * FROM guestcomms.list_threads(max_rows => 30, is_unread => %s)", chance.choice([None, True]))
        if not listed:
            worker.wait()
            continue
        thread = chance.choice(listed)
        of = thread["thread_id"]
        messages = worker.ask("SELECT * FROM guestcomms.get_thread(%s, 20)", of)
        for each in messages:
            worker.see(each["message_id"], each["status"])
        message = chance.choice(messages)["message_id"]
        action = chance.randrange(8)
        if action < 2:
            worker.ask("SELECT guestcomms.mark_read(%s, until => %s)", of, thread["last_message_at"])
        elif action == 2:
            worker.ask("SELECT guestcomms.mark_unread(message_ids => %s)", [message])
        elif action == 3:
            worker.ask("SELECT guestcomms.assign_thread(%s, %s)", of, f"staff {number}")
        elif action == 4:
            status = chance.choice(["open", "waiting", "closed"])
            worker.ask("SELECT guestcomms.set_thread_status(%s, %s, %s)", of, status, thread["last_message_at"])
        elif action == 5:
            worker.attempt(LATER, "SELECT guestcomms.snooze_thread(%s, now() + interval '1 day')", of)
        elif action == 6:
            if worker.attempt(LATER, "SELECT guestcomms.edit_message(%s, %s)", message, "It is heated, of course"):
                ledger.edits.append(message)
        elif worker.attempt(LATER, "SELECT guestcomms.delete_message(%s, 'wrong guest')", message):
            ledger.deleted.append(message)


def write(week: Week, worker: Worker, number: int) -> None:
    """Answers, offers by template, and what is for later: of which half is cancelled, half brought forward."""
    chance, ledger = worker.chance, week.ledger
    later: list[UUID] = []

    def queue(action: int, person: Person, channel: str, seconds: float | None, purpose: str = "service") -> UUID | None:
        asked = now()
        due = asked + timedelta(seconds=seconds) if seconds else None
        with worker.transaction() as client:
            guest = ask(client, RESOLVE, channel, person.address(channel))[0]["guest_id"]
            body = "It is heated"
            if purpose == "marketing":
                body = ask(client, RENDER, guest, channel, Jsonb({"table": f"{{{{{action}}}}}"}))[0]["body"]
        given = [guest, channel, body, purpose, due, f"out-{number}-{action}"]
        stored = worker.attempt(OBJECTS, OUTBOUND, *given)
        if purpose == "marketing":
            ledger.marketing.append((person, channel, asked, stored is not None))
        if stored is None:
            return None
        message: UUID = stored[0]["message_id"]
        ledger.stored[given[-1]].add(message)
        # Half of them again: the answer was lost on its way.
        if chance.random() < 0.5 and purpose == "service":
            ledger.stored[given[-1]].add(worker.one(OUTBOUND, *given))
        if due:
            ledger.scheduled[message] = due
        return message

    # Offers that wait, so that whoever objects has one coming.
    waiting = [(person, channel) for person in week.people if person.kind == "stopper" for channel in ("sms", "whatsapp")]
    for place, (person, channel) in enumerate(waiting[number::WRITERS]):
        queue(ACTIONS + place, person, channel, 6, "marketing")
    for action in range(ACTIONS):
        person, channel, fate = chance.choice(week.people), chance.choice(CHANNELS), chance.random()
        if fate < 0.4:
            queue(action, person, channel, chance.choice([None, 2, 4]), "marketing")  # some object meanwhile
        elif fate < 0.6:
            queue(action, person, channel, None)
        elif fate < 0.75:
            queue(action, person, channel, 1)
        elif message := queue(action, person, channel, 24 * 3600):
            later.append(message)
        if later and chance.random() < 0.5:
            settle(worker, later.pop(0))
    for message in later:
        settle(worker, message)


def settle(worker: Worker, message: UUID) -> None:
    if worker.chance.random() < 0.5:
        if worker.attempt(LATER, "SELECT guestcomms.cancel_message(%s, 'the date has moved')", message):
            worker.ledger.cancelled.append(message)
    elif worker.attempt(LATER, "SELECT guestcomms.reschedule_message(%s)", message):
        worker.ledger.scheduled.pop(message)


def merge(week: Week, worker: Worker, number: int) -> None:
    """One guest of everyone's two, while people write to both of them."""
    for person in week.people:
        if person.is_merged:
            guests = [worker.one(RESOLVE, channel, person.address(channel)) for channel in ("email", "sms")]
            worker.chance.shuffle(guests)
            week.ledger.merges.append(worker.one("SELECT guestcomms.merge_guests(%s, %s)", *guests))
            worker.ask("SELECT * FROM guestcomms.find_duplicate_guests(max_rows => 10)")


def play(week: Week, pooler: PgBouncer, token: str) -> None:
    Job = Callable[[Week, Worker, int], None]
    shifts: list[tuple[Job, int]] = [
        (take_webhooks, WEBHOOKS), (write, WRITERS), (tidy_up, STAFF), (merge, MERGERS), (report, REPORTERS), (send, SENDERS)
    ]  # fmt: skip
    jobs = [(job, number) for job, count in shifts for number in range(count)]
    start = threading.Barrier(len(jobs))

    def work(place: int) -> None:
        job, number = jobs[place]
        worker = Worker(place, pooler, token, week.ledger)
        start.wait(60)
        try:
            job(week, worker, number)
        except BaseException:
            week.is_over.set()
            week.is_broken.set()
            raise
        week.ledger.transactions.append(worker.transactions)

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(work, place) for place in range(len(jobs))]
        for (job, _), future in zip(jobs, futures, strict=True):
            if job in (take_webhooks, write, tidy_up, merge):
                future.exception()
        week.is_over.set()
        for future in futures:
            future.result()
