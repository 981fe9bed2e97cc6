"""Anything at all given to the ways in: documented errors, whole batches, texts unchanged."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record_all

DOCUMENTED = {"22023", "22004", "22001", "22008", "23503"}
MIB = 1 << 20

# Neither half a surrogate pair nor NUL can be said in UTF-8 to PostgreSQL.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
TIMES = st.datetimes().map(lambda at: f"{at.isoformat()}Z") | st.from_regex(
    r"[0-9]{4}-[0-2][0-9]-[0-3][0-9][T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)",
    fullmatch=True,
)
UUIDS = st.uuids().map(str) | st.builds("{}{}".format, st.uuids(), TEXT)
CHANNELS = st.sampled_from(["email", "sms", "whatsapp", "chat", "fax"])
DIRECTIONS = st.sampled_from(["inbound", "outbound"])
KEYS = st.sampled_from(["k1", "k2", "k3"])

MESSAGE_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "subject": TEXT,
    "sent_at": TIMES,
    "thread_id": UUIDS,
    "external_id": KEYS | TEXT,
    "source": TEXT,
    "language": st.sampled_from(["en", "de", "xx", "English"]) | TEXT,
    "purpose": st.sampled_from(["service", "marketing"]) | TEXT,
    "status": st.sampled_from(["sent", "queued"]) | TEXT,
    "author": TEXT,
    "metadata": st.dictionaries(TEXT, JSON, max_size=2) | JSON,
    "scheduled_at": TIMES,
}
EVENT_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "occurred_at": TIMES,
    "detail": st.dictionaries(TEXT, JSON, max_size=2) | JSON,
    "is_machine": st.booleans() | JSON,
    "event_external_id": KEYS | TEXT,
}


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    return add_guest(app)


def call(app: Connection, function: str, elements: Any, on_error: str) -> list[Any] | None:
    """The rows returned, or None after one of the documented errors."""
    try:
        return rows(
            app,
            f"SELECT * FROM guestcomms.{function}(%s, on_error => %s)".encode(),
            Jsonb(elements),
            on_error,
        )
    except psycopg.Error as error:
        if error.sqlstate not in DOCUMENTED:
            raise
        return None


def check(root: Connection, app: Connection, function: str, table: str, elements: Any) -> None:
    """Both modes; what was returned is what was stored."""
    for on_error in ("abort", "skip"):
        before = one(root, f"SELECT count(*) FROM guestcomms.{table}".encode())
        found = call(app, function, elements, on_error)
        after = one(root, f"SELECT count(*) FROM guestcomms.{table}".encode())
        if found is None:
            assert after == before
            assert on_error == "abort" or not isinstance(elements, list)
            continue
        assert [row[1] for row in found] == list(range(1, len(elements) + 1))
        assert all((row[0] is None) == (row[3] is not None) for row in found)
        assert all(row[3] is None or row[3] in DOCUMENTED for row in found)
        assert after - before == sum(row[0] is not None and not row[2] for row in found)


# A fixed seed: the same tests for everybody, and no store of examples beside the sources.
SETTINGS = settings(deadline=None, max_examples=100)


@SETTINGS
@given(elements=JSON)
def test_any_json(app: Connection, root: Connection, elements: Any) -> None:
    check(root, app, "record_messages", "messages", elements)
    check(root, app, "record_events", "message_events", elements)


@SETTINGS
@given(data=st.data())
def test_nearly_good_messages(app: Connection, root: Connection, guest: UUID, data: st.DataObject) -> None:
    good = {
        "guest_id": st.just(str(guest)),
        "direction": DIRECTIONS,
        "channel": CHANNELS,
        "body": TEXT,
    }
    elements = data.draw(st.lists(st.fixed_dictionaries(good, optional=MESSAGE_KEYS) | JSON, max_size=4))
    check(root, app, "record_messages", "messages", elements)


@SETTINGS
@given(data=st.data())
def test_nearly_good_events(app: Connection, root: Connection, guest: UUID, data: st.DataObject) -> None:
    (message_id,) = record_all(app, [message(guest, source="fuzz", external_id="one")])
    by_id = {"message_id": st.just(str(message_id)) | UUIDS, "source": TEXT}
    by_key = {"source": st.just("fuzz"), "external_id": st.just("one") | TEXT}
    kind = {"kind": st.sampled_from(["opened", "read", "lost"])}
    element = (
        st.fixed_dictionaries(by_id | kind, optional=EVENT_KEYS)
        | st.fixed_dictionaries(by_key | kind, optional=EVENT_KEYS)
        | JSON
    )
    elements = data.draw(st.lists(element, max_size=4))
    check(root, app, "record_events", "message_events", elements)


@SETTINGS
@given(body=TEXT, subject=TEXT, language=st.sampled_from(["en", "de", "ar", "zh", "th", "xx"]))
def test_any_text_comes_back_as_it_was(
    app: Connection, root: Connection, guest: UUID, body: str, subject: str, language: str
) -> None:
    direct = one(
        app,
        "SELECT guestcomms.record_message(%s, 'inbound', 'sms', %s, subject => %s, language => %s)",
        guest,
        body,
        subject,
        language,
    )
    element = message(guest, body=body, subject=subject, language=language)
    (from_json,) = record_all(app, [element])
    found = rows(
        root,
        "SELECT body, subject FROM guestcomms.messages WHERE message_id IN (%s, %s)",
        direct,
        from_json,
    )
    assert found == [(body, subject)] * 2


def fill(words: list[str], separator: str) -> str:
    """As many of the words as go into 1 MiB, and no word twice."""
    size, taken = 0, []
    for word in words:
        size += len(word.encode()) + len(separator.encode())
        if size > MIB:
            break
        taken.append(word)
    return separator.join(taken)


def distinct_words(letters: str, length: int) -> list[str]:
    chosen = random.Random(length)
    count = MIB // (length * len(letters[0].encode()))
    return list({"".join(chosen.choices(letters, k=length)): None for _ in range(count)})


LATIN = "abcdefghijklmnopqrstuvwxyz"
GOTHIC = "".join(chr(0x10330 + n) for n in range(24))  # four bytes each
CHINESE = "".join(chr(0x4E00 + n) for n in range(5000))
EXTENSION_B = "".join(chr(0x20000 + n) for n in range(5000))
THAI = "".join(chr(0x0E01 + n) for n in range(46))
LONG: dict[str, tuple[str, str]] = {
    "short distinct words": ("en", fill(distinct_words(LATIN, 4), " ")),
    "long distinct words": ("de", fill(distinct_words(LATIN, 12), " ")),
    "four-byte letters": ("xx", fill(distinct_words(GOTHIC, 3), " ")),
    "hyphens": ("en", fill(distinct_words(LATIN, 5), "-")),
    "four-byte letters with hyphens": ("en", "-".join(distinct_words(GOTHIC, 2) * 100)[:200_000]),
    "compounds of four-byte letters": (
        "en",
        fill(["-".join(pair) for pair in zip(*[iter(distinct_words(GOTHIC, 8))] * 2)], " "),  # noqa: B905
    ),
    "addresses": ("en", fill([f"{word}@{word}.example" for word in distinct_words(LATIN, 6)], " ")),
    "links": ("en", fill([f"{word}.com/{word}" for word in distinct_words(LATIN, 6)], " ")),
    "one word": ("en", "a" * MIB),
    "one line of Chinese": ("zh", "".join(random.Random(1).choices(CHINESE, k=MIB // 3))),
    "rare Chinese": ("zh", "".join(random.Random(1).choices(EXTENSION_B, k=MIB // 4))),
    "Thai": ("th", "".join(random.Random(1).choices(THAI, k=MIB // 3))),
    "Chinese between words": ("zh", fill([w + "菜单" for w in distinct_words(GOTHIC, 3)], " ")),
    "faces": ("en", "🎉" * (MIB // 4)),
    "roman numerals, longer without accents": ("en", "Ⅷ" * 682 + " " + "Ⅷ" * 511),
    "quotes and backslashes": ("en", "'\"\\" * 100_000),
    "spaces": ("en", " " * MIB),
}


@pytest.mark.parametrize("case", LONG)
def test_a_very_long_text_comes_back_as_it_was(app: Connection, root: Connection, guest: UUID, case: str) -> None:
    language, body = LONG[case]
    subject = body[:2000]
    message_id = one(
        app,
        "SELECT guestcomms.record_message(%s, 'inbound', 'email', %s, subject => %s, language => %s)",
        guest,
        body,
        subject,
        language,
    )
    found = rows(root, "SELECT body, subject FROM guestcomms.messages WHERE message_id = %s", message_id)
    assert found == [(body, subject)]
