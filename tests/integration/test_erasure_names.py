"""What names a guest goes wherever the business keeps it, however it is spelt; what names somebody else stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.archive import Archive
from tests.support.erasure import erase, finish, progress
from tests.support.queries import column, one
from tests.support.store import Store

WEDDINGS = "SELECT name FROM guestcomms.weddings WHERE tenant_id = %s ORDER BY created_at"
SAVED = "SELECT query FROM guestcomms.saved_searches WHERE tenant_id = %s ORDER BY query"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.mark.parametrize("at_once", ["0", "500"])
@pytest.mark.parametrize(
    ("guest", "wedding", "left"),
    [
        ("Li Wu", "Li Wu & Ann Park", "… … & Ann Park"),
        ("José Núñez", "Jose Nunez & Amy", "… … & Amy"),
        ("Zoë Li", "Zoe Li & Tom", "… … & Tom"),
        ("Anna Maria Schmidt", "Schmidt, Anna Maria (Tom)", "…, … … (Tom)"),
        ("Jean-Luc O'Neill", "Jean Luc O'Neill weds", "… … …'… weds"),
        # Somebody else's.
        ("Anna Maria", "Maria & Anna Schmidt", "Maria & Anna Schmidt"),
        ("Jordan Taylor", "Jordan & Taylor", "Jordan & Taylor"),
        ("Rose", "Rose & Jack", "Rose & Jack"),
        ("Ann Park", "Joann Parker & Jo", "Joann Parker & Jo"),
    ],
)
def test_names_leave_the_names_of_weddings(archive: Archive, at_once: str, guest: str, wedding: str, left: str) -> None:
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', %s)", [at_once])
    archive.root.execute("SELECT guestcomms.add_wedding(%s)", [wedding])
    erasure = erase(archive.root, one(archive.root, "SELECT guestcomms.add_guest(%s)", guest))
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert column(archive.root, WEDDINGS, archive.tenant) == [left]


def test_each_word_of_one_of_the_couple_leaves_their_wedding(archive: Archive) -> None:
    guest = one(archive.root, "SELECT guestcomms.add_guest('Zoë Di Kaya')")
    weddings = [one(archive.root, "SELECT guestcomms.add_wedding(%s)", "Zoe's & Tom Kaya's day, Di Palma") for _ in range(2)]
    archive.root.execute("SELECT guestcomms.add_guest_to_wedding(%s, %s, role => 'bride')", [weddings[0], guest])
    erase(archive.root, guest)
    assert column(archive.root, WEDDINGS, archive.tenant) == [
        "…'s & Tom …'s day, Di Palma",
        "Zoe's & Tom Kaya's day, Di Palma",
    ]


def test_addresses_go_however_they_are_written_and_others_stay(archive: Archive) -> None:
    guest = one(archive.root, "SELECT guestcomms.add_guest(NULL, email => 'ann@example.com', phone => '+442079460000')")
    archive.root.execute("SELECT guestcomms.add_guest_address(%s, 'chat', 'j')", [guest])
    gone = ['"ann@example.com"', '"mail <Ann@Example.com>"', '"020 7946 0000"', '"+44 20 7946-0000"']
    stays = ['"joann@example.com"', '"ann@example.com.au"', '"j"', '"020 7946 0001"']
    for number, query in enumerate(gone + stays):
        archive.root.execute("SELECT guestcomms.save_search(%s, %s)", [f"search {number}", query])
    erase(archive.root, guest)
    assert column(archive.root, SAVED, archive.tenant) == sorted(stays)
