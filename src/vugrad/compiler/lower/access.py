"""How one element of a result is computed: from an index back through the instructions, to what lies in memory.

Movement costs nothing here. A transposition, a window or a slice only changes the index that is asked of its operand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vugrad.compiler.arrays import VIEWS, Instruction, Program
from vugrad.compiler.loops.index import Index, Indirect, Var, delinear, linear, of
from vugrad.compiler.loops.program import Call, Condition, Constant, Expression, Guard, Position, guard

Place = tuple[Index, ...]
#: Answers for results that need not be followed further; ``None`` for the others.
Leaf = Callable[[int, Place], Expression | None]


@dataclass
class Reduction:
    """A reduction for one element: over which variables, of what, and the tighter bounds of some of the variables."""

    how: str
    variables: list[Var]
    term: Expression
    lower: dict[Var, tuple[Index, ...]] = field(default_factory=dict)
    upper: dict[Var, tuple[Index, ...]] = field(default_factory=dict)


SUMS = ("sum", "contract", "fold")


def is_reduction(x: Instruction, program: Program) -> bool:
    """Whether an element of the result needs a loop over many of the operand's."""
    return x.family in ("reduction", "contraction") or (x.primitive == "fold" and not folds_apart(x, program))


def reduced_how(x: Instruction) -> str:
    """How a reduction combines its terms: a primitive of that family, "sum" for contractions and folds too."""
    return x.primitive if x.family == "reduction" else "sum"


def folds_apart(x: Instruction, program: Program) -> bool:
    """Whether the windows that are folded do not overlap."""
    kernel = program[x.operands[0]].shape[-2:]
    return all(k <= s for k, s in zip(kernel, x.parameters["stride"], strict=True))


