"""Records without the people in them: nothing of them stays, what belongs together does, and the store would take it."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from guestcomms import anonymize, pseudonyms
from guestcomms.anonymize import DECISIONS, MOST_DEPTH, Anonymizer, Undecided
from guestcomms.fake_names import FAMILY_NAMES, GIVEN_NAMES
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.columns import COMPUTED

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "60")))
ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
DOCUMENTED = re.compile(r"document_table\('guestcomms\.(\w+)',.*?\$\$\n(.*?)\n\$\$", re.DOTALL)
NOT_EXPORTED = {"tenant_id", *COMPUTED}
# Columns that stay as they are: lists and numbers of the store, of which no column that people write in is one.
KEPT = {
    *("channel", "confidence", "direction", "is_granted", "is_machine", "is_primary", "is_verified", "kind", "language"),
    *("purpose", "rsvp", "status", "step", "step_number", "timezone", "version_number"),
}
CHANNELS = ["email", "sms", "whatsapp", "chat"]

keys = st.binary(min_size=32, max_size=32)
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=40)
moments = st.datetimes(datetime(1995, 1, 1), datetime(2027, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3),
    max_leaves=8,
)


def hidden(text: str) -> str:
    """A redact that leaves nothing."""
    return "[hidden]" if text else ""


def unchanged(text: str) -> str:
    return text


def uuid_v7(at: datetime, rest: UUID) -> str:
    """As guestcomms.uuid_v7() makes them."""
    millisecond = int(at.timestamp()) * 1000 + at.microsecond // 1000
    return str(UUID(bytes=millisecond.to_bytes(6, "big") + rest.bytes[6:]))


def millisecond_of(identifier: str) -> int:
    return int.from_bytes(UUID(identifier).bytes[:6], "big")


def columns_of(table: str, strategy: str) -> list[str]:
    return [column for column, found in DECISIONS[table].items() if found == strategy]


@st.composite
def records(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A record of any set, each column with a value or null."""
    table = draw(st.sampled_from(sorted(DECISIONS)))
    make: dict[str, st.SearchStrategy[Any]] = {
        "uuid": st.uuids().map(str),
        "uuid_v7": st.builds(uuid_v7, moments, st.uuids()),
        "time": moments.map(datetime.isoformat),
        "date": st.dates().map(date.isoformat),
        "shape": json_values,
        "size": st.integers(0, 1 << 62),
        "keep": st.sampled_from(["service", 3, True]),
        "address": st.emails() | texts,
    }
    record = {
        column: draw(st.none() | make.get(strategy, texts))
        for column, strategy in DECISIONS[table].items()
        if column != "channel"
    }
    return table, record | {column: draw(st.sampled_from(CHANNELS)) for column in DECISIONS[table] if column == "channel"}


