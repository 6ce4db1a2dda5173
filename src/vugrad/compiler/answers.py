"""Which primitives answer for each NumPy function on stand-ins.

Functions that are not here, but that work on nodes, are answered by the same few lines as there: see ``through_nodes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from vugrad.compiler import indexing
from vugrad.compiler.arrays import Program
from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.standin import ANSWERS, CannotCompileError, Traced, place
from vugrad.graph import TensorNode, no_grad
from vugrad.graph.nodes import NUMPY
from vugrad.ops import primitives
from vugrad.ops.linear import LETTERS, explicit

Array = Any
PYTHON = {"b": np.dtype(bool), "i": int, "u": int, "f": float}


def answers(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what follows as the answer for some functions."""

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        ANSWERS.update(dict.fromkeys(functions, ours))
        return ours

    return register


# --- arrays and numbers as stand-ins


def program_of(xs: Any) -> Program:
    """The program of the first stand-in among some arguments."""
    return next(x for x in xs if isinstance(x, Traced)).program


def lift(x: Any, program: Program) -> Any:
    """An array or number as a stand-in for a constant."""
    if isinstance(x, Traced):
        return x
    value = np.asarray(x)
    if value.dtype not in SHORT:
        raise CannotCompileError(f"{place()}: {value.dtype} cannot be compiled: use float32, float64 or whole numbers")
    return Traced(program, program.add("constant", value=value), weak=isinstance(x, bool | int | float))


def cast(x: Traced, dtype: Any) -> Any:
    """``x`` in a dtype; a weak number becomes an array of it."""
    dtype = np.dtype(dtype)
    if dtype not in SHORT:
        raise CannotCompileError(f"{place()}: {dtype} cannot be compiled: use float32, float64 or whole numbers")
    if x.dtype == dtype:
        return Traced(x.program, x.number) if x.weak else x
    y = x.record("cast", dtype=dtype)
    y.weak = False
    return y


def kind_of(x: Traced) -> Any:
    """What NumPy's rules of promotion take an operand for."""
    return PYTHON[x.dtype.kind] if x.weak else x.dtype


def common(xs: list[Traced]) -> list[Traced]:
    """The operands in their common dtype; if all are weak, the results are too."""
    if all(x.weak for x in xs):
        dtype = np.result_type(*(x.dtype for x in xs))
        return [x if x.dtype == dtype else x.record("cast", dtype=dtype) for x in xs]
    examples = [(np.empty(0, x.dtype).dtype.type(0).item() if x.weak else x.dtype) for x in xs]
    return [cast(x, np.result_type(*examples)) for x in xs]


# --- element by element

UFUNCS = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.divide: "div",
    np.power: "pow",
    np.maximum: "max",
    np.minimum: "min",
    np.negative: "neg",
    np.absolute: "abs",
    np.fabs: "abs",
    np.bitwise_and: "and",
    np.bitwise_or: "or",
    np.bitwise_xor: "xor",
    np.invert: "not",
    np.logical_and: "and",
    np.logical_or: "or",
    np.logical_xor: "xor",
    np.logical_not: "not",
    np.left_shift: "shl",
    np.right_shift: "shr",
    np.equal: "eq",
    np.not_equal: "ne",
    np.less: "lt",
    np.less_equal: "le",
    np.greater: "gt",
    np.greater_equal: "ge",
    **{getattr(np, name): name for name in ("isnan", "isinf", "isfinite", "sign", "sqrt", "exp", "log", "expm1")},
    **{getattr(np, name): name for name in ("log1p", "log2", "log10", "tanh", "sin", "cos", "tan", "arcsin")},
    **{getattr(np, name): name for name in ("arccos", "arctan", "sinh", "cosh", "floor", "ceil", "rint", "trunc")},
}
LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}


def elementwise(ufunc: np.ufunc) -> Callable[..., Any]:
    """The answer for a ufunc that is one primitive: operands in the dtypes that NumPy's own rules resolve."""

    def answer(*inputs: Any) -> Any:
        xs = [lift(x, program_of(inputs)) for x in inputs]
        if ufunc in LOGICAL:
            xs = [truth(x) for x in xs]
        else:
            weak = all(x.weak for x in xs)
            dtypes = ufunc.resolve_dtypes((*(x.dtype if weak else kind_of(x) for x in xs), *[None] * ufunc.nout))
            xs = [
                (x if x.dtype == d else x.record("cast", dtype=d)) if weak else cast(x, d)
                for x, d in zip(xs, dtypes, strict=False)
            ]
        if len(xs) == 2 and xs[0].dtype != xs[1].dtype:
            return _compared(ufunc, *xs)
        return xs[0].record(UFUNCS[ufunc], *xs[1:])

    return answer


