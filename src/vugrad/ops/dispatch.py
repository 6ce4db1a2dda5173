"""NumPy on nodes: which op, or which few lines of other NumPy functions, answers for each NumPy function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from vugrad.graph import Op, TensorNode
from vugrad.graph.advice import is_numpy, numpy_name
from vugrad.graph.nodes import NUMPY
from vugrad.ops import activations, convolve, elementwise, index, linear, primitives, reduce, shape

Node = Any


def supported() -> list[str]:
    """The NumPy functions that work on nodes, by name.

    >>> {"exp", "where", "einsum"} <= set(supported())
    True
    """
    return sorted(numpy_name(function) for function in NUMPY if is_numpy(function))


def value(x: Any) -> Any:
    """The plain array of a node; anything else as it is."""
    return x.value if isinstance(x, TensorNode) else x


def answers(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what follows as the answer for some NumPy functions."""

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            NUMPY[function] = ours
        return ours

    return register


# --- one op for one function

ELEMENTWISE: dict[Callable[..., Any], type[Op]] = {
    np.add: elementwise.Add,
    np.subtract: elementwise.Sub,
    np.multiply: elementwise.Multiply,
    np.divide: elementwise.Divide,
    np.negative: elementwise.Negative,
    np.positive: elementwise.Id,
    np.maximum: elementwise.Maximum,
    np.minimum: elementwise.Minimum,
    np.abs: elementwise.Abs,
    np.fabs: elementwise.Abs,
    np.exp: elementwise.Exp,
    np.log: elementwise.Log,
    np.sqrt: elementwise.Sqrt,
    np.tanh: elementwise.Tanh,
    np.sin: elementwise.Sin,
    np.cos: elementwise.Cos,
    np.tan: elementwise.Tan,
    np.arcsin: elementwise.Arcsin,
    np.arccos: elementwise.Arccos,
    np.arctan: elementwise.Arctan,
    np.sinh: elementwise.Sinh,
    np.cosh: elementwise.Cosh,
    np.square: elementwise.Square,
    np.reciprocal: elementwise.Reciprocal,
    np.expm1: elementwise.Expm1,
    np.log1p: elementwise.Log1p,
    np.log2: elementwise.Log2,
    np.log10: elementwise.Log10,
    np.matmul: linear.MatrixMultiply,
    primitives.erf: elementwise.Erf,
    primitives.sigmoid: activations.Sigmoid,
}
NUMPY.update({function: op.do_forward for function, op in ELEMENTWISE.items()})

#: Functions of one array whose op takes NumPy's other arguments by the same names, the first also by position.
OF_ONE_ARRAY: dict[Callable[..., Any], tuple[type[Op], str]] = {
    np.sum: (reduce.Sum, "axis"),
    np.mean: (reduce.Mean, "axis"),
    np.var: (reduce.Var, "axis"),
    np.max: (reduce.Max, "axis"),
    np.amax: (reduce.Max, "axis"),
    np.min: (reduce.Min, "axis"),
    np.amin: (reduce.Min, "axis"),
    np.flip: (shape.Flip, "axis"),
    np.reshape: (shape.Reshape, "shape"),
    np.broadcast_to: (shape.BroadcastTo, "shape"),
    np.transpose: (shape.Transpose, "axes"),
    np.astype: (elementwise.Cast, "dtype"),
}


def of_one_array(op: type[Op], first: str) -> Callable[..., Any]:
    """An op as the answer to ``function(x, first, **others)``."""

    def answer(x: Node, *position: Any, **options: Any) -> Node:
        if len(position) > 1:
            raise TypeError(f"{op.__name__}: of NumPy's arguments pass all but the array and {first!r} by name")
        return op.do_forward(x, **dict(zip([first], position, strict=False)), **options)

    return answer


NUMPY.update({function: of_one_array(*row) for function, row in OF_ONE_ARRAY.items()})


@answers(primitives.unfold)
def unfold(x: Node, kernel: Any, stride: Any = (1, 1)) -> Node:
    return convolve.Unfold.do_forward(x, kernel=kernel, stride=stride)


@answers(primitives.fold)
def fold(windows: Node, size: Any, stride: Any = (1, 1)) -> Node:
    return convolve.Fold.do_forward(windows, size=size, stride=stride)


@answers(TensorNode.__getitem__)
def getitem(x: Node, at: Any) -> Node:
    at = tuple(value(part) for part in at) if isinstance(at, tuple) else value(at)
    return index.Slice.do_forward(x, index=at)


@answers(primitives.scatter)
def scatter(values: Node, at: Any, shape: tuple[int, ...]) -> Node:
    return index.Scatter.do_forward(values, index=at, shape=shape)


@answers(primitives.contract)
def contract(subscripts: str, x: Node, y: Node) -> Node:
    return linear.Einsum.do_forward(x, y, subscripts=subscripts)


@answers(np.power)
def power(x: Node, y: Any) -> Node:
    # As NumPy does for its arrays: by far the most frequent power, and the one that is a product.
    if type(y) in (int, float) and y == 2:
        return elementwise.Square.do_forward(x)
    return elementwise.Power.do_forward(x, y)


