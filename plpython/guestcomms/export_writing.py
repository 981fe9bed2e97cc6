"""Exports, batch by batch: records become pieces of files, and all pieces in the end one zip.

What a batch holds is decided by sql/50_privacy/export_steps.sql. Between batches everything is in the tables export_fragments
and exports, so that each batch is a transaction of its own and memory is bounded by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from guestcomms.export_context import Context, Record, Records, Stage
from guestcomms.export_files import FORMATS, missing_packages, write
from guestcomms.export_keys import missing
from guestcomms.export_protection import Protection, protector
from guestcomms.openpgp import encrypt, read_public_key
from guestcomms.problems import Problem
from guestcomms.zip_parts import DEFLATED, STORED, Entry, compress_piece, read_pieces, write_zip

PART_BYTES = 1_048_575  # a multiple of three: base64 of the parts can be joined
LEVEL = 3  # zlib's; higher ones take up to twice as long for some percent
FETCHED = 4  # fragments at a time
MANIFEST, ABOUT = "manifest.json", "about.json"

FRAGMENTS = "FROM guestcomms_internal.export_fragments WHERE tenant_id = $1 AND export_id = $2"


def check_formats(formats: Sequence[str | None] | None) -> None:
    """Raises Problem for no format, an unknown one, or one that takes a package which the server has not."""
    unknown = [name for name in formats or () if name not in FORMATS]
    if not formats or unknown:
        raise Problem("there is no such format", hint=f"formats is one or more of {', '.join(FORMATS)}.")
    for name in formats:
        packages = missing_packages(str(name))
        if packages:
            package, debian = packages[0]
            raise missing(f"format {name} takes", package, debian)


def write_batch(
    plpy: Any, session: dict[str, Any], tenant_id: str, export_id: str, stage: Stage, documents: Sequence[str], context: str
) -> list[str]:
    """Adds what a stage ('open', 'add' or 'close') has to say to the files of an export; returns the identifiers of its messages.

    documents are JSON objects of lists of records by table; context is what export_context() of the database gives.
    """
    told = json.loads(context)
    records = _merged(documents)
    protect = protector(plpy, session, tenant_id, export_id, told)
    messages = records.get("messages", [])
    known = {
        "subjects": _known(plpy, tenant_id, protect, "threads", ("thread_id", "subject"), messages),
        "guest_names": _known(plpy, tenant_id, protect, "guests", ("guest_id", "display_name"), messages),
    }
    records = {table: [protect.record(table, record) for record in rows] for table, rows in records.items()}
    told = protect.context(told) | known
    pieces: dict[str, bytes] = {}
    if stage == "open" and told["about"] is not None:
        pieces[ABOUT] = _pretty(told["about"])
    for name in told["formats"]:
        pieces.update(write(name, stage, records, _file_context(told)))
    _add_pieces(plpy, tenant_id, export_id, pieces, LEVEL if told["compress"] else 0)
    counts = told["counts"] | {table: told["counts"].get(table, 0) + len(rows) for table, rows in records.items()}
    conversations = _conversations(told["conversations"], records.get("messages", []))
    plan = plpy.prepare(
        "UPDATE guestcomms.exports SET counts = $3, conversations = $4 WHERE tenant_id = $1 AND export_id = $2",
        ["uuid", "uuid", "jsonb", "jsonb"],
    )
    plpy.execute(plan, [tenant_id, export_id, json.dumps(counts), json.dumps(conversations)])
    return [message["message_id"] for message in messages]


def assemble(
    plpy: Any,
    session: dict[str, Any],
    tenant_id: str,
    export_id: str,
    context: str,
    *,
    public_key: str | None,
    passphrase: str | None,
    file_name: str,
) -> tuple[int, int, bytes]:
    """Makes the file of an export from its fragments and stores it in parts: bytes, parts, SHA-256."""
    told = json.loads(context)
    told = protector(plpy, session, tenant_id, export_id, told).context(told)
    made_at = datetime.fromisoformat(told["made_at"])
    method = DEFLATED if told["compress"] else STORED
    files = _files(plpy, tenant_id, export_id)
    manifest = _pretty(_manifest(told, _described(files, _fragments(plpy, tenant_id, export_id), method)))
    piece = compress_piece(manifest, LEVEL if told["compress"] else 0, 0)
    first = Entry(MANIFEST, method, piece.crc, piece.plain_size, len(piece.data), [piece.data])
    stream = write_zip(_entries(first, files, _fragments(plpy, tenant_id, export_id), method), made_at)
    if public_key is not None or passphrase is not None:
        key = read_public_key(public_key) if public_key is not None else None
        stream = encrypt(stream, public_key=key, passphrase=passphrase, file_name=file_name, made_at=made_at)
    return _store_parts(plpy, tenant_id, export_id, stream)


def _merged(documents: Iterable[str]) -> Records:
    merged: Records = {}
    for document in documents:
        for table, rows in json.loads(document).items():
            merged.setdefault(table, []).extend(rows)
    return merged


def _file_context(told: dict[str, Any]) -> Context:
    return Context(
        schema_version=told["schema_version"],
        export_id=told["export_id"],
        made_at=told["made_at"],
        business=told["business"],
        guest_name=told["guest_name"],
        timezone=told["timezone"],
        language=told["language"],
        about=told["about"],
        left_out=told["left_out"],
        tables={table: [(column["name"], column["type"]) for column in columns] for table, columns in told["tables"].items()},
        batch_number=told["batch_number"],
        has_messages_before=told["message_count"] > 0,
        subjects=told["subjects"],
        addresses=told["addresses"],
        previous=told["conversations"],
        guest_names=told["guest_names"],
    )


def _manifest(told: dict[str, Any], files: list[dict[str, Any]]) -> dict[str, Any]:
    """What docs/reference/export-format.md describes."""
    return {
        "format": "guestcomms-export",
        "schema_version": told["schema_version"],
        "export_id": told["export_id"],
        "made_at": told["made_at"],
        "subject": {"guest_id": told["guest_id"]} if told["guest_id"] else {"tenant_id": told["tenant_id"]},
        "business": told["business"],
        "scope": told["scope"],
        "period": {"since": told["first_sent_at"], "until": told["last_sent_at"]},
        "formats": told["formats"],
        "options": {"redact_others": told["redact_others"], "anonymize": told["anonymize"]},
        "counts": told["counts"],
        "tables": told["tables"],
        "files": files,
        "left_out": told["left_out"],
    }


def _pretty(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


def _add_pieces(plpy: Any, tenant_id: str, export_id: str, pieces: dict[str, bytes], level: int) -> None:
    last = plpy.prepare(
        f"SELECT DISTINCT ON (file_name) file_name, fragment_number, crc {FRAGMENTS} AND file_name = ANY ($3) "
        "ORDER BY file_name, fragment_number DESC",
        ["uuid", "uuid", "text[]"],
    )
    before = {row["file_name"]: row for row in plpy.execute(last, [tenant_id, export_id, list(pieces)])}
    rows: list[tuple[str, int, int, int, bytes]] = []
    for name, data in pieces.items():
        earlier = before.get(name, {"fragment_number": 0, "crc": 0})
        piece = compress_piece(data, level, earlier["crc"])
        rows.append((name, earlier["fragment_number"] + 1, piece.crc, piece.plain_size, piece.data))
    add = plpy.prepare(
        "INSERT INTO guestcomms_internal.export_fragments "
        "(tenant_id, export_id, file_name, fragment_number, crc, plain_bytes, data) "
        "SELECT $1, $2, u.* FROM unnest($3, $4, $5, $6, $7) AS u",
        ["uuid", "uuid", "text[]", "integer[]", "bigint[]", "integer[]", "bytea[]"],
    )
    columns = [[row[place] for row in rows] for place in range(5)]
    plpy.execute(add, [tenant_id, export_id, *columns])


def _files(plpy: Any, tenant_id: str, export_id: str) -> list[tuple[str, int, int, int]]:
    """Name, CRC-32, bytes before and after compression of each file, in the order of _fragments()."""
    plan = plpy.prepare(
        "SELECT file_name, (array_agg(crc ORDER BY fragment_number DESC))[1] AS crc, sum(plain_bytes)::bigint AS plain, "
        f"sum(octet_length(data))::bigint AS stored {FRAGMENTS} GROUP BY file_name ORDER BY file_name",
        ["uuid", "uuid"],
    )
    return [(row["file_name"], row["crc"], row["plain"], row["stored"]) for row in plpy.execute(plan, [tenant_id, export_id])]


class _Fragments:
    """All fragments in the order of files and of their numbers, read as they are asked for; each file's once, in order."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, name: str) -> Iterator[bytes]:
        """The pieces of the file, which is the next one."""
        while self._next is not None and self._next["file_name"] == name:
            yield self._next["data"]
            self._next = next(self._rows, None)


