"""What makes an array program shorter without changing what it means, all in one walk.

Results that no output needs go; equal instructions become one; what depends on constants alone is computed now;
and a few laws of algebra that hold for every number, NaN and infinity included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vugrad.compiler.arrays.interpret import apply
from vugrad.compiler.arrays.program import VIEWS, Instruction, Output, Program, Shape, infer

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
    shortener, new_number = _Shortener(), dict[int, int]()
    alive = live(program)
    for number, x in enumerate(program.instructions):
        if number in alive:
            operands = tuple(new_number[i] for i in x.operands)
            new_number[number] = shortener.place(x.primitive, operands, dict(x.parameters))
    short = shortener.program
    short.outputs = [Output(o.name, new_number[o.number], o.into) for o in program.outputs]
    short.origins = _carried(program, new_number)
    return _without_dead(short)


def _carried(program: Program, new_number: dict[int, int]) -> dict[int, str] | None:
    """Where the results of a shorter program come from; of what became one, where it was first."""
    if program.origins is None:
        return None
    return {new_number[i]: program.origins[i] for i in sorted(program.origins, reverse=True) if i in new_number}


def live(program: Program) -> set[int]:
    """The results that some output depends on, and every input."""
    found = {*program.inputs().values(), *(output.number for output in program.outputs)}
    for number in reversed(range(len(program.instructions))):
        if number in found:
            found.update(program[number].operands)
    return found


def bound(program: Program, values: Mapping[str, Any]) -> Program:
    """The program for some inputs' arrays, given by name, which become constants.

    What depends on constants alone is computed now, whatever its size, and rounded as NumPy rounds; but views stay, so
    that nothing is stored twice.

    >>> program = Program()
    >>> x = program.add("input", name="x", kind="argument", shape=(2,), dtype=np.dtype("f8"))
    >>> w = program.add("input", name="w", kind="state", shape=(2,), dtype=np.dtype("f8"))
    >>> program.outputs.append(Output("y", program.add("mul", x, program.add("exp", w))))
    >>> print(bound(program, {"w": np.array([0.0, 1.0])}))
    %0: f64[2] = input(name=x, kind=argument)
    %1: f64[2] = constant(value=[1.0, 2.718281828459045])
    %2: f64[2] = mul(%0, %1)
    return y=%2
    """
    known: dict[int, Any] = {}
    result = Program(outputs=list(program.outputs))
    for number, x in enumerate(program.instructions):
        if x.primitive == "input" and x.parameters["name"] in values:
            known[number] = np.array(values[x.parameters["name"]], x.dtype)
        elif x.primitive == "constant" or (x.operands and all(i in known for i in x.operands)):
            known[number] = _applied(x, [known[i] for i in x.operands], x.shape)
        if number in known and x.primitive not in VIEWS:
            x = Instruction("constant", (), {"value": known[number]}, x.shape, x.dtype)
        result.instructions.append(x)
    return _without_dead(result)


def turned(program: Program) -> Program:
    """The program with the constant factors of its sums of products as they are read best where few instances are.

    What a factor alone gives to the result, as a convolution's weights its channels, comes to lie together: a vector of
    it then meets one number of the other factor, wherever that lies. A product of a matrix and one vector is left
    alone, for its rows lie well as they are.

    >>> program = Program()
    >>> x = program.add("input", name="x", kind="argument", shape=(4, 2), dtype=np.dtype("f8"))
    >>> w = program.add("constant", value=np.ones((3, 2)))
    >>> program.outputs.append(Output("y", program.add("contract", x, w, subscripts="hi,oi->oh")))
    >>> print(turned(program))
    %0: f64[4,2] = input(name=x, kind=argument)
    %1: f64[2,3] = constant(value=<6 numbers>)
    %2: f64[3,4] = contract(%0, %1, subscripts=hi,io->oh)
    return y=%2
    """
    result, new_number = Program(), dict[int, int]()
    for number, x in enumerate(program.instructions):
        operands, parameters = [new_number[i] for i in x.operands], dict(x.parameters)
        if x.primitive == "contract":
            terms, _, output = x.parameters["subscripts"].partition("->")
            factors = terms.split(",")
            for k, i in enumerate(x.operands):
                value, others = _constant(program, i), {*"".join(factors[:k] + factors[k + 1 :])}
                if value is not None and not others.isdisjoint(output):
                    term = sorted(factors[k], key=lambda letter: letter in output and letter not in others)
                    value = value.transpose([factors[k].index(letter) for letter in term])
                    operands[k] = result.add("constant", value=np.asarray(value, order="C"))
                    factors[k] = "".join(term)
            parameters["subscripts"] = f"{','.join(factors)}->{output}"
        new_number[number] = len(result.instructions)
        result.instructions.append(Instruction(x.primitive, tuple(operands), parameters, x.shape, x.dtype))
    result.outputs = [Output(o.name, new_number[o.number], o.into) for o in program.outputs]
    return _without_dead(result)


def _constant(program: Program, number: int) -> Any:
    """The array of a constant, or of a view of one that shows none of its numbers twice; else ``None``."""
    x = program[number]
    if x.primitive == "constant":
        return x.parameters["value"]
    if x.primitive not in VIEWS or x.primitive in ("broadcast", "window"):
        return None
    value = _constant(program, x.operands[0])
    return None if value is None else apply(x, [value])


def _without_dead(program: Program) -> Program:
    """The program without what nothing needs."""
    alive, kept, new_number = live(program), Program(), dict[int, int]()
    for number, x in enumerate(program.instructions):
        if number in alive:
            new_number[number] = len(kept.instructions)
            operands = tuple(new_number[i] for i in x.operands)
            kept.instructions.append(Instruction(x.primitive, operands, x.parameters, x.shape, x.dtype))
    kept.outputs = [Output(o.name, new_number[o.number], o.into) for o in program.outputs]
    kept.origins = _carried(program, new_number)
    return kept


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return repr(value)  # tells 0.0 from -0.0, which are equal


Shorter = int | tuple[str, tuple[int, ...], dict[str, Any]] | None


class _Shortener:
    """Builds a program in which every instruction is placed as the shortest equal one, once."""

    def __init__(self) -> None:
        self.program = Program()
        self.seen: dict[Any, int] = {}

    def place(self, primitive: str, operands: tuple[int, ...], parameters: dict[str, Any]) -> int:
        """The number of a result: of one that is there already, or of a new instruction."""
        key = (primitive, operands, tuple(sorted((name, _hashable(value)) for name, value in parameters.items())))
        if key not in self.seen:
            if primitive == "constant":  # what happens later to the array that it came from does not matter
                parameters = {"value": np.array(parameters["value"], order="C")}
            xs = [self.program[i] for i in operands]
            x = Instruction(primitive, operands, parameters, *infer(primitive, xs, parameters))
            shorter = self.shorter(x, xs)
            shorter = self.folded(x, xs) if shorter is None else shorter
            if isinstance(shorter, tuple):
                shorter = self.place(*shorter)
            if shorter is None:
                shorter = self.program.add(primitive, *operands, **parameters)
            self.seen[key] = shorter
        return self.seen[key]

    def shorter(self, x: Instruction, xs: list[Instruction]) -> Shorter:
        """An equal result that is there already, by its number, or a shorter instruction for it."""
        match x.primitive:
            case "mul" | "div" | "add" | "sub" | "pow" | "and" | "or":
                return self.neutral(x, xs)
            case "gt" if (larger := self.seen.get(("max", x.operands, ()))) is not None:
                # x > c just where max(x, c) > c: the backward of a ReLU then needs what its forward stored anyway.
                return "gt", (larger, x.operands[1]), {}
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
            case "reshape" if xs[0].primitive == "broadcast" and self.program[xs[0].operands[0]].size == 1:
                return "broadcast", (self.place("reshape", xs[0].operands, {"shape": ()}),), {"shape": x.shape}
            case "transpose" if xs[0].primitive == "transpose":
                inner = xs[0].parameters["axes"]
                return "transpose", xs[0].operands, {"axes": tuple(inner[a] for a in x.parameters["axes"])}
            case "transpose" if _same_order(xs[0].shape, x.parameters["axes"]):
                return "reshape", x.operands, {"shape": x.shape}
        return None

    def folded(self, x: Instruction, xs: list[Instruction]) -> Shorter:
        """The result of constants as a constant; one number everywhere stays one number, repeated."""
        if x.primitive == "constant":
            value = x.parameters["value"]
            if not x.shape or not value.size or value.tobytes() != value.flat[0].tobytes() * value.size:
                return None
            return "broadcast", (self.place("constant", (), {"value": np.array(value.flat[0])}),), {"shape": x.shape}
        values = [self.number(y) for y in xs]
        if xs and x.family == "element-wise" and all(v is not None for v in values):
            value = _applied(x, values, ())
            return "broadcast", (self.place("constant", (), {"value": value}),), {"shape": x.shape}
        if xs and x.size <= FOLDED and all(y.primitive == "constant" for y in xs) and x.primitive != "broadcast":
            return "constant", (), {"value": _applied(x, [y.parameters["value"] for y in xs], x.shape)}
        return None

    def number(self, x: Instruction) -> Any:
        """The one number that an array holds everywhere, where it is known."""
        while x.primitive == "broadcast":
            x = self.program[x.operands[0]]
        return x.parameters["value"].reshape(()) if x.primitive == "constant" and x.size == 1 else None

    def neutral(self, x: Instruction, xs: list[Instruction]) -> int | None:
        """The operand that an operation with its neutral element leaves as it is."""
        neutral = {"mul": 1, "div": 1, "pow": 1, "add": -0.0, "sub": 0.0, "and": -1, "or": 0}[x.primitive]
        neutral = True if x.dtype.kind == "b" and x.primitive == "and" else neutral
        for i in (1, 0) if x.primitive in ("mul", "add", "and", "or") else (1,):
            other, value = xs[1 - i], self.number(xs[i])
            # -0.0 + 0.0 is 0.0, so that only -0.0 is neutral in a floating-point sum.
            signed = x.dtype.kind != "f" or (value is not None and np.signbit(value) == np.signbit(neutral))
            if value is not None and value == neutral and signed and (other.shape, other.dtype) == (x.shape, x.dtype):
                return x.operands[1 - i]
        return None


def _applied(x: Instruction, values: list[Any], shape: Shape) -> Any:
    """The instruction's result for constants, in another shape."""
    with np.errstate(all="ignore"):
        value = apply(Instruction(x.primitive, x.operands, x.parameters, shape, x.dtype), values)
    return np.ascontiguousarray(value, x.dtype).reshape(shape)


def _same_order(shape: Shape, axes: tuple[int, ...]) -> bool:
    """Whether a transposition moves axes of extent 1 only."""
    moved = [a for a in axes if shape[a] != 1]
    return moved == sorted(moved)
