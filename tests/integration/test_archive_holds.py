"""Legal holds: what they cover, for how long, who places and ends them, and that it is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.queries import one, refused, rows
from tests.support.store import Store

PLACE = "SELECT guestcomms.place_hold(%s, 'file 12/26', %s, %s)"
RELEASE = "SELECT guestcomms.release_hold(%s)"
HELD = "SELECT guestcomms_internal.is_held(%s, %s, %s, %s, %s, %s)"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


def hold(archive: Archive, scope: object, until: object = None, blocks: bool = True) -> UUID:
    found: UUID = one(archive.root, PLACE, Jsonb(scope), until, blocks)
    return found


def write_four(archive: Archive) -> dict[str, Any]:
    """Messages of two guests, two conversations of the first, one of which is about a wedding; days 300, 290, 280, 270."""
    query = "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'W') RETURNING wedding_id"
    wedding = one(archive.root, query, archive.tenant)
    first, second = archive.guest(), archive.guest()
    talk, other, third = archive.thread(first), archive.thread(first), archive.thread(second)
    return {
        "guest_id": str(first),
        "thread_id": str(other),
        "wedding_id": str(wedding),
        "messages": [
            archive.write(first, talk, 300),
            archive.write(first, other, 290),
            archive.write(first, talk, 280, wedding_id=wedding),
            archive.write(second, third, 270, wedding_id=wedding),
        ],
    }


@pytest.mark.parametrize(
    ("names", "since", "until", "covered"),
    [
        ((), None, None, [0, 1, 2, 3]),
        (("guest_id",), None, None, [0, 1, 2]),
        (("thread_id",), None, None, [1]),
        (("wedding_id",), None, None, [2, 3]),
        (("guest_id", "wedding_id"), None, None, [2]),
        (("thread_id", "wedding_id"), None, None, []),
        ((), 290, None, [1, 2, 3]),
        ((), None, 290, [0]),
        (("guest_id",), 295, 275, [1, 2]),
    ],
)
def test_a_hold_covers_what_its_scope_says(
    archive: Archive, names: tuple[str, ...], since: float | None, until: float | None, covered: list[int]
) -> None:
    told = write_four(archive)
    scope = {name: told[name] for name in names}
    if since is not None:
        scope["since"] = archive.ago(since).isoformat()
    if until is not None:
        scope["until"] = archive.ago(until).isoformat()
    hold_id = hold(archive, scope)
    archive.archive()
    messages = told["messages"]
    assert archive.hot() == {messages[number] for number in covered}
    assert archive.archived() == set(messages) - archive.hot()
    assert one(archive.root, "SELECT sum(message_count)::int FROM guestcomms.preview_archive()") == 0
    assert one(archive.root, RELEASE, hold_id) is True
    archive.archive()
    assert archive.archived() == set(messages)


def test_a_hold_that_does_not_block_is_about_erasure_only(archive: Archive) -> None:
    told = write_four(archive)
    hold(archive, {}, blocks=False)
    query = "SELECT guest_id, thread_id, wedding_id, sent_at FROM guestcomms.messages WHERE tenant_id = %s"
    for row in rows(archive.root, query, archive.tenant):
        assert one(archive.root, HELD, archive.tenant, *row, False) is True
        assert one(archive.root, HELD, archive.tenant, *row, True) is False
    archive.archive()
    assert archive.archived() == set(told["messages"])


def test_holds_end_by_themselves(archive: Archive) -> None:
    messages = archive.write_many(2)
    hold_id = hold(archive, {}, "infinity")
    archive.archive()
    assert archive.hot() == set(messages)
    archive.root.execute("UPDATE guestcomms.legal_holds SET expires_at = now() WHERE hold_id = %s", [hold_id])
    query = "SELECT is_in_force, released_at FROM guestcomms.list_holds(%s)"
    assert rows(archive.root, query, False) == []
    assert rows(archive.root, query, True) == [(False, None)]
    archive.archive()
    assert archive.hot() == set()


def test_the_last_of_two_holds_counts(archive: Archive) -> None:
    messages = archive.write_many(2)
    first, second = hold(archive, {}), hold(archive, {})
    assert one(archive.root, RELEASE, first) is True
    archive.archive()
    assert archive.hot() == set(messages)
    assert one(archive.root, RELEASE, second) is True
    archive.archive()
    assert archive.hot() == set()


def test_holds_of_others_do_not_count(archive: Archive) -> None:
    archive.write_many(1)
    with Archive(archive.store) as other:
        hold_id = hold(other, {})
        archive.archive()
        assert archive.hot() == set()
        assert rows(archive.root, "SELECT * FROM guestcomms.list_holds(true)") == []
        with refused("42704"):
            archive.root.execute(RELEASE, [hold_id])


def test_what_is_listed_of_a_hold(archive: Archive) -> None:
    told = write_four(archive)
    scope = {"guest_id": told["guest_id"], "until": "2026-05-01T00:00:00+00:00"}
    archive.root.execute("SELECT guestcomms.add_member('privacy_login')")
    with archive.connect("privacy_login") as privacy:
        hold_id = one(privacy, PLACE, Jsonb(scope), None, False)
    query = (
        "SELECT hold_id, scope ->> 'guest_id', (scope ->> 'until')::timestamptz = '2026-05-01 00:00+00', scope ? 'since', reason,"
        " blocks_archiving, is_in_force, placed_by, released_by FROM guestcomms.list_holds(true)"
    )
    common = (hold_id, told["guest_id"], True, False, "file 12/26", False)
    assert rows(archive.root, query) == [(*common, True, "privacy_login", None)]
    with archive.connect("operator_login") as operator:
        assert [one(operator, RELEASE, hold_id), one(operator, RELEASE, hold_id)] == [True, False]
    assert rows(archive.root, query) == [(*common, False, "privacy_login", "operator_login")]
    assert rows(archive.root, "SELECT * FROM guestcomms.list_holds()") == []


def test_holds_are_written_down(archive: Archive) -> None:
    hold_id = hold(archive, {"since": "2020-01-01T00:00:00Z"})
    archive.root.execute(RELEASE, [hold_id])
    archive.root.execute(RELEASE, [hold_id])
    query = (
        "SELECT action, object FROM guestcomms.audit_entries WHERE tenant_id = %s AND action LIKE '%%hold' ORDER BY occurred_at"
    )
    found = rows(archive.root, query, archive.tenant)
    assert found == [("place_hold", f"hold {hold_id}"), ("release_hold", f"hold {hold_id}")]


@pytest.mark.parametrize(
    ("scope", "states"),
    [
        (None, ("22023",)),
        ("[]", ("22023",)),
        ("null", ("22023",)),
        ('"x"', ("22023",)),
        ('{"guest": "x"}', ("22023",)),
        ('{"guest_id": "x"}', ("22P02", "22023")),
        ('{"since": "soon"}', ("22007", "22023")),
        (json.dumps({"guest_id": str(uuid4())}), ("23503",)),
        (json.dumps({"thread_id": str(uuid4())}), ("23503",)),
        (json.dumps({"wedding_id": str(uuid4())}), ("23503",)),
        ('{"since": "2026-02-01", "until": "2026-01-01"}', ("23514", "22023")),
    ],
)
def test_bad_scopes_are_refused(archive: Archive, scope: str | None, states: tuple[str, ...]) -> None:
    with refused(*states):
        archive.root.execute(PLACE, [scope, None, True])
    assert rows(archive.root, "SELECT * FROM guestcomms.list_holds(true)") == []


@pytest.mark.parametrize("reason", ["", None, "x" * 2001])
def test_a_hold_has_a_reason(archive: Archive, reason: str | None) -> None:
    with refused("22023"):
        archive.root.execute("SELECT guestcomms.place_hold('{}', %s)", [reason])


def test_a_hold_ends_in_the_future(archive: Archive) -> None:
    with refused("22023"):
        hold(archive, {}, archive.now)


def test_a_guest_of_another_tenant_cannot_be_held(archive: Archive) -> None:
    with Archive(archive.store) as other, refused("23503"):
        hold(archive, {"guest_id": str(other.guest())})


@pytest.mark.parametrize("call", ["place_hold('{}', 'r')", "release_hold(gen_random_uuid())", "list_holds()"])
def test_who_may_hold(archive: Archive, call: str) -> None:
    statement = f"SELECT * FROM guestcomms.{call}".encode()
    for login in ("app_login", "analyst_login", "nobody_login"):
        with archive.store.connect(login) as stranger, refused("42501"):
            stranger.execute(statement)
    for login in ("privacy_login", "operator_login"):
        with archive.store.connect(login) as session, refused("GC001"):
            session.execute(statement)
