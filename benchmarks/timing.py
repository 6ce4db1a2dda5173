"""Times that mean something on a noisy machine: contestants take turns, and only medians over the rounds count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

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


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Seconds]:
    """Seconds of one call of each contestant in each round, A B C A B C ….

    Each turn begins with a call that does not count: it meets caches and a heap that another contestant left.
    """
    seconds: dict[str, Seconds] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            contestant()
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(of: Seconds, to: Seconds) -> Spread:
    """How many times as long ``of`` took as ``to``, round by round, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(of, to, strict=True)])


def settle_heap() -> None:
    """Let the C library keep the memory that is freed from now on, as after the first epoch of a training run.

    Until one large array has been freed, glibc returns every small graph's memory to the kernel, and to get it
    back costs more than the ops. NumPy's own programs are spared in the same way.
    """
    np.ones(31 << 20, np.uint8)
