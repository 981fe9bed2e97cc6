"""Saved searches: 10,000 of them and 10,000 new messages, and how the time grows with each.

Four kinds, as many of each: a word, two words, a phrase, a word with a filter, all out of the tenant's own messages, seldom
enough to be worth watching. Half of the searches share nothing with what arrives (words that no message holds), so that what
they cost is seen apart. Beside it in the same run: each saved search executed by itself over the new messages, by hand, as a
prepared statement (websearch_to_tsquery over the identifiers), for a sample of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Message, Tenant, add_tenant, copy_into_messages, first_day, with_ids
from bench.irc import read_repeated
from bench.store import new_store, open_tenant, settle

WORDS = """
    SELECT term FROM guestcomms.vocabulary
    WHERE tenant_id = %s AND is_phrase = %s AND message_count BETWEEN %s AND %s ORDER BY term
"""
BY_HAND = """
    SELECT count(*) FROM guestcomms.messages AS m
    WHERE m.tenant_id = %s AND m.sent_at >= %s AND m.search @@ websearch_to_tsquery('guestcomms.search_en', %s)
"""


@dataclass(frozen=True)
class Scale:
    history: int
    searches: int
    messages: int


def make_searches(connection: Connection, tenant: Tenant, count: int) -> list[str]:
    chooser = random.Random(1)
    words = [row[0] for row in connection.execute(WORDS, [tenant.tenant_id, False, 2, 300])]
    phrases = [row[0] for row in connection.execute(WORDS, [tenant.tenant_id, True, 2, 300])]
    kinds: list[Callable[[], str]] = [
        lambda: chooser.choice(words),
        lambda: " ".join(chooser.sample(words, 2)),
        lambda: f'"{chooser.choice(phrases)}"',
        lambda: f"{chooser.choice(words)} channel:chat",
    ]
    return [kinds[number % len(kinds)]() for number in range(count)]


def save(connection: Connection, tenant: Tenant, queries: list[str], prefix: str) -> float:
    start = time.perf_counter()
    with open_tenant(connection, tenant, {"alerts.max_saved_searches": "100000"}):
        for number, query in enumerate(queries):
            connection.execute("SELECT guestcomms.save_search(%s, %s)", [f"{prefix} {number}", query])
    seconds = time.perf_counter() - start
    connection.execute("ANALYZE")  # as autovacuum, which is off, would have
    connection.commit()
    return seconds


def match(connection: Connection, tenant: Tenant, messages: list[Message]) -> tuple[float, int]:
    """Seconds to match these new messages, and alerts raised."""
    # The same texts may come again: no external identifiers.
    rows = [(*row[:10], None, *row[11:]) for row in with_ids(connection, tenant, messages)]
    copy_into_messages(connection, tenant, rows)
    connection.commit()
    connection.autocommit = True
    while connection.execute("SELECT guestcomms.refresh_term_statistics()").fetchone() != (0,):
        pass
    before = alerts(connection)
    start = time.perf_counter()
    while connection.execute("SELECT guestcomms.match_saved_searches()").fetchone() != (0,):
        pass
    seconds = time.perf_counter() - start
    connection.autocommit = False
    return seconds, alerts(connection) - before


def alerts(connection: Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM guestcomms.search_alerts").fetchone() or (0,)
    return int(count)


def by_hand(connection: Connection, tenant: Tenant, queries: list[str], since: object) -> float:
    """Seconds that all saved searches would take one by one, from a sample."""
    sample = random.Random(2).sample(queries, min(200, len(queries)))
    start = time.perf_counter()
    for query in sample:
        connection.execute(BY_HAND, [tenant.tenant_id, since, query.removesuffix(" channel:chat")], prepare=True).fetchall()
    connection.commit()
    return (time.perf_counter() - start) * len(queries) / len(sample)


def main() -> None:
    arguments = parse_arguments(__doc__)
    scale = Scale(5_000, 400, 400) if arguments.quick else Scale(100_000, 10_000, 10_000)
    needed = scale.history + 2 * scale.messages + 2 * (scale.messages // 10)
    messages = read_repeated(needed)
    report = Report("alerts", "Saved searches")
    with bench_cluster() as cluster, new_store(cluster, first_day(messages)) as connection:
        tenant = add_tenant(connection, "here", messages)
        report.conditions = conditions(connection, rows=f"{scale.history:,} messages before", fsync="off")
        copy_into_messages(connection, tenant, with_ids(connection, tenant, messages[: scale.history]))
        settle(connection)
        queries = make_searches(connection, tenant, scale.searches)
        absent = [f"qx{number}zz channel:chat" for number in range(scale.searches)]
        few, rest = messages[scale.history :][: scale.messages // 10], messages[scale.history + scale.messages // 10 :]
        match(connection, tenant, few)
        tenth = scale.searches // 10
        save(connection, tenant, queries[:tenth], "first")
        one, one_alerts = match(connection, tenant, rest[: scale.messages])
        saved = save(connection, tenant, queries[tenth:], "more")
        small, small_alerts = match(connection, tenant, rest[scale.messages : scale.messages + scale.messages // 10])
        all_seconds, all_alerts = match(connection, tenant, rest[scale.messages + scale.messages // 10 :][: scale.messages])
        last = rest[scale.messages + scale.messages // 10].sent_at
        hand = by_hand(connection, tenant, queries, last)
        save(connection, tenant, absent, "absent")
        doubled, doubled_alerts = match(connection, tenant, rest[: scale.messages])
        name = f"{scale.searches:,} searches, {scale.messages:,} new messages"
        report.add(name, all_seconds, "s", f"each search by hand ({hand:.1f} s)", all_seconds / hand)
        report.add(f"{name}: a message", 1000 * all_seconds / scale.messages, "ms", "itself", 1)
        report.add(
            f"{name}: alerts", all_alerts, "alerts", f"with {tenth:,} searches ({one_alerts:,})", all_alerts / max(one_alerts, 1)
        )
        report.add(
            name, all_seconds, "s", f"{tenth:,} searches ({one:.2f} s)", all_seconds / one, "ratio at most that of the alerts"
        )
        report.add(
            name,
            all_seconds,
            "s",
            f"{scale.messages // 10:,} new messages ({small:.2f} s; {small_alerts:,} alerts)",
            all_seconds / small,
        )
        report.add(
            f"{2 * scale.searches:,} searches, half of which share nothing with the messages",
            *(doubled, "s", f"without that half ({all_seconds:.2f} s; {doubled_alerts:,} alerts)", doubled / all_seconds),
        )
        report.add("save_search()", 1000 * saved / (scale.searches - tenth), "ms", "itself", 1)
    report.finish(arguments)


if __name__ == "__main__":
    main()
