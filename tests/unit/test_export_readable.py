"""Files of exports that people read: conversations in order, with all that is to be known of a message, and no text's markup."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from email import message_from_bytes
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from guestcomms.export_conversations import author, clock, conversations, notes, told_period, told_size, told_time
from guestcomms.export_html import POLICY, STYLE
from guestcomms.export_pdf import missing_scripts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.export_records import CONTEXT, GUEST, OTHER_THREAD, THREAD, attachment, batch, files, message

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "60")))
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])) | st.lists(
    st.sampled_from(["<", ">", "&", '"', "'", "\r", "\n", "</div>", "<script>", "<!--", "]]>", "&#13;", "&amp", "http://a.b"])
).map("".join)
BERLIN = ZoneInfo("Europe/Berlin")
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "header", "h1", "p", "bdi", "main", "section", "h2", "article"} | {
    *("h3", "time", "div", "ul", "li", "footer", "dl", "dt", "dd")
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "dir", "datetime"}


class Page(HTMLParser):
    """What a page says: its texts by class, its elements, what it names as children of the open elements."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.found: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(data.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "meta":
            return
        name = dict(attrs).get("class") or tag
        self._open.append(name)
        self.found.setdefault(name, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[self._open[-1]][-1] += data


@many
@given(texts, texts)
@example("a\r\nb\rc", "\n a ")
def test_html_gives_the_texts_back_and_has_only_its_own_elements(subject: str, body: str) -> None:
    record = message(body=body, subject=subject, direction="outbound", author=subject, language="en")
    context = replace(CONTEXT, business=body, guest_name=subject, subjects={THREAD: body})
    page = Page(files("html", [batch([record], attachments=[attachment(record, body)])], context)["messages.html"])
    assert page.found.get("text", [""]) == [body]
    assert page.found.get("subject", [""]) == [subject]
    assert page.found["h3"] == [f"{subject}, {body}" if subject else body]
    assert page.found["h2"][0] == body or not body
    assert page.found["li"] == [f"attachment: {body}, 1 kB"]
    assert set(page.tags) <= ELEMENTS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES


def test_html_is_accessible_and_asks_for_nothing() -> None:
    page = files("html", [batch([message(language="tr")])])["messages.html"].decode()
    assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in page
    assert '<html lang="en">' in page
    assert '<div class="text" dir="auto" lang="tr">' in page
    assert not re.search(r"https?:|url\(|@import|src=|href=|<script|<link", page)
    assert [tag for tag in Page(page.encode()).tags if tag in ("header", "main", "footer")] == ["header", "main", "footer"]
    assert [tag for tag in Page(page.encode()).tags if tag in ("h1", "h2", "h3")][:3] == ["h1", "h2", "h3"]


@pytest.mark.parametrize("night", [False, True])
def test_colours_have_contrast(night: bool) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): #(\w+)", blocks[0])) | (dict(re.findall(r"--(\w+): #(\w+)", blocks[1])) if night else {})
    for ground in ("page", "guest", "business"):
        for ink in ("text", "quiet"):
            light, dark = sorted((luminance(colours[ground]), luminance(colours[ink])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 7, (ground, ink)


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    digits = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_html_says_what_the_data_is_for_and_what_is_not_in_it() -> None:
    found = Page(files("html", [])["messages.html"]).found
    assert found["p"] == ["There are no messages."]
    assert found["dt"] == ["Purposes", "Automated decisions", "Rights", "contents of attachments"]
    assert found["dd"] == ["planning", "none", "to erase (Art. 17); to complain (Art. 77)", "they are kept elsewhere"]
    assert "Your rights" in found["meta"][0]
    bare = Page(files("html", [batch([message()])], replace(CONTEXT, about=None, left_out=[], guest_name=None))["messages.html"])
    assert bare.found["h2"] == ["Tasting"]
    assert "rights" not in bare.found["meta"][0]
    assert bare.found["bdi"] == ["Rose & <Quill>"]


def test_a_conversation_goes_on_only_where_it_began_before() -> None:
    parts = [batch([message(1)]), batch([message(2), message(3, thread_id=OTHER_THREAD)])]
    assert Page(files("html", parts)["messages.html"]).found["h2"][:3] == ["Tasting", "Tasting (continued)", "Conversation"]
    unknown = replace(CONTEXT, has_messages_before=True, batch_number=1)
    assert [each.heading for each in conversations(parts[1], unknown)] == ["Tasting (continued)", "Conversation (continued)"]
    assert [each.heading for each in conversations(parts[1], CONTEXT)] == ["Tasting", "Conversation"]


def test_messages_are_in_order_of_time_within_their_conversation() -> None:
    late, early, between = message(3, "late"), message(1, "early"), message(2, "between", thread_id=OTHER_THREAD)
    halves = [
        message(4, "half", sent_at="2026-05-31T20:03:00.5+00:00"),
        message(5, "less", sent_at="2026-05-31T20:03:00.45+00:00"),
    ]
    found = conversations(batch([late, between, *halves, early], attachments=[attachment(late)]), CONTEXT)
    assert [[each["body"] for each in one.messages] for one in found] == [["early", "late", "less", "half"], ["between"]]
    assert [len(each["attachments"]) for each in found[0].messages] == [0, 1, 0, 0]
    assert conversations({}, CONTEXT) == []


def test_times_are_told_by_the_clock_of_the_reader() -> None:
    assert told_time("2026-05-31T22:30:00+00:00", BERLIN) == "Mon 1 Jun 2026, 00:30 CEST"
    assert told_time("2026-01-01T08:05:00.123456+00:00", BERLIN) == "Thu 1 Jan 2026, 09:05 CET"


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15T00:00:00+00:00 BC", "12026-01-01T00:00:00+00:00"])
def test_times_beyond_python_s_are_told_as_they_are(moment: str) -> None:
    assert told_time(moment, BERLIN) == moment


def test_times_at_the_edge_of_python_s_are_told_as_they_are() -> None:
    assert told_time("9999-12-31T23:59:59+00:00", BERLIN) == "9999-12-31T23:59:59+00:00"


@pytest.mark.parametrize("name", ["No/Where", "../etc/passwd", "Europe", ""])
def test_an_unknown_zone_is_utc(name: str) -> None:
    assert clock(replace(CONTEXT, timezone=name)).key == "UTC"


def test_the_period_is_what_was_asked_for_or_what_there_is() -> None:
    found = conversations(batch([message(1), message(2)]), CONTEXT)
    first, last = "Sun 31 May 2026, 22:01 CEST", "Sun 31 May 2026, 22:02 CEST"
    assert told_period(CONTEXT, found, BERLIN) == f"{first} to {last}"
    until = replace(CONTEXT, period=(None, "2026-11-23T17:00:00+00:00"))
    assert told_period(until, found, BERLIN) == f"{first} to Mon 23 Nov 2026, 18:00 CET"
    assert told_period(until, [], BERLIN) == ""
    assert told_period(CONTEXT, [], BERLIN) == ""


def test_who_wrote_is_told_by_name_where_there_is_one() -> None:
    nameless = replace(CONTEXT, guest_name=None)
    assert author(message(), CONTEXT) == "Zoë «the bride» Kaya"
    assert author(message(), nameless) == "Guest"
    several = replace(nameless, guest_names={GUEST: "Ali", THREAD: None})
    assert author(message(), several) == "Ali"
    assert author(message(guest_id=THREAD), several) == "Guest"
    assert author(message(direction="outbound"), CONTEXT) == "Rose & <Quill>"
    assert author(message(direction="outbound", author="Ann"), CONTEXT) == "Ann, Rose & <Quill>"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"status": "queued"}, ["not sent yet"]),
        (
            {"status": "queued", "scheduled_at": "2026-06-01T10:00:00+00:00"},
            ["not sent yet, planned for Mon 1 Jun 2026, 12:00 CEST"],
        ),
        ({"status": "sent", "scheduled_at": "2026-06-01T10:00:00+00:00"}, []),
        ({"status": "failed"}, ["could not be sent"]),
        ({"status": "cancelled"}, ["cancelled, not sent"]),
        ({"read_at": "2026-06-01T10:00:00+00:00"}, ["read Mon 1 Jun 2026, 12:00 CEST"]),
        ({"edited_at": "2026-06-01T10:00:00+00:00"}, ["edited Mon 1 Jun 2026, 12:00 CEST"]),
        ({"deleted_at": "2026-06-01T10:00:00+00:00"}, ["deleted Mon 1 Jun 2026, 12:00 CEST"]),
    ],
)
def test_what_became_of_a_message_is_told(changes: dict[str, Any], expected: list[str]) -> None:
    assert notes(message(**changes) | {"attachments": []}, BERLIN) == expected


