"""Spelling: mistyped words and the words that were meant, beside symspellpy and plain pg_trgm over the same vocabulary.

The vocabulary is symspellpy's English dictionary with its frequencies, as the vocabulary of one tenant among others. Two
collections: Norvig's first test set, all of it, and codespell's list: the half of its lines (every second) that the weights
of correction_score() were not fitted on, of those one sample that all take. A word that is itself in the vocabulary is never
proposed for itself, whoever proposes. top-1 and top-5: share of the words whose meant word is first, or among the first five.

correct_query() corrects by itself only what is long enough for so many edits: for it the shares of words that become the one
meant, another, or stay.
"""

from __future__ import annotations

import importlib.resources
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from bench.clients import percentiles
from bench.common import Connection, Report, bench_cluster, conditions, data_directory, parse_arguments
from bench.corpus import add_tenant
from bench.engines import is_available
from bench.irc import read_messages
from bench.store import APPLICATION, DATABASE, admit_application, application, new_store
from tools.cluster import Cluster

Vocabulary = dict[str, int]
Propose = Callable[[str], list[str]]
SAMPLE = 3_000
# What the job writes for words of messages; the dictionary has no messages.
LOAD = """
    INSERT INTO guestcomms.vocabulary (tenant_id, term, written, written_count, is_phrase, message_count, weight, guests)
    SELECT %(tenant)s, w.word, w.word, w.frequency, false, w.frequency, w.frequency, ARRAY(SELECT generate_series(1, 20))
    FROM unnest(%(words)s::text[], %(frequencies)s::bigint[]) AS w (word, frequency)
"""
LOAD_SPELLING = """
    INSERT INTO guestcomms.spelling_words (tenant_id, word)
    SELECT v.tenant_id, v.term FROM guestcomms.vocabulary AS v
    WHERE v.tenant_id = %(tenant)s AND guestcomms_internal.is_spellable(v.term)
"""
OURS = "SELECT correction FROM guestcomms.suggest_corrections(%s)"
TRIGRAMS = """
    SELECT word FROM plain_words WHERE word %% %s AND word <> %s ORDER BY similarity(word, %s) DESC, frequency DESC LIMIT 5
"""


@dataclass(frozen=True)
class Pair:
    """A mistyped word and the words it may stand for."""

    wrong: str
    right: frozenset[str]


@dataclass(frozen=True)
class Measured:
    """Shares in per cent, times in milliseconds."""

    top_1: float
    top_5: float
    median: float
    p95: float


def read_dictionary() -> Vocabulary:
    text = importlib.resources.files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt").read_text("utf-8-sig")
    return {word: int(frequency) for word, frequency in (line.split() for line in text.splitlines()) if len(word) <= 30}


def read_norvig() -> list[Pair]:
    lines = (data_directory() / "spell" / "norvig-testset1.tsv").read_text("utf-8").splitlines()[1:]
    return [Pair(wrong.lower(), frozenset([right.lower()])) for wrong, right in (line.split("\t") for line in lines)]


def read_codespell(vocabulary: Vocabulary) -> list[Pair]:
    """The lines that nothing was fitted on, whose meant word the vocabulary has and whose mistyped one it has not."""
    lines = (data_directory() / "spell" / "codespell-even-lines.txt").read_text("utf-8").splitlines()[1::2]
    pairs = []
    for line in lines:
        wrong, _, rest = line.partition("->")
        right = frozenset(word.strip() for word in rest.split(",") if word.strip() in vocabulary)
        if right and wrong.isascii() and wrong.isalpha() and wrong.islower() and wrong not in vocabulary:
            pairs.append(Pair(wrong, right))
    return pairs


def load(connection: Connection, tenant_id: str, vocabulary: Vocabulary) -> None:
    values = {"tenant": tenant_id, "words": list(vocabulary), "frequencies": list(vocabulary.values())}
    connection.execute(LOAD, values)
    connection.execute(LOAD_SPELLING, values)


def load_plain(connection: Connection, vocabulary: Vocabulary) -> None:
    connection.execute("CREATE TABLE plain_words (word text PRIMARY KEY, frequency bigint NOT NULL)")
    connection.execute(
        "INSERT INTO plain_words SELECT * FROM unnest(%s::text[], %s::bigint[])", [list(vocabulary), list(vocabulary.values())]
    )
    connection.execute("CREATE INDEX ON plain_words USING gin (word gin_trgm_ops)")


@contextmanager
def ours(cluster: Cluster, tenant_id: str) -> Iterator[Propose]:
    with application(cluster.dsn(DATABASE, APPLICATION), tenant_id) as connection:
        yield lambda word: [row[0] for row in connection.execute(OURS, [word], prepare=True)]


