"""A sweep as it is watched in a terminal: how many runs of each study are done, and what time is left."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vugrad.lab.cost import seconds
from vugrad.lab.record import Record, Records, Run
from vugrad.lab.study import Study
from vugrad.lab.sweep import sweep
from vugrad.lab.workers import Workers


def watched(studies: Sequence[Study], records: Records, workers: Workers, console: Console) -> dict[Run, Record]:
    """What :func:`sweep` gives for the runs of all studies, shown as they come."""
    runs = {study.name: [run for _, run in study.runs()] for study in studies}
    # One seed after the other, so that workers do not compile the same network at the same time.
    everything = sorted(dict.fromkeys(run for each in runs.values() for run in each), key=lambda run: run.seed)
    found = {run: record for run in everything if (record := records.read(run)) is not None}
    missing, there = [run for run in everything if run not in found], len(found)
    if missing:
        minutes, rest = divmod(round(seconds(missing, workers.count)), 60)
        console.print(f"{len(missing)} runs to make: about {minutes} min {rest:02} s on {workers.count} workers\n")
    keys = {run: run.key for run in missing}
    began = time.monotonic()

    def table() -> Table:
        grid = Table(box=None, pad_edge=False)
        for heading in ("study", "", "done", "running", "runs"):
            grid.add_column(heading, justify="left" if heading in ("study", "") else "right")
        begun = {path.stem for path in records.folder.glob("*.safetensors")}
        for study in studies:
            mine = runs[study.name]
            done = sum(run in found for run in mine)
            running = sum(run not in found and keys[run] in begun for run in mine)
            style = "green" if done == len(mine) else ""
            grid.add_row(study.name, study.title, str(done), str(running or ""), str(len(mine)), style=style)
        grid.add_row("", _left(len(everything) - len(found), len(found) - there, time.monotonic() - began), "", "", "")
        return grid

    with Live(get_renderable=table, console=console, refresh_per_second=2, transient=True):

        def tell(record: Record) -> None:
            found[record.run] = record

        return found | sweep(missing, records, workers, tell)


def _left(waiting: int, made: int, so_far: float) -> str:
    if not waiting:
        return "all runs are done"
    if not made:
        return f"{waiting} runs to make"
    minutes, rest = divmod(round(so_far / made * waiting), 60)
    return f"{waiting} runs to make, about {minutes} min {rest:02} s"
