"""The program of a model for every batch size: the array program's instructions, with extents in terms of the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.compiler.arrays.interpret import apply
from vugrad.compiler.arrays.program import Instruction

Array = Any


@dataclass(frozen=True)
class Affine:
    """An extent that depends on the batch: ``per`` times its size, plus ``plus``.

    >>> print(Affine(1, 0), Affine(2, -1))
    batch 2*batch-1
    """

    per: int
    plus: int

    def __str__(self) -> str:
        return ("batch" if self.per == 1 else f"{self.per}*batch") + (f"{self.plus:+}" if self.plus else "")


Dim = int | Affine
Dims = tuple[Dim, ...]

#: A broadcast of known numbers to more elements than this is left to the graph.
LARGE = 4096


@dataclass(frozen=True, eq=False)
class Step:
    """An instruction of the array program; its shape and its parameters may hold :class:`Affine` extents.

    ``path`` is that of the module in which it was recorded.
    """

    primitive: str
    operands: tuple[int, ...]
    parameters: Mapping[str, Any]
    shape: Dims
    dtype: np.dtype[Any]
    path: str

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every batch size."""
        return fixed(self.shape) and all(map(fixed, self.parameters.values()))


def fixed(value: Any) -> bool:
    """Whether no extent in a value depends on the batch."""
    return all(map(fixed, value)) if isinstance(value, tuple) else not isinstance(value, Affine)


def at(value: Any, size: int) -> Any:
    """What a value is at a batch size."""
    if isinstance(value, Affine):
        return value.per * size + value.plus
    return tuple(at(part, size) for part in value) if isinstance(value, tuple) else value


def joint(shapes: Sequence[Dims]) -> Dims | None:
    """The shape that shapes are broadcast to; ``None`` if that depends on the batch."""
    found: list[Dim] = [1] * max(map(len, shapes))
    for shape in shapes:
        for axis, n in enumerate(shape, len(found) - len(shape)):
            if n != 1 and found[axis] not in (1, n):
                return None
            found[axis] = n if found[axis] == 1 else found[axis]
    return tuple(found)


class Steps:
    """A whole program.

    Args:
        steps: in an order in which they can be done.
        arguments: the numbers of those that stand for the model's arguments, in order.
        state: the names and the arrays of the model's state, by the numbers of those that stand for them.
        outputs: the names and the numbers of the results.
    """

    def __init__(
        self,
        steps: list[Step],
        arguments: list[int],
        state: dict[int, tuple[str, Array]],
        outputs: list[tuple[str, int]],
    ) -> None:
        self.steps, self.arguments, self.state, self.outputs = steps, arguments, state, outputs
        #: For each result the numbers of the steps that use it, and -1 for every output that it is.
        self.users: list[list[int]] = [[] for _ in steps]
        #: Whether the numbers of a result are known now: it depends on constants and on the model's state alone.
        self.known: list[bool] = []
        for number, x in enumerate(steps):
            for operand in x.operands:
                self.users[operand].append(number)
            large = x.primitive == "broadcast" and fixed(x.shape) and math.prod(x.shape) > LARGE  # type: ignore[arg-type]
            derived = bool(x.operands) and x.fixed and not large and x.primitive != "bits"
            self.known.append(
                x.primitive == "constant" or number in state or (derived and all(self.known[i] for i in x.operands))
            )
        for _, number in outputs:
            self.users[number].append(-1)
        self._values: dict[int, Array] = {}

    def __getitem__(self, number: int) -> Step:
        return self.steps[number]

    def operands(self, number: int) -> list[Step]:
        """The steps whose results a step uses."""
        return [self.steps[i] for i in self.steps[number].operands]

    def sources(self, number: int) -> list[int]:
        """A known step and all that it depends on, in order."""
        found, waiting = {number}, [number]
        while waiting:
            new = {i for i in self.steps[waiting.pop()].operands if i not in found}
            found |= new
            waiting += new
        return sorted(found)

    def value(self, number: int) -> Array:
        """The numbers of a known step."""
        for i in self.sources(number) if number not in self._values else ():
            x = self.steps[i]
            if i in self._values:
                continue
            if x.primitive == "constant":
                self._values[i] = x.parameters["value"]
            elif i in self.state:
                self._values[i] = self.state[i][1]
            else:
                shape: Any = x.shape
                instruction = Instruction(x.primitive, x.operands, x.parameters, shape, x.dtype)
                with np.errstate(all="ignore"):
                    y = apply(instruction, [self._values[operand] for operand in x.operands])
                self._values[i] = np.asarray(y).astype(x.dtype, copy=False).reshape(shape)
        return self._values[number]

    def number(self, i: int) -> Any:
        """The one number that a constant holds everywhere, or ``None``; weights are no constants."""
        while self.steps[i].primitive == "broadcast":
            i = self.steps[i].operands[0]
        x = self.steps[i]
        return x.parameters["value"].item() if x.primitive == "constant" and x.parameters["value"].size == 1 else None

    # --- looking for shapes in the program

    def fits(self, i: int, pattern: Any, found: dict[str, Any]) -> bool:
        """Whether a step is as a pattern says; what its names stand for is put into ``found``.

        A pattern is a name, which stands for one step wherever it occurs; a number, for a constant close to it; or a
        primitive with the patterns of its operands. ``("kept sum", p)`` is a sum along ``found["axes"]`` that keeps
        them with extent 1, ``("reshape?", name, p)`` is p or a reshape of it, and the name stands for that.
        """
        x = self.steps[i]
        if isinstance(pattern, str):
            return bool(found.setdefault(pattern, i) == i)
        if isinstance(pattern, float):
            value = self.number(i)
            return value is not None and math.isclose(value, pattern, rel_tol=1e-6)
        name, *parts = pattern
        if name == "reshape?":
            source = x.operands[0] if x.primitive == "reshape" else i
            return self.fits(i, parts[0], found) and self.fits(source, parts[1], found)
        if name.startswith("kept "):
            reduction = self.kept(i, name.removeprefix("kept "))
            return (
                reduction is not None
                and found.setdefault("axes", reduction.parameters["axes"]) == reduction.parameters["axes"]
                and self.fits(reduction.operands[0], parts[0], found)
            )
        if x.primitive != name:
            return False
        orders = [x.operands, x.operands[::-1]] if name in ("add", "mul", "max", "min") else [x.operands]
        for operands in orders:
            trial = dict(found)
            if all(self.fits(operand, part, trial) for operand, part in zip(operands, parts, strict=True)):
                found.update(trial)
                return True
        return False

    def kept(self, i: int, primitive: str = "") -> Step | None:
        """The reduction of which a step keeps the axes with extent 1, if it is that."""
        x = self.steps[i]
        if x.primitive != "reshape":
            return None
        y = self.steps[x.operands[0]]
        if y.primitive not in ([primitive] if primitive else ("sum", "maximum", "minimum")):
            return None
        axes, shape = y.parameters["axes"], self.steps[y.operands[0]].shape
        return y if x.shape == tuple(1 if a in axes else n for a, n in enumerate(shape)) else None
