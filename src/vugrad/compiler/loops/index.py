"""Whole-number expressions of loop variables: where in a buffer a kernel reads and writes.

An :class:`Index` is a sum of multiples of atoms plus a number. An atom is a loop variable, the floor division or the
remainder of another index by a number, or a position that is itself read from a buffer. Sums and multiples are kept in
one normal form, so that what is equal looks equal: ``4 * (f // 4) + f % 4`` is ``f``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Var:
    """A loop variable, from 0 to below ``extent``."""

    name: str
    extent: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Div:
    """``index // k``, rounded down."""

    index: Index
    k: int

    def __str__(self) -> str:
        return f"({self.index})//{self.k}"


@dataclass(frozen=True)
class Mod:
    """``index % k``, from 0 to below k."""

    index: Index
    k: int

    def __str__(self) -> str:
        return f"({self.index})%{self.k}"


@dataclass(frozen=True, eq=False)
class Indirect:
    """A position read from a buffer, by the expression ``at``: wrapped once if negative, kept in 0 … extent − 1.

    An extent of ``None`` is that of an argument's rows, against which the plan checks every position before it runs.
    """

    at: Any
    extent: int | None

    def __str__(self) -> str:
        return f"[{self.at}]"


Atom = Var | Div | Mod | Indirect


class Index:
    """A sum of multiples of atoms, plus a number.

    >>> h, w = Var("h", 4), Var("w", 6)
    >>> flat = 6 * of(h) + of(w) + 1
    >>> print(flat, "|", flat // 6, "|", (6 * of(h) + of(w)) // 6)
    6h+w+1 | h+(w+1)//6 | h
    """

    __slots__ = ("_hash", "constant", "terms")

    def __init__(self, terms: Mapping[Atom, int] | None = None, constant: int = 0) -> None:
        self.terms: dict[Atom, int] = dict(terms) if terms else {}
        self.constant = constant
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((frozenset(self.terms.items()), self.constant))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.constant == other.constant and self.terms == other.terms

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other)
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            if total := terms.get(atom, 0) + c:
                terms[atom] = total
            else:
                terms.pop(atom, None)
        return _recombined(terms, self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, k: int) -> Index:
        return Index({atom: c * k for atom, c in self.terms.items()}, self.constant * k) if k else Index()

    __rmul__ = __mul__

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other)

    def __rsub__(self, other: int) -> Index:
        return -self + other

    def __floordiv__(self, k: int) -> Index:
        whole, rest = _split(self, k)
        quotient = Index({atom: c // k for atom, c in whole.terms.items()}, whole.constant // k)
        low, high = rest.range()
        if low // k == high // k:
            return quotient + low // k
        for g in sorted({math.gcd(k, c) for c in rest.terms.values()} - {1, k}, reverse=True):
            outer, inner = _split(rest, g)
            low, high = inner.range()
            if low >= 0 and high < g:  # the inner part never reaches the next multiple of g
                return quotient + Index({a: c // g for a, c in outer.terms.items()}, outer.constant // g) // (k // g)
        atom = next(iter(rest.terms))
        if isinstance(atom, Div) and rest.terms == {atom: 1}:  # (e // j + c) // k
            return quotient + (atom.index + rest.constant * atom.k) // (atom.k * k)
        return quotient + Index({Div(rest, k): 1})

    def __mod__(self, k: int) -> Index:
        rest = _split(self, k)[1]
        low, high = rest.range()
        if low // k == high // k:
            return rest - low // k * k
        for g in sorted({math.gcd(k, c) for c in rest.terms.values()} - {1, k}, reverse=True):
            outer, inner = _split(rest, g)
            low, high = inner.range()
            if low >= 0 and high < g:
                return Index({a: c // g for a, c in outer.terms.items()}, outer.constant // g) % (k // g) * g + inner
        return Index({Mod(rest, k): 1})

    def range(self) -> tuple[int, int]:
        """The least and the largest value, by the extents of the atoms alone."""
        low = high = self.constant
        for atom, c in self.terms.items():
            first, last = _range(atom)
            low, high = low + min(c * first, c * last), high + max(c * first, c * last)
        return low, high

    def variables(self) -> set[Var]:
        """Every loop variable in it, at any depth."""
        found: set[Var] = set()
        for atom in self.terms:
            if isinstance(atom, Var):
                found.add(atom)
            elif isinstance(atom, Div | Mod):
                found |= atom.index.variables()
            else:
                found |= atom.at.variables()
        return found

    def substitute(self, values: Mapping[Var, Index]) -> Index:
        """The index with some variables replaced."""
        if not self.terms:
            return self
        result = Index(None, self.constant)
        for atom, c in self.terms.items():
            if isinstance(atom, Var):
                part = values.get(atom)
                result = result + (part * c if part is not None else Index({atom: c}))
            elif isinstance(atom, Indirect):
                result = result + Index({Indirect(atom.at.substitute(values), atom.extent): c})
            else:
                inner = atom.index.substitute(values)
                part = inner // atom.k if isinstance(atom, Div) else inner % atom.k
                result = result + part * c
        return result

    def number(self) -> int | None:
        """The value, if it does not depend on any atom."""
        return None if self.terms else self.constant

    def coefficient(self, var: Var) -> int | None:
        """By how much the index grows with ``var``; ``None`` where that is not one number."""
        if any(not isinstance(atom, Var) and _varies(atom, var) for atom in self.terms):
            return None
        return self.terms.get(var, 0)

    def __str__(self) -> str:
        parts = [
            f"{'-' if c == -1 else '' if c == 1 else c}{atom}"
            for atom, c in sorted(self.terms.items(), key=lambda item: -abs(item[1]))
        ]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return "+".join(parts).replace("+-", "-")

    __repr__ = __str__


def of(x: Var | int) -> Index:
    """A variable or a number as an index."""
    return Index(None, x) if isinstance(x, int) else Index({x: 1})


def linear(indices: Iterable[Index], shape: Iterable[int]) -> Index:
    """The position in row-major order of the element at ``indices``."""
    result = Index()
    for index, n in zip(indices, shape, strict=True):
        result = result * n + index if n != 1 else result
    return result


def delinear(flat: Index, shape: tuple[int, ...]) -> tuple[Index, ...]:
    """The indices of the element at a position in row-major order."""
    indices: list[Index] = []
    for n in reversed(shape[1:]):
        indices.append(flat % n if n > 1 else Index())
        flat = flat // n if n > 1 else flat
    return (*([flat] if shape else []), *reversed(indices))


def _varies(atom: Atom, var: Var) -> bool:
    """Whether an atom may depend on a variable, be it by what a local holds."""
    if isinstance(atom, Div | Mod):
        return any(_varies(a, var) for a in atom.index.terms)
    return atom == var if isinstance(atom, Var) else var in atom.at.variables() or atom.at.reads_locals()


def _range(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Var):
        return 0, max(atom.extent - 1, 0)
    if isinstance(atom, Div):
        low, high = atom.index.range()
        return low // atom.k, high // atom.k
    if isinstance(atom, Mod):
        low, high = atom.index.range()
        return (low, high) if low >= 0 and high < atom.k else (0, atom.k - 1)
    return 0, max((atom.extent or 1) - 1, 0)


def _split(index: Index, k: int) -> tuple[Index, Index]:
    """The part that is a multiple of k whatever the atoms, and the rest."""
    whole = {atom: c for atom, c in index.terms.items() if c % k == 0}
    rest = {atom: c for atom, c in index.terms.items() if c % k}
    return Index(whole, index.constant // k * k), Index(rest, index.constant % k)


def _recombined(terms: dict[Atom, int], constant: int) -> Index:
    """The sum in normal form: c·k·(e // k) + c·(e % k) is c·e."""
    for atom, c in terms.items():
        if isinstance(atom, Mod):
            quotient = Div(atom.index, atom.k)
            if terms.get(quotient) == c * atom.k:
                rest = {other: d for other, d in terms.items() if other not in (atom, quotient)}
                return Index(rest, constant) + atom.index * c
            if quotient not in terms:
                simple = atom.index // atom.k  # a quotient that is no atom of its own
                part = simple * (c * atom.k)
                if part.terms and all(terms.get(a) == d for a, d in part.terms.items()) and not part.constant:
                    rest = {other: d for other, d in terms.items() if other != atom and other not in part.terms}
                    return Index(rest, constant) + atom.index * c
    return Index(terms, constant)
