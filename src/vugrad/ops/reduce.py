"""Reductions over axes, and their derivatives: what was summed away comes back by broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context
from vugrad.ops.primitives import chain

__all__ = [
    "LogSumExp",
    "Max",
    "Mean",
    "Min",
    "RowMax",
    "RowSum",
    "Sum",
    "Var",
    "logsumexp",
]

Axes = int | tuple[int, ...] | None


def reduced_axes(ndim: int, axis: Axes) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of non-negative axes; ``None`` is all of them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(normalize_axis_tuple(axis, ndim)))


def spread(go: Any, shape: tuple[int, ...], axis: Axes) -> Any:
    """``go``, one number for each reduced group, repeated over the reduced axes back to ``shape``."""
    axes = reduced_axes(len(shape), axis)
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return np.broadcast_to(np.reshape(go, kept), shape)


def first_hit(x: Any, axis: Axes, largest: bool) -> Any:
    """A mask of x's shape: the first maximum (or minimum) of each reduced group, as ``np.argmax`` has it."""
    axes = reduced_axes(x.ndim, axis)
    others = tuple(i for i in range(x.ndim) if i not in axes)
    last = np.transpose(x, others + axes)
    groups = np.reshape(last, (*last.shape[: len(others)], count(x.shape, axis)))
    position = (np.argmax if largest else np.argmin)(groups, axis=-1)
    mask = np.reshape(position[..., None] == np.arange(groups.shape[-1]), last.shape)
    return np.transpose(mask, np.argsort(others + axes))


def count(shape: tuple[int, ...], axis: Axes) -> int:
    """How many elements each reduced group has."""
    return int(np.prod([shape[i] for i in reduced_axes(len(shape), axis)]))


def averaged(shape: tuple[int, ...], axis: Axes, ddof: int = 0) -> int:
    """The divisor of a mean or variance over the axes, n − ddof; ``ValueError`` unless it is positive."""
    n = count(shape, axis)
    if n <= ddof:
        raise ValueError(
            "the mean of no elements is undefined" if not n else f"ddof={ddof} must be less than the {n} elements"
        )
    return n - ddof


class Sum(Op):
    """y = Σ x over the axes;  gx = go, repeated over them."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        context.update(xshape=x.shape, axis=reduced_axes(x.ndim, axis))
        return np.sum(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return spread(go, context["xshape"], context["axis"])


class Mean(Op):
    """y = Σ x / n over the axes;  gx = go / n, repeated over them."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        context.update(xshape=x.shape, axis=axis, n=averaged(x.shape, axis))
        return np.mean(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return spread(go / context["n"], context["xshape"], context["axis"])


class Var(Op):
    """y = Σ (x − m)² / (n − ddof) over the axes, m their mean;  gx = go · 2 (x − m) / (n − ddof)."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, ddof: int = 0, keepdims: bool = False) -> Array:
        n = averaged(x.shape, axis, ddof)
        centred = x - np.mean(x, axis=axis, keepdims=True)
        context.update(centred=centred, axis=axis, n=n)
        return np.sum(centred**2, axis=axis, keepdims=keepdims) / n

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        centred = context["centred"]
        return chain(spread(go * 2 / context["n"], centred.shape, context["axis"]), centred)


class Max(Op):
    """y = the largest x over the axes;  gx = go at the first maximum, 0 elsewhere."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        context.update(x=x, axis=reduced_axes(x.ndim, axis))
        return np.max(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, axis = context["x"], context["axis"]
        return spread(go, x.shape, axis) * first_hit(x, axis, largest=True)


class Min(Op):
    """y = the smallest x over the axes;  gx = go at the first minimum, 0 elsewhere."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        context.update(x=x, axis=reduced_axes(x.ndim, axis))
        return np.min(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, axis = context["x"], context["axis"]
        return spread(go, x.shape, axis) * first_hit(x, axis, largest=False)


class LogSumExp(Op):
    """y = log Σ eˣ over the axes, computed around the maximum;  gx = go · eˣ⁻ʸ."""

    @staticmethod
    def forward(context: Context, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        largest = np.max(x, axis=axis, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, 0)  # all −∞: ∞ − ∞ would be NaN
        with np.errstate(divide="ignore"):  # log 0 = −∞ is the value there
            y = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
        context.update(x=x, y=y, axis=axis)
        return y if keepdims else np.squeeze(y, axis=reduced_axes(x.ndim, axis))

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        return chain(spread(go, x.shape, context["axis"]), np.exp(x - y))


class RowSum(Op):
    """yᵢ = Σⱼ xᵢⱼ for a matrix x;  gxᵢⱼ = goᵢ."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["xshape"] = x.shape
        return np.sum(x, axis=1)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return spread(go, context["xshape"], 1)


class RowMax(Op):
    """yᵢ = maxⱼ xᵢⱼ for a matrix x;  gxᵢⱼ = goᵢ at the row's first maximum, 0 elsewhere."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context.update(x=x, xshape=x.shape)
        return np.max(x, axis=1)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x = context["x"]
        return spread(go, x.shape, 1) * first_hit(x, 1, largest=True)


# As functions of nodes, where NumPy has none.
logsumexp = LogSumExp.do_forward
