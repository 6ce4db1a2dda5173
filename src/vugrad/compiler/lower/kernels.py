"""From a group of results to the kernel that computes them; those of a kind of their own are made here."""

from __future__ import annotations

import math

from vugrad.compiler.loops.index import Index, Indirect, Var, delinear, of
from vugrad.compiler.loops.program import (
    Condition,
    Constant,
    Kernel,
    Load,
    Loop,
    Prefetch,
    Statement,
    Store,
    guard,
)
from vugrad.compiler.lower.access import Access
from vugrad.compiler.lower.groups import Group
from vugrad.compiler.lower.memory import Stored
from vugrad.compiler.lower.nest import GroupLoops
from vugrad.compiler.lower.setting import Setting

#: So many elements of a row are dealt to the lanes at once: in float32 a line of the cache.
TURNED = 16


class Builder(Setting):
    """Makes the kernels of a program."""

    def kernel(self, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> Kernel:
        """The kernel of a group, for one block of the batch if ``block`` is given."""
        make = {"fetch": self._fetch, "scatter": self._scatter}.get(group.kind)
        body = make(group, block, stores) if make else GroupLoops(self, group, block, stores).body()
        return Kernel(self._title(group), body, list(group.members), self.fusion.flop(group))

    def _title(self, group: Group) -> str:
        """What the kernel computes, root first."""
        names = [self.program[i].primitive for i in group.members]
        return " + ".join(["fetch" if group.kind == "fetch" else names[0], *names[1:]])

    # --- kernels of their own kind

    def _fetch(self, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> list[Statement]:
        """Copy the batch's instances of an argument from where the order says."""
        number, x = group.root, self.program[group.root]
        n, row = x.shape[0], math.prod(x.shape[1:])
        assert self.order is not None
        body: list[Statement] = []
        for target in stores[number]:
            f = self.fresh("f", row)
            lanes = self.lanes if target.layout.blocked else self.width(x.dtype.itemsize, row)
            lane = self.fresh("lane", lanes)
            if target.layout.blocked:
                outer = block if block is not None else self.fresh("b", -(-n // lanes))
                i, column = of(outer) * lanes + of(lane), of(f)
                limit = of(n - 1) - i
            else:
                outer, chunk = self.fresh("i", n), self.fresh("c", -(-row // lanes))
                i, column = of(outer), of(chunk) * lanes + of(lane)
                limit = of(row - 1) - column
            position = Index({Indirect(Load(self.order, i), None): 1})
            value = Load(self.inputs[number], position * row + column)
            guarded = guard((Condition(limit),), value, Constant(0, x.dtype))
            at = target.offset((i, *delinear(column, x.shape[1:])))
            conditions = () if target.layout.blocked or row % lanes == 0 else (Condition(limit),)
            store = Store(target.buffer, at, guarded, conditions=conditions)
            inside: list[Statement] = self._turning(f, store) if target.layout.blocked else [Loop(chunk, [store])]
            inner: list[Statement] = [Loop(lane, inside, "lanes")]
            if target.layout.blocked and row > 1:
                inner = [*self._ahead(number, row, of(outer) * lanes, lanes), *inner]
            body += inner if outer is block else self.shared(outer, inner, True)
        return body

    def _turning(self, f: Var, store: Store) -> list[Statement]:
        """A loop along rows whose elements go to lanes: many at once, then those that are left."""
        if f.extent == 1:
            return [Loop(f, [store])]
        result: list[Statement] = []
        whole, left = divmod(f.extent, TURNED)
        for start, count, size in ((0, whole, TURNED), (whole * TURNED, 1, left)):
            if count and size:
                turn, inner = self.fresh(f.name, count), self.fresh(f.name, size)
                at = {f: of(turn) * size + start + of(inner)}
                same = Store(store.buffer, store.index.substitute(at), store.value.substitute(at))
                result.append(Loop(turn, [Loop(inner, [same], "turned")]))
        return result

    def _ahead(self, number: int, row: int, start: Index, lanes: int) -> list[Statement]:
        """Prefetches of all rows of a block: they lie anywhere, and one by one would each be waited for."""
        assert self.order is not None
        buffer = self.inputs[number]
        step = max(64 // buffer.dtype.itemsize, 1)
        i, line = self.fresh("i", lanes), self.fresh("line", -(-row // step))
        position = Index({Indirect(Load(self.order, start + of(i)), None): 1})
        body: list[Statement] = [Prefetch(buffer, position * row + of(line) * step)]
        return [Loop(i, [Loop(line, body)], upper=(of(self.order.size) - start,))]

    def _scatter(self, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> list[Statement]:
        """Zeros, to which values are then added one by one, in order, by one thread."""
        number, x = group.root, self.program[group.root]
        values = self.program[x.operands[0]]
        body: list[Statement] = []
        for target in stores[number]:
            every = self.fresh("z", target.layout.size)
            body.append(Loop(every, [Store(target.buffer, of(every), Constant(0, x.dtype))]))
            variables = [self.fresh("s", n) for n in values.shape]
            value, at = Access(self.program, self.leaf(group, None, {})).scattered(
                number, tuple(of(v) for v in variables)
            )
            inner: list[Statement] = [Store(target.buffer, target.offset(at), value, add=True)]
            for v in reversed(variables):
                inner = [Loop(v, inner)]
            body += inner
        return self.by_one(body)