def test_attachments_are_told_with_their_size() -> None:
    record = message()
    gone = attachment(record, "b.jpg", 1, "2026-06-01T10:00:00+00:00")
    assert notes(record | {"attachments": [attachment(record), gone]}, BERLIN) == [
        "attachment: plan.pdf, 1 kB",
        "attachment: b.jpg, 1 byte, no longer kept",
    ]
    sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 999_600: "1 MB", 12_345_678: "12 MB", 10**13: "10000 GB"}
    assert {count: told_size(count) for count in sizes} == sizes


# Mail


def test_only_e_mails_are_mail_and_answer_the_one_before() -> None:
    first, sms, answer = message(1), message(2, channel="sms"), message(3, direction="outbound")
    mails = files("eml", [batch([first, sms]), batch([answer], attachments=[attachment(answer)])])
    assert list(mails) == [f"mail/2026-05-31-{each['message_id']}.eml" for each in (first, answer)]
    one, two = map(message_from_bytes, mails.values())
    assert one["In-Reply-To"] is None
    assert two["In-Reply-To"] == f"<{sms['message_id']}@export.invalid>"
    assert "zoe@example.org" in two["To"]
    assert b"plan.pdf" in list(mails.values())[1]
    assert files("mbox", [batch([first, sms])])["messages.mbox"].startswith(b"From MAILER-DAEMON Sun May 31 20:01:00 2026\n")
    assert files("mbox", [batch([sms])]) == {"messages.mbox": b""}
    assert files("eml", [batch([sms])]) == {}


