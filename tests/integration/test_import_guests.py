"""Guests from a CSV file, as psql loads it: what is stored, what is refused and why, and who may be a duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.psql import Psql
from tests.support.queries import column, one, refused, rows, told
from tests.support.store import Store
from tests.support.waiting import wait_until_waiting

COPY = r"\copy guestcomms.import_guest_lines (line) FROM guests.csv WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')"
STAGE = "INSERT INTO guestcomms.import_guest_lines (line) SELECT unnest(%s::text[])"
IMPORT = "SELECT * FROM guestcomms.import_guests(mapping => %s, wedding_id => %s, dry_run => %s, on_error => %s)"
NAMES = "SELECT display_name FROM guestcomms.guests WHERE tenant_id = %s AND display_name IS NOT NULL ORDER BY display_name"
STAGED = "SELECT count(*) FROM guestcomms.import_guest_lines WHERE tenant_id = %s"
FILE = "\n".join(
    [
        "Full name,E-mail,Mobile,Table,RSVP,Shoe size",
        "Zoë Kaya,ZOE@example.com,+44 7700 900111,Tulip,yes,38",
        '"Kaya, Yusuf",yusuf@example.com,07700 900222,"The ""Kayas""",no,',
        "Broken,not an address,,,,",
        ",,,Tulip,,",
        "Zoe K.,zoe@example.com,,,,",
        "",
        '"Two',
        'Lines",,0044 7700 900333,,perhaps so,',
        "王小明,,(0)7700 900444,,,",
        "",
    ]
)


