"""Files of exports for programs: readers get back what was put in, however many batches it was written in."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from typing import Any

import pytest
from guestcomms import export_files, export_pdf
from guestcomms.export_context import DETAILS, Records
from guestcomms.export_files import FONTS, FORMATS, PDF_PACKAGES, FormatsProblem, formats_problem, missing_packages, write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.export_records import CONTEXT, OPENED, TABLES, attachment, batch, files, message

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "60")))
# What PostgreSQL can hold; pieces that mean something to one of the formats.
pieces = st.sampled_from(
    ["'", "''", "\\", "\n", "\r", "\r\n", ",", '"', "=", "+", "-", "@", "\t", "$$", ";", "é", "a", "\u2028", "\ufeff"]
)
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])) | st.lists(pieces).map("".join)
plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6)
bodies = st.lists(st.lists(texts, max_size=3), max_size=3)


def batches(found: list[list[str]]) -> list[Records]:
    """Batches of messages with these texts."""
    number = iter(range(1000))
    return [batch([message(next(number), body) for body in each]) for each in found]


def detailed(body: str, value: Any) -> Records:
    """A message with one of everything."""
    record = message(body=body, metadata={"value": value})
    owner = {"message_id": record["message_id"]}
    return batch(
        [message(2), record],
        message_events=[{"event_id": CONTEXT.export_id, **owner, "kind": "opened", "detail": value}],
        message_versions=[{**owner, "version_number": 1, "body": body}],
        attachments=[attachment(record, body)],
        message_annotations=[{"annotation_id": CONTEXT.export_id, **owner, "value": value, "confidence": 0.1}],
    )


@many
@given(bodies)
@example([])
@example([[], ["a"], [], ["b"]])
def test_json_is_valid_whatever_the_batches(found: list[list[str]]) -> None:
    document = json.loads(files("json", batches(found))["export.json"])
    assert [record["body"] for record in document["messages"]] == [body for each in found for body in each]
    assert {table: document[table] for table in OPENED} == OPENED
    assert (document["format"], document["schema_version"]) == ("guestcomms-export", 1)
    assert document["export_id"] == CONTEXT.export_id


@many
@given(texts, values)
def test_json_has_in_a_message_what_belongs_to_it(body: str, value: Any) -> None:
    records = detailed(body, value)
    other, found = json.loads(files("json", [records])["export.json"])["messages"]
    assert found == records["messages"][1] | {name: records[table] for table, name in DETAILS.items()}
    assert [other[name] for name in DETAILS.values()] == [[], [], [], []]


def test_json_has_no_lists_of_tables_that_are_left_out() -> None:
    tables = {table: columns for table, columns in TABLES.items() if table != "message_annotations"}
    records = batch([message()])
    del records["message_annotations"]
    piece = write("json", "add", records, replace(CONTEXT, tables=tables))["export.json"]
    assert "annotations" not in json.loads(piece)
    assert "events" in json.loads(piece)


@many
@given(texts, values)
def test_jsonl_is_a_record_a_line(body: str, value: Any) -> None:
    records = detailed(body, value)
    found = files("jsonl", [records])
    for table, rows in {**OPENED, **records}.items():
        lines = found.get(f"jsonl/{table}.jsonl", b"").decode().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == rows
        assert lines[-1] == ""


@many
@given(texts, values)
@example("=HYPERLINK(1)", -1.5)
@example("", None)
@example("\r=1", [])
@example("\t=1", {})
@example("'=1", True)
def test_csv_readers_get_texts_back(body: str, value: Any) -> None:
    records = detailed(body, value)
    found = {name: list(csv.reader(io.StringIO(data.decode(), newline=""))) for name, data in files("csv", [records]).items()}
    assert set(found) == {f"csv/{table}.csv" for table in TABLES}
    shown = "'" + body if re.match(r"[=+\-@\t\r]", body) else body
    header, _, line = found["csv/messages.csv"]
    assert header == [name for name, _ in TABLES["messages"]]
    cells = dict(zip(header, line, strict=True))
    assert (cells["body"], cells["sent_at"], cells["subject"]) == (shown, "2026-05-31T20:01:00+00:00", "")
    assert json.loads(cells["metadata"]) == {"value": value}
    event = found["csv/message_events.csv"][1]
    assert event[3] == "" if value is None else json.loads(event[3]) == value
    assert found["csv/attachments.csv"][1][2:] == [shown, "application/pdf", "1234", "\\x" + 32 * "ab", ""]
    assert found["csv/message_annotations.csv"][1][3] == "0.1"
    assert found["csv/guest_addresses.csv"][1] == ["email", "zoe@example.org", records["messages"][0]["guest_id"], "true"]
    assert len(found["csv/wedding_guests.csv"]) == 1


def test_csv_keeps_numbers_and_nulls_of_every_type() -> None:
    addresses = [{"channel": "sms", "address": "+4930", "guest_id": None, "is_primary": None}]
    data = files("csv", [], opened={**OPENED, "guest_addresses": addresses})["csv/guest_addresses.csv"]
    assert data == b"channel,address,guest_id,is_primary\r\nsms,'+4930,,\r\n"


@many
@given(bodies)
@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "mbox", "eml"])
def test_batches_make_the_same_files_as_one(name: str, found: list[list[str]]) -> None:
    """Those of mail too, since a batch knows the last message before it."""
    parts = batches(found)
    whole = batch([record for part in parts for record in part["messages"]])
    assert files(name, parts) == files(name, [whole])


@many
@given(texts, values)
def test_no_text_ends_its_literal_in_sql(body: str, value: Any) -> None:
    script = files("sql", [detailed(body, value)])["export.sql"].decode()
    assert script.endswith("COMMIT;\n")
    # What is left without literals (standard_conforming_strings is on) is the same for every text.
    assert outside(script) == outside(files("sql", [detailed("", 0 if value is not None else None)])["export.sql"].decode())


def outside(script: str) -> str:
    """A script without what its literals hold."""
    return re.sub(r"'(?:[^']|'')*'", "''", script)


def test_sql_makes_keys_only_of_what_is_never_made_up() -> None:
    script = files("sql", [])["export.sql"].decode()
    assert 'PRIMARY KEY ("guest_id")' in script
    assert 'PRIMARY KEY ("wedding_id", "guest_id")' in script
    assert 'PRIMARY KEY ("channel"' not in script
    assert "SET LOCAL standard_conforming_strings = on;" in script
    assert "SET LOCAL client_encoding = 'UTF8';" in script


def test_sql_inserts_many_rows_at_once() -> None:
    script = files("sql", [batch([message(number) for number in range(501)])])["export.sql"]
    assert script.count(b'INSERT INTO guestcomms_export."messages"') == 2


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_without_messages(name: str) -> None:
    if name != "pdf":
        assert files(name, []) == files(name, [batch([])])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(KeyError):
        write("xml", "open", {}, CONTEXT)
    with pytest.raises(KeyError):
        formats_problem(["xml"])


def test_what_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "find_spec", lambda name: None)
    monkeypatch.setattr(export_pdf, "has_font", lambda: False)
    assert missing_packages("pdf") == [*PDF_PACKAGES, FONTS]
    assert missing_packages("json") == []
    expected = [("pdf", package, debian) for package, debian in (*PDF_PACKAGES, FONTS)]
    assert formats_problem(["json", "pdf"]) == FormatsProblem(expected, [])
    assert formats_problem(name for name in FORMATS if name != "pdf") is None


def test_scripts_without_a_font_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "find_spec", lambda name: name)
    monkeypatch.setattr(export_pdf, "has_font", lambda: True)
    monkeypatch.setattr(export_pdf, "missing_scripts", lambda: ["Korean: fonts-wqy-microhei"])
    assert missing_packages("pdf") == []
    assert formats_problem(["pdf"]) == FormatsProblem([], ["pdf has no font for Korean: fonts-wqy-microhei"])
    assert formats_problem(["html"]) is None
    monkeypatch.setattr(export_pdf, "missing_scripts", list)
    assert formats_problem(["pdf"]) is None


def test_a_font_is_found_without_reading_it(tmp_path: Any) -> None:
    assert not export_pdf.has_font([tmp_path])
    (tmp_path / "DejaVuSans.ttf").touch()
    assert export_pdf.has_font([tmp_path])
