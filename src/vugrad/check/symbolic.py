"""An op's two directions on symbols: its array program, with an expression for every element of every result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.cases import Branch, Equal, First, Largest, Less, LessEqual
from vugrad.check.recording import Named, record
from vugrad.check.subject import Arrays, element, listed, names
from vugrad.check.zero import exact
from vugrad.compiler.arrays import Program
from vugrad.compiler.arrays.interpret import apply
from vugrad.compiler.arrays.program import Instruction
from vugrad.graph import Op

Array = Any
Expr = Any


@dataclass(frozen=True)
class Symbolic:
    """An op on symbols.

    Args:
        inputs: by label, an array of symbols for each input that has a gradient.
        upstream: by label, one for each output.
        outputs: what forward makes of them, an array of expressions for each.
        gradients: by the inputs' labels, what backward makes of them; ``None`` where it gives none.
        edges: what is 0 where the code divides by 0, compares equals, or has a kink.
        analytic: whether forward and backward are analytic everywhere, so that an identity that holds almost everywhere
            holds everywhere.
    """

    inputs: dict[str, Array]
    upstream: dict[str, Array]
    outputs: Arrays
    gradients: dict[str, Array]
    edges: list[Expr]
    analytic: bool


def symbolic(op: type[Op], xs: Arrays, constants: Mapping[str, Any], positive: Mapping[int, bool]) -> Symbolic:
    """Run forward and backward on symbols; whole numbers among the inputs stay what they are.

    ``positive`` says which inputs hold positive numbers. Raises ``CannotCompileError`` for a body that cannot be
    recorded, ``NotImplementedError`` for a primitive that has no meaning on symbols.
    """
    labels = names(op.forward, len(xs), 1)
    real = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]
    recorded = record(op, xs, constants)
    with np.errstate(all="ignore"):
        gos = [np.ones(np.shape(y)) for y in listed(op.forward({}, *map(np.copy, xs), **constants))]
    inputs = {labels[i]: variables(labels[i], xs[i].shape, positive.get(i, False)) for i in real}
    # An upstream gradient may have the same name as an input.
    called = [f"go {name}" if name in labels else name for name in names(op.backward, len(gos), 1)]
    upstream = {name: variables(name, go.shape) for name, go in zip(called, gos, strict=True)}
    given = {f"argument {k}": array for k, array in enumerate([*inputs.values(), *upstream.values()])}
    edges: list[Expr] = []
    found = evaluate(recorded.program, given, edges)
    outputs, gradients = (
        [found[part.name] if isinstance(part, Named) else part for part in parts]
        for parts in (recorded.outputs, recorded.gradients)
    )
    edges = list(dict.fromkeys(e for e in edges if isinstance(e, sp.Basic) and not e.is_number))
    primitives = {x.primitive for x in recorded.program.instructions}
    return Symbolic(
        inputs,
        upstream,
        [_expressions(y) for y in outputs],
        {labels[i]: None if gradients[i] is None else _expressions(gradients[i]) for i in real},
        edges,
        not edges and primitives <= ANALYTIC | EDGES.keys(),
    )


def variables(label: str, shape: tuple[int, ...], positive: bool = False) -> Array:
    """An array of symbols, called as ``x[0, 1]``."""
    array = np.empty(shape, object)
    for at in np.ndindex(*shape):
        array[at] = sp.Symbol(element(label, at), real=True, positive=positive or None)
    return array


def evaluate(program: Program, inputs: Mapping[str, Array], edges: list[Expr]) -> dict[str, Array]:
    """The program's outputs, on arrays of expressions; what is 0 at its edges is added to ``edges``."""
    results: list[Array] = []
    for x in program.instructions:
        if x.primitive == "input":
            results.append(inputs[x.parameters["name"]])
            continue
        operands = [results[i] for i in x.operands]
        if any(y.dtype == object for y in operands) and not is_ordinary(x, [program[i].dtype for i in x.operands]):
            raise NotImplementedError(f"{x.primitive} of {x.dtype} is not what it is for real numbers")
        if x.primitive in EDGES and any(y.dtype == object for y in operands):
            edges += np.ravel(np.frompyfunc(EDGES[x.primitive], len(operands), 1)(*operands)).tolist()
        y = _constant(x) if x.primitive == "constant" else _apply(x, operands)
        results.append(np.asarray(y).reshape(x.shape))
    return {output.name: results[output.number] for output in program.outputs}


