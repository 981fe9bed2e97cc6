"""What each filter of the query language finds: people, weddings, channels, states, and what a message has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record, record_all

Find = Callable[[str], set[str]]
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage <> 'any word'"


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    with store.connect() as root:
        root.execute("SELECT guestcomms.ensure_partitions('2024-05-01', '2024-06-01')")
    return store.connect("app_login", store.tenant_a)


def finder(app: Connection, names: dict[UUID, str]) -> Find:
    """Looks for the named messages; others may be found, too."""

    def find(query: str) -> set[str]:
        return {names[found] for found in column(app, FIND, query) if found in names}

    return find


# People, weddings, campaigns, channels, threads


@pytest.fixture(scope="module")
def known(store: Store, app: Connection) -> dict[str, Any]:
    """Identifiers by name."""
    root = store.connect()
    made: dict[str, Any] = {
        "zoe": one(app, "SELECT guestcomms.add_guest('Zoë Kaya', email => 'zoe@example.com', phone => '+44 7700 900123')"),
        "muller": one(app, "SELECT guestcomms.add_guest('Zoe Müller', email => 'zoe.muller@example.com')"),
        "ana": one(app, "SELECT guestcomms.add_guest('Ana Kayali', phone => '+49 170 1234567')"),
    }
    for kind, name in (
        ("wedding", "Kaya & Müller"),
        ("wedding", "Ana's day"),
        ("campaign", "Save the Date"),
        ("campaign", "Thanks"),
    ):
        made[name] = one(
            root,
            f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, %s) RETURNING {kind}_id".encode(),
            store.tenant_a,
            name,
        )
    made["seating"] = one(app, "SELECT guestcomms.open_thread('Séating plan', %s)", made["zoe"])
    made["parking"] = one(app, "SELECT guestcomms.open_thread('Parking by sms', %s)", made["muller"])
    other = store.connect("other_app_login", store.tenant_b)
    made["stranger"] = add_guest(other, "Zelda Foreign")
    record(other, made["stranger"], "foreign garden")
    other.close()
    root.close()
    return made


@pytest.fixture(scope="module")
def find(app: Connection, known: dict[str, Any]) -> Find:
    zoe, muller, ana = (known[name] for name in ("zoe", "muller", "ana"))

    def outbound(guest: UUID, **values: object) -> dict[str, Any]:
        return message(guest, direction="outbound", **values)

    batch = {
        "from zoe": message(zoe, channel="sms", body="garden party", thread_id=str(known["seating"])),
        "to zoe": outbound(zoe, channel="email", body="garden menu", campaign_id=str(known["Save the Date"])),
        "from muller": message(muller, channel="whatsapp", body="parking question", thread_id=str(known["parking"])),
        "to muller": outbound(muller, channel="sms", body="parking reply", wedding_id=str(known["Kaya & Müller"])),
        "from ana": message(ana, channel="chat", body="garden chairs", wedding_id=str(known["Ana's day"])),
        "to ana": outbound(ana, channel="chat", body="From: zoe and price:low", campaign_id=str(known["Thanks"])),
    }
    return finder(app, dict(zip(record_all(app, list(batch.values())), batch, strict=True)))


EVERYBODY = {"from zoe", "to zoe", "from muller", "to muller", "from ana", "to ana"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # a name, a part of it, the beginning of a part; accents and case aside
        ("from:zoe", {"from zoe", "from muller"}),
        ("from:ZOË", {"from zoe", "from muller"}),
        ("from:kaya", {"from zoe", "from ana"}),
        ("from:kayal", {"from ana"}),
        ("from:muller", {"from muller"}),
        ("from:Müller", {"from muller"}),
        ("from:aya", set()),
        ("from:nobody", set()),
        ("to:zoe", {"to zoe", "to muller"}),
        ("guest:ana", {"from ana", "to ana"}),
        # several words of it
        ('from:"Zoë Kaya"', {"from zoe"}),
        ('from:"kaya, zoe"', {"from zoe"}),
        ("from:“Zoe Kaya”", {"from zoe"}),
        ('from:"Zoë Kaya', {"from zoe"}),
        ('from:"Zoë Nobody"', set()),
        # addresses and identifiers
        ("from:zoe@example.com", {"from zoe"}),
        ("to:ZOE@Example.com", {"to zoe"}),
        ("guest:zoe.muller@example.com", {"from muller", "to muller"}),
        ("from:+447700900123", {"from zoe"}),
        ('from:"+44 7700 900-123"', {"from zoe"}),
        ('guest:"+49 (170) 1234567"', {"from ana", "to ana"}),
        ("from:+447700900124", set()),
        ("from:{zoe}", {"from zoe"}),
        ("to:{zoe}", {"to zoe"}),
        ("guest:{zoe}", {"from zoe", "to zoe"}),
        ("guest:00000000-0000-4000-8000-000000000000", set()),
        # whoever searches
        ("from:me", {"to zoe", "to muller", "to ana"}),
        ("from:ME", {"to zoe", "to muller", "to ana"}),
        ("to:me", {"from zoe", "from muller", "from ana"}),
        ("to:us", {"from zoe", "from muller", "from ana"}),
        # nobody of another tenant
        ("guest:zelda", set()),
        ("guest:{stranger}", set()),
    ],
)
def test_people(find: Find, known: dict[str, Any], query: str, expected: set[str]) -> None:
    assert find(query.format(**known)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("wedding:kaya", {"to muller"}),
        ("wedding:müll", {"to muller"}),
        ('wedding:"Kaya & Müller"', {"to muller"}),
        ("wedding:{Kaya & Müller}", {"to muller"}),
        ("wedding:ana", {"from ana"}),
        ("wedding:zzz", set()),
        ("campaign:save", {"to zoe"}),
        ('campaign:"SAVE THE DATE"', {"to zoe"}),
        ("campaign:{Thanks}", {"to ana"}),
        ("campaign:kaya", set()),
        ("channel:sms", {"from zoe", "to muller"}),
        ("channel:SMS", {"from zoe", "to muller"}),
        ("channel:whatsapp", {"from muller"}),
        ("channel:email", {"to zoe"}),
        ("channel:e-mail", {"to zoe"}),
        ("channel:chat", {"from ana", "to ana"}),
        # a channel first; a thread's subject otherwise
        ("in:sms", {"from zoe", "to muller"}),
        ("in:e-mail", {"to zoe"}),
        ("in:seating", {"from zoe", "to zoe"}),
        ("in:sEat", {"from zoe", "to zoe"}),
        ('in:"Seating Plan"', {"from zoe", "to zoe"}),
        ("in:parking", {"from muller", "to muller"}),
        ("in:{parking}", {"from muller", "to muller"}),
        ("in:zzz", set()),
    ],
)
def test_weddings_campaigns_channels_threads(find: Find, known: dict[str, Any], query: str, expected: set[str]) -> None:
    assert find(query.format(**known)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("garden from:zoe", {"from zoe"}),
        ("from:zoe garden", {"from zoe"}),
        ("garden -from:zoe", {"to zoe", "from ana"}),
        ('garden -from:"Zoe Kaya" -channel:chat', {"to zoe"}),
        ("from:zoe OR from:ana", {"from zoe", "from muller", "from ana"}),
        ("garden from:zoe OR to:zoe", {"from zoe", "to zoe"}),
        ("from:zoe channel:sms OR channel:chat", {"from zoe"}),
        ("channel:sms OR channel:email OR channel:whatsapp", {"from zoe", "to zoe", "from muller", "to muller"}),
        ("from:zoe from:ana", set()),
        ("from:zoe OR from:ana -channel:chat", {"from zoe", "from muller"}),
        ("-from:zoe -from:ana -from:me", set()),
        ("-from:nobody", EVERYBODY),
        # of those without a wedding, too
        ("-wedding:kaya", EVERYBODY - {"to muller"}),
        ("-campaign:save -campaign:thanks", EVERYBODY - {"to zoe", "to ana"}),
        ("garden OR parking from:zoe", {"from zoe", "from muller"}),
        ('"garden party" from:zoe', {"from zoe"}),
        ('"garden party" -from:zoe', set()),
        ("gard* to:zoe", {"to zoe"}),
        # no filters: another field, another value, other letters
        ("From:zoe", {"to ana"}),
        ("price:low", {"to ana"}),
        ("channel:fax", set()),
        ("has:garden", set()),
        ("from: zoe", {"to ana"}),
        ("from:?!", {"to ana"}),
        ('"from:zoe"', {"to ana"}),
    ],
)
def test_filters_together(find: Find, query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize("query", ["has:reply", "-has:attachment", "has:reply OR from:zoe"])
def test_a_filter_repeated_is_one_condition(store: Store, query: str) -> None:
    """Planning takes exponentially longer with each condition that is a join."""
    condition = "SELECT (guestcomms_internal.plan_search(%s, guestcomms_internal.search_clauses(%s, %s), 1000)).condition"
    with store.connect() as root:
        repeated, once = (one(root, condition, store.tenant_a, store.tenant_a, text) for text in (f"{query} " * 20, query))
        assert repeated == once


# States

STATUSES = ["queued", "sent", "delivered", "read", "failed", "cancelled"]


@pytest.fixture(scope="module")
def find_state(store: Store, app: Connection) -> Find:
    guest = add_guest(app, "State")
    names: dict[UUID, str] = {record(app, guest, "stateful", direction="outbound"): name for name in STATUSES}
    names[record(app, guest, "stateful")] = "unread"
    names[record(app, guest, "stateful")] = "seen"
    with store.connect() as root:
        for message_id, name in names.items():
            if name in STATUSES:
                root.execute("UPDATE guestcomms.messages SET status = %s WHERE message_id = %s", [name, message_id])
            elif name == "seen":
                root.execute("UPDATE guestcomms.messages SET read_at = now() WHERE message_id = %s", [message_id])
    return finder(app, names)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        *((f"status:{name}", {name}) for name in STATUSES if name != "read"),
        ("status:received", {"unread", "seen"}),
        ("status:unread", {"unread"}),
        ("status:UNREAD", {"unread"}),
        ("status:read", {"read", "seen"}),
        ("-status:unread", {*STATUSES, "seen"}),
        ("status:sent OR status:failed", {"sent", "failed"}),
        ("status:lost", set()),
    ],
)
def test_states(find_state: Find, query: str, expected: set[str]) -> None:
    assert find_state("stateful " + query) == expected
    assert find_state(query) == expected


# What a message has


@pytest.fixture(scope="module")
def find_with(store: Store, app: Connection) -> Find:
    guest = add_guest(app, "Having")
    asked, alone = (str(one(app, "SELECT guestcomms.open_thread('x', %s)", guest)) for _ in range(2))
    batch = {
        "asked": message(guest, body="having a question", thread_id=asked, sent_at="2024-05-01T10:00:00Z"),
        "asked again": message(guest, body="having it still", thread_id=asked, sent_at="2024-05-01T11:00:00Z"),
        "answer": message(
            guest, body="having HTTPS://example.com", thread_id=asked, direction="outbound", sent_at="2024-05-01T12:00:00Z"
        ),
        "alone": message(guest, body="having www.example.com", thread_id=alone, sent_at="2024-05-01T10:00:00Z"),
        "later": message(guest, body="having http:// only", thread_id=alone, sent_at="2024-05-01T11:00:00Z"),
    }
    names = dict(zip(record_all(app, list(batch.values())), batch, strict=True))
    with store.connect() as root:
        for message_id, name in names.items():
            # Another tenant's attachment is none of this one's message.
            owner = {"asked": store.tenant_a, "alone": store.tenant_b}.get(name)
            if owner:
                root.execute(
                    "INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count)"
                    " VALUES (%s, %s, 'plan.pdf', 'application/pdf', 1)",
                    [owner, message_id],
                )
    return finder(app, names)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("has:link", {"answer", "alone"}),
        ("has:LINK", {"answer", "alone"}),
        ("has:attachment", {"asked"}),
        ("has:reply", {"asked", "asked again"}),
        ("-has:reply -has:link", {"later"}),
        ("has:link OR has:attachment", {"asked", "answer", "alone"}),
        ("has:reply has:attachment", {"asked"}),
        ("has:cake", set()),
    ],
)
def test_what_a_message_has(find_with: Find, query: str, expected: set[str]) -> None:
    assert find_with("having " + query) == expected