class Access:
    """Expressions for elements of a program's results."""

    def __init__(self, program: Program, leaf: Leaf) -> None:
        self.program, self.leaf = program, leaf
        self.names = itertools.count()
        self._seen: dict[tuple[int, Place], Expression] = {}

    def element(self, number: int, place: Place) -> Expression:
        """The element of a result at a place."""
        key = (number, place)
        if key not in self._seen:
            answer = self._counted(self.program[number], place) or self.leaf(number, place)
            self._seen[key] = answer if answer is not None else self._followed(number, place)
        return self._seen[key]

    def _counted(self, x: Instruction, place: Place) -> Expression | None:
        """An element of a constant array that counts along an axis, as ``np.arange`` does: no array is needed."""
        axis = counts_along(x)
        return None if axis is None else Position(place[axis], x.dtype)

    def _followed(self, number: int, place: Place) -> Expression:
        x = self.program[number]
        if x.primitive == "constant":
            value = x.parameters["value"]
            if value.size == 1:
                return Constant(value.reshape(()).item(), x.dtype)
            raise AssertionError("a constant array lies in memory")
        if x.family == "element-wise":
            arguments = tuple(self.element(i, aligned(place, self.program[i].shape)) for i in x.operands)
            return Call(x.primitive, arguments, x.dtype)
        if x.primitive == "bits":
            return self._bits(x, place)
        if x.primitive in ("pad", "concatenate", "fold"):
            return self._guarded(x, place)
        if x.primitive == "gather":
            return self.element(x.operands[0], self._gathered(x, place))
        return self.element(x.operands[0], moved(x, self.program[x.operands[0]], place))

    def _guarded(self, x: Instruction, place: Place) -> Expression:
        operand, source = x.operands[0], self.program[x.operands[0]]
        if x.primitive == "concatenate":
            axis, start, ends = x.parameters["axis"], 0, []
            for i in x.operands:
                ends.append((i, start))
                start += self.program[i].shape[axis]
            result: Expression | None = None
            for i, start in reversed(ends):
                if self.program[i].size:
                    at = (*place[:axis], place[axis] - start, *place[axis + 1 :])
                    stop = Condition(of(start + self.program[i].shape[axis] - 1) - place[axis])
                    # Only the one that holds is followed: what the others' indices would be makes no sense.
                    known = stop.known()
                    if result is None or known:
                        result = self.element(i, at)
                    elif known is None:
                        result = Guard((stop,), self.element(i, at), result)
            return result or Constant(0, x.dtype)
        if x.primitive == "pad":
            widths = zip(place, source.shape, x.parameters["widths"], strict=True)
            spaced = [_spaced(i - low, between + 1, n) for i, n, (low, _, between) in widths]
            at, fill = tuple(index for index, _ in spaced), Constant(x.parameters["value"], x.dtype)
            conditions = [condition for _, found in spaced for condition in found]
            return guard(tuple(conditions), self.element(operand, at), fill) if source.size else fill
        at, conditions = self._window_of(x, place, None)
        return guard(tuple(conditions), self.element(operand, at), Constant(0, x.dtype))

    def _window_of(self, x: Instruction, place: Place, inside: tuple[Var, Var] | None) -> tuple[Place, list[Condition]]:
        """Where the windows have a pixel: at the places ``inside`` them, or at the only one if they do not overlap."""
        *batch, rows, columns = place
        counts, kernel = self.program[x.operands[0]].shape[-4:-2], self.program[x.operands[0]].shape[-2:]
        at, offsets, conditions = [], [], []
        for d, pixel in enumerate((rows, columns)):
            step = x.parameters["stride"][d]
            if inside is None:
                index, offset = pixel // step, pixel % step
                conditions += [Condition(of(counts[d] - 1) - index), Condition(of(kernel[d] - 1) - offset)]
            else:
                offset = of(inside[d])
                index, found = _spaced(pixel - offset, step, counts[d])
                conditions += found
            at.append(index)
            offsets.append(offset)
        return (*batch, *at, *offsets), conditions

    def _gathered(self, x: Instruction, place: Place) -> Place:
        source, axes = self.program[x.operands[0]], x.parameters["axes"]
        shapes = [self.program[i].shape for i in x.operands[1:]]
        n = len(np.broadcast_shapes(*shapes))
        rest = iter(place[n:])
        picked = {}
        for axis, i, shape in zip(axes, x.operands[1:], shapes, strict=True):
            position = self.element(i, aligned(place[:n], shape))
            if isinstance(position, Constant):
                extent = source.shape[axis]
                wrapped = position.value + extent if position.value < 0 else position.value
                picked[axis] = of(min(max(wrapped, 0), max(extent - 1, 0)))
            elif (
                isinstance(position, Position)
                and position.index.range()[0] >= 0
                and position.index.range()[1] < source.shape[axis]
            ):
                picked[axis] = position.index
            else:
                picked[axis] = Index({Indirect(position, source.shape[axis]): 1})
        return tuple(picked[a] if a in picked else next(rest) for a in range(len(source.shape)))

    def scattered(self, number: int, place: Place) -> tuple[Expression, Place]:
        """Of a scatter: the value at a place of its operand, and where in the result it goes."""
        x = self.program[number]
        shapes = [self.program[i].shape for i in x.operands[1:]]
        n = len(np.broadcast_shapes(*shapes))
        rest, picked = iter(place[n:]), {}
        for axis, i, shape in zip(x.parameters["axes"], x.operands[1:], shapes, strict=True):
            picked[axis] = Index({Indirect(self.element(i, aligned(place[:n], shape)), x.shape[axis]): 1})
        target = tuple(picked[a] if a in picked else next(rest) for a in range(len(x.shape)))
        return self.element(x.operands[0], place), target

    def _bits(self, x: Instruction, place: Place) -> Expression:
        """The hash of ``ops.primitives.random_bits``, of the position."""

        def number(n: int) -> Expression:
            return Constant(n, x.dtype)

        def mixed(v: Expression) -> Expression:
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
                v = Call(
                    "mul",
                    (Call("xor", (v, Call("shr", (v, number(shift)), x.dtype)), x.dtype), number(factor)),
                    x.dtype,
                )
            return Call("xor", (v, Call("shr", (v, number(16)), x.dtype)), x.dtype)

        first, second = (mixed(self.element(x.operands[0], (of(i),))) for i in range(2))
        position = Position(linear(place, x.shape), x.dtype)
        return mixed(Call("add", (mixed(Call("xor", (position, first), x.dtype)), second), x.dtype))

    # --- reductions

    def reduction(self, number: int, place: Place, lane: Var | None = None) -> Reduction:
        """The loop that an element of a reduction needs; its bounds are the same for all values of ``lane``."""
        variables: list[Var] = []
        term = self._term(number, place, variables)
        found = Reduction(reduced_how(self.program[number]), variables, term)
        if found.how == "sum":
            _tighten(found, lane)
        return found

    def _term(self, number: int, place: Place, variables: list[Var]) -> Expression:
        """What a reduction adds up; a sum that is only used by this one becomes part of it."""
        x = self.program[number]

        def new(extent: int) -> Var:
            variables.append(Var(f"k{next(self.names)}", extent))
            return variables[-1]

        if x.primitive == "contract":
            return self._product(x, place, new)
        operand = x.operands[0]
        if x.primitive == "fold":
            kernel = self.program[operand].shape[-2:]
            inside = (new(kernel[0]), new(kernel[1]))
            at, conditions = self._window_of(x, place, inside)
            return guard(tuple(conditions), self._merged(operand, at, variables), Constant(0, x.dtype))
        shape, axes = self.program[operand].shape, x.parameters["axes"]
        kept = iter(place)
        at = tuple(of(new(n)) if a in axes else next(kept) for a, n in enumerate(shape))
        if x.primitive == "sum":
            return self._merged(operand, at, variables)
        return self.element(operand, at)

    def _merged(self, number: int, place: Place, variables: list[Var]) -> Expression:
        if self.leaf(number, place) is None:
            x = self.program[number]
            if x.primitive in VIEWS:
                return self._merged(x.operands[0], moved(x, self.program[x.operands[0]], place), variables)
            if x.primitive in SUMS and is_reduction(x, self.program):
                return self._term(number, place, variables)
        return self.element(number, place)

    def _product(self, x: Instruction, place: Place, new: Callable[[int], Var]) -> Expression:
        terms, _, output = x.parameters["subscripts"].partition("->")
        letters: dict[str, Index] = dict(zip(output, place, strict=True))
        for term, i in zip(terms.split(","), x.operands, strict=True):
            for letter, n in zip(term, self.program[i].shape, strict=True):
                if letter not in letters:
                    letters[letter] = of(new(n))
        factors = tuple(
            self.element(i, tuple(letters[letter] for letter in term))
            for term, i in zip(terms.split(","), x.operands, strict=True)
        )
        return factors[0] if len(factors) == 1 else Call("mul", factors, x.dtype)


