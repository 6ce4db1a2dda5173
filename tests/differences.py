"""Derivatives by central differences in float64: what every gradient is held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def jacobian(f: Callable[[Any], Any], x: Any, step: float = 1e-6) -> Any:
    """The derivative of every element of ``f(x)`` by every element of ``x``: shape ``f(x).shape + x.shape``."""
    x = np.array(x, np.float64)
    columns = []
    for i in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        columns.append((np.asarray(f(above)) - np.asarray(f(below))) / (2 * step))
    return np.moveaxis(np.array(columns), 0, -1).reshape(columns[0].shape + x.shape)
