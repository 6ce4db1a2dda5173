"""The table of ops: for each one sample shapes, domain and constants, and the op written a second time, independently.

Tests, proofs, derivations and the compiler's comparison with eager all loop over ``ROWS``. References go by index
or group by group, in plain Python where that is clear: they are read next to the op, and must not share its mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad import ops
from vugrad.graph import Op

Array = Any
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Domain:
    """Where sample numbers are drawn: from ``low`` to ``high``, then moved by ``gap`` away from a pole or kink at 0."""

    low: float
    high: float
    gap: float = 0.0

    def at(self, u: Array) -> Array:
        """The number at each fraction ``u`` of the way from low to high."""
        x = self.low + (self.high - self.low) * u
        return x + self.gap * np.sign(x)


ANY, POSITIVE, NONZERO, UNIT = Domain(-2, 2), Domain(0.5, 2.5), Domain(-1.5, 1.5, gap=0.5), Domain(-0.9, 0.9)


@dataclass(frozen=True, eq=False)
class Row:
    """One way to use one op.

    Args:
        op: the op.
        reference: its forward as a function of plain arrays and its constants, to float64 precision.
        shapes: of the inputs.
        constants: the op's keyword arguments.
        domains: of each input; the last stands for all that follow.
        whole: which inputs are not differentiated, and as what they are drawn: a dtype and a bound, from 0 to below it.
        smooth: False if the op has kinks or jumps in its derivative (the domain keeps away from those at 0).
    """

    op: type[Op]
    reference: Callable[..., Any]
    shapes: tuple[Shape, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    domains: tuple[Domain, ...] = (ANY,)
    whole: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    smooth: bool = True

    @property
    def name(self) -> str:
        """The op, the shapes of its inputs and its constants, as in ``Sum 3x4 axis=1``."""
        shapes = ["x".join(map(str, shape)) or "()" for shape in self.shapes]
        kinds = [f":{self.whole[i][0]}" if i in self.whole else "" for i in range(len(shapes))]
        constants = ["".join(f"{key}={value!r}".split()) for key, value in self.constants.items()]
        return " ".join([self.op.__name__, ",".join(map(str.__add__, shapes, kinds)), *constants])

    @property
    def real(self) -> list[int]:
        """The positions of the inputs that have gradients."""
        return [i for i in range(len(self.shapes)) if i not in self.whole]

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[Array]:
        """Sample inputs; the same for a generator of the same seed."""
        sizes = [math.prod(shape) for shape in self.shapes]
        # One number out of each n-th of the domain, shuffled: no two are close, so a maximum has no ties.
        fractions = (rng.permutation(sum(sizes)) + rng.uniform(0.25, 0.75, sum(sizes))) / max(sum(sizes), 1)
        arrays = []
        for i, (shape, part) in enumerate(zip(self.shapes, np.split(fractions, np.cumsum(sizes)[:-1]), strict=True)):
            if i in self.whole:
                kind, below = self.whole[i]
                arrays.append(rng.integers(below, size=shape).astype(kind))
            else:
                domain = self.domains[min(i, len(self.domains) - 1)]
                arrays.append(domain.at(part).astype(dtype).reshape(shape))
        return arrays


Case = dict[str, Any]


def rows(
    op: type[Op], reference: Callable[..., Any], *shapes: str, cases: Sequence[Case] = ({},), **more: Any
) -> list[Row]:
    """A row for each text of shapes, as in "2x3,3", with each of the constants in ``cases``."""

    def parse(text: str) -> tuple[Shape, ...]:
        return tuple(() if shape == "()" else tuple(map(int, shape.split("x"))) for shape in text.split(","))

    return [Row(op, reference, parse(text), case, **more) for case in cases for text in shapes]


# --- references


def each(f: Callable[..., float]) -> Callable[..., Any]:
    """``f`` of one number (or several), for every element; what differs in shape is broadcast."""
    return np.vectorize(f, otypes=[float])


def over(f: Callable[..., float]) -> Callable[..., Any]:
    """A reduction: ``f`` of the list of numbers of each group."""

    def reference(x: Array, axis: Any = None, keepdims: bool = False, **constants: Any) -> Array:
        axes = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in np.atleast_1d(axis))
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        groups = [x[tuple(slice(None) if i in axes else k for i, k in enumerate(at))] for at in np.ndindex(*kept)]
        y = np.array([f(group.ravel().tolist(), **constants) for group in groups]).reshape(kept)
        return y if keepdims else np.squeeze(y, axes)

    return reference


leaky_relu = each(lambda v, negative_slope=0.01: v if v > 0 else negative_slope * v)
elu = each(lambda v, alpha=1.0: v if v > 0 else alpha * (math.exp(v) - 1))


def einsum(subscripts: str) -> Callable[..., Any]:
    """The einsum of those subscripts, by NumPy's own loop."""
    return lambda *xs, **constants: np.einsum(subscripts, *xs, optimize=False)


