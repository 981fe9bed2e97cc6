"""Whatever a row holds comes out of the archive as it went in; GUESTCOMMS_EXAMPLES says how many sets of rows are tried."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archive import LEFT, MOVED, Archive
from tests.support.queries import column, one, rows
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "25"))
many = settings(deadline=None, max_examples=EXAMPLES)
MIB = 1 << 20

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60) | st.sampled_from(
    [
        "",
        " ",
        "null",
        "\\",
        '"',
        "\\u0000",
        "\x01\x7f",
        "\u2028",
        "🎉👩‍👩‍👧",
        "菜单 menu שלום меню",
        "\ufeff",
        "é e\u0301",
        "\r\n",
        "\U0010ffff",
    ]
)
# As text, for no number of Python is like those of JSON.
NUMBERS = st.sampled_from(["0", "-0", "1.00", "1e400", "-1E-300", "12345678901234567890.123456789", "0.10"]) | st.floats(
    allow_nan=False, allow_infinity=False
).map(repr)
STRINGS = TEXT.map(json.dumps)
JSON = st.recursive(
    st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda each: f"[{','.join(each)}]")
        | st.lists(st.tuples(STRINGS, inner), max_size=4).map(lambda each: "{" + ",".join(f"{k}:{v}" for k, v in each) + "}")
    ),
    max_leaves=6,
)
TIMES = st.sampled_from(
    [
        *("infinity", "-infinity", "epoch", "4713-01-01 00:00:00+00 BC", "9999-12-31 23:59:59.999999+00"),
        *("1969-12-31 23:59:59.999999+00", "1900-02-28 00:00:00.000001+00"),
    ]
) | st.datetimes().map(lambda at: f"{at.isoformat()}Z")
CONFIDENCES = st.sampled_from(["0", "-0", "1", "5e-324", "2.2250738585072014e-308", "0.1", "0.30000000000000004"]) | st.floats(
    0, 1
).map(repr)


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


MESSAGES = st.fixed_dictionaries(
    {
        "body": TEXT,
        "subject": nullable(TEXT),
        "language": nullable(st.sampled_from(["en", "de", "tr", "zh", "xx", "qqq"])),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "channel": st.sampled_from(["email", "sms", "whatsapp", "chat"]),
        "status": st.sampled_from(["received", "sent", "delivered", "read", "failed", "cancelled"]),
        "purpose": st.sampled_from(["service", "marketing"]),
        "author": nullable(TEXT),
        "source": TEXT,
        "metadata": JSON,
        "scheduled_at": nullable(TIMES),
        "read_at": nullable(TIMES),
        "edited_at": nullable(TIMES),
        "deleted_at": nullable(TIMES),
    }
)
EVENTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["opened", "clicked", "bounced"]),
        "is_machine": st.booleans(),
        "source": TEXT,
        "detail": nullable(JSON),
        "recorded_at": TIMES,
    }
)
VERSIONS = st.fixed_dictionaries({"subject": nullable(TEXT), "body": TEXT, "replaced_at": TIMES, "replaced_by": TEXT})
ATTACHMENTS = st.fixed_dictionaries(
    {
        "name": TEXT,
        "media_type": TEXT,
        "byte_count": st.integers(0, 2**63 - 1),
        "sha256": nullable(st.binary(min_size=32, max_size=32)),
        "uri": nullable(TEXT),
        "created_at": TIMES,
        "deleted_at": nullable(TIMES),
    }
)
ANNOTATIONS = st.fixed_dictionaries(
    {"kind": TEXT, "value": JSON, "confidence": nullable(CONFIDENCES), "annotator": TEXT, "created_at": TIMES}
)
PARTS = st.fixed_dictionaries(
    {
        "message": MESSAGES,
        "has_key": st.booleans(),
        "is_of_wedding": st.booleans(),
        "events": st.lists(EVENTS, max_size=2),
        "versions": st.lists(VERSIONS, max_size=2),
        "attachments": st.lists(ATTACHMENTS, max_size=2),
        "annotations": st.lists(ANNOTATIONS, max_size=2),
    }
)


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture(scope="module")
def old(store: Store) -> Iterator[Archive]:
    """One for all examples, each of which leaves it empty."""
    with Archive(store) as archive:
        archive.policy()
        yield archive


def put(archive: Archive, guest: UUID, thread: UUID, number: int, part: dict[str, Any], wedding: UUID | None = None) -> None:
    """A message with all that belongs to it."""
    key = f"k{number}" if part["has_key"] else None
    of = wedding if part["is_of_wedding"] else None
    message = archive.write(guest, thread, 300 - number / 7, external_id=key, wedding_id=of, **part["message"])
    for each, event in enumerate(part["events"]):
        key = f"{message} {each}" if part["has_key"] else None
        at = archive.ago(290 - number / 7 - each)
        event_id = one(archive.root, "SELECT guestcomms.uuid_v7(%s)", at)
        archive.add("message_events", message_id=message, event_id=event_id, occurred_at=at, external_id=key, **event)
    for each, version in enumerate(part["versions"]):
        archive.add("message_versions", message_id=message, version_number=each + 1, **version)
    for attachment in part["attachments"]:
        archive.add("attachments", message_id=message, **attachment)
    for annotation in part["annotations"]:
        archive.add("message_annotations", message_id=message, **annotation)


def go_round(archive: Archive, max_rows: int = 1000, times: int = 2) -> None:
    """Into the archive and out of it; nothing is hot between, and nothing is different after."""
    before = archive.snapshot()
    for _ in range(times):
        archive.archive(max_rows)
        between = archive.snapshot()
        assert {table: between[table] for table in MOVED} == {table: [] for table in MOVED}
        assert {table: between[table] for table in LEFT} == {table: before[table] for table in LEFT}
        assert archive.damage() == []
        assert archive.restore() == len(before["messages"])
        assert archive.snapshot() == before
        assert archive.segments() == []


@many
@given(
    parts=st.lists(PARTS, min_size=1, max_size=5),
    guests=st.integers(1, 3),
    codec=st.sampled_from(["auto", "zstd_dict", "zstd", "gzip", "stored"]),
    segment_messages=st.sampled_from(["1", "2", "3", "20", "200"]),
    max_rows=st.sampled_from([1, 2, 3, 1000]),
)
def test_any_row_comes_back_as_it_was(
    old: Archive, parts: list[dict[str, Any]], guests: int, codec: str, segment_messages: str, max_rows: int
) -> None:
    with old.root.transaction(force_rollback=True):
        old.policy(older_than="1 day", codec=codec)
        old.configure("segment_messages", segment_messages)
        everybody = [(guest, old.thread(guest)) for guest in (old.guest() for _ in range(guests))]
        query = "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'W') RETURNING wedding_id"
        wedding = one(old.root, query, old.tenant)
        for number, part in enumerate(parts):
            put(old, *everybody[number % guests], number, part, wedding)
        go_round(old, max_rows)


LONG = {
    "empty": "",
    "one letter": "a" * MIB,
    "words": "".join(f"w{number} " for number in range(MIB // 8)),
    "faces": "🎉" * (MIB // 4),
    "Chinese": "菜单婚礼" * (MIB // 12),
    "controls": "".join(map(chr, range(1, 32))) * 1000,
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_text_comes_back_as_it_was(archive: Archive, case: str) -> None:
    archive.policy()
    guest = archive.guest()
    thread = archive.thread(guest)
    for number in range(3):
        message = archive.write(guest, thread, 300 - number, body=LONG[case], subject="x" * 2000)
    archive.add("message_versions", message_id=message, version_number=1, body=LONG[case])
    go_round(archive, times=1)


FAR = ["29999-01-01 00:00:01.000001+00", "200001-06-01 12:34:57.123457+00", "294276-12-31 23:59:59.999999+00"]


@pytest.mark.parametrize("at", FAR)
def test_the_farthest_times_come_back_as_they_were(archive: Archive, at: str) -> None:
    archive.policy()
    (message,) = archive.write_many(1, scheduled_at=at, read_at=at)
    archive.add("message_versions", message_id=message, version_number=1, body="", replaced_at=at)
    go_round(archive, times=1)


# Sentences that all guests write, enough for a dictionary.
SENTENCES = [
    f"{begin} {about} {where} with number {number}."
    for number, (begin, about, where) in enumerate(
        product(
            ("We look forward", "Thank you so much", "Please remember the time", "They have asked"),
            ("for the invitation", "to the dinner", "about the seating plan", "of the afternoon", "on the first morning"),
            ("in the garden", "by the river", "near the old church", "at your house"),
        )
    )
]


@pytest.mark.parametrize("codec", ["auto", "zstd_dict", "zstd", "gzip", "stored"])
def test_every_codec_writes_what_it_is_told_to(archive: Archive, codec: str) -> None:
    guests = [archive.guest() for _ in range(10)]
    threads = [archive.thread(guest) for guest in guests]
    chosen = Random(1)
    for number in range(60):
        body = " ".join(chosen.sample(SENTENCES, 15))
        archive.write(guests[number % 10], threads[number % 10], 300 - number, body=body)
    assert one(archive.root, "SELECT guestcomms.train_archive_dictionary()") is not None
    archive.policy(older_than="1 day", codec=codec)
    before = archive.snapshot()
    archive.archive()
    used = {row[3] for row in archive.segments()}
    if codec != "auto":
        assert used == {codec}
    assert archive.damage() == []
    archive.restore()
    assert archive.snapshot() == before


def test_numbers_do_not_depend_on_how_a_session_shows_them(archive: Archive) -> None:
    """What a session sets for its own display must not round what is stored."""
    message = archive.write_many(1)[0]
    archive.add("message_annotations", message_id=message, kind="k", value="0.1", confidence=0.1 + 0.2, annotator="a")
    archive.detail(message)
    archive.policy()
    before = archive.snapshot()
    for setting in (
        "extra_float_digits = -15",
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'SQL, DMY'",
        "bytea_output = 'escape'",
    ):
        archive.root.execute(f"SET {setting}".encode())
    archive.archive()
    assert column(archive.root, "SELECT body FROM guestcomms.read_archived(%s)", message) != []
    archive.restore()
    for setting in ("extra_float_digits", "timezone", "datestyle", "bytea_output"):
        archive.root.execute(f"RESET {setting}".encode())
    assert archive.snapshot() == before


@pytest.mark.parametrize("segment_messages", ["1", "7", "20", "200"])
def test_segments_are_filled_up_by_later_runs(archive: Archive, segment_messages: str) -> None:
    archive.configure("segment_messages", segment_messages)
    messages = archive.write_many(45)
    archive.detail(messages[3])
    archive.detail(messages[30])
    archive.policy()
    before = archive.snapshot()
    archive.archive(max_rows=4)
    sizes = [len(row[1]) for row in archive.segments()]
    most = int(segment_messages)
    assert sum(sizes) == 45
    assert all(size == most for size in sizes[:-1])
    assert [each for row in archive.segments() for each in row[1]] == messages
    assert archive.damage() == []
    archive.restore()
    assert archive.snapshot() == before


def test_a_segment_is_of_one_guest(archive: Archive) -> None:
    for _ in range(4):
        archive.write_many(3)
    archive.policy()
    archive.archive()
    assert [len(row[1]) for row in archive.segments()] == [3, 3, 3, 3]
    query = "SELECT guest_id, message_ids FROM guestcomms.archive_segments WHERE tenant_id = %s"
    found = rows(archive.root, query, archive.tenant)
    assert len({row[0] for row in found}) == 4


def test_two_messages_of_the_same_time_both_come_back(archive: Archive) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    for _ in range(5):
        message = archive.write(guest, thread, 300)
        for _ in range(2):
            at = archive.ago(299)
            archive.event(message, "opened", occurred_at=at)
    archive.policy()
    go_round(archive, max_rows=2)
