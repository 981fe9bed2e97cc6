"""What a tenant's alerts are does not depend on what other tenants save, record and delete, and shows nothing of theirs.

GUESTCOMMS_EXAMPLES says how many queries are saved."""

from __future__ import annotations

import os
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store
from tests.support.traffic import message, record_all

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
CANARY = "zebrafishcanary"  # in all that tenant B has, and in nothing of A
WORDS = ["menu", "roses", "seating", "table", "shuttle", "hotel", "parking", "vegetarian", "café", "dessert"]
OF_B = ["walrus", "glacier", "submarine", "tundra"]
NAMES = ["Zoë Kaya", "Ann Walker", "Table Rose"]
FILTERS = [
    *("channel:sms", "-channel:email", "from:zoe", "to:ann", "guest:rose", "wedding:kaya", "in:seating", "in:sms", "has:link"),
    *("from:zoe@example.com", "before:today", "after:yesterday", "status:unread", "from:us", f"from:{CANARY}", "has:reply"),
]
ALERTS = """
SELECT s.name, a.message_id, a.acknowledged_at IS NULL FROM guestcomms.search_alerts AS a
JOIN guestcomms.saved_searches AS s USING (tenant_id, search_id) WHERE a.tenant_id = %s ORDER BY 1, 2
"""
PAGE = """
SELECT alert_id, search_id, name, message_id, guest_id, channel, direction, headline, acknowledged_at IS NULL
FROM guestcomms.list_alerts(is_acknowledged => NULL, max_rows => 200, after => %s)
"""
# All that is kept of a tenant's saved searches, with names in the place of identifiers.
KEPT = """
SELECT s.name, s.query, s.notify, s.has_words, s.has_conditions,
    (SELECT array_agg(a.anchor ORDER BY a.anchor) FROM guestcomms.saved_search_anchors AS a WHERE a.search_id = s.search_id),
    (SELECT array_agg(w.configuration || w.words::text ORDER BY w.configuration) FROM guestcomms.saved_search_words AS w
     WHERE w.search_id = s.search_id)
FROM guestcomms.saved_searches AS s WHERE s.tenant_id = %s ORDER BY s.name
"""


def make_query(random: Random) -> str:
    parts = []
    for _ in range(random.choice([1, 1, 2, 3])):
        word = random.choice(WORDS + OF_B)
        kind = random.randrange(9)
        other = random.choice(WORDS)
        parts.append(
            f'"{word} {other}"' if kind == 0
            else f"-{word}" if kind == 1
            else f"{word} OR {other}" if kind == 2
            else f"{word[: random.randint(1, 4)]}*" if kind == 3
            else random.choice(FILTERS) if kind < 6
            else word
        )  # fmt: skip
    return " ".join(parts)


def make_messages(random: Random, guests: list[UUID], words: list[str], count: int, extra: str = "") -> list[dict[str, Any]]:
    return [
        message(
            random.choice(guests),
            body=" ".join(random.choices(words, k=random.randint(1, 5))) + extra + random.choice(["", " https://example.com/"]),
            channel=random.choice(["email", "sms", "whatsapp", "chat"]),
            direction=random.choice(["inbound", "outbound"]),
            language=random.choice(["en", "de"]),
            subject=random.choice([None, f"seating {random.choice(words)}{extra}"]),
        )
        for _ in range(count)
    ]


def add_people(app: Connection, extra: str = "") -> list[UUID]:
    """Of the same names in both tenants."""
    address = f"zoe{extra.strip()}@example.com"
    guests = [one(app, "SELECT guestcomms.add_guest(%s)", name + extra) for name in NAMES]
    return [*guests, one(app, "SELECT guestcomms.add_guest(NULL, email => %s)", address)]


def match(connection: Connection) -> None:
    while one(connection, "SELECT guestcomms.match_saved_searches()"):
        pass


def list_all(app: Connection) -> list[Row]:
    found: list[Row] = []
    while page := rows(app, PAGE, found[-1][0] if found else None):
        found += page
    return found


