"""Erasing a guest within one call and by the job: what goes, what stays, who may, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.support.archive import Archive
from tests.support.erasure import LEFT, erase, finish, progress, receipt, written_guest
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.waiting import wait_until_waiting


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy(older_than="100 days")
        yield archive


def test_a_small_guest_is_gone_with_the_call(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    erasure = erase(archive.root, guest.guest_id)
    told = progress(archive.root, erasure)
    assert (told["status"], told["message_count"], told["message_total"], told["error_code"]) == ("done", 6, 6, None)
    assert told["guest_id"] is None
    found = receipt(archive.root, erasure)
    assert {place for place, row in found.items() if row["left_count"]} == set()
    assert found["guestcomms.messages"]["row_count"] == 3
    assert found["guestcomms.archive_segments"]["row_count"] == 1
    assert archive.hot() == archive.archived() == set()
    for table in LEFT:
        assert one(archive.root, f"SELECT count(*) FROM {table} WHERE tenant_id = %s".encode(), archive.tenant) == 0, table
    assert rows(
        archive.root, "SELECT display_name, erased_at IS NOT NULL FROM guestcomms.guests WHERE guest_id = %s", guest.guest_id
    ) == [(None, True)]


@pytest.mark.parametrize("at_once", ["0", "500"])
def test_anonymised_messages_keep_times_channels_and_counts(archive: Archive, at_once: str) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', %s)", [at_once])
    kept = "SELECT message_id, sent_at, channel, direction, status FROM guestcomms.messages WHERE tenant_id = %s ORDER BY 1"
    before = rows(archive.root, kept, archive.tenant)
    erasure = erase(archive.root, guest.guest_id, "anonymize")
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert rows(archive.root, kept, archive.tenant) == before
    assert archive.archived() == set(guest.archived)
    texts = (
        "SELECT DISTINCT subject, body, external_id, metadata::text, search::text FROM guestcomms.messages WHERE tenant_id = %s"
    )
    assert rows(archive.root, texts, archive.tenant) == [(None, "", None, "{}", "")]
    for message in guest.archived:
        read = archive.read(message)
        assert read is not None
        assert (read["subject"], read["body"], read["channel"]) == (None, "", "email")
    assert one(archive.root, "SELECT corrected_count FROM guestcomms.rebuild_thread_states()") == 0
    assert archive.damage() == []
    assert one(archive.root, "SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %s", archive.tenant) == 3
    assert one(archive.root, "SELECT count(*) FROM guestcomms.message_versions WHERE tenant_id = %s", archive.tenant) == 0
    assert archive.restore() == 3
    assert one(archive.root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s AND body <> ''", archive.tenant) == 0


def test_what_the_business_wrote_may_stay_without_the_guest(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com", word="write to zoe@example.com about")
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_both_sides', 'false')")
    preview = rows(archive.root, "SELECT detail FROM guestcomms.preview_erasure(%s) WHERE kind = 'policy'", guest.guest_id)
    assert "stays" in preview[0][0]
    erasure = erase(archive.root, guest.guest_id)
    assert progress(archive.root, erasure)["status"] == "done"
    assert archive.hot() == {guest.hot[1]}
    assert archive.archived() == {guest.archived[1]}
    (found,) = column(archive.root, "SELECT body FROM guestcomms.messages WHERE tenant_id = %s", archive.tenant)
    read = archive.read(guest.archived[1])
    assert read is not None
    for body in (found, read["body"]):
        assert body.startswith("write to [email] about")
        assert "Kaya" not in body
    assert one(archive.root, "SELECT corrected_count FROM guestcomms.rebuild_thread_states()") == 0


def test_a_long_guest_is_the_jobs(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com", count=8)
    for name, value in (("privacy.erase_at_once", "5"), ("privacy.erase_batch_messages", "3")):
        archive.root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    erasure = erase(archive.root, guest.guest_id)
    told = progress(archive.root, erasure)
    assert (told["status"], told["message_total"], told["message_count"]) == ("running", 16, 0)
    assert erase(archive.root, guest.guest_id) == erasure, "asked again it is the same"
    # From the call on nothing is written for the guest, and whoever comes with the address is another.
    with refused("55000"):
        archive.root.execute("SELECT guestcomms.record_message(%s, 'inbound', 'email', 'hello')", [guest.guest_id])
    with refused("55000"):
        archive.write(guest.guest_id, guest.thread_id)
    with refused("23503"):
        archive.thread(guest.guest_id)
    assert one(archive.root, "SELECT guestcomms.resolve_guest('email', 'zoe@example.com')") != guest.guest_id
    assert (
        archive.connect("operator_login")
        .execute("SELECT requested_at FROM guestcomms.list_jobs() WHERE job_name = 'erase_guests'")
        .fetchall()
    )
    assert finish(archive.root) > 8
    assert progress(archive.root, erasure)["status"] == "done"
    assert {place for place, row in receipt(archive.root, erasure).items() if row["left_count"]} == set()
    assert archive.hot() == archive.archived() == set()
    with refused("55000"):
        erase(archive.root, guest.guest_id)


def test_in_a_transaction_that_has_written_it_is_left_to_the_job(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    with archive.root.transaction():
        archive.guest("Somebody Else")
        erasure = erase(archive.root, guest.guest_id)
        assert progress(archive.root, erasure)["status"] == "running"
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"


def test_one_that_cannot_go_on_keeps_no_other(archive: Archive) -> None:
    stuck, other = (written_guest(archive, f"Guest {n}", f"{n}@example.com") for n in range(2))
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', '0')")
    erasures = [erase(archive.root, guest.guest_id) for guest in (stuck, other)]
    archive.root.execute("CREATE TABLE testing.refusing AS TABLE guestcomms.messages WITH NO DATA")
    archive.root.execute(
        "CREATE FUNCTION testing.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE data_exception; END $$"
    )
    archive.root.execute(
        "CREATE TRIGGER refuse BEFORE DELETE ON testing.refusing FOR EACH STATEMENT EXECUTE FUNCTION testing.refuse()"
    )
    archive.root.execute("ALTER TABLE testing.refusing OWNER TO guestcomms_owner")
    try:
        finish(archive.root)
        assert [progress(archive.root, each)["error_code"] for each in erasures] == ["22000", "22000"]
    finally:
        archive.root.execute("DROP TABLE testing.refusing CASCADE")
        archive.root.execute("DROP FUNCTION testing.refuse()")
    archive.root.execute("UPDATE guestcomms.erasures SET retry_at = NULL WHERE erasure_id = %s", [erasures[1]])
    finish(archive.root)
    assert [progress(archive.root, each)["status"] for each in erasures] == ["running", "done"]


@pytest.mark.parametrize("at_once", ["0", "500"])
def test_a_request_is_answered_with_it(archive: Archive, at_once: str) -> None:
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', %s)", [at_once])
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    request = one(archive.root, "SELECT guestcomms.open_request(%s, 'erasure', note => 'by letter')", guest.guest_id)
    access = one(archive.root, "SELECT guestcomms.open_request(%s, 'access')", guest.guest_id)
    with refused("55000"):
        erase(archive.root, guest.guest_id, request=request)
    with refused("22023"):
        erase(archive.root, guest.guest_id, request=access)
    archive.root.execute("SELECT guestcomms.record_identity_check(%s, 'answered from the address we know', true)", [request])
    erasure = erase(archive.root, guest.guest_id, request=request)
    finish(archive.root)
    found: dict[str, str] = dict(rows(archive.root, "SELECT kind, status FROM guestcomms.list_requests(include_closed => true)"))
    assert found == {"erasure": "answered", "access": "open"}
    steps = rows(archive.root, "SELECT step, note FROM guestcomms.list_request_steps(%s)", request)
    assert steps == [("opened", None), ("identity_confirmed", None), ("answered", f"erasure {erasure}")]


@pytest.mark.parametrize("login", ["privacy_login", "operator_login"])
def test_who_may(archive: Archive, login: str) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("SELECT guestcomms.add_member('privacy_login')")
    officer = archive.connect(login)
    assert rows(officer, "SELECT subject FROM guestcomms.preview_erasure(%s) WHERE kind = 'recipient'", guest.guest_id) == [
        ("app email",)
    ]
    assert progress(officer, erase(officer, guest.guest_id))["status"] == "done"
    app = archive.connect("app_login")
    for statement in ("preview_erasure(%s)", "erase_guest(%s)", "list_erasure_receipt(%s)", "get_erasure_progress(%s)"):
        with refused("42501"):
            app.execute(f"SELECT * FROM guestcomms.{statement}".encode(), [guest.guest_id])


def test_another_tenants_guest_is_none(archive: Archive, store: Store) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    erasure = erase(archive.root, guest.guest_id)
    with Archive(store, "Foreign") as foreign:
        other = written_guest(foreign, "Zoë Kaya", "zoe@example.com")
        for statement in ("preview_erasure(%s)", "erase_guest(%s)"):
            with refused("23503"):
                archive.root.execute(f"SELECT * FROM guestcomms.{statement}".encode(), [other.guest_id])
        with refused("42704"):
            foreign.root.execute("SELECT * FROM guestcomms.list_erasure_receipt(%s)", [erasure])
        assert rows(foreign.root, "SELECT * FROM guestcomms.get_erasure_progress()") == []
        assert rows(foreign.root, "SELECT * FROM guestcomms.list_erasure_recipients(%s)", erasure) == []
        assert len(foreign.hot() | foreign.archived()) == 6


def test_bad_input(archive: Archive) -> None:
    guest = archive.guest()
    for mode in ("gone", None):
        with refused("22023"):
            archive.root.execute("SELECT guestcomms.erase_guest(%s, %s)", [guest, mode])
    for unknown in (uuid4(), None):
        with refused("23503"):
            archive.root.execute("SELECT guestcomms.erase_guest(%s)", [unknown])
        with refused("23503"):
            archive.root.execute("SELECT * FROM guestcomms.preview_erasure(%s)", [unknown])
        with refused("42704"):
            archive.root.execute("SELECT * FROM guestcomms.list_erasure_receipt(%s)", [unknown])
    with refused("42704"):
        archive.root.execute("SELECT guestcomms.erase_guest(%s, request_id => %s)", [guest, uuid4()])


def test_the_preview_counts_what_goes(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    found: dict[tuple[str, str], tuple[int, int]] = {
        (kind, subject): (count, held)
        for kind, subject, count, held in rows(
            archive.root, "SELECT kind, subject, row_count, held_count FROM guestcomms.preview_erasure(%s)", guest.guest_id
        )
    }
    assert found["place", "guestcomms.messages"] == (3, 0)
    assert found["place", "guestcomms.archive_segments"] == (3, 0)
    assert found["place", "guestcomms.guest_addresses"] == (1, 0)
    assert found["recipient", "app email"] == (6, 0)
    assert archive.hot() | archive.archived() == set(guest.hot + guest.archived), "and takes nothing"


def test_a_damaged_segment_goes_whole(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("UPDATE guestcomms.archive_segments SET payload = 'damaged' WHERE tenant_id = %s", [archive.tenant])
    preview = "SELECT row_count FROM guestcomms.preview_erasure(%s) WHERE kind = 'damaged segment'"
    assert rows(archive.root, preview, guest.guest_id) == [(3,)]
    told = progress(archive.root, erase(archive.root, guest.guest_id))
    assert (told["status"], told["damaged_count"]) == ("done", 1)
    assert archive.archived() == set()


@pytest.mark.parametrize("at_once", ["0", "500"])
def test_two_who_ask_at_once(archive: Archive, at_once: str) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', %s)", [at_once])
    second = archive.connect()
    with ThreadPoolExecutor(1) as pool:
        with archive.root.transaction():
            first = erase(archive.root, guest.guest_id)
            other = pool.submit(erase, second, guest.guest_id)
            wait_until_waiting(archive.store.connect(), second)
        if at_once == "0":
            assert other.result() == first
        else:
            with refused("55000"):
                other.result()


def test_what_is_just_being_written_goes_too(archive: Archive) -> None:
    """A message whose transaction began before the guest was marked, and commits after."""
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    writer = archive.connect(autocommit=False)
    with ThreadPoolExecutor(1) as pool:
        late = one(writer, "SELECT guestcomms.record_message(%s, 'inbound', 'email', 'one thing more')", guest.guest_id)
        erasing = pool.submit(erase, archive.root, guest.guest_id)
        wait_until_waiting(archive.store.connect(), archive.root)
        writer.commit()
        erasure = erasing.result()
    assert progress(archive.root, erasure)["status"] == "done"
    assert late not in archive.hot()


def test_what_comes_to_a_message_after_it_was_blanked_goes_too(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', '0')")
    erasure = erase(archive.root, guest.guest_id, "anonymize")
    while progress(archive.root, erasure)["stage"] != "details":
        one(archive.root, "SELECT guestcomms_internal.erase_batch()")
    archive.root.execute("SELECT guestcomms.record_event(%s, 'opened', detail => %s)", [guest.hot[0], '{"ip": "192.0.2.7"}'])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    details = "SELECT count(*) FROM guestcomms.message_events WHERE message_id = %s AND detail IS NOT NULL"
    assert one(archive.root, details, guest.hot[0]) == 0


def test_no_export_that_was_begun_before_the_last_step_outlives_it(archive: Archive) -> None:
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', '0')")
    erasure = erase(archive.root, guest.guest_id)
    while progress(archive.root, erasure)["stage"] != "identity":
        one(archive.root, "SELECT guestcomms_internal.erase_batch()")
    made = one(archive.root, "SELECT guestcomms.export_tenant()")
    other = archive.connect()
    with other.transaction():
        begun = one(other, "SELECT guestcomms.export_tenant()")
        assert one(archive.root, "SELECT guestcomms_internal.erase_batch()") == 1
        assert progress(archive.root, erasure)["error_code"] == "55P03"
    archive.root.execute("UPDATE guestcomms.erasures SET retry_at = NULL WHERE erasure_id = %s", [erasure])
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    left = "SELECT status FROM guestcomms.get_export_progress() WHERE export_id = ANY (%s)"
    assert set(column(archive.root, left, [made, begun])) == {"removed"}
    told = "SELECT recipient FROM guestcomms.list_erasure_recipients(%s) WHERE message_count IS NULL"
    assert set(column(archive.root, told, erasure)) == {f"export {export}" for export in (made, begun)}


def test_no_export_of_the_whole_business_outlives_it(archive: Archive) -> None:
    """Neither one that another transaction has begun, nor one that was made before; the latter is among the recipients."""
    guest = written_guest(archive, "Zoë Kaya", "zoe@example.com")
    made = one(archive.root, "SELECT guestcomms.export_tenant()")
    other = archive.connect()
    with other.transaction():
        begun = one(other, "SELECT guestcomms.anonymized_copy()")
        with refused("55P03"):
            erase(archive.root, guest.guest_id)
    erasure = erase(archive.root, guest.guest_id)
    assert progress(archive.root, erasure)["status"] == "done"
    left = "SELECT status FROM guestcomms.get_export_progress() WHERE export_id = ANY (%s)"
    assert set(column(archive.root, left, [made, begun])) == {"removed"}
    told = "SELECT recipient FROM guestcomms.list_erasure_recipients(%s) WHERE message_count IS NULL"
    assert set(column(archive.root, told, erasure)) == {f"export {export}" for export in (made, begun)}
