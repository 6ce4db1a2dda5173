"""What each primitive of the array program is in ONNX's operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import PRIMITIVES, SHORT
from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.steps import Affine, Dim, Dims, Step, Steps, fixed

#: Of a graph, the steps, the number of the one to translate, and its operands' names, the name of the result.
Translation = Callable[[Graph, Steps, int, list[str]], str]

#: Beyond every axis, on either side, for a slice.
FAR = np.iinfo(np.int64).max

BOOL, INT64 = np.dtype(bool), np.dtype(np.int64)


def translate(graph: Graph, steps: Steps, number: int, xs: list[str]) -> str:
    """The name of a step's result, from its operands' names."""
    return TRANSLATIONS[steps[number].primitive](graph, steps, number, xs)


# --- element by element


def plain(op: str, of_bool: str = "", compares: bool = False) -> Translation:
    """An operator of the same meaning; for booleans another, where they have their own."""

    def translation(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
        dtype = s.operands(number)[-1].dtype
        if dtype.kind == "b" and of_bool:
            return g.node(of_bool, *xs)
        return g.computed(op, xs, dtype, same=not compares)

    return translation


def bitwise(op: str) -> Translation:
    """``And`` of booleans, ``BitwiseAnd`` of whole numbers."""
    return plain(f"Bitwise{op}", op)


def shift(direction: str) -> Translation:
    """``BitShift``, which has NumPy's meaning for every shift."""
    return lambda g, s, number, xs: g.node("BitShift", *xs, direction=direction)


def of_floats(op: str) -> Translation:
    """An operator of floating-point numbers, which leaves whole ones as they are."""
    return lambda g, s, number, xs: g.node(op, *xs) if s[number].dtype.kind == "f" else xs[0]


