"""How long it takes to read from the archive, to search in it, and to move one guest's messages into it."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial

import psycopg

from bench.clients import Times, one_client, percentiles
from bench.common import Connection, Report
from bench.corpus import Message, Tenant
from bench.queries import COMMON, QUESTION, RARE, TWO_COMMON, Query, is_question, words_of
from bench.searchers import ours
from bench.store import APPLICATION, DATABASE, application
from tools.cluster import Cluster

KINDS = (RARE, COMMON, TWO_COMMON, QUESTION)
WARM = 10
FOUND = "SELECT message_id, is_archived, is_truncated FROM guestcomms.search_messages(%s)"
HOT_MESSAGE = """
    SELECT m.*, (SELECT jsonb_agg(to_jsonb(e)) FROM guestcomms.message_events AS e
        WHERE e.tenant_id = m.tenant_id AND e.message_id = m.message_id)
    FROM guestcomms.messages AS m WHERE m.tenant_id = %(tenant)s AND m.message_id = %(id)s
        AND m.sent_at >= guestcomms.uuid_v7_time(%(id)s)
        AND m.sent_at < guestcomms.uuid_v7_time(%(id)s) + interval '1 millisecond'
"""
ARCHIVED_MESSAGE = "SELECT * FROM guestcomms.read_archived(%(id)s)"


def timed(connection: Connection, statement: str, parameters: list[dict[str, object]]) -> list[float]:
    """Milliseconds of each, after some that do not count."""
    times = []
    for number, values in enumerate(parameters[:WARM] + parameters):
        start = time.perf_counter()
        found = connection.execute(statement.encode(), values, prepare=True).fetchall()
        if number >= WARM:
            times.append(1000 * (time.perf_counter() - start))
        assert len(found) == 1, values
    return times


def read_times(cluster: Cluster, tenant: Tenant, ids: list[str], is_archived: bool) -> list[float]:
    """Of single messages: archived ones as an application reads them, hot ones as a superuser, by key."""
    parameters: list[dict[str, object]] = [{"tenant": tenant.tenant_id, "id": message_id} for message_id in ids]
    if is_archived:
        with application(cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id) as connection:
            return timed(connection, ARCHIVED_MESSAGE, parameters)
    with psycopg.connect(cluster.dsn(DATABASE), autocommit=True) as connection:
        return timed(connection, HOT_MESSAGE, parameters)


def run_times(cluster: Cluster, tenant: Tenant, runs: int) -> list[tuple[bool, float]]:
    """Of runs of 20 messages, each a transaction: whether these were of one guest, who got one segment, and milliseconds."""
    times = []
    with psycopg.connect(cluster.dsn(DATABASE), autocommit=True) as connection:
        connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant.tenant_id])
        for number in range(WARM + runs):
            start = time.perf_counter()
            (segments,) = connection.execute("SELECT segment_count FROM guestcomms.run_archive(20)").fetchone() or (0,)
            if number >= WARM and segments > 0:
                times.append((segments == 1, 1000 * (time.perf_counter() - start)))
    return times


def archived_queries(messages: list[Message], count: int) -> list[Query]:
    """So many of each kind, of words of messages that will be archived."""
    chooser = random.Random(1)
    frequencies = Counter(word for message in messages for word in words_of(message.body))
    rare = sorted(word for word, number in frequencies.items() if 2 <= number <= 20)
    common = [word for word, _ in sorted(frequencies.items(), key=lambda item: (-item[1], item[0]))[:50]]
    questions = sorted({message.body for message in messages if is_question(message.body)})
    return [
        *(Query(RARE, word) for word in chooser.sample(rare, count)),
        *(Query(COMMON, word) for word in chooser.choices(common, k=count)),
        *(Query(TWO_COMMON, " ".join(chooser.sample(common, 2))) for _ in range(count)),
        *(Query(QUESTION, question) for question in chooser.choices(questions, k=count)),
    ]


def search_times(cluster: Cluster, tenant: Tenant, queries: list[Query]) -> Times:
    shuffled = random.Random(1).sample(queries, len(queries))
    return one_client(partial(ours, cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id), shuffled)


def rare_results(cluster: Cluster, tenant: Tenant, queries: list[Query]) -> list[tuple[set[str], bool, bool]]:
    """For every rare word: which messages, whether any of them is archived, whether there may be others."""
    results = []
    with application(cluster.dsn(DATABASE, APPLICATION), tenant.tenant_id) as connection:
        for query in queries:
            if query.kind == RARE:
                rows = connection.execute(FOUND, [query.text]).fetchall()
                results.append(({str(row[0]) for row in rows}, any(row[1] for row in rows), any(row[2] for row in rows)))
    return results


def add_reads(report: Report, name: str, archived: list[float], hot: list[float]) -> None:
    mine, base = percentiles(archived), percentiles(hot)
    for at in ("p50", "p95"):
        baseline = f"hot, by key, as superuser ({base[at]:.2f} ms)"
        report.add(f"{name}: read_archived(), {at}", mine[at], "ms", baseline, mine[at] / base[at])


def add_runs(report: Report, name: str, times: list[tuple[bool, float]]) -> None:
    """Nothing of a kind that hardly any run was of."""
    for is_one, guests, goal in ((True, "one guest", "at most 45 ms"), (False, "several guests", "")):
        found = [ms for is_single, ms in times if is_single == is_one]
        if len(found) > 1:
            for at in ("p50", "p95"):
                report.add(
                    f"{name}: run_archive(20), {guests}, {len(found)} runs, {at}", percentiles(found)[at], "ms", "itself", 1, goal
                )


def add_searches(report: Report, name: str, archived: Times, hot: Times) -> None:
    for kind in (None, *KINDS):
        mine, base = (percentiles(ms for found, ms in times if kind in (None, found)) for times in (archived, hot))
        for at in ("p50", "p95"):
            title = f"{name}: search, {kind or 'all kinds'}, {at}"
            report.add(title, mine[at], "ms", f"while all was hot ({base[at]:.1f} ms)", mine[at] / base[at])


def add_same_results(
    report: Report, name: str, after: list[tuple[set[str], bool, bool]], before: list[tuple[set[str], bool, bool]]
) -> None:
    whole = [(mine[0], base[0]) for mine, base in zip(after, before, strict=True) if not mine[2]]
    same = sum(mine == base for mine, base in whole) / max(len(whole), 1)
    archived = sum(mine[1] for mine in after)
    title = f"{name}: rare words that find the same ({archived} of {len(after)} in the archive, {len(whole)} not cut off)"
    report.add(title, 100 * same, "%", "while all was hot", same, "100 %")
