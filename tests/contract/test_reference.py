"""docs/reference says what the catalog says."""

from __future__ import annotations

from tests.support.database import Database
from tools.reference import REFERENCE, pages


def test_reference_is_up_to_date(db: Database) -> None:
    for name, text in pages(db.connect()).items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, "make reference"