def run(store: Store, app: Connection, other: Connection | None) -> tuple[list[Row], list[Row]]:
    """What tenant A does, always the same; tenant B, where it takes part, does more in between.

    Returns A's alerts, told by the order in which its messages were recorded, and what is kept of its saved searches."""
    root, operator = store.connect(), store.connect("operator_login")
    random, random_of_b = Random(20261122), Random(4)
    guests = add_people(app)
    guests_of_b = add_people(other, f" {CANARY}") if other else []
    ids: list[UUID] = []
    ids_of_b: list[UUID] = []

    def disturb(step: int) -> None:
        if other is None:
            return
        for number in range(EXAMPLES):
            # Names are those of A's, queries sometimes.
            query = make_query(random_of_b) if number % 2 else f"menu OR {CANARY}"
            one(other, "SELECT guestcomms.save_search(%s, %s, true)", f"search {number}" + f" {CANARY}" * (number % 3), query)
        ids_of_b.extend(record_all(other, make_messages(random_of_b, guests_of_b, WORDS + OF_B, 60, f" {CANARY}")))
        if step == 1:
            for number in range(0, EXAMPLES, 2):
                one(other, "SELECT guestcomms.remove_saved_search(%s)", f"search {number}")
            root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [ids_of_b[::3]])
            root.execute(
                "UPDATE guestcomms.messages SET language = 'fr', body = body || ' menu roses' WHERE message_id = ANY (%s)",
                [ids_of_b[1::3]],
            )
            with store.connect("operator_login", store.tenant_b) as own:
                own.execute("SELECT guestcomms.set_synonyms('menu', '{roses,walrus}')")
        if step == 2:
            match(operator)
            for alert in list_all(other)[::2]:
                one(other, "SELECT guestcomms.acknowledge_alert(%s)", alert[0])

    saved = 0
    for number in range(EXAMPLES):
        query = make_query(random)
        saved += bool(one(app, "SELECT guestcomms.save_search(%s, %s)", f"search {number}", query))
    for step in range(3):
        disturb(step)
        ids += record_all(app, make_messages(random, guests, WORDS, 40))
        if step:
            root.execute(
                "UPDATE guestcomms.messages SET body = 'table menu' WHERE message_id = %s", [ids[random.randrange(len(ids))]]
            )
            root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [ids[random.randrange(len(ids))]])
        match(operator)
        disturb(step)
    listed = list_all(app)
    mine = {
        search for (search,) in rows(root, "SELECT search_id FROM guestcomms.saved_searches WHERE tenant_id = %s", store.tenant_a)
    }
    assert {row[1] for row in listed} <= mine
    assert {row[3] for row in listed} <= set(ids)
    assert CANARY not in repr([row[2:] for row in listed])
    alerts = [(name, ids.index(message_id), is_open) for name, message_id, is_open in rows(root, ALERTS, store.tenant_a)]
    assert sorted(alerts) == sorted((row[2], ids.index(row[3]), row[8]) for row in listed)
    headlines = sorted((row[2], ids.index(row[3]), *row[5:8]) for row in listed)
    return [*sorted(alerts), *headlines], rows(root, KEPT, store.tenant_a)


@pytest.fixture
def apps(store: Store) -> tuple[Connection, Connection]:
    return store.connect("app_login", store.tenant_a), store.connect("other_app_login", store.tenant_b)


def clear(root: Connection) -> None:
    for table in (
        "saved_searches",
        "search_alerts",
        "messages",
        "threads",
        "guest_addresses",
        "guests",
        "tenant_languages",
        "synonyms",
    ):
        root.execute(f"DELETE FROM guestcomms.{table}".encode())
    match(root)


def test_alerts_do_not_depend_on_another_tenant(store: Store, apps: tuple[Connection, Connection]) -> None:
    with store.connect() as root:
        alone, kept_alone = run(store, apps[0], None)
        assert len(alone) > 2 * EXAMPLES
        clear(root)
        beside, kept_beside = run(store, *apps)
        assert one(root, "SELECT count(*) FROM guestcomms.search_alerts WHERE tenant_id = %s", store.tenant_b) > EXAMPLES
        clear(root)
    assert beside == alone
    assert kept_beside == kept_alone


def test_nobody_acknowledges_or_sees_another_tenants(store: Store, apps: tuple[Connection, Connection]) -> None:
    with store.connect() as root:
        clear(root)
    for app, word in zip(apps, ("kestrel", CANARY), strict=True):
        one(app, "SELECT guestcomms.save_search('flowers', 'rose')")
        record_all(app, [message(one(app, "SELECT guestcomms.add_guest(%s)", word), body=f"a rose {word}") for _ in range(3)])
    match(store.connect("operator_login"))
    of_a, of_b = (column(app, "SELECT alert_id FROM guestcomms.list_alerts()") for app in apps)
    assert (len(of_a), len(of_b)) == (3, 3)
    for app, foreign in zip(apps, (of_b, of_a), strict=True):
        assert [one(app, "SELECT guestcomms.acknowledge_alert(%s)", alert) for alert in foreign] == [False] * 3
    assert CANARY not in repr(rows(apps[0], "SELECT * FROM guestcomms.list_alerts(is_acknowledged => NULL)"))
    counts = "SELECT name, open_alerts FROM guestcomms.list_saved_searches()"
    assert rows(apps[0], counts) == rows(apps[1], counts) == [("flowers", 3)]
    # Another tenant's alert as the end of a page tells a time, nothing else.
    later = "SELECT alert_id FROM guestcomms.list_alerts(after => %s)"
    assert column(apps[0], later, max(of_b)) == [alert for alert in of_a if alert < max(of_b)]
    assert one(apps[0], "SELECT guestcomms.remove_saved_search('flowers')") is True
    assert rows(apps[1], counts) == [("flowers", 3)]
    assert column(apps[1], "SELECT alert_id FROM guestcomms.list_alerts()") == of_b
