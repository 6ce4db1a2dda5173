"""An array program by index: one element of a result as an expression, its derivative, and a normal form of both.

Sums and maxima bind their indices: ``SUM(term, (k, N))`` is Σ_k of the term, for k from 0 to below N. Conditions are
numbers, 1 where they hold and 0 elsewhere, and ``GT(u, v)`` is [u > v]; at ties, where u = v, nothing is claimed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.symbolic import FORMULAS, is_ordinary
from vugrad.check.zero import exact
from vugrad.compiler.arrays.program import Instruction, Program

Expr = Any
At = tuple[Expr, ...]

SUM, TOP, LOW = (sp.Function(name, real=True) for name in ("Σ", "max over", "min over"))
ARGMAX, ARGMIN, DELTA, GT = (sp.Function(name, integer=True) for name in ("argmax", "argmin", "δ", ">"))
MAX, MIN, WHERE, SIGMOID = (sp.Function(name, real=True) for name in ("max", "min", "where", "σ"))
REDUCTIONS = {"sum": SUM, "maximum": TOP, "minimum": LOW, "argmax": ARGMAX, "argmin": ARGMIN}


class NoIndexForm(ValueError):  # noqa: N818 (it is what the result lacks)
    """A result whose elements have no one formula in their indices, such as a padded array's."""


ELEMENTWISE: dict[str, Callable[..., Expr]] = {
    **FORMULAS,
    "max": MAX,
    "min": MIN,
    "where": WHERE,
    "lt": lambda u, v: GT(v, u),
    "gt": GT,
    "le": lambda u, v: 1 - GT(u, v),
    "ge": lambda u, v: 1 - GT(v, u),
    "xor": lambda u, v: u + v - 2 * u * v,
    "abs": sp.Abs,
    "sign": sp.sign,
    "sigmoid": SIGMOID,
}


def letters_in(number: float, extents: Mapping[int, Expr]) -> Expr:
    """A number, exactly; in whole numbers, and in fractions by them, with the letters of the extents.

    >>> letters_in(2 / 13, {13: sp.Symbol("N")}), letters_in(12, {13: sp.Symbol("N")})
    (2/N, N - 1)
    """
    if 0 < abs(number) < 1 and 1 / round(1 / number) == number:
        return 1 / letters_in(round(1 / number), extents)
    whole = exact(float(number))
    if whole.is_Rational and whole.q > 1 and any(whole.q % extent == 0 for extent in extents):
        return letters_in(int(whole.p), extents) / letters_in(int(whole.q), extents)
    letters = sp.Integer(1)
    for extent, letter in extents.items() if whole.is_Integer else ():
        if whole == extent - 1:
            return letters * (letter - 1)
        while whole and whole % extent == 0:
            whole, letters = whole / extent, letters * letter
    return letters * whole


