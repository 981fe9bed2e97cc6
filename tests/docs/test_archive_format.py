"""The reference page of the archive's format says what the code does: its tables, its words, its example."""

from __future__ import annotations

import json
import re

from guestcomms.segment_format import TABLES, WORDS, unpack_segment

from tests.support.markdown import ROOT, blocks

PAGE = (ROOT / "docs/reference/archive-format.md").read_text(encoding="utf-8")


def code_block(first_line: str) -> str:
    return next(block.text for block in blocks(PAGE) if block.first_line.startswith(first_line))


def test_tables_have_the_columns_of_the_page() -> None:
    for table in TABLES:
        (cells,) = re.findall(rf"^\| {table.name} \| (.*?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
        said = [
            f"{column.name} {column.kind}{'?' * column.nullable}" + (f" ({column.base})" if column.base else "")
            for column in table.columns
        ]
        assert cells[0].split(", ") == said
        if table.own_id:
            assert cells[1] == f"{table.own_id}, {table.id_time}"


def test_words_are_those_of_the_page() -> None:
    said = re.findall(r"(\d+) (\(the empty string\)|\S+)", code_block("1 (the empty string)"))
    words = ["" if word.startswith("(") else word for _, word in said]
    assert [int(number) for number, _ in said] == list(range(1, len(WORDS) + 1))
    assert tuple(words) == WORDS


def test_the_example_is_read() -> None:
    lines = code_block("01  ").splitlines()
    content = json.loads(unpack_segment(bytes.fromhex("".join(line[:49] for line in lines))))
    (message,) = content["messages"]
    assert (message["body"], message["channel"], message["source"]) == ("Thank you", "sms", "app")
    assert message["thread_id"] == "0f5e2c1a-7d3b-4b8e-9a51-0c2f4d6e8a10"
    assert message["sent_at"] == 1749025692000000
