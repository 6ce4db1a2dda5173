"""Reductions and contractions, recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.trace.answers.movement import reshape
from vugrad.compiler.trace.answers.recording import answers, as_float, axes_of, cast, common, lift, program_of, truth
from vugrad.compiler.trace.standin import ANSWERS, Traced
from vugrad.ops import primitives
from vugrad.ops.linear import LETTERS, explicit


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
    x = as_float(x) if dtype is None else cast(x, dtype)
    n = math.prod(x.shape[a] for a in axes_of(x, axis))
    if n == 0:
        raise ValueError("mean over no element")
    return sum_(x, axis, keepdims=keepdims) / float(n)


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


@answers(np.einsum)
def einsum(subscripts: str, *xs: Any, optimize: Any = True) -> Any:
    program = program_of(xs)
    operands = common([lift(x, program) for x in xs])
    if operands[0].dtype.kind == "b":  # whether any product is true
        return np.not_equal(einsum(subscripts, *(cast(x, np.int64) for x in operands)), 0)
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
    a, b = np.ndim(x), np.ndim(y)
    if not a or not b or x.shape[-1] != y.shape[-2 if b > 1 else 0]:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape} do not fit")
    stack = LETTERS[: max(a, b, 2) - 2]
    left = stack[len(stack) - max(a - 2, 0) :] + ("X" if a > 1 else "") + "Y"
    right = stack[len(stack) - max(b - 2, 0) :] + "Y" + ("Z" if b > 1 else "")
    return einsum(f"{left},{right}->{stack}{'X' if a > 1 else ''}{'Z' if b > 1 else ''}", x, y)
