"""Every table, and every column, that can hold something of a guest is in the list of places that an erasure goes through."""

from __future__ import annotations

from typing import Any

from tests.support.database import Database

# Derived from the catalog, so that a table or a column that is new is found missing.
COLUMNS = r"""
    SELECT c.oid::regclass::text, a.attname::text,
        coalesce(substring(col_description(c.oid, a.attnum) FROM '\[retention: (\w+)\]'), '')
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        AND c.relname NOT LIKE '%\_template'"""
CLASSES = {"contact", "content", "behaviour"}
# Keys by which a row is somebody's, or of what somebody wrote.
KEYS = {"guest_id", "guest_key", "guest_ids", "message_id", "message_ids", "named_id", "merged_into"}
# Tables with such a column that hold nothing of a guest, and why.
NOT_OF_GUESTS = {
    "guestcomms_bi.agg_guest_day": "sketches, computed anew from facts of which none is the guest's",
    "guestcomms_bi.agg_guest_quarter_hour": "sketches, computed anew from facts of which none is the guest's",
    "guestcomms_bi.agg_response_day": "sketches of many guests' times",
    "guestcomms_bi.agg_response_quarter_hour": "sketches of many guests' times",
}
# Columns of places that hold nothing of a guest, and why.
NOT_OF_A_GUEST: dict[str, str] = {}


def found(db: Database) -> list[tuple[Any, ...]]:
    return db.connect().execute(COLUMNS.encode()).fetchall()


def places(db: Database) -> dict[str, tuple[list[str], str, str | None, str | None]]:
    query = "SELECT place, columns, treatment, condition, reason FROM guestcomms_internal.erasure_places()"
    listed = db.connect().execute(query).fetchall()
    assert len(listed) == len({place for place, *_ in listed})
    return {place: (columns, treatment, condition, reason) for place, columns, treatment, condition, reason in listed}


def test_every_table_of_guests_is_a_place(db: Database) -> None:
    expected = {table for table, column, retention in found(db) if retention in CLASSES or column in KEYS}
    assert expected - set(places(db)) == set(NOT_OF_GUESTS)


def test_every_column_of_guests_is_covered(db: Database) -> None:
    expected = {
        f"{table}.{column}" for table, column, retention in found(db) if retention in CLASSES and table not in NOT_OF_GUESTS
    }
    covered = {f"{place}.{column}" for place, (columns, *_) in places(db).items() for column in columns}
    assert expected - covered == set(NOT_OF_A_GUEST)
    assert covered - expected == set(), "a column that is no more, or of another class"


def test_what_is_kept_says_why_and_the_rest_is_looked_for(db: Database) -> None:
    tables = {table for table, _, _ in found(db)}
    for place, (_, treatment, condition, reason) in places(db).items():
        assert place in tables
        assert treatment in {"removed", "emptied", "recounted", "re-keyed", "kept"}, place
        assert (condition is None) == (treatment == "kept" or place.startswith("guestcomms_internal.erasure_")), place
        assert reason or treatment != "kept", place
