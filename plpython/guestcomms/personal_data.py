"""Personal data in a text of a message: where it is, of what kind, and how certain that is.

Rules and checksums, no model: e-mail addresses (RFC 5321, 6531), telephone numbers (ITU-T E.164, phonenumbers), IBANs
(ISO 13616), payment cards (ISO/IEC 7812, Luhn), addresses of the Internet (RFC 791, RFC 4291), URLs (RFC 3986), postal
codes, dates of birth, and names that the tenant knows. Whoever hides personal data takes the findings of at least CERTAIN;
those below are for people to look at. Every pattern is bounded, so that time grows with the length of the text only.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from itertools import pairwise
from urllib.parse import parse_qsl, unquote, urlsplit

CERTAIN = 0.5
KINDS = ("email", "phone", "iban", "card", "ip_address", "url_token", "url", "postal_code", "birth_date", "name")
# Lengths of IBANs in characters, from the registry of ISO 13616.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_ISSUERS = (
    (re.compile(r"4"), (19, 16, 13)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (19, 16, 14)),
    (re.compile(r"6011|64[4-9]|65|35(?:2[89]|[3-8])|62|81"), (19, 18, 17, 16)),
    (re.compile(r"50|5[6-9]|6"), (19, 18, 17, 16, 15, 14, 13)),
)
_SECRET_KEYS = re.compile(
    r"token|key$|^sig$|signature|auth|secret|passw|pwd|otp|session|^sid$|jwt|hash|^code$|ticket|magic|nonce|invite|credential",
    re.IGNORECASE,
)
_UNITED_KINGDOM = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}"
# Of ISO 3166 countries, as the Universal Postal Union describes them; some can have a space or a hyphen.
_POSTAL_CODES = {
    country: form
    for form, countries in {
        r"\d{5}": "DE FR ES IT FI EE HR TR MX UA RS ME MA TH MY KR SA EG TN ID VN LT",
        r"\d{5}(?:-\d{4})?": "US PR",
        r"\d{4}": "AT CH BE DK NO AU NZ HU BG SI LU CY ZA TN GE",
        r"\d{4} ?[A-Z]{2}": "NL",
        _UNITED_KINGDOM: "GB IM JE GG",
        r"[A-Z]\d[A-Z] ?\d[A-Z]\d": "CA",
        r"[A-Z]\d[\dW] ?[A-Z\d]{4}": "IE",
        r"\d{3} ?\d{2}": "SE CZ SK GR",
        r"\d{2}-\d{3}": "PL",
        r"\d{4}-\d{3}": "PT",
        r"\d{5}-?\d{3}": "BR",
        r"\d{3}-\d{4}": "JP",
        r"\d{6}": "RO RU CN IN SG KZ BY",
        r"LV-\d{4}": "LV",
        r"[A-Z]{3} \d{4}": "MT",
        r"\d{7}": "IL",
    }.items()
    for country in countries.split()
}
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january januar janvier enero gennaio januari janeiro jan",
            "february februar février fevrier febrero febbraio februari fevereiro feb",
            "march märz mars marzo maart março mar",
            "april avril abril aprile apr",
            "may mai mayo maggio mei maio",
            "june juni juin junio giugno junho jun",
            "july juli juillet julio luglio julho jul",
            "august août aout agosto augustus aug",
            "september septembre septiembre settembre setembro sep sept",
            "october oktober octobre octubre ottobre outubro oct okt",
            "november novembre noviembre novembro nov",
            "december dezember décembre decembre diciembre dicembre dezembro dec dez",
        ),
        1,
    )
    for name in names.split()
}
_EDGE, _END = r"(?<![^\W_])", r"(?![^\W_])"
_EMAIL_HOST = re.compile(r"@(?:[^\W_][\w-]{0,62}\.){1,8}(?:xn--[\w-]{2,59}|[^\W\d_]{2,24})" + _END)
_IBAN_START = re.compile(_EDGE + r"[A-Za-z]{2}\d{2}(?=[ -]?[^\W_])")
_CARD = re.compile(_EDGE + r"(?=(\d{4}(?:[ -]?\d){9,15}))")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![^\W_]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4})(?![\w:])")
_URL = re.compile(_EDGE + r"(?:https?://|ftp://|www\.)[^\s<>\"]+", re.IGNORECASE)
_WORD_OF_PLACE = re.compile(
    r"\b(?:zip|post ?code|postal|plz|postleitzahl|c\.?p|cap|cep|code postal|address|adresse|street|st|road|rd|avenue|ave|"
    r"lane|drive|suite|apt|straße|strasse|str|rue|calle|via|(?-i:[A-Z]{2}))\b[.:, ]*$",
    re.IGNORECASE,
)
_PLACE_AFTER = re.compile(r" [^\W\d_a-z][^\W\d_]{2}")
_NUMERIC_DATE = re.compile(r"(?<!\d)(?<!\d[-./])(\d{4}|\d{1,2})([-./])(\d{1,2})\2(\d{4}|\d{1,2})(?![-./]?\d)")
_DAY_FIRST = re.compile(_EDGE + r"(\d{1,2})(?:st|nd|rd|th|er|\.)?,? (?:of |de )?([^\W\d_]{3,10})\.?,? (?:de )?(\d{4})(?!\d)")
_MONTH_FIRST = re.compile(_EDGE + r"([^\W\d_]{3,10})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})(?!\d)")
_WORD_OF_BIRTH = re.compile(
    r"\b(?:born|birth(?:day|date)?|dob|d\.o\.b|geboren|geb|geburts\w{0,8}|née?|naissance|nacid[oa]|nacimiento|nat[oa]|nascita|"
    r"nascid[oa]|nascimento|geboorte\w{0,8})\b",
    re.IGNORECASE,
)
_LEAST_AGE, _MOST_AGE = 16, 110  # years
_SPACE = r"[ .()/\-\u00a0\u2010-\u2013]"
_PHONE = re.compile(
    _EDGE
    + r"(?<!\d[.,/-])[+(]{0,2}\d(?:"
    + _SPACE
    + r"{0,3}\d){5,29}(?: ?(?:x|ext\.?|extension|poste|durchwahl|#) ?\d{1,6})?"
    + _END,
    re.IGNORECASE,
)
_NOT_A_PHONE = re.compile(r"\d{3}-\d{2}-\d{4}$|(?:19|20)\d\d-\d\d-\d\d\b")
_WORD_OF_PHONE = re.compile(
    r"\b(?:tele(?:ph|f)\w{0,8}|téléphone|phone|tel|tél|tlf|call(?:ing|ed)?|ring|dial|mobile?|móvil|cell\w{0,6}|handy|fax|sms|"
    r"whatsapp|signal|reach|answer\w{0,3}|anrufen|rufen|rückruf|appele[rz]|portable|llam[ae]\w{0,3}|celular|chiam\w{0,5}|"
    r"cellulare|bel|bellen|text me|(?:my|new|your) number|meine nummer|mon numéro|mi número)\b\W{1,3}(?:\w{1,15}\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_WORD_AFTER_PHONE = re.compile(r"[ \-(,]{1,2}(?:office|fax|mobile|home|work|cell|handy|whatsapp)\b", re.IGNORECASE)
_WORD_OF_NUMBER = re.compile(
    r"\b(?:ssn|social security|licen[cs]e|passport|order|booking|invoice|reservation|confirmation|account|reference|ref|card|"
    r"buchung\w{0,8}|rechnung\w{0,8}|réservation|reserva)\b",
    re.IGNORECASE,
)
_LIKELY_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "AT", "CH")
# Characters of East Asian scripts are words of their own, since no spaces are between words there.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])[^\W_]|[\u0300-\u036f])+"
)
_UNDECOMPOSED = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "\u0131": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})
_MOST_WORDS = 8
_MOST_PASSES = 8
_CLUE = 40  # characters before a number that can say what it is


class UnknownRegion(ValueError):
    """A region that is no code of two letters (ISO 3166-1)."""


@dataclass(frozen=True)
class Finding:
    """Characters start to end (0-based, end excluded) of a text, one of KINDS, and a certainty above 0 and up to 1."""

    start: int
    end: int
    kind: str
    certainty: float


class NameFinder:
    """Finds names in texts: whole names of any length up to eight words, and their words of three letters or more.

    Case and accents do not count. Time and memory grow with the words of names and of the text, never with their product.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._wholes: set[tuple[str, ...]] = set()
        self._parts: set[str] = set()
        self._lengths: dict[str, int] = {}
        for name in names:
            words = tuple(_fold(word.group()) for word in _WORD.finditer(name))[:_MOST_WORDS]
            if sum(map(len, words)) > 1:
                self._wholes.add(words)
                self._lengths[words[0]] = max(len(words), self._lengths.get(words[0], 0))
            self._parts.update(word for word in words if len(word) > 2 and not word.isdigit())

    def find(self, text: str) -> list[Finding]:
        """The names in text, in order; of those that begin at the same word the longest."""
        words = [(match.start(), match.end(), _fold(match.group())) for match in _WORD.finditer(text)]
        found = []
        place = 0
        while place < len(words):
            count = self._longest(words[place : place + _MOST_WORDS])
            if count:
                start, end = words[place][0], words[place + count - 1][1]
                found.append(Finding(start, end, "name", _certainty_of_name(text[start:end], count)))
            place += max(count, 1)
        return found

    def _longest(self, words: Sequence[tuple[int, int, str]]) -> int:
        """How many of the words, from the first, are a name."""
        first = words[0][2]
        for count in range(min(self._lengths.get(first, 0), len(words)), 0, -1):
            near = all(after[0] - before[1] <= 2 for before, after in pairwise(words[:count]))
            if near and tuple(word[2] for word in words[:count]) in self._wholes:
                return count
        return int(first in self._parts)


