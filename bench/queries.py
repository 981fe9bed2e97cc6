"""What people type into a search box, made out of the messages they search: five kinds, the same for the same messages.

What a query needs (a rare word, a question, a phrase) is taken from the newest messages, so that it is in small and large
tenants alike.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.corpus import Message

RARE, COMMON, TWO_COMMON, QUESTION, PHRASE = KINDS = (
    "rare word",
    "common word",
    "two common words",
    "long question",
    "phrase with filters",
)
DAYS = 60  # the filter of PHRASE


@dataclass(frozen=True)
class Query:
    """text in the syntax of websearch_to_tsquery; since and direction are filters, None where there is none."""

    kind: str
    text: str
    since: datetime | None = None
    direction: str | None = None


def words_of(text: str) -> set[str]:
    """Words of at least four letters.

    >>> sorted(words_of("The sound card's fine, SOUND it is"))
    ['card', 'fine', 'sound']
    """
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def is_question(text: str) -> bool:
    """Whether a message is a question of 8 to 15 words.

    >>> is_question("how do I make the sound card work?"), is_question("why?")
    (True, False)
    """
    return text.rstrip().endswith("?") and 8 <= len(text.split()) <= 15


def neighbours(text: str) -> list[str]:
    """Pairs of words with nothing but a space between them, from the left, none of them in two.

    >>> neighbours("my sound card, too")
    ['my sound']
    """
    return re.findall(r"\b[a-z]{2,} [a-z]{2,}\b", text.lower())


def make_queries(messages: list[Message], count: int, seed: int = 1) -> list[Query]:
    """So many queries of each kind, by kind."""
    chooser = random.Random(seed)
    frequencies = Counter(word for message in messages for word in words_of(message.body))
    rare = sorted(word for word, number in frequencies.items() if 2 <= number <= 20)
    common = [word for word, _ in sorted(frequencies.items(), key=lambda item: (-item[1], item[0]))[:50]]
    questions = sorted({message.body for message in messages if is_question(message.body)})
    since = datetime.now(UTC) - timedelta(days=DAYS)
    phrases = sorted(
        {pair for m in messages if m.direction == "inbound" and m.sent_at >= since for pair in neighbours(m.body)[:1]}
    )
    return [
        *(Query(RARE, word) for word in chooser.sample(rare, count)),
        *(Query(COMMON, word) for word in chooser.choices(common, k=count)),
        *(Query(TWO_COMMON, " ".join(chooser.sample(common, 2))) for _ in range(count)),
        *(Query(QUESTION, question) for question in chooser.sample(questions, count)),
        *(Query(PHRASE, f'"{phrase}"', since, "inbound") for phrase in chooser.sample(phrases, count)),
    ]
