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
        smooth: whether the second derivative exists all over the domain, kinks included.

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
        shapes = ",".join("x".join(map(str, shape)) or "()" for shape in self.shapes)
        constants = [f"{key}={value!r}".replace(" ", "") for key, value in self.constants.items()]
        return " ".join([self.op.__name__, shapes, *constants])

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


def rows(
    op: type[Op],
    reference: Callable[..., Any],
    *shapes: tuple[Shape, ...],
    cases: Sequence[Mapping[str, Any]] = ({},),
    **fields: Any,
) -> list[Row]:
    """A row for each tuple of shapes with each of the constants in ``cases``."""
    return [Row(op, reference, each, constants, **fields) for constants in cases for each in shapes]


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


def variance(g: list[float], ddof: int = 0) -> float:
    """The textbook's formula."""
    mean = sum(g) / len(g)
    return sum((v - mean) ** 2 for v in g) / (len(g) - ddof)


def einsum(subscripts: str) -> Callable[..., Any]:
    """The einsum of those subscripts, by NumPy's own loop."""
    return lambda *xs: np.einsum(subscripts, *xs, optimize=False)


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


def counts(size: Shape, kernel: Shape, stride: Shape, padding: Shape) -> list[int]:
    """How many windows fit, down and across."""
    return [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True)]


def windows(size: Shape, kernel: Shape, stride: Shape, padding: Shape) -> Iterator[tuple[int, ...]]:
    """All (h, w, i, j, row, column): place (i, j) of window (h, w) is that pixel, inside the image."""
    for h, w, i, j in np.ndindex(*counts(size, kernel, stride, padding), *kernel):
        row, column = h * stride[0] + i - padding[0], w * stride[1] + j - padding[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            yield h, w, i, j, row, column


def unfolded(x: Array, kernel: Shape, stride: Shape = (1, 1)) -> Array:
    """Each pixel, copied into each window that has it."""
    y = np.empty((*x.shape[:-2], *counts(x.shape[-2:], kernel, stride, (0, 0)), *kernel))
    for h, w, i, j, row, column in windows(x.shape[-2:], kernel, stride, (0, 0)):
        y[..., h, w, i, j] = x[..., row, column]
    return y


def folded(x: Array, size: Shape, stride: Shape = (1, 1)) -> Array:
    """Each place of each window, added to its pixel."""
    y = np.zeros((*x.shape[:-4], *size))
    for h, w, i, j, row, column in windows(size, x.shape[-2:], stride, (0, 0)):
        y[..., row, column] += x[..., h, w, i, j]
    return y


def conv2d(x: Array, k: Array, stride: Shape = (1, 1), padding: Shape = (0, 0), groups: int = 1) -> Array:
    """One output channel, window and place in it after the other."""
    (_, _, *size), (out, channels, *kernel) = x.shape, k.shape
    y = np.zeros((len(x), out, *counts(size, kernel, stride, padding)))
    for o in range(out):
        first = o // (out // groups) * channels
        for h, w, i, j, row, column in windows(size, kernel, stride, padding):
            y[:, o, h, w] += x[:, first : first + channels, row, column] @ k[o, :, i, j]
    return y


def max_pool(x: Array, kernel: Shape, stride: Shape, padding: Shape = (0, 0)) -> Array:
    """One place in one window after the other."""
    y = np.full((*x.shape[:2], *counts(x.shape[2:], kernel, stride, padding)), -np.inf)
    for h, w, _, _, row, column in windows(x.shape[2:], kernel, stride, padding):
        y[..., h, w] = np.maximum(y[..., h, w], x[..., row, column])
    return y


def avg_pool(x: Array, kernel: Shape, stride: Shape, padding: Shape = (0, 0)) -> Array:
    """One place in one window after the other; padding counts as zeros."""
    y = np.zeros((*x.shape[:2], *counts(x.shape[2:], kernel, stride, padding)))
    for h, w, _, _, row, column in windows(x.shape[2:], kernel, stride, padding):
        y[..., h, w] += x[..., row, column] / math.prod(kernel)
    return y


# --- the table

ONE = [((2, 3),), ((),), ((2, 1, 3),)]
TWO = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((3, 1), (2, 1, 4))]
MATRIX = [((3, 4),), ((1, 4),), ((4, 1),)]
CUBE = [((2, 3, 4),)]
AXES: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}, {"axis": (2, -2)}]
ALONG: list[dict[str, Any]] = [{}, {"axis": 0}]

