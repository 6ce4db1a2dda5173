"""Times that mean something on a noisy machine: contestants take turns, and only medians over the rounds count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """Seconds of one call of each contestant in each round, A B C A B C …, after a round that does not count."""
    seconds: dict[str, Seconds] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(of: Seconds, to: Seconds) -> Spread:
    """How many times as long ``of`` took as ``to``, round by round, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(of, to, strict=True)])
