"""One function for each kind of kernel, and the processors that code is compiled for on this machine.

What must hold on every processor is tested with these; what is the same on all of them, on this machine's alone.
"""

import os
from dataclasses import dataclass

import numpy as np

import vugrad as vg
from vugrad import losses, nn
from vugrad.compiler.machine import llvm
from vugrad.ops import primitives

#: The processor that tests compile for where they say nothing else, by its name.
HOST = os.environ.get("VUGRAD_TARGET") or "host"
#: Processors with shorter vectors than that one has.
LESSER = [
    name
    for name in ("x86-64", "x86-64-v3")
    if llvm.host().triple.startswith("x86_64") and llvm.TARGETS[name]().vector_bytes < llvm.host().vector_bytes
]
#: More instances than a block of any processor has, and not a multiple of one.
N = 37


@dataclass(frozen=True)
class KernelsOf:
    """A function of arrays, and its arguments."""

    function: object
    arguments: tuple

    def expected(self):
        """What NumPy makes of it, by name."""
        with np.errstate(all="ignore"):
            return self.function(*self.arguments)


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def elementwise(x, y):
    a, unit = np.abs(x) + 0.5, np.tanh(x)
    logarithms = np.log(a), np.log2(a), np.log10(a), np.log1p(a), np.sqrt(a)
    exponentials = np.exp(-a), np.expm1(x), np.sinh(x), np.cosh(x), primitives.sigmoid(x), primitives.erf(x)
    angles = np.sin(x), np.cos(x), np.tan(unit), np.arcsin(unit), np.arccos(unit), np.arctan(x)
    parts = np.floor(x), np.ceil(x), np.rint(x), np.trunc(x), np.sign(x), np.abs(x), np.negative(x)
    pairs = x + y, x - y, x * y, x / (1 + np.abs(y)), a**y, np.maximum(x, y), np.minimum(x, y)
    return [*logarithms, *exponentials, *angles, *parts, *pairs, np.where(x > y, x, 2 * y)]


def conditions(x, y, i):
    tests = np.isnan(x), np.isinf(x / y), np.isfinite(x / y), np.logical_not(x > 0)
    compared = x == y, x != y, x < y, x <= y, x > y, x >= y, i == 3
    whole = (
        i & 3,
        i | 8,
        i ^ 5,
        i << 2,
        i >> 1,
        i + 1,
        i * i,
        np.maximum(i, 2),
        i.astype(np.float64),
        (2 * y).astype(np.int32),
    )
    return [*tests, *compared, *whole, np.where(i > 2, i, -i)]


def reductions(x):
    values = np.sum(x, axis=0), np.sum(x, axis=1), np.sum(x), np.max(x, axis=1), np.min(x, axis=0), np.mean(x, axis=1)
    places = np.argmax(x, axis=1), np.argmin(x, axis=0)
    return [*values, *places, np.cumsum(x, axis=1), np.var(x, axis=0), np.exp(x - np.max(x, axis=1, keepdims=True))]


def products(x, w, y):
    return [x @ np.transpose(w), np.transpose(y) @ x, x @ np.transpose(w) @ w, np.einsum("ni,ni->n", x, x), y[0] @ y[1]]


def movements(x, i):
    turned = np.transpose(x) + 1, np.transpose(x[:, ::-1]) * 2
    pieces = x[1:, ::2] * 2, np.pad(x, ((0, 0), (1, 2))), np.concatenate([x, 2 * x], axis=1), np.repeat(x, 2, axis=1)
    taken = (
        np.take(x, i, axis=0),
        np.take(x, np.array([2, 0, 2]), axis=1),
        np.take_along_axis(x, (i & 3)[:, None], axis=1),
    )
    added = primitives.scatter(x, i & 3, (4, x.shape[1])), np.reshape(x, (-1, 1)) + np.reshape(x, -1)[:3]
    return [*turned, *pieces, *taken, *added]


