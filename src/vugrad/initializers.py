"""Initial weights. Each function takes a shape and gives an array; no layer has a formula of its own.

A weight's shape is (out, in) for a dense layer and (out, in / groups, kernel height, kernel width) for a
convolution. How far signals spread depends on how many terms each output sums: see :func:`fans`. Numbers are
drawn in float64 whatever the dtype, so that one seed means the same weights in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from vugrad.random import generator

__all__ = [
    "INITIALIZERS",
    "fans",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "normal",
    "orthogonal",
    "zeros",
]

Shape = tuple[int, ...]
Array = npt.NDArray[Any]
Rng = np.random.Generator | None
#: A function ``(shape, rng=None, dtype=np.float32)`` that gives an array.
Initializer = Callable[..., Array]


def fans(shape: Shape) -> tuple[int, int]:
    """``(fan_in, fan_out)``: ``in·k`` and ``out·k`` for a weight of shape (out, in, …) with k weights a channel.

    Raises ``ValueError`` for fewer than two axes, and for an axis of extent 0.

    >>> fans((10, 784))
    (784, 10)
    >>> fans((16, 6, 5, 5))
    (150, 400)
    """
    extents: Any = shape
    if len(extents) < 2 or any(not isinstance(n, Integral) or n < 1 for n in extents):
        raise ValueError(
            f"a weight of shape {shape} has no fans: give it a shape (out, in) or (out, in, height, width) of positive "
            "whole numbers; for a bias use zeros or normal"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def glorot_normal(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32) -> Array:
    """Normal, with ``σ = √(2 / (fan_in + fan_out))`` (Glorot & Bengio 2010): for sigmoid and tanh.

    Args:
        shape: the weight's shape, (out, in, …).
        rng: where the randomness comes from; the generator that ``vg.seed`` sets if left out.
        dtype: the array's dtype.

    Raises ``ValueError`` for a shape without fans.

    >>> glorot_normal((3, 2), np.random.default_rng(0)).shape
    (3, 2)
    """
    return normal(shape, rng, dtype, std=math.sqrt(2 / sum(fans(shape))))


def glorot_uniform(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32) -> Array:
    """Uniform in ±``√(6 / (fan_in + fan_out))``, so with the σ of :func:`glorot_normal` (Glorot & Bengio 2010).

    Args and errors are those of :func:`glorot_normal`.

    >>> bool(abs(glorot_uniform((3, 3), np.random.default_rng(0))).max() <= 1)
    True
    """
    return _uniform(shape, rng, dtype, std=math.sqrt(2 / sum(fans(shape))))


def he_normal(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32) -> Array:
    """Normal, with ``σ = √(2 / fan_in)`` (He et al. 2015): for ReLU, which passes on half of the variance.

    Args and errors are those of :func:`glorot_normal`.

    >>> he_normal((6, 1, 5, 5), np.random.default_rng(0)).dtype
    dtype('float32')
    """
    return normal(shape, rng, dtype, std=math.sqrt(2 / fans(shape)[0]))


def he_uniform(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32) -> Array:
    """Uniform in ±``√(6 / fan_in)``, so with the σ of :func:`he_normal` (He et al. 2015).

    Args and errors are those of :func:`glorot_normal`.

    >>> bool(abs(he_uniform((3, 6), np.random.default_rng(0))).max() <= 1)
    True
    """
    return _uniform(shape, rng, dtype, std=math.sqrt(2 / fans(shape)[0]))


def zeros(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32) -> Array:
    """All zero: for biases. As weights of two layers in a row, no gradient ever reaches the first.

    Args:
        shape: any shape.
        rng: not used; there so that all initializers are called alike.
        dtype: the array's dtype.

    >>> zeros((1, 3))
    array([[0., 0., 0.]], dtype=float32)
    """
    return np.zeros(shape, dtype)


def normal(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32, std: float = 1.0) -> Array:
    """Normal with mean 0 and standard deviation ``std``, whatever the shape.

    Args:
        shape: any shape.
        rng: where the randomness comes from; the generator that ``vg.seed`` sets if left out.
        dtype: the array's dtype.
        std: the standard deviation.

    >>> normal((2, 2), np.random.default_rng(0), std=0.01).shape
    (2, 2)
    """
    return generator(rng).normal(0.0, std, shape).astype(dtype)


def orthogonal(shape: Shape, rng: Rng = None, dtype: npt.DTypeLike = np.float32, gain: float = 1.0) -> Array:
    """A random matrix W of shape (out, in·k) with ``W Wᵀ = gain²·I``, or ``Wᵀ W`` if it is tall (Saxe et al. 2014).

    The Q of a normal matrix's QR decomposition, each column with the sign that makes R's diagonal positive:
    without that, Q would not be spread evenly over all orthogonal matrices.

    Args:
        shape: the weight's shape, (out, in, …).
        rng: where the randomness comes from; the generator that ``vg.seed`` sets if left out.
        dtype: the array's dtype.
        gain: what every length is multiplied by.

    Raises ``ValueError`` for a shape without fans.

    >>> w = orthogonal((2, 3), np.random.default_rng(0), np.float64)
    >>> bool(np.allclose(w @ w.T, np.eye(2)))
    True
    """
    columns, rows = fans(shape)[0], shape[0]
    q, r = np.linalg.qr(normal((max(rows, columns), min(rows, columns)), rng, np.float64))
    q = gain * q * np.sign(np.diag(r))
    return (q if rows >= columns else q.T).reshape(shape).astype(dtype, order="C")


def _uniform(shape: Shape, rng: Rng, dtype: npt.DTypeLike, std: float) -> Array:
    bound = math.sqrt(3) * std  # a uniform number in ±b has variance b²/3
    return generator(rng).uniform(-bound, bound, shape).astype(dtype)


#: Names for the command line: ``suggest.choose("initializer", name, INITIALIZERS)``.
INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function
    for function in (glorot_normal, glorot_uniform, he_normal, he_uniform, zeros, normal, orthogonal)
}


def __dir__() -> list[str]:
    return __all__
