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
#: The bit generator that ``seed`` gave to NumPy's global generator. ``np.random.seed`` removes its seed sequence, which
#: shows that NumPy was seeded later.
_mark: np.random.MT19937 | None = None
_within: contextvars.ContextVar[np.random.Generator | None] = contextvars.ContextVar("the block's own", default=None)


def seed(n: int) -> None:
    """Make all later random numbers (initial weights, dropout, shuffling) repeatable.

    The state of NumPy's global generator does not change. The course's ``vg.Linear`` and ``vg.load_synth`` draw from
    that generator if ``np.random.seed`` was called after this function.

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
    """A new generator; raises ``TypeError`` if the seed is not an integer, ``ValueError`` if it is negative."""
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
    """``rng`` if given, else the generator of the :func:`drawn_from` block, else the one that :func:`seed` sets."""
    if rng is not None and not hasattr(rng, "normal"):
        raise TypeError(f"rng must be a generator, such as np.random.default_rng(0), got {rng!r}")
    return rng or _within.get() or _generator


def legacy_generator() -> Any:
    """The generator of the course's names: NumPy's global one, unless :func:`seed` was called after ``np.random.seed``.

    Within a :func:`drawn_from` block it is the generator of the block.
    """
    seeded_last = _mark is not None and mtrand.get_bit_generator() is _mark and _mark.seed_seq is not None
    return generator() if seeded_last or _within.get() is not None else np.random


def _mark_numpy() -> None:
    """Move the state of NumPy's global generator to a new bit generator, so that a later ``np.random.seed`` shows."""
    global _mark
    if isinstance(mtrand.get_bit_generator(), np.random.MT19937):  # the only kind that np.random.seed accepts
        state = mtrand.get_state()
        _mark = np.random.MT19937()
        mtrand.set_bit_generator(_mark)
        mtrand.set_state(state)


def __dir__() -> list[str]:
    return __all__
