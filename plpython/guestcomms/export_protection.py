"""Whose data an export shows: everybody's in it, only the guest's, or nobody's."""

from __future__ import annotations

from collections.abc import Container
from typing import Any
from uuid import UUID

from guestcomms.anonymize import Anonymizer
from guestcomms.known_names import load_names, load_region
from guestcomms.personal_data import NameFinder, hide, normal_forms
from guestcomms.pseudonyms import keyed_bytes, keyed_uuid

Record = dict[str, Any]
# Columns whose texts people wrote.
TEXTS = {
    "threads": ("subject",),
    "messages": ("subject", "body", "metadata"),
    "message_events": ("detail",),
    "message_versions": ("subject", "body"),
    "attachments": ("name", "uri"),
    "message_annotations": ("value",),
    "subject_request_steps": ("note",),
}
# Who of the business's staff did something.
STAFF = {
    "threads": "assigned_to",
    "messages": "author",
    "message_versions": "replaced_by",
    "message_annotations": "annotator",
    "subject_request_steps": "taken_by",
}


class Protection:
    """Shows everything as it is."""

    def record(self, table: str, record: Record) -> Record:
        """The record as the export has it."""
        return record

    def context(self, told: Record) -> Record:
        """What the files say besides records: as export_context() of the database gives it."""
        return told


class OthersHidden(Protection):
    """Hides what looks like personal data in texts and is not in keep, and the names of staff."""

    def __init__(self, region: str, names: NameFinder, keep: Container[str]) -> None:
        self._region, self._names, self._keep = region, names, keep

    def record(self, table: str, record: Record) -> Record:
        hidden = {column: self._walked(record[column]) for column in TEXTS.get(table, ()) if column in record}
        staff = STAFF.get(table)
        if staff is not None and record.get(staff) is not None:
            hidden[staff] = "[staff]"
        return record | hidden

    def text(self, text: str) -> str:
        """A text that somebody wrote."""
        return hide(text, self._region, self._names, self._keep)

    def _walked(self, value: Any) -> Any:
        """A text, or the texts in what JSON holds; its keys are the application's."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._walked(each) for each in value]
        if isinstance(value, dict):
            return {key: self._walked(each) for key, each in value.items()}
        return value


class Anonymized(Protection):
    """Hides everybody: made-up names and addresses, other identifiers and times, texts without personal data."""

    def __init__(self, region: str, names: NameFinder, key: bytes) -> None:
        self._key = key
        # Only addresses must not be the same for two, and all of them are in one batch: so each batch has its own.
        self._anonymizer = Anonymizer(key, OthersHidden(region, names, ()).text)

    def record(self, table: str, record: Record) -> Record:
        return self._anonymizer.record(table, record)

    def context(self, told: Record) -> Record:
        hidden: Record = {
            "business": "Business",
            "guest_name": None,
            "addresses": [],
            "about": None,
            "first_sent_at": None,
            "last_sent_at": None,
        }
        for key in ("guest_id", "tenant_id"):
            hidden[key] = str(keyed_uuid(self._key, UUID(told[key]))) if told[key] else None
        return told | hidden


def protector(plpy: Any, session: dict[str, Any], tenant_id: str, export_id: str, told: Record) -> Protection:
    """What the export was asked to protect; told is what export_context() of the database gives."""
    if not told["redact_others"] and not told["anonymize"]:
        return Protection()
    region, names = load_region(plpy, tenant_id), load_names(plpy, session, tenant_id)
    if told["anonymize"]:
        plan = plpy.prepare("SELECT guestcomms_internal.pseudonym_key($1) AS key", ["uuid"])
        # Of the export: what two of them say of a guest cannot be put together.
        return Anonymized(region, names, keyed_bytes(plpy.execute(plan, [tenant_id])[0]["key"], "export", export_id))
    return OthersHidden(region, names, _own(told, region))


def _own(told: Record, region: str) -> set[str]:
    """What the guest is known by: the name, its words, the addresses."""
    name = told["guest_name"] or ""
    return normal_forms([name, *name.split(), *told["addresses"]], region)
