"""Bytes that are not what was stored: they are found and named, and keep nothing else from being read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

CODECS = ("zstd_dict", "zstd", "gzip", "stored")
SEARCH = "SELECT message_id FROM guestcomms.search_messages(%s, include_archived => true)"
# Of the payload: its first bit, one in the middle, its last.
BIT = "(octet_length(payload) * 8 - 1) * {share} / 2"
FLIP = f"payload = set_bit(payload, {BIT}, 1 - get_bit(payload, {BIT}))"
DAMAGES = {
    "first bit": FLIP.format(share=0),
    "middle bit": FLIP.format(share=1),
    "last bit": FLIP.format(share=2),
    "no bytes": "payload = ''",
    "a byte more": "payload = payload || '\\x00'",
    "stored checksum": "stored_sha256 = set_bit(stored_sha256, 77, 1 - get_bit(stored_sha256, 77))",
    "plain checksum": "plain_sha256 = set_bit(plain_sha256, 77, 1 - get_bit(plain_sha256, 77))",
    "one identifier": "message_ids[1] = gen_random_uuid()",
    "order of identifiers": "message_ids = ARRAY(SELECT i FROM unnest(message_ids) WITH ORDINALITY AS u (i, n) ORDER BY n DESC)",
    "fewer identifiers": "message_ids = message_ids[2:], message_count = message_count - 1",
    "codec": "codec = CASE codec WHEN 'gzip' THEN 'zstd' ELSE 'gzip' END, dictionary_id = NULL",
    "payload and its checksum": FLIP.format(share=1)
    + ", stored_sha256 = sha256("
    + FLIP.format(share=1).split(" = ", 1)[1]
    + ")",
}
# What does not keep it from being read, but is found.
LISTINGS = {
    "events": "event_count = event_count + 1",
    "details": "detail_count = detail_count - 1",
    "conversations": "thread_ids = ARRAY[gen_random_uuid()]",
    "times": "last_sent_at = last_sent_at + interval '1 microsecond'",
    "words": "search = 'nothing'::tsvector",
}


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


def store_two(archive: Archive, codec: str = "auto") -> tuple[list[UUID], list[UUID], UUID]:
    """Three messages each of two guests, in a segment each; and the first's."""
    archive.policy(older_than="1 day", codec=codec)
    if codec == "zstd_dict":
        content = b"\0the seating plan of our wedding"
        archive.add("archive_dictionaries", version_number=1, content=content, sha256=b"", string_count=1, message_count=9)
        archive.root.execute(
            "UPDATE guestcomms.archive_dictionaries SET sha256 = sha256(content) WHERE tenant_id = %s", [archive.tenant]
        )
    first, second = archive.write_many(3), archive.write_many(3, 200)
    for message in first + second:
        archive.detail(message)
    archive.archive()
    (one_segment, other) = archive.segments()
    assert (one_segment[1], other[1]) == (first, second)
    if codec != "auto":
        assert {one_segment[3], other[3]} == {codec}
    return first, second, one_segment[0]


def spoil(archive: Archive, segment: UUID, change: str) -> None:
    """What a disk, or somebody with too many rights, does."""
    archive.root.execute(f"UPDATE guestcomms.archive_segments SET {change} WHERE segment_id = %s".encode(), [segment])


def assert_only(archive: Archive, segment: UUID, messages: list[UUID]) -> None:
    """verify_archive() complains of one segment, and says what was in it; the check is kept."""
    found = rows(archive.root, "SELECT segment_id, is_ok, detail FROM guestcomms.verify_archive()")
    assert sorted(row[1] for row in found) == [False, True]
    (bad,) = [row for row in found if not row[1]]
    assert bad[0] == segment
    assert all(str(message) in bad[2] for message in messages)
    query = "SELECT segment_id, is_ok, detail FROM guestcomms.archive_checks WHERE tenant_id = %s"
    assert sorted(rows(archive.root, query, archive.tenant)) == sorted(found)


def assert_set_apart(archive: Archive, first: list[UUID], second: list[UUID], segment: UUID) -> None:
    """Whatever does not need the damaged segment goes on."""
    with refused("XX001"):
        archive.root.execute("SELECT guestcomms.restore_messages(message_ids => %s)", [[first[1]]])
    found = archive.read(second[0])
    assert found is not None
    assert len(found["events"]) == 1
    app = archive.connect("app_login")
    assert set(column(app, SEARCH, "seating plan")) == set(second)
    before: list[Any] = [row for row in archive.segments() if row[0] == segment]
    # More of the same guest go beside it.
    guest = one(archive.root, "SELECT guest_id FROM guestcomms.archive_segments WHERE segment_id = %s", segment)
    more = archive.write(guest, archive.thread(guest), 100)
    archive.archive()
    assert more not in archive.hot()
    assert [row for row in archive.segments() if row[0] == segment] == before
    assert archive.read(more) is not None
    assert one(archive.root, "SELECT guestcomms.restore_messages(message_ids => %s)", [*second, more]) == 4
    assert archive.hot() == {*second, more}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_set_apart(archive: Archive, damage: str) -> None:
    first, second, segment = store_two(archive)
    spoil(archive, segment, DAMAGES[damage])
    listed = next(row[1] for row in archive.segments() if row[0] == segment)
    assert_only(archive, segment, listed)
    for message in set(first) & set(listed):
        with refused("XX001"):
            archive.read(message)
    if first[1] in listed:
        assert_set_apart(archive, first, second, segment)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("share", [0, 1, 2])
