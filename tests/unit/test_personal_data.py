"""Personal data found in texts, and hidden."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from guestcomms import personal_data
from guestcomms.personal_data import (
    CERTAIN,
    KINDS,
    Finding,
    NameFinder,
    UnknownRegion,
    detect,
    is_phone_supported,
    normalised,
    redact,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pii import score

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
SENTENCES = (
    Path(os.environ.get("GUESTCOMMS_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "pii"
    / "presidio-generated-large.json"
)
TODAY = date(2026, 6, 1)
NAMES = NameFinder(["María López", "Søren Ødegård", "Bo", "X", "Rose", "王小明", "Maria López García", "Room 204"])
PIECES = st.sampled_from(
    [
        *"0123456789",
        *"@.:/-+() \n",
        "a",
        "Z",
        "http://",
        "www.",
        "DE89",
        "4111",
        "[",
        "née ",
        "1.2.1980",
        "maria lopez",
        "::",
        "x",
    ]
)
needs_phonenumbers = pytest.mark.skipif(not is_phone_supported(), reason="phonenumbers is not installed")


def found(text: str, region: str = "DE", certainty: float = CERTAIN) -> list[tuple[str, str]]:
    """Kind and text of what is found at that certainty or more."""
    findings = detect(text, region, NAMES, TODAY)
    return [(one.kind, text[one.start : one.end]) for one in findings if one.certainty >= certainty]


def certainty(text: str, kind: str, region: str = "DE") -> float:
    """Of the first finding of a kind, 0 where there is none."""
    return next((one.certainty for one in detect(text, region, NAMES, TODAY) if one.kind == kind), 0.0)


@many
@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200), st.sampled_from(["US", "DE", "NL", "ZZ"]))
def test_findings_are_in_order_apart_and_redacted(text: str, region: str) -> None:
    findings = detect(text, region, NAMES, TODAY)
    ends = [0, *(one.end for one in findings)]
    assert all(0 <= end <= one.start < one.end <= len(text) for end, one in zip(ends, findings, strict=False))
    assert all(one.kind in KINDS and 0 < one.certainty <= 1 for one in findings)
    kept = [normalised(one.kind, text[one.start : one.end], region) for one in findings]
    assert redact(text, findings, kept, region) == text
    expected = text
    for one in reversed(findings):
        expected = f"{expected[: one.start]}[{one.kind}]{expected[one.end :]}"
    assert redact(text, findings) == expected


@many
@given(st.text("abcdefgh0123456789._+-", min_size=1, max_size=30).filter(lambda local: local.strip(".-")))
def test_every_mailbox_is_found(local: str) -> None:
    assert ("email", f"{local.lstrip('.-')}@mail.example.org") in found(f"write to <{local}@mail.example.org>.")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("O'Brien@example.com", ["O'Brien@example.com"]),
        ("'anna@example.com'", ["anna@example.com"]),
        ("mail=anna@example.com.", ["anna@example.com"]),
        ("jürgen@müller.example", ["jürgen@müller.example"]),
        ("a@b.xn--p1ai and me@c.d.e-f.org", ["a@b.xn--p1ai", "me@c.d.e-f.org"]),
        ("@example.com, a@b, a@.com, .@example.com", []),
    ],
)
def test_emails(text: str, addresses: list[str]) -> None:
    assert found(text) == [("email", address) for address in addresses]


def test_a_local_part_is_at_most_64_characters() -> None:
    assert found("a" * 70 + "@example.com") == [("email", "a" * 64 + "@example.com")]


@pytest.mark.parametrize("text", ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "gb82-west-1234-5698-7654-32"])
def test_ibans(text: str) -> None:
    assert found(f"to {text} please") == [("iban", text)]


@pytest.mark.parametrize(
    "text", ["DE88370400440532013000", "DE8937040044053201300", "ZZ89370400440532013000", "DE89370400440532013000a"]
)
def test_what_is_no_iban(text: str) -> None:
    assert "iban" not in dict(found(text, certainty=0))


@many
@given(st.integers(0, 10**18 - 1), st.integers(1, 9))
def test_one_wrong_digit_makes_no_iban(account: int, change: int) -> None:
    check = 98 - int(f"{account:018}131400") % 97
    right = f"DE{check:02}{account:018}"
    assert ("iban", right) in found(right)
    wrong = f"{right[:-1]}{(int(right[-1]) + change) % 10}"
    assert ("iban", wrong) not in found(wrong, certainty=0)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4222222222222",
        "5555-5555-5555-4444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "6759649826438453",
    ],
)
def test_cards(text: str) -> None:
    assert found(f"card {text}, 12/27") == [("card", text)]
    assert found(f"{text} 2027")[0] == ("card", text)


@pytest.mark.parametrize(
    "text", ["4111111111111112", "9111111111111116", "411111111111111", "41111111111111111", "4111111111111111a"]
)
def test_what_is_no_card(text: str) -> None:
    assert "card" not in dict(found(text, certainty=0))


@pytest.mark.parametrize("text", ["192.168.0.1", "::1", "fe80::1", "2001:db8:0:0:0:0:0:1", "::ffff:10.0.0.1"])
def test_addresses_of_the_internet(text: str) -> None:
    assert found(f"from {text}, blocked") == [("ip_address", text)]


@pytest.mark.parametrize("text", ["300.1.1.1", "1.2.3", "1.2.3.4.5", "12:30:45", "std::vector", "::", "v1.2.3.4"])
def test_what_is_no_address_of_the_internet(text: str) -> None:
    assert "ip_address" not in dict(found(text, certainty=0))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/reset?token=abc",
        "https://example.com/a#access_token=abc",
        "http://example.com/?X-Amz-Signature=1",
        "https://example.com/r/8f14e45fceea167a5a36dedd4bea2543",
        "https://example.com/?q=550e8400-e29b-41d4-a716-446655440000",
        "www.example.com/?Zk3v9Qa8Lw2Xy7Tb4",
        "http://[x/8f14e45fceea167a5a36dedd4bea2543",
    ],
)
def test_urls_with_a_token(text: str) -> None:
    assert found(f"See {text}.") == [("url_token", text)]


@pytest.mark.parametrize(
    "text", ["https://example.com", "www.example.com/my-hotel-room-2024-summer", "ftp://example.com/?lang=de", "http://[x/y"]
)
def test_other_urls(text: str) -> None:
    assert found(f"(See {text}!)") == [("url", text)]


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("10115 Berlin", "DE", 0.6),
        ("plain 10115 pieces", "DE", 0.35),
        ("plain 10115 pieces", "GB", 0.2),
        ("PLZ 10115", "GB", 0.45),
        ("Austin, TX 78701-1234", "US", 0.6),
        ("it is 78701", "US", 0.35),
        ("at SW1A 2AA now", "GB", 0.55),
        ("at 1017 AB now", "DE", 0.4),
        ("price 10115.50", "DE", 0.0),
        ("a110115", "DE", 0.0),
    ],
)
def test_postal_codes(text: str, region: str, expected: float) -> None:
    assert certainty(text, "postal_code", region) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I was born on 12/15/1995.", 0.9),
        ("geboren am 3.4.1970", 0.9),
        ("née le 3 mars 1975", 0.9),
        ("nacida el 3 de marzo de 1975", 0.9),
        ("DOB: March 3rd, 1975", 0.9),
        ("birthday 03.04.75", 0.9),
        ("birthday 2020-02-29", 0.9),
        ("since 1970-04-03", 0.45),
        ("on 2010-05-01", 0.45),
        ("on 2010-07-01", 0.0),
        ("on 1915-04-03", 0.0),
        ("arrival 2026-04-03", 0.0),
        ("born 31.2.1970", 0.0),
        ("born 5 rooms 1970", 0.0),
        ("born 1970-02-1971", 0.0),
        ("born 1-2-1970-3", 0.0),
    ],
)
def test_dates_of_birth(text: str, expected: float) -> None:
    assert certainty(text, "birth_date") == expected


def test_ages_are_counted_today_by_default() -> None:
    assert [one.kind for one in detect("on 1990-05-01", "DE")] == ["birth_date"]


def test_names() -> None:
    assert found("for maria lopez garcia and Soren Odegard") == [
        ("name", "maria lopez garcia"),
        ("name", "Soren Odegard"),
    ]
    assert found("MARI\u0301A. Søren, Lopezia") == [("name", "MARI\u0301A"), ("name", "Søren")]
    assert found("from Bo, or X") == [("name", "Bo")]
    assert found("我是王小明。") == [("name", "王小明")]


def test_words_of_a_name_that_are_apart_are_names_of_their_own() -> None:
    assert found("María and López") == [("name", "María"), ("name", "López")]
    assert certainty("María -- López", "name") == 0.65


def test_names_in_lower_case_are_less_certain() -> None:
    assert certainty("a rose", "name") == 0.4
    assert certainty("Rose", "name") == 0.65
    assert certainty("maria lopez", "name") == 0.9


def test_numbers_in_names_are_no_names() -> None:
    assert "name" not in dict(found("204", certainty=0))


def test_many_names_are_found_by_their_words() -> None:
    finder = NameFinder(f"Guest{number} Of{number % 7}House" for number in range(100_000))
    assert [one.certainty for one in finder.find("GUEST99999 of4house met Guest5")] == [0.9, 0.65]


@needs_phonenumbers
@pytest.mark.parametrize(
    "text",
    [
        "001-748-088-2851x818",
        "06-10446904",
        "089 72 63 41",
        "+49 89 726341",
        "+1-054-353-1726 ext. 16954",
        "(505)498-8487x6837",
        "(88) 684-334",
        "28-81-33-70",
        "02.27.96.63.08",
        "166-684-7899",
        "88 165 40 96",
        "0891234567",
        "030/1234567",
    ],
)
def test_phones_by_their_form(text: str) -> None:
    assert found(f"or {text}, thanks") == [("phone", text)]


@needs_phonenumbers
@pytest.mark.parametrize("text", ["9469 9966", "449 4898", "33 93 31", "2546712361", "24 428557"])
def test_phones_by_the_words_beside_them(text: str) -> None:
    assert found(f"please call me at {text}") == [("phone", text)]
    assert found(f"{text} office") == [("phone", text)]
    assert certainty(f"the code {text}.", "phone", "ZZ") < 0.6


@needs_phonenumbers
@pytest.mark.parametrize(
    "text",
    [
        "SSN 308-63-0237",
        "call 308-63-0237",
        "call on 2007-03-23 18:43",
        "tel 12.03.1985",
        "driver's license 950735093",
        "booking 0891234567",
        "taxi to 27 2711 Queens Square",
        "3... 2... 1... 4... 5... 6... liftoff",
        "call 1234567890123456",
        "+12 34567",
    ],
)
def test_what_is_no_phone(text: str) -> None:
    assert "phone" not in dict(found(text, "US"))


@needs_phonenumbers
def test_phones_of_a_likely_region_are_more_certain() -> None:
    assert certainty("or 1111 1111", "phone", "ZZ") == 0.3
    assert certainty("or 2079 460958", "phone", "ZZ") == 0.55
    assert certainty("or 9469 9966", "phone", "SG") == 0.9


@needs_phonenumbers
def test_numbers_side_by_side_are_apart() -> None:
    assert found("06-10446904 06-10446905") == [("phone", "06-10446904"), ("phone", "06-10446905")]


def test_without_phonenumbers_other_kinds_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)  # type: ignore[misc]
    assert not is_phone_supported()
    assert found("a@example.com, +49 89 726341") == [("email", "a@example.com")]
    assert normalised("phone", " (+49) 89-726341", "DE") == "+4989726341"


@needs_phonenumbers
def test_phones_are_normalised() -> None:
    assert normalised("phone", "089 / 726341", "de") == normalised("phone", "+49 89 72 63 41", "US") == "+4989726341"
    assert normalised("phone", "12 34", "DE") == "1234"
    assert normalised("phone", "x", "DE") == ""


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("email", "Anna@Example.COM", "anna@example.com"),
        ("iban", "de89 3704-0044", "DE8937040044"),
        ("card", "4111-1111 1111", "411111111111"),
        ("postal_code", "sw1a 2aa", "SW1A2AA"),
        ("ip_address", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("birth_date", "3 mars 1975", "1975-03-03"),
        ("birth_date", "soon", "soon"),
        ("name", "MARÍA  López-Weiß", "maria lopez weiss"),
        ("url", "http://Example.com/A", "http://Example.com/A"),
        ("url_token", "http://Example.com/A?token=B", "http://Example.com/A?token=B"),
    ],
)
def test_other_values_are_normalised(kind: str, value: str, expected: str) -> None:
    assert normalised(kind, value, "DE") == expected


def test_redaction_takes_findings_in_any_order_and_keeps_what_it_shall() -> None:
    text = "a@example.com or B@example.com"
    findings = [Finding(17, 30, "email", 1.0), Finding(0, 13, "email", 1.0)]
    assert redact(text, findings) == "[email] or [email]"
    assert redact(text, findings, {"b@example.com"}) == "[email] or B@example.com"


def test_the_more_certain_then_the_longer_wins() -> None:
    assert found("https://example.com/?m=a@example.com") == [("url", "https://example.com/?m=a@example.com")]
    assert found("rose@example.com", certainty=0) == [("email", "rose@example.com")]
    assert found("4111 1111 1111 1111", certainty=0) == [("card", "4111 1111 1111 1111")]


@pytest.mark.parametrize("region", ["", "D", "DEU", "Ä1", "12"])
def test_a_region_has_two_letters(region: str) -> None:
    for call in (partial(detect, "secret"), partial(normalised, "name", "secret")):
        with pytest.raises(UnknownRegion) as raised:
            call(region)
        assert str(raised.value) == "region is not a code of two letters"


@pytest.mark.parametrize("piece", ["1", "@", "a.", "a@", "1:", "4444 ", "(+", "www.", "1.", "GB12 "])
def test_long_texts_end(piece: str) -> None:
    """Patterns that backtrack exponentially, or look at everything behind each character, would not end here."""
    assert isinstance(detect(piece * 20_000, "US", NAMES, TODAY), list)


@pytest.mark.skipif(not SENTENCES.exists(), reason="the real data is not here; GUESTCOMMS_DATA says where it is")
@needs_phonenumbers
def test_most_personal_data_of_generated_sentences_is_found() -> None:
    """The rules were chosen on even records."""
    records: list[dict[str, Any]] = json.loads(SENTENCES.read_text())[1::2]
    found_by_kind = score(records, lambda text: detect(text, "US"))
    assert min(found_by_kind["phone"]) >= 0.85
    for kind in ("email", "iban", "card", "ip_address", "url"):
        assert min(found_by_kind[kind]) >= 0.98, kind


def test_scores_are_shares_of_spans_and_of_findings() -> None:
    span = {"entity_type": "EMAIL_ADDRESS", "start_position": 0, "end_position": 5}
    other = {"entity_type": "PERSON", "start_position": 0, "end_position": 5}
    findings = [Finding(4, 9, "email", 1.0), Finding(5, 9, "email", 1.0), Finding(0, 5, "card", 1.0), Finding(0, 5, "phone", 0.1)]
    scores = score([{"full_text": "", "spans": [span, other]}], lambda text: findings)
    assert scores["email"] == (1.0, 0.5)
    assert scores["card"] == (1.0, 0.0)
    assert scores["phone"] == (1.0, 1.0)
    assert personal_data.CERTAIN == 0.5
