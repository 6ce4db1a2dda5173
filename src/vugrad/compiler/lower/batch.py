"""Which axis of each result counts the instances of the batch."""

from __future__ import annotations

import math

import numpy as np

from vugrad.compiler.arrays import Instruction, Program
from vugrad.compiler.lower.access import counts_along


def batched(program: Program, n: int) -> list[int]:
    """The arguments that have a row for each of the n instances of the batch."""
    return [i for i in program.inputs("argument").values() if n and program[i].shape[:1] == (n,)]


def batch_axes(program: Program, n: int) -> list[int | None]:
    """For every result its batch axis, or ``None``: followed from the first axis, of extent n, of the arguments.

    Where that makes the axes of two factors of a product different batches, as for the product of two square matrices,
    it is followed from the first argument alone.
    """
    arguments = batched(program, n)
    axes, mixed = _followed(program, n, arguments)
    return _followed(program, n, arguments[:1])[0] if mixed else axes


def _followed(program: Program, n: int, arguments: list[int]) -> tuple[list[int | None], bool]:
    """The axes followed from some arguments, and whether batches were mixed."""
    axes: list[int | None] = []
    mixed = False
    for i, x in enumerate(program.instructions):
        above = [axes[operand] if operand < i else _turned(program[operand], axes) for operand in x.operands]
        axes.append(0 if i in arguments else _axis(x, [program[operand] for operand in x.operands], above, n))
        if x.primitive == "contract":
            mixed |= len(_letters(x, above)) > 1
    return axes, mixed


def _turned(x: Instruction, axes: list[int | None]) -> int | None:
    """The batch axis of a turned copy of a factor: such copies stand at the end of the program."""
    axis = axes[x.operands[0]]
    return None if axis is None else int(x.parameters["axes"].index(axis))


def _letters(x: Instruction, axes: list[int | None]) -> set[str]:
    """The letters of a contraction that stand for the batch."""
    terms = x.parameters["subscripts"].partition("->")[0].split(",")
    return {term[a] for term, a in zip(terms, axes, strict=True) if a is not None}


def _axis(x: Instruction, xs: list[Instruction], axes: list[int | None], n: int) -> int | None:
    p = x.parameters
    if x.primitive == "bits":
        return p["shape"].index(n) if n in p["shape"] else None
    if x.family == "source":
        return None
    if x.family == "element-wise":
        found = {a + len(x.shape) - len(y.shape) for y, a in zip(xs, axes, strict=True) if a is not None}
        return found.pop() if len(found) == 1 else None
    if x.primitive == "concatenate":
        return axes[0] if len(set(axes)) == 1 and axes[0] != p["axis"] else None
    if x.primitive == "contract":
        letters, output = _letters(x, axes), p["subscripts"].partition("->")[2]
        return output.index(letters.pop()) if len(letters) == 1 and letters <= set(output) else None
    if x.primitive == "gather":
        places = np.broadcast_shapes(*(y.shape for y in xs[1:]))
        if axes[0] is not None and axes[0] in p["axes"]:  # each instance may pick from itself alone
            picker = xs[1 + p["axes"].index(axes[0])]
            along = counts_along(picker)
            return None if along is None or picker.shape[along] != n else along + len(places) - len(picker.shape)
        if axes[0] is not None:
            return len(places) + sum(a not in p["axes"] for a in range(axes[0]))
        found = {a + len(places) - len(y.shape) for y, a in zip(xs[1:], axes[1:], strict=True) if a is not None}
        return found.pop() if len(found) == 1 and axes[0] is None else None
    axis = axes[0] if axes else None
    if axis is None:
        return None
    match x.primitive:
        case "reshape":
            before = math.prod(xs[0].shape[:axis])
            for b, extent in enumerate(x.shape):
                if extent == n and math.prod(x.shape[:b]) == before:
                    return b
            return None
        case "transpose":
            return int(p["axes"].index(axis))
        case "broadcast":
            return axis + len(x.shape) - len(xs[0].shape)
        case "slice":
            return axis if x.shape[axis] == n and p["steps"][axis] == 1 else None
        case "pad":
            return axis if p["widths"][axis] == (0, 0, 0) else None
        case "window":
            return axis if axis < len(xs[0].shape) - 2 else None
        case "fold":
            return axis if axis < len(xs[0].shape) - 4 else None
    if x.family == "reduction":
        return None if axis in p["axes"] else axis - sum(a < axis for a in p["axes"])
    return None
