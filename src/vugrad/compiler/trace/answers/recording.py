"""How a rule for a NumPy function is registered, and how arrays and numbers become tracers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from vugrad.compiler.arrays import Program
from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.trace.standin import ANSWERS, CannotCompileError, Traced, place

PYTHON = {"b": np.dtype(bool), "i": int, "u": int, "f": float}


def answers(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what follows as the answer for some functions."""

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        ANSWERS.update(dict.fromkeys(functions, ours))
        return ours

    return register


def program_of(xs: Any) -> Program:
    """The program of the first tracer among some arguments."""
    return next(x for x in xs if isinstance(x, Traced)).program


def lift(x: Any, program: Program) -> Any:
    """An array or number as the tracer of a constant."""
    if isinstance(x, Traced):
        return x
    value = np.asarray(x)
    if value.dtype not in SHORT:
        raise CannotCompileError(f"{place()}: {value.dtype} cannot be compiled: use float32, float64 or whole numbers")
    return Traced(
        program,
        program.add("constant", value=value),
        weak=isinstance(x, bool | int | float) and not isinstance(x, np.generic),
    )


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


def as_float(x: Traced) -> Any:
    """``x`` in floating point."""
    return x if x.dtype.kind == "f" else cast(x, np.float64)


def truth(x: Traced) -> Any:
    """Whether each element is not 0."""
    return x if x.dtype.kind == "b" else np.not_equal(x, 0)


def axes_of(x: Traced, axis: Any) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of non-negative axes."""
    return tuple(range(x.ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, x.ndim)))
