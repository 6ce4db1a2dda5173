"""The course's synthetic data: two features, two classes, an ellipse-shaped border."""

from __future__ import annotations

import numpy as np

from vugrad.data.dataset import Split
from vugrad.random import generator

FORM = np.array([[1.0, 0.5], [1.0, 0.2]])
THRESHOLD = 0.6


def synth(
    num_train: int = 60_000, num_validation: int = 10_000, rng: np.random.Generator | None = None
) -> tuple[Split, Split]:
    """Training and validation points: ``x`` (N, 2) standard normal, float64; ``y`` (N,) labels, int64.

    The label is 1 where the quadratic form xᵀ [[1, .5], [1, .2]] x exceeds 0.6, else 0. The points are drawn
    from ``rng``, or from the generator that ``vugrad.seed`` sets.

    >>> import numpy as np
    >>> train, validation = synth(100, 20, np.random.default_rng(0))
    >>> train.x.shape, validation.x.shape, np.unique(train.y).tolist()
    ((100, 2), (20, 2), [0, 1])
    """
    rng = generator(rng)
    return _draw(num_train, rng), _draw(num_validation, rng)


def _draw(n: int, rng: np.random.Generator) -> Split:
    x = rng.standard_normal((n, 2))
    return Split(x, (np.einsum("ni,ij,nj->n", x, FORM, x) > THRESHOLD).astype(np.int64))
