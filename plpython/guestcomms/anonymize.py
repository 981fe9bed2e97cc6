"""Records of a store without the people in them: every column of every record set has a strategy, and none goes without.

Who has the key can find out whose record is whose; without it, records can still be recognised by what is rare in them (a
wedding of 700 guests, a letter that retells a day): guestcomms.k_anonymity() counts what is rare. Free text is as safe as
the redact that is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from guestcomms.pseudonyms import (
    fake_address,
    fake_name,
    keyed_hash,
    keyed_number,
    keyed_uuid,
    keyed_uuid_v7,
    shift_date,
    shift_days,
    shift_time,
)

MOST_DEPTH = 32
_EXTENSIONS = re.compile(
    r"csv|docx?|eml|gif|heic|html?|ics|jpe?g|json|mov|mp[34]|od[st]|ogg|pdf|png|pptx?|svg|txt|vcf|wav|webp|xlsx?|xml|zip"
)
_MEDIA_TYPE = re.compile(r"(application|audio|font|image|message|model|multipart|text|video)/[a-z0-9][a-z0-9.+-]{0,70}")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


class Undecided(ValueError):
    """A record set or a column for which nobody has decided what becomes of it."""


def _columns(**strategies: str) -> dict[str, str]:
    return {column: strategy for strategy, columns in strategies.items() for column in columns.split()}


# What becomes of each column: the name of a strategy, a method of Anonymizer. keep is for what lists and numbers of the
# store allow, not for what people write.
DECISIONS = {
    "guests": _columns(
        uuid="guest_id merged_into",
        name="display_name",
        keep="language timezone",
        time="created_at updated_at restricted_at erased_at",
    ),
    "guest_addresses": _columns(uuid="guest_id", address="address", keep="channel is_verified is_primary", time="created_at"),
    "weddings": _columns(uuid="wedding_id", couple="name", drop="place", date="held_on", keep="timezone", time="created_at"),
    "wedding_guests": _columns(uuid="wedding_id guest_id", party="party", label="role", keep="rsvp", time="rsvp_at"),
    "consents": _columns(uuid="consent_id guest_id", keep="channel purpose is_granted", label="basis source", time="recorded_at"),
    "campaigns": _columns(uuid="campaign_id", label="name", keep="channel purpose", time="started_at ended_at created_at"),
    "threads": _columns(
        uuid="thread_id guest_id wedding_id",
        line="subject",
        keep="status",
        staff="assigned_to",
        time="snoozed_until status_changed_at created_at",
    ),
    "subject_requests": _columns(
        uuid="request_id guest_id",
        keep="kind status",
        date="received_on due_on",
        time="received_at identity_confirmed_at extended_at closed_at",
        line="complaint_route",
        shape="policy",
    ),
    "subject_request_steps": _columns(uuid="request_id", keep="step_number step", line="note", time="taken_at", staff="taken_by"),
    "messages": _columns(
        uuid_v7="message_id",
        uuid="thread_id guest_id wedding_id campaign_id",
        keep="direction channel status purpose language",
        line="subject",
        body="body",
        staff="author",
        label="source",
        identifier="external_id",
        time="sent_at scheduled_at read_at edited_at deleted_at",
        shape="metadata",
    ),
    "message_events": _columns(
        uuid_v7="event_id message_id",
        keep="kind is_machine",
        label="source",
        identifier="external_id",
        shape="detail",
        time="occurred_at recorded_at",
    ),
    "message_versions": _columns(
        uuid_v7="message_id", keep="version_number", line="subject", body="body", time="replaced_at", staff="replaced_by"
    ),
    "attachments": _columns(
        uuid="attachment_id",
        uuid_v7="message_id",
        file_name="name",
        media_type="media_type",
        size="byte_count",
        drop="sha256 uri",
        time="created_at deleted_at",
    ),
    "message_annotations": _columns(
        uuid="annotation_id",
        uuid_v7="message_id",
        label="kind",
        shape="value",
        keep="confidence",
        staff="annotator",
        time="created_at",
    ),
}


class Anonymizer:
    """What turns the records of one data set, all of them by the same instance, into records of nobody.

    key: at least 32 secret bytes; the same key makes the same of the same. redact: takes a text, and gives it without what
    it finds of persons. All times go back by one number of days, which comes from the key and is a multiple of 7: a message
    is known in other tables by an identifier that holds its time, so a shift for each guest could not be followed there.
    That hides on which day something was, not in what order.
    """

    def __init__(self, key: bytes, redact: Callable[[str], str]) -> None:
        self._key = key
        self._redact = redact
        self._days = shift_days(key, "")
        self._numbers: dict[str, str] = {}

    def record(self, table: str, record: dict[str, Any]) -> dict[str, Any]:
        """A record with the same columns, as the store would take it; record is of to_jsonb(), in UTC.

        Nulls stay. Raises Undecided for a table or a column that is not among DECISIONS.
        """
        found: dict[str, Any] = {}
        for column, value in record.items():
            strategy = DECISIONS.get(table, {}).get(column)
            if strategy is None:
                raise Undecided(f"it is not decided how to anonymise {table}.{column}")
            if value is None:
                found[column] = None
            elif strategy == "address":
                found[column] = self._address(record["channel"], value)
            else:
                found[column] = getattr(self, f"_{strategy}")(value)
        return found

    def _keep(self, value: Any) -> Any:
        return value

    def _drop(self, value: Any) -> None:
        return None

    def _uuid(self, value: str) -> str:
        return str(keyed_uuid(self._key, UUID(value)))

    def _uuid_v7(self, value: str) -> str:
        return str(keyed_uuid_v7(self._key, UUID(value), self._days))

    def _time(self, value: str) -> str:
        return shift_time(value, self._days)

    def _date(self, value: str) -> str:
        return shift_date(value, self._days)

    def _name(self, value: str) -> str:
        return fake_name(self._key, value)

    def _couple(self, value: str) -> str:
        return " & ".join(fake_name(self._key, f"{part} {value}") for part in "12")

    def _address(self, channel: str, value: str) -> str:
        # A business has an address once by channel: whoever comes second with the same number gets another one.
        attempt = 0
        while self._numbers.setdefault(found := fake_address(self._key, channel, value, attempt), value) != value:
            attempt += 1
        return found

    def _party(self, value: str) -> str:
        # Mostly a family's name; what counts is who was invited together.
        return f"party {keyed_hash(self._key, 'party', value)[:16]}"

    def _identifier(self, value: str) -> str:
        return keyed_hash(self._key, "identifier", value)

    def _staff(self, value: str) -> str:
        return f"staff {1 + keyed_number(self._key, 'staff', value, 999_999)}"

    def _label(self, value: str) -> str:
        return self._text(value)[:200]

    def _line(self, value: str) -> str:
        return self._text(value)[:2000]

    def _body(self, value: str) -> str:
        return self._text(value).encode()[: 1 << 20].decode(errors="ignore")

    def _text(self, value: str) -> str:
        # Some columns must not be empty, and none becomes so by this.
        return self._redact(value) or ("[text]" if value else "")

    def _file_name(self, value: str) -> str:
        extension = value.rpartition(".")[2].lower()
        return f"attachment.{extension}" if _EXTENSIONS.fullmatch(extension) else "attachment"

    def _media_type(self, value: str) -> str:
        media_type = value.partition(";")[0].strip().lower()
        return media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"

    def _size(self, value: int) -> int:
        # To the byte, a file can be known by its size.
        return value // 1024 * 1024

    def _shape(self, value: Any, depth: int = 0) -> Any:
        """Keys, lengths and types of JSON; no value of it, for an application may keep anything there."""
        if isinstance(value, (dict, list)) and depth == MOST_DEPTH:
            return None
        if isinstance(value, dict):
            return {self._json_key(key): self._shape(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self._shape(part, depth + 1) for part in value]
        if isinstance(value, str):
            return "[text]"
        return value if value is None else type(value)()

    def _json_key(self, key: str) -> str:
        # {"Zoë Kaya": 3}: not every key is a programmer's.
        if _PLAIN_KEY.fullmatch(key) and self._redact(key) == key:
            return key
        return f"key_{keyed_hash(self._key, 'key', key)[:16]}"
