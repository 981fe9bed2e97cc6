"""Dictionaries: nobody's words are in them, and they help."""

from __future__ import annotations

import os
import random
import sys

import pytest
from guestcomms import dictionary
from guestcomms.compression import Dictionary, compress_payload, decompress_payload
from guestcomms.dictionary import MAGIC, build_dictionary, check_dictionary, dictionary_strings
from hypothesis import given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "40")))
WORDS = [
    f"{start}{middle}{end}"
    for start in ("wed", "gue", "ta", "rö")
    for middle in ("din", "sto", "ß")
    for end in ("g", "ly", "ner", "")
]
TEMPLATES = [
    " ".join(random.Random(seed).choices(WORDS, k=12)) + mark
    for seed, mark in enumerate(["!", "?", ".", " 🎉", ", see https://x.org/a?b=c"] * 6)
]
Rows = list[tuple[str, str]]


def rows(guests: int = 60, seed: int = 1) -> Rows:
    """Some letters by template, some words of each guest's own, and a secret of each guest."""
    chance = random.Random(seed)
    found = []
    for guest in range(guests):
        for _ in range(8):
            own = " ".join(chance.choices(WORDS, k=6))
            secret = f"secret{guest}x{guest * 7919}"
            found.append((f"guest {guest}", f"Dear guest {guest}, {chance.choice(TEMPLATES)} {own} {secret}"))
    chance.shuffle(found)
    return found


def strings(given_rows: Rows, size: int = 65536, least_guests: int = 5) -> list[bytes]:
    """The strings of the dictionary of some rows."""
    draft = build_dictionary(given_rows, size, least_guests)
    assert draft is not None
    return dictionary_strings(draft.content)


@many
@given(st.integers(0, 2**32), st.integers(2, 9), st.sampled_from([1500, 4000, 65536]))
def test_every_string_was_written_by_enough_guests(seed: int, least_guests: int, size: int) -> None:
    given_rows = rows(40, seed)
    draft = build_dictionary(given_rows, size, least_guests)
    if draft is not None:
        assert check_dictionary(draft.content, given_rows, least_guests) == []
        assert not any(b"secret" in string and string != b"secret" for string in dictionary_strings(draft.content))


def test_the_check_finds_what_too_few_guests_wrote() -> None:
    given_rows = [(f"guest {number % 4}", "a rare phrase, often written") for number in range(40)] + [
        (f"guest {number}", "a common phrase") for number in range(5)
    ]
    content = b"a common phrase\0a rare phrase\0 phrase\0never"
    assert check_dictionary(content, given_rows) == [b"a rare phrase", b"never"]
    assert check_dictionary(content, given_rows, 4) == [b"never"]


def test_one_guest_more_lets_a_sentence_in() -> None:
    sentence = "This very sentence came to exactly so many guests and to nobody else at all"
    for guests, is_in in ((4, False), (5, True)):
        chance = random.Random(guests)
        given_rows = rows()
        for number in range(guests):
            given_rows += [(f"guest {number}", sentence)] * chance.choice([1, 9])
        assert (sentence.encode() in b"\0".join(strings(given_rows))) == is_in
        assert not any(string in sentence.encode() and len(string) > 8 for string in strings(given_rows)) or is_in


def test_whole_sentences_of_templates_are_found() -> None:
    joined = b"\0".join(strings(rows(300)))
    assert sum(template.encode() in joined for template in TEMPLATES) > 0.8 * len(TEMPLATES)


def test_no_string_is_part_of_another() -> None:
    found = strings(rows())
    assert len(found) == len(set(found))
    for number, string in enumerate(found):
        assert string
        assert not any(string in other for other in found[:number] + found[number + 1 :])


def test_the_most_useful_come_last() -> None:
    given_rows = rows() + [(f"guest {number}", "We are looking forward to seeing you soon.") for number in range(60)] * 10
    found = strings(given_rows)
    assert b"looking forward to seeing" in b"\0".join(found[-3:])


@pytest.mark.parametrize("size", [1100, 3000])
def test_the_size_is_kept(size: int) -> None:
    found = strings(rows(), size)
    assert 1024 <= len(b"\0".join(found)) <= size


def test_the_draft_counts() -> None:
    draft = build_dictionary(rows(60))
    assert draft is not None
    assert draft.guest_count == 60
    assert draft.string_count == len(dictionary_strings(draft.content))


def test_the_same_rows_give_the_same_dictionary() -> None:
    assert build_dictionary(rows()) == build_dictionary(iter(rows()))


@pytest.mark.parametrize(
    "given_rows",
    [
        [],
        [("a", "")],
        [("a", "the same guest, the same words, over and over again")] * 5000,
        [(str(n), "short") for n in range(99)],
    ],
    ids=["nothing", "empty", "one guest", "one word"],
)
def test_too_little_gives_no_dictionary(given_rows: Rows) -> None:
    assert build_dictionary(given_rows) is None


def test_texts_with_nul_are_cut_there() -> None:
    given_rows = rows() + [(f"guest {number}", "before the end\0after the end of it all") for number in range(60)]
    found = strings(given_rows)
    assert check_dictionary(b"\0".join(found), given_rows) == []
    assert not any(b"after" in string for string in found)


def test_a_dictionary_helps_with_and_without_entropy_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zstandard")
    draft = build_dictionary(rows(200))
    assert draft is not None
    assert draft.content.startswith(MAGIC)
    bare = b"\0".join(dictionary_strings(draft.content))
    assert draft.content.endswith(bare)
    assert not bare.startswith(MAGIC)
    later = [text for _, text in rows(20, seed=9)]
    sizes = []
    for content in (bare, draft.content):
        kept = Dictionary(content)
        total = 0
        for start in range(0, len(later), 20):
            rest = "\0".join(later[start : start + 20]).encode()
            payload = compress_payload(b"", rest, "zstd_dict", 19, kept)
            assert decompress_payload(payload, "zstd_dict", kept) == (b"", rest)
            total += len(payload)
        sizes.append(total)
    alone = sum(
        len(compress_payload(b"", "\0".join(later[at : at + 20]).encode(), "zstd", 19)) for at in range(0, len(later), 20)
    )
    assert sizes[1] < sizes[0] < 0.9 * alone
    monkeypatch.setitem(sys.modules, "zstandard", None)  # type: ignore[misc]
    without = build_dictionary(rows(200))
    assert without is not None
    assert without.content == bare


def test_too_few_samples_leave_the_tables_out() -> None:
    words = " ".join(f"word{number}of{number * 31}many" for number in range(120))
    draft = build_dictionary([(str(number), words) for number in range(5)])
    assert draft is not None
    assert not draft.content.startswith(MAGIC)
    assert dictionary_strings(draft.content)[-1] in words.encode()


def test_texts_beyond_the_bound_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"guest {number}", f"{sentence} and so on") for sentence in TEMPLATES for number in range(8)]
    assert build_dictionary(rows) is not None
    monkeypatch.setattr(dictionary, "READ_TOKENS", 20)
    assert build_dictionary(rows) is None
