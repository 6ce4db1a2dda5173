"""What an array program is: instructions, each a primitive applied to results of earlier ones, in order.

It prints as text, one instruction a line: ``%7: f32[256,10] = add(%5, %6)``. Every primitive stands in
``PRIMITIVES`` with its family, and ``infer`` says which shape and dtype it gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
DType = np.dtype[Any]

ARITHMETIC = ("add", "sub", "mul", "div", "pow", "max", "min", "and", "or", "xor", "shl", "shr")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
TESTS = ("isnan", "isinf", "isfinite")
FUNCTIONS = (
    *("neg", "abs", "sign", "sqrt", "exp", "log", "expm1", "log1p", "log2", "log10", "tanh", "sigmoid", "erf"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "floor", "ceil", "rint", "trunc", "not"),
)

#: Every primitive and the family that it belongs to.
PRIMITIVES: dict[str, str] = {
    **dict.fromkeys(("input", "constant"), "source"),
    **dict.fromkeys((*ARITHMETIC, *COMPARISONS, *TESTS, *FUNCTIONS, "where", "cast"), "element-wise"),
    **dict.fromkeys(("sum", "maximum", "minimum", "argmax", "argmin"), "reduction"),
    **dict.fromkeys(("reshape", "transpose", "broadcast", "slice", "pad", "concatenate", "window", "fold"), "movement"),
    "contract": "contraction",
    **dict.fromkeys(("gather", "scatter"), "indexing"),
    "bits": "random",
}

#: Those that show numbers which are there already, in another order or more than once.
VIEWS = ("reshape", "transpose", "broadcast", "slice", "window")

#: The dtypes that a program can hold, by their short names.
DTYPES: dict[str, DType] = {
    "bool": np.dtype(bool),
    **{f"i{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}
SHORT = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, eq=False)
class Instruction:
    """One result: a primitive applied to the results with the numbers ``operands``."""

    primitive: str
    operands: tuple[int, ...]
    parameters: Mapping[str, Any]
    shape: Shape
    dtype: DType

    @property
    def type(self) -> str:
        """Dtype and shape, as in ``f32[256,10]``."""
        return f"{SHORT[self.dtype]}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def family(self) -> str:
        """The primitive's family."""
        return PRIMITIVES[self.primitive]


@dataclass(frozen=True)
class Output:
    """A result that leaves the program; ``into`` names the input array that it is written back to."""

    name: str
    number: int
    into: str | None = None


@dataclass
class Program:
    """Instructions in an order in which they can run, and which results leave.

    >>> import numpy as np
    >>> program = Program()
    >>> x = program.add("input", name="x", kind="argument", shape=(2, 3), dtype=np.dtype("f4"))
    >>> y = program.add("sum", x, axes=(1,))
    >>> program.outputs.append(Output("y", y))
    >>> print(program)
    %0: f32[2,3] = input(name=x, kind=argument)
    %1: f32[2] = sum(%0, axes=(1,))
    return y=%1
    """

    instructions: list[Instruction] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    #: Where results come from, by their numbers, if that is recorded: the op, or the line of the source.
    origins: dict[int, str] | None = field(default=None, repr=False, compare=False)

    def add(self, primitive: str, *operands: int, **parameters: Any) -> int:
        """Append an instruction, its shape and dtype inferred; returns its number."""
        shape, dtype = infer(primitive, [self.instructions[i] for i in operands], parameters)
        self.instructions.append(Instruction(primitive, operands, parameters, shape, dtype))
        return len(self.instructions) - 1

    def __getitem__(self, number: int) -> Instruction:
        return self.instructions[number]

    def inputs(self, kind: str | None = None) -> dict[str, int]:
        """The inputs by name, of one kind ("argument", "state", "scalar") or of all."""
        return {
            x.parameters["name"]: number
            for number, x in enumerate(self.instructions)
            if x.primitive == "input" and kind in (None, x.parameters["kind"])
        }

    def users(self) -> list[list[int]]:
        """For each result the numbers of the instructions that use it, once per operand."""
        users: list[list[int]] = [[] for _ in self.instructions]
        for number, x in enumerate(self.instructions):
            for operand in x.operands:
                users[operand].append(number)
        return users

    def __str__(self) -> str:
        lines = [f"%{number}: {x.type} = {_call(x)}" for number, x in enumerate(self.instructions)]
        results = ", ".join(f"{o.into or o.name}{'←' if o.into else '='}%{o.number}" for o in self.outputs)
        return "\n".join([*lines, f"return {results}"])