def test_a_flipped_bit_is_found_whatever_the_codec(archive: Archive, codec: str, share: int) -> None:
    first, _, segment = store_two(archive, codec)
    spoil(archive, segment, FLIP.format(share=share))
    assert_only(archive, segment, first)
    with refused("XX001"):
        archive.read(first[0])


def test_all_is_restored_but_what_is_damaged(archive: Archive) -> None:
    first, second, segment = store_two(archive)
    spoil(archive, segment, FLIP.format(share=1))
    assert archive.restore() == 3
    assert (archive.hot(), archive.archived()) == (set(second), set(first))


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_wrong_listing_is_found(archive: Archive, listing: str) -> None:
    first, _, segment = store_two(archive)
    spoil(archive, segment, LISTINGS[listing])
    assert_only(archive, segment, first)
    assert archive.read(first[0]) is not None


def test_a_segment_that_is_not_found_by_its_time_is_found(archive: Archive) -> None:
    first, _, segment = store_two(archive)
    spoil(archive, segment, "first_sent_at = first_sent_at - interval '1 day'")
    assert_only(archive, segment, first)


def test_a_segment_of_a_wrong_guest_is_found(archive: Archive) -> None:
    first, _, segment = store_two(archive)
    spoil(archive, segment, f"guest_id = '{archive.guest()}'")
    assert_only(archive, segment, first)


def test_a_damaged_dictionary_is_found(archive: Archive) -> None:
    first, second, _ = store_two(archive, "zstd_dict")
    change = "UPDATE guestcomms.archive_dictionaries SET content = set_bit(content, 40, 1 - get_bit(content, 40))"
    archive.root.execute(change + " WHERE tenant_id = %s", [archive.tenant])
    # A session that has read it before keeps what it read.
    with archive.connect("operator_login") as operator:
        found = rows(operator, "SELECT is_ok, detail FROM guestcomms.verify_archive()")
        assert [row[0] for row in found] == [False, False]
        for message in first + second:
            assert any(str(message) in row[1] for row in found)
            with refused("XX001"):
                operator.execute("SELECT * FROM guestcomms.read_archived(%s)", [message])
        assert column(operator, SEARCH, "seating plan") == []


def test_what_is_whole_is_called_whole(archive: Archive) -> None:
    store_two(archive)
    found = rows(archive.root, "SELECT is_ok, detail FROM guestcomms.verify_archive()")
    assert found == [(True, None), (True, None)]
    assert rows(archive.root, "SELECT * FROM guestcomms.verify_archive(sample => 0)") == []
    assert rows(archive.root, "SELECT * FROM guestcomms.verify_archive(since => 'infinity')") == []
    for sample in (-0.1, 1.1, None):
        with refused("22023"):
            archive.root.execute("SELECT guestcomms.verify_archive(sample => %s)", [sample])


def test_a_message_that_is_hot_too_is_found(archive: Archive) -> None:
    first, _, segment = store_two(archive)
    guest, thread = rows(archive.root, "SELECT guest_id, thread_id FROM guestcomms.read_archived(%s)", first[1])[0]
    sent_at = one(archive.root, "SELECT sent_at FROM guestcomms.read_archived(%s)", first[1])
    plain = {"direction": "inbound", "channel": "sms", "status": "received", "language": "en", "body": "twice"}
    archive.add("messages", message_id=first[1], sent_at=sent_at, guest_id=guest, thread_id=thread, **plain)
    assert_only(archive, segment, first)


def test_a_late_event_of_a_damaged_segment_holds_up_nothing(archive: Archive) -> None:
    first, _, segment = store_two(archive)
    archive.configure("late_after", "0")
    spoil(archive, segment, FLIP.format(share=1))
    archive.event(first[0], "bounced")
    more = [message for _ in range(3) for message in archive.write_many(2, 100)]
    archive.policy("channel", older_than="50 days", channels=["sms"])
    more += archive.write_many(2, 100, channel="sms")
    archive.archive(max_rows=1)
    assert archive.hot() == set()
    assert set(more) <= archive.archived()
    # It waits where it is; nobody loses it.
    query = "SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %s AND message_id = %s"
    assert one(archive.root, query, archive.tenant, first[0]) == 1
    # A run that moves nothing leaves nothing behind.
    assert column(
        archive.root, "SELECT count(*) FROM guestcomms.archive_runs WHERE tenant_id = %s AND segment_count = 0", archive.tenant
    ) == [0]