def is_phone_supported() -> bool:
    """Whether phonenumbers is installed, without which no telephone numbers are found."""
    return find_spec("phonenumbers") is not None


def detect(text: str, region: str, names: NameFinder | None = None, today: date | None = None) -> list[Finding]:
    """The personal data in text, in order and not overlapping: the more certain wins, then the longer, then the earlier.

    region is the tenant's country (ISO 3166-1, two letters), whose forms count first; ages are counted at today, by default
    the current day. Raises UnknownRegion.
    """
    region = _checked(region)
    dates = list(_dates(text))
    found = [
        *_emails(text),
        *_ibans(text),
        *_cards(text),
        *_ip_addresses(text),
        *_urls(text),
        *_postal_codes(text, region),
        *_birth_dates(text, dates, today or date.today()),
    ]
    if is_phone_supported():
        found += _phones(text, region, dates)
    if names is not None:
        found += names.find(text)
    return _without_overlaps(found)


def redact(text: str, findings: Iterable[Finding], keep: Container[str] = (), region: str = "US") -> str:
    """text with the kind in brackets, as in `[email]`, for each finding, but for those whose normalised value is in keep.

    findings do not overlap, as from detect; region is what detect had, needed for telephone numbers in keep only. Raises
    UnknownRegion.
    """
    pieces, place = [], 0
    for finding in sorted(findings, key=lambda finding: finding.start):
        if normalised(finding.kind, text[finding.start : finding.end], region) not in keep:
            pieces += [text[place : finding.start], f"[{finding.kind}]"]
            place = finding.end
    return "".join([*pieces, text[place:]])


