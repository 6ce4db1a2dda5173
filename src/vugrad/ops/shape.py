"""Movement: the same numbers in another arrangement, repeated or put side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context

__all__ = [
    "BroadcastTo",
    "Concatenate",
    "Expand",
    "Flip",
    "Pad",
    "Reshape",
    "Squeeze",
    "Stack",
    "Transpose",
    "Unsqueeze",
    "sum_to",
]


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``x`` over the axes along which an array of ``shape`` was broadcast: the adjoint of broadcasting.

    >>> import numpy as np
    >>> sum_to(np.ones((2, 3)), (3,)).tolist(), sum_to(np.ones((2, 3)), (2, 1)).tolist()
    ([2.0, 2.0, 2.0], [[3.0], [3.0]])
    """
    if x.shape == shape:
        return x
    added = x.ndim - len(shape)
    repeated = (i + added for i, n in enumerate(shape) if n == 1 != x.shape[i + added])
    return np.reshape(np.sum(x, axis=(*range(added), *repeated)), shape)


class Reshape(Op):
    """y = x in another shape;  gx = go in x's shape."""

    hint = "The number of elements must stay the same; -1 stands for the extent that follows from the others"

    @staticmethod
    def forward(context: Context, x: Array, shape: tuple[int, ...]) -> Array:
        context["xshape"] = x.shape
        return np.reshape(x, shape)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.reshape(go, context["xshape"])


class Transpose(Op):
    """y = x with its axes in another order;  gx = go in the order before."""

    @staticmethod
    def forward(context: Context, x: Array, axes: tuple[int, ...] | None = None) -> Array:
        order = list(range(x.ndim))[::-1] if axes is None else list(normalize_axis_tuple(axes, x.ndim))
        if len(order) != x.ndim:
            raise ValueError(f"axes {tuple(order)} must name all {x.ndim} axes, and name {len(order)}")
        context["back"] = [order.index(i) for i in range(x.ndim)]
        return np.transpose(x, order)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.transpose(go, context["back"])


class BroadcastTo(Op):
    """y = x repeated along new axes and those of extent 1;  gx = the sum of go over them."""

    @staticmethod
    def forward(context: Context, x: Array, shape: tuple[int, ...]) -> Array:
        context["xshape"] = x.shape
        return np.broadcast_to(x, shape)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return sum_to(go, context["xshape"])


class Expand(Op):
    """y = x repeated along ``dim``, an axis of extent 1;  gx = the sum of go over it."""

    hint = "np.repeat repeats each slice along an axis of any extent"

    @staticmethod
    def forward(context: Context, x: Array, dim: int, repeats: int) -> Array:
        dim = normalize_axis_index(dim, x.ndim)
        if x.shape[dim] != 1:
            raise ValueError(f"only an axis of extent 1 can be expanded, and axis {dim} has extent {x.shape[dim]}")
        context["dim"] = dim
        return np.repeat(x, repeats, axis=dim)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.sum(go, axis=context["dim"], keepdims=True)


class Squeeze(Op):
    """y = x without the axis ``dim``, of extent 1;  gx = go with it."""

    @staticmethod
    def forward(context: Context, x: Array, dim: int = 0) -> Array:
        context["xshape"] = x.shape
        return np.squeeze(x, axis=dim)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.reshape(go, context["xshape"])


class Unsqueeze(Op):
    """y = x with an axis of extent 1 at ``dim``;  gx = go without it."""

    @staticmethod
    def forward(context: Context, x: Array, dim: int = 0) -> Array:
        context["xshape"] = x.shape
        return np.expand_dims(x, axis=dim)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.reshape(go, context["xshape"])


class Concatenate(Op):
    """y = the inputs end to end along an axis;  each gradient is its stretch of go."""

    hint = "All but the axis joined along must have equal extents; np.stack puts arrays along a new axis"

    @staticmethod
    def forward(context: Context, *xs: Array, axis: int = 0) -> Array:
        y = np.concatenate(xs, axis=axis)
        context.update(extents=[x.shape[axis] for x in xs], axis=axis % y.ndim)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        axis, ends = context["axis"], np.cumsum(context["extents"]).tolist()
        stretches = zip([0, *ends], ends, strict=False)
        return tuple(go[(slice(None),) * axis + (slice(start, end),)] for start, end in stretches)


class Stack(Op):
    """y = the inputs along a new axis;  each gradient is its slice of go."""

    hint = "All arrays must have the same shape; np.concatenate joins along an axis that exists"

    @staticmethod
    def forward(context: Context, *xs: Array, axis: int = 0) -> Array:
        context.update(n=len(xs), axis=axis % (xs[0].ndim + 1))
        return np.stack(xs, axis=axis)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        before = (slice(None),) * context["axis"]
        return tuple(go[(*before, i)] for i in range(context["n"]))


class Pad(Op):
    """y = x with a constant around it;  gx = the middle of go."""

    @staticmethod
    def forward(context: Context, x: Array, pad_width: Any, constant_values: float = 0) -> Array:
        widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
        context["middle"] = tuple(slice(left, left + n) for (left, _), n in zip(widths, x.shape, strict=True))
        return np.pad(x, widths, constant_values=constant_values)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go[context["middle"]]


class Flip(Op):
    """y = x in reverse along the axes (all by default);  gx = go in reverse."""

    @staticmethod
    def forward(context: Context, x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
        context["axis"] = axis
        return np.flip(x, axis)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return np.flip(go, context["axis"])