@pytest.fixture
def office(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.root.execute("UPDATE guestcomms.tenants SET region = 'GB' WHERE tenant_id = %s", [archive.tenant])
        # Not by set_setting(): the audit trail would hold what the refusal says, too, and test_secrecy.py look for it.
        archive.add("settings", name="privacy.imports_per_hour", value="1000")
        yield archive


def run(
    connection: Connection,
    text: str | None = None,
    mapping: object = None,
    wedding: object = None,
    dry_run: bool = False,
    on_error: str = "skip",
) -> dict[str, Any]:
    with connection.transaction():
        if text is not None:
            connection.execute(STAGE, [text.split("\n")])
        with connection.cursor(row_factory=dict_row) as cursor:
            (found,) = cursor.execute(
                IMPORT, [Jsonb(mapping) if mapping is not None else None, wedding, dry_run, on_error]
            ).fetchall()
    return found


def reasons(found: dict[str, Any]) -> list[tuple[int, str]]:
    return [(each["row"], each["reason"]) for each in found["duplicates"]]


def test_a_file_that_psql_loads_first_tried_then_stored(office: Archive, tmp_path: Path) -> None:
    (tmp_path / "guests.csv").write_text(FILE, encoding="utf-8")
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    known = one(office.root, "SELECT guestcomms.add_guest(NULL, email => 'yusuf@example.com')")
    call = (
        "SELECT row_count, added_count, known_count, invited_count, rejected_count, ignored_headings"
        " FROM guestcomms.import_guests("
        f"mapping => '{{\"Table\": \"party\"}}', wedding_id => '{wedding}', dry_run => %s);"
    )
    with Psql(office.store.database, tmp_path, "app_login") as psql:
        psql.run(f"SELECT guestcomms.use_tenant('{office.tenant}', true);\n\\pset tuples_only\n\\pset format unaligned")
        psql.run(COPY)
        wanted = '7|2|1|3|3|{"Shoe size"}\n'
        assert psql.run(call % "true") == wanted
        assert column(office.root, NAMES, office.tenant) == []
        assert one(office.root, STAGED, office.tenant) == 10
        assert psql.run(call % "false") == wanted
    assert one(office.root, STAGED, office.tenant) == 0
    assert column(office.root, NAMES, office.tenant) == ["Kaya, Yusuf", "Zoë Kaya", "王小明"]
    assert one(office.root, "SELECT guestcomms.resolve_guest('whatsapp', '+44 7700 900222')") == known
    invited = "SELECT display_name, guest_party, guest_rsvp, email, phone FROM guestcomms.list_wedding_guests(%s)"
    assert rows(office.root, invited, wedding) == [
        ("Kaya, Yusuf", 'The "Kayas"', "no", "yusuf@example.com", "+447700900222"),
        ("Zoë Kaya", "Tulip", "yes", "zoe@example.com", "+447700900111"),
        ("王小明", None, "pending", None, "+447700900444"),
    ]


def test_refused_rows_are_named_with_a_reason_and_shown_to_their_owner(office: Archive) -> None:
    found = run(office.connect("app_login"), FILE)
    assert [(each["row"], each["error_code"], each["record"].get("Full name")) for each in found["rejects"]] == [
        (3, "22023", "Broken"),
        (4, "22004", ""),
        (7, "22023", "Two\nLines"),
    ]
    assert all(each["error_message"] and each["error_hint"] for each in found["rejects"])
    assert found["rejected_count"] == 3


@pytest.mark.parametrize(
    ("row", "sqlstate"),
    [
        ("Zoë,z@example.com,1,en,UTC,A,r,yes,,extra", "22023"),
        (",,,en,UTC,A,r,yes,", "22004"),
        ("x" * 201 + ",,,,,,,,", "22001"),
        ("Zoë,nobody,,,,,,,", "22023"),
        ("Zoë,,12,,,,,,", "22023"),
        ("Zoë,,,english,,,,,", "22023"),
        ("Zoë,,,,Mars,,,,", "22023"),
        ("Zoë,,,,," + "x" * 201 + ",,,", "22001"),
        ("Zoë,,,,,,,perhaps so,", "22023"),
        ("Zoë,,,,,,,,Unknown wedding", "23503"),
        ("Zoë,,,,,,,,Twice", "23503"),
    ],
)
def test_one_bad_row_stops_it_where_asked_and_quotes_nothing(office: Archive, row: str, sqlstate: str) -> None:
    for _ in range(2):
        office.root.execute("SELECT guestcomms.add_wedding('Twice')")
    text = f"name,email,phone,language,timezone,party,role,rsvp,wedding\nAda,,,,,,,,\n{row}"
    with refused(sqlstate) as caught:
        run(office.root, text, on_error="abort")
    assert "2" in str(caught.value.diag.message_detail)
    assert caught.value.diag.message_hint
    assert not [word for word in ("Zoë", "nobody", "perhaps", "xxx") if word in told(caught.value)]
    assert column(office.root, NAMES, office.tenant) == []
    found = run(office.root, text)
    assert [(each["row"], each["error_code"]) for each in found["rejects"]] == [(2, sqlstate)]
    assert column(office.root, NAMES, office.tenant) == ["Ada"]


def test_rows_name_weddings_and_a_repeat_updates_invitations(office: Archive) -> None:
    first, second = (one(office.root, "SELECT guestcomms.add_wedding(%s)", name) for name in ("Zoë & Yusuf", "Ada & Bo"))
    text = "name,email,wedding,rsvp,party\nA,a@example.com,zoe & yusuf,yes,X\nB,b@example.com,,,\nA,a@example.com,Ada & Bo,,"
    found = run(office.root, text, wedding=second)
    assert (found["added_count"], found["invited_count"]) == (2, 3)
    invited = "SELECT display_name, guest_rsvp, guest_party FROM guestcomms.list_wedding_guests(%s)"
    assert rows(office.root, invited, first) == [("A", "yes", "X")]
    assert rows(office.root, invited, second) == [("A", "pending", None), ("B", "pending", None)]
    found = run(office.root, "name,email,wedding,rsvp\nA,a@example.com,zoe & yusuf,\nNew name,b@example.com,zoe & yusuf,no")
    assert (found["added_count"], found["known_count"]) == (0, 2)
    assert rows(office.root, invited, first) == [("A", "yes", "X"), ("B", "no", None)]


def test_duplicates_are_told_by_address_and_by_name(office: Archive) -> None:
    zoe = one(office.root, "SELECT guestcomms.add_guest('Zoë Kaya', email => 'zoe@example.com')")
    yusuf = one(office.root, "SELECT guestcomms.resolve_guest('sms', '+44 7700 900222', 'Yusuf')")
    text = "\n".join(
        [
            "name,email,phone",
            "Z,zoe@example.com,",
            "Both,zoe@example.com,07700 900222",
            "ZOE KAYA,other@example.com,",
            "Ada,ada@example.com,07700 900555",
            "Ada L.,,+44 7700 900555",
            "ada,,",
        ]
    )
    found = run(office.root, text)
    assert reasons(found) == [
        (1, "address of a known guest"),
        (1, "addresses of several guests"),
        (2, "address of a known guest"),
        (2, "address of an earlier row"),
        (2, "addresses of several guests"),
        (3, "name of a known guest"),
        (5, "address of an earlier row"),
        (6, "name of an earlier row"),
    ]
    named = {(each["row"], each["reason"]): each.get("guest_id") or each.get("other_row") for each in found["duplicates"]}
    assert named[2, "address of a known guest"] == named[3, "name of a known guest"] == str(zoe)
    assert named[2, "addresses of several guests"] == str(yusuf)
    assert (named[5, "address of an earlier row"], named[6, "name of an earlier row"]) == (4, 4)
    assert (found["added_count"], found["known_count"]) == (3, 1)
    # Nobody's address is taken away.
    assert one(office.root, "SELECT guestcomms.resolve_guest('sms', '+44 7700 900222')") == yusuf


def test_a_guest_who_was_merged_is_known_as_who_was_kept(office: Archive) -> None:
    keep, merge = office.guest("K"), one(office.root, "SELECT guestcomms.add_guest('M', email => 'm@example.com')")
    office.root.execute("SELECT guestcomms.merge_guests(%s, %s)", [keep, merge])
    run(office.root, "name,email,phone\nX,m@example.com,07700 900777")
    assert one(office.root, "SELECT guestcomms.resolve_guest('sms', '+44 7700 900777')") == keep


def test_a_second_telephone_of_a_known_guest_is_not_the_one_to_use(office: Archive) -> None:
    guest = one(office.root, "SELECT guestcomms.add_guest('K', email => 'k@example.com', phone => '+44 7700 900111')")
    run(office.root, "email,phone\nk@example.com,07700 900888\nk@example.com,07700 900999")
    found = rows(office.root, "SELECT address, is_primary FROM guestcomms.list_guest_addresses(%s) WHERE channel = 'sms'", guest)
    assert sorted(found) == [("+447700900111", True), ("+447700900888", False), ("+447700900999", False)]


def test_the_newest_file_counts_and_the_transactions_own_before_it(office: Archive) -> None:
    app = office.connect("app_login")
    for text in ("name\nFirst", "name\nSecond"):
        app.execute(STAGE, [text.split("\n")])
    with app.transaction():
        app.execute(STAGE, [["name", "Own"]])
        office.connect("app_login").execute(STAGE, [["name", "Third"]])
        run(app)
    assert column(office.root, NAMES, office.tenant) == ["Own"]
    for _ in range(3):
        run(app)
    assert column(office.root, NAMES, office.tenant) == ["First", "Own", "Second", "Third"]
    with refused("55000"):
        run(app)
    app.execute(STAGE, [["name", "Old"]])
    office.root.execute(
        "UPDATE guestcomms.import_guest_lines SET loaded_at = now() - interval '25 hours' WHERE tenant_id = %s", [office.tenant]
    )
    assert one(office.root, "SELECT guestcomms_internal.trim_guest_history()") == 2
    assert one(office.root, STAGED, office.tenant) == 0


def test_many_who_import_the_same_people_at_once_add_them_once(office: Archive) -> None:
    text = "name,email,phone\n" + "\n".join(f"G{number},g{number}@example.com,07700 9{number:05}" for number in range(300))
    backwards = "\n".join([text.split("\n")[0], *reversed(text.split("\n")[1:])])
    sessions = [office.connect("app_login") for _ in range(4)]

    def work(number: int) -> str:
        for _ in range(20):
            try:
                run(sessions[number], text if number % 2 else backwards)
            except Exception as error:
                if getattr(error, "sqlstate", None) != "40001":
                    return str(error)
                continue
            return "done"
        return "never"

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {"done"}
    assert one(office.root, "SELECT count(*) FROM guestcomms.guests WHERE tenant_id = %s", office.tenant) == 300
    assert one(office.root, "SELECT count(*) FROM guestcomms.guest_addresses WHERE tenant_id = %s", office.tenant) == 900


def test_who_is_added_while_a_file_waits_for_them_is_not_added_twice(office: Archive) -> None:
    app, other = office.connect("app_login"), office.connect("app_login", autocommit=False)
    guest = one(other, "SELECT guestcomms.resolve_guest('email', 'g@example.com')")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(run, app, "name,email\nG,g@example.com")
        while not one(office.root, waiting, app.info.backend_pid):
            assert not found.done()
        other.commit()
        with refused("40001"):
            found.result()
    assert run(app, "name,email\nG,g@example.com")["known_count"] == 1
    assert column(office.root, NAMES, office.tenant) == ["G"]
    assert one(office.root, "SELECT guestcomms.resolve_guest('email', 'g@example.com')") == guest


def test_who_is_merged_while_a_file_waits_for_them_keeps_no_invitation(office: Archive) -> None:
    """The file would name the guest who is no longer one."""
    app, other = office.connect("app_login"), office.connect("app_login", autocommit=False)
    keep, guest = (one(office.root, "SELECT guestcomms.add_guest('M', email => %s)", f"{name}@example.com") for name in "km")
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    one(other, "SELECT guestcomms.merge_guests(%s, %s)", keep, guest)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(run, app, "name,email\nM,m@example.com", wedding=wedding)
        wait_until_waiting(office.root, app)
        other.commit()
        with refused("40001"):
            found.result(60)
    assert run(app, "name,email\nM,m@example.com", wedding=wedding)["known_count"] == 1
    invited = "SELECT guest_id FROM guestcomms.wedding_guests WHERE wedding_id = %s"
    assert column(office.root, invited, wedding) == [keep]


def test_a_large_file(office: Archive) -> None:
    text = "name,email,phone,party\n" + "\n".join(
        f"Guest {number},g{number}@example.com,+447{number:09},T{number % 50}" for number in range(5000)
    )
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    assert [run(office.root, text, wedding=wedding)[name] for name in ("added_count", "invited_count", "rejected_count")] == [
        5000,
        5000,
        0,
    ]
    # A few statements, whatever the number of rows.
    logged = (
        "SELECT count(*) FROM guestcomms.change_log WHERE tenant_id = %s AND kind IN ('guest', 'guest_address', 'wedding_guest')"
    )
    assert one(office.root, logged, office.tenant) < 10


@pytest.mark.parametrize(
    ("text", "mapping", "sqlstate"),
    [
        ("Dish,Table\nvegan,4", None, "22023"),
        ("name\nZoë", [1], "22023"),
        ("name\nZoë", {"name": "nickname"}, "22023"),
        ('name\n"Zoë', None, "22023"),
    ],
)
def test_what_is_no_file_of_guests_stays_where_it_was(office: Archive, text: str, mapping: object, sqlstate: str) -> None:
    app = office.connect("app_login")
    app.execute(STAGE, [text.split("\n")])
    with refused(sqlstate) as caught:
        run(app, mapping=mapping)
    assert caught.value.diag.message_hint
    assert not {"Zoë", "vegan", "nickname"} & set(told(caught.value).split())
    assert one(office.root, STAGED, office.tenant) == 2


def test_imports_are_limited_by_the_hour_and_audited(office: Archive) -> None:
    office.root.execute("UPDATE guestcomms.settings SET value = '2' WHERE tenant_id = %s", [office.tenant])
    app = office.connect("app_login")
    run(app, "name\nquokka", dry_run=True)
    run(app, "name\nquokka")
    with refused("53400"):
        run(app, "name\nquokka")
    assert column(
        office.root, "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s AND object = 'guests'", office.tenant
    ) == ["import_guests"]
    assert not column(office.root, "SELECT 1 FROM guestcomms.audit_contents WHERE content::text LIKE '%quokka%'")


def test_another_tenants_files_guests_and_weddings_are_not_there(office: Archive, store: Store) -> None:
    wedding = one(office.root, "SELECT guestcomms.add_wedding('W')")
    guest = one(office.root, "SELECT guestcomms.add_guest('Zoë Kaya', email => 'zoe@example.com')")
    office.root.execute(STAGE, [["name", "Mine"]])
    with Archive(store) as other:
        with refused("55000"):
            run(other.root)
        with refused("23503"):
            run(other.root, "name\nX", wedding=wedding)
        found = run(other.root, "name,email,wedding\nZoe Kaya,zoe@example.com,\nB,,W")
        assert (found["added_count"], found["duplicates"], [each["row"] for each in found["rejects"]]) == (1, [], [2])
        app = other.connect("app_login")
        for query in ("SELECT * FROM guestcomms.import_guest_lines", "DELETE FROM guestcomms.import_guest_lines"):
            with refused("42501"):
                app.execute(query)
        with refused("42501"):
            app.execute("INSERT INTO guestcomms.import_guest_lines (line, tenant_id) VALUES ('x', %s)", [office.tenant])
    with refused("GC001"):
        store.connect("app_login").execute(STAGE, [["name", "X"]])
    assert one(office.root, STAGED, office.tenant) == 2
    assert one(office.root, "SELECT guestcomms.resolve_guest('email', 'zoe@example.com')") == guest
