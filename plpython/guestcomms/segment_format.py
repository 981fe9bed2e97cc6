"""The canonical bytes of one archived segment: some twenty messages of a guest with all that belongs to them.

A segment is kept column by column, as column stores do (Abadi, Boncz, Harizopoulos: The Design and Implementation of
Modern Column-Oriented Database Systems, 2013), in three parts, so that random bits do not spoil the compression of text:

- ids: 16 bytes of each message, in order;
- opaque: a stream of bits that look random: other identifiers, hashes, the low bits of times;
- rest: the version, the sizes of the tables, the texts (each ends with NUL), then the columns as varints (LEB128).

Plain bytes are: version (1 byte), varint length of ids, ids, varint length of opaque, opaque, rest without its version.

Identifiers (`reference`) and repeated strings (`word`) are numbers of a table, 0 for null. Times are differences from
another time of the row: the number of bits goes to rest, the bits below the highest to opaque (as Elias gamma codes do).
UUIDs of version 7 whose millisecond is that of their row take 74 bits, those of version 4 take 122, others 128.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, NamedTuple

from guestcomms.segment_bits import (
    LEAST,
    MOST,
    BitReader,
    BitWriter,
    ByteReader,
    ByteWriter,
    read_numbers,
    read_times,
    write_numbers,
    write_times,
)

VERSION = 1
MOST_ROWS = 1 << 20
MOST_CHARACTERS = 1 << 30  # as much as a value of PostgreSQL can hold
TOKEN = re.compile(r"(.*?)((?:[0-9a-f]{2}){8,64})", re.DOTALL)
TOKEN_CHARACTERS = 200

# Strings that every store has; part of version 1, so they never change.
WORDS = (
    "", "{}", "inbound", "outbound", "email", "sms", "whatsapp", "chat", "received", "queued", "sent", "delivered", "read",
    "failed", "cancelled", "service", "marketing", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed",
    "app", "en", "de", "fr", "it", "es", "pt", "nl", "pl", "ru", "tr", "ar", "zh", "ja", "language", "sentiment", "intent",
    "image/jpeg", "image/png", "application/pdf", "text/calendar", "null", "0", "0.5", "0.9", "1",
)  # fmt: skip


class Packed(NamedTuple):
    """message_ids: the UUIDs of the messages in order; plain: the bytes to checksum and to split before compression."""

    message_ids: list[str]
    plain: bytes


class Column(NamedTuple):
    """kind: time, reference, near (a reference that follows the row before), word, token, text, number or flag."""

    name: str
    kind: str
    nullable: bool = False
    base: str = ""


class Table(NamedTuple):
    """own_id, id_time: identifier unique to each row, and the time it may hold; not those of messages, kept apart."""

    name: str
    own_id: str
    id_time: str
    columns: tuple[Column, ...]


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from `name:kind`, `?` after the kind where null is allowed, `-base` where a time is told from another."""
    columns = []
    for word in text.split():
        name, _, kind = word.partition(":")
        kind, _, base = kind.partition("-")
        columns.append(Column(name, kind.rstrip("?"), kind.endswith("?"), base))
    return tuple(columns)


TABLES = (
    Table("messages", "", "", _columns(
        "sent_at:time-message_id thread_id:reference wedding_id:reference? campaign_id:reference? direction:word channel:word"
        " status:word purpose:word language:word? subject:word? body:text author:word? source:word external_id:token?"
        " scheduled_at:time?-sent_at read_at:time?-sent_at edited_at:time?-sent_at deleted_at:time?-sent_at metadata:word"
    )),
    Table("events", "event_id", "occurred_at", _columns(
        "message_id:near occurred_at:time-sent_at kind:word is_machine:flag source:word external_id:token? detail:word?"
        " recorded_at:time-occurred_at"
    )),
    Table("versions", "", "", _columns(
        "message_id:near version_number:number subject:word? body:text replaced_at:time-sent_at replaced_by:word"
    )),
    Table("attachments", "attachment_id", "created_at", _columns(
        "message_id:near created_at:time-sent_at name:word media_type:word byte_count:number sha256:token? uri:word?"
        " deleted_at:time?-created_at"
    )),
    Table("annotations", "annotation_id", "created_at", _columns(
        "message_id:near created_at:time-sent_at kind:word value:word confidence:word? annotator:word"
    )),
)  # fmt: skip
LOW_62 = (1 << 62) - 1


def _uuid_number(text: object) -> int:
    """The 128 bits of a UUID in PostgreSQL's spelling; ValueError for any other, which could not be restored as it was."""
    if isinstance(text, str) and len(text) == 36:
        number = int(text.replace("-", ""), 16)
        if _uuid_text(number) == text:
            return number
    raise ValueError("not a UUID in canonical spelling")


