"""Element-wise primitives as LLVM instructions, on one number or on a vector of them."""

from __future__ import annotations

import math

import numpy as np

from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.emit import functions
from vugrad.compiler.emit.lines import BOOL, DType, Lines, Value, mangled, typed

COMPARE = {"eq": ("oeq", "eq"), "ne": ("une", "ne"), "lt": ("olt", "lt"), "le": ("ole", "le")}
COMPARE |= {"gt": ("ogt", "gt"), "ge": ("oge", "ge")}
ARITHMETIC = {"add": ("fadd", "add"), "sub": ("fsub", "sub"), "mul": ("fmul", "mul"), "div": ("fdiv", "sdiv")}
BITS = {"and": "and", "or": "or", "xor": "xor", "shl": "shl"}
ROUND = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "sqrt": "sqrt"}


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
    rest = out.binary("fadd", x, zero) if x.dtype.kind == "f" else zero  # NaN, or 0 (-0.0 becomes 0.0)
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
