"""What a few seeds can say: intervals by the bootstrap, tests, and their correction for how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

#: The share of intervals that hold the truth, and of tests that find something where there is nothing.
CONFIDENCE, LEVEL = 0.95, 0.05
RESAMPLES = 5_000


#: The reason why effects that do not vary have no test.
SAME = "the same in every run"
#: Numbers that differ by less than this share of the largest differ by rounding alone.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and an interval around it; the interval of a single seed is the whole line."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def same(self) -> bool:
        """Whether all seeds gave one number, so that there is no interval."""
        return self.n > 1 and self.low == self.high


def estimate(values: Sequence[float]) -> Estimate:
    """The mean and its bootstrap interval: seeds are drawn with replacement, from a fixed generator.

    If all values are equal, even if infinite, that value is the mean and both ends of the interval. If the values
    differ and one is not finite, the mean is NaN and the interval is the whole line.

    >>> estimate([1.0, 2.0, 3.0]).mean
    2.0
    """
    x = np.asarray(values, float)
    if not len(x):
        return Estimate(math.nan, math.nan, math.nan, 0)
    if len(x) == 1:
        return Estimate(float(x[0]), -math.inf, math.inf, 1)
    if _same(x):
        return Estimate(float(x[0]), float(x[0]), float(x[0]), len(x))
    if not np.isfinite(x).all():
        return Estimate(math.nan, -math.inf, math.inf, len(x))
    mean = float(x.mean())
    picks = np.random.default_rng(0).integers(0, len(x), (RESAMPLES, len(x)))
    means = np.sort(x[picks].mean(axis=1))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(low), float(high), len(x))


def untestable(effects: Sequence[float]) -> str | None:
    """The reason why a t-test cannot be applied to these effects; ``None`` if it can.

    >>> untestable([0.1, 0.2]), untestable([0.1, 0.1]), untestable([0.1])
    (None, 'the same in every run', 'a single run')
    """
    x = np.asarray(effects, float)
    if len(x) < 2:
        return "a single run" if len(x) else "no run"
    if _same(x):
        return SAME
    odd = int(np.count_nonzero(~np.isfinite(x)))
    return f"no finite number in {odd} of {len(x)} runs" if odd else None


def _same(x: np.ndarray[Any, Any]) -> bool:
    """Whether numbers are equal except for rounding; infinite ones are equal if they have the same sign."""
    if not np.isfinite(x).all():
        return bool((x == x[0]).all())
    return bool(np.ptp(x) <= ROUNDING * np.abs(x).max())


def p_value(effects: Sequence[float]) -> float | None:
    """The p-value of Student's two-sided t-test: the probability of a mean so far from 0 if the true mean is 0.

    ``None`` if the test cannot be applied: see :func:`untestable`.

    >>> p_value([0.1, 0.12, 0.11]) < 0.01, p_value([0.1, -0.1]), p_value([0.1, 0.1])
    (True, 1.0, None)
    """
    if untestable(effects):
        return None
    x = np.asarray(effects, float)
    t = x.mean() / (x.std(ddof=1) / math.sqrt(len(x)))
    return float(2 * stdtr(len(x) - 1, -abs(t)))


def resolvable(seeds: int, tests: int) -> float:
    """The least mean effect, in standard deviations over seeds, that the first of ``tests`` corrected tests finds.

    >>> [round(resolvable(3, tests), 1) for tests in (1, 20)]
    [2.5, 11.5]
    """
    return float(stdtrit(seeds - 1, 1 - LEVEL / tests / 2)) / math.sqrt(seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, so that the chance of any false finding stays what it is for one.

    Source: Holm, *A simple sequentially rejective multiple test procedure*, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, p_values[i] * (len(p_values) - rank)))
        corrected[i] = least
    return corrected