def counts_along(x: Instruction) -> int | None:
    """The axis along which a constant array counts 0, 1, 2, … and is else the same; ``None`` for any other array."""
    if x.primitive != "constant" or x.dtype.kind not in "iu" or x.size < 2:
        return None
    value = x.parameters["value"]
    for axis, n in enumerate(x.shape):
        if n > 1:
            counts = np.arange(n).reshape([-1 if a == axis else 1 for a in range(len(x.shape))])
            return axis if np.array_equal(value, np.broadcast_to(counts, x.shape)) else None
    return None


def aligned(place: Place, shape: tuple[int, ...]) -> Place:
    """Where an operand that is broadcast is read for a place of the result."""
    last = place[len(place) - len(shape) :]
    return tuple(Index() if n == 1 else i for i, n in zip(last, shape, strict=True))


def moved(x: Instruction, source: Instruction, place: Place) -> Place:
    """Where a view reads its operand."""
    p = x.parameters
    match x.primitive:
        case "transpose":
            at = dict(zip(p["axes"], place, strict=True))
            return tuple(at[a] for a in range(len(place)))
        case "broadcast":
            return aligned(place, source.shape)
        case "slice":
            return tuple(i * step + start for i, start, step in zip(place, p["starts"], p["steps"], strict=True))
        case "window":
            *batch, rows, columns, i, j = place
            down, across = p["stride"]
            return (*batch, rows * down + i, columns * across + j)
        case "reshape":
            return reshaped(place, x.shape, source.shape)
    raise AssertionError(f"{x.primitive} is no view")


def reshaped(place: Place, shape: tuple[int, ...], source: tuple[int, ...]) -> Place:
    """The place in an array of shape ``source`` of the element at ``place`` in one of ``shape``: group by group."""
    if math.prod(shape) == 0:
        return tuple(Index() for _ in source)
    result: list[Index] = []
    i = j = 0
    while i < len(shape) or j < len(source):
        a, b = i, j  # the smallest stretches of axes with equal products
        m = shape[i] if i < len(shape) else 1
        n = source[j] if j < len(source) else 1
        i, j = min(i + 1, len(shape)), min(j + 1, len(source))
        while m != n:
            if m < n:
                m, i = m * shape[i], i + 1
            else:
                n, j = n * source[j], j + 1
        if b < j:
            result += delinear(linear(place[a:i], shape[a:i]), source[b:j])
    return tuple(result)


def _spaced(index: Index, step: int, n: int) -> tuple[Index, list[Condition]]:
    """``index / step`` where that is whole and from 0 to below n, and the conditions for it."""
    conditions = [Condition(index), Condition(of((n - 1) * step) - index)]
    return index // step, conditions + ([Condition(index % step, zero=True)] if step > 1 else [])


def _tighten(found: Reduction, lane: Var | None) -> None:
    """Turn conditions on a sum's term into bounds of its loops: where they fail, nothing is added."""
    while (
        isinstance(found.term, Guard) and isinstance(found.term.otherwise, Constant) and not found.term.otherwise.value
    ):
        left = []
        for condition in found.term.conditions:
            inner = [v for v in found.variables if not condition.zero and condition.index.coefficient(v) in (1, -1)]
            others = [v for v in found.variables if v in condition.index.variables() and v not in inner[:1]]
            if not inner or others or lane in condition.index.variables():
                left.append(condition)
            elif condition.index.coefficient(inner[0]) == 1:  # v + rest >= 0
                v = inner[0]
                found.lower[v] = (*found.lower.get(v, ()), of(v) - condition.index)
            else:  # rest - v >= 0
                v = inner[0]
                found.upper[v] = (*found.upper.get(v, ()), condition.index + of(v) + 1)
        then = found.term.then
        if left:
            found.term = Guard(tuple(left), then, found.term.otherwise)
            return
        found.term = then
