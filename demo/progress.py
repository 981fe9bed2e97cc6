"""A line of progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys

WIDTH = 32
PLAIN_STEP = 0.25


class Progress:
    """How far a load of known size has come."""

    def __init__(self, total: int) -> None:
        self._total = max(1, total)
        self._done = 0
        self._is_terminal = sys.stderr.isatty()
        self._next = PLAIN_STEP

    def advance(self, count: int, what: str) -> None:
        """So much more is done."""
        self._done += count
        share = min(1.0, self._done / self._total)
        if self._is_terminal:
            bar = "█" * round(share * WIDTH)
            line = f"\r{bar:░<{WIDTH}} {share:4.0%}  {what:<40.40}"
            print(line, end="", file=sys.stderr, flush=True)
        elif share >= self._next:
            self._next = share + PLAIN_STEP
            print(f"{share:4.0%}  {self._done:,} rows, {what}", file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """Something without a measure is being done."""
        if self._is_terminal:
            self.advance(0, what)

    def close(self) -> None:
        """Leave the line."""
        if self._is_terminal:
            print(file=sys.stderr)
