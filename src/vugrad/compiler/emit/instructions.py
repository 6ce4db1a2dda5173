"""Element-wise primitives as LLVM instructions, on one number or on a vector of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.emit import functions

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
COMPARE = {"eq": ("oeq", "eq"), "ne": ("une", "ne"), "lt": ("olt", "lt"), "le": ("ole", "le")}
COMPARE |= {"gt": ("ogt", "gt"), "ge": ("oge", "ge")}
ARITHMETIC = {"add": ("fadd", "add"), "sub": ("fsub", "sub"), "mul": ("fmul", "mul"), "div": ("fdiv", "sdiv")}
BITS = {"and": "and", "or": "or", "xor": "xor", "shl": "shl"}
ROUND = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "sqrt": "sqrt"}


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
    """The text of one function as it grows, and what it needs from outside."""

    lines: list[str] = field(default_factory=list)
    count: int = 0
    declared: dict[str, None] = field(default_factory=dict)

    def name(self) -> str:
        """A new register."""
        self.count += 1
        return f"%r{self.count}"

    def emit(self, text: str) -> str:
        """One instruction with a result; returns its register."""
        register = self.name()
        self.lines.append(f"  {register} = {text}")
        return register

    def say(self, text: str) -> None:
        """One instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """The beginning of a block."""
        self.lines.append(f"{name}:")

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
        if lanes:
            kind = typed(dtype)
            text = f"<{', '.join([f'{kind} {text}'] * lanes)}>"
        return Value(text, dtype, lanes)

    def spread(self, x: Value, lanes: int) -> Value:
        """One number in all lanes."""
        if x.lanes == lanes or not lanes:
            return x
        if not x.text.startswith("%"):
            return Value(f"<{', '.join([f'{x.type} {x.text}'] * lanes)}>", x.dtype, lanes)
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


def call(out: Lines, function: str, xs: list[Value], dtype: DType) -> Value:
    """The instructions of one primitive; ``dtype`` is the result's."""
    if function == "div" and xs[0].lanes and not xs[1].lanes and dtype.kind == "f":
        # One division for all lanes, in place of one for each.
        xs = [xs[0], out.binary("fdiv", out.constant(1, dtype), xs[1])]
        function = "mul"
    xs = out.alike(*xs)
    x, lanes = xs[0], xs[0].lanes
    floating = x.dtype.kind == "f"

    if function == "where":
        return out.select(*xs)
    if function == "cast":
        return _cast(out, x, dtype)
    if function in ARITHMETIC:
        if x.dtype == BOOL:
            return out.binary({"add": "or", "mul": "and", "sub": "xor"}[function], *xs)
        return out.binary(f"{ARITHMETIC[function][0]} contract" if floating else ARITHMETIC[function][1], *xs)
    if function in COMPARE:
        by_floats, by_integers = COMPARE[function]
        signed = {"i": "s"}.get(x.dtype.kind, "u")
        return out.compare(
            by_floats if floating else by_integers if function in ("eq", "ne") else signed + by_integers, *xs
        )
    if function in BITS:
        return out.binary(BITS[function], *xs)
    if function == "shr":
        return out.binary("ashr" if x.dtype.kind == "i" else "lshr", *xs)
    if function in ("max", "min"):
        return extreme(out, function, *xs)
    if function == "not":
        return out.binary("xor", x, out.constant(True if x.dtype == BOOL else -1, x.dtype, lanes))
    if function == "neg":
        if floating:
            return Value(out.emit(f"fneg {x}"), dtype, lanes)
        return out.binary("sub", out.constant(0, x.dtype, lanes), x)
    if function == "abs":
        if floating:
            return out.intrinsic("fabs", x)
        if x.dtype.kind != "i":
            return x
        return Value(out.call(f"llvm.abs.{mangled(x.dtype, lanes)}", x.type, x, "i1 false"), dtype, lanes)
    if function == "sign":
        return _sign(out, x)
    if function in ROUND:
        return out.intrinsic(ROUND[function], x) if floating else x
    if function in ("isnan", "isinf", "isfinite"):
        if not floating:
            return out.constant(function == "isfinite", BOOL, lanes)
        if function == "isnan":
            return out.compare("uno", x, x)
        kind = "oeq" if function == "isinf" else "olt"
        return out.compare(kind, out.intrinsic("fabs", x), out.constant(math.inf, x.dtype, lanes))
    return _transcendental(out, function, xs, dtype)


