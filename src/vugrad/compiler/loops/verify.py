"""The loops' verifier: it proves that no kernel reads or writes outside of a buffer, before any code is made.

Every loop bound and condition on the way to an access is a fact, an index that is at least 0 there. An index is proved
to be small enough by its atoms' ranges alone, or after facts were added to it that cancel some of its terms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from vugrad.compiler.loops.index import Div, Index, Indirect, Mod, Var, of
from vugrad.compiler.loops.program import (
    AcrossLanes,
    BlockLoop,
    Buffer,
    Condition,
    Constant,
    Define,
    Expression,
    Guard,
    Kernel,
    Load,
    Loop,
    LoopProgram,
    Position,
    Prefetch,
    Read,
    Statement,
    Store,
    Update,
)

Facts = tuple[Index, ...]
#: So many indices are looked at to prove that one access is within its buffer.
PATIENCE = 5000


def verify(program: LoopProgram, mend: bool = False) -> None:
    """Raise ``ValueError`` that names the kernel and the access for a program that could touch what is not its own.

    Also wrong: a variable that no loop around gives a value, a local that is read before it is defined, and a vector
    that is stored in one place for all lanes.

    Not all that is true can be proved. With ``mend``, an access of which that is so is kept within its buffer from then
    on, at the cost of some instructions: it is safe, and where it was right before it is the same.
    """
    for stage in program.stages:
        for part in stage.parts:
            known = {stage.thread}
            facts: Facts = ()
            if isinstance(part, BlockLoop):
                known.add(part.var)
                facts = loop_facts(part.var, part.lower, part.upper)
            for kernel in part.kernels if isinstance(part, BlockLoop) else [part]:
                _Checker(kernel, program.buffers, mend).body(kernel.body, known, facts, None, set())


def loop_facts(var: Var, lower: Sequence[Index], upper: Sequence[Index]) -> Facts:
    """What holds of a loop's variable inside it."""
    return (*(of(var) - low for low in lower), *(high - 1 - of(var) for high in upper))


def at_most(index: Index, limit: int, facts: Facts) -> bool:
    """Whether an index is surely no larger than a number where the facts hold.

    >>> h, i = Var("h", 12), Var("i", 5)
    >>> at_most(of(h) - of(i), 7, ()), at_most(of(h) - of(i), 7, (of(i) - of(h) + 7,))
    (False, True)
    """
    if index.range()[1] <= limit:
        return True
    bounds = _Bounds(_with_cuts(facts))
    return any(bounds.upper(index, limit, depth) <= limit for depth in (1, 2, 3, 4))