UNARY: dict[type[Op], tuple[Callable[[float], float], Domain]] = {
    ops.Id: (lambda v: v, ANY),
    ops.Negative: (lambda v: 0 - v, ANY),
    ops.Exp: (math.exp, ANY),
    ops.Expm1: (math.expm1, ANY),
    ops.Log: (math.log, POSITIVE),
    ops.Log1p: (math.log1p, UNIT),
    ops.Log2: (math.log2, POSITIVE),
    ops.Log10: (math.log10, POSITIVE),
    ops.Sqrt: (math.sqrt, POSITIVE),
    ops.Square: (lambda v: v * v, ANY),
    ops.Reciprocal: (lambda v: 1 / v, NONZERO),
    ops.Sin: (math.sin, ANY),
    ops.Cos: (math.cos, ANY),
    ops.Tan: (math.tan, UNIT),
    ops.Arcsin: (math.asin, UNIT),
    ops.Arccos: (math.acos, UNIT),
    ops.Arctan: (math.atan, ANY),
    ops.Sinh: (math.sinh, ANY),
    ops.Cosh: (math.cosh, ANY),
    ops.Tanh: (math.tanh, ANY),
    ops.Erf: (math.erf, ANY),
    ops.Sigmoid: (lambda v: 1 / (1 + math.exp(-v)), ANY),
    ops.SiLU: (lambda v: v / (1 + math.exp(-v)), ANY),
    ops.Softplus: (lambda v: math.log(1 + math.exp(v)), ANY),
    ops.GELU: (lambda v: v * math.erfc(-v / math.sqrt(2)) / 2, ANY),
}
KINKED: dict[type[Op], tuple[Callable[..., float], list[dict[str, Any]]]] = {
    ops.Abs: (lambda v: v if v > 0 else -v, [{}]),
    ops.ReLU: (lambda v: v if v > 0 else 0, [{}]),
    ops.LeakyReLU: (lambda v, negative_slope=0.01: v if v > 0 else negative_slope * v, [{}, {"negative_slope": 0.2}]),
    ops.ELU: (lambda v, alpha=1.0: v if v > 0 else alpha * (math.exp(v) - 1), [{}, {"alpha": 0.7}]),
}
BINARY: dict[type[Op], tuple[Callable[[float, float], float], tuple[Domain, ...], bool]] = {
    ops.Add: (lambda v, w: v + w, (ANY,), True),
    ops.Sub: (lambda v, w: v - w, (ANY,), True),
    ops.Multiply: (lambda v, w: v * w, (ANY,), True),
    ops.Divide: (lambda v, w: v / w, (ANY, NONZERO), True),
    ops.Power: (lambda v, w: math.exp(w * math.log(v)), (POSITIVE, ANY), True),
    ops.Maximum: (max, (ANY,), False),
    ops.Minimum: (min, (ANY,), False),
}
EINSUMS: dict[str, tuple[Shape, ...]] = {
    "ij,jk->ki": ((2, 3), (3, 4)),
    "ij,jk": ((1, 3), (3, 2)),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "iij,j->i": ((2, 2, 3), (3,)),
    "...ij,j...->...i": ((2, 2, 3), (3, 2)),
    "b...,c": ((2, 1, 3), (2,)),
    "ij,k->i": ((2, 3), (2,)),
    "i,i,i->": ((3,), (3,), (3,)),
    "ij,jk,kl->il": ((2, 3), (3, 2), (2, 1)),
}
POOLS: list[dict[str, Any]] = [
    {"kernel": (2, 2), "stride": (2, 2)},
    {"kernel": (3, 2), "stride": (1, 3), "padding": (1, 1)},
]
IMAGES = [((2, 2, 4, 5),), ((1, 1, 3, 2),)]
PICKS = [
    *[1, (-1, 2), slice(None, None, -2), (slice(1, None), None, 2), (..., slice(3, 0, -1)), np.array([[1, 0], [1, 1]])],
    *[(np.array([0, 1, 0]), np.array([2, -1, 2])), (slice(None), np.array([0, 0, 2]), slice(0, 2)), [1, 1]],
    *[(np.array([0, 1]), slice(None), np.array([3, 3])), np.arange(24).reshape(2, 3, 4) % 5 == 0],
]