def hide(text: str, region: str, names: NameFinder, keep: Container[str] = ()) -> str:
    """text without what is found in it with at least CERTAIN, but for values whose normal form is in keep.

    What is hidden can uncover what it overlapped: so the text is looked at again until nothing is hidden any more. Raises
    UnknownRegion.
    """
    for _ in range(_MOST_PASSES):
        certain = [finding for finding in detect(text, region, names) if finding.certainty >= CERTAIN]
        hidden = redact(text, certain, keep, region)
        if hidden == text:
            break
        text = hidden
    return text


def normal_forms(values: Iterable[str | None], region: str) -> set[str]:
    """What values of unknown kinds may be normalised to. Raises UnknownRegion."""
    region = _checked(region)
    found = set()
    for value in filter(None, values):
        for kind in KINDS:
            with suppress(ValueError):  # no address of the Internet
                found.add(normalised(kind, value, region))
    return found - {""}


def normalised(kind: str, value: str, region: str) -> str:
    """What is equal for two ways to write the same value.

    A phone as E.164 (digits, after a plus if it was there, where phonenumbers cannot read it or is absent); names without
    case and accents; an address of the Internet as ipaddress writes it; URLs as they are; e-mail addresses in lower case;
    others in upper case without spaces and punctuation. Raises UnknownRegion, and ValueError for an ip_address that is none.
    """
    region = _checked(region)
    if kind == "phone":
        return _e164(value, region)
    if kind == "email":
        return unicodedata.normalize("NFKC", value).casefold()
    if kind == "name":
        return " ".join(_fold(word.group()) for word in _WORD.finditer(value))
    if kind == "ip_address":
        return str(ipaddress.ip_address(value))
    if kind in ("url", "url_token"):
        return value
    if kind == "birth_date":
        return next((day.isoformat() for _, _, day in _dates(value)), value)
    return "".join(character for character in value.upper() if character.isalnum())


