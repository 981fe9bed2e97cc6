"""Saved searches: each raises an alert for exactly the messages that a search finds, once, however they came and changed.

GUESTCOMMS_EXAMPLES says how many sets of queries and messages are tried."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import Row, column, one, refused, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record, record_all

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
FIND = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200, sort => 'recent')"
RAISED = "SELECT message_id FROM guestcomms.search_alerts WHERE tenant_id = %s AND search_id = %s"
LIST = "SELECT name, message_id FROM guestcomms.list_alerts(is_acknowledged => NULL, max_rows => 200)"
SET_BODY = "UPDATE guestcomms.messages SET body = %s WHERE message_id = %s"
DELETE = "DELETE FROM guestcomms.messages WHERE message_id = %s"
# As trim_change_log() does to a consumer that has not read for too long, and a restore to all.
FALL_BEHIND = """
UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL, reading_seq = NULL
WHERE consumer = 'saved_searches'
"""


def match(connection: Connection, max_rows: int = 10_000) -> list[int]:
    """Runs until nothing is left; what each run but the last returned."""
    runs: list[int] = []
    while treated := one(connection, "SELECT guestcomms.match_saved_searches(%s::integer)", max_rows):
        runs.append(treated)
        assert len(runs) < 2000, "matching goes round in circles"
    return runs


def save(app: Connection, query: str, name: str = "saved", notify: bool = False) -> UUID:
    search: UUID = one(app, "SELECT guestcomms.save_search(%s, %s, %s)", name, query, notify)
    return search


def alerts(app: Connection, name: str = "saved") -> list[UUID]:
    """The messages of all alerts of a saved search, those acknowledged too."""
    return [row[1] for row in rows(app, LIST) if row[0] == name]


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    connection = store.connect()
    connection.execute("SET lock_timeout = '3s'")  # a test that waits for itself should fail
    return connection


@pytest.fixture(scope="module")
def operator(store: Store) -> Connection:
    """Of no tenant, as jobs are; a search finds what holds all words, and nothing else."""
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_setting('search.any_word_below', '0')")
        own.execute("SELECT guestcomms.set_setting('search.correct_words', 'false')")
        own.execute("SELECT guestcomms.set_setting('alerts.keep', '10 years')")
    return store.connect("operator_login")


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    return add_guest(app, "Gwen Guest")


def empty(root: Connection, operator: Connection) -> None:
    """No saved search, no message, nothing left to match."""
    for table in ("saved_searches", "attachments", "messages", "tenant_languages", "synonyms"):
        root.execute(f"DELETE FROM guestcomms.{table}".encode())
    match(operator)
    assert not rows(root, "SELECT FROM guestcomms.search_alerts")


@pytest.fixture(autouse=True)
def clean(root: Connection, operator: Connection) -> None:
    empty(root, operator)


# Queries of the whole language, messages of all kinds

WORDS = [
    *("menu", "menus", "vegetarian", "flowers", "table", "shuttle", "celebration", "Tables", "the", "and", "für", "im"),
    *("café", "cafe", "Gäste", "Blumen", "informação", "informações", "naïve", "l'église", "O'Hara", "back\\slash"),
    *("A-1023", "1023", "2026-118", "118", "3.5", "18:30", "zoe@example.com", "https://example.com/menu", "seating-plan"),
]
PHRASES = ["seating plan", "fish soup", "the menu", "table flowers", "Gäste im", "menu 1023", "婚礼菜单", "菜单 menu", "menus"]
PHONES = ["+44 7700 900123", "+447700900123", "0170 1234567", "(0170) 123-4567"]
RUNS = ["菜单", "婚礼", "婚礼菜单", "单", "花", "แต่งงาน", "table花", "ウェディング"]
FILTERS = [
    *("from:zoe", "from:ZOË", 'to:"zoe kaya"', "guest:ana", "guest:kay", "from:nobody", 'guest:"Kaya, Zoe"', "from:me", "to:us"),
    *("guest:zoe@example.com", "from:+447700900123", 'to:"+49 170 1234567"', "guest:{zoe}", "from:{ana}", "to:{zoe}"),
    *("wedding:kaya", 'wedding:"Kaya & Rose"', "wedding:{wedding}", "campaign:save", "campaign:{campaign}", "campaign:菜单"),
    *("in:seating", "in:sms", "in:{thread}", "channel:sms", "channel:e-mail", "channel:WhatsApp", "in:e-mail", "in:zzz"),
    *("status:unread", "status:read", "status:failed", "has:link", "has:attachment", "has:reply", "has:cake"),
    *("before:today", "after:yesterday", "on:today", "on:yesterday", "after:2020", "before:2026-02-30", "on:{month}"),
]
NAMES = {"zoe": "Zoë Kaya", "ana": "Ana Kayali", "noname": None, "rose": "Table Rose"}

word = st.sampled_from(WORDS)
clause = st.one_of(
    word,
    word,
    word.map("-{}".format),
    st.tuples(word, word | st.sampled_from(RUNS)).map(" OR ".join),
    st.tuples(word, st.integers(1, 6)).map(lambda cut: f"{cut[0][: cut[1]]}*"),
    st.tuples(word, st.integers(1, 6)).map(lambda cut: f"-{cut[0][: cut[1]]}*"),
    st.sampled_from(PHRASES).map('"{}"'.format),
    st.sampled_from(PHRASES).map('-"{}"'.format),
    st.tuples(st.sampled_from(PHRASES), word).map(lambda pair: f'"{pair[0]}" OR {pair[1]}'),
    st.sampled_from(PHONES),
    st.sampled_from(RUNS),
    st.sampled_from(RUNS).map("-{}".format),
    st.sampled_from(FILTERS),
    st.sampled_from(FILTERS),
    st.sampled_from(FILTERS).map("-{}".format),
    st.tuples(st.sampled_from(FILTERS), st.sampled_from(FILTERS)).map(" OR ".join),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0{}"), max_size=6),
)
QUERIES = st.lists(clause, min_size=1, max_size=4).map(" ".join)
TEXTS = st.lists(word | st.sampled_from([*PHRASES, *PHONES, *RUNS, "dinner", "little ones"]), min_size=1, max_size=7).map(
    " ".join
)
LANGUAGES = ["en", "en", "de", "pt", "zh", None]
# What of a message is drawn; its guest, thread and others are taken from what the tenant has.
MESSAGES = st.fixed_dictionaries(
    {
        "guest": st.sampled_from(list(NAMES)),
        "thread": st.sampled_from(["thread", "other thread"]),
        "wedding": st.sampled_from([None, "wedding"]),
        "campaign": st.sampled_from([None, "campaign"]),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "channel": st.sampled_from(["email", "sms", "whatsapp", "chat"]),
        "status": st.sampled_from(["received", "sent", "read", "failed"]),
        "language": st.sampled_from(LANGUAGES),
        "subject": st.none() | TEXTS,
        "body": TEXTS,
        "is_read": st.booleans(),
        "has_attachment": st.sampled_from([False, False, True]),
        "age": st.sampled_from([timedelta(seconds=1), timedelta(days=1), timedelta(days=33)]),
    }
)
CHANGES = ["body", "subject", "language", "status", "read", "delete", "delete and insert", "swap bodies", "nothing"]
INSERT = """
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction,
    channel, status, language, subject, body, read_at)
