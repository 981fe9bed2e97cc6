"""Dictionaries for Zstandard that hold nobody's words: texts of several guests have each string in them.

The content is strings joined by NUL (no text holds NUL); each occurs, as bytes, in texts of at least `least_guests` guests.
So erasing a person never touches a dictionary. Candidates are runs of words and of what is between them, grown one token at
a time only where both shorter runs have enough guests (Agrawal, Srikant: Fast Algorithms for Mining Association Rules, 1994).
Chosen are those that save most bytes when every text is cut into the longest of them, much as LZ77 would cut it.

Where zstandard is there, the entropy tables of a dictionary (RFC 8878, section 5) stand in front: how often which byte,
length and distance comes, so that a short segment need not say it. They hold no strings, and are counted over nothing but
tokens of enough guests.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

LEAST_BYTES = 1024
LONGEST_RUN = 64  # in tokens
READ_CHARACTERS = 2000  # of each text
READ_TOKENS = 800_000  # in all; texts beyond are left out, which bounds memory
TOKEN = re.compile(r"\w+|[^\w\s]+|\s+")
# From this many tokens on, so many places of a run are enough to see how it goes on: long runs are templates. A guest counts
# once, so of each only so many.
LONG_RUN, LONG_RUN_PLACES, PLACES_OF_A_GUEST = 6, 24, 2
# What a literal and what a match cost in bytes, roughly; a match is a length and a distance of up to 16 bits.
LITERAL_BYTES, MATCH_BYTES = 0.6, 3.0
# How many times the size of the dictionary the strings may take that stay after each round of choosing.
ROUNDS = (8.0, 4.0, 3.0)
SAMPLE_TEXTS, SAMPLES = 20, 3000  # texts to a sample, as many as a segment has; samples that the tables are counted over
MAGIC = b"\x37\xa4\x30\xec"
FIRST_DISTANCES = b"\1\0\0\0\4\0\0\0\x08\0\0\0"  # what every trained dictionary's tables end with


class DictionaryDraft(NamedTuple):
    """content: the bytes of the dictionary; string_count strings, the most useful last; guest_count guests were read."""

    content: bytes
    string_count: int
    guest_count: int


@dataclass
class _Text:
    """tokens as numbers; runs: at each token, while runs grow, the number of the run that begins there, or -1."""

    guest: str
    tokens: list[int]
    runs: list[int]


class _Runs:
    """Runs of tokens as a trie (prefix tree): the number of a run and the next token give the longer run."""

    def __init__(self) -> None:
        self.next: dict[tuple[int, int], int] = {}
        self.parents: list[int] = []
        self.pieces: list[bytes] = []
        self.lengths: list[int] = []  # in bytes

    def add(self, run: int, token: int, piece: bytes) -> int:
        """The number of a longer run, which is a new one unless it is there."""
        number = self.next.setdefault((run, token), len(self.parents))
        if number == len(self.parents):
            self.parents.append(run)
            self.pieces.append(piece)
            self.lengths.append((self.lengths[run] if run >= 0 else 0) + len(piece))
        return number

    def spell(self, run: int) -> bytes:
        """The bytes of a run."""
        pieces = []
        while run >= 0:
            pieces.append(self.pieces[run])
            run = self.parents[run]
        return b"".join(reversed(pieces))


def build_dictionary(rows: Iterable[tuple[str, str]], size: int = 65536, least_guests: int = 5) -> DictionaryDraft | None:
    """A dictionary with at most `size` bytes of strings from (guest, text), or None where less than LEAST_BYTES help.

    The same rows in the same order give the same dictionary.
    """
    texts, pieces = _read(rows)
    runs = _grow(texts, pieces, least_guests)
    savings = _savings(texts, runs, None)
    for factor in ROUNDS:
        kept = _best(savings, runs.lengths, int(size * factor))
        savings = _savings(texts, runs, kept)
    order = sorted(kept, key=lambda run: (savings.get(run, 0.0), runs.lengths[run], run))
    strings = _fit([runs.spell(run) for run in order if savings.get(run, 0.0) > 0], size)
    content = b"\0".join(strings)
    if len(content) < LEAST_BYTES:
        return None
    guest_count = len({text.guest for text in texts})
    return DictionaryDraft(_entropy_tables(_samples(texts, runs)) + content, len(strings), guest_count)


def dictionary_strings(content: bytes) -> list[bytes]:
    """The strings of a dictionary, without the tables in front."""
    if content.startswith(MAGIC):
        content = content.partition(FIRST_DISTANCES)[2]
    return content.split(b"\0")


def check_dictionary(content: bytes, rows: Iterable[tuple[str, str]], least_guests: int = 5) -> list[bytes]:
    """The strings of a dictionary that fewer guests have; by comparing each with each text, so only for small data."""
    by_guest: dict[str, list[bytes]] = defaultdict(list)
    for guest, text in rows:
        by_guest[guest].append(text.encode())
    joined = [b"\0".join(texts) for texts in by_guest.values()]
    return [string for string in dictionary_strings(content) if sum(string in texts for texts in joined) < least_guests]


def _read(rows: Iterable[tuple[str, str]]) -> tuple[list[_Text], list[bytes]]:
    """The texts cut into tokens, and how these are spelt; a guest's texts are next to each other, to count without sets."""
    numbers: dict[str, int] = {}
    texts, left = [], READ_TOKENS
    for guest, text in rows:
        # PostgreSQL's texts hold no NUL; others are cut there.
        words = TOKEN.findall(text[:READ_CHARACTERS].partition("\0")[0])
        left -= len(words)
        if left < 0:
            break
        texts.append(_Text(guest, [numbers.setdefault(word, len(numbers)) for word in words], []))
    texts.sort(key=lambda text: text.guest)
    return texts, [word.encode() for word in numbers]


