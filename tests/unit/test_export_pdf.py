"""PDFs of a guest's messages, read again by poppler's pdftotext."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from guestcomms import export_pdf
from guestcomms.export_pdf import FONT_FOLDERS, Heading, Labels, Message, MissingFont, Thread, missing_scripts, write_pdf
from hypothesis import given, settings
from hypothesis import strategies as st

for module in ("reportlab", "bidi", "arabic_reshaper"):
    pytest.importorskip(module)
if not shutil.which("pdftotext"):
    pytest.skip("needs pdftotext", allow_module_level=True)
if missing_scripts():
    pytest.skip("needs the fonts of every script", allow_module_level=True)

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "60")))
HEADING = Heading("Your messages", "Hotel Müller", "Ana Núñez", "January 2026", "2026-02-01", ["Article 15 of the GDPR"])
WORDS = {
    "Latin": "Łódź",
    "Cyrillic": "Здравствуйте",
    "Greek": "Καλημέρα",
    "Hebrew": "שלום",
    "Chinese": "我们想预订",
    "Japanese": "カメラと部屋",
    "Korean": "안녕하세요",
}


def message(body: str, *, is_inbound: bool = True, subject: str | None = None, notes: tuple[str, ...] = ()) -> Message:
    """One with that body."""
    return Message("2026-01-02 10:00", "Ana", "email", is_inbound, subject, body, notes)


def pdf(*bodies: str, **options: Any) -> bytes:
    """Of one thread with these bodies."""
    return write_pdf(HEADING, [Thread("Arrival", [message(body) for body in bodies])], **options)


def text_of(data: bytes, *options: str) -> str:
    """What pdftotext finds, without its marks of direction; presentation forms as letters (NFKC)."""
    done = subprocess.run(["pdftotext", "-layout", *options, "-", "-"], input=data, capture_output=True, check=True)
    assert not done.stderr
    return re.sub("[\u200e\u200f\u202a-\u202e]", "", unicodedata.normalize("NFKC", done.stdout.decode()))


def boxes(data: bytes) -> Iterator[tuple[str, float, float]]:
    """The words with their left and right edges in points."""
    done = subprocess.run(["pdftotext", "-bbox", "-", "-"], input=data, capture_output=True, check=True)
    for left, right, word in re.findall(r'<word xMin="([\d.-]+)".*? xMax="([\d.-]+)".*?>(.*?)</word>', done.stdout.decode()):
        yield word, float(left), float(right)


def pages(data: bytes) -> int:
    """How many there are."""
    return text_of(data).count("\f")


@pytest.mark.parametrize("script", WORDS)
def test_words_of_every_script_are_found(script: str) -> None:
    assert unicodedata.normalize("NFKC", WORDS[script]) in text_of(pdf(WORDS[script]))


@pytest.mark.parametrize("word", ["الغرفة", "مرحبا", "لا", "الله", "سلأم", "گچپی"])
def test_arabic_words_are_found(word: str) -> None:
    text = text_of(pdf(word))
    assert word in text or word[::-1] in text


def test_arabic_letters_are_joined_and_vowel_signs_stay() -> None:
    assert export_pdf._joined("بلا") == "\ufe91\ufefc"
    assert export_pdf._joined("لا لآ لأ لإ") == "\ufefb \ufef5 \ufef7 \ufef9"
    assert export_pdf._joined("لَا") == "\ufefb\u064e"
    assert "\u064f" in export_pdf._joined("مُحمد")


def test_lines_are_put_in_the_order_of_the_paper() -> None:
    assert export_pdf._visual("אבג (12) x", "R") == "x (12) גבא"
    assert export_pdf._visual("x אבג", "L") == "x גבא"
    assert export_pdf._visual("א\u200fב\U0003fff0", "R") == "\U0003fff0בא"
    assert [export_pdf._direction(text) for text in ("1 א x", "x א", "12", "\u0661")] == ["R", "L", "L", "L"]


def test_paragraphs_from_right_to_left_stand_at_the_right_margin() -> None:
    right = export_pdf.PAGE_WIDTH - export_pdf.MARGIN
    found = [(word, x, end) for word, x, end in boxes(pdf("שלום", "left"))]
    ends = [end for word, _, end in found if set(word) >= set("שלום")]
    starts = [x for word, x, _ in found if word == "left"]
    assert ends == [pytest.approx(right, abs=0.5)]
    assert starts == [pytest.approx(export_pdf.MARGIN, abs=0.5)]


@pytest.mark.parametrize("word", [*WORDS.values(), "مرحبا", "plain", "(un)broken\\"])
@pytest.mark.parametrize("space", ["", " "])
def test_no_line_leaves_the_page(word: str, space: str) -> None:
    found = list(boxes(pdf((word + space) * 300)))
    assert min(x for _, x, _ in found) >= export_pdf.MARGIN - 1
    assert max(end for _, _, end in found) <= export_pdf.PAGE_WIDTH - export_pdf.MARGIN + 1
    assert max(end for _, _, end in found) >= export_pdf.PAGE_WIDTH - export_pdf.MARGIN - 100


def test_lines_break_at_spaces_and_at_any_character_of_chinese_but_before_no_comma() -> None:
    fonts = export_pdf._Fonts(export_pdf._font_files(FONT_FOLDERS, ()))
    han = fonts.width("中")
    assert export_pdf._break("aa  bb cc", fonts.width("aa  bb"), fonts) == ["aa  bb", "cc"]
    assert export_pdf._break("  aa", fonts.width("  aa"), fonts) == ["  aa"]
    assert export_pdf._break("", 1, fonts) == [""]
    assert export_pdf._break("中中中中中", 2 * han, fonts) == ["中中", "中中", "中"]
    assert export_pdf._break("中中中、中", 3 * han, fonts) == ["中中", "中、中"]
    assert export_pdf._break("中中「中中", 3 * han, fonts) == ["中中", "「中中"]
    assert export_pdf._break("aaaaa b", fonts.width("aa"), fonts) == ["aa", "aa", "a", "b"]
    assert export_pdf._break("x" + "x\u0323" * 2, 1, fonts) == ["x", "x\u0323", "x\u0323"]


@many
@given(st.text(st.sampled_from("ab (中、「אשم \u0627\u0323"), max_size=60), st.integers(1, 9000))
def test_breaking_loses_only_spaces(text: str, room: int) -> None:
    fonts = export_pdf._Fonts(export_pdf._font_files(FONT_FOLDERS, ()))
    lines = export_pdf._break(text, room, fonts)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line in lines:
        parts = [char for char in line if not unicodedata.combining(char)]
        assert fonts.width(line) <= room or len(parts) <= 1


def test_who_wrote_is_told_by_a_label_and_an_indent() -> None:
    thread = Thread("Arrival", [message("fromguest", subject="Question", notes=("edited",)), message("fromus", is_inbound=False)])
    data = write_pdf(HEADING, [thread])
    text = text_of(data)
    for line in ("Guest: Ana | email | 2026-01-02 10:00", "Business: Ana | email", "Question", "[edited]", "Guest: Ana Núñez"):
        assert line in text
    left = {word: x for word, x, _ in boxes(data)}
    assert left["fromus"] - left["fromguest"] == pytest.approx(export_pdf.BUSINESS_INDENT, abs=0.1)


def test_the_parts_of_a_label_keep_their_order() -> None:
    first = Message("10:00", "דוד", "אתר", True, None, "x")
    second = Message("10:00", "Ana", "", True, None, "x")
    xs = {word: x for word, x, _ in boxes(write_pdf(HEADING, [Thread(None, [first])]))}
    assert xs["Guest:"] < xs["10:00"]
    assert xs["דוד"] < xs["רתא"]  # as they stand on paper
    turned = {word: x for word, x, _ in boxes(write_pdf(HEADING, [Thread(None, [second])], labels=Labels(guest="אורח")))}
    assert turned["10:00"] < turned["Ana"]


def test_later_pages_have_their_number_and_the_heading_again() -> None:
    one, more = pdf("short"), pdf(*["word " * 200] * 30)
    assert pages(one) == 1
    assert pages(more) > 5
    last = text_of(more, "-f", str(pages(more)))
    assert "Arrival (continued)" in last
    assert f"Page {pages(more)}" in last
    assert "(continued)" not in text_of(one)


def test_a_long_subject_is_repeated_in_short() -> None:
    data = write_pdf(HEADING, [Thread("subject " * 400, [message("word " * 2000)])])
    assert pages(data) == 4
    assert text_of(data, "-f", "4").count("subject") == 12


def test_nothing_is_told_as_nothing() -> None:
    assert "There are no messages." in text_of(write_pdf(HEADING, []))
    text = text_of(write_pdf(HEADING, [Thread(None, [])]))
    assert "Conversation" in text
    assert "There are no messages." in text


def test_characters_without_a_font_are_told_and_can_be_copied() -> None:
    text = text_of(pdf("beach \U0001f3d6\U0001f3d6 and \ue123"))
    assert "beach \U0001f3d6\U0001f3d6 and" in text
    assert "U+1F3D6 BEACH WITH UMBRELLA: 2" in text
    assert "U+E123: 1" in text
    assert "No font was found" not in text_of(pdf("beach"))
    assert "and 12 more" in text_of(pdf("".join(map(chr, range(0xE200, 0xE200 + export_pdf.MOST_MISSING + 12)))))


def test_characters_beyond_the_basic_plane_are_found() -> None:
    assert "\U0001f600 smile" in text_of(pdf("\U0001f600 smile"))


def test_text_is_composed_and_without_controls() -> None:
    text = text_of(pdf("cafe\u0301 a\x07b c\u202ed\u2066e x\ty \ud800 1\u200d2\nthree\u2028four"))
    for part in ("café ab cde x", "y \ufffd 12\nthree\nfour"):
        assert part in text


def test_a_body_of_one_word_and_a_megabyte() -> None:
    text = re.sub(r"Arrival \(continued\)|Page \d+|[^x]", "", text_of(pdf("x" * 1_000_000)))
    assert len(text) == 1_000_000


@many
@given(st.lists(st.text(max_size=400), max_size=4), st.text(max_size=60))
def test_any_text_makes_a_pdf(bodies: list[str], name: str) -> None:
    heading = Heading(name, name, name, name, name, [name])
    thread = Thread(name, [Message(name, name, name, bool(i), name, body, [name]) for i, body in enumerate(bodies)])
    assert "Page 1" in text_of(write_pdf(heading, [thread], language=name))


@many
@given(st.text(st.sampled_from("אשלאלَّ\u200d\u200cab12()\u0378\U0001fae8 \u2066\u202b\u200f%,\U00100000"), max_size=80))
def test_any_mixture_of_directions_makes_a_pdf(body: str) -> None:
    assert "Page 1" in text_of(pdf(body))


def test_properties_and_words_of_the_document() -> None:
    labels = Labels(page="Seite {}", guest="Gast", continued="{} (Fortsetzung)")
    data = pdf("word " * 3000, labels=labels, language="de")
    assert b"/Lang (de)" in data
    text = text_of(data)
    for part in ("Seite 1", "Gast: Ana", "Arrival (Fortsetzung)"):
        assert part in text
    info = subprocess.run(["pdfinfo", "-"], input=data, capture_output=True, check=True).stdout.decode()
    assert re.search(r"Title: +Your messages\n", info)
    assert re.search(r"Author: +Hotel Müller\n", info)
    assert "A4" in info


def test_fonts_are_embedded_as_subsets() -> None:
    data = pdf("".join(WORDS.values()))
    assert len(data) < 250_000
    table = subprocess.run(["pdffonts", "-"], input=data, capture_output=True, check=True).stdout.decode()
    assert re.search(r"\+DejaVuSans +TrueType +\w+ +yes yes yes", table)


def test_missing_scripts_name_a_package(tmp_path: Path) -> None:
    dejavu = next(file for file in export_pdf._font_files(FONT_FOLDERS, ()) if file.name == "DejaVuSans.ttf")
    assert missing_scripts() == []
    assert "Korean: fonts-wqy-microhei" in missing_scripts(font_folders=[tmp_path])
    assert len(missing_scripts(font_folders=[tmp_path])) == len(export_pdf.SCRIPTS)
    assert [line.split(":")[0] for line in missing_scripts(font_folders=[tmp_path], fonts=[dejavu])] == [
        "Chinese",
        "Japanese",
        "Korean",
    ]


def test_without_fonts_or_with_a_damaged_one_there_is_no_pdf(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    with pytest.raises(MissingFont, match="fonts-dejavu-core"):
        pdf("x", font_folders=[tmp_path])
    for font in (damaged, tmp_path / "absent.ttf"):
        with pytest.raises(MissingFont, match=f"The font {font.name} cannot be used"):
            pdf("x", font_folders=[tmp_path], fonts=[font])


def test_a_font_without_latin_letters_still_makes_a_pdf(tmp_path: Path) -> None:
    droid = next((file for file in export_pdf._font_files(FONT_FOLDERS, ()) if file.name == "DroidSansFallback.ttf"), None)
    if droid is None:
        pytest.skip("needs DroidSansFallback.ttf")
    text = text_of(pdf("中国 letters", font_folders=[tmp_path], fonts=[droid]))
    assert "中国" in text
    assert "U+0061 LATIN SMALL LETTER A" in text


def test_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        if name.startswith("bidi"):
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr(export_pdf, "import_module", refuse)
    assert pdf("left to right")
    with pytest.raises(ImportError, match=r"a PDF needs bidi \(Debian: python3-bidi\)"):
        pdf("שלום")