def _checked(region: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", region):
        raise UnknownRegion("region is not a code of two letters")
    return region.upper()


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold()).translate(_UNDECOMPOSED)
    return "".join(character for character in folded if not unicodedata.combining(character))


def _certainty_of_name(name: str, count: int) -> float:
    """Names that are words of a language, as Rose or Hope, are seldom meant where they are in lower case."""
    if count > 1:
        return 0.9
    return 0.4 if name[0].islower() else 0.65


def _without_overlaps(found: list[Finding]) -> list[Finding]:
    taken = bytearray(max((finding.end for finding in found), default=0))
    kept = []
    for finding in sorted(found, key=lambda one: (-one.certainty, one.start - one.end, one.start)):
        if not any(taken[finding.start : finding.end]):
            taken[finding.start : finding.end] = b"\1" * (finding.end - finding.start)
            kept.append(finding)
    return sorted(kept, key=lambda one: one.start)


def _emails(text: str) -> Iterator[Finding]:
    for match in _EMAIL_HOST.finditer(text):
        start = match.start()
        least = max(0, start - 64)  # RFC 5321, 4.5.3.1.1
        while start > least and (text[start - 1].isalnum() or text[start - 1] in "_.%+&'-"):
            start -= 1
        local = text[start : match.start()].lstrip(".'&-")
        if local:
            yield Finding(match.start() - len(local), match.end(), "email", 0.98)


def _ibans(text: str) -> Iterator[Finding]:
    for match in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(match.group()[:2].upper())
        form = length and re.compile(rf"[A-Za-z]{{2}}\d\d(?:[ -]?[A-Za-z0-9]){{{length - 4}}}{_END}", re.ASCII)
        whole = form and form.match(text, match.start())
        if whole and _is_iban(re.sub("[ -]", "", whole.group()).upper()):
            yield Finding(whole.start(), whole.end(), "iban", 0.99)


def _is_iban(compact: str) -> bool:
    """Whether the check digits are right (ISO 7064, MOD 97-10)."""
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _cards(text: str) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        end = match.start() + _length_of_card(match.group(1), text[match.end(1) : match.end(1) + 1])
        if end > match.start():
            yield Finding(match.start(), end, "card", 0.97)