def extreme(out: Lines, function: str, x: Value, y: Value) -> Value:
    """The larger or smaller of two; NaN if one of them is."""
    x, y = out.alike(x, y)
    if x.dtype == BOOL:
        return out.binary("or" if function == "max" else "and", x, y)
    if x.dtype.kind != "f":
        signed = "s" if x.dtype.kind == "i" else "u"
        return out.select(out.compare(signed + ("gt" if function == "max" else "lt"), x, y), x, y)
    # Where x is NaN no comparison holds, and x is taken; where y may be, that needs a look of its own.
    first = out.select(out.compare("ogt" if function == "max" else "olt", y, x), y, x)
    if not y.text.startswith("%"):
        return first
    if not x.text.startswith("%"):
        return extreme(out, function, y, x)
    return out.select(out.compare("uno", y, y), y, first)


def _sign(out: Lines, x: Value) -> Value:
    if x.dtype.kind in "bu":
        return _cast(out, out.compare("ne", x, out.constant(0, x.dtype, x.lanes)), x.dtype)
    zero, one, less = (out.constant(n, x.dtype, x.lanes) for n in (0, 1, -1))
    kinds = ("ogt", "olt") if x.dtype.kind == "f" else ("sgt", "slt")
    rest = x if x.dtype.kind == "f" else zero  # zero or NaN is its own sign
    return out.select(out.compare(kinds[0], x, zero), one, out.select(out.compare(kinds[1], x, zero), less, rest))


def _cast(out: Lines, x: Value, dtype: DType) -> Value:
    if x.dtype == dtype:
        return x
    kind, other = x.dtype.kind, dtype.kind
    to = typed(dtype, x.lanes)
    if other == "b":
        return out.compare("une" if kind == "f" else "ne", x, out.constant(0, x.dtype, x.lanes))
    if kind == "f" and other == "f":
        return Value(
            out.emit(f"{'fpext' if dtype.itemsize > x.dtype.itemsize else 'fptrunc'} {x} to {to}"), dtype, x.lanes
        )
    if kind == "f":  # beyond the range the nearest number, where a bare conversion would be undefined
        name = f"llvm.fpto{'s' if other == 'i' else 'u'}i.sat.{mangled(dtype, x.lanes)}.{mangled(x.dtype, x.lanes)}"
        return Value(out.call(name, to, x), dtype, x.lanes)
    if other == "f":
        return Value(out.emit(f"{'sitofp' if kind == 'i' else 'uitofp'} {x} to {to}"), dtype, x.lanes)
    if kind == "b" or dtype.itemsize > x.dtype.itemsize:
        return Value(out.emit(f"{'sext' if kind == 'i' else 'zext'} {x} to {to}"), dtype, x.lanes)
    if dtype.itemsize == x.dtype.itemsize:
        return Value(x.text, dtype, x.lanes)
    return Value(out.emit(f"trunc {x} to {to}"), dtype, x.lanes)


def _transcendental(out: Lines, function: str, xs: list[Value], dtype: DType) -> Value:
    """A function of ``functions.py``; of whole numbers by way of float64."""
    if xs[0].dtype.kind != "f":
        double = np.dtype(np.float64)
        return _cast(out, _transcendental(out, function, [_cast(out, x, double) for x in xs], double), dtype)
    kind, lanes = SHORT[xs[0].dtype], xs[0].lanes
    text, needs = functions.define(function, kind, lanes or 1)
    for line in (*needs, text):
        out.declare(line)
    arguments = ", ".join(map(str, xs))
    return Value(
        out.emit(f"call {xs[0].type} @{functions.symbol(function, kind, lanes or 1)}({arguments})"), dtype, lanes
    )