def gradients(loss, *arguments):
    """The value of a loss, and its gradient by each argument."""
    nodes = [vg.TensorNode(getattr(x, "value", x)) for x in arguments]  # a module is called with nodes
    y = loss(*nodes)
    y.backward()
    return [y.value, *(node.grad for node in nodes)]


def images(x, w):
    def loss(x, w):
        y = vg.ops.Conv2d.do_forward(x, w, padding=(1, 1))
        return np.sum(vg.ops.MaxPool2d.do_forward(np.tanh(y), kernel=(2, 2), stride=(2, 2)) ** 2) + np.sum(
            vg.ops.AvgPool2d.do_forward(y, kernel=(3, 2), stride=(2, 1)) ** 3
        )

    return gradients(loss, x, w)


def normalized(x, gamma):
    def loss(x, gamma):
        y = (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + 0.1) * gamma
        return np.sum(vg.ops.Softmax.do_forward(y) ** 2)

    return gradients(loss, x, gamma)


def training(x, t, *weights):
    """A step of plain gradient descent, whose new weights are results."""

    def loss(w, b, v):
        return losses.cross_entropy(np.maximum(0, x @ np.transpose(w) + b) @ np.transpose(v), t)

    y, *slopes = gradients(loss, *weights)
    return [y, *(w - np.float32(0.5) * g for w, g in zip(weights, slopes, strict=True))]


def rows_of_windows(*xs):
    """Windows of one row into wider images: beside the part that they reach, all numbers are the same."""
    images = [primitives.fold(x, (2, width), (3, 3)) for x, width in zip(xs, (13, 25), strict=True)]
    return [np.tanh(y) * (1 - np.tanh(y)) + y for y in images]


POSITIONS = np.random.default_rng(3).integers(0, N, N)
LABELS = POSITIONS % 4
X = numbers(N, 5)
SPECIAL = np.concatenate([X[:-1], [[np.nan, np.inf, -np.inf, 0, -0.0]]]).astype(np.float32)
KERNELS = {
    "element by element": KernelsOf(elementwise, (X, numbers(N, 5, seed=1))),
    "in float64": KernelsOf(elementwise, (numbers(N, 5, dtype=float), numbers(5, dtype=float, seed=1))),
    "conditions": KernelsOf(conditions, (SPECIAL, np.rint(2 * numbers(N, 5, seed=1)), POSITIONS)),
    "reductions": KernelsOf(reductions, (numbers(N, 19),)),
    "reductions in float64": KernelsOf(reductions, (numbers(N, 19, dtype=float),)),
    "products": KernelsOf(products, (numbers(N, 21), numbers(34, 21, seed=1), numbers(N, 33, seed=2))),
    "products in float64": KernelsOf(products, tuple(numbers(*s, dtype=float) for s in ((N, 21), (7, 21), (N, 18)))),
    "movements": KernelsOf(movements, (X, POSITIONS)),
    "rows of windows": KernelsOf(
        rows_of_windows, (numbers(2, 1, 5, 1, 1, dtype=float), numbers(2, 1, 9, 1, 1, dtype=float))
    ),
    "images": KernelsOf(images, (numbers(N, 2, 7, 6), numbers(3, 2, 3, 3, seed=1))),
    "normalized": KernelsOf(normalized, (numbers(N, 6), numbers(6, seed=1))),
    "training": KernelsOf(training, (X, LABELS, numbers(9, 5, seed=1), numbers(9, seed=2), numbers(4, 9, seed=3))),
}


class Kernels(nn.Module):
    """All of these in one module, which takes the arguments of all and returns what each gives."""

    def forward(self, *arguments):
        left, results = list(arguments), {}
        for name, kernel in KERNELS.items():
            mine = [left.pop(0) for _ in kernel.arguments]
            results |= {f"{name} {i}": x for i, x in enumerate(kernel.function(*mine))}
        return results
