"""A PDF of a guest's messages that the guest can read, whatever scripts they are written in.

Lines are broken, put in order and placed here; reportlab only writes the file and the subsets of the fonts. It gets bytes of
fonts and operators of a page (ISO 32000-1, 9.4), never markup, images or names of files. Lengths are in points; widths of
characters and words in thousandths of the size of the font.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

FONT_FOLDERS = ("/usr/share/fonts", "/usr/share/fonts-droid-fallback", "/usr/local/share/fonts")
# In the order in which they are asked for a character. Noto's CJK fonts have outlines that reportlab cannot embed.
FONT_FILES = ("DejaVuSans.ttf", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf")
# Script, characters that a font for it has (Arabic as it is drawn), Debian's package of such a font.
SCRIPTS = (
    ("Latin", "Aéß", "fonts-dejavu-core"),
    ("Cyrillic", "Жя", "fonts-dejavu-core"),
    ("Greek", "Ωά", "fonts-dejavu-core"),
    ("Arabic", "\ufe8e\ufee3\ufefb", "fonts-dejavu-core"),
    ("Hebrew", "אש", "fonts-dejavu-core"),
    ("Chinese", "中国們", "fonts-wqy-microhei"),
    ("Japanese", "ひカ図", "fonts-wqy-microhei"),
    ("Korean", "한국", "fonts-wqy-microhei"),
)
PAGE_WIDTH, PAGE_HEIGHT, MARGIN = 595.28, 841.89, 54.0  # A4
BUSINESS_INDENT, NOTE_INDENT = 42.0, 12.0
MOST_REPEATED = 100  # characters of a subject at the top of later pages
MOST_MISSING = 30  # characters without a font that are named

_CJK = (
    "\u2e80-\u2fff\u3003-\u3007\u3021-\u3029\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
# Which characters neither begin nor end a line is by W3C's "Requirements for Japanese Text Layout", 3.1.7 and 3.1.8. Korean
# breaks at spaces, as its readers are used to.
_OPENING = "\uff08「『【〈《\u3014"
_CLOSING = "、。\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09」』】〉》\u3015…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_WORD = re.compile(f" *(?:[{_OPENING}]*[{_CJK}][{_CLOSING}]*|[^ {_CJK}]+)")
# Controls, embeddings and isolates (they would not survive the breaking of lines), selectors of variants, tags.
_DROPPED = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u180b-\u180f\u200b\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
# What order and joining of letters need, and nobody sees.
_UNSEEN = dict.fromkeys(map(ord, "\u061c\u200c\u200d\u200e\u200f"))
_SURROGATE = re.compile("[\ud800-\udfff]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
# A lam that begins a group or stands within, and the alef it meets: plain, with madda, with hamza above or below.
_LAM_ALEF = re.compile("([\ufedf\ufee0])([\u064b-\u065f\u0670]*)([\ufe82\ufe84\ufe88\ufe8e])")
_LIGATURES = {"\ufe82": 0xFEF5, "\ufe84": 0xFEF7, "\ufe88": 0xFEF9, "\ufe8e": 0xFEFB}


class MissingFont(ValueError):
    """There is no font at all, or one that was named cannot be used."""


@dataclass(frozen=True)
class Heading:
    """What the first page begins with; period and made_at as they are to be read."""

    title: str
    business: str
    guest_name: str
    period: str
    made_at: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Message:
    """One message; sent_at as it is to be read, notes such as 'attachment: plan.pdf, 12 kB' or 'edited'."""

    sent_at: str
    author: str
    channel: str
    is_inbound: bool
    subject: str | None
    body: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Thread:
    """Messages of one conversation, in the order in which they are to be read."""

    subject: str | None
    messages: Iterable[Message]


@dataclass(frozen=True)
class Labels:
    """The document's own words, for a guest who reads another language. Those with {} take one value."""

    business: str = "Business"
    guest: str = "Guest"
    period: str = "Period"
    made_at: str = "Made"
    no_subject: str = "Conversation"
    continued: str = "{} (continued)"
    page: str = "Page {}"
    no_messages: str = "There are no messages."
    missing: str = "No font was found for these characters, which are shown as a box:"
    more_missing: str = "and {} more"


