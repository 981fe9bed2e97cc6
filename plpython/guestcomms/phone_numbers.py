"""Telephone numbers as people write them at home, in the form that is unique in the world (ITU-T E.164)."""

from __future__ import annotations

from importlib.util import find_spec


def is_supported() -> bool:
    """Whether phonenumbers is installed, without which a number must come with its country's prefix."""
    return find_spec("phonenumbers") is not None


def international(number: str | None, region: str | None) -> str | None:
    """number in E.164, read as whoever is in region (ISO 3166-1, two letters) writes it; None for what cannot be one.

    Only length and prefix are asked for: numbers that nobody has yet are given out every year. An extension is left out.
    """
    if not number or not is_supported():
        return None
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    # Those that can only be dialled within a town cannot be reached from elsewhere.
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
