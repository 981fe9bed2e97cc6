"""A vendor's week over a pooler: twenty workers at once, and afterwards nothing is lost, sent twice or miscounted.

Providers repeat themselves and tell things out of order, workers vanish and come late, guests object, staff tidy up.
GUESTCOMMS_EXAMPLES says how much each worker does; it ends when all of it is done."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest

from tests.support import pgbouncer
from tests.support.archive import Archive
from tests.support.inbox import kept, recount
from tests.support.outbox import ask
from tests.support.queries import one, rows
from tests.support.store import LOGINS, Store
from tests.support.vendor import LATER, OBJECTS, RANKS, SAYS, prepare
from tests.support.vendor_week import CHANNELS, RESOLVE, Week, plan, play

WORKERS = 20
POOL_SIZE = 8  # server connections for all of them
ALLOWED = "SELECT is_allowed FROM guestcomms.check_contact_allowed(%s, %s, 'marketing')"
STORED = """
SELECT k.external_id, m.message_id, m.direction, m.channel, coalesce(g.merged_into, g.guest_id) AS guest_id
FROM guestcomms.messages AS m
JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
LEFT JOIN guestcomms.message_keys AS k ON k.tenant_id = m.tenant_id AND k.message_id = m.message_id AND k.source <> 'carrier'
WHERE m.tenant_id = %s
"""
ATTEMPTS = """
SELECT m.message_id, a.attempt, a.claimed_at, a.leased_until, a.outcome, a.finished_at, a.is_duplicate
FROM guestcomms.messages AS m CROSS JOIN LATERAL guestcomms.list_send_attempts(m.message_id) AS a
WHERE m.tenant_id = %s ORDER BY m.message_id, a.attempt
"""
STATUSES = """
SELECT m.message_id, m.status, array_agg(e.kind) FILTER (WHERE e.kind IS NOT NULL) AS kinds
FROM guestcomms.messages AS m LEFT JOIN guestcomms.message_events AS e USING (tenant_id, message_id)
WHERE m.tenant_id = %s AND m.direction = 'outbound' GROUP BY m.message_id, m.status
"""
UNREAD = """
SELECT t.thread_id, t.unread_count,
    count(*) FILTER (WHERE m.direction = 'inbound' AND m.read_at IS NULL AND m.deleted_at IS NULL) AS recounted
FROM guestcomms.threads AS t LEFT JOIN guestcomms.messages AS m USING (tenant_id, thread_id)
WHERE t.tenant_id = %s GROUP BY t.thread_id, t.unread_count
"""
THREADS_OF_MERGED = """
SELECT t.thread_id FROM guestcomms.threads AS t JOIN guestcomms.guests AS g USING (tenant_id, guest_id)
WHERE g.merged_into IS NOT NULL
"""
VERSIONS = "SELECT count(*) FROM guestcomms.list_message_versions(%s) WHERE NOT is_current"


@pytest.fixture(scope="module")
def week(store: Store) -> Iterator[Week]:
    """Played once; the tests look at what is left."""
    program = pgbouncer.find_program()
    if program is None:
        pytest.skip("pgbouncer is not installed")
    settings = {"query_wait_timeout": "120"}
    with (
        Archive(store, "Vendor") as office,
        pgbouncer.running_pgbouncer(program, store.database, LOGINS, POOL_SIZE, settings) as pooler,
    ):
        prepare(office)
        with store.connect("issuer_login") as issuer:
            token = one(issuer, "SELECT guestcomms.issue_token(%s)", office.tenant)
        week = plan(office)
        try:
            play(week, pooler, token)
        except psycopg.errors.DeadlockDetected:
            # Only the server says what the other one was doing.
            pytest.fail(store.database.cluster.log_path.read_text()[-20_000:])
        yield week


def test_nothing_is_lost(week: Week) -> None:
    """What was told or queued is there, once, whoever told it how often, and with the guest who wrote it."""
    root, tenant, ledger = week.office.root, week.office.tenant, week.ledger
    told = {each.external_id: each for each in itertools.chain.from_iterable(week.deliveries)}
    stored = ask(root, STORED, tenant)
    assert {each["external_id"]: {each["message_id"]} for each in stored} == ledger.stored
    assert len(stored) == len(ledger.stored)
    assert {each["external_id"] for each in stored if each["direction"] == "inbound"} == set(told)
    guests = {
        (person, channel): one(root, RESOLVE, channel, person.address(channel)) for person in week.people for channel in CHANNELS
    }
    wrong = [
        each
        for name, each in told.items()
        if not any(s["external_id"] == name and s["guest_id"] == guests[each.person, each.channel] for s in stored)
    ]
    assert wrong == []


def test_one_guest_an_address_and_one_a_person_who_was_merged(week: Week) -> None:
    query = "SELECT merged_into FROM guestcomms.guests WHERE tenant_id = %s"
    merged = [person for person in week.people if person.is_merged]
    found = rows(week.office.root, query, week.office.tenant)
    assert sum(into is not None for (into,) in found) == len(merged) == len(week.ledger.merges)
    assert sum(into is None for (into,) in found) <= 2 * len(week.people) - len(merged)
    assert rows(week.office.root, THREADS_OF_MERGED) == []


def test_nothing_is_sent_twice_within_a_lease(week: Week) -> None:
    """The store's account of attempts and that of the workers agree; twice is only what outlived its lease, and is told."""
    attempts = ask(week.office.root, ATTEMPTS, week.office.tenant)
    noted = {(each.message, each.attempt): each for each in week.ledger.sendings}
    assert len(noted) == len(week.ledger.sendings), "two workers have the same attempt"
    assert {(each["message_id"], each["attempt"]) for each in attempts} == set(noted)
    by_message = defaultdict(list)
    for each in attempts:
        by_message[each["message_id"]].append(each)
    for message, tried in by_message.items():
        assert [each["attempt"] for each in tried] == list(range(1, len(tried) + 1))
        for before, after in itertools.pairwise(tried):
            ended = before["finished_at"] or before["leased_until"]
            assert after["claimed_at"] >= min(ended, before["leased_until"]), message
        sent = [each for each in tried if each["outcome"] == "sent"]
        assert sum(each["finished_at"] <= each["leased_until"] for each in sent) <= 1, message
        said = Counter(answer for each in tried for answer in noted[message, each["attempt"]].said)
        assert said["confirmed"] == bool(sent), message
        assert said["duplicate"] == sum(each["is_duplicate"] for each in tried) == max(0, len(sent) - 1), message
        # A carrier that has it twice has it from one whose lease ran out.
        handed = [each for each in tried if noted[message, each["attempt"]].was_handed]
        for before in handed[:-1]:
            assert before["finished_at"] is None or before["finished_at"] > before["leased_until"], message
    for sending in week.ledger.sendings:
        assert sending.said[1:] == ["repeated"] * (len(sending.said) - 1)


