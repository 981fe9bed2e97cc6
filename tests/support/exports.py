"""Asking for an export, reading its file as a user would, and looking into it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from tests.support.archive import Archive
from tests.support.columns import COMPUTED
from tests.support.database import Connection
from tests.support.queries import one, rows

Record = dict[str, Any]
STEP = "SELECT guestcomms_internal.step_export(%s, %s)"
READ = "SELECT part_no, data FROM guestcomms.read_export(%s)"
# Tables of which an export of a guest has records.
TABLES = (
    *("guests", "guest_addresses", "weddings", "wedding_guests", "consents", "campaigns", "threads", "subject_requests"),
    *("subject_request_steps", "messages", "message_events", "message_versions", "attachments", "message_annotations"),
)


def ask(connection: Connection, guest: UUID, **arguments: object) -> UUID:
    """export_guest()."""
    named = sql.SQL("").join(sql.SQL(", {} => %s").format(sql.Identifier(name)) for name in arguments)
    statement = sql.SQL("SELECT guestcomms.export_guest(%s{})").format(named)
    (found,) = connection.execute(statement, [guest, *arguments.values()]).fetchall()
    export: UUID = found[0]
    return export


def progress(connection: Connection, export: UUID) -> Record:
    """get_export_progress() of one."""
    with connection.cursor(row_factory=dict_row) as cursor:
        (found,) = cursor.execute("SELECT * FROM guestcomms.get_export_progress(%s)", [export]).fetchall()
    return found


def read(connection: Connection, export: UUID) -> bytes:
    """The file."""
    parts = rows(connection, READ, export)
    assert [number for number, _ in parts] == list(range(1, len(parts) + 1))
    data = b"".join(part for _, part in parts)
    told = progress(connection, export)
    assert (told["byte_count"], told["part_count"]) == (len(data), len(parts))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    return data


def opened(data: bytes) -> dict[str, bytes]:
    """The files of a zip, each found to be what the manifest says."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = manifest_of(files)
    described = {file["name"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
    actual = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    assert described | {"manifest.json": actual["manifest.json"]} == actual
    return files


def manifest_of(files: dict[str, bytes]) -> Any:
    return json.loads(files["manifest.json"])


def records(files: dict[str, bytes], table: str) -> list[Record]:
    """The records of a table in format jsonl."""
    return [json.loads(line) for line in files.get(f"jsonl/{table}.jsonl", b"").decode().splitlines()]


def stored(archive: Archive, table: str) -> list[str]:
    """All rows of the tenant in a table, as a record has them, as JSON text in order."""
    query = "SELECT to_jsonb(t) - %s::text[] FROM guestcomms.{} AS t WHERE tenant_id = %s ORDER BY 1"
    statement = sql.SQL(query).format(sql.Identifier(table))
    with archive.root.transaction():
        archive.root.execute("SET LOCAL timezone = 'UTC'")
        return sorted(
            json.dumps(row[0], sort_keys=True)
            for row in archive.root.execute(statement, [["tenant_id", *COMPUTED], archive.tenant])
        )


def as_lines(found: list[Record]) -> list[str]:
    """Records to compare with stored()."""
    return sorted(json.dumps(record, sort_keys=True) for record in found)


class Keys:
    """A gpg home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)

    def gpg(self, *arguments: str, data: bytes = b"", passphrase: str = "") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback"]
        done = subprocess.run([*command, "--passphrase", passphrase, *arguments], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def make(self, name: str, algorithm: str, encrypting: str) -> str:
        """The public part, in ASCII armour, of a new key that signs, with a subkey that encrypts."""
        self.gpg("--quick-generate-key", name, algorithm, "sign", "never")
        listed = self.gpg("--list-keys", "--with-colons", name).decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        self.gpg("--quick-add-key", fingerprint, encrypting, "encr", "never")
        return self.gpg("--armor", "--export", name).decode()

    def end(self) -> None:
        """gpg's agent lives on by itself."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


def audited(archive: Archive, action: str) -> int:
    """How often an action of the tenant is in the audit trail."""
    found: int = one(
        archive.root, "SELECT count(*) FROM guestcomms.audit_entries WHERE tenant_id = %s AND action = %s", archive.tenant, action
    )
    return found
