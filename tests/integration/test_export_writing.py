"""What the server's Python writes, written here over a client's connection: the same files, and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from guestcomms import export_keys, export_writing
from guestcomms.export_files import FORMATS
from guestcomms.problems import Problem

from tests.support.archive import Archive
from tests.support.exports import Keys, ask, manifest_of, opened, progress, read
from tests.support.plpy import Plpy
from tests.support.queries import column, one
from tests.support.store import Store

PASSPHRASE = "four words nobody guesses"
BATCH = 2


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
        archive.root.execute("SELECT guestcomms.set_setting('privacy.export_batch_messages', %s)", [str(BATCH)])
        yield archive


@pytest.fixture
def guest(office: Archive) -> UUID:
    """Five messages, by e-mail and not, in two conversations, with all that belongs to some of them."""
    guest = office.guest("Zoë Kaya")
    office.root.execute("SELECT guestcomms.open_request(%s, 'access', note => 'by phone, +44 7700 900123')", [guest])
    threads = [office.thread(guest) for _ in range(2)]
    texts = ["Zoë here, or ask Amir Haddad: amir@example.com", "my table, please", "新娘的座位", "call +44 7700 900456", "thanks"]
    for number, text in enumerate(texts):
        channel = "email" if number % 2 else "sms"
        values = {"body": text, "subject": "Seats", "channel": channel, "metadata": '{"seen by": ["Amir Haddad", 7]}'}
        message = office.write(guest, threads[number // 3], 300 - number, **values)
        if number < 2:
            office.detail(message)
    office.root.execute("SELECT guestcomms.add_guest('Amir Haddad', email => 'amir@example.com')")
    return guest


class Writer:
    """Writes an export that waits as step_export() does, with the Python of this process."""

    def __init__(self, office: Archive, export: UUID) -> None:
        self.root, self.names = office.root, (str(office.tenant), str(export))
        self.plpy = Plpy(office.root)
        self.session: dict[str, Any] = {}

    def context(self) -> str:
        found: str = one(self.root, "SELECT guestcomms_internal.export_context(%s, %s)::text", *self.names)
        return found

    def documents(self, query: str, *values: object) -> list[str]:
        return [json.dumps(each) for each in column(self.root, f"SELECT unnest({query})", self.names[0], *values)]

    def write(self) -> None:
        guest, scope = self.root.execute(
            "SELECT guest_id, scope FROM guestcomms.exports WHERE export_id = %s", [self.names[1]]
        ).fetchone() or ("", "")
        is_narrow = scope == "portability"
        add = "guestcomms_internal.message_records(%s, %s, NULL, %s)"
        self.batch("open", self.documents("guestcomms_internal.other_records(%s, %s, %s)", guest, is_narrow))
        messages = "SELECT message_id FROM guestcomms.messages WHERE guest_id = %s OR %s::uuid IS NULL ORDER BY sent_at"
        ids = column(self.root, messages, guest, guest)
        for first in range(0, len(ids), BATCH):
            taken = ids[first : first + BATCH]
            self.batch("add", self.documents(add, taken, is_narrow))
            self.root.execute("SELECT guestcomms_internal.note_written(%s, %s, %s)", [*self.names, taken])
        self.batch("close", [])

    def batch(self, stage: Any, documents: list[str]) -> None:
        export_writing.write_batch(self.plpy, self.session, *self.names, stage, documents, self.context())

    def assemble(self, public_key: str | None = None, passphrase: str | None = None) -> bytes:
        size, count, digest = export_writing.assemble(
            self.plpy,
            self.session,
            *self.names,
            self.context(),
            public_key=public_key,
            passphrase=passphrase,
            file_name="guest.zip",
        )
        query = "SELECT data FROM guestcomms_internal.export_parts WHERE export_id = %s ORDER BY part_number"
        parts = column(self.root, query, self.names[1])
        data = b"".join(parts)
        assert (len(data), len(parts)) == (size, count)
        assert len(digest) == 32
        return data


def steady(files: dict[str, bytes], export: UUID) -> dict[str, bytes]:
    """Without what two exports of the same data differ in."""
    about = manifest_of(files)
    when = (about["made_at"], about["made_at"][:19].replace("T", " "))
    found = {}
    for name, data in files.items():
        for each in (str(export), *when):
            data = data.replace(each.encode(), b"-")
        if name.rpartition(".")[2] not in ("json", "pdf"):
            found[name] = data
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "access"},
        {"scope": "portability", "compress": False},
        {"redact_others": True},
        {"anonymize": True},
    ],
    ids=["access", "portability", "others hidden", "anonymised"],
)
def test_the_same_files_as_the_server_writes(office: Archive, guest: UUID, options: dict[str, Any]) -> None:
    formats = [name for name in FORMATS if name != "eml"]
    export = ask(office.root, guest, formats=formats, **options)
    assert progress(office.root, export)["status"] == "waiting"
    writer = Writer(office, export)
    writer.write()
    written = opened(writer.assemble())
    office.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '1000')")
    second = ask(office.root, guest, formats=formats, **options)
    by_server = opened(read(office.root, second))
    assert manifest_of(written)["counts"] == manifest_of(by_server)["counts"]
    assert set(written) == set(by_server)
    if not options.get("anonymize"):  # every export has a key of its own
        requested = "SELECT requested_at FROM guestcomms.exports WHERE export_id = %s"
        assert one(office.root, requested, export) < one(office.root, requested, second)
        ours, theirs = steady(written, export), steady(by_server, second)
        for name in ("jsonl/messages.jsonl", "csv/messages.csv", "jsonl/guests.jsonl", "jsonl/message_events.jsonl"):
            assert ours[name] == theirs[name], name


def test_an_anonymised_copy_of_the_business_names_nobody(office: Archive, guest: UUID) -> None:
    export: UUID = one(office.root, "SELECT guestcomms.anonymized_copy()")
    writer = Writer(office, export)
    writer.write()
    whole = b"".join(opened(writer.assemble()).values())
    for word in ("Zoë", "Haddad", "amir@example.com", "900456", str(guest)):
        assert word.encode() not in whole


def test_encrypted_with_either_kind_of_key(office: Archive, guest: UUID, tmp_path_factory: pytest.TempPathFactory) -> None:
    keys = Keys(tmp_path_factory.mktemp("gpg") / "home")
    try:
        armoured = keys.make("officer <officer@example.com>", "ed25519", "cv25519")
        assert export_keys.check_key(armoured)
        for key, passphrase in ((armoured, None), (None, PASSPHRASE)):
            writer = Writer(office, ask(office.root, guest, formats=["jsonl"]))
            writer.write()
            data = writer.assemble(key, passphrase)
            assert opened(keys.gpg("--decrypt", data=data, passphrase=passphrase or ""))
    finally:
        keys.end()


def test_parts_join(monkeypatch: pytest.MonkeyPatch, office: Archive, guest: UUID) -> None:
    monkeypatch.setattr(export_writing, "PART_BYTES", 999)
    writer = Writer(office, ask(office.root, guest, formats=["csv"]))
    writer.write()
    data = writer.assemble()
    assert len(data) > 2 * 999
    assert opened(data)
    monkeypatch.setattr(export_writing, "PART_BYTES", len(data))
    assert list(export_writing._cut(iter([data]))) == [data]


@pytest.mark.parametrize("formats", [None, [], ["jsonl", "docx"], ["jsonl", None]])
def test_no_format_or_an_unknown_one(formats: list[str | None] | None) -> None:
    with pytest.raises(Problem) as caught:
        export_writing.check_formats(formats)
    assert caught.value.fields["sqlstate"] == "22023"


def test_a_format_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_writing, "missing_packages", lambda name: [("reportlab", "python3-reportlab")] * (name == "pdf"))
    export_writing.check_formats(["html", "csv"])
    with pytest.raises(Problem) as caught:
        export_writing.check_formats(["html", "pdf"])
    assert caught.value.fields["sqlstate"] == "0A000"
    assert "python3-reportlab" in caught.value.fields["hint"]


@pytest.mark.parametrize(
    "content", ["too short", "a" * 1025, "two lines\nof a passphrase", "-----BEGIN PGP PUBLIC KEY BLOCK-----"]
)
def test_keys_that_nothing_can_be_encrypted_with(content: str) -> None:
    with pytest.raises(Problem) as caught:
        export_keys.check_key(content)
    assert caught.value.fields["sqlstate"] == "22023"
    assert content not in str(caught.value.fields)


def test_a_passphrase_has_no_fingerprint() -> None:
    assert export_keys.check_key(PASSPHRASE) is None


def test_without_the_packages_for_encrypting(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(armored: str) -> None:
        raise ImportError

    monkeypatch.setattr(export_keys, "read_public_key", unavailable)
    with pytest.raises(Problem) as caught:
        export_keys.check_key("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert caught.value.fields["sqlstate"] == "0A000"
    monkeypatch.setattr(export_keys, "find_spec", lambda name: None)
    with pytest.raises(Problem) as caught:
        export_keys.check_key(PASSPHRASE)
    assert "python3-cryptography" in caught.value.fields["hint"]
