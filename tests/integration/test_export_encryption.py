"""Encrypted exports, opened by gpg; keys that are told to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.exports import Keys, ask, opened, progress, read, records
from tests.support.queries import one, refused, rows, told
from tests.support.store import Store

PASSPHRASE = "four words nobody guesses ünïcode"
SET_KEY = "SELECT guestcomms.set_export_key(%s, %s)"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    keys = Keys(tmp_path_factory.mktemp("gpg") / "home")
    yield keys
    keys.end()


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.write_many(3)
        yield archive


def only_guest(office: Archive) -> UUID:
    found: UUID = one(office.root, "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s", office.tenant)
    return found


def check_opened(data: bytes, office: Archive) -> None:
    messages = records(opened(data), "messages")
    assert len(messages) == len(office.hot()) == 3


@pytest.mark.parametrize("algorithm", [("rsa3072", "rsa3072"), ("ed25519", "cv25519")], ids=["rsa", "curve25519"])
def test_gpg_opens_what_is_encrypted_to_a_public_key(office: Archive, keys: Keys, algorithm: tuple[str, str]) -> None:
    armoured = keys.make(f"{algorithm[0]} <{algorithm[0]}@example.com>", *algorithm)
    export = ask(office.root, only_guest(office), formats=["jsonl"], recipient_key=armoured)
    assert progress(office.root, export)["file_name"].endswith(".zip.gpg")
    encrypted = read(office.root, export)
    assert b"PK\x03\x04" not in encrypted
    assert b"manifest.json" not in encrypted
    check_opened(keys.gpg("--decrypt", data=encrypted), office)


def test_gpg_opens_what_is_encrypted_with_a_named_passphrase(office: Archive, keys: Keys) -> None:
    assert one(office.root, SET_KEY, "office", PASSPHRASE) is None
    encrypted = read(office.root, ask(office.root, only_guest(office), formats=["jsonl"], recipient_key="office"))
    check_opened(keys.gpg("--decrypt", data=encrypted, passphrase=PASSPHRASE), office)
    with pytest.raises(AssertionError):
        keys.gpg("--decrypt", data=encrypted, passphrase="another")


def test_a_named_public_key(office: Archive, keys: Keys) -> None:
    armoured = keys.make("named <named@example.com>", "ed25519", "cv25519")
    fingerprint = one(office.root, SET_KEY, "lawyer", armoured)
    assert fingerprint in keys.gpg("--list-keys", "--with-colons", "named").decode()
    encrypted = read(office.root, ask(office.root, only_guest(office), formats=["jsonl"], recipient_key="lawyer"))
    check_opened(keys.gpg("--decrypt", data=encrypted), office)
    assert rows(office.root, "SELECT name, is_public FROM guestcomms.list_export_keys()") == [("lawyer", True)]


def test_keys_are_each_business_s_own(office: Archive, store: Store) -> None:
    office.root.execute(SET_KEY, ["office", PASSPHRASE])
    with Archive(store) as other:
        assert rows(other.root, "SELECT name FROM guestcomms.list_export_keys()") == []
        with refused("42704"):
            ask(other.root, other.guest(), recipient_key="office")
    office.root.execute(SET_KEY, ["office", None])
    assert rows(office.root, "SELECT name FROM guestcomms.list_export_keys()") == []


@pytest.mark.parametrize(
    "key",
    [
        "short",
        "x" * 2000,
        "with\nlines and more",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nc2VjcmV0\n-----END PGP PUBLIC KEY BLOCK-----",
    ],
)
def test_unusable_keys_are_refused_and_not_repeated(office: Archive, key: str) -> None:
    with refused("22023") as caught:
        office.root.execute(SET_KEY, ["office", key])
    assert caught.value.diag.message_hint
    for part in (key, "c2VjcmV0"):
        assert part not in told(caught.value)


def test_private_keys_are_refused(office: Archive, keys: Keys) -> None:
    keys.make("private <private@example.com>", "ed25519", "cv25519")
    secret = keys.gpg("--armor", "--export-secret-keys", "private").decode()
    with refused("22023") as caught:
        office.root.execute(SET_KEY, ["office", secret])
    assert "private key" in told(caught.value)
    assert secret.splitlines()[3] not in told(caught.value)


@pytest.mark.parametrize("name", [None, "", "two words", "-x", "x" * 64])
def test_names_of_keys(office: Archive, name: str | None) -> None:
    with refused("22023"):
        office.root.execute(SET_KEY, [name, PASSPHRASE])