def _compared(ufunc: np.ufunc, x: Traced, y: Traced) -> Any:
    """A comparison of int64 and uint64, which have no common dtype: what is negative is less than all of the other."""
    negative, result = (x < 0, ufunc(-1, 0)) if x.dtype.kind == "i" else (y < 0, ufunc(0, -1))
    return np.where(negative, result, ufunc(cast(x, np.uint64), cast(y, np.uint64)))


ANSWERS.update({ufunc: elementwise(ufunc) for ufunc in UFUNCS})
_power = ANSWERS[np.power]


@answers(np.power)
def power(x: Any, y: Any) -> Any:
    if isinstance(y, int | float) and isinstance(x, Traced):  # as NumPy does for its arrays
        x, y = (x * 1.0 if isinstance(y, float) and x.dtype.kind in "iu" else x), float(y)
        if y == 2:
            return np.multiply(x, x)
        if y == 0.5 and x.dtype.kind == "f":
            return np.sqrt(x)
        if y == -1 and x.dtype.kind == "f":
            return np.divide(1, x)
        y = int(y) if x.dtype.kind in "iu" and y == int(y) else y
    return _power(x, y)


@answers(np.square)
def square(x: Traced) -> Any:
    return np.multiply(x, x)


@answers(np.reciprocal)
def reciprocal(x: Traced) -> Any:
    return np.divide(1, x)


@answers(np.positive)
def positive(x: Traced) -> Any:
    return x


@answers(primitives.sigmoid)
def sigmoid(x: Traced) -> Any:
    return _float(x).record("sigmoid")


@answers(primitives.erf)
def erf(x: Traced) -> Any:
    return _float(x).record("erf")


def _float(x: Traced) -> Any:
    return x if x.dtype.kind == "f" else cast(x, np.float64)


def truth(x: Traced) -> Any:
    """Whether each element is not 0."""
    return x if x.dtype.kind == "b" else np.not_equal(x, 0)


@answers(np.where)
def where(condition: Any, x: Any, y: Any) -> Any:
    program = program_of((condition, x, y))
    x, y = common([lift(x, program), lift(y, program)])
    result = truth(lift(condition, program)).record("where", x, y)
    result.weak = x.weak and y.weak
    return result


@answers(np.astype)
def astype(x: Any, dtype: Any, copy: bool = True) -> Any:
    return cast(x, dtype)


@answers(np.copy)
def copy(x: Any, order: str = "K") -> Any:
    return x.copy()


# --- new arrays of the shape of one


