"""First search on a tenant of 200,000 real messages: time and buffers beside plain text search on the same table.

Queries are two words out of random messages. The baseline is what one would write by hand with the rights of a superuser:
websearch_to_tsquery, ts_rank over all matches, the best 20, ts_headline of those.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import time

import psycopg

from bench.common import Connection, Report, bench_cluster, conditions, parse_arguments
from bench.corpus import Message, add_tenant, copy_into_messages, first_day, with_ids
from bench.irc import read_messages

BASELINE = """
    SELECT f.message_id, ts_headline('guestcomms.search_en', f.body, f.query)
    FROM (SELECT m.message_id, m.body, q.query
          FROM guestcomms.messages AS m, websearch_to_tsquery('guestcomms.search_en', %s) AS q (query)
          WHERE m.tenant_id = %s AND m.search @@ q.query
          ORDER BY ts_rank(m.search, q.query) DESC, m.sent_at DESC LIMIT 20) AS f
"""
SEARCH = "SELECT message_id, headline FROM guestcomms.search_messages(%s)"
ELSEWHERE = "hippopotamus"


def choose_queries(messages: list[Message], count: int) -> list[str]:
    chooser = random.Random(1)
    queries: list[str] = []
    while len(queries) < count:
        words = sorted(set(re.findall(r"[a-z]{4,}", chooser.choice(messages).body.lower())))
        if len(words) >= 2:
            queries.append(" ".join(chooser.sample(words, 2)))
    return queries


def median_ms(connection: Connection, statement: str, arguments: list[tuple[str, ...]]) -> float:
    times = []
    for values in arguments:
        start = time.perf_counter()
        connection.execute(statement, values).fetchall()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def buffers(connection: Connection, statement: str, values: tuple[str, ...]) -> int:
    """Pages touched by the second run, when catalogs and plans are warm."""
    for _ in range(2):
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values).fetchone() or ("",)
    found = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
    return int(found["Shared Hit Blocks"]) + int(found["Shared Read Blocks"])


def main() -> None:
    arguments = parse_arguments(__doc__)
    messages = read_messages(20_000 if arguments.quick else 200_000)
    with bench_cluster() as cluster:
        cluster.create_database("guestcomms")
        with psycopg.connect(cluster.dsn()) as connection:
            connection.execute("CREATE EXTENSION guestcomms CASCADE")
            connection.execute("SELECT guestcomms.create_store()")
            connection.execute("SELECT guestcomms.ensure_partitions(%s)", [first_day(messages)])
            connection.execute("CREATE ROLE bench_app LOGIN; GRANT guestcomms_app TO bench_app")
            tenant = add_tenant(connection, "here", messages)
            other = add_tenant(connection, "elsewhere", messages)
            connection.execute(
                "SELECT guestcomms.use_tenant(%s); SELECT guestcomms.add_member('bench_app')".replace(
                    "%s", f"'{tenant.tenant_id}'"
                )
            )
            connection.commit()
            copy_into_messages(connection, tenant, with_ids(connection, tenant, messages))
            connection.commit()
            with_word = [Message(m.sent_at, m.sender, m.day, f"{m.body} {ELSEWHERE}") for m in messages[::2]]
            copy_into_messages(connection, other, with_ids(connection, other, with_word))
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")
            report = Report("search", "First search, one tenant")
            report.conditions = conditions(
                connection, rows=f"{len(messages):,} of the tenant, {len(with_word):,} of another", queries="200", fsync="off"
            )
            queries = choose_queries(messages, 200)
            here = tenant.tenant_id
            common = "ubuntu"
            with psycopg.connect(cluster.dsn(user="bench_app"), autocommit=True) as app:
                app.execute("SELECT guestcomms.use_tenant(%s, true)", [here])
                median_ms(app, SEARCH, [(query,) for query in queries[:20]])
                median_ms(connection, BASELINE, [(query, here) for query in queries[:20]])
                for name, words in (
                    ("two words of a message", queries),
                    ("a common word", [common] * 50),
                    ("common elsewhere, absent here", [ELSEWHERE] * 50),
                ):
                    ours = median_ms(app, SEARCH, [(query,) for query in words])
                    plain = median_ms(connection, BASELINE, [(query, here) for query in words])
                    report.add(f"median, {name}", ours, "ms", f"ts_rank over all ({plain:.1f} ms)", ours / plain)
                (total,) = connection.execute(
                    "SELECT sum(relpages) FROM pg_class WHERE relname LIKE 'messages_p%'"
                ).fetchone() or (0,)
                for name, word in (("a common word", common), ("common elsewhere, absent here", ELSEWHERE)):
                    ours = buffers(app, SEARCH, (word,))
                    plain = buffers(connection, BASELINE, (word, here))
                    report.add(f"buffers, {name}", ours, "pages", f"ts_rank over all ({plain:,})", ours / max(plain, 1))
                report.notes.append(f"The messages' partitions and their indexes have {int(total):,} pages.")
    report.finish(arguments)


if __name__ == "__main__":
    main()
