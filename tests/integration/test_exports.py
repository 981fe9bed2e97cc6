"""Exports: everything of a guest, once, from tables and archive, in files that are what their manifest says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.context import no_tenant
from tests.support.exports import STEP, TABLES, as_lines, ask, audited, manifest_of, opened, progress, read, records, stored
from tests.support.queries import one, refused, rows, told
from tests.support.store import Store

JOB = "CALL guestcomms.run_job('write_exports')"


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def set_up(office: Archive, messages: int = 30, details: int = 4) -> UUID:
    """A guest with something in every table of which an export has records; the oldest messages can be archived."""
    guest = office.guest("Zoë Kaya")
    root = office.root
    root.execute("SELECT guestcomms.resolve_guest('email', 'zoe@example.com')")
    root.execute("UPDATE guestcomms.guest_addresses SET guest_id = %s WHERE tenant_id = %s", [guest, office.tenant])
    root.execute("DELETE FROM guestcomms.guests WHERE tenant_id = %s AND guest_id <> %s", [office.tenant, guest])
    wedding, campaign = (one(root, "SELECT gen_random_uuid()") for _ in range(2))
    office.add("weddings", wedding_id=wedding, name="Mia & Jo", held_on="2026-06-06")
    office.add("wedding_guests", wedding_id=wedding, guest_id=guest, role="witness")
    office.add("campaigns", campaign_id=campaign, name="Invitations")
    office.add("consents", guest_id=guest, purpose="marketing", is_granted=True, basis="consent", source="form")
    root.execute("SELECT guestcomms.open_request(%s, 'access', note => 'by letter')", [guest])
    thread = office.thread(guest)
    for number in range(messages):
        place = {"wedding_id": wedding, "campaign_id": campaign} if number % 3 == 0 else {}
        message = office.write(guest, thread, 300 - number * 4, subject=f"Nr {number}", external_id=f"x{number}", **place)
        if number % details == 0:
            office.detail(message)
    return guest


def run_job(office: Archive) -> None:
    with no_tenant(office.root):
        office.root.execute(JOB)


def milliseconds(moment: str) -> datetime:
    """A time as an identifier keeps it."""
    found = datetime.fromisoformat(moment)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


def check_whole(office: Archive, files: dict[str, bytes], before: dict[str, list[str]]) -> None:
    for table, rows_before in before.items():
        assert as_lines(records(files, table)) == rows_before, table
    counts = manifest_of(files)["counts"]
    assert {table: counts.get(table, 0) for table in before} == {table: len(found) for table, found in before.items()}


def everything(office: Archive) -> dict[str, list[str]]:
    return {table: stored(office, table) for table in TABLES}


def test_an_export_has_every_row_as_it_is(office: Archive) -> None:
    guest = set_up(office)
    before = everything(office)
    assert all(before.values())
    files = opened(read(office.root, ask(office.root, guest, formats=["jsonl"])))
    check_whole(office, files, before)
    manifest = manifest_of(files)
    assert (manifest["format"], manifest["schema_version"], manifest["scope"]) == ("guestcomms-export", 1, "access")
    assert manifest["subject"] == {"guest_id": str(guest)}
    sent = sorted(milliseconds(message["sent_at"]) for message in records(files, "messages"))
    assert [milliseconds(manifest["period"][end]) for end in ("since", "until")] == [sent[0], sent[-1]]


def test_archived_messages_are_as_they_were(office: Archive) -> None:
    guest = set_up(office)
    before = everything(office)
    office.policy(older_than="100 days")
    assert office.archive()
    late = sorted(office.archived(), key=str)[0]
    office.detail(late, 2)
    late_rows = {table: stored(office, table) for table in TABLES}
    files = opened(read(office.root, ask(office.root, guest, formats=["jsonl"])))
    for table in ("message_events", "message_versions", "attachments", "message_annotations"):
        before[table] = sorted(before[table] + [row for row in late_rows[table] if str(late) in row])
    check_whole(office, files, before)


def test_other_guests_are_not_in_it(office: Archive) -> None:
    guest = set_up(office, 4)
    other = office.guest("Amir")
    office.write(other, office.thread(other), body="of somebody else")
    for file in opened(read(office.root, ask(office.root, guest, formats=["jsonl", "html", "csv"]))).values():
        assert b"somebody else" not in file
        assert b"Amir" not in file


def test_an_export_in_batches_is_the_same(office: Archive) -> None:
    guest = set_up(office)
    before = everything(office)
    office.policy(older_than="250 days")
    office.archive()
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_batch_messages', '7')")
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    export = ask(office.root, guest, formats=["jsonl", "json"])
    assert progress(office.root, export)["status"] == "waiting"
    with refused("55000"):
        read(office.root, export)
    seen = []
    while one(office.root, STEP, office.tenant, export):
        seen.append(progress(office.root, export)["message_count"])
    assert seen == sorted(seen)
    assert len(set(seen)) >= 4
    assert progress(office.root, export)["status"] == "ready"
    files = opened(read(office.root, export))
    check_whole(office, files, before)
    assert len(json.loads(files["export.json"])["messages"]) == 30


def test_messages_that_move_meanwhile_are_in_it_once(office: Archive) -> None:
    guest = set_up(office, 60)
    before = everything(office)
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_batch_messages', '5')")
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    office.policy(older_than="100 days")
    office.run(10)
    export = ask(office.root, guest, formats=["jsonl"])
    moves = 0
    while one(office.root, STEP, office.tenant, export):
        # In turn some go into the archive behind its back, and some come out.
        moves += 1
        if moves % 2:
            office.run(7)
        elif moves % 3 == 0:
            office.root.execute("SELECT guestcomms.restore_messages(guest_id => %s, max_rows => 9)", [guest])
        assert moves < 200
    check_whole(office, opened(read(office.root, export)), before)


def test_the_job_writes_what_is_too_long_for_the_call(office: Archive) -> None:
    guest = set_up(office)
    before = everything(office)
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '29')")
    export = ask(office.root, guest, formats=["jsonl"])
    requested = "SELECT requested_at IS NOT NULL FROM guestcomms.jobs WHERE job_name = 'write_exports'"
    assert one(office.root, requested)
    run_job(office)
    check_whole(office, opened(read(office.root, export)), before)
    # What an export needs only while it is written is gone.
    for table in ("export_fragments", "export_messages"):
        assert (
            one(office.root, f"SELECT count(*) FROM guestcomms_internal.{table} WHERE tenant_id = %s".encode(), office.tenant)
            == 0
        )


def test_later_messages_are_left_out_and_planned_ones_are_not(office: Archive) -> None:
    guest = set_up(office, 3)
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    planned = office.write(guest, office.thread(guest), -20, status="queued", direction="outbound", scheduled_at=office.ago(-20))
    export = ask(office.root, guest, formats=["jsonl"])
    later = office.write(guest, office.thread(guest), -0.01)
    run_job(office)
    found = {UUID(record["message_id"]) for record in records(opened(read(office.root, export)), "messages")}
    assert planned in found
    assert later not in found


def test_portability_leaves_out_what_was_concluded(office: Archive) -> None:
    guest = set_up(office, 4)
    files = opened(read(office.root, ask(office.root, guest, formats=["jsonl"], scope="portability")))
    assert {"about.json", "jsonl/message_annotations.jsonl", "jsonl/subject_requests.jsonl"}.isdisjoint(files)
    assert records(files, "message_events")
    assert any("portability" in part["why"] for part in manifest_of(files)["left_out"])


def test_access_says_what_article_15_asks_for(office: Archive) -> None:
    guest = set_up(office, 4)
    office.root.execute("SELECT guestcomms.set_setting('privacy.recipients', 'Mailer Ltd, Dublin')")
    files = opened(read(office.root, ask(office.root, guest, formats=["jsonl"])))
    about = json.loads(files["about.json"])
    assert about["recipients"] == "Mailer Ltd, Dublin"
    assert "advertising (basis: consent)" in about["purposes"]
    assert {"controller", "purposes", "categories", "recipients", "retention", "source", "rights", "complaints"} <= set(about)


@pytest.mark.parametrize("at_once", ["0", "2000"])
def test_access_tells_of_archived_messages_alone(office: Archive, at_once: str) -> None:
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', %s)", [at_once])
    guest = office.guest("Ada")
    values = {"purpose": "marketing", "source": "mailer", "external_id": "m-1"}
    record = (
        "SELECT guestcomms.record_message(%s, 'outbound', 'email', 'Until Saturday', sent_at => %s, purpose => %s,"
        " source => %s, external_id => %s)"
    )
    office.root.execute(record, [guest, office.ago(300), *values.values()])
    office.policy()
    office.archive()
    assert office.hot() == set()
    export = ask(office.root, guest, formats=["jsonl"])
    run_job(office)
    about = json.loads(opened(read(office.root, export))["about.json"])
    assert "mailer" in about["recipients"]
    assert about["purposes"] == "advertising"


def test_files_can_be_left_uncompressed(office: Archive) -> None:
    guest = set_up(office)
    plain = read(office.root, ask(office.root, guest, formats=["jsonl"], compress=False))
    packed = read(office.root, ask(office.root, guest, formats=["jsonl"]))
    assert opened(plain)["jsonl/messages.jsonl"] == opened(packed)["jsonl/messages.jsonl"]
    assert b"the seating plan of" in plain
    assert len(packed) < len(plain) / 2


def test_an_empty_guest_has_an_export(office: Archive) -> None:
    formats = ["json", "jsonl", "csv", "sql", "html", "pdf", "mbox", "eml"]
    files = opened(read(office.root, ask(office.root, office.guest(), formats=formats)))
    assert json.loads(files["export.json"])["messages"] == []
    assert len(records(files, "guests")) == 1


def test_a_damaged_segment_is_named_and_the_rest_is_there(office: Archive) -> None:
    guest = set_up(office, 60)
    office.root.execute("SELECT guestcomms.set_setting('archive.segment_messages', '10')")
    office.policy(older_than="100 days")
    office.archive()
    segments = office.segments()
    assert len(segments) > 2
    office.root.execute(
        "UPDATE guestcomms.archive_segments SET payload = set_byte(payload, 9, get_byte(payload, 9) # 1) WHERE segment_id = %s",
        [segments[0][0]],
    )
    export = ask(office.root, guest, formats=["jsonl"])
    files = opened(read(office.root, export))
    assert len(records(files, "messages")) == 60 - len(segments[0][1])
    assert any("1 damaged segment" in part["what"] for part in manifest_of(files)["left_out"])


def test_reading_is_audited_and_ends(office: Archive) -> None:
    guest = set_up(office, 3)
    export = ask(office.root, guest, formats=["jsonl"])
    assert audited(office, "export_guest") == 1
    read(office.root, export)
    assert audited(office, "read_export") == 1
    office.root.execute("UPDATE guestcomms.exports SET expires_at = now() - interval '1 s' WHERE export_id = %s", [export])
    with refused("55000"):
        read(office.root, export)
    assert progress(office.root, export)["status"] == "expired"
    office.root.execute("CALL guestcomms.run_job('trim_exports')")
    assert progress(office.root, export)["status"] == "removed"
    assert one(office.root, "SELECT count(*) FROM guestcomms_internal.export_parts WHERE export_id = %s", export) == 0
    assert audited(office, "expire_export") == 1


def test_an_export_can_be_removed_while_it_is_written(office: Archive) -> None:
    guest = set_up(office)
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    export = ask(office.root, guest, formats=["jsonl"])
    for _ in range(3):
        one(office.root, STEP, office.tenant, export)
    office.root.execute("SELECT guestcomms.remove_export(%s)", [export])
    assert not one(office.root, STEP, office.tenant, export)
    assert progress(office.root, export)["status"] == "removed"
    with refused("55000"):
        read(office.root, export)
    for table in ("export_fragments", "export_messages", "export_parts"):
        assert (
            one(office.root, f"SELECT count(*) FROM guestcomms_internal.{table} WHERE tenant_id = %s".encode(), office.tenant)
            == 0
        )


def test_one_that_fails_does_not_keep_the_others(office: Archive) -> None:
    guest = set_up(office, 3)
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
    office.root.execute("SELECT guestcomms.set_export_key('office', 'four words nobody guesses')")
    failing = ask(office.root, guest, formats=["jsonl"], recipient_key="office")
    waiting = ask(office.root, guest, formats=["jsonl"])
    office.root.execute("SELECT guestcomms.set_export_key('office', NULL)")
    run_job(office)
    assert (progress(office.root, failing)["status"], progress(office.root, failing)["error_code"]) == ("failed", "42704")
    assert progress(office.root, waiting)["status"] == "ready"
    with refused("55000"):
        read(office.root, failing)


def test_other_businesses_and_applications_read_nothing(office: Archive, store: Store) -> None:
    guest = set_up(office, 3)
    export = ask(office.root, guest, formats=["jsonl"])
    stranger = store.connect("privacy_login")
    stranger.execute("RESET ALL")
    with Archive(store) as other:
        with refused("42704"):
            rows(other.root, "SELECT * FROM guestcomms.read_export(%s)", export)
        with refused("42704"):
            rows(other.root, "SELECT guestcomms.remove_export(%s)", export)
        with refused("23503"):
            ask(other.root, guest)
        assert rows(other.root, "SELECT * FROM guestcomms.get_export_progress()") == []
    with refused("42501"):
        rows(office.connect("app_login"), "SELECT * FROM guestcomms.read_export(%s)", export)
    with refused("42501"):
        rows(office.connect("app_login"), "SELECT guestcomms.export_guest(%s)", guest)


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [
        ({"formats": ["docx"]}, "22023"),
        ({"formats": []}, "22023"),
        ({"formats": None}, "22023"),
        ({"formats": ["json", None]}, "22023"),
        ({"scope": "all"}, "22023"),
        ({"scope": None}, "22023"),
        ({"compress": None}, "22004"),
        ({"recipient_key": "no such key"}, "42704"),
        ({"recipient_key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxyz"}, "22023"),
    ],
)
def test_bad_input(office: Archive, arguments: dict[str, object], sqlstate: str) -> None:
    guest = office.guest()
    with refused(sqlstate) as caught:
        ask(office.root, guest, **arguments)
    assert caught.value.diag.message_hint
    assert "xyz" not in told(caught.value)


def test_an_export_of_nobody(office: Archive) -> None:
    for guest in ("gen_random_uuid()", "NULL"):
        with refused("23503"):
            office.root.execute(f"SELECT guestcomms.export_guest({guest})".encode())
