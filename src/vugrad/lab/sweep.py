"""Many runs, whatever happens to those who make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, as_completed

from vugrad.lab.cost import cost
from vugrad.lab.record import Record, Records, Run
from vugrad.lab.runner import execute, program
from vugrad.lab.workers import Workers
from vugrad.train.recipe import Recipe

#: So often in a row workers may die without a run having come further.
LIVES = 3
#: Runs of one program go to a worker together, up to a cost of ``TOGETHER`` seconds and up to this share of a worker's
#: part of the total cost, so that all workers end at about the same time.
TOGETHER, SHARE = 5.0, 0.2


def sweep(
    runs: Iterable[Run], records: Records, workers: Workers, tell: Callable[[Record], None] = lambda record: None
) -> dict[Run, Record]:
    """The records of all runs; those that are not there yet are made, each once.

    Short runs of one program are made by one worker, which traces and compiles it once. If a worker dies, its run goes
    on from its checkpoint, so that at most one epoch is lost. ``tell`` is called with every record; the records that
    exist already come first.

    Raises ``RuntimeError`` if workers die again and again, and what a run raises, with the run's settings in a note.
    """
    found: dict[Run, Record] = {}
    waiting = dict.fromkeys(runs)
    lives, progress = LIVES, None

    def keep(record: Record) -> None:
        if record.run in waiting:
            del waiting[record.run]
            found[record.run] = record
            tell(record)

    for run in list(waiting):
        record = records.read(run)
        if record is not None:
            keep(record)
    while waiting:
        try:
            with workers.open() as executor:
                futures = [
                    executor.submit(_make, task, records, workers.threads) for task in tasks(waiting, workers.count)
                ]
                for future in as_completed(futures):
                    for record in future.result():
                        if records.read(record.run) is None:  # its worker has another disk
                            records.write(record)
                        keep(record)
        except BrokenExecutor as error:
            now = _progress(waiting, records)
            lives = LIVES if now != progress else lives - 1
            progress = now
            if not lives:
                raise RuntimeError(
                    f"workers died {LIVES} times and no run came further: is there memory enough for {workers.count} "
                    "of them? Give fewer with --workers"
                ) from error
    return found


def tasks(runs: Iterable[Run], workers: int) -> list[list[Run]]:
    """The tasks for workers: short runs of one program form one task; the longest task comes first."""
    costs = {run: cost(run) for run in runs}
    most = min(TOGETHER, SHARE * sum(costs.values()) / workers)
    found: list[list[Run]] = []
    open: dict[Recipe, list[Run]] = {}  # for each program the task that its next run may join
    for run in costs:
        task = open.get(program(run.recipe))
        if task is None or sum(costs[other] for other in task) + costs[run] > most:
            task = open[program(run.recipe)] = []
            found.append(task)
        task.append(run)
    return sorted(found, key=lambda task: -sum(costs[run] for run in task))


def _make(task: Sequence[Run], records: Records, threads: int) -> list[Record]:
    """Make the runs of a task, in a worker."""
    made = []
    for run in task:
        try:
            made.append(execute(run, records, threads))
        except Exception as error:
            error.add_note(f"in the run {run}")
            raise
    return made


def _progress(waiting: Iterable[Run], records: Records) -> list[tuple[str, float]]:
    """What has been written of the runs that are not done."""
    paths = [path for run in waiting for path in (records.checkpoint(run), records.path(run))]
    return [(path.name, path.stat().st_mtime) for path in paths if path.is_file()]