def test_all_that_was_queued_came_to_an_end(week: Week) -> None:
    ledger = week.ledger
    statuses = {each["message_id"]: each for each in ask(week.office.root, STATUSES, week.office.tenant)}
    assert {each["status"] for each in statuses.values()} <= set(RANKS) - {"queued"}
    assert {each for each, found in statuses.items() if {"sent", "delivered", "read"} & set(found["kinds"])} <= {
        each.message for each in ledger.handed
    }
    dead = {
        each["message_id"]
        for each in ask(week.office.root, "SELECT message_id FROM guestcomms.list_dead_letters(max_rows => 1000)")
    }
    assert dead == {each for each, found in statuses.items() if found["status"] == "failed"}
    claimed = defaultdict(list)
    for sending in ledger.sendings:
        claimed[sending.message].append(sending)
    assert [each for each in ledger.cancelled if each in claimed or statuses[each]["status"] != "cancelled"] == []
    early = "SELECT min(claimed_at) < %s FROM guestcomms.send_attempts WHERE tenant_id = %s AND message_id = %s"
    assert not any(one(week.office.root, early, due, week.office.tenant, each) for each, due in ledger.scheduled.items())


def test_who_objects_gets_no_offer(week: Week) -> None:
    """From the moment on at which the STOP is in the store, whichever of a person's guests said it and whoever was merged."""
    root, ledger = week.office.root, week.ledger
    stopped: dict[tuple[str, str], datetime] = {}
    for person, channel, at in ledger.stopped:
        if person.kind == "stopper":
            key = (channel, person.address(channel))
            stopped[key] = min(at, stopped.get(key, at))
    assert stopped
    offers = [each for each in ledger.sendings if each.purpose == "marketing"]
    assert [each for each in offers if each.asked > stopped.get((each.channel, each.address), each.asked)] == []
    taken = [(channel, person.address(channel), at) for person, channel, at, was_taken in ledger.marketing if was_taken]
    assert [each for each in taken if each[2] > stopped.get(each[:2], each[2])] == []
    assert not any(one(root, ALLOWED, one(root, RESOLVE, *key), key[0]) for key in stopped)
    # Of those who change their minds the last word counts, in whatever order the words came.
    words = {}
    for told in sorted(itertools.chain.from_iterable(week.deliveries), key=lambda told: told.sent_at):
        if told.person.kind == "waverer" and told.body in ("STOP", "START"):
            words[told.channel, told.person.address(told.channel)] = told.body == "START"
    assert words
    assert {key: one(root, ALLOWED, one(root, RESOLVE, *key), key[0]) for key in words} == words


def test_statuses_only_rose(week: Week) -> None:
    """To the highest that was reported; what workers saw was compared while they saw it."""
    changes = ask(week.office.root, "SELECT * FROM public.status_changes ORDER BY number")
    assert changes
    assert [each for each in changes if RANKS.index(each["after"]) < RANKS.index(each["before"])] == []
    for found in ask(week.office.root, STATUSES, week.office.tenant):
        assert found["status"] == max(map(SAYS.__getitem__, found["kinds"]), key=RANKS.index), found


def test_counters_are_those_of_a_recount(week: Week) -> None:
    root, tenant = week.office.root, week.office.tenant
    assert kept(root, tenant) == recount(root, tenant)
    counted = ask(root, UNREAD, tenant)
    assert [each for each in counted if each["unread_count"] != each["recounted"]] == []
    (rebuilt,) = ask(root, "SELECT * FROM guestcomms.rebuild_thread_states(max_rows => 100000)")
    assert rebuilt["checked_count"] == len(counted)
    assert rebuilt["corrected_count"] == 0


def test_corrections_and_withdrawals_are_kept(week: Week) -> None:
    root, deleted = week.office.root, set(week.ledger.deleted)
    query = "SELECT count(*) FROM guestcomms.messages WHERE message_id = ANY (%s) AND body = '' AND deleted_at IS NOT NULL"
    assert one(root, query, list(deleted)) == len(deleted)
    edits = Counter(each for each in week.ledger.edits if each not in deleted)
    assert {each: one(root, VERSIONS, each) for each in edits} == edits


def test_nobody_deadlocked(week: Week) -> None:
    """Any other error had ended the week; here those, too, that a function got over."""
    root = week.office.root
    assert len(week.ledger.transactions) == WORKERS
    assert set(week.ledger.refusals) <= {LATER, OBJECTS}
    root.execute("SELECT pg_stat_clear_snapshot()")
    assert one(root, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
