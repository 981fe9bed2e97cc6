"""What search ranks, suggests and alerts by counts archived messages as it counted them before, whenever they were archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import FALL_BEHIND, recount, refresh, refresh_all
from tests.support.store import Store

TABLES = {
    "term_statistics": "term, message_count",
    "vocabulary": "term, is_phrase, written, message_count, round(weight::numeric, 3) AS weight",
    "name_statistics": "kind, named_id, message_count, round(weight::numeric, 3) AS weight",
    "search_months": "month, message_count",
    "search_statistics": "message_count, word_count",
}
TEXTS = (
    "The Wedding menu of Zoé",
    "wedding cake and wedding cake",
    "Ein Hochzeitsmenü",
    "flowers for the wedding dinner",
    "no flowers, please",
)
LIST = (
    "SELECT message_id, headline, acknowledged_at"
    " FROM guestcomms.list_alerts(is_acknowledged => NULL, max_rows => 200) ORDER BY 1"
)


def kept(connection: Connection, tenant: UUID) -> dict[str, set[str]]:
    """All that is counted of a tenant; what nothing holds any more may be there or not."""
    return {
        table: set(
            column(
                connection,
                f"SELECT (SELECT r FROM (SELECT {columns}) AS r)::text FROM guestcomms.{table} AS t"
                " WHERE tenant_id = %s AND message_count > 0".encode(),
                tenant,
            )
        )
        for table, columns in TABLES.items()
    }


def told(connection: Connection) -> list[list[Row]]:
    """Suggestions and corrections."""
    return [
        *(
            rows(connection, "SELECT * FROM guestcomms.suggest_terms(%s)", prefix)
            for prefix in ("wed", "from:z", "fl", "wedding c")
        ),
        *(rows(connection, "SELECT * FROM guestcomms.suggest_corrections(%s)", word) for word in ("weding", "flowrs")),
        rows(connection, "SELECT guestcomms.correct_query('weding flowrs')"),
    ]


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        archive.root.execute("SELECT guestcomms.set_setting('suggest.min_guests', '1')")
        yield archive


def write(archive: Archive, days: float = 100) -> list[UUID]:
    """Messages of three guests over months."""
    messages: list[UUID] = []
    for place in range(3):
        guest = archive.guest(f"Zoë {place}")
        thread = archive.thread(guest)
        messages += [
            archive.write(guest, thread, days - 9 * n - place, body=f"{TEXTS[(n + place) % 5]} {place}") for n in range(8)
        ]
    return messages


def edit_and_delete(archive: Archive, messages: list[UUID]) -> None:
    archive.root.execute("UPDATE guestcomms.messages SET body = 'a wedding waltz' WHERE message_id = %s", [messages[0]])
    archive.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [messages[1]])


def fall_behind(archive: Archive) -> None:
    archive.root.execute(FALL_BEHIND.encode())


STEPS: dict[str, list[Callable[[Archive], object]]] = {
    "counted before": [lambda a: refresh_all(a.root), lambda a: a.archive()],
    "counted after": [lambda a: a.archive()],
    "counted half": [lambda a: refresh(a.root, 10), lambda a: a.archive(7), lambda a: refresh(a.root, 5)],
    "a part": [lambda a: a.run(9)],
    "counted anew": [lambda a: a.archive(), lambda a: recount(a.root)],
    "fallen behind": [lambda a: refresh_all(a.root), lambda a: a.archive(), fall_behind],
    "fallen behind in the middle": [
        lambda a: a.run(9),
        fall_behind,
        lambda a: refresh(a.root, 4),
        lambda a: a.archive(),
        lambda a: refresh(a.root, 4),
    ],
    "restored and archived": [lambda a: a.archive(), lambda a: refresh_all(a.root), lambda a: a.restore(), lambda a: a.archive()],
    "restored uncounted": [lambda a: a.archive(), lambda a: a.restore(), lambda a: a.archive(5)],
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("is_changed", [False, True])
def test_archived_messages_stay_counted(archive: Archive, steps: str, is_changed: bool) -> None:
    messages = write(archive)
    if is_changed:
        refresh_all(archive.root)
        edit_and_delete(archive, messages)
    for step in STEPS[steps]:
        step(archive)
    assert archive.archived()
    refresh_all(archive.root)
    found, suggested = kept(archive.root, archive.tenant), told(archive.root)

    archive.restore()
    refresh_all(archive.root)
    assert kept(archive.root, archive.tenant) == found
    recount(archive.root)
    refresh_all(archive.root)
    assert kept(archive.root, archive.tenant) == found
    assert told(archive.root) == suggested
    assert all(suggested)


def test_whose_words_they_are_stays_known(archive: Archive) -> None:
    """Also of guests all of whose messages were archived before anybody counted."""
    guests = "SELECT term, guests FROM guestcomms.vocabulary WHERE tenant_id = %s ORDER BY term"
    write(archive)
    archive.archive()
    refresh_all(archive.root)
    found = rows(archive.root, guests, archive.tenant)
    assert max(len(row[1]) for row in found) == 3
    archive.restore()
    recount(archive.root)
    refresh_all(archive.root)
    assert rows(archive.root, guests, archive.tenant) == found


def test_what_is_changed_once_restored_is_counted_so(archive: Archive) -> None:
    messages = write(archive)
    refresh_all(archive.root)
    archive.archive()
    refresh_all(archive.root)
    archive.restore()
    edit_and_delete(archive, messages)
    archive.archive()
    refresh_all(archive.root)
    found = kept(archive.root, archive.tenant)
    archive.restore()
    recount(archive.root)
    refresh_all(archive.root)
    assert kept(archive.root, archive.tenant) == found


# Alerts


def match(connection: Connection) -> None:
    while one(connection, "SELECT guestcomms.match_saved_searches()"):
        pass


@pytest.fixture
def saved(archive: Archive) -> Archive:
    archive.root.execute("SELECT guestcomms.save_search('saved', 'wedding -cake')")
    match(archive.root)
    return archive


def wanted(messages: list[UUID]) -> list[UUID]:
    return sorted(message for n, message in enumerate(messages) if TEXTS[(n % 8 + n // 8) % 5] in (TEXTS[0], TEXTS[3]))


@pytest.mark.parametrize("is_matched_first", [True, False])
@pytest.mark.parametrize("max_rows", [9, 1000])
def test_an_alert_is_raised_once_and_stays(saved: Archive, is_matched_first: bool, max_rows: int) -> None:
    """Matched before the message is archived or not."""
    messages = write(saved, 80)
    if is_matched_first:
        match(saved.root)
        raised = rows(saved.root, LIST)
    saved.run(max_rows)
    match(saved.root)
    if not is_matched_first:
        raised = rows(saved.root, LIST)
    assert [row[0] for row in raised] == wanted(messages)
    assert all("wedding" in row[1].lower() for row in raised)
    for step in (saved.archive, saved.restore, saved.archive):
        step()
        assert rows(saved.root, LIST) == raised
        match(saved.root)
        assert rows(saved.root, LIST) == raised


def test_an_acknowledged_alert_stays_so(saved: Archive) -> None:
    write(saved, 80)
    match(saved.root)
    saved.root.execute("SELECT guestcomms.acknowledge_alert(alert_id) FROM guestcomms.list_alerts(max_rows => 200)")
    raised = rows(saved.root, LIST)
    saved.archive()
    saved.root.execute("UPDATE guestcomms.consumers SET must_rebuild = true WHERE consumer = 'saved_searches'")
    match(saved.root)
    assert rows(saved.root, LIST) == raised
    saved.restore()
    match(saved.root)
    assert rows(saved.root, LIST) == raised
    assert all(row[2] for row in raised)
