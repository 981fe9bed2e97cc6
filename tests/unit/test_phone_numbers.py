"""Telephone numbers as people write them, in E.164."""

from __future__ import annotations

import os
import re

import pytest
from guestcomms import phone_numbers
from guestcomms.phone_numbers import international
from hypothesis import given, settings
from hypothesis import strategies as st

phonenumbers = pytest.importorskip("phonenumbers")
many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "200")))
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("07700 900123", "GB", "+447700900123"),
        ("(0)7700 900123", "GB", "+447700900123"),
        ("+44 (0)7700 900123", "DE", "+447700900123"),
        ("0171/2345678", "DE", "+491712345678"),
        ("06 1234567", "IT", "+39061234567"),
        ("(212) 555-0123 ext. 4", "US", "+12125550123"),
        ("\u0660\u0667\u0667\u0660\u0660 \u0669\u0660\u0660\u0661\u0662\u0663", "GB", "+447700900123"),
        ("12345", "GB", None),
        ("vegan", "GB", None),
        ("", "GB", None),
        (None, "GB", None),
        ("07700 900123", None, None),
        ("07700 900123", "XX", None),
        ("+44 7700 900123", None, "+447700900123"),
    ],
)
def test_examples(written: str | None, region: str | None, number: str | None) -> None:
    assert international(written, region) == number


@many
@given(
    st.sampled_from(REGIONS),
    st.sampled_from([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE]),
    st.randoms(),
)
def test_however_a_number_is_written_it_is_the_same(region: str, kind: int, chance: object) -> None:
    example = phonenumbers.example_number_for_type(region, kind)
    if example is None or phonenumbers.is_possible_number_with_reason(example) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return
    wanted = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    for form in (
        phonenumbers.PhoneNumberFormat.NATIONAL,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.E164,
    ):
        written = phonenumbers.format_number(example, form)
        assert international(written, region) == wanted
        assert international(written.replace("-", "/"), region) == wanted


@many
@given(st.text(max_size=60), st.sampled_from(REGIONS))
def test_whatever_is_given_comes_out_as_a_number_or_not_at_all(written: str, region: str) -> None:
    found = international(written, region)
    assert found is None or re.fullmatch(r"\+[0-9]{4,17}", found)


def test_without_the_package_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_numbers, "is_supported", lambda: False)
    assert international("07700 900123", "GB") is None