def values_of(value: Any) -> list[str]:
    """Every text in JSON, but for keys."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in values_of(part)]
    if isinstance(value, list):
        return [text for part in value for text in values_of(part)]
    return [value] if isinstance(value, str) else []


def test_every_column_of_the_store_is_decided() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("sql/*/store/*.sql")))
    documented: dict[str, set[str]] = defaultdict(set)
    for table, lines in DOCUMENTED.findall(source):
        documented[table] |= {line.split()[0] for line in lines.splitlines()} - NOT_EXPORTED
    assert {table: set(columns) for table, columns in DECISIONS.items()} == {table: documented[table] for table in DECISIONS}
    strategies = {strategy for columns in DECISIONS.values() for strategy in columns.values()}
    assert [strategy for strategy in strategies if not hasattr(Anonymizer, f"_{strategy}")] == []


def test_what_stays_is_no_text() -> None:
    kept = {column for table in DECISIONS for column in columns_of(table, "keep")}
    assert kept == KEPT
    assert DECISIONS["message_annotations"]["kind"] == "label"  # not of a list, other than that of requests and events


@pytest.mark.parametrize(("table", "column"), [("guests", "shoe_size"), ("tenants", "name")])
def test_what_is_not_decided_is_refused(table: str, column: str) -> None:
    with pytest.raises(Undecided, match=rf"{table}\.{column}$"):
        Anonymizer(KEY, hidden).record(table, {column: "Zoë Kaya"})


@many
@given(keys, records())
def test_a_key_makes_the_same_of_the_same(key: bytes, drawn: tuple[str, dict[str, Any]]) -> None:
    table, record = drawn
    found = Anonymizer(key, unchanged).record(table, record)
    assert list(found) == list(record)
    assert found == Anonymizer(key, unchanged).record(table, record)
    json.dumps(found)
    assert [column for column, value in record.items() if value is None and found[column] is not None] == []


@many
@given(keys, records())
def test_no_text_of_six_characters_stays(key: bytes, drawn: tuple[str, dict[str, Any]]) -> None:
    table, record = drawn
    found = Anonymizer(key, hidden).record(table, record)
    for column, value in record.items():
        if DECISIONS[table][column] in ("keep", "media_type"):
            continue
        left = "\n".join(values_of(found[column]))
        assert [text for text in values_of(value) if len(text) >= 6 and text in left] == [], column


@many
@given(keys, st.uuids(), st.uuids(), st.sampled_from(sorted(DECISIONS)))
def test_references_lead_to_the_same_record(key: bytes, one: UUID, other: UUID, table: str) -> None:
    anonymizer = Anonymizer(key, hidden)
    record = dict.fromkeys(columns_of(table, "uuid"), str(one))
    found = anonymizer.record("guests", {"guest_id": str(one), "merged_into": str(other)})
    assert set(anonymizer.record(table, record).values()) <= {found["guest_id"]}
    assert (found["guest_id"] == found["merged_into"]) == (one == other)
    assert UUID(found["guest_id"]).version == 4
    assert found["guest_id"] != str(one)


@many
@given(keys, moments, st.uuids(), st.uuids())
def test_identifiers_hold_the_shifted_time(key: bytes, at: datetime, one: UUID, other: UUID) -> None:
    """The CHECK of messages and events: the first 48 bits are the millisecond of the time, rounded down."""
    anonymizer = Anonymizer(key, hidden)
    message = anonymizer.record("messages", {"message_id": uuid_v7(at, one), "sent_at": at.isoformat()})
    sent_at = datetime.fromisoformat(message["sent_at"])
    assert millisecond_of(message["message_id"]) == int(sent_at.timestamp()) * 1000 + sent_at.microsecond // 1000
    assert sent_at >= datetime(1995, 1, 1, tzinfo=UTC)
    assert UUID(message["message_id"]).version == 7
    assert UUID(message["message_id"]).variant == uuid4().variant
    event = anonymizer.record(
        "message_events",
        {"event_id": uuid_v7(at, other), "message_id": uuid_v7(at, one), "occurred_at": at.isoformat()},
    )
    assert event["message_id"] == message["message_id"]
    assert (event["occurred_at"], millisecond_of(event["event_id"])) == (message["sent_at"], millisecond_of(event["message_id"]))
    assert (event["event_id"] == event["message_id"]) == (uuid_v7(at, one) == uuid_v7(at, other))
    assert message["message_id"][13:] != uuid_v7(at, one)[13:]


@many
@given(keys, moments, st.dates(date(1996, 1, 1), date(2030, 1, 1)))
def test_times_go_back_by_whole_weeks(key: bytes, at: datetime, day: date) -> None:
    found = Anonymizer(key, hidden).record("weddings", {"created_at": at.isoformat(), "held_on": day.isoformat()})
    moved = datetime.fromisoformat(found["created_at"]) - at
    back = day - date.fromisoformat(found["held_on"])
    assert back.days in range(7, 176, 7)
    assert moved == (-back if at >= datetime(1995, 1, 1, tzinfo=UTC) + back else back)


def test_keys_shift_by_different_times() -> None:
    assert len({pseudonyms.shift_days(bytes([number]) * 32, "") for number in range(100)}) == 25


@pytest.mark.parametrize("end", ["infinity", "-infinity"])
def test_times_without_end_stay_so(end: str) -> None:
    found = Anonymizer(KEY, hidden).record("weddings", {"created_at": end, "held_on": end})
    assert found == {"created_at": end, "held_on": end}


def test_times_beyond_the_calendar() -> None:
    anonymizer = Anonymizer(KEY, hidden)
    for value, end in [("0044-03-15T12:00:00+00:00 BC", "-infinity"), ("12026-01-01T00:00:00+00:00", "infinity")]:
        assert anonymizer.record("weddings", {"created_at": value}) == {"created_at": end}
    for value, end in [("0001-01-01", "-infinity"), ("0044-03-15 BC", "-infinity"), ("12026-01-01", "infinity")]:
        assert anonymizer.record("weddings", {"held_on": value}) == {"held_on": end}
    assert anonymizer.record("messages", {"message_id": str(UUID(int=(1 << 128) - 1))})["message_id"][14] == "7"


@pytest.mark.parametrize("channel", CHANNELS)
def test_addresses_reach_nobody_and_differ(channel: str) -> None:
    anonymizer = Anonymizer(KEY, hidden)
    originals = [f"+4477{number:08}" for number in range(20_000)]
    found = [anonymizer.record("guest_addresses", {"channel": channel, "address": each})["address"] for each in originals]
    assert len(set(found)) == len(found)
    form = {"email": r"guest\.[0-9a-f]{20}@example\.(com|org)", "chat": "[0-9a-f]{32}"}
    area = r"[2-9](?!11)[0-9]{2}"
    assert [each for each in found if not re.fullmatch(form.get(channel, rf"\+1{area}55501[0-9]{{6}}"), each)] == []


def test_a_number_is_the_same_by_sms_and_whatsapp() -> None:
    anonymizer = Anonymizer(KEY, hidden)
    found = [anonymizer.record("guest_addresses", {"channel": each, "address": "+4915112345678"}) for each in CHANNELS]
    assert found[1]["address"] == found[2]["address"] != found[3]["address"]


def test_two_numbers_never_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where chance gives the same number to two, the second gets another one, and each keeps its own."""

    def crowded(key: bytes, channel: str, value: str, attempt: int = 0) -> str:
        return f"+1202555{pseudonyms.keyed_number(key, channel, f'{value} {attempt}', 100):04}"

    monkeypatch.setattr(anonymize, "fake_address", crowded)
    anonymizer = Anonymizer(KEY, hidden)
    for _ in range(2):
        found = [anonymizer.record("guest_addresses", {"channel": "sms", "address": str(each)})["address"] for each in range(90)]
        assert len(set(found)) == 90


