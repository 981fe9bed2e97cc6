"""A hold turns an erasure into a restriction; what it keeps goes by itself when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.erasure import WrittenGuest, erase, finish, progress, receipt, written_guest
from tests.support.exports import audited
from tests.support.queries import one, refused, rows
from tests.support.store import Store
from tests.support.waiting import wait_until_waiting

GUEST = "SELECT display_name, restricted_at IS NOT NULL, erased_at IS NOT NULL FROM guestcomms.guests WHERE guest_id = %s"
HELD = (0, 2)


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy(older_than="100 days")
        yield archive


@pytest.fixture
def guest(archive: Archive) -> WrittenGuest:
    return written_guest(archive, "Zoë Kaya", "zoe@example.com")


def hold(archive: Archive, scope: dict[str, object], until: object = None) -> UUID:
    """On what was sent in that hour."""
    found: UUID = one(archive.root, "SELECT guestcomms.place_hold(%s, 'file 12/26', %s)", Jsonb(scope), until)
    return found


def hour(archive: Archive, days: float) -> dict[str, object]:
    since = archive.ago(days) - timedelta(minutes=5)
    return {"since": since.isoformat(), "until": (since + timedelta(minutes=10)).isoformat()}


def test_what_is_held_stays_and_goes_with_the_release(archive: Archive, guest: WrittenGuest) -> None:
    holds = [hold(archive, hour(archive, days)) for days in (300, 20)]
    preview = "SELECT subject, held_count FROM guestcomms.preview_erasure(%s) WHERE held_count > 0 AND kind = 'place' ORDER BY 1"
    assert rows(archive.root, preview, guest.guest_id) == [("guestcomms.archive_segments", 1), ("guestcomms.messages", 1)]
    erasure = erase(archive.root, guest.guest_id)
    told = progress(archive.root, erasure)
    assert (told["status"], told["held_count"], told["message_count"]) == ("held", 2, 4)
    assert set(told["hold_ids"]) == set(holds)
    assert (archive.hot(), archive.archived()) == ({guest.hot[0]}, {guest.archived[0]})
    read = archive.read(guest.archived[0])
    assert read is not None
    assert "Kaya" in read["body"]
    # Whose it is stays with it, and is not processed otherwise.
    assert rows(archive.root, GUEST, guest.guest_id) == [("Zoë Kaya", True, False)]
    assert finish(archive.root) == 0
    assert audited(archive, "hold_erasure") == 1
    archive.root.execute("SELECT guestcomms.release_hold(%s)", [holds[0]])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "held"
    assert (archive.hot(), archive.archived()) == ({guest.hot[0]}, set())
    archive.root.execute("SELECT guestcomms.release_hold(%s)", [holds[1]])
    assert rows(
        archive.connect("operator_login"),
        "SELECT requested_at IS NOT NULL FROM guestcomms.list_jobs() WHERE job_name = 'erase_guests'",
    ) == [(True,)]
    finish(archive.root)
    told = progress(archive.root, erasure)
    assert (told["status"], told["held_count"], told["message_count"]) == ("done", 0, 6)
    assert archive.hot() == archive.archived() == set()
    assert rows(archive.root, GUEST, guest.guest_id) == [(None, False, True)]
    assert {place for place, row in receipt(archive.root, erasure).items() if row["left_count"]} == set()


def test_a_hold_that_expires_is_noticed(archive: Archive, guest: WrittenGuest) -> None:
    hold(archive, {"guest_id": str(guest.guest_id)}, archive.now + timedelta(days=1))
    erasure = erase(archive.root, guest.guest_id)
    assert progress(archive.root, erasure)["status"] == "held"
    assert len(archive.hot() | archive.archived()) == 6
    archive.root.execute("UPDATE guestcomms.legal_holds SET expires_at = now() WHERE tenant_id = %s", [archive.tenant])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"


def test_a_hold_in_the_middle_keeps_the_rest(archive: Archive, guest: WrittenGuest) -> None:
    for name, value in (("privacy.erase_at_once", "0"), ("privacy.erase_batch_messages", "1")):
        archive.root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    erasure = erase(archive.root, guest.guest_id)
    while len(archive.hot()) == 3:
        assert one(archive.root, "SELECT guestcomms_internal.erase_batch()")
    kept = archive.hot()
    placed = hold(archive, {})
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "held"
    assert archive.hot() == kept
    archive.root.execute("SELECT guestcomms.release_hold(%s)", [placed])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert archive.hot() == set()


def test_what_comes_while_it_is_held_goes_with_the_rest(archive: Archive, guest: WrittenGuest) -> None:
    placed = hold(archive, hour(archive, 20))
    erasure = erase(archive.root, guest.guest_id)
    assert progress(archive.root, erasure)["status"] == "held"
    new = one(archive.root, "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'one thing more')", guest.guest_id)
    assert archive.hot() == {guest.hot[0], new}
    archive.root.execute("SELECT guestcomms.release_hold(%s)", [placed])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert archive.hot() == set()


def test_a_hold_about_somebody_else_keeps_nothing(archive: Archive, guest: WrittenGuest) -> None:
    hold(archive, {"guest_id": str(archive.guest("Somebody Else"))})
    assert progress(archive.root, erase(archive.root, guest.guest_id))["status"] == "done"


def test_a_damaged_segment_is_kept_where_a_hold_may_be_about_it(archive: Archive, guest: WrittenGuest) -> None:
    archive.root.execute("UPDATE guestcomms.archive_segments SET payload = 'damaged' WHERE tenant_id = %s", [archive.tenant])
    hold(archive, hour(archive, 300))
    told = progress(archive.root, erase(archive.root, guest.guest_id))
    assert (told["status"], told["held_count"]) == ("held", 3)
    assert archive.archived() == set(guest.archived)


def test_a_restricted_guest_is_listed_until_then(archive: Archive, guest: WrittenGuest) -> None:
    hold(archive, {"guest_id": str(guest.guest_id)})
    erasure = erase(archive.root, guest.guest_id)
    assert erase(archive.root, guest.guest_id) == erasure
    with refused("23503"):
        archive.root.execute("SELECT guestcomms.erase_guest(%s)", [archive.tenant])


def test_a_hold_that_ends_before_the_erasure_does_keeps_nothing(archive: Archive, guest: WrittenGuest) -> None:
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', '0')")
    held = hold(archive, hour(archive, 20))
    erasure = erase(archive.root, guest.guest_id)
    while progress(archive.root, erasure)["held_count"] == 0:
        assert one(archive.root, "SELECT guestcomms_internal.erase_batch()") == 1
    archive.root.execute("SELECT guestcomms.release_hold(%s)", [held])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert archive.hot() == archive.archived() == set()


def test_who_places_a_hold_waits_for_a_step_and_has_what_is_left(archive: Archive, guest: WrittenGuest) -> None:
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', '0')")
    erasure = erase(archive.root, guest.guest_id)
    while progress(archive.root, erasure)["stage"] != "tables":
        one(archive.root, "SELECT guestcomms_internal.erase_batch()")
    court, watcher = archive.connect(), archive.connect()
    with ThreadPoolExecutor(1) as pool:
        with archive.root.transaction():
            one(archive.root, "SELECT guestcomms_internal.step_erasure(%s, %s)", archive.tenant, erasure)
            placed = pool.submit(one, court, "SELECT guestcomms.place_hold(%s, 'court')", Jsonb(hour(archive, 20)))
            wait_until_waiting(watcher, court)
        placed.result(30)
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
