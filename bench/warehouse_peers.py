"""DuckDB with one thread over the same rows in tables of its own, in memory: the raw tables, and the star schema's facts."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import Connection

# Table in DuckDB → its columns there, and the query that exports them, oldest rows first, as tables grow.
TABLES = {
    "tenant": ("tenant_id UUID, timezone VARCHAR", "SELECT tenant_id, timezone FROM guestcomms.tenants"),
    "message": (
        "tenant_id UUID, message_id UUID, sent_at TIMESTAMPTZ, thread_id UUID, guest_id UUID, campaign_id UUID, "
        "direction VARCHAR, channel VARCHAR, status VARCHAR, body VARCHAR",
        "SELECT tenant_id, message_id, sent_at, thread_id, guest_id, campaign_id, direction, channel, status, body "
        "FROM guestcomms.messages ORDER BY sent_at",
    ),
    "event": (
        "tenant_id UUID, event_id UUID, occurred_at TIMESTAMPTZ, message_id UUID, kind VARCHAR, is_machine BOOLEAN",
        "SELECT tenant_id, event_id, occurred_at, message_id, kind, is_machine "
        "FROM guestcomms.message_events ORDER BY occurred_at",
    ),
    "dim_channel": ("channel_key SMALLINT, channel VARCHAR", "SELECT channel_key, channel FROM guestcomms_bi.dim_channel"),
    "fact_message": (
        "tenant_id UUID, message_id UUID, sent_at TIMESTAMPTZ, sent_date_key DATE, channel_key SMALLINT, "
        "direction VARCHAR, guest_id UUID, campaign_id UUID, delivered_at TIMESTAMPTZ, opened_at TIMESTAMPTZ, "
        "response_seconds INTEGER",
        "SELECT tenant_id, message_id, sent_at, sent_date_key, channel_key, direction, guest_id, campaign_id, "
        "delivered_at, opened_at, response_seconds FROM guestcomms_bi.fact_message ORDER BY sent_at",
    ),
    "fact_message_event": (
        "tenant_id UUID, event_id UUID, occurred_at TIMESTAMPTZ, occurred_date_key DATE, message_id UUID, channel_key SMALLINT, "
        "direction VARCHAR, kind VARCHAR, is_machine BOOLEAN",
        "SELECT tenant_id, event_id, occurred_at, occurred_date_key, message_id, channel_key, direction, kind, is_machine "
        "FROM guestcomms_bi.fact_message_event ORDER BY occurred_at",
    ),
}


def is_available() -> bool:
    return all(importlib.util.find_spec(module) for module in ("duckdb", "numpy"))


def used(query: str, parameters: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if f"${name}" in query}


class DuckDB:
    """The rows as they were when it was made."""

    def __init__(self, connection: Connection) -> None:
        import duckdb

        self.version = duckdb.__version__
        self._connection = duckdb.connect()
        self._connection.execute("PRAGMA threads=1; SET TimeZone='UTC'")
        with TemporaryDirectory(prefix="gc-bench-") as name:
            for table, (columns, query) in TABLES.items():
                path = Path(name) / f"{table}.csv"
                with path.open("wb") as file, connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
                    for block in rows:
                        file.write(block)
                self._connection.execute(f"CREATE TABLE {table} ({columns})")
                self._connection.execute(f"COPY {table} FROM '{path}' (FORMAT csv, HEADER false)")
                path.unlink()

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(query, used(query, parameters)).fetchall())

    def ask(self, query: str, parameters: Mapping[str, object]) -> object:
        """The columns as DuckDB has them: the rows are there, and no value of theirs is made an object of Python's but texts."""
        return self._connection.execute(query, used(query, parameters)).fetchnumpy()

    def close(self) -> None:
        self._connection.close()
