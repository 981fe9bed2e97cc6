"""The script of an export in psql: any text comes back as it was, from a database that knows nothing of the extension."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.database import Database, fresh_database
from tests.support.export_records import attachment, batch, files, message
from tests.support.queries import rows
from tools.cluster import Cluster

few = settings(
    deadline=None,
    max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "20")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
pieces = st.sampled_from(
    ["'", "\\", "\n", "\r", "\\.", "\n\\.\n", "\\! false\n", ":'a'", ":a", ";", "--", "/*", "$$", "ソ", "表", "\u2028", "a"]
)
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])) | st.lists(pieces).map("".join)


@pytest.fixture(scope="module")
def empty(cluster: Cluster) -> Iterator[Database]:
    with fresh_database(cluster, None) as database:
        yield database


@few
@given(st.lists(texts, min_size=1))
@example(["'); DROP SCHEMA public; --", "\\'); DROP SCHEMA public; --", "\\q\n\\connect nowhere\n", ":'HOME' :HOME", "表' ソ\\"])
def test_psql_loads_any_text(empty: Database, tmp_path: Path, found: list[str]) -> None:
    records = [message(number, text, subject=text, metadata={text: [text, number, None]}) for number, text in enumerate(found)]
    names = [attachment(record, record["body"]) for record in records]
    halves = [batch(records[:1], attachments=names[:1]), batch(records[1:], attachments=names[1:])]
    script = tmp_path / "export.sql"
    script.write_bytes(files("sql", halves)["export.sql"])
    with empty.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS guestcomms_export CASCADE")
        command = ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(script), empty.dsn()]
        # A client of another encoding, in which a second byte may be a backslash, reads it as it is meant.
        done = subprocess.run(command, capture_output=True, env=os.environ | {"PGCLIENTENCODING": "SJIS"}, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        connection.execute("SET timezone = 'UTC'")
        for table, expected in (("messages", records), ("attachments", names)):
            query = f"SELECT to_jsonb(t) FROM guestcomms_export.{table} AS t ORDER BY 1".encode()
            loaded = [row[0] for row in rows(connection, query)]
            assert sorted(loaded, key=lambda each: str(each["message_id"])) == expected
