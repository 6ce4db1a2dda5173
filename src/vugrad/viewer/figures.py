"""An array in a few numbers: its range, a histogram, a heat map; at most its summary's cost, however large it is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from vugrad.graph.backward import Array

#: Arrays of so many elements are given whole; of more there is a heat map with sides of so many cells.
WHOLE, SIDE = 64, 20
BINS = 24
#: A histogram is of about so many elements at most, evenly taken.
SAMPLE = 200_000


def figures(x: Array) -> dict[str, Any]:
    """What there is to see of an array, as JSON takes it.

    ``low`` and ``high`` bound the numbers; ``bins`` counts those that are finite, of a part if there are many;
    ``cells`` has rows of means, and ``whole`` says whether those are the elements themselves. Numbers have 6 digits.
    """
    x = np.asarray(x)
    found: dict[str, Any] = {"shape": list(x.shape), "dtype": x.dtype.name, "size": int(x.size)}
    if not x.size or x.dtype.kind not in "fiub":
        return found
    with np.errstate(all="ignore"):  # nothing is copied: an array may have 10⁸ elements
        low, high = float(np.fmin.reduce(x, axis=None)), float(np.fmax.reduce(x, axis=None))
        mean = float(np.mean(x, dtype=float))
    found |= {"low": rounded(low), "high": rounded(high), "mean": rounded(mean)}
    if not math.isfinite(mean):
        found["nan"] = int(np.count_nonzero(np.isnan(x)))
        found["infinite"] = int(np.count_nonzero(np.isinf(x)))
    x = np.atleast_1d(x)
    sample = x[np.unravel_index(np.arange(0, x.size, 1 + x.size // SAMPLE), x.shape)].astype(float)
    if counts := bins(sample[np.isfinite(sample)]):
        found["bins"] = counts
    found["whole"] = x.size <= WHOLE
    found["cells"] = [[rounded(v) for v in row] for row in (_matrix(x) if x.size <= WHOLE else _blocks(_matrix(x)))]
    return found


def bins(x: Array) -> list[int]:
    """How many numbers are in each of equal parts of their range; none if that is too small, or too large, to part."""
    if not x.size:
        return []
    low, high = float(x.min()), float(x.max())
    width = high / BINS - low / BINS
    if not np.isfinite(width * BINS) or low + width == low or high - width == high:
        return []
    return np.histogram(x.astype(float), BINS, (low, high))[0].tolist()  # type: ignore[no-any-return]


def rounded(v: float) -> float | str:
    """A number in 6 digits; what JSON has no number for as text."""
    return float(f"{v:.6g}") if math.isfinite(v) else str(float(v))


def _matrix(x: Array) -> Array:
    """All axes but the last as one."""
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)


def _blocks(x: Array) -> Array:
    """Means of parts of a matrix, each of a few evenly taken elements."""
    rows, columns = (np.linspace(0, n, min(n, SIDE) + 1).astype(int) for n in x.shape)

    def some(edges: Array) -> Array:
        """For each part a few places in it, as many for all."""
        return np.array([np.linspace(a, b - 1, 4).astype(int) for a, b in itertools.pairwise(edges)])

    r, c = some(rows), some(columns)
    with np.errstate(all="ignore"):
        return np.mean(x[r[:, :, None, None], c[None, None]].astype(float), axis=(1, 3))
