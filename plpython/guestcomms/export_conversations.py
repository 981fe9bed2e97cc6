"""Messages of a batch as conversations that people read: in order of time, with names, times by a clock, and notes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from guestcomms.export_context import Context, Record, Records

CHANNELS = {"email": "e-mail", "sms": "SMS", "whatsapp": "WhatsApp", "chat": "chat"}
TITLE = "Your messages"
NO_SUBJECT = "Conversation"
# strftime()'s would be in the language of the server.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS = ("bytes", "kB", "MB", "GB")


@dataclass(frozen=True)
class Conversation:
    """Messages of one thread, the oldest first; is_continued where earlier batches have some of it."""

    thread_id: str
    subject: str | None
    is_continued: bool
    messages: list[Record]

    @property
    def heading(self) -> str:
        """What stands above it."""
        return f"{self.subject or NO_SUBJECT}{' (continued)' if self.is_continued else ''}"


def conversations(records: Records, context: Context) -> list[Conversation]:
    """Those of a batch, in the order of their first messages; a message has its attachments as 'attachments'."""
    attachments: dict[str, list[Record]] = {}
    for attachment in records.get("attachments", ()):
        attachments.setdefault(attachment["message_id"], []).append(attachment)
    threads: dict[str, list[Record]] = {}
    # As texts, times of one offset are in their order: what comes after the seconds, + or . and a digit, is, too.
    for message in sorted(records.get("messages", ()), key=lambda message: (message["sent_at"], message["message_id"])):
        own = attachments.get(message["message_id"], [])
        threads.setdefault(message["thread_id"], []).append(message | {"attachments": own})
    return [
        Conversation(thread, context.subjects.get(thread), _is_continued(thread, context), messages)
        for thread, messages in threads.items()
    ]


def _is_continued(thread: str, context: Context) -> bool:
    return context.has_messages_before if context.previous is None else thread in context.previous


def clock(context: Context) -> ZoneInfo:
    """The time zone of readable files; that of a name that this machine does not know is UTC."""
    try:
        return ZoneInfo(context.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory
        return ZoneInfo("UTC")


def told_time(moment: str, zone: ZoneInfo) -> str:
    """As 'Fri 1 May 2026, 17:00 CEST'; times that Python has none for (infinity, BC, years of five digits) as they are."""
    try:
        local = datetime.fromisoformat(moment).astimezone(zone)
    except (ValueError, OverflowError):
        return moment
    day, month = DAYS[local.weekday()], MONTHS[local.month - 1]
    return f"{day} {local.day} {month} {local.year}, {local.hour:02}:{local.minute:02} {local.tzname()}"


def told_period(context: Context, found: list[Conversation], zone: ZoneInfo) -> str:
    """From when to when: what was asked for, else what these conversations have, else nothing."""
    moments = [message["sent_at"] for each in found for message in each.messages]
    since, until = context.period
    since, until = since or min(moments, default=None), until or max(moments, default=None)
    return f"{told_time(since, zone)} to {told_time(until, zone)}" if since and until else ""


def guest_name(message: Record, context: Context) -> str | None:
    """Of the guest who wrote or got a message."""
    return context.guest_names.get(message["guest_id"], context.guest_name)


def author(message: Record, context: Context) -> str:
    """Who wrote a message, by name where there is one."""
    if message["direction"] == "inbound":
        return guest_name(message, context) or "Guest"
    return f"{message['author']}, {context.business}" if message["author"] else context.business


def notes(message: Record, zone: ZoneInfo) -> list[str]:
    """What else is to be said of a message."""
    told = [_attachment(each) for each in message["attachments"]]
    status = message["status"]
    if status == "queued":
        planned = message["scheduled_at"]
        told.append("not sent yet" + (f", planned for {told_time(planned, zone)}" if planned else ""))
    elif status in ("failed", "cancelled"):
        told.append("could not be sent" if status == "failed" else "cancelled, not sent")
    for column, what in (("read_at", "read"), ("edited_at", "edited"), ("deleted_at", "deleted")):
        if message[column] is not None:
            told.append(f"{what} {told_time(message[column], zone)}")
    return told


def _attachment(attachment: Record) -> str:
    gone = ", no longer kept" if attachment["deleted_at"] is not None else ""
    return f"attachment: {attachment['name']}, {told_size(attachment['byte_count'])}{gone}"


def told_size(count: int) -> str:
    """As 12 kB."""
    size, place = float(count), 0
    while round(size) >= 1000 and place < len(UNITS) - 1:
        size, place = size / 1000, place + 1
    return "1 byte" if count == 1 else f"{size:.0f} {UNITS[place]}"


def about_lines(context: Context) -> list[tuple[str, str]]:
    """Name and text of each thing that is said about the data."""
    return [(name.replace("_", " ").capitalize(), _joined(value)) for name, value in (context.about or {}).items()]


def _joined(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
