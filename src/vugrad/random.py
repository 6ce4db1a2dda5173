"""The one source of randomness: a generator that ``vg.seed`` sets, or the one a caller passes as ``rng``."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import mtrand

from vugrad.suggest import whole

__all__ = [
    "drawn_from",
    "generator",
    "seed",
    "seeded",
]

_generator = np.random.default_rng()
#: The bit generator that ``seed`` gave to NumPy's global generator; ``np.random.seed`` takes its seed sequence away.
_mark: np.random.MT19937 | None = None
_within: contextvars.ContextVar[np.random.Generator | None] = contextvars.ContextVar("the block's own", default=None)


def seed(n: int) -> None:
    """Make everything random that follows (initial weights, dropout, shuffling) repeatable.

    NumPy's global generator goes on as it was. The course's names, ``vg.Linear`` and ``vg.load_synth``, draw from it
    where ``np.random.seed`` was called later than this.

    >>> import vugrad as vg
    >>> vg.seed(7); a = vg.nn.Linear(3, 2).weight.value
    >>> vg.seed(7); b = vg.nn.Linear(3, 2).weight.value
    >>> bool((a == b).all())
    True
    """
    global _generator
    _generator = seeded(n)
    _mark_numpy()


def seeded(n: int) -> np.random.Generator:
    """A new generator of its own; an error if the seed is no whole number, or negative."""
    return np.random.default_rng(whole("a seed", n, 0))


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
    if rng is not None and not hasattr(rng, "normal"):
        raise TypeError(f"rng is a generator, as np.random.default_rng(0) makes one, got {rng!r}")
    return rng or _within.get() or _generator


def legacy_generator() -> Any:
    """NumPy's global generator, unless :func:`seed` was called after ``np.random.seed``: for the course's names.

    Within :func:`drawn_from`, the block's.
    """
    seeded_last = _mark is not None and mtrand.get_bit_generator() is _mark and _mark.seed_seq is not None
    return generator() if seeded_last or _within.get() is not None else np.random


def _mark_numpy() -> None:
    """Let NumPy's global generator go on from its state in a new bit generator, so that a later seed of it is seen."""
    global _mark
    if isinstance(mtrand.get_bit_generator(), np.random.MT19937):  # the only kind that np.random.seed works on
        state = mtrand.get_state()
        _mark = np.random.MT19937()
        mtrand.set_bit_generator(_mark)
        mtrand.set_state(state)


def __dir__() -> list[str]:
    return __all__
