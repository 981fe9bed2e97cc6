"""Segments from rows to bytes and back, without a database: `plpy` is a small stand-in."""

from __future__ import annotations

import builtins
import json
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from guestcomms import archive
from guestcomms.archive import (
    KEPT_DICTIONARIES,
    DamagedSegment,
    fit_codecs,
    load_dictionary,
    make_dictionary,
    measure_codecs,
    pack_segments,
    unpack_payload,
)
from guestcomms.codec_prediction import Predictor
from guestcomms.compression import Dictionary

TENANT, GUEST, OTHER = (str(UUID(int=number)) for number in (1, 2, 3))
SENT_AT = 1_700_000_000_000_000
SENTENCES = [
    f"Dear guest, the {word} is ready and waits for you at the castle." for word in ("menu", "seating plan", "shuttle", "cake")
]


class Plpy:
    """Dictionaries by identifier, as a database has them; counts how often it is asked."""

    def __init__(self, contents: dict[str, bytes], checksum: bytes | None = None) -> None:
        self.contents, self.checksum, self.asked = contents, checksum, 0

    def prepare(self, query: str, types: list[str]) -> str:
        assert types == ["uuid", "uuid"]
        return query

    def execute(self, _: str, values: list[str]) -> list[dict[str, Any]]:
        self.asked += 1
        content = self.contents.get(values[1])
        return [] if content is None else [{"content": content, "sha256": self.checksum or sha256(content).digest()}]


