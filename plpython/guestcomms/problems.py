"""Errors for users of SQL functions: what PL/Python's bodies hand to plpy.error."""

from __future__ import annotations


class Problem(ValueError):
    """A message with its SQLSTATE, detail and hint; none of them ever holds a secret or a guest's text."""

    def __init__(self, message: str, sqlstate: str = "22023", *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        fields = {"message": message, "sqlstate": sqlstate, "detail": detail, "hint": hint}
        self.fields = {name: value for name, value in fields.items() if value}
