"""Where the buffers of a plan lie in its own memory: what is not needed at the same time shares its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vugrad.compiler.loops.program import Buffer, Load, Loop, LoopProgram, Position, Prefetch, Statement, Store, walk

#: Every buffer begins at a multiple of so many bytes: a cache line, and the widest vector.
ALIGNMENT = 64
INDEX = np.dtype(np.int64)


@dataclass
class Arena:
    """Where the buffers of a program lie.

    ``offsets`` are those of its own buffers, in bytes; of scratch buffers in a thread's own part, of ``scratch`` bytes.
    ``slots`` say which pointer of a table is that of each buffer that is given to it: slot 0 is that of its own memory,
    of ``size`` bytes, and slot 1 that of the counters.
    """

    offsets: dict[Buffer, int]
    scratch: int
    size: int
    slots: dict[Buffer, int]

    @property
    def table(self) -> int:
        """The pointers in the table."""
        return len(self.slots) + 2


def arrange(program: LoopProgram) -> Arena:
    """A place for every temporary and scratch buffer, and a slot for every other."""
    spans = _spans(program)
    offsets, scratch = _packed({b: s for b, s in spans.items() if b.role == "scratch"})
    shared, size = _packed({b: s for b, s in spans.items() if b.role == "temporary"})
    begin = scratch * program.threads
    given = [b for b in program.buffers if b.role not in ("temporary", "scratch")]
    slots = {buffer: i + 2 for i, buffer in enumerate(given)}
    return Arena(offsets | {b: begin + offset for b, offset in shared.items()}, scratch, begin + size, slots)


def _spans(program: LoopProgram) -> dict[Buffer, tuple[int, int]]:
    """From when to when each buffer is needed. Within a stage only what a thread has for itself can end."""
    spans: dict[Buffer, tuple[int, int]] = {}
    clock = 0

    def touch(buffer: Buffer, first: int, last: int) -> None:
        begin, end = spans.get(buffer, (first, last))
        spans[buffer] = (min(begin, first), max(end, last))

    for stage in program.stages:
        begin, kernels = clock, stage.kernels()
        end = begin + len(kernels) + 1
        for i, kernel in enumerate(kernels):
            for buffer in _buffers(kernel.body):
                now = begin + 1 + i
                touch(buffer, *((now, now) if buffer.role == "scratch" else (begin, end)))
        clock = end + 1
    return spans


def _buffers(body: list[Statement]) -> set[Buffer]:
    """All buffers that some statements read or write."""
    found: set[Buffer] = set()
    for x in body:
        if isinstance(x, Loop):
            found |= _buffers(x.body)
            continue
        if isinstance(x, Prefetch):
            continue
        expressions = [x.value]
        if isinstance(x, Store):
            found.add(x.buffer)
            expressions += [Position(i, INDEX) for i in (x.index, *(c.index for c in x.conditions))]
        found |= {part.buffer for expression in expressions for part in walk(expression) if isinstance(part, Load)}
    return found


def _packed(spans: dict[Buffer, tuple[int, int]]) -> tuple[dict[Buffer, int], int]:
    """Offsets, largest buffers first, each as low as those allow that are needed at the same time; and the total."""
    offsets: dict[Buffer, int] = {}
    total = 0
    for buffer in sorted(spans, key=lambda b: (-b.nbytes, b.name)):
        first, last = spans[buffer]
        taken = sorted(
            (offsets[b], offsets[b] + b.nbytes) for b in offsets if spans[b][0] <= last and first <= spans[b][1]
        )
        offset = 0
        for begin, end in taken:
            if offset + buffer.nbytes <= begin:
                break
            offset = max(offset, -(-end // ALIGNMENT) * ALIGNMENT)
        offsets[buffer] = offset
        total = max(total, offset + buffer.nbytes)
    return offsets, -(-total // ALIGNMENT) * ALIGNMENT
