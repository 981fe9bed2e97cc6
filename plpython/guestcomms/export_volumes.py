"""The messages of an export on paper: a PDF for each batch, since one cannot be continued."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from guestcomms import export_pdf
from guestcomms.export_context import Context, Record, Records, Stage
from guestcomms.export_conversations import (
    CHANNELS,
    TITLE,
    about_lines,
    author,
    clock,
    conversations,
    notes,
    told_period,
    told_time,
)


def pdf_file(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """A volume for each batch: `messages.pdf`, `messages-2.pdf`, ...; one that says so where there is no message.

    Raises what export_pdf.write_pdf() raises.
    """
    found = conversations(records, context) if stage == "add" else []
    if not found and (stage != "close" or context.has_messages_before):
        return {}
    zone, number = clock(context), context.batch_number + 1 if found else 1
    heading = export_pdf.Heading(
        TITLE if number == 1 else f"{TITLE} ({number})",
        context.business,
        context.guest_name or "",
        told_period(context, found, zone),
        told_time(context.made_at, zone),
        list(_heading_notes(context, zone)),
    )
    threads = [export_pdf.Thread(each.heading, [_message(message, context, zone) for message in each.messages]) for each in found]
    name = "messages.pdf" if number == 1 else f"messages-{number}.pdf"
    return {name: export_pdf.write_pdf(heading, threads, language=context.language)}


def _message(message: Record, context: Context, zone: ZoneInfo) -> export_pdf.Message:
    return export_pdf.Message(
        told_time(message["sent_at"], zone),
        author(message, context),
        CHANNELS[message["channel"]],
        message["direction"] == "inbound",
        message["subject"],
        message["body"],
        notes(message, zone),
    )


def _heading_notes(context: Context, zone: ZoneInfo) -> Iterator[str]:
    """The clock; what Art. 15 of the GDPR asks for, in the first volume; and what is left out, which later ones know better."""
    yield f"Times are those of {zone.key}."
    if not context.has_messages_before:
        for name, value in about_lines(context):
            yield f"{name}: {value}"
    for part in context.left_out:
        yield f"Not in here: {part['what']}; {part['why']}."