VALUES (%(tenant)s, %(id)s, guestcomms.uuid_v7_time(%(id)s), %(thread_id)s, %(guest_id)s, %(wedding_id)s, %(campaign_id)s,
    %(direction)s, %(channel)s, %(status)s, %(language)s, %(subject)s, %(body)s, CASE WHEN %(is_read)s THEN now() END)
"""
ATTACH = """
INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count)
VALUES (%s, %s, 'plan.pdf', 'application/pdf', 1)
"""


@pytest.fixture(scope="module")
def known(store: Store, root: Connection, app: Connection) -> dict[str, Any]:
    """Identifiers by name."""
    made: dict[str, Any] = {
        "zoe": one(app, "SELECT guestcomms.add_guest('Zoë Kaya', email => 'zoe@example.com', phone => '+44 7700 900123')"),
        "ana": one(app, "SELECT guestcomms.add_guest('Ana Kayali', phone => '+49 170 1234567')"),
        "noname": one(app, "SELECT guestcomms.add_guest(NULL, email => 'nobody@example.com')"),
        "rose": one(app, "SELECT guestcomms.add_guest('Table Rose')"),
    }
    for kind, name in (("wedding", "Kaya & Rose"), ("campaign", "Save the Date")):
        insert = f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, %s) RETURNING {kind}_id"
        made[kind] = one(root, insert.encode(), store.tenant_a, name)
    made["thread"] = one(app, "SELECT guestcomms.open_thread('Séating plan', %s)", made["zoe"])
    made["other thread"] = one(app, "SELECT guestcomms.open_thread(NULL, %s)", made["ana"])
    made["month"] = f"{datetime.now(UTC):%Y-%m}"
    return made


def fill_in(query: str, known: dict[str, Any]) -> str:
    for name, value in known.items():
        query = query.replace(f"{{{name}}}", str(value))
    return query


def insert(root: Connection, tenant: UUID, known: dict[str, Any], drawn: dict[str, Any], identifier: UUID | None = None) -> UUID:
    identifier = identifier or one(root, "SELECT guestcomms.uuid_v7(%s)", datetime.now(UTC) - drawn["age"])
    places = {f"{kind}_id": known[drawn[kind]] if drawn[kind] else None for kind in ("guest", "thread", "wedding", "campaign")}
    root.execute(INSERT, {**drawn, **places, "tenant": tenant, "id": identifier})
    if drawn["has_attachment"]:
        root.execute(ATTACH, [tenant, identifier])
    return identifier


def change(
    root: Connection, tenant: UUID, known: dict[str, Any], ids: list[UUID], place: int, how: str, drawn: dict[str, Any]
) -> set[UUID]:
    """Changes one of the messages; returns what was touched."""
    identifier = ids[place % len(ids)]
    # Something changes, though the body may stay: else it would say that search was computed anew.
    noted = "metadata = jsonb_build_object('at', clock_timestamp())"
    update = f"UPDATE guestcomms.messages SET {noted}, {{}} WHERE message_id = %(id)s"
    if how == "nothing":
        return set()
    if how.startswith("delete"):
        root.execute(DELETE, [identifier])
        if how == "delete and insert":
            insert(root, tenant, known, {**drawn, "has_attachment": False, "language": drawn["language"] or "en"}, identifier)
    elif how == "swap bodies":
        for _ in range(2):
            root.execute(f"UPDATE guestcomms.messages SET {noted}, body = reverse(body)".encode())
        return set(ids)
    elif how == "read":
        root.execute(update.format("read_at = now()").encode(), {"id": identifier})
    else:
        root.execute(update.format(f"{how} = %(value)s").encode(), {"id": identifier, "value": drawn[how]})
    return {identifier}


ROUND = st.fixed_dictionaries(
    {
        "messages": st.lists(MESSAGES, max_size=5),
        "changes": st.lists(st.tuples(st.integers(0, 20), st.sampled_from(CHANGES), MESSAGES), max_size=4),
        "synonyms": st.sampled_from([None, None, ["dinner", "little ones"], ["菜单"]]),
        "language": st.sampled_from([None, "fr", "tr"]),
        "names": st.lists(st.sampled_from(["Zoë Kaya", "Ana Kay", "Nobody Else", None]), max_size=1),
        "max_rows": st.sampled_from([10_000, 10_000, 1, 30]),
        "is_counted": st.booleans(),
        "has_fallen_behind": st.sampled_from([False, False, False, True]),
    }
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    queries=st.lists(QUERIES, min_size=4, max_size=8),
    older=st.lists(MESSAGES, max_size=2),
    rounds=st.lists(ROUND, min_size=2, max_size=3),
)
def test_alerts_are_what_a_search_finds(
    store: Store, root: Connection, operator: Connection, app: Connection, known: dict[str, Any],
    queries: list[str], older: list[dict[str, Any]], rounds: list[dict[str, Any]],
) -> None:  # fmt: skip
    tenant = store.tenant_a
    empty(root, operator)
    for identity, name in NAMES.items():
        root.execute("UPDATE guestcomms.guests SET display_name = %s WHERE guest_id = %s", [name, known[identity]])
    ids = [insert(root, tenant, known, drawn) for drawn in older]
    match(operator)
    saved: dict[UUID, str] = {}
    for number, drawn_query in enumerate(queries):
        query = fill_in(drawn_query, known)
        try:
            saved[save(app, query, f"search {number}")] = query
        except psycopg.errors.InvalidParameterValue:
            # Nothing would ever match: no search finds anything, but an empty one, which finds the newest.
            assert not column(app, FIND, query) or not any(character.isalnum() for character in query), query
    expected: dict[UUID, set[UUID]] = {search: set() for search in saved}
    for drawn in rounds:
        touched: set[UUID] = set()
        gone: set[UUID] = set()  # perhaps inserted anew since
        with root.transaction():
            for new in drawn["messages"]:
                ids.append(insert(root, tenant, known, new))
                touched.add(ids[-1])
        if drawn["language"]:
            new = {**(drawn["messages"] or [NEW])[0], "language": drawn["language"]}
            ids.append(insert(root, tenant, known, new))
            touched.add(ids[-1])
        for place, how, new in drawn["changes"]:
            if ids:
                changed = change(root, tenant, known, ids, place, how, new)
                touched |= changed
                gone |= changed if how.startswith("delete") else set()
        for name in drawn["names"]:
            root.execute("UPDATE guestcomms.guests SET display_name = %s WHERE guest_id = %s", [name, known["rose"]])
        if drawn["synonyms"]:
            with store.connect("operator_login", tenant) as own:
                own.execute("SELECT guestcomms.set_synonyms('menu', %s)", [drawn["synonyms"]])
        if drawn["is_counted"]:
            refresh_all(operator)
        match(operator, drawn["max_rows"])
        left = set(column(root, "SELECT message_id FROM guestcomms.messages"))
        for search, query in saved.items():
            found = column(root, RAISED, tenant, search)
            assert len(found) == len(set(found)), query
            expected[search] = (expected[search] & left) - gone | set(column(app, FIND, query)) & touched
            assert set(found) == expected[search], query
        if drawn["has_fallen_behind"]:
            before = rows(root, "SELECT * FROM guestcomms.search_alerts ORDER BY alert_id")
            root.execute(FALL_BEHIND)
            match(operator)
            # What came before the search was saved lies within what is looked at once more.
            assert set(before) <= set(rows(root, "SELECT * FROM guestcomms.search_alerts ORDER BY alert_id"))
            for search, query in saved.items():
                expected[search] = set(column(root, RAISED, tenant, search))
                assert expected[search] >= set(column(app, FIND, query)) & touched
        listed = Counter(row[0] for row in rows(app, "SELECT search_id FROM guestcomms.list_alerts(max_rows => 200)"))
        assert listed == Counter({search: len(found) for search, found in expected.items() if found})


NEW: dict[str, Any] = {
    **{"guest": "ana", "thread": "thread", "wedding": None, "campaign": None, "direction": "inbound", "channel": "sms"},
    **{"status": "received", "language": "en", "subject": None, "body": "menu", "is_read": False, "has_attachment": False},
    "age": timedelta(seconds=1),
}


# What is followed


def test_edits_and_deletions(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    first, second, third = record_all(app, [message(guest, body=body) for body in ("a rose", "a tulip", "two roses")])
    match(operator)
    assert set(alerts(app)) == {first, third}
    root.execute(SET_BODY, ["a tulip", first])
    root.execute(SET_BODY, ["a rose", second])
    root.execute(SET_BODY, ["three roses", third])
    match(operator)
    assert Counter(alerts(app)) == Counter([first, second, third])
    root.execute(SET_BODY, ["a rose", first])
    root.execute(DELETE, [third])
    match(operator)
    assert Counter(alerts(app)) == Counter([first, second])
    assert one(root, "SELECT count(*) FROM guestcomms.search_alerts") == 2


def test_only_the_messages_of_changes_are_looked_at(operator: Connection, app: Connection, guest: UUID) -> None:
    record(app, guest, "an old rose")
    match(operator)
    save(app, "rose")
    assert match(operator) == []
    new = record(app, guest, "a new rose")
    match(operator)
    assert alerts(app) == [new]


def test_synonyms_and_languages_are_followed(store: Store, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "kids", "synonym")
    save(app, "Haus", "language")
    earlier = record_all(app, [message(guest, body=body, language="en") for body in ("three children", "Häuser", "no kids")])
    match(operator)
    assert (alerts(app, "synonym"), alerts(app, "language")) == ([earlier[2]], [])
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_synonyms('kids', '{children}')")
    later = [record(app, guest, "the children", language="en"), record(app, guest, "die Häuser", language="de")]
    match(operator)
    assert set(alerts(app, "synonym")) == {earlier[2], later[0]}
    assert alerts(app, "language") == [later[1]]
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_synonyms('kids', NULL)")
    record(app, guest, "more children", language="en")
    match(operator)
    assert set(alerts(app, "synonym")) == {earlier[2], later[0]}


def test_names_are_those_of_the_moment(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    for name, query in (
        ("by name", "from:ophelia"),
        ("with a word", "menu from:ophelia"),
        ("by address", "guest:ophelia@example.com"),
        ("by number", 'to:"+44 7700 900-999" OR from:"+44 (7700) 900999"'),
    ):
        save(app, query, name)
    early = record(app, guest, "the menu")
    match(operator)
    assert not rows(app, LIST)
    added = one(app, "SELECT guestcomms.add_guest('Ophélia Later', email => 'ophelia@example.com', phone => '+447700900999')")
    of_added = record(app, added, "the menu")
    root.execute("UPDATE guestcomms.guests SET display_name = 'Ophelia Renamed' WHERE guest_id = %s", [guest])
    of_renamed = record(app, guest, "the menu")
    match(operator)
    assert set(alerts(app, "by name")) == set(alerts(app, "with a word")) == {of_added, of_renamed}
    assert alerts(app, "by address") == alerts(app, "by number") == [of_added]
    root.execute("UPDATE guestcomms.guests SET display_name = 'Gwen Guest' WHERE guest_id = %s", [guest])
    root.execute("UPDATE guestcomms.guests SET display_name = 'Somebody' WHERE guest_id = %s", [added])
    record(app, guest, "another menu")
    match(operator)
    assert early not in alerts(app, "by name")
    assert len(alerts(app, "by name")) == 2


def test_a_state_raises_an_alert_when_it_comes(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "status:failed")
    sent = record(app, guest, "menu", direction="outbound")
    match(operator)
    assert alerts(app) == []
    root.execute("UPDATE guestcomms.messages SET status = 'failed' WHERE message_id = %s", [sent])
    match(operator)
    assert alerts(app) == [sent]


@pytest.mark.parametrize("max_rows", [1, 11, 700, 100_000])
def test_batches_of_any_size_give_the_same(
    root: Connection, operator: Connection, app: Connection, guest: UUID, max_rows: int
) -> None:
    """More than are compared at a time, in one statement and in many."""
    searches = {number: save(app, f"n{number}", f"search {number}") for number in range(5)}
    ids = record_all(app, [message(guest, body=f"menu n{number % 7}") for number in range(2300)])
    for number in range(30):
        ids.append(record(app, guest, f"single n{number % 7}"))
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [ids[:100]])
    root.execute("UPDATE guestcomms.messages SET body = body || ' n4' WHERE message_id = ANY (%s)", [ids[100:200]])
    runs = match(operator, max_rows)
    # One more reads the saved searches anew, for a language that is new.
    assert (len(runs) > 2) == (max_rows < 100_000)
    for number, search in searches.items():
        found = column(root, "SELECT message_id FROM guestcomms.search_alerts WHERE search_id = %s", search)
        expected = column(root, "SELECT message_id FROM guestcomms.messages WHERE body ~ %s", f"n{number}\\M")
        assert len(expected) > 300
        assert Counter(found) == Counter(expected)


def test_what_is_old_or_computed_anew_raises_nothing(
    store: Store, root: Connection, operator: Connection, app: Connection, guest: UUID
) -> None:
    record(app, guest, "an older menu")
    match(operator)
    save(app, "menu")
    root.execute("UPDATE guestcomms.messages SET body = body")
    past = message(guest, body="an imported menu", sent_at=(datetime.now(UTC) - timedelta(days=3)).isoformat())
    record_all(app, [past])
    new = record(app, guest, "a new menu")
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_setting('alerts.keep', '2 days')")
        match(operator)
        own.execute("SELECT guestcomms.set_setting('alerts.keep', '10 years')")
    assert alerts(app) == [new]


def test_what_a_run_returns(operator: Connection, app: Connection, guest: UUID) -> None:
    assert one(operator, "SELECT guestcomms.match_saved_searches()") == 0
    record(app, guest, "menu")
    assert one(operator, "SELECT guestcomms.match_saved_searches()") > 0
    assert one(operator, "SELECT guestcomms.match_saved_searches()") == 0
    for max_rows in (0, -1, None):
        with refused("22023"):
            operator.execute("SELECT guestcomms.match_saved_searches(%s::integer)", [max_rows])
    with refused("42501"):
        app.execute("SELECT guestcomms.match_saved_searches()")


# Several sessions


def test_two_sessions_change_a_message(
    store: Store, root: Connection, operator: Connection, app: Connection, guest: UUID
) -> None:
    save(app, "rose")
    save(app, "tulip", "other")
    changed = record(app, guest, "menu")
    match(operator)
    writers = [store.connect(autocommit=False) for _ in range(2)]
    writers[0].execute(SET_BODY, ["a rose", changed])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(writers[1].execute, SET_BODY, ["a rose and a tulip", changed])
        assert match(operator) == []
        writers[0].commit()
        waiting.result()
    match(operator)
    assert (alerts(app), alerts(app, "other")) == ([changed], [])
    writers[1].commit()
    match(operator)
    assert (alerts(app), alerts(app, "other")) == ([changed], [changed])


def test_a_late_commit_is_matched(store: Store, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    late = store.connect("app_login", store.tenant_a, autocommit=False)
    first = record(late, guest, "a rose")
    second = record(app, add_guest(app, "Somebody Else"), "a rose")
    match(operator)
    assert alerts(app) == [second]
    late.commit()
    match(operator)
    assert set(alerts(app)) == {first, second}


def test_a_run_taken_back_is_repeated(store: Store, app: Connection, operator: Connection, guest: UUID) -> None:
    save(app, "rose")
    found = record(app, guest, "a rose")
    runner = store.connect("operator_login", autocommit=False)
    assert one(runner, "SELECT guestcomms.match_saved_searches()") > 0
    runner.rollback()
    assert alerts(app) == []
    match(operator)
    assert alerts(app) == [found]


def test_two_runs_at_once(store: Store, operator: Connection, app: Connection, guest: UUID) -> None:
    record(app, guest, "of the language")
    save(app, "rose")
    match(operator)
    ids = record_all(app, [message(guest, body="a rose") for _ in range(20)])
    first, second = (store.connect("operator_login", autocommit=False) for _ in range(2))
    one(first, "SELECT guestcomms.match_saved_searches()")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one, second, "SELECT guestcomms.match_saved_searches()")
        first.commit()
        assert waiting.result() == 0
    second.commit()
    assert Counter(alerts(app)) == Counter(ids)


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_a_search_is_changed_while_a_run_is_on(
    store: Store, root: Connection, app: Connection, operator: Connection, guest: UUID, what: str
) -> None:
    """The run waits or goes on, but does not fail."""
    save(app, "rose")
    match(operator)
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_synonyms('rose', '{tulip}')")
    record(app, guest, "a rose for the menu")
    changer = store.connect("app_login", store.tenant_a, autocommit=False)
    if what == "changed":
        save(changer, "menu")
    else:
        assert one(changer, "SELECT guestcomms.remove_saved_search('saved')")
    runner = store.connect("operator_login")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(match, runner)
        while not running.done() and not one(root, "SELECT cardinality(pg_blocking_pids(%s))", runner.info.backend_pid):
            pass
        changer.commit()
        running.result()
    record(app, guest, "another menu")
    match(operator)
    assert len(alerts(app)) == (2 if what == "changed" else 0)


# Restored, or fallen behind


def test_what_came_meanwhile_is_caught_up_with(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    first = record(app, guest, "a rose")
    match(operator)
    (before,) = rows(app, "SELECT alert_id, message_id FROM guestcomms.list_alerts()")
    one(app, "SELECT guestcomms.acknowledge_alert(%s)", before[0])
    missed = record(app, guest, "another rose")
    root.execute(FALL_BEHIND)
    match(operator)
    assert Counter(alerts(app)) == Counter([first, missed])
    assert column(app, "SELECT message_id FROM guestcomms.list_alerts()") == [missed]
    assert column(app, "SELECT alert_id FROM guestcomms.list_alerts(is_acknowledged => true)") == [before[0]]
    root.execute(FALL_BEHIND)
    match(operator)
    assert Counter(alerts(app)) == Counter([first, missed])
    next_one = record(app, guest, "a third rose")
    match(operator)
    assert Counter(alerts(app)) == Counter([first, missed, next_one])


def test_alerts_of_messages_deleted_meanwhile_leave(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    gone = record(app, guest, "a rose")
    match(operator)
    root.execute(DELETE, [gone])
    root.execute(FALL_BEHIND)
    match(operator)
    assert alerts(app) == []
    assert one(app, "SELECT open_alerts FROM guestcomms.list_saved_searches()") == 0


def test_a_store_restored_elsewhere_catches_up(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    first = record(app, guest, "a rose")
    match(operator)
    missed = record(app, guest, "another rose")
    root.execute("UPDATE guestcomms_internal.store_identity SET system_identifier = system_identifier + 1")
    match(operator)
    assert Counter(alerts(app)) == Counter([first, missed])


# Saving


def test_saving_under_the_same_name_changes_the_query(operator: Connection, app: Connection, guest: UUID) -> None:
    first = save(app, "rose", " flowers ")
    (before,) = record_all(app, [message(guest, body="a rose")])
    match(operator)
    assert save(app, "rose", "flowers", notify=True) == first
    assert alerts(app, "flowers") == [before]
    assert save(app, "tulip", "flowers", notify=True) == first
    listed = rows(app, "SELECT search_id, name, query, notify, open_alerts FROM guestcomms.list_saved_searches()")
    assert listed == [(first, "flowers", "tulip", True, 0)]
    after = record_all(app, [message(guest, body=body) for body in ("a rose", "a tulip")])
    match(operator)
    assert alerts(app, "flowers") == [after[1]]


def test_removing(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose", "one")
    save(app, "rose", "two")
    found = record(app, guest, "a rose")
    match(operator)
    assert one(app, "SELECT guestcomms.remove_saved_search(' one ')") is True
    assert one(app, "SELECT guestcomms.remove_saved_search('one')") is False
    assert one(app, "SELECT guestcomms.remove_saved_search(NULL)") is False
    assert rows(app, LIST) == [("two", found)]
    for table in ("saved_searches", "saved_search_words", "saved_search_anchors", "search_alerts"):
        assert one(root, f"SELECT count(DISTINCT search_id) FROM guestcomms.{table}".encode()) == 1
    record(app, guest, "another rose")
    match(operator)
    assert alerts(app, "one") == []


def test_too_many(store: Store, app: Connection) -> None:
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_setting('alerts.max_saved_searches', '2')")
        save(app, "rose", "one")
        save(app, "rose", "two")
        with refused("54000"):
            save(app, "rose", "three")
        save(app, "tulip", "two")
        assert one(app, "SELECT guestcomms.remove_saved_search('one')")
        save(app, "rose", "three")
        own.execute("SELECT guestcomms.set_setting('alerts.max_saved_searches', NULL)")
    assert column(app, "SELECT name FROM guestcomms.list_saved_searches()") == ["three", "two"]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        *((None, "rose"), ("", "rose"), (" ", "rose"), ("x" * 201, "rose")),
        *(("x", None), ("x", ""), ("x", "   "), ("x", "?!"), ("x", "rose " * 201), ("x", "-"), ("x", '""'), ("x", "€")),
    ],
)
def test_bad_input(root: Connection, app: Connection, name: str | None, query: str | None) -> None:
    with refused("22023"):
        app.execute("SELECT guestcomms.save_search(%s, %s)", [name, query])
    assert one(root, "SELECT count(*) FROM guestcomms.saved_searches") == 0


def test_a_refused_change_changes_nothing(operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    with refused("22023"):
        save(app, "?!")
    found = record(app, guest, "a rose")
    match(operator)
    assert alerts(app) == [found]
    assert one(app, "SELECT query FROM guestcomms.list_saved_searches()") == "rose"


@pytest.mark.parametrize("query", ["x" * 1000, "-rose", '-"a rose"', "from:nobody", "channel:sms", "the", "n" * 200 + "*"])
def test_what_is_accepted(app: Connection, query: str) -> None:
    assert save(app, query, "x" * 200)


# Listing and acknowledging

PAGE = "SELECT alert_id, message_id FROM guestcomms.list_alerts(max_rows => %s, after => %s, is_acknowledged => %s)"


def pages(app: Connection, max_rows: int, is_acknowledged: bool | None) -> list[Row]:
    found: list[Row] = []
    while page := rows(app, PAGE, max_rows, found[-1][0] if found else None, is_acknowledged):
        assert len(page) <= max_rows
        found += page
        assert len(found) < 100, "paging goes round in circles"
    return found


def test_paging(root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose", "one")
    save(app, "rose OR tulip", "two")
    ids: list[list[UUID]] = []
    for number in range(3):
        ids.append(record_all(app, [message(guest, body=f"{flower} {number}") for flower in ("rose", "tulip", "rose")]))
        match(operator)
    everything = rows(app, PAGE, 200, None, None)
    assert len(everything) == 15
    raised = column(app, "SELECT raised_at FROM guestcomms.list_alerts()")
    assert raised == sorted(raised, reverse=True)
    # Those of a run together, the last run's first.
    for number in range(3):
        assert {row[1] for row in everything[5 * number : 5 * number + 5]} == set(ids[2 - number])
    for row in everything[::2]:
        assert one(app, "SELECT guestcomms.acknowledge_alert(%s)", row[0])
    # A message that is gone takes no place on a page before its alerts are gone.
    root.execute(DELETE, [ids[1][0]])
    left = [row for row in everything if row[1] != ids[1][0]]
    seen = {row[0] for row in everything[::2]}
    for max_rows in (1, 2, 4, 200):
        assert pages(app, max_rows, None) == left
        assert pages(app, max_rows, True) == [row for row in left if row[0] in seen]
        assert pages(app, max_rows, False) == [row for row in left if row[0] not in seen]


def test_since(operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    for number in range(3):
        record(app, guest, f"rose {number}")
        match(operator)
    listed = rows(app, "SELECT raised_at, alert_id FROM guestcomms.list_alerts()")
    since = "SELECT alert_id FROM guestcomms.list_alerts(since => %s)"
    for number, (raised_at, _) in enumerate(listed):
        assert column(app, since, raised_at) == [row[1] for row in listed[: number + 1]]
    everything = [row[1] for row in listed]
    for bound in (None, "1969-07-20 20:17+00", "1000-01-01", "-infinity"):
        assert column(app, since, bound) == everything, bound
    for bound in ("2100-01-01", "infinity"):
        assert column(app, since, bound) == [], bound


@pytest.mark.parametrize("max_rows", [0, -1, 201, None])
def test_bounds_of_a_page(app: Connection, max_rows: int | None) -> None:
    with refused("22023"):
        rows(app, "SELECT * FROM guestcomms.list_alerts(max_rows => %s::integer)", max_rows)


def test_acknowledging(operator: Connection, app: Connection, guest: UUID) -> None:
    save(app, "rose")
    record_all(app, [message(guest, body="rose"), message(guest, body="rose too")])
    match(operator)
    opened = column(app, "SELECT alert_id FROM guestcomms.list_alerts()")
    count = "SELECT open_alerts FROM guestcomms.list_saved_searches()"
    assert (len(opened), one(app, count)) == (2, 2)
    acknowledge = "SELECT guestcomms.acknowledge_alert(%s::uuid)"
    assert [one(app, acknowledge, opened[0]) for _ in range(2)] == [True, False]
    assert [one(app, acknowledge, unknown) for unknown in (uuid4(), None)] == [False, False]
    assert one(app, count) == 1
    assert column(app, "SELECT alert_id FROM guestcomms.list_alerts()") == opened[1:]
    ((alert, at),) = rows(app, "SELECT alert_id, acknowledged_at FROM guestcomms.list_alerts(is_acknowledged => true)")
    assert alert == opened[0]
    assert at is not None
    assert set(column(app, "SELECT alert_id FROM guestcomms.list_alerts(is_acknowledged => NULL)")) == set(opened)


@pytest.mark.parametrize(
    ("query", "body", "language", "headline"),
    [
        ("dishes vegetarian", "the vegetarian dish please", "en", "the «vegetarian» «dish» please"),
        ("Gast", "die Gäste kommen", "de", "die «Gäste» kommen"),
        ("menu OR bus", "a bus to town", "en", "a «bus» to town"),
        ("veg*", "some vegetables", "en", "some «vegetables»"),
        ("menu -fish", "a menu only", "en", "a «menu» only"),
        ("菜单", "我们的菜单很好", "zh", "我们的«菜单»很好"),
        ("channel:sms", "a bus to town", "en", "a bus to town"),
        ("-fish", "a bus to town", "en", "a bus to town"),
    ],
)
def test_headlines(
    operator: Connection, app: Connection, guest: UUID, query: str, body: str, language: str, headline: str
) -> None:
    save(app, query)
    found = record(app, guest, body, language=language, channel="sms")
    match(operator)
    listed = rows(app, "SELECT name, message_id, guest_id, channel, direction, headline FROM guestcomms.list_alerts()")
    assert listed == [("saved", found, guest, "sms", "inbound", headline)]


def test_a_headline_is_that_of_a_search(operator: Connection, app: Connection, guest: UUID) -> None:
    queries = ['"seating plan"', "table -rose", "seating OR rose", "plan* table", "seating in:sms", "seating table"]
    for query in queries:
        save(app, query, query)
    record(app, guest, "the seating plan of the table by the window " + "and so on " * 40, subject="About seating", language="en")
    match(operator)
    found: dict[str, str] = dict(rows(app, "SELECT name, headline FROM guestcomms.list_alerts()"))
    assert found == {query: one(app, "SELECT headline FROM guestcomms.search_messages(%s)", query) for query in queries}


# Notifications


def received(listener: Connection, root: Connection) -> list[tuple[str, str]]:
    """What came before a notification that is sent now."""
    root.execute("NOTIFY guestcomms_alerts, 'last'")
    found = []
    for notified in listener.notifies():
        if notified.payload == "last":
            break
        found.append((notified.channel, notified.payload))
    return found


def test_notifications(store: Store, root: Connection, operator: Connection, app: Connection, guest: UUID) -> None:
    listener = store.connect("nobody_login")
    listener.execute("LISTEN guestcomms_alerts")
    loud = save(app, "rose", "loud", notify=True)
    louder = save(app, "tulip", "louder", notify=True)
    save(app, "rose", "quiet")
    one(app, "SELECT guestcomms.save_search('unsaid', 'rose', NULL)")
    record_all(app, [message(guest, body="a rose") for _ in range(1500)])
    match(operator)
    assert received(listener, root) == [("guestcomms_alerts", str(loud))]
    assert match(operator) == []
    again = record(app, guest, "a rose")
    record(app, guest, "a tulip")
    match(operator)
    assert sorted(received(listener, root)) == sorted(("guestcomms_alerts", str(search)) for search in (loud, louder))
    # Nothing that is not new.
    root.execute(SET_BODY, ["another rose", again])
    root.execute(FALL_BEHIND)
    match(operator)
    assert received(listener, root) == []
    save(app, "rose", "loud", notify=False)
    record(app, guest, "a rose")
    match(operator)
    assert received(listener, root) == []


# Keeping


def test_alerts_are_kept_as_long_as_is_set(
    store: Store, root: Connection, operator: Connection, app: Connection, guest: UUID
) -> None:
    ids = record_all(app, [message(guest, body="a rose") for _ in range(6)])
    match(operator)
    search = save(app, "rose")
    for days, message_id in zip([0, 1, 2, 4, 89, 91], ids, strict=True):
        raised_at = datetime.now(UTC) - timedelta(days=days, hours=1)
        root.execute(
            "INSERT INTO guestcomms.search_alerts (tenant_id, alert_id, message_id, search_id, raised_at)"
            " VALUES (%s, guestcomms.uuid_v7(%s), %s, %s, %s)",
            [store.tenant_a, raised_at, message_id, search, raised_at],
        )
    trim = "SELECT guestcomms_internal.trim_alerts(%s)"
    with store.connect("operator_login", store.tenant_a) as own:
        own.execute("SELECT guestcomms.set_setting('alerts.keep', NULL)")
        assert [one(root, trim, 10) for _ in range(2)] == [1, 0]
        assert set(alerts(app)) == set(ids[:5])
        own.execute("SELECT guestcomms.set_setting('alerts.keep', '3 days')")
        assert [one(root, trim, 1) for _ in range(3)] == [1, 1, 0]
        assert set(alerts(app)) == set(ids[:3])
        own.execute("SELECT guestcomms.set_setting('alerts.keep', '10 years')")
    # What was trimmed does not come back without a change.
    match(operator)
    assert set(alerts(app)) == set(ids[:3])


# Cost

CANDIDATES = """
SELECT count(DISTINCT a.search_id)
FROM (SELECT %s::uuid AS tenant_id, %s::uuid[] AS ids) AS t
CROSS JOIN LATERAL guestcomms_internal.message_anchors(t.tenant_id, guestcomms_internal.read_messages(t.tenant_id, t.ids)) AS f
JOIN guestcomms.saved_search_anchors AS a ON a.tenant_id = t.tenant_id AND a.anchor = f.anchor COLLATE "C"
"""
# Rows of a table that were read so far in this transaction.
READ = """
SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint FROM pg_stat_xact_user_tables
WHERE schemaname = 'guestcomms' AND relname = 'saved_search_words'
"""
UNRELATED = [
    *(
        "word{n}",
        "word{n} menu",
        '"word{n} other{n}"',
        "wo{n}*",
        "菜单word{n}",
        "from:person{n}",
        "to:person{n} -menu",
        "wedding:word{n}",
    ),
    *("word{n} OR other{n}", "in:thread{n}", "channel:email -word{n}", "guest:person{n}@example.com", "+44 7700 {n}"),
]


def test_unrelated_saved_searches_cost_nothing(
    store: Store, root: Connection, operator: Connection, app: Connection, guest: UUID, known: dict[str, Any]
) -> None:
    """How many are looked at depends on what the messages have, not on how many there are."""
    for number, query in enumerate(["menu", "the menu", "from:gwen", "channel:sms", "-fish", "men*", "fish"]):
        save(app, query, f"related {number}")
    record_all(app, [message(guest, body="the menu of the day") for _ in range(50)])
    match(operator)
    refresh_all(operator)

    def looked_at() -> tuple[int, int, int]:
        ids = record_all(app, [message(guest, body=f"the menu of day {number}") for number in range(5)])
        candidates = one(root, CANDIDATES, store.tenant_a, ids)
        with root.transaction():
            before = one(root, READ)
            root.execute("SELECT guestcomms.match_saved_searches()")
            return candidates, one(root, READ) - before, len(ids)

    few = looked_at()
    assert few[0] == 6
    assert few[1] > 0
    for number in range(300):
        save(app, UNRELATED[number % len(UNRELATED)].format(n=f"{number:06}"), f"unrelated {number}")
    refresh_all(operator)
    assert looked_at() == few