ROWS: tuple[Row, ...] = (
    # element by element
    *(row for op, (f, domain) in UNARY.items() for row in rows(op, each(f), *ONE, domains=(domain,))),
    *(
        row
        for op, (f, cases) in KINKED.items()
        for row in rows(op, each(f), *ONE, cases=cases, domains=(NONZERO,), smooth=False)
    ),
    *(
        row
        for op, (f, domains, smooth) in BINARY.items()
        for row in rows(op, each(f), *TWO, domains=domains, smooth=smooth)
    ),
    *rows(
        ops.Where,
        each(lambda c, v, w: v if c else w),
        ((2, 3), (2, 3), (3,)),
        ((3,), (2, 1), ()),
        whole={0: ("bool", 2)},
    ),
    *rows(ops.Cast, lambda x, dtype: x, *ONE, cases=[{"dtype": "float64"}]),
    # reductions
    *rows(ops.Sum, over(math.fsum), *CUBE, cases=AXES),
    *rows(ops.Mean, over(lambda g: math.fsum(g) / len(g)), *CUBE, cases=AXES),
    *rows(ops.Var, over(variance), *CUBE, cases=[*AXES, {"axis": 1, "ddof": 1}]),
    *rows(ops.Max, over(max), *CUBE, cases=AXES, smooth=False),
    *rows(ops.Min, over(min), *CUBE, cases=AXES, smooth=False),
    *rows(ops.LogSumExp, over(lambda g: math.log(sum(map(math.exp, g)))), *CUBE, cases=AXES),
    *rows(ops.RowSum, lambda x: over(math.fsum)(x, axis=1), *MATRIX),
    *rows(ops.RowMax, lambda x: over(max)(x, axis=1), *MATRIX, smooth=False),
    # movement
    *rows(ops.Reshape, lambda x, shape: np.array(list(x.flat)).reshape(shape), *CUBE, cases=[{"shape": (4, -1)}]),
    *rows(ops.Transpose, lambda x: np.einsum("ijk->kji", x), *CUBE),
    *rows(ops.Transpose, lambda x, axes: np.einsum("ijk->jki", x), *CUBE, cases=[{"axes": (1, -1, 0)}]),
    *rows(ops.BroadcastTo, lambda x, shape: x + np.zeros(shape), ((3, 1),), ((),), cases=[{"shape": (2, 3, 4)}]),
    *rows(ops.Expand, lambda x, dim, repeats: x + np.zeros((3, 16)), ((3, 1),), cases=[{"dim": 1, "repeats": 16}]),
    *rows(ops.Expand, lambda x, dim, repeats: x[:, [0, 0, 1, 1, 2, 2]], *CUBE, cases=[{"dim": -2, "repeats": 2}]),
    *rows(ops.Squeeze, lambda x: x[0], ((1, 3),), ((1, 1),)),
    *rows(ops.Squeeze, lambda x, dim: x[:, 0], ((3, 1),), ((1, 1),), cases=[{"dim": 1}, {"dim": -1}]),
    *rows(ops.Unsqueeze, lambda x: x[None], ((2, 3),), ((),)),
    *rows(ops.Unsqueeze, lambda x, dim: x[:, None], ((2,), (1,)), cases=[{"dim": 1}, {"dim": -1}]),
    *rows(ops.Concatenate, lambda *xs: np.array([part for x in xs for part in x]), ((2, 3), (1, 3), (2, 3)), ((2,),)),
    *rows(ops.Concatenate, lambda x, y, axis: np.c_[x, y], ((2, 3), (2, 1)), cases=[{"axis": 1}, {"axis": -1}]),
    *rows(ops.Stack, lambda *xs: np.array(xs), ((2, 3), (2, 3)), ((), (), ())),
    *rows(ops.Stack, lambda x, y, axis: np.dstack([x, y]), ((2, 3), (2, 3)), cases=[{"axis": 2}, {"axis": -1}]),
    *rows(ops.Pad, padded, *CUBE, cases=[{"pad_width": 1}, {"pad_width": ((0, 1), (2, 0), (0, 0))}]),
    *rows(ops.Pad, padded, ((2, 3),), cases=[{"pad_width": 2, "constant_values": 1.5}]),
    *rows(ops.Flip, lambda x: x[::-1, ::-1, ::-1], *CUBE),
    *rows(ops.Flip, lambda x, axis: x[::-1, :, ::-1], *CUBE, cases=[{"axis": (0, -1)}]),
    # indexing
    *rows(ops.Slice, picked, *CUBE, cases=[{"index": index} for index in PICKS]),
    *rows(ops.Scatter, scattered, ((2, 2),), cases=[{"index": np.array([[1, 0], [1, 4]]), "shape": (5,)}]),
    *rows(ops.Scatter, scattered, ((3, 2),), cases=[{"index": (slice(None), slice(3, 1, -1)), "shape": (3, 4)}]),
    *rows(
        ops.Select, lambda x, indices: np.array([x[0, 2], x[1, 0], x[2, 2]]), ((3, 4),), cases=[{"indices": [2, 0, 2]}]
    ),
    *rows(ops.Select, lambda x, indices: x[:, 3], ((1, 4),), cases=[{"indices": np.array([[3]])}]),
    *rows(
        ops.Take, lambda x, i: picked(x, i), ((3, 2), (5,)), ((3,), (2, 2)), ((3, 2, 2), ()), whole={1: ("int64", 3)}
    ),
    *rows(
        ops.Take, lambda x, i, axis: picked(x, (..., i)), ((2, 3), (4,)), cases=[{"axis": -1}], whole={1: ("int64", 3)}
    ),
    *rows(ops.TakeAlongAxis, taken_along, ((3, 4), (3, 6)), ((3, 4), (1, 2)), whole={1: ("int64", 4)}),
    *rows(ops.TakeAlongAxis, taken_along, ((3, 2, 1), (5, 2, 1)), cases=[{"axis": 0}], whole={1: ("int64", 3)}),
    # contractions
    *rows(ops.MatrixMultiply, einsum("...ij,...jk->...ik"), ((2, 3), (3, 4)), ((1, 3), (3, 1))),
    *rows(ops.MatrixMultiply, einsum("...ij,...jk->...ik"), ((2, 2, 3), (3, 4)), ((2, 1, 2, 3), (3, 3, 1))),
    *rows(ops.MatrixMultiply, einsum("...ij,j->...i"), ((2, 3), (3,)), ((2, 2, 3), (3,))),
    *rows(ops.MatrixMultiply, einsum("i,...ij->...j"), ((2,), (2, 3)), ((2,), (3, 2, 1))),
    *rows(ops.MatrixMultiply, einsum("i,i->"), ((3,), (3,))),
    *rows(
        ops.BatchMM, einsum("mf,...f->...m"), ((4, 3), (2, 3)), ((4, 3), (1, 3)), ((2, 3), (2, 2, 3)), ((2, 3), (3,))
    ),
    *(
        Row(ops.Einsum, lambda *xs, subscripts: einsum(subscripts)(*xs), shapes, {"subscripts": subscripts})
        for subscripts, shapes in EINSUMS.items()
    ),
    # windows
    *rows(
        ops.Unfold, unfolded, ((3, 4),), ((2, 5, 4),), cases=[{"kernel": (2, 3)}, {"kernel": (2, 1), "stride": (1, 2)}]
    ),
    *rows(ops.Fold, folded, ((2, 2, 2, 2, 3),), cases=[{"size": (3, 4)}, {"size": (5, 6), "stride": (2, 3)}]),
    *rows(ops.Conv2d, conv2d, ((2, 3, 4, 5), (4, 3, 2, 3)), ((1, 3, 4, 3), (2, 3, 2, 1))),
    *rows(ops.Conv2d, conv2d, ((2, 2, 5, 4), (2, 2, 3, 2)), cases=[{"stride": (2, 1), "padding": (1, 2)}]),
    *rows(ops.Conv2d, conv2d, ((2, 4, 3, 3), (6, 2, 2, 2)), ((1, 2, 2, 3), (2, 1, 1, 2)), cases=[{"groups": 2}]),
    *rows(ops.MaxPool2d, max_pool, *IMAGES, cases=POOLS, smooth=False),
    *rows(ops.AvgPool2d, avg_pool, *IMAGES, cases=POOLS),
    # what makes numbers comparable
    *rows(ops.Normalize, lambda x: np.array([v / sum(v) for v in x]), *MATRIX, domains=(POSITIVE,)),
    *rows(ops.Softmax, softmax, *MATRIX, ((2, 2, 3),), cases=ALONG),
    *rows(ops.LogSoftmax, lambda x, axis=-1: np.log(softmax(x, axis)), *MATRIX, ((2, 2, 3),), cases=ALONG),
    *rows(
        *(
            ops.CrossEntropy,
            lambda x, targets: np.array([-np.log(softmax(v)[t]) for v, t in zip(x, targets, strict=True)]),
        ),
        *(((3, 4), (3,)), ((1, 4), (1,))),
        whole={1: ("int64", 4)},
    ),
    *rows(ops.BatchNorm, batch_norm, ((4, 3), (3,), (3,)), ((2, 3, 2), (3,), (3,)), ((1, 2, 2, 3), (2,), (2,))),
    *rows(ops.LayerNorm, layer_norm, ((2, 4), (4,), (4,)), ((1, 4), (4,), (4,)), ((2, 2, 3), (2, 3), (2, 3))),
    *rows(ops.LayerNorm, layer_norm, ((2, 4), (4,), (4,)), cases=[{"eps": 0.1}]),
    *rows(
        ops.Dropout, dropout, ((3, 4), (2,)), ((), (2,)), cases=[{"p": 0.25}, {"p": 0.0}], whole={1: ("uint32", 2**32)}
    ),
)
