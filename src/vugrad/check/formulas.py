"""What an op's code computes, by index: its two directions recorded, and read element by element."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.indices import At, Expr, NoIndexForm, Reading, named
from vugrad.check.subject import listed
from vugrad.compiler.arrays.program import Program
from vugrad.compiler.trace import Trace, trace
from vugrad.compiler.trace.standin import CannotCompileError
from vugrad.ops.table import Row, Shape

Array = Any
#: The letters of an output's indices, of a gradient's, and of extents; those that inputs have are passed over.
OUTPUT, GRADIENT, EXTENTS = "ijlpqr", "abcdef", "NMPQR"
#: Two readings at extents without a number in common: what is the same in both holds for all.
PRIMES = ((53, 59, 61, 67, 71), (37, 41, 43, 47, 31))
#: Extents of more are made small for sample numbers.
LONG = 7
#: Of an input for which the backward returns None.
NOTHING = sp.Symbol("None")


@dataclass(frozen=True)
class Formulas:
    """What an op's code computes, by index.

    Args:
        extents: the letters of the extents of the row's shapes.
        inputs: the names of the inputs.
        outputs: of each output its element, the formula of that, the element of its upstream gradient, and its extents.
        gradients: of each input that is differentiated its position, its element, and of its gradient the element, the
            formula with the outputs' names in it, and the formula in full.
        unequal: what the code asks whether it is equal, and is taken to differ.
    """

    extents: Mapping[int, Expr]
    inputs: list[str]
    outputs: list[tuple[Expr, Expr, Expr, At]]
    gradients: list[tuple[int, Expr, Expr, Expr, Expr]]
    unequal: list[Expr]


def with_indices(row: Row) -> Row:
    """The row with the arrays of whole numbers that follow its inputs turned into inputs without a gradient."""
    parameters = list(inspect.signature(row.op.forward).parameters)[1 + len(row.shapes) :]
    keys = list(itertools.takewhile(lambda key: _is_index(row.constants.get(key)), parameters))
    if not keys:
        return row
    arrays = dict(enumerate((np.asarray(row.constants[key]) for key in keys), len(row.shapes)))

    @functools.wraps(row.op.backward)
    def backward(context: Any, *gos: Array) -> tuple[Array, ...]:
        return (*listed(row.op.backward(context, *gos)), *[None] * len(keys))

    return replace(
        row,
        op=type(row.op.__name__, (row.op,), {"backward": staticmethod(backward)}),
        shapes=(*row.shapes, *(array.shape for array in arrays.values())),
        whole={**row.whole, **{i: ("int64", int(np.max(array)) + 1) for i, array in arrays.items()}},
        constants={key: value for key, value in row.constants.items() if key not in keys},
    )


def _is_index(value: Any) -> bool:
    """Whether a constant is a non-empty array of positions, none of them negative."""
    array = np.asarray(value) if isinstance(value, list | np.ndarray) else np.zeros(0)
    return bool(array.size and array.dtype.kind in "iu" and np.min(array) >= 0)


def shortened(row: Row) -> Row:
    """The row at small extents, as many as there were and equal where they were: a formula by index is the same.

    Raises :class:`NoIndexForm` for code that goes from element to element in Python.
    """
    sizes = extents_of(row)
    small, some, more = (dict(zip(sizes, range(first, first + len(sizes)), strict=True)) for first in (2, 5, 6))
    if len(recorded(row, some)[0].instructions) != len(recorded(row, more)[0].instructions):
        raise NoIndexForm(f"{row.op.__name__} has a loop that is longer for longer arrays")
    if max(sizes, default=0) <= LONG:
        return row
    constants = {k: resized(v, small) if k == "shape" else v for k, v in row.constants.items()}
    whole = {i: (kind, min(below, 2)) for i, (kind, below) in row.whole.items()}
    return replace(row, shapes=tuple(resized(s, small) for s in row.shapes), constants=constants, whole=whole)


def extents_of(row: Row) -> list[int]:
    """The different extents of a row, but for 1."""
    return list(dict.fromkeys(n for n in itertools.chain(*row.shapes, row.constants.get("shape", ())) if n > 1))


def read(row: Row, primes: tuple[int, ...]) -> Formulas:
    """The op's code by index, recorded at extents that are primes."""
    sizes = extents_of(row)
    if len(sizes) > len(primes):
        raise NoIndexForm(f"{len(sizes)} different extents are more than fit on a board")
    letters = {n: sp.Symbol(c, integer=True, positive=True) for n, c in zip(sizes, EXTENTS, strict=False)}
    program, ys, gradients = recorded(row, dict(zip(sizes, primes, strict=False)))
    extents = dict(zip(primes, letters.values(), strict=False))
    names, outer, upstream = called(row, len(ys))
    arrays = {number: name for name, number in program.inputs().items()}
    labels = dict(zip((f"argument {i}" for i in itertools.count()), [*names, *upstream], strict=False))
    known = {number: labels[name] for number, name in arrays.items()}
    reading = Reading(program, known, extents)
    short = Reading(program, {**dict(zip(ys, outer, strict=True)), **known}, extents)

    def at(letters: str, shape: Shape) -> At:
        free = (c for c in letters if c not in names)
        return tuple(sp.Integer(0) if n == 1 else sp.Symbol(next(free), integer=True) for n in shape)

    outputs = []
    for y, name, go in zip(ys, outer, upstream, strict=True):
        index = at(OUTPUT, program[y].shape)
        lengths = tuple(extents.get(n, sp.Integer(n)) for n in program[y].shape)
        outputs.append((named(name, index), reading.element(y, index), named(go, index), lengths))
    found = []
    for position, (name, number) in enumerate(zip(names, gradients, strict=True)):
        if position in row.whole:
            continue
        shape = tuple(dict(zip(sizes, primes, strict=False)).get(n, n) for n in row.shapes[position])
        index = at(GRADIENT, shape)
        if number is None:
            formulas = [NOTHING, NOTHING]
        elif (given := program[number].shape) != shape:
            text = ", ".join(str(extents.get(n, n)) for n in given)
            formulas = [sp.Symbol(f"an array of shape ({text})")] * 2
        else:
            formulas = [r.element(number, index) for r in (short, reading)]
        found.append((position, named(name, index), named(f"g{name}", index), *formulas))
    return Formulas(letters, names, outputs, found, reading.unequal)


