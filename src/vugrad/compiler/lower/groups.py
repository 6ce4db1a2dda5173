"""Fusion: which results are stored, and which are computed together in one kernel.

A result is stored if it leaves the program, if it is reduced to, if a contraction reads it many times, or if it is too
costly to compute again for each of its users. Everything else is computed where it is used. A stored result that needs
others only at its own place joins the kernel that makes one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vugrad.compiler.arrays import VIEWS, Program
from vugrad.compiler.loops.index import Index, Var, linear, of
from vugrad.compiler.loops.program import Constant, Expression
from vugrad.compiler.lower.access import SUMS, Access, Place, counts_along, is_reduction
from vugrad.compiler.lower.batch import batch_axes, batched

#: So many operations may be done again for each user before a result is stored; so many may be in one expression.
CHEAP, LONG = 3, 100
#: An expression is written out for each of its users, x + x for both: so many parts may it then have.
PARTS = 1000
COST = {
    **dict.fromkeys(("div", "sqrt"), 4),
    **dict.fromkeys(("exp", "log", "expm1", "log1p", "tanh", "sigmoid", "erf", "sin", "cos", "log2", "log10"), 12),
    **dict.fromkeys(("tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "pow", "bits"), 40),
}
#: A sum over the batch is added up block by block if each element takes so many terms, or if there are few elements.
MANY_TERMS, FEW_SUMS = 16, 1024
#: Rows this long fill the lanes.
WIDE = 8


@dataclass(eq=False)
class Group:
    """What one kernel computes: a root and the results that joined it, each at a place given by the kernel's axes.

    ``kind`` is "fetch" (an argument's instances, by the order of the epoch), "blocked" (each block of the batch by
    itself), "partial" (a sum over the batch, added up block by block), "scatter", or "plain".
    """

    number: int
    root: int
    axes: tuple[Var, ...]
    kind: str
    batch: Var | None
    members: dict[int, Place] = field(default_factory=dict)
    sources: set[int] = field(default_factory=set)
    before: set[int] = field(default_factory=set)


class Fusion:
    """The groups of a program, in an order in which they can run.

    Args:
        program: simplified and verified.
        n: the size of the batch.
        blocked: whether results with a batch axis are stored in blocks of it.
        last: results that are computed after all others, each by a kernel of its own.
        first: results of inputs that are stored in any case, before all others.
    """

    def __init__(
        self,
        program: Program,
        n: int,
        blocked: bool,
        last: frozenset[int] = frozenset(),
        first: frozenset[int] = frozenset(),
    ) -> None:
        self.program, self.blocked, self.last, self.first = program, blocked, last, first
        self.batch, self.fetched = batch_axes(program, n), batched(program, n)
        self.users = program.users()
        self.stored = self._stored()
        self.groups: list[Group] = []
        self.home: dict[int, Group] = {}
        early = {*self.fetched, *first}
        for number in sorted(self.stored, key=lambda i: (i in last, i not in early, i)):
            self._place(number)

    # --- what is stored

    def is_leaf(self, number: int) -> bool:
        """Whether a result lies in memory: it is stored, an input, or an array of constants."""
        x = self.program[number]
        if x.primitive == "constant":
            return x.size != 1 and counts_along(x) is None
        return number in self.stored or x.primitive == "input"

    def _stored(self) -> set[int]:
        program = self.program
        stored = (
            {output.number for output in program.outputs} | {program[i].operands[0] for i in self.last} | self.first
        )
        for number, x in enumerate(program.instructions):
            if x.primitive == "input":
                if number in self.fetched:
                    stored.add(number)
            elif x.primitive == "scatter" or (is_reduction(x, program) and not self._merges(number)):
                stored.add(number)
            if x.primitive in ("contract", "gather", "scatter") or (x.primitive == "window" and self._overlaps(number)):
                for operand in x.operands[: 1 if x.primitive == "scatter" else None]:
                    base = self._base(operand)
                    if program[base].family != "source" and not self._merges(base):
                        stored.add(base)
        stored -= {i for i in stored if program[i].primitive == "constant" and program[i].size == 1 and self.users[i]}
        inside: dict[int, frozenset[int]] = {}  # of what is not stored, the instructions that compute it
        parts: dict[int, int] = {}  # and how many there are if each is written out for each of its users
        for number, x in enumerate(program.instructions):
            inside[number], parts[number] = frozenset(), 1
            if x.family == "source" or number in stored:
                continue
            needed = frozenset({number}).union(*(inside.get(i, frozenset()) for i in x.operands))
            cost = sum(COST.get(program[i].primitive, program[i].family == "element-wise") for i in needed)
            again = len(set(self.users[number])) > 1 or any(program[user].size > x.size for user in self.users[number])
            again = again and x.family != "movement" and x.dtype.kind != "b"
            many = 1 + sum(parts[i] for i in x.operands)
            long = cost > LONG or many > PARTS
            if long or (again and cost > CHEAP) or (x.primitive == "pad" and self._contracted(number)):
                stored.add(number)
            else:
                inside[number], parts[number] = needed, many
        return stored | {output.number for output in program.outputs}

    def _base(self, number: int) -> int:
        """The result that a chain of views looks at."""
        while self.program[number].primitive in VIEWS:
            number = self.program[number].operands[0]
        return number

    def _overlaps(self, number: int) -> bool:
        x = self.program[number]
        return any(k > s for k, s in zip(x.parameters["kernel"], x.parameters["stride"], strict=True))

    def _contracted(self, number: int) -> bool:
        return any(
            self.program[user].primitive in ("contract", "window")
            or (self.program[user].primitive in VIEWS and self._contracted(user))
            for user in self.users[number]
        )

    def _merges(self, number: int) -> bool:
        """Whether a sum is only ever a term of another sum, so that both can be one."""
        if self.program[number].primitive not in SUMS or any(o.number == number for o in self.program.outputs):
            return False
        users = set(self.users[number])
        while len(users) == 1:
            user = users.pop()
            x = self.program[user]
            if any(o.number == user for o in self.program.outputs):
                return False
            if x.primitive in ("fold", "sum"):
                return is_reduction(x, self.program)
            if x.primitive not in VIEWS or x.primitive == "broadcast":
                return False
            users = set(self.users[user])
        return False

    # --- what is computed together

    def _place(self, number: int) -> None:
        """Let a stored result join a group, or begin one."""
        x = self.program[number]
        axes = tuple(Var(f"{name}", n) for name, n in zip(_names(len(x.shape)), x.shape, strict=True))
        place = tuple(of(v) for v in axes)
        reads, terms = self.reads(number, place)
        sources = {i for i, _ in reads}
        joins = (
            not is_reduction(x, self.program)
            and x.primitive not in ("input", "scatter")
            and number not in self.last
            and x.size > 0
        )
        for group in (
            sorted({self.home[i] for i in sources if i in self.home}, key=lambda g: -g.number) if joins else ()
        ):
            mapping = self._mapping(group, reads, axes)
            others = {self.home[i] for i in sources if i in self.home} - {group}
            if mapping is None or any(self._after(other, group) for other in others):
                continue
            group.members[number] = tuple(i.substitute(mapping) for i in place)
            group.sources |= sources
            group.before |= {other.number for other in others}
            self.home[number] = group
            return
        group = Group(len(self.groups), number, axes, *self._kind(number, axes, reads, terms))
        group.members[number] = place
        group.sources = sources
        group.before = {self.home[i].number for i in sources if i in self.home}
        if number in self.last:
            group.before = {other.number for other in self.groups if other.root not in self.last}
        self.groups.append(group)
        self.home[number] = group

    def reads(self, number: int, place: Place) -> tuple[list[tuple[int, Place]], list[Var]]:
        """What lies in memory and is read for one element, and the variables that it is reduced over."""
        found: list[tuple[int, Place]] = []

        def leaf(i: int, at: Place) -> Expression | None:
            if i != number and self.is_leaf(i):
                found.append((i, at))
                return Constant(0, self.program[i].dtype)
            return None

        access = Access(self.program, leaf)
        x = self.program[number]
        if x.primitive == "input":
            return [], []
        if x.primitive == "scatter":
            access.scattered(
                number, tuple(of(Var(f"s{i}", n)) for i, n in enumerate(self.program[x.operands[0]].shape))
            )
            return found, []
        if is_reduction(x, self.program):
            return found, access.reduction(number, place).variables
        access.element(number, place)
        return found, []

    def _bounded(self, number: int, axes: tuple[Var, ...]) -> set[Var]:
        """The variables of a reduction whose bounds depend on the place, as those of windows that are folded do."""
        access = Access(
            self.program, lambda i, _: Constant(0, self.program[i].dtype) if i != number and self.is_leaf(i) else None
        )
        found = access.reduction(number, tuple(of(v) for v in axes))
        return {*found.lower, *found.upper}

    def _kind(
        self, number: int, axes: tuple[Var, ...], reads: list[tuple[int, Place]], terms: list[Var]
    ) -> tuple[str, Var | None]:
        x = self.program[number]
        if x.primitive == "input":
            return "fetch", axes[0] if self.is_blocked(number) else None
        if x.primitive == "scatter":
            return "scatter", None
        if not self.blocked:
            return "plain", None
        axis = self.batch[number]
        at = {places[self.batch[i]] for i, places in reads if self.batch[i] is not None and self.is_blocked(i)}  # type: ignore[index]
        if axis is not None:
            return ("blocked", axes[axis]) if at <= {of(axes[axis])} else ("plain", None)
        inner = 1
        whole = {self.program[i].shape[self.batch[i]] for i, _ in reads if self.is_blocked(i)}  # type: ignore[index]
        over = [v for v in terms if at == {of(v)} and {v.extent} == whole and v not in self._bounded(number, axes)]
        for v in terms:
            inner *= v.extent if v not in over else 1
        if over and x.primitive in SUMS and (inner >= MANY_TERMS or x.size <= FEW_SUMS):
            return "partial", over[0]
        return "plain", over[0] if over else None

    def rows(self, group: Group) -> int | None:
        """Of a sum of products over the batch, outside of its blocks: the factor of which it wants whole rows.

        With the instances in the lanes, the lanes of every result must be added up at the end. With a row of the factor
        in them that is spared, at the price of a copy in which rows lie together (an argument's rows do anyway). To
        copy a number costs about as much as to add up the lanes of a result.
        """
        x = self.program[group.root]
        if group.kind != "plain" or group.batch is None or x.primitive != "contract" or not x.shape:
            return None
        last = group.axes[-1]
        for i, place in self.reads(group.root, tuple(of(v) for v in group.axes))[0]:
            if self.is_blocked(i) and linear(place, self.program[i].shape).coefficient(last) == 1:
                worth = x.size > group.batch.extent * last.extent
                if last.extent >= WIDE and (worth or self.program[i].primitive == "input"):
                    return i
        return None

    def flop(self, group: Group) -> int:
        """The operations of the whole batch."""
        total = 0
        for number in group.members:
            x = self.program[number]
            if is_reduction(x, self.program):
                _, variables = self.reads(number, tuple(of(v) for v in group.axes))
                total += 2 * x.size * math.prod(v.extent for v in variables)
            elif x.family == "element-wise":
                total += x.size
        return total

    def is_blocked(self, number: int) -> bool:
        """Whether a result lies in memory in blocks of the batch."""
        return self.blocked and self.batch[number] is not None and number in self.stored

    def _after(self, later: Group, earlier: Group) -> bool:
        """Whether ``later`` needs, by way of any others, what ``earlier`` computes."""
        pending, seen = [later.number], set[int]()
        while pending:
            number = pending.pop()
            if number == earlier.number:
                return True
            if number not in seen:
                seen.add(number)
                pending.extend(self.groups[number].before)
        return False

    def _mapping(self, group: Group, reads: list[tuple[int, Place]], axes: tuple[Var, ...]) -> dict[Var, Index] | None:
        """The result's own axes in terms of the group's, if it reads all members at one place that is its own."""
        if group.kind in ("partial", "scatter", "fetch") or (
            group.kind == "plain" and group.batch is not None and self.rows(group) is None
        ):
            return None
        mapping: dict[Var, Index] = {}
        for i, place in reads:
            if i in group.members:
                for mine, theirs in zip(place, group.members[i], strict=True):
                    own = _single(mine)
                    if own is None:
                        if mine != theirs:
                            return None
                    elif mapping.setdefault(own, theirs) != theirs:
                        return None
        mapped = {v for v in axes if v.extent > 1}
        if not mapping or mapped - set(mapping):
            return None
        targets = [_single(mapping[v]) for v in mapped]
        if None in targets or set(targets) != {v for v in group.axes if v.extent > 1}:
            return None
        if len(set(targets)) < len(targets) or any(_single(mapping[v]).extent != v.extent for v in mapped):  # type: ignore[union-attr]
            return None  # it is larger than what it reads, or only a part of it
        for v in axes:
            mapping.setdefault(v, Index())
        if group.batch is not None and group.kind == "blocked":
            instances = {place[self.batch[i]].substitute(mapping) for i, place in reads if self.is_blocked(i)}  # type: ignore[index]
            if instances != {of(group.batch)} or of(group.batch) not in mapping.values():
                return None
        return mapping

    def order(self, earlier: Group, later: Group) -> bool:
        """Make one group run before another; ``False`` if it cannot."""
        if self._after(earlier, later):
            return False
        later.before.add(earlier.number)
        return True


def _single(index: Index) -> Var | None:
    """The variable that an index is, if it is one."""
    if len(index.terms) == 1 and not index.constant:
        ((atom, c),) = index.terms.items()
        if c == 1 and isinstance(atom, Var):
            return atom
    return None


def _names(n: int) -> list[str]:
    return list("nchwijklmpqrstuvxyz"[:n]) if n <= 19 else [f"d{i}" for i in range(n)]
