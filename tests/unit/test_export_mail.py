"""Messages as mail: parsers must read what was put in, and nothing of a guest can become a header."""

from __future__ import annotations

import mailbox
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from guestcomms.export_mail import CONTROLS, MailError, eml, mbox_entry
from hypothesis import example, given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
ID, PREVIOUS, THREAD = (f"6f9619ff-8b86-4d11-b42d-00c04fc964f{digit}" for digit in "123")
SENT_AT = "2026-05-17T23:59:58+02:00"
ATTACHMENTS = [{"name": "Rechnung für Zimmer 7.pdf", "media_type": "application/pdf", "byte_count": 1234}]
# Any text, and texts with what has a meaning in mail and mailboxes.
pieces = st.sampled_from(
    ["From ", ">From ", "\n", "\r\n", "\r", ".", "=?utf-8?q?a?=", ":", "--", " ", "é", "a", "\0", "\x85", '"']
)
texts = st.text(st.characters()) | st.text(st.characters(blacklist_categories=[])) | st.lists(pieces).map("".join)


def message(**changes: Any) -> dict[str, Any]:
    """An inbound message of mail."""
    return {
        "message_id": ID,
        "sent_at": SENT_AT,
        "subject": "Late arrival",
        "body": "We arrive late.\nGrüße, Eva",
        "direction": "inbound",
        "guest_name": "Eva Müller",
        "guest_address": "eva@example.org",
        "business_name": "Hotel am See",
        "author": None,
        "thread_id": THREAD,
        "previous_message_id": None,
        "attachments": [],
        "channel": "email",
    } | changes


def parsed(content: bytes) -> EmailMessage:
    """As a modern parser reads it; it must have found nothing wrong."""
    mail = message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail.defects == []
    assert [defect for value in mail.values() for defect in value.defects] == []
    return mail


def text_of(part: Any) -> str:
    """A text without the line break after it."""
    content = part.get_content().replace("\r\n", "\n")
    assert content.endswith("\n")
    return str(content[:-1])


def as_read(text: str) -> str:
    """What can be expected of a body."""
    return re.sub("[\ud800-\udfff]", "\ufffd", re.sub("\r\n?", "\n", text))


def as_header(text: str) -> str:
    """What can be expected of a header."""
    return re.sub("[\ud800-\udfff]", "\ufffd", CONTROLS.sub(" ", text))


