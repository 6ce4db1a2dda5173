"""The text of LLVM functions as it grows: values with their types, and the instructions that all kinds of code need."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import SHORT

DType = np.dtype[Any]

#: LLVM's names of the types of registers; in memory a bool is an i8.
LLVM = {
    "bool": "i1",
    "f32": "float",
    "f64": "double",
    **{f"{sign}{8 * n}": f"i{8 * n}" for sign in "iu" for n in (1, 2, 4, 8)},
}
INDEX = np.dtype(np.int64)
BOOL = np.dtype(bool)


@dataclass(frozen=True)
class Value:
    """An operand in LLVM's text: a register or a literal, its dtype, and its lanes (0 for one number)."""

    text: str
    dtype: DType
    lanes: int = 0

    @property
    def type(self) -> str:
        """LLVM's name of the type."""
        return typed(self.dtype, self.lanes)

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


def typed(dtype: DType, lanes: int = 0) -> str:
    """LLVM's name of a register's type."""
    name = LLVM[SHORT[dtype]]
    return f"<{lanes} x {name}>" if lanes else name


def in_memory(dtype: DType, lanes: int = 0) -> str:
    """LLVM's name of the type that holds it in memory."""
    return typed(np.dtype(np.int8) if dtype == BOOL else dtype, lanes)


def literal(value: Any, dtype: DType) -> str:
    """A number as LLVM writes it; floats by their bits as a double's, which are exact."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            number = float(dtype.type(value))
        if math.isnan(number):
            return "0x7FF8000000000000"
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    return str(int(value))


@dataclass
class Lines:
    """The text of one function as it grows, and the functions that it calls.

    ``block`` is the label of the current basic block, ``known`` has the register of each instruction written in it.
    """

    lines: list[str] = field(default_factory=list)
    count: int = 0
    block: str = "entry"
    known: dict[str, str] = field(default_factory=dict)
    declared: dict[str, None] = field(default_factory=dict)

    def name(self) -> str:
        """A new register."""
        self.count += 1
        return f"%r{self.count}"

    def emit(self, text: str) -> str:
        """Write an instruction with a result; return its register.

        Within a basic block the same text gives the same register: local common-subexpression elimination. Loads, calls
        and phis are always written.
        """
        register = self.known.get(text)
        if register is None:
            register = self.name()
            self.lines.append(f"  {register} = {text}")
            if not text.startswith(("load", "call", "phi")):
                self.known[text] = register
        return register

    def say(self, text: str) -> None:
        """One instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """The beginning of a block."""
        self.lines.append(f"{name}:")
        self.block, self.known = name, {}

    def declare(self, text: str) -> None:
        """Something that the module declares or defines once."""
        self.declared[text] = None

    def call(self, name: str, result: str, *arguments: Value | str) -> str:
        """A call of an intrinsic, declared on the way."""
        kinds = ", ".join(a.type if isinstance(a, Value) else a.split()[0] for a in arguments)
        self.declare(f"declare {result} @{name}({kinds})")
        return self.emit(f"call {result} @{name}({', '.join(map(str, arguments))})")

    # --- numbers and vectors

    def constant(self, value: Any, dtype: DType, lanes: int = 0) -> Value:
        """A literal, the same in all lanes."""
        text = literal(value, dtype)
        return Value(f"splat ({typed(dtype)} {text})" if lanes else text, dtype, lanes)

    def spread(self, x: Value, lanes: int) -> Value:
        """One number in all lanes."""
        if x.lanes == lanes or not lanes:
            return x
        if not x.text.startswith("%"):
            return Value(f"splat ({x})", x.dtype, lanes)
        kind = typed(x.dtype, lanes)
        first = self.emit(f"insertelement {kind} poison, {x}, i64 0")
        return Value(
            self.emit(f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer"), x.dtype, lanes
        )

    def alike(self, *xs: Value) -> list[Value]:
        """The operands with the lanes of the widest."""
        lanes = max(x.lanes for x in xs)
        return [self.spread(x, lanes) for x in xs]

    def shuffle(self, x: Value, y: Value, picks: Iterable[int]) -> Value:
        """The lanes of two vectors, counted through, that are picked."""
        chosen = [f"i32 {i}" for i in picks]
        mask = f"<{len(chosen)} x i32> <{', '.join(chosen)}>"
        return Value(self.emit(f"shufflevector {x}, {y}, {mask}"), x.dtype, len(chosen))

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        """X where the condition holds, else y."""
        condition, x, y = self.alike(condition, x, y)
        return Value(self.emit(f"select {condition}, {x}, {y}"), x.dtype, x.lanes)

    def compare(self, kind: str, x: Value, y: Value) -> Value:
        """A comparison, by the name of LLVM's condition."""
        x, y = self.alike(x, y)
        word = "fcmp" if x.dtype.kind == "f" else "icmp"
        return Value(self.emit(f"{word} {kind} {x.type} {x.text}, {y.text}"), BOOL, x.lanes)

    def binary(self, word: str, x: Value, y: Value) -> Value:
        """An instruction of two operands of one type."""
        x, y = self.alike(x, y)
        return Value(self.emit(f"{word} {x.type} {x.text}, {y.text}"), x.dtype, x.lanes)

    def intrinsic(self, name: str, *xs: Value) -> Value:
        """``llvm.name`` of operands of one type."""
        xs = tuple(self.alike(*xs))
        suffix = mangled(xs[0].dtype, xs[0].lanes)
        return Value(self.call(f"llvm.{name}.{suffix}", xs[0].type, *xs), xs[0].dtype, xs[0].lanes)


def mangled(dtype: DType, lanes: int) -> str:
    """The suffix of an intrinsic's name for a type."""
    kind = {"float": "f32", "double": "f64"}.get(typed(dtype), typed(dtype))
    return f"v{lanes}{kind}" if lanes else kind
