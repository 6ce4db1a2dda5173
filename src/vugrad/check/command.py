"""``vugrad check``: the op table proven and checked, and the ops of a person's file."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from vugrad.check import filepage, page
from vugrad.check.grade import MEMORY, SECONDS, Marks, grade, grade_class, submissions
from vugrad.check.marks import Files, shown
from vugrad.check.proof import established
from vugrad.compiler.machine.threads import allowed
from vugrad.files import as_json, check_writable, write_whole
from vugrad.ops.table import ROWS
from vugrad.suggest import choose

COLOURS = {
    "proven": "green",
    "checked": "green",
    "right": "green",
    "not established": "yellow",
    "not graded": "yellow",
    "unknown": "",
}
#: Seconds that the proof of one row may take.
PATIENCE = 20.0
#: The rows of each op of the table.
OPS = {row.op.__name__: [other for other in ROWS if other.op is row.op] for row in ROWS}
Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What came of one row of the table: "proven" and checked, "checked" alone, "wrong", or "not established"."""

    op: str
    row: str
    status: str
    text: str
    seconds: float


def find(number: int) -> Finding:
    """Check one row of the table in numbers, and prove it."""
    row, start = ROWS[number], time.perf_counter()
    status, text = established(row, PATIENCE)
    return Finding(row.op.__name__, row.name, status, text, time.perf_counter() - start)


def on_all_cores(console: Console, doing: str, f: Callable[[Any], Found], jobs: Sequence[Any]) -> Iterator[Found]:
    """The results of ``f`` for all jobs, in order, computed by one process for each core, with a progress bar.

    If the output is not a terminal, a line is printed after each quarter of the jobs instead.
    """
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(allowed(), multiprocessing.get_context("spawn")) as workers,
    ):
        bar = progress.add_task(doing, total=len(jobs))
        for n, found in enumerate(workers.map(f, jobs), 1):
            progress.advance(bar)
            if not console.is_terminal and 4 * n // len(jobs) > 4 * (n - 1) // len(jobs):
                console.print(f"{doing}: {n} of {len(jobs)}")
            yield found


def table_section(name: str) -> tuple[dict[str, str], str]:
    """The derivations page's section of an op of the table, and the error that prevented it, or ""."""
    return page.section(name, lambda: page.entry(choose("op", name, OPS), PATIENCE))


def write_derivations(console: Console, folder: Path, path: Path | None, names: Sequence[str] | None) -> bool:
    """Write the page with each op's maths, code and proof, of the table or of a file; return whether all succeeded."""
    check_writable(folder.absolute() / "derivations.html")
    if path is None:
        job: Callable[[Any], Any] = table_section
        names, title = names or list(OPS), "Every op: its maths, its code, and the proof"
    else:
        job = functools.partial(filepage.section, str(path))
        names, title = names or filepage.names(path), f"{path.name}: the ops, their maths, code, and proofs"
    derivations, failed = page.Page(folder, title, names), dict[str, str]()
    for name, (section, error) in zip(names, on_all_cores(console, "deriving and proving", job, names), strict=True):
        derivations.add(name, section)
        failed |= {name: error} if error else {}
    for name, error in failed.items():
        console.print(f"{name}: its section could not be made: {error}", style="red")
    made = f"{len(names) - len(failed)} of {len(names)} ops"
    console.print(f"{folder / 'derivations.html'} and {folder / 'derivations.md'} have {made}")
    return not failed


