"""Values in place of others, always the same for a key and a value, from which nobody without the key gets back.

Everything comes from HMAC-SHA256 (RFC 2104) of a purpose and the value, so that values that are equal stay equal, and what
is known of one purpose says nothing of another. A key is secret bytes, at least 32 of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from guestcomms.fake_names import FAMILY_NAMES, GIVEN_NAMES

DAY = 86_400_000
# The store takes no message from before; so a time that the shift would move there is moved the other way.
EARLIEST = datetime(1995, 1, 1, tzinfo=UTC)
LATEST_WEEK = 25
CHANNELS = ("email", "sms", "whatsapp", "chat")


class UnknownChannel(ValueError):
    """No channel of the store's."""


def keyed_bytes(key: bytes, purpose: str, value: str) -> bytes:
    """32 bytes of a value. A purpose holds no NUL, so that no two pairs of purpose and value are the same text."""
    return hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256")


def keyed_number(key: bytes, purpose: str, value: str, below: int) -> int:
    """A whole number from 0 to below it; even as long as below is far under 2 to the 128th."""
    return int.from_bytes(keyed_bytes(key, purpose, value)[:16], "big") % below


def keyed_hash(key: bytes, purpose: str, value: str) -> str:
    """32 hexadecimal digits: 128 bits, so that no two of a data set are the same."""
    return keyed_bytes(key, purpose, value)[:16].hex()


def keyed_uuid(key: bytes, value: UUID) -> UUID:
    """A UUID of version 4 in form (RFC 9562), one for all places in which the value stands."""
    return UUID(bytes=keyed_bytes(key, "uuid", str(value))[:16], version=4)


def keyed_uuid_v7(key: bytes, value: UUID, days: int) -> UUID:
    """A UUID of version 7 (RFC 9562) whose millisecond is the value's, shifted as shift_time() does its time."""
    millisecond = int.from_bytes(value.bytes[:6], "big")
    earliest = round(EARLIEST.timestamp() * 1000)
    shifted = millisecond + (days if millisecond + days * DAY >= earliest else -days) * DAY
    head = (shifted % (1 << 48)).to_bytes(6, "big")
    tail = bytearray(keyed_bytes(key, "uuid", str(value))[:10])
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return UUID(bytes=head + bytes(tail))


def shift_days(key: bytes, subject: str) -> int:
    """By how many days the times of a subject are shifted: 7 to 175 into the past, whole weeks.

    Whole weeks leave Saturdays Saturdays: when guests write and when weddings are held goes by the day of the week.
    """
    return -7 * (1 + keyed_number(key, "shift", subject, LATEST_WEEK))


def shift_time(value: str, days: int) -> str:
    """A time of PostgreSQL's JSON (ISO 8601 with an offset), shifted by days; towards the future if else it were before EARLIEST.

    What datetime cannot hold becomes 'infinity' or '-infinity', which PostgreSQL knows too.
    """
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return _without_end(value)
    return (at + timedelta(days=days if at >= EARLIEST - timedelta(days=days) else -days)).isoformat()


def shift_date(value: str, days: int) -> str:
    """A date in ISO 8601, shifted by days; infinities as in shift_time()."""
    try:
        return (date.fromisoformat(value) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return _without_end(value)


def fake_name(key: bytes, value: str) -> str:
    """A given name and a family name, none of which is a word of the value; upper and lower case and spaces do not matter."""
    words = value.casefold().split()
    normal = " ".join(words)
    return f"{_choose(key, 'given', normal, words, GIVEN_NAMES)} {_choose(key, 'family', normal, words, FAMILY_NAMES)}"


def fake_address(key: bytes, channel: str, value: str, attempt: int = 0) -> str:
    """An address that reaches nobody: e-mail at example.com or example.org (RFC 2606), a telephone number of those reserved
    for fiction, or 32 hexadecimal digits for chat. SMS and WhatsApp share numbers. attempt other than 0 gives another one.

    E-mail and chat have 80 bits and more, so that no two are the same; telephone numbers 720 million possibilities, which
    is for the caller to see to where they must differ. Raises UnknownChannel.
    """
    source = f"{attempt}\0{value}"
    if channel == "email":
        number = keyed_number(key, "email", source, 1 << 81)
        return f"guest.{number >> 1:020x}@example.{('com', 'org')[number & 1]}"
    if channel in ("sms", "whatsapp"):
        return _fiction_number(keyed_number(key, "phone", source, 8 * 9 * 10 * 1_000_000))
    if channel == "chat":
        return keyed_hash(key, "chat", source)
    raise UnknownChannel(f"a channel is one of {', '.join(CHANNELS)}")


def _fiction_number(number: int) -> str:
    """+1, an area code, 555 01xx, which is for fiction in every area, and four digits more to make 15, the most of E.164:
    networks take no notice of what is dialled after a whole number. Area codes such as 911 are left out."""
    number, line = divmod(number, 1_000_000)
    number, last = divmod(number, 10)
    first, middle = divmod(number, 9)
    return f"+1{first + 2}{'023456789'[middle]}{last}55501{line:06}"


def _choose(key: bytes, purpose: str, value: str, words: Sequence[str], names: Sequence[str]) -> str:
    free = [name for name in names if name.casefold() not in words] or names
    return free[keyed_number(key, purpose, value, len(free))]


def _without_end(value: str) -> str:
    return "-infinity" if value.endswith("BC") or value.startswith(("-", "0")) else "infinity"