class _Bounds:
    """Upper bounds of indices where some facts hold; of so many indices at most that it does not take long."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.left = facts, PATIENCE
        self.known: dict[tuple[Index, int], int] = {}

    def upper(self, index: Index, enough: float, depth: int) -> int:
        """The least bound that is found by adding up to ``depth`` facts, or one that is small enough."""
        if depth <= 0:
            return index.range()[1]
        best, seen, newest = self.plain(index, depth), {index}, [index]
        for _ in range(depth):
            found: list[Index] = []
            for old in newest:
                for fact in self.facts:
                    for atom, d in fact.terms.items():
                        c = old.terms.get(atom, 0)
                        if best <= enough or self.left <= 0:
                            return best
                        if c * d < 0 and c % d == 0 and (new := old + fact * (-c // d)) not in seen:
                            seen.add(new)
                            found.append(new)
                            best = min(best, self.plain(new, depth))
            newest = found
        return best

    def within(self, index: Index, depth: int) -> int:
        """The bound of what stands in a quotient or remainder."""
        if (index, depth) not in self.known:
            self.known[index, depth] = self.upper(index, -math.inf, depth - 1)
        return self.known[index, depth]

    def plain(self, index: Index, depth: int) -> int:
        """The bound by the ranges of the atoms, without the facts but for what is in quotients and remainders."""
        self.left -= 1
        total, terms = index.constant, dict(index.terms)
        for quotient in sorted((a for a in terms if isinstance(a, Div)), key=lambda a: -abs(terms[a])):
            if quotient in terms:  # c (e // k) + c m … is c ((e + k m) // k)
                c, k = terms[quotient], quotient.k
                rest = Index({a: d // c * k for a, d in terms.items() if d % c == 0 and a != quotient})
                whole, terms = rest + quotient.index, {a: d for a, d in terms.items() if d % c}
                total += c * (self.within(whole, depth) // k if c > 0 else -self.within(-whole, depth) // k)
        for atom, c in terms.items():
            low, high = Index({atom: 1}).range()
            if isinstance(atom, Mod) and c > 0 and high == atom.k - 1 and self.within(-atom.index, depth) <= 0:
                high = min(high, self.within(atom.index, depth))
            total += max(c * low, c * high)
        return total


@functools.lru_cache(1024)
def _with_cuts(facts: Facts) -> Facts:
    """The facts, and what follows of them for whole numbers: of 2n + m + 3 >= 0, m from −1 to 0, that n + 1 >= 0."""
    more = dict.fromkeys(facts)
    tops = {atom: f.constant for f in facts for atom, c in f.terms.items() if len(f.terms) == 1 and c == -1}
    bottoms = {atom: -f.constant for f in facts for atom, c in f.terms.items() if len(f.terms) == 1 and c == 1}
    for fact in facts:
        for atom in fact.terms:
            if isinstance(atom, Div | Mod):
                quotient, most = Div(atom.index, atom.k), tops.get(Mod(atom.index, atom.k), atom.k - 1)
                rest = atom.index - Index({quotient: atom.k})  # the remainder
                more |= dict.fromkeys((rest, most - rest))
                if quotient in tops:
                    more[tops[quotient] * atom.k + most - atom.index] = None
                if quotient in bottoms:
                    more[atom.index - bottoms[quotient] * atom.k] = None
    for fact in list(more):
        for k in {abs(c) for c in fact.terms.values()} - {1}:
            top = Index({a: c for a, c in fact.terms.items() if c % k}, fact.constant).range()[1]
            more[Index({a: c // k for a, c in fact.terms.items() if c % k == 0}, top // k)] = None
    return tuple(more)


class _Checker:
    def __init__(self, kernel: Kernel, buffers: list[Buffer], mend: bool) -> None:
        self.kernel, self.buffers, self.mend = kernel, set(buffers), mend
        self.varying: set[str] = set()  # the locals that may differ from lane to lane

    def fail(self, what: str) -> ValueError:
        return ValueError(f"kernel {self.kernel.name!r}: {what}")

    def body(self, body: list[Statement], known: set[Var], facts: Facts, lane: Var | None, locals_: set[str]) -> None:
        """Check statements under what is known on the way to them."""
        for x in body:
            match x:
                case Loop():
                    for index in (*x.lower, *x.upper):
                        self.index(index, known, facts, locals_)
                    if x.kind == "lanes" and lane is not None:
                        raise self.fail("lanes within lanes")
                    if not x.var.extent:  # the body never runs
                        continue
                    inner = x.var if x.kind == "lanes" else lane
                    more = (*facts, *loop_facts(x.var, x.lower, x.upper))
                    self.body(x.body, known | {x.var}, more, inner, locals_)
                case Define() | Update():
                    if isinstance(x, Update) and x.local not in locals_:
                        raise self.fail(f"{x.local} is updated before it is defined")
                    self.expression(x.value, known, facts, locals_)
                    locals_.add(x.local)
                    # A number that is defined inside the lanes begins a sum for each of them.
                    if lane is not None and (isinstance(x.value, Constant) or _varies(x.value, lane, self.varying)):
                        self.varying.add(x.local)
                case Prefetch():  # a hint may name any place
                    self.index(x.index, known, facts, locals_)
                case Store():
                    within = (*facts, *self.conditions(x.conditions, known, facts, locals_))
                    self.expression(x.value, known, within, locals_)
                    self.access(x, known, within, locals_)
                    if lane is not None and x.value.dtype != x.buffer.dtype:
                        raise self.fail(f"{x.value.dtype} is stored in {x.buffer}")
                    if (
                        lane is not None
                        and lane.extent > 1
                        and lane not in x.index.variables()
                        and _varies(x.value, lane, self.varying)
                    ):
                        raise self.fail(f"different lanes are stored at one place, {x.buffer.name}[{x.index}]")

    def conditions(
        self, conditions: tuple[Condition, ...], known: set[Var], facts: Facts, locals_: set[str]
    ) -> list[Index]:
        """The facts that conditions add, checked themselves."""
        for condition in conditions:
            self.index(condition.index, known, facts, locals_)
        return [f for c in conditions for f in ((c.index, -c.index) if c.zero else (c.index,))]

    def expression(self, x: Expression, known: set[Var], facts: Facts, locals_: set[str]) -> None:
        """Check all that an expression reads."""
        if isinstance(x, Guard):
            then = self.conditions(x.conditions, known, facts, locals_)
            self.expression(x.then, known, (*facts, *then), locals_)
            fails = [-c.index - 1 for c in x.conditions if len(x.conditions) == 1 and not c.zero]
            self.expression(x.otherwise, known, (*facts, *fails), locals_)
            return
        if isinstance(x, Load):
            self.access(x, known, facts, locals_)
            return
        if isinstance(x, Read) and x.local not in locals_:
            raise self.fail(f"{x.local} is read before it is defined")
        for index in x.indices():
            self.index(index, known, facts, locals_)
        for part in x.parts():
            self.expression(part, known, facts, locals_)

    def index(self, index: Index, known: set[Var], facts: Facts, locals_: set[str]) -> None:
        """Check an index's variables, and what its positions are read from."""
        for atom in index.terms:
            if isinstance(atom, Var):
                if atom not in known:
                    raise self.fail(f"{atom.name} has no value in {index}")
            elif isinstance(atom, Indirect):
                self.expression(atom.at, known, facts, locals_)
            else:
                self.index(atom.index, known, facts, locals_)

    def access(self, x: Load | Store, known: set[Var], facts: Facts, locals_: set[str]) -> None:
        """Prove that an access is inside its buffer."""
        buffer, index = x.buffer, x.index
        if buffer not in self.buffers:
            raise self.fail(f"{buffer.name} is no buffer of the program")
        self.index(index, known, facts, locals_)
        size = buffer.size
        for atom, c in index.terms.items():
            if isinstance(atom, Indirect) and atom.extent is None:  # a row of an argument, which the plan checks
                if c != buffer.row or buffer.role != "argument":
                    raise self.fail(f"{buffer.name}[{index}] picks rows of {buffer.row} by steps of {c}")
                index, size = index - Index({atom: c}), buffer.row
                break
        if not (at_most(index, size - 1, facts) and at_most(-index, 0, facts)):
            if not self.mend:
                low, high = index.range()
                raise self.fail(f"{buffer.name}[{index}] may be anywhere from {low} to {high}, of {size} elements")
            x.index = x.index - index + Index({Indirect(Position(index, np.dtype(np.int64)), size): 1})


def _varies(x: Expression, lane: Var, varying: set[str]) -> bool:
    """Whether an expression may differ from lane to lane, as some locals may; a reduction over the lanes does not."""
    if isinstance(x, AcrossLanes):
        return False
    if isinstance(x, Read):
        return x.local in varying
    return any(lane in i.variables() for i in x.indices()) or any(_varies(part, lane, varying) for part in x.parts())
