"""Writes docs/reference/benchmarks.md from the JSON files of ``make bench``: ``python3 -m tools.bench_report build/bench``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"
HEAD = """<!-- Written by tools/bench_report.py from the output of `make bench`. -->
# Benchmarks

Every figure stands beside a baseline measured in the same run on the same machine: read the ratios. Absolute values are of
the machine named below each table. `make bench` repeats them; the real data they need is described in the benchmarks'
own texts in `bench/`.
"""


def number(value: float) -> str:
    """As tables show it: shares and other small values need more places than times and counts."""
    return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.1f}"


def section(report: dict[str, Any]) -> str:
    lines = [f"## {report['title']}", "", f"`python3 -m bench.{report['name']}`", ""]
    lines += ["| measure | value | ratio | to | goal |", "|---|---:|---:|---|---|"]
    for row in report["rows"]:
        value = f"{number(row['value'])} {row['unit']}".rstrip()
        lines.append(f"| {row['measure']} | {value} | {row['ratio']:.2f} | {row['baseline']} | {row['goal']} |")
    lines += ["", *report["notes"]]
    lines.append("Conditions: " + ", ".join(f"{name} {value}" for name, value in report["conditions"].items()) + ".")
    return "\n".join(lines) + "\n"


def main() -> None:
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    PAGE.write_text("\n".join([HEAD, *map(section, reports)]), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