def picked(x: Array, index: Any) -> Array:
    """Indexing, by position in memory order."""
    positions = np.arange(x.size).reshape(x.shape)[index]
    return np.array([x.flat[p] for p in np.ravel(positions)]).reshape(np.shape(positions))


def scattered(x: Array, index: Any, shape: Shape) -> Array:
    """The counts of a histogram over positions in memory order, weighted by x."""
    positions = np.arange(math.prod(shape)).reshape(shape)[index]
    return np.bincount(np.ravel(positions), np.ravel(x), math.prod(shape)).reshape(shape)


def taken_along(x: Array, indices: Array, axis: int = -1) -> Array:
    """For every place, the element with that place's index instead of its coordinate on the axis."""
    extents = list(x.shape)
    extents[axis] = indices.shape[axis]
    indices, y = np.broadcast_to(indices, extents), np.empty(extents)
    for at in np.ndindex(*extents):
        source = list(at)
        source[axis] = indices[at]
        y[at] = x[tuple(source)]
    return y


def padded(x: Array, pad_width: Any, constant_values: float = 0) -> Array:
    """A whole array of the constant, x written into its middle."""
    pairs = [(pad_width, pad_width)] * x.ndim if isinstance(pad_width, int) else pad_width
    y = np.full([n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)], constant_values, float)
    y[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pairs, strict=True))] = x
    return y


def softmax(x: Array, axis: int = -1) -> Array:
    """The definition, without the shift by the maximum."""
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def cross_entropy(x: Array, targets: Array) -> Array:
    """Row by row."""
    return np.array([-math.log(softmax(row)[t]) for row, t in zip(x, targets, strict=True)])


def batch_norm(x: Array, w: Array, b: Array, eps: float = 1e-5) -> tuple[Array, ...]:
    """Channel by channel."""
    channels = [x[:, c] for c in range(x.shape[1])]
    y = [(xc - xc.mean()) / math.sqrt(xc.var() + eps) * w[c] + b[c] for c, xc in enumerate(channels)]
    return np.stack(y, axis=1), np.array([xc.mean() for xc in channels]), np.array([xc.var() for xc in channels])


def layer_norm(x: Array, w: Array, b: Array, eps: float = 1e-5) -> Array:
    """Instance by instance."""
    rows = x.reshape(-1, w.size)
    y = [(row - row.mean()) / math.sqrt(row.var() + eps) * w.ravel() + b.ravel() for row in rows]
    return np.reshape(y, x.shape)


def dropout(x: Array, key: Array, p: float) -> Array:
    """Position by position, the hash in Python's whole numbers."""

    def mix(v: int) -> int:
        v = (v ^ v >> 16) * 0x7FEB352D % 2**32
        v = (v ^ v >> 15) * 0x846CA68B % 2**32
        return v ^ v >> 16

    first, second = (mix(int(word)) for word in key)
    bits = [mix((mix(i ^ first) + second) % 2**32) for i in range(x.size)]
    return np.reshape([v / (1 - p) if b >= int(p * 2**32) else 0 for v, b in zip(x.flat, bits, strict=True)], x.shape)


