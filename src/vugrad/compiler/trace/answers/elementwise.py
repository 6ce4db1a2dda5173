"""Element-wise functions, recorded, and new arrays of the shape of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.trace.answers.recording import answers, as_float, cast, common, kind_of, lift, program_of, truth
from vugrad.compiler.trace.standin import ANSWERS, Traced
from vugrad.ops import primitives

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
COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}


def elementwise(ufunc: np.ufunc) -> Callable[..., Any]:
    """The answer for a ufunc that is one primitive: operands in the dtypes that NumPy's own rules resolve."""

    def answer(*inputs: Any) -> Any:
        if ufunc in COMPARISONS and (settled := _beyond(ufunc, *inputs)) is not None:
            return settled
        xs = [lift(x, program_of(inputs)) for x in inputs]
        if ufunc in LOGICAL:
            xs = [truth(x) for x in xs]
        else:
            weak = all(x.weak for x in xs)
            dtypes = ufunc.resolve_dtypes((*(x.dtype if weak else kind_of(x) for x in xs), *[None] * ufunc.nout))
            for x, d in zip(inputs, dtypes, strict=False):
                if type(x) is int and d.kind in "iu":
                    np.asarray(x, d)  # raises OverflowError for a number that the dtype cannot hold
            xs = [
                (x if x.dtype == d else x.record("cast", dtype=d)) if weak else cast(x, d)
                for x, d in zip(xs, dtypes, strict=False)
            ]
        if len(xs) == 2 and xs[0].dtype != xs[1].dtype:
            return _compared(ufunc, *xs)
        return xs[0].record(UFUNCS[ufunc], *xs[1:])

    return answer


def _beyond(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    """The comparison of an array with a Python number that its dtype cannot hold, which has one result; or ``None``."""
    for array, number, swapped in ((x, y, False), (y, x, True)):
        if type(number) is int and isinstance(array, Traced) and not array.weak and array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            if not limits.min <= number <= limits.max:
                return filled(array, bool(ufunc(number, 0) if swapped else ufunc(0, number)), bool)
    return None


def _compared(ufunc: np.ufunc, x: Traced, y: Traced) -> Any:
    """A comparison of int64 and uint64, which have no common dtype: what is negative is less than all of the other."""
    negative, result = (x < 0, ufunc(-1, 0)) if x.dtype.kind == "i" else (y < 0, ufunc(0, -1))
    return np.where(negative, result, ufunc(cast(x, np.uint64), cast(y, np.uint64)))


ANSWERS.update({ufunc: elementwise(ufunc) for ufunc in UFUNCS})
_power = ANSWERS[np.power]


@answers(np.power)
def power(x: Any, y: Any) -> Any:
    if type(y) is int and isinstance(x, Traced) and x.dtype.kind in "iu" and not x.weak:
        return _whole_power(x, y)
    if isinstance(y, int | float) and not isinstance(y, np.generic) and isinstance(x, Traced):  # as NumPy for arrays
        x, y = (x * 1.0 if isinstance(y, float) and x.dtype.kind in "iu" else x), float(y)
        if y == 2:
            return np.multiply(x, x)
        if y == 0.5 and x.dtype.kind == "f":
            return np.sqrt(x)
        if y == -1 and x.dtype.kind == "f":
            return np.divide(1, x)
        y = int(y) if x.dtype.kind in "iu" and y == int(y) else y
    return _power(x, y)


def _whole_power(x: Traced, n: int) -> Any:
    """A power of whole numbers as products, which are exact and wrap round as NumPy's do."""
    if n < 0:
        raise ValueError(f"integers to negative integer powers are not allowed: write x ** {n}.0")
    power: Any = x if n else filled(x, 1)
    for bit in f"{n:b}"[1:]:
        power = np.multiply(power, power)
        power = np.multiply(power, x) if bit == "1" else power
    return power


@answers(np.square)
def square(x: Traced) -> Any:
    return np.multiply(x, x)


@answers(np.reciprocal)
def reciprocal(x: Traced) -> Any:
    if x.dtype.kind in "iu":  # rounded towards 0
        return np.where((x == 1) | (x == -1), x, filled(x, 0))
    return np.divide(1, x)


@answers(np.positive)
def positive(x: Traced) -> Any:
    return x


@answers(primitives.sigmoid)
def sigmoid(x: Traced) -> Any:
    return as_float(x).record("sigmoid")


@answers(primitives.erf)
def erf(x: Traced) -> Any:
    return as_float(x).record("erf")


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
