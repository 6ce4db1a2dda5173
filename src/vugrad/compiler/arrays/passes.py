"""What makes an array program shorter without changing what it means, all in one walk.

Results that no output needs go; equal instructions become one; what depends on constants alone is computed now;
and a few laws of algebra that hold for every number, NaN and infinity included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.compiler.arrays.interpret import apply
from vugrad.compiler.arrays.program import Instruction, Output, Program, Shape

#: A constant result of up to so many elements is stored; a larger one is cheaper to compute again.
FOLDED = 4096


def simplify(program: Program) -> Program:
    """A new program with the same outputs and inputs.

    >>> import numpy as np
    >>> program = Program()
    >>> x = program.add("input", name="x", kind="argument", shape=(2,), dtype=np.dtype("f8"))
    >>> one = program.add("constant", value=np.ones(()))
    >>> program.outputs.append(Output("y", program.add("mul", program.add("mul", x, one), x)))
    >>> print(simplify(program))
    %0: f64[2] = input(name=x, kind=argument)
    %1: f64[2] = mul(%0, %0)
    return y=%1
    """
    short, new_number, seen = Program(), dict[int, int](), dict[Any, int]()
    live = _live(program)
    for number, x in enumerate(program.instructions):
        if number in live:
            operands = tuple(new_number[i] for i in x.operands)
            new_number[number] = _place(short, seen, x.primitive, operands, dict(x.parameters))
    short.outputs = [Output(o.name, new_number[o.number], o.into) for o in program.outputs]
    short.origins = _carried(program, new_number)
    return _without_dead(short)


def _carried(program: Program, new_number: dict[int, int]) -> dict[int, str] | None:
    """Where the results of a shorter program come from; of what became one, where it was first."""
    if program.origins is None:
        return None
    return {new_number[i]: program.origins[i] for i in sorted(program.origins, reverse=True) if i in new_number}


def _live(program: Program) -> set[int]:
    """The results that some output depends on, and every input."""
    live = {*program.inputs().values(), *(output.number for output in program.outputs)}
    for number in reversed(range(len(program.instructions))):
        if number in live:
            live.update(program[number].operands)
    return live


def _without_dead(program: Program) -> Program:
    """The program without what the laws of algebra have made useless."""
    live, kept, new_number = _live(program), Program(), dict[int, int]()
    for number, x in enumerate(program.instructions):
        if number in live:
            new_number[number] = len(kept.instructions)
            operands = tuple(new_number[i] for i in x.operands)
            kept.instructions.append(Instruction(x.primitive, operands, x.parameters, x.shape, x.dtype))
    kept.outputs = [Output(o.name, new_number[o.number], o.into) for o in program.outputs]
    kept.origins = _carried(program, new_number)
    return kept


def _place(
    program: Program, seen: dict[Any, int], primitive: str, operands: tuple[int, ...], parameters: dict[str, Any]
) -> int:
    """The number of the result in ``program``: of one that is there already, or of a new instruction."""
    key = (primitive, operands, tuple(sorted((name, _hashable(value)) for name, value in parameters.items())))
    if key in seen:
        return seen[key]
    number = program.add(primitive, *operands, **parameters)
    x = program[number]
    xs = [program[i] for i in operands]
    shorter = _shorter(program, x, xs)
    if shorter is None and operands and x.size <= FOLDED and all(y.primitive == "constant" for y in xs):
        with np.errstate(all="ignore"):
            value = apply(x, [y.parameters["value"] for y in xs])
        shorter = ("constant", (), {"value": np.ascontiguousarray(value, x.dtype).reshape(x.shape)})
    if shorter is not None:
        program.instructions.pop()
        number = shorter if isinstance(shorter, int) else _place(program, seen, *shorter)
    seen[key] = number
    return number


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return repr(value)  # tells 0.0 from -0.0, which are equal


Shorter = int | tuple[str, tuple[int, ...], dict[str, Any]] | None


def _shorter(program: Program, x: Instruction, xs: list[Instruction]) -> Shorter:
    """An equal result that is there already, by its number, or a shorter instruction for it."""
    match x.primitive:
        case "mul" | "div" | "add" | "sub" | "pow":
            return _neutral(x, xs)
        case "cast" | "reshape" | "broadcast" if (xs[0].shape, xs[0].dtype) == (x.shape, x.dtype):
            return x.operands[0]
        case "transpose" if x.parameters["axes"] == tuple(range(len(x.shape))):
            return x.operands[0]
        case "slice" if xs[0].shape == x.shape and set(x.parameters["steps"]) <= {1}:
            return x.operands[0]
        case "sum" | "maximum" | "minimum" if not x.parameters["axes"]:
            return x.operands[0]
        case "reshape" if xs[0].primitive == "reshape":
            return "reshape", xs[0].operands, {"shape": x.shape}
        case "transpose" if xs[0].primitive == "transpose":
            inner = xs[0].parameters["axes"]
            return "transpose", xs[0].operands, {"axes": tuple(inner[a] for a in x.parameters["axes"])}
        case "transpose" if _same_order(xs[0].shape, x.parameters["axes"]):
            return "reshape", x.operands, {"shape": x.shape}
    return None


def _same_order(shape: Shape, axes: tuple[int, ...]) -> bool:
    """Whether a transposition moves axes of extent 1 only."""
    moved = [a for a in axes if shape[a] != 1]
    return moved == sorted(moved)


def _neutral(x: Instruction, xs: list[Instruction]) -> int | None:
    """The operand that an operation with its neutral element leaves as it is."""
    neutral = {"mul": 1, "div": 1, "pow": 1, "add": -0.0, "sub": 0}[x.primitive]
    for i in (1, 0) if x.primitive in ("mul", "add") else (1,):
        other = xs[1 - i]
        if xs[i].primitive == "constant" and other.shape == x.shape and other.dtype == x.dtype:
            value = xs[i].parameters["value"]
            # -0.0 + 0.0 is 0.0, so that only -0.0 is neutral in a floating-point sum.
            if value.size and (value == neutral).all() and (x.dtype.kind != "f" or np.signbit(value).all() == np.signbit(neutral)):
                return x.operands[1 - i]
    return None
