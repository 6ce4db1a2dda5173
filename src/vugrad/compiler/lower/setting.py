"""What all kernels of a program have in common: where everything lies, and who does which part."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from vugrad.compiler.arrays import Program
from vugrad.compiler.loops.index import Var, linear, of
from vugrad.compiler.loops.program import (
    Buffer,
    Expression,
    Load,
    Loop,
    Statement,
)
from vugrad.compiler.lower.access import Place
from vugrad.compiler.lower.groups import Fusion, Group
from vugrad.compiler.lower.memory import Stored


@dataclass(frozen=True)
class Machine:
    """What the loops are made for: the bytes of a vector, how many vectors fit in registers, and how many threads."""

    vector_bytes: int
    registers: int
    threads: int


class Setting:
    """What a kernel must know of its program.

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

    def width(self, itemsize: int, extent: int) -> int:
        """The lanes of a vector, no more than an axis has use for."""
        lanes = max(self.machine.vector_bytes // max(itemsize, 4), 1)
        while lanes > 1 and lanes // 2 >= extent:
            lanes //= 2
        return lanes
