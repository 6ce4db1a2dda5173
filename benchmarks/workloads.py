"""What is compared: networks, batches, optimizers, and the data and weights that every contestant starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

#: Arguments by PyTorch's names; the weights' updates by these are written out in ``peers.py`` for JAX.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.01},
    "momentum": {"lr": 0.01, "momentum": 0.9},
    "Adam": {"lr": 0.001},
}
LENET = ((6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 256), (120,), (84, 120), (84,), (10, 84), (10,))


@dataclass(frozen=True)
class Workload:
    """Training of LeNet, or of an MLP 784-hidden-10 with a sigmoid: ``steps`` updates, a batch each."""

    batch: int
    optimizer: str = "SGD"
    hidden: int | None = None
    steps: int = 1

    def __str__(self) -> str:
        network = "CNN" if self.hidden is None else f"MLP 784-{self.hidden}-10"
        return f"{network}, batch {self.batch}, {self.optimizer}"

    @property
    def images(self) -> int:
        """How many the data holds."""
        return self.steps * self.batch

    def useful_flop(self) -> int:
        """Operations of all the steps: every product forward and its two gradients, but not the image's."""
        if self.hidden is None:
            from convnet import useful_flop  # brings vugrad, which has no place in the peers' processes

            return useful_flop(self.images)
        return 2 * self.images * (2 * 784 + 3 * 10) * self.hidden

    def data(self) -> tuple[Array, Array, Array]:
        """Images in [0, 1), random labels, and the order in which an epoch takes them."""
        rng = np.random.default_rng(0)
        n = self.images
        shape = (1, 28, 28) if self.hidden is None else (784,)
        return rng.random((n, *shape), np.float32), rng.integers(0, 10, n), rng.permutation(n)

    def batches(self) -> list[tuple[Array, Array]]:
        """The same data in that order, batch by batch."""
        x, labels, order = self.data()
        return [(x[rows], labels[rows]) for rows in order.reshape(self.steps, self.batch)]

    def weights(self) -> list[Array]:
        """Each layer's weight (outputs, inputs, ...) and bias, in order, of variance 1 / inputs and zero."""
        rng = np.random.default_rng(1)
        h = self.hidden
        shapes = LENET if h is None else ((h, 784), (h,), (10, h), (10,))
        return [
            rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32) if shape[1:] else np.zeros(shape, "f4")
            for shape in shapes
        ]
