"""The course library's own names: what its training script and its students' code rely on, on our floors.

Losses here are sums over the batch, targets are plain arrays, images raw 0 to 255: the course's conventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vugrad import losses, ops
from vugrad.initializers import glorot_normal
from vugrad.nn.module import Module, parameter

if TYPE_CHECKING:
    from vugrad.data import Split

Node = Any


class Linear(Module):
    """The course's linear layer, y = x wᵀ + b, with ``w`` of shape (out, in) and ``b`` of shape (1, out).

    ``w`` starts normal with standard deviation √(2 / (in + out)), ``b`` at zero. In new code take
    :class:`vugrad.nn.Linear`, which has PyTorch's names.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.w = parameter(glorot_normal((output_size, input_size)), "w")
        self.b = parameter(np.zeros((1, output_size), np.float32), "b")

    def forward(self, x: Node) -> Node:
        """(N, in) to (N, out)."""
        return ops.BatchMM.do_forward(self.w, x) + self.b


def sigmoid(x: Node) -> Node:
    """1 / (1 + e⁻ˣ), element by element."""
    return ops.Sigmoid.do_forward(x)


def softmax(x: Node) -> Node:
    """Each row of a matrix of logits as probabilities."""
    return ops.Softmax.do_forward(x, axis=1)


def logsoftmax(x: Node) -> Node:
    """Each row of a matrix of logits as log-probabilities."""
    return ops.LogSoftmax.do_forward(x, axis=1)


def celoss(outputs: Node, targets: Any) -> Node:
    """Cross-entropy of logits (N, C) against classes (N,), summed over the batch."""
    return losses.cross_entropy(outputs, targets, reduction="sum")


def logceloss(logprobs: Node, targets: Any) -> Node:
    """Cross-entropy of log-probabilities (N, C) against classes (N,), summed over the batch."""
    return losses.nll_loss(logprobs, targets, reduction="sum")


def load_synth(num_train: int = 60_000, num_val: int = 10_000) -> tuple[Split, Split, int]:
    """``(xtrain, ytrain), (xval, yval), 2`` of the two-feature set (see :func:`vugrad.data.synth`)."""
    from vugrad.data import synth

    return (*synth(num_train, num_val), 2)


def load_mnist(final: bool = False, flatten: bool = True) -> tuple[Split, Split, int]:
    """``(xtrain, ytrain), (xval, yval), 10`` of MNIST, pixels uint8 from 0 to 255.

    Args:
        final: the test images for validation, and all others for training; else the last 5,000 training images.
        flatten: images as rows of 784 rather than (1, 28, 28).
    """
    from vugrad.data import load

    data = load("mnist", pixels="raw", final=final, flatten=flatten, dtype=np.uint8)
    held_out = data.test if final else data.validation
    assert held_out is not None
    return data.train, held_out, 10
