"""The judge process: it requests numbers from the process that runs a submission, and decides the verdict.

It answers one request after the other: for the verdict on one op, or for the names of all ops.
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
from vugrad.check.process import Ended, Stop
from vugrad.check.remote import NotOwn, Runner
from vugrad.check.submission import Verdict, judge
from vugrad.check.wire import receive, send
from vugrad.suggest import near

#: The most characters of a text.
LONG = 10_000


@dataclasses.dataclass(frozen=True)
class Job:
    """A request to a judge.

    Args:
        path: the submitted file or folder.
        op: the name of the op to judge; if it is empty, the answer has the names of all ops.
        own: whether forward and backward must be the submission's own code.
        beside: whether a file can import the files beside it.
        seconds: the limit in core-seconds; the wall-clock limit is three times that, for a machine under other load.
        memory: the most bytes that the process that runs the submission may use.
    """

    path: str
    op: str
    own: bool
    beside: bool
    seconds: float
    memory: int

    @property
    def patience(self) -> float:
        """The wall-clock limit in seconds, after which the process is killed."""
        return 3 * self.seconds


class TimeUp(Stop):
    """The judge itself takes too long, for example in algebra."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in a block that takes longer, on systems with alarm signals."""

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
    """The verdict on an op, or the names of all ops; with the statements that were not loaded."""
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
    """The statements of a submission that were not loaded, in words."""
    return {"left": [clean(str(each)) for each in runner.left]}


def clean(value: Any) -> Any:
    """A text without control characters, cut to :data:`LONG` characters; any other value unchanged."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in value[:LONG])


def verdict(runner: Runner, job: Job) -> Verdict:
    """The verdict on one op, whatever happens in its process."""
    found: Verdict | None = None
    late = f"it did not finish within {job.seconds:g} s of processor time or {job.patience:g} s: does a loop never end?"
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
        if found is None or not (end.timed_out or found.backward == "checked"):
            return Verdict(job.op, "unknown", "wrong", late if end.timed_out else str(end))
    except Exception as error:  # its class attributes ``inputs`` or ``constants`` are wrong
        return Verdict(job.op, "unknown", "not graded", f"its inputs or constants: {type(error).__name__}: {error}")
    return found


def missing(name: str, others: list[str], left: list[Left]) -> Verdict:
    """The verdict where no op has the name: "not graded" if a statement that was not loaded may define it."""
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
    """The verdict, but "not graded" if the op fails only for a name whose statement was not loaded."""
    lacks = re.search(r"NameError: name '(\w+)' is not defined", found.text)
    line = next((each for each in left if lacks and lacks[1] in each.names), None)
    if line is None or lacks is None or found.backward == "missing":
        return found
    why = "could not be loaded" if line.error else "is not loaded"
    said = (
        f"it uses {lacks[1]}, which {why}: {line}. Only imports, constants, functions and classes are loaded: write "
        f"{lacks[1]} as a constant, or inside the class"
    )
    return dataclasses.replace(found, forward="unknown", backward="not graded", text=said)


def main() -> None:
    """Answer requests until their pipe is closed."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints go to standard error: standard output carries the answers
    while True:
        try:
            job = Job(**receive(requests))
        except EOFError:
            return
        send(answers, answer(job))


if __name__ == "__main__":
    main()
