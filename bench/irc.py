"""Real conversation for the benchmarks: public IRC help channels. Channels are tenants, senders guests, days threads.

Source: jkkummerfeld/irc-disentanglement, CC BY 4.0. The file's days, which lie years apart, become consecutive days that
end yesterday, so that the messages fill the last months' partitions.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import datetime, timedelta

from bench.common import data_directory
from bench.corpus import Message, end_today, repeat

CHANNELS = ("ubuntu", "channel-two")


def read_messages(limit: int | None = None, channel: str = CHANNELS[0]) -> list[Message]:
    """One channel, oldest first; limit keeps the newest."""
    path = data_directory() / "irc" / "messages.tsv.gz"
    found: list[tuple[datetime, str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            name, sent_at, sender, body = line.rstrip("\n").split("\t", 3)
            if name == channel:
                found.append((datetime.fromisoformat(sent_at), sender, body))
    found.sort(key=lambda row: row[0])
    days = end_today(row[0].date() for row in found)
    messages = []
    for place, (spoken_at, sender, body) in enumerate(found):
        number, day = days[spoken_at.date()]
        moved = datetime.combine(day, spoken_at.timetz())
        messages.append(Message(moved + timedelta(milliseconds=place % 60_000), sender, number, body))
    return messages[-limit:] if limit else messages


def read_repeated(count: int) -> list[Message]:
    """The newest so many of the first channel, after as many repetitions as that takes; every third sender's are outbound."""
    base = read_messages(count)
    outbound = set(sorted({message.sender for message in base})[::3])
    base = [replace(message, direction="outbound") if message.sender in outbound else message for message in base]
    return repeat(base, -(-count // len(base)))[-count:]
