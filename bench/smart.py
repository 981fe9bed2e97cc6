"""Retrieval test collections in SMART format: documents, queries, and which documents a person judged relevant to which query.

Sources: MED (medicine, 1,033 documents, 30 queries), CISI (information science, 1,460, 50 judged), ADI (documentation,
82, 35); see the data's README. A file is a sequence of records that begin with `.I number`; a line `.T`, `.W` and the like
begins a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bench.common import data_directory

NAMES = ("med", "cisi", "adi")
HALVES = ("report", "tune", "all")


@dataclass(frozen=True)
class Document:
    """One document; MED's have no titles."""

    number: int
    title: str
    text: str


@dataclass(frozen=True)
class Collection:
    """documents in the file's order; queries and relevant documents by the query's number, judged queries only."""

    name: str
    documents: list[Document]
    queries: dict[int, str]
    relevant: dict[int, frozenset[int]]


def parse_records(lines: Iterable[str]) -> dict[int, dict[str, str]]:
    """Number → letter of the field → its text, as lines are.

    >>> parse_records([".I 7", ".T", "A title", ".W", "two", "lines "])
    {7: {'T': 'A title', 'W': 'two\\nlines'}}
    """
    fields: dict[int, dict[str, list[str]]] = {}
    number, field = 0, ""
    for line in lines:
        if begun := re.fullmatch(r"\.I\s+(\d+)\s*", line):
            number, field = int(begun[1]), ""
            fields[number] = {}
        elif marker := re.fullmatch(r"\.([A-Z])\s*", line):
            field = marker[1]
        else:
            fields[number].setdefault(field, []).append(line.rstrip())
    return {number: {field: "\n".join(text) for field, text in found.items()} for number, found in fields.items()}


def parse_judgements(lines: Iterable[str]) -> dict[int, frozenset[int]]:
    """Query → its relevant documents. The first two columns say so; those after them are the same on every line.

    >>> parse_judgements(["1   17   0   0.000000", "1   46   0   0.000000", "3 59 1"])
    {1: frozenset({17, 46}), 3: frozenset({59})}
    """
    found: dict[int, set[int]] = {}
    for line in lines:
        query, document = line.split()[:2]
        found.setdefault(int(query), set()).add(int(document))
    return {query: frozenset(documents) for query, documents in found.items()}


def in_half(number: int, half: str) -> bool:
    """Whether a query is in a half: even ones are for tuning, odd ones for what is reported.

    >>> in_half(3, "report"), in_half(3, "tune"), in_half(3, "all")
    (True, False, True)
    """
    return half == "all" or (number % 2 == 1) == (half == "report")


def read_collection(name: str) -> Collection:
    def lines(kind: str) -> list[str]:
        path = data_directory() / "ir" / name / f"{name.upper()}.{kind}"
        return path.read_text(encoding="utf-8", errors="replace").splitlines()

    records = parse_records(lines("ALL"))
    relevant = parse_judgements(lines("REL"))
    queries = {number: fields["W"] for number, fields in parse_records(lines("QRY")).items() if number in relevant}
    documents = [Document(number, fields.get("T", ""), fields.get("W", "")) for number, fields in records.items()]
    return Collection(name, documents, queries, relevant)
