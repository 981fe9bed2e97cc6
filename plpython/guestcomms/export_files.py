"""The files of an export, written piece by piece: what a batch of records adds to each of them.

Stages: 'open' gets the records that are no messages, each 'add' a batch of messages with all that belongs to them, 'close'
nothing. What the pieces of a file give one after the other is the file, whatever the number of batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from guestcomms import export_html, export_pdf, export_sql, export_tables
from guestcomms.export_context import DETAILS, Context, Records, Stage
from guestcomms.export_mailbox import eml_files, mbox_file
from guestcomms.export_volumes import pdf_file

FONTS = ("a TrueType font", "fonts-dejavu-core")
PDF_PACKAGES = (("reportlab", "python3-reportlab"), ("bidi", "python3-bidi"), ("arabic_reshaper", "python3-arabic-reshaper"))


def json_file(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`export.json`: an object of lists of records; each message has what belongs to it within."""
    if stage == "open":
        head = {"format": "guestcomms-export", "schema_version": context.schema_version, "export_id": context.export_id}
        parts = [f"{json.dumps(key)}: {_dump(value)}" for key, value in {**head, **records}.items()]
        return {"export.json": ("{" + ",\n".join(parts) + ',\n"messages": [').encode()}
    if stage == "close":
        return {"export.json": b"\n]}\n"}
    details: dict[str, dict[str, list[object]]] = {}
    for table, name in DETAILS.items():
        for record in records.get(table, ()):
            details.setdefault(record["message_id"], {}).setdefault(name, []).append(record)
    names = [name for table, name in DETAILS.items() if table in context.tables]
    # A call for each; one for the whole batch takes longer.
    messages = []
    for message in records.get("messages", ()):
        own = details.get(message["message_id"], {})
        messages.append(_dump(message | {name: own.get(name, []) for name in names}))
    if not messages:
        return {}
    messages[0] = (",\n" if context.has_messages_before else "\n") + messages[0]
    return {"export.json": ",\n".join(messages).encode()}


def jsonl_files(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`jsonl/<table>.jsonl`: a record a line."""
    return {f"jsonl/{table}.jsonl": "\n".join([*map(_dump, rows), ""]).encode() for table, rows in records.items() if rows}


# json.dumps() would make an encoder for every record.
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


WRITERS: dict[str, Callable[[Stage, Records, Context], dict[str, bytes]]] = {
    "json": json_file,
    "jsonl": jsonl_files,
    "csv": export_tables.csv_files,
    "sql": export_sql.sql_file,
    "html": export_html.html_file,
    "pdf": pdf_file,
    "mbox": mbox_file,
    "eml": eml_files,
}
FORMATS = tuple(WRITERS)


@dataclass(frozen=True)
class FormatsProblem:
    """Why formats cannot be written here, as (format, what is missing, Debian's package); notes on what they would lack."""

    missing: list[tuple[str, str, str]]
    notes: list[str]


def formats_problem(formats: Iterable[str]) -> FormatsProblem | None:
    """What stands against writing these formats on this machine; None where nothing does.

    A script without a font is a note: its characters would be boxes. Raises KeyError for an unknown format.
    """
    wanted = [(name, WRITERS[name]) for name in formats]
    missing = [(name, package, debian) for name, _ in wanted for package, debian in missing_packages(name)]
    notes = []
    if any(writer is pdf_file for _, writer in wanted) and not missing:
        notes = [f"pdf has no font for {script}" for script in export_pdf.missing_scripts()]
    return FormatsProblem(missing, notes) if missing or notes else None


def missing_packages(name: str) -> list[tuple[str, str]]:
    """What a format takes that is not installed, Python's packages or a font, each with Debian's package."""
    if name != "pdf":
        return []
    missing = [pair for pair in PDF_PACKAGES if find_spec(pair[0]) is None]
    return missing if export_pdf.has_font() else [*missing, FONTS]


def write(name: str, stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """What a stage adds to the files of a format, by their names. Raises KeyError for an unknown one."""
    return WRITERS[name](stage, records, context)
