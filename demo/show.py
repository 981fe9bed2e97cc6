"""Show what a loaded store can do: `python3 -m demo.show --dsn DSN`, as a superuser."""

from __future__ import annotations

import argparse
import sys

import psycopg
from psycopg.rows import dict_row

from demo.page import Page
from demo.sections import SECTIONS


def main() -> int:
    """Show every section on one page."""
    parser = argparse.ArgumentParser(prog="python3 -m demo.show", description=main.__doc__)
    parser.add_argument("--dsn", required=True, help="connection string of a superuser")
    options = parser.parse_args()
    try:
        with psycopg.connect(options.dsn, row_factory=dict_row) as connection:
            page = Page(connection)
            if not page.tenants:
                raise SystemExit("demo.show: the store is empty; python3 -m demo.load fills it")
            for show in SECTIONS:
                show(page)
    except psycopg.Error as error:
        print(f"demo.show: {error}", file=sys.stderr)
        return 1
    page.line()
    return 0


if __name__ == "__main__":
    sys.exit(main())
