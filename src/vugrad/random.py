"""The one source of randomness: a generator that ``vg.seed`` sets, or the one a caller passes as ``rng``."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import numpy as np

_generator = np.random.default_rng()
_within: contextvars.ContextVar[np.random.Generator | None] = contextvars.ContextVar("the block's own", default=None)


def seed(n: int) -> None:
    """Make everything random that follows (initial weights, dropout, shuffling) repeatable.

    >>> import vugrad as vg
    >>> vg.seed(7); a = vg.nn.Linear(3, 2).weight.value
    >>> vg.seed(7); b = vg.nn.Linear(3, 2).weight.value
    >>> bool((a == b).all())
    True
    """
    global _generator
    _generator = seeded(n)


def seeded(n: int) -> np.random.Generator:
    """A new generator of its own; ``ValueError`` if the seed is negative."""
    if n < 0:
        raise ValueError(f"seed={n}: a seed is a whole number from 0 on")
    return np.random.default_rng(n)


@contextlib.contextmanager
def drawn_from(rng: np.random.Generator) -> Iterator[None]:
    """Within the block, and in this thread alone, everything random comes from ``rng``."""
    token = _within.set(rng)
    try:
        yield
    finally:
        _within.reset(token)


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """``rng`` itself where one is given, else the block's of :func:`drawn_from`, or the one that :func:`seed` sets."""
    return rng or _within.get() or _generator
