"""How many elements a kernel computes at once in registers: the choice that decides the speed of a contraction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from vugrad.compiler.loops.index import Var
from vugrad.compiler.loops.program import Expression, Load, walk

FACTORS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Operand:
    """A load of a contraction's term: the variables it depends on, and the vectors that it fills.

    One number, spread over all lanes, fills one, and is more likely to be in the nearest cache.
    """

    variables: frozenset[Var]
    vectors: int
    spread: bool


def operands(term: Expression, lane: Var | None, vectors: int) -> list[Operand]:
    """The different loads of a term."""
    found: dict[str, Operand] = {}
    for x in walk(term):
        if isinstance(x, Load):
            variables = frozenset(x.variables())
            found[str(x)] = Operand(variables, vectors if lane in variables else 1, lane not in variables)
    return list(found.values())


def choose(
    candidates: Sequence[Var], loads: Iterable[Operand], vectors: int, registers: int, turned: Collection[Var] = ()
) -> dict[Var, int]:
    """For each variable how many of its values are computed at once.

    The cost of a choice is the instructions for each multiply-add: two multiply-adds and two loads can begin in a
    cycle. All sums must stay in registers, a quarter of which is left for the operands. Variables of ``turned`` loops
    come in fours.
    """
    budget = registers * 3 // 4
    loads = list(loads)
    best: tuple[float, int] | None = None
    chosen: dict[Var, int] = {}
    for picked in _pairs(candidates):
        for factors in itertools.product(*(_factors(v, v in turned) for v in picked)):
            size = math.prod(factors)
            if size * vectors > budget:
                continue
            factor = dict(zip(picked, factors, strict=True))
            counts = [(o, o.vectors * math.prod(factor.get(v, 1) for v in o.variables)) for o in loads]
            reads = sum(n for _, n in counts)
            traffic = sum(n if o.spread else 2 * n for o, n in counts)
            work = size * vectors
            tail = 1 + 0.5 * sum(v.extent % f / v.extent for v, f in factor.items())
            # Few sums wait for themselves: each takes four cycles, and two begin in one.
            cost = (max(work, reads, 8) + 0.15 * traffic) / work * tail
            key = (round(cost, 3), -size)
            if best is None or key < best:
                best, chosen = key, factor
    return {v: f for v, f in chosen.items() if f > 1}


def _factors(v: Var, turned: bool) -> list[int]:
    """How many values there may be; what is turned is turned four by four."""
    return [f for f in FACTORS if f <= v.extent and (f % 4 == 0 or not turned or v.extent < 4)]


def _pairs(candidates: Sequence[Var]) -> list[tuple[Var, ...]]:
    """Every choice of up to two variables."""
    return [c for n in (0, 1, 2) for c in itertools.combinations(candidates, n)]