def check_table(console: Console, json_file: Path | None) -> bool:
    """Print a line for each op; whether nothing is wrong."""
    if json_file is not None:
        check_writable(json_file.absolute())
    start = time.perf_counter()
    found = list(on_all_cores(console, "checking and proving", find, range(len(ROWS))))
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("op", "left"), ("", "left"), ("rows", "right"), ("inputs", "left"), ("s", "right")):
        table.add_column(heading, justify=justify, no_wrap=heading == "inputs")  # type: ignore[arg-type]
    by_op: dict[str, list[Finding]] = {}
    for finding in found:
        by_op.setdefault(finding.op, []).append(finding)
    for op, rows in by_op.items():
        status = next((s for s in ("wrong", "not established", "checked") if s in {r.status for r in rows}), "proven")
        inputs = "; ".join(dict.fromkeys(row.row.split(" ")[1] for row in rows))
        seconds = sum(row.seconds for row in rows)
        short = inputs if len(inputs) <= 44 else inputs[:43] + "…"
        table.add_row(op, Text(status, COLOURS.get(status, "red")), str(len(rows)), short, f"{seconds:.2f}")
    console.print(table)
    for finding in found:
        if finding.status != "proven":
            console.print(f"\n{finding.text}", style=COLOURS.get(finding.status, "red"))
    counts = {s: sum(f.status == s for f in found) for s in dict.fromkeys(f.status for f in found)}
    words = ", ".join(f"{n} {s}" for s, n in counts.items())
    console.print(
        f"\n{len(by_op)} ops, {len(found)} rows: {words}, in {time.perf_counter() - start:.0f} s", style="bold"
    )
    if json_file is not None:
        write_whole(json_file, as_json([dataclasses.asdict(finding) for finding in found]))
    return not counts.keys() & {"wrong", "not established"}


def check(console: Console, path: Path | None, names: Sequence[str] | None, marks: bool, files: Files) -> bool:
    """Check the table, or a submission, or with ``marks`` a class in a folder; return whether the command succeeds."""
    if path is None:
        if names is not None or marks or files.of_marks:
            options = "--ops, --grade, --csv, --gradescope and --pages"
            raise ValueError(f"{options} need a file or a folder, as in vugrad check FILE.py --grade")
        return check_table(console, files.record)
    if files.of_marks and not marks:
        raise ValueError("--csv, --gradescope and --pages write marks: add --grade")
    if marks and path.is_dir() and files.gradescope is None:
        if names is None:
            raise ValueError("name the ops that a class was to write, as in --ops Normalize,ReLU")
        check_class(console, path, names, files)
        return True
    found = check_file(console, path, names, marks, files)
    return marks or all(verdict.passed for verdict in found.verdicts)


def check_file(console: Console, path: Path, names: Sequence[str] | None, marks: bool, files: Files) -> Marks:
    """Print a verdict for each op of a submission, and with ``marks`` the number of ops that pass."""
    files.check()
    found = grade(path, names, SECONDS, MEMORY, own=marks)
    table = Table(box=None, pad_edge=False)
    for heading in (*(("mark",) if marks else ()), "op", "forward", "backward", "inputs"):
        table.add_column(heading, justify="right" if heading == "mark" else "left")
    for v in found.verdicts:
        cells = [Text(word, COLOURS.get(word, "red")) for word in (v.forward, v.backward)]
        table.add_row(*([shown(v.mark)] if marks else []), Text(v.op), *cells, Text(v.shapes))
    console.print(table)
    for v in found.verdicts:
        if v.text:
            console.print(Text(f"\n{v.op}: {v.text}"))
    if found.left:
        console.print("\nNot loaded or not judged (only imports, constants, functions and classes are loaded):")
        for each in found.left:
            console.print(Text(f"  {each}"))
    if marks:
        console.print(f"\n{found.summary}", style="bold")
    files.write([found], found, single=True)
    return found


def check_class(console: Console, folder: Path, names: Sequence[str], files: Files) -> None:
    """Grade each submission in a folder: print a line and write the marks as soon as it is done.

    An interrupt therefore loses no finished mark.
    """
    files.check()
    start, found = time.perf_counter(), list[Marks]()
    count = len(submissions(folder))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("grading", total=count)
        try:
            for marks in grade_class(folder, names, SECONDS, MEMORY):
                found = sorted([*found, marks], key=lambda each: each.file)
                files.write(found, marks)
                progress.advance(bar)
                words = " ".join(f"{v.op} {shown(v.mark)}" for v in marks.verdicts)
                progress.console.print(Text(f"{len(found)}/{count} {marks.name}: {marks.summary} ({words})"))
        except KeyboardInterrupt:
            console.print(f"interrupted: {len(found)} of {count} are graded, and their marks are written")
            raise
    seconds = time.perf_counter() - start
    without = sum(marks.open for marks in found)
    more = f"; {without} ops have no mark: read the reasons, and look at the code" if without else ""
    console.print(f"\n{count} submissions, {count * len(names)} ops, in {seconds:.0f} s{more}", style="bold")
