"""How good the ranking is: nDCG@10 and recall@100 on judged collections, beside engines and plain PostgreSQL in the same run.

Each collection (MED, CISI, ADI) is a tenant; a document's title is the subject, its text the body; documents are spread evenly
over the last 30 days in the file's order; queries are put verbatim. Even-numbered queries are for tuning, odd-numbered ones
for what is reported (--half). Plain PostgreSQL is what one would write by hand: to_tsvector('english') of title and text,
websearch_to_tsquery (every word) or its words joined by OR, ts_rank that divides by the logarithm of the length.

To tune: python3 -m bench.relevance --half tune --set search.recency_half_life='1 year'; or, without loading anew for every
trial, evaluate() within loaded().
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg

from bench.common import Connection, Report, argument_parser, bench_cluster, conditions
from bench.corpus import Message, Tenant, load_tenant
from bench.engines import absence_note, load_engines
from bench.metrics import ndcg, recall
from bench.smart import HALVES, NAMES, Collection, in_half, read_collection
from bench.store import new_store, open_tenant, settle

DAYS = 30
DEPTH = 100
METHODS = {
    "default": "SELECT message_id::text FROM guestcomms.search_messages(%s, max_rows => 100)",
    "expanded": "SELECT message_id::text FROM guestcomms.search_messages(%s, max_rows => 100, is_expanded => true)",
}
DOCUMENTS = "SELECT m.message_id::text FROM guestcomms.messages AS m WHERE m.tenant_id = %s ORDER BY m.sent_at"
PLAIN_TABLE = """
    CREATE TABLE plain_documents AS
    SELECT m.tenant_id, m.message_id, to_tsvector('english', concat_ws(' ', m.subject, m.body)) AS search
    FROM guestcomms.messages AS m
"""
PLAIN = """
    SELECT d.message_id::text FROM plain_documents AS d, {query} AS q (query)
    WHERE d.tenant_id = %s AND d.search @@ q.query ORDER BY ts_rank(d.search, q.query, 1) DESC, d.message_id LIMIT 100
"""
PLAIN_METHODS = {
    "ts_rank, every word": PLAIN.format(query="websearch_to_tsquery('english', %s)"),
    "ts_rank, any word": PLAIN.format(query="CAST(replace(plainto_tsquery('english', %s)::text, '&', '|') AS tsquery)"),
}
Search = Callable[[str], list[int]]


@dataclass(frozen=True)
class Loaded:
    """A collection, the tenant that holds it, and which document became which message."""

    collection: Collection
    tenant: Tenant
    numbers: dict[str, int]


@dataclass(frozen=True)
class Scores:
    """Means over the queries: nDCG@10, recall@100, milliseconds of a query."""

    ndcg: float
    recall: float
    ms: float


def score(search: Search, collection: Collection, half: str) -> Scores:
    gains, shares, times = [], [], []
    for number, query in collection.queries.items():
        if in_half(number, half):
            start = time.perf_counter()
            found = search(query)
            times.append((time.perf_counter() - start) * 1000)
            gains.append(ndcg(found, collection.relevant[number]))
            shares.append(recall(found, collection.relevant[number], DEPTH))
    return Scores(statistics.mean(gains), statistics.mean(shares), statistics.mean(times))


def search_with(connection: Connection, loaded: Loaded, statement: str, *more: str) -> Search:
    """A statement that returns identifiers of messages, as a search that returns numbers of documents."""

    def search(query: str) -> list[int]:
        return [loaded.numbers[id] for (id,) in connection.execute(statement, [query, *more]).fetchall()]

    return search


def evaluate(connection: Connection, loaded: Loaded, half: str, settings: Mapping[str, str]) -> dict[str, Scores]:
    """search_messages() by default and expanded, where this version can, under these settings of the tenant."""
    found = {}
    with open_tenant(connection, loaded.tenant, settings):
        for name, statement in METHODS.items():
            try:
                found[name] = score(search_with(connection, loaded, statement), loaded.collection, half)
            except psycopg.errors.FeatureNotSupported:
                continue
    return found


def evaluate_plain(connection: Connection, loaded: Loaded, half: str) -> dict[str, Scores]:
    return {
        name: score(search_with(connection, loaded, statement, loaded.tenant.tenant_id), loaded.collection, half)
        for name, statement in PLAIN_METHODS.items()
    }


def evaluate_engines(collection: Collection, half: str) -> dict[str, Scores]:
    found = {}
    for name, engine in load_engines().items():
        engine.index([(document.number, document.title, document.text) for document in collection.documents])
        found[name] = score(partial(engine.search, k=DEPTH), collection, half)
    return found


def as_messages(collection: Collection) -> list[Message]:
    start = datetime.now(UTC) - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / len(collection.documents)
    return [
        Message(start + place * step, collection.name, 0, document.text, channel="email", subject=document.title or None)
        for place, document in enumerate(collection.documents)
    ]


@contextmanager
def loaded(names: tuple[str, ...] = NAMES) -> Iterator[tuple[Connection, list[Loaded]]]:
    """A cluster with the collections, each a tenant; the connection is a superuser's, every statement a transaction."""
    with bench_cluster() as cluster, new_store(cluster, datetime.now(UTC).date() - timedelta(days=DAYS)) as connection:
        found = []
        for name in names:
            collection = read_collection(name)
            tenant = load_tenant(connection, name, as_messages(collection))
            ids = connection.execute(DOCUMENTS, [tenant.tenant_id]).fetchall()
            pairs = zip(ids, collection.documents, strict=True)
            found.append(Loaded(collection, tenant, {id: document.number for (id,), document in pairs}))
        connection.execute(PLAIN_TABLE)
        settle(connection)
        connection.autocommit = True
        yield connection, found


