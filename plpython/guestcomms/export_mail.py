"""Messages as mail: one file each (RFC 5322, MIME), or all in one mailbox (RFC 4155, with the quoting called mboxrd).

The bytes are written here and not by the email package, whose generator takes many times as long; its parser reads from
them what it reads from its own. Addresses end in .invalid (RFC 2606), where nothing can be delivered, unless they are the
guest's. Line breaks CRLF, CR and LF are one and the same, and one follows every text that is not a part of it.
"""

from __future__ import annotations

import re
from base64 import b64encode, encodebytes
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from textwrap import wrap
from time import asctime
from typing import Any
from uuid import UUID

DOMAIN = "export.invalid"
PREFIX = "X-Guestcomms-"
MOST_LINE = 76  # characters of a header's line with encoded words in it (RFC 2047, section 2); others could have 78
MOST_BODY_LINE = 998  # bytes, without CRLF (RFC 5322, section 2.1.1)
# What would end a header's line, for any reader, and other characters that nobody sees.
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]+")
SURROGATES = re.compile("[\ud800-\udfff]")
# Words with single spaces between them, which can be folded and quoted without losing one.
WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
# RFC 5322's dot-atom on the left, letters, digits, hyphens and dots on the right; at most 254 characters (RFC 5321).
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
ADDRESS = re.compile(rf"(?=.{{3,254}}\Z){ATOM}(?:\.{ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
# Bodies that not every transport and reader leaves as they are: control characters, and lines that a mailbox quotes.
NOT_AS_IS = re.compile(r"[\0-\x08\x0b-\x1f\x7f]|^>*From ", re.MULTILINE)
FROM_LINE = re.compile(rb"^(?=>*From )", re.MULTILINE)
ENCODED_START, ENCODED_END = "=?utf-8?b?", "?="


class MailError(ValueError):
    """A message that cannot be written as mail. The text says which value is wrong, never the value."""


def eml(message: Mapping[str, Any]) -> bytes:
    """A message as a file of type message/rfc822, its lines ended by CRLF.

    message has message_id, previous_message_id (UUIDs as text; the latter may be None), sent_at (ISO 8601 with offset),
    direction ('inbound' or 'outbound'), body, business_name, thread_id, attachments (each with name, media_type and
    byte_count), and subject, guest_name, guest_address and author, which may be None, as may channel, which may be absent.
    Control characters of a header become a space, lone surrogates U+FFFD. An address that is none of mail is in
    X-Guestcomms-Guest-Address. Raises MailError for a wrong id, time or direction, KeyError where a key is missing.
    """
    message_id = _uuid(message["message_id"])
    boundary = f"=_{message_id}"
    headers = [*_headers(message, message_id), "MIME-Version: 1.0"]
    body = _text_part(message["body"], boundary)
    if not message["attachments"]:
        return _crlf("\n".join(headers) + "\n" + body)
    names = _text_part(_attachment_text(message["attachments"]), boundary)
    headers.append(f'Content-Type: multipart/mixed; boundary="{boundary}"\nContent-Transfer-Encoding: 8bit')
    return _crlf("\n".join(headers) + f"\n\n--{boundary}\n{body}\n--{boundary}\n{names}\n--{boundary}--\n")


def mbox_entry(eml: bytes, sent_at: str) -> bytes:
    """A message (as eml() gives it, or any other) as a mailbox has it; a mailbox is entries one after the other.

    Lines end with LF. The lines that begin with From, or with > and From, get one > more (mboxrd); eml() writes none. The
    From_ line has the time in UTC (RFC 4155, appendix A). Raises MailError where sent_at is not ISO 8601 with offset.
    """
    lines = eml.replace(b"\r\n", b"\n")
    end = b"\n" if lines.endswith(b"\n") else b"\n\n"
    first = f"From MAILER-DAEMON {asctime(_moment(sent_at).utctimetuple())}\n"
    return first.encode() + FROM_LINE.sub(b">", lines) + end


def _headers(message: Mapping[str, Any], message_id: str) -> Iterator[str]:
    """Without those of MIME. Lines of a header are separated by LF."""
    if message["direction"] not in ("inbound", "outbound"):
        raise MailError("direction is neither inbound nor outbound")
    inbound = message["direction"] == "inbound"
    guest_address = _clean(message["guest_address"] or "")
    is_mail = bool(ADDRESS.fullmatch(guest_address))
    guest = (message["guest_name"] or ("" if is_mail else guest_address), guest_address if is_mail else f"guest@{DOMAIN}")
    business = (message["business_name"], f"business@{DOMAIN}")
    yield _mailbox("From", *(guest if inbound else business))
    yield _mailbox("To", *(business if inbound else guest))
    yield f"Date: {format_datetime(_moment(message['sent_at']))}"
    yield f"Message-ID: <{message_id}@{DOMAIN}>"
    if message["previous_message_id"] is not None:
        previous = f"<{_uuid(message['previous_message_id'])}@{DOMAIN}>"
        yield f"In-Reply-To: {previous}"
        yield f"References: {previous}"
    if message["subject"] is not None:
        yield _header("Subject", _clean(message["subject"]))
    values = {
        "Direction": message["direction"],
        "Channel": message.get("channel"),
        "Message-Id": message_id,
        "Thread-Id": message["thread_id"],
        "Author": message["author"],
        "Guest-Address": None if is_mail else message["guest_address"],
    }
    for name, value in values.items():
        if value is not None:
            yield _header(PREFIX + name, _clean(str(value)))


def _clean(text: str) -> str:
    return SURROGATES.sub("\ufffd", CONTROLS.sub(" ", text))


def _is_plain(text: str) -> bool:
    """Whether a reader takes it as it is; what looks like an encoded word would be decoded."""
    return bool(WORDS.fullmatch(text)) and "=?" not in text


def _header(name: str, text: str) -> str:
    """A header without structure, folded where there is a space."""
    line = f"{name}: {text}"
    if not _is_plain(text):
        return _encoded_words(name, text)
    if len(line) <= MOST_LINE:
        return line
    lines = wrap(line, MOST_LINE - 1, break_long_words=False, break_on_hyphens=False)
    # Parsers keep the space after a name that stands alone.
    if lines[0] == f"{name}:" or max(map(len, lines)) >= MOST_LINE:
        return _encoded_words(name, text)
    return "\n ".join(lines)


def _mailbox(name: str, display: str, address: str) -> str:
    """A header with one address (RFC 5322, section 3.4)."""
    display = _clean(display).strip()
    if not display:
        return f"{name}: {address}"
    quoted = display.replace("\\", r"\\").replace('"', r"\"")
    line = f'{name}: "{quoted}" <{address}>'
    if len(line) <= MOST_LINE and _is_plain(display):
        return line
    return f"{_encoded_words(name, display)}\n <{address}>"


def _encoded_words(name: str, text: str) -> str:
    """RFC 2047, base64, one encoded word per line; no character is divided between two (section 5)."""
    data = text.encode()
    words = []
    around = len(name) + len(": ") + len(ENCODED_START) + len(ENCODED_END)
    while data:
        end = (MOST_LINE - around) // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"{ENCODED_START}{b64encode(data[:end]).decode()}{ENCODED_END}")
        data = data[end:]
        around = len(" ") + len(ENCODED_START) + len(ENCODED_END)
    return f"{name}: " + "\n ".join(words)


def _text_part(text: str, boundary: str) -> str:
    """The headers of a text, an empty line, and the text: as it is, or in base64 where something could change it."""
    text = SURROGATES.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")) + "\n"
    too_long = len(text) * 4 > MOST_BODY_LINE and any(len(line.encode()) > MOST_BODY_LINE for line in text.split("\n"))
    encoding = "8bit"
    if too_long or boundary in text or NOT_AS_IS.search(text):
        encoding = "base64"
        # The line breaks of a text are CRLF before it is encoded (RFC 2045, section 6.8).
        text = encodebytes(_crlf(text)).decode()
    return f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n{text}"


def _attachment_text(attachments: list[Mapping[str, Any]]) -> str:
    lines = [f"- {_clean(each['name'])} ({_clean(each['media_type'])}, {each['byte_count']} bytes)" for each in attachments]
    return "\n".join(["Attachments, which this message does not include:", *lines])


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise MailError("an identifier of a message is no UUID") from None


def _moment(text: str) -> datetime:
    """With an offset of whole minutes, since mail has no others (RFC 5322, section 3.3)."""
    try:
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset()
        utc = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MailError("sent_at is not a time in ISO 8601") from None
    if offset is None:
        raise MailError("sent_at has no offset")
    return utc if offset % timedelta(minutes=1) else moment
