"""The bytes of archived segments: nothing is lost, damage is a ValueError, and they are small."""

from __future__ import annotations

import json
import os
import random
import uuid
from typing import Any

import pytest
from guestcomms.segment_format import TABLES, join_plain, pack_segment, split_plain, unpack_segment
from hypothesis import given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
Content = dict[str, list[dict[str, Any]]]
LEAST, MOST = -(1 << 63), (1 << 63) - 1

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
times = st.one_of(st.integers(LEAST, MOST), st.integers(1_600_000_000_000, 1_600_001_000_000).map(lambda each: 1000 * each))
words = st.one_of(st.sampled_from(["", "{}", "email", "de", "photo.jpg", "null"]), texts)
tokens = st.one_of(texts, st.binary(max_size=70).map(bytes.hex), st.binary(min_size=8, max_size=20).map(lambda b: "SM" + b.hex()))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "time": times,
    "word": words,
    "token": tokens,
    "text": texts,
    "number": st.integers(LEAST, MOST),
    "flag": st.booleans(),
}


def uuid_v7(microseconds: int, bits: int) -> str:
    """A UUID of version 7 with the millisecond of a time, and random bits."""
    number = (microseconds // 1000 % 2**48) << 80 | 7 << 76 | (bits >> 62 & 0xFFF) << 64 | 2 << 62 | bits & (1 << 62) - 1
    return str(uuid.UUID(int=number))


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Any content: few identifiers, so that rows refer to each other; identifiers that fit their time and that do not."""
    pool = [str(uuid.UUID(int=draw(st.integers(0, 2**128 - 1)))) for _ in range(3)]
    content: Content = {}
    for table in TABLES:
        rows = []
        for _ in range(draw(st.integers(0, 4))):
            row: dict[str, Any] = {}
            for column in table.columns:
                values = VALUES.get(column.kind, st.sampled_from(pool))
                row[column.name] = draw(st.none() | values if column.nullable else values)
            own_id, own_time = (
                (table.own_id, table.id_time)
                if table.own_id
                else ("message_id", "sent_at")
                if table.name == "messages"
                else ("", "")
            )
            if own_id:
                bits = draw(st.integers(0, 2**128 - 1))
                row[own_id] = draw(st.sampled_from([uuid_v7(row[own_time], bits), str(uuid.UUID(int=bits)), *pool]))
                pool.append(row[own_id])
            rows.append(row)
        content[table.name] = rows
    return content


def message(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A usual message."""
    sent_at = 1_700_000_000_000_000 + number * 3_600_123_457
    row: dict[str, Any] = {column.name: None for column in TABLES[0].columns}
    row |= {
        "message_id": uuid_v7(sent_at, random.Random(number).getrandbits(74)),
        "sent_at": sent_at,
        "thread_id": str(uuid.UUID(int=7, version=4)),
        "direction": "inbound",
        "channel": "email",
        "status": "received",
        "purpose": "service",
        "body": f"Could we have table {number}, please?",
        "source": "app",
        "metadata": "{}",
    }
    return row | changes


def usual(count: int = 20, events: int = 4) -> Content:
    """What a segment usually is, with one version, attachment and annotation."""
    chance = random.Random(5)
    content: Content = {table.name: [] for table in TABLES}
    for number in range(count):
        row = message(number)
        content["messages"].append(row)
        for step, kind in enumerate(("queued", "sent", "delivered", "read")[:events]):
            occurred_at = row["sent_at"] + step * 1_000_000 + chance.randrange(1_000_000)
            event = {"message_id": row["message_id"], "occurred_at": occurred_at, "kind": kind, "is_machine": False}
            event |= {"event_id": uuid_v7(occurred_at, chance.getrandbits(74)), "source": "app", "external_id": None}
            content["events"].append(event | {"detail": None, "recorded_at": occurred_at + chance.randrange(100_000)})
    first = content["messages"][0]
    own = {"message_id": first["message_id"]}
    created = {"created_at": first["sent_at"] + 5_000_000}
    content["versions"] = [
        own | {"version_number": 1, "subject": None, "body": "Could we?", "replaced_at": 5, "replaced_by": "anna"}
    ]
    identifier = str(uuid.UUID(int=99, version=4))
    attachment = {"attachment_id": identifier, "name": "menu.pdf", "media_type": "application/pdf", "byte_count": 12345}
    content["attachments"] = [own | created | attachment | {"sha256": "ab" * 32, "uri": None, "deleted_at": None}]
    annotation = {"annotation_id": identifier, "kind": "language", "value": '"en"', "confidence": "0.99", "annotator": "detector"}
    content["annotations"] = [own | created | annotation]
    return content


def restored(content: Any) -> Any:
    """What is read of what was packed."""
    return json.loads(unpack_segment(pack_segment(json.dumps(content)).plain))


@many
@given(contents())
def test_any_content_is_restored(content: Content) -> None:
    assert restored(content) == content


@many
@given(contents())
def test_the_same_content_gives_the_same_bytes(content: Content) -> None:
    packed = pack_segment(json.dumps(content))
    other_spelling = json.dumps({name: content[name] for name in reversed(content)}, indent=1, sort_keys=True, ensure_ascii=False)
    assert pack_segment(other_spelling) == packed
    assert pack_segment(unpack_segment(packed.plain)) == packed


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\0",
        "a\0\0b",
        "é" * 500_000,
        "x" * 1_000_000,
        "👰🏽‍♀️🤵🏾",
        "Grüße שלום مرحبا 你好 नमस्ते",
        "\ufeff\u2028\uffff",
        '\\"\n\r\t',
    ],
    ids=range(9),
)
def test_bodies_of_any_script_and_length_are_restored(body: str) -> None:
    content = {**usual(1), "messages": [message(0, body=body), message(1, body=body, subject=body[:100])]}
    assert restored(content) == content