def _uuid_text(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _id_time(number: int) -> int:
    """Microseconds since 1970 that the first 48 bits say, if they are milliseconds."""
    return (number >> 80) * 1000


def _id_form(number: int, millisecond: int) -> int:
    """How an identifier is written: 1, version 7 of that millisecond (74 bits); 2, version 4 (122); 0, any other (128)."""
    if number >> 62 & 3 != 2:
        return 0
    version = number >> 76 & 15
    return 1 if version == 7 and number >> 80 == millisecond else 2 if version == 4 else 0


def _write_id(bits: BitWriter, number: int, form: int) -> None:
    if form == 0:
        bits.write(number, 128)
        return
    if form == 2:
        bits.write(number >> 80, 48)
    bits.write(number >> 64 & 0xFFF, 12)
    bits.write(number & LOW_62, 62)


def _read_id(bits: BitReader, form: int, millisecond: int) -> int:
    if form > 2 or (form == 1 and not 0 <= millisecond < 1 << 48):
        raise ValueError("damaged segment: form of an identifier")
    if form == 0:
        return bits.read(128)
    head, version = (bits.read(48), 4) if form == 2 else (millisecond, 7)
    return head << 80 | version << 76 | bits.read(12) << 64 | 2 << 62 | bits.read(62)


def _checked_rows(table: Table, rows: object) -> list[dict[str, Any]]:
    """The rows of one list of the content; ValueError where they are not what the format can keep."""
    if rows is None:
        return []
    # message_id is not a column of messages, for ids are kept apart.
    names = {column.name for column in table.columns} | {"message_id", table.own_id} - {""}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() <= names for row in rows):
        raise ValueError(f"{table.name}: not a list of objects, or an unknown key")
    for column in table.columns:
        expected: type = {"time": int, "number": int, "flag": bool}.get(column.kind, str)
        for row in rows:
            value = row.get(column.name)
            if type(value) is not expected and not (value is None and column.nullable):
                raise ValueError(f"{table.name}: {column.name} is missing or of another type")
            if isinstance(value, int) and not LEAST <= value <= MOST:
                raise ValueError(f"{table.name}: {column.name} is beyond 64 bits")
    return rows


def _check_size(content: dict[str, list[dict[str, Any]]]) -> None:
    """ValueError where the content is larger than PostgreSQL could have made it, so that damage cannot fill the memory."""
    characters = 0
    for table in TABLES:
        names = [column.name for column in table.columns if column.kind in ("word", "token", "text")]
        characters += sum(len(row[name]) for name in names for row in content[table.name] if row.get(name))
    if sum(map(len, content.values())) > MOST_ROWS or characters > MOST_CHARACTERS:
        raise ValueError("segment is too large")