def places(size: Shape, kernel: Shape, stride: Shape) -> Iterator[tuple[int, ...]]:
    """All (h, w, i, j, row, column): place (i, j) of window (h, w) is that pixel of the image."""
    down, across = ((n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True))
    for h, w, i, j in np.ndindex(down, across, *kernel):
        yield h, w, i, j, h * stride[0] + i, w * stride[1] + j


def unfolded(x: Array, kernel: Shape, stride: Shape = (1, 1)) -> Array:
    """Each pixel, copied into each window that has it."""
    *_, (h, w, _, _, _, _) = places(x.shape[-2:], kernel, stride)
    y = np.empty((*x.shape[:-2], h + 1, w + 1, *kernel))
    for h, w, i, j, row, column in places(x.shape[-2:], kernel, stride):
        y[..., h, w, i, j] = x[..., row, column]
    return y


def folded(x: Array, size: Shape, stride: Shape = (1, 1)) -> Array:
    """Each place of each window, added to its pixel."""
    y = np.zeros((*x.shape[:-4], *size))
    for h, w, i, j, row, column in places(size, x.shape[-2:], stride):
        y[..., row, column] += x[..., h, w, i, j]
    return y


def framed(x: Array, padding: Shape, value: float = 0) -> Array:
    """Images in a frame of the value."""
    return padded(x, [(0, 0), (0, 0), *((p, p) for p in padding)], value)


