"""Times that mean something on a noisy machine: contestants take turns, and only medians over the rounds count."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

Contestant = Callable[[], object]
#: Lets a contestant have its turn and returns how many seconds it took.
Clock = Callable[[], float]
Seconds = list[float]


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and the quartiles around it."""

    low: float
    median: float
    high: float


def spread(numbers: list[float]) -> Spread:
    """The quartiles of some numbers; of a single one, that number three times."""
    return Spread(*(statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else numbers * 3))


def take_turns(clocks: Mapping[str, Clock], rounds: int) -> dict[str, Seconds]:
    """The seconds of each contestant in each round, A B C A B C …."""
    seconds: dict[str, Seconds] = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, clock in clocks.items():
            seconds[name].append(clock())
    return seconds


def ratio(of: Seconds, to: Seconds) -> Spread:
    """How many times as long ``of`` took as ``to``, round by round, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(of, to, strict=True)])


def timed(contestant: Contestant, calls: int = 1) -> Clock:
    """A clock for the median of some calls, after one that meets the caches which another contestant left."""

    def clock() -> float:
        contestant()
        times = [time.perf_counter()]
        for _ in range(calls):
            contestant()
            times.append(time.perf_counter())
        return statistics.median(end - start for start, end in itertools.pairwise(times))

    return clock


class Apart(NamedTuple):
    """The near end of a process in which a contestant lives; a clock like any other."""

    connection: Connection

    def __call__(self) -> float:
        """Let the contestant have its turn."""
        time.sleep(0.2)  # meanwhile the matrix product's threads of the contestant before stop spinning
        return float(self._ask("seconds"))

    def result(self) -> Any:
        """What the contestant returns when it is called once."""
        return self._ask("result")

    def peak_memory(self) -> int:
        """The most memory the whole process ever had, in the unit of this system's ``ru_maxrss``."""
        return int(self._ask("peak memory"))

    def _ask(self, question: str) -> Any:
        self.connection.send(question)
        return self.connection.recv()


@contextlib.contextmanager
def apart(factory: Callable[[], Contestant], calls: int) -> Iterator[Apart]:
    """As :func:`timed`, for a contestant that is made, and lives, in a process of its own.

    There it has the heap to itself, as in a user's program. In one process what a contestant holds and frees
    decides whether another's large arrays come from the heap or, a page fault at a time, from the kernel.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(factory, calls, there))
    process.start()
    there.close()
    try:
        yield Apart(here)
    finally:
        here.close()
        process.join()


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables for the processes that are started within."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(factory: Callable[[], Contestant], calls: int, there: Connection) -> None:
    contestant = factory()
    answers: dict[str, Callable[[], object]] = {
        "seconds": timed(contestant, calls),
        "result": contestant,
        "peak memory": _peak_memory,
    }
    with contextlib.suppress(EOFError):  # the other end was closed: no more turns
        while True:
            there.send(answers[there.recv()]())


def _peak_memory() -> int:
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def settle_heap() -> None:
    """Let the C library keep the memory that is freed from now on, as in a training run after its first epoch.

    Until one large array has been freed, glibc gives every small graph's memory back to the kernel, and to get it
    again costs more than the ops. That holds for plain NumPy as well.
    """
    np.ones(31 << 20, np.uint8)