def _call(x: Instruction) -> str:
    shown = {key: value for key, value in x.parameters.items() if key not in ("shape", "dtype") or x.operands}
    if x.primitive == "constant":
        value = x.parameters["value"]
        shown["value"] = value.tolist() if value.size <= 4 else f"<{value.size} numbers>"
    if x.primitive == "cast":
        shown["dtype"] = SHORT[x.dtype]
    arguments = [f"%{operand}" for operand in x.operands]
    return f"{x.primitive}({', '.join([*arguments, *(f'{key}={value}' for key, value in shown.items())])})"


def infer(primitive: str, xs: Sequence[Instruction], p: Mapping[str, Any]) -> tuple[Shape, DType]:
    """The shape and dtype of a result; ``ValueError`` for operands that do not fit the primitive."""
    family = PRIMITIVES.get(primitive)
    if family is None:
        raise ValueError(f"there is no primitive {primitive!r}")
    if family == "element-wise":
        return _elementwise(primitive, xs, p)
    if primitive in ("input", "constant"):
        shape = p["value"].shape if primitive == "constant" else p["shape"]
        dtype = p["value"].dtype if primitive == "constant" else p["dtype"]
        if dtype not in SHORT:
            raise ValueError(f"an array program holds {', '.join(DTYPES)}, not {dtype}")
        return shape, dtype
    if primitive == "bits":
        return tuple(p["shape"]), np.dtype(np.uint32)
    if primitive == "contract":
        return _contract(xs, p["subscripts"])
    if primitive in ("gather", "scatter"):
        return _indexing(primitive, xs, p)
    shape = xs[0].shape
    if family == "reduction":
        axes = p["axes"]
        if len(set(axes)) != len(axes) or not all(0 <= a < len(shape) for a in axes):
            raise ValueError(f"{primitive} over axes {axes} of shape {shape}")
        if primitive != "sum" and 0 in [shape[a] for a in axes]:
            raise ValueError(f"{primitive} over no element")
        dtype = np.dtype(np.int64) if primitive.startswith("arg") else xs[0].dtype
        return tuple(n for i, n in enumerate(shape) if i not in axes), dtype
    return MOVED[primitive](shape, p) if primitive != "concatenate" else _joined(xs, p["axis"]), xs[0].dtype


def _elementwise(primitive: str, xs: Sequence[Instruction], p: Mapping[str, Any]) -> tuple[Shape, DType]:
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    alike = xs[1:] if primitive == "where" else xs
    if len({x.dtype for x in alike}) > 1 or (primitive == "where" and xs[0].dtype.kind != "b"):
        raise ValueError(f"{primitive} of dtypes {', '.join(SHORT[x.dtype] for x in xs)}: cast them first")
    if primitive in COMPARISONS or primitive in TESTS:
        return shape, np.dtype(bool)
    return shape, np.dtype(p["dtype"]) if primitive == "cast" else alike[0].dtype


def _contract(xs: Sequence[Instruction], subscripts: str) -> tuple[Shape, DType]:
    terms, _, output = subscripts.partition("->")
    extents: dict[str, int] = {}
    for term, x in zip(terms.split(","), xs, strict=True):
        if len(term) != len(x.shape):
            raise ValueError(f"contract {subscripts}: {term!r} for shape {x.shape}")
        for letter, n in zip(term, x.shape, strict=True):
            if extents.setdefault(letter, n) != n:
                raise ValueError(f"contract {subscripts}: {letter!r} is {extents[letter]} and {n}")
    if len({x.dtype for x in xs}) > 1 or len(set(output)) != len(output):
        raise ValueError(f"contract {subscripts} of {', '.join(x.type for x in xs)}")
    return tuple(extents[letter] for letter in output), xs[0].dtype


