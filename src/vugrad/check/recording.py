"""An op's forward and backward as one array program, recorded here or in the process that runs the op."""

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

#: The most instructions, and elements of one result, of a program from another process.
LONG, LARGE = 5_000, 100_000


@dataclass(frozen=True)
class Recording:
    """A program whose inputs are the op's real inputs and then the upstream gradients.

    Args:
        program: the instructions.
        outputs: the results of forward: for each the name of the program's output, or its constant value.
        gradients: likewise the results of backward.
    """

    program: Program
    outputs: list[Any]
    gradients: list[Any]


@dataclass(frozen=True)
class Named:
    """An output of the program, by its name."""

    name: str


def record(op: type[Op], xs: Arrays, constants: Mapping[str, Any]) -> Recording:
    """Record forward and backward; whole numbers among the inputs become constants.

    Raises ``CannotCompileError`` for a body that cannot be recorded. An op of another process is recorded in that
    process, by its ``record``.
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
    """A recording as plain values, from which :func:`received` restores it."""
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
    """A recording from another process. It is not trusted: each instruction is built again and verified.

    Raises ``NotImplementedError`` for a message that is no program, or a program that is too large for algebra.
    """
    program = Program()
    try:
        for primitive, operands, parameters in message["instructions"]:
            if len(program.instructions) >= LONG or not all(0 <= i < len(program.instructions) for i in operands):
                raise ValueError("the program is too long, or an operand comes after its use")
            number = program.add(str(primitive), *operands, **parameters)
            if math.prod(program[number].shape) > LARGE:
                raise ValueError(f"the result of its {primitive} is too large")
        program.outputs = [Output(str(name), int(number)) for name, number in message["program outputs"]]
        verify(program)
        names = {output.name for output in program.outputs}
        results = [[_result(part, names) for part in message[key]] for key in ("outputs", "gradients")]
    except Exception as error:
        raise NotImplementedError(f"the recorded program cannot be proven: {error}") from error
    return Recording(program, *results)


def _result(part: Any, names: set[str]) -> Any:
    kind, value = part
    if kind == "fixed":
        return value
    if value not in names:
        raise ValueError(f"the program has no output {value!r}")
    return Named(value)
