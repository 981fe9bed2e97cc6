"""The table at the end of a whole run: how much of each module the tests ran, against the floors in coverage_floor.toml.

PL/Python modules are measured as Python: they import no `plpy`, and the unit tests call them outside the server.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import defaultdict
from pathlib import Path

from tests.support.profiler import ROOT, Figures, Profiler

FLOORS = ROOT / "tests" / "coverage_floor.toml"
OUTPUT = ROOT / "build" / "coverage.json"
Percentages = dict[str, dict[str, int]]


def python_modules() -> dict[str, Figures]:
    """Figures by package, where this process runs under coverage.py (`make test` starts it so)."""
    try:
        import coverage
    except ImportError:
        return {}
    running = coverage.Coverage.current()
    if running is None:
        return {}
    running.stop()
    running.save()
    report = ROOT / "build" / "coverage_python.json"
    saved = coverage.Coverage()  # the running one would print that it wrote a report
    saved.load()
    saved.json_report(outfile=str(report))
    result: dict[str, Figures] = defaultdict(Figures)
    for name, entry in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        summary = entry["summary"]
        result[Path(name).parts[0]].add(
            Figures(
                *(summary["num_statements"], summary["covered_lines"]),
                *(summary["num_branches"], summary["covered_branches"]),
            )
        )
    return dict(sorted(result.items()))


def percent(run: int, total: int) -> float:
    return 100 * run / total if total else 100.0


def whole_percentages(modules: dict[str, Figures]) -> Percentages:
    """Rounded down, so that a branch which only some runs reach does not fail the others."""
    return {
        name: {
            "statements": int(percent(figures.statements_run, figures.statements)),
            "branches": int(percent(figures.branches_run, figures.branches)),
        }
        for name, figures in modules.items()
    }


def below_floor(reached: Percentages, floors: Percentages) -> list[str]:
    """What fails the run: a figure under its floor, and a module that has none."""
    found = []
    for name, figures in reached.items():
        if name not in floors:
            found.append(f"{name} has no floor yet")
            continue
        found += [
            f"{name}: {kind} {value} %, the floor is {floors[name][kind]} %"
            for kind, value in figures.items()
            if value < floors[name][kind]
        ]
    return found


def raise_floors(reached: Percentages, floors: Percentages) -> str:
    """The file with floors as high as what was reached; none goes down. A module that is gone is left out."""
    lines = ["# Percent, rounded down, that `make test` must reach. RAISE_FLOORS=1 make test raises them; nothing lowers them."]
    for name, figures in sorted(reached.items()):
        lines.append(f'\n["{name}"]')
        lines += [f"{kind} = {max(value, floors.get(name, {}).get(kind, 0))}" for kind, value in figures.items()]
    return "\n".join(lines) + "\n"


def table(modules: dict[str, Figures]) -> list[str]:
    lines = [f"{'':<24}{'statements':>20}{'branches':>20}"]
    for name, figures in modules.items():
        statements = f"{figures.statements_run}/{figures.statements}"
        branches = f"{figures.branches_run}/{figures.branches}"
        lines.append(
            f"{name:<24}{statements:>12} {percent(figures.statements_run, figures.statements):>5.1f} %"
            f"{branches:>12} {percent(figures.branches_run, figures.branches):>5.1f} %"
        )
    return lines


class CoverageReport:
    """Ends a whole run: writes build/coverage.json, keeps the lines to print and the complaints that fail the run."""

    def __init__(self, profiler: Profiler) -> None:
        self.profiler = profiler
        self.lines: list[str] = []
        self.complaints: list[str] = []

    def finish(self, has_passed: bool) -> None:
        modules = {f"sql/{name}": figures for name, figures in self.profiler.modules().items()} | python_modules()
        self.lines = table(modules)
        reached = whole_percentages(modules)
        OUTPUT.parent.mkdir(exist_ok=True)
        functions = {signature: vars(self.profiler.figures(signature)) for signature in sorted(self.profiler.statements)}
        OUTPUT.write_text(
            json.dumps({"modules": {name: vars(each) for name, each in modules.items()}, "functions": functions}, indent=1),
            encoding="utf-8",
        )
        if not has_passed:  # a failed test leaves things unrun; it is the failure that counts
            return
        floors: Percentages = tomllib.loads(FLOORS.read_text(encoding="utf-8")) if FLOORS.exists() else {}
        if os.environ.get("RAISE_FLOORS"):
            FLOORS.write_text(raise_floors(reached, floors), encoding="utf-8")
            floors = tomllib.loads(FLOORS.read_text(encoding="utf-8"))
        self.complaints = below_floor(reached, floors)
        if self.complaints:
            self.complaints.append("more tests, or for a new module: RAISE_FLOORS=1 make test")