@dataclass(frozen=True)
class _Style:
    """How a line is drawn: size and leading in points, bold by a stroke around the outlines, grey from 0 (black)."""

    size: float
    leading: float
    is_bold: bool = False
    grey: float = 0.0


_TITLE = _Style(16, 22, is_bold=True)
_THREAD = _Style(12, 17, is_bold=True)
_LABEL = _Style(8.5, 12, is_bold=True, grey=0.25)
_SUBJECT = _Style(10, 13.5, is_bold=True)
_BODY = _Style(10, 13.5)
_NOTE = _Style(8.5, 11.5, grey=0.25)


def write_pdf(
    heading: Heading,
    threads: Iterable[Thread],
    *,
    labels: Labels | None = None,
    language: str = "en",
    fonts: Sequence[str | Path] = (),
    font_folders: Sequence[str | Path] = FONT_FOLDERS,
) -> bytes:
    """The PDF, on pages of A4. language is that of the labels (BCP 47); fonts are TrueType files for further scripts.

    Raises MissingFont without any font or with one in fonts that cannot be read, ImportError without reportlab, bidi or
    arabic_reshaper.
    """
    writer = _Writer(_Fonts(_font_files(font_folders, fonts)), labels or Labels(), _clean(language))
    writer.heading(heading)
    is_empty = True
    for thread in threads:
        is_empty = False
        writer.thread(thread)
    if is_empty:
        writer.text(writer.labels.no_messages, _BODY)
    writer.missing()
    return writer.finish()


def missing_scripts(*, fonts: Sequence[str | Path] = (), font_folders: Sequence[str | Path] = FONT_FOLDERS) -> list[str]:
    """The scripts no font is found for, each as 'Korean: fonts-wqy-microhei' with the Debian package that adds one.

    Raises MissingFont for one in fonts that cannot be read, ImportError without reportlab.
    """
    files = _font_files(font_folders, fonts)
    if not files:
        return [f"{script}: {package}" for script, _, package in SCRIPTS]
    found = _Fonts(files)
    return [f"{script}: {package}" for script, sample, package in SCRIPTS if not all(map(found.has, sample))]


def has_font(font_folders: Sequence[str | Path] = FONT_FOLDERS) -> bool:
    """Whether there is any, so that a PDF can be written; none is read."""
    return bool(_font_files(font_folders, ()))


def _load(module: str, package: str) -> Any:
    """A third-party module. Raises ImportError that names Debian's package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"a PDF needs {module.split('.')[0]} (Debian: {package})") from error


def _font_files(folders: Sequence[str | Path], fonts: Sequence[str | Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                if name in FONT_FILES:
                    found.setdefault(name, Path(place, name))
    return [found[name] for name in FONT_FILES if name in found] + [Path(font) for font in fonts]


@lru_cache(maxsize=8)
def _font(file: Path) -> Any:
    """A reportlab TTFont, kept since parsing takes long; it keeps what belongs to a document apart."""
    ttfonts = _load("reportlab.pdfbase.ttfonts", "python3-reportlab")
    try:
        return ttfonts.TTFont(f"guestcomms-{file.name}", BytesIO(file.read_bytes()), asciiReadable=True)
    except Exception as error:  # a damaged font makes the parser raise nearly anything
        raise MissingFont(f"The font {file.name} cannot be used.") from error


class _Fonts(dict[str, int]):
    """Character to its width; where tells the font, as a place in loaded, or None. Fonts are read when one is needed."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        if not files:
            raise MissingFont("No font was found; Debian's package fonts-dejavu-core adds one.")
        self._files = files
        self.loaded: list[Any] = []
        self.where: dict[str, int | None] = {}
        self.box = next((box for box in "□?" if self._search(box) is not None), " ")
        self.word_width = lru_cache(maxsize=20_000)(self.width)

    def __missing__(self, char: str) -> int:
        place = self._search(char)
        self.where[char] = place
        shown, place = (char, place) if place is not None else (self.box, self._search(self.box) or 0)
        self[char] = width = 0 if ord(char) in _UNSEEN else round(self.loaded[place].face.getCharWidth(ord(shown)))
        return width

    def has(self, char: str) -> bool:
        """Whether a font has it."""
        return self._search(char) is not None

    def width(self, text: str) -> int:
        """Of the text as it stands, without its unseen characters."""
        return sum(map(self.__getitem__, text))

    def _search(self, char: str) -> int | None:
        for place, file in enumerate(self._files):
            if place == len(self.loaded):
                self.loaded.append(_font(file))
            if ord(char) in self.loaded[place].face.charToGlyph:
                return place
        return None


