"""Movement and indexing, recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from vugrad.compiler.trace import indexing
from vugrad.compiler.trace.answers.recording import answers, axes_of, common, lift, program_of
from vugrad.compiler.trace.standin import ANSWERS, CannotCompileError, Traced, place
from vugrad.ops import primitives


@answers(np.reshape)
def reshape(x: Any, shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    if order != "C":
        raise CannotCompileError(f"{place()}: np.reshape with order={order!r} cannot be compiled")
    # NumPy itself works out what -1 stands for, and complains.
    return x.record("reshape", view=True, shape=np.empty(x.shape, np.bool).reshape(shape).shape)


# NumPy itself works out the shapes of these, from an array of nothing.


@answers(np.squeeze)
def squeeze(x: Traced, axis: Any = None) -> Any:
    return reshape(x, np.squeeze(np.empty(x.shape, np.bool), axis).shape)


@answers(np.expand_dims)
def expand_dims(x: Traced, axis: Any) -> Any:
    return reshape(x, np.expand_dims(np.empty(x.shape, np.bool), axis).shape)


@answers(np.repeat)
def repeat(x: Traced, repeats: Any, axis: int | None = None) -> Any:
    x, axis = (reshape(x, -1), 0) if axis is None else (x, range(x.ndim)[axis])
    if np.ndim(repeats) == 0:
        before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
        wide = broadcast_to(reshape(x, (*before, 1, *after)), (*before, int(repeats), *after))
        return reshape(wide, (*before[:-1], before[-1] * int(repeats), *after)).copy()
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


@answers(np.transpose)
def transpose(x: Traced, axes: Any = None) -> Any:
    order = tuple(range(x.ndim))[::-1] if axes is None else normalize_axis_tuple(axes, x.ndim)
    return x.record("transpose", view=True, axes=tuple(order))


@answers(np.broadcast_to)
def broadcast_to(x: Traced, shape: Any, subok: bool = False) -> Any:
    return x.record("broadcast", view=True, shape=(shape,) if isinstance(shape, int) else tuple(shape))


@answers(np.flip)
def flip(x: Traced, axis: Any = None) -> Any:
    axes = axes_of(x, axis)
    return x[tuple(slice(None, None, -1 if i in axes else 1) for i in range(x.ndim))]


@answers(np.concatenate)
def concatenate(xs: Any, axis: int | None = 0) -> Any:
    program = program_of(xs)
    parts: list[Any] = common([lift(x, program) for x in xs])
    if axis is None:
        parts, axis = [np.reshape(x, -1) for x in parts], 0
    return parts[0].record("concatenate", *parts[1:], axis=range(parts[0].ndim)[axis])


@answers(np.stack)
def stack(xs: Any, axis: int = 0) -> Any:
    program = program_of(xs)
    parts = [lift(x, program) for x in xs]
    if len({x.shape for x in parts}) != 1:
        raise ValueError("all input arrays must have the same shape")
    at = range(parts[0].ndim + 1)[axis]
    return concatenate([reshape(x, (*x.shape[:at], 1, *x.shape[at:])) for x in parts], at)


@answers(np.pad)
def pad(x: Traced, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Any:
    if mode != "constant":
        raise unsupported_mode(mode)
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    return x.record("pad", widths=tuple((low, high, 0) for low, high in widths), value=constant_values)


def unsupported_mode(mode: str) -> CannotCompileError:
    """The error for a way to pad that there is not."""
    return CannotCompileError(f"{place()}: np.pad with mode={mode!r} cannot be compiled, only with a constant")


@answers(primitives.unfold)
def unfold(x: Traced, kernel: Any, stride: Any = (1, 1)) -> Any:
    return x.record("window", view=True, kernel=tuple(kernel), stride=tuple(stride))


@answers(primitives.fold)
def fold(x: Traced, size: Any, stride: Any = (1, 1)) -> Any:
    return x.record("fold", size=tuple(size), stride=tuple(stride))


ANSWERS[Traced.__getitem__] = indexing.getitem


@answers(primitives.pick)
def pick(x: Any, index: Any) -> Any:
    return indexing.getitem(lift(x, program_of(index if isinstance(index, tuple) else (index,))), index)


@answers(primitives.scatter)
def scatter(values: Any, index: Any, shape: Any) -> Any:
    if not isinstance(values, Traced):
        values = lift(values, program_of(index if isinstance(index, tuple) else (index,)))
    return indexing.scatter(values, index, tuple(shape))


@answers(np.take)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    x = lift(x, program_of((x, indices)))
    if axis is None:
        x, axis = reshape(x, -1), 0
    indices = indices if isinstance(indices, Traced) else np.asarray(indices)
    return x[(slice(None),) * range(x.ndim)[axis] + (indices,)]


@answers(np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    x = lift(x, program_of((x, indices)))
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = range(x.ndim)[axis]
    extents = [n if i != axis else indices.shape[i] for i, n in enumerate(x.shape)]
    places: list[Any] = list(np.ogrid[tuple(slice(n) for n in extents)])
    places[axis] = indices
    return x[tuple(places)]
