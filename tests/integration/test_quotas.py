"""Limits by the hour: of each role in a tenant, counted also where two sessions take the last at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store

TAKE = "SELECT guestcomms_internal.take_quota(%s, %s, %s)"
LEFT = "SELECT guestcomms_internal.quota_left(%s, %s)"
FIND = "SELECT * FROM guestcomms.find_personal_data()"
AGE = "UPDATE guestcomms.quota_uses SET used_at = used_at - %s::interval WHERE tenant_id = %s"
SETTINGS = {
    "export": "privacy.exports_per_hour",
    "detection": "privacy.detected_messages_per_hour",
    "import": "privacy.imports_per_hour",
}


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.root.execute("SELECT guestcomms.add_member('privacy_login')")
        yield archive


def limit(office: Archive, action: str, value: int) -> None:
    office.root.execute("SELECT guestcomms.set_setting(%s, %s)", [SETTINGS[action], str(value)])


def take(office: Archive, action: str = "export", amount: int = 1, connection: Connection | None = None) -> None:
    (connection or office.root).execute(TAKE, [office.tenant, action, amount])


def left(office: Archive, action: str = "export") -> int:
    found: int = one(office.root, LEFT, office.tenant, action)
    return found


@pytest.mark.parametrize(("action", "by_default"), [("export", 20), ("detection", 100000), ("import", 20)])
def test_up_to_the_limit_and_not_beyond(office: Archive, action: str, by_default: int) -> None:
    assert left(office, action) == by_default
    limit(office, action, 3)
    take(office, action, 2)
    with refused("53400"):
        take(office, action, 2)
    take(office, action)
    assert left(office, action) == 0
    with refused("53400") as caught:
        take(office, action)
    assert caught.value.diag.message_detail == f"{SETTINGS[action]} allows 3, 3 were used, 1 were asked for."
    limit(office, action, 2)
    assert left(office, action) == -1


def test_0_is_refused_always(office: Archive) -> None:
    limit(office, "detection", 0)
    with refused("53400") as caught:
        office.root.execute(FIND)
    assert "at any time" in str(caught.value.diag.message_hint)


def test_each_action_tenant_and_role_has_its_own(office: Archive, store: Store) -> None:
    limit(office, "export", 1)
    take(office)
    take(office, "import")
    with Archive(store) as other:
        take(other)
        assert left(other) == 19
    with refused("53400"):
        take(office)


def test_it_is_possible_again_when_the_hint_says(office: Archive) -> None:
    limit(office, "export", 5)
    for amount, minutes in ((2, 20), (2, 15), (1, 0)):
        take(office, amount=amount)
        office.root.execute(AGE, [timedelta(minutes=minutes), office.tenant])
    used = [
        row[0]
        for row in rows(office.root, "SELECT used_at FROM guestcomms.quota_uses WHERE tenant_id = %s ORDER BY 1", office.tenant)
    ]
    for amount, waits_for in ((1, 0), (2, 0), (3, 1), (4, 1), (5, 2)):
        with refused("53400") as caught:
            take(office, amount=amount)
        hint = str(caught.value.diag.message_hint)
        again = datetime.fromisoformat(hint.removeprefix("Possible again at ").partition(", or")[0])
        assert again == used[waits_for] + timedelta(hours=1)
    with refused("53400") as caught:
        take(office, amount=6)
    assert "at any time" in str(caught.value.diag.message_hint)
    office.root.execute(AGE, [timedelta(minutes=26), office.tenant])
    assert left(office) == 2
    take(office, amount=2)
    with refused("53400"):
        take(office)


def test_two_sessions_do_not_both_take_the_last(office: Archive) -> None:
    limit(office, "export", 3)
    first, second = office.connect(autocommit=False), office.connect(autocommit=False)
    take(office, amount=2, connection=first)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(take, office, "export", 2, second)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        first.commit()
        with refused("53400"):
            waiting.result()
    second.rollback()
    take(office, connection=second)
    second.commit()
    assert left(office) == 0


def test_nor_many_at_once(office: Archive) -> None:
    limit(office, "import", 4)
    sessions = [office.connect() for _ in range(6)]

    def attempt(connection: Connection) -> str:
        try:
            take(office, "import", connection=connection)
        except psycopg.Error as error:
            return str(error.sqlstate)
        return "taken"

    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(attempt, sessions)) == ["53400"] * 2 + ["taken"] * 4


def test_nor_one_with_an_old_snapshot(office: Archive) -> None:
    limit(office, "export", 1)
    old = office.connect(autocommit=False)
    old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    assert one(old, LEFT, office.tenant, "export") == 1
    take(office)
    with refused("40001"):
        take(office, connection=old)
    old.rollback()
    with refused("53400"):
        take(office, connection=old)


def test_what_is_rolled_back_is_not_taken(office: Archive) -> None:
    with office.root.transaction(force_rollback=True):
        take(office, amount=20)
    assert left(office) == 20


def test_looking_for_personal_data_counts_messages(office: Archive) -> None:
    limit(office, "detection", 5)
    written = office.write_many(4, body="zoe@example.com")
    assert len(rows(office.root, FIND)) == 4
    # One is left: the page ends there, and says so.
    page = rows(office.root, "SELECT message_id, kind FROM guestcomms.find_personal_data()")
    assert page == [(written[3], "email"), (written[3], None)]
    with refused("53400"):
        office.root.execute(FIND)
    # The limit is of each role.
    assert len(rows(office.connect("privacy_login"), FIND)) == 4


def test_what_counts_no_more_is_removed(office: Archive) -> None:
    take(office, amount=2)
    take(office, "import")
    office.root.execute(AGE, ["61 minutes", office.tenant])
    take(office)
    assert one(office.root, "SELECT guestcomms_internal.trim_quota_uses(1)") == 1
    while one(office.root, "SELECT guestcomms_internal.trim_quota_uses()"):
        pass
    assert rows(office.root, "SELECT action, amount FROM guestcomms.quota_uses WHERE tenant_id = %s", office.tenant) == [
        ("export", 1)
    ]
    assert left(office) == 19


def test_members_may_not_reach_past_the_functions(office: Archive) -> None:
    connection = office.connect("privacy_login")
    with refused("42501"):
        take(office, connection=connection)
    with refused("42501"):
        connection.execute("DELETE FROM guestcomms.quota_uses")
