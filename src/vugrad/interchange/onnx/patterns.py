"""What of a program ONNX has one operator for: activations, normalisations, means, softmax, linear layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vugrad.interchange.onnx import images
from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.steps import Dims, Steps, fixed, joint
from vugrad.interchange.onnx.translate import reduced, translate


@dataclass
class Match:
    """How a step is made: of which other steps' results, and by what, from their names."""

    operands: tuple[int, ...]
    emit: Callable[[Graph, list[str]], str]


def find(steps: Steps, number: int) -> Match:
    """How a step is made, by the first pattern that it fits, or as its primitive says."""
    for pattern in PATTERNS.get(steps[number].primitive, ()):
        match = pattern(steps, number)
        if match is not None:
            return match
    operands = steps[number].operands
    if steps[number].primitive in ELEMENTWISE:  # operators that broadcast by themselves
        sources = tuple(_unbroadcast(steps, i) for i in operands)
        if joint([steps[i].shape for i in sources]) == steps[number].shape:
            operands = sources
    return Match(operands, lambda g, xs: translate(g, steps, number, xs))


#: Primitives of several operands, which need not be of one shape.
ELEMENTWISE = {
    *("add", "sub", "mul", "div", "pow", "max", "min", "and", "or", "xor", "shl", "shr", "where"),
    *("eq", "ne", "lt", "le", "gt", "ge"),
}


def _unbroadcast(s: Steps, number: int) -> int:
    while s[number].primitive == "broadcast":
        number = s[number].operands[0]
    return number


def operator(op: str, s: Steps, pattern: Any, number: int, doubles: bool = False, **attributes: str) -> Match | None:
    """An operator of x in place of a pattern; its attributes are numbers in the pattern, by their names there.

    With ``doubles`` it has a kernel for float64 too.
    """
    found: dict[str, Any] = {}
    if s[number].dtype not in ([np.float32, np.float64] if doubles else [np.float32]):
        return None
    if not s.fits(number, pattern, found) or s[found["x"]].shape != s[number].shape:
        return None
    values = {key: s.number(found[name]) if name in found else 1.0 for key, name in attributes.items()}
    if None in values.values():
        return None
    return Match((found["x"],), lambda g, xs: g.node(op, *xs, **values))


def relu(s: Steps, number: int) -> Match | None:
    """max(x, 0)."""
    return operator("Relu", s, ("max", "x", 0.0), number, doubles=True)


def gelu(s: Steps, number: int) -> Match | None:
    """The product x Φ(x)."""
    normal = ("mul", 0.5, ("add", 1.0, ("erf", ("mul", "x", 0.5**0.5))))
    return operator("Gelu", s, ("mul", "x", normal), number)


def leaky_relu(s: Steps, number: int) -> Match | None:
    """The same x, or less of it where it is negative."""
    slope = ("cast", ("where", ("gt", "x", 0.0), 1.0, "slope"))
    return operator("LeakyRelu", s, ("mul", "x", slope), number, alpha="slope")


def elu(s: Steps, number: int) -> Match | None:
    """The same x, or α (eˣ - 1) where it is negative."""
    for negative in (("expm1", ("min", "x", 0.0)), ("mul", "alpha", ("expm1", ("min", "x", 0.0)))):
        match = operator("Elu", s, ("where", ("gt", "x", 0.0), "x", negative), number, alpha="alpha")
        if match is not None:
            return match
    return None


def softplus(s: Steps, number: int) -> Match | None:
    """log(1 + eˣ)."""
    below = ("log1p", ("exp", ("neg", ("abs", "x"))))
    return operator("Softplus", s, ("add", ("max", "x", 0.0), below), number)


SHIFTED = ("sub", "x", ("kept maximum", "x"))


def softmax(s: Steps, number: int) -> Match | None:
    """eˣ / Σ eˣ."""
    return _along(s, number, "Softmax", ("div", ("exp", SHIFTED), ("kept sum", ("exp", SHIFTED))))


def log_softmax(s: Steps, number: int) -> Match | None:
    """That is x - log Σ eˣ."""
    return _along(s, number, "LogSoftmax", ("sub", SHIFTED, ("log", ("kept sum", ("exp", SHIFTED)))))


def _along(s: Steps, number: int, op: str, pattern: Any) -> Match | None:
    found: dict[str, Any] = {}
    if not s.fits(number, pattern, found) or len(found["axes"]) != 1:
        return None
    return Match((found["x"],), lambda g, xs: g.node(op, *xs, axis=found["axes"][0]))


