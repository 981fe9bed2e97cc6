"""document_table(): every column's meaning and retention class, from a few lines of text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.database import Database
from tests.support.queries import one, refused


@pytest.mark.parametrize("line", ["name", "name operational", "name nonsense what it is called"])
def test_a_line_without_class_or_meaning_is_refused(new_database: Callable[..., Database], line: str) -> None:
    with new_database().connect() as root, refused("22023"):
        root.execute("SELECT guestcomms_internal.document_table('guestcomms.weddings', 'Weddings.', %s)", [line])


def test_a_view_is_described_like_a_table(new_database: Callable[..., Database]) -> None:
    with new_database().connect() as root:
        root.execute(
            "SELECT guestcomms_internal.document_table('guestcomms_bi.metrics', 'Numbers.', 'unit operational what is counted')"
        )
        assert one(root, "SELECT obj_description('guestcomms_bi.metrics'::regclass)") == "Numbers."
        assert (
            one(root, "SELECT col_description('guestcomms_bi.metrics'::regclass, 2)")
            == "what is counted [retention: operational]"
        )
