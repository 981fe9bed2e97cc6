"""Suggestions at every keystroke in a tenant of 500,000 real messages, and how they are kept.

Queries out of the tenant's own messages (two to four words that follow each other, bench/queries.py's rarest left in) are
typed letter by letter; every keystroke is one call in a transaction of its own. Beside it in the same run: what one would
write by hand, the most frequent words with that beginning out of a table of words and counts (ts_stat over the messages) with
a text_pattern_ops index, which knows no phrases, names, guests' number or recency. Keeping: refresh_term_statistics() after
the last messages, which also keeps what search ranks by, per message.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import psycopg

from bench.clients import percentiles
from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Message, Tenant, add_tenant, copy_into_messages, first_day, with_ids
from bench.irc import read_repeated
from bench.store import APPLICATION, DATABASE, admit_application, application, new_store, settle
from tools.cluster import Cluster

Suggest = Callable[[str], object]
OURS = "SELECT suggestion, kind FROM guestcomms.suggest_terms(%s)"
PLAIN = "SELECT word FROM plain_words WHERE word LIKE %s ORDER BY ndoc DESC LIMIT 10"
SIZES = """
    SELECT sum(pg_total_relation_size(t)) FROM unnest(ARRAY['guestcomms.vocabulary', 'guestcomms.spelling_words',
        'guestcomms.suggestion_prefixes', 'guestcomms.name_statistics']::regclass[]) AS t
"""
MESSAGES = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('guestcomms.messages')"
BATCH = 50_000


def choose_queries(messages: list[Message], count: int) -> list[str]:
    chooser = random.Random(1)
    queries: list[str] = []
    while len(queries) < count:
        words = re.findall(r"[a-z]{2,}", chooser.choice(messages).body.lower())
        length = chooser.randint(2, 4)
        if len(words) >= length:
            start = chooser.randint(0, len(words) - length)
            queries.append(" ".join(words[start : start + length]))
    return queries


def keystrokes(query: str) -> list[str]:
    """What stands in the box after each letter.

    >>> keystrokes("a bc")
    ['a', 'a ', 'a b', 'a bc']
    """
    return [query[:length] for length in range(1, len(query) + 1)]


def time_typing(suggest: Suggest, queries: list[str]) -> dict[str, list[float]]:
    """Milliseconds of each keystroke, by how many letters the last word has."""
    for query in queries[:5]:
        for typed in keystrokes(query):
            suggest(typed)
    times: dict[str, list[float]] = {"1 to 3": [], "4 and more": [], "after a blank": []}
    for query in queries:
        for typed in keystrokes(query):
            start = time.perf_counter()
            suggest(typed)
            letters = len(typed.rsplit(" ", 1)[-1])
            kind = "after a blank" if letters == 0 else "1 to 3" if letters <= 3 else "4 and more"
            times[kind].append((time.perf_counter() - start) * 1000)
    return times


@contextmanager
def ours(cluster: Cluster, tenant: Tenant) -> Iterator[Suggest]:
    with application(cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id) as connection:
        yield lambda typed: connection.execute(OURS, [typed], prepare=True).fetchall()


@contextmanager
def plain(cluster: Cluster) -> Iterator[Suggest]:
    with psycopg.connect(cluster.dsn(DATABASE), autocommit=True) as connection:
        yield lambda typed: connection.execute(PLAIN, [typed.rsplit(" ", 1)[-1] + "%"], prepare=True).fetchall()


def make_plain(connection: Connection, tenant: Tenant) -> None:
    connection.execute(
        "CREATE TABLE plain_words AS SELECT word, ndoc FROM ts_stat(format("
        "'SELECT to_tsvector(''simple'', body) FROM guestcomms.messages WHERE tenant_id = %%L', %s::text))",
        [tenant.tenant_id],
    )
    connection.execute("CREATE INDEX ON plain_words (word text_pattern_ops)")


def load(connection: Connection, tenant: Tenant, messages: list[Message]) -> None:
    for start in range(0, len(messages), BATCH):
        copy_into_messages(connection, tenant, with_ids(connection, tenant, messages[start : start + BATCH]))
        connection.commit()


def time_refresh(connection: Connection) -> float:
    connection.autocommit = True
    start = time.perf_counter()
    while connection.execute("SELECT guestcomms.refresh_term_statistics()").fetchone() != (0,):
        pass
    seconds = time.perf_counter() - start
    connection.autocommit = False
    return seconds


def main() -> None:
    arguments = parse_arguments(__doc__)
    count, last, typed = (20_000, 1_000, 20) if arguments.quick else (500_000, 20_000, 200)
    messages = read_repeated(count)
    queries = choose_queries(messages, typed)
    report = Report("suggestions", "Suggestions at every keystroke")
    with bench_cluster() as cluster, new_store(cluster, first_day(messages)) as connection:
        tenant = add_tenant(connection, "here", messages)
        admit_application(connection, tenant)
        report.conditions = conditions(
            connection, rows=f"{count:,} messages of the tenant", queries=f"{typed} typed", fsync="off"
        )
        load(connection, tenant, messages[:-last])
        counted = time_refresh(connection)
        load(connection, tenant, messages[-last:])
        followed = time_refresh(connection)
        settle(connection)
        make_plain(connection, tenant)
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE plain_words")
        with ours(cluster, tenant) as suggest:
            mine = time_typing(suggest, queries)
        with plain(cluster) as suggest:
            base = time_typing(suggest, queries)
        mine["all"], base["all"] = (list(chain.from_iterable(times.values())) for times in (mine, base))
        for kind in ("all", *(kind for kind in mine if kind != "all")):
            cuts, plain_cuts = percentiles(mine[kind]), percentiles(base[kind])
            for at in ("p50", "p95", "p99"):
                goal = "below 10 ms" if (kind, at) == ("all", "p95") else ""
                name = f"LIKE on counted words ({plain_cuts[at]:.2f} ms)"
                letters = "" if kind == "all" else f", {kind} letters" if kind != "after a blank" else f", {kind}"
                report.add(f"one keystroke{letters}, {at}", cuts[at], "ms", name, cuts[at] / plain_cuts[at], goal)
        per_message = 1e6 * followed / last
        report.add(
            f"statistics and vocabulary, {last:,} new messages",
            per_message,
            "µs/message",
            "counting all",
            per_message / (1e6 * counted / (count - last)),
        )
        (size,), (all_messages,) = (connection.execute(query).fetchone() or (0,) for query in (SIZES, MESSAGES))
        report.add("vocabulary with its indexes", int(size) / 2**20, "MiB", "messages with theirs", int(size) / int(all_messages))
    report.finish(arguments)


if __name__ == "__main__":
    main()
