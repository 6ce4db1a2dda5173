"""From an array program to loops: fusion, layout, and the order of what runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from vugrad.compiler.arrays import Instruction, Output, Program
from vugrad.compiler.loops.index import Index, Var, of
from vugrad.compiler.loops.program import BlockLoop, Buffer, Constant, DType, Kernel, Loop, LoopProgram, Stage, Store
from vugrad.compiler.lower.access import Place
from vugrad.compiler.lower.batch import batch_axes
from vugrad.compiler.lower.groups import Fusion, Group
from vugrad.compiler.lower.kernels import Builder
from vugrad.compiler.lower.memory import Layout, Panels, Stored
from vugrad.compiler.lower.setting import Machine
from vugrad.compiler.lower.stages import Step, steps
from vugrad.compiler.lower.sums import TOTAL

__all__ = ["Lowered", "Machine", "lower"]

#: A contraction with a constant operand of more bytes reads it once for the whole batch, not once for each block.
HEAVY = 1 << 19
#: A thread is worth it for so many numbers to compute, or for 32 times as many operations of contractions.
ENOUGH = 1 << 15
#: So many instances pass over a factor so often that it is worth to turn it.
MANY = 512
#: Fewer instances than this do not fill the lanes.
FEW = 4


@dataclass
class Lowered:
    """The loops, and which buffer belongs to which input and output of the array program."""

    loops: LoopProgram
    inputs: dict[str, Buffer] = field(default_factory=dict)
    outputs: dict[str, Buffer] = field(default_factory=dict)
    order: Buffer | None = None
    batch: int = 0
    #: The outputs that have a row for each instance of the batch.
    rows: set[str] = field(default_factory=set)


def lower(program: Program, machine: Machine, check: str | None = None) -> Lowered:
    """Choose kernels, layouts and order for a verified array program.

    With ``check``, the name of an output, no array of the state is written before that output is.
    """
    program = Program(list(program.instructions), list(program.outputs))
    arguments = [x for x in program.instructions if x.primitive == "input" and x.parameters["kind"] == "argument"]
    n = next((x.shape[0] for x in arguments if x.shape), 0)
    lanes = _lanes(
        n, machine, any(x.dtype.itemsize == 8 and x.dtype.kind == "f" and x.shape for x in program.instructions)
    )
    blocked = n >= FEW and lanes > 1
    fusion = _fused(program, n, blocked)
    if check is not None:
        first = fusion.home[next(o.number for o in program.outputs if o.name == check)]
        for output in program.outputs:
            if output.into is not None:
                fusion.order(first, fusion.home[output.number])
    machine = replace(machine, threads=_threads(program, fusion, machine.threads, -(-n // lanes) if blocked else 0))
    return _Lowering(program, fusion, machine, n, lanes if blocked else 1).run()


def _threads(program: Program, fusion: Fusion, most: int, blocks: int) -> int:
    """As many threads as have enough to do: a block of the batch each, and more than it costs to wait for another."""
    if blocks and not any(_heavy(program, fusion, group) for group in fusion.groups):
        most = min(most, blocks)
    work = sum(max(fusion.flop(group) // 32, program[group.root].size) for group in fusion.groups)
    return max(1, min(most, work // ENOUGH))


def _heavy(program: Program, fusion: Fusion, group: Group) -> bool:
    """Whether a contraction reads an array, the same for all instances, that is too large to be read for each block."""
    weights = [program[i] for i in group.sources if fusion.batch[i] is None]
    return program[group.root].primitive == "contract" and any(w.size * w.dtype.itemsize > HEAVY for w in weights)


def _lanes(n: int, machine: Machine, double: bool) -> int:
    """The instances in a block: two vectors of them where that leaves each thread a block."""
    width = machine.vector_bytes // (8 if double else 4)
    lanes = 2 * width if -(-n // (2 * width)) >= machine.threads else width
    while lanes > FEW and -(-n // lanes) * lanes > 1.34 * n:
        lanes //= 2
    return lanes


def _fused(program: Program, n: int, blocked: bool) -> Fusion:
    """Groups in which no state is overwritten before all that need its old value have read it."""
    for i, output in enumerate(program.outputs):  # what leaves is computed by some kernel
        if program[output.number].family == "source":
            _copied(program, i)
    turned = _turned(program, n) if blocked else frozenset()
    last: frozenset[int] = frozenset()
    first = Fusion(program, n, blocked, last, turned)
    for i, output in enumerate(program.outputs):  # a partial sum is whole only when another kernel has read it
        if first.home[output.number].kind == "partial":
            _copied(program, i)
    while True:
        fusion = Fusion(program, n, blocked, last, turned)
        late = _overwritten(program, fusion)
        if not late:
            return fusion
        for i in late:  # a copy is made, and written back when all else is done
            last |= {_copied(program, i)}


def _copied(program: Program, i: int) -> int:
    """Let a copy of its result leave as an output, given by its position; returns the copy's number."""
    output = program.outputs[i]
    copy = program.add("reshape", output.number, shape=program[output.number].shape)
    program.outputs[i] = Output(output.name, copy, output.into)
    return copy


