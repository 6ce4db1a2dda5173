"""LeNet's training step in milliseconds, and as a share of what the machine's matrix product could do in that time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import vugrad as vg

#: Multiply-adds of one image forward: two convolutions, three linear layers.
CONVOLUTIONS = (24 * 24 * 6 * 1 * 25, 8 * 8 * 16 * 6 * 25)
LINEAR = (256 * 120, 120 * 84, 84 * 10)


def useful_flop(batch: int) -> int:
    """Operations of a step: each layer forward, its weights' gradient, its input's gradient (not the image's)."""
    return 2 * batch * (3 * (sum(CONVOLUTIONS) + sum(LINEAR)) - CONVOLUTIONS[0])


def lenet_step(batch: int) -> Callable[[], float]:
    """A step of SGD on random images."""
    rng = np.random.default_rng(0)
    x, labels = rng.random((batch, 1, 28, 28), np.float32), rng.integers(0, 10, batch)
    model = vg.nn.LeNet(rng=rng)
    optimizer = vg.optim.SGD(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = vg.losses.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def matrix_product(n: int) -> tuple[Callable[[], object], int]:
    """A product of square float32 matrices, and its number of operations."""
    a = np.ones((n, n), np.float32)
    return lambda: a @ a, 2 * n**3
