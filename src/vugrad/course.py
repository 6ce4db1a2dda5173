"""The course library's own names, on which its training script and its students' code rely.

The course's conventions hold: losses are sums over the batch, targets are plain arrays, pixels are raw, from 0 to 255.
Random numbers come from NumPy's global generator (``np.random.seed``), unless ``vg.seed`` was called later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vugrad import losses, ops, random as randomness
from vugrad.graph import TensorNode, as_array
from vugrad.initializers import glorot_normal
from vugrad.nn.arguments import with_features
from vugrad.nn.module import Module, parameter
from vugrad.suggest import whole

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
        input_size, output_size = whole("Linear: input_size", input_size), whole("Linear: output_size", output_size)
        self.w = parameter(glorot_normal((output_size, input_size), randomness.legacy_generator()), "w")
        self.b = parameter(np.zeros((1, output_size), np.float32), "b")

    def forward(self, x: Node) -> Node:
        """(N, in) to (N, out)."""
        return ops.BatchMM.do_forward(self.w, with_features(self, self.w, x)) + self.b

    def extra_repr(self) -> str:
        """The numbers of input and output features."""
        return "{1}, {0}".format(*self.w.shape)


def sigmoid(x: Node) -> Node:
    """1 / (1 + e⁻ˣ), element by element."""
    return ops.Sigmoid.do_forward(x)


def softmax(x: Node) -> Node:
    """The probabilities of logits, along the last axis: each row of a matrix sums to 1."""
    return ops.Softmax.do_forward(x)


def logsoftmax(x: Node) -> Node:
    """The log-probabilities of logits, along the last axis."""
    return ops.LogSoftmax.do_forward(x)


def celoss(outputs: Node, targets: Any) -> Node:
    """Cross-entropy of probabilities, −Σᵢ log pᵢₜ, where t is the target class of instance i; summed over the batch.

    Args:
        outputs: probabilities, as of :func:`softmax`, shape (N, C).
        targets: classes, integers of shape (N,).

    The loss has dtype float64, whatever dtype the outputs have. For logits, use ``logceloss(logsoftmax(x), targets)``,
    which is finite even where a probability rounds to 0. Raises ``ValueError`` for outputs that are not probabilities.

    >>> import numpy as np, vugrad as vg
    >>> p = np.array([[0.5, 0.5], [0.25, 0.75]])
    >>> round(vg.celoss(p, np.array([0, 1])).item(), 6)  # -log 0.5 - log 0.75
    0.980829
    """
    p = outputs.value if isinstance(outputs, TensorNode) else as_array(outputs)
    # A tracer has no values to check. A rounded sum may be a little above 1.
    if isinstance(p, np.ndarray) and ((p < 0) | (p > 1.001)).any():
        wrong = p[(p < 0) | (p > 1.001)][0]
        raise ValueError(
            f"celoss takes probabilities, from 0 to 1, and the outputs hold {wrong:.4g}: for logits write "
            "vg.celoss(vg.softmax(outputs), targets), or vg.logceloss(vg.logsoftmax(outputs), targets)"
        )
    # The logarithm of the targets' alone: that of another class's 0 would make the gradient NaN.
    picked = -losses.nll_loss(outputs, targets, reduction="none")
    return _summed(-np.log(picked))


def logceloss(logprobs: Node, targets: Any) -> Node:
    """Cross-entropy of log-probabilities (N, C) against classes (N,), summed over the batch, in float64."""
    return _summed(losses.nll_loss(logprobs, targets, reduction="none"))


def _summed(each: TensorNode) -> TensorNode:
    """The sum of the losses of a batch, in float64."""
    total: TensorNode = np.sum(each.astype(np.float64, copy=False))
    if isinstance(total.value, np.ndarray):
        total.value = total.value[()]  # JSON takes a NumPy scalar, but no array without axes
    return total


def load_synth(num_train: int = 60_000, num_val: int = 10_000) -> tuple[Split, Split, int]:
    """``(xtrain, ytrain), (xval, yval), 2`` of the two-feature set (see :func:`vugrad.data.synth`)."""
    from vugrad.data import synth

    return (*synth(num_train, num_val, randomness.legacy_generator()), 2)


def load_mnist(final: bool = False, flatten: bool = True, shuffle_seed: int | None = None) -> tuple[Split, Split, int]:
    """``(xtrain, ytrain), (xval, yval), 10`` of MNIST, pixels uint8 from 0 to 255.

    Args:
        final: the test images for validation, and all others for training; else the last 5,000 training images.
        flatten: images as rows of 784 rather than (1, 28, 28).
        shuffle_seed: shuffle the training images by ``np.random.default_rng(shuffle_seed)`` before the last 5,000 are
            taken. By default, and with a negative seed, they keep their order, as in the course's library before
            November 2025; since then that library shuffles with seed 0 by default.
    """
    from vugrad.data import Split, load

    data = load("mnist", pixels="raw", final=True, flatten=flatten, dtype=np.uint8)
    (x, y), test = data.train, data.test
    assert test is not None
    if shuffle_seed is not None and shuffle_seed >= 0:
        order = np.random.default_rng(shuffle_seed).permutation(len(x))
        x, y = x[order], y[order]
    if final:
        return Split(x, y), test, 10
    return Split(x[:-5_000], y[:-5_000]), Split(x[-5_000:], y[-5_000:]), 10


def init_mnist() -> None:
    """Find MNIST on this machine, or download it; exported as ``vugrad.mnist.init``."""
    mnist_arrays()


def mnist_arrays() -> tuple[Any, Any, Any, Any]:
    """Training images (60,000, 784) and labels, test images and labels, in uint8; exported as ``vugrad.mnist.load``."""
    from vugrad.data.archives import MNIST
    from vugrad.data.sources import fetch

    (x, y), (xtest, ytest) = fetch(MNIST)
    return np.array(x.reshape(len(x), -1)), np.array(y), np.array(xtest.reshape(len(xtest), -1)), np.array(ytest)
