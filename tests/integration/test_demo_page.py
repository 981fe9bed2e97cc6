"""What `make demo` loads and shows, at a sixth of its size: every section has something to show."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg.rows import dict_row

from demo.generate import generate
from demo.load import LoadError, load
from demo.page import Page
from demo.progress import Progress
from demo.sections import SECTIONS, archive, conversation
from tests.support.database import Database

MESSAGES = 10_000


def test_the_demonstration_loads_once_and_every_section_shows_something(
    new_database: Callable[[], Database], capsys: pytest.CaptureFixture[str]
) -> None:
    database = new_database()
    dataset = generate(seed=7, until=None, messages=MESSAGES)
    with database.connect(autocommit=False) as connection:
        load(connection, dataset, Progress(dataset.message_count + dataset.event_count))
        assert connection.execute("SELECT count(*) FROM guestcomms.messages").fetchone() == (dataset.message_count,)
        with pytest.raises(LoadError):
            load(connection, dataset, Progress(1))
    capsys.readouterr()
    with psycopg.connect(database.dsn(), row_factory=dict_row) as connection:
        page = Page(connection)
        for show in SECTIONS:
            show(page)
            shown = capsys.readouterr().out
            # A few thousand messages may hold no lively conversation.
            assert len(shown.splitlines()) > 5 or show is conversation.show, show.__module__
            if show is archive.show:
                assert "checksums right" in shown
                assert "checksums wrong" not in shown
                assert "«" in shown
    with database.connect() as connection:
        # What a section archives is there again for the next one.
        assert connection.execute("SELECT count(*) FROM guestcomms.messages").fetchone() == (dataset.message_count,)
        assert connection.execute("SELECT count(*) FROM guestcomms.archive_segments").fetchone() == (0,)
