"""Every relative link of every page leads to a file, and its #anchor to a heading of that page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.markdown import ROOT, anchors, blocks, find_pages, relative_links


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def problems(page: Path) -> list[str]:
    found = []
    for link in relative_links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT):
            found.append(f"{link}: outside the project")
        elif not target.exists():
            found.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{link}: no such heading")
    return found


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/tutorial/first-store.md"} <= {name(page) for page in find_pages()}


@pytest.mark.parametrize("page", find_pages(), ids=name)
def test_links_resolve(page: Path) -> None:
    assert problems(page) == []


@pytest.mark.parametrize("page", find_pages(), ids=name)
def test_fences_are_closed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = sum(line.startswith("```") for line in text.splitlines())
    assert fences == 2 * len(blocks(text))


def test_anchors_are_those_of_the_headings() -> None:
    text = "# Your first store\n## `use_token()`, again\n## What's new?\n## What's new?\n```sh\n# no heading\n```\n"
    assert anchors(text) == {"your-first-store", "use_token-again", "whats-new", "whats-new-1"}


def test_code_holds_no_links() -> None:
    text = "[one](a.md) `[two](b.md)` [three](https://example.com)\n```sql\nSELECT a[1](c.md);\n```\n[four](#here)"
    assert list(relative_links(text)) == ["a.md", "#here"]
