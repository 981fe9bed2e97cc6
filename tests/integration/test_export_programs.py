"""Files of an export opened by the programs that a guest or an officer would open them with."""

from __future__ import annotations

import csv
import io
import json
import mailbox
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archive import Archive
from tests.support.database import Database
from tests.support.exports import as_lines, ask, opened, read, records
from tests.support.queries import one, rows
from tests.support.store import Store

FORMATS = ["json", "jsonl", "csv", "sql", "html", "pdf", "mbox", "eml"]
# A text in every script, and what would break a file that quotes badly.
TEXTS = {
    "Latin": "Žluťoučký kůň, façade, Straße",
    "Cyrillic": "Приглашение на свадьбу",
    "Greek": "Πρόσκληση σε γάμο",
    "Arabic": "دعوة زفاف",
    "Hebrew": "הזמנה לחתונה",
    "Chinese": "婚礼邀请函",
    "Japanese": "ひらがなとカタカナ",
    "Korean": "결혼식 초대장",
    "quotes": 'a "quoted" \'text\', with; separators\\ and $$dollars$$ \\. ,\n"second" line\tand tab',
    "formula": '=HYPERLINK("http://example.com")',
    "markup": "</p><script>alert(1)</script>&amp;<img src=http://example.com/x>",
    "mail": "From the beginning\n>From the middle\n.\n",
}


@pytest.fixture(scope="module")
def office(store: Store) -> Iterator[Archive]:
    with Archive(store, "Rose & Quill") as archive:
        yield archive


@pytest.fixture(scope="module")
def zipped(office: Archive) -> bytes:
    guest = office.guest("Zoë «the bride» Kaya")
    thread = office.thread(guest)
    for number, (name, text) in enumerate(TEXTS.items()):
        message = office.write(
            guest, thread, 300 - number, subject=name, body=text, direction=["inbound", "outbound"][number % 2]
        )
        office.detail(message)
    export = ask(office.root, guest, formats=FORMATS)
    # As docs/how-to/export-guest-data.md has it in Python.
    parts = []
    with office.root.transaction(), office.root.cursor(name="export") as cursor:
        for (data,) in cursor.execute("SELECT data FROM guestcomms.read_export(%s)", [export]):
            parts.append(data)
    assert b"".join(parts) == read(office.root, export)
    return b"".join(parts)


@pytest.fixture(scope="module")
def files(zipped: bytes) -> dict[str, bytes]:
    return opened(zipped)


def test_python_s_zipfile_unpacks_it(zipped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(zipped)
    for command in (["--test", str(path)], ["--extract", str(path), str(tmp_path / "out")]):
        subprocess.run([sys.executable, "-m", "zipfile", *command], check=True, capture_output=True)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]["messages"] == len(TEXTS)
    assert zipfile.ZipFile(path).testzip() is None


def test_json_has_each_message_with_what_belongs_to_it(files: dict[str, bytes]) -> None:
    document = json.loads(files["export.json"])
    assert [message["body"] for message in document["messages"]] == list(TEXTS.values())
    assert all(
        len(message[part]) == 1
        for message in document["messages"]
        for part in ("events", "versions", "attachments", "annotations")
    )


def test_csv_readers_get_the_texts_back(files: dict[str, bytes]) -> None:
    found = list(csv.DictReader(io.StringIO(files["csv/messages.csv"].decode(), newline="")))
    assert [row["body"] for row in found] == ["'" + text if text.startswith("=") else text for text in TEXTS.values()]


def test_psql_loads_it_into_an_empty_database(files: dict[str, bytes], store: Store, tmp_path: Path) -> None:
    cluster = store.database.cluster
    cluster.psql("CREATE DATABASE loaded_export;")
    try:
        script = tmp_path / "export.sql"
        script.write_bytes(files["export.sql"])
        loaded = Database(cluster, "loaded_export")
        command = ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(script), loaded.dsn()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with loaded.connect() as connection:
            connection.execute("SET timezone = 'UTC'")
            for table in (
                "messages",
                "message_events",
                "message_versions",
                "attachments",
                "message_annotations",
                "guests",
                "threads",
            ):
                found = [row[0] for row in rows(connection, f"SELECT to_jsonb(t) FROM guestcomms_export.{table} AS t".encode())]
                assert as_lines(found) == as_lines(records(files, table)), table
    finally:
        cluster.psql("DROP DATABASE loaded_export WITH (FORCE);")


def test_pdftotext_finds_words_of_every_script(files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "messages.pdf"
    path.write_bytes(files["messages.pdf"])
    text = subprocess.run(["pdftotext", "-enc", "UTF-8", str(path), "-"], check=True, capture_output=True, text=True).stdout
    shown = unicodedata.normalize("NFKC", text)
    for script in ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Chinese", "Japanese", "Korean"):
        for word in TEXTS[script].split():
            assert word in shown or word[::-1] in shown, (script, word)


def test_mailbox_reads_the_mails(files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "messages.mbox"
    path.write_bytes(files["messages.mbox"])
    found = list(mailbox.mbox(str(path)))
    assert [mail["Subject"] for mail in found] == list(TEXTS)
    bodies = []
    for mail in found:
        part = next(part for part in mail.walk() if not part.is_multipart())
        text = part.get_payload(decode=True)
        assert isinstance(text, bytes)
        bodies.append(text.decode().replace("\r\n", "\n").rstrip("\n"))
    assert bodies == [text.rstrip("\n") for text in TEXTS.values()]
    assert len([name for name in files if name.startswith("mail/")]) == len(TEXTS)


def test_html_holds_the_texts_and_no_markup_of_theirs(files: dict[str, bytes]) -> None:
    page = files["messages.html"].decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "Приглашение на свадьбу" in page


def test_one_export_serves_everybody_who_may_read_it(office: Archive) -> None:
    assert one(office.root, "SELECT count(*) FROM guestcomms.get_export_progress() WHERE status = 'ready'") == 1
