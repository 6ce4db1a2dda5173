"""What a few seeds can say: intervals by the bootstrap, tests, and their correction for how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: The share of intervals that hold the truth, and of tests that find something where there is nothing.
CONFIDENCE, LEVEL = 0.95, 0.05
RESAMPLES = 5_000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and an interval around it; the interval of a single seed is the whole line."""

    mean: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean and its bootstrap interval: seeds are drawn again with replacement, always the same way.

    >>> estimate([1.0, 2.0, 3.0]).mean
    2.0
    """
    x = np.asarray(values, float)
    if not len(x):
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if len(x) == 1:
        return Estimate(mean, -math.inf, math.inf, 1)
    picks = np.random.default_rng(0).integers(0, len(x), (RESAMPLES, len(x)))
    means = np.sort(x[picks].mean(axis=1))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(low), float(high), len(x))


def p_value(effects: Sequence[float]) -> float:
    """How probable a mean so far from 0 is, either way, if the effects are normal around 0: Student's t-test.

    1 for fewer than two; where all effects are the same number, 0 if it is not 0.

    >>> p_value([0.1, 0.12, 0.11]) < 0.01, p_value([0.1, -0.1])
    (True, 1.0)
    """
    x = np.asarray(effects, float)
    if len(x) < 2 or not np.isfinite(x).all():
        return 1.0
    if x.std() == 0:
        return 0.0 if x[0] else 1.0
    return float(stats.ttest_1samp(x, 0).pvalue)


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