def _indexing(primitive: str, xs: Sequence[Instruction], p: Mapping[str, Any]) -> tuple[Shape, DType]:
    axes, places = p["axes"], np.broadcast_shapes(*(x.shape for x in xs[1:]))
    if any(x.dtype != np.int64 for x in xs[1:]) or len(axes) != len(xs) - 1:
        raise ValueError(f"{primitive} takes one array of i64 for each axis")
    whole = xs[0].shape if primitive == "gather" else tuple(p["shape"])
    rest = tuple(n for i, n in enumerate(whole) if i not in axes)
    if primitive == "gather":
        if places and 0 in [whole[a] for a in axes] and math.prod(places):
            raise ValueError("gather from an axis without elements")
        return (*places, *rest), xs[0].dtype
    if xs[0].shape != (*places, *rest):
        raise ValueError(f"scatter of {xs[0].shape} at {places} into {whole}")
    return whole, xs[0].dtype


def _joined(xs: Sequence[Instruction], axis: int) -> Shape:
    shapes = [x.shape for x in xs]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1 or len({x.dtype for x in xs}) != 1:
        raise ValueError(f"concatenate of {', '.join(x.type for x in xs)} along axis {axis}")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _reshape(shape: Shape, p: Mapping[str, Any]) -> Shape:
    if math.prod(p["shape"]) != math.prod(shape):
        raise ValueError(f"reshape of {shape} to {p['shape']}")
    return tuple(p["shape"])


def _transpose(shape: Shape, p: Mapping[str, Any]) -> Shape:
    if sorted(p["axes"]) != list(range(len(shape))):
        raise ValueError(f"transpose of {shape} by {p['axes']}")
    return tuple(shape[a] for a in p["axes"])


def _broadcast(shape: Shape, p: Mapping[str, Any]) -> Shape:
    if np.broadcast_shapes(shape, p["shape"]) != tuple(p["shape"]):
        raise ValueError(f"broadcast of {shape} to {p['shape']}")
    return tuple(p["shape"])


def _slice(shape: Shape, p: Mapping[str, Any]) -> Shape:
    for n, start, step, extent in zip(shape, p["starts"], p["steps"], p["extents"], strict=True):
        if extent and not (0 <= start < n and 0 <= start + (extent - 1) * step < n):
            raise ValueError(f"slice of {shape} at {p['starts']} by {p['steps']} for {p['extents']}")
    return tuple(p["extents"])


def _pad(shape: Shape, p: Mapping[str, Any]) -> Shape:
    """``widths`` holds for each axis how much comes before, after, and between two neighbours."""
    if any(min(widths) < 0 for widths in p["widths"]):
        raise ValueError(f"pad of {shape} by {p['widths']}")
    return tuple(
        low + high + n + max(n - 1, 0) * between for n, (low, high, between) in zip(shape, p["widths"], strict=True)
    )


def _window(shape: Shape, p: Mapping[str, Any]) -> Shape:
    *batch, rows, columns = shape
    (kh, kw), (sh, sw) = p["kernel"], p["stride"]
    if kh > rows or kw > columns:
        raise ValueError(f"window {p['kernel']} in shape {shape}")
    return (*batch, (rows - kh) // sh + 1, (columns - kw) // sw + 1, kh, kw)


def _fold(shape: Shape, p: Mapping[str, Any]) -> Shape:
    *batch, rows, columns, kh, kw = shape
    for n, k, s, extent in zip((rows, columns), (kh, kw), p["stride"], p["size"], strict=True):
        if (n - 1) * s + k > extent:
            raise ValueError(f"fold of {shape} into {p['size']}")
    return (*batch, *p["size"])


MOVED = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "window": _window,
    "fold": _fold,
}