def negative(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """-x; of unsigned numbers 0 - x, which wraps as NumPy does."""
    dtype = s[number].dtype
    return g.node("Neg", *xs) if dtype.kind in "if" else g.node("Sub", g.constant(np.zeros((), dtype)), *xs)


def not_equal(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Not equal."""
    return g.node("Not", g.node("Equal", *xs))


def is_like(op: str, inverted: bool = False) -> Translation:
    """A test of floating-point numbers, which no whole number passes, or every one if it is inverted."""

    def translation(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
        if s.operands(number)[0].dtype.kind != "f":
            y = g.node("Equal", xs[0], xs[0])
            return y if inverted else g.node("Not", y)
        y = g.node("Or", g.node("IsNaN", *xs), g.node("IsInf", *xs)) if op == "finite" else g.node(op, *xs)
        return g.node("Not", y) if inverted else y

    return translation


def where(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """One or the other."""
    return g.computed("Where", xs[1:], s[number].dtype, xs[0])


def cast(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """In another dtype."""
    return g.cast(xs[0], s.operands(number)[0].dtype, s[number].dtype)


def expm1(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """eˣ - 1 = tanh(x/2) (eˣ + 1), which is right for small x too."""
    one, half = (g.constant(np.array(v, s[number].dtype)) for v in (1, 0.5))
    return g.node("Mul", g.node("Tanh", g.node("Mul", *xs, half)), g.node("Add", g.node("Exp", *xs), one))


def log1p(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """log(1 + x) = log(u) · x / (u - 1) for u = 1 + x as it is rounded; log(u) for infinity, x where u is 1."""
    one = g.constant(np.ones((), s[number].dtype))
    u = g.node("Add", *xs, one)
    d = g.node("Sub", u, one)
    log = g.node("Log", u)
    exact = g.node("Where", g.node("IsInf", u), log, g.node("Mul", log, g.node("Div", *xs, d)))
    return g.node("Where", g.node("Equal", u, one), xs[0], exact)


def log_to(base: float) -> Translation:
    """A logarithm to another base."""

    def translation(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
        return g.node("Div", g.node("Log", *xs), g.constant(np.array(math.log(base), s[number].dtype)))

    return translation


def trunc(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Rounded towards 0."""
    if s[number].dtype.kind != "f":
        return xs[0]
    zero = g.constant(np.zeros((), s[number].dtype))
    return g.node("Where", g.node("Less", *xs, zero), g.node("Ceil", *xs), g.node("Floor", *xs))


# --- reductions


def reduced(g: Graph, s: Steps, y: Step, x: str, keep: bool, heard: bool = False) -> str:
    """A reduction, its axes kept with extent 1 or not.

    A maximum of floating-point numbers is NaN if one of them is, which onnxruntime's is not always; this costs three
    nodes, unless ``heard`` says that a NaN reaches the results in another way.
    """
    op = {"sum": "ReduceSum", "maximum": "ReduceMax", "minimum": "ReduceMin"}[y.primitive]
    axes, dtype = g.constant(np.array(y.parameters["axes"], np.int64), "axes"), s[y.operands[0]].dtype
    found = g.computed(op, [x], dtype, axes, keepdims=int(keep))
    if op == "ReduceSum" or dtype.kind != "f" or heard:
        return found
    nan = g.node("ReduceMax", g.node("IsNaN", x), axes, keepdims=int(keep))
    return g.node("Where", nan, g.constant(np.array(np.nan, dtype)), found)


def reduction(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Without the axes."""
    return reduced(g, s, s[number], xs[0], keep=False)


def position(op: str) -> Translation:
    """The position of the first of the largest or smallest; where NaN are among them, it is onnxruntime's to say."""

    def translation(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
        (axis,) = s[number].parameters["axes"]
        return g.computed(op, xs, s.operands(number)[0].dtype, axis=axis, keepdims=0, same=False)

    return translation


# --- movement


def reshape(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Another shape."""
    return g.reshape(xs[0], s.operands(number)[0].shape, s[number].shape)


def transpose(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Another order of axes."""
    return g.transpose(xs[0], s[number].parameters["axes"])


def expanded(g: Graph, x: str, before: Dims, shape: Dims) -> str:
    """An array repeated to a shape; what it has already, the batch for example, is not said again."""
    if before == shape:
        return x
    full = (*[1] * (len(shape) - len(before)), *before)
    return g.node("Expand", x, g.vector([1 if n == m else m for n, m in zip(full, shape, strict=True)]))


def broadcast(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Repeated."""
    return expanded(g, xs[0], s.operands(number)[0].shape, s[number].shape)


def sliced(g: Graph, x: str, before: Dims, starts: Dims, steps: tuple[int, ...], extents: Dims) -> str:
    """Every so many elements of each axis."""
    axes = [a for a, n in enumerate(before) if (starts[a], steps[a], extents[a]) != (0, 1, n)]
    if not axes:
        return x
    ends = [_end(starts[a], steps[a], extents[a]) for a in axes]
    first, by = g.vector([starts[a] for a in axes], "starts"), g.vector([steps[a] for a in axes], "steps")
    return g.node("Slice", x, first, g.vector(ends, "ends"), g.vector(axes, "axes"), by)


def _end(start: Dim, step: int, extent: Dim) -> Dim:
    """Where a slice ends, not included; a negative position would count from the axis's end."""
    pairs = [(n.per, n.plus) if isinstance(n, Affine) else (0, n) for n in (start, extent)]
    per, plus = (a + step * b for a, b in zip(*pairs, strict=True))
    return Affine(per, plus) if per else plus if plus >= 0 else -FAR


def slice_(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Some elements of each axis."""
    p = s[number].parameters
    return sliced(g, xs[0], s.operands(number)[0].shape, p["starts"], p["steps"], p["extents"])


def pad(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """More elements around each axis, and between its neighbours."""
    x, y, widths = s.operands(number)[0], s[number], list(s[number].parameters["widths"])
    value = g.constant(np.array(y.parameters["value"]).astype(y.dtype))
    result, shape = xs[0], list(x.shape)

    def framed(array: str, pairs: list[tuple[Dim, Dim]]) -> str:
        ends = [low for low, _ in pairs] + [high for _, high in pairs]
        if not any(ends):
            return array
        way = SHORT[y.dtype]
        if way in ("i16", "u16"):  # for which there is no kernel
            wide = g.cast(value, y.dtype, np.dtype(np.int32))
            padded = g.node("Pad", g.cast(array, y.dtype, np.dtype(np.int32)), g.vector(ends, "pads"), wide)
            return g.cast(padded, np.dtype(np.int32), y.dtype)
        return g.node("Pad", array, g.vector(ends, "pads"), value)

    for axis, (_, _, between) in enumerate(widths):
        n = shape[axis]
        if not between or n in (0, 1):
            continue
        longer = _times(n, between + 1)
        apart = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        wide = [*shape[: axis + 1], between + 1, *shape[axis + 1 :]]
        result = g.reshape(result, tuple(shape), tuple(apart))
        result = framed(result, [(0, between if a == axis + 1 else 0) for a in range(len(apart))])
        shape[axis] = longer
        result = g.reshape(result, tuple(wide), tuple(shape))
        kept = list(shape)
        kept[axis] = _plus(longer, -between)
        result = sliced(g, result, tuple(shape), (0,) * len(shape), (1,) * len(shape), tuple(kept))
        shape = kept
    return framed(result, [(low, high) for low, high, _ in widths])


def _times(n: Dim, factor: int) -> Dim:
    return Affine(n.per * factor, n.plus * factor) if isinstance(n, Affine) else n * factor


def _plus(n: Dim, more: int) -> Dim:
    return Affine(n.per, n.plus + more) if isinstance(n, Affine) else n + more


def concatenate(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """One after the other."""
    return g.node("Concat", *xs, axis=s[number].parameters["axis"])


def window(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Windows, gathered along the rows and then along the columns."""
    p, shape, n = s[number].parameters, s[number].shape, len(s[number].shape)
    _check_fixed(s, number, shape[-4:])
    result = xs[0]
    for axis, k in ((n - 4, 0), (n - 2, 1)):  # the columns come behind the rows of windows and the rows in them
        starts = np.arange(int(shape[n - 4 + k])) * p["stride"][k]  # type: ignore[arg-type]
        places = g.constant(starts[:, None] + np.arange(p["kernel"][k]), "windows")
        result = g.node("Gather", result, places, axis=axis)
    return g.transpose(result, [*range(n - 3), n - 2, n - 3, n - 1])


def fold(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Windows added back at their places."""
    x, p = s.operands(number)[0], s[number].parameters
    _check_fixed(s, number, x.shape[-4:])
    *batch, rows, columns, kh, kw = range(len(x.shape))
    at_rows, at_columns, i, j = np.ogrid[tuple(slice(x.shape[a]) for a in (rows, columns, kh, kw))]
    places = (at_rows * p["stride"][0] + i) * p["size"][1] + at_columns * p["stride"][1] + j
    values = g.transpose(xs[0], [rows, columns, kh, kw, *batch])
    rest, flat = tuple(x.shape[a] for a in batch), math.prod(p["size"])
    values = g.reshape(values, (*places.shape, *rest), (places.size, *rest))
    added = _added(g, values, g.constant(places.reshape(-1, 1), "places"), (flat, *rest), x.dtype)
    y = g.transpose(added, [*range(1, len(batch) + 1), 0])
    return g.reshape(y, (*rest, flat), s[number].shape)


def _check_fixed(s: Steps, number: int, extents: Dims) -> None:
    if not fixed(extents):
        raise ValueError(
            f"windows of shape {s[number].shape[-2:]} in {s[number].path or 'the model'} run over the batch, "
            "so that their number depends on its size: the last two axes of images are rows and columns, and the first "
            "the batch"
        )


# --- contractions


def contract(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """An einsum; an operand without axes is a factor."""
    terms, _, output = s[number].parameters["subscripts"].partition("->")
    named = [(term, x) for term, x in zip(terms.split(","), xs, strict=True) if term]
    factors = [x for term, x in zip(terms.split(","), xs, strict=True) if not term]
    dtype = s[number].dtype
    y = None
    if named:
        equation = f"{','.join(term for term, _ in named)}->{output}"
        alone = len(named) == 1 and equation == f"{output}->{output}"
        y = named[0][1] if alone else g.computed("Einsum", [x for _, x in named], dtype, equation=equation)
    for factor in factors:
        y = factor if y is None else g.node("And" if dtype.kind == "b" else "Mul", y, factor)
    assert y is not None  # a contraction has an operand
    return y


# --- indexing


def clipped(g: Graph, index: str, n: Dim) -> str:
    """Positions within an axis, counted from its end below 0: what lies beyond is moved to its ends."""
    if n == 0:
        return index
    return g.node("Clip", index, g.scalar(_times(n, -1)), g.scalar(_plus(n, -1)))


def gather(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Elements at positions along one axis or several, the positions' axes before the others."""
    x, axes, y = s.operands(number)[0], s[number].parameters["axes"], s[number]
    count = len(y.shape) - len(x.shape) + len(axes)
    places = y.shape[:count]
    if len(axes) == 1:
        (axis,) = axes
        index = clipped(g, xs[1], x.shape[axis])
        picked = g.node("Gather", xs[0], index, axis=axis)
        return g.transpose(picked, [*range(axis, axis + count), *range(axis), *range(axis + count, len(y.shape))])
    rest = [a for a in range(len(x.shape)) if a not in axes]
    return g.node("GatherND", g.transpose(xs[0], [*axes, *rest]), _indices(g, s, number, xs[1:], places))


def _indices(g: Graph, s: Steps, number: int, xs: list[str], places: Dims) -> str:
    """Positions along several axes, as one array with those of a place in its last axis."""
    y = s[number]
    whole = s.operands(number)[0].shape if y.primitive == "gather" else y.shape
    parts = []
    for x, step, axis in zip(xs, s.operands(number)[1:], y.parameters["axes"], strict=True):
        index = expanded(g, clipped(g, x, whole[axis]), step.shape, places)
        parts.append(g.reshape(index, places, (*places, 1)))
    return parts[0] if len(parts) == 1 else g.node("Concat", *parts, axis=len(places))


def scatter(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Zeros with values added at positions."""
    y, axes = s[number], s[number].parameters["axes"]
    places = s.operands(number)[0].shape[: len(s.operands(number)[0].shape) - len(y.shape) + len(axes)]
    order = [*axes, *(a for a in range(len(y.shape)) if a not in axes)]
    shape = tuple(y.shape[a] for a in order)
    added = _added(g, xs[0], _indices(g, s, number, xs[1:], places), shape, y.dtype)
    return g.transpose(added, np.argsort(order).tolist())


def _added(g: Graph, values: str, indices: str, shape: Dims, dtype: np.dtype[Any]) -> str:
    zeros = expanded(g, g.constant(np.zeros((), dtype)), (), shape)
    return g.node("ScatterND", zeros, indices, values, reduction="add")


# --- sources


def constant(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """Known numbers: an array of the model under its own name, or what follows from some under the first's name."""
    if number in s.state:
        name, value = s.state[number]
        g.values[name] = value
        return name
    if s[number].primitive == "reshape":
        (source,) = s[number].operands
        return g.reshape(constant(g, s, source, []), s[source].shape, s[number].shape)
    from_state = [s.state[i][0] for i in s.sources(number) if i in s.state]
    if not from_state:
        return g.constant(s.value(number))
    return g.initializer(f"{from_state[0]}/{s[number].primitive}", s.value(number))


def positions(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """0, 1, 2 … for the instances of the batch."""
    size = math.prod(n for n in s[number].shape if isinstance(n, int))
    assert size == 1  # it was as long as the batch at every size
    ends = [g.constant(np.array(0)), g.scalar(Affine(1, 0)), g.constant(np.array(1))]
    y = g.cast(g.node("Range", *ends), INT64, s[number].dtype)
    return g.reshape(y, (Affine(1, 0),), s[number].shape)


def random(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """An error."""
    raise ValueError(
        f"{s[number].path or 'the model'} draws random numbers in eval mode too, and an ONNX graph gives the same "
        "for the same input: let it return x as it is where self.training is False, as vg.nn.Dropout does"
    )


def argument(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """The graph's own inputs have names from the start."""
    raise AssertionError


TRANSLATIONS: dict[str, Translation] = {
    "input": argument,
    "constant": constant,
    "range": positions,
    "add": plain("Add", "Or"),
    "sub": plain("Sub"),
    "mul": plain("Mul", "And"),
    "div": plain("Div"),
    "pow": plain("Pow"),
    "max": plain("Max", "Or"),
    "min": plain("Min", "And"),
    "and": bitwise("And"),
    "or": bitwise("Or"),
    "xor": bitwise("Xor"),
    "not": bitwise("Not"),
    "shl": shift("LEFT"),
    "shr": shift("RIGHT"),
    "eq": plain("Equal", compares=True),
    "ne": not_equal,
    "lt": plain("Less", compares=True),
    "le": plain("LessOrEqual", compares=True),
    "gt": plain("Greater", compares=True),
    "ge": plain("GreaterOrEqual", compares=True),
    "isnan": is_like("IsNaN"),
    "isinf": is_like("IsInf"),
    "isfinite": is_like("finite", inverted=True),
    "neg": negative,
    "abs": plain("Abs"),
    "sqrt": plain("Sqrt"),
    "exp": plain("Exp"),
    "log": plain("Log"),
    "sign": plain("Sign"),
    "tanh": plain("Tanh"),
    "sigmoid": plain("Sigmoid"),
    "erf": plain("Erf"),
    "sin": plain("Sin"),
    "cos": plain("Cos"),
    "tan": plain("Tan"),
    "arcsin": plain("Asin"),
    "arccos": plain("Acos"),
    "arctan": plain("Atan"),
    "sinh": plain("Sinh"),
    "cosh": plain("Cosh"),
    "floor": of_floats("Floor"),
    "ceil": of_floats("Ceil"),
    "rint": of_floats("Round"),
    "trunc": trunc,
    "expm1": expm1,
    "log1p": log1p,
    "log2": log_to(2),
    "log10": log_to(10),
    "where": where,
    "cast": cast,
    **dict.fromkeys(("sum", "maximum", "minimum"), reduction),
    "argmax": position("ArgMax"),
    "argmin": position("ArgMin"),
    "reshape": reshape,
    "transpose": transpose,
    "broadcast": broadcast,
    "slice": slice_,
    "pad": pad,
    "concatenate": concatenate,
    "window": window,
    "fold": fold,
    "contract": contract,
    "gather": gather,
    "scatter": scatter,
    "bits": random,
}
assert PRIMITIVES.keys() <= TRANSLATIONS.keys()