def _length_of_card(candidate: str, after: str) -> int:
    """Characters of the card's number that candidate begins with, 0 for none; after is the character behind it."""
    places = [place for place, character in enumerate(candidate) if character.isdigit()]
    digits = "".join(candidate[place] for place in places)
    lengths = next((lengths for issuer, lengths in _ISSUERS if issuer.match(digits)), ())
    for length in lengths:
        end = places[length - 1] + 1 if length <= len(digits) else 0
        if end and not (candidate + after)[end : end + 1].isalnum() and _is_luhn(digits[:length]):
            return end
    return 0


def _is_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(sum(divmod(2 * value, 10)) for value in values[1::2])) % 10 == 0


def _ip_addresses(text: str) -> Iterator[Finding]:
    for pattern, certainty in ((_IPV4, 0.95), (_IPV6, 0.96)):
        for match in pattern.finditer(text):
            if match.group() != "::" and _is_ip_address(match.group()):
                yield Finding(match.start(), match.end(), "ip_address", certainty)


def _is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _urls(text: str) -> Iterator[Finding]:
    for match in _URL.finditer(text):
        url = match.group().rstrip(".,;:!?)]}'*")
        yield Finding(match.start(), match.start() + len(url), "url_token" if _has_token(url) else "url", 0.985)