def in_mailbox(*contents: bytes) -> list[EmailMessage]:
    """What Python reads from a mailbox."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "mbox"
        path.write_bytes(b"".join(mbox_entry(content, SENT_AT) for content in contents))
        mails = mailbox.mbox(path, create=False)
        read = [parsed(mails.get_bytes(key)) for key in mails.iterkeys()]
        mails.close()
    return read


def of_mboxrd(box: bytes) -> list[bytes]:
    """What a reader of mboxrd gives back."""
    entries = re.split(rb"(?m)^From .*\n", box)[1:]
    return [re.sub(rb"(?m)^>(>*From )", rb"\1", entry.removesuffix(b"\n")) for entry in entries]


def decoded(mail: EmailMessage, name: str) -> str:
    """A header by the rules of RFC 2047: what is between two encoded words is nothing."""
    raw = next(value for key, value in mail.raw_items() if key == name)
    return str(make_header(decode_header(re.sub(r"\r\n", "", raw))))


@many
@given(texts)
@example("From me\n>From you\n\n")
@example("\n\n")
@example("--=_" + ID)
def test_bodies_are_read_as_they_were(body: str) -> None:
    content = eml(message(body=body))
    assert text_of(parsed(content)) == as_read(body)
    with_names = parsed(eml(message(body=body, attachments=ATTACHMENTS)))
    assert text_of(next(with_names.iter_parts())) == as_read(body)
    assert len(list(with_names.iter_parts())) == 2
    mails = in_mailbox(content, eml(message(body=body, attachments=ATTACHMENTS)), content)
    assert len(mails) == 3
    assert text_of(mails[0]) == text_of(mails[2]) == text_of(next(mails[1].iter_parts())) == as_read(body)


@many
@given(texts)
def test_bodies_are_read_as_from_the_email_package(body: str) -> None:
    body = as_read(body)
    theirs = EmailMessage()
    theirs.set_content(body + "\n", cte="base64")
    ours = parsed(eml(message(body=body)))
    assert text_of(ours) == text_of(parsed(theirs.as_bytes()))
    assert (ours.get_content_type(), ours.get_content_charset()) == (theirs.get_content_type(), theirs.get_content_charset())


@many
@given(texts, texts)
@example("Hi\r\nBcc: all@example.org", "Eva\nBcc: all@example.org")
@example("word " * 400, "a" * 2000)
@example("a  b", " a ")
@example("a" * 70, '"Eva" \\ <eva>, (x)')
@example("a" * 67, "é")
def test_headers_are_read_and_none_is_added(subject: str, name: str) -> None:
    content = eml(message(subject=subject, guest_name=name, author=subject, thread_id=name))
    mail = parsed(content)
    expected = "From To Date Message-ID Subject X-Guestcomms-Direction X-Guestcomms-Channel X-Guestcomms-Message-Id "
    expected += "X-Guestcomms-Thread-Id X-Guestcomms-Author MIME-Version Content-Type Content-Transfer-Encoding"
    assert mail.keys() == expected.split()
    assert mail["Subject"] == mail["X-Guestcomms-Author"] == as_header(subject)
    assert mail["X-Guestcomms-Thread-Id"] == as_header(name)
    assert mail["From"].addresses[0].addr_spec == "eva@example.org"
    display = as_header(name).strip()
    if len(display.encode()) <= 30:
        # Python's parser makes one space of many in a name, and may put one between the encoded words of a longer name.
        assert mail["From"].addresses[0].display_name == re.sub(" +", " ", display)
    lines = content.split(b"\r\n\r\n")[0].split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert all(line.strip() and line.isascii() for line in lines)
    assert not re.search(rb"[\0-\x1f]", b"".join(lines))


@many
@given(st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=40).filter(lambda name: not name.isascii()))
def test_long_names_are_read(name: str) -> None:
    assert decoded(parsed(eml(message(guest_name=name))), "From").removesuffix(" <eva@example.org>") == name.strip()


def test_plain_subjects_are_legible_and_folded() -> None:
    content = eml(message(subject="word " * 30 + "end"))
    assert b"\r\nSubject: word word" in content
    assert b"\r\n word" in content


def test_directions_say_who_wrote_to_whom() -> None:
    inbound, outbound = parsed(eml(message())), parsed(eml(message(direction="outbound", author="Anna")))
    assert inbound["From"] == outbound["To"] == "Eva Müller <eva@example.org>"
    assert inbound["To"] == outbound["From"] == "Hotel am See <business@export.invalid>"
    assert (inbound["X-Guestcomms-Direction"], outbound["X-Guestcomms-Direction"]) == ("inbound", "outbound")
    assert (inbound["X-Guestcomms-Author"], outbound["X-Guestcomms-Author"]) == (None, "Anna")


def test_identifiers_and_channel_are_headers() -> None:
    mail = parsed(eml(message(previous_message_id=PREVIOUS.upper())))
    assert mail["Message-ID"] == f"<{ID}@export.invalid>"
    assert mail["In-Reply-To"] == mail["References"] == f"<{PREVIOUS}@export.invalid>"
    assert (mail["X-Guestcomms-Message-Id"], mail["X-Guestcomms-Thread-Id"]) == (ID, THREAD)
    assert mail["X-Guestcomms-Channel"] == "email"
    without = message(subject=None)
    del without["channel"]
    mail = parsed(eml(without))
    assert {"In-Reply-To", "References", "X-Guestcomms-Channel", "Subject"}.isdisjoint(mail.keys())
    assert parsed(eml(message(subject="")))["Subject"] == ""


@pytest.mark.parametrize(
    "address",
    ["+43 660 1234567", "a b@example.org", "a@b\r\nBcc: c@d", "é@example.org", "a..b@c", "a@b>", "a@b\n", "a@" + "b" * 253],
)
def test_addresses_that_are_none_of_mail_are_kept_apart(address: str) -> None:
    mail = parsed(eml(message(guest_address=address)))
    assert mail["From"] == "Eva Müller <guest@export.invalid>"
    assert mail["X-Guestcomms-Guest-Address"] == as_header(address)
    assert mail["Bcc"] is None


def test_the_longest_address_is_one() -> None:
    address = "a@" + "b" * 252
    mail = parsed(eml(message(guest_address=address)))
    assert mail["From"].addresses[0].addr_spec == address
    assert mail["X-Guestcomms-Guest-Address"] is None


def test_guests_without_name_or_address_have_a_header() -> None:
    assert parsed(eml(message(guest_name=None)))["From"] == "eva@example.org"
    assert parsed(eml(message(guest_name=None, guest_address=None)))["From"] == "guest@export.invalid"
    mail = parsed(eml(message(guest_name=None, guest_address="+43 660 1234567")))
    assert mail["From"] == "+43 660 1234567 <guest@export.invalid>"


def test_ordinary_bodies_stay_legible() -> None:
    content = eml(message())
    assert content.endswith("\r\n\r\nWe arrive late.\r\nGrüße, Eva\r\n".encode())
    assert b"\r\nContent-Transfer-Encoding: 8bit\r\n" in content
    assert b"\n" not in content.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("a" * 998, "8bit"),
        ("é" * 499 + "\na", "8bit"),
        ("a" * 999, "base64"),
        ("é" * 500, "base64"),
        ("😀" * 250, "base64"),
        ("😀" * 249, "8bit"),
        ("tab\there", "8bit"),
        ("bell\a", "base64"),
        ("Hi\nFrom me", "base64"),
        ("Hi\n>>From me", "base64"),
        ("Hi From me", "8bit"),
    ],
)
def test_encoding_is_chosen_by_need(body: str, encoding: str) -> None:
    mail = parsed(eml(message(body=body)))
    assert mail["Content-Transfer-Encoding"] == encoding
    assert text_of(mail) == body


@many
@given(st.lists(texts, min_size=1, max_size=4))
def test_attachments_are_named_at_the_end(names: list[str]) -> None:
    attachments = [{"name": name, "media_type": "image/png", "byte_count": 5} for name in names]
    mail = parsed(eml(message(attachments=attachments)))
    assert mail.get_content_type() == "multipart/mixed"
    body, listing = mail.iter_parts()
    assert text_of(body) == message()["body"]
    lines = text_of(listing).split("\n")
    assert lines[0] == "Attachments, which this message does not include:"
    assert lines[1:] == [f"- {as_header(name)} (image/png, 5 bytes)" for name in names]


@many
@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)), st.integers(-1439, 1439))
def test_dates_are_those_of_the_message(clock: datetime, minutes: int) -> None:
    moment = clock.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    date = parsed(eml(message(sent_at=moment.isoformat())))["Date"].datetime
    assert date == moment
    assert date.utcoffset() == moment.utcoffset()
    assert mbox_entry(b"", moment.isoformat()).decode() == moment.astimezone(UTC).strftime(
        "From MAILER-DAEMON %a %b %e %T %Y\n\n\n"
    )


def test_offsets_with_seconds_become_utc() -> None:
    assert parsed(eml(message(sent_at="1890-01-01T12:00:00+00:17:30")))["Date"] == "Wed, 01 Jan 1890 11:42:30 +0000"


@pytest.mark.parametrize("sent_at", ["2026-05-17T23:59:58", "yesterday", "infinity", "0001-01-01T00:00:00+01:00"])
def test_other_times_are_refused_and_not_repeated(sent_at: str) -> None:
    with pytest.raises(MailError, match="sent_at") as caught:
        eml(message(sent_at=sent_at))
    assert sent_at not in str(caught.value)
    with pytest.raises(MailError, match="sent_at"):
        mbox_entry(b"", sent_at)


@pytest.mark.parametrize("key", ["message_id", "previous_message_id"])
def test_identifiers_must_be_uuids(key: str) -> None:
    with pytest.raises(MailError, match="no UUID"):
        eml(message(**{key: ID + ">\r\nBcc: all@example.org"}))


def test_other_directions_are_refused() -> None:
    with pytest.raises(MailError, match="direction"):
        eml(message(direction="internal"))


@many
@given(st.lists(st.lists(st.sampled_from([b"From ", b">From ", b">", b"a", b"\n", b" "])).map(b"".join), max_size=4))
def test_any_mail_comes_back_from_mboxrd(bodies: list[bytes]) -> None:
    contents = [b"A: b\n\n" + body + b"\n" for body in bodies]
    assert of_mboxrd(b"".join(mbox_entry(content, SENT_AT) for content in contents)) == contents


def test_mailboxes_have_lines_of_unix() -> None:
    entry = mbox_entry(b"A: b\r\n\r\nFrom me\r\n>From you\r\nno end", SENT_AT)
    assert entry == b"From MAILER-DAEMON Sun May 17 21:59:58 2026\nA: b\n\n>From me\n>>From you\nno end\n\n"
