"""Reading an export: the zip that docs/reference/export-format.md describes, checked whole before anything of it is used.

The bytes come from anywhere, so nothing that they say is believed: sizes are counted while reading, and what is taken is
named here, not there. The functions need no database; `plpy` is PL/Python's small object, through which errors leave.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

FORMAT = "guestcomms-export"
SCHEMA_VERSION = 1
# In this order every record comes after what it names.
RECORD_SETS = (
    *("guests", "guest_addresses", "weddings", "wedding_guests", "consents", "campaigns", "threads"),
    *("subject_requests", "subject_request_steps", "messages", "message_events"),
    *("message_versions", "attachments", "message_annotations"),
)
MANIFEST = "manifest.json"
MOST_FILES = 10_000
MOST_MANIFEST = 16 << 20  # bytes
MOST_TEXT = 4 << 30  # bytes of all files that are taken
# A message of 1 MiB with its metadata is far below; a batch with it must stay below what one jsonb can hold.
MOST_RECORD = 32 << 20  # bytes
# Text shrinks to a tenth, the same letter to many guests to a fiftieth; deflate can do a thousandth.
MOST_RATIO = 200
UNSUSPICIOUS = 16 << 20  # bytes for which no ratio is asked
READ_BYTES = 256 << 10
BATCH_RECORDS = 1000
BATCH_BYTES = 8 << 20
COLUMN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# What zipfile and zlib raise for bytes that are not as they should be; NotImplementedError and RuntimeError for
# features that exports do not use, such as passwords.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


class ImportRefused(ValueError):
    """Not imported; the text names files and record sets of RECORD_SETS, never what is in them."""

    sqlstate = "22023"
    hint = "Give the bytes of a zip that was made with format jsonl; docs/reference/export-format.md describes it."


class DamagedExport(ImportRefused):
    """An export that is not what was written."""

    sqlstate = "XX001"
    hint = "Take another copy of the file, or make the export anew."


class TooLarge(ImportRefused):
    """Bounds that no export comes near to."""

    sqlstate = "54000"
    hint = "If it really is an export, make several of shorter periods."


class Batch(NamedTuple):
    """Records of one set: the columns that the manifest names for it, and a JSON array as text."""

    record_set: str
    columns: list[str]
    records: str


class Export:
    """An export that has been read once and is right: files, sizes, checksums, numbers of records.

    Raises ImportRefused or one of its kinds. Memory is that of data and of a batch.
    """

    def __init__(self, data: bytes) -> None:
        self._zip = open_zip(data)
        self._entries = known_entries(self._zip)
        self._manifest = read_manifest(self._zip, self._entries.pop(MANIFEST, None))
        self._columns = {name: manifest_columns(self._manifest, name) for name in RECORD_SETS}
        if sum(entry.file_size for entry in self._entries.values()) > MOST_TEXT:
            raise TooLarge("The files would be larger than 4 GiB.")
        said = manifest_files(self._manifest)
        for record_set in RECORD_SETS:
            self._check(record_set, said.get(file_name(record_set)))

    def batches(self) -> Iterator[Batch]:
        """All records in the order of RECORD_SETS, at most BATCH_RECORDS and, beyond the first record, BATCH_BYTES each."""
        for record_set in RECORD_SETS:
            lines: list[bytes] = []
            size = 0
            for line in self._lines(record_set):
                if lines and (len(lines) == BATCH_RECORDS or size + len(line) > BATCH_BYTES):
                    yield self._batch(record_set, lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line)
            if lines:
                yield self._batch(record_set, lines)

    def _batch(self, record_set: str, lines: list[bytes]) -> Batch:
        return Batch(record_set, self._columns[record_set], "[" + b",".join(lines).decode() + "]")

    def _chunks(self, record_set: str) -> Iterator[bytes]:
        entry = self._entries.get(file_name(record_set))
        if entry is not None:
            with self._zip.open(entry) as file:
                while chunk := file.read(READ_BYTES):
                    yield chunk

    def _lines(self, record_set: str) -> Iterator[bytes]:
        rest = b""
        for chunk in self._chunks(record_set):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MOST_RECORD:
                raise TooLarge(f"A record of {record_set} is larger than 32 MiB.")
            yield from lines
        if rest:
            yield rest

    def _check(self, record_set: str, said: dict[str, Any] | None) -> None:
        """Reads the file of a record set once; said is what the manifest has of it."""
        name = file_name(record_set)
        entry = self._entries.get(name)
        if (entry is None) != (said is None):
            raise DamagedExport(f"The file {name} is not both in the zip and in the manifest.")
        count = 0
        if entry is not None and said is not None:
            check_ratio(entry)
            digest = sha256()
            size = 0
            try:
                for chunk in self._chunks(record_set):
                    digest.update(chunk)
                    size += len(chunk)
                if (size, digest.hexdigest()) != (said.get("bytes"), said.get("sha256")):
                    raise DamagedExport(f"The file {name} has not the size or checksum that the manifest says.")
                for line in self._lines(record_set):
                    line.decode()
                    count += 1
            except ImportRefused:
                raise
            except ZIP_ERRORS as error:
                raise DamagedExport(f"The file {name} cannot be read.") from error
        if self._manifest["counts"].get(record_set, 0) != count:
            raise DamagedExport(f"The number of records of {record_set} is not what the manifest says.")


def file_name(record_set: str) -> str:
    """Of a record set, within the zip."""
    return f"jsonl/{record_set}.jsonl"


def open_zip(data: bytes) -> zipfile.ZipFile:
    """The zip, with its directory read; raises ImportRefused, DamagedExport or TooLarge."""
    if data.startswith(b"-----BEGIN PGP") or data[:1] >= b"\x80":
        error = ImportRefused("It is an OpenPGP message.")
        error.hint = "Decrypt it first: gpg --decrypt export.zip.gpg > export.zip"
        raise error
    if not data.startswith(b"PK"):
        raise ImportRefused("It is not a zip.")
    # Before the directory is read, which takes memory for every file.
    if data.count(b"PK\x01\x02") > MOST_FILES:
        raise TooLarge("The zip has too many files.")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except ZIP_ERRORS as error:
        raise DamagedExport("The zip cannot be read; perhaps its end is missing.") from error


def known_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """What of the zip is taken, by name: nothing else is opened, and nothing is written anywhere."""
    names = {MANIFEST, *map(file_name, RECORD_SETS)}
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in names:
            if entry.filename in found:
                raise DamagedExport(f"The file {entry.filename} is in the zip twice.")
            # Other methods have no bound on what one step of reading gives.
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ImportRefused(f"The file {entry.filename} is compressed in a way that exports do not use.")
            found[entry.filename] = entry
    return found


def check_ratio(entry: zipfile.ZipInfo) -> None:
    """Raises TooLarge for a file that shrank as only one that is made for it does."""
    if entry.file_size > max(UNSUSPICIOUS, MOST_RATIO * entry.compress_size):
        raise TooLarge(f"The file {entry.filename} is more than 200 times what it is in the zip.")


def read_manifest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> dict[str, Any]:
    """manifest.json, with what this version of the format promises of its first keys."""
    if entry is None:
        raise ImportRefused("The zip has no manifest.json.")
    if entry.file_size > MOST_MANIFEST:
        raise TooLarge("The manifest is larger than 16 MiB.")
    try:
        # ZipFile.read() unpacks all there is before it looks at the size that the zip gives.
        with archive.open(entry) as file:
            manifest = json.loads(file.read(MOST_MANIFEST))
    except (*ZIP_ERRORS, RecursionError) as error:
        raise DamagedExport("The manifest cannot be read.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ImportRefused("The manifest is not that of an export.")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        refused = ImportRefused(f"The export has not the schema_version {SCHEMA_VERSION}.")
        refused.hint = "Import it with the version of this extension that made it, or with a later one that reads it."
        raise refused
    shapes: dict[str, type] = {"formats": list, "counts": dict, "tables": dict, "files": list}
    if not all(isinstance(manifest.get(key), shape) for key, shape in shapes.items()):
        raise DamagedExport("The manifest lacks formats, counts, tables or files.")
    if "jsonl" not in manifest["formats"]:
        raise ImportRefused("The export was made without the format jsonl, the only one that can be imported.")
    return manifest


def manifest_columns(manifest: dict[str, Any], record_set: str) -> list[str]:
    """Names of a record set's columns, in their order."""
    columns = manifest["tables"].get(record_set, [])
    names = (
        [column.get("name") if isinstance(column, dict) else None for column in columns] if isinstance(columns, list) else [None]
    )
    if not all(isinstance(name, str) and COLUMN_NAME.fullmatch(name) for name in names):
        raise DamagedExport(f"The manifest does not say which columns {record_set} has.")
    return [str(name) for name in names]


def manifest_files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file that it lists, by name."""
    files = manifest["files"]
    if not all(isinstance(file, dict) and isinstance(file.get("name"), str) for file in files):
        raise DamagedExport("The manifest does not name the files.")
    return {file["name"]: file for file in files}


def read_export(plpy: Any, data: bytes | None) -> Iterator[Batch]:
    """Export.batches(), for PL/Python.

    All is checked before this returns: what an iterator raises would lose its SQLSTATE on the way out.
    """
    try:
        return Export(data or b"").batches()
    except ImportRefused as error:
        plpy.error("the export cannot be imported", sqlstate=error.sqlstate, detail=str(error), hint=error.hint)
        raise
