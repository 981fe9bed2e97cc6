"""Markdown pages as the tests read them: fenced blocks, links and the anchors that links may name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(?P<title>.+?) *#*$", re.MULTILINE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    language: str
    text: str
    line: int

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def find_pages() -> list[Path]:
    """Every page of the project, nothing that was built or that a tool keeps."""
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(part.startswith(".") or part in ("build", "node_modules") for part in path.relative_to(ROOT).parts)
    )


def blocks(text: str) -> list[Block]:
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1) for found in FENCE.finditer(text)
    ]


def prose(text: str) -> str:
    """The page without what is quoted as code, where nothing is a link or a heading."""
    return INLINE_CODE.sub("", FENCE.sub("", text))


def relative_links(text: str) -> Iterator[str]:
    for found in LINK.finditer(prose(text)):
        if not SCHEME.match(found["target"]):
            yield found["target"]


def anchors(text: str) -> set[str]:
    """As the common forges make them of headings: lower case, words joined by hyphens, repeats numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.finditer(FENCE.sub("", text)):
        title = LINK.sub(lambda link: link[0][1:].partition("](")[0], heading["title"]).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
