"""Streams encrypted as OpenPGP messages (RFC 4880) that gpg opens, in memory that does not grow with the stream.

PGPy reads the keys of recipients and encrypts session keys to them. The bulk is encrypted here, since PGPy holds whole
messages several times. A message is one packet per way to open it, then a Symmetrically Encrypted Integrity Protected Data
packet (section 5.13) with a Literal Data packet (section 5.9) in it, uncompressed: an archive is compressed already.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha1, sha256
from importlib import import_module
from secrets import token_bytes
from typing import Any

# Tags of packets, section 4.3.
PUBLIC_KEY_SESSION_KEY, PASSPHRASE_SESSION_KEY, LITERAL, PROTECTED = 1, 3, 11, 18
AES_256, SHA_256, ITERATED_SALTED = 9, 8, 3  # sections 9.2, 9.4 and 3.7.1
BLOCK, SESSION_KEY = 16, 32  # bytes of AES-256
# Bytes of a partial body, a power of two and at least 512 (section 4.2.2.4).
PART_EXPONENT = 16
PART = 1 << PART_EXPONENT
# The greatest coded count of section 3.7.1.3, 65011712 bytes to hash: what slows down who guesses passphrases.
COUNT_CODE = 255
MOST_KEY = 1 << 20  # characters of an armoured key
LEAST_RSA = 2048  # bits
MOST_NAME = 255  # bytes of a file name in a literal data packet
# Signatures of a key over itself, section 5.2.1.
CERTIFICATIONS, CERTIFICATION_REVOKED = (0x10, 0x11, 0x12, 0x13), 0x30
DIRECT, SUBKEY_BINDING, KEY_REVOKED, SUBKEY_REVOKED = 0x1F, 0x18, 0x20, 0x28
# SHA-224 to SHA-512: with older ones, who makes collisions can move a signature to another key.
SOUND_HASHES = (8, 9, 10, 11)
RSA, ECDH = 1, 18  # section 9.1; RFC 6637, section 5
ENCRYPTION_FLAGS = {4, 8}  # of communications, of storage: section 5.2.3.21


class UnusableKey(ValueError):
    """What was given as public key cannot be encrypted to."""


class UnusableSetting(ValueError):
    """A passphrase, a file name or a time that a message cannot have."""


@dataclass(frozen=True)
class PublicKey:
    """A recipient: its fingerprint (40 upper case hexadecimal digits of the primary key), and what of it is encrypted to."""

    fingerprint: str
    _encryption_key: Any = field(repr=False, compare=False)  # pgpy.PGPKey: a subkey, or the primary key


def read_public_key(armored: str) -> PublicKey:
    """The key of one recipient, from its ASCII armour; of valid encryption subkeys the newest, else the primary key.

    Valid is what the primary key's own signatures (verified, SHA-2) bind, what is not revoked and has not expired, and is RSA
    of at least LEAST_RSA bits or ECDH with Curve25519 (RFC 6637). A revocation counts without its signature being verified,
    since refusing is the safe side. Raises UnusableKey, also for a private key and for several keys at once, and ImportError
    where PGPy is missing or lacks a module: PGPy 0.6 imports imghdr, which Python 3.13 has not, but not as Debian 13 has it.
    """
    pgpy = import_module("pgpy")
    if len(armored) > MOST_KEY:
        raise UnusableKey(f"The public key is longer than {MOST_KEY} characters.")
    if "PRIVATE KEY BLOCK" in armored:
        raise UnusableKey("This is a private key. It should never leave its owner: give the public key.")
    try:
        # PGPy warns of what it does not check; what matters of that is checked here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            primary, found = pgpy.PGPKey.from_blob(armored)
            return _recipient(primary, len(found))
    except UnusableKey:
        raise
    except Exception:
        # PGPy raises many kinds for bytes that are no key, down to IndexError, some with the bytes in their message.
        raise UnusableKey("This is not an OpenPGP public key in ASCII armour, or it is damaged.") from None


def encrypt(
    pieces: Iterable[bytes],
    *,
    public_key: PublicKey | None = None,
    passphrase: str | None = None,
    file_name: str,
    made_at: datetime,
) -> Iterator[bytes]:
    """A binary OpenPGP message of the pieces, itself in pieces of at most about 64 KiB; either way, or both, opens it.

    file_name and made_at (with a time zone, whole seconds are kept) are within the encrypted part. What can be refused is
    refused by the call and not while iterating: raises UnusableSetting for neither key nor passphrase, a passphrase that is
    empty or that gpg could not be given, a name of a path or of more than MOST_NAME bytes and a time that 32 bits cannot hold;
    ImportError where cryptography or PGPy is missing.
    """
    header = _literal_header(file_name, made_at)
    session_key = token_bytes(SESSION_KEY)
    openers = []
    if public_key is not None:
        openers.append(_public_key_packet(public_key._encryption_key, session_key))
    if passphrase is not None:
        openers.append(_passphrase_packet(_passphrase_bytes(passphrase), session_key))
    if not openers:
        raise UnusableSetting("A public key or a passphrase is needed to encrypt.")
    return _message(openers, header, pieces, session_key)


def _message(openers: list[bytes], header: bytes, pieces: Iterable[bytes], session_key: bytes) -> Iterator[bytes]:
    """The packets in the order of section 11.3."""
    yield from openers
    yield from _packet(PROTECTED, _protected(_packet(LITERAL, _after(header, pieces)), session_key))


def _after(header: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield header
    yield from pieces


def _packet(tag: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A packet with a header of the new format (section 4.2.2): partial bodies of PART bytes, then one of the length left."""
    head = bytes([0xC0 | tag])
    waiting = bytearray()
    for piece in pieces:
        # A large piece is taken in parts, so that no second copy of it is ever held.
        view = memoryview(piece)
        for start in range(0, len(view), PART):
            waiting += view[start : start + PART]
            if len(waiting) >= PART:
                yield head + bytes([0xE0 | PART_EXPONENT]) + waiting[:PART]
                del waiting[:PART]
                head = b""
    yield head + _length(len(waiting)) + waiting


