"""An objection outlives the guest: whoever comes with one of their addresses has objected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.erasure import erase
from tests.support.queries import Row, one, refused, rows
from tests.support.store import Store

CONSENTS = "SELECT channel, purpose, is_granted, source FROM guestcomms.consents WHERE guest_id = %s ORDER BY channel, purpose"
LATEST = (
    "SELECT is_granted FROM guestcomms.consents WHERE guest_id = %s AND purpose = 'marketing' ORDER BY recorded_at DESC LIMIT 1"
)


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


def add(archive: Archive, **addresses: str) -> UUID:
    names = ", ".join(f"{name} => %s" for name in addresses)
    guest: UUID = one(archive.root, f"SELECT guestcomms.add_guest('Zoë Kaya', {names})".encode(), *addresses.values())
    return guest


def say(
    archive: Archive, guest: UUID, is_granted: bool, channel: str | None = None, purpose: str = "marketing", days: float = 1
) -> None:
    archive.add(
        "consents",
        guest_id=guest,
        channel=channel,
        purpose=purpose,
        is_granted=is_granted,
        basis="consent",
        source="form",
        recorded_at=archive.ago(days),
    )


def come(archive: Archive, channel: str, address: str) -> list[Row]:
    """Somebody is heard from on an address; what is known of their consent."""
    return rows(archive.root, CONSENTS, one(archive.root, "SELECT guestcomms.resolve_guest(%s, %s)", channel, address))


def test_an_objection_is_obeyed_for_each_address(archive: Archive) -> None:
    guest = add(archive, email="Zoe@example.com", phone="+44 7700 900123")
    say(archive, guest, False)
    erase(archive.root, guest)
    assert come(archive, "email", "zoe@example.com") == [("email", "marketing", False, "suppression")]
    assert come(archive, "whatsapp", "+447700900123") == [("whatsapp", "marketing", False, "suppression")]
    assert come(archive, "email", "other@example.com") == []
    texts = "SELECT string_agg(s::text, '') FROM guestcomms.suppressions AS s WHERE tenant_id = %s"
    assert "zoe" not in one(archive.root, texts, archive.tenant)


def test_only_the_last_word_counts_and_only_for_its_channel(archive: Archive) -> None:
    guest = add(archive, email="zoe@example.com", phone="+44 7700 900123")
    say(archive, guest, False, days=9)
    say(archive, guest, True, "email", days=8)
    say(archive, guest, False, "email", "service", days=7)
    erase(archive.root, guest)
    assert come(archive, "email", "zoe@example.com") == [("email", "service", False, "suppression")]
    # A telephone is one, though it was only added for one of the two.
    assert come(archive, "sms", "+447700900123") == [("sms", "marketing", False, "suppression")]


def test_a_consent_that_is_given_since_is_later(archive: Archive) -> None:
    guest = add(archive, email="zoe@example.com")
    say(archive, guest, False)
    erase(archive.root, guest)
    with archive.root.transaction():
        back = add(archive, email="zoe@example.com")
        archive.add(
            "consents", guest_id=back, purpose="marketing", channel="email", is_granted=True, basis="consent", source="form"
        )
    assert one(archive.root, LATEST, back) is True
    # And is what counts when they are erased once more.
    erase(archive.root, back)
    assert come(archive, "email", "zoe@example.com") == []


def test_in_bulk_and_for_the_right_tenant(archive: Archive, store: Store) -> None:
    guest = add(archive, email="zoe@example.com")
    say(archive, guest, False)
    erase(archive.root, guest)
    with Archive(store, "Foreign") as foreign:
        assert come(foreign, "email", "zoe@example.com") == []
    others = [archive.guest(f"Guest {n}") for n in range(3)]
    archive.root.execute(
        "INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id)"
        " SELECT %s, 'email', a, g FROM unnest(%s::text[], %s::uuid[]) AS u (a, g)",
        [archive.tenant, ["a@example.com", "zoe@example.com", "b@example.com"], others],
    )
    assert [rows(archive.root, CONSENTS, each) for each in others] == [[], [("email", "marketing", False, "suppression")], []]


def test_keys_are_carried_and_told_apart(archive: Archive, store: Store) -> None:
    operator = store.connect("operator_login")
    key = one(operator, "SELECT guestcomms.export_erasure_key()")
    assert one(operator, "SELECT guestcomms.restore_erasure_key(%s)", key) == key.split(":")[1]
    for broken in (key[:-2] + "00", key.replace("guestcomms", "guest"), "", None, key[:-1]):
        if broken != key:
            with refused("22023"):
                operator.execute("SELECT guestcomms.restore_erasure_key(%s)", [broken])
    secret = bytes(range(32))
    other = f"guestcomms-erasure-key:{hashlib.sha256(secret).hexdigest()[:16]}:{secret.hex()}"
    operator.execute("SELECT guestcomms.restore_erasure_key(%s)", [other])
    guest = add(archive, email="zoe@example.com")
    say(archive, guest, False)
    erase(archive.root, guest)
    operator.execute("SELECT guestcomms.restore_erasure_key(%s)", [key])
    # What was hashed with another key in between is still read.
    assert come(archive, "email", "zoe@example.com") == [("email", "marketing", False, "suppression")]
    for login in ("privacy_login", "app_login"):
        with store.connect(login) as connection, refused("42501"):
            connection.execute("SELECT guestcomms.export_erasure_key()")
    entries = one(operator, "SELECT guestcomms.export_erasure_ledger()")
    assert {entry["key_id"] for entry in entries} >= {key.split(":")[1], other.split(":")[1]}


@pytest.mark.parametrize(
    "ledger",
    [
        "{}",
        '[{"kind": "erasure"}]',
        '[{"kind": "erasure", "hash": "00", "key_id": "0", "tenant_id": "x", "at": "now"}]',
        "[1]",
        "[null]",
        '"text"',
    ],
)
def test_a_ledger_that_is_none_is_refused(archive: Archive, ledger: str) -> None:
    with refused("22023"):
        archive.root.execute("SELECT * FROM guestcomms.replay_erasures(%s)", [ledger])


def test_a_ledger_of_an_unknown_key_is_refused_or_left_out(archive: Archive) -> None:
    entry = json.dumps(
        [
            {"kind": "erasure", "tenant_id": str(archive.tenant), "key_id": "0" * 16, "hash": "0" * 64}
            | {"mode": "erase", "is_both_sides": True, "at": "2026-01-01T00:00:00Z"}
        ]
    )
    with refused("55000"):
        archive.root.execute("SELECT * FROM guestcomms.replay_erasures(%s)", [entry])
    found = rows(
        archive.root, "SELECT added_erasures, is_complete FROM guestcomms.replay_erasures(%s, ignore_lost_key => true)", entry
    )
    assert found == [(0, True)]
    assert rows(
        archive.root, "SELECT added_erasures, begun_erasures, open_erasures, is_complete FROM guestcomms.replay_erasures()"
    ) == [(0, 0, 0, True)]
