"""What holds for any query and any text, with examples made up: as many a test as GUESTCOMMS_EXAMPLES says (200)."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import column, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, record

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "200"))
# What a search may read of STORED messages: six in ten are for 64 short beginnings, each of which looks up 500 terms.
MOST_BUFFERS = 50_000
many = settings(deadline=None, max_examples=EXAMPLES)

# All that can be stored: no NUL, no halves of pairs.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
PIECES = st.sampled_from(
    [
        *(
            "menu",
            "the",
            "flowers",
            "A-1023",
            "+49 170 1234567",
            "0170",
            "a@b.c",
            "https://example.com/x",
            "é",
            "Ⅷ",
            "菜单",
            "แต่ง",
        ),
        *(
            "from:zoe",
            "to:me",
            "in:sms",
            'guest:"Zoë',
            "channel:",
            "on:2026-02-30",
            "after:2026",
            "has:link",
            "status:unread",
            "x:y",
        ),
        *(
            " ",
            "  ",
            '"',
            "“",
            "”",
            "-",
            "OR",
            " OR ",
            "*",
            "(",
            ")",
            "\\",
            "'",
            "%",
            ":",
            "<",
            "&",
            "|",
            "!",
            "\t",
            "\n",
            "\u202e",
        ),
    ]
)
QUERIES = TEXT | st.lists(PIECES, max_size=40).map("".join) | st.lists(PIECES | TEXT, max_size=20).map(" ".join)
KINDS = {"word", "prefix", "phrase", "phone", "run", "literal", "filter"}


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    """What a test writes in an example it takes back."""
    return store.connect("app_login", store.tenant_a, autocommit=False)


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    guest = add_guest(app)
    app.commit()
    return guest


# Parsing

PARSE = "SELECT place, alternative, kind, field, value, is_negated FROM guestcomms_internal.parse_query(%s)"


def assert_well_formed(clauses: list[Any]) -> None:
    assert [clause[0] for clause in clauses] == list(range(1, len(clauses) + 1))
    alternatives = [clause[1] for clause in clauses]
    # Those that stand for each other stand beside each other, and are numbered one after the other.
    assert all(later - earlier in (0, 1) for earlier, later in pairwise([0, *alternatives]))
    for _, alternative, kind, field, value, is_negated in clauses:
        assert kind in KINDS
        assert (field is not None) == (kind == "filter")
        assert value
        assert not is_negated or alternatives.count(alternative) == 1


@many
@given(query=QUERIES)
def test_any_text_is_clauses(root: Connection, query: str) -> None:
    clauses = rows(root, PARSE, query)
    assert_well_formed(clauses)
    assert len(clauses) <= 64
    # Nothing is lost that is a letter: each is in a clause, or in the name of a field, or an OR.
    if len(clauses) < 64 and len(query) <= 2000:
        kept = "".join(part for clause in clauses for part in (clause[3], clause[4]) if part)
        assert not {letter for letter in query if letter.isascii() and letter.isalnum()} - set(kept) - set("OR")


@pytest.mark.parametrize(
    "unit",
    ["menu ", "-a ", '"a b" ', "a OR ", "from:x ", "c* ", "+49 170 1234567 ", "菜 ", '"菜" ', "a" * 3000, '"'],
    ids=range(11),
)
def test_a_long_query_is_cut(root: Connection, unit: str) -> None:
    clauses = rows(root, PARSE, unit * 20_000)
    assert_well_formed(clauses)
    assert len(clauses) == min(64, 2000 // len(unit)) or len(clauses) <= 1
    assert sum(len(clause[4]) for clause in clauses) <= 2000


# Finding

LETTERS = st.text("abcdefghijklmnopqrstuvwxyzABCZéèüößñçøłşğ\u0131ŒÅβδωйцкн", min_size=1, max_size=10)
NUMBERS = st.from_regex(r"[1-9][0-9]{0,5}", fullmatch=True)
# Words as the parser knows them, joined by what may stand within one; not what the query language has a meaning for.
WORD = st.one_of(
    LETTERS,
    NUMBERS,
    st.text("菜单婚礼素食", min_size=1, max_size=6),
    st.sampled_from(["the", "and", "und", "les", "don't", "A-1023", "e-mail", "anna@example.com", "www.example.com/plan", "C++"]),
    st.tuples(LETTERS, st.sampled_from(["-", ".", "/", "'", "_", ",", "@", "+", "&"]), LETTERS).map("".join),
    st.tuples(NUMBERS, st.sampled_from(["-", ".", "/", ","]), NUMBERS).map("".join),
).filter(lambda word: word != "OR")
LANGUAGES = st.sampled_from(["en", "de", "fr", "tr", "ru", "el", "zh", "ja"])
STAGES = "SELECT stage FROM guestcomms.search_messages(%s, guest_id => %s, max_rows => 200) WHERE message_id = %s"


@many
@given(words=st.lists(WORD, min_size=1, max_size=12), language=LANGUAGES, data=st.data())
def test_a_message_is_found_by_its_words(
    app: Connection, guest: UUID, words: list[str], language: str, data: st.DataObject
) -> None:
    asked = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=6), label="asked")
    excluded = data.draw(st.sampled_from(words), label="excluded")
    with app.transaction(force_rollback=True):
        message = record(app, guest, " ".join(words), language=language)
        query = " ".join(asked)
        assert rows(app, STAGES, query, guest, message) == [("all words",)]
        # Excluding any of its words takes it out, wherever that stands.
        assert rows(app, STAGES, f"{query} -{excluded}", guest, message) == []
        assert rows(app, STAGES, f"-{excluded}", guest, message) == []


# Reading

STORED = 5000
BODIES = (
    "the seating plan for table {n} beside the window",
    "roses and ribbon number {n}",
    "the menu is 菜单 with dessert {n}",
    "shuttle at {n}",
)


@pytest.fixture(scope="module")
def busy(store: Store, root: Connection) -> Connection:
    """Tenant B's application, with messages over three months."""
    root.execute(
        """
        WITH guest AS (INSERT INTO guestcomms.guests (tenant_id, display_name) VALUES (%(tenant)s, 'Zoe') RETURNING guest_id),
        thread AS (INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %(tenant)s, guest_id FROM guest
            RETURNING guest_id, thread_id)
        INSERT INTO guestcomms.messages
            (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)
        SELECT %(tenant)s, guestcomms.uuid_v7(at.sent_at), at.sent_at, t.thread_id, t.guest_id,
            'inbound', 'chat', 'received', 'en', replace((%(bodies)s::text[])[1 + n %% 4], '{n}', n::text)
        FROM thread AS t, generate_series(1, %(count)s) AS n
        CROSS JOIN LATERAL (SELECT now() - n * interval '20 minutes' AS sent_at) AS at
        """,
        {"tenant": store.tenant_b, "count": STORED, "bodies": list(BODIES)},
    )
    refresh_all(root)
    root.execute("VACUUM ANALYZE")
    return store.connect("other_app_login", store.tenant_b)