@pytest.mark.parametrize("given_content", [{}, {"messages": None, "events": []}, {table.name: [] for table in TABLES}])
def test_missing_lists_are_empty(given_content: Content) -> None:
    assert restored(given_content) == {table.name: [] for table in TABLES}


def test_missing_keys_that_may_be_null_are_null() -> None:
    row = {name: value for name, value in message().items() if value is not None}
    assert restored({"messages": [row]})["messages"] == [message()]


def test_events_of_messages_that_are_elsewhere_are_restored() -> None:
    content = {**usual(), "messages": []}
    assert restored(content) == content


def test_the_order_of_rows_is_kept() -> None:
    content = usual()
    for rows in content.values():
        rows.reverse()
    random.Random(1).shuffle(content["events"])
    assert restored(content) == content


@pytest.mark.parametrize("sent_at", [LEAST, MOST, 0, -1, -999, 999, 1 << 62])
def test_extreme_times_are_restored(sent_at: int) -> None:
    rows = [message(0, sent_at=sent_at, read_at=MOST, edited_at=LEAST, deleted_at=-1), message(1, read_at=0, edited_at=LEAST)]
    assert restored({"messages": rows})["messages"] == rows


def test_message_ids_are_told_in_order() -> None:
    content = usual()
    packed = pack_segment(json.dumps(content))
    assert packed.message_ids == [row["message_id"] for row in content["messages"]]
    assert split_plain(packed.plain)[0] == b"".join(uuid.UUID(each).bytes for each in packed.message_ids)


def test_the_parts_make_the_whole() -> None:
    plain = pack_segment(json.dumps(usual())).plain
    assert join_plain(*split_plain(plain)) == plain
    assert plain[0] == split_plain(plain)[2][0] == 1


def test_identifiers_are_not_in_the_payload_and_times_are_not_kept_twice() -> None:
    packed = pack_segment(json.dumps(usual(20, events=4)))
    _, opaque, rest = split_plain(packed.plain)
    assert not any(uuid.UUID(each).bytes[6:] in opaque + rest for each in packed.message_ids)
    # 80 events of 74 bits, and at most 5 bytes for the two times of each; little else is random.
    assert len(opaque) < 80 * (74 / 8 + 5) + 150
    _, _, alone = split_plain(pack_segment(json.dumps({"messages": usual()["messages"]})).plain)
    assert len(alone) < sum(len(row["body"]) + 1 for row in usual()["messages"]) + 80


