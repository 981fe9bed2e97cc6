"""Search engines that the extension is compared with, each with its defaults for English.

tantivy is a library like Lucene, bm25s computes BM25 over the whole collection beforehand. Both are on PyPI and optional:
`make bench-tools` fetches them; without them a benchmark says so and leaves their rows out.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Protocol

Documents = list[tuple[int, str, str]]
MODULES = {"tantivy": ("tantivy",), "bm25s": ("bm25s", "Stemmer"), "symspellpy": ("symspellpy",)}


class Engine(Protocol):
    def index(self, documents: Documents) -> None:
        """Index documents: (id, title, text)."""

    def search(self, query: str, k: int) -> list[int]:
        """Ids of the best k, best first."""


def is_available(name: str) -> bool:
    return all(importlib.util.find_spec(module) for module in MODULES[name])


def absence_note() -> str:
    """What a report says of engines that are not installed; empty if all are."""
    absent = [name for name in MODULES if not is_available(name)]
    return f"Without {' and '.join(absent)}, which `make bench-tools` fetches." if absent else ""


def plain_words(query: str) -> str:
    """The query without what tantivy's parser would take for operators.

    >>> plain_words("Is it (here) AND there?")
    'is it here and there'
    """
    return " ".join(re.findall(r"\w+", query.lower()))


class Tantivy:
    """BM25 (k1 1.2, b 0.75) of title and body together, stemmed; any word matches."""

    def index(self, documents: Documents) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("id", stored=True)
        for field in ("title", "body"):
            builder.add_text_field(field, tokenizer_name="en_stem")
        self._index = tantivy.Index(builder.build())
        writer = self._index.writer()
        for number, title, text in documents:
            writer.add_document(tantivy.Document(id=number, title=title, body=text))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()

    def search(self, query: str, k: int) -> list[int]:
        searcher = self._index.searcher()
        hits = searcher.search(self._index.parse_query(plain_words(query), ["title", "body"]), k).hits
        return [searcher.doc(address)["id"][0] for _, address in hits]


class Bm25s:
    """BM25 as Lucene computes it (k1 1.5, b 0.75) of title and text as one, stemmed, without stop words."""

    def index(self, documents: Documents) -> None:
        import bm25s

        self._numbers = [number for number, _, _ in documents]
        self._model = bm25s.BM25()
        self._model.index(self._tokens([f"{title} {text}" for _, title, text in documents]), show_progress=False)

    def search(self, query: str, k: int) -> list[int]:
        found, scores = self._model.retrieve(self._tokens([query]), k=min(k, len(self._numbers)), show_progress=False)
        return [self._numbers[place] for place, score in zip(found[0], scores[0], strict=True) if score > 0]

    @staticmethod
    def _tokens(texts: list[str]) -> object:
        import bm25s
        import Stemmer

        return bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)


def load_engines() -> dict[str, Engine]:
    """Name → engine, of those that are installed."""
    engines: dict[str, Engine] = {"tantivy": Tantivy(), "bm25s": Bm25s()}
    return {name: engine for name, engine in engines.items() if is_available(name)}