def test_names_are_others() -> None:
    anonymizer = Anonymizer(KEY, hidden)
    names = [f"{given} {family}" for given in GIVEN_NAMES for family in FAMILY_NAMES[:20]]
    found = {name: anonymizer.record("guests", {"display_name": name})["display_name"] for name in names}
    assert [name for name, fake in found.items() if set(name.split()) & set(fake.split())] == []
    assert len(set(found.values())) > len(names) * 0.8
    assert pseudonyms.fake_name(KEY, "zoë  KAYA ") == pseudonyms.fake_name(KEY, "Zoë Kaya")
    everybody = " ".join(GIVEN_NAMES)
    assert pseudonyms.fake_name(KEY, everybody).split()[0] in GIVEN_NAMES
    wedding = anonymizer.record("weddings", {"name": "Zoë & Amir", "place": "Leeds Castle"})
    assert re.fullmatch(r"\w+ \w+ & \w+ \w+", wedding["name"])
    assert wedding["place"] is None


@pytest.mark.parametrize("names", [GIVEN_NAMES, FAMILY_NAMES])
def test_lists_of_names_have_each_once(names: tuple[str, ...]) -> None:
    assert len(names) == len(set(names)) > 100
    assert min(map(len, names)) >= 3


def test_staff_stay_the_same_people() -> None:
    anonymizer = Anonymizer(KEY, hidden)
    thread = anonymizer.record("threads", {"assigned_to": "ann"})
    message = anonymizer.record("messages", {"author": "ann"})
    other = anonymizer.record("messages", {"author": "ben"})
    assert re.fullmatch(r"staff [1-9][0-9]*", message["author"])
    assert thread["assigned_to"] == message["author"] != other["author"]


def test_of_json_only_the_shape_stays() -> None:
    metadata = {
        "table": 7, "vegan": True, "ratio": 1.5, "none": None, "note": "aunt Maria", "seats": {"Zoë Kaya": 3, "Maria": ["x", 2]},
        "x" * 41: 1,
    }  # fmt: skip

    def redact(text: str) -> str:
        return text.replace("Maria", "[name]")

    found = Anonymizer(KEY, redact).record("messages", {"metadata": metadata})["metadata"]
    seats = found.pop("seats")
    (hashed,) = [key for key in found if key.startswith("key_")]
    assert found.pop(hashed) == 0
    assert found == {"table": 0, "vegan": False, "ratio": 0.0, "none": None, "note": "[text]"}
    assert list(seats.values()) == [0, ["[text]", 0]]
    assert [re.fullmatch("key_[0-9a-f]{16}", key) is not None for key in seats] == [True, True]


def test_json_without_end_is_cut() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    found = Anonymizer(KEY, hidden).record("message_annotations", {"value": deep})["value"]
    for _ in range(MOST_DEPTH):
        (found,) = found
    assert found is None


def test_files_are_known_by_kind_alone() -> None:
    anonymizer = Anonymizer(KEY, hidden)
    for name, found in [
        ("Zoë.JPG", "attachment.jpg"),
        ("Zoe.kaya", "attachment"),
        ("pdf", "attachment.pdf"),
        ("x.", "attachment"),
    ]:
        assert anonymizer.record("attachments", {"name": name}) == {"name": found}
    for media_type, found in [
        ("Image/JPEG; name=zoe.jpg", "image/jpeg"),
        ("zoe/kaya", "application/octet-stream"),
        ("", "application/octet-stream"),
    ]:
        assert anonymizer.record("attachments", {"media_type": media_type}) == {"media_type": found}
    found_sizes = anonymizer.record("attachments", {"byte_count": 5000, "sha256": "\\x00", "uri": "s3://zoe"})
    assert found_sizes == {"byte_count": 4096, "sha256": None, "uri": None}


def test_texts_keep_the_bounds_of_the_store() -> None:
    def longer(text: str) -> str:
        return text * 3

    def nothing(text: str) -> str:
        return ""

    anonymizer = Anonymizer(KEY, longer)
    assert len(anonymizer.record("campaigns", {"name": "x" * 199})["name"]) == 200
    assert len(anonymizer.record("subject_request_steps", {"note": "x" * 1999})["note"]) == 2000
    body = anonymizer.record("messages", {"body": "x" + "ß" * 500_000})["body"]
    assert (1 << 20) - 1 <= len(body.encode()) <= 1 << 20
    assert Anonymizer(KEY, nothing).record("messages", {"body": "x", "subject": ""}) == {"body": "[text]", "subject": ""}


def test_a_channel_that_is_none() -> None:
    with pytest.raises(pseudonyms.UnknownChannel, match="email, sms, whatsapp, chat"):
        pseudonyms.fake_address(KEY, "fax", "1")
