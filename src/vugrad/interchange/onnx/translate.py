"""What each primitive of the array program is in ONNX's operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vugrad.interchange.onnx import movement
from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.steps import Affine, Step, Steps

#: Of a graph, the steps, the number of the one to translate, and its operands' names, the name of the result.
Translation = Callable[[Graph, Steps, int, list[str]], str]


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
    y = g.cast(g.node("Range", *ends), np.dtype(np.int64), s[number].dtype)
    return g.reshape(y, (Affine(1, 0),), s[number].shape)


def random(g: Graph, s: Steps, number: int, xs: list[str]) -> str:
    """An error."""
    raise ValueError(
        f"{s[number].path or 'the model'} draws random numbers in eval mode too, and an ONNX graph gives the same "
        "for the same input: let it return x as it is where self.training is False, as vg.nn.Dropout does"
    )


#: By primitive; the graph's own inputs have names from the start, and need none.
TRANSLATIONS: dict[str, Translation] = {
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
    "reshape": movement.reshape,
    "transpose": movement.transpose,
    "broadcast": movement.broadcast,
    "slice": movement.slice_,
    "pad": movement.pad,
    "concatenate": movement.concatenate,
    "window": movement.window,
    "fold": movement.fold,
    "contract": contract,
    "gather": movement.gather,
    "scatter": movement.scatter,
    "bits": random,
}