@contextmanager
def trigrams(cluster: Cluster) -> Iterator[Propose]:
    with psycopg.connect(cluster.dsn(DATABASE), autocommit=True) as connection:
        yield lambda word: [row[0] for row in connection.execute(TRIGRAMS, [word, word, word], prepare=True)]


def symspell(vocabulary: Vocabulary) -> Propose:
    from symspellpy import SymSpell, Verbosity

    speller = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    for word, frequency in vocabulary.items():
        speller.create_dictionary_entry(word, frequency)
    return lambda word: [found.term for found in speller.lookup(word, Verbosity.ALL) if found.term != word]


def measure(propose: Propose, pairs: list[Pair]) -> Measured:
    for pair in pairs[:20]:
        propose(pair.wrong)
    times, first, among = [], 0, 0
    for pair in pairs:
        start = time.perf_counter()
        found = propose(pair.wrong)[:5]
        times.append((time.perf_counter() - start) * 1000)
        first += bool(pair.right & set(found[:1]))
        among += bool(pair.right & set(found))
    cuts = percentiles(times)
    return Measured(100 * first / len(pairs), 100 * among / len(pairs), cuts["p50"], cuts["p95"])


def add_collection(report: Report, name: str, run: Measured, base: Measured, other: str, goals: dict[str, str]) -> None:
    for measure_name, mine, theirs, unit in (
        ("top-1", run.top_1, base.top_1, "%"),
        ("top-5", run.top_5, base.top_5, "%"),
        ("median", run.median, base.median, "ms"),
        ("p95", run.p95, base.p95, "ms"),
    ):
        report.add(
            f"{name}: {measure_name}", mine, unit, f"{other} ({theirs:.2f} {unit})", mine / theirs, goals.get(measure_name, "")
        )


def add_corrections(report: Report, cluster: Cluster, tenant_id: str, name: str, pairs: list[Pair]) -> None:
    """What correct_query() does with words that the vocabulary does not have."""
    with application(cluster.dsn(DATABASE, APPLICATION), tenant_id) as connection:
        became = [connection.execute("SELECT guestcomms.correct_query(%s)", [pair.wrong]).fetchone() for pair in pairs]
    found = [row[0] if row else "" for row in became]
    right = sum(word in pair.right for word, pair in zip(found, pairs, strict=True))
    kept = sum(word == pair.wrong for word, pair in zip(found, pairs, strict=True))
    for title, count in (("corrected rightly", right), ("left alone", kept), ("to another word", len(pairs) - right - kept)):
        report.add(f"{name}, correct_query(): {title}", 100 * count / len(pairs), "%", "all words", count / len(pairs))


def main() -> None:
    arguments = parse_arguments(__doc__)
    data_directory()
    if not is_available("symspellpy"):
        print("skipped: the vocabulary is symspellpy's, which `make bench-tools` fetches")
        raise SystemExit(0)
    vocabulary = read_dictionary()
    codespell = read_codespell(vocabulary)
    chosen = random.Random(1).sample(codespell, 300 if arguments.quick else SAMPLE)
    collections = {"Norvig": read_norvig(), "codespell": chosen}
    report = Report("spelling", "Spelling")
    messages = read_messages(5_000)
    with bench_cluster() as cluster, new_store(cluster, messages[0].sent_at.date()) as connection:
        tenant = add_tenant(connection, "here", messages)
        other = add_tenant(connection, "other", messages)
        admit_application(connection, tenant)
        load(connection, tenant.tenant_id, vocabulary)
        load(connection, other.tenant_id, dict(list(vocabulary.items())[::2]))
        load_plain(connection, vocabulary)
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        report.conditions = conditions(
            connection,
            vocabulary=f"{len(vocabulary):,} words, and half of them in another tenant",
            words=", ".join(f"{name} {len(pairs):,}" for name, pairs in collections.items()),
        )
        speller = symspell(vocabulary)
        for name, pairs in collections.items():
            with ours(cluster, tenant.tenant_id) as propose:
                run = measure(propose, pairs)
            with trigrams(cluster) as propose:
                plain = measure(propose, pairs)
            goals = {"median": "below 5 ms"}
            goals |= {"top-1": "at least 82 %", "top-5": "at least 96 %"} if name == "Norvig" else {}
            peer = measure(speller, pairs)
            add_collection(
                report,
                name,
                run,
                peer,
                "symspellpy",
                goals if name == "Norvig" else {"top-1": "ratio at least 1", "top-5": "ratio at least 1"},
            )
            add_collection(report, name, run, plain, "pg_trgm", {})
            unknown = [pair for pair in pairs if pair.wrong not in vocabulary]
            add_corrections(report, cluster, tenant.tenant_id, name, unknown)
    report.finish(arguments)


if __name__ == "__main__":
    main()
