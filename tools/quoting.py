"""Text as the languages of SQL, of configuration files and of connection strings want it."""

from __future__ import annotations


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quote_setting(value: str) -> str:
    return quote_literal(value.replace("\\", "\\\\"))


def quote_dsn(value: str) -> str:
    """Quoted only where it must be, so that a usual connection string stays readable."""
    if value and not any(c in value for c in " '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
