"""What an op costs beyond NumPy: a long chain of element-wise ops on small arrays, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import vugrad as vg

SHAPE = (32, 32)
#: Each link applies six ops: + · tanh exp √ −.
OPS_PER_LINK = 6


def operands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The input of the chain, what each link adds, and what it multiplies by, all float64."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(SHAPE), rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)


def vugrad_chain(links: int) -> Callable[[], float]:
    """The chain on nodes; the gradient reaches the input and both operands."""
    x0, a0, b0 = operands()

    def run() -> float:
        x, a, b = vg.TensorNode(x0), vg.TensorNode(a0), vg.TensorNode(b0)
        y = x
        for _ in range(links):
            y = -np.sqrt(np.exp(b * np.tanh(y + a)))
        y.sum().backward()
        return float(x.grad.sum() + a.grad.sum() + b.grad.sum())

    return run


def numpy_chain(links: int) -> Callable[[], float]:
    """The same array operations, forward and backward, by hand."""
    x, a, b = operands()

    def run() -> float:
        y = x
        held = []
        for _ in range(links):
            t = np.tanh(y + a)
            e = np.exp(b * t)
            s = np.sqrt(e)
            y = -s
            held.append((t, e, s))
        y.sum()
        go = np.ones(SHAPE)
        ga, gb = np.zeros(SHAPE), np.zeros(SHAPE)
        for t, e, s in reversed(held):
            go = -go * (0.5 / s) * e
            gb = gb + go * t
            go = go * b * (1 - t**2)
            ga = ga + go
        return float(go.sum() + ga.sum() + gb.sum())

    return run