def _turned(program: Program, n: int) -> frozenset[int]:
    """Copies of large factors, turned so that what is summed over lies together, for products of very many instances.

    Each pass of the instances over such a factor reads it along the sum; across rows that would be a jump every time.
    """
    copies: dict[int, int] = {}
    axes = batch_axes(program, n)
    for i, x in enumerate(program.instructions):
        if x.primitive != "contract" or axes[i] is None or n < MANY or len(x.operands) != 2:
            continue
        terms, _, output = x.parameters["subscripts"].partition("->")
        factors = list(zip(terms.split(","), x.operands, strict=True))
        for k, (term, operand) in enumerate(factors):
            y = program[operand]
            across = len(term) == 2 and term[0] not in output and term[1] in output
            if y.primitive == "input" and axes[operand] is None and across and y.size * y.dtype.itemsize > HEAVY:
                copy = copies.setdefault(operand, program.add("transpose", operand, axes=(1, 0)))
                factors[k] = (term[::-1], copy)
        subscripts = f"{','.join(term for term, _ in factors)}->{output}"
        operands = tuple(operand for _, operand in factors)
        program.instructions[i] = Instruction(x.primitive, operands, {"subscripts": subscripts}, x.shape, x.dtype)
    return frozenset(copies.values())


def _overwritten(program: Program, fusion: Fusion) -> list[int]:
    """The outputs, by position, that would overwrite what others still need."""
    late = []
    inputs = program.inputs()
    for i, output in enumerate(program.outputs):
        if output.into is None or output.number in fusion.last:
            continue
        state, writer = inputs[output.into], fusion.home[output.number]
        readers = [g for g in fusion.groups if state in g.sources and g is not writer]
        # Of the instances' own state, one block would be written before the next is read.
        if (
            not _reads_in_place(fusion, writer, state, output.number)
            or (writer.kind == "blocked" and readers)
            or not all(fusion.order(r, writer) for r in readers)
        ):
            late.append(i)
    return late


def _reads_in_place(fusion: Fusion, group: Group, state: int, written: int) -> bool:
    """Whether a kernel reads each element of a state only where it computes what is written there."""
    if state not in group.sources:
        return True
    flat = {v: Index() for v in group.axes if v.extent == 1}

    def at(place: Place) -> Place:
        return tuple(i.substitute(flat) for i in place)

    target = at(group.members[written])
    for number, member in group.members.items():
        reads, variables = fusion.reads(number, at(member))
        places = {at(place) for i, place in reads if i == state}
        if places and (variables or places != {target}):
            return False
    return True