def conv2d(x: Array, k: Array, stride: Shape = (1, 1), padding: Shape = (0, 0), groups: int = 1) -> Array:
    """One output channel after the other, each from the input channels of its group."""
    windows = np.split(unfolded(framed(x, padding), k.shape[2:], stride), groups, axis=1)
    return np.stack([np.einsum("nchwij,cij->nhw", windows[o * groups // len(k)], k[o]) for o in range(len(k))], axis=1)


def max_pool(x: Array, kernel: Shape, stride: Shape, padding: Shape = (0, 0)) -> Array:
    """Over each window."""
    return unfolded(framed(x, padding, -np.inf), kernel, stride).max(axis=(-2, -1))


def avg_pool(x: Array, kernel: Shape, stride: Shape, padding: Shape = (0, 0)) -> Array:
    """Over each window, padding included as zeros."""
    return unfolded(framed(x, padding), kernel, stride).mean(axis=(-2, -1))


# --- the table

ONE = ["2x3", "()", "2x1x3", "0x3"]
TWO = ["2x3,2x3", "2x3,3", "2x1,1x3", "(),2x3", "3x1,2x1x4", "0x3,3"]
MATRIX = ["3x4", "1x4", "4x1", "0x4"]
IMAGES = ["2x2x4x5", "1x1x3x2"]
AXES: list[Case] = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}, {"axis": (2, -2)}]
POOLS: list[Case] = [{"kernel": (2, 2), "stride": (2, 2)}, {"kernel": (3, 2), "stride": (1, 3), "padding": (1, 1)}]
PICKS = [
    *[1, (-1, 2), slice(None, None, -2), (slice(1, None), None, 2), (..., slice(3, 0, -1)), np.array([[1, 0], [1, 1]])],
    *[(np.array([0, 1, 0]), np.array([2, -1, 2])), (slice(None), np.array([0, 0, 2]), slice(0, 2)), [1, 1]],
    *[(np.array([0, 1]), slice(None), np.array([3, 3])), np.arange(24).reshape(2, 3, 4) % 5 == 0],
]
EINSUMS = {
    "ij,jk->ki": "2x3,3x4",
    "ij,jk": "1x3,3x2",
    "ii->i": "3x3",
    "ii": "3x3",
    "iij,j->i": "2x2x3,3",
    "...ij,j...->...i": "2x2x3,3x2",
    "b...,c": "2x1x3,2",
    "ij,k->i": "2x3,2",
    "i,i,i->": "3,3,3",
    "ij,jk,kl->il": "2x3,3x2,2x1",
}

ROWS: tuple[Row, ...] = (
    # element by element
    *rows(ops.Id, each(lambda v: v), *ONE),
    *rows(ops.Negative, each(lambda v: 0 - v), *ONE),
    *rows(ops.Exp, each(math.exp), *ONE),
    *rows(ops.Expm1, each(math.expm1), *ONE),
    *rows(ops.Log, each(math.log), *ONE, domains=(POSITIVE,)),
    *rows(ops.Log1p, each(math.log1p), *ONE, domains=(UNIT,)),
    *rows(ops.Log2, each(math.log2), *ONE, domains=(POSITIVE,)),
    *rows(ops.Log10, each(math.log10), *ONE, domains=(POSITIVE,)),
    *rows(ops.Sqrt, each(math.sqrt), *ONE, domains=(POSITIVE,)),
    *rows(ops.Square, each(lambda v: v * v), *ONE),
    *rows(ops.Reciprocal, each(lambda v: 1 / v), *ONE, domains=(NONZERO,)),
    *rows(ops.Sin, each(math.sin), *ONE),
    *rows(ops.Cos, each(math.cos), *ONE),
    *rows(ops.Tan, each(math.tan), *ONE, domains=(UNIT,)),
    *rows(ops.Arcsin, each(math.asin), *ONE, domains=(UNIT,)),
    *rows(ops.Arccos, each(math.acos), *ONE, domains=(UNIT,)),
    *rows(ops.Arctan, each(math.atan), *ONE),
    *rows(ops.Sinh, each(math.sinh), *ONE),
    *rows(ops.Cosh, each(math.cosh), *ONE),
    *rows(ops.Tanh, each(math.tanh), *ONE),
    *rows(ops.Erf, each(math.erf), *ONE),
    *rows(ops.Sigmoid, each(lambda v: 1 / (1 + math.exp(-v))), *ONE),
    *rows(ops.SiLU, each(lambda v: v / (1 + math.exp(-v))), *ONE),
    *rows(ops.Softplus, each(lambda v: math.log(1 + math.exp(v))), *ONE),
    *rows(ops.GELU, each(lambda v: v * math.erfc(-v / math.sqrt(2)) / 2), *ONE),
    *rows(ops.Abs, each(lambda v: v if v > 0 else -v), *ONE, domains=(NONZERO,), smooth=False),
    *rows(ops.ReLU, each(lambda v: v if v > 0 else 0), *ONE, domains=(NONZERO,), smooth=False),
    *rows(ops.LeakyReLU, leaky_relu, *ONE, cases=[{}, {"negative_slope": 0.2}], domains=(NONZERO,), smooth=False),
    *rows(ops.ELU, elu, *ONE, cases=[{}, {"alpha": 0.7}], domains=(NONZERO,), smooth=False),
    *rows(ops.Cast, lambda x, dtype: x, *ONE, cases=[{"dtype": "float64"}]),
    *rows(ops.Add, each(lambda v, w: v + w), *TWO),
    *rows(ops.Sub, each(lambda v, w: v - w), *TWO),
    *rows(ops.Multiply, each(lambda v, w: v * w), *TWO),
    *rows(ops.Divide, each(lambda v, w: v / w), *TWO, domains=(ANY, NONZERO)),
    *rows(ops.Power, each(lambda v, w: math.exp(w * math.log(v))), *TWO, domains=(POSITIVE, ANY)),
    *rows(ops.Power, each(lambda v, w: math.prod([v] * w)), "2x3,3", domains=(NONZERO,), whole={1: ("int8", 4)}),
    *rows(ops.Sub, each(lambda v, w: v - w), "2x3,3", whole={0: ("uint8", 256)}),
    *rows(ops.Divide, each(lambda v, w: v / w), "2x3,3", domains=(NONZERO,), whole={0: ("uint8", 256)}),
    *rows(ops.Power, each(lambda v, w: v**w), "2x3,3", domains=(POSITIVE,), whole={0: ("uint8", 4)}),
    *rows(ops.Maximum, each(max), *TWO, smooth=False),
    *rows(ops.Minimum, each(min), *TWO, smooth=False),
    *rows(ops.Where, each(lambda c, v, w: v if c else w), "2x3,2x3,3", "3,2x1,()", whole={0: ("bool", 2)}),
    # reductions
    *rows(ops.Sum, over(math.fsum), "2x3x4", "2x0x4", cases=AXES),
    *rows(ops.Mean, over(lambda g: math.fsum(g) / len(g)), "2x3x4", cases=AXES),
    *rows(ops.Var, over(np.var), "2x3x4", cases=[*AXES, {"axis": 1, "ddof": 1}]),
    *rows(ops.Max, over(max), "2x3x4", cases=AXES, smooth=False),
    *rows(ops.Min, over(min), "2x3x4", cases=AXES, smooth=False),
    *rows(ops.LogSumExp, over(lambda g: math.log(sum(map(math.exp, g)))), "2x3x4", cases=AXES),
    *rows(ops.RowSum, lambda x: over(math.fsum)(x, axis=1), *MATRIX),
    *rows(ops.RowMax, lambda x: over(max)(x, axis=1), *MATRIX, smooth=False),
    # movement
    *rows(ops.Reshape, lambda x, shape: np.array(list(x.flat)).reshape(shape), "2x3x4", cases=[{"shape": (4, -1)}]),
    *rows(ops.Transpose, lambda x: np.einsum("ijk->kji", x), "2x3x4"),
    *rows(ops.Transpose, lambda x, axes: np.einsum("ijk->jki", x), "2x3x4", cases=[{"axes": (1, -1, 0)}]),
    *rows(ops.BroadcastTo, lambda x, shape: x + np.zeros(shape), "3x1", "()", cases=[{"shape": (2, 3, 4)}]),
    *rows(ops.Expand, lambda x, dim, repeats: x + np.zeros((3, 16)), "3x1", cases=[{"dim": 1, "repeats": 16}]),
    *rows(ops.Expand, lambda x, dim, repeats: x[:, [0, 0]], "2x1x3", cases=[{"dim": -2, "repeats": 2}]),
    *rows(ops.Squeeze, lambda x: x[0], "1x3", "1x1"),
    *rows(ops.Squeeze, lambda x, dim: x[:, 0], "3x1", "1x1", cases=[{"dim": 1}, {"dim": -1}]),
    *rows(ops.Unsqueeze, lambda x: x[None], "2x3", "()"),
    *rows(ops.Unsqueeze, lambda x, dim: x[:, None], "2", "1", cases=[{"dim": 1}, {"dim": -1}]),
    *rows(ops.Concatenate, lambda *xs: np.array([part for x in xs for part in x]), "2x3,1x3,0x3,2x3", "2"),
    *rows(ops.Concatenate, lambda x, y, axis: np.c_[x, y], "2x3,2x1", cases=[{"axis": 1}, {"axis": -1}]),
    *rows(ops.Stack, lambda *xs: np.array(xs), "2x3,2x3", "(),(),()"),
    *rows(ops.Stack, lambda x, y, axis: np.dstack([x, y]), "2x3,2x3", cases=[{"axis": 2}, {"axis": -1}]),
    *rows(ops.Pad, padded, "2x3", cases=[{"pad_width": ((0, 1), (2, 0))}, {"pad_width": 2, "constant_values": 1.5}]),
    *rows(ops.Flip, lambda x: x[::-1, ::-1, ::-1], "2x3x4"),
    *rows(ops.Flip, lambda x, axis: x[::-1, :, ::-1], "2x3x4", cases=[{"axis": (0, -1)}]),
    # indexing
    *rows(ops.Slice, picked, "2x3x4", cases=[{"index": index} for index in PICKS]),
    *rows(ops.Scatter, scattered, "2x2", cases=[{"index": np.array([[1, 0], [1, 4]]), "shape": (5,)}]),
    *rows(ops.Scatter, scattered, "3x2", cases=[{"index": (slice(None), slice(3, 1, -1)), "shape": (3, 4)}]),
    *rows(ops.Select, lambda x, indices: np.array([x[0, 2], x[1, 0]]), "2x4", cases=[{"indices": [2, 0]}]),
    *rows(ops.Select, lambda x, indices: x[:, 3], "1x4", cases=[{"indices": np.array([[3]])}]),
    *rows(ops.Take, lambda x, i: picked(x, i), "3x2,5", "3,2x2", "3x2x2,()", whole={1: ("int64", 3)}),
    *rows(ops.Take, lambda x, i, axis: picked(x, (..., i)), "2x3,4", cases=[{"axis": -1}], whole={1: ("int64", 3)}),
    *rows(ops.TakeAlongAxis, taken_along, "3x4,3x6", "3x4,1x2", whole={1: ("int64", 4)}),
    *rows(ops.TakeAlongAxis, taken_along, "3x2x1,5x2x1", cases=[{"axis": 0}], whole={1: ("int64", 3)}),
    # contractions
    *rows(ops.MatrixMultiply, einsum("...ij,...jk->...ik"), "2x3,3x4", "1x3,3x1", "2x2x3,3x4", "2x1x2x3,3x3x1"),
    *rows(ops.MatrixMultiply, einsum("...ij,...jk->...ik"), "2x0,0x3", "0x3,3x2"),
    *rows(ops.MatrixMultiply, einsum("...ij,j->...i"), "2x3,3", "2x2x3,3"),
    *rows(ops.MatrixMultiply, einsum("i,...ij->...j"), "2,2x3", "2,3x2x1"),
    *rows(ops.MatrixMultiply, einsum("i,i->"), "3,3"),
    *rows(ops.BatchMM, einsum("mf,...f->...m"), "4x3,2x3", "4x3,1x3", "4x3,0x3", "2x3,2x2x3", "2x3,3"),
    *(row for s, text in EINSUMS.items() for row in rows(ops.Einsum, einsum(s), text, cases=[{"subscripts": s}])),
    # windows
    *rows(ops.Unfold, unfolded, "3x4", "2x5x4", cases=[{"kernel": (2, 3)}, {"kernel": (2, 1), "stride": (1, 2)}]),
    *rows(ops.Fold, folded, "2x2x2x2x3", cases=[{"size": (3, 4)}, {"size": (5, 6), "stride": (2, 3)}]),
    *rows(ops.Conv2d, conv2d, "2x3x4x5,4x3x2x3", "1x3x4x3,2x3x2x1", "0x1x2x2,2x1x2x2"),
    *rows(ops.Conv2d, conv2d, "2x2x5x4,2x2x3x2", cases=[{"stride": (2, 1), "padding": (1, 2)}]),
    *rows(ops.Conv2d, conv2d, "2x4x3x3,6x2x2x2", "1x2x2x3,2x1x1x2", cases=[{"groups": 2}]),
    *rows(ops.MaxPool2d, max_pool, *IMAGES, cases=POOLS, smooth=False),
    *rows(ops.AvgPool2d, avg_pool, *IMAGES, cases=POOLS),
    # what makes numbers comparable
    *rows(ops.Normalize, lambda x: x / over(math.fsum)(x, axis=1, keepdims=True), *MATRIX, domains=(POSITIVE,)),
    *rows(ops.Softmax, softmax, *MATRIX, "2x2x3"),
    *rows(ops.Softmax, softmax, "3x4", "2x2x3", cases=[{"axis": 0}]),
    *rows(ops.LogSoftmax, lambda x: np.log(softmax(x)), *MATRIX, "2x2x3"),
    *rows(ops.LogSoftmax, lambda x, axis: np.log(softmax(x, axis)), "3x4", "2x2x3", cases=[{"axis": 0}]),
    *rows(ops.CrossEntropy, cross_entropy, "3x4,3", "1x4,1", "0x4,0", whole={1: ("int64", 4)}),
    *rows(ops.BatchNorm, batch_norm, "4x3,3,3", "2x3x2,3,3", "1x2x2x3,2,2"),
    *rows(ops.LayerNorm, layer_norm, "2x4,4,4", "1x4,4,4", "2x2x3,2x3,2x3", cases=[{}, {"eps": 0.1}]),
    *rows(ops.Dropout, dropout, "3x4,2", "(),2", cases=[{"p": 0.25}, {"p": 0.0}], whole={1: ("uint32", 2**32)}),
)