def test_a_guest_without_an_address_of_mail_has_none_in_it() -> None:
    (mail,) = files("eml", [batch([message()])], replace(CONTEXT, addresses=["+4930123456"])).values()
    assert "guest@export.invalid" in message_from_bytes(mail)["From"]


def test_mail_of_several_guests_names_each() -> None:
    context = replace(CONTEXT, guest_name=None, addresses=[], guest_names={GUEST: "Ali"})
    (mail,) = files("eml", [batch([message(direction="outbound")])], context).values()
    assert message_from_bytes(mail)["To"] == '"Ali" <guest@export.invalid>'


# Paper


def text_of(data: bytes, path: Path) -> str:
    """What pdftotext finds."""
    path.write_bytes(data)
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def paper() -> None:
    for module in ("reportlab", "bidi", "arabic_reshaper"):
        pytest.importorskip(module)
    if not shutil.which("pdftotext") or missing_scripts():
        pytest.skip("needs pdftotext and the fonts of every script")


@pytest.mark.usefixtures("paper")
def test_each_batch_is_a_volume(tmp_path: Path) -> None:
    found = files("pdf", [batch([message(1, "one")]), batch([message(2, "two"), message(3, "three", thread_id=OTHER_THREAD)])])
    assert list(found) == ["messages.pdf", "messages-2.pdf"]
    first, second = (text_of(data, tmp_path / "file.pdf") for data in found.values())
    for line in (
        "Your messages\n",
        "Purposes: planning",
        "Not in here: contents of attachments",
        "Europe/Berlin",
        "\nTasting\n",
        "one",
    ):
        assert line in first
    for line in (
        "Your messages (2)\n",
        "Not in here",
        "Tasting (continued)",
        "\nConversation\n",
        "two",
        "Sun 31 May 2026, 22:03 CEST",
    ):
        assert line in second
    assert "Purposes" not in second


@pytest.mark.usefixtures("paper")
@pytest.mark.parametrize("batches", [[], [batch([])]])
def test_a_pdf_says_that_there_are_no_messages(batches: list[Any], tmp_path: Path) -> None:
    found = files("pdf", batches, replace(CONTEXT, about=None, guest_name=None))
    assert list(found) == ["messages.pdf"]
    assert "There are no messages." in text_of(found["messages.pdf"], tmp_path / "file.pdf")
