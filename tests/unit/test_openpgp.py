"""Messages of OpenPGP, read by gpg itself, and keys that are refused."""

from __future__ import annotations

import base64
import itertools
import os
import random
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from guestcomms import openpgp
from guestcomms.openpgp import PART, UnusableKey, UnusableSetting, encrypt, read_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pgpy")

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
MADE_AT = datetime(2026, 3, 1, 12, 30, 15, 999999, tzinfo=UTC)
PASSPHRASE = "früh auf dem Zimmer"
CONTENT = random.Random(5).randbytes(5_000_000)
SIZES = [0, 1, 511, 512, 513, 8400, PART - 1, PART, PART + 1, 5_000_000]
KINDS = ["rsa", "curve", "passphrase", "both"]
# Long before keys made without it, in the form of --faked-system-time.
PAST = "20240101T000000"


class Gpg:
    """gpg with keys of its own."""

    def __init__(self, home: str) -> None:
        self.home = home

    def run(self, *arguments: str, stdin: bytes = b"", passphrase: str = "") -> subprocess.CompletedProcess[bytes]:
        command = ["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]
        return subprocess.run([*command, "--passphrase", passphrase, *arguments], input=stdin, capture_output=True, check=False)

    def must(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fingerprints(self, user: str) -> list[str]:
        """Of the primary key, then of subkeys."""
        lines = self.must("--with-colons", "--with-subkey-fingerprint", "--list-keys", user).decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr")]

    def make(self, user: str, algorithm: str, usage: str, *subkeys: tuple[str, str], at: str = "", life: str = "0") -> str:
        """A key with subkeys (algorithm, usage); its fingerprint."""
        clock = ["--faked-system-time", at] if at else []
        self.must(*clock, "--quick-gen-key", user, algorithm, usage, life)
        fingerprint = self.fingerprints(user)[0]
        for each in subkeys:
            self.must(*clock, "--quick-add-key", fingerprint, *each, life)
        return fingerprint

    def edit(self, fingerprint: str, *commands: str) -> None:
        script = "\n".join([*commands, "save", ""]).encode()
        done = self.run("--command-fd", "0", "--expert", "--edit-key", fingerprint, stdin=script)
        assert done.returncode == 0, done.stderr

    def public(self, user: str) -> str:
        return self.must("--armor", "--export", user).decode()

    def open(self, message: bytes, passphrase: str = "") -> bytes | None:
        """The content of a message; None where gpg fails."""
        done = self.run("--decrypt", stdin=message, passphrase=passphrase)
        return done.stdout if done.returncode == 0 else None


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    # Not pytest's own folder: the socket of gpg's agent needs a short path.
    with TemporaryDirectory(prefix="gpg") as home:
        opened = Gpg(home)
        opened.make("rsa", "rsa3072", "cert,sign", ("rsa3072", "encr"))
        opened.make("curve", "ed25519", "cert,sign", ("cv25519", "encr"))
        yield opened
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)


def message(gpg: Gpg, kind: str, content: bytes) -> bytes:
    """A message of one of KINDS, the content in pieces of 10 kB."""
    pieces = (content[start : start + 10_000] for start in range(0, len(content), 10_000))
    user = {"rsa": "rsa", "curve": "curve", "both": "curve"}.get(kind)
    return b"".join(
        encrypt(
            pieces,
            public_key=read_public_key(gpg.public(user)) if user else None,
            passphrase=PASSPHRASE if kind in ("passphrase", "both") else None,
            file_name="export é.zip",
            made_at=MADE_AT,
        )
    )


def binary(armored: str) -> bytes:
    """What is in an ASCII armour."""
    body = armored.split("\n\n", 1)[1].split("\n=", 1)[0]
    return base64.b64decode(body)


def packets(key: bytes) -> list[bytes]:
    """Those of a key whose headers are of the old format, as gpg writes them."""
    found = []
    while key:
        size = 1 << (key[0] & 3)
        length = 1 + size + int.from_bytes(key[1 : 1 + size], "big")
        found.append(key[:length])
        key = key[length:]
    return found


def armor(content: bytes) -> str:
    """An ASCII armour with its checksum (sections 6.1 and 6.2 of RFC 4880)."""
    crc = 0xB704CE
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    lines = base64.encodebytes(content).decode()
    checksum = base64.b64encode(crc.to_bytes(3, "big")).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines}={checksum}\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(("kind", "size"), itertools.product(KINDS, SIZES))
def test_gpg_opens_a_message(gpg: Gpg, kind: str, size: int) -> None:
    # Of a message that has both, gpg 2.4 fails at an empty passphrase, and goes on to the key from a wrong one.
    opened = gpg.open(message(gpg, kind, CONTENT[:size]), PASSPHRASE if kind == "passphrase" else "another")
    assert opened is not None
    assert sha256(opened).digest() == sha256(CONTENT[:size]).digest()


