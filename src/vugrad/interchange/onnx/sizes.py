"""One program for every batch size, of those at several: compared by their instructions, or by what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Instruction, Output, Program, interpret
from vugrad.interchange.onnx.steps import Affine, Step, at

Array = Any

#: The batch sizes: two say how an extent depends on the batch, if it grows in proportion; the third, whether it does.
SIZES = (37, 41, 43)
#: Tells a module's path from an op's name among a program's origins.
MARK = "/"


class DiffersError(Exception):
    """What two programs have in the same place is not one thing in terms of the batch; it says where and what."""

    def __init__(self, origin: str, what: str) -> None:
        super().__init__(origin, what)
        self.where = f" in {origin.removeprefix(MARK)}" if origin != MARK else ""
        self.what = what


def common(programs: Sequence[Program]) -> list[Step]:
    """The program that all are, for the batch sizes in ``SIZES``; raises :class:`DiffersError`."""
    steps = []
    for number, instructions in enumerate(zip(*(program.instructions for program in programs), strict=False)):
        origin = (programs[0].origins or {}).get(number, MARK)
        step = _step(instructions, origin.removeprefix(MARK))
        if step is None:
            raise DiffersError(origin, _what(instructions))
        steps.append(step)
    if len({len(p.instructions) for p in programs}) > 1 or len({str(p.outputs) for p in programs}) > 1:
        raise DiffersError(MARK, "other steps")
    return steps


def check(
    steps: Sequence[Step],
    outputs: list[Output],
    program: Program,
    size: int,
    inputs: Callable[[], Mapping[str, Array]],
) -> None:
    """Raise :class:`DiffersError` if a program at one more batch size does not compute what the steps do.

    The instructions may be others: an axis of extent 1, as a batch of one instance is, is left out where it can be.
    Both programs are then run on ``inputs()``.
    """
    general = Program([_at(x, size) for x in steps], outputs)
    if alike(general, program):
        return
    if [output.name for output in program.outputs] != [output.name for output in outputs]:
        raise DiffersError(MARK, f"{len(program.outputs)} outputs at {size} and {len(outputs)} at {SIZES[0]}")
    for output, other in zip(program.outputs, outputs, strict=True):
        shape = program[output.number].shape
        if shape != general[other.number].shape:
            usual = at(steps[other.number].shape, SIZES[0])
            raise DiffersError(MARK, f"an output of shape {shape} at {size} and of {usual} at {SIZES[0]}")
    numbers = inputs()
    expected = interpret(program, numbers, optimize=True)
    try:
        found = interpret(general, numbers, optimize=True)
    except (ValueError, IndexError):  # a slice, for example, beyond its end
        found = {}
    if not found or not all(map(_close, found.values(), expected.values())):
        raise DiffersError(MARK, f"other numbers at {size} than at {SIZES[0]}")


def alike(a: Program, b: Program) -> bool:
    """Whether two programs are the same, but for where they come from."""
    return str(a.outputs) == str(b.outputs) and list(map(_key, a.instructions)) == list(map(_key, b.instructions))


def _key(x: Instruction) -> Any:
    parameters = {key: v.tobytes() if isinstance(v, np.ndarray) else repr(v) for key, v in x.parameters.items()}
    return x.primitive, x.operands, x.shape, x.dtype, parameters


def _close(x: Array, y: Array) -> bool:
    """Whether arrays are the same, but for rounding in another order."""
    if x.dtype != y.dtype or x.dtype.kind != "f":
        return x.dtype == y.dtype and np.array_equal(x, y)
    scale = float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y)))
    return np.allclose(x, y, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)


def _step(instructions: tuple[Instruction, ...], path: str) -> Step | None:
    """The step that instructions are at the three sizes, if they are one."""
    x = instructions[0]
    if len({(y.primitive, y.operands, y.dtype, tuple(y.parameters)) for y in instructions}) > 1:
        return None
    try:
        shape = _one([y.shape for y in instructions])
        if x.primitive != "constant":
            parameters = {key: _one([y.parameters[key] for y in instructions]) for key in x.parameters}
            return Step(x.primitive, x.operands, parameters, shape, x.dtype, path)
    except ValueError:
        return None
    values = [y.parameters["value"] for y in instructions]
    if len({(v.shape, v.tobytes()) for v in values}) == 1:
        return Step("constant", (), {"value": values[0]}, shape, x.dtype, path)
    if x.dtype.kind in "iu" and all(
        np.array_equal(v.ravel(), np.arange(n)) for v, n in zip(values, SIZES, strict=True)
    ):
        return Step("range", (), {}, shape, x.dtype, path)  # the instances' own positions
    return None


def _at(x: Step, size: int) -> Instruction:
    """The instruction that a step is at a batch size."""
    shape: Any = at(x.shape, size)
    if x.primitive == "range":
        return Instruction("constant", (), {"value": np.arange(size).astype(x.dtype).reshape(shape)}, shape, x.dtype)
    parameters = {key: at(value, size) for key, value in x.parameters.items()}
    return Instruction(x.primitive, x.operands, parameters, shape, x.dtype)


def _one(values: list[Any]) -> Any:
    """What values at the three batch sizes are in terms of the batch; ``ValueError`` if they are not one thing."""
    if len({repr(value) for value in values}) == 1:
        return values[0]
    if all(isinstance(value, tuple) for value in values) and len({len(value) for value in values}) == 1:
        return tuple(_one(list(parts)) for parts in zip(*values, strict=True))
    if not all(isinstance(value, int) for value in values):
        raise ValueError(values)
    per, rest = divmod(values[1] - values[0], SIZES[1] - SIZES[0])
    plus = values[0] - per * SIZES[0]
    if rest or values[2] != per * SIZES[2] + plus:
        raise ValueError(values)
    return Affine(per, plus)


def _what(instructions: tuple[Instruction, ...]) -> str:
    """What instructions are at two of the sizes."""
    if {x.primitive for x in instructions} == {"constant"}:
        return f"a constant of {_short(instructions[0])} at {SIZES[0]} and of {_short(instructions[1])} at {SIZES[1]}"
    shapes = [f"{x.primitive} of shape {x.shape} at {n}" for x, n in zip(instructions, SIZES, strict=True)]
    return " and ".join(shapes[:2])


def _short(x: Instruction) -> str:
    value = x.parameters["value"]
    return str(value.item()) if value.size == 1 else f"shape {value.shape}"
