"""One training step of an MLP with a sigmoid and cross-entropy: as vugrad's users write it, and by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import vugrad as vg

Array = Any
#: Makes one step and returns the loss before it.
Step = Callable[[], float]
LR = 0.01


class Problem(NamedTuple):
    """A batch, and the weights that every contestant starts from."""

    x: Array
    labels: Array
    w1: Array
    w2: Array


def problem(sizes: tuple[int, int, int], batch: int) -> Problem:
    """Pixels in [0, 1], random labels, Glorot's weights; the biases start at zero."""
    rng = np.random.default_rng(0)
    inputs, hidden, classes = sizes
    return Problem(
        rng.random((batch, inputs), np.float32),
        rng.integers(0, classes, batch),
        vg.initializers.glorot_normal((hidden, inputs), rng),
        vg.initializers.glorot_normal((classes, hidden), rng),
    )


def vugrad_step(p: Problem) -> Step:
    """The step through vugrad's public API."""
    model = vg.nn.MLP([p.w1.shape[1], p.w1.shape[0], p.w2.shape[0]], vg.nn.Sigmoid)
    model.load_state_dict({**model.state_dict(), "0.weight": p.w1, "2.weight": p.w2})
    optimizer = vg.optim.SGD(model.parameters(), lr=LR)

    def step() -> float:
        optimizer.zero_grad()
        loss = vg.losses.cross_entropy(model(p.x), p.labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def numpy_step(p: Problem) -> Step:
    """The same maths, in place wherever an array is not needed again: as fast as plain NumPy will go."""
    w1, w2 = p.w1.copy(), p.w2.copy()
    b1, b2 = np.zeros(len(w1), np.float32), np.zeros(len(w2), np.float32)
    rows = np.arange(len(p.x))

    def step() -> float:
        h = p.x @ w1.T
        h += b1
        np.negative(h, out=h)
        np.exp(h, out=h)
        h += 1
        np.reciprocal(h, out=h)
        z = h @ w2.T
        z += b2
        z -= z.max(axis=1, keepdims=True)
        picked = z[rows, p.labels]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = np.log(total).mean() - picked.mean()

        z /= total
        z[rows, p.labels] -= 1
        z /= len(z)
        gw2, gb2 = z.T @ h, z.sum(axis=0)
        gh = z @ w2
        gh *= h
        np.subtract(1, h, out=h)
        gh *= h
        gw1, gb1 = gh.T @ p.x, gh.sum(axis=0)
        for parameter, gradient in ((w1, gw1), (b1, gb1), (w2, gw2), (b2, gb2)):
            gradient *= LR
            parameter -= gradient
        return float(loss)

    return step
