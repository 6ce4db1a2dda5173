"""An epoch, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def batches(
    x: NDArray[Any], y: NDArray[Any], batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """One epoch of ``(x, y)`` batches of ``batch_size`` instances; the last may be shorter.

    In order without ``rng``; with it, in an order drawn from it, for which both arrays are gathered once,
    at the call. Every batch is a view: writing into one writes into ``x`` (or into the gathered copy).

    Raises a ``ValueError`` where ``batch_size`` is below 1, there is no instance, or the lengths differ.

    >>> import numpy as np
    >>> [len(xb) for xb, yb in batches(np.zeros((5, 3)), np.arange(5), batch_size=2)]
    [2, 2, 1]
    >>> shuffled = batches(np.zeros((5, 3)), np.arange(5), 3, np.random.default_rng(0))
    >>> sorted(np.concatenate([yb for xb, yb in shuffled]).tolist())
    [0, 1, 2, 3, 4]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: a batch needs at least 1 instance")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} instances, shape {x.shape}, and y has {len(y)}, shape {y.shape}")
    if len(x) == 0:
        raise ValueError(f"there is nothing to cut into batches: x has shape {x.shape}")
    if rng is not None:
        order = rng.permutation(len(x))
        x, y = x.take(order, axis=0), y.take(order, axis=0)  # `take` copies whole rows; x[order] is slower
    return ((x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, len(x), batch_size))
