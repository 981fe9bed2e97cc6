"""A file of guests as spreadsheets write it (CSV, RFC 4180 and its relatives), read by the names of its columns.

Headings are matched without case, accents and punctuation; a mapping says what others mean. Nothing that stands in the file is
ever part of an error.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guestcomms.problems import Problem

COLUMNS = {
    "display_name": "name fullname displayname guest guestname gast nom nomcomplet invite nombre"
    " nombrecompleto invitado nomecompleto nome",
    "first_name": "firstname first givenname forename vorname prenom nombredepila primernombre",
    "last_name": "lastname last surname familyname nachname familienname nomdefamille apellido apellidos cognome",
    "email": "email emailaddress mail emailadresse mailadresse adressemail courriel correo correoelectronico",
    "phone": "phone phonenumber mobile mobilephone mobilenumber cell cellphone telephone tel whatsapp sms"
    " telefon telefonnummer handy handynummer mobil portable telephoneportable telefono movil cellulare",
    "language": "language lang sprache langue idioma lingua",
    "timezone": "timezone zeitzone fuseauhoraire zonahoraria fusoorario",
    "party": "party group household family gruppe familie haushalt groupe famille foyer grupo familia gruppo famiglia",
    "role": "role rolle ruolo rol",
    "rsvp": "rsvp answer response reply status attending zusage antwort reponse respuesta risposta",
    "wedding": "wedding event hochzeit mariage boda matrimonio",
}
_BY_HEADING = {
    heading: column for column, headings in COLUMNS.items() for heading in (column.replace("_", ""), *headings.split())
}
_ANSWERS = {
    answer: rsvp
    for rsvp, answers in {
        "yes": "yes y true 1 x accepted accept accepts attending coming confirmed ja zugesagt kommt oui accepte"
        " si acepta confirmado",
        "no": "no n false 0 declined decline declines regrets notattending notcoming nein abgesagt non decline refuse rechaza",
        "maybe": "maybe tentative perhaps unsure vielleicht peutetre quizas tal vez forse",
        "pending": "pending invited noreply awaiting open none unknown offen eingeladen ausstehend enattente pendiente inattesa",
    }.items()
    for answer in answers.split()
}
_DELIMITERS = ",;\t|"
MOST_ROWS = 100_000
_MOST_FIELD = 10_000  # characters; a quotation mark that is never closed swallows the rest of the file


def read_guests(lines: Sequence[str | None], mapping: str | None) -> str:
    """JSON of `ignored`, the headings that mean nothing here, and `rows`: objects with `row` (1 for the first below the
    headings), the file's `record`, what it says of a guest by COLUMNS, or a `problem`.

    mapping is JSON of an object: heading to column, null for one to be left out. Raises Problem.
    """
    wanted = _mapping(mapping)
    table = _table([line or "" for line in lines])
    headings = next(table, [])
    if not any(heading.strip() for heading in headings):
        raise Problem("the file has no headings", hint="Its first line names its columns, for example: name,email,phone,party.")
    columns = _columns(headings, wanted)
    rows = []
    for number, fields in enumerate(table, 1):
        if number > MOST_ROWS:
            raise Problem(
                "the file has too many rows",
                "54000",
                detail=f"At most {MOST_ROWS}.",
                hint="Split it, and import the parts in turn.",
            )
        if any(field.strip() for field in fields):
            rows.append({"row": number, **_guest(fields, headings, columns)})
    ignored = [heading.strip() for heading, column in zip(headings, columns, strict=True) if column is None and heading.strip()]
    return json.dumps({"ignored": ignored, "rows": rows}, ensure_ascii=False)


def group_rows(emails: Sequence[str | None], phones: Sequence[str | None]) -> list[int]:
    """For each row the number (from 1) of the first row that it has an address in common with, directly or through others."""
    first = list(range(len(emails)))

    def root(row: int) -> int:
        while first[row] != row:
            first[row] = first[first[row]]
            row = first[row]
        return row

    seen: dict[str, int] = {}
    for row, addresses in enumerate(zip(emails, phones, strict=True)):
        for address in filter(None, addresses):
            one, other = root(row), root(seen.setdefault(address, row))
            first[max(one, other)] = min(one, other)
    return [root(row) + 1 for row in range(len(first))]


def _mapping(mapping: str | None) -> dict[str, str | None]:
    found = json.loads(mapping) if mapping is not None else {}
    hint = (
        f'An object of heading to column, as {{"Full name": "display_name"}}. Columns: {", ".join(COLUMNS)}; null leaves one out.'
    )
    if not isinstance(found, Mapping):
        raise Problem("mapping is not a JSON object", hint=hint)
    for number, column in enumerate(found.values(), 1):
        if column is not None and column not in COLUMNS:
            raise Problem("mapping names an unknown column", detail=f"Element {number}.", hint=hint)
    return {_fold(heading): column for heading, column in found.items()}


def _table(lines: list[str]) -> Iterator[list[str]]:
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")
    delimiter = max(_DELIMITERS, key=(lines[0] if lines else "").count)
    csv.field_size_limit(_MOST_FIELD)
    try:
        yield from csv.reader((line.rstrip("\r") + "\n" for line in lines), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise Problem(
            "the file is no CSV",
            hint="A field with a quotation mark, the delimiter or a new line stands in quotation marks; those in it are doubled.",
        ) from error


def _columns(headings: Sequence[str], wanted: Mapping[str, str | None]) -> list[str | None]:
    """The column that each heading means."""
    folded = [_fold(heading) for heading in headings]
    missing = [number for number, heading in enumerate(wanted, 1) if heading not in folded]
    if missing:
        raise Problem(
            "mapping names a heading that the file does not have",
            detail=f"Element {missing[0]}; the file has {len(headings)} headings.",
            hint="Case, accents and punctuation do not count.",
        )
    columns = [wanted[heading] if heading in wanted else _BY_HEADING.get(heading) for heading in folded]
    chosen = set(filter(None, wanted.values()))
    # What the mapping says comes first; of others the first counts.
    for place, heading in enumerate(folded):
        if heading not in wanted and (columns[place] in chosen or columns[place] in columns[:place]):
            columns[place] = None
    named = [column for column in columns if column]
    if len(named) != len(set(named)):
        raise Problem("mapping gives two headings the same column", hint="Leave one out: map it to null.")
    if not {"display_name", "first_name", "last_name", "email", "phone"}.intersection(named):
        raise Problem(
            "no column of the file says who the guests are",
            detail=f"The file has {len(headings)} headings.",
            hint=f"Map its headings to columns: {', '.join(COLUMNS)}.",
        )
    return columns


def _guest(fields: list[str], headings: Sequence[str], columns: Sequence[str | None]) -> dict[str, Any]:
    values = [field.replace("\0", "").strip() for field in fields]
    record = {
        heading.strip() or f"column {place}": value
        for place, (heading, value) in enumerate(zip(headings, values, strict=False), 1)
    }
    if len(values) > len(headings) and any(values[len(headings) :]):
        return {"record": record, "problem": "fields"}
    guest: dict[str, Any] = {column: value for column, value in zip(columns, values, strict=False) if column and value}
    parts = [part for part in (guest.pop("first_name", None), guest.pop("last_name", None)) if part]
    if parts:
        guest.setdefault("display_name", " ".join(parts))
    if "language" in guest:
        guest["language"] = guest["language"].lower().replace("_", "-").split("-")[0]
    if "rsvp" in guest:
        guest["rsvp"] = _ANSWERS.get(_fold(guest["rsvp"]), guest["rsvp"])
    return {"record": record, **guest}


def _fold(text: str) -> str:
    """Letters and digits alone, in lower case, without accents."""
    return "".join(character for character in unicodedata.normalize("NFKD", text.casefold()) if character.isalnum())
