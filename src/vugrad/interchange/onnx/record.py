"""What a model computes, for every batch size: recorded at several."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Output, Program
from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.trace import Trace, trace
from vugrad.compiler.trace.standin import Traced
from vugrad.graph import TensorNode
from vugrad.interchange.onnx.sizes import MARK, SIZES, DiffersError, alike, check, common
from vugrad.interchange.onnx.steps import Steps
from vugrad.nn import Module
from vugrad.nn.calls import Forward, in_eval_mode
from vugrad.nn.module import called_the_same

Array = Any


def record(model: Module, examples: Sequence[Array]) -> Steps:
    """The model's program in eval mode, with all that depends on the batch in terms of it.

    It is recorded at the sizes that say what depends on the batch, and checked at the example's own, 1 and 2. Raises
    ``ValueError`` for a model that computes something else at another batch size, or changes its state.
    """

    def recorded(size: int) -> Trace:
        return _whole(trace(model, _batches(examples, size), (model,), origins=True))

    own = len(examples[0])
    with in_eval_mode(model, _naming), _not_too_deep():
        others = {own: recorded(own)} if own else {}
        for size in {1, 2} - others.keys():
            with contextlib.suppress(Exception):  # a model need not take as few
                others[size] = recorded(size)
        try:
            traces = [recorded(size) for size in SIZES]
        except Exception as error:
            error.add_note(
                f"export_onnx runs the model on batches of {' and '.join(map(str, SIZES))} instances like the "
                "example's, since the graph is to work for every batch size"
            )
            raise
        first = traces[0]
        try:
            steps = common([t.program for t in traces])
            for size, other in others.items():
                numbers = functools.partial(_inputs, other, examples, size)
                check(steps, first.program.outputs, other.program, size, numbers)
        except DiffersError as error:
            # What is drawn by chance may be the same twice.
            same = all(alike(recorded(SIZES[0]).program, first.program) for _ in range(4))
            raise ValueError(_differs(error) if same else _never_the_same(error)) from None
    arguments = first.program.inputs("argument")
    return Steps(
        steps, [arguments[f"argument {i}"] for i in range(len(examples))], _state(model, first), _outputs(first.program)
    )


@contextlib.contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise ValueError(
            "the model's modules lie so deep in each other, or call each other without end, that recording their calls "
            f"takes more than Python's limit of {sys.getrecursionlimit()}, three for each module: put modules beside "
            "each other, as in nn.Sequential(a, b, c), or call sys.setrecursionlimit with a higher number first"
        ) from None


def _whole(traced: Trace) -> Trace:
    """The trace, with the arrays in the result that do not depend on the input among the program's outputs."""
    program = traced.program
    for output in program.outputs:
        if output.into is not None:
            raise ValueError(
                f"the model changes its {output.into!r} when it is called, in eval mode too, and an ONNX graph has no "
                "state: change it only if self.training"
            )
    if not program.outputs:
        raise ValueError("the model returns nothing that depends on its input: there is no graph to export")
    numbers = {output.name: output.number for output in program.outputs}
    program.outputs = []
    for name, part in _parts(traced.result, "result"):
        if name not in numbers:
            value = np.asarray(getattr(part, "value", part) if isinstance(part, TensorNode) else part)
            if value.dtype not in SHORT:
                raise ValueError(
                    f"the model returns a {type(part).__name__} as its {_plain(name)}, and an ONNX graph gives arrays "
                    "of numbers: return those alone"
                )
            numbers[name] = program.add("constant", value=value)
            if program.origins is not None:
                program.origins[numbers[name]] = f"{MARK}{_plain(name)}"
        program.outputs.append(Output(name, numbers[name]))
    return traced


def _parts(result: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is in a result, by the names that the trace gives its outputs; what is None is nothing."""
    if isinstance(result, list | tuple | dict):
        for key, part in result.items() if isinstance(result, dict) else enumerate(result):
            yield from _parts(part, f"{name}[{key!r}]")
    elif result is not None:
        yield name, result


def _state(model: Module, traced: Trace) -> dict[int, tuple[str, Array]]:
    """The names and the arrays of the model's state, by the numbers of the inputs that they are."""
    names = {id(getattr(member, "value", member)): path for path, member in model.named_members()}
    arrays = {slot.name: slot.get() for slot in traced.slots}
    state = {n: (names.get(id(arrays[name]), name), arrays[name]) for name, n in traced.program.inputs("state").items()}
    found: set[str] = set()
    for name, _ in state.values():
        if name in found:
            raise called_the_same(name)
        found.add(name)
    return state


def _inputs(traced: Trace, examples: Sequence[Array], size: int) -> dict[str, Array]:
    """Numbers for the inputs of a program; whole ones as they are in the example, where they may be positions."""
    rng, inputs = np.random.default_rng(0), {slot.name: slot.get() for slot in traced.slots}
    for i, x in enumerate(examples):
        shape = (size, *x.shape[1:])
        drawn = rng.normal(size=shape).astype(x.dtype) if x.dtype.kind == "f" else np.resize(x, shape)
        inputs[f"argument {i}"] = drawn
    return inputs


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


def _outputs(program: Program) -> list[tuple[str, int]]:
    """The outputs' numbers under plain names."""
    return [(_plain(o.name), o.number) for o in program.outputs]


def _plain(name: str) -> str:
    """What an output is called: ``output``, with a number or key behind it for each of several."""
    text = name.replace("result", "output", 1).replace("'", "")
    return text.replace("][", "_").replace("[", "_").replace("]", "")


def _differs(error: DiffersError) -> str:
    """What to say of a model that depends on the batch in a way that no graph can."""
    return (
        f"the model computes something else at each batch size{error.where}: {error.what} instances. An ONNX graph is "
        "one program for all of them: treat every instance by itself (axis=1 where axis=0 is the batch), take means "
        "over the batch outside of the model, and make no constant, no branch and no loop of len(x)"
    )


def _never_the_same(error: DiffersError) -> str:
    """What to say of a model that does not do the same twice."""
    return (
        f"the model computes something else each time that it is called{error.where}, in eval mode too: it draws "
        "random numbers, or counts, in Python, and an ONNX graph gives the same for the same input. Do that only if "
        "self.training, as vg.nn.Dropout does"
    )