def identifier(number: int) -> str:
    """A UUID of version 7 with the millisecond of that message."""
    return str(UUID(int=((SENT_AT // 1000 + number) << 80) | 0x7000_8000_0000_0000_0000 | number))


def message(number: int, **values: object) -> dict[str, object]:
    texts = {"direction": "inbound", "channel": "email", "status": "received", "purpose": "service", "source": "app"}
    nothing = dict.fromkeys(
        (
            "wedding_id",
            "campaign_id",
            "language",
            "subject",
            "author",
            "external_id",
            "scheduled_at",
            "read_at",
            "edited_at",
            "deleted_at",
        )
    )
    own = {"message_id": identifier(number), "sent_at": SENT_AT + 1000 * number, "thread_id": OTHER, "metadata": "{}"}
    return {**texts, **nothing, **own, "body": SENTENCES[number % 4], **values}


def version(number: int, body: str) -> dict[str, object]:
    replaced = {"replaced_at": SENT_AT, "replaced_by": "Ann"}
    return {"message_id": identifier(number), "version_number": 1, "subject": None, "body": body, **replaced}


def details(number: int) -> dict[str, list[dict[str, object]]]:
    own = {"message_id": identifier(number), "created_at": SENT_AT}
    return {
        "events": [
            {
                **{"event_id": identifier(number), "occurred_at": SENT_AT + 1000 * number, "message_id": identifier(number)},
                **{"kind": "opened", "is_machine": False, "source": "app", "external_id": None, "detail": None},
                "recorded_at": SENT_AT,
            }
        ],
        "versions": [version(number, "before")],
        "attachments": [
            {
                "attachment_id": OTHER,
                "name": "a",
                "media_type": "b",
                "byte_count": 1,
                "sha256": None,
                "uri": None,
                "deleted_at": None,
                **own,
            }
        ],
        "annotations": [{"annotation_id": OTHER, "kind": "k", "value": "1", "confidence": None, "annotator": "x", **own}],
    }


def pack(
    *contents: dict[str, Any], codec: str = "auto", dictionary: Dictionary | None = None, **parameters: object
) -> list[dict[str, Any]]:
    texts = [json.dumps(content) for content in contents]
    settings = json.dumps({"segment_messages": "20", "trial_share": "0", **parameters})
    name = OTHER if dictionary else None
    return list(pack_segments(TENANT, GUEST, texts, dictionary, name, 1.5 if dictionary else None, codec, settings))


def unpack(packed: dict[str, Any], guest: str = GUEST, dictionary: Dictionary | None = None, **values: Any) -> dict[str, Any]:
    ids = [each["message_id"] for each in json.loads(packed["content"])["messages"]]
    row = {"only_messages": False, **packed, "message_ids": ids, **values}
    columns = (
        row["payload"],
        row["message_ids"],
        row["codec"],
        dictionary,
        row["plain_sha256"],
        row["stored_sha256"],
        row["only_messages"],
    )
    content: dict[str, Any] = json.loads(unpack_payload(TENANT, guest, *columns))
    return content


def test_contents_become_segments_in_order_of_time() -> None:
    contents = [{"messages": [message(number)], **details(number)} for number in reversed(range(45))]
    packed = pack(*contents)
    read = [unpack(each) for each in packed]
    assert [len(content["messages"]) for content in read] == [20, 20, 5]
    assert [each["message_id"] for content in read for each in content["messages"]] == [
        identifier(number) for number in range(45)
    ]
    for content in read:
        ids = [each["message_id"] for each in content["messages"]]
        assert all(sorted(row["message_id"] for row in content[part]) == ids for part in archive.PARTS[1:])
    for each, content in zip(packed, read, strict=True):
        assert unpack(each, only_messages=True) == {"messages": content["messages"], "attachments": content["attachments"]}
    assert all(each["predicted_bytes"] > 0 and each["trials"] is None for each in packed)


def test_long_texts_have_segments_with_fewer_messages() -> None:
    long = [message(number, body="x" * 40_000) for number in range(4)]
    assert [len(unpack(each)["messages"]) for each in pack({"messages": long})] == [1, 1, 1, 1]
    edited = {
        "messages": [message(number) for number in range(4)],
        "versions": [version(number, "x" * 40_000) for number in range(4)],
    }
    assert [len(unpack(each)["messages"]) for each in pack(edited)] == [1, 1, 1, 1]


@pytest.mark.parametrize("codec", ["stored", "gzip", "zstd", "zstd_dict"])
def test_a_codec_may_be_named(codec: str) -> None:
    dictionary = Dictionary("\0".join(SENTENCES).encode())
    (packed,) = pack({"messages": [message(1)]}, codec=codec, dictionary=dictionary)
    assert (packed["codec"], packed["predicted_bytes"]) == (codec, None)
    assert packed["dictionary_id"] == (OTHER if codec == "zstd_dict" else None)
    assert unpack(packed, dictionary=dictionary)["messages"] == [message(1)]
    assert unpack(packed, dictionary=dictionary, only_messages=True) == {"messages": [message(1)]}


def test_what_is_not_there_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    (packed,) = pack({"messages": [message(1)]}, codec="zstd_dict")
    assert packed["codec"] == "zstd"
    found = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return found(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert pack({"messages": [message(1)]}, codec="zstd_dict")[0]["codec"] == "gzip"
    assert pack({"messages": [message(1)]})[0]["codec"] in ("gzip", "stored")
    assert make_dictionary(json.dumps([[GUEST, SENTENCES[0]]] * 100)) == (None, None)
    with pytest.raises(ImportError):
        unpack(packed)


def test_every_damage_is_told() -> None:
    (packed,) = pack({"messages": [message(1)]}, codec="gzip")
    payload = packed["payload"]
    for damaged in (
        {"payload": payload[:-1]},
        {"payload": payload + b"x", "stored_sha256": sha256(payload + b"x").digest()},
        {"plain_sha256": bytes(32)},
        {"message_ids": [identifier(2)]},
    ):
        with pytest.raises(DamagedSegment):
            unpack(packed, **damaged)
    with pytest.raises(DamagedSegment):
        unpack(packed, guest=OTHER)


@pytest.mark.parametrize("broken", ["compress_payload", "unpack_segment"])
def test_what_does_not_read_back_is_not_stored(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    (wrong,) = pack({"messages": [message(1, body="another")]}, codec="gzip")
    answers = {"compress_payload": wrong["payload"], "unpack_segment": wrong["content"]}
    monkeypatch.setattr(archive, broken, lambda *_: answers[broken])
    with pytest.raises(ValueError, match="faithfully"):
        pack({"messages": [message(2)]}, codec="gzip")


def test_trials_teach_the_predictor() -> None:
    contents = [
        {"messages": [message(40 * place + number, body=f"{place} {number} " * 30) for number in range(20)]}
        for place in range(20)
    ]
    packed = pack(*contents, trial_share="1")
    trials = [trial for each in packed for trial in json.loads(each["trials"])]
    assert {trial["codec"] for trial in trials} == {"stored", "gzip", "zstd"}
    assert sum(trial["was_chosen"] for trial in trials) == len(packed)
    learned = fit_codecs(json.dumps(trials))
    assert json.loads(learned) != json.loads(Predictor.prior().to_json())
    first = packed[0]
    measured = measure_codecs(first["payload"], first["codec"], first["level"], None, None, learned)
    assert [(each["codec"], each["stored_bytes"]) for each in measured if each["was_chosen"]] == [
        (first["codec"], len(first["payload"]))
    ]
    assert {each["codec"]: each["stored_bytes"] for each in measured} == {
        each["codec"]: each["stored_bytes"] for each in json.loads(first["trials"])
    }
    assert measure_codecs(first["payload"], first["codec"], first["level"], None, None, None) != measured
    assert pack(contents[0], predictor=json.loads(learned))[0]["predicted_bytes"] > 0


def test_dictionaries_are_kept_for_the_session() -> None:
    names = [str(UUID(int=number)) for number in range(10, 11 + KEPT_DICTIONARIES)]
    plpy, session = Plpy({name: name.encode() for name in names}), {}  # type: ignore[var-annotated]
    assert load_dictionary(plpy, session, TENANT, None) is None
    kept = load_dictionary(plpy, session, TENANT, names[0])
    assert kept is not None
    assert kept.content == names[0].encode()
    assert load_dictionary(plpy, session, TENANT, names[0]) is kept
    assert plpy.asked == 1
    for name in names[1:]:
        load_dictionary(plpy, session, TENANT, name)
    assert load_dictionary(plpy, session, TENANT, names[0]) is not kept


def test_a_dictionary_that_is_not_what_it_was_is_damage() -> None:
    for plpy in (Plpy({}), Plpy({OTHER: b"x"}, checksum=bytes(32))):
        with pytest.raises(DamagedSegment):
            load_dictionary(plpy, {}, TENANT, OTHER)


def test_a_dictionary_is_made_of_what_guests_share() -> None:
    rows = [[str(UUID(int=guest)), f"{SENTENCES[guest % 4]} secret{guest}"] for guest in range(400)]
    content, count = make_dictionary(json.dumps(rows))
    assert content is None or b"secret" not in content
    rows += [[guest, f"{text} {word} " * 3] for guest, text in rows for word in ("roses", "music", "parking", "ceremony")]
    rows += [[guest, " ".join(f"word{number}" for number in range(200))] for guest, _ in rows[:30]]
    content, count = make_dictionary(json.dumps(rows))
    assert content is not None
    assert count
    assert b" waits for you at the castle" in content
    assert b"secret1" not in content
    assert make_dictionary("") == (None, None)
