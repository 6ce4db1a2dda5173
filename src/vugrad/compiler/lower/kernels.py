"""From a group of results to the kernel that computes them; those of a kind of their own are made here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from vugrad.compiler.arrays import Program
from vugrad.compiler.loops.index import Index, Indirect, Var, delinear, linear, of
from vugrad.compiler.loops.program import (
    Buffer,
    Condition,
    Constant,
    Expression,
    Kernel,
    Load,
    Loop,
    Prefetch,
    Statement,
    Store,
    guard,
)
from vugrad.compiler.lower.access import Access, Place
from vugrad.compiler.lower.groups import Fusion, Group
from vugrad.compiler.lower.memory import Stored
from vugrad.compiler.lower.nest import GroupLoops


@dataclass
class Machine:
    """What the loops are made for: the bytes of a vector, how many vectors fit in registers, and how many threads."""

    vector_bytes: int
    registers: int
    threads: int


class Builder:
    """Makes the kernels of a program.

    Args:
        program: the array program.
        fusion: its groups.
        stored: where each result lies, in one layout or two.
        inputs: the buffers of inputs and constants that are read where they are.
        order: the buffer with the positions of the batch's instances.
        lanes: the instances in a block of the batch.
        machine: what the loops are made for.
        thread: the thread's number.
    """

    def __init__(
        self,
        program: Program,
        fusion: Fusion,
        stored: dict[int, list[Stored]],
        inputs: dict[int, Buffer],
        order: Buffer | None,
        lanes: int,
        machine: Machine,
        thread: Var,
    ) -> None:
        self.program, self.fusion, self.stored, self.inputs = program, fusion, stored, inputs
        self.order, self.lanes, self.machine, self.thread = order, lanes, machine, thread
        self.names = itertools.count()

    def kernel(self, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> Kernel:
        """The kernel of a group, for one block of the batch if ``block`` is given."""
        make = {"fetch": self._fetch, "scatter": self._scatter}.get(group.kind)
        body = make(group, block, stores) if make else GroupLoops(self, group, block, stores).body()
        return Kernel(self._title(group), body, list(group.members), self.fusion.flop(group))

    def _title(self, group: Group) -> str:
        """What the kernel computes, root first."""
        names = [self.program[i].primitive for i in group.members]
        return " + ".join(["fetch" if group.kind == "fetch" else names[0], *names[1:]])

    def fresh(self, name: str, extent: int) -> Var:
        """A new loop variable."""
        return Var(f"{name}{next(self.names)}", extent)

    # --- reading

    def leaf(
        self, group: Group, lane: Var | None, members: dict[int, Expression]
    ) -> Callable[[int, Place], Expression | None]:
        """Reads what lies in memory, from the layout that suits the lanes, or what the kernel has just computed."""

        def read(number: int, place: Place) -> Expression | None:
            if number in group.members:
                return members.get(number)
            if number in self.stored:
                copies = self.stored[number]
                if len(copies) > 1 and lane is not None:
                    copies = sorted(copies, key=lambda s: s.offset(place).coefficient(lane) != 1)
                return copies[0].load(place)
            if number in self.inputs:
                return Load(self.inputs[number], linear(place, self.program[number].shape))
            return None

        return read

    # --- who does what

    def shared(self, var: Var, body: list[Statement], parts: bool) -> list[Statement]:
        """A loop of which each thread does its part, or the first thread everything."""
        threads = self.machine.threads
        if threads == 1:
            return [Loop(var, body)]
        if not parts:
            return self.by_one([Loop(var, body)])
        chunk = -(-var.extent // threads)
        first = of(self.thread) * chunk
        return [Loop(var, body, lower=(first,), upper=(first + chunk,))]

    def by_one(self, body: list[Statement]) -> list[Statement]:
        """What the first thread does alone."""
        if self.machine.threads == 1:
            return body
        return [Loop(self.fresh("once", 1), body, lower=(of(self.thread),))]

    # --- kernels of their own kind

    def _fetch(self, group: Group, block: Var | None, stores: dict[int, list[Stored]]) -> list[Statement]:
        """Copy the batch's instances of an argument from where the order says."""
        number, x = group.root, self.program[group.root]
        n, row = x.shape[0], math.prod(x.shape[1:])
        assert self.order is not None
        body: list[Statement] = []
        for target in stores[number]:
            f = self.fresh("f", row)
            lanes = self.lanes if target.layout.axis is not None else self.width(x.dtype.itemsize, row)
            lane = self.fresh("lane", lanes)
            if target.layout.axis is not None:
                outer = block if block is not None else self.fresh("b", -(-n // lanes))
                i, column, inside = of(outer) * lanes + of(lane), of(f), Loop(f, [])
                limit = of(n - 1) - i
            else:
                outer, chunk = self.fresh("i", n), self.fresh("c", -(-row // lanes))
                i, column, inside = of(outer), of(chunk) * lanes + of(lane), Loop(chunk, [])
                limit = of(row - 1) - column
            position = Index({Indirect(Load(self.order, i), None): 1})
            value = Load(self.inputs[number], position * row + column)
            guarded = guard((Condition(limit),), value, Constant(0, x.dtype))
            at = target.offset((i, *_delinear(column, x.shape[1:])))
            conditions = () if target.layout.axis is not None or row % lanes == 0 else (Condition(limit),)
            inside.body = [Store(target.buffer, at, guarded, conditions=conditions)]
            inner: list[Statement] = [Loop(lane, [inside], "lanes")]
            if target.layout.axis is not None and row > 1:
                inner = [*self._ahead(number, row, of(outer) * lanes, lanes), *inner]
            body += inner if outer is block else self.shared(outer, inner, True)
        return body

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

    def width(self, itemsize: int, extent: int) -> int:
        """The lanes of a vector, no more than an axis has use for."""
        lanes = max(self.machine.vector_bytes // max(itemsize, 4), 1)
        while lanes > 1 and lanes // 2 >= extent:
            lanes //= 2
        return lanes


def _delinear(flat: Index, shape: tuple[int, ...]) -> Place:
    return delinear(flat, shape) if shape else ()