def filled(x: Traced, number: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A constant everywhere, in x's shape and dtype or those given."""
    value = np.asarray(number, x.dtype if dtype is None else dtype)
    shape = x.shape if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    return lift(value, x.program).record("broadcast", shape=shape)


@answers(np.zeros_like, np.empty_like)
def zeros_like(x: Traced, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return filled(x, 0, dtype, shape)


@answers(np.ones_like)
def ones_like(x: Traced, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return filled(x, 1, dtype, shape)


@answers(np.full_like)
def full_like(x: Traced, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    if isinstance(fill_value, Traced):
        return np.broadcast_to(cast(fill_value, dtype or x.dtype), shape or x.shape)
    return filled(x, fill_value, dtype, shape)


# --- reductions


def axes_of(x: Traced, axis: Any) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of non-negative axes."""
    return tuple(range(x.ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, x.ndim)))


def reduced(primitive: str, x: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction, the reduced axes kept with extent 1 or not."""
    axes = axes_of(x, axis)
    y = x.record(primitive, axes=axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return y.record("reshape", shape=kept) if keepdims else y


@answers(np.sum)
def sum_(x: Traced, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    if dtype is None and x.dtype.kind in "biu":
        dtype = np.uint64 if x.dtype.kind == "u" else np.int64
    return reduced("sum", x if dtype is None else cast(x, dtype), axis, keepdims)


@answers(np.mean)
def mean(x: Traced, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    x = _float(x) if dtype is None else cast(x, dtype)
    return sum_(x, axis, keepdims=keepdims) / float(max(math.prod(x.shape[a] for a in axes_of(x, axis)), 0) or math.nan)


@answers(np.max, np.amax)
def max_(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reduced("maximum", x, axis, keepdims)


@answers(np.min, np.amin)
def min_(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reduced("minimum", x, axis, keepdims)


@answers(np.any)
def any_(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reduced("maximum", truth(x), axis, keepdims)


@answers(np.all)
def all_(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reduced("minimum", truth(x), axis, keepdims)


def position_of(primitive: str) -> Callable[..., Any]:
    """``np.argmax`` or ``np.argmin``."""

    def answer(x: Traced, axis: int | None = None, *, keepdims: bool = False) -> Any:
        if axis is None:
            return reduced(primitive, np.reshape(x, -1), 0, False)
        return reduced(primitive, x, axis, keepdims)

    return answer


ANSWERS.update({np.argmax: position_of("argmax"), np.argmin: position_of("argmin")})


@answers(np.count_nonzero)
def count_nonzero(x: Traced, axis: Any = None, *, keepdims: bool = False) -> Any:
    return sum_(truth(x), axis, keepdims=keepdims)


# --- movement


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


# --- indexing

ANSWERS[Traced.__getitem__] = indexing.getitem


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


# --- contractions


@answers(np.einsum)
def einsum(subscripts: str, *xs: Any, optimize: Any = True) -> Any:
    program = program_of(xs)
    operands = common([lift(x, program) for x in xs])
    terms, output = explicit(subscripts, [x.ndim for x in operands])
    extents: dict[str, int] = {}
    for x, term in zip(operands, terms, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            extents[letter] = max(extents.get(letter, 1), n) if n else 0
    operands, terms = map(
        list, zip(*(_squeezed(*pair, extents) for pair in zip(operands, terms, strict=True)), strict=True)
    )
    while len(operands) > 2:  # from the left: what neither the rest nor the output needs is summed at once
        kept = [c for c in dict.fromkeys(terms[0] + terms[1]) if c in "".join(terms[2:]) + output]
        joined = operands[0].record("contract", operands[1], subscripts=f"{terms[0]},{terms[1]}->{''.join(kept)}")
        operands, terms = [joined, *operands[2:]], ["".join(kept), *terms[2:]]
    # A letter of the output that only stood for an extent of 1 is an axis of extent 1.
    present = [c for c in output if c in "".join(terms)]
    y = operands[0].record("contract", *operands[1:], subscripts=f"{','.join(terms)}->{''.join(present)}")
    return reshape(y, tuple(extents[c] for c in output))


def _squeezed(x: Traced, term: str, extents: dict[str, int]) -> tuple[Traced, str]:
    """The operand without axes of extent 1: they sum nothing, and stand for any extent."""
    kept = [i for i, n in enumerate(x.shape) if n != 1 or extents[term[i]] == 0]
    return reshape(x, tuple(x.shape[i] for i in kept)), "".join(term[i] for i in kept)


@answers(primitives.contract)
def contract(subscripts: str, x: Any, y: Any) -> Any:
    return einsum(subscripts, x, y)


@answers(np.matmul)
def matmul(x: Any, y: Any) -> Any:
    a, b = np.ndim(x) if not isinstance(x, Traced) else x.ndim, np.ndim(y) if not isinstance(y, Traced) else y.ndim
    if not a or not b or x.shape[-1] != y.shape[-2 if b > 1 else 0]:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape} do not fit")
    stack = LETTERS[: max(a, b, 2) - 2]
    left = stack[len(stack) - max(a - 2, 0) :] + ("X" if a > 1 else "") + "Y"
    right = stack[len(stack) - max(b - 2, 0) :] + "Y" + ("Z" if b > 1 else "")
    return einsum(f"{left},{right}->{stack}{'X' if a > 1 else ''}{'Z' if b > 1 else ''}", x, y)


# --- the rest


@answers(primitives.random_bits)
def random_bits(key: Traced, shape: Any) -> Any:
    return key.record("bits", shape=tuple(shape))


ANSWERS.update({np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim})
ANSWERS[np.size] = lambda x, axis=None: x.size if axis is None else x.shape[axis]


@answers(np.result_type)
def result_type(*xs: Any) -> Any:
    return np.result_type(*(x.dtype if isinstance(x, Traced) else x for x in xs))


def through_nodes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The answer that nodes give, which is written with functions that are recorded."""

    def wrapped(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return type(x)(wrapped(part) for part in x)
        return TensorNode(x, requires_grad=False) if isinstance(x, Traced) else x

    def bare(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return type(x)(bare(part) for part in x)
        return x.value if isinstance(x, TensorNode) else x

    def answer(*args: Any, **options: Any) -> Any:
        with no_grad():
            return bare(NUMPY[function](*map(wrapped, args), **options))

    return answer


THROUGH_NODES = (
    *(np.ravel, np.swapaxes, np.moveaxis, np.vstack, np.hstack, np.split),
    *(np.tile, np.std, np.prod, np.cumsum, np.dot, np.inner, np.outer, np.tensordot, np.trace, np.linalg.norm),
    *(np.exp2, np.var, np.clip),
)
ANSWERS.update({function: through_nodes(function) for function in THROUGH_NODES})
