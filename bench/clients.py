"""How long searches take: one client in this process, or several in processes of their own, as applications are."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from threading import Barrier

from bench.queries import Query

Search = Callable[[Query], object]  # returns what is to be done before the next one and is not timed, if it is something to call
Opener = Callable[[], AbstractContextManager[Search]]
Times = list[tuple[str, float]]  # kind of query, milliseconds
WARM = 10  # searches before any is timed: catalogs and plans are read then
START_SECONDS = 120


def warm_up(search: Search, queries: list[Query]) -> None:
    for query in queries[:WARM]:
        end(search(query))


def end(found: object) -> None:
    if callable(found):
        found()


def time_queries(search: Search, queries: list[Query]) -> Times:
    times = []
    for query in queries:
        start = time.perf_counter()
        found = search(query)
        times.append((query.kind, (time.perf_counter() - start) * 1000))
        end(found)
    return times


def one_client(opener: Opener, queries: list[Query]) -> Times:
    with opener() as search:
        warm_up(search, queries)
        return time_queries(search, queries)


def run_client(opener: Opener, queries: list[Query], start: Barrier) -> Times:
    """One of several: connects, warms up, and waits for the others."""
    with opener() as search:
        warm_up(search, queries)
        start.wait(START_SECONDS)
        return time_queries(search, queries)


def many_clients(opener: Opener, queries: list[Query], clients: int) -> Times:
    """The queries shared out among clients that search at once, each a process that connects by the opener (pickled)."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(clients, context) as pool:
        start = manager.Barrier(clients)
        runs = [pool.submit(run_client, opener, queries[number::clients], start) for number in range(clients)]
        return [timed for run in runs for timed in run.result()]


def percentiles(times: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99.

    >>> percentiles(range(101))
    {'p50': 50.0, 'p95': 95.0, 'p99': 99.0}
    """
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"p{at}": cuts[at - 1] for at in (50, 95, 99)}
