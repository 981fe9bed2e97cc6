"""The inbox against a model: applications record, mark, set aside, close; rows are loaded, deleted, moved, archived, restored.

After every step the threads' rows are what a recount of the messages gives, status and snooze what the rules say, and lists,
pages and counts what the model lists, in its order. GUESTCOMMS_EXAMPLES says how many runs are tried."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.archive import Archive
from tests.support.inbox import State, kept, recount
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tests.support.traffic import message, record_all

NUMBERS = st.integers(0, 5)
CHANNELS = st.sampled_from(["email", "sms", "whatsapp", "chat"])
STAFF = st.sampled_from([None, "mira", "jo"])
VIEWS = ("active", "open", "waiting", "closed", "snoozed", "all")
LIST = """
SELECT thread_id, unread_count, waits_for, waiting_since, last_message_id, is_archived, cursor FROM guestcomms.list_threads(
    status => %(status)s, assigned_to => %(assigned_to)s, channel => %(channel)s, wedding_id => %(wedding_id)s,
    is_unread => %(is_unread)s, sort => %(sort)s, max_rows => %(max_rows)s, after => %(after)s, guest_id => %(guest_id)s,
    is_unassigned => %(is_unassigned)s)
"""
PAGE = "SELECT message_id, is_archived, cursor FROM guestcomms.get_thread(%s, 3, %s, %s, include_archived => %s)"
INBOX = "SELECT now(), thread_id, guest_id, wedding_id, created_at FROM guestcomms.threads WHERE tenant_id = %s"


@dataclass
class Handled:
    """What staff did with a thread, as the rules say it stands."""

    status: str = "open"
    assigned_to: str | None = None
    snoozed_until: datetime | None = None


class Inbox(RuleBasedStateMachine):
    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    @initialize()
    def start(self) -> None:
        self.archive = Archive(self.store)
        self.root = self.archive.root
        self.app = self.archive.connect("app_login")
        self.archive.policy(older_than="10 days")
        self.guests = [self.archive.guest() for _ in range(3)]
        self.wedding: UUID = one(
            self.root,
            "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'W') RETURNING wedding_id",
            self.archive.tenant,
        )
        self.handled: dict[UUID, Handled] = {}
        self.owner: dict[UUID, UUID] = {}
        for number in range(4):
            self.open(number)

    def open(self, number: int) -> None:
        guest = self.guests[number % 3]
        thread = one(
            self.app,
            "SELECT guestcomms.open_thread(guest_id => %s, wedding_id => %s)",
            *(guest, self.wedding if number % 2 else None),
        )
        self.handled[thread] = Handled()
        self.owner[thread] = guest

    def thread(self, number: int) -> UUID:
        return list(self.handled)[number % len(self.handled)]

    # What applications do

    @rule(
        elements=st.lists(
            st.tuples(NUMBERS, st.booleans(), CHANNELS, st.sampled_from(["sent", "queued", "failed"])), min_size=1, max_size=4
        )
    )
    def record(self, elements: list[tuple[int, bool, str, str]]) -> None:
        batch = []
        for number, is_inbound, channel, status in elements:
            thread = self.thread(number)
            direction = "inbound" if is_inbound else "outbound"
            batch.append(
                message(
                    self.owner[thread],
                    thread_id=str(thread),
                    direction=direction,
                    channel=channel,
                    status="received" if is_inbound else status,
                )
            )
            handled = self.handled[thread]
            if is_inbound:
                handled.status, handled.snoozed_until = "open", None
        now = one(self.root, "SELECT now()")
        for element in batch:
            handled = self.handled[UUID(element["thread_id"])]
            if handled.snoozed_until and handled.snoozed_until <= now:
                handled.snoozed_until = None
        record_all(self.app, batch)

    @rule(number=NUMBERS, days=st.floats(2, 40), is_inbound=st.booleans())
    def record_history(self, number: int, days: float, is_inbound: bool) -> None:
        """Days old, which staff have seen when they closed the thread."""
        thread = self.thread(number)
        self.archive.write(
            self.owner[thread],
            thread,
            days,
            direction=["outbound", "inbound"][is_inbound],
            status=["sent", "received"][is_inbound],
        )

    @rule(number=NUMBERS)
    def mark_read(self, number: int) -> None:
        self.app.execute("SELECT guestcomms.mark_read(%s)", [self.thread(number)])

    @rule(number=NUMBERS)
    def mark_unread(self, number: int) -> None:
        self.app.execute("SELECT guestcomms.mark_unread(%s)", [self.thread(number)])

    @rule(number=NUMBERS, status=st.sampled_from(["open", "waiting", "closed"]))
    def set_status(self, number: int, status: str) -> None:
        thread = self.thread(number)
        assert one(self.app, "SELECT guestcomms.set_thread_status(%s, %s)", thread, status)
        self.handled[thread].status, self.handled[thread].snoozed_until = status, None

    @rule(number=NUMBERS, assigned_to=STAFF)
    def assign(self, number: int, assigned_to: str | None) -> None:
        thread = self.thread(number)
        self.app.execute("SELECT guestcomms.assign_thread(%s, %s)", [thread, assigned_to])
        self.handled[thread].assigned_to = assigned_to

    @rule(number=NUMBERS, hours=st.integers(1, 3))
    def snooze(self, number: int, hours: int) -> None:
        thread = self.thread(number)
        if self.handled[thread].status != "closed":
            until = one(self.root, "SELECT now() + make_interval(hours => %s)", hours)
            self.app.execute("SELECT guestcomms.snooze_thread(%s, %s)", [thread, until])
            self.handled[thread].snoozed_until = until

    @rule(number=NUMBERS)
    def come_back(self, number: int) -> None:
        """Its time is over."""
        thread = self.thread(number)
        if self.handled[thread].snoozed_until:
            query = """UPDATE guestcomms.threads SET snoozed_until = now() - interval '1 minute'
                WHERE thread_id = %s RETURNING snoozed_until"""
            self.handled[thread].snoozed_until = one(self.root, query, thread)

    # What happens to messages

    @rule(number=NUMBERS, status=st.sampled_from(["sent", "failed", "delivered"]))
    def send(self, number: int, status: str) -> None:
        query = "UPDATE guestcomms.messages SET status = %s WHERE thread_id = %s AND direction = 'outbound'"
        self.root.execute(query, [status, self.thread(number)])

    @rule(number=NUMBERS, chosen=st.integers(0, 9))
    def delete(self, number: int, chosen: int) -> None:
        messages = column(
            self.root, "SELECT message_id FROM guestcomms.messages WHERE thread_id = %s ORDER BY sent_at", self.thread(number)
        )
        if messages:
            self.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [messages[chosen % len(messages)]])

    @rule(number=NUMBERS, other=NUMBERS)
    def move(self, number: int, other: int) -> None:
        query = (
            "UPDATE guestcomms.messages SET thread_id = %s WHERE message_id = (SELECT message_id FROM guestcomms.messages"
            " WHERE thread_id = %s ORDER BY sent_at DESC LIMIT 1)"
        )
        self.root.execute(query, [self.thread(other), self.thread(number)])

    @rule()
    def run_archive(self) -> None:
        self.archive.archive()

    @rule(number=NUMBERS)
    def restore(self, number: int) -> None:
        one(self.root, "SELECT guestcomms.restore_messages(thread_id => %s, max_rows => 2)", self.thread(number))

    # What must hold

    @invariant()
    def rows_say_what_messages_say(self) -> None:
        assert kept(self.root, self.archive.tenant) == recount(self.root, self.archive.tenant)

    @invariant()
    def staff_find_what_they_did(self) -> None:
        found = rows(
            self.root,
            "SELECT thread_id, status, assigned_to, snoozed_until FROM guestcomms.threads WHERE tenant_id = %s",
            self.archive.tenant,
        )
        assert {thread: Handled(*values) for thread, *values in found} == self.handled

    def view_of(self, thread: UUID, now: datetime) -> set[str]:
        handled = self.handled[thread]
        if handled.snoozed_until and handled.snoozed_until > now:
            return {"snoozed", "all"}
        return {handled.status, "all"} | ({"active"} if handled.status != "closed" else set())

    def expected(self, now: datetime, filters: dict[str, Any], columns: dict[UUID, tuple[Any, ...]]) -> list[UUID]:
        states = recount(self.root, self.archive.tenant)
        found = []
        for thread, (guest, wedding, created_at) in columns.items():
            state, handled = states.get(thread, State()), self.handled[thread]
            waits = state.last_inbound_at is not None and (
                not state.last_outbound_at or state.last_inbound_at > state.last_outbound_at
            )
            is_listed = (
                filters["status"] in self.view_of(thread, now)
                and filters["assigned_to"] in (None, handled.assigned_to)
                and (not filters["is_unassigned"] or handled.assigned_to is None)
                and filters["channel"] in (None, state.last_channel)
                and filters["wedding_id"] in (None, wedding)
                and filters["guest_id"] in (None, guest)
                and filters["is_unread"] in (None, state.unread_count > 0)
                and (filters["sort"] != "waiting" or waits)
            )
            if is_listed:
                at: datetime = handled.snoozed_until or state.last_message_at or created_at
                if filters["sort"] == "waiting":
                    at = cast(datetime, state.waiting_since)
                found.append((state.unread_count == 0, at, thread))
        if filters["sort"] == "unread":
            return [thread for *_, thread in sorted(found, key=lambda f: (f[0], -f[1].timestamp(), -f[2].int))]
        ordered = sorted(found, key=lambda f: f[1:], reverse=filters["sort"] == "newest")
        return [thread for *_, thread in ordered]

    @rule(
        view=st.sampled_from(VIEWS),
        sort=st.sampled_from(["newest", "oldest", "waiting", "unread"]),
        assigned_to=STAFF,
        channel=st.one_of(st.none(), CHANNELS),
        flags=st.tuples(*[st.sampled_from([None, None, True, False])] * 4),
        max_rows=st.integers(1, 3),
    )
    def list(
        self, view: str, sort: str, assigned_to: str | None, channel: str | None, flags: tuple[bool | None, ...], max_rows: int
    ) -> None:
        filters: dict[str, Any] = {
            "status": view,
            "sort": sort,
            "assigned_to": assigned_to,
            "channel": channel,
            "is_unread": flags[0],
            "is_unassigned": bool(flags[1]) and assigned_to is None,
            "wedding_id": self.wedding if flags[2] else None,
            "guest_id": self.guests[0] if flags[3] else None,
            "max_rows": max_rows,
        }
        inbox = rows(self.root, INBOX, self.archive.tenant)
        wanted = self.expected(inbox[0][0], filters, {row[1]: row[2:] for row in inbox})
        found, after = [], None
        while page := self.app.execute(LIST, filters | {"after": after}).fetchall():
            found += page
            after = page[-1][-1]
        assert [row[0] for row in found] == wanted
        states = recount(self.root, self.archive.tenant)
        hot = set(column(self.root, "SELECT message_id FROM guestcomms.messages"))
        for thread, unread, waits_for, since, last, is_archived, _ in found:
            state = states.get(thread, State())
            assert (unread, since, last) == (state.unread_count, state.waiting_since, state.last_message_id)
            assert is_archived == (last is not None and last not in hot)
            if state.last_inbound_at and (not state.last_outbound_at or state.last_inbound_at > state.last_outbound_at):
                assert waits_for == "us"
            else:
                assert waits_for == ("guest" if state.last_outbound_at else None)

    @rule(assigned_to=STAFF, most=st.sampled_from([1, 2, 1000]), is_of_wedding=st.booleans())
    def count(self, assigned_to: str | None, most: int, is_of_wedding: bool) -> None:
        wedding = self.wedding if is_of_wedding else None
        inbox = rows(self.root, INBOX, self.archive.tenant)
        columns = {row[1]: row[2:] for row in inbox}
        plain = {
            "assigned_to": assigned_to,
            "is_unassigned": False,
            "channel": None,
            "wedding_id": wedding,
            "guest_id": None,
            "is_unread": None,
        }
        variants: dict[str, dict[str, Any]] = {
            **{view: {"status": view} for view in ("active", "open", "waiting", "snoozed")},
            "unread": {"status": "active", "is_unread": True},
            "guest_waits": {"status": "active", "sort": "waiting"},
            "unassigned": {"status": "active", "is_unassigned": True},
        }
        counts = "SELECT * FROM guestcomms.get_inbox_counts(%s, %s, %s)"
        for view, count, is_capped in rows(self.app, counts, assigned_to, most, wedding):
            number = len(self.expected(inbox[0][0], plain | {"sort": "newest"} | variants.pop(view), columns))
            assert (count, is_capped) == (min(number, most), number > most)
        assert not variants

    @rule(number=NUMBERS, sort=st.sampled_from(["newest", "oldest"]), with_archive=st.booleans())
    def read(self, number: int, sort: str, with_archive: bool) -> None:
        thread = self.thread(number)
        hot = rows(self.root, "SELECT sent_at, message_id, false FROM guestcomms.messages WHERE thread_id = %s", thread)
        query = "SELECT sent_at, message_id, true FROM guestcomms_internal.archived_messages(%s) WHERE thread_id = %s"
        cold = rows(self.root, query, self.archive.tenant, thread) if with_archive else []
        wanted = [row[1:] for row in sorted(hot + cold, reverse=sort == "newest")]
        found, before = [], None
        while page := rows(self.app, PAGE, thread, before, sort, with_archive):
            found += [row[:2] for row in page]
            before = page[-1][2]
        assert found == wanted

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            assert one(self.root, "SELECT corrected_count FROM guestcomms.rebuild_thread_states()") == 0
            self.archive.__exit__()


def test_the_inbox_is_what_the_model_is(store: Store) -> None:
    def machine() -> Inbox:
        return Inbox(store)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        cast(Any, machine),
        settings=settings(
            deadline=None,
            max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "40")),
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
