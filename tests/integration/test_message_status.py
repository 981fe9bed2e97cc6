"""The status of a message: the highest of what was reported, whatever the order, however often, however many report at once."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.outbox import Outbox, open_outbox
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record, record_all

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "80"))
RANKS = ["queued", "cancelled", "sent", "failed", "delivered", "read"]
SAYS = {kind: kind for kind in RANKS} | {"bounced": "failed"}
SAYS |= dict.fromkeys(("opened", "clicked", "replied", "complained", "unsubscribed"), "delivered")
RECORD = "SELECT * FROM guestcomms.record_events(%s)"
STATUSES = "SELECT message_id, status FROM guestcomms.messages WHERE message_id = ANY (%s)"


@pytest.fixture(scope="module")
def outbox(store: Store) -> Iterator[Outbox]:
    with open_outbox(store) as outbox:
        yield outbox


def sent(outbox: Outbox, count: int = 1, **values: str) -> list[UUID]:
    guest = add_guest(outbox.root)
    return record_all(outbox.app, [message(guest, **({"direction": "outbound"} | values)) for _ in range(count)])


def report(outbox: Outbox, *events: dict[str, Any], by: Any = None) -> None:
    rows(by or outbox.app, RECORD, Jsonb([each | {"message_id": str(each["message_id"])} for each in events]))


REPORTS = st.lists(st.tuples(st.sampled_from(sorted(SAYS)), st.booleans(), st.integers(0, 50)), max_size=8)


def expected(first: str, reports: list[tuple[str, bool, int]]) -> str:
    """By the table of the documentation; a machine that reads has not read."""
    said = [first, *("delivered" if kind == "read" and is_machine else SAYS[kind] for kind, is_machine, _ in reports)]
    return max(said, key=RANKS.index)


@settings(max_examples=EXAMPLES, deadline=None)
@given(first=st.sampled_from(RANKS), reports=REPORTS, chance=st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_at_the_same(
    outbox: Outbox, first: str, reports: list[tuple[str, bool, int]], chance: random.Random
) -> None:
    """Three messages of which the same is reported: one event by one, shuffled and repeated in two batches, all at once.
    Seen after every step, no status is below the one before."""
    messages = sent(outbox, 3, status=first)
    began = one(outbox.root, "SELECT now()") - timedelta(days=1)

    def event(message: UUID, number: int) -> dict[str, Any]:
        kind, is_machine, minutes = reports[number]
        at = (began + timedelta(minutes=minutes)).isoformat()
        said = {"kind": kind, "is_machine": is_machine, "occurred_at": at, "event_external_id": f"{message} {number}"}
        return {"message_id": message} | said

    numbers = list(range(len(reports)))
    rank = RANKS.index(first)
    for number in numbers:
        report(outbox, event(messages[0], number))
        now = RANKS.index(outbox.status(messages[0]))
        assert now >= rank
        rank = now
    mixed = numbers + chance.choices(numbers, k=3) if numbers else []
    chance.shuffle(mixed)
    middle = chance.randint(0, len(mixed))
    for part in (mixed[:middle], mixed[middle:]):
        report(outbox, *(event(messages[1], number) for number in part))
    report(outbox, *(event(messages[2], number) for number in reversed(numbers)))

    found = rows(outbox.root, "SELECT status, read_at FROM guestcomms.messages WHERE message_id = ANY (%s)", messages)
    reads = [minutes for kind, is_machine, minutes in reports if kind == "read" and not is_machine]
    read_at = began + timedelta(minutes=min(reads)) if reads else None
    assert found == [(expected(first, reports), read_at)] * 3


def test_every_pair_of_reports(outbox: Outbox) -> None:
    """Both ways round."""
    pairs = list(itertools.product(SAYS, repeat=2))
    messages = sent(outbox, len(pairs), status="queued")
    for place in range(2):
        report(outbox, *({"message_id": each, "kind": pair[place]} for each, pair in zip(messages, pairs, strict=True)))
    found: dict[UUID, str] = dict(rows(outbox.root, STATUSES, messages))
    wrong = {
        pair: found[each]
        for each, pair in zip(messages, pairs, strict=True)
        if found[each] != max((SAYS[kind] for kind in pair), key=RANKS.index)
    }
    assert wrong == {}


def test_a_message_of_a_guest_stays_received(outbox: Outbox) -> None:
    (received,) = sent(outbox, direction="inbound")
    report(outbox, *({"message_id": received, "kind": kind} for kind in SAYS))
    query = "SELECT status, read_at FROM guestcomms.messages WHERE message_id = %s"
    assert rows(outbox.root, query, received) == [("received", None)]


def test_a_repeat_with_another_kind_is_a_repeat(outbox: Outbox) -> None:
    (each,) = sent(outbox)
    for kind in ("delivered", "read"):
        report(outbox, {"message_id": each, "kind": kind, "event_external_id": f"e {each}"})
    assert outbox.status(each) == "delivered"


def test_a_refused_event_raises_nothing(outbox: Outbox) -> None:
    (each,) = sent(outbox)
    with refused("22023"):
        report(outbox, {"message_id": each, "kind": "read"}, {"message_id": each, "kind": "eaten"})
    skip = "SELECT error_code FROM guestcomms.record_events(%s, on_error => 'skip')"
    batch = [{"message_id": str(each), "kind": kind} for kind in ("delivered", "eaten")]
    assert column(outbox.app, skip, Jsonb(batch)) == [None, "22023"]
    assert outbox.status(each) == "delivered"


def test_what_does_not_rise_is_not_written_anew(outbox: Outbox) -> None:
    (each,) = sent(outbox)
    version = "SELECT ctid::text FROM guestcomms.messages WHERE message_id = %s"
    report(outbox, {"message_id": each, "kind": "delivered"})
    before = one(outbox.root, version, each)
    report(outbox, {"message_id": each, "kind": "sent"}, {"message_id": each, "kind": "opened"})
    assert one(outbox.root, version, each) == before


def test_an_archived_messages_status_stays(outbox: Outbox) -> None:
    """The event is kept with it."""
    guest = outbox.office.guest()
    old = outbox.office.write(guest, outbox.office.thread(guest), direction="outbound", status="sent")
    outbox.office.policy()
    outbox.office.archive()
    report(outbox, {"message_id": old, "kind": "read"})
    read = "SELECT status, events -> 0 ->> 'kind' FROM guestcomms.read_archived(%s)"
    assert rows(outbox.app, read, old) == [("sent", "read")]


def test_many_report_at_once_and_none_deadlocks(outbox: Outbox) -> None:
    """Overlapping batches, each in an order of its own."""
    messages = sent(outbox, 40)
    kinds = ["sent", "delivered", "failed", "opened", "read"]

    def work(number: int) -> None:
        chance = random.Random(number)
        app = outbox.office.connect("app_login")
        for _ in range(6):
            batch = chance.sample(messages, 25)
            report(outbox, *({"message_id": each, "kind": chance.choice(kinds[:4])} for each in batch), by=app)
        report(outbox, *({"message_id": each, "kind": "read"} for each in chance.sample(messages, 40)), by=app)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert set(dict(rows(outbox.root, STATUSES, messages)).values()) == {"read"}


def test_statuses_are_searched_and_counted(outbox: Outbox) -> None:
    each = record(outbox.app, add_guest(outbox.root), "the harpist is confirmed", direction="outbound")
    report(outbox, {"message_id": each, "kind": "bounced"})
    assert column(outbox.app, "SELECT message_id FROM guestcomms.search_messages('harpist status:failed')") == [each]