def _has_token(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address of version 6: look at all of it
        return any(map(_is_random, re.split(r"[/?&=#]", url)))
    pairs = parse_qsl(parts.query) + parse_qsl(parts.fragment)
    if any(_SECRET_KEYS.search(key) or _is_random(value) for key, value in pairs):
        return True
    return any(map(_is_random, [*unquote(parts.path).split("/"), parts.query, parts.fragment]))


def _is_random(part: str) -> bool:
    """Whether a part of a URL looks drawn by lot: long, and changing often between letters and digits."""
    compact = re.sub(r"[^A-Za-z0-9]", "", part)
    changes = sum(before.isdigit() != after.isdigit() for before, after in pairwise(compact))
    return len(compact) >= 16 and changes >= max(3, len(compact) // 8)


def _postal_codes(text: str, region: str) -> Iterator[Finding]:
    home = _POSTAL_CODES.get(region)
    for form in dict.fromkeys(_POSTAL_CODES.values()):
        for match in re.finditer(rf"{_EDGE}(?<!\d[-./,])(?:{form})(?![^\W_]|[-./,:]\d)", text):
            yield Finding(match.start(), match.end(), "postal_code", _certainty_of_postal_code(text, match, form == home))


def _certainty_of_postal_code(text: str, match: re.Match[str], at_home: bool) -> float:
    """Forms with letters are rare by chance; mere digits need a place beside them."""
    before = text[max(0, match.start() - _CLUE) : match.start()]
    placed = _WORD_OF_PLACE.search(before) or _PLACE_AFTER.match(text, match.end())
    lettered = re.search("[A-Z]", match.group())
    return 0.2 + (0.15 if at_home else 0.0) + (0.25 if placed else 0.0) + (0.2 if lettered else 0.0)


def _dates(text: str) -> Iterator[tuple[int, int, date]]:
    """Start, end and day of each date in text; where both orders of day and month are possible, the day is first."""
    for match in _NUMERIC_DATE.finditer(text):
        first, _, second, third = match.groups()
        orders = ((first, second, third),) if len(first) == 4 else ((third, second, first), (third, first, second))
        day = next(filter(None, (_day(year, int(month), number) for year, month, number in orders)), None)
        if day and len(first) + len(third) < 7:
            yield match.start(), match.end(), day
    for pattern, order in ((_DAY_FIRST, (3, 2, 1)), (_MONTH_FIRST, (3, 1, 2))):
        for match in pattern.finditer(text):
            year, month, number = match.group(*order)
            day = _day(year, _MONTHS.get(month.lower(), 0), number)
            if day:
                yield match.start(), match.end(), day


def _day(year: str, month: int, number: str) -> date | None:
    """A year of two digits is taken for one of the last century, since it counts for dates of birth only."""
    try:
        return date(int(year) + (1900 if len(year) < 3 else 0), month, int(number))
    except ValueError:
        return None


def _birth_dates(text: str, dates: list[tuple[int, int, date]], today: date) -> Iterator[Finding]:
    for start, end, day in dates:
        age = (today - day).days / 365.2425
        if _WORD_OF_BIRTH.search(text, max(0, start - _CLUE), start):
            yield Finding(start, end, "birth_date", 0.9)
        elif _LEAST_AGE <= age <= _MOST_AGE:
            yield Finding(start, end, "birth_date", 0.45)


def _phones(text: str, region: str, dates: list[tuple[int, int, date]]) -> Iterator[Finding]:
    days = bytearray(len(text))
    for start, end, _ in dates:
        days[start:end] = b"\1" * (end - start)
    for match in _PHONE.finditer(text):
        if _NOT_A_PHONE.match(match.group()) or any(days[match.start() : match.end()]):
            continue
        for start, end in _apart(text, match.start(), match.end()):
            yield from _phones_in(text, start, end, region)


def _apart(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A run of digits and separators, cut at its spaces where it is several numbers: two pieces have seven digits or more."""
    pieces = list(re.finditer(r"[^ ]+", text[start:end]))
    if sum(sum(map(str.isdigit, piece.group())) > 6 for piece in pieces) < 2:
        return [(start, end)]
    return [(start + piece.start(), start + piece.end()) for piece in pieces]


def _phones_in(text: str, start: int, end: int, region: str) -> Iterator[Finding]:
    """Of a run of digits and separators, the whole if that has the form of a number, else what phonenumbers sees in it."""
    certainty = _certainty_of_phone(text, start, end, region)
    if certainty:
        yield Finding(start, end, "phone", certainty)
    if certainty >= 0.8:
        return
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text[start:end], region):
        yield Finding(start + match.start, start + match.end, "phone", 0.9)


def _certainty_of_phone(text: str, start: int, end: int, region: str) -> float:
    """By form first, then by the words around it, then by phonenumbers; 0 for no number."""
    number = re.split(r" ?[a-z#]", text[start:end], maxsplit=1, flags=re.IGNORECASE)[0]
    groups = re.findall(r"\d+", number)
    form = _certainty_of_form(number, groups)
    before = text[max(0, start - _CLUE) : start]
    if form and (_WORD_OF_PHONE.search(before) or _WORD_AFTER_PHONE.match(text, end)):
        return max(form, 0.8)
    if _WORD_OF_NUMBER.search(before):
        return form / 2
    if 0 < form < 0.55 and len(groups) > 1 and sum(map(len, groups)) > 7 and _is_valid_somewhere(number, region):
        return 0.55
    return form


def _certainty_of_form(number: str, groups: list[str]) -> float:
    """How much the digits look like a number of some country, ITU-T E.123 or a habit of one."""
    sizes = [len(group) for group in groups]
    digits = sum(sizes)
    if digits > 15 or (min(sizes) < 2 and number[0] not in "+(0" and groups[0] != "1"):
        return 0.0
    if number[0] == "+" or number.startswith("00"):
        return 0.85 if digits >= 9 else 0.0
    if number[0] == "(":
        return 0.8 if digits >= 7 else 0.3
    if len(sizes) == 1:
        return 0.5 if number[0] == "0" and 9 <= digits <= 11 else 0.3
    if sizes[-3:] == [3, 3, 4] or (number[0] == "0" and digits >= 8):
        return 0.8
    return 0.6 if digits >= 8 and len(sizes) > 2 else 0.3


def _is_valid_somewhere(number: str, region: str) -> bool:
    return any(_parsed(number, country) is not None for country in dict.fromkeys((region, *_LIKELY_REGIONS)))


def _parsed(number: str, region: str) -> str | None:
    """E.164 of a number that is valid in region, else None."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    return (
        str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
        if phonenumbers.is_valid_number(parsed)
        else None
    )


def _e164(value: str, region: str) -> str:
    parsed = _parsed(value, region) if is_phone_supported() else None
    digits = "".join(character for character in value if character.isdigit())
    return parsed or ("+" if value.lstrip(" (").startswith("+") else "") + digits
