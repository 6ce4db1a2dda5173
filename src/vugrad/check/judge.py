"""The process that judges: it asks the process that runs a submission for numbers, and decides what they are worth.

It answers one request after the other, each about one op, or about which ops there are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vugrad.check.loading import Left
from vugrad.check.remote import Ended, NotOwn, Runner, Stop
from vugrad.check.submission import Verdict, judge
from vugrad.check.wire import receive, send
from vugrad.suggest import near

#: Characters that a text may have.
LONG = 10_000


@dataclasses.dataclass(frozen=True)
class Job:
    """What is asked for.

    Args:
        path: the file or folder that was handed in.
        op: of which a verdict is given; the names of all are given if it is empty.
        own: whether forward and backward must be the submission's own code.
        beside: whether a file can import what lies beside it.
        seconds: of a core that it may take; three times that may pass, on a machine that does other things too.
        memory: bytes that the process that runs it may use.
    """

    path: str
    op: str
    own: bool
    beside: bool
    seconds: float
    memory: int

    @property
    def patience(self) -> float:
        """Seconds after which it is ended, whatever it does."""
        return 3 * self.seconds


class TimeUp(Stop):
    """The judge itself takes too long, as algebra may."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in what takes longer, where the system has alarms."""

    def ring(*_: Any) -> None:
        raise TimeUp

    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answer(job: Job) -> dict[str, Any]:
    """A verdict, or the names of all ops; with what was not loaded."""
    runner = Runner(Path(job.path), job.own, job.beside, job.seconds, job.memory)
    with runner.process, runner.process.within(job.patience):
        if job.op:
            found = explained(verdict(runner, job), runner.left)
            return {"verdict": {key: clean(value) for key, value in vars(found).items()}, **left_of(runner)}
        try:
            return {"names": runner.names(), **left_of(runner)}
        except Stop as end:
            return {"names": [], "error": clean(str(end)), "left": []}


def left_of(runner: Runner) -> dict[str, Any]:
    """What was not loaded of a submission, in words."""
    return {"left": [clean(str(each)) for each in runner.left]}


def clean(value: Any) -> Any:
    """A text that does nothing to a terminal or a page, and is not endless; anything else as it is."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in value[:LONG])


def verdict(runner: Runner, job: Job) -> Verdict:
    """What is found of one op, whatever happens in its process."""
    found: Verdict | None = None
    late = f"it was not done after {job.seconds:g} s of a core, or {job.patience:g} s: does a loop never end?"
    try:
        with bounded(job.patience + 2):
            op, others = runner.choose(job.op)
            if op is None:
                return missing(job.op, others, runner.left)
            for each in judge(job.op, op, job.seconds / 2):
                found = each
        assert found is not None
    except NotOwn as error:
        return Verdict(job.op, "unknown", "not graded", str(error))
    except TimeUp:
        return found or Verdict(job.op, "unknown", "wrong", late)
    except Ended as end:
        if found is None or not (end.late or found.backward == "checked"):
            return Verdict(job.op, "unknown", "wrong", late if end.late else str(end))
    except Exception as error:  # what it says of its inputs or constants
        return Verdict(job.op, "unknown", "not graded", f"its inputs or constants: {type(error).__name__}: {error}")
    return found


def missing(name: str, others: list[str], left: list[Left]) -> Verdict:
    """That there is no op of a name; what could not be loaded may have had it."""
    mine = next((each for each in left if name in each.names or (each.error and not each.names)), None)
    if mine is not None:
        why = "could not be loaded" if mine.error else "is not loaded, since it is no class or constant"
        return Verdict(name, "unknown", "not graded", f"it {why}: {mine}")
    if not others:
        return Verdict(name, "unknown", "missing", "there is no op in it: write class Name(vg.Op)")
    close = near(name, others)
    hint = f"; is it {' or '.join(close)}?" if close else "."
    return Verdict(name, "unknown", "missing", f"there is no op {name!r}{hint} There are: {', '.join(others)}")


def explained(found: Verdict, left: list[Left]) -> Verdict:
    """A verdict that is not "wrong" where the op only lacks what was not loaded of its file."""
    lacks = re.search(r"NameError: name '(\w+)' is not defined", found.text)
    line = next((each for each in left if lacks and lacks[1] in each.names), None)
    if line is None or lacks is None or found.backward == "missing":
        return found
    why = "could not be loaded" if line.error else "is not loaded"
    said = (
        f"it uses {lacks[1]}, which {why}: {line}. Only imports, constants, functions and classes are: write it as a "
        "constant, or inside the class"
    )
    return dataclasses.replace(found, forward="unknown", backward="not graded", text=said)


def main() -> None:
    """Answer until there are no more requests."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed here is for a person
    while True:
        try:
            job = Job(**receive(requests))
        except EOFError:
            return
        send(answers, answer(job))


if __name__ == "__main__":
    main()
