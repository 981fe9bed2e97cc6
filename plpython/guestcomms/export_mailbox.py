"""The e-mails of an export, in one mailbox or a file each."""

from __future__ import annotations

from collections.abc import Iterator

from guestcomms.export_context import Context, Record, Records, Stage
from guestcomms.export_conversations import conversations, guest_name
from guestcomms.export_mail import eml, mbox_entry


def mbox_file(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`messages.mbox`: the e-mails of a batch, those of a conversation together; empty where there is none."""
    entries = [mbox_entry(mail, message["sent_at"]) for message, mail in _mails(records, context)] if stage == "add" else []
    return {"messages.mbox": b"".join(entries)} if entries or stage == "open" else {}


def eml_files(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`mail/<day>-<message_id>.eml`: each e-mail; the day is that of UTC."""
    if stage != "add":
        return {}
    return {f"mail/{message['sent_at'][:10]}-{message['message_id']}.eml": mail for message, mail in _mails(records, context)}


def _mails(records: Records, context: Context) -> Iterator[tuple[Record, bytes]]:
    address = next((address for address in context.addresses if "@" in address), None)
    names = {"guest_address": address, "business_name": context.business}
    for conversation in conversations(records, context):
        previous = (context.previous or {}).get(conversation.thread_id)
        for message in conversation.messages:
            if message["channel"] == "email":
                told = {"guest_name": guest_name(message, context), "previous_message_id": previous}
                yield message, eml({**message, **names, **told})
                previous = message["message_id"]
