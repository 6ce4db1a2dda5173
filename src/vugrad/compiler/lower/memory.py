"""How results lie in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vugrad.compiler.loops.index import Index, linear
from vugrad.compiler.loops.program import Buffer, Call, DType, Expression, Load

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """In which order the elements of an array of some shape lie.

    In row-major order; or, with a batch axis, in blocks of ``lanes`` instances: block after block, within a block the
    other axes in row-major order, and innermost the instances. The last block is whole even if the batch is not.
    """

    shape: Shape
    axis: int | None = None
    lanes: int = 1

    def offset(self, place: tuple[Index, ...]) -> Index:
        """The position of the element at ``place``."""
        if self.axis is None:
            return linear(place, self.shape)
        n = place[self.axis]
        return (n // self.lanes) * self.block + self.within(place)

    def within(self, place: tuple[Index, ...]) -> Index:
        """The position in its block."""
        assert self.axis is not None
        others = [i for a, i in enumerate(place) if a != self.axis]
        extents = [n for a, n in enumerate(self.shape) if a != self.axis]
        return linear(others, extents) * self.lanes + place[self.axis] % self.lanes

    @property
    def blocked(self) -> bool:
        """Whether instances lie side by side."""
        return self.axis is not None

    @property
    def block(self) -> int:
        """The elements of a block."""
        return math.prod(n for a, n in enumerate(self.shape) if a != self.axis) * self.lanes

    @property
    def size(self) -> int:
        """The elements of the whole array, those of a last block that is not full included."""
        if self.axis is None:
            return math.prod(self.shape)
        return -(-self.shape[self.axis] // self.lanes) * self.block


@dataclass(frozen=True)
class Panels:
    """Rows cut into panels as wide as a vector, one panel after the other.

    A sum over the rows then reads straight on, where whole rows would be a jump each, which caches take badly. The last
    panel has its whole width even if the rows end within it.
    """

    shape: Shape
    width: int
    blocked = False

    def offset(self, place: tuple[Index, ...]) -> Index:
        """The position of the element at ``place``."""
        column = linear(place[1:], self.shape[1:])
        return (column // self.width) * (self.shape[0] * self.width) + place[0] * self.width + column % self.width

    @property
    def size(self) -> int:
        """The elements, those of a last panel that is not full included."""
        return -(-math.prod(self.shape[1:]) // self.width) * self.width * self.shape[0]


@dataclass(eq=False)
class Stored:
    """A result in a buffer. ``copies`` is the number of partial sums, one for each thread, that add up to the result.

    The buffer holds partial sums of float32 in float64; the result has ``dtype``. A scratch buffer holds one block of
    the batch, and each thread has its own.
    """

    buffer: Buffer
    layout: Layout | Panels
    copies: int = 1
    dtype: DType | None = None

    def offset(self, place: tuple[Index, ...]) -> Index:
        """Where in the buffer the element at ``place`` is."""
        if self.buffer.role == "scratch" and isinstance(self.layout, Layout):
            return self.layout.within(place)
        return self.layout.offset(place)

    def load(self, place: tuple[Index, ...]) -> Expression:
        """The element at a place."""
        at = self.offset(place)
        result: Expression = Load(self.buffer, at)
        for copy in range(1, self.copies):
            result = Call("add", (result, Load(self.buffer, at + copy * self.layout.size)), self.buffer.dtype)
        return result if self.dtype in (None, self.buffer.dtype) else Call("cast", (result,), self.dtype)