def mean(s: Steps, number: int) -> Match | None:
    """A sum divided by how many there were."""
    above, divisor = s[number].operands
    kept = s.kept(above, "sum")
    total = kept or s[above]
    if total.primitive != "sum" or s[number].dtype.kind != "f" or s[number].shape != s[above].shape:
        return None
    axes, (x,) = total.parameters["axes"], total.operands
    extents = tuple(s[x].shape[a] for a in axes)
    if not fixed(extents) or s.number(divisor) != math.prod(extents):
        return None
    return Match(
        (x,),
        lambda g, xs: g.node("ReduceMean", *xs, g.constant(np.array(axes), "axes"), keepdims=int(kept is not None)),
    )


def batch_norm(s: Steps, number: int) -> Match | None:
    """(x - mean) / √(variance + ε), scaled and shifted, by known numbers for each channel."""
    found: dict[str, Any] = {}
    scale = ("div", "weight", ("sqrt", ("add", "variance", "eps")))
    shift = ("sub", "bias", ("mul", "mean", scale))
    scaled = ("mul", "x", ("reshape?", "scale", scale))
    if s[number].dtype != np.float32 or not s.fits(number, ("add", scaled, ("reshape?", "shift", shift)), found):
        return None  # ε is an attribute, and attributes are float32
    operands = tuple(found[name] for name in ("x", "weight", "bias", "mean", "variance"))
    x, *rest = (s[i].shape for i in operands)
    per_channel = (*x[1:2], *[1] * (len(x) - 2))
    eps = s.number(found["eps"])
    if eps is None or len(x) < 2 or any(shape != x[1:2] for shape in rest):
        return None
    if not all(s.known[i] for i in operands[1:]) or {s[found[i]].shape for i in ("scale", "shift")} != {per_channel}:
        return None
    return Match(operands, lambda g, xs: g.node("BatchNormalization", *xs, epsilon=eps))


def layer_norm(s: Steps, number: int) -> Match | None:
    """(x - mean) / √(variance + ε) over the last axes, scaled and shifted."""
    found: dict[str, Any] = {}
    centred = ("sub", "x", ("div", ("kept sum", "x"), "n"))
    variance = ("div", ("kept sum", ("mul", centred, centred)), "n")
    pattern = ("add", ("mul", ("div", centred, ("sqrt", ("add", variance, "eps"))), "weight"), "bias")
    if s[number].dtype != np.float32 or not s.fits(number, pattern, found):
        return None
    operands = tuple(found[name] for name in ("x", "weight", "bias"))
    shape, *rest = (s[i].shape for i in operands)
    axes, eps = found["axes"], s.number(found["eps"])
    over = shape[axes[0] :]
    if eps is None or axes != tuple(range(axes[0], len(shape))) or rest != [over, over] or not fixed(over):
        return None
    if s.number(found["n"]) != math.prod(over) or s[number].shape != shape:  # type: ignore[arg-type]
        return None
    return Match(operands, lambda g, xs: g.node("LayerNormalization", *xs, axis=axes[0], epsilon=eps))


# --- reductions that keep their axes


def kept(s: Steps, number: int) -> Match | None:
    """A reduction and the reshape that puts its axes back."""
    y = s.kept(number)
    if y is None:
        return None
    # In x - max(x), NaN goes by x itself.
    heard = all(i >= 0 and s[i].primitive == "sub" and s[i].operands[0] == y.operands[0] for i in s.users[number])
    return Match(y.operands, lambda g, xs: reduced(g, s, y, xs[0], keep=True, heard=heard))


# --- matrix products


def product(s: Steps, number: int) -> Match | None:
    """A contraction that is a matrix product, or a stack of them."""
    terms, _, output = s[number].parameters["subscripts"].partition("->")
    if terms.count(",") != 1:
        return None
    a, b = terms.split(",")
    summed = [c for c in a if c in b and c not in output]
    if len(summed) != 1 or len({*a, *b} - {*output}) != 1 or len(set(a)) < len(a) or len(set(b)) < len(b):
        return None
    (k,) = summed
    x, y = s[number].operands
    made = [_matrices(s, number, *sides, output, k) for sides in ((a, b, (x, y)), (b, a, (y, x)))]
    return min((found for found in made if found is not None), key=lambda found: found[0], default=(0, None))[1]


