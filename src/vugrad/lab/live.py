"""The progress of a sweep: how many runs are done, and the time left at the present rate."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vugrad.lab.cost import cost
from vugrad.lab.record import Record, Records, Run
from vugrad.lab.study import Study
from vugrad.lab.sweep import sweep
from vugrad.lab.workers import Workers

#: Seconds between two lines if the output is not a terminal: ``OFTEN`` in the first ``FIRST`` seconds, then ``SELDOM``.
OFTEN, SELDOM, FIRST = 15.0, 60.0, 180.0
#: The exit status of a command that Ctrl-C has ended.
INTERRUPTED = 130


class Pace:
    """The progress of some runs, and the time left at the measured rate.

    Args:
        runs: the runs to make.
        records: the folder of records and checkpoints; a checkpoint shows how far a run is.
    """

    def __init__(self, runs: Iterable[Run], records: Records) -> None:
        self.costs = {run: cost(run) for run in runs}
        self.keys = {run.key: run for run in self.costs}
        self.records, self.done = records, set[Run]()
        self.began, self.before = time.monotonic(), self.begun()

    def begun(self) -> dict[Run, float]:
        """The share of its epochs that each unfinished run has done."""
        stems = (path.stem for path in self.records.folder.glob("*.safetensors"))
        runs = [run for stem in stems if (run := self.keys.get(stem)) is not None and run not in self.done]
        return {run: min(1.0, self.records.epochs(run) / run.recipe.epochs) for run in runs}

    def left(self) -> float | None:
        """The estimated seconds until all runs are done; ``None`` before the first progress."""
        now = {**dict.fromkeys(self.done.copy(), 1.0), **self.begun()}
        made = sum(self.costs[run] * (share - self.before.get(run, 0.0)) for run, share in now.items())
        rest = sum(takes * (1 - now.get(run, 0.0)) for run, takes in self.costs.items())
        return (time.monotonic() - self.began) * rest / made if made > 0 else None

    def __str__(self) -> str:
        left = self.left()
        time_left = "" if left is None else f", about {duration(left)} left"
        gone = duration(time.monotonic() - self.began)
        return f"{len(self.done)} of {len(self.costs)} runs done after {gone}{time_left}"


def watched(studies: Sequence[Study], records: Records, workers: Workers, console: Console) -> dict[Run, Record]:
    """The result of :func:`sweep` for the runs of all studies, with a display of the progress."""
    runs = {study.name: [run for _, run in study.runs()] for study in studies}
    everything = dict.fromkeys(run for each in runs.values() for run in each)
    found = {run: record for run in everything if (record := records.read(run)) is not None}
    missing = [run for run in everything if run not in found]
    if not missing:
        return found
    there = f"; {len(found)} {'is' if len(found) == 1 else 'are'} done already" if found else ""
    console.print(f"{_runs(len(missing))} to make on {workers.count} worker{'s' * (workers.count > 1)}{there}")
    pace = Pace(missing, records)

    def table() -> Table:
        grid = Table(box=None, pad_edge=False)
        for heading in ("study", "", "done", "running", "runs"):
            grid.add_column(heading, justify="left" if heading in ("study", "") else "right")
        begun = pace.begun()
        for study in studies:
            mine = runs[study.name]
            done = sum(run in found for run in mine)
            style = "green" if done == len(mine) else ""
            cells = (str(done), str(sum(run in begun for run in mine) or ""), str(len(mine)))
            grid.add_row(study.name, study.title, *cells, style=style)
        grid.add_row("", str(pace), "", "", "")
        return grid

    def tell(record: Record) -> None:
        found[record.run] = record
        pace.done.add(record.run)

    shown = Live(get_renderable=table, console=console, refresh_per_second=2, transient=True)
    with shown if console.is_terminal else lines(lambda: console.print(f"{pace}")):
        sweep(missing, records, workers, tell)
    console.print(f"{_runs(len(missing))} made in {duration(time.monotonic() - pace.began)}\n")
    return found


@contextlib.contextmanager
def lines(show: Callable[[], None]) -> Iterator[None]:
    """Call ``show`` at intervals, from a thread, until the block ends."""
    over, began = threading.Event(), time.monotonic()

    def work() -> None:
        while not over.wait(OFTEN if time.monotonic() - began < FIRST else SELDOM):
            show()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """A time in two units at most.

    >>> duration(8.4), duration(83), duration(7500)
    ('8 s', '1 min 23 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