def _fragments(plpy: Any, tenant_id: str, export_id: str) -> _Fragments:
    plan = plpy.prepare(f"SELECT file_name, data {FRAGMENTS} ORDER BY file_name, fragment_number", ["uuid", "uuid"])
    return _Fragments(_rows(plpy.cursor(plan, [tenant_id, export_id])))


def _rows(cursor: Any) -> Iterator[dict[str, Any]]:
    while True:
        rows = cursor.fetch(FETCHED)
        if not rows:
            return
        yield from rows


def _described(files: list[tuple[str, int, int, int]], fragments: _Fragments, method: int) -> list[dict[str, Any]]:
    """Name, bytes and SHA-256 of each file, as the manifest has them."""
    described = []
    for name, _, plain, _ in files:
        digest = sha256()
        for block in read_pieces(fragments.of(name), method):
            digest.update(block)
        described.append({"name": name, "bytes": plain, "sha256": digest.hexdigest()})
    return described


def _entries(first: Entry, files: list[tuple[str, int, int, int]], fragments: _Fragments, method: int) -> Iterator[Entry]:
    yield first
    for name, crc, plain, stored in files:
        yield Entry(name, method, crc, plain, stored, fragments.of(name))


def _store_parts(plpy: Any, tenant_id: str, export_id: str, stream: Iterator[bytes]) -> tuple[int, int, bytes]:
    plan = plpy.prepare(
        "INSERT INTO guestcomms_internal.export_parts (tenant_id, export_id, part_number, data) VALUES ($1, $2, $3, $4)",
        ["uuid", "uuid", "integer", "bytea"],
    )
    digest, size, number = sha256(), 0, 0
    for number, part in enumerate(_cut(stream), 1):
        digest.update(part)
        size += len(part)
        plpy.execute(plan, [tenant_id, export_id, number, part])
    return size, number, digest.digest()