def _clean(text: str) -> str:
    """Without controls, composed (NFC), since fonts have no glyphs for most letters in parts."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", _DROPPED.sub("", text.replace("\t", "    "))))


def _direction(text: str) -> str:
    """'R' or 'L', by the first letter that has one (Unicode Standard Annex 9, rules P2 and P3)."""
    if not _RIGHT_TO_LEFT.search(text):
        return "L"
    first = next((kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")), "L")
    return "L" if first == "L" else "R"


@lru_cache(maxsize=1)
def _reshaper() -> Callable[[str], str]:
    """Joins Arabic letters; vowel signs stay. Its own search for ligatures takes milliseconds per call."""
    reshaper = _load("arabic_reshaper", "python3-arabic-reshaper")
    reshape: Callable[[str], str] = reshaper.ArabicReshaper({"delete_harakat": False, "support_ligatures": False}).reshape
    return reshape


def _joined(text: str) -> str:
    """Arabic letters as they are drawn, with the ligatures of lam and alef, which its script demands."""
    return _LAM_ALEF.sub(_ligature, _reshaper()(text))


def _ligature(match: re.Match[str]) -> str:
    lam, signs, alef = match.groups()
    return chr(_LIGATURES[alef] + (lam == "\ufee0")) + signs


def _visual(line: str, direction: str) -> str:
    """From the order of reading to that on paper (Unicode Standard Annex 9)."""
    # bidi fails at characters that this Python does not know; those of private use stand for them.
    free = filter(lambda code: chr(code) not in line, range(0x100000, 0x10FFFE))
    away = {ord(char): next(free) for char in sorted(set(line)) if not unicodedata.bidirectional(char)}
    back = {there: here for here, there in away.items()}
    ordered: str = _load("bidi.algorithm", "python3-bidi").get_display(line.translate(away), base_dir=direction)
    return ordered.translate(back).translate(_UNSEEN)


def _break(text: str, room: float, fonts: _Fonts) -> list[str]:
    """Lines no wider than room but for single characters that are; in the order of reading."""
    # Most are short, and adding up characters is much faster than looking for words.
    if fonts.width(text) <= room:
        return [text]
    lines: list[str] = []
    line: list[str] = []
    used = 0
    for word in _WORD.findall(text):
        width = fonts.word_width(word)
        if used + width > room:
            if line:
                lines.append("".join(line))
                word = word.lstrip(" ")
            *full, word = _cut(word, room, fonts)
            lines += full
            line, used = [], 0
            width = fonts.word_width(word)
        line.append(word)
        used += width
    return [*lines, "".join(line)]


def _cut(word: str, room: float, fonts: _Fonts) -> list[str]:
    """The word in parts that have room; marks stay with their letter."""
    parts, start, used = [], 0, 0
    for place, char in enumerate(word):
        used += fonts[char]
        if used > room and place > start and not unicodedata.combining(char):
            parts.append(word[start:place])
            start, used = place, fonts[char]
    return [*parts, word[start:]]


class _Writer:
    """Places lines on pages, from the top; y is where the last one stands."""

    _y: float
    _operators: list[str]
    _rules: list[str]
    _font: tuple[str, float] | None
    _look: tuple[bool, float] | None

    def __init__(self, fonts: _Fonts, labels: Labels, language: str) -> None:
        canvas = _load("reportlab.pdfgen.canvas", "python3-reportlab")
        self.labels = labels
        self._file = BytesIO()
        self._canvas = canvas.Canvas(self._file, (PAGE_WIDTH, PAGE_HEIGHT), pageCompression=1, lang=language)
        self._document = self._canvas._doc
        self._fonts = fonts
        self._names: dict[tuple[int, int], str] = {}
        # reportlab keeps ASCII as it is in the first subset of a font.
        self._ascii_name = self._name(0, 0) if all(self._place(char) == 0 for char in map(chr, range(32, 127))) else None
        self._missing: Counter[str] = Counter()
        self._thread: str | None = None
        self._page = 1
        self._new_page()

    def heading(self, heading: Heading) -> None:
        """The top of the first page, and the properties of the file."""
        self._canvas.setTitle(_clean(heading.title))
        self._canvas.setAuthor(_clean(heading.business))
        self._canvas.setCreator("guestcomms")
        self.text(heading.title, _TITLE)
        for label, value in (
            (self.labels.business, heading.business),
            (self.labels.guest, heading.guest_name),
            (self.labels.period, heading.period),
            (self.labels.made_at, heading.made_at),
        ):
            self.text(f"{label}: {value}", _BODY)
        for note in heading.notes:
            self.text(note, _NOTE)

    def thread(self, thread: Thread) -> None:
        """A heading, which later pages repeat, and the messages."""
        subject = thread.subject or self.labels.no_subject
        self._y -= 14
        self._need(90)
        self.text(subject, _THREAD)
        self._rule(self._y - 5)
        self._y -= 6
        self._thread = " ".join(subject[:MOST_REPEATED].split())
        is_empty = True
        for message in thread.messages:
            is_empty = False
            self._message(message)
        if is_empty:
            self.text(self.labels.no_messages, _BODY)
        self._thread = None

    def missing(self) -> None:
        """The characters no font has, with their names, and how often they occur."""
        if not self._missing:
            return
        self._y -= 14
        self.text(self.labels.missing, _NOTE)
        named = self._missing.most_common(MOST_MISSING)
        for char, count in named:
            self.text(f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip() + f": {count}", _NOTE, NOTE_INDENT)
        if len(self._missing) > MOST_MISSING:
            self.text(self.labels.more_missing.format(len(self._missing) - MOST_MISSING), _NOTE, NOTE_INDENT)

    def finish(self) -> bytes:
        """The file."""
        self._end_page()
        self._canvas.save()
        return self._file.getvalue()

    def getCode(self) -> str:
        """The operators of the page, for reportlab's Canvas.drawText."""
        return "\n".join(["BT", *self._operators, "ET", *self._rules])

    def text(self, text: str, style: _Style, indent: float = 0.0) -> None:
        """Its lines, broken; those of a paragraph from right to left stand at the right margin."""
        room = (PAGE_WIDTH - 2 * MARGIN - indent) * 1000 / style.size
        for line, direction in self._lines(text, room):
            self._need(style.leading)
            self._y -= style.leading
            x = MARGIN + indent
            if direction == "R":
                x += (room - self._fonts.width(line)) * style.size / 1000
            self._draw(line, x, style)

    def _message(self, message: Message) -> None:
        role = self.labels.guest if message.is_inbound else self.labels.business
        indent = 0.0 if message.is_inbound else BUSINESS_INDENT
        # A mark of direction keeps the parts in their order where two neighbours are from right to left.
        mark = "\u200f" if _direction(role) == "R" else ("" if message.author.isascii() else "\u200e")
        parts = (f"{role}: {mark}{message.author}", message.channel, message.sent_at)
        self._y -= 8
        self._need(_LABEL.leading + 2 * _BODY.leading)
        self.text(f"{mark} | {mark}".join(part for part in parts if part), _LABEL, indent)
        if message.subject:
            self.text(message.subject, _SUBJECT, indent)
        self.text(message.body, _BODY, indent)
        for note in message.notes:
            self.text(f"[{note}]", _NOTE, indent + NOTE_INDENT)

    def _lines(self, text: str, room: float) -> Iterator[tuple[str, str]]:
        """Lines as they stand on paper, and the direction of their paragraph."""
        for raw in text.splitlines():
            paragraph = _clean(raw).rstrip(" ")
            if not _RIGHT_TO_LEFT.search(paragraph):
                seen = paragraph if paragraph.isascii() else paragraph.translate(_UNSEEN)
                yield from ((line, "L") for line in _break(seen, room, self._fonts))
                continue
            direction = _direction(paragraph)
            # Joined before the breaking, so that widths are those of the letters as they are drawn.
            for line in _break(_joined(paragraph), room, self._fonts):
                yield _visual(line, direction), direction

    def _draw(self, line: str, x: float, style: _Style) -> None:
        look = (style.is_bold, style.grey)
        if look != self._look:
            self._operators.append(f"{style.grey} g {style.grey} G {'2 Tr 0.3 w' if style.is_bold else '0 Tr'}")
            self._look = look
        self._operators.append(f"1 0 0 1 {x:.2f} {self._y:.2f} Tm")
        if self._ascii_name and line.isascii():
            escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            self._show(self._ascii_name, style.size, f"({escaped}) Tj")
            return
        places = set(map(self._place, set(line)))
        # Most lines take one font; to ask for every character takes long.
        for place, run in [(places.pop(), line)] if len(places) == 1 else groupby(line, self._place):
            self._draw_run("".join(run), place, style.size)

    def _place(self, char: str) -> int | None:
        _ = self._fonts[char]
        return self._fonts.where[char]

    def _draw_run(self, run: str, place: int | None, size: float) -> None:
        shown = run
        if place is None:
            self._missing.update(run)
            shown = self._fonts.box * len(run)
            place = self._place(self._fonts.box) or 0
        # What copies and searches find (ISO 32000-1, 14.9.4): reportlab's own tables tell no character beyond U+FFFF.
        is_told = shown != run or max(run) > "\uffff"
        if is_told:
            self._operators.append(f"/Span <</ActualText <feff{run.encode('utf-16-be').hex()}>>> BDC")
        for subset, codes in self._fonts.loaded[place].splitString(shown, self._document):
            self._show(self._name(place, subset), size, f"<{codes.hex()}> Tj")
        if is_told:
            self._operators.append("EMC")

    def _show(self, name: str, size: float, operator: str) -> None:
        if (name, size) != self._font:
            self._operators.append(f"{name} {size:g} Tf")
            self._font = (name, size)
        self._operators.append(operator)

    def _name(self, place: int, subset: int) -> str:
        """Of a subset of a font in the document, as operators take it."""
        if (place, subset) not in self._names:
            self._names[place, subset] = self._fonts.loaded[place].getSubsetInternalName(subset, self._document)
        return self._names[place, subset]

    def _need(self, height: float) -> None:
        """Goes to the next page, where this one has no room for that."""
        if self._y - height < MARGIN:
            self._end_page()
            self._page += 1
            self._new_page()
            if self._thread is not None:
                thread, self._thread = self._thread, None
                self.text(self.labels.continued.format(thread), _NOTE)
                self._thread = thread
                self._y -= 4

    def _new_page(self) -> None:
        self._operators = []
        self._rules = []
        self._font = None
        self._look = None
        self._y = PAGE_HEIGHT - MARGIN

    def _end_page(self) -> None:
        self._y = MARGIN / 2
        for line, _ in self._lines(self.labels.page.format(self._page), PAGE_WIDTH * 1000):
            self._draw(line, MARGIN, _NOTE)
        self._canvas.drawText(self)
        self._canvas.showPage()

    def _rule(self, y: float) -> None:
        self._rules.append(f"0.5 w 0.5 G {MARGIN:g} {y:.2f} m {PAGE_WIDTH - MARGIN:.2f} {y:.2f} l S")