def test_either_of_two_ways_opens_a_message(gpg: Gpg) -> None:
    encrypted = message(gpg, "both", CONTENT[:100])
    with TemporaryDirectory(prefix="gpg") as home:
        stranger = Gpg(home)
        assert stranger.open(encrypted, PASSPHRASE) == CONTENT[:100]
        assert stranger.open(encrypted, "another") is None
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)


def test_the_layout_is_what_gpg_lists(gpg: Gpg) -> None:
    listed = gpg.run("--list-packets", stdin=message(gpg, "both", CONTENT[: PART + 1])).stdout.decode()
    assert ":pubkey enc packet: version 3, algo 18" in listed
    assert re.search("version 4, cipher 9, aead 0, ?s2k 3, hash 8, seskey 256 bits", listed)
    assert "count 65011712 (255)" in listed
    assert "mdc_method: 2" in listed
    assert f'mode b (62), created {int(MADE_AT.timestamp())}, name="export \\xc3\\xa9.zip"' in listed
    assert listed.index(":pubkey") < listed.index(":symkey") < listed.index(":encrypted data")


@pytest.mark.parametrize("size", [20, 70_000])
def test_a_flipped_byte_is_noticed(gpg: Gpg, size: int) -> None:
    encrypted = message(gpg, "curve", CONTENT[:size])
    for place in (len(encrypted) - size // 2, len(encrypted) - 1, len(encrypted) - size - 25):
        damaged = bytearray(encrypted)
        damaged[place] ^= 1
        assert gpg.open(bytes(damaged)) is None
    assert gpg.open(encrypted[:-1]) is None


def test_messages_differ_in_everything_random(gpg: Gpg) -> None:
    first, second = (message(gpg, "passphrase", CONTENT[:100]) for _ in range(2))
    assert first[6:14] != second[6:14]
    assert first[15:48] != second[15:48]
    assert first[-100:] != second[-100:]


def predictable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without chance, and with a quick passphrase."""
    monkeypatch.setattr(openpgp, "token_bytes", bytes)
    monkeypatch.setattr(openpgp, "COUNT_CODE", 0)


def quick(pieces: list[bytes]) -> bytes:
    return b"".join(encrypt(pieces, passphrase="x", file_name="a", made_at=MADE_AT))


@many
@given(st.binary(max_size=40), st.integers(0, 9000), st.lists(st.integers(0, 400_000), max_size=6))
def test_how_pieces_are_cut_does_not_matter(start: bytes, repeated: int, cuts: list[int]) -> None:
    content = start * repeated
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = [content[left:right] for left, right in itertools.pairwise(places)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        predictable(monkeypatch)
        assert quick([*pieces, b""]) == quick([content])


def test_pieces_stay_small_and_lengths_are_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    predictable(monkeypatch)
    pieces = list(encrypt([CONTENT], passphrase="x", file_name="a", made_at=MADE_AT))
    assert max(map(len, pieces)) <= PART + 2
    assert pieces[1][:2] == b"\xd2\xf0"
    assert all(len(piece) == PART + 1 and piece[0] == 0xF0 for piece in pieces[2:-1])


@pytest.mark.parametrize("amount", [2, 12])
def test_memory_does_not_grow_with_the_stream(amount: int) -> None:
    block = bytes(1 << 20)
    tracemalloc.start()
    try:
        total = sum(map(len, encrypt(itertools.repeat(block, amount), passphrase="x", file_name="a", made_at=MADE_AT)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > amount << 20
    # Without cryptography's modules, whose first import may be here.
    assert peak < 16 * PART + (4 << 20)


def test_input_is_only_read_when_output_is(gpg: Gpg) -> None:
    taken = []

    def pieces() -> Iterator[bytes]:
        for number in range(9):
            taken.append(number)
            yield CONTENT[:PART]

    stream = encrypt(pieces(), passphrase="x", file_name="a", made_at=MADE_AT)
    assert taken == []
    next(stream)
    next(stream)
    assert 0 < len(taken) < 4


@pytest.mark.parametrize("length", [0, 1, 191, 192, 193, 8383, 8384, 70_000])
def test_lengths_of_packets(length: int) -> None:
    encoded = openpgp._length(length)
    if encoded[0] < 192:
        decoded = encoded[0]
    elif encoded[0] < 224:
        decoded = ((encoded[0] - 192) << 8) + encoded[1] + 192
    else:
        decoded = int.from_bytes(encoded[1:], "big")
    assert decoded == length
    assert len(encoded) == (1 if length < 192 else 2 if length < 8384 else 5)


def test_a_passphrase_longer_than_the_count_is_hashed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openpgp, "COUNT_CODE", 0)
    assert openpgp._stretched(b"p" * 5000, b"12345678") == sha256(b"12345678" + b"p" * 5000).digest()
    assert openpgp._stretched(b"pp", b"12345678") == sha256((b"12345678pp" * 103)[:1024]).digest()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"passphrase": None}, "public key or a passphrase"),
        ({"passphrase": ""}, "passphrase is empty"),
        ({"passphrase": "secret\nline"}, "cannot be typed"),
        ({"passphrase": "secret\udc80"}, "cannot be typed"),
        ({"file_name": ""}, "name of a file"),
        ({"file_name": "secret/a"}, "name of a file"),
        ({"file_name": "secret\\a"}, "name of a file"),
        ({"file_name": ".."}, "name of a file"),
        ({"file_name": "secret\0"}, "name of a file"),
        ({"file_name": "_CONSOLE"}, "name of a file"),
        ({"file_name": "é" * 128}, "255 bytes"),
        ({"made_at": datetime(2026, 1, 1)}, "time zone"),
        ({"made_at": datetime(1969, 1, 1, tzinfo=UTC)}, "1970 to 2106"),
        ({"made_at": datetime(2106, 3, 1, tzinfo=UTC)}, "1970 to 2106"),
    ],
)
def test_settings_are_refused_by_the_call(changed: dict[str, object], words: str) -> None:
    arguments: dict[str, object] = {"passphrase": "x", "file_name": "a", "made_at": MADE_AT} | changed
    with pytest.raises(UnusableSetting, match=words) as caught:
        encrypt([], **arguments)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_longest_name_and_last_time_are_taken() -> None:
    at = datetime.fromtimestamp((1 << 32) - 1, timezone(timedelta(hours=9)))
    assert openpgp._literal_header("é" * 127 + "a", at)[-4:] == b"\xff" * 4


def test_the_fingerprint_is_that_of_the_primary_key(gpg: Gpg) -> None:
    for user in ("rsa", "curve"):
        key = read_public_key(gpg.public(user))
        assert key.fingerprint == gpg.fingerprints(user)[0]
        assert str(key._encryption_key.fingerprint) == gpg.fingerprints(user)[1]
        assert "_encryption_key" not in repr(key)


def chosen(gpg: Gpg, user: str) -> str:
    """The fingerprint of what is encrypted to."""
    return str(read_public_key(gpg.public(user))._encryption_key.fingerprint)


def test_the_newest_valid_subkey_is_chosen(gpg: Gpg) -> None:
    fingerprint = gpg.make("several", "ed25519", "cert,sign", ("cv25519", "encr"), at=PAST)
    gpg.must("--faked-system-time", "20240201T000000", "--quick-add-key", fingerprint, "cv25519", "encr", "10d")
    gpg.must("--faked-system-time", "20240301T000000", "--quick-add-key", fingerprint, "cv25519", "encr")
    gpg.must("--faked-system-time", "20240401T000000", "--quick-add-key", fingerprint, "ed25519", "sign")
    found = gpg.fingerprints("several")
    assert chosen(gpg, "several") == found[3]
    gpg.edit(fingerprint, "key 3", "revkey", "y", "0", "", "y")
    assert chosen(gpg, "several") == found[1]
    # One that had expired and lives on is valid again, by the newer of its two signatures.
    gpg.must("--quick-set-expire", fingerprint, "0", found[2])
    assert chosen(gpg, "several") == found[2]


def test_a_primary_key_that_may_encrypt_is_chosen_without_a_subkey(gpg: Gpg) -> None:
    fingerprint = gpg.make("alone", "rsa2048", "cert,encr")
    assert chosen(gpg, "alone") == fingerprint
    gpg.must("--quick-add-key", fingerprint, "rsa2048", "encr")
    assert chosen(gpg, "alone") == gpg.fingerprints("alone")[1]


def test_a_key_that_lives_on_is_taken(gpg: Gpg) -> None:
    fingerprint = gpg.make("longer", "ed25519", "cert", ("cv25519", "encr"), at=PAST, life="10d")
    with pytest.raises(UnusableKey, match="has expired"):
        read_public_key(gpg.public("longer"))
    gpg.must("--quick-set-expire", fingerprint, "20y")
    with pytest.raises(UnusableKey, match="revoked or has expired"):
        read_public_key(gpg.public("longer"))
    gpg.must("--quick-set-expire", fingerprint, "20y", gpg.fingerprints("longer")[1])
    assert chosen(gpg, "longer") == gpg.fingerprints("longer")[1]


def test_revoked_keys_are_refused(gpg: Gpg) -> None:
    fingerprint = gpg.make("revoked", "ed25519", "cert", ("cv25519", "encr"))
    certificate = (Path(gpg.home) / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text(encoding="utf-8")
    gpg.must("--import", stdin=certificate.replace(":-----BEGIN", "-----BEGIN").encode())
    with pytest.raises(UnusableKey, match="This key is revoked"):
        read_public_key(gpg.public("revoked"))


def test_a_user_that_is_revoked_does_not_count(gpg: Gpg) -> None:
    fingerprint = gpg.make("left", "ed25519", "cert", ("cv25519", "encr"), at=PAST)
    gpg.must("--quick-add-uid", fingerprint, "second")
    gpg.must("--quick-revoke-uid", fingerprint, "left")
    whole = binary(gpg.public(fingerprint))
    assert read_public_key(armor(whole)).fingerprint == fingerprint
    place = [packet[2:] for packet in packets(whole)].index(b"second")
    only_left = [*packets(whole)[:place], *packets(whole)[place + 2 :]]
    with pytest.raises(UnusableKey, match="no user that it has signed itself and not revoked"):
        read_public_key(armor(b"".join(only_left)))


@pytest.mark.parametrize(
    ("user", "algorithms", "words"),
    [
        ("signs", ("ed25519", "cert,sign"), "only for signing"),
        ("weak", ("rsa1024", "cert", ("rsa1024", "encr")), "2048 bits"),
        ("nist", ("ed25519", "cert", ("nistp256", "encr")), "2048 bits"),
        ("elgamal", ("ed25519", "cert", ("elg2048", "encr")), "2048 bits"),
    ],
)
def test_keys_that_cannot_encrypt_are_refused(gpg: Gpg, user: str, algorithms: tuple[str, ...], words: str) -> None:
    gpg.make(user, *algorithms)  # type: ignore[arg-type]
    with pytest.raises(UnusableKey, match=words):
        read_public_key(gpg.public(user))


def test_private_keys_are_refused(gpg: Gpg) -> None:
    private = gpg.must("--armor", "--export-secret-keys", "curve").decode()
    for armored in (private, private.replace("PRIVATE", "PUBLIC")):
        with pytest.raises(UnusableKey, match="a private key"):
            read_public_key(armored)


def test_several_keys_are_refused(gpg: Gpg) -> None:
    with pytest.raises(UnusableKey, match="several keys"):
        read_public_key(armor(binary(gpg.public("rsa")) + binary(gpg.public("curve"))))


def test_what_a_key_did_not_sign_is_refused(gpg: Gpg) -> None:
    whole = binary(gpg.public("curve"))
    assert read_public_key(armor(whole)).fingerprint == gpg.fingerprints("curve")[0]
    bound = bytearray(whole)
    bound[-1] ^= 1
    with pytest.raises(UnusableKey, match="only for signing"):
        read_public_key(armor(bytes(bound)))
    named = whole.replace(b"\x05curve", b"\x05Curve")
    assert named != whole
    with pytest.raises(UnusableKey, match="no user that it has signed itself"):
        read_public_key(armor(named))


def test_a_subkey_of_another_key_is_refused(gpg: Gpg) -> None:
    own, other = packets(binary(gpg.public("rsa"))), packets(binary(gpg.public("curve")))
    assert b"".join(own[:-2] + own[-2:]) == binary(gpg.public("rsa"))
    with pytest.raises(UnusableKey, match="only for signing"):
        read_public_key(armor(b"".join(own[:-2] + other[-2:])))


def test_what_is_no_key_is_refused(gpg: Gpg) -> None:
    armored = gpg.public("curve")
    for text in (
        "",
        "secret",
        "sécret €",
        armor(b""),
        armor(b"secret"),
        armored[:300],
        gpg.must("--armor", "--enarmor").decode(),
    ):
        with pytest.raises(UnusableKey) as caught:
            read_public_key(text)
        assert "secret" not in str(caught.value)
    with pytest.raises(UnusableKey, match="longer than"):
        read_public_key(armored + "\n" * openpgp.MOST_KEY)


@many
@given(place=st.integers(0, 350), bit=st.integers(0, 7))
def test_a_damaged_key_is_never_another_error(gpg: Gpg, place: int, bit: int) -> None:
    whole = bytearray(binary(gpg.public("curve")))
    subkey = gpg.fingerprints("curve")[1]
    whole[place % len(whole)] ^= 1 << bit
    try:
        key = read_public_key(armor(bytes(whole)))
    except UnusableKey:
        return
    # What no signature covers may change; to whom is encrypted may not.
    assert str(key._encryption_key.fingerprint) == subkey


def test_a_missing_package_is_an_import_error(gpg: Gpg, monkeypatch: pytest.MonkeyPatch) -> None:
    armored = gpg.public("curve")
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    monkeypatch.setitem(modules, "pgpy", None)
    with pytest.raises(ImportError):
        read_public_key(armored)
