"""Files of guests as spreadsheets write them."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import pytest
from guestcomms.guest_file import COLUMNS, group_rows, read_guests
from guestcomms.problems import Problem
from hypothesis import given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "200")))
FIELD = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)


def read(text: str, mapping: object = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_guests(text.split("\n"), None if mapping is None else json.dumps(mapping)))
    return found


def guests(text: str, mapping: object = None) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("row", "record")} for row in read(text, mapping)["rows"]]


def test_columns_go_by_their_headings_in_several_languages() -> None:
    assert guests("Vorname;Nachname;E-Mail;Handy;Gruppe;Zusage\nZoë;Kaya;zoe@example.com;0171 1;Kaya;ja\n") == [
        {"display_name": "Zoë Kaya", "email": "zoe@example.com", "phone": "0171 1", "party": "Kaya", "rsvp": "yes"}
    ]
    assert guests("\ufeffNom complet\tCourriel\r\nZoë\tz@example.com\r") == [{"display_name": "Zoë", "email": "z@example.com"}]


def test_a_mapping_comes_first_and_leaves_out() -> None:
    text = "Who,Name,E-mail,Table\nZoë,The Kayas,z@example.com,4"
    assert guests(text, {"who": "display_name", "NAME": None, "Table": "party"}) == [
        {"display_name": "Zoë", "email": "z@example.com", "party": "4"}
    ]
    found = read(text, {"Table": "party"})
    assert found["ignored"] == ["Who"]
    assert found["rows"][0]["record"] == {"Who": "Zoë", "Name": "The Kayas", "E-mail": "z@example.com", "Table": "4"}


def test_of_two_columns_for_the_same_the_first_counts_or_what_the_mapping_says() -> None:
    text = "Phone,Mobile,Name\n1,2,Z"
    assert guests(text) == [{"phone": "1", "display_name": "Z"}]
    assert guests(text, {"mobile": "phone"}) == [{"phone": "2", "display_name": "Z"}]


def test_rows_are_counted_from_the_headings_and_empty_ones_are_none() -> None:
    found = read('Name,Party\n\n"Zoë\nKaya",A\n , \nYusuf,B,,\nAda,C,more')["rows"]
    assert [(row["row"], row.get("display_name"), row.get("problem")) for row in found] == [
        (2, "Zoë\nKaya", None),
        (4, "Yusuf", None),
        (5, None, "fields"),
    ]


@pytest.mark.parametrize(
    ("text", "mapping", "sqlstate"),
    [
        ("", None, "22023"),
        ("\nZoë", None, "22023"),
        ("Table,Dish\n4,vegan", None, "22023"),
        ('Name\n"Zoë', None, "22023"),
        ("Name\n" + "x" * 10_001, None, "22023"),
        ("Name\nZoë", [], "22023"),
        ("Name\nZoë", {"Name": "nickname"}, "22023"),
        ("Name\nZoë", {"Gast": "display_name"}, "22023"),
        ("Name,Who\nZoë,Y", {"Name": "display_name", "Who": "display_name"}, "22023"),
        ("Name\n" + "x\n" * 100_001, None, "54000"),
    ],
)
def test_what_is_no_file_of_guests_is_an_error_that_quotes_nothing(text: str, mapping: object, sqlstate: str) -> None:
    with pytest.raises(Problem) as caught:
        read(text, mapping)
    assert caught.value.fields["sqlstate"] == sqlstate
    assert caught.value.fields["hint"]
    assert not {"Zoë", "Gast", "nickname"} & set(" ".join(caught.value.fields.values()).replace(",", " ").split())


@many
@given(st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=8), st.sampled_from(",;\t|"))
def test_what_a_spreadsheet_writes_is_read(rows: list[list[str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["name", "party", "role"])
    writer.writerows(rows)
    wanted = [[field.strip() for field in row] for row in rows if any(field.strip() for field in row)]
    found = read(out.getvalue().removesuffix("\n"))["rows"]
    assert [[row["record"][heading] for heading in ("name", "party", "role")] for row in found] == wanted


def connected(emails: list[str | None], phones: list[str | None]) -> list[int]:
    """The slow way: until nothing changes."""
    groups = list(range(1, len(emails) + 1))
    while True:
        before = list(groups)
        for one in range(len(groups)):
            for other in range(len(groups)):
                if (emails[one] and emails[one] == emails[other]) or (phones[one] and phones[one] == phones[other]):
                    groups[one] = groups[other] = min(groups[one], groups[other])
        if groups == before:
            return groups


@many
@given(st.lists(st.tuples(st.sampled_from([None, "", *"abcd"]), st.sampled_from([None, "", *"1234"])), max_size=12))
def test_rows_with_a_common_address_are_one_guest(rows: list[tuple[str | None, str | None]]) -> None:
    emails, phones = [row[0] for row in rows], [row[1] for row in rows]
    assert group_rows(emails, phones) == connected(emails, phones)


def test_every_column_is_its_own_heading() -> None:
    for column in COLUMNS:
        found = read(f"{column},email\nx,y" if column != "email" else "email\nx")
        assert found["ignored"] == []


def test_no_lines_are_no_file() -> None:
    with pytest.raises(Problem):
        read_guests([], None)