def is_ordinary(x: Instruction, operands: Sequence[np.dtype[Any]]) -> bool:
    """Whether a primitive is for numbers of these dtypes what it is for real ones: no bits, no rounding to whole ones.

    Truth values are 1 and 0, and computed whole numbers are small, so that those of 64 bits do not wrap around.
    """
    kinds = {dtype.kind for dtype in operands}
    if x.primitive == "cast":
        return x.dtype.kind == "f" or (x.dtype.kind in "ib" and kinds <= {"b"}) or x.dtype == operands[0]
    if x.primitive in ("and", "or", "xor", "not"):
        return kinds <= {"b"}
    if x.family != "element-wise" and x.primitive not in ("sum", "contract"):
        return True
    if x.dtype.kind == "b":
        return x.primitive not in ("add", "sub", "mul", "neg", "sum", "contract", "max", "min")
    return x.dtype.kind == "f" or x.dtype == np.int64


def _constant(x: Instruction) -> Array:
    value = np.asarray(x.parameters["value"])
    if value.dtype.kind != "f":
        return value
    return np.vectorize(lambda v: exact(float(v)), otypes=[object])(value)


def _apply(x: Instruction, xs: Arrays) -> Array:
    if not any(y.dtype == object for y in xs):
        value = apply(x, xs)
        return _constant(replace(x, parameters={"value": value})) if x.dtype.kind == "f" else value
    if x.primitive not in ("gather", "scatter"):
        xs = [y if y.dtype == object else _expressions(y) for y in xs]
    elif any(places.dtype == object for places in xs[1:]):
        raise NotImplementedError(f"{x.primitive} at places that depend on the numbers has no meaning on symbols")
    if x.primitive in MEANINGS:
        return np.frompyfunc(MEANINGS[x.primitive], len(xs), 1)(*xs)
    if x.primitive in REDUCTIONS:
        return _reduced(xs[0], x.parameters["axes"], REDUCTIONS[x.primitive])
    if x.primitive == "contract":
        return _contracted(x.parameters["subscripts"], xs)
    if x.primitive in MOVEMENTS:
        parameters = dict(x.parameters)
        if x.primitive == "pad":
            parameters["value"] = exact(float(parameters["value"]))
        return apply(replace(x, parameters=parameters, dtype=np.dtype(object)), xs)
    raise NotImplementedError(f"{x.primitive} has no meaning on symbols")


def _expressions(values: Any) -> Array:
    """An array of expressions, whatever numbers it held."""
    values = np.asarray(values)
    found = np.empty(values.shape, object)
    for at in np.ndindex(*values.shape):
        value = values[at]
        if not isinstance(value, sp.Basic):
            value = exact(float(value)) if isinstance(value, float | np.floating) else sp.Integer(int(value))
        found[at] = value
    return found


def _reduced(x: Array, axes: tuple[int, ...], reduce: Callable[..., Expr]) -> Array:
    kept = [a for a in range(x.ndim) if a not in axes]
    together = math.prod(x.shape[a] for a in axes)
    rows = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), together)
    y = np.empty(rows.shape[:-1], object)
    for at in np.ndindex(*y.shape):
        y[at] = reduce(*rows[at])
    return y


def _contracted(subscripts: str, xs: Arrays) -> Array:
    """An einsum, in which each sum is made at once."""
    terms, output = subscripts.split("->")
    labels = terms.split(",")
    size = {letter: n for label, x in zip(labels, xs, strict=True) for letter, n in zip(label, x.shape, strict=True)}
    summed = sorted(set("".join(labels)) - set(output))
    y = np.empty([size[letter] for letter in output], object)
    for at in np.ndindex(*y.shape):
        place = dict(zip(output, at, strict=True))
        products = []
        for inner in np.ndindex(*(size[letter] for letter in summed)):
            place.update(zip(summed, inner, strict=True))
            products.append(sp.Mul(*(x[tuple(place[i] for i in label)] for label, x in zip(labels, xs, strict=True))))
        y[at] = sp.Add(*products)
    return y