def buffers(busy: Connection, query: str, arguments: str) -> int:
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM guestcomms.search_messages(%s, {arguments})"
    plan = one(busy, explain.encode(), query)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@many
@given(
    unit=QUERIES,
    count=st.just(1) | st.integers(1, 1_000_000),
    arguments=st.sampled_from(
        ["max_rows => 20", "sort => 'recent'", "is_expanded => true", "max_rows => 200, headline_format => 'html'"]
    ),
)
def test_no_query_is_an_error_or_reads_without_bound(busy: Connection, unit: str, count: int, arguments: str) -> None:
    assert buffers(busy, unit * min(count, 1 + 1_000_000 // max(1, len(unit))), arguments) < MOST_BUFFERS


@pytest.mark.parametrize(
    "query",
    [
        "1* " * 64,
        "the seating plan for table roses ribbon menu dessert shuttle",
        " OR ".join(str(number) for number in range(500)),
        "菜单 " * 64,
        '"menu is" ' * 64,
        "from:zoe " * 64,
        "from:zoe OR " * 64,
        "a-b-c-d-e-f-g-h " * 40,
        "/".join(["a"] * 1000),
    ],
    ids=range(9),
)
def test_heavy_queries_read_within_bounds(busy: Connection, query: str) -> None:
    for arguments in ("max_rows => 200", "is_expanded => true"):
        assert buffers(busy, query, arguments) < MOST_BUFFERS


# Headlines

MARKS = ("<b>", "</b>")
# What mark_text() leaves out: control characters, overrides and isolates of direction.
LEFT_OUT = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
NASTY = st.sampled_from(
    [
        *(
            "<b>",
            "</b>",
            "<script>",
            "&amp;",
            "&lt;b&gt;",
            "&#39;",
            '"',
            "'",
            "<!--",
            "-->",
            "\\",
            "<a href='x'>",
            "\x01",
            "\x02",
            "\x1b[0m",
        ),
        *(
            "\u202e",
            "\u202a",
            "\u202c",
            "\u2066",
            "\u2067",
            "\u2068",
            "\u2069",
            "שלום",
            "سلام",
            "婚礼",
            "婚",
            "🎉",
            "zebra",
            "zebras",
            "\u2028",
        ),
    ]
)
NASTY_TEXT = st.lists(NASTY | TEXT, max_size=30).map("".join) | st.lists(NASTY | TEXT, max_size=30).map(" ".join)
HEADLINE = "SELECT headline FROM guestcomms.search_messages(%s, guest_id => %s, headline_format => %s)"


@pytest.fixture(scope="module")
def marked(app: Connection, store: Store) -> Connection:
    with store.connect("operator_login", store.tenant_a) as operator:
        for name, mark in zip(("headline_start", "headline_stop"), MARKS, strict=True):
            operator.execute("SELECT guestcomms.set_setting(%s, %s)", [f"search.{name}", mark])
    return app


def squeezed(text: str) -> str:
    """What of a text must come through to a headline: no marks of its own, whatever became of blanks."""
    return re.sub(r"\s", "", LEFT_OUT.sub("", text))


def is_within(part: str, whole: str) -> bool:
    """Whether it is a part; of a text with a < the parser takes what looks like tags out, so that there may be gaps."""
    if "<" not in whole:
        return part in whole
    letters = iter(whole)
    return all(letter in letters for letter in part)


@many
@given(
    subject=st.none() | NASTY_TEXT.map(lambda text: text[:200]),
    body=NASTY_TEXT,
    query=st.sampled_from(["zebra", "婚礼", "婚", "zebra OR 婚礼", "", "zebra OR b OR amp OR lt"]),
)
def test_headlines_are_safe_and_of_the_text(marked: Connection, guest: UUID, subject: str | None, body: str, query: str) -> None:
    with marked.transaction(force_rollback=True):
        record(marked, guest, body + " zebra 婚礼 " + body, subject=subject)
        found = [column(marked, HEADLINE, query, guest, form) for form in ("html", "text")]
    whole = (f"{subject} — " if subject else "") + body + " zebra 婚礼 " + body
    if query and "<" in whole and found == [[], []]:
        return  # the parser takes all after a <script>, or a < without its >, for markup, which holds no words
    ((html,), (text,)) = found
    unmarked = html.replace(MARKS[0], "").replace(MARKS[1], "")
    assert not set(unmarked) & set("<>\"'")
    assert not re.search("&(?!(amp|lt|gt|quot|#39);)", unmarked)
    assert html.count(MARKS[0]) == html.count(MARKS[1])
    plain = unmarked.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&#39;", "'").replace("&amp;", "&")
    assert is_within(squeezed(plain), squeezed(whole))
    if query and "<" not in whole:
        assert MARKS[0] in html
    for headline in (html, text):
        assert not re.search("[\x01-\x08\u202a-\u202e]", headline)
        # Isolated as a whole or not at all, and so balanced.
        assert not re.search("[\u2066-\u2069]", re.sub("\\A\u2068(.*)\u2069\\Z", "\\1", headline, flags=re.DOTALL))
