"""Indexing: parts of an array picked by position, and their adjoint, which adds the parts back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context
from vugrad.ops.primitives import pick, scatter

__all__ = [
    "Scatter",
    "Select",
    "Slice",
    "Take",
    "TakeAlongAxis",
]


class Slice(Op):
    """y = x[index];  gx = zeros with go added at the index."""

    @staticmethod
    def forward(context: Context, x: Array, index: Any) -> Array:
        context.update(index=index, xshape=x.shape)
        return pick(x, index)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return scatter(go, context["index"], context["xshape"])


class Scatter(Op):
    """y = zeros with x added at the index;  gx = go[index]."""

    @staticmethod
    def forward(context: Context, x: Array, index: Any, shape: tuple[int, ...]) -> Array:
        context["index"] = index
        return scatter(x, index, shape)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go[context["index"]]


class Select(Op):
    """yᵢ = x[i, indicesᵢ], one element of each row of a matrix;  gx = goᵢ there, 0 elsewhere."""

    @staticmethod
    def forward(context: Context, x: Array, indices: Array) -> Array:
        index = (np.arange(x.shape[0]), np.reshape(indices, x.shape[:1]))
        context.update(index=index, xshape=x.shape)
        return x[index]

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return scatter(go, context["index"], context["xshape"])


class Take(Op):
    """y = the slices of x along an axis named by ``indices``, an embedding;  gx = go added where they came from."""

    hint = "Indices are whole numbers from 0 to the extent of the axis less one"

    @staticmethod
    def forward(context: Context, x: Array, indices: Array, axis: int = 0) -> Array:
        axis = normalize_axis_index(axis, x.ndim)
        context.update(index=(slice(None),) * axis + (indices,), xshape=x.shape)
        return np.take(x, indices, axis=axis)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return scatter(go, context["index"], context["xshape"]), None


class TakeAlongAxis(Op):
    """y = x at ``indices`` along one axis, at each place of the others;  gx = go added where they came from."""

    hint = "The indices need as many axes as the array, with equal extents or 1 except along the axis"

    @staticmethod
    def forward(context: Context, x: Array, indices: Array, axis: int = -1) -> Array:
        y = np.take_along_axis(x, indices, axis=axis)
        places = list(np.ogrid[tuple(slice(n) for n in x.shape)])  # they broadcast against the indices
        places[axis] = indices
        context.update(index=tuple(places), xshape=x.shape)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return scatter(go, context["index"], context["xshape"]), None
