"""Functions that branch, one case at a time: what an expression is where its comparisons come out in one way."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import sympy as sp

Expr = Any


class Decided(sp.Function):  # type: ignore[misc]  # it is Any to mypy
    """What is one thing in one case and another in the next; SymPy leaves it alone."""

    @classmethod
    def eval(cls, *args: Any) -> None:
        """Nothing is known yet."""


class Less(Decided):
    """a < b, as 1 or 0."""


class LessEqual(Decided):
    """a ≤ b, as 1 or 0."""


class Equal(Decided):
    """a = b, as 1 or 0."""


class Branch(Decided):
    """(c, a, b): a where c is not 0, else b."""


class Largest(Decided):
    """The largest of its arguments; they are sorted, so that equal maxima are equal expressions."""

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """The same maximum with its arguments sorted; ``None`` if they are."""
        ordered = sorted(args, key=sp.default_sort_key)
        return None if ordered == list(args) else cls(*ordered)


class First(Decided):
    """The position of the largest of its arguments."""


#: That one expression is less than another, for some pairs.
Facts = tuple[tuple[Expr, Expr], ...]


class Undecided(Exception):  # noqa: N818 (a question, which the caller answers)
    """What is not known in this case: one of several facts, of which always one holds."""

    def __init__(self, *answers: Facts) -> None:
        self.answers = answers


@dataclass(frozen=True)
class Case:
    """What is known of the order of expressions: pairs of which the first is less. Ties are no case of their own."""

    facts: Facts = ()
    _known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def less(self, a: Expr, b: Expr) -> bool:
        """Whether a < b; raises :class:`Undecided` where nothing says so."""
        a, b = fact(a, b)
        if (a.is_number and b.is_number) or a in (sp.oo, -sp.oo) or b in (sp.oo, -sp.oo):
            return bool(a < b) if a.is_number and b.is_number else a == -sp.oo or b == sp.oo
        if b.is_number and a.is_positive and b <= 0:
            return False
        if a.is_number and b.is_positive and a <= 0:
            return True
        if self._follows(a, b):
            return True
        if self._follows(b, a):
            return False
        raise Undecided(((a, b),), ((b, a),))

    def _follows(self, a: Expr, b: Expr) -> bool:
        """Whether a < b follows from the facts, one after the other."""
        reached, pending = set(), [a]
        while pending:
            at = pending.pop()
            for low, high in self.facts:
                if (low == at or (low.is_number and at.is_number and at <= low)) and high not in reached:
                    if high == b or (high.is_number and b.is_number and high <= b):
                        return True
                    reached.add(high)
                    pending.append(high)
        return False

    def settled(self, e: Expr) -> Expr:
        """The expression with every comparison decided."""
        if not isinstance(e, sp.Basic) or not e.has(Decided):
            return e
        if e not in self._known:
            self._known[e] = self._settled(e)
        return self._known[e]

    def _settled(self, e: Expr) -> Expr:
        if isinstance(e, Branch):
            return self.settled(e.args[1] if self.settled(e.args[0]) != 0 else e.args[2])
        args = [self.settled(arg) for arg in e.args]
        match e:
            case Less() | LessEqual():  # the same thing twice is no tie of two
                same = args[0] == args[1]
                if same and not args[0].is_extended_real:
                    raise NotImplementedError(
                        f"whether {args[0]} is a number, as where it is compared with itself, is not known"
                    )
                return sp.Integer(int(isinstance(e, LessEqual) if same else self.less(*args)))
            case Equal():
                return sp.Integer(int(_equal(*args)))
            case Largest() | First():
                best = self._largest(args)
                return best if isinstance(e, Largest) else sp.Integer(args.index(best))
        return e.func(*args)

    def _largest(self, args: list[Expr]) -> Expr:
        """The one that all others are known to be less than; if it is not known, each may be."""
        left = list(dict.fromkeys(args))
        # Mostly this is all there is to find; of what has a minus sign the facts are the other way round.
        below = {low for low, high in self.facts if high in left} | {-high for low, high in self.facts if -low in left}
        left = [a for a in left if a not in below] or left
        for a, b in itertools.permutations(left, 2):
            with contextlib.suppress(Undecided):
                if a in left and b in left and self.less(a, b):
                    left.remove(a)
        if len(left) > 1:
            raise Undecided(*(tuple(fact(b, a) for b in left if b is not a) for a in left))
        return left[0]

    def __str__(self) -> str:
        return ", ".join(f"{a} < {b}" for a, b in self.facts)


@lru_cache(4096)
def _equal(a: Expr, b: Expr) -> bool:
    """Whether two expressions are the same; numbers at which they happen to be are ties, which are no case.

    Raises ``NotImplementedError`` for two that are written differently and have the same value nevertheless: what a
    computer says of them is a matter of rounding.
    """
    if a.is_infinite or b.is_infinite or (a.is_Atom and b.is_Atom) or (a == b and a.is_extended_real):
        return bool(a == b)
    rng = np.random.default_rng(0)
    symbols = sorted((a - b).free_symbols, key=str)
    for sign in (1, -1):
        values = {s: sp.Float(rng.uniform(0.3, 0.7), 20) * (1 if s.is_positive else sign) for s in symbols}
        difference = (a - b).evalf(20, values)
        if not (difference.is_number and abs(difference) > 1e-9):
            break
    else:
        return False
    raise NotImplementedError(f"whether {a} = {b} is a matter of rounding")


def fact(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """That a < b, without the minus signs: −b < −a is the same question."""
    turned = (_negative(a) and (_negative(b) or b.is_number)) or (_negative(b) and a.is_number)
    return (-b, -a) if turned else (a, b)


def _negative(e: Expr) -> bool:
    return bool(e.is_Mul and e.args[0] == -1)


def cases(look: Callable[[Case], None], most: int = 2000) -> int:
    """Look at every case that the comparisons in it can make; returns how many there were.

    ``look`` settles what it needs, and is asked again with one fact more wherever a comparison is open. Raises
    ``RuntimeError`` for more cases than ``most``.
    """
    pending, count = [Case()], 0
    while pending:
        case = pending.pop()
        try:
            look(case)
        except Undecided as question:
            pending += [Case((*case.facts, *answer)) for answer in question.answers]
        else:
            count += 1
        if count + len(pending) > most:
            raise RuntimeError(f"there are more than {most} cases")
    return count


def first_case(expressions: Iterable[Expr]) -> Case:
    """One of the cases, in which all of these are settled."""
    case, expressions = Case(), list(expressions)
    while True:
        try:
            for e in expressions:
                case.settled(e)
        except Undecided as question:
            case = Case((*case.facts, *question.answers[0]))
        else:
            return case


def point(case: Case, symbols: Iterable[Any], seed: int = 0) -> dict[Any, Any] | None:
    """Numbers for symbols that are in the order of a case; ``None`` if none are found."""
    rng, names = np.random.default_rng(seed), set(symbols)
    plain = [(low, high) for low, high in case.facts if all(e.is_Symbol or e.is_number for e in (low, high))]
    numbers = sorted({e for pair in plain for e in pair if e.is_number})
    order = TopologicalSorter({name: set() for name in names})
    for low, high in [*plain, *itertools.pairwise(numbers)]:
        order.add(high, low)
    ordered = list(order.static_order())
    for _ in range(100):
        values: dict[Any, Any] = {}
        floor, above = None, sorted(rng.uniform(0.1, 0.9, len(ordered)).tolist())
        for i, e in enumerate(ordered):
            if e.is_number:
                floor = float(e)
                continue
            ceiling = next((float(n) for n in ordered[i:] if n.is_number), None)
            low = floor if floor is not None else -1.0 if ceiling is None else ceiling - 2
            high = ceiling if ceiling is not None else low + 2
            share = above[i] if plain else rng.uniform(0.1, 0.9)
            values[e] = sp.Float(
                max(low + share * (high - low), 0.05) if e.is_positive else low + share * (high - low), 30
            )
        if all((a - b).evalf(20, values) < 0 for a, b in case.facts):
            return values
    return None