class _Writer:
    def __init__(self, message_ids: list[int]) -> None:
        self.out, self.bits = ByteWriter(), BitWriter()
        self.references: dict[int, int] = {}
        for place, number in enumerate(message_ids):
            self.references.setdefault(number, place + 1)
        self.next_reference = len(message_ids) + 1
        self.extra_ids: list[int] = []
        self.words = {word: place + 1 for place, word in enumerate(WORDS)}
        self.texts: list[str] = []

    def reference(self, text: str | None) -> int:
        if text is None:
            return 0
        number = _uuid_number(text)
        if number not in self.references:
            self.references[number] = self.next_reference
            self.next_reference += 1
            self.extra_ids.append(number)
        return self.references[number]

    def word(self, text: str | None) -> int:
        return 0 if text is None else self.words.setdefault(text, len(self.words) + 1)

    def column(self, column: Column, values: list[Any], bases: list[int]) -> None:
        if column.kind == "time":
            write_times(self.out, self.bits, values, bases, column.nullable)
        elif column.kind in ("reference", "near"):
            write_numbers(self.out, [self.reference(value) for value in values], steps=column.kind == "near")
        elif column.kind == "word":
            write_numbers(self.out, [self.word(value) for value in values])
        elif column.kind == "token":
            self.token(values)
        elif column.kind == "text":
            self.texts.extend(values)
        else:
            write_numbers(self.out, [int(value) for value in values], signed=column.kind == "number")

    def token(self, values: list[str | None]) -> None:
        """Strings that end with hexadecimal digits: what is before them as a word, the digits as bits."""
        matches = [TOKEN.fullmatch(value) if value and len(value) <= TOKEN_CHARACTERS else None for value in values]
        heads = [match[1] if match else value for match, value in zip(matches, values, strict=True)]
        write_numbers(self.out, [self.word(head) for head in heads])
        write_numbers(self.out, [len(match[2]) // 2 if match else 0 for match in matches])
        for match in matches:
            if match:
                self.bits.write(int(match[2], 16), 4 * len(match[2]))

    def own_ids(self, table: Table, rows: list[dict[str, Any]]) -> None:
        numbers = [_uuid_number(row.get(table.own_id)) for row in rows]
        forms = [_id_form(number, row[table.id_time] // 1000) for number, row in zip(numbers, rows, strict=True)]
        write_numbers(self.out, forms)
        for number, form in zip(numbers, forms, strict=True):
            _write_id(self.bits, number, form)


def pack_segment(content: str) -> Packed:
    """The canonical bytes of a segment, from JSON text with the lists of TABLES; a missing or null list is an empty one.

    The order of each list is kept; times are microseconds since 1970 UTC. The same content gives the same bytes.
    Raises ValueError for what could not be restored: unknown keys, other types, UUIDs in another spelling, lone
    surrogates, times and numbers beyond 64 bits, more than MOST_ROWS rows or MOST_CHARACTERS characters.
    """
    parsed = json.loads(content)
    if not isinstance(parsed, dict) or not parsed.keys() <= {table.name for table in TABLES}:
        raise ValueError("segment content is not an object of the known lists")
    lists = {table.name: _checked_rows(table, parsed.get(table.name)) for table in TABLES}
    _check_size(lists)
    ids = [_uuid_number(row.get("message_id")) for row in lists["messages"]]
    writer = _Writer(ids)
    sent_at = _first_times(ids, [row["sent_at"] for row in lists["messages"]])
    for table in TABLES:
        rows = lists[table.name]
        for column in table.columns:
            values = [row.get(column.name) for row in rows]
            writer.column(column, values, _bases(column, rows, sent_at) if column.kind == "time" else [])
        if table.own_id:
            writer.own_ids(table, rows)

    head, bits = ByteWriter(), BitWriter()
    for table in TABLES[1:]:
        head.varint(len(lists[table.name]))
    new_words = list(writer.words)[len(WORDS) :]
    head.varint(len(writer.extra_ids))
    head.varint(len(new_words))
    forms = [_id_form(number, -1) for number in writer.extra_ids]
    write_numbers(head, forms)
    for number, form in zip(writer.extra_ids, forms, strict=True):
        _write_id(bits, number, form)
    # NUL ends a text; within one it is two bytes that UTF-8 has not, as in Java's modified UTF-8.
    texts = b"".join(text.encode().replace(b"\0", b"\xc0\x80") + b"\0" for text in chain(new_words, writer.texts))
    rest = bytes([VERSION]) + bytes(head.data) + texts + bytes(writer.out.data)
    bits.append(writer.bits)
    plain = join_plain(b"".join(number.to_bytes(16, "big") for number in ids), bits.to_bytes(), rest)
    return Packed([_uuid_text(number) for number in ids], plain)


def _first_times(ids: list[int], times: list[int]) -> dict[str, int]:
    """sent_at of each message; of the first where an identifier comes twice."""
    return {_uuid_text(number): time for number, time in zip(reversed(ids), reversed(times), strict=True)}


def _bases(column: Column, rows: list[dict[str, Any]], sent_at: dict[str, int]) -> list[int]:
    """What the times of a column are told from: the time within message_id, that message's sent_at, or another column."""
    if column.base == "message_id":
        return [_id_time(_uuid_number(row["message_id"])) for row in rows]
    if column.base == "sent_at":
        return [row["sent_at"] if "sent_at" in row else sent_at.get(row["message_id"], 0) for row in rows]
    return [row[column.base] for row in rows]


class _Reader:
    def __init__(self, ids: list[int], opaque: bytes, rest: bytes) -> None:
        self.source, self.bits = ByteReader(rest, 1), BitReader(opaque)
        counts = [len(ids)] + [self.source.varint() for _ in TABLES[1:]]
        extra_count, word_count = self.source.varint(), self.source.varint()
        # Every row but a message has bits of its own or a text; this bounds what the numbers of a damaged segment can cost.
        if sum(counts) > MOST_ROWS or extra_count > len(opaque) or word_count > len(rest):
            raise ValueError("damaged segment: more rows than it can hold")
        self.counts = {table.name: count for table, count in zip(TABLES, counts, strict=True)}
        forms = read_numbers(self.source, extra_count)
        extra = [_read_id(self.bits, form, -1) for form in forms]
        self.uuids: list[str | None] = [None, *map(_uuid_text, ids), *map(_uuid_text, extra)]
        text_count = word_count + self.counts["messages"] + self.counts["versions"]
        texts = [text.replace(b"\xc0\x80", b"\0").decode() for text in self.source.texts(text_count)]
        self.words: list[str | None] = [None, *WORDS, *texts[:word_count]]
        self.texts = iter(texts[word_count:])

    def column(self, column: Column, count: int, bases: list[int]) -> list[Any]:
        if column.kind == "time":
            return read_times(self.source, self.bits, count, bases, column.nullable)
        if column.kind in ("reference", "near"):
            numbers = read_numbers(self.source, count, steps=column.kind == "near")
            return [_entry(self.uuids, number, column.nullable) for number in numbers]
        if column.kind == "word":
            return [_entry(self.words, number, column.nullable) for number in read_numbers(self.source, count)]
        if column.kind == "token":
            return self.token(count)
        if column.kind == "text":
            return [next(self.texts) for _ in range(count)]
        if column.kind == "number":
            return read_numbers(self.source, count, signed=True)
        return [_entry([False, True], number, True) for number in read_numbers(self.source, count)]

    def token(self, count: int) -> list[str | None]:
        heads = [_entry(self.words, number, True) for number in read_numbers(self.source, count)]
        sizes = read_numbers(self.source, count)
        values = []
        for head, size in zip(heads, sizes, strict=True):
            if size > 64 or (size and head is None):
                raise ValueError("damaged segment: size of a token")
            values.append(f"{head}{self.bits.read(8 * size):0{2 * size}x}" if size else head)
        return values

    def own_ids(self, table: Table, rows: list[dict[str, Any]]) -> None:
        for row, form in zip(rows, read_numbers(self.source, len(rows)), strict=True):
            row[table.own_id] = _uuid_text(_read_id(self.bits, form, row[table.id_time] // 1000))


def _entry(entries: list[Any], number: int, nullable: bool) -> Any:
    if not (0 if nullable else 1) <= number < len(entries):
        raise ValueError("damaged segment: number without an entry")
    return entries[number]


def unpack_segment(plain: bytes, only_messages: bool = False) -> str:
    """JSON text of all lists of TABLES with all their keys, equal in values to what was packed.

    only_messages: of messages and attachments alone, which is faster where nothing is attached.

    Raises ValueError where the bytes are of another version or damaged; damage that gives another valid segment is for
    the checksum to find.
    """
    raw_ids, opaque, rest = split_plain(plain)
    ids = [int.from_bytes(raw_ids[start : start + 16], "big") for start in range(0, len(raw_ids), 16)]
    reader = _Reader(ids, opaque, rest)
    content: dict[str, list[dict[str, Any]]] = {}
    sent_at: dict[str, int] = {}
    for table in TABLES:
        count = reader.counts[table.name]
        is_first = table.name == "messages"
        rows: list[dict[str, Any]] = [{"message_id": _uuid_text(ids[place])} if is_first else {} for place in range(count)]
        for column in table.columns:
            bases = _bases(column, rows, sent_at) if column.kind == "time" else []
            for row, value in zip(rows, reader.column(column, count, bases), strict=True):
                row[column.name] = value
        if is_first:
            sent_at = _first_times(ids, [row["sent_at"] for row in rows])
        if table.own_id:
            reader.own_ids(table, rows)
        content[table.name] = rows
        if is_first and only_messages and not reader.counts["attachments"]:
            return _dump(content)
    reader.source.finish()
    reader.bits.finish()
    _check_size(content)
    return _dump({name: content[name] for name in ("messages", "attachments")} if only_messages else content)


def _dump(content: dict[str, list[dict[str, Any]]]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def split_plain(plain: bytes) -> tuple[bytes, bytes, bytes]:
    """ids, opaque and rest (which keeps the version) of plain bytes; ValueError where they are damaged."""
    reader = ByteReader(plain, 1)
    if plain[:1] != bytes([VERSION]):
        raise ValueError("unknown version of the segment format")
    ids = reader.take(reader.varint())
    if len(ids) % 16:
        raise ValueError("damaged segment: length of the identifiers")
    opaque = reader.take(reader.varint())
    return ids, opaque, plain[:1] + reader.take(len(plain) - reader.place)


def join_plain(ids: bytes, opaque: bytes, rest: bytes) -> bytes:
    """What split_plain() took apart."""
    writer = ByteWriter()
    writer.varint(len(ids))
    writer.data += ids
    writer.varint(len(opaque))
    writer.data += opaque
    return rest[:1] + bytes(writer.data) + rest[1:]