class Reading:
    """A program, to be read element by element.

    Args:
        program: whose extents are 1 or different primes, so that an extent in a number is seen.
        names: of its inputs and of such results as shall not be looked into, by their numbers.
        extents: the letter of each extent.
    """

    def __init__(self, program: Program, names: Mapping[int, str], extents: Mapping[int, Expr]) -> None:
        self.program, self.names, self.extents = program, names, extents
        self.fresh = itertools.count()
        #: What is taken to differ where the program asks whether it is equal.
        self.unequal: list[Expr] = []
        self.known: dict[tuple[int, At], Expr] = {}

    def element(self, number: int, at: At) -> Expr:
        """One element of a result; an axis of extent 1 has the index 0."""
        if (number, at) not in self.known:  # the same sum has the same index wherever it stands
            self.known[number, at] = self._element(number, at)
        return self.known[number, at]

    def _element(self, number: int, at: At) -> Expr:
        x = self.program[number]
        if number in self.names:
            return named(self.names[number], at)
        if x.family == "element-wise":
            return self._elementwise(x, [self._operand(i, at) for i in x.operands])
        if x.family == "reduction":
            rest, axes = iter(at), x.parameters["axes"]
            index, binds = self._bound([(a, n, None if a in axes else next(rest)) for a, n in self._axes(x)])
            term = self.element(x.operands[0], tuple(index.values()))
            if not binds:
                return sp.Integer(0) if x.primitive.startswith("arg") else term
            return REDUCTIONS[x.primitive](term, *binds)
        method: Callable[[Instruction, At], Expr] | None = getattr(self, f"_{x.primitive}", None)
        if method is None:
            raise NoIndexForm(f"{x.primitive} has no form by index")
        return method(x, at)

    def _axes(self, x: Instruction) -> Iterable[tuple[int, int]]:
        return enumerate(self.program[x.operands[0]].shape)

    def _operand(self, number: int, at: At) -> Expr:
        """An operand's element, where it is broadcast."""
        shape = self.program[number].shape
        last = at[len(at) - len(shape) :]
        return self.element(number, tuple(sp.Integer(0) if n == 1 else i for n, i in zip(shape, last, strict=True)))

    def _bound(self, axes: Iterable[tuple[Any, int, Expr]]) -> tuple[dict[Any, Expr], list[Expr]]:
        """The index of each axis, a new one where there is None, and what binds the new ones."""
        index, binds = {}, []
        for axis, extent, given in axes:
            index[axis] = sp.Integer(0) if given is None else given
            if given is None and extent != 1:
                index[axis] = sp.Symbol(f"k{next(self.fresh)}", integer=True)
                binds.append(sp.Tuple(index[axis], self.extents.get(extent, sp.Integer(extent))))
        return index, binds

    def _elementwise(self, x: Instruction, us: list[Expr]) -> Expr:
        kinds = [self.program[i].dtype.kind for i in x.operands]
        if x.primitive == "cast" and (kinds[0] != "f" or x.dtype.kind == "f"):
            return us[0]
        if x.primitive in ("eq", "ne"):
            equal = DELTA(*us)
            if "f" in kinds:
                self.unequal.append(sp.Ne(*us, evaluate=False))
                equal = sp.Integer(0)
            return equal if x.primitive == "eq" else 1 - equal
        if x.primitive not in ELEMENTWISE or not is_ordinary(x, [self.program[i].dtype for i in x.operands]):
            raise NoIndexForm(f"{x.primitive} of {x.type} has no form by index")
        if x.primitive == "where" and us[0].is_Number:
            return us[1] if us[0] else us[2]
        return ELEMENTWISE[x.primitive](*us)

    def _constant(self, x: Instruction, at: At) -> Expr:
        value = x.parameters["value"]
        varies = [a for a, n in enumerate(value.shape) if n > 1 and np.any(value != value.take([0], a))]
        if not varies and value.size:
            return letters_in(float(value.flat[0]), self.extents)
        if len(varies) == 1:
            line = np.moveaxis(value, varies[0], 0).reshape(value.shape[varies[0]], -1)[:, 0]
            if np.array_equal(line, np.arange(line.size)):
                return at[varies[0]]
        if value.ndim == 2 and np.array_equal(value, np.eye(*value.shape)):
            return DELTA(*at)
        raise NoIndexForm("an array of given numbers has no form by index")

    def _reshape(self, x: Instruction, at: At) -> Expr:
        shape = self.program[x.operands[0]].shape
        if [n for n in shape if n != 1] != [n for n in x.shape if n != 1]:
            raise NoIndexForm(f"reshape of {shape} to {x.shape} has no form by index")
        rest = iter([i for i, n in zip(at, x.shape, strict=True) if n != 1])
        return self.element(x.operands[0], tuple(sp.Integer(0) if n == 1 else next(rest) for n in shape))

    def _transpose(self, x: Instruction, at: At) -> Expr:
        return self.element(x.operands[0], tuple(at[x.parameters["axes"].index(a)] for a, _ in self._axes(x)))

    def _broadcast(self, x: Instruction, at: At) -> Expr:
        return self._operand(x.operands[0], at)

    def _concatenate(self, x: Instruction, at: At) -> Expr:
        axis = x.parameters["axis"]
        parts = {self.element(i, (*at[:axis], sp.Integer(0), *at[axis + 1 :])) for i in x.operands}
        if len(parts) > 1 or any(self.program[i].shape[axis] != 1 for i in x.operands):
            raise NoIndexForm("concatenate has a form by index only for copies of one array")
        return parts.pop()

    def _pad(self, x: Instruction, at: At) -> Expr:
        if any(any(widths) for widths in x.parameters["widths"]):
            raise NoIndexForm("pad has no form by index")
        return self.element(x.operands[0], at)

    def _places(self, x: Instruction, at: At) -> list[Expr]:
        """The indices of a gather or scatter on each of its axes."""
        return [self._operand(i, at) for i in x.operands[1:]]

    def _gather(self, x: Instruction, at: At) -> Expr:
        axes = x.parameters["axes"]
        picked = len(at) - len(self.program[x.operands[0]].shape) + len(axes)
        places, rest = dict(zip(axes, self._places(x, at[:picked]), strict=True)), iter(at[picked:])
        return self.element(x.operands[0], tuple(places[a] if a in places else next(rest) for a, _ in self._axes(x)))

    def _scatter(self, x: Instruction, at: At) -> Expr:
        """The sum of the operand's elements whose place is ``at``."""
        axes = x.parameters["axes"]
        rest = tuple(i for a, i in enumerate(at) if a not in axes)
        picked = [(a, n, None) for a, n in self._axes(x)][: len(self.program[x.operands[0]].shape) - len(rest)]
        index, binds = self._bound(picked)
        places = self._places(x, tuple(index.values()))
        pairs = (sorted((place, at[a]), key=str) for a, place in zip(axes, places, strict=True))
        hits = (DELTA(i, k) if i != k else sp.Integer(1) for i, k in pairs)
        term = sp.Mul(self.element(x.operands[0], (*index.values(), *rest)), *hits)
        return SUM(term, *binds) if binds else term

    def _contract(self, x: Instruction, at: At) -> Expr:
        *terms, output = x.parameters["subscripts"].replace("->", ",").split(",")
        extents = {
            c: n for t, i in zip(terms, x.operands, strict=True) for c, n in zip(t, self.program[i].shape, strict=True)
        }
        given = dict(zip(output, at, strict=True))
        index, binds = self._bound([(c, n, given.get(c)) for c, n in extents.items()])
        factors = [self.element(i, tuple(index[c] for c in t)) for t, i in zip(terms, x.operands, strict=True)]
        return SUM(sp.Mul(*factors), *binds) if binds else sp.Mul(*factors)


def named(name: str, at: At) -> Expr:
    """An element of an array of that name, or the number that has it."""
    return sp.IndexedBase(name, real=True)[at] if at else sp.Symbol(name, real=True)