def goal(name: str, method: str, measure: str, better: float) -> str:
    if measure != "nDCG@10":
        return ""
    if method == "expanded":
        return "at least .75" if name == "med" else ""
    return f"at least {better - 0.01:.3f}" if name == "cisi" else f"at least {better:.3f}"


def add_rows(report: Report, name: str, ours: dict[str, Scores], plain: dict[str, Scores], engines: dict[str, Scores]) -> None:
    for measure, field in (("nDCG@10", "ndcg"), (f"recall@{DEPTH}", "recall")):
        of_engines = {engine: getattr(scores, field) for engine, scores in engines.items()}
        for method, scores in ours.items():
            title, value = f"{name.upper()} {measure}, {method}", getattr(scores, field)
            if of_engines:
                better = max(of_engines.values())
                named = " and ".join(f"{engine} ({share:.3f})" for engine, share in of_engines.items())
                baseline = f"better of {named}" if len(of_engines) > 1 else named
                report.add(title, value, "", baseline, value / better, goal(name, method, measure, better))
            for baseline, other in plain.items():
                share = getattr(other, field)
                report.add(title, value, "", f"{baseline} ({share:.3f})", value / share if share else float("inf"))
    times = ", ".join(f"{method} {scores.ms:.2f}" for method, scores in (ours | plain | engines).items())
    report.notes.append(f"{name.upper()}, mean milliseconds of a query: {times}.")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--half", choices=HALVES, default="report", help="odd-numbered queries (report), even ones (tune), or all"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every tenant, repeatable")
    arguments = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in arguments.set)
    with loaded(("adi", "med") if arguments.quick else NAMES) as (connection, collections):
        report = Report("relevance", f"Relevance on judged collections ({arguments.half} half of the queries)")
        report.conditions = conditions(connection, **settings)
        for each in collections:
            ours = evaluate(connection, each, arguments.half, settings)
            plain = evaluate_plain(connection, each, arguments.half)
            add_rows(report, each.collection.name, ours, plain, evaluate_engines(each.collection, arguments.half))
            count = sum(in_half(number, arguments.half) for number in each.collection.queries)
            report.conditions[each.collection.name.upper()] = f"{len(each.collection.documents):,} documents, {count} queries"
    if "expanded" not in ours:
        report.notes.append("Expanded search: not available in this version.")
    report.notes += [note for note in [absence_note()] if note]
    report.finish(arguments)


if __name__ == "__main__":
    main()
