"""Movement and indexing in ONNX's operators: other shapes, slices, frames, windows, positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.steps import Affine, Dim, Dims, Steps, fixed

#: Beyond every axis, on either side, for a slice.
FAR = np.iinfo(np.int64).max


def reshape(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Another shape."""
    return g.reshape(xs[0], s.operands(number)[0].shape, s[number].shape)


def transpose(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Another order of axes."""
    return g.transpose(xs[0], s[number].parameters["axes"])


def expanded(g: Graph, x: str, before: Dims, shape: Dims) -> str:
    """An array repeated to a shape; what it has already, the batch for example, is not said again."""
    if before == shape:
        return x
    full = (*[1] * (len(shape) - len(before)), *before)
    return g.node("Expand", x, g.vector([1 if n == m else m for n, m in zip(full, shape, strict=True)]))


def broadcast(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Repeated."""
    return expanded(g, xs[0], s.operands(number)[0].shape, s[number].shape)


def sliced(g: Graph, x: str, before: Dims, starts: Dims, steps: tuple[int, ...], extents: Dims) -> str:
    """Every so many elements of each axis."""
    axes = [a for a, n in enumerate(before) if (starts[a], steps[a], extents[a]) != (0, 1, n)]
    if not axes:
        return x
    ends = [_end(starts[a], steps[a], extents[a]) for a in axes]
    first, by = g.vector([starts[a] for a in axes], "starts"), g.vector([steps[a] for a in axes], "steps")
    return g.node("Slice", x, first, g.vector(ends, "ends"), g.vector(axes, "axes"), by)


def _end(start: Dim, step: int, extent: Dim) -> Dim:
    """Where a slice ends, not included; a negative position would count from the axis's end."""
    pairs = [(n.per, n.plus) if isinstance(n, Affine) else (0, n) for n in (start, extent)]
    per, plus = (a + step * b for a, b in zip(*pairs, strict=True))
    return Affine(per, plus) if per else plus if plus >= 0 else -FAR


def slice_(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Some elements of each axis."""
    p = s[number].parameters
    return sliced(g, xs[0], s.operands(number)[0].shape, p["starts"], p["steps"], p["extents"])


def pad(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """More elements around each axis, and between its neighbours."""
    x, y, widths = s.operands(number)[0], s[number], list(s[number].parameters["widths"])
    value = np.array(y.parameters["value"]).astype(y.dtype)
    result, shape = xs[0], list(x.shape)

    def framed(array: str, pairs: list[tuple[Dim, Dim]]) -> str:
        ends = [low for low, _ in pairs] + [high for _, high in pairs]
        if not any(ends):
            return array
        way = np.dtype(np.int32) if y.dtype in (np.int16, np.uint16) else y.dtype  # which onnxruntime cannot pad
        padded = g.node("Pad", g.cast(array, y.dtype, way), g.vector(ends, "pads"), g.constant(value.astype(way)))
        return g.cast(padded, way, y.dtype)

    for axis, (_, _, between) in enumerate(widths):
        n = shape[axis]
        if not between or n in (0, 1):
            continue
        longer = _times(n, between + 1)
        apart = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        wide = [*shape[: axis + 1], between + 1, *shape[axis + 1 :]]
        result = g.reshape(result, tuple(shape), tuple(apart))
        result = framed(result, [(0, between if a == axis + 1 else 0) for a in range(len(apart))])
        shape[axis] = longer
        result = g.reshape(result, tuple(wide), tuple(shape))
        kept = list(shape)
        kept[axis] = _plus(longer, -between)
        result = sliced(g, result, tuple(shape), (0,) * len(shape), (1,) * len(shape), tuple(kept))
        shape = kept
    return framed(result, [(low, high) for low, high, _ in widths])


def _times(n: Dim, factor: int) -> Dim:
    return Affine(n.per * factor, n.plus * factor) if isinstance(n, Affine) else n * factor


def _plus(n: Dim, more: int) -> Dim:
    return Affine(n.per, n.plus + more) if isinstance(n, Affine) else n + more


def concatenate(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """One after the other."""
    return g.node("Concat", *xs, axis=s[number].parameters["axis"])


def window(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Windows, gathered along the rows and then along the columns."""
    p, shape, n = s[number].parameters, s[number].shape, len(s[number].shape)
    _check_fixed(s, number, shape[-4:])
    result = xs[0]
    for axis, k in ((n - 4, 0), (n - 2, 1)):  # the columns come behind the rows of windows and the rows in them
        starts = np.arange(int(shape[n - 4 + k])) * p["stride"][k]  # type: ignore[arg-type]
        places = g.constant(starts[:, None] + np.arange(p["kernel"][k]), "windows")
        result = g.node("Gather", result, places, axis=axis)
    return g.transpose(result, [*range(n - 3), n - 2, n - 3, n - 1])


def fold(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Windows added back at their places."""
    x, p = s.operands(number)[0], s[number].parameters
    _check_fixed(s, number, x.shape[-4:])
    *batch, rows, columns, kh, kw = range(len(x.shape))
    at_rows, at_columns, i, j = np.ogrid[tuple(slice(x.shape[a]) for a in (rows, columns, kh, kw))]
    places = (at_rows * p["stride"][0] + i) * p["size"][1] + at_columns * p["stride"][1] + j
    values = g.transpose(xs[0], [rows, columns, kh, kw, *batch])
    rest, flat = tuple(x.shape[a] for a in batch), math.prod(p["size"])
    values = g.reshape(values, (*places.shape, *rest), (places.size, *rest))
    added = _added(g, values, g.constant(places.reshape(-1, 1), "places"), (flat, *rest), x.dtype)
    y = g.transpose(added, [*range(1, len(batch) + 1), 0])
    return g.reshape(y, (*rest, flat), s[number].shape)


def _check_fixed(s: Steps, number: int, extents: Dims) -> None:
    if not fixed(extents):
        raise ValueError(
            f"windows of shape {s[number].shape[-2:]} in {s[number].path or 'the model'} run over the batch, "
            "so that their number depends on its size: the last two axes of images are rows and columns, and the first "
            "the batch"
        )


# --- indexing


def clipped(g: Graph, index: str, n: Dim) -> str:
    """Positions within an axis, counted from its end below 0: what lies beyond is moved to its ends."""
    if n == 0:
        return index
    return g.node("Clip", index, g.scalar(_times(n, -1)), g.scalar(_plus(n, -1)))


def gather(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Elements at positions along one axis or several, the positions' axes before the others."""
    x, axes, y = s.operands(number)[0], s[number].parameters["axes"], s[number]
    count = len(y.shape) - len(x.shape) + len(axes)
    places = y.shape[:count]
    if len(axes) == 1:
        (axis,) = axes
        index = clipped(g, xs[1], x.shape[axis])
        picked = g.node("Gather", xs[0], index, axis=axis)
        return g.transpose(picked, [*range(axis, axis + count), *range(axis), *range(axis + count, len(y.shape))])
    rest = [a for a in range(len(x.shape)) if a not in axes]
    return g.node("GatherND", g.transpose(xs[0], [*axes, *rest]), _indices(g, s, number, xs[1:], places))


def _indices(g: Graph, s: Steps, number: int, xs: list[str], places: Dims) -> str:
    """Positions along several axes, as one array with those of a place in its last axis."""
    y = s[number]
    whole = s.operands(number)[0].shape if y.primitive == "gather" else y.shape
    parts = []
    for x, step, axis in zip(xs, s.operands(number)[1:], y.parameters["axes"], strict=True):
        index = expanded(g, clipped(g, x, whole[axis]), step.shape, places)
        parts.append(g.reshape(index, places, (*places, 1)))
    return parts[0] if len(parts) == 1 else g.node("Concat", *parts, axis=len(places))


def scatter(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Zeros with values added at positions."""
    y, axes = s[number], s[number].parameters["axes"]
    places = s.operands(number)[0].shape[: len(s.operands(number)[0].shape) - len(y.shape) + len(axes)]
    order = [*axes, *(a for a in range(len(y.shape)) if a not in axes)]
    shape = tuple(y.shape[a] for a in order)
    added = _added(g, xs[0], _indices(g, s, number, xs[1:], places), shape, y.dtype)
    return g.transpose(added, np.argsort(order).tolist())


def _added(g: Graph, values: str, indices: str, shape: Dims, dtype: np.dtype[Any]) -> str:
    zeros = expanded(g, g.constant(np.zeros((), dtype)), (), shape)
    return g.node("ScatterND", zeros, indices, values, reduction="add")
