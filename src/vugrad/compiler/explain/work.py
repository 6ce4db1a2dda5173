"""How much work each kernel is: operations and bytes, counted from the loops themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vugrad.compiler.loops.index import Index, Var, of
from vugrad.compiler.loops.program import (
    AcrossLanes,
    BlockLoop,
    Buffer,
    Call,
    Define,
    Expression,
    Kernel,
    Load,
    Loop,
    LoopProgram,
    Prefetch,
    Read,
    Stage,
    Statement,
    Store,
    Update,
    walk,
)

#: Calls that are no arithmetic.
FREE = {"where", "cast", "not", "and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite"}


@dataclass
class Work:
    """What a kernel does in one step, all threads and blocks together.

    Every operation on floating-point numbers counts as one, a multiply-add as two, and so does exp or a square root
    count as one; those in lanes beyond the end of the batch count too. Of each buffer the bytes count that are read or
    written at all, however often; of scratch memory they count again for each block.
    """

    number: int
    stage: int
    kernel: Kernel
    run_by: str
    flop: int = 0
    reads: dict[Buffer, int] = field(default_factory=dict)
    writes: dict[Buffer, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        return sum(self.reads.values()) + sum(self.writes.values())

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flop / self.nbytes if self.nbytes else 0.0

    def footprint(self, threads: int) -> int:
        """The bytes that one thread's part of the kernel touches, as if it were a fair share."""
        touched = {*self.reads, *self.writes}
        return sum(b.nbytes if b.role == "scratch" else min(self._bytes(b), b.nbytes) // threads for b in touched)

    def _bytes(self, buffer: Buffer) -> int:
        return max(self.reads.get(buffer, 0), self.writes.get(buffer, 0))


def work(program: LoopProgram) -> list[Work]:
    """The work of every kernel, in the order in which they are numbered."""
    found: list[Work] = []
    for i, stage in enumerate(program.stages):
        for part in stage.parts:
            for kernel in part.kernels if isinstance(part, BlockLoop) else [part]:
                block = part if isinstance(part, BlockLoop) else None
                found.append(_work(len(found), i, stage, block, kernel, program.threads))
    return found


def _work(number: int, i: int, stage: Stage, block: BlockLoop | None, kernel: Kernel, threads: int) -> Work:
    alone = len(kernel.body) == 1 and isinstance(kernel.body[0], Loop) and kernel.body[0].lower == (of(stage.thread),)
    run_by = "blocks" if block is not None else "one thread" if alone else "threads"
    result = Work(number, i, kernel, run_by)
    count, total, calls = _Count(), Counter[Any](), 0
    body = kernel.body
    if block is not None:
        body = [Loop(block.var, body, "serial", block.lower, block.upper)]
    for t in range(threads):
        values = {stage.thread: of(t)}
        total.update(count.body(body, values, None))
        calls += len(turns(block.var, block.lower, block.upper, values)) if block is not None else 1
    for key, n in total.items():
        if key == "flop":
            result.flop = n
        else:
            side, buffer = key
            most = buffer.size * (calls if buffer.role == "scratch" else 1)
            (result.reads if side == "read" else result.writes)[buffer] = min(n, most) * buffer.dtype.itemsize
    return result


def turns(var: Var, lower: tuple[Index, ...], upper: tuple[Index, ...], values: Mapping[Var, Index]) -> range:
    """The values of a loop's variable, where those of the outer loops are known."""

    def number(index: Index) -> int:
        n = index.substitute(values).number()
        assert n is not None, f"{index} depends on no outer loop"
        return n

    return range(max([0, *map(number, lower)]), min([var.extent, *map(number, upper)]))


class _Count:
    """Counts operations, elements read and elements written, in loops whose bounds may depend on outer variables."""

    def __init__(self) -> None:
        self.seen: dict[Any, Counter[Any]] = {}
        self.needed: dict[int, frozenset[Var]] = {}

    def body(self, body: list[Statement], values: Mapping[Var, Index], lane: Var | None) -> Counter[Any]:
        """Of some statements, done once."""
        total: Counter[Any] = Counter()
        for x in body:
            total.update(self.loop(x, values, lane) if isinstance(x, Loop) else self.statement(x, lane))
        return total

    def loop(self, x: Loop, values: Mapping[Var, Index], lane: Var | None) -> Counter[Any]:
        """Of all turns of a loop: one after the other where a bound further in depends on which turn it is."""
        mine = {v: values[v] for v in self.needs(x) if v in values}
        key = (id(x), tuple(sorted((v.name, i.constant) for v, i in mine.items())))
        if key not in self.seen:
            total: Counter[Any] = Counter()
            if x.kind == "lanes":
                total.update(self.body(x.body, mine, x.var if x.var.extent > 1 else None))
            elif any(x.var in self.needs(inner) for inner in x.body if isinstance(inner, Loop)):
                for i in turns(x.var, x.lower, x.upper, mine):
                    total.update(self.body(x.body, {**mine, x.var: of(i)}, lane))
            else:
                n = len(turns(x.var, x.lower, x.upper, mine))
                total.update({key: n * c for key, c in self.body(x.body, mine, lane).items()} if n else {})
            self.seen[key] = total
        return self.seen[key]

    def needs(self, x: Loop) -> frozenset[Var]:
        """The outer variables that some bound in a loop depends on."""
        if id(x) not in self.needed:
            inner = [self.needs(y) for y in x.body if isinstance(y, Loop)]
            own = [index.variables() for index in (*x.lower, *x.upper)]
            self.needed[id(x)] = (frozenset().union(*inner) - {x.var}).union(*own)
        return self.needed[id(x)]

    def statement(self, x: Define | Update | Store | Prefetch, lane: Var | None) -> Counter[Any]:
        """Of one statement; what stands in it twice is done once."""
        key = (id(x), lane)
        if key not in self.seen:
            self.seen[key] = Counter() if isinstance(x, Prefetch) else _summed(_statement(x, lane))
        return self.seen[key]


def _summed(pairs: Iterator[tuple[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for key, n in pairs:
        total[key] += n
    return total


def _statement(x: Define | Update | Store, lane: Var | None) -> Iterator[tuple[Any, int]]:
    lanes = lane.extent if lane is not None else 1
    vectors: dict[int, bool] = {}
    for part in walk(x.value):
        n = lanes if lane is not None and _is_vector(part, lane, vectors) else 1
        if isinstance(part, Load):
            yield ("read", part.buffer), n
        elif isinstance(part, Call) and part.dtype.kind == "f" and part.function not in FREE:
            yield "flop", n
        elif isinstance(part, AcrossLanes) and part.dtype.kind == "f":
            yield "flop", lanes - 1
    if isinstance(x, Update) and x.how != "set" and x.value.dtype.kind == "f":
        yield "flop", lanes
    if isinstance(x, Store):
        n = lanes if lane is not None and lane in x.index.variables() else 1
        yield ("write", x.buffer), n
        if x.add:
            yield ("read", x.buffer), n
            yield "flop", n if x.buffer.dtype.kind == "f" else 0


def _is_vector(x: Expression, lane: Var, known: dict[int, bool]) -> bool:
    """Whether an expression has a value of its own in each lane."""
    if id(x) not in known:
        mine = isinstance(x, Read) or any(lane in index.variables() for index in x.indices())
        inside = not isinstance(x, AcrossLanes) and any(_is_vector(part, lane, known) for part in x.parts())
        known[id(x)] = mine or inside
    return known[id(x)]
