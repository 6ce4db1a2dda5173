"""Measuring a network without changing it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.data import Dataset, Split, batches
from vugrad.graph import TensorNode, as_array, no_grad
from vugrad.losses import Loss, binary_cross_entropy_with_logits, cross_entropy
from vugrad.nn import Module

Array = np.ndarray[Any, Any]
#: From a batch to the node of a model's outputs: the model itself, or ``vg.compile(model)``.
Forward = Callable[[Array], Any]


def predict(model: Module, x: Array, batch_size: int = 500, forward: Forward | None = None) -> Array:
    """The outputs for every instance of ``x``, in eval mode and without a graph: shape (N, …).

    ``forward`` is called in place of the model: give it ``vg.compile(model)`` to predict in native code.

    >>> import numpy as np, vugrad as vg
    >>> vg.train.predict(vg.nn.Linear(3, 2), np.zeros((5, 3), np.float32)).shape
    (5, 2)
    """
    x = as_array(x)
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        model.eval()
        with no_grad():
            outputs = [(forward or model)(part).value for part, _ in batches(x, x, batch_size)]
            return np.concatenate(outputs)
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(
    model: Module,
    split: Split,
    loss: Loss = cross_entropy,
    batch_size: int = 500,
    forward: Forward | None = None,
) -> tuple[float, float | None]:
    """Mean loss, and accuracy where the targets are classes, over a split in eval mode; ``forward`` as in `predict`.

    >>> import numpy as np, vugrad as vg
    >>> split = vg.data.Split(np.zeros((4, 3), np.float32), np.array([0, 1, 1, 0]))
    >>> vg.train.evaluate(vg.nn.Linear(3, 2), split)
    (0.6931..., 0.5)
    """
    if not callable(loss):
        raise TypeError(
            f"evaluate: loss must be a function, such as vg.losses.cross_entropy, got {type(loss).__name__}; pass the "
            "data as one pair, as in evaluate(model, (x, y))"
        )
    split = as_split("evaluate", split)
    outputs = predict(model, split.x, batch_size, forward)
    value = loss_of(loss, TensorNode(outputs, requires_grad=False), split.y).item()
    right = hits(outputs, split.y, loss)
    return float(value), None if right is None else int(right) / len(split.y)


def loss_of(loss: Loss, outputs: TensorNode, targets: Array) -> TensorNode:
    """The loss of a batch; ``TypeError`` or ``ValueError`` unless it is a node with one number."""
    value = loss(outputs, targets)
    name = getattr(loss, "__name__", "function")
    if not isinstance(value, TensorNode):
        raise TypeError(
            f"the loss {name} returned {type(value).__name__}, and not a node: compute the loss from the outputs, with "
            "operators, NumPy functions or vg.losses"
        )
    if math.prod(value.shape) != 1:
        raise ValueError(
            f"the loss {name} returned shape {value.shape}, and not one number: return its mean over the batch, as "
            "np.mean(value), or reduction='mean' of a loss of vg.losses"
        )
    return value


def as_split(name: str, data: Any) -> Split:
    """``data`` as a split: it may be a split or a pair of arrays; ``TypeError`` for a whole dataset."""
    if isinstance(data, Dataset):
        raise TypeError(f"{name} takes one split of a dataset: write data.train, data.validation or data.test")
    return data if isinstance(data, Split) else Dataset(data).train


def hits(outputs: Array, targets: Array, loss: Loss) -> Any:
    """The number of instances that are classified correctly; ``None`` if the targets are not classes.

    The predicted class is the index of the largest output. A single output predicts by its sign, if the loss is
    ``binary_cross_entropy_with_logits``; with other losses the result is ``None``. Array code, so that it can be part
    of a compiled step.
    """
    single = outputs.shape in (outputs.shape[:1], (*outputs.shape[:1], 1))
    if single and loss is binary_cross_entropy_with_logits:
        return np.count_nonzero((outputs.reshape(-1) > 0) == (targets.reshape(-1) > 0.5))
    if single or targets.dtype.kind not in "iu" or outputs.ndim != 2:
        return None
    return np.count_nonzero(outputs.argmax(axis=1) == targets)


def confusion_matrix(model: Module, data: Dataset, split: Split, forward: Forward | None = None) -> Array:
    """How often each class (row) was predicted as each class (column): integers (classes, classes).

    A model's single output counts as the logit of class 1.
    """
    split = as_split("confusion_matrix", split)
    outputs = predict(model, split.x, forward=forward)
    single = outputs.ndim == 1 or outputs.shape[1] == 1
    taken_for = (outputs.reshape(-1) > 0).astype(int) if single else outputs.argmax(axis=1)
    table = np.zeros((data.num_classes, data.num_classes), int)
    np.add.at(table, (split.y, taken_for), 1)
    return table
