"""The array program's interpreter: what each primitive means, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import Instruction, Program
from vugrad.ops import primitives

Array = Any

#: The element-wise primitives that are a NumPy function of another, or of the same, name.
UFUNCS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "neg": np.negative,
    "abs": np.abs,
    "not": np.invert,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "where": np.where,
    "sigmoid": primitives.sigmoid,
    "erf": primitives.erf,
}

REDUCTIONS: dict[str, Callable[..., Array]] = {"sum": np.sum, "maximum": np.max, "minimum": np.min}


def interpret(program: Program, inputs: Mapping[str, Array], optimize: bool = False) -> dict[str, Array]:
    """Run a program on arrays, given by the names of its inputs; returns its outputs by name.

    With ``optimize``, contractions are matrix products where they can be: faster, and rounded in another order.

    >>> import numpy as np
    >>> from vugrad.compiler.arrays.program import Output, Program
    >>> program = Program()
    >>> x = program.add("input", name="x", kind="argument", shape=(3,), dtype=np.dtype("f8"))
    >>> program.outputs.append(Output("y", program.add("mul", x, x)))
    >>> interpret(program, {"x": np.arange(3.0)})["y"]
    array([0., 1., 4.])
    """
    results: list[Array] = []
    with np.errstate(all="ignore"):
        for x in program.instructions:
            y = (
                inputs[x.parameters["name"]]
                if x.primitive == "input"
                else apply(x, [results[i] for i in x.operands], optimize)
            )
            results.append(np.asarray(y).astype(x.dtype, copy=False).reshape(x.shape))
    return {output.name: results[output.number] for output in program.outputs}


def apply(x: Instruction, xs: list[Array], optimize: bool = False) -> Array:
    """The result of one instruction."""
    p = x.parameters
    match x.primitive:
        case "constant":
            return p["value"]
        case "cast":
            return xs[0].astype(x.dtype)
        case "sum" | "maximum" | "minimum":
            return REDUCTIONS[x.primitive](xs[0], axis=p["axes"])
        case "argmax" | "argmin":
            return getattr(np, x.primitive)(xs[0], axis=p["axes"][0])
        case "reshape":
            return xs[0].reshape(x.shape)
        case "transpose":
            return xs[0].transpose(p["axes"])
        case "broadcast":
            return np.broadcast_to(xs[0], x.shape)
        case "slice":
            picks = zip(p["starts"], p["steps"], p["extents"], strict=True)
            return xs[0][np.ix_(*(start + step * np.arange(extent) for start, step, extent in picks))]
        case "pad":
            y = np.full(x.shape, p["value"], x.dtype)
            middles = zip(xs[0].shape, p["widths"], strict=True)
            y[tuple(slice(low, low + n * (gap + 1), gap + 1) for n, (low, _, gap) in middles)] = xs[0]
            return y
        case "concatenate":
            return np.concatenate(xs, axis=p["axis"])
        case "window":
            return primitives.unfold(xs[0], p["kernel"], p["stride"])
        case "fold":
            return primitives.fold(xs[0], p["size"], p["stride"])
        case "contract":
            return np.einsum(p["subscripts"], *xs, optimize=optimize)
        case "gather" | "scatter":
            whole = xs[0].shape if x.primitive == "gather" else x.shape
            # As NumPy counts, from the end below 0; beyond the ends nothing is touched that is not ours.
            places = [
                np.clip(np.where(i < 0, i + whole[a], i), 0, max(whole[a] - 1, 0))
                for i, a in zip(np.broadcast_arrays(*xs[1:]), p["axes"], strict=True)
            ]
            rest = [a for a in range(len(whole)) if a not in p["axes"]]
            if x.primitive == "gather":
                return xs[0].transpose([*p["axes"], *rest])[tuple(places)]
            y = np.zeros([whole[a] for a in (*p["axes"], *rest)], x.dtype)
            np.add.at(y, tuple(places), xs[0])
            return y.transpose(np.argsort([*p["axes"], *rest]))
        case "bits":
            return primitives.random_bits(xs[0], x.shape)
    return (UFUNCS.get(x.primitive) or getattr(np, x.primitive))(*xs)
