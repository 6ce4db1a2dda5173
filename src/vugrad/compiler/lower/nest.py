"""The loops of a kernel: which axis fills the lanes, what is computed at once, and what each thread does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vugrad.compiler.loops.index import Div, Index, Mod, Var, of
from vugrad.compiler.loops.program import (
    AcrossLanes,
    Call,
    Condition,
    Constant,
    Define,
    Expression,
    Load,
    Loop,
    Position,
    Prefetch,
    Read,
    Statement,
    Store,
    Update,
    guard,
    walk,
)
from vugrad.compiler.lower import tiles
from vugrad.compiler.lower.access import Access, Place, Reduction, is_reduction, reduced_how
from vugrad.compiler.lower.groups import Group
from vugrad.compiler.lower.memory import Stored
from vugrad.compiler.lower.setting import Setting
from vugrad.compiler.lower.sums import LONG, MANY_SUMS, TERMS, TOTAL, in_parts

#: A kernel with fewer element operations is one thread's.
SMALL = 1 << 13
#: A reduction's innermost loop of up to so many turns is written out.
UNROLLED = 8
#: An array of more bytes is not in a nearby cache.
LARGE = 1 << 18
#: So many bytes are near enough to be read again and again.
NEAR = 1 << 20

Values = dict[Var, Index]
BOOL = np.dtype(bool)


class GroupLoops:
    """The loops of one group: over blocks, axes and lanes, tiles written out, reductions innermost."""

    def __init__(self, setting: Setting, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> None:
        self.b, self.group, self.block, self.stores = setting, group, block, stores
        self.program = setting.program
        self.root = group.root
        self.reduces = is_reduction(self.program[self.root], self.program)
        self.fixed: Values = {v: Index() for v in group.axes if v.extent == 1}
        self.lane: Var | None = None
        self.over_lanes: int | None = None  # the reduction's variable that fills the lanes, by its position
        self.limits: list[Condition] = []  # what a lane must satisfy to count
        self.bounds: list[Condition] = []  # the same, of the tile at hand
        self.outer: list[Var] = []  # loops that splitting off the lanes leaves
        self.turned: list[Var] = []  # up to two axes of which several elements are read or written for each lane

    def body(self) -> list[Statement]:
        """All statements of the kernel."""
        if any(v.extent == 0 for v in self.group.axes):
            return []
        self._choose_lanes()
        dims = [v for v in self.group.axes if v not in self.fixed]
        far = self._far()
        dims = self.outer + dims if far else dims + self.outer
        self._choose_turned(dims)
        factors = self._factors(dims, far)
        work = max(self.b.fusion.flop(self.group), self.program[self.root].size)
        alone = self.block is not None or work < SMALL
        parallel = None if alone else max(dims, key=lambda v: v.extent // factors.get(v, 1), default=None)
        inner = self._nest(dims, factors, dict(self.fixed), [], parallel)
        if self.lane is not None:
            inner = [Loop(self.lane, inner, "lanes")]
        return self.b.by_one(inner) if self.block is None and parallel is None else inner

    def _far(self) -> bool:
        """Whether the vectors of a product are too many to be near for every tile: then they are read once."""
        found = self._reduction(dict(self.fixed)) if self.outer else None
        loads = [x for x in walk(found.term) if isinstance(x, Load)] if found is not None else []
        return sum(x.buffer.nbytes for x in loads if self.lane in x.index.variables()) > NEAR

    # --- lanes

    def _choose_lanes(self) -> None:
        group, b = self.group, self.b
        itemsize = self.program[self.root].dtype.itemsize
        if group.kind == "blocked":
            assert group.batch is not None
            n = group.batch.extent
            self.lane = b.fresh("lane", b.lanes)
            block = self.block
            if block is None:
                block = b.fresh("b", -(-n // b.lanes))
                self.outer.append(block)
            self.fixed[group.batch] = of(block) * b.lanes + of(self.lane)
            if n % b.lanes:
                self.limits = [Condition(of(n - 1) - self.fixed[group.batch])]
            return
        dry = self._reduction(dict(self.fixed))
        candidates: list[tuple[float, int, Var | int]] = []
        if dry is not None and dry.how in ("sum", "maximum", "minimum"):
            for k, v in enumerate(dry.variables):
                if v.extent > 1 and v not in dry.lower and v not in dry.upper:
                    candidates.append((self._lane_cost(v, dry, None), 1, k))
        if group.kind != "partial":
            candidates += [(self._lane_cost(v, dry, v), 0, v) for v in group.axes if v.extent > 1]
        if not candidates:
            return
        pick = min(candidates, key=lambda c: c[:2])[2]
        if isinstance(pick, int):
            assert dry is not None
            self.over_lanes, v = pick, dry.variables[pick]
            width = b.width(itemsize, v.extent)
            self.lane = b.fresh("lane", min(width, b.lanes) if self._is_batch(v) else width)
            return
        lanes = b.width(itemsize, pick.extent)
        self.lane = b.fresh("lane", lanes)
        outer = b.fresh(pick.name, -(-pick.extent // lanes))
        self.outer.append(outer)
        self.fixed[pick] = of(outer) * lanes + of(self.lane)
        if pick.extent % lanes:
            self.limits = [Condition(of(pick.extent - 1) - self.fixed[pick])]

    def _is_batch(self, v: Var) -> bool:
        """Whether a reduction's variable runs over the batch in blocks."""
        return self.group.batch is not None and self.group.kind in ("partial", "plain") and v == self.group.batch

    def _lane_cost(self, v: Var, dry: Reduction | None, domain: Var | None) -> float:
        """How badly an axis suits the lanes: what is contiguous along it is good, what jumps is bad."""
        width = self.b.width(self.program[self.root].dtype.itemsize, v.extent)
        # As it will be: some of the axis in the lanes, or of the batch, which lies in blocks.
        lane = Var("lane", self.b.lanes if domain is None and self._is_batch(v) else width)
        split = of(Var("outer", -(-v.extent // lane.extent))) * lane.extent + of(lane)
        place = tuple(i.substitute({**self.fixed, v: split}) for i in self.group.members[self.root])
        access = Access(self.program, self.b.leaf(self.group, lane, {}))
        if dry is not None:
            again = access.reduction(self.root, place)
            same = dict(zip(again.variables, map(of, dry.variables), strict=True))
            if domain is None:
                same[again.variables[dry.variables.index(v)]] = split
            value = again.term.substitute(same)
        else:
            value = access.element(self.root, place)
        cost = 1.0
        for x in walk(value):
            if isinstance(x, Load):
                step = x.index.coefficient(lane)
                cost += {0: 0.2, 1: 1.0}.get(-1 if step is None else step, 8.0)
        if domain is not None:
            for target in self.stores.get(self.root, ()):
                step = target.offset(place).coefficient(lane)
                cost += 1.0 if step == 1 else 8.0 if dry is None else 2.0
        else:
            cost += 1.5  # the lanes' sum at the end
        return cost * (-(-v.extent // width) * width / v.extent) / width

    def _choose_turned(self, dims: list[Var]) -> None:
        """Axes that are better read or written some elements at a time, and turned into lanes in registers."""
        if self.lane is None or self.over_lanes is not None:
            return
        done: dict[int, Expression] = {}
        if self.reduces:
            done[self.root] = Read("acc", (), self.program[self.root].dtype)
        access = Access(self.program, self.b.leaf(self.group, self.lane, done))
        indices: list[Index] = []
        for number, member in self.group.members.items():
            place = tuple(i.substitute(self.fixed) for i in member)
            indices += [target.offset(place) for target in self.stores.get(number, ())]
            if number not in done:
                indices += [x.index for x in walk(access.element(number, place)) if isinstance(x, Load)]
        along = self._along(indices)
        self.turned = [v for v in dims if v.extent > 1 and v in along][:2]

    def _along(self, indices: Iterable[Index]) -> set[Var]:
        """The variables along which memory lies where it jumps from lane to lane."""
        if self.lane is None:
            return set()
        jumps = [index for index in indices if index.coefficient(self.lane) not in (0, 1)]
        return {v for index in jumps for v in index.variables() if index.coefficient(v) == 1}

    # --- the nest

    def _reduction(self, values: Values) -> Reduction | None:
        if not self.reduces:
            return None
        place = tuple(i.substitute(values) for i in self.group.members[self.root])
        return Access(self.program, self.b.leaf(self.group, self.lane, {})).reduction(self.root, place, self.lane)

    def _factors(self, dims: list[Var], far: bool) -> dict[Var, int]:
        """How many values of each axis are computed at once; where much is far, what is read least often counts."""
        itemsize = self.program[self.root].dtype.itemsize
        lanes = self.lane.extent if self.lane is not None else 1
        vectors = max(1, lanes * itemsize // self.b.machine.vector_bytes)
        found = self._reduction(dict(self.fixed))
        if found is None:
            most = max(self.b.machine.registers // 2 // vectors, 1) if len(self.turned) == 1 else 4
            return {v: min(v.extent, most) for v in self.turned} | self._phases(dims)
        if found.how.startswith("arg") or math.prod(v.extent for v in found.variables) < 4:
            return {}
        bound = {
            v for indices in (*found.lower.values(), *found.upper.values()) for i in indices for v in i.variables()
        }
        candidates = [v for v in dims if v not in bound and v.extent > 1]
        term = found.term
        if self.over_lanes is not None:
            v = found.variables[self.over_lanes]
            if self.lane is not None:
                term = term.substitute({v: of(Var("outer", v.extent)) * self.lane.extent + of(self.lane)})
        loads = tiles.operands(term, self.lane, vectors)
        return tiles.choose(candidates, loads, vectors, self.b.machine.registers, () if far else self.turned)

    def _phases(self, dims: list[Var]) -> dict[Var, int]:
        """Axes whose remainder by a small number decides what is computed: that many values at once."""
        factors: dict[Var, int] = {}
        access = Access(self.program, self.b.leaf(self.group, self.lane, {}))
        for number, at in self.group.members.items():
            place = tuple(i.substitute(self.fixed) for i in at)
            for x in walk(access.element(number, place)):
                for index in x.indices():
                    for atom in index.terms:
                        if isinstance(atom, Div | Mod) and atom.k <= 4:
                            for v in atom.index.variables() & set(dims):
                                if v.extent % atom.k == 0 and atom.index.coefficient(v) == 1:
                                    factors[v] = max(factors.get(v, 1), atom.k)
        return factors

    def _nest(
        self, dims: list[Var], factors: dict[Var, int], values: Values, unrolled: list[Var], parallel: Var | None
    ) -> list[Statement]:
        """Loops over the axes that are left, then the innermost statements; twice where a tile does not fit."""
        if not dims:
            return self._element(values, unrolled)
        v, rest = dims[0], dims[1:]
        factor = factors.get(v, 1)
        whole, left = divmod(v.extent, factor)
        result: list[Statement] = []
        for start, count, size in ((0, whole, factor), (whole * factor, 1, left)):
            if not count or not size:
                continue
            turn, inner = self.b.fresh(v.name, count), self.b.fresh(v.name, size)
            at = of(turn) * size + start + (of(inner) if size > 1 else 0)
            body = self._nest(rest, factors, {**values, v: at}, [*unrolled, inner] if size > 1 else unrolled, parallel)
            result += self.b.shared(turn, body, count > 1) if v is parallel else [Loop(turn, body)]
        return result

    def _element(self, values: Values, unrolled: list[Var]) -> list[Statement]:
        """The statements for one tile of elements."""
        values = _resolved(values)
        self.bounds = [c.substitute(values) for c in self.limits]
        at = tuple(of(v) for v in unrolled)
        copies: Callable[[list[Statement]], list[Statement]] = lambda body: self._wrapped(body, unrolled)  # noqa: E731
        statements: list[Statement] = []
        members: dict[int, Expression] = {}
        place = tuple(i.substitute(values) for i in self.group.members[self.root])
        if self.reduces:
            statements, members[self.root] = self._reduce(place, at, copies)
        access = Access(self.program, self.b.leaf(self.group, self.lane, members))
        reduced = len(statements)
        stores: list[Statement] = []
        for number, member in self.group.members.items():
            there = tuple(i.substitute(values) for i in member)
            if number not in members:
                value = self._masked(access.element(number, there))
                statements += copies([Define(f"r{number}", at, value)])
                members[number] = Read(f"r{number}", at, self.program[number].dtype)
                access = Access(self.program, self.b.leaf(self.group, self.lane, members))
            for target in self.stores.get(number, ()):
                stores += copies([self._store(target, there, members[number])])
        return [*self._fetched_early(statements[reduced:], copies), *statements, *stores]

    def _wrapped(self, body: list[Statement], unrolled: list[Var]) -> list[Statement]:
        """Statements for each of the elements that are computed at once, one axis of which may be turned."""
        along = self._along(index for x in body for index in _indices(x))
        turned = next((v for v in unrolled if v in along), None)
        if turned is not None:
            body = [Loop(turned, body, "turned")]
        for v in reversed(unrolled):
            if v is not turned:
                body = [Loop(v, body, "unrolled")]
        return body

    def _fetched_early(
        self, epilogue: list[Statement], copies: Callable[[list[Statement]], list[Statement]]
    ) -> list[Statement]:
        """Prefetches, before a long reduction, of the large arrays that are needed after it."""
        found: dict[str, Statement] = {}
        for value in _values(epilogue) if self.reduces and self.group.kind == "plain" else ():
            for x in walk(value):
                if isinstance(x, Load) and x.buffer.nbytes > LARGE:
                    found[str(x)] = Prefetch(x.buffer, x.index)
        return copies(list(found.values())) if found else []

    def _store(self, target: Stored, place: Place, value: Expression) -> Store:
        offset = target.offset(place)
        if self.group.kind == "partial":
            offset = offset + of(self.b.thread) * target.layout.size
        padded = target.layout.blocked and self.group.kind == "blocked"
        conditions = () if padded or self.over_lanes is not None else tuple(self.bounds)
        if value.dtype != target.buffer.dtype:
            value = Call("cast", (value,), target.buffer.dtype)
        return Store(target.buffer, offset, value, self.group.kind == "partial", conditions)

    def _masked(self, value: Expression) -> Expression:
        """Nothing is read for lanes beyond the end, except of what is stored in whole blocks."""
        if not self.bounds or self.lane is None:
            return value
        whole = self.group.kind == "blocked"
        padded = {s.buffer for copies in self.b.stored.values() for s in copies if whole and s.layout.blocked}
        for x in walk(value):
            if isinstance(x, Load) and x.buffer not in padded and self.lane in x.index.variables():
                return guard(tuple(self.bounds), value, Constant(0, value.dtype))
        return value

    def _arg(self) -> bool:
        return self.program[self.root].primitive.startswith("arg")

    def _how(self) -> str:
        return reduced_how(self.program[self.root])

    def _reduce(
        self, place: Place, at: tuple[Index, ...], copies: Callable[[list[Statement]], list[Statement]]
    ) -> tuple[list[Statement], Expression]:
        """The accumulators with the loops that fill them, and the result."""
        dtype = self.program[self.root].dtype
        found = Access(self.program, self.b.leaf(self.group, self.lane, {})).reduction(self.root, place, self.lane)
        values: Values = {}
        limits = list(self.bounds) if self.over_lanes is None else []
        loops: list[Loop] = []
        for k, v in enumerate(found.variables):
            if k == self.over_lanes or (
                self._is_batch(v) and self.b.lanes > 1 and v not in found.lower and not self._arg()
            ):
                loops += self._split(v, values, limits, k == self.over_lanes)
            else:
                loops.append(Loop(v, [], "serial", found.lower.get(v, ()), found.upper.get(v, ())))
        term = found.term.substitute(values)
        if self._arg():
            return self._search(found, loops, at, copies), Read("best", at, dtype)
        how = self._how()
        empty = Constant(_neutral(how, dtype), dtype)
        if limits and (len(limits) > len(self.bounds) or self._masked(term) is not term):
            term = guard(tuple(limits), term, empty)
        held: Expression = Read("acc", at, dtype)
        outer: list[Loop] = []
        if how == "sum" and dtype.kind == "f":
            many = self.program[self.root].primitive != "sum" and math.prod(i.range()[1] + 1 for i in at) >= MANY_SUMS
            if math.prod(loop.var.extent for loop in loops) > (LONG if many else TERMS):
                outer, loops, parts = in_parts(loops, TERMS, self.b.fresh)
                term = term.substitute(parts)
        body = copies([Update("acc", at, how, term)])
        last = loops[-1] if loops else None
        if last is not None and not last.lower and not last.upper and last.var.extent <= UNROLLED:
            last.kind = "unrolled"
        body = [*copies([Define("acc", at, empty)]), *_around(loops, body)]
        if outer:
            body += copies([Update("total", at, how, Call("cast", (held,), TOTAL))])
            body = [*copies([Define("total", at, Constant(0, TOTAL))]), *_around(outer, body)]
            held = Read("total", at, TOTAL)
        if self.over_lanes is not None and self.lane is not None:
            held = AcrossLanes(how, held)
        return body, Call("cast", (held,), dtype) if outer else held

    def _split(self, v: Var, values: Values, limits: list[Condition], over_lanes: bool) -> list[Loop]:
        """A reduction's variable that fills the lanes, or runs over the batch in blocks: the loops for it."""
        lanes = self.lane.extent if self.lane is not None and over_lanes else 1
        inner = of(self.lane) if self.lane is not None and over_lanes else Index()
        if not self._is_batch(v):
            outer = self.b.fresh(v.name, -(-v.extent // lanes))
            values[v] = of(outer) * lanes + inner
            loops = [Loop(outer, [])]
        else:
            parts = self.b.fresh("half", self.b.lanes // lanes)
            block = self.block
            loops = [Loop(parts, [])]
            if block is None:
                block = self.b.fresh("b", -(-v.extent // self.b.lanes))
                loops = [Loop(block, []), *loops]
            values[v] = of(block) * self.b.lanes + of(parts) * lanes + inner
        if values[v].range()[1] >= v.extent:
            limits.append(Condition(of(v.extent - 1) - values[v]))
        return loops

    def _search(
        self,
        found: Reduction,
        loops: list[Loop],
        at: tuple[Index, ...],
        copies: Callable[[list[Statement]], list[Statement]],
    ) -> list[Statement]:
        """The position of the first largest or smallest element; of the first NaN if there is one."""
        dtype = found.term.dtype
        where = self.program[self.root].dtype
        best, position = Read("top", at, dtype), Read("best", at, where)
        value = self._masked(found.term)
        candidate = Read("candidate", at, dtype)
        ahead: Expression = Call("gt" if found.how == "argmax" else "lt", (candidate, best), BOOL)
        first = Position(-of(found.variables[0]), where)
        if dtype.kind == "f":
            news = Call(
                "and", (Call("isnan", (candidate,), BOOL), Call("not", (Call("isnan", (best,), BOOL),), BOOL)), BOOL
            )
            ahead = Call("or", (ahead, news), BOOL)
        start = Call("eq", (first, Constant(0, where)), BOOL)
        ahead = Call("or", (ahead, start), BOOL)
        here = Position(of(found.variables[0]), where)
        body = copies(
            [
                Update("candidate", at, "set", value),
                Update("best", at, "set", Call("where", (ahead, here, position), where)),
                Update("top", at, "set", Call("where", (ahead, candidate, best), dtype)),
            ]
        )
        # The position is chosen by what was the best before, so it is set first.
        body = _around(loops, body)
        zero = [
            Define(name, at, Constant(0, kind))
            for name, kind in (("candidate", dtype), ("top", dtype), ("best", where))
        ]
        return [*copies(list(zero)), *body]


def _around(loops: list[Loop], body: list[Statement]) -> list[Statement]:
    """Statements nested in loops; the last loop is the innermost."""
    for loop in reversed(loops):
        loop.body = body
        body = [loop]
    return body


def _resolved(values: Values) -> Values:
    """Values whose own variables were replaced by later ones, in full."""
    result = {}
    for v, index in values.items():
        while any(w in values for w in index.variables()):
            index = index.substitute(values)
        result[v] = index
    return result


def _values(body: list[Statement]) -> list[Expression]:
    """What some statements define."""
    return [
        v
        for x in body
        for v in (_values(x.body) if isinstance(x, Loop) else [x.value] if isinstance(x, Define) else [])
    ]


def _indices(x: Statement) -> list[Index]:
    """Where a statement reads and writes."""
    if isinstance(x, Loop | Prefetch):
        return []
    return [*([x.index] if isinstance(x, Store) else []), *(y.index for y in walk(x.value) if isinstance(y, Load))]


def _neutral(how: str, kind: np.dtype[Any]) -> float | int | bool:
    if how == "sum":
        return 0
    if kind.kind == "b":
        return how == "minimum"
    if kind.kind == "f":
        return -math.inf if how == "maximum" else math.inf
    return int(np.iinfo(kind).min if how == "maximum" else np.iinfo(kind).max)