def _cut(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The stream in parts of PART_BYTES, the last one shorter."""
    waiting = bytearray()
    for piece in stream:
        waiting += piece
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)


def _known(
    plpy: Any, tenant_id: str, protect: Protection, table: str, columns: tuple[str, str], messages: Sequence[Record]
) -> dict[str, str | None]:
    """What the messages' conversations or guests are called, by their identifiers, both as the files have them."""
    identifier, name = columns
    plan = plpy.prepare(
        f"SELECT {identifier}, {name} FROM guestcomms.{table} WHERE tenant_id = $1 AND {identifier} = ANY ($2)",
        ["uuid", "uuid[]"],
    )
    rows = plpy.execute(plan, [tenant_id, sorted({message[identifier] for message in messages})])
    found = [protect.record(table, {column: row[column] for column in columns}) for row in rows]
    return {record[identifier]: record[name] for record in found}


def _conversations(earlier: dict[str, str | None] | None, messages: Sequence[Record]) -> dict[str, str | None]:
    """Context.previous for the next batch, in which nobody asks for it where earlier is None."""
    if earlier is None:
        return {}
    found = dict(earlier)
    for message in sorted(messages, key=lambda message: (message["sent_at"], message["message_id"])):
        found[message["thread_id"]] = message["message_id"] if message["channel"] == "email" else found.get(message["thread_id"])
    return found
