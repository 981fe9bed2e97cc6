"""What a policy names is what leaves, no more and no less, by a recount; GUESTCOMMS_EXAMPLES says how many are tried."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archive import RUN, Archive
from tests.support.queries import one, refused, rows
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "25"))
many = settings(deadline=None, max_examples=EXAMPLES)
CHANNELS = ("email", "sms", "whatsapp", "chat")
PREVIEW = "SELECT policy_name, message_count, event_count, guest_count, oldest_at, newest_at FROM guestcomms.preview_archive()"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture(scope="module")
def shared(store: Store) -> Iterator[Archive]:
    """One for all examples, each of which is rolled back."""
    with Archive(store) as archive:
        yield archive


@dataclass(frozen=True)
class Told:
    """A message as a test wrote it; days are halves, criteria whole ones, so that no boundary is hit."""

    guest: int
    thread: int
    days: float
    channel: str
    is_queued: bool
    events: int


@dataclass(frozen=True)
class Policy:
    older_than: int | None
    inactive_for: int | None
    channels: tuple[str, ...] | None
    keep_last: int

    def arguments(self) -> dict[str, Any]:
        return {
            "older_than": None if self.older_than is None else f"{self.older_than} days",
            "inactive_for": None if self.inactive_for is None else f"{self.inactive_for} days",
            "channels": None if self.channels is None else list(self.channels),
            "keep_last": self.keep_last,
        }

    def moves(self, told: dict[UUID, Told]) -> set[UUID]:
        """The recount: what of these messages the policy names."""
        found = set()
        for message, each in told.items():
            talk = [(other.days, identifier) for identifier, other in told.items() if other.thread == each.thread]
            newer = [(days, identifier) for days, identifier in talk if days < each.days]
            newer += [(days, identifier) for days, identifier in talk if days == each.days and identifier > message]
            if (
                not each.is_queued
                and (self.older_than is None or each.days > self.older_than)
                and (self.inactive_for is None or min(talk)[0] > self.inactive_for)
                and (self.channels is None or each.channel in self.channels)
                and len(newer) >= self.keep_last
            ):
                found.add(message)
        return found


TOLD = st.builds(
    Told,
    guest=st.integers(0, 1),
    thread=st.integers(0, 1),
    days=st.integers(1, 60).map(lambda days: days + 0.5),
    channel=st.sampled_from(CHANNELS),
    is_queued=st.sampled_from([False] * 5 + [True]),
    events=st.integers(0, 2),
).map(
    # What is queued has no events: with the first it is queued no more.
    lambda each: Told(
        each.guest, 2 * each.guest + each.thread, each.days, each.channel, each.is_queued, 0 if each.is_queued else each.events
    )
)
DAYS = st.none() | st.integers(0, 60)
POLICIES = st.builds(
    Policy,
    older_than=DAYS,
    inactive_for=DAYS,
    channels=st.none() | st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True).map(tuple),
    keep_last=st.integers(0, 3),
).filter(lambda policy: policy.older_than is not None or policy.inactive_for is not None)


def tell(archive: Archive, messages: list[Told]) -> dict[UUID, Told]:
    guests = [archive.guest() for _ in range(2)]
    threads = [archive.thread(guests[number // 2]) for number in range(4)]
    told = {}
    for each in messages:
        status = "queued" if each.is_queued else "sent"
        place = (guests[each.guest], threads[each.thread], each.days)
        message = archive.write(*place, channel=each.channel, status=status, direction="outbound")
        for _ in range(each.events):
            archive.event(message, occurred_at=archive.ago(0.25))
        told[message] = each
    return told


def preview(archive: Archive) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in rows(archive.root, PREVIEW)}


def summary(archive: Archive, told: dict[UUID, Told], moved: set[UUID]) -> tuple[Any, ...]:
    """What preview_archive() says of so many messages."""
    days = [told[message].days for message in moved]
    ends = (archive.ago(max(days)), archive.ago(min(days))) if days else (None, None)
    return (len(moved), sum(told[each].events for each in moved), len({told[each].guest for each in moved}), *ends)


@many
@given(messages=st.lists(TOLD, max_size=14), policy=POLICIES, max_rows=st.sampled_from([1, 2, 3, 5, 1000]))
def test_what_leaves_is_what_a_recount_says(shared: Archive, messages: list[Told], policy: Policy, max_rows: int) -> None:
    with shared.root.transaction(force_rollback=True):
        told = tell(shared, messages)
        shared.policy(**policy.arguments())
        expected = policy.moves(told)
        assert preview(shared) == {"old": summary(shared, told, expected)}
        runs = shared.archive(max_rows)
        assert shared.archived() == expected
        assert shared.hot() == set(told) - expected
        assert all(run["message_count"] <= max_rows for run in runs)
        assert sum(run["message_count"] for run in runs) == len(expected)
        assert sum(run["event_count"] for run in runs) == sum(told[message].events for message in expected)
        assert preview(shared) == {"old": (0, 0, 0, None, None)}


@many
@given(
    messages=st.lists(TOLD, max_size=14),
    ages=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    channels=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True).map(tuple),
    max_rows=st.sampled_from([1, 3, 1000]),
)
def test_two_policies_move_what_either_names(
    shared: Archive, messages: list[Told], ages: tuple[int, int], channels: tuple[str, ...], max_rows: int
) -> None:
    first, second = Policy(ages[0], None, channels, 0), Policy(ages[1], None, None, 0)
    with shared.root.transaction(force_rollback=True):
        told = tell(shared, messages)
        for name, policy in (("a", first), ("b", second)):
            shared.policy(name, **policy.arguments())
        by_first, by_either = first.moves(told), first.moves(told) | second.moves(told)
        # What the first moves is not counted again.
        assert preview(shared) == {
            "a": summary(shared, told, by_first),
            "b": summary(shared, told, by_either - by_first),
        }
        shared.archive(max_rows)
        assert shared.archived() == by_either


def test_a_conversation_that_goes_on_stays(archive: Archive) -> None:
    guest = archive.guest()
    quiet, lively = archive.thread(guest), archive.thread(guest)
    ended = [archive.write(guest, quiet, days) for days in (60, 40)]
    going_on = [archive.write(guest, lively, days) for days in (60, 40, 10)]
    archive.policy(inactive_for="30 days")
    assert preview(archive)["old"][0] == 2
    archive.archive()
    assert (archive.archived(), archive.hot()) == (set(ended), set(going_on))


def test_the_newest_of_each_conversation_stay(archive: Archive) -> None:
    guest = archive.guest()
    threads = [archive.thread(guest) for _ in range(3)]
    told = [
        [archive.write(guest, thread, 60 - number) for number in range(size)]
        for thread, size in zip(threads, (1, 2, 5), strict=True)
    ]
    archive.policy(older_than="1 day", keep_last=2)
    archive.archive(max_rows=1)
    assert archive.archived() == set(told[2][:3])
    # Nor do later sweeps take more.
    archive.archive()
    assert archive.archived() == set(told[2][:3])


def test_a_share_of_bytes_takes_the_oldest(archive: Archive) -> None:
    messages = archive.write_many(40, 60, body="x" * 2000)
    archive.root.execute("ANALYZE guestcomms.messages, guestcomms.message_events")
    size = one(archive.root, "SELECT byte_count FROM guestcomms_internal.hot_size(%s)", archive.tenant)
    archive.policy(larger_than=2 * size)
    assert preview(archive)["old"][0] == 0
    assert archive.archive() == []
    archive.policy(larger_than=size // 2)
    count = preview(archive)["old"][0]
    assert 15 <= count <= 25
    archive.archive()
    assert archive.archived() == set(messages[:count])
    archive.policy(larger_than=0)
    archive.archive()
    assert archive.hot() == set()


def test_a_share_of_bytes_is_taken_once(archive: Archive) -> None:
    """What was moved counts no more, even while its files are as large as before."""
    archive.write_many(200, 60, body="x" * 2000)
    vacuum = "VACUUM (ANALYZE, TRUNCATE false) guestcomms.messages, guestcomms.message_events"
    archive.root.execute(vacuum.encode())
    size = one(archive.root, "SELECT byte_count FROM guestcomms_internal.hot_size(%s)", archive.tenant)
    archive.policy(larger_than=size // 2)
    archive.archive()
    left = archive.hot()
    assert 40 <= len(left) <= 160
    for _ in range(2):
        archive.root.execute(vacuum.encode())
        assert archive.archive() == []
    assert archive.hot() == left


def test_what_another_policy_moved_was_still_written(archive: Archive) -> None:
    """A conversation does not end because its newest messages are archived."""
    guest = archive.guest()
    thread = archive.thread(guest)
    messages = [archive.write(guest, thread, days, channel=channel) for days, channel in ((60, "email"), (5, "sms"))]
    archive.policy("a", older_than="1 day", channels=["sms"])
    archive.policy("b", inactive_for="30 days")
    assert [row[0] for row in preview(archive).values()] == [1, 0]
    archive.archive()
    assert archive.hot() == {messages[0]}


def test_a_share_of_bytes_and_an_age_must_both_hold(archive: Archive) -> None:
    old, new = archive.write_many(3, 60), archive.write_many(3, 10)
    archive.policy(larger_than=0, older_than="30 days")
    archive.archive()
    assert (archive.archived(), archive.hot()) == (set(old), set(new))


def test_queued_messages_stay_until_they_are_sent(archive: Archive) -> None:
    (message,) = archive.write_many(1, status="queued", direction="outbound")
    archive.policy()
    assert archive.archive() == []
    archive.root.execute("UPDATE guestcomms.messages SET status = 'sent' WHERE tenant_id = %s", [archive.tenant])
    archive.archive()
    assert archive.archived() == {message}


def test_a_message_that_somebody_is_at_work_on_waits(archive: Archive) -> None:
    first, second, third = archive.write_many(3)
    archive.policy()
    app = archive.connect("app_login", autocommit=False)
    event = one(app, "SELECT guestcomms.record_event(%s, 'opened', %s)", second, archive.ago(200))
    archive.archive()
    assert (archive.archived(), archive.hot()) == ({first, third}, {second})
    app.commit()
    archive.archive()
    assert archive.archived() == {first, second, third}
    found = archive.read(second)
    assert found is not None
    assert [each["event_id"] for each in found["events"]] == [str(event)]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"keep_last": 3},
        {"older_than": "-1 days"},
        {"inactive_for": "-1 days"},
        {"larger_than": -1},
        {"older_than": "1 day", "keep_last": -1},
        {"older_than": "1 day", "keep_last": 1001},
        {"older_than": "1 day", "keep_last": None},
        {"older_than": "1 day", "codec": "lz4"},
        {"older_than": "1 day", "codec": None},
        {"older_than": "1 day", "channels": ["fax"]},
        {"older_than": "1 day", "channels": []},
        {"older_than": "1 day", "channels": ["sms", None]},
    ],
    ids=str,
)
def test_bad_policies_are_refused(archive: Archive, values: dict[str, object]) -> None:
    with refused("22023"):
        archive.policy("bad", **({"older_than": None} | values))
    assert rows(archive.root, "SELECT * FROM guestcomms.list_archive_policies()") == []


@pytest.mark.parametrize("name", ["", "x" * 201, None])
def test_a_policy_has_a_name(archive: Archive, name: str) -> None:
    with refused("22023"):
        archive.policy(name)


@pytest.mark.parametrize("max_rows", [0, -1, 100_001, None])
def test_batches_have_a_size(archive: Archive, max_rows: int) -> None:
    with refused("22023"):
        archive.root.execute(RUN, [max_rows])


def test_a_name_that_is_there_is_given_the_new_values(archive: Archive) -> None:
    old, new = archive.write_many(2, 60), archive.write_many(2, 10)
    archive.policy(older_than="30 days", channels=["email"], keep_last=1, codec="gzip")
    archive.run(1)
    assert len(archive.archived()) == 1
    archive.policy(older_than="1 day")
    query = "SELECT name, older_than::text, channels, keep_last, codec FROM guestcomms.list_archive_policies()"
    assert rows(archive.root, query) == [("old", "1 day", None, 0, "auto")]
    archive.archive(1)
    assert archive.archived() == {*old, *new}


def test_what_is_off_or_removed_moves_nothing(archive: Archive) -> None:
    archive.write_many(2)
    archive.policy(older_than="1 day", is_enabled=False)
    assert preview(archive)["old"][0] == 2
    assert archive.archive() == []
    archive.policy()
    remove = "SELECT guestcomms.remove_archive_policy('old')"
    assert [one(archive.root, remove), one(archive.root, remove)] == [True, False]
    assert archive.archive() == []
    assert preview(archive) == {}


CALLS = (
    "guestcomms.add_archive_policy('p', older_than => '1 day')",
    "guestcomms.remove_archive_policy('p')",
    "guestcomms.preview_archive()",
    "guestcomms.list_archive_policies()",
    "guestcomms.list_archive_runs()",
    "guestcomms.undo_archive(gen_random_uuid())",
)


@pytest.mark.parametrize("call", CALLS)
def test_policies_are_of_a_tenant_and_for_operators(archive: Archive, call: str) -> None:
    with archive.store.connect("operator_login") as operator, refused("GC001"):
        operator.execute(f"SELECT * FROM {call}".encode())
    for login in ("app_login", "analyst_login", "nobody_login"):
        with archive.store.connect(login) as stranger, refused("42501"):
            stranger.execute(f"SELECT * FROM {call}".encode())