def _length(length: int) -> bytes:
    """The length of a body as one, two or five octets (sections 4.2.2.1 to 4.2.2.3)."""
    if length < 192:
        return bytes([length])
    if length < 8384:
        return (length - 192 + (192 << 8)).to_bytes(2, "big")
    return b"\xff" + length.to_bytes(4, "big")


def _literal_header(file_name: str, made_at: datetime) -> bytes:
    """What is before the data of a literal data packet: binary, name, time (section 5.9)."""
    # _CONSOLE is a name with a meaning: a message for the eyes only, which gpg does not write to a file.
    if not file_name.isprintable() or "/" in file_name or "\\" in file_name or file_name in ("", ".", "..", "_CONSOLE"):
        raise UnusableSetting("The name of the encrypted file is not the name of a file.")
    name = file_name.encode()
    if len(name) > MOST_NAME:
        raise UnusableSetting(f"The name of the encrypted file has more than {MOST_NAME} bytes.")
    if made_at.tzinfo is None or not 0 <= int(made_at.timestamp()) < 1 << 32:
        raise UnusableSetting("The time of the encrypted file needs a time zone and a year from 1970 to 2106.")
    return b"b" + bytes([len(name)]) + name + int(made_at.timestamp()).to_bytes(4, "big")


def _encryptor(key: bytes) -> Any:
    """AES-256 in cipher feedback mode from a zero vector, which OpenPGP has in all places used here (section 13.9)."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CFB

    return Cipher(AES(key), CFB(bytes(BLOCK))).encryptor()


def _protected(pieces: Iterable[bytes], session_key: bytes) -> Iterator[bytes]:
    """The body of packet 18 (section 5.13): version, then encrypted a random block whose last two bytes are repeated, the
    pieces, and the packet of section 5.14 with the SHA-1 of all encrypted before, its own two bytes of header included.
    """
    encryptor = _encryptor(session_key)
    block = token_bytes(BLOCK)
    start = block + block[-2:]
    digest = sha1(start)
    yield b"\x01" + encryptor.update(start)
    for piece in pieces:
        digest.update(piece)
        yield encryptor.update(piece)
    digest.update(b"\xd3\x14")
    yield encryptor.update(b"\xd3\x14" + digest.digest())


def _passphrase_bytes(passphrase: str) -> bytes:
    """The passphrase in UTF-8, as gpg reads it from a terminal or the first line of a file."""
    # isprintable() refuses line ends, and lone surrogates, whose error of encoding would hold the passphrase.
    if not passphrase or not passphrase.isprintable():
        raise UnusableSetting("The passphrase is empty or has characters that cannot be typed.")
    return passphrase.encode()


def _passphrase_packet(passphrase: bytes, session_key: bytes) -> bytes:
    """A Symmetric-Key Encrypted Session Key packet, version 4 (section 5.3), with an encrypted session key in it."""
    salt = token_bytes(8)
    specifier = bytes([4, AES_256, ITERATED_SALTED, SHA_256]) + salt + bytes([COUNT_CODE])
    encryptor = _encryptor(_stretched(passphrase, salt))
    return b"".join(_packet(PASSPHRASE_SESSION_KEY, [specifier, encryptor.update(bytes([AES_256]) + session_key)]))


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    """The key of 32 bytes of a passphrase: SHA-256 over salt and passphrase, repeated (section 3.7.1.3)."""
    unit = salt + passphrase
    count = max((16 + (COUNT_CODE & 15)) << ((COUNT_CODE >> 4) + 6), len(unit))
    # As much as comes near PART at a time, since each call costs more than a hash of few bytes.
    many = unit * (PART // len(unit) + 1)
    digest = sha256()
    for _ in range(count // len(many)):
        digest.update(many)
    digest.update(many[: count % len(many)])
    return digest.digest()


def _public_key_packet(encryption_key: Any, session_key: bytes) -> bytes:
    """A Public-Key Encrypted Session Key packet, version 3 (section 5.1; RFC 6637, section 10, for ECDH)."""
    packets = import_module("pgpy.packet.packets")
    constants = import_module("pgpy.constants")
    packet = packets.PKESessionKeyV3()
    packet.encrypter = bytearray.fromhex(str(encryption_key.fingerprint.keyid))
    packet.pkalg = encryption_key.key_algorithm
    packet.encrypt_sk(encryption_key._key, constants.SymmetricKeyAlgorithm.AES256, session_key)
    return bytes(packet.__bytearray__())


def _recipient(primary: Any, found: int) -> PublicKey:
    """The key to encrypt to, of a pgpy.PGPKey; found: of how many keys in the armour it is the first."""
    if found > 1:
        raise UnusableKey("There are several keys here: give one.")
    if not all(key.is_public for key in (primary, *primary.subkeys.values())):
        raise UnusableKey("There is a private key in this key. It should never leave its owner: give the public key.")
    if _signed_as(primary, KEY_REVOKED):
        raise UnusableKey("This key is revoked.")
    own = _certification(primary)
    if _is_expired(primary, own):
        raise UnusableKey("This key has expired.")
    chosen = _encryption_key(primary, own)
    # What PGPy cannot encrypt to, as a point that is not on the curve, fails here and not in the middle of an export.
    _public_key_packet(chosen, bytes(SESSION_KEY))
    return PublicKey(str(primary.fingerprint), chosen)


def _certification(primary: Any) -> Any:
    """The newest signature of a primary key over itself, alone or with a user that it has not revoked."""
    candidates = [_newest(primary, primary, (DIRECT,))]
    for user in primary.userids:
        newest = _newest(primary, user, (*CERTIFICATIONS, CERTIFICATION_REVOKED))
        if newest is not None and newest.type != CERTIFICATION_REVOKED:
            candidates.append(newest)
    valid = [signature for signature in candidates if signature is not None]
    if not valid:
        raise UnusableKey("This key has no user that it has signed itself and not revoked.")
    return max(valid, key=lambda signature: signature.created)


def _encryption_key(primary: Any, own: Any) -> Any:
    """The newest valid subkey that may be encrypted to, else the primary key. Raises UnusableKey saying what is missing."""
    bound = [(subkey, _newest(primary, subkey, (SUBKEY_BINDING,))) for subkey in primary.subkeys.values()]
    flagged = [
        (key, signature) for key, signature in [*bound, (primary, own)] if signature is not None and _may_encrypt(signature)
    ]
    if not flagged:
        raise UnusableKey("This key is only for signing: nothing can be encrypted to it.")
    valid = [key for key, signature in flagged if not _signed_as(key, SUBKEY_REVOKED) and not _is_expired(key, signature)]
    if not valid:
        raise UnusableKey("What this key has for encryption is revoked or has expired.")
    able = [key for key in valid if _is_supported(key)]
    if not able:
        raise UnusableKey(f"Only RSA of at least {LEAST_RSA} bits and Curve25519 can be encrypted to.")
    return max(able, key=lambda key: (not key.is_primary, key.created))


def _signed_as(holder: Any, kind: int) -> list[Any]:
    return [signature for signature in holder.__sig__ if signature.type == kind]


def _newest(primary: Any, holder: Any, kinds: tuple[int, ...]) -> Any:
    """The newest verified signature of those kinds by the primary key over itself, a subkey or a user; None without."""
    signatures = [
        signature
        for signature in holder.__sig__
        if signature.type in kinds
        and signature.signer == primary.fingerprint.keyid
        and signature.hash_algorithm in SOUND_HASHES
        and not signature.is_expired
        and _is_verified(primary, holder, signature)
    ]
    return max(signatures, key=lambda signature: signature.created, default=None)


def _is_verified(primary: Any, holder: Any, signature: Any) -> bool:
    """Whether the primary key made the signature. PGPKey.verify() would also say no for a key that has expired."""
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    method = getattr(hashes, signature.hash_algorithm.name)()
    return primary._key.verify(signature.hashdata(holder), signature.__sig__, method) is True


def _hashed(signature: Any, name: str) -> list[Any]:
    """Subpackets of that name which the signature covers: others could be added by anyone (section 5.2.3)."""
    found: list[Any] = signature._signature.subpackets[f"h_{name}"]
    return found


def _may_encrypt(signature: Any) -> bool:
    return any(int(flag) in ENCRYPTION_FLAGS for subpacket in _hashed(signature, "KeyFlags") for flag in subpacket.flags)


def _is_expired(key: Any, signature: Any) -> bool:
    """Whether the life of the key that its signature tells is over; one of zero has no end (section 5.2.3.6)."""
    lives: list[timedelta] = [subpacket.expires for subpacket in _hashed(signature, "KeyExpirationTime")]
    return any(life and key.created + life <= datetime.now(UTC) for life in lives)


def _is_supported(key: Any) -> bool:
    if key.key_algorithm == RSA:
        return bool(key.key_size >= LEAST_RSA)
    return bool(key.key_algorithm == ECDH and key.key_size.name == "Curve25519")
