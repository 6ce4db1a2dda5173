"""Many runs, whatever happens to those who make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, as_completed

from vugrad.lab.record import Record, Records, Run
from vugrad.lab.runner import execute
from vugrad.lab.workers import Workers

#: So often in a row workers may die without a run having come further.
LIVES = 3


def sweep(
    runs: Iterable[Run], records: Records, workers: Workers, tell: Callable[[Record], None] = lambda record: None
) -> dict[Run, Record]:
    """The records of all runs; those that are not there yet are made, each once.

    A worker that dies costs the epoch that it was at: its run goes on from its checkpoint. ``tell`` hears of every
    record, those that were there first.

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
                futures = {executor.submit(execute, run, records, workers.threads): run for run in waiting}
                for future in as_completed(futures):
                    try:
                        record = future.result()
                    except BrokenExecutor:
                        raise
                    except Exception as error:
                        error.add_note(f"in the run {futures[future]}")
                        raise
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


def _progress(waiting: Iterable[Run], records: Records) -> list[tuple[str, float]]:
    """What has been written of the runs that are not done."""
    paths = [records.checkpoint(run) for run in waiting]
    return [(path.name, path.stat().st_mtime) for path in paths if path.is_file()]
