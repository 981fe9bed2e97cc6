"""Real text messages for the benchmarks: the NUS SMS corpus, English and Chinese.

Source: kite1988/nus-sms-corpus; Tao Chen and Min-Yen Kan, Creating a Live, Public Short Message Service Corpus: The NUS
SMS Corpus, Language Resources and Evaluation 47 (2013). Most of its messages bear no time, so all are spread in the file's
order over the year that ends yesterday. The senders (hashed) become guests, days threads.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, time, timedelta

from bench.common import data_directory
from bench.corpus import Message

DAYS = 365


def read_messages(language: str = "en", limit: int | None = None) -> list[Message]:
    """The messages of one language (en, zh) in the file's order; limit keeps the last."""
    with gzip.open(data_directory() / "sms" / f"{language}.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t", 2) for line in lines]
    rows = [row for row in rows if row[2].strip()]
    start = datetime.combine(datetime.now(UTC).date() - timedelta(days=DAYS), time(), UTC)
    messages = []
    for place, (sender, _, body) in enumerate(rows):
        sent_at = start + timedelta(days=DAYS) * place / len(rows)
        messages.append(Message(sent_at, sender, (sent_at - start).days, body, language, "sms"))
    return messages[-limit:] if limit else messages
