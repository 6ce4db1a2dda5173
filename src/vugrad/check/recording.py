"""An op's two directions as one array program, recorded here or by the process that an op lives in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.check.elsewhere import Elsewhere
from vugrad.check.subject import Arrays, listed
from vugrad.compiler.arrays import Output, Program, verify
from vugrad.compiler.trace import trace
from vugrad.graph import Op

#: Instructions, and elements of one result, that a program from another process may have.
LONG, LARGE = 5_000, 100_000


@dataclass(frozen=True)
class Recording:
    """A program whose inputs are the op's real inputs and then the upstream gradients.

    Args:
        program: the instructions.
        outputs: what forward returns: for each array the name of the program's output, or what it is at every call.
        gradients: likewise what backward returns.
    """

    program: Program
    outputs: list[Any]
    gradients: list[Any]


@dataclass(frozen=True)
class Named:
    """An output of the program, by its name."""

    name: str


def record(op: type[Op], xs: Arrays, constants: Mapping[str, Any]) -> Recording:
    """Record both directions; whole numbers among the inputs stay what they are.

    Raises ``CannotCompileError`` for a body that cannot be recorded. An op that lives in another process is recorded
    there, by its own ``record``.
    """
    if issubclass(op, Elsewhere):
        found: Recording = op.record(xs, constants)
        return found
    real = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]
    with np.errstate(all="ignore"):
        ys = listed(op.forward({}, *map(np.copy, xs), **constants))
    gos = [np.ones(np.shape(y)) for y in ys]

    def both(*arrays: Any) -> Any:
        inputs = list(xs)
        for i, array in zip(real, arrays, strict=False):
            inputs[i] = array
        context: dict[str, Any] = {}
        return listed(op.forward(context, *inputs, **constants)), listed(op.backward(context, *arrays[len(real) :]))

    recorded = trace(both, (*(xs[i] for i in real), *gos))
    return Recording(recorded.program, *recorded.rebuild({o.name: Named(o.name) for o in recorded.program.outputs}))


def sent(recording: Recording) -> dict[str, Any]:
    """A recording as plain values, of which :func:`received` makes one again."""
    program = recording.program
    return {
        "instructions": [[x.primitive, list(x.operands), dict(x.parameters)] for x in program.instructions],
        "program outputs": [[output.name, output.number] for output in program.outputs],
        **{
            key: [["output", part.name] if isinstance(part, Named) else ["fixed", part] for part in parts]
            for key, parts in (("outputs", recording.outputs), ("gradients", recording.gradients))
        },
    }


def received(message: Mapping[str, Any]) -> Recording:
    """A recording from another process, of which nothing is believed: each instruction is made anew and verified.

    Raises ``NotImplementedError`` for what is no program, or too large for algebra.
    """
    program = Program()
    try:
        for primitive, operands, parameters in message["instructions"]:
            if len(program.instructions) >= LONG or not all(0 <= i < len(program.instructions) for i in operands):
                raise ValueError("it is too long, or an operand comes after its use")
            number = program.add(str(primitive), *operands, **parameters)
            if math.prod(program[number].shape) > LARGE:
                raise ValueError(f"its {primitive} is too large")
        program.outputs = [Output(str(name), int(number)) for name, number in message["program outputs"]]
        verify(program)
        names = {output.name for output in program.outputs}
        results = [[_result(part, names) for part in message[key]] for key in ("outputs", "gradients")]
    except Exception as error:
        raise NotImplementedError(f"what was recorded is no array program that can be proven: {error}") from error
    return Recording(program, *results)


def _result(part: Any, names: set[str]) -> Any:
    kind, value = part
    if kind == "fixed":
        return value
    if value not in names:
        raise ValueError(f"it has no output {value!r}")
    return Named(value)