def recorded(row: Row, longer: Mapping[int, int]) -> tuple[Program, list[int], list[int | None]]:
    """Forward and backward as a program at other extents, and the numbers of the outputs and gradients in it."""
    constants = {k: resized(v, longer) if k == "shape" else v for k, v in row.constants.items()}
    dtypes = [row.whole[i][0] if i in row.whole else "float64" for i in range(len(row.shapes))]
    xs = [np.broadcast_to(np.ones((), t), resized(s, longer)) for t, s in zip(dtypes, row.shapes, strict=True)]

    def forward(context: dict[str, Any], *xs: Array) -> list[Array]:
        return listed(row.op.forward(context, *xs, **constants))

    def both(*arrays: Array) -> list[list[Array]]:
        context: dict[str, Any] = {}
        return [forward(context, *arrays[: len(xs)]), listed(row.op.backward(context, *arrays[len(xs) :]))]

    def numbers(traced: Trace) -> list[list[int | None]]:
        there = {output.name: output.number for output in traced.program.outputs}

        def number(value: Any, name: str) -> int | None:
            if value is None or name in there:
                return there.get(name)
            return traced.program.add("constant", value=np.asarray(value, float))

        return [[number(v, f"result[{i}][{j}]") for j, v in enumerate(part)] for i, part in enumerate(traced.result)]

    try:
        first = trace(lambda *xs: [forward({}, *xs)], tuple(xs))
        gos = [np.broadcast_to(1.0, first.program[y].shape) for y in numbers(first)[0] if y is not None]
        traced = trace(both, (*xs, *gos))
    except (CannotCompileError, ValueError, IndexError) as error:
        raise NoIndexForm(f"{row.op.__name__} cannot be recorded: {error}") from error
    ys, gradients = numbers(traced)
    if len(gradients) != len(xs):
        raise NoIndexForm(f"backward returns {len(gradients)} gradients for {len(xs)} inputs")
    return traced.program, [y for y in ys if y is not None], gradients


def called(row: Row, count: int) -> tuple[list[str], list[str], list[str]]:
    """What inputs, outputs and upstream gradients are called."""
    first, *_ = parameters = list(inspect.signature(row.op.forward).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][: len(row.shapes)]
    if first.kind is first.VAR_POSITIONAL:
        names = list("xyzwuv"[: len(row.shapes)])
    gos = list(inspect.signature(row.op.backward).parameters.values())[1:]
    upstream = [p.name if p.name not in names else "go" for p in gos if p.kind is not p.VAR_POSITIONAL] or ["go"]
    if count != len(upstream):
        upstream = [f"go{i}" for i in range(count)]
    free = [c for c in ("zy" if len(row.real) == 2 else "yz") + "tsr" if c not in names]
    outputs = free[:1] if count == 1 else [go[1:] if f"{go[1:]}" not in [*names, "o"] else free[0] for go in upstream]
    return names, outputs, upstream


def resized(shape: Shape, longer: Mapping[int, int]) -> Shape:
    """A shape with other extents."""
    return tuple(longer.get(n, n) for n in shape)
