"""What exports are encrypted with: public keys and passphrases, checked before they are kept."""

from __future__ import annotations

from importlib.util import find_spec

from guestcomms.openpgp import UnusableKey, read_public_key
from guestcomms.problems import Problem

ARMOUR = "-----BEGIN PGP"
LEAST_PASSPHRASE = 12  # characters
MOST_PASSPHRASE = 1024


def check_key(content: str) -> str | None:
    """The fingerprint of a public key in ASCII armour, None for a passphrase.

    Raises Problem for what nothing can be encrypted with, or not on this server; it never holds any of content.
    """
    if find_spec("cryptography") is None:
        raise missing("encrypting takes", "cryptography")
    if ARMOUR in content:
        return _fingerprint(content)
    if not LEAST_PASSPHRASE <= len(content) <= MOST_PASSPHRASE or not content.isprintable():
        raise Problem(
            "this passphrase cannot be used",
            detail=f"It has from {LEAST_PASSPHRASE} to {MOST_PASSPHRASE} characters, all of which can be typed in one line.",
            hint="Several words that nobody guesses; or an OpenPGP public key in ASCII armour.",
        )
    return None


def missing(what: str, package: str, debian: str | None = None) -> Problem:
    """The error where a Python package is not installed."""
    return Problem(
        f"{what} the Python package {package}",
        "0A000",
        hint=f"Install it on the server; Debian: {debian or 'python3-' + package}.",
    )


def _fingerprint(armored: str) -> str:
    try:
        return read_public_key(armored).fingerprint
    except UnusableKey as problem:
        raise Problem("nothing can be encrypted to this key", detail=str(problem), hint="gpg --armor --export name") from None
    except ImportError:
        raise missing("reading a public key takes", "pgpy") from None
