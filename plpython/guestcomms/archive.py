"""Segments of the archive: rows as JSON to compressed bytes and back, each checked by reading it again.

What PostgreSQL passes and takes is described in sql/40_archive; the functions here need no database but for a dictionary's
content, which comes through the small object `plpy` of PL/Python.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from guestcomms.codec_prediction import Predictor, Trial, features
from guestcomms.compression import Dictionary, available_codecs, compress_payload, decompress_payload
from guestcomms.dictionary import build_dictionary
from guestcomms.segment_format import join_plain, pack_segment, split_plain, unpack_segment

PARTS = ("messages", "events", "versions", "attachments", "annotations")
# Beyond this a segment holds fewer messages: whoever reads one of them reads all.
MOST_TEXT = 64 * 1024
KEPT_DICTIONARIES = 8
LEAST_DICTIONARY, MOST_DICTIONARY = 32 * 1024, 256 * 1024  # bytes
LEVELS = {"stored": 0, "gzip": 6, "zstd": 19, "zstd_dict": 19}

Content = dict[str, list[dict[str, Any]]]


class DamagedSegment(ValueError):
    """The bytes of a segment are not those that were stored."""


def load_dictionary(plpy: Any, session: dict[str, Any], tenant_id: str, dictionary_id: str | None) -> Dictionary | None:
    """The dictionary, kept for the session with what is computed from it; None where there is no identifier.

    Raises DamagedSegment where its content is not what it was.
    """
    if dictionary_id is None:
        return None
    kept: OrderedDict[tuple[str, str], Dictionary] = session.setdefault("guestcomms.dictionaries", OrderedDict())
    key = (tenant_id, dictionary_id)
    if key not in kept:
        plan = plpy.prepare(
            "SELECT content, sha256 FROM guestcomms.archive_dictionaries WHERE tenant_id = $1 AND dictionary_id = $2",
            ["uuid", "uuid"],
        )
        rows = plpy.execute(plan, [tenant_id, dictionary_id])
        if not rows or sha256(rows[0]["content"]).digest() != rows[0]["sha256"]:
            raise DamagedSegment(f"Its dictionary {dictionary_id} is not what it was.")
        kept[key] = Dictionary(rows[0]["content"])
        if len(kept) > KEPT_DICTIONARIES:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def digest(tenant_id: str, guest_id: str, plain: bytes) -> bytes:
    """SHA-256 of whose a segment is and of what is in it."""
    return sha256(UUID(tenant_id).bytes + UUID(guest_id).bytes + plain).digest()


def unpack_payload(
    tenant_id: str,
    guest_id: str,
    payload: bytes,
    message_ids: Sequence[str],
    codec: str,
    dictionary: Dictionary | None,
    plain_sha256: bytes,
    stored_sha256: bytes,
    only_messages: bool = False,
) -> str:
    """The content of a segment as JSON text; only_messages as unpack_segment() has it.

    Raises DamagedSegment where anything is not as it was stored, ImportError where zstandard is needed and missing.
    """
    if sha256(payload).digest() != stored_sha256:
        raise DamagedSegment("The stored bytes do not have their checksum.")
    try:
        opaque, rest = decompress_payload(payload, codec, dictionary)
        plain = join_plain(b"".join(UUID(each).bytes for each in message_ids), opaque, rest)
        if digest(tenant_id, guest_id, plain) != plain_sha256:
            raise DamagedSegment("The bytes before compression do not have their checksum.")
        return unpack_segment(plain, only_messages)
    except DamagedSegment:
        raise
    except ValueError as error:
        raise DamagedSegment("The stored bytes cannot be decoded.") from error


def _order(part: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return {
        "messages": lambda: (row["sent_at"], row["message_id"]),
        "events": lambda: (row["occurred_at"], row["event_id"]),
        "versions": lambda: (row["message_id"], row["version_number"]),
        "attachments": lambda: (row["created_at"], row["attachment_id"]),
        "annotations": lambda: (row["created_at"], row["annotation_id"]),
    }[part]()


def _divide(contents: Sequence[str], most_messages: int) -> Iterator[Content]:
    """Contents of one guest as contents of segments, in order of time, without two of the same message."""
    merged: Content = {part: [] for part in PARTS}
    for text in contents:
        content = json.loads(text)
        for part in PARTS:
            merged[part] += content.get(part) or []
    for part in PARTS:
        merged[part].sort(key=partial(_order, part))
    segments: list[Content] = []
    place: dict[str, Content] = {}
    beside: Counter[str] = Counter()
    for version in merged["versions"]:
        beside[version["message_id"]] += len(version["body"])
    size = 0
    for message in merged["messages"]:
        length = len(message["body"]) + len(message["subject"] or "") + beside[message["message_id"]]
        if not segments or len(segments[-1]["messages"]) >= most_messages or size + length > MOST_TEXT:
            segments.append({part: [] for part in PARTS})
            size = 0
        segments[-1]["messages"].append(message)
        size += length
        place[message["message_id"]] = segments[-1]
    for part in PARTS[1:]:
        for row in merged[part]:
            place[row["message_id"]][part].append(row)
    return iter(segments)


def pack_segments(
    tenant_id: str,
    guest_id: str,
    contents: Sequence[str],
    dictionary: Dictionary | None,
    dictionary_id: str | None,
    dictionary_age: float | None,
    codec: str,
    parameters: str,
) -> Iterator[dict[str, Any]]:
    """Segments of one guest's messages, each a row of guestcomms_internal.packed_segment.

    contents: JSON texts; dictionary_age in days; codec: auto, or a name; parameters: JSON with segment_messages, trial_share
    (of segments that are tried with every codec) and predictor. Raises ValueError where a segment does not read back.
    """
    settings = json.loads(parameters)
    predictor = Predictor.from_json(json.dumps(settings["predictor"])) if settings.get("predictor") else Predictor.prior()
    candidates = available_codecs(dictionary is not None)
    names = {name for name, _ in candidates}
    if codec != "auto" and codec not in names:
        codec = "zstd" if codec == "zstd_dict" and "zstd" in names else "gzip"
    for content in _divide(contents, int(settings["segment_messages"])):
        packed = pack_segment(json.dumps(content))
        ids, opaque, rest = split_plain(packed.plain)
        measured = features(rest, len(opaque), dictionary, dictionary_age or 0.0)
        predicted = predictor.predict(measured)
        chosen = (codec, LEVELS[codec]) if codec != "auto" else predictor.choose(measured, candidates)
        payload = compress_payload(opaque, rest, *chosen, dictionary)
        if decompress_payload(payload, chosen[0], dictionary) != (opaque, rest) or join_plain(ids, opaque, rest) != packed.plain:
            raise ValueError("a segment was not compressed faithfully")
        text = unpack_segment(packed.plain)
        if json.loads(text) != content:
            raise ValueError("a segment was not packed faithfully")
        checksum = digest(tenant_id, guest_id, packed.plain)
        # By its hash: as good as by chance, and the same whenever it is repeated.
        is_tried = codec == "auto" and int.from_bytes(checksum[:4], "big") < float(settings["trial_share"]) * 2**32
        trials = try_codecs(opaque, rest, measured, predictor, candidates, chosen, dictionary) if is_tried else []
        yield {
            "content": text,
            "codec": chosen[0],
            "level": chosen[1],
            "dictionary_id": dictionary_id if chosen[0] == "zstd_dict" else None,
            "plain_bytes": len(packed.plain),
            "predicted_bytes": round(predicted[chosen]) if codec == "auto" else None,
            "plain_sha256": checksum,
            "stored_sha256": sha256(payload).digest(),
            "payload": payload,
            "trials": json.dumps(trials) if is_tried else None,
        }


def try_codecs(
    opaque: bytes,
    rest: bytes,
    measured: list[float],
    predictor: Predictor,
    candidates: Sequence[tuple[str, int]],
    chosen: tuple[str, int],
    dictionary: Dictionary | None,
) -> list[dict[str, Any]]:
    """What each candidate makes of a segment, as rows of archive_codec_trials."""
    predicted = predictor.predict(measured)
    return [
        {
            "codec": name,
            "level": level,
            "features": measured,
            "predicted_bytes": round(predicted[name, level]),
            "stored_bytes": len(compress_payload(opaque, rest, name, level, dictionary)),
            "was_chosen": (name, level) == chosen,
        }
        for name, level in candidates
    ]


def measure_codecs(
    payload: bytes, codec: str, level: int, dictionary: Dictionary | None, dictionary_age: float | None, predictor: str | None
) -> list[dict[str, Any]]:
    """What each codec makes of a stored segment, as try_codecs() gives it; was_chosen is the one it is stored by."""
    opaque, rest = decompress_payload(payload, codec, dictionary)
    measured = features(rest, len(opaque), dictionary, dictionary_age or 0.0)
    known = Predictor.from_json(predictor) if predictor else Predictor.prior()
    return try_codecs(opaque, rest, measured, known, available_codecs(dictionary is not None), (codec, level), dictionary)


def fit_codecs(trials: str) -> str:
    """Coefficients, as JSON, from a JSON array of trials: features, codec, level and stored_bytes of each."""
    return Predictor.fit(
        Trial(trial["features"], trial["codec"], trial["level"], trial["stored_bytes"]) for trial in json.loads(trials)
    ).to_json()


def make_dictionary(texts: str) -> tuple[bytes | None, int | None]:
    """A dictionary's content and how many strings it holds, from a JSON array of pairs of guest and text."""
    if len(available_codecs(True)) == len(available_codecs(False)):
        return None, None  # nothing would be compressed with it
    rows = [(guest, text) for guest, text in json.loads(texts or "[]")]
    # As much as is worth its place: a sixteenth of the texts it is made from.
    size = min(MOST_DICTIONARY, max(LEAST_DICTIONARY, sum(len(text) for _, text in rows) // 16))
    draft = build_dictionary(rows, size)
    return (None, None) if draft is None else (draft.content, draft.string_count)
