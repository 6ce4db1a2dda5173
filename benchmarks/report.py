"""The table of a benchmark: each measured number beside its target."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from timing import Seconds, Spread, ratio, spread

#: The seconds some work took in each round, and its number of operations.
Work = tuple[Seconds, int]


@dataclass(frozen=True)
class Row:
    """One line of the table. ``target`` is a bound from above, or from below if ``at_least``."""

    name: str
    measured: Spread
    unit: str
    target: float | None = None
    at_least: bool = False
    note: str = ""

    def met(self) -> bool | None:
        """Whether the median keeps to the target; None without one."""
        if self.target is None:
            return None
        return self.measured.median >= self.target if self.at_least else self.measured.median <= self.target


def matrix_share(name: str, work: Work, product: Work, target: float | None = None) -> Row:
    """What part of the rate of a matrix product some work reaches, in percent."""
    (seconds, flop), (product_seconds, product_flop) = work, product
    rates = [flop / time / 1e9 for time in seconds]
    best = [product_flop / time / 1e9 for time in product_seconds]
    note = f"{spread(rates).median:.0f} of {spread(best).median:.0f} GFLOP/s"
    return Row(f"{name}: share of the matrix rate", ratio([100 * r for r in rates], best), "%", target, True, note)


def table(rows: list[Row], judged: bool) -> str:
    """The rows as text, the columns aligned."""
    cells = [("", "measured", "quartiles", "target", "", "")]
    for row in rows:
        m = row.measured
        target = "" if row.target is None else f"{'>=' if row.at_least else '<='} {row.target:g} {row.unit}"
        verdict = {None: "", True: "met", False: "MISSED"}[row.met() if judged else None]
        quartiles = f"{m.low:.2f} - {m.high:.2f}"
        cells.append((row.name, f"{m.median:.2f} {row.unit}", quartiles, target, verdict, row.note))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rounds, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    return parser


def publish(rows: list[Row], options: argparse.Namespace) -> None:
    """Print the table, below a line about the machine, and write it where the options say."""
    machine = {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "vugrad": version("vugrad"),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + (", quick" if options.quick else ""))
    print(table(rows, judged=not options.quick))
    if options.json:
        record = {
            "machine": machine,
            "quick": options.quick,
            "rows": [asdict(row) | {"met": None if options.quick else row.met()} for row in rows],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")