@answers(np.where)
def where(condition: Any, x: Node, y: Node) -> Node:
    # != 0, since the dtype of a condition has no say in that of the result.
    return elementwise.Where.do_forward(np.not_equal(value(condition), 0), x, y)


@answers(np.clip)
def clip(x: Node, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Node:
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@answers(np.einsum)
def einsum(subscripts: str, *xs: Node, optimize: Any = True) -> Node:
    if not isinstance(subscripts, str):
        raise TypeError("np.einsum on nodes takes its subscripts as text, as in np.einsum('ij,jk->ik', x, y)")
    return linear.Einsum.do_forward(*xs, subscripts=subscripts)


@answers(np.take)
def take(x: Node, indices: Any, axis: int | None = None) -> Node:
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    at = value(indices)
    return index.Take.do_forward(x, at if hasattr(at, "dtype") else np.asarray(at), axis=axis)


@answers(np.take_along_axis)
def take_along_axis(x: Node, indices: Any, axis: int | None = -1) -> Node:
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    return index.TakeAlongAxis.do_forward(x, value(indices), axis=axis)


@answers(np.concatenate)
def concatenate(xs: Any, axis: int | None = 0) -> Node:
    xs, axis = ([np.ravel(x) for x in xs], 0) if axis is None else (xs, axis)
    return shape.Concatenate.do_forward(*xs, axis=axis)


@answers(np.stack)
def stack(xs: Any, axis: int = 0) -> Node:
    return shape.Stack.do_forward(*xs, axis=axis)


@answers(np.pad)
def pad(x: Node, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Node:
    if mode != "constant":
        raise ValueError(
            f"np.pad on nodes pads with a constant, not with mode={mode!r}: join the parts by np.concatenate"
        )
    return shape.Pad.do_forward(x, pad_width=pad_width, constant_values=constant_values)


# --- shapes, written with the ops above


@answers(np.copy)
def copy(x: Node, order: str = "K") -> Node:
    return elementwise.Cast.do_forward(x, dtype=x.dtype)


@answers(np.full_like)
def full_like(x: Node, fill_value: Any, **options: Any) -> Any:
    plain = np.full_like(value(x), value(fill_value), **options)
    if not isinstance(fill_value, TensorNode):
        return plain
    return np.broadcast_to(fill_value, plain.shape).astype(plain.dtype, copy=False)


@answers(np.ravel)
def ravel(x: Node) -> Node:
    return np.reshape(x, -1)


@answers(np.squeeze)
def squeeze(x: Node, axis: Any = None) -> Node:
    return np.reshape(x, np.squeeze(value(x), axis=axis).shape)


@answers(np.expand_dims)
def expand_dims(x: Node, axis: Any) -> Node:
    return np.reshape(x, np.expand_dims(value(x), axis).shape)


# NumPy itself moves the axes of an array whose extents are 0, 1, 2, …; its shape is then the order asked for.


@answers(np.swapaxes)
def swapaxes(x: Node, axis1: int, axis2: int) -> Node:
    return np.transpose(x, np.swapaxes(np.empty(range(x.ndim)), axis1, axis2).shape)


@answers(np.moveaxis)
def moveaxis(x: Node, source: Any, destination: Any) -> Node:
    return np.transpose(x, np.moveaxis(np.empty(range(x.ndim)), source, destination).shape)


@answers(np.vstack)
def vstack(xs: Any) -> Node:
    return np.concatenate([x if np.ndim(value(x)) > 1 else np.reshape(x, (1, -1)) for x in xs], axis=0)


@answers(np.hstack)
def hstack(xs: Any) -> Node:
    xs = [np.reshape(x, -1) if np.ndim(value(x)) == 0 else x for x in xs]
    return np.concatenate(xs, axis=0 if np.ndim(value(xs[0])) == 1 else 1)


@answers(np.split)
def split(x: Node, indices_or_sections: Any, axis: int = 0) -> list[Node]:
    axis = normalize_axis_index(axis, x.ndim)
    parts = np.split(np.arange(x.shape[axis]), indices_or_sections)
    before = (slice(None),) * axis
    return [x[(*before, slice(int(p[0]), int(p[-1]) + 1) if len(p) else slice(0, 0))] for p in parts]


@answers(np.repeat)
def repeat(x: Node, repeats: Any, axis: int | None = None) -> Node:
    x, axis = (np.ravel(x), 0) if axis is None else (x, axis)
    if np.ndim(repeats) == 0:
        axis = normalize_axis_index(axis, x.ndim)
        before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
        slices = np.broadcast_to(np.reshape(x, (*before, 1, *after)), (*before, int(repeats), *after))
        return np.reshape(slices, (*before[:-1], before[-1] * int(repeats), *after))
    return np.take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis=axis)


@answers(np.tile)
def tile(x: Node, reps: Any) -> Node:
    positions = np.tile(np.arange(value(x).size).reshape(x.shape), reps)
    return np.take(np.ravel(x), positions, axis=0)


# --- mathematics, written with the ops above


@answers(np.std)
def std(x: Node, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Node:
    return np.sqrt(np.var(x, axis=axis, ddof=ddof, keepdims=keepdims))


def _widened(x: Node) -> Node:
    """Small whole numbers in the dtype in which NumPy adds and multiplies them up; anything else unchanged."""
    return x.astype(np.add.reduce(np.empty(0, x.dtype)).dtype, copy=False)


@answers(np.prod)
def prod(x: Node, axis: Any = None, *, keepdims: bool = False) -> Node:
    x = _widened(x)
    axes = reduce.reduced_axes(x.ndim, axis)
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    factors = np.reshape(np.moveaxis(x, axes, range(len(axes))), (reduce.count(x.shape, axis), *rest))
    factors = np.concatenate([np.ones((1, *rest), x.dtype), factors])
    while len(factors) > 1:  # one half times the other: nothing is divided by, so zeros do no harm
        half = len(factors) // 2
        factors = np.concatenate([factors[:half] * factors[half : 2 * half], factors[2 * half :]])
    return np.reshape(factors, tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdims else rest)


@answers(np.cumsum)
def cumsum(x: Node, axis: int | None = None) -> Node:
    x, axis = (np.ravel(_widened(x)), 0) if axis is None else (_widened(x), axis)
    sums, step = np.moveaxis(x, axis, 0), 1
    while step < len(sums):  # now each holds the sum of the last ``step`` elements up to its own
        sums, step = np.concatenate([sums[:step], sums[step:] + sums[:-step]]), 2 * step
    return np.moveaxis(sums, 0, axis)


@answers(np.dot)
def dot(x: Node, y: Node) -> Node:
    if 0 in (np.ndim(value(x)), np.ndim(value(y))):
        return x * y
    return np.tensordot(x, y, axes=(-1, -1 if np.ndim(value(y)) == 1 else -2))


@answers(np.inner)
def inner(x: Node, y: Node) -> Node:
    return x * y if 0 in (np.ndim(value(x)), np.ndim(value(y))) else np.tensordot(x, y, axes=(-1, -1))


@answers(np.outer)
def outer(x: Node, y: Node) -> Node:
    return np.reshape(x, (-1, 1)) * np.reshape(y, (1, -1))


@answers(np.tensordot)
def tensordot(x: Node, y: Node, axes: Any = 2) -> Node:
    a, b = np.ndim(value(x)), np.ndim(value(y))
    first, second = (range(a - axes, a), range(axes)) if isinstance(axes, int) else map(np.atleast_1d, axes)
    left, right = list(linear.LETTERS[:a]), list(linear.LETTERS[a : a + b])
    for i, j in zip(first, second, strict=True):
        if np.shape(value(x))[i] != np.shape(value(y))[j]:  # an einsum would repeat an extent of 1
            shapes = f"{np.shape(value(x))} and {np.shape(value(y))}"
            raise ValueError(
                f"dot products of shapes {shapes}: axis {i} of the first is not as long as axis {j} of the second"
            )
        right[j] = left[i]
    output = [letter for letter in left + right if not (letter in left and letter in right)]
    return linear.Einsum.do_forward(x, y, subscripts=f"{''.join(left)},{''.join(right)}->{''.join(output)}")


@answers(np.trace)
def trace(x: Node) -> Node:
    diagonal = np.arange(min(x.shape[:2]))
    return np.sum(x[diagonal, diagonal], axis=0)


@answers(np.linalg.norm)
def norm(x: Node, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Node:
    x = x if x.dtype.kind in "fc" else x.astype(float)
    of_vectors = isinstance(axis, int) or (axis is None and x.ndim == 1)
    if ord is None or (ord == 2 and of_vectors):
        return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))
    if ord == 1 and of_vectors:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    raise ValueError(
        "np.linalg.norm on nodes knows the 1- and 2-norms of vectors and, without ord, the root of the sum of all "
        f"squares, not ord={ord!r} with axis={axis} of {x.ndim} axes"
    )


@answers(np.exp2)
def exp2(x: Node) -> Node:
    return np.power(2, x.astype(np.exp2.resolve_dtypes((x.dtype, None))[0], copy=False))


# --- what has no derivative: plain arrays out


def on_values(function: Callable[..., Any]) -> Callable[..., Any]:
    def answer(*args: Any, **options: Any) -> Any:
        return function(*map(value, args), **{name: value(option) for name, option in options.items()})

    return answer


WITHOUT_DERIVATIVE = (
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
    *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.isnan, np.isinf, np.isfinite, np.sign),
    *(np.floor, np.ceil, np.rint, np.round, np.around, np.trunc),
    *(np.argmax, np.argmin, np.argsort, np.nonzero, np.any, np.all, np.count_nonzero),
    *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like),
    primitives.random_bits,
    *(np.array_equal, np.allclose, np.isclose, np.result_type, np.array2string, np.array_repr, np.array_str),
)
for _function in WITHOUT_DERIVATIVE:
    NUMPY[_function] = on_values(_function)