def _grow(texts: Sequence[_Text], pieces: Sequence[bytes], least_guests: int) -> _Runs:
    """All runs of enough guests; afterwards the runs of a text are those that could not grow further."""
    runs = _Runs()
    active = list(texts)
    for text in active:
        text.runs = [-1] * len(text.tokens)
    for size in range(LONGEST_RUN):
        guests: Counter[tuple[int, int]] = Counter()
        last: dict[tuple[int, int], str] = {}
        candidates = [list(_longer(text, size)) for text in active]
        for text, found in zip(active, candidates, strict=True):
            for _, key in found:
                if last.get(key) != text.guest:
                    last[key] = text.guest
                    guests[key] += 1
        places: Counter[int] = Counter()
        own: dict[int, tuple[str, int]] = {}
        following = []
        for text, found in zip(active, candidates, strict=True):
            text.runs = [-1] * len(text.tokens)
            for place, key in found:
                if guests[key] >= least_guests:
                    number = runs.add(key[0], key[1], pieces[key[1]])
                    guest, count = own.get(number, ("", 0))
                    count = count + 1 if guest == text.guest else 1
                    own[number] = (text.guest, count)
                    if size < LONG_RUN or (count <= PLACES_OF_A_GUEST and places[number] < LONG_RUN_PLACES):
                        places[number] += 1
                        text.runs[place] = number
            if max(text.runs, default=-1) >= 0:
                following.append(text)
        active = following
    return runs


def _longer(text: _Text, size: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Where a run of size tokens may grow by one, and by which, from what is known of the runs of size tokens."""
    if size == 0:
        yield from ((place, (-1, token)) for place, token in enumerate(text.tokens))
        return
    for place in range(len(text.tokens) - size):
        if text.runs[place] >= 0 and text.runs[place + 1] >= 0:
            yield place, (text.runs[place], text.tokens[place + size])


def _savings(texts: Sequence[_Text], runs: _Runs, kept: set[int] | None) -> dict[int, float]:
    """Bytes that each kept run (None: each at all) saves where every text is cut, from its start, into the longest."""
    uses: Counter[int] = Counter()
    step = runs.next.get
    for text in texts:
        place, tokens = 0, text.tokens
        while place < len(tokens):
            run: int | None = -1
            best, end = -1, place + 1
            for ahead in range(place, len(tokens)):
                run = step((run, tokens[ahead]))  # type: ignore[arg-type]
                if run is None:
                    break
                if kept is None or run in kept:
                    best, end = run, ahead + 1
            if best >= 0:
                uses[best] += 1
            place = end
    return {run: count * (runs.lengths[run] * LITERAL_BYTES - MATCH_BYTES) for run, count in uses.items()}


def _best(savings: dict[int, float], lengths: Sequence[int], size: int) -> set[int]:
    """The runs that save most for the place they take, until `size` bytes are full."""
    chosen = set()
    for run in sorted(savings, key=lambda run: (-savings[run] / (lengths[run] + 1), run)):
        size -= lengths[run] + 1
        if savings[run] <= 0 or size < 0:
            break
        chosen.add(run)
    return chosen


def _fit(strings: Sequence[bytes], size: int) -> list[bytes]:
    """The last of the strings that fit, in their order, without those that are part of another."""
    kept: list[bytes] = []
    joined = b""
    for string in reversed(strings):
        if string not in joined and len(joined) + len(string) < size:
            kept.append(string)
            joined += b"\0" + string
    whole, seen = set(), b""
    for string in sorted(kept, key=len, reverse=True):
        if string not in seen:
            whole.add(string)
            seen += b"\0" + string
    return [string for string in reversed(kept) if string in whole]


def _samples(texts: Sequence[_Text], runs: _Runs) -> list[bytes]:
    """What segments look like, without the tokens of too few guests."""
    samples = []
    for _, group in groupby(texts, key=lambda text: text.guest):
        while chunk := list(islice(group, SAMPLE_TEXTS)):
            lines = (b"".join(runs.pieces[runs.next[-1, t]] for t in text.tokens if (-1, t) in runs.next) for text in chunk)
            samples.append(b"\0".join(lines))
    return samples[:: len(samples) // SAMPLES + 1]


def _entropy_tables(samples: Sequence[bytes]) -> bytes:
    """The tables of a dictionary trained over samples, or nothing where that is not possible."""
    try:
        import zstandard
    except ImportError:
        return b""
    try:
        trained = zstandard.train_dictionary(65536, list(samples)).as_bytes()
    except zstandard.ZstdError:  # too few or too small samples
        return b""
    tables, end, _ = trained.partition(FIRST_DISTANCES)
    return tables + end if end and tables.startswith(MAGIC) else b""
