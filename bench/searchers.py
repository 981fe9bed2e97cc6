"""Ways to search one tenant's messages, each giving the best 20 with the found words marked in a piece of the text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.clients import Search
from bench.corpus import Message
from bench.queries import Query
from bench.store import application

OURS = "SELECT message_id, headline FROM guestcomms.search_messages(%s, since => %s, direction => %s)"
# What one would write by hand with the rights of a superuser.
PLAIN = """
    SELECT f.message_id, ts_headline('guestcomms.search_en', f.body, f.query)
    FROM (SELECT m.message_id, m.body, q.query
          FROM guestcomms.messages AS m, websearch_to_tsquery('guestcomms.search_en', %s) AS q (query)
          WHERE m.tenant_id = %s AND m.search @@ q.query{filters}
          ORDER BY ts_rank(m.search, q.query) DESC, m.sent_at DESC LIMIT 20) AS f
"""
FILTERS = " AND m.sent_at >= %s AND m.direction = %s"


def plain_statement(query: Query, tenant_id: str) -> tuple[str, list[object]]:
    filters = [query.since, query.direction] if query.since else []
    return PLAIN.format(filters=FILTERS if filters else ""), [query.text, tenant_id, *filters]


@contextmanager
def ours(dsn: str, tenant_id: str) -> Iterator[Search]:
    """search_messages() as the application; the DSN is of its login."""
    with application(dsn, tenant_id) as connection:
        yield lambda query: connection.execute(OURS, [query.text, query.since, query.direction], prepare=True).fetchall()


@contextmanager
def plain(dsn: str, tenant_id: str) -> Iterator[Search]:
    """Text search by hand; the DSN is of a superuser, whom no row security keeps from the index."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield lambda query: connection.execute(*plain_statement(query, tenant_id), prepare=True).fetchall()


class TantivyMessages:
    """tantivy in this process and in memory: any word matches, BM25, the same filters, snippets of the best 20."""

    def __init__(self, messages: list[Message]) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("body", stored=True, tokenizer_name="en_stem")
        builder.add_date_field("sent_at", fast=True, indexed=True)
        builder.add_text_field("direction", tokenizer_name="raw")
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer()
        for message in messages:
            writer.add_document(tantivy.Document(body=message.body, sent_at=message.sent_at, direction=message.direction))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, query: Query) -> list[str]:
        import tantivy

        # Lenient: what a guest wrote may look like an operator of its parser.
        text, _ = self._index.parse_query_lenient(query.text, ["body"])
        parsed = text
        if query.since:
            since = tantivy.Query.range_query(self._schema, "sent_at", tantivy.FieldType.Date, query.since)
            direction = tantivy.Query.term_query(self._schema, "direction", query.direction)
            parsed = tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in (text, since, direction)])
        hits = self._searcher.search(parsed, 20, count=False).hits
        snippets = tantivy.SnippetGenerator.create(self._searcher, text, self._schema, "body")
        return [snippets.snippet_from_doc(self._searcher.doc(address)).to_html() for _, address in hits]
