"""What a model computes, for every batch size: recorded at three, and compared instruction by instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Program
from vugrad.compiler.arrays.program import Instruction
from vugrad.compiler.trace import Trace, trace
from vugrad.compiler.trace.standin import Traced
from vugrad.graph import TensorNode
from vugrad.interchange.onnx.steps import Affine, Step, Steps
from vugrad.nn import Module
from vugrad.nn.calls import Forward, in_eval_mode

Array = Any

#: The batch sizes: two say how an extent depends on the batch, if it grows in proportion; the third, whether it does.
SIZES = (37, 41, 43)


def record(model: Module, examples: Sequence[Array]) -> Steps:
    """The model's program in eval mode, with all that depends on the batch in terms of it.

    Raises ``ValueError`` for a model that computes something else at another batch size, or changes its state.
    """
    with in_eval_mode(model, _naming):
        try:
            traces = [trace(model, _batches(examples, size), (model,), origins=True) for size in SIZES]
        except (ValueError, IndexError) as error:
            error.add_note(
                f"export_onnx runs the model on batches of {' and '.join(map(str, SIZES))} instances like the "
                "example's, since the graph is to work for every batch size"
            )
            raise
    first = traces[0]
    for output in first.program.outputs:
        if output.into is not None:
            raise ValueError(
                f"the model changes its {output.into!r} when it is called, in eval mode too, and an ONNX graph has no "
                "state: change it only if self.training"
            )
    if not first.program.outputs:
        raise ValueError("the model returns nothing that depends on its input: there is no graph to export")
    steps = _common([t.program for t in traces])
    names = {id(getattr(member, "value", member)): path for path, member in model.named_members()}
    arrays = {slot.name: slot.get() for slot in first.slots}
    state = {n: (names.get(id(arrays[name]), name), arrays[name]) for name, n in first.program.inputs("state").items()}
    arguments = first.program.inputs("argument")
    return Steps(steps, [arguments[f"argument {i}"] for i in range(len(examples))], state, _outputs(first))


def _batches(examples: Sequence[Array], size: int) -> tuple[Array, ...]:
    """Arrays like the examples, of another batch size; nobody reads their numbers."""
    return tuple(np.broadcast_to(np.zeros((), x.dtype), (size, *x.shape[1:])) for x in examples)


def _naming(path: str, module: Module, forward: Forward) -> Forward:
    """The forward, which writes the module's path to the origins of what is recorded in it and in none of its parts."""

    def named(*args: Any, **keywords: Any) -> Any:
        values = [getattr(x, "value", x) if isinstance(x, TensorNode) else x for x in (*args, *keywords.values())]
        program = next((x.program for x in values if isinstance(x, Traced)), None)
        start = len(program.instructions) if program else 0
        result = forward(*args, **keywords)
        if program is not None and program.origins is not None:
            for number in range(start, len(program.instructions)):
                if not program.origins.get(number, "").startswith(MARK):
                    program.origins[number] = f"{MARK}{path}"
        return result

    return named


#: Tells a module's path from an op's name among a program's origins.
MARK = "/"


def _outputs(traced: Trace) -> list[tuple[str, int]]:
    """The outputs' numbers under plain names: ``output``, or a number or key for each of several."""
    names = {o.name: o.name.replace("result", "output", 1).replace("'", "") for o in traced.program.outputs}
    plain = {name: text.replace("][", "_").replace("[", "_").replace("]", "") for name, text in names.items()}
    return [(plain[o.name], o.number) for o in traced.program.outputs]


class _DiffersError(Exception):
    """What two programs have in the same place is not one thing in terms of the batch."""


def _common(programs: list[Program]) -> list[Step]:
    """The program that all are, for their batch sizes."""
    steps = []
    lengths = [len(program.instructions) for program in programs]
    for number, instructions in enumerate(zip(*(program.instructions for program in programs), strict=False)):
        origin = (programs[0].origins or {}).get(number, MARK)
        try:
            steps.append(_step(instructions, origin.removeprefix(MARK)))
        except _DiffersError:
            raise ValueError(_differs(instructions, origin)) from None
    if len(set(lengths)) > 1 or len({str(program.outputs) for program in programs}) > 1:
        raise ValueError(_differs((), MARK))
    return steps


def _step(instructions: tuple[Instruction, ...], path: str) -> Step:
    x = instructions[0]
    if len({(y.primitive, y.operands, y.dtype, tuple(y.parameters)) for y in instructions}) > 1:
        raise _DiffersError
    shape = _one([y.shape for y in instructions])
    if x.primitive == "constant":
        values = [y.parameters["value"] for y in instructions]
        if len({(v.shape, v.tobytes()) for v in values}) == 1:
            return Step("constant", (), {"value": values[0]}, shape, x.dtype, path)
        if x.dtype.kind in "iu" and all(
            np.array_equal(v.ravel(), np.arange(n)) for v, n in zip(values, SIZES, strict=True)
        ):
            return Step("range", (), {}, shape, x.dtype, path)  # the instances' own positions
        raise _DiffersError
    parameters = {key: _one([y.parameters[key] for y in instructions]) for key in x.parameters}
    return Step(x.primitive, x.operands, parameters, shape, x.dtype, path)


def _one(values: list[Any]) -> Any:
    """What values at the three batch sizes are in terms of the batch."""
    if len({repr(value) for value in values}) == 1:
        return values[0]
    if all(isinstance(value, tuple) for value in values) and len({len(value) for value in values}) == 1:
        return tuple(_one(list(parts)) for parts in zip(*values, strict=True))
    if not all(isinstance(value, int) for value in values):
        raise _DiffersError
    per, rest = divmod(values[1] - values[0], SIZES[1] - SIZES[0])
    plus = values[0] - per * SIZES[0]
    if rest or values[2] != per * SIZES[2] + plus:
        raise _DiffersError
    return Affine(per, plus)


def _differs(instructions: tuple[Instruction, ...], origin: str) -> str:
    """What to say of a model that depends on the batch in a way that no graph can."""
    where = f" in {origin.removeprefix(MARK)}" if origin != MARK else ""
    what = "other steps"
    if instructions and {x.primitive for x in instructions} == {"constant"}:
        what = f"a constant of {_short(instructions[0])} at {SIZES[0]} and of {_short(instructions[1])} at {SIZES[1]}"
    elif instructions:
        shapes = [f"{x.primitive} of shape {x.shape} at {n}" for x, n in zip(instructions, SIZES, strict=True)]
        what = " and ".join(shapes[:2])
    return (
        f"the model computes something else at each batch size{where}: {what} instances. An ONNX graph is one program "
        "for all of them: treat every instance by itself (axis=1 where axis=0 is the batch), take means over the batch "
        "outside of the model, and make no constant and no loop of len(x)"
    )


def _short(x: Instruction) -> str:
    value = x.parameters["value"]
    return str(value.item()) if value.size == 1 else f"shape {value.shape}"
