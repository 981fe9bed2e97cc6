"""What the benchmarks share: a cluster of their own, the table they print, the command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tools.bench_report import number
from tools.cluster import Cluster

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass
class Row:
    """One line: a measure beside its baseline in the same run; ratio is measure / baseline."""

    measure: str
    value: float
    unit: str
    baseline: str
    ratio: float
    goal: str = ""


@dataclass
class Report:
    """The table of one benchmark with the conditions it was run under."""

    name: str
    title: str
    conditions: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, measure: str, value: float, unit: str, baseline: str, ratio: float, goal: str = "") -> None:
        self.rows.append(Row(measure, value, unit, baseline, ratio, goal))

    def print(self) -> None:
        print(f"\n{self.title}")
        width = max(len(row.measure) for row in self.rows)
        base = max(len(row.baseline) for row in self.rows)
        for row in self.rows:
            measured = f"{row.measure:<{width}}  {number(row.value):>12} {row.unit:<10}"
            print(f"  {measured} {row.ratio:>7.2f} x {row.baseline:<{base}}  {row.goal}")
        for note in self.notes:
            print(f"  {note}")
        print("  " + ", ".join(f"{name}: {value}" for name, value in self.conditions.items()))

    def finish(self, arguments: argparse.Namespace) -> None:
        self.print()
        if arguments.json:
            arguments.json.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes; one that takes more adds it."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, to see that it runs; its figures mean little")
    parser.add_argument("--json", type=Path, help="also write the table there")
    return parser


def parse_arguments(doc: str | None) -> argparse.Namespace:
    return argument_parser(doc).parse_args()


@contextmanager
def bench_cluster(settings: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster of its own. fsync is off: what is compared is work and WAL, not the disk of the day."""
    with TemporaryDirectory(prefix="gc-bench-") as name:
        Path(name).chmod(0o755)
        cluster = Cluster(
            Path(name) / "cluster",
            settings={"shared_buffers": "2GB", "max_wal_size": "8GB", "autovacuum": "off", "jit": "off"} | (settings or {}),
        )
        try:
            cluster.create()
            cluster.start()
            yield cluster
        finally:
            cluster.destroy()


def conditions(connection: Connection, **more: str) -> dict[str, str]:
    """Version, cores, load: what a reader needs to judge the figures."""
    (version,) = connection.execute("SHOW server_version").fetchone() or ("",)
    load = os.getloadavg()[0]
    return {
        "PostgreSQL": version,
        "cores": str(os.cpu_count()),
        "machine": platform.machine(),
        "load at the start": f"{load:.1f}",
        **more,
    }


def data_directory() -> Path:
    """Where the real data lies; where it is not there, a benchmark says so and is skipped."""
    path = Path(os.environ.get("GUESTCOMMS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        print(f"skipped: the real data is not at {path}; GUESTCOMMS_DATA says where it is")
        raise SystemExit(0)
    return path
