"""Reading exports: what is whole is read in batches, everything else refused without a word of what is in it."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
from hashlib import sha256
from typing import Any

import pytest
from guestcomms import import_export
from guestcomms.import_export import (
    RECORD_SETS,
    DamagedExport,
    Export,
    ImportRefused,
    TooLarge,
    read_export,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.export_zip import RECORD_SETS as MADE_SETS
from tests.support.export_zip import Files, Records, make_files, make_zip

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
COLUMNS = {name: [("guest_id", "uuid"), ("note", "text")] for name in RECORD_SETS}
GUESTS = "jsonl/guests.jsonl"
SECRET = "unheardsecret"


def some(count: int = 3) -> Records:
    return {name: [{"guest_id": number, "note": f"{SECRET} {name}"} for number in range(count)] for name in RECORD_SETS}


def export(records: Records | None = None, **manifest: Any) -> Files:
    return make_files(some() if records is None else records, COLUMNS, **manifest)


def read(data: bytes) -> Records:
    """All records of the batches."""
    found: Records = {name: [] for name in RECORD_SETS}
    for batch in Export(data).batches():
        assert batch.columns == ["guest_id", "note"]
        found[batch.record_set] += json.loads(batch.records)
    return found


def refusal(data: bytes) -> ImportRefused:
    with pytest.raises(ImportRefused) as caught:
        Export(data)
    assert SECRET not in str(caught.value)
    return caught.value


def test_record_sets_come_in_their_order() -> None:
    assert RECORD_SETS == MADE_SETS
    assert [batch.record_set for batch in Export(make_zip(export())).batches()] == list(RECORD_SETS)


@many
@given(
    st.dictionaries(st.sampled_from(RECORD_SETS), st.lists(st.fixed_dictionaries({"note": st.text()}), max_size=5)),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_was_written_is_read(records: Records, method: int) -> None:
    files = make_files(records, COLUMNS)
    assert read(make_zip(files, method)) == {name: records.get(name, []) for name in RECORD_SETS}


def test_the_last_line_may_lack_its_end() -> None:
    files = export({"guests": [{"note": "a"}, {"note": "b"}]})
    content = files[GUESTS].rstrip(b"\n")
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = json.loads(make_manifest_files({GUESTS: content}))
    assert read(make_zip({"manifest.json": json.dumps(manifest).encode(), GUESTS: content}))["guests"] == [
        {"note": "a"},
        {"note": "b"},
    ]


def make_manifest_files(files: Files) -> str:
    return json.dumps(
        [{"name": name, "bytes": len(content), "sha256": sha256(content).hexdigest()} for name, content in files.items()]
    )


def test_batches_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "READ_BYTES", 7)
    data = make_zip(export({"guests": [{"guest_id": number} for number in range(2500)]}))
    assert [len(json.loads(batch.records)) for batch in Export(data).batches()] == [1000, 1000, 500]
    monkeypatch.setattr(import_export, "BATCH_BYTES", 50)
    texts = ["x" * 10, "y" * 10, "z" * 100, "w"]
    batches = list(Export(make_zip(export({"guests": [{"note": text} for text in texts]}))).batches())
    assert [len(json.loads(batch.records)) for batch in batches] == [2, 1, 1]


def test_other_files_are_not_looked_at() -> None:
    others = {
        "../../etc/passwd": b"x",
        "/jsonl/guests.jsonl": b"x",
        "about.json": b"{",
        "jsonl/tenants.jsonl": b"x",
        "jsonl/../a": b"y",
    }
    assert read(make_zip(others | export())) == some()


def said_to_be_small(data: bytes, name: str) -> bytes:
    """The zip with a directory that gives a file of it 100 bytes."""
    changed = bytearray(data)
    place = changed.rindex(name.encode())
    assert changed[place - 46 : place - 42] == b"PK\x01\x02"
    changed[place - 22 : place - 18] = struct.pack("<I", 100)
    return bytes(changed)


@pytest.mark.parametrize("start", [b"-----BEGIN PGP MESSAGE-----\n", b"\xc1\xc0", b"\x85\x01"])
def test_an_encrypted_export_is_to_be_decrypted_first(start: bytes) -> None:
    error = refusal(start + make_zip(export()))
    assert (error.sqlstate, "gpg --decrypt" in error.hint) == ("22023", True)


@pytest.mark.parametrize("data", [b"", b"{}", b"\x1f\x8b", b"Dear Ann"])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    assert refusal(data).sqlstate == "22023"


@many
@given(st.data())
def test_a_truncated_export_is_damaged(data: st.DataObject) -> None:
    whole = make_zip(export())
    assert type(refusal(whole[: data.draw(st.integers(2, len(whole) - 1))])) is DamagedExport


@many
@given(st.data())
def test_a_changed_byte_is_refused_or_says_nothing(data: st.DataObject) -> None:
    whole = bytearray(make_zip(export()))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    said, found = "", some()
    try:
        found = read(bytes(whole))
    except ImportRefused as error:
        said = str(error)
    assert found == some()
    assert SECRET not in said


@pytest.mark.parametrize(
    ("manifest", "kind"),
    [
        ({"format": "other"}, ImportRefused),
        ({"schema_version": 2}, ImportRefused),
        ({"formats": ["pdf"]}, ImportRefused),
        ({"formats": "jsonl"}, DamagedExport),
        ({"counts": []}, DamagedExport),
        ({"counts": {"guests": 2}}, DamagedExport),
        ({"counts": dict.fromkeys(RECORD_SETS, 3) | {"threads": 4}}, DamagedExport),
        ({"tables": None}, DamagedExport),
        ({"tables": {"guests": {}}}, DamagedExport),
        ({"tables": {"guests": ["guest_id"]}}, DamagedExport),
        ({"tables": {"guests": [{"name": 'note") --'}]}}, DamagedExport),
        ({"tables": {"guests": [{"name": 7}]}}, DamagedExport),
        ({"files": [1]}, DamagedExport),
        ({"files": [{"name": None}]}, DamagedExport),
        ({"files": []}, DamagedExport),
    ],
)
def test_the_manifest_must_be_right(manifest: dict[str, Any], kind: type[ImportRefused]) -> None:
    assert type(refusal(make_zip(export(**manifest)))) is kind


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_no_json_is_damaged(content: bytes) -> None:
    assert type(refusal(make_zip(export() | {"manifest.json": content}))) is DamagedExport


def test_a_manifest_is_an_object() -> None:
    assert type(refusal(make_zip(export() | {"manifest.json": b"[]"}))) is ImportRefused


def test_files_must_be_those_of_the_manifest() -> None:
    files = export()
    assert type(refusal(make_zip({name: content for name, content in files.items() if name != "manifest.json"}))) is ImportRefused
    assert type(refusal(make_zip({name: content for name, content in files.items() if name != GUESTS}))) is DamagedExport
    for content in (files[GUESTS].replace(b"guests", b"gvests"), files[GUESTS] + b"{}\n", files[GUESTS][:-1]):
        assert type(refusal(make_zip(files | {GUESTS: content}))) is DamagedExport


def test_records_are_text() -> None:
    files = export({"guests": []})
    content = b"\xff\n"
    manifest = json.loads(files["manifest.json"]) | {
        "counts": {"guests": 1},
        "files": json.loads(make_manifest_files({GUESTS: content})),
    }
    assert type(refusal(make_zip({"manifest.json": json.dumps(manifest).encode(), GUESTS: content}))) is DamagedExport


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_is_there_once() -> None:
    out = io.BytesIO(make_zip(export()))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(GUESTS, "")
    assert type(refusal(out.getvalue())) is DamagedExport


def test_only_methods_with_bounds_are_read() -> None:
    assert type(refusal(make_zip(export(), zipfile.ZIP_LZMA))) is ImportRefused


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "MOST_FILES", 10)
    assert type(refusal(make_zip(export()))) is TooLarge


def test_a_large_manifest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "MOST_MANIFEST", 100)
    assert type(refusal(make_zip(export()))) is TooLarge


def test_a_large_export_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "MOST_TEXT", 1000)
    assert type(refusal(make_zip(export()))) is TooLarge


def test_a_large_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_export, "READ_BYTES", 64)
    monkeypatch.setattr(import_export, "MOST_RECORD", 1000)
    assert type(refusal(make_zip(export({"guests": [{"note": "x" * 2000}]})))) is TooLarge


def test_what_shrinks_too_well_is_refused() -> None:
    bomb = make_zip(export({"guests": [{"note": "x" * (17 << 20)}]}))
    assert len(bomb) < 100_000
    assert type(refusal(bomb)) is TooLarge


def test_a_size_that_is_not_true_does_not_help_a_bomb() -> None:
    """The directory says that a large file is small: no more is read than it says."""
    data = make_zip(export({"guests": [{"note": "x" * (17 << 20)}]}))
    assert type(refusal(said_to_be_small(data, GUESTS))) is DamagedExport


def test_nor_does_it_help_a_manifest() -> None:
    data = said_to_be_small(make_zip(export() | {"manifest.json": b" " * (100 << 20)}), "manifest.json")
    tracemalloc.start()
    assert type(refusal(data)) is DamagedExport
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


class FakePlpy:
    """What of PL/Python is used; error() does not raise, to see what comes after."""

    said: dict[str, Any]

    def error(self, message: str, **values: Any) -> None:
        self.said = {"message": message} | values


def test_the_server_is_told_why() -> None:
    plpy = FakePlpy()
    assert [batch.record_set for batch in read_export(plpy, make_zip(export()))] == list(RECORD_SETS)
    # At once, and not when the first batch is asked for.
    with pytest.raises(ImportRefused):
        read_export(plpy, None)
    assert plpy.said["sqlstate"] == "22023"
    assert plpy.said["detail"] == "It is not a zip."
    with pytest.raises(DamagedExport):
        read_export(plpy, b"PK")
    assert plpy.said["sqlstate"] == "XX001"