class _Lowering:
    """The work of :func:`lower`, once the groups are known."""

    def __init__(self, program: Program, fusion: Fusion, machine: Machine, n: int, lanes: int) -> None:
        self.program, self.fusion, self.machine, self.n, self.lanes = program, fusion, machine, n, lanes
        self.thread = Var("t", machine.threads)
        self.buffers: list[Buffer] = []
        self.inputs: dict[int, Buffer] = {}
        self.stored: dict[int, list[Stored]] = {}
        self.stores: dict[int, list[Stored]] = {}
        self.result = Lowered(LoopProgram([], [], machine.threads, lanes), batch=n)

    def run(self) -> Lowered:
        """Place everything in memory, then make the kernels."""
        self._sources()
        by_blocks = {g for g in self.fusion.groups if self._by_blocks(g)}
        order = steps(self.fusion, by_blocks)
        self._places(order)
        builder = Builder(
            self.program,
            self.fusion,
            self.stored,
            self.inputs,
            self.result.order,
            self.lanes,
            self.machine,
            self.thread,
        )
        self.result.loops.stages = [self._stage(step, builder) for step in order] or [Stage(self.thread, [])]
        self.result.loops.buffers = self.buffers
        return self.result

    def _buffer(self, name: str, number: int, size: int, role: str, dtype: DType | None = None) -> Buffer:
        buffer = Buffer(name, dtype or self.program[number].dtype, size, role)
        self.buffers.append(buffer)
        return buffer

    def _sources(self) -> None:
        """Buffers for what comes from outside."""
        for number, x in enumerate(self.program.instructions):
            if x.primitive == "input":
                buffer = self._buffer(x.parameters["name"], number, x.size, x.parameters["kind"])
                if number in self.fusion.stored:
                    buffer.row = math.prod(x.shape[1:])
                self.inputs[number] = self.result.inputs[buffer.name] = buffer
            elif x.primitive == "constant" and self.fusion.is_leaf(number):
                self.inputs[number] = self._buffer(f"constant {number}", number, x.size, "constant")
                self.inputs[number].value = x.parameters["value"]
        if any(g.kind == "fetch" for g in self.fusion.groups):
            self.result.order = Buffer("order", np.dtype(np.int64), self.n, "order")
            self.buffers.append(self.result.order)

    def _by_blocks(self, group: Group) -> bool:
        """Whether a group's kernel runs block by block of the batch."""
        if group.root in self.fusion.last:
            return False
        if group.kind == "fetch":
            return group.batch is not None
        if group.kind == "partial":
            return True
        if group.kind != "blocked":
            return False
        return not _heavy(self.program, self.fusion, group)

    def _places(self, order: list[Step]) -> None:
        """Where each stored result lies."""
        step_of = {g: i for i, step in enumerate(order) for g in (*step.blocked, *step.others)}
        inside = {g for step in order for g in step.blocked}
        readers: dict[int, list[Group]] = {}
        for group in self.fusion.groups:
            for i in group.sources - set(group.members):
                readers.setdefault(i, []).append(group)
        for number, group in self.fusion.home.items():
            x = self.program[number]
            mine = readers.get(number, [])
            targets: list[Stored] = []
            written = [output for output in self.program.outputs if output.number == number]
            states = [o for o in written if o.into is not None]
            if group.kind == "partial":
                layout = Layout(x.shape)
                size, kind = layout.size * self.machine.threads, TOTAL if x.dtype.kind == "f" else x.dtype
                buffer = self._buffer(f"v{number}", number, size, "temporary", kind)
                self.stored[number] = targets = [Stored(buffer, layout, self.machine.threads, x.dtype)]
            elif mine and states:
                pass
            elif mine or group.kind == "fetch":
                axis = self.fusion.batch[number] if self.fusion.is_blocked(number) else None
                layout = Layout(x.shape, axis, self.lanes)
                local = group in inside and all(r in inside and step_of[r] == step_of[group] for r in mine)
                scratch = axis is not None and local
                size = layout.block if scratch else layout.size
                buffer = self._buffer(f"v{number}", number, size, "scratch" if scratch else "temporary")
                targets = [Stored(buffer, layout)]
                if axis is not None and any(self.fusion.rows(r) == number for r in mine):
                    width = self.machine.vector_bytes // x.dtype.itemsize
                    panels = Panels(x.shape, width) if group.kind == "fetch" else Layout(x.shape)
                    rows = self._buffer(f"v{number}r", number, panels.size, "temporary")
                    targets.append(Stored(rows, panels))
                self.stored[number] = list(targets)
            for output in written:
                layout = Layout(x.shape)
                if output.into is not None:
                    buffer = self.result.inputs[output.into]
                    if states[0] is output and mine and group.kind != "partial":
                        self.stored[number] = [Stored(buffer, layout)]
                else:
                    buffer = self._buffer(output.name, number, x.size, "output")
                    self.result.outputs[output.name] = buffer
                    if self.fusion.batch[number] == 0:
                        self.result.rows.add(output.name)
                targets = [*targets, Stored(buffer, layout)]
            self.stores[number] = targets

    def _stage(self, step: Step, builder: Builder) -> Stage:
        stage = Stage(self.thread, [])
        for group in step.blocked:
            for target in self.stores[group.root] if group.kind == "partial" else ():
                z = builder.fresh("z", target.layout.size)
                at = of(self.thread) * target.layout.size + of(z)
                zero = Constant(0, target.buffer.dtype)
                stage.parts.append(Kernel("zero", [Loop(z, [Store(target.buffer, at, zero)])], []))
        if step.blocked:
            count = -(-self.n // self.lanes)
            block, chunk = builder.fresh("block", count), -(-count // self.machine.threads)
            first = of(self.thread) * chunk
            kernels: list[Kernel] = []
            for group in step.blocked:
                stores = {i: self.stores[i] for i in group.members}
                if group.kind == "fetch" and len(stores[group.root]) > 1:
                    rows = {group.root: stores[group.root][1:]}
                    stage.parts.append(builder.kernel(group, None, rows))
                    stores = {group.root: stores[group.root][:1]}
                kernels.append(builder.kernel(group, block, stores))
            stage.parts.append(BlockLoop(block, kernels, (first,), (first + chunk,)))
        for group in step.others:
            stage.parts.append(builder.kernel(group, None, {i: self.stores[i] for i in group.members}))
        return stage