def _matrices(
    s: Steps, number: int, a: str, b: str, operands: tuple[int, int], output: str, k: str
) -> tuple[int, Match] | None:
    """A product left @ right: of letters for the stack, the rows and k, with those for the stack, k and the columns.

    It comes with how many of the two have to be transposed. Neither is ever a vector, on which onnxruntime's fusions
    of transpositions with products go wrong: it gets an axis of extent 1, which its result then loses.
    """
    stack = [c for c in output if c in a and c in b]
    rows, columns = [c for c in output if c not in b], [c for c in output if c not in a]
    if list(output) != [*stack, *rows, *columns] or len(columns) > 1 or (stack and (len(rows) != 1 or not columns)):
        return None
    left, right = [*stack, *rows, k], [*stack, k, *columns]
    extents = dict(zip(a + b, s[operands[0]].shape + s[operands[1]].shape, strict=True))
    row, column = (() if rows else (1,)), (() if columns else (1,))

    def emit(g: Graph, xs: list[str]) -> str:
        x = g.transpose(xs[0], [a.index(c) for c in left])
        y = g.transpose(xs[1], [b.index(c) for c in right])
        x = g.reshape(x, tuple(extents[c] for c in left), (*row, *(extents[c] for c in left)))
        y = g.reshape(y, tuple(extents[c] for c in right), (*(extents[c] for c in right), *column))
        z = g.computed("MatMul", [x, y], s[number].dtype)
        return g.reshape(z, (*row, *s[number].shape, *column), s[number].shape)

    return (left != list(a)) + (right != list(b)), Match(operands, emit)


def gemm(s: Steps, number: int) -> Match | None:
    """A product of two matrices, either of which may be transposed; a bias may follow them."""
    terms, _, output = s[number].parameters.get("subscripts", "").partition("->")
    a, _, b = terms.partition(",")
    operands = s[number].operands
    if output and output[0] in b:
        a, b, operands = b, a, operands[::-1]
    if s[number].dtype.kind != "f" or not len(a) == len(b) == len(output) == len({*a, *b}) - 1 == 2:
        return None
    if output[0] not in a or output[1] not in b or set(a) & set(b) & set(output):
        return None
    turned = {"transA": a[1] == output[0], "transB": b[0] == output[1]}
    sources = []
    for key, i in zip(turned, operands, strict=True):
        if s[i].primitive == "transpose":
            turned[key] ^= True
            i = s[i].operands[0]
        sources.append(i)
    flags = {key: 1 for key, value in turned.items() if value}
    return Match(tuple(sources), lambda g, xs: g.node("Gemm", *xs, **flags))


def biased(s: Steps, number: int) -> Match | None:
    """A layer's product or convolution and its bias, if the sum is all that the product is used for."""
    if s[number].dtype.kind != "f":
        return None
    for main, bias in (s[number].operands, s[number].operands[::-1]):
        y = s[main]
        if len(s.users[main]) > 1 or y.shape != s[number].shape or not s.known[bias]:
            continue
        match, shape = gemm(s, main) or image(images.convolution)(s, main), s[bias].shape
        per_channel = (*y.shape[1:2], *[1] * (len(y.shape) - 2))
        if match is not None and shape in (per_channel, (1, *per_channel)):
            return Match((*match.operands, bias), partial(_with_bias, match, shape))
    return None


def _with_bias(match: Match, before: Dims, g: Graph, xs: list[str]) -> str:
    channels = tuple(n for n in before if n != 1) or (1,)
    return match.emit(g, [*xs[:-1], g.reshape(xs[-1], before, channels)])


def image(find_one: Callable[[Steps, int], Any]) -> Callable[[Steps, int], Match | None]:
    """A pattern of ``images.py``, which gives the operands and how they become a result."""

    def pattern(s: Steps, number: int) -> Match | None:
        found = find_one(s, number)
        return None if found is None else Match(*found)

    return pattern


PATTERNS: dict[str, tuple[Callable[[Steps, int], Match | None], ...]] = {
    "max": (relu, image(images.max_pool)),
    "maximum": (image(images.max_pool),),
    "add": (batch_norm, layer_norm, softplus, biased, image(images.sum_pool)),
    "sum": (image(images.sum_pool),),
    "mul": (gelu, leaky_relu),
    "where": (elu,),
    "div": (softmax, image(images.mean_pool), mean),
    "sub": (log_softmax,),
    "contract": (image(images.convolution), gemm, product),
    "reshape": (image(images.convolution), kept),
    "transpose": (image(images.convolution),),
    "slice": (image(images.part_of_windows),),
}