def _branch(c: Expr, a: Expr, b: Expr) -> Expr:
    return (a if c != 0 else b) if c.is_Integer else Branch(c, a, b)


def _compared(kind: Any, turned: bool = False, negated: bool = False) -> Callable[[Expr, Expr], Expr]:
    def compare(a: Expr, b: Expr) -> Expr:
        a, b = (b, a) if turned else (a, b)
        if a.is_number and b.is_number:
            value = {Less: a < b, LessEqual: a <= b, Equal: sp.Eq(a, b)}[kind]
            return sp.Integer(int(bool(value) != negated))
        return 1 - kind(a, b) if negated else kind(a, b)

    return compare


ZERO, ONE = sp.Integer(0), sp.Integer(1)
#: What the element-wise primitives mean that do not branch; truth is 1 or 0.
FORMULAS: dict[str, Callable[..., Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "neg": lambda a: -a,
    "and": lambda a, b: a * b,
    "or": lambda a, b: a + b - a * b,
    "not": lambda a: 1 - a,
    "isfinite": lambda a: ONE,  # that it is so is seen from numbers
    "isnan": lambda a: ZERO,
    "isinf": lambda a: ZERO,
    "expm1": lambda a: sp.exp(a) - 1,
    "log1p": lambda a: sp.log(1 + a),
    "log2": lambda a: sp.log(a) / sp.log(2),
    "log10": lambda a: sp.log(a) / sp.log(10),
    "arcsin": sp.asin,
    "arccos": sp.acos,
    "arctan": sp.atan,
    **{f: getattr(sp, f) for f in ("sqrt", "exp", "log", "tanh", "erf", "sin", "cos", "tan", "sinh", "cosh")},
}
#: And with those that branch, element by element.
MEANINGS: dict[str, Callable[..., Expr]] = {
    **FORMULAS,
    "abs": lambda a: _branch(Less(a, ZERO), -a, a) if not a.is_number else abs(a),
    "sign": lambda a: Less(ZERO, a) - Less(a, ZERO) if not a.is_number else sp.sign(a),
    "max": lambda a, b: Largest(a, b) if not (a.is_number and b.is_number) else sp.Max(a, b),
    "min": lambda a, b: -Largest(-a, -b) if not (a.is_number and b.is_number) else sp.Min(a, b),
    "where": _branch,
    "cast": lambda a: a,
    "lt": _compared(Less),
    "le": _compared(LessEqual),
    "gt": _compared(Less, turned=True),
    "ge": _compared(LessEqual, turned=True),
    "eq": _compared(Equal),
    "ne": _compared(Equal, negated=True),
    "sigmoid": lambda a: 1 / (1 + sp.exp(-a)),
}
#: What is 0 where a primitive is at a pole, a jump or a kink.
EDGES: dict[str, Callable[..., Expr]] = {
    "div": lambda a, b: b,
    "pow": lambda a, b: ONE if b.is_Integer and b >= 0 else a,
    **dict.fromkeys(("log", "sqrt", "abs", "sign"), lambda a: a),
    **dict.fromkeys(("max", "min", "lt", "le", "gt", "ge", "eq", "ne"), lambda a, b: a - b),
}
REDUCTIONS: dict[str, Callable[..., Expr]] = {
    "sum": lambda *a: sp.Add(*a),
    "maximum": lambda *a: Largest(*a) if len(a) > 1 else a[0],
    "minimum": lambda *a: -Largest(*(-x for x in a)) if len(a) > 1 else a[0],
    "argmax": lambda *a: First(*a) if len(a) > 1 else ZERO,
    "argmin": lambda *a: First(*(-x for x in a)) if len(a) > 1 else ZERO,
}
MOVEMENTS = {"reshape", "transpose", "broadcast", "slice", "pad", "concatenate", "window", "fold", "gather", "scatter"}
#: The primitives that are analytic everywhere, or select by a condition that is no input. A primitive in EDGES is
#: analytic where its edge is not reached.
ANALYTIC = {"input", "constant", "add", "sub", "mul", "neg", "sum", "contract", "where", "cast", *MOVEMENTS} | {
    *("exp", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "arctan", "erf", "sigmoid"),
}