def changed(**changes: Any) -> Any:
    return {"messages": [message(**changes)]}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"letters": []},
        {"messages": {}},
        {"messages": [1]},
        changed(mood="happy"),
        changed(body=None),
        changed(body=1),
        changed(body="\ud800"),
        changed(sent_at=1.5),
        changed(sent_at=True),
        changed(sent_at=MOST + 1),
        changed(read_at=LEAST - 1),
        changed(message_id=None),
        changed(message_id="00000000-0000-7000-8000-00000000000"),
        changed(message_id="00000000-0000-7000-8000-00000000000A"),
        changed(thread_id="00000000_0000-7000-8000-000000000000"),
        {"events": [{"kind": "sent"}]},
    ],
    ids=range(17),
)
def test_what_could_not_be_restored_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        pack_segment(json.dumps(content))


@pytest.mark.parametrize(("version", "variant"), [(1, 2), (4, 2), (7, 0), (7, 3), (0, 0), (15, 1)])
def test_identifiers_that_hold_their_time_but_are_no_version_7_are_restored(version: int, variant: int) -> None:
    content = usual(1)
    for event in content["events"]:
        number = event["occurred_at"] // 1000 << 80 | version << 76 | 0x345 << 64 | variant << 62 | 98765
        event["event_id"] = str(uuid.UUID(int=number))
    assert restored(content) == content


def test_a_message_that_comes_twice_is_restored() -> None:
    content = usual(2)
    content["messages"] += [row | {"sent_at": 5, "body": "again"} for row in content["messages"]]
    assert restored(content) == content


def test_bytes_that_are_left_are_refused() -> None:
    ids, opaque, rest = split_plain(pack_segment(json.dumps(usual(2))).plain)
    for damaged in ((ids + b"\0", opaque, rest), (ids, opaque + b"\0", rest), (ids, opaque, rest + b"\0")):
        with pytest.raises(ValueError, match="damaged"):
            unpack_segment(join_plain(*damaged))


@pytest.mark.parametrize(("limit", "value"), [("MOST_ROWS", 5), ("MOST_CHARACTERS", 50)])
def test_what_is_too_large_is_neither_packed_nor_read(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    plain = pack_segment(json.dumps(usual(2))).plain
    monkeypatch.setattr(f"guestcomms.segment_format.{limit}", value)
    with pytest.raises(ValueError, match="large"):
        pack_segment(json.dumps(usual(2)))
    with pytest.raises(ValueError, match=r"large|more rows"):
        unpack_segment(plain)


def test_unknown_versions_are_refused() -> None:
    plain = pack_segment(json.dumps(usual())).plain
    for version in (0, 2, 255):
        with pytest.raises(ValueError, match="version"):
            unpack_segment(bytes([version]) + plain[1:])


def read_or_refused(plain: bytes) -> None:
    """Damage that is not seen must still give what can be packed."""
    try:
        text = unpack_segment(plain)
    except ValueError:
        return
    assert json.loads(unpack_segment(pack_segment(text).plain)) == json.loads(text)


def test_everything_cut_short_is_refused() -> None:
    plain = pack_segment(json.dumps(usual(3, events=2))).plain
    for length in range(len(plain)):
        with pytest.raises(ValueError, match=r"."):
            unpack_segment(plain[:length])
    with pytest.raises(ValueError, match=r"."):
        unpack_segment(plain + b"\0")


def test_flipped_bits_are_refused_or_read() -> None:
    plain = pack_segment(json.dumps(usual(3, events=2))).plain
    for place in range(8 * len(plain)):
        damaged = bytearray(plain)
        damaged[place // 8] ^= 1 << place % 8
        read_or_refused(bytes(damaged))


@many
@given(st.binary(max_size=200), st.binary(max_size=64), st.integers(0, 3))
def test_any_bytes_are_refused_or_read(rest: bytes, opaque: bytes, count: int) -> None:
    read_or_refused(join_plain(bytes(16 * count), opaque, b"\1" + rest))
    read_or_refused(b"\1" + rest)


@pytest.mark.parametrize("place", range(6))
def test_absurd_counts_are_refused_before_memory_is_taken(place: int) -> None:
    counts = [b"\0"] * 6
    counts[place] = b"\xff\xff\xff\xff\xff\x7f"
    with pytest.raises(ValueError, match="damaged"):
        unpack_segment(join_plain(b"", b"", b"\1" + b"".join(counts) + b"\1" * 50))
