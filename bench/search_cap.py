"""What it costs in results that only the newest matches are scored: the first ten beside those of the same score without cap.

A tenant of 500,000 real messages, five kinds of queries (bench/queries.py), 40 of each. The reference is search_messages()
itself with search.candidate_limit at its maximum; where even that many matched, the report says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Tenant, first_day, load_tenant
from bench.irc import read_repeated
from bench.metrics import overlap
from bench.queries import KINDS, Query, make_queries
from bench.store import new_store, open_tenant, settle

LIMIT = "search.candidate_limit"
SEARCH = """
    SELECT message_id::text, is_truncated
    FROM guestcomms.search_messages(%s, since => %s, direction => %s, sort => 'relevant', max_rows => 10)
"""


@dataclass(frozen=True)
class Found:
    """The first ten of a query, whether more matched than were scored, and milliseconds."""

    ids: list[str]
    is_capped: bool
    ms: float


def search_all(connection: Connection, tenant: Tenant, queries: list[Query], settings: Mapping[str, str]) -> list[Found]:
    found = []
    with open_tenant(connection, tenant, settings):
        for query in queries:
            start = time.perf_counter()
            rows = connection.execute(SEARCH, [query.text, query.since, query.direction]).fetchall()
            ms = (time.perf_counter() - start) * 1000
            found.append(Found([id for id, _ in rows], any(is_capped for _, is_capped in rows), ms))
    return found


def limits(connection: Connection) -> tuple[str, str]:
    """The cap in force and the highest there may be."""
    statement = "SELECT value, max_value FROM guestcomms.list_settings() WHERE name = %s"
    value, highest = connection.execute(statement, [LIMIT]).fetchone() or ("", "")
    return value, highest


def add_kind(report: Report, kind: str, capped: list[Found], reference: list[Found]) -> None:
    """Mean overlap of the first ten, and what the cap saves."""
    pairs = list(zip(capped, reference, strict=True))
    share = statistics.mean(overlap(mine.ids, best.ids) for mine, best in pairs)
    # Those that hold exactly what was there are not what the cap is about.
    number = sum(mine.is_capped for mine in capped)
    of_capped = statistics.mean([overlap(mine.ids, best.ids) for mine, best in pairs if mine.is_capped] or [1.0])
    report.add(f"{kind}, overlap of the first ten", 100 * share, "%", "without cap (100 %)", share)
    report.add(f"{kind}, the same of {number} capped of {len(capped)}", 100 * of_capped, "%", "without cap (100 %)", of_capped)
    mine_ms, base_ms = (statistics.median(found.ms for found in run) for run in (capped, reference))
    report.add(f"{kind}, median time", mine_ms, "ms", f"without cap ({base_ms:.1f} ms)", mine_ms / base_ms)


def main() -> None:
    arguments = parse_arguments(__doc__)
    messages = read_repeated(20_000 if arguments.quick else 500_000)
    queries = make_queries(messages[-(5_000 if arguments.quick else 50_000) :], 40)
    with bench_cluster() as cluster, new_store(cluster, first_day(messages)) as connection:
        report = Report("search_cap", "What the cap on scored matches costs in results")
        report.conditions = conditions(connection, rows=f"{len(messages):,}", queries="40 of each kind")
        tenant = load_tenant(connection, "here", messages)
        settle(connection)
        connection.autocommit = True
        cap, highest = limits(connection)
        report.conditions[LIMIT] = f"{int(cap):,}, for the reference {int(highest):,}"
        # The first pass reads pages and plans for both, so that neither is timed cold.
        search_all(connection, tenant, queries, {LIMIT: highest})
        capped = search_all(connection, tenant, queries, {})
        reference = search_all(connection, tenant, queries, {LIMIT: highest})
    for kind in KINDS:
        places = [place for place, query in enumerate(queries) if query.kind == kind]
        add_kind(report, kind, [capped[place] for place in places], [reference[place] for place in places])
    still = sum(found.is_capped for found in reference)
    report.notes.append(f"In the reference {still} of {len(reference)} queries were capped too.")
    report.finish(arguments)


if __name__ == "__main__":
    main()
